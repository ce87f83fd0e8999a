// SPDX-License-Identifier: Apache-2.0
//
// Statements of others: what they are given and give back, and what they may not do.
#include "support/sqlite_rig.h"

#include "base/clock.h"
#include "provider/sqlite/sqlite.h"
#include "unit/test.h"

#include <stdlib.h>

static weir_status query(struct sqlite_rig *rig, const struct weir_sql_statement *statement,
                         struct weir_sql_result *ret_result, struct weir_error *err) {
    return weir_sqlite_provider.query(rig->resource, statement, &sqlite_rig_limits, ret_result,
                                      err);
}

static struct weir_sql_statement reading(const char *text) {
    return (struct weir_sql_statement){
        .text = weir_str_of(text), .is_reading = true, .rows_max = 1000};
}

static struct weir_sql_statement writing(const char *text) {
    return (struct weir_sql_statement){.text = weir_str_of(text), .rows_max = 1000};
}

static void begin(struct sqlite_rig *rig) {
    sqlite_shell_run(&rig->shell, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    sqlite_rig_open(rig);
}

static void values_come_as_they_are(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sql_result result;
    begin(rig);
    struct weir_sql_statement statement =
        reading("SELECT NULL AS a, 9223372036854775807 AS \"b c\", 1.5, 'x\xc3\xa4', x'00ff', "
                "CAST(x'ff' AS TEXT), '' UNION ALL SELECT 1, 2, 3, 4, 5, 6, 7");
    assert_ok(query(rig, &statement, &result, &err));
    assert_int_equal(result.column_count, 7);
    assert_int_equal(result.row_count, 2);
    assert_int_equal(result.changed, 0);
    assert_str_equal(result.columns[0], "a");
    assert_str_equal(result.columns[1], "b c");
    const struct weir_sql_value *row = result.values;
    assert_int_equal(row[0].kind, WEIR_SQL_NULL);
    assert_int_equal(row[1].kind, WEIR_SQL_INTEGER);
    assert_true(row[1].integer == INT64_MAX);
    assert_int_equal(row[2].kind, WEIR_SQL_REAL);
    assert_true(row[2].real == 1.5);
    assert_int_equal(row[3].kind, WEIR_SQL_TEXT);
    assert_str_equal(row[3].bytes, "x\xc3\xa4");
    assert_int_equal(row[4].kind, WEIR_SQL_BINARY);
    assert_memory_equal(row[4].bytes.data, "\0\xff", 2);
    assert_int_equal(row[5].kind, WEIR_SQL_BINARY); // a text that is none
    assert_int_equal(row[6].kind, WEIR_SQL_TEXT);
    assert_int_equal(row[6].bytes.size, 0);
    assert_int_equal(row[7 + 6].integer, 7);
    weir_sql_result_finish(&result);
    weir_sql_result_finish(&result); // twice is no harm
}

static void parameters_are_values_and_nothing_else(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sql_result result;
    begin(rig);
    const struct weir_sql_value values[] = {
        {.kind = WEIR_SQL_TEXT, .bytes = WEIR_STR("'); DROP TABLE t; --")},
        {.kind = WEIR_SQL_BINARY, .bytes = {"\0\xff", 2}},
        {.kind = WEIR_SQL_INTEGER, .integer = INT64_MIN},
        {.kind = WEIR_SQL_REAL, .real = 0.1},
        {.kind = WEIR_SQL_BOOLEAN, .boolean = true},
        {.kind = WEIR_SQL_NULL},
        {.kind = WEIR_SQL_DECIMAL, .bytes = WEIR_STR("1.10")},
        {.kind = WEIR_SQL_TEXT, .bytes = {"a\0b", 3}},
    };
    struct weir_sql_statement statement =
        reading("SELECT ?1, ?2, typeof(?2), ?3, ?4, ?5, ?6, ?7, length(CAST(?8 AS BLOB))");
    statement.parameters = values;
    statement.parameter_count = COUNT_OF(values);
    assert_ok(query(rig, &statement, &result, &err));
    assert_str_equal(result.values[0].bytes, "'); DROP TABLE t; --");
    assert_str_equal(result.values[2].bytes, "blob");
    assert_true(result.values[3].integer == INT64_MIN);
    assert_true(result.values[4].real == 0.1);
    assert_int_equal(result.values[5].integer, 1);
    assert_int_equal(result.values[6].kind, WEIR_SQL_NULL);
    assert_str_equal(result.values[7].bytes, "1.10");
    assert_int_equal(result.values[8].integer, 3);
    weir_sql_result_finish(&result);
    for (size_t count = 0; count < COUNT_OF(values); count++) {
        statement.parameter_count = count;
        assert_int_equal(query(rig, &statement, &result, &err), WEIR_INVALID);
        assert_message_has(&err, "8 parameters");
    }
}

static void what_is_written_is_told(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sql_result result;
    begin(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "t");
    struct weir_sql_statement statement =
        writing("INSERT INTO t VALUES(1, 'a'), (2, 'b') RETURNING id");
    assert_ok(query(rig, &statement, &result, &err));
    assert_int_equal(result.changed, 2);
    assert_int_equal(result.row_count, 2);
    assert_int_equal(result.values[1].integer, 2);
    weir_sql_result_finish(&result);
    assert_str_equal(test_sink_next(&rig->sink)->key, "t/1");
    assert_str_equal(test_sink_next(&rig->sink)->key, "t/2");
    statement = writing("UPDATE t SET v = 'c' WHERE id > 1 -- and no more");
    assert_ok(query(rig, &statement, &result, &err));
    assert_int_equal(result.changed, 1);
    assert_int_equal(result.column_count, 0);
    weir_sql_result_finish(&result);
    assert_str_equal(test_sink_next(&rig->sink)->fields.ty, "dev.weir.row.updated");
    statement = writing("CREATE TABLE made(x)");
    assert_ok(query(rig, &statement, &result, &err));
    assert_int_equal(result.changed, 0);
    weir_sql_result_finish(&result);
    weir_sqlite_provider.unwatch(watch);
}

static void what_is_not_allowed_is_not_done(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sql_result result;
    begin(rig);
    weir_sqlite_provider.unwatch(sqlite_rig_watch(rig, "t"));
    sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(1, 1)");
    static const struct {
        const char *text;
        weir_status status; // of one that only reads
        weir_status writes; // of one that may write
    } rows[] = {
        {"INSERT INTO t VALUES(5, 5)", WEIR_DENIED, WEIR_OK},
        {"DELETE FROM t WHERE id = 5", WEIR_DENIED, WEIR_OK},
        {"CREATE INDEX i ON t(v)", WEIR_DENIED, WEIR_OK},
        {"WITH x AS (SELECT 1) DELETE FROM t WHERE id = 6", WEIR_DENIED, WEIR_OK},
        {"PRAGMA table_info(t)", WEIR_OK, WEIR_OK},
        {"PRAGMA user_version", WEIR_OK, WEIR_OK},
        {"PRAGMA user_version = 5", WEIR_DENIED, WEIR_DENIED},
        {"PRAGMA journal_mode = DELETE", WEIR_DENIED, WEIR_DENIED},
        {"PRAGMA writable_schema = ON", WEIR_DENIED, WEIR_DENIED},
        {"ATTACH ':memory:' AS other", WEIR_DENIED, WEIR_DENIED},
        {"DETACH main", WEIR_DENIED, WEIR_DENIED},
        {"BEGIN", WEIR_DENIED, WEIR_DENIED},
        {"COMMIT", WEIR_DENIED, WEIR_DENIED},
        {"SAVEPOINT s", WEIR_DENIED, WEIR_DENIED},
        {"VACUUM", WEIR_DENIED, WEIR_INVALID}, // not in a transaction

        {"VACUUM INTO '/tmp/weir-stolen.db'", WEIR_DENIED, WEIR_INVALID},
        {"CREATE TEMP TABLE t(x)", WEIR_DENIED, WEIR_DENIED},
        {"CREATE VIRTUAL TABLE v USING fts5(x)", WEIR_DENIED, WEIR_DENIED},
        {"SELECT load_extension('x')", WEIR_DENIED, WEIR_DENIED},
        {"SELECT count(*) FROM _weir_log", WEIR_OK, WEIR_OK},
        {"DELETE FROM _weir_log", WEIR_DENIED, WEIR_DENIED},
        {"UPDATE _WEIR_consumers SET seq = 0", WEIR_DENIED, WEIR_DENIED},
        {"DROP TABLE _weir_log", WEIR_DENIED, WEIR_DENIED},
        {"DROP TRIGGER _weir_1_i", WEIR_DENIED, WEIR_DENIED},
        {"CREATE TRIGGER _weir_x AFTER INSERT ON t BEGIN DELETE FROM _weir_log; END", WEIR_DENIED,
         WEIR_DENIED},
        {"ALTER TABLE _weir_log RENAME TO x", WEIR_DENIED, WEIR_DENIED},
        {"UPDATE sqlite_master SET sql = ''", WEIR_INVALID, WEIR_INVALID},
        {"SELECT 1; SELECT 2", WEIR_INVALID, WEIR_INVALID},
        {"SELECT 1; DELETE FROM t", WEIR_INVALID, WEIR_INVALID},
        {"SELECT 1; -- that is all", WEIR_OK, WEIR_OK},
        {"SELECT 1;;", WEIR_OK, WEIR_OK},
        {"", WEIR_INVALID, WEIR_INVALID},
        {"-- nothing", WEIR_INVALID, WEIR_INVALID},
        {"SELEKT 1", WEIR_INVALID, WEIR_INVALID},
        {"SELECT * FROM none", WEIR_INVALID, WEIR_INVALID},
        {"SELECT \"no such column\"", WEIR_INVALID, WEIR_INVALID},
        {"INSERT INTO t VALUES(1, 1)", WEIR_DENIED, WEIR_INVALID}, // it is there
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (int is_writing = 0; is_writing < 2; is_writing++) {
            struct weir_sql_statement statement =
                is_writing ? writing(rows[i].text) : reading(rows[i].text);
            weir_status status = query(rig, &statement, &result, &err);
            if (status != (is_writing ? rows[i].writes : rows[i].status)) {
                fail_msg("%s, %d: %s: %s", rows[i].text, is_writing, weir_status_name(status),
                         status ? err.message : "");
            }
            assert_true(status == WEIR_OK || !result.held);
            weir_sql_result_finish(&result);
        }
    }
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM t"), "1");
    assert_string_equal(sqlite_shell_ask(&rig->shell, "PRAGMA user_version"), "0");
    struct weir_sql_statement statement = {.text = {"SELECT 1\0, 2", 12}, .rows_max = 5};
    assert_int_equal(query(rig, &statement, &result, &err), WEIR_INVALID);
}

static void what_is_too_much_is_refused_and_taken_back(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sql_result result;
    begin(rig);
    struct weir_sql_statement statement =
        reading("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10) SELECT i "
                "FROM n");
    statement.rows_max = 10;
    assert_ok(query(rig, &statement, &result, &err));
    weir_sql_result_finish(&result);
    statement.rows_max = 9;
    assert_int_equal(query(rig, &statement, &result, &err), WEIR_LIMIT);
    assert_message_has(&err, "9 rows");
    const struct weir_limits small = {.value_bytes_max = 1000, .until_ns = INT64_MAX};
    statement = reading("SELECT zeroblob(2000)");
    assert_int_equal(weir_sqlite_provider.query(rig->resource, &statement, &small, &result, &err),
                     WEIR_LIMIT);
    statement = reading("SELECT hex(zeroblob(500000000))"); // a gigabyte, if it were made
    assert_int_equal(weir_sqlite_provider.query(rig->resource, &statement, &small, &result, &err),
                     WEIR_LIMIT);
    statement = writing("INSERT INTO t SELECT 1, 1 UNION SELECT 2, 2 RETURNING id");
    statement.rows_max = 1;
    assert_int_equal(query(rig, &statement, &result, &err), WEIR_LIMIT);
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM t"), "0");
    statement.rows_max = 2;
    assert_ok(query(rig, &statement, &result, &err));
    weir_sql_result_finish(&result);
}

static void what_takes_too_long_is_ended(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_sql_result result;
    begin(rig);
    static const char *const endless[] = {
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < "
        "0",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT i, i "
        "FROM n",
    };
    for (size_t i = 0; i < COUNT_OF(endless); i++) {
        struct weir_sql_statement statement = i < 2 ? reading(endless[i]) : writing(endless[i]);
        int64_t began_ns = weir_clock_monotonic_ns();
        const struct weir_limits limits = {.value_bytes_max = 1 << 20,
                                           .until_ns = began_ns + 200 * WEIR_NS_PER_MS};
        assert_int_equal(
            weir_sqlite_provider.query(rig->resource, &statement, &limits, &result, &err),
            WEIR_UNAVAILABLE);
        assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 5 * WEIR_NS_PER_S);
    }
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM t"), "0");
    // The next one is none the worse.
    struct weir_sql_statement statement = reading("SELECT 1");
    assert_ok(query(rig, &statement, &result, &err));
    weir_sql_result_finish(&result);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        SQLITE_RIG_CASE(values_come_as_they_are),
        SQLITE_RIG_CASE(parameters_are_values_and_nothing_else),
        SQLITE_RIG_CASE(what_is_written_is_told),
        SQLITE_RIG_CASE(what_is_not_allowed_is_not_done),
        SQLITE_RIG_CASE(what_is_too_much_is_refused_and_taken_back),
        SQLITE_RIG_CASE(what_takes_too_long_is_ended),
    };
    return cmocka_run_group_tests_name("sqlite: queries", cases, NULL, NULL);
}
