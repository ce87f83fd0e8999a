// SPDX-License-Identifier: Apache-2.0
//
// How far something is: what a meter tells, and the time left that is made of it.
#include "unit/test.h"

#include "base/progress.h"

static int64_t left_ms(uint64_t done, uint64_t total, int64_t passed_ms) {
    const struct weir_progress progress = {
        .what = "snapshot", .done = done, .total = total, .began_ns = 7};
    return weir_progress_left_ms(&progress, 7 + passed_ms * WEIR_NS_PER_MS);
}

static void the_time_left_is_by_the_rate_so_far(void **state) {
    (void)state;
    assert_int_equal(left_ms(250, 1000, 2000), 6000);
    assert_int_equal(left_ms(999, 1000, 1000), 1);
    assert_int_equal(left_ms(1000, 1000, 5000), 0);
}

static void nothing_is_told_where_nobody_can_tell(void **state) {
    (void)state;
    assert_true(left_ms(250, 1000, 999) < 0 && "the first second");
    assert_true(left_ms(250, 1000, 0) < 0);
    assert_true(left_ms(250, 1000, -5000) < 0);
    assert_true(left_ms(0, 1000, 5000) < 0 && "no rate");
    assert_true(left_ms(250, 0, 5000) < 0 && "no estimate");
    assert_true(left_ms(1, UINT64_MAX, 5000) < 0 && "more than a year");
    const struct weir_progress none = {.done = 1, .total = 2};
    assert_true(weir_progress_left_ms(&none, INT64_MAX) < 0);
}

static void what_is_more_than_was_estimated_has_nothing_left(void **state) {
    (void)state;
    assert_int_equal(left_ms(1001, 1000, 5000), 0);
    assert_int_equal(left_ms(UINT64_MAX, 1, 5000), 0);
}

static void a_meter_counts_what_is_under_way(void **state) {
    (void)state;
    struct weir_meter meter = {0};
    struct weir_progress progress;
    weir_meter_add(&meter, 3);
    weir_meter_read(&meter, &progress);
    assert_null(progress.what);
    assert_int_equal(progress.done, 0);

    int64_t before_ns = weir_clock_monotonic_ns();
    weir_meter_begin(&meter, "comparing", 10);
    weir_meter_add(&meter, 3);
    weir_meter_add(&meter, 4);
    weir_meter_read(&meter, &progress);
    assert_string_equal(progress.what, "comparing");
    assert_true(progress.done == 7 && progress.total == 10 && progress.began_ns >= before_ns);
    weir_meter_estimate(&meter, 20);
    weir_meter_read(&meter, &progress);
    assert_int_equal(progress.total, 20);

    weir_meter_begin(&meter, "snapshot", 0);
    weir_meter_read(&meter, &progress);
    assert_true(progress.done == 0 && progress.total == 0);
    weir_meter_end(&meter);
    weir_meter_read(&meter, &progress);
    assert_null(progress.what);
}

static void nobody_has_to_look(void **state) {
    (void)state;
    struct weir_progress progress;
    weir_meter_begin(NULL, "snapshot", 1);
    weir_meter_add(NULL, 1);
    weir_meter_estimate(NULL, 1);
    weir_meter_end(NULL);
    weir_meter_read(NULL, &progress);
    assert_null(progress.what);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_left_is_by_the_rate_so_far),
        cmocka_unit_test(nothing_is_told_where_nobody_can_tell),
        cmocka_unit_test(what_is_more_than_was_estimated_has_nothing_left),
        cmocka_unit_test(a_meter_counts_what_is_under_way),
        cmocka_unit_test(nobody_has_to_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
