# SPDX-License-Identifier: Apache-2.0
"""A guest that goes over a bound is cut, the log names the bound, and its neighbours go on."""

import re

import pytest

from harness import configuration, guest_path, handling

GIVEN_UP = "the handler failed and the event is given up"

# What the handler does, under which bounds, and what the log says of it.
CASES = {
    "time": ("loop", {"time": "500ms"}, r"bounds\.time .*500 ms"),
    "time-in-the-host": ("sleep 60000", {"time": "500ms"}, r"bounds\.time .*500 ms"),
    "memory": ("grow-trap", {"memory": "16MiB"}, r"bounds\.memory"),
    # The engine does not tell why malloc failed, and the guest takes NULL for memory.
    "memory-of-malloc": ("leak 20000000", {"memory": "16MiB"}, r"bounds\.memory"),
    "stack": ("recurse-thin", {}, r"host\.stack"),
    "output": ("flood", {"output": "4KiB"}, r"bounds\.output .*4096 bytes"),
    "output-at-once": ("line 5000", {"output": "4KiB"}, r"bounds\.output"),
    "event": ("derive 8192", {"event": "4KiB"}, r"bounds\.event"),
    "extensions": ("extend 65", {}, r"extension|items"),
    "trap": ("trap", {}, r"unreachable"),
    "abort": ("abort", {}, r"unreachable"),
    "stack-of-its-own": ("recurse", {}, r"memory fault|host\.stack"),
    "division": ("divide 0", {}, r"divide by zero"),
    "wild-read": ("wild-read", {}, r"memory fault at wasm address"),
    "err": ("err with a reason", {}, r"^with a reason$"),
    "exit": ("exit 3", {}, r"\b3\b"),
}


@pytest.mark.parametrize("body, bounds, reason", CASES.values(), ids=CASES)
def test_a_bound_is_named_and_the_neighbour_goes_on(site, body, bounds, reason):
    config = configuration(
        {"obey": {"bounds": bounds, "retry": {"attempts": 1}}, "print": {}},
        [{"key": "bad/*", "guest": "obey"}, {"key": "good/*", "guest": "print"}])
    weir = site.run(config)
    weir.wait_listening()
    site.put("bad/1", body)
    site.put("good/1", "during")
    record = weir.wait_log(GIVEN_UP, subscription=re.compile("obey"))
    assert re.search(reason, record["reason"]), record["reason"]
    weir.wait_printed("print", "text=during")
    site.put("good/2", "afterwards")
    weir.wait_printed("print", "text=afterwards")
    # Nor does it harm the guest's own next event.
    site.put("bad/1", "ok")
    weir.wait_printed("obey", "ok: end")
    assert weir.stop() == 0
    assert len(weir.logs(GIVEN_UP)) == 1


@pytest.mark.tsan
def test_all_of_them_at_once(site):
    """The same side by side: what one does is not another's fault."""
    bounds = {"time": "200ms", "memory": "2MiB", "output": "4KiB", "event": "8KiB"}
    config = configuration(
        {"obey": {"bounds": bounds, "retry": {"attempts": 1}}, "print": {}},
        [{"key": "bad/*", "guest": "obey"}, {"key": "good/*", "guest": "print"}],
        host={"workers": 4})
    weir = site.run(config)
    weir.wait_listening()
    # Two kinds of going over the stack differ under the sanitizers' own stack checks; one is here.
    bodies = [body for body, _, _ in CASES.values()]
    for round_number in range(3):
        for number, body in enumerate(bodies):
            site.put(f"bad/{round_number}-{number}", body)
            site.put(f"good/{round_number}-{number}", f"good {round_number}-{number}")
    weir.wait_log(GIVEN_UP, count=3 * len(bodies))
    for round_number in range(3):
        for number in range(len(bodies)):
            weir.wait_printed("print", f"text=good {round_number}-{number}")
    assert weir.stop() == 0
    assert len(weir.logs(GIVEN_UP)) == 3 * len(bodies)


def test_memory_that_is_refused_is_the_guests_own_affair(site):
    """memory.grow that fails is an answer, not a trap: a guest that can live with it goes on."""
    weir = site.run(handling("obey", bounds={"memory": "2MiB"}))
    weir.wait_listening()
    site.put("key", "grow")
    weir.wait_printed("obey", "grow: end")
    assert weir.stop() == 0


def test_what_was_printed_before_the_cut_is_shown(site):
    weir = site.run(handling("obey", bounds={"time": "500ms"}, retry={"attempts": 1}))
    weir.wait_listening()
    site.put("loop", "loop")
    site.put("trap", "partial-trap 10")
    weir.wait_log(GIVEN_UP, count=2)
    weir.wait_printed("obey", "loop: begin")
    weir.wait_printed("obey", "x" * 10)


def test_handles(site):
    weir = site.run(configuration({"main-many-handles": {
        "run": True, "grants": ["store"], "bounds": {"handles": 7}}}))
    assert weir.wait_exit() == 0
    printed = weir.printed("main-many-handles")
    assert printed[0] == "handles: 7"
    assert re.match(r"get: limit: .*bounds\.handles", printed[1])


def test_watches(site):
    weir = site.run(configuration({"main-many-watches": {
        "run": True, "grants": ["store"], "bounds": {"watches": 9}}}))
    assert weir.wait_exit() == 0
    printed = weir.printed("main-many-watches")
    assert "watches: 9" in printed
    assert re.match(r"watch: limit: .*bounds\.watches", printed[-1])


def test_module(site):
    size = guest_path("print").stat().st_size
    config = handling("print", bounds={"module": size - 1})
    weir = site.run(config)
    assert weir.wait_exit() in (1, 2)
    assert re.search(r"bounds\.module", weir.stderr.decode())
    assert site.run(handling("print", bounds={"module": size})).wait_listening() is None


def test_time_of_main_does_not_count_exec(site):
    """exec is the host's time: a main whose exec outlasts bounds.time is not cut."""
    config = configuration({"main-exec-one-second": {
        "run": True, "grants": ["store"], "bounds": {"time": "700ms"}}})
    weir = site.run(config)
    assert weir.wait_exit() == 0
    assert weir.printed("main-exec-one-second")[-1] == "exec: ok"


def test_a_main_that_loops_is_cut(site):
    config = configuration({"main-loop": {"run": True, "bounds": {"time": "200ms"}}})
    weir = site.run(config)
    assert weir.wait_exit() == 1
    assert weir.printed("main-loop") == ["looping"]
    weir_log = weir.logs("main failed", guest="main-loop")
    assert "bounds.time" in weir_log[0]["reason"]


def test_defaults_of_the_configuration_hold_for_every_guest(site):
    """`bounds:` at the top is the default; a guest's own goes before."""
    config = configuration(
        {"obey": {"retry": {"attempts": 1}},
         "larger": {"wasm": "obey", "bounds": {"output": "1MiB"}, "retry": {"attempts": 1}}},
        [{"key": "small", "guest": "obey"}, {"key": "large", "guest": "larger"}],
        bounds={"output": "1KiB"})
    weir = site.run(config)
    weir.wait_listening()
    site.put("small", "line 2000")
    record = weir.wait_log(GIVEN_UP)
    assert re.search(r"bounds\.output .*1024", record["reason"])
    site.put("large", "line 2000")
    weir.wait_printed("larger", "line: end")
