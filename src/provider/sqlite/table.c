// SPDX-License-Identifier: Apache-2.0
//
// See table.h. Everything is asked by SQLite's pragmas as functions, with the name as a parameter.
#include "provider/sqlite/table.h"

#include "base/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// Tables that are somebody's data: not SQLite's own, not weir's.
#define IS_DATA                                                       \
    "\"schema\" = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' " \
    "AND name NOT LIKE '\\_weir\\_%' ESCAPE '\\'"

static bool has_part(const char *type, const char *part) {
    return strcasestr(type, part) != NULL;
}

enum weir_sqlite_affinity weir_sqlite_affinity_of(const char *type) {
    if (has_part(type, "INT")) {
        return WEIR_SQLITE_AFFINITY_NUMBER;
    }
    if (has_part(type, "CHAR") || has_part(type, "CLOB") || has_part(type, "TEXT")) {
        return WEIR_SQLITE_AFFINITY_TEXT;
    }
    return type[0] == '\0' || has_part(type, "BLOB") ? WEIR_SQLITE_AFFINITY_BLOB
                                                     : WEIR_SQLITE_AFFINITY_NUMBER;
}

void weir_sqlite_table_free(struct weir_sqlite_table *table) {
    if (!table) {
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        free(table->columns[i].name);
    }
    for (size_t i = 0; i < table->unique_count; i++) {
        const struct weir_sqlite_unique *unique = &table->uniques[i];
        for (size_t at = 0; at < unique->count; at++) {
            free(unique->collations[at]);
        }
        free(unique->collations);
        free(unique->columns);
    }
    free(table->columns);
    free(table->key);
    free(table->unseen);
    free(table->name);
    free(table);
}

static weir_status fail_table(struct weir_error *err, struct weir_str name, weir_status status,
                              const char *what) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, status, "\"%s\" %s", weir_show(name, shown, sizeof shown), what);
}

static char *copy_column(sqlite3_stmt *statement, int column) {
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return strdup(text ? text : "");
}

// A step of a statement that reads: whether there is a row.
static weir_status step(struct weir_sqlite_db *db, sqlite3_stmt *statement, bool *ret_is_row,
                        struct weir_error *err) {
    int code = sqlite3_step(statement);
    *ret_is_row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? WEIR_OK
               : weir_sqlite_db_fail(db, code, "read the schema of", err);
}

static weir_status prepare_of(struct weir_sqlite_db *db, const char *sql, struct weir_str name,
                              sqlite3_stmt **ret_statement, struct weir_error *err) {
    weir_status status = weir_sqlite_db_prepare(db, sql, ret_statement, err);
    if (status == WEIR_OK) {
        int code =
            sqlite3_bind_text(*ret_statement, 1, name.data, (int)name.size, SQLITE_TRANSIENT);
        status = code == SQLITE_OK ? WEIR_OK : weir_sqlite_db_fail(db, code, "use", err);
    }
    return status;
}

static weir_status read_head(struct weir_sqlite_db *db, struct weir_str name,
                             struct weir_sqlite_table *table, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    bool is_row = false;
    weir_status status = prepare_of(db,
                                    "SELECT name, type, wr FROM pragma_table_list WHERE " IS_DATA
                                    " AND name = ?1 COLLATE NOCASE",
                                    name, &statement, err);
    status = status == WEIR_OK ? step(db, statement, &is_row, err) : status;
    if (status != WEIR_OK) {
        return status;
    }
    if (!is_row) {
        return fail_table(err, name, WEIR_NOT_FOUND, "is no table of the database");
    }
    const char *type = (const char *)sqlite3_column_text(statement, 1);
    if (!type || strcmp(type, "table") != 0) {
        return fail_table(err, name, WEIR_UNSUPPORTED,
                          "is a view or a virtual table, whose changes SQLite does not tell; watch "
                          "the tables behind it");
    }
    table->has_rowid = sqlite3_column_int(statement, 2) == 0;
    table->name = copy_column(statement, 0);
    if (!table->name) {
        return weir_fail_no_memory(err, "a table");
    }
    if (!weir_utf8_valid(weir_str_of(table->name))) {
        return fail_table(err, name, WEIR_UNSUPPORTED, "has a name that is not UTF-8");
    }
    return WEIR_OK;
}

// The statement's row as the table's next column.
static weir_status add_column(sqlite3_stmt *statement, struct weir_sqlite_table *table,
                              struct weir_error *err) {
    struct weir_str name = weir_str_of(table->name);
    if (table->count == WEIR_SQLITE_COLUMNS_MAX) {
        return fail_table(err, name, WEIR_UNSUPPORTED, "has more than 900 columns");
    }
    const char *type = (const char *)sqlite3_column_text(statement, 1);
    struct weir_sqlite_column *column = &table->columns[table->count];
    *column = (struct weir_sqlite_column){
        .name = copy_column(statement, 0),
        .affinity = weir_sqlite_affinity_of(type ? type : ""),
        .key_place = (uint32_t)sqlite3_column_int(statement, 2),
    };
    if (!column->name) {
        return weir_fail_no_memory(err, "a table");
    }
    table->count++;
    table->key_count += column->key_place > 0;
    return weir_utf8_valid(weir_str_of(column->name))
               ? WEIR_OK
               : fail_table(err, name, WEIR_UNSUPPORTED, "has a column whose name is not UTF-8");
}

static weir_status read_columns(struct weir_sqlite_db *db, struct weir_sqlite_table *table,
                                struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    table->columns = calloc(WEIR_SQLITE_COLUMNS_MAX, sizeof *table->columns);
    if (!table->columns) {
        return weir_fail_no_memory(err, "a table");
    }
    // hidden: 1 is of virtual tables, 2 and 3 are generated columns.
    weir_status status =
        prepare_of(db,
                   "SELECT name, type, pk FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1 "
                   "ORDER BY cid",
                   weir_str_of(table->name), &statement, err);
    bool is_row = true;
    while (status == WEIR_OK) { // ends: SQLite's tables have at most 32767 columns
        status = step(db, statement, &is_row, err);
        if (status != WEIR_OK || !is_row) {
            break;
        }
        status = add_column(statement, table, err);
    }
    return status;
}

static weir_status find_key(struct weir_sqlite_table *table, struct weir_error *err) {
    table->key = calloc(table->key_count + 1, sizeof *table->key);
    if (!table->key) {
        return weir_fail_no_memory(err, "a table");
    }
    for (size_t i = 0; i < table->count; i++) {
        uint32_t place = table->columns[i].key_place;
        if (place > table->key_count) {
            return fail_table(err, weir_str_of(table->name), WEIR_OTHER,
                              "has a primary key that makes no sense");
        }
        if (place > 0) {
            table->key[place - 1] = i;
        }
    }
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    for (size_t n = 0; table->has_rowid && !table->rowid && n < 3; n++) {
        bool is_taken = false;
        for (size_t i = 0; i < table->count; i++) {
            is_taken = is_taken || strcasecmp(table->columns[i].name, names[n]) == 0;
        }
        table->rowid = is_taken ? NULL : names[n];
    }
    return WEIR_OK;
}

// ---- what else is unique

// The columns of an index; *ret_is_plain: it has no expressions.
static weir_status read_unique(struct weir_sqlite_db *db, const struct weir_sqlite_table *table,
                               struct weir_str index, struct weir_sqlite_unique *unique,
                               bool *ret_is_plain, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    *ret_is_plain = true;
    unique->columns = calloc(table->count + 1, sizeof *unique->columns);
    unique->collations = calloc(table->count + 1, sizeof *unique->collations);
    if (!unique->columns || !unique->collations) {
        return weir_fail_no_memory(err, "an index");
    }
    weir_status status = prepare_of(
        db, "SELECT name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key = 1 ORDER BY seqno",
        index, &statement, err);
    bool is_row = true;
    while (status == WEIR_OK) { // ends: an index has no more columns than SQLite allows
        status = step(db, statement, &is_row, err);
        if (status != WEIR_OK || !is_row) {
            break;
        }
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        size_t at = 0;
        while (name && at < table->count && strcasecmp(table->columns[at].name, name) != 0) {
            at++;
        }
        if (!name || at == table->count || unique->count == table->count) {
            *ret_is_plain = false;
            break;
        }
        unique->columns[unique->count] = at;
        unique->collations[unique->count] = copy_column(statement, 1);
        if (!unique->collations[unique->count]) {
            return weir_fail_no_memory(err, "an index");
        }
        unique->count++;
    }
    return status;
}

static weir_status add_unique(struct weir_sqlite_db *db, struct weir_sqlite_table *table,
                              sqlite3_stmt *list, struct weir_error *err) {
    struct weir_str name = weir_sqlite_bytes(list, 0);
    bool is_partial = sqlite3_column_int(list, 1) != 0, is_plain = false;
    weir_status status = WEIR_OK;
    if (!is_partial && table->unique_count < WEIR_SQLITE_UNIQUE_MAX) {
        // Counted first, so that what was read of it is freed with the table.
        struct weir_sqlite_unique *unique = &table->uniques[table->unique_count++];
        status = read_unique(db, table, name, unique, &is_plain, err);
        unique->is_plain = is_plain;
    }
    if (status == WEIR_OK && !is_plain && !table->unseen) {
        table->unseen = weir_str_copy(name);
        status = table->unseen ? WEIR_OK : weir_fail_no_memory(err, "an index");
    }
    return status;
}

// A primary key that is the rowid needs no index.
static weir_status find_integer_key(struct weir_sqlite_db *db, struct weir_sqlite_table *table,
                                    struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    bool is_row = false;
    weir_status status =
        prepare_of(db, "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'",
                   weir_str_of(table->name), &statement, err);
    status = status == WEIR_OK ? step(db, statement, &is_row, err) : status;
    table->has_integer_key = table->has_rowid && table->key_count == 1 && !is_row;
    return status;
}

static weir_status read_uniques(struct weir_sqlite_db *db, struct weir_sqlite_table *table,
                                struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status = prepare_of(db,
                                    "SELECT name, partial FROM pragma_index_list(?1, 'main') "
                                    "WHERE \"unique\" = 1 AND origin <> 'pk' ORDER BY name",
                                    weir_str_of(table->name), &statement, err);
    bool is_row = true;
    while (status == WEIR_OK) { // ends: with the schema
        status = step(db, statement, &is_row, err);
        if (status != WEIR_OK || !is_row) {
            break;
        }
        status = add_unique(db, table, statement, err);
    }
    return status;
}

weir_status weir_sqlite_table_read(struct weir_sqlite_db *db, struct weir_str name,
                                   struct weir_sqlite_table **ret_table, struct weir_error *err) {
    *ret_table = NULL;
    struct weir_sqlite_table *table = calloc(1, sizeof *table);
    if (!table) {
        return weir_fail_no_memory(err, "a table");
    }
    weir_status status = read_head(db, name, table, err);
    status = status == WEIR_OK ? read_columns(db, table, err) : status;
    status = status == WEIR_OK ? find_key(table, err) : status;
    status = status == WEIR_OK ? find_integer_key(db, table, err) : status;
    status = status == WEIR_OK ? read_uniques(db, table, err) : status;
    if (status == WEIR_OK && table->has_rowid && !table->rowid) {
        status = fail_table(err, name, WEIR_UNSUPPORTED,
                            "has columns with all the names of a rowid (rowid, _rowid_, oid)");
    }
    if (status != WEIR_OK) {
        weir_sqlite_table_free(table);
        return status;
    }
    *ret_table = table;
    return WEIR_OK;
}

struct names {
    char **items;
    size_t count, capacity;
};

static weir_status names_add(struct names *names, struct weir_str name, struct weir_error *err) {
    if (names->count == WEIR_SQLITE_SCHEMA_TABLES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "the database has more than %d tables",
                         WEIR_SQLITE_SCHEMA_TABLES_MAX);
    }
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 16;
        char **grown = realloc(names->items, capacity * sizeof *grown);
        if (!grown) {
            return weir_fail_no_memory(err, "names of tables");
        }
        names->items = grown;
        names->capacity = capacity;
    }
    char *copy = weir_str_copy(name);
    if (!copy) {
        return weir_fail_no_memory(err, "names of tables");
    }
    names->items[names->count++] = copy;
    return WEIR_OK;
}

static weir_status read_names(struct weir_sqlite_db *db, struct names *names,
                              struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    weir_status status = weir_sqlite_db_prepare(
        db, "SELECT name FROM pragma_table_list WHERE type = 'table' AND " IS_DATA " ORDER BY name",
        &statement, err);
    bool is_row = true;
    while (status == WEIR_OK) { // ends: with the schema
        status = step(db, statement, &is_row, err);
        if (status != WEIR_OK || !is_row) {
            break;
        }
        status = names_add(names, weir_sqlite_bytes(statement, 0), err);
    }
    return status;
}

// Read before any is given to `each`, which may change the schema.
weir_status weir_sqlite_tables(struct weir_sqlite_db *db,
                               weir_status (*each)(void *context, struct weir_str name,
                                                   struct weir_error *err),
                               void *context, struct weir_error *err) {
    struct names names = {0};
    weir_status status = read_names(db, &names, err);
    for (size_t i = 0; i < names.count; i++) {
        if (status == WEIR_OK) {
            status = each(context, weir_str_of(names.items[i]), err);
        }
        free(names.items[i]);
    }
    free(names.items);
    return status;
}

weir_status weir_sqlite_table_first(struct weir_sqlite_db *db,
                                    bool (*is_wanted)(void *context, struct weir_str name),
                                    void *context, char **ret_name, struct weir_error *err) {
    struct names names = {0};
    *ret_name = NULL;
    weir_status status = read_names(db, &names, err);
    for (size_t i = 0; i < names.count; i++) {
        if (status == WEIR_OK && !*ret_name && is_wanted(context, weir_str_of(names.items[i]))) {
            *ret_name = names.items[i];
        } else {
            free(names.items[i]);
        }
    }
    free(names.items);
    return status;
}

// ---- key-value tables

static bool is_bytewise(struct weir_sqlite_db *db, const struct weir_sqlite_table *table,
                        size_t column) {
    const char *collation = NULL;
    int code =
        sqlite3_table_column_metadata(db->handle, "main", table->name, table->columns[column].name,
                                      NULL, &collation, NULL, NULL, NULL);
    return code == SQLITE_OK && collation && strcasecmp(collation, "BINARY") == 0;
}

static weir_status check_encoding(struct weir_sqlite_db *db, struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    bool is_row = false;
    weir_status status = weir_sqlite_db_prepare(db, "PRAGMA encoding", &statement, err);
    status = status == WEIR_OK ? step(db, statement, &is_row, err) : status;
    if (status == WEIR_OK && is_row &&
        !weir_str_equal(weir_sqlite_bytes(statement, 0), WEIR_STR("UTF-8"))) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "the database keeps its texts in UTF-16, where keys have another order; a "
                         "key-value table wants UTF-8");
    }
    return status;
}

weir_status weir_sqlite_table_kv(struct weir_sqlite_db *db, const struct weir_sqlite_table *table,
                                 struct weir_sqlite_kv_columns *ret_columns,
                                 struct weir_error *err) {
    struct weir_str name = weir_str_of(table->name);
    if (table->key_count != 1 ||
        table->columns[table->key[0]].affinity == WEIR_SQLITE_AFFINITY_NUMBER) {
        return fail_table(err, name, WEIR_UNSUPPORTED,
                          "is no key-value table: its primary key has to be one column, of type "
                          "TEXT or BLOB");
    }
    size_t key = table->key[0], value = table->count;
    for (size_t i = 0; i < table->count; i++) {
        if (i != key && (table->count == 2 || strcasecmp(table->columns[i].name, "value") == 0)) {
            value = i;
        }
    }
    if (value == table->count) {
        return fail_table(err, name, WEIR_UNSUPPORTED,
                          "is no key-value table: beside its key it has to have one column, or "
                          "several of which one is called \"value\"");
    }
    if (!is_bytewise(db, table, key)) {
        return fail_table(err, name, WEIR_UNSUPPORTED,
                          "is no key-value table: its key has a collation by which different keys "
                          "are the same; it has to be BINARY");
    }
    *ret_columns = (struct weir_sqlite_kv_columns){.key = key, .value = value};
    return check_encoding(db, err);
}
