#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody else's client, for tests in C: redis-py, psycopg or nats-py behind lines of JSON.

    foreign.py redis SOCKET [PASSWORD]      foreign.py postgres FOLDER PORT USER DATABASE
    foreign.py nats URL

Each line of the standard input is a request {"op": ..., ...}; each gets one line on the standard
output, {"value": ...} or {"error": TEXT}, and nothing is done before the last request is answered.
The first line says that the client is connected, or {"missing": MODULE}. It ends when its standard
input does. tests/support/foreign.h has the requests.

Bytes are base64 in both directions: arguments, parameters, keys' values and payloads, and each text
in a reply of Redis or in a row of PostgreSQL. Names, subjects and settings are texts as they are.
"""

import asyncio
import base64
import contextlib
import json
import select
import sys

LINE_BYTES_MAX = 64 << 20
# An answer that takes longer is an error. Shorter than what the test waits for.
ANSWER_S = 30
# After a server was started again, the client of NATS tries so often.
RECONNECT_S = 0.02
BYTEA = 17  # PostgreSQL's number of that type


def encoded(data):
    return base64.b64encode(data).decode("ascii")


def decoded(text):
    return base64.b64decode(text, validate=True)


def has_news(descriptor):
    """Whether an idle connection has something to read: as a rule, that it was closed."""
    return bool(select.select([descriptor], [], [], 0)[0])


class Redis:
    """One connection, on which replies are read as they are."""

    def __init__(self, socket, password=None):
        from redis.connection import UnixDomainSocketConnection

        self.connection = UnixDomainSocketConnection(
            path=socket, password=password, socket_timeout=ANSWER_S, protocol=2)

    async def connect(self):
        self.connection.connect()

    def ready(self):
        if self.connection._sock is not None and has_news(self.connection._sock.fileno()):
            self.connection.disconnect()
        self.connection.connect()  # where it is not

    def send(self, command):
        self.connection.send_command(*[decoded(argument) for argument in command])

    async def command(self, arguments):
        self.ready()
        self.send(arguments)
        return self.told(self.connection.read_response())

    async def commands(self, commands):
        """Sends all, then reads all replies. An error is told when the others are read."""
        self.ready()
        for command in commands:
            self.send(command)
        replies, first_error = [], None
        for _ in commands:
            try:
                replies.append(self.told(self.connection.read_response()))
            except self.error as error:
                first_error = first_error or error
        if first_error:
            raise first_error
        return replies

    @property
    def error(self):
        from redis.exceptions import ResponseError

        return ResponseError

    def told(self, reply):
        if isinstance(reply, bytes):
            return encoded(reply)
        if isinstance(reply, list):
            return [self.told(each) for each in reply]
        if isinstance(reply, Exception):
            raise reply
        return reply


class Postgres:
    """One connection; each request is a transaction of its own, but for BEGIN and COMMIT."""

    def __init__(self, folder, port, user, database):
        self.place = (f"host={folder} port={port} user={user} dbname={database} "
                      f"connect_timeout={ANSWER_S}")
        self.connection = None

    async def connect(self):
        import psycopg
        from psycopg.adapt import Dumper
        from psycopg.pq import Format

        class Raw(Dumper):
            """Bytes for whatever the server takes them for: a text, a bytea, jsonb …"""

            format = Format.BINARY
            oid = 0

            def dump(self, data):
                return data

        self.psycopg = psycopg
        self.connection = psycopg.connect(self.place, autocommit=True)
        self.connection.adapters.register_dumper(bytes, Raw)

    async def ready(self):
        if self.connection.closed or has_news(self.connection.fileno()):
            with contextlib.suppress(self.psycopg.OperationalError):
                self.connection.execute("")  # reads what came: a notice, or the end
        if self.connection.closed:
            await self.connect()

    def given(self, parameters):
        return [None if each is None else decoded(each) for each in parameters]

    async def sql(self, sql, parameters=()):
        await self.ready()
        with self.psycopg.RawCursor(self.connection) as cursor:
            cursor.execute(sql, self.given(parameters) or None)
            return self.rows(cursor)

    async def sql_many(self, sql, parameters):
        """The same for each list of parameters, all in one transaction, without their rows."""
        await self.ready()
        with self.psycopg.RawCursor(self.connection) as cursor:
            cursor.executemany(sql, [self.given(each) for each in parameters])

    def rows(self, cursor):
        result = cursor.pgresult
        if result is None:
            return []
        return [[self.cell(result, row, column) for column in range(result.nfields)]
                for row in range(result.ntuples)]

    def cell(self, result, row, column):
        data = result.get_value(row, column)
        if data is not None and result.ftype(column) == BYTEA:
            data = bytes.fromhex(data[2:].decode("ascii"))
        return None if data is None else encoded(data)


class Nats:
    """One connection, which comes back by itself."""

    def __init__(self, url):
        self.url = url
        self.buckets = {}

    async def connect(self):
        import nats

        # What its tasks in the background stumble over when a server is gone is no request's.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        self.client = await nats.connect(
            self.url, reconnect_time_wait=RECONNECT_S, max_reconnect_attempts=-1,
            connect_timeout=ANSWER_S, error_cb=self.ignore)
        self.jetstream = self.client.jetstream(timeout=ANSWER_S)

    async def ignore(self, error):
        """What concerns a request is told as its answer."""

    async def api(self, subject, body=None):
        """A request of JetStream's, as its documentation has it."""
        answer = await self.client.request(f"$JS.API.{subject}", json.dumps(body or {}).encode(),
                                           timeout=ANSWER_S)
        told = json.loads(answer.data)
        if "error" in told:
            raise RuntimeError(told["error"]["description"])
        return told

    async def kv_create(self, bucket, options=None):
        await self.jetstream.create_key_value(bucket=bucket, **(options or {}))

    async def bucket(self, name):
        if name not in self.buckets:
            self.buckets[name] = await self.jetstream.key_value(name)
        return self.buckets[name]

    async def kv_put(self, bucket, key, value):
        return await (await self.bucket(bucket)).put(key, decoded(value))

    async def kv_get(self, bucket, key):
        from nats.js.errors import KeyNotFoundError

        try:
            entry = await (await self.bucket(bucket)).get(key)
        except KeyNotFoundError:
            return None
        return encoded(entry.value or b"")

    async def kv_delete(self, bucket, key):
        await (await self.bucket(bucket)).delete(key)

    async def kv_purge(self, bucket, key):
        await (await self.bucket(bucket)).purge(key)

    async def publish(self, subject, payload="", headers=None):
        """Waits until a stream has it, and tells its number there."""
        return (await self.jetstream.publish(subject, decoded(payload), headers=headers)).seq

    async def publish_many(self, messages):
        """The same for many in that order; none waits for the one before."""
        sent = [await self.jetstream.publish_async(
            each["subject"], decoded(each.get("payload", "")), headers=each.get("headers"))
            for each in messages]
        return [(await asyncio.wait_for(each, ANSWER_S)).seq for each in sent]

    async def publish_core(self, subject, payload="", headers=None):
        """For no stream: to whoever listens now."""
        await self.client.publish(subject, decoded(payload), headers=headers)
        await self.client.flush(ANSWER_S)

    async def stream_add(self, config):
        return await self.api(f"STREAM.CREATE.{config['name']}", config)

    async def stream_info(self, stream):
        return await self.api(f"STREAM.INFO.{stream}")

    async def purge_stream(self, stream, options=None):
        return await self.api(f"STREAM.PURGE.{stream}", options)

    async def delete_stream(self, stream):
        return await self.api(f"STREAM.DELETE.{stream}")

    async def consumer_info(self, stream, consumer):
        return await self.api(f"CONSUMER.INFO.{stream}.{consumer}")


CLIENTS = {"redis": Redis, "postgres": Postgres, "nats": Nats}
OPS = {
    "redis": {"command", "commands"},
    "postgres": {"sql", "sql_many"},
    "nats": {"api", "kv_create", "kv_put", "kv_get", "kv_delete", "kv_purge", "publish",
             "publish_many", "publish_core", "stream_add", "stream_info", "purge_stream",
             "delete_stream", "consumer_info"},
}  # fmt: skip


async def answer(kind, client, line):
    """The answer to one request. Whatever goes wrong is the answer; the test judges it."""
    try:
        request = json.loads(line)
        op = request.pop("op")
        if op not in OPS[kind]:
            there = " ".join(sorted(OPS[kind]))
            return {"error": f"there is no op {op} for {kind}; there are: {there}"}
        return {"value": await getattr(client, op)(**request)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def tell(told):
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def main(kind, *place):
    try:
        client = CLIENTS[kind](*place)
        await client.connect()
    except ImportError as error:
        tell({"missing": error.name})
        return
    tell({"value": kind})
    # Read by the loop and not by a call: the client of NATS has work to do between requests.
    requests = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    while line := await requests.readline():
        tell(await answer(kind, client, line))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
