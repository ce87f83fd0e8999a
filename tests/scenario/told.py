# SPDX-License-Identifier: Apache-2.0
"""What handlers were told of a place, over any number of runs of weir, beside what was done there.

The handler is the guest `trace`, which prints a line for each event. Lines are read as they come and
once, so a hundred thousand of them are no trouble. Values are texts here, None is a removal.
"""

import collections
import random
import threading
import time

from harness import configuration

GAP = "dev.weir.watch.gap"
REMOVED = "dev.weir.keyvalue.deleted"
SUBSCRIPTION = "kept"
# A change that could not be made is tried again after so long, for so long.
TRY_AGAIN_S, TRIES_S = 0.02, 60


def watching(place, key="*", guest="trace", port=None, resource=None, subscription=None, host=None,
             **options):
    """A configuration: changes of the place go to the guest, under a name that stays."""
    tree = configuration(
        {guest: options},
        [{"name": SUBSCRIPTION, "watch": "place", "key": key, "guest": guest} |
         (subscription or {})], resources=(), host=host)
    tree["resources"]["place"] = place.resource(port, **(resource or {}))
    return tree


class Told:
    def __init__(self, guest="trace"):
        self.guest = guest
        self.weir, self.lines_read = None, 0
        self.events = 0  # all that came, those that came again too
        self.last = {}  # of each key, what was told last
        # Of each key, all that was told, in order; what came again, under the same id, once.
        self.values = collections.defaultdict(list)
        self.ids, self.again = set(), 0
        self.gaps = []

    def follow(self, weir):
        """From now on it is told by this weir. What the one before has said is read to the end."""
        self.take()
        self.weir, self.lines_read = weir, 0
        return weir

    def take(self):
        """Reads what has come since, and returns itself."""
        lines = self.weir.printed(self.guest, self.lines_read) if self.weir else []
        self.lines_read += len(lines)
        for line in lines:
            outcome, *attributes = line.split("\t")
            event = dict(each.split("=", 1) for each in attributes)
            if outcome == "handled":
                self.note(event)
        return self

    def note(self, event):
        if event["type"] == GAP:
            self.gaps.append(event)
            return
        self.events += 1
        key = event["subject"]
        value = None if event["type"] == REMOVED else event.get("data", "")
        self.last[key] = value
        if event["id"] in self.ids:
            self.again += 1
            return
        self.ids.add(event["id"])
        self.values[key].append(value)

    def lacks(self, there, keys):
        """Which of the keys were not told as they are `there`: the first few, for people. A key
        that is gone may never have been told."""
        self.take()
        wanted = {key: value.decode() for key, value in there.items()}
        return [(key, wanted.get(key), self.last.get(key)) for key in keys
                if wanted.get(key) != self.last.get(key)][:10]

    def wait(self, there, keys=None, what="the last value of each key"):
        """Waits until each key, of these or of all, was told as it is there."""
        def lacks():
            return self.lacks(there, keys or there.keys() | self.take().last.keys())

        self.weir.wait_for(lambda: not lacks(), lambda: f"{what}: {lacks()}")

    def check(self, place, done):
        """What was done to the place, as `Writer.done` has it, is what was told."""
        self.wait(place.read() if place.has_values else last_of(done), done.keys())
        if place.is_every_change:
            self.take()
            for key, values in done.items():
                told, done_to_it = without_repeats(self.values[key]), without_repeats(values)
                assert told == done_to_it, f"{key} was told {told}, and was {done_to_it}"


def do(place, done, *changes):
    """Makes these changes, of texts, and adds them to what was done."""
    place.change(*((key, None if value is None else value.encode()) for key, value in changes))
    for key, value in changes:
        done[key].append(value)


def last_of(done):
    return {key: values[-1].encode() for key, values in done.items()
            if values and values[-1] is not None}


def without_repeats(values):
    """A change of which nobody knows whether it was made is made again: twice the same in a row."""
    return [value for number, value in enumerate(values) if number == 0 or value != values[number - 1]]


class Writer(threading.Thread):
    """Changes keys of a place, one after the other, until it is stopped; what cannot be done
    because the server is away is tried again until it can. Each value is another one."""

    def __init__(self, place, keys=20, removals=True, pause_s=0.001, seed=1, prefix="key"):
        super().__init__(daemon=True)
        self.place, self.pause_s = place, pause_s
        self.random = random.Random(seed)
        self.keys = [f"{prefix}-{number}" for number in range(keys)]
        self.removals = removals and place.has_values
        self.done = collections.defaultdict(list)  # of each key its values, in order
        self.count = 0
        self.failure = None
        self.is_stopped = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self):
        try:
            while not self.is_stopped.is_set():
                self.write()
        except Exception as failure:  # told by stop()
            self.failure = failure

    def write(self):
        """With one connection, for as long as it holds."""
        until_s = time.monotonic() + TRIES_S
        change = None
        while not self.is_stopped.is_set() or change:
            try:
                with self.place.connect() as client:
                    while change or not self.is_stopped.is_set():
                        change = change or self.next_change()
                        client.change([change])
                        self.note(*change)
                        change, until_s = None, time.monotonic() + TRIES_S
                        self.is_stopped.wait(self.pause_s)
            except self.place.errors:
                if time.monotonic() > until_s:
                    raise
                time.sleep(TRY_AGAIN_S)

    def next_change(self):
        key = self.random.choice(self.keys)
        values = self.done[key]
        if self.removals and values and values[-1] is not None and self.random.random() < 0.1:
            return key, None
        return key, f"{key} {self.count}".encode()

    def note(self, key, value):
        self.done[key].append(None if value is None else value.decode())
        self.count += 1

    def wait_count(self, weir, more):
        """Waits until it has made so many more changes."""
        wanted = self.count + more
        weir.wait_for(lambda: self.count >= wanted or self.failure,
                      f"{more} more changes by the writer", even_if_ended=True)

    def stop(self):
        self.is_stopped.set()
        self.join()
        if self.failure:
            raise self.failure
