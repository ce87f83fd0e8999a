# SPDX-License-Identifier: Apache-2.0
"""What a handler returns goes where its subscription says, at least once, and can be traced."""

import json
import signal
import time

import pytest

from harness import GIVEN_UP, HAS_STEPS, configuration

RELOADS = 10


def chained(stages, host=None, resources=("store", "out"), topics=("between",)):
    """`stages`: (name, what it watches, where to) each, all of the guest `trace`."""
    config = configuration(
        {name: {"wasm": "trace", "retry": {"backoff": "5ms"}} for name, _, _ in stages},
        [{"name": name, "watch": watched, "key": "*", "guest": name} | ({"to": to} if to else {})
         for name, watched, to in stages],
        resources=resources, host=host)
    config["resources"] |= {topic: {"kind": "topic"} for topic in topics}
    return config


def start(site, config, **options):
    for name, resource in config["resources"].items():
        if resource["kind"] == "file":
            (site.root / name).mkdir(exist_ok=True)
    weir = site.run(config, **options)
    weir.wait_listening()
    return weir


def dead_letters(site):
    """The dead letters of the site, as `weir dlq ls --json` has them, a line each."""
    lines = site.command("dlq", "ls", "--json").stdout.decode().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.tsan
def test_to_a_directory(site):
    weir = start(site, chained([("first", "store", "out")], topics=()))
    site.put("key", "value")
    site.put("folder/deep", "grüße")
    out = site.root / "out"
    weir.wait_for(lambda: (out / "folder/deep").exists() and (out / "key").exists(), "both keys")
    assert (out / "key").read_text() == "value"
    assert (out / "folder/deep").read_text() == "grüße"
    site.put("key", "another")
    weir.wait_for(lambda: (out / "key").read_text() == "another", "the new value")


def test_any_bytes_arrive(site):
    config = configuration({"echo": {}}, [{"key": "*", "guest": "echo", "to": "out"}],
                           resources=("store", "out"))
    weir = start(site, config)
    values = {"all": bytes(range(256)), "empty": b"", "large": b"\xff\0" * 500_000}
    for key, value in values.items():
        site.put(key, value)
    for key, value in values.items():
        path = site.root / "out" / key
        weir.wait_for(lambda path=path: path.exists(), f"the key {key}")
        assert path.read_bytes() == value


@pytest.mark.tsan
def test_a_chain_can_be_traced(site):
    weir = start(site, chained(
        [("first", "store", "one"), ("second", "one", "two"), ("third", "two", None)],
        topics=("one", "two")))
    site.put("key", "value")
    first, second, third = (weir.wait_traces(1, name)[0] for name in ("first", "second", "third"))
    assert [each["data"] for each in (first, second, third)] == ["value"] * 3
    assert [each["subject"] for each in (first, second, third)] == ["key"] * 3
    assert "+hops" not in first
    assert (second["+hops"], third["+hops"]) == ("1", "2")
    assert second["+causationid"] == first["id"]
    assert third["+causationid"] == second["id"]
    assert second["+correlationid"] == third["+correlationid"] == first["id"]
    assert len({(each["source"], each["id"]) for each in (first, second, third)}) == 3
    assert second["type"] == "dev.weir.test.copied"


def test_a_failed_attempt_publishes_nothing(site):
    weir = start(site, chained([("first", "store", "between"), ("second", "between", None)]))
    site.put("key", "value without fault")
    site.put("other", "fail-once")
    weir.wait_for(lambda: [each for each in weir.traces("second", "other")
                           if each["outcome"] == "handled"], "the second attempt at the second")
    assert [each["outcome"] for each in weir.traces("first", "other")] == ["failed", "handled"]
    ids = {each["id"] for each in weir.traces("second", "other")}
    assert len(ids) == 1, "one event, whatever its attempts"


def test_order_per_key_holds_along_the_chain(site):
    weir = start(site, chained([("first", "store", "between"), ("second", "between", "out")],
                               host={"workers": 4}))
    for number in range(100):
        for key in range(4):
            site.put(f"key-{key}", f"{number}")
    weir.wait_for(lambda: all((site.root / f"out/key-{key}").exists() and
                              (site.root / f"out/key-{key}").read_text() == "99"
                              for key in range(4)), "the last value of every key")
    assert weir.stop() == 0
    for key in range(4):
        told, followed = ([int(each["data"]) for each in weir.traces(name, f"key-{key}")]
                          for name in ("first", "second"))
        assert told == sorted(set(told))
        assert followed == told, "a topic leaves nothing out"


def test_two_watch_one_topic(site):
    weir = start(site, chained([("first", "store", "between"), ("second", "between", None),
                                ("third", "between", None)]))
    for number in range(10):
        site.put(f"key-{number}", "x")
    events = [weir.wait_traces(10, name) for name in ("second", "third")]
    assert {each["id"] for each in events[0]} == {each["id"] for each in events[1]}


def test_a_chain_that_feeds_itself_is_cut(site):
    weir = start(site, chained([("first", "store", "between"), ("loop", "between", "between")],
                               host={"hops": 5}))
    site.put("key", "round and round")
    weir.wait_log(GIVEN_UP, subscription="loop")
    site.put("key", "again")
    weir.wait_for(lambda: len([each for each in weir.traces("loop")
                               if each["data"] == "again"]) >= 4, "the second round")
    weir.wait_for(lambda: len(dead_letters(site)) == 2, "both chains' ends")
    assert weir.stop() == 0
    for value in "round and round", "again":
        hops = [each["+hops"] for each in weir.traces("loop") if each["data"] == value]
        assert hops == [str(hop) for hop in range(1, len(hops) + 1)]
        assert 4 <= len(hops) <= 5
    letters = dead_letters(site)
    assert len(letters) == 2
    assert all("hop" in letter["reason"] for letter in letters)


def test_what_can_never_be_published_is_put_aside_and_others_go_on(site):
    """A directory cannot have a value without a key."""
    weir = start(site, chained([("first", "store", "out")], topics=()))
    site.put("bad", "no-subject")
    site.put("fine", "can be")
    weir.wait_for(lambda: (site.root / "out/fine").exists(), "the other key")
    weir.wait_for(lambda: [letter for letter in dead_letters(site)
                           if "subject" in letter["reason"]], "a dead letter")
    assert weir.stop() == 0
    assert [letter["target"] for letter in dead_letters(site)] == ["out"]


def test_what_cannot_be_published_now_waits_and_is_published_then(site):
    """The directory goes away, as one does that is unmounted, and comes back."""
    weir = start(site, chained([("first", "store", "out")], topics=()))
    site.put("before", "value")
    weir.wait_for(lambda: (site.root / "out/before").exists(), "the key before")
    (site.root / "out").rename(site.root / "away")
    site.put("key", "value")
    weir.wait_log("an event cannot be published now and will be later", resource="out")
    (site.root / "away").rename(site.root / "out")
    weir.wait_for(lambda: (site.root / "out/key").exists(), "the key")
    assert (site.root / "out/key").read_text() == "value"
    assert not dead_letters(site)


def test_what_stands_in_a_keys_way_makes_it_a_dead_letter(site):
    """`out/name` is a file, so nothing can be a key below it."""
    (site.root / "out").mkdir()
    (site.root / "out/name").write_text("a file", encoding="ascii")
    weir = start(site, chained([("first", "store", "out")], topics=()))
    site.put("name/below", "value")
    weir.wait_for(lambda: dead_letters(site), "a dead letter")
    assert "a name cannot be a file and a directory" in dead_letters(site)[0]["reason"]


def test_a_removal_removes(site):
    """`echo` returns the event as it is."""
    config = configuration({"echo": {}}, [{"key": "*", "guest": "echo", "to": "out"}],
                           resources=("store", "out"))
    weir = start(site, config)
    path = site.root / "out/key"
    site.put("key", "value")
    weir.wait_for(path.exists, "the key")
    site.shell("rm key")
    weir.wait_for(lambda: not path.exists(), "its removal")


def test_a_chain_goes_on_through_a_directory(site):
    weir = start(site, chained([("first", "store", "out"), ("second", "out", None)], topics=()))
    site.put("key", "value")
    second = weir.wait_traces(1, "second")[0]
    first = weir.traces("first")[0]
    assert second["+causationid"] == second["+correlationid"] == first["id"]
    assert second["+hops"] == "1"
    # Who writes there by himself begins a chain of his own.
    (site.root / "out/key").write_text("by hand", encoding="ascii")
    assert "+hops" not in weir.wait_traces(2, "second")[1]


def test_what_is_returned_without_a_target_is_no_fault(site):
    weir = start(site, chained([("first", "store", None)], topics=()))
    site.put("key", "x")
    weir.wait_traces(1, "first")
    assert weir.stop() == 0
    assert not weir.logs(level="error")


@pytest.mark.parametrize("to, told", [("nowhere", "nowhere"), ("", "to")])
def test_a_target_that_there_is_not(site, to, told):
    config = chained([("first", "store", "between")])
    config["subscriptions"][0]["to"] = to
    (site.root / "out").mkdir()
    weir = site.run(config)
    assert weir.wait_exit() == 2
    assert told in weir.stderr.decode()


# ---- over a stop ----


@pytest.mark.tsan
def test_what_waits_in_a_topic_survives(site):
    """The second stage is stuck; after a kill another guest gets everything, in order."""
    stages = [("first", "store", "between"), ("second", "between", None)]
    config = chained(stages, host={"workers": 2})
    config["guests"]["second"] |= {"wasm": config["guests"]["second"]["wasm"].replace(
        "trace", "obey"), "bounds": {"time": "1h"}}
    weir = start(site, config)
    site.put("stuck", "loop")
    weir.wait_printed("second", "loop: begin")
    for number in range(20):
        site.put("stuck", f"value {number}")
        weir.wait_traces(number + 2, "first")
    site.put("sentinel", "ok")  # another key: it is published behind them
    weir.wait_printed("second", "ok: end")
    weir.kill()
    weir = start(site, chained(stages))
    wanted = ["loop", *(f"value {number}" for number in range(20))]
    weir.wait_for(lambda: [each["data"] for each in weir.traces("second", "stuck")] == wanted,
                  "everything in order")


@pytest.mark.tsan
def test_a_topic_waits_for_a_subscription_that_is_changed(site):
    """Its events go on coming meanwhile, and the other watch of the topic gets each of them once."""
    def config(concurrency):
        tree = chained([("first", "store", "between"), ("second", "between", None),
                        ("third", "between", None)], host={"workers": 2})
        tree["subscriptions"][1]["concurrency"] = concurrency
        return tree

    weir = start(site, config(1))
    keys = [f"key-{number}" for number in range(20 * RELOADS)]
    for number in range(RELOADS):
        site.write_config(config(2 + number % 2))
        weir.send(signal.SIGHUP)
        for key in keys[number * 20:(number + 1) * 20]:
            site.put(key, "x")
        weir.wait_for(lambda number=number: len(weir.logs("a subscription has begun")) > number,
                      "the changed subscription")
    for name in "second", "third":
        weir.wait_for(lambda name=name: {each["subject"] for each in weir.traces(name)} >=
                      set(keys), f"everything at {name}")
    assert weir.stop() == 0
    assert sorted(each["subject"] for each in weir.traces("third")) == sorted(keys)


def test_a_topic_does_not_wait_for_a_subscription_that_is_removed(site):
    stages = [("first", "store", "between"), ("second", "between", None),
              ("third", "between", None)]
    weir = start(site, chained(stages))
    site.put("key", "1")
    weir.wait_traces(1, "second")
    site.write_config(chained(stages[:1] + stages[2:]))
    weir.send(signal.SIGHUP)
    weir.wait_log("a subscription has ended")
    begin_s = time.monotonic()
    site.put("key", "2")
    weir.wait_traces(2, "third")
    assert time.monotonic() - begin_s < 5, "a topic waits 10 s for one that comes again"
    changed = chained(stages[:1] + stages[2:])
    changed["subscriptions"][1]["concurrency"] = 1
    site.write_config(changed)
    weir.send(signal.SIGHUP)
    weir.wait_log("a subscription has begun")
    begin_s = time.monotonic()
    site.put("key", "3")
    weir.wait_traces(3, "third")
    assert time.monotonic() - begin_s < 5, "nor when another one leaves"


@pytest.mark.skipif(not HAS_STEPS, reason="this build does not die at steps")
@pytest.mark.parametrize("step", ["handler", "after-verdict", "before-commit", "before-publish",
                                  "after-publish"])
def test_a_derived_event_has_the_same_id_when_it_comes_again(site, step):
    stages = [("first", "store", "between"), ("second", "between", "out")]
    start(site, chained(stages)).stop()
    weir = site.run_until(step, chained(stages))
    site.put("key", "value")
    weir.wait_exit()
    before = weir.traces("second")
    weir = start(site, chained(stages))
    out = site.root / "out/key"
    weir.wait_for(lambda: out.exists() and out.read_text() == "value", "the end of the chain")
    assert weir.stop() == 0
    after = weir.traces("second")
    assert len({each["id"] for each in before + after}) == 1
    assert len({each["+causationid"] for each in before + after}) == 1
    # And now it is over.
    weir = start(site, chained(stages))
    site.put("last", "last")
    weir.wait_traces(1, "second", "last")
    assert weir.stop() == 0
    assert [each["subject"] for each in weir.traces("first") + weir.traces("second")] == [
        "last", "last"]
