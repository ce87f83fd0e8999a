// SPDX-License-Identifier: Apache-2.0
//
// Messages of a stream become events, and are offered to the watches that they concern.
//
// A message that some sink had no room for is told again as a whole when there is room: who had it
// already is known by the position that the watch was told last. So nothing is kept for a watch but
// that position, however many there are.
//
// A row whose primary key changes is two events, a row that goes and one that comes: they have
// different keys, and whoever watches either must learn of it. Of a store that is truncated nobody
// can say which keys it had; each watch is told of a gap.
//
// The hub's thread.
#include "provider/postgres/source.h"

#include "base/clock.h"
#include "base/digits.h"
#include "provider/keyvalue.h"
#include "provider/postgres/value.h"
#include "provider/row.h"

#include <stdlib.h>
#include <string.h>

// PostgreSQL counts microseconds from 2000-01-01.
#define EPOCH_WALL_NS (INT64_C(946684800) * WEIR_NS_PER_S)

// One event, made when the first watch wants it, and made again for one that takes less data.
struct fact {
    struct weir_pg_source *source;
    struct weir_pg_stream *stream; // whose watches are told
    struct weir_pg_table *table;
    const struct weir_pg_job_row *row; // of a table that is read; NULL: it is of the stream
    struct weir_str key;
    struct weir_pg_position position;
    int64_t wall_ns;
    uint32_t xid;
    // Of a store.
    bool is_deleted;
    const struct weir_str *data;
    uint64_t size_bytes;
    struct weir_attribute extensions[WEIR_PG_CHAIN_EXTENSIONS];
    size_t extension_count;
    // Of rows.
    const char *type;
    const struct weir_row_image *before, *after;
    // Made when wanted.
    char revision[WEIR_PG_REVISION_BYTES], position_bytes[WEIR_PG_POSITION_BYTES];
    char transaction[WEIR_DECIMAL_BYTES_MAX];
    size_t transaction_size;
    struct weir_event *event;
    uint64_t event_bytes_max; // for which `event` was made
    bool is_held;             // a sink had no room
};

static weir_status make_of_store(const struct fact *fact, uint64_t event_bytes_max,
                                 struct weir_event **ret_event, struct weir_error *err) {
    const struct weir_str *data =
        fact->data && fact->data->size <= event_bytes_max ? fact->data : NULL;
    const struct weir_keyvalue_change change = {
        .source = weir_str_of(fact->source->event_source),
        .key = fact->key,
        .revision = weir_str_of(fact->revision),
        .position = {fact->position_bytes, sizeof fact->position_bytes},
        .wall_ns = fact->wall_ns,
        .is_deleted = fact->is_deleted,
        .is_snapshot = fact->position.is_snapshot,
        .data = data,
        .size_bytes = fact->size_bytes,
        .extensions = fact->extensions,
        .extension_count = fact->extension_count,
    };
    return weir_keyvalue_event(&change, ret_event, err);
}

static weir_status make_of_row(const struct fact *fact, uint64_t event_bytes_max,
                               struct weir_event **ret_event, struct weir_error *err) {
    const struct weir_row_change change = {
        .source = weir_str_of(fact->source->event_source),
        .type = fact->type,
        .table = weir_str_of(fact->table->name.text),
        .key = fact->key,
        .revision = weir_str_of(fact->revision),
        .position = {fact->position_bytes, sizeof fact->position_bytes},
        .transaction = {fact->transaction, fact->transaction_size},
        .wall_ns = fact->wall_ns,
        .is_snapshot = fact->position.is_snapshot,
        .before = fact->before,
        .after = fact->after,
        .event_bytes_max = event_bytes_max,
    };
    return weir_row_event(&change, ret_event, err);
}

static weir_status obtain_event(struct fact *fact, uint64_t event_bytes_max,
                                struct weir_error *err) {
    if (fact->event && fact->event_bytes_max == event_bytes_max) {
        return WEIR_OK;
    }
    weir_event_unref(fact->event);
    fact->event = NULL;
    fact->event_bytes_max = event_bytes_max;
    weir_pg_position_revision(&fact->position, fact->revision);
    weir_pg_position_encode(&fact->position, fact->position_bytes);
    fact->transaction_size = fact->row ? 0 : weir_decimal(fact->xid, fact->transaction);
    return fact->source->resource->mode == WEIR_PG_KV
               ? make_of_store(fact, event_bytes_max, &fact->event, err)
               : make_of_row(fact, event_bytes_max, &fact->event, err);
}

// ---- who is told ----

static bool is_past(struct weir_pg_watch *watch, const struct fact *fact) {
    if (!watch->visible) {
        return false;
    }
    if (fact->position.commit_lsn >= watch->visible_until_lsn) {
        free(watch->visible);
        watch->visible = NULL;
        return false;
    }
    return weir_pg_visible_has(watch->visible, fact->xid);
}

static bool wants(struct weir_pg_watch *watch, const struct fact *fact) {
    if (fact->row) {
        return watch->state == WEIR_PG_SNAPSHOT && watch->job == fact->row->job &&
               watch->row < fact->row->number;
    }
    return watch->state == WEIR_PG_LIVE && watch->stream == fact->stream &&
           weir_pg_position_compare(&fact->position, &watch->told) > 0 && !is_past(watch, fact);
}

static void note_told(struct weir_pg_watch *watch, const struct fact *fact) {
    if (fact->row) {
        watch->row = fact->row->number;
    } else {
        watch->told = fact->position;
    }
}

static weir_status offer(struct fact *fact, struct weir_pg_watch *watch, struct weir_error *err) {
    if (!wants(watch, fact)) {
        return WEIR_OK;
    }
    if (weir_hub_is_paused(&watch->base)) {
        fact->is_held = true;
        return WEIR_OK;
    }
    weir_status status = obtain_event(fact, watch->base.event_bytes_max, err);
    if (status != WEIR_OK) {
        return status;
    }
    switch (weir_hub_offer(&watch->base, fact->event)) {
    case WEIR_OK:
        note_told(watch, fact);
        break;
    case WEIR_STOPPED:
        watch->state = WEIR_PG_DONE;
        break;
    default:
        fact->is_held = true;
    }
    return WEIR_OK;
}

static weir_status offer_to_all(struct fact *fact, struct weir_error *err) {
    weir_status status = WEIR_OK;
    struct weir_routes_walk walk = weir_routes_first(fact->table->routes, fact->key);
    for (; status == WEIR_OK && walk.route; weir_routes_next(&walk)) {
        status = offer(fact, walk.route->watch, err);
    }
    return status;
}

static weir_status offer_to_table(struct fact *fact, struct weir_error *err) {
    weir_status status = WEIR_OK;
    struct weir_pg_watch *watch = fact->table->watches;
    for (; status == WEIR_OK && watch; watch = watch->table_next) {
        status = offer(fact, watch, err);
    }
    return status;
}

// What cannot be told is logged: an event that cannot be made now cannot be made later.
static weir_status finish(struct fact *fact, weir_status status, struct weir_error *err) {
    weir_event_unref(fact->event);
    fact->event = NULL;
    if (status == WEIR_NO_MEMORY) {
        return status;
    }
    if (status != WEIR_OK) {
        weir_log(fact->source->resource->log, WEIR_LOG_ERROR, "a change cannot be told as an event",
                 {"resource", weir_str_of(fact->source->resource->base.name)}, {"key", fact->key},
                 {"reason", weir_str_of(err->message)});
    }
    return fact->is_held ? WEIR_AGAIN : WEIR_OK;
}

static weir_status tell(struct fact *fact, struct weir_error *err) {
    return finish(fact, offer_to_all(fact, err), err);
}

// The first of two that is not WEIR_OK.
static weir_status both(weir_status first, weir_status second) {
    return first == WEIR_OK || second == WEIR_NO_MEMORY ? second : first;
}

// ---- rows and keys of a change ----

// A change and what its values are put into.
struct change {
    struct weir_pg_source *source;
    const struct weir_pg_relation *relation;
    const struct weir_pg_message *message;
    struct weir_pg_table *table;
    struct fact fact; // what all facts of it have in common
    struct weir_pg_scratch scratch;
    struct weir_sql_value *old_values, *new_values;
};

static bool matches(const struct weir_pg_relation *relation, const struct weir_pg_tuple *tuple) {
    return relation->count == tuple->count;
}

static struct weir_sql_value value_of(const struct change *change,
                                      const struct weir_pg_tuple *tuple, size_t column,
                                      struct weir_pg_scratch *scratch) {
    const struct weir_pg_cell *cell = &tuple->cells[column];
    switch (cell->kind) {
    case WEIR_PG_CELL_NULL:
        return (struct weir_sql_value){.kind = WEIR_SQL_NULL};
    case WEIR_PG_CELL_UNCHANGED:
        return (struct weir_sql_value){.kind = WEIR_SQL_UNCHANGED};
    case WEIR_PG_CELL_TEXT:
        break;
    }
    return weir_pg_value(change->relation->types[column], cell->text, scratch);
}

// The row's values. Of an old key, only the columns of the identity are told.
static void read_values(struct change *change, const struct weir_pg_tuple *tuple, bool is_key,
                        struct weir_sql_value *values) {
    for (size_t i = 0; i < tuple->count; i++) {
        values[i] = is_key && !change->relation->is_identity[i]
                        ? (struct weir_sql_value){.kind = WEIR_SQL_UNCHANGED}
                        : value_of(change, tuple, i, &change->scratch);
    }
}

// A value that is stored apart, and was not written, is what it was.
static void fill_unchanged(struct weir_sql_value *values, const struct weir_sql_value *old,
                           size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (values[i].kind == WEIR_SQL_UNCHANGED) {
            values[i] = old[i];
        }
    }
}

static struct weir_str row_key(const struct change *change, const struct weir_sql_value *values,
                               char buffer[static WEIR_KEY_BYTES_MAX]) {
    struct weir_sql_value key[WEIR_PG_KEY_COLUMNS_MAX];
    const struct weir_pg_relation *relation = change->relation;
    struct weir_str table = weir_str_of(change->table->name.text);
    size_t count = relation->key_count;
    for (size_t i = 0; i < count; i++) {
        key[i] = values[relation->key[i]];
        if (key[i].kind == WEIR_SQL_UNCHANGED) { // the identity has not all of the key
            count = 0;
        }
    }
    size_t size = weir_row_key(table, key, count, buffer, WEIR_KEY_BYTES_MAX);
    if (size == 0) { // longer than a key may be
        size = weir_row_key(table, NULL, 0, buffer, WEIR_KEY_BYTES_MAX);
    }
    return (struct weir_str){buffer, size};
}

static struct weir_row_image image_of(const struct change *change,
                                      const struct weir_sql_value *values) {
    return (struct weir_row_image){
        .columns = change->relation->columns, .values = values, .count = change->relation->count};
}

// ---- rows ----

static weir_status tell_inserted(struct change *change, uint32_t part, struct weir_error *err) {
    char key[WEIR_KEY_BYTES_MAX];
    struct weir_row_image after = image_of(change, change->new_values);
    struct fact fact = change->fact;
    fact.type = WEIR_TYPE_ROW_INSERTED;
    fact.key = row_key(change, change->new_values, key);
    fact.position.part += part;
    fact.after = &after;
    return tell(&fact, err);
}

static weir_status tell_deleted(struct change *change, struct weir_error *err) {
    char key[WEIR_KEY_BYTES_MAX];
    struct weir_row_image before = image_of(change, change->old_values);
    struct fact fact = change->fact;
    fact.type = WEIR_TYPE_ROW_DELETED;
    fact.key = row_key(change, change->old_values, key);
    fact.before = &before;
    return tell(&fact, err);
}

static weir_status tell_updated(struct change *change, struct weir_error *err) {
    char key[WEIR_KEY_BYTES_MAX], buffer[WEIR_KEY_BYTES_MAX];
    bool has_old = change->message->old_kind != WEIR_PG_OLD_NONE;
    struct fact fact = change->fact;
    if (has_old) {
        fill_unchanged(change->new_values, change->old_values, change->relation->count);
    }
    fact.key = row_key(change, change->new_values, key);
    if (has_old) {
        struct weir_str old_key = row_key(change, change->old_values, buffer);
        if (!weir_str_equal(old_key, fact.key)) {
            weir_status status = tell_deleted(change, err);
            return status == WEIR_NO_MEMORY ? status : both(status, tell_inserted(change, 1, err));
        }
    }
    struct weir_row_image before = image_of(change, change->old_values);
    struct weir_row_image after = image_of(change, change->new_values);
    fact.type = WEIR_TYPE_ROW_UPDATED;
    fact.before = has_old ? &before : NULL;
    fact.after = &after;
    return tell(&fact, err);
}

static weir_status tell_row(struct change *change, struct weir_error *err) {
    switch (change->message->kind) {
    case WEIR_PG_INSERT:
        return tell_inserted(change, 0, err);
    case WEIR_PG_UPDATE:
        return tell_updated(change, err);
    default:
        return tell_deleted(change, err);
    }
}

// ---- keys of a store ----

// The bytes of a column, which is bytea or text.
static struct weir_str bytes_of(const struct weir_sql_value *value) {
    return value->kind >= WEIR_SQL_TEXT && value->kind != WEIR_SQL_UNCHANGED
               ? value->bytes
               : (struct weir_str){NULL, 0};
}

static weir_status tell_gone(const struct change *change, struct weir_str key,
                             struct weir_error *err) {
    struct fact fact = change->fact;
    fact.key = key;
    fact.is_deleted = true;
    return tell(&fact, err);
}

static weir_status tell_set(const struct change *change, struct weir_str key, uint32_t part,
                            struct weir_error *err) {
    const struct weir_sql_value *value = &change->new_values[change->relation->store_value];
    struct weir_str data = bytes_of(value);
    struct fact fact = change->fact;
    fact.key = key;
    fact.position.part += part;
    fact.data = value->kind == WEIR_SQL_UNCHANGED ? NULL : &data;
    fact.size_bytes = data.size;
    return tell(&fact, err);
}

static weir_status tell_key(struct change *change, struct weir_error *err) {
    const struct weir_pg_relation *relation = change->relation;
    enum weir_pg_message_kind kind = change->message->kind;
    struct weir_str old_key = {NULL, 0}, new_key = {NULL, 0};
    if (relation->store_key < 0 || relation->store_value < 0) {
        return WEIR_OK; // it is no store any more
    }
    bool has_old = change->message->old_kind != WEIR_PG_OLD_NONE;
    bool is_unwritten = kind == WEIR_PG_UPDATE &&
                        change->new_values[relation->store_value].kind == WEIR_SQL_UNCHANGED;
    if (has_old) {
        old_key = bytes_of(&change->old_values[relation->store_key]);
    }
    if (kind != WEIR_PG_DELETE) {
        new_key = bytes_of(&change->new_values[relation->store_key]);
    }
    bool has_moved = kind == WEIR_PG_UPDATE && has_old && !weir_str_equal(old_key, new_key);
    if (is_unwritten && !has_moved) {
        return WEIR_OK; // another column was written: the key has what it had
    }
    if (has_old && is_unwritten) {
        fill_unchanged(change->new_values, change->old_values, relation->count);
    }
    bool is_gone = kind == WEIR_PG_DELETE || has_moved;
    // A key that could not be written by weir, empty or longer, is not told.
    weir_status status = is_gone && weir_keyvalue_check_key(old_key, NULL) == WEIR_OK
                             ? tell_gone(change, old_key, err)
                             : WEIR_OK;
    if (kind == WEIR_PG_DELETE || status == WEIR_NO_MEMORY ||
        weir_keyvalue_check_key(new_key, NULL) != WEIR_OK) {
        return status;
    }
    return both(status, tell_set(change, new_key, has_moved ? 1 : 0, err));
}

// ---- changes ----

static size_t text_bytes(const struct weir_pg_tuple *tuple) {
    size_t bytes = 0;
    for (size_t i = 0; i < tuple->count; i++) {
        bytes += tuple->cells[i].text.size / 2;
    }
    return bytes;
}

static weir_status tell_values(struct change *change, struct weir_error *err) {
    const struct weir_pg_message *message = change->message;
    const struct weir_pg_relation *relation = change->relation;
    size_t scratch = text_bytes(&message->old_tuple) + text_bytes(&message->new_tuple);
    size_t values = 2 * relation->count * sizeof(struct weir_sql_value);
    char *room = malloc(values + scratch + 1);
    if (!room) {
        return weir_fail_no_memory(err, "a row");
    }
    change->old_values = (struct weir_sql_value *)(void *)room;
    change->new_values = change->old_values + relation->count;
    change->scratch = (struct weir_pg_scratch){room + values, room + values + scratch};
    if (message->old_kind != WEIR_PG_OLD_NONE) {
        read_values(change, &message->old_tuple, message->old_kind == WEIR_PG_OLD_KEY,
                    change->old_values);
    }
    if (message->kind != WEIR_PG_DELETE) {
        read_values(change, &message->new_tuple, false, change->new_values);
    }
    weir_status status = change->source->resource->mode == WEIR_PG_KV ? tell_key(change, err)
                                                                      : tell_row(change, err);
    free(room);
    return status;
}

static bool fits(const struct weir_pg_relation *relation, const struct weir_pg_message *message) {
    return (message->old_kind == WEIR_PG_OLD_NONE || matches(relation, &message->old_tuple)) &&
           (message->kind == WEIR_PG_DELETE || matches(relation, &message->new_tuple));
}

static struct fact fact_of_stream(struct weir_pg_stream *stream, struct weir_pg_table *table) {
    struct fact fact = {.source = stream->source,
                        .stream = stream,
                        .table = table,
                        .position = stream->at,
                        .wall_ns = stream->commit_wall_ns,
                        .xid = stream->xid};
    fact.position.part = 2 * stream->same_lsn;
    fact.extension_count =
        weir_pg_chain_decode((struct weir_str){stream->chain, stream->chain_size}, fact.extensions);
    return fact;
}

static struct weir_pg_table *table_of(const struct weir_pg_source *source,
                                      const struct weir_pg_relation *relation) {
    struct weir_pg_table *table;
    HASH_FIND_STR(source->tables, relation->name.text, table);
    return table;
}

static struct weir_pg_relation *find_relation(const struct weir_pg_stream *stream, uint32_t id) {
    struct weir_pg_relation *relation;
    HASH_FIND(hh, stream->relations, &id, sizeof id, relation);
    return relation;
}

static weir_status tell_change(struct weir_pg_stream *stream, struct weir_error *err) {
    struct weir_pg_source *source = stream->source;
    const struct weir_pg_relation *relation = find_relation(stream, source->message->relation);
    if (!relation || !stream->is_in_transaction || !fits(relation, source->message)) {
        return weir_fail(err, WEIR_OTHER,
                         "the server sent a change of a table that it has not described so");
    }
    struct weir_pg_table *table = table_of(source, relation);
    if (!table || !table->watches) {
        return WEIR_OK;
    }
    struct change change = {.source = source,
                            .relation = relation,
                            .message = source->message,
                            .table = table,
                            .fact = fact_of_stream(stream, table)};
    return tell_values(&change, err);
}

// ---- truncations ----

static void lose_all(struct weir_pg_stream *stream, struct weir_pg_table *table) {
    struct fact fact = fact_of_stream(stream, table);
    struct weir_pg_watch *watch = table->watches;
    for (; watch; watch = watch->table_next) {
        if (wants(watch, &fact)) {
            weir_pg_watch_lose(watch, "the store's table was truncated: all of its keys are gone");
        }
    }
}

static weir_status tell_truncated(struct weir_pg_stream *stream, struct weir_pg_table *table,
                                  uint32_t part, struct weir_error *err) {
    char key[WEIR_KEY_BYTES_MAX];
    if (stream->source->resource->mode == WEIR_PG_KV) {
        lose_all(stream, table);
        return WEIR_OK;
    }
    struct fact fact = fact_of_stream(stream, table);
    fact.type = WEIR_TYPE_TABLE_TRUNCATED;
    fact.key = (struct weir_str){
        key, weir_row_key(weir_str_of(table->name.text), NULL, 0, key, sizeof key)};
    fact.position.part += part;
    return finish(&fact, offer_to_table(&fact, err), err);
}

static weir_status tell_truncation(struct weir_pg_stream *stream, struct weir_error *err) {
    const struct weir_pg_message *message = stream->source->message;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < message->truncated_count && status != WEIR_NO_MEMORY; i++) {
        const struct weir_pg_relation *relation =
            find_relation(stream, weir_pg_truncated(message, i));
        struct weir_pg_table *table = relation ? table_of(stream->source, relation) : NULL;
        if (table && stream->is_in_transaction) {
            status = both(status, tell_truncated(stream, table, (uint32_t)i, err));
        }
    }
    return status;
}

// ---- what is around changes ----

static void begin_transaction(struct weir_pg_stream *stream) {
    const struct weir_pg_message *message = stream->source->message;
    stream->is_in_transaction = true;
    stream->xid = message->xid;
    stream->commit_wall_ns = EPOCH_WALL_NS + message->time_us * 1000;
    stream->at = (struct weir_pg_position){
        .commit_lsn = message->commit_lsn, .system = stream->system, .timeline = stream->timeline};
    stream->last_change_lsn = 0;
    stream->same_lsn = 0;
    stream->chain_size = 0;
    if (message->commit_lsn > stream->passed_lsn) {
        stream->passed_lsn = message->commit_lsn;
    }
    stream->recent[stream->recent_next++ % WEIR_PG_RECENT] =
        (struct weir_pg_recent){.xid = message->xid, .commit_lsn = message->commit_lsn};
}

static void end_transaction(struct weir_pg_stream *stream) {
    const struct weir_pg_message *message = stream->source->message;
    stream->is_in_transaction = false;
    stream->chain_size = 0;
    if (message->end_lsn > stream->passed_lsn) {
        stream->passed_lsn = message->end_lsn;
    }
}

static weir_status find_key(struct weir_pg_stream *stream, struct weir_pg_relation *relation,
                            struct weir_error *err) {
    struct weir_pg_source *source = stream->source;
    struct weir_waiter waiter = weir_pg_source_waiter(
        source, weir_clock_monotonic_ns() + source->resource->target.timeout_ns);
    PGresult *names = NULL;
    weir_status status = weir_pg_primary_key(source, relation->id, &waiter, &names, err);
    if (status == WEIR_OK) {
        weir_pg_relation_set_key(relation, names);
    }
    PQclear(names);
    return status;
}

static weir_status note_relation(struct weir_pg_stream *stream, struct weir_error *err) {
    struct weir_pg_source *source = stream->source;
    const struct weir_pg_relation_message *message = &source->message->relation_message;
    struct weir_pg_relation *relation, *before = find_relation(stream, message->id);
    weir_status status = weir_pg_relation_create(message, &relation, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (source->resource->mode != WEIR_PG_KV && !weir_pg_relation_knows_key(message)) {
        status = find_key(stream, relation, err);
    }
    if (status != WEIR_OK) {
        weir_pg_relation_destroy(relation);
        return status;
    }
    if (before) {
        HASH_DEL(stream->relations, before);
        weir_pg_relation_destroy(before);
    }
    HASH_ADD(hh, stream->relations, id, sizeof relation->id, relation);
    if (!relation->hh.tbl) {
        weir_pg_relation_destroy(relation);
        return weir_fail_no_memory(err, "a table");
    }
    return WEIR_OK;
}

static void note_chain(struct weir_pg_stream *stream) {
    const struct weir_pg_message *message = stream->source->message;
    bool is_chain = message->is_transactional && stream->is_in_transaction &&
                    weir_str_equal(message->prefix, WEIR_STR(WEIR_PG_CHAIN_PREFIX)) &&
                    message->content.size <= sizeof stream->chain;
    stream->chain_size = is_chain ? message->content.size : 0;
    if (stream->chain_size > 0) {
        memcpy(stream->chain, message->content.data, stream->chain_size);
    }
}

weir_status weir_pg_tell(struct weir_pg_stream *stream, struct weir_error *err) {
    weir_status status = WEIR_OK;
    switch (stream->source->message->kind) {
    case WEIR_PG_BEGIN:
        begin_transaction(stream);
        return WEIR_OK;
    case WEIR_PG_COMMIT:
        end_transaction(stream);
        return WEIR_OK;
    case WEIR_PG_RELATION:
        return note_relation(stream, err);
    case WEIR_PG_MESSAGE:
        note_chain(stream);
        return WEIR_OK;
    case WEIR_PG_OTHER:
        return WEIR_OK;
    case WEIR_PG_TRUNCATE:
        status = tell_truncation(stream, err);
        break;
    default:
        status = tell_change(stream, err);
    }
    if (status == WEIR_OK) {
        stream->chain_size = 0; // it was of this change
    }
    return status;
}

// ---- what is there ----

static void read_result(const PGresult *result, struct weir_pg_tuple *ret_tuple) {
    ret_tuple->count = (size_t)PQnfields(result); // not more than WEIR_PG_COLUMNS_MAX
    for (int i = 0; i < PQnfields(result); i++) {
        bool is_null = PQgetisnull(result, 0, i);
        ret_tuple->cells[i] = (struct weir_pg_cell){
            .kind = is_null ? WEIR_PG_CELL_NULL : WEIR_PG_CELL_TEXT,
            .text = {PQgetvalue(result, 0, i), (size_t)PQgetlength(result, 0, i)}};
    }
}

weir_status weir_pg_tell_row(const struct weir_pg_job_row *row, struct weir_error *err) {
    struct weir_pg_source *source = row->stream->source;
    struct weir_pg_message *message = source->message;
    message->kind = WEIR_PG_INSERT;
    message->old_kind = WEIR_PG_OLD_NONE;
    message->old_tuple.count = 0;
    read_result(row->result, &message->new_tuple);
    struct change change = {.source = source,
                            .relation = row->relation,
                            .message = message,
                            .table = row->table,
                            .fact = {.source = source,
                                     .stream = row->stream,
                                     .table = row->table,
                                     .row = row,
                                     .position = row->position,
                                     .wall_ns = row->wall_ns}};
    return tell_values(&change, err);
}

// ---- what a watch is told of itself ----

bool weir_pg_tell_gap(struct weir_pg_watch *watch) {
    struct weir_pg_source *source = watch->stream->source;
    char from[WEIR_PG_LSN_BYTES], to[WEIR_PG_LSN_BYTES], position[WEIR_PG_POSITION_BYTES];
    struct weir_event *event;
    struct weir_pg_position place = weir_pg_stream_place(watch->stream);
    // A watch that stops here begins with reading its table again, not with another gap.
    place.is_snapshot = source->resource->snapshot != WEIR_PG_SNAPSHOT_NEVER;
    weir_pg_position_encode(&place, position);
    const struct weir_gap gap = {
        .source = weir_str_of(source->event_source),
        .pattern = watch->base.pattern.text,
        .from = weir_str_of(weir_pg_lsn_format(watch->gap_from_lsn, from)),
        .to = weir_str_of(weir_pg_lsn_format(place.commit_lsn, to)),
        .reason = weir_str_of(watch->gap_reason),
        .position = {position, sizeof position},
    };
    if (weir_hub_is_paused(&watch->base) || weir_event_of_gap(&gap, &event, NULL) != WEIR_OK) {
        return false;
    }
    weir_status status = weir_hub_offer(&watch->base, event);
    weir_event_unref(event);
    if (status == WEIR_STOPPED) {
        watch->state = WEIR_PG_DONE;
    } else if (status == WEIR_OK) {
        place.is_snapshot = false;
        watch->told = place;
    }
    return status == WEIR_OK;
}

void weir_pg_tell_bookmark(struct weir_pg_watch *watch, uint64_t lsn) {
    struct weir_pg_stream *stream = watch->stream;
    const struct weir_pg_position position = {
        .commit_lsn = lsn, .system = stream->system, .timeline = stream->timeline};
    char bytes[WEIR_PG_POSITION_BYTES];
    struct weir_event *event;
    weir_pg_position_encode(&position, bytes);
    if (weir_hub_is_paused(&watch->base) ||
        weir_event_of_bookmark(weir_str_of(stream->source->event_source),
                               (struct weir_str){bytes, sizeof bytes}, &event, NULL) != WEIR_OK) {
        return; // at the next beat
    }
    weir_status status = weir_hub_offer(&watch->base, event);
    weir_event_unref(event);
    watch->has_bookmark = status == WEIR_OK;
    if (status == WEIR_OK && weir_pg_position_compare(&position, &watch->told) > 0) {
        watch->told = position;
    } else if (status == WEIR_STOPPED) {
        watch->state = WEIR_PG_DONE;
    }
}
