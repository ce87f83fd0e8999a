// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out while posts become events: each allocation fails in turn. Nothing of an
// outbox is lost or told twice by that; a notification is told, or that it was dropped.
#include "support/postgres_rig.h"
#include "unit/failing_malloc.h"
#include "unit/test.h"

#include "provider/postgres/post.h"
#include "provider/postgres/postgres.h"
#include "provider/subject.h"

#include <stdlib.h>

enum { ALLOCATIONS_MAX = 60 };

// ---- events of posts ----

static weir_status open_post(void) {
    static const char text[] =
        "{\"specversion\": \"1.0\", \"id\": \"1\", \"source\": \"/s\", \"type\": \"t\", "
        "\"subject\": \"%ff\", \"subjectencoding\": \"percent\", \"data_base64\": \"AP8=\"}";
    struct weir_subject_buffer subject;
    struct weir_event *event = NULL;
    struct weir_str data;
    json_t *attributes;
    bool has_data;
    weir_status status = weir_pg_post_open(weir_str_of(text), &attributes, &has_data, &data, NULL);
    if (status != WEIR_OK) {
        assert_null(attributes);
        return status;
    }
    assert_true(has_data);
    struct weir_pg_post post = {
        .source = WEIR_STR("/db"),
        .key = weir_pg_post_key(attributes, &subject),
        .revision = WEIR_STR("7"),
        .is_revision_kept = true,
        .attributes = attributes,
        .has_data = true,
        .data = data,
        .event_bytes_max = 100,
    };
    status = weir_pg_post_event(&post, &event, NULL);
    if (status == WEIR_OK) {
        assert_str_equal(event->key, "\xff");
        assert_int_equal(event->fields.data.value.kind, WEIR_PAYLOAD_BINARY);
        assert_int_equal(event->fields.data.value.bytes.size, 2);
        assert_str_equal(event->fields.id, "1");
        assert_str_equal(event->fields.source, "/s");
    }
    weir_event_unref(event);
    json_decref(attributes);
    free((char *)(uintptr_t)data.data);
    return status;
}

static void posts(void **state) {
    (void)state;
    size_t failures = 0;
    for (bool has_failed = true; has_failed;) {
        assert_in_range(failures, 0, ALLOCATIONS_MAX);
        failing_malloc_arm(failures + 1);
        weir_status status = open_post();
        has_failed = failing_malloc_disarm();
        assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
        failures += has_failed;
    }
    assert_in_range(failures, 3, ALLOCATIONS_MAX);
}

static void what_is_no_cloud_event_is_left_alone(void **state) {
    (void)state;
    const char *texts[] = {"",
                           "text",
                           "{",
                           "[]",
                           "{\"specversion\": 1}",
                           "{\"id\": \"1\"}",
                           "{\"specversion\": \"1.0\", \"data_base64\": \"!\"}",
                           "{\"specversion\": \"1.0\", \"data_base64\": 7}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct weir_error err;
        struct weir_str data;
        json_t *attributes;
        bool has_data;
        assert_ok(weir_pg_post_open(weir_str_of(texts[i]), &attributes, &has_data, &data, &err));
        assert_null(attributes);
        assert_null(data.data);
    }
}

// ---- an outbox ----

static void no_row_is_lost_or_told_twice(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, "CREATE TABLE box (id int, xid xid8 NOT NULL DEFAULT "
                          "pg_current_xact_id(), payload text, attributes jsonb, PRIMARY KEY "
                          "(xid, id))");
    postgres_rig_set(&rig->options.outbox, "box");
    postgres_rig_set(&rig->options.payload_column, "payload");
    postgres_rig_set(&rig->options.attributes_column, "attributes");
    rig->options.poll_ns = 10 * WEIR_NS_PER_MS;
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, NULL, "*");
    postgres_sub_begin(&sub);
    bool has_failed = true;
    int number = 0;
    for (; has_failed; number++) {
        char sql[160], wanted[16];
        assert_in_range(number, 0, ALLOCATIONS_MAX);
        test_sink_set_room(&sub.sink, 0, WEIR_AGAIN);
        size_t offers = test_sink_offers(&sub.sink);
        snprintf(sql, sizeof sql,
                 "INSERT INTO box (id, payload, attributes) VALUES (%d, '%d', "
                 "'{\"type\": \"t\"}'), (%d, 'second', NULL)",
                 2 * number, number, 2 * number + 1);
        postgres_rig_sql(rig, sql);
        test_sink_await_offers(&sub.sink, offers + 1);
        // It is read again when there is room; then memory runs out.
        failing_malloc_arm((size_t)number + 1);
        test_sink_set_room(&sub.sink, SIZE_MAX, WEIR_AGAIN);
        rig->resource->provider->resume(sub.watch);
        test_sink_await_count(&sub.sink, 2 * (size_t)number + 2);
        has_failed = failing_malloc_disarm();
        snprintf(wanted, sizeof wanted, "%d", number);
        assert_str_equal(test_sink_next(&sub.sink)->fields.data.value.bytes, wanted);
        assert_str_equal(test_sink_next(&sub.sink)->fields.data.value.bytes, "second");
    }
    assert_in_range(number, 5, ALLOCATIONS_MAX);
    assert_int_equal(test_sink_count(&sub.sink), 2 * (size_t)number);
    postgres_sub_finish(&sub);
}

// ---- a channel ----

static void a_notification_is_told_or_said_to_be_dropped(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_set(&rig->options.channels, "c");
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, NULL, "*");
    postgres_sub_begin(&sub);
    bool has_failed = true;
    int number = 0;
    for (; has_failed; number++) {
        assert_in_range(number, 0, ALLOCATIONS_MAX);
        test_sink_gate(&sub.sink, true);
        postgres_rig_sql(rig, "NOTIFY c, 'first'");
        test_sink_await_gated(&sub.sink);
        postgres_rig_sql(rig, "NOTIFY c, 'second'");
        failing_malloc_arm((size_t)number + 1);
        test_sink_gate(&sub.sink, false);
        assert_str_equal(test_sink_next(&sub.sink)->fields.data.value.bytes, "first");
        const struct weir_event *event = test_sink_next(&sub.sink);
        has_failed = failing_malloc_disarm();
        if (!event->is_gap) {
            assert_str_equal(event->fields.data.value.bytes, "second");
        } else {
            assert_true(has_failed);
        }
    }
    assert_in_range(number, 4, ALLOCATIONS_MAX);
    postgres_sub_finish(&sub);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(posts),
        cmocka_unit_test(what_is_no_cloud_event_is_left_alone),
        CASE(no_row_is_lost_or_told_twice),
        CASE(a_notification_is_told_or_said_to_be_dropped),
    };
    return cmocka_run_group_tests_name("PostgreSQL, memory that runs out", cases, NULL, NULL);
}
