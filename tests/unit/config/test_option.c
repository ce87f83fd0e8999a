// SPDX-License-Identifier: Apache-2.0
//
// Texts to typed members: each type, each bound from both sides, overflow, nonsense, and back.
#include "unit/test.h"

#include "config/config.h"
#include "config/option.h"
#include "provider/provider.h"

struct all {
    char *text, *path;
    int64_t duration_ns, any_duration_ns;
    uint64_t size, count, any_count;
    double ratio;
    bool flag;
    int choice;
};

static const char *const choices[] = {"one", "two", "three", NULL};

enum { TEXT, PATH, DURATION, ANY_DURATION, SIZE, COUNT, ANY_COUNT, RATIO, FLAG, CHOICE };
static const struct weir_option rows[] = {
    [TEXT] = {"text", WEIR_OPTION_TEXT, offsetof(struct all, text), "t", false, 1, 5, NULL, ""},
    [PATH] = {"path", WEIR_OPTION_PATH, offsetof(struct all, path), NULL, true, 0, 0, NULL, ""},
    [DURATION] = {"duration", WEIR_OPTION_DURATION, offsetof(struct all, duration_ns), "5s", false,
                  WEIR_NS_PER_MS, 3600 * WEIR_NS_PER_S, NULL, ""},
    [ANY_DURATION] = {"any_duration", WEIR_OPTION_DURATION, offsetof(struct all, any_duration_ns),
                      NULL, false, 0, 0, NULL, ""},
    [SIZE] = {"size", WEIR_OPTION_SIZE, offsetof(struct all, size), "64KiB", false, 1024,
              INT64_C(4) << 30, NULL, ""},
    [COUNT] = {"count", WEIR_OPTION_COUNT, offsetof(struct all, count), "7", false, 1, 65535, NULL,
               ""},
    [ANY_COUNT] = {"any_count", WEIR_OPTION_COUNT, offsetof(struct all, any_count), NULL, false, 0,
                   0, NULL, ""},
    [RATIO] = {"ratio", WEIR_OPTION_RATIO, offsetof(struct all, ratio), "0.5", false, 0, 0, NULL,
               ""},
    [FLAG] = {"flag", WEIR_OPTION_BOOL, offsetof(struct all, flag), "true", false, 0, 0, NULL, ""},
    [CHOICE] = {"choice", WEIR_OPTION_CHOICE, offsetof(struct all, choice), "two", false, 0, 0,
                choices, ""},
};
static const struct weir_option_table table = {.rows = rows, .count = COUNT_OF(rows)};

static void defaults_are_set_and_freed(void **state) {
    (void)state;
    struct all all = {0};
    struct weir_error err;
    assert_int_equal(weir_options_init(&table, &all, &err), WEIR_OK);
    assert_string_equal(all.text, "t");
    assert_null(all.path);
    assert_int_equal(all.duration_ns, 5 * WEIR_NS_PER_S);
    assert_int_equal(all.size, 65536);
    assert_int_equal(all.count, 7);
    assert_int_equal(all.any_count, 0);
    assert_true(all.ratio == 0.5);
    assert_true(all.flag);
    assert_int_equal(all.choice, 1);
    weir_options_finish(&table, &all);
    assert_null(all.text);
}

static weir_status set(int row, struct all *all, const char *text, struct weir_error *err) {
    return weir_option_set(&rows[row], all, weir_str_of(text), NULL, err);
}

static void whole_numbers_are_taken_with_their_units(void **state) {
    (void)state;
    static const struct {
        int row;
        const char *text;
        uint64_t value;
    } good[] = {
        {DURATION, "1ms", 1000000},
        {DURATION, "250ms", 250000000},
        {DURATION, "60m", UINT64_C(3600000000000)},
        {DURATION, "1h", UINT64_C(3600000000000)},
        {DURATION, "0001s", 1000000000},
        {ANY_DURATION, "0", 0},
        {ANY_DURATION, "0s", 0},
        {ANY_DURATION, "2562047h", UINT64_C(9223369200000000000)},
        {SIZE, "1024", 1024},
        {SIZE, "1KiB", 1024},
        {SIZE, "4GiB", UINT64_C(4294967296)},
        {SIZE, "4194304KiB", UINT64_C(4294967296)},
        {COUNT, "1", 1},
        {COUNT, "65535", 65535},
        {ANY_COUNT, "9223372036854775807", INT64_MAX},
        {ANY_COUNT, "0", 0},
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct all all = {.duration_ns = -1, .any_duration_ns = -1, .size = 99, .any_count = 99};
        struct weir_error err;
        assert_int_equal(set(good[i].row, &all, good[i].text, &err), WEIR_OK);
        uint64_t value;
        memcpy(&value, (char *)&all + rows[good[i].row].offset, sizeof value);
        assert_int_equal(value, good[i].value);
    }
}

static void nonsense_is_refused_with_what_would_be_right(void **state) {
    (void)state;
    static const struct {
        int row;
        const char *text, *message;
    } bad[] = {
        {DURATION, "5 sec",
         "\"5 sec\" is not a duration; write a number and a unit, such as 250ms, 5s, 2m, from 1ms "
         "to 1h"},
        {DURATION, "", "\"\" is not a duration"},
        {DURATION, "5", "\"5\" is not a duration"},
        {DURATION, "s", "\"s\" is not a duration"},
        {DURATION, "-5s", "\"-5s\" is not a duration"},
        {DURATION, "+5s", "\"+5s\" is not a duration"},
        {DURATION, " 5s", "\" 5s\" is not a duration"},
        {DURATION, "5S", "\"5S\" is not a duration"},
        {DURATION, "1.5s", "\"1.5s\" is not a duration"},
        {DURATION, "1m30s", "\"1m30s\" is not a duration"},
        {DURATION, "0", "\"0\" is out of bounds"},
        {DURATION, "0ms", "\"0ms\" is out of bounds"},
        {DURATION, "3601s", "\"3601s\" is out of bounds; write a number and a unit"},
        {DURATION, "9223372036854775807h", "is out of bounds"},
        {DURATION, "99999999999999999999999999s", "is out of bounds"},
        {ANY_DURATION, "2562048h", "\"2562048h\" is out of bounds"},
        {SIZE, "1023",
         "\"1023\" is out of bounds; write bytes, or a number and a unit, such as "
         "512, 64KiB, 16MiB, from 1KiB to 4GiB"},
        {SIZE, "4294967297", "is out of bounds"},
        {SIZE, "64KB", "\"64KB\" is not a size"},
        {SIZE, "64kib", "\"64kib\" is not a size"},
        {SIZE, "0x400", "\"0x400\" is not a size"},
        {SIZE, "18014398509481984KiB", "is out of bounds"}, // 2 to the 64
        {COUNT, "0", "\"0\" is out of bounds; write a whole number, from 1 to 65535"},
        {COUNT, "65536", "is out of bounds"},
        {COUNT, "18446744073709551617", "is out of bounds"}, // 2 to the 64, and 1
        {COUNT, "1e3", "\"1e3\" is not a whole number"},
        {COUNT, "1_000", "\"1_000\" is not a whole number"},
        {ANY_COUNT, "9223372036854775808", "is out of bounds; write a whole number"},
        {RATIO, "1.01", "\"1.01\" is out of bounds; write a number from 0 to 1, such as 0.5"},
        {RATIO, "0.1234567890123456", "is out of bounds"},
        {RATIO, "-0", "\"-0\" is not a ratio"},
        {RATIO, ".", "\".\" is not a ratio"},
        {RATIO, "1e-1", "is not a ratio"},
        {RATIO, "0,5", "is not a ratio"},
        {RATIO, "nan", "is not a ratio"},
        {RATIO, "0.5.5", "is not a ratio"},
        {FLAG, "yes", "\"yes\" is not a truth value; write true or false"},
        {FLAG, "True", "is not a truth value"},
        {FLAG, "", "is not a truth value"},
        {CHOICE, "four", "\"four\" is not one of the choices; write one, two or three"},
        {CHOICE, "", "is not one of the choices"},
        {CHOICE, "on", "is not one of the choices"},
        {TEXT, "", "the text has 0 bytes; write a text of 1 to 5 bytes"},
        {TEXT, "123456", "the text has 6 bytes"},
        {PATH, "", "the path is empty; write a path"},
        {COUNT, "\033[2J", "\"\\x1b[2J\" is not a whole number"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct all all, before;
        memset(&all, 0x5a, sizeof all);
        all.text = all.path = NULL;
        before = all;
        struct weir_error err;
        assert_int_equal(set(bad[i].row, &all, bad[i].text, &err), WEIR_INVALID);
        assert_int_equal(err.status, WEIR_INVALID);
        assert_message_has(&err, bad[i].message);
        assert_memory_equal(&all, &before, sizeof all); // a mistake changes nothing
    }
}

static void a_text_with_a_nul_in_it_is_refused(void **state) {
    (void)state;
    struct all all = {0};
    struct weir_error err;
    struct weir_str text = {.data = "a\0b", .size = 3};
    assert_int_equal(weir_option_set(&rows[TEXT], &all, text, NULL, &err), WEIR_INVALID);
    assert_message_has(&err, "\"a\\x00b\" holds a NUL byte");
    assert_int_equal(weir_option_set(&rows[PATH], &all, text, NULL, &err), WEIR_INVALID);
}

static void ratios_are_exact_at_both_ends(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},      {"1", 1},     {"0.0", 0}, {"1.000", 1},
                {".25", 0.25}, {"0.1", 0.1}, {"1.", 1}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct all all = {.ratio = -1};
        assert_int_equal(set(RATIO, &all, good[i].text, NULL), WEIR_OK);
        assert_true(all.ratio == good[i].value);
    }
}

static void relative_paths_start_at_the_folder(void **state) {
    (void)state;
    static const struct {
        const char *text, *folder, *path;
    } good[] = {
        {"a/b", "conf", "conf/a/b"}, {"/a", "conf", "/a"}, {"a", "/", "/a"}, {"a", ".", "a"},
        {"./a", "/c/", "/c/./a"},    {"a", NULL, "a"},
    };
    struct all all = {0};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        // Each set frees what the one before it left; a leak is found by the sanitizer.
        assert_int_equal(
            weir_option_set(&rows[PATH], &all, weir_str_of(good[i].text), good[i].folder, NULL),
            WEIR_OK);
        assert_string_equal(all.path, good[i].path);
    }
    weir_options_finish(&table, &all);
}

static void what_is_formatted_is_read_again(void **state) {
    (void)state;
    static const struct {
        int row;
        const char *text, *formatted;
    } cases[] = {
        {DURATION, "90s", "90s"},     {DURATION, "120s", "2m"},
        {DURATION, "1000ms", "1s"},   {ANY_DURATION, "0", "0"},
        {SIZE, "1048576", "1MiB"},    {SIZE, "1025", "1025"},
        {SIZE, "1536KiB", "1536KiB"}, {COUNT, "00012", "12"},
        {RATIO, "0.10", "0.1"},       {RATIO, "1", "1"},
        {FLAG, "false", "false"},     {CHOICE, "three", "three"},
        {TEXT, "abc", "abc"},         {PATH, "x/y", "x/y"},
    };
    struct all all = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char buffer[64], again[64];
        assert_int_equal(set(cases[i].row, &all, cases[i].text, NULL), WEIR_OK);
        const struct weir_option *option = &rows[cases[i].row];
        assert_string_equal(weir_option_format(option, &all, buffer, sizeof buffer),
                            cases[i].formatted);
        assert_int_equal(set(cases[i].row, &all, buffer, NULL), WEIR_OK);
        assert_string_equal(weir_option_format(option, &all, again, sizeof again), buffer);
    }
    weir_options_finish(&table, &all);
    char buffer[8];
    assert_string_equal(weir_option_format(&rows[TEXT], &all, buffer, sizeof buffer), "");
}

static void assert_table_is_sound(const struct weir_option_table *checked, size_t struct_bytes) {
    void *base = calloc(1, struct_bytes);
    struct weir_error err;
    assert_non_null(base);
    assert_int_equal(weir_options_init(checked, base, &err), WEIR_OK);
    for (size_t i = 0; i < checked->count; i++) {
        const struct weir_option *option = &checked->rows[i];
        assert_true(option->help && option->help[0]);
        assert_false(option->is_required && option->fallback);
        assert_true(option->min <= option->max);
        assert_ptr_equal(weir_option_find(checked, weir_str_of(option->name)),
                         option); // no name twice
        if (option->fallback) {
            char text[64];
            assert_string_equal(weir_option_format(option, base, text, sizeof text),
                                option->fallback);
        }
    }
    weir_options_finish(checked, base);
    free(base);
}

static void the_tables_of_this_build_are_sound(void **state) {
    (void)state;
    assert_table_is_sound(&weir_host_options, sizeof(struct weir_host_config));
    assert_table_is_sound(&weir_bounds_options, sizeof(struct weir_bounds));
    assert_table_is_sound(&weir_retry_options, sizeof(struct weir_retry));
    assert_table_is_sound(&weir_queue_options, sizeof(struct weir_queue_bounds));
    assert_table_is_sound(&weir_guest_options, sizeof(struct weir_guest_config));
    assert_table_is_sound(&weir_subscription_options, sizeof(struct weir_subscription_config));
    for (size_t i = 0; weir_providers[i]; i++) {
        assert_table_is_sound(&weir_providers[i]->options, weir_providers[i]->options_bytes);
        assert_true(weir_providers[i]->options.count > 0); // KIND:VALUE is its first option
    }
    assert_null(weir_option_find(&weir_host_options, WEIR_STR("")));
    assert_null(weir_option_find(&weir_host_options, WEIR_STR("worker")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_set_and_freed),
        cmocka_unit_test(whole_numbers_are_taken_with_their_units),
        cmocka_unit_test(nonsense_is_refused_with_what_would_be_right),
        cmocka_unit_test(a_text_with_a_nul_in_it_is_refused),
        cmocka_unit_test(ratios_are_exact_at_both_ends),
        cmocka_unit_test(relative_paths_start_at_the_folder),
        cmocka_unit_test(what_is_formatted_is_read_again),
        cmocka_unit_test(the_tables_of_this_build_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
