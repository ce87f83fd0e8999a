// SPDX-License-Identifier: Apache-2.0
//
// Statements of others, on their own threads. What one may do is looked at by SQLite while it is
// prepared, by the authorizer in database.c; that it only reads is asked of SQLite once more
// (sqlite3_stmt_readonly). One that writes runs in a transaction, which is taken back where
// anything fails, bounds too. Its end is a progress handler's: until_ns.
#include "provider/sqlite/resource.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_FIRST = 16,
    TEXT_BYTES_MIN = 1 << 20, // that a statement may have, however small its result has to be
};

// A result on its way: values and texts in lists that grow, whose texts become views at the end.
struct held {
    struct weir_sql_value *values;
    size_t count, capacity;
    char *bytes; // of all texts; views are offsets until the end
    size_t size, room;
    struct weir_str *columns;
    size_t column_count;
};

static void held_free(void *context) {
    struct held *held = context;
    if (held) {
        free(held->values);
        free(held->bytes);
        free(held->columns);
        free(held);
    }
}

static weir_status grow(void **items, size_t *capacity, size_t wanted, size_t item_bytes,
                        struct weir_error *err) {
    if (wanted <= *capacity) {
        return WEIR_OK;
    }
    size_t grown = *capacity > 0 ? *capacity : ROWS_FIRST;
    while (grown < wanted) {
        grown *= 2;
    }
    void *moved = realloc(*items, grown * item_bytes);
    if (!moved) {
        return weir_fail_no_memory(err, "a result");
    }
    *items = moved;
    *capacity = grown;
    return WEIR_OK;
}

// Keeps bytes. The view has an offset in place of an address.
static weir_status keep(struct held *held, struct weir_str bytes, struct weir_str *ret_view,
                        struct weir_error *err) {
    weir_status status =
        grow((void **)&held->bytes, &held->room, held->size + bytes.size + 1, 1, err);
    if (status == WEIR_OK) {
        if (bytes.size > 0) {
            memcpy(held->bytes + held->size, bytes.data, bytes.size);
        }
        *ret_view = (struct weir_str){(const char *)(uintptr_t)held->size, bytes.size};
        held->size += bytes.size;
    }
    return status;
}

static bool is_bytes(enum weir_sql_kind kind) {
    return kind == WEIR_SQL_TEXT || kind == WEIR_SQL_BINARY;
}

// ---- what comes back

// The largest that a result may be; all its values together.
struct bounds {
    uint64_t rows, bytes;
};

static weir_status keep_value(struct held *held, sqlite3_stmt *statement, int column,
                              struct weir_error *err) {
    struct weir_sql_value value = {.kind = WEIR_SQL_NULL};
    weir_status status =
        grow((void **)&held->values, &held->capacity, held->count + 1, sizeof value, err);
    if (status != WEIR_OK) {
        return status;
    }
    int type = sqlite3_column_type(statement, column);
    if (type == SQLITE_INTEGER) {
        value.kind = WEIR_SQL_INTEGER;
        value.integer = sqlite3_column_int64(statement, column);
    } else if (type == SQLITE_FLOAT) {
        value.kind = WEIR_SQL_REAL;
        value.real = sqlite3_column_double(statement, column);
    } else if (type != SQLITE_NULL) {
        struct weir_str bytes = weir_sqlite_bytes(statement, column);
        bool is_text = type == SQLITE_TEXT && weir_utf8_valid(bytes);
        value.kind = is_text ? WEIR_SQL_TEXT : WEIR_SQL_BINARY;
        status = keep(held, bytes, &value.bytes, err);
    }
    held->values[held->count++] = value;
    return status;
}

static weir_status keep_row(struct held *held, sqlite3_stmt *statement, const struct bounds *bounds,
                            struct weir_error *err) {
    uint64_t rows = held->column_count > 0 ? held->count / held->column_count : 0;
    if (rows >= bounds->rows) {
        return weir_fail(err, WEIR_LIMIT, "the result has more than %llu rows; ask for fewer",
                         (unsigned long long)bounds->rows);
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < held->column_count; i++) {
        status = keep_value(held, statement, (int)i, err);
        // Numbers take room too.
        if (status == WEIR_OK && held->size + held->count * sizeof(int64_t) > bounds->bytes) {
            status = weir_fail(err, WEIR_LIMIT, "the result has more than %llu bytes; ask for less",
                               (unsigned long long)bounds->bytes);
        }
    }
    return status;
}

static weir_status keep_columns(struct held *held, sqlite3_stmt *statement,
                                struct weir_error *err) {
    held->column_count = (size_t)sqlite3_column_count(statement);
    held->columns = calloc(held->column_count + 1, sizeof *held->columns);
    if (!held->columns) {
        return weir_fail_no_memory(err, "a result");
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < held->column_count; i++) {
        const char *name = sqlite3_column_name(statement, (int)i);
        status = name ? keep(held, weir_str_of(name), &held->columns[i], err)
                      : weir_fail_no_memory(err, "a result");
    }
    return status;
}

// Nothing grows any more: offsets become addresses.
static void settle(struct held *held, struct weir_sql_result *ret_result) {
    for (size_t i = 0; i < held->column_count; i++) {
        held->columns[i].data = held->bytes + (uintptr_t)held->columns[i].data;
    }
    for (size_t i = 0; i < held->count; i++) {
        if (is_bytes(held->values[i].kind)) {
            held->values[i].bytes.data = held->bytes + (uintptr_t)held->values[i].bytes.data;
        }
    }
    ret_result->columns = held->columns;
    ret_result->column_count = held->column_count;
    ret_result->values = held->values;
    ret_result->row_count = held->column_count > 0 ? held->count / held->column_count : 0;
    ret_result->held = held;
    ret_result->free_held = held_free;
}

// ---- what goes in

// What SQLite says of a statement that is not ours.
static weir_status fail_statement(struct weir_sqlite_db *db, int code, struct weir_error *err) {
    weir_status status = weir_sqlite_db_fail(db, code, "run the statement in", err);
    if (db->was_refused) { // of functions SQLite does not say so by its result
        return weir_fail(err, WEIR_DENIED, "the statement may not do that: %s",
                         sqlite3_errmsg(db->handle));
    }
    if ((code & 0xFF) == SQLITE_ERROR) {
        return weir_fail(err, WEIR_INVALID, "SQLite does not understand the statement: %s",
                         sqlite3_errmsg(db->handle));
    }
    return status;
}

// Whether nothing but blanks and comments follows the first statement.
static weir_status check_rest(struct weir_sqlite_db *db, const char *rest, const char *end,
                              struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *second = NULL;
    while (rest < end) { // ends: each turn takes a statement, or all
        const char *next = NULL;
        int code = sqlite3_prepare_v2(db->handle, rest, (int)(end - rest), &second, &next);
        if (code != SQLITE_OK || second) {
            return weir_fail(err, WEIR_INVALID,
                             "there is a second statement behind the first; run one at a time");
        }
        if (!next || next <= rest) {
            break;
        }
        rest = next;
    }
    return WEIR_OK;
}

static weir_status prepare(struct weir_sqlite_db *db, const struct weir_sql_statement *statement,
                           sqlite3_stmt **ret_prepared, struct weir_error *err) {
    const char *rest = NULL;
    struct weir_str text = statement->text;
    *ret_prepared = NULL;
    if (text.size > INT_MAX || (text.size > 0 && memchr(text.data, '\0', text.size))) {
        return weir_fail(err, WEIR_INVALID, "the statement has a NUL in it, or is too long");
    }
    int code = sqlite3_prepare_v2(db->handle, text.size > 0 ? text.data : "", (int)text.size,
                                  ret_prepared, &rest);
    if (code != SQLITE_OK) {
        return fail_statement(db, code, err);
    }
    if (!*ret_prepared) {
        return weir_fail(err, WEIR_INVALID, "there is no statement");
    }
    if (statement->is_reading && !sqlite3_stmt_readonly(*ret_prepared)) {
        return weir_fail(err, WEIR_DENIED, "the statement changes something, and may only read");
    }
    return rest ? check_rest(db, rest, text.data + text.size, err) : WEIR_OK;
}

static int bind_one(sqlite3_stmt *prepared, int number, const struct weir_sql_value *value) {
    const char *data = NULL;
    switch (value->kind) {
    case WEIR_SQL_NULL:
        return sqlite3_bind_null(prepared, number);
    case WEIR_SQL_BOOLEAN:
        return sqlite3_bind_int(prepared, number, value->boolean);
    case WEIR_SQL_INTEGER:
        return sqlite3_bind_int64(prepared, number, value->integer);
    case WEIR_SQL_REAL:
        return sqlite3_bind_double(prepared, number, value->real);
    case WEIR_SQL_BINARY:
        data = value->bytes.data ? value->bytes.data : "";
        return sqlite3_bind_blob64(prepared, number, data, value->bytes.size, SQLITE_STATIC);
    case WEIR_SQL_TEXT:
    case WEIR_SQL_DECIMAL:
    case WEIR_SQL_JSON:
        data = value->bytes.data ? value->bytes.data : "";
        return sqlite3_bind_text64(prepared, number, data, value->bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    default:
        return SQLITE_MISMATCH;
    }
}

static weir_status bind(struct weir_sqlite_db *db, sqlite3_stmt *prepared,
                        const struct weir_sql_statement *statement, struct weir_error *err) {
    int wanted = sqlite3_bind_parameter_count(prepared);
    if ((size_t)wanted != statement->parameter_count ||
        statement->parameter_count > WEIR_SQL_PARAMETERS_MAX) {
        return weir_fail(
            err, WEIR_INVALID,
            "the statement has %d parameters, and %zu values are given; at most %d are "
            "allowed",
            wanted, statement->parameter_count, WEIR_SQL_PARAMETERS_MAX);
    }
    for (size_t i = 0; i < statement->parameter_count; i++) {
        int code = bind_one(prepared, (int)i + 1, &statement->parameters[i]);
        if (code != SQLITE_OK) {
            return fail_statement(db, code, err);
        }
    }
    return WEIR_OK;
}

// ---- running it

static weir_status step_through(struct weir_sqlite_db *db, sqlite3_stmt *prepared,
                                const struct bounds *bounds, struct held *held,
                                struct weir_error *err) {
    weir_status status = keep_columns(held, prepared, err);
    while (status == WEIR_OK) { // ends: at bounds->rows, or when the time is over
        int code = sqlite3_step(prepared);
        if (code == SQLITE_DONE) {
            break;
        }
        status = code == SQLITE_ROW ? keep_row(held, prepared, bounds, err)
                                    : fail_statement(db, code, err);
    }
    return status;
}

// Runs it as what is ours begins and ends.
static weir_status begin(struct weir_sqlite_db *db, struct weir_error *err) {
    db->rights = WEIR_SQLITE_OURS;
    return weir_sqlite_db_run(db, "BEGIN IMMEDIATE", "write to", err);
}

static weir_status commit(struct weir_sqlite_db *db, struct weir_error *err) {
    db->rights = WEIR_SQLITE_OURS;
    return weir_sqlite_db_run(db, "COMMIT", "write to", err);
}

static weir_status run(struct weir_sqlite_db *db, const struct weir_sql_statement *statement,
                       const struct bounds *bounds, struct held *held, uint64_t *ret_changed,
                       struct weir_error *err) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *prepared = NULL;
    weir_status status = statement->is_reading ? WEIR_OK : begin(db, err);
    if (status != WEIR_OK) {
        return status;
    }
    int64_t before = sqlite3_total_changes64(db->handle);
    db->was_refused = false;
    db->rights = statement->is_reading ? WEIR_SQLITE_READING : WEIR_SQLITE_WRITING;
    status = prepare(db, statement, &prepared, err);
    status = status == WEIR_OK ? bind(db, prepared, statement, err) : status;
    status = status == WEIR_OK ? step_through(db, prepared, bounds, held, err) : status;
    bool is_change = status == WEIR_OK && !sqlite3_stmt_readonly(prepared) &&
                     sqlite3_total_changes64(db->handle) != before;
    *ret_changed = is_change ? (uint64_t)sqlite3_changes64(db->handle) : 0;
    sqlite3_reset(prepared);
    return status == WEIR_OK && !statement->is_reading ? commit(db, err) : status;
}

// No single value, and no row on its way, is larger than the result may be.
static int bound_values(struct weir_sqlite_db *db, const struct weir_limits *limits) {
    uint64_t bytes =
        limits->value_bytes_max > TEXT_BYTES_MIN ? limits->value_bytes_max : TEXT_BYTES_MIN;
    return sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, bytes < INT_MAX ? (int)bytes : INT_MAX);
}

weir_status weir_sqlite_query(struct weir_resource *base,
                              const struct weir_sql_statement *statement,
                              const struct weir_limits *limits, struct weir_sql_result *ret_result,
                              struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_client *client;
    *ret_result = (struct weir_sql_result){0};
    struct held *held = calloc(1, sizeof *held);
    if (!held) {
        return weir_fail_no_memory(err, "a result");
    }
    int64_t until_ns = weir_sqlite_until(resource, limits->until_ns);
    weir_status status = weir_sqlite_client_take(resource, until_ns, &client, err);
    if (status == WEIR_OK) {
        const struct bounds bounds = {.rows = statement->rows_max,
                                      .bytes = limits->value_bytes_max};
        int length = bound_values(client->db, limits);
        status = run(client->db, statement, &bounds, held, &ret_result->changed, err);
        sqlite3_limit(client->db->handle, SQLITE_LIMIT_LENGTH, length);
        // A statement that was wrong has done the connection no harm.
        weir_sqlite_client_give(resource, client, status == WEIR_INVALID ? WEIR_OK : status);
    }
    if (status != WEIR_OK) {
        held_free(held);
        ret_result->changed = 0;
        return status;
    }
    settle(held, ret_result);
    return WEIR_OK;
}
