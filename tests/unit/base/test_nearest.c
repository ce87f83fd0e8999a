// SPDX-License-Identifier: Apache-2.0
//
// "did you mean": a slip of the finger finds its word, another word finds nothing.
#include "unit/test.h"

#include "base/nearest.h"

static const char *nearest_of(const char *wanted) {
    static const char *const names[] = {"grants", "bounds", "retry", "queue", "rm", "instance"};
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(wanted));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        weir_nearest_offer(&nearest, names[i]);
    }
    return nearest.best;
}

static void a_slip_is_found(void **state) {
    (void)state;
    assert_string_equal(nearest_of("grant"), "grants");   // left out
    assert_string_equal(nearest_of("boundss"), "bounds"); // one too many
    assert_string_equal(nearest_of("rettry"), "retry");
    assert_string_equal(nearest_of("qeueu"), "queue"); // swapped, twice
    assert_string_equal(nearest_of("Instance"), "instance");
    assert_string_equal(nearest_of("mr"), "rm");
}

static void another_word_finds_nothing(void **state) {
    (void)state;
    assert_null(nearest_of("timeout"));
    assert_null(nearest_of("x"));
    assert_null(nearest_of(""));
    assert_null(nearest_of("xy"));
}

static void the_nearer_one_wins_and_long_names_do_no_harm(void **state) {
    (void)state;
    struct weir_nearest nearest;
    char long_name[300];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    weir_nearest_init(&nearest, weir_str_of(long_name));
    weir_nearest_offer(&nearest, long_name);
    assert_null(nearest.best);
    weir_nearest_init(&nearest, WEIR_STR("abcdef"));
    weir_nearest_offer(&nearest, long_name);
    weir_nearest_offer(&nearest, "abcdxy");
    weir_nearest_offer(&nearest, "abcdxf");
    weir_nearest_offer(&nearest, "xbcdyf");
    assert_string_equal(nearest.best, "abcdxf");
    assert_int_equal(nearest.distance, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slip_is_found),
        cmocka_unit_test(another_word_finds_nothing),
        cmocka_unit_test(the_nearer_one_wins_and_long_names_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
