// SPDX-License-Identifier: Apache-2.0
//
// Databases that are locked, may not be written, are damaged, or are made to do harm; writers that
// die or stand still; and what weir says of a database that it is shown.
#include "support/sqlite_rig.h"

#include "base/clock.h"
#include "provider/sqlite/sqlite.h"
#include "support/child.h"
#include "unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

static void change(struct sqlite_rig *rig, const char *sql) {
    sqlite_shell_run(&rig->shell, "%s", sql);
}

static struct weir_watch *begin(struct sqlite_rig *rig) {
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    sqlite_rig_open(rig);
    return sqlite_rig_watch(rig, "t");
}

static void end(struct weir_watch *watch) {
    weir_sqlite_provider.unwatch(watch);
}

static void expect_key(struct sqlite_rig *rig, const char *key) {
    assert_str_equal(test_sink_next(&rig->sink)->key, key);
}

static bool is_connected(struct sqlite_rig *rig) {
    struct weir_health health;
    weir_sqlite_provider.health(rig->resource, &health);
    return health.is_connected;
}

// ---- locks

static void without_a_wal_everything_is_told_too(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    static const char *const modes[] = {"delete", "truncate", "persist"};
    sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = DELETE");
    struct weir_watch *watch = begin(rig);
    int id = 0;
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        assert_string_equal(sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = %s", modes[i]),
                            modes[i]);
        for (int round = 0; round < 100; round++) {
            char key[16];
            sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(%d, 0)", ++id);
            snprintf(key, sizeof key, "t/%d", id);
            expect_key(rig, key);
        }
    }
    end(watch);
}

static void a_lock_that_lasts_is_said_and_waited_for(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = DELETE");
    rig->options.timeout_ns = 50 * WEIR_NS_PER_MS;
    struct weir_watch *watch = begin(rig);
    assert_true(is_connected(rig));
    change(rig, "BEGIN EXCLUSIVE; INSERT INTO t VALUES(1, 0)");
    WAIT_UNTIL(!is_connected(rig));
    struct weir_health health;
    weir_sqlite_provider.health(rig->resource, &health);
    assert_non_null(strstr(health.reason, "another program holds the database"));
    // Who begins now is told so in time.
    struct weir_error err;
    struct weir_watch *other;
    assert_int_equal(
        sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "t"}, &other, &err),
        WEIR_UNAVAILABLE);
    change(rig, "COMMIT");
    expect_key(rig, "t/1");
    WAIT_UNTIL(is_connected(rig));
    end(watch);
}

static void a_writer_that_dies_changes_nothing(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    static const char *const modes[] = {"wal", "delete"};
    struct weir_watch *watch = begin(rig);
    for (int i = 0; i < 2; i++) {
        // Another mode wants the database for itself.
        end(watch);
        weir_sqlite_provider.close(rig->resource);
        rig->resource = NULL;
        assert_string_equal(sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = %s", modes[i]),
                            modes[i]);
        sqlite_rig_open(rig);
        watch = sqlite_rig_watch(rig, "t");
        // So much that it has written to the file before the end.
        sqlite_shell_run(&rig->shell,
                         "PRAGMA cache_size = 5; BEGIN; WITH RECURSIVE n(i) AS (SELECT 100 UNION "
                         "ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, "
                         "hex(randomblob(100)) FROM n");
        assert_int_equal(kill(rig->shell.pid, SIGKILL), 0);
        sqlite_shell_close(&rig->shell);
        sqlite_shell_open(&rig->shell, rig->path);
        char key[16];
        sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(%d, 0)", i);
        snprintf(key, sizeof key, "t/%d", i);
        expect_key(rig, key);
    }
    end(watch);
}

static void a_writer_that_stands_still_holds_up_nobody_who_reads(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *watch = begin(rig);
    change(rig, "BEGIN IMMEDIATE; INSERT INTO t VALUES(1, 0)");
    test_process_pause(rig->shell.pid);
    struct weir_watch *other = sqlite_rig_watch(rig, "t"); // needs no lock
    struct weir_sql_result result;
    const struct weir_sql_statement statement = {
        .text = WEIR_STR("SELECT count(*) FROM t"), .is_reading = true, .rows_max = 1};
    assert_ok(
        weir_sqlite_provider.query(rig->resource, &statement, &sqlite_rig_limits, &result, &err));
    assert_int_equal(result.values[0].integer, 0);
    weir_sql_result_finish(&result);
    test_process_continue(rig->shell.pid);
    change(rig, "COMMIT");
    expect_key(rig, "t/1");
    expect_key(rig, "t/1");
    end(watch);
    end(other);
}

// ---- rights and damage

// Threads that are started meanwhile are nobody's, too, to the file system.
static void a_database_that_may_only_be_read_is_watched(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    enum { NOBODY = 65534 };
    struct weir_error err;
    end(begin(rig));
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    assert_int_equal(chmod(rig->folder.path, 0755), 0);
    assert_int_equal(chmod(rig->path, 0444), 0);
    test_shell(&rig->folder, "chmod 444 shop.db-*");
    uid_t before = geteuid() == 0 ? (uid_t)setfsuid(NOBODY) : geteuid();
    sqlite_rig_open(rig);
    struct weir_watch *watch =
        sqlite_rig_watch_as(rig, &(struct sqlite_rig_watch){.key = "t", .name = "one"});
    change(rig, "INSERT INTO t VALUES(1, 0)");
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_str_equal(event->key, "t/1");
    weir_sqlite_provider.acknowledge(watch, (struct weir_event *)(uintptr_t)event);
    struct weir_sql_result result;
    const struct weir_sql_statement statement = {.text = WEIR_STR("DELETE FROM t"), .rows_max = 1};
    assert_int_equal(
        weir_sqlite_provider.query(rig->resource, &statement, &sqlite_rig_limits, &result, &err),
        WEIR_DENIED);
    assert_message_has(&err, "let weir's user");
    // What is not followed yet cannot be.
    change(rig, "CREATE TABLE u(id INTEGER PRIMARY KEY)");
    struct weir_watch *other;
    assert_int_equal(
        sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "u"}, &other, &err),
        WEIR_UNSUPPORTED);
    assert_message_has(&err, "has to be able to write");
    end(watch);
    setfsuid(before);
}

static void what_is_no_database_is_said(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *watch;
    struct weir_value got;
    char path[TEST_PATH_BYTES];
    sqlite_rig_use_kv(rig);
    static const char *const names[] = {"noise", "empty", "folder"};
    test_write(&rig->folder, "noise",
               "this is no database, and longer than a header of one, which "
               "has a hundred bytes; so it is looked at, and found wanting");
    test_write(&rig->folder, "empty", "");
    test_mkdir(&rig->folder, "folder");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        free(rig->options.path);
        rig->options.path = strdup(test_path(&rig->folder, names[i], path));
        sqlite_rig_open(rig);
        weir_status status =
            sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "*"}, &watch, &err);
        if (i == 1) { // an empty file is an empty database
            assert_int_equal(status, WEIR_OK);
            end(watch);
        } else {
            assert_true(status == WEIR_OTHER || status == WEIR_UNAVAILABLE);
            assert_message_has(&err, names[i]);
            assert_true(weir_sqlite_provider.get(rig->resource, WEIR_STR("k"), &sqlite_rig_limits,
                                                 &got, &err) != WEIR_OK);
        }
        weir_sqlite_provider.close(rig->resource);
        rig->resource = NULL;
    }
}

// Every page in turn is overwritten while it is watched, read and written.
static void damage_is_an_error_and_nothing_worse(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    char path[TEST_PATH_BYTES];
    sqlite_rig_use_kv(rig);
    change(rig, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value, other UNIQUE)");
    sqlite_rig_open(rig);
    end(sqlite_rig_watch(rig, "*"));
    change(rig, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
                "INSERT INTO pairs SELECT 'k' || i, hex(randomblob(50)), i FROM n");
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    change(rig, "VACUUM");
    sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = DELETE");
    struct stat st;
    assert_int_equal(stat(rig->path, &st), 0);
    free(rig->options.path);
    rig->options.path = strdup(test_path(&rig->folder, "damaged.db", path));
    rig->options.timeout_ns = 200 * WEIR_NS_PER_MS;
    unsigned seed = 1;
    for (off_t page = 0; page < st.st_size / 4096; page++) {
        char bytes[64], command[TEST_PATH_BYTES];
        snprintf(command, sizeof command, "rm -f damaged.db-*; cp shop.db damaged.db");
        test_shell(&rig->folder, command);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        for (int i = 0; i < 8; i++) { // the header of the page, and some places in it
            for (size_t at = 0; at < sizeof bytes; at++) {
                seed = seed * 1103515245 + 12345;
                bytes[at] = (char)(seed >> 16);
            }
            off_t within = i == 0 ? (page == 0 ? 100 : 0) : (off_t)(seed >> 8) % (4096 - 64);
            within = page == 0 && within < 100 ? 100 : within;
            assert_int_equal(pwrite(fd, bytes, sizeof bytes, page * 4096 + within), sizeof bytes);
        }
        close(fd);
        sqlite_rig_open(rig);
        struct weir_watch *watch = NULL;
        sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "*"}, &watch, &err);
        for (int i = 0; i < 200; i += 20) {
            char key[16];
            struct weir_value got = {.data = NULL};
            snprintf(key, sizeof key, "k%d", i);
            weir_sqlite_provider.get(rig->resource, weir_str_of(key), &sqlite_rig_limits, &got,
                                     &err);
            free(got.data);
            weir_sqlite_provider.set(rig->resource, weir_str_of(key), WEIR_STR("v"),
                                     &sqlite_rig_limits, &err);
        }
        end(watch);
        weir_sqlite_provider.close(rig->resource);
        rig->resource = NULL;
    }
}

static void a_log_that_somebody_has_tampered_with_does_no_harm(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_watch *watch = begin(rig);
    change(rig, "INSERT INTO _weir_log(mark, shape, op, at, c0) VALUES('x', 'y', 'z', 'w', 'v'), "
                "(NULL, NULL, NULL, NULL, NULL), (1, 1, 77, 1, 1), (1, 99, 1, 1, 1), "
                "(1, 1, 1, 9223372036854775807, x'ff'), (1, 1, 2, -9223372036854775808, NULL), "
                "(1, 1, 4, 0, x'ff00fe'); INSERT INTO t VALUES(5, 0)");
    for (;;) { // what can be told of it is told
        const struct weir_event *event = test_sink_next(&rig->sink);
        if (weir_str_equal(event->key, WEIR_STR("t/5"))) {
            break;
        }
    }
    change(rig, "UPDATE _weir_log SET chain = zeroblob(3000); DELETE FROM _weir_consumers; INSERT "
                "INTO _weir_consumers VALUES(zeroblob(9), 'x', 'y'); INSERT INTO t VALUES(6, 0)");
    test_sink_await_count(&rig->sink, rig->sink.next + 1);
    end(watch);
}

static void a_schema_that_is_made_to_do_harm_does_none(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct weir_watch *watch;
    rig->options.timeout_ns = 300 * WEIR_NS_PER_MS;
    static const char *const schemas[] = {
        // weir's own tables as views that never end
        "CREATE VIEW _weir_log AS WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM "
        "n) SELECT seq, 1 AS mark, 1 AS shape, 1 AS op, 1 AS at, 1 AS chain, 1 AS c0, 1 AS c1 FROM "
        "n",
        // a trigger that never ends, on what weir writes
        "CREATE TABLE _weir_meta(name TEXT PRIMARY KEY, value); CREATE TABLE _weir_shapes(id "
        "INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT, kind TEXT, is_active INTEGER); CREATE TABLE "
        "_weir_columns(shape INTEGER, place INTEGER, name TEXT, key_place INTEGER, PRIMARY "
        "KEY(shape, place)); CREATE TABLE _weir_consumers(name TEXT PRIMARY KEY, seq, updated); "
        "CREATE TABLE _weir_evicted(shape, rid, c0, c1); CREATE TABLE _weir_log(seq INTEGER "
        "PRIMARY "
        "KEY AUTOINCREMENT, mark, shape, op, at, chain, c0, c1); INSERT INTO _weir_meta "
        "VALUES('version', 1), ('identity', zeroblob(16)), ('log_rows_max', 5); CREATE TRIGGER x "
        "AFTER INSERT ON _weir_shapes BEGIN INSERT INTO _weir_log(c0) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n; END",
        // another version's, and one without an identity
        "CREATE TABLE _weir_meta(name TEXT PRIMARY KEY, value); INSERT INTO _weir_meta "
        "VALUES('version', 2); CREATE TABLE _weir_shapes(a); CREATE TABLE _weir_columns(a); CREATE "
        "TABLE _weir_consumers(a); CREATE TABLE _weir_evicted(a); CREATE TABLE _weir_log(a)",
    };
    for (size_t i = 0; i < COUNT_OF(schemas); i++) {
        sqlite_shell_close(&rig->shell);
        test_shell(&rig->folder, "rm -f shop.db*");
        sqlite_shell_open(&rig->shell, rig->path);
        change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY)");
        change(rig, schemas[i]);
        sqlite_rig_open(rig);
        int64_t began_ns = weir_clock_monotonic_ns();
        weir_status status =
            sqlite_rig_try_watch(rig, &(struct sqlite_rig_watch){.key = "t"}, &watch, &err);
        assert_true(status != WEIR_OK);
        assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 10 * WEIR_NS_PER_S);
        began_ns = weir_clock_monotonic_ns();
        weir_sqlite_provider.close(rig->resource);
        rig->resource = NULL;
        assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 5 * WEIR_NS_PER_S);
    }
    assert_message_has(&err, "version 2");
}

// ---- what is said of a database

struct told {
    size_t count, mistakes;
    char text[4096];
};

static void note(void *context, const struct weir_finding *finding) {
    struct told *told = context;
    size_t size = strlen(told->text);
    snprintf(told->text + size, sizeof told->text - size, "%s | %s\n", finding->what,
             finding->remedy ? finding->remedy : "");
    told->count++;
    told->mistakes += finding->is_mistake;
}

static struct told examine(struct sqlite_rig *rig, const char *key) {
    struct weir_error err;
    struct told told = {.count = 0};
    const struct weir_findings findings = {.tell = note, .context = &told};
    struct weir_pattern pattern = weir_pattern_of(weir_str_of(key));
    assert_ok(weir_sqlite_provider.examine(rig->resource, &pattern, 1, &findings, &err));
    return told;
}

static void what_is_missing_is_explained(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    sqlite_rig_open(rig);
    struct told told = examine(rig, "t");
    assert_int_equal(told.count, 0);
    rig->options.install = false;
    sqlite_rig_reopen(rig);
    told = examine(rig, "t");
    assert_int_equal(told.mistakes, 1);
    assert_non_null(strstr(told.text, "install: true"));
    change(rig, "CREATE UNIQUE INDEX partial ON t(a) WHERE a > 5");
    sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = DELETE");
    rig->options.install = true;
    sqlite_rig_reopen(rig);
    told = examine(rig, "t");
    assert_int_equal(told.mistakes, 0);
    assert_int_equal(told.count, 2);
    assert_non_null(strstr(told.text, "\"partial\""));
    assert_non_null(strstr(told.text, "journal_mode = WAL"));
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM sqlite_master"), "2");
    sqlite_rig_use_kv(rig);
    sqlite_rig_reopen(rig);
    told = examine(rig, "*");
    assert_non_null(strstr(told.text, "not there yet"));
    rig->options.create = false;
    sqlite_rig_reopen(rig);
    told = examine(rig, "*");
    assert_int_equal(told.mistakes, 1);
    assert_non_null(strstr(told.text, "create: true"));
}

static void what_weir_made_is_taken_away(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    change(rig,
           "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE); CREATE TABLE _weir_mine(x); "
           "CREATE TRIGGER mine AFTER INSERT ON t BEGIN INSERT INTO _weir_mine VALUES(1); END");
    const char *before = strdup(sqlite_shell_ask(&rig->shell, "SELECT group_concat(name) FROM "
                                                              "sqlite_master WHERE name NOT LIKE "
                                                              "'sqlite%%'"));
    sqlite_rig_open(rig);
    end(sqlite_rig_watch(rig, "*"));
    change(rig, "INSERT INTO t VALUES(1, 1)");
    weir_sqlite_provider.close(rig->resource);
    sqlite_rig_open(rig);
    struct told told = {.count = 0};
    const struct weir_findings findings = {.tell = note, .context = &told};
    assert_ok(weir_sqlite_provider.withdraw(rig->resource, &findings, &err));
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.text, "8 triggers and 6 tables"));
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT group_concat(name) FROM "
                                                      "sqlite_master WHERE name NOT LIKE "
                                                      "'sqlite%%'"),
                        before);
    assert_ok(weir_sqlite_provider.withdraw(rig->resource, &findings, &err));
    assert_int_equal(told.count, 1);
    free((char *)(uintptr_t)before);
}

static void installing_again_changes_nothing(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    change(rig, "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v)");
    sqlite_rig_open(rig);
    end(sqlite_rig_watch(rig, "*"));
    char version[16];
    snprintf(version, sizeof version, "%s", sqlite_shell_ask(&rig->shell, "PRAGMA schema_version"));
    for (int i = 0; i < 3; i++) {
        sqlite_rig_reopen(rig);
        end(sqlite_rig_watch(rig, i == 0 ? "t" : i == 1 ? "*" : "t/1"));
    }
    assert_string_equal(sqlite_shell_ask(&rig->shell, "PRAGMA schema_version"), version);
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT count(*) FROM _weir_log"), "1");
}

int main(void) {
    const struct CMUnitTest cases[] = {
        SQLITE_RIG_CASE(without_a_wal_everything_is_told_too),
        SQLITE_RIG_CASE(a_lock_that_lasts_is_said_and_waited_for),
        SQLITE_RIG_CASE(a_writer_that_dies_changes_nothing),
        SQLITE_RIG_CASE(a_writer_that_stands_still_holds_up_nobody_who_reads),
        SQLITE_RIG_CASE(a_database_that_may_only_be_read_is_watched),
        SQLITE_RIG_CASE(what_is_no_database_is_said),
        SQLITE_RIG_CASE(damage_is_an_error_and_nothing_worse),
        SQLITE_RIG_CASE(a_log_that_somebody_has_tampered_with_does_no_harm),
        SQLITE_RIG_CASE(a_schema_that_is_made_to_do_harm_does_none),
        SQLITE_RIG_CASE(what_is_missing_is_explained),
        SQLITE_RIG_CASE(what_weir_made_is_taken_away),
        SQLITE_RIG_CASE(installing_again_changes_nothing),
    };
    return cmocka_run_group_tests_name("sqlite: faults", cases, NULL, NULL);
}
