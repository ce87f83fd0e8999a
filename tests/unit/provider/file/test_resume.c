// SPDX-License-Identifier: Apache-2.0
//
// Going on after a stop, as far as it is about files: modes, times, directories, bounds. What every
// provider that compares does is in tests/contract/test_resume.c.
#include "unit/test.h"

#include "provider/file/file.h"
#include "support/file_rig.h"
#include "support/notes.h"

#include <unistd.h>

static struct test_notes memory; // of the case that runs

static int setup(void **state) {
    int result = file_rig_setup(state);
    test_notes_init(&memory, &((struct file_rig *)*state)->sink);
    return result;
}

static int teardown(void **state) {
    int result = file_rig_teardown(state);
    test_notes_finish(&memory);
    return result;
}

static weir_status try_watch(struct file_rig *rig, const char *key, bool goes_on,
                             struct weir_watch **ret_watch, struct weir_error *err) {
    struct weir_resume resume = test_notes_resume(&memory);
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(key)),
        .sink = test_notes_of(&memory),
        .event_bytes_max = FILE_RIG_EVENT_BYTES_MAX,
        .resume = goes_on ? &resume : NULL,
    };
    return weir_file_watch(rig->resource, &args, ret_watch, err);
}

static struct weir_watch *begin(struct file_rig *rig) {
    struct weir_error err;
    struct weir_watch *watch;
    assert_ok(try_watch(rig, "*", false, &watch, &err));
    return watch;
}

static struct weir_watch *go_on(struct file_rig *rig) {
    struct weir_error err;
    struct weir_watch *watch;
    assert_ok(try_watch(rig, "*", true, &watch, &err));
    return watch;
}

// Closes the resource, does this with the directory, and opens it again.
static void stop_and(struct file_rig *rig, struct weir_watch *watch, const char *command) {
    weir_file_unwatch(watch);
    weir_file_provider.close(rig->resource);
    rig->resource = NULL;
    test_shell(&rig->folder, command);
    file_rig_open(rig);
}

static void a_mode_is_no_change(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = begin(rig);
    test_write(&rig->store, "k", "v");
    test_sink_expect_set(&rig->sink, "k", "v");
    stop_and(rig, watch, "chmod 600 store/k; : >> store/k");
    watch = go_on(rig);
    test_write(&rig->store, "end", "v");
    test_sink_expect_set(&rig->sink, "end", "v");
    stop_and(rig, watch, "true");
    watch = go_on(rig);
    test_write(&rig->store, "end", "w");
    test_sink_expect_set(&rig->sink, "end", "w");
    weir_file_unwatch(watch);
}

static void another_content_of_the_same_size_and_time_is_a_change(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = begin(rig);
    test_write(&rig->store, "k", "one");
    test_sink_expect_set(&rig->sink, "k", "one");
    stop_and(rig, watch,
             "touch -r store/k kept; printf two > store/k; touch -r kept store/k; rm kept");
    watch = go_on(rig);
    test_sink_expect_set(&rig->sink, "k", "two");
    weir_file_unwatch(watch);
}

static void directories_may_come_go_and_turn_into_files(void **state) {
    struct file_rig *rig = *state;
    test_shell(&rig->store,
               "mkdir -p a/b/c d; for k in a/b/c/1 a/b/2 d/3 f; do printf v > $k; done");
    struct weir_watch *watch = begin(rig);
    stop_and(rig, watch,
             "cd store; rm -r a d f; printf file > a; mkdir -p f/g new; printf v > f/g/4; "
             "printf v > new/5");
    watch = go_on(rig);
    const char *wanted[] = {"a=file", "f/g/4=v", "new/5=v", "a/b/c/1=", "a/b/2=", "d/3=", "f="};
    for (unsigned told = 0; told != (1U << COUNT_OF(wanted)) - 1;) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        char text[64];
        snprintf(text, sizeof text, "%.*s=%.*s", WEIR_STR_ARG(event->key),
                 WEIR_STR_ARG(event->fields.data.value.bytes));
        size_t i = 0;
        while (i < COUNT_OF(wanted) && strcmp(text, wanted[i]) != 0) {
            i++;
        }
        assert_in_range(i, 0, COUNT_OF(wanted) - 1);
        assert_int_equal(told >> i & 1, 0);
        told |= 1U << i;
    }
    // And what comes there later is seen.
    test_write(&rig->store, "f/g/6", "live");
    test_sink_expect_set(&rig->sink, "f/g/6", "live");
    test_shell(&rig->store, "mkdir -p d/e; printf live > d/e/7");
    test_sink_expect_set(&rig->sink, "d/e/7", "live");
    weir_file_unwatch(watch);
}

static void a_directory_that_is_gone_may_come_back(void **state) {
    struct file_rig *rig = *state;
    test_write(&rig->store, "k", "v");
    rig->options.create = false;
    struct weir_watch *watch = begin(rig);
    stop_and(rig, watch, "true");
    test_shell(&rig->folder, "mv store elsewhere");
    watch = go_on(rig);
    test_sink_expect_deleted(&rig->sink, "k");
    test_shell(&rig->folder, "mv elsewhere store");
    test_sink_expect_set(&rig->sink, "k", "v");
    weir_file_unwatch(watch);
}

static void keys_that_went_make_room_for_keys_that_came(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    rig->options.keys_max = 3;
    stop_and(rig, NULL, "true");
    test_shell(&rig->store, "for k in a b c; do printf v > $k; done");
    struct weir_watch *watch = begin(rig);
    stop_and(rig, watch, "cd store; rm a b c; for k in d e f; do printf v > $k; done");
    watch = go_on(rig);
    for (bool d = false, e = false, f = false; !d || !e || !f;) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        d = d || test_is_set(event, "d", "v");
        e = e || test_is_set(event, "e", "v");
        f = f || test_is_set(event, "f", "v");
    }
    weir_file_unwatch(watch);
    test_notes_put(&memory, "g", WEIR_STR("more than there may be"));
    assert_int_equal(try_watch(rig, "*", true, &watch, &err), WEIR_LIMIT);
    assert_null(watch);
    assert_message_has(&err, "keys_max");
}

static void more_directories_than_allowed_are_refused(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    rig->options.directories_max = 3;
    stop_and(rig, NULL, "true");
    struct weir_watch *watch;
    for (int i = 0; i < 3; i++) {
        char key[16];
        snprintf(key, sizeof key, "d%d/k", i);
        test_notes_put(&memory, key, WEIR_STR("?"));
    }
    assert_int_equal(try_watch(rig, "*", true, &watch, &err), WEIR_LIMIT);
    assert_message_has(&err, "directories_max");
    // Nothing of it is left.
    test_notes_put(&memory, "d0/k", (struct weir_str){0});
    watch = go_on(rig);
    test_sink_next(&rig->sink);
    test_sink_next(&rig->sink);
    test_write(&rig->store, "k", "v");
    test_sink_expect_set(&rig->sink, "k", "v");
    weir_file_unwatch(watch);
}

static void a_key_that_no_file_can_have_is_left_out(void **state) {
    struct file_rig *rig = *state;
    test_notes_put(&memory, "", WEIR_STR("?"));
    struct weir_watch *watch = go_on(rig);
    test_write(&rig->store, "k", "v");
    test_sink_expect_set(&rig->sink, "k", "v");
    weir_file_unwatch(watch);
}

struct slow {
    struct file_rig *rig;
    struct test_sink *other;
};

// Returns only when another watch was told something.
static void write_and_wait(void *context) {
    const struct slow *slow = context;
    test_write(&slow->rig->store, "k", "while it remembers");
    test_sink_skip_to_set(slow->other, "k", "while it remembers");
}

static void a_slow_memory_holds_up_nobody_else(void **state) {
    struct file_rig *rig = *state;
    struct test_sink other;
    test_sink_init(&other);
    struct slow slow = {.rig = rig, .other = &other};
    test_write(&rig->store, "first", "v");
    struct weir_watch *first = file_rig_watch_into(rig, "*", &other);
    memory.during = write_and_wait;
    memory.during_context = &slow;
    struct weir_watch *watch = begin(rig);
    test_sink_expect_set(&rig->sink, "k", "while it remembers");
    assert_int_equal(memory.remembered, 1);
    weir_file_unwatch(watch);
    weir_file_unwatch(first);
    test_sink_finish(&other);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(a_mode_is_no_change),
        CASE(another_content_of_the_same_size_and_time_is_a_change),
        CASE(directories_may_come_go_and_turn_into_files),
        CASE(a_directory_that_is_gone_may_come_back),
        CASE(keys_that_went_make_room_for_keys_that_came),
        CASE(more_directories_than_allowed_are_refused),
        CASE(a_key_that_no_file_can_have_is_left_out),
        CASE(a_slow_memory_holds_up_nobody_else),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
