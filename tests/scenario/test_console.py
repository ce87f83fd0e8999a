# SPDX-License-Identifier: Apache-2.0
"""The console in a real browser: each view shows what the test made happen."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import threading
import urllib.parse

import pytest

from admin import TOKEN, Admin
from browser import CHROMIUM, NARROW, WIDE, Page, artefacts, launched
from harness import configuration, guest_path
from playwright.sync_api import sync_playwright
from servers import free_port

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on this machine")

QUICKLY = {"attempts": 2, "backoff": "20ms", "backoff_max": "20ms", "jitter": 0}
# Events of the load: enough for rates above 0 for as long as a test looks.
LOAD_PAUSE_S = 0.01
MANY = 1000
# With MANY subscriptions, after the page has begun: longer than that one task of the page would be
# felt. What a shared machine takes a task's time away for is in it.
TASK_MS_MAX = 400
LOOK_S = 6
# axe-core looks at each element of eight pages; on a busy machine that takes seconds a page.
AXE_S_MAX = 150


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright):
    with launched(playwright) as browser:
        yield browser


@pytest.fixture
def pages(chromium, tmp_path):
    """Makes pages: pages(size=NARROW, theme="dark"). What one of them said fails the test."""
    made = []

    def make(**options):
        made.append(Page(chromium, artefacts(tmp_path), **options))
        return made[-1]

    yield make
    problems = [problem for page in made for problem in page.finish()]
    assert not problems, "\n".join(problems)


class Console(Admin):
    """A weir with an admin address, and the page that is served there."""

    def __init__(self, site, config, has_token=True, **options):
        super().__init__(has_token=has_token, **options)
        self.site = site
        self.tree = config | self.config
        self.start()

    def start(self):
        self.weir = self.site.run(self.tree, env=self.env)
        self.weir.wait_listening()

    def at(self, view=""):
        return f"http://127.0.0.1:{self.port}/{f'#{view}' if view else ''}"

    def letters(self):
        return self.get("/api/dead-letters").json["dead_letters"]

    def subscription(self, name):
        return next(each for each in self.status()["subscriptions"] if each["name"] == name)

    def wait_letters(self, count):
        return self.weir.wait_for(lambda: len(letters := self.letters()) == count and letters,
                                  f"{count} dead letters")


@contextlib.contextmanager
def load(site, prefix, body="x"):
    """A writer that changes keys until the end."""
    is_over = threading.Event()

    def write():
        count = 0
        while not is_over.wait(LOAD_PAUSE_S):
            count += 1
            site.put(f"{prefix}/{count % 20}", f"{body} {count}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


def flowing():
    """store -> copies -> (to:) out -> readers, and broken -> obey, whose events may fail."""
    return configuration(
        {"trace": {}, "print": {}, "obey": {"retry": QUICKLY}},
        [{"name": "copies", "key": "copies/*", "guest": "trace", "to": "out"},
         {"name": "readers", "watch": "out", "key": "*", "guest": "print"},
         {"name": "broken", "key": "broken/*", "guest": "obey"}],
        topics=["out"])


@pytest.fixture
def console(site):
    return Console(site, flowing())


def give_up(console, *numbers):
    """Makes dead letters: of keys broken/NUMBER, with what their guest says."""
    for number in numbers:
        console.site.put(f"broken/{number}", f"err no {number}")
    return console.wait_letters(len(numbers))


def use_token(page, token=TOKEN):
    page.find("#access").click()
    page.find("#token-input").fill(token)
    page.find("#token-yes").click()


# ---- the overview ----

def test_the_picture_shows_what_flows_and_what_fails(console, pages):
    with load(console.site, "copies"):
        page = pages()
        page.open(console.at("overview"))
        # Each box.
        page.wait("document.querySelectorAll('.picture .box').length === 8")
        names = page.find(".picture .box-name").all_text_contents()
        assert sorted(names) == sorted(
            ["store", "out", "copies", "readers", "broken", "trace", "print", "obey"])
        # A rate on the arrow into the subscription that gets something, and none on the other.
        page.wait_text("a[href='#subscription/copies'] title", r"copies: [1-9][\d.]*/s from store")
        page.wait_text("a[href='#subscription/readers'] title", r"readers: [1-9][\d.]*/s from out")
        page.wait_text("a[href='#subscription/broken'] title", r"broken: 0/s from store")
        page.wait("[...document.querySelectorAll('.rate')].some("
                  "(each) => /^[1-9][\\d.]*\\/s returned to out/u.test(each.textContent))")
        page.wait_text("#figures", r"Handled\s*[1-9]")
        assert not page.find(".picture .is-failing").count()
        # Red, where it fails and only there.
        console.site.put("broken/1", "err it is broken")
        console.site.put("broken/2", "err it is broken")
        page.wait("document.querySelector(\"a[href='#subscription/broken'] .is-failing\") !== null")
        assert not page.find("a[href='#subscription/copies'] .is-failing").count()
        page.wait("document.querySelector('.picture .line.is-failing') !== null")
        # And all of it as text.
        page.find("#picture-text summary").click()
        page.wait_text("#picture-list", r"copies: [\d.]+/s from store, [\d.]+/s to trace; flowing")
        page.picture("picture-of-a-flow")


def test_a_resource_that_is_away_is_amber(site, redis_server, pages):
    config = configuration({"trace": {}}, [
        {"name": "keys", "watch": "cache", "key": "*", "guest": "trace"}])
    config["resources"]["cache"] = {"kind": "redis", "address": f"127.0.0.1:{redis_server.port}"}
    console = Console(site, config)
    page = pages()
    page.open(console.at("overview"))
    page.wait_text("#resources", r"cache\s*redis\s*connected since")
    page.wait_text("#guests", r"trace\s*core")
    assert not page.find(".picture .is-lagging").count()
    redis_server.stop()
    page.wait_text("#resources", r"cache\s*redis\s*away since")
    page.wait_text("#figures", r"Resources away\s*1")
    assert page.find(".box.is-resource .is-lagging").count() == 1
    assert "away" in page.find(".box.is-resource").get_attribute("aria-label")
    page.picture("picture-of-a-resource-away")
    redis_server.start()
    page.wait("document.querySelector('.picture .is-lagging') === null")


# ---- subscriptions ----

def test_the_table_is_sorted_filtered_and_leads_to_one(console, pages):
    console.site.put("broken/1", "err it is broken")
    console.wait_letters(1)
    page = pages()
    page.open(console.at("subscriptions"))
    page.wait_text("#table tbody", r"broken")
    row = page.find("#table tbody tr:not(.space)", has_text="broken")
    assert row.locator(".c-dead").inner_text() == "1"
    # By the name, up and down; the head says which.
    head = page.find("#table thead th.c-subscription")
    for order, names in (("ascending", ["broken", "copies", "readers"]),
                         ("descending", ["readers", "copies", "broken"])):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        assert page.find("#table tbody th").all_inner_texts() == names
    page.find("#table-filter").fill("guest:obey")
    page.wait("document.querySelectorAll('#table tbody th').length === 1")
    assert "q=guest%3Aobey" in page.page.url and page.text("#table-count") == "1 of 3"
    page.find("#table tbody th a").click()
    page.wait_text("#subscription-title", "^broken$")
    assert page.focused() == "subscription-title"
    page.wait_text("#subscription-body", "Last error.*it is broken")
    page.page.go_back()
    page.wait_text("#table-count", "1 of 3")
    assert page.find("#table-filter").input_value() == "guest:obey", "the filter is in the address"


def test_lag_is_shown_with_a_sparkline(site, pages):
    """A handler that is busy, and events that wait behind it."""
    console = Console(site, configuration(
        {"obey": {"bounds": {"time": "1h"}}}, [{"name": "busy", "key": "*", "guest": "obey"}]))
    site.put("key", "wait 3600000")
    console.weir.wait_printed("obey", "wait: begin")
    page = pages()
    page.open(console.at("subscriptions"))
    page.wait_text("#table tbody th", "busy")
    for number in range(30):
        site.put(f"more/{number}", "wait 3600000")
    console.weir.wait_for(lambda: console.subscription("busy")["lag_events"] >= 20, "a lag")
    page.wait("/^\\d\\d$/u.test(document.querySelector('#table td.c-lag').innerText)")
    page.wait("new Set(document.querySelector('#table td.c-lagspark .spark-line')"
              ".getAttribute('d').match(/ [\\d.]+/gu)).size > 1")
    page.wait_text("#table td.c-oldest", r"^\d+ (s|min)")


def test_the_histogram_counts_what_was_handled(console, pages):
    for number in range(37):
        console.site.put(f"copies/{number}", "x")
    console.weir.wait_for(lambda: console.subscription("copies")["handled_total"] == 37, "37 events")
    page = pages()
    page.open(console.at("subscription/copies"))
    page.wait("[...document.querySelectorAll('.percentiles .count')].every("
              "(each) => each.innerText === '37')")
    told = console.get("/api/histograms?subscription=copies").json
    for panel, histogram in zip(page.find(".panel:has(.histogram)").all(),
                                (told["handler"], told["event"]), strict=True):
        titles = [title.text_content() for title in panel.locator(".bar title").all()]
        assert sum(int(title.rpartition(": ")[2]) for title in titles) == histogram["count"] == 37
        assert "≈" in panel.inner_text() and "estimates" in panel.inner_text()
        # The table has the same.
        panel.locator("summary").click()
        counts = panel.locator("tbody td:nth-child(2)").all_inner_texts()
        assert sorted(map(int, counts)) == sorted(filter(None, histogram["counts"]))


# ---- the tail ----

AT_END = """(() => { const list = document.querySelector('#tail-scroll');
    return list.scrollHeight - list.scrollTop - list.clientHeight < 30; })()"""
LAST_LINE = "document.querySelector('#tail-lines tr:last-child .c-event')?.innerText"


def test_the_tail_scrolls_stands_and_jumps(console, pages):
    page = pages()
    page.open(console.at("tail"))
    with load(console.site, "copies"):
        page.wait("document.querySelector('#tail-scroll').scrollTop > 200")
        assert page.page.evaluate(AT_END)
        last = page.page.evaluate(LAST_LINE)
        page.wait(f"(last) => {LAST_LINE} !== last", last)
        assert page.page.evaluate(AT_END), "it follows"
        # Who scrolls up reads: the lines stand.
        page.find("#tail-scroll").hover()
        page.page.mouse.wheel(0, -400)
        page.wait_text("#tail-jump", "Jump to the newest")
        last = page.page.evaluate(LAST_LINE)
        top = page.page.evaluate("document.querySelector('#tail-scroll').scrollTop")
        page.wait_text("#tail-jump", r"\([1-9][\d.k ]* more\)")
        assert page.page.evaluate(LAST_LINE) == last
        assert page.page.evaluate("document.querySelector('#tail-scroll').scrollTop") == top
        page.picture("tail-that-stands")
        page.find("#tail-jump").click()
        page.wait(f"(last) => {AT_END} && {LAST_LINE} !== last", last)
        assert page.find("#tail-jump").is_hidden()
        # And the button.
        page.find("#tail-pause").click()
        page.wait_text("#tail-jump", r"more\)")
        page.find("#tail-pause").click()
        page.wait("document.querySelector('#tail-jump').hidden")


def test_the_tail_is_filtered(console, pages):
    page = pages()
    page.open(console.at("tail"))
    with load(console.site, "copies"), load(console.site, "broken", "err"):
        subscriptions = "[...document.querySelectorAll('#tail-lines .c-subscription')].map((each) => each.innerText)"
        page.wait(f"['copies', 'readers', 'broken'].every((name) => {subscriptions}.includes(name))")
        page.find("#tail-failed").check()
        page.wait(f"{subscriptions}.length > 5 && {subscriptions}.every((name) => name === 'broken')")
        assert "failed=1" in page.page.url
        page.find("#tail-failed").uncheck()
        page.find("#tail-key").fill("copies/1")
        page.wait(f"{subscriptions}.length > 5 && [...document.querySelectorAll('#tail-lines td.c-key')]"
                  ".every((each) => each.innerText.startsWith('copies/1'))")
        page.find("#tail-subscription").fill("readers")
        page.wait(f"{subscriptions}.length > 5 && {subscriptions}.every((name) => name === 'readers')")


def test_the_tail_says_that_it_is_a_sample(console, pages):
    page = pages()
    page.open(console.at("tail"))
    page.wait_text("#tail-note", "All that fit are shown")
    # As fast as it goes, and not a change a file: one rename of a folder tells of all in it.
    with contextlib.ExitStack() as writers:
        for number in range(8):
            writers.enter_context(load_fast(console.site, f"copies/{number}"))
        page.wait_text("#tail-note", r"Sampled: [\d.]+ % of [\d.]+ ?k?/s")


@contextlib.contextmanager
def load_fast(site, prefix):
    process = site.python("""
import os, sys
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
count = 0
while True:
    count += 1
    with open(f"{folder}/{count % 1000}", "w") as file:
        file.write(str(count))
""", prefix)
    try:
        yield
    finally:
        process.kill()
        process.wait()


# ---- dead letters ----

def test_a_letter_is_read_and_retried_by_clicking_and_then_handled(site, pages):
    guest = site.root / "guest.wasm"
    shutil.copy(guest_path("err"), guest)
    config = configuration({"err": {"retry": QUICKLY}}, [{"name": "orders", "key": "*", "guest": "err"}])
    config["guests"]["err"]["wasm"] = str(guest)
    console = Console(site, config)
    site.put("order/7", json.dumps({"item": "<b>tea</b>", "count": 3}))
    letter, = console.wait_letters(1)
    page = pages()
    page.open(console.at("letters"))
    page.wait_text("#letters-lines", "orders.*order/7.*this handler never succeeds")
    page.find("#letters-lines a").click()
    page.wait_text("#letter", r"this handler never succeeds")
    assert page.focused() == "letter-title"
    text = page.text("#letter")
    assert '"item": "<b>tea</b>",\n  "count": 3' in text, "JSON, with its indents, and as text"
    assert "attempt 2" in text, "what the guest printed"
    assert letter["event"]["id"] in text
    # Not without the token.
    for button in ("#letter-retry", "#letter-remove", "#letters-retry", "#letters-remove"):
        assert page.find(button).is_disabled()
    assert "want the token" in page.text("#letter-why")
    assert page.find("#letter-retry").get_attribute("aria-describedby") == "letter-why"
    page.picture("letter-without-a-token")
    use_token(page)
    page.wait("!document.querySelector('#letter-retry').disabled")
    assert page.text("#access") == "May change"
    # The guest is mended, and the letter goes back.
    shutil.copy(guest_path("print"), site.root / "mended.wasm")
    os.replace(site.root / "mended.wasm", guest)
    console.weir.send(signal.SIGHUP)
    console.weir.wait_log("the configuration was read again")
    page.find("#letter-retry").click()
    page.wait_text("#ask", "Retry letter")
    assert page.focused() == "ask-yes"
    page.page.keyboard.press("Escape")
    page.wait("!document.querySelector('#ask').open")
    assert page.focused() == "letter-retry" and console.letters(), "Escape is no"
    page.find("#letter-retry").click()
    page.find("#ask-yes").click()
    page.wait("!document.querySelector('#letters-empty').hidden")
    event, = console.weir.wait_events(1, "err")
    assert event["id"] == letter["event"]["id"] and event["subject"] == "order/7"
    assert console.letters() == []


def test_letters_are_removed_one_and_several(console, pages):
    give_up(console, *range(1, 8))
    page = pages()
    page.open(console.at("letters"))
    page.wait("document.querySelectorAll('#letters-lines tr').length === 7")
    use_token(page)
    page.find("#letters-lines tr", has_text="broken/3").click()
    page.wait_text("#letter", "err: begin")
    page.find("#letter-remove").click()
    assert page.focused() == "ask-no", "what cannot be undone is not one key away"
    page.find("#ask-yes").click()
    page.wait("document.querySelectorAll('#letters-lines tr').length === 6")
    assert "broken/3" not in page.text("#letters-lines")
    page.wait("document.activeElement.id === 'letter-title'")
    assert len(console.letters()) == 6, "and the next one is there to be read"
    for key in ("broken/1", "broken/2"):
        page.find("#letters-lines tr", has_text=key).locator("input").check()
    page.wait_text("#letters-why", "2 selected")
    page.find("#letters-remove").click()
    page.wait_text("#ask", "Remove 2 letters")
    page.find("#ask-yes").click()
    page.wait_text("#letters-note", "2 removed")
    assert page.focused() == "letters-title"
    assert sorted(each["event"]["subject"] for each in console.letters()) == [
        f"broken/{number}" for number in (4, 5, 6, 7)]
    # All that are left, given back: they fail again, under other numbers.
    before = {each["id"] for each in console.letters()}
    page.find("#letters-all").check()
    page.find("#letters-retry").click()
    page.wait_text("#ask", "Retry 4 letters")
    page.find("#ask-yes").click()
    page.wait_text("#letters-note", "4 given to the handler again")
    console.weir.wait_for(lambda: len(letters := console.letters()) == 4 and
                          not before & {each["id"] for each in letters}, "four new letters")
    page.wait("document.querySelectorAll('#letters-lines tr').length === 4")


def test_without_a_token_nothing_can_be_changed(site, pages):
    console = Console(site, flowing(), has_token=False)
    give_up(console, 1)
    page = pages()
    page.open(console.at("letters/1"))
    page.wait_text("#letter-why", "has no token")
    assert page.find("#letter-retry").is_disabled()
    # Who takes that off by hand is told by weir.
    page.expects("403")
    page.page.evaluate("(() => { const button = document.querySelector('#letter-retry');"
                       "button.disabled = false; button.click(); })()")
    page.find("#ask-yes").click()
    page.wait_text("#letter .problem", "nothing can be changed here")
    assert len(console.letters()) == 1


def test_a_wrong_token_is_said_to_be_one(console, pages):
    letter, = give_up(console, 1)
    page = pages()
    page.open(console.at("letters/1"))
    use_token(page, "another")
    page.wait_text("#token-problem", "not the token")
    assert page.find("#token").is_visible()
    page.page.keyboard.press("Escape")
    assert page.find("#letter-retry").is_disabled()
    path = f"/api/dead-letters/{letter['id']}/remove"
    assert console.post(path).status == 401
    assert console.post(path, token="another").status == 401
    assert len(console.letters()) == 1
    assert console.post(path, token=TOKEN).status == 200
    assert console.letters() == []


def test_the_token_of_the_address_is_taken_once(console, pages):
    page = pages()
    page.open(console.at(f"token={TOKEN}"))
    page.wait_text("#access", "May change")
    assert TOKEN not in page.page.url
    page.page.reload()
    page.wait_text("#access", "May change")
    assert page.page.evaluate("localStorage.length") == 0
    page.find("#access").click()
    page.find("#token-forget").click()
    page.wait_text("#access", "Read only")
    page.page.reload()
    page.wait_text("#access", "Read only")


def test_an_address_for_all_tells_nothing_without_the_token(site, pages):
    console = Console(site, flowing(), host="0.0.0.0")
    page = pages()
    page.expects("401")
    page.open(console.at("tail"))
    page.wait_text("#lost", "nothing without the token")
    page.wait("document.querySelector('#token').open")
    page.find("#token-input").fill("another")
    page.find("#token-yes").click()
    page.wait_text("#token-problem", "not the token")
    page.find("#token-input").fill(TOKEN)
    page.page.keyboard.press("Enter")
    page.wait("document.querySelector('#lost').hidden")
    page.wait_text("#access", "May change")
    # The tail wants it too.
    page.wait_text("#tail-note", "All that fit are shown")
    site.put("copies/1", "x")
    page.wait_text("#tail-lines", "copies.*readers")


# ---- stories ----

def test_the_story_of_an_event_that_failed_and_was_tried_again(console, pages):
    page = pages()
    page.open(console.at("tail"))
    page.wait_text("#tail-note", "All that fit are shown")
    console.site.put("copies/1", "fail-once")
    page.wait_text("#tail-lines", r"readers")
    row = page.find("#tail-lines tr", has_text="it fails once")
    row.locator("td.c-key").click()
    page.wait_text("#story-title", "Story")
    page.wait_text(".timeline", r"Attempt 1\s*retry.*it fails once.*Attempt 2\s*derived")
    assert page.focused() == "story-title"
    assert "failed\t" in page.find(".timeline pre").first.text_content(), "what it printed"
    # From what followed from it, and back by what it followed from.
    derived = page.find("#story-body .list a")
    page.wait("document.querySelectorAll('#story-body .list a').length === 1")
    first, second = page.find("#story-id").input_value(), derived.inner_text()
    page.picture("story")
    derived.click()
    page.wait("(id) => document.querySelector('#story-id').value === id", second)
    page.wait_text(".timeline", r"Attempt 1\s*handled.*readers")
    page.wait_text("#story-body .facts", f"Caused by\\s*{re.escape(first)}")
    page.find("#story-body .facts a").click()
    page.wait("(id) => document.querySelector('#story-id').value === id", first)


def test_a_story_has_its_trace_to_copy(site, pages):
    # Nobody takes the spans, which changes nothing of what an event's trace is.
    console = Console(site, flowing() | {
        "traces": {"endpoint": f"http://127.0.0.1:{free_port()}", "sample": 1}})
    letter, = give_up(console, 1)
    event = letter["event"]
    page = pages()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.open(console.at(f"letters/{letter['id']}"))
    page.find("#letter >> text=Story of this event").click()
    trace = page.wait_text("#story-trace", "^[0-9a-f]{32}$")
    query = urllib.parse.urlencode({"id": event["id"], "source": event["source"]})
    assert console.get(f"/api/story?{query}").json["trace"] == trace
    page.find("#story-body >> text=Copy").click()
    page.wait_text("#announce", "the trace id is copied")
    assert page.page.evaluate("navigator.clipboard.readText()") == trace


def test_the_story_of_a_dead_letter(console, pages):
    letter, = give_up(console, 1)
    page = pages()
    page.open(console.at(f"letters/{letter['id']}"))
    page.find("#letter >> text=Story of this event").click()
    page.wait_text(".timeline", r"Attempt 1\s*retry.*no 1.*Attempt 2\s*dead.*no 1")
    page.find(f"#story-body >> text=Letter {letter['id']}").click()
    page.wait_text("#letter-title", f"Letter {letter['id']}")


# ---- the page itself ----

def test_weir_goes_and_comes_back_as_another(console, pages):
    page = pages()
    page.expects("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|INCOMPLETE_CHUNKED")
    page.open(console.at("overview"))
    page.wait_text("#pulse-text", f"process {console.weir.pid}")
    assert console.weir.stop() == 0
    page.wait_text("#lost", "What is shown is old")
    console.start()
    page.wait_text("#pulse-text", f"process {console.weir.pid}")
    page.wait("document.querySelector('#lost').hidden")
    page.wait_text("#announce", "weir was started again|weir answers again")
    console.site.put("copies/1", "x")
    page.wait("document.querySelectorAll('.picture .box').length === 8")


def test_it_is_walked_through_with_the_keyboard_alone(console, pages):
    give_up(console, 1, 2)
    page = pages()
    page.open(console.at())
    page.wait_text("#figures", "Handled")
    press = page.page.keyboard.press
    press("Tab")
    assert page.focused() == "skip"
    press("Enter")
    assert page.focused() == "main"
    press("Shift+Tab")

    def tab_to(text):
        for _ in range(60):
            if page.focused() == text:
                # And it can be seen where one is.
                assert page.page.evaluate(
                    "getComputedStyle(document.activeElement).outlineStyle") != "none" or \
                    page.page.evaluate("document.activeElement.matches('.box')")
                return
            press("Tab")
        raise AssertionError(f"no way to {text}; the focus is on {page.focused()}")

    page.page.evaluate("document.querySelector('#skip').focus()")
    tab_to("access")
    press("Enter")
    page.page.keyboard.type(TOKEN)
    press("Enter")
    page.wait_text("#access", "May change")
    assert page.focused() == "access", "a dialog gives the focus back"
    tab_to("Dead letters")
    press("Enter")
    page.wait_text("#letters-lines", "broken/1")
    assert page.focused() == "letters-title"
    tab_to(str(console.letters()[0]["id"]))
    press("Enter")
    page.wait("document.activeElement.id === 'letter-title'")
    tab_to("letter-remove")
    press("Enter")
    assert page.focused() == "ask-no"
    press("Tab")
    press("Enter")
    page.wait("document.querySelectorAll('#letters-lines tr').length === 1")
    page.wait("document.activeElement.id === 'letter-title'")
    assert len(console.letters()) == 1
    # The picture's boxes and the table's heads are on the way, too.
    page.page.evaluate("document.querySelector('#skip').focus()")
    tab_to("Overview")
    press("Enter")
    page.wait("document.querySelector('#overview-title') === document.activeElement")
    for _ in range(20):
        press("Tab")
        if page.page.evaluate("document.activeElement.matches('.box.is-subscription')"):
            break
    press("Enter")
    page.wait_text("#subscription-title", "broken|copies|readers")
    page.page.evaluate("document.querySelector('#skip').focus()")
    tab_to("Subscriptions")
    press("Enter")
    tab_to("Lag ↓" if page.find("[aria-sort] >> text=Lag").count() else "Lag")
    press("Space")
    assert page.find("#table thead th.c-lag").get_attribute("aria-sort") == "descending"


@pytest.mark.timeout(AXE_S_MAX)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_can_be_used_by_everybody(console, pages, size, theme):
    """axe-core finds nothing grave in any view, and no view is wider than its window."""
    page = pages(size=size, theme=theme)
    give_up(console, 1, 2, 3)
    event = console.letters()[-1]["event"]
    story = f"story/{urllib.parse.quote(event['source'], '')}/{urllib.parse.quote(event['id'], '')}"
    shown = {story: (".timeline", "Attempt 2"), "overview": ("#figures", r"Handled\s*[1-9]"), "subscriptions": ("#table", "broken"),
             "subscription/copies": ("#subscription-body", "p99"), "tail": ("#tail-lines", "copies"),
             "letters": ("#letters-lines", "broken/"), "letters/1": ("#letter", "Output")}
    problems = []
    with load(console.site, "copies"):
        for view, (selector, pattern) in shown.items():
            page.open(console.at(view))
            page.wait_text(selector, pattern)
            name = view.partition("/")[0] + ("-one" if view == "letters/1" else "")
            page.picture(f"{name}-{size[0]}-{theme}")
            problems += [f"{view}: {each}" for each in page.breaches()]
            problems += [f"{view}: {page.overflow()} px too wide"] if page.overflow() > 0 else []
    page.open(console.at("letters/1"))
    page.find("#access").click()
    page.wait_text("#token", "The token")
    page.picture(f"token-{size[0]}-{theme}")
    problems += [f"the token: {each}" for each in page.breaches()]
    assert not problems, "\n".join(problems)


def test_the_theme_can_be_chosen(console, pages):
    page = pages(theme="light")
    page.open(console.at())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.page.evaluate(ground)
    page.find("#theme").click()
    page.find("#theme").click()
    assert page.text("#theme") == "Theme: dark"
    dark = page.page.evaluate(ground)
    assert dark != light
    page.page.reload()
    assert page.page.evaluate(ground) == dark, "and it is kept"


# ---- many ----

def test_a_thousand_subscriptions_stay_quick(site, pages):
    console = Console(site, configuration(
        {"trace": {}}, [{"name": f"number-{number:04}", "key": f"{number:04}/*", "guest": "trace"}
                        for number in range(MANY)]))
    page = pages()
    page.open(console.at("overview"))
    page.wait_text("#picture-note", f"{MANY} subscriptions, one box for each")
    page.picture("picture-of-a-thousand")
    page.find(".tabs >> text=Subscriptions").click()
    page.wait_text("#table-count", f"{MANY} in all")
    rows = page.find("#table tbody tr:not(.space)")
    assert rows.count() < 100, "only what is in sight is in the document"
    assert page.find("#table").get_attribute("aria-rowcount") == str(MANY + 1)
    # The last is reached, and a filter finds one of them.
    page.find("#table thead th.c-subscription button").click()
    page.page.evaluate("document.querySelector('#table-scroll').scrollTop = 1e9")
    page.wait(f"[...document.querySelectorAll('#table tbody th')].at(-1).innerText === 'number-{MANY - 1:04}'")
    page.find("#table-filter").fill("0777")
    page.wait("document.querySelectorAll('#table tbody th').length === 1")
    page.find("#table-filter").fill("")
    page.wait("document.querySelectorAll('#table tbody th').length > 10")
    # What a look each second costs.
    looks = page.page.evaluate("performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/api/status')).length")
    since = page.page.evaluate("performance.now()")
    with load(site, "0001"):
        page.wait("(before) => performance.getEntriesByType('resource').filter("
                  f"(each) => each.name.endsWith('/api/status')).length >= before + {LOOK_S}", looks)
    tasks = [each["ms"] for each in page.long_tasks() if each["start"] > since]
    assert not [each for each in tasks if each > TASK_MS_MAX], f"long tasks: {tasks}"


# ---- other sites ----

class Stranger(http.server.BaseHTTPRequestHandler):
    """A page of another origin, that tries to read and to change what is not its own."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"<!doctype html><html lang=en><title>stranger</title><iframe name=hidden></iframe>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger():
    """The address of its page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


ATTACK = """async ([address, path]) => {
  const tried = [];
  const attempt = async (name, act) => {
    try {
      tried.push([name, await act()]);
    } catch (error) {
      tried.push([name, `refused: ${error.name}`]);
    }
  };
  const ways = [{}, { credentials: "include" }, { headers: { Authorization: "Bearer guessed" } },
    { mode: "no-cors" }, { mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: "x" }];
  for (const [at, way] of ways.entries()) {
    await attempt(`post ${at}`, async () => (await fetch(address + path, { method: "POST", ...way })).type);
    await attempt(`read ${at}`, async () => {
      const answer = await fetch(address + "api/status", { ...way, body: undefined });
      return answer.type === "opaque" ? "opaque" : await answer.text();
    });
  }
  await attempt("form", async () => {
    const form = document.createElement("form");
    form.method = "POST";
    form.action = address + path;
    form.target = "hidden";
    document.body.append(form);
    const loaded = new Promise((resolve) => { document.querySelector("iframe").onload = resolve; });
    form.submit();
    await loaded;
    return "sent";
  });
  for (const [name, make] of [
    ["image", () => { const node = new Image(); node.src = address + path; return node; }],
    ["script", () => { const node = document.createElement("script"); node.src = address + "api/status"; document.head.append(node); return node; }],
    ["events", () => new EventSource(address + "api/tail")]]) {
    await attempt(name, () => new Promise((resolve) => {
      const node = make();
      node.onload = () => resolve("loaded");
      node.onmessage = (event) => resolve(`read ${event.data}`);
      node.onopen = () => resolve("opened");
      node.onerror = () => { node.close?.(); resolve("refused"); };
    }));
  }
  await attempt("frame", async () => {
    const frame = document.createElement("iframe");
    frame.src = address;
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    document.body.append(frame);
    await loaded;
    return frame.contentDocument === null ? "not ours" : frame.contentDocument.body.innerText;
  });
  return tried;
}"""


def test_a_page_of_another_site_changes_nothing_and_reads_nothing(console, stranger, pages):
    letter, = give_up(console, 1)
    assert console.status()["pid"] == console.weir.pid, "it can be read, by those who may"
    page = pages()
    page.expects(".")  # the browser says a lot about what is refused
    # A console is open beside it, with the token: that is no right of the other page.
    own = pages()
    own.open(console.at("letters/1"))
    use_token(own)
    own.wait_text("#access", "May change")
    for host in ("127.0.0.1", "localhost"):
        page.open(stranger)
        tried = dict(page.page.evaluate(ATTACK, [
            f"http://{host}:{console.port}/", f"api/dead-letters/{letter['id']}/remove"]))
        assert tried.pop("form") == "sent", "what is refused was really asked for"
        for name, got in tried.items():
            assert got.startswith("refused") or got in ("opaque", "not ours"), (name, got)
            assert "weir" not in got
    assert [each["id"] for each in console.letters()] == [letter["id"]]


def test_a_name_that_was_led_here_reads_nothing(console, playwright, tmp_path):
    """DNS rebinding: a page of evil.example, whose name now is this machine's."""
    letter, = give_up(console, 1)
    with launched(playwright, "--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        page = Page(browser, artefacts(tmp_path))
        page.expects(".")
        page.open(f"http://evil.example:{console.port}/")
        got = page.page.evaluate(
            "Promise.all([['GET', 'api/status'], ['GET', 'api/dead-letters'],"
            f"['POST', 'api/dead-letters/{letter['id']}/remove'], ['GET', 'api/story?id=1&source=2']]"
            ".map(async ([method, path]) => { const answer = await fetch('/' + path, { method });"
            "return [answer.status, await answer.text()]; }))")
        page.finish()
    for status, text in got:
        assert status in (401, 403), (status, text)
        assert str(letter["event"]["subject"]) not in text
    assert len(console.letters()) == 1
