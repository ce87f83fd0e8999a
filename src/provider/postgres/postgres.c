// SPDX-License-Identifier: Apache-2.0
//
// The provider's table, its options, and the opening and closing of a resource. The other rooms:
//
// - connect.c waits for libpq, and nothing else does; address.c, lookup.c and waiter.c are for it.
// - call.c, store.c, publish.c and query.c are what is done on callers' threads, on connections of
// a
//   pool.
// - source.c is what the hub's thread does of rows and stores: stream.c reads a replication slot by
//   pgoutput.c, relation.c and value.c; tell.c makes events of that; job.c reads tables; catalog.c
//   asks the database and keeps the publication.
// - outbox.c and outbox_read.c are the same of an outbox, listener.c of channels; post.c makes the
//   events of both.
// - options.c, position.c, cursor.c, visible.c, table.c, pattern.c, chain.c, publication.c and
//   post.c are pure.
// - examine.c and examine_outbox.c explain what a server lacks, and take away what was made there.
#include "provider/postgres/postgres.h"

#include "base/clock.h"
#include "config/secret.h"
#include "provider/keyvalue.h"
#include "provider/postgres/listener.h"
#include "provider/postgres/outbox.h"
#include "provider/postgres/pattern.h"
#include "provider/postgres/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { IDLE_MS = 60000 }; // that a connection of the pool is kept without use

// ---- opening and closing ----

static void pg_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct weir_pg_resource *resource = (struct weir_pg_resource *)base;
    weir_hub_destroy(resource->hub);
    weir_pg_source_destroy(resource->source);
    weir_pg_outbox_destroy(resource->outbox);
    weir_pg_listener_destroy(resource->listener);
    weir_pool_destroy(resource->pool);
    weir_link_finish(&resource->link);
    free(resource->target.password);
    free(resource->target.tls_ca);
    weir_lookups_destroy(resource->target.lookups);
    free(resource->base.name);
    free(resource);
}

static weir_status open_connection(void *context, int64_t until_ns, void **ret_connection,
                                   struct weir_error *err) {
    const struct weir_pg_resource *resource = context;
    const struct weir_waiter waiter = {.until_ns = until_ns};
    PGconn *connection;
    weir_status status = weir_pg_connect(&resource->target, WEIR_PG_SQL, &waiter, &connection, err);
    *ret_connection = connection;
    return status;
}

static void close_connection(void *context, void *connection) {
    (void)context;
    PQfinish(connection);
}

static weir_status make_watcher(struct weir_pg_resource *resource,
                                const struct weir_hub_functions **ret_functions,
                                struct weir_error *err) {
    switch (resource->mode) {
    case WEIR_PG_OUTBOX:
        *ret_functions = &weir_pg_outbox_hub_functions;
        return weir_pg_outbox_create(resource, err);
    case WEIR_PG_CHANNELS:
        *ret_functions = &weir_pg_listener_hub_functions;
        return weir_pg_listener_create(resource, err);
    default:
        *ret_functions = &weir_pg_hub_functions;
        return weir_pg_source_create(resource, err);
    }
}

static weir_status make_parts(const struct weir_pg_options *options,
                              struct weir_pg_resource *resource, struct weir_error *err) {
    const struct weir_pool_args pool = {.connections_max = (uint32_t)options->connections,
                                        .idle_ns = IDLE_MS * WEIR_NS_PER_MS,
                                        .open = open_connection,
                                        .close = close_connection,
                                        .context = resource,
                                        .link = &resource->link};
    struct weir_hub_args hub = {.resource = &resource->base, .context = resource};
    weir_status status = weir_pool_create(&pool, &resource->pool, err);
    status = status == WEIR_OK ? make_watcher(resource, &hub.functions, err) : status;
    return status == WEIR_OK ? weir_hub_create(&hub, &resource->hub, err) : status;
}

static weir_status pg_open(const struct weir_resource_args *args,
                           struct weir_resource **ret_resource, struct weir_error *err) {
    const struct weir_pg_options *options = args->options;
    *ret_resource = NULL;
    struct weir_pg_resource *resource = calloc(1, sizeof *resource);
    if (!resource) {
        return weir_fail_no_memory(err, "a resource");
    }
    resource->base.provider = &weir_postgres_provider;
    resource->log = args->log;
    atomic_init(&resource->key_kind, WEIR_PG_KEY_UNKNOWN);
    atomic_init(&resource->payload_type, 0);
    resource->base.name = strdup(args->name);
    weir_link_init(&resource->link, resource->base.name, args->log);
    weir_status status = resource->base.name ? weir_pg_options_read(options, resource, err)
                                             : weir_fail_no_memory(err, "a resource");
    status = status == WEIR_OK ? make_parts(options, resource, err) : status;
    if (status != WEIR_OK) {
        pg_close(&resource->base);
        return status;
    }
    *ret_resource = &resource->base;
    return WEIR_OK;
}

// ---- watching ----

static struct weir_pg_resource *resource_of(struct weir_resource *base) {
    return (struct weir_pg_resource *)base;
}

static void pg_health(struct weir_resource *base, struct weir_health *ret_health) {
    struct weir_pg_resource *resource = resource_of(base);
    weir_link_health(&resource->link, weir_hub_is_watched(resource->hub), ret_health);
}

static weir_status check_pattern(struct weir_pg_resource *resource,
                                 const struct weir_pattern *pattern, struct weir_error *err) {
    return resource->mode == WEIR_PG_ROWS ? weir_pg_pattern_check(pattern, err)
                                          : weir_keyvalue_check_pattern(pattern, err);
}

static weir_status pg_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                              struct weir_promise *ret_promise, struct weir_error *err) {
    struct weir_pg_resource *resource = resource_of(base);
    const uint32_t outbox = WEIR_CAN_REPLAY | WEIR_CAN_ACK | WEIR_CAN_PAUSE;
    bool is_best_effort = resource->mode == WEIR_PG_CHANNELS;
    *ret_promise = (struct weir_promise){
        .strength = is_best_effort ? WEIR_LATEST_VALUE : WEIR_EVERY_CHANGE,
        .capabilities = is_best_effort                     ? 0
                        : resource->mode == WEIR_PG_OUTBOX ? outbox
                                                           : outbox | WEIR_SHARES_PAUSE};
    return check_pattern(resource, pattern, err);
}

static weir_status pg_watch(struct weir_resource *base, const struct weir_watch_args *args,
                            struct weir_watch **ret_watch, struct weir_error *err) {
    *ret_watch = NULL;
    weir_status status = check_pattern(resource_of(base), &args->pattern, err);
    return status == WEIR_OK ? weir_hub_watch(resource_of(base)->hub, args, ret_watch, err)
                             : status;
}

const struct weir_provider weir_postgres_provider = {
    .kind = "postgres",
    .summary = "PostgreSQL: rows of tables, a table as a key-value store or an outbox, or channels",
    .options = {.rows = weir_pg_option_rows, .count = WEIR_PG_OPTIONS},
    .options_bytes = sizeof(struct weir_pg_options),
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH | WEIR_CAN_REPLAY |
                    WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE | WEIR_CAN_PUBLISH |
                    WEIR_CAN_UPDATE | WEIR_CAN_QUERY,
    .open = pg_open,
    .close = pg_close,
    .health = pg_health,
    .examine = weir_pg_examine,
    .withdraw = weir_pg_withdraw,
    .get = weir_pg_get,
    .set = weir_pg_set,
    .remove = weir_pg_remove,
    .list = weir_pg_list,
    .update = weir_pg_update,
    .query = weir_pg_query,
    .promise = pg_promise,
    .watch = pg_watch,
    .unwatch = weir_hub_unwatch,
    .resume = weir_hub_resume,
    .acknowledge = weir_hub_acknowledge,
    .publish = weir_pg_publish,
};
