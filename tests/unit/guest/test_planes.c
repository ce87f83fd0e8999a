// SPDX-License-Identifier: Apache-2.0
#include "guest/planes.h"

#include "unit/test.h"

#include <stdlib.h>

enum { SIZE_MAX_TRIED = 300 };

static void fill(char *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (char)(seed >> 24);
    }
}

// Each in a block of its own, so that the sanitizer sees whoever goes beyond it.
static void what_was_taken_apart_comes_together(void **state) {
    (void)state;
    for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
        size_t high_size = weir_planes_high_size(size), joined_size;
        char *bytes = malloc(size + 1), *packed = malloc(size + high_size + 1);
        char *joined = malloc(size + 1);
        fill(bytes, size, (unsigned)size);
        weir_planes_split((struct weir_str){bytes, size}, packed, packed + size);
        for (size_t i = 0; i < size + high_size; i++) {
            assert_true((unsigned char)packed[i] < 0x80);
        }
        assert_true(weir_planes_joined_size(size + high_size, &joined_size));
        assert_int_equal(joined_size, size);
        weir_planes_join((struct weir_str){packed, size + high_size}, joined);
        assert_memory_equal(joined, bytes, size);
        free(bytes);
        free(packed);
        free(joined);
    }
}

static void a_size_that_no_bytes_have_is_refused(void **state) {
    (void)state;
    size_t size;
    for (size_t packed = 1; packed <= SIZE_MAX_TRIED; packed++) {
        bool is_of_some = packed % 64 == 0 || packed % 64 > 8;
        assert_int_equal(weir_planes_joined_size(packed, &size), is_of_some);
    }
}

static void one_high_bit_is_found_wherever_it_is(void **state) {
    (void)state;
    char bytes[SIZE_MAX_TRIED] = {0};
    for (size_t size = 0; size < SIZE_MAX_TRIED; size++) {
        assert_false(weir_planes_has_high((struct weir_str){bytes, size}));
        for (size_t at = 0; at < size; at++) {
            bytes[at] = (char)0x80;
            assert_true(weir_planes_has_high((struct weir_str){bytes, size}));
            bytes[at] = 0;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taken_apart_comes_together),
        cmocka_unit_test(a_size_that_no_bytes_have_is_refused),
        cmocka_unit_test(one_high_bit_is_found_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
