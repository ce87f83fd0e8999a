# SPDX-License-Identifier: Apache-2.0
"""listen and exec in every order; exec's duration is the whole of it, whatever happens."""

import time

import pytest

from harness import GUESTS_DIR, SLACK_S, configuration, handling

BUSY = """
import os, sys
number = 0
while True:
    number += 1
    with open(".busy.new", "w") as file:
        file.write(str(number))
    os.rename(".busy.new", "busy")
"""


def main_of(guest, **options):
    return configuration({guest: {"run": True, "grants": ["store"]} | options})


def needs(guest):
    if not (GUESTS_DIR / f"{guest}.wasm").exists():
        pytest.skip(f"{guest} is not among the guests that were built")


def answers(weir, guest):
    """The last of the lines that say how a call was answered."""
    return [line for line in weir.printed(guest) if ": " in line]


@pytest.mark.tsan
def test_the_duration_bounds_the_whole_of_a_busy_exec(site):
    """A key that changes all the time does not prolong exec(1)."""
    guest = "main-exec-one-second"
    writer = site.python(BUSY)
    weir = site.run(main_of(guest))
    weir.wait_listening()
    begin_s = time.monotonic()
    weir.wait_printed(guest, "exec: ok")
    took_s = time.monotonic() - begin_s
    assert writer.poll() is None, "the writer should have been at it all the time"
    assert weir.wait_exit() == 0
    assert weir.printed(guest).count("handle-event got busy") > 3
    assert 0.8 < took_s < 1 + SLACK_S


@pytest.mark.tsan
def test_a_handler_that_hangs_is_cut_after_the_grace_and_exec_returns(site):
    """Whatever a handler does, exec(1) returns; what it did not finish is there for the next."""
    guest = "main-exec-hang"
    needs(guest)
    weir = site.run(main_of(guest, bounds={"time": "1h"}) | {"host": {"grace": "500ms"}})
    weir.wait_listening()
    begin_s = time.monotonic()
    site.put("key", "loop")
    weir.wait_printed(guest, "handle-event got key")
    weir.wait_printed(guest, "exec: ok")
    assert 1.2 < time.monotonic() - begin_s < 1.5 + SLACK_S
    assert weir.wait_exit() == 0
    assert weir.logs("listening is over", handled=0, failed_attempts=0, still_queued=1)


def test_exec_zero_is_until_weir_stops(site):
    guest = "main-exec-forever"
    weir = site.run_guest(guest)
    weir.wait_listening()
    for number in range(3):
        site.put("key", str(number))
        weir.wait_printed(guest, "handle-event got key", count=number + 1)
    assert "exec: ok" not in weir.printed(guest)
    assert weir.stop() == 0
    assert weir.printed(guest)[-1] == "exec: ok", "main goes on after exec, and returns"


@pytest.mark.parametrize("guest", ["main-late-exec", "main-late-listen"])
def test_what_changes_between_watch_and_exec_is_delivered(site, guest):
    """The guest computes between listen and exec, or watch and listen; the change falls there."""
    needs(guest)
    tries_max = 5
    for _ in range(tries_max):
        weir = site.run_guest(guest)
        weir.wait_printed(guest, "computing")
        site.put("early", "x")
        was_early = not weir.logs("listening")
        weir.wait_printed(guest, "handle-event got early")
        assert weir.stop() == 0
        if was_early:
            return
        site.shell("rm early")
    pytest.fail(f"in {tries_max} runs the change never fell between watch and exec")


@pytest.mark.tsan
def test_a_second_exec_goes_on_with_the_same_set(site):
    guest = "main-exec-twice"
    weir = site.run(main_of(guest))
    weir.wait_listening()
    site.put("first", "x")
    weir.wait_printed(guest, "handle-event got first")
    weir.wait_listening(2)
    site.put("second", "x")
    weir.wait_printed(guest, "handle-event got second")
    assert weir.wait_exit() == 0
    assert weir.printed(guest).count("exec: ok") == 2


@pytest.mark.tsan
def test_what_changes_between_two_execs_is_kept_for_the_second(site):
    """A change that comes while no exec runs waits; nothing of it is lost or told twice."""
    guest = "main-exec-twice"
    weir = site.run(main_of(guest))
    writer = site.python(BUSY)
    assert weir.wait_exit() == 0
    writer.kill()
    totals = weir.logs("listening is over", owner=guest)
    assert len(totals) == 2
    assert totals[0]["handled"] > 0
    assert totals[1]["handled"] > totals[0]["handled"]


def test_exec_of_an_empty_set_lasts_as_long(site):
    weir = site.run(main_of("main-exec-nothing"))
    weir.wait_listening()
    begin_s = time.monotonic()
    assert weir.wait_exit() == 0
    assert weir.printed("main-exec-nothing") == ["get: ok", "exec: ok"]
    assert time.monotonic() - begin_s > 0.8


def test_the_longest_duration_does_not_wrap(site):
    """2^64 - 1 seconds are for ever, not in the past."""
    guest = "main-exec-longest"
    weir = site.run(main_of(guest))
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_printed(guest, "handle-event got key")
    assert "exec: ok" not in weir.printed(guest)
    assert weir.stop() == 0


def test_listen_after_exec_is_heard_by_the_next_exec(site):
    """It is allowed, and begins a new watch; without a second exec nothing is delivered."""
    weir = site.run(main_of("main-listen-after-exec"))
    assert weir.wait_exit() == 0
    assert answers(weir, "main-listen-after-exec")[-2:] == ["exec: ok", "listen: ok"]


def test_an_observable_listened_to_twice_is_delivered_twice(site):
    guest = "main-listen-twice"
    weir = site.run(main_of(guest))
    weir.wait_listening()
    assert weir.logs("listening", subscriptions=2)
    site.put("key", "x")
    weir.wait_printed(guest, "handle-event got key", count=2)
    assert weir.stop() == 0


@pytest.mark.tsan
def test_a_set_that_is_dropped_takes_its_subscriptions_along(site):
    guest = "main-drop-set"
    weir = site.run(main_of(guest))
    weir.wait_listening()
    assert weir.logs("listening", subscriptions=0)
    site.put("key", "x")
    assert weir.wait_exit() == 0
    assert weir.printed(guest)[-1] == "exec: ok"
    assert not any("got" in line for line in weir.printed(guest))


@pytest.mark.tsan
def test_of_two_sets_only_the_executed_one_delivers(site):
    guest = "main-two-sets"
    weir = site.run(main_of(guest))
    weir.wait_listening()
    site.put("second", "x")
    site.put("first", "x")
    weir.wait_printed(guest, "handle-event got first")
    assert weir.wait_exit() == 0
    assert weir.printed(guest)[-1] == "the first is done"
    assert "handle-event got second" not in weir.printed(guest)


@pytest.mark.tsan
def test_two_guests_execute_at_the_same_time(site):
    weir = site.run(configuration({
        name: {"wasm": "main-exec-forever", "run": True, "grants": ["store"]}
        for name in ("one", "two")}))
    weir.wait_listening(2)
    site.put("key", "x")
    for name in "one", "two":
        weir.wait_printed(name, "handle-event got key")
    assert weir.stop() == 0


def test_a_handler_does_not_subscribe(site):
    """exec, listen, open and watch inside a handler are answered, and the call goes on."""
    weir = site.run(handling("obey"))
    weir.wait_listening()
    site.put("key", "call-host")
    weir.wait_printed("obey", "call-host: end")
    printed = weir.printed("obey")
    for call in "open", "watch", "listen", "exec":
        line = next(line for line in printed if line.startswith(f"{call}: "))
        assert line.startswith(f"{call}: unsupported: "), line
        assert "inside a handler" in line
    assert "get: ok" in printed
    assert weir.stop() == 0
