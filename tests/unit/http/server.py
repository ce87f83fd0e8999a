#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A web server that also behaves as no server should, for the tests of src/http.

The path says what becomes of a request. It answers on a port for HTTP and on one for HTTPS, whose
certificate it signs itself, on 127.0.0.1; a line on stdout tells both, and the certificate's file.
It ends when its standard input does.
"""

import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

HEAD_BYTES_MAX = 1 << 20
PIECE = 64 * 1024
# A connection that nobody closes is left after this.
IDLE_S = 120

connections = 0


class Gone(Exception):
    """The client has closed the connection."""


class Connection:
    def __init__(self, peer):
        self.peer = peer
        self.ahead = b""

    def more(self):
        data = self.peer.recv(PIECE)
        if not data:
            raise Gone
        self.ahead += data

    def request(self):
        while b"\r\n\r\n" not in self.ahead:
            self.more()
            assert len(self.ahead) < HEAD_BYTES_MAX
        head, self.ahead = self.ahead.split(b"\r\n\r\n", 1)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        parts = [self.ahead]
        missing = length - len(self.ahead)
        while missing > 0:
            data = self.peer.recv(min(missing, 1 << 20))
            if not data:
                raise Gone
            parts.append(data)
            missing -= len(data)
        data = b"".join(parts)
        self.ahead = data[length:]
        return head, data[:length]

    def send(self, data):
        self.peer.sendall(data)

    def wait_for_end(self):
        while self.peer.recv(PIECE):
            pass
        raise Gone

    def answer(self, body=b"", status="200 OK", headers=b""):
        self.send(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status.encode(), headers, len(body)))
        self.send(body)

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))


ROUTES = {}


def route(function):
    ROUTES[function.__name__] = function
    return function


@route
def echo(connection, head, body, argument):
    connection.answer(body)


@route
def seen(connection, head, body, argument):
    """What came, the body too."""
    connection.answer(head + b"\r\n\r\n" + body)


@route
def chunked(connection, head, body, argument):
    """Sends the body back in chunks of 1 byte, 2 bytes, 4 bytes ..."""
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    at, size = 0, 1
    while at < len(body):
        connection.chunk(body[at : at + size])
        at, size = at + size, size * 2
    connection.send(b"0\r\nX-Sum: 42\r\n\r\n")


@route
def status(connection, head, body, argument):
    if argument in ("204", "304"):
        connection.send(b"HTTP/1.1 %s No body\r\nETag: \"1\"\r\n\r\n" % argument.encode())
    else:
        connection.answer(b"it is " + argument.encode(), argument + " It", b"X-Status: yes\r\n")


@route
def head(connection, head, body, argument):
    """The length is that of a body that is not sent."""
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 123456789\r\n\r\n")


@route
def headers(connection, head, body, argument):
    connection.answer(
        b"odd",
        headers=b"Set-Cookie: a=1\r\nX-EMPTY:\r\nX-Latin: gr\xfcn\r\nX-Utf8: gr\xc3\xbcn\r\n"
        b"X-Folded: one\r\n\t two\r\nset-cookie:  b=2 \t\r\nX-Colon: a:b\r\n",
    )


@route
def interim(connection, head, body, argument):
    connection.send(b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n")
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Interim: 2\r\n\r\n")
    connection.answer(b"final", headers=b"X-Final: 1\r\n")


@route
def redirect(connection, head, body, argument):
    connection.answer(b"", "302 Found", b"Location: /echo\r\n")


@route
def encoded(connection, head, body, argument):
    connection.answer(b"\x1f\x8bnot really", headers=b"Content-Encoding: gzip\r\n")


@route
def connection_count(connection, head, body, argument):
    connection.answer(str(connections).encode())


@route
def stale(connection, head, body, argument):
    """Says nothing of it, and closes the connection that the client is going to use again."""
    connection.answer(b"stale")
    raise Gone


@route
def silent(connection, head, body, argument):
    connection.wait_for_end()


@route
def begin_and_wait(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    connection.wait_for_end()


@route
def vanish(connection, head, body, argument):
    raise Gone


@route
def cut(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345")
    raise Gone


@route
def cut_chunked(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.chunk(b"12345")
    raise Gone


@route
def cut_head(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nX-One: 1\r\nX-Tw")
    raise Gone


@route
def too_much(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345and more")
    raise Gone


@route
def bad_length(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n12345")
    raise Gone


@route
def big(connection, head, body, argument):
    """As many bytes as the argument says, and says so."""
    size = int(argument)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    while size > 0:
        connection.send(b"b" * min(size, PIECE))
        size -= PIECE


@route
def endless_body(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.chunk(b"e" * PIECE)


@route
def endless_headers(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.send(b"X-Long: %s\r\n" % (b"l" * 1000))


@route
def endless_line(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 OK\r\nX-Line: ")
    while True:
        connection.send(b"l" * 1000)


@route
def endless_status(connection, head, body, argument):
    connection.send(b"HTTP/1.1 200 ")
    while True:
        connection.send(b"l" * 1000)


@route
def endless_interim(connection, head, body, argument):
    while True:
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


@route
def many_headers(connection, head, body, argument):
    connection.answer(b"many", headers=b"X-N: 1\r\n" * (int(argument) - 1))


@route
def nul(connection, head, body, argument):
    connection.answer(b"nul", headers=b"X-Nul: a\0b\r\n")


@route
def bare_cr(connection, head, body, argument):
    connection.answer(b"cr", headers=b"X-Cr: a\rX-Other: b\r\n")


@route
def no_colon(connection, head, body, argument):
    connection.answer(b"colon", headers=b"this is no header\r\n")


@route
def bad_name(connection, head, body, argument):
    connection.answer(b"name", headers=b"X N: 1\r\n")


@route
def not_http(connection, head, body, argument):
    connection.send(b"220 mail.example.com ESMTP\r\n")
    raise Gone


@route
def switch(connection, head, body, argument):
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\nother")
    raise Gone


def serve(connection):
    while True:
        head, body = connection.request()
        # A query is there for the tests to look for in messages.
        path = head.split(b" ")[1].decode().split("?")[0]
        name, _, argument = path[1:].partition("/")
        ROUTES[name](connection, head, body, argument)


def serve_and_close(peer, context):
    try:
        peer.settimeout(IDLE_S)
        # A head and its body are sent by two calls.
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            peer = context.wrap_socket(peer, server_side=True)
        serve(Connection(peer))
    except (Gone, OSError):
        pass
    finally:
        peer.close()


def listen(context=None):
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept():
        global connections
        while True:
            peer, _ = listener.accept()
            connections += context is None
            threading.Thread(target=serve_and_close, args=(peer, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def certificate(folder):
    """Makes a key, and the certificate that it signs itself; returns their files."""
    key, signed = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", signed],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return key, signed


def main():
    with tempfile.TemporaryDirectory() as folder:
        key, signed = certificate(pathlib.Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed, key)
        print(listen(), listen(context), signed, flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
