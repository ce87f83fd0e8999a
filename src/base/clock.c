// SPDX-License-Identifier: Apache-2.0
//
// Clocks; see clock.h. Any thread.
#include "base/clock.h"

#include <string.h>

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now); // cannot fail for the clocks of this file
    return (int64_t)now.tv_sec * WEIR_NS_PER_S + now.tv_nsec;
}

int64_t weir_clock_monotonic_ns(void) {
    return now_ns(CLOCK_MONOTONIC);
}

int64_t weir_clock_coarse_ns(void) {
    return now_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t weir_clock_wall_ns(void) {
    return now_ns(CLOCK_REALTIME);
}

// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar:
// gmtime_r takes a lock in glibc, and this is called for each event. The method is Howard Hinnant's
// "civil_from_days" (chrono-Compatible Low-Level Date Algorithms): years begin in March, so that
// the leap day is a year's last.
static void civil_of_days(int64_t days, int *ret_year, int *ret_month, int *ret_day) {
    days += 719468; // to 0000-03-01
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *ret_month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2 ? 1 : 0));
}

static void put_two(char *at, unsigned value) {
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
}

void weir_time_format(int64_t wall_ns, char ret_text[static WEIR_TIME_BYTES]) {
    const int64_t first_ns =
        INT64_MIN + WEIR_NS_PER_S; // 1677 to 2262 is all that 64 bits of nanoseconds hold
    if (wall_ns < first_ns) {
        wall_ns = first_ns;
    }
    int64_t seconds = wall_ns / WEIR_NS_PER_S, rest_ns = wall_ns % WEIR_NS_PER_S;
    if (rest_ns < 0) {
        rest_ns += WEIR_NS_PER_S;
        seconds--;
    }
    int64_t days = seconds / 86400, second_of_day = seconds % 86400;
    if (second_of_day < 0) {
        second_of_day += 86400;
        days--;
    }
    int year, month, day;
    civil_of_days(days, &year, &month, &day);
    static const char shape[WEIR_TIME_BYTES] = "0000-00-00T00:00:00.000000Z";
    memcpy(ret_text, shape, sizeof shape);
    unsigned second = (unsigned)second_of_day, us = (unsigned)(rest_ns / 1000);
    put_two(ret_text, (unsigned)year / 100);
    put_two(ret_text + 2, (unsigned)year % 100);
    put_two(ret_text + 5, (unsigned)month);
    put_two(ret_text + 8, (unsigned)day);
    put_two(ret_text + 11, second / 3600);
    put_two(ret_text + 14, second / 60 % 60);
    put_two(ret_text + 17, second % 60);
    put_two(ret_text + 20, us / 10000);
    put_two(ret_text + 22, us / 100 % 100);
    put_two(ret_text + 24, us % 100);
}

struct timespec weir_clock_timespec(int64_t monotonic_ns) {
    return (struct timespec){.tv_sec = (time_t)(monotonic_ns / WEIR_NS_PER_S),
                             .tv_nsec = (long)(monotonic_ns % WEIR_NS_PER_S)};
}
