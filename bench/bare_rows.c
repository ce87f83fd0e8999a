// SPDX-License-Identifier: Apache-2.0
//
// See bare_rows.h. One thread.
#include "bare_rows.h"

#include "base/clock.h"
#include "support.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 64 };

struct value {
    int type; // SQLite's
    int size;
    sqlite3_int64 integer;
    char *bytes;
};

struct bare_rows {
    char *schema; // what made the table
    int columns;
    size_t count, capacity;
    struct value *values; // row by row
};

static sqlite3 *open_file(const char *file, int flags) {
    sqlite3 *db;
    if (sqlite3_open_v2(file, &db, flags, NULL) != SQLITE_OK) {
        give_up(file, sqlite3_errmsg(db));
    }
    return db;
}

static void run(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        give_up(sql, sqlite3_errmsg(db));
    }
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
        give_up(sql, sqlite3_errmsg(db));
    }
    return statement;
}

static void keep_value(sqlite3_stmt *statement, int at, struct value *ret_value) {
    *ret_value = (struct value){.type = sqlite3_column_type(statement, at),
                                .integer = sqlite3_column_int64(statement, at)};
    if (ret_value->type == SQLITE_TEXT || ret_value->type == SQLITE_BLOB) {
        const void *bytes = sqlite3_column_blob(statement, at);
        ret_value->size = sqlite3_column_bytes(statement, at);
        ret_value->bytes = allocate_or_give_up((size_t)ret_value->size + 1);
        if (bytes) {
            memcpy(ret_value->bytes, bytes, (size_t)ret_value->size);
        }
    }
}

static void keep_row(struct bare_rows *rows, sqlite3_stmt *statement) {
    size_t columns = (size_t)rows->columns;
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity ? rows->capacity * 2 : 1024;
        rows->values = realloc(rows->values, rows->capacity * columns * sizeof *rows->values);
        if (!rows->values) {
            give_up("the rows", "no memory");
        }
    }
    for (size_t i = 0; i < columns; i++) {
        keep_value(statement, (int)i, &rows->values[rows->count * columns + i]);
    }
    rows->count++;
}

struct bare_rows *bare_rows_read(const char *database) {
    struct bare_rows *rows = allocate_or_give_up(sizeof *rows);
    sqlite3 *db = open_file(database, SQLITE_OPEN_READWRITE);
    sqlite3_stmt *statement = prepare(db, "SELECT sql FROM sqlite_schema WHERE name = 'journal'");
    if (sqlite3_step(statement) != SQLITE_ROW) {
        give_up(database, "it has no journal");
    }
    rows->schema = strdup((const char *)sqlite3_column_text(statement, 0));
    if (!rows->schema) {
        give_up("the schema", "no memory");
    }
    sqlite3_finalize(statement);
    statement = prepare(db, "SELECT * FROM journal ORDER BY row");
    rows->columns = sqlite3_column_count(statement);
    if (rows->columns > COLUMNS_MAX) {
        give_up(database, "the journal has too many columns");
    }
    while (sqlite3_step(statement) == SQLITE_ROW) {
        keep_row(rows, statement);
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return rows;
}

void bare_rows_free(struct bare_rows *rows) {
    for (size_t i = 0; i < rows->count * (size_t)rows->columns; i++) {
        free(rows->values[i].bytes);
    }
    free(rows->values);
    free(rows->schema);
    free(rows);
}

size_t bare_rows_count(const struct bare_rows *rows) {
    return rows->count;
}

static void bind(sqlite3_stmt *statement, int at, const struct value *value) {
    switch (value->type) {
    case SQLITE_INTEGER:
        sqlite3_bind_int64(statement, at, value->integer);
        break;
    case SQLITE_TEXT:
        sqlite3_bind_text(statement, at, value->bytes, value->size, SQLITE_STATIC);
        break;
    case SQLITE_BLOB:
        sqlite3_bind_blob(statement, at, value->bytes, value->size, SQLITE_STATIC);
        break;
    default:
        sqlite3_bind_null(statement, at);
    }
}

static void write_rows(const struct bare_rows *rows, sqlite3 *db, sqlite3_stmt *insert,
                       size_t group) {
    sqlite3_stmt *begin = prepare(db, "BEGIN IMMEDIATE"), *commit = prepare(db, "COMMIT");
    const struct value *value = rows->values;
    for (size_t i = 0; i < rows->count; i++) {
        if (i % group == 0) {
            sqlite3_step(begin);
            sqlite3_reset(begin);
        }
        for (int column = 0; column < rows->columns; column++) {
            bind(insert, column + 1, value++);
        }
        if (sqlite3_step(insert) != SQLITE_DONE) {
            give_up("a row", sqlite3_errmsg(db));
        }
        sqlite3_reset(insert);
        if (i % group == group - 1 || i == rows->count - 1) {
            if (sqlite3_step(commit) != SQLITE_DONE) {
                give_up("a commit", sqlite3_errmsg(db));
            }
            sqlite3_reset(commit);
        }
    }
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
}

int64_t bare_rows_write(const struct bare_rows *rows, const char *file, size_t group) {
    sqlite3 *db = open_file(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    run(db, rows->schema);
    char marks[2 * COLUMNS_MAX + 1] = "", sql[64 + sizeof marks];
    for (int i = 0; i < rows->columns; i++) {
        memcpy(marks + (size_t)(2 * i), ",?", sizeof ",?");
    }
    snprintf(sql, sizeof sql, "INSERT INTO journal VALUES (%s)", marks + 1);
    sqlite3_stmt *insert = prepare(db, sql);
    int64_t begin_ns = weir_clock_monotonic_ns();
    write_rows(rows, db, insert, group);
    int64_t took_ns = weir_clock_monotonic_ns() - begin_ns;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return took_ns;
}
