# SPDX-License-Identifier: Apache-2.0
"""The admin address from outside: requests with the standard library's client, and what its metrics
say, read by Prometheus' own rules for the text format as far as a test needs them."""

import contextlib
import http.client
import json
import os
import re
import socket

from harness import DEADLINE_S
from servers import free_port

TOKEN = "a-token-of-a-test"
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Admin:
    """An admin address that a test configures."""

    def __init__(self, host="127.0.0.1", has_token=False):
        self.host, self.port = host, free_port()
        self.has_token = has_token
        self.env = {"WEIR_TEST_ADMIN_TOKEN": TOKEN}

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def config(self):
        """For `configuration(...)`: **admin.config."""
        token = {"token": "env:WEIR_TEST_ADMIN_TOKEN"} if self.has_token else {}
        return {"admin": {"address": self.address} | token}

    def connect(self):
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host.strip("[]")
        return http.client.HTTPConnection(host, self.port, timeout=DEADLINE_S)

    def socket(self):
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        connection.settimeout(DEADLINE_S)
        return connection

    def request(self, method, path, token=None, headers=None, body=None):
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body=body, headers=authorization | (headers or {}))
            return Answer(connection.getresponse())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def status(self):
        answer = self.get("/api/status")
        assert answer.status == 200, answer.text
        return answer.json

    def metrics(self, **options):
        answer = self.get("/metrics", **options)
        assert answer.status == 200, answer.text
        return Metrics(answer.text)

    def events(self, path):
        """The lines of a stream of events, as they come; close it by `close()`."""
        connection = self.connect()
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        try:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[len(b"data: "):])
        finally:
            # A generator that is closed while the other side is silent must not wait for it.
            with contextlib.suppress(OSError):
                connection.sock and connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()


class Metrics:
    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = SAMPLE.fullmatch(line).groups()
                self.samples.append((name, dict(LABEL.findall(labels or "")), float(value)))

    def families(self):
        """The types of all families, by name."""
        return dict(re.findall(r"^# TYPE (\S+) (\S+)$", self.text, re.MULTILINE))

    def find(self, name, **labels):
        """The values of the samples of that name with these labels."""
        return [value for each, others, value in self.samples
                if each == name and labels.items() <= others.items()]

    def value(self, name, **labels):
        values = self.find(name, **labels)
        assert len(values) == 1, f"{name} {labels}: {values}"
        return values[0]


def listeners(pid):
    """The ports of 127.0.0.1 and 0.0.0.0 at which a process listens."""
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path))
            inodes |= {found[1]} if found else set()
    ports = set()
    for kind in "tcp", "tcp6":
        with open(f"/proc/{pid}/net/{kind}", encoding="ascii") as table:
            for line in list(table)[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
