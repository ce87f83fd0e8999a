// SPDX-License-Identifier: Apache-2.0
//
// Texts that are put together, and each byte as JSON at each place of a word, since eight are
// looked at at a time.
#include "unit/test.h"

#include "base/text.h"
#include "unit/failing_malloc.h"

#include <string.h>

static void pieces_stand_behind_each_other(void **state) {
    (void)state;
    struct weir_text text = {0};
    assert_int_equal(weir_text_view(&text).size, 0);
    weir_text_put(&text, (struct weir_str){NULL, 0});
    weir_text_put(&text, WEIR_STR("a\0b"));
    weir_text_put_number(&text, INT64_MIN);
    weir_text_put(&text, WEIR_STR("."));
    struct weir_str expected = WEIR_STR("a\0b-9223372036854775808.");
    assert_true(weir_str_equal(weir_text_view(&text), expected));
    weir_text_finish(&text);
}

static void a_text_grows(void **state) {
    (void)state;
    enum { PIECES = 5000 };
    struct weir_text text = {0};
    for (size_t i = 0; i < PIECES; i++) {
        weir_text_put(&text, (struct weir_str){(char[]){(char)('a' + i % 26)}, 1});
    }
    assert_false(text.lacks_memory);
    assert_int_equal(text.size, PIECES);
    for (size_t i = 0; i < PIECES; i++) {
        assert_int_equal(text.data[i], 'a' + i % 26);
    }
    weir_text_finish(&text);
}

// What RFC 8259 has for a byte of ASCII in a string, in its shortest form.
static void code(unsigned char byte, char ret_code[static 8]) {
    static const char special[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    const char *found = byte ? strchr(special, byte) : NULL;
    if (found) {
        snprintf(ret_code, 8, "\\%c", letters[found - special]);
    } else {
        snprintf(ret_code, 8, byte < 0x20 ? "\\u%04X" : "%c", byte);
    }
}

static void each_byte_is_coded_as_json_wants_it(void **state) {
    (void)state;
    enum { LENGTH = 19 };
    for (unsigned byte = 0; byte < 0x80; byte++) {
        for (size_t at = 0; at < LENGTH; at++) {
            char string[LENGTH + 1], expected[LENGTH + 16], coded[8];
            snprintf(string, sizeof string, "%s", "abcdefghijklmnopqrs");
            string[at] = (char)byte;
            code((unsigned char)byte, coded);
            snprintf(expected, sizeof expected, "\"%.*s%s%.*s\"", (int)at, string, coded,
                     (int)(LENGTH - at - 1), string + at + 1);
            struct weir_text text = {0};
            weir_text_put_json(&text, (struct weir_str){string, LENGTH});
            assert_str_equal(weir_text_view(&text), expected);
            weir_text_finish(&text);
        }
    }
}

static void utf8_stays_what_it_is(void **state) {
    (void)state;
    struct weir_text text = {0};
    weir_text_put_json(&text,
                       WEIR_STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98 \x7f\xc2\x80\xc2\xa2"));
    weir_text_put_json(&text, (struct weir_str){NULL, 0});
    assert_str_equal(weir_text_view(&text),
                     "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98 \x7f\xc2\x80\xc2\xa2\"\"\"");
    weir_text_finish(&text);
}

static void bytes_are_extended_json(void **state) {
    (void)state;
    struct weir_text text = {0};
    weir_text_put_json_binary(&text, (struct weir_str){NULL, 0});
    weir_text_put_json_binary(&text, WEIR_STR("\xff\0"));
    assert_str_equal(weir_text_view(&text),
                     "{\"$binary\":{\"base64\":\"\",\"subType\":\"00\"}}"
                     "{\"$binary\":{\"base64\":\"/wA=\",\"subType\":\"00\"}}");
    weir_text_finish(&text);
}

static void a_lack_of_memory_is_remembered(void **state) {
    (void)state;
    struct weir_text text = {0};
    failing_malloc_arm(1);
    weir_text_put(&text, WEIR_STR("lost"));
    assert_true(failing_malloc_disarm());
    weir_text_put(&text, WEIR_STR("too late")); // there would be memory again
    weir_text_put_number(&text, 1);
    weir_text_put_json(&text, WEIR_STR("\n"));
    weir_text_put_json_binary(&text, WEIR_STR("a"));
    assert_true(text.lacks_memory);
    assert_int_equal(text.size, 0);
    weir_text_finish(&text);
    assert_false(text.lacks_memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_stand_behind_each_other),
        cmocka_unit_test(a_text_grows),
        cmocka_unit_test(each_byte_is_coded_as_json_wants_it),
        cmocka_unit_test(utf8_stays_what_it_is),
        cmocka_unit_test(bytes_are_extended_json),
        cmocka_unit_test(a_lack_of_memory_is_remembered),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
