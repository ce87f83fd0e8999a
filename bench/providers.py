# SPDX-License-Identifier: Apache-2.0
"""The part `provider`: weir beside a bare program on the same client library, server by server.

Each measure has a server of its own, which begins empty: a reader takes its place there, events are
sent, and the reader reads them. Rate: all of them wait when it is told to go. Latency: they are sent
one by one, half as many a second as weir in fresh instances reads, or a quarter of what can be sent
at once, if that is less. Readers take turns: bare, weir in fresh instances, weir in kept ones. The programs
are described at the head of bare.h and provider.c.

Servers are those of the tests (tests/scenario/servers.py). Data and the state database are in
memory: the disk would be the same for all.
"""

import contextlib
import pathlib
import shutil
import statistics
import sys
import tempfile
import typing

from shared import Asked, Failure, Goal, microseconds, print_table, run_program, say

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/scenario"))
import servers  # noqa: E402

# The goals: so much of the bare program's rate; so much later at most; with the most watches an
# event costs at most so many times what it costs with one.
RATE_RATIO_MIN = 0.8
LATER_NS_MAX = 150_000
WATCHES_RATIO_MAX = 1.2

# To begin ten thousand watches is ten thousand questions to a server.
READY_TIMEOUT_S = 300
READ_TIMEOUT_S = 150
LATENCY_EVENTS_MAX = 100_000  # EVENTS_MAX of receipt.h
# A sender that was slower than that share of its pace is told.
PACE_KEPT_MIN = 0.95


class Effort(typing.NamedTuple):
    rounds: int
    share: float  # of the events of each kind of watch
    paced_s: float
    instances: tuple
    watches: tuple  # ascending
    watch_rounds: int


FULL = Effort(3, 1.0, 1.5, ("fresh", "reuse"), (1, 100, 10_000), 2)
QUICK = Effort(1, 0.05, 0.2, ("fresh",), (1, 100), 1)


class File:
    """What SQLite has in place of a server."""

    name = "sqlite"

    def __init__(self):
        self.folder = servers.quick_folder()
        self.path = self.folder / "bench.db"

    def finish(self):
        shutil.rmtree(self.folder)


class Case(typing.NamedTuple):
    """A durable kind of watch."""

    kind: str
    mode: str  # of the bare program
    events: int
    server: type
    server_options: dict
    key: str  # what weir watches
    others: str  # how keys begin that nothing concerns
    options: tuple  # of the resource; {address} and {path} are the server's
    rate: str = "rate"  # how weir's rate is taken: see provider.c

    @property
    def name(self):
        return f"{self.kind} {self.mode}"

    def missing(self, build, kinds):
        """Why it cannot be measured, or None."""
        if self.kind not in kinds:
            return f"the provider {self.kind} is not in this build"
        if not bare_program(build, self).exists():
            return f"{bare_program(build, self).name} was not built: its client library is missing"
        program = getattr(self.server, "program", None)
        if program and not servers.find_program(program):
            return f"there is no {program} on this machine"
        return None


# Redis keeps nothing on its disk here: that would be its own time.
IN_MEMORY = {"keep": servers.NOTHING}
ADDRESS = "address={address}"
POSTGRES = (ADDRESS + "/postgres", "user=weir")
SQLITE = ("path={path}", "install=true")
CASES = (
    Case("redis", "streams", 300_000, servers.Redis, IN_MEMORY, "events", "other-",
         (ADDRESS, "mode=streams")),
    Case("redis", "log", 300_000, servers.Redis, IN_MEMORY, "key-*", "other-",
         (ADDRESS, "mode=log")),
    Case("redis", "keys", 100_000, servers.Redis, IN_MEMORY, "key-*", "other-",
         (ADDRESS, "mode=keys")),
    Case("nats", "stream", 100_000, servers.Nats, {}, "events", "other-",
         ("server={address}", "stream=bench", "prefix=bench.")),
    Case("nats", "kv", 100_000, servers.Nats, {}, "key.*", "other-",
         ("server={address}", "bucket=bench")),
    Case("postgres", "rows", 100_000, servers.Postgres, {}, "events/*", "events/-", POSTGRES,
         "resume"),
    Case("postgres", "kv", 100_000, servers.Postgres, {}, "key-*", "other-",
         (*POSTGRES, "kv=store"), "resume"),
    Case("sqlite", "rows", 200_000, File, {}, "events/*", "events/-", SQLITE),
    Case("sqlite", "kv", 200_000, File, {}, "key-*", "other-", (*SQLITE, "kv=store")),
)


def bare_program(build, case):
    return build / f"bench/bench-bare-{case.kind}"


class Place:
    """An empty server for one measure of a case, and what is done there. Ended with `with`."""

    def __init__(self, build, case):
        self.build, self.case, self.ends = build, case, contextlib.ExitStack()
        try:
            self.server = case.server(**case.server_options)
        except AssertionError as error:
            raise Failure(str(error)) from None
        self.ends.callback(self.server.finish)
        if case.kind == "sqlite":
            self.address = str(self.server.path)
        elif case.kind == "postgres":
            self.address = self.server.url()
        else:
            self.address = f"127.0.0.1:{self.server.port}"
        with self.ends:
            run_program([bare_program(build, case), "make", self.address, case.mode])
            self.ends = self.ends.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ends.close()

    def send(self, count, per_second):
        """Returns the events a second that were sent."""
        command = [bare_program(self.build, self.case), "send", self.address, self.case.mode]
        (line,) = run_program([*command, count, per_second])
        return float(line[1])

    def reader(self, measure, contender, count, others=0):
        """A reader that has taken its place."""
        if contender == "bare":
            command = [bare_program(self.build, self.case), measure, self.address, self.case.mode,
                       count]
        else:
            state = tempfile.mkdtemp(prefix="weir-bench-", dir=self.server.folder)
            address = f"127.0.0.1:{getattr(self.server, 'port', 0)}"
            options = [option.format(address=address, path=self.address)
                       for option in self.case.options]
            guest = "bench.wasm" if measure == "rate" else "bench-tell.wasm"
            measure = self.case.rate if measure == "rate" else measure
            command = [self.build / "bench/bench-provider", measure, self.build / "guests" / guest,
                       state, contender, count, self.case.kind, self.case.key, self.case.others,
                       others, *options]
        reader = self.ends.enter_context(Asked(command))
        reader.answer(READY_TIMEOUT_S)
        return reader


def read_rate(build, case, contender, count, others=0):
    """{"rate": events a second, "cpu": ns an event, "sent": events a second}"""
    with Place(build, case) as place:
        reader = place.reader("rate", contender, count, others)
        sent = place.send(count, 0)
        reader.tell("go")
        return reader.answer(READ_TIMEOUT_S) | {"sent": sent}


def read_latencies(build, case, contender, count, per_second):
    """{"p50": ns, "p99": ns, "sent": events a second}"""
    with Place(build, case) as place:
        reader = place.reader("latency", contender, count)
        sent = place.send(count, per_second)
        return reader.answer(READ_TIMEOUT_S) | {"sent": sent}


def measure_case(build, case, effort):
    """{measure: {contender: [value, ...]}}, and the events a second at which latencies were taken."""
    numbers = {}

    def note(contender, values):
        for measure, value in values.items():
            numbers.setdefault(measure, {}).setdefault(contender, []).append(value)

    events = int(case.events * effort.share)
    for turn in range(effort.rounds):
        say(f"{case.name}, {turn + 1} of {effort.rounds}")
        for contender in ("bare", *effort.instances):
            note(contender, read_rate(build, case, contender, events))
    can_send = min(statistics.median(values) for values in numbers.pop("sent").values())
    pace = int(min(statistics.median(numbers["rate"]["fresh"]) / 2, can_send / 4))
    count = min(max(int(pace * effort.paced_s), 1), LATENCY_EVENTS_MAX)
    say(f"{case.name}, latencies at {pace} a second")
    for _ in range(effort.rounds):
        for contender in ("bare", *effort.instances):
            note(contender, read_latencies(build, case, contender, count, pace))
    kept = min(statistics.median(values) for values in numbers.pop("sent").values()) / pace
    if kept < PACE_KEPT_MIN:
        say(f"{case.name}: what was sent came at {kept:.0%} of that")
    return numbers, pace


def measure_watches(build, case, effort):
    """{number of watches: [ns of processor time an event, ...]}"""
    numbers = {}
    events = int(case.events * effort.share)
    for _ in range(effort.watch_rounds):
        for count in effort.watches:
            say(f"{case.name}, {count:,} watches")
            values = read_rate(build, case, "reuse", events, count - 1)
            numbers.setdefault(str(count), []).append(values["cpu"])
    return numbers


def medians_of(contenders):
    return {name: statistics.median(values) for name, values in contenders.items()}


def case_rows(case, numbers, pace):
    rows = []
    medians = {measure: medians_of(contenders) for measure, contenders in numbers.items()}
    for instances in numbers["rate"]:
        if instances == "bare":
            continue
        # Weir and the bare program in the same round saw the same machine.
        ratio = statistics.median(
            weir / bare for weir, bare in zip(numbers["rate"][instances], numbers["rate"]["bare"]))
        later_ns = medians["p99"][instances] - medians["p99"]["bare"]
        rows.append(
            {
                "case": f"{case.name}, {instances}",
                "unit": "1/s",
                "medians": {f"{who} {measure}": medians[measure][name]
                            for who, name in (("weir", instances), ("bare", "bare"))
                            for measure in medians},
                "rounds": {f"{who} {measure}": values[name]
                           for who, name in (("weir", instances), ("bare", "bare"))
                           for measure, values in numbers.items()},
                "ratio": ratio,
                "pace": pace,
                "later_ns": later_ns,
                "goals": [Goal(f"≥ {RATE_RATIO_MIN}", ratio >= RATE_RATIO_MIN),
                          Goal(f"≤ {LATER_NS_MAX // 1000}", later_ns <= LATER_NS_MAX)],
            }
        )
    return rows


def watches_row(case, numbers):
    medians = medians_of(numbers)
    least, *_, most = medians.values()
    ratio = most / least
    return {
        "case": f"{case.name}, watches",
        "unit": "ns",
        "medians": medians,
        "rounds": numbers,
        "ratio": ratio,
        "goals": [Goal(f"≤ {WATCHES_RATIO_MAX}", ratio <= WATCHES_RATIO_MAX)],
    }


def measure_providers(build, is_quick):
    """The rows, and why some were skipped."""
    effort = QUICK if is_quick else FULL
    kinds = [line[0] for line in run_program([build / "bench/bench-provider", "kinds"])]
    rows, skipped = [], []
    for case in CASES:
        why_not = case.missing(build, kinds)
        if why_not:
            skipped.append(f"{case.name}: {why_not}")
            continue
        rows += case_rows(case, *measure_case(build, case, effort))
        rows.append(watches_row(case, measure_watches(build, case, effort)))
    return rows, skipped


def print_providers(rows, skipped):
    say("Events of servers, 100 bytes of body, read and acknowledged (medians of the rounds). bare: a")
    say("program that does nothing else, with no guest; fresh: weir with an instance for each event,")
    say("reuse: with kept ones. CPU: processor time an event of the reader, all its threads, in µs;")
    say("latency in µs from the sending to the middle of the handler, at so many events a second.")
    lines = []
    for row in rows:
        if "later_ns" in row:
            median, goals = row["medians"], [str(goal) for goal in row["goals"]]
            lines.append(
                [row["case"], f"{median['weir rate']:.0f}", f"{median['bare rate']:.0f}",
                 f"{row['ratio']:.2f}", goals[0], microseconds(median["weir cpu"]),
                 microseconds(median["bare cpu"]), f"{row['pace']}",
                 microseconds(median["weir p50"]), microseconds(median["bare p50"]),
                 microseconds(median["weir p99"]), microseconds(median["bare p99"]),
                 f"{row['later_ns'] / 1000:+.0f}", goals[1]])
    if lines:
        print_table(("", "weir 1/s", "bare 1/s", "ratio", "goal", "CPU", "bare CPU", "at 1/s", "p50",
                     "bare p50", "p99", "bare p99", "more", "goal"), lines)
        say()
        say("The processor time of an event, in µs, with so many watches on the resource, all but one of")
        say("which no event concerns.")
    watches = [row for row in rows if "later_ns" not in row]
    if watches:
        counts = list(watches[0]["medians"])
        print_table(("", *(f"{int(count):,}" for count in counts), "ratio", "goal"),
                    [[row["case"], *(microseconds(row["medians"][count]) for count in counts),
                      f"{row['ratio']:.2f}", str(row["goals"][0])] for row in watches])
    for line in skipped:
        say(f"skipped: {line}")
