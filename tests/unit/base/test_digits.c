// SPDX-License-Identifier: Apache-2.0
//
// Numbers as digits, against printf's and strtoull's.
#include "unit/test.h"

#include "base/digits.h"

#include <inttypes.h>
#include <string.h>

static const uint64_t numbers[] = {
    0,
    1,
    9,
    10,
    99,
    100,
    12345,
    UINT32_MAX,
    INT64_MAX,
    UINT64_C(9999999999999999999),
    UINT64_C(10000000000000000000),
    UINT64_MAX,
};

static void numbers_are_written_as_printf_does(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char text[WEIR_DECIMAL_BYTES_MAX], expected[32];
        snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
        assert_str_equal(((struct weir_str){text, weir_decimal(numbers[i], text)}), expected);

        int64_t signs[] = {(int64_t)numbers[i], -(int64_t)(numbers[i] / 2), INT64_MIN};
        for (size_t j = 0; j < COUNT_OF(signs); j++) {
            snprintf(expected, sizeof expected, "%" PRId64, signs[j]);
            assert_str_equal(((struct weir_str){text, weir_decimal_signed(signs[j], text)}),
                             expected);
        }

        char hex[WEIR_HEX_BYTES];
        snprintf(expected, sizeof expected, "%016" PRIx64, numbers[i]);
        weir_hex(numbers[i], WEIR_HEX_LOWER, hex);
        assert_str_equal(((struct weir_str){hex, sizeof hex}), expected);
        snprintf(expected, sizeof expected, "%016" PRIX64, numbers[i]);
        weir_hex(numbers[i], WEIR_HEX_UPPER, hex);
        assert_str_equal(((struct weir_str){hex, sizeof hex}), expected);
    }
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char text[WEIR_DECIMAL_BYTES_MAX];
        uint64_t number = 99;
        size_t size = weir_decimal(numbers[i], text);
        assert_true(weir_decimal_read((struct weir_str){text, size}, &number));
        assert_true(number == numbers[i]);
    }
    uint64_t number = 99;
    assert_true(weir_decimal_read(WEIR_STR("0000000000000000000000000000007"), &number));
    assert_int_equal(number, 7);
}

static void what_is_no_number_is_not_read(void **state) {
    (void)state;
    const struct weir_str wrong[] = {
        {NULL, 0},
        WEIR_STR("-1"),
        WEIR_STR("+1"),
        WEIR_STR(" 1"),
        WEIR_STR("1 "),
        WEIR_STR("1\0"),
        WEIR_STR("/"),
        WEIR_STR(":"),
        WEIR_STR("\xb1"),
        WEIR_STR("1.0"),
        WEIR_STR("0x1"),
        WEIR_STR("18446744073709551616"),
        WEIR_STR("99999999999999999999"),
        WEIR_STR("018446744073709551616"),
        WEIR_STR("100000000000000000000"),
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        uint64_t number;
        if (weir_decimal_read(wrong[i], &number)) {
            fail_msg("%zu: \"%.*s\" is taken", i, WEIR_STR_ARG(wrong[i]));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_printf_does),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_no_number_is_not_read),
    };
    return cmocka_run_group_tests_name("digits", tests, NULL, NULL);
}
