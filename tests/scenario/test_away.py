# SPDX-License-Identifier: Apache-2.0
"""weir stops, the server stops, the network does what networks do: afterwards nothing is missing.

What must arrive is told by somebody else's client: what it reads in the end is what the handler was
told last of each key, and where each change is promised, the handler was told each, in order.
"""

import collections
import json
import os
import random
import re
import signal
import time

import pytest

import crash
from harness import HAS_STEPS, SLACK_S, configuration
from places import has_server, has_values, on
from told import Told, Writer, do, watching

# How long a server stands still; a minute by hand.
PAUSE_S = float(os.environ.get("WEIR_PAUSE_S", "3"))
# Silence that takes longer to be noticed is not waited for; all of it is by hand, with a pause that
# is longer.
PATIENCE_S = max(15, PAUSE_S)
# A round trip through a slow network takes twice that.
DELAY_S = 0.05
ROUNDS = 3
CHANGES = 100  # of the writer in a round


def start(site, config, *arguments):
    weir = site.run(config, *arguments)
    weir.wait_listening()
    return weir


def impatient(place, **more):
    """A configuration that notices soon that a server is silent."""
    return watching(place, resource=place.impatient, **more)


def connection(site, name="place"):
    status = json.loads(site.command("status", "weir.yaml", "--json").stdout)
    return next((each for each in status["resources"] if each["name"] == name), {})


def wait_away(site, weir, why=""):
    """Waits until weir says that the server is away, and why."""
    def is_away():
        now = connection(site)
        return now.get("is_connected") is False and now["error"] and why in now["error"]

    weir.wait_for(is_away, lambda: f"an end of the connection, {why}: {connection(site)}")


def wait_silence(site, weir, place):
    """Waits until weir has noticed that the server is silent. Returns whether it was to."""
    if place.noticed_s < PATIENCE_S:
        wait_away(site, weir)
    return place.noticed_s < PATIENCE_S


def wait_back(site, weir):
    weir.wait_for(lambda: connection(site)["is_connected"], "a connection")
    assert connection(site)["error"] is None
    assert connection(site)["reconnects_total"] > 0


def stop_and_check(told, place, done):
    """Nothing is left for the next weir; nothing was said to be failing."""
    told.check(place, done)
    assert told.weir.stop() == 0
    told.check(place, done)
    assert not told.gaps


# ---- weir stops ----


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_changed_while_weir_was_down_is_told(site, place, end):
    told, done = Told(), collections.defaultdict(list)
    place.change(("same", b"before"), ("changed", b"before"), ("removed", b"before"))
    told.follow(start(site, watching(place)))
    do(place, done, ("changed", "1"), ("removed", "1"), ("other", "1"))
    told.wait({key: b"1" for key in ("changed", "removed", "other")})
    assert "same" not in told.last
    getattr(told.weir, end)()
    do(place, done, ("changed", "2"), ("new", "1"), ("changed", "3"), ("folder/new", "1"))
    if place.has_values:
        do(place, done, ("removed", None))
    told.follow(start(site, watching(place)))
    stop_and_check(told, place, done)
    assert "same" not in told.last
    if end == "stop":
        assert told.again == 0, "once each"


def test_killed_again_and_again_under_load(site, place):
    told = Told()
    told.follow(start(site, watching(place)))
    with Writer(place) as writer:
        for _ in range(ROUNDS):
            writer.wait_count(told.weir, CHANGES)
            told.weir.kill()
            writer.wait_count(told.weir, CHANGES // 10)
            told.follow(start(site, watching(place)))
    stop_and_check(told, place, writer.done)


@pytest.mark.skipif(not HAS_STEPS, reason="this build has no steps to die at")
@pytest.mark.timeout(180)
def test_killed_at_each_step_under_load(site, place):
    """What is told goes on to a directory, so that each step of the way is passed."""
    copy = site.directory("copy")
    config = watching(place, subscription={"to": "copy"})
    config["resources"]["copy"] = {"kind": "file", "path": str(copy)}
    told, chance = Told(), random.Random(1)
    assert start(site, config).stop() == 0  # from here on each change is to be told
    with Writer(place) as writer:
        for step in crash.STEPS:
            passing = chance.randint(1, 5)
            weir = told.follow(site.run(config, env={"WEIR_DIE_AT": f"{step}:{passing}"}))
            weir.wait_for(weir.has_ended, f"its death at {step}", even_if_ended=True)
        told.follow(start(site, config))
        writer.wait_count(told.weir, CHANGES)
    told.check(place, writer.done)
    there = {key: value for key, value in told.last.items() if value is not None}
    told.weir.wait_for(lambda: {key: (copy / key).read_text(encoding="utf-8") for key in there
                                if (copy / key).exists()} == there,
                       "a copy of each key's last value")
    stop_and_check(told, place, writer.done)


# ---- the server stops ----


@on(has_server)
@pytest.mark.parametrize("way", ["restart", "kill"])
def test_a_server_that_comes_back(site, place, way):
    told = Told()
    told.follow(start(site, impatient(place)))
    with Writer(place) as writer:
        for _ in range(ROUNDS):
            writer.wait_count(told.weir, CHANGES)
            getattr(place.server, way)()
            place.server.start()
        writer.wait_count(told.weir, CHANGES)
        wait_back(site, told.weir)
    stop_and_check(told, place, writer.done)


@on(has_server)
def test_status_says_since_when_a_server_is_away_and_why(site, place):
    told, done = Told(), collections.defaultdict(list)
    told.follow(start(site, impatient(place)))
    assert connection(site) == connection(site) | {
        "name": "place", "kind": place.kind, "is_connected": True, "reconnects_total": 0,
        "error": None}
    place.server.kill()
    wait_away(site, told.weir, "refused")
    assert connection(site)["since"]
    text = site.command("status", "weir.yaml").stdout.decode()
    assert "AWAY" in text
    place.server.start()
    do(place, done, ("key", "1"))
    wait_back(site, told.weir)
    stop_and_check(told, place, done)


@on(has_server)
def test_a_server_that_stands_still(site, place):
    """It keeps its connections and answers nothing: weir notices, and answers itself."""
    told = Told()
    told.follow(start(site, impatient(place)))
    with Writer(place) as writer:
        writer.wait_count(told.weir, CHANGES)
        place.server.pause()
        paused_s = time.monotonic()
        is_noticed = wait_silence(site, told.weir, place)
        time.sleep(max(paused_s + PAUSE_S - time.monotonic(), 0))  # that long it is to take
        place.server.resume()
        writer.wait_count(told.weir, CHANGES)
        if is_noticed:
            wait_back(site, told.weir)
    stop_and_check(told, place, writer.done)


@on(has_server)
@pytest.mark.parametrize("way", ["kill", "pause"])
def test_weir_stops_at_once_while_the_server_is_away(site, place, way):
    told, done = Told(), collections.defaultdict(list)
    told.follow(start(site, impatient(place)))
    do(place, done, ("key", "1"))
    told.check(place, done)
    getattr(place.server, way)()
    wait_away(site, told.weir) if way == "kill" else wait_silence(site, told.weir, place)
    before_s = time.monotonic()
    assert told.weir.stop() == 0
    assert time.monotonic() - before_s < SLACK_S
    place.server.resume() if way == "pause" else place.server.start()
    do(place, done, ("key", "2"))
    told.follow(start(site, impatient(place)))
    stop_and_check(told, place, done)


@on(has_server)
def test_a_server_that_lost_everything(site, place):
    """What is gone with it cannot be told; that it is gone can, and what is there now."""
    told, done = Told(), collections.defaultdict(list)
    told.follow(start(site, impatient(place)))
    do(place, done, ("kept", "1"), ("gone", "1"))
    told.check(place, done)
    place.server.wipe()
    place.prepare()
    place.change(("kept", b"2"), ("new", b"1"))
    told.weir.wait_for(lambda: told.take().last.items() >= {("kept", "2"), ("new", "1")},
                       "what is there now")
    if place.compares:
        told.wait(place.read(), what="what is gone")
    else:
        assert told.gaps, "that changes may be missing"
        assert all("reason" in json.loads(gap["data"]) for gap in told.gaps)
    place.set("new", "2")
    told.weir.wait_for(lambda: told.take().last["new"] == "2", "what changes behind it")
    assert told.weir.stop() == 0


@on(has_server)
def test_a_server_that_was_restored(site, place):
    """It has forgotten what weir was told since the backup; what changes from then on is told.

    More changes before it than behind it: how far PostgreSQL is again tells that it was restored.
    """
    told, done = Told(), collections.defaultdict(list)
    told.follow(start(site, impatient(place)))
    do(place, done, ("kept", "1"), ("changed", "1"))
    told.check(place, done)
    place.server.save()
    for number in range(CHANGES // 5):
        do(place, done, ("changed", f"2 {number}"), ("new", str(number)))
    told.check(place, done)
    place.server.restore()
    place.change(("after", b"1"), ("changed", b"3"))
    told.weir.wait_for(lambda: told.take().last.items() >= {("after", "1"), ("changed", "3")},
                       lambda: f"what changes behind it: {told.last}")
    if place.compares:
        told.wait(place.read(), what="what is gone")
    assert told.weir.stop() == 0


@on(has_server)
def test_a_first_start_without_a_server_is_an_error(site, place):
    place.server.stop()
    weir = site.run(impatient(place))
    assert weir.wait_exit() == 1
    said = [line for line in weir.err() if str(place.server.port) in line and "refused" in line]
    assert said and "place" in said[-1], weir.err()
    # And nothing of it is left: the next one begins anew.
    place.server.start()
    place.set("key", "before")
    told, done = Told(), collections.defaultdict(list)
    told.follow(start(site, impatient(place)))
    do(place, done, ("other", "1"))
    told.wait({"other": b"1"})
    assert told.weir.stop() == 0
    assert told.take().last == {"other": "1"}


@on(has_server)
def test_a_later_start_without_a_server_waits_for_it(site, place):
    told, done = Told(), collections.defaultdict(list)
    told.follow(start(site, impatient(place)))
    do(place, done, ("key", "1"), ("other", "1"))
    told.check(place, done)
    assert told.weir.stop() == 0
    do(place, done, ("key", "2"), ("key", "3"), ("new", "1"))
    place.server.stop()
    told.follow(start(site, impatient(place)))
    wait_away(site, told.weir, "refused")
    place.server.start()
    told.check(place, done)
    assert connection(site)["is_connected"]
    stop_and_check(told, place, done)
    assert told.again == 0


# ---- the network ----


# Each returns whether weir has to have connected anew by that.


def cut(network):
    for _ in range(ROUNDS):
        network.write()
        network.proxy.cut()
    return True


def cut_in_the_middle(network):
    """Of a frame, as a rule."""
    for count in 1, 7, 100, 1000, 3000:
        resets = network.proxy.resets
        network.proxy.cut_after(count)
        network.weir.wait_for(lambda resets=resets: network.proxy.resets > resets, "a cut")
    return True


def refuse(network):
    network.proxy.refuse()
    network.proxy.cut()
    wait_away(network.site, network.weir, "refused")
    network.write()
    network.proxy.accept()
    return True


def half_open(network):
    """Nobody is told that the connection is gone."""
    network.proxy.half_open()
    network.wait_silence()
    network.write()
    network.proxy.forward()
    return True


def stall(network):
    network.proxy.stall()
    network.write()
    is_noticed = network.wait_silence()
    network.proxy.forward()
    return is_noticed


def delay(network):
    network.proxy.delay(DELAY_S)
    network.write(ROUNDS * CHANGES)
    return False


def dribble(network):
    """In pieces of a few bytes, with pauses between."""
    network.writer.pause_s = 0.03  # no more than gets through
    network.proxy.dribble(5, 0.0001)
    network.write()
    return False


FAULTS = [cut, cut_in_the_middle, refuse, half_open, stall, delay, dribble]


class Network:
    """What is between weir and a place, and who writes there."""

    def __init__(self, site, place, proxy):
        self.site, self.place, self.proxy = site, place, proxy
        self.weir = start(site, impatient(place, port=proxy.port))
        self.writer = Writer(place)

    def write(self, count=CHANGES):
        self.writer.wait_count(self.weir, count)

    def wait_silence(self):
        return wait_silence(self.site, self.weir, self.place)


@on(has_server)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__)
def test_a_bad_network(site, place, proxy_before, fault):
    network = Network(site, place, proxy_before(place.server))
    told = Told()
    told.follow(network.weir)
    with network.writer as writer:
        network.write()
        connects_anew = fault(network)
        network.write()
        if connects_anew:
            wait_back(site, network.weir)
    told.check(place, writer.done)
    assert (connection(site)["reconnects_total"] > 0) == connects_anew
    stop_and_check(told, place, writer.done)


# ---- reading and writing meanwhile ----


def publishing(place):
    """What changes in the store is published to the place, which nothing watches."""
    config = configuration({"trace": {}}, [{"key": "*", "guest": "trace", "to": "place"}])
    config["resources"]["place"] = place.resource(**place.impatient)
    return config


def reaching(site, place):
    """A guest does with the place what it is told in the store. Its answers: in the folder."""
    folder = site.directory("out")
    config = configuration({"reach": {"grants": ["place"]}},
                           [{"key": "*", "guest": "reach", "to": "out"}], resources=("store", "out"))
    config["resources"]["place"] = place.resource(**place.impatient)
    return config, folder


def never_needed(place):
    return {"name": "place", "kind": place.kind, "is_connected": None, "since": None,
            "reconnects_total": 0, "errors_total": 0, "error": None}


@on(has_server)
def test_status_tells_of_what_is_only_published_to(site, place):
    weir = start(site, publishing(place))
    assert connection(site) == never_needed(place)
    site.put("before", "1")
    weir.wait_for(lambda: place.read() == {"before": b"1"}, "what was published before")
    before = connection(site)
    assert before["is_connected"] and before["since"] and before["error"] is None
    place.server.kill()
    site.put("key", "2")
    wait_away(site, weir, "refused")
    assert connection(site)["since"] > before["since"]
    text = site.command("status", "weir.yaml").stdout.decode()
    assert re.search(r"^place .* AWAY ", text, re.MULTILINE), text
    place.server.start()
    wait_back(site, weir)
    assert connection(site)["reconnects_total"] == 1
    weir.wait_for(lambda: place.read() == {"before": b"1", "key": b"2"}, "what was published then")
    assert weir.stop() == 0


@on(lambda place: has_server(place) and has_values(place))
def test_status_tells_of_what_is_only_read(site, place):
    config, out = reaching(site, place)
    weir = start(site, config)

    def read(turn):
        site.put(turn, "get place key")
        weir.wait_for((out / turn).exists, f"what came of {turn}")

    assert connection(site) == never_needed(place)
    place.set("key", "value")
    read("one")
    assert connection(site)["is_connected"]
    place.server.kill()
    read("two")
    wait_away(site, weir, "refused")
    place.server.start()
    read("three")
    wait_back(site, weir)
    assert weir.stop() == 0


@on(has_server)
def test_what_is_published_while_the_server_is_away_gets_there(site, place):
    """The outbox keeps it, in order; what was published before is not published twice."""
    weir = start(site, publishing(place))
    site.put("before", "1")
    weir.wait_for(lambda: place.read() == {"before": b"1"}, "what was published before")
    place.server.kill()
    for number in range(20):
        site.put(f"key-{number}", str(number))
    weir.wait_traces(21)
    place.server.start()
    wanted = {f"key-{number}": str(number).encode() for number in range(20)} | {"before": b"1"}
    weir.wait_for(lambda: place.read() == wanted, "what was published meanwhile")
    assert weir.stop() == 0


@on(lambda place: has_server(place) and has_values(place))
@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_guest_that_reads_meanwhile_gets_an_error_soon(site, place, way):
    config, out = reaching(site, place)
    weir = start(site, config)

    def reach(turn, command):
        site.put(turn, command)
        weir.wait_for((out / turn).exists, f"what came of {command}")
        return (out / turn).read_text(encoding="utf-8")

    place.set("key", "value")
    assert reach("one", "get place key").strip() == b"value".hex()
    getattr(place.server, way)()
    answer = reach("two", "get place key")
    assert answer.startswith("error other: "), answer
    place.server.resume() if way == "pause" else place.server.start()
    weir.wait_for(lambda: reach(f"again-{time.monotonic_ns()}", "get place key").strip() ==
                  b"value".hex(), "an answer again")
    assert weir.stop(signal.SIGTERM) == 0
