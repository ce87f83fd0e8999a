# SPDX-License-Identifier: Apache-2.0
"""weir on a real PostgreSQL: rows and keys reach handlers, whatever is killed meanwhile."""

import json

from harness import configuration
from told import Told


def resource(server, **options):
    return {"kind": "postgres", "address": f"127.0.0.1:{server.port}/{server.database}",
            "user": server.user} | options


def watching(server, key="orders/*", **options):
    tree = configuration({"trace": {}}, [{"name": "kept", "key": key, "guest": "trace"}])
    tree["resources"] = {"store": resource(server, **options)}
    return tree


def start(site, config):
    weir = site.run(config)
    weir.wait_listening()
    return weir


def rows(traces):
    return [(each["type"].rpartition(".")[2], each["subject"]) for each in traces]


def test_rows_reach_a_handler(site, postgres_server):
    with postgres_server.client() as client:
        client.execute("CREATE TABLE orders (id int PRIMARY KEY, paid boolean)")
        weir = start(site, watching(postgres_server))
        client.execute("INSERT INTO orders VALUES (1, false)")
        client.execute("UPDATE orders SET paid = true")
        client.execute("DELETE FROM orders")
        told = weir.wait_traces(3)
        assert sorted(rows(told)) == [("deleted", "orders/1"), ("inserted", "orders/1"),
                                      ("updated", "orders/1")]
        inserted = next(each for each in told if each["type"].endswith("inserted"))
        assert json.loads(inserted["data"]) == {
            "table": "orders", "before": None, "after": {"id": 1, "paid": False}}
        assert weir.stop() == 0


def test_nothing_is_lost_whatever_is_killed(site, postgres_server):
    with postgres_server.client() as client:
        client.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    told, number, config = [], 0, watching(postgres_server, heartbeat="200ms")
    for round_number in range(8):
        weir = start(site, config)
        with postgres_server.client() as client:
            for _ in range(20):
                number += 1
                client.execute("INSERT INTO orders VALUES (%s)", [number])
        if round_number % 4 == 1:
            postgres_server.kill()
            postgres_server.restart()
        if round_number % 4 == 2:
            weir.wait_for(lambda: any(each["subject"] == f"orders/{number}"
                                      for each in weir.traces()), "the last of this round")
        weir.kill() if round_number % 2 else weir.stop()
        told += rows(weir.traces())
        with postgres_server.client() as client:
            number += 1
            client.execute("INSERT INTO orders VALUES (%s)", [number])
    weir = start(site, config)
    wanted = {f"orders/{each}" for each in range(1, number + 1)}
    weir.wait_for(lambda: {key for _, key in told + rows(weir.traces())} >= wanted, "every row")
    assert not [each for each in told + rows(weir.traces()) if each[0] != "inserted"]
    assert weir.stop() == 0


def test_a_table_is_a_store(site, postgres_server):
    config = watching(postgres_server, key="*", kv="kv")
    weir = start(site, config)
    with postgres_server.client() as client:
        client.execute("INSERT INTO kv VALUES ('a', 'by hand')")
    weir.wait_traces(1, key="a")
    site.command("kv", "set", "store", "b", "by weir")
    told = weir.wait_traces(1, key="b")
    assert told[0]["data"] == "by weir"
    assert site.command("kv", "get", "store", "a").stdout == b"by hand"
    assert weir.stop() == 0


def test_a_server_is_examined_and_what_was_made_is_taken_away(site, postgres_server):
    with postgres_server.client() as client:
        client.execute("CREATE TABLE orders (id int PRIMARY KEY)")
        site.write_config(watching(postgres_server))
        found = site.command("check", "--connect", "weir.yaml").stdout.decode()
        assert "weir_store" in found and "missing" not in found
        weir = start(site, watching(postgres_server))
        assert weir.stop() == 0
        slots = "SELECT count(*) FROM pg_replication_slots"
        assert client.execute(slots).fetchone() == (1,)
        taken = site.command("withdraw", "weir.yaml", "store").stdout.decode()
        assert "weir_store" in taken
        assert client.execute(slots).fetchone() == (0,)
        client.execute("DROP TABLE orders")
        found = site.command("check", "--connect", "weir.yaml", status=1).stdout.decode()
        assert "no table orders" in found


# ---- an outbox, and channels ----


OUTBOX = {"outbox": "outbox", "key_column": "key", "payload_column": "payload"}


def remedies(text):
    return [line.strip().removeprefix("mend it: ") for line in text.splitlines()
            if "mend it: " in line]


def test_an_outbox_is_read_by_whom_may_only_read_it(site, postgres_server):
    """What is told to be wrong is mended, until nothing is; then there is nothing left behind."""
    config = watching(postgres_server, key="*", user="app", **OUTBOX)
    with postgres_server.client() as client:
        client.execute("CREATE ROLE app LOGIN")
        site.write_config(config)
        for _ in range(3):
            told = site.command("check", "--connect", "weir.yaml", status=(0, 1))
            if told.returncode == 0:
                break
            client.execute(remedies(told.stdout.decode())[0])
        [trigger] = remedies(site.command("check", "--connect", "weir.yaml").stdout.decode())
        client.execute(trigger)
        assert not remedies(site.command("check", "--connect", "weir.yaml").stdout.decode())
        weir = start(site, config)
        client.execute("INSERT INTO outbox (key, payload) VALUES ('orders/1', '{\"n\": 1}')")
        [told] = weir.wait_traces(1)
        assert (told["subject"], json.loads(told["data"])) == ("orders/1", {"n": 1})
        assert weir.stop() == 0
        assert client.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


def test_an_outbox_loses_nothing_to_transactions_that_end_late(site, postgres_server):
    config = watching(postgres_server, key="*", poll="50ms", **OUTBOX)
    with postgres_server.client() as client, postgres_server.client() as late:
        client.execute("CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT"
                       " NULL DEFAULT pg_current_xact_id(), key text, payload text, PRIMARY KEY"
                       " (xid, id))")
        insert = "INSERT INTO outbox (key, payload) VALUES (%s, %s)"
        told = Told()
        told.follow(start(site, config))
        for number in range(30):
            with late.transaction():
                late.execute(insert, ("late", str(number)))
                client.execute(insert, ("quick", str(number)))
                if number % 10 == 5:  # with one row that was committed and one that was not
                    told.weir.kill()
                    told.follow(start(site, config))
        told.wait({"late": b"29", "quick": b"29"})
        numbers = [str(number) for number in range(30)]
        assert told.values == {"late": numbers, "quick": numbers}
        assert told.weir.stop() == 0
        assert not told.gaps


def test_channels_are_events_while_weir_runs(site, postgres_server):
    config = watching(postgres_server, key="*", channels="orders, stock")
    config["resources"]["files"] = {"kind": "file", "path": str(site.store)}
    config["subscriptions"].append(
        {"watch": "files", "key": "*", "guest": "trace", "to": "store"})
    site.write_config(config)
    assert "latest-value" in site.command("check", "weir.yaml").stdout.decode()
    weir = site.run(config)
    weir.wait_listening()
    with postgres_server.client() as client:
        client.execute("NOTIFY orders, 'by hand'")
        client.execute("NOTIFY stock")
    [told] = weir.wait_traces(1, key="orders")
    assert told["data"] == "by hand"
    weir.wait_traces(1, key="stock")
    # What a handler returns comes back as it was, with its chain.
    with postgres_server.client() as client:
        client.execute("LISTEN orders")
        site.put("file", "by weir")
        [cause, told] = weir.wait_traces(2, key="file")
        [notified] = list(client.notifies(timeout=10, stop_after=1))
    assert told["+causationid"] == cause["id"]
    event = json.loads(notified.payload)
    assert (event["id"], event["subject"], event["data"]) == (told["id"], "file", "by weir")
    # One that is too large is refused by name.
    site.put("large", "x" * 9000)
    weir.wait_for(lambda: any("at most 7999" in json.dumps(each) for each in weir.logs()),
                  "that it is too large")
    postgres_server.kill()
    postgres_server.start()
    weir.wait_for(lambda: any(each["type"] == "dev.weir.watch.gap" for each in weir.traces()),
                  "that notifications may have been missed")
    assert weir.stop() == 0
