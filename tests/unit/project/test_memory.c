// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out while tests of a project are read, or while a program is prepared: each
// allocation fails in turn, the caller is told, and nothing is leaked.
#include "unit/failing_malloc.h"
#include "unit/test.h"

#include "project/case.h"
#include "project/process.h"

#include <unistd.h>

// Calls `attempt` with the first, second, third ... allocation failing, until none fails any more.
// Returns how many did.
static size_t fail_each(bool (*attempt)(size_t number)) {
    enum { ALLOCATIONS_MAX = 10000 };
    size_t number = 1;
    while (attempt(number)) {
        number++;
        assert_true(number < ALLOCATIONS_MAX);
    }
    return number - 1;
}

static struct weir_problems problems;

static bool read_file(size_t number) {
    static const char text[] = "- test: t\n"
                               "  given: {store: {a: {b: [1, 2]}, c: {base64: AAEC}}}\n"
                               "  event: {subject: k, extensions: {a: b}, data: {c: d}}\n"
                               "  expect: {event: {data: {c: d}}}\n"
                               "  then: {store: {a: x}, out: [{type: t}]}\n";
    struct weir_test_file file;
    struct weir_error err;
    failing_malloc_arm(number);
    weir_status status = weir_test_file_parse(weir_str_of(text), &file, &problems, &err);
    bool has_failed = failing_malloc_disarm();
    assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
    weir_test_file_finish(&file);
    weir_problems_finish(&problems);
    return has_failed;
}

static void a_file_of_tests_is_refused_or_whole(void **state) {
    (void)state;
    assert_true(fail_each(read_file) >= 2);
}

static bool run_program(size_t number) {
    struct weir_arguments arguments = {.count = 0}, environment = {.count = 0};
    struct weir_str output = {0};
    struct weir_error err;
    failing_malloc_arm(number);
    weir_arguments_add(&arguments, "/bin/sh");
    weir_arguments_add(&arguments, "-c");
    weir_arguments_add(&arguments, "echo %s", "x");
    weir_arguments_add(&environment, "A=B");
    struct weir_process_args args = {
        .arguments = &arguments, .environment = &environment, .output_fd = STDERR_FILENO};
    weir_status status = weir_process_run(&args, -1, &output, &err);
    bool has_failed = failing_malloc_disarm();
    assert_true(has_failed ? status != WEIR_OK : weir_str_equal(output, WEIR_STR("x\n")));
    free((char *)(uintptr_t)output.data);
    weir_arguments_finish(&arguments);
    weir_arguments_finish(&environment);
    return has_failed;
}

static void a_program_is_run_as_asked_or_not(void **state) {
    (void)state;
    assert_true(fail_each(run_program) >= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_tests_is_refused_or_whole),
        cmocka_unit_test(a_program_is_run_as_asked_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
