// SPDX-License-Identifier: Apache-2.0
//
// Names of keys in Redis: those that weir has for itself, and patterns. Pure functions.
#ifndef WEIR_PROVIDER_REDIS_NAMES_H
#define WEIR_PROVIDER_REDIS_NAMES_H

#include "base/error.h"
#include "base/str.h"
#include "provider/provider.h"

// Behind this stands the key of a value that was published: a hash that says which event it comes
// from. Nobody is told of keys of that name.
#define WEIR_REDIS_CHAIN_PREFIX "weir:chain:"
// Behind this stands the name of a stream that was published to: what was published last.
#define WEIR_REDIS_SEEN_PREFIX "weir:seen:"
// The groups of streams that weir makes begin so, and these are for watches without a name.
#define WEIR_REDIS_GROUP_PREFIX     "weir:"
#define WEIR_REDIS_GROUP_TMP_PREFIX "weir:tmp:"

enum {
    WEIR_REDIS_OWN_BYTES_MAX = 32 + WEIR_KEY_BYTES_MAX, // of a name of weir's own
    WEIR_REDIS_GLOB_BYTES_MAX = 2 * WEIR_KEY_BYTES_MAX + 2,
};

// Whether weir has the key for itself.
bool weir_redis_is_own(struct weir_str key);
// As weir_keyvalue_check_key and _pattern, and a key of weir's own is WEIR_INVALID too.
weir_status weir_redis_check_key(struct weir_str key, struct weir_error *err);
weir_status weir_redis_check_pattern(const struct weir_pattern *pattern, struct weir_error *err);

// The prefix and the key behind it; a view of the buffer.
struct weir_str weir_redis_own_name(const char *prefix, struct weir_str key,
                                    char buffer[static WEIR_REDIS_OWN_BYTES_MAX]);
// How many bytes two texts have in common at their start.
size_t weir_redis_common_bytes(struct weir_str a, struct weir_str b);
// What SCAN takes for "every key with this prefix"; a view of the buffer.
struct weir_str weir_redis_glob(struct weir_str prefix,
                                char buffer[static WEIR_REDIS_GLOB_BYTES_MAX]);

#endif
