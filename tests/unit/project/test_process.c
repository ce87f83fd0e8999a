// SPDX-License-Identifier: Apache-2.0
//
// Other programs: what they are given, what is taken of them, and that they end with all they
// started.
#include "unit/test.h"

#include "project/language.h"
#include "project/process.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void add_all(struct weir_arguments *arguments, const char *const *words) {
    for (; *words; words++) {
        weir_arguments_add(arguments, "%s", *words);
    }
}

static weir_status run(const char *const *words, const struct weir_arguments *environment,
                       int stop_fd, struct weir_str *ret_output, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    add_all(&arguments, words);
    struct weir_process_args args = {.arguments = &arguments,
                                     .environment = environment,
                                     .folder = "/tmp",
                                     .output_fd = STDERR_FILENO};
    weir_status status = weir_process_run(&args, stop_fd, ret_output, err);
    weir_arguments_finish(&arguments);
    return status;
}

static void what_it_says_is_taken(void **state) {
    (void)state;
    struct weir_arguments environment = {.count = 0};
    struct weir_str output;
    struct weir_error err;
    weir_arguments_add(&environment, "WEIR_ADDED=a b");
    weir_arguments_add(&environment, "HOME");
    assert_int_equal(run((const char *const[]){"/bin/sh", "-c",
                                               "printf '%s|%s|%s|' \"$1\" \"$WEIR_ADDED\" "
                                               "\"${HOME-gone}\"; pwd; cat",
                                               "sh", "$(touch x); 'y'", NULL},
                         &environment, -1, &output, &err),
                     WEIR_OK);
    assert_str_equal(output, "$(touch x); 'y'|a b|gone|/tmp\n");
    free((char *)(uintptr_t)output.data);
    weir_arguments_finish(&environment);
}

static void its_failure_is_told(void **state) {
    (void)state;
    struct weir_str output;
    struct weir_error err;
    assert_int_equal(
        run((const char *const[]){"/bin/sh", "-c", "exit 3", NULL}, NULL, -1, &output, &err),
        WEIR_OTHER);
    assert_message_has(&err, "exit status 3");
    assert_int_equal(
        run((const char *const[]){"/bin/sh", "-c", "kill -9 $$", NULL}, NULL, -1, NULL, &err),
        WEIR_OTHER);
    assert_message_has(&err, "signal 9");
    assert_int_equal(run((const char *const[]){"/nowhere/tool", NULL}, NULL, -1, NULL, &err),
                     WEIR_NOT_FOUND);
    assert_message_has(&err, "/nowhere/tool");
}

// One that holds the pipe, and that nobody waits for.
static void what_it_leaves_running_ends_with_it(void **state) {
    (void)state;
    struct weir_str output;
    struct weir_error err;
    assert_int_equal(run((const char *const[]){"/bin/sh", "-c", "sleep 1000 & echo $!", NULL}, NULL,
                         -1, &output, &err),
                     WEIR_OK);
    pid_t left = (pid_t)strtol(output.data, NULL, 10);
    assert_true(left > 1);
    // It is killed; init, or whoever takes its place, may not have reaped it yet.
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)left);
    for (bool is_gone = false; !is_gone;) {
        FILE *stat = fopen(path, "r");
        is_gone = !stat || !fgets(line, sizeof line, stat) || strstr(line, ") Z ");
        if (stat) {
            fclose(stat);
        }
    }
    free((char *)(uintptr_t)output.data);
}

static void a_signal_ends_it(void **state) {
    (void)state;
    struct weir_error err;
    int stop_fd = eventfd(1, EFD_CLOEXEC);
    assert_true(stop_fd >= 0);
    assert_int_equal(
        run((const char *const[]){"/bin/sh", "-c", "sleep 1000", NULL}, NULL, stop_fd, NULL, &err),
        WEIR_STOPPED);
    close(stop_fd);
}

static void a_line_for_people_is_quoted(void **state) {
    (void)state;
    struct weir_arguments arguments = {.count = 0};
    add_all(&arguments, (const char *const[]){"clang", "-O2", "a b", "it's", "", NULL});
    char *shown = weir_arguments_shown(&arguments);
    assert_string_equal(shown, "clang -O2 'a b' 'it'\\''s' ''");
    free(shown);
    weir_arguments_finish(&arguments);
}

static void programs_are_found_in_the_path(void **state) {
    (void)state;
    char *path;
    assert_true(weir_program_find("sh", &path));
    assert_int_equal(access(path, X_OK), 0);
    free(path);
    assert_false(weir_program_find("no-such-tool", &path));
    assert_false(weir_program_find("/tmp", &path)); // no program, but a folder
}

// ---- languages ----

static bool takes(const char *language, const char *name) {
    return !weir_language_find(language)->name_wanted(weir_str_of(name));
}

static void names_are_what_the_tools_take(void **state) {
    (void)state;
    static const char *const languages[] = {"c", "rust", "js", "python"};
    static const char *const never[] = {"",   ".",    "..",  "a/b", "-a",      "1a",
                                        "a ", "a\nb", ".ab", "a.b", "\xC3\xA4"};
    for (size_t i = 0; i < COUNT_OF(languages); i++) {
        assert_true(takes(languages[i], "orders"));
        assert_true(takes(languages[i], "my-orders2"));
        for (size_t n = 0; n < COUNT_OF(never); n++) {
            assert_false(takes(languages[i], never[n]));
        }
    }
    assert_false(takes("rust", "match"));
    assert_false(takes("rust", "weir"));
    assert_false(takes("js", "Orders"));
    assert_false(takes("python", "orders-"));
    assert_true(takes("c", "match"));
    assert_null(weir_language_find("cobol"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says_is_taken),
        cmocka_unit_test(its_failure_is_told),
        cmocka_unit_test(what_it_leaves_running_ends_with_it),
        cmocka_unit_test(a_signal_ends_it),
        cmocka_unit_test(a_line_for_people_is_quoted),
        cmocka_unit_test(programs_are_found_in_the_path),
        cmocka_unit_test(names_are_what_the_tools_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
