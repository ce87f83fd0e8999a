// SPDX-License-Identifier: Apache-2.0
//
// Handles: what one stands for, and that one which was dropped, invented or somebody else's stands
// for nothing.
#include "guest/handles.h"
#include "unit/test.h"

enum { KIND = 3, OTHER_KIND = 4 };

static void count_drop(void *context, uint8_t kind, void *thing) {
    assert_non_null(thing);
    assert_int_equal(kind, KIND);
    ++*(int *)context;
}

static uint32_t add(struct weir_handles *handles, void *thing) {
    uint32_t handle = 0;
    struct weir_error err;
    assert_int_equal(weir_handles_add(handles, KIND, thing, &handle, &err), WEIR_OK);
    return handle;
}

static void assert_unknown(struct weir_handles *handles, uint32_t handle) {
    void *thing = handles;
    struct weir_error err;
    assert_int_equal(weir_handles_get(handles, KIND, handle, &thing, &err), WEIR_TRAPPED);
    assert_null(thing);
    assert_message_has(&err, "was never given, or has been dropped");
    thing = handles;
    assert_int_equal(weir_handles_remove(handles, KIND, handle, &thing, &err), WEIR_TRAPPED);
    assert_null(thing);
}

static void a_handle_stands_for_its_thing_until_it_is_removed(void **state) {
    (void)state;
    struct weir_handles handles;
    int things[3], drops = 0;
    uint32_t given[3];
    weir_handles_init(&handles, 10);
    for (int i = 0; i < 3; i++) {
        given[i] = add(&handles, &things[i]);
        assert_true(given[i] != 0 && given[i] <= INT32_MAX);
    }
    void *thing;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_handles_get(&handles, KIND, given[i], &thing, NULL), WEIR_OK);
        assert_ptr_equal(thing, &things[i]);
    }
    assert_int_equal(weir_handles_remove(&handles, KIND, given[1], &thing, NULL), WEIR_OK);
    assert_ptr_equal(thing, &things[1]);
    assert_unknown(&handles, given[1]);
    assert_int_equal(weir_handles_get(&handles, KIND, given[2], &thing, NULL), WEIR_OK);
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, 2);
}

static void a_handle_of_another_kind_is_refused_and_stays(void **state) {
    (void)state;
    struct weir_handles handles;
    struct weir_error err;
    int one, drops = 0;
    void *thing = &one;
    weir_handles_init(&handles, 10);
    uint32_t given = add(&handles, &one);
    assert_int_equal(weir_handles_get(&handles, OTHER_KIND, given, &thing, &err), WEIR_TRAPPED);
    assert_null(thing);
    assert_message_has(&err, "of another kind of resource");
    assert_int_equal(weir_handles_remove(&handles, OTHER_KIND, given, &thing, &err), WEIR_TRAPPED);
    assert_int_equal(weir_handles_get(&handles, KIND, given, &thing, &err), WEIR_OK);
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, 1);
}

static void what_was_never_given_is_unknown(void **state) {
    (void)state;
    struct weir_handles handles;
    int thing, drops = 0;
    weir_handles_init(&handles, 10);
    assert_unknown(&handles, 0);
    assert_unknown(&handles, 1);
    assert_unknown(&handles, UINT32_MAX);
    uint32_t handle = add(&handles, &thing);
    for (int bit = 0; bit < 32; bit++) {
        assert_unknown(&handles, handle ^ 1u << bit);
    }
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, 1);
}

// A handle that is kept beyond its drop is told from what its slot is used for next.
static void a_slot_is_used_32767_times_before_a_handle_comes_again(void **state) {
    (void)state;
    struct weir_handles handles;
    int things[2], drops = 0;
    weir_handles_init(&handles, 1);
    uint32_t first = add(&handles, &things[0]);
    void *thing;
    assert_int_equal(weir_handles_remove(&handles, KIND, first, &thing, NULL), WEIR_OK);
    for (int i = 1; i < 32768; i++) {
        uint32_t handle = add(&handles, &things[1]);
        assert_int_not_equal(handle, first);
        assert_unknown(&handles, first);
        assert_int_equal(weir_handles_remove(&handles, KIND, handle, &thing, NULL), WEIR_OK);
        assert_unknown(&handles, handle);
    }
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, 0);
}

static void the_bound_holds_and_room_comes_back(void **state) {
    (void)state;
    struct weir_handles handles;
    static int thing;
    int drops = 0;
    weir_handles_init(&handles, 11); // no multiple of what the table grows by
    uint32_t given[11], one_more = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 11; i++) {
            given[i] = add(&handles, &thing);
            for (int j = 0; j < i; j++) {
                assert_int_not_equal(given[i], given[j]);
            }
        }
        struct weir_error err;
        assert_int_equal(weir_handles_add(&handles, KIND, &thing, &one_more, &err), WEIR_LIMIT);
        assert_message_has(&err, "bounds.handles");
        for (int i = 0; i < 11; i++) {
            void *removed;
            assert_int_equal(weir_handles_remove(&handles, KIND, given[i], &removed, NULL),
                             WEIR_OK);
        }
    }
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, 0);
}

static void there_can_be_65535_handles_and_no_more(void **state) {
    (void)state;
    struct weir_handles handles;
    int things[2], drops = 0;
    weir_handles_init(&handles, 1000000);
    uint32_t last = 0;
    for (int i = 0; i < WEIR_HANDLES_MAX; i++) {
        last = add(&handles, &things[i % 2]);
    }
    void *thing;
    assert_int_equal(weir_handles_get(&handles, KIND, last, &thing, NULL), WEIR_OK);
    assert_ptr_equal(thing, &things[(WEIR_HANDLES_MAX - 1) % 2]);
    assert_int_equal(weir_handles_add(&handles, KIND, things, &last, NULL), WEIR_LIMIT);
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, WEIR_HANDLES_MAX);
}

static void an_empty_table_ends_as_it_is(void **state) {
    (void)state;
    struct weir_handles handles;
    int drops = 0;
    weir_handles_init(&handles, 1);
    weir_handles_finish(&handles, count_drop, &drops);
    weir_handles_finish(&handles, count_drop, &drops);
    assert_int_equal(drops, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_stands_for_its_thing_until_it_is_removed),
        cmocka_unit_test(a_handle_of_another_kind_is_refused_and_stays),
        cmocka_unit_test(what_was_never_given_is_unknown),
        cmocka_unit_test(a_slot_is_used_32767_times_before_a_handle_comes_again),
        cmocka_unit_test(the_bound_holds_and_room_comes_back),
        cmocka_unit_test(there_can_be_65535_handles_and_no_more),
        cmocka_unit_test(an_empty_table_ends_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
