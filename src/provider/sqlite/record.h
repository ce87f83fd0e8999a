// SPDX-License-Identifier: Apache-2.0
//
// A row of the log, and a row of a table, as events. One thread at a time.
#ifndef WEIR_PROVIDER_SQLITE_RECORD_H
#define WEIR_PROVIDER_SQLITE_RECORD_H

#include "provider/provider.h"
#include "provider/sqlite/position.h"
#include "provider/sqlite/shapes.h"
#include "provider/sqlite/triggers.h"

// The columns of a statement that reads the log; cells follow.
enum weir_sqlite_log_column {
    WEIR_SQLITE_LOG_SEQ,
    WEIR_SQLITE_LOG_MARK,
    WEIR_SQLITE_LOG_SHAPE,
    WEIR_SQLITE_LOG_OP,
    WEIR_SQLITE_LOG_AT,
    WEIR_SQLITE_LOG_CHAIN,
    WEIR_SQLITE_LOG_CELLS,
};

// What a row tells. The views live as long as the statement stands on it, and the record.
struct weir_sqlite_record {
    struct weir_sqlite_place place; // in the log; of a row of a table, of the log as it was then
    const struct weir_sqlite_shape *shape;
    enum weir_sqlite_op op;
    bool is_snapshot; // it is a row of a table, not of the log
    int64_t wall_ns;
    sqlite3_stmt *statement; // that stands on it
    int cells;               // the first column of it that is a cell
    int cell_count;
    struct weir_str key;
    char key_buffer[WEIR_KEY_BYTES_MAX];
};

// What is needed to read records, for as long as a resource has a thread.
struct weir_sqlite_reader {
    struct weir_sqlite_shapes shapes;
    struct weir_str source; // of events
    struct weir_sql_value *values;
};
weir_status weir_sqlite_reader_init(struct weir_sqlite_reader *reader, struct weir_str source,
                                    bool is_kv, struct weir_error *err);
void weir_sqlite_reader_finish(struct weir_sqlite_reader *reader);

// Reads what the statement stands on, a row of the log. False: it tells nothing that this resource
// could tell: it is another kind's, or its key is none.
bool weir_sqlite_record_read(struct weir_sqlite_reader *reader, sqlite3_stmt *statement,
                             struct weir_sqlite_record *ret_record);
// The same of a row of a table: the columns of the statement, from `cells` on, are the shape's.
bool weir_sqlite_record_of_row(struct weir_sqlite_reader *reader, sqlite3_stmt *statement,
                               struct weir_sqlite_record *record);

// The event of a record. WEIR_NO_MEMORY, and what the data of somebody else's may lead to.
weir_status weir_sqlite_record_event(struct weir_sqlite_reader *reader,
                                     const struct weir_sqlite_record *record,
                                     struct weir_str position, uint64_t event_bytes_max,
                                     struct weir_event **ret_event, struct weir_error *err);

#endif
