# SPDX-License-Identifier: Apache-2.0
"""Guests' output, weir's log, and readers that do not read."""

import contextlib
import json
import os
import pty
import re
import subprocess

import pytest

from harness import DEADLINE_S, WEIR_BIN, configuration, guest_path, handling

TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z (debug|info |warn |error) \S.*")


def on_a_terminal(site, *arguments, env=None):
    """Runs weir to its end with a terminal for standard output and error; returns what it saw."""
    terminal, other_end = pty.openpty()
    process = subprocess.Popen([str(WEIR_BIN), *[str(argument) for argument in arguments]],
                               cwd=site.root, stdin=subprocess.DEVNULL, stdout=other_end,
                               stderr=other_end, env=os.environ | (env or {}))
    os.close(other_end)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is gone
        while piece := os.read(terminal, 65536):
            seen += piece
    os.close(terminal)
    process.wait(DEADLINE_S)
    return seen


# ---- guests' output ----


def test_each_line_has_the_guests_name(site):
    config = configuration(
        {"obey": {}, "other": {"wasm": "obey"}},
        [{"key": "a", "guest": "obey"}, {"key": "b", "guest": "other"}])
    weir = site.run(config)
    weir.wait_listening()
    site.put("a", "stderr to the right")
    site.put("b", "stderr to the left")
    weir.wait_printed("obey", "stderr: end")
    weir.wait_printed("other", "stderr: end")
    assert weir.stop() == 0
    assert "to the right" in weir.printed("obey"), "a guest's stderr is its output too"
    assert "to the left" in weir.printed("other")
    assert all(re.match(r"\[(obey|other)\] ", line) for line in weir.out())


def test_a_line_without_an_end_is_ended_with_the_call(site):
    weir = site.run(handling("obey"))
    weir.wait_listening()
    site.put("key", "partial 10")
    weir.wait_printed("obey", "x" * 10)
    site.put("key", "ok")
    weir.wait_printed("obey", "ok: end")
    assert weir.printed("obey") == ["partial: begin", "x" * 10, "ok: begin", "ok: end"]


def test_a_long_line_is_broken_and_whole(site):
    size = 100_000
    weir = site.run(handling("obey", bounds={"output": "1MiB"}))
    weir.wait_listening()
    site.put("key", f"line {size}")
    weir.wait_printed("obey", "line: end")
    assert max(len(line) for line in weir.stdout.splitlines(True)) <= 4096
    pieces = [line.replace(".", "") for line in weir.printed("obey")
              if not line.startswith("line:")]
    assert "".join(pieces) == "x" * size


def test_control_characters_are_shown(site):
    weir = site.run(handling("obey"))
    weir.wait_listening()
    site.put("key", "binary")
    weir.wait_printed("obey", "binary: end")
    assert weir.stop() == 0
    weir.stdout.decode("utf-8")  # is UTF-8, whatever the guest prints
    assert not set(weir.stdout) & (set(range(32)) - {9, 10})
    line = weir.printed("obey")[1]
    assert line == r"\x1b[31m red \xff\xfe \x00 \x0d \x07"


def test_what_guests_return_is_shown_as_harmlessly(site):
    """An error's text goes to the log: it cannot break a line or steer a terminal either."""
    weir = site.run(handling("obey", retry={"attempts": 1}))
    weir.wait_listening()
    site.put("key", 'err \x1b[2J "quoted" \\ \r \x7f and \u202e')
    weir.wait_log("the handler failed and the event is given up")
    assert weir.stop() == 0
    assert b"\x1b" not in weir.stderr and b"\r" not in weir.stderr and b"\x7f" not in weir.stderr


def test_two_guests_lines_do_not_mix(site):
    config = configuration(
        {"obey": {"bounds": {"output": "4MiB"}},
         "other": {"wasm": "obey", "bounds": {"output": "4MiB"}}},
        [{"key": "*", "guest": "obey"}, {"key": "*", "guest": "other"}], host={"workers": 4})
    weir = site.run(config)
    weir.wait_listening()
    for number in range(20):
        site.put(f"key-{number}", f"line {3000 + number}")
    for guest in "obey", "other":
        weir.wait_printed(guest, "line: end", count=20)
    assert weir.stop() == 0
    for line in weir.out():
        assert re.fullmatch(r"\[(obey|other)\] (x+|line: (begin|end))", line)


@pytest.mark.tsan
def test_a_reader_that_does_not_read_holds_nobody_up_for_ever(site):
    """Standard output is a full pipe: handlers go on, lines are dropped, the stop is orderly."""
    weir = site.run(handling("obey", bounds={"output": "1MiB"}), reads_stdout=False)
    weir.wait_listening()
    site.put("key", "line 200000")
    # The handler that prints into the full pipe ends all the same, and so does its queue.
    site.put("other", "err reached")
    weir.wait_log("the handler failed and will be called again")
    assert weir.stop() == 0


def test_a_reader_that_went_away_is_no_end(site):
    """The reader of the output is gone (`weir run … | head`): no signal, no failed handler."""
    weir = site.run(handling("obey"), reads_stdout=False)
    weir.process.stdout.close()
    weir.wait_listening()
    for number in range(3):
        site.put("key", f"stderr {number}")
    site.put("other", "err still here")
    weir.wait_log("the handler failed and will be called again")
    assert weir.stop() == 0


# ---- the log ----


def test_the_log_is_on_stderr_and_output_on_stdout(site):
    site.write_config(configuration({"run-ok": {"run": True}}))
    done = site.command("run", "weir.yaml", "--log-level", "debug")
    assert done.stdout == b"[run-ok] run was here\n"
    assert done.stderr
    for line in done.stderr.decode().splitlines():
        assert TEXT_LINE.fullmatch(line), line


def test_every_line_of_the_json_log_is_json(site):
    weir = site.run(handling("obey", retry={"attempts": 2, "backoff": "1ms"}))
    weir.wait_listening()
    site.put("key", b"err bad bytes \"\\ and \xe2\x82\xac\n")
    weir.wait_log("the handler failed and the event is given up")
    site.shell("rm -r ../store; mkdir ../store")
    assert weir.stop() == 0
    lines = weir.stderr.decode("utf-8").splitlines()
    assert len(lines) > 3
    for line in lines:
        record = json.loads(line)
        assert record["level"] in ("debug", "info", "warn", "error")
        assert record["time"] and record["message"]
        assert all(isinstance(value, str | int) for value in record.values())


@pytest.mark.parametrize("level, least", [("debug", 2), ("info", 1), ("warn", 0), ("error", 0)])
def test_the_level_is_kept(site, level, least):
    order = ["debug", "info", "warn", "error"]
    site.write_config(configuration({"main-exec-nothing": {"run": True}}))
    done = site.command("run", "weir.yaml", "--log-format", "json", "--log-level", level)
    levels = {json.loads(line)["level"] for line in done.stderr.decode().splitlines()}
    assert all(order.index(each) >= order.index(level) for each in levels)
    assert len(levels) >= least


def test_global_options_before_and_after_the_command(site):
    site.write_config(configuration({"main-exec-nothing": {"run": True}}))
    for arguments in (["--log-format", "json", "run", "weir.yaml"],
                      ["run", "--log-format=json", "weir.yaml"]):
        done = site.command(*arguments)
        assert json.loads(done.stderr.splitlines()[0])["message"]


# ---- colour ----


def test_colour_on_a_terminal(site):
    seen = on_a_terminal(site, "run", guest_path("main-return-1"), "--log-level", "debug")
    assert b"\x1b[31m" in seen, "an error is red"


def test_no_colour_on_a_terminal_that_wants_none(site):
    seen = on_a_terminal(site, "run", guest_path("main-return-1"), env={"NO_COLOR": "1"})
    assert b"error" in seen and b"\x1b" not in seen
    seen = on_a_terminal(site, "run", guest_path("main-return-1"), "--log-format", "json")
    assert b"error" in seen and b"\x1b" not in seen


def test_no_colour_in_a_pipe(site):
    done = site.command("run", guest_path("main-return-1"), "--log-level", "debug", status=1)
    assert b"error" in done.stderr and b"\x1b" not in done.stderr


def test_a_value_on_a_terminal_ends_its_line(site):
    site.put("key", "no line end")
    assert on_a_terminal(site, "kv", "get", "file:store", "key") == b"no line end\r\n"
