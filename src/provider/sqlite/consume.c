// SPDX-License-Identifier: Apache-2.0
//
// What was acknowledged, and what of the log may go. The table _weir_consumers has a row for each
// watch with a name, of whatever process, with the number up to which it needs nothing any more. It
// is written lazily: it decides about pruning, not about where a watch goes on, which its sink
// knows.
//
// A watch that is level and has nothing in flight needs nothing before the head, though nothing
// that it watches may have changed for a year: so its row is moved along too, when it is IDLE_LAG
// behind.
//
// Others write to this database, and some have never met a lock of anybody: so weir writes small
// transactions, and where it finds the lock taken it comes again later.
//
// All on the hub's thread.
#include "provider/sqlite/watcher.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    FLUSH_MS = 1000,       // acknowledgements wait so long for others
    BUSY_MS = 50,          // before a lock that was taken is tried again
    PRUNE_MS = 2000,       // while changes come
    PRUNE_IDLE_MS = 5000,  // while none come
    FLUSH_ROWS_MAX = 1000, // in one transaction
    PRUNE_ROWS_MAX = 1000,
    IDLE_LAG = 512,
};

// ---- consumers

static struct weir_sqlite_consumer *find(struct weir_sqlite_watcher *watcher, const char *name) {
    struct weir_sqlite_consumer *consumer;
    HASH_FIND_STR(watcher->consumers, name, consumer);
    return consumer;
}

static void consumer_remove(struct weir_sqlite_watcher *watcher,
                            struct weir_sqlite_consumer *consumer) {
    HASH_DEL(watcher->consumers, consumer);
    free(consumer);
}

weir_status weir_sqlite_consumer_join(struct weir_sqlite_watcher *watcher,
                                      struct weir_sqlite_watch *watch, struct weir_error *err) {
    const char *name = watch->hub.name;
    if (!name) {
        return WEIR_OK;
    }
    struct weir_sqlite_consumer *consumer = find(watcher, name);
    if (!consumer) {
        size_t size = strlen(name) + 1;
        consumer = calloc(1, sizeof *consumer + size);
        if (!consumer) {
            return weir_fail_no_memory(err, "a watch");
        }
        memcpy(consumer->name, name, size);
        HASH_ADD_STR(watcher->consumers, name, consumer);
        if (!consumer->hh.tbl) {
            free(consumer);
            return weir_fail_no_memory(err, "a watch");
        }
    }
    consumer->watch = watch; // two of one name are one consumer, of the one that came last
    watch->consumer = consumer;
    return WEIR_OK;
}

void weir_sqlite_consumer_leave(struct weir_sqlite_watcher *watcher,
                                struct weir_sqlite_watch *watch) {
    struct weir_sqlite_consumer *consumer = watch->consumer;
    watch->consumer = NULL;
    if (!consumer || consumer->watch != watch) {
        return;
    }
    consumer->watch = NULL;
    if (!consumer->is_dirty) {
        consumer_remove(watcher, consumer);
    }
}

static void move(struct weir_sqlite_watcher *watcher, struct weir_sqlite_consumer *consumer,
                 int64_t seq) {
    consumer->seq = seq;
    consumer->is_dirty = true;
    if (!watcher->has_dirty) {
        watcher->has_dirty = true;
        watcher->flush_ns = weir_clock_monotonic_ns() + FLUSH_MS * WEIR_NS_PER_MS;
    }
}

void weir_sqlite_consumer_start(struct weir_sqlite_watcher *watcher,
                                struct weir_sqlite_watch *watch) {
    if (watch->consumer) {
        move(watcher, watch->consumer, watch->at.seq);
    }
}

void weir_sqlite_consumer_acknowledge(struct weir_sqlite_watcher *watcher,
                                      struct weir_sqlite_watch *watch, int64_t seq) {
    if (seq > watch->acknowledged_seq) {
        watch->acknowledged_seq = seq;
    }
    if (watch->consumer && seq > watch->consumer->seq) {
        move(watcher, watch->consumer, seq);
    }
}

weir_status weir_sqlite_consumer_find(struct weir_sqlite_watcher *watcher, const char *name,
                                      int64_t *ret_seq, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    *ret_seq = 0;
    if (!name) {
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_db_prepare(
        watcher->db, "SELECT seq FROM main.\"_weir_consumers\" WHERE name = ?1", &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    if (code == SQLITE_ROW) {
        *ret_seq = sqlite3_column_int64(statement, 0);
    }
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? WEIR_OK
               : weir_sqlite_db_fail(watcher->db, code, "read the log of", err);
}

void weir_sqlite_consumers_free(struct weir_sqlite_watcher *watcher) {
    struct weir_sqlite_consumer *consumer, *next;
    HASH_ITER (hh, watcher->consumers, consumer, next) {
        consumer_remove(watcher, consumer);
    }
}

// ---- writing

static weir_status write_consumer(struct weir_sqlite_db *db, sqlite3_stmt *statement,
                                  const struct weir_sqlite_consumer *consumer,
                                  struct weir_error *err) {
    int code = sqlite3_bind_text(statement, 1, consumer->name, -1, SQLITE_STATIC);
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 2, consumer->seq) : code;
    if (code == SQLITE_OK) {
        code = sqlite3_bind_int64(statement, 3, weir_clock_wall_ns() / WEIR_NS_PER_MS);
    }
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? WEIR_OK : weir_sqlite_db_fail(db, code, "write the log of", err);
}

// Writes those that have moved, a bounded part of them. *ret_has_more: there are others.
static weir_status flush(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                         struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    struct weir_sqlite_db *db = watcher->db;
    struct weir_sqlite_consumer *consumer, *next;
    int rows = 0;
    *ret_has_more = false;
    weir_status status = weir_sqlite_db_prepare(
        db,
        "INSERT OR REPLACE INTO main.\"_weir_consumers\"(name, seq, updated) VALUES(?1, ?2, ?3)",
        &statement, err);
    status =
        status == WEIR_OK ? weir_sqlite_db_run(db, "BEGIN IMMEDIATE", "write to", err) : status;
    HASH_ITER (hh, watcher->consumers, consumer, next) {
        if (status == WEIR_OK && consumer->is_dirty && rows < FLUSH_ROWS_MAX) {
            status = write_consumer(db, statement, consumer, err);
            rows++;
        }
    }
    status = status == WEIR_OK ? weir_sqlite_db_run(db, "COMMIT", "write to", err) : status;
    weir_sqlite_db_rollback(db);
    if (status != WEIR_OK) {
        return status;
    }
    HASH_ITER (hh, watcher->consumers, consumer, next) {
        if (!consumer->is_dirty) {
            continue;
        }
        if (rows-- <= 0) {
            *ret_has_more = true;
            break;
        }
        consumer->is_dirty = false;
        if (!consumer->watch) {
            consumer_remove(watcher, consumer);
        }
    }
    return WEIR_OK;
}

// ---- pruning

// Takes those along that need nothing before the head.
static void move_idle(struct weir_sqlite_watcher *watcher) {
    struct weir_sqlite_watch *watch;
    DL_FOREACH (watcher->watches, watch) {
        struct weir_sqlite_consumer *consumer = watch->consumer;
        bool is_idle = consumer && consumer->watch == watch && !watch->is_behind &&
                       watch->told_seq <= watch->acknowledged_seq;
        if (is_idle && consumer->seq + IDLE_LAG < watcher->head.seq) {
            move(watcher, consumer, watcher->head.seq);
        }
    }
}

// The number below which rows may go: what no consumer needs, nothing that is younger than `keep`,
// never the last one, and not more than a bounded part. 0: none.
static weir_status find_bound(struct weir_sqlite_watcher *watcher, int64_t *ret_bound,
                              struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    *ret_bound = 0;
    weir_status status = weir_sqlite_db_prepare(
        watcher->db,
        "WITH edge(first, last) AS (SELECT (SELECT min(seq) FROM main.\"_weir_log\"), (SELECT "
        "max(seq) FROM main.\"_weir_log\")), part(bound) AS (SELECT min(first + ?1, last, "
        "ifnull((SELECT min(seq) FROM main.\"_weir_consumers\"), last)) FROM edge) "
        "SELECT edge.first, ifnull((SELECT min(seq) FROM main.\"_weir_log\" WHERE seq >= "
        "edge.first "
        "AND seq < part.bound AND at > ?2), part.bound) FROM edge, part",
        &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int64_t before_ms =
        (weir_clock_wall_ns() - watcher->resource->options.keep_ns) / WEIR_NS_PER_MS;
    int code = sqlite3_bind_int64(statement, 1, PRUNE_ROWS_MAX);
    code = code == SQLITE_OK ? sqlite3_bind_int64(statement, 2, before_ms) : code;
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    if (code != SQLITE_ROW) {
        return weir_sqlite_db_fail(watcher->db, code, "read the log of", err);
    }
    int64_t first = sqlite3_column_int64(statement, 0), bound = sqlite3_column_int64(statement, 1);
    *ret_bound = first > 0 && bound > first ? bound : 0;
    return WEIR_OK;
}

// *ret_has_more: there may be others that can go.
static weir_status prune(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                         struct weir_error *err) {
    int64_t bound;
    *ret_has_more = false;
    weir_status status = find_bound(watcher, &bound, err);
    if (status != WEIR_OK || bound == 0) {
        return status;
    }
    WEIR_SQLITE_AUTO_FREE char *sql =
        sqlite3_mprintf("BEGIN IMMEDIATE; DELETE FROM main.\"_weir_log\" WHERE seq < %lld; COMMIT",
                        (long long)bound);
    status = weir_sqlite_db_run(watcher->db, sql, "prune the log of", err);
    weir_sqlite_db_rollback(watcher->db);
    *ret_has_more = status == WEIR_OK;
    return status;
}

// When it is to be done next: at once, as long as there is more; later, where others have the lock.
static int64_t next_ns(weir_status status, bool has_more, int64_t now_ns, int64_t wait_ms) {
    return has_more            ? now_ns
           : status != WEIR_OK ? now_ns + BUSY_MS * WEIR_NS_PER_MS
                               : now_ns + wait_ms * WEIR_NS_PER_MS;
}

int64_t weir_sqlite_consume(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    bool has_more;
    if (weir_sqlite_db_is_readonly(watcher->db)) {
        return INT64_MAX;
    }
    if (watcher->prune_ns <= now_ns) {
        move_idle(watcher);
        weir_status status = prune(watcher, &has_more, NULL);
        bool is_idle = watcher->pause_ns >= watcher->resource->options.poll_ns;
        watcher->prune_ns = next_ns(status, has_more, now_ns, is_idle ? PRUNE_IDLE_MS : PRUNE_MS);
    }
    if (watcher->has_dirty && watcher->flush_ns <= now_ns) {
        weir_status status = flush(watcher, &has_more, NULL);
        watcher->has_dirty = status != WEIR_OK || has_more;
        watcher->flush_ns = next_ns(status, has_more, now_ns, FLUSH_MS);
        // What was written now may have held the log: it is not looked at as rarely as where
        // nothing comes.
        int64_t soon_ns = now_ns + PRUNE_MS * WEIR_NS_PER_MS;
        watcher->prune_ns = soon_ns < watcher->prune_ns ? soon_ns : watcher->prune_ns;
    }
    int64_t flush_ns = watcher->has_dirty ? watcher->flush_ns : INT64_MAX;
    return flush_ns < watcher->prune_ns ? flush_ns : watcher->prune_ns;
}

void weir_sqlite_consume_rest(struct weir_sqlite_watcher *watcher, int64_t until_ns) {
    if (!watcher->db || !watcher->has_dirty || weir_sqlite_db_is_readonly(watcher->db)) {
        return;
    }
    weir_sqlite_db_bound(watcher->db, until_ns);
    bool has_more = true;
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && has_more) { // ends: each turn writes some
        status = flush(watcher, &has_more, NULL);
    }
    watcher->has_dirty = status != WEIR_OK;
}
