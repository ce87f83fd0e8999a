// SPDX-License-Identifier: Apache-2.0
//
// What a table is, read from the database: its columns, its primary key, what else is unique in it.
// One thread at a time.
#ifndef WEIR_PROVIDER_SQLITE_TABLE_H
#define WEIR_PROVIDER_SQLITE_TABLE_H

#include "provider/sqlite/database.h"

#include <stddef.h>

enum {
    WEIR_SQLITE_COLUMNS_MAX = 900, // of a table that is watched: a change has two images, and the
                                   // log's own columns come on top, of SQLite's 2000
    WEIR_SQLITE_UNIQUE_MAX = 64,   // unique indexes of a table
    WEIR_SQLITE_SCHEMA_TABLES_MAX = 65536,
};

// Of a column's declared type, by SQLite's rules.
enum weir_sqlite_affinity {
    WEIR_SQLITE_AFFINITY_BLOB,
    WEIR_SQLITE_AFFINITY_TEXT,
    WEIR_SQLITE_AFFINITY_NUMBER,
};
enum weir_sqlite_affinity weir_sqlite_affinity_of(const char *type);

struct weir_sqlite_column {
    char *name;
    enum weir_sqlite_affinity affinity;
    uint32_t key_place; // in the primary key, from 1 on; 0: it is not in it
};

// An index that two rows cannot have the same values in.
struct weir_sqlite_unique {
    bool is_plain; // of columns alone; else it is not looked at
    size_t count;
    size_t *columns;   // indexes into the table's
    char **collations; // by which values are the same
};

struct weir_sqlite_table {
    char *name; // as the schema spells it
    bool has_rowid;
    const char *rowid;    // a name of it that no column has; NULL: there is none
    bool has_integer_key; // the rowid is the primary key, so it stays what it is
    struct weir_sqlite_column *columns;
    size_t count;
    size_t *key; // the columns of the primary key in its order
    size_t key_count;
    struct weir_sqlite_unique uniques[WEIR_SQLITE_UNIQUE_MAX]; // but the primary key
    size_t unique_count;
    char *unseen; // a unique index that is of expressions, or of some rows only; NULL: none
};

// Reads it. The name may be spelled in upper or lower case. WEIR_NOT_FOUND; WEIR_UNSUPPORTED: it is
// a view or a virtual table, or has more or other columns than can be watched.
weir_status weir_sqlite_table_read(struct weir_sqlite_db *db, struct weir_str name,
                                   struct weir_sqlite_table **ret_table, struct weir_error *err);
// NULL is allowed.
void weir_sqlite_table_free(struct weir_sqlite_table *table);

// Calls `each` for every table that can be watched, in the order of their names' bytes, until it
// fails.
weir_status weir_sqlite_tables(struct weir_sqlite_db *db,
                               weir_status (*each)(void *context, struct weir_str name,
                                                   struct weir_error *err),
                               void *context, struct weir_error *err);

// The name of the first table that can be watched and for which `is_wanted` holds; NULL: there is
// none. To be freed with free().
weir_status weir_sqlite_table_first(struct weir_sqlite_db *db,
                                    bool (*is_wanted)(void *context, struct weir_str name),
                                    void *context, char **ret_name, struct weir_error *err);

// The columns of a table that is a key-value store. WEIR_UNSUPPORTED: it is none.
struct weir_sqlite_kv_columns {
    size_t key, value;
};
weir_status weir_sqlite_table_kv(struct weir_sqlite_db *db, const struct weir_sqlite_table *table,
                                 struct weir_sqlite_kv_columns *ret_columns,
                                 struct weir_error *err);

#endif
