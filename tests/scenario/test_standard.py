# SPDX-License-Identifier: Apache-2.0
"""Guests that are written against the standard interfaces alone, and know nothing of weir: in Rust, as a
module and as a component, in JavaScript and in Python."""

import json

import pytest

from harness import AGAIN, GIVEN_UP, configuration
from test_languages import BOUNDS, COMPILED_S, guest_of

KINDS = ["rust", "rust.component", "js", "python"]
EVERY_BYTE = bytes(range(256))


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("kind", KINDS)
def test_a_watcher_copies_what_changes(site, kind):
    guest = guest_of("standard", kind)
    copy = site.directory("copy")
    weir = site.run(configuration(
        {guest: {"bounds": BOUNDS, "grants": [
            {"resource": "copy", "verbs": ["get", "set", "delete", "list"]}]}},
        [{"key": "*", "guest": guest, "handler": "watcher"}], resources=("store", "copy")))
    weir.wait_listening(deadline_s=COMPILED_S)

    values = {"every": EVERY_BYTE, "empty": b"", "text": "grüße".encode(),
              "large": EVERY_BYTE * 1024, "folder/deep": b"deep"}
    for key, value in values.items():
        site.put(key, value)
    site.wait_rest(weir)
    for key, value in values.items():
        assert (copy / key).read_bytes() == value, key
    assert int((copy / "count").read_text()) == len(values)

    (site.store / "every").unlink()
    site.wait_rest(weir)
    assert not (copy / "every").exists()
    assert int((copy / "count").read_text()) == len(values) + 1
    assert (copy / "empty").exists()

    # One key went, and the counter is one: as many as there were values.
    last = f"deleted every: change {len(values) + 1}, {len(values)} keys"
    weir.wait_for(lambda: any(last in line for line in weir.err()), "its line in the log")
    assert not weir.logs(AGAIN) and not weir.logs(GIVEN_UP)
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("kind", KINDS)
def test_a_watcher_without_the_grant_fails_by_name(site, kind):
    guest = guest_of("standard", kind)
    copy = site.directory("copy")
    weir = site.run(configuration(
        {guest: {"bounds": BOUNDS, "retry": {"attempts": 1},
                 "grants": [{"resource": "copy", "verbs": ["get", "list"]}]}},
        [{"key": "*", "guest": guest, "handler": "watcher"}], resources=("store", "copy")))
    weir.wait_listening(deadline_s=COMPILED_S)
    site.put("key", "value")
    weir.wait_log(GIVEN_UP)
    assert list(copy.iterdir()) == []
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_sent_on(site, kind):
    guest = guest_of("messaging", kind)
    out = site.directory("out")
    weir = site.run(configuration(
        {guest: {"bounds": BOUNDS, "retry": {"attempts": 2, "backoff": "10ms"},
                 "grants": [{"resource": "out", "verbs": ["publish"]}]}},
        [{"key": "*", "guest": guest, "handler": "handle"}], resources=("store", "out")))
    weir.wait_listening(deadline_s=COMPILED_S)
    values = {"every": EVERY_BYTE, "text": "grüße".encode(), "empty": b""}
    for key, value in values.items():
        site.put(key, value)
    for key, value in values.items():
        weir.wait_for((out / key).exists, key)
        assert (out / key).read_bytes() == value, key
    site.put("bad", "fail")
    record = weir.wait_log(GIVEN_UP)
    assert record["attempt"] == 2
    assert "the message says so" in record["reason"]
    assert not (out / "bad").exists()
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_keeps_its_content_type_and_metadata(site, kind):
    """Sent to a topic, whose events are printed."""
    guest = guest_of("messaging", kind)
    config = configuration(
        {guest: {"bounds": BOUNDS, "grants": [{"resource": "topic", "verbs": ["publish"]},
                                              {"resource": "out", "verbs": ["publish"]}]},
         "trace": {}},
        [{"name": "first", "key": "*", "guest": guest, "handler": "handle"},
         {"name": "second", "watch": "out", "key": "*", "guest": "trace"}])
    config["resources"]["out"] = {"kind": "topic"}
    config["resources"]["topic"] = {"kind": "topic"}
    weir = site.run(config)
    weir.wait_listening(deadline_s=COMPILED_S)
    site.put("key", json.dumps({"a": 1}))
    weir.wait_for(lambda: weir.printed("trace"), "the message")
    line = weir.printed("trace")[0]
    for part in "subject=key", "+forwarded=yes", "datacontenttype=":
        assert part in line, line
    assert weir.stop() == 0
