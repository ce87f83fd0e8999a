# SPDX-License-Identifier: Apache-2.0
"""What becomes of an event whose handler failed."""

import datetime

import pytest

from harness import SLACK_S, handling

AGAIN = "the handler failed and will be called again"
GIVEN_UP = "the handler failed and the event is given up"
QUICKLY = {"attempts": 3, "backoff": "10ms"}


def seconds(record):
    return datetime.datetime.fromisoformat(record["time"]).timestamp()


def test_the_guest_is_told_which_attempt_it_is(site):
    weir = site.run(handling("flaky", retry={"attempts": 5, "backoff": "10ms"}))
    weir.wait_listening()
    site.put("key", "3")
    weir.wait_printed("flaky", "key done")
    assert weir.printed("flaky") == [
        "key attempt 1", "key attempt 2", "key attempt 3", "key done"]
    failures = weir.logs(AGAIN)
    assert [failure["attempt"] for failure in failures] == [1, 2]
    assert [failure["reason"] for failure in failures] == ["attempt 1 of 3", "attempt 2 of 3"]
    assert weir.stop() == 0
    assert not weir.logs(GIVEN_UP)
    assert weir.logs("listening is over", handled=1, failed_attempts=2, given_up=0)


def test_an_event_is_given_up_after_its_attempts_and_the_key_goes_on(site):
    weir = site.run(handling("obey", retry=QUICKLY))
    weir.wait_listening()
    site.put("key", "err it never works")
    record = weir.wait_log(GIVEN_UP)
    assert record["level"] == "error"
    assert record["attempt"] == 3
    assert record["reason"] == "it never works"
    assert record["event"].startswith("key@")
    assert record["subscription"]
    site.put("key", "ok")
    weir.wait_printed("obey", "ok: end")
    assert weir.printed("obey").count("err: begin") == 3
    assert weir.stop() == 0, "a handler that fails is no failure of weir"
    assert weir.logs("listening is over", handled=1, failed_attempts=3, given_up=1)


@pytest.mark.parametrize("body", ["trap", "exit 0", "divide 0", "wild-read"])
def test_a_broken_call_is_tried_again_like_a_failed_one(site, body):
    weir = site.run(handling("obey", retry=QUICKLY))
    weir.wait_listening()
    site.put("key", body)
    weir.wait_log(GIVEN_UP, attempt=3, attempts_max=3)
    site.put("key", "ok")
    weir.wait_printed("obey", "ok: end")
    assert weir.printed("obey").count(f"{body.split()[0]}: begin") == 3


def test_one_attempt_is_none_again(site):
    weir = site.run(handling("err", retry={"attempts": 1}))
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_log(GIVEN_UP, attempt=1, attempts_max=1)
    assert weir.stop() == 0
    assert weir.printed("err") == ["attempt 1"]
    assert not weir.logs(AGAIN)


def test_the_wait_doubles_up_to_its_maximum(site):
    weir = site.run(handling("err", retry={
        "attempts": 6, "backoff": "100ms", "backoff_max": "400ms", "jitter": 0}))
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_log(GIVEN_UP)
    times = [seconds(record) for record in weir.logs(AGAIN) + weir.logs(GIVEN_UP)]
    waits = [later - earlier for earlier, later in zip(times, times[1:])]
    for wait, least in zip(waits, [0.1, 0.2, 0.4, 0.4, 0.4]):
        assert least - 0.002 <= wait < least + SLACK_S
    assert len(waits) == 5


def test_a_newer_value_does_not_shorten_the_wait(site):
    """What comes to a key whose event waits for its next attempt waits behind it."""
    weir = site.run(handling("obey", host={"workers": 1},
                             retry={"attempts": 9, "backoff": "1h", "backoff_max": "1h"}))
    weir.wait_listening()
    site.put("key", "err once")
    weir.wait_log(AGAIN)
    site.put("key", "stderr behind it")
    # One worker serves the keys in turn: by the second of these it had its chance.
    for text in "first", "second":
        site.put(f"other-{text}", f"stderr {text}")
        weir.wait_printed("obey", text)
    assert len(weir.logs(AGAIN)) == 1
    assert weir.stop() == 0
    assert weir.printed("obey").count("err: begin") == 1
    assert "behind it" not in weir.printed("obey")


def test_jitter_only_shortens_a_wait(site):
    weir = site.run(handling("err", retry={
        "attempts": 12, "backoff": "200ms", "backoff_max": "200ms", "jitter": 1}))
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_log(GIVEN_UP)
    times = [seconds(record) for record in weir.logs(AGAIN) + weir.logs(GIVEN_UP)]
    waits = [later - earlier for earlier, later in zip(times, times[1:])]
    # That none of eleven waits is shortened by a quarter is one chance in four millions.
    assert min(waits) < 0.15


@pytest.mark.tsan
def test_many_keys_that_fail_in_turn(site):
    """Each key fails as often as its value says; all are done in the end."""
    weir = site.run(handling("flaky", host={"workers": 4},
                             retry={"attempts": 10, "backoff": "1ms", "backoff_max": "20ms"}))
    weir.wait_listening()
    for number in range(40):
        site.put(f"key-{number}", str(1 + number % 5))
    weir.wait_for(lambda: sum(line.endswith(" done") for line in weir.printed("flaky")) == 40,
                  "40 keys done")
    for number in range(40):
        attempts = [line for line in weir.printed("flaky")
                    if line.startswith(f"key-{number} attempt ")]
        assert attempts == [f"key-{number} attempt {attempt}"
                            for attempt in range(1, 2 + number % 5)]
    assert weir.stop() == 0
