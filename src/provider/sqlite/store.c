// SPDX-License-Identifier: Apache-2.0
//
// A table as a key-value store: get, set, remove, list, update, publish; and the pool of
// connections that these and queries run on.
//
// SQLite keeps a text and a blob of the same bytes as different values, so one key may stand in a
// table in two ways. weir writes keys that are UTF-8 as texts, which is what a person types, and
// the others as blobs; it reads both, the text first, and a set or remove leaves no other one
// behind.
//
// A change is a transaction of its own, begun as the writer (BEGIN IMMEDIATE), so that waiting for
// others is done once, where it can be given up without anything done. An update keeps it while the
// new value is made: nobody else writes meanwhile, through weir or not.
//
// What is published carries its chain in the log: the row that the trigger has written for the
// change gets it in the same transaction. Who reads the log sees both or neither.
//
// Any thread.
#include "provider/sqlite/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/keyvalue.h"
#include "provider/sqlite/chain.h"
#include "provider/sqlite/table.h"
#include "provider/subject.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE_S = 60 }; // before a connection that nobody uses is closed

// ---- connections ----

enum weir_sqlite_mode weir_sqlite_mode_of(const struct weir_sqlite_resource *resource) {
    return resource->options.kv && resource->options.create ? WEIR_SQLITE_CREATE
                                                            : WEIR_SQLITE_WRITE;
}

int64_t weir_sqlite_until(const struct weir_sqlite_resource *resource, int64_t until_ns) {
    int64_t own_ns = weir_clock_monotonic_ns() + resource->options.timeout_ns;
    return own_ns < until_ns ? own_ns : until_ns;
}

static bool is_empty_file(const struct weir_sqlite_db *db) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v2(db->handle, "PRAGMA page_count", -1, &statement, NULL) == SQLITE_OK &&
           sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int64(statement, 0) == 0;
}

weir_status weir_sqlite_kv_prepare(const struct weir_sqlite_resource *resource,
                                   struct weir_sqlite_db *db, struct weir_error *err) {
    if (!resource->options.create) {
        return WEIR_OK;
    }
    if (is_empty_file(db)) {
        // So that readers and the writer do not hold each other up. Somebody may be making it too.
        sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    }
    WEIR_SQLITE_AUTO_FREE char *sql =
        sqlite3_mprintf("CREATE TABLE IF NOT EXISTS main.\"%w\"(\"key\" TEXT PRIMARY KEY NOT NULL, "
                        "\"value\" BLOB NOT NULL)",
                        resource->options.kv);
    return weir_sqlite_db_run(db, sql, "make a key-value table in", err);
}

static weir_status read_columns(const struct weir_sqlite_resource *resource,
                                struct weir_sqlite_client *client, struct weir_error *err) {
    struct weir_sqlite_table *table;
    struct weir_sqlite_kv_columns columns;
    weir_status status =
        weir_sqlite_table_read(client->db, weir_str_of(resource->options.kv), &table, err);
    if (status == WEIR_NOT_FOUND) { // the table is missing, which is not what a caller asked for
        return weir_error_prefix(err, WEIR_UNAVAILABLE,
                                 "kv: make the table, or set `create: true`");
    }
    status = status == WEIR_OK ? weir_sqlite_table_kv(client->db, table, &columns, err) : status;
    if (status == WEIR_OK) {
        client->key = strdup(table->columns[columns.key].name);
        client->value = strdup(table->columns[columns.value].name);
        client->keeps_texts = table->columns[columns.value].affinity != WEIR_SQLITE_AFFINITY_NUMBER;
        status = client->key && client->value ? WEIR_OK : weir_fail_no_memory(err, "a connection");
    }
    weir_sqlite_table_free(table);
    return status;
}

static void client_close(void *context, void *connection) {
    struct weir_sqlite_client *client = connection;
    (void)context;
    if (!client) {
        return;
    }
    sqlite3_stmt *statements[] = {client->get,       client->set,       client->remove,
                                  client->list_text, client->list_blob, client->last};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        sqlite3_finalize(statements[i]);
    }
    weir_sqlite_db_close(client->db);
    free(client->key);
    free(client->value);
    free(client);
}

static weir_status client_open(void *context, int64_t until_ns, void **ret_connection,
                               struct weir_error *err) {
    const struct weir_sqlite_resource *resource = context;
    *ret_connection = NULL;
    struct weir_sqlite_client *client = calloc(1, sizeof *client);
    if (!client) {
        return weir_fail_no_memory(err, "a connection");
    }
    const struct weir_sqlite_db_args args = {.path = resource->options.path,
                                             .mode = weir_sqlite_mode_of(resource),
                                             .until_ns = until_ns};
    weir_status status = weir_sqlite_db_open(&args, &client->db, err);
    if (status == WEIR_NOT_FOUND) { // of the key that is asked for, this says nothing
        status = weir_error_prefix(err, WEIR_UNAVAILABLE, "%s", resource->base.name);
    }
    if (status == WEIR_OK && resource->options.kv) {
        status = weir_sqlite_kv_prepare(resource, client->db, err);
        status = status == WEIR_OK ? read_columns(resource, client, err) : status;
    }
    if (status != WEIR_OK) {
        client_close(NULL, client);
        return status;
    }
    *ret_connection = client;
    return WEIR_OK;
}

weir_status weir_sqlite_pool_create(struct weir_sqlite_resource *resource, struct weir_error *err) {
    const struct weir_pool_args args = {
        .connections_max = (uint32_t)resource->options.connections,
        .idle_ns = IDLE_S * WEIR_NS_PER_S,
        .open = client_open,
        .close = client_close,
        .context = resource,
        .link = &resource->link,
    };
    return weir_pool_create(&args, &resource->pool, err);
}

weir_status weir_sqlite_client_take(struct weir_sqlite_resource *resource, int64_t until_ns,
                                    struct weir_sqlite_client **ret_client,
                                    struct weir_error *err) {
    bool is_fresh = false;
    *ret_client = NULL;
    while (!*ret_client) { // ends: those that are stale are closed, and are so many at most
        void *connection;
        weir_status status = weir_pool_take(resource->pool, until_ns, &connection, &is_fresh, err);
        if (status != WEIR_OK) {
            return status;
        }
        struct weir_sqlite_client *client = connection;
        // Writing to a file that was removed or replaced would succeed, and be lost.
        if (!is_fresh && weir_sqlite_db_has_moved(client->db)) {
            weir_pool_give(resource->pool, client, false);
        } else {
            *ret_client = client;
        }
    }
    weir_sqlite_db_bound((*ret_client)->db, until_ns);
    return WEIR_OK;
}

void weir_sqlite_client_give(struct weir_sqlite_resource *resource,
                             struct weir_sqlite_client *client, weir_status status) {
    client->db->rights = WEIR_SQLITE_OURS; // first: it may take back a transaction
    weir_sqlite_db_rollback(client->db);
    bool is_usable = status == WEIR_OK || status == WEIR_NOT_FOUND || status == WEIR_LIMIT ||
                     status == WEIR_DENIED;
    weir_pool_give(resource->pool, client, is_usable);
}

// ---- keys ----

static weir_status need_kv(const struct weir_sqlite_resource *resource, struct weir_error *err) {
    return resource->options.kv
               ? WEIR_OK
               : weir_fail(
                     err, WEIR_UNSUPPORTED,
                     "%s is a database of tables, not a key-value store: set `kv` to the name "
                     "of a table that is one",
                     resource->base.name);
}

static weir_status take_for_key(struct weir_sqlite_resource *resource, struct weir_str key,
                                int64_t until_ns, struct weir_sqlite_client **ret_client,
                                struct weir_error *err) {
    *ret_client = NULL;
    weir_status status = need_kv(resource, err);
    status = status == WEIR_OK ? weir_keyvalue_check_key(key, err) : status;
    return status == WEIR_OK ? weir_sqlite_client_take(resource, until_ns, ret_client, err)
                             : status;
}

static int bind_key(sqlite3_stmt *statement, int parameter, struct weir_str key, bool is_text) {
    return is_text ? sqlite3_bind_text64(statement, parameter, key.data, key.size, SQLITE_STATIC,
                                         SQLITE_UTF8)
                   : sqlite3_bind_blob64(statement, parameter, key.data, key.size, SQLITE_STATIC);
}

static weir_status no_key(struct weir_str key, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "no key \"%s\"", weir_show(key, shown, sizeof shown));
}

// ---- get

static weir_status copy_value(sqlite3_stmt *statement, struct weir_str key,
                              const struct weir_limits *limits, struct weir_value *ret_value,
                              struct weir_error *err) {
    struct weir_str bytes = weir_sqlite_bytes(statement, 0);
    if (bytes.size > limits->value_bytes_max) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail(err, WEIR_LIMIT,
                         "the value of \"%s\" has %zu bytes; at most %llu are wanted",
                         weir_show(key, shown, sizeof shown), bytes.size,
                         (unsigned long long)limits->value_bytes_max);
    }
    ret_value->data = malloc(bytes.size + 1); // never of no size
    if (!ret_value->data) {
        return weir_fail_no_memory(err, "a value");
    }
    if (bytes.size > 0) {
        memcpy(ret_value->data, bytes.data, bytes.size);
    }
    ret_value->size = bytes.size;
    return WEIR_OK;
}

static weir_status get(const struct weir_sqlite_resource *resource,
                       struct weir_sqlite_client *client, struct weir_str key,
                       const struct weir_limits *limits, struct weir_value *ret_value,
                       struct weir_error *err) {
    weir_status status = WEIR_OK;
    if (!client->get) {
        WEIR_SQLITE_AUTO_FREE char *sql = sqlite3_mprintf(
            "SELECT \"%w\" FROM main.\"%w\" WHERE \"%w\" IN (?1, ?2) ORDER BY typeof(\"%w\") DESC "
            "LIMIT 1",
            client->value, resource->options.kv, client->key, client->key);
        status = weir_sqlite_db_prepare(client->db, sql, &client->get, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    int code = bind_key(client->get, 1, key, true);
    code = code == SQLITE_OK ? bind_key(client->get, 2, key, false) : code;
    code = code == SQLITE_OK ? sqlite3_step(client->get) : code;
    if (code == SQLITE_ROW) {
        status = copy_value(client->get, key, limits, ret_value, err);
    } else {
        status = code == SQLITE_DONE ? no_key(key, err)
                                     : weir_sqlite_db_fail(client->db, code, "read a key of", err);
    }
    sqlite3_reset(client->get);
    return status;
}

weir_status weir_sqlite_get(struct weir_resource *base, struct weir_str key,
                            const struct weir_limits *limits, struct weir_value *ret_value,
                            struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_client *client;
    *ret_value = (struct weir_value){0};
    int64_t until_ns = weir_sqlite_until(resource, limits->until_ns);
    weir_status status = take_for_key(resource, key, until_ns, &client, err);
    if (status == WEIR_OK) {
        status = get(resource, client, key, limits, ret_value, err);
        weir_sqlite_client_give(resource, client, status);
    }
    return status;
}

// ---- set and remove; inside of a transaction

static weir_status begin(struct weir_sqlite_client *client, struct weir_error *err) {
    return weir_sqlite_db_run(client->db, "BEGIN IMMEDIATE", "write to", err);
}

static weir_status commit(struct weir_sqlite_client *client, struct weir_error *err) {
    return weir_sqlite_db_run(client->db, "COMMIT", "write to", err);
}

// Deletes the key in the ways that are said. *ret_count: how many rows that were.
static weir_status delete(const struct weir_sqlite_resource *resource,
                          struct weir_sqlite_client *client, struct weir_str key, bool as_text,
                          bool as_blob, int64_t *ret_count, struct weir_error *err) {
    if (!client->remove) {
        WEIR_SQLITE_AUTO_FREE char *sql = sqlite3_mprintf(
            "DELETE FROM main.\"%w\" WHERE \"%w\" IN (?1, ?2)", resource->options.kv, client->key);
        weir_status status = weir_sqlite_db_prepare(client->db, sql, &client->remove, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    int code = as_text ? bind_key(client->remove, 1, key, true)
                       : sqlite3_bind_null(client->remove, 1); // equals nothing
    if (code == SQLITE_OK) {
        code = as_blob ? bind_key(client->remove, 2, key, false)
                       : sqlite3_bind_null(client->remove, 2);
    }
    code = code == SQLITE_OK ? sqlite3_step(client->remove) : code;
    weir_status status = code == SQLITE_DONE
                             ? WEIR_OK
                             : weir_sqlite_db_fail(client->db, code, "remove a key of", err);
    *ret_count = sqlite3_changes64(client->db->handle);
    sqlite3_reset(client->remove);
    return status;
}

static int bind_value(struct weir_sqlite_client *client, struct weir_str value) {
    const char *data = value.data ? value.data : "";
    bool is_text = client->keeps_texts && weir_utf8_valid(value) && !memchr(data, '\0', value.size);
    return is_text
               ? sqlite3_bind_text64(client->set, 2, data, value.size, SQLITE_STATIC, SQLITE_UTF8)
               : sqlite3_bind_blob64(client->set, 2, data, value.size, SQLITE_STATIC);
}

static weir_status upsert(const struct weir_sqlite_resource *resource,
                          struct weir_sqlite_client *client, struct weir_str key,
                          struct weir_str value, struct weir_error *err) {
    if (!client->set) {
        WEIR_SQLITE_AUTO_FREE char *sql = sqlite3_mprintf(
            "INSERT INTO main.\"%w\"(\"%w\", \"%w\") VALUES(?1, ?2) ON CONFLICT(\"%w\") DO UPDATE "
            "SET \"%w\" = excluded.\"%w\"",
            resource->options.kv, client->key, client->value, client->key, client->value,
            client->value);
        weir_status status = weir_sqlite_db_prepare(client->db, sql, &client->set, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    int code = bind_key(client->set, 1, key, weir_utf8_valid(key));
    code = code == SQLITE_OK ? bind_value(client, value) : code;
    code = code == SQLITE_OK ? sqlite3_step(client->set) : code;
    weir_status status =
        code == SQLITE_DONE ? WEIR_OK : weir_sqlite_db_fail(client->db, code, "set a key of", err);
    sqlite3_reset(client->set);
    sqlite3_clear_bindings(client->set);
    return status;
}

// Sets the key, and leaves no other row of it.
static weir_status put(const struct weir_sqlite_resource *resource,
                       struct weir_sqlite_client *client, struct weir_str key,
                       struct weir_str value, struct weir_error *err) {
    int64_t others;
    bool is_text = weir_utf8_valid(key);
    weir_status status = delete (resource, client, key, !is_text, is_text, &others, err);
    return status == WEIR_OK ? upsert(resource, client, key, value, err) : status;
}

weir_status weir_sqlite_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                            const struct weir_limits *limits, struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_client *client;
    int64_t until_ns = weir_sqlite_until(resource, limits->until_ns);
    weir_status status = take_for_key(resource, key, until_ns, &client, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = begin(client, err);
    status = status == WEIR_OK ? put(resource, client, key, value, err) : status;
    status = status == WEIR_OK ? commit(client, err) : status;
    weir_sqlite_client_give(resource, client, status);
    return status;
}

weir_status weir_sqlite_remove(struct weir_resource *base, struct weir_str key,
                               const struct weir_limits *limits, struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_client *client;
    int64_t count = 0, until_ns = weir_sqlite_until(resource, limits->until_ns);
    weir_status status = take_for_key(resource, key, until_ns, &client, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = begin(client, err);
    status = status == WEIR_OK ? delete (resource, client, key, true, true, &count, err) : status;
    status = status == WEIR_OK ? commit(client, err) : status;
    weir_sqlite_client_give(resource, client, status);
    return status == WEIR_OK && count == 0 ? no_key(key, err) : status;
}

// ---- update

static weir_status change_key(const struct weir_sqlite_resource *resource,
                              struct weir_sqlite_client *client, struct weir_str key,
                              const struct weir_limits *limits, const struct weir_change *change,
                              struct weir_error *err) {
    struct weir_value before = {0}, after = {0};
    weir_status status = get(resource, client, key, limits, &before, err);
    bool is_there = status == WEIR_OK;
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        return status;
    }
    struct weir_str current = {.data = before.data, .size = before.size};
    status = change->change(change->context, is_there ? &current : NULL, &after, err);
    if (status == WEIR_OK) {
        status = put(resource, client, key, (struct weir_str){after.data, after.size}, err);
        free(after.data);
    }
    free(before.data);
    return status;
}

weir_status weir_sqlite_update(struct weir_resource *base, struct weir_str key,
                               const struct weir_limits *limits, const struct weir_change *change,
                               struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_client *client;
    int64_t until_ns = weir_sqlite_until(resource, limits->until_ns);
    weir_status status = take_for_key(resource, key, until_ns, &client, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = begin(client, err);
    status = status == WEIR_OK ? change_key(resource, client, key, limits, change, err) : status;
    status = status == WEIR_OK ? commit(client, err) : status;
    weir_sqlite_client_give(resource, client, status);
    return status;
}

// ---- list

// The keys of one kind, in the order of their bytes.
struct stream {
    struct weir_sqlite_client *client;
    const struct weir_pattern *pattern;
    sqlite3_stmt *statement;
    bool is_text, is_ended;
    struct weir_str key; // where it stands
};

// Goes on to the next key that can be one.
static weir_status stream_next(struct stream *stream, struct weir_error *err) {
    while (!stream->is_ended) { // ends: with the table, or its part that has the prefix
        int code = sqlite3_step(stream->statement);
        if (code != SQLITE_ROW && code != SQLITE_DONE) {
            return weir_sqlite_db_fail(stream->client->db, code, "list keys of", err);
        }
        stream->is_ended = code == SQLITE_DONE || (sqlite3_column_type(stream->statement, 0) ==
                                                   SQLITE_TEXT) != stream->is_text;
        if (stream->is_ended) {
            break;
        }
        stream->key = weir_sqlite_bytes(stream->statement, 0);
        if (!weir_str_has_prefix(stream->key, stream->pattern->text)) {
            stream->is_ended = true;
        } else if (weir_pattern_matches(stream->pattern, stream->key) &&
                   weir_keyvalue_check_key(stream->key, NULL) == WEIR_OK) {
            break;
        }
    }
    return WEIR_OK;
}

static weir_status stream_begin(const struct weir_sqlite_resource *resource, struct stream *stream,
                                sqlite3_stmt **statement, struct weir_error *err) {
    weir_status status = WEIR_OK;
    if (!*statement) {
        const char *key = stream->client->key;
        WEIR_SQLITE_AUTO_FREE char *sql =
            sqlite3_mprintf("SELECT \"%w\" FROM main.\"%w\" WHERE \"%w\" >= ?1 ORDER BY \"%w\"",
                            key, resource->options.kv, key, key);
        status = weir_sqlite_db_prepare(stream->client->db, sql, statement, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    stream->statement = *statement;
    struct weir_str text = stream->pattern->text;
    text.data = text.data ? text.data : "";
    int code = bind_key(stream->statement, 1, text, stream->is_text);
    return code == SQLITE_OK ? stream_next(stream, err)
                             : weir_sqlite_db_fail(stream->client->db, code, "list keys of", err);
}

static int compare(struct weir_str a, struct weir_str b) {
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

// The two streams as one; a key that stands in both is told once.
static weir_status merge(struct stream *texts, struct stream *blobs,
                         const struct weir_listing *listing, struct weir_error *err) {
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && (!texts->is_ended || !blobs->is_ended)) {
        int order = texts->is_ended ? 1 : blobs->is_ended ? -1 : compare(texts->key, blobs->key);
        if (!listing->each(listing->context, order <= 0 ? texts->key : blobs->key)) {
            break;
        }
        status = order <= 0 ? stream_next(texts, err) : status;
        status = status == WEIR_OK && order >= 0 ? stream_next(blobs, err) : status;
    }
    return status;
}

weir_status weir_sqlite_list(struct weir_resource *base, const struct weir_pattern *pattern,
                             const struct weir_limits *limits, const struct weir_listing *listing,
                             struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_client *client;
    weir_status status = need_kv(resource, err);
    status = status == WEIR_OK ? weir_keyvalue_check_pattern(pattern, err) : status;
    if (status == WEIR_OK) {
        int64_t until_ns = weir_sqlite_until(resource, limits->until_ns);
        status = weir_sqlite_client_take(resource, until_ns, &client, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    struct stream texts = {.client = client, .pattern = pattern, .is_text = true};
    struct stream blobs = {.client = client, .pattern = pattern};
    status = weir_sqlite_db_run(client->db, "BEGIN", "list keys of", err);
    status = status == WEIR_OK ? stream_begin(resource, &texts, &client->list_text, err) : status;
    status = status == WEIR_OK ? stream_begin(resource, &blobs, &client->list_blob, err) : status;
    status = status == WEIR_OK ? merge(&texts, &blobs, listing, err) : status;
    sqlite3_reset(client->list_text);
    sqlite3_reset(client->list_blob);
    weir_sqlite_client_give(resource, client, status);
    return status;
}

// ---- publish

// The number of the log's last row; 0 where there is no log.
static weir_status last_of_log(struct weir_sqlite_client *client, int64_t *ret_last,
                               struct weir_error *err) {
    *ret_last = 0;
    if (!client->last) {
        int code = sqlite3_prepare_v3(
            client->db->handle,
            "SELECT max(ifnull((SELECT max(seq) FROM main.\"_weir_log\"), 0), ifnull((SELECT seq "
            "FROM main.sqlite_sequence WHERE name = '_weir_log'), 0))",
            -1, SQLITE_PREPARE_PERSISTENT, &client->last, NULL);
        if (code == SQLITE_ERROR) { // no such table
            return WEIR_NOT_FOUND;
        }
        if (code != SQLITE_OK) {
            return weir_sqlite_db_fail(client->db, code, "read the log of", err);
        }
    }
    int code = sqlite3_step(client->last);
    if (code == SQLITE_ROW) {
        *ret_last = sqlite3_column_int64(client->last, 0);
    }
    sqlite3_reset(client->last);
    return code == SQLITE_ROW ? WEIR_OK
                              : weir_sqlite_db_fail(client->db, code, "read the log of", err);
}

// Gives the chain to what the triggers have written of this key since `last`.
static weir_status write_chain(struct weir_sqlite_client *client, struct weir_str key, int64_t last,
                               struct weir_str chain, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status = weir_sqlite_db_prepare(
        client->db,
        "UPDATE main.\"_weir_log\" SET chain = ?1 WHERE seq > ?2 AND c0 IN (?3, ?4) AND shape IN "
        "(SELECT id FROM main.\"_weir_shapes\" WHERE kind = 'kv')",
        &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_bind_blob64(statement, 1, chain.data, chain.size, SQLITE_STATIC);
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 2, last) : code;
    code = code == SQLITE_OK ? bind_key(statement, 3, key, true) : code;
    code = code == SQLITE_OK ? bind_key(statement, 4, key, false) : code;
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    return code == SQLITE_DONE ? WEIR_OK
                               : weir_sqlite_db_fail(client->db, code, "write the log of", err);
}

static weir_status write_event(const struct weir_sqlite_resource *resource,
                               struct weir_sqlite_client *client, struct weir_str key,
                               const struct weir_event *event, struct weir_error *err) {
    char buffer[WEIR_SQLITE_CHAIN_BYTES_MAX];
    const struct weir_event_fields *fields = &event->fields;
    struct weir_str chain = {buffer, weir_sqlite_chain_encode(fields, buffer)};
    int64_t last = 0, count;
    weir_status status = chain.size > 0 ? last_of_log(client, &last, err) : WEIR_NOT_FOUND;
    bool has_log = status == WEIR_OK;
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        return status;
    }
    bool is_deletion =
        !fields->data.is_some && weir_str_equal(fields->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));
    status = is_deletion ? delete (resource, client, key, true, true, &count, err)
                         : put(resource, client, key, fields->data.value.bytes, err);
    return status == WEIR_OK && has_log ? write_chain(client, key, last, chain, err) : status;
}

static weir_status key_of(const struct weir_event *event, struct weir_subject_buffer *buffer,
                          struct weir_str *ret_key, struct weir_error *err) {
    weir_status status = weir_subject_key(&event->fields, buffer, ret_key, err);
    if (status == WEIR_OK && ret_key->size == 0) {
        return weir_fail(err, WEIR_INVALID,
                         "the event has no subject, which is the key that is set");
    }
    return status;
}

weir_status weir_sqlite_publish(struct weir_resource *base, struct weir_event *event,
                                struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_subject_buffer buffer;
    struct weir_sqlite_client *client;
    struct weir_str key;
    weir_status status = need_kv(resource, err);
    status = status == WEIR_OK ? key_of(event, &buffer, &key, err) : status;
    if (status != WEIR_OK) {
        return status;
    }
    int64_t until_ns = weir_clock_monotonic_ns() + WEIR_PUBLISH_WAIT_MS * WEIR_NS_PER_MS;
    status = weir_sqlite_client_take(resource, weir_sqlite_until(resource, until_ns), &client, err);
    if (status == WEIR_OK) {
        status = begin(client, err);
        status = status == WEIR_OK ? write_event(resource, client, key, event, err) : status;
        status = status == WEIR_OK ? commit(client, err) : status;
        weir_sqlite_client_give(resource, client, status);
    }
    // A right or a table that is missing today may be there tomorrow.
    bool may_do_later = status == WEIR_DENIED || status == WEIR_UNSUPPORTED;
    return may_do_later ? weir_error_prefix(err, WEIR_UNAVAILABLE, "publishing") : status;
}
