// SPDX-License-Identifier: Apache-2.0
//
// Statements of others. One at a time, by the extended protocol, which takes no second one behind a
// semicolon; parameters go beside the text. Each runs in a transaction, which is READ ONLY for one
// that may only read: what is refused for its answer is taken back. The session is left as it was
// found (DISCARD ALL), whatever the statement did to it: a connection serves everybody.
//
// Rows come one by one, so that a result that is larger than allowed is noticed while it comes; the
// connection is then closed, which ends the statement at the server.
//
// Any thread.
#include "provider/postgres/resource.h"

#include "base/clock.h"
#include "provider/postgres/pgoutput.h"
#include "provider/postgres/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_BYTES = 64 * 1024, // of what a result holds; larger values have one of their own
    ROWS_FIRST = 16,
    NUMBER_BYTES = 40,
};

#define UNDEFINED_TABLE "42P01"

// ---- what a result holds ----

struct chunk {
    struct chunk *next;
    size_t used, room;
    char bytes[];
};

struct held {
    struct chunk *chunks; // the newest first
    struct weir_str *columns;
    struct weir_sql_value *values;
    size_t value_room;
};

static void free_held(void *argument) {
    struct held *held = argument;
    while (held->chunks) {
        struct chunk *next = held->chunks->next;
        free(held->chunks);
        held->chunks = next;
    }
    free(held->columns);
    free(held->values);
    free(held);
}

// Room that lives as long as the result. NULL without memory.
static char *hold(struct held *held, size_t size) {
    struct chunk *chunk = held->chunks;
    if (!chunk || chunk->room - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + room);
        if (!chunk) {
            return NULL;
        }
        *chunk = (struct chunk){.next = held->chunks, .room = room};
        held->chunks = chunk;
    }
    char *place = chunk->bytes + chunk->used;
    chunk->used += size;
    return place;
}

// A query under way.
struct query {
    struct weir_pg_call call;
    const struct weir_sql_statement *statement;
    uint64_t bytes_max, bytes;
    struct weir_sql_result *result;
    struct held *held;
};

// ---- parameters ----

struct parameters {
    const char **values;
    int *sizes, *formats;
    char (*numbers)[NUMBER_BYTES];
    char **texts; // owned, with a NUL
};

static void parameters_finish(struct parameters *parameters, size_t count) {
    for (size_t i = 0; parameters->texts && i < count; i++) {
        free(parameters->texts[i]);
    }
    free(parameters->texts);
    free(parameters->numbers);
    free(parameters->values);
    free(parameters->sizes);
    free(parameters->formats);
}

static weir_status put_text(struct parameters *parameters, size_t index, struct weir_str text,
                            struct weir_error *err) {
    if (text.size > 0 && memchr(text.data, '\0', text.size)) {
        return weir_fail(err, WEIR_INVALID,
                         "parameter %zu is a text with a NUL, which PostgreSQL cannot hold",
                         index + 1);
    }
    parameters->texts[index] = weir_str_copy(text);
    parameters->values[index] = parameters->texts[index];
    return parameters->texts[index] ? WEIR_OK : weir_fail_no_memory(err, "a parameter");
}

// Texts have no type of their own: the server takes it from where the parameter stands, so that a
// number may be compared with a column of any type of numbers.
static weir_status put_parameter(struct parameters *parameters, size_t index,
                                 const struct weir_sql_value *value, struct weir_error *err) {
    switch (value->kind) {
    case WEIR_SQL_NULL:
    case WEIR_SQL_UNCHANGED:
        return WEIR_OK;
    case WEIR_SQL_BOOLEAN:
        parameters->values[index] = value->boolean ? "true" : "false";
        return WEIR_OK;
    case WEIR_SQL_INTEGER:
        snprintf(parameters->numbers[index], NUMBER_BYTES, "%" PRId64, value->integer);
        parameters->values[index] = parameters->numbers[index];
        return WEIR_OK;
    case WEIR_SQL_REAL:
        snprintf(parameters->numbers[index], NUMBER_BYTES, "%.17g", value->real);
        parameters->values[index] = parameters->numbers[index];
        return WEIR_OK;
    case WEIR_SQL_BINARY:
        if (value->bytes.size > INT32_MAX / 4) {
            return weir_fail(err, WEIR_INVALID, "parameter %zu has %zu bytes", index + 1,
                             value->bytes.size);
        }
        parameters->values[index] = value->bytes.data ? value->bytes.data : "";
        parameters->sizes[index] = (int)value->bytes.size;
        parameters->formats[index] = 1;
        return WEIR_OK;
    case WEIR_SQL_TEXT:
    case WEIR_SQL_DECIMAL:
    case WEIR_SQL_JSON:
        break;
    }
    return put_text(parameters, index, value->bytes, err);
}

static weir_status parameters_init(struct parameters *parameters,
                                   const struct weir_sql_statement *statement,
                                   struct weir_error *err) {
    size_t count = statement->parameter_count, room = count + 1;
    *parameters = (struct parameters){0};
    if (count > WEIR_SQL_PARAMETERS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%zu parameters; the most is %d", count,
                         WEIR_SQL_PARAMETERS_MAX);
    }
    parameters->values = calloc(room, sizeof *parameters->values);
    parameters->sizes = calloc(room, sizeof *parameters->sizes);
    parameters->formats = calloc(room, sizeof *parameters->formats);
    parameters->numbers = calloc(room, sizeof *parameters->numbers);
    parameters->texts = calloc(room, sizeof *parameters->texts);
    if (!parameters->values || !parameters->sizes || !parameters->formats || !parameters->numbers ||
        !parameters->texts) {
        return weir_fail_no_memory(err, "parameters");
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = put_parameter(parameters, i, &statement->parameters[i], err);
    }
    return status;
}

// ---- rows ----

static weir_status put_columns(struct query *query, const PGresult *result,
                               struct weir_error *err) {
    size_t count = (size_t)PQnfields(result);
    if (query->held->columns || count == 0) {
        return WEIR_OK;
    }
    if (count > WEIR_SQL_COLUMNS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%zu columns; the most is %d", count,
                         WEIR_SQL_COLUMNS_MAX);
    }
    query->held->columns = calloc(count, sizeof *query->held->columns);
    if (!query->held->columns) {
        return weir_fail_no_memory(err, "a result");
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_str name = weir_str_of(PQfname(result, (int)i));
        char *copy = hold(query->held, name.size + 1);
        if (!copy) {
            return weir_fail_no_memory(err, "a result");
        }
        memcpy(copy, name.data, name.size);
        query->held->columns[i] = (struct weir_str){copy, name.size};
    }
    query->result->columns = query->held->columns;
    query->result->column_count = count;
    return WEIR_OK;
}

static weir_status reserve_row(struct query *query, struct weir_error *err) {
    struct held *held = query->held;
    size_t columns = query->result->column_count;
    size_t needed = (query->result->row_count + 1) * columns;
    if (needed <= held->value_room) {
        return WEIR_OK;
    }
    size_t room = held->value_room ? 2 * held->value_room : ROWS_FIRST * columns;
    struct weir_sql_value *grown = realloc(held->values, room * sizeof *grown);
    if (!grown) {
        return weir_fail_no_memory(err, "a result");
    }
    held->values = query->result->values = grown;
    held->value_room = room;
    return WEIR_OK;
}

static weir_status put_value(struct query *query, const PGresult *result, int row, int column,
                             struct weir_sql_value *ret_value, struct weir_error *err) {
    struct weir_str text = {PQgetvalue(result, row, column),
                            (size_t)PQgetlength(result, row, column)};
    if (PQgetisnull(result, row, column)) {
        *ret_value = (struct weir_sql_value){.kind = WEIR_SQL_NULL};
        return WEIR_OK;
    }
    uint32_t type = PQftype(result, column);
    query->bytes += type == WEIR_PG_BYTEA ? text.size / 2 : text.size;
    if (query->bytes > query->bytes_max) {
        return weir_fail(err, WEIR_LIMIT, "the result has more than %" PRIu64 " bytes",
                         query->bytes_max);
    }
    char *copy = hold(query->held, text.size + 1);
    if (!copy) {
        return weir_fail_no_memory(err, "a result");
    }
    if (type == WEIR_PG_BYTEA) { // the text is not kept beside its bytes
        struct weir_pg_scratch scratch = {copy, copy + text.size};
        *ret_value = weir_pg_value(type, text, &scratch);
        if (ret_value->kind == WEIR_SQL_BINARY) {
            return WEIR_OK;
        }
    }
    memcpy(copy, text.data, text.size);
    struct weir_pg_scratch none = {copy, copy};
    *ret_value = weir_pg_value(type, (struct weir_str){copy, text.size}, &none);
    return WEIR_OK;
}

static weir_status put_rows(struct query *query, const PGresult *result, struct weir_error *err) {
    weir_status status = put_columns(query, result, err);
    for (int row = 0; status == WEIR_OK && row < PQntuples(result); row++) {
        if (query->result->row_count >= query->statement->rows_max) {
            return weir_fail(err, WEIR_LIMIT, "the result has more than %" PRIu64 " rows",
                             query->statement->rows_max);
        }
        status = reserve_row(query, err);
        size_t columns = query->result->column_count;
        struct weir_sql_value *values =
            status == WEIR_OK ? query->result->values + query->result->row_count * columns : NULL;
        for (size_t i = 0; status == WEIR_OK && i < columns; i++) {
            status = put_value(query, result, row, (int)i, &values[i], err);
        }
        query->result->row_count += status == WEIR_OK;
    }
    return status;
}

// "INSERT 0 5", "UPDATE 5": that many rows were changed; "SELECT 5" changed none.
static void put_changed(struct query *query, PGresult *result) {
    if (strncmp(PQcmdStatus(result), "SELECT", 6) != 0) {
        query->result->changed = strtoull(PQcmdTuples(result), NULL, 10);
    }
}

// A table that is not there is the statement's mistake: here nobody waits until it comes.
static weir_status fail_statement(const PGresult *result, struct weir_error *err) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    struct weir_error own;
    err = err ? err : &own;
    weir_status status = weir_pg_fail(result, err);
    if (state && strcmp(state, UNDEFINED_TABLE) == 0) {
        err->status = status = WEIR_INVALID;
    }
    return status;
}

static weir_status put_result(struct query *query, PGresult *result, struct weir_error *err) {
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        return put_rows(query, result, err);
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        put_changed(query, result);
        return put_columns(query, result, err);
    case PGRES_EMPTY_QUERY:
        return weir_fail(err, WEIR_INVALID, "the statement is empty");
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return weir_fail(err, WEIR_UNSUPPORTED, "COPY from or to a client cannot be run here");
    default:
        return fail_statement(result, err);
    }
}

// ---- running ----

// Takes all results. After an error of the statement the rest is read too, so that the connection
// can be used again; what is too much is not.
static weir_status take_results(struct query *query, struct weir_error *err) {
    weir_status first = WEIR_OK;
    for (;;) { // ends: the call's moment, or its bounds
        PGresult *result;
        weir_status status =
            weir_pg_next(query->call.connection, &query->call.waiter, &result, err);
        if (status != WEIR_OK || !result) {
            return status != WEIR_OK ? status : first;
        }
        ExecStatusType kind = PQresultStatus(result);
        status = first == WEIR_OK ? put_result(query, result, err) : WEIR_OK;
        PQclear(result);
        first = first == WEIR_OK ? status : first;
        if (status != WEIR_OK && kind != PGRES_FATAL_ERROR && kind != PGRES_EMPTY_QUERY) {
            return status; // the connection is in the middle of it, and is closed
        }
    }
}

static weir_status run_statement(struct query *query, const char *text, struct weir_error *err) {
    struct parameters parameters;
    weir_status status = parameters_init(&parameters, query->statement, err);
    if (status == WEIR_OK) {
        const struct weir_pg_statement statement = {.text = text,
                                                    .is_row_by_row = true,
                                                    .count = (int)query->statement->parameter_count,
                                                    .values = parameters.values,
                                                    .sizes = parameters.sizes,
                                                    .formats = parameters.formats};
        status = weir_pg_send(query->call.connection, &query->call.waiter, &statement, err);
    }
    status = status == WEIR_OK ? take_results(query, err) : status;
    parameters_finish(&parameters, query->statement->parameter_count);
    return status;
}

// What the session is told before: how long the statement may take, and whether it may write.
static weir_status prepare_session(struct query *query, struct weir_error *err) {
    char text[128];
    int64_t left_ms =
        (query->call.waiter.until_ns - weir_clock_monotonic_ns()) / WEIR_NS_PER_MS + 1;
    snprintf(text, sizeof text, "SET statement_timeout = %" PRId64 "%s", left_ms > 0 ? left_ms : 1,
             query->statement->is_reading ? "; BEGIN READ ONLY" : "; BEGIN");
    return weir_pg_call_text(&query->call, text, err);
}

// Puts the session back. Where that fails the connection is not used again.
static weir_status restore_session(struct query *query, weir_status status,
                                   struct weir_error *err) {
    struct weir_error own;
    PGconn *connection = query->call.connection;
    PGTransactionStatusType state = PQtransactionStatus(connection);
    if (state == PQTRANS_INTRANS || state == PQTRANS_INERROR) {
        weir_status ended =
            weir_pg_call_text(&query->call, status == WEIR_OK ? "COMMIT" : "ROLLBACK",
                              status == WEIR_OK ? err : &own);
        status = status == WEIR_OK ? ended : status;
    }
    if (weir_pg_is_usable(connection)) {
        weir_pg_call_text(&query->call, "DISCARD ALL", &own);
    }
    return status;
}

static weir_status run(struct query *query, struct weir_error *err) {
    char *text = weir_str_copy(query->statement->text);
    if (!text) {
        return weir_fail_no_memory(err, "a statement");
    }
    weir_status status = prepare_session(query, err);
    if (status == WEIR_OK) {
        status = restore_session(query, run_statement(query, text, err), err);
    }
    free(text);
    return status;
}

weir_status weir_pg_query(struct weir_resource *base, const struct weir_sql_statement *statement,
                          const struct weir_limits *limits, struct weir_sql_result *ret_result,
                          struct weir_error *err) {
    struct weir_pg_resource *resource = (struct weir_pg_resource *)base;
    *ret_result = (struct weir_sql_result){0};
    if (statement->text.size == 0 || memchr(statement->text.data, '\0', statement->text.size) ||
        !weir_utf8_valid(statement->text)) {
        return weir_fail(err, WEIR_INVALID, "the statement is empty, or no text");
    }
    struct held *held = calloc(1, sizeof *held);
    if (!held) {
        return weir_fail_no_memory(err, "a result");
    }
    struct query query = {.statement = statement,
                          .bytes_max = limits->value_bytes_max,
                          .result = ret_result,
                          .held = held};
    weir_status status = weir_pg_call_begin(resource, limits->until_ns, &query.call, err);
    if (status == WEIR_OK) {
        status = run(&query, err);
        weir_pg_call_end(&query.call);
    }
    if (status != WEIR_OK) {
        free_held(held);
        *ret_result = (struct weir_sql_result){0};
        return status;
    }
    ret_result->held = held;
    ret_result->free_held = free_held;
    return WEIR_OK;
}
