// SPDX-License-Identifier: Apache-2.0
//
// What a message is as an event.
//
// - Of a bucket: a key was set, deleted or purged; the revision is the stream's number.
// - A CloudEvent in headers (binary mode, as weir publishes): that event, as it was published.
// - Anything else: an event of type dev.weir.message, whose headers are its extensions where their
//   names may be those of extensions.
//
// The position is the stream's number, by which an event is found again when it is acknowledged.
#include "provider/nats/resource.h"

#include "base/clock.h"
#include "base/digits.h"
#include "provider/draft.h"
#include "provider/keyvalue.h"
#include "provider/subject.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHAIN_MAX = 3,
    FOREIGN_NAME_BYTES_MAX = 20, // of a header that becomes an extension
    FOREIGN_EXTENSIONS_MAX = 32,
};

// Texts that are made for one event.
struct texts {
    char number[WEIR_DECIMAL_BYTES_MAX], time[WEIR_TIME_BYTES];
    size_t number_size;
    char *decoded; // values of headers, one behind the other
    size_t decoded_size;
};

static weir_status texts_init(struct texts *texts, const struct weir_nats_message *message,
                              struct weir_error *err) {
    uint64_t number = message->delivery.sequence > 0 ? message->delivery.sequence : message->number;
    texts->number_size = weir_decimal(number, texts->number);
    // Names and values are parts of the headers, and no longer when they are decoded.
    size_t size = message->frame->headers.size;
    texts->decoded = size > 0 ? malloc(size) : NULL;
    texts->decoded_size = 0;
    return texts->decoded || size == 0 ? WEIR_OK : weir_fail_no_memory(err, "an event");
}

static struct weir_str decode(struct texts *texts, struct weir_str value) {
    char *at = texts->decoded + texts->decoded_size;
    size_t size = weir_nats_headers_decode(value, at);
    texts->decoded_size += size;
    return (struct weir_str){at, size};
}

static struct weir_str number_of(const struct texts *texts) {
    return (struct weir_str){texts->number, texts->number_size};
}

static struct weir_str position_of(const struct weir_nats_message *message,
                                   const struct texts *texts) {
    return message->delivery.sequence > 0 ? number_of(texts) : (struct weir_str){0};
}

// ---- buckets ----

static size_t put_chain(struct weir_str headers, struct texts *texts,
                        struct weir_attribute ret_extensions[static CHAIN_MAX]) {
    static const char *const names[] = {WEIR_EXTENSION_CAUSATION, WEIR_EXTENSION_CORRELATION,
                                        WEIR_EXTENSION_HOPS};
    static const char *const in_headers[] = {WEIR_NATS_HEADER_EVENT WEIR_EXTENSION_CAUSATION,
                                             WEIR_NATS_HEADER_EVENT WEIR_EXTENSION_CORRELATION,
                                             WEIR_NATS_HEADER_EVENT WEIR_EXTENSION_HOPS};
    size_t count = 0;
    for (size_t i = 0; i < CHAIN_MAX; i++) {
        struct weir_str value = weir_nats_headers_find(headers, in_headers[i]);
        value = value.size > 0 ? decode(texts, value) : value;
        if (value.size > 0 && weir_utf8_valid(value)) {
            ret_extensions[count++] = (struct weir_attribute){weir_str_of(names[i]), value};
        }
    }
    return count;
}

static weir_status bucket_event(const struct weir_nats_resource *resource,
                                const struct weir_hub_watch *watch, struct weir_str key,
                                const struct weir_nats_message *message, struct texts *texts,
                                struct weir_event **ret_event, struct weir_error *err) {
    const struct weir_nats_frame *frame = message->frame;
    struct weir_attribute extensions[CHAIN_MAX + 1];
    struct weir_str operation = weir_nats_headers_find(frame->headers, WEIR_NATS_HEADER_OPERATION);
    bool is_purged = weir_str_equal(operation, WEIR_STR("PURGE"));
    bool is_deleted = is_purged || weir_str_equal(operation, WEIR_STR("DEL"));
    size_t count = put_chain(frame->headers, texts, extensions);
    if (is_purged) {
        extensions[count++] = (struct weir_attribute){WEIR_STR("operation"), WEIR_STR("purge")};
    }
    const struct weir_keyvalue_change change = {
        .source = weir_str_of(resource->source),
        .key = key,
        .revision = number_of(texts),
        .position = position_of(message, texts),
        .wall_ns = message->delivery.wall_ns,
        .is_deleted = is_deleted,
        .is_snapshot = message->is_snapshot,
        .data = frame->data.size <= watch->event_bytes_max ? &frame->data : NULL,
        .size_bytes = frame->data.size,
        .extensions = extensions,
        .extension_count = count,
    };
    return weir_keyvalue_event(&change, ret_event, err);
}

// ---- CloudEvents in headers ----

// Puts an attribute. `name` is without its prefix, in any case of its letters.
static void put_attribute(struct weir_draft *draft, struct weir_str name, struct weir_str value,
                          struct texts *texts) {
    char lower[WEIR_EXTENSION_NAME_BYTES_MAX];
    if (name.size == 0 || name.size > sizeof lower) {
        draft->is_bad = true;
        return;
    }
    for (size_t i = 0; i < name.size; i++) {
        char byte = name.data[i];
        lower[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
    }
    struct weir_str small = {lower, name.size};
    if (!weir_draft_put_attribute(draft, small, value)) {
        weir_draft_put_extension(draft, decode(texts, small), value);
    }
}

// WEIR_INVALID: it is no CloudEvent, or none that is valid.
static weir_status cloud_event(const struct weir_hub_watch *watch,
                               const struct weir_nats_message *message, struct weir_str key,
                               struct texts *texts, struct weir_event **ret_event,
                               struct weir_error *err) {
    const struct weir_nats_frame *frame = message->frame;
    const struct weir_str prefix = WEIR_STR(WEIR_NATS_HEADER_EVENT);
    struct weir_draft draft;
    struct weir_nats_header header;
    struct weir_str headers = frame->headers;
    weir_draft_init(&draft);
    while (weir_nats_headers_next(&headers, &header)) {
        if (header.name.size > prefix.size && (header.name.data[0] | 0x20) == 'c' &&
            (header.name.data[1] | 0x20) == 'e' && header.name.data[2] == '-') {
            struct weir_str name = {header.name.data + prefix.size, header.name.size - prefix.size};
            put_attribute(&draft, name, decode(texts, header.value), texts);
        }
    }
    struct weir_str type = weir_nats_headers_find(frame->headers, WEIR_NATS_HEADER_CONTENT_TYPE);
    if (type.size > 0) {
        draft.fields.datacontenttype = (struct weir_optional_str){true, decode(texts, type)};
    }
    if (draft.fields.specversion.size == 0) {
        return WEIR_INVALID;
    }
    struct weir_payload data = weir_payload_of(frame->data);
    if (data.bytes.size > 0 || type.size > 0) {
        weir_draft_put_data(&draft, data, watch->event_bytes_max);
    }
    // The key is what the event itself says, as where it is published.
    struct weir_subject_buffer buffer;
    draft.fields.extensions =
        (struct weir_attributes){.items = draft.extensions, .count = draft.count};
    weir_status status = weir_subject_key(&draft.fields, &buffer, &key, err);
    const struct weir_event_origin origin = {.key = key,
                                             .position = position_of(message, texts),
                                             .is_repeat = message->delivery.times > 1};
    return status == WEIR_OK ? weir_draft_finish(&draft, &origin, ret_event, err) : status;
}

// ---- everything else ----

static bool is_extension(struct weir_str name) {
    if (name.size == 0 || name.size > FOREIGN_NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        char byte = (char)(name.data[i] | 0x20);
        if (!(byte >= 'a' && byte <= 'z') && !(name.data[i] >= '0' && name.data[i] <= '9')) {
            return false;
        }
    }
    return true;
}

static bool is_taken(const struct weir_draft *draft, struct weir_str name) {
    static const char *const own[] = {
        "specversion",     "type",       "source",      "id",       "subject",  "time",   "data",
        "datacontenttype", "dataschema", "dataomitted", "datasize", "snapshot", "attempt"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (weir_str_equal(name, weir_str_of(own[i]))) {
            return true;
        }
    }
    for (size_t i = 0; i < draft->count; i++) {
        if (weir_str_equal(name, draft->extensions[i].name)) {
            return true;
        }
    }
    return false;
}

// Headers that may be extensions.
static void put_foreign(struct weir_draft *draft, struct weir_str headers, struct texts *texts) {
    struct weir_nats_header header;
    while (draft->count < FOREIGN_EXTENSIONS_MAX && weir_nats_headers_next(&headers, &header)) {
        if (!is_extension(header.name) || !weir_utf8_valid(header.value)) {
            continue;
        }
        struct weir_str name = {texts->decoded + texts->decoded_size, header.name.size};
        for (size_t i = 0; i < name.size; i++) {
            char byte = header.name.data[i];
            texts->decoded[texts->decoded_size + i] =
                (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
        }
        if (!is_taken(draft, name)) {
            texts->decoded_size += name.size;
            weir_draft_put_extension(draft, name, header.value);
        }
    }
}

static char *put_text(char *at, struct weir_str text) {
    memcpy(at, text.data, text.size);
    return at + text.size;
}

static weir_status foreign_event(const struct weir_nats_resource *resource,
                                 const struct weir_hub_watch *watch, struct weir_str key,
                                 const struct weir_nats_message *message, struct texts *texts,
                                 struct weir_event **ret_event, struct weir_error *err) {
    const struct weir_nats_frame *frame = message->frame;
    char id[3 * WEIR_KEY_BYTES_MAX + WEIR_TIME_BYTES + WEIR_DECIMAL_BYTES_MAX + 2];
    bool is_coded = !weir_utf8_valid(key);
    size_t subject_size = weir_subject_of_key(key, is_coded, id);
    bool is_kept = message->delivery.sequence > 0;
    weir_time_format(is_kept ? message->delivery.wall_ns : weir_clock_wall_ns(), texts->time);
    char *id_end = put_text(id + subject_size, WEIR_STR("@"));
    id_end = put_text(id_end, number_of(texts));
    if (!is_kept) { // of a plain subject nothing tells one message from another but when it came
        id_end = put_text(put_text(id_end, WEIR_STR(":")), weir_str_of(texts->time));
    }
    struct weir_str type = weir_nats_headers_find(frame->headers, WEIR_NATS_HEADER_CONTENT_TYPE);
    struct weir_payload data = weir_payload_of(frame->data);
    bool is_text = data.kind == WEIR_PAYLOAD_TEXT;
    struct weir_draft draft;
    weir_draft_init(&draft);
    draft.fields = (struct weir_event_fields){
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR(WEIR_TYPE_MESSAGE),
        .source = weir_str_of(resource->source),
        .id = {id, (size_t)(id_end - id)},
        .subject = {true, {id, subject_size}},
        .time = {true, weir_str_of(texts->time)},
        .datacontenttype = {true, type.size > 0 && weir_utf8_valid(type) ? type
                                  : is_text                              ? WEIR_STR("text/plain")
                                            : WEIR_STR("application/octet-stream")},
    };
    if (is_kept) {
        weir_draft_put_extension(&draft, WEIR_STR(WEIR_EXTENSION_REVISION), number_of(texts));
    }
    if (is_coded) {
        weir_draft_put_extension(&draft, WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING),
                                 WEIR_STR("percent"));
    }
    weir_draft_put_data(&draft, data, watch->event_bytes_max);
    put_foreign(&draft, frame->headers, texts);
    const struct weir_event_origin origin = {.key = key,
                                             .position = position_of(message, texts),
                                             .is_repeat = message->delivery.times > 1};
    return weir_draft_finish(&draft, &origin, ret_event, err);
}

weir_status weir_nats_event_of(const struct weir_nats_resource *resource,
                               const struct weir_hub_watch *watch,
                               const struct weir_nats_message *message,
                               struct weir_event **ret_event, struct weir_error *err) {
    char buffer[WEIR_KEY_BYTES_MAX];
    struct weir_str key;
    struct texts texts;
    *ret_event = NULL;
    if (!weir_nats_key_of(&resource->naming, message->frame->subject, buffer, &key)) {
        return WEIR_OK;
    }
    bool is_bucket = resource->naming.is_bucket;
    if (is_bucket && !weir_pattern_matches(&watch->pattern, key)) {
        return WEIR_OK; // before anything is made of it: a filter may be wide
    }
    weir_status status = texts_init(&texts, message, err);
    if (status == WEIR_OK && is_bucket) {
        status = bucket_event(resource, watch, key, message, &texts, ret_event, err);
    } else if (status == WEIR_OK) {
        status = cloud_event(watch, message, key, &texts, ret_event, err);
        if (status == WEIR_INVALID || status == WEIR_LIMIT) {
            texts.decoded_size = 0;
            status = foreign_event(resource, watch, key, message, &texts, ret_event, err);
        }
    }
    free(texts.decoded);
    if (status == WEIR_OK && !is_bucket &&
        !weir_pattern_matches(&watch->pattern, (*ret_event)->key)) {
        weir_event_unref(*ret_event);
        *ret_event = NULL;
    }
    return status;
}
