#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills weir again and again while others write, and proves that nothing was lost.

    tests/crash/crash.py --kills 1000 --seed 7 --weir build-asan/weir --guests build/guests

A site has the directories a and b and the topic between them. Writers (writer.py, writer.sh) change
a at speed. The guest `trace` copies each event from a to the topic, from there to b, and prints what
it is told. weir is killed by SIGKILL: at any moment, also of its start, while the writers go on or
pause; at each named step of src/base/step.h, where the build has them; on the way of an orderly
stop; and now and then it is only told to stop. Then it is started again. At the end the writers
stop, weir has some seconds to come to rest, and the oracle (oracle.py) reads everything.

The same seed gives the same settings, writers and kinds of ends. What falls together in time is the
system's. What every process printed is kept where --keep says, else where something was wrong.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import oracle

HERE = pathlib.Path(__file__).resolve().parent
STEPS = ("after-intake", "after-journal", "handler", "after-verdict", "before-commit",
         "after-commit", "before-publish", "after-publish")
STAGES = ("first", "second", "third")

START_S = 30  # from the start to the first line, at the latest
DRAIN_S = 20  # from the writers' end to rest
STOP_S = 30  # from SIGTERM to the end
MOMENT_S = 0.1  # a process lives so long on average, from when it listens
STEP_S = 2.0  # a step comes within that time, or not at all
LONG_S = 4.0  # now and then one lives so long: what it did early has to be settled by then
LONG_EVERY = 60
REPEAT_WINDOW_S = 2.5
POLL_S = 0.01
CHANGES_PER_S = 150  # of each writer in Python

SANITIZER = re.compile(rb"(?:ERROR|WARNING): \w+Sanitizer|: runtime error: ")
GIVEN_UP = "the handler failed and the event is given up"


class Process:
    """One run of weir, its output in files, which outlast it."""

    def __init__(self, site, number, die_at=None, env=None):
        self.number, self.die_at = number, die_at
        self.root, self.keeps_state = site.root, site.keeps_state
        self.out, self.err = (site.root / f"run-{number:04}.{end}" for end in ("out", "err"))
        self.written = site.written()
        env = os.environ | site.env | (env or {}) | ({"WEIR_DIE_AT": die_at} if die_at else {})
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *site.command, str(site.weir), "run",
                 "weir.yaml", "--log-format", "json", *site.arguments],
                cwd=site.root, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.ended_s, self.was_orderly, self.problem = None, False, None
        self.end = ""  # how it came to it

    def wait(self, predicate, seconds):
        """Until the predicate is true; False: the process ended, or so many seconds went by."""
        until_s = time.monotonic() + seconds
        while not predicate():
            if self.process.poll() is not None:
                return predicate()
            if time.monotonic() > until_s:
                return False
            time.sleep(POLL_S)
        return True

    def wait_listening(self):
        if not self.wait(lambda: b'"listening"' in self.err.read_bytes(), START_S) and \
                not self.die_at:
            self.problem = f"run {self.number} did not begin to listen"
        return not self.problem

    def wait_ended(self, seconds):
        return self.wait(lambda: self.process.poll() is not None, seconds)

    def kill(self):
        self.process.kill()
        self.reap()

    def reap(self):
        code = self.process.wait()
        self.ended_s = time.time()
        if self.keeps_state:
            copy = self.out.with_suffix(".state")
            copy.mkdir()
            for path in (self.root / ".weir").glob("state.*"):
                if path.is_file():
                    shutil.copy(path, copy)
        if code not in (0, -signal.SIGKILL) and not self.problem:
            self.problem = f"run {self.number} ended with {code}"

    def stop(self):
        """Tells it to stop, and waits for it."""
        self.process.terminate()
        if self.wait_ended(STOP_S):
            self.reap()
            # One that dies at a step may do so on its way out.
            self.was_orderly = self.process.returncode == 0
        else:
            self.kill()
            self.problem = f"run {self.number} did not end within {STOP_S} s of SIGTERM"

    def problems(self):
        """What is wrong with the process itself."""
        if self.problem:
            tail = self.err.read_text(errors="replace").splitlines()[-3:]
            yield "\n    ".join([f"end: {self.problem}", *tail])
        stderr = self.err.read_bytes()
        found = SANITIZER.search(stderr)
        if found:
            text = stderr[found.start():].decode(errors="replace").splitlines()
            yield "\n    ".join([f"sanitizer: run {self.number}", *text[:40]])
        if GIVEN_UP.encode() in stderr:
            yield f"dead: run {self.number} gave an event up"

    def deliveries(self):
        """What the guests printed."""
        lines = self.out.read_bytes().split(b"\n")[:-1]  # the last one may be cut
        for number, line in enumerate(lines, 1):
            mark, *attributes = line.decode(errors="replace").split("\t")
            found = re.fullmatch(r"\[(\w+)\] (handled|failed)", mark)
            if found:
                event = dict(attribute.split("=", 1) for attribute in attributes)
                yield oracle.Delivery(found[1], found[2] == "handled", event, number)


class Site:
    """A folder with a configuration, writers, and one weir after the other."""

    def __init__(self, root, weir, guests, seed, settings=None, env=None):
        self.root, self.weir, self.guests = pathlib.Path(root), pathlib.Path(weir).resolve(), guests
        self.random = random.Random(f"weir {seed}")  # a text: small numbers are too much alike
        self.seed = seed
        self.settings = self.choose() | (settings or {})
        self.env = env or {}
        self.command, self.arguments = [], []  # before weir, and behind
        self.control = self.root / "control"
        self.stores = {name: self.root / name for name in ("a", "b")}
        for folder in (self.control, *self.stores.values()):
            folder.mkdir(parents=True)
        self.configure()
        self.runs, self.writers = [], []
        self.repeat_window_s = REPEAT_WINDOW_S
        self.keeps_state = False  # a copy of the state as each run left it
        self.has_steps, self.unrest = None, []  # has_steps: None: not known yet

    def choose(self):
        """Settings that are worth to be mixed."""
        pick = self.random.choice
        return {"workers": pick([1, 2, 4]), "instance": pick(["fresh", "reuse"]),
                "events": pick([2, 16, 1024]), "concurrency": pick([0, 0, 1]),
                "commit": pick(["0ms", "2ms", "2ms", "20ms"])}

    def configure(self):
        chosen = self.settings
        guest = {"wasm": str(pathlib.Path(self.guests).resolve() / "trace.wasm"),
                 "instance": chosen["instance"]}
        common = {"queue": {"events": chosen["events"]}, "concurrency": chosen["concurrency"],
                  "retry": {"attempts": 100, "backoff": "5ms", "backoff_max": "10ms"}}
        tree = {
            "host": {"workers": chosen["workers"], "grace": "10s"},
            "state": {"commit": chosen["commit"]},
            "resources": {"a": {"kind": "file", "path": "./a"},
                          "b": {"kind": "file", "path": "./b"},
                          "between": {"kind": "topic"}},
            "guests": {stage: guest for stage in STAGES},
            "subscriptions": [
                {"name": "first", "watch": "a", "key": "*", "guest": "first", "to": "between"},
                {"name": "second", "watch": "between", "key": "*", "guest": "second", "to": "b"},
                {"name": "third", "watch": "b", "key": "*", "guest": "third",
                 "handler": "on-last"},
            ],
        }
        for subscription in tree["subscriptions"]:
            subscription.update(common)
        (self.root / "weir.yaml").write_text(json.dumps(tree, indent=2), encoding="ascii")

    # ---- weir ----

    def start(self, die_at=None, env=None):
        process = Process(self, len(self.runs) + 1, die_at, env)
        self.runs.append(process)
        return process

    # ---- writers ----

    def start_writers(self):
        pairs = [[sys.executable, HERE / "writer.py", "one"],
                 [sys.executable, HERE / "writer.py", "two"], ["sh", HERE / "writer.sh", "three"]]
        for number, command in enumerate(pairs):
            command += [self.stores["a"], self.control, self.seed * 10 + number]
            command += [CHANGES_PER_S] if number < 2 else []
            self.writers.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]))

    @contextlib.contextmanager
    def pause(self):
        (self.control / "pause").touch()
        try:
            yield
        finally:
            (self.control / "pause").unlink()

    def stop_writers(self):
        (self.control / "stop").touch()
        codes = [writer.wait(STOP_S) for writer in self.writers]
        self.writers = []
        assert not any(codes), f"a writer failed: {codes}"

    def written(self):
        """How much the writers have noted so far, of each the bytes."""
        return {path.name: path.stat().st_size for path in self.control.glob("*.log")}

    def writes(self):
        """What the writers did; and for each run, how much of it was done before it."""
        writes, before = [], [collections.Counter() for _ in self.runs]
        for path in sorted(self.control.glob("*.log")):
            values, at, counts, done = {}, 0, collections.Counter(), {}
            marks = [run.written.get(path.name, 0) for run in self.runs]
            run = 0
            for line in path.read_bytes().splitlines(keepends=True):
                at += len(line)
                while run < len(marks) and marks[run] < at:
                    before[run].update(done)
                    run += 1
                word, _, rest = line.decode().rstrip("\n").partition(" ")
                if word == "end":
                    done = dict(counts)
                    continue
                key, _, text = rest.partition(" ")
                values[key] = {"set": text, "append": (values.get(key) or "") + text}.get(word)
                counts[key] += 1
                writes.append(oracle.Write(key, values[key]))
            for each in before[run:]:
                each.update(done)
        return writes, before

    # ---- the end ----

    def contents(self, store):
        """Key to value, as the guest prints values."""
        root = self.stores[store]
        return {str(path.relative_to(root)): path.read_text(errors="replace").replace("\n", "|")
                for path in root.rglob("*")
                if path.is_file() and not path.name.startswith(".")}

    def is_at_rest(self):
        """Whether b is what a is, the last stage was told, and nothing is under way."""
        wanted, copied = self.contents("a"), self.contents("b")
        told = {}
        for delivery in self.runs[-1].deliveries():
            if delivery.stage == "third" and delivery.was_handled:
                told[delivery.key] = delivery.event.get("data")
        self.unrest = [key for key in copied.keys() | wanted.keys()
                       if copied.get(key) != wanted.get(key) and
                       (key in wanted or not copied[key].startswith(oracle.GONE))]
        self.unrest += [key for key in told if told[key] != copied.get(key)]
        self.unrest = self.unrest or self.lagging()
        return not self.unrest

    def lagging(self):
        """The subscriptions and targets that have something to do, as weir says."""
        done = subprocess.run([*self.inside(), str(self.weir), "status", "--json",
                               *self.arguments], cwd=self.root, capture_output=True, check=False)
        status = json.loads(done.stdout) if done.returncode == 0 else {}
        if not status.get("is_running"):
            return ["status"]
        lagging = [each["name"] for each in status["subscriptions"]
                   if each["lag_events"] or each["in_flight_events"] or each["retrying_keys"]]
        return lagging + [each["name"] for each in status["targets"] if each["waiting_events"]]

    def inside(self):
        """What has a command see what the last weir sees."""
        return ["nsenter", "-m", "-U", "-t", str(self.runs[-1].process.pid)] if self.command else []

    def drain(self, seconds=DRAIN_S, process=None):
        """Runs weir until nothing is left to do. Returns how long it took; None: it did not."""
        begin_s = time.monotonic()
        process = process or self.start()
        process.wait_listening()
        until_s = time.monotonic() + seconds
        while not self.is_at_rest():
            if time.monotonic() > until_s or process.process.poll() is not None:
                break
            time.sleep(0.05)
        took_s = time.monotonic() - begin_s
        process.stop()
        if self.unrest:
            process.problem = process.problem or (
                f"run {process.number} did not come to rest within {seconds} s: "
                f"{sorted(self.unrest)[:5]}")
            return None
        return took_s

    def finish(self):
        """Ends what still runs, whatever happened."""
        for process in [*self.writers, *(run.process for run in self.runs)]:
            if process.poll() is None:
                process.kill()
            process.wait()

    def judge(self, starts=True):
        """What is wrong, a line each, and what was covered. `starts`: it has to have caught up."""
        writes, before = self.writes()
        runs = [oracle.Run(run.number, list(run.deliveries()), run.was_orderly, dict(done),
                           None if run.was_orderly else run.ended_s)
                for run, done in zip(self.runs, before)]
        problems, covered = oracle.check(oracle.History(
            stages=list(STAGES), copies="third", source="/a", writes=writes, runs=runs,
            final=self.contents("a"), copied=self.contents("b"),
            repeat_window_s=self.repeat_window_s))
        problems = [each for each in problems if starts or not each.startswith("slept: ")]
        covered["changes"] = len(writes)
        return [problem for run in self.runs for problem in run.problems()] + problems, covered


# ---- the ends that a run may come to ----


def end_at_random(site, process):
    if site.random.random() < 0.25:  # in its start
        process.wait_ended(site.random.uniform(0, 0.3))
    elif process.wait_listening():
        long = site.random.randrange(LONG_EVERY) == 0
        process.wait_ended(LONG_S if long else site.random.expovariate(1 / MOMENT_S))
    process.kill()
    return "at random"


def end_in_a_pause(site, process):
    """The writers pause; weir may have caught up, and have nothing to do."""
    with site.pause():
        process.wait_listening()
        process.wait_ended(site.random.expovariate(1 / MOMENT_S))
        process.kill()
        if site.random.random() < 0.5:  # the next one starts in the pause too
            site.start().wait_listening()
            site.runs[-1].kill()
    return "in a pause"


def end_orderly(site, process):
    process.wait_listening()
    process.wait_ended(site.random.expovariate(1 / MOMENT_S))
    process.stop()
    return "orderly"


def end_while_stopping(site, process):
    process.wait_listening()
    process.wait_ended(site.random.expovariate(1 / MOMENT_S))
    process.process.terminate()
    process.wait_ended(site.random.uniform(0, 0.05))
    was_killed = process.process.poll() is None
    process.kill()
    process.was_orderly = not was_killed and process.process.returncode == 0
    return "while stopping"


def end_at_step(site, process):
    """It kills itself, where the build has steps; else it is killed."""
    process.wait_listening()
    process.wait_ended(STEP_S if site.has_steps is not False else MOMENT_S)
    died = process.process.poll() is not None
    process.kill()
    if died or site.has_steps is None:
        site.has_steps = died
    return f"at {process.die_at.partition(':')[0]}" if died else "at no step"


def plan_of(chooser, kills):
    """The end of each run, as a function and the step."""
    plan, steps = [], []
    for _ in range(kills):
        if not steps:
            steps = list(STEPS)
            chooser.shuffle(steps)
        end = chooser.choices(
            [end_at_random, end_in_a_pause, end_at_step, end_orderly, end_while_stopping],
            [42, 8, 40, 5, 5])[0]
        step = None
        if end is end_at_step:
            step = f"{steps.pop()}:{1 + int(chooser.expovariate(1 / 6))}"
        plan.append((end, step))
    return plan


def crash(root, weir, guests, kills, seed, settings=None, keeps_state=False,
          tell=lambda text: None):
    """Returns what was wrong and what was covered."""
    site = Site(root, weir, guests, seed, settings)
    site.keeps_state = keeps_state
    ends = collections.Counter()
    begin_s = time.monotonic()
    try:
        first = site.start()
        if first.wait_listening():
            site.start_writers()
            end_at_random(site, first)
            for number, (end, step) in enumerate(plan_of(site.random, kills - 1), 2):
                process = site.start(step)
                process.end = end(site, process)
                ends[process.end] += 1
                if number % 50 == 0:
                    tell(f"{number} kills, {time.monotonic() - begin_s:.0f} s")
                if site.runs[-1].problem:
                    break
            site.stop_writers()
            # After the orderly stop of the first one there is nothing left to tell.
            if not site.runs[-1].problem and site.drain() is not None:
                site.drain()
    finally:
        site.finish()
    problems, covered = site.judge()
    covered.update({f"ended {end}": count for end, count in ends.items()})
    steps = [end for end in ends if end.startswith("at ") and end[3:] in STEPS]
    if ends["at no step"] > len(steps) > 0:
        problems.append(f"steps: {ends['at no step']} runs passed no step of those they were to die at")
    covered["seconds"] = round(time.monotonic() - begin_s)
    return problems, covered, site


def show(problems, covered, site, most=40):
    lines = [f"settings: {site.settings}"]
    lines += ["; ".join(f"{name} {count}" for name, count in sorted(covered.items()))]
    lines += problems[:most]
    lines += [f"... and {len(problems) - most} more"] if len(problems) > most else []
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Kills weir again and again.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--weir", default="build/weir")
    parser.add_argument("--guests", default="build/guests")
    parser.add_argument("--keep", help="a folder for what is left of it; must not be there yet")
    parser.add_argument("--keep-state", action="store_true",
                        help="keep a copy of the state as each run left it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting, such as workers=1, in place of the seed's")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if args.seed is None else args.seed
    print(f"--seed {seed}", flush=True)
    settings = {name: int(value) if value.isdigit() else value
                for name, _, value in (each.partition("=") for each in args.set)}
    root = pathlib.Path(args.keep or tempfile.mkdtemp(prefix="weir-crash-"))
    problems, covered, site = crash(root, args.weir, args.guests, args.kills, seed, settings,
                                    args.keep_state, lambda text: print(text, flush=True))
    print(show(problems, covered, site))
    if problems:
        print(f"{len(problems)} problems; what ran is in {root}")
    elif not args.keep:
        shutil.rmtree(root)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
