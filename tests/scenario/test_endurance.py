# SPDX-License-Identifier: Apache-2.0
"""Nothing grows: memory, descriptors and threads, however long it goes on."""

import re

import pytest

from harness import LITTLE_QUARANTINE, configuration, handling

MIB_KIB = 1024


def test_memory_stays_flat_under_a_fast_writer_and_a_slow_handler(site):
    """Far more is written than the queue holds; the handler never catches up."""
    weir = site.run(handling("obey", queue={"events": 16, "bytes": "2MiB"}, bounds={"time": "1h"},
                             host={"workers": 1}),
                    env=LITTLE_QUARANTINE)
    weir.wait_listening()
    site.put("blocker", "loop")
    weir.wait_printed("obey", "loop: begin")
    value = "ok " + "x" * 100_000

    def write_round():
        for number in range(200):
            site.put(f"key-{number % 50}", value)
        weir.wait_provider_rests()

    write_round()  # 20 MB: now every queue is full
    before_kib = weir.status("VmRSS")
    for _ in range(5):
        write_round()
    grown_kib = weir.status("VmRSS") - before_kib
    assert grown_kib < 16 * MIB_KIB, f"it grew by {grown_kib} KiB while 100 MB were written"
    assert "ok: end" not in weir.printed("obey"), "the only worker was to be blocked all the time"


@pytest.mark.tsan
def test_what_was_held_back_is_delivered_when_there_is_room_again(site):
    """The same with a handler that catches up: each key's last value arrives."""
    weir = site.run(handling("print", queue={"events": 4}, host={"workers": 1}))
    weir.wait_listening()
    for number in range(3):
        for key in range(60):
            site.put(f"key-{key}", f"value {number}")

    def last_values():
        return {event["subject"]: event["text"] for event in weir.events()}

    weir.wait_for(lambda: last_values() == {f"key-{key}": "value 2" for key in range(60)},
                  "the last value of every key")
    assert weir.stop() == 0


@pytest.mark.parametrize("instance", ["fresh", "reuse"])
def test_calls_leak_nothing(site, instance):
    """Hundreds of calls, good and bad: memory, descriptors and threads are where they were."""
    weir = site.run(handling("obey", instance=instance, host={"workers": 2},
                             bounds={"time": "500ms", "memory": "2MiB", "output": "4KiB"},
                             retry={"attempts": 1}),
                    "--log-level", "info", env=LITTLE_QUARANTINE)
    weir.wait_listening()
    bodies = {"ok": 0, "trap": 1, "grow-trap": 1, "err no": 1, "derive 20000000": 1, "flood": 1,
              "recurse-thin": 1, "call-host": 0}
    rounds = 0

    def call_round():
        nonlocal rounds
        rounds += 1
        for number, body in enumerate(list(bodies) * 8):
            site.put(f"key-{rounds}-{number}", body)
        # The last of each kind has ended.
        weir.wait_log("the handler failed and the event is given up",
                      count=8 * sum(bodies.values()) * rounds)
        weir.wait_printed("obey", "ok: end", count=8 * rounds)
        weir.wait_printed("obey", "call-host: end", count=8 * rounds)

    for _ in range(3):
        call_round()
    before = _descriptors_at_rest(weir), weir.threads()
    before_kib = weir.status("VmRSS")
    for _ in range(8):
        call_round()
    assert (_descriptors_at_rest(weir), weir.threads()) == before
    grown_kib = weir.status("VmRSS") - before_kib
    assert grown_kib < 16 * MIB_KIB, f"it grew by {grown_kib} KiB in 512 calls"


def test_execs_leak_nothing(site):
    """Many mains with two execs each leave behind what one leaves behind, to the descriptor."""
    _left_by_mains(site, 1)  # a first run begins anew what the others go on with
    assert _left_by_mains(site, 12) == _left_by_mains(site, 1)


def _left_by_mains(site, count):
    """How many descriptors and threads there are when COUNT mains have returned."""
    mains = {f"main-{number}": {"wasm": "main-exec-twice", "run": True, "grants": ["store"]}
             for number in range(count)}
    weir = site.run(configuration({"print": {}} | mains, [{"key": "*", "guest": "print"}]))
    weir.wait_listening(count + 1)
    site.put("key", str(count))
    weir.wait_printed("print", f"text={count}")
    weir.wait_log("listening is over", count=2 * count)
    weir.wait_for(lambda: not [name for name in weir.threads() if name.startswith("weir:main-")],
                  "the mains' end")
    left = _descriptors_at_rest(weir), weir.threads()
    assert weir.stop() == 0
    return left


def _descriptors_at_rest(weir):
    """What it has open, but for the engine's (a compiled module has its memory's image and its own
    file) and, while the provider is at work, the directory."""
    def at_rest():
        links = [link for link in weir.descriptors()
                 if "wasm-memory" not in link and "/compiled/" not in link]
        return not any(link.endswith("/store") for link in links) and links

    kinds = weir.wait_for(at_rest, "a provider at rest")
    return [re.sub(r"\d+", "N", kind) for kind in kinds]
