# SPDX-License-Identifier: Apache-2.0
"""`weir kv`: a store by hand."""

import json
import signal

import pytest

from harness import LITTLE_QUARANTINE

STORE = "file:store"


def names(site, *arguments):
    return site.command("kv", "ls", STORE, *arguments).stdout.decode().splitlines()


def test_set_get_rm_ls(site):
    assert site.command("kv", "set", STORE, "greeting", "hello").stdout == b""
    assert (site.store / "greeting").read_text() == "hello"
    done = site.command("kv", "get", STORE, "greeting")
    assert done.stdout == b"hello", "not a byte more, where it goes to a program"
    site.command("kv", "set", STORE, "orders/1", "one")
    assert (site.store / "orders/1").read_text() == "one"
    assert sorted(names(site)) == ["greeting", "orders/1"]
    site.command("kv", "rm", STORE, "greeting")
    assert not (site.store / "greeting").exists()
    assert names(site) == ["orders/1"]


def test_any_bytes_go_in_and_come_out(site):
    value = bytes(range(256)) * 1000
    site.command("kv", "set", STORE, "bytes", "-", stdin=value)
    assert (site.store / "bytes").read_bytes() == value
    assert site.command("kv", "get", STORE, "bytes").stdout == value
    site.command("kv", "set", STORE, "piped", stdin=value)
    assert site.command("kv", "get", STORE, "piped").stdout == value
    site.command("kv", "set", STORE, "empty", "")
    assert site.command("kv", "get", STORE, "empty").stdout == b""


def test_a_key_that_is_not_there(site):
    for command in "get", "rm":
        done = site.command("kv", command, STORE, "nonesuch", status=1)
        assert b"nonesuch" in done.stderr and done.stdout == b""


def test_values_are_bounded(site):
    done = site.command("kv", "set", STORE, "key", "--value-max", "1KiB", stdin=b"x" * 1025,
                        status=1)
    assert b"1024" in done.stderr and b"--value-max" in done.stderr
    assert names(site) == []
    site.command("kv", "set", STORE, "key", "--value-max", "1KiB", stdin=b"x" * 1024)
    site.command("kv", "get", STORE, "key", "--value-max", "1000", status=1)


def test_set_replaces_the_file_and_leaves_nothing_beside_it(site):
    site.put("key", "old")
    before = (site.store / "key").stat().st_ino
    site.command("kv", "set", STORE, "key", "new")
    assert (site.store / "key").stat().st_ino != before, "a rename, not a write in place"
    assert [path.name for path in site.store.iterdir()] == ["key"]


def test_nothing_gets_out_of_the_directory(site):
    (site.root / "outside").write_text("secret", encoding="ascii")
    site.shell("ln -s ../outside link; ln -s .. up; mkfifo pipe; mkdir folder")
    for key in "../outside", "link", "up/outside", "/etc/passwd", "pipe", "folder":
        done = site.command("kv", "get", STORE, key, status=(1, 2))
        assert b"secret" not in done.stderr and done.stdout == b""
    site.command("kv", "set", STORE, "up/new", "x", status=(1, 2))
    assert not (site.root / "new").exists()
    # To refuse or to replace the link are both right; to write through it is not.
    site.command("kv", "set", STORE, "link", "x", status=(0, 1, 2))
    assert (site.root / "outside").read_text() == "secret"
    site.command("kv", "set", STORE, "../outside", "x")
    assert (site.root / "outside").read_text() == "secret"
    assert site.command("kv", "get", STORE, "../outside").stdout == b"x", "a key like another"


def test_a_resource_of_the_configuration(site):
    site.write_config("resources: {things: {kind: file, path: ./store}}\n")
    site.command("kv", "set", "things", "key", "value")
    assert (site.store / "key").read_text() == "value"
    site.write_config("resources: {things: {kind: file, path: ./store}}\n", "other.yaml")
    assert site.command("kv", "get", "--file", "other.yaml", "things", "key").stdout == b"value"
    done = site.command("kv", "get", "thigns", "key", status=2)
    assert b"things" in done.stderr
    assert site.command("kv", "get", "it", "key", "--resource", "it=file:store").stdout == b"value"


def test_ls_with_nul(site):
    site.put("line\nbreak", "x")  # no file name that kv would make
    site.command("kv", "set", STORE, "two\nlines", "x")
    assert site.command("kv", "ls", STORE, "--null").stdout == b"two\nlines\0"


@pytest.mark.parametrize("arguments", [
    [], ["set"], ["set", STORE], ["get", STORE], ["rm", STORE], ["nonsense", STORE],
    ["get", STORE, "a", "b"], ["set", STORE, "a", "b", "c"], ["ls"], ["ls", "fiel:store"],
    ["get", STORE, ""],
])
def test_the_users_mistakes_are_status_2(site, arguments):
    done = site.command("kv", *arguments, status=2)
    assert done.stderr and not done.stdout


# ---- watch ----


def events_of(weir):
    return [json.loads(line) for line in weir.out()]


def watch(site, *arguments):
    weir = site.start("kv", "watch", STORE, *arguments)
    weir.wait_for(lambda: any("watching" in line for line in weir.err()), "the watch")
    return weir


@pytest.mark.tsan
def test_watch_prints_cloudevents(site):
    weir = watch(site, "*", "--count", "3")
    site.shell("echo text > a")
    weir.wait_for(lambda: len(weir.out()) == 1, "the first event")
    site.put("b", b"\xff\x00")
    weir.wait_for(lambda: len(weir.out()) == 2, "the second event")
    site.shell("rm a")
    assert weir.wait_exit() == 0
    first, second, third = events_of(weir)
    assert first["specversion"] == "1.0"
    assert first["type"] == "dev.weir.keyvalue.set"
    assert (first["subject"], first["data"]) == ("a", "text\n")
    assert (second["subject"], second["data_base64"]) == ("b", "/wA=")
    assert (third["subject"], third["type"]) == ("a", "dev.weir.keyvalue.deleted")
    assert "data" not in third and "data_base64" not in third
    assert all(event["id"] and event["source"] and event["revision"] for event in events_of(weir))


def test_watch_of_one_key(site):
    weir = watch(site, "one")
    site.shell("echo no > one1; echo no > two")
    site.shell("echo yes > one")
    weir.wait_for(lambda: len(weir.out()) >= 1, "an event")
    assert weir.stop(signal.SIGINT) == 0
    assert [event["subject"] for event in events_of(weir)] == ["one"]


def test_watch_gives_up_after_its_time(site):
    weir = watch(site, "*", "--count", "1", "--timeout", "200ms")
    assert weir.wait_exit() == 1


def test_watch_ends_quietly_when_nobody_reads(site):
    weir = site.start("kv", "watch", STORE, "*", reads_stdout=False)
    weir.wait_for(lambda: any("watching" in line for line in weir.err()), "the watch")
    weir.process.stdout.close()
    for number in range(20):
        site.put("key", str(number))
    assert weir.wait_exit() in (0, 1)
    assert not any("roken pipe" in line for line in weir.err())


def test_watch_of_a_reader_that_is_slow_keeps_the_memory_flat(site):
    """The reader of its output stops; what comes meanwhile is not piled up in memory."""
    weir = site.start("kv", "watch", STORE, "*", reads_stdout=False, env=LITTLE_QUARANTINE)
    weir.wait_for(lambda: any("watching" in line for line in weir.err()), "the watch")
    value = "x" * 1_000_000
    for number in range(10):
        site.put(f"key-{number % 5}", f"{value}{number}")
    weir.wait_provider_rests()
    before_kib = weir.status("VmRSS")
    for number in range(150):
        site.put(f"key-{number % 5}", f"{value}{number}")
    weir.wait_provider_rests()
    grown_kib = weir.status("VmRSS") - before_kib
    assert grown_kib < 100 * 1024, f"it grew by {grown_kib} KiB while 150 MB were written"
    # It waits for its reader, and stops all the same.
    assert weir.stop() == 0
