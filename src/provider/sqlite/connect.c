// SPDX-License-Identifier: Apache-2.0
//
// The connection of the watches of a resource: opening it, seeing to it that what is watched is
// followed, giving it up. See watcher.h.
#include "provider/sqlite/watcher.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

// ---- the connection

static void finalize(struct weir_sqlite_watcher *watcher) {
    sqlite3_finalize(watcher->scan);
    sqlite3_finalize(watcher->data_version_query);
    sqlite3_finalize(watcher->schema_version_query);
    watcher->scan = watcher->data_version_query = watcher->schema_version_query = NULL;
}

void weir_sqlite_disconnect(struct weir_sqlite_watcher *watcher) {
    weir_sqlite_lose_places(watcher);
    finalize(watcher);
    weir_sqlite_wake_finish(&watcher->wake);
    weir_sqlite_db_close(watcher->db);
    watcher->db = NULL;
    watcher->schema_version = -1;
    watcher->busy_since_ns = 0;
}

static weir_status ask_number(struct weir_sqlite_watcher *watcher, sqlite3_stmt **statement,
                              const char *sql, int64_t *ret_number, struct weir_error *err) {
    weir_status status =
        *statement ? WEIR_OK : weir_sqlite_db_prepare(watcher->db, sql, statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_step(*statement);
    if (code == SQLITE_ROW) {
        *ret_number = sqlite3_column_int64(*statement, 0);
    }
    sqlite3_reset(*statement);
    return code == SQLITE_ROW ? WEIR_OK : weir_sqlite_db_fail(watcher->db, code, "read", err);
}

static weir_status read_schema_version(struct weir_sqlite_watcher *watcher, int64_t *ret_version,
                                       struct weir_error *err) {
    return ask_number(watcher, &watcher->schema_version_query, "PRAGMA schema_version", ret_version,
                      err);
}

weir_status weir_sqlite_read_version(struct weir_sqlite_watcher *watcher, int64_t *ret_version,
                                     struct weir_error *err) {
    return ask_number(watcher, &watcher->data_version_query, "PRAGMA data_version", ret_version,
                      err);
}

// The statement that reads the log, with as many cells as that has.
static weir_status prepare_scan(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    sqlite3_stmt *count = NULL;
    int64_t cells = 2;
    sqlite3_finalize(watcher->scan);
    watcher->scan = NULL;
    weir_status status = WEIR_OK;
    if (!watcher->reader.shapes.is_kv) {
        status = ask_number(watcher, &count,
                            "SELECT count(*) FROM pragma_table_info('_weir_log', 'main') WHERE "
                            "name LIKE 'c%' AND name <> 'chain'",
                            &cells, err);
        sqlite3_finalize(count);
    }
    if (status != WEIR_OK) {
        return status;
    }
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendall(sql, "SELECT seq, mark, shape, op, at, chain");
    for (int64_t i = 0; i < cells && i < 2 * WEIR_SQLITE_COLUMNS_MAX; i++) {
        sqlite3_str_appendf(sql, ", c%lld", (long long)i);
    }
    sqlite3_str_appendall(sql, " FROM main.\"_weir_log\" WHERE seq >= ?1 ORDER BY seq");
    WEIR_SQLITE_AUTO_FREE char *text = sqlite3_str_finish(sql);
    return weir_sqlite_db_prepare(watcher->db, text, &watcher->scan, err);
}

static void restart_snapshots(struct weir_sqlite_watcher *watcher) {
    struct weir_sqlite_watch *watch;
    DL_FOREACH2(watcher->behind, watch, next_behind) {
        weir_sqlite_snapshot_restart(watch);
    }
}

static bool concerns_watch(void *context, struct weir_str table) {
    const struct weir_sqlite_watch *watch = context;
    return weir_sqlite_pattern_concerns(&watch->hub.pattern, table);
}

static weir_status install(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *due,
                           struct weir_error *err) {
    const struct weir_sqlite_options *options = &watcher->resource->options;
    struct weir_sqlite_installed installed;
    const struct weir_sqlite_wanted wanted = {
        .kv = options->kv,
        .concerns = weir_sqlite_is_wanted,
        .context = watcher,
        .is_due = due ? concerns_watch : NULL,
        .due_context = due,
        .tables_max = options->tables_max,
        .may_install = options->install && !weir_sqlite_db_is_readonly(watcher->db),
        .log_rows_max = options->log_rows_max,
    };
    weir_status status = weir_sqlite_install(watcher->db, &wanted, &installed, err);
    if (status == WEIR_OK && installed.skipped[0] != '\0') {
        weir_log(watcher->resource->log, WEIR_LOG_WARN, "changes of a table cannot be told",
                 {"resource", weir_str_of(watcher->resource->base.name)},
                 {"reason", weir_str_of(installed.skipped)});
    }
    status = status == WEIR_OK ? weir_sqlite_shapes_read(&watcher->reader.shapes, watcher->db, err)
                               : status;
    status = status == WEIR_OK ? prepare_scan(watcher, err) : status;
    if (status == WEIR_OK) {
        watcher->has_news = true; // what it wrote itself
        watcher->schema_version = installed.schema_version;
    }
    return status;
}

weir_status weir_sqlite_follow(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *due,
                               struct weir_error *err) {
    int64_t version = 0;
    weir_status status = read_schema_version(watcher, &version, err);
    if (status != WEIR_OK) {
        return status;
    }
    bool is_altered = version != watcher->schema_version || !watcher->scan;
    if (is_altered || watcher->has_unswept) {
        status = install(watcher, NULL, err);
        if (status == WEIR_OK) {
            weir_sqlite_note_swept(watcher);
        }
        if (status == WEIR_OK && is_altered) {
            restart_snapshots(watcher);
        }
    }
    if (status == WEIR_OK && due && due->selector->checked_version != watcher->schema_version) {
        status = install(watcher, due, err);
        if (status == WEIR_OK) {
            due->selector->checked_version = watcher->schema_version;
        }
    }
    return status;
}

static weir_status set_up(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    struct weir_sqlite_resource *resource = watcher->resource;
    struct weir_sqlite_log_state state;
    // What a crash may take back of what weir writes here is an acknowledgement.
    weir_status status = weir_sqlite_db_run(watcher->db, "PRAGMA synchronous = NORMAL", "use", err);
    if (status == WEIR_OK && resource->options.kv) {
        status = weir_sqlite_kv_prepare(resource, watcher->db, err);
    }
    status =
        status == WEIR_OK ? weir_sqlite_read_version(watcher, &watcher->data_version, err) : status;
    status = status == WEIR_OK ? weir_sqlite_follow(watcher, NULL, err) : status;
    status = status == WEIR_OK ? weir_sqlite_log_look(watcher->db, &state, err) : status;
    if (status == WEIR_OK) {
        if (memcmp(watcher->identity, state.identity, sizeof state.identity) != 0) {
            // Numbers of shapes mean something else now.
            memcpy(watcher->identity, state.identity, sizeof state.identity);
            weir_sqlite_shapes_finish(&watcher->reader.shapes);
            status = weir_sqlite_shapes_read(&watcher->reader.shapes, watcher->db, err);
        }
    }
    return status == WEIR_OK ? weir_sqlite_locate_all(watcher, err) : status;
}

weir_status weir_sqlite_connect(struct weir_sqlite_watcher *watcher, int64_t until_ns,
                                struct weir_error *err) {
    struct weir_sqlite_resource *resource = watcher->resource;
    const struct weir_sqlite_db_args args = {.path = resource->options.path,
                                             .mode = weir_sqlite_mode_of(resource),
                                             .hub = resource->hub,
                                             .until_ns = until_ns};
    weir_status status = weir_sqlite_db_open(&args, &watcher->db, err);
    if (status != WEIR_OK) {
        return status;
    }
    // Before anything is read, so that no news is missed in between.
    weir_sqlite_wake_init(&watcher->wake, weir_sqlite_db_file(watcher->db));
    status = set_up(watcher, err);
    if (status != WEIR_OK) {
        weir_sqlite_disconnect(watcher);
        return status;
    }
    weir_link_up(&resource->link);
    int64_t now_ns = weir_clock_monotonic_ns();
    watcher->has_news = true;
    watcher->look_ns = watcher->prune_ns = now_ns;
    watcher->pause_ns = WEIR_SQLITE_PAUSE_NS_MIN;
    watcher->moved_ns = now_ns + WEIR_SQLITE_MOVED_MS * WEIR_NS_PER_MS;
    return WEIR_OK;
}
