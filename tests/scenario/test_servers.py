# SPDX-License-Identifier: Apache-2.0
"""That the servers and the proxy which other scenarios stand on do what those rely on, seen by
somebody else's clients."""

import contextlib
import socket
import threading
import time

import pytest
import redis
from psycopg import OperationalError

from conftest import server_or_skip
from harness import DEADLINE_S
from proxy import BUFFERED_BYTES_MAX, DOWN, UP, Proxy
from servers import FLUSHED, NOTHING, Nats, Postgres, Redis, children_of, state_of, wait_for

# What is not to come is waited for so long.
SILENCE_S = 0.2
# A fault that takes time takes so long here.
DELAY_S = 0.1
BUCKET = "bucket"


# ---- a key and a value on each kind ----


class RedisKeys:
    def __init__(self, server):
        self.server = server

    def put(self, key, value, port=None):
        with self.server.client(port) as client:
            client.set(key, value)

    def get(self, key, port=None):
        with self.server.client(port) as client:
            return client.get(key)


class PostgresKeys:
    def __init__(self, server):
        self.server = server

    def run(self, sql, parameters, port):
        with self.server.client(port) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (k text PRIMARY KEY, v bytea)")
            return connection.execute(sql, parameters)

    def put(self, key, value, port=None):
        self.run("INSERT INTO t VALUES (%s, %s) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
                 (key, value), port)

    def get(self, key, port=None):
        row = self.run("SELECT v FROM t WHERE k = %s", (key,), port).fetchone()
        return row and row[0]


class NatsKeys:
    def __init__(self, server):
        self.server = server

    def put(self, key, value, port=None):
        async def put(_, jetstream):
            await (await jetstream.create_key_value(bucket=BUCKET)).put(key, value)

        self.server.run(put, port)

    def get(self, key, port=None):
        from nats.js.errors import KeyNotFoundError

        async def get(_, jetstream):
            try:
                return (await (await jetstream.create_key_value(bucket=BUCKET)).get(key)).value
            except KeyNotFoundError:
                return None

        return self.server.run(get, port)


KINDS = {"redis": (Redis, RedisKeys), "postgres": (Postgres, PostgresKeys),
         "nats": (Nats, NatsKeys)}


@pytest.fixture(params=KINDS)
def keys(request, servers):
    kind, accessor = KINDS[request.param]
    return accessor(server_or_skip(servers, kind))


def answers(server):
    """Whether a new connection to the server's port gets an answer soon."""
    questions = {"redis": b"PING\r\n", "postgres": b"\0\0\0\x08\x04\xd2\x16\x2f", "nats": b""}
    with socket.socket() as connection:
        connection.settimeout(SILENCE_S)
        try:
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(questions[server.name])
            return bool(connection.recv(1))
        except OSError:
            return False


# ---- the servers ----


def test_somebody_else_writes_and_reads(keys):
    keys.put("key", b"any\0bytes\xff")
    assert keys.get("key") == b"any\0bytes\xff"
    assert keys.get("never-written") is None


def test_a_killed_server_comes_back_with_what_it_confirmed(keys):
    server = keys.server
    port, pid = server.port, server.process.pid
    keys.put("key", b"before")
    server.kill()
    assert state_of(pid) is None
    assert not answers(server)
    server.start()
    assert server.port == port
    assert keys.get("key") == b"before"


def test_a_server_is_stopped_and_restarted(keys):
    server = keys.server
    port = server.port
    keys.put("key", b"before")
    server.stop()
    assert not answers(server)
    server.start()
    server.restart()
    assert server.port == port
    assert keys.get("key") == b"before"


def test_a_wiped_server_has_nothing(keys):
    server = keys.server
    port = server.port
    keys.put("key", b"before")
    server.wipe()
    assert server.port == port
    assert keys.get("key") is None


def test_a_paused_server_keeps_silent_until_it_goes_on(keys):
    server = keys.server
    keys.put("key", b"before")
    server.pause()
    processes = [server.process.pid, *children_of(server.process.pid)]
    assert {state_of(pid)[0] for pid in processes} == {"T"}
    assert len(processes) > 2 or server.name != "postgres"
    assert not answers(server)
    server.resume()
    assert answers(server)
    server.pause()
    server.kill()
    server.start()
    server.pause()
    server.restart()
    assert keys.get("key") == b"before"


@pytest.mark.parametrize("name", KINDS)
def test_a_password_is_asked_for(servers, name):
    kind, accessor = KINDS[name]
    keys = accessor(server_or_skip(servers, kind, password="secret"))
    keys.put("key", b"x")
    assert keys.get("key") == b"x"
    assert "secret@127.0.0.1:" in keys.server.url()
    keys.server.password = "wrong"
    with pytest.raises(Exception, match="(?i)authorization|password"):
        keys.get("key")


def test_what_a_server_keeps_can_be_chosen(servers):
    server = server_or_skip(servers, Redis, keep=NOTHING, config="maxmemory 64mb")
    RedisKeys(server).put("key", b"x")
    with server.client() as client:
        assert client.config_get("maxmemory") == {"maxmemory": "67108864"}
    server.restart()
    assert RedisKeys(server).get("key") is None
    server = server_or_skip(servers, Postgres, keep=FLUSHED, config="work_mem = 1MB")
    with server.client() as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW work_mem").fetchone() == ("1MB",)


def test_a_server_that_does_not_start_says_why(servers):
    with pytest.raises(AssertionError, match="no-such-setting"):
        server_or_skip(servers, Redis, config="no-such-setting 1")


# ---- the proxy ----


def test_each_server_is_reached_through_a_proxy(keys, proxy_before):
    proxy = proxy_before(keys.server)
    value = bytes(range(256)) * 2000
    keys.put("key", value, proxy.port)
    assert keys.get("key", proxy.port) == value
    assert proxy.accepted >= 2
    wait_for(lambda: min(proxy.bytes[UP], proxy.bytes[DOWN]) > len(value),
             lambda: f"all of the bytes in both counts: {proxy.bytes}")
    wait_for(lambda: proxy.open == 0, lambda: "the end of the connections")
    assert (proxy.resets, proxy.buffered_bytes) == (0, 0)


@pytest.fixture
def proxy(redis_server, proxy_before):
    return proxy_before(redis_server)


@pytest.fixture
def client(redis_server, proxy):
    """One that is connected through the proxy."""
    with redis_server.client(proxy.port) as client:
        client.ping()
        yield client


def connect(proxy, timeout_s=DEADLINE_S):
    """A connection by hand: redis-py makes a new one where it finds its own closed."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout_s)


def ask(connection, request=b"PING\r\n"):
    connection.sendall(request)
    return connection.recv(100)


def test_a_cut_is_a_reset_of_those_that_there_are(proxy):
    with connect(proxy) as one, connect(proxy) as other:
        assert ask(one) == ask(other) == b"+PONG\r\n"
        proxy.cut()
        assert (proxy.open, proxy.resets) == (0, 2)
        for connection in (one, other):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    with connect(proxy) as new:
        assert ask(new) == b"+PONG\r\n"


def test_connections_are_refused_and_the_others_stay(proxy):
    with connect(proxy) as connection:
        assert ask(connection) == b"+PONG\r\n"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert ask(connection) == b"+PONG\r\n"
        proxy.accept()
        with connect(proxy) as new:
            assert ask(new) == ask(connection) == b"+PONG\r\n"
        proxy.refuse()
        proxy.forward()
        with connect(proxy) as new:
            assert ask(new) == b"+PONG\r\n"
    assert proxy.resets == 0


def test_half_open_connections_swallow_and_say_nothing(redis_server, proxy):
    with connect(proxy) as old:
        assert ask(old) == b"+PONG\r\n"
        proxy.half_open()
        with connect(proxy) as new:
            for connection in (old, new):
                connection.settimeout(SILENCE_S)
                with pytest.raises(TimeoutError):
                    ask(connection, b"SET key lost\r\n")
            assert proxy.swallowed_bytes == 2 * len("SET key lost\r\n")
            assert (proxy.open, proxy.resets) == (2, 0)
    assert RedisKeys(redis_server).get("key") is None
    proxy.forward()
    RedisKeys(redis_server).put("key", b"arrived", proxy.port)
    assert RedisKeys(redis_server).get("key") == b"arrived"


def test_what_has_lost_bytes_does_not_go_on(redis_server, proxy):
    with connect(proxy) as connection:
        assert ask(connection) == b"+PONG\r\n"
        proxy.half_open()
        connection.sendall(b"PI")
        wait_for(lambda: proxy.swallowed_bytes == 2, lambda: "the loss of two bytes")
        proxy.forward()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"NG\r\n")


def test_a_stall_loses_nothing(redis_server, proxy):
    with connect(proxy) as connection:
        proxy.stall()
        connection.sendall(b"SET key x\r\n")
        connection.settimeout(SILENCE_S)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        assert RedisKeys(redis_server).get("key") is None
        proxy.forward()
        connection.settimeout(DEADLINE_S)
        assert connection.recv(100) == b"+OK\r\n"
    assert proxy.swallowed_bytes == 0


def test_a_delay_is_of_each_way_and_not_of_each_piece(proxy, client):
    proxy.delay(DELAY_S)
    begin_s = time.monotonic()
    assert client.ping()
    assert time.monotonic() - begin_s >= 2 * DELAY_S
    # Many pieces are under way at a time.
    value = b"x" * (4 << 20)
    begin_s = time.monotonic()
    client.set("key", value)
    assert client.get("key") == value
    pieces = len(value) / (64 * 1024)
    assert time.monotonic() - begin_s < pieces * DELAY_S


def test_what_dribbles_arrives_whole(proxy, client):
    value = bytes(range(256))
    client.set("key", value)
    before = proxy.bytes[DOWN]
    proxy.dribble(7, 0.002)
    begin_s = time.monotonic()
    assert client.get("key") == value
    pieces = (proxy.bytes[DOWN] - before) // 7
    assert pieces >= 256 // 7
    assert time.monotonic() - begin_s >= pieces * 0.002


@pytest.mark.parametrize("count", [1, 5, 1000])
def test_a_cut_amid_a_reply(redis_server, proxy, count):
    """So many bytes of it arrive, and then the reset."""
    RedisKeys(redis_server).put("key", b"v" * 5000)
    with connect(proxy) as connection:
        proxy.cut_after(count)
        connection.sendall(b"GET key\r\n")
        got = b""
        with pytest.raises(ConnectionResetError):
            while data := connection.recv(10000):
                got += data
    assert got == (b"$5000\r\n" + b"v" * 5000)[:count]
    assert proxy.bytes[DOWN] == count
    assert RedisKeys(redis_server).get("key", proxy.port) == b"v" * 5000, "it was for one"


def test_a_cut_amid_a_request(redis_server, proxy):
    proxy.cut_after(len(b"SET key x\r\nSET ke"), UP)
    with connect(proxy) as connection:
        connection.sendall(b"SET key x\r\nSET key y\r\n")
        with pytest.raises(ConnectionResetError):
            while connection.recv(100):
                pass
    wait_for(lambda: RedisKeys(redis_server).get("key"), lambda: "the first half")
    assert RedisKeys(redis_server).get("key") == b"x"


def test_a_server_that_is_down_is_a_reset(redis_server, proxy, client):
    redis_server.stop()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    assert proxy.unreachable > 0
    redis_server.start()
    assert client.ping()


def test_an_end_is_forwarded_in_order(redis_server, proxy):
    with connect(proxy) as connection:
        connection.sendall(b"PING\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"+PONG\r\n"
        assert connection.recv(100) == b""
    wait_for(lambda: proxy.open == 0, lambda: "the end of the connection")
    assert proxy.resets == 0


@pytest.fixture
def silent():
    """A listener that does not accept by itself, and a proxy before it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            Proxy(listener.getsockname()[1]) as proxy:
        listener.settimeout(DEADLINE_S)
        yield listener, proxy


def test_who_does_not_read_holds_up_the_other_and_no_memory(silent):
    """Bytes go into the proxy until it and the system are full, and then no more."""
    listener, proxy = silent
    with connect(proxy, SILENCE_S) as sender, listener.accept()[0] as reader:
        sent = got = 0
        is_full = False
        while not is_full and sent < 256 << 20:
            try:
                sent += sender.send(b"x" * (1 << 20))
            except TimeoutError:  # on a busy machine not yet for that reason
                is_full = proxy.buffered_bytes_max > BUFFERED_BYTES_MAX / 2
        assert is_full
        assert proxy.buffered_bytes_max <= BUFFERED_BYTES_MAX
        sender.shutdown(socket.SHUT_WR)
        reader.settimeout(DEADLINE_S)
        while data := reader.recv(1 << 20):
            got += len(data)
        assert got == sent == proxy.bytes[UP]
        assert proxy.buffered_bytes == 0


def test_a_cut_drops_what_is_under_way(redis_server, proxy):
    with connect(proxy) as connection:
        proxy.delay(DEADLINE_S)
        connection.sendall(b"SET key x\r\n")
        wait_for(lambda: proxy.buffered_bytes == len("SET key x\r\n"), lambda: "it in the proxy")
        proxy.cut()
        assert proxy.buffered_bytes == 0
    assert proxy.bytes[UP] == 0
    assert RedisKeys(redis_server).get("key") is None


def test_connections_have_a_bound(silent, monkeypatch):
    monkeypatch.setattr("proxy.CONNECTIONS_MAX", 3)
    _, proxy = silent
    with contextlib.ExitStack() as connections:
        for _ in range(3):
            connections.enter_context(connect(proxy))
        wait_for(lambda: proxy.open == 3, lambda: "three connections")
        with connect(proxy) as one_more, pytest.raises(ConnectionResetError):
            one_more.recv(1)


def test_a_closed_proxy_leaves_nothing(redis_server):
    threads = threading.active_count()
    proxy = Proxy(redis_server.port)
    with redis_server.client(proxy.port) as client:
        client.ping()
        proxy.close()
        proxy.close()
        with pytest.raises(redis.ConnectionError):
            client.ping()
    assert threading.active_count() == threads


def test_postgres_notices_a_cut(postgres_server, proxy_before):
    proxy = proxy_before(postgres_server)
    with postgres_server.client(proxy.port) as connection:
        connection.execute("SELECT 1")
        proxy.cut()
        with pytest.raises(OperationalError):
            connection.execute("SELECT 1")
