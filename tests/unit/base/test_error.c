// SPDX-License-Identifier: Apache-2.0
//
// Statuses and messages: what is told, that it always ends, and that it is never cut within a
// character.
#include "unit/test.h"

#include <errno.h>

static void every_status_has_a_name_of_its_own(void **state) {
    (void)state;
    static const weir_status all[] = {
#define X(constant, name, meaning) constant,
        WEIR_STATUSES(X)
#undef X
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_int_equal((int)all[i], (int)i);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(weir_status_name(all[i]), weir_status_name(all[j]));
        }
    }
    assert_string_equal(weir_status_name(WEIR_UNSUPPORTED), "unsupported");
    assert_string_equal(weir_status_name((weir_status)1000), "other");
}

static void a_failure_is_one_statement(void **state) {
    (void)state;
    struct weir_error err;
    assert_int_equal(weir_fail(&err, WEIR_LIMIT, "%d of %s", 3, "four"), WEIR_LIMIT);
    assert_int_equal(err.status, WEIR_LIMIT);
    assert_string_equal(err.message, "3 of four");
    assert_int_equal(weir_fail_no_memory(&err, "a tree"), WEIR_NO_MEMORY);
    assert_string_equal(err.message, "no memory for a tree");
}

static void without_an_error_the_status_alone_comes_back(void **state) {
    (void)state;
    assert_int_equal(weir_fail(NULL, WEIR_DENIED, "%s", "nobody reads this"), WEIR_DENIED);
    assert_int_equal(weir_fail_errno(NULL, ENOENT, "%s", "x"), WEIR_NOT_FOUND);
    assert_int_equal(weir_error_prefix(NULL, WEIR_LIMIT, "%s", "x"), WEIR_LIMIT);
    assert_int_equal(weir_fail_no_memory(NULL, "x"), WEIR_NO_MEMORY);
}

static void a_message_that_fits_exactly_is_whole(void **state) {
    (void)state;
    char text[WEIR_ERROR_MESSAGE_BYTES];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct weir_error err;
    weir_fail(&err, WEIR_OTHER, "%s", text);
    assert_string_equal(err.message, text);
}

static void a_longer_message_ends_in_dots_and_not_within_a_character(void **state) {
    (void)state;
    static const char *const characters[] = {"a", "\u00e4", "\u20ac", "\U0001F600"};
    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        // Every position of the cut within the character.
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2 * WEIR_ERROR_MESSAGE_BYTES] = "";
            memset(text, 'x', shift);
            size_t used = shift, size = strlen(characters[i]);
            while (used + size < sizeof text) {
                memcpy(text + used, characters[i], size);
                used += size;
            }
            struct weir_error err;
            weir_fail(&err, WEIR_OTHER, "%s", text);
            size_t length = strlen(err.message);
            assert_true(length >= WEIR_ERROR_MESSAGE_BYTES - 1 - 3 && length < sizeof err.message);
            assert_string_equal(err.message + length - 3, "...");
            assert_true(weir_utf8_valid(weir_str_of(err.message)));
            assert_memory_equal(err.message, text, length - 3);
        }
    }
}

static void a_prefix_stands_before_the_cause(void **state) {
    (void)state;
    struct weir_error err;
    weir_fail(&err, WEIR_NOT_FOUND, "no file %s", "x");
    assert_int_equal(weir_error_prefix(&err, WEIR_INVALID, "guest %s", "hello"), WEIR_INVALID);
    assert_int_equal(err.status, WEIR_INVALID);
    assert_string_equal(err.message, "guest hello: no file x");
}

static void prefixes_without_end_are_cut_too(void **state) {
    (void)state;
    struct weir_error err;
    weir_fail(&err, WEIR_OTHER, "%s", "cause");
    for (int i = 0; i < 500; i++) {
        weir_error_prefix(&err, WEIR_OTHER, "%s", "\u20ac");
        assert_true(strlen(err.message) < sizeof err.message);
        assert_true(weir_utf8_valid(weir_str_of(err.message)));
    }
    size_t length = strlen(err.message);
    assert_string_equal(err.message + length - 3, "...");
}

static void errno_becomes_a_status_and_a_text(void **state) {
    (void)state;
    static const struct {
        int code;
        weir_status status;
    } rows[] = {
        {ENOENT, WEIR_NOT_FOUND},
        {EACCES, WEIR_DENIED},
        {EPERM, WEIR_DENIED},
        {ENOMEM, WEIR_NO_MEMORY},
        {EINVAL, WEIR_INVALID},
        {ELOOP, WEIR_INVALID},
        {EMFILE, WEIR_LIMIT},
        {ENOSPC, WEIR_LIMIT},
        {EIO, WEIR_UNAVAILABLE},
        {EDOM, WEIR_OTHER},
        {ECONNREFUSED, WEIR_UNAVAILABLE},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err;
        assert_int_equal(weir_fail_errno(&err, rows[i].code, "opening %s", "it"), rows[i].status);
        assert_int_equal(err.status, rows[i].status);
        char expected[256];
        snprintf(expected, sizeof expected, "opening it: %s", strerror(rows[i].code));
        assert_string_equal(err.message, expected);
    }
}

static void the_cause_of_an_errno_does_not_overflow(void **state) {
    (void)state;
    char text[WEIR_ERROR_MESSAGE_BYTES];
    for (size_t size = sizeof text - 40; size < sizeof text; size++) {
        memset(text, 'a', size);
        text[size] = '\0';
        struct weir_error err;
        weir_fail_errno(&err, ENOENT, "%s", text);
        assert_true(strlen(err.message) < sizeof err.message);
        assert_memory_equal(err.message, text, sizeof text - 40);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_of_its_own),
        cmocka_unit_test(a_failure_is_one_statement),
        cmocka_unit_test(without_an_error_the_status_alone_comes_back),
        cmocka_unit_test(a_message_that_fits_exactly_is_whole),
        cmocka_unit_test(a_longer_message_ends_in_dots_and_not_within_a_character),
        cmocka_unit_test(a_prefix_stands_before_the_cause),
        cmocka_unit_test(prefixes_without_end_are_cut_too),
        cmocka_unit_test(errno_becomes_a_status_and_a_text),
        cmocka_unit_test(the_cause_of_an_errno_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
