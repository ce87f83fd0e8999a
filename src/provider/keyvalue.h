// SPDX-License-Identifier: Apache-2.0
//
// The events of key-value sources, which look the same whatever the source. Pure functions, any
// thread.
#ifndef WEIR_PROVIDER_KEYVALUE_H
#define WEIR_PROVIDER_KEYVALUE_H

#include "event/event.h"
#include "provider/provider.h"

enum { WEIR_KEYVALUE_EXTENSIONS_MAX = 8 }; // of a change, beside those that are made here

// A key that was set, or is gone.
struct weir_keyvalue_change {
    struct weir_str source;   // of the event: "/" and the resource's name
    struct weir_str key;      // any bytes but NUL; subject and id are made of it
    struct weir_str revision; // of the key's new state, UTF-8: the same for the same change
    struct weir_str position; // see struct weir_event_origin
    int64_t wall_ns;          // when it happened; 0: nobody knows
    bool is_deleted;
    bool is_snapshot; // see WEIR_EXTENSION_SNAPSHOT
    // The value, unless it is deleted. `data` NULL: it has size_bytes and is not told, because they
    // are more than an event may have.
    const struct weir_str *data;
    uint64_t size_bytes;
    const struct weir_attribute *extensions; // further ones
    size_t extension_count;
};

// The event: type dev.weir.keyvalue.set or .deleted, id "SUBJECT@REVISION". WEIR_NO_MEMORY,
// WEIR_LIMIT (the position).
weir_status weir_keyvalue_event(const struct weir_keyvalue_change *change,
                                struct weir_event **ret_event, struct weir_error *err);

// Whether a key may be watched, read or written: not empty (unless it is a prefix), no longer than
// WEIR_KEY_BYTES_MAX, without NUL. WEIR_INVALID.
weir_status weir_keyvalue_check_key(struct weir_str key, struct weir_error *err);
weir_status weir_keyvalue_check_pattern(const struct weir_pattern *pattern, struct weir_error *err);

#endif
