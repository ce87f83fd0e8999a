// SPDX-License-Identifier: Apache-2.0
//
// What a watch was told of a key, as bytes that outlast the process, and as a revision; and which
// event a value comes from. Pure functions, any thread.
#ifndef WEIR_PROVIDER_REDIS_VALUE_H
#define WEIR_PROVIDER_REDIS_VALUE_H

#include "base/str.h"
#include "event/event.h"
#include "provider/redis/reply.h"

#include <stdbool.h>
#include <stdint.h>
#include <xxhash.h>

// The state of a key that was told.
struct weir_redis_told {
    uint64_t size;
    XXH128_hash_t hash; // of its value
};

static inline bool weir_redis_told_equal(const struct weir_redis_told *a,
                                         const struct weir_redis_told *b) {
    return a->size == b->size && XXH128_isEqual(a->hash, b->hash);
}

enum {
    WEIR_REDIS_FINGERPRINT_BYTES = 25,
    WEIR_REDIS_REVISION_BYTES = 32 + sizeof "-deleted",
};

// Writes the fingerprint into the buffer; the view is of the buffer.
struct weir_str weir_redis_fingerprint_encode(const struct weir_redis_told *told,
                                              char buffer[static WEIR_REDIS_FINGERPRINT_BYTES]);
// False: it is malformed, or another version's. *ret_told is then a state that no key has.
bool weir_redis_fingerprint_decode(struct weir_str fingerprint, struct weir_redis_told *ret_told);

// The hash in hex, and "-deleted" of what came after it; a view of the buffer.
struct weir_str weir_redis_revision(const struct weir_redis_told *told, bool is_deleted,
                                    char buffer[static WEIR_REDIS_REVISION_BYTES]);

// ---- chains

// The three extensions of an event by which a chain of them can be followed.
enum {
    WEIR_REDIS_CHAIN_FIELDS = 3,
    WEIR_REDIS_CHAIN_TEXT_BYTES_MAX = 2048, // of an id; a longer one is not kept
    WEIR_REDIS_CHAIN_HOPS_BYTES_MAX = 20,
};

struct weir_redis_chain {
    struct weir_attribute extensions[WEIR_REDIS_CHAIN_FIELDS]; // those that it has
    size_t count;
};

// The names of the extensions, in the order in which they are kept.
extern const char *const weir_redis_chain_names[WEIR_REDIS_CHAIN_FIELDS];

// The chain in an event's extensions, as views of them.
struct weir_redis_chain weir_redis_chain_of(const struct weir_event_fields *fields);
// Adds one that was kept, if it may be one; NULL or nil: there is none.
void weir_redis_chain_add(struct weir_redis_chain *chain, size_t index,
                          const struct weir_redis_reply *kept);

#endif
