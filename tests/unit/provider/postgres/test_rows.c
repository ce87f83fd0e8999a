// SPDX-License-Identifier: Apache-2.0
//
// What is told of rows: every kind of change, values of every type, tables of every form.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "provider/row.h"

#define INSERTED  WEIR_TYPE_ROW_INSERTED
#define UPDATED   WEIR_TYPE_ROW_UPDATED
#define DELETED   WEIR_TYPE_ROW_DELETED
#define TRUNCATED WEIR_TYPE_TABLE_TRUNCATED

static void begin(struct postgres_sub *sub, struct postgres_rig *rig, const char *pattern) {
    if (!rig->resource) {
        postgres_rig_open(rig);
    }
    postgres_sub_init(sub, rig, NULL, pattern);
    postgres_sub_begin(sub);
}

static void each_change_of_a_row_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, name text)");
    begin(&sub, rig, "t/*");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1, 'one')");
    postgres_sub_expect_json(&sub, INSERTED, "t/1",
                             "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"name\":"
                             "\"one\"}}");
    postgres_rig_sql(rig, "UPDATE t SET name = 'two'");
    postgres_sub_expect_json(&sub, UPDATED, "t/1",
                             "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"name\":"
                             "\"two\"}}");
    postgres_rig_sql(rig, "UPDATE t SET id = 2");
    postgres_sub_expect_json(&sub, DELETED, "t/1",
                             "{\"table\":\"t\",\"before\":{\"id\":1},\"after\":null}");
    postgres_sub_expect_json(&sub, INSERTED, "t/2",
                             "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":2,\"name\":"
                             "\"two\"}}");
    postgres_rig_sql(rig, "DELETE FROM t");
    postgres_sub_expect_json(&sub, DELETED, "t/2",
                             "{\"table\":\"t\",\"before\":{\"id\":2},\"after\":null}");
    postgres_rig_sql(rig, "TRUNCATE t");
    postgres_sub_expect_json(&sub, TRUNCATED, "t",
                             "{\"table\":\"t\",\"before\":null,\"after\":null}");
    postgres_sub_finish(&sub);
}

static void the_whole_row_is_told_of_what_was(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, name text)");
    postgres_rig_sql(rig, "ALTER TABLE t REPLICA IDENTITY FULL");
    begin(&sub, rig, "t");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1, 'one')");
    test_sink_next(&sub.sink);
    postgres_rig_sql(rig, "UPDATE t SET name = NULL");
    postgres_sub_expect_json(&sub, UPDATED, "t/1",
                             "{\"table\":\"t\",\"before\":{\"id\":1,\"name\":\"one\"},\"after\":{"
                             "\"id\":1,\"name\":null}}");
    postgres_rig_sql(rig, "DELETE FROM t");
    postgres_sub_expect_json(
        &sub, DELETED, "t/1",
        "{\"table\":\"t\",\"before\":{\"id\":1,\"name\":null},\"after\":null}");
    postgres_sub_finish(&sub);
}

static void values_keep_their_types(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig,
                     "CREATE TABLE t (id bigint PRIMARY KEY, b boolean, s smallint, r real, "
                     "d double precision, n numeric, j json, jb jsonb, y bytea, t timestamptz, "
                     "a int[], u uuid)");
    begin(&sub, rig, "t");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (9007199254740993, true, -7, 1.5, 'NaN', "
                          "12345678901234567890.10, '{\"a\": [1, null]}', '\"x\"', '\\x00ff', "
                          "'2026-01-02 03:04:05+02', '{1,NULL,3}', "
                          "'00000000-0000-0000-0000-00000000000a')");
    postgres_sub_expect_json(
        &sub, INSERTED, "t/9007199254740993",
        "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":{\"$numberLong\":"
        "\"9007199254740993\"},\"b\":true,\"s\":-7,\"r\":1.5,\"d\":{\"$numberDouble\":\"NaN\"},"
        "\"n\":{\"$numberDecimal\":\"12345678901234567890.10\"},\"j\":{\"a\":[1,null]},\"jb\":"
        "\"x\",\"y\":{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"00\"}},\"t\":\"2026-01-02 "
        "01:04:05+00\",\"a\":\"{1,NULL,3}\",\"u\":\"00000000-0000-0000-0000-00000000000a\"}}");
    postgres_sub_finish(&sub);
}

// A value of some thousand bytes is stored beside its row, and not in the log where another column
// is written.
static void what_was_not_written_is_left_out_or_filled_in(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, n int, large text)");
    postgres_rig_sql(rig, "ALTER TABLE t ALTER large SET STORAGE EXTERNAL");
    begin(&sub, rig, "t");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1, 1, repeat('x', 5000))");
    test_sink_next(&sub.sink);
    postgres_rig_sql(rig, "UPDATE t SET n = 2");
    postgres_sub_expect_json(&sub, UPDATED, "t/1",
                             "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"n\":2}}");
    postgres_rig_sql(rig, "ALTER TABLE t REPLICA IDENTITY FULL");
    postgres_rig_sql(rig, "UPDATE t SET n = 3");
    const struct weir_event *event = test_sink_next(&sub.sink);
    assert_true(event->fields.data.value.bytes.size > 10000);
    postgres_rig_sql(rig, "UPDATE t SET id = 2");
    test_sink_next(&sub.sink);
    event = test_sink_next(&sub.sink);
    assert_true(event->fields.data.value.bytes.size > 5000);
    postgres_sub_finish(&sub);
}

static void a_table_without_a_key_has_one_for_all_rows(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (v int)");
    postgres_rig_sql(rig, "ALTER TABLE t REPLICA IDENTITY FULL");
    begin(&sub, rig, "t/*");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (7)");
    postgres_sub_expect_json(&sub, INSERTED, "t",
                             "{\"table\":\"t\",\"before\":null,\"after\":{\"v\":7}}");
    postgres_rig_sql(rig, "DELETE FROM t");
    postgres_sub_expect_json(&sub, DELETED, "t",
                             "{\"table\":\"t\",\"before\":{\"v\":7},\"after\":null}");
    postgres_sub_finish(&sub);
}

static void keys_are_the_primary_keys_in_its_order(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub, one;
    postgres_rig_sql(rig, "CREATE TABLE t (v int, a text, b int, PRIMARY KEY (b, a))");
    begin(&sub, rig, "t");
    begin(&one, rig, "t/2,x%2Fy");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1, 'a', 1), (2, 'x/y', 2)");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/1,a");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/2,x%2Fy");
    assert_str_equal(test_sink_next(&one.sink)->key, "t/2,x%2Fy");
    postgres_rig_sql(rig, "DELETE FROM t WHERE b = 2");
    postgres_sub_expect_json(&one, DELETED, "t/2,x%2Fy",
                             "{\"table\":\"t\",\"before\":{\"a\":\"x/y\",\"b\":2},\"after\":null}");
    assert_int_equal(test_sink_count(&one.sink), 2);
    postgres_sub_finish(&one);
    postgres_sub_finish(&sub);
}

static void patterns_are_of_a_table_and_its_keys(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub all, some, one, other;
    postgres_rig_sql(rig, "CREATE SCHEMA shop");
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY)");
    postgres_rig_sql(rig, "CREATE TABLE shop.\"T.x/y\" (id int PRIMARY KEY)");
    begin(&all, rig, "public.t");
    begin(&some, rig, "t/1*");
    begin(&one, rig, "t/2");
    begin(&other, rig, "shop.T.x%2Fy/*");
    postgres_rig_sql(rig, "INSERT INTO shop.\"T.x/y\" VALUES (1)");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1), (2), (10)");
    assert_str_equal(test_sink_next(&all.sink)->key, "t/1");
    assert_str_equal(test_sink_next(&all.sink)->key, "t/2");
    assert_str_equal(test_sink_next(&all.sink)->key, "t/10");
    assert_str_equal(test_sink_next(&some.sink)->key, "t/1");
    assert_str_equal(test_sink_next(&some.sink)->key, "t/10");
    assert_str_equal(test_sink_next(&one.sink)->key, "t/2");
    postgres_sub_expect_json(&other, INSERTED, "shop.T.x%2Fy/1",
                             "{\"table\":\"shop.T.x/y\",\"before\":null,\"after\":{\"id\":1}}");
    // A truncation is told to whoever watches a row of the table.
    postgres_rig_sql(rig, "TRUNCATE t, shop.\"T.x/y\"");
    struct postgres_sub *subs[] = {&all, &some, &one, &other};
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        const struct weir_event *event = test_sink_next(&subs[i]->sink);
        assert_str_equal(event->fields.ty, TRUNCATED);
        assert_str_equal(event->key, i < 3 ? "t" : "shop.T.x%2Fy");
    }
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        postgres_sub_finish(subs[i]);
    }
}

static void what_was_committed_together_is_told_together(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY)");
    begin(&sub, rig, "t");
    postgres_rig_sql(rig, "INSERT INTO t SELECT generate_series(1, 3)");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (4)");
    postgres_rig_sql(rig, "DO $$ BEGIN INSERT INTO t VALUES (5); RAISE EXCEPTION 'no'; EXCEPTION "
                          "WHEN OTHERS THEN INSERT INTO t VALUES (6); END $$");
    const struct weir_event *events[5];
    for (size_t i = 0; i < 5; i++) {
        events[i] = test_sink_next(&sub.sink);
    }
    struct weir_str first = test_extension(events[0], WEIR_EXTENSION_TRANSACTION);
    assert_true(first.size > 0);
    for (size_t i = 1; i < 5; i++) {
        struct weir_str xid = test_extension(events[i], WEIR_EXTENSION_TRANSACTION);
        assert_int_equal(weir_str_equal(xid, first), i < 3);
        assert_true(memcmp(events[i]->position.data, events[i - 1]->position.data,
                           events[i]->position.size) > 0);
        assert_false(weir_str_equal(events[i]->fields.id, events[i - 1]->fields.id));
    }
    assert_str_equal(events[4]->key, "t/6"); // what was rolled back never happened
    postgres_sub_finish(&sub);
}

static void a_table_may_change_while_it_is_watched(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, v int)");
    begin(&sub, rig, "t");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1, 1)");
    test_sink_next(&sub.sink);
    postgres_rig_sql(rig, "ALTER TABLE t ADD w text DEFAULT 'd', DROP v");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (2)");
    postgres_sub_expect_json(&sub, INSERTED, "t/2",
                             "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":2,\"w\":\"d\"}}");
    postgres_rig_sql(rig, "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, w)");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (3, 'x')");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/3,x");
    postgres_sub_finish(&sub);
}

static void rows_of_partitions_are_the_tables(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)");
    postgres_rig_sql(rig, "CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (10)");
    begin(&sub, rig, "t");
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1)");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/1");
    postgres_rig_sql(rig, "CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (10) TO (20)");
    postgres_rig_sql(rig, "INSERT INTO t_high VALUES (11)");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/11");
    postgres_rig_sql(rig, "UPDATE t SET id = 12 WHERE id = 1"); // to another partition
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/1");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/12");
    postgres_sub_finish(&sub);
}

static void a_table_that_cannot_be_watched_is_refused_by_name(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    postgres_rig_sql(rig, "CREATE UNLOGGED TABLE u (id int PRIMARY KEY)");
    postgres_rig_sql(rig, "CREATE TABLE n (id int)");
    postgres_rig_sql(rig, "CREATE TABLE i (id int PRIMARY KEY)");
    postgres_rig_sql(rig, "ALTER TABLE i REPLICA IDENTITY NOTHING");
    postgres_rig_sql(rig, "CREATE VIEW v AS SELECT 1");
    postgres_rig_open(rig);
    const struct {
        const char *pattern, *remedy;
        weir_status status;
    } rows[] = {
        {"absent", "no table absent", WEIR_NOT_FOUND},
        {"shop.absent/1", "no table shop.absent", WEIR_NOT_FOUND},
        {"u", "ALTER TABLE \"public\".\"u\" SET LOGGED", WEIR_UNSUPPORTED},
        {"n/*", "ALTER TABLE \"public\".\"n\" REPLICA IDENTITY FULL", WEIR_UNSUPPORTED},
        {"i", "replica identity", WEIR_UNSUPPORTED},
        {"v", "no table", WEIR_UNSUPPORTED},
        {"*", "TABLE/*", WEIR_INVALID},
        {"tab*", "TABLE/*", WEIR_INVALID},
        {"/1", "no name of a table", WEIR_INVALID},
        {"t%2", "no table's name", WEIR_INVALID},
        {"t%00", "no name of a table", WEIR_INVALID},
        {".t", "no name of a table", WEIR_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        postgres_sub_init(&sub, rig, i % 2 ? "sub" : NULL, rows[i].pattern);
        assert_int_equal(postgres_sub_try_begin(&sub, &err), rows[i].status);
        assert_int_equal(err.status, rows[i].status);
        assert_message_has(&err, rows[i].remedy);
        postgres_sub_finish(&sub);
    }
    // Nothing was changed there for it: an UPDATE of the table without a key still works.
    postgres_rig_sql(rig, "INSERT INTO n VALUES (1)");
    postgres_rig_sql(rig, "UPDATE n SET id = 2");
}

// A transaction that wrote to the table before it came into the publication, and is still open, has
// told only a part of itself: the watch begins when it has ended.
static void a_watch_waits_for_who_writes_already(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub first, sub;
    struct test_foreign *writer = test_foreign_start(rig->server);
    struct weir_error err;
    postgres_rig_sql(rig, "CREATE TABLE a (id int PRIMARY KEY)");
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY)");
    rig->options.timeout_ns = 2 * WEIR_NS_PER_S;
    begin(&first, rig, "a"); // so that there is a slot
    json_decref(test_foreign_sql(writer, "BEGIN", 0, NULL));
    json_decref(test_foreign_sql(writer, "INSERT INTO t VALUES (1)", 0, NULL));
    postgres_sub_init(&sub, rig, NULL, "t");
    assert_int_equal(postgres_sub_try_begin(&sub, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "still open");
    json_decref(test_foreign_sql(writer, "COMMIT", 0, NULL));
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO t VALUES (2)");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/2");
    postgres_sub_finish(&sub);
    postgres_sub_finish(&first);
    test_foreign_stop(writer);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(each_change_of_a_row_is_told),
        CASE(the_whole_row_is_told_of_what_was),
        CASE(values_keep_their_types),
        CASE(what_was_not_written_is_left_out_or_filled_in),
        CASE(a_table_without_a_key_has_one_for_all_rows),
        CASE(keys_are_the_primary_keys_in_its_order),
        CASE(patterns_are_of_a_table_and_its_keys),
        CASE(what_was_committed_together_is_told_together),
        CASE(a_table_may_change_while_it_is_watched),
        CASE(rows_of_partitions_are_the_tables),
        CASE(a_table_that_cannot_be_watched_is_refused_by_name),
        CASE(a_watch_waits_for_who_writes_already),
    };
    return cmocka_run_group_tests_name("rows of PostgreSQL", cases, NULL, NULL);
}
