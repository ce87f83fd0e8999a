# SPDX-License-Identifier: Apache-2.0
"""Disk, clock and scheduler fail under a running weir; when the fault is over, nothing was lost and
everything is done within seconds.

The sites, writers and the oracle are those of tests/crash/; tests/crash/faults.c has calls fail.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

import crash
from harness import GUESTS_DIR, POLL_S, SLACK_S, WEIR_BIN

LIBRARY = WEIR_BIN.resolve().parent / "tests/libweir_faults.so"
# From the end of a fault until nothing waits any more.
RECOVERY_S = 5 + (0 if os.environ.get("WEIR_BUILD") is None else SLACK_S)
FAULT_S = 20  # until a fault has been met
STAND_STILL_S = float(os.environ.get("WEIR_STAND_STILL_S", "2"))
DAY_S = 86400
SETTINGS = {"workers": 2, "instance": "fresh", "events": 64, "concurrency": 0, "commit": "2ms"}

# Builds without tests have no library; there, what needs it is left out.
needs_library = pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY} was not built")


class Faults:
    """What the library is told, and how many calls it made fail."""
    WORDS_BYTES = 4088

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.write_bytes(bytes(self.WORDS_BYTES + 8))
        self.env = {"LD_PRELOAD": str(LIBRARY), "WEIR_FAULTS": str(self.path)}

    def say(self, words):
        with self.path.open("r+b") as file:
            file.write(words.encode().ljust(self.WORDS_BYTES, b"\0"))

    @property
    def hits(self):
        return int.from_bytes(self.path.read_bytes()[self.WORDS_BYTES:], "little")

    @contextlib.contextmanager
    def under(self, words):
        self.say(words)
        try:
            yield
        finally:
            self.say("")


@pytest.fixture
def faults(quick_path):
    return Faults(quick_path / "faults")


@pytest.fixture
def place(quick_path, faults):
    site = crash.Site(quick_path / "site", WEIR_BIN, GUESTS_DIR, 1, SETTINGS,
                      faults.env if LIBRARY.exists() else {})
    yield site
    site.finish()


def lines(site, store="a"):
    """How many changes the writers have noted."""
    return sum(site.written().values())


def wait_until(predicate, what, seconds=FAULT_S):
    until_s = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < until_s, f"in {seconds} s there was not {what}"
        time.sleep(POLL_S)


def begin(site):
    """A weir that is at work."""
    weir = site.start()
    assert weir.wait_listening(), weir.err.read_text()
    site.start_writers()
    wait_for_output(weir)
    return weir


def wait_for_output(weir, more=2000):
    size = weir.out.stat().st_size
    wait_until(lambda: weir.out.stat().st_size > size + more, "an event handled")


def wait_for_changes(site, more=3000):
    """Until the writers have gone on for a while."""
    size = lines(site)
    wait_until(lambda: lines(site) > size + more, "further changes")


def judge(site, weir, window_s=crash.REPEAT_WINDOW_S):
    """The fault is over: the writers stop, weir comes to rest in time, the oracle is content."""
    site.stop_writers()
    took_s = site.drain(crash.DRAIN_S, weir)
    site.drain()
    site.repeat_window_s = window_s
    problems, covered = site.judge(starts=False)
    assert not problems, crash.show(problems, covered, site)
    assert took_s < RECOVERY_S
    assert covered["deliveries"] > 20


@needs_library
@pytest.mark.parametrize("words", [
    "write=ENOSPC", "write=EIO", "write=SHORT", "write=TORN", "fsync=EIO", "fsync=ENOSPC",
    "write=EDQUOT fsync=EIO truncate=EIO open=EMFILE",
])
def test_the_disk_fails_for_a_while(place, faults, words):
    weir = begin(place)
    for _ in range(2):
        before = faults.hits
        with faults.under(words):
            wait_until(lambda before=before: faults.hits > before, "a call that failed")
            wait_for_changes(place)
        wait_for_output(weir)
    assert weir.process.poll() is None
    judge(place, weir)


@needs_library
@pytest.mark.parametrize("words", ["write=ENOSPC", "write=TORN", "fsync=EIO"])
def test_killed_while_the_disk_fails(place, faults, words):
    weir = begin(place)
    before = faults.hits
    with faults.under(words):
        wait_until(lambda: faults.hits > before, "a call that failed")
        wait_for_changes(place)
        weir.kill()
    weir = place.start()
    assert weir.wait_listening(), weir.err.read_text()
    judge(place, weir)


@needs_library
def test_stopped_while_the_disk_fails(place, faults):
    """It ends in time, does not claim that all is done, and the next one does it."""
    weir = begin(place)
    with faults.under("write=ENOSPC"):
        wait_for_changes(place)
        before_s = time.monotonic()
        weir.process.terminate()
        assert weir.wait_ended(10 + SLACK_S), "it waits for the disk for ever"
        assert time.monotonic() - before_s < 10 + SLACK_S
        weir.ended_s = time.time()
        assert weir.process.returncode in (0, 1)
    weir = place.start()
    assert weir.wait_listening(), weir.err.read_text()
    judge(place, weir)


@needs_library
@pytest.mark.parametrize("words", ["write=ENOSPC", "open=EMFILE", "open=EACCES", "truncate=EIO"])
def test_a_start_while_the_disk_fails_says_so(place, faults, words):
    weir = begin(place)
    weir.kill()
    with faults.under(words):
        weir = place.start()
        assert weir.wait_ended(crash.START_S), "it began though it cannot write"
        text = weir.err.read_text()
        assert weir.process.returncode == 1, text
        assert "state" in text
        weir.ended_s = time.time()
    weir = place.start()
    assert weir.wait_listening(), weir.err.read_text()
    judge(place, weir)


@needs_library
@pytest.mark.parametrize("offset_s", [DAY_S, -DAY_S], ids=["forward", "back"])
def test_the_clock_is_set_by_a_day(place, faults, offset_s):
    weir = begin(place)
    with faults.under(f"clock={offset_s}"):
        wait_for_output(weir)
        weir.kill()
        weir = place.start()
        assert weir.wait_listening(), weir.err.read_text()
        wait_for_output(weir)
    wait_for_output(weir)
    judge(place, weir, window_s=None)


def test_the_process_stands_still(place):
    """A second or, by WEIR_STAND_STILL_S, a minute; what changes in it is told."""
    weir = begin(place)
    weir.process.send_signal(signal.SIGSTOP)
    until_s = time.monotonic() + STAND_STILL_S
    wait_until(lambda: time.monotonic() > until_s, "a while", STAND_STILL_S + SLACK_S)
    weir.process.send_signal(signal.SIGCONT)
    wait_for_output(weir)
    judge(place, weir, window_s=None)


def test_the_disk_is_really_full(place):
    """The state is on a file system of its own, which somebody else fills."""
    state = place.root / "state"
    state.mkdir()
    place.command = ["unshare", "-rm", "sh", "-euc",
                     f"mount -t tmpfs -o size=4m none {state}; exec \"$@\"", "-"]
    place.arguments = ["--state", str(state)]
    if subprocess.run([*place.command, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    weir = begin(place)
    inside = pathlib.Path(f"/proc/{weir.process.pid}/root{state}")
    for _ in range(2):
        with (inside / "filler").open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(b"x" * 4096):
                    pass
            size = weir.out.stat().st_size
            wait_for_changes(place)
        (inside / "filler").unlink()
        wait_until(lambda size=size: weir.out.stat().st_size > size, "an event handled")
    site_ends_here(place, weir)


def site_ends_here(site, weir):
    """As judge, with one process: its state goes with it."""
    site.stop_writers()
    took_s = site.drain(crash.DRAIN_S, weir)
    problems, covered = site.judge(starts=False)
    assert not problems, crash.show(problems, covered, site)
    assert took_s < RECOVERY_S
