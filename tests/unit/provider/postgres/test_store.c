// SPDX-License-Identifier: Apache-2.0
//
// A table as a store, beyond what the contract suite asks: tables of people's own, and statements.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "provider/postgres/postgres.h"

static const struct weir_limits limits = {.value_bytes_max = 1 << 20, .until_ns = INT64_MAX};

static void open_store(struct postgres_rig *rig, const char *table) {
    postgres_rig_set(&rig->options.kv, table);
    postgres_rig_open(rig);
}

static weir_status set(struct postgres_rig *rig, struct weir_str key, struct weir_str value,
                       struct weir_error *err) {
    return weir_postgres_provider.set(rig->resource, key, value, &limits, err);
}

static void expect_got(struct postgres_rig *rig, const char *key, const char *wanted) {
    struct weir_value value;
    struct weir_error err;
    assert_ok(weir_postgres_provider.get(rig->resource, weir_str_of(key), &limits, &value, &err));
    assert_true(weir_str_equal((struct weir_str){value.data, value.size}, weir_str_of(wanted)));
    free(value.data);
}

// ---- tables ----

static void the_table_is_made_when_it_is_needed(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    struct weir_value value;
    open_store(rig, "made");
    assert_int_equal(
        weir_postgres_provider.get(rig->resource, WEIR_STR("k"), &limits, &value, &err),
        WEIR_NOT_FOUND);
    assert_ok(set(rig, WEIR_STR("k"), WEIR_STR("v"), &err));
    expect_got(rig, "k", "v");
    assert_true(postgres_rig_is(rig, "SELECT encode(value, 'escape') FROM made", "v"));
    postgres_rig_sql(rig, "DROP TABLE made");
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    assert_ok(set(rig, WEIR_STR("k"), WEIR_STR("w"), &err));
    test_sink_expect_set(&sub.sink, "k", "w");
    postgres_sub_finish(&sub);
    postgres_rig_close(rig);
    rig->options.create = false;
    open_store(rig, "shop.not_made");
    assert_int_equal(set(rig, WEIR_STR("k"), WEIR_STR("v"), &err), WEIR_OTHER);
    assert_message_has(&err, "shop.not_made");
    postgres_sub_init(&sub, rig, "sub", "*");
    assert_int_equal(postgres_sub_try_begin(&sub, &err), WEIR_NOT_FOUND);
    postgres_sub_finish(&sub);
}

static bool collect(void *context, struct weir_str key) {
    char *listed = context;
    size_t used = strlen(listed);
    snprintf(listed + used, 256 - used, "%.*s|", WEIR_STR_ARG(key));
    return true;
}

static void columns_may_be_texts(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    char listed[256] = "";
    const struct weir_listing listing = {.each = collect, .context = listed};
    const struct weir_pattern pattern = weir_pattern_of(WEIR_STR("B*"));
    // A collation that does not order by bytes.
    postgres_rig_sql(rig,
                     "CREATE TABLE \"Odd.kv\" (n serial, key text COLLATE \"und-x-icu\" PRIMARY "
                     "KEY, value varchar, at timestamptz DEFAULT now())");
    open_store(rig, "public.Odd.kv");
    postgres_sub_init(&sub, rig, NULL, "B*");
    postgres_sub_begin(&sub);
    const char *keys[] = {"Bz", "a", "B", "B_", "Ba", "b"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_ok(set(rig, weir_str_of(keys[i]), WEIR_STR("\xc3\xa4"), &err));
    }
    assert_ok(weir_postgres_provider.list(rig->resource, &pattern, &limits, &listing, &err));
    assert_string_equal(listed, "B|B_|Ba|Bz|");
    test_sink_expect_set(&sub.sink, "Bz", "\xc3\xa4");
    assert_int_equal(set(rig, WEIR_STR("\xff"), WEIR_STR("v"), &err), WEIR_INVALID);
    assert_int_equal(set(rig, WEIR_STR("k"), (struct weir_str){"a\0b", 3}, &err), WEIR_INVALID);
    postgres_sub_finish(&sub);
}

static void a_column_of_others_is_no_change_of_the_key(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE kv (key text PRIMARY KEY, value text, seen int)");
    postgres_rig_sql(rig, "ALTER TABLE kv ALTER value SET STORAGE EXTERNAL");
    open_store(rig, "kv");
    postgres_sub_init(&sub, rig, NULL, "*");
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO kv VALUES ('k', repeat('x', 5000))");
    test_sink_next(&sub.sink);
    postgres_rig_sql(rig, "UPDATE kv SET seen = 1");
    postgres_rig_sql(rig, "UPDATE kv SET value = 'short'");
    test_sink_expect_set(&sub.sink, "k", "short");
    postgres_rig_sql(rig, "UPDATE kv SET key = 'l'");
    test_sink_expect_deleted(&sub.sink, "k");
    test_sink_expect_set(&sub.sink, "l", "short");
    postgres_sub_finish(&sub);
}

static void a_store_that_is_truncated_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    open_store(rig, "kv");
    for (int kept = 0; kept < 2; kept++) {
        postgres_sub_init(&sub, rig, kept ? "sub" : NULL, "*");
        postgres_sub_begin(&sub);
        assert_ok(set(rig, WEIR_STR("a"), WEIR_STR("1"), &err));
        test_sink_expect_set(&sub.sink, "a", "1");
        postgres_rig_sql(rig, "DO $$ BEGIN TRUNCATE kv; INSERT INTO kv VALUES ('b', '2'); END $$");
        const struct weir_event *event = test_sink_next(&sub.sink);
        assert_true(event->is_gap);
        test_sink_expect_set(&sub.sink, "b", "2"); // it is there, or it came behind it
        assert_ok(set(rig, WEIR_STR("c"), WEIR_STR("3"), &err));
        test_sink_expect_set(&sub.sink, "c", "3");
        postgres_sub_finish(&sub);
        postgres_rig_sql(rig, "DELETE FROM kv");
    }
}

static void rows_are_no_store(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_error err;
    struct weir_value value;
    postgres_rig_open(rig);
    assert_int_equal(
        weir_postgres_provider.get(rig->resource, WEIR_STR("k"), &limits, &value, &err),
        WEIR_UNSUPPORTED);
    assert_message_has(&err, "kv: TABLE");
    assert_int_equal(set(rig, WEIR_STR("k"), WEIR_STR("v"), &err), WEIR_UNSUPPORTED);
}

// ---- statements ----

struct run {
    const char *text;
    const struct weir_sql_value *parameters;
    size_t count;
    bool is_reading;
    uint64_t rows_max;
};

static weir_status run(struct postgres_rig *rig, const struct run *run,
                       struct weir_sql_result *ret_result, struct weir_error *err) {
    const struct weir_sql_statement statement = {.text = weir_str_of(run->text),
                                                 .parameters = run->parameters,
                                                 .parameter_count = run->count,
                                                 .is_reading = run->is_reading,
                                                 .rows_max = run->rows_max ? run->rows_max : 100};
    return weir_postgres_provider.query(rig->resource, &statement, &limits, ret_result, err);
}

static void parameters_and_results_keep_their_kinds(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_sql_result result;
    struct weir_error err;
    const struct weir_sql_value parameters[] = {
        {.kind = WEIR_SQL_BOOLEAN, .boolean = true},
        {.kind = WEIR_SQL_INTEGER, .integer = INT64_MIN},
        {.kind = WEIR_SQL_REAL, .real = 0.1},
        {.kind = WEIR_SQL_TEXT, .bytes = WEIR_STR("'; DROP TABLE t; --")},
        {.kind = WEIR_SQL_BINARY, .bytes = {"\0\xff", 2}},
        {.kind = WEIR_SQL_DECIMAL, .bytes = WEIR_STR("1.50")},
        {.kind = WEIR_SQL_JSON, .bytes = WEIR_STR("{\"a\":1}")},
        {.kind = WEIR_SQL_NULL},
    };
    postgres_rig_open(rig);
    assert_ok(run(rig,
                  &(struct run){.text = "SELECT $1::bool AS b, $2::int8 AS i, $3::float8, $4, "
                                        "$5::bytea, $6::numeric, $7::json, $8::text",
                                .parameters = parameters,
                                .count = COUNT_OF(parameters),
                                .is_reading = true},
                  &result, &err));
    assert_int_equal(result.column_count, COUNT_OF(parameters));
    assert_int_equal(result.row_count, 1);
    assert_int_equal(result.changed, 0);
    assert_str_equal(result.columns[0], "b");
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        assert_int_equal(result.values[i].kind, parameters[i].kind);
    }
    assert_true(result.values[0].boolean);
    assert_true(result.values[1].integer == INT64_MIN);
    assert_true(result.values[2].real == 0.1);
    for (size_t i = 3; i < 7; i++) {
        assert_true(weir_str_equal(result.values[i].bytes, parameters[i].bytes));
    }
    weir_sql_result_finish(&result);
    // Beside columns of other types of numbers.
    postgres_rig_sql(rig, "CREATE TABLE t (s smallint, n numeric)");
    const struct weir_sql_value numbers[] = {{.kind = WEIR_SQL_INTEGER, .integer = 7},
                                             {.kind = WEIR_SQL_INTEGER, .integer = 8}};
    assert_ok(run(rig,
                  &(struct run){.text = "INSERT INTO t VALUES ($1, $2), ($2, $1)",
                                .parameters = numbers,
                                .count = 2},
                  &result, &err));
    assert_int_equal(result.changed, 2);
    weir_sql_result_finish(&result);
    assert_ok(run(rig,
                  &(struct run){.text = "UPDATE t SET n = 0 WHERE s = $1 RETURNING n",
                                .parameters = numbers,
                                .count = 1},
                  &result, &err));
    assert_int_equal(result.changed, 1);
    assert_int_equal(result.row_count, 1);
    weir_sql_result_finish(&result);
    assert_ok(run(rig, &(struct run){.text = "SELECT s FROM t WHERE false"}, &result, &err));
    assert_int_equal(result.column_count, 1);
    assert_int_equal(result.row_count, 0);
    weir_sql_result_finish(&result);
}

static void what_reads_changes_nothing(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_sql_result result;
    struct weir_error err;
    postgres_rig_sql(rig, "CREATE TABLE t (id int)");
    postgres_rig_open(rig);
    const char *writes[] = {"INSERT INTO t VALUES (1)",
                            "WITH x AS (INSERT INTO t VALUES (1) RETURNING id) SELECT * FROM x",
                            "CREATE TABLE u (id int)",
                            "SELECT nextval('s')",
                            "TRUNCATE t",
                            "SELECT * FROM t FOR UPDATE"};
    postgres_rig_sql(rig, "CREATE SEQUENCE s");
    for (size_t i = 0; i < COUNT_OF(writes); i++) {
        assert_int_equal(
            run(rig, &(struct run){.text = writes[i], .is_reading = true}, &result, &err),
            WEIR_DENIED);
        assert_null(result.held);
    }
    assert_true(postgres_rig_is(rig, "SELECT count(*)::text FROM t", "0"));
}

static void statements_that_are_none_are_invalid(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_sql_result result;
    struct weir_error err;
    postgres_rig_open(rig);
    const struct {
        const char *text;
        weir_status status;
    } rows[] = {
        {"SELEC 1", WEIR_INVALID},
        {"", WEIR_INVALID},
        {"  ", WEIR_INVALID},
        {"SELECT 1; SELECT 2", WEIR_INVALID},
        {"SELECT $1", WEIR_INVALID},
        {"SELECT 1/0", WEIR_INVALID},
        {"SELECT 'x'::int", WEIR_INVALID},
        {"COPY (SELECT 1) TO STDOUT", WEIR_UNSUPPORTED},
        {"SELECT * FROM absent", WEIR_INVALID},
        {"SELECT repeat('x', 1000000) FROM generate_series(1, 3)", WEIR_LIMIT},
        {"SELECT generate_series(1, 101)", WEIR_LIMIT},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(run(rig, &(struct run){.text = rows[i].text}, &result, &err),
                         rows[i].status);
        // And the next one is not held up by it.
        assert_ok(run(rig, &(struct run){.text = "SELECT 1", .is_reading = true}, &result, &err));
        weir_sql_result_finish(&result);
    }
    const struct weir_sql_value nul = {.kind = WEIR_SQL_TEXT, .bytes = {"a\0b", 3}};
    assert_int_equal(run(rig,
                         &(struct run){.text = "SELECT $1::text", .parameters = &nul, .count = 1},
                         &result, &err),
                     WEIR_INVALID);
}

static void a_statement_leaves_nothing_in_the_session(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_sql_result result;
    struct weir_error err;
    rig->options.connections = 1;
    postgres_rig_open(rig);
    const char *texts[] = {"SET timezone = 'Asia/Tokyo'",
                           "CREATE TEMPORARY TABLE leftover (i int)",
                           "SELECT pg_advisory_lock(7)",
                           "BEGIN",
                           "LISTEN x",
                           "PREPARE p AS SELECT 1"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_ok(run(rig, &(struct run){.text = texts[i]}, &result, &err));
        weir_sql_result_finish(&result);
    }
    assert_ok(run(rig,
                  &(struct run){.text = "SELECT current_setting('timezone'), "
                                        "to_regclass('leftover') IS NULL, (SELECT count(*) FROM "
                                        "pg_locks WHERE locktype = 'advisory'), "
                                        "current_setting('bytea_output')"},
                  &result, &err));
    assert_str_equal(result.values[0].bytes, "UTC");
    assert_true(result.values[1].boolean);
    assert_int_equal(result.values[2].integer, 0);
    assert_str_equal(result.values[3].bytes, "hex");
    weir_sql_result_finish(&result);
}

static void a_statement_ends_by_its_moment(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_sql_result result;
    struct weir_error err;
    postgres_rig_open(rig);
    const struct weir_sql_statement statement = {
        .text = WEIR_STR("SELECT pg_sleep(100)"), .is_reading = true, .rows_max = 1};
    int64_t began_ns = weir_clock_monotonic_ns();
    const struct weir_limits soon = {.value_bytes_max = 1 << 20,
                                     .until_ns = began_ns + 200 * WEIR_NS_PER_MS};
    assert_int_equal(weir_postgres_provider.query(rig->resource, &statement, &soon, &result, &err),
                     WEIR_UNAVAILABLE);
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 5 * WEIR_NS_PER_S);
    // The server has not gone on with it either.
    WAIT_UNTIL(postgres_rig_is(rig,
                               "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE "
                               "'%pg_sleep(100)' AND state = 'active'",
                               "0"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(the_table_is_made_when_it_is_needed),
        CASE(columns_may_be_texts),
        CASE(a_column_of_others_is_no_change_of_the_key),
        CASE(a_store_that_is_truncated_is_a_gap),
        CASE(rows_are_no_store),
        CASE(parameters_and_results_keep_their_kinds),
        CASE(what_reads_changes_nothing),
        CASE(statements_that_are_none_are_invalid),
        CASE(a_statement_leaves_nothing_in_the_session),
        CASE(a_statement_ends_by_its_moment),
    };
    return cmocka_run_group_tests_name("PostgreSQL, stores and statements", cases, NULL, NULL);
}
