# SPDX-License-Identifier: Apache-2.0
"""The program that weir was thought up for, in C and in Rust, and the same guest on bindings."""

import signal

import pytest

from harness import GUESTS_DIR

SEEDS = ["seed", "seed-rust"]


def needs_rust(guest):
    if guest.endswith("-rust") and not (GUESTS_DIR / f"{guest}.wasm").exists():
        pytest.skip("the guest in Rust was not built: there is no Rust for wasm32-wasip1")


@pytest.mark.parametrize("guest", SEEDS)
def test_a_user_changes_keys_and_the_handler_is_called(site, guest):
    needs_rust(guest)
    weir = site.run_guest(guest, resource="my-container")
    weir.wait_listening()

    site.command("kv", "set", "file:store", "my-key1", "by weir itself")
    weir.wait_printed(guest, "this event my-key1 has been handled")
    site.shell("echo 'by the shell' > my-key2")
    weir.wait_printed(guest, "this event my-key2 has been handled")
    site.shell("echo 'by a rename' > ../elsewhere && mv ../elsewhere my-key1")
    weir.wait_printed(guest, "this event my-key1 has been handled", count=2)
    site.shell("rm my-key2")
    weir.wait_printed(guest, "this event my-key2 has been handled", count=2)

    printed = weir.printed(guest)
    assert set(line for line in printed if line.startswith("source:")) == {"source: /my-container"}
    assert [line for line in printed if line.startswith("type:")] == [
        "type:   dev.weir.keyvalue.set", "type:   dev.weir.keyvalue.set",
        "type:   dev.weir.keyvalue.set", "type:   dev.weir.keyvalue.deleted"]
    assert weir.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("guest", SEEDS)
def test_it_hears_of_no_key_but_its_own(site, guest):
    needs_rust(guest)
    weir = site.run_guest(guest, resource="my-container")
    weir.wait_listening()
    site.shell("echo no > my-key; echo no > my-key11; echo no > MY-KEY1; echo no > my-key3")
    site.shell("echo yes > my-key2")
    weir.wait_printed(guest, "this event my-key2 has been handled")
    assert weir.stop() == 0
    handled = [line for line in weir.printed(guest) if "handled" in line]
    assert handled == ["this event my-key2 has been handled"]


def test_a_resource_of_another_name_is_not_found(site):
    weir = site.run_guest("seed", resource="another")
    assert weir.wait_exit() == 1
    assert "my-container" in "\n".join(weir.printed("seed"))
    assert "another" in "\n".join(weir.printed("seed")), "it should name what there is"
    weir.wait_log("main failed", guest="seed")


def test_a_guest_on_generated_bindings_is_no_different(site):
    weir = site.run_guest("bindings")
    weir.wait_listening()
    site.put("orders/7", "x")
    weir.wait_printed("bindings", "bindings got orders/7")
    assert weir.stop() == 0
