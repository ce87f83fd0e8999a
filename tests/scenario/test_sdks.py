# SPDX-License-Identifier: Apache-2.0
"""Guests made with the SDKs for Rust, JavaScript and Python: the same program in each, and from each
the same answers, byte for byte."""

import json
import re

import pytest

from harness import AGAIN, GIVEN_UP, configuration
from test_languages import BOUNDS, COMPILED_S, guest_of

LANGUAGES = ["rust", "js", "python"]
ATTEMPTS = 3


def start(site, language, handler=None):
    """The guest of the SDK for a language, which handles what changes in `store`; what it returns
    goes to `topic`, whose events the guest `trace` prints, and from there to `out`."""
    guest = guest_of("sdk", language)
    (site.root / "out").mkdir()
    config = configuration(
        {guest: {"bounds": BOUNDS, "retry": {"attempts": ATTEMPTS, "backoff": "10ms"}},
         "trace": {}},
        [{"name": "first", "key": "*", "guest": guest, "to": "topic"} |
         ({"handler": handler} if handler else {}),
         {"name": "second", "watch": "topic", "key": "*", "guest": "trace", "to": "out"}],
        resources=("store", "out"))
    config["resources"]["topic"] = {"kind": "topic"}
    weir = site.run(config)
    weir.wait_listening(deadline_s=COMPILED_S)
    return guest, weir


def answer_to(site, weir, key, body, answers_to=None):
    """Sets a key, and returns what the guest returned, as bytes."""
    path = site.root / "out" / (answers_to or key)
    site.put(key, body)
    weir.wait_for(path.exists, f"the answer to {key}")
    return path.read_bytes()


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_events_that_follow(site, language):
    _, weir = start(site, language)
    body = json.dumps({"name": "Ådа", "numbers": [1, 2, 39]}, ensure_ascii=False)
    assert answer_to(site, weir, "json", body) == \
        '{"greeting":"hello Ådа","count":3,"sum":42}'.encode()
    assert answer_to(site, weir, "text", "größer") == "GRÖSSER".encode()
    every = bytes(range(256))
    assert answer_to(site, weir, "bytes", every, answers_to="reversed") == every[::-1]
    site.put("none", "nothing follows")
    site.wait_rest(weir)
    assert weir.stop() == 0
    # With what attributes the event came that follows.
    traced = [line for line in weir.printed("trace") if "dev.weir.test.text" in line]
    assert len(traced) == 1
    assert "text/plain" in traced[0] and "attemptseen=1" in traced[0]
    assert len(weir.printed("trace")) == 3
    assert not weir.logs(AGAIN) and not weir.logs(GIVEN_UP)


# What is set, after how many attempts it is given up, and what of the reason tells it.
FAILURES = {
    "retry": ("", 3, "^not now$"),
    "reject": ("", 1, "^there is no deed reject$"),
    "json": ('{"name": 1}', 1, "the body"),
    "text": (b"\xff", 1, "the body is no UTF-8"),
    "number": ("x", 3, "^the body is no number"),
    "number-or-reject": ("x", 1, ""),
}


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_errors_are_tried_again_and_rejections_are_not(site, language):
    _, weir = start(site, language)
    for key, (body, _, _) in FAILURES.items():
        site.put(key, body)
    for key, (_, attempts, reason) in FAILURES.items():
        record = weir.wait_log(GIVEN_UP, event=re.compile(f"^{key}@"))
        assert record["attempt"] == f"{attempts} of {ATTEMPTS}", key
        assert re.search(reason, record["reason"]), (key, record)
    assert answer_to(site, weir, "number", "42") == b"42"
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("handler, attempts, reason", [
    ("on-order", 3, "no orders now"), ("on-order-or-reject", 1, "no orders")])
def test_handlers_of_the_guests_own_names(site, language, handler, attempts, reason):
    guest, weir = start(site, language, handler=handler)
    site.put("key", "seven pens")
    record = weir.wait_log(GIVEN_UP)
    assert record["attempt"] == f"{attempts} of {ATTEMPTS}"
    assert record["reason"] == reason
    assert weir.printed(guest)[0] == f"{handler} got seven pens"
    assert weir.stop() == 0
