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

static bool total_bytes(const struct weir_event_fields *fields, struct weir_str key,
                        size_t *ret_bytes) {
    size_t bytes =
        sizeof(struct counted_event) + fields->extensions.count * sizeof(struct weir_attribute);
    bool fits = add_size(&bytes, key.size) && add_size(&bytes, fields->specversion.size) &&
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

// Where the event's texts go.
struct writer {
    char *end;
    bool checks_long_texts;
    bool is_valid; // no long text was other than UTF-8
};

// Copies a text to the writer's end and returns the view of the copy, whose pointer is never NULL.
// Not inlined: gcc would copy a piece by "rep movs", which is slower than the C library.
static __attribute__((noinline)) struct weir_str put(struct writer *writer, struct weir_str text) {
    struct weir_str copy = {.data = writer->end, .size = text.size};
    if (text.size > 0) {
        memcpy(writer->end, text.data, text.size);
    }
    writer->end += text.size;
    return copy;
}

// How many bytes of a long text to take next: a whole number of characters, where it is UTF-8.
static size_t piece_bytes(struct weir_str text) {
    enum { PIECE_BYTES = WEIR_LONG_TEXT_BYTES, CHARACTER_BYTES_MAX = 4 };
    if (text.size <= PIECE_BYTES) {
        return text.size;
    }
    size_t size = PIECE_BYTES;
    while (size > PIECE_BYTES - CHARACTER_BYTES_MAX &&
           ((unsigned char)text.data[size] & 0xC0) == 0x80) {
        size--;
    }
    return size;
}

static struct weir_str put_text(struct writer *writer, struct weir_str text) {
    if (!writer->checks_long_texts || text.size < WEIR_LONG_TEXT_BYTES) {
        return put(writer, text);
    }
    struct weir_str copy = {.data = writer->end, .size = text.size};
    while (text.size > 0) {
        struct weir_str piece = {.data = text.data, .size = piece_bytes(text)};
        writer->is_valid = weir_utf8_valid(put(writer, piece)) && writer->is_valid;
        text.data += piece.size;
        text.size -= piece.size;
    }
    return copy;
}

static struct weir_optional_str put_optional(struct writer *writer,
                                             const struct weir_optional_str *text) {
    struct weir_optional_str copy = {.is_some = text->is_some};
    if (text->is_some) {
        copy.value = put_text(writer, text->value);
    }
    return copy;
}

static struct weir_optional_payload put_payload(struct writer *writer,
                                                const struct weir_optional_payload *data) {
    struct weir_optional_payload copy = {.is_some = data->is_some};
    if (data->is_some) {
        copy.value.kind = data->value.kind;
        copy.value.bytes = data->value.kind == WEIR_PAYLOAD_TEXT
                               ? put_text(writer, data->value.bytes)
                               : put(writer, data->value.bytes);
    }
    return copy;
}

static weir_status make(const struct weir_event_fields *fields, struct weir_str key,
                        bool checks_long_texts, struct weir_event **ret_event,
                        struct weir_error *err) {
    *ret_event = NULL;
    size_t bytes;
    if (fields->extensions.count > WEIR_EXTENSIONS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "an event has %zu extension attributes, the most is %d",
                         fields->extensions.count, WEIR_EXTENSIONS_MAX);
    }
    if (!total_bytes(fields, key, &bytes)) {
        return weir_fail(err, WEIR_LIMIT, "an event is larger than the address space");
    }
    struct counted_event *made = malloc(bytes);
    if (!made) {
        return weir_fail_no_memory(err, "an event");
    }
    atomic_init(&made->references, 1);
    struct writer writer = {.end = (char *)(made->extensions + fields->extensions.count),
                            .checks_long_texts = checks_long_texts,
                            .is_valid = true};
    struct weir_event *event = &made->event;
    struct weir_event_fields *copy = &event->fields;
    event->size_bytes = bytes;
    event->key = put(&writer, key);
    copy->specversion = put_text(&writer, fields->specversion);
    copy->ty = put_text(&writer, fields->ty);
    copy->source = put_text(&writer, fields->source);
    copy->id = put_text(&writer, fields->id);
    copy->data = put_payload(&writer, &fields->data);
    copy->datacontenttype = put_optional(&writer, &fields->datacontenttype);
    copy->dataschema = put_optional(&writer, &fields->dataschema);
    copy->subject = put_optional(&writer, &fields->subject);
    copy->time = put_optional(&writer, &fields->time);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        made->extensions[i].name = put_text(&writer, fields->extensions.items[i].name);
        made->extensions[i].value = put_text(&writer, fields->extensions.items[i].value);
    }
    copy->extensions =
        (struct weir_attributes){.items = made->extensions, .count = fields->extensions.count};
    if (!writer.is_valid) {
        free(made);
        return weir_fail(err, WEIR_INVALID, "a text of the event is not UTF-8");
    }
    *ret_event = event;
    return WEIR_OK;
}

weir_status weir_event_new(const struct weir_event_fields *fields, struct weir_str key,
                           struct weir_event **ret_event, struct weir_error *err) {
    return make(fields, key, false, ret_event, err);
}

weir_status weir_event_new_checked(const struct weir_event_fields *fields, struct weir_str key,
                                   struct weir_event **ret_event, struct weir_error *err) {
    return make(fields, key, true, ret_event, err);
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
