// SPDX-License-Identifier: Apache-2.0
//
// A table of somebody else's as a key-value store: which ones can be one, what its keys and values
// are, and what becomes of what is written.
#include "support/sqlite_rig.h"

#include "base/clock.h"
#include "event/event.h"
#include "provider/sqlite/sqlite.h"
#include "unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void begin(struct sqlite_rig *rig, const char *sql) {
    sqlite_rig_use_kv(rig);
    sqlite_shell_run(&rig->shell, "%s", sql);
    sqlite_rig_open(rig);
}

static weir_status try_set(struct sqlite_rig *rig, const char *key, struct weir_str value,
                           struct weir_error *err) {
    return weir_sqlite_provider.set(rig->resource, weir_str_of(key), value, &sqlite_rig_limits,
                                    err);
}

static void set(struct sqlite_rig *rig, const char *key, struct weir_str value) {
    struct weir_error err;
    assert_ok(try_set(rig, key, value, &err));
}

static void expect_got(struct sqlite_rig *rig, const char *key, struct weir_str value) {
    struct weir_error err;
    struct weir_value got;
    assert_ok(
        weir_sqlite_provider.get(rig->resource, weir_str_of(key), &sqlite_rig_limits, &got, &err));
    assert_int_equal(got.size, value.size);
    assert_memory_equal(got.data, value.data, value.size);
    free(got.data);
}

static void a_key_may_be_a_text_or_a_blob(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    begin(rig, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "text", WEIR_STR("1"));
    set(rig, "\xff", WEIR_STR("2"));
    assert_string_equal(
        sqlite_shell_ask(&rig->shell, "SELECT group_concat(typeof(key)) FROM pairs"), "text,blob");
    test_sink_expect_set(&rig->sink, "text", "1");
    test_sink_expect_set(&rig->sink, "\xff", "2");
    // Somebody's blob is the same key; a set leaves one of the two.
    sqlite_shell_run(&rig->shell, "INSERT INTO pairs VALUES(x'62', 'blob')");
    test_sink_expect_set(&rig->sink, "b", "blob");
    expect_got(rig, "b", WEIR_STR("blob"));
    sqlite_shell_run(&rig->shell, "INSERT INTO pairs VALUES('b', 'text')");
    test_sink_expect_set(&rig->sink, "b", "text");
    expect_got(rig, "b", WEIR_STR("text"));
    set(rig, "b", WEIR_STR("new"));
    test_sink_expect_deleted(&rig->sink, "b");
    test_sink_expect_set(&rig->sink, "b", "new");
    sqlite_shell_run(&rig->shell, "INSERT INTO pairs VALUES(x'62', 'again')");
    test_sink_expect_set(&rig->sink, "b", "again");
    assert_ok(weir_sqlite_provider.remove(rig->resource, WEIR_STR("b"), &sqlite_rig_limits, &err));
    test_sink_expect_deleted(&rig->sink, "b");
    test_sink_expect_deleted(&rig->sink, "b");
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM pairs"), "2");
    weir_sqlite_provider.unwatch(watch);
}

static bool count_k(void *context, struct weir_str key) {
    assert_str_equal(key, "k");
    ++*(size_t *)context;
    return true;
}

static void what_is_no_key_is_left_alone(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    begin(rig, "CREATE TABLE pairs(key BLOB PRIMARY KEY, value)");
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    sqlite_shell_run(&rig->shell,
                     "INSERT INTO pairs VALUES(5, 'number'), (NULL, 'null'), ('', 'empty'), "
                     "(x'6100', 'nul'), (zeroblob(5000), 'long'), ('k', 'v'); UPDATE pairs SET "
                     "value = 1; DELETE FROM pairs WHERE typeof(key) = 'integer'");
    test_sink_expect_set(&rig->sink, "k", "v");
    test_sink_expect_set(&rig->sink, "k", "1");
    sqlite_shell_run(&rig->shell, "UPDATE pairs SET key = 6 WHERE key = 'k'");
    test_sink_expect_deleted(&rig->sink, "k");
    sqlite_shell_run(&rig->shell, "UPDATE pairs SET key = 'k' WHERE key = 6");
    test_sink_expect_set(&rig->sink, "k", "1");
    size_t listed = 0;
    struct weir_pattern all = weir_pattern_of(WEIR_STR("*"));
    const struct weir_listing listing = {.each = count_k, .context = &listed};
    assert_ok(weir_sqlite_provider.list(rig->resource, &all, &sqlite_rig_limits, &listing, &err));
    assert_int_equal(listed, 1);
    weir_sqlite_provider.unwatch(watch);
}

static void values_of_any_type_are_bytes(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    begin(rig, "CREATE TABLE pairs(value, note, name TEXT PRIMARY KEY) WITHOUT ROWID");
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    static const struct {
        const char *sql, *value;
    } rows[] = {{"5", "5"}, {"1.5", "1.5"}, {"NULL", ""}, {"'t'", "t"}, {"x'c3a4'", "\xc3\xa4"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        sqlite_shell_run(&rig->shell, "REPLACE INTO pairs VALUES(%s, 'note', 'k')", rows[i].sql);
        test_sink_expect_set(&rig->sink, "k", rows[i].value);
        expect_got(rig, "k", weir_str_of(rows[i].value));
    }
    // What else is in the row is nobody's business, and stays.
    sqlite_shell_run(&rig->shell, "UPDATE pairs SET note = 'other'");
    set(rig, "k", WEIR_STR("weir's"));
    test_sink_expect_set(&rig->sink, "k", "weir's");
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT note, typeof(value) FROM pairs"),
                        "other|text");
    weir_sqlite_provider.unwatch(watch);
}

static void a_value_that_looks_like_a_number_stays_what_it_is(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    begin(rig, "CREATE TABLE pairs(k TEXT PRIMARY KEY, v JSON)"); // of numeric affinity
    set(rig, "k", WEIR_STR("1.0"));
    expect_got(rig, "k", WEIR_STR("1.0"));
    set(rig, "k", WEIR_STR("007"));
    expect_got(rig, "k", WEIR_STR("007"));
}

static void a_table_that_is_no_store_is_refused(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    static const struct {
        const char *sql, *message;
    } rows[] = {
        {"CREATE TABLE pairs(k INTEGER PRIMARY KEY, v)", "type TEXT or BLOB"},
        {"CREATE TABLE pairs(k TEXT, v)", "primary key has to be one column"},
        {"CREATE TABLE pairs(a TEXT, b TEXT, v, PRIMARY KEY(a, b))", "one column"},
        {"CREATE TABLE pairs(k TEXT PRIMARY KEY)", "one is called \"value\""},
        {"CREATE TABLE pairs(k TEXT PRIMARY KEY, a, b)", "one is called \"value\""},
        {"CREATE TABLE pairs(k TEXT PRIMARY KEY COLLATE NOCASE, v)", "BINARY"},
        {"CREATE VIEW pairs AS SELECT 'k' AS key, 'v' AS value", "view"},
    };
    sqlite_rig_use_kv(rig);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err;
        struct weir_watch *watch;
        struct weir_value got;
        sqlite_shell_run(&rig->shell, "%s", rows[i].sql);
        sqlite_rig_open(rig);
        assert_int_equal(
            weir_sqlite_provider.get(rig->resource, WEIR_STR("k"), &sqlite_rig_limits, &got, &err),
            WEIR_UNSUPPORTED);
        assert_message_has(&err, rows[i].message);
        assert_int_equal(
            sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "*"}, &watch, &err),
            WEIR_UNSUPPORTED);
        assert_message_has(&err, rows[i].message);
        weir_sqlite_provider.close(rig->resource);
        rig->resource = NULL;
        sqlite_shell_run(&rig->shell, "DROP %s pairs", i == 6 ? "VIEW" : "TABLE");
    }
}

static void what_is_missing_is_made_or_said(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    char path[TEST_PATH_BYTES];
    sqlite_rig_use_kv(rig);
    rig->options.create = false;
    sqlite_rig_open(rig);
    assert_int_equal(try_set(rig, "k", WEIR_STR("v"), &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "create: true");
    weir_sqlite_provider.close(rig->resource);
    free(rig->options.path);
    rig->options.path = strdup(test_path(&rig->folder, "new.db", path));
    sqlite_rig_open(rig);
    assert_int_equal(try_set(rig, "k", WEIR_STR("v"), &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "no database");
    assert_int_equal(access(path, F_OK), -1);
    weir_sqlite_provider.close(rig->resource);
    rig->options.create = true;
    sqlite_rig_open(rig);
    set(rig, "k", WEIR_STR("v"));
    expect_got(rig, "k", WEIR_STR("v"));
    struct sqlite_shell shell;
    sqlite_shell_open(&shell, path);
    assert_string_equal(sqlite_shell_ask(&shell, "PRAGMA journal_mode"), "wal");
    sqlite_shell_close(&shell);
    // A name that SQLite would take for something else than a file.
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    free(rig->options.path);
    rig->options.path = strdup("file:weir-test-uri.db?mode=memory");
    sqlite_rig_open(rig);
    set(rig, "k", WEIR_STR("v"));
    assert_int_equal(unlink("file:weir-test-uri.db?mode=memory"), 0);
}

static void nothing_is_written_to_a_file_that_was_replaced(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    char other[TEST_PATH_BYTES];
    begin(rig, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    set(rig, "k", WEIR_STR("old"));
    sqlite_shell_run(&rig->shell, "VACUUM INTO '%s'", test_path(&rig->folder, "other.db", other));
    sqlite_shell_close(&rig->shell);
    assert_int_equal(rename(other, rig->path), 0);
    char side[TEST_PATH_BYTES + 8];
    snprintf(side, sizeof side, "%s-wal", rig->path);
    unlink(side);
    snprintf(side, sizeof side, "%s-shm", rig->path);
    unlink(side);
    set(rig, "k", WEIR_STR("new")); // by a connection that had the old one open
    sqlite_shell_open(&rig->shell, rig->path);
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT value FROM pairs"), "new");
}

static void a_locked_database_is_given_up_in_time(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    begin(rig, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    set(rig, "k", WEIR_STR("v"));
    sqlite_shell_run(&rig->shell, "BEGIN IMMEDIATE; UPDATE pairs SET value = 'theirs'");
    int64_t began_ns = weir_clock_monotonic_ns();
    const struct weir_limits limits = {.value_bytes_max = 100,
                                       .until_ns = began_ns + 100 * WEIR_NS_PER_MS};
    assert_int_equal(
        weir_sqlite_provider.set(rig->resource, WEIR_STR("k"), WEIR_STR("ours"), &limits, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "another program holds the database");
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 90 * WEIR_NS_PER_MS, 5 * WEIR_NS_PER_S);
    expect_got(rig, "k", WEIR_STR("v")); // who reads does not wait
    sqlite_shell_run(&rig->shell, "COMMIT");
    expect_got(rig, "k", WEIR_STR("theirs"));
    set(rig, "k", WEIR_STR("ours"));
}

static void what_the_table_does_not_allow_is_invalid(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    begin(rig, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value TEXT CHECK(length(value) < 5)) "
               "STRICT");
    set(rig, "k", WEIR_STR("four"));
    assert_int_equal(try_set(rig, "k", WEIR_STR("fiver"), &err), WEIR_INVALID);
    assert_message_has(&err, "CHECK");
    assert_int_equal(try_set(rig, "k", (struct weir_str){"\xff", 1}, &err), WEIR_INVALID);
    expect_got(rig, "k", WEIR_STR("four"));
}

static void a_disk_that_refuses_changes_nothing(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct rlimit before;
    begin(rig, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "k", WEIR_STR("v"));
    test_sink_expect_set(&rig->sink, "k", "v");
    char *large = calloc(1, 4 << 20);
    assert_non_null(large);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    sigaction(SIGXFSZ, &ignore, &old);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    weir_status status = try_set(rig, "k", (struct weir_str){large, 4 << 20}, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    sigaction(SIGXFSZ, &old, NULL);
    assert_int_equal(status, WEIR_UNAVAILABLE);
    expect_got(rig, "k", WEIR_STR("v"));
    set(rig, "k", WEIR_STR("w"));
    test_sink_expect_set(&rig->sink, "k", "w");
    weir_sqlite_provider.unwatch(watch);
    free(large);
}

static void a_chain_is_in_the_log_of_its_own_change_only(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    // A trigger of the owner's writes more keys in the same transaction.
    begin(rig,
          "CREATE TABLE pairs(key TEXT PRIMARY KEY, value); CREATE TRIGGER more AFTER INSERT "
          "ON pairs WHEN NEW.key = 'k' BEGIN INSERT INTO pairs VALUES('more', NEW.value); END");
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    const struct weir_attribute extensions[] = {
        {WEIR_STR(WEIR_EXTENSION_HOPS), WEIR_STR("3")},
        {WEIR_STR(WEIR_EXTENSION_CAUSATION), WEIR_STR("cause")}};
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR("com.example.any"),
        .source = WEIR_STR("/elsewhere"),
        .id = WEIR_STR("1"),
        .subject = {true, WEIR_STR("k")},
        .data = {true, weir_payload_of(WEIR_STR("v"))},
        .extensions = {.items = extensions, .count = 2},
    };
    struct weir_event *event;
    assert_ok(weir_event_new(&fields, (struct weir_str){0}, &event, &err));
    assert_ok(weir_sqlite_provider.publish(rig->resource, event, &err));
    weir_event_unref(event);
    const struct weir_event *told = test_sink_expect_set(&rig->sink, "k", "v");
    assert_str_equal(test_extension(told, WEIR_EXTENSION_HOPS), "3");
    assert_str_equal(test_extension(told, WEIR_EXTENSION_CAUSATION), "cause");
    assert_int_equal(test_extension(told, WEIR_EXTENSION_CORRELATION).size, 0);
    told = test_sink_expect_set(&rig->sink, "more", "v");
    assert_int_equal(test_extension(told, WEIR_EXTENSION_HOPS).size, 0);
    weir_sqlite_provider.unwatch(watch);
}

static void options_that_make_no_sense_are_refused(void **state) {
    struct sqlite_rig *rig = *state;
    static const char *const names[] = {"_weir_log", "sqlite_master", "SQLite_x", "\xff"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct weir_error err;
        struct weir_resource *resource;
        free(rig->options.kv);
        rig->options.kv = strdup(names[i]);
        const struct weir_resource_args args = {.name = "shop", .options = &rig->options};
        assert_int_equal(weir_sqlite_provider.open(&args, &resource, &err), WEIR_INVALID);
        assert_message_has(&err, "kv");
        assert_null(resource);
    }
}

int main(void) {
    const struct CMUnitTest cases[] = {
        SQLITE_RIG_CASE(a_key_may_be_a_text_or_a_blob),
        SQLITE_RIG_CASE(what_is_no_key_is_left_alone),
        SQLITE_RIG_CASE(values_of_any_type_are_bytes),
        SQLITE_RIG_CASE(a_value_that_looks_like_a_number_stays_what_it_is),
        SQLITE_RIG_CASE(a_table_that_is_no_store_is_refused),
        SQLITE_RIG_CASE(what_is_missing_is_made_or_said),
        SQLITE_RIG_CASE(nothing_is_written_to_a_file_that_was_replaced),
        SQLITE_RIG_CASE(a_locked_database_is_given_up_in_time),
        SQLITE_RIG_CASE(what_the_table_does_not_allow_is_invalid),
        SQLITE_RIG_CASE(a_disk_that_refuses_changes_nothing),
        SQLITE_RIG_CASE(a_chain_is_in_the_log_of_its_own_change_only),
        SQLITE_RIG_CASE(options_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests_name("sqlite: key-value tables", cases, NULL, NULL);
}
