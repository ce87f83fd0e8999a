// SPDX-License-Identifier: Apache-2.0
//
// What has to hold where no test framework's assertions can be used: on threads that are not
// cmocka's, and in fuzzers.
#ifndef WEIR_TESTS_REQUIRE_H
#define WEIR_TESTS_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

// Says what was wrong and ends the program.
#define REQUIRE(condition)                                                            \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: required: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

#endif
