// SPDX-License-Identifier: Apache-2.0
//
// Telling a gap, and what is there: behind a gap, and where a watch begins and `snapshot` says so.
//
// What is there is read in parts, each in a transaction of its own in which first the log is told
// to the watch up to its end, and then the part. So a row that is told as it is was never told
// newer before; what changes behind that is in the log, and told behind it: for no key anything
// goes backwards, and no transaction outlasts a batch. A row that is changed before its part is
// read is told twice.
//
// How far it has come stands in the position of each event, so that a stop does not begin it anew:
// by the rowid where that is the primary key, by the key of a key-value table. Other tables begin
// anew.
#include "provider/sqlite/watcher.h"

#include "base/clock.h"
#include "base/progress.h"
#include "provider/sqlite/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNTED_MAX = 200000 }; // rows of a table without rowids, to know how many there are

// ---- where it is

static void forget_values(struct weir_sqlite_snapshot *snapshot) {
    for (size_t i = 0; i < snapshot->value_count; i++) {
        sqlite3_value_free(snapshot->values[i]);
    }
    free(snapshot->values);
    snapshot->values = NULL;
    snapshot->value_count = 0;
}

void weir_sqlite_snapshot_free(struct weir_sqlite_snapshot *snapshot) {
    if (snapshot) {
        forget_values(snapshot);
        free(snapshot->table);
        free(snapshot);
    }
}

static weir_status snapshot_new(const char *table, struct weir_sqlite_snapshot **ret_snapshot,
                                struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot = calloc(1, sizeof *snapshot);
    char *copy = table ? strdup(table) : NULL;
    if (!snapshot || (table && !copy)) {
        free(snapshot);
        free(copy);
        return weir_fail_no_memory(err, "a snapshot");
    }
    snapshot->kind = WEIR_SQLITE_REST_TABLE;
    snapshot->table = copy;
    *ret_snapshot = snapshot;
    return WEIR_OK;
}

weir_status weir_sqlite_snapshot_begin(struct weir_sqlite_watch *watch, const char *table,
                                       struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot;
    bool is_of_one = table && !watch->snapshot;
    weir_status status = snapshot_new(is_of_one ? table : NULL, &snapshot, err);
    if (status == WEIR_OK) {
        snapshot->is_of_one = is_of_one;
        weir_sqlite_snapshot_free(watch->snapshot);
        watch->snapshot = snapshot;
    }
    return status;
}

weir_status weir_sqlite_snapshot_resume(struct weir_sqlite_watch *watch,
                                        const struct weir_sqlite_rest *rest,
                                        struct weir_error *err) {
    char *table = rest->table.size > 0 ? weir_str_copy(rest->table) : NULL;
    struct weir_sqlite_snapshot *snapshot = NULL;
    weir_status status = rest->table.size > 0 && !table ? weir_fail_no_memory(err, "a snapshot")
                                                        : snapshot_new(table, &snapshot, err);
    free(table);
    if (status != WEIR_OK) {
        return status;
    }
    snapshot->kind = rest->kind;
    snapshot->row = rest->row;
    snapshot->is_stable = rest->kind == WEIR_SQLITE_REST_ROW; // no other stands in a position
    if (rest->key.size <= sizeof snapshot->key) {
        snapshot->key_size = rest->key.size;
        memcpy(snapshot->key, rest->key.size > 0 ? rest->key.data : "", rest->key.size);
    }
    weir_sqlite_snapshot_free(watch->snapshot);
    watch->snapshot = snapshot;
    return WEIR_OK;
}

void weir_sqlite_snapshot_restart(struct weir_sqlite_watch *watch) {
    struct weir_sqlite_snapshot *snapshot = watch->snapshot;
    if (snapshot && snapshot->kind == WEIR_SQLITE_REST_ROW && !snapshot->is_stable) {
        snapshot->kind = WEIR_SQLITE_REST_TABLE;
        snapshot->is_metered = false;
        forget_values(snapshot);
    }
}

struct weir_sqlite_rest weir_sqlite_snapshot_rest(const struct weir_sqlite_snapshot *snapshot) {
    bool is_row = snapshot->kind == WEIR_SQLITE_REST_ROW;
    return (struct weir_sqlite_rest){
        .kind = is_row && !snapshot->is_stable ? WEIR_SQLITE_REST_TABLE : snapshot->kind,
        .table = weir_str_of(snapshot->table),
        .row = snapshot->row,
        .key = {snapshot->key, snapshot->key_size},
    };
}

// ---- the gap

static weir_status gap_event(const struct weir_sqlite_watcher *watcher,
                             const struct weir_sqlite_watch *watch, struct weir_event **ret_event,
                             struct weir_error *err) {
    char from[WEIR_SQLITE_REVISION_BYTES], to[WEIR_SQLITE_REVISION_BYTES];
    char position[WEIR_POSITION_BYTES_MAX];
    const struct weir_sqlite_gap *noted = watch->gap;
    struct weir_sqlite_rest rest = weir_sqlite_snapshot_rest(watch->snapshot);
    weir_sqlite_place_text(&noted->from, from);
    weir_sqlite_place_text(&watch->at, to);
    const struct weir_gap gap = {
        .source = watcher->reader.source,
        .pattern = watch->hub.pattern.text,
        .from = weir_str_of(from),
        .to = weir_str_of(to),
        .reason = weir_str_of(noted->reason),
        .position = {position, weir_sqlite_write_position(watcher, watch->at, &rest, position)},
    };
    return weir_event_of_gap(&gap, ret_event, err);
}

void weir_sqlite_gap_free(struct weir_sqlite_watch *watch) {
    if (watch->gap) {
        free(watch->gap->table);
        free(watch->gap);
        watch->gap = NULL;
    }
}

static weir_status tell_gap(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                            struct weir_error *err) {
    struct weir_event *event;
    weir_status status = gap_event(watcher, watch, &event, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_sqlite_offer(watch, event, watch->at.seq);
    weir_event_unref(event);
    if (status != WEIR_AGAIN) {
        weir_sqlite_gap_free(watch);
    }
    return WEIR_OK;
}

// ---- which table

struct wanted {
    const struct weir_sqlite_watch *watch;
    const char *from; // NULL: any
    bool is_behind;   // `from` itself is not wanted
};

static bool is_wanted(void *context, struct weir_str name) {
    const struct wanted *wanted = context;
    if (!weir_sqlite_pattern_concerns(&wanted->watch->hub.pattern, name)) {
        return false;
    }
    if (!wanted->from) {
        return true;
    }
    // Names are in the order of their bytes, which these end in a NUL behind.
    int order = strcmp(name.data, wanted->from);
    return wanted->is_behind ? order > 0 : order >= 0;
}

// The table at which the snapshot stands, or (is_behind) the next one. *ret_is_end: there is none.
static weir_status find_table(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                              bool is_behind, bool *ret_is_end, struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot = watch->snapshot;
    const char *kv = watcher->resource->options.kv;
    char *name = NULL;
    weir_status status = WEIR_OK;
    *ret_is_end = is_behind && (kv || snapshot->is_of_one);
    if (*ret_is_end) {
        return WEIR_OK;
    }
    if (kv) {
        name = strdup(kv);
        status = name ? WEIR_OK : weir_fail_no_memory(err, "a name");
    } else {
        struct wanted wanted = {.watch = watch, .from = snapshot->table, .is_behind = is_behind};
        status = weir_sqlite_table_first(watcher->db, is_wanted, &wanted, &name, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    bool is_same = name && snapshot->table && strcmp(name, snapshot->table) == 0;
    *ret_is_end = !name || (snapshot->is_of_one && !is_same);
    if (!is_same) {
        snapshot->kind = WEIR_SQLITE_REST_TABLE;
        snapshot->is_metered = false;
        forget_values(snapshot);
    }
    if (name) {
        free(snapshot->table);
        snapshot->table = name;
    }
    return WEIR_OK;
}

// What the rows of a table are in the log: its newest shape.
static const struct weir_sqlite_shape *shape_of(const struct weir_sqlite_watcher *watcher,
                                                const char *table) {
    const struct weir_sqlite_shape *shape, *next, *found = NULL;
    struct weir_sqlite_shape *first = watcher->reader.shapes.by_id;
    for (shape = first; shape; shape = next) {
        next = shape->hh.next;
        if (strcmp(shape->table, table) == 0 && (!found || shape->id > found->id)) {
            found = shape;
        }
    }
    return found;
}

// ---- a part of a table

// A part on its way. The statement's columns are `lead` of the snapshot's own, then the shape's.
struct part {
    struct weir_sqlite_watcher *watcher;
    struct weir_sqlite_watch *watch;
    const struct weir_sqlite_table *table;
    const struct weir_sqlite_shape *shape;
    sqlite3_stmt *statement;
    int lead;
    bool is_end; // of the table
};

static void put_names(sqlite3_str *sql, const struct part *part) {
    for (size_t i = 0; i < part->shape->count; i++) {
        sqlite3_str_appendf(sql, "%s\"%w\"", i > 0 || part->lead > 0 ? "," : "",
                            part->shape->columns[i].data);
    }
}

static void put_key_names(sqlite3_str *sql, const struct weir_sqlite_table *table) {
    for (size_t i = 0; i < table->key_count; i++) {
        sqlite3_str_appendf(sql, "%s\"%w\"", i > 0 ? "," : "", table->columns[table->key[i]].name);
    }
}

static char *sql_of_rows(struct part *part) {
    const struct weir_sqlite_table *table = part->table;
    const struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    sqlite3_str *sql = sqlite3_str_new(NULL);
    bool goes_on = snapshot->kind == WEIR_SQLITE_REST_ROW;
    sqlite3_str_appendall(sql, "SELECT ");
    part->lead = table->has_rowid ? 1 : 0;
    if (table->has_rowid) {
        sqlite3_str_appendall(sql, table->rowid);
    }
    put_names(sql, part);
    sqlite3_str_appendf(sql, " FROM main.\"%w\"", table->name);
    if (table->has_rowid) {
        if (goes_on) {
            sqlite3_str_appendf(sql, " WHERE %s > ?1", table->rowid);
        }
        sqlite3_str_appendf(sql, " ORDER BY %s", table->rowid);
    } else {
        if (goes_on) {
            sqlite3_str_appendall(sql, " WHERE (");
            put_key_names(sql, table);
            sqlite3_str_appendall(sql, ") > (");
            for (size_t i = 0; i < table->key_count; i++) {
                sqlite3_str_appendall(sql, i > 0 ? ",?" : "?");
            }
            sqlite3_str_appendall(sql, ")");
        }
        sqlite3_str_appendall(sql, " ORDER BY ");
        put_key_names(sql, table);
    }
    return sqlite3_str_finish(sql);
}

static weir_status begin_rows(struct part *part, struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    struct weir_sqlite_db *db = part->watcher->db;
    WEIR_SQLITE_AUTO_FREE char *sql = sql_of_rows(part);
    weir_status status = weir_sqlite_db_prepare(db, sql, &part->statement, err);
    if (status != WEIR_OK || snapshot->kind != WEIR_SQLITE_REST_ROW) {
        return status;
    }
    int code = SQLITE_OK;
    if (part->table->has_rowid) {
        code = sqlite3_bind_int64(part->statement, 1, snapshot->row);
    }
    for (size_t i = 0; code == SQLITE_OK && !part->table->has_rowid && i < snapshot->value_count;
         i++) {
        code = sqlite3_bind_value(part->statement, (int)i + 1, snapshot->values[i]);
    }
    return code == SQLITE_OK ? WEIR_OK : weir_sqlite_db_fail(db, code, "read a table of", err);
}

// Of a key-value table, from its texts on or from its blobs on. A key has no NUL, so what comes
// behind one begins with the key and a NUL.
static weir_status begin_keys(struct part *part, bool is_text, struct weir_str from, bool is_behind,
                              struct weir_error *err) {
    struct weir_sqlite_db *db = part->watcher->db;
    char start[WEIR_KEY_BYTES_MAX + 1] = {0};
    if (from.size > 0) {
        memcpy(start, from.data, from.size);
    }
    uint64_t size = from.size + (is_behind ? 1 : 0);
    const char *key = part->shape->columns[0].data;
    WEIR_SQLITE_AUTO_FREE char *sql =
        sqlite3_mprintf("SELECT \"%w\", \"%w\" FROM main.\"%w\" WHERE \"%w\" >= ?1 ORDER BY \"%w\"",
                        key, part->shape->columns[1].data, part->shape->table, key, key);
    weir_status status = weir_sqlite_db_prepare(db, sql, &part->statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = is_text ? sqlite3_bind_text64(part->statement, 1, start, size, SQLITE_TRANSIENT,
                                             SQLITE_UTF8)
                       : sqlite3_bind_blob64(part->statement, 1, start, size, SQLITE_TRANSIENT);
    return code == SQLITE_OK ? WEIR_OK : weir_sqlite_db_fail(db, code, "read a table of", err);
}

// What is left behind the row on which the statement stands. Views of it.
static struct weir_sqlite_rest rest_behind(const struct part *part,
                                           const struct weir_sqlite_record *record) {
    struct weir_sqlite_rest rest = {.kind = WEIR_SQLITE_REST_TABLE,
                                    .table = weir_str_of(part->watch->snapshot->table)};
    if (part->watcher->reader.shapes.is_kv) {
        bool is_text = sqlite3_column_type(part->statement, 0) == SQLITE_TEXT;
        rest.kind = is_text ? WEIR_SQLITE_REST_TEXT_KEY : WEIR_SQLITE_REST_BLOB_KEY;
        rest.key = record->key;
    } else if (part->table->has_integer_key) {
        rest.kind = WEIR_SQLITE_REST_ROW;
        rest.row = sqlite3_column_int64(part->statement, 0);
    }
    return rest;
}

// Keeps the primary key of the row on which the statement stands.
static weir_status keep_values(struct part *part, struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    forget_values(snapshot);
    snapshot->values = calloc(part->table->key_count + 1, sizeof(sqlite3_value *));
    for (size_t i = 0; snapshot->values && i < part->table->key_count; i++) {
        sqlite3_value *value =
            sqlite3_column_value(part->statement, part->lead + (int)part->table->key[i]);
        snapshot->values[i] = sqlite3_value_dup(value);
        if (!snapshot->values[i]) {
            break;
        }
        snapshot->value_count++;
    }
    return snapshot->value_count == part->table->key_count ? WEIR_OK
                                                           : weir_fail_no_memory(err, "a snapshot");
}

// The row on which the statement stands is done with.
static weir_status pass_row(struct part *part, const struct weir_sqlite_record *record,
                            struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    weir_status status = WEIR_OK;
    if (part->watcher->reader.shapes.is_kv) {
        struct weir_sqlite_rest rest = rest_behind(part, record);
        snapshot->kind = rest.kind;
        snapshot->key_size = rest.key.size;
        memcpy(snapshot->key, rest.key.data, rest.key.size);
        return WEIR_OK;
    }
    if (part->table->has_rowid) {
        snapshot->row = sqlite3_column_int64(part->statement, 0);
        snapshot->is_stable = part->table->has_integer_key;
    } else {
        status = keep_values(part, err);
        snapshot->is_stable = false;
    }
    snapshot->kind = status == WEIR_OK ? WEIR_SQLITE_REST_ROW : WEIR_SQLITE_REST_TABLE;
    return status;
}

static weir_status offer_row(struct part *part, const struct weir_sqlite_record *record,
                             bool *ret_is_taken, struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = part->watcher;
    char buffer[WEIR_POSITION_BYTES_MAX];
    struct weir_event *event;
    struct weir_sqlite_rest rest = rest_behind(part, record);
    struct weir_str position = {buffer,
                                weir_sqlite_write_position(watcher, record->place, &rest, buffer)};
    *ret_is_taken = true;
    weir_status status = weir_sqlite_record_event(&watcher->reader, record, position,
                                                  part->watch->hub.event_bytes_max, &event, err);
    if (status == WEIR_NO_MEMORY) {
        return status;
    }
    if (status != WEIR_OK) {
        weir_sqlite_log_untold(watcher, record->key, err);
        return WEIR_OK;
    }
    status = weir_sqlite_offer(part->watch, event, record->place.seq);
    weir_event_unref(event);
    *ret_is_taken = status != WEIR_AGAIN;
    return WEIR_OK;
}

// ---- how far it is

// The first number of what a statement answers; -1 where it answers none. For estimates: what went
// wrong will go wrong again where it matters.
static int64_t ask_number(struct weir_sqlite_db *db, const char *sql) {
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;
    if (sql && weir_sqlite_db_prepare(db, sql, &statement, NULL) == WEIR_OK &&
        sqlite3_step(statement) == SQLITE_ROW &&
        sqlite3_column_type(statement, 0) == SQLITE_INTEGER) {
        number = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return number;
}

// How many rowids there are behind `from`, up to `to`.
static uint64_t span(int64_t from, int64_t to) {
    return to > from ? (uint64_t)to - (uint64_t)from : 0;
}

// Rowids say about how many rows there are at no cost; other tables are counted, up to a bound.
static uint64_t first_estimate(struct part *part) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    struct weir_sqlite_db *db = part->watcher->db;
    const char *table = part->table->name;
    if (part->watcher->reader.shapes.is_kv || !part->table->has_rowid) {
        WEIR_SQLITE_AUTO_FREE char *sql = sqlite3_mprintf(
            "SELECT count(*) FROM (SELECT 1 FROM main.\"%w\" LIMIT %d)", table, COUNTED_MAX + 1);
        int64_t count = ask_number(db, sql);
        return count > 0 && count <= COUNTED_MAX ? (uint64_t)count : 0;
    }
    const char *rowid = part->table->rowid;
    WEIR_SQLITE_AUTO_FREE char *first =
        sqlite3_mprintf("SELECT min(%s) FROM main.\"%w\"", rowid, table);
    WEIR_SQLITE_AUTO_FREE char *last =
        sqlite3_mprintf("SELECT max(%s) FROM main.\"%w\"", rowid, table);
    snapshot->from_row = snapshot->row;
    if (snapshot->kind != WEIR_SQLITE_REST_ROW) {
        int64_t lowest = ask_number(db, first);
        snapshot->from_row = lowest - (lowest > INT64_MIN ? 1 : 0);
    }
    snapshot->last_row = ask_number(db, last);
    return span(snapshot->from_row, snapshot->last_row);
}

static void begin_meter(struct part *part) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    struct weir_meter *meter = part->watch->hub.meter;
    if (!snapshot->is_metered && meter) {
        snapshot->told = 0;
        snapshot->from_row = snapshot->last_row = 0;
        weir_meter_begin(meter, "snapshot", first_estimate(part));
        snapshot->is_metered = true;
    }
}

// Rowids may have gaps: how many rows there are is estimated anew by how many there were so far.
static void count_rows(struct part *part, uint64_t rows) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    struct weir_meter *meter = part->watch->hub.meter;
    if (!meter || !snapshot->is_metered) {
        return;
    }
    snapshot->told += rows;
    weir_meter_add(meter, rows);
    uint64_t passed = span(snapshot->from_row, snapshot->row);
    uint64_t all = span(snapshot->from_row, snapshot->last_row);
    if (part->table->has_rowid && !part->watcher->reader.shapes.is_kv && passed > 0 && all > 0) {
        double estimate = (double)snapshot->told * ((double)all / (double)passed);
        weir_meter_estimate(meter, (uint64_t)estimate);
    }
}

// The row on which the statement stands, if it is one for the watch.
static weir_status tell_row(struct part *part, bool *ret_is_taken, struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = part->watcher;
    struct weir_sqlite_record record = {.place = part->watch->at,
                                        .shape = part->shape,
                                        .op = WEIR_SQLITE_OP_INSERT,
                                        .is_snapshot = true,
                                        .cells = part->lead};
    // When a row came to be as it is, nobody knows; an event of one has to have a time.
    record.wall_ns = watcher->reader.shapes.is_kv ? 0 : weir_clock_wall_ns();
    *ret_is_taken = true;
    if (!weir_sqlite_record_of_row(&watcher->reader, part->statement, &record)) {
        return WEIR_OK; // its key is none: it is met again at most once
    }
    weir_status status = WEIR_OK;
    if (weir_sqlite_pattern_matches(watcher->resource, &part->watch->hub.pattern, record.key)) {
        status = offer_row(part, &record, ret_is_taken, err);
    }
    return status == WEIR_OK && *ret_is_taken ? pass_row(part, &record, err) : status;
}

// Whether the part of a key-value table is over at the row on which the statement stands.
static bool is_beyond(const struct part *part, bool is_text) {
    struct weir_str key = weir_sqlite_bytes(part->statement, 0);
    return (sqlite3_column_type(part->statement, 0) == SQLITE_TEXT) != is_text ||
           !weir_str_has_prefix(key, part->watch->hub.pattern.text);
}

static weir_status tell_part(struct part *part, bool is_text, struct weir_error *err) {
    weir_status status = WEIR_OK;
    bool is_taken = true, is_kv = part->watcher->reader.shapes.is_kv;
    unsigned rows;
    for (rows = 0; status == WEIR_OK && is_taken && rows < WEIR_SQLITE_ROWS_AT_ONCE; rows++) {
        int code = sqlite3_step(part->statement);
        if (code != SQLITE_ROW && code != SQLITE_DONE) {
            return weir_sqlite_db_fail(part->watcher->db, code, "read a table of", err);
        }
        part->is_end = code == SQLITE_DONE || (is_kv && is_beyond(part, is_text));
        if (part->is_end) {
            break;
        }
        status = tell_row(part, &is_taken, err);
        is_taken = is_taken && !part->watch->is_stopped;
    }
    count_rows(part, rows - (rows > 0 && !is_taken ? 1 : 0));
    return status;
}

static weir_status tell_keys(struct part *part, struct weir_error *err) {
    struct weir_sqlite_snapshot *snapshot = part->watch->snapshot;
    bool is_text = snapshot->kind != WEIR_SQLITE_REST_BLOB_KEY;
    bool is_behind = snapshot->kind != WEIR_SQLITE_REST_TABLE && snapshot->key_size > 0;
    struct weir_str from = part->watch->hub.pattern.text;
    if (is_behind) {
        from = (struct weir_str){snapshot->key, snapshot->key_size};
    }
    weir_status status = begin_keys(part, is_text, from, is_behind, err);
    status = status == WEIR_OK ? tell_part(part, is_text, err) : status;
    if (status == WEIR_OK && part->is_end && is_text) { // the blobs come next
        snapshot->kind = WEIR_SQLITE_REST_BLOB_KEY;
        snapshot->key_size = 0;
        part->is_end = false;
    }
    return status;
}

static weir_status tell_table(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                              bool *ret_is_end, struct weir_error *err) {
    struct weir_sqlite_table *table;
    struct part part = {.watcher = watcher, .watch = watch};
    *ret_is_end = false;
    weir_status status =
        weir_sqlite_table_read(watcher->db, weir_str_of(watch->snapshot->table), &table, err);
    if (status == WEIR_OK) {
        part.table = table;
        part.shape = shape_of(watcher, table->name);
        part.is_end = !part.shape; // it is not followed, so there is nothing that would go on
    }
    if (status == WEIR_OK && part.shape) {
        begin_meter(&part);
        if (watcher->reader.shapes.is_kv) {
            status = tell_keys(&part, err);
        } else {
            status = begin_rows(&part, err);
            status = status == WEIR_OK ? tell_part(&part, false, err) : status;
        }
    }
    sqlite3_finalize(part.statement);
    weir_sqlite_table_free(table);
    *ret_is_end = part.is_end || status == WEIR_NOT_FOUND;
    return status == WEIR_NOT_FOUND ? WEIR_OK : status;
}

// ---- a step

static void end_snapshot(struct weir_sqlite_watch *watch) {
    weir_sqlite_snapshot_free(watch->snapshot);
    watch->snapshot = NULL;
    weir_meter_end(watch->hub.meter);
}

// Inside of a transaction, with the log told to its end.
static weir_status tell_there(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                              struct weir_error *err) {
    bool is_end;
    weir_status status = find_table(watcher, watch, false, &is_end, err);
    if (status == WEIR_OK && !is_end) {
        bool is_table_end;
        status = tell_table(watcher, watch, &is_table_end, err);
        if (status == WEIR_OK && is_table_end) {
            status = find_table(watcher, watch, true, &is_end, err);
        }
    }
    if (status == WEIR_OK && is_end) {
        end_snapshot(watch); // it joins the others behind the next batch of the log
    }
    return status;
}

weir_status weir_sqlite_snapshot_step(struct weir_sqlite_watcher *watcher,
                                      struct weir_sqlite_watch *watch, bool *ret_has_more,
                                      struct weir_error *err) {
    *ret_has_more = false;
    if (watch->is_stopped || !watch->is_located || weir_hub_is_paused(&watch->hub)) {
        return WEIR_OK;
    }
    if (watch->gap) {
        weir_status status = tell_gap(watcher, watch, err);
        *ret_has_more = status == WEIR_OK && !watch->gap;
        return status;
    }
    bool is_level;
    weir_status status = weir_sqlite_db_run(watcher->db, "BEGIN", "read", err);
    status = status == WEIR_OK ? weir_sqlite_tell_one(watcher, watch, &is_level, err) : status;
    if (status == WEIR_OK && is_level) {
        status = tell_there(watcher, watch, err);
    }
    weir_sqlite_db_rollback(watcher->db);
    *ret_has_more = status == WEIR_OK && !weir_hub_is_paused(&watch->hub);
    return status;
}
