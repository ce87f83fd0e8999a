# SPDX-License-Identifier: Apache-2.0
"""Handlers that tell a lasting failure from a passing one: retry is tried again, reject is not."""

import json
import re

import pytest

from harness import handling

AGAIN = "the handler failed and will be called again"
GIVEN_UP = "the handler failed and the event is given up"
QUICKLY = {"attempts": 3, "backoff": "10ms"}
# By weir.h, by wit-bindgen for C and by wit-bindgen for Rust: what the event says, the reason and
# what the guest prints.
GUESTS = [
    ("reject", "{} key", "key attempt 1: {} key"),
    ("bindings-or-reject", "{}", "bindings got key"),
    ("reject-rust", "{}", "rust got key"),
]


@pytest.mark.parametrize("guest, body, line", GUESTS)
def test_a_rejected_event_gets_no_further_attempt(site, guest, body, line):
    weir = site.run(handling(guest, retry=QUICKLY))
    weir.wait_listening()
    site.put("key", body.format("reject"))
    record = weir.wait_log(GIVEN_UP)
    assert record["attempt"] == 1
    assert record["reason"] == "key"
    site.put("other", "fine")  # and nothing is wrong with the guest
    weir.wait_for(lambda: len(weir.printed(guest)) == 2, "the other key's event")
    assert weir.stop() == 0
    assert weir.printed(guest)[0] == line.format("reject")
    assert not weir.logs(AGAIN)
    assert weir.logs("listening is over", handled=1, failed_attempts=1, given_up=1)


@pytest.mark.parametrize("guest, body, line", GUESTS)
def test_a_retry_is_tried_again_to_the_last_attempt(site, guest, body, line):
    weir = site.run(handling(guest, retry=QUICKLY))
    weir.wait_listening()
    site.put("key", body.format("retry"))
    record = weir.wait_log(GIVEN_UP)
    assert record["attempt"] == 3
    assert [record["reason"] for record in weir.logs(AGAIN)] == ["key", "key"]
    assert weir.stop() == 0
    assert len(weir.printed(guest)) == 3
    assert weir.printed(guest)[0] == line.format("retry")


def test_a_retry_that_succeeds_is_handled(site):
    weir = site.run(handling("reject", retry=QUICKLY))
    weir.wait_listening()
    site.put("key", "until 3")
    weir.wait_printed("reject", "key attempt 3: until 3")
    assert weir.stop() == 0
    assert [record["reason"] for record in weir.logs(AGAIN)] == ["attempt 1 of 3", "attempt 2 of 3"]
    assert weir.logs("listening is over", handled=1, given_up=0)


@pytest.mark.parametrize("body, attempt", [("trap", 3), ("reject it", 1)])
def test_a_trap_is_no_rejection(site, body, attempt):
    weir = site.run(handling("reject", retry=QUICKLY))
    weir.wait_listening()
    site.put("key", body)
    assert weir.wait_log(GIVEN_UP)["attempt"] == attempt


@pytest.mark.parametrize("guest, handler, attempt, reason", [
    ("reject", "on-order-or-reject", 1, "no orders, not even key"),
    ("reject", "on-order", 3, "no orders now"),
    ("reject", "handle-event-or-reject", 1, "never"),
    ("reject-rust", "on-order-or-reject", 1, "key@"),
])
def test_the_handlers_name_tells_what_its_error_is(site, guest, handler, attempt, reason):
    weir = site.run(handling(guest, handler=handler, retry=QUICKLY))
    weir.wait_listening()
    site.put("key", "reject never")
    record = weir.wait_log(GIVEN_UP)
    assert record["attempt"] == attempt
    assert record["reason"].startswith(reason)


def test_unknown_names_list_handlers_of_both_kinds(site):
    site.write_config(handling("reject", handler="on-invoice"))
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    listed = re.search(r"its handlers are: (.*)", told)
    assert listed, told
    for name in "handle-event-or-reject", "on-order-or-reject", "on-order":
        assert re.search(rf"\b{name}(,|\W*$)", listed[1]), told


def test_the_dead_letter_has_the_guests_hash_and_the_end_of_its_output(site):
    weir = site.run(handling("reject"))
    weir.wait_listening()
    site.put("key", "reject it is not ours")
    weir.wait_log(GIVEN_UP)
    assert weir.stop() == 0
    listed = json.loads(site.command("dlq", "show", "--all", "--json").stdout)
    assert listed["reason"] == "it is not ours"
    assert listed["attempts"] == 1
    assert re.fullmatch(r"xxh128:[0-9a-f]{32}", listed["guest_hash"])
    assert listed["output"] == "key attempt 1: reject it is not ours\n"
