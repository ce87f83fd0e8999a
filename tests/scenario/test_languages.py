# SPDX-License-Identifier: Apache-2.0
"""Guests in JavaScript and Python, which are components: in the component lane, on WASI 0.2."""

import json
import random
import re
import signal

import pytest

from harness import GIVEN_UP, GUESTS_DIR, configuration

LANGUAGES = ["js", "python"]
# An interpreter and what it needs for its own start.
BOUNDS = {"memory": "1GiB", "time": "10s"}
# Its first compilation, on a machine that tests other things meanwhile; later ones find the cache.
COMPILED_S = 300
MIB = 1024 * 1024


def guest_of(name, language):
    """The guest NAME in a language; skips the test where what makes such could not be had."""
    guest = f"{name}-{language}"
    skipped = GUESTS_DIR / f"{guest}.wasm.skipped"
    if skipped.exists():
        pytest.skip(skipped.read_text(encoding="utf-8").strip())
    return guest


def start(site, config):
    weir = site.run(config)
    weir.wait_listening(deadline_s=COMPILED_S)
    return weir


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_seeds_program_runs(site, language):
    guest = guest_of("seed", language)
    weir = start(site, configuration(
        {guest: {"run": True, "grants": ["my-container"], "bounds": BOUNDS}},
        resources=("my-container",)))
    (site.root / "my-container/my-key1").write_text("by hand", encoding="ascii")
    weir.wait_printed(guest, "this event my-key1 has been handled")
    site.command("kv", "set", "file:my-container", "my-key2", "by weir itself")
    weir.wait_printed(guest, "this event my-key2 has been handled")
    assert weir.stop(signal.SIGTERM) == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_byte_goes_there_and_back(site, language):
    """The event is returned as it came, and published to another directory."""
    noise = random.Random(1).randbytes(16 * MIB)
    sizes = [1, 6, 7, 8, 9, 55, 56, 57, 128, 129, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1,
             MIB, 8 * MIB, 16 * MIB]
    values = {"bytes": bytes(range(256)), "empty": b"", "text": "für alle".encode(),
              "large": b"0123456789abcdef" * (512 * 1024)}
    # Of what is no text: its last byte begins a character, and nothing follows.
    values |= {f"noise-{size}": noise[:size - 1] + b"\xff" for size in sizes}
    guest = guest_of("echo", language)
    weir = start(site, configuration(
        {guest: {"bounds": BOUNDS | {"event": "64MiB"}}},
        [{"key": "*", "guest": guest, "to": "out"}], resources=("store", "out")))
    for name, value in values.items():
        (site.root / "new").write_bytes(value)
        (site.root / "new").rename(site.root / "store" / name)
    for name, value in values.items():
        path = site.root / "out" / name
        weir.wait_for(path.exists, f"the key {name}")
        assert path.read_bytes() == value, name
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_json_comes_in_and_an_event_goes_out(site, language):
    guest = guest_of("json", language)
    weir = start(site, configuration(
        {guest: {"bounds": BOUNDS}},
        [{"key": "*", "guest": guest, "to": "out", "retry": {"attempts": 1}}],
        resources=("store", "out")))
    site.put("good", json.dumps({"name": "Ada", "numbers": [1, 2]}))
    site.put("bad", "no JSON")
    path = site.root / "out/good"
    weir.wait_for(path.exists, "the answer")
    assert path.read_bytes() == b'{"greeting":"hello Ada","count":2,"sum":3}'
    weir.wait_log(GIVEN_UP, event=re.compile("^bad@"))
    assert weir.stop() == 0


# What the guest does, and what of the reason tells it.
DEEDS = {
    "err": "this handler never succeeds",
    "loop": "bounds.time",
    "sleep": "bounds.time",
    "print": "bounds.output",
    "throw": "",
    "trap": "",
    "recurse": "",
    "allocate": "",
}


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_way_to_fail_is_told_and_the_next_event_is_handled(site, language):
    guest = guest_of("errors", language)
    config = configuration(
        {guest: {"bounds": BOUNDS | {"time": "2s", "memory": "256MiB"}}},
        [{"key": "*", "guest": guest, "retry": {"attempts": 1}}])
    weir = start(site, config)
    for deed in DEEDS:
        site.put(deed, "")
    for deed, part in DEEDS.items():
        record = weir.wait_log(GIVEN_UP, event=re.compile(f"^{deed}@"))
        assert part in record["reason"], (deed, record)
    site.put("ok", "")
    weir.wait_printed(guest, "ok: begin")
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_handler_rejects(site, language):
    guest = guest_of("reject", language)
    weir = start(site, configuration(
        {guest: {"bounds": BOUNDS}},
        [{"key": "*", "guest": guest, "retry": {"attempts": 2, "backoff": "10ms"}}]))
    site.put("later", "retry")
    site.put("never", "reject")
    assert weir.wait_log(GIVEN_UP, event=re.compile("^later@"))["attempt"] == 2
    assert weir.wait_log(GIVEN_UP, event=re.compile("^never@"))["attempt"] == 1
    assert weir.stop() == 0
