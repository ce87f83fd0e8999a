// SPDX-License-Identifier: Apache-2.0
//
// What every unit test includes: cmocka with the headers that it wants before it, and waiting for a
// condition.
#ifndef WEIR_TESTS_UNIT_TEST_H
#define WEIR_TESTS_UNIT_TEST_H

// cmocka.h needs these four first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "require.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// How long a condition may take to come true; a sanitized build on a busy machine is slow.
enum { TEST_WAIT_MS = 60 * 1000 };

// Looks at a condition again and again until it holds; a test that waits for longer than
// TEST_WAIT_MS has failed.
#define WAIT_UNTIL(condition)                                                               \
    do {                                                                                    \
        int64_t wait_until_ns_ = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS; \
        while (!(condition)) {                                                              \
            REQUIRE(weir_clock_monotonic_ns() < wait_until_ns_ && "within TEST_WAIT_MS");   \
            nanosleep(&(struct timespec){.tv_nsec = WEIR_NS_PER_MS}, NULL);                 \
        }                                                                                   \
    } while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

#define assert_str_equal(view, literal)                                       \
    do {                                                                      \
        struct weir_str view_ = (view);                                       \
        struct weir_str literal_ = weir_str_of(literal);                      \
        if (!weir_str_equal(view_, literal_)) {                               \
            fail_msg("\"%.*s\" is not \"%s\"", WEIR_STR_ARG(view_), literal); \
        }                                                                     \
    } while (0)

// That a message tells what it has to tell.
#define assert_message_has(err, part)                                       \
    do {                                                                    \
        if (!strstr((err)->message, (part))) {                              \
            fail_msg("\"%s\" does not say \"%s\"", (err)->message, (part)); \
        }                                                                   \
    } while (0)

#endif
