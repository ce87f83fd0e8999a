// SPDX-License-Identifier: Apache-2.0
//
// Entries of streams: their ids, which are their places in a stream's history, and reading them out
// of replies. Pure functions, any thread.
#ifndef WEIR_PROVIDER_REDIS_ENTRY_H
#define WEIR_PROVIDER_REDIS_ENTRY_H

#include "base/str.h"
#include "provider/redis/reply.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_redis_id {
    uint64_t ms, seq; // when it was added, by the server's clock; and which one of that time
};

enum { WEIR_REDIS_ID_BYTES = 42 };

// "MS-SEQ". False: it is no such thing.
bool weir_redis_id_parse(struct weir_str text, struct weir_redis_id *ret_id);
// A view of the buffer.
struct weir_str weir_redis_id_format(struct weir_redis_id id,
                                     char buffer[static WEIR_REDIS_ID_BYTES]);
int weir_redis_id_compare(struct weir_redis_id a, struct weir_redis_id b);
// The one before it; of the first one there can be, itself.
struct weir_redis_id weir_redis_id_before(struct weir_redis_id id);
bool weir_redis_id_is_zero(struct weir_redis_id id);

// An entry of a reply of XRANGE or XREADGROUP: [id, [name, value, ...]].
struct weir_redis_entry {
    struct weir_redis_id id;
    struct weir_str id_text;
    const struct weir_redis_reply *fields; // NULL: it was deleted
};

// False: it is no entry.
bool weir_redis_entry_read(const struct weir_redis_reply *reply,
                           struct weir_redis_entry *ret_entry);
// The value of a field, the first one of that name; an empty view without data where there is none.
struct weir_str weir_redis_entry_field(const struct weir_redis_entry *entry, const char *name);
// Of what XINFO answers, the number or the id (as a text, or of an entry) of that name; -1 and zero
// where there is none.
int64_t weir_redis_info_number(const struct weir_redis_reply *info, const char *name);
struct weir_redis_id weir_redis_info_id(const struct weir_redis_reply *info, const char *name);
// The bytes that its names and values have together.
size_t weir_redis_entry_bytes(const struct weir_redis_entry *entry);

#endif
