// SPDX-License-Identifier: Apache-2.0
//
// The Redis provider: see docs/providers/redis.md for what it promises.
#ifndef WEIR_PROVIDER_REDIS_REDIS_H
#define WEIR_PROVIDER_REDIS_REDIS_H

#include "provider/provider.h"

// What a resource is of a Redis database; the order of the option's choices.
enum weir_redis_mode {
    WEIR_REDIS_KEYS,    // its keys with a text are a store; a watch compares
    WEIR_REDIS_LOG,     // the same, and what is written through weir is in a stream that is read
    WEIR_REDIS_STREAMS, // its streams, read by consumer groups
};

struct weir_redis_options {
    char *address;
    uint64_t database;
    char *user, *password; // password: where it is
    bool tls;
    char *tls_ca, *tls_cert, *tls_key;
    int mode; // enum weir_redis_mode
    int64_t timeout_ns, ping_ns;
    uint64_t connections;
    uint64_t keys_max;
    int64_t rescan_ns;
    int64_t chain_ns;
    char *log;
    uint64_t log_entries;
    char *consumer;
    int64_t claim_ns;
};

extern const struct weir_provider weir_redis_provider;

#endif
