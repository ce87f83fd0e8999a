// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out, against a real server: each allocation of weir's fails in turn. A call says
// so and works when it is made again; a watch loses nothing and goes on by itself.
#include "unit/test.h"

#include "provider/nats/resource.h"
#include "unit/failing_malloc.h"
#include "unit/provider/nats/nats_rig.h"

enum { ALLOCATIONS_MAX = 400 };

static struct nats_rig *rig_of(void **state) {
    struct nats_rig *rig = *state;
    if (!rig->foreign) {
        skip();
    }
    return rig;
}

// Calls it with each allocation failing in turn, until none fails.
static void fail_each(struct nats_rig *rig, weir_status (*call)(struct nats_rig *), size_t least) {
    size_t failures = 0;
    for (bool has_failed = true; has_failed;) {
        assert_in_range(failures, 0, ALLOCATIONS_MAX);
        failing_malloc_arm(failures + 1);
        weir_status status = call(rig);
        has_failed = failing_malloc_disarm();
        // Where the connection cannot be kept without memory, another one is made by the next call.
        assert_true(status == WEIR_OK ||
                    (has_failed && (status == WEIR_NO_MEMORY || status == WEIR_UNAVAILABLE)));
        failures += has_failed;
    }
    assert_true(failures >= least);
}

static weir_status open_and_close(struct nats_rig *rig) {
    struct weir_resource *resource = NULL;
    struct weir_resource_args args = {.name = "shop", .options = &rig->options};
    weir_status status = weir_nats_provider.open(&args, &resource, NULL);
    weir_nats_provider.close(resource);
    return status;
}

// Each with a connection of its own.
static weir_status with_resource(struct nats_rig *rig,
                                 weir_status (*call)(struct weir_resource *)) {
    struct weir_resource *resource = NULL;
    struct weir_resource_args args = {.name = "shop", .options = &rig->options};
    weir_status status = weir_nats_provider.open(&args, &resource, NULL);
    status = status == WEIR_OK ? call(resource) : status;
    weir_nats_provider.close(resource);
    return status;
}

static weir_status call_set(struct weir_resource *resource) {
    return weir_nats_provider.set(resource, WEIR_STR("k"), WEIR_STR("v"), &nats_rig_limits, NULL);
}

static weir_status set(struct nats_rig *rig) {
    return with_resource(rig, call_set);
}

static weir_status call_get(struct weir_resource *resource) {
    struct weir_value got = {0};
    weir_status status =
        weir_nats_provider.get(resource, WEIR_STR("there"), &nats_rig_limits, &got, NULL);
    free(got.data);
    return status;
}

static weir_status get(struct nats_rig *rig) {
    return with_resource(rig, call_get);
}

static bool count_key(void *context, struct weir_str key) {
    (void)key;
    ++*(size_t *)context;
    return true;
}

static weir_status call_list(struct weir_resource *resource) {
    size_t count = 0;
    const struct weir_pattern pattern = weir_pattern_of(WEIR_STR("*"));
    const struct weir_listing listing = {.each = count_key, .context = &count};
    weir_status status =
        weir_nats_provider.list(resource, &pattern, &nats_rig_limits, &listing, NULL);
    assert_true(status != WEIR_OK || count >= 1);
    return status;
}

static weir_status list(struct nats_rig *rig) {
    return with_resource(rig, call_list);
}

static weir_status call_publish(struct weir_resource *resource) {
    static unsigned number;
    char id[16];
    snprintf(id, sizeof id, "%u", ++number);
    const struct weir_attribute extension = {WEIR_STR(WEIR_EXTENSION_HOPS), WEIR_STR("1")};
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = weir_str_of(id),
        .subject = {true, WEIR_STR("published")},
        .data = {true, weir_payload_of(WEIR_STR("v"))},
        .extensions = {&extension, 1},
    };
    struct weir_event *event;
    weir_status status = weir_event_new(&fields, WEIR_STR("k"), &event, NULL);
    status = status == WEIR_OK ? weir_nats_provider.publish(resource, event, NULL) : status;
    weir_event_unref(event);
    return status;
}

static weir_status publish(struct nats_rig *rig) {
    return with_resource(rig, call_publish);
}

static struct test_sink *sink_now;

static weir_status call_watch(struct weir_resource *resource) {
    struct weir_watch *watch = NULL;
    weir_status status = nats_rig_try_watch(resource, "a/*", "name", false, sink_now, &watch, NULL);
    weir_nats_provider.unwatch(watch);
    return status;
}

static weir_status watch(struct nats_rig *rig) {
    sink_now = &rig->sink;
    return with_resource(rig, call_watch);
}

static void each_call_fails_and_works_again(void **state) {
    struct nats_rig *rig = rig_of(state);
    nats_rig_put(rig, "there", "v");
    fail_each(rig, open_and_close, 6);
    fail_each(rig, set, 10);
    fail_each(rig, get, 10);
    fail_each(rig, list, 10);
    fail_each(rig, publish, 10);
    fail_each(rig, watch, 10);
}

static void a_watch_loses_nothing(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    rig->watch = nats_rig_watch(rig->resource, "*", "name", false, &rig->sink);
    char key[16];
    size_t count = 0, failures = 0;
    for (size_t i = 1; i <= 40; i++) {
        weir_nats_provider.unwatch(rig->watch);
        rig->watch = NULL;
        for (size_t n = 0; n < 5; n++) { // while nobody watches
            snprintf(key, sizeof key, "k%zu.%zu", i, n);
            nats_rig_put(rig, key, "v");
        }
        failing_malloc_arm(i);
        while (nats_rig_try_watch(rig->resource, "*", "name", true, &rig->sink, &rig->watch,
                                  &err) != WEIR_OK) { // ends: one allocation fails
            assert_int_equal(err.status, WEIR_NO_MEMORY);
        }
        for (size_t n = 0; n < 5; n++) {
            snprintf(key, sizeof key, "k%zu.%zu", i, n);
            test_sink_expect_set(&rig->sink, key, "v");
        }
        failures += failing_malloc_disarm();
        for (; count < test_sink_count(&rig->sink); count++) {
            weir_nats_provider.acknowledge(rig->watch, rig->sink.events[count]);
        }
    }
    assert_true(failures >= 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_call_fails_and_works_again, nats_rig_setup_bucket,
                                        nats_rig_teardown),
        cmocka_unit_test_setup_teardown(a_watch_loses_nothing, nats_rig_setup_bucket,
                                        nats_rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
