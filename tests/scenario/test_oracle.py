# SPDX-License-Identifier: Apache-2.0
"""The oracle of the crash harness finds what it is there to find: made-up histories, each with one
thing wrong."""

import copy

import pytest

import oracle
from oracle import DELETED, SET, Delivery, History, Run, Write

STAGES = ["first", "second", "third"]


def event_id(place, key="k"):
    return f"{key}@{place}"


def told(value, place, key="k", removed=None, **more):
    """What the first stage is told. `removed`: of the value at that place, which went."""
    event = {"id": event_id(place, key), "type": SET, "source": "/a", "subject": key, "data": value}
    if removed is not None:
        event |= {"id": event_id(removed, key) + "-deleted", "type": DELETED}
        del event["data"]
    return Delivery("first", True, event | more)


def follows(cause, **more):
    """What the second stage is told then."""
    event = {"id": "derived-" + cause.id, "type": "copied", "source": "/first",
             "subject": cause.key, "data": cause.event.get("data", "gone " + cause.id),
             "+causationid": cause.id, "+correlationid": cause.id, "+hops": "1"}
    return Delivery("second", True, event | more)


def copied(derived, **more):
    event = {"id": "b-" + derived.id, "type": SET, "source": "/b", "subject": derived.key,
             "data": derived.event["data"]}
    return Delivery("third", True, event | more)


def chain(cause):
    return [cause, follows(cause), copied(follows(cause))]


def good():
    """Two keys over three runs: killed, stopped, and drained. "k" is changed while weir is down."""
    writes = [Write("k", value) for value in ("k 0", "k 1", "k 2", "k 3", None, "k 5")]
    writes += [Write("gone", value) for value in ("g 0", None)]
    k = [told(f"k {place}", place) for place in range(6)]
    removed = told(None, 4, removed=3)
    runs = [
        Run(1, [*chain(k[0]), *chain(told("g 0", 0, "gone")), *chain(k[1]), k[2]]),
        Run(2, [*chain(k[2]), *chain(told(None, 1, "gone", removed=0))], was_orderly=True,
            written_before={"k": 3}),
        Run(3, [k[3], follows(k[3]), removed, follows(removed), *chain(k[5])],
            written_before={"k": 4}),
    ]
    return History(stages=STAGES, copies="third", source="/a", writes=writes, runs=runs,
                   final={"k": "k 5"}, copied={"k": "k 5", "gone": "gone gone@0-deleted"})


def rules(history):
    problems, _ = oracle.check(history)
    return {problem.partition(":")[0] for problem in problems}


def deliveries(history, run):
    return history.runs[run - 1].deliveries


def find(history, run, stage, key="k", at=0):
    """The index of the delivery of that number at the stage."""
    found = [index for index, each in enumerate(deliveries(history, run))
             if (each.stage, each.key) == (stage, key)]
    return found[at]


def change(history, run, stage, key="k", at=0, **attributes):
    index = find(history, run, stage, key, at)
    delivery = copy.deepcopy(deliveries(history, run)[index])
    delivery.event.update({name.replace("_", "+", 1) if name.startswith("_") else name: value
                           for name, value in attributes.items()})
    deliveries(history, run)[index] = delivery
    return delivery


def test_a_good_history_is_good():
    problems, covered = oracle.check(good())
    assert problems == []
    assert covered["caught up"] == 2
    assert covered["again"] == 1
    assert covered["followed"] > 4


def test_states_that_were_overwritten_may_be_left_out():
    history = good()
    for stage in "first", "second":  # "k 3" and its removal, in the last run
        for _ in range(2):
            del deliveries(history, 3)[find(history, 3, stage)]
    history.runs[2].written_before["k"] = 6
    assert rules(history) == set()


def test_what_the_run_before_published_may_come_again():
    history = good()
    deliveries(history, 2)[:0] = [follows(told("k 1", 1)), follows(told("k 1", 1))]
    assert rules(history) == set()


def lose_the_last_value(history):
    for stage in STAGES:
        del deliveries(history, 3)[find(history, 3, stage, at=-1)]


def lose_a_removal(history):
    for stage in STAGES:
        del deliveries(history, 2)[find(history, 2, stage, "gone")]


def lose_the_copy(history):
    history.copied["k"] = "k 3"


def keep_the_copy_of_what_was_removed(history):
    history.copied["gone"] = "g 0"


def swap_within_a_run(history):
    first = find(history, 1, "first")
    run = deliveries(history, 1)
    later = find(history, 1, "first", at=1)
    run[first], run[later] = run[later], run[first]


def go_back_after_a_kill(history):
    # "k 1" has arrived at the second stage in the first run.
    deliveries(history, 2).insert(0, told("k 0", 0))


def tell_again_what_was_settled(history):
    deliveries(history, 2).insert(0, told("k 1", 1))


def tell_again_after_an_orderly_stop(history):
    deliveries(history, 3).insert(0, follows(told("k 2", 2)))


def handle_twice_in_a_run(history):
    deliveries(history, 3).append(deliveries(history, 3)[find(history, 3, "first", at=-1)])


def publish_twice_in_a_run(history):
    deliveries(history, 3).append(deliveries(history, 3)[find(history, 3, "second", at=-1)])


def tell_a_value_that_nobody_wrote(history):
    change(history, 1, "first", data="k 77")


def tell_half_a_value(history):
    change(history, 1, "third", data="k")


def tell_another_key(history):
    change(history, 1, "first", subject="other")


def tell_another_source(history):
    change(history, 1, "first", source="/b")


def keep_what_nobody_wrote(history):
    history.copied["stray"] = "k 0"


def change_an_id(history):
    change(history, 2, "first", id="k@other")


def change_bytes_under_an_id(history):
    change(history, 2, "first", time="2026-01-01T00:00:00Z")


def change_a_derived_id(history):
    again = follows(told("k 2", 2), id="derived-otherwise")
    deliveries(history, 2).append(again)


def miss_a_derived_event(history):
    # "k 1", which came behind it, has arrived.
    del deliveries(history, 1)[find(history, 1, "second")]


def miss_a_derived_event_of_an_orderly_run(history):
    del deliveries(history, 2)[find(history, 2, "second")]


def miss_the_last_derived_event(history):
    del deliveries(history, 3)[find(history, 3, "second", at=-1)]


def derive_from_nothing(history):
    change(history, 1, "second", _causationid="k@never")


def derive_something_else(history):
    change(history, 1, "second", data="k 1")


def forget_the_chain(history):
    change(history, 1, "second", _correlationid="k@1")


def count_no_hops(history):
    change(history, 1, "second", _hops="7")


def catch_nothing_up(history):
    for run in history.runs:
        run.written_before = {}


def repeat_what_was_long_done(history):
    history.repeat_window_s = 2.0
    deliveries(history, 1)[-1].event["at"] = "100.0"
    history.runs[0].ended_s = 103.0


@pytest.mark.parametrize("wrong, rule", [
    (lose_the_last_value, "loss"),
    (lose_a_removal, "loss"),
    (lose_the_copy, "loss"),
    (keep_the_copy_of_what_was_removed, "loss"),
    (swap_within_a_run, "swap"),
    (go_back_after_a_kill, "swap"),
    (tell_again_what_was_settled, "twice"),
    (tell_again_after_an_orderly_stop, "twice"),
    (handle_twice_in_a_run, "twice"),
    (publish_twice_in_a_run, "twice"),
    (tell_a_value_that_nobody_wrote, "foreign"),
    (tell_half_a_value, "foreign"),
    (tell_another_key, "foreign"),
    (tell_another_source, "foreign"),
    (keep_what_nobody_wrote, "foreign"),
    (change_an_id, "id"),
    (change_bytes_under_an_id, "id"),
    (change_a_derived_id, "id"),
    (miss_a_derived_event, "derived"),
    (miss_a_derived_event_of_an_orderly_run, "derived"),
    (miss_the_last_derived_event, "derived"),
    (derive_from_nothing, "derived"),
    (derive_something_else, "derived"),
    (forget_the_chain, "derived"),
    (count_no_hops, "derived"),
    (catch_nothing_up, "slept"),
    (repeat_what_was_long_done, "twice"),
])
def test_what_is_wrong_is_found(wrong, rule):
    history = good()
    wrong(history)
    assert rule in rules(history)
