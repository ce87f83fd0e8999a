# SPDX-License-Identifier: Apache-2.0
"""What the parts of the benchmark share: programs that are run or asked, goals, and tables."""

import os
import subprocess
import tempfile
import threading
import typing

PROGRAM_TIMEOUT_S = 300
ANSWER_TIMEOUT_S = 60


class Failure(Exception):
    """What a person should read; the run is over."""


def say(text=""):
    print(text, flush=True)


def run_program(command, cpu=None):
    """Runs one of the programs, pinned to a core if one is given; returns its lines as words."""

    def pin():
        os.sched_setaffinity(0, {cpu})

    try:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
            preexec_fn=pin if cpu is not None else None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end within {PROGRAM_TIMEOUT_S} s") from None
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}; ./dev bench builds it") from None
    if done.returncode != 0:
        raise Failure(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return [line.split() for line in done.stdout.splitlines()]


class Goal(typing.NamedTuple):
    text: str
    is_met: bool

    def __str__(self):
        return f"{self.text} {'met' if self.is_met else 'MISSED'}"


class Asked:
    """A program that answers a line with a line: language.c and the peer. Ended with `with`."""

    def __init__(self, command, cpu=None):
        def pin():
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})

        self.name = str(command[0])
        self.errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            preexec_fn=pin,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def answer(self, timeout_s):
        """{name: number} of the next line."""
        watchdog = threading.Timer(timeout_s, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        words = line.split()
        if not words:
            self.errors.seek(0)
            why = self.errors.read().strip() or f"no answer within {timeout_s} s"
            raise Failure(f"{self.name}: {why}")
        return dict(zip(words[::2], map(float, words[1::2])))

    def tell(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why

    def ask(self, question):
        self.tell(question)
        return self.answer(ANSWER_TIMEOUT_S)


def microseconds(value_ns):
    value = value_ns / 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def print_table(head, lines):
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        say("  ".join(cells).rstrip())
