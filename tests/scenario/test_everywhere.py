# SPDX-License-Identifier: Apache-2.0
"""The same guests, not built anew, on every provider: only the configuration differs."""

import pytest

from harness import configuration
from places import has_values, on, read_folder
from test_seed import SEEDS, needs_rust
from told import Told, watching

EVERY_BYTE = bytes(range(256))


def start(site, config, *arguments):
    weir = site.run(config, *arguments)
    weir.wait_listening(2 if any(guest.get("run") for guest in config["guests"].values()) and
                        "subscriptions" in config else 1)
    return weir


@pytest.mark.parametrize("guest", SEEDS)
def test_the_seed(site, place, guest):
    """The program that weir was thought up for."""
    needs_rust(guest)
    config = configuration({guest: {"run": True, "grants": ["my-container"]}}, resources=())
    config["resources"]["my-container"] = place.resource()
    place.set("my-key1", "was there before")
    weir = start(site, config)
    place.set("my-key", "not watched")
    place.set("my-key11", "not watched")
    place.set("my-key1", "by another program")
    weir.wait_printed(guest, "this event my-key1 has been handled")
    place.set("my-key2", "and again")
    weir.wait_printed(guest, "this event my-key2 has been handled")
    if place.has_values:
        place.remove("my-key1")
        weir.wait_printed(guest, "this event my-key1 has been handled", count=2)
    assert weir.stop() == 0
    printed = weir.printed(guest)
    assert {line for line in printed if line.startswith("source:")} == {"source: /my-container"}
    assert [line for line in printed if line.startswith("data:")] == [
        "data:   by another program", "data:   and again"] + ["data:   "] * place.has_values
    if place.has_values:
        assert [line for line in printed if line.startswith("type:")] == [
            "type:   dev.weir.keyvalue.set"] * 2 + ["type:   dev.weir.keyvalue.deleted"]


def test_a_subscription_with_a_prefix(site, place):
    """It is told of its keys, each byte of their values, and of nothing else."""
    config = watching(place, "orders/*", guest="print", host={"workers": 1})
    place.set("orders/before", "x")
    weir = start(site, config)
    values = {"orders/text": "grüße".encode(), "orders/empty": b"", "orders/bytes": EVERY_BYTE,
              "orders/deep/er": b"deep", "orders/long": EVERY_BYTE * 5}
    for number, (key, value) in enumerate(values.items()):
        place.set("order", str(number))
        place.set("orders-2", str(number))
        place.set(key, value)
    place.set("orders/last", "last")
    weir.wait_for(lambda: {event["subject"] for event in weir.events()} == {*values, "orders/last"},
                  "every value")
    assert weir.stop() == 0
    told = {event["subject"]: event for event in weir.events()}
    assert len(weir.events()) == len(told) == len(values) + 1
    for key, value in values.items():
        event = told[key]
        assert event["text"].encode() == value if "text" in event else \
            bytes.fromhex(event["binary"]) == value, key
    assert {event["source"] for event in weir.events()} == {"/place"}


def test_a_returned_event_is_published_there(site, place):
    """What a handler returns for a file is found there by another client, and told to who watches:
    with the chain of events that it comes from, where that can be kept."""
    config = configuration(
        {"first": {"wasm": "trace"}, "second": {"wasm": "trace"}},
        [{"key": "*", "guest": "first", "to": "place"},
         {"watch": "place", "key": "*", "guest": "second"}])
    config["resources"]["place"] = place.resource()
    weir = start(site, config)
    values = {"a": "one", "b/c": "two", "d": "three", "e-1_2.x": "four"}
    for key, value in values.items():
        site.put(key, value)
    weir.wait_for(lambda: {each["subject"]: each["data"] for each in weir.traces("second")} ==
                  values, "what was published")
    causes = {each["subject"]: each["id"] for each in weir.traces("first")}
    for each in weir.traces("second"):
        if place.kind != "file" or "+causationid" in each:  # that its file system has to keep
            assert each["+causationid"] == causes[each["subject"]]
            assert (each["+correlationid"], each["+hops"]) == (causes[each["subject"]], "1")
    assert weir.stop() == 0
    assert place.read() == {key: value.encode() for key, value in values.items()}
    assert len(weir.traces("second")) == len(values)


@on(has_values)
def test_a_guest_reads_and_writes(site, place):
    """By wasi:keyvalue, which knows nothing of weir; another client sees it, and is seen."""
    out = site.directory("out")
    config = configuration({"reach": {"grants": ["place"]}},
                           [{"key": "*", "guest": "reach", "to": "out"}], resources=("store", "out"))
    config["resources"]["place"] = place.resource()
    weir = start(site, config)

    def reach(*commands):
        number = len(list(out.iterdir()))
        site.put(f"turn-{number}", "\n".join(commands))
        path = out / f"turn-{number}"
        weir.wait_for(path.exists, f"what came of {commands}")
        return path.read_text(encoding="utf-8").splitlines()

    assert reach("get place k", "exists place k", f"set place k {EVERY_BYTE.hex()}",
                 "get place k", "exists place k", "set place empty -", "get place empty") == [
                     "none", "no", "ok", EVERY_BYTE.hex(), "yes", "ok", "-"]
    assert place.read() == {"k": EVERY_BYTE, "empty": b""}
    place.set("k", EVERY_BYTE[::-1])
    place.set("a/foreign", "f")
    assert reach("get place k", "get place a/foreign", "list place") == [
        EVERY_BYTE[::-1].hex(), b"f".hex(), "a/foreign empty k (3 in 1)"]
    assert reach("delete place k", "delete place k", "get place k") == ["ok", "ok", "none"]
    assert reach("many place x 01 y 02 z -") == ["x=01 y=02 z=- none none none "]
    assert reach("increment place n 5", "increment place n -7", "swap place s 01",
                 "stale place s 03 04", "get place s") == [
                     "5", "-2", "none swapped", "01 failed, now 04 swapped", "03"]
    assert place.read() == {"a/foreign": b"f", "empty": b"", "n": b"-2", "s": b"\3"}
    assert weir.stop() == 0


@on(has_values)
@pytest.mark.parametrize("way", ["from", "to"])
def test_a_guest_of_the_standard_interfaces_alone(site, place, way):
    """Its watcher copies a bucket into another one; each is of this kind once."""
    config = configuration(
        {"standard": {"grants": ["store", "copy"]}},
        [{"watch": "store", "key": "*", "guest": "standard", "handler": "watcher"}],
        resources=("store", "copy"))
    copy = site.directory("copy")
    config["resources"]["store" if way == "from" else "copy"] = place.resource()
    weir = start(site, config)
    values = {"every": EVERY_BYTE, "empty": b"", "folder/deep": b"deep"}
    for key, value in values.items():
        place.set(key, value) if way == "from" else site.put(key, value)

    def copied():
        return place.read() if way == "to" else read_folder(copy)

    weir.wait_for(lambda: copied() == values, "the copies")
    place.remove("every") if way == "from" else (site.store / "every").unlink()
    del values["every"]
    weir.wait_for(lambda: copied() == values, "the removal of a copy")
    assert weir.stop() == 0


@on(has_values)
def test_by_hand(site, place):
    """`weir kv` on a resource of the configuration."""
    site.write_config({"resources": {"place": place.resource()}})
    site.command("kv", "set", "place", "a/one", "1")
    site.command("kv", "set", "place", "every", stdin=EVERY_BYTE)
    assert place.read() == {"a/one": b"1", "every": EVERY_BYTE}
    place.set("b", "2")
    assert site.command("kv", "get", "place", "every").stdout == EVERY_BYTE
    assert site.command("kv", "get", "place", "b").stdout == b"2"
    assert site.command("kv", "ls", "place").stdout.decode().split() == ["a/one", "b", "every"]
    assert site.command("kv", "ls", "place", "a/*").stdout.decode().split() == ["a/one"]
    site.command("kv", "rm", "place", "b")
    site.command("kv", "rm", "place", "b", status=1)
    site.command("kv", "get", "place", "b", status=1)
    assert "b" not in place.read()


def test_what_is_promised_is_said(site, place):
    site.write_config(watching(place))
    told = site.command("check", "weir.yaml").stdout.decode()
    wanted, other = ("every-change", "latest-value")[::1 if place.is_every_change else -1]
    assert wanted in told and other not in told


def test_each_change_of_a_burst_is_told_in_order(site, place):
    """The last of each key everywhere; all of them where that is promised."""
    told = Told()
    told.follow(start(site, watching(place, instance="reuse"), "--log-level", "info"))
    changes = [(f"key-{number % 7}", str(number).encode()) for number in range(700)]
    place.change(*changes)
    done = {}
    for key, value in changes:
        done.setdefault(key, []).append(value.decode())
    told.check(place, done)
    assert told.weir.stop() == 0
    told.check(place, done)
    assert told.again == 0
    for key, values in told.values.items():
        assert values == sorted(values, key=int), "order"
