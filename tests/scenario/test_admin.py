# SPDX-License-Identifier: Apache-2.0
"""What weir tells at its admin address is what it does; who may not is kept out; and whatever is
done to the address, it is bounded and events flow on."""

import contextlib
import http.client
import json
import random
import re
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.parse

import pytest

from admin import TOKEN, Admin, listeners
from harness import DEADLINE_S, LITTLE_QUARANTINE, SOURCE, configuration
from places import on
from servers import Prometheus, Redis, find_program

RETRY = {"attempts": 3, "backoff": "1ms", "backoff_max": "1ms"}
# Connections that are opened and left so.
IDLE = 1000
# Rounds of requests that are none.
MALFORMED = 300


def start(site, config, **options):
    weir = site.run(config, **options)
    weir.wait_listening()
    return weir


def obeying(admin, **others):
    """One guest that does what a value says, and is tried three times."""
    return configuration({"obey": {"retry": RETRY, "bounds": {"time": "100ms"}}},
                         [{"name": "orders", "key": "*", "guest": "obey"}],
                         host={"workers": 2}, **admin.config, **others)


def wait_counted(weir, admin, name, value, **labels):
    """Waits until a metric has that value, and returns all."""
    def has_come():
        metrics = admin.metrics()
        return metrics.find(name, **labels) == [value] and metrics
    return weir.wait_for(has_come, f"{name} {labels} = {value}")


def wait_letters(weir, admin, count):
    """Waits until so many dead letters can be read: they are counted a commit before."""
    weir.wait_for(lambda: len(admin.get("/api/dead-letters").json["dead_letters"]) == count,
                  f"{count} dead letters")


# ---- metrics ----


@pytest.mark.tsan
def test_metrics_count_what_happened(site):
    admin = Admin()
    weir = start(site, obeying(admin))
    for key, value in {"a": "ok", "b": "err no", "c": "trap", "d": "loop", "e": "derive 10"}.items():
        site.put(key, value)
    # b, c and d are tried three times each.
    metrics = wait_counted(weir, admin, "weir_subscription_dead_events_total", 3,
                           subscription="orders")
    metrics = wait_counted(weir, admin, "weir_subscription_handled_events_total", 2,
                           subscription="orders")

    def value(name):
        return metrics.value(f"weir_subscription_{name}", subscription="orders")

    assert value("received_events_total") == 5
    assert value("delivered_attempts_total") == 11
    assert value("failed_attempts_total") == 9
    assert value("retried_attempts_total") == 6
    assert value("cut_attempts_total") == 3
    assert value("trapped_attempts_total") == 3
    assert value("lag_events") == value("in_flight_events") == value("queued_bytes") == 0
    for name, count in ("handler", 11), ("event", 5):
        name = f"weir_{name}_duration_seconds"
        assert metrics.value(f"{name}_count", subscription="orders") == count
        assert metrics.value(f"{name}_bucket", subscription="orders", le="+Inf") == count
        buckets = metrics.find(f"{name}_bucket", subscription="orders")
        assert buckets == sorted(buckets)
        # d was cut after 100 ms, three times.
        assert metrics.value(f"{name}_sum", subscription="orders") > 0.3
    assert metrics.value("weir_handler_duration_seconds_bucket", subscription="orders",
                         le="0.05") <= 8
    assert metrics.value("weir_guest_made_instances_total", guest="obey") == 11
    assert metrics.value("weir_guest_instance_memory_bytes", guest="obey") >= 64 * 1024
    assert metrics.value("weir_guest_compile_seconds", guest="obey") > 0
    assert metrics.value("weir_state_commits_total") > 0
    assert metrics.value("process_resident_memory_bytes") > 1 << 20
    assert metrics.value("process_threads") == len(weir.threads())
    assert abs(metrics.value("process_start_time_seconds") - time.time()) < DEADLINE_S
    assert metrics.value("weir_subscription_info", subscription="orders", resource="store",
                         guest="obey", handler="handle-event") == 1
    # The same as weir status says.
    own = json.loads(site.command("status", "weir.yaml", "--json").stdout)["subscriptions"][0]
    assert own["delivered_total"] == 11 and own["cut_total"] == 3 and own["trapped_total"] == 3


def test_what_waits_is_told_with_its_age(site):
    admin = Admin()
    weir = start(site, configuration(
        {"obey": {"bounds": {"time": "1h"}}},
        [{"name": "orders", "key": "*", "guest": "obey", "concurrency": 1}], **admin.config))
    site.put("first", "loop")
    weir.wait_printed("obey", "loop: begin")
    for number in range(5):
        site.put(f"key-{number}", "ok")
    metrics = wait_counted(weir, admin, "weir_subscription_lag_events", 6, subscription="orders")
    assert metrics.value("weir_subscription_in_flight_events", subscription="orders") == 1
    assert metrics.value("weir_subscription_queued_bytes", subscription="orders") > 0
    first = metrics.value("weir_subscription_lag_seconds", subscription="orders")
    weir.wait_for(lambda: admin.metrics().value("weir_subscription_lag_seconds",
                                                subscription="orders") > first + 0.5,
                  "the age of what waits to rise")


def test_no_key_is_a_label(site):
    admin = Admin()
    weir = start(site, obeying(admin))
    site.put("first", "ok")
    before = wait_counted(weir, admin, "weir_subscription_handled_events_total", 1)
    for number in range(200):
        site.put(f"secret-{number}", "ok")
    after = wait_counted(weir, admin, "weir_subscription_handled_events_total", 201)
    assert len(after.samples) == len(before.samples)
    assert "secret" not in after.text


def test_subscriptions_beyond_the_most_have_no_series_and_that_is_told(site):
    admin = Admin()
    most, more = 2000, 20
    start(site, configuration(
        {"obey": {}}, [{"name": f"s{number}", "key": f"k{number}", "guest": "obey"}
                       for number in range(most + more)], **admin.config))
    metrics = admin.metrics()
    assert len(metrics.find("weir_subscription_info")) == most
    assert metrics.value("weir_subscriptions_without_series") == more


def test_a_label_holds_any_name(site):
    """A derived name has the key of the watch, in which what is no letter is coded."""
    admin = Admin()
    start(site, configuration({"obey": {}}, [{"key": 'a "b" \\ c\n*', "guest": "obey"}],
                              **admin.config))
    names = {labels["subscription"] for _, labels, _ in admin.metrics().samples
             if "subscription" in labels}
    assert names == {"obey/store/a%20%22b%22%20%5C%20c%0A*/handle-event"}


def test_a_server_that_is_away_is_told(site, servers, redis_server):
    admin = Admin()
    weir = start(site, configuration(
        {"obey": {}}, [{"watch": "cache", "key": "*", "guest": "obey"}], resources=(),
        **admin.config) | {"resources": {"cache": {"kind": "redis", "address": f"127.0.0.1:{redis_server.port}"}}})
    wait_counted(weir, admin, "weir_resource_connected", 1, resource="cache", kind="redis")
    assert admin.get("/readyz").status == 200
    redis_server.stop()
    metrics = wait_counted(weir, admin, "weir_resource_connected", 0, resource="cache")
    assert metrics.value("weir_resource_errors_total", resource="cache") > 0
    answer = admin.get("/readyz")
    assert answer.status == 503
    assert [(each["what"], each["name"]) for each in answer.json["reasons"]] == [
        ("resource", "cache")]
    assert answer.json["reasons"][0]["reason"]
    assert admin.get("/healthz").status == 200
    redis_server.start()
    metrics = wait_counted(weir, admin, "weir_resource_connected", 1, resource="cache")
    assert metrics.value("weir_resource_reconnects_total", resource="cache") == 1
    assert admin.get("/readyz").status == 200


def documented():
    """The families that docs/admin.md lists, with their types."""
    text = (SOURCE / "docs/admin.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|", text, re.MULTILINE))


def everything(site, servers, admin):
    """A weir that has something to tell of each family."""
    redis = servers.start(Redis)
    config = configuration(
        {"obey": {"retry": RETRY}},
        [{"name": "orders", "key": "*", "guest": "obey", "to": "results"},
         {"name": "cached", "watch": "cache", "key": "*", "guest": "obey"}],
        topics=("results",), traces={"endpoint": "http://127.0.0.1:9", "sample": 1}, **admin.config)
    config["resources"]["cache"] = {"kind": "redis", "address": f"127.0.0.1:{redis.port}"}
    weir = start(site, config)
    site.put("a", "derive 10")
    site.put("b", "err no")
    wait_counted(weir, admin, "weir_target_published_events_total", 1)
    wait_counted(weir, admin, "weir_subscription_dead_events_total", 1, subscription="orders")
    return weir


def test_the_metrics_are_those_of_the_documentation(site, servers):
    admin = Admin()
    everything(site, servers, admin)
    assert admin.metrics().families() == documented()


def test_promtool_finds_nothing_to_say_of_the_metrics(site, servers):
    promtool = find_program("promtool")
    if not promtool:
        pytest.skip("there is no promtool on this machine")
    admin = Admin()
    everything(site, servers, admin)
    done = subprocess.run([promtool, "check", "metrics"], input=admin.get("/metrics").body,
                          capture_output=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def expressions():
    """What the dashboard asks, with its variables as Grafana fills them in."""
    dashboard = json.loads((SOURCE / "dist/grafana/weir.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5s")
            yield panel["title"], re.sub(r"\$\w+", ".*", expression)


def test_prometheus_scrapes_it_and_the_dashboard_shows_it(site, servers):
    if not find_program("prometheus"):
        pytest.skip("there is no prometheus on this machine")
    admin = Admin()
    weir = everything(site, servers, admin)
    prometheus = servers.start(Prometheus, target=admin.address)

    def has(expression, value):
        weir.wait_for(lambda: [each for _, each in prometheus.query(expression)] == [value],
                      lambda: f"{expression} = {value}: {prometheus.query(expression)}")

    has("up", 1)
    has('weir_subscription_handled_events_total{subscription="orders"}', 1)
    has("sum(weir_dead_letters)", 1)
    has('weir_resource_connected{resource="cache"}', 1)
    # Rates want two scrapes between which something happened.
    stop = threading.Event()

    def write():
        number = 0
        while not stop.wait(0.05):
            number += 1
            site.put(f"more-{number % 10}", "ok" if number % 2 else "err no")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        has('rate(weir_subscription_handled_events_total{subscription="orders"}[5s]) > bool 0', 1)
        has('histogram_quantile(0.5, sum by (le) (rate(weir_handler_duration_seconds_bucket'
            '{subscription="orders"}[5s]))) > bool 0', 1)
        families = admin.metrics().families()
        for title, expression in expressions():
            prometheus.query(expression)  # it is understood
            for name in re.findall(r"\b(?:weir|process)_[a-z_]+", expression):
                family = re.sub(r"_bucket$", "", name)
                assert family in families, f"{title}: there is no {name}"
    finally:
        stop.set()
        writer.join()


# ---- who may ----


def test_without_a_configuration_nobody_listens(site):
    weir = start(site, configuration({"obey": {}}, [{"key": "*", "guest": "obey"}]))
    assert listeners(weir.pid) == set()
    assert "weir:admin" not in weir.threads()


def test_elsewhere_a_token_is_wanted(site):
    admin = Admin("0.0.0.0", has_token=True)
    start(site, obeying(admin), env=admin.env)
    for path in "/metrics", "/api/status", "/api/tail", "/api/dead-letters", "/api/story?id=a":
        for token in None, "wrong", TOKEN[:-1], TOKEN + "x", "":
            answer = admin.get(path, token=token)
            assert answer.status == 401, (path, token)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert TOKEN not in answer.text
    assert admin.get("/metrics", token=TOKEN).status == 200
    # Probes have none, and are told no reasons.
    assert admin.get("/healthz").status == 200
    assert "reasons" not in admin.get("/readyz").json
    assert "reasons" in admin.get("/readyz", token=TOKEN).json
    # The console itself is no secret.
    assert admin.get("/").status == 200


@pytest.mark.parametrize("admin, message", [
    ("0.0.0.0:9464", "0.0.0.0:9464 can be reached from elsewhere: add a token"),
    ("[::]:9464", "can be reached from elsewhere"),
    ("localhost:9464", "write IP:PORT, as 127.0.0.1:9464"),
    ("127.0.0.1", "write IP:PORT"),
    ("127.0.0.1:0", "write IP:PORT"),
    ({"address": "127.0.0.1:99999"}, "write IP:PORT"),
    ({"address": "127.0.0.1:9464", "socket": "./a"}, "either an address or a socket"),
    ({"token": "env:T"}, "a token for nothing"),
    ({"address": "127.0.0.1:9464", "token": "hunter2"}, "env:NAME or file:PATH"),
    ({"adress": "127.0.0.1:9464"}, 'did you mean "address"'),
])
def test_a_mistake_is_told(site, admin, message):
    site.write_config(configuration({"obey": {}}, [{"key": "*", "guest": "obey"}], admin=admin))
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    assert message in told and "admin" in told
    assert "hunter2" not in told


def test_an_address_that_is_taken_is_told(site):
    admin = Admin()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", admin.port))
        taken.listen()
        site.write_config(obeying(admin))
        told = site.command("run", "weir.yaml", status=(1, 2)).stderr.decode()
    assert f"another program listens at {admin.address} already" in told


def ask_socket(path, request=b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_socket_is_for_its_user_alone(site):
    path = site.root / "admin.sock"
    config = configuration({"obey": {}}, [{"key": "*", "guest": "obey"}], admin="./admin.sock")
    weir = start(site, config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"weir_build_info" in ask_socket(path)
    second = site.run(config, "--state", site.directory("other"))
    assert second.wait_exit() != 0
    assert b"listens at" in second.stderr
    weir.kill()
    assert path.exists()  # it could not remove it
    weir = start(site, config)
    assert b"weir_build_info" in ask_socket(path)
    assert weir.stop() == 0
    assert not path.exists()
    path.write_text("somebody's", encoding="utf-8")
    assert site.run(config).wait_exit() != 0
    assert path.read_text(encoding="utf-8") == "somebody's"


def test_pages_of_other_sites_read_and_change_nothing(site):
    admin = Admin(has_token=True)
    weir = start(site, obeying(admin), env=admin.env)
    site.put("a", "err no")
    wait_counted(weir, admin, "weir_dead_letters", 1)
    letter = admin.get("/api/dead-letters").json["dead_letters"][0]["id"]
    for path in "/api/status", "/api/dead-letters", "/metrics", "/api/tail":
        for site_of in "cross-site", "same-site", "nonsense":
            answer = admin.get(path, headers={"Sec-Fetch-Site": site_of})
            assert answer.status == 403, (path, site_of)
        # A name of somebody else's that leads to this machine.
        for host in ("evil.example", "evil.example:9464", "127.0.0.1.evil.example",
                     "localhost.evil.example", f"[::1].evil.example:{admin.port}", "128.0.0.1", ""):
            assert admin.get(path, headers={"Host": host}).status == 403, (path, host)
    for host in "localhost", f"LOCALHOST:{admin.port}", "127.1.2.3", "[::1]:80":
        assert admin.get("/api/status", headers={"Host": host}).status == 200, host
    for path in f"/api/dead-letters/{letter}/retry", f"/api/dead-letters/{letter}/remove":
        for headers in ({}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-origin"},
                        {"Cookie": f"token={TOKEN}"}, {"Authorization": f"Basic {TOKEN}"}):
            assert admin.post(path, headers=headers).status == 401, headers
        assert admin.get(path).status in (404, 405)
        assert admin.post(path, body=f"token={TOKEN}").status == 413
        # What a browser asks before it sends a header of a page's.
        answer = admin.request("OPTIONS", path, headers={
            "Origin": "http://evil.example", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization"})
        assert answer.status == 405
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert admin.metrics().value("weir_dead_letters") == 1
    assert len(admin.get("/api/dead-letters").json["dead_letters"]) == 1


def test_every_answer_keeps_browsers_from_more_than_showing_it(site):
    admin = Admin()
    start(site, obeying(admin))
    for path in "/", "/metrics", "/api/status", "/nothing", "/api/dead-letters/1":
        headers = admin.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
    answer = admin.request("HEAD", "/metrics")
    assert answer.status == 200 and answer.body == b""
    assert admin.request("DELETE", "/metrics").status == 405


def test_the_token_is_read_anew(site):
    admin = Admin(has_token=True)
    place = site.root / "token"
    place.write_text("first\n", encoding="utf-8")
    config = obeying(admin) | {"admin": {"address": admin.address, "token": "file:./token"}}
    start(site, config)
    assert admin.get("/api/status", token="first").json["may_change"]
    place.write_text("second\n", encoding="utf-8")
    assert not admin.get("/api/status", token="first").json["may_change"]
    assert admin.get("/api/status", token="second").json["may_change"]
    place.unlink()
    assert not admin.get("/api/status", token="second").json["may_change"]


# ---- dead letters, tails, stories ----


def test_dead_letters_are_read_retried_and_removed(site):
    admin = Admin(has_token=True)
    weir = start(site, obeying(admin), env=admin.env)
    for number in range(7):
        site.put(f"key-{number}", f"err reason {number}")
        wait_counted(weir, admin, "weir_subscription_dead_events_total", number + 1)
    wait_letters(weir, admin, 7)
    page = admin.get("/api/dead-letters?limit=3").json
    letters = page["dead_letters"]
    while page["next"]:
        page = admin.get(f"/api/dead-letters?limit=3&before={page['next']}").json
        assert len(page["dead_letters"]) <= 3
        letters += page["dead_letters"]
    assert [each["event"]["subject"] for each in letters] == [
        f"key-{number}" for number in reversed(range(7))]
    assert letters[0]["reason"] == "reason 6" and letters[0]["attempts"] == 3
    whole = admin.get(f"/api/dead-letters/{letters[0]['id']}").json
    assert whole["event"]["data"] == "err reason 6"
    assert "err: begin" in whole["output"]
    assert admin.get("/api/dead-letters?subscription=other").json["dead_letters"] == []
    assert len(admin.get("/api/dead-letters?subscription=orders").json["dead_letters"]) == 7
    first, second = letters[0]["id"], letters[1]["id"]
    assert admin.post(f"/api/dead-letters/{first}/remove", token=TOKEN).json == {"id": first}
    assert admin.get(f"/api/dead-letters/{first}").status == 404
    assert admin.post(f"/api/dead-letters/{first}/remove", token=TOKEN).status == 404
    before = admin.metrics().value("weir_subscription_delivered_attempts_total")
    assert admin.post(f"/api/dead-letters/{second}/retry", token=TOKEN).json == {"id": second}
    # It fails again, three times, and is a dead letter again.
    wait_counted(weir, admin, "weir_subscription_delivered_attempts_total", before + 3)
    wait_letters(weir, admin, 6)
    for path in ("0/retry", "abc/retry", "1/other", "1", "", "99999999999999999999/remove",
                 "-1/remove", "1/retry/x"):
        assert admin.post(f"/api/dead-letters/{path}", token=TOKEN).status in (404, 405), path
    for query in "before=x", "limit=-1", "limit=1e3":
        assert admin.get(f"/api/dead-letters?{query}").status == 400


def test_a_large_body_is_shown_in_part(site):
    admin = Admin()
    weir = start(site, obeying(admin))
    site.put("big", "err " + "é" * 100_000)
    site.put("bytes", b"err \xff" + bytes(200_000))
    wait_letters(weir, admin, 2)
    for letter in admin.get("/api/dead-letters").json["dead_letters"]:
        whole = admin.get(f"/api/dead-letters/{letter['id']}")
        assert len(whole.body) < 150_000
        assert whole.json["event"]["is_cut"] is True
        assert letter["bytes"] > 200_000


@pytest.mark.tsan
def test_a_tail_tells_what_happens(site):
    admin = Admin()
    weir = start(site, obeying(admin))
    everything_told, failures = admin.events("/api/tail"), admin.events(
        "/api/tail?failed=1&subscription=orders&key=bad")
    # A generator connects when it is first asked.
    told, failed = [], []
    readers = [threading.Thread(target=lambda: told.extend(next(everything_told) for _ in range(5))),
               threading.Thread(target=lambda: failed.extend(next(failures) for _ in range(3)))]
    for reader in readers:
        reader.start()
    weir.wait_for(lambda: "weir:admin" in weir.threads() and
                  len([each for each in weir.descriptors() if each.startswith("socket:")]) >= 4,
                  "both tails to be connected")
    site.put("good", "ok")
    site.put("bad", "err no")
    site.put("other", "ok")
    for reader in readers:
        reader.join(DEADLINE_S)
        assert not reader.is_alive(), (told, failed)
    assert sorted((each["subject"], each["attempt"], each["outcome"]) for each in told) == [
        ("bad", 1, "retry"), ("bad", 2, "retry"), ("bad", 3, "dead"), ("good", 1, "handled"),
        ("other", 1, "handled")]
    assert [(each["subject"], each["outcome"], each["reason"]) for each in failed] == [
        ("bad", "retry", "no"), ("bad", "retry", "no"), ("bad", "dead", "no")]
    assert all(each["took_ns"] > 0 for each in told)
    assert "err: begin" in failed[0]["output"]
    everything_told.close()
    failures.close()


def test_a_tail_of_much_is_a_sample_and_says_so(site):
    admin = Admin()
    weir = start(site, obeying(admin))
    events = admin.events("/api/tail")
    told, left_out = [], 0
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            site.put(f"key-{number % 50}", "ok")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for each in events:
            left_out += each.get("left_out", 0)
            told += [each] if "id" in each else []
            if left_out > 0 and len(told) > 30:
                break
        before_s, before = time.monotonic(), len(told)
        while time.monotonic() < before_s + 2:
            told += [next(events)]
        # A hundred a second, and what was left out.
        assert len(told) - before < 300
    finally:
        stop.set()
        writer.join()
        events.close()
    assert weir.process.poll() is None


def story_of(event):
    return "/api/story?" + urllib.parse.urlencode({"id": event["id"], "source": event["source"]})


def test_the_story_of_an_event(site):
    admin = Admin()
    config = configuration(
        {"obey": {"retry": RETRY}, "flaky": {"retry": RETRY}},
        [{"name": "orders", "key": "*", "guest": "obey", "to": "results"},
         {"name": "after", "watch": "results", "key": "*", "guest": "flaky"}],
        topics=("results",), **admin.config)
    weir = start(site, config)
    tail = admin.events("/api/tail")
    told = []
    reader = threading.Thread(target=lambda: told.extend(next(tail) for _ in range(2)))
    reader.start()
    weir.wait_for(lambda: len([each for each in weir.descriptors()
                               if each.startswith("socket:")]) >= 3, "the tail to be connected")
    site.put("a", "derive 1")
    reader.join(DEADLINE_S)
    assert [each["subscription"] for each in told] == ["orders", "after"], told
    cause, derived = told
    story = admin.get(story_of(cause)).json
    assert [(each["outcome"], each["attempt"]) for each in story["attempts"]] == [("derived", 1)]
    assert "derive: begin" in story["attempts"][0]["output"]
    assert [(each["id"], each["subscription"]) for each in story["derived"]] == [
        (derived["id"], "after")]
    story = admin.get(story_of(derived)).json
    assert story["cause"] == {"id": cause["id"]}
    tail.close()
    # Failures are kept also where nobody tails.
    site.put("b", "err no")
    wait_counted(weir, admin, "weir_dead_letters", 1)
    letter = admin.get("/api/dead-letters").json["dead_letters"][0]
    event = letter["event"]
    story = admin.get(story_of(event)).json
    assert [(each["attempt"], each["outcome"], each["reason"]) for each in story["attempts"]] == [
        (1, "retry", "no"), (2, "retry", "no"), (3, "dead", "no")]
    assert [each["id"] for each in story["dead_letters"]] == [letter["id"]]
    assert admin.get("/api/story?id=a").status == 400
    nothing = admin.get("/api/story?id=nothing&source=/nowhere").json
    assert nothing["attempts"] == nothing["derived"] == nothing["dead_letters"] == []


def test_what_was_lately_is_there_at_once(site):
    admin = Admin()
    weir = start(site, obeying(admin))
    for number in range(10):
        site.put(f"key-{number}", "ok")
    site.put("bad", "err no")

    def lately():
        history = admin.get("/api/history?subscription=orders").json
        return sum(history["handled"]) == 10 and sum(history["failed"]) == 3 and history

    history = weir.wait_for(lately, "the history")
    assert len(history["handled"]) == len(history["lag"]) <= 120
    assert admin.get("/api/history").json["subscriptions"].keys() == {"orders"}
    histograms = admin.get("/api/histograms?subscription=orders").json
    assert histograms["handler"]["count"] == sum(histograms["handler"]["counts"]) == 13
    assert len(histograms["handler"]["counts"]) == len(histograms["handler"]["le_seconds"]) + 1
    assert histograms["event"]["count"] == 11
    assert admin.get("/api/histograms?subscription=other").status == 404


# ---- whatever is done to it ----


@pytest.fixture
def flowing(site):
    """A weir, and a function by which a test sees that events flow."""
    admin = Admin()
    weir = start(site, obeying(admin), env=LITTLE_QUARANTINE)
    counted = [0]

    def flow():
        counted[0] += 1
        site.put(f"flow-{counted[0]}", "ok")
        weir.wait_printed("obey", "ok: begin", counted[0])

    flow()
    return weir, admin, flow


def test_a_thousand_idle_connections_hold_nobody_up(flowing):
    weir, admin, flow = flowing
    memory = weir.status("VmRSS")
    descriptors = len(weir.descriptors())
    with contextlib.ExitStack() as stack:
        for number in range(IDLE):
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.connect(("127.0.0.1", admin.port))
            if number % 100 == 0:
                flow()
        flow()
        assert len(weir.descriptors()) <= descriptors + 128 + 4
        assert weir.status("VmRSS") < memory + 64 * 1024
        # They are ended, and others have their turn, though none of them goes.
        weir.wait_for(lambda: _is_served(admin), "an answer", deadline_s=2 * DEADLINE_S)
        flow()
    weir.wait_for(lambda: len(weir.descriptors()) <= descriptors + 1, "the connections to be gone")


def _is_served(admin):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return admin.get("/healthz").status == 200
    return False


def test_who_sends_slowly_is_ended(flowing):
    weir, admin, flow = flowing
    with contextlib.closing(admin.socket()) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        began_s, ended = time.monotonic(), False
        while not ended and time.monotonic() < began_s + DEADLINE_S:
            try:
                connection.sendall(b"X")  # never the end of a header
                connection.settimeout(0.5)
                ended = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended and time.monotonic() - began_s < 20
    flow()


def test_who_takes_slowly_is_ended(site):
    """Also where each byte comes in time: an answer as a whole has one."""
    admin = Admin()
    weir = start(site, configuration(
        {"obey": {}}, [{"name": f"s{number}", "key": f"k{number}", "guest": "obey"}
                       for number in range(1000)], **admin.config), env=LITTLE_QUARANTINE)
    memory = weir.status("VmRSS")
    connections = []
    for _ in range(40):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", admin.port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connections.append(connection)
    # What waits to be taken is bounded; further ones are told so.
    weir.wait_for(lambda: _is_served(admin), "an answer")
    assert weir.status("VmRSS") < memory + (64 + 64) * 1024

    def are_gone():
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.recv(1, socket.MSG_DONTWAIT)
        return len([each for each in weir.descriptors() if each.startswith("socket:")]) < 10

    weir.wait_for(are_gone, "the slow ones to be ended", deadline_s=2 * DEADLINE_S)
    assert admin.metrics().value("weir_subscription_info", subscription="s1") == 1
    for connection in connections:
        connection.close()


def test_huge_requests_are_refused(flowing):
    weir, admin, flow = flowing
    memory = weir.status("VmRSS")
    for request in (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
                    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
                    b"POST /api/dead-letters/1/retry HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Length: 99999999999\r\n\r\n" + b"a" * (1 << 20),
                    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + b"ffffff\r\n" + b"a" * (1 << 20)):
        with contextlib.closing(admin.socket()) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(request)
            with contextlib.suppress(OSError):
                answer = connection.recv(65536)
                assert not answer.startswith(b"HTTP/1.1 2"), answer
        flow()
    assert weir.status("VmRSS") < memory + 32 * 1024
    assert _is_served(admin)


def malformed(random_bytes):
    """Requests that are none, and some that nearly are."""
    good = b"GET /api/status?a=b HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
    for _ in range(MALFORMED):
        kind = random_bytes.randrange(4)
        if kind == 0:
            yield random_bytes.randbytes(random_bytes.randrange(1, 2000))
        elif kind == 1:
            at = random_bytes.randrange(len(good))
            yield good[:at] + random_bytes.randbytes(random_bytes.randrange(8)) + good[at + 1:]
        elif kind == 2:
            yield good[:random_bytes.randrange(len(good))]
        else:
            yield good * random_bytes.randrange(1, 20)


def test_malformed_requests_break_nothing(flowing):
    weir, admin, flow = flowing
    descriptors = len(weir.descriptors())
    seed = random.SystemRandom().randrange(1 << 32)
    for request in malformed(random.Random(seed)):
        with contextlib.closing(admin.socket()) as connection, contextlib.suppress(OSError):
            connection.sendall(request)
            connection.settimeout(0.02)  # most of it is not answered, and waited for
            while connection.recv(65536):
                pass
        assert not weir.has_ended(), f"seed {seed}: {request!r}"
    assert _is_served(admin)
    flow()
    weir.wait_for(lambda: len(weir.descriptors()) <= descriptors + 1, "the connections to be gone")


def test_odd_arguments_are_answered(flowing):
    _, admin, flow = flowing
    odd = ["%00", "%ff%fe", "%22%5C", "a" * 4000, "%E2%82%AC", "../../etc/passwd", "%", "%zz", ""]
    for path in ("/api/history?subscription=", "/api/histograms?subscription=",
                 "/api/story?source=x&id=", "/api/story?id=x&source=", "/api/dead-letters?before=",
                 "/api/dead-letters?subscription=", "/api/dead-letters/", "/", "/api/"):
        for argument in odd:
            answer = admin.get(path + argument)
            assert answer.status in (200, 400, 404), (path, argument, answer.status)
    flow()


def test_a_tail_that_nobody_reads_costs_little(flowing):
    weir, admin, flow = flowing
    with contextlib.closing(admin.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /api/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        memory = weir.status("VmRSS")
        for _ in range(100):
            flow()
        assert weir.status("VmRSS") < memory + 32 * 1024
        assert weir.stop() == 0  # and does not wait for it


def test_tails_are_bounded(flowing):
    weir, admin, flow = flowing
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            connection = stack.enter_context(contextlib.closing(admin.socket()))
            connection.sendall(b"GET /api/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        answer = admin.get("/api/tail")
        assert answer.status == 429 and "tail already" in answer.text
        flow()
    weir.wait_for(lambda: _tails(admin), "a tail to be free")


def _tails(admin):
    with contextlib.closing(admin.socket()) as connection:
        connection.sendall(b"GET /api/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.recv(12) == b"HTTP/1.1 200"


def test_a_change_of_the_address_takes_a_restart(site):
    admin, other = Admin(), Admin()
    weir = start(site, obeying(admin))
    site.write_config(obeying(other))
    weir.send(signal.SIGHUP)
    weir.wait_log("this change takes a restart")
    assert admin.get("/healthz").status == 200


@pytest.mark.tsan
@on(lambda place: place.name in ("redis-streams", "nats-stream"))
def test_what_a_source_tells_again_is_counted(site, place):
    admin = Admin()
    config = configuration({"obey": {"bounds": {"time": "1h"}}},
                           [{"name": "orders", "watch": "place", "key": "*", "guest": "obey"}],
                           resources=(), **admin.config)
    config["resources"]["place"] = place.resource()
    weir = start(site, config)
    with place.connect() as client:
        client.change([("a", b"loop")])
        weir.wait_printed("obey", "loop: begin")
        assert admin.metrics().value("weir_subscription_repeated_events_total") == 0
        weir.kill()
        weir = start(site, config | {"guests": {"obey": config["guests"]["obey"] | {
            "bounds": {"time": "1ms"}, "retry": {"attempts": 1}}}})
        metrics = wait_counted(weir, admin, "weir_subscription_dead_events_total", 1)
        assert metrics.value("weir_subscription_repeated_events_total") == 1
        assert metrics.value("weir_subscription_cut_attempts_total") == 1
        client.change([("b", b"err no")])
        metrics = wait_counted(weir, admin, "weir_subscription_dead_events_total", 2)
        assert metrics.value("weir_subscription_repeated_events_total") == 1
