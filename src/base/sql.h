// SPDX-License-Identifier: Apache-2.0
//
// Values of SQL databases and statements for them, on their way between a provider and whoever
// asks, or as columns of rows that are told.
#ifndef WEIR_BASE_SQL_H
#define WEIR_BASE_SQL_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_sql_kind {
    WEIR_SQL_NULL,
    WEIR_SQL_BOOLEAN,
    WEIR_SQL_INTEGER,
    WEIR_SQL_REAL,
    WEIR_SQL_TEXT,      // UTF-8; also what the database has a text form for, and weir no kind
    WEIR_SQL_BINARY,    // any bytes
    WEIR_SQL_DECIMAL,   // exact, as text: digits that no double holds
    WEIR_SQL_JSON,      // as text
    WEIR_SQL_UNCHANGED, // of a row that is told: the database does not say it again
};

struct weir_sql_value {
    enum weir_sql_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct weir_str bytes; // of the kinds from WEIR_SQL_TEXT on
    };
};

// A statement, and what stands for its parameters ($1, $2, ... of PostgreSQL, ?1, ?2, ... of
// SQLite): they are handed over beside the text, never put into it. Views of the caller's.
struct weir_sql_statement {
    struct weir_str text;
    const struct weir_sql_value *parameters;
    size_t parameter_count;
    bool is_reading; // one that would change something is WEIR_DENIED, and changes nothing
    uint64_t rows_max;
};
enum { WEIR_SQL_PARAMETERS_MAX = 1024, WEIR_SQL_COLUMNS_MAX = 2000 };
// Of what a guest asks, and is answered.
enum {
    WEIR_SQL_STATEMENT_BYTES_MAX = 64 * 1024,
    WEIR_SQL_ROWS_MAX = 10000,
    WEIR_SQL_VALUES_MAX = 60000,
};

// What came of it. The views point into `held`.
struct weir_sql_result {
    struct weir_str *columns; // their names
    size_t column_count;
    struct weir_sql_value *values; // row after row
    size_t row_count;
    uint64_t changed; // rows that were inserted, updated or deleted
    void *held;
    void (*free_held)(void *held);
};

static inline void weir_sql_result_finish(struct weir_sql_result *result) {
    if (result->free_held) {
        result->free_held(result->held);
    }
    *result = (struct weir_sql_result){0};
}

#endif
