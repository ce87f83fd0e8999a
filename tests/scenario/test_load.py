# SPDX-License-Identifier: Apache-2.0
"""Much on every provider: many keys, large values, a handler that is slower than who writes, and a
minute in which everything happens at once."""

import collections
import contextlib
import os
import random
import time

import pytest

from conftest import begin_place
from harness import LITTLE_QUARANTINE, configuration, guest_path, has_kind
from places import PLACES, has_values, on
from told import SUBSCRIPTION, Told, Writer, do, watching

MIB = 1 << 20
MIB_KIB = 1024
# A hundred thousand by hand.
KEYS = int(os.environ.get("WEIR_KEYS", "20000"))
KEYS_AT_ONCE = 10_000  # in one go of the client, which is one transaction in a database
# How long the mixed load lasts; ten minutes by hand.
LOAD_S = float(os.environ.get("WEIR_LOAD_S", "60"))
LOAD_SEED = int(os.environ.get("WEIR_LOAD_SEED", "1"))
BETWEEN_RESTARTS_S = 2.5
LARGE = bytes(range(256)) * (8 * MIB // 256)


def start(site, config, *arguments, **options):
    weir = site.run(config, "--log-level", "info", *arguments, **options)
    weir.wait_listening()
    return weir


# ---- more than can be handled ----


@pytest.mark.timeout(120)
def test_memory_is_flat_behind_a_slow_handler_and_nothing_is_lost(site, place):
    """Far more than the queue holds is written while the only handler is busy; another guest then
    handles it all."""
    config = watching(place, guest="obey", bounds={"time": "1h"}, host={"workers": 1},
                      queue={"events": 16, "bytes": "1MiB"})
    weir = start(site, config, env=LITTLE_QUARANTINE)
    place.set("blocker", "loop")
    weir.wait_printed("obey", "loop: begin")
    done, written = collections.defaultdict(list), 0

    def write_round():
        nonlocal written
        changes = [(f"key-{number % 50}", f"{written + number} {'x' * 50_000}")
                   for number in range(100)]
        written += len(changes)
        do(place, done, *changes)
        weir.wait_provider_rests(place.kind)

    write_round()  # now every queue is full
    before_kib = weir.status("VmRSS")
    for _ in range(8):
        write_round()
    grown_kib = weir.status("VmRSS") - before_kib
    assert grown_kib < 16 * MIB_KIB, f"it grew by {grown_kib} KiB while 40 MB were written"
    assert "loop: end" not in weir.printed("obey"), "the only worker was to be busy all the time"
    weir.kill()

    config["guests"]["obey"]["wasm"] = str(guest_path("trace"))
    told = Told("obey")
    told.follow(start(site, config))
    wanted = {key: [value.split()[0] for value in values] for key, values in done.items()}
    told.weir.wait_for(
        lambda: {key: told.take().last.get(key, "").split(" ")[0] for key in wanted} ==
        {key: numbers[-1] for key, numbers in wanted.items()}, "the last value of each key")
    if place.is_every_change:
        assert {key: [value.split()[0] for value in told.values[key]] for key in wanted} == wanted
    assert not told.gaps
    assert told.weir.stop() == 0


# ---- many keys ----


@pytest.mark.timeout(60 + KEYS // 400)
def test_many_keys(site, place):
    """They are there before weir is, then each is changed, then a few are while weir is down."""
    def write(value):
        for begin in range(0, KEYS, KEYS_AT_ONCE):
            place.change(*((f"key/{number}", f"{value} {number}".encode())
                           for number in range(begin, begin + KEYS_AT_ONCE)))

    write("old")
    told = Told()
    config = watching(place, instance="reuse")
    told.follow(start(site, config))
    write("new")
    told.weir.wait_for(lambda: len(told.take().last) >= KEYS, "each key", deadline_s=30 + KEYS // 500)
    told.weir.wait_for(lambda: all(value.startswith("new") for value in told.take().last.values()),
                       "the new value of each key")
    assert told.last == {f"key/{number}": f"new {number}" for number in range(KEYS)}
    assert told.events == KEYS and told.again == 0
    assert told.weir.stop() == 0
    place.change(("key/7", b"newer"), ("more/1", b"first"))
    told.follow(start(site, config))
    told.wait({key: value.encode() for key, value in told.last.items()} |
              {"key/7": b"newer", "more/1": b"first"})
    assert told.weir.stop() == 0
    assert told.take().events == KEYS + 2


# ---- large values ----


@on(has_values)
@pytest.mark.parametrize("way", ["from", "to"])
def test_a_large_value(site, place, way):
    """Eight megabytes to a handler and from a guest, and by hand."""
    config = configuration(
        {"standard": {"grants": ["store", "copy"]}},
        [{"watch": "store", "key": "*", "guest": "standard", "handler": "watcher"}],
        resources=("store", "copy"))
    copy = site.directory("copy")
    config["resources"]["store" if way == "from" else "copy"] = place.resource()
    weir = start(site, config)
    if way == "from":
        place.set("large", LARGE)
        weir.wait_for(lambda: (copy / "large").exists(), "the copy")
        assert (copy / "large").read_bytes() == LARGE
    else:
        site.put("large", LARGE)
        weir.wait_for(lambda: "large" in place.read(), "the copy")
        assert place.read()["large"] == LARGE
    name = "store" if way == "from" else "copy"
    assert site.command("kv", "get", name, "large", "--file", "weir.yaml").stdout == LARGE
    site.command("kv", "set", name, "large", "--file", "weir.yaml", stdin=LARGE[::-1])
    assert place.read()["large"] == LARGE[::-1]
    if way == "from":
        weir.wait_for(lambda: (copy / "large").read_bytes() == LARGE[::-1], "the copy of that")
    assert weir.stop() == 0


@on(lambda place: not place.has_values)
def test_a_large_message(site, place):
    config = configuration({"trace": {}}, [{"watch": "place", "key": "*", "guest": "trace",
                                            "to": "store"}])
    config["resources"]["place"] = place.resource()
    weir = start(site, config)
    place.set("large", LARGE)
    weir.wait_for((site.store / "large").exists, "the copy")
    assert (site.store / "large").read_bytes() == LARGE
    assert weir.stop() == 0


# ---- all at once ----


@pytest.mark.timeout(LOAD_S + 120)
def test_mixed_load_on_all_places_at_once(site, quick_path, servers):
    """One weir, a writer for each place, and servers that are restarted and killed all the while."""
    places, config = {}, configuration({}, resources=())
    config["subscriptions"] = []
    for place_class in PLACES:
        name = place_class.name
        if has_kind(place_class.kind):
            folder = quick_path / name
            folder.mkdir()
            places[name] = begin_place(place_class, folder, servers)
            config["resources"][name] = places[name].resource(**places[name].impatient)
            config["guests"][name] = {"wasm": str(guest_path("trace"))}
            config["subscriptions"].append(
                {"name": f"{SUBSCRIPTION}-{name}", "watch": name, "key": "*", "guest": name})
    weir = start(site, config, env=LITTLE_QUARANTINE)
    told = {name: Told(name) for name in places}
    for each in told.values():
        each.follow(weir)
    chance = random.Random(LOAD_SEED)
    running = [place.server for place in places.values() if place.server]
    until_s, before_kib = time.monotonic() + LOAD_S, 0
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(
            Writer(place, keys=50, pause_s=0.005, seed=f"{LOAD_SEED} {name}"))
            for name, place in places.items()}
        while time.monotonic() < until_s:
            # All writers get on: what is slow is waited for.
            for writer in writers.values():
                writer.wait_count(weir, 20)
            time.sleep(BETWEEN_RESTARTS_S)
            before_kib = before_kib or weir.status("VmRSS")
            if running:
                server = chance.choice(running)
                chance.choice([server.restart, server.kill])()
                server.start()
            for each in told.values():
                each.take()
    for name, place in places.items():
        told[name].check(place, writers[name].done)
    grown_kib = weir.status("VmRSS") - before_kib
    assert weir.stop() == 0
    for name, place in places.items():
        told[name].check(place, writers[name].done)
        assert not told[name].gaps, name
        assert writers[name].count > LOAD_S, name
    assert grown_kib < 48 * MIB_KIB, f"it grew by {grown_kib} KiB"
