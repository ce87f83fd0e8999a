#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks and prints one table: weir, what it is measured against, and the goals.

    bench/run.py BUILD_FOLDER [--quick] [--only call|language|file|durable|observe|provider]

Everything is measured in one run, in rounds: weir and its floor in turn within one program, that
program and the peer in Rust in turn. What is told is the median of the rounds; all of them are in
BUILD_FOLDER/bench.json. The floors and what is counted are described at the head of call.c, file.c,
durable.c, observe.c and providers.py; the peer, in typed/, is built into the cache by the first run, which takes minutes,
and left out where that is not possible. --quick is for a look whether it all works: its numbers are rough,
and it does not build the peer.

A missed goal is no failure: machines differ. A program that fails is, with exit status 1.
"""

import argparse
import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing

import providers
from shared import Asked, Failure, Goal, microseconds, print_table, run_program, say

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent

PEER = "weir-bench-typed"

# The goals. A warm call costs at most so many times the floor's; the typed call at least so many
# times weir's; a fresh instance at most 8 µs where the floor's is 5; file events at most so many
# times the bare reader's time.
WARM_RATIO_MAX = 1.2
TYPED_RATIO_MIN = 2.0
FRESH_RATIO_MAX = 8 / 5
FILE_RATIO_MAX = 1.3
# In the component lane, a binary body of 1 MiB at most so many times a text of that size, passed,
# and passed and returned.
BINARY_RATIO_MAX = 3.0
# Languages: in the core lane the typed call takes at least so many times weir's; in JavaScript weir
# takes at most so many times the typed call.
LANGUAGE_CORE_RATIO_MIN = 2.0
JAVASCRIPT_RATIO_MAX = 1.3
# Nothing is lost: journaled events at least so many times the floor's rows a second; settled events
# a core 120,000 a second where a bare call in a fresh instance takes 5 µs, and 350,000 where one in
# a kept instance takes 1 µs; other keys' p99 beside a handler that loops at most so many times the
# p99 without it; memory that does not grow with what waits; the first handler of a start in time.
JOURNAL_RATIO_MIN = 0.7
SETTLE_RATIO_MAX = {"fresh": 1e9 / 120_000 / 5000, "warm": 1e9 / 350_000 / 1000}
BESIDE_RATIO_MAX = 1.5
MEMORY_RATIO_MAX = 1.1
STARTUP_S_MAX = 1.0
# What is lost of events a second at most, where somebody looks.
OBSERVE_LOSS_MAX = {"metrics": 0.02, "traces-1": 0.05, "traces-100": 0.20, "console": 0.03}

# A component of JavaScript or Python is compiled before the first answer.
FIRST_ANSWER_TIMEOUT_S = 600
PEER_BUILD_TIMEOUT_S = 3600
# A load of more than that much of a core, before anything has started, is told.
BUSY_LOAD = 0.5


class Effort(typing.NamedTuple):
    """How much is measured."""

    turns: int  # of the call program and the peer
    rounds: int  # of each in a turn
    batch_ms: int  # of one contender in a round
    file_rounds: int
    latency_events: int
    throughput_events: int
    durable_rounds: int
    journal_events: int
    settle_ms: int
    paced_events: int
    backlog: tuple  # events that wait, ascending
    language_rounds: int
    start_rounds: int  # of warm starts
    observe_ms: int
    observe_rounds: int


FULL = Effort(5, 3, 20, 7, 1000, 3000, 5, 200_000, 1000, 6000, (100_000, 300_000, 1_000_000), 9, 5, 300, 15)
QUICK = Effort(1, 3, 3, 3, 100, 1000, 1, 20_000, 100, 500, (20_000, 60_000, 100_000), 3, 1, 50, 1)


# ---- the peer in Rust ----


def cache_folder():
    folder = os.environ.get("WEIR_CACHE")
    if folder:
        return pathlib.Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "weir"


def peer_key(cargo_env):
    """Names what the peer is built from: its sources, the contract, the compiler."""
    parts = [HERE / "typed/Cargo.toml", HERE / "typed/Cargo.lock", HERE / "typed/src/main.rs"]
    parts += sorted((ROOT / "wit").glob("*.wit"))
    digest = hashlib.sha256()
    for path in parts:
        digest.update(path.read_bytes())
    rustc = cargo_env.get("RUSTC", "rustc")
    digest.update(subprocess.run([rustc, "-vV"], capture_output=True, check=True).stdout)
    return digest.hexdigest()[:12]


def run_cargo(cargo, environment, target, log):
    """Builds the peer into the folder `target`; returns why that failed, or None."""
    # Wasmtime asks for a newer Rust than Debian's, and does not need it.
    command = [cargo, "build", "--release", "--locked", "--ignore-rust-version"]
    command += ["--manifest-path", HERE / "typed/Cargo.toml", "--target-dir", target]
    with log.open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PEER_BUILD_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    if done.returncode == 0:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith("error")), "cargo does not say why")


def build_peer(may_build):
    """The peer's program, and why there is none: one of the two is None."""
    cargo = os.environ.get("CARGO") or shutil.which("cargo")
    if not cargo:
        return None, "there is no cargo"
    environment = dict(os.environ)
    beside = pathlib.Path(cargo).with_name("rustc")
    environment.setdefault("RUSTC", str(beside) if beside.exists() else "rustc")
    cache = cache_folder()
    try:
        entry = cache / f"bench-typed-{peer_key(environment)}"
    except (OSError, subprocess.CalledProcessError):
        return None, "there is no rustc that works"
    program = entry / PEER
    if program.exists():
        return program, None
    if not may_build:
        return None, "it is not built yet, and --quick does not wait for that"

    target, log = cache / f"{entry.name}.target", cache / f"{entry.name}.log"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "bench-typed.lock").open("w", encoding="utf-8") as lock:
        # Another run that builds the same is waited for.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            say(f"building the peer in Rust, once; that takes minutes (log: {log})")
            why_not = run_cargo(cargo, environment, target, log)
            if why_not:
                return None, f"building it failed: {why_not} (log: {log})"
            # The program is what is kept; a thousand times its size was made on the way.
            entry.mkdir(exist_ok=True)
            os.replace(target / "release" / PEER, program)
            shutil.rmtree(target)
    return program, None


# ---- calls of a handler ----


def measure_calls(build, peer, effort):
    """{(instances, bytes, answer): {contender: [ns, ...]}}"""
    program, guest = build / "bench/bench-call", build / "guests/bench.wasm"
    component = build / "guests/bench.component.wasm"
    cpu = max(os.sched_getaffinity(0))
    numbers = {}
    for turn in range(effort.turns):
        say(f"calls of a handler, {turn + 1} of {effort.turns}")
        lines = run_program([program, guest, component, cpu, effort.rounds, effort.batch_ms])
        if peer:
            lines += run_program([peer, component, effort.rounds, effort.batch_ms], cpu)
        for instances, size, answer, contender, one_ns in lines:
            case = numbers.setdefault((instances, int(size), answer), {})
            case.setdefault(contender, []).append(float(one_ns))
    return numbers


def size_name(size):
    for unit, bytes_of_it in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % bytes_of_it == 0:
            return f"{size // bytes_of_it} {unit}"
    return f"{size} B"


# Of the answers with a body that is no text: which is the same with one that is.
TEXT_ANSWERS = {"binary": "none", "binary-event": "event"}


def call_rows(numbers):
    rows = []
    for (instances, size, answer), contenders in numbers.items():
        median = {name: statistics.median(values) for name, values in contenders.items()}
        ratio_max = WARM_RATIO_MAX if instances == "warm" else FRESH_RATIO_MAX
        ratio = median["weir"] / median["floor"]
        row = {
            "case": f"{instances} {size_name(size)} {answer}",
            "unit": "ns",
            "medians": median,
            "rounds": contenders,
            "ratio": ratio,
            "goals": [Goal(f"≤ {ratio_max:.1f}", ratio <= ratio_max)],
        }
        if "typed" in median:
            row["typed_ratio"] = median["typed"] / median["weir"]
            if instances == "warm":
                is_met = row["typed_ratio"] >= TYPED_RATIO_MIN
                row["goals"].append(Goal(f"≥ {TYPED_RATIO_MIN:.0f}", is_met))
        if answer in TEXT_ANSWERS and size == 1 << 20:
            text = contenders_of(numbers, (instances, size, TEXT_ANSWERS[answer]), "component")
            row["binary_ratio"] = median["component"] / text
            row["goals"].append(Goal(f"≤ {BINARY_RATIO_MAX:.0f}",
                                     row["binary_ratio"] <= BINARY_RATIO_MAX))
        rows.append(row)
    return rows


def contenders_of(numbers, case, name):
    """The median of one contender in one case."""
    return statistics.median(numbers[case][name])


def print_calls(rows):
    say("One call of a handler, µs of CPU time for an event (median). warm: one instance is kept,")
    say("fresh: one for each event; none: the event is taken, event: it is returned; binary,")
    say("binary-event: the same with a body that is no text.")
    say("floor: the same module called straight on Wasmtime's C API, which believes all that comes back")
    say("and copies its body; checked: the floor, but a returned event is copied whole and checked as")
    say("weir does it (UTF-8, CloudEvent); typed: as a component through Wasmtime's Rust bindings;")
    say("tuned: those at their cheapest (typed/src/main.rs); component: the module within a component,")
    say("in weir's component lane.")
    head = ("", "weir", "floor", "weir/floor", "goal", "checked", "component", "goal")
    head += ("typed", "typed/weir", "goal", "tuned")
    lines = []
    for row in rows:
        median, goals = row["medians"], [str(goal) for goal in row["goals"]]
        line = [row["case"], microseconds(median["weir"]), microseconds(median["floor"])]
        line += [f"{row['ratio']:.2f}", goals[0], microseconds(median["checked"])]
        line += [microseconds(median["component"]),
                 f"{goals[-1]} ({row['binary_ratio']:.1f})" if "binary_ratio" in row else ""]
        if "typed" in median:
            line += [microseconds(median["typed"]), f"{row['typed_ratio']:.1f}"]
            line += [goals[1] if len(goals) > 1 else "", microseconds(median["tuned"])]
        lines.append(line + [""] * (len(head) - len(line)))
    print_table(head, lines)


# ---- languages ----


class Language(typing.NamedTuple):
    name: str
    core: str  # the guest's module; empty: it has none for the core lane
    component: str
    is_slow: bool  # compiling it takes some ten seconds


LANGUAGES = (
    Language("C", "bench.wasm", "bench.component.wasm", False),
    Language("Rust", "bench-rust.wasm", "bench-rust.component.wasm", False),
    Language("JavaScript", "", "bench-js.wasm", True),
    Language("Python", "", "bench-python.wasm", True),
)
LANGUAGE_CASES = [(instances, size) for instances in ("warm", "fresh") for size in (100, 65536)]


def compiled_file(peer, component, language):
    """Where the peer keeps what it compiled of this component; an older one goes."""
    digest = hashlib.sha256(component.read_bytes()).hexdigest()[:12]
    kept = peer.parent / f"{language.name}-{digest}.compiled"
    for old in peer.parent.glob(f"{language.name}-*.compiled"):
        if old != kept:
            old.unlink()
    return kept


def measure_starts(build, guest, cache, rounds):
    """Milliseconds of `weir inspect`, which loads a guest: at first, and with what that compiled."""
    environment = dict(os.environ, XDG_CACHE_HOME=str(cache))
    command = [build / "weir", "inspect", guest]
    starts = {"cold": [], "warm": []}
    for turn in range(1 + rounds):
        begin = time.monotonic()
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True,
                                  timeout=PROGRAM_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"weir inspect did not end within {PROGRAM_TIMEOUT_S} s") from None
        if done.returncode != 0:
            raise Failure(f"weir inspect: {done.stderr.strip()}")
        starts["warm" if turn else "cold"].append((time.monotonic() - begin) * 1000)
    return starts


def measure_language(build, peer, language, effort):
    """({(instances, bytes): {contender: [ns, ...]}}, {what: [value, ...]})"""
    cpu = max(os.sched_getaffinity(0))
    component = build / "guests" / language.component
    calls, others = {}, {}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder, contextlib.ExitStack() as stack:
        starts = measure_starts(build, build / "guests" / (language.core or language.component),
                                folder, effort.start_rounds)
        others.update({f"{name} start": values for name, values in starts.items()})
        command = [build / "bench/bench-language", build / "weir", f"{folder}/weir/compiled"]
        command += [cpu, effort.batch_ms]
        command += ["core", build / "guests" / language.core] if language.core else []
        weir = stack.enter_context(Asked([*command, "component", component]))
        asked = [weir]
        growth = weir.answer(FIRST_ANSWER_TIMEOUT_S)
        others.update({f"growth {name}": [value] for name, value in growth.items()})
        if peer:
            kept = compiled_file(peer, component, language)
            typed = stack.enter_context(
                Asked([peer, "ask", component, kept, effort.batch_ms], cpu))
            others["memory"] = [typed.answer(FIRST_ANSWER_TIMEOUT_S)["memory"]]
            asked.append(typed)
        for _ in range(effort.language_rounds):
            for instances, size in LANGUAGE_CASES:
                for program in asked:
                    for name, value in program.ask(f"{instances} {size}").items():
                        case = calls.setdefault((instances, size), {})
                        case.setdefault(name, []).append(value)
    return calls, others


def measure_languages(build, peer, effort, is_quick):
    """[(language, calls, others)], and why others are not among them: [text]."""
    found, skipped = [], []
    for language in LANGUAGES:
        component = build / "guests" / language.component
        if is_quick and language.is_slow:
            skipped.append(f"{language.name}: --quick does not wait until it is compiled")
        elif not component.exists():
            why = component.with_name(component.name + ".skipped")
            reason = why.read_text(encoding="utf-8").strip() if why.exists() else "it is not built"
            skipped.append(f"{language.name}: {reason}")
        else:
            say(f"calls of a handler in {language.name}")
            found.append((language, *measure_language(build, peer, language, effort)))
    return found, skipped


def language_rows(measured):
    rows = []
    for language, calls, others in measured:
        for (instances, size), contenders in calls.items():
            median = {name: statistics.median(values) for name, values in contenders.items()}
            row = {
                "case": f"{language.name} {instances} {size_name(size)}",
                "unit": "ns",
                "medians": median,
                "rounds": contenders,
                "goals": [],
            }
            if "typed" in median:
                row["component_ratio"] = median["component"] / median["typed"]
                if "core" in median:
                    row["typed_ratio"] = median["typed"] / median["core"]
                    if instances == "warm":
                        is_met = row["typed_ratio"] >= LANGUAGE_CORE_RATIO_MIN
                        row["goals"].append(Goal(f"≥ {LANGUAGE_CORE_RATIO_MIN:.0f}", is_met))
                if language.name == "JavaScript":
                    is_met = row["component_ratio"] <= JAVASCRIPT_RATIO_MAX
                    row["goals"].append(Goal(f"≤ {JAVASCRIPT_RATIO_MAX}", is_met))
            rows.append(row)
        rows.append({
            "case": f"{language.name} memory and start",
            "unit": "bytes, ms",
            "medians": {name: statistics.median(values) for name, values in others.items()},
            "rounds": others,
            "goals": [],
        })
    return rows


def print_languages(rows, skipped):
    say("The same handler in each language: an event is handed over and returned, µs of CPU time")
    say("(median). core, component: weir's lanes; typed: the same component through Wasmtime's Rust")
    say("bindings.")
    lines, others = [], []
    for row in rows:
        median = row["medians"]
        if row["unit"] != "ns":
            kib = [f"{median[name] / 1024:.0f}" if name in median else ""
                   for name in ("memory", "growth core", "growth component")]
            starts = [f"{median[name]:.0f}" for name in ("cold start", "warm start")]
            others.append([row["case"].split()[0], *kib, *starts])
            continue
        show = [microseconds(median[name]) if name in median else ""
                for name in ("core", "component", "typed")]
        ratios = [f"{row[name]:.2f}" if name in row else ""
                  for name in ("typed_ratio", "component_ratio")]
        lines.append([row["case"], *show, *ratios, " ".join(map(str, row["goals"]))])
    print_table(("", "core", "component", "typed", "typed/core", "component/typed", "goal"), lines)
    say()
    say("A guest's linear memory after an event of 100 bytes, and by how much an instance more makes")
    say("the process grow, in KiB; cold: a start of weir that compiles the guest, warm: one that finds")
    say("it in the cache, in ms.")
    print_table(("", "memory", "growth core", "growth component", "cold", "warm"), others)
    for line in skipped:
        say(f"skipped: {line}")


# ---- events of files ----


def measure_files(build, parent, effort):
    """{measure: {contender: [value, ...]}}, with files in a new folder of `parent`."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-", dir=parent) as folder:
        guests = [build / "guests/bench-tell.wasm", build / "guests/bench.wasm"]
        command = [build / "bench/bench-file", *guests, folder]
        command += [effort.file_rounds, effort.latency_events, effort.throughput_events]
        lines = run_program(command)
    numbers = {}
    for measure, *words in lines:
        if measure == "latency":
            contender, p50_ns, p99_ns = words
            numbers.setdefault("p50", {}).setdefault(contender, []).append(float(p50_ns))
            numbers.setdefault("p99", {}).setdefault(contender, []).append(float(p99_ns))
        elif measure == "throughput":
            contender, rate = words
            numbers.setdefault("rate", {}).setdefault(contender, []).append(float(rate))
        else:
            numbers.setdefault("rate", {}).setdefault("writer", []).append(float(words[0]))
    return numbers


def file_rows(place, numbers):
    rows = []
    for measure, contenders in numbers.items():
        median = {name: statistics.median(values) for name, values in contenders.items()}
        is_rate = measure == "rate"
        # A ratio of times, in both cases: more is worse.
        ratio = median["weir"] / median["floor"]
        ratio = 1 / ratio if is_rate else ratio
        rows.append(
            {
                "case": f"{place}, {'events a second' if is_rate else f'latency {measure}'}",
                "unit": "1/s" if is_rate else "ns",
                "medians": median,
                "rounds": contenders,
                "ratio": ratio,
                "goals": [Goal(f"≤ {FILE_RATIO_MAX}", ratio <= FILE_RATIO_MAX)],
                "straight_ratio": (median["weir"] / median["straight"]) ** (-1 if is_rate else 1),
                "durable_ratio": (median["durable"] / median["weir"]) ** (-1 if is_rate else 1),
            }
        )
    return rows


def print_files(rows):
    say("A changed file, from the write to the handler (latency in µs, medians of the rounds).")
    say("floor: a program that waits for inotify and reads the file; straight: the same, which hands")
    say("the value to a second thread that calls a handler in a fresh instance on Wasmtime's C API,")
    say("and what floor and straight differ in is not weir's; writer: the events a second that the")
    say("writing process makes where nobody watches; durable: weir with the state database, beside")
    say("weir without it.")
    lines = []
    for row in rows:
        median = row["medians"]
        show = microseconds if row["unit"] == "ns" else "{:.0f}".format
        line = [row["case"], show(median["weir"]), show(median["floor"])]
        line += [f"{row['ratio']:.2f}", str(row["goals"][0])]
        line += [show(median["straight"]), f"{row['straight_ratio']:.2f}"]
        line += [show(median["durable"]), f"{row['durable_ratio']:.2f}"]
        lines.append(line + [show(median["writer"]) if "writer" in median else ""])
    head = ("", "weir", "floor", "ratio of times", "goal", "straight", "to straight")
    head += ("durable", "durable/weir", "writer")
    print_table(head, lines)


# ---- nothing is lost ----


def run_durable(build, what, *counts):
    """The lines of one measure, with state databases in a new folder on the build folder's disk."""
    name = "bench.wasm" if what in ("journal", "settle") else "bench-tell.wasm"
    guest = build / "guests" / name
    with tempfile.TemporaryDirectory(prefix="weir-bench-", dir=build) as folder:
        return run_program([build / "bench/bench-durable", what, guest, folder, *counts])


def measure_durable(build, effort):
    """{measure: {contender: [value, ...]}}"""
    numbers = {}

    def note(measure, contender, value):
        numbers.setdefault(measure, {}).setdefault(contender, []).append(float(value))

    for turn in range(effort.durable_rounds):
        say(f"events with the state, {turn + 1} of {effort.durable_rounds}")
        for _, contender, rate, group in run_durable(build, "journal", effort.journal_events):
            note("journal", contender, rate)
            note("group", contender, group)
        for _, instances, workers, *values in run_durable(build, "settle", effort.settle_ms):
            for contender, value in zip(("rate", "cpu", "floor"), values):
                note(f"settle {instances} {workers}", contender, value)
        for _, workers, which, *values in run_durable(build, "latency", effort.paced_events):
            for measure, value in zip(("p50", "p99"), values):
                note(f"{measure} {workers}", which, value)
    say("events that wait")
    for measure, count, value in run_durable(build, "backlog", *effort.backlog):
        note(measure, count, value)
    return numbers


def journal_row(medians, numbers):
    median = medians["journal"]
    ratio = median["weir"] / median["floor"]
    group = int(medians["group"]["weir"])
    return {
        "case": f"journaled, {group} in a commit",
        "unit": "1/s",
        "medians": median,
        "rounds": numbers["journal"],
        "ratio": ratio,
        "goals": [Goal(f"≥ {JOURNAL_RATIO_MIN}", ratio >= JOURNAL_RATIO_MIN)],
    }


def settle_rows(medians, numbers):
    rows = []
    for measure, median in medians.items():
        kind, *case = measure.split()
        if kind != "settle":
            continue
        instances, workers = case
        ratio_max = SETTLE_RATIO_MAX[instances]
        # What one core takes for an event, beside one bare call.
        ratio = int(workers) * 1e9 / median["rate"] / median["floor"]
        rows.append(
            {
                "case": f"settled, {instances}, {workers} worker{'s' if workers != '1' else ''}",
                "unit": "1/s",
                "medians": median,
                "rounds": numbers[measure],
                "ratio": ratio,
                "cpu_ratio": median["cpu"] / median["floor"],
                "goals": [Goal(f"≤ {ratio_max:.2f}", ratio <= ratio_max)],
            }
        )
    return rows


def beside_rows(medians, numbers):
    rows = []
    for measure, median in medians.items():
        kind, *case = measure.split()
        if kind not in ("p50", "p99"):
            continue
        ratio = median["beside"] / median["alone"]
        goal = Goal(f"≤ {BESIDE_RATIO_MAX}", ratio <= BESIDE_RATIO_MAX)
        rows.append(
            {
                "case": f"other keys' {kind}, {case[0]} worker{'s' if case[0] != '1' else ''}",
                "unit": "ns",
                "medians": median,
                "rounds": numbers[measure],
                "ratio": ratio,
                # With one worker a handler that loops holds up everything until it is cut.
                "goals": [goal] if kind == "p99" and case[0] != "1" else [],
            }
        )
    return sorted(rows, key=lambda row: row["case"])


def backlog_rows(medians, numbers):
    memory = medians["memory"]
    least, *_, most = sorted(memory, key=int)
    ratio, startup_s = memory[most] / memory[least], medians["startup"][most] / 1e9
    startup = {"first handler": startup_s, "state open": medians["open"][most] / 1e9}
    return [
        {
            "case": "memory with events waiting",
            "unit": "KiB",
            "medians": memory,
            "rounds": numbers["memory"],
            "ratio": ratio,
            "goals": [Goal(f"≤ {MEMORY_RATIO_MAX}", ratio <= MEMORY_RATIO_MAX)],
        },
        {
            "case": f"start-up with {int(most):,} events waiting",
            "unit": "s",
            "medians": startup,
            "rounds": numbers["startup"],
            "ratio": startup_s / STARTUP_S_MAX,
            "goals": [Goal(f"≤ {STARTUP_S_MAX:.0f} s", startup_s <= STARTUP_S_MAX)],
        },
    ]


def durable_rows(numbers):
    medians = {
        measure: {name: statistics.median(values) for name, values in contenders.items()}
        for measure, contenders in numbers.items()
    }
    rows = [journal_row(medians, numbers), *settle_rows(medians, numbers)]
    return rows + beside_rows(medians, numbers) + backlog_rows(medians, numbers)


def print_durable(rows):
    say("Events with the state database, 100 bytes of body (medians of the rounds).")
    say("journaled: rows a second; floor: the same rows written by a bare loop on SQLite, as many")
    say("in a commit. settled: a source that can replay, to the moved cursor; floor: one bare call")
    say("of the handler, as above; ratio: what a core takes for an event (workers / rate) beside")
    say("that; CPU: the time of all threads for an event, source included.")
    lines = []
    for row in rows:
        median, goal = row["medians"], " ".join(str(goal) for goal in row["goals"])
        if row["case"].startswith("journaled"):
            line = [f"{median['weir']:.0f}", f"{median['floor']:.0f}", f"{row['ratio']:.2f}", goal]
        elif row["case"].startswith("settled"):
            line = [f"{median['rate']:.0f}", microseconds(median["floor"]), f"{row['ratio']:.2f}"]
            line += [goal, microseconds(median["cpu"]), f"{row['cpu_ratio']:.2f}"]
        else:
            continue
        lines.append([row["case"], *line] + [""] * (6 - len(line)))
    print_table(("", "weir 1/s", "floor", "ratio", "goal", "CPU µs", "CPU/floor"), lines)
    say()
    say("Other keys' latency (µs) while the handler of one key loops until it is cut, every 0.2 s,")
    say("beside the same without it; busy: without it, while something that is not weir keeps one")
    say("core busy as the loop does. With one worker everything waits for each cut; whoever has")
    say("handlers that may loop wants two.")
    lines = []
    for row in rows:
        if row["case"].startswith("other"):
            median = row["medians"]
            line = [row["case"], microseconds(median["beside"]), microseconds(median["alone"])]
            line += [f"{row['ratio']:.2f}", " ".join(str(goal) for goal in row["goals"])]
            lines.append([*line, microseconds(median["busy"])])
    print_table(("", "beside", "alone", "ratio", "goal", "busy"), lines)
    say()
    say("Events that wait because no handler is called, of a source that cannot be paused, and a")
    say("start with all of them.")
    memory, startup = rows[-2:]
    for row, show in (
        (memory, lambda name, value: f"{int(name):,}: {value / 1024:.1f} MiB"),
        (startup, lambda name, value: f"{name} {value:.3f} s"),
    ):
        values = "  ".join(show(*item) for item in row["medians"].items())
        say(f"{row['case']}  {values}  {row['goals'][0]}")


# ---- what it costs to be seen ----


def measure_observe(build, effort):
    """{(instances, variant): {"rate": [...], "cpu": [...], "off": [...], "off cpu": [...]}}"""
    say("who looks at what flows")
    numbers = {}
    with tempfile.TemporaryDirectory(prefix="weir-bench-", dir=build) as folder:
        lines = run_program([build / "bench/bench-observe", build / "guests/bench.wasm", folder,
                             effort.observe_ms, effort.observe_rounds])
    for _, instances, variant, *values in lines:
        found = numbers.setdefault((instances, variant), {})
        for name, value in zip(("rate", "cpu", "off", "off cpu"), values):
            found.setdefault(name, []).append(float(value))
    return numbers


def observe_rows(numbers):
    rows = []
    for (instances, variant), found in numbers.items():
        share_max = OBSERVE_LOSS_MAX[variant]
        loss = statistics.median(1 - rate / off for rate, off in zip(found["rate"], found["off"]))
        rows.append({
            "case": f"{variant}, {instances}",
            "unit": "1/s",
            "medians": {name: statistics.median(values) for name, values in found.items()},
            "rounds": found,
            "ratio": loss,
            "goals": [Goal(f"≤ {share_max:.0%}", loss <= share_max)],
        })
    return rows


def print_observe(rows):
    say("What it costs to be seen: events settled a second, as above, as many workers as cores; by")
    say("metrics that are asked for each second, by the console that is open, by traces of 1 and of")
    say("100 of 100 events. loss: of events a second beside the turns before and after with nobody who")
    say("looks (median of the rounds); CPU: the time of all threads for an event, those who look too.")
    lines = []
    for row in rows:
        median = row["medians"]
        lines.append([row["case"], f"{median['rate']:.0f}", f"{median['off']:.0f}",
                      f"{row['ratio']:.1%}", str(row["goals"][0]),
                      microseconds(median["cpu"]), microseconds(median["off cpu"])])
    print_table(("", "seen 1/s", "off 1/s", "loss", "goal", "CPU µs", "off CPU µs"), lines)


# ---- all of it ----


def machine():
    model = platform.processor() or platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "model": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "engine": (ROOT / "tools/engine/version").read_text(encoding="utf-8").strip(),
        "load": os.getloadavg()[0],
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def measure(arguments, peer):
    effort = QUICK if arguments.quick else FULL
    build = arguments.build.resolve()
    rows, tables = [], []
    if arguments.only in (None, "call"):
        found = call_rows(measure_calls(build, peer, effort))
        rows += found
        tables.append(lambda: print_calls(found))
    if arguments.only in (None, "language"):
        measured, skipped = measure_languages(build, peer, effort, arguments.quick)
        languages = language_rows(measured)
        rows += languages
        tables.append(lambda: print_languages(languages, skipped))
    if arguments.only in (None, "file"):
        files = []
        places = {"disk": build}
        if os.access("/dev/shm", os.W_OK):
            places = {"tmpfs": pathlib.Path("/dev/shm"), **places}
        for place, parent in places.items():
            say(f"events of files, {place}")
            files += file_rows(place, measure_files(build, parent, effort))
        rows += files
        tables.append(lambda: print_files(files))
    if arguments.only in (None, "durable"):
        durable = durable_rows(measure_durable(build, effort))
        rows += durable
        tables.append(lambda: print_durable(durable))
    if arguments.only in (None, "observe"):
        observed = observe_rows(measure_observe(build, effort))
        rows += observed
        tables.append(lambda: print_observe(observed))
    if arguments.only in (None, "provider"):
        provided, left_out = providers.measure_providers(build, arguments.quick)
        rows += provided
        tables.append(lambda: providers.print_providers(provided, left_out))
    return rows, tables


def main():
    parser = argparse.ArgumentParser(prog="bench/run.py", description="runs the benchmarks")
    parser.add_argument("build", type=pathlib.Path, help="the folder that was built into")
    parser.add_argument("--quick", action="store_true", help="under 20 s, with rough numbers")
    parts = ["call", "language", "file", "durable", "observe", "provider"]
    parser.add_argument("--only", choices=parts, help="leave the others out")
    arguments = parser.parse_args()

    begin = time.monotonic()
    here = machine()
    if here["load"] > BUSY_LOAD:
        say(f"the machine is busy (load {here['load']:.1f}): what is measured in time is rough")
    try:
        peer, why_not = None, f"--only {arguments.only}"
        if arguments.only in (None, "call", "language"):
            peer, why_not = build_peer(may_build=not arguments.quick)
        rows, tables = measure(arguments, peer)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1

    say()
    say(f"{here['model']}, {here['cores']} cores, {here['system']}, Wasmtime {here['engine']}")
    for table in tables:
        say()
        table()
    say()
    if not peer and arguments.only in (None, "call", "language"):
        say(f"typed and tuned were skipped: {why_not}")
    goals = [goal for row in rows for goal in row["goals"]]
    met = sum(goal.is_met for goal in goals)
    path = arguments.build / "bench.json"
    for row in rows:
        row["goals"] = [goal._asdict() for goal in row["goals"]]
    report = {"machine": here, "is_quick": arguments.quick, "rows": rows}
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"{met} of {len(goals)} goals met, {time.monotonic() - begin:.0f} s; every round: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
