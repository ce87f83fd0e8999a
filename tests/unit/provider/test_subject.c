// SPDX-License-Identifier: Apache-2.0
//
// The key that a subject stands for.
#include "unit/test.h"

#include "provider/subject.h"

static weir_status key_of(struct weir_str subject, const char *encoding,
                          struct weir_subject_buffer *buffer, struct weir_str *ret_key) {
    struct weir_error err;
    const struct weir_attribute extension = {WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING),
                                             weir_str_of(encoding)};
    struct weir_event_fields fields = {
        .subject = {.is_some = true, .value = subject},
        .extensions = {.items = &extension, .count = encoding ? 1 : 0},
    };
    return weir_subject_key(&fields, buffer, ret_key, &err);
}

static void a_subject_is_a_key(void **state) {
    (void)state;
    const struct {
        struct weir_str subject;
        const char *encoding;
        struct weir_str key;
    } rows[] = {
        {WEIR_STR("orders/1"), NULL, WEIR_STR("orders/1")},
        {WEIR_STR("%41"), NULL, WEIR_STR("%41")},
        {WEIR_STR("%41"), "base64", WEIR_STR("%41")}, // nothing that weir knows
        {WEIR_STR("%41"), "percent", WEIR_STR("A")},
        {WEIR_STR("a%2Fb%2fc"), "percent", WEIR_STR("a/b/c")},
        {WEIR_STR("%FF%00"), NULL, WEIR_STR("%FF%00")},
        {WEIR_STR("%fF%Fe"), "percent", WEIR_STR("\xff\xfe")},
        {WEIR_STR("%25"), "percent", WEIR_STR("%")},
        {WEIR_STR(""), "percent", WEIR_STR("")},
        {WEIR_STR(""), NULL, WEIR_STR("")},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_subject_buffer buffer;
        struct weir_str key;
        assert_int_equal(key_of(rows[i].subject, rows[i].encoding, &buffer, &key), WEIR_OK);
        assert_true(weir_str_equal(key, rows[i].key));
    }
}

static void no_subject_is_the_empty_key(void **state) {
    (void)state;
    struct weir_subject_buffer buffer;
    struct weir_str key = WEIR_STR("x");
    assert_int_equal(weir_subject_key(&(struct weir_event_fields){0}, &buffer, &key, NULL),
                     WEIR_OK);
    assert_int_equal(key.size, 0);
}

static void what_is_no_key_is_invalid(void **state) {
    (void)state;
    const struct weir_str coded[] = {WEIR_STR("%"),    WEIR_STR("a%4"),  WEIR_STR("%4g"),
                                     WEIR_STR("%G4"),  WEIR_STR("% 41"), WEIR_STR("%-1"),
                                     WEIR_STR("a%00"), WEIR_STR("%%")};
    struct weir_subject_buffer buffer;
    struct weir_str key;
    for (size_t i = 0; i < COUNT_OF(coded); i++) {
        assert_int_equal(key_of(coded[i], "percent", &buffer, &key), WEIR_INVALID);
        assert_int_equal(key.size, 0);
    }
    assert_int_equal(key_of((struct weir_str){"a\0b", 3}, NULL, &buffer, &key), WEIR_INVALID);
}

static void the_longest_key_is_the_longest(void **state) {
    (void)state;
    enum { MOST = WEIR_KEY_BYTES_MAX };
    static char plain[MOST + 1], coded[3 * (MOST + 1)];
    struct weir_subject_buffer buffer;
    struct weir_str key;
    memset(plain, 'x', sizeof plain);
    for (size_t i = 0; i < MOST + 1; i++) {
        memcpy(coded + 3 * i, "%78", 3);
    }
    assert_int_equal(key_of((struct weir_str){plain, MOST}, NULL, &buffer, &key), WEIR_OK);
    assert_int_equal(key.size, MOST);
    assert_int_equal(key_of((struct weir_str){plain, MOST + 1}, NULL, &buffer, &key), WEIR_INVALID);
    assert_int_equal(key_of((struct weir_str){coded, 3 * MOST}, "percent", &buffer, &key), WEIR_OK);
    assert_true(weir_str_equal(key, (struct weir_str){plain, MOST}));
    assert_int_equal(key_of((struct weir_str){coded, 3 * (MOST + 1)}, "percent", &buffer, &key),
                     WEIR_INVALID);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_subject_is_a_key),
        cmocka_unit_test(no_subject_is_the_empty_key),
        cmocka_unit_test(what_is_no_key_is_invalid),
        cmocka_unit_test(the_longest_key_is_the_longest),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
