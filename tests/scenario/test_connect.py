# SPDX-License-Identifier: Apache-2.0
"""`weir check --connect` says what a server lacks, and what it says mends it; `weir withdraw` leaves
nothing behind."""

import collections
import re
import shlex

import pytest

from conftest import begin_place, server_or_skip
from harness import has_kind
from places import (NatsPlace, NatsStreamPlace, PostgresPlace, SqlitePlace, has_server,
                    is_elsewhere, on)
from servers import Nats
from told import Told, do, watching

MENDING_ROUNDS_MAX = 6


def check(site, config, status=0, env=None):
    site.write_config(config)
    done = site.command("check", "--connect", "weir.yaml", status=status, env=env)
    return done.stdout.decode()


def remedies(text):
    """What is said to mend what is missing, in order."""
    return re.findall(r"^ +missing: .*\n +mend it: (.*)$", text, re.MULTILINE)


def works(site, place, config, value="1", env=None):
    """A watch of it, with that configuration, is told what changes."""
    told, done = Told(), collections.defaultdict(list)
    weir = told.follow(site.run(config, env=env))
    weir.wait_listening()
    do(place, done, (f"key-{value}", value), (f"other/key-{value}", value))
    told.check(place, done)
    assert weir.stop() == 0


# ---- check --connect ----


@on(is_elsewhere)
def test_nothing_is_missing_and_nothing_is_changed(site, place):
    place.set("key", "value")
    text = check(site, watching(place))
    assert "connections:\n  place:\n" in text and "missing:" not in text, text
    assert place.leftovers() == []
    assert place.read() == {"key": b"value"}


@on(has_server)
def test_a_server_that_is_down(site, place):
    place.server.stop()
    text = check(site, watching(place, resource=place.impatient), status=1)
    assert re.search(rf"failed: .*{place.server.port}.*refused", text), text


def test_a_directory_is_not_elsewhere(site):
    config = {"resources": {"store": {"kind": "file", "path": "./store"}}}
    assert "no resource is elsewhere" in check(site, config)


@pytest.mark.parametrize("place_class", [SqlitePlace, PostgresPlace, NatsPlace, NatsStreamPlace],
                         ids=lambda each: each.name)
def test_what_weir_makes_itself_is_not_missing(site, quick_path, servers, place_class):
    """A table, a bucket or a stream that is not there yet, and `create: true`."""
    place = begin_place(unprepared(place_class), quick_path, servers)
    config = watching(place, resource={"create": True})
    assert not remedies(check(site, config))
    works(site, place, config)


def unprepared(place_class):
    """The same without anything that has to be there."""
    return type(place_class.__name__, (place_class,), {"prepare": lambda self: None})


def test_rights_that_are_missing_in_postgres(site, quick_path, servers):
    """A user without any right gets them one after the other, by the statements that are printed."""
    place = begin_place(PostgresPlace, quick_path, servers)
    with place.server.client() as connection:
        connection.execute("CREATE ROLE plain LOGIN")
    config = watching(place, resource={"user": "plain"})
    run = []
    for _ in range(MENDING_ROUNDS_MAX):
        statements = remedies(check(site, config, status=(0, 1)))
        if not statements:
            break
        with place.server.client() as connection:
            for statement in statements:
                statement = re.sub(r"^as [^:]*: ", "", statement).partition("; or")[0]
                if re.match("[A-Z]{4,} ", statement):
                    connection.execute(statement)
                    run.append(statement)
    check(site, config)
    assert any("REPLICATION" in statement for statement in run), run
    works(site, place, config)


@on(lambda place: place.kind == "redis")
def test_rights_that_are_missing_in_redis(site, place):
    """The same, by the commands for redis-cli."""
    env = {"PASSWORD": "secret"}
    with place.server.client() as client:
        client.execute_command("ACL", "SETUSER", "plain", "on", ">secret")
    config = watching(place, resource={"user": "plain", "password": "env:PASSWORD"})
    run = []
    for _ in range(MENDING_ROUNDS_MAX):
        commands = remedies(check(site, config, status=(0, 1), env=env))
        if not commands:
            break
        with place.server.client() as client:
            for command in commands:
                words = shlex.split(re.split(" or |, and | \\(or ", command)[0])
                assert words[:4] == ["redis-cli", "ACL", "SETUSER", "plain"], command
                client.execute_command(*words[1:])
                run.append(command)
    text = check(site, config, env=env)
    assert run and "secret" not in text
    works(site, place, config, env=env)


def test_a_database_in_which_weir_may_put_nothing(site, quick_path, servers):
    place = begin_place(SqlitePlace, quick_path, servers)
    config = watching(place, resource={"install": False})
    assert remedies(check(site, config, status=1)) == ["install: true"]
    weir = site.run(config)
    assert weir.wait_exit() in (1, 2)
    assert "install" in weir.stderr.decode()
    config["resources"]["place"]["install"] = True
    assert not remedies(check(site, config))
    works(site, place, config)


class BareNats(Nats):
    """Everybody is of an account without JetStream, until that is enabled."""

    account = "{{ users: [{{user: a, password: b}}] {} }}"

    def __init__(self, **options):
        super().__init__(config=self.configured(""), **options)

    def configured(self, more):
        return f"accounts {{ A: {self.account.format(more)} }}\nno_auth_user: a"

    def enable(self):
        self.config = self.configured(", jetstream: enabled")
        self.restart()


@pytest.mark.parametrize("place_class", [NatsPlace, NatsStreamPlace], ids=lambda each: each.name)
def test_a_nats_without_jetstream_and_then_without_a_stream(site, quick_path, servers, place_class):
    if not has_kind("nats"):
        pytest.skip("this weir was built without nats")

    place = unprepared(place_class)(quick_path, server_or_skip(servers, BareNats))
    config = watching(place)
    [remedy] = remedies(check(site, config, status=1))
    assert "jetstream {}" in remedy and "enable" in remedy
    place.server.enable()
    [remedy] = remedies(check(site, config, status=1))
    assert "create: true" in remedy
    assert re.search(r"nats (kv|stream) add place\b", remedy)
    config["resources"]["place"]["create"] = True
    check(site, config)
    works(site, place, config)


# ---- withdraw ----


def test_nothing_of_weirs_is_left(site, place):
    config = watching(place)
    place.set("mine", "before")
    works(site, place, config)
    there, left = place.read(), place.leftovers()
    assert bool(left) == place.has_leftovers
    said = site.command("withdraw", "weir.yaml", "place").stdout.decode()
    assert place.leftovers() == [], said
    assert place.read() == there
    assert said.strip()
    site.command("withdraw", "weir.yaml", "place")  # and nothing is no mistake
    # A new beginning is possible.
    works(site, place, config, "2")


def test_not_while_weir_runs(site, place):
    weir = site.run(watching(place))
    weir.wait_listening()
    left = place.leftovers()
    done = site.command("withdraw", "weir.yaml", "place", status=1)
    assert b"stop it first" in done.stderr
    assert place.leftovers() == left
    assert weir.stop() == 0


@on(has_server)
def test_a_server_that_is_away_is_an_error(site, place):
    place.server.stop()
    site.write_config(watching(place, resource=place.impatient))
    done = site.command("withdraw", "weir.yaml", "place", status=(0, 1))
    if place.name == "redis-keys" and done.returncode == 0:
        return  # nothing is made there, so nobody is asked
    assert done.returncode == 1 and b"refused" in done.stderr
