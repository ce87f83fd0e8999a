// SPDX-License-Identifier: Apache-2.0
//
// What the hub asks of an outbox: watches that begin, end, have room again and acknowledge, and the
// work between. See outbox.h for how it is made, outbox_read.c for how it is read.
//
// The hub's thread, but for `prepare` and `discard`.
#include "provider/postgres/outbox.h"

#include "base/clock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    BEGIN_RESERVE_MS = 500, // of the time for a watch, for what comes behind the server's answers
    WAITING_MS = 10,        // before the first further look, where rows wait for their turn
    NO_MEMORY_MS = 10,
    CHANNEL_BYTES = 2 * WEIR_PG_TABLE_BYTES + 32,
};

static struct weir_pg_outbox *outbox_of(void *context) {
    return ((struct weir_pg_resource *)context)->outbox;
}

static struct weir_pg_outbox_watch *watch_of(struct weir_hub_watch *base) {
    return (struct weir_pg_outbox_watch *)base;
}

// ---- the connection ----

static void disconnect(struct weir_pg_outbox *outbox) {
    PQfinish(outbox->connection);
    outbox->connection = NULL;
}

static void lose_connection(struct weir_pg_outbox *outbox, const struct weir_error *cause) {
    disconnect(outbox);
    outbox->retry_ns = weir_link_down(&outbox->resource->link, cause);
}

// Where the server refuses to be listened to (a standby, a pooler) it is looked at now and then.
static weir_status begin_listening(struct weir_pg_outbox *outbox, const struct weir_waiter *waiter,
                                   struct weir_error *err) {
    char text[CHANNEL_BYTES], channel[CHANNEL_BYTES];
    struct weir_pg_answer answer;
    snprintf(text, sizeof text, "LISTEN %s",
             weir_pg_quote(outbox->resource->outbox_table.wake, channel, sizeof channel));
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    weir_status status = weir_pg_run(outbox->connection, waiter, &statement, &answer, err);
    PQclear(answer.result);
    return answer.state[0] && status != WEIR_UNAVAILABLE ? WEIR_OK : status;
}

// It has missed something. Behind the gap it is told what there is, if that is wanted.
static void lose(struct weir_pg_outbox *outbox, struct weir_pg_outbox_watch *watch,
                 const char *reason) {
    if (watch->state != WEIR_PG_OUTBOX_GAP) { // else it lacks even more
        weir_pg_cursor_text(&watch->cursor, watch->gap_from);
    }
    bool is_read = outbox->resource->snapshot != WEIR_PG_SNAPSHOT_NEVER;
    watch->state = WEIR_PG_OUTBOX_GAP;
    watch->place = outbox->look.place;
    watch->cursor = (struct weir_pg_cursor){.xid = is_read ? 0 : outbox->look.bound_xid,
                                            .snapshot_xid = outbox->look.bound_xid};
    free(watch->visible);
    watch->visible = NULL;
    snprintf(watch->gap_reason, sizeof watch->gap_reason, "%s", reason);
    outbox->are_gaps_due = true;
}

// Whether each watch can go on where it is.
static void check_watches(struct weir_pg_outbox *outbox) {
    for (struct weir_pg_outbox_watch *watch = outbox->watches; watch; watch = watch->next) {
        const char *loss = watch->state == WEIR_PG_OUTBOX_DONE
                               ? NULL
                               : weir_pg_cursor_loss(&watch->cursor, &watch->place, &outbox->look);
        if (loss) {
            lose(outbox, watch, loss);
        } else if (watch->state == WEIR_PG_OUTBOX_JOINING) {
            watch->state = WEIR_PG_OUTBOX_LIVE;
        }
        watch->place = outbox->look.place;
    }
}

// When to look again: soon, where rows wait until a transaction that is open ends, since nobody
// notifies of that.
static void plan_look(struct weir_pg_outbox *outbox) {
    int64_t poll_ns = outbox->resource->outbox_table.poll_ns;
    int64_t pause_ns = poll_ns;
    if (outbox->look.has_waiting) {
        pause_ns = outbox->pause_ns == 0 ? WAITING_MS * WEIR_NS_PER_MS : 2 * outbox->pause_ns;
        pause_ns = pause_ns < poll_ns ? pause_ns : poll_ns;
    }
    outbox->pause_ns = outbox->look.has_waiting ? pause_ns : 0;
    outbox->look_ns = weir_clock_monotonic_ns() + pause_ns;
}

static weir_status look(struct weir_pg_outbox *outbox, const struct weir_waiter *waiter,
                        struct weir_pg_visible **ret_visible, struct weir_error *err) {
    weir_status status = weir_pg_outbox_look_now(outbox, waiter, ret_visible, err);
    if (status == WEIR_OK) {
        check_watches(outbox);
        plan_look(outbox);
    }
    return status;
}

// Looks, on a connection that is made where there is none, each within the resource's timeout.
static weir_status look_anew(struct weir_pg_outbox *outbox, const struct weir_waiter *outer,
                             struct weir_pg_visible **ret_visible, struct weir_error *err) {
    weir_status status = WEIR_OK;
    int64_t timeout_ns = outbox->resource->target.timeout_ns;
    bool is_new = !outbox->connection || !weir_pg_is_usable(outbox->connection);
    *ret_visible = NULL;
    if (is_new) {
        disconnect(outbox);
        status = weir_pg_connect(&outbox->resource->target, WEIR_PG_SQL, outer, &outbox->connection,
                                 err);
        struct weir_waiter waiter = weir_waiter_within(outer, timeout_ns);
        status = status == WEIR_OK ? begin_listening(outbox, &waiter, err) : status;
    }
    struct weir_waiter waiter = weir_waiter_within(outer, timeout_ns);
    status = status == WEIR_OK ? look(outbox, &waiter, ret_visible, err) : status;
    if (status == WEIR_OK && is_new) {
        weir_link_up(&outbox->resource->link);
    }
    return status;
}

// ---- watches ----

static void detach(struct weir_pg_outbox *outbox, struct weir_pg_outbox_watch *watch) {
    weir_routes_remove(outbox->routes, &watch->route);
    DL_DELETE(outbox->watches, watch);
    if (!outbox->watches) {
        disconnect(outbox);
    }
}

static weir_status attach(struct weir_pg_outbox *outbox, struct weir_pg_outbox_watch *watch,
                          struct weir_error *err) {
    DL_APPEND(outbox->watches, watch);
    weir_status status =
        weir_routes_add(outbox->routes, &watch->base.pattern, watch, &watch->route, err);
    if (status != WEIR_OK) {
        detach(outbox, watch);
    }
    return status;
}

static weir_status remember(struct weir_pg_outbox_watch *watch, struct weir_error *err) {
    char bytes[WEIR_PG_CURSOR_BYTES_MAX];
    struct weir_str position = {bytes, weir_pg_cursor_encode(&watch->cursor, &watch->place, bytes)};
    return weir_hub_remember(&watch->base, (struct weir_str){0}, position, err);
}

// Of what is there now it is told nothing, or, as a snapshot, all.
static weir_status begin_new(struct weir_pg_outbox *outbox, struct weir_pg_outbox_watch *watch,
                             int64_t until_ns, struct weir_error *err) {
    struct weir_waiter waiter = {.hub = outbox->resource->hub,
                                 .until_ns = until_ns - BEGIN_RESERVE_MS * WEIR_NS_PER_MS};
    weir_status status = look_anew(outbox, &waiter, &watch->visible, err);
    if (status != WEIR_OK && !outbox->watches) {
        disconnect(outbox);
    }
    if (status != WEIR_OK) {
        return status == WEIR_OTHER ? WEIR_UNAVAILABLE : status;
    }
    bool is_read = outbox->resource->snapshot == WEIR_PG_SNAPSHOT_ALWAYS;
    watch->state = WEIR_PG_OUTBOX_LIVE;
    watch->place = outbox->look.place;
    watch->cursor.xid = is_read ? 0 : outbox->look.bound_xid;
    if (is_read) {
        watch->cursor.snapshot_xid = outbox->look.bound_xid;
        free(watch->visible);
        watch->visible = NULL;
    }
    status = attach(outbox, watch, err);
    if (status == WEIR_OK && (status = remember(watch, err)) != WEIR_OK) {
        detach(outbox, watch);
    }
    return status;
}

static weir_status begin(void *context, struct weir_hub_watch *base, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_pg_outbox *outbox = outbox_of(context);
    struct weir_pg_outbox_watch *watch = watch_of(base);
    watch->told_ns = weir_clock_monotonic_ns();
    if (!base->is_resumed) {
        return begin_new(outbox, watch, until_ns, err);
    }
    watch->state = WEIR_PG_OUTBOX_JOINING;
    outbox->look_ns = 0;
    return attach(outbox, watch, err);
}

static weir_status prepare(void *context, struct weir_hub_watch *base,
                           const struct weir_watch_args *args, struct weir_error *err) {
    struct weir_pg_outbox_watch *watch = watch_of(base);
    (void)context;
    (void)err;
    watch->is_kept = args->name || args->resume || args->sink.remember;
    if (args->resume &&
        !weir_pg_cursor_decode(args->resume->position, &watch->cursor, &watch->place)) {
        watch->place = (struct weir_pg_place){0};
    }
    return WEIR_OK;
}

static void discard(struct weir_hub_watch *base) {
    free(watch_of(base)->visible);
}

static void end(void *context, struct weir_hub_watch *base) {
    detach(outbox_of(context), watch_of(base));
}

static void resume(void *context, struct weir_hub_watch *base) {
    outbox_of(context)->are_gaps_due |= watch_of(base)->state == WEIR_PG_OUTBOX_GAP;
}

static void acknowledge(void *context, struct weir_hub_watch *base, struct weir_event *event) {
    (void)context;
    if (event->is_bookmark) {
        watch_of(base)->has_bookmark = false;
    }
}

// ---- what a watch is told of itself ----

// Offers what has the watch's cursor as its position.
static weir_status offer_own(struct weir_pg_outbox_watch *watch, struct weir_event *event) {
    weir_status status = weir_hub_offer(&watch->base, event);
    weir_event_unref(event);
    if (status == WEIR_STOPPED) {
        watch->state = WEIR_PG_OUTBOX_DONE;
    } else if (status == WEIR_OK) {
        watch->has_moved = false;
        watch->told_ns = weir_clock_monotonic_ns();
    }
    return status;
}

// Whether memory was short.
static bool tell_gap(struct weir_pg_outbox *outbox, struct weir_pg_outbox_watch *watch) {
    char to[WEIR_PG_CURSOR_TEXT_BYTES], bytes[WEIR_PG_CURSOR_BYTES_MAX];
    const struct weir_pg_cursor now = {.xid = outbox->look.bound_xid};
    struct weir_event *event;
    const struct weir_gap gap = {
        .source = weir_str_of(outbox->event_source),
        .pattern = watch->base.pattern.text,
        .from = weir_str_of(watch->gap_from),
        .to = weir_str_of(weir_pg_cursor_text(&now, to)),
        .reason = weir_str_of(watch->gap_reason),
        .position = {bytes, weir_pg_cursor_encode(&watch->cursor, &watch->place, bytes)},
    };
    if (weir_event_of_gap(&gap, &event, NULL) != WEIR_OK) {
        return true;
    }
    if (offer_own(watch, event) == WEIR_OK) {
        watch->state = WEIR_PG_OUTBOX_LIVE;
    }
    return false;
}

// Returns when to try again.
static int64_t tell_gaps(struct weir_pg_outbox *outbox, int64_t now_ns) {
    bool lacks_memory = false;
    if (!outbox->are_gaps_due) {
        return INT64_MAX;
    }
    for (struct weir_pg_outbox_watch *watch = outbox->watches; watch; watch = watch->next) {
        if (watch->state == WEIR_PG_OUTBOX_GAP && !weir_hub_is_paused(&watch->base)) {
            lacks_memory |= tell_gap(outbox, watch);
        }
    }
    outbox->are_gaps_due = lacks_memory;
    return lacks_memory ? now_ns + NO_MEMORY_MS * WEIR_NS_PER_MS : INT64_MAX;
}

// Moves positions over rows that did not concern their watches. Returns when to come again.
static int64_t tell_bookmarks(struct weir_pg_outbox *outbox, int64_t now_ns) {
    int64_t due_ns = INT64_MAX, beat_ns = outbox->resource->heartbeat_ns;
    for (struct weir_pg_outbox_watch *watch = outbox->watches; watch; watch = watch->next) {
        char bytes[WEIR_PG_CURSOR_BYTES_MAX];
        struct weir_event *event;
        if (!watch->is_kept || !watch->has_moved || watch->has_bookmark ||
            watch->state != WEIR_PG_OUTBOX_LIVE || weir_hub_is_paused(&watch->base)) {
            continue;
        }
        if (now_ns < watch->told_ns + beat_ns) {
            due_ns = watch->told_ns + beat_ns < due_ns ? watch->told_ns + beat_ns : due_ns;
            continue;
        }
        struct weir_str position = {bytes,
                                    weir_pg_cursor_encode(&watch->cursor, &watch->place, bytes)};
        watch->told_ns = now_ns; // without memory, at the next beat
        if (weir_event_of_bookmark(weir_str_of(outbox->event_source), position, &event, NULL) ==
            WEIR_OK) {
            watch->has_bookmark = offer_own(watch, event) == WEIR_OK;
        }
    }
    return due_ns;
}

// ---- work ----

// Takes what the server has said by itself: that there are new rows, or that it is gone.
static void take_notifications(struct weir_pg_outbox *outbox, bool is_readable) {
    struct weir_error err;
    if (!outbox->connection) {
        return;
    }
    if (is_readable && !weir_pg_consume(outbox->connection)) {
        weir_pg_fail_connection(outbox->connection, &err);
        lose_connection(outbox, &err);
        return;
    }
    for (PGnotify *told; (told = PQnotifies(outbox->connection));) {
        PQfreemem(told);
        outbox->look_ns = outbox->pause_ns = 0;
    }
}

// Reads a page, and looks before where it is time to. Returns when to come again.
static int64_t read_on(struct weir_pg_outbox *outbox, int64_t now_ns) {
    struct weir_error err = {.status = WEIR_OK};
    struct weir_waiter waiter = {.hub = outbox->resource->hub, .until_ns = INT64_MAX};
    struct weir_pg_visible *visible = NULL;
    bool is_done = false;
    weir_status status = WEIR_OK;
    if (!outbox->connection && now_ns < outbox->retry_ns) {
        return outbox->retry_ns;
    }
    if (!outbox->connection || now_ns >= outbox->look_ns) {
        status = look_anew(outbox, &waiter, &visible, &err);
        free(visible);
    }
    int64_t gap_ns = status == WEIR_OK ? tell_gaps(outbox, now_ns) : INT64_MAX;
    status = status == WEIR_OK ? weir_pg_outbox_read(outbox, &is_done, &err) : status;
    if (status == WEIR_NO_MEMORY) {
        return now_ns + NO_MEMORY_MS * WEIR_NS_PER_MS;
    }
    if (status != WEIR_OK) {
        lose_connection(outbox, &err);
        return outbox->retry_ns;
    }
    take_notifications(outbox, false); // that came with answers
    int64_t due_ns = outbox->look_ns < gap_ns ? outbox->look_ns : gap_ns;
    int64_t bookmark_ns = tell_bookmarks(outbox, now_ns);
    due_ns = bookmark_ns < due_ns ? bookmark_ns : due_ns;
    return is_done ? due_ns : 0;
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    struct weir_pg_outbox *outbox = outbox_of(context);
    take_notifications(outbox, count > 0 && fds[0].revents != 0);
    return outbox->watches ? read_on(outbox, weir_clock_monotonic_ns()) : INT64_MAX;
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_pg_outbox *outbox = outbox_of(context);
    if (!outbox->connection || PQsocket(outbox->connection) < 0) {
        return 0;
    }
    ret_fds[0] = (struct pollfd){.fd = PQsocket(outbox->connection), .events = POLLIN};
    return 1;
}

const struct weir_hub_functions weir_pg_outbox_hub_functions = {
    .watch_bytes = sizeof(struct weir_pg_outbox_watch),
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .resume = resume,
    .acknowledge = acknowledge,
    .discard = discard,
    .wait_for = wait_for,
    .work = work,
};

// ---- making and ending ----

weir_status weir_pg_outbox_create(struct weir_pg_resource *resource, struct weir_error *err) {
    struct weir_pg_outbox *outbox = calloc(1, sizeof *outbox);
    resource->outbox = outbox;
    if (outbox) {
        outbox->resource = resource;
        outbox->page_rows = WEIR_PG_PAGE_ROWS;
        snprintf(outbox->event_source, sizeof outbox->event_source, "/%s", resource->base.name);
        outbox->routes = weir_routes_create();
    }
    return outbox && outbox->routes ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

void weir_pg_outbox_destroy(struct weir_pg_outbox *outbox) {
    if (outbox) {
        disconnect(outbox);
        weir_routes_destroy(outbox->routes);
        free(outbox);
    }
}
