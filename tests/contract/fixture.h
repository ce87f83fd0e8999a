// SPDX-License-Identifier: Apache-2.0
//
// What the contract suite needs to know of a provider: how to make a source of that kind, and how
// to change it in a way that is not weir's. One row each in the table of fixture_*.c, and one in
// rig.c.
#ifndef WEIR_TESTS_CONTRACT_FIXTURE_H
#define WEIR_TESTS_CONTRACT_FIXTURE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct fixture {
    const char *kind; // of the provider
    // Of a provider that has several modes: what this one is called, and what it can.
    const char *name;      // NULL: as the kind
    uint32_t capabilities; // 0: those of the provider
    // Makes an empty source, or returns NULL where this machine has none: the tests are skipped.
    void *(*setup)(void);
    void (*teardown)(void *source);
    // Calls `set` for each option that a resource of this source needs, with the text as a user
    // would write it.
    void (*options)(void *source, void (*set)(void *context, const char *name, const char *text),
                    void *context);
    // Changes by somebody else. Keys are of [a-z0-9/]. NULL: nobody else can reach the source, it
    // is changed by publishing alone.
    void (*foreign_set)(void *source, const char *key, const char *value);
    void (*foreign_remove)(void *source, const char *key);
    // Makes the source forget its history up to now. NULL: it keeps none, or cannot be made to.
    void (*forget)(void *source);
};

extern const struct fixture fixture_file, fixture_nats_bucket, fixture_nats_stream,
    fixture_nats_subject, fixture_postgres, fixture_postgres_outbox, fixture_postgres_channel,
    fixture_redis_keys, fixture_redis_log, fixture_redis_streams, fixture_sqlite, fixture_topic;

#endif
