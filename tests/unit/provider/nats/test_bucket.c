// SPDX-License-Identifier: Apache-2.0
//
// A bucket as a source: what the contract suite does not ask because it is NATS' own. Deletions and
// purges, what a consumer keeps, gaps, servers that go.
#include "unit/test.h"

#include "base/clock.h"
#include "provider/nats/resource.h"
#include "unit/provider/nats/nats_rig.h"

#define NAME "guest/on-order"

static struct nats_rig *rig_of(void **state) {
    struct nats_rig *rig = *state;
    if (!rig->foreign) {
        skip();
    }
    return rig;
}

static void acknowledge_all(struct nats_rig *rig, struct weir_watch *watch, size_t from) {
    for (size_t i = from; i < test_sink_count(&rig->sink); i++) {
        weir_nats_provider.acknowledge(watch, rig->sink.events[i]);
    }
}

static void deletions_and_purges_are_told_apart(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NULL, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    test_foreign_kv_delete(rig->foreign, NATS_RIG_BUCKET, "a");
    const struct weir_event *event = test_sink_expect_deleted(&rig->sink, "a");
    assert_int_equal(test_extension(event, "operation").size, 0);
    nats_rig_put(rig, "a", "2");
    test_sink_expect_set(&rig->sink, "a", "2");
    test_foreign_kv_purge(rig->foreign, NATS_RIG_BUCKET, "a");
    event = test_sink_expect_deleted(&rig->sink, "a");
    assert_str_equal(test_extension(event, "operation"), "purge");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_REVISION), "4");
    struct weir_value got;
    assert_int_equal(
        weir_nats_provider.get(rig->resource, WEIR_STR("a"), &nats_rig_limits, &got, NULL),
        WEIR_NOT_FOUND);
}

static void keys_look_the_same_to_others(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    const char *keys[] = {"plain", "a/b/c", "a.b.c", "dash-and_under", "UPPER=lower", "x=", "=="};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_ok(weir_nats_provider.set(rig->resource, weir_str_of(keys[i]), WEIR_STR("v"),
                                         &nats_rig_limits, &err));
        json_t *value =
            test_foreign_call(rig->foreign, json_pack("{s:s, s:s, s:s}", "op", "kv_get", "bucket",
                                                      NATS_RIG_BUCKET, "key", keys[i]));
        assert_string_equal(json_string_value(value), "dg==");
        json_decref(value);
    }
}

static void a_prefix_that_ends_in_a_dot_is_the_servers_filter(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "shop.orders.*", NAME, false, &rig->sink);
    nats_rig_put(rig, "shop.other", "no");
    nats_rig_put(rig, "shop.orders.1", "yes");
    test_sink_expect_set(&rig->sink, "shop.orders.1", "yes");
    struct weir_error err; // which somebody else's client does not write
    assert_ok(weir_nats_provider.set(rig->resource, WEIR_STR("shop.orders."), WEIR_STR("v"),
                                     &nats_rig_limits, &err));
    test_sink_expect_set(&rig->sink, "shop.orders.", "v");
    acknowledge_all(rig, rig->watch, 0);
    // What does not match was never delivered.
    WAIT_UNTIL(nats_rig_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME, "num_ack_pending") == 0);
    assert_int_equal(nats_rig_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME, "num_pending"), 0);
}

static void what_is_not_watched_is_not_left_pending(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "orders/*", NAME, false, &rig->sink);
    nats_rig_put(rig, "other", "no");
    nats_rig_put(rig, "orders/1", "yes");
    test_sink_expect_set(&rig->sink, "orders/1", "yes");
    acknowledge_all(rig, rig->watch, 0);
    WAIT_UNTIL(nats_rig_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME, "num_ack_pending") == 0);
    assert_int_equal(test_sink_count(&rig->sink), 1);
}

static void what_happens_while_weir_is_away_is_told(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    acknowledge_all(rig, rig->watch, 0);
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    nats_rig_reopen(rig); // with the last acknowledgement
    nats_rig_put(rig, "b", "1");
    test_foreign_kv_delete(rig->foreign, NATS_RIG_BUCKET, "a");
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, true, &rig->sink);
    test_sink_expect_set(&rig->sink, "b", "1");
    test_sink_expect_deleted(&rig->sink, "a");
}

static void order_holds_over_what_was_not_acknowledged(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { CHANGES = 20 };
    char value[16], key[16];
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    for (int i = 0; i < CHANGES; i++) {
        snprintf(value, sizeof value, "%d", i);
        snprintf(key, sizeof key, "k%d", i);
        nats_rig_put(rig, key, value);
    }
    test_sink_await_count(&rig->sink, CHANGES);
    // Of some, in the middle, it is known that they are durable.
    for (size_t i = 5; i < 10; i++) {
        weir_nats_provider.acknowledge(rig->watch, rig->sink.events[i]);
    }
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    nats_rig_reopen(rig);
    nats_rig_put(rig, "k19", "newer");
    rig->sink.next = CHANGES;
    int64_t began_ns = weir_clock_monotonic_ns();
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, true, &rig->sink);
    for (int i = 0; i < CHANGES - 1; i++) { // the last one is overwritten
        if (i < 5 || i >= 10) {
            snprintf(value, sizeof value, "%d", i);
            snprintf(key, sizeof key, "k%d", i);
            test_sink_expect_set(&rig->sink, key, value);
        }
    }
    test_sink_expect_set(&rig->sink, "k19", "newer");
    // At once, and not when the server has waited for ack_wait.
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 15 * WEIR_NS_PER_S);
}

static void what_is_held_is_not_told_again(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct test_sink other;
    test_sink_init(&other);
    weir_nats_provider.close(rig->resource);
    nats_rig_option(rig, "ack_wait", "1s");
    nats_rig_open(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    struct weir_watch *marker = nats_rig_watch(rig->resource, "*", NULL, false, &other);
    // Several times ack_wait: shown by the clock of the server, which tells it again or not.
    int64_t until_ns = weir_clock_monotonic_ns() + 4 * WEIR_NS_PER_S;
    WAIT_UNTIL(weir_clock_monotonic_ns() > until_ns);
    assert_int_equal(nats_rig_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME, "num_ack_pending"), 1);
    assert_int_equal(nats_rig_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME, "num_redelivered"), 0);
    nats_rig_put(rig, "b", "1");
    test_sink_expect_set(&rig->sink, "b", "1");
    assert_int_equal(test_sink_count(&rig->sink), 2);
    weir_nats_provider.unwatch(marker);
    test_sink_finish(&other);
}

static void one_takes_over_when_the_other_dies(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { CHANGES = 60 };
    struct test_sink other;
    char key[16];
    test_sink_init(&other);
    weir_nats_provider.close(rig->resource);
    nats_rig_option(rig, "ack_wait", "2s");
    nats_rig_option(rig, "max_ack_pending", "8"); // so that each gets some
    nats_rig_open(rig);
    struct weir_resource *second = nats_rig_other(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    struct weir_watch *another = nats_rig_watch(second, "*", NAME, false, &other);
    size_t acknowledged[2] = {0};
    for (int i = 0; i < CHANGES; i++) {
        snprintf(key, sizeof key, "k%d", i);
        nats_rig_put(rig, key, "v");
        // Both acknowledge what they have; together they have each once.
        while (test_sink_count(&rig->sink) + test_sink_count(&other) < (size_t)i + 1) {
            nanosleep(&(struct timespec){.tv_nsec = WEIR_NS_PER_MS / 10}, NULL);
        }
        for (; acknowledged[0] < test_sink_count(&rig->sink); acknowledged[0]++) {
            weir_nats_provider.acknowledge(rig->watch, rig->sink.events[acknowledged[0]]);
        }
        for (; acknowledged[1] < test_sink_count(&other); acknowledged[1]++) {
            weir_nats_provider.acknowledge(another, other.events[acknowledged[1]]);
        }
    }
    assert_int_equal(test_sink_count(&rig->sink) + test_sink_count(&other), CHANGES);
    assert_true(test_sink_count(&rig->sink) > 0 && test_sink_count(&other) > 0);
    // The first one takes some and dies before they are durable.
    size_t had = test_sink_count(&rig->sink);
    for (int i = 0; test_sink_count(&rig->sink) < had + 2; i++) {
        snprintf(key, sizeof key, "last%d", i);
        nats_rig_put(rig, key, "v");
        WAIT_UNTIL(test_sink_count(&rig->sink) + test_sink_count(&other) > CHANGES + (size_t)i);
        for (; acknowledged[1] < test_sink_count(&other); acknowledged[1]++) {
            weir_nats_provider.acknowledge(another, other.events[acknowledged[1]]);
        }
    }
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    size_t others = test_sink_count(&other);
    test_sink_await_count(&other, others + 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(weir_str_equal(other.events[others + i]->fields.id,
                                   rig->sink.events[had + i]->fields.id));
    }
    weir_nats_provider.unwatch(another);
    weir_nats_provider.close(second);
    test_sink_finish(&other);
}

static void a_bucket_that_was_made_anew_is_a_gap(void **state) {
    struct nats_rig *rig = rig_of(state);
    const struct weir_event *gap;
    nats_rig_put(rig, "old", "1");
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    acknowledge_all(rig, rig->watch, 0);
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    nats_rig_reopen(rig);
    nats_rig_api(rig, "STREAM.DELETE.KV_" NATS_RIG_BUCKET, NULL);
    nats_rig_make_bucket(rig);
    nats_rig_put(rig, "b", "1");
    nats_rig_put(rig, "c", "1");
    nats_rig_put(rig, "b", "2");
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, true, &rig->sink);
    gap = nats_rig_expect_gap(&rig->sink);
    // Nothing before the gap is settled; a weir that dies now finds it again.
    nats_rig_put(rig, "d", "1");
    assert_false(nats_rig_has_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME));
    weir_nats_provider.unwatch(rig->watch);
    nats_rig_reopen(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, true, &rig->sink);
    gap = nats_rig_expect_gap(&rig->sink);
    weir_nats_provider.acknowledge(rig->watch, (struct weir_event *)(uintptr_t)gap);
    const char *keys[] = {"c", "b", "d"}, *values[] = {"1", "2", "1"};
    for (int i = 0; i < 3; i++) {
        const struct weir_event *event = test_sink_expect_set(&rig->sink, keys[i], values[i]);
        assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
    }
    nats_rig_put(rig, "e", "1");
    const struct weir_event *event = test_sink_expect_set(&rig->sink, "e", "1");
    assert_int_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT).size, 0);
}

static void a_bucket_that_is_made_anew_under_a_watch_is_a_gap(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    nats_rig_api(rig, "STREAM.DELETE.KV_" NATS_RIG_BUCKET, NULL);
    nats_rig_make_bucket(rig);
    nats_rig_put(rig, "b", "1");
    const struct weir_event *gap = nats_rig_expect_gap(&rig->sink);
    weir_nats_provider.acknowledge(rig->watch, (struct weir_event *)(uintptr_t)gap);
    test_sink_expect_set(&rig->sink, "b", "1");
    nats_rig_put(rig, "c", "1");
    test_sink_expect_set(&rig->sink, "c", "1");
}

static void a_consumer_that_is_removed_is_made_again_where_it_was(void **state) {
    struct nats_rig *rig = rig_of(state);
    const char *names[] = {NAME, NULL};
    for (int i = 0; i < 2; i++) {
        char key[16];
        rig->watch = nats_rig_watch(rig->resource, "*", names[i], false, &rig->sink);
        snprintf(key, sizeof key, "a%d", i);
        nats_rig_put(rig, key, "1");
        test_sink_expect_set(&rig->sink, key, "1");
        json_t *list =
            test_foreign_call(rig->foreign, json_pack("{s:s, s:s}", "op", "api", "subject",
                                                      "CONSUMER.NAMES.KV_" NATS_RIG_BUCKET));
        const json_t *consumers = json_object_get(list, "consumers");
        for (size_t at = 0; at < json_array_size(consumers); at++) {
            char subject[256];
            snprintf(subject, sizeof subject, "CONSUMER.DELETE.KV_" NATS_RIG_BUCKET ".%s",
                     json_string_value(json_array_get(consumers, at)));
            nats_rig_api(rig, subject, NULL);
        }
        json_decref(list);
        nats_rig_put(rig, key, "2");
        test_sink_expect_set(&rig->sink, key, "2"); // neither a gap nor the first one again
        weir_nats_provider.unwatch(rig->watch);
        rig->watch = NULL;
    }
}

static void another_key_under_the_same_name_begins_anew(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "a", NAME, false, &rig->sink);
    weir_nats_provider.unwatch(rig->watch);
    nats_rig_put(rig, "a", "1");
    nats_rig_put(rig, "b", "1");
    rig->watch = nats_rig_watch(rig->resource, "b", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "2");
    nats_rig_put(rig, "b", "2");
    test_sink_expect_set(&rig->sink, "b", "2");
    assert_int_equal(test_sink_count(&rig->sink), 1);
}

static void options_of_old_consumers_are_taken_over(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", "plain", false, &rig->sink);
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    weir_nats_provider.close(rig->resource);
    nats_rig_option(rig, "max_ack_pending", "17");
    nats_rig_open(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", "plain", true, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    json_t *info = test_foreign_call(rig->foreign,
                                     json_pack("{s:s, s:s}", "op", "api", "subject",
                                               "CONSUMER.INFO.KV_" NATS_RIG_BUCKET ".weir-plain"));
    const json_t *config = json_object_get(info, "config");
    assert_int_equal(json_integer_value(json_object_get(config, "max_ack_pending")), 17);
    json_decref(info);
}

static void a_value_of_8_mib_goes_there_and_back(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    size_t size = 8 << 20;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)(i * 2654435761U >> 13);
    }
    struct weir_value got;
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "before", "v");
    assert_ok(weir_nats_provider.set(rig->resource, WEIR_STR("large"),
                                     (struct weir_str){bytes, size}, &nats_rig_limits, &err));
    nats_rig_put(rig, "after", "v");
    test_sink_expect_set(&rig->sink, "before", "v");
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_true(weir_str_equal(event->fields.data.value.bytes, (struct weir_str){bytes, size}));
    test_sink_expect_set(&rig->sink, "after", "v");
    assert_ok(
        weir_nats_provider.get(rig->resource, WEIR_STR("large"), &nats_rig_limits, &got, &err));
    assert_int_equal(got.size, size);
    assert_memory_equal(got.data, bytes, size);
    free(got.data);
    free(bytes);
    // And one that the server does not take is an error that says so.
    size = 17 << 20;
    bytes = calloc(1, size);
    assert_non_null(bytes);
    assert_int_equal(weir_nats_provider.set(rig->resource, WEIR_STR("large"),
                                            (struct weir_str){bytes, size}, &nats_rig_limits, &err),
                     WEIR_LIMIT);
    assert_message_has(&err, "max_payload");
    free(bytes);
}

static void a_bucket_is_made_where_that_is_wanted(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_value got;
    nats_rig_api(rig, "STREAM.DELETE.KV_" NATS_RIG_BUCKET, NULL);
    assert_int_equal(
        weir_nats_provider.get(rig->resource, WEIR_STR("a"), &nats_rig_limits, &got, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "nats kv add");
    struct weir_watch *none = NULL;
    assert_int_equal(nats_rig_try_watch(rig->resource, "*", NAME, false, &rig->sink, &none, &err),
                     WEIR_UNAVAILABLE);
    assert_message_has(&err, "create: true");
    assert_int_equal(
        weir_nats_provider.set(rig->resource, WEIR_STR("a"), WEIR_STR("v"), &nats_rig_limits, &err),
        WEIR_UNAVAILABLE);
    nats_rig_option(rig, "create", "true");
    nats_rig_option(rig, "history", "5");
    nats_rig_reopen(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    assert_ok(weir_nats_provider.set(rig->resource, WEIR_STR("a"), WEIR_STR("v"), &nats_rig_limits,
                                     &err));
    test_sink_expect_set(&rig->sink, "a", "v");
    nats_rig_put(rig, "b", "1"); // others take it for a bucket
    test_sink_expect_set(&rig->sink, "b", "1");
}

int main(void) {
#define BUCKET_CASE(name) \
    cmocka_unit_test_setup_teardown(name, nats_rig_setup_bucket, nats_rig_teardown)
    const struct CMUnitTest tests[] = {
        BUCKET_CASE(deletions_and_purges_are_told_apart),
        BUCKET_CASE(keys_look_the_same_to_others),
        BUCKET_CASE(a_prefix_that_ends_in_a_dot_is_the_servers_filter),
        BUCKET_CASE(what_is_not_watched_is_not_left_pending),
        BUCKET_CASE(what_happens_while_weir_is_away_is_told),
        BUCKET_CASE(order_holds_over_what_was_not_acknowledged),
        BUCKET_CASE(what_is_held_is_not_told_again),
        BUCKET_CASE(one_takes_over_when_the_other_dies),
        BUCKET_CASE(a_bucket_that_was_made_anew_is_a_gap),
        BUCKET_CASE(a_bucket_that_is_made_anew_under_a_watch_is_a_gap),
        BUCKET_CASE(a_consumer_that_is_removed_is_made_again_where_it_was),
        BUCKET_CASE(another_key_under_the_same_name_begins_anew),
        BUCKET_CASE(options_of_old_consumers_are_taken_over),
        BUCKET_CASE(a_value_of_8_mib_goes_there_and_back),
        BUCKET_CASE(a_bucket_is_made_where_that_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
