// SPDX-License-Identifier: Apache-2.0
//
// What the hub's thread of an outbox works with. Everything here belongs to that thread.
//
// One connection serves all watches. It listens to the channel that says that there are new rows,
// and looks at the table each time it is told so, and now and then besides. A look says which
// transactions are over; what they have put there is then read in pages. Each watch has a cursor of
// its own, and a page is read for all that are at the same one: those that keep up share each page,
// and one that has no room for a while, or comes back from a stop, reads by itself until it has
// caught up. So none holds up another, and nothing is kept in memory but a row.
#ifndef WEIR_PROVIDER_POSTGRES_OUTBOX_H
#define WEIR_PROVIDER_POSTGRES_OUTBOX_H

#include "provider/hub.h"
#include "provider/postgres/cursor.h"
#include "provider/postgres/resource.h"
#include "provider/postgres/visible.h"
#include "provider/routes.h"

enum {
    WEIR_PG_PAGE_ROWS = 16, // that are read at once, at first
    WEIR_PG_PAGE_ROWS_MAX = 1024,
    WEIR_PG_OUTBOX_REASON_BYTES = 100,
};

enum weir_pg_outbox_state {
    WEIR_PG_OUTBOX_JOINING, // goes on after a stop: it was not looked yet whether it can
    WEIR_PG_OUTBOX_GAP,     // is to be told of a gap
    WEIR_PG_OUTBOX_LIVE,
    WEIR_PG_OUTBOX_DONE, // its sink wants nothing more
};

struct weir_pg_outbox_watch {
    struct weir_hub_watch base;
    bool is_kept; // somebody keeps its position
    struct weir_route route;
    enum weir_pg_outbox_state state;
    struct weir_pg_cursor cursor;    // what is at or before it was told
    struct weir_pg_place place;      // that the cursor is in
    struct weir_pg_visible *visible; // of one that has just begun: what it must not be told
    char gap_from[WEIR_PG_CURSOR_TEXT_BYTES];
    char gap_reason[WEIR_PG_OUTBOX_REASON_BYTES];
    uint64_t page;     // that it takes part in; 0: none
    bool has_moved;    // its cursor, since its sink was told a position
    bool has_bookmark; // one is under way
    int64_t told_ns;   // when its sink was told a position
    struct weir_pg_outbox_watch *prev, *next;
};

struct weir_pg_outbox {
    struct weir_pg_resource *resource;
    char event_source[WEIR_NAME_BYTES_MAX + 2]; // of the events
    struct weir_routes *routes;
    struct weir_pg_outbox_watch *watches; // those that have waited longest for a page first
    PGconn *connection;                   // NULL: there is none
    int64_t retry_ns;                     // when to connect again
    struct weir_pg_outbox_look look;      // the last one
    int64_t look_ns;                      // when to look again
    int64_t pause_ns;                     // before the next look, while rows wait for their turn
    bool are_gaps_due;                    // some watch is to be told of a gap, and may have room
    uint64_t page_count;
    bool is_short; // memory was, for some watch of the last page
    int page_rows; // that are asked for at once
};

// The resource's timeout, from now on.
static inline struct weir_waiter weir_pg_outbox_waiter(const struct weir_pg_outbox *outbox) {
    const struct weir_waiter waiter = {.hub = outbox->resource->hub, .until_ns = INT64_MAX};
    return weir_waiter_within(&waiter, outbox->resource->target.timeout_ns);
}

// ---- outbox.c ----

weir_status weir_pg_outbox_create(struct weir_pg_resource *resource, struct weir_error *err);
// The hub's thread must have ended.
void weir_pg_outbox_destroy(struct weir_pg_outbox *outbox);
extern const struct weir_hub_functions weir_pg_outbox_hub_functions;

// ---- outbox_read.c ----

// Looks at the table: where it is, and which transactions are over. WEIR_NOT_FOUND: there is no
// such table.
weir_status weir_pg_outbox_look_now(struct weir_pg_outbox *outbox, const struct weir_waiter *waiter,
                                    struct weir_pg_visible **ret_visible, struct weir_error *err);
// Reads a page for one watch that is behind the last look, and for those that are where it is.
// *ret_is_done: there is none.
weir_status weir_pg_outbox_read(struct weir_pg_outbox *outbox, bool *ret_is_done,
                                struct weir_error *err);

#endif
