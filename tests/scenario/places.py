# SPDX-License-Identifier: Apache-2.0
"""The places in which keys change: one class for each provider and mode of it.

A `Place` says what weir is to know of it (`resource`), what it promises, and how somebody else's
client, who knows nothing of weir, changes and reads it: os, sqlite3, redis-py, psycopg, nats-py. So
one scenario is told of all of them, and only the configuration differs.

A change is a pair of a key and its new value, in bytes; the value None removes the key. Where a
place has no values but messages, a change is a message under that key, and nothing is removed.
"""

import asyncio
import contextlib
import os
import sqlite3

import pytest

from harness import DEADLINE_S
from servers import Nats, Postgres, Redis

# A server that is away is noticed about so soon; for the defaults scenarios would have to wait.
NOTICED_S = 1
# Messages that the client of NATS has sent and that are not confirmed yet.
UNCONFIRMED_MAX = 1000


class Place:
    """A place of one test, with nothing in it. `server`: None where it is on this machine."""

    name = kind = server_class = None
    server_options = {}
    # Each change is told, and not only the last one of each key.
    is_every_change = False
    # Keys have values, which guests and clients can set, read and remove; else there are messages.
    has_values = True
    # What is missed is found by comparison, so that no history can be lost; else a gap is told.
    compares = False
    # weir makes something there to watch it.
    has_leftovers = True
    # What its client says where the server is away.
    errors = (OSError,)
    # Options by which a server that is silent is noticed soon, and how soon that is.
    impatient, noticed_s = {"timeout": f"{NOTICED_S}s"}, 2 * NOTICED_S

    def __init__(self, root, server=None):
        self.root, self.server = root, server
        self.prepare()

    def prepare(self):
        """Makes what must be there before anything can be changed; also after a wipe."""

    def options(self, port):
        """The lines of the configuration beside `kind`."""
        raise NotImplementedError

    def resource(self, port=None, **more):
        """What weir is to know. `port`: that of a proxy before the server."""
        return {"kind": self.kind} | self.options(port) | more

    def connect(self):
        """A client: a context with `change(changes)`, which returns when all are confirmed, and
        `read()`, which returns what is there: a dict of keys to values, or to last messages."""
        raise NotImplementedError

    def change(self, *changes):
        with self.connect() as client:
            client.change(changes)

    def read(self):
        with self.connect() as client:
            return client.read()

    def set(self, key, value):
        self.change((key, value if isinstance(value, bytes) else value.encode()))

    def remove(self, *keys):
        self.change(*((key, None) for key in keys))

    def leftovers(self):
        """What is there of weir's own making, as texts."""
        return []


# ---- on this machine ----


class FilePlace(Place):
    """A directory."""

    name = kind = "file"
    compares = True
    has_leftovers = False
    impatient = {}

    def prepare(self):
        self.folder = self.root / "place"
        self.folder.mkdir(exist_ok=True)

    def options(self, port):
        return {"path": str(self.folder)}

    @contextlib.contextmanager
    def connect(self):
        yield FileClient(self.folder)


def read_folder(folder):
    """The files of a directory by their keys. What goes meanwhile is not among them."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.name.startswith("."):
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


class FileClient:
    def __init__(self, folder):
        self.folder = folder

    def change(self, changes):
        for key, value in changes:
            path = self.folder / key
            if value is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.new")
            beside.write_bytes(value)
            os.rename(beside, path)

    def read(self):
        return read_folder(self.folder)


class SqlitePlace(Place):
    """A table of a database file."""

    name = kind = "sqlite"
    is_every_change = True
    errors = (OSError, sqlite3.OperationalError)
    impatient = {}

    @property
    def path(self):
        return self.root / "place.db"

    def prepare(self):
        with self.connect() as client:
            client.connection.executescript(
                "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS"
                " place (key TEXT PRIMARY KEY NOT NULL, value BLOB)")

    def options(self, port):
        return {"path": str(self.path), "kv": "place", "install": True}

    @contextlib.contextmanager
    def connect(self):
        # Each statement is a transaction of its own.
        connection = sqlite3.connect(self.path, DEADLINE_S, isolation_level=None)
        # What is lost with the machine's power is not what is tried here.
        connection.execute("PRAGMA synchronous = OFF")
        with contextlib.closing(connection):
            yield SqliteClient(connection)

    def leftovers(self):
        with self.connect() as client:
            return [name for name, in client.connection.execute(
                "SELECT name FROM sqlite_schema WHERE name LIKE '%weir%'")]


class SqliteClient:
    def __init__(self, connection):
        self.connection = connection

    def change(self, changes):
        with self.transaction(len(changes) > 1):
            for key, value in changes:
                if value is None:
                    self.connection.execute("DELETE FROM place WHERE key = ?", (key,))
                else:
                    self.connection.execute(
                        "INSERT INTO place VALUES (?, ?) ON CONFLICT (key)"
                        " DO UPDATE SET value = excluded.value", (key, value))

    @contextlib.contextmanager
    def transaction(self, is_wanted):
        if is_wanted:
            self.connection.execute("BEGIN IMMEDIATE")
        yield
        if is_wanted:
            self.connection.execute("COMMIT")

    def read(self):
        return {key: value.encode() if isinstance(value, str) else value for key, value in
                self.connection.execute("SELECT key, value FROM place")}


# ---- Redis ----


class RedisPlace(Place):
    """The keys of a database, as others set them."""

    name, kind, server_class = "redis-keys", "redis", Redis
    mode = "keys"
    compares = True
    has_leftovers = False
    impatient = {"timeout": f"{NOTICED_S}s", "ping": f"{NOTICED_S}s"}

    def options(self, port):
        return {"address": f"127.0.0.1:{port or self.server.port}", "mode": self.mode}

    @property
    def errors(self):
        from redis.exceptions import ConnectionError as RedisConnectionError
        from redis.exceptions import ReadOnlyError, TimeoutError as RedisTimeoutError

        return (OSError, RedisConnectionError, RedisTimeoutError, ReadOnlyError)

    client_class = None
    log = b"weir:log"  # which this client writes

    @contextlib.contextmanager
    def connect(self):
        with self.server.client() as connection:
            yield self.client_class(connection)

    def leftovers(self):
        with self.server.client() as connection:
            return sorted(key.decode() for key in connection.scan_iter(count=1000)
                          if key.startswith(b"weir:") and key != self.log)


class RedisClient:
    CHUNK = 1000  # changes that are sent at once

    def __init__(self, connection):
        self.connection = connection

    def change(self, changes):
        for begin in range(0, len(changes), self.CHUNK):
            pipeline = self.connection.pipeline(transaction=False)
            for key, value in changes[begin:begin + self.CHUNK]:
                self.put(pipeline, key, value)
            pipeline.execute()

    def put(self, pipeline, key, value):
        if value is None:
            pipeline.delete(key)
        else:
            pipeline.set(key, value)

    def keys(self, kind):
        return [key for key in self.connection.scan_iter(count=10_000, _type=kind)
                if not key.startswith(b"weir:")]

    def read(self):
        values = {}
        keys = self.keys("string")
        for begin in range(0, len(keys), self.CHUNK):
            some = keys[begin:begin + self.CHUNK]
            values |= {key.decode(): value for key, value in zip(some, self.connection.mget(some))
                       if value is not None}
        return values


class RedisLogClient(RedisClient):
    """As the page of the provider tells other programs to write: the value and its entry in the
    log at once."""

    def change(self, changes):
        for begin in range(0, len(changes), self.CHUNK):
            pipeline = self.connection.pipeline(transaction=True)
            for key, value in changes[begin:begin + self.CHUNK]:
                self.put(pipeline, key, value)
            pipeline.execute()

    def put(self, pipeline, key, value):
        if value is None:
            pipeline.xadd("weir:log", {"op": "del", "key": key})
        else:
            pipeline.xadd("weir:log", {"op": "set", "key": key, "value": value})
        super().put(pipeline, key, value)


class RedisStreamsClient(RedisClient):
    def put(self, pipeline, key, value):
        pipeline.xadd(key, {"data": value})

    def read(self):
        return {key.decode(): self.connection.xrevrange(key, count=1)[0][1][b"data"]
                for key in self.keys("stream")}


class RedisLogPlace(RedisPlace):
    """Keys whose every change is in a stream."""

    name, mode = "redis-log", "log"
    is_every_change = True
    compares = False
    client_class = RedisLogClient


class RedisStreamsPlace(RedisPlace):
    """Streams, each a key, and their entries."""

    name, mode = "redis-streams", "streams"
    is_every_change = True
    compares = False
    has_leftovers = True
    has_values = False
    client_class = RedisStreamsClient

    def leftovers(self):
        with self.server.client() as connection:
            groups = [group["name"].decode()
                      for key in connection.scan_iter(count=1000, _type="stream")
                      for group in connection.xinfo_groups(key)]
        return super().leftovers() + groups


RedisPlace.client_class = RedisClient


# ---- PostgreSQL ----


class PostgresPlace(Place):
    """A table."""

    name, kind, server_class = "postgres", "postgres", Postgres
    is_every_change = True
    noticed_s = 60

    @property
    def errors(self):
        from psycopg import OperationalError

        return (OSError, OperationalError)

    def prepare(self):
        with self.connect() as client:
            client.connection.execute(
                "CREATE TABLE place (key bytea PRIMARY KEY, value bytea NOT NULL)")

    def options(self, port):
        return {"address": f"127.0.0.1:{port or self.server.port}/{self.server.database}",
                "user": self.server.user, "kv": "place"}

    @contextlib.contextmanager
    def connect(self):
        with contextlib.closing(self.server.client()) as connection:
            yield PostgresClient(connection)

    def leftovers(self):
        questions = {
            "slot": "SELECT slot_name FROM pg_replication_slots",
            "publication": "SELECT pubname FROM pg_publication",
            "trigger": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
            "table": "SELECT relname FROM pg_class WHERE relname LIKE '%weir%'",
        }
        with self.connect() as client:
            return [f"{what} {name}" for what, sql in questions.items()
                    for name, in client.connection.execute(sql)]


class PostgresClient:
    SET = ("INSERT INTO place VALUES (%s, %s) ON CONFLICT (key) DO UPDATE"
           " SET value = excluded.value")
    REMOVE = "DELETE FROM place WHERE key = %s"

    def __init__(self, connection):
        self.connection = connection

    def change(self, changes):
        if len(changes) == 1:
            self.put(*changes[0])
            return
        with self.connection.transaction(), self.connection.pipeline():
            for key, value in changes:
                self.put(key, value)

    def put(self, key, value):
        if value is None:
            self.connection.execute(self.REMOVE, (key.encode(),))
        else:
            self.connection.execute(self.SET, (key.encode(), value))

    def read(self):
        return {key.decode(): value for key, value in
                self.connection.execute("SELECT key, value FROM place")}


class PostgresOutboxPlace(PostgresPlace):
    """A table to which rows are only added, each a message under its key."""

    name = "postgres-outbox"
    has_values = False
    has_leftovers = False
    noticed_s = 3 * NOTICED_S

    def prepare(self):
        with self.connect() as client:
            client.connection.execute(
                "CREATE TABLE place (id bigint GENERATED ALWAYS AS IDENTITY,"
                " xid xid8 NOT NULL DEFAULT pg_current_xact_id(), key bytea NOT NULL,"
                " payload bytea, attributes jsonb, PRIMARY KEY (xid, id))")
            client.connection.execute(
                "CREATE FUNCTION wake() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM pg_notify('place', ''); RETURN NULL; END $$")
            client.connection.execute("CREATE TRIGGER wake AFTER INSERT ON place"
                                      " FOR EACH STATEMENT EXECUTE FUNCTION wake()")

    def options(self, port):
        options = super().options(port)
        del options["kv"]
        return options | {"outbox": "place", "key_column": "key", "payload_column": "payload",
                          "attributes_column": "attributes"}

    @contextlib.contextmanager
    def connect(self):
        with contextlib.closing(self.server.client()) as connection:
            yield PostgresOutboxClient(connection)

    def leftovers(self):
        return [each for each in super().leftovers() if each != "trigger wake"]


class PostgresOutboxClient(PostgresClient):
    SET = "INSERT INTO place (key, payload) VALUES (%s, %s)"

    def read(self):
        return {key.decode(): value for key, value in self.connection.execute(
            "SELECT DISTINCT ON (key) key, payload FROM place ORDER BY key, xid DESC, id DESC")}


# ---- NATS ----


class NatsPlace(Place):
    """A key-value bucket of JetStream, which keeps the last value of each key."""

    name, kind, server_class = "nats-kv", "nats", Nats
    server_options = {"config": "max_payload: 16MB"}
    noticed_s = 10 + NOTICED_S
    subjects, stream = "$KV.place.", "KV_place"

    @property
    def errors(self):
        import nats.errors
        from nats.js.errors import APIError

        return (OSError, nats.errors.Error, APIError, asyncio.TimeoutError)

    def prepare(self):
        async def make(_, jetstream):
            await jetstream.create_key_value(bucket="place")

        self.server.run(make)

    def options(self, port):
        return {"server": f"127.0.0.1:{port or self.server.port}", "bucket": "place"}

    @contextlib.contextmanager
    def connect(self):
        client = NatsClient(self)
        with contextlib.closing(client):
            yield client

    def leftovers(self):
        async def look(_, jetstream):
            consumers = await jetstream.consumers_info(self.stream)
            return [f"consumer {each.name}" for each in consumers if "weir" in each.name]

        return self.server.run(look)


class NatsClient:
    """A connection whose tasks run while something is asked of it."""

    def __init__(self, place):
        import nats

        self.place = place
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)
        self.is_gone = self.loop.create_future()
        self.client = None
        try:
            self.client = self.do(nats.connect(
                place.server.url(), allow_reconnect=False, max_reconnect_attempts=1,
                reconnect_time_wait=0, connect_timeout=DEADLINE_S, error_cb=self.ignore,
                disconnected_cb=self.note_end))
            self.jetstream = self.client.jetstream(publish_async_max_pending=UNCONFIRMED_MAX)
        except BaseException:
            self.close()
            raise

    async def ignore(self, error):
        """What concerns a request is told as its answer."""

    async def note_end(self):
        if not self.is_gone.done():
            self.is_gone.set_result(None)

    def do(self, coroutine):
        return self.loop.run_until_complete(self.until_gone(coroutine))

    async def until_gone(self, coroutine):
        """Confirmations that do not come any more are waited for by nobody."""
        task = asyncio.ensure_future(coroutine)
        await asyncio.wait({task, self.is_gone}, timeout=DEADLINE_S,
                           return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        raise ConnectionError("the server is gone" if self.is_gone.done() else "no answer")

    def close(self):
        if self.client and not self.is_gone.done():
            self.do(self.client.close())
        self.loop.close()

    def change(self, changes):
        self.do(self.publish(changes))

    async def publish(self, changes):
        confirmations = []
        for key, value in changes:
            headers = {"KV-Operation": "DEL"} if value is None else None
            confirmations.append(await self.jetstream.publish_async(
                self.place.subjects + key, value or b"", headers=headers))
        for confirmation in confirmations:
            await confirmation

    def read(self):
        return self.do(self.last())

    async def last(self):
        """The last message of each subject, less those that say that a key is gone."""
        last = {}
        left = (await self.jetstream.stream_info(self.place.stream)).state.messages
        subscription = await self.jetstream.subscribe(
            self.place.subjects + ">", stream=self.place.stream, ordered_consumer=True)
        while left:
            message = await subscription.next_msg(DEADLINE_S)
            key = message.subject.removeprefix(self.place.subjects)
            last[key] = None if "KV-Operation" in (message.headers or {}) else message.data
            left = message.metadata.num_pending
        await subscription.unsubscribe()
        return {key: value for key, value in last.items() if value is not None}


class NatsStreamPlace(NatsPlace):
    """A stream, each subject of it a key."""

    name = "nats-stream"
    is_every_change = True
    has_values = False
    subjects, stream = "place.", "place"

    def prepare(self):
        async def make(_, jetstream):
            await jetstream.add_stream(name=self.stream, subjects=[self.subjects + ">"])

        self.server.run(make)

    def options(self, port):
        return {"server": f"127.0.0.1:{port or self.server.port}", "stream": self.stream,
                "prefix": self.subjects}


PLACES = [FilePlace, SqlitePlace, RedisPlace, RedisLogPlace, RedisStreamsPlace, PostgresPlace,
          PostgresOutboxPlace, NatsPlace, NatsStreamPlace]


def on(condition=lambda place: True):
    """Marks a test that is about the places for which the condition is true."""
    return pytest.mark.parametrize("place", [each for each in PLACES if condition(each)],
                                   ids=lambda each: each.name, indirect=True)


def has_server(place):
    return place.server_class is not None


def is_elsewhere(place):
    """`weir check --connect` has something to try."""
    return place.kind != "file"


def has_values(place):
    return place.has_values
