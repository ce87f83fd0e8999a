// SPDX-License-Identifier: Apache-2.0
//
// Entries of streams as events. An entry whose fields are a CloudEvent's (weir's own publishing
// writes them so) is told as that event; any other one is of the type dev.weir.stream.entry, its
// data the field `data` where that is its only one, and else its fields as a JSON object. Pure
// functions, any thread.
#ifndef WEIR_PROVIDER_REDIS_STREAM_EVENT_H
#define WEIR_PROVIDER_REDIS_STREAM_EVENT_H

#include "event/event.h"
#include "provider/redis/entry.h"

#define WEIR_REDIS_TYPE_ENTRY "dev.weir.stream.entry"

struct weir_redis_stream_entry {
    struct weir_str source; // of an event that does not say its own: "/" and the resource's name
    struct weir_str stream; // its name, the key of the event
    const struct weir_redis_entry *entry;
    uint64_t event_bytes_max; // data above it is left out, and that is said
    bool is_repeat;           // it was delivered before
};

// The event. Its position is the entry's id. WEIR_NO_MEMORY, WEIR_LIMIT.
weir_status weir_redis_stream_event(const struct weir_redis_stream_entry *entry,
                                    struct weir_event **ret_event, struct weir_error *err);

#endif
