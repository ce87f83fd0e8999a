# SPDX-License-Identifier: Apache-2.0
"""What takes a source long is told while it does: the first look at a large table."""

import contextlib
import json
import os
import re
import sqlite3

import pytest

from conftest import server_or_skip
from harness import DEADLINE_S, configuration
from servers import Postgres
from terminal import on_terminal

# Three hundred thousand by hand.
ROWS = int(os.environ.get("WEIR_ROWS", "60000"))
LONG_S = 4 * DEADLINE_S


def fill_sqlite(site, _servers):
    with contextlib.closing(sqlite3.connect(site.root / "large.db")) as database:
        database.executescript(
            "PRAGMA journal_mode = WAL; CREATE TABLE large (id INTEGER PRIMARY KEY, text TEXT);"
            f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 2 FROM n LIMIT {ROWS})"
            " INSERT INTO large SELECT n, 'row ' || n FROM n")  # half of the rowids are no rows
    return {"kind": "sqlite", "path": "./large.db", "install": True, "snapshot": True}


def fill_postgres(_site, servers):
    server = server_or_skip(servers, Postgres)
    with server.client() as client:
        client.execute("CREATE TABLE large (id int PRIMARY KEY, text text)")
        client.execute(f"INSERT INTO large SELECT n, 'row ' || n FROM generate_series(1, {ROWS}) n")
    return {"kind": "postgres", "address": f"127.0.0.1:{server.port}/{server.database}",
            "user": server.user, "create": True, "snapshot": "always"}


def subscription(site):
    """What is told of the only one; nothing while weir begins."""
    told = site.command("status", "--json", status=(0, 2)).stdout
    subscriptions = json.loads(told)["subscriptions"] if told else []
    return subscriptions[0] if subscriptions else {}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fill", [fill_sqlite, fill_postgres], ids=["sqlite", "postgres"])
def test_a_first_look_at_a_table_is_told_and_ends(site, servers, fill):
    options = fill(site, servers)
    config = configuration({"echo": {}},
                           [{"name": "all", "watch": "db", "key": "large/*", "guest": "echo"}])
    config["resources"] = {"db": options}
    weir = site.run(config, "--log-level", "info")
    top = on_terminal(site, "top", "--interval", "200ms", columns=140)
    first = weir.wait_for(lambda: subscription(site).get("progress"), "something that takes long",
                          LONG_S)
    assert first["what"] == "snapshot" and 0 <= first["done"] <= ROWS
    assert 0.5 * ROWS < first["total"] < 2.1 * ROWS, "about"
    seen, screens = [first], set()

    def has_ended():
        progress = subscription(site)["progress"]
        seen.append(progress)
        screens.update(re.findall(r"snapshot \d+% of about \d+k?(?:, \w+ left)?", top.text()))
        return progress is None

    weir.wait_for(has_ended, "the end of it", LONG_S)
    done = [each["done"] for each in seen[:-1]]
    assert done == sorted(done) and done[-1] > done[0], done
    assert all(each["left_ms"] is None or each["left_ms"] >= 0 for each in seen[:-1])
    assert screens, top.text()
    weir.wait_for(lambda: subscription(site)["handled_total"] >= ROWS, "every row", LONG_S)
    assert subscription(site)["progress"] is None
