// SPDX-License-Identifier: Apache-2.0
//
// The hub's side of a resource: its one connection, when to look for news, how watches begin and
// end. See watcher.h for how they are told.
//
// Others' commits are found by PRAGMA data_version, which costs some microseconds. It is asked
// every `poll`, and whenever inotify says that the file or its WAL was written to: then again and
// again, after pauses that double from PAUSE_US_MIN, for a write comes before its commit is to be
// seen. What finds the database locked is tried again after the same pauses; nothing waits on this
// thread but the beginning of a watch.
//
// A connection is given up when anything else fails, or when the file at the path is another one:
// it is opened anew, and each watch is looked for in the log that is there then (locate). Where the
// log is not the one that it was, or has lost what the watch was not told, the watch gets a gap,
// and what is there.
#include "provider/sqlite/watcher.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/keyvalue.h"
#include "provider/row.h"
#include "provider/sqlite/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    PAUSE_US_MIN = 200,
    IDLE_S = 10,     // before a connection that no watch needs is closed
    MOVED_MS = 1000, // how often to look whether the file is still there
    BATCHES_AT_ONCE = 8,
    SNAPSHOTS_AT_ONCE = 8,
};

// ---- patterns

// The table that a pattern names in front of its '/'; without one, the whole text.
static struct weir_str table_part(const struct weir_pattern *pattern, bool *ret_is_whole) {
    struct weir_str text = pattern->text;
    const char *slash = text.size > 0 ? memchr(text.data, '/', text.size) : NULL;
    *ret_is_whole = slash != NULL || !pattern->is_prefix;
    return (struct weir_str){text.data, slash ? (size_t)(slash - text.data) : text.size};
}

// Whether all rows of one table are watched: "TABLE" or "TABLE/*".
static bool is_of_table(const struct weir_pattern *pattern) {
    bool is_whole;
    struct weir_str table = table_part(pattern, &is_whole);
    return pattern->is_prefix ? is_whole && pattern->text.size == table.size + 1
                              : pattern->text.size == table.size;
}

weir_status weir_sqlite_pattern_check(const struct weir_sqlite_resource *resource,
                                      const struct weir_pattern *pattern, struct weir_error *err) {
    weir_status status = weir_keyvalue_check_pattern(pattern, err);
    bool is_whole;
    struct weir_str table = table_part(pattern, &is_whole);
    if (status == WEIR_OK && !resource->options.kv && is_whole && table.size == 0) {
        return weir_fail(
            err, WEIR_INVALID,
            "a key that names no table: keys of rows are \"TABLE/ID\", and all rows of "
            "a table are \"TABLE/*\"");
    }
    return status;
}

static bool selects(struct weir_str selected, bool is_whole, struct weir_str table) {
    char name[WEIR_SQLITE_TABLE_KEY_BYTES_MAX];
    struct weir_str key = {name, weir_row_key(table, NULL, 0, name, sizeof name)};
    return is_whole ? weir_str_equal(key, selected) : weir_str_has_prefix(key, selected);
}

bool weir_sqlite_pattern_concerns(const struct weir_pattern *pattern, struct weir_str table) {
    bool is_whole;
    struct weir_str part = table_part(pattern, &is_whole);
    return selects(part, is_whole, table);
}

bool weir_sqlite_pattern_matches(const struct weir_sqlite_resource *resource,
                                 const struct weir_pattern *pattern, struct weir_str key) {
    if (weir_pattern_matches(pattern, key)) {
        return true;
    }
    if (resource->options.kv || !is_of_table(pattern)) {
        return false;
    }
    bool is_whole;
    struct weir_str table = table_part(pattern, &is_whole);
    return weir_str_has_prefix(key, table) &&
           (key.size == table.size || key.data[table.size] == '/');
}

// ---- routes

static weir_status add_routes(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                              struct weir_error *err) {
    const struct weir_pattern *pattern = &watch->hub.pattern;
    bool is_kv = watcher->reader.shapes.is_kv;
    if (is_kv || !is_of_table(pattern)) {
        return weir_routes_add(watcher->routes, pattern, watch, &watch->routes[0], err);
    }
    bool is_whole;
    struct weir_str table = table_part(pattern, &is_whole);
    char *rows = malloc(table.size + 1);
    if (!rows) {
        return weir_fail_no_memory(err, "a watch");
    }
    memcpy(rows, table.data, table.size);
    rows[table.size] = '/';
    const struct weir_pattern both[WEIR_SQLITE_ROUTES] = {
        {.text = {rows, table.size + 1}, .is_prefix = true}, {.text = table}};
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < WEIR_SQLITE_ROUTES; i++) {
        status = weir_routes_add(watcher->routes, &both[i], watch, &watch->routes[i], err);
    }
    free(rows);
    return status;
}

static void remove_routes(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    for (size_t i = 0; i < WEIR_SQLITE_ROUTES; i++) {
        weir_routes_remove(watcher->routes, &watch->routes[i]);
    }
}

// ---- selectors

// The text under which a pattern's tables are counted.
static size_t selector_text(const struct weir_pattern *pattern,
                            char buffer[static WEIR_KEY_BYTES_MAX + 1]) {
    bool is_whole;
    struct weir_str table = table_part(pattern, &is_whole);
    buffer[0] = is_whole ? '=' : '^';
    if (table.size > 0) {
        memcpy(buffer + 1, table.data, table.size);
    }
    return table.size + 1;
}

static weir_status add_selector(struct weir_sqlite_watcher *watcher,
                                struct weir_sqlite_watch *watch, struct weir_error *err) {
    char text[WEIR_KEY_BYTES_MAX + 1];
    size_t size = selector_text(&watch->hub.pattern, text);
    struct weir_sqlite_selector *selector;
    HASH_FIND(hh, watcher->selectors, text, size, selector);
    if (!selector) {
        selector = calloc(1, sizeof *selector + size);
        if (!selector) {
            return weir_fail_no_memory(err, "a watch");
        }
        selector->size = size;
        memcpy(selector->text, text, size);
        HASH_ADD(hh, watcher->selectors, text, size, selector);
        if (!selector->hh.tbl) {
            free(selector);
            return weir_fail_no_memory(err, "a watch");
        }
        watcher->has_new_selector = true;
    }
    selector->uses++;
    watch->is_selected = true;
    return WEIR_OK;
}

static void remove_selector(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    char text[WEIR_KEY_BYTES_MAX + 1];
    size_t size = selector_text(&watch->hub.pattern, text);
    struct weir_sqlite_selector *selector;
    if (!watch->is_selected) {
        return;
    }
    HASH_FIND(hh, watcher->selectors, text, size, selector);
    if (selector && --selector->uses == 0) {
        HASH_DEL(watcher->selectors, selector);
        free(selector);
    }
    watch->is_selected = false;
}

// Whether some watch wants the table.
static bool concerns(void *context, struct weir_str table) {
    const struct weir_sqlite_watcher *watcher = context;
    const struct weir_sqlite_selector *selector;
    for (selector = watcher->selectors; selector; selector = selector->hh.next) {
        struct weir_str text = {selector->text + 1, selector->size - 1};
        if (selects(text, selector->text[0] == '=', table)) {
            return true;
        }
    }
    return false;
}

// ---- places

void weir_sqlite_fall_behind(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    if (!watch->is_behind) {
        watch->is_behind = true;
        watcher->level_count--;
        DL_APPEND2(watcher->behind, watch, prev_behind, next_behind);
    }
}

void weir_sqlite_join(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    if (watch->is_behind) {
        DL_DELETE2(watcher->behind, watch, prev_behind, next_behind);
        watch->is_behind = false;
        if (watcher->level_count++ == 0) {
            watcher->head = watch->at;
        }
    }
}

weir_status weir_sqlite_note_gap(struct weir_sqlite_watcher *watcher,
                                 struct weir_sqlite_watch *watch, const char *table,
                                 struct weir_sqlite_place to, struct weir_str reason) {
    struct weir_sqlite_gap *gap = calloc(1, sizeof *gap);
    if (!gap) {
        return WEIR_NO_MEMORY;
    }
    char shown[WEIR_SQLITE_REASON_BYTES];
    gap->from = watch->at;
    snprintf(gap->reason, sizeof gap->reason, "%s", weir_show(reason, shown, sizeof shown));
    gap->table = table ? strdup(table) : NULL;
    if ((table && !gap->table) || weir_sqlite_snapshot_begin(watch, table, NULL) != WEIR_OK) {
        free(gap->table);
        free(gap);
        return WEIR_NO_MEMORY;
    }
    weir_sqlite_gap_free(watch);
    watch->gap = gap;
    watch->at = to;
    weir_sqlite_fall_behind(watcher, watch);
    return WEIR_OK;
}

// The first row from a number on, as it is now; its number is 0 where there is none.
static weir_status read_place(struct weir_sqlite_watcher *watcher, int64_t seq,
                              struct weir_sqlite_place *ret_place, struct weir_error *err) {
    *ret_place = (struct weir_sqlite_place){0};
    int code = sqlite3_bind_int64(watcher->scan, 1, seq);
    code = code == SQLITE_OK ? sqlite3_step(watcher->scan) : code;
    if (code == SQLITE_ROW) {
        ret_place->seq = sqlite3_column_int64(watcher->scan, WEIR_SQLITE_LOG_SEQ);
        ret_place->mark = (uint64_t)sqlite3_column_int64(watcher->scan, WEIR_SQLITE_LOG_MARK);
    }
    sqlite3_reset(watcher->scan);
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? WEIR_OK
               : weir_sqlite_db_fail(watcher->db, code, "read the log of", err);
}

// Whether everything behind `seq` is there; `now` is the first row from it on.
static bool is_all_there(int64_t seq, struct weir_sqlite_place now,
                         const struct weir_sqlite_log_state *state) {
    return now.seq == 0 ? seq == state->last.seq : now.seq <= seq + 1;
}

// What became of the place of a watch in the log that is there. NULL: it is in it.
static const char *find_loss(const struct weir_sqlite_watcher *watcher,
                             const struct weir_sqlite_watch *watch,
                             const struct weir_sqlite_log_state *state,
                             struct weir_sqlite_place now) {
    const struct weir_sqlite_place *at = &watch->at;
    if (!watch->has_place) {
        return "the position that was kept is not understood";
    }
    if (memcmp(watch->identity, watcher->identity, sizeof watch->identity) != 0) {
        return "there is another database, or another log in it, than before";
    }
    if (at->seq > state->last.seq) {
        return "the database is older than it was: it was restored from a copy";
    }
    if (now.seq == at->seq && at->mark != 0 && now.mark != at->mark) {
        return "the database is not what it was: it was restored from a copy and written to";
    }
    return is_all_there(at->seq, now, state)
               ? NULL
               : "the log does not have the changes any more; see log_rows_max";
}

// Where the log begins behind the place of a watch: what is gone may be what it had acknowledged,
// or never wanted, which the database knows. *ret_is_so: then it goes on there.
static weir_status skip_acknowledged(struct weir_sqlite_watcher *watcher,
                                     struct weir_sqlite_watch *watch,
                                     const struct weir_sqlite_log_state *state, bool *ret_is_so,
                                     struct weir_error *err) {
    int64_t seq;
    struct weir_sqlite_place now;
    *ret_is_so = false;
    weir_status status = weir_sqlite_consumer_find(watcher, watch->hub.name, &seq, err);
    if (status != WEIR_OK || seq <= watch->at.seq || seq > state->last.seq) {
        return status;
    }
    status = read_place(watcher, seq, &now, err);
    *ret_is_so = status == WEIR_OK && is_all_there(seq, now, state);
    if (*ret_is_so) {
        watch->at = (struct weir_sqlite_place){seq, now.seq == seq ? now.mark : 0};
    }
    return status;
}

// Finds the place of a watch in the log; where history is missing, notes the gap.
static weir_status locate(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                          const struct weir_sqlite_log_state *state, struct weir_error *err) {
    struct weir_sqlite_place now;
    weir_status status = read_place(watcher, watch->at.seq, &now, err);
    const char *loss = status == WEIR_OK ? find_loss(watcher, watch, state, now) : NULL;
    bool is_behind_it = loss && watch->has_place && now.seq != watch->at.seq &&
                        watch->at.seq <= state->last.seq &&
                        memcmp(watch->identity, watcher->identity, sizeof watch->identity) == 0;
    if (is_behind_it) {
        bool is_so;
        status = skip_acknowledged(watcher, watch, state, &is_so, err);
        loss = is_so ? NULL : loss;
    }
    if (status == WEIR_OK && loss) {
        status = weir_sqlite_note_gap(watcher, watch, NULL, state->last, weir_str_of(loss));
    }
    if (status == WEIR_OK) {
        memcpy(watch->identity, watcher->identity, sizeof watch->identity);
        watch->has_place = watch->is_located = true;
        weir_sqlite_consumer_start(watcher, watch);
    }
    return status;
}

// All that are not, in one reading.
static weir_status locate_all(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    struct weir_sqlite_log_state state;
    struct weir_sqlite_watch *watch;
    if (!watcher->has_unlocated) {
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_db_run(watcher->db, "BEGIN", "read", err);
    status = status == WEIR_OK ? weir_sqlite_log_look(watcher->db, &state, err) : status;
    DL_FOREACH2(watcher->behind, watch, next_behind) {
        if (status == WEIR_OK && !watch->is_located && !watch->is_new) {
            status = locate(watcher, watch, &state, err);
        }
    }
    weir_sqlite_db_rollback(watcher->db);
    watcher->has_unlocated = status != WEIR_OK;
    return status;
}

// Each watch has to be found anew.
static void lose_places(struct weir_sqlite_watcher *watcher) {
    struct weir_sqlite_watch *watch;
    DL_FOREACH (watcher->watches, watch) {
        if (!watch->is_behind && watcher->head.seq > watch->at.seq) {
            watch->at = watcher->head;
        }
        watch->is_located = false;
        weir_sqlite_fall_behind(watcher, watch);
    }
    watcher->has_unlocated = watcher->watches != NULL;
}

// ---- the connection

static void finalize(struct weir_sqlite_watcher *watcher) {
    sqlite3_finalize(watcher->scan);
    sqlite3_finalize(watcher->data_version_query);
    sqlite3_finalize(watcher->schema_version_query);
    watcher->scan = watcher->data_version_query = watcher->schema_version_query = NULL;
}

static void disconnect(struct weir_sqlite_watcher *watcher) {
    lose_places(watcher);
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

static weir_status read_data_version(struct weir_sqlite_watcher *watcher, int64_t *ret_version,
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

// Sees to it that what is watched is followed. Costs nothing where neither the schema nor what is
// watched has changed.
static weir_status follow(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    const struct weir_sqlite_options *options = &watcher->resource->options;
    int64_t version = 0;
    weir_status status = read_schema_version(watcher, &version, err);
    if (status != WEIR_OK ||
        (version == watcher->schema_version && !watcher->has_new_selector && watcher->scan)) {
        return status;
    }
    const struct weir_sqlite_wanted wanted = {
        .kv = options->kv,
        .concerns = concerns,
        .context = watcher,
        .tables_max = options->tables_max,
        .may_install = options->install && !weir_sqlite_db_is_readonly(watcher->db),
        .log_rows_max = options->log_rows_max,
    };
    bool wrote;
    status = weir_sqlite_install(watcher->db, &wanted, &wrote, err);
    status = status == WEIR_OK ? weir_sqlite_shapes_read(&watcher->reader.shapes, watcher->db, err)
                               : status;
    status = status == WEIR_OK ? prepare_scan(watcher, err) : status;
    status = status == WEIR_OK ? read_schema_version(watcher, &version, err) : status;
    if (status == WEIR_OK) {
        watcher->schema_version = version;
        watcher->has_new_selector = false;
        watcher->has_news = true; // what it wrote itself
        restart_snapshots(watcher);
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
    status = status == WEIR_OK ? read_data_version(watcher, &watcher->data_version, err) : status;
    status = status == WEIR_OK ? follow(watcher, err) : status;
    status = status == WEIR_OK ? weir_sqlite_log_look(watcher->db, &state, err) : status;
    if (status == WEIR_OK) {
        if (memcmp(watcher->identity, state.identity, sizeof state.identity) != 0) {
            // Numbers of shapes mean something else now.
            memcpy(watcher->identity, state.identity, sizeof state.identity);
            weir_sqlite_shapes_finish(&watcher->reader.shapes);
            status = weir_sqlite_shapes_read(&watcher->reader.shapes, watcher->db, err);
        }
    }
    return status == WEIR_OK ? locate_all(watcher, err) : status;
}

// Opens the file and finds everybody's place, until the moment.
static weir_status connect_until(struct weir_sqlite_watcher *watcher, int64_t until_ns,
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
        disconnect(watcher);
        return status;
    }
    weir_link_up(&resource->link);
    int64_t now_ns = weir_clock_monotonic_ns();
    watcher->has_news = true;
    watcher->look_ns = watcher->prune_ns = now_ns;
    watcher->pause_ns = PAUSE_US_MIN * INT64_C(1000);
    watcher->moved_ns = now_ns + MOVED_MS * WEIR_NS_PER_MS;
    return WEIR_OK;
}

// ---- beginning and ending watches

static weir_status prepare(void *context, struct weir_hub_watch *base,
                           const struct weir_watch_args *args, struct weir_error *err) {
    struct weir_sqlite_watch *watch = weir_sqlite_watch_of(base);
    struct weir_sqlite_position position;
    (void)context;
    if (!args->resume || !weir_sqlite_position_decode(args->resume->position, &position)) {
        return WEIR_OK;
    }
    watch->has_place = true;
    watch->at = position.place;
    memcpy(watch->identity, position.identity, sizeof watch->identity);
    return position.rest.kind == WEIR_SQLITE_REST_NONE
               ? WEIR_OK
               : weir_sqlite_snapshot_resume(watch, &position.rest, err);
}

// Takes a watch out of everything.
static void forget(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    if (watch->is_behind) {
        DL_DELETE2(watcher->behind, watch, prev_behind, next_behind);
        watch->is_behind = false;
    } else {
        watcher->level_count--;
    }
    DL_DELETE(watcher->watches, watch);
    weir_sqlite_consumer_leave(watcher, watch);
    remove_selector(watcher, watch);
    remove_routes(watcher, watch);
}

static weir_status enroll(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                          struct weir_error *err) {
    DL_APPEND(watcher->watches, watch);
    DL_APPEND2(watcher->behind, watch, prev_behind, next_behind);
    watch->is_behind = true;
    weir_status status = add_routes(watcher, watch, err);
    if (status == WEIR_OK && !watcher->reader.shapes.is_kv) {
        status = add_selector(watcher, watch, err);
    }
    status = status == WEIR_OK ? weir_sqlite_consumer_join(watcher, watch, err) : status;
    if (status != WEIR_OK) {
        forget(watcher, watch);
    }
    return status;
}

static bool is_one(void *context, struct weir_str table) {
    const struct weir_sqlite_watch *watch = context;
    return weir_sqlite_pattern_concerns(&watch->hub.pattern, table);
}

// A watch of one table wants that to be there when it begins.
static weir_status check_table(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                               struct weir_error *err) {
    bool is_whole;
    struct weir_str text = table_part(&watch->hub.pattern, &is_whole);
    char *name;
    if (!is_whole || watcher->reader.shapes.is_kv) {
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_table_first(watcher->db, is_one, watch, &name, err);
    if (status != WEIR_OK || name) {
        free(name);
        return status;
    }
    struct weir_sqlite_table *table;
    status = weir_sqlite_table_read(watcher->db, text, &table, err);
    if (status == WEIR_OK) {
        char shown[WEIR_SHOW_BYTES];
        status = weir_fail(err, WEIR_NOT_FOUND,
                           "there is no table of that name; the schema spells it \"%s\"",
                           weir_show(weir_str_of(table->name), shown, sizeof shown));
        weir_sqlite_table_free(table);
    }
    return status;
}

// Sets a new watch behind everything that there is now.
static weir_status start(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                         struct weir_error *err) {
    struct weir_sqlite_log_state state;
    char buffer[WEIR_POSITION_BYTES_MAX];
    weir_status status = check_table(watcher, watch, err);
    status = status == WEIR_OK ? follow(watcher, err) : status;
    status = status == WEIR_OK ? weir_sqlite_log_look(watcher->db, &state, err) : status;
    if (status != WEIR_OK) {
        return status;
    }
    memcpy(watch->identity, watcher->identity, sizeof watch->identity);
    watch->has_place = watch->is_located = true;
    watch->is_new = false;
    watch->at = state.last;
    struct weir_sqlite_rest rest = {.kind = WEIR_SQLITE_REST_NONE};
    if (watcher->resource->options.snapshot) {
        status = weir_sqlite_snapshot_begin(watch, NULL, err);
        rest.kind = WEIR_SQLITE_REST_TABLE;
    } else {
        weir_sqlite_join(watcher, watch);
    }
    if (status == WEIR_OK) {
        struct weir_str position = {buffer,
                                    weir_sqlite_write_position(watcher, watch->at, &rest, buffer)};
        status = weir_hub_remember(&watch->hub, (struct weir_str){0}, position, err);
        weir_sqlite_consumer_start(watcher, watch);
    }
    return status;
}

// A database that is not there is one that cannot be reached.
static weir_status reach(struct weir_sqlite_watcher *watcher, int64_t until_ns,
                         struct weir_error *err) {
    if (watcher->db && weir_sqlite_db_has_moved(watcher->db)) {
        disconnect(watcher);
    }
    if (watcher->db) {
        weir_sqlite_db_bound(watcher->db, until_ns);
        return WEIR_OK;
    }
    weir_status status = connect_until(watcher, until_ns, err);
    return status == WEIR_NOT_FOUND || status == WEIR_DENIED
               ? weir_error_prefix(err, WEIR_UNAVAILABLE, "%s", watcher->resource->base.name)
               : status;
}

static weir_status begin(void *context, struct weir_hub_watch *base, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = context;
    struct weir_sqlite_watch *watch = weir_sqlite_watch_of(base);
    weir_status status = enroll(watcher, watch, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (base->is_resumed) {
        watcher->connect_ns = watcher->db ? watcher->connect_ns : 0;
        watcher->has_unlocated = true;
        return WEIR_OK; // its place is found by work
    }
    watch->is_new = true;
    int64_t bound_ns = weir_clock_monotonic_ns() + watcher->resource->options.timeout_ns;
    status = reach(watcher, bound_ns < until_ns ? bound_ns : until_ns, err);
    status = status == WEIR_OK ? start(watcher, watch, err) : status;
    if (status != WEIR_OK) {
        forget(watcher, watch);
    }
    return status;
}

static void end(void *context, struct weir_hub_watch *base) {
    forget(context, weir_sqlite_watch_of(base));
}

static void discard(struct weir_hub_watch *base) {
    struct weir_sqlite_watch *watch = weir_sqlite_watch_of(base);
    weir_sqlite_snapshot_free(watch->snapshot);
    weir_sqlite_gap_free(watch);
}

static void resume(void *context, struct weir_hub_watch *base) {
    (void)context; // work looks for those that are behind and not paused
    (void)base;
}

static void acknowledge(void *context, struct weir_hub_watch *base, struct weir_event *event) {
    struct weir_sqlite_watcher *watcher = context;
    struct weir_sqlite_position position;
    if (weir_sqlite_position_decode(event->position, &position) &&
        memcmp(position.identity, watcher->identity, sizeof position.identity) == 0) {
        weir_sqlite_consumer_acknowledge(watcher, weir_sqlite_watch_of(base), position.place.seq);
    }
}

// ---- work

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_sqlite_watcher *watcher = context;
    ret_fds[0] = (struct pollfd){.fd = watcher->db ? watcher->wake.fd : -1, .events = POLLIN};
    return 1;
}

// Looks whether others have committed something.
static weir_status look(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    int64_t version = 0;
    weir_status status = read_data_version(watcher, &version, err);
    if (status == WEIR_OK && watcher->busy_since_ns != 0) {
        watcher->busy_since_ns = 0;
        weir_link_up(&watcher->resource->link);
    }
    if (status == WEIR_OK && version != watcher->data_version) {
        watcher->data_version = version;
        watcher->has_news = true;
        watcher->pause_ns = PAUSE_US_MIN * INT64_C(1000);
    }
    return status;
}

// The next look: after twice the time, up to `poll`.
static void plan_look(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    int64_t poll_ns = watcher->resource->options.poll_ns;
    watcher->look_ns = now_ns + watcher->pause_ns;
    watcher->pause_ns = 2 * watcher->pause_ns < poll_ns ? 2 * watcher->pause_ns : poll_ns;
}

// Gaps and what is there, a part for each of some watches.
static weir_status tell_snapshots(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                                  struct weir_error *err) {
    struct weir_sqlite_watch *watch, *next;
    weir_status status = WEIR_OK;
    int steps = 0;
    DL_FOREACH_SAFE2(watcher->behind, watch, next, next_behind) {
        if (status != WEIR_OK || !(watch->gap || watch->snapshot)) {
            continue;
        }
        if (steps == SNAPSHOTS_AT_ONCE) {
            *ret_has_more = true;
            break;
        }
        bool has_more;
        status = weir_sqlite_snapshot_step(watcher, watch, &has_more, err);
        *ret_has_more = *ret_has_more || has_more;
        steps += has_more;
    }
    return status;
}

static weir_status tell(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                        struct weir_error *err) {
    bool has_more = watcher->has_news && watcher->level_count > 0;
    weir_status status = WEIR_OK;
    for (int i = 0; status == WEIR_OK && has_more && i < BATCHES_AT_ONCE; i++) {
        status = weir_sqlite_tell_level(watcher, &has_more, err);
    }
    if (status == WEIR_OK) {
        watcher->has_news = has_more;
    }
    *ret_has_more = has_more;
    if (status == WEIR_OK && watcher->behind) {
        status = weir_sqlite_tell_behind(watcher, &has_more, err);
        *ret_has_more = *ret_has_more || has_more;
        status = status == WEIR_OK ? tell_snapshots(watcher, ret_has_more, err) : status;
    }
    return status;
}

// One round. *ret_has_more: there is more to do at once.
static weir_status go_round(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                            struct weir_error *err) {
    int64_t now_ns = weir_clock_monotonic_ns();
    weir_status status = WEIR_OK;
    *ret_has_more = false;
    if (watcher->look_ns <= now_ns) {
        status = look(watcher, err);
        plan_look(watcher, now_ns);
        status = status == WEIR_OK && watcher->has_news ? follow(watcher, err) : status;
    }
    status = status == WEIR_OK ? locate_all(watcher, err) : status;
    return status == WEIR_OK ? tell(watcher, ret_has_more, err) : status;
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The database is locked: it is tried again soon, and said of the resource if it lasts.
static int64_t wait_for_lock(struct weir_sqlite_watcher *watcher, const struct weir_error *err) {
    int64_t now_ns = weir_clock_monotonic_ns();
    if (watcher->busy_since_ns == 0) {
        watcher->busy_since_ns = now_ns;
    }
    const struct weir_sqlite_options *options = &watcher->resource->options;
    if (now_ns - watcher->busy_since_ns >= options->timeout_ns) {
        weir_link_down(&watcher->resource->link,
                       err); // to look again costs little, and is not put off
    }
    watcher->look_ns = sooner(watcher->look_ns, now_ns + options->poll_ns);
    return watcher->look_ns;
}

static int64_t fail(struct weir_sqlite_watcher *watcher, weir_status status,
                    const struct weir_error *err) {
    if (status == WEIR_NO_MEMORY) {
        return weir_clock_monotonic_ns() + WEIR_HUB_NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
    }
    if (status == WEIR_AGAIN) { // the log is another one: everything is looked for anew
        disconnect(watcher);
        return 0;
    }
    if (watcher->db->was_busy) {
        return wait_for_lock(watcher, err);
    }
    disconnect(watcher);
    watcher->connect_ns = weir_link_down(&watcher->resource->link, err);
    return watcher->connect_ns;
}

static int64_t connect_again(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    struct weir_error err;
    if (now_ns < watcher->connect_ns) {
        return watcher->connect_ns;
    }
    weir_status status =
        connect_until(watcher, now_ns + watcher->resource->options.timeout_ns, &err);
    watcher->connect_ns = status == WEIR_OK ? 0 : weir_link_down(&watcher->resource->link, &err);
    return watcher->connect_ns;
}

// Whether the file is another one, or gone.
static bool has_moved(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    struct weir_sqlite_news news = weir_sqlite_wake_read(&watcher->wake);
    if (news.is_written) {
        watcher->pause_ns = PAUSE_US_MIN * INT64_C(1000);
        watcher->look_ns = 0;
    }
    if (!news.is_renamed && now_ns < watcher->moved_ns) {
        return false;
    }
    watcher->moved_ns = now_ns + MOVED_MS * WEIR_NS_PER_MS;
    return weir_sqlite_db_has_moved(watcher->db);
}

// Without watches: what was acknowledged is written, and after a while the file is let go of.
static int64_t stay_for_a_while(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    if (watcher->idle_ns == 0) {
        watcher->idle_ns = now_ns + IDLE_S * WEIR_NS_PER_S;
    }
    if (watcher->idle_ns <= now_ns || has_moved(watcher, now_ns)) {
        disconnect(watcher);
        return INT64_MAX;
    }
    weir_sqlite_db_bound(watcher->db, now_ns + watcher->resource->options.timeout_ns);
    watcher->db->busy_ns = 0;
    return watcher->has_dirty ? sooner(weir_sqlite_consume(watcher, now_ns), watcher->idle_ns)
                              : watcher->idle_ns;
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    struct weir_sqlite_watcher *watcher = context;
    (void)fds;
    (void)count;
    int64_t now_ns = weir_clock_monotonic_ns();
    if (!watcher->db) {
        return watcher->watches ? connect_again(watcher, now_ns) : INT64_MAX;
    }
    if (!watcher->watches) {
        return stay_for_a_while(watcher, now_ns);
    }
    watcher->idle_ns = 0;
    if (has_moved(watcher, now_ns)) {
        disconnect(watcher);
        return 0;
    }
    struct weir_error err = {0};
    bool has_more;
    weir_sqlite_db_bound(watcher->db, now_ns + watcher->resource->options.timeout_ns);
    watcher->db->busy_ns = 0; // nothing waits here
    weir_status status = go_round(watcher, &has_more, &err);
    if (status != WEIR_OK) {
        return fail(watcher, status, &err);
    }
    int64_t due_ns = sooner(weir_sqlite_consume(watcher, now_ns), watcher->look_ns);
    return has_more ? 0 : due_ns;
}

// The last that is called when the hub ends.
static void acknowledged(void *context) {
    struct weir_sqlite_watcher *watcher = context;
    if (weir_hub_is_ending(watcher->resource->hub) && watcher->db) {
        watcher->db->outlives = true;
        weir_sqlite_consume_rest(watcher,
                                 weir_clock_monotonic_ns() + WEIR_HUB_END_WAIT_MS * WEIR_NS_PER_MS);
    }
}

const struct weir_hub_functions weir_sqlite_hub_functions = {
    .watch_bytes = sizeof(struct weir_sqlite_watch),
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .resume = resume,
    .acknowledge = acknowledge,
    .acknowledged = acknowledged,
    .discard = discard,
    .wait_for = wait_for,
    .work = work,
};

// ---- making and ending

weir_status weir_sqlite_watcher_create(struct weir_sqlite_resource *resource,
                                       struct weir_sqlite_watcher **ret_watcher,
                                       struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = calloc(1, sizeof *watcher);
    *ret_watcher = watcher;
    if (!watcher) {
        return weir_fail_no_memory(err, "a resource");
    }
    watcher->resource = resource;
    watcher->schema_version = -1;
    watcher->wake.fd = -1;
    if (asprintf(&watcher->source, "/%s", resource->base.name) < 0) {
        watcher->source = NULL;
    }
    watcher->routes = weir_routes_create();
    if (!watcher->source || !watcher->routes) {
        return weir_fail_no_memory(err, "a resource");
    }
    return weir_sqlite_reader_init(&watcher->reader, weir_str_of(watcher->source),
                                   resource->options.kv != NULL, err);
}

void weir_sqlite_watcher_destroy(struct weir_sqlite_watcher *watcher) {
    if (!watcher) {
        return;
    }
    if (watcher->db) {
        watcher->db->hub = NULL; // which is gone
        weir_sqlite_consume_rest(watcher,
                                 weir_clock_monotonic_ns() + WEIR_HUB_END_WAIT_MS * WEIR_NS_PER_MS);
        disconnect(watcher);
    }
    weir_sqlite_consumers_free(watcher);
    weir_sqlite_reader_finish(&watcher->reader);
    weir_routes_destroy(watcher->routes);
    free(watcher->source);
    free(watcher);
}
