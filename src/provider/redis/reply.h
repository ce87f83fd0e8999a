// SPDX-License-Identifier: Apache-2.0
//
// Replies of a Redis server (RESP2), read from bytes as they come, within bounds; and what an error
// among them means. Pure functions but for the reader, which one thread at a time uses.
#ifndef WEIR_PROVIDER_REDIS_REPLY_H
#define WEIR_PROVIDER_REDIS_REPLY_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_redis_kind {
    WEIR_REDIS_NIL,
    WEIR_REDIS_INTEGER,
    WEIR_REDIS_BULK,   // any bytes
    WEIR_REDIS_STATUS, // a line, such as "OK"
    WEIR_REDIS_ERROR,  // a line
    WEIR_REDIS_ARRAY,
};

struct weir_redis_reply {
    enum weir_redis_kind kind;
    union {
        int64_t integer;
        struct weir_str bytes; // of a bulk, a status or an error; a NUL stands behind them
        struct {
            struct weir_redis_reply *items;
            size_t count;
        };
    };
};

enum {
    WEIR_REDIS_VALUE_BYTES_MAX = 512 << 20, // that a server takes, if nobody has told it otherwise
    WEIR_REDIS_ITEMS_MAX = 4 << 20,         // of one reply, all arrays together
    WEIR_REDIS_LINE_BYTES_MAX = 64 << 10,   // of a line
    WEIR_REDIS_REPLY_BYTES_MAX = 128 << 20, // of a reply, where nobody says otherwise
};

// Frees a reply that the reader gave. NULL is allowed.
void weir_redis_reply_free(struct weir_redis_reply *reply);

bool weir_redis_reply_is(const struct weir_redis_reply *reply, enum weir_redis_kind kind);
// Whether it is a status or a bulk of these bytes.
bool weir_redis_reply_says(const struct weir_redis_reply *reply, const char *text);
// The item of an array, NULL where there is none.
const struct weir_redis_reply *weir_redis_reply_at(const struct weir_redis_reply *reply,
                                                   size_t index);
// The value of a name in an array of names and values, as INFO-like commands answer; NULL where
// there is none.
const struct weir_redis_reply *weir_redis_reply_named(const struct weir_redis_reply *reply,
                                                      const char *name);
// Whether it is an error that begins with this word.
bool weir_redis_reply_fails_with(const struct weir_redis_reply *reply, const char *word);

// What an error reply means, with what to do; `doing` stands in front. WEIR_OK where it is none.
weir_status weir_redis_reply_status(const struct weir_redis_reply *reply, const char *doing,
                                    struct weir_error *err);
// A reply that no Redis server gives.
weir_status weir_redis_reply_odd(const char *doing, struct weir_error *err);

// ---- reading ----

struct weir_redis_reader;

struct weir_redis_reader *weir_redis_reader_create(void); // NULL without memory
void weir_redis_reader_destroy(struct weir_redis_reader *reader);

// A longer reply than this is an error from now on.
void weir_redis_reader_bound(struct weir_redis_reader *reader, uint64_t reply_bytes_max);

// Takes bytes. WEIR_NO_MEMORY, WEIR_LIMIT (a reply that is too long).
weir_status weir_redis_reader_feed(struct weir_redis_reader *reader, struct weir_str bytes,
                                   struct weir_error *err);
// The next reply, which the caller frees. WEIR_AGAIN: it is not whole yet; WEIR_INVALID: these are
// no replies; WEIR_LIMIT; WEIR_NO_MEMORY. After an error there are no more.
weir_status weir_redis_reader_next(struct weir_redis_reader *reader,
                                   struct weir_redis_reply **ret_reply, struct weir_error *err);

#endif
