// SPDX-License-Identifier: Apache-2.0
//
// Publishing an event: a key of a bucket is set or removed; to a stream or a subject the event goes
// as a CloudEvent in headers. Each carries a number that is made of its source and id, by which a
// stream takes an event that is published again for the same one, for as long as it remembers
// (duplicate_window, two minutes where nobody has set it).
#include "provider/nats/resource.h"

#include "base/clock.h"
#include "provider/keyvalue.h"
#include "provider/subject.h"

#include <inttypes.h>
#include <stdio.h>

// The event's number, as a text.
enum { MESSAGE_ID_BYTES = 40 };
static void message_id(const struct weir_event_fields *fields,
                       char ret_id[static MESSAGE_ID_BYTES]) {
    XXH128_hash_t source = XXH3_128bits(fields->source.data, fields->source.size);
    XXH128_hash_t id = XXH3_128bits_withSeed(fields->id.data, fields->id.size, source.low64);
    snprintf(ret_id, MESSAGE_ID_BYTES, "weir-%016" PRIx64 "%016" PRIx64,
             (uint64_t)(id.high64 ^ source.high64), (uint64_t)id.low64);
}

static bool put_attribute(struct weir_nats_buffer *headers, const char *name,
                          struct weir_str value) {
    return value.size == 0 ||
           weir_nats_headers_put_coded(headers, WEIR_NATS_HEADER_EVENT, weir_str_of(name), value);
}

// What of an event goes with the key that it sets: the chain.
static bool put_chain(struct weir_nats_buffer *headers, const struct weir_event_fields *fields) {
    static const char *const names[] = {WEIR_EXTENSION_CAUSATION, WEIR_EXTENSION_CORRELATION,
                                        WEIR_EXTENSION_HOPS};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!put_attribute(headers, names[i], weir_event_extension(fields, names[i]))) {
            return false;
        }
    }
    return true;
}

static bool put_event(struct weir_nats_buffer *headers, const struct weir_event_fields *fields) {
    const struct weir_str none = {0};
    bool is_put =
        put_attribute(headers, "specversion", fields->specversion) &&
        put_attribute(headers, "type", fields->ty) &&
        put_attribute(headers, "source", fields->source) &&
        put_attribute(headers, "id", fields->id) &&
        put_attribute(headers, "subject", fields->subject.is_some ? fields->subject.value : none) &&
        put_attribute(headers, "time", fields->time.is_some ? fields->time.value : none) &&
        put_attribute(headers, "dataschema",
                      fields->dataschema.is_some ? fields->dataschema.value : none);
    if (is_put && fields->datacontenttype.is_some) {
        is_put = weir_nats_headers_put_coded(headers, "", WEIR_STR(WEIR_NATS_HEADER_CONTENT_TYPE),
                                             fields->datacontenttype.value);
    }
    for (size_t i = 0; is_put && i < fields->extensions.count; i++) {
        const struct weir_attribute *extension = &fields->extensions.items[i];
        is_put = weir_nats_headers_put_coded(headers, WEIR_NATS_HEADER_EVENT, extension->name,
                                             extension->value);
    }
    return is_put;
}

static bool put_headers(const struct weir_nats_resource *resource,
                        const struct weir_event_fields *fields, struct weir_nats_buffer *headers) {
    char id[MESSAGE_ID_BYTES];
    message_id(fields, id);
    bool is_put = weir_nats_headers_begin(headers);
    if (resource->stream[0]) {
        is_put =
            is_put && weir_nats_headers_put(headers, WEIR_NATS_HEADER_MESSAGE_ID, weir_str_of(id));
    }
    is_put = is_put &&
             (resource->naming.is_bucket ? put_chain(headers, fields) : put_event(headers, fields));
    return is_put && weir_nats_headers_end(headers);
}

// Of what went wrong, what a further attempt may find better.
static weir_status judge(weir_status status, const struct weir_nats_fault *fault,
                         struct weir_error *err) {
    if (status == WEIR_OTHER) {
        status = weir_nats_api_fail(fault, "publishing", err);
        return status == WEIR_NOT_FOUND ? WEIR_UNAVAILABLE : status;
    }
    // A right that is missing is given some day.
    return status == WEIR_DENIED ? WEIR_UNAVAILABLE : status;
}

static weir_status post_once(struct weir_nats_resource *resource, const struct weir_nats_post *post,
                             int64_t until_ns, struct weir_error *err) {
    void *connection;
    bool is_fresh;
    struct weir_nats_fault fault = {0};
    weir_status status = weir_pool_take(resource->pool, until_ns, &connection, &is_fresh, err);
    if (status != WEIR_OK) {
        return status == WEIR_DENIED || status == WEIR_INVALID ? WEIR_UNAVAILABLE : status;
    }
    if (!is_fresh && !weir_nats_client_is_alive(connection)) {
        weir_pool_give(resource->pool, connection, false);
        return weir_fail(err, WEIR_AGAIN, "the NATS server has closed the connection");
    }
    if (resource->stream[0]) {
        status = weir_nats_store(resource, connection, post, until_ns, &fault, err);
    } else {
        const struct weir_waiter waiter = {.until_ns = until_ns};
        status = weir_nats_client_publish(connection, post, err);
        status = status == WEIR_OK ? weir_nats_client_flush(connection, &waiter, err) : status;
    }
    bool is_usable = status == WEIR_OK || status == WEIR_OTHER || status == WEIR_LIMIT;
    weir_pool_give(resource->pool, connection, is_usable);
    return judge(status, &fault, err);
}

static weir_status send_event(struct weir_nats_resource *resource,
                              const struct weir_event_fields *fields, struct weir_str key,
                              int64_t until_ns, struct weir_error *err) {
    struct weir_nats_subject subject;
    struct weir_nats_buffer headers = {0};
    weir_status status = weir_nats_subject_of(&resource->naming, key, &subject, err);
    if (status != WEIR_OK) {
        return status;
    }
    bool is_through_api = resource->naming.is_bucket && resource->options.domain;
    char full[WEIR_NATS_SUBJECT_BYTES_MAX + 128];
    int size =
        snprintf(full, sizeof full, "%s%s", is_through_api ? resource->api : "", subject.text);
    if (put_headers(resource, fields, &headers)) {
        const struct weir_nats_post post = {
            .subject = {full, (size_t)size},
            .headers = weir_nats_buffer_view(&headers),
            .data = fields->data.is_some ? fields->data.value.bytes : (struct weir_str){0},
        };
        // One that was idle may have been closed; each that is found so is one less.
        status = WEIR_AGAIN;
        for (uint64_t i = 0; status == WEIR_AGAIN && i <= resource->options.connections; i++) {
            status = post_once(resource, &post, until_ns, err);
        }
    } else {
        status = weir_fail_no_memory(err, "a message");
    }
    weir_nats_buffer_finish(&headers);
    return status;
}

weir_status weir_nats_publish(struct weir_resource *base, struct weir_event *event,
                              struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    const struct weir_event_fields *fields = &event->fields;
    struct weir_subject_buffer buffer;
    struct weir_str key;
    struct weir_error error = {0};
    int64_t until_ns = weir_nats_until_ns(resource, weir_clock_monotonic_ns() +
                                                        WEIR_PUBLISH_WAIT_MS * WEIR_NS_PER_MS);
    bool is_bucket = resource->naming.is_bucket;
    weir_status status = weir_subject_key(fields, &buffer, &key, &error);
    if (status == WEIR_OK && is_bucket && key.size == 0) {
        status = weir_fail(&error, WEIR_INVALID,
                           "an event with no subject cannot be published to a bucket: the subject "
                           "is the key");
    }
    if (status == WEIR_OK && is_bucket && !fields->data.is_some &&
        weir_str_equal(fields->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED))) {
        status = weir_nats_remove_key(resource, key, until_ns, &error);
        status = status == WEIR_NOT_FOUND ? WEIR_OK
                 : status == WEIR_DENIED  ? WEIR_UNAVAILABLE
                                          : status;
    } else if (status == WEIR_OK) {
        status = send_event(resource, fields, key, until_ns, &error);
    }
    if (status != WEIR_OK && err) {
        *err = error;
        err->status = status;
    }
    return status;
}
