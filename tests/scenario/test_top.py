# SPDX-License-Identifier: Apache-2.0
"""`weir top` on a real terminal, beside a weir that works."""

import re
import signal

import pytest

from harness import DEADLINE_S, WEIR_BIN, configuration
from terminal import on_terminal

# Writes without an end: what is handled, what fails, and little of it in a while.
WRITER = """
import os, itertools, time
for number in itertools.count():
    for key, value in (("orders/%d" % (number % 20), "ok"), ("bad/1", "err no\\x1b[31m such thing")):
        os.makedirs(os.path.dirname(key), exist_ok=True)
        with open(".new", "w") as file:
            file.write(value + " %d" % number)
        os.rename(".new", key)
    time.sleep(0.02)
"""
RETRY = {"attempts": 2, "backoff": "10ms"}
INTERVAL = ("--interval", "200ms")
BARS = re.compile("[▁▂▃▄▅▆▇█]{3}")
MANY = 1000


def site_config(**others):
    return configuration(
        {"obey": {"retry": RETRY}},
        [{"name": "orders", "key": "orders/*", "guest": "obey"},
         {"name": "broken", "key": "bad/*", "guest": "obey"},
         {"name": "quiet", "key": "quiet/*", "guest": "obey"}], **others)


@pytest.fixture
def running(site):
    weir = site.run(site_config())
    weir.wait_listening()
    return weir


@pytest.fixture
def loaded(site, running):
    site.python(WRITER)
    return running


def numbers(terminal, name):
    """What the table has of a subscription, by the titles of its columns."""
    titles = terminal.line("SUBSCRIPTION").split()
    cells = terminal.line(f"{name} ").split()
    return dict(zip(titles, cells, strict=False))


def rate(terminal, name):
    told = numbers(terminal, name).get("RATE/S", "-")
    return float(told) if told != "-" else 0


def order(terminal):
    """The names of the subscriptions, from the top."""
    lines = terminal.lines()
    at = next((number for number, line in enumerate(lines) if "SUBSCRIPTION" in line), len(lines))
    return [line.split()[0] for line in lines[at + 1:] if line and line.split()[0] in
            ("orders", "broken", "quiet")]


# ---- what is seen ----


def test_the_screen_shows_what_flows_and_what_fails(site, loaded):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: rate(top, "orders") > 0 and BARS.search(top.line("orders ")),
                 "a rate and its history")
    top.wait_for(lambda: "red" in (top.colours("broken ") or ()), "a failing subscription in red")
    assert "red" not in top.colours("orders ")
    assert f"process {loaded.pid}" in top.text() and "commits/s" in top.text()
    assert re.search(r"Events +[\d.]+/s settled, [\d.]+/s failed", top.text())
    assert re.search(r"Queues +\[\|* *\] .* of .*B", top.text())
    assert float(numbers(top, "broken")["FAIL/S"]) > 0
    top.wait_for(lambda: int(numbers(top, "broken")["DEAD"]) > 0, "events given up")
    assert numbers(top, "quiet")["RATE/S"] == "0"


def test_keys_sort_filter_open_and_end(site, loaded):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: rate(top, "orders") > 0, "a rate")
    top.press("F6")
    top.wait_text("Sort by")
    top.press("home", "enter")
    top.wait_for(lambda: order(top) == ["broken", "orders", "quiet"], "the order of the names")
    top.press("I")
    top.wait_for(lambda: order(top) == ["quiet", "orders", "broken"], "the order inverted")
    top.press("/", "BROK")
    top.wait_for(lambda: order(top) == ["broken"] and "Filter: BROK" in top.text(), "one")
    top.press("enter", "enter")
    top.wait_text("last_error.message")
    # What somebody else wrote does not colour this screen.
    top.wait_text(r"no\x1b[31m such thing")
    assert "bad/*" in top.text() and "handle-event" in top.text()
    before = top.line("received_total")
    top.wait_for(lambda: top.line("received_total") != before, "a page that lives")
    top.press("escape", "escape")
    top.wait_for(lambda: len(order(top)) == 3, "all of them again")
    top.press("F1")
    top.wait_text("keys that wait for another attempt")
    top.press("q", "r")
    top.wait_text("Targets")
    top.press("escape")
    top.wait_for(lambda: order(top), "the table")
    top.press(" ")
    top.wait_text("PAUSED")
    top.press(" ", "q")
    assert top.wait_exit() == 0
    assert top.has_modes_as_found()


def test_a_selection_moves_and_stays(site, loaded):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: rate(top, "orders") > 0, "a rate")
    top.press("F6", "home", "enter", "down", "down", "down")
    top.wait_for(lambda: top.colours("quiet ") == {"black"}, "the third one selected")
    top.press("I")
    top.wait_for(lambda: order(top)[0] == "quiet", "the order inverted")
    assert top.colours("quiet ") == {"black"}


def test_any_size_will_do(site, loaded):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: rate(top, "orders") > 0, "a rate")
    for rows, columns in ((5, 20), (1, 1), (2, 300), (60, 8), (12, 50)):
        top.resize(rows, columns)
        written = top.written
        top.wait_for(lambda written=written: top.written > written, "another drawing")
        for key in ("h", "q", "enter", "escape", "r", "q", "F6", "q", "/", "escape", "escape"):
            top.press(key)
    top.resize(5, 20)
    top.wait_for(lambda: top.line("orders"), "the table on 20x5")
    top.resize(40, 180)
    top.wait_for(lambda: rate(top, "orders") > 0 and len(top.line("orders ")) > 110,
                 "all of a large screen")
    assert top.process.poll() is None


def test_a_weir_that_goes_and_comes_back(site, loaded):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: rate(top, "orders") > 0, "a rate")
    loaded.kill()
    top.wait_text("no weir runs with the state in")
    assert order(top), "what it told last is still there"
    again = site.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug")
    again.wait_listening()
    top.wait_for(lambda: f"process {again.pid}" in top.text() and rate(top, "orders") > 0 and
                 "no weir runs" not in top.text(), "the other weir")


def test_a_weir_that_does_not_answer_is_told_and_keys_work(site, loaded):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: rate(top, "orders") > 0, "a rate")
    loaded.send(signal.SIGSTOP)
    top.wait_text("weir has not answered for")
    top.press("h")
    top.wait_text("this page")
    top.press("q")
    loaded.send(signal.SIGCONT)
    top.wait_for(lambda: "has not answered" not in top.text(), "an answer")


def test_top_waits_for_a_weir(site):
    site.write_config(site_config())
    (site.root / ".weir").mkdir()
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_text("no weir runs with the state in")
    weir = site.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug")
    weir.wait_listening()
    top.wait_for(lambda: len(order(top)) == 3, "its subscriptions")


# ---- the terminal ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(site, running, number):
    top = on_terminal(site, "top", *INTERVAL)
    top.wait_for(lambda: len(order(top)) == 3, "the table")
    assert not top.has_modes_as_found()
    top.process.send_signal(number)
    assert top.wait_exit() == 0
    assert top.has_modes_as_found()


def test_it_is_stopped_and_goes_on(site, running):
    script = f"set -m; {WEIR_BIN} top --interval 200ms; echo it stands; read x; fg >/dev/null; " \
             "echo it has ended"
    top = on_terminal(site, command=["sh", "-c", script])
    top.wait_for(lambda: len(order(top)) == 3, "the table")
    modes = top.modes
    top.press("stop")
    top.wait_text("it stands")
    assert top.has_modes_as_found()
    written = top.written
    top.press("enter")
    top.wait_for(lambda: top.written > written and len(order(top)) == 3 and
                 "it stands" not in top.text(), "the table again")
    top.press("interrupt")
    top.wait_text("it has ended")
    assert top.modes == modes


def test_colours_and_blocks_are_a_choice(site, loaded):
    top = on_terminal(site, "top", *INTERVAL, env={"NO_COLOR": "1", "LC_ALL": "C"})
    top.wait_for(lambda: float(numbers(top, "broken").get("FAIL/S", "-").replace("-", "0")) > 0,
                 "a failure")
    assert top.colours("broken ") == {"default"}
    top.wait_for(lambda: re.search(r"[_.:=+*#-]{5}$", top.line("orders ")), "bars of ASCII")
    assert top.text().isascii()


# ---- without a terminal ----


def test_once_is_text(site, loaded):
    for terminal in ((), ("--once",)):
        done = site.command("top", *terminal, *INTERVAL, env={"COLUMNS": "120", "LC_ALL": "C.UTF-8"})
        text = done.stdout.decode()
        assert "\x1b" not in text
        assert re.search(r"^orders +\w+ ", text, re.MULTILINE), text
        assert f"process {loaded.pid}" in text
        assert max(map(len, text.splitlines())) <= 120


def test_a_dumb_terminal_gets_text(site, running):
    top = on_terminal(site, "top", *INTERVAL, env={"TERM": "dumb"})
    assert top.wait_exit() == 0
    top.wait_text("SUBSCRIPTION")
    assert len(order(top)) == 3


def test_mistakes_are_told(site):
    site.write_config(site_config())
    done = site.command("top", "--once", status=2)
    assert b"cannot open the directory .weir" in done.stderr
    assert b"100ms to 1h" in site.command("top", "--interval", "1ms", status=2).stderr
    assert b"one configuration" in site.command("top", "a", "b", status=2).stderr


# ---- many ----


@pytest.mark.timeout(180)
def test_a_thousand_subscriptions(site):
    subscriptions = [{"name": f"sub-{number:04}", "key": f"keys/{number}", "guest": "obey"}
                     for number in range(MANY)]
    weir = site.run(configuration({"obey": {}}, subscriptions), "--log-level", "info")
    weir.wait_listening(deadline_s=3 * DEADLINE_S)
    top = on_terminal(site, "top", rows=40, columns=120)
    top.wait_text("sub-0000")
    site.put("keys/777", "ok")
    top.press("F6", "home", "enter", "end")
    top.wait_for(lambda: "sub-0999" in top.text(), "the last one")
    top.press("/", "777", "enter")
    top.wait_for(lambda: "sub-0777" in top.text() and "sub-0999" not in top.text(), "one of them")
    top.press("enter")
    top.wait_for(lambda: re.search(r"received_total +1$", top.text(), re.MULTILINE), "its event")
    top.press("escape", "escape", "home")
    top.wait_for(lambda: "sub-0000" in top.text(), "the first one")
    # A key is a screen, not a thousand rows.
    written = top.written
    top.press("page-down")
    top.wait_for(lambda: "sub-0030" in top.text(), "another page")
    assert top.written - written < 20 * 40 * 120
