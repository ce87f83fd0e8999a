// SPDX-License-Identifier: Apache-2.0
//
// Where secrets may be, and that none is ever shown.
#include "unit/test.h"

#include "config/option.h"
#include "config/secret.h"
#include "support/folder.h"

#include <sys/stat.h>

static void a_place_is_a_variable_or_a_file(void **state) {
    (void)state;
    struct weir_error err;
    const char *good[] = {"env:A", "env:_a9", "file:x", "file:/etc/x y"};
    const char *wrong[] = {"", "hunter2", "env:", "env:9A", "env:A-B", "file:", "ENV:A", "env:A B"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(weir_secret_check(weir_str_of(good[i]), &err), WEIR_OK);
    }
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(weir_secret_check(weir_str_of(wrong[i]), &err), WEIR_INVALID);
        assert_message_has(&err, "env:");
    }
    assert_int_equal(weir_secret_check((struct weir_str){"file:a\0b", 8}, &err), WEIR_INVALID);
}

static void what_is_no_place_is_not_shown(void **state) {
    (void)state;
    struct weir_error err;
    char *member = NULL;
    const struct weir_option option = {.name = "password", .type = WEIR_OPTION_SECRET};
    assert_int_equal(weir_option_set(&option, &member, WEIR_STR("hunter2"), NULL, &err),
                     WEIR_INVALID);
    assert_null(strstr(err.message, "hunter2"));
    assert_int_equal(
        weir_option_set(&option, &member, (struct weir_str){"hunter2\0", 8}, NULL, &err),
        WEIR_INVALID);
    assert_null(strstr(err.message, "hunter2"));
    assert_null(member);
}

static void a_file_is_found_from_the_configurations_folder(void **state) {
    (void)state;
    struct weir_error err;
    const struct weir_option option = {.name = "password", .type = WEIR_OPTION_SECRET};
    const char *rows[][2] = {
        {"file:x", "file:/etc/weir/x"}, {"file:/x", "file:/x"}, {"env:x", "env:x"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *member = NULL, shown[64];
        assert_int_equal(
            weir_option_set(&option, &member, weir_str_of(rows[i][0]), "/etc/weir", &err), WEIR_OK);
        assert_string_equal(member, rows[i][1]);
        assert_string_equal(weir_option_format(&option, &member, shown, sizeof shown), rows[i][1]);
        const struct weir_option_table table = {.rows = &option, .count = 1};
        weir_options_finish(&table, &member);
        assert_null(member);
    }
}

static void it_is_read_where_it_is(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_secret secret;
    struct test_folder folder;
    char place[TEST_PATH_BYTES + 8], path[TEST_PATH_BYTES];
    test_folder_init(&folder);
    test_write(&folder, "secret", "hunter2\n");
    test_path(&folder, "secret", path);
    snprintf(place, sizeof place, "file:%s", path);
    assert_int_equal(weir_secret_read(place, &secret, &err), WEIR_OK);
    assert_string_equal(secret.text, "hunter2");
    assert_int_equal(secret.size, 7);
    weir_secret_forget(&secret);
    assert_string_equal(secret.text, "");
    setenv("WEIR_TEST_SECRET", " with blanks \r\n", 1);
    assert_int_equal(weir_secret_read("env:WEIR_TEST_SECRET", &secret, &err), WEIR_OK);
    assert_string_equal(secret.text, " with blanks ");
    assert_int_equal(weir_secret_read(NULL, &secret, &err), WEIR_OK);
    assert_int_equal(secret.size, 0);
    test_folder_finish(&folder);
}

static void one_that_cannot_be_read_says_so(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_secret secret;
    struct test_folder folder;
    char place[TEST_PATH_BYTES + 8], path[TEST_PATH_BYTES];
    test_folder_init(&folder);
    assert_int_equal(weir_secret_read("env:WEIR_TEST_NO_SUCH", &secret, &err), WEIR_NOT_FOUND);
    assert_message_has(&err, "env:WEIR_TEST_NO_SUCH");
    test_path(&folder, "it", path);
    snprintf(place, sizeof place, "file:%s", path);
    assert_int_equal(weir_secret_read(place, &secret, &err), WEIR_NOT_FOUND);
    assert_message_has(&err, place);
    test_write(&folder, "it", "\n");
    assert_int_equal(weir_secret_read(place, &secret, &err), WEIR_INVALID);
    assert_message_has(&err, "empty");
    char *large = malloc(WEIR_SECRET_BYTES_MAX + 2);
    assert_non_null(large);
    memset(large, 'x', WEIR_SECRET_BYTES_MAX + 1);
    for (int more = 0; more < 2; more++) {
        large[WEIR_SECRET_BYTES_MAX + more] = '\0';
        test_write(&folder, "it", large);
        assert_int_equal(weir_secret_read(place, &secret, &err), more ? WEIR_LIMIT : WEIR_OK);
        large[WEIR_SECRET_BYTES_MAX] = 'x';
    }
    assert_null(strstr(err.message, "xxx"));
    free(large);
    test_remove(&folder, "it");
    assert_int_equal(mkfifo(path, 0600), 0); // does not wait for somebody to write
    assert_int_equal(weir_secret_read(place, &secret, &err), WEIR_INVALID);
    test_folder_finish(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_a_variable_or_a_file),
        cmocka_unit_test(what_is_no_place_is_not_shown),
        cmocka_unit_test(a_file_is_found_from_the_configurations_folder),
        cmocka_unit_test(it_is_read_where_it_is),
        cmocka_unit_test(one_that_cannot_be_read_says_so),
    };
    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
