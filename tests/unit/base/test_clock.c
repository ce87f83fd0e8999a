// SPDX-License-Identifier: Apache-2.0
//
// The clocks, and the calendar against the C library's.
#include "unit/test.h"

static void a_time_is_written_as_rfc_3339(void **state) {
    (void)state;
    static const struct {
        int64_t wall_ns;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {999, "1970-01-01T00:00:00.000000Z"},
        {1000, "1970-01-01T00:00:00.000001Z"},
        {INT64_C(951782399999999999), "2000-02-28T23:59:59.999999Z"},
        {INT64_C(951782400000000000), "2000-02-29T00:00:00.000000Z"},
        {INT64_C(4107542400000000000), "2100-03-01T00:00:00.000000Z"}, // no leap year
        {INT64_C(1769862896123456789), "2026-01-31T12:34:56.123456Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854775Z"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[WEIR_TIME_BYTES];
        weir_time_format(rows[i].wall_ns, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void the_least_time_is_written_too(void **state) {
    (void)state;
    char text[WEIR_TIME_BYTES];
    weir_time_format(INT64_MIN, text);
    assert_memory_equal(text, "1677-09-21T00:12:4", 18);
    assert_int_equal(strlen(text), WEIR_TIME_BYTES - 1);
}

static void the_calendar_is_that_of_the_c_library(void **state) {
    (void)state;
    // A step that meets every day of the year, hour and minute, over all the years there are.
    const int64_t step_s = 13 * 3600 + 17 * 60 + 7, last_s = INT64_MAX / WEIR_NS_PER_S;
    for (int64_t seconds = -last_s + 1; seconds < last_s - step_s; seconds += step_s) {
        time_t moment = (time_t)seconds;
        struct tm parts;
        assert_non_null(gmtime_r(&moment, &parts));
        char expected[64], text[WEIR_TIME_BYTES];
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.000042Z",
                 parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                 parts.tm_sec);
        weir_time_format(seconds * WEIR_NS_PER_S + 42000, text);
        assert_string_equal(text, expected);
    }
}

static void a_time_is_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t wall_ns;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T23:30:00-00:30", 0},
        {"1970-01-01T00:00:00.5Z", INT64_C(500000000)},
        {"1970-01-01T00:00:00.1234567899Z", 123456789},
        {"1969-12-31T23:59:59.999999999Z", -1},
        {"2026-01-31T12:34:56.123456Z", INT64_C(1769862896123456000)},
        {"2000-02-29T00:00:00Z", INT64_C(951782400) * WEIR_NS_PER_S},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800) * WEIR_NS_PER_S},
        {"0000-01-01T00:00:00Z", INT64_MIN},
        {"9999-12-31T23:59:59Z", INT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t wall_ns;
        assert_true(weir_time_read(weir_str_of(rows[i].text), &wall_ns));
        if (wall_ns != rows[i].wall_ns) {
            fail_msg("%s is %lld", rows[i].text, (long long)wall_ns);
        }
    }
    static const char *const none[] = {"",
                                       "Z",
                                       "now",
                                       "2026-02-29T00:00:00Z",
                                       "1970-01-01T00:00:00",
                                       "1970-01-01T00:00:00.Z",
                                       "1970-01-01T00:00:00+1:00"};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        int64_t wall_ns;
        assert_false(weir_time_read(weir_str_of(none[i]), &wall_ns));
    }
}

static void what_is_written_is_read_as_it_was(void **state) {
    (void)state;
    // Of 1700 to 2250, some days and an odd time apart; written in microseconds.
    for (int64_t us = INT64_C(-8520336000000000); us < INT64_C(8835000000000000);
         us += INT64_C(7654321234567)) {
        char text[WEIR_TIME_BYTES];
        int64_t wall_ns;
        weir_time_format(us * 1000, text);
        assert_true(weir_time_read(weir_str_of(text), &wall_ns));
        assert_true(wall_ns == us * 1000);
    }
}

static void the_monotonic_clock_runs_and_never_back(void **state) {
    (void)state;
    int64_t begin_ns = weir_clock_monotonic_ns(), last_ns = begin_ns;
    WAIT_UNTIL(weir_clock_monotonic_ns() > begin_ns + WEIR_NS_PER_MS);
    for (int i = 0; i < 10000; i++) {
        int64_t now_ns = weir_clock_monotonic_ns();
        assert_true(now_ns >= last_ns);
        last_ns = now_ns;
    }
}

static void the_coarse_clock_is_behind_by_little(void **state) {
    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t coarse_ns = weir_clock_coarse_ns();
        assert_true(coarse_ns <= weir_clock_monotonic_ns());
    }
    const int64_t most_ns = WEIR_CLOCK_COARSE_MS * WEIR_NS_PER_MS;
    WAIT_UNTIL(weir_clock_monotonic_ns() - weir_clock_coarse_ns() <= most_ns);
}

static void the_wall_clock_is_the_systems(void **state) {
    (void)state;
    int64_t before_s = (int64_t)time(NULL);
    int64_t now_ns = weir_clock_wall_ns();
    // time() may be a tick behind the clock that it rounds down.
    assert_in_range(now_ns / WEIR_NS_PER_S, before_s - 1, (int64_t)time(NULL) + 1);
}

static void a_moment_becomes_a_timespec(void **state) {
    (void)state;
    struct timespec moment = weir_clock_timespec(INT64_C(12345678901));
    assert_int_equal(moment.tv_sec, 12);
    assert_int_equal(moment.tv_nsec, 345678901);
    moment = weir_clock_timespec(INT64_MAX);
    assert_int_equal(moment.tv_sec, INT64_MAX / WEIR_NS_PER_S);
    assert_in_range(moment.tv_nsec, 0, WEIR_NS_PER_S - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_written_as_rfc_3339),
        cmocka_unit_test(the_least_time_is_written_too),
        cmocka_unit_test(the_calendar_is_that_of_the_c_library),
        cmocka_unit_test(a_time_is_read),
        cmocka_unit_test(what_is_written_is_read_as_it_was),
        cmocka_unit_test(the_monotonic_clock_runs_and_never_back),
        cmocka_unit_test(the_coarse_clock_is_behind_by_little),
        cmocka_unit_test(the_wall_clock_is_the_systems),
        cmocka_unit_test(a_moment_becomes_a_timespec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
