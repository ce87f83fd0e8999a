// SPDX-License-Identifier: Apache-2.0
//
// Rows as C has them: an array of cells, one for each column but the last, which is the row's sum.
// Every table is read and written through these, so that no column can be left out of the sum.
// Private to src/state/.
#ifndef WEIR_STATE_ROWS_H
#define WEIR_STATE_ROWS_H

#include "event/event.h"

#include <sqlite3.h>

enum weir_cell_kind { WEIR_CELL_NULL, WEIR_CELL_INTEGER, WEIR_CELL_TEXT, WEIR_CELL_BLOB };

struct weir_cell {
    uint8_t kind; // enum weir_cell_kind
    int64_t integer;
    struct weir_str bytes; // never with a NULL pointer where the kind is TEXT or BLOB
};

enum weir_table {
    WEIR_TABLE_META,
    WEIR_TABLE_SUBSCRIPTION,
    WEIR_TABLE_JOURNAL,
    WEIR_TABLE_NOTE,
    WEIR_TABLE_OUTBOX,
    WEIR_TABLE_DEAD,
    WEIR_TABLE_COUNT,
};

// The cells of each table, in the order of its columns. Those of an event stand side by side.
enum { WEIR_META_NAME, WEIR_META_VALUE, WEIR_META_CELLS };
enum {
    WEIR_SUBSCRIPTION_ID,
    WEIR_SUBSCRIPTION_NAME,
    WEIR_SUBSCRIPTION_RESOURCE,
    WEIR_SUBSCRIPTION_PATTERN,
    WEIR_SUBSCRIPTION_IS_READY,
    WEIR_SUBSCRIPTION_CURSOR,
    WEIR_SUBSCRIPTION_NEXT_SEQ,
    WEIR_SUBSCRIPTION_ROW_COUNT,
    WEIR_SUBSCRIPTION_CELLS,
};
enum { WEIR_NOTE_SUBSCRIPTION, WEIR_NOTE_KEY, WEIR_NOTE_FINGERPRINT, WEIR_NOTE_CELLS };
enum {
    WEIR_EVENT_KEY,
    WEIR_EVENT_TYPE,
    WEIR_EVENT_SOURCE,
    WEIR_EVENT_ID,
    WEIR_EVENT_SUBJECT,
    WEIR_EVENT_TIME,
    WEIR_EVENT_DATACONTENTTYPE,
    WEIR_EVENT_DATASCHEMA,
    WEIR_EVENT_DATA,
    WEIR_EVENT_EXTENSIONS,
    WEIR_EVENT_POSITION,
    WEIR_EVENT_IS_GAP,
    WEIR_EVENT_SPECVERSION,
    WEIR_EVENT_CELLS,
};
enum {
    WEIR_JOURNAL_ROW,
    WEIR_JOURNAL_EVENT,
    WEIR_JOURNAL_ATTEMPTS = WEIR_JOURNAL_EVENT + WEIR_EVENT_CELLS,
    WEIR_JOURNAL_CELLS,
};
enum {
    WEIR_OUTBOX_ID,
    WEIR_OUTBOX_SUBSCRIPTION,
    WEIR_OUTBOX_TARGET,
    WEIR_OUTBOX_EVENT,
    WEIR_OUTBOX_CELLS = WEIR_OUTBOX_EVENT + WEIR_EVENT_CELLS,
};
enum {
    WEIR_DEAD_ID,
    WEIR_DEAD_SUBSCRIPTION,
    WEIR_DEAD_TARGET,
    WEIR_DEAD_REASON,
    WEIR_DEAD_ATTEMPTS,
    WEIR_DEAD_GUEST_HASH,
    WEIR_DEAD_OUTPUT,
    WEIR_DEAD_WALL_NS,
    WEIR_DEAD_EVENT,
    WEIR_DEAD_CELLS = WEIR_DEAD_EVENT + WEIR_EVENT_CELLS,
};
enum { WEIR_CELLS_MAX = WEIR_DEAD_CELLS };

// What has to be known of a table.
struct weir_table_facts {
    const char *name;
    size_t cell_count; // without the sum
    bool has_event;
    size_t event_at; // the first of the event's cells
};
extern const struct weir_table_facts weir_tables[WEIR_TABLE_COUNT];

// Bytes that a row needs beside what it is made of; kept from one row to the next.
struct weir_scratch {
    char *bytes;
    size_t capacity;
};
void weir_scratch_finish(struct weir_scratch *scratch);

static inline struct weir_cell weir_cell_integer(int64_t integer) {
    return (struct weir_cell){.kind = WEIR_CELL_INTEGER, .integer = integer};
}

static inline struct weir_cell weir_cell_bytes(enum weir_cell_kind kind, struct weir_str bytes) {
    return (struct weir_cell){.kind = (uint8_t)kind,
                              .bytes = {bytes.data ? bytes.data : "", bytes.size}};
}

static inline struct weir_cell weir_cell_text(struct weir_str text) {
    return weir_cell_bytes(WEIR_CELL_TEXT, text);
}

static inline struct weir_cell weir_cell_blob(struct weir_str bytes) {
    return weir_cell_bytes(WEIR_CELL_BLOB, bytes);
}

// XXH3-64 over the table and every cell, with its kind and length.
int64_t weir_row_sum(enum weir_table table, const struct weir_cell *cells);

// Binds the cells to the parameters from 1 on, and their sum behind the last. SQLite's result. What
// the cells point to has to stay until the statement has run.
int weir_row_bind(sqlite3_stmt *statement, enum weir_table table, const struct weir_cell *cells);

// What the statement's row holds, its columns being the table's in their order. Valid until the
// statement's next step or reset. Returns SQLITE_NOMEM, or SQLITE_OK with whether the sum is right.
int weir_row_read(sqlite3_stmt *statement, enum weir_table table, struct weir_cell *ret_cells,
                  bool *ret_is_right);

// Fills WEIR_EVENT_CELLS cells, which point into the event and the scratch. WEIR_NO_MEMORY.
weir_status weir_row_of_event(const struct weir_event *event, struct weir_scratch *scratch,
                              struct weir_cell *ret_cells, struct weir_error *err);

// The event of such cells. WEIR_NO_MEMORY; WEIR_OTHER: the cells are not what weir writes.
weir_status weir_row_to_event(const struct weir_cell *cells, struct weir_scratch *scratch,
                              struct weir_event **ret_event, struct weir_error *err);

#endif
