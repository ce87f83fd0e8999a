# SPDX-License-Identifier: Apache-2.0
"""Guests that ask a database in SQL: what they are answered, what that needs, and what it cannot do.
The database is SQLite's; who looks at it from outside is Python's sqlite3."""

import json
import re
import sqlite3

import pytest

from harness import GIVEN_UP, configuration
from test_languages import BOUNDS, COMPILED_S, guest_of
from test_reach import LANES, Reach

EVERY_BYTE = bytes(range(256))
SHOP = "create table t (id integer primary key, name text not null unique, size real, gone integer, bytes blob)"


def hexed(text):
    return text.encode().hex() or "-"


@pytest.fixture
def shop(site):
    """The database, as somebody else has it open."""
    with sqlite3.connect(site.root / "shop.db", isolation_level=None) as base:
        base.execute(SHOP)
        yield base
    base.close()


def with_shop(config):
    config["resources"]["shop"] = {"kind": "sqlite", "path": "./shop.db"}
    return config


def granted(lane, grants, **more):
    return with_shop(configuration(
        {"reach.component": {"lane": lane, "grants": ["store", *grants], **more}},
        [{"key": "*", "guest": "reach.component", "to": "out", "retry": {"attempts": 1}}],
        resources=("store", "out")))


class Shop(Reach):
    def query(self, statement, parameters=""):
        [answer] = self(f"query shop {hexed(statement)} {parameters}")
        return answer

    def execute(self, statement, parameters=""):
        [answer] = self(f"execute shop {hexed(statement)} {parameters}")
        return answer


def asking(site, lane, grants=("shop",), **more):
    weir = site.run(granted(lane, grants, **more))
    weir.wait_listening()
    return Shop(site, weir)


@pytest.mark.parametrize("lane", LANES)
def test_values_go_there_and_back(site, shop, lane):
    reach = asking(site, lane)
    assert reach.execute("insert into t values (?1, ?2, ?3, ?4, ?5)",
                         f"i-7 t{hexed('größe')} r0.5 null b{EVERY_BYTE.hex()}") == "1 changed"
    assert shop.execute("select * from t").fetchall() == [(-7, "größe", 0.5, None, EVERY_BYTE)]
    assert reach.query("select * from t") == \
        f"id,name,size,gone,bytes | i-7 tgröße r0.5 null b{EVERY_BYTE.hex()} (5 of 5)"
    assert reach.query("select ?1, ?2, ?3", "true d0.10 j7b7d").endswith(" | i1 t0.10 t{} (3 of 3)")
    shop.executemany("insert into t (name) values (?)", [("a",), ("b",)])
    assert reach.query("select name from t where id > ?1 order by id", "i-7") == "name | ta | tb (2 of 1)"
    assert reach.query("select name from t where false") == "name (0 of 1)"
    # What is no text comes as bytes: a guest's language has no such texts.
    shop.execute("update t set name = cast(x'61ff' as text) where name = 'a'")
    assert reach.query("select name from t where name <> 'b' and id <> -7") == "name | b61ff (1 of 1)"
    assert reach.execute("delete from t") == "3 changed"
    assert reach.weir.stop() == 0


def test_a_parameter_is_no_part_of_the_statement(site, shop):
    reach = asking(site, "core")
    evil = "x'); drop table t; --"
    assert reach.execute("insert into t (name) values (?1)", f"t{hexed(evil)}") == "1 changed"
    assert shop.execute("select name from t").fetchall() == [(evil,)]
    assert reach.query("select count(*) as n from t where name = ?1", f"t{hexed(evil)}") == "n | i1 (1 of 1)"
    assert reach.weir.stop() == 0


def test_errors_are_told_by_their_kinds(site, shop):
    reach = asking(site, "core")
    shop.execute("insert into t (name) values ('one')")
    for answer, kind in [(reach.query("select nothing from"), "invalid"),
                         (reach.query("select * from nowhere"), "invalid"),
                         (reach.query("select ?1"), "invalid"),
                         (reach.query("select 1; select 2"), "invalid"),
                         (reach.query(""), "invalid"),
                         (reach.query("delete from t"), "denied"),
                         (reach.execute("insert into t (name) values ('two'), ('one')"), "invalid"),
                         (reach("query store 00")[0], "invalid"),
                         (reach(f"query store {hexed('select 1')}")[0], "unsupported"),
                         (reach(f"query nowhere {hexed('select 1')}")[0], "not-found")]:
        assert answer.startswith(f"error {kind}: "), answer
    assert shop.execute("select name from t").fetchall() == [("one",)]
    assert reach.weir.stop() == 0


@pytest.mark.parametrize("lane", LANES)
def test_what_is_not_granted_is_refused_named_and_counted(site, shop, lane):
    reach = asking(site, lane, [{"resource": "shop", "verbs": ["query"]}])
    assert reach.query("select 1 as one") == "one | i1 (1 of 1)"
    grant = "error denied: guest reach.component has no grant to %s shop by SQL; this would be one: " \
            "{resource: shop, verbs: [%s]}, without keys, since a statement reaches every table"
    assert reach.execute("delete from t") == grant % ("execute", "execute")
    record = reach.weir.wait_log("a guest was refused what it has no grant for")
    assert "[execute]" in record["reason"]
    reach.execute("delete from t")
    status = json.loads(site.command("status", "--json", "weir.yaml").stdout)
    assert status["subscriptions"][0]["guest_refused_total"] == 2
    assert reach.weir.stop() == 0


def test_a_grant_of_some_keys_is_none_of_statements(site, shop):
    reach = asking(site, "core", [{"resource": "shop", "keys": "t/*"}])
    assert "[query]}, without keys" in reach.query("select 1")
    assert "[execute]}, without keys" in reach.execute("delete from t")
    assert reach.weir.stop() == 0
    site.write_config(granted("core", [{"resource": "shop", "keys": "t/*", "verbs": ["execute"]}]))
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    assert "grants[1].verbs" in told and "without keys" in told


def test_check_and_inspect_tell_it(site, shop):
    site.write_config(granted("core", [{"resource": "shop", "verbs": ["query", "execute"]}]))
    told = site.command("check", "weir.yaml").stdout.decode()
    assert re.search(r"grants: store, shop \(query, execute\)", told), told
    wasm = granted("core", [])["guests"]["reach.component"]["wasm"]
    told = site.command("inspect", wasm).stdout.decode()
    assert "weir:sql/sql@0.1.0" in told and "query, execute: each database" in told


@pytest.mark.parametrize("lane", LANES)
def test_an_answer_has_bounds(site, shop, lane):
    reach = asking(site, lane, bounds={"event": "64KiB", "time": "20s"})
    count = "with recursive n(i) as (select 1 union all select i + 1 from n where i < {}) select {} from n"
    assert reach.query(count.format(1000, "i")).endswith(" (1000 of 1)")
    assert reach.query(count.format(10001, "i")).startswith("error limit: ")
    assert reach.query("select zeroblob(70000)").startswith("error limit: ")
    assert reach.query("select zeroblob(60000)").endswith("(1 of 1)")
    # And what a statement that is refused for it did is taken back.
    shop.execute("insert into t (name) values ('one')")
    assert "error" in reach.execute("update t set name = ?1 returning zeroblob(70000)", "t61")
    assert shop.execute("select name from t").fetchall() == [("one",)]
    assert reach.weir.stop() == 0


def test_a_database_that_others_hold_is_unavailable_in_time(site, shop):
    reach = asking(site, "core", bounds={"time": "2s"})
    shop.execute("begin immediate")
    assert reach.execute("insert into t (name) values ('a')").startswith("error unavailable: ")
    shop.execute("rollback")
    assert reach.execute("insert into t (name) values ('a')") == "1 changed"
    assert reach.weir.stop() == 0


def test_a_statement_without_end_is_ended_before_the_handler_is(site, shop):
    reach = asking(site, "core", bounds={"time": "1s"})
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n"
    assert reach.query(endless).startswith("error unavailable: ")
    assert not reach.weir.logs(GIVEN_UP)
    assert reach.weir.stop() == 0


@pytest.mark.timeout(2 * COMPILED_S)
@pytest.mark.parametrize("language", ["rust", "js", "python"])
def test_the_sdks_ask_it(site, shop, language):
    guest = guest_of("services", language)
    weir = site.run(with_shop(configuration(
        {guest: {"bounds": BOUNDS, "retry": {"attempts": 1}, "grants": ["shop"]}},
        [{"key": "*", "guest": guest, "to": "done"}], resources=("store", "done"))))
    weir.wait_listening(deadline_s=COMPILED_S)
    site.put("sql", "")
    weir.wait_for((site.root / "done/sql").exists, "the answer")
    row = {"id": 1, "name": "größe", "size": 0.5, "gone": None, "bytes": [0, 255]}
    assert json.loads((site.root / "done/sql").read_bytes()) == {
        "changed": 1, "kind": "invalid", "rows": [row]}
    # Once more: what a constraint of the database says fails the handler.
    (site.root / "store/sql").write_text("again", encoding="ascii")
    assert re.search("UNIQUE|unique", weir.wait_log(GIVEN_UP)["reason"])
    assert weir.stop() == 0
