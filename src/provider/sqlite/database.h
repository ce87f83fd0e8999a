// SPDX-License-Identifier: Apache-2.0
//
// A connection to somebody else's database file: how it is opened and bounded, and what SQLite's
// results mean here. One thread at a time.
#ifndef WEIR_PROVIDER_SQLITE_DATABASE_H
#define WEIR_PROVIDER_SQLITE_DATABASE_H

#include "base/error.h"
#include "base/str.h"
#include "provider/hub.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

enum weir_sqlite_mode {
    WEIR_SQLITE_READ,
    WEIR_SQLITE_WRITE,  // where the system allows it, else for reading
    WEIR_SQLITE_CREATE, // as WRITE, and makes the file where there is none
};

// Whose statement is run: what the authorizer looks at.
enum weir_sqlite_rights {
    WEIR_SQLITE_OURS,    // everything
    WEIR_SQLITE_READING, // of somebody else: it changes nothing
    WEIR_SQLITE_WRITING, // of somebody else: it changes their tables, not weir's
};

struct weir_sqlite_db {
    sqlite3 *handle;
    char *path;           // as it was opened
    struct weir_hub *hub; // on whose thread it is used, and waits; NULL: a caller's
    int64_t until_ns;     // statements are interrupted then; INT64_MAX: never
    bool outlives;        // what runs now goes on though the hub ends
    int64_t busy_ns;      // until when locks of others are waited for; 0: not at all
    enum weir_sqlite_rights rights;
    bool was_refused; // a statement of somebody else wanted what it may not do
    bool was_busy;    // the last failure was about a lock of others: it will do later
};

struct weir_sqlite_db_args {
    const char *path;
    enum weir_sqlite_mode mode;
    struct weir_hub *hub;
    int64_t until_ns; // of opening it, and of what comes after it until it is set anew
};

// Opens the file and reads the beginning of it. WEIR_NOT_FOUND (no such file), WEIR_DENIED,
// WEIR_UNAVAILABLE (locked), WEIR_OTHER (not a database, damaged).
weir_status weir_sqlite_db_open(const struct weir_sqlite_db_args *args,
                                struct weir_sqlite_db **ret_db, struct weir_error *err);
// Every statement must have been finalized. NULL is allowed.
void weir_sqlite_db_close(struct weir_sqlite_db *db);

// By when statements end and locks are given up.
void weir_sqlite_db_bound(struct weir_sqlite_db *db, int64_t until_ns);
// Whether the file at the path is not the one that is open any more.
bool weir_sqlite_db_has_moved(struct weir_sqlite_db *db);
bool weir_sqlite_db_is_readonly(const struct weir_sqlite_db *db);
// The file with symbolic links followed. The connection's.
const char *weir_sqlite_db_file(const struct weir_sqlite_db *db);

// Fills err for a result of SQLite's: "cannot DOING: what SQLite and the system say: advice".
weir_status weir_sqlite_db_fail(struct weir_sqlite_db *db, int code, const char *doing,
                                struct weir_error *err);

// Runs statements without parameters and results. `doing` as in weir_sqlite_db_fail.
weir_status weir_sqlite_db_run(struct weir_sqlite_db *db, const char *sql, const char *doing,
                               struct weir_error *err);
weir_status weir_sqlite_db_prepare(struct weir_sqlite_db *db, const char *sql,
                                   sqlite3_stmt **ret_statement, struct weir_error *err);
// Ends a transaction that may be open; nothing where none is.
void weir_sqlite_db_rollback(struct weir_sqlite_db *db);

// The bytes of a result's column; TEXT, BLOB, and numbers as text. Lives until the next step.
struct weir_str weir_sqlite_bytes(sqlite3_stmt *statement, int column);

// Finalizes a statement when the block is left.
static inline void weir_sqlite_finalize(sqlite3_stmt **statement) {
    sqlite3_finalize(*statement);
}
#define WEIR_SQLITE_AUTO_FINALIZE __attribute__((cleanup(weir_sqlite_finalize)))
static inline void weir_sqlite_free(char **text) {
    sqlite3_free(*text);
}
#define WEIR_SQLITE_AUTO_FREE __attribute__((cleanup(weir_sqlite_free)))

#endif
