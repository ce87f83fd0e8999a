# SPDX-License-Identifier: Apache-2.0
"""What became of an event, as OpenTelemetry's spans, at a receiver that knows nothing of weir."""

import http.server
import json
import re
import socket
import threading
import time

import pytest

from harness import AGAIN, GIVEN_UP, configuration
from receiver import Receiver
from servers import free_port

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{}"
# What may be said of a receiver, once a minute.
CANNOT, REFUSED = "traces cannot be sent now", "traces are refused"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])")


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


def traced(config, url, **traces):
    return config | {"traces": {"endpoint": url, "sample": 1, "interval": "20ms"} | traces}


def untraced():
    """first -> topic -> second, of the guest `trace`, which returns what it is given."""
    return configuration(
        {"first": {"wasm": "trace", "retry": {"backoff": "20ms"}}, "second": {"wasm": "trace"}},
        [{"name": "first", "key": "*", "guest": "first", "to": "between"},
         {"name": "second", "watch": "between", "key": "*", "guest": "second"}],
        topics=("between",))


def chain(receiver, **traces):
    return traced(untraced(), receiver.url, **traces)


def start(site, config, **options):
    weir = site.run(config, **options)
    weir.wait_listening()
    return weir


def children(spans, parent, name=None):
    return [span for span in spans
            if span.parent == parent.id and (name is None or span.name.split()[0] == name)]


def one(spans):
    assert len(spans) == 1, spans
    return spans[0]


@pytest.mark.tsan
def test_one_trace_through_two_subscriptions(site, receiver):
    weir = start(site, chain(receiver))
    site.put("key", "value")
    receiver.wait_spans(weir, 1, "deliver second")
    receiver.wait_spans(weir, 1, "publish")
    assert weir.stop() == 0
    spans = receiver.spans()
    assert len({span.trace for span in spans}) == 1
    assert len({span.id for span in spans}) == len(spans)
    first = one([span for span in spans if not span.parent])
    assert (first.name, first.kind) == ("deliver first", "consumer")
    assert sorted(span.name for span in children(spans, first)) == [
        "handle handle-event", "source store", "wait"]
    handle = one(children(spans, first, "handle"))
    publish = one(children(spans, handle, "publish"))
    assert (publish.name, publish.kind) == ("publish between", "producer")
    second = one(children(spans, handle, "deliver"))
    assert sorted(span.name for span in children(spans, second)) == ["handle handle-event", "wait"]
    assert len(spans) == 8
    assert_forward(spans, first, handle, publish)
    assert handle.began <= handle.ended <= publish.began
    assert publish.began <= second.began
    told = weir.traces("second")[0]
    assert told["+traceparent"] == f"00-{first.trace}-{handle.id}-01"
    assert second.attributes["cloudevents.event_id"] == told["id"]
    assert "+traceparent" not in weir.traces("first")[0]


def assert_forward(spans, *parents):
    """That time does not run back: in a span, from a parent to its children, from span to span."""
    now = time.time_ns()
    for span in spans:
        assert now - 600 * 10**9 < span.began <= span.ended <= now, span
    for parent in parents:
        for child in children(spans, parent):
            assert child.began >= parent.began, (parent, child)
    ends = {span.name.split()[0]: span for span in children(spans, parents[0])}
    assert ends["source"].ended == ends["wait"].began
    assert ends["wait"].ended == ends["handle"].began


def test_what_a_span_tells(site, receiver):
    weir = start(site, chain(receiver), env={"OTEL_SERVICE_NAME": ""})
    site.put("key", "value")
    handle = receiver.wait_spans(weir, 1, "handle", weir_subscription="first")[0]
    event = weir.traces("first")[0]
    about = {"cloudevents.event_id": event["id"], "cloudevents.event_source": event["source"],
             "cloudevents.event_type": event["type"], "weir.subscription": "first"}
    assert handle.attributes == about | {
        "weir.guest": "first", "weir.handler": "handle-event", "weir.attempt": 1,
        "weir.outcome": "derived"}
    assert handle.kind == "internal" and handle.failure is None
    assert receiver.spans("deliver first")[0].attributes == about | {
        "weir.resource": "store", "weir.attempts": 1, "weir.outcome": "derived"}
    resource = receiver.resources[0]
    assert resource["service.name"] == "weir" and resource["process.pid"] == weir.pid
    assert resource["host.name"] == socket.gethostname()
    assert re.fullmatch("[0-9a-f]{32}", resource["service.instance.id"])
    assert f"weir {resource['service.version']}" in site.command("version").stdout.decode()


def test_the_services_name_is_the_environments(site, receiver):
    weir = start(site, chain(receiver), env={"OTEL_SERVICE_NAME": "größe \"x\""})
    site.put("key", "value")
    receiver.wait_spans(weir, 1)
    assert receiver.resources[0]["service.name"] == "größe \"x\""


def test_each_attempt_is_a_span(site, receiver):
    weir = start(site, chain(receiver))
    site.put("key", "fail-once")
    deliver = receiver.wait_spans(weir, 1, "deliver first")[0]
    spans = receiver.spans()
    assert deliver.attributes["weir.attempts"] == 2 and deliver.failure is None
    failed, handled = sorted(children(spans, deliver, "handle"), key=lambda span: span.began)
    assert failed.failure == "it fails once" and handled.failure is None
    assert [span.attributes["weir.attempt"] for span in (failed, handled)] == [1, 2]
    assert [span.attributes["weir.outcome"] for span in (failed, handled)] == ["retry", "derived"]
    before, between = sorted(children(spans, deliver, "wait"), key=lambda span: span.began)
    assert before.ended == failed.began and between.began == failed.ended
    assert between.ended == handled.began
    assert between.ended - between.began >= 10 * 10**6, "the backoff, less its jitter"
    assert len(children(spans, deliver, "source")) == 1
    assert weir.logs(AGAIN)[0]["trace"] == deliver.trace


def test_an_event_that_is_given_up_has_an_error(site, receiver):
    config = configuration({"obey": {"retry": {"attempts": 2, "backoff": "5ms"}}},
                           [{"key": "*", "guest": "obey"}])
    weir = start(site, traced(config, receiver.url))
    site.put("key", "err it \x1b[2J never \"works\"")
    deliver = receiver.wait_spans(weir, 1, "deliver")[0]
    assert deliver.attributes["weir.outcome"] == "dead"
    assert "never \"works\"" in deliver.failure and "\x1b" not in deliver.failure
    handles = receiver.spans("handle")
    assert [span.failure for span in handles] == [deliver.failure] * 2
    assert weir.wait_log(GIVEN_UP)["trace"] == deliver.trace


def test_a_failure_is_logged_with_its_trace_though_it_is_not_sampled(site, receiver):
    config = configuration({"obey": {"retry": {"attempts": 1}}}, [{"key": "*", "guest": "obey"}])
    weir = start(site, traced(config, receiver.url, sample=0))
    site.put("key", "err no")
    assert re.fullmatch("[0-9a-f]{32}", weir.wait_log(GIVEN_UP)["trace"])
    assert weir.stop() == 0
    assert receiver.requests == 0


def test_without_traces_nothing_is_said_of_them(site):
    weir = start(site, untraced())
    site.put("key", "fail-once")
    told = weir.wait_traces(1, "second")[0]
    assert "+traceparent" not in told
    assert "trace" not in weir.logs(AGAIN)[0]
    assert "weir:traces" not in weir.threads()


# ---- sampling ----


def test_no_sample_exports_nothing(site, receiver):
    weir = start(site, chain(receiver, sample=0))
    for number in range(20):
        site.put(f"key-{number}", "value")
    told = weir.wait_traces(20, "second")
    assert all(each["+traceparent"].endswith("-00") for each in told)
    assert weir.stop() == 0
    assert receiver.requests == 0


def test_about_half_are_sampled(site, receiver):
    events = 300
    weir = start(site, chain(receiver, sample=0.5))
    for number in range(events):
        site.put(f"key-{number}", "value")
    told = weir.wait_traces(events, "second")
    assert weir.stop() == 0
    sampled = {TRACEPARENT.fullmatch(each["+traceparent"])[1] for each in told
               if each["+traceparent"].endswith("-01")}
    assert events * 0.35 < len(sampled) < events * 0.65
    # Wherever the trace comes by, the decision is the same.
    assert {span.trace for span in receiver.spans("deliver first")} == sampled
    assert {span.trace for span in receiver.spans("deliver second")} == sampled


@pytest.mark.parametrize("flags, sample", [("01", 0), ("00", 1)])
def test_a_trace_that_comes_with_a_message_is_kept(site, receiver, nats_server, flags, sample):
    config = configuration(
        {"first": {"wasm": "trace"}, "second": {"wasm": "trace"}},
        [{"name": "first", "watch": "news", "key": "*", "guest": "first", "to": "between"},
         {"name": "second", "watch": "between", "key": "*", "guest": "second"}],
        resources=(), topics=("between",))
    config["resources"]["news"] = {"kind": "nats", "server": f"127.0.0.1:{nats_server.port}",
                                   "mode": "subject", "prefix": "news."}
    weir = start(site, traced(config, receiver.url, sample=sample))
    parent = PARENT.format(flags)
    state = "vendor=value,other@tenant=1"

    async def publish(client, _):
        headers = {"traceparent": parent, "tracestate": state}
        await client.publish("news.today", b"value", headers=headers)
        await client.flush()

    nats_server.run(publish)
    first, second = weir.wait_traces(1, "first")[0], weir.wait_traces(1, "second")[0]
    assert first["+traceparent"] == parent, "a handler is given what came"
    match = TRACEPARENT.fullmatch(second["+traceparent"])
    assert (match[1], match[3]) == (PARENT[3:35], flags[1])
    assert match[2] != PARENT[36:52]
    assert second["+tracestate"] == state
    if flags == "00":
        assert weir.stop() == 0
        assert receiver.requests == 0
        return
    deliver = receiver.wait_spans(weir, 1, "deliver first")[0]
    assert (deliver.trace, deliver.parent) == (PARENT[3:35], PARENT[36:52])
    handle = receiver.wait_spans(weir, 1, "handle", weir_guest="first")[0]
    assert handle.id == match[2]


# ---- what a handler asks of its host ----


class Asked(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(dict(self.headers))
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def host():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def reaching(host):
    return configuration(
        {"reach": {"grants": ["store", "data", "topic"],
                   "hosts": [f"127.0.0.1:{host.server_port}"]}},
        [{"key": "*", "guest": "reach", "to": "out", "retry": {"attempts": 1}}],
        resources=("store", "data", "out"), topics=("topic",))


def test_what_a_handler_asks_for_is_a_part_of_its_span(site, receiver, host):
    for name in ("data", "out"):
        site.directory(name)
    weir = start(site, traced(reaching(host), receiver.url))
    url = f"http://127.0.0.1:{host.server_port}"
    site.put("key", "\n".join(["set data a 31", "get data a", "get data none", "list data",
                               "delete data a", "execute data 31", "send topic t 31",
                               f"http GET {url}/ none", f"http GET {url}/none none"]))
    handle = receiver.wait_spans(weir, 1, "handle")[0]
    receiver.wait_spans(weir, 1, "publish topic")
    asked = sorted((span for span in receiver.spans()
                    if span.parent == handle.id and span.name.split()[0] != "publish"),
                   key=lambda span: span.began)
    assert [(span.name, span.kind, span.failure is not None) for span in asked] == [
        ("set data", "client", False), ("get data", "client", False), ("get data", "client", False),
        ("list data", "client", False), ("delete data", "client", False),
        ("execute data", "client", True), ("send topic", "producer", False),
        ("GET 127.0.0.1", "client", False), ("GET 127.0.0.1", "client", True)]
    assert all(handle.began <= span.began <= span.ended <= handle.ended for span in asked)
    assert asked[0].attributes == {"weir.resource": "data"}
    assert asked[-1].attributes == {"http.request.method": "GET", "server.address": "127.0.0.1",
                                    "http.response.status_code": 404}
    for span, headers in zip(asked[-2:], host.asked, strict=True):
        assert headers["traceparent"] == f"00-{handle.trace}-{span.id}-01"


def test_a_header_of_the_guests_own_is_left(site, receiver, host):
    for name in ("data", "out"):
        site.directory(name)
    weir = start(site, traced(reaching(host), receiver.url, sample=0))
    url = f"http://127.0.0.1:{host.server_port}"
    site.put("key", f"http GET {url}/ none TraceParent mine\nhttp GET {url}/ none")
    weir.wait_for(lambda: len(host.asked) == 2, "both requests")
    assert [value for name, value in host.asked[0].items() if name.lower() == "traceparent"] == [
        "mine"]
    assert TRACEPARENT.fullmatch(host.asked[1]["traceparent"])[3] == "0"


# ---- the receiver fails ----


def put_and_wait(site, weir, count, prefix):
    for number in range(count):
        site.put(f"{prefix}-{number}", "value")
    weir.wait_for(lambda: len([each for each in weir.traces("second")
                               if each["subject"].startswith(prefix)]) >= count, "all events")


def test_a_receiver_that_is_away_holds_nothing_up(site):
    port = free_port()
    weir = start(site, traced(untraced(), f"http://127.0.0.1:{port}", queue=64, batch=16))
    put_and_wait(site, weir, 100, "away")
    record = weir.wait_log(CANNOT)
    assert str(port) in record["receiver"] and "no response" in record["reason"]
    # It comes: what is sent from now on arrives.
    with Receiver(port) as receiver:
        receiver.wait_spans(weir, 1)  # of those that still waited: there is room again
        put_and_wait(site, weir, 5, "here")
        receiver.wait_spans(weir, 1, "deliver second")
        assert weir.stop() == 0
    assert len(weir.logs(CANNOT)) == 1, "a minute has one line"


def test_a_receiver_that_wants_it_later_gets_it_later(site, receiver):
    receiver.answer = lambda number: (503, {"Retry-After": "1"}) if number == 1 else (
        (429, None) if number == 2 else (200, None))
    began = time.monotonic()
    weir = start(site, chain(receiver))
    site.put("key", "value")
    receiver.wait_spans(weir, 1, "deliver second")
    assert receiver.requests >= 3
    assert time.monotonic() - began >= 1, "as long as it asked for"
    assert "503" in weir.logs(CANNOT)[0]["reason"]
    assert len({span.id for span in receiver.spans()}) == len(receiver.spans())


def test_what_is_refused_is_not_sent_again(site, receiver):
    receiver.answer = lambda number: (400, None) if number == 1 else (200, None)
    weir = start(site, chain(receiver, interval="1s"))
    site.put("key", "value")
    record = weir.wait_log(REFUSED)
    assert "400" in record["reason"]
    site.put("key", "another")
    receiver.wait_spans(weir, 1, "deliver second")
    assert len(receiver.spans("deliver first")) == 1


def test_what_a_receiver_did_not_take_is_told(site, receiver):
    receiver.rejects = 2
    weir = start(site, chain(receiver))
    site.put("key", "value")
    record = weir.wait_log("the receiver of traces did not take all")
    assert record["reason"] == "they are too old" and record["spans"] == 2


def test_a_receiver_that_hangs_holds_nothing_up(site, receiver):
    may_answer = threading.Event()

    def hang(number):
        may_answer.wait(60)
        return 200, None

    receiver.answer = hang
    weir = start(site, chain(receiver, queue=64, batch=16, timeout="200ms"))
    put_and_wait(site, weir, 100, "hung")
    assert "did not answer in time" in weir.wait_log(CANNOT)["reason"]
    began = time.monotonic()
    assert weir.stop() == 0
    assert time.monotonic() - began < 15, "a stop waits 2 s for a receiver"
    may_answer.set()


def test_memory_is_bounded_whatever_waits(site):
    tree = configuration({"first": {"wasm": "trace"}}, [{"key": "*", "guest": "first"}])
    weir = start(site, traced(tree, f"http://127.0.0.1:{free_port()}", queue=256, batch=64),
                 env={"ASAN_OPTIONS": "quarantine_size_mb=1"})
    for number in range(50):
        site.put(f"warm-{number}", "value")
    weir.wait_traces(50, "first")
    before = weir.status("VmRSS")
    for number in range(1000):
        site.put(f"key-{number % 50}", f"{number}")
    site.put("last", "value")
    weir.wait_traces(1, "first", key="last")
    assert weir.status("VmRSS") - before < 32 * 1024


def test_a_stop_sends_what_waits(site, receiver):
    weir = start(site, chain(receiver, interval="1m"))
    put_and_wait(site, weir, 20, "key")
    assert weir.stop() == 0
    assert len(receiver.spans("deliver first")) == 20
    assert len(receiver.spans("deliver second")) == 20


def test_a_batch_is_sent_before_its_interval(site, receiver):
    weir = start(site, chain(receiver, interval="1m", batch=30))
    put_and_wait(site, weir, 20, "key")
    receiver.wait_spans(weir, 100)


# ---- the configuration ----


def test_the_token_is_sent_and_stands_nowhere(site, receiver):
    weir = start(site, chain(receiver, token="env:TRACES_TOKEN"), env={"TRACES_TOKEN": "s3cret"})
    site.put("key", "value")
    receiver.wait_spans(weir, 1)
    assert receiver.tokens == {"Bearer s3cret"}
    assert weir.stop() == 0
    assert b"s3cret" not in weir.stderr


def test_a_token_that_is_not_there_is_told(site, receiver):
    weir = start(site, chain(receiver, token="env:NOT_SET_AT_ALL"))
    site.put("key", "value")
    assert "NOT_SET_AT_ALL" in weir.wait_log(CANNOT)["reason"]
    assert receiver.requests == 0


@pytest.mark.parametrize("traces, told", [
    ({"endpoint": "127.0.0.1:4318"}, "traces.endpoint"),
    ({"endpoint": "ftp://127.0.0.1"}, "traces.endpoint"),
    ({"endpoint": "http://127.0.0.1", "sample": 1.5}, "traces.sample"),
    ({"endpoint": "http://127.0.0.1", "token": "secret"}, "traces.token"),
    ({"endpoint": "http://127.0.0.1", "batches": 1}, "traces.batches"),
])
def test_mistakes_are_told_with_their_key(site, traces, told):
    site.write_config(configuration({"trace": {}}, [{"key": "*", "guest": "trace"}]) |
                      {"traces": traces})
    assert told in site.command("check", "weir.yaml", status=2).stderr.decode()


def test_tail_tells_the_trace(site, receiver):
    weir = start(site, chain(receiver))
    tail = site.start("tail", "weir.yaml", "--json", "--subscription", "second", "-n", "1")
    weir.wait_for(lambda: "weir:control" in weir.threads(), "somebody to ask")

    def seen():
        site.put("key", f"{time.monotonic_ns()}")
        return tail.has_ended() or tail.out()

    weir.wait_for(seen, "a line of tail")
    line = json.loads(tail.out()[0])
    assert line["trace"] in {span.trace for span in
                             receiver.wait_spans(weir, 1, "deliver second",
                                                 cloudevents_event_id=line["id"])}
