# SPDX-License-Identifier: Apache-2.0
"""What weir gives to guests, by the standard interfaces: the same in both lanes, and no more than
is granted. The guest reach.c does what its event says and returns what came of it; standard.c knows
nothing of weir."""

import http.server
import json
import re
import socket
import threading

import pytest

from harness import GIVEN_UP, configuration, guest_path

LANES = ["core", "component"]
EVERY_BYTE = bytes(range(256))


def configured(lane, **more):
    return configuration(
        {"reach.component": {
            "lane": lane,
            "grants": [
                "store",
                {"resource": "data", "keys": "a/*"},
                {"resource": "data", "verbs": ["get", "list"], "keys": "b*"},
                {"resource": "data", "verbs": ["set"], "keys": "one"},
                {"resource": "out", "verbs": ["publish"], "keys": "k*"},
                "topic",
            ],
            **more}},
        [{"key": "*", "guest": "reach.component", "to": "out", "retry": {"attempts": 1}}],
        resources=("store", "data", "secret", "out"), topics=("topic",))


class Reach:
    """Has the guest do things, and reads what came of each."""

    def __init__(self, site, weir):
        self.site, self.weir, self.turn = site, weir, 0

    def __call__(self, *commands):
        self.turn += 1
        key = f"turn-{self.turn}"
        self.site.put(key, "\n".join(commands))
        path = self.site.root / "out" / key
        self.weir.wait_for(path.exists, f"what came of {commands}")
        answers = path.read_text(encoding="utf-8").splitlines()
        assert len(answers) == len(commands), answers
        return answers


@pytest.fixture(params=LANES)
def reach(request, site):
    weir = site.run(configured(request.param, env=["LANG_OF_THE_TEST", "NOT_SET"],
                               config={"greeting": "hi", "other": "x"}),
                    env={"LANG_OF_THE_TEST": "xx", "SECRET_OF_THE_HOST": "1"})
    weir.wait_listening()
    yield Reach(site, weir)
    assert weir.stop() == 0


def test_values_go_there_and_back(site, reach):
    assert reach(f"set data a/k {EVERY_BYTE.hex()}", "get data a/k", "exists data a/k",
                 "exists data a/none", "get data a/none") == [
                     "ok", EVERY_BYTE.hex(), "yes", "no", "none"]
    assert (site.root / "data/a/k").read_bytes() == EVERY_BYTE
    (site.root / "data/a/foreign").write_bytes(EVERY_BYTE[::-1])
    assert reach("get data a/foreign") == [EVERY_BYTE[::-1].hex()]
    assert reach("set data a/empty -", "get data a/empty", "exists data a/empty",
                 "delete data a/empty", "delete data a/empty", "get data a/empty") == [
                     "ok", "-", "yes", "ok", "ok", "none"]
    assert not (site.root / "data/a/empty").exists()


def test_many_keys_at_once(reach):
    assert reach("many data a/x 01 a/y 02 a/z -") == ["a/x=01 a/y=02 a/z=- none none none "]


def test_a_listing_has_pages_and_only_what_is_granted(site, reach):
    for index in range(1500):
        site.put(f"a/{index:04}", "", "data")
    for name in "b", "bb", "c", "one":
        site.put(name, "", "data")
    [answer] = reach("list data")
    assert answer.startswith("a/0000 a/0001 a/0002 ")
    assert answer.endswith("(1502 in 2)")


def test_numbers_are_counted_and_values_swapped(reach):
    assert reach("increment data a/n 5", "increment data a/n -7", "get data a/n") == [
        "5", "-2", b"-2".hex()]
    [answer] = reach(f"set data a/n {b'seven'.hex()}", "increment data a/n 1")[1:]
    assert "error other: " in answer and "no whole number" in answer
    [answer] = reach(f"set data a/n {str(2**63 - 1).encode().hex()}", "increment data a/n 1")[1:]
    assert "64 bits" in answer
    assert reach("swap data a/s 01", "swap data a/s 02", "get data a/s") == [
        "none swapped", "01 swapped", "02"]
    assert reach("stale data a/s 03 04", "get data a/s") == ["02 failed, now 04 swapped", "03"]


def test_what_is_not_granted_is_refused_named_and_counted(site, reach):
    site.put("k", "x", "secret")
    site.put("b1", "x", "data")
    answers = reach("get secret k", "get nowhere k", "set data b1 00", "delete data b1",
                    "get data one", "increment data b1 1", "get topic k", "set data one 00",
                    "get data b1")
    grant = "error other: guest reach.component has no grant to %s \"%s\" of data; this would be " \
            "one: {resource: data, verbs: [%s]}"
    assert answers == [
        "error access-denied", "error no-such-store", grant % ("set", "b1", "set"),
        grant % ("delete", "b1", "delete"), grant % ("get", "one", "get"),
        grant % ("set", "b1", "set"),
        "error other: resource topic, of kind topic, cannot be used as a store", "ok",
        b"x".hex()]
    record = reach.weir.wait_log("a guest was refused what it has no grant for")
    assert record["guest"] == "reach.component"
    assert "secret" in record["reason"]
    status = json.loads(site.command("status", "--json", "weir.yaml").stdout)
    assert status["subscriptions"][0]["guest_refused_total"] == 5


def test_keys_that_the_store_has_not_are_errors(reach):
    answers = reach(f"get data a/{'x' * 5000}", "set data a/.. 00", "get data a/..")
    assert answers[0].startswith("error other: ") and "bytes" in answers[0]
    assert answers[1:] == ["ok", "00"]  # any text is a key


def test_handles_are_bounded(reach):
    [answer] = reach("hold data a/k 300")
    assert re.match(r"255 error other: .*bounds\.handles", answer)
    assert reach("get data a/none") == ["none"]


def test_what_weir_keeps_for_a_guest_is_bounded_by_its_memory(site, reach):
    site.put("a/large", b"x" * (4 << 20), "data")
    [answer] = reach("hold data a/large 100")
    assert re.match(r"15 error other: .*bounds\.memory", answer)


def test_configuration_and_environment_are_given(reach):
    assert reach("config greeting", "config none", "configs", "env LANG_OF_THE_TEST", "env NOT_SET",
                 "env SECRET_OF_THE_HOST", "env PATH") == [
                     "hi", "none", "greeting=hi other=x ", "xx", "none", "none", "none"]


def test_a_guest_writes_to_the_log(reach):
    assert reach("log 3 hello") == ["logged"]
    record = reach.weir.wait_log("a guest says", text="hello")
    assert (record["level"], record["guest"], record["context"], record["severity"]) == (
        "warn", "reach.component", "reach", "warn")


def test_messages_are_sent(site, reach):
    assert reach("send out k1 00ff type com.example.made foo bar", "send out k2 - ") == [
        "00ff text/x-test 2 sent", "- text/x-test sent"]
    path = site.root / "out/k2"
    reach.weir.wait_for(path.exists, "the second message")
    assert (site.root / "out/k1").read_bytes() == b"\x00\xff"
    answers = reach("send out other 00", "send secret k 00", "send nowhere k 00",
                    "send out k 00 Bad name")
    assert answers[0].startswith("00 text/x-test error permission-denied: ")
    assert "[publish]" in answers[0]
    assert answers[1].startswith("error permission-denied: ")
    assert answers[2].startswith("error other: there is no resource")
    assert "error other: " in answers[3] and '"Bad"' in answers[3]


@pytest.mark.parametrize("lane", LANES)
def test_counting_from_many_handlers_at_once_is_exact(site, lane):
    config = configured(lane)
    config["host"] = {"workers": 8}
    weir = site.run(config)
    weir.wait_listening()
    for index in range(100):
        site.put(f"count-{index}", "increment data a/n 1\nincrement data a/n 2")
    for index in range(100):
        weir.wait_for((site.root / "out" / f"count-{index}").exists, f"answer {index}")
    assert (site.root / "data/a/n").read_bytes() == b"300"
    assert weir.stop() == 0


# ---- handlers of the standard interfaces ----


def standard(lane, subscriptions):
    return configuration(
        {"standard.component": {"lane": lane, "grants": ["store", "copy", "out"]}},
        [{"guest": "standard.component", "retry": {"attempts": 2, "backoff": "10ms"}, **one}
         for one in subscriptions],
        resources=("store", "copy", "out"), topics=("news",))


def sender(config, topic):
    """Adds a guest that sends to a topic what the store says."""
    config["guests"]["reach"] = {"wasm": str(guest_path("reach")), "grants": ["store", topic]}
    config["subscriptions"].append({"watch": "store", "key": "*", "guest": "reach"})


@pytest.mark.parametrize("lane", LANES)
def test_a_watcher_is_told_what_changes(site, lane):
    weir = site.run(standard(lane, [{"key": "*"}]))
    weir.wait_listening()
    copies = site.root / "copy"
    for name, value in {"a": b"1", "bytes": EVERY_BYTE, "empty": b"", "\N{SNOWMAN}": b"s"}.items():
        site.put(name, value)
        weir.wait_for((copies / name).exists, name)
        assert (copies / name).read_bytes() == value
    (site.root / "store/a").unlink()
    weir.wait_for(lambda: not (copies / "a").exists(), "the deletion")
    weir.wait_log("a guest says", text="deleted a", context="standard")
    # A trap is a failure, and what has no form is rejected: neither is lost in silence.
    site.put("bad", "x")
    record = weir.wait_log(GIVEN_UP, event=re.compile("^bad@"))
    assert record["attempt"] == 2
    site.put(b"\xff", "x")
    record = weir.wait_log(GIVEN_UP, reason=re.compile("the key is no text"))
    assert record["attempt"] == 1
    assert weir.stop() == 0


@pytest.mark.parametrize("lane", LANES)
def test_each_half_of_a_watcher_can_be_named(site, lane):
    weir = site.run(standard(lane, [{"key": "s*", "handler": "on-set"},
                                    {"key": "d*", "handler": "on-delete"}]))
    weir.wait_listening()
    for name in "s", "d", "s2":
        site.put(name, "x")
    for name in "s", "s2":  # keys have no order among each other
        weir.wait_for((site.root / "copy" / name).exists, f"the copy of {name}")
    (site.root / "store/s").unlink()
    (site.root / "copy/d").write_bytes(b"old")
    (site.root / "store/d").unlink()
    weir.wait_for(lambda: not (site.root / "copy/d").exists(), "the deletion")
    site.wait_rest(weir)
    assert (site.root / "copy/s").exists()
    assert weir.stop() == 0


@pytest.mark.parametrize("lane", LANES)
def test_a_value_too_large_for_a_watcher_is_no_empty_value(site, lane):
    config = standard(lane, [{"key": "*"}])
    config["guests"]["standard.component"]["bounds"] = {"event": "1KiB"}
    weir = site.run(config)
    weir.wait_listening()
    site.put("large", "x" * 2000)
    weir.wait_log(GIVEN_UP, reason=re.compile("bounds.event"))
    assert not (site.root / "copy/large").exists()
    assert weir.stop() == 0


@pytest.mark.parametrize("lane", LANES)
def test_messages_are_handled_and_sent_on(site, lane):
    config = standard(lane, [{"watch": "news", "key": "*", "handler": "handle"}])
    sender(config, "news")
    weir = site.run(config)
    weir.wait_listening()
    site.put("go", "\n".join([f"send news one {EVERY_BYTE.hex()} a b", "send news fail 00",
                              "send news two -"]))
    for name, value in {"one": EVERY_BYTE, "two": b""}.items():
        weir.wait_for((site.root / "out" / name).exists, name)
        assert (site.root / "out" / name).read_bytes() == value
    record = weir.wait_log(GIVEN_UP, reason="connection: it is called fail")
    assert record["attempt"] == 2
    assert weir.stop() == 0


def test_a_chain_of_messages_that_feeds_itself_is_cut(site):
    """standard.c sends each message on to the topic that it came from."""
    config = standard("core", [{"watch": "out", "key": "*", "handler": "handle"}])
    del config["resources"]["out"]
    config["resources"]["out"] = {"kind": "topic"}
    config["host"] = {"hops": 5}
    sender(config, "out")
    weir = site.run(config)
    weir.wait_listening()
    site.put("go", "send out round 00")
    weir.wait_log(GIVEN_UP, reason=re.compile("the chain has passed 6 handlers"))
    assert weir.stop() == 0


# ---- HTTP ----


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; /slow when the test says so."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.path == "/slow":
            self.server.may_answer.wait(60)
        if self.path == "/large":
            body = b"x" * (1 << 20)
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("X-Method", self.command)
        self.send_header("X-Given", self.headers.get("X-Given", "-"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Answers) as running:
        running.may_answer = threading.Event()
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.may_answer.set()
        running.shutdown()


@pytest.mark.parametrize("lane", LANES)
def test_a_guest_asks_a_host_that_is_granted(site, lane, server):
    here = f"127.0.0.1:{server.server_port}"
    weir = site.run(configured(lane, hosts=[here], bounds={"event": "512KiB", "time": "20s"}))
    weir.wait_listening()
    reach = Reach(site, weir)
    answers = reach(f"http GET http://{here}/ none X-Given you",
                    f"http POST http://{here}/ {EVERY_BYTE.hex()}",
                    f"http PUT http://{here}/none {b'text'.hex()}",
                    f"http GET http://{here}/slow none timeout=50",
                    f"http GET http://{here}/large none",
                    f"http GET http://localhost:{server.server_port}/ none",
                    "http GET file:///etc/passwd none", f"http GET http://{here}/ none Host evil")
    assert answers[:3] == ["200 x-method=GET x-given=you text 0 ",
                           f"200 x-method=POST x-given=- binary 256 {EVERY_BYTE.hex()}",
                           "404 x-method=PUT x-given=- text 4 text"]
    assert answers[3].startswith("error timeout: ")
    assert answers[4].startswith("error limit: ")
    assert answers[5] == (f"error denied: guest reach.component has no grant to ask localhost:"
                          f"{server.server_port} by HTTP; this would be one: hosts: "
                          f"[\"localhost:{server.server_port}\"]")
    assert answers[6].startswith("error invalid: ")
    assert answers[7].startswith("error invalid: ")
    assert weir.stop() == 0


@pytest.mark.parametrize("lane", LANES)
def test_waiting_for_an_answer_counts_as_the_guests_time(site, lane, server):
    here = f"127.0.0.1:{server.server_port}"
    weir = site.run(configured(lane, hosts=[here], bounds={"time": "300ms"}))
    weir.wait_listening()
    reach = Reach(site, weir)
    [answer] = reach(f"http GET http://{here}/slow none")
    assert answer.startswith("error timeout: ")
    assert weir.stop() == 0


def test_a_wait_for_an_answer_is_cut_with_its_handler(site, server):
    here = f"127.0.0.1:{server.server_port}"
    config = configured("core", hosts=[here], bounds={"time": "10m"})
    config["host"] = {"grace": "100ms"}
    weir = site.run(config)
    weir.wait_listening()
    site.put("wait", f"http GET http://{here}/slow none")
    weir.wait_for(lambda: threading.active_count() > 3, "the request")
    assert weir.stop() == 0


def test_nobody_there_is_an_error(site):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        weir = site.run(configured("core", hosts=[here]))
        weir.wait_listening()
        [answer] = Reach(site, weir)(f"http GET http://{here}/ none")
    assert answer.startswith("error unavailable: ")
    assert weir.stop() == 0


def test_a_host_that_is_none_is_a_mistake(site):
    site.write_config(configured("core", hosts=["http://example.com", "a:99999"]))
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    assert "hosts[0]" in told and "hosts[1]" in told
