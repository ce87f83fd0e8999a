// SPDX-License-Identifier: Apache-2.0
//
// Everything that can be known of a state database without its writer: SQLite's own check, every
// row's sum, and what rows say of each other. It is for a database that weir refuses to open as
// much as for a healthy one that is being written: it takes no lock, sees one commit's state of the
// file (a read transaction), and goes on behind whatever it finds as far as it can.
//
// One call, one thread, a connection of its own; nothing is kept.
#include "state/schema.h"
#include "state/state.h"
#include "state/state_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct checking {
    struct weir_state_paths paths;
    struct weir_connection connection;
    struct weir_scratch scratch;
    void (*tell)(void *context, const char *line);
    void *context;
    uint64_t count; // of what was told
};

static void tell(struct checking *checking, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(struct checking *checking, const char *format, ...) {
    struct weir_error line; // for its way to cut a text
    va_list args;
    va_start(args, format);
    weir_fail_v(&line, WEIR_OTHER, format, args);
    va_end(args);
    checking->count++;
    checking->tell(checking->context, line.message);
}

// An error of the file's content is something to tell; others end the check.
static weir_status tell_error(struct checking *checking, weir_status status,
                              const struct weir_error *cause, struct weir_error *err) {
    if (status == WEIR_OTHER) {
        tell(checking, "%s", cause->message);
        return WEIR_OK;
    }
    return status == WEIR_OK ? WEIR_OK : weir_fail(err, status, "%s", cause->message);
}

// ---- rows by themselves ----

static void check_texts(struct checking *checking, enum weir_table table,
                        const struct weir_cell *cells) {
    char name[WEIR_ROW_NAME_BYTES];
    const struct weir_table_facts *facts = &weir_tables[table];
    if (facts->has_event) {
        const struct weir_cell *event = &cells[facts->event_at];
        struct weir_event *made;
        struct weir_error cause;
        if (!weir_utf8_valid(event[WEIR_EVENT_ID].bytes)) {
            tell(checking, "%s: the event's id is not UTF-8", weir_row_name(table, cells, name));
        }
        if (weir_row_to_event(event, &checking->scratch, &made, &cause) == WEIR_OTHER) {
            tell(checking, "%s: %s", weir_row_name(table, cells, name), cause.message);
        }
        weir_event_unref(made);
    } else if (table == WEIR_TABLE_SUBSCRIPTION &&
               !weir_utf8_valid(cells[WEIR_SUBSCRIPTION_NAME].bytes)) {
        tell(checking, "%s: its name is not UTF-8", weir_row_name(table, cells, name));
    }
}

static int check_rows_of(struct checking *checking, sqlite3_stmt *statement,
                         enum weir_table table) {
    struct weir_cell cells[WEIR_CELLS_MAX];
    char name[WEIR_ROW_NAME_BYTES];
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) { // ends with the table
        bool is_right;
        code = weir_row_read(statement, table, cells, &is_right);
        if (code != SQLITE_OK) {
            return code;
        }
        if (is_right) {
            check_texts(checking, table, cells);
        } else {
            tell(checking, "%s: its sum is wrong", weir_row_name(table, cells, name));
        }
    }
    return code;
}

static weir_status check_rows(struct checking *checking, enum weir_table table,
                              struct weir_error *err) {
    struct weir_connection *connection = &checking->connection;
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(connection->db, weir_schema_rows_sql[table], -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = check_rows_of(checking, statement, table);
    }
    weir_status status = WEIR_OK;
    if (code != SQLITE_DONE) {
        char doing[64];
        snprintf(doing, sizeof doing, "read the table %s of", weir_tables[table].name);
        struct weir_error cause;
        status = weir_connection_fail(connection, code, doing, &cause);
        status = tell_error(checking, status, &cause, err);
    }
    sqlite3_finalize(statement);
    return status;
}

// ---- rows together ----

// Calls `found` for each row of some SQL that finds what is wrong: three numbers at most.
static weir_status check_with(struct checking *checking, const char *sql,
                              void (*found)(struct checking *checking, const int64_t *numbers),
                              struct weir_error *err) {
    struct weir_connection *connection = &checking->connection;
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t numbers[3];
        for (int i = 0; i < 3; i++) {
            numbers[i] = sqlite3_column_int64(statement, i); // 0 where there are fewer
        }
        found(checking, numbers);
        code = SQLITE_OK;
    }
    weir_status status = WEIR_OK;
    if (code != SQLITE_DONE) {
        struct weir_error cause;
        status = weir_connection_fail(connection, code, "compare the tables of", &cause);
        status = tell_error(checking, status, &cause, err);
    }
    sqlite3_finalize(statement);
    return status;
}

static void found_stray_journal(struct checking *checking, const int64_t *numbers) {
    tell(checking,
         "table journal: %" PRId64 " rows of subscription %" PRId64 ", which is not there",
         numbers[1], numbers[0]);
}

static void found_stray_notes(struct checking *checking, const int64_t *numbers) {
    tell(checking, "table note: %" PRId64 " rows of subscription %" PRId64 ", which is not there",
         numbers[1], numbers[0]);
}

static void found_row_count(struct checking *checking, const int64_t *numbers) {
    tell(checking,
         "table subscription, row %" PRId64 ": it has %" PRId64
         " rows in the journal, and there are %" PRId64,
         numbers[0], numbers[1], numbers[2]);
}

static void found_next_seq(struct checking *checking, const int64_t *numbers) {
    tell(checking,
         "table subscription, row %" PRId64 ": its next event is %" PRId64
         ", and the journal has one of %" PRId64,
         numbers[0], numbers[1], numbers[2]);
}

static const struct {
    const char *sql;
    void (*found)(struct checking *checking, const int64_t *numbers);
} comparisons[] = {
    {"SELECT row >> 40, count(*) FROM journal "
     "WHERE row >> 40 NOT IN (SELECT id FROM subscription) GROUP BY row >> 40",
     found_stray_journal},
    {"SELECT subscription, count(*) FROM note "
     "WHERE subscription NOT IN (SELECT id FROM subscription) GROUP BY subscription",
     found_stray_notes},
    {"SELECT * FROM (SELECT s.id, s.row_count, (SELECT count(*) FROM journal "
     "WHERE row BETWEEN s.id << 40 AND (s.id + 1 << 40) - 1) AS rows FROM subscription AS s) "
     "WHERE row_count <> rows",
     found_row_count},
    {"SELECT * FROM (SELECT s.id, s.next_seq, (SELECT max(row) & (1 << 40) - 1 FROM journal "
     "WHERE row BETWEEN s.id << 40 AND (s.id + 1 << 40) - 1) AS last FROM subscription AS s) "
     "WHERE last >= next_seq",
     found_next_seq},
};

// ---- the file ----

static weir_status check_structure(struct checking *checking, struct weir_error *err) {
    struct weir_connection *connection = &checking->connection;
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection->db, "PRAGMA integrity_check", -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(statement, 0);
        if (line && strcmp(line, "ok") != 0) {
            tell(checking, "%s: %s", connection->path, line);
        }
        code = line ? SQLITE_OK : SQLITE_NOMEM;
    }
    weir_status status = WEIR_OK;
    if (code != SQLITE_DONE) {
        struct weir_error cause;
        status = weir_connection_fail(connection, code, "check", &cause);
        status = tell_error(checking, status, &cause, err);
    }
    sqlite3_finalize(statement);
    return status;
}

static weir_status check_number(struct checking *checking, uint64_t marked,
                                struct weir_error *err) {
    uint64_t number = 0;
    struct weir_error cause;
    weir_status status = weir_state_read_number(&checking->connection, &number, &cause);
    if (status == WEIR_OK) {
        status = weir_state_compare(&checking->paths, number, marked, &cause);
    }
    return tell_error(checking, status, &cause, err);
}

// Where the header is wrong the tables may be right, and what is wrong in them is worth knowing; a
// newer weir's tables are not known.
static weir_status check_header(struct checking *checking, uint64_t marked, int *ret_version,
                                struct weir_error *err) {
    struct weir_error cause;
    int64_t version = 0;
    weir_status status = weir_schema_read(&checking->connection, ret_version, &cause);
    if (status == WEIR_OK && *ret_version == 0) {
        status = weir_state_compare(&checking->paths, 0, marked, &cause);
    } else if (status == WEIR_OTHER &&
               weir_connection_ask(&checking->connection, "PRAGMA user_version", &version, NULL, 0,
                                   NULL) == WEIR_OK &&
               version <= WEIR_STATE_SCHEMA_VERSION) {
        *ret_version = WEIR_STATE_SCHEMA_VERSION;
    }
    return tell_error(checking, status, &cause, err);
}

static weir_status check_all(struct checking *checking, uint64_t marked, struct weir_error *err) {
    int version = 0;
    weir_status status = check_header(checking, marked, &version, err);
    if (status == WEIR_OK) {
        status = check_structure(checking, err);
    }
    if (status != WEIR_OK || version != WEIR_STATE_SCHEMA_VERSION) {
        return status;
    }
    for (int table = 0; table < WEIR_TABLE_COUNT && status == WEIR_OK; table++) {
        status = check_rows(checking, (enum weir_table)table, err);
    }
    size_t count = sizeof comparisons / sizeof comparisons[0];
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        status = check_with(checking, comparisons[i].sql, comparisons[i].found, err);
    }
    return status == WEIR_OK ? check_number(checking, marked, err) : status;
}

static weir_status check_opened(struct checking *checking, uint64_t marked,
                                struct weir_error *err) {
    struct weir_connection *connection = &checking->connection;
    struct weir_error cause;
    weir_status status =
        weir_connection_open(connection, checking->paths.database, WEIR_CONNECTION_READ, &cause);
    if (status != WEIR_OK) {
        return tell_error(checking, status, &cause, err);
    }
    // All of it is of one commit. It ends with the connection.
    int code = sqlite3_exec(connection->db, "BEGIN", NULL, NULL, NULL);
    status = code == SQLITE_OK ? check_all(checking, marked, err)
                               : weir_connection_fail(connection, code, "read", err);
    weir_connection_close(connection, false);
    return status;
}

weir_status weir_state_check(const char *dir, void (*tell_line)(void *context, const char *line),
                             void *context, uint64_t *ret_count, struct weir_error *err) {
    struct checking checking = {.tell = tell_line, .context = context};
    struct weir_state_survey survey;
    struct weir_mark_value marked = {0};
    struct weir_error cause;
    *ret_count = 0;
    weir_status status = weir_state_find(dir, &checking.paths, err);
    if (status == WEIR_OK) {
        // Before the database, which only gets more.
        status = weir_mark_read(checking.paths.lock, &marked, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_state_look(&checking.paths, &survey, &cause);
    if (status == WEIR_OK && survey.database_bytes == 0) {
        status = weir_state_compare(&checking.paths, 0, marked.number, &cause);
        if (status == WEIR_OK) {
            return weir_fail(err, WEIR_NOT_FOUND, "there is no %s: no weir has run here",
                             checking.paths.database);
        }
    }
    status = status == WEIR_OK ? check_opened(&checking, marked.number, err)
                               : tell_error(&checking, status, &cause, err);
    weir_scratch_finish(&checking.scratch);
    *ret_count = checking.count;
    return status;
}
