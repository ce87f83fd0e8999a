# SPDX-License-Identifier: Apache-2.0
"""What is in an event: a guest that prints every attribute of it."""

import datetime
import re

import pytest

from harness import configuration, handling

# Keys, and the file names that they are: control characters, '%', a first '.' and empty parts are
# written with '%'.
KEYS = {
    "plain": "plain",
    "orders/2026/7": "orders/2026/7",
    "with blank": "with blank",
    "Ünïcödé-日本": "Ünïcödé-日本",
    "100%": "100%25",
    ".hidden": "%2Ehidden",
    "..": "%2E.",
    "tab\there": "tab%09here",
    "-rf": "-rf",
    "*": "*",
    "a//b": "a/%/b",
}


def test_a_set_of_text(site):
    weir = site.run(handling("print"))
    weir.wait_listening()
    before = datetime.datetime.now(datetime.timezone.utc)
    site.shell("printf 'grüße' > greeting")
    event = weir.wait_events(1)[0]
    assert event["specversion"] == "1.0"
    assert event["type"] == "dev.weir.keyvalue.set"
    assert event["source"] == "/store"
    assert event["subject"] == "greeting"
    assert event["text"] == "grüße"
    assert event["bytes"] == "7"
    assert "binary" not in event
    assert event["revision"]
    assert event["id"].startswith("greeting@")
    assert "attempt" not in event, "the first attempt is not counted"
    time = datetime.datetime.fromisoformat(event["time"])
    assert abs((time - before).total_seconds()) < 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", event["time"])


def test_a_value_of_all_bytes_is_binary_and_whole(site):
    weir = site.run(handling("print"))
    weir.wait_listening()
    value = bytes(range(256))
    site.put("bytes", value)
    event = weir.wait_events(1)[0]
    assert event["binary"] == value.hex()
    assert event["bytes"] == "256"
    assert "text" not in event


def test_an_empty_value_is_a_value(site):
    weir = site.run(handling("print"))
    weir.wait_listening()
    site.shell(": > empty")
    event = weir.wait_events(1)[0]
    assert event["type"] == "dev.weir.keyvalue.set"
    assert event["bytes"] == "0"


def test_a_deletion_has_no_data(site):
    site.put("doomed", "x")
    weir = site.run(handling("print"))
    weir.wait_listening()
    site.shell("rm doomed")
    event = weir.wait_events(1)[0]
    assert event["type"] == "dev.weir.keyvalue.deleted"
    assert event["subject"] == "doomed"
    assert "bytes" not in event
    assert event["revision"]


def test_what_was_there_before_is_no_event(site):
    site.put("old", "x")
    weir = site.run(handling("print"))
    weir.wait_listening()
    site.put("new", "x")
    events = weir.wait_events(1)
    assert weir.stop() == 0
    assert [event["subject"] for event in events] == ["new"]


@pytest.mark.parametrize("key, file", KEYS.items(), ids=KEYS.values())
def test_a_key_is_told_as_it_is_and_stored_as_a_file(site, key, file):
    weir = site.run(handling("print"))
    weir.wait_listening()
    site.command("kv", "set", "file:store", "--", key, "value")
    event = weir.wait_events(1)[0]
    assert event["subject"] == key
    assert event["text"] == "value"
    assert (site.store / file).read_text() == "value"
    assert site.command("kv", "get", "file:store", "--", key).stdout == b"value"


def test_a_key_that_is_no_utf8_is_told_in_percent(site):
    weir = site.run(handling("print"))
    weir.wait_listening()
    site.shell(r"echo x > $(printf 'caf\351')")
    event = weir.wait_events(1)[0]
    assert event["subject"] == "caf%E9"
    assert event["subjectencoding"] == "percent"


def test_the_same_change_has_the_same_id_for_everybody(site):
    """Two guests, and a second process of weir, see one change under one id."""
    config = configuration(
        {"print": {}, "other": {"wasm": "print"}},
        [{"key": "*", "guest": "print"}, {"key": "orders/*", "guest": "other"}])
    weir, second = site.run(config), site.run(config, "--state", "second")
    for each in weir, second:
        each.wait_listening()
    site.put("orders/1", "one")
    ids = {each.wait_events(1, guest)[0]["id"]
           for each in (weir, second) for guest in ("print", "other")}
    assert len(ids) == 1
    site.put("orders/1", "two")
    later = {each.wait_events(2, guest)[1]["id"]
             for each in (weir, second) for guest in ("print", "other")}
    assert len(later) == 1
    assert later != ids


def test_a_value_over_the_bound_comes_without_data(site):
    weir = site.run(handling("print", bounds={"event": "4KiB"}))
    weir.wait_listening()
    site.put("large", "x" * 100_000)
    event = weir.wait_events(1)[0]
    assert event["subject"] == "large"
    assert "bytes" not in event
    assert event["datasize"] == "100000"
    assert event["dataomitted"] == "size"
    site.put("small", "x")
    assert weir.wait_events(2)[1]["text"] == "x"


def test_a_prefix_and_a_single_key(site):
    config = configuration(
        {"print": {}, "exact": {"wasm": "print"}},
        [{"key": "orders/*", "guest": "print"}, {"key": "orders/1", "guest": "exact"}])
    weir = site.run(config)
    weir.wait_listening()
    site.shell("echo no > orders-1; mkdir order; echo no > order/1")
    for count, key in enumerate(["orders/1", "orders/10", "orders/deep/down", "orders/1"], 1):
        site.put(key, f"number {count}")
        weir.wait_events(count)
    weir.wait_events(2, "exact")
    assert weir.stop() == 0
    assert [event["subject"] for event in weir.events()] == [
        "orders/1", "orders/10", "orders/deep/down", "orders/1"]
    assert [event["subject"] for event in weir.events("exact")] == ["orders/1", "orders/1"]


@pytest.mark.parametrize("instance", ["fresh", "reuse"])
def test_an_event_that_comes_back_is_accepted(site, instance):
    """`echo` returns what it got: whatever an event holds, it is a valid one of a guest's too."""
    values = ["", "text", "grüße", bytes(range(256)), "x" * 1_000_000, b"\x00" * 100_000]
    config = configuration(
        {"echo": {"instance": instance}, "print": {"bounds": {"output": "8MiB"}}},
        [{"key": "*", "guest": "echo"}, {"key": "*", "guest": "print"}], host={"workers": 1})
    weir = site.run(config)
    weir.wait_listening()
    for number, value in enumerate(values):
        site.put(f"key {number}", value)
        weir.wait_printed("print", f"subject=key {number}")
    site.shell("rm 'key 0'")
    weir.wait_printed("print", "type=dev.weir.keyvalue.deleted")
    # One worker serves the keys in turn: when this one is printed, the others have been echoed.
    site.put("end", "end")
    weir.wait_printed("print", "subject=end")
    assert weir.stop() == 0
    totals = weir.logs("listening is over", failed_attempts=0, given_up=0)[0]
    assert totals["handled"] >= 2 * (len(values) + 1)
