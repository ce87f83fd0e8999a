// SPDX-License-Identifier: Apache-2.0
//
// What the hub asks of this provider: watches that begin, end, have room again and acknowledge, and
// the work between. See source.h for how it is made.
//
// The hub's thread, but for `prepare` and `discard`.
#include "provider/postgres/source.h"

#include "base/clock.h"
#include "provider/postgres/pattern.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    BEGIN_RESERVE_MS = 500, // of the time for a watch, for what comes behind the server's answers
    CONNECT_MS = 28000,     // of all steps until a stream streams
    NO_MEMORY_MS = 10,
    UNSEEN_MS = 2,     // between two looks at whether a transaction is visible
    UNUSED_MS = 10000, // that a temporary slot waits for its next watch
    DROP_MS = 1000,    // between attempts to drop a slot that nobody needs any more
};

// ---- watches ----

static struct weir_pg_watch *watch_of(struct weir_hub_watch *base) {
    return (struct weir_pg_watch *)base;
}

bool weir_pg_rewind(struct weir_pg_stream *stream, uint64_t lsn) {
    bool is_passed =
        lsn < stream->passed_lsn || (lsn == stream->passed_lsn && stream->is_in_transaction);
    if (stream->state == WEIR_PG_DOWN || stream->is_temporary || !is_passed) {
        return false;
    }
    if (lsn < stream->rewind_lsn) {
        stream->rewind_lsn = lsn;
    }
    stream->rewind_ns = weir_clock_monotonic_ns() + WEIR_PG_REWIND_MS * WEIR_NS_PER_MS;
    return true;
}

void weir_pg_watch_lose(struct weir_pg_watch *watch, const char *reason) {
    if (watch->state != WEIR_PG_GAP) { // else it lacks even more
        watch->gap_from_lsn = watch->told.commit_lsn;
    }
    watch->state = WEIR_PG_GAP;
    watch->told = weir_pg_stream_place(watch->stream);
    free(watch->visible);
    watch->visible = NULL;
    snprintf(watch->gap_reason, sizeof watch->gap_reason, "%s", reason);
    watch->stream->source->are_gaps_due = true;
}

void weir_pg_watch_go_live(struct weir_pg_watch *watch) {
    if (watch->is_kept) { // what was read to it needs not be read again
        weir_pg_tell_bookmark(watch, watch->told.commit_lsn);
    }
    watch->state =
        weir_pg_rewind(watch->stream, watch->told.commit_lsn) ? WEIR_PG_JOINING : WEIR_PG_LIVE;
}

void weir_pg_watch_read(struct weir_pg_watch *watch) {
    watch->state = WEIR_PG_SNAPSHOT;
    watch->job = 0;
    watch->stream->source->job_retry_ns = 0;
}

static weir_status obtain_table(struct weir_pg_source *source,
                                const struct weir_pg_table_name *name,
                                struct weir_pg_table **ret_table, struct weir_error *err) {
    struct weir_pg_table *table;
    HASH_FIND_STR(source->tables, name->text, table);
    if (!table) {
        table = calloc(1, sizeof *table);
        if (table) {
            table->name = *name;
            table->routes = weir_routes_create();
        }
        if (!table || !table->routes) {
            free(table);
            return weir_fail_no_memory(err, "a table");
        }
        HASH_ADD_STR(source->tables, name.text, table);
        if (!table->hh.tbl) {
            weir_routes_destroy(table->routes);
            free(table);
            return weir_fail_no_memory(err, "a table");
        }
    }
    *ret_table = table;
    return WEIR_OK;
}

static void detach(struct weir_pg_watch *watch) {
    weir_routes_remove(watch->table->routes, &watch->routes[0]);
    weir_routes_remove(watch->table->routes, &watch->routes[1]);
    DL_DELETE2(watch->table->watches, watch, table_prev, table_next);
    DL_DELETE2(watch->stream->watches, watch, stream_prev, stream_next);
}

// Has what is told of the table come to it.
static weir_status attach(struct weir_pg_watch *watch, struct weir_pg_table *table,
                          struct weir_pg_stream *stream, struct weir_error *err) {
    struct weir_pattern patterns[2];
    size_t count = weir_pg_pattern_routes(watch, patterns);
    watch->table = table;
    watch->stream = stream;
    stream->unused_ns = 0;
    DL_APPEND2(table->watches, watch, table_prev, table_next);
    DL_APPEND2(stream->watches, watch, stream_prev, stream_next);
    for (size_t i = 0; i < count; i++) {
        weir_status status =
            weir_routes_add(table->routes, &patterns[i], watch, &watch->routes[i], err);
        if (status != WEIR_OK) {
            detach(watch);
            return status;
        }
    }
    return WEIR_OK;
}

// ---- a watch that begins ----

// Whether all transactions that the stream has begun to tell are visible. One that is not, because
// its commit waits for a disk or a standby, was not told to a watch that begins now, and will have
// happened after it has begun.
static bool has_seen_all(const struct weir_pg_stream *stream,
                         const struct weir_pg_visible *visible) {
    for (size_t i = 0; i < WEIR_PG_RECENT; i++) {
        const struct weir_pg_recent *recent = &stream->recent[i];
        if (recent->commit_lsn != 0 && !weir_pg_visible_has(visible, recent->xid)) {
            return false;
        }
    }
    return true;
}

// What the watch is not to be told: what is over now. Waits until that has all that was told.
static weir_status look_at_now(struct weir_pg_source *source, struct weir_pg_watch *watch,
                               const struct weir_pg_stream *stream,
                               const struct weir_waiter *waiter, struct weir_error *err) {
    for (;;) { // ends: the waiter's moment
        weir_status status =
            weir_pg_visible_now(source, waiter, &watch->visible, &watch->visible_until_lsn, err);
        if (status != WEIR_OK || has_seen_all(stream, watch->visible)) {
            return status;
        }
        free(watch->visible);
        watch->visible = NULL;
        if (weir_clock_monotonic_ns() >= waiter->until_ns) {
            return weir_fail(err, WEIR_UNAVAILABLE,
                             "a transaction is in the log and not visible yet: does it wait for a "
                             "standby that is away (synchronous_standby_names)?");
        }
        struct weir_waiter pause = weir_waiter_within(waiter, UNSEEN_MS * WEIR_NS_PER_MS);
        weir_wait(&pause, -1, 0);
    }
}

static weir_status remember(struct weir_pg_watch *watch, struct weir_error *err) {
    char bytes[WEIR_PG_POSITION_BYTES];
    struct weir_pg_position position = watch->told;
    position.is_snapshot = watch->state == WEIR_PG_SNAPSHOT;
    weir_pg_position_encode(&position, bytes);
    return weir_hub_remember(&watch->base, (struct weir_str){0},
                             (struct weir_str){bytes, sizeof bytes}, err);
}

// The server is asked for all that a new watch needs of it, before it is one.
static weir_status reach_server(struct weir_pg_source *source, struct weir_pg_watch *watch,
                                struct weir_pg_table *table, struct weir_pg_stream *stream,
                                int64_t until_ns, struct weir_error *err) {
    bool is_added;
    struct weir_waiter waiter =
        weir_pg_source_waiter(source, until_ns - BEGIN_RESERVE_MS * WEIR_NS_PER_MS);
    weir_status status = weir_pg_table_prepare(source, table, &waiter, &is_added, err);
    if (status == WEIR_OK && stream->state == WEIR_PG_DOWN) {
        status = weir_pg_stream_connect(stream, &waiter, err);
        if (status != WEIR_OK && stream->watches) {
            weir_pg_stream_down(stream, err);
        }
    }
    return status == WEIR_OK ? look_at_now(source, watch, stream, &waiter, err) : status;
}

static weir_status begin_new(struct weir_pg_source *source, struct weir_pg_watch *watch,
                             struct weir_pg_table *table, int64_t until_ns,
                             struct weir_error *err) {
    struct weir_pg_stream *stream = &source->streams[watch->is_kept ? 0 : 1];
    weir_status status = reach_server(source, watch, table, stream, until_ns, err);
    if (status != WEIR_OK) {
        return status;
    }
    watch->told = weir_pg_stream_place(stream);
    status = attach(watch, table, stream, err);
    if (status != WEIR_OK) {
        return status;
    }
    watch->state = WEIR_PG_LIVE;
    watch->durable_lsn = watch->told.commit_lsn;
    if (source->resource->snapshot == WEIR_PG_SNAPSHOT_ALWAYS) {
        weir_pg_watch_read(watch);
    }
    status = remember(watch, err);
    if (status != WEIR_OK) {
        detach(watch);
    }
    return status;
}

static weir_status begin(void *context, struct weir_hub_watch *base, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_pg_source *source = ((struct weir_pg_resource *)context)->source;
    struct weir_pg_watch *watch = watch_of(base);
    struct weir_pg_table *table = NULL;
    weir_status status = obtain_table(source, &watch->name, &table, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (watch->is_kept && source->hold_until_ns == 0) {
        source->hold_until_ns = weir_clock_monotonic_ns() + source->resource->linger_ns;
    }
    if (!base->is_resumed) {
        return begin_new(source, watch, table, until_ns, err);
    }
    watch->state = WEIR_PG_JOINING;
    watch->durable_lsn = watch->told.commit_lsn;
    source->are_joining = true;
    return attach(watch, table, &source->streams[0], err);
}

static weir_status prepare(void *context, struct weir_hub_watch *base,
                           const struct weir_watch_args *args, struct weir_error *err) {
    const struct weir_pg_resource *resource = context;
    struct weir_pg_watch *watch = watch_of(base);
    watch->is_kept = args->name || args->resume || args->sink.remember;
    if (args->resume && !weir_pg_position_decode(args->resume->position, &watch->told)) {
        watch->told = (struct weir_pg_position){0};
    }
    return weir_pg_pattern_read(resource, &base->pattern, &watch->name, &watch->key_text, err);
}

static void discard(struct weir_hub_watch *base) {
    struct weir_pg_watch *watch = watch_of(base);
    free((char *)(uintptr_t)watch->key_text.data);
    free(watch->visible);
}

// ---- a watch that ends ----

// What the server would have to keep for one that comes back. Where there is no place it takes that
// of the one that ends first, and both last as long as the later.
static void leave_ghost(struct weir_pg_source *source, uint64_t lsn) {
    int64_t now_ns = weir_clock_monotonic_ns();
    struct weir_pg_ghost *place = &source->ghosts[0];
    for (int i = 1; i < WEIR_PG_GHOSTS; i++) {
        if (source->ghosts[i].until_ns < place->until_ns) {
            place = &source->ghosts[i];
        }
    }
    if (place->until_ns <= now_ns || lsn < place->lsn) {
        place->lsn = lsn;
    }
    place->until_ns = now_ns + source->resource->linger_ns;
}

static void unhold(struct weir_pg_source *source) {
    source->streams[0].is_held = source->streams[1].is_held = false;
    weir_pg_job_resume(source->job);
}

static void end(void *context, struct weir_hub_watch *base) {
    struct weir_pg_source *source = ((struct weir_pg_resource *)context)->source;
    struct weir_pg_watch *watch = watch_of(base);
    if (watch->is_kept) {
        uint64_t lsn = watch->state == WEIR_PG_LIVE || watch->state == WEIR_PG_DONE
                           ? watch->durable_lsn
                           : watch->told.commit_lsn;
        leave_ghost(source, lsn);
    }
    detach(watch);
    unhold(source); // it may have been the one without room
}

// ---- what a sink says ----

static void resume(void *context, struct weir_hub_watch *base) {
    struct weir_pg_source *source = ((struct weir_pg_resource *)context)->source;
    source->are_gaps_due |= watch_of(base)->state == WEIR_PG_GAP;
    unhold(source);
}

static void acknowledge(void *context, struct weir_hub_watch *base, struct weir_event *event) {
    struct weir_pg_watch *watch = watch_of(base);
    struct weir_pg_position position;
    (void)context;
    if (event->is_bookmark) {
        watch->has_bookmark = false;
    }
    if (!weir_pg_position_decode(event->position, &position) ||
        (position.is_snapshot && !event->is_gap)) {
        return;
    }
    if (position.commit_lsn > watch->durable_lsn || event->is_gap) {
        watch->durable_lsn = position.commit_lsn;
    }
}

static void acknowledged(void *context) {
    struct weir_pg_source *source = ((struct weir_pg_resource *)context)->source;
    weir_pg_stream_acknowledged(&source->streams[0]);
}

// ---- work ----

static bool has_ghosts(const struct weir_pg_source *source, int64_t now_ns) {
    for (int i = 0; i < WEIR_PG_GHOSTS; i++) {
        if (source->ghosts[i].until_ns > now_ns) {
            return true;
        }
    }
    return now_ns < source->hold_until_ns;
}

// Nobody comes back to the slot: it would keep the server's log for ever.
static int64_t drop_slot(struct weir_pg_source *source, struct weir_pg_stream *stream,
                         int64_t now_ns) {
    struct weir_error err;
    struct weir_pg_answer answer;
    const char *values[] = {stream->slot};
    if (stream->state != WEIR_PG_DOWN) {
        weir_pg_stream_close(stream);
        stream->retry_ns = now_ns + DROP_MS * WEIR_NS_PER_MS;
        return stream->retry_ns; // until the server has noticed
    }
    if (now_ns < stream->retry_ns) {
        return stream->retry_ns;
    }
    struct weir_waiter waiter =
        weir_pg_source_waiter(source, now_ns + source->resource->target.timeout_ns);
    weir_status status = weir_pg_ask(
        source, &waiter,
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1",
        values, 1, &answer, &err);
    PQclear(answer.result);
    stream->has_slot = status != WEIR_OK;
    stream->retry_ns = weir_clock_monotonic_ns() + DROP_MS * WEIR_NS_PER_MS;
    if (status == WEIR_OK) {
        weir_log(source->resource->log, WEIR_LOG_INFO,
                 "nothing is watched under a name any more: the replication slot is dropped",
                 {"resource", weir_str_of(source->resource->base.name)},
                 {"slot", weir_str_of(stream->slot)});
        return INT64_MAX;
    }
    return stream->retry_ns;
}

// A stream without a watch.
static int64_t rest(struct weir_pg_source *source, struct weir_pg_stream *stream, int64_t now_ns) {
    if (stream->unused_ns == 0) {
        stream->unused_ns = now_ns;
    }
    if (stream->is_temporary) {
        int64_t until_ns = stream->unused_ns + UNUSED_MS * WEIR_NS_PER_MS;
        if (now_ns >= until_ns) {
            weir_pg_stream_close(stream);
            return INT64_MAX;
        }
        return stream->state == WEIR_PG_DOWN ? INT64_MAX : until_ns;
    }
    if (has_ghosts(source, now_ns)) {
        return now_ns + WEIR_NS_PER_S;
    }
    return stream->has_slot ? drop_slot(source, stream, now_ns) : INT64_MAX;
}

static void connect_stream(struct weir_pg_source *source, struct weir_pg_stream *stream,
                           int64_t now_ns) {
    struct weir_error err;
    struct weir_waiter waiter = weir_pg_source_waiter(source, now_ns + CONNECT_MS * WEIR_NS_PER_MS);
    if (weir_pg_stream_connect(stream, &waiter, &err) != WEIR_OK) {
        weir_pg_stream_down(stream, &err);
    }
}

// Those that have come since the stream streams.
static void join(struct weir_pg_source *source, struct weir_pg_stream *stream, int64_t now_ns) {
    struct weir_error err;
    struct weir_waiter waiter =
        weir_pg_source_waiter(source, now_ns + source->resource->target.timeout_ns);
    source->are_joining = false;
    for (struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        if (watch->state == WEIR_PG_JOINING &&
            weir_pg_stream_join(stream, watch, &waiter, &err) != WEIR_OK) {
            weir_pg_stream_down(stream, &err); // all are looked at when it is there again
            return;
        }
    }
}

// Returns when there is something to do for the stream.
static int64_t work_on(struct weir_pg_source *source, struct weir_pg_stream *stream,
                       int64_t now_ns) {
    if (stream->state == WEIR_PG_DOWN && stream->watches) {
        if (now_ns < stream->retry_ns) {
            return stream->retry_ns;
        }
        connect_stream(source, stream, now_ns);
    }
    if (stream->state == WEIR_PG_STREAMING && source->are_joining && !stream->is_temporary) {
        join(source, stream, now_ns);
    }
    if (stream->again_ns != 0 && now_ns >= stream->again_ns) {
        stream->again_ns = 0;
        stream->is_held = false;
    }
    bool has_more = stream->state != WEIR_PG_DOWN && weir_pg_stream_read(stream);
    int64_t due_ns = weir_pg_stream_tend(stream, weir_clock_monotonic_ns());
    if (!stream->watches) {
        int64_t rest_ns = rest(source, stream, now_ns);
        due_ns = rest_ns < due_ns ? rest_ns : due_ns;
    } else if (stream->state == WEIR_PG_DOWN) {
        due_ns = stream->retry_ns;
    }
    return has_more ? 0 : due_ns;
}

// Tells those of a gap that lack it. Returns when to try again.
static int64_t tell_gaps(struct weir_pg_source *source, int64_t now_ns) {
    int64_t due_ns = INT64_MAX;
    if (!source->are_gaps_due) {
        return due_ns;
    }
    source->are_gaps_due = false;
    for (int i = 0; i < 2; i++) {
        struct weir_pg_stream *stream = &source->streams[i];
        for (struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
            if (watch->state != WEIR_PG_GAP || stream->state != WEIR_PG_STREAMING ||
                weir_hub_is_paused(&watch->base)) {
                continue;
            }
            if (weir_pg_tell_gap(watch)) {
                watch->durable_lsn = watch->told.commit_lsn;
                if (source->resource->snapshot == WEIR_PG_SNAPSHOT_NEVER) {
                    weir_pg_watch_go_live(watch);
                } else {
                    weir_pg_watch_read(watch);
                }
            } else if (!weir_hub_is_paused(&watch->base)) { // no memory for the event
                source->are_gaps_due = true;
                due_ns = now_ns + NO_MEMORY_MS * WEIR_NS_PER_MS;
            }
        }
    }
    return due_ns;
}

// Looks now and then whether the publication is what it was.
static int64_t check_publication(struct weir_pg_source *source, int64_t now_ns) {
    bool is_streaming = source->streams[0].state == WEIR_PG_STREAMING ||
                        source->streams[1].state == WEIR_PG_STREAMING;
    if (!is_streaming) {
        source->check_ns = now_ns + source->resource->heartbeat_ns;
        return INT64_MAX;
    }
    if (now_ns >= source->check_ns) {
        struct weir_error err;
        struct weir_waiter waiter =
            weir_pg_source_waiter(source, now_ns + source->resource->target.timeout_ns);
        // Where it cannot be asked, the streams will notice.
        weir_pg_publication_watch(source, &waiter, &err);
        source->check_ns = weir_clock_monotonic_ns() + source->resource->heartbeat_ns;
    }
    return source->check_ns;
}

// A server that is stopped in order ends all sessions, takes no new ones, and then waits until
// whoever replicates has confirmed what it was sent, for as long as that takes. Handlers may take
// long, and what is not durable must not be confirmed; so when the session for questions is ended
// and there is no other to be had, the streams are let go of. What was not confirmed is told again
// when the server is back, and who had it already passes it over.
static void let_go_of_stopping(struct weir_pg_source *source) {
    struct weir_error err;
    struct weir_waiter waiter = weir_pg_source_waiter(
        source, weir_clock_monotonic_ns() + source->resource->target.timeout_ns);
    if (weir_pg_control(source, &waiter, &err) != WEIR_UNAVAILABLE) {
        return; // it was that session alone, or it is no matter of the server's
    }
    for (int i = 0; i < 2; i++) {
        if (source->streams[i].state != WEIR_PG_DOWN) {
            weir_pg_stream_down(&source->streams[i], &err);
        }
    }
}

// `fds` is what wait_for has filled in, where the first may be the session for questions.
static bool is_session_over(const struct weir_pg_source *source, const struct pollfd *fds,
                            size_t count) {
    return source->control && count > 0 && fds[0].revents &&
           fds[0].fd == PQsocket(source->control) && !weir_pg_is_fresh(source->control);
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    struct weir_pg_source *source = ((struct weir_pg_resource *)context)->source;
    int64_t now_ns = weir_clock_monotonic_ns(), due_ns = INT64_MAX;
    if (is_session_over(source, fds, count)) {
        let_go_of_stopping(source);
    }
    const int64_t dues_ns[] = {work_on(source, &source->streams[0], now_ns),
                               work_on(source, &source->streams[1], now_ns),
                               check_publication(source, now_ns), tell_gaps(source, now_ns),
                               weir_pg_job_work(source, now_ns)};
    for (size_t i = 0; i < sizeof dues_ns / sizeof dues_ns[0]; i++) {
        due_ns = dues_ns[i] < due_ns ? dues_ns[i] : due_ns;
    }
    return due_ns;
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_pg_source *source = ((struct weir_pg_resource *)context)->source;
    size_t count = 0;
    if (source->control && PQsocket(source->control) >= 0) {
        ret_fds[count++] = (struct pollfd){.fd = PQsocket(source->control), .events = POLLIN};
    }
    for (int i = 0; i < 2; i++) {
        const struct weir_pg_stream *stream = &source->streams[i];
        if (stream->state == WEIR_PG_DOWN) {
            continue;
        }
        bool has_output = PQflush(stream->connection) > 0;
        ret_fds[count++] = (struct pollfd){
            .fd = PQsocket(stream->connection),
            .events = (short)((stream->is_held ? 0 : POLLIN) | (has_output ? POLLOUT : 0))};
    }
    int fd = weir_pg_job_fd(source->job);
    if (fd >= 0) {
        ret_fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return count;
}

const struct weir_hub_functions weir_pg_hub_functions = {
    .watch_bytes = sizeof(struct weir_pg_watch),
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .resume = resume,
    .acknowledge = acknowledge,
    .acknowledged = acknowledged,
    .discard = discard,
    .wait_for = wait_for,
    .work = work,
};

// ---- making and ending ----

weir_status weir_pg_source_create(struct weir_pg_resource *resource, struct weir_error *err) {
    struct weir_pg_source *source = calloc(1, sizeof *source);
    if (!source) {
        return weir_fail_no_memory(err, "a resource");
    }
    resource->source = source;
    source->resource = resource;
    source->message = malloc(sizeof *source->message);
    if (!source->message) {
        return weir_fail_no_memory(err, "a resource");
    }
    snprintf(source->event_source, sizeof source->event_source, "/%s", resource->base.name);
    for (int i = 0; i < 2; i++) {
        struct weir_pg_stream *stream = &source->streams[i];
        stream->source = source;
        stream->is_temporary = i == 1;
        stream->rewind_lsn = UINT64_MAX;
        // A temporary one needs a name that no other connection of the cluster has.
        if (stream->is_temporary) {
            snprintf(stream->slot, sizeof stream->slot, "weir_watch_%d_%llx", (int)getpid(),
                     (unsigned long long)weir_clock_wall_ns());
        } else {
            snprintf(stream->slot, sizeof stream->slot, "%s", resource->slot);
        }
    }
    return WEIR_OK;
}

void weir_pg_source_destroy(struct weir_pg_source *source) {
    if (!source) {
        return;
    }
    weir_pg_job_destroy(source->job);
    for (int i = 0; i < 2; i++) {
        weir_pg_stream_close(&source->streams[i]);
    }
    struct weir_pg_table *table, *next;
    HASH_ITER (hh, source->tables, table, next) {
        HASH_DEL(source->tables, table);
        weir_routes_destroy(table->routes);
        free(table);
    }
    PQfinish(source->control);
    free(source->message);
    free(source);
}
