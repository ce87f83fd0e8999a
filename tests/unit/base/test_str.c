// SPDX-License-Identifier: Apache-2.0
//
// Views, and UTF-8 against a second implementation that decodes: every text of up to three bytes,
// and of four bytes every one whose decision is near. Each text is in a block of its exact size, so
// that a byte read beyond it is seen.
#include "unit/test.h"

// By decoding, as the other side of the comparison: the length of the character at the start, 0
// where there is none.
static size_t decoded_bytes(const unsigned char *bytes, size_t size) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = 1;
    uint32_t point = bytes[0];
    if (bytes[0] >= 0xF8 || (bytes[0] & 0xC0) == 0x80) {
        return 0;
    }
    if (bytes[0] >= 0x80) {
        length = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
        point = bytes[0] & (0x7Fu >> length);
    }
    if (length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            return 0;
        }
        point = point << 6 | (bytes[i] & 0x3F);
    }
    bool is_surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < least[length] || point > 0x10FFFF || is_surrogate ? 0 : length;
}

static bool is_decoded(const unsigned char *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t length = decoded_bytes(bytes + at, size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

// What the copy is judged to be; it must be one. The block it goes to has its exact size.
static bool is_copied(struct weir_str text) {
    char *copy = malloc(text.size + (text.size == 0));
    assert_non_null(copy);
    bool is_valid = weir_utf8_copy(copy, text);
    assert_true(text.size == 0 || memcmp(copy, text.data, text.size) == 0);
    free(copy);
    return is_valid;
}

static void compare(const unsigned char *bytes, size_t size) {
    struct weir_str text = {.data = (const char *)bytes, .size = size};
    bool is_valid = is_decoded(bytes, size);
    if (weir_utf8_valid(text) != is_valid || is_copied(text) != is_valid) {
        fail_msg("%zu bytes %02x %02x %02x %02x", size, bytes[0], size > 1 ? bytes[1] : 0,
                 size > 2 ? bytes[2] : 0, size > 3 ? bytes[3] : 0);
    }
    assert_int_equal(weir_utf8_char_bytes(text), decoded_bytes(bytes, size));
}

static void every_text_of_up_to_three_bytes_is_judged_rightly(void **state) {
    (void)state;
    for (size_t size = 1; size <= 3; size++) {
        unsigned char *bytes = malloc(size);
        assert_non_null(bytes);
        for (uint32_t value = 0; value < 1u << 8 * size; value++) {
            // Two bytes of ASCII in front of a third tell nothing new.
            if (size == 3 && (value & 0xFF) < 0x80 && (value >> 8 & 0xFF) < 0x80) {
                continue;
            }
            for (size_t i = 0; i < size; i++) {
                bytes[i] = (unsigned char)(value >> 8 * i);
            }
            compare(bytes, size);
        }
        free(bytes);
    }
}

static void texts_of_four_bytes_are_judged_rightly(void **state) {
    (void)state;
    static const unsigned char edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                          0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xF4, 0xFF};
    unsigned char *bytes = malloc(4);
    assert_non_null(bytes);
    for (unsigned lead = 0xE0; lead <= 0xFF; lead++) {
        for (unsigned second = 0; second <= 0xFF; second++) {
            for (size_t third = 0; third < COUNT_OF(edges); third++) {
                for (size_t fourth = 0; fourth < COUNT_OF(edges); fourth++) {
                    bytes[0] = (unsigned char)lead;
                    bytes[1] = (unsigned char)second;
                    bytes[2] = edges[third];
                    bytes[3] = edges[fourth];
                    compare(bytes, 4);
                }
            }
        }
    }
    free(bytes);
}

// ASCII is taken in blocks: a bad byte must be seen at every place of a block and behind it.
static void a_bad_byte_is_found_wherever_it_stands(void **state) {
    (void)state;
    enum { SIZE_MAX_TRIED = 150 };
    for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
        char *bytes = malloc(size + (size == 0));
        assert_non_null(bytes);
        memset(bytes, 'a', size);
        struct weir_str text = {.data = bytes, .size = size};
        assert_true(weir_utf8_valid(text) && is_copied(text));
        for (size_t at = 0; at < size; at++) {
            bytes[at] = (char)0xFF;
            assert_false(weir_utf8_valid(text) || is_copied(text));
            bytes[at] = (char)0xC3; // half of a character, whole only with what follows
            assert_false(weir_utf8_valid(text) || is_copied(text));
            if (at + 1 < size) {
                bytes[at + 1] = (char)0xA4;
                assert_true(weir_utf8_valid(text) && is_copied(text));
                bytes[at + 1] = 'a';
            }
            bytes[at] = 'a';
        }
        free(bytes);
    }
}

static void no_bytes_are_text_and_no_character(void **state) {
    (void)state;
    assert_true(weir_utf8_valid((struct weir_str){0}));
    assert_true(is_copied((struct weir_str){0}));
    assert_int_equal(weir_utf8_char_bytes((struct weir_str){0}), 0);
}

static void views_are_compared_by_their_bytes(void **state) {
    (void)state;
    struct weir_str empty = {0}, with_nul = WEIR_STR("a\0b");
    assert_int_equal(with_nul.size, 3);
    assert_int_equal(weir_str_of(NULL).size, 0);
    assert_true(weir_str_equal(empty, weir_str_of("")));
    assert_true(weir_str_equal(with_nul, WEIR_STR("a\0b")));
    assert_false(weir_str_equal(with_nul, WEIR_STR("a\0c")));
    assert_false(weir_str_equal(with_nul, WEIR_STR("a")));
    assert_true(weir_str_has_prefix(with_nul, WEIR_STR("a\0")));
    assert_true(weir_str_has_prefix(with_nul, empty));
    assert_true(weir_str_has_prefix(empty, empty));
    assert_false(weir_str_has_prefix(empty, with_nul));
    assert_false(weir_str_has_prefix(with_nul, WEIR_STR("b")));
}

static void a_text_is_trimmed_at_its_ends(void **state) {
    (void)state;
    static const struct {
        const char *text, *trimmed;
    } cases[] = {{"", ""},          {" ", ""},    {"\t \t", ""},      {"a", "a"},
                 {" a b\t", "a b"}, {"\ta", "a"}, {"a\r\n", "a\r\n"}, {"  a", "a"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(weir_str_equal(weir_str_trim(weir_str_of(cases[i].text)),
                                   weir_str_of(cases[i].trimmed)));
    }
    assert_int_equal(weir_str_trim((struct weir_str){0}).size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_of_up_to_three_bytes_is_judged_rightly),
        cmocka_unit_test(texts_of_four_bytes_are_judged_rightly),
        cmocka_unit_test(a_bad_byte_is_found_wherever_it_stands),
        cmocka_unit_test(no_bytes_are_text_and_no_character),
        cmocka_unit_test(views_are_compared_by_their_bytes),
        cmocka_unit_test(a_text_is_trimmed_at_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
