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

// ---- RFC 3339, read ----

static bool digits(const char *text, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return true;
}

static int number(const char *two_digits) {
    return (two_digits[0] - '0') * 10 + (two_digits[1] - '0');
}

static bool in_range(const char *two_digits, int low, int high) {
    int value = number(two_digits);
    return value >= low && value <= high;
}

// The last day of a month (1 to 12) of a year in four digits.
static int last_day(const char *year, int month) {
    int century = number(year), of_century = number(year + 2);
    bool is_leap = of_century % 4 == 0 && (of_century != 0 || century % 4 == 0);
    bool is_short = month == 4 || month == 6 || month == 9 || month == 11;
    return month == 2 ? (is_leap ? 29 : 28) : is_short ? 30 : 31;
}

// The inverse of civil_of_days, by the same author's "days_from_civil".
static int64_t days_of_civil(int year, int month, int day) {
    int64_t from_march = month > 2 ? month - 3 : month + 9;
    int64_t years = year - (month <= 2 ? 1 : 0);
    int64_t era = (years >= 0 ? years : years - 399) / 400;
    int64_t year_of_era = years - era * 400;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
                         (153 * from_march + 2) / 5 + day - 1;
    return era * 146097 + day_of_era - 719468;
}

// The 19 characters in front of a fraction, as seconds. 60 is a leap second's name.
static bool read_seconds(const char *t, int64_t *ret_seconds) {
    if (!digits(t, 4) || t[4] != '-' || !digits(t + 5, 2) || t[7] != '-' || !digits(t + 8, 2) ||
        (t[10] != 'T' && t[10] != 't') || !digits(t + 11, 2) || t[13] != ':' ||
        !digits(t + 14, 2) || t[16] != ':' || !digits(t + 17, 2)) {
        return false;
    }
    if (!in_range(t + 5, 1, 12) || !in_range(t + 8, 1, last_day(t, number(t + 5))) ||
        !in_range(t + 11, 0, 23) || !in_range(t + 14, 0, 59) || !in_range(t + 17, 0, 60)) {
        return false;
    }
    int year = number(t) * 100 + number(t + 2);
    *ret_seconds = days_of_civil(year, number(t + 5), number(t + 8)) * 86400 +
                   number(t + 11) * 3600 + number(t + 14) * 60 + number(t + 17);
    return true;
}

// ".5" and so on at *at, which is moved behind it; what is less than a nanosecond is left out.
static bool read_fraction(struct weir_str text, size_t *at, int64_t *ret_ns) {
    int64_t unit_ns = WEIR_NS_PER_S / 10;
    *ret_ns = 0;
    if (text.data[*at] != '.') {
        return true;
    }
    size_t first = ++*at;
    for (; *at < text.size && digits(text.data + *at, 1); ++*at) {
        *ret_ns += (text.data[*at] - '0') * unit_ns;
        unit_ns /= 10;
    }
    return *at > first;
}

// "Z" or "+01:30", all of the text, as the seconds that it is ahead of UTC.
static bool read_zone(struct weir_str text, int64_t *ret_seconds) {
    const char *t = text.data;
    *ret_seconds = 0;
    if (text.size == 1) {
        return t[0] == 'Z' || t[0] == 'z';
    }
    if (text.size != 6 || (t[0] != '+' && t[0] != '-') || !digits(t + 1, 2) || t[3] != ':' ||
        !digits(t + 4, 2) || !in_range(t + 1, 0, 23) || !in_range(t + 4, 0, 59)) {
        return false;
    }
    int64_t seconds = number(t + 1) * 3600 + number(t + 4) * 60;
    *ret_seconds = t[0] == '+' ? seconds : -seconds;
    return true;
}

bool weir_time_read(struct weir_str text, int64_t *ret_wall_ns) {
    int64_t seconds, fraction_ns, zone;
    size_t at = sizeof "2026-01-31T12:34:56" - 1;
    if (text.size <= at || !read_seconds(text.data, &seconds) ||
        !read_fraction(text, &at, &fraction_ns) ||
        !read_zone((struct weir_str){text.data + at, text.size - at}, &zone)) {
        return false;
    }
    seconds -= zone;
    if (__builtin_mul_overflow(seconds, WEIR_NS_PER_S, ret_wall_ns) ||
        __builtin_add_overflow(*ret_wall_ns, fraction_ns, ret_wall_ns)) {
        *ret_wall_ns = seconds < 0 ? INT64_MIN : INT64_MAX;
    }
    return true;
}

struct timespec weir_clock_timespec(int64_t monotonic_ns) {
    return (struct timespec){.tv_sec = (time_t)(monotonic_ns / WEIR_NS_PER_S),
                             .tv_nsec = (long)(monotonic_ns % WEIR_NS_PER_S)};
}
