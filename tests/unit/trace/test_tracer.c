// SPDX-License-Identifier: Apache-2.0
//
// The tracer: whose events are sampled, what of a full queue, of a receiver that does not answer,
// and of texts that are anything. What a receiver gets is taken apart by somebody else's schema in
// tests/scenario/test_traces.py.
#include "unit/test.h"

#include "trace/trace_private.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <sys/socket.h>
#include <unistd.h>

enum { URL_BYTES = 64, EVENTS = 10000 };

// A port that takes connections and never answers.
static int silent_port(char ret_url[static URL_BYTES]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(ret_url, URL_BYTES, "http://127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

static struct weir_tracer *tracer_of(const char *url, double sample, uint64_t queue) {
    const struct weir_tracer_args args = {
        .endpoint = url,
        .sample = sample,
        .queue = queue,
        .batch = queue,
        .interval_ns = 60 * WEIR_NS_PER_S,
        .timeout_ns = 60 * WEIR_NS_PER_S,
    };
    struct weir_tracer *tracer;
    struct weir_error err;
    if (weir_tracer_create(&args, &tracer, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    return tracer;
}

static struct weir_event_fields event_of(const char *source, const char *id) {
    return (struct weir_event_fields){.specversion = WEIR_STR("1.0"),
                                      .ty = WEIR_STR("t"),
                                      .source = weir_str_of(source),
                                      .id = weir_str_of(id)};
}

static struct weir_trace_counts counts_of(struct weir_tracer *tracer) {
    struct weir_trace_counts counts;
    weir_tracer_counts(tracer, &counts);
    return counts;
}

// ---- sampling ----

static size_t sampled_of(struct weir_tracer *tracer) {
    size_t sampled = 0;
    for (int i = 0; i < EVENTS; i++) {
        char id[16];
        struct weir_trace_context context;
        snprintf(id, sizeof id, "%d", i);
        struct weir_event_fields event = event_of("/s", id);
        weir_trace_of_event(tracer, &event, &context);
        assert_true((context.trace.high | context.trace.low) != 0);
        assert_true(context.span == 0);
        sampled += weir_trace_is_sampled(&context);
    }
    return sampled;
}

static void the_share_that_is_asked_for_is_sampled(void **state) {
    (void)state;
    char url[URL_BYTES];
    int fd = silent_port(url);
    // The ids are hashes of the same events each time, so these numbers are the same each time.
    static const struct {
        double sample;
        size_t least, most;
    } cases[] = {{0, 0, 0}, {0.01, 70, 130}, {0.5, 4850, 5150}, {1, EVENTS, EVENTS}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_tracer *tracer = tracer_of(url, cases[i].sample, 64);
        assert_in_range(sampled_of(tracer), cases[i].least, cases[i].most);
        weir_tracer_destroy(tracer);
    }
    close(fd);
}

static void the_same_event_has_the_same_trace(void **state) {
    (void)state;
    char url[URL_BYTES];
    int fd = silent_port(url);
    struct weir_tracer *few = tracer_of(url, 0.1, 64), *many = tracer_of(url, 0.3, 64);
    for (int i = 0; i < 1000; i++) {
        char id[16];
        struct weir_trace_context one, other;
        snprintf(id, sizeof id, "%d", i);
        struct weir_event_fields event = event_of("/s", id);
        weir_trace_of_event(few, &event, &one);
        weir_trace_of_event(many, &event, &other);
        assert_true(one.trace.high == other.trace.high && one.trace.low == other.trace.low);
        // Whoever samples more has all that one has who samples less.
        assert_true(weir_trace_is_sampled(&other) || !weir_trace_is_sampled(&one));
    }
    struct weir_trace_context one, other;
    struct weir_event_fields event = event_of("ab", "c"), another = event_of("a", "bc");
    weir_trace_of_event(few, &event, &one);
    weir_trace_of_event(few, &another, &other);
    assert_true(one.trace.high != other.trace.high && one.trace.low != other.trace.low);
    weir_tracer_destroy(few);
    weir_tracer_destroy(many);
    close(fd);
}

static void a_traceparent_decides(void **state) {
    (void)state;
    char url[URL_BYTES];
    int fd = silent_port(url);
    struct weir_tracer *none = tracer_of(url, 0, 64), *all = tracer_of(url, 1, 64);
    struct weir_attribute extension = {WEIR_STR("traceparent"), {0}};
    struct weir_event_fields event = event_of("/s", "1");
    struct weir_trace_context context;
    event.extensions = (struct weir_attributes){.items = &extension, .count = 1};
    extension.value = WEIR_STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    weir_trace_of_event(none, &event, &context);
    assert_true(weir_trace_is_sampled(&context));
    assert_true(context.span == UINT64_C(0xb7ad6b7169203331));
    extension.value = WEIR_STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    weir_trace_of_event(all, &event, &context);
    assert_false(weir_trace_is_sampled(&context));
    extension.value = WEIR_STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0");
    weir_trace_of_event(all, &event, &context);
    assert_true(weir_trace_is_sampled(&context));
    assert_true(context.span == 0);
    weir_tracer_destroy(none);
    weir_tracer_destroy(all);
    close(fd);
}

static void span_ids_differ(void **state) {
    (void)state;
    struct weir_span_ids one = {0}, other = {0};
    uint64_t before = 0;
    for (int i = 0; i < EVENTS; i++) {
        uint64_t id = weir_span_id_next(&one);
        assert_true(id != 0 && id != before && id != weir_span_id_next(&other));
        before = id;
    }
}

// ---- the queue ----

static void note_attempt(struct weir_tracer *tracer) {
    struct weir_event_fields event = event_of("/s", "1");
    struct weir_trace_call call = {.tracer = tracer};
    weir_trace_call_begin(&call, &event, 0);
    assert_true(call.deliver != 0 && call.own.span != 0);
    const struct weir_trace_attempt attempt = {.event = &event,
                                               .subscription = "s",
                                               .resource = "r",
                                               .guest = "g",
                                               .handler = "h",
                                               .outcome = "handled",
                                               .attempt = 1,
                                               .is_over = true,
                                               .taken_ns = 1,
                                               .began_ns = 2,
                                               .ended_ns = 3};
    weir_trace_attempt(&call, &attempt); // three spans
}

static void a_full_queue_drops_and_counts(void **state) {
    (void)state;
    enum { QUEUE = 100, ATTEMPTS = 400 };
    char url[URL_BYTES];
    int fd = silent_port(url);
    struct weir_tracer *tracer = tracer_of(url, 1, QUEUE);
    for (int i = 0; i < ATTEMPTS; i++) {
        note_attempt(tracer);
    }
    struct weir_trace_counts counts = counts_of(tracer);
    assert_int_equal(counts.sampled, ATTEMPTS * 3);
    assert_true(counts.queued <= QUEUE);
    // One batch may be on its way to the port that does not answer.
    assert_in_range(counts.dropped_full, ATTEMPTS * 3 - 2 * QUEUE, ATTEMPTS * 3 - QUEUE + 3);
    assert_int_equal(counts.exported, 0);
    int64_t began_ns = weir_clock_monotonic_ns();
    weir_tracer_destroy(tracer); // in WEIR_TRACE_STOP_MS, whatever the port does
    assert_true(weir_clock_monotonic_ns() - began_ns < 20 * WEIR_NS_PER_S);
    close(fd);
}

static void a_call_notes_a_bounded_number_of_requests(void **state) {
    (void)state;
    char url[URL_BYTES];
    int fd = silent_port(url);
    struct weir_tracer *tracer = tracer_of(url, 1, 10000);
    struct weir_event_fields event = event_of("/s", "1");
    struct weir_trace_call call = {.tracer = tracer};
    const struct weir_trace_request request = {.name = WEIR_STR("get"), .peer = WEIR_STR("r")};
    weir_trace_call_begin(&call, &event, 0);
    for (int i = 0; i < WEIR_TRACE_CALLS_MAX + 5; i++) {
        weir_trace_request(&call, &request);
    }
    struct weir_trace_counts counts = counts_of(tracer);
    assert_int_equal(counts.sampled, WEIR_TRACE_CALLS_MAX + 5);
    assert_int_equal(counts.dropped_full, 5);
    weir_trace_call_begin(&call, &event, 0); // the next call has as many
    weir_trace_request(&call, &request);
    assert_int_equal(counts_of(tracer).dropped_full, 5);
    weir_tracer_destroy(tracer);
    close(fd);
}

static void an_attempt_at_a_delivery_keeps_its_span(void **state) {
    (void)state;
    char url[URL_BYTES];
    int fd = silent_port(url);
    struct weir_tracer *tracer = tracer_of(url, 1, 64);
    struct weir_event_fields event = event_of("/s", "1");
    struct weir_trace_call call = {.tracer = tracer};
    weir_trace_call_begin(&call, &event, 0);
    uint64_t deliver = call.deliver, handle = call.own.span;
    weir_trace_call_begin(&call, &event, deliver);
    assert_true(call.deliver == deliver && call.own.span != handle);
    weir_tracer_destroy(tracer);
    close(fd);
}

// ---- JSON ----

static json_t *json_of(const struct weir_trace_record *record, int64_t wall_ahead_ns,
                       uint64_t *ret_spans) {
    struct weir_text text = {0};
    struct weir_span_ids ids = {0};
    char *head = weir_otlp_head(&ids);
    assert_non_null(head);
    weir_text_put(&text, weir_str_of(head));
    struct weir_otlp otlp = {.text = &text, .wall_ahead_ns = wall_ahead_ns, .ids = &ids};
    weir_otlp_put(&otlp, record);
    weir_otlp_put(&otlp, record);
    weir_otlp_end(&text);
    json_error_t error;
    json_t *json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        fail_msg("%s in %.*s", error.text, WEIR_STR_ARG(weir_text_view(&text)));
    }
    free(head);
    weir_text_finish(&text);
    *ret_spans = otlp.spans / 2;
    return json;
}

static json_t *spans_of(json_t *json) {
    json_t *resource = json_array_get(json_object_get(json, "resourceSpans"), 0);
    json_t *scope = json_array_get(json_object_get(resource, "scopeSpans"), 0);
    return json_object_get(scope, "spans");
}

static void put_text(struct weir_trace_record *record, enum weir_trace_text text,
                     struct weir_str bytes) {
    memcpy(record->texts + record->text_bytes, bytes.data, bytes.size);
    record->sizes[text] = (uint8_t)bytes.size;
    record->text_bytes = (uint16_t)(record->text_bytes + bytes.size);
}

static void texts_may_be_anything(void **state) {
    (void)state;
    static const struct weir_str hostile[] = {
        WEIR_STR("\""),
        WEIR_STR("\\"),
        WEIR_STR("\0\x01\x1f\x7f"),
        WEIR_STR("\xff\xfe"),
        WEIR_STR("\xc3"),
        WEIR_STR("\xed\xa0\x80"),
        WEIR_STR("\x1b[2J"),
        WEIR_STR("gr\xc3\xbc\xc3\x9f"),
        WEIR_STR("}]}\n{"),
        WEIR_STR("\xe2\x80\xae"),
        WEIR_STR(""),
    };
    for (size_t kind = WEIR_TRACE_ATTEMPT; kind <= WEIR_TRACE_PUBLICATION; kind++) {
        for (size_t i = 0; i < COUNT_OF(hostile); i++) {
            struct weir_trace_record record = {.trace = {.high = 1, .low = 2},
                                               .deliver = 3,
                                               .own = 4,
                                               .kind = (uint8_t)kind,
                                               .has_failed = true,
                                               .is_over = true,
                                               .is_first = true};
            for (int text = 0; text < WEIR_TRACE_TEXTS; text++) {
                put_text(&record, (enum weir_trace_text)text, hostile[i]);
            }
            uint64_t spans;
            json_decref(json_of(&record, 0, &spans));
        }
    }
}

static void a_text_is_cut_between_its_bounds(void **state) {
    (void)state;
    // A two-byte character lies over each bound.
    char long_text[400];
    for (size_t i = 0; i + 1 < sizeof long_text; i += 2) {
        memcpy(long_text + i, "\xc3\xbc", 2);
    }
    struct weir_trace_record record = {.kind = WEIR_TRACE_PUBLICATION, .own = 1};
    put_text(&record, WEIR_TRACE_EVENT_ID, (struct weir_str){long_text, 127});
    put_text(&record, WEIR_TRACE_EVENT_SOURCE, (struct weir_str){long_text + 1, 128});
    uint64_t spans;
    json_t *json = json_of(&record, 0, &spans);
    assert_int_equal(spans, 1);
    json_decref(json);
}

static void source_is_a_span_only_where_that_can_be(void **state) {
    (void)state;
    static const struct {
        const char *time;
        uint64_t spans;
    } cases[] = {
        {"2026-01-31T12:00:00Z", 4},      // now
        {"2026-01-31T11:00:00Z", 4},      // an hour ago
        {"2026-01-31T12:00:00+01:00", 4}, // the same
        {"2026-01-31T10:59:59.9Z", 3},    // longer ago
        {"2026-01-31T12:00:00.001Z", 3},  // to come
        {"9999-12-31T23:59:59Z", 3},      {"0000-01-01T00:00:00Z", 3}, {"now", 3}, {"", 3},
    };
    int64_t now_ns;
    assert_true(weir_time_read(WEIR_STR("2026-01-31T12:00:00Z"), &now_ns));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const int64_t taken_ns = 1000;
        struct weir_trace_record record = {.kind = WEIR_TRACE_ATTEMPT,
                                           .own = 1,
                                           .deliver = 2,
                                           .taken_ns = taken_ns,
                                           .waits_ns = taken_ns,
                                           .began_ns = taken_ns + 5,
                                           .ended_ns = taken_ns + 6,
                                           .is_first = true,
                                           .is_over = true};
        put_text(&record, WEIR_TRACE_TIME, weir_str_of(cases[i].time));
        uint64_t spans;
        json_t *json = json_of(&record, now_ns - taken_ns, &spans);
        if (spans != cases[i].spans) {
            fail_msg("%s: %d spans", cases[i].time, (int)spans);
        }
        // No span begins before the one that it is a part of.
        const json_t *deliver = json_array_get(spans_of(json), 0), *span;
        size_t at;
        json_array_foreach(spans_of(json), at, span) {
            const char *began = json_string_value(json_object_get(span, "startTimeUnixNano"));
            const char *first = json_string_value(json_object_get(deliver, "startTimeUnixNano"));
            assert_true(strtoull(began, NULL, 10) >= strtoull(first, NULL, 10));
        }
        json_decref(json);
    }
}

static void a_response_tells_what_was_not_taken(void **state) {
    (void)state;
    static const struct {
        const char *response;
        uint64_t rejected;
        const char *reason;
    } cases[] = {
        {"", 0, ""},
        {"{}", 0, ""},
        {"{\"partialSuccess\":{}}", 0, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too old\"}}", 3,
         "too old"},
        {"{\"partialSuccess\":{\"rejectedSpans\":4}}", 4, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"99\"}}", 10, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":-1}}", 0, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"-1\"}}", 0, ""},
        {"{\"partialSuccess\":[]}", 0, ""},
        {"[]", 0, ""},
        {"<html>", 0, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char reason[WEIR_SHOW_BYTES];
        assert_int_equal(weir_otlp_rejected(weir_str_of(cases[i].response), 10, reason),
                         cases[i].rejected);
        assert_string_equal(reason, cases[i].reason);
    }
}

static void an_endpoint_is_an_url(void **state) {
    (void)state;
    static const char *const bad[] = {"", "127.0.0.1:4318", "ftp://a", "http://user@host"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const struct weir_tracer_args args = {.endpoint = bad[i], .queue = 64, .batch = 64};
        struct weir_tracer *tracer;
        struct weir_error err;
        assert_int_equal(weir_tracer_create(&args, &tracer, &err), WEIR_INVALID);
        assert_message_has(&err, "traces.endpoint");
        assert_null(tracer);
    }
}

static void the_path_is_put_behind_an_endpoint_that_has_none(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"http://127.0.0.1:1", "http://127.0.0.1:1/v1/traces"},
        {"http://127.0.0.1:1/", "http://127.0.0.1:1/v1/traces"},
        {"http://127.0.0.1:1/otlp/v1/traces", "http://127.0.0.1:1/otlp/v1/traces"},
        {"http://127.0.0.1:1/x", "http://127.0.0.1:1/x"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_tracer *tracer = tracer_of(cases[i][0], 1, 64);
        assert_string_equal(tracer->url, cases[i][1]);
        weir_tracer_destroy(tracer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_share_that_is_asked_for_is_sampled),
        cmocka_unit_test(the_same_event_has_the_same_trace),
        cmocka_unit_test(a_traceparent_decides),
        cmocka_unit_test(span_ids_differ),
        cmocka_unit_test(a_full_queue_drops_and_counts),
        cmocka_unit_test(a_call_notes_a_bounded_number_of_requests),
        cmocka_unit_test(an_attempt_at_a_delivery_keeps_its_span),
        cmocka_unit_test(texts_may_be_anything),
        cmocka_unit_test(a_text_is_cut_between_its_bounds),
        cmocka_unit_test(source_is_a_span_only_where_that_can_be),
        cmocka_unit_test(a_response_tells_what_was_not_taken),
        cmocka_unit_test(an_endpoint_is_an_url),
        cmocka_unit_test(the_path_is_put_behind_an_endpoint_that_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
