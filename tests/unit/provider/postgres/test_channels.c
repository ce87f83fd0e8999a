// SPDX-License-Identifier: Apache-2.0
//
// Channels: notifications as events, and what is told of those that were missed.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "provider/postgres/postgres.h"

#include <stdlib.h>

static void open_channels(struct postgres_rig *rig, const char *channels) {
    postgres_rig_set(&rig->options.channels, channels);
    postgres_rig_open(rig);
}

static void notifications_are_events(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub all, one;
    struct weir_error err;
    open_channels(rig, "orders, Odd \"name");
    postgres_sub_init(&all, rig, "all", "*");
    postgres_sub_init(&one, rig, "one", "orders");
    postgres_sub_begin(&all);
    postgres_sub_begin(&one);
    postgres_rig_sql(rig, "SELECT pg_notify('orders', 'a text')");
    postgres_rig_sql(rig, "SELECT pg_notify('nobody', 'listens')");
    postgres_rig_sql(rig, "SELECT pg_notify('Odd \"name', '')");
    postgres_rig_sql(rig, "NOTIFY orders, '{\"specversion\": \"1.0\", \"id\": \"1\", \"source\": "
                          "\"/shop\", \"type\": \"com.example.paid\", \"subject\": \"orders/7\", "
                          "\"datacontenttype\": \"application/json\", \"data\": {\"n\":1}}'");
    postgres_rig_sql(rig, "NOTIFY orders, '{\"specversion\": \"9\"}'"); // it is no such event
    const struct weir_event *event = postgres_sub_expect(&all, "orders", "a text");
    assert_str_equal(event->fields.ty, WEIR_TYPE_MESSAGE);
    assert_str_equal(event->fields.source, "/db");
    assert_true(event->fields.time.is_some);
    assert_ok(weir_event_fields_check(&event->fields, &err));
    event = postgres_sub_expect(&all, "Odd \"name", "");
    assert_false(event->fields.data.is_some);
    event = postgres_sub_expect(&all, "orders/7", "{\"n\":1}");
    assert_str_equal(event->fields.ty, "com.example.paid");
    assert_str_equal(event->fields.source, "/shop");
    assert_str_equal(event->fields.id, "1");
    test_sink_next(&all.sink);
    postgres_sub_expect(&one, "orders", "a text");
    assert_int_equal(test_sink_count(&all.sink), 4);
    postgres_sub_finish(&all);
    postgres_sub_finish(&one);
}

static void what_was_missed_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_channels(rig, "c");
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    for (int i = 0; i < 5; i++) {
        postgres_rig_sql(rig, "NOTIFY c, 'before'");
        postgres_sub_expect(&sub, "c", "before");
        postgres_rig_sql(rig, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                              "application_name = 'weir'");
        postgres_sub_expect_gap(&sub, "the connection was lost");
    }
    test_server_restart(rig->server);
    postgres_sub_expect_gap(&sub, "the connection was lost");
    postgres_sub_finish(&sub);
}

static void a_sink_without_room_drops_and_says_so(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub slow, quick;
    enum { HELD = 1024, SENT = 3000 };
    open_channels(rig, "c");
    postgres_sub_init(&slow, rig, "slow", "*");
    postgres_sub_init(&quick, rig, "quick", "*");
    postgres_sub_begin(&slow);
    postgres_sub_begin(&quick);
    test_sink_set_room(&slow.sink, 0, WEIR_AGAIN);
    postgres_rig_sql(rig, "SELECT pg_notify('c', g::text) FROM generate_series(1, 3000) g");
    test_sink_await_count(&quick.sink, SENT);
    test_sink_set_room(&slow.sink, SIZE_MAX, WEIR_AGAIN);
    rig->resource->provider->resume(slow.watch);
    for (int i = 1; i <= HELD; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        postgres_sub_expect(&slow, "c", number);
    }
    postgres_sub_expect_gap(&slow, "1976 notifications were dropped");
    postgres_rig_sql(rig, "NOTIFY c, 'again'");
    postgres_sub_expect(&slow, "c", "again");
    postgres_sub_finish(&slow);
    postgres_sub_finish(&quick);
}

static void what_is_too_large_cannot_be_published(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    static char large[8000];
    struct weir_error err;
    struct weir_event *event;
    open_channels(rig, "c,d");
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    for (size_t size = sizeof large; size >= 7000; size -= 1000) {
        memset(large, 'x', size);
        const struct weir_event_fields fields = {
            .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
            .ty = WEIR_STR("t"),
            .source = WEIR_STR("/s"),
            .id = WEIR_STR("1"),
            .subject = {true, WEIR_STR("k")},
            .data = {true, {WEIR_PAYLOAD_TEXT, {large, size}}},
        };
        assert_ok(weir_event_new(&fields, WEIR_STR("k"), &event, &err));
        if (size > 7000) {
            assert_int_equal(weir_postgres_provider.publish(rig->resource, event, &err),
                             WEIR_LIMIT);
            assert_message_has(&err, "at most 7999");
        } else {
            assert_ok(weir_postgres_provider.publish(rig->resource, event, &err));
        }
        weir_event_unref(event);
    }
    assert_int_equal(test_sink_next(&sub.sink)->fields.data.value.bytes.size, 7000);
    postgres_sub_finish(&sub);
}

static void a_server_that_stands_still_is_noticed(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_health health;
    rig->options.timeout_ns = 200 * WEIR_NS_PER_MS;
    open_channels(rig, "c");
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    test_server_pause(rig->server);
    do {
        rig->resource->provider->health(rig->resource, &health);
    } while (health.is_connected);
    test_server_continue(rig->server);
    postgres_sub_expect_gap(&sub, "the connection was lost");
    postgres_rig_sql(rig, "NOTIFY c, 'again'");
    postgres_sub_expect(&sub, "c", "again");
    postgres_sub_finish(&sub);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(notifications_are_events),
        CASE(what_was_missed_is_told),
        CASE(a_sink_without_room_drops_and_says_so),
        CASE(what_is_too_large_cannot_be_published),
        CASE(a_server_that_stands_still_is_noticed),
    };
    return cmocka_run_group_tests_name("PostgreSQL, channels", cases, NULL, NULL);
}
