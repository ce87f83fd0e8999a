# SPDX-License-Identifier: Apache-2.0
"""What a service manager is told: ready, reloading, stopping, alive; and the unit that asks for it."""

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess

import pytest

from harness import DEADLINE_S, SOURCE, WEIR_BIN, handling

# In the time of the watchdog weir says twice that it is alive.
WATCHDOG_S = 0.4
# From when on weir takes itself for stuck (WEIR_STUCK_MS), and what a busy machine adds to that.
STUCK_S = 10
GRACE_S = 3


class Manager:
    """A service manager's socket; messages as dicts, in the order in which they came."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.env = {"NOTIFY_SOCKET": address.replace("\0", "@", 1)}

    def take(self, timeout_s=DEADLINE_S):
        """The next message; None where there is none in that time."""
        self._socket.settimeout(timeout_s)
        try:
            text = self._socket.recv(4096).decode()
        except (TimeoutError, BlockingIOError):
            return None
        return dict(line.split("=", 1) for line in text.split("\n"))

    def take_other(self):
        """The next message that is more than a sign of life."""
        while (message := self.take()) == {"WATCHDOG": "1"}:
            pass
        return message

    def close(self):
        self._socket.close()


@pytest.fixture(name="manager", params=["path", "abstract"])
def make_manager(request, tmp_path):
    address = str(tmp_path / "n") if request.param == "path" else f"\0weir-{os.getpid()}-{id(request)}"
    manager = Manager(address)
    yield manager
    manager.close()


def config():
    return handling("print", host={"grace": f"{GRACE_S}s"})


def start(site, manager, **env):
    return site.run(config(), env=manager.env | env)


def test_ready_is_said_when_changes_are_captured(site, manager):
    weir = start(site, manager)
    message = manager.take()
    site.put("key", "a value")  # nothing else was waited for
    assert message["READY"] == "1" and message["MAINPID"] == str(weir.pid)
    assert "1 subscriptions" in message["STATUS"]
    weir.wait_printed("print", "text=a value")
    assert weir.stop() == 0
    message = manager.take()
    assert message["STOPPING"] == "1"
    assert int(message["EXTEND_TIMEOUT_USEC"]) > GRACE_S * 1_000_000
    assert manager.take(timeout_s=0) is None


def test_a_reload_is_told_from_its_beginning_to_its_end(site, manager):
    weir = start(site, manager)
    assert manager.take()["READY"] == "1"
    site.write_config(config() | {"subscriptions": [
        {"watch": "store", "key": key, "guest": "print"} for key in ("*", "other/*")]})
    weir.send(signal.SIGHUP)
    message = manager.take()
    assert message["RELOADING"] == "1" and int(message["MONOTONIC_USEC"]) > 0
    message = manager.take()
    assert message["READY"] == "1" and "2 subscriptions" in message["STATUS"]
    weir.wait_log("the configuration was read again")
    # A configuration that cannot be used leaves all as it is, and weir ready.
    (site.root / "weir.yaml").write_text("{", encoding="ascii")
    weir.send(signal.SIGHUP)
    assert manager.take()["RELOADING"] == "1"
    message = manager.take()
    assert message["READY"] == "1" and "2 subscriptions" in message["STATUS"]
    assert weir.stop() == 0
    assert manager.take()["STOPPING"] == "1"


def test_a_weir_that_cannot_start_is_never_ready(site, manager):
    tree = config()
    tree["subscriptions"][0]["handler"] = "nothing"
    weir = site.run(tree, env=manager.env)
    assert weir.wait_exit() == 2
    assert manager.take(timeout_s=0) is None


def test_a_socket_that_is_none_is_told_and_keeps_nobody_from_starting(site):
    weir = site.run(config(), env={"NOTIFY_SOCKET": "vsock:2:1"})
    weir.wait_listening()
    assert "vsock" in weir.logs("the service manager cannot be told of weir")[0]["reason"]
    assert weir.stop() == 0


def test_no_watchdog_is_told_that_is_another_processs(site, manager):
    weir = start(site, manager, WATCHDOG_USEC="200000", WATCHDOG_PID="1")
    assert manager.take()["READY"] == "1"
    assert manager.take(timeout_s=1) is None
    assert weir.stop() == 0


# ---- one thread that stands still, as no program does to itself ----

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WAIT_ALL = 0x40000000  # __WALL: threads too


class Halted:
    """A thread of a process that does not run until `go`. For one thread of this process."""

    def __init__(self, pid, name):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long
        tasks = {int(task): open(f"/proc/{pid}/task/{task}/comm", encoding="ascii").read().strip()
                 for task in os.listdir(f"/proc/{pid}/task")}
        (self._thread,) = [task for task, its_name in tasks.items() if its_name == name]
        self._ask(PTRACE_SEIZE)
        self._ask(PTRACE_INTERRUPT)
        os.waitpid(self._thread, WAIT_ALL)

    def _ask(self, request):
        if self._libc.ptrace(request, self._thread, None, None) != 0:
            code = ctypes.get_errno()
            if code in (errno.EPERM, errno.ENOSYS):
                pytest.skip("no thread can be halted here: ptrace is not allowed")
            raise OSError(code, os.strerror(code))

    def go(self):
        with contextlib.suppress(OSError):  # the process may have been ended
            self._ask(PTRACE_DETACH)


def test_the_watchdog_hears_of_weir_until_events_are_stuck(site, tmp_path):
    manager = Manager(str(tmp_path / "n"))
    weir = start(site, manager, WATCHDOG_USEC=str(int(WATCHDOG_S * 1_000_000)))
    assert manager.take_other()["READY"] == "1"
    for _ in range(5):
        assert manager.take() == {"WATCHDOG": "1"}
    # What the handler did is due to be written down, and nobody does.
    thread = Halted(weir.pid, "weir:state")
    site.put("key", "a value")
    weir.wait_log("events are stuck: the watchdog is told no more", deadline_s=STUCK_S + DEADLINE_S)
    while manager.take(timeout_s=0):  # those from before
        pass
    assert manager.take(timeout_s=5 * WATCHDOG_S) is None
    thread.go()
    assert manager.take() == {"WATCHDOG": "1"}
    assert weir.stop() == 0
    assert manager.take_other()["STOPPING"] == "1"
    manager.close()


# ---- the unit ----


def test_systemd_takes_the_unit(tmp_path):
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("there is no systemd-analyze on this machine")
    text = (SOURCE / "dist/systemd/weir@.service.in").read_text(encoding="utf-8")
    unit = tmp_path / "weir@.service"
    unit.write_text(text.replace("@bindir@/weir", str(WEIR_BIN)), encoding="utf-8")
    done = subprocess.run([program, "verify", "--man=no", "--recursive-errors=no", str(unit)],
                          capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
