// SPDX-License-Identifier: Apache-2.0
//
// The events of what applications post: rows of an outbox that have a payload, and notifications.
// Pure functions, any thread.
//
// What a post says of itself, in attributes that are those of a CloudEvent, is the event's: an
// application may give its type alone, weir gives all when it publishes. The rest is filled in; a
// post that says nothing is an event of type dev.weir.message. Attributes that make no valid
// CloudEvent are as if they were not there.
#ifndef WEIR_PROVIDER_POSTGRES_POST_H
#define WEIR_PROVIDER_POSTGRES_POST_H

#include "event/event.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_pg_post {
    struct weir_str source;   // "/" and the resource's name
    struct weir_str key;      // of the event
    struct weir_str revision; // of the post, for its id
    bool is_revision_kept;    // it is the same whenever it is told, and an extension
    struct weir_str position;
    const json_t *attributes; // an object; NULL: there are none
    bool has_data;            // else there is none
    struct weir_str data;     // any bytes
    const char *content_type; // of the data; NULL: text/plain, or what bytes are
    int64_t wall_ns;          // when it was posted; 0: nobody knows
    bool is_snapshot;         // see WEIR_EXTENSION_SNAPSHOT
    uint64_t event_bytes_max; // data above it is left out, and that is said
};

// WEIR_NO_MEMORY, WEIR_LIMIT, WEIR_INVALID.
weir_status weir_pg_post_event(const struct weir_pg_post *post, struct weir_event **ret_event,
                               struct weir_error *err);

// Whether a text is a CloudEvent in JSON (structured mode); then it is taken apart: the attributes,
// to be given back with json_decref, and its data, whose bytes are to be freed with free(). A text
// that is none leaves both NULL. WEIR_NO_MEMORY.
weir_status weir_pg_post_open(struct weir_str text, json_t **ret_attributes, bool *ret_has_data,
                              struct weir_str *ret_data, struct weir_error *err);

// The key that the attributes' subject stands for, in the buffer: empty where there is none, or it
// is no key.
struct weir_subject_buffer;
struct weir_str weir_pg_post_key(const json_t *attributes, struct weir_subject_buffer *buffer);

#endif
