// SPDX-License-Identifier: Apache-2.0
//
// What the cells of the log's rows are, read from the log's own tables. One thread at a time.
#ifndef WEIR_PROVIDER_SQLITE_SHAPES_H
#define WEIR_PROVIDER_SQLITE_SHAPES_H

#include "base/table.h"
#include "provider/sqlite/database.h"

#include <stddef.h>

enum { WEIR_SQLITE_SHAPES_MAX = 65536, WEIR_SQLITE_TABLE_KEY_BYTES_MAX = 1024 };

struct weir_sqlite_shape {
    int64_t id;
    char *table; // as the schema spells it
    char *name;  // as keys name it: '/' and what else cannot stand there as %XX
    struct weir_str *columns;
    size_t count;
    size_t *key; // places of the primary key's columns, in its order
    size_t key_count;
    UT_hash_handle hh;
};

struct weir_sqlite_shapes {
    struct weir_sqlite_shape *by_id;
    bool is_kv; // which kind is read
};

// Reads those that are not known yet.
weir_status weir_sqlite_shapes_read(struct weir_sqlite_shapes *shapes, struct weir_sqlite_db *db,
                                    struct weir_error *err);
void weir_sqlite_shapes_finish(struct weir_sqlite_shapes *shapes);
// NULL: there is none of that number, and of that kind.
const struct weir_sqlite_shape *weir_sqlite_shapes_find(const struct weir_sqlite_shapes *shapes,
                                                        int64_t id);

#endif
