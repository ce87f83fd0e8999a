# SPDX-License-Identifier: Apache-2.0
"""The log's rate: a flood of failures writes few lines, and no failure is missing in the counts."""

import json
import math

from harness import AGAIN, GIVEN_UP, handling

KEYS = 1000
ATTEMPTS = 3
LINES = 5
WINDOW_S = 10
LEFT_OUT = "lines were left out"


def start(site, *arguments):
    site.write_config(handling("err", retry={"attempts": ATTEMPTS, "backoff": "1ms"}))
    weir = site.start("run", "weir.yaml", "--log-format", "json", *arguments)
    weir.wait_listening()
    return weir


def occurred(weir, message):
    """How many times it happened, as the log tells: lines, and what they and others left out."""
    lines = weir.logs(message)
    told = lines + weir.logs(LEFT_OUT, of=message)
    return len(lines) + sum(line.get("left_out", 0) for line in told)


def test_a_flood_of_failures_is_a_few_lines_and_every_one_is_counted(site):
    weir = start(site, "--log-rate", LINES)
    for number in range(KEYS):
        site.put(f"key-{number}", "x")
    # The keys go quiet: what was left out is told although nothing else is logged.
    weir.wait_for(lambda: occurred(weir, GIVEN_UP) == KEYS, "every event that was given up")
    weir.wait_for(lambda: occurred(weir, AGAIN) == KEYS * (ATTEMPTS - 1), "every other attempt")
    assert weir.logs(LEFT_OUT)
    windows = math.ceil(weir.age_s() / WINDOW_S) + 1
    assert len(weir.logs(GIVEN_UP)) <= LINES * windows
    assert len(weir.logs(AGAIN)) <= LINES * windows
    assert weir.stop() == 0
    assert weir.logs("listening is over", failed_attempts=KEYS * ATTEMPTS, given_up=KEYS)
    assert occurred(weir, AGAIN) + occurred(weir, GIVEN_UP) == KEYS * ATTEMPTS
    # Lines may be left out, letters not.
    letters = json.loads(site.command("status", "--json").stdout)["dead_letters"]
    assert letters == KEYS


def test_the_logs_end_tells_what_was_left_out(site):
    weir = start(site, "--log-rate", "1")
    for number in range(20):
        site.put(f"key-{number}", "x")
    weir.wait_for(lambda: len(weir.printed("err")) == 20 * ATTEMPTS, "every attempt")
    assert weir.stop() == 0
    assert occurred(weir, GIVEN_UP) == 20
    assert occurred(weir, AGAIN) == 20 * (ATTEMPTS - 1)


def test_a_rate_of_nothing_writes_every_line(site):
    weir = start(site, "--log-rate", "0")
    for number in range(100):
        site.put(f"key-{number}", "x")
    weir.wait_log(GIVEN_UP, count=100)
    assert weir.stop() == 0
    assert len(weir.logs(AGAIN)) == 100 * (ATTEMPTS - 1)
    assert not weir.logs(LEFT_OUT)


def test_a_line_about_a_delivery_says_which(site):
    weir = start(site)
    site.put("key", "x")
    line = weir.wait_log(GIVEN_UP)
    assert line["subscription"] and line["event"].startswith("key@")
    assert (line["guest"], line["handler"]) == ("err", "handle-event")
    assert (line["attempt"], line["attempts_max"]) == (ATTEMPTS, ATTEMPTS)
    again = weir.wait_log(AGAIN)
    assert set(again) == set(line)


def test_a_rate_that_is_none_is_refused(site):
    for rate in "many", "-1", "1000001":
        done = site.command("check", "--log-rate", rate, status=2)
        assert b"--log-rate" in done.stderr
