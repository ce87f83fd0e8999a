# SPDX-License-Identifier: Apache-2.0
"""What is shown of what takes longer than a second, and how long it is to take: compiling a guest,
and a step of ./dev."""

import json
import os
import pty
import re
import subprocess
import time

import pytest

from harness import SOURCE, WEIR_BIN, handling

# A compilation, on a machine that tests other things meanwhile.
COMPILED_S = 300
TOLD = "compiling a guest takes a while"
LIVE = re.compile(rb"\x1b\[Kcompiling print \((\d+\.\d) MiB\): (\d+) s(?: of about (\d+) s|, longer)")
# So many functions take a compiler some seconds, on one core.
FUNCTIONS = 8000

pytestmark = pytest.mark.timeout(2 * COMPILED_S)


@pytest.fixture(scope="module", name="large")
def make_large(tmp_path_factory):
    """A guest that is well and takes long to compile."""
    folder = tmp_path_factory.mktemp("large")
    text = ['(module (memory (export "memory") 1)'
            ' (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)'
            ' (func (export "handle-event") (param i32) (result i32) i32.const 0)']
    text += [f"(func (param i32) (result i32) (i32.mul (local.get 0)"
             f" (i32.add (local.get 0) (i32.const {number}))))" for number in range(FUNCTIONS)]
    (folder / "large.wat").write_text("\n".join(text) + ")", encoding="ascii")
    subprocess.run(["wat2wasm", folder / "large.wat", "-o", folder / "large.wasm"], check=True)
    return folder / "large.wasm"


@pytest.fixture(name="file")
def make_file(site, large):
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(everywhere)])
    config = handling("print", host={"cache": str(site.root / "compiled"), "compile_time": "5m"})
    config["guests"]["print"]["wasm"] = str(large)
    yield str(site.write_config(config))
    os.sched_setaffinity(0, everywhere)


def pace_of(site):
    return site.root / "compiled" / ".pace-module"


def check(site, file):
    """The lines of the log about it, and how long the command took."""
    for path in (site.root / "compiled").glob("[!.]*"):  # so that it is compiled again
        path.unlink()
    begin_s = time.monotonic()
    done = site.command("check", "--log-format", "json", file, deadline_s=COMPILED_S)
    records = [json.loads(line) for line in done.stderr.decode().splitlines()]
    return [record for record in records if record["message"] == TOLD], time.monotonic() - begin_s


def test_the_log_tells_once_and_the_next_time_it_is_known_how_long(site, file, large):
    ((line,), took_s) = check(site, file)
    assert (line["level"], line["guest"]) == ("info", "print")
    assert line["bytes"] == large.stat().st_size
    assert "estimate_ms" not in line, "its functions are so small that nobody expects a second"
    measured = int(pace_of(site).read_text(encoding="ascii"))  # ns per MiB
    ((line,), _) = check(site, file)
    expected_ms = measured * large.stat().st_size / (1 << 20) / 1e6
    assert line["estimate_ms"] == pytest.approx(expected_ms, rel=0.01)
    assert 1000 <= expected_ms <= took_s * 1000


@pytest.mark.parametrize("damage", [b"much\n", b"1" * 5000])
def test_a_damaged_pace_is_not_used_and_is_mended(site, file, large, damage):
    (site.root / "compiled").mkdir(mode=0o700)
    pace_of(site).write_bytes(damage)
    ((line,), took_s) = check(site, file)
    assert "estimate_ms" not in line
    text = pace_of(site).read_text(encoding="ascii")
    assert re.fullmatch(r"\d+\n", text)
    assert int(text) * large.stat().st_size / (1 << 20) / 1e9 <= took_s


def test_what_is_in_the_cache_takes_no_while(site, file):
    check(site, file)
    done = site.command("check", "--log-format", "json", file, deadline_s=COMPILED_S)
    assert TOLD not in done.stderr.decode()


def read_terminal(command, cwd, term, is_weir=True):
    """What a command writes to a terminal: of weir its standard error, of others all."""
    ours, its = pty.openpty()
    command = [str(WEIR_BIN), *command] if is_weir else command
    with subprocess.Popen(command, cwd=cwd, stderr=its,
                          stdout=subprocess.DEVNULL if is_weir else its,
                          env=os.environ | {"TERM": term}) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the terminal's other side is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait(COMPILED_S) == 0, shown
    os.close(ours)
    return shown


def test_a_terminal_has_one_line_that_lives_and_is_gone(site, file):
    shown = read_terminal(["check", file], site.root, "xterm")
    looks = LIVE.findall(shown)
    assert looks, shown
    seconds = [int(passed) for _, passed, _ in looks]
    assert seconds == sorted(seconds) and seconds[0] == 1
    for _, passed, expected in looks:  # never less than what has passed
        assert expected == b"" or int(expected) > int(passed)
    assert shown.endswith(b"\x1b[K\r"), shown
    assert b"\n" not in shown and TOLD.encode() not in shown


def test_a_terminal_that_cannot_go_back_has_a_line_of_the_log(site, file):
    shown = read_terminal(["check", file], site.root, "dumb")
    assert shown.count(TOLD.encode()) == 1
    assert b"\x1b" not in shown


# ---- ./dev ----

STEP = """
log_dir=$1
. "$2"
step "a step" sh -c 'echo "[3/7] something"; sleep 1.5'
"""


def run_step(site, terminal=True):
    command = ["bash", "-uo", "pipefail", "-c", STEP, "-", str(site.root),
               str(SOURCE / "tools/say.sh")]
    if terminal:
        return read_terminal(command, site.root, "xterm", is_weir=False).decode()
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_step_of_dev_says_how_long_it_takes_and_took_the_last_time(site):
    first = run_step(site)
    assert re.search(r"\ra step +\d\.\d s \[3/7\]\x1b\[K", first), first
    assert re.search(r"\ra step +\x1b\[K +\d\.\d s\r\n$", first), first
    (took,) = re.findall(r" (\d\.\d) s\r\n$", first)
    second = run_step(site)
    assert re.search(rf"\ra step +\d\.\d s of about {took} s \[3/7\]\x1b\[K", second), second
    (site.root / "a-step.log.seconds").write_bytes(b"\xff\x1b[2J")
    assert "of about" not in run_step(site)


def test_a_step_of_dev_is_one_line_where_there_is_no_terminal(site):
    assert re.fullmatch(r"a step +\d\.\d s\n", run_step(site, terminal=False))
