// SPDX-License-Identifier: Apache-2.0
//
// See install.h. Tables whose names begin with "_weir_":
//
// - _weir_log: a row for each change, numbered by AUTOINCREMENT. SQLite has one writer at a time,
// so
//   the numbers are in the order of the commits, without holes, and none is used twice. `mark` is a
//   random number that tells two histories apart in which the same number was given. The values are
//   in c0, c1, ..., as many as the widest table needs.
// - _weir_shapes, _weir_columns: what the cells of a row of the log are. A table that is altered
// gets
//   a new shape; rows that were written before keep theirs.
// - _weir_consumers: how far watches with a name have come; _weir_meta: version, identity, bound;
//   _weir_evicted: see triggers.c.
//
// Whether a table's triggers are right is seen by writing them anew and comparing the text with the
// schema's. Where they were missing, what happened to the table is not known: a row of the log says
// so (WEIR_SQLITE_OP_GAP), in the transaction that makes them, so that every watch of the table,
// wherever it is in the log, learns it in its place. Where they were only of an older shape they
// have worked all the time, and nothing is told.
//
// The log is bounded by a trigger of its own: also where weir never runs again.
#include "provider/sqlite/install.h"

#include "base/show.h"
#include "provider/sqlite/table.h"
#include "provider/sqlite/triggers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS_FIRST = 2,         // of a log that is made
    SHAPE_TRIGGERS_MAX = 16, // that are looked for, of one shape
    OLD_SHAPES_MAX = 64,     // before those that nothing refers to are removed
};

static const char *const own_tables[] = {"_weir_log",       "_weir_shapes", "_weir_columns",
                                         "_weir_consumers", "_weir_meta",   "_weir_evicted"};
enum { OWN_TABLES = sizeof own_tables / sizeof own_tables[0] };

static const char make_log[] =
    "CREATE TABLE \"_weir_meta\"(\"name\" TEXT PRIMARY KEY, \"value\");"
    "CREATE TABLE \"_weir_shapes\"(\"id\" INTEGER PRIMARY KEY AUTOINCREMENT, \"tbl\" TEXT, "
    "\"kind\" TEXT, \"is_active\" INTEGER);"
    "CREATE TABLE \"_weir_columns\"(\"shape\" INTEGER, \"place\" INTEGER, \"name\" TEXT, "
    "\"key_place\" INTEGER, PRIMARY KEY(\"shape\", \"place\"));"
    "CREATE TABLE \"_weir_consumers\"(\"name\" TEXT PRIMARY KEY, \"seq\" INTEGER, "
    "\"updated\" INTEGER);"
    "CREATE TABLE \"_weir_evicted\"(\"shape\" INTEGER, \"rid\" INTEGER, \"c0\", \"c1\");"
    "CREATE TABLE \"_weir_log\"(\"seq\" INTEGER PRIMARY KEY AUTOINCREMENT, \"mark\" INTEGER, "
    "\"shape\" INTEGER, \"op\" INTEGER, \"at\" INTEGER, \"chain\", \"c0\", \"c1\");"
    "INSERT INTO \"_weir_meta\" VALUES('version', 1), ('identity', randomblob(16)), "
    "('log_rows_max', 0);"
    // Once in 256 rows, so that the others pay a comparison.
    "CREATE TRIGGER \"_weir_bound\" AFTER INSERT ON \"_weir_log\" WHEN NEW.\"seq\" % 256 = 0 BEGIN "
    "DELETE FROM \"_weir_log\" WHERE \"seq\" <= NEW.\"seq\" - "
    "(SELECT \"value\" FROM \"_weir_meta\" WHERE \"name\" = 'log_rows_max'); END;";

// ---- asking

// A statement, and what stands for its parameters: a text (if there is one) and then a number.
struct question {
    const char *sql;
    const char *text;
    int64_t number;
};

// Its first row; WEIR_NOT_FOUND where there is none. The caller finalizes the statement, always.
static weir_status ask(struct weir_sqlite_db *db, const struct question *question,
                       sqlite3_stmt **ret_statement, struct weir_error *err) {
    weir_status status = weir_sqlite_db_prepare(db, question->sql, ret_statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int wanted = sqlite3_bind_parameter_count(*ret_statement);
    int code = SQLITE_OK;
    if (question->text) {
        code = sqlite3_bind_text(*ret_statement, 1, question->text, -1, SQLITE_TRANSIENT);
    }
    if (code == SQLITE_OK && wanted > (question->text ? 1 : 0)) {
        code = sqlite3_bind_int64(*ret_statement, question->text ? 2 : 1, question->number);
    }
    code = code == SQLITE_OK ? sqlite3_step(*ret_statement) : code;
    if (code == SQLITE_DONE) {
        return WEIR_NOT_FOUND;
    }
    return code == SQLITE_ROW ? WEIR_OK : weir_sqlite_db_fail(db, code, "read", err);
}

static weir_status ask_number(struct weir_sqlite_db *db, const struct question *question,
                              int64_t *ret_number, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    *ret_number = 0;
    weir_status status = ask(db, question, &statement, err);
    if (status == WEIR_OK) {
        *ret_number = sqlite3_column_int64(statement, 0);
    }
    return status;
}

static weir_status run_text(struct weir_sqlite_db *db, char *sql, struct weir_error *err) {
    weir_status status = weir_sqlite_db_run(db, sql, "put the log into", err);
    sqlite3_free(sql);
    return status;
}

// ---- what the log is

// Whether the log's tables are there, all of them and as tables.
static weir_status find_log(struct weir_sqlite_db *db, bool *ret_is_there, struct weir_error *err) {
    int64_t count = 0, version = 0;
    const struct question tables = {
        .sql = "SELECT count(*) FROM pragma_table_list WHERE \"schema\" = 'main' AND "
               "type = 'table' AND name IN ('_weir_log', '_weir_shapes', '_weir_columns', "
               "'_weir_consumers', '_weir_meta', '_weir_evicted')"};
    *ret_is_there = false;
    weir_status status = ask_number(db, &tables, &count, err);
    if (status != WEIR_OK || count < OWN_TABLES) {
        return status;
    }
    const struct question meta = {.sql = "SELECT value FROM \"_weir_meta\" WHERE name = 'version'"};
    status = ask_number(db, &meta, &version, err);
    if (status == WEIR_OK && version != WEIR_SQLITE_LOG_VERSION) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "the log in \"%s\" is of version %" PRId64
                         ", of another weir's; this one writes %d",
                         db->path, version, WEIR_SQLITE_LOG_VERSION);
    }
    *ret_is_there = status == WEIR_OK;
    return status == WEIR_NOT_FOUND ? WEIR_OK : status;
}

static weir_status read_identity(struct weir_sqlite_db *db, struct weir_sqlite_log_state *state,
                                 struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status = ask(
        db, &(struct question){.sql = "SELECT value FROM \"_weir_meta\" WHERE name = 'identity'"},
        &statement, err);
    struct weir_str bytes =
        status == WEIR_OK ? weir_sqlite_bytes(statement, 0) : (struct weir_str){0};
    if ((status == WEIR_OK && bytes.size != sizeof state->identity) || status == WEIR_NOT_FOUND) {
        return weir_fail(err, WEIR_OTHER,
                         "the log in \"%s\" has no identity; take it away with `weir withdraw` and "
                         "let it be made anew",
                         db->path);
    }
    if (status == WEIR_OK) {
        memcpy(state->identity, bytes.data, bytes.size);
    }
    return status;
}

weir_status weir_sqlite_log_look(struct weir_sqlite_db *db, struct weir_sqlite_log_state *ret_state,
                                 struct weir_error *err) {
    *ret_state = (struct weir_sqlite_log_state){0};
    weir_status status = find_log(db, &ret_state->is_there, err);
    if (status != WEIR_OK || !ret_state->is_there) {
        return status;
    }
    status = read_identity(db, ret_state, err);
    if (status != WEIR_OK) {
        return status;
    }
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    status = ask(db,
                 &(struct question){
                     .sql = "SELECT l.last, (SELECT mark FROM \"_weir_log\" WHERE seq = l.last), "
                            "(SELECT min(seq) FROM \"_weir_log\") FROM (SELECT max("
                            "ifnull((SELECT max(seq) FROM \"_weir_log\"), 0), ifnull((SELECT seq "
                            "FROM sqlite_sequence WHERE name = '_weir_log'), 0)) AS last) AS l"},
                 &statement, err);
    if (status == WEIR_OK) {
        ret_state->last.seq = sqlite3_column_int64(statement, 0);
        ret_state->last.mark = (uint64_t)sqlite3_column_int64(statement, 1);
        ret_state->first = sqlite3_column_int64(statement, 2);
    }
    return status;
}

// ---- what a table has

enum standing {
    STANDING_RIGHT,
    STANDING_OLD,    // its triggers work, and are not those that it should have
    STANDING_ABSENT, // some are missing
};

// A table on its way through install.
struct followed {
    struct weir_sqlite_table *table;
    struct weir_sqlite_kv_columns kv;
    bool is_kv;
    int64_t shape; // active; 0: none
};

// `columns` holds the image's where it is of a key-value table.
static struct weir_sqlite_image image_of(const struct followed *followed, size_t columns[2],
                                         const size_t *all) {
    static const size_t first = 0;
    const struct weir_sqlite_table *table = followed->table;
    struct weir_sqlite_image image = {
        .table = table, .shape = followed->shape, .is_kv = followed->is_kv};
    if (followed->is_kv) {
        columns[0] = followed->kv.key;
        columns[1] = followed->kv.value;
        image.columns = columns;
        image.count = 2;
        image.key = &first;
        image.key_count = 1;
    } else {
        image.columns = all;
        image.count = table->count;
        image.key = table->key;
        image.key_count = table->key_count;
    }
    return image;
}

static size_t *each_column(const struct weir_sqlite_table *table) {
    size_t *all = calloc(table->count + 1, sizeof *all);
    for (size_t i = 0; all && i < table->count; i++) {
        all[i] = i;
    }
    return all;
}

static weir_status find_shape(struct weir_sqlite_db *db, struct followed *followed,
                              struct weir_error *err) {
    const struct question question = {
        .sql = followed->is_kv ? "SELECT max(id) FROM \"_weir_shapes\" WHERE tbl = ?1 AND "
                                 "kind = 'kv' AND is_active = 1"
                               : "SELECT max(id) FROM \"_weir_shapes\" WHERE tbl = ?1 AND "
                                 "kind = 'row' AND is_active = 1",
        .text = followed->table->name};
    return ask_number(db, &question, &followed->shape, err);
}

// Compares one trigger with the schema.
static weir_status compare_trigger(struct weir_sqlite_db *db, const struct followed *followed,
                                   const struct weir_sqlite_trigger *trigger,
                                   enum standing *standing, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status =
        ask(db,
            &(struct question){.sql = "SELECT tbl_name, sql FROM sqlite_master WHERE "
                                      "type = 'trigger' AND name = ?1",
                               .text = trigger->name},
            &statement, err);
    bool is_there = status == WEIR_OK && weir_str_equal(weir_sqlite_bytes(statement, 0),
                                                        weir_str_of(followed->table->name));
    if (!is_there && (status == WEIR_OK || status == WEIR_NOT_FOUND)) {
        *standing = trigger->is_needed            ? STANDING_ABSENT
                    : *standing == STANDING_RIGHT ? STANDING_OLD
                                                  : *standing;
        return WEIR_OK;
    }
    if (status == WEIR_OK && *standing == STANDING_RIGHT &&
        !weir_str_equal(weir_sqlite_bytes(statement, 1), weir_str_of(trigger->sql))) {
        *standing = STANDING_OLD;
    }
    return status;
}

// Whether others' triggers are newer, or there are more of weir's than there should be.
static weir_status is_out_of_order(struct weir_sqlite_db *db, const struct followed *followed,
                                   size_t count, bool *ret_is, struct weir_error *err) {
    char sql[512];
    int64_t found = 0, newer = 0;
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND "
             "name LIKE '\\_weir\\_%" PRId64 "\\_%%' ESCAPE '\\'",
             followed->shape);
    weir_status status = ask_number(db, &(struct question){.sql = sql}, &found, err);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 AND "
             "name NOT LIKE '\\_weir\\_%%' ESCAPE '\\' AND rowid > (SELECT min(rowid) FROM "
             "sqlite_master WHERE type = 'trigger' AND name LIKE '\\_weir\\_%" PRId64
             "\\_%%' ESCAPE '\\')",
             followed->shape);
    if (status == WEIR_OK) {
        status = ask_number(db, &(struct question){.sql = sql, .text = followed->table->name},
                            &newer, err);
    }
    *ret_is = (size_t)found != count || newer > 0;
    return status;
}

// Whether the log has the columns' names: SQLite writes a new name of one into the triggers itself.
static weir_status compare_columns(struct weir_sqlite_db *db, const struct weir_sqlite_image *image,
                                   enum standing *standing, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status =
        ask(db,
            &(struct question){
                .sql = "SELECT name FROM \"_weir_columns\" WHERE shape = ?1 ORDER BY place",
                .number = image->shape},
            &statement, err);
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        return status;
    }
    int code = status == WEIR_OK ? SQLITE_ROW : SQLITE_DONE;
    size_t same = 0;
    for (; code == SQLITE_ROW && same < image->count; same++) {
        const char *name = image->table->columns[image->columns[same]].name;
        if (!weir_str_equal(weir_sqlite_bytes(statement, 0), weir_str_of(name))) {
            break;
        }
        code = sqlite3_step(statement);
    }
    if ((same < image->count || code != SQLITE_DONE) && *standing == STANDING_RIGHT) {
        *standing = STANDING_OLD;
    }
    return WEIR_OK;
}

static weir_status compare(struct weir_sqlite_db *db, struct followed *followed,
                           enum standing *ret_standing, struct weir_error *err) {
    *ret_standing = STANDING_ABSENT;
    weir_status status = find_shape(db, followed, err);
    if (status != WEIR_OK || followed->shape == 0) {
        return status;
    }
    size_t kv_columns[2], *all = each_column(followed->table);
    if (!all) {
        return weir_fail_no_memory(err, "a table");
    }
    struct weir_sqlite_image image = image_of(followed, kv_columns, all);
    struct weir_sqlite_triggers triggers;
    status = weir_sqlite_triggers_write(&image, &triggers, err);
    *ret_standing = STANDING_RIGHT;
    for (size_t i = 0; status == WEIR_OK && i < triggers.count; i++) {
        status = compare_trigger(db, followed, &triggers.items[i], ret_standing, err);
    }
    status = status == WEIR_OK ? compare_columns(db, &image, ret_standing, err) : status;
    bool is_out = false;
    if (status == WEIR_OK && *ret_standing == STANDING_RIGHT) {
        status = is_out_of_order(db, followed, triggers.count, &is_out, err);
        *ret_standing = is_out ? STANDING_OLD : STANDING_RIGHT;
    }
    weir_sqlite_triggers_finish(&triggers);
    free(all);
    return status;
}

// ---- putting it there

static weir_status drop_triggers(struct weir_sqlite_db *db, int64_t shape, struct weir_error *err) {
    char like[64], names[SHAPE_TRIGGERS_MAX][WEIR_SQLITE_TRIGGER_NAME_BYTES];
    size_t count = 0;
    snprintf(like, sizeof like, "\\_weir\\_%" PRId64 "\\_%%", shape);
    {
        WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
        weir_status status = ask(
            db,
            &(struct question){.sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND "
                                      "name LIKE ?1 ESCAPE '\\'",
                               .text = like},
            &statement, err);
        for (int code = SQLITE_ROW; status == WEIR_OK && code == SQLITE_ROW;
             code = sqlite3_step(statement)) {
            struct weir_str name = weir_sqlite_bytes(statement, 0);
            if (count < SHAPE_TRIGGERS_MAX && name.size < sizeof names[0]) {
                snprintf(names[count++], sizeof names[0], "%.*s", WEIR_STR_ARG(name));
            }
        }
        if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
            return status;
        }
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = run_text(db, sqlite3_mprintf("DROP TRIGGER \"%w\"", names[i]), err);
    }
    return status;
}

// As many cells as an image needs, in the log and in the copies.
static weir_status widen(struct weir_sqlite_db *db, const char *table, size_t cells,
                         struct weir_error *err) {
    int64_t count = 0;
    weir_status status =
        ask_number(db,
                   &(struct question){.sql = "SELECT count(*) FROM pragma_table_info(?1, 'main') "
                                             "WHERE name LIKE 'c%' AND name <> 'chain'",
                                      .text = table},
                   &count, err);
    for (size_t i = (size_t)count; status == WEIR_OK && i < cells; i++) {
        status = run_text(
            db, sqlite3_mprintf("ALTER TABLE \"%w\" ADD COLUMN \"c%d\"", table, (int)i), err);
    }
    return status;
}

static weir_status write_columns(struct weir_sqlite_db *db, const struct weir_sqlite_image *image,
                                 struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < image->count; i++) {
        int key_place = 0;
        for (size_t k = 0; k < image->key_count; k++) {
            key_place = image->key[k] == i ? (int)k + 1 : key_place;
        }
        status = run_text(db,
                          sqlite3_mprintf("INSERT INTO \"_weir_columns\" VALUES(%lld, %d, %Q, %d)",
                                          (long long)image->shape, (int)i,
                                          image->table->columns[image->columns[i]].name, key_place),
                          err);
    }
    return status;
}

static weir_status write_gap(struct weir_sqlite_db *db, int64_t shape, const char *reason,
                             struct weir_error *err) {
    return run_text(
        db,
        sqlite3_mprintf("INSERT INTO \"_weir_log\"(mark, shape, op, at, c0) VALUES(random(), %lld, "
                        "%d, CAST((julianday('now')-2440587.5)*86400000.0 AS INTEGER), %Q)",
                        (long long)shape, WEIR_SQLITE_OP_GAP, reason),
        err);
}

static weir_status write_shape(struct weir_sqlite_db *db, struct followed *followed,
                               struct weir_error *err) {
    size_t kv_columns[2], *all = each_column(followed->table);
    weir_status status = all ? WEIR_OK : weir_fail_no_memory(err, "a table");
    if (status == WEIR_OK) {
        status = run_text(
            db,
            sqlite3_mprintf("INSERT INTO \"_weir_shapes\"(tbl, kind, is_active) VALUES(%Q, %Q, 1)",
                            followed->table->name, followed->is_kv ? "kv" : "row"),
            err);
        followed->shape = sqlite3_last_insert_rowid(db->handle);
    }
    struct weir_sqlite_image image = image_of(followed, kv_columns, all);
    size_t cells = image.is_kv ? 2 : 2 * image.count;
    status = status == WEIR_OK ? write_columns(db, &image, err) : status;
    status = status == WEIR_OK ? widen(db, "_weir_log", cells, err) : status;
    status = status == WEIR_OK ? widen(db, "_weir_evicted", image.count, err) : status;
    struct weir_sqlite_triggers triggers = {0};
    status = status == WEIR_OK ? weir_sqlite_triggers_write(&image, &triggers, err) : status;
    for (size_t i = 0; status == WEIR_OK && i < triggers.count; i++) {
        status = weir_sqlite_db_run(db, triggers.items[i].sql, "put triggers into", err);
    }
    weir_sqlite_triggers_finish(&triggers);
    free(all);
    return status;
}

static weir_status end_shape(struct weir_sqlite_db *db, int64_t shape, struct weir_error *err) {
    weir_status status = drop_triggers(db, shape, err);
    return status == WEIR_OK
               ? run_text(
                     db,
                     sqlite3_mprintf("UPDATE \"_weir_shapes\" SET is_active = 0 WHERE id = %lld",
                                     (long long)shape),
                     err)
               : status;
}

// What nothing in the log is of.
static weir_status forget_shapes(struct weir_sqlite_db *db, struct weir_error *err) {
    int64_t count = 0;
    weir_status status = ask_number(
        db, &(struct question){.sql = "SELECT count(*) FROM \"_weir_shapes\" WHERE is_active = 0"},
        &count, err);
    if (status != WEIR_OK || count <= OLD_SHAPES_MAX) {
        return status;
    }
    return weir_sqlite_db_run(
        db,
        "DELETE FROM \"_weir_shapes\" WHERE is_active = 0 AND id NOT IN (SELECT shape FROM "
        "\"_weir_log\"); DELETE FROM \"_weir_columns\" WHERE shape NOT IN (SELECT id FROM "
        "\"_weir_shapes\")",
        "put the log into", err);
}

// ---- going through all of it

struct installing {
    struct weir_sqlite_db *db;
    const struct weir_sqlite_wanted *wanted;
    bool is_there;  // the log
    bool is_fixing; // inside of the transaction; else it is only looked
    uint64_t tables;
    struct weir_sqlite_installed *installed;
    // What is not as it should be; only looked.
    bool is_wanting;
    char absent[WEIR_SHOW_BYTES]; // a table whose changes are not seen; "": none
};

static weir_status fix(struct installing *installing, struct followed *followed,
                       enum standing standing, struct weir_error *err) {
    weir_status status = WEIR_OK;
    bool was_followed = followed->shape != 0;
    if (was_followed) {
        status = end_shape(installing->db, followed->shape, err);
    }
    status = status == WEIR_OK ? write_shape(installing->db, followed, err) : status;
    if (status == WEIR_OK && standing == STANDING_ABSENT) {
        status = write_gap(installing->db, followed->shape,
                           was_followed ? "triggers of the table were missing: what changed in it "
                                          "meanwhile is not known"
                                        : "the table is followed from here on",
                           err);
    }
    return status;
}

static weir_status see_to(struct installing *installing, struct followed *followed,
                          struct weir_error *err) {
    enum standing standing = STANDING_ABSENT;
    weir_status status =
        installing->is_there ? compare(installing->db, followed, &standing, err) : WEIR_OK;
    if (status != WEIR_OK || standing == STANDING_RIGHT) {
        return status;
    }
    if (installing->is_fixing) {
        return fix(installing, followed, standing, err);
    }
    installing->is_wanting = true;
    if (standing == STANDING_ABSENT && installing->absent[0] == '\0') {
        weir_show(weir_str_of(followed->table->name), installing->absent,
                  sizeof installing->absent);
    }
    return WEIR_OK;
}

// One that cannot be followed does not keep the others from it.
static weir_status skip(struct installing *installing, const struct weir_error *why) {
    struct weir_sqlite_installed *installed = installing->installed;
    if (installed->skipped[0] == '\0') {
        snprintf(installed->skipped, sizeof installed->skipped, "%s", why ? why->message : "");
    }
    return WEIR_OK;
}

static weir_status see_to_table(void *context, struct weir_str name, struct weir_error *err) {
    struct installing *installing = context;
    const struct weir_sqlite_wanted *wanted = installing->wanted;
    if (!wanted->kv && !wanted->concerns(wanted->context, name)) {
        return WEIR_OK;
    }
    if (++installing->tables > wanted->tables_max) {
        weir_status status = weir_fail(
            err, WEIR_LIMIT, "more than %" PRIu64 " tables are watched in \"%s\"; raise tables_max",
            wanted->tables_max, installing->db->path);
        return wanted->is_due ? status : skip(installing, err);
    }
    if (!wanted->kv && wanted->is_due && !wanted->is_due(wanted->due_context, name)) {
        return WEIR_OK;
    }
    struct followed followed = {.is_kv = wanted->kv != NULL};
    weir_status status = weir_sqlite_table_read(installing->db, name, &followed.table, err);
    if (status == WEIR_UNSUPPORTED && !followed.is_kv) {
        return skip(installing, err);
    }
    if (status == WEIR_OK && followed.is_kv) {
        status = weir_sqlite_table_kv(installing->db, followed.table, &followed.kv, err);
    }
    status = status == WEIR_OK ? see_to(installing, &followed, err) : status;
    weir_sqlite_table_free(followed.table);
    return status;
}

// A shape whose table is gone, by that name.
static weir_status find_gone(struct installing *installing, int64_t *ret_shape,
                             struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    const struct weir_sqlite_wanted *wanted = installing->wanted;
    *ret_shape = 0;
    weir_status status = ask(
        installing->db,
        &(struct question){.sql = "SELECT id, tbl FROM \"_weir_shapes\" WHERE is_active = 1 AND "
                                  "kind = ?1 AND tbl NOT IN (SELECT name FROM pragma_table_list "
                                  "WHERE \"schema\" = 'main' AND type = 'table') ORDER BY id",
                           .text = wanted->kv ? "kv" : "row"},
        &statement, err);
    for (int code = SQLITE_ROW; status == WEIR_OK && code == SQLITE_ROW;
         code = sqlite3_step(statement)) {
        struct weir_str table = weir_sqlite_bytes(statement, 1);
        if (wanted->kv ? weir_str_equal(table, weir_str_of(wanted->kv))
                       : wanted->concerns(wanted->context, table)) {
            *ret_shape = sqlite3_column_int64(statement, 0);
            return WEIR_OK;
        }
    }
    return status == WEIR_NOT_FOUND ? WEIR_OK : status;
}

static weir_status see_to_gone(struct installing *installing, struct weir_error *err) {
    int64_t shape;
    for (;;) { // ends: each turn ends a shape
        weir_status status = find_gone(installing, &shape, err);
        if (status != WEIR_OK || shape == 0) {
            return status;
        }
        if (!installing->is_fixing) {
            installing->is_wanting = true;
            return WEIR_OK;
        }
        status = end_shape(installing->db, shape, err);
        status = status == WEIR_OK
                     ? write_gap(installing->db, shape, "the table was dropped or renamed", err)
                     : status;
        if (status != WEIR_OK) {
            return status;
        }
    }
}

static weir_status see_to_bound(struct installing *installing, struct weir_error *err) {
    int64_t bound = 0;
    uint64_t wanted = installing->wanted->log_rows_max;
    weir_status status = ask_number(
        installing->db,
        &(struct question){.sql = "SELECT value FROM \"_weir_meta\" WHERE name = 'log_rows_max'"},
        &bound, err);
    if (status != WEIR_OK || (uint64_t)bound == wanted) {
        return status;
    }
    if (!installing->is_fixing) {
        installing->is_wanting = true;
        return WEIR_OK;
    }
    return run_text(
        installing->db,
        sqlite3_mprintf("UPDATE \"_weir_meta\" SET value = %lld WHERE name = 'log_rows_max'",
                        (long long)wanted),
        err);
}

static weir_status go_through(struct installing *installing, struct weir_error *err) {
    struct weir_sqlite_db *db = installing->db;
    weir_status status = find_log(db, &installing->is_there, err);
    if (status == WEIR_OK && !installing->is_there) {
        installing->is_wanting = true;
        if (installing->is_fixing) {
            status = weir_sqlite_db_run(db, make_log, "put the log into", err);
            installing->is_there = status == WEIR_OK;
        }
    }
    if (status != WEIR_OK) {
        return status;
    }
    const struct weir_sqlite_wanted *wanted = installing->wanted;
    if (installing->is_there) {
        status = see_to_gone(installing, err);
        status = status == WEIR_OK && wanted->may_install ? see_to_bound(installing, err) : status;
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = wanted->kv ? see_to_table(installing, weir_str_of(wanted->kv), err)
                        : weir_sqlite_tables(db, see_to_table, installing, err);
    return status == WEIR_OK && installing->is_fixing ? forget_shapes(db, err) : status;
}

// Nothing may be put there.
static weir_status answer_forbidden(struct installing *installing, struct weir_error *err) {
    const char *absent = installing->absent;
    if (installing->is_there && absent[0] == '\0') {
        return WEIR_OK; // what there is works
    }
    weir_status status =
        weir_fail(err, WEIR_UNSUPPORTED,
                  "changes of %s%s%s in \"%s\" cannot be seen: SQLite tells them to triggers "
                  "alone, and weir's are not there; %s",
                  absent[0] != '\0' ? "the table \"" : "tables", absent,
                  absent[0] != '\0' ? "\"" : "", installing->db->path,
                  weir_sqlite_db_is_readonly(installing->db)
                      ? "to put them there weir's user has to be able to write the file and its "
                        "directory"
                      : "set `install: true`, and weir puts triggers and its log, _weir_log, into "
                        "the database (`weir withdraw` takes them away)");
    bool is_of_some =
        installing->is_there && !installing->wanted->kv && !installing->wanted->is_due;
    return is_of_some ? skip(installing, err) : status;
}

weir_status weir_sqlite_install(struct weir_sqlite_db *db, const struct weir_sqlite_wanted *wanted,
                                struct weir_sqlite_installed *ret_installed,
                                struct weir_error *err) {
    struct weir_error own;
    err = err ? err : &own;
    struct installing installing = {.db = db, .wanted = wanted, .installed = ret_installed};
    const struct question version = {.sql = "PRAGMA schema_version"};
    *ret_installed = (struct weir_sqlite_installed){.skipped = ""};
    weir_status status = ask_number(db, &version, &ret_installed->schema_version, err);
    status = status == WEIR_OK ? go_through(&installing, err) : status;
    if (status != WEIR_OK || !installing.is_wanting) {
        return status;
    }
    if (!wanted->may_install) {
        return answer_forbidden(&installing, err);
    }
    status = weir_sqlite_db_run(db, "BEGIN IMMEDIATE", "put triggers into", err);
    if (status != WEIR_OK) {
        return status;
    }
    installing = (struct installing){
        .db = db, .wanted = wanted, .installed = ret_installed, .is_fixing = true};
    status = go_through(&installing, err);
    if (status == WEIR_OK) { // while nobody else can change it
        status = ask_number(db, &version, &ret_installed->schema_version, err);
    }
    status =
        status == WEIR_OK ? weir_sqlite_db_run(db, "COMMIT", "put triggers into", err) : status;
    weir_sqlite_db_rollback(db);
    return status;
}

// ---- taking it away

static void tell(const struct weir_findings *findings, const char *what) {
    if (findings && findings->tell) {
        findings->tell(findings->context, &(struct weir_finding){.what = what});
    }
}

// Drops weir's triggers, one at a time. Returns how many there were.
static weir_status drop_all_triggers(struct weir_sqlite_db *db, int64_t *ret_count,
                                     struct weir_error *err) {
    *ret_count = 0;
    for (;;) { // ends: each turn drops one
        char *sql = NULL;
        {
            WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
            weir_status status =
                ask(db,
                    &(struct question){.sql = "SELECT name FROM sqlite_master WHERE "
                                              "type = 'trigger' AND (name GLOB '_weir_[0-9]*_*' "
                                              "OR name = '_weir_bound')"},
                    &statement, err);
            if (status != WEIR_OK) {
                return status == WEIR_NOT_FOUND ? WEIR_OK : status;
            }
            sql = sqlite3_mprintf("DROP TRIGGER \"%w\"", sqlite3_column_text(statement, 0));
        }
        weir_status status = run_text(db, sql, err);
        if (status != WEIR_OK) {
            return status;
        }
        ++*ret_count;
    }
}

static weir_status drop_tables(struct weir_sqlite_db *db, int64_t *ret_count,
                               struct weir_error *err) {
    *ret_count = 0;
    for (size_t i = 0; i < OWN_TABLES; i++) {
        int64_t is_there = 0;
        weir_status status =
            ask_number(db,
                       &(struct question){.sql = "SELECT count(*) FROM sqlite_master WHERE "
                                                 "type = 'table' AND name = ?1",
                                          .text = own_tables[i]},
                       &is_there, err);
        if (status == WEIR_OK && is_there) {
            status = run_text(db, sqlite3_mprintf("DROP TABLE \"%w\"", own_tables[i]), err);
        }
        if (status != WEIR_OK) {
            return status;
        }
        *ret_count += is_there;
    }
    return WEIR_OK;
}

weir_status weir_sqlite_uninstall(struct weir_sqlite_db *db, const struct weir_findings *findings,
                                  struct weir_error *err) {
    int64_t triggers = 0, tables = 0;
    weir_status status = weir_sqlite_db_run(db, "BEGIN IMMEDIATE", "take the log out of", err);
    status = status == WEIR_OK ? drop_all_triggers(db, &triggers, err) : status;
    status = status == WEIR_OK ? drop_tables(db, &tables, err) : status;
    status =
        status == WEIR_OK ? weir_sqlite_db_run(db, "COMMIT", "take the log out of", err) : status;
    weir_sqlite_db_rollback(db);
    if (status == WEIR_OK && triggers + tables > 0) {
        char what[128];
        snprintf(what, sizeof what,
                 "dropped %" PRId64 " triggers and %" PRId64 " tables of weir's (_weir_...)",
                 triggers, tables);
        tell(findings, what);
    }
    return status;
}
