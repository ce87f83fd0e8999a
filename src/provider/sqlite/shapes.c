// SPDX-License-Identifier: Apache-2.0
//
// See shapes.h. A shape never changes once it is written, so what is known stays known, until the
// log is another one.
#include "provider/sqlite/shapes.h"

#include "provider/row.h"
#include "provider/sqlite/table.h"

#include <stdlib.h>
#include <string.h>

static void shape_free(struct weir_sqlite_shape *shape) {
    if (!shape) {
        return;
    }
    for (size_t i = 0; i < shape->count; i++) {
        free((char *)(uintptr_t)shape->columns[i].data);
    }
    free(shape->columns);
    free(shape->key);
    free(shape->name);
    free(shape->table);
    free(shape);
}

static weir_status fail_shape(struct weir_sqlite_db *db, struct weir_error *err) {
    return weir_fail(
        err, WEIR_OTHER,
        "the log in \"%s\" is damaged; take it away with `weir withdraw` and let it be "
        "made anew",
        db->path);
}

static weir_status shape_new(sqlite3_stmt *row, struct weir_sqlite_shape **ret_shape,
                             struct weir_sqlite_db *db, struct weir_error *err) {
    char name[WEIR_SQLITE_TABLE_KEY_BYTES_MAX];
    struct weir_str table = weir_sqlite_bytes(row, 1);
    size_t name_size = weir_row_key(table, NULL, 0, name, sizeof name);
    *ret_shape = NULL;
    if (name_size == 0 || !weir_utf8_valid(table)) {
        return fail_shape(db, err);
    }
    struct weir_sqlite_shape *shape = calloc(1, sizeof *shape);
    if (!shape) {
        return weir_fail_no_memory(err, "a table");
    }
    shape->id = sqlite3_column_int64(row, 0);
    shape->table = weir_str_copy(table);
    shape->name = weir_str_copy((struct weir_str){name, name_size});
    shape->columns = calloc(WEIR_SQLITE_COLUMNS_MAX, sizeof *shape->columns);
    shape->key = calloc(WEIR_SQLITE_COLUMNS_MAX, sizeof *shape->key);
    if (!shape->table || !shape->name || !shape->columns || !shape->key) {
        shape_free(shape);
        return weir_fail_no_memory(err, "a table");
    }
    *ret_shape = shape;
    return WEIR_OK;
}

static weir_status add_column(struct weir_sqlite_shape *shape, sqlite3_stmt *row,
                              struct weir_sqlite_db *db, struct weir_error *err) {
    struct weir_str name = weir_sqlite_bytes(row, 1);
    int64_t place = sqlite3_column_int64(row, 0), key_place = sqlite3_column_int64(row, 2);
    if (shape->count == WEIR_SQLITE_COLUMNS_MAX || place != (int64_t)shape->count ||
        key_place < 0 || key_place > WEIR_SQLITE_COLUMNS_MAX || !weir_utf8_valid(name)) {
        return fail_shape(db, err);
    }
    char *copy = weir_str_copy(name);
    if (!copy) {
        return weir_fail_no_memory(err, "a table");
    }
    if (key_place > 0) {
        shape->key[key_place - 1] = shape->count;
        shape->key_count =
            shape->key_count > (size_t)key_place ? shape->key_count : (size_t)key_place;
    }
    shape->columns[shape->count++] = (struct weir_str){copy, name.size};
    return WEIR_OK;
}

static weir_status read_columns(struct weir_sqlite_db *db, struct weir_sqlite_shape *shape,
                                struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status = weir_sqlite_db_prepare(
        db, "SELECT place, name, key_place FROM \"_weir_columns\" WHERE shape = ?1 ORDER BY place",
        &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_bind_int64(statement, 1, shape->id);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    while (status == WEIR_OK && code == SQLITE_ROW) { // ends: at WEIR_SQLITE_COLUMNS_MAX
        status = add_column(shape, statement, db, err);
        code = status == WEIR_OK ? sqlite3_step(statement) : code;
    }
    if (status == WEIR_OK && code != SQLITE_DONE) {
        return weir_sqlite_db_fail(db, code, "read the log of", err);
    }
    return status == WEIR_OK && shape->count == 0 ? fail_shape(db, err) : status;
}

static weir_status read_shape(struct weir_sqlite_shapes *shapes, struct weir_sqlite_db *db,
                              sqlite3_stmt *row, struct weir_error *err) {
    int64_t id = sqlite3_column_int64(row, 0);
    if (weir_sqlite_shapes_find(shapes, id)) {
        return WEIR_OK;
    }
    if (HASH_COUNT(shapes->by_id) >= WEIR_SQLITE_SHAPES_MAX) {
        return fail_shape(db, err);
    }
    struct weir_sqlite_shape *shape;
    weir_status status = shape_new(row, &shape, db, err);
    status = status == WEIR_OK ? read_columns(db, shape, err) : status;
    if (status != WEIR_OK) {
        shape_free(shape);
        return status;
    }
    HASH_ADD(hh, shapes->by_id, id, sizeof shape->id, shape);
    if (!shape->hh.tbl) {
        shape_free(shape);
        return weir_fail_no_memory(err, "a table");
    }
    return WEIR_OK;
}

weir_status weir_sqlite_shapes_read(struct weir_sqlite_shapes *shapes, struct weir_sqlite_db *db,
                                    struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status = weir_sqlite_db_prepare(
        db,
        shapes->is_kv ? "SELECT id, tbl FROM \"_weir_shapes\" WHERE kind = 'kv'"
                      : "SELECT id, tbl FROM \"_weir_shapes\" WHERE kind = 'row'",
        &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_step(statement);
    while (status == WEIR_OK && code == SQLITE_ROW) { // ends: at WEIR_SQLITE_SHAPES_MAX
        status = read_shape(shapes, db, statement, err);
        code = status == WEIR_OK ? sqlite3_step(statement) : code;
    }
    return status == WEIR_OK && code != SQLITE_DONE
               ? weir_sqlite_db_fail(db, code, "read the log of", err)
               : status;
}

void weir_sqlite_shapes_finish(struct weir_sqlite_shapes *shapes) {
    struct weir_sqlite_shape *shape, *next;
    HASH_ITER (hh, shapes->by_id, shape, next) {
        HASH_DEL(shapes->by_id, shape);
        shape_free(shape);
    }
}

const struct weir_sqlite_shape *weir_sqlite_shapes_find(const struct weir_sqlite_shapes *shapes,
                                                        int64_t id) {
    struct weir_sqlite_shape *shape;
    HASH_FIND(hh, shapes->by_id, &id, sizeof id, shape);
    return shape;
}
