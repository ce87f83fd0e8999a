// SPDX-License-Identifier: Apache-2.0
//
// What a PostgreSQL server may send by replication: frames, and in them messages of pgoutput with
// the tables, keys and values that they tell. Whatever the bytes, reading them ends, all that is
// read lies within them, and a value is what its text says.
#include "provider/postgres/chain.h"
#include "provider/postgres/pgoutput.h"
#include "provider/postgres/position.h"
#include "provider/postgres/relation.h"
#include "provider/postgres/value.h"
#include "provider/postgres/visible.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

static void check_within(struct weir_str part, struct weir_str whole) {
    require(part.size == 0 ||
            (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

// ---- values ----

static bool has_only(struct weir_str text, const char *letters) {
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\0' || !strchr(letters, text.data[i])) {
            return false;
        }
    }
    return true;
}

static void look_at_value(uint32_t type, struct weir_str text) {
    char *bytes = malloc(text.size + 1);
    require(bytes != NULL);
    struct weir_pg_scratch scratch = {bytes, bytes + text.size};
    struct weir_sql_value value = weir_pg_value(type, text, &scratch);
    require(scratch.at >= bytes && scratch.at <= scratch.end);
    switch (value.kind) {
    case WEIR_SQL_BOOLEAN:
        require(type == WEIR_PG_BOOL && text.size == 1);
        break;
    case WEIR_SQL_INTEGER:
        require(has_only(text, "-0123456789"));
        break;
    case WEIR_SQL_REAL:
        require(has_only(text, "+-.0123456789eNaInfity"));
        break;
    case WEIR_SQL_BINARY:
        require(type == WEIR_PG_BYTEA && value.bytes.size == (text.size - 2) / 2);
        check_within(value.bytes, (struct weir_str){bytes, text.size});
        break;
    default:
        require(weir_str_equal(value.bytes, text));
    }
    free(bytes);
}

static void look_at_text(struct weir_str text) {
    static const uint32_t types[] = {WEIR_PG_BOOL, WEIR_PG_BYTEA,   WEIR_PG_INT2,   WEIR_PG_INT4,
                                     WEIR_PG_INT8, WEIR_PG_OID,     WEIR_PG_FLOAT4, WEIR_PG_FLOAT8,
                                     WEIR_PG_TEXT, WEIR_PG_NUMERIC, WEIR_PG_JSON};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        look_at_value(types[i], text);
    }
}

static void look_at_tuple(const struct weir_pg_tuple *tuple, struct weir_str whole) {
    require(tuple->count <= WEIR_PG_COLUMNS_MAX);
    for (size_t i = 0; i < tuple->count; i++) {
        if (tuple->cells[i].kind == WEIR_PG_CELL_TEXT) {
            check_within(tuple->cells[i].text, whole);
            look_at_text(tuple->cells[i].text);
        }
    }
}

// ---- tables ----

static void look_at_relation(const struct weir_pg_relation_message *message,
                             struct weir_str whole) {
    struct weir_pg_relation *relation;
    require(message->count <= WEIR_PG_COLUMNS_MAX);
    check_within(message->name, whole);
    if (weir_pg_relation_create(message, &relation, NULL) != WEIR_OK) {
        return;
    }
    require(relation->count == message->count && relation->key_count <= WEIR_PG_KEY_COLUMNS_MAX);
    for (size_t i = 0; i < relation->count; i++) {
        check_within(message->columns[i].name, whole);
        require(weir_str_equal(relation->columns[i], message->columns[i].name));
    }
    for (size_t i = 0; i < relation->key_count; i++) {
        require(relation->key[i] < relation->count);
    }
    require(relation->store_key < (int)relation->count);
    require(relation->store_value < (int)relation->count);
    // Its name as a person writes it names it, but for a schema with a dot in its name.
    struct weir_pg_table_name again;
    if (!strchr(relation->name.schema, '.')) {
        require(weir_pg_table_parse(weir_str_of(relation->name.text), &again, NULL) == WEIR_OK);
        require(strcmp(again.schema, relation->name.schema) == 0);
        require(strcmp(again.name, relation->name.name) == 0);
    }
    weir_pg_relation_destroy(relation);
}

// ---- messages ----

static void look_at_chain(struct weir_str content) {
    struct weir_attribute found[WEIR_PG_CHAIN_EXTENSIONS];
    size_t count = weir_pg_chain_decode(content, found);
    require(count <= WEIR_PG_CHAIN_EXTENSIONS);
    for (size_t i = 0; i < count; i++) {
        check_within(found[i].value, content);
    }
}

static void look_at_message(const struct weir_pg_message *message, struct weir_str whole) {
    switch (message->kind) {
    case WEIR_PG_RELATION:
        look_at_relation(&message->relation_message, whole);
        break;
    case WEIR_PG_INSERT:
    case WEIR_PG_UPDATE:
    case WEIR_PG_DELETE:
        look_at_tuple(&message->old_tuple, whole);
        look_at_tuple(&message->new_tuple, whole);
        break;
    case WEIR_PG_TRUNCATE:
        require(message->truncated_count <= whole.size / 4);
        for (size_t i = 0; i < message->truncated_count; i++) {
            weir_pg_truncated(message, i);
        }
        break;
    case WEIR_PG_MESSAGE:
        check_within(message->prefix, whole);
        check_within(message->content, whole);
        look_at_chain(message->content);
        break;
    default:
        break;
    }
}

// What weir kept, or asked for, itself; it comes back from elsewhere.
static void look_at_places(struct weir_str bytes) {
    struct weir_pg_position position;
    struct weir_pg_visible *visible = NULL;
    char again[WEIR_PG_POSITION_BYTES], revision[WEIR_PG_REVISION_BYTES],
        lsn_text[WEIR_PG_LSN_BYTES];
    uint64_t lsn, lsn_again;
    if (weir_pg_position_decode(bytes, &position)) {
        weir_pg_position_encode(&position, again);
        require(bytes.size == sizeof again && memcmp(bytes.data, again, sizeof again) == 0);
        weir_pg_position_revision(&position, revision);
    }
    char *text = malloc(bytes.size + 1);
    require(text != NULL);
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    if (weir_pg_lsn_parse(text, &lsn)) {
        require(weir_pg_lsn_parse(weir_pg_lsn_format(lsn, lsn_text), &lsn_again));
        require(lsn == lsn_again);
    }
    if (weir_pg_visible_parse(text, &visible, NULL) == WEIR_OK) {
        weir_pg_visible_has(visible, 1000);
    }
    weir_pg_history_has(text, &(struct weir_pg_position){.commit_lsn = 1, .timeline = 1});
    free(visible);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_pg_message message; // large, and read into again and again
    struct weir_str bytes = {(const char *)data, size};
    struct weir_pg_frame frame;
    if (size == 0) {
        return 0;
    }
    look_at_places(bytes);
    if (weir_pg_frame_read(bytes, &frame, NULL) == WEIR_OK && frame.kind == WEIR_PG_FRAME_DATA) {
        check_within(frame.message, bytes);
        bytes = frame.message;
    }
    if (bytes.size > 0 && weir_pg_message_read(bytes, &message, NULL) == WEIR_OK) {
        look_at_message(&message, bytes);
    }
    return 0;
}
