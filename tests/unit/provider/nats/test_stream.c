// SPDX-License-Identifier: Apache-2.0
//
// A stream and plain subjects as sources: what messages are as events, positions, gaps.
#include "unit/test.h"

#include "base/clock.h"
#include "base/progress.h"
#include "provider/nats/resource.h"
#include "unit/provider/nats/nats_rig.h"

#define NAME "on-message"

static struct nats_rig *rig_of(void **state) {
    struct nats_rig *rig = *state;
    if (!rig->foreign) {
        skip();
    }
    return rig;
}

static void acknowledge(struct weir_watch *watch, const struct weir_event *event) {
    weir_nats_provider.acknowledge(watch, (struct weir_event *)(uintptr_t)event);
}

static void stop(struct nats_rig *rig) {
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    nats_rig_reopen(rig);
}

static void go_on(struct nats_rig *rig, const char *key) {
    rig->watch = nats_rig_watch(rig->resource, key, NAME, true, &rig->sink);
}

static void publish_with(struct nats_rig *rig, const char *subject, const char *payload,
                         json_t *headers) {
    json_decref(test_foreign_call(rig->foreign, json_pack("{s:s, s:s, s:o, s:o}", "op", "publish",
                                                          "subject", subject, "payload",
                                                          test_json_bytes(weir_str_of(payload)),
                                                          "headers", headers)));
}

static void a_message_of_somebody_elses_is_an_event(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    publish_with(rig, "shop.orders.new", "{}",
                 json_pack("{s:s, s:s, s:s, s:s}", "Tenant", "acme", "X-Other", "no",
                           "content-type", "application/json", "id", "no"));
    const struct weir_event *event = nats_rig_expect_message(&rig->sink, "orders.new", "{}");
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_str_equal(event->fields.ty, WEIR_TYPE_MESSAGE);
    assert_str_equal(event->fields.source, "/shop");
    assert_str_equal(event->fields.id, "orders.new@1");
    assert_str_equal(event->fields.subject.value, "orders.new");
    assert_str_equal(event->fields.datacontenttype.value, "application/json");
    assert_str_equal(test_extension(event, "tenant"), "acme");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_REVISION), "1");
    assert_true(event->fields.time.is_some);
    // Of a header that an attribute has, and of one whose name no extension may have, nothing.
    assert_int_equal(event->fields.extensions.count, 2);
}

static void a_cloud_event_of_somebody_elses_is_told_as_it_is(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    publish_with(rig, "shop.x", "data",
                 json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "ce-specversion", "1.0", "ce-id", "7",
                           "ce-source", "/theirs", "CE-Type", "com.example.paid", "ce-subject",
                           "Euro%20%E2%82%AC", "ce-tenant", "a"));
    const struct weir_event *event =
        nats_rig_expect_message(&rig->sink, "Euro \xe2\x82\xac", "data");
    assert_str_equal(event->fields.id, "7");
    assert_str_equal(event->fields.source, "/theirs");
    assert_str_equal(event->fields.ty, "com.example.paid");
    assert_str_equal(test_extension(event, "tenant"), "a");
    // One that is none is a message.
    publish_with(rig, "shop.y", "data",
                 json_pack("{s:s, s:s, s:s}", "ce-specversion", "1.0", "ce-id", "7", "ce-source",
                           "/theirs"));
    event = nats_rig_expect_message(&rig->sink, "y", "data");
    assert_str_equal(event->fields.ty, WEIR_TYPE_MESSAGE);
}

static struct weir_event *new_event(const char *id, const char *subject, const char *data) {
    struct weir_error err;
    struct weir_event *event;
    const struct weir_attribute extension = {WEIR_STR("tenant"), WEIR_STR("a b\xc3\xa4%")};
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("com.example.paid"),
        .source = WEIR_STR("/elsewhere?a=b c"),
        .id = weir_str_of(id),
        .subject = {true, weir_str_of(subject)},
        .data = {true, weir_payload_of(weir_str_of(data))},
        .datacontenttype = {true, WEIR_STR("text/plain; charset=utf-8")},
        .dataschema = {true, WEIR_STR("http://example.com/schema")},
        .time = {true, WEIR_STR("2026-01-31T12:34:56Z")},
        .extensions = {&extension, 1},
    };
    assert_ok(weir_event_new(&fields, weir_str_of(subject), &event, &err));
    return event;
}

static void what_weir_publishes_is_told_as_it_was(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    struct weir_event *event = new_event("1", "orders/1", "text");
    for (int i = 0; i < 3; i++) { // the same event, again and again
        assert_ok(weir_nats_provider.publish(rig->resource, event, &err));
    }
    const struct weir_event *told = nats_rig_expect_message(&rig->sink, "orders/1", "text");
    const struct weir_event_fields *was = &event->fields, *is = &told->fields;
    assert_true(weir_str_equal(was->ty, is->ty));
    assert_true(weir_str_equal(was->source, is->source));
    assert_true(weir_str_equal(was->id, is->id));
    assert_true(weir_str_equal(was->time.value, is->time.value));
    assert_true(weir_str_equal(was->dataschema.value, is->dataschema.value));
    assert_true(weir_str_equal(was->datacontenttype.value, is->datacontenttype.value));
    assert_int_equal(is->extensions.count, 1);
    assert_str_equal(test_extension(told, "tenant"), "a b\xc3\xa4%");
    weir_event_unref(event);
    event = new_event("2", "orders/1", "");
    assert_ok(weir_nats_provider.publish(rig->resource, event, &err));
    told = nats_rig_expect_message(&rig->sink, "orders/1", "");
    assert_true(told->fields.data.is_some);
    assert_str_equal(told->fields.id, "2"); // and the first one once
    weir_event_unref(event);
}

static void keys_and_values_are_unsupported(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_value got;
    assert_int_equal(
        weir_nats_provider.get(rig->resource, WEIR_STR("a"), &nats_rig_limits, &got, &err),
        WEIR_UNSUPPORTED);
    assert_message_has(&err, "stream");
    assert_int_equal(
        weir_nats_provider.remove(rig->resource, WEIR_STR("a"), &nats_rig_limits, &err),
        WEIR_UNSUPPORTED);
}

static void every_message_is_told_in_order_over_stops(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { ROUNDS = 8, MESSAGES = 40 };
    char payload[16];
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MESSAGES; i++) {
            snprintf(payload, sizeof payload, "%d", round * MESSAGES + i);
            nats_rig_publish(rig, "shop.k", payload);
        }
        // Of what was taken, some is durable; the rest is told again, before what is new.
        size_t count = test_sink_count(&rig->sink);
        for (size_t i = 0; i < count; i += 2) {
            acknowledge(rig->watch, rig->sink.events[i]);
        }
        stop(rig);
        go_on(rig, "*");
    }
    int last = -1;
    bool is_told[ROUNDS * MESSAGES] = {false};
    size_t left = ROUNDS * MESSAGES;
    while (left > 0) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        snprintf(payload, sizeof payload, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
        int number = atoi(payload);
        assert_in_range(number, 0, ROUNDS * MESSAGES - 1);
        // Forward, but where it is told again; and nothing is passed over for the first time.
        assert_true(is_told[number] || number == 0 || is_told[number - 1]);
        last = number > last ? number : last;
        left -= !is_told[number];
        is_told[number] = true;
    }
    assert_int_equal(last, ROUNDS * MESSAGES - 1);
}

static void a_watch_that_is_far_behind_says_how_far(void **state) {
    enum { MESSAGES = 1500 };
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    stop(rig);
    for (int i = 0; i < MESSAGES; i++) {
        nats_rig_publish(rig, "shop.k", "v");
    }
    static struct weir_meter meter;
    struct weir_progress progress;
    const struct weir_resume resume = {0};
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("*")),
        .sink = test_sink_of(&rig->sink),
        .name = NAME,
        .event_bytes_max = NATS_RIG_EVENT_BYTES_MAX,
        .resume = &resume,
        .meter = &meter,
    };
    test_sink_set_room(&rig->sink, 1, WEIR_AGAIN);
    assert_ok(weir_nats_provider.watch(rig->resource, &args, &rig->watch, &err));
    WAIT_UNTIL((weir_meter_read(&meter, &progress), progress.total > 0));
    assert_string_equal(progress.what, "catching up");
    assert_in_range(progress.done, 1, MESSAGES);
    assert_in_range(progress.total, MESSAGES - 1, MESSAGES + 1);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_nats_provider.resume(rig->watch);
    for (int i = 0; i < MESSAGES; i++) {
        acknowledge(rig->watch, nats_rig_expect_message(&rig->sink, "k", "v"));
    }
    WAIT_UNTIL((weir_meter_read(&meter, &progress), !progress.what));
}

static void what_is_refused_already_does_not_come_first(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { MESSAGES = 5 };
    char payload[16], consumer[WEIR_NATS_CONSUMER_NAME_BYTES], subject[256];
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    for (int i = 1; i <= MESSAGES; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        nats_rig_publish(rig, "shop.k", payload);
        nats_rig_expect_message(&rig->sink, "k", payload);
    }
    stop(rig);
    WAIT_UNTIL(nats_rig_consumer(rig, NATS_RIG_STREAM, NAME, "num_waiting") == 0);
    // As a weir does that then loses its connection: the fourth is on the server's list.
    weir_nats_consumer_name(NAME, consumer);
    snprintf(subject, sizeof subject, "$JS.ACK." NATS_RIG_STREAM ".%s.1.4.%d.0.0", consumer,
             MESSAGES);
    json_decref(test_foreign_call(rig->foreign, json_pack("{s:s, s:s, s:o}", "op", "publish_core",
                                                          "subject", subject, "payload",
                                                          test_json_bytes(WEIR_STR("-NAK")))));
    go_on(rig, "*");
    for (int i = 1; i <= MESSAGES; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        nats_rig_expect_message(&rig->sink, "k", payload);
    }
}

static void limit_stream(struct nats_rig *rig, int messages) {
    nats_rig_api(rig, "STREAM.UPDATE." NATS_RIG_STREAM,
                 json_pack("{s:s, s:[s], s:i}", "name", NATS_RIG_STREAM, "subjects",
                           NATS_RIG_PREFIX ">", "max_msgs", messages));
}

static void a_stream_that_was_trimmed_is_a_gap(void **state) {
    struct nats_rig *rig = rig_of(state);
    const char *patterns[] = {"*", "orders.*", "orders.k"};
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        char payload[16];
        limit_stream(rig, 100);
        rig->watch = nats_rig_watch(rig->resource, patterns[i], NAME, false, &rig->sink);
        nats_rig_publish(rig, "shop.orders.k", "first");
        const struct weir_event *event = nats_rig_expect_message(&rig->sink, "orders.k", "first");
        acknowledge(rig->watch, event);
        stop(rig);
        limit_stream(rig, 3);
        for (int n = 0; n < 6; n++) {
            snprintf(payload, sizeof payload, "%d", n);
            nats_rig_publish(rig, "shop.orders.k", payload);
        }
        go_on(rig, patterns[i]);
        event = nats_rig_expect_gap(&rig->sink);
        assert_true(event->fields.data.value.bytes.size > 0);
        stop(rig); // the gap is not settled: it is told again
        go_on(rig, patterns[i]);
        acknowledge(rig->watch, nats_rig_expect_gap(&rig->sink));
        for (int n = 3; n < 6; n++) {
            snprintf(payload, sizeof payload, "%d", n);
            acknowledge(rig->watch, nats_rig_expect_message(&rig->sink, "orders.k", payload));
        }
        stop(rig);
        nats_rig_publish(rig, "shop.orders.k", "next");
        go_on(rig, patterns[i]); // and that is over
        acknowledge(rig->watch, nats_rig_expect_message(&rig->sink, "orders.k", "next"));
        stop(rig);
        nats_rig_api(rig, "CONSUMER.DELETE." NATS_RIG_STREAM ".weir-" NAME, NULL);
    }
}

static void a_stream_that_was_not_trimmed_is_none(void **state) {
    struct nats_rig *rig = rig_of(state);
    // What was let go of came before what was told last.
    limit_stream(rig, 2);
    rig->watch = nats_rig_watch(rig->resource, "rare", NAME, false, &rig->sink);
    for (int n = 0; n < 20; n++) {
        nats_rig_publish(rig, "shop.often", "x");
    }
    nats_rig_publish(rig, "shop.rare", "1");
    acknowledge(rig->watch, nats_rig_expect_message(&rig->sink, "rare", "1"));
    WAIT_UNTIL(nats_rig_consumer(rig, NATS_RIG_STREAM, NAME, "num_ack_pending") == 0);
    stop(rig);
    go_on(rig, "rare");
    nats_rig_publish(rig, "shop.rare", "2");
    nats_rig_expect_message(&rig->sink, "rare", "2");
}

static void a_consumer_that_is_gone_is_a_gap_and_everything_again(void **state) {
    struct nats_rig *rig = rig_of(state);
    nats_rig_publish(rig, "shop.a", "0");
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_publish(rig, "shop.a", "1");
    acknowledge(rig->watch, nats_rig_expect_message(&rig->sink, "a", "1"));
    stop(rig);
    nats_rig_api(rig, "CONSUMER.DELETE." NATS_RIG_STREAM ".weir-" NAME, NULL);
    nats_rig_publish(rig, "shop.a", "2");
    go_on(rig, "*");
    acknowledge(rig->watch, nats_rig_expect_gap(&rig->sink));
    const char *payloads[] = {"0", "1", "2"};
    for (int i = 0; i < 3; i++) {
        nats_rig_expect_message(&rig->sink, "a", payloads[i]);
    }
}

static void a_sink_that_has_no_room_for_the_gap_gets_it_later(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    stop(rig);
    nats_rig_api(rig, "CONSUMER.DELETE." NATS_RIG_STREAM ".weir-" NAME, NULL);
    nats_rig_publish(rig, "shop.a", "1");
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    go_on(rig, "*");
    test_sink_await_offers(&rig->sink, 1);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_nats_provider.resume(rig->watch);
    acknowledge(rig->watch, nats_rig_expect_gap(&rig->sink));
    nats_rig_expect_message(&rig->sink, "a", "1");
}

// ---- plain subjects

static void use_subjects(struct nats_rig *rig) {
    weir_nats_provider.close(rig->resource);
    free(rig->options.stream);
    rig->options.stream = NULL;
    nats_rig_option(rig, "mode", "subject");
    free(rig->options.prefix);
    rig->options.prefix = NULL;
    nats_rig_option(rig, "prefix", "plain.");
    nats_rig_open(rig);
}

static void send_plain(struct nats_rig *rig, const char *subject, const char *payload) {
    json_decref(test_foreign_call(rig->foreign, json_pack("{s:s, s:s, s:o}", "op", "publish_core",
                                                          "subject", subject, "payload",
                                                          test_json_bytes(weir_str_of(payload)))));
}

static void plain_subjects_promise_little(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_promise promise;
    const struct weir_pattern pattern = weir_pattern_of(WEIR_STR("*"));
    use_subjects(rig);
    assert_ok(weir_nats_provider.promise(rig->resource, &pattern, &promise, &err));
    assert_int_equal(promise.strength, WEIR_LATEST_VALUE);
    assert_int_equal(promise.capabilities, 0);
    rig->watch = nats_rig_watch(rig->resource, "a.*", NULL, false, &rig->sink);
    send_plain(rig, "plain.b", "no");
    send_plain(rig, "plain.a.x", "1");
    const struct weir_event *event = nats_rig_expect_message(&rig->sink, "a.x", "1");
    assert_int_equal(event->position.size, 0);
    assert_str_equal(event->fields.ty, WEIR_TYPE_MESSAGE);
}

static void what_a_plain_subject_drops_is_a_gap(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { MESSAGES = WEIR_NATS_SUBJECT_HELD_MAX + 50 };
    use_subjects(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NULL, false, &rig->sink);
    struct test_sink marker;
    test_sink_init(&marker);
    struct weir_watch *last = nats_rig_watch(rig->resource, "last", NULL, false, &marker);
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    char payload[16];
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        send_plain(rig, "plain.a", payload);
    }
    send_plain(rig, "plain.last", "x");
    nats_rig_expect_message(&marker, "last", "x");
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_nats_provider.resume(rig->watch);
    for (int i = 0; i < WEIR_NATS_SUBJECT_HELD_MAX; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        nats_rig_expect_message(&rig->sink, "a", payload);
    }
    const struct weir_event *gap = nats_rig_expect_gap(&rig->sink);
    assert_true(memmem(gap->fields.data.value.bytes.data, gap->fields.data.value.bytes.size,
                       "51 messages", 11));
    send_plain(rig, "plain.a", "next");
    nats_rig_expect_message(&rig->sink, "a", "next");
    weir_nats_provider.unwatch(last);
    test_sink_finish(&marker);
}

static void a_connection_that_was_lost_is_a_gap_of_a_plain_subject(void **state) {
    struct nats_rig *rig = rig_of(state);
    use_subjects(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NULL, false, &rig->sink);
    test_server_kill(rig->server);
    test_server_restart(rig->server);
    nats_rig_expect_gap(&rig->sink);
    send_plain(rig, "plain.a", "1");
    nats_rig_expect_message(&rig->sink, "a", "1");
}

int main(void) {
#define STREAM_CASE(name) \
    cmocka_unit_test_setup_teardown(name, nats_rig_setup_stream, nats_rig_teardown)
    const struct CMUnitTest tests[] = {
        STREAM_CASE(a_message_of_somebody_elses_is_an_event),
        STREAM_CASE(a_cloud_event_of_somebody_elses_is_told_as_it_is),
        STREAM_CASE(what_weir_publishes_is_told_as_it_was),
        STREAM_CASE(keys_and_values_are_unsupported),
        STREAM_CASE(every_message_is_told_in_order_over_stops),
        STREAM_CASE(a_watch_that_is_far_behind_says_how_far),
        STREAM_CASE(what_is_refused_already_does_not_come_first),
        STREAM_CASE(a_stream_that_was_trimmed_is_a_gap),
        STREAM_CASE(a_stream_that_was_not_trimmed_is_none),
        STREAM_CASE(a_consumer_that_is_gone_is_a_gap_and_everything_again),
        STREAM_CASE(a_sink_that_has_no_room_for_the_gap_gets_it_later),
        STREAM_CASE(plain_subjects_promise_little),
        STREAM_CASE(what_a_plain_subject_drops_is_a_gap),
        STREAM_CASE(a_connection_that_was_lost_is_a_gap_of_a_plain_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
