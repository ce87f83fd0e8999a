// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share: an opened resource, and the operations that it consists of.
#ifndef WEIR_PROVIDER_POSTGRES_RESOURCE_H
#define WEIR_PROVIDER_POSTGRES_RESOURCE_H

#include "provider/hub.h"
#include "provider/link.h"
#include "provider/pool.h"
#include "provider/postgres/connect.h"
#include "provider/postgres/options.h"
#include "provider/postgres/table.h"
#include "provider/provider.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// An outbox: its table, what is read of it, and how. Columns are quoted as SQL has them.
struct weir_pg_outbox_table {
    struct weir_pg_table_name name;
    char id[WEIR_PG_COLUMN_BYTES], xid[WEIR_PG_COLUMN_BYTES];
    // "": there is none.
    char key[WEIR_PG_COLUMN_BYTES], payload[WEIR_PG_COLUMN_BYTES], attributes[WEIR_PG_COLUMN_BYTES];
    char wake[WEIR_PG_NAME_BYTES]; // the channel
    int64_t poll_ns;
};

// The type of a store's column `key`.
enum weir_pg_key_kind { WEIR_PG_KEY_UNKNOWN, WEIR_PG_KEY_BYTES, WEIR_PG_KEY_TEXT };

struct weir_pg_source;
struct weir_pg_outbox;
struct weir_pg_listener;

struct weir_pg_resource {
    struct weir_resource base;
    // Constant.
    struct weir_log *log;
    struct weir_pg_target target;
    enum weir_pg_mode mode;
    struct weir_pg_table_name kv; // of a store
    bool creates;                 // the store's table
    struct weir_pg_outbox_table outbox_table;
    char channels[WEIR_PG_CHANNELS_MAX][WEIR_PG_NAME_BYTES];
    size_t channel_count;
    char slot[WEIR_PG_NAME_BYTES], publication[WEIR_PG_NAME_BYTES];
    bool is_publication_given; // by the configuration, and so its owner's
    enum weir_pg_snapshot snapshot;
    int64_t linger_ns, heartbeat_ns;

    struct weir_link link;    // of the replication connections; the hub's thread's
    struct weir_pool *pool;   // of the calls
    atomic_int key_kind;      // enum weir_pg_key_kind, as it was found last
    atomic_uint payload_type; // of an outbox's payload column, likewise; 0: not known
    struct weir_hub *hub;
    // The hub's thread's; that of the mode, the others are NULL.
    struct weir_pg_source *source;
    struct weir_pg_outbox *outbox;
    struct weir_pg_listener *listener;
};

// A connection of the pool, and how long there is for what is done on it.
struct weir_pg_call {
    struct weir_pg_resource *resource;
    PGconn *connection;
    struct weir_waiter waiter;
};

// ---- store.c: keys and values; any thread ----

weir_status weir_pg_get(struct weir_resource *base, struct weir_str key,
                        const struct weir_limits *limits, struct weir_value *ret_value,
                        struct weir_error *err);
weir_status weir_pg_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                        const struct weir_limits *limits, struct weir_error *err);
weir_status weir_pg_remove(struct weir_resource *base, struct weir_str key,
                           const struct weir_limits *limits, struct weir_error *err);
weir_status weir_pg_list(struct weir_resource *base, const struct weir_pattern *pattern,
                         const struct weir_limits *limits, const struct weir_listing *listing,
                         struct weir_error *err);
weir_status weir_pg_update(struct weir_resource *base, struct weir_str key,
                           const struct weir_limits *limits, const struct weir_change *change,
                           struct weir_error *err);
// Sets or removes the key, with the event's chain. WEIR_OTHER, WEIR_INVALID, WEIR_UNAVAILABLE, ...
weir_status weir_pg_store_publish(const struct weir_pg_call *call, struct weir_str key,
                                  const struct weir_event_fields *fields, struct weir_error *err);
// Makes the store's table, unless it is there.
weir_status weir_pg_store_create(const struct weir_pg_resource *resource, PGconn *connection,
                                 const struct weir_waiter *waiter, struct weir_error *err);

// ---- query.c; any thread ----

weir_status weir_pg_query(struct weir_resource *base, const struct weir_sql_statement *statement,
                          const struct weir_limits *limits, struct weir_sql_result *ret_result,
                          struct weir_error *err);

// ---- examine.c; any thread ----

weir_status weir_pg_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                            size_t count, const struct weir_findings *findings,
                            struct weir_error *err);
weir_status weir_pg_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                             struct weir_error *err);

// ---- publish.c; any thread ----

weir_status weir_pg_publish(struct weir_resource *base, struct weir_event *event,
                            struct weir_error *err);

// ---- call.c; any thread ----

// Takes a connection that is not known to be closed.
weir_status weir_pg_call_begin(struct weir_pg_resource *resource, int64_t until_ns,
                               struct weir_pg_call *ret_call, struct weir_error *err);
void weir_pg_call_end(struct weir_pg_call *call);
// Runs statements that have neither parameters nor a result.
weir_status weir_pg_call_text(const struct weir_pg_call *call, const char *text,
                              struct weir_error *err);

#endif
