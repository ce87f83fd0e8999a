# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the configuration is read again, and what did not change is not touched."""

import json
import os
import shutil
import signal
import time

import pytest

from harness import configuration, guest_path

FOREVER = {"bounds": {"time": "1h"}}


def start(site, config):
    weir = site.run(config)
    weir.wait_listening()
    return weir


def reload(weir):
    weir.send(signal.SIGHUP)


def wait_told(site, weir, guest, key):
    """A key that is changed until the guest is told: the subscription has begun."""
    count = 0

    def is_told():
        nonlocal count
        count += 1
        site.put(key, str(count))
        return weir.traces(guest, key)

    weir.wait_for(is_told, f"{guest} with {key}")


def two(*, first=True, second=True):
    guests = {"one": {"wasm": "trace"}, "two": {"wasm": "trace"}}
    subscriptions = [{"name": "first", "key": "a/*", "guest": "one"}] if first else []
    subscriptions += [{"name": "second", "key": "b/*", "guest": "two"}] if second else []
    return configuration(guests, subscriptions)


@pytest.mark.tsan
def test_a_subscription_is_added(site):
    weir = start(site, two(second=False))
    site.put("a/1", "x")
    weir.wait_traces(1, "one")
    site.write_config(two())
    reload(weir)
    wait_told(site, weir, "two", "b/1")
    site.put("a/2", "x")
    weir.wait_traces(2, "one")
    assert weir.stop() == 0
    assert [each["subject"] for each in weir.traces("one")] == ["a/1", "a/2"]


@pytest.mark.tsan
def test_a_subscription_is_removed_and_comes_back_where_it_was(site):
    weir = start(site, two())
    for key in "a/1", "b/1":
        site.put(key, "x")
    weir.wait_traces(1, "one")
    weir.wait_traces(1, "two")
    site.write_config(two(second=False))
    reload(weir)
    weir.wait_log("the configuration was read again")
    site.put("b/2", "x")
    site.put("a/2", "x")
    weir.wait_traces(2, "one")
    weir.wait_provider_rests()
    assert len(weir.traces("two")) == 1
    site.write_config(two())
    reload(weir)
    weir.wait_traces(2, "two")
    assert weir.stop() == 0
    assert [each["subject"] for each in weir.traces("two")] == ["b/1", "b/2"]


@pytest.mark.tsan
def test_a_handler_of_another_subscription_goes_on_undisturbed(site):
    def config(*more):
        return configuration({"obey": FOREVER, "trace": {}},
                             [{"name": "long", "key": "long", "guest": "obey"}, *more],
                             host={"workers": 2})

    weir = start(site, config())
    site.put("long", "wait 3000")
    weir.wait_printed("obey", "wait: begin")
    site.write_config(config({"name": "new", "key": "new", "guest": "trace"}))
    reload(weir)
    wait_told(site, weir, "trace", "new")
    weir.wait_printed("obey", "wait: end")
    assert weir.printed("obey") == ["wait: begin", "wait: end"]
    assert weir.stop() == 0


@pytest.mark.tsan
def test_a_changed_guest_takes_over(site):
    """Between two events; what was queued behind the running handler goes to the new one."""
    wasm = site.root / "guest.wasm"
    shutil.copy(guest_path("obey"), wasm)
    config = configuration({"it": FOREVER | {"wasm": "obey"}}, [{"key": "*", "guest": "it"}],
                           host={"workers": 1})
    config["guests"]["it"]["wasm"] = "./guest.wasm"
    weir = start(site, config)
    site.put("key", "wait 1000")
    weir.wait_printed("it", "wait: begin")
    site.put("key", "behind it")
    weir.wait_provider_rests()
    shutil.copy(guest_path("trace"), site.root / "new.wasm")
    os.rename(site.root / "new.wasm", wasm)
    reload(weir)
    weir.wait_printed("it", "wait: end")

    def is_new():
        site.put("probe", str(time.monotonic()))
        return [line for line in weir.printed("it") if line.startswith("handled\t")]

    weir.wait_for(is_new, "the new guest")
    assert weir.stop() == 0
    assert weir.printed("it")[:2] == ["wait: begin", "wait: end"]


@pytest.mark.parametrize("broken", ["{", '{"host": {"wrokers": 1}}', None],
                         ids=["syntax", "key", "guest"])
def test_a_mistake_changes_nothing_and_is_told(site, broken):
    wasm = site.root / "guest.wasm"
    shutil.copy(guest_path("trace"), wasm)
    config = two(second=False)
    config["guests"]["one"]["wasm"] = "./guest.wasm"
    weir = start(site, config)
    site.put("a/1", "x")
    weir.wait_traces(1, "one")
    if broken is None:
        wasm.with_name("new.wasm").write_bytes(b"no wasm at all")
        os.rename(wasm.with_name("new.wasm"), wasm)
    else:
        site.write_config(broken)
    reload(weir)
    record = weir.wait_for(lambda: weir.logs(level="error"), "an error")[0]
    wanted = {"{": "weir.yaml", None: "guest"}.get(broken, "wrokers")
    assert wanted in str(record)
    site.put("a/2", "x")
    weir.wait_traces(2, "one")
    assert weir.stop() == 0


def test_a_configuration_that_did_not_change_changes_nothing(site):
    weir = start(site, two())
    for number in range(5):
        reload(weir)
        site.put(f"a/{number}", "x")
        weir.wait_traces(number + 1, "one")
    assert weir.stop() == 0
    assert [each["subject"] for each in weir.traces("one")] == [f"a/{n}" for n in range(5)]
    assert len(weir.logs("listening")) == 1


def test_status_tells_of_the_resources_that_there_are_now(site):
    def told():
        status = json.loads(site.command("status", "weir.yaml", "--json").stdout)
        return {each["name"]: each["is_connected"] for each in status["resources"]}

    def having(*names):
        config = two(second=False)
        config["resources"] |= {name: {"kind": "sqlite", "path": f"{name}.db", "kv": "t"}
                                for name in names}
        return config

    weir = start(site, having("left", "both"))
    assert told() == {"left": None, "both": None}  # nothing has needed them
    site.write_config(having("both", "new"))
    reload(weir)
    weir.wait_for(lambda: told() == {"both": None, "new": None}, "the new resources")
    site.write_config("{")
    reload(weir)
    weir.wait_for(lambda: weir.logs(level="error"), "an error")
    site.write_config(having("both", "new"))  # for who asks
    assert told() == {"both": None, "new": None}
    assert weir.stop() == 0


def test_a_burst_of_signals_does_no_harm(site):
    weir = start(site, two(second=False))
    for number in range(30):
        site.write_config(two(second=number % 2 == 0))
        reload(weir)
    site.write_config(two())
    reload(weir)
    wait_told(site, weir, "two", "b/1")
    wait_told(site, weir, "one", "a/1")
    assert weir.stop() == 0
