// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in what providers share: each allocation fails in turn. The call says so,
// leaves nothing behind (the sanitizer looks), and works when it is made again.
#include "unit/test.h"

#include "provider/hub.h"
#include "provider/keyvalue.h"
#include "provider/pool.h"
#include "provider/routes.h"
#include "provider/row.h"
#include "support/sink.h" // assert_ok
#include "unit/failing_malloc.h"

enum { ALLOCATIONS_MAX = 200 };

// Calls it with each allocation failing in turn, until none fails.
static void fail_each(weir_status (*call)(void), size_t least) {
    size_t failures = 0;
    for (bool has_failed = true; has_failed;) {
        assert_in_range(failures, 0, ALLOCATIONS_MAX);
        failing_malloc_arm(failures + 1);
        weir_status status = call();
        has_failed = failing_malloc_disarm();
        assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
        failures += has_failed;
    }
    assert_true(failures >= least);
}

// ---- routes

static weir_status route(void) {
    static const char *const patterns[] = {"a", "a*", "b*", "bb*", "a", "*"};
    struct weir_route routes[COUNT_OF(patterns)] = {0};
    struct weir_routes *table = weir_routes_create();
    weir_status status = table ? WEIR_OK : WEIR_NO_MEMORY;
    for (size_t i = 0; !status && i < COUNT_OF(patterns); i++) {
        struct weir_pattern pattern = weir_pattern_of(weir_str_of(patterns[i]));
        status = weir_routes_add(table, &pattern, &routes[i], &routes[i], NULL);
    }
    for (size_t i = 0; table && i < COUNT_OF(patterns); i++) {
        weir_routes_remove(table, &routes[i]);
    }
    assert_true(!table || weir_routes_are_empty(table));
    weir_routes_destroy(table);
    return status;
}

static void routes(void **state) {
    (void)state;
    fail_each(route, 8);
}

// ---- events

static weir_status make_keyvalue(void) {
    char key[1000];
    memset(key, 'k', sizeof key);
    const struct weir_keyvalue_change change = {.source = WEIR_STR("/s"),
                                                .key = {key, sizeof key},
                                                .revision = WEIR_STR("1"),
                                                .data = &WEIR_STR("value")};
    struct weir_event *event = NULL;
    weir_status status = weir_keyvalue_event(&change, &event, NULL);
    weir_event_unref(event);
    return status;
}

static void keyvalue_events(void **state) {
    (void)state;
    fail_each(make_keyvalue, 2);
}

static weir_status make_row(void) {
    const struct weir_str column = WEIR_STR("c");
    char bytes[1000] = {0}; // the data grows twice
    const struct weir_sql_value value = {.kind = WEIR_SQL_BINARY, .bytes = {bytes, sizeof bytes}};
    const struct weir_row_image image = {&column, &value, 1};
    const struct weir_row_change change = {.source = WEIR_STR("/s"),
                                           .type = WEIR_TYPE_ROW_UPDATED,
                                           .table = WEIR_STR("t"),
                                           .key = WEIR_STR("t/1"),
                                           .revision = WEIR_STR("1"),
                                           .before = &image,
                                           .after = &image,
                                           .event_bytes_max = 4000};
    struct weir_event *event = NULL;
    weir_status status = weir_row_event(&change, &event, NULL);
    weir_event_unref(event);
    return status;
}

static void row_events(void **state) {
    (void)state;
    fail_each(make_row, 4);
}

// ---- connections

static weir_status open_one(void *context, int64_t until_ns, void **ret_connection,
                            struct weir_error *err) {
    (void)context, (void)until_ns;
    *ret_connection = malloc(1);
    return *ret_connection ? WEIR_OK : weir_fail_no_memory(err, "a connection");
}

static void close_one(void *context, void *connection) {
    (void)context;
    free(connection);
}

static weir_status take_connections(void) {
    const struct weir_pool_args args = {
        .connections_max = 2, .idle_ns = INT64_MAX / 2, .open = open_one, .close = close_one};
    struct weir_pool *pool;
    void *taken[2] = {NULL, NULL};
    weir_status status = weir_pool_create(&args, &pool, NULL);
    for (int i = 0; !status && i < 2; i++) {
        status = weir_pool_take(pool, INT64_MAX, &taken[i], NULL, NULL);
    }
    for (int i = 0; i < 2; i++) {
        if (taken[i]) {
            weir_pool_give(pool, taken[i], true);
        }
    }
    weir_pool_destroy(pool);
    return status;
}

static void connections(void **state) {
    (void)state;
    fail_each(take_connections, 4);
}

// ---- the hub

static const struct weir_provider kind = {.kind = "test"};

static weir_status begin(void *context, struct weir_hub_watch *watch, int64_t until_ns,
                         struct weir_error *err) {
    (void)context, (void)until_ns;
    weir_status status = weir_hub_remember(watch, WEIR_STR("k"), WEIR_STR("f"), err);
    return status ? status : weir_hub_remember(watch, WEIR_STR("l"), WEIR_STR("f"), err);
}

static void end(void *context, struct weir_hub_watch *watch) {
    (void)context, (void)watch;
}

static void acknowledge(void *context, struct weir_hub_watch *watch, struct weir_event *event) {
    (void)context, (void)watch, (void)event;
}

static size_t wait_for(void *context, struct pollfd fds[static WEIR_HUB_FDS_MAX]) {
    (void)context, (void)fds;
    return 0;
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    (void)context, (void)fds, (void)count;
    return INT64_MAX;
}

static const struct weir_hub_functions functions = {
    .watch_bytes = sizeof(struct weir_hub_watch),
    .begin = begin,
    .end = end,
    .resume = end,
    .acknowledge = acknowledge,
    .wait_for = wait_for,
    .work = work,
};

static weir_status take(void *context, struct weir_event *event) {
    (void)context, (void)event;
    return WEIR_OK;
}

static weir_status remember(void *context, struct weir_str key, struct weir_str fingerprint) {
    (void)context, (void)key, (void)fingerprint;
    return WEIR_OK;
}

static weir_status watch(void) {
    static char name[] = "store";
    struct weir_resource resource = {.provider = &kind, .name = name};
    struct weir_hub *hub;
    struct weir_watch *one = NULL;
    const struct weir_hub_args args = {.resource = &resource, .functions = &functions};
    weir_status status = weir_hub_create(&args, &hub, NULL);
    if (!status) {
        const struct weir_watch_args watch_args = {.pattern = weir_pattern_of(WEIR_STR("k*")),
                                                   .name = "name",
                                                   .sink = {.offer = take, .remember = remember}};
        status = weir_hub_watch(hub, &watch_args, &one, NULL);
    }
    weir_hub_unwatch(one);
    weir_hub_destroy(hub);
    return status;
}

static void watches(void **state) {
    (void)state;
    fail_each(watch, 6);
}

// What cannot be noted is not acknowledged, and no harm is done.
static void acknowledgements(void **state) {
    (void)state;
    static char name[] = "store";
    struct weir_resource resource = {.provider = &kind, .name = name};
    struct weir_hub *hub;
    struct weir_watch *one;
    struct weir_event *event;
    struct weir_error err;
    const struct weir_hub_args args = {.resource = &resource, .functions = &functions};
    const struct weir_event_fields fields = {.specversion = WEIR_STR("1.0"),
                                             .ty = WEIR_STR("t"),
                                             .source = WEIR_STR("/s"),
                                             .id = WEIR_STR("i")};
    assert_ok(weir_event_new(&fields, WEIR_STR("k"), &event, &err));
    assert_ok(weir_hub_create(&args, &hub, &err));
    const struct weir_watch_args watch_args = {.pattern = weir_pattern_of(WEIR_STR("k")),
                                               .sink = {.offer = take}};
    assert_ok(weir_hub_watch(hub, &watch_args, &one, &err));
    failing_malloc_arm(1);
    weir_hub_acknowledge(one, event);
    assert_true(failing_malloc_disarm());
    weir_hub_acknowledge(one, event);
    weir_hub_unwatch(one);
    weir_hub_destroy(hub);
    weir_event_unref(event);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(routes),     cmocka_unit_test(keyvalue_events),
        cmocka_unit_test(row_events), cmocka_unit_test(connections),
        cmocka_unit_test(watches),    cmocka_unit_test(acknowledgements),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
