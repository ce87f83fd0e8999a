// SPDX-License-Identifier: Apache-2.0
//
// Which watches a key concerns: compared with asking each of them, and that a look-up does not cost
// more where there are more of them.
#include "unit/test.h"

#include "provider/routes.h"

#include <string.h>

struct watched {
    struct weir_route route;
    const char *pattern;
    bool is_in, is_found;
};

static void add(struct weir_routes *routes, struct watched *watched) {
    struct weir_error err;
    struct weir_pattern pattern = weir_pattern_of(weir_str_of(watched->pattern));
    assert_int_equal(weir_routes_add(routes, &pattern, watched, &watched->route, &err), WEIR_OK);
    watched->is_in = true;
}

static void check(struct weir_routes *routes, struct watched *all, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++) {
        all[i].is_found = false;
    }
    struct weir_routes_walk walk = weir_routes_first(routes, weir_str_of(key));
    for (; walk.route; weir_routes_next(&walk)) {
        struct watched *found = walk.route->watch;
        assert_false(found->is_found);
        found->is_found = true;
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_pattern pattern = weir_pattern_of(weir_str_of(all[i].pattern));
        bool matches = all[i].is_in && weir_pattern_matches(&pattern, weir_str_of(key));
        if (matches != all[i].is_found) {
            fail_msg("\"%s\" is%s found for \"%s\"", all[i].pattern, matches ? " not" : "", key);
        }
    }
}

static void all_that_match_are_found(void **state) {
    (void)state;
    static struct watched all[] = {
        {.pattern = "*"},     {.pattern = "a"},       {.pattern = "a*"},   {.pattern = "a/*"},
        {.pattern = "a/b"},   {.pattern = "a/b*"},    {.pattern = "a/b*"}, {.pattern = "b*"},
        {.pattern = "a"},     {.pattern = "a/bc/d*"}, {.pattern = "x"},    {.pattern = "*"},
        {.pattern = "a/b/*"},
    };
    const char *keys[] = {"",       "a",       "a/", "a/b", "a/bc", "a/b/c",
                          "a/bc/d", "a/bc/de", "b",  "x",   "xy"};
    struct weir_routes *routes = weir_routes_create();
    assert_true(weir_routes_are_empty(routes));
    // In, then out again, each in another order than the others.
    for (size_t round = 0; round < 2 * COUNT_OF(all); round++) {
        struct watched *one = &all[round * 5 % COUNT_OF(all)];
        if (round < COUNT_OF(all)) {
            add(routes, one);
        } else {
            weir_routes_remove(routes, &one->route);
            weir_routes_remove(routes, &one->route); // which is nothing
            one->is_in = false;
        }
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            check(routes, all, COUNT_OF(all), keys[i]);
        }
    }
    assert_true(weir_routes_are_empty(routes));
    weir_routes_destroy(routes);
    weir_routes_destroy(NULL);
}

static void count_pattern(void *context, const struct weir_pattern *pattern) {
    (void)pattern;
    ++*(size_t *)context;
}

static void each_pattern_is_told_once(void **state) {
    (void)state;
    static struct watched all[] = {
        {.pattern = "a"}, {.pattern = "a"}, {.pattern = "a*"}, {.pattern = "*"}, {.pattern = "*"}};
    struct weir_routes *routes = weir_routes_create();
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        add(routes, &all[i]);
    }
    size_t count = 0;
    weir_routes_patterns(routes, count_pattern, &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        weir_routes_remove(routes, &all[i].route);
    }
    weir_routes_destroy(routes);
}

// The time of many look-ups, of which each finds one watch; the best of some tries.
static int64_t time_lookups(const struct weir_routes *routes) {
    enum { LOOKUPS = 2000, TRIES = 20 };
    int64_t best_ns = INT64_MAX;
    for (int try = 0; try < TRIES; try++) {
        int64_t began_ns = weir_clock_monotonic_ns();
        for (int i = 0; i < LOOKUPS; i++) {
            struct weir_routes_walk walk = weir_routes_first(routes, WEIR_STR("key/0/rest"));
            assert_non_null(walk.route);
        }
        int64_t took_ns = weir_clock_monotonic_ns() - began_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return best_ns;
}

static void ten_thousand_cost_what_ten_cost(void **state) {
    (void)state;
    enum { MANY = 10000, FEW = 10 };
    struct weir_routes *routes = weir_routes_create();
    static struct watched all[MANY];
    static char names[MANY][24];
    int64_t few_ns = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], i % 2 ? "key/%d" : "key/%d/*", i);
        all[i] = (struct watched){.pattern = names[i]};
        add(routes, &all[i]);
        if (i + 1 == FEW) {
            few_ns = time_lookups(routes);
        }
    }
    int64_t many_ns = time_lookups(routes);
    // Ten lengths instead of one or two, and not a thousand times the watches.
    assert_true(many_ns < 20 * few_ns);
    for (int i = 0; i < MANY; i++) {
        weir_routes_remove(routes, &all[i].route);
    }
    weir_routes_destroy(routes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_match_are_found),
        cmocka_unit_test(each_pattern_is_told_once),
        cmocka_unit_test(ten_thousand_cost_what_ten_cost),
    };
    return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
