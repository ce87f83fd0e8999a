// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the Redis provider: each allocation fails in turn. A call then says so
// and leaves nothing behind (the sanitizer looks), and a change that could not be told at once is
// told all the same.
#include "unit/test.h"

#include "provider/redis/redis.h"
#include "support/redis_rig.h"
#include "unit/failing_malloc.h"

enum { ALLOCATIONS_MAX = 2000 }; // of one step; more of them mean that the test never ends

// Static: a case that fails leaves it to the program's end.
static struct redis_rig rig;
static const struct weir_limits limits = {.value_bytes_max = 1 << 20, .until_ns = INT64_MAX};
static const char *const modes[] = {"mode=keys rescan=0", "mode=log", "mode=streams"};

static void opening_fails_cleanly(void **state) {
    (void)state;
    struct weir_error err;
    redis_rig_init(&rig, NULL);
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        // What sets the options of a test allocates, too, and the first of that may not fail.
        size_t number = 1;
        struct weir_resource *resource = NULL;
        for (;; number++) {
            assert_in_range(number, 1, ALLOCATIONS_MAX);
            struct weir_redis_options options = {.address = NULL};
            assert_ok(weir_options_init(&weir_redis_provider.options, &options, &err));
            options.address = strdup("127.0.0.1:1");
            options.mode = (int)i;
            const struct weir_resource_args args = {.name = "store", .options = &options};
            failing_malloc_arm(number);
            weir_status status = weir_redis_provider.open(&args, &resource, &err);
            bool has_failed = failing_malloc_disarm();
            weir_options_finish(&weir_redis_provider.options, &options);
            if (!has_failed) {
                assert_int_equal(status, WEIR_OK);
                break;
            }
            assert_int_equal(status, WEIR_NO_MEMORY);
            assert_null(resource);
        }
        assert_true(number > 10);
        weir_redis_provider.close(resource);
    }
    redis_rig_finish(&rig);
}

static bool count_key(void *context, struct weir_str key) {
    (void)key;
    ++*(size_t *)context;
    return true;
}

static weir_status say_new(void *context, const struct weir_str *current,
                           struct weir_value *ret_value, struct weir_error *err) {
    (void)context;
    (void)current;
    ret_value->data = strdup("new");
    ret_value->size = 3;
    return ret_value->data ? WEIR_OK : weir_fail_no_memory(err, "a value");
}

static weir_status do_all(struct weir_event *event, size_t *ret_keys, struct weir_error *err) {
    struct weir_value value;
    const struct weir_pattern all = weir_pattern_of(WEIR_STR("*"));
    const struct weir_listing listing = {.each = count_key, .context = ret_keys};
    const struct weir_change change = {.change = say_new};
    *ret_keys = 0;
    weir_status status = weir_redis_provider.get(rig.resource, WEIR_STR("a"), &limits, &value, err);
    if (status == WEIR_OK) {
        free(value.data);
        status = weir_redis_provider.list(rig.resource, &all, &limits, &listing, err);
    }
    if (status == WEIR_OK) {
        status = weir_redis_provider.set(rig.resource, WEIR_STR("a"), WEIR_STR("v"), &limits, err);
    }
    if (status == WEIR_OK) {
        status = weir_redis_provider.update(rig.resource, WEIR_STR("a"), &limits, &change, err);
    }
    if (status == WEIR_OK) {
        status = weir_redis_provider.publish(rig.resource, event, err);
    }
    return status;
}

static struct weir_event *chained_event(void) {
    struct weir_error err;
    struct weir_event *event;
    const struct weir_attribute extensions[] = {
        {WEIR_STR(WEIR_EXTENSION_CAUSATION), WEIR_STR("cause")},
        {WEIR_STR(WEIR_EXTENSION_HOPS), WEIR_STR("3")}};
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("1"),
        .subject = {.is_some = true, .value = WEIR_STR("b")},
        .data = {.is_some = true, .value = weir_payload_of(WEIR_STR("v"))},
        .extensions = {.items = extensions, .count = COUNT_OF(extensions)},
    };
    assert_ok(weir_event_new(&fields, WEIR_STR("b"), &event, &err));
    return event;
}

static void operations_fail_cleanly(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_event *event = chained_event();
    redis_rig_init(&rig, NULL);
    for (size_t i = 0; i < 2; i++) {
        redis_rig_do(&rig, "FLUSHALL");
        redis_rig_do(&rig, "MSET", "a", "1", "b", "2", "c", "3");
        redis_rig_open(&rig, modes[i]);
        size_t failures = 0;
        for (size_t number = 1;; number++) {
            assert_in_range(number, 1, ALLOCATIONS_MAX);
            size_t keys;
            failing_malloc_arm(number);
            weir_status status = do_all(event, &keys, &err);
            if (!failing_malloc_disarm()) {
                assert_int_equal(status, WEIR_OK);
                assert_int_equal(keys, 3);
                break;
            }
            assert_true(status == WEIR_NO_MEMORY || status == WEIR_OK); // a larger buffer to keep
            failures++;
        }
        assert_true(failures > 20);
        weir_redis_provider.close(rig.resource);
        rig.resource = NULL;
    }
    weir_event_unref(event);
    redis_rig_finish(&rig);
}

static void change(size_t mode, const char *key, const char *value) {
    if (mode == 0) {
        redis_rig_do(&rig, "SET", key, value);
    } else if (mode == 1) {
        redis_rig_do(&rig, "XADD", "weir:log", "*", "op", "set", "key", key, "value", value);
    } else {
        redis_rig_do(&rig, "XADD", key, "*", "data", value);
    }
}

static void beginning_to_watch_fails_cleanly(void **state) {
    (void)state;
    struct weir_error err;
    const char *patterns[] = {"k", "*"};
    redis_rig_init(&rig, NULL);
    for (size_t mode = 0; mode < COUNT_OF(modes); mode++) {
        size_t failures = 0;
        redis_rig_do(&rig, "FLUSHALL");
        redis_rig_open(&rig, modes[mode]);
        change(mode, "k", "before");
        change(mode, "other", "before");
        for (size_t number = 1;; number++) {
            assert_in_range(number, 1, ALLOCATIONS_MAX);
            struct weir_watch *one = NULL;
            const struct redis_rig_watch wanted = {.key = patterns[number % 2], .name = "n"};
            failing_malloc_arm(number / 2 + 1);
            weir_status status = redis_rig_try_watch(&rig, &wanted, &one, &err);
            bool has_failed = failing_malloc_disarm();
            weir_redis_provider.unwatch(one);
            if (!has_failed && number % 2) {
                assert_int_equal(status, WEIR_OK);
                break;
            }
            assert_true(status == WEIR_NO_MEMORY || status == WEIR_UNAVAILABLE ||
                        status == WEIR_OK);
            failures += status != WEIR_OK;
            if (number % 20 == 0) {
                redis_rig_reopen(&rig); // the first one connects
            }
        }
        assert_true(failures > 5);
        weir_redis_provider.close(rig.resource);
        rig.resource = NULL;
    }
    redis_rig_finish(&rig);
}

static void a_change_is_told_all_the_same(void **state) {
    (void)state;
    redis_rig_init(&rig, NULL);
    for (size_t mode = 0; mode < COUNT_OF(modes); mode++) {
        redis_rig_do(&rig, "FLUSHALL");
        redis_rig_open(&rig, modes[mode]);
        struct weir_watch *one =
            redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "*", .name = "n"});
        size_t failures = 0;
        for (size_t number = 1; number <= 60; number++) {
            char key[16], value[16];
            snprintf(key, sizeof key, "key %zu", number % 3);
            snprintf(value, sizeof value, "%zu", number);
            // Who writes allocates, too: it is done while the hub's thread stands still.
            test_sink_gate(&rig.sink, true);
            change(mode, "gate", value);
            test_sink_await_gated(&rig.sink);
            change(mode, key, value);
            failing_malloc_arm(number);
            test_sink_gate(&rig.sink, false);
            const struct weir_event *event;
            do { // some may be told twice; none is left out
                event = test_sink_next(&rig.sink);
            } while (!weir_str_equal(event->key, weir_str_of(key)) ||
                     !weir_str_equal(event->fields.data.value.bytes, weir_str_of(value)));
            failures += failing_malloc_disarm();
        }
        assert_true(failures > 3);
        weir_redis_provider.unwatch(one);
        weir_redis_provider.close(rig.resource);
        rig.resource = NULL;
    }
    redis_rig_finish(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_fails_cleanly),
        cmocka_unit_test(operations_fail_cleanly),
        cmocka_unit_test(beginning_to_watch_fails_cleanly),
        cmocka_unit_test(a_change_is_told_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
