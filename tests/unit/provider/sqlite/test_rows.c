// SPDX-License-Identifier: Apache-2.0
//
// Rows of tables as SQLite's shell changes them: what is told of them, and what becomes of that
// when tables are altered.
#include "support/sqlite_rig.h"

#include "event/event.h"
#include "provider/sqlite/sqlite.h"
#include "provider/sqlite/table.h"
#include "unit/test.h"

static void change(struct sqlite_rig *rig, const char *sql) {
    sqlite_shell_run(&rig->shell, "%s", sql);
}

// Begins with a table and a watch.
static struct weir_watch *begin(struct sqlite_rig *rig, const char *sql, const char *key) {
    change(rig, sql);
    sqlite_rig_open(rig);
    return sqlite_rig_watch(rig, key);
}

static void end(struct weir_watch *watch) {
    weir_sqlite_provider.unwatch(watch);
}

static void a_row_is_told_as_it_was_and_is(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *watch =
        begin(rig, "CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT, n INTEGER)", "orders");
    change(rig, "INSERT INTO orders VALUES(7, 'tea', 2)");
    const struct weir_event *event = sqlite_rig_expect(
        rig, "row.inserted", "orders/7",
        "{\"table\":\"orders\",\"before\":null,\"after\":{\"id\":7,\"item\":\"tea\",\"n\":2}}");
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_str_equal(event->fields.source, "/shop");
    assert_str_equal(event->fields.datacontenttype.value, "application/json");
    assert_true(event->fields.time.is_some);
    change(rig, "UPDATE orders SET n = 3");
    sqlite_rig_expect(rig, "row.updated", "orders/7",
                      "{\"table\":\"orders\",\"before\":{\"id\":7,\"item\":\"tea\",\"n\":2},"
                      "\"after\":{\"id\":7,\"item\":\"tea\",\"n\":3}}");
    change(rig, "DELETE FROM orders");
    sqlite_rig_expect(rig, "row.deleted", "orders/7",
                      "{\"table\":\"orders\",\"before\":{\"id\":7,\"item\":\"tea\",\"n\":3},"
                      "\"after\":null}");
    end(watch);
}

static void values_keep_their_types(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "t");
    static const struct {
        const char *sql, *json;
    } values[] = {
        {"9223372036854775807", "{\"$numberLong\":\"9223372036854775807\"}"},
        {"-9223372036854775807 - 1", "{\"$numberLong\":\"-9223372036854775808\"}"},
        {"1.0", "1.0"},
        {"0.1", "0.1"},
        {"9e999", "{\"$numberDouble\":\"Infinity\"}"},
        {"'1'", "\"1\""},
        {"''", "\"\""},
        {"x''", "{\"$binary\":{\"base64\":\"\",\"subType\":\"00\"}}"},
        {"x'00ff'", "{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"00\"}}"},
        {"CAST(x'610062' AS TEXT)", "\"a\\u0000b\""}, // a text with a NUL in it
        {"CAST(x'ff' AS TEXT)", "{\"$binary\":{\"base64\":\"/w==\",\"subType\":\"00\"}}"},
        {"'it''s \"quoted\"; -- '", "\"it's \\\"quoted\\\"; -- \""},
        {"NULL", "null"},
    };
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char key[32], data[256];
        snprintf(key, sizeof key, "t/%zu", i);
        snprintf(data, sizeof data,
                 "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":%zu,\"v\":%s}}", i,
                 values[i].json);
        sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(%zu, %s)", i, values[i].sql);
        sqlite_rig_expect(rig, "row.inserted", key, data);
    }
    end(watch);
}

static void a_key_that_changes_is_one_that_goes_and_one_that_comes(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch =
        begin(rig,
              "CREATE TABLE t(a TEXT COLLATE NOCASE, b INTEGER, v, PRIMARY KEY(b, a)) "
              "WITHOUT ROWID",
              "*");
    change(rig, "INSERT INTO t VALUES('x/y', 1, 0)");
    sqlite_rig_expect(
        rig, "inserted", "t/1,x%2Fy",
        "{\"table\":\"t\",\"before\":null,\"after\":{\"a\":\"x/y\",\"b\":1,\"v\":0}}");
    change(rig, "UPDATE t SET b = 2");
    sqlite_rig_expect(
        rig, "deleted", "t/1,x%2Fy",
        "{\"table\":\"t\",\"before\":{\"a\":\"x/y\",\"b\":1,\"v\":0},\"after\":null}");
    sqlite_rig_expect(
        rig, "inserted", "t/2,x%2Fy",
        "{\"table\":\"t\",\"before\":null,\"after\":{\"a\":\"x/y\",\"b\":2,\"v\":0}}");
    // To its collation it is the same key, to who reads the events it is another one.
    change(rig, "UPDATE t SET a = 'X/Y'");
    sqlite_rig_expect(
        rig, "deleted", "t/2,x%2Fy",
        "{\"table\":\"t\",\"before\":{\"a\":\"x/y\",\"b\":2,\"v\":0},\"after\":null}");
    sqlite_rig_expect(
        rig, "inserted", "t/2,X%2FY",
        "{\"table\":\"t\",\"before\":null,\"after\":{\"a\":\"X/Y\",\"b\":2,\"v\":0}}");
    end(watch);
}

static void a_table_without_a_key_is_one_key(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    static const char *const patterns[] = {"t", "t/*", "*"};
    struct weir_watch *watches[COUNT_OF(patterns)];
    change(rig, "CREATE TABLE t(v)");
    sqlite_rig_open(rig);
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        watches[i] = sqlite_rig_watch(rig, patterns[i]);
    }
    change(rig, "INSERT INTO t VALUES(1)");
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        sqlite_rig_expect(rig, "inserted", "t",
                          "{\"table\":\"t\",\"before\":null,\"after\":{\"v\":1}}");
    }
    change(rig, "UPDATE t SET v = 2");
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        sqlite_rig_expect(rig, "updated", "t",
                          "{\"table\":\"t\",\"before\":{\"v\":1},\"after\":{\"v\":2}}");
        end(watches[i]);
    }
}

static void a_pattern_has_its_rows_only(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    static const struct {
        const char *pattern, *keys[6];
    } rows[] = {
        {"t", {"t/1", "t/12", "t/2", NULL}},
        {"t/*", {"t/1", "t/12", "t/2", NULL}},
        {"t/1", {"t/1", NULL}},
        {"t/1*", {"t/1", "t/12", NULL}},
        {"t*", {"t/1", "t/12", "t/2", "tt/1", NULL}},
        {"tt", {"tt/1", NULL}},
        {"*", {"t/1", "t/12", "t/2", "tt/1", NULL}},
    };
    struct test_sink sinks[COUNT_OF(rows)];
    struct weir_watch *watches[COUNT_OF(rows)];
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE tt(id INTEGER PRIMARY KEY)");
    sqlite_rig_open(rig);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        test_sink_init(&sinks[i]);
        watches[i] = sqlite_rig_watch_as(
            rig, &(struct sqlite_rig_watch){.key = rows[i].pattern, .sink = &sinks[i]});
    }
    change(rig, "BEGIN; INSERT INTO t VALUES(1), (12), (2); INSERT INTO tt VALUES(1); COMMIT");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t k = 0; rows[i].keys[k]; k++) {
            assert_str_equal(test_sink_next(&sinks[i])->key, rows[i].keys[k]);
        }
        end(watches[i]);
        assert_int_equal(test_sink_count(&sinks[i]), sinks[i].next);
        test_sink_finish(&sinks[i]);
    }
}

static void names_are_nobodys_code(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig,
                                     "CREATE TABLE \"a\"\"b'c;--/%\"(\"id\"\" x\" INTEGER PRIMARY "
                                     "KEY, \"se'l]ect\" TEXT UNIQUE)",
                                     "*");
    change(rig, "INSERT INTO \"a\"\"b'c;--/%\" VALUES(1, 'x')");
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_str_equal(event->key, "a\"b'c;--%2F%25/1");
    change(rig, "INSERT OR REPLACE INTO \"a\"\"b'c;--/%\" VALUES(2, 'x')");
    event = test_sink_next(&rig->sink);
    assert_str_equal(event->key, "a\"b'c;--%2F%25/1");
    assert_str_equal(event->fields.ty, "dev.weir.row.deleted");
    assert_str_equal(test_sink_next(&rig->sink)->key, "a\"b'c;--%2F%25/2");
    struct weir_watch *one = sqlite_rig_watch(rig, "a\"b'c;--%2F%25");
    end(one);
    end(watch);
}

// ---- REPLACE

static void a_row_that_is_replaced_by_its_key_is_told_as_the_new_one(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "t");
    change(rig, "INSERT INTO t VALUES(1, 'a')");
    sqlite_rig_expect(rig, "inserted", "t/1",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"v\":\"a\"}}");
    change(rig, "INSERT OR REPLACE INTO t VALUES(1, 'b')");
    sqlite_rig_expect(rig, "inserted", "t/1",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"v\":\"b\"}}");
    end(watch);
}

// Each statement, and what is told of it: "-KEY" deleted, "+KEY" inserted, "~KEY" updated.
struct told {
    const char *sql, *events;
};

static void expect_told(struct sqlite_rig *rig, const struct told *told) {
    change(rig, told->sql);
    const char *at = told->events;
    while (*at) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        size_t size = strcspn(at, " ");
        const char *type = *at == '-'   ? "dev.weir.row.deleted"
                           : *at == '+' ? "dev.weir.row.inserted"
                                        : "dev.weir.row.updated";
        if (!weir_str_equal(event->fields.ty, weir_str_of(type)) ||
            !weir_str_equal(event->key, (struct weir_str){at + 1, size - 1})) {
            fail_msg("%s: wanted %.*s; came %.*s %.*s", told->sql, (int)size, at,
                     WEIR_STR_ARG(event->fields.ty), WEIR_STR_ARG(event->key));
        }
        at += size;
        at += *at == ' ';
    }
}

// Then a change that is told shows that nothing else was.
static void expect_all_told(struct sqlite_rig *rig, const struct told *told, size_t count) {
    for (size_t i = 0; i < count; i++) {
        expect_told(rig, &told[i]);
    }
    change(rig, "CREATE TABLE IF NOT EXISTS marker(id INTEGER PRIMARY KEY)");
    sqlite_rig_expect_gap(rig, "followed from here");
    assert_int_equal(test_sink_count(&rig->sink), rig->sink.next);
}

static void a_row_that_is_put_out_of_the_way_is_told_as_deleted(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch =
        begin(rig,
              "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE, b, c, "
              "UNIQUE(b, c))",
              "*");
    const struct told told[] = {
        {"INSERT INTO t VALUES(1, 'x', 1, 1), (2, 'y', 2, 2), (3, 'z', 3, 3)", "+t/1 +t/2 +t/3"},
        {"INSERT OR REPLACE INTO t VALUES(4, 'X', 9, 9)", "-t/1 +t/4"}, // by the collation
        {"REPLACE INTO t VALUES(5, 'y', 3, 3)", "-t/2 -t/3 +t/5"},      // two at once
        {"REPLACE INTO t(a, b, c) VALUES('y', 5, 5)", "-t/5 +t/6"},     // a rowid of SQLite's
        {"REPLACE INTO t VALUES(6, 'y', 5, 5)", "+t/6"},                // itself
        {"INSERT OR IGNORE INTO t VALUES(7, 'y', 7, 7)", ""},
        {"INSERT INTO t VALUES(8, 'y', 8, 8) ON CONFLICT DO NOTHING", ""},
        {"INSERT INTO t VALUES(8, 'y', 8, 8) ON CONFLICT(a) DO UPDATE SET c = 6", "~t/6"},
        {"INSERT INTO t VALUES(8, 'y', 8, 8) ON CONFLICT(a) DO UPDATE SET id = 20", "-t/6 +t/20"},
        {"INSERT INTO t VALUES(10, 'p', 10, 10), (11, 'q', 11, 11)", "+t/10 +t/11"},
        {"UPDATE OR REPLACE t SET a = 'q' WHERE id = 10", "-t/11 ~t/10"},
        {"UPDATE OR REPLACE t SET id = 4 WHERE id = 10", "-t/10 +t/4"}, // by the key
        {"UPDATE OR IGNORE t SET a = 'y' WHERE id = 4", ""},
        {"INSERT INTO t VALUES(30, NULL, NULL, NULL), (31, NULL, NULL, NULL)", "+t/30 +t/31"},
        {"REPLACE INTO t VALUES(32, NULL, NULL, NULL)", "+t/32"}, // NULLs are all different
        {"PRAGMA recursive_triggers = ON; REPLACE INTO t VALUES(33, 'y', 40, 40)", "-t/20 +t/33"},
        {"REPLACE INTO t VALUES(33, 'y', 41, 41)", "-t/33 +t/33"},
        {"PRAGMA recursive_triggers = OFF; REPLACE INTO t VALUES(34, 'y', 40, 40)", "-t/33 +t/34"},
    };
    expect_all_told(rig, told, COUNT_OF(told));
    end(watch);
}

static void that_holds_for_every_kind_of_table(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig,
                                     "CREATE TABLE w(a, b, u UNIQUE, PRIMARY KEY(a, b)) WITHOUT "
                                     "ROWID; CREATE TABLE s(k TEXT PRIMARY KEY, u UNIQUE); "
                                     "CREATE TABLE n(u UNIQUE, v)",
                                     "*");
    const struct told told[] = {
        {"INSERT INTO w VALUES(1, 'x', 5), (1, 'y', 6)", "+w/1,x +w/1,y"},
        {"REPLACE INTO w VALUES(2, 'z', 5)", "-w/1,x +w/2,z"},
        {"UPDATE OR REPLACE w SET u = 6 WHERE a = 2", "-w/1,y ~w/2,z"},
        {"INSERT INTO s VALUES('a', 1), ('b', 2)", "+s/a +s/b"},
        {"REPLACE INTO s VALUES('c', 1)", "-s/a +s/c"},
        {"REPLACE INTO s VALUES('c', 2)", "-s/b +s/c"},
        {"INSERT INTO n VALUES(1, 0), (2, 0)", "+n +n"},
        {"REPLACE INTO n VALUES(1, 1)", "-n +n"},
        {"UPDATE OR REPLACE n SET u = 2 WHERE u = 1", "-n ~n"},
        {"INSERT OR IGNORE INTO n VALUES(2, 9)", ""},
    };
    expect_all_told(rig, told, COUNT_OF(told));
    end(watch);
}

static void a_unique_index_that_cannot_be_followed_is_named(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sqlite_db *db;
    struct weir_sqlite_table *table;
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b UNIQUE); "
                "CREATE UNIQUE INDEX by_lower ON t(lower(a))");
    const struct weir_sqlite_db_args args = {
        .path = rig->path, .mode = WEIR_SQLITE_READ, .until_ns = INT64_MAX};
    assert_ok(weir_sqlite_db_open(&args, &db, &err));
    assert_ok(weir_sqlite_table_read(db, WEIR_STR("T"), &table, &err));
    assert_string_equal(table->name, "t");
    assert_string_equal(table->unseen, "by_lower");
    weir_sqlite_table_free(table);
    weir_sqlite_db_close(db);
}

// ---- whole transactions

static void a_transaction_that_is_taken_back_is_not_told(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE)", "t");
    const struct told told[] = {
        {"BEGIN; INSERT INTO t VALUES(1, 1); ROLLBACK", ""},
        {"BEGIN; INSERT INTO t VALUES(1, 1); SAVEPOINT s; INSERT INTO t VALUES(2, 2); ROLLBACK TO "
         "s; INSERT INTO t VALUES(3, 3); COMMIT",
         "+t/1 +t/3"},
        {"BEGIN; DELETE FROM t; INSERT INTO t VALUES(9, 9); COMMIT", "-t/1 -t/3 +t/9"},
        {"DELETE FROM t", "-t/9"}, // not as a truncation that no trigger sees
    };
    for (size_t i = 0; i < COUNT_OF(told); i++) {
        expect_told(rig, &told[i]);
    }
    assert_non_null(strstr(
        sqlite_shell_try(&rig->shell, "INSERT INTO t VALUES(5, 5), (6, 6), (5, 7)"), "UNIQUE"));
    expect_told(rig, &(struct told){"INSERT INTO t VALUES(7, 7)", "+t/7"});
    end(watch);
}

static void triggers_of_others_run_behind(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig,
                                     "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TRIGGER "
                                     "early AFTER INSERT ON t BEGIN UPDATE t SET v = 'early' WHERE "
                                     "id = NEW.id; END",
                                     "t");
    const struct told first = {"INSERT INTO t VALUES(1, 'x')", "+t/1 ~t/1"};
    expect_told(rig, &first);
    // One that is newer runs before weir's, until weir has seen it and made its own anew.
    change(rig, "DROP TRIGGER early; CREATE TRIGGER late AFTER INSERT ON t BEGIN UPDATE t SET v = "
                "'late' WHERE id = NEW.id; END");
    WAIT_UNTIL(strcmp(sqlite_shell_ask(&rig->shell,
                                       "SELECT max(rowid) = (SELECT rowid FROM sqlite_master WHERE "
                                       "name = 'late') FROM sqlite_master"),
                      "0") == 0);
    const struct told second = {"INSERT INTO t VALUES(2, 'x')", "+t/2 ~t/2"};
    expect_told(rig, &second);
    end(watch);
}

// Two changes of the schema right behind each other: weir looks at it because of the first one, and
// the second comes now before, now while, now behind that.
static void a_trigger_that_comes_while_weir_looks_is_seen(void **state) {
    enum { ROUNDS = 100 };
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "t");
    for (int i = 0; i < ROUNDS; i++) {
        change(rig, "DROP TRIGGER IF EXISTS late; CREATE TRIGGER late AFTER INSERT ON t BEGIN "
                    "UPDATE t SET v = 'late' WHERE id = NEW.id; END");
        WAIT_UNTIL(
            strcmp(sqlite_shell_ask(&rig->shell,
                                    "SELECT (SELECT min(rowid) FROM sqlite_master WHERE name "
                                    "GLOB '_weir_[0-9]*_*' AND type = 'trigger') > (SELECT "
                                    "rowid FROM sqlite_master WHERE name = 'late')"),
                   "1") == 0);
    }
    end(watch);
}

// ---- what becomes of tables

static void a_column_that_comes_is_told(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "t");
    // Behind it, in one transaction: weir cannot have seen it yet. The row is told, the column not.
    change(rig,
           "BEGIN; ALTER TABLE t ADD COLUMN w DEFAULT 5; INSERT INTO t VALUES(1, 2, 3); COMMIT");
    sqlite_rig_expect(rig, "inserted", "t/1",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"v\":2}}");
    WAIT_UNTIL(strcmp(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM _weir_shapes"), "2") ==
               0);
    change(rig, "UPDATE t SET w = 4");
    sqlite_rig_expect(rig, "updated", "t/1",
                      "{\"table\":\"t\",\"before\":{\"id\":1,\"v\":2,\"w\":3},\"after\":{\"id\":1,"
                      "\"v\":2,\"w\":4}}");
    change(rig, "ALTER TABLE t RENAME COLUMN v TO value");
    WAIT_UNTIL(strcmp(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM _weir_shapes"), "3") ==
               0);
    change(rig, "UPDATE t SET w = 5");
    sqlite_rig_expect(rig, "updated", "t/1",
                      "{\"table\":\"t\",\"before\":{\"id\":1,\"value\":2,\"w\":4},\"after\":{"
                      "\"id\":1,\"value\":2,\"w\":5}}");
    // SQLite does not drop what a trigger names. The page says what to do.
    const char *answer = sqlite_shell_try(&rig->shell, "ALTER TABLE t DROP COLUMN w");
    assert_non_null(strstr(answer, "_weir_3_"));
    assert_int_equal(test_sink_count(&rig->sink), rig->sink.next);
    end(watch);
}

static void a_table_that_goes_and_comes_is_a_gap(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "t");
    change(rig, "INSERT INTO t VALUES(1, 1); DROP TABLE t");
    sqlite_rig_expect(rig, "inserted", "t/1",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"v\":1}}");
    sqlite_rig_expect_gap(rig, "dropped or renamed");
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(2, 2)");
    sqlite_rig_expect_gap(rig, "followed from here");
    const struct weir_event *event = sqlite_rig_expect(
        rig, "inserted", "t/2", "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":2,\"v\":2}}");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
    change(rig, "UPDATE t SET v = 3");
    sqlite_rig_expect(rig, "updated", "t/2",
                      "{\"table\":\"t\",\"before\":{\"id\":2,\"v\":2},\"after\":{\"id\":2,\"v\":3}"
                      "}");
    // As the twelve steps of SQLite's manual have it.
    change(rig,
           "BEGIN; CREATE TABLE t2(id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t2 SELECT * "
           "FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t; COMMIT");
    sqlite_rig_expect_gap(rig, "missing");
    sqlite_rig_expect(rig, "inserted", "t/2",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":2,\"v\":3}}");
    end(watch);
}

static void a_table_that_is_renamed_is_another_one(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY)", "*");
    change(rig, "INSERT INTO t VALUES(1)");
    assert_str_equal(test_sink_next(&rig->sink)->key, "t/1");
    change(rig, "ALTER TABLE t RENAME TO u");
    sqlite_rig_expect_gap(rig, "dropped or renamed");
    sqlite_rig_expect_gap(rig, "followed from here");
    assert_str_equal(test_sink_next(&rig->sink)->key, "u/1");
    change(rig, "INSERT INTO u VALUES(2)");
    assert_str_equal(test_sink_next(&rig->sink)->key, "u/2");
    assert_string_equal(
        sqlite_shell_ask(&rig->shell,
                         "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE "
                         "'\\_weir\\_1%%' ESCAPE '\\'"),
        "0");
    end(watch);
}

static void triggers_that_somebody_drops_are_made_again(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch =
        begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 1)", "t");
    change(rig, "BEGIN; DROP TRIGGER _weir_1_u; UPDATE t SET v = 2; COMMIT");
    sqlite_rig_expect_gap(rig, "missing");
    sqlite_rig_expect(rig, "inserted", "t/1",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"v\":2}}");
    change(rig, "UPDATE t SET v = 3");
    sqlite_rig_expect(rig, "updated", "t/1",
                      "{\"table\":\"t\",\"before\":{\"id\":1,\"v\":2},\"after\":{\"id\":1,\"v\":3}"
                      "}");
    end(watch);
}

static void a_vacuum_changes_nothing(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig,
                                     "CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t "
                                     "VALUES('a', 1), ('b', 1), ('c', 1); DELETE FROM t WHERE k = "
                                     "'a'",
                                     "t");
    change(rig, "VACUUM");
    expect_told(rig, &(struct told){"UPDATE t SET v = 2", "~t/b ~t/c"});
    change(rig, "VACUUM; DELETE FROM t WHERE k = 'b'");
    assert_str_equal(test_sink_next(&rig->sink)->key, "t/b");
    assert_int_equal(test_sink_count(&rig->sink), rig->sink.next);
    end(watch);
}

static void generated_columns_and_other_encodings_are_told(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b AS (a + 1), c AS (a + 2) STORED)");
    sqlite_rig_open(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "t");
    change(rig, "INSERT INTO t(id, a) VALUES(1, 5)");
    sqlite_rig_expect(
        rig, "inserted", "t/1",
        "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"a\":5,\"b\":6,\"c\":7}"
        "}");
    end(watch);
}

static void a_utf_16_database_is_told_too(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct sqlite_shell shell;
    char path[TEST_PATH_BYTES];
    sqlite_shell_open(&shell, test_path(&rig->folder, "wide.db", path));
    sqlite_shell_run(&shell, "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(k TEXT PRIMARY KEY)");
    free(rig->options.path);
    rig->options.path = strdup(path);
    sqlite_rig_open(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "t");
    sqlite_shell_run(&shell, "INSERT INTO t VALUES('\xc3\xa4')");
    sqlite_rig_expect(rig, "inserted", "t/\xc3\xa4",
                      "{\"table\":\"t\",\"before\":null,\"after\":{\"k\":\"\xc3\xa4\"}}");
    end(watch);
    sqlite_shell_close(&shell);
}

// ---- what cannot be watched

static void what_cannot_be_watched_is_said(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    change(rig, "CREATE TABLE \"Orders\"(id INTEGER PRIMARY KEY); CREATE VIEW seen AS SELECT 1; "
                "CREATE VIRTUAL TABLE words USING fts5(x)");
    sqlite_rig_open(rig);
    static const struct {
        const char *key;
        weir_status status;
        const char *message;
    } rows[] = {
        {"none", WEIR_NOT_FOUND, "no table"},
        {"none/*", WEIR_NOT_FOUND, "no table"},
        {"orders", WEIR_NOT_FOUND, "spells it \"Orders\""},
        {"seen", WEIR_UNSUPPORTED, "view"},
        {"words", WEIR_UNSUPPORTED, "virtual"},
        {"_weir_log", WEIR_NOT_FOUND, "no table"},
        {"sqlite_master", WEIR_NOT_FOUND, "no table"},
        {"/x", WEIR_INVALID, "names no table"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err;
        struct weir_watch *watch;
        assert_int_equal(
            sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = rows[i].key}, &watch, &err),
            rows[i].status);
        assert_message_has(&err, rows[i].message);
        assert_null(watch);
    }
    struct weir_value got;
    struct weir_error err;
    assert_int_equal(
        weir_sqlite_provider.get(rig->resource, WEIR_STR("k"), &sqlite_rig_limits, &got, &err),
        WEIR_UNSUPPORTED);
    assert_message_has(&err, "set `kv`");
}

static void without_leave_nothing_is_installed(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *watch;
    const struct sqlite_rig_watch wanted = {.key = "t"};
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY)");
    rig->options.install = false;
    sqlite_rig_open(rig);
    assert_int_equal(sqlite_rig_try_watch(rig, &wanted, &watch, &err), WEIR_UNSUPPORTED);
    assert_message_has(&err, "install: true");
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM sqlite_master"), "1");
    // Where they are there already, it is enough.
    weir_sqlite_provider.close(rig->resource);
    rig->options.install = true;
    sqlite_rig_open(rig);
    end(sqlite_rig_watch(rig, "t"));
    weir_sqlite_provider.close(rig->resource);
    rig->options.install = false;
    sqlite_rig_open(rig);
    watch = sqlite_rig_watch(rig, "t");
    expect_told(rig, &(struct told){"INSERT INTO t VALUES(1)", "+t/1"});
    change(rig, "CREATE TABLE u(id INTEGER PRIMARY KEY)");
    assert_int_equal(sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "u"},
                                          &(struct weir_watch *){0}, &err),
                     WEIR_UNSUPPORTED);
    assert_message_has(&err, "\"u\"");
    expect_told(rig, &(struct told){"INSERT INTO t VALUES(2)", "+t/2"});
    end(watch);
}

static void a_table_that_is_not_followed_keeps_no_other_from_it(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *refused;
    end(begin(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY)", "*"));
    weir_sqlite_provider.close(rig->resource);
    rig->options.install = false;
    sqlite_rig_open(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    change(rig, "CREATE TABLE u(id INTEGER PRIMARY KEY); INSERT INTO u VALUES(1); INSERT INTO t "
                "VALUES(1)");
    assert_str_equal(test_sink_next(&rig->sink)->key, "t/1");
    WAIT_UNTIL(sqlite_rig_has_logged(rig, "changes of a table cannot be told"));
    assert_true(sqlite_rig_has_logged(rig, "install: true"));
    assert_int_equal(
        sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "*"}, &refused, &err),
        WEIR_UNSUPPORTED);
    assert_message_has(&err, "\"u\"");
    // Whoever may, sees to it, and everybody knows.
    rig->options.install = true;
    const struct weir_resource_args args = {.name = "other", .options = &rig->options};
    struct weir_resource *other;
    assert_ok(weir_sqlite_provider.open(&args, &other, &err));
    struct test_sink sink;
    test_sink_init(&sink);
    const struct weir_watch_args all = {.pattern = weir_pattern_of(WEIR_STR("*")),
                                        .sink = test_sink_of(&sink),
                                        .event_bytes_max = 1000};
    struct weir_watch *others;
    assert_ok(weir_sqlite_provider.watch(other, &all, &others, &err));
    sqlite_rig_expect_gap(rig, "followed from here");
    assert_str_equal(test_sink_next(&rig->sink)->key, "u/1");
    end(others);
    weir_sqlite_provider.close(other);
    test_sink_finish(&sink);
    end(watch);
}

static void more_tables_than_allowed_are_refused(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *refused;
    rig->options.tables_max = 1;
    struct weir_watch *watch = begin(rig,
                                     "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE u(id "
                                     "INTEGER PRIMARY KEY)",
                                     "t");
    static const char *const keys[] = {"u", "*"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_int_equal(
            sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = keys[i]}, &refused, &err),
            WEIR_LIMIT);
        assert_message_has(&err, "tables_max");
    }
    change(rig, "INSERT INTO t VALUES(1)");
    assert_str_equal(test_sink_next(&rig->sink)->key, "t/1");
    end(watch);
}

static void triggers_that_went_while_weir_was_away_are_a_gap(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    static const char *const keys[] = {"t", "u", "t/*"};
    struct weir_watch *watches[COUNT_OF(keys)];
    char position[WEIR_POSITION_BYTES_MAX];
    struct weir_watch *watch = begin(rig,
                                     "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE u(id "
                                     "INTEGER PRIMARY KEY)",
                                     "*");
    change(rig, "INSERT INTO t VALUES(1)");
    const struct weir_event *event = test_sink_next(&rig->sink);
    size_t size = event->position.size;
    memcpy(position, event->position.data, size);
    end(watch);
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    change(rig, "DROP TRIGGER _weir_1_i; DROP TRIGGER _weir_2_i; INSERT INTO t VALUES(2); INSERT "
                "INTO u VALUES(2)");
    sqlite_rig_open(rig);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        watches[i] = sqlite_rig_watch_as(
            rig, &(struct sqlite_rig_watch){.key = keys[i], .position = {position, size}});
        sqlite_rig_expect_gap(rig, "missing");
        if (i != 1) {
            assert_str_equal(test_sink_next(&rig->sink)->key, "t/1");
        }
        assert_str_equal(test_sink_next(&rig->sink)->key, i == 1 ? "u/2" : "t/2");
    }
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        end(watches[i]);
    }
}

int main(void) {
    const struct CMUnitTest cases[] = {
        SQLITE_RIG_CASE(a_row_is_told_as_it_was_and_is),
        SQLITE_RIG_CASE(values_keep_their_types),
        SQLITE_RIG_CASE(a_key_that_changes_is_one_that_goes_and_one_that_comes),
        SQLITE_RIG_CASE(a_table_without_a_key_is_one_key),
        SQLITE_RIG_CASE(a_pattern_has_its_rows_only),
        SQLITE_RIG_CASE(names_are_nobodys_code),
        SQLITE_RIG_CASE(a_row_that_is_replaced_by_its_key_is_told_as_the_new_one),
        SQLITE_RIG_CASE(a_row_that_is_put_out_of_the_way_is_told_as_deleted),
        SQLITE_RIG_CASE(that_holds_for_every_kind_of_table),
        SQLITE_RIG_CASE(a_unique_index_that_cannot_be_followed_is_named),
        SQLITE_RIG_CASE(a_transaction_that_is_taken_back_is_not_told),
        SQLITE_RIG_CASE(triggers_of_others_run_behind),
        SQLITE_RIG_CASE(a_trigger_that_comes_while_weir_looks_is_seen),
        SQLITE_RIG_CASE(a_column_that_comes_is_told),
        SQLITE_RIG_CASE(a_table_that_goes_and_comes_is_a_gap),
        SQLITE_RIG_CASE(a_table_that_is_renamed_is_another_one),
        SQLITE_RIG_CASE(triggers_that_somebody_drops_are_made_again),
        SQLITE_RIG_CASE(a_vacuum_changes_nothing),
        SQLITE_RIG_CASE(generated_columns_and_other_encodings_are_told),
        SQLITE_RIG_CASE(a_utf_16_database_is_told_too),
        SQLITE_RIG_CASE(what_cannot_be_watched_is_said),
        SQLITE_RIG_CASE(without_leave_nothing_is_installed),
        SQLITE_RIG_CASE(a_table_that_is_not_followed_keeps_no_other_from_it),
        SQLITE_RIG_CASE(more_tables_than_allowed_are_refused),
        SQLITE_RIG_CASE(triggers_that_went_while_weir_was_away_are_a_gap),
    };
    return cmocka_run_group_tests_name("sqlite: rows", cases, NULL, NULL);
}
