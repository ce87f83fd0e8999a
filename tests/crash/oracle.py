# SPDX-License-Identifier: Apache-2.0
"""Compares what writers did with what handlers saw, over any number of runs of weir.

Pure: it is given a history and returns what is wrong with it, a line each. What may be wrong, and
what each rule is called in such a line:

loss        the last state of a key did not reach the handler, or not the last store
foreign     an event of a value that nobody wrote, or of a source or key that there is not
swap        a key went backwards: within a run, or below what was settled before
twice       something came again that was settled, which no crash excuses
id          one state under two ids, or two states under one
derived     an event that should have followed from another did not come, came without a cause, or
            does not name it rightly
slept       nothing came after a start that had happened before it: the run proves nothing

What is settled is not visible from outside, but what follows from it is: an event is published only
after its cause is durable. So what has arrived at the next stage was settled at this one, and with
it everything of the same key that the same run handled before. An orderly stop settles all that was
handled. What was published and not yet noted when weir was killed is published once more: only the
first stage, whose source is a store, is never told again what was settled.

A stage is one handler in a chain: each but the last returns an event for the next. The last one may
watch the store that the chain writes to; what it is told are states of that store, copies.

A state is one value of a key, or its absence: a place in the list of what was done to the key.
"""

import bisect
import collections
import dataclasses

SET, DELETED = "dev.weir.keyvalue.set", "dev.weir.keyvalue.deleted"
# Attributes that say something of one delivery and not of the event.
OF_A_DELIVERY = {"+attempt", "+snapshot", "at"}
# What a stage says of a deletion to the next one: this, and the id.
GONE = "gone "


@dataclasses.dataclass
class Write:
    """One thing that was done to a key. `was_done`: it is known to have been finished."""
    key: str
    value: str | None  # None: it was removed
    was_done: bool = True


@dataclasses.dataclass
class Delivery:
    """One event at one handler."""
    stage: str
    was_handled: bool
    event: dict  # attributes by name, extensions with a "+" before it
    line: int = 0

    @property
    def id(self):
        return self.event.get("id", "")

    @property
    def key(self):
        return self.event.get("subject", "")


@dataclasses.dataclass
class Run:
    """One process of weir."""
    number: int
    deliveries: list
    was_orderly: bool = False  # it was told to stop, and did
    # Of each key, how many of its writes were done before the process was started.
    written_before: dict = dataclasses.field(default_factory=dict)
    ended_s: float | None = None  # of the wall clock, if it was killed


@dataclasses.dataclass
class History:
    stages: list  # the first one watches what the writers write
    copies: str | None  # the stage that watches the store at the end of the chain
    source: str  # of the first stage's events
    writes: list
    runs: list
    final: dict  # key to value: what the writers left
    copied: dict | None = None  # the same in the store at the end of the chain
    # What was handled that long before a kill does not come again. None: not looked at.
    repeat_window_s: float | None = None


class States:
    """What the keys went through: each state's place in the life of its key."""

    def __init__(self, writes):
        self.values = collections.defaultdict(list)  # of each key, in order; None: absent
        self._places = {}
        for write in writes:
            values = self.values[write.key]
            if write.value is not None:
                self._places[write.key, write.value] = len(values)
            values.append(write.value)
        self._gaps = {key: [place for place, value in enumerate(values) if value is None]
                      for key, values in self.values.items()}
        self.told = {}  # id of an event to the place that it told

    def of_value(self, key, value):
        return self._places.get((key, value))

    def of_deletion(self, key, event_id):
        """The first removal after the value that went, which the id names."""
        suffix = "-deleted"
        gaps = self._gaps.get(key, [])
        if not event_id.endswith(suffix) or not gaps:
            return None
        before = self.told.get(event_id[:-len(suffix)])
        if before is None:
            return None
        at = bisect.bisect_right(gaps, before)
        return gaps[at] if at < len(gaps) else None

    def of(self, event):
        """The place of an event, at whatever stage; None: nobody wrote that."""
        key, value = event.get("subject", ""), event.get("data")
        if event.get("type") == DELETED:
            return self.of_deletion(key, event.get("id", ""))
        if value is None:
            return None
        if value.startswith(GONE):
            return self.of_deletion(key, value[len(GONE):])
        return self.of_value(key, value)


def check(history):
    """What is wrong with the history, a line each; and what it has covered, by name."""
    return _Check(history).run()


class _Check:
    def __init__(self, history):
        self.history = history
        self.states = States(history.writes)
        self.problems = []
        self.covered = collections.Counter()
        self.bodies, self.ids = {}, {}
        # Of each stage: key to the place that is known to be settled, and by an orderly stop.
        self.settled = {stage: {} for stage in history.stages}
        self.stopped = {stage: {} for stage in history.stages}
        # Of each stage but the first: the places of each key that arrived there.
        self.arrived = {stage: collections.defaultdict(set) for stage in history.stages}
        self.last = {stage: {} for stage in history.stages}  # key to the last place handled
        self.causes = {stage: {} for stage in history.stages}  # id to the event
        self.derived_ids = {}
        self.went = {}  # (key, place of a removal) to the place of the value that went
        self.orderly = {run.number for run in history.runs if run.was_orderly}
        self.run_of = {stage: {} for stage in history.stages}  # (key, place) to the last run
        # Of each stage: (run, key) to what was handled, in order.
        self.handled = {stage: collections.OrderedDict() for stage in history.stages}
        # Of each stage: id to the run that handled it last, and when.
        self.handled_in = {stage: {} for stage in history.stages}

    def run(self):
        for run in self.history.runs:
            self._run(run)
        for stage, after in zip(self.history.stages, self.history.stages[1:]):
            self._followers(stage, after)
        self._final()
        if not self.covered["caught up"]:
            self._tell("slept", "no event came after a start that had happened before it")
        return self.problems, self.covered

    def _tell(self, rule, text, run=None, delivery=None):
        where = f" (run {run.number}" if run else ""
        where += f", {delivery.stage}, line {delivery.line})" if delivery else ")" if run else ""
        self.problems.append(f"{rule}: {text}{where}")

    # ---- one run ----

    def _run(self, run):
        at = {stage: {} for stage in self.history.stages}  # key to the place of the last delivery
        # Of ids, how often this run has handled them.
        done = {stage: collections.Counter() for stage in self.history.stages}
        for delivery in run.deliveries:
            self.covered["deliveries"] += 1
            place = self._identify(run, delivery)
            if place is None:
                continue
            stage, key = delivery.stage, delivery.key
            self._order(run, delivery, place, at[stage].get(key))
            at[stage][key] = max(place, at[stage].get(key, -1))
            if done[stage][delivery.id]:
                self._repeat(run, delivery, place, done[stage][delivery.id])
            self._arrive(stage, key, place)
            if delivery.was_handled:
                done[stage][delivery.id] += 1
                self._handle(run, delivery, place)
        if run.was_orderly:
            for stage in self.history.stages:
                for key, places in self._handled_in(stage, run):
                    self._settle(stage, key, max(places))
                    self.stopped[stage][key] = max(places)

    def _handled_in(self, stage, run):
        return [(key, places) for (number, key), places in self.handled[stage].items()
                if number == run.number]

    def _identify(self, run, delivery):
        """Its place, with everything about it but the order; None: it has none."""
        event = delivery.event
        is_first = delivery.stage == self.history.stages[0]
        if is_first and event.get("source") != self.history.source:
            self._tell("foreign", f"the source {event.get('source')!r}", run, delivery)
        place = self.states.of(event)
        if place is None:
            self._tell("foreign", f"nobody wrote {event.get('data')!r} ({event.get('type')}) to "
                       f"{delivery.key!r}, id {delivery.id!r}", run, delivery)
            return None
        self._same(run, delivery, place)
        if is_first:
            self.states.told.setdefault(delivery.id, place)
            if event.get("type") == DELETED:
                self.went[delivery.key, place] = self.states.told.get(
                    delivery.id.removesuffix("-deleted"))
            if event.get("type") == SET and place < run.written_before.get(delivery.key, 0):
                self.covered["caught up"] += 1
        elif not self._is_copy(delivery):
            self._derived(run, delivery)
        return place

    def _same(self, run, delivery, place):
        """One state has one id, and one id one content."""
        stage = delivery.stage
        ignored = OF_A_DELIVERY | ({"time"} if delivery.event.get("type") == DELETED else set())
        body = {name: value for name, value in delivery.event.items() if name not in ignored}
        before = self.bodies.setdefault((stage, delivery.id), body)
        if before != body:
            differs = {name: (before.get(name), body.get(name)) for name in before | body
                       if before.get(name) != body.get(name)}
            self._tell("id", f"{delivery.id!r} is not what it was: {differs}", run, delivery)
        # A removal is told by the value that went, and which one weir knew of last may differ.
        if not self._is_copy(delivery) and self.states.values[delivery.key][place] is not None:
            first = self.ids.setdefault((stage, delivery.key, place), delivery.id)
            if first != delivery.id:
                self._tell("id", f"the same state of {delivery.key!r} was {first!r} and is "
                           f"{delivery.id!r}", run, delivery)

    def _order(self, run, delivery, place, before):
        if self._is_copy(delivery):
            return  # an event that is published once more sets an older value for a moment
        stage, key = delivery.stage, delivery.key
        is_first = stage == self.history.stages[0]
        is_again = delivery.id in self.handled_in[stage]
        self.covered["again"] += is_again
        if before is not None and place < before and (is_first or not is_again):
            self._tell("swap", f"{key!r} went back from {self._show(key, before)} to "
                       f"{self._show(key, place)}", run, delivery)
        settled = (self.settled if is_first else self.stopped)[stage].get(key, -1)
        if place <= settled:
            self._tell("twice" if place == settled else "swap",
                       f"{key!r} is told {self._show(key, place)} though "
                       f"{self._show(key, settled)} was settled", run, delivery)
        if is_again:
            self._repeat_window(run, delivery)

    def _repeat(self, run, delivery, place, times):
        """The run before may have published it without noting that; then it comes once more."""
        if self._is_copy(delivery):
            return
        index = self.history.stages.index(delivery.stage)
        if index > 0 and times < 2:
            before = self.history.stages[index - 1]
            if self.run_of[before].get((delivery.key, place)) != run.number:
                return
        self._tell("twice", f"{delivery.id!r} was handled in this run before", run, delivery)

    def _repeat_window(self, run, delivery):
        number, when_s = self.handled_in[delivery.stage][delivery.id]
        window_s = self.history.repeat_window_s
        ended_s = {each.number: each.ended_s for each in self.history.runs}.get(number)
        if window_s is not None and ended_s and when_s and number != run.number and \
                ended_s - when_s > window_s:
            self._tell("twice", f"{delivery.id!r} was handled {ended_s - when_s:.1f} s before run "
                       f"{number} was killed, and comes again", run, delivery)

    def _is_copy(self, delivery):
        return delivery.stage == self.history.copies

    def _show(self, key, place):
        value = self.states.values[key][place]
        return f"its removal ({place})" if value is None else repr(value[-60:])

    def _arrive(self, stage, key, place):
        index = self.history.stages.index(stage)
        self.arrived[stage][key].add(place)
        if index > 0:  # so its cause is settled
            self._settle(self.history.stages[index - 1], key, place)

    def _settle(self, stage, key, place):
        self.settled[stage][key] = max(place, self.settled[stage].get(key, -1))

    def _handle(self, run, delivery, place):
        stage = delivery.stage
        self.last[stage][delivery.key] = place
        self.causes[stage][delivery.id] = delivery.event
        self.handled[stage].setdefault((run.number, delivery.key), []).append(place)
        self.handled_in[stage][delivery.id] = run.number, float(delivery.event.get("at", 0))
        self.run_of[stage][delivery.key, place] = run.number

    # ---- what follows from what ----

    def _derived(self, run, delivery):
        """An event that a handler returned: it names its cause, which was handled before."""
        before = self.history.stages[self.history.stages.index(delivery.stage) - 1]
        event, cause_id = delivery.event, delivery.event.get("+causationid")
        cause = self.causes[before].get(cause_id)
        if cause is None:
            self._tell("derived", f"{delivery.id!r} without a cause: {cause_id!r} was not handled",
                       run, delivery)
            return
        if self.states.of(cause) != self.states.of(event) or cause["subject"] != event["subject"]:
            self._tell("derived", f"{delivery.id!r} is not what follows from {cause_id!r}", run,
                       delivery)
        first = self.derived_ids.setdefault((before, cause_id), delivery.id)
        if first != delivery.id:
            self._tell("id", f"what follows from {cause_id!r} was {first!r} and is "
                       f"{delivery.id!r}", run, delivery)
        wanted = {"+correlationid": cause.get("+correlationid", cause_id),
                  "+hops": str(int(cause.get("+hops", 0)) + 1)}
        for name, value in wanted.items():
            if event.get(name) != value:
                self._tell("derived", f"{delivery.id!r} has {name[1:]} {event.get(name)!r}, not "
                           f"{value!r}", run, delivery)

    def _followers(self, stage, after):
        """Everything that was settled at this stage has arrived at the next one."""
        if after == self.history.copies:
            return  # a store keeps the last value only: the end tells
        for (number, key), places in self.handled[stage].items():
            arrived = self.arrived[after].get(key, set())
            # What was handled once more later may owe its arrival to that.
            own = [at for at, place in enumerate(places)
                   if self.run_of[stage][key, place] == number and
                   (place in arrived or number in self.orderly or self._is_final(stage, key, place))]
            for place in places[:own[-1] + 1 if own else 0]:
                self.covered["followed"] += 1
                if place not in arrived:
                    self._tell("derived", f"{self._show(key, place)} of {key!r} was settled at "
                               f"{stage} in run {number}, and nothing arrived at {after}")

    def _is_final(self, stage, key, place):
        """Whether it is what the key came to in the end, and would have been told until settled."""
        values = self.states.values[key]
        if values[-1] is not None:
            return place == len(values) - 1
        # A removal is told as long as it is known, durably, that there was something.
        went = self.went.get((key, place))
        return (values[place] is None and place == self.last[stage].get(key) and
                went is not None and not self._is_unsettled(stage, key, went))

    def _is_unsettled(self, stage, key, place):
        """Whether it may have been handled without being settled. Then nobody knows of it."""
        index = self.history.stages.index(stage)
        run = self.run_of[stage].get((key, place))
        after = self.history.stages[index + 1:index + 2]
        return run not in self.orderly and not any(place in self.arrived[each].get(key, ())
                                                   for each in after)

    # ---- the end ----

    def _final(self):
        for key, values in self.states.values.items():
            place = len(values) - 1
            value = self.history.final.get(key)
            if value != values[place]:
                self._tell("foreign", f"the store has {value!r} under {key!r}, the writers left "
                           f"{values[place]!r}")
            for stage in self.history.stages:
                self._final_of(stage, key, value, place)
            if self.history.copied is not None:
                self._final_copy(key, value, place)
        for key in (self.history.copied or {}).keys() - self.states.values.keys():
            self._tell("foreign", f"the last store has {key!r}, which nobody wrote")

    def _final_of(self, stage, key, value, place):
        last = self.last[stage].get(key)
        self.covered["keys"] += 1
        if last is None:
            if value is not None:
                self._tell("loss", f"{key!r} never came to {stage}")
        # A key that went, came and went may have been told once; and one whose coming was handled
        # and not settled may have gone before it was told again.
        elif last < place and not (value is None and (
                self.states.values[key][last] is None or self._is_unsettled(stage, key, last))):
            self._tell("loss", f"the last of {key!r} at {stage} is {self._show(key, last)}, not "
                       f"{self._show(key, place)}")

    def _final_copy(self, key, value, place):
        copy = self.history.copied.get(key)
        if value is not None:
            if copy != value:
                self._tell("loss", f"the last store has {copy!r} under {key!r}, not {value!r}")
        elif copy is not None and not (
                copy.startswith(GONE) and
                self.states.values[key][self.states.of_deletion(key, copy[len(GONE):]) or 0] is None
        ):
            self._tell("loss", f"the last store has {copy!r} under {key!r}, which was removed")
