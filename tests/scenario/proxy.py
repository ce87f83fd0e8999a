# SPDX-License-Identifier: Apache-2.0
"""The network between weir and a server, and everything that is wrong with networks.

A `Proxy` listens on a port and forwards each connection to a server, in a thread of its own. Its
faults hold from the call that makes them on, for all connections but where it says otherwise. Each
call returns when it is done. What a connection holds is bounded: a side that does not read holds up
the other.
"""

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import threading

from harness import DEADLINE_S
from servers import free_port

CHUNK_BYTES = 64 * 1024
# Of one direction of a connection; with the chunks in the hands of reader and writer, two more.
CHUNKS_MAX = 14
BUFFERED_BYTES_MAX = (CHUNKS_MAX + 2) * CHUNK_BYTES
# More are reset as soon as they come.
CONNECTIONS_MAX = 256
BACKLOG = 128
# What was sent before a cut has so long to arrive.
ARRIVAL_S = 5
POLL_S = 0.001

UP, DOWN = "up", "down"  # to the server; to the client


class Cut(Exception):
    """The connection is to be reset."""


class Pipe:
    """One direction of a connection."""

    def __init__(self, direction, source, sink):
        self.direction, self.source, self.sink = direction, source, sink
        self.chunks = asyncio.Queue(CHUNKS_MAX)


class Connection:
    def __init__(self, client):
        self.client, self.server = client, None
        self.task = None
        self.is_reset = True  # at its end, as far as is known
        self.has_lost = False  # bytes, or an end, that was swallowed: it cannot go on
        self.buffered_bytes = 0

    def close(self):
        for side in filter(None, (self.client, self.server)):
            if self.is_reset:
                # Closing discards what is not sent yet, and tells the other end at once.
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.close()


class Proxy:
    """A proxy before the port of a server. Close it, or use it as a context."""

    def __init__(self, server_port):
        self.server_port = server_port
        # Counters of connections: taken, that there are, ended by a reset (of either side, or by a
        # fault), for which the server was not reached.
        self.accepted = self.open = self.resets = self.unreachable = 0
        self.bytes = {UP: 0, DOWN: 0}  # that were forwarded
        self.swallowed_bytes = self.buffered_bytes = self.buffered_bytes_max = 0
        self._connections = set()
        self._delay_s = self._pause_s = 0
        self._piece_bytes = CHUNK_BYTES
        self._swallows = False
        self._cut_after = {UP: None, DOWN: None}
        # Of a number that is asked for: one that the system chose is lost when it refuses.
        self._listener = socket.create_server(("127.0.0.1", free_port()), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._begin())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _do(self, coroutine):
        """Runs it in the proxy's thread, and returns what it returned."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_S)

    # ---- faults ----

    def cut(self):
        """Resets all connections that there are."""
        self._do(self._reset(self._connections))

    def refuse(self):
        """Refuses connections from now on. Those that there are stay."""
        async def refuse():
            self._listens.clear()
            # The port stays this socket's; nobody else can get it.
            self._listener.shutdown(socket.SHUT_RD)

        self._do(refuse())

    def accept(self):
        """Accepts connections again."""
        async def accept():
            self._listener.listen(BACKLOG)
            self._listens.set()

        self._do(accept())

    def half_open(self):
        """Nothing gets through, both ways, and nobody is told: connections stay, new ones are
        accepted, and what is sent on them is swallowed."""
        async def half_open():
            self._swallows = True

        self._do(half_open())

    def stall(self):
        """Nothing is read or written any more, and nothing is lost."""
        async def stall():
            self._flows.clear()

        self._do(stall())

    def delay(self, seconds):
        """Every byte arrives so much later: a round trip takes twice that. Throughput stays."""
        async def delay():
            self._delay_s = seconds

        self._do(delay())

    def dribble(self, bytes_per_write, pause_s):
        """What arrives arrives in pieces of that size, with a pause behind each."""
        async def dribble():
            self._piece_bytes, self._pause_s = bytes_per_write, pause_s

        self._do(dribble())

    def cut_after(self, count, direction=DOWN):
        """When COUNT more bytes have arrived on that side, the connection of the last is reset."""
        async def cut_after():
            self._cut_after[direction] = count

        self._do(cut_after())

    def forward(self):
        """Ends all faults. Connections that have lost bytes are reset: they cannot go on."""
        async def forward():
            self._delay_s = self._pause_s = 0
            self._piece_bytes = CHUNK_BYTES
            self._swallows = False
            self._cut_after = {UP: None, DOWN: None}
            await self._reset({each for each in self._connections if each.has_lost})
            self._flows.set()

        self._do(forward())
        if not self._do(self._is_listening()):
            self.accept()

    def close(self):
        """Ends it, and resets what there is."""
        if self._loop.is_closed():
            return
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    # ---- all below is in the proxy's thread ----

    async def _begin(self):
        self._listens, self._flows = asyncio.Event(), asyncio.Event()
        self._listens.set()
        self._flows.set()
        self._acceptor = asyncio.ensure_future(self._accept_all())

    async def _end(self):
        self._acceptor.cancel()
        await asyncio.gather(self._acceptor, return_exceptions=True)
        await self._reset(self._connections)
        self._listener.close()

    async def _is_listening(self):
        return self._listens.is_set()

    async def _reset(self, connections):
        tasks = [each.task for each in connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept_all(self):
        while True:
            await self._listens.wait()
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:
                continue  # it refuses now
            connection = Connection(client)
            client.setblocking(False)
            self.accepted += 1
            if self.open >= CONNECTIONS_MAX:
                connection.close()
                continue
            self.open += 1
            self._connections.add(connection)
            connection.task = asyncio.ensure_future(self._serve(connection))
            # And not at the end of the task: one that is cancelled early never begins.
            connection.task.add_done_callback(lambda _, of=connection: self._finish(of))

    def _finish(self, connection):
        connection.close()
        self._connections.discard(connection)
        self.open -= 1
        self.resets += connection.is_reset
        self.buffered_bytes -= connection.buffered_bytes

    async def _serve(self, connection):
        """A connection until its end, which is as orderly as that of its sides."""
        tasks = []
        try:
            pipes = await self._connect(connection)
            tasks = [asyncio.ensure_future(each(connection, pipe))
                     for pipe in pipes for each in (self._read, self._write)]
            await asyncio.gather(*tasks)
            connection.is_reset = False
        except (OSError, Cut):
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, connection):
        if self._swallows:
            return [Pipe(UP, connection.client, None)]
        connection.server = socket.socket()
        for side in (connection.client, connection.server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.server.setblocking(False)
        try:
            await self._loop.sock_connect(connection.server, ("127.0.0.1", self.server_port))
        except OSError:
            self.unreachable += 1
            raise
        return [Pipe(UP, connection.client, connection.server),
                Pipe(DOWN, connection.server, connection.client)]

    def _swallow(self, connection, data):
        connection.has_lost = True
        self.swallowed_bytes += len(data)

    def _count_buffered(self, connection, change):
        connection.buffered_bytes += change
        self.buffered_bytes += change
        self.buffered_bytes_max = max(self.buffered_bytes_max, self.buffered_bytes)

    async def _read(self, connection, pipe):
        while True:
            await self._flows.wait()
            data = await self._loop.sock_recv(pipe.source, CHUNK_BYTES)
            if not data:
                break
            if self._swallows or not pipe.sink:
                self._swallow(connection, data)
                continue
            self._count_buffered(connection, len(data))
            await pipe.chunks.put((self._loop.time() + self._delay_s, data))
        await pipe.chunks.put(None)

    async def _write(self, connection, pipe):
        while chunk := await pipe.chunks.get():
            due_s, data = chunk[0], memoryview(chunk[1])
            await asyncio.sleep(max(due_s - self._loop.time(), 0))
            while data:
                await self._flows.wait()
                piece, data = data[:self._piece_bytes], data[self._piece_bytes:]
                if self._swallows:
                    self._swallow(connection, piece)
                else:
                    await self._send(pipe, piece)
                self._count_buffered(connection, -len(piece))
                await asyncio.sleep(self._pause_s)
        if self._swallows:
            connection.has_lost = True
        elif pipe.sink:
            with contextlib.suppress(OSError):  # it is gone already
                pipe.sink.shutdown(socket.SHUT_WR)

    async def _send(self, pipe, piece):
        left = self._cut_after[pipe.direction]
        is_last = left is not None and left <= len(piece)
        if is_last:
            piece = piece[:left]
            self._cut_after[pipe.direction] = None
        elif left is not None:
            self._cut_after[pipe.direction] = left - len(piece)
        await self._loop.sock_sendall(pipe.sink, piece)
        self.bytes[pipe.direction] += len(piece)
        if is_last:
            await self._arrival(pipe.sink)
            raise Cut

    async def _arrival(self, sink):
        """Waits until the other end has all that was sent: a reset discards the rest."""
        until_s = self._loop.time() + ARRIVAL_S
        left = array.array("i", [1])
        while left[0] and self._loop.time() < until_s:
            fcntl.ioctl(sink, termios.TIOCOUTQ, left)
            await asyncio.sleep(POLL_S)
