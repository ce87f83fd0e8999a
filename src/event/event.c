// SPDX-License-Identifier: Apache-2.0
//
// The immutable event. One allocation holds the counter, the struct, the list of extensions and
// every byte of text, so that an event costs one malloc, one free and no pointer chasing, whatever
// it carries; that allocation's size is what the queues' bounds count. Any thread: only the
// reference counter changes after the making.
#include "event/event.h"

#include <stdatomic.h>
#include <stdlib.h>

// What stands in memory before the event that others see.
struct counted_event {
    atomic_uint references;
    struct weir_event event;
    struct weir_attribute extensions[];
};

static struct counted_event *counted(struct weir_event *event) {
    return (struct counted_event *)((char *)event - offsetof(struct counted_event, event));
}

// Adds to a size; false where it would wrap.
static bool add_size(size_t *total, size_t more) {
    return !__builtin_add_overflow(*total, more, total);
}

static bool total_bytes(const struct weir_event_fields *fields,
                        const struct weir_event_origin *origin, size_t *ret_bytes) {
    size_t bytes =
        sizeof(struct counted_event) + fields->extensions.count * sizeof(struct weir_attribute);
    bool fits = add_size(&bytes, origin->key.size) && add_size(&bytes, origin->position.size) &&
                add_size(&bytes, fields->specversion.size) &&
                add_size(&bytes, fields->ty.size) && add_size(&bytes, fields->source.size) &&
                add_size(&bytes, fields->id.size) &&
                add_size(&bytes, fields->data.is_some ? fields->data.value.bytes.size : 0);
    const struct weir_optional_str *optionals[] = {&fields->datacontenttype, &fields->dataschema,
                                                   &fields->subject, &fields->time};
    for (size_t i = 0; i < sizeof optionals / sizeof optionals[0]; i++) {
        fits = fits && add_size(&bytes, optionals[i]->is_some ? optionals[i]->value.size : 0);
    }
    for (size_t i = 0; i < fields->extensions.count; i++) {
        fits = fits && add_size(&bytes, fields->extensions.items[i].name.size) &&
               add_size(&bytes, fields->extensions.items[i].value.size);
    }
    *ret_bytes = bytes;
    return fits;
}

// Copies a text to *end, moves *end behind it, and returns the view of the copy. It never has a
// NULL pointer.
static struct weir_str put(char **end, struct weir_str text) {
    struct weir_str copy = {.data = *end, .size = text.size};
    if (text.size > 0) {
        memcpy(*end, text.data, text.size);
    }
    *end += text.size;
    return copy;
}

static struct weir_optional_str put_optional(char **end, const struct weir_optional_str *text) {
    struct weir_optional_str copy = {.is_some = text->is_some};
    if (text->is_some) {
        copy.value = put(end, text->value);
    }
    return copy;
}

weir_status weir_event_make(const struct weir_event_fields *fields,
                            const struct weir_event_origin *origin, struct weir_event **ret_event,
                            struct weir_error *err) {
    *ret_event = NULL;
    size_t bytes;
    if (fields->extensions.count > WEIR_EXTENSIONS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "an event has %zu extension attributes, the most is %d",
                         fields->extensions.count, WEIR_EXTENSIONS_MAX);
    }
    if (origin->position.size > WEIR_POSITION_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "an event's position has %zu bytes, the most is %d",
                         origin->position.size, WEIR_POSITION_BYTES_MAX);
    }
    if (!total_bytes(fields, origin, &bytes)) {
        return weir_fail(err, WEIR_LIMIT, "an event is larger than the address space");
    }
    struct counted_event *made = malloc(bytes);
    if (!made) {
        return weir_fail_no_memory(err, "an event");
    }
    atomic_init(&made->references, 1);
    char *end = (char *)(made->extensions + fields->extensions.count);
    struct weir_event *event = &made->event;
    struct weir_event_fields *copy = &event->fields;
    event->size_bytes = bytes;
    event->key = put(&end, origin->key);
    event->position = put(&end, origin->position);
    event->is_gap = origin->is_gap;
    copy->specversion = put(&end, fields->specversion);
    copy->ty = put(&end, fields->ty);
    copy->source = put(&end, fields->source);
    copy->id = put(&end, fields->id);
    copy->data.is_some = fields->data.is_some;
    copy->data.value.kind = fields->data.value.kind;
    copy->data.value.bytes =
        put(&end, fields->data.is_some ? fields->data.value.bytes : (struct weir_str){0});
    copy->datacontenttype = put_optional(&end, &fields->datacontenttype);
    copy->dataschema = put_optional(&end, &fields->dataschema);
    copy->subject = put_optional(&end, &fields->subject);
    copy->time = put_optional(&end, &fields->time);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        made->extensions[i].name = put(&end, fields->extensions.items[i].name);
        made->extensions[i].value = put(&end, fields->extensions.items[i].value);
    }
    copy->extensions =
        (struct weir_attributes){.items = made->extensions, .count = fields->extensions.count};
    *ret_event = event;
    return WEIR_OK;
}

weir_status weir_event_new(const struct weir_event_fields *fields, struct weir_str key,
                           struct weir_event **ret_event, struct weir_error *err) {
    return weir_event_make(fields, &(struct weir_event_origin){.key = key}, ret_event, err);
}

struct weir_event *weir_event_ref(struct weir_event *event) {
    atomic_fetch_add_explicit(&counted(event)->references, 1, memory_order_relaxed);
    return event;
}

void weir_event_unref(struct weir_event *event) {
    if (!event) {
        return;
    }
    struct counted_event *holder = counted(event);
    if (atomic_fetch_sub_explicit(&holder->references, 1, memory_order_acq_rel) == 1) {
        free(holder);
    }
}

struct weir_payload weir_payload_of(struct weir_str bytes) {
    return (struct weir_payload){
        .kind = weir_utf8_valid(bytes) ? WEIR_PAYLOAD_TEXT : WEIR_PAYLOAD_BINARY, .bytes = bytes};
}

struct weir_str weir_event_extension(const struct weir_event_fields *fields, const char *name) {
    struct weir_str wanted = weir_str_of(name);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        if (weir_str_equal(fields->extensions.items[i].name, wanted)) {
            return fields->extensions.items[i].value;
        }
    }
    return (struct weir_str){0};
}
