// SPDX-License-Identifier: Apache-2.0
//
// weir:sql: one statement, and all of its rows. What a guest may do with which database is decided
// behind struct weir_guest_access; what a statement means, by the provider.
//
// What is answered is looked at before it goes to the guest, so that a large answer is an error
// that the guest is told, and not a trap: the rows' own bounds, and what canon.c and values.c will
// count against bounds.event. Texts are looked at too: a database that keeps any bytes as text
// would otherwise have a guest's language be given texts that are none. Values stay where the
// provider has put them.
//
// Runs on the thread that runs the instance.
#include "guest/imports.h"

#include "base/clock.h"
#include "guest/canon.h"

#include <inttypes.h>

#define SQL "weir:sql/sql@0.1.0"

enum { RESERVE_MS = 20 }; // of the call's time, for the guest to do something about a timeout

// All texts of an answer, and its two lists.
_Static_assert(WEIR_SQL_VALUES_MAX + WEIR_SQL_COLUMNS_MAX + 2 <= WEIR_CANON_BLOCKS_MAX,
               "an answer within its bounds can be lowered");

// ---- the WIT

// The cases are numbered as the kinds of struct weir_sql_value.
struct value {
    uint8_t kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct weir_str bytes;
    };
};
static const struct weir_wit_field value_cases[] = {
    [WEIR_SQL_NULL] = {"null", NULL, 8, 0},
    [WEIR_SQL_BOOLEAN] = {"boolean", &weir_wit_bool, 8, offsetof(struct value, boolean)},
    [WEIR_SQL_INTEGER] = {"integer", &weir_wit_s64, 8, offsetof(struct value, integer)},
    [WEIR_SQL_REAL] = {"real", &weir_wit_f64, 8, offsetof(struct value, real)},
    [WEIR_SQL_TEXT] = {"text", &weir_wit_string, 8, offsetof(struct value, bytes)},
    [WEIR_SQL_BINARY] = {"binary", &weir_wit_bytes, 8, offsetof(struct value, bytes)},
    [WEIR_SQL_DECIMAL] = {"decimal", &weir_wit_string, 8, offsetof(struct value, bytes)},
    [WEIR_SQL_JSON] = {"json", &weir_wit_string, 8, offsetof(struct value, bytes)},
};
static const struct weir_wit_type value_type = {.kind = WEIR_WIT_VARIANT,
                                                .guest_size = 16,
                                                .guest_align = 8,
                                                .host_size = sizeof(struct value),
                                                WEIR_WIT_FIELDS(value_cases)};

struct values {
    const struct value *items;
    size_t count;
};
#define VALUES(most)                     \
    {.kind = WEIR_WIT_LIST,              \
     .guest_size = 8,                    \
     .guest_align = 4,                   \
     .host_size = sizeof(struct values), \
     .element = &value_type,             \
     .items_max = (most)}
static const struct weir_wit_type parameters_type = VALUES(WEIR_SQL_PARAMETERS_MAX);
static const struct weir_wit_type values_type = VALUES(WEIR_SQL_VALUES_MAX);

struct columns {
    const struct weir_str *items;
    size_t count;
};
static const struct weir_wit_type columns_type = {.kind = WEIR_WIT_LIST,
                                                  .guest_size = 8,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct columns),
                                                  .element = &weir_wit_string,
                                                  .items_max = WEIR_SQL_COLUMNS_MAX};
struct row_set {
    struct columns columns;
    struct values values;
};
static const struct weir_wit_field row_set_fields[] = {
    {"columns", &columns_type, 0, offsetof(struct row_set, columns)},
    {"values", &values_type, 8, offsetof(struct row_set, values)},
};
static const struct weir_wit_type row_set_type = {.kind = WEIR_WIT_RECORD,
                                                  .guest_size = 16,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct row_set),
                                                  WEIR_WIT_FIELDS(row_set_fields)};

// What every result begins with, so that a failure is written in one place. The error has the cases
// of weir:reactive's.
struct failed {
    uint8_t is_err;
    struct weir_wit_error err;
};

// result<row-set, error>
struct queried {
    struct failed failed;
    struct row_set rows;
};
static const struct weir_wit_field queried_cases[] = {
    {"ok", &row_set_type, 4, offsetof(struct queried, rows)},
    {"err", &weir_wit_error_variant, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type queried_type = {.kind = WEIR_WIT_RESULT,
                                                  .guest_size = 20,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct queried),
                                                  WEIR_WIT_FIELDS(queried_cases)};

// result<u64, error>
struct executed {
    struct failed failed;
    uint64_t changed;
};
static const struct weir_wit_field executed_cases[] = {
    {"ok", &weir_wit_u64, 8, offsetof(struct executed, changed)},
    {"err", &weir_wit_error_variant, 8, offsetof(struct failed, err)},
};
static const struct weir_wit_type executed_type = {.kind = WEIR_WIT_RESULT,
                                                   .guest_size = 24,
                                                   .guest_align = 8,
                                                   .host_size = sizeof(struct executed),
                                                   WEIR_WIT_FIELDS(executed_cases)};

struct params {
    struct weir_str database, statement;
    struct values values;
};
static const struct weir_wit_field params[] = {
    {"database", &weir_wit_string, 0, offsetof(struct params, database)},
    {"statement", &weir_wit_string, 0, offsetof(struct params, statement)},
    {"params", &parameters_type, 0, offsetof(struct params, values)},
};

// ---- values

static bool has_bytes(unsigned kind) {
    return kind >= WEIR_SQL_TEXT;
}

static weir_status copy_parameters(struct weir_import_call *call, const struct values *from,
                                   struct weir_sql_statement *statement, struct weir_error *err) {
    struct weir_sql_value *to = weir_import_room(call, from->count + 1, sizeof *to, err);
    if (!to) {
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; i < from->count; i++) {
        const struct value *value = &from->items[i];
        to[i].kind = (enum weir_sql_kind)value->kind;
        if (value->kind == WEIR_SQL_BOOLEAN) {
            to[i].boolean = value->boolean;
        } else if (value->kind == WEIR_SQL_INTEGER) {
            to[i].integer = value->integer;
        } else if (value->kind == WEIR_SQL_REAL) {
            to[i].real = value->real;
        } else if (has_bytes(value->kind)) {
            to[i].bytes = value->bytes;
        }
    }
    statement->parameters = to;
    statement->parameter_count = from->count;
    return WEIR_OK;
}

// A text that is none is bytes.
static weir_status copy_value(const struct weir_sql_value *from, struct value *to,
                              struct weir_error *err) {
    to->kind = (uint8_t)from->kind;
    switch (from->kind) {
    case WEIR_SQL_NULL:
        return WEIR_OK;
    case WEIR_SQL_BOOLEAN:
        to->boolean = from->boolean;
        return WEIR_OK;
    case WEIR_SQL_INTEGER:
        to->integer = from->integer;
        return WEIR_OK;
    case WEIR_SQL_REAL:
        to->real = from->real;
        return WEIR_OK;
    case WEIR_SQL_TEXT:
    case WEIR_SQL_DECIMAL:
    case WEIR_SQL_JSON:
        to->kind = weir_utf8_valid(from->bytes) ? to->kind : WEIR_SQL_BINARY;
        to->bytes = from->bytes;
        return WEIR_OK;
    case WEIR_SQL_BINARY:
        to->bytes = from->bytes;
        return WEIR_OK;
    case WEIR_SQL_UNCHANGED:
        break;
    }
    return weir_fail(err, WEIR_OTHER, "the database answered a value of no kind");
}

// ---- an answer

static weir_status check_size(const struct weir_sql_result *result, uint64_t bytes_max,
                              struct weir_error *err) {
    size_t columns = result->column_count, rows = columns > 0 ? result->row_count : 0;
    if (columns > WEIR_SQL_COLUMNS_MAX ||
        rows > WEIR_SQL_VALUES_MAX / (columns > 0 ? columns : 1)) {
        return weir_fail(err, WEIR_LIMIT,
                         "the answer has %zu rows of %zu columns; at most %d columns are answered, "
                         "and %d values: ask for fewer, with LIMIT or by name",
                         rows, columns, WEIR_SQL_COLUMNS_MAX, WEIR_SQL_VALUES_MAX);
    }
    uint64_t bytes = columns * weir_wit_string.guest_size + columns * rows * value_type.guest_size;
    for (size_t i = 0; i < columns; i++) {
        bytes += result->columns[i].size;
    }
    for (size_t i = 0; i < columns * rows; i++) {
        bytes += has_bytes(result->values[i].kind) ? result->values[i].bytes.size : 0;
    }
    return bytes <= bytes_max ? WEIR_OK
                              : weir_fail(err, WEIR_LIMIT,
                                          "the answer of %" PRIu64 " bytes has more than "
                                          "bounds.event allows (%" PRIu64 "): ask for fewer rows",
                                          bytes, bytes_max);
}

static weir_status check_columns(const struct weir_sql_result *result, struct weir_error *err) {
    for (size_t i = 0; i < result->column_count; i++) {
        if (!weir_utf8_valid(result->columns[i])) {
            return weir_fail(err, WEIR_OTHER,
                             "the name of column %zu is not UTF-8; give it one with AS", i + 1);
        }
    }
    return WEIR_OK;
}

// What the guest is answered; its texts stay in the result, which lives as long as the call.
static weir_status answer_rows(struct weir_import_call *call, const struct weir_sql_result *result,
                               struct row_set *ret_rows, struct weir_error *err) {
    weir_status status = check_size(result, call->instance->guest->args.event_bytes, err);
    if (status == WEIR_OK) {
        status = check_columns(result, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    size_t count = result->column_count * result->row_count;
    struct value *values = weir_import_room(call, count + 1, sizeof *values, err);
    if (!values) {
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = copy_value(&result->values[i], &values[i], err);
    }
    ret_rows->columns = (struct columns){.items = result->columns, .count = result->column_count};
    ret_rows->values = (struct values){.items = values, .count = count};
    return status;
}

// ---- what it does

static weir_status check_statement(struct weir_str text, struct weir_error *err) {
    if (text.size > WEIR_SQL_STATEMENT_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT,
                         "the statement has %zu bytes, the most is %d; hand values over as "
                         "parameters",
                         text.size, WEIR_SQL_STATEMENT_BYTES_MAX);
    }
    // Where a client library's texts end.
    return text.size > 0 && memchr(text.data, '\0', text.size)
               ? weir_fail(err, WEIR_INVALID,
                           "the statement has a NUL in it; hand values over as parameters")
               : WEIR_OK;
}

// Runs it; *ret_result lives as long as the call.
static weir_status run(struct weir_import_call *call, const struct params *given, bool is_reading,
                       struct weir_sql_result *ret_result, struct weir_error *err) {
    struct weir_instance *instance = call->instance;
    const struct weir_guest_access *access;
    void *context;
    struct weir_sql_statement statement = {
        .text = given->statement, .is_reading = is_reading, .rows_max = WEIR_SQL_ROWS_MAX};
    const struct weir_limits limits = {
        .value_bytes_max = instance->guest->args.event_bytes,
        .until_ns = instance->deadline_ns - RESERVE_MS * WEIR_NS_PER_MS,
        .trace = weir_instance_trace(instance),
    };
    *ret_result = (struct weir_sql_result){0};
    weir_status status = weir_import_access(instance, &access, &context, err);
    if (status == WEIR_OK) {
        status = check_statement(statement.text, err);
    }
    if (status == WEIR_OK) {
        status = copy_parameters(call, &given->values, &statement, err);
    }
    if (status == WEIR_OK) {
        status = access->query(context, given->database, &statement, &limits, ret_result, err);
    }
    return status == WEIR_OK && ret_result->free_held
               ? weir_import_defer(call, ret_result->free_held, ret_result->held, err)
               : status;
}

// Ends a function: a failure that a guest may be told becomes its result.
static weir_status answer(struct weir_instance *instance, weir_status status,
                          struct weir_error *err, struct failed *ret_failed) {
    if (status != WEIR_OK && weir_instance_is_over(instance)) {
        *err = instance->stopped; // its time was all that there was, or it is cut
        return err->status;
    }
    if (!weir_import_is_told(status)) {
        return status;
    }
    ret_failed->is_err = 1;
    ret_failed->err = (struct weir_wit_error){.kind = (uint8_t)(status - 1),
                                              .message = weir_str_of(err->message)};
    return WEIR_OK;
}

static weir_status do_query(struct weir_import_call *call, const void *given, void *result,
                            struct weir_error *err) {
    struct queried *queried = result;
    struct weir_sql_result rows;
    weir_status status = run(call, given, true, &rows, err);
    if (status == WEIR_OK) {
        status = answer_rows(call, &rows, &queried->rows, err);
    }
    return answer(call->instance, status, err, &queried->failed);
}

static weir_status do_execute(struct weir_import_call *call, const void *given, void *result,
                              struct weir_error *err) {
    struct executed *executed = result;
    struct weir_sql_result rows;
    weir_status status = run(call, given, false, &rows, err);
    executed->changed = rows.changed;
    return answer(call->instance, status, err, &executed->failed);
}

static const struct weir_import functions[] = {
    WEIR_IMPORT_FUNCTION(SQL, "query", params, params, &queried_type, do_query),
    WEIR_IMPORT_FUNCTION(SQL, "execute", params, params, &executed_type, do_execute),
};
const struct weir_import_interface weir_import_sql = {
    .name = SQL,
    .functions = functions,
    .function_count = WEIR_IMPORT_COUNT_OF(functions),
};
