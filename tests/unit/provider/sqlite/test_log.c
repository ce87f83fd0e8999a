// SPDX-License-Identifier: Apache-2.0
//
// How watches go on in the log: after stops, behind others, where the log was pruned, is another
// one or went back; telling what is there; many watches and large values.
#include "support/sqlite_rig.h"

#include "event/event.h"
#include "provider/sqlite/position.h"
#include "provider/sqlite/sqlite.h"
#include "unit/test.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

static void set(struct sqlite_rig *rig, const char *key, const char *value) {
    sqlite_shell_run(&rig->shell,
                     "INSERT INTO pairs VALUES('%s', '%s') ON CONFLICT(key) DO UPDATE SET value = "
                     "excluded.value",
                     key, value);
}

static void begin_kv(struct sqlite_rig *rig) {
    sqlite_rig_use_kv(rig);
    sqlite_shell_run(&rig->shell, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    sqlite_rig_open(rig);
}

static void end(struct weir_watch *watch) {
    weir_sqlite_provider.unwatch(watch);
}

static int64_t ask_number(struct sqlite_rig *rig, const char *sql) {
    return strtoll(sqlite_shell_ask(&rig->shell, "%s", sql), NULL, 10);
}

// The position of an event, kept over a stop.
struct kept {
    char bytes[WEIR_POSITION_BYTES_MAX];
    struct weir_str position;
};

static void keep(struct kept *kept, const struct weir_event *event) {
    assert_in_range(event->position.size, 1, sizeof kept->bytes);
    memcpy(kept->bytes, event->position.data, event->position.size);
    kept->position = (struct weir_str){kept->bytes, event->position.size};
}

static struct weir_watch *go_on(struct sqlite_rig *rig, const struct kept *kept, const char *key) {
    return sqlite_rig_watch_as(rig,
                               &(struct sqlite_rig_watch){.key = key, .position = kept->position});
}

// ---- stops

static void every_change_is_told_after_a_stop(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    char value[16];
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "k", "0");
    const struct weir_event *event = test_sink_expect_set(&rig->sink, "k", "0");
    for (int round = 0; round < 30; round++) {
        keep(&kept, event);
        end(watch);
        sqlite_rig_reopen(rig);
        for (int i = 1; i <= 3; i++) { // states that are overwritten too
            snprintf(value, sizeof value, "%d.%d", round, i);
            set(rig, "k", value);
        }
        sqlite_shell_run(&rig->shell, "DELETE FROM pairs");
        watch = go_on(rig, &kept, "*");
        for (int i = 1; i <= 3; i++) {
            snprintf(value, sizeof value, "%d.%d", round, i);
            test_sink_expect_set(&rig->sink, "k", value);
        }
        event = test_sink_expect_deleted(&rig->sink, "k");
    }
    end(watch);
}

static void what_is_told_again_is_the_same(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "a", "0");
    keep(&kept, test_sink_next(&rig->sink));
    set(rig, "a", "1");
    sqlite_shell_run(&rig->shell, "DELETE FROM pairs");
    const struct weir_event *first[] = {test_sink_next(&rig->sink), test_sink_next(&rig->sink)};
    end(watch);
    sqlite_rig_reopen(rig);
    watch = go_on(rig, &kept, "*");
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        const struct weir_event *again = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(again->fields.id, first[i]->fields.id));
        assert_true(weir_str_equal(again->fields.source, first[i]->fields.source));
        assert_true(weir_str_equal(again->fields.time.value, first[i]->fields.time.value));
        assert_true(weir_str_equal(again->position, first[i]->position));
        assert_true(
            weir_str_equal(again->fields.data.value.bytes, first[i]->fields.data.value.bytes));
    }
    end(watch);
}

struct remembered {
    struct kept kept;
    size_t calls;
};

static weir_status remember(void *context, struct weir_str key, struct weir_str position) {
    struct remembered *remembered = context;
    assert_int_equal(key.size, 0);
    memcpy(remembered->kept.bytes, position.data, position.size);
    remembered->kept.position = (struct weir_str){remembered->kept.bytes, position.size};
    remembered->calls++;
    return WEIR_OK;
}

static weir_status refuse(void *context, struct weir_event *event) {
    (void)context;
    (void)event;
    return WEIR_AGAIN;
}

static void where_a_watch_begins_is_remembered(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    struct remembered remembered = {.calls = 0};
    struct weir_watch *watch;
    begin_kv(rig);
    set(rig, "k", "before");
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("*")),
        .sink = {.offer = refuse, .remember = remember, .context = &remembered},
        .event_bytes_max = 100,
    };
    assert_ok(weir_sqlite_provider.watch(rig->resource, &args, &watch, &err));
    assert_int_equal(remembered.calls, 1);
    set(rig, "k", "after");
    end(watch);
    sqlite_rig_reopen(rig);
    watch = go_on(rig, &remembered.kept, "*");
    test_sink_expect_set(&rig->sink, "k", "after");
    end(watch);
}

static void a_watch_goes_on_before_its_database_is_there(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    char away[TEST_PATH_BYTES];
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "k", "1");
    keep(&kept, test_sink_expect_set(&rig->sink, "k", "1"));
    end(watch);
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    set(rig, "k", "2");
    sqlite_shell_ask(&rig->shell, "PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite_shell_close(&rig->shell);
    test_path(&rig->folder, "away.db", away);
    assert_int_equal(rename(rig->path, away), 0);
    rig->options.create = false;
    sqlite_rig_open(rig);
    watch = go_on(rig, &kept, "*");
    struct weir_health health;
    do { // it has tried by then
        weir_sqlite_provider.health(rig->resource, &health);
    } while (!strstr(health.reason, "no database"));
    assert_false(health.is_connected);
    assert_int_equal(rename(away, rig->path), 0);
    test_sink_expect_set(&rig->sink, "k", "2");
    weir_sqlite_provider.health(rig->resource, &health);
    assert_true(health.is_connected);
    end(watch);
}

// ---- history that is gone

static void a_log_that_is_full_is_a_gap_for_who_is_behind(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    sqlite_rig_use_kv(rig);
    rig->options.log_rows_max = 1000;
    sqlite_shell_run(&rig->shell, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    sqlite_rig_open(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "k", "1");
    keep(&kept, test_sink_expect_set(&rig->sink, "k", "1"));
    end(watch);
    sqlite_rig_reopen(rig);
    sqlite_shell_run(&rig->shell,
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                     "3000) INSERT INTO pairs SELECT 'n' || i, i FROM n");
    assert_in_range(ask_number(rig, "SELECT count(*) FROM _weir_log"), 1000, 1256);
    watch = go_on(rig, &kept, "*");
    sqlite_rig_expect_gap(rig, "log_rows_max");
    for (int i = 0; i < 3001; i++) { // what is there
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
    }
    set(rig, "k", "2");
    test_sink_expect_set(&rig->sink, "k", "2");
    end(watch);
}

static void a_gap_is_told_once_and_the_same(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept first, gap;
    char id[256];
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "k", "1");
    keep(&first, test_sink_expect_set(&rig->sink, "k", "1"));
    end(watch);
    sqlite_rig_reopen(rig);
    set(rig, "k", "2");
    sqlite_shell_run(&rig->shell, "DELETE FROM _weir_log");
    for (int i = 0; i < 2; i++) {
        watch = go_on(rig, &first, "*");
        const struct weir_event *event = sqlite_rig_expect_gap(rig, "does not have the changes");
        assert_true(i == 0 || weir_str_equal(event->fields.id, weir_str_of(id)));
        snprintf(id, sizeof id, "%.*s", WEIR_STR_ARG(event->fields.id));
        keep(&gap, event);
        test_sink_expect_set(&rig->sink, "k", "2");
        end(watch);
        sqlite_rig_reopen(rig);
    }
    // Behind the gap what is there is still to be told; behind that, nothing.
    watch = go_on(rig, &gap, "*");
    keep(&gap, test_sink_expect_set(&rig->sink, "k", "2"));
    end(watch);
    sqlite_rig_reopen(rig);
    watch = go_on(rig, &gap, "*");
    set(rig, "k", "3");
    test_sink_expect_set(&rig->sink, "k", "3");
    end(watch);
}

// Copies the database as a backup does.
static void copy(struct sqlite_rig *rig, const char *name) {
    sqlite_shell_ask(&rig->shell, "PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite_shell_run(&rig->shell, "VACUUM INTO '%s/%s'", rig->folder.path, name);
}

// Puts the copy in the place of the database, as a restore does.
static void restore(struct sqlite_rig *rig, const char *name) {
    char path[TEST_PATH_BYTES], other[TEST_PATH_BYTES + 8];
    sqlite_shell_close(&rig->shell);
    assert_int_equal(rename(test_path(&rig->folder, name, path), rig->path), 0);
    snprintf(other, sizeof other, "%s-wal", rig->path);
    unlink(other);
    snprintf(other, sizeof other, "%s-shm", rig->path);
    unlink(other);
    sqlite_shell_open(&rig->shell, rig->path);
}

static void a_database_that_was_restored_is_a_gap(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    copy(rig, "backup.db");
    for (int i = 0; i < 3; i++) {
        set(rig, "b", "lost");
        test_sink_expect_set(&rig->sink, "b", "lost");
    }
    keep(&kept, rig->sink.events[rig->sink.next - 1]);
    // While it runs: the log has gone back.
    restore(rig, "backup.db");
    sqlite_rig_expect_gap(rig, "restored from a copy");
    test_sink_expect_set(&rig->sink, "a", "1");
    set(rig, "a", "2");
    test_sink_expect_set(&rig->sink, "a", "2");
    // While it does not: the same numbers were given again, to other changes.
    end(watch);
    sqlite_rig_reopen(rig);
    for (int i = 0; i < 5; i++) {
        set(rig, "c", "new");
    }
    watch = go_on(rig, &kept, "*");
    sqlite_rig_expect_gap(rig, "restored from a copy and written to");
    test_sink_expect_set(&rig->sink, "a", "2");
    test_sink_expect_set(&rig->sink, "c", "new");
    end(watch);
}

static void another_database_is_a_gap(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct sqlite_shell shell;
    char path[TEST_PATH_BYTES];
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    sqlite_shell_open(&shell, test_path(&rig->folder, "other.db", path));
    sqlite_shell_run(&shell, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value); INSERT INTO pairs "
                             "VALUES('z', 26)");
    sqlite_shell_close(&shell);
    restore(rig, "other.db");
    sqlite_rig_expect_gap(rig, "another database");
    test_sink_expect_set(&rig->sink, "z", "26");
    set(rig, "z", "27");
    test_sink_expect_set(&rig->sink, "z", "27");
    end(watch);
}

static void a_database_that_is_removed_comes_back(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    sqlite_shell_close(&rig->shell);
    assert_int_equal(unlink(rig->path), 0);
    // With `create` it is made again, and watched.
    sqlite_rig_expect_gap(rig, "another database");
    struct weir_error err;
    assert_ok(weir_sqlite_provider.set(rig->resource, WEIR_STR("b"), WEIR_STR("2"),
                                       &sqlite_rig_limits, &err));
    test_sink_skip_to_set(&rig->sink, "b", "2");
    sqlite_shell_open(&rig->shell, rig->path);
    assert_string_equal(sqlite_shell_ask(&rig->shell, "SELECT value FROM pairs"), "2");
    end(watch);
}

static void a_log_that_is_taken_away_is_a_gap(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct weir_error err;
    const struct weir_findings nobody = {0};
    begin_kv(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    assert_ok(weir_sqlite_provider.withdraw(rig->resource, &nobody, &err));
    sqlite_rig_expect_gap(rig, "another log");
    test_sink_expect_set(&rig->sink, "a", "1");
    set(rig, "a", "2");
    test_sink_expect_set(&rig->sink, "a", "2");
    end(watch);
}

static void a_position_that_is_not_understood_is_a_gap(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    begin_kv(rig);
    end(sqlite_rig_watch(rig, "*"));
    set(rig, "a", "1");
    struct weir_watch *watch = sqlite_rig_watch_as(
        rig, &(struct sqlite_rig_watch){.key = "*", .position = WEIR_STR("noise")});
    sqlite_rig_expect_gap(rig, "not understood");
    test_sink_expect_set(&rig->sink, "a", "1");
    end(watch);
}

// ---- what was acknowledged

static void what_everybody_has_is_pruned(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    sqlite_rig_use_kv(rig);
    rig->options.keep_ns = 0;
    sqlite_shell_run(&rig->shell, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    sqlite_rig_open(rig);
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *quick =
        sqlite_rig_watch_as(rig, &(struct sqlite_rig_watch){.key = "*", .name = "quick"});
    struct weir_watch *slow = sqlite_rig_watch_as(
        rig, &(struct sqlite_rig_watch){.key = "*", .name = "slow", .sink = &other});
    for (int i = 0; i < 10; i++) {
        set(rig, "k", "v");
        weir_sqlite_provider.acknowledge(
            quick, (struct weir_event *)(uintptr_t)test_sink_next(&rig->sink));
    }
    for (int i = 0; i < 5; i++) {
        weir_sqlite_provider.acknowledge(slow,
                                         (struct weir_event *)(uintptr_t)test_sink_next(&other));
    }
    // Row 1 says that the table is followed from there on: those of the keys are 2 to 11.
    WAIT_UNTIL(ask_number(rig, "SELECT seq FROM _weir_consumers WHERE name = 'quick'") == 11);
    WAIT_UNTIL(ask_number(rig, "SELECT seq FROM _weir_consumers WHERE name = 'slow'") == 6);
    WAIT_UNTIL(ask_number(rig, "SELECT min(seq) FROM _weir_log") == 6);
    end(quick);
    end(slow);
    test_sink_finish(&other);
}

static void who_wants_nothing_of_it_does_not_hold_the_log(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    sqlite_rig_use_kv(rig);
    rig->options.keep_ns = 0;
    sqlite_shell_run(&rig->shell, "CREATE TABLE pairs(key TEXT PRIMARY KEY, value)");
    sqlite_rig_open(rig);
    struct weir_watch *idle =
        sqlite_rig_watch_as(rig, &(struct sqlite_rig_watch){.key = "quiet", .name = "idle"});
    set(rig, "quiet", "1");
    const struct weir_event *event = test_sink_next(&rig->sink);
    keep(&kept, event);
    weir_sqlite_provider.acknowledge(idle, (struct weir_event *)(uintptr_t)event);
    sqlite_shell_run(&rig->shell,
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                     "3000) INSERT INTO pairs SELECT 'n' || i, i FROM n");
    WAIT_UNTIL(ask_number(rig, "SELECT count(*) FROM _weir_log") < 10);
    // And it goes on from where it was without a gap, though that is not in the log any more.
    end(idle);
    sqlite_rig_reopen(rig);
    idle = sqlite_rig_watch_as(
        rig, &(struct sqlite_rig_watch){.key = "quiet", .name = "idle", .position = kept.position});
    set(rig, "quiet", "2");
    test_sink_expect_set(&rig->sink, "quiet", "2");
    end(idle);
}

static void what_is_acknowledged_last_is_kept_at_the_end(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    begin_kv(rig);
    struct weir_watch *watch =
        sqlite_rig_watch_as(rig, &(struct sqlite_rig_watch){.key = "*", .name = "one"});
    set(rig, "k", "v");
    weir_sqlite_provider.acknowledge(watch,
                                     (struct weir_event *)(uintptr_t)test_sink_next(&rig->sink));
    end(watch);
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    assert_int_equal(ask_number(rig, "SELECT seq FROM _weir_consumers WHERE name = 'one'"), 2);
}

// ---- what is there

static void a_snapshot_is_told_first(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    sqlite_rig_use_kv(rig);
    rig->options.snapshot = true;
    sqlite_shell_run(&rig->shell,
                     "CREATE TABLE pairs(key TEXT PRIMARY KEY, value); WITH RECURSIVE n(i) AS "
                     "(SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 999) INSERT INTO pairs "
                     "SELECT 'd/' || i, i FROM n; INSERT INTO pairs VALUES('other', 1), "
                     "(x'642fff', 'blob'), (x'64ff', 'no')");
    sqlite_rig_open(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "d/*");
    for (int i = 100; i < 1000; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "d/%d", i);
        snprintf(value, sizeof value, "%d", i);
        const struct weir_event *event = test_sink_expect_set(&rig->sink, key, value);
        assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
    }
    test_sink_expect_set(&rig->sink, "d/\xff", "blob");
    set(rig, "d/new", "1");
    const struct weir_event *event = test_sink_expect_set(&rig->sink, "d/new", "1");
    assert_int_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT).size, 0);
    end(watch);
}

static void a_snapshot_goes_on_after_a_stop(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    struct kept kept;
    rig->options.snapshot = true;
    sqlite_shell_run(&rig->shell,
                     "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(k TEXT PRIMARY KEY) "
                     "WITHOUT ROWID; CREATE TABLE c(v); INSERT INTO a VALUES(1), (2), (3); INSERT "
                     "INTO b VALUES('x'), ('y'); INSERT INTO c VALUES(1), (2)");
    sqlite_rig_open(rig);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    // At each place: what is told behind a stop there is what comes behind it, or its table again.
    static const char *const keys[] = {"a/1", "a/2", "a/3", "b/x", "b/y", "c", "c"};
    static const size_t behind[] = {1, 2, 3, 3, 3, 5, 5};
    struct kept places[COUNT_OF(keys)];
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_str_equal(event->key, keys[i]);
        keep(&places[i], event);
    }
    end(watch);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        sqlite_rig_reopen(rig);
        watch = go_on(rig, &places[i], "*");
        for (size_t at = behind[i]; at < COUNT_OF(keys); at++) {
            assert_str_equal(test_sink_next(&rig->sink)->key, keys[at]);
        }
        end(watch);
        assert_int_equal(test_sink_count(&rig->sink), rig->sink.next);
    }
    // Behind it all there is only what is new.
    sqlite_rig_reopen(rig);
    watch = go_on(rig, &places[2], "a");
    sqlite_shell_run(&rig->shell, "INSERT INTO a VALUES(4)");
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_str_equal(event->key, "a/4");
    assert_int_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT).size, 0);
    keep(&kept, event);
    end(watch);
}

static void nothing_goes_backwards_beside_a_snapshot(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    enum { KEYS = 2000 };
    static int last[KEYS];
    memset(last, 0, sizeof last);
    rig->options.snapshot = true;
    sqlite_shell_run(&rig->shell,
                     "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER); WITH RECURSIVE n(i) AS "
                     "(SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999) INSERT INTO t SELECT "
                     "i, 1 FROM n");
    sqlite_rig_open(rig);
    test_sink_set_room(&rig->sink, 300, WEIR_AGAIN);
    struct weir_watch *watch = sqlite_rig_watch(rig, "t");
    int version = 1;
    for (size_t told = 0; told < 4000;) {
        version++;
        sqlite_shell_run(&rig->shell, "UPDATE t SET v = %d WHERE id %% 7 = %d", version,
                         version % 7);
        test_sink_set_room(&rig->sink, 300, WEIR_AGAIN);
        weir_sqlite_provider.resume(watch);
        test_sink_await_count(&rig->sink, told += 100);
    }
    sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(5000, 0)");
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_sqlite_provider.resume(watch);
    for (;;) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        char text[256];
        snprintf(text, sizeof text, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
        int id = atoi(strstr(text, "\"after\":{\"id\":") + 14);
        int v = atoi(strrchr(text, ':') + 1);
        if (id == 5000) {
            break;
        }
        assert_in_range(id, 0, KEYS - 1);
        assert_true(v >= last[id]);
        last[id] = v;
    }
    for (int i = 0; i < KEYS; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT v FROM t WHERE id = %d", i);
        if (i % 97 == 0) {
            assert_int_equal(ask_number(rig, sql), last[i]);
        }
        assert_true(last[i] >= 1);
    }
    end(watch);
}

// ---- much

static void a_slow_sink_loses_nothing_and_costs_no_memory(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    enum { ROWS = 40000 };
    sqlite_shell_run(&rig->shell, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    sqlite_rig_open(rig);
    test_sink_set_room(&rig->sink, 1, WEIR_AGAIN);
    struct weir_watch *watch = sqlite_rig_watch(rig, "t");
    sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(0, 0)");
    test_sink_await_count(&rig->sink, 1);
    size_t before = mallinfo2().uordblks;
    sqlite_shell_run(&rig->shell,
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                     "%d) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n",
                     ROWS);
    test_sink_await_offers(&rig->sink, 2);
    // It waits: 8 MB of changes are in the database, and nowhere else.
    assert_true(mallinfo2().uordblks < before + (2 << 20));
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_sqlite_provider.resume(watch);
    for (int i = 0; i <= ROWS; i++) {
        char key[16];
        snprintf(key, sizeof key, "t/%d", i);
        assert_str_equal(test_sink_next(&rig->sink)->key, key);
    }
    end(watch);
}

static void ten_thousand_watches_share_a_connection(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    enum { WATCHES = 10000 };
    static struct weir_watch *watches[WATCHES];
    begin_kv(rig);
    end(sqlite_rig_watch(rig, "*"));
    size_t threads = test_count_threads(), fds = test_count_fds();
    for (int i = 0; i < WATCHES; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        watches[i] = sqlite_rig_watch(rig, key);
    }
    assert_int_equal(test_count_threads(), threads);
    assert_in_range(test_count_fds(), 0, fds);
    for (int i = 0; i < WATCHES; i += 1000) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        set(rig, key, "v");
        test_sink_expect_set(&rig->sink, key, "v");
    }
    for (int i = 0; i < WATCHES; i++) {
        end(watches[i]);
    }
}

static void a_large_value_goes_through(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    const size_t size = 8 << 20;
    begin_kv(rig);
    struct weir_watch *whole = sqlite_rig_watch_as(
        rig, &(struct sqlite_rig_watch){.key = "*", .event_bytes_max = 16 << 20});
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *without =
        sqlite_rig_watch_as(rig, &(struct sqlite_rig_watch){.key = "*", .sink = &other});
    sqlite_shell_run(&rig->shell, "INSERT INTO pairs VALUES('k', zeroblob(%zu))", size);
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_int_equal(event->fields.data.value.bytes.size, size);
    event = test_sink_next(&other);
    assert_false(event->fields.data.is_some);
    assert_str_equal(test_extension(event, "datasize"), "8388608");
    end(whole);
    end(without);
    test_sink_finish(&other);
}

// A reader that waits must not keep the WAL from being written back.
static void a_watch_that_waits_holds_no_snapshot(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    begin_kv(rig);
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    struct weir_watch *watch = sqlite_rig_watch(rig, "*");
    set(rig, "k", "v");
    test_sink_await_offers(&rig->sink, 1);
    sqlite_shell_run(&rig->shell, "DELETE FROM pairs");
    assert_string_equal(sqlite_shell_ask(&rig->shell, "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
    end(watch);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        SQLITE_RIG_CASE(every_change_is_told_after_a_stop),
        SQLITE_RIG_CASE(what_is_told_again_is_the_same),
        SQLITE_RIG_CASE(where_a_watch_begins_is_remembered),
        SQLITE_RIG_CASE(a_watch_goes_on_before_its_database_is_there),
        SQLITE_RIG_CASE(a_log_that_is_full_is_a_gap_for_who_is_behind),
        SQLITE_RIG_CASE(a_gap_is_told_once_and_the_same),
        SQLITE_RIG_CASE(a_database_that_was_restored_is_a_gap),
        SQLITE_RIG_CASE(another_database_is_a_gap),
        SQLITE_RIG_CASE(a_database_that_is_removed_comes_back),
        SQLITE_RIG_CASE(a_log_that_is_taken_away_is_a_gap),
        SQLITE_RIG_CASE(a_position_that_is_not_understood_is_a_gap),
        SQLITE_RIG_CASE(what_everybody_has_is_pruned),
        SQLITE_RIG_CASE(who_wants_nothing_of_it_does_not_hold_the_log),
        SQLITE_RIG_CASE(what_is_acknowledged_last_is_kept_at_the_end),
        SQLITE_RIG_CASE(a_snapshot_is_told_first),
        SQLITE_RIG_CASE(a_snapshot_goes_on_after_a_stop),
        SQLITE_RIG_CASE(nothing_goes_backwards_beside_a_snapshot),
        SQLITE_RIG_CASE(a_slow_sink_loses_nothing_and_costs_no_memory),
        SQLITE_RIG_CASE(ten_thousand_watches_share_a_connection),
        SQLITE_RIG_CASE(a_large_value_goes_through),
        SQLITE_RIG_CASE(a_watch_that_waits_holds_no_snapshot),
    };
    return cmocka_run_group_tests_name("sqlite: the log", cases, NULL, NULL);
}
