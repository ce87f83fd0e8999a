# SPDX-License-Identifier: Apache-2.0
"""Handlers are found by name, and their signature is looked at when the name is given."""

import re

import pytest

from harness import configuration, handling


@pytest.mark.parametrize("handler", [None, "handle-event", "on-order", "on-invoice"])
def test_each_subscription_has_the_handler_that_it_names(site, handler):
    weir = site.run(handling("multi", handler=handler))
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_printed("multi", f"{handler or 'handle-event'} got key")
    assert weir.stop() == 0
    assert len(weir.printed("multi")) == 1


def test_one_guest_with_several_subscriptions(site):
    config = configuration({"multi": {}}, [
        {"key": "orders/*", "guest": "multi", "handler": "on-order"},
        {"key": "invoices/*", "guest": "multi", "handler": "on-invoice"},
        {"key": "*", "guest": "multi"}])
    weir = site.run(config)
    weir.wait_listening()
    assert weir.logs("listening", subscriptions=3)
    site.put("orders/1", "x")
    site.put("invoices/1", "x")
    for line in ("on-order got orders/1", "on-invoice got invoices/1",
                 "handle-event got orders/1", "handle-event got invoices/1"):
        weir.wait_printed("multi", line)
    assert weir.stop() == 0
    assert len(weir.printed("multi")) == 4


def test_listen_to_names_a_handler(site):
    weir = site.run_guest("main-listen-to")
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_printed("main-listen-to", "on-other got key")
    assert weir.stop() == 0
    assert "handle-event got key" not in weir.printed("main-listen-to")


def test_an_unknown_handler_is_not_found_and_the_others_are_listed(site):
    """The seed's listen-to(…, "sdfsdf"): an error at that call, not at the first event."""
    weir = site.run_guest("main-unknown-handler")
    assert weir.wait_exit() == 0, "the guest lives on"
    refused = [line for line in weir.printed("main-unknown-handler")
               if line.startswith("listen-to: ")]
    assert len(refused) == 2
    for line in refused:
        assert line.startswith("listen-to: not-found: ")
        assert "handle-event" in line and "on-other" in line
    assert '"sdfsdf"' in refused[0]


def test_a_wrong_signature_is_invalid(site):
    weir = site.run_guest("main-wrong-signature")
    assert weir.wait_exit() == 0
    refused = [line for line in weir.printed("main-wrong-signature")
               if line.startswith("listen-to: ")]
    assert re.match(r"listen-to: invalid: .*on-bad.*\(i32, i32\) -> i32", refused[0])
    assert "handle-event" in refused[0]
    # What the ABI or the toolchain exports is no handler at all.
    assert refused[1].startswith("listen-to: not-found: ")
    assert refused[2].startswith("listen-to: not-found: ")


@pytest.mark.parametrize("handler, reason", [
    ("sdfsdf", r"no handler \"?sdfsdf.*handle-event, on-order, on-invoice"),
    ("on-bad", r"on-bad.*\(i32, i32\) -> i32"),
    ("on-nothing", r"on-nothing.*\(i32\) -> \(\)"),
    ("on-float", r"on-float.*\(f32\) -> i32"),
])
def test_a_configuration_with_a_wrong_handler_is_refused(site, handler, reason):
    weir = site.run(handling("multi", handler=handler))
    assert weir.wait_exit() == 2, "that is the user's mistake"
    told = weir.stderr.decode().replace('\\"', '"')
    assert re.search(reason, told), told
    checked = site.command("check", "weir.yaml", status=2)
    assert re.search(r"weir\.yaml:\d+: " + ".*" + reason, checked.stderr.decode())


def test_observables_that_are_none(site):
    weir = site.run_guest("main-unknown-observable")
    assert weir.wait_exit() == 0
    assert re.match(r"listen: (not-found|invalid): .*nowhere",
                    weir.printed("main-unknown-observable")[-1])
    weir = site.run_guest("main-unknown-descriptor")
    assert weir.wait_exit() == 0
    assert re.match(r"watch: (not-found|invalid): .*no such descriptor",
                    weir.printed("main-unknown-descriptor")[-1])


def test_names_that_are_none(site):
    """An empty name, one with a line break and one that steers a terminal are no resource's."""
    weir = site.run_guest("main-odd-names")
    assert weir.wait_exit() == 0
    answers = [line for line in weir.printed("main-odd-names") if line.startswith("open: ")]
    assert len(answers) == 3
    assert all(answer.startswith("open: not-found: ") for answer in answers)
    assert b"\x1b" not in weir.stdout


def test_keys_that_are_none(site):
    """An empty key is none; one that looks like a way out of the directory is a key like others."""
    weir = site.run_guest("main-odd-keys")
    assert weir.wait_exit() == 0
    printed = weir.printed("main-odd-keys")
    assert printed[0] == "open: ok"
    assert printed[1].startswith("watch: invalid: ")
    assert printed[2:] == ["watch: ok", "watch: ok"]
