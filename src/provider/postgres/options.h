// SPDX-License-Identifier: Apache-2.0
//
// What a user may set of a resource, and what follows from it. Pure functions, any thread.
//
// What is watched is said by one of three options: with `kv` a table is a store of keys and values,
// with `outbox` its new rows are events, with `channels` notifications are; without any, the rows
// of all tables can be watched.
#ifndef WEIR_PROVIDER_POSTGRES_OPTIONS_H
#define WEIR_PROVIDER_POSTGRES_OPTIONS_H

#include "base/error.h"
#include "config/option.h"

#include <stdbool.h>
#include <stdint.h>

enum weir_pg_mode { WEIR_PG_ROWS, WEIR_PG_KV, WEIR_PG_OUTBOX, WEIR_PG_CHANNELS };

enum weir_pg_snapshot {
    WEIR_PG_SNAPSHOT_AFTER_GAP,
    WEIR_PG_SNAPSHOT_ALWAYS,
    WEIR_PG_SNAPSHOT_NEVER
};

enum {
    WEIR_PG_OPTIONS = 24,
    WEIR_PG_CHANNELS_MAX = 32, // that one resource listens to
};

// As the option table describes it.
struct weir_pg_options {
    char *address, *database, *user, *password;
    int tls;
    char *tls_ca;
    char *kv;
    bool create;
    char *outbox, *id_column, *xid_column, *key_column, *payload_column, *attributes_column, *wake;
    int64_t poll_ns;
    char *channels;
    char *slot, *publication;
    int snapshot;
    int64_t linger_ns, heartbeat_ns, timeout_ns;
    uint64_t connections;
};

extern const struct weir_option weir_pg_option_rows[WEIR_PG_OPTIONS];

struct weir_pg_resource;

// Checks the options, and fills in what the resource keeps of them; its base.name must be set.
// WEIR_INVALID, WEIR_NO_MEMORY.
weir_status weir_pg_options_read(const struct weir_pg_options *options,
                                 struct weir_pg_resource *resource, struct weir_error *err);

#endif
