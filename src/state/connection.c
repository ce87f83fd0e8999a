// SPDX-License-Identifier: Apache-2.0
//
// One connection to the state database: how it is set up, its prepared statements, and the meaning
// of what SQLite answers. Statements are prepared when they are first wanted and kept as long as
// the connection.
//
// - Rows are trusted because of their sums, the file's structure because of SQLite's own checks;
// the
//   schema is not trusted: defensive mode, no triggers, no views.
// - secure_delete is what Debian's SQLite turns on by default: pages that fall free are written
// once
//   more with zeros. FAST leaves that out.
// - Until the content was found right, closing must not checkpoint: what is left of a damaged WAL
//   may be all that somebody can repair with.
// - SQLite caches in what it allocates; there is no other thread in it, hence NOMUTEX. A connection
//   is used by one thread at a time.
#include "state/connection.h"

#include "base/show.h"
#include "state/schema.h"
#include "state/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CACHE_KIB = 8192, // of pages
    // What a WAL that had to grow is cut to when it begins anew.
    WAL_BYTES_KEPT = 32 << 20,
};

// ---- what SQLite's results mean ----

struct meaning {
    int code; // primary
    weir_status status;
    bool is_doubtful;
    const char *advice;
};

static const char advice_damaged[] =
    "`weir state check` lists what is wrong; bring the folder back from a backup, or move it aside "
    "to start anew";

static const struct meaning meanings[] = {
    {SQLITE_FULL, WEIR_UNAVAILABLE, false, "free some space; weir then goes on by itself"},
    {SQLITE_READONLY, WEIR_UNAVAILABLE, true, "let weir's user write the folder and its files"},
    {SQLITE_PERM, WEIR_UNAVAILABLE, true, "let weir's user write the folder and its files"},
    {SQLITE_CANTOPEN, WEIR_UNAVAILABLE, true, "let weir's user read and write the folder"},
    {SQLITE_IOERR, WEIR_UNAVAILABLE, true, "see to the disk; weir then goes on by itself"},
    {SQLITE_BUSY, WEIR_UNAVAILABLE, false,
     "another program, such as sqlite3, holds it: let that end its transaction"},
    {SQLITE_LOCKED, WEIR_UNAVAILABLE, false,
     "another program, such as sqlite3, holds it: let that end its transaction"},
    {SQLITE_PROTOCOL, WEIR_UNAVAILABLE, true,
     "another program, such as sqlite3, holds it: let that end its transaction"},
    {SQLITE_NOLFS, WEIR_UNAVAILABLE, false, "put the folder on a file system for large files"},
    {SQLITE_NOMEM, WEIR_NO_MEMORY, false, "the host has no memory left"},
    {SQLITE_CORRUPT, WEIR_OTHER, true, advice_damaged},
    {SQLITE_NOTADB, WEIR_OTHER, true, advice_damaged},
    {SQLITE_CONSTRAINT, WEIR_OTHER, false,
     "what is in it contradicts what weir writes; if nobody changed it by hand, please report "
     "this"},
    {SQLITE_TOOBIG, WEIR_OTHER, false, "a single event may not be larger than a gigabyte"},
};

static const struct meaning *meaning_of(int code) {
    static const struct meaning unknown = {0, WEIR_OTHER, true, advice_damaged};
    int primary = code == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : code & 0xFF;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == primary) {
            return &meanings[i];
        }
    }
    return &unknown;
}

weir_status weir_connection_fail(struct weir_connection *connection, int code, const char *doing,
                                 struct weir_error *err) {
    const struct meaning *meaning = meaning_of(code);
    connection->is_doubtful = connection->is_doubtful || meaning->is_doubtful;
    // The text is the connection's only where the last result was this one.
    bool is_last = connection->db && sqlite3_extended_errcode(connection->db) == code;
    const char *text = is_last ? sqlite3_errmsg(connection->db) : sqlite3_errstr(code);
    int system_code =
        is_last && meaning->status == WEIR_UNAVAILABLE ? sqlite3_system_errno(connection->db) : 0;
    char buffer[128];
    const char *system_text =
        system_code != 0 ? strerror_r(system_code, buffer, sizeof buffer) : NULL;
    return weir_fail(err, meaning->status, "cannot %s %s: %s (SQLite's %d%s%s): %s", doing,
                     connection->path, text, code, system_text ? "; " : "",
                     system_text ? system_text : "", meaning->advice);
}

const char *weir_row_name(enum weir_table table, const struct weir_cell *cells,
                          char buffer[static WEIR_ROW_NAME_BYTES]) {
    char shown[WEIR_SHOW_BYTES];
    switch (table) {
    case WEIR_TABLE_META:
        weir_show(cells[WEIR_META_NAME].bytes, shown, sizeof shown);
        snprintf(buffer, WEIR_ROW_NAME_BYTES, "table meta, row %s", shown);
        break;
    case WEIR_TABLE_NOTE:
        weir_show(cells[WEIR_NOTE_KEY].bytes, shown, sizeof shown);
        snprintf(buffer, WEIR_ROW_NAME_BYTES, "table note, row %" PRId64 " %s",
                 cells[WEIR_NOTE_SUBSCRIPTION].integer, shown);
        break;
    default:
        snprintf(buffer, WEIR_ROW_NAME_BYTES, "table %s, row %" PRId64, weir_tables[table].name,
                 cells[0].integer);
    }
    return buffer;
}

weir_status weir_connection_fail_row(struct weir_connection *connection, enum weir_table table,
                                     const struct weir_cell *cells, const char *what,
                                     struct weir_error *err) {
    char name[WEIR_ROW_NAME_BYTES];
    return weir_fail(err, WEIR_OTHER, "%s is damaged: %s: %s: %s", connection->path,
                     weir_row_name(table, cells, name), what, advice_damaged);
}

// ---- opening ----

// After each commit, with the number of pages that the WAL has now.
static int count_wal(void *context, sqlite3 *db, const char *schema, int pages) {
    (void)db;
    (void)schema;
    struct weir_connection *connection = context;
    connection->wal_pages = pages;
    return SQLITE_OK;
}

static int set_up(struct weir_connection *connection) {
    sqlite3 *db = connection->db;
    char settings[512];
    snprintf(settings, sizeof settings,
             "PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; "
             "PRAGMA cache_size = -%d; PRAGMA secure_delete = FAST; PRAGMA mmap_size = 0; "
             "PRAGMA journal_size_limit = %d; PRAGMA foreign_keys = OFF",
             CACHE_KIB, WAL_BYTES_KEPT);
    static const struct {
        int option, value;
    } options[] = {
        {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1}, {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},   {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},      {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    sqlite3_extended_result_codes(db, 1);
    sqlite3_wal_hook(db, count_wal, connection); // in place of SQLite's own checkpoints
    int code = sqlite3_busy_timeout(db, WEIR_STATE_BUSY_WAIT_MS);
    for (size_t i = 0; code == SQLITE_OK && i < sizeof options / sizeof options[0]; i++) {
        code = sqlite3_db_config(db, options[i].option, options[i].value, NULL);
    }
    return code == SQLITE_OK ? sqlite3_exec(db, settings, NULL, NULL, NULL) : code;
}

weir_status weir_connection_open(struct weir_connection *connection, const char *path,
                                 enum weir_connection_mode mode, struct weir_error *err) {
    bool is_reader = mode == WEIR_CONNECTION_READ;
    *connection = (struct weir_connection){.path = path};
    int code = sqlite3_open_v2(path, &connection->db,
                               (is_reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                                   SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                               NULL);
    weir_status status = WEIR_OK;
    if (code == SQLITE_OK) {
        code = set_up(connection);
    }
    if (code != SQLITE_OK) {
        status = weir_connection_fail(connection, code, "open", err);
    } else if (!is_reader && sqlite3_db_readonly(connection->db, "main") != 0) {
        // SQLite opens what it may not write for reading.
        status =
            weir_fail(err, WEIR_UNAVAILABLE, "cannot write %s: let weir's user write it", path);
    }
    if (status != WEIR_OK) {
        weir_connection_close(connection, false);
    }
    return status;
}

void weir_connection_trust(struct weir_connection *connection) {
    sqlite3_db_config(connection->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

void weir_connection_close(struct weir_connection *connection, bool may_checkpoint) {
    for (size_t i = 0; i < WEIR_SQL_COUNT; i++) {
        sqlite3_finalize(connection->statements[i]);
    }
    if (connection->db && !may_checkpoint) {
        sqlite3_db_config(connection->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    sqlite3_close(connection->db); // all statements are gone, so it cannot be refused
    *connection = (struct weir_connection){.path = connection->path};
}

// ---- statements ----

weir_status weir_connection_statement(struct weir_connection *connection, enum weir_statement which,
                                      sqlite3_stmt **ret_statement, struct weir_error *err) {
    *ret_statement = connection->statements[which];
    if (*ret_statement) {
        return WEIR_OK;
    }
    int code = sqlite3_prepare_v3(connection->db, weir_schema_sql[which], -1,
                                  SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
    if (code != SQLITE_OK) {
        return weir_connection_fail(connection, code, "use", err);
    }
    connection->statements[which] = *ret_statement;
    return WEIR_OK;
}

weir_status weir_connection_run(struct weir_connection *connection, sqlite3_stmt *statement,
                                int bind_code, struct weir_error *err) {
    int code = bind_code == SQLITE_OK ? sqlite3_step(statement) : bind_code;
    weir_status status = WEIR_OK;
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = weir_connection_fail(connection, code, "write", err);
    }
    sqlite3_reset(statement);
    return status;
}

weir_status weir_connection_do(struct weir_connection *connection, enum weir_statement which,
                               struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status = weir_connection_statement(connection, which, &statement, err);
    return status == WEIR_OK ? weir_connection_run(connection, statement, SQLITE_OK, err) : status;
}

weir_status weir_connection_ask(struct weir_connection *connection, const char *sql,
                                int64_t *ret_number, char *ret_text, size_t text_bytes,
                                struct weir_error *err) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    weir_status status = WEIR_OK;
    if (code == SQLITE_ROW) {
        *ret_number = sqlite3_column_int64(statement, 0);
        if (ret_text) {
            const char *text = (const char *)sqlite3_column_text(statement, 0);
            snprintf(ret_text, text_bytes, "%s", text ? text : "");
        }
    } else if (code != SQLITE_DONE) {
        status = weir_connection_fail(connection, code, "read", err);
    }
    sqlite3_finalize(statement);
    return status;
}

weir_status weir_connection_next(struct weir_connection *connection, sqlite3_stmt *statement,
                                 enum weir_table table, struct weir_cell *ret_cells,
                                 bool *ret_is_row, struct weir_error *err) {
    weir_status status = WEIR_OK;
    bool is_right = true;
    *ret_is_row = false;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *ret_is_row = true;
        code = weir_row_read(statement, table, ret_cells, &is_right);
    }
    if (code != SQLITE_OK && code != SQLITE_DONE) {
        status = weir_connection_fail(connection, code, "read", err);
    } else if (!is_right) {
        status = weir_connection_fail_row(connection, table, ret_cells, "its sum is wrong", err);
    }
    if (status != WEIR_OK || !*ret_is_row) {
        *ret_is_row = false;
        sqlite3_reset(statement);
    }
    return status;
}
