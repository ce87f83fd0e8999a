// SPDX-License-Identifier: Apache-2.0
//
// What the hub's thread asks the database, and the publication, on a connection of its own beside
// the streams.
//
// A table that comes into the publication is told from there on, but a transaction that wrote to it
// before and is still open has told only the rest of itself. So who adds a table waits until those
// that had it locked for writing then have ended, as CREATE INDEX CONCURRENTLY does. It locks
// nobody out.
//
// Tables stay in the publication until it is withdrawn: another weir of that name may watch them,
// and what a table costs that nobody watches is little. What others take out of it, or a table that
// is made anew, is noticed at the next beat.
//
// The hub's thread.
#include "provider/postgres/source.h"

#include "base/clock.h"
#include "provider/postgres/publication.h"

#include <stdio.h>
#include <string.h>

enum {
    LOCK_PAUSE_MS = 20, // between two looks at who still writes
    RACE_TRIES_MAX = 4, // others that make the publication, or put the table in, at the same time
    TEXT_BYTES = 1024,
};

weir_status weir_pg_control(struct weir_pg_source *source, const struct weir_waiter *waiter,
                            struct weir_error *err) {
    if (source->control && weir_pg_is_fresh(source->control)) {
        return WEIR_OK;
    }
    PQfinish(source->control);
    source->control = NULL;
    return weir_pg_connect(&source->resource->target, WEIR_PG_SQL, waiter, &source->control, err);
}

weir_status weir_pg_ask(struct weir_pg_source *source, const struct weir_waiter *outer,
                        const char *text, const char *const *values, int count,
                        struct weir_pg_answer *ret_answer, struct weir_error *err) {
    struct weir_waiter waiter = weir_waiter_within(outer, source->resource->target.timeout_ns);
    const struct weir_pg_statement statement = {
        .text = text, .is_simple = count == 0, .count = count, .values = values};
    *ret_answer = (struct weir_pg_answer){.result = NULL};
    weir_status status = weir_pg_control(source, &waiter, err);
    return status == WEIR_OK ? weir_pg_run(source->control, &waiter, &statement, ret_answer, err)
                             : status;
}

// ---- tables ----

static weir_status look(struct weir_pg_source *source, const struct weir_pg_table_name *name,
                        const struct weir_waiter *waiter, struct weir_pg_table_facts *ret_facts,
                        struct weir_error *err) {
    const char *values[] = {name->schema, name->name, source->resource->publication};
    struct weir_pg_answer answer;
    weir_status status =
        weir_pg_ask(source, waiter, WEIR_PG_TABLE_FACTS_SQL, values, 3, &answer, err);
    if (status == WEIR_OK) {
        weir_pg_table_facts_read(answer.result, ret_facts);
    }
    PQclear(answer.result);
    return status;
}

// Whoever wrote to the table before it came into the publication, by name, or "" for nobody.
static weir_status find_writers(struct weir_pg_source *source,
                                const struct weir_pg_table_name *name, const char *among,
                                const struct weir_waiter *waiter, PGresult **ret_result,
                                struct weir_error *err) {
    const char *values[] = {name->quoted, among};
    struct weir_pg_answer answer;
    weir_status status = weir_pg_ask(
        source, waiter,
        "SELECT coalesce(array_agg(DISTINCT virtualtransaction)::text, ''), min(pid) FROM pg_locks "
        "WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = "
        "current_database()) AND relation IN (SELECT $1::regclass UNION SELECT relid FROM "
        "pg_partition_tree($1::regclass)) AND granted AND mode IN ('RowExclusiveLock', "
        "'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND pid IS DISTINCT FROM "
        "pg_backend_pid() AND ($2 = '' OR virtualtransaction = ANY(nullif($2, '')::text[]))",
        values, 2, &answer, err);
    *ret_result = answer.result;
    return status;
}

static weir_status await_writers(struct weir_pg_source *source,
                                 const struct weir_pg_table_name *name,
                                 const struct weir_waiter *waiter, struct weir_error *err) {
    PGresult *first = NULL;
    weir_status status = find_writers(source, name, "", waiter, &first, err);
    bool is_over = status == WEIR_OK && PQgetlength(first, 0, 0) == 0;
    while (status == WEIR_OK && !is_over) { // ends: the waiter's moment
        struct weir_waiter pause = weir_waiter_within(waiter, LOCK_PAUSE_MS * WEIR_NS_PER_MS);
        PGresult *now = NULL;
        weir_wait(&pause, -1, 0);
        if (weir_clock_monotonic_ns() >= waiter->until_ns) {
            status = weir_fail(err, WEIR_UNAVAILABLE,
                               "a transaction that wrote to %s before it was watched is still open "
                               "(process %s of the server); the watch can begin when it has ended",
                               name->text, PQgetvalue(first, 0, 1));
            break;
        }
        status = find_writers(source, name, PQgetvalue(first, 0, 0), waiter, &now, err);
        is_over = status == WEIR_OK && PQgetlength(now, 0, 0) == 0;
        PQclear(now);
    }
    PQclear(first);
    return status;
}

// ---- the publication ----

// Makes the publication, or puts the table into it. *ret_is_done: false, if another one did that at
// the same time, so that it must be looked at again.
static weir_status publish_table(struct weir_pg_source *source,
                                 const struct weir_pg_table_name *name,
                                 const struct weir_pg_table_facts *facts,
                                 const struct weir_waiter *waiter, bool *ret_is_done,
                                 struct weir_error *err) {
    char text[TEXT_BYTES], quoted[2 * WEIR_PG_NAME_BYTES + 4];
    const char *publication = source->resource->publication;
    struct weir_pg_answer answer;
    weir_pg_quote(publication, quoted, sizeof quoted);
    if (facts->has_publication) {
        snprintf(text, sizeof text, "ALTER PUBLICATION %s ADD TABLE %s", quoted, name->quoted);
    } else {
        // One transaction. A resource's name has nothing that would have to be quoted.
        snprintf(text, sizeof text,
                 "CREATE PUBLICATION %s FOR TABLE %s WITH (publish_via_partition_root = true); "
                 "COMMENT ON PUBLICATION %s IS '" WEIR_PG_PUBLICATION_COMMENT " %s'",
                 quoted, name->quoted, quoted, source->resource->base.name);
    }
    weir_status status = weir_pg_ask(source, waiter, text, NULL, 0, &answer, err);
    PQclear(answer.result);
    bool is_theirs = strcmp(answer.state, "42710") == 0 || strcmp(answer.state, "23505") == 0;
    *ret_is_done = status == WEIR_OK;
    return is_theirs ? WEIR_OK
                     : weir_error_prefix(err, status,
                                         "cannot publish the table %s (its owner may do it: %s)",
                                         name->text, text);
}

static weir_status check_given(const struct weir_pg_source *source,
                               const struct weir_pg_table_name *name,
                               const struct weir_pg_table_facts *facts, struct weir_error *err) {
    const char *publication = source->resource->publication;
    if (!facts->publishes_all) {
        return weir_fail(err, WEIR_DENIED,
                         "the publication \"%s\" leaves changes out; its owner mends it: ALTER "
                         "PUBLICATION \"%s\" SET (publish = 'insert, update, delete, truncate')",
                         publication, publication);
    }
    if (!facts->is_published && facts->has_publication && !facts->is_made_by_weir) {
        return weir_fail(err, WEIR_DENIED,
                         "the table %s is not in the publication \"%s\", which weir has not made; "
                         "its owner mends it: ALTER PUBLICATION \"%s\" ADD TABLE %s",
                         name->text, publication, publication, name->quoted);
    }
    return WEIR_OK;
}

static weir_status prepare_once(struct weir_pg_source *source,
                                const struct weir_pg_table_name *name,
                                const struct weir_waiter *waiter, bool *ret_is_ready,
                                bool *ret_is_added, struct weir_error *err) {
    struct weir_pg_table_facts facts;
    const struct weir_pg_resource *resource = source->resource;
    weir_status status = look(source, name, waiter, &facts, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (!facts.is_there && resource->mode == WEIR_PG_KV && resource->creates) {
        return weir_pg_store_create(resource, source->control, waiter, err);
    }
    status = weir_pg_table_facts_check(&facts, name, err);
    status = status == WEIR_OK ? check_given(source, name, &facts, err) : status;
    if (status != WEIR_OK || facts.is_published) {
        *ret_is_ready = status == WEIR_OK;
        return status;
    }
    status = publish_table(source, name, &facts, waiter, ret_is_ready, err);
    if (status == WEIR_OK && *ret_is_ready) {
        *ret_is_added = true;
        status = await_writers(source, name, waiter, err);
    }
    return status;
}

weir_status weir_pg_table_prepare(struct weir_pg_source *source, struct weir_pg_table *table,
                                  const struct weir_waiter *waiter, bool *ret_is_added,
                                  struct weir_error *err) {
    *ret_is_added = false;
    if (table->is_ready) {
        return WEIR_OK;
    }
    bool is_ready = false;
    weir_status status = WEIR_OK;
    for (int i = 0; status == WEIR_OK && !is_ready && i < RACE_TRIES_MAX; i++) {
        status = prepare_once(source, &table->name, waiter, &is_ready, ret_is_added, err);
    }
    if (status == WEIR_OK && !is_ready) {
        status =
            weir_fail(err, WEIR_UNAVAILABLE, "others change the publication \"%s\" all the time",
                      source->resource->publication);
    }
    table->is_ready = status == WEIR_OK;
    return status;
}

void weir_pg_tables_doubt(struct weir_pg_source *source) {
    struct weir_pg_table *table, *next;
    HASH_ITER (hh, source->tables, table, next) {
        table->is_ready = false;
    }
}

// The tables that are in the publication now.
static void note_published(struct weir_pg_source *source, const PGresult *result) {
    struct weir_pg_table *table;
    weir_pg_tables_doubt(source);
    for (int i = 0; i < PQntuples(result); i++) {
        struct weir_pg_table_name name;
        if (weir_pg_table_of(weir_str_of(PQgetvalue(result, i, 0)),
                             weir_str_of(PQgetvalue(result, i, 1)), &name, NULL) != WEIR_OK) {
            continue;
        }
        HASH_FIND_STR(source->tables, name.text, table);
        if (table) {
            table->is_ready = true;
        }
    }
}

static void tell_lost(struct weir_pg_table *table) {
    for (struct weir_pg_watch *watch = table->watches; watch; watch = watch->table_next) {
        if (watch->state == WEIR_PG_LIVE) {
            weir_pg_watch_lose(
                watch, "the table was not in the publication for a while, or was made anew");
        }
    }
}

weir_status weir_pg_publication_watch(struct weir_pg_source *source,
                                      const struct weir_waiter *waiter, struct weir_error *err) {
    const char *values[] = {source->resource->publication};
    struct weir_pg_answer answer;
    weir_status status =
        weir_pg_ask(source, waiter,
                    "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1",
                    values, 1, &answer, err);
    if (status != WEIR_OK) {
        return status;
    }
    note_published(source, answer.result);
    PQclear(answer.result);
    struct weir_pg_table *table, *next;
    HASH_ITER (hh, source->tables, table, next) {
        bool is_added = false;
        if (table->is_ready || !table->watches) {
            continue;
        }
        status = weir_pg_table_prepare(source, table, waiter, &is_added, err);
        if (status == WEIR_OK) {
            tell_lost(table);
        } else {
            weir_log(source->resource->log, WEIR_LOG_WARN, "a table cannot be watched any more",
                     {"resource", weir_str_of(source->resource->base.name)},
                     {"table", weir_str_of(table->name.text)},
                     {"reason", weir_str_of(err->message)});
        }
    }
    return WEIR_OK;
}

// ---- small questions ----

weir_status weir_pg_visible_now(struct weir_pg_source *source, const struct weir_waiter *waiter,
                                struct weir_pg_visible **ret_visible, uint64_t *ret_lsn,
                                struct weir_error *err) {
    struct weir_pg_answer answer;
    *ret_visible = NULL;
    weir_status status = weir_pg_ask(
        source, waiter, "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text",
        NULL, 0, &answer, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_pg_lsn_parse(PQgetvalue(answer.result, 0, 1), ret_lsn)
                 ? weir_pg_visible_parse(PQgetvalue(answer.result, 0, 0), ret_visible, err)
                 : weir_fail(err, WEIR_OTHER, "the server does not say where its log ends");
    PQclear(answer.result);
    return status;
}

weir_status weir_pg_primary_key(struct weir_pg_source *source, uint32_t relation,
                                const struct weir_waiter *waiter, PGresult **ret_result,
                                struct weir_error *err) {
    char id[16];
    const char *values[] = {id};
    struct weir_pg_answer answer;
    snprintf(id, sizeof id, "%u", relation);
    weir_status status = weir_pg_ask(
        source, waiter,
        "SELECT a.attname FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS "
        "k(number, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number "
        "WHERE i.indrelid = $1::oid AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY "
        "k.place",
        values, 1, &answer, err);
    *ret_result = answer.result;
    return status;
}
