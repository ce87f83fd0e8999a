# SPDX-License-Identifier: Apache-2.0
"""Runs weir from outside: the real program, real directories, writers that know nothing of weir.

A `Site` is a temporary folder with a configuration and the directories that its resources are. A
`Weir` is one process whose output is read by threads as it comes. Tests wait for what they want to
see (`Weir.wait_for`), never for a time; a process that ends early fails the wait at once. Whatever
a test does, its processes are ended and reaped by their ids when it is over, and what a sanitizer
said on the way fails it.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WEIR_BIN = pathlib.Path(os.environ.get("WEIR_BIN") or SOURCE / "build/weir")
GUESTS_DIR = pathlib.Path(os.environ.get("WEIR_GUESTS_DIR") or SOURCE / "build/guests")

# How long a condition may take to come true. Sanitized programs are ten times slower, and the
# machine is shared; a test that passes does not wait that long.
DEADLINE_S = 40
# What a thing that has a time of its own may take longer than that on such a machine.
SLACK_S = 4
# How often a condition outside of the process's output is looked at again.
POLL_S = 0.02
# A thread that sleeps and uses no time over so many looks has nothing to do.
RESTING_LOOKS = 10
# Of a resource's kind, in the name of its thread.
KIND_LETTERS = 6
# A process that should be gone is killed after that long.
EXIT_S = 20
# Of a failed test's processes so many of the last lines are shown.
LINES_SHOWN = 25

# What weir says when a handler failed.
AGAIN = "the handler failed and will be called again"
GIVEN_UP = "the handler failed and the event is given up"
# How a sanitizer begins what it has to say.
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|: runtime error: ")

# LeakSanitizer stops every thread of a process that ends, and now and then waits for one for ever
# (google/sanitizers issues 777 and 1330). Leaks are looked for where there are few threads: in the
# unit tests and in commands.
NO_LEAK_CHECK = "detect_leaks=0"

# Other memory than the guests': freed blocks that AddressSanitizer keeps back, to find late uses.
LITTLE_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=1"}


def guest_path(name):
    """The compiled guest NAME; a test that wants one that was not built fails."""
    path = GUESTS_DIR / f"{name}.wasm"
    assert path.exists(), f"{path} was not built: ./dev build builds the guests"
    return path


@functools.cache
def has_kind(kind):
    """Whether this weir has resources of that kind."""
    done = subprocess.run([str(WEIR_BIN), "help", kind], capture_output=True, timeout=DEADLINE_S,
                          env=_environment(None), check=False)
    return done.returncode == 0


def _environment(env):
    options = [(env or {}).get("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "")), NO_LEAK_CHECK]
    return os.environ | (env or {}) | {"ASAN_OPTIONS": ":".join(filter(None, options))}


class Weir:
    """One process of weir and everything that it has printed so far."""

    def __init__(self, arguments, cwd, env=None, stdin=subprocess.DEVNULL, reads_stdout=True):
        self.arguments = [str(argument) for argument in arguments]
        # setpriv makes the kernel end weir if this process dies in the middle of a test.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", str(WEIR_BIN), *self.arguments],
            cwd=cwd, env=_environment(env), stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.started_s = time.monotonic()
        # How it may end; a test that does worse to it adds to this.
        self.good_ends = {0, 1, 2, -signal.SIGKILL}
        self._changed = threading.Condition()
        # Under _changed, and only ever longer: lines as they came, and what could be made of them.
        self._stdout, self._stderr, self._records, self._printed = [], [], [], {}
        self._readers = [self._read(self.process.stderr, self._take_stderr)]
        if reads_stdout:
            self.read_stdout()

    def _read(self, stream, take):
        def read():
            with contextlib.suppress(ValueError):  # the test has closed it
                for line in stream:
                    with self._changed:
                        take(line)
                        self._changed.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def _take_stderr(self, line):
        self._stderr.append(line)
        with contextlib.suppress(ValueError):
            self._records.append(json.loads(line))

    def _take_stdout(self, line):
        self._stdout.append(line)
        found = re.fullmatch(r"\[(.*?)\] (.*)\n?", line.decode("utf-8", "backslashreplace"))
        if found:
            self._printed.setdefault(found[1], []).append(found[2])

    def read_stdout(self):
        """Begins to read the standard output, where the test has put that off."""
        self._readers.append(self._read(self.process.stdout, self._take_stdout))

    @property
    def pid(self):
        return self.process.pid

    def age_s(self):
        """How long ago it was started."""
        return time.monotonic() - self.started_s

    # ---- what it has printed ----

    @property
    def stdout(self):
        with self._changed:
            return b"".join(self._stdout)

    @property
    def stderr(self):
        with self._changed:
            return b"".join(self._stderr)

    def out(self):
        """The lines of the standard output."""
        return self.stdout.decode("utf-8", "backslashreplace").splitlines()

    def err(self):
        return self.stderr.decode("utf-8", "backslashreplace").splitlines()

    def printed(self, guest, since=0):
        """What the guest of that name has printed, a line each; from that line on."""
        with self._changed:
            return self._printed.get(guest, [])[since:]

    def events(self, guest="print"):
        """The events that the guest `print` has printed: a dict each, of attributes' values.

        Only where the guest has one worker to itself: what handlers print side by side mixes.
        """
        events, event = [], {}
        for line in self.printed(guest):
            if line == ".":
                events.append(event)
                event = {}
            else:
                name, _, value = line.partition("=")
                event[name] = value
        return events

    def wait_events(self, count, guest="print"):
        """Waits until there are COUNT of them, and returns all."""
        return self.wait_for(lambda: len(events := self.events(guest)) >= count and events,
                             f"event number {count} of {guest}")

    def traces(self, guest="trace", key=None):
        """What the guest `trace` was told, a dict of attributes each; `outcome` is one of them.

        Also where several workers call it: a line is an event.
        """
        traces = []
        for line in self.printed(guest):
            outcome, *attributes = line.split("\t")
            event = dict(attribute.split("=", 1) for attribute in attributes)
            traces.append(event | {"outcome": outcome})
        return [each for each in traces if key is None or each.get("subject") == key]

    def wait_traces(self, count, guest="trace", key=None):
        """Waits until there are COUNT of them, and returns all."""
        return self.wait_for(lambda: len(events := self.traces(guest, key)) >= count and events,
                             f"event number {count} of {guest}")

    def logs(self, message=None, **fields):
        """The records of weir's log (in JSON) with that message and those fields.

        A field's value is to be equal, or, where it is a pattern of `re`, to have it.
        """
        with self._changed:
            records = list(self._records)
        return [record for record in records
                if (message is None or record.get("message") == message) and
                all(_fits(record.get(name), value) for name, value in fields.items())]

    # ---- waiting ----

    def wait_for(self, predicate, what, deadline_s=DEADLINE_S, even_if_ended=False):
        """Waits until the predicate is true, and returns what it returned. `what` names it, or is
        called to."""
        until_s = time.monotonic() + deadline_s
        while True:
            has_ended = self.has_ended()
            result = predicate()
            if result:
                return result
            assert not has_ended or even_if_ended, (
                f"weir has ended with {self.process.returncode} before there was "
                f"{what() if callable(what) else what}")
            assert time.monotonic() < until_s, (
                f"in {deadline_s} s there was not {what() if callable(what) else what}")
            with self._changed:
                self._changed.wait(POLL_S)

    def wait_log(self, message, count=1, deadline_s=DEADLINE_S, **fields):
        """Waits for the record (the COUNTth) with that message and those fields."""
        what = f"a log line {message!r} {fields or ''} (number {count})"
        return self.wait_for(lambda: self.logs(message, **fields)[count - 1:], what, deadline_s)[0]

    def wait_printed(self, guest, line, count=1):
        """Waits until the guest has printed that line, COUNT times in all."""
        self.wait_for(lambda: self.printed(guest).count(line) >= count,
                      f"the line {line!r} of {guest} (number {count})")

    def wait_listening(self, count=1, deadline_s=DEADLINE_S):
        """Waits until COUNT execs have begun: from then on, changes reach handlers."""
        self.wait_log("listening", count=count, deadline_s=deadline_s)

    # ---- its end ----

    def has_ended(self):
        """Whether it has ended and all that it printed was read."""
        if self.process.poll() is None:
            return False
        for reader in self._readers:
            reader.join(EXIT_S)
        return True

    def send(self, number):
        self.process.send_signal(number)

    def wait_exit(self, deadline_s=DEADLINE_S):
        """Waits until it ends by itself, and returns its exit status."""
        self.wait_for(self.has_ended, "the end of weir", deadline_s, even_if_ended=True)
        return self.process.returncode

    def stop(self, number=signal.SIGTERM, deadline_s=DEADLINE_S):
        """Tells it to stop, and returns its exit status."""
        self.send(number)
        return self.wait_exit(deadline_s)

    def finish(self):
        """Ends and reaps the process, whatever state it is in. Returns what was wrong with it."""
        problems = []
        if self.process.poll() is None:
            self.process.terminate()
            self.process.send_signal(signal.SIGCONT)  # where a test had it stand still
            try:
                self.process.wait(EXIT_S)
            except subprocess.TimeoutExpired:
                problems.append(f"weir did not end within {EXIT_S} s of SIGTERM")
                self.process.kill()
                self.process.wait()
        if len(self._readers) == 1:
            self.read_stdout()
        self.has_ended()
        self.process.stdout.close()
        self.process.stderr.close()
        code = self.process.returncode
        if code not in self.good_ends:
            problems.append(f"weir ended with {code}")
        problems += sanitizer_reports(self.stderr)
        return problems

    def show(self):
        """What is told of it when a test failed."""
        def last(lines):
            return "\n".join(f"    {line}" for line in lines[-LINES_SHOWN:])

        return (f"weir {' '.join(self.arguments)}: exit status {self.process.returncode}\n"
                f"  stdout, {len(self.out())} lines:\n{last(self.out())}\n"
                f"  stderr, {len(self.err())} lines:\n{last(self.err())}")

    # ---- what the system knows of it ----

    def kill(self):
        """Kills it as no program can notice."""
        self.process.kill()
        self.wait_exit()

    def status(self, name):
        """A number of /proc/PID/status, such as VmRSS in KiB, or Threads."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)[1])

    def _tasks(self):
        """The name of each of its threads, and what the system says of it from its state on."""
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                name, _, rest = (task / "stat").read_text(encoding="ascii").rpartition(") ")
                yield name.partition("(")[2], rest.split()

    def threads(self):
        """The names of its threads."""
        return sorted(name for name, _ in self._tasks())

    def wait_provider_rests(self, kind="file"):
        """Waits until the provider has taken in all that it can of what was written so far."""
        seen = []

        def rests():
            # The state, and the time used in user and in system mode.
            now = [(rest[0], rest[11], rest[12]) for name, rest in self._tasks()
                   if name.startswith(f"weir:{kind[:KIND_LETTERS]}:")]
            assert now, "weir has no provider at work"
            seen.append(now)
            return all(state == "S" for state, _, _ in now) and \
                seen[-RESTING_LOOKS:] == [now] * RESTING_LOOKS

        self.wait_for(rests, "rest in the provider")

    def descriptors(self):
        """What its descriptors stand for."""
        return sorted(os.readlink(entry) for entry in
                      pathlib.Path(f"/proc/{self.pid}/fd").iterdir() if entry.is_symlink())


def _fits(value, wanted):
    if value is None:
        return False
    return wanted.search(value) is not None if isinstance(wanted, re.Pattern) else value == wanted


def sanitizer_reports(stderr):
    """What a sanitizer found, as a list of problems."""
    lines = stderr.decode("utf-8", "backslashreplace").splitlines()
    for number, line in enumerate(lines):
        if SANITIZER.search(line):
            return ["a sanitizer reported:\n" + "\n".join(lines[number:number + 60])]
    return []


class Site:
    """A folder with a configuration, and the processes that a test starts in it."""

    def __init__(self, root):
        self.root = root
        self.processes = []
        self.store = self.directory("store")

    def directory(self, name):
        path = self.root / name
        path.mkdir()
        return path

    def write_config(self, config, name="weir.yaml"):
        """Writes a configuration: a text as it is, a tree as JSON, which is YAML too."""
        path = self.root / name
        text = config if isinstance(config, str) else json.dumps(config, indent=2)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments, **options):
        """Starts weir with those arguments in the site's folder."""
        weir = Weir(arguments, self.root, **options)
        self.processes.append(weir)
        return weir

    def run(self, config, *arguments, **options):
        """`weir run` with a configuration, and a log that `Weir.logs` can read, with every line."""
        self.write_config(config)
        return self.start("run", "weir.yaml", "--log-format", "json", "--log-level", "debug",
                          "--log-rate", "0", *arguments, **options)

    def run_until(self, step, config):
        """A weir that listens, and will die at the step of that name (see src/base/step.h).

        Some steps are passed while it starts: then it is to die at a later passing of it.
        """
        for number in range(1, STEPS_OF_A_START_MAX):
            weir = self.run(config, env={"WEIR_DIE_AT": f"{step}:{number}"})
            weir.wait_for(lambda weir=weir: weir.has_ended() or weir.logs("listening"),
                          "a start or its end", even_if_ended=True)
            if not weir.has_ended():
                return weir
        raise AssertionError(f"a start passes {step} more than {number} times")

    def run_guest(self, guest, *arguments, resource="store", **options):
        """`weir run GUEST.wasm`, with the site's directory as the resource of that name."""
        return self.start("run", guest_path(guest), "--resource", f"{resource}=file:store",
                          "--log-format", "json", "--log-level", "debug", "--log-rate", "0",
                          *arguments, **options)

    def command(self, *arguments, stdin=b"", env=None, status=0, deadline_s=DEADLINE_S):
        """Runs a command of weir to its end; its exit status has to be (one of) `status`."""
        done = subprocess.run([str(WEIR_BIN), *[str(argument) for argument in arguments]],
                              cwd=self.root, env=os.environ | (env or {}), input=stdin,
                              capture_output=True, timeout=deadline_s, check=False)
        told = (f"weir {' '.join(str(argument) for argument in arguments)}: exit status "
                f"{done.returncode}, not {status}\n{done.stdout.decode(errors='backslashreplace')}"
                f"\n{done.stderr.decode(errors='backslashreplace')}")
        assert not sanitizer_reports(done.stderr), told
        assert done.returncode in (status if isinstance(status, tuple) else (status,)), told
        return done

    def wait_rest(self, weir):
        """Waits until weir has taken in what was written so far, and nothing is left to handle."""
        at = weir.arguments.index("--state") if "--state" in weir.arguments else None
        place = weir.arguments[at:at + 2] if at else []

        def lag():
            status = json.loads(self.command("status", "weir.yaml", "--json", *place).stdout)
            return sum(each["lag_events"] for each in status["subscriptions"])

        weir.wait_provider_rests()
        weir.wait_for(lambda: lag() == 0, "the end of the lag")

    def shell(self, script, cwd=None):
        """A writer that knows nothing of weir: a script of the system's shell, in the store."""
        subprocess.run(["sh", "-euc", script], cwd=cwd or self.store, check=True,
                       timeout=DEADLINE_S)

    def python(self, program, *arguments):
        """The same in Python; returns the process, which the caller waits for."""
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c", program,
             *[str(argument) for argument in arguments]], cwd=self.store)
        self.processes.append(ForeignProcess(process))
        return process

    def put(self, key, value, resource=None):
        """Sets a key the way careful programs do: a file beside it, then a rename."""
        data = value if isinstance(value, bytes) else value.encode()
        path = (self.root / resource if resource else self.store) / os.fsdecode(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name[:200]}.new")
        temporary.write_bytes(data)
        os.rename(temporary, path)

    def finish(self):
        """Ends everything that was started here. Returns what was wrong."""
        return [problem for process in self.processes for problem in process.finish()]

    def show(self):
        return "\n".join(process.show() for process in self.processes)


class ForeignProcess:
    """A process that is not weir; ended with the site."""

    def __init__(self, process):
        self.process = process

    def finish(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        return []

    def show(self):
        return f"a writer: exit status {self.process.returncode}"


# ---- named steps ----

# The builds that die where WEIR_DIE_AT says; see src/base/step.h.
STEPS_OF_A_START_MAX = 10
HAS_STEPS = os.environ.get("WEIR_BUILD") in ("asan", "tsan")


# ---- configurations ----

# Handlers that hang at the end of a test are not worth waiting for.
GRACE = "1s"


def configuration(guests, subscriptions=(), resources=("store",), host=None, topics=(), **others):
    """A configuration as a tree: `guests` is a dict of name to options, wasm by the guest's name.

    Each resource is the directory of its name; `topics` are resources, too.
    """
    tree = {
        "host": {"grace": GRACE} | (host or {}),
        "resources": {name: {"kind": "file", "path": f"./{name}"} for name in resources}
        | {name: {"kind": "topic"} for name in topics},
        "guests": {name: options | {"wasm": str(guest_path(options.get("wasm", name)))}
                   for name, options in guests.items()},
    }
    if subscriptions:
        tree["subscriptions"] = [{"watch": "store"} | each for each in subscriptions]
    return tree | others


def handling(guest, key="*", handler=None, host=None, **options):
    """The usual configuration: one guest that handles what changes in the store."""
    subscription = {"key": key, "guest": guest} | ({"handler": handler} if handler else {})
    return configuration({guest: options}, [subscription], host=host)
