// SPDX-License-Identifier: Apache-2.0
//
// What the files of this folder share: a resource and its options. Private to src/provider/sqlite/.
#ifndef WEIR_PROVIDER_SQLITE_RESOURCE_H
#define WEIR_PROVIDER_SQLITE_RESOURCE_H

#include "provider/hub.h"
#include "provider/link.h"
#include "provider/pool.h"
#include "provider/provider.h"
#include "provider/sqlite/database.h"

struct weir_sqlite_options {
    char *path;
    char *kv; // NULL: rows of tables
    bool create, install, snapshot;
    uint64_t log_rows_max, tables_max, connections;
    int64_t keep_ns, poll_ns, timeout_ns;
};

struct weir_sqlite_watcher;

struct weir_sqlite_resource {
    struct weir_resource base;
    struct weir_log *log;
    struct weir_sqlite_options options; // texts are the resource's own
    struct weir_pool *pool;             // of struct weir_sqlite_client
    struct weir_link link;
    struct weir_hub *hub;
    struct weir_sqlite_watcher *watcher;
};

static inline struct weir_sqlite_resource *weir_sqlite_resource_of(struct weir_resource *base) {
    return (struct weir_sqlite_resource *)base;
}

// ---- watch.c: the hub's side; for struct weir_provider where the names are its own

weir_status weir_sqlite_watcher_create(struct weir_sqlite_resource *resource,
                                       struct weir_sqlite_watcher **ret_watcher,
                                       struct weir_error *err);
// After the hub is gone. NULL is allowed.
void weir_sqlite_watcher_destroy(struct weir_sqlite_watcher *watcher);
extern const struct weir_hub_functions weir_sqlite_hub_functions; // their context is the watcher

// Whether the pattern may be watched. WEIR_INVALID.
weir_status weir_sqlite_pattern_check(const struct weir_sqlite_resource *resource,
                                      const struct weir_pattern *pattern, struct weir_error *err);
// Whether changes of this table may match the pattern; of a resource of rows.
bool weir_sqlite_pattern_concerns(const struct weir_pattern *pattern, struct weir_str table);
// Whether a change of this key is one for the pattern.
bool weir_sqlite_pattern_matches(const struct weir_sqlite_resource *resource,
                                 const struct weir_pattern *pattern, struct weir_str key);

// ---- store.c: reading and writing, on callers' threads

// A connection of the pool.
struct weir_sqlite_client {
    struct weir_sqlite_db *db;
    // Of a key-value table; made when they are first wanted.
    char *key, *value; // its columns' names
    bool keeps_texts;  // a value that is a text may be stored as one
    sqlite3_stmt *get, *set, *remove, *list_text, *list_blob, *last;
};

weir_status weir_sqlite_pool_create(struct weir_sqlite_resource *resource, struct weir_error *err);
// Sees to the key-value table: that it is there, made if `create` says so, and fit to be one.
weir_status weir_sqlite_kv_prepare(const struct weir_sqlite_resource *resource,
                                   struct weir_sqlite_db *db, struct weir_error *err);
// How the file is opened.
enum weir_sqlite_mode weir_sqlite_mode_of(const struct weir_sqlite_resource *resource);
// The moment by which a call ends: the caller's bound or the resource's own.
int64_t weir_sqlite_until(const struct weir_sqlite_resource *resource, int64_t until_ns);

// A connection of the pool for a call; `weir_sqlite_client_give` ends that.
weir_status weir_sqlite_client_take(struct weir_sqlite_resource *resource, int64_t until_ns,
                                    struct weir_sqlite_client **ret_client, struct weir_error *err);
void weir_sqlite_client_give(struct weir_sqlite_resource *resource,
                             struct weir_sqlite_client *client, weir_status status);

weir_status weir_sqlite_get(struct weir_resource *base, struct weir_str key,
                            const struct weir_limits *limits, struct weir_value *ret_value,
                            struct weir_error *err);
weir_status weir_sqlite_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                            const struct weir_limits *limits, struct weir_error *err);
weir_status weir_sqlite_remove(struct weir_resource *base, struct weir_str key,
                               const struct weir_limits *limits, struct weir_error *err);
weir_status weir_sqlite_list(struct weir_resource *base, const struct weir_pattern *pattern,
                             const struct weir_limits *limits, const struct weir_listing *listing,
                             struct weir_error *err);
weir_status weir_sqlite_update(struct weir_resource *base, struct weir_str key,
                               const struct weir_limits *limits, const struct weir_change *change,
                               struct weir_error *err);
weir_status weir_sqlite_publish(struct weir_resource *base, struct weir_event *event,
                                struct weir_error *err);

// ---- query.c, examine.c

weir_status weir_sqlite_query(struct weir_resource *base,
                              const struct weir_sql_statement *statement,
                              const struct weir_limits *limits, struct weir_sql_result *ret_result,
                              struct weir_error *err);
weir_status weir_sqlite_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                                size_t count, const struct weir_findings *findings,
                                struct weir_error *err);
weir_status weir_sqlite_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                                 struct weir_error *err);

#endif
