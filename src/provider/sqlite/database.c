// SPDX-License-Identifier: Apache-2.0
//
// See database.h. The file belongs to somebody else, and may be hostile:
//
// - Its schema is not trusted: functions that reach out of the database cannot be called from it,
//   defensive mode keeps its inner tables from being written to, cells are checked before they are
//   read, nothing is mapped into memory.
// - Nothing that stands in it can keep a thread: a handler that SQLite calls every
//   OPS_BETWEEN_LOOKS of its virtual machine ends what goes on beyond until_ns.
// - Statements of others are looked at by an authorizer while they are prepared.
//
// Locks of other programs are waited for with pauses that double; on the hub's thread by
// weir_hub_wait, so that the end of a resource ends them.
//
// Of a process's own descriptors of one file, closing any drops all POSIX locks: SQLite knows its
// own, so nothing here ever opens a database file but through SQLite.
#include "provider/sqlite/database.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    OPS_BETWEEN_LOOKS = 1000,
    PAUSE_US_MIN = 200, // between two attempts at a lock
    PAUSE_US_MAX = 10000,
    TRIGGER_DEPTH_MAX = 100,
};

// ---- what SQLite's results mean ----

struct meaning {
    int code; // primary
    weir_status status;
    const char *advice;
};

static const char advice_locked[] =
    "another program holds the database; let it end its transaction, or raise `timeout`";
static const char advice_rights[] =
    "let weir's user read and write the file and its directory, in which SQLite puts its journal";
static const char advice_damaged[] =
    "`PRAGMA integrity_check` lists what is wrong; bring it back from a backup";

static const struct meaning meanings[] = {
    {SQLITE_BUSY, WEIR_UNAVAILABLE, advice_locked},
    {SQLITE_LOCKED, WEIR_UNAVAILABLE, advice_locked},
    {SQLITE_PROTOCOL, WEIR_UNAVAILABLE, advice_locked},
    {SQLITE_INTERRUPT, WEIR_UNAVAILABLE, "it took longer than allowed; raise `timeout`"},
    {SQLITE_FULL, WEIR_UNAVAILABLE, "free some space"},
    {SQLITE_IOERR, WEIR_UNAVAILABLE, "see to the disk"},
    {SQLITE_CANTOPEN, WEIR_UNAVAILABLE, advice_rights},
    {SQLITE_READONLY, WEIR_DENIED, advice_rights},
    {SQLITE_PERM, WEIR_DENIED, advice_rights},
    {SQLITE_AUTH, WEIR_DENIED, "it is not among what a statement may do here"},
    {SQLITE_NOMEM, WEIR_NO_MEMORY, "the host has no memory left"},
    {SQLITE_TOOBIG, WEIR_LIMIT, "a value is larger than allowed"},
    {SQLITE_CONSTRAINT, WEIR_INVALID, "what the table is declared to hold does not allow it"},
    {SQLITE_MISMATCH, WEIR_INVALID, "what the table is declared to hold does not allow it"},
    {SQLITE_RANGE, WEIR_INVALID, "a parameter's number is out of range"},
    {SQLITE_CORRUPT, WEIR_OTHER, advice_damaged},
    {SQLITE_NOTADB, WEIR_OTHER, "name a database of SQLite's"},
    {SQLITE_ERROR, WEIR_OTHER, "see what SQLite says"},
};

static const struct meaning *meaning_of(int code) {
    static const struct meaning unknown = {0, WEIR_OTHER, "see what SQLite says"};
    int primary = code == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : code & 0xFF;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == primary) {
            return &meanings[i];
        }
    }
    return &unknown;
}

weir_status weir_sqlite_db_fail(struct weir_sqlite_db *db, int code, const char *doing,
                                struct weir_error *err) {
    const struct meaning *meaning = meaning_of(code);
    db->was_busy = meaning->advice == advice_locked;
    // The text is the connection's only where the last result was this one.
    bool is_last = db->handle && sqlite3_extended_errcode(db->handle) == code;
    const char *text = is_last ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);
    int system_code = is_last && (code & 0xFF) != SQLITE_BUSY && meaning->status != WEIR_INVALID
                          ? sqlite3_system_errno(db->handle)
                          : 0;
    char buffer[128];
    const char *system_text =
        system_code != 0 ? strerror_r(system_code, buffer, sizeof buffer) : NULL;
    return weir_fail(err, meaning->status, "cannot %s \"%s\": %s (SQLite's %d%s%s); %s", doing,
                     db->path, text, code, system_text ? ": " : "", system_text ? system_text : "",
                     meaning->advice);
}

// ---- bounds ----

static int look_at_clock(void *context) {
    const struct weir_sqlite_db *db = context;
    bool is_ending = db->hub && !db->outlives && weir_hub_is_ending(db->hub);
    return is_ending || (db->until_ns != INT64_MAX && weir_clock_coarse_ns() > db->until_ns);
}

// Waits a little for a lock; 0 gives it up.
static int wait_for_lock(void *context, int count) {
    const struct weir_sqlite_db *db = context;
    int64_t now_ns = weir_clock_monotonic_ns();
    if (now_ns >= db->busy_ns) {
        return 0;
    }
    int64_t pause_us = count < 6 ? (int64_t)PAUSE_US_MIN << count : PAUSE_US_MAX;
    int64_t until_ns = now_ns + pause_us * 1000;
    until_ns = until_ns < db->busy_ns ? until_ns : db->busy_ns;
    if (db->hub) {
        return weir_hub_wait(db->hub, -1, 0, until_ns) != WEIR_STOPPED;
    }
    struct timespec pause = weir_clock_timespec(until_ns - now_ns);
    nanosleep(&pause, NULL);
    return 1;
}

void weir_sqlite_db_bound(struct weir_sqlite_db *db, int64_t until_ns) {
    db->until_ns = until_ns;
    db->busy_ns = until_ns;
}

// ---- what statements of others may do ----

static bool is_own_name(const char *name) {
    return name && strncasecmp(name, "_weir_", 6) == 0;
}

// Pragmas that read. The others set something, for this connection or for all.
static bool is_reading_pragma(const char *name, const char *argument) {
    static const char *const with_argument[] = {"table_info", "table_xinfo", "index_list",
                                                "index_info", "index_xinfo", "foreign_key_list"};
    static const char *const without[] = {
        "table_list", "schema_version", "user_version", "data_version",   "journal_mode",
        "page_count", "page_size",      "encoding",     "collation_list", "freelist_count"};
    for (size_t i = 0; i < sizeof with_argument / sizeof with_argument[0]; i++) {
        if (strcasecmp(name, with_argument[i]) == 0) {
            return true;
        }
    }
    for (size_t i = 0; !argument && i < sizeof without / sizeof without[0]; i++) {
        if (strcasecmp(name, without[i]) == 0) {
            return true;
        }
    }
    return false;
}

// What a statement does to things whose names are weir's is refused, unless it is one of weir's
// triggers that does it.
static bool may(const struct weir_sqlite_db *db, int action, const char *const names[2],
                const char *trigger) {
    bool is_writing = db->rights == WEIR_SQLITE_WRITING;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return true;
    case SQLITE_FUNCTION:
        return !names[1] || strcasecmp(names[1], "load_extension") != 0;
    case SQLITE_PRAGMA:
        return is_reading_pragma(names[0], names[1]);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return is_writing && (!is_own_name(names[0]) || is_own_name(trigger));
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_ALTER_TABLE:
    case SQLITE_REINDEX:
    case SQLITE_ANALYZE:
        return is_writing && !is_own_name(names[0]) && !is_own_name(names[1]);
    default: // attaching, transactions, temporary and virtual tables
        return false;
    }
}

static int authorize(void *context, int action, const char *first, const char *second,
                     const char *schema, const char *trigger) {
    struct weir_sqlite_db *db = context;
    const char *const names[2] = {first, second};
    (void)schema;
    if (db->rights == WEIR_SQLITE_OURS || may(db, action, names, trigger)) {
        return SQLITE_OK;
    }
    db->was_refused = true;
    return SQLITE_DENY;
}

// ---- opening and closing ----

static int set_up(struct weir_sqlite_db *db) {
    static const struct {
        int option, value;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1}, // what the schema says of other tables' rows holds
    };
    sqlite3 *handle = db->handle;
    sqlite3_extended_result_codes(handle, 1);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(handle, SQLITE_LIMIT_TRIGGER_DEPTH, TRIGGER_DEPTH_MAX);
    sqlite3_progress_handler(handle, OPS_BETWEEN_LOOKS, look_at_clock, db);
    int code = sqlite3_busy_handler(handle, wait_for_lock, db);
    for (size_t i = 0; code == SQLITE_OK && i < sizeof options / sizeof options[0]; i++) {
        code = sqlite3_db_config(handle, options[i].option, options[i].value, NULL);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_set_authorizer(handle, authorize, db);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_exec(handle,
                            "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; "
                            "PRAGMA temp_store = MEMORY; PRAGMA schema_version",
                            NULL, NULL, NULL);
    }
    return code;
}

// SQLite takes names that begin with "file:", and some others, for something else than files.
static char *plain_path(const char *path) {
    char *plain = NULL;
    if (asprintf(&plain, "%s%s", path[0] == '/' ? "" : "./", path) < 0) {
        return NULL;
    }
    return plain;
}

static weir_status fail_open(struct weir_sqlite_db *db, int code, enum weir_sqlite_mode mode,
                             struct weir_error *err) {
    int system_code = db->handle ? sqlite3_system_errno(db->handle) : 0;
    if ((code & 0xFF) == SQLITE_CANTOPEN && system_code == ENOENT) {
        return weir_fail(err, WEIR_NOT_FOUND, "there is no database \"%s\"%s", db->path,
                         mode == WEIR_SQLITE_CREATE ? ", and no directory to make it in" : "");
    }
    return weir_sqlite_db_fail(db, code, "open", err);
}

weir_status weir_sqlite_db_open(const struct weir_sqlite_db_args *args,
                                struct weir_sqlite_db **ret_db, struct weir_error *err) {
    static const int flags[] = {
        [WEIR_SQLITE_READ] = SQLITE_OPEN_READONLY,
        [WEIR_SQLITE_WRITE] = SQLITE_OPEN_READWRITE,
        [WEIR_SQLITE_CREATE] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
    };
    *ret_db = NULL;
    struct weir_sqlite_db *db = calloc(1, sizeof *db);
    if (!db) {
        return weir_fail_no_memory(err, "a connection");
    }
    db->hub = args->hub;
    weir_sqlite_db_bound(db, args->until_ns);
    db->path = plain_path(args->path);
    if (!db->path) {
        weir_sqlite_db_close(db);
        return weir_fail_no_memory(err, "a connection");
    }
    int code =
        sqlite3_open_v2(db->path, &db->handle,
                        flags[args->mode] | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code == SQLITE_OK) {
        code = set_up(db);
    }
    if (code != SQLITE_OK) {
        weir_status status = fail_open(db, code, args->mode, err);
        weir_sqlite_db_close(db);
        return status;
    }
    *ret_db = db;
    return WEIR_OK;
}

void weir_sqlite_db_close(struct weir_sqlite_db *db) {
    if (!db) {
        return;
    }
    sqlite3_close(db->handle); // all statements are gone, so it cannot be refused
    free(db->path);
    free(db);
}

bool weir_sqlite_db_has_moved(struct weir_sqlite_db *db) {
    int has_moved = 0;
    int code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
    return code == SQLITE_OK && has_moved;
}

bool weir_sqlite_db_is_readonly(const struct weir_sqlite_db *db) {
    return sqlite3_db_readonly(db->handle, "main") != 0;
}

const char *weir_sqlite_db_file(const struct weir_sqlite_db *db) {
    const char *file = sqlite3_db_filename(db->handle, "main");
    return file ? file : db->path;
}

// ---- statements ----

weir_status weir_sqlite_db_run(struct weir_sqlite_db *db, const char *sql, const char *doing,
                               struct weir_error *err) {
    int code = sql ? sqlite3_exec(db->handle, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    return code == SQLITE_OK ? WEIR_OK : weir_sqlite_db_fail(db, code, doing, err);
}

weir_status weir_sqlite_db_prepare(struct weir_sqlite_db *db, const char *sql,
                                   sqlite3_stmt **ret_statement, struct weir_error *err) {
    *ret_statement = NULL;
    int code = sql ? sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                        ret_statement, NULL)
                   : SQLITE_NOMEM;
    return code == SQLITE_OK ? WEIR_OK : weir_sqlite_db_fail(db, code, "use", err);
}

void weir_sqlite_db_rollback(struct weir_sqlite_db *db) {
    if (!sqlite3_get_autocommit(db->handle)) {
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
}

struct weir_str weir_sqlite_bytes(sqlite3_stmt *statement, int column) {
    const void *data = sqlite3_column_type(statement, column) == SQLITE_BLOB
                           ? sqlite3_column_blob(statement, column)
                           : (const void *)sqlite3_column_text(statement, column);
    int size = sqlite3_column_bytes(statement, column);
    return (struct weir_str){.data = data, .size = data ? (size_t)size : 0};
}
