// SPDX-License-Identifier: Apache-2.0
//
// Spans as OTLP's JSON, and what a receiver answers. The encoding is protobuf's JSON with ids in
// hexadecimal (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). It is written
// piece by piece: a tree of each span would cost many times what the handler's event did. JSON and
// not protobuf, because it is text that a person can read on the wire, every receiver takes it, and
// no library is needed for either.
//
// Texts of events are anybody's bytes. What is no UTF-8, or could steer a terminal, is shown as a
// message shows it. On the thread weir:traces.
#include "trace/trace_private.h"

#include "base/clock.h"
#include "base/digits.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SOURCE_AGO_S_MAX = 3600, // an event's `time` that is longer ago tells of no way
    HOST_NAME_BYTES = 256,
    RESPONSE_BYTES_MAX = 64 * 1024, // that are read
};

// SpanKind and StatusCode of OTLP.
enum { KIND_INTERNAL = 1, KIND_CLIENT = 3, KIND_PRODUCER = 4, KIND_CONSUMER = 5 };
enum { STATUS_ERROR = 2 };

static void put(struct weir_text *text, const char *piece) {
    weir_text_put(text, weir_str_of(piece));
}

// ---- texts ----

static bool is_plain(struct weir_str bytes) {
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] < ' ' || bytes.data[i] > '~') {
            return false;
        }
    }
    return true;
}

// A string of JSON, of any bytes.
static void put_string(struct weir_text *text, struct weir_str bytes) {
    char shown[WEIR_SHOWN_BYTES_MAX * 2 * WEIR_TRACE_TEXT_BYTES_MAX + 8];
    bool is_as_it_is = is_plain(bytes);
    weir_text_put_json(text,
                       is_as_it_is ? bytes : weir_str_of(weir_show(bytes, shown, sizeof shown)));
}

static void put_id(struct weir_text *text, const char *name, uint64_t id) {
    char digits[WEIR_HEX_BYTES];
    weir_hex(id, WEIR_HEX_LOWER, digits);
    put(text, name);
    weir_text_put(text, (struct weir_str){digits, sizeof digits});
    put(text, "\"");
}

// ---- attributes ----

// An attribute's beginning; `names` are constants.
static void put_key(struct weir_text *text, const char *name) {
    bool is_first = text->size > 0 && text->data[text->size - 1] == '[';
    put(text, is_first ? "{\"key\":\"" : ",{\"key\":\"");
    put(text, name);
}

static void put_attribute(struct weir_text *text, const char *name, struct weir_str value) {
    if (value.size > 0) {
        put_key(text, name);
        put(text, "\",\"value\":{\"stringValue\":");
        put_string(text, value);
        put(text, "}}");
    }
}

static void put_count(struct weir_text *text, const char *name, int64_t value) {
    put_key(text, name);
    put(text, "\",\"value\":{\"intValue\":\"");
    weir_text_put_number(text, value);
    put(text, "\"}}");
}

// ---- the resource ----

static void put_resource(struct weir_text *text, struct weir_span_ids *ids) {
    char host[HOST_NAME_BYTES] = "", instance[2 * WEIR_HEX_BYTES];
    const char *service = getenv("OTEL_SERVICE_NAME");
    gethostname(host, sizeof host - 1);
    weir_hex(weir_span_id_next(ids), WEIR_HEX_LOWER, instance);
    weir_hex(weir_span_id_next(ids), WEIR_HEX_LOWER, instance + WEIR_HEX_BYTES);
    put_attribute(text, "service.name", weir_str_of(service && service[0] ? service : "weir"));
    put_attribute(text, "service.version", WEIR_STR(WEIR_VERSION));
    put_attribute(text, "service.instance.id", (struct weir_str){instance, sizeof instance});
    put_attribute(text, "host.name", weir_str_of(host));
    put_count(text, "process.pid", getpid());
}

char *weir_otlp_head(struct weir_span_ids *ids) {
    struct weir_text text = {0};
    put(&text, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_resource(&text, ids);
    put(&text, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"weir\",\"version\":\"" WEIR_VERSION
               "\"},\"spans\":[");
    char *head = text.lacks_memory ? NULL : weir_str_copy(weir_text_view(&text));
    weir_text_finish(&text);
    return head;
}

void weir_otlp_end(struct weir_text *text) {
    put(text, "]}]}]}");
}

// ---- spans ----

// One span of a record.
struct span {
    uint64_t id, parent; // 0: a root
    int kind;
    struct weir_str name, of; // `of` stands behind the name; it may be empty
    int64_t began_ns, ended_ns;
};

// "NAME OF", or the name alone.
static struct weir_str name_of(const struct span *span,
                               char buffer[static 2 * WEIR_TRACE_TEXT_BYTES_MAX + 2]) {
    size_t size = span->name.size;
    memcpy(buffer, span->name.data, size);
    if (span->of.size > 0) {
        buffer[size++] = ' ';
        memcpy(buffer + size, span->of.data, span->of.size);
        size += span->of.size;
    }
    return (struct weir_str){buffer, size};
}

// Up to its attributes, which are then put.
static void begin_span(struct weir_otlp *otlp, const struct weir_trace_record *record,
                       const struct span *span) {
    struct weir_text *text = otlp->text;
    char trace[WEIR_TRACE_ID_BYTES], name[2 * WEIR_TRACE_TEXT_BYTES_MAX + 2];
    put(text, otlp->spans++ > 0 ? ",{\"traceId\":\"" : "{\"traceId\":\"");
    put(text, weir_trace_id_write(record->trace, trace));
    put_id(text, "\",\"spanId\":\"", span->id);
    if (span->parent) {
        put_id(text, ",\"parentSpanId\":\"", span->parent);
    }
    put(text, ",\"flags\":");
    weir_text_put_number(text, record->flags);
    put(text, ",\"name\":");
    put_string(text, name_of(span, name));
    put(text, ",\"kind\":");
    weir_text_put_number(text, span->kind);
    put(text, ",\"startTimeUnixNano\":\"");
    weir_text_put_number(text, span->began_ns + otlp->wall_ahead_ns);
    put(text, "\",\"endTimeUnixNano\":\"");
    weir_text_put_number(text, span->ended_ns + otlp->wall_ahead_ns);
    put(text, "\",\"attributes\":[");
}

// Behind its attributes.
static void end_span(struct weir_text *text, const struct weir_trace_record *record,
                     bool has_failed) {
    put(text, "]");
    if (has_failed) {
        put(text, ",\"status\":{\"code\":");
        weir_text_put_number(text, STATUS_ERROR);
        put(text, ",\"message\":");
        put_string(text, weir_trace_text(record, WEIR_TRACE_FAILURE));
        put(text, "}");
    }
    put(text, "}");
}

static void put_text_of(struct weir_text *text, const char *name,
                        const struct weir_trace_record *record, enum weir_trace_text which) {
    put_attribute(text, name, weir_trace_text(record, which));
}

static void put_event(struct weir_text *text, const struct weir_trace_record *record) {
    put_text_of(text, "cloudevents.event_id", record, WEIR_TRACE_EVENT_ID);
    put_text_of(text, "cloudevents.event_source", record, WEIR_TRACE_EVENT_SOURCE);
    put_text_of(text, "cloudevents.event_type", record, WEIR_TRACE_EVENT_TYPE);
}

// When the event happened, if it says so, and that can be; else when it was taken.
static bool source_of(const struct weir_trace_record *record, int64_t wall_ahead_ns,
                      int64_t *ret_ns) {
    struct weir_str time = weir_trace_text(record, WEIR_TRACE_TIME);
    int64_t wall_ns;
    *ret_ns = record->taken_ns;
    if (time.size == 0 || !weir_time_read(time, &wall_ns)) {
        return false;
    }
    int64_t taken_wall_ns = record->taken_ns + wall_ahead_ns;
    bool can_be =
        wall_ns <= taken_wall_ns && wall_ns >= taken_wall_ns - SOURCE_AGO_S_MAX * WEIR_NS_PER_S;
    *ret_ns = can_be ? wall_ns - wall_ahead_ns : record->taken_ns;
    return can_be;
}

static void put_deliver(struct weir_otlp *otlp, const struct weir_trace_record *record,
                        int64_t began_ns) {
    struct weir_text *text = otlp->text;
    const struct span span = {.id = record->deliver,
                              .parent = record->parent,
                              .kind = KIND_CONSUMER,
                              .name = WEIR_STR("deliver"),
                              .of = weir_trace_text(record, WEIR_TRACE_SUBSCRIPTION),
                              .began_ns = began_ns,
                              .ended_ns = record->ended_ns};
    begin_span(otlp, record, &span);
    put_text_of(text, "weir.subscription", record, WEIR_TRACE_SUBSCRIPTION);
    put_text_of(text, "weir.resource", record, WEIR_TRACE_RESOURCE);
    put_attribute(text, "weir.outcome", weir_str_of(record->outcome));
    put_count(text, "weir.attempts", record->attempt);
    put_event(text, record);
    end_span(text, record, record->has_failed);
}

static void put_source(struct weir_otlp *otlp, const struct weir_trace_record *record,
                       int64_t began_ns) {
    const struct span span = {.id = weir_span_id_next(otlp->ids),
                              .parent = record->deliver,
                              .kind = KIND_INTERNAL,
                              .name = WEIR_STR("source"),
                              .of = weir_trace_text(record, WEIR_TRACE_RESOURCE),
                              .began_ns = began_ns,
                              .ended_ns = record->taken_ns};
    begin_span(otlp, record, &span);
    put_text_of(otlp->text, "weir.resource", record, WEIR_TRACE_RESOURCE);
    end_span(otlp->text, record, false);
}

static void put_wait(struct weir_otlp *otlp, const struct weir_trace_record *record) {
    const struct span span = {.id = weir_span_id_next(otlp->ids),
                              .parent = record->deliver,
                              .kind = KIND_INTERNAL,
                              .name = WEIR_STR("wait"),
                              .began_ns = record->waits_ns,
                              .ended_ns = record->began_ns};
    begin_span(otlp, record, &span);
    put_count(otlp->text, "weir.attempt", record->attempt);
    end_span(otlp->text, record, false);
}

static void put_handle(struct weir_otlp *otlp, const struct weir_trace_record *record) {
    struct weir_text *text = otlp->text;
    const struct span span = {.id = record->own,
                              .parent = record->deliver,
                              .kind = KIND_INTERNAL,
                              .name = WEIR_STR("handle"),
                              .of = weir_trace_text(record, WEIR_TRACE_NAME),
                              .began_ns = record->began_ns,
                              .ended_ns = record->ended_ns};
    begin_span(otlp, record, &span);
    put_text_of(text, "weir.subscription", record, WEIR_TRACE_SUBSCRIPTION);
    put_text_of(text, "weir.guest", record, WEIR_TRACE_GUEST);
    put_text_of(text, "weir.handler", record, WEIR_TRACE_NAME);
    put_count(text, "weir.attempt", record->attempt);
    put_attribute(text, "weir.outcome", weir_str_of(record->outcome));
    put_event(text, record);
    end_span(text, record, record->has_failed);
}

static void put_attempt(struct weir_otlp *otlp, const struct weir_trace_record *record) {
    int64_t source_ns;
    bool has_source = source_of(record, otlp->wall_ahead_ns, &source_ns);
    if (record->is_over) {
        put_deliver(otlp, record, source_ns);
    }
    if (record->is_first && has_source) {
        put_source(otlp, record, source_ns);
    }
    put_wait(otlp, record);
    put_handle(otlp, record);
}

static void put_request(struct weir_otlp *otlp, const struct weir_trace_record *record) {
    struct weir_text *text = otlp->text;
    const struct span span = {.id = record->own,
                              .parent = record->parent,
                              .kind = record->peer == WEIR_TRACE_PEER_TOPIC ? KIND_PRODUCER
                                                                            : KIND_CLIENT,
                              .name = weir_trace_text(record, WEIR_TRACE_NAME),
                              .of = weir_trace_text(record, WEIR_TRACE_RESOURCE),
                              .began_ns = record->began_ns,
                              .ended_ns = record->ended_ns};
    begin_span(otlp, record, &span);
    if (record->peer == WEIR_TRACE_PEER_HOST) {
        put_text_of(text, "http.request.method", record, WEIR_TRACE_NAME);
        put_text_of(text, "server.address", record, WEIR_TRACE_RESOURCE);
    } else {
        put_text_of(text, "weir.resource", record, WEIR_TRACE_RESOURCE);
    }
    if (record->http_status > 0) {
        put_count(text, "http.response.status_code", record->http_status);
    }
    end_span(text, record, record->has_failed);
}

static void put_publication(struct weir_otlp *otlp, const struct weir_trace_record *record) {
    struct weir_text *text = otlp->text;
    const struct span span = {.id = record->own,
                              .parent = record->parent,
                              .kind = KIND_PRODUCER,
                              .name = WEIR_STR("publish"),
                              .of = weir_trace_text(record, WEIR_TRACE_RESOURCE),
                              .began_ns = record->began_ns,
                              .ended_ns = record->ended_ns};
    begin_span(otlp, record, &span);
    put_text_of(text, "weir.subscription", record, WEIR_TRACE_SUBSCRIPTION);
    put_text_of(text, "weir.resource", record, WEIR_TRACE_RESOURCE);
    put_count(text, "weir.attempts", record->attempt);
    put_event(text, record);
    end_span(text, record, record->has_failed);
}

void weir_otlp_put(struct weir_otlp *otlp, const struct weir_trace_record *record) {
    switch ((enum weir_trace_kind)record->kind) {
    case WEIR_TRACE_ATTEMPT:
        put_attempt(otlp, record);
        break;
    case WEIR_TRACE_REQUEST:
        put_request(otlp, record);
        break;
    case WEIR_TRACE_PUBLICATION:
        put_publication(otlp, record);
        break;
    }
}

// ---- the response ----

// A 64-bit number of protobuf's JSON: in quotes, though receivers without are met.
static uint64_t number_of(const json_t *json) {
    uint64_t number = 0;
    if (json_is_integer(json)) {
        return json_integer_value(json) > 0 ? (uint64_t)json_integer_value(json) : 0;
    }
    struct weir_str text = weir_str_of(json_string_value(json));
    return weir_decimal_read(text, &number) ? number : 0;
}

uint64_t weir_otlp_rejected(struct weir_str response, uint64_t sent,
                            char ret_reason[static WEIR_SHOW_BYTES]) {
    ret_reason[0] = '\0';
    if (response.size == 0 || response.size > RESPONSE_BYTES_MAX) {
        return 0;
    }
    json_t *json = json_loadb(response.data, response.size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *partial = json_object_get(json, "partialSuccess");
    uint64_t rejected = number_of(json_object_get(partial, "rejectedSpans"));
    const char *reason = json_string_value(json_object_get(partial, "errorMessage"));
    weir_show(weir_str_of(reason), ret_reason, WEIR_SHOW_BYTES);
    json_decref(json);
    return rejected < sent ? rejected : sent;
}
