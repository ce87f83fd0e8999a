// SPDX-License-Identifier: Apache-2.0
//
// The triggers that write a table's changes into the log, as SQL. Pure but for SQLite's allocator;
// any thread.
#ifndef WEIR_PROVIDER_SQLITE_TRIGGERS_H
#define WEIR_PROVIDER_SQLITE_TRIGGERS_H

#include "provider/sqlite/table.h"

// What a row of the log tells; its column "op".
enum weir_sqlite_op {
    WEIR_SQLITE_OP_INSERT = 1,
    WEIR_SQLITE_OP_UPDATE = 2,
    WEIR_SQLITE_OP_DELETE = 3,
    WEIR_SQLITE_OP_GAP = 4, // what happened to the table before is not in the log
};

// A table as its triggers write it. The log's cells of a change are the columns of its image, in
// this order: of an insertion the new ones; of an update the new ones and then the old ones (of a
// key-value table, which has the columns key and value, the new ones alone); of a deletion the old
// ones (the key alone).
struct weir_sqlite_image {
    const struct weir_sqlite_table *table;
    int64_t shape; // its number in the log
    bool is_kv;
    const size_t *columns; // of the table
    size_t count;
    const size_t *key; // places in `columns`; none: rows have no identity but their rowid
    size_t key_count;
};

enum { WEIR_SQLITE_TRIGGERS_MAX = 7, WEIR_SQLITE_TRIGGER_NAME_BYTES = 48 };

struct weir_sqlite_trigger {
    char name[WEIR_SQLITE_TRIGGER_NAME_BYTES]; // "_weir_SHAPE_WHAT"
    char *sql;                                 // the whole CREATE TRIGGER
    bool is_needed; // without it changes are not seen; the others are for replaced rows
};
struct weir_sqlite_triggers {
    struct weir_sqlite_trigger items[WEIR_SQLITE_TRIGGERS_MAX];
    size_t count;
};

// In the order in which they are to be made. WEIR_NO_MEMORY.
weir_status weir_sqlite_triggers_write(const struct weir_sqlite_image *image,
                                       struct weir_sqlite_triggers *ret_triggers,
                                       struct weir_error *err);
void weir_sqlite_triggers_finish(struct weir_sqlite_triggers *triggers);

#endif
