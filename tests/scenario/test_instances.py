# SPDX-License-Identifier: Apache-2.0
"""A fresh instance for each event, or instances that are used again."""

import pytest

from harness import handling

GIVEN_UP = "the handler failed and the event is given up"


def test_fresh_is_the_default_and_remembers_nothing(site):
    weir = site.run(handling("counter", host={"workers": 1}))
    weir.wait_listening()
    for number in range(4):
        site.put("key", str(number))
        weir.wait_printed("counter", "key count 1", count=number + 1)
    assert weir.stop() == 0


def test_reuse_keeps_an_instance(site):
    weir = site.run(handling("counter", host={"workers": 1}, instance="reuse"))
    weir.wait_listening()
    for number in range(1, 5):
        site.put("key", str(number))
        weir.wait_printed("counter", f"key count {number}")
    assert weir.stop() == 0


@pytest.mark.parametrize("body", ["trap"])
def test_reuse_throws_an_instance_away_that_trapped(site, body):
    weir = site.run(handling("counter", host={"workers": 1}, instance="reuse",
                             retry={"attempts": 1}))
    weir.wait_listening()
    site.put("key", "one")
    weir.wait_printed("counter", "key count 1")
    site.put("key", body)
    weir.wait_printed("counter", "key count 2")
    weir.wait_log(GIVEN_UP)
    site.put("key", "after")
    weir.wait_printed("counter", "key count 1", count=2)
    assert weir.stop() == 0


@pytest.mark.tsan
def test_reuse_throws_an_instance_away_that_went_over_a_bound(site):
    """obey counts nothing, but the handler that was cut would go on looping if it were kept."""
    weir = site.run(handling("obey", host={"workers": 1}, instance="reuse",
                             bounds={"time": "500ms", "output": "4KiB"}, retry={"attempts": 1}))
    weir.wait_listening()
    for number, body in enumerate(["loop", "flood", "grow-trap", "recurse-thin"], 1):
        site.put("key", body)
        weir.wait_log(GIVEN_UP, count=number)
        site.put("key", "ok")
        weir.wait_printed("obey", "ok: end", count=number)
    assert weir.stop() == 0


def test_reuse_keeps_an_instance_whose_handler_said_no(site):
    """err is an answer like another: nothing is wrong with the instance."""
    weir = site.run(handling("flaky", host={"workers": 1}, instance="reuse",
                             retry={"attempts": 4, "backoff": "5ms"}))
    weir.wait_listening()
    site.put("key", "3")
    weir.wait_printed("flaky", "key done")
    assert weir.stop() == 0


@pytest.mark.tsan
def test_reuse_has_no_more_instances_than_workers(site):
    weir = site.run(handling("counter", host={"workers": 3}, instance="reuse"))
    weir.wait_listening()
    events = 60
    for number in range(events):
        site.put(f"key-{number}", "x")
    weir.wait_for(lambda: len(weir.printed("counter")) == events, f"{events} events")
    assert weir.stop() == 0
    # Each instance prints 1 once.
    first = sum(line.endswith(" count 1") for line in weir.printed("counter"))
    assert 1 <= first <= 3
    counts = sorted(int(line.rsplit(" ", 1)[1]) for line in weir.printed("counter"))
    assert counts[-1] >= events / 3
