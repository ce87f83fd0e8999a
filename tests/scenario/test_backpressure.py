# SPDX-License-Identifier: Apache-2.0
"""Queues are bounded, and who fills one holds up nobody else."""

import json

import pytest

from harness import AGAIN, LITTLE_QUARANTINE, configuration, guest_path, handling

MIB_KIB = 1024
FOREVER = {"bounds": {"time": "1h"}}
# A key that fails and fails keeps what is behind it waiting.
POISONED = {"attempts": 1000, "backoff": "100ms", "backoff_max": "100ms"}


def start(site, config, *arguments, **options):
    weir = site.run(config, *arguments, **options)
    weir.wait_listening()
    return weir


def status(site):
    return json.loads(site.command("status", "--json").stdout)


def of_subscription(site, name):
    return next(each for each in status(site)["subscriptions"] if each["name"] == name)


# ---- concurrency ----


def with_concurrency(count, workers):
    config = handling("obey", host={"workers": workers}, **FOREVER)
    config["subscriptions"][0]["concurrency"] = count
    return config


@pytest.mark.tsan
def test_concurrency_1_is_strictly_serial(site):
    weir = start(site, with_concurrency(1, workers=4))
    for number in range(20):
        site.put(f"key-{number}", "wait 20")
    weir.wait_printed("obey", "wait: end", count=20)
    assert weir.printed("obey") == ["wait: begin", "wait: end"] * 20


@pytest.mark.tsan
def test_two_keys_run_side_by_side(site):
    weir = start(site, with_concurrency(2, workers=4))
    for number in range(2):
        site.put(f"key-{number}", "loop")
    weir.wait_printed("obey", "loop: begin", count=2)
    assert "loop: end" not in weir.printed("obey")


def test_a_third_waits_where_two_may(site):
    config = configuration(
        {"obey": FOREVER, "print": {}},
        [{"key": "loop-*", "guest": "obey", "concurrency": 2}, {"key": "*", "guest": "print"}],
        host={"workers": 4})
    weir = start(site, config)
    for number in range(3):
        site.put(f"loop-{number}", "loop")
    weir.wait_printed("obey", "loop: begin", count=2)
    # Other subscriptions have the workers that are left, and when they have had the third event,
    # so could it.
    weir.wait_events(3)
    site.put("other", "x")
    weir.wait_events(4)
    assert weir.printed("obey") == ["loop: begin"] * 2


# ---- a key that fails ----


@pytest.mark.tsan
@pytest.mark.parametrize("queue", [1024, 4], ids=["short", "longer-than-the-queue"])
def test_a_poison_key_with_much_behind_it_stops_nobody(site, queue):
    weir = start(site, handling("obey", host={"workers": 2}, retry=POISONED,
                                queue={"events": queue}))
    site.put("bad", "err not today")
    weir.wait_log(AGAIN)
    for number in range(20):
        site.put("bad", f"stderr bad {number}")
        weir.wait_provider_rests()
    for number in range(50):
        site.put(f"good-{number}", f"stderr good {number}")
    for number in range(50):
        weir.wait_printed("obey", f"good {number}")
    assert not [line for line in weir.printed("obey") if line.startswith("bad ")]


def through_a_topic(queue, **options):
    """What is stored comes to the subscription "second" through a topic, which leaves nothing out."""
    config = configuration(
        {"first": {"wasm": "trace"}, "second": {"wasm": "obey"} | FOREVER | options},
        [{"name": "first", "key": "*", "guest": "first", "to": "between"},
         {"name": "second", "watch": "between", "key": "*", "guest": "second", "queue": queue}],
        host={"workers": 2}, resources=("store",))
    config["resources"]["between"] = {"kind": "topic"}
    return config


@pytest.mark.tsan
def test_a_poison_key_of_a_topic_stops_nobody(site):
    weir = start(site, through_a_topic({"events": 4}, retry=POISONED))
    site.put("bad", "err not today")
    weir.wait_log(AGAIN)
    for number in range(20):
        site.put("bad", f"stderr bad {number}")
        weir.wait_traces(number + 2, "first", "bad")
    for number in range(50):
        site.put(f"good-{number}", f"stderr good {number}")
    for number in range(50):
        weir.wait_printed("second", f"good {number}")
    assert not [line for line in weir.printed("second") if line.startswith("bad ")]


def test_what_waited_behind_a_poison_key_comes_in_order_when_it_is_given_up(site):
    weir = start(site, through_a_topic({"events": 4}, retry=POISONED | {"attempts": 10}))
    site.put("bad", "err not today")
    weir.wait_log(AGAIN)
    for number in range(20):
        site.put("bad", f"stderr bad {number}")
        weir.wait_traces(number + 2, "first", "bad")
    weir.wait_printed("second", "bad 19")
    told = [line for line in weir.printed("second") if line.startswith("bad ")]
    assert told == [f"bad {number}" for number in range(20)]


# ---- more than can be handled ----


@pytest.mark.timeout(120)
def test_memory_is_flat_and_nothing_is_lost_behind_a_slow_handler(site):
    """Far more than the queue holds waits on the disk; later another guest handles it all."""
    config = through_a_topic({"events": 16, "bytes": "1MiB"})
    config["subscriptions"][1]["concurrency"] = 1
    weir = start(site, config, "--log-level", "info", env=LITTLE_QUARANTINE)
    site.put("blocker", "loop")
    weir.wait_printed("second", "loop: begin")
    value = "x" * 20_000
    keys = []

    def write_round(number):
        for key in range(200):
            keys.append(f"key-{number}-{key}")
            site.put(keys[-1], f"{keys[-1]} {value}")
        weir.wait_for(lambda: len({each["subject"] for each in weir.traces("first")}) >=
                      len(keys), "the first stage")
        weir.wait_for(lambda: of_target(site)["waiting_events"] == 0, "the topic")

    write_round(0)
    before_kib = weir.status("VmRSS")
    for number in range(1, 6):
        write_round(number)
    grown_kib = weir.status("VmRSS") - before_kib
    assert grown_kib < 12 * MIB_KIB, f"it grew by {grown_kib} KiB while 20 MB were written"
    assert of_subscription(site, "second")["lag_events"] >= len(keys)
    weir.kill()
    config["guests"]["second"]["wasm"] = str(guest_path("trace"))
    weir = start(site, config, "--log-level", "info")
    weir.wait_for(lambda: {each["subject"] for each in weir.traces("second")} >= set(keys),
                  "every event")
    told = [each["subject"] for each in weir.traces("second") if each["subject"] in set(keys)]
    assert told == keys


def of_target(site, name="between"):
    return next(each for each in status(site)["targets"] if each["name"] == name)


def test_a_full_journal_pauses_the_source_and_nothing_is_lost(site):
    """A file source can be paused: it keeps the names of what changed."""
    config = handling("obey", host={"workers": 1}, queue={"events": 4}, journal={"events": 8},
                      **FOREVER)
    config["subscriptions"][0]["name"] = "kept"
    weir = start(site, config)
    site.put("a-blocker", "loop")
    weir.wait_printed("obey", "loop: begin")
    for number in range(100):
        site.put(f"key-{number}", f"value {number}")
    weir.wait_provider_rests()
    assert of_subscription(site, "kept")["lag_events"] <= 20
    weir.kill()
    config["guests"]["obey"]["wasm"] = str(guest_path("trace"))
    weir = start(site, config)
    weir.wait_for(lambda: {each["subject"]: each["data"] for each in weir.traces("obey")} ==
                  {f"key-{number}": f"value {number}" for number in range(100)} |
                  {"a-blocker": "loop"}, "every key")
