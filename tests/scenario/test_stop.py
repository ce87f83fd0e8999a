# SPDX-License-Identifier: Apache-2.0
"""What a stop leaves behind: outcomes are durable, and the rest is for the next start."""

import signal
import time

import pytest

from harness import SLACK_S, configuration, guest_path

FOREVER = {"bounds": {"time": "1h"}}


def kept(guest, to=None, host=None, **options):
    """One subscription, with a name that lasts over another guest."""
    config = configuration(
        {"it": {"wasm": guest} | options},
        [{"name": "kept", "key": "*", "guest": "it"} | ({"to": to} if to else {})], host=host)
    if to:
        config["resources"][to] = {"kind": "topic"}
        config["guests"]["next"] = {"wasm": str(guest_path("trace"))}
        config["subscriptions"].append({"name": "next", "watch": to, "key": "*", "guest": "next"})
    return config


def start(site, config, **options):
    weir = site.run(config, **options)
    weir.wait_listening()
    return weir


def told_by_the_next(site, config=None):
    """The keys that the next weir is told. What was taken up before the sentinel was taken up is
    done when it has stopped, though not always printed before."""
    weir = start(site, config or kept("trace"))
    site.put("zz-last", "x")
    weir.wait_for(lambda: weir.traces("it", "zz-last"), "the sentinel")
    site.wait_rest(weir)  # it may overtake the others, which are of other keys
    assert weir.stop() == 0
    return [each["subject"] for each in weir.traces("it") if each["subject"] != "zz-last"]


@pytest.mark.tsan
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_what_finishes_in_its_grace_is_done(site, number):
    weir = start(site, kept("obey", host={"grace": "1h"}))
    site.put("key", "wait 700")
    weir.wait_printed("it", "wait: begin")
    assert weir.stop(number) == 0
    assert weir.printed("it") == ["wait: begin", "wait: end"]
    assert told_by_the_next(site) == []


@pytest.mark.tsan
def test_what_is_cut_after_its_grace_comes_again(site):
    weir = start(site, kept("obey", host={"grace": "200ms"}, **FOREVER))
    site.put("key", "loop")
    weir.wait_printed("it", "loop: begin")
    assert weir.stop() == 0
    assert told_by_the_next(site) == ["key"]


@pytest.mark.tsan
def test_a_second_signal_does_not_wait_and_loses_nothing(site):
    weir = start(site, kept("obey", host={"grace": "1h", "workers": 2}, **FOREVER))
    site.put("key", "loop")
    weir.wait_printed("it", "loop: begin")
    site.put("other", "ok")
    weir.wait_printed("it", "ok: end")
    weir.send(signal.SIGTERM)
    weir.wait_log("stopping")
    begin_s = time.monotonic()
    assert weir.stop() == 0
    assert time.monotonic() - begin_s < SLACK_S
    assert told_by_the_next(site) == ["key"], "and not what was done"


@pytest.mark.tsan
def test_a_stop_amid_many_events_divides_them(site):
    """Every event is handled once, by this weir or by the next."""
    keys = [f"key-{number:02}" for number in range(40)]
    weir = start(site, kept("obey", host={"grace": "1h", "workers": 1}))
    for key in keys:
        site.put(key, "wait 20")
    weir.wait_printed("it", "wait: end", count=5)
    assert weir.stop() == 0
    done = weir.printed("it").count("wait: end")
    assert weir.printed("it").count("wait: begin") == done
    assert 5 <= done < len(keys)
    rest = told_by_the_next(site)
    assert len(rest) == len(keys) - done
    assert set(rest) < set(keys)


@pytest.mark.tsan
def test_what_follows_from_the_last_events_arrives(site):
    """Also where weir is stopped between an event and what follows from it."""
    weir = start(site, kept("trace", to="between", host={"workers": 2}))
    for number in range(200):
        site.put(f"key-{number}", "x")
    weir.wait_traces(20, "it")
    assert weir.stop() == 0
    done = [each["subject"] for each in weir.traces("it")]
    arrived = [each["subject"] for each in weir.traces("next")]
    weir = start(site, kept("trace", to="between"))
    site.put("zz-last", "x")
    weir.wait_for(lambda: weir.traces("next", "zz-last"), "the sentinel at the next stage")
    weir.wait_for(lambda: {each["subject"] for each in weir.traces("next")} | set(arrived) >=
                  {f"key-{number}" for number in range(200)}, "everything at the next stage")
    assert weir.stop() == 0
    done += [each["subject"] for each in weir.traces("it")]
    arrived += [each["subject"] for each in weir.traces("next")]
    assert sorted(done) == sorted(set(done)), "after an orderly stop nothing is done twice"
    assert sorted(arrived) == sorted(set(arrived))


def test_a_stop_ends_the_wait_of_an_idle_weir_with_its_state_closed(site):
    """Nothing is left that the next start would have to recover."""
    weir = start(site, kept("trace"))
    site.put("key", "x")
    weir.wait_traces(1, "it")
    assert weir.stop() == 0
    left = {path.name for path in (site.root / ".weir").iterdir()}
    assert "state.db" in left
    assert "state.db-wal" not in left or not (site.root / ".weir/state.db-wal").stat().st_size


@pytest.mark.tsan
def test_many_stops_and_starts_in_a_row(site):
    """A stop may come at any moment of the start; what changes meanwhile is told once."""
    start(site, kept("trace")).stop()
    told = []
    for number in range(10):
        site.put(f"key-{number}", "x")
        weir = site.run(kept("trace"))
        weir.good_ends = {0, -signal.SIGTERM}  # before it has taken the signals over
        weir.wait_for(lambda weir=weir, number=number:
                      time.monotonic() - weir.started_s > number * 0.03, "a moment")
        assert weir.stop() in weir.good_ends
        told += [each["subject"] for each in weir.traces("it")]
    told += told_by_the_next(site)
    assert sorted(told) == sorted(f"key-{number}" for number in range(10))
