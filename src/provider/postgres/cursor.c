// SPDX-License-Identifier: Apache-2.0
//
// See cursor.h. A cursor's bytes: version, transaction, system, timeline, database, table, file,
// the snapshot's transaction, whether there is an id, the id.
#include "provider/postgres/cursor.h"

#include "base/big_endian.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1, FIXED_BYTES = 1 + 8 + 8 + 4 * 4 + 8 + 1 };

size_t weir_pg_cursor_encode(const struct weir_pg_cursor *cursor, const struct weir_pg_place *place,
                             char ret_bytes[static WEIR_PG_CURSOR_BYTES_MAX]) {
    char *at = weir_put_big_endian(ret_bytes, VERSION, 1);
    size_t size = cursor->has_id ? strlen(cursor->id) : 0;
    at = weir_put_big_endian(at, cursor->xid, 8);
    at = weir_put_big_endian(at, place->system, 8);
    at = weir_put_big_endian(at, place->timeline, 4);
    at = weir_put_big_endian(at, place->database, 4);
    at = weir_put_big_endian(at, place->table, 4);
    at = weir_put_big_endian(at, place->file, 4);
    at = weir_put_big_endian(at, cursor->snapshot_xid, 8);
    at = weir_put_big_endian(at, cursor->has_id, 1);
    memcpy(at, cursor->id, size);
    return FIXED_BYTES + size;
}

bool weir_pg_cursor_decode(struct weir_str bytes, struct weir_pg_cursor *ret_cursor,
                           struct weir_pg_place *ret_place) {
    const char *at = bytes.data;
    *ret_cursor = (struct weir_pg_cursor){0};
    *ret_place = (struct weir_pg_place){0};
    if (bytes.size < FIXED_BYTES || bytes.size >= FIXED_BYTES + WEIR_PG_ID_BYTES ||
        weir_take_big_endian(&at, 1) != VERSION) {
        return false;
    }
    ret_cursor->xid = weir_take_big_endian(&at, 8);
    ret_place->system = weir_take_big_endian(&at, 8);
    ret_place->timeline = (uint32_t)weir_take_big_endian(&at, 4);
    ret_place->database = (uint32_t)weir_take_big_endian(&at, 4);
    ret_place->table = (uint32_t)weir_take_big_endian(&at, 4);
    ret_place->file = (uint32_t)weir_take_big_endian(&at, 4);
    ret_cursor->snapshot_xid = weir_take_big_endian(&at, 8);
    uint64_t has_id = weir_take_big_endian(&at, 1);
    ret_cursor->has_id = has_id;
    memcpy(ret_cursor->id, at, bytes.size - FIXED_BYTES);
    return has_id <= 1 && (has_id || bytes.size == FIXED_BYTES);
}

bool weir_pg_cursor_is_same(const struct weir_pg_cursor *a, const struct weir_pg_cursor *b) {
    return a->xid == b->xid && a->has_id == b->has_id && (!a->has_id || strcmp(a->id, b->id) == 0);
}

const char *weir_pg_cursor_text(const struct weir_pg_cursor *cursor,
                                char text[static WEIR_PG_CURSOR_TEXT_BYTES]) {
    snprintf(text, WEIR_PG_CURSOR_TEXT_BYTES, "%" PRIu64 "%s%s", cursor->xid,
             cursor->has_id ? "-" : "", cursor->has_id ? cursor->id : "");
    return text;
}

const char *weir_pg_cursor_loss(const struct weir_pg_cursor *cursor,
                                const struct weir_pg_place *place,
                                const struct weir_pg_outbox_look *look) {
    const struct weir_pg_place *now = &look->place;
    if (place->system == 0) {
        return "the position that was kept is not understood";
    }
    if (place->system != now->system || place->database != now->database) {
        return "the outbox is in another database than before";
    }
    if (place->timeline != now->timeline) {
        return "the cluster was restored to a moment before, or another server took its place";
    }
    if (cursor->xid > look->next_xid) {
        return "the server's history ends before what was told already";
    }
    if (place->table != now->table) {
        return "the outbox's table was made anew";
    }
    // A table that is rewritten (VACUUM FULL, CLUSTER) has another file too, and its old rows.
    return place->file != now->file && look->oldest_xid >= cursor->xid
               ? "the outbox's table was truncated"
               : NULL;
}
