# SPDX-License-Identifier: Apache-2.0
"""A receiver of OTLP/HTTP that takes what it gets apart by OpenTelemetry's own schema.

What the schema does not know is an error. OTLP's JSON is protobuf's but for ids, which are in
hexadecimal; they are turned into base64 first.
"""

import base64
import contextlib
import http.server
import json
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest, ExportTraceServiceResponse)

SPANS_SHOWN = 40
KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


class Span:
    """One span, as the schema has it."""

    def __init__(self, span):
        self.trace, self.id = span.trace_id.hex(), span.span_id.hex()
        self.parent = span.parent_span_id.hex()
        self.name, self.kind = span.name, KINDS[span.kind]
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.failure = span.status.message if span.status.code == 2 else None
        self.attributes = _attributes(span.attributes)

    def __repr__(self):
        return f"{self.name} {self.id} of {self.parent or 'nobody'} {self.attributes}"


def _attributes(pairs):
    names = [pair.key for pair in pairs]
    assert len(set(names)) == len(names), names
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def _with_base64(tree):
    if isinstance(tree, list):
        return [_with_base64(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    copy = {name: _with_base64(value) for name, value in tree.items()}
    for name, size in ID_BYTES.items():
        if name in copy:
            data = bytes.fromhex(copy[name])
            assert len(data) == size and any(data) and copy[name] == copy[name].lower(), copy[name]
            copy[name] = base64.b64encode(data).decode()
    return copy


class Receiver(http.server.ThreadingHTTPServer):
    """One on a port of its own; a context.

    `answer(number)`: called with the number of the request, from 1: a status, and a dict of headers
    or None. Spans count where that is 200.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = lambda number: (200, None)
        self.requests, self.problems, self.tokens, self.resources = 0, [], set(), []
        self.rejects = 0  # spans that it says it did not take
        self._spans = []
        self._lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        assert not self.problems, self.problems

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def number_of_request(self):
        with self._lock:
            self.requests += 1
            return self.requests

    def take(self, body):
        request = json_format.ParseDict(_with_base64(json.loads(body)), ExportTraceServiceRequest())
        spans = []
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                assert scope.scope.name == "weir" and scope.scope.version
                spans += [Span(span) for span in scope.spans]
        with self._lock:
            self.resources += [_attributes(each.resource.attributes)
                               for each in request.resource_spans]
            self._spans += spans
        return len(spans)

    def spans(self, name=None, **attributes):
        """Those of that name, or of a name that begins so, with those attributes (`_` for `.`)."""
        with self._lock:
            spans = list(self._spans)
        return [span for span in spans if _is(span, name, attributes)]

    def wait_spans(self, weir, count, name=None, **attributes):
        """Waits until there are COUNT of them, and returns all."""
        return weir.wait_for(
            lambda: len(found := self.spans(name, **attributes)) >= count and found,
            lambda: f"span number {count} of {name} {attributes} in "
            f"{[span.name for span in self.spans()][-SPANS_SHOWN:]}")


def _is(span, name, attributes):
    given = {key.replace(".", "_"): value for key, value in span.attributes.items()}
    return (name is None or span.name == name or span.name.startswith(f"{name} ")) and \
        all(given.get(key) == value for key, value in attributes.items())


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver = self.server
        receiver.tokens.add(self.headers.get("authorization"))
        try:
            assert self.path == "/v1/traces", self.path
            assert self.headers["content-type"] == "application/json"
            status, headers = receiver.answer(receiver.number_of_request())
            if status == 200:
                receiver.take(body)
        except Exception as error:  # told by the test's end
            receiver.problems.append(f"{error!r} of {body[:2000]!r}")
            raise
        response = ExportTraceServiceResponse()
        if receiver.rejects:
            response.partial_success.rejected_spans = receiver.rejects
            response.partial_success.error_message = "they are too old"
        answer = json_format.MessageToJson(response).encode() if status == 200 else b"no"
        with contextlib.suppress(ConnectionError):  # weir has given it up
            self._send(status, headers, answer)

    def _send(self, status, headers, answer):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass
