// SPDX-License-Identifier: Apache-2.0
//
// The provider's table, its options, and the opening and closing of a resource. The other rooms:
//
// - connect.c waits for libpq, and nothing else does; address.c, lookup.c and waiter.c are for it.
// - call.c, store.c and query.c are what is done on callers' threads, on connections of a pool.
// - source.c is what the hub's thread does: stream.c reads a replication slot by pgoutput.c,
//   relation.c and value.c; tell.c makes events of that; job.c reads tables; catalog.c asks the
//   database and keeps the publication.
// - position.c, visible.c, table.c, pattern.c, chain.c and publication.c are pure.
// - examine.c explains what a server lacks, and takes away what was made there.
#include "provider/postgres/postgres.h"

#include "base/clock.h"
#include "config/secret.h"
#include "provider/postgres/pattern.h"
#include "provider/postgres/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    CONNECTIONS_MAX = 64,
    IDLE_MS = 60000, // that a connection of the pool is kept without use
};

static const char *const tls_choices[] = {"auto", "verify-full", "require", "off", NULL};
static const char *const snapshot_choices[] = {"after-gap", "always", "never", NULL};

static const struct weir_option option_rows[] = {
    {
        .name = "address",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, address),
        .is_required = true,
        .min = 1,
        .max = 512,
        .help = "HOST:PORT/DATABASE, or the directory of the server's Unix socket",
    },
    {
        .name = "database",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, database),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the database, where the address does not say it",
    },
    {
        .name = "user",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, user),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "whom to log in as; without it, the user that weir runs as",
    },
    {
        .name = "password",
        .type = WEIR_OPTION_SECRET,
        .offset = offsetof(struct weir_pg_options, password),
        .help = "where the password is",
    },
    {
        .name = "tls",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_pg_options, tls),
        .fallback = "auto",
        .choices = tls_choices,
        .help =
            "auto: verify-full, but to this machine as the server likes it; require: encrypted, "
            "whoever answers",
    },
    {
        .name = "tls_ca",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_pg_options, tls_ca),
        .help = "the certificates that sign the server's; without it, those that the system trusts",
    },
    {
        .name = "kv",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, kv),
        .min = 1,
        .max = WEIR_PG_TABLE_BYTES - 1,
        .help = "this table is a key-value store: columns key and value, both bytea or text",
    },
    {
        .name = "create",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_pg_options, create),
        .fallback = "true",
        .help = "make the table of kv where it is missing",
    },
    {
        .name = "slot",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, slot),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the replication slot; without it, weir_ and the resource's name",
    },
    {
        .name = "publication",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, publication),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the publication; without it, one of the slot's name, which weir makes",
    },
    {
        .name = "snapshot",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_pg_options, snapshot),
        .fallback = "after-gap",
        .choices = snapshot_choices,
        .help = "when rows are told that are there already; always: also when a watch begins",
    },
    {
        .name = "linger",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, linger_ns),
        .fallback = "5m",
        // Of several that begin one after another, or end so, none is to miss anything.
        .min = 2 * WEIR_NS_PER_S,
        .max = 7 * 24 * 3600 * WEIR_NS_PER_S,
        .help = "how long the server keeps changes for a subscription that weir runs without",
    },
    {
        .name = "heartbeat",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, heartbeat_ns),
        .fallback = "10s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 3600 * WEIR_NS_PER_S,
        .help = "how often the slot moves on over what concerns nobody",
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, timeout_ns),
        .fallback = "5s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 60 * WEIR_NS_PER_S,
        .help = "the longest that connecting, or a statement, may take",
    },
    {
        .name = "connections",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_pg_options, connections),
        .fallback = "4",
        .min = 1,
        .max = CONNECTIONS_MAX,
        .help = "connections for reading and writing, beside those of watches",
    },
};

// ---- names ----

static bool is_slot_letter(char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '_';
}

// "weir_" and the resource's name. Where that is no name of a slot it is made one, with a hash of
// the name behind, so that two names never become one.
static void slot_of_name(const char *name, char to[static WEIR_PG_NAME_BYTES]) {
    char letters[WEIR_NAME_BYTES_MAX + 1];
    bool is_same = strlen(name) + sizeof "weir_" <= WEIR_PG_NAME_BYTES;
    size_t size = 0;
    for (; name[size] && size < WEIR_NAME_BYTES_MAX; size++) {
        char letter = name[size];
        letter = letter >= 'A' && letter <= 'Z' ? (char)(letter + 'a' - 'A') : letter;
        letters[size] = is_slot_letter(letter) ? letter : '_';
        is_same = is_same && letters[size] == name[size];
    }
    letters[size] = '\0';
    if (is_same) {
        snprintf(to, WEIR_PG_NAME_BYTES, "weir_%.58s", letters); // all of it
    } else {
        snprintf(to, WEIR_PG_NAME_BYTES, "weir_%.48s_%08x", letters,
                 (unsigned)XXH3_64bits(name, strlen(name)));
    }
}

static weir_status check_slot(const char *slot, struct weir_error *err) {
    for (const char *letter = slot; *letter; letter++) {
        if (!is_slot_letter(*letter)) {
            return weir_fail(err, WEIR_INVALID,
                             "\"%s\" is no name of a replication slot; it has a-z, 0-9 and _",
                             slot);
        }
    }
    return WEIR_OK;
}

// What must not be in a text that stands in a statement of the replication protocol.
static weir_status check_publication(const char *publication, struct weir_error *err) {
    if (strpbrk(publication, "'\"\\,") || !weir_utf8_valid(weir_str_of(publication))) {
        return weir_fail(err, WEIR_INVALID,
                         "the publication's name has a quote, a backslash or a comma; such a one "
                         "cannot be used here");
    }
    return WEIR_OK;
}

// ---- opening and closing ----

static void pg_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct weir_pg_resource *resource = (struct weir_pg_resource *)base;
    weir_hub_destroy(resource->hub);
    weir_pg_source_destroy(resource->source);
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

static weir_status read_target(const struct weir_pg_options *options, struct weir_pg_target *target,
                               struct weir_error *err) {
    struct weir_pg_address *address = &target->address;
    weir_status status = weir_pg_address_parse(options->address, address, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (options->database) {
        snprintf(address->database, sizeof address->database, "%s", options->database);
    }
    if (options->user) {
        snprintf(address->user, sizeof address->user, "%s", options->user);
    }
    if (!address->database[0]) {
        return weir_fail(err, WEIR_INVALID,
                         "which database? write it behind the address, HOST:PORT/DATABASE, or give "
                         "the option `database`");
    }
    target->tls = (enum weir_pg_tls)options->tls;
    target->timeout_ns = options->timeout_ns;
    target->password = options->password ? strdup(options->password) : NULL;
    target->tls_ca = options->tls_ca ? strdup(options->tls_ca) : NULL;
    target->lookups = weir_lookups_create();
    bool is_made = target->lookups && (!options->password || target->password) &&
                   (!options->tls_ca || target->tls_ca);
    return is_made ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

static weir_status read_names(const struct weir_pg_options *options,
                              struct weir_pg_resource *resource, struct weir_error *err) {
    weir_status status = WEIR_OK;
    if (options->slot) {
        status = check_slot(options->slot, err);
        snprintf(resource->slot, sizeof resource->slot, "%s", options->slot);
    } else {
        slot_of_name(resource->base.name, resource->slot);
    }
    resource->is_publication_given = options->publication != NULL;
    snprintf(resource->publication, sizeof resource->publication, "%s",
             options->publication ? options->publication : resource->slot);
    if (status == WEIR_OK) {
        status = check_publication(resource->publication, err);
    }
    if (status == WEIR_OK && options->kv) {
        resource->is_store = true;
        status = weir_pg_table_parse(weir_str_of(options->kv), &resource->kv, err);
    }
    return status;
}

static weir_status read_options(const struct weir_pg_options *options,
                                struct weir_pg_resource *resource, struct weir_error *err) {
    resource->creates = options->create;
    resource->snapshot = (enum weir_pg_snapshot)options->snapshot;
    resource->linger_ns = options->linger_ns;
    resource->heartbeat_ns = options->heartbeat_ns;
    weir_status status = read_target(options, &resource->target, err);
    return status == WEIR_OK ? read_names(options, resource, err) : status;
}

static weir_status make_parts(const struct weir_pg_options *options,
                              struct weir_pg_resource *resource, struct weir_error *err) {
    const struct weir_pool_args pool = {.connections_max = (uint32_t)options->connections,
                                        .idle_ns = IDLE_MS * WEIR_NS_PER_MS,
                                        .open = open_connection,
                                        .close = close_connection,
                                        .context = resource,
                                        .link = &resource->link};
    const struct weir_hub_args hub = {
        .resource = &resource->base, .functions = &weir_pg_hub_functions, .context = resource};
    weir_status status = weir_pool_create(&pool, &resource->pool, err);
    status = status == WEIR_OK ? weir_pg_source_create(resource, err) : status;
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
    resource->base.name = strdup(args->name);
    weir_link_init(&resource->link, resource->base.name, args->log);
    weir_status status = resource->base.name ? read_options(options, resource, err)
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

static weir_status pg_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                              struct weir_promise *ret_promise, struct weir_error *err) {
    *ret_promise = (struct weir_promise){.strength = WEIR_EVERY_CHANGE,
                                         .capabilities = base->provider->capabilities &
                                                         WEIR_WATCH_CAPABILITIES};
    return weir_pg_pattern_check(resource_of(base), pattern, err);
}

static weir_status pg_watch(struct weir_resource *base, const struct weir_watch_args *args,
                            struct weir_watch **ret_watch, struct weir_error *err) {
    *ret_watch = NULL;
    weir_status status = weir_pg_pattern_check(resource_of(base), &args->pattern, err);
    return status == WEIR_OK ? weir_hub_watch(resource_of(base)->hub, args, ret_watch, err)
                             : status;
}

const struct weir_provider weir_postgres_provider = {
    .kind = "postgres",
    .summary = "a PostgreSQL database: changes of its rows, or a table as a key-value store",
    .options = {.rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]},
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
