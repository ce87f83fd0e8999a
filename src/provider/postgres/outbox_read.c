// SPDX-License-Identifier: Apache-2.0
//
// Reading an outbox: what a look asks, and pages of rows that become events.
//
// A page is read row by row, and to its end also when all of its watches have stopped to take part:
// what they had no room for is read again. Pages get smaller where that happens, or where the
// network is too slow for one, and larger where it does not.
//
// The hub's thread.
#include "provider/postgres/outbox.h"

#include "base/clock.h"
#include "provider/keyvalue.h"
#include "provider/postgres/post.h"
#include "provider/postgres/value.h"
#include "provider/row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    TEXT_BYTES = 4096, // of a statement
    NUMBER_BYTES = 24,
    LOOK_COLUMNS = 8,
};

// ---- a look ----

// Of the columns of the transaction and of the id, and of the table; and of $1, the table's name. A
// standby has no timeline of its own to tell.
#define LOOK_SQL                                                                                   \
    "WITH t AS NOT MATERIALIZED (SELECT %s AS xid, %s AS id FROM %s) SELECT s.system_identifier, " \
    "CASE WHEN pg_is_in_recovery() THEN '0' ELSE "                                                 \
    "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END, d.oid, c.oid, "                    \
    "coalesce(pg_relation_filenode(c.oid), 0), pg_current_snapshot(), (SELECT xid FROM t ORDER "   \
    "BY xid, id LIMIT 1), EXISTS (SELECT 1 FROM t WHERE xid >= "                                   \
    "pg_snapshot_xmin(pg_current_snapshot())) FROM pg_control_system() s, pg_database d, "         \
    "pg_class c WHERE d.datname = current_database() AND c.oid = $1::regclass"

static uint64_t number_of(const PGresult *result, int column, int base) {
    return strtoull(PQgetvalue(result, 0, column), NULL, base);
}

static weir_status read_look(const PGresult *result, struct weir_pg_outbox_look *ret_look,
                             struct weir_pg_visible **ret_visible, struct weir_error *err) {
    if (PQntuples(result) != 1 || PQnfields(result) != LOOK_COLUMNS) {
        return weir_fail(err, WEIR_OTHER,
                         "the server's answer to a look at the outbox is not of the form that it "
                         "has");
    }
    *ret_look = (struct weir_pg_outbox_look){
        .place = {.system = number_of(result, 0, 10),
                  .timeline = (uint32_t)number_of(result, 1, 16),
                  .database = (uint32_t)number_of(result, 2, 10),
                  .table = (uint32_t)number_of(result, 3, 10),
                  .file = (uint32_t)number_of(result, 4, 10)},
        .oldest_xid = PQgetisnull(result, 0, 6) ? UINT64_MAX : number_of(result, 6, 10),
        .has_waiting = strcmp(PQgetvalue(result, 0, 7), "t") == 0,
    };
    weir_status status = weir_pg_visible_parse(PQgetvalue(result, 0, 5), ret_visible, err);
    if (status == WEIR_OK) {
        ret_look->bound_xid = (*ret_visible)->first_running;
        ret_look->next_xid = (*ret_visible)->next;
    }
    return status;
}

weir_status weir_pg_outbox_look_now(struct weir_pg_outbox *outbox, const struct weir_waiter *waiter,
                                    struct weir_pg_visible **ret_visible, struct weir_error *err) {
    const struct weir_pg_outbox_table *table = &outbox->resource->outbox_table;
    char text[TEXT_BYTES];
    const char *values[] = {table->name.quoted};
    struct weir_pg_answer answer;
    *ret_visible = NULL;
    snprintf(text, sizeof text, LOOK_SQL, table->xid, table->id, table->name.quoted);
    const struct weir_pg_statement statement = {.text = text, .count = 1, .values = values};
    weir_status status = weir_pg_run(outbox->connection, waiter, &statement, &answer, err);
    if (status == WEIR_OK) {
        status = read_look(answer.result, &outbox->look, ret_visible, err);
    } else if (strcmp(answer.state, "42P01") == 0) {
        status = weir_fail(err, WEIR_NOT_FOUND,
                           "there is no table %s in this database; `weir check --connect` has the "
                           "SQL that makes an outbox",
                           table->name.text);
    }
    PQclear(answer.result);
    return status;
}

// ---- a row as an event ----

// The first columns of a page; behind them those of a payload, or all of the row.
enum { COLUMN_XID, COLUMN_ID, COLUMN_KEY, COLUMN_PAYLOAD, COLUMN_ATTRIBUTES };
enum { ROW_COLUMNS_BEFORE = 3 };

// A row that is told.
struct telling {
    struct weir_pg_outbox *outbox;
    const PGresult *row;
    struct weir_pg_cursor at;
    struct weir_str key;
    struct weir_pg_scratch scratch;
    struct weir_sql_value *values; // of all of the row; NULL: it has a payload
    struct weir_str *columns;
    struct weir_str data;
    json_t *attributes;
    char key_bytes[WEIR_KEY_BYTES_MAX], revision[WEIR_PG_CURSOR_TEXT_BYTES];
    char transaction[NUMBER_BYTES];
    // The last event, and for whom it was made.
    struct weir_event *event;
    uint64_t event_bytes_max, snapshot_xid;
};

static struct weir_str text_at(const PGresult *row, int column) {
    return (struct weir_str){PQgetvalue(row, 0, column), (size_t)PQgetlength(row, 0, column)};
}

static struct weir_sql_value value_at(struct telling *telling, int column) {
    if (PQgetisnull(telling->row, 0, column)) {
        return (struct weir_sql_value){.kind = WEIR_SQL_NULL};
    }
    return weir_pg_value(PQftype(telling->row, column), text_at(telling->row, column),
                         &telling->scratch);
}

// The bytes of a value, whatever its type is.
static struct weir_str bytes_at(struct telling *telling, int column) {
    struct weir_sql_value value = value_at(telling, column);
    return value.kind == WEIR_SQL_BINARY ? value.bytes : text_at(telling->row, column);
}

// That of the column, where it can be one; else the table's name and the id.
static void read_key(struct telling *telling) {
    const struct weir_pg_outbox_table *table = &telling->outbox->resource->outbox_table;
    if (table->key[0] && !PQgetisnull(telling->row, 0, COLUMN_KEY)) {
        telling->key = bytes_at(telling, COLUMN_KEY);
        bool is_text = telling->values == NULL || weir_utf8_valid(telling->key);
        if (is_text && weir_keyvalue_check_key(telling->key, NULL) == WEIR_OK) {
            return;
        }
    }
    const struct weir_sql_value id = {.kind = WEIR_SQL_TEXT, .bytes = weir_str_of(telling->at.id)};
    telling->key = (struct weir_str){telling->key_bytes,
                                     weir_row_key(weir_str_of(table->name.text), &id, 1,
                                                  telling->key_bytes, sizeof telling->key_bytes)};
}

static void read_row(struct telling *telling) {
    int count = PQnfields(telling->row) - ROW_COLUMNS_BEFORE;
    for (int i = 0; i < count; i++) {
        telling->columns[i] = weir_str_of(PQfname(telling->row, i + ROW_COLUMNS_BEFORE));
        telling->values[i] = value_at(telling, i + ROW_COLUMNS_BEFORE);
    }
}

static weir_status make_of_row(struct telling *telling, const struct weir_pg_outbox_watch *watch,
                               struct weir_str position, struct weir_error *err) {
    const struct weir_row_image after = {
        .columns = telling->columns,
        .values = telling->values,
        .count = (size_t)(PQnfields(telling->row) - ROW_COLUMNS_BEFORE)};
    const struct weir_row_change change = {
        .source = weir_str_of(telling->outbox->event_source),
        .type = WEIR_TYPE_ROW_INSERTED,
        .table = weir_str_of(telling->outbox->resource->outbox_table.name.text),
        .key = telling->key,
        .revision = weir_str_of(telling->revision),
        .position = position,
        .transaction = weir_str_of(telling->transaction),
        .is_snapshot = telling->at.xid < watch->cursor.snapshot_xid,
        .after = &after,
        .event_bytes_max = watch->base.event_bytes_max,
    };
    return weir_row_event(&change, &telling->event, err);
}

static weir_status make_of_payload(struct telling *telling,
                                   const struct weir_pg_outbox_watch *watch,
                                   struct weir_str position, struct weir_error *err) {
    uint32_t type = PQftype(telling->row, COLUMN_PAYLOAD);
    bool is_json = type == WEIR_PG_JSON || type == WEIR_PG_JSONB;
    const struct weir_pg_post post = {
        .source = weir_str_of(telling->outbox->event_source),
        .key = telling->key,
        .revision = weir_str_of(telling->revision),
        .is_revision_kept = true,
        .position = position,
        .attributes = telling->attributes,
        .has_data = !PQgetisnull(telling->row, 0, COLUMN_PAYLOAD),
        .data = telling->data,
        .content_type = is_json ? "application/json" : NULL,
        .is_snapshot = telling->at.xid < watch->cursor.snapshot_xid,
        .event_bytes_max = watch->base.event_bytes_max,
    };
    return weir_pg_post_event(&post, &telling->event, err);
}

// Makes the event for the watch, unless the last one is what it wants.
static weir_status obtain_event(struct telling *telling, const struct weir_pg_outbox_watch *watch,
                                struct weir_error *err) {
    char bytes[WEIR_PG_CURSOR_BYTES_MAX];
    if (telling->event && telling->event_bytes_max == watch->base.event_bytes_max &&
        telling->snapshot_xid == watch->cursor.snapshot_xid) {
        return WEIR_OK;
    }
    weir_event_unref(telling->event);
    telling->event = NULL;
    telling->event_bytes_max = watch->base.event_bytes_max;
    telling->snapshot_xid = watch->cursor.snapshot_xid;
    telling->at.snapshot_xid = watch->cursor.snapshot_xid;
    struct weir_str position = {
        bytes, weir_pg_cursor_encode(&telling->at, &telling->outbox->look.place, bytes)};
    return telling->values ? make_of_row(telling, watch, position, err)
                           : make_of_payload(telling, watch, position, err);
}

// ---- who is told ----

static bool is_past(struct weir_pg_outbox_watch *watch, uint64_t xid) {
    if (watch->visible && xid >= watch->visible->next) {
        free(watch->visible);
        watch->visible = NULL;
    }
    return watch->visible && weir_pg_visible_has(watch->visible, (uint32_t)xid);
}

// It takes part no longer: it stays behind the row before this.
static void leave(struct weir_pg_outbox_watch *watch, const struct weir_pg_cursor *before) {
    uint64_t snapshot_xid = watch->cursor.snapshot_xid;
    watch->page = 0;
    if (before->has_id) { // else it was the first row
        watch->cursor = *before;
        watch->cursor.snapshot_xid = snapshot_xid;
        watch->has_moved = true;
    }
}

static weir_status offer(struct telling *telling, struct weir_pg_outbox_watch *watch,
                         const struct weir_pg_cursor *before, struct weir_error *err) {
    if (watch->page != telling->outbox->page_count || is_past(watch, telling->at.xid)) {
        return WEIR_OK;
    }
    weir_status status =
        weir_hub_is_paused(&watch->base) ? WEIR_AGAIN : obtain_event(telling, watch, err);
    if (status != WEIR_OK && status != WEIR_AGAIN && status != WEIR_NO_MEMORY) {
        return status;
    }
    telling->outbox->is_short |= status == WEIR_NO_MEMORY;
    status = status == WEIR_OK ? weir_hub_offer(&watch->base, telling->event) : status;
    if (status == WEIR_STOPPED) {
        watch->state = WEIR_PG_OUTBOX_DONE;
        watch->page = 0;
    } else if (status != WEIR_OK) {
        leave(watch, before);
    } else {
        watch->has_moved = false;
        watch->told_ns = weir_clock_coarse_ns();
    }
    return WEIR_OK;
}

static weir_status tell_to_all(struct telling *telling, const struct weir_pg_cursor *before,
                               struct weir_error *err) {
    weir_status status = WEIR_OK;
    struct weir_routes_walk walk = weir_routes_first(telling->outbox->routes, telling->key);
    for (; status == WEIR_OK && walk.route; weir_routes_next(&walk)) {
        status = offer(telling, walk.route->watch, before, err);
    }
    return status;
}

// Memory for the values of a row.
static weir_status make_room(struct telling *telling, char **ret_room, struct weir_error *err) {
    const struct weir_pg_outbox_table *table = &telling->outbox->resource->outbox_table;
    size_t columns = (size_t)PQnfields(telling->row), bytes = 0;
    size_t values = columns * sizeof *telling->values, names = columns * sizeof *telling->columns;
    for (int i = 0; i < PQnfields(telling->row); i++) {
        bytes += (size_t)PQgetlength(telling->row, 0, i);
    }
    char *room = malloc(values + names + bytes + 1);
    *ret_room = room;
    if (!room) {
        return weir_fail_no_memory(err, "a row");
    }
    telling->scratch =
        (struct weir_pg_scratch){room + values + names, room + values + names + bytes};
    if (!table->payload[0]) {
        telling->values = (struct weir_sql_value *)(void *)room;
        telling->columns = (struct weir_str *)(void *)(room + values);
    }
    return WEIR_OK;
}

static void read_payload(struct telling *telling) {
    telling->data = bytes_at(telling, COLUMN_PAYLOAD);
    if (!PQgetisnull(telling->row, 0, COLUMN_ATTRIBUTES)) {
        struct weir_str text = text_at(telling->row, COLUMN_ATTRIBUTES);
        telling->attributes = json_loadb(text.data, text.size, JSON_ALLOW_NUL, NULL);
        if (!json_is_object(telling->attributes)) {
            json_decref(telling->attributes);
            telling->attributes = NULL;
        }
    }
}

static weir_status tell_row(struct telling *telling, const struct weir_pg_cursor *before,
                            struct weir_error *err) {
    char *room;
    weir_status status = make_room(telling, &room, err);
    if (status != WEIR_OK) {
        return status;
    }
    snprintf(telling->transaction, sizeof telling->transaction, "%" PRIu64, telling->at.xid);
    weir_pg_cursor_text(&telling->at, telling->revision);
    read_key(telling);
    if (telling->values) {
        read_row(telling);
    } else {
        read_payload(telling);
    }
    status = tell_to_all(telling, before, err);
    weir_event_unref(telling->event);
    json_decref(telling->attributes);
    free(room);
    return status;
}

// Reads where the row is, and tells it. What cannot be told is logged: an event that cannot be made
// now cannot be made later.
static weir_status take_row(struct weir_pg_outbox *outbox, const PGresult *row,
                            struct weir_pg_cursor *at, struct weir_error *err) {
    struct weir_pg_cursor before = *at;
    struct telling *telling = calloc(1, sizeof *telling);
    if (!telling) {
        return weir_fail_no_memory(err, "a row");
    }
    struct weir_str id = text_at(row, COLUMN_ID);
    if (id.size >= sizeof at->id) {
        free(telling);
        return weir_fail(err, WEIR_LIMIT,
                         "a row of the outbox has an id of %zu bytes as text; the longest has %zu",
                         id.size, sizeof at->id - 1);
    }
    at->xid = strtoull(PQgetvalue(row, 0, COLUMN_XID), NULL, 10);
    at->has_id = true;
    snprintf(at->id, sizeof at->id, "%.*s", WEIR_STR_ARG(id));
    telling->outbox = outbox;
    telling->row = row;
    telling->at = *at;
    weir_status status = tell_row(telling, &before, err);
    free(telling);
    if (status == WEIR_NO_MEMORY) {
        *at = before;
    }
    if (status == WEIR_OK || status == WEIR_NO_MEMORY) {
        return status;
    }
    char revision[WEIR_PG_CURSOR_TEXT_BYTES];
    weir_log(outbox->resource->log, WEIR_LOG_ERROR, "a row of an outbox cannot be told as an event",
             {"resource", weir_str_of(outbox->resource->base.name)},
             {"row", weir_str_of(weir_pg_cursor_text(at, revision))},
             {"reason", weir_str_of(err->message)});
    return WEIR_OK;
}

// ---- a page ----

static bool is_behind(const struct weir_pg_outbox *outbox,
                      const struct weir_pg_outbox_watch *watch) {
    return watch->state == WEIR_PG_OUTBOX_LIVE && !weir_hub_is_paused(&watch->base) &&
           watch->cursor.xid < outbox->look.bound_xid;
}

// Those that are where the first one is that is behind. NULL: there is none.
static struct weir_pg_outbox_watch *gather(struct weir_pg_outbox *outbox) {
    struct weir_pg_outbox_watch *first = outbox->watches;
    while (first && !is_behind(outbox, first)) {
        first = first->next;
    }
    outbox->page_count++;
    for (struct weir_pg_outbox_watch *watch = first; watch; watch = watch->next) {
        if (is_behind(outbox, watch) && weir_pg_cursor_is_same(&watch->cursor, &first->cursor)) {
            watch->page = outbox->page_count;
        }
    }
    return first;
}

static weir_status send_page(struct weir_pg_outbox *outbox, const struct weir_pg_cursor *from,
                             struct weir_error *err) {
    const struct weir_pg_outbox_table *table = &outbox->resource->outbox_table;
    char text[TEXT_BYTES], xid[NUMBER_BYTES], bound[NUMBER_BYTES];
    const char *values[] = {bound, xid, from->id};
    snprintf(xid, sizeof xid, "%" PRIu64, from->xid);
    snprintf(bound, sizeof bound, "%" PRIu64, outbox->look.bound_xid);
    int size = snprintf(text, sizeof text, "SELECT t.%s, t.%s, %s%s, ", table->xid, table->id,
                        table->key[0] ? "t." : "", table->key[0] ? table->key : "NULL");
    if (table->payload[0]) {
        size += snprintf(text + size, sizeof text - (size_t)size, "t.%s, %s%s", table->payload,
                         table->attributes[0] ? "t." : "",
                         table->attributes[0] ? table->attributes : "NULL");
    } else {
        size += snprintf(text + size, sizeof text - (size_t)size, "t.*");
    }
    size += snprintf(text + size, sizeof text - (size_t)size, " FROM %s t WHERE t.%s < $1 AND ",
                     table->name.quoted, table->xid);
    if (from->has_id) {
        size += snprintf(text + size, sizeof text - (size_t)size, "(t.%s, t.%s) > ($2, $3)",
                         table->xid, table->id);
    } else {
        size += snprintf(text + size, sizeof text - (size_t)size, "t.%s >= $2", table->xid);
    }
    snprintf(text + size, sizeof text - (size_t)size, " ORDER BY t.%s, t.%s LIMIT %d", table->xid,
             table->id, outbox->page_rows);
    const struct weir_pg_statement statement = {
        .text = text, .is_row_by_row = true, .count = from->has_id ? 3 : 2, .values = values};
    const struct weir_waiter waiter = weir_pg_outbox_waiter(outbox);
    return weir_pg_send(outbox->connection, &waiter, &statement, err);
}

// Takes all rows; `at` becomes the place of the last.
static weir_status take_rows(struct weir_pg_outbox *outbox, struct weir_pg_cursor *at,
                             int *ret_rows, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (;;) { // ends: the statement's limit
        PGresult *row;
        const struct weir_waiter waiter = weir_pg_outbox_waiter(outbox);
        weir_status got = weir_pg_next(outbox->connection, &waiter, &row, err);
        if (got != WEIR_OK || !row) {
            return got != WEIR_OK ? got : status;
        }
        if (PQresultStatus(row) == PGRES_SINGLE_TUPLE && status == WEIR_OK) {
            (*ret_rows)++;
            status = take_row(outbox, row, at, err);
        } else if (PQresultStatus(row) == PGRES_FATAL_ERROR) {
            status = weir_pg_fail(row, err);
        }
        PQclear(row);
    }
}

// Where those are that have taken part to the end.
static void arrive(struct weir_pg_outbox *outbox, const struct weir_pg_cursor *at) {
    for (struct weir_pg_outbox_watch *watch = outbox->watches; watch; watch = watch->next) {
        if (watch->page == outbox->page_count) {
            uint64_t snapshot_xid = watch->cursor.snapshot_xid;
            watch->has_moved = true;
            watch->cursor = *at;
            watch->cursor.snapshot_xid = snapshot_xid;
            watch->page = 0;
        }
    }
}

static int fitting(int rows, bool is_full, bool is_too_large) {
    if (is_too_large) {
        return rows > 1 ? rows / 2 : 1;
    }
    return is_full && 2 * rows <= WEIR_PG_PAGE_ROWS_MAX ? 2 * rows : rows;
}

weir_status weir_pg_outbox_read(struct weir_pg_outbox *outbox, bool *ret_is_done,
                                struct weir_error *err) {
    int rows = 0;
    struct weir_pg_outbox_watch *first = gather(outbox);
    *ret_is_done = first == NULL;
    if (!first) {
        return WEIR_OK;
    }
    struct weir_pg_cursor from = first->cursor;
    struct weir_pg_cursor at = {.xid = from.xid};
    outbox->is_short = false;
    weir_status status = send_page(outbox, &from, err);
    status = status == WEIR_OK ? take_rows(outbox, &at, &rows, err) : status;
    bool is_too_large = first->page == 0 || status != WEIR_OK;
    bool is_full = rows == outbox->page_rows;
    if (status == WEIR_OK && !is_full) {
        at = (struct weir_pg_cursor){.xid = outbox->look.bound_xid};
        arrive(outbox, &at);
    } else if (at.has_id) {
        arrive(outbox, &at);
    }
    outbox->page_rows = fitting(outbox->page_rows, is_full, is_too_large);
    DL_DELETE(outbox->watches, first);
    DL_APPEND(outbox->watches, first);
    return status == WEIR_OK && outbox->is_short ? weir_fail_no_memory(err, "an event") : status;
}
