# SPDX-License-Identifier: Apache-2.0
"""What people do about the state: status, tail, dlq, replay, state; while weir runs, and after."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import stat
import time

import pytest

from harness import DEADLINE_S, POLL_S, configuration, guest_path

NAME = "orders"
GIVEN_UP = "the handler failed and the event is given up"
RETRY = {"attempts": 2, "backoff": "10ms"}


def site_config(**guest):
    return configuration(
        {"obey": {"retry": RETRY} | guest, "echo": {}},
        [{"name": NAME, "key": "orders/*", "guest": "obey"},
         {"name": "copies", "key": "copies/*", "guest": "echo", "to": "out"}],
        resources=("store", "out"))


@pytest.fixture
def running(site):
    """A weir with a subscription whose handler obeys and one that publishes what it is given."""
    site.directory("out")
    weir = site.run(site_config())
    weir.wait_listening()
    return weir


def status(site, *arguments):
    return json.loads(site.command("status", "--json", *arguments).stdout)


def subscription(site, name=NAME, *arguments):
    found = [each for each in status(site, *arguments)["subscriptions"] if each["name"] == name]
    assert len(found) == 1, found
    return found[0]


def letters(site, *arguments):
    lines = site.command("dlq", "ls", "--json", *arguments).stdout.decode().splitlines()
    return [json.loads(line) for line in lines]


def wait_for(condition, what):
    until_s = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        assert time.monotonic() < until_s, f"there was not {what}"
        time.sleep(POLL_S)
    return result


def wait_letters(site, count):
    return wait_for(lambda: len(found := letters(site)) == count and found,
                    f"{count} dead letters")


def give_up(site, weir, *keys):
    """Has an event of each key given up; returns the dead letters."""
    before = len(letters(site))
    for number, key in enumerate(keys):
        site.put(f"orders/{key}", f"err no {key}")
        weir.wait_log(GIVEN_UP, count=before + number + 1)
    return wait_letters(site, before + len(keys))


# ---- status ----


def test_the_status_of_a_weir_that_runs(site, running):
    site.put("orders/1", "ok")
    site.put("copies/1", "text")
    wait_for(lambda: (site.root / "out/copies/1").exists(), "a copy")
    give_up(site, running, "2")
    told = wait_for(lambda: (now := status(site))["targets"][0]["waiting_events"] == 0 and now,
                    "an empty outbox")
    assert told["is_running"] is True and told["pid"] == running.pid
    assert told["uptime_ms"] > 0 and told["version"] and told["state_directory"]
    assert told["state_database"]["is_failing"] is False
    assert told["state_database"]["error"] is None and told["state_database"]["commits_total"] > 0
    assert told["dead_letters"] == 1 and told["outbox_events"] == 0
    assert told["targets"] == [
        {"name": "out", "kind": "file", "waiting_events": 0, "published_total": 1, "error": None}]
    orders, copies = (next(each for each in told["subscriptions"] if each["name"] == name)
                      for name in (NAME, "copies"))
    assert (orders["resource"], orders["key"], orders["guest"], orders["handler"], orders["to"]) \
        == ("store", "orders/*", "obey", "handle-event", None)
    assert orders["state"] == "running"
    assert orders["lag_events"] == orders["in_flight_events"] == orders["retrying_keys"] == 0
    assert (orders["received_total"], orders["handled_total"], orders["dead_total"],
            orders["failed_attempts_total"], orders["dead_letters"]) == (2, 1, 1, 2, 1)
    assert orders["last_error"]["message"] == "no 2" and orders["last_error"]["time"]
    assert copies["to"] == "out" and copies["derived_total"] == 1
    assert copies["last_error"] is None and copies["dead_letters"] == 0


def test_a_rate_is_told(site, running):
    def rate():
        site.put("orders/1", f"ok {time.monotonic()}")
        return subscription(site)["settled_per_second"]

    assert wait_for(rate, "a rate") > 0


def test_what_waits_is_seen(site):
    """A handler is busy; the events behind it lag, and the oldest grows older."""
    site.directory("out")
    config = site_config(bounds={"time": "60s"})
    config["host"]["workers"] = 1
    config["subscriptions"][0]["concurrency"] = 1
    weir = site.run(config)
    weir.wait_listening()
    site.put("orders/0", "sleep 30000")
    weir.wait_printed("obey", "sleep: begin")
    for number in range(1, 4):
        site.put(f"orders/{number}", "ok")
    told = wait_for(lambda: (now := subscription(site))["lag_events"] == 4 and
                    now["oldest_age_ms"] >= 100 and now, "a lag of four")
    assert told["in_flight_events"] == 1
    weir.send(signal.SIGTERM)
    weir.send(signal.SIGTERM)
    weir.wait_exit()
    kept = subscription(site)
    assert kept["state"] == "kept" and kept["lag_events"] == 4, "they wait for the next weir"


def test_the_status_of_a_weir_that_is_gone(site, running):
    give_up(site, running, "1")
    assert running.stop() == 0
    told = status(site)
    assert told["is_running"] is False and told["pid"] is None
    assert told["dead_letters"] == 1
    kept = subscription(site)
    assert (kept["state"], kept["resource"], kept["key"]) == ("kept", "store", "orders/*")
    assert kept["lag_events"] == 0 and kept["next_seq"] == 2 and kept["dead_letters"] == 1
    assert kept["in_flight_events"] is None and kept["settled_per_second"] is None
    # The names are those of a weir that runs.
    again = site.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug")
    again.wait_listening()
    assert set(subscription(site)) == set(kept) and set(status(site)) == set(told)


def test_a_killed_weir_leaves_a_state_that_is_read(site, running):
    give_up(site, running, "1")
    running.send(signal.SIGKILL)
    running.wait_exit()
    assert (site.root / ".weir/control.sock").exists(), "nobody removed it"
    assert status(site)["is_running"] is False
    assert len(letters(site)) == 1
    weir = site.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug")
    weir.wait_listening()
    assert status(site)["pid"] == weir.pid, "the new one has the socket"


def test_the_table_is_for_a_terminal(site, running):
    give_up(site, running, "1")
    lines = site.command("status").stdout.decode().splitlines()
    assert str(running.pid) in lines[0]
    head = next(line for line in lines if line.startswith("SUBSCRIPTION"))
    row = next(line for line in lines if line.startswith(NAME))
    assert len(head) <= 80 and len(head) == len(row), "numbers stand under their heads"
    assert row.split()[1] == "running" and row.split()[-1] == "1"
    assert any("no 1" in line for line in lines)
    assert running.stop() == 0
    assert site.command("status").stdout.decode().startswith("No weir runs here.")


def test_where_the_state_is(site):
    """--state before state.path before .weir beside the configuration; the same for run and all."""
    site.directory("out")
    config = site_config() | {"state": {"path": "./elsewhere"}}
    weir = site.run(config)
    weir.wait_listening()
    assert (site.root / "elsewhere/state.db").exists()
    assert status(site)["pid"] == status(site, "weir.yaml")["pid"] == weir.pid
    assert status(site, "--state", "elsewhere")["pid"] == weir.pid
    site.command("status", "--state", "nowhere", status=2)
    site.write_config("{nonsense", "broken.yaml")
    site.command("status", "broken.yaml", status=2)
    # A mistake somewhere else does not keep anybody from looking.
    broken = dict(config, guests={"obey": {"wasm": "nowhere.wasm", "nonsense": 1}})
    site.write_config(broken, "mistaken.yaml")
    assert status(site, "mistaken.yaml")["pid"] == weir.pid


def test_the_path_may_be_long(site):
    site.directory("out")
    deep = site.root / ("a" * 200) / ("b" * 200)
    deep.parent.mkdir()
    weir = site.run(site_config() | {"state": {"path": str(deep)}})
    weir.wait_listening()
    assert status(site)["pid"] == weir.pid
    assert stat.S_IMODE((deep / "control.sock").stat().st_mode) == 0o600


# ---- the socket from outside ----


@contextlib.contextmanager
def connected(site):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        fd = os.open(site.root / ".weir", os.O_PATH)
        try:
            client.connect(f"/proc/self/fd/{fd}/control.sock")
        finally:
            os.close(fd)
        yield client


def test_anybody_can_speak_the_protocol(site, running):
    with connected(site) as client:
        client.sendall(b'{"command":"status"}\n{"command":"nonsense"}\n')
        with client.makefile("rb") as answers:
            assert json.loads(answers.readline())["pid"] == running.pid
            assert json.loads(answers.readline())["status"] == "invalid"


def test_those_who_sit_there_harm_nobody(site, running):
    with contextlib.ExitStack() as stack:
        for number in range(50):
            stack.enter_context(connected(site)).sendall(b'{"command":"status"'[:number % 10])
        slow = stack.enter_context(connected(site))
        slow.sendall(b'{"command":"tail"}\n')
        for number in range(200):
            site.put(f"orders/{number}", "ok")
        assert status(site)["pid"] == running.pid
        wait_for(lambda: subscription(site)["handled_total"] == 200, "all of them handled")
    assert running.stop() == 0


def test_weir_stops_whoever_is_connected(site, running):
    with connected(site) as client, connected(site):
        client.sendall(b'{"command":"tail"}\n')
        assert b"tailing" in client.recv(1000)
        assert running.stop() == 0
    assert not (site.root / ".weir/control.sock").exists()


# ---- tail ----


def tail(site, *arguments):
    weir = site.start("tail", *arguments)
    weir.wait_for(lambda: any("tailing" in line for line in weir.err()), "the tail")
    return weir


def test_a_tail_shows_what_flows(site, running):
    site.put("orders/0", "ok")
    running.wait_printed("obey", "ok: end")
    everything = tail(site, "--json", "-n", "4")
    failures = tail(site, "--failed", "--json", "-n", "2")
    one = tail(site, "--key", "orders/2", "--type", "dev.weir.keyvalue.", "-n", "2")
    site.put("orders/1", "ok")
    everything.wait_for(lambda: len(everything.out()) == 1, "the first delivery")
    site.put("orders/2", "err no")
    site.put("copies/1", "text")
    assert everything.wait_exit() == failures.wait_exit() == one.wait_exit() == 0
    lines = [json.loads(line) for line in everything.out()]
    assert (lines[0]["subscription"], lines[0]["subject"], lines[0]["outcome"],
            lines[0]["attempt"]) == (NAME, "orders/1", "handled", 1)
    assert lines[0]["type"] == "dev.weir.keyvalue.set" and lines[0]["took_ns"] > 0
    assert {"retry", "dead", "derived"} <= {line["outcome"] for line in lines}
    told = [json.loads(line) for line in failures.out()]
    assert [line["outcome"] for line in told] == ["retry", "dead"]
    assert [line["attempt"] for line in told] == [1, 2]
    assert all(line["reason"] == "no" for line in told)
    for line in one.out():
        assert "orders/2" in line or line.strip() == "no"


def test_the_ends_of_a_tail(site, running):
    timed = tail(site, "-t", "200ms")
    assert timed.wait_exit() == 0
    few = tail(site, "-t", "200ms", "-n", "3")
    assert few.wait_exit() == 1
    stopped = tail(site)
    assert stopped.stop(signal.SIGINT) == 0
    last = tail(site, "--subscription", NAME)
    assert running.stop() == 0
    assert last.wait_exit() == 0
    assert any("weir has ended" in line for line in last.err())


def test_a_tail_of_nothing(site, running):
    done = site.command("tail", "--subscription", "ordres", status=2)
    assert b"orders" in done.stderr, "the nearest is named"
    running.stop()
    assert b"no weir runs" in site.command("tail", status=1).stderr
    site.command("tail", "--state", "nowhere", status=2)
    site.command("tail", "-n", "0", status=2)
    site.command("tail", "-t", "soon", status=2)
    site.command("tail", "a.yaml", "b.yaml", status=2)


def test_a_tail_that_nobody_reads_ends_with_its_reader(site, running):
    weir = site.start("tail", reads_stdout=False)
    weir.wait_for(lambda: any("tailing" in line for line in weir.err()), "the tail")
    weir.process.stdout.close()
    for number in range(20):
        site.put("orders/1", f"ok {number}")
    assert weir.wait_exit() == 0


# ---- dead letters ----


def test_dead_letters_are_listed_and_shown(site, running):
    one, two = give_up(site, running, "1", "2")
    assert (one["subscription"], one["subject"], one["reason"], one["attempts"], one["target"]) \
        == (NAME, "orders/1", "no 1", 2, None)
    assert two["id"] > one["id"]
    assert re.fullmatch(r"xxh128:[0-9a-f]{32}", one["guest_hash"])
    shown = json.loads(site.command("dlq", "show", "--json", one["id"]).stdout)
    assert shown["event"]["subject"] == "orders/1" and shown["event"]["id"] == one["event_id"]
    assert shown["event"]["data"] == "err no 1"
    assert shown["output"].splitlines() == ["err: begin", "err: end"]
    text = site.command("dlq", "show", one["id"], two["id"]).stdout.decode()
    for part in ("no 1", "no 2", one["guest_hash"], "err: begin", one["event_id"]):
        assert part in text
    table = site.command("dlq", "ls").stdout.decode().splitlines()
    assert len(table) == 3 and all(len(line) <= 80 for line in table)
    assert site.command("dlq", "ls", "--subscription", "copies").stdout.startswith(b"There are no")
    assert len(letters(site, "--subscription", NAME)) == 2
    assert running.stop() == 0
    assert [letter["id"] for letter in letters(site)] == [one["id"], two["id"]]


def test_a_dead_letter_is_tried_again_while_weir_runs(site, running):
    """The guest is mended by what it is told: the event is the same, byte for byte."""
    one, two = give_up(site, running, "1", "2")
    site.command("dlq", "retry", one["id"])
    running.wait_log(GIVEN_UP, count=3)
    again = wait_for(lambda: [letter for letter in letters(site) if letter["id"] > two["id"]],
                     "a new letter")
    assert [letter["event_id"] for letter in again] == [one["event_id"]]
    assert len(letters(site)) == 2


def test_a_dead_letter_is_tried_again_by_the_next_weir(site, running):
    one, two = give_up(site, running, "1", "2")
    assert running.stop() == 0
    assert b"given back: 2" in site.command("dlq", "retry", "--all").stdout
    assert letters(site) == [] and subscription(site)["lag_events"] == 2
    site.command("state", "check")
    weir = site.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug")
    weir.wait_log(GIVEN_UP, count=2)
    again = wait_letters(site, 2)
    assert {letter["event_id"] for letter in again} == {one["event_id"], two["event_id"]}
    assert weir.stop() == 0
    site.command("state", "check")


@pytest.mark.parametrize("runs", [True, False])
def test_dead_letters_are_removed(site, running, runs):
    one, two, three = give_up(site, running, "1", "2", "3")
    if not runs:
        assert running.stop() == 0
    # As rm does: the one that is not there is told, the other one goes.
    done = site.command("dlq", "rm", one["id"], "999", status=1)
    assert b"999" in done.stderr and b"removed: 1" in done.stdout
    assert [letter["id"] for letter in letters(site)] == [two["id"], three["id"]]
    site.command("dlq", "rm", "--all", "--subscription", "copies")
    assert len(letters(site)) == 2
    site.command("dlq", "rm", "--all", "--subscription", NAME)
    assert letters(site) == []
    site.command("dlq", "rm", "--all")
    site.command("state", "check")


def test_a_letter_of_a_subscription_that_is_gone(site, running):
    """Somebody has removed the subscription by hand, but not its letter."""
    one, = give_up(site, running, "1")
    assert running.stop() == 0
    with contextlib.closing(sqlite3.connect(site.root / ".weir/state.db")) as database, database:
        database.execute("DELETE FROM subscription WHERE name = ?", [NAME])
    done = site.command("dlq", "retry", one["id"], status=1)
    assert NAME.encode() in done.stderr
    assert len(letters(site)) == 1, "it is not lost"
    assert b"that are gone: 1" in site.command("status").stdout
    assert site.command("replay", one["event_id"], status=1).stdout, "it can still be run once"


def test_an_event_that_could_not_be_published_goes_back_to_the_outbox(site, running):
    """Its key is one that the target cannot have: a directory stands there."""
    (site.root / "out/copies/1").mkdir(parents=True)
    (site.root / "out/copies/1/below").write_text("x", encoding="ascii")
    site.put("copies/1", "text")
    letter, = wait_letters(site, 1)
    assert letter["target"] == "out" and letter["subscription"] == "copies"
    (site.root / "out/copies/1/below").unlink()
    (site.root / "out/copies/1").rmdir()
    assert running.stop() == 0
    site.command("dlq", "retry", letter["id"])
    assert status(site)["outbox_events"] == 1
    assert status(site)["targets"][0]["waiting_events"] == 1
    weir = site.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug")
    wait_for(lambda: (site.root / "out/copies/1").is_file(), "the copy")
    assert weir.stop() == 0


def test_mistakes_with_dead_letters(site, running):
    running.stop()
    for arguments in (["dlq"], ["dlq", "lst"], ["dlq", "rm"], ["dlq", "rm", "x"],
                      ["dlq", "rm", "0"], ["dlq", "rm", "-1"], ["dlq", "rm", "1", "--all"],
                      ["dlq", "rm", "1", "--subscription", NAME], ["dlq", "rm", "1", "--json"],
                      ["dlq", "ls", "1"], ["dlq", "ls", "--state", "store"],
                      ["dlq", "ls", "--state", "nowhere"], ["dlq", "ls", "--file", "nowhere.yaml"],
                      ["dlq", "show", "99999999999999999999"], ["dlq", "ls", "--nonsense"]):
        done = site.command(*arguments, status=2)
        assert done.stderr and not done.stdout, arguments
    assert b"did you mean ls" in site.command("dlq", "lst", status=2).stderr
    assert b"there is no dead letter 1" in site.command("dlq", "show", "1", status=1).stderr


# ---- replay ----


def test_an_event_is_replayed(site, running):
    one, = give_up(site, running, "1")
    done = site.command("replay", one["event_id"], "--file", "weir.yaml", status=1)
    text = done.stdout.decode()
    assert "[obey] err: begin" in text and re.search(r"failed after [\d.]+ ms: no 1", text)
    # Through another guest: the same event, and it returns it.
    text = site.command("replay", one["event_id"], "--guest", "echo").stdout.decode()
    assert re.search(r"handled in [\d.]+ ms", text)
    returned = json.loads(re.search(r"^returned: (.*)$", text, re.MULTILINE)[1])
    assert returned["data"] == "err no 1" and returned["subject"] == "orders/1"
    assert letters(site) == [one], "nothing has changed"
    assert running.stop() == 0
    site.command("replay", one["event_id"], status=1)
    assert one["event_id"] in site.command("replay", "--list").stdout.decode()


def test_an_event_of_the_journal_is_replayed(site, running):
    one, = give_up(site, running, "1")
    running.stop()
    site.command("dlq", "retry", one["id"])
    text = site.command("replay", one["event_id"], status=1).stdout.decode()
    assert "journal" in text and "obey.handle-event" in text


def test_mistakes_with_replay(site, running):
    one, = give_up(site, running, "1")
    done = site.command("replay", "orders/1@nonsense", status=1)
    assert one["event_id"].encode() in done.stderr, "the nearest is named"
    for arguments in (["replay"], ["replay", "a", "b"], ["replay", "--list", "a"],
                      ["replay", one["event_id"], "--guest", "nobody"],
                      ["replay", one["event_id"], "--handler", "nothing"],
                      ["replay", one["event_id"], "--state", "nowhere"],
                      ["replay", one["event_id"], "--file", "nowhere.yaml"]):
        assert site.command(*arguments, status=2).stderr, arguments


def test_a_subscription_without_a_name_of_its_own(site):
    """Its guest and handler are found in the name that it was given."""
    weir = site.run(configuration({"multi": {}, "obey": {"retry": RETRY}},
                                  [{"key": "*", "guest": "obey"}]))
    weir.wait_listening()
    site.put("key", "err no")
    letter, = wait_letters(site, 1)
    text = site.command("replay", letter["event_id"], status=1).stdout.decode()
    assert "through obey.handle-event" in text
    assert weir.stop() == 0


# ---- state ----


def test_a_state_is_checked(site, running):
    give_up(site, running, "1")
    text = site.command("state", "check").stdout.decode()
    assert re.fullmatch(r"sound: 2 subscriptions, \d+ rows, 1 dead letters\n", text)
    assert running.stop() == 0
    assert site.command("state", "check", "weir.yaml").stdout.startswith(b"sound: 2")


def test_a_damaged_state_is_told(site, running):
    give_up(site, running, *map(str, range(20)))
    assert running.stop() == 0
    path = site.root / ".weir/state.db"
    data = bytearray(path.read_bytes())
    at = data.rfind(b"err no 7")
    assert at > 0
    data[at] ^= 1
    path.write_bytes(data)
    done = site.command("state", "check", status=1)
    assert done.stdout and b"wrong" in done.stderr
    assert not site.command("status", status=(0, 1)).stdout.startswith(b"weir")


def test_a_subscription_is_forgotten(site, running):
    give_up(site, running, "1")
    done = site.command("state", "forget", NAME, status=1)
    assert str(running.pid).encode() in done.stderr, "whose state it is"
    assert running.stop() == 0
    done = site.command("state", "forget", "nonesuch", status=2)
    assert NAME.encode() in done.stderr
    site.command("state", "forget", NAME)
    assert letters(site) == []
    assert [each["name"] for each in status(site)["subscriptions"]] == ["copies"]
    site.command("state", "check")


def test_mistakes_with_the_state(site):
    for arguments in (["state"], ["state", "chekc"], ["state", "forget"], ["state", "check"],
                      ["state", "forget", "a", "b"], ["state", "check", "--state", "store"],
                      ["state", "forget", "a", "--state", "store"], ["status"],
                      ["status", "--state", "store"], ["status", "a.yaml", "b.yaml"],
                      ["status", "nowhere.yaml"], ["status", "--nonsense"]):
        done = site.command(*arguments, status=2)
        assert done.stderr and not done.stdout, arguments
    assert list(pathlib.Path(site.store).iterdir()) == [], "nothing was made there"
    assert guest_path("obey").exists() and not (site.root / ".weir").exists()
