# SPDX-License-Identifier: Apache-2.0
"""A terminal with a program on it: somebody else's emulator (pyte) shows what a person would see.

The program has a pseudo-terminal of its own as its controlling one, so that ^C, ^Z and a change of
its size reach it as they do at a desk. A thread takes what it writes as it comes; tests look at the
screen until they see what they want to.
"""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time

import pyte

from harness import DEADLINE_S, EXIT_S, POLL_S, WEIR_BIN, _environment, sanitizer_reports

# What these keys send from a terminal of the kind that pyte is.
KEYS = {
    "up": "\x1b[A", "down": "\x1b[B", "home": "\x1b[1~", "end": "\x1b[4~", "page-up": "\x1b[5~",
    "page-down": "\x1b[6~", "enter": "\r", "escape": "\x1b", "F1": "\x1b[[A", "F6": "\x1b[17~",
    "F10": "\x1b[21~", "stop": "\x1a", "interrupt": "\x03",
}  # fmt: skip
TERM = "linux"
READ_BYTES = 65536


class Terminal:
    """A program that runs on a terminal, and its screen."""

    def __init__(self, command, cwd, stderr, rows=30, columns=110, env=None):
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self.written = 0  # bytes that came
        self.stderr = stderr
        self.main, self.slave = pty.openpty()
        self._set_size(rows, columns)
        self.modes = termios.tcgetattr(self.slave)
        environment = {"TERM": TERM, "LC_ALL": "C.UTF-8"} | (env or {})
        with open(stderr, "wb") as errors:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "setsid", "--ctty", *command],
                cwd=cwd, stdin=self.slave, stdout=self.slave, stderr=errors,
                env=_environment(environment))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # it is closed
            while data := os.read(self.main, READ_BYTES):
                with self._changed:
                    self._stream.feed(data)
                    self.written += len(data)
                    self._changed.notify_all()

    def _set_size(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    # ---- what a person does ----

    def resize(self, rows, columns):
        with self._changed:
            self._screen.resize(rows, columns)
        self._set_size(rows, columns)  # of which the kernel tells the program

    def press(self, *keys):
        """Keys by their names above, or texts as they are."""
        for key in keys:
            os.write(self.main, KEYS.get(key, key).encode())

    # ---- what a person sees ----

    def lines(self):
        with self._changed:
            return [line.rstrip() for line in self._screen.display]

    def text(self):
        return "\n".join(self.lines())

    def line(self, part):
        """The first line with that part, "" where there is none."""
        return next((line for line in self.lines() if part in line), "")

    def colours(self, part):
        """The colours of the characters of that part where it is first seen; None where it is not."""
        with self._changed:
            for number, line in enumerate(self._screen.display):
                at = line.find(part)
                if at >= 0:
                    cells = self._screen.buffer[number]
                    return {cells[column].fg for column in range(at, at + len(part))}
        return None

    def wait_for(self, predicate, what):
        """Waits until the predicate is true of the screen, and returns what it returned."""
        until_s = time.monotonic() + DEADLINE_S
        while not (result := predicate()):
            assert time.monotonic() < until_s, f"there was not {what}:\n{self.show()}"
            with self._changed:
                self._changed.wait(POLL_S)
        return result

    def wait_text(self, part):
        return self.wait_for(lambda: part in self.text(), f"{part!r} on the screen")

    # ---- its end ----

    def wait_exit(self):
        """Waits until it ends by itself; returns its exit status."""
        self.wait_for(lambda: self.process.poll() is not None, "an end")
        return self.process.returncode

    def has_modes_as_found(self):
        """Whether the terminal behaves as before: echo, lines, signals."""
        return termios.tcgetattr(self.slave)[:4] == self.modes[:4]

    def finish(self):
        problems = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)
            try:
                self.process.wait(EXIT_S)
            except subprocess.TimeoutExpired:
                problems.append(f"a program on a terminal did not end within {EXIT_S} s")
                self.process.kill()
                self.process.wait()
        os.close(self.slave)
        self._reader.join(EXIT_S)  # the other end is closed, so it reads an error
        os.close(self.main)
        return problems + sanitizer_reports(self.stderr.read_bytes())

    def show(self):
        return (f"a terminal, exit status {self.process.poll()}\n"
                + "\n".join(f"    |{line}" for line in self.lines())
                + "\n  stderr: " + self.stderr.read_text(encoding="utf-8", errors="replace")[-2000:])


def on_terminal(site, *arguments, command=None, **options):
    """`weir ARGUMENT...` on a terminal, in the site's folder; it ends with the site."""
    number = len(site.processes)
    terminal = Terminal(command or [str(WEIR_BIN), *arguments], site.root,
                        site.root / f"terminal-{number}.err", **options)
    site.processes.append(terminal)
    return terminal
