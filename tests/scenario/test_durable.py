# SPDX-License-Identifier: Apache-2.0
"""What was not done when weir ended is done by the next one, and nothing else is."""

import json
import re
import stat

import pytest

from harness import AGAIN, GIVEN_UP, HAS_STEPS, configuration, handling

# Of a line of `trace`: what may differ when the event comes again.
OF_A_DELIVERY = ("at", "outcome", "+attempt")
STEPS_BEFORE_THE_COMMIT = ["after-intake", "after-journal", "handler", "after-verdict",
                           "before-commit"]


def watching(guest, **options):
    """A subscription with a name of its own, so that another guest can go on with it."""
    return configuration({guest: options}, [{"name": "kept", "key": "*", "guest": guest}])


def start(site, config, *arguments, **options):
    weir = site.run(config, *arguments, **options)
    weir.wait_listening()
    return weir


def told(traces):
    """Of each event what happened, without what is not the event's own."""
    return [(each["subject"], each["type"].rpartition(".")[2], each.get("data"))
            for each in traces]


def bytes_of(trace):
    return {name: value for name, value in trace.items() if name not in OF_A_DELIVERY}


def put_sentinel(site, weir, guest="trace"):
    """A last event: when it has come, everything that was before it has."""
    site.put("zz-last", "the last one")
    weir.wait_for(lambda: weir.traces(guest, "zz-last"), "the sentinel")
    site.wait_rest(weir)  # it may overtake others, which are of other keys


# ---- what happened while weir was down ----


@pytest.mark.tsan
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_changed_while_weir_was_down_is_told(site, end):
    for key in "same", "changed", "removed", "rewritten":
        site.put(key, f"{key} before any weir")
    weir = start(site, watching("trace"))
    for key in "same", "changed", "removed":
        site.put(key, f"{key} first")
    weir.wait_traces(3)
    getattr(weir, end)()
    site.put("changed", "changed second")
    site.put("rewritten", "rewritten second")
    site.put("folder/new", "new first")
    site.shell("rm removed; echo came > brief; rm brief")
    weir = start(site, watching("trace"))
    weir.wait_for(lambda: {"changed", "rewritten", "folder/new", "removed"} <=
                  {each["subject"] for each in weir.traces()}, "every change")
    put_sentinel(site, weir)
    assert weir.stop() == 0
    new = [each for each in told(weir.traces())
           if end == "stop" or each[2] not in ("same first", "changed first", "removed first")]
    assert sorted(new) == [
        ("changed", "set", "changed second"), ("folder/new", "set", "new first"),
        ("removed", "deleted", None), ("rewritten", "set", "rewritten second"),
        ("zz-last", "set", "the last one")]


@pytest.mark.tsan
def test_nothing_comes_twice_after_an_orderly_stop(site):
    for number in range(3):
        weir = start(site, watching("trace"))
        put = {f"key-{number}-{key}" for key in range(20)}
        for key in sorted(put):
            site.put(key, "x")
        weir.wait_traces(len(put))
        put_sentinel(site, weir)
        assert weir.stop() == 0
        events = [each["subject"] for each in weir.traces()]
        assert sorted(events) == sorted(put | {"zz-last"})


def test_what_was_there_before_the_first_weir_is_not_told_by_the_second(site):
    site.put("old", "x")
    start(site, watching("trace")).stop()
    weir = start(site, watching("trace"))
    put_sentinel(site, weir)
    assert [each["subject"] for each in weir.traces()] == ["zz-last"]


def test_without_its_state_it_begins_anew(site):
    weir = start(site, watching("trace"))
    site.put("key", "first")
    weir.wait_traces(1)
    assert weir.stop() == 0
    site.shell("rm -r ../.weir")
    site.put("key", "second")
    weir = start(site, watching("trace"))
    put_sentinel(site, weir)
    assert [each["subject"] for each in weir.traces()] == ["zz-last"]


# ---- what was under way ----


@pytest.mark.tsan
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_queued_and_in_flight_comes_again(site, end):
    """The first weir handles nothing; another guest goes on under the subscription's name."""
    weir = start(site, watching("obey", bounds={"time": "1h"}) | {
        "host": {"workers": 1, "grace": "100ms"}})
    site.put("in-flight", "loop")
    weir.wait_printed("obey", "loop: begin")
    for number in range(10):
        site.put(f"queued-{number}", f"value {number}")
    weir.wait_provider_rests()
    getattr(weir, end)()
    assert weir.printed("obey") == ["loop: begin"]
    weir = start(site, watching("trace"))
    weir.wait_traces(11)
    put_sentinel(site, weir)
    assert sorted(told(weir.traces())) == sorted(
        [("in-flight", "set", "loop"), ("zz-last", "set", "the last one")] +
        [(f"queued-{number}", "set", f"value {number}") for number in range(10)])
    assert not any("+attempt" in each for each in weir.traces()), "no attempt had failed"


def test_the_last_of_what_was_queued_for_a_key_comes_last(site):
    weir = start(site, watching("obey", bounds={"time": "1h"}))
    site.put("key", "loop")
    weir.wait_printed("obey", "loop: begin")
    for number in range(5):
        site.put("key", f"value {number}")
        weir.wait_provider_rests()
    weir.kill()
    site.put("key", "while it was down")
    weir = start(site, watching("trace"))
    weir.wait_for(lambda: [each for each in weir.traces(key="key")
                           if each["data"] == "while it was down"], "the last value")
    put_sentinel(site, weir)
    values = [each["data"] for each in weir.traces(key="key")]
    wanted = ["loop", *(f"value {number}" for number in range(5)), "while it was down"]
    assert values == [value for value in wanted if value in values], "order, and nothing twice"


def test_a_removal_that_was_queued_comes(site):
    weir = start(site, watching("obey", bounds={"time": "1h"}))
    site.put("key", "loop")
    weir.wait_printed("obey", "loop: begin")
    site.shell("rm key")
    weir.wait_provider_rests()
    weir.kill()
    weir = start(site, watching("trace"))
    weir.wait_for(lambda: "deleted" in [kind for _, kind, _ in told(weir.traces(key="key"))],
                  "the removal")
    put_sentinel(site, weir)
    assert [kind for _, kind, _ in told(weir.traces(key="key"))] in (["set", "deleted"],
                                                                     ["deleted"])


@pytest.mark.skipif(not HAS_STEPS, reason="this build does not die at steps")
@pytest.mark.parametrize("step", STEPS_BEFORE_THE_COMMIT)
def test_killed_before_the_outcome_is_durable_the_same_event_comes_again(site, step):
    site.put("key", "before")
    start(site, watching("trace")).stop()
    weir = site.run_until(step, watching("trace"))
    site.put("key", "slow value")  # so slow that it gets a row in the journal
    weir.wait_exit()
    before = weir.traces(key="key")
    weir = start(site, watching("trace"))
    again = weir.wait_traces(1)[0]
    put_sentinel(site, weir)
    assert told(weir.traces()) == [("key", "set", "slow value"), ("zz-last", "set", "the last one")]
    for each in before:
        assert bytes_of(each) == bytes_of(again)


# ---- attempts ----


def test_attempts_go_on_after_a_restart(site):
    """Three in all, although weir ended between the first and the second."""
    weir = start(site, watching("err", retry={"attempts": 3, "backoff": "1h", "backoff_max": "1h"}))
    site.put("key", "x")
    weir.wait_log(AGAIN, attempt=1, attempts_max=3)
    assert weir.stop() == 0
    weir = start(site, watching("err", retry={"attempts": 3, "backoff": "10ms"}))
    weir.wait_log(GIVEN_UP, attempt=3, attempts_max=3)
    weir.wait_printed("err", "attempt 3")
    assert weir.printed("err") == ["attempt 2", "attempt 3"]


def test_the_attempt_is_told_after_a_restart(site):
    weir = start(site, watching("trace", retry={"backoff": "1h", "backoff_max": "1h"}))
    site.put("key", "fail-once")
    weir.wait_log(AGAIN)
    assert weir.stop() == 0
    first = weir.traces()[0]
    weir = start(site, watching("trace", retry={"backoff": "10ms"}))
    again = weir.wait_traces(1)[0]
    assert (first["outcome"], again["outcome"]) == ("failed", "handled")
    assert again["+attempt"] == "2"
    assert bytes_of(first) == bytes_of(again)


def test_what_was_given_up_does_not_come_again(site):
    config = watching("err", retry={"attempts": 1})
    weir = start(site, config)
    site.put("key", "x")
    weir.wait_log(GIVEN_UP)
    assert weir.stop() == 0
    weir = start(site, watching("trace"))
    put_sentinel(site, weir)
    assert [each["subject"] for each in weir.traces()] == ["zz-last"]


def test_what_was_given_up_is_a_dead_letter_also_after_a_restart(site):
    weir = start(site, watching("err", retry={"attempts": 2, "backoff": "1ms"}))
    site.put("key", "x")
    record = weir.wait_log(GIVEN_UP)
    assert weir.stop() == 0
    for _ in range(2):
        letters = [json.loads(line) for line in
                   site.command("dlq", "ls", "--json").stdout.decode().splitlines()]
        assert [(letter["subscription"], letter["event_id"], letter["attempts"])
                for letter in letters] == [("kept", record["event"], 2)]
        start(site, watching("trace")).stop()


# ---- the place of the state ----


def test_it_is_beside_the_configuration_and_private(site):
    folder = site.directory("elsewhere")
    config = watching("trace")
    config["resources"]["store"]["path"] = "../store"
    site.write_config(config, "elsewhere/weir.yaml")
    weir = site.start("run", "elsewhere/weir.yaml", "--log-format", "json", "--log-level", "debug")
    weir.wait_listening()
    state = folder / ".weir"
    assert (state / "state.db").is_file()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "state.db").stat().st_mode) == 0o600
    assert not (site.root / ".weir").exists()


def test_another_place_on_the_command_line(site):
    weir = start(site, watching("trace"), "--state", "other")
    site.put("key", "x")
    weir.wait_traces(1)
    assert weir.stop() == 0
    assert (site.root / "other/state.db").is_file()
    assert not (site.root / ".weir").exists()
    weir = start(site, watching("trace"), "--state", "other")
    put_sentinel(site, weir)
    assert len(weir.traces()) == 1


def test_a_second_weir_is_refused(site):
    first = start(site, watching("trace"))
    second = site.run(watching("trace"))
    assert second.wait_exit() == 1
    said = second.stderr.decode()
    assert str(first.pid) in said, "who has it"
    assert re.search(r"\.weir", said), "what is meant"
    # The first one is not disturbed, and when it is gone the next one may.
    site.put("key", "x")
    first.wait_traces(1)
    first.kill()
    weir = start(site, watching("trace"))
    put_sentinel(site, weir)


def test_two_weirs_with_a_state_each(site):
    weirs = [start(site, watching("trace"), "--state", name) for name in ("one", "two")]
    site.put("key", "x")
    assert len({weir.wait_traces(1)[0]["id"] for weir in weirs}) == 1


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_a_place_that_cannot_be(site, place):
    (site.root / "file").write_text("not a directory", encoding="ascii")
    weir = site.run(watching("trace"), "--state", place)
    assert weir.wait_exit() in (1, 2)
    assert place in weir.stderr.decode()
    assert (site.root / "file").read_text() == "not a directory"


def test_what_is_no_database_is_not_touched(site):
    state = site.root / ".weir"
    state.mkdir(mode=0o700)
    (state / "state.db").write_bytes(b"this is somebody's diary" * 1000)
    weir = site.run(watching("trace"))
    assert weir.wait_exit() == 1
    assert "state.db" in weir.stderr.decode()
    assert (state / "state.db").read_bytes() == b"this is somebody's diary" * 1000
