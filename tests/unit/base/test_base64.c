// SPDX-License-Identifier: Apache-2.0
//
// Base64, by the vectors of RFC 4648, section 10, and what is none.
#include "unit/test.h"

#include "base/base64.h"

#include <string.h>

static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xff\xfe\xfd", "//79"},
    {"\xfb", "+w=="},
};

static void the_vectors_hold(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        char text[16], bytes[16];
        size_t size = 99;
        struct weir_str plain = weir_str_of(vectors[i][0]), coded = weir_str_of(vectors[i][1]);
        assert_int_equal(weir_base64_size(plain.size), coded.size);
        weir_base64_encode(plain, text);
        assert_memory_equal(text, coded.data, coded.size);
        assert_true(weir_base64_decode(coded, bytes, &size));
        assert_int_equal(size, plain.size);
        assert_memory_equal(bytes, plain.data, plain.size);
    }
}

static void what_is_not_canonical_is_none(void **state) {
    (void)state;
    const struct weir_str wrong[] = {
        WEIR_STR("Z"),     WEIR_STR("Zg"),       WEIR_STR("Zg="),   WEIR_STR("Zh=="),
        WEIR_STR("Zm9="),  WEIR_STR("===="),     WEIR_STR("Z==="),  WEIR_STR("Zg==Zg=="),
        WEIR_STR("Zm 9v"), WEIR_STR("Zm9v\nZg"), WEIR_STR("Zm9\0"), WEIR_STR("Zm-_"),
        WEIR_STR("=Zg="),
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char bytes[16];
        size_t size;
        if (weir_base64_decode(wrong[i], bytes, &size)) {
            fail_msg("%zu: \"%.*s\" is taken", i, WEIR_STR_ARG(wrong[i]));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_hold),
        cmocka_unit_test(what_is_not_canonical_is_none),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
