// SPDX-License-Identifier: Apache-2.0
//
// Places in an outbox. Rows are told in the order of their transactions' numbers, and of one
// transaction in the order of their ids; a row is told when every transaction before its own is
// over, since none can put a row before it any more. So a cursor is a transaction and an id: what
// is at or before it was told.
//
// Beside it stands which table of which database of which cluster it is in. Pure functions, any
// thread.
#ifndef WEIR_PROVIDER_POSTGRES_CURSOR_H
#define WEIR_PROVIDER_POSTGRES_CURSOR_H

#include "base/str.h"
#include "event/event.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    WEIR_PG_ID_BYTES = 256, // of a row, as text
    WEIR_PG_CURSOR_BYTES_MAX = 64 + WEIR_PG_ID_BYTES,
    WEIR_PG_CURSOR_TEXT_BYTES = 24 + WEIR_PG_ID_BYTES,
};

// Where an outbox is.
struct weir_pg_place {
    uint64_t system;          // the cluster's identifier; 0: nowhere
    uint32_t timeline;        // another one since a standby took over, or the cluster was restored
    uint32_t database, table; // their OIDs
    uint32_t file;            // of the table: another one when it was truncated, or rewritten
};

struct weir_pg_cursor {
    uint64_t xid;
    bool has_id; // else it is before every row of the transaction
    char id[WEIR_PG_ID_BYTES];
    uint64_t snapshot_xid; // rows before this are told as what was there, not as what happened
};

// Returns the size.
size_t weir_pg_cursor_encode(const struct weir_pg_cursor *cursor, const struct weir_pg_place *place,
                             char ret_bytes[static WEIR_PG_CURSOR_BYTES_MAX]);
// False: it is none of these.
bool weir_pg_cursor_decode(struct weir_str bytes, struct weir_pg_cursor *ret_cursor,
                           struct weir_pg_place *ret_place);

bool weir_pg_cursor_is_same(const struct weir_pg_cursor *a, const struct weir_pg_cursor *b);

// The place of a row as text, "XID-ID", the same for the same row; without an id the transaction
// alone. Returns `text`.
const char *weir_pg_cursor_text(const struct weir_pg_cursor *cursor,
                                char text[static WEIR_PG_CURSOR_TEXT_BYTES]);

// What an outbox is like now.
struct weir_pg_outbox_look {
    struct weir_pg_place place;
    uint64_t bound_xid;  // every transaction before it is over
    uint64_t next_xid;   // none from it on has begun
    uint64_t oldest_xid; // of a row that is there; UINT64_MAX: there is none
    bool has_waiting;    // rows are there whose turn has not come
};

// Why a watch that was at that cursor cannot go on there; NULL: it can.
const char *weir_pg_cursor_loss(const struct weir_pg_cursor *cursor,
                                const struct weir_pg_place *place,
                                const struct weir_pg_outbox_look *look);

#endif
