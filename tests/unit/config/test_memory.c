// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out while a configuration is read: each allocation of the reader fails in turn,
// and each time the caller is told, nothing is leaked (the sanitizer sees to that), and what was
// filled can be freed.
#include "unit/failing_malloc.h"
#include "unit/test.h"

#include "config/config.h"

// Calls `attempt` with the first, second, third ... allocation failing, until none fails any more.
// Returns how many did.
static size_t fail_each(bool (*attempt)(size_t number)) {
    enum { ALLOCATIONS_MAX = 100000 };
    size_t number = 1;
    while (attempt(number)) {
        number++;
        assert_true(number < ALLOCATIONS_MAX);
    }
    return number - 1;
}

static const char good[] = "host: {workers: 3}\n"
                           "resources: {store: {kind: file, path: ./data}}\n"
                           "guests: {a: {wasm: a.wasm, grants: [store], retry: &r {attempts: 2}},\n"
                           "         b: {wasm: b.wasm, retry: *r}}\n"
                           "subscriptions:\n"
                           "  - {name: x, watch: store, key: k, guest: b}\n"
                           "  - {name: y, watch: store, key: k, guest: a}\n";
static const char bad[] = "hots: {}\n"
                          "guests: {a: {wsam: a.wasm, bounds: {time: 5 sec}}}\n";

static struct weir_problems problems;

// Each of these returns whether an allocation has failed.
static bool read_good(size_t number) {
    struct weir_config config;
    struct weir_error err;
    failing_malloc_arm(number);
    weir_status status =
        weir_config_parse(weir_str_of(good), "weir.yaml", &config, &problems, &err);
    bool has_failed = failing_malloc_disarm();
    // What was cut short is never taken for a good configuration.
    assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
    assert_int_equal(problems.count, 0);
    if (!has_failed) {
        assert_int_equal(config.subscription_count, 2);
        assert_int_equal(weir_config_guest(&config, WEIR_STR("b"))->grant_count, 1);
    }
    weir_problems_finish(&problems);
    weir_config_finish(&config);
    return has_failed;
}

static void a_good_configuration_is_refused_or_whole(void **state) {
    (void)state;
    assert_true(fail_each(read_good) > 30);
}

static bool read_bad(size_t number) {
    struct weir_config config;
    struct weir_error err;
    failing_malloc_arm(number);
    weir_status status = weir_config_parse(weir_str_of(bad), "weir.yaml", &config, &problems, &err);
    bool has_failed = failing_malloc_disarm();
    assert_true(status == WEIR_INVALID || (has_failed && status == WEIR_NO_MEMORY));
    if (status == WEIR_INVALID) {
        // A mistake whose text there was no memory for is counted.
        assert_int_equal(problems.count + problems.left_out, 4);
    }
    weir_problems_finish(&problems);
    weir_config_finish(&config);
    return has_failed;
}

static void no_mistake_goes_uncounted(void **state) {
    (void)state;
    assert_true(fail_each(read_bad) > 15);
}

static bool add(size_t number) {
    struct weir_config config;
    struct weir_error err;
    failing_malloc_arm(number);
    weir_status status = weir_config_init(&config, &err);
    status = status == WEIR_OK ? weir_config_add_guest(&config, "g.wasm", &err) : status;
    status = status == WEIR_OK ? weir_config_add_resource(&config, "r=file:d", &err) : status;
    status = status == WEIR_OK ? weir_config_add_resource(&config, "r=file:e", &err) : status;
    status = status == WEIR_OK ? weir_config_add_guest(&config, "h.wasm", &err) : status;
    bool has_failed = failing_malloc_disarm();
    assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
    weir_config_finish(&config);
    return has_failed;
}

static void the_command_line_is_refused_or_taken(void **state) {
    (void)state;
    assert_true(fail_each(add) > 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_configuration_is_refused_or_whole),
        cmocka_unit_test(no_mistake_goes_uncounted),
        cmocka_unit_test(the_command_line_is_refused_or_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
