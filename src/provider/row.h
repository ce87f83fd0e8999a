// SPDX-License-Identifier: Apache-2.0
//
// The events of rows of tables, which look the same whatever the database. Pure functions, any
// thread.
//
// Keys. A row's key is "TABLE/ID", where the id is its primary key: each value as text, with '%',
// '/', ',' and control characters coded as %XX (and, of bytes, those from 0x80 on), joined by
// commas. A table without a primary key has one key for all rows, "TABLE". A watch of "TABLE" is of
// all its rows, and so is one of "TABLE/*".
//
// Data is JSON: {"table": ..., "before": {...} or null, "after": {...} or null}. Values that JSON
// cannot hold, or that a reader of it would change, are written as MongoDB's Extended JSON v2 has
// them: integers beyond 2^53 as {"$numberLong": "..."}, numbers that are not finite as
// {"$numberDouble": "Infinity"}, decimals as {"$numberDecimal": "..."}, bytes as {"$binary":
// {"base64": "...", "subType": "00"}}. A column that the database does not tell is left out.
#ifndef WEIR_PROVIDER_ROW_H
#define WEIR_PROVIDER_ROW_H

#include "base/sql.h"
#include "event/event.h"
#include "provider/provider.h"

#define WEIR_TYPE_ROW_INSERTED    "dev.weir.row.inserted"
#define WEIR_TYPE_ROW_UPDATED     "dev.weir.row.updated"
#define WEIR_TYPE_ROW_DELETED     "dev.weir.row.deleted"
#define WEIR_TYPE_TABLE_TRUNCATED "dev.weir.table.truncated"

#define WEIR_EXTENSION_TRANSACTION "transaction" // the same for what was committed together

// A row as it was or is.
struct weir_row_image {
    const struct weir_str *columns; // their names, UTF-8
    const struct weir_sql_value *values;
    size_t count;
};

struct weir_row_change {
    struct weir_str source;      // of the event: "/" and the resource's name
    const char *type;            // one of those above
    struct weir_str table;       // as keys name it
    struct weir_str key;         // of the event: see weir_row_key
    struct weir_str revision;    // of this change, UTF-8: the same for the same change
    struct weir_str position;    // see struct weir_event_origin
    struct weir_str transaction; // empty: nobody knows
    int64_t wall_ns;             // when it was committed, or noticed; 0: nobody knows
    bool is_snapshot;            // see WEIR_EXTENSION_SNAPSHOT
    const struct weir_row_image *before, *after; // NULL: there is none, or it is not known
    uint64_t event_bytes_max;                    // data above it is left out, and that is said
};

// The event. Its id is "KEY@REVISION". WEIR_NO_MEMORY, WEIR_LIMIT, WEIR_INVALID (a value that is
// said to be text or JSON, and is not).
weir_status weir_row_event(const struct weir_row_change *change, struct weir_event **ret_event,
                           struct weir_error *err);

// Writes the key of a row, of the values of its primary key in the order of the key. Returns its
// size; 0: it is longer than `size`, which is WEIR_KEY_BYTES_MAX for any key that can be watched.
size_t weir_row_key(struct weir_str table, const struct weir_sql_value *values, size_t count,
                    char *buffer, size_t size);

#endif
