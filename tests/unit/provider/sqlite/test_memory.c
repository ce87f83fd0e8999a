// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the sqlite provider: each allocation of weir's fails in turn, on whatever
// thread. A call says so, leaves nothing behind (the sanitizer looks), and works when it is made
// again; a watch loses nothing.
#include "support/sqlite_rig.h"

#include "provider/sqlite/sqlite.h"
#include "unit/failing_malloc.h"
#include "unit/test.h"

#include <stdlib.h>

enum { ALLOCATIONS_MAX = 2000 };

static bool is_told_so(weir_status status) {
    return status == WEIR_NO_MEMORY;
}

static weir_status use(struct weir_resource *resource) {
    struct weir_value got = {.data = NULL};
    struct weir_sql_result result;
    const struct weir_sql_statement statement = {
        .text = WEIR_STR("SELECT 'text', x'00' FROM pairs"), .is_reading = true, .rows_max = 100};
    weir_status status =
        weir_sqlite_provider.set(resource, WEIR_STR("k"), WEIR_STR("v"), &sqlite_rig_limits, NULL);
    if (status == WEIR_OK) {
        status = weir_sqlite_provider.get(resource, WEIR_STR("k"), &sqlite_rig_limits, &got, NULL);
        free(got.data);
    }
    if (status == WEIR_OK) {
        status =
            weir_sqlite_provider.query(resource, &statement, &sqlite_rig_limits, &result, NULL);
        weir_sql_result_finish(&result);
    }
    return status;
}

static void reading_and_writing(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    sqlite_rig_use_kv(rig);
    const struct weir_resource_args args = {.name = "shop", .options = &rig->options};
    size_t failures = 0;
    for (bool has_failed = true; has_failed;) {
        struct weir_resource *resource = NULL;
        assert_in_range(failures, 0, ALLOCATIONS_MAX);
        failing_malloc_arm(failures + 1);
        weir_status status = weir_sqlite_provider.open(&args, &resource, NULL);
        status = status == WEIR_OK ? use(resource) : status;
        has_failed = failing_malloc_disarm();
        assert_true(has_failed ? is_told_so(status) : status == WEIR_OK);
        assert_true(!resource || use(resource) == WEIR_OK);
        weir_sqlite_provider.close(resource);
        failures += has_failed;
    }
    assert_true(failures > 10);
}

static void watching(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    sqlite_shell_run(&rig->shell, "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE)");
    sqlite_rig_open(rig);
    size_t failures = 0;
    int id = 0;
    for (bool has_failed = true; has_failed;) {
        struct weir_watch *watch = NULL;
        char key[16];
        assert_in_range(failures, 0, ALLOCATIONS_MAX);
        sqlite_rig_reopen(rig);
        failing_malloc_arm(failures + 1);
        weir_status status = sqlite_rig_try_watch(
            rig, &(struct sqlite_rig_watch){.key = "*", .name = "one"}, &watch, NULL);
        bool has_begun = status == WEIR_OK;
        assert_true(has_begun || is_told_so(status));
        if (!has_begun) {
            failing_malloc_disarm();
            has_failed = true;
            watch = sqlite_rig_watch(rig, "*");
        }
        sqlite_shell_run(&rig->shell, "INSERT INTO t VALUES(%d, %d)", id, id);
        snprintf(key, sizeof key, "t/%d", id++);
        assert_str_equal(test_sink_next(&rig->sink)->key, key);
        if (has_begun) {
            has_failed = failing_malloc_disarm();
        }
        weir_sqlite_provider.unwatch(watch);
        assert_int_equal(test_sink_count(&rig->sink), rig->sink.next); // not twice, either
        failures += has_failed;
    }
    assert_true(failures > 20);
}

// A gap, and what is there, behind a stop.
static void going_on(void **state) {
    struct sqlite_rig *rig = sqlite_rig_of(state);
    sqlite_shell_run(&rig->shell,
                     "CREATE TABLE t(id TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO t "
                     "VALUES('a'), ('b')");
    sqlite_rig_open(rig);
    weir_sqlite_provider.unwatch(sqlite_rig_watch(rig, "*"));
    size_t failures = 0;
    for (bool has_failed = true; has_failed; failures += has_failed) {
        struct weir_watch *watch = NULL;
        assert_in_range(failures, 0, ALLOCATIONS_MAX);
        sqlite_rig_reopen(rig);
        failing_malloc_arm(failures + 1);
        weir_status status = sqlite_rig_try_watch(
            rig, &(struct sqlite_rig_watch){.key = "t", .position = WEIR_STR("?")}, &watch, NULL);
        if (status != WEIR_OK) {
            assert_true(is_told_so(status));
            has_failed = failing_malloc_disarm();
            continue;
        }
        sqlite_rig_expect_gap(rig, "not understood");
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_str_equal(event->key, "t/a");
        while (!weir_str_equal(event->key, WEIR_STR("t/b"))) { // a part may have begun again
            event = test_sink_next(&rig->sink);
        }
        has_failed = failing_malloc_disarm();
        weir_sqlite_provider.unwatch(watch);
        rig->sink.next = test_sink_count(&rig->sink);
    }
    assert_true(failures > 20);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        SQLITE_RIG_CASE(reading_and_writing),
        SQLITE_RIG_CASE(watching),
        SQLITE_RIG_CASE(going_on),
    };
    return cmocka_run_group_tests_name("sqlite: memory", cases, NULL, NULL);
}
