// SPDX-License-Identifier: Apache-2.0
#include "observe/histogram.h"

#include "base/clock.h"

#include "unit/test.h"

static void bounds_ascend_and_are_round(void **state) {
    (void)state;
    assert_int_equal(weir_histogram_bounds_ns[0], 1000);
    assert_int_equal(weir_histogram_bounds_ns[WEIR_HISTOGRAM_BOUNDS - 1], 60 * WEIR_NS_PER_S);
    for (size_t i = 1; i < WEIR_HISTOGRAM_BOUNDS; i++) {
        int64_t ratio = weir_histogram_bounds_ns[i] * 10 / weir_histogram_bounds_ns[i - 1];
        assert_true(ratio >= 20 && ratio <= 30);
    }
}

// The bucket of a time is the first whose bound is not less.
static size_t bucket_by_hand(int64_t took_ns) {
    size_t bucket = 0;
    while (bucket < WEIR_HISTOGRAM_BOUNDS && weir_histogram_bounds_ns[bucket] < took_ns) {
        bucket++;
    }
    return bucket;
}

static void each_time_is_in_its_bucket(void **state) {
    (void)state;
    for (size_t i = 0; i < WEIR_HISTOGRAM_BOUNDS; i++) {
        for (int64_t off = -1; off <= 1; off++) {
            struct weir_histogram histogram = {0};
            int64_t took_ns = weir_histogram_bounds_ns[i] + off;
            weir_histogram_add(&histogram, took_ns);
            assert_int_equal(histogram.counts[bucket_by_hand(took_ns)], 1);
            assert_int_equal(weir_histogram_count(&histogram), 1);
            assert_int_equal(histogram.sum_ns, took_ns);
        }
    }
}

static void what_is_out_of_range_is_counted(void **state) {
    (void)state;
    struct weir_histogram histogram = {0};
    weir_histogram_add(&histogram, -5); // a clock that went back
    weir_histogram_add(&histogram, 0);
    weir_histogram_add(&histogram, INT64_C(3600) * WEIR_NS_PER_S);
    assert_int_equal(histogram.counts[0], 2);
    assert_int_equal(histogram.counts[WEIR_HISTOGRAM_BOUNDS], 1);
    assert_int_equal(histogram.sum_ns, INT64_C(3600) * WEIR_NS_PER_S);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_ascend_and_are_round),
        cmocka_unit_test(each_time_is_in_its_bucket),
        cmocka_unit_test(what_is_out_of_range_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
