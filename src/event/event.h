// SPDX-License-Identifier: Apache-2.0
//
// The CloudEvent (CloudEvents 1.0.2), as wit/reactive.wit has it. Two structs: weir_event_fields is
// a bundle of views, laid out field by field as the WIT record `event` and cheap to make;
// weir_event is the immutable, reference-counted event that travels from a provider to its
// handlers, in one allocation.
#ifndef WEIR_EVENT_EVENT_H
#define WEIR_EVENT_EVENT_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_CLOUDEVENTS_VERSION "1.0"

// Event types of key-value sources.
#define WEIR_TYPE_KEYVALUE_SET     "dev.weir.keyvalue.set"
#define WEIR_TYPE_KEYVALUE_DELETED "dev.weir.keyvalue.deleted"

// Extension attributes that weir adds.
#define WEIR_EXTENSION_REVISION \
    "revision" // the source's position of this change; opaque, equal for the same change
#define WEIR_EXTENSION_ATTEMPT \
    "attempt" // how often this event was handed to the handler, from "2" on

enum {
    WEIR_EXTENSIONS_MAX = 64,           // extension attributes of one event
    WEIR_EXTENSION_NAME_BYTES_MAX = 64, // CloudEvents advises 20
};

struct weir_optional_str {
    bool is_some;
    struct weir_str value;
};

enum weir_payload_kind {
    WEIR_PAYLOAD_TEXT = 0,
    WEIR_PAYLOAD_BINARY = 1
}; // the cases' order in the WIT

struct weir_payload {
    uint8_t kind; // enum weir_payload_kind
    struct weir_str bytes;
};

struct weir_optional_payload {
    bool is_some;
    struct weir_payload value;
};

struct weir_attribute {
    struct weir_str name, value;
};

struct weir_attributes {
    const struct weir_attribute *items;
    size_t count; // at most WEIR_EXTENSIONS_MAX
};

// The members are the record's, in its order.
struct weir_event_fields {
    struct weir_str specversion, ty, source, id;
    struct weir_optional_payload data;
    struct weir_optional_str datacontenttype, dataschema, subject, time;
    struct weir_attributes extensions;
};

// Immutable once made. The views in `fields` and `key` point into the event itself and live as long
// as it does.
struct weir_event {
    size_t size_bytes;   // of the whole allocation: what a queue's bound counts
    struct weir_str key; // what the source calls the thing that changed; orders delivery; any bytes
    struct weir_event_fields fields;
};

// Copies the fields and the key into a new event with one reference, which the caller owns.
// Checks nothing but sizes; see weir_event_fields_check. WEIR_NO_MEMORY, WEIR_LIMIT (more
// extensions than WEIR_EXTENSIONS_MAX). Any thread.
weir_status weir_event_new(const struct weir_event_fields *fields, struct weir_str key,
                           struct weir_event **ret_event, struct weir_error *err);

// As weir_event_new, for fields that nobody has looked at, such as a guest's: checks that all texts
// are UTF-8, while they are copied, and then as weir_event_fields_check does. Also WEIR_INVALID.
weir_status weir_event_new_checked(const struct weir_event_fields *fields, struct weir_str key,
                                   struct weir_event **ret_event, struct weir_error *err);

// One more reference; returns the event. Any thread.
struct weir_event *weir_event_ref(struct weir_event *event);

// Gives back one reference; the last one frees the event. NULL is allowed. Any thread.
void weir_event_unref(struct weir_event *event);

// Whether the fields are a valid CloudEvent: specversion "1.0"; id, source and type not empty, nor
// optional attributes that are given; extension names of [a-z0-9], not an attribute's own name, at
// most WEIR_EXTENSION_NAME_BYTES_MAX; time is RFC 3339. Texts are taken to be UTF-8. WEIR_INVALID
// with the attribute named.
weir_status weir_event_fields_check(const struct weir_event_fields *fields, struct weir_error *err);

// Whether all texts of the fields are UTF-8. WEIR_INVALID with the attribute named.
weir_status weir_event_fields_check_utf8(const struct weir_event_fields *fields,
                                         struct weir_error *err);

// "text" where the bytes are UTF-8, else "binary": the payload that these bytes become.
struct weir_payload weir_payload_of(struct weir_str bytes);

#endif
