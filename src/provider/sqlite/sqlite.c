// SPDX-License-Identifier: Apache-2.0
//
// The provider's table, its options, and the opening and closing of a resource. The other rooms:
// database.c is a connection to the file, table.c what a table is, triggers.c the SQL that has a
// table's changes written into a log in the database, install.c puts that there, shapes.c and
// record.c read it; wake.c notices that somebody has written, watch.c is the hub's side, tell.c
// tells the log's rows to watches, snapshot.c what was there before, consume.c keeps account of
// what was acknowledged; store.c and query.c read and write for callers, examine.c looks what is
// missing.
//
// Why triggers and a log: SQLite tells changes (sqlite3_update_hook, preupdate_hook) to the
// connection that makes them and to no other, and its WAL has pages, not rows, and is thrown away
// at each checkpoint. What a trigger writes is in the transaction that it tells of: it is there if
// and only if that was committed, whoever wrote, in whatever language.
//
// A resource holds no connection but while it is used: for watches one, on the hub's thread; for
// callers a pool.
//
// Any thread.
#include "provider/sqlite/sqlite.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/keyvalue.h"
#include "provider/sqlite/resource.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct weir_option option_rows[] = {
    {
        .name = "path",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_sqlite_options, path),
        .is_required = true,
        .min = 1,
        .max = 4096,
        .help = "the database file",
    },
    {
        .name = "kv",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_sqlite_options, kv),
        .min = 1,
        .max = 256,
        .help = "a table that is a key-value store: its rows are the keys; without it, rows of all "
                "tables can be watched",
    },
    {
        .name = "create",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_sqlite_options, create),
        .fallback = "true",
        .help = "make the file and the table of `kv` if they are missing; without `kv` nothing is "
                "made",
    },
    {
        .name = "install",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_sqlite_options, install),
        .fallback = "false",
        .help = "weir may put triggers and its log into the database, which watching needs",
    },
    {
        .name = "snapshot",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_sqlite_options, snapshot),
        .fallback = "false",
        .help = "tell a new watch what is there already, as snapshot events",
    },
    {
        .name = "log_rows_max",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_sqlite_options, log_rows_max),
        .fallback = "1000000",
        .min = 1000,
        .max = 100000000,
        .help = "changes that the log keeps; a watch that is further behind is told a gap",
    },
    {
        .name = "keep",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_sqlite_options, keep_ns),
        .fallback = "10m",
        .min = 0,
        .max = 365 * 24 * 3600 * WEIR_NS_PER_S,
        .help = "how long the log keeps what every subscription has handled, for watches without a "
                "name",
    },
    {
        .name = "poll",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_sqlite_options, poll_ns),
        .fallback = "250ms",
        .min = WEIR_NS_PER_MS,
        .max = 60 * WEIR_NS_PER_S,
        .help = "how often to look for changes when nothing wakes weir; a write to the file does",
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_sqlite_options, timeout_ns),
        .fallback = "5s",
        .min = 10 * WEIR_NS_PER_MS,
        .max = 60 * WEIR_NS_PER_S,
        .help = "how long to wait for others' locks, and the longest that one call may take",
    },
    {
        .name = "connections",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_sqlite_options, connections),
        .fallback = "4",
        .min = 1,
        .max = 64,
        .help = "connections for reading and writing at a time, beside the one that watches",
    },
    {
        .name = "tables_max",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_sqlite_options, tables_max),
        .fallback = "256",
        .min = 1,
        .max = 65536,
        .help = "tables that are watched at a time",
    },
};

// ---- opening and closing ----

static void sqlite_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    weir_hub_destroy(resource->hub);
    weir_sqlite_watcher_destroy(resource->watcher);
    weir_pool_destroy(resource->pool);
    weir_link_finish(&resource->link);
    free(resource->options.path);
    free(resource->options.kv);
    free(resource->base.name);
    free(resource);
}

static weir_status check_options(const struct weir_sqlite_options *options,
                                 struct weir_error *err) {
    const char *kv = options->kv;
    if (kv && (strncasecmp(kv, "sqlite_", 7) == 0 || strncasecmp(kv, "_weir_", 6) == 0)) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail(
            err, WEIR_INVALID, "kv: \"%s\" is a name that %s keeps for itself; name another table",
            weir_show(weir_str_of(kv), shown, sizeof shown), kv[0] == '_' ? "weir" : "SQLite");
    }
    if (kv && !weir_utf8_valid(weir_str_of(kv))) {
        return weir_fail(err, WEIR_INVALID, "kv: the name is not UTF-8");
    }
    return WEIR_OK;
}

static weir_status copy_texts(struct weir_sqlite_resource *resource,
                              const struct weir_resource_args *args, struct weir_error *err) {
    const struct weir_sqlite_options *options = args->options;
    resource->options.path = strdup(options->path);
    resource->options.kv = options->kv ? strdup(options->kv) : NULL;
    resource->base.name = strdup(args->name);
    bool has_all =
        resource->options.path && resource->base.name && (resource->options.kv || !options->kv);
    return has_all ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

static weir_status sqlite_open(const struct weir_resource_args *args,
                               struct weir_resource **ret_resource, struct weir_error *err) {
    const struct weir_sqlite_options *options = args->options;
    *ret_resource = NULL;
    weir_status status = check_options(options, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_sqlite_resource *resource = calloc(1, sizeof *resource);
    if (!resource) {
        return weir_fail_no_memory(err, "a resource");
    }
    resource->base.provider = &weir_sqlite_provider;
    resource->log = args->log;
    resource->options = *options;
    status = copy_texts(resource, args, err);
    weir_link_init(&resource->link, resource->base.name, args->log);
    status = status == WEIR_OK ? weir_sqlite_pool_create(resource, err) : status;
    status =
        status == WEIR_OK ? weir_sqlite_watcher_create(resource, &resource->watcher, err) : status;
    if (status == WEIR_OK) {
        const struct weir_hub_args hub = {.resource = &resource->base,
                                          .functions = &weir_sqlite_hub_functions,
                                          .context = resource->watcher};
        status = weir_hub_create(&hub, &resource->hub, err);
    }
    if (status != WEIR_OK) {
        sqlite_close(&resource->base);
        return status;
    }
    *ret_resource = &resource->base;
    return WEIR_OK;
}

static void sqlite_health(struct weir_resource *base, struct weir_health *ret_health) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    weir_link_health(&resource->link, weir_hub_is_watched(resource->hub), ret_health);
}

// ---- watching ----

static weir_status sqlite_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                                  struct weir_promise *ret_promise, struct weir_error *err) {
    *ret_promise = (struct weir_promise){.strength = WEIR_EVERY_CHANGE,
                                         .capabilities = base->provider->capabilities &
                                                         WEIR_WATCH_CAPABILITIES};
    return weir_sqlite_pattern_check(weir_sqlite_resource_of(base), pattern, err);
}

static weir_status sqlite_watch(struct weir_resource *base, const struct weir_watch_args *args,
                                struct weir_watch **ret_watch, struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    *ret_watch = NULL;
    weir_status status = weir_sqlite_pattern_check(resource, &args->pattern, err);
    return status == WEIR_OK ? weir_hub_watch(resource->hub, args, ret_watch, err) : status;
}

const struct weir_provider weir_sqlite_provider = {
    .kind = "sqlite",
    .summary = "a database file of SQLite's: rows of its tables, or one table as a key-value store",
    .options = {.rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]},
    .options_bytes = sizeof(struct weir_sqlite_options),
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH | WEIR_CAN_REPLAY |
                    WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH | WEIR_CAN_UPDATE |
                    WEIR_CAN_QUERY,
    .open = sqlite_open,
    .close = sqlite_close,
    .health = sqlite_health,
    .examine = weir_sqlite_examine,
    .withdraw = weir_sqlite_withdraw,
    .get = weir_sqlite_get,
    .set = weir_sqlite_set,
    .remove = weir_sqlite_remove,
    .list = weir_sqlite_list,
    .update = weir_sqlite_update,
    .query = weir_sqlite_query,
    .promise = sqlite_promise,
    .watch = sqlite_watch,
    .unwatch = weir_hub_unwatch,
    .resume = weir_hub_resume,
    .acknowledge = weir_hub_acknowledge,
    .publish = weir_sqlite_publish,
};
