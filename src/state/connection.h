// SPDX-License-Identifier: Apache-2.0
//
// A connection to the file, its statements, and what SQLite's results mean to weir. Private to
// src/state/.
#ifndef WEIR_STATE_CONNECTION_H
#define WEIR_STATE_CONNECTION_H

#include "state/rows.h"

#include <sqlite3.h>

enum weir_statement {
    WEIR_SQL_BEGIN,
    WEIR_SQL_COMMIT,
    WEIR_SQL_ROLLBACK,
    WEIR_SQL_NUMBER_WRITE, // of the commit
    WEIR_SQL_NUMBER_MOVE,
    WEIR_SQL_SUBSCRIPTION_UPDATE,
    WEIR_SQL_SUBSCRIPTION_UNNAME,
    WEIR_SQL_SUBSCRIPTION_WRITE,
    WEIR_SQL_NOTE_WRITE,
    WEIR_SQL_NOTE_REMOVE,
    WEIR_SQL_JOURNAL_WRITE,
    WEIR_SQL_JOURNAL_READ,
    WEIR_SQL_JOURNAL_ATTEMPT,
    WEIR_SQL_JOURNAL_REMOVE,
    WEIR_SQL_OUTBOX_WRITE,
    WEIR_SQL_OUTBOX_REMOVE,
    WEIR_SQL_DEAD_WRITE,
    WEIR_SQL_DEAD_REMOVE,
    WEIR_SQL_LOAD_META,
    WEIR_SQL_LOAD_SUBSCRIPTIONS,
    WEIR_SQL_LOAD_JOURNAL,
    WEIR_SQL_LOAD_JOURNAL_OF_KEY,
    WEIR_SQL_LOAD_NOTES,
    WEIR_SQL_LOAD_OUTBOX,
    WEIR_SQL_LOAD_DEAD,
    WEIR_SQL_LOAD_DEAD_BEFORE,
    WEIR_SQL_LAST_OUTBOX,
    WEIR_SQL_LAST_DEAD,
    WEIR_SQL_FIND_SUBSCRIPTION,
    WEIR_SQL_FORGET_SUBSCRIPTION,
    WEIR_SQL_FORGET_JOURNAL,
    WEIR_SQL_FORGET_NOTES,
    WEIR_SQL_FORGET_OUTBOX,
    WEIR_SQL_FORGET_DEAD,
    WEIR_SQL_COUNT,
};

struct weir_connection {
    sqlite3 *db;
    const char *path; // the owner's
    // Something failed after which SQLite's own advice is to begin with a new connection.
    bool is_doubtful;
    int wal_pages; // after the last commit
    sqlite3_stmt *statements[WEIR_SQL_COUNT];
};

enum weir_connection_mode { WEIR_CONNECTION_READ, WEIR_CONNECTION_WRITE };

// Opens a file that is there. Until weir_connection_trust it leaves the WAL as it is when it is
// closed. After an error the connection is as if it had never been opened.
weir_status weir_connection_open(struct weir_connection *connection, const char *path,
                                 enum weir_connection_mode mode, struct weir_error *err);
// What is in the file was found right: closing may write it from the WAL into the database.
void weir_connection_trust(struct weir_connection *connection);
// What was opened or zeroed.
void weir_connection_close(struct weir_connection *connection, bool may_checkpoint);

// Fills err for a result of SQLite's: what was being done, what SQLite and the system say, what to
// do. Marks the connection where it is in doubt.
weir_status weir_connection_fail(struct weir_connection *connection, int code, const char *doing,
                                 struct weir_error *err);

// The statement, prepared where it was not. It is reset and has no row.
weir_status weir_connection_statement(struct weir_connection *connection, enum weir_statement which,
                                      sqlite3_stmt **ret_statement, struct weir_error *err);
// Runs a statement that writes to its end and resets it. `bind_code`: of the binding, for it to be
// checked once.
weir_status weir_connection_run(struct weir_connection *connection, sqlite3_stmt *statement,
                                int bind_code, struct weir_error *err);
// A statement without parameters.
weir_status weir_connection_do(struct weir_connection *connection, enum weir_statement which,
                               struct weir_error *err);
// SQL that is run once: its first row's first column, as a number and, where ret_text is given, as
// a text that is cut to its size.
weir_status weir_connection_ask(struct weir_connection *connection, const char *sql,
                                int64_t *ret_number, char *ret_text, size_t text_bytes,
                                struct weir_error *err);

// Steps to the next row of a statement that weir_connection_statement gave, and reads it. Fails
// where the row's sum is wrong, with the table and the row named. After the last row and after an
// error the statement is reset.
weir_status weir_connection_next(struct weir_connection *connection, sqlite3_stmt *statement,
                                 enum weir_table table, struct weir_cell *ret_cells,
                                 bool *ret_is_row, struct weir_error *err);

// That a row is not what weir wrote: "table journal, row 17".
weir_status weir_connection_fail_row(struct weir_connection *connection, enum weir_table table,
                                     const struct weir_cell *cells, const char *what,
                                     struct weir_error *err);
// Names a row for a message, by its id or, where it has none, by its name or key. Returns `buffer`.
enum { WEIR_ROW_NAME_BYTES = 128 };
const char *weir_row_name(enum weir_table table, const struct weir_cell *cells,
                          char buffer[static WEIR_ROW_NAME_BYTES]);

#endif
