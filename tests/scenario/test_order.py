# SPDX-License-Identifier: Apache-2.0
"""Order within a key, independence between keys."""

import pytest

from harness import configuration, handling

KEYS = 5
NUMBERS = 200

# Counts up in each of some keys, each value a rename, as fast as it can.
COUNTER = """
import os, sys
keys, numbers = int(sys.argv[1]), int(sys.argv[2])
for number in range(1, numbers + 1):
    for key in range(keys):
        with open(".count.new", "w") as file:
            file.write(f"stderr key-{key} is {number}")
        os.rename(".count.new", f"key-{key}")
"""


def numbers_of(weir, guest="obey"):
    """Key to the numbers that the guest printed of it, in order."""
    numbers = {}
    for line in weir.printed(guest):
        key, is_one, number = line.partition(" is ")
        if is_one:
            numbers.setdefault(key, []).append(int(number))
    return numbers


def wait_last_numbers(weir, guest="obey"):
    weir.wait_for(lambda: [numbers[-1] for numbers in numbers_of(weir, guest).values()] ==
                  [NUMBERS] * KEYS, f"the last number of every key at {guest}")


def assert_only_forwards(weir, guest="obey"):
    for key, numbers in numbers_of(weir, guest).items():
        assert numbers == sorted(set(numbers)), f"{guest} saw {key} go backwards, or twice"


@pytest.mark.tsan
@pytest.mark.parametrize("instance", ["fresh", "reuse"])
def test_numbers_never_go_backwards_and_the_last_one_arrives(site, instance):
    weir = site.run(handling("obey", host={"workers": 4}, instance=instance))
    weir.wait_listening()
    assert site.python(COUNTER, KEYS, NUMBERS).wait() == 0
    wait_last_numbers(weir)
    assert weir.stop() == 0
    assert_only_forwards(weir)
    assert not weir.logs("the handler failed and will be called again")


@pytest.mark.tsan
def test_two_subscriptions_see_each_key_rise(site):
    config = configuration(
        {"obey": {}, "other": {"wasm": "obey"}},
        [{"key": "*", "guest": "obey"}, {"key": "key-*", "guest": "other"}], host={"workers": 4})
    weir = site.run(config)
    weir.wait_listening()
    assert site.python(COUNTER, KEYS, NUMBERS).wait() == 0
    for guest in "obey", "other":
        wait_last_numbers(weir, guest)
    assert weir.stop() == 0
    for guest in "obey", "other":
        assert_only_forwards(weir, guest)


def test_a_failing_key_blocks_only_itself(site):
    """One key fails for ever; its own next value waits behind it, other keys go on."""
    weir = site.run(handling("obey", host={"workers": 1},
                             retry={"attempts": 1000, "backoff": "50ms", "backoff_max": "50ms"}))
    weir.wait_listening()
    site.put("bad", "err not today")
    weir.wait_log("the handler failed and will be called again", count=3)
    site.put("bad", "stderr behind the failure")
    for number in range(5):
        site.put(f"good-{number}", f"stderr good {number}")
    for number in range(5):
        weir.wait_printed("obey", f"good {number}")
    weir.wait_log("the handler failed and will be called again", count=10)
    assert "behind the failure" not in weir.printed("obey")
    assert weir.stop() == 0


def test_a_slow_key_does_not_hold_up_others(site):
    weir = site.run(handling("obey", host={"workers": 2}, bounds={"time": "1h"}))
    weir.wait_listening()
    site.put("slow", "loop")
    weir.wait_printed("obey", "loop: begin")
    for number in range(5):
        site.put(f"quick-{number}", "ok")
        weir.wait_printed("obey", "ok: end", count=number + 1)
    assert "loop: end" not in weir.printed("obey")


@pytest.mark.tsan
def test_one_handler_of_a_key_at_a_time(site):
    """While a key's handler runs, the key's next value waits, with workers to spare."""
    weir = site.run(handling("obey", host={"workers": 4}))
    weir.wait_listening()
    for number in range(4):
        site.put("key", f"wait {100 + number}")
        weir.wait_printed("obey", "wait: begin", count=number + 1)
    weir.wait_printed("obey", "wait: end", count=4)
    assert weir.printed("obey") == ["wait: begin", "wait: end"] * 4
    assert weir.stop() == 0
