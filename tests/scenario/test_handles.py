# SPDX-License-Identifier: Apache-2.0
"""A handle or pointer that was never given, or is given back, ends that guest and nobody else."""

import pytest

from harness import configuration

SUBSCRIBED = ["open: ok", "watch: ok", "get: ok", "listen: ok"]
# The guest, what it prints before the wrong call, and what its end is put down to.
WRONG = {
    "main-stale-handle": (SUBSCRIBED, "handle"),
    "main-stale-exec": (SUBSCRIBED, "handle"),
    "main-double-drop": (["get: ok"], "handle"),
    "main-forged-handle": ([], "handle"),
    "main-zero-handle": ([], "handle"),
    "main-negative-handle": ([], "handle"),
    "main-bad-utf8-name": ([], "UTF-8"),
    "main-bad-utf8-key": (["open: ok"], "UTF-8"),
    "main-wild-name": ([], "memory"),
    "main-endless-name": ([], "memory"),
    "main-wild-answer": ([], "memory"),
    "main-unaligned-answer": ([], "align"),
    "main-answer-at-end": ([], "memory"),
    "main-trap": ([], "unreachable"),
}


@pytest.mark.parametrize("guest", WRONG)
def test_it_ends_that_guest_alone(site, guest):
    printed, reason = WRONG[guest]
    config = configuration(
        {guest: {"run": True, "grants": ["store"]},
         "main-exec-forever": {"run": True, "grants": ["store"]},
         "print": {}},
        [{"key": "*", "guest": "print"}])
    weir = site.run(config)
    record = weir.wait_log("main failed", guest=guest)
    assert reason in record["reason"], record["reason"]
    weir.wait_for(lambda: weir.printed(guest) == printed, f"the output {printed} and no more")
    weir.wait_listening(2)
    site.put("key", "x")
    weir.wait_printed("print", "text=x")
    weir.wait_printed("main-exec-forever", "handle-event got key")
    assert weir.stop() == 1, "a main has failed, and that is told at the end too"


@pytest.mark.tsan
def test_all_of_them_at_once(site):
    guests = {guest: {"run": True, "grants": ["store"]} for guest in WRONG}
    guests["main-exec-forever"] = {"run": True, "grants": ["store"]}
    weir = site.run(configuration(guests))
    for guest in WRONG:
        weir.wait_log("main failed", guest=guest)
    weir.wait_log("listening", owner="main-exec-forever")
    site.put("key", "x")
    weir.wait_printed("main-exec-forever", "handle-event got key")
    assert weir.stop() == 1
