// SPDX-License-Identifier: Apache-2.0
//
// See pgoutput.h. A reader that runs out of bytes notes that and returns zeros from then on, so
// that it is asked once, at the end of a message.
#include "provider/postgres/pgoutput.h"

#include "base/big_endian.h"

#include <string.h>

struct reader {
    const char *at, *end;
    bool is_short; // there were less bytes than wanted
};

static uint64_t take(struct reader *reader, int bytes) {
    if (reader->end - reader->at < bytes) {
        reader->is_short = true;
        reader->at = reader->end;
        return 0;
    }
    return weir_take_big_endian(&reader->at, bytes);
}

static struct weir_str take_bytes(struct reader *reader, size_t size) {
    if ((size_t)(reader->end - reader->at) < size) {
        reader->is_short = true;
        reader->at = reader->end;
        return (struct weir_str){0};
    }
    struct weir_str bytes = {reader->at, size};
    reader->at += size;
    return bytes;
}

// Up to a NUL, which is taken too.
static struct weir_str take_text(struct reader *reader) {
    size_t left = (size_t)(reader->end - reader->at);
    const char *nul = left > 0 ? memchr(reader->at, '\0', left) : NULL;
    if (!nul) {
        reader->is_short = true;
        reader->at = reader->end;
        return (struct weir_str){0};
    }
    struct weir_str text = {reader->at, (size_t)(nul - reader->at)};
    reader->at = nul + 1;
    return text;
}

// ---- frames ----

weir_status weir_pg_frame_read(struct weir_str bytes, struct weir_pg_frame *ret_frame,
                               struct weir_error *err) {
    struct reader reader = {.at = bytes.data, .end = bytes.data + bytes.size};
    char kind = (char)take(&reader, 1);
    *ret_frame = (struct weir_pg_frame){0};
    switch (kind) {
    case 'w':
        ret_frame->kind = WEIR_PG_FRAME_DATA;
        ret_frame->start_lsn = take(&reader, 8);
        take(&reader, 8); // where the log ends by now
        take(&reader, 8); // the time
        ret_frame->message = (struct weir_str){reader.at, (size_t)(reader.end - reader.at)};
        break;
    case 'k':
        ret_frame->kind = WEIR_PG_FRAME_KEEPALIVE;
        ret_frame->end_lsn = take(&reader, 8);
        take(&reader, 8);
        ret_frame->wants_reply = take(&reader, 1) != 0;
        break;
    default:
        reader.is_short = true;
    }
    return reader.is_short
               ? weir_fail(err, WEIR_OTHER,
                           "the server sent %zu bytes of replication that mean nothing", bytes.size)
               : WEIR_OK;
}

void weir_pg_status_write(uint64_t flushed_lsn, uint64_t written_lsn, int64_t now_us,
                          bool wants_reply, char ret_bytes[static WEIR_PG_STATUS_BYTES]) {
    char *at = ret_bytes;
    *at++ = 'r';
    at = weir_put_big_endian(at, written_lsn, 8);
    at = weir_put_big_endian(at, flushed_lsn, 8);
    at = weir_put_big_endian(at, flushed_lsn, 8); // "applied": nobody looks at it
    at = weir_put_big_endian(at, (uint64_t)now_us, 8);
    *at = wants_reply ? 1 : 0;
}

// ---- messages ----

static bool read_tuple(struct reader *reader, struct weir_pg_tuple *ret_tuple) {
    ret_tuple->count = (size_t)take(reader, 2);
    if (ret_tuple->count > WEIR_PG_COLUMNS_MAX) {
        return false;
    }
    for (size_t i = 0; i < ret_tuple->count; i++) {
        struct weir_pg_cell *cell = &ret_tuple->cells[i];
        *cell = (struct weir_pg_cell){.kind = (enum weir_pg_cell_kind)take(reader, 1)};
        switch (cell->kind) {
        case WEIR_PG_CELL_NULL:
        case WEIR_PG_CELL_UNCHANGED:
            break;
        case WEIR_PG_CELL_TEXT:
            cell->text = take_bytes(reader, (size_t)take(reader, 4));
            break;
        default: // binary values were not asked for
            return false;
        }
    }
    return true;
}

// The old row or its key, where there is one.
static bool read_old(struct reader *reader, char kind, struct weir_pg_message *message) {
    if (kind != 'K' && kind != 'O') {
        return false;
    }
    message->old_kind = kind == 'K' ? WEIR_PG_OLD_KEY : WEIR_PG_OLD_ROW;
    return read_tuple(reader, &message->old_tuple);
}

static bool read_change(struct reader *reader, struct weir_pg_message *message) {
    message->relation = (uint32_t)take(reader, 4);
    char kind = (char)take(reader, 1);
    if (message->kind == WEIR_PG_DELETE) {
        return read_old(reader, kind, message);
    }
    if (message->kind == WEIR_PG_UPDATE && kind != 'N') {
        if (!read_old(reader, kind, message)) {
            return false;
        }
        kind = (char)take(reader, 1);
    }
    return kind == 'N' && read_tuple(reader, &message->new_tuple);
}

static bool read_relation(struct reader *reader, struct weir_pg_relation_message *relation) {
    relation->id = (uint32_t)take(reader, 4);
    relation->schema = take_text(reader);
    if (relation->schema.size == 0) { // as it is written for the system's own
        relation->schema = WEIR_STR("pg_catalog");
    }
    relation->name = take_text(reader);
    relation->identity = (char)take(reader, 1);
    relation->count = (size_t)take(reader, 2);
    if (relation->count > WEIR_PG_COLUMNS_MAX) {
        return false;
    }
    for (size_t i = 0; i < relation->count; i++) {
        struct weir_pg_column *column = &relation->columns[i];
        column->is_identity = take(reader, 1) & 1;
        column->name = take_text(reader);
        column->type = (uint32_t)take(reader, 4);
        take(reader, 4); // the type's modifier
    }
    return true;
}

static bool read_truncation(struct reader *reader, struct weir_pg_message *message) {
    size_t count = (size_t)take(reader, 4);
    take(reader, 1); // what goes with it
    size_t left = (size_t)(reader->end - reader->at);
    if (reader->is_short || count > left / 4) {
        return false;
    }
    message->truncated_count = count;
    message->truncated = reader->at;
    reader->at += 4 * count;
    return true;
}

uint32_t weir_pg_truncated(const struct weir_pg_message *message, size_t index) {
    struct reader reader = {.at = message->truncated + 4 * index,
                            .end = message->truncated + 4 * message->truncated_count};
    return (uint32_t)take(&reader, 4);
}

static bool read_emitted(struct reader *reader, struct weir_pg_message *message) {
    message->is_transactional = take(reader, 1) & 1;
    take(reader, 8); // its LSN, which is the frame's
    message->prefix = take_text(reader);
    message->content = take_bytes(reader, (size_t)take(reader, 4));
    return true;
}

static bool read_body(struct reader *reader, char kind, struct weir_pg_message *message) {
    switch (kind) {
    case 'B':
        message->kind = WEIR_PG_BEGIN;
        message->commit_lsn = take(reader, 8);
        message->time_us = (int64_t)take(reader, 8);
        message->xid = (uint32_t)take(reader, 4);
        return true;
    case 'C':
        message->kind = WEIR_PG_COMMIT;
        take(reader, 1); // flags, of which there are none
        message->commit_lsn = take(reader, 8);
        message->end_lsn = take(reader, 8);
        message->time_us = (int64_t)take(reader, 8);
        return true;
    case 'R':
        message->kind = WEIR_PG_RELATION;
        return read_relation(reader, &message->relation_message);
    case 'I':
        message->kind = WEIR_PG_INSERT;
        return read_change(reader, message);
    case 'U':
        message->kind = WEIR_PG_UPDATE;
        return read_change(reader, message);
    case 'D':
        message->kind = WEIR_PG_DELETE;
        return read_change(reader, message);
    case 'T':
        message->kind = WEIR_PG_TRUNCATE;
        return read_truncation(reader, message);
    case 'M':
        message->kind = WEIR_PG_MESSAGE;
        return read_emitted(reader, message);
    case 'O':
    case 'Y':
        message->kind = WEIR_PG_OTHER;
        return true;
    default:
        return false;
    }
}

weir_status weir_pg_message_read(struct weir_str bytes, struct weir_pg_message *ret_message,
                                 struct weir_error *err) {
    struct reader reader = {.at = bytes.data, .end = bytes.data + bytes.size};
    char kind = (char)take(&reader, 1);
    ret_message->old_kind = WEIR_PG_OLD_NONE;
    ret_message->old_tuple.count = ret_message->new_tuple.count = 0;
    ret_message->truncated_count = 0;
    if (!read_body(&reader, kind, ret_message) || reader.is_short) {
        return weir_fail(err, WEIR_OTHER,
                         "the server sent a message '%c' of pgoutput, of %zu bytes, that is not of "
                         "the form that version 1 has",
                         kind >= ' ' && kind < 0x7F ? kind : '?', bytes.size);
    }
    return WEIR_OK;
}
