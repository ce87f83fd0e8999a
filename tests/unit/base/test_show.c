// SPDX-License-Identifier: Apache-2.0
//
// Foreign bytes in messages: on one line, harmless to a terminal, never cut within a character.
#include "unit/test.h"

#include "base/show.h"

static void assert_shown(const char *bytes, size_t size, const char *expected) {
    char buffer[WEIR_SHOW_BYTES];
    assert_string_equal(
        weir_show((struct weir_str){.data = bytes, .size = size}, buffer, sizeof buffer), expected);
}

static void what_is_printable_stays(void **state) {
    (void)state;
    assert_shown("", 0, "");
    assert_shown(NULL, 0, "");
    assert_shown("a b~", 4, "a b~");
    assert_shown("\u00e4\u20ac\U0001f600", 9, "\u00e4\u20ac\U0001f600");
}

static void what_is_not_becomes_its_number(void **state) {
    (void)state;
    assert_shown("a\nb\t\0\033[2J\x7f", 10, "a\\x0ab\\x09\\x00\\x1b[2J\\x7f");
    assert_shown("\xc2\x9b"
                 "1m",
                 4, "\\xc2\\x9b1m"); // CSI in one character
    assert_shown("\xff\xc3", 2, "\\xff\\xc3");
    assert_shown("\xed\xa0\x80", 3, "\\xed\\xa0\\x80"); // a surrogate
}

static void what_is_too_long_is_cut_between_characters(void **state) {
    (void)state;
    for (size_t size = 9; size < 40; size++) {
        char text[64] = {0}, buffer[40];
        for (size_t i = 0; i + 2 < sizeof text; i += 2) {
            memcpy(text + i, "\u00e4", 2);
        }
        memset(buffer, '#', sizeof buffer);
        weir_show(weir_str_of(text), buffer, size);
        size_t length = strlen(buffer);
        assert_true(length < size && length + 3 >= size);
        assert_true(weir_utf8_valid(weir_str_of(buffer)));
        assert_string_equal(buffer + length - 3, "...");
        for (size_t i = size; i < sizeof buffer; i++) {
            assert_int_equal(buffer[i], '#');
        }
    }
}

static void what_just_fits_is_not_cut(void **state) {
    (void)state;
    char buffer[11];
    assert_string_equal(weir_show(WEIR_STR("0123456789"), buffer, sizeof buffer), "0123456789");
    assert_string_equal(weir_show(WEIR_STR("0123456789x"), buffer, sizeof buffer), "0123456...");
    assert_string_equal(weir_show(WEIR_STR("01234567\n"), buffer, sizeof buffer), "0123456...");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printable_stays),
        cmocka_unit_test(what_is_not_becomes_its_number),
        cmocka_unit_test(what_is_too_long_is_cut_between_characters),
        cmocka_unit_test(what_just_fits_is_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
