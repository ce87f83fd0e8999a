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
// Of a message that a guest sent by wasi:messaging without saying more.
#define WEIR_TYPE_MESSAGE "dev.weir.message"
// A source's history is gone: changes between two positions will never be told one by one.
#define WEIR_TYPE_GAP "dev.weir.watch.gap"
// Moves a watch's position over what does not concern it; no handler sees one.
#define WEIR_TYPE_BOOKMARK "dev.weir.watch.bookmark"

// Extension attributes that weir adds.
#define WEIR_EXTENSION_REVISION \
    "revision" // the source's position of this change; opaque, equal for the same change
#define WEIR_EXTENSION_ATTEMPT \
    "attempt" // how often this event was handed to the handler, from "2" on
#define WEIR_EXTENSION_SNAPSHOT \
    "snapshot" // "true": found by comparison behind a gap, not seen happening
// Of an event that a handler returned, so that a chain of events can be followed.
#define WEIR_EXTENSION_CAUSATION   "causationid"   // the id of the event that was handled
#define WEIR_EXTENSION_CORRELATION "correlationid" // the id of the first event of the chain
#define WEIR_EXTENSION_HOPS        "hops" // how many handlers the chain has passed, from "1" on

enum {
    WEIR_EXTENSIONS_MAX = 64,           // extension attributes of one event
    WEIR_EXTENSION_NAME_BYTES_MAX = 64, // CloudEvents advises 20
    WEIR_POSITION_BYTES_MAX = 1024,     // of an event in its source
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

// What a source says of an event beside the CloudEvent itself.
struct weir_event_origin {
    struct weir_str key; // what the source calls the thing that changed; orders delivery; any bytes
    // Where the source goes on behind this event after a stop, in bytes that only the source
    // understands; empty where it keeps no such thing. See `enum weir_capability` for the two
    // kinds.
    struct weir_str position;
    bool is_gap; // the event tells of a gap; see WEIR_TYPE_GAP
    // The event tells of nothing: its position is where the source goes on, since nothing that is
    // before it and was not offered concerns the watch. No handler is called with it.
    bool is_bookmark;
    bool is_repeat; // the source says that it has told the event before; only counted
};

// Immutable once made. Every view points into the event itself and lives as long as it does.
struct weir_event {
    size_t size_bytes; // of the whole allocation: what a queue's bound counts
    struct weir_str key, position;
    bool is_gap, is_bookmark, is_repeat;
    struct weir_event_fields fields;
};

// Copies the fields and the origin into a new event with one reference, which the caller owns.
// Checks nothing but sizes; see weir_event_fields_check. WEIR_NO_MEMORY, WEIR_LIMIT (more
// extensions than WEIR_EXTENSIONS_MAX, a longer position than WEIR_POSITION_BYTES_MAX). Any thread.
weir_status weir_event_make(const struct weir_event_fields *fields,
                            const struct weir_event_origin *origin, struct weir_event **ret_event,
                            struct weir_error *err);

// As weir_event_make, of a source that keeps no position.
weir_status weir_event_new(const struct weir_event_fields *fields, struct weir_str key,
                           struct weir_event **ret_event, struct weir_error *err);

// A source's history that is gone.
struct weir_gap {
    struct weir_str source;  // of the event: the resource's
    struct weir_str pattern; // of the watch, as it was asked for
    struct weir_str from,
        to;                 // the last position that was told, the first one that will be; as text
    struct weir_str reason; // what became of it, for a person
    struct weir_str position; // behind which the watch goes on; may be empty
};

// The event that tells of a gap: the key is empty, `data` is JSON with from, to and reason, and the
// id is made of source, pattern, from and to. WEIR_NO_MEMORY, WEIR_LIMIT. Any thread.
weir_status weir_event_of_gap(const struct weir_gap *gap, struct weir_event **ret_event,
                              struct weir_error *err);

// The event that moves a watch's position and tells of nothing else. WEIR_NO_MEMORY, WEIR_LIMIT.
// Any thread.
weir_status weir_event_of_bookmark(struct weir_str source, struct weir_str position,
                                   struct weir_event **ret_event, struct weir_error *err);

// The value of an extension attribute; an empty view where there is none. It lives as the fields
// do.
struct weir_str weir_event_extension(const struct weir_event_fields *fields, const char *name);

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
