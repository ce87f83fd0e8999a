// SPDX-License-Identifier: Apache-2.0
//
// See triggers.h. These triggers run in the SQLite of whoever writes: nothing stands in them that
// SQLite 3.8.3 does not have, built as small as it may be. Values go into columns that have no
// declared type, so they are kept as they are: 64 bits, texts with NULs, blobs. (Writing them as a
// text by quote() was left: it ends a text at its first NUL, doubles a blob, and what it makes of a
// number has changed between versions.)
//
// Names are written by SQLite's own "%w", which doubles quotes; numbers are the only other thing
// that is put into the text.
//
// REPLACE is the trap. What INSERT OR REPLACE and UPDATE OR REPLACE put out of their way goes
// without a DELETE trigger, unless the writer has set recursive_triggers, which nobody does:
//
// - The row with the same primary key. The new row's own event tells of it: it has the key.
// - A row with another key, by a UNIQUE index. For tables with such indexes there are two more
//   pairs of triggers. Before the change, the rows that could be put out of the way are copied to
//   _weir_evicted; after it, those that are really gone are told as deleted. What was copied for a
//   change that did not come (OR IGNORE, ON CONFLICT DO NOTHING) is thrown away before the next.
//   With recursive_triggers the DELETE trigger tells them, and takes them out of the copies.
//
// A unique index on an expression or on some rows only is not followed so: what is in its WHERE is
// known to SQLite alone. weir_sqlite_table names such an index, `weir check --connect` and the log
// tell it.
//
// Of several triggers on one event SQLite runs the newest first, though it promises no order. Were
// weir's not the newest, one of the owner's that changes the same row again would have its change
// told first, and then the older one: install.c makes them anew when others are added.
#include "provider/sqlite/triggers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Milliseconds since 1970, by the writer's clock.
#define NOW "CAST((julianday('now')-2440587.5)*86400000.0 AS INTEGER)"

static const char *name_of(const struct weir_sqlite_image *image, size_t place) {
    return image->table->columns[image->columns[place]].name;
}

// Of a deletion in a key-value table, the key is all there is to tell.
static size_t deleted_count(const struct weir_sqlite_image *image) {
    return image->is_kv ? 1 : image->count;
}

static void put_cells(sqlite3_str *sql, size_t from, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sqlite3_str_appendf(sql, ",\"c%d\"", (int)(from + i));
    }
}

static void put_columns(sqlite3_str *sql, const struct weir_sqlite_image *image, const char *row,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        sqlite3_str_appendf(sql, ",%s.\"%w\"", row, name_of(image, i));
    }
}

// "INSERT INTO _weir_log(...)", ready for what is inserted.
static void put_log(sqlite3_str *sql, size_t cells) {
    sqlite3_str_appendall(sql, "INSERT INTO \"_weir_log\"(\"mark\",\"shape\",\"op\",\"at\"");
    put_cells(sql, 0, cells);
    sqlite3_str_appendall(sql, ") ");
}

static void put_change(sqlite3_str *sql, const struct weir_sqlite_image *image,
                       enum weir_sqlite_op op) {
    bool has_both = op == WEIR_SQLITE_OP_UPDATE && !image->is_kv;
    bool is_deleted = op == WEIR_SQLITE_OP_DELETE;
    size_t count = is_deleted ? deleted_count(image) : image->count;
    put_log(sql, has_both ? 2 * count : count);
    sqlite3_str_appendf(sql, "VALUES(random(),%lld,%d," NOW, (long long)image->shape, (int)op);
    put_columns(sql, image, is_deleted ? "OLD" : "NEW", count);
    if (has_both) {
        put_columns(sql, image, "OLD", count);
    }
    sqlite3_str_appendall(sql, "); ");
}

// Whether OLD and NEW have the same key, to the byte, whatever the column's collation.
static void put_same_key(sqlite3_str *sql, const struct weir_sqlite_image *image) {
    for (size_t i = 0; i < image->key_count; i++) {
        const char *name = name_of(image, image->key[i]);
        sqlite3_str_appendf(sql,
                            "%sOLD.\"%w\" COLLATE BINARY IS NEW.\"%w\" AND "
                            "typeof(OLD.\"%w\")=typeof(NEW.\"%w\")",
                            i > 0 ? " AND " : "", name, name, name, name);
    }
}

// ---- rows that are put out of the way

static bool has_evictions(const struct weir_sqlite_image *image) {
    bool has = false;
    for (size_t i = 0; i < image->table->unique_count; i++) {
        has = has || image->table->uniques[i].is_plain;
    }
    return has;
}

// Whether the row of that name is the copy "e"; columns of a row by name, of a copy by cell.
static void put_is_copy(sqlite3_str *sql, const struct weir_sqlite_image *image, const char *row) {
    if (image->key_count == 0) {
        sqlite3_str_appendf(sql, "%s.%s=e.\"rid\"", row, image->table->rowid);
    }
    for (size_t i = 0; i < image->key_count; i++) {
        sqlite3_str_appendf(sql, "%s%s.\"%w\" IS e.\"c%d\"", i > 0 ? " AND " : "", row,
                            name_of(image, image->key[i]), (int)image->key[i]);
    }
}

static void put_is_old(sqlite3_str *sql, const struct weir_sqlite_image *image) {
    if (image->key_count == 0) {
        sqlite3_str_appendf(sql, "x.%s=OLD.%s", image->table->rowid, image->table->rowid);
    }
    for (size_t i = 0; i < image->key_count; i++) {
        const char *name = name_of(image, image->key[i]);
        sqlite3_str_appendf(sql, "%sx.\"%w\" IS OLD.\"%w\"", i > 0 ? " AND " : "", name, name);
    }
}

static void put_conflicts(sqlite3_str *sql, const struct weir_sqlite_table *table) {
    const char *joint = "";
    for (size_t i = 0; i < table->unique_count; i++) {
        const struct weir_sqlite_unique *unique = &table->uniques[i];
        if (!unique->is_plain) {
            continue;
        }
        sqlite3_str_appendf(sql, "%s(", joint);
        for (size_t at = 0; at < unique->count; at++) {
            const char *name = table->columns[unique->columns[at]].name;
            sqlite3_str_appendf(sql, "%sx.\"%w\"=NEW.\"%w\" COLLATE \"%w\"", at > 0 ? " AND " : "",
                                name, name, unique->collations[at]);
        }
        sqlite3_str_appendall(sql, ")");
        joint = " OR ";
    }
}

static void put_forget_copies(sqlite3_str *sql, const struct weir_sqlite_image *image) {
    sqlite3_str_appendf(sql, "DELETE FROM \"_weir_evicted\" WHERE \"shape\"=%lld; ",
                        (long long)image->shape);
}

static void put_copy(sqlite3_str *sql, const struct weir_sqlite_image *image, bool is_update) {
    size_t count = deleted_count(image);
    put_forget_copies(sql, image);
    sqlite3_str_appendall(sql, "INSERT INTO \"_weir_evicted\"(\"shape\",\"rid\"");
    put_cells(sql, 0, count);
    sqlite3_str_appendf(sql, ") SELECT %lld,", (long long)image->shape);
    sqlite3_str_appendf(sql, image->table->has_rowid ? "x.%s" : "NULL", image->table->rowid);
    put_columns(sql, image, "x", count);
    sqlite3_str_appendf(sql, " FROM \"%w\" AS x WHERE (", image->table->name);
    put_conflicts(sql, image->table);
    sqlite3_str_appendall(sql, ")");
    if (is_update) {
        sqlite3_str_appendall(sql, " AND NOT (");
        put_is_old(sql, image);
        sqlite3_str_appendall(sql, ")");
    }
    sqlite3_str_appendall(sql, "; ");
}

// Tells the copies whose rows are gone. One with the new row's key is not gone but replaced;
// without a key, one whose rowid the new row has.
static void put_tell_copies(sqlite3_str *sql, const struct weir_sqlite_image *image) {
    size_t count = deleted_count(image);
    put_log(sql, count);
    sqlite3_str_appendf(sql, "SELECT random(),%lld,%d," NOW, (long long)image->shape,
                        WEIR_SQLITE_OP_DELETE);
    for (size_t i = 0; i < count; i++) {
        sqlite3_str_appendf(sql, ",e.\"c%d\"", (int)i);
    }
    sqlite3_str_appendf(sql, " FROM \"_weir_evicted\" AS e WHERE e.\"shape\"=%lld AND ",
                        (long long)image->shape);
    sqlite3_str_appendall(sql, image->key_count == 0 ? "((" : "(NOT (");
    put_is_copy(sql, image, "NEW");
    sqlite3_str_appendf(sql, ") %s NOT EXISTS (SELECT 1 FROM \"%w\" AS x WHERE ",
                        image->key_count == 0 ? "OR" : "AND", image->table->name);
    put_is_copy(sql, image, "x");
    sqlite3_str_appendall(sql, ")); ");
    put_forget_copies(sql, image);
}

// The columns that an UPDATE has to set to put other rows out of the way.
static void put_unique_columns(sqlite3_str *sql, const struct weir_sqlite_table *table) {
    const char *joint = "";
    for (size_t c = 0; c < table->count; c++) {
        bool is_one = false;
        for (size_t i = 0; !is_one && i < table->unique_count; i++) {
            const struct weir_sqlite_unique *unique = &table->uniques[i];
            for (size_t at = 0; !is_one && unique->is_plain && at < unique->count; at++) {
                is_one = unique->columns[at] == c;
            }
        }
        if (is_one) {
            sqlite3_str_appendf(sql, "%s\"%w\"", joint, table->columns[c].name);
            joint = ",";
        }
    }
}

// ---- the triggers

struct writing {
    const struct weir_sqlite_image *image;
    struct weir_sqlite_triggers *triggers;
    sqlite3_str *sql;
};

static void begin(struct writing *writing, const char *what, const char *when, bool is_needed) {
    struct weir_sqlite_trigger *trigger = &writing->triggers->items[writing->triggers->count];
    *trigger = (struct weir_sqlite_trigger){.is_needed = is_needed};
    snprintf(trigger->name, sizeof trigger->name, "_weir_%" PRId64 "_%s", writing->image->shape,
             what);
    writing->sql = sqlite3_str_new(NULL);
    sqlite3_str_appendf(writing->sql, "CREATE TRIGGER \"%w\" %s", trigger->name, when);
}

static void begin_body(struct writing *writing) {
    sqlite3_str_appendf(writing->sql, " ON \"%w\" ", writing->image->table->name);
}

static weir_status end(struct writing *writing, struct weir_error *err) {
    sqlite3_str_appendall(writing->sql, "END");
    char *sql = sqlite3_str_finish(writing->sql);
    if (!sql) {
        return weir_fail_no_memory(err, "a trigger");
    }
    writing->triggers->items[writing->triggers->count++].sql = sql;
    return WEIR_OK;
}

static weir_status write_insert(struct writing *writing, struct weir_error *err) {
    begin(writing, "i", "AFTER INSERT", true);
    begin_body(writing);
    sqlite3_str_appendall(writing->sql, "BEGIN ");
    if (has_evictions(writing->image)) {
        put_tell_copies(writing->sql, writing->image);
    }
    put_change(writing->sql, writing->image, WEIR_SQLITE_OP_INSERT);
    return end(writing, err);
}

// An update that keeps the key, and one that makes another row of it.
static weir_status write_update(struct writing *writing, bool moves, struct weir_error *err) {
    const struct weir_sqlite_image *image = writing->image;
    begin(writing, moves ? "m" : "u", "AFTER UPDATE", true);
    for (size_t i = 0; image->is_kv && i < image->count; i++) {
        sqlite3_str_appendf(writing->sql, "%s\"%w\"", i > 0 ? "," : " OF ", name_of(image, i));
    }
    begin_body(writing);
    if (image->key_count > 0) {
        sqlite3_str_appendall(writing->sql, moves ? "WHEN NOT (" : "WHEN (");
        put_same_key(writing->sql, image);
        sqlite3_str_appendall(writing->sql, ") ");
    }
    sqlite3_str_appendall(writing->sql, "BEGIN ");
    if (moves) {
        put_change(writing->sql, image, WEIR_SQLITE_OP_DELETE);
        put_change(writing->sql, image, WEIR_SQLITE_OP_INSERT);
    } else {
        put_change(writing->sql, image, WEIR_SQLITE_OP_UPDATE);
    }
    return end(writing, err);
}

static weir_status write_delete(struct writing *writing, struct weir_error *err) {
    const struct weir_sqlite_image *image = writing->image;
    begin(writing, "d", "AFTER DELETE", true);
    begin_body(writing);
    sqlite3_str_appendall(writing->sql, "BEGIN ");
    if (has_evictions(image)) {
        sqlite3_str_appendf(writing->sql, "DELETE FROM \"_weir_evicted\" WHERE \"shape\"=%lld",
                            (long long)image->shape);
        if (image->key_count == 0) {
            sqlite3_str_appendf(writing->sql, " AND \"rid\"=OLD.%s", image->table->rowid);
        }
        for (size_t i = 0; i < image->key_count; i++) {
            sqlite3_str_appendf(writing->sql, " AND \"c%d\" IS OLD.\"%w\"", (int)image->key[i],
                                name_of(image, image->key[i]));
        }
        sqlite3_str_appendall(writing->sql, "; ");
    }
    put_change(writing->sql, image, WEIR_SQLITE_OP_DELETE);
    return end(writing, err);
}

static weir_status write_evictions(struct writing *writing, struct weir_error *err) {
    const struct weir_sqlite_image *image = writing->image;
    begin(writing, "bi", "BEFORE INSERT", false);
    begin_body(writing);
    sqlite3_str_appendall(writing->sql, "BEGIN ");
    put_copy(writing->sql, image, false);
    weir_status status = end(writing, err);
    for (int i = 0; status == WEIR_OK && i < 2; i++) {
        begin(writing, i == 0 ? "bu" : "au", i == 0 ? "BEFORE UPDATE OF " : "AFTER UPDATE OF ",
              false);
        put_unique_columns(writing->sql, image->table);
        begin_body(writing);
        sqlite3_str_appendall(writing->sql, "BEGIN ");
        if (i == 0) {
            put_copy(writing->sql, image, true);
        } else {
            put_tell_copies(writing->sql, image);
        }
        status = end(writing, err);
    }
    return status;
}

weir_status weir_sqlite_triggers_write(const struct weir_sqlite_image *image,
                                       struct weir_sqlite_triggers *ret_triggers,
                                       struct weir_error *err) {
    *ret_triggers = (struct weir_sqlite_triggers){0};
    struct writing writing = {.image = image, .triggers = ret_triggers};
    weir_status status = write_insert(&writing, err);
    status = status == WEIR_OK ? write_update(&writing, false, err) : status;
    if (status == WEIR_OK && image->key_count > 0) {
        status = write_update(&writing, true, err);
    }
    status = status == WEIR_OK ? write_delete(&writing, err) : status;
    if (status == WEIR_OK && has_evictions(image)) {
        status = write_evictions(&writing, err);
    }
    return status;
}

void weir_sqlite_triggers_finish(struct weir_sqlite_triggers *triggers) {
    for (size_t i = 0; i < triggers->count; i++) {
        sqlite3_free(triggers->items[i].sql);
    }
    triggers->count = 0;
}
