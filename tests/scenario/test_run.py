# SPDX-License-Identifier: Apache-2.0
"""`weir run` from its beginning to its end: mains, exit statuses, stopping."""

import re
import signal
import time

import pytest

from harness import GUESTS_DIR, SLACK_S, configuration, guest_path, handling

# ---- how mains end ----


def test_mains_alone_end_the_process(site):
    weir = site.run(configuration({name: {"run": True, "wasm": "run-ok"} for name in ("a", "b")}))
    assert weir.wait_exit() == 0
    assert weir.printed("a") == weir.printed("b") == ["run was here"]


@pytest.mark.parametrize("guest, reason", [
    ("run-err", "the run failed on purpose"),
    ("run-err-bad-utf8", "UTF-8"),
    ("run-trap", "unreachable"),
    ("main-return-1", "1"),
    ("main-exit-3", "3"),
    ("main-trap", "unreachable"),
])
def test_a_main_that_fails_is_told_once_and_is_status_1(site, guest, reason):
    weir = site.run(configuration({guest: {"run": True}}))
    assert weir.wait_exit() == 1
    records = [record for record in weir.logs() if reason in record.get("reason", "")]
    assert len(records) == 1
    assert records[0]["level"] == "error"
    assert records[0]["guest"] == guest


def test_output_before_an_exit_is_shown(site):
    weir = site.run(configuration({"main-exit-3": {"run": True}}))
    assert weir.wait_exit() == 1
    assert weir.printed("main-exit-3") == ["leaving with 3"]


def test_a_failed_main_does_not_end_the_others(site):
    weir = site.run(configuration({
        "run-err": {"run": True}, "main-exec-forever": {"run": True, "grants": ["store"]}}))
    weir.wait_log("main failed", guest="run-err")
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_printed("main-exec-forever", "handle-event got key")
    assert weir.stop() == 1


def test_with_subscriptions_it_runs_on_when_the_mains_have_returned(site):
    weir = site.run(configuration({"run-ok": {"run": True}, "print": {}},
                                  [{"key": "*", "guest": "print"}]))
    weir.wait_log("main has returned", guest="run-ok")
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_printed("print", "text=x")
    assert weir.stop() == 0


def test_main_on_the_command_line(site):
    """`weir run GUEST.wasm` calls its main, under the name of its file."""
    weir = site.run_guest("run-ok")
    assert weir.wait_exit() == 0
    assert weir.printed("run-ok") == ["run was here"]


# ---- what cannot be run ----


@pytest.mark.parametrize("arguments, told", [
    (["run"], r"run"),
    (["run", "nowhere.yaml"], r"nowhere\.yaml"),
    (["run", "nowhere.wasm"], r"nowhere\.wasm"),
    (["run", str(GUESTS_DIR / "run-ok.wasm"), "--resource", "store=fiel:store"], r"file"),
    (["run", str(GUESTS_DIR / "run-ok.wasm"), "--resource", "store"], r"NAME="),
    (["run", str(GUESTS_DIR / "run-ok.wasm"), "--nonsense"], r"nonsense"),
    (["run", str(GUESTS_DIR / "run-ok.wasm"), "--log-level", "loud"], r"loud"),
    (["run", str(GUESTS_DIR / "run-ok.wasm"), "--log-format", "xml"], r"xml"),
])
def test_the_users_mistakes_are_status_2(site, arguments, told):
    done = site.command(*arguments, status=2)
    assert re.search(told, done.stderr.decode()), done.stderr
    assert done.stdout == b""


def test_a_handler_alone_has_no_main(site):
    """A guest without main on the command line: it could do nothing."""
    done = site.command("run", guest_path("print"), "--resource", "store=file:store", status=2)
    assert re.search("main|run", done.stderr.decode())


def test_a_directory_that_cannot_be(site):
    (site.root / "file").write_text("not a directory", encoding="ascii")
    tree = handling("print")
    tree["resources"]["store"]["path"] = "./file"
    weir = site.run(tree)
    assert weir.wait_exit() == 2
    assert re.search(r"store.*Not a directory", weir.stderr.decode())


# ---- stopping ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_idle_weir_stops_at_once(site, number):
    weir = site.run(handling("print", host={"grace": "1h"}))
    weir.wait_listening()
    begin_s = time.monotonic()
    assert weir.stop(number) == 0
    assert time.monotonic() - begin_s < SLACK_S
    record = weir.logs("stopping")[0]
    assert record["reason"]
    assert weir.logs("listening is over")


@pytest.mark.tsan
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_handler_in_flight_finishes_in_its_grace(site, number):
    weir = site.run(handling("obey", host={"grace": "1h"}))
    weir.wait_listening()
    site.put("key", "wait 700")
    weir.wait_printed("obey", "wait: begin")
    assert weir.stop(number) == 0
    assert weir.printed("obey") == ["wait: begin", "wait: end"]
    assert weir.logs("listening is over", handled=1, still_queued=0)


@pytest.mark.tsan
def test_a_handler_that_outlasts_the_grace_is_cut(site):
    weir = site.run(handling("obey", host={"grace": "300ms"}, bounds={"time": "1h"}))
    weir.wait_listening()
    site.put("key", "loop")
    weir.wait_printed("obey", "loop: begin")
    begin_s = time.monotonic()
    assert weir.stop() == 0
    assert 0.25 < time.monotonic() - begin_s < 0.3 + SLACK_S
    # Cut by weir itself: no failed attempt, and the event is still to be done.
    assert weir.logs("listening is over", handled=0, failed_attempts=0, still_queued=1)


@pytest.mark.tsan
def test_a_second_signal_cuts_at_once(site):
    weir = site.run(handling("obey", host={"grace": "1h"}, bounds={"time": "1h"}))
    weir.wait_listening()
    site.put("key", "loop")
    weir.wait_printed("obey", "loop: begin")
    weir.send(signal.SIGTERM)
    weir.wait_log("stopping")
    begin_s = time.monotonic()
    assert weir.stop(signal.SIGINT) == 0
    assert time.monotonic() - begin_s < SLACK_S


def test_a_main_that_loops_is_stopped_too(site):
    weir = site.run(configuration({"main-loop": {"run": True, "bounds": {"time": "1h"}}},
                                  host={"grace": "200ms"}))
    weir.wait_printed("main-loop", "looping")
    weir.stop()
    assert weir.logs("stopping")


@pytest.mark.tsan
def test_a_retry_that_waits_does_not_hold_up_the_stop(site):
    weir = site.run(handling("err", host={"grace": "1h"},
                             retry={"attempts": 9, "backoff": "1h", "backoff_max": "1h"}))
    weir.wait_listening()
    site.put("key", "x")
    weir.wait_log("the handler failed and will be called again")
    begin_s = time.monotonic()
    assert weir.stop() == 0
    assert time.monotonic() - begin_s < SLACK_S
    assert weir.logs("listening is over", still_queued=1)


@pytest.mark.tsan
def test_a_stop_before_everything_is_set_up(site):
    """A signal at any moment of the start ends it; here, many moments."""
    for delay in range(6):
        weir = site.run(handling("print"))
        weir.wait_for(lambda delay=delay: time.monotonic() - weir.started_s > delay * 0.03,
                      "a moment")
        # Before it has taken the signals over, the system's default is what happens.
        weir.good_ends = {0, -signal.SIGTERM}
        assert weir.stop() in weir.good_ends


def test_the_directory_is_good_after_sigkill(site):
    """What a killed weir leaves in the directory is no key, and the next weir goes on."""
    weir = site.run(handling("print"))
    weir.wait_listening()
    for number in range(20):
        site.put(f"key-{number}", "before")
    weir.process.kill()
    assert weir.wait_exit() == -signal.SIGKILL
    site.command("kv", "set", "file:store", "key-0", "between")
    weir = site.run(handling("print"))
    weir.wait_listening()
    site.put("key-1", "after")
    weir.wait_printed("print", "text=after")
    keys = site.command("kv", "ls", "file:store").stdout.decode().split()
    assert sorted(keys) == sorted(f"key-{number}" for number in range(20))


def test_sigkill_while_it_writes_leaves_whole_values(site):
    """`kv set` that is killed at any moment: each key has its old value or its new one."""
    old, new = b"o" * 3_000_000, b"n" * 3_000_000
    (site.root / "new").write_bytes(new)
    site.put("key", old)
    for moment in range(8):
        with open(site.root / "new", "rb") as file:
            writer = site.start("kv", "set", "file:store", "key", stdin=file)
        writer.wait_for(lambda: time.monotonic() - writer.started_s > moment * 0.005, "a moment",
                        even_if_ended=True)
        writer.process.kill()
        writer.wait_exit()
        assert (site.store / "key").read_bytes() in (old, new)
        assert site.command("kv", "ls", "file:store").stdout == b"key\n"
