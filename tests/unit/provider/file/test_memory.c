// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the file provider: each allocation fails in turn. A call then says so and
// leaves nothing behind (the sanitizer looks), and a change that could not be told at once is told
// all the same.
#include "unit/test.h"

#include "provider/file/file.h"
#include "support/file_rig.h"
#include "support/notes.h"
#include "unit/failing_malloc.h"

enum { ALLOCATIONS_MAX = 1000 }; // of one step; more of them mean that the test never ends

static bool count_key(void *context, struct weir_str key) {
    (void)key;
    ++*(size_t *)context;
    return true;
}

static void opening_fails_cleanly(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_resource_args args = {.name = "store", .options = &rig->options, .log = rig->log};
    size_t number = 1;
    for (;; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        failing_malloc_arm(number);
        weir_status status = weir_file_provider.open(&args, &rig->resource, &err);
        if (!failing_malloc_disarm()) {
            assert_int_equal(status, WEIR_OK);
            break;
        }
        assert_int_equal(status, WEIR_NO_MEMORY);
        assert_null(rig->resource);
    }
    assert_true(number > 2);
}

static void operations_fail_cleanly(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_value value;
    struct weir_pattern all = weir_pattern_of(WEIR_STR("*"));
    test_shell(&rig->store, "mkdir -p a/b && for i in 1 2 3; do printf v > a/b/k$i; done");
    size_t failures = 0;
    for (size_t number = 1;; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        size_t keys = 0;
        failing_malloc_arm(number);
        weir_status status = weir_file_get(rig->resource, WEIR_STR("a/b/k1"), 10, &value, &err);
        if (!status) {
            free(value.data);
            status = weir_file_list(rig->resource, &all, count_key, &keys, &err);
        }
        if (!status) {
            status = weir_file_set(rig->resource, WEIR_STR("a/b/k1"), WEIR_STR("w"), &err);
        }
        if (!failing_malloc_disarm()) {
            assert_int_equal(status, WEIR_OK);
            assert_int_equal(keys, 3);
            break;
        }
        assert_int_equal(status, WEIR_NO_MEMORY);
        failures++;
    }
    assert_true(failures > 5);
}

static void beginning_to_watch_fails_cleanly(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[32];
    const char *patterns[] = {"a/b/k1", "*"};
    test_shell(&rig->store,
               "mkdir -p a/b c && for i in 1 2 3; do printf v > a/b/k$i; printf v > c/k$i; done");
    size_t failures = 0;
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        for (size_t number = 1;; number++) {
            assert_in_range(number, 1, ALLOCATIONS_MAX);
            struct weir_watch *watch = NULL;
            failing_malloc_arm(number);
            weir_status status = file_rig_try_watch(rig, patterns[i], &watch, &err);
            bool has_failed = failing_malloc_disarm();
            assert_true(status == WEIR_OK || (has_failed && status == WEIR_NO_MEMORY));
            failures += status != WEIR_OK;
            if (status) {
                assert_null(watch);
                watch = file_rig_watch(rig, patterns[i]);
            }
            // Whatever failed, this watch sees.
            snprintf(value, sizeof value, "%zu of %zu", number, i);
            test_write(&rig->store, "a/b/k1", value);
            test_sink_skip_to_set(&rig->sink, "a/b/k1", value);
            weir_file_unwatch(watch);
            if (!has_failed) {
                break;
            }
        }
    }
    assert_true(failures > 10);
}

// Remembering what there is, and going on after a stop.
static void going_on_fails_cleanly(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[32];
    test_shell(&rig->store,
               "mkdir -p a/b c && for i in 1 2 3; do printf v > a/b/k$i; printf v > c/k$i; done");
    size_t failures = 0;
    for (size_t number = 1, has_failed = true; has_failed; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        struct test_notes memory;
        struct weir_watch *watch = NULL;
        test_notes_init(&memory, &rig->sink);
        struct weir_resume resume = test_notes_resume(&memory);
        struct weir_watch_args args = {
            .pattern = weir_pattern_of(WEIR_STR("*")),
            .sink = test_notes_of(&memory),
            .event_bytes_max = FILE_RIG_EVENT_BYTES_MAX,
        };
        snprintf(value, sizeof value, "%zu", number);
        failing_malloc_arm(number);
        weir_status status = weir_file_watch(rig->resource, &args, &watch, &err);
        weir_file_unwatch(watch);
        if (!status) {
            test_write(&rig->store, "a/b/k1", value);
            test_shell(&rig->store, "rm -rf c; mkdir -p d; printf new > d/k");
            args.resume = &resume;
            status = weir_file_watch(rig->resource, &args, &watch, &err);
        }
        has_failed = failing_malloc_disarm();
        assert_true(status == WEIR_OK || (has_failed && status == WEIR_NO_MEMORY));
        failures += status != WEIR_OK;
        if (status) {
            assert_ok(weir_file_watch(rig->resource, &args, &watch, &err));
            test_write(&rig->store, "a/b/k1", "sees");
            test_sink_skip_to_set(&rig->sink, "a/b/k1", "sees");
        } else {
            bool is_set = false, is_new = false, is_gone = false;
            while (!is_set || !is_new || !is_gone) {
                const struct weir_event *event = test_sink_next(&rig->sink);
                is_set = is_set || test_is_set(event, "a/b/k1", value);
                is_new = is_new || test_is_set(event, "d/k", "new");
                is_gone = is_gone || weir_str_equal(event->key, WEIR_STR("c/k3"));
            }
        }
        weir_file_unwatch(watch);
        test_notes_finish(&memory);
        test_shell(&rig->store, "rm -rf d; mkdir -p c; for i in 1 2 3; do printf v > c/k$i; done");
    }
    assert_true(failures > 10);
}

// Makes, changes and removes a key in a directory of its own, and waits until each is told.
static void change(struct file_rig *rig, size_t number) {
    char folder[32], key[64];
    snprintf(folder, sizeof folder, "d%zu", number);
    snprintf(key, sizeof key, "d%zu/k", number);
    test_mkdir(&rig->store, folder);
    test_write(&rig->store, key, "one");
    test_sink_skip_to_set(&rig->sink, key, "one");
    test_write(&rig->store, key, "two, and longer");
    test_sink_skip_to_set(&rig->sink, key, "two, and longer");
    test_remove(&rig->store, key);
    for (const struct weir_event *event = NULL;
         !event || !weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));) {
        event = test_sink_next(&rig->sink);
    }
    test_remove(&rig->store, folder);
}

static void no_change_is_lost(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    size_t failures = 0;
    for (size_t number = 1;; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        failing_malloc_arm(number);
        change(rig, number);
        if (!failing_malloc_disarm()) {
            break;
        }
        failures++;
    }
    assert_true(failures > 5);
}

static void no_change_is_lost_while_the_sink_is_full(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = file_rig_watch(rig, "*");
    char key[32];
    size_t failures = 0;
    for (size_t number = 1;; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        size_t offers = test_sink_offers(&rig->sink);
        test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
        test_write(&rig->store, "first", "v");
        test_sink_await_offers(&rig->sink, offers + 1);
        failing_malloc_arm(number);
        for (int i = 0; i < 3; i++) {
            snprintf(key, sizeof key, "k%zu-%d", number, i);
            test_write(&rig->store, key, "v");
        }
        test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
        weir_file_resume(watch);
        bool is_told[3] = {false};
        while (!is_told[0] || !is_told[1] || !is_told[2]) {
            const struct weir_event *event = test_sink_next(&rig->sink);
            for (int i = 0; i < 3; i++) {
                snprintf(key, sizeof key, "k%zu-%d", number, i);
                is_told[i] = is_told[i] || test_is_set(event, key, "v");
            }
        }
        if (!failing_malloc_disarm()) {
            break;
        }
        failures++;
    }
    assert_true(failures > 3);
}

int main(void) {
#define OPENED(name) cmocka_unit_test_setup_teardown(name, file_rig_setup, file_rig_teardown)
#define CLOSED(name) cmocka_unit_test_setup_teardown(name, file_rig_setup_closed, file_rig_teardown)
    const struct CMUnitTest cases[] = {
        CLOSED(opening_fails_cleanly),
        OPENED(operations_fail_cleanly),
        OPENED(beginning_to_watch_fails_cleanly),
        OPENED(going_on_fails_cleanly),
        OPENED(no_change_is_lost),
        OPENED(no_change_is_lost_while_the_sink_is_full),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
