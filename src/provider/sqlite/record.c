// SPDX-License-Identifier: Apache-2.0
//
// See record.h. The log may have been written to by anybody, so nothing of a row is believed: a
// shape that is not known, an operation that there is not, a key that can be none make a row that
// tells nothing.
#include "provider/sqlite/record.h"

#include "base/clock.h"
#include "provider/keyvalue.h"
#include "provider/row.h"
#include "provider/sqlite/chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

weir_status weir_sqlite_reader_init(struct weir_sqlite_reader *reader, struct weir_str source,
                                    bool is_kv, struct weir_error *err) {
    *reader = (struct weir_sqlite_reader){.source = source, .shapes.is_kv = is_kv};
    reader->values = calloc(2 * WEIR_SQLITE_COLUMNS_MAX, sizeof *reader->values);
    return reader->values ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

void weir_sqlite_reader_finish(struct weir_sqlite_reader *reader) {
    weir_sqlite_shapes_finish(&reader->shapes);
    free(reader->values);
    reader->values = NULL;
}

// ---- cells

static struct weir_sql_value value_of(sqlite3_stmt *statement, int column) {
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        return (struct weir_sql_value){.kind = WEIR_SQL_INTEGER,
                                       .integer = sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
        return (struct weir_sql_value){.kind = WEIR_SQL_REAL,
                                       .real = sqlite3_column_double(statement, column)};
    case SQLITE_TEXT: {
        struct weir_str bytes = weir_sqlite_bytes(statement, column);
        return (struct weir_sql_value){
            .kind = weir_utf8_valid(bytes) ? WEIR_SQL_TEXT : WEIR_SQL_BINARY, .bytes = bytes};
    }
    case SQLITE_BLOB:
        return (struct weir_sql_value){.kind = WEIR_SQL_BINARY,
                                       .bytes = weir_sqlite_bytes(statement, column)};
    default:
        return (struct weir_sql_value){.kind = WEIR_SQL_NULL};
    }
}

// Reads an image that begins at a cell.
static void read_image(const struct weir_sqlite_record *record, size_t from,
                       struct weir_sql_value *ret_values) {
    for (size_t i = 0; i < record->shape->count; i++) {
        ret_values[i] = value_of(record->statement, record->cells + (int)(from + i));
    }
}

// ---- keys

static bool read_key_of_kv(struct weir_sqlite_record *record) {
    int type = sqlite3_column_type(record->statement, record->cells);
    if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
        return false;
    }
    record->key = weir_sqlite_bytes(record->statement, record->cells);
    return weir_keyvalue_check_key(record->key, NULL) == WEIR_OK;
}

static void read_key_of_row(struct weir_sqlite_reader *reader, struct weir_sqlite_record *record) {
    const struct weir_sqlite_shape *shape = record->shape;
    for (size_t i = 0; i < shape->key_count; i++) {
        reader->values[i] = value_of(record->statement, record->cells + (int)shape->key[i]);
    }
    size_t size = weir_row_key(weir_str_of(shape->table), reader->values, shape->key_count,
                               record->key_buffer, sizeof record->key_buffer);
    // One that is too long for a key is a row of its table all the same.
    record->key = size > 0 ? (struct weir_str){record->key_buffer, size} : weir_str_of(shape->name);
}

bool weir_sqlite_record_of_row(struct weir_sqlite_reader *reader, sqlite3_stmt *statement,
                               struct weir_sqlite_record *record) {
    record->statement = statement;
    record->cell_count = sqlite3_column_count(statement) - record->cells;
    size_t images = record->op == WEIR_SQLITE_OP_UPDATE && !reader->shapes.is_kv ? 2 : 1;
    if (record->cell_count < 0 || (size_t)record->cell_count < images * record->shape->count) {
        return false;
    }
    if (reader->shapes.is_kv) {
        return record->shape->count == 2 && read_key_of_kv(record);
    }
    read_key_of_row(reader, record);
    return true;
}

bool weir_sqlite_record_read(struct weir_sqlite_reader *reader, sqlite3_stmt *statement,
                             struct weir_sqlite_record *ret_record) {
    int64_t op = sqlite3_column_int64(statement, WEIR_SQLITE_LOG_OP);
    int64_t at_ms = sqlite3_column_int64(statement, WEIR_SQLITE_LOG_AT);
    ret_record->place =
        (struct weir_sqlite_place){sqlite3_column_int64(statement, WEIR_SQLITE_LOG_SEQ),
                                   (uint64_t)sqlite3_column_int64(statement, WEIR_SQLITE_LOG_MARK)};
    ret_record->shape = weir_sqlite_shapes_find(
        &reader->shapes, sqlite3_column_int64(statement, WEIR_SQLITE_LOG_SHAPE));
    if (!ret_record->shape || op < WEIR_SQLITE_OP_INSERT || op > WEIR_SQLITE_OP_GAP) {
        return false;
    }
    ret_record->op = (enum weir_sqlite_op)op;
    ret_record->is_snapshot = false;
    const int64_t latest_ms = INT64_MAX / WEIR_NS_PER_MS;
    ret_record->wall_ns = at_ms < -latest_ms || at_ms > latest_ms ? 0 : at_ms * WEIR_NS_PER_MS;
    ret_record->cells = WEIR_SQLITE_LOG_CELLS;
    if (op == WEIR_SQLITE_OP_GAP) {
        ret_record->statement = statement;
        ret_record->key = (struct weir_str){0};
        return true;
    }
    return weir_sqlite_record_of_row(reader, statement, ret_record);
}

// ---- events

static uint64_t hash_value(const struct weir_sql_value *value, uint64_t hash) {
    hash = XXH3_64bits_withSeed(&value->kind, sizeof value->kind, hash);
    switch (value->kind) {
    case WEIR_SQL_NULL:
        return hash;
    case WEIR_SQL_INTEGER:
        return XXH3_64bits_withSeed(&value->integer, sizeof value->integer, hash);
    case WEIR_SQL_REAL:
        return XXH3_64bits_withSeed(&value->real, sizeof value->real, hash);
    default:
        return XXH3_64bits_withSeed(value->bytes.size > 0 ? value->bytes.data : "",
                                    value->bytes.size, hash);
    }
}

// Of a row of a table nobody knows which change it comes from: the same content has the same text.
static void write_snapshot_revision(const struct weir_sqlite_reader *reader,
                                    const struct weir_sqlite_record *record,
                                    char buffer[static WEIR_SQLITE_REVISION_BYTES]) {
    uint64_t hash = 0;
    read_image(record, 0, reader->values);
    for (size_t i = 0; i < record->shape->count; i++) {
        hash = hash_value(&reader->values[i], hash);
    }
    snprintf(buffer, WEIR_SQLITE_REVISION_BYTES, "snapshot-%016" PRIx64, hash);
}

// What an event is made of, beside the record.
struct telling {
    struct weir_str revision, position;
    uint64_t event_bytes_max;
};

static weir_status event_of_kv(const struct weir_sqlite_reader *reader,
                               const struct weir_sqlite_record *record,
                               const struct telling *telling, struct weir_event **ret_event,
                               struct weir_error *err) {
    struct weir_attribute extensions[WEIR_SQLITE_CHAIN_EXTENSIONS];
    struct weir_keyvalue_change change = {
        .source = reader->source,
        .key = record->key,
        .revision = telling->revision,
        .position = telling->position,
        .wall_ns = record->wall_ns,
        .is_deleted = record->op == WEIR_SQLITE_OP_DELETE,
        .is_snapshot = record->is_snapshot,
        .extensions = extensions,
    };
    struct weir_str data = {0};
    if (!change.is_deleted) {
        data = weir_sqlite_bytes(record->statement, record->cells + 1);
        change.size_bytes = data.size;
        change.data = data.size <= telling->event_bytes_max ? &data : NULL;
    }
    if (!record->is_snapshot) {
        change.extension_count = weir_sqlite_chain_decode(
            weir_sqlite_bytes(record->statement, WEIR_SQLITE_LOG_CHAIN), extensions);
    }
    return weir_keyvalue_event(&change, ret_event, err);
}

static const char *type_of(const struct weir_sqlite_record *record) {
    switch (record->op) {
    case WEIR_SQLITE_OP_DELETE:
        return WEIR_TYPE_ROW_DELETED;
    case WEIR_SQLITE_OP_UPDATE:
        return WEIR_TYPE_ROW_UPDATED;
    default:
        return WEIR_TYPE_ROW_INSERTED;
    }
}

static weir_status event_of_row(const struct weir_sqlite_reader *reader,
                                const struct weir_sqlite_record *record,
                                const struct telling *telling, struct weir_event **ret_event,
                                struct weir_error *err) {
    const struct weir_sqlite_shape *shape = record->shape;
    struct weir_row_image first = {
        .columns = shape->columns, .values = reader->values, .count = shape->count};
    struct weir_row_image second = {
        .columns = shape->columns, .values = reader->values + shape->count, .count = shape->count};
    read_image(record, 0, reader->values);
    bool has_both = record->op == WEIR_SQLITE_OP_UPDATE;
    if (has_both) {
        read_image(record, shape->count, reader->values + shape->count);
    }
    struct weir_row_change change = {
        .source = reader->source,
        .type = type_of(record),
        .table = weir_str_of(shape->table),
        .key = record->key,
        .revision = telling->revision,
        .position = telling->position,
        .wall_ns = record->wall_ns,
        .is_snapshot = record->is_snapshot,
        .before = record->op == WEIR_SQLITE_OP_DELETE ? &first
                  : has_both                          ? &second
                                                      : NULL,
        .after = record->op == WEIR_SQLITE_OP_DELETE ? NULL : &first,
        .event_bytes_max = telling->event_bytes_max,
    };
    return weir_row_event(&change, ret_event, err);
}

weir_status weir_sqlite_record_event(struct weir_sqlite_reader *reader,
                                     const struct weir_sqlite_record *record,
                                     struct weir_str position, uint64_t event_bytes_max,
                                     struct weir_event **ret_event, struct weir_error *err) {
    char revision[WEIR_SQLITE_REVISION_BYTES];
    if (record->is_snapshot) {
        write_snapshot_revision(reader, record, revision);
    } else {
        weir_sqlite_place_text(&record->place, revision);
    }
    const struct telling telling = {.revision = weir_str_of(revision),
                                    .position = position,
                                    .event_bytes_max = event_bytes_max};
    return reader->shapes.is_kv ? event_of_kv(reader, record, &telling, ret_event, err)
                                : event_of_row(reader, record, &telling, ret_event, err);
}
