# SPDX-License-Identifier: Apache-2.0
"""Guests made with the SDKs for Rust, JavaScript and Python: the same program in each, and from each
the same answers, byte for byte."""

import http.server
import json
import re
import threading

import pytest

from harness import AGAIN, GIVEN_UP, configuration
from test_languages import BOUNDS, COMPILED_S, guest_of

LANGUAGES = ["rust", "js", "python"]
ATTEMPTS = 3


def start(site, language, handler=None):
    """The guest of the SDK for a language, which handles what changes in `store`; what it returns
    goes to `topic`, whose events the guest `trace` prints, and from there to `out`."""
    guest = guest_of("sdk", language)
    (site.root / "out").mkdir()
    config = configuration(
        {guest: {"bounds": BOUNDS, "retry": {"attempts": ATTEMPTS, "backoff": "10ms"}},
         "trace": {}},
        [{"name": "first", "key": "*", "guest": guest, "to": "topic"} |
         ({"handler": handler} if handler else {}),
         {"name": "second", "watch": "topic", "key": "*", "guest": "trace", "to": "out"}],
        resources=("store", "out"))
    config["resources"]["topic"] = {"kind": "topic"}
    weir = site.run(config)
    weir.wait_listening(deadline_s=COMPILED_S)
    return guest, weir


def answer_to(site, weir, key, body, answers_to=None):
    """Sets a key, and returns what the guest returned, as bytes."""
    path = site.root / "out" / (answers_to or key)
    site.put(key, body)
    weir.wait_for(path.exists, f"the answer to {key}")
    return path.read_bytes()


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_events_that_follow(site, language):
    _, weir = start(site, language)
    body = json.dumps({"name": "Ådа", "numbers": [1, 2, 39]}, ensure_ascii=False)
    assert answer_to(site, weir, "json", body) == \
        '{"greeting":"hello Ådа","count":3,"sum":42}'.encode()
    assert answer_to(site, weir, "text", "größer") == "GRÖSSER".encode()
    every = bytes(range(256))
    assert answer_to(site, weir, "bytes", every, answers_to="reversed") == every[::-1]
    site.put("none", "nothing follows")
    site.wait_rest(weir)
    assert weir.stop() == 0
    # With what attributes the event came that follows.
    traced = [line for line in weir.printed("trace") if "dev.weir.test.text" in line]
    assert len(traced) == 1
    assert "text/plain" in traced[0] and "attemptseen=1" in traced[0]
    assert len(weir.printed("trace")) == 3
    assert not weir.logs(AGAIN) and not weir.logs(GIVEN_UP)


# What is set, after how many attempts it is given up, and what of the reason tells it.
FAILURES = {
    "retry": ("", 3, "^not now$"),
    "reject": ("", 1, "^there is no deed reject$"),
    "json": ('{"name": 1}', 1, "the body"),
    "text": (b"\xff", 1, "the body is no UTF-8"),
    "number": ("x", 3, "^the body is no number"),
    "number-or-reject": ("x", 1, ""),
}


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_errors_are_tried_again_and_rejections_are_not(site, language):
    _, weir = start(site, language)
    for key, (body, _, _) in FAILURES.items():
        site.put(key, body)
    for key, (_, attempts, reason) in FAILURES.items():
        record = weir.wait_log(GIVEN_UP, event=re.compile(f"^{key}@"))
        assert record["attempt"] == attempts, key
        assert re.search(reason, record["reason"]), (key, record)
    assert answer_to(site, weir, "number", "42") == b"42"
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("handler, attempts, reason", [
    ("on-order", 3, "no orders now"), ("on-order-or-reject", 1, "no orders")])
def test_handlers_of_the_guests_own_names(site, language, handler, attempts, reason):
    guest, weir = start(site, language, handler=handler)
    site.put("key", "seven pens")
    record = weir.wait_log(GIVEN_UP)
    assert record["attempt"] == attempts
    assert record["reason"] == reason
    weir.wait_printed(guest, f"{handler} got seven pens")
    assert weir.stop() == 0


class Server:
    """An HTTP server that answers with what it was asked."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = f"{self.headers['x-test']} {body.decode()}".encode()
                self.send_response(201)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return f"127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_weir_gives_beside_events(site, language):
    guest = guest_of("services", language)
    copy, out, done = (site.directory(name) for name in ("copy", "out", "done"))
    with Server() as host:
        weir = site.run(configuration(
            {guest: {"bounds": BOUNDS, "retry": {"attempts": 1}, "config": {"greeting": "hello"},
                     "hosts": [host],
                     "grants": ["copy", {"resource": "out", "verbs": ["publish"]}]}},
            [{"key": "*", "guest": guest, "to": "done"}],
            resources=("store", "copy", "out", "done")))
        weir.wait_listening(deadline_s=COMPILED_S)

        def done_of(key, body=""):
            site.put(key, body)
            weir.wait_for((done / key).exists, f"the answer to {key}")
            return json.loads((done / key).read_bytes())

        assert done_of("store") == {
            "a": "one!", "b": {"two": 2}, "count": 2, "exists": [True, False],
            "keys": ["a", "b", "d"], "many": [4, None], "none": None}
        assert (copy / "a").read_bytes() == b"one!"
        assert (copy / "b").read_bytes() == b'{"two":2}'
        assert sorted(path.name for path in copy.iterdir()) == ["a", "b", "count"]
        assert done_of("config") == {"greeting": "hello", "none": None}
        assert done_of("log", "for all") is None
        weir.wait_for(lambda: any("logged for all" in line for line in weir.err()), "the log's line")
        assert done_of("send", "grüße") is None
        weir.wait_for((out / "sent").exists, "the message")
        assert (out / "sent").read_text() == "grüße"
        assert done_of("http", f"http://{host}/x") == {"status": 201, "body": "1 ping"}
    # The server is gone: an error with what is wrong, and no answer.
    site.put("http", f"http://{host}/y")
    assert "unavailable" in weir.wait_log(GIVEN_UP)["reason"]
    assert weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_not_granted_is_told_by_name(site, language):
    guest = guest_of("services", language)
    for name in "copy", "out":
        site.directory(name)
    weir = site.run(configuration(
        {guest: {"bounds": BOUNDS, "retry": {"attempts": 1}, "grants": []}},
        [{"key": "*", "guest": guest}], resources=("store", "copy", "out")))
    weir.wait_listening(deadline_s=COMPILED_S)
    for key, body, told in [("store", "", "copy"), ("send", "x", "out"),
                            ("http", "http://127.0.0.1:1/", "127.0.0.1:1")]:
        site.put(key, body)
        record = weir.wait_log(GIVEN_UP, event=re.compile(f"^{key}@"))
        assert told in record["reason"], record
    assert weir.stop() == 0
