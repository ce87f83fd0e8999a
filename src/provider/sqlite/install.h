// SPDX-License-Identifier: Apache-2.0
//
// What weir puts into a database: its log, and the triggers that write it. One thread at a time.
#ifndef WEIR_PROVIDER_SQLITE_INSTALL_H
#define WEIR_PROVIDER_SQLITE_INSTALL_H

#include "provider/provider.h"
#include "provider/sqlite/database.h"
#include "provider/sqlite/position.h"

enum { WEIR_SQLITE_LOG_VERSION = 1, WEIR_SQLITE_REASON_BYTES = 160 };

// Which tables are to be followed.
struct weir_sqlite_wanted {
    const char *kv; // this one, as a key-value store; NULL: those of `concerns`, row by row
    bool (*concerns)(void *context, struct weir_str table);
    void *context;
    // Of those, which are to be looked at; they only count otherwise. NULL: all.
    bool (*is_due)(void *context, struct weir_str table);
    void *due_context;
    uint64_t tables_max;
    bool may_install;
    uint64_t log_rows_max;
};

// What came of it.
struct weir_sqlite_installed {
    // The first of the tables that cannot be followed, whatever is set, and why; "": there is none.
    char skipped[WEIR_ERROR_MESSAGE_BYTES];
    // The schema's version (PRAGMA schema_version) of which that is true. What others have changed
    // since has another.
    int64_t schema_version;
};

// Sees to it that every table that is wanted and there writes its changes into the log. Where that
// is so already, it reads only; else it needs may_install, and a moment as the only writer.
// WEIR_UNSUPPORTED: something is missing and weir may not put it there, or the table of `kv` is no
// key-value table; the message says what to set.
weir_status weir_sqlite_install(struct weir_sqlite_db *db, const struct weir_sqlite_wanted *wanted,
                                struct weir_sqlite_installed *ret_installed,
                                struct weir_error *err);

// Takes it all away again, and tells what it was.
weir_status weir_sqlite_uninstall(struct weir_sqlite_db *db, const struct weir_findings *findings,
                                  struct weir_error *err);

// What the log is now.
struct weir_sqlite_log_state {
    bool is_there;
    unsigned char identity[WEIR_SQLITE_IDENTITY_BYTES];
    struct weir_sqlite_place last; // what was written last; its mark is 0 where it is gone
    int64_t first;                 // the oldest that is there; 0: there is none
};
weir_status weir_sqlite_log_look(struct weir_sqlite_db *db, struct weir_sqlite_log_state *ret_state,
                                 struct weir_error *err);

#endif
