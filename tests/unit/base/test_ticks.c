// SPDX-License-Identifier: Apache-2.0
#include "unit/test.h"

#include "base/ticks.h"

#include <time.h>

static void pause_ns(int64_t ns) {
    struct timespec pause = weir_clock_timespec(ns);
    nanosleep(&pause, NULL);
}

// Both clocks see the same pause, also where the counter is the system's clock.
static void it_agrees_with_the_system(const struct weir_ticks *ticks) {
    int64_t began_ns = weir_clock_monotonic_ns();
    uint64_t began = weir_ticks_now(ticks);
    pause_ns(50 * WEIR_NS_PER_MS);
    uint64_t ended = weir_ticks_now(ticks);
    int64_t took_ns = weir_clock_monotonic_ns() - began_ns;
    int64_t measured_ns = weir_ticks_ns(ticks, began, ended);
    // What lies between two reads may be long on a busy machine, and is in the system's only.
    assert_true(measured_ns <= took_ns + took_ns / 100);
    assert_true(measured_ns >= 50 * WEIR_NS_PER_MS - WEIR_NS_PER_MS);
}

static void the_systems_clock_is_what_it_is(void **state) {
    (void)state;
    const struct weir_ticks ticks = {0};
    it_agrees_with_the_system(&ticks);
    assert_int_equal(weir_ticks_ns(&ticks, 5, 1000000005), WEIR_NS_PER_S);
}

static void the_counter_is_calibrated(void **state) {
    (void)state;
    struct weir_ticks ticks;
    weir_ticks_init(&ticks);
    if (!ticks.has_counter) {
        skip(); // the system does not keep time by it
    }
    assert_true(ticks.tick_ns > 0.1 && ticks.tick_ns < 10); // 100 MHz to 10 GHz
    it_agrees_with_the_system(&ticks);
}

static void what_went_back_took_no_time(void **state) {
    (void)state;
    struct weir_ticks ticks;
    weir_ticks_init(&ticks);
    assert_int_equal(weir_ticks_ns(&ticks, 10, 10), 0);
    assert_int_equal(weir_ticks_ns(&ticks, 11, 10), 0);
    assert_int_equal(weir_ticks_ns(&ticks, UINT64_MAX, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_systems_clock_is_what_it_is),
        cmocka_unit_test(the_counter_is_calibrated),
        cmocka_unit_test(what_went_back_took_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
