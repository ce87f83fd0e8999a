# SPDX-License-Identifier: Apache-2.0
"""The system's Chromium, driven by playwright, for the tests of the console.

Each `Page` is a browser's context of its own with nothing in its storage. What a page says on its
console as an error, an exception that nobody caught and a breach of its content security policy are
kept: a test fails by them at its end, unless it said that it makes them happen (`Page.expects`).
What the browser itself looks like while it is tested is kept as pictures, in the folder of artefacts
of the test run.
"""

import contextlib
import importlib.resources
import os
import pathlib
import re
import shutil
import time

from harness import DEADLINE_S

CHROMIUM = os.environ.get("WEIR_CHROMIUM") or shutil.which("chromium")
# Nothing but what the test asks for goes over the network.
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
# How often a condition is looked at again.
POLL_MS = 50
WIDE, NARROW = (1440, 900), (375, 812)
ARTEFACTS = os.environ.get("WEIR_ARTEFACTS_DIR")
AXE = importlib.resources.files("axe_playwright_python") / "axe.min.js"
GRAVE = {"serious", "critical"}
# A task of the page that takes longer is felt.
LONG_TASKS = """
    window.longTasks = [];
    new PerformanceObserver((list) => list.getEntries().forEach(
      (each) => window.longTasks.push({ start: each.startTime, ms: each.duration })))
      .observe({ type: "longtask", buffered: true });
"""


@contextlib.contextmanager
def launched(playwright, *flags):
    """A browser, which makes as many pages as are wanted."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses it to root
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags, *sandbox])
    yield browser
    browser.close()


class Page:
    """A page of the console, or of somebody else."""

    def __init__(self, browser, folder, size=WIDE, theme="light", **options):
        self._folder = folder
        self._expected = []
        self.said = []
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme,
            reduced_motion="reduce", service_workers="block", **options)
        self.context.set_default_timeout(DEADLINE_S * 1000)
        self.page = self.context.new_page()
        self.page.add_init_script(LONG_TASKS)
        self.page.on("console", self._take_console)
        self.page.on("pageerror", lambda error: self.said.append(f"exception: {error}"))

    def _take_console(self, message):
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    def expects(self, pattern):
        """What the page may say, since the test makes it happen."""
        self._expected.append(re.compile(pattern))

    def finish(self):
        """Closes it. Returns what it said that nobody expected."""
        self.context.close()
        return [each for each in self.said
                if not any(pattern.search(each) for pattern in self._expected)]

    # ---- what is in it ----

    def open(self, address):
        self.page.goto(address)

    def find(self, selector, **options):
        return self.page.locator(selector, **options)

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def wait(self, condition, argument=None):
        """Waits until JavaScript's expression is true, and returns what it is then. It is asked for
        from outside: playwright's own wait makes code of a text, which the page's policy forbids."""
        until_s = time.monotonic() + DEADLINE_S
        while not (result := self.page.evaluate(condition, argument)):
            assert time.monotonic() < until_s, (
                f"in {DEADLINE_S} s there was not {condition} {argument or ''}")
            self.page.wait_for_timeout(POLL_MS)
        return result

    def wait_text(self, selector, pattern):
        """Waits until the text of the first such element fits the pattern, and returns it."""
        return self.wait(
            "([selector, pattern]) => { const text = document.querySelector(selector)?.textContent;"
            "return new RegExp(pattern, 's').test(text ?? '') ? text : null; }", [selector, pattern])

    def focused(self):
        """What has the focus: its id, else its text."""
        return self.page.evaluate(
            "document.activeElement.id || document.activeElement.innerText")

    def long_tasks(self):
        return self.page.evaluate("window.longTasks")

    # ---- what is looked at ----

    def picture(self, name):
        """Keeps what it looks like, for people."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._folder / f"{name}.png")

    def breaches(self):
        """What axe-core finds grave: a line for each rule, with the elements."""
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert found["passes"], "axe-core looked at nothing"
        return [f"{each['id']}: {each['help']}: {[node['target'] for node in each['nodes']]}"
                for each in found["violations"] if each["impact"] in GRAVE]

    def overflow(self):
        """How many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def artefacts(tmp_path):
    """Where pictures are kept."""
    return pathlib.Path(ARTEFACTS) / "console" if ARTEFACTS else tmp_path / "pictures"
