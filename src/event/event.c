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
                add_size(&bytes, fields->specversion.size) && add_size(&bytes, fields->ty.size) &&
                add_size(&bytes, fields->source.size) && add_size(&bytes, fields->id.size) &&
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

// Where an event's texts are put.
struct writer {
    char *end;
    bool checks_utf8;
    bool is_utf8; // every text so far, where they are checked
};

// Copies bytes and returns the view of the copy, which never has a NULL pointer.
static struct weir_str put_bytes(struct writer *writer, struct weir_str bytes) {
    struct weir_str copy = {.data = writer->end, .size = bytes.size};
    if (bytes.size > 0) {
        memcpy(writer->end, bytes.data, bytes.size);
    }
    writer->end += bytes.size;
    return copy;
}

static struct weir_str put_text(struct writer *writer, struct weir_str text) {
    if (!writer->checks_utf8) {
        return put_bytes(writer, text);
    }
    struct weir_str copy = {.data = writer->end, .size = text.size};
    writer->is_utf8 &= weir_utf8_copy(writer->end, text);
    writer->end += text.size;
    return copy;
}

static void put_optional(struct writer *writer, const struct weir_optional_str *text,
                         struct weir_optional_str *ret_copy) {
    ret_copy->is_some = text->is_some;
    ret_copy->value = text->is_some ? put_text(writer, text->value) : (struct weir_str){0};
}

static void put_payload(struct writer *writer, const struct weir_optional_payload *data,
                        struct weir_optional_payload *ret_copy) {
    struct weir_str bytes = data->is_some ? data->value.bytes : (struct weir_str){0};
    ret_copy->is_some = data->is_some;
    ret_copy->value.kind = data->value.kind;
    ret_copy->value.bytes =
        data->value.kind == WEIR_PAYLOAD_TEXT ? put_text(writer, bytes) : put_bytes(writer, bytes);
}

static void put_fields(struct writer *writer, const struct weir_event_fields *fields,
                       struct counted_event *made) {
    struct weir_event_fields *copy = &made->event.fields;
    copy->specversion = put_text(writer, fields->specversion);
    copy->ty = put_text(writer, fields->ty);
    copy->source = put_text(writer, fields->source);
    copy->id = put_text(writer, fields->id);
    put_payload(writer, &fields->data, &copy->data);
    put_optional(writer, &fields->datacontenttype, &copy->datacontenttype);
    put_optional(writer, &fields->dataschema, &copy->dataschema);
    put_optional(writer, &fields->subject, &copy->subject);
    put_optional(writer, &fields->time, &copy->time);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        made->extensions[i].name = put_text(writer, fields->extensions.items[i].name);
        made->extensions[i].value = put_text(writer, fields->extensions.items[i].value);
    }
    copy->extensions =
        (struct weir_attributes){.items = made->extensions, .count = fields->extensions.count};
}

// Room for an event with these fields; they are not copied yet.
static weir_status allocate(const struct weir_event_fields *fields,
                            const struct weir_event_origin *origin, struct counted_event **ret_made,
                            struct weir_error *err) {
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
    made->event.size_bytes = bytes;
    *ret_made = made;
    return WEIR_OK;
}

// Copies all into the room. Returns whether the texts are UTF-8, where that is to be checked.
static bool fill(struct counted_event *made, const struct weir_event_fields *fields,
                 const struct weir_event_origin *origin, bool checks_utf8) {
    struct writer writer = {.end = (char *)(made->extensions + fields->extensions.count),
                            .checks_utf8 = checks_utf8,
                            .is_utf8 = true};
    made->event.key = put_bytes(&writer, origin->key);
    made->event.position = put_bytes(&writer, origin->position);
    made->event.is_gap = origin->is_gap;
    made->event.is_bookmark = origin->is_bookmark;
    made->event.is_repeat = origin->is_repeat;
    put_fields(&writer, fields, made);
    return writer.is_utf8;
}

weir_status weir_event_make(const struct weir_event_fields *fields,
                            const struct weir_event_origin *origin, struct weir_event **ret_event,
                            struct weir_error *err) {
    struct counted_event *made;
    *ret_event = NULL;
    weir_status status = allocate(fields, origin, &made, err);
    if (status == WEIR_OK) {
        fill(made, fields, origin, false);
        *ret_event = &made->event;
    }
    return status;
}

weir_status weir_event_new_checked(const struct weir_event_fields *fields, struct weir_str key,
                                   struct weir_event **ret_event, struct weir_error *err) {
    struct counted_event *made;
    *ret_event = NULL;
    struct weir_event_origin origin = {.key = key};
    weir_status status = allocate(fields, &origin, &made, err);
    if (status != WEIR_OK) {
        return status;
    }
    // The copy is looked at, whose texts are UTF-8 by then: a message may quote them.
    bool is_utf8 = fill(made, fields, &origin, true);
    status = is_utf8 ? weir_event_fields_check(&made->event.fields, err)
                     : weir_event_fields_check_utf8(&made->event.fields, err);
    if (status != WEIR_OK) {
        free(made);
        return status;
    }
    *ret_event = &made->event;
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
