// SPDX-License-Identifier: Apache-2.0
//
// The hub's side of a resource: its one connection, when to look for news, how watches begin and
// end. See watcher.h for how they are told.
//
// Others' commits are found by PRAGMA data_version, which costs some microseconds. It is asked
// every `poll`, and whenever inotify says that the file or its WAL was written to: then again and
// again, after pauses that double from WEIR_SQLITE_PAUSE_NS_MIN, for a write comes before its
// commit is to be seen. What finds the database locked is tried again after the same pauses;
// nothing waits on this thread but the beginning of a watch.
//
// A connection is given up when anything else fails, or when the file at the path is another one:
// it is opened anew, and each watch is looked for in the log that is there then (place.c). Where
// the log is not the one that it was, or has lost what the watch was not told, the watch gets a
// gap, and what is there.
#include "provider/sqlite/watcher.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/sqlite/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    IDLE_S = 10, // before a connection that no watch needs is closed
    BATCHES_AT_ONCE = 8,
    SNAPSHOTS_AT_ONCE = 8,
};

// ---- beginning and ending watches

static weir_status prepare(void *context, struct weir_hub_watch *base,
                           const struct weir_watch_args *args, struct weir_error *err) {
    struct weir_sqlite_watch *watch = weir_sqlite_watch_of(base);
    struct weir_sqlite_position position;
    (void)context;
    if (!args->resume || !weir_sqlite_position_decode(args->resume->position, &position)) {
        return WEIR_OK;
    }
    watch->has_place = true;
    watch->at = position.place;
    memcpy(watch->identity, position.identity, sizeof watch->identity);
    return position.rest.kind == WEIR_SQLITE_REST_NONE
               ? WEIR_OK
               : weir_sqlite_snapshot_resume(watch, &position.rest, err);
}

// Takes a watch out of everything.
static void forget(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    if (watch->is_behind) {
        DL_DELETE2(watcher->behind, watch, prev_behind, next_behind);
        watch->is_behind = false;
    } else {
        watcher->level_count--;
    }
    DL_DELETE(watcher->watches, watch);
    weir_sqlite_consumer_leave(watcher, watch);
    weir_sqlite_delist(watcher, watch);
}

static weir_status enroll(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                          struct weir_error *err) {
    DL_APPEND(watcher->watches, watch);
    DL_APPEND2(watcher->behind, watch, prev_behind, next_behind);
    watch->is_behind = true;
    weir_status status = weir_sqlite_enlist(watcher, watch, err);
    status = status == WEIR_OK ? weir_sqlite_consumer_join(watcher, watch, err) : status;
    if (status != WEIR_OK) {
        forget(watcher, watch);
    }
    return status;
}

static bool is_one(void *context, struct weir_str table) {
    const struct weir_sqlite_watch *watch = context;
    return weir_sqlite_pattern_concerns(&watch->hub.pattern, table);
}

// A watch of one table wants that to be there when it begins, and to be one that can be followed.
static weir_status check_table(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                               struct weir_error *err) {
    bool is_whole;
    struct weir_str text = weir_sqlite_pattern_table(&watch->hub.pattern, &is_whole);
    char *name;
    if (!is_whole || watcher->reader.shapes.is_kv) {
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_table_first(watcher->db, is_one, watch, &name, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_sqlite_table *table;
    status = weir_sqlite_table_read(watcher->db, name ? weir_str_of(name) : text, &table, err);
    if (status == WEIR_OK && !name) {
        char shown[WEIR_SHOW_BYTES];
        status = weir_fail(err, WEIR_NOT_FOUND,
                           "there is no table of that name; the schema spells it \"%s\"",
                           weir_show(weir_str_of(table->name), shown, sizeof shown));
    }
    weir_sqlite_table_free(table);
    free(name);
    return status;
}

// Sets a new watch behind everything that there is now.
static weir_status start(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                         struct weir_error *err) {
    struct weir_sqlite_log_state state;
    char buffer[WEIR_POSITION_BYTES_MAX];
    weir_status status = check_table(watcher, watch, err);
    status = status == WEIR_OK ? weir_sqlite_follow(watcher, watch, err) : status;
    status = status == WEIR_OK ? weir_sqlite_log_look(watcher->db, &state, err) : status;
    if (status != WEIR_OK) {
        return status;
    }
    memcpy(watch->identity, watcher->identity, sizeof watch->identity);
    watch->has_place = watch->is_located = true;
    watch->is_new = false;
    watch->at = state.last;
    struct weir_sqlite_rest rest = {.kind = WEIR_SQLITE_REST_NONE};
    if (watcher->resource->options.snapshot) {
        status = weir_sqlite_snapshot_begin(watch, NULL, err);
        rest.kind = WEIR_SQLITE_REST_TABLE;
    } else {
        weir_sqlite_join(watcher, watch);
    }
    if (status == WEIR_OK) {
        struct weir_str position = {buffer,
                                    weir_sqlite_write_position(watcher, watch->at, &rest, buffer)};
        status = weir_hub_remember(&watch->hub, (struct weir_str){0}, position, err);
        weir_sqlite_consumer_start(watcher, watch);
    }
    return status;
}

// A database that is not there is one that cannot be reached.
static weir_status reach(struct weir_sqlite_watcher *watcher, int64_t until_ns,
                         struct weir_error *err) {
    if (watcher->db && weir_sqlite_db_has_moved(watcher->db)) {
        weir_sqlite_disconnect(watcher);
    }
    if (watcher->db) {
        weir_sqlite_db_bound(watcher->db, until_ns);
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_connect(watcher, until_ns, err);
    return status == WEIR_NOT_FOUND || status == WEIR_DENIED
               ? weir_error_prefix(err, WEIR_UNAVAILABLE, "%s", watcher->resource->base.name)
               : status;
}

static weir_status begin(void *context, struct weir_hub_watch *base, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = context;
    struct weir_sqlite_watch *watch = weir_sqlite_watch_of(base);
    weir_status status = enroll(watcher, watch, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (base->is_resumed) {
        watcher->connect_ns = watcher->db ? watcher->connect_ns : 0;
        watcher->has_unlocated = true;
        watcher->has_unswept |= watch->selector->swept_version != watcher->schema_version;
        return WEIR_OK; // its place is found by work
    }
    watch->is_new = true;
    int64_t bound_ns = weir_clock_monotonic_ns() + watcher->resource->options.timeout_ns;
    status = reach(watcher, bound_ns < until_ns ? bound_ns : until_ns, err);
    status = status == WEIR_OK ? start(watcher, watch, err) : status;
    if (status != WEIR_OK) {
        forget(watcher, watch);
    }
    return status;
}

static void end(void *context, struct weir_hub_watch *base) {
    forget(context, weir_sqlite_watch_of(base));
}

static void discard(struct weir_hub_watch *base) {
    struct weir_sqlite_watch *watch = weir_sqlite_watch_of(base);
    weir_sqlite_snapshot_free(watch->snapshot);
    weir_sqlite_gap_free(watch);
}

static void resume(void *context, struct weir_hub_watch *base) {
    (void)context; // work looks for those that are behind and not paused
    (void)base;
}

static void acknowledge(void *context, struct weir_hub_watch *base, struct weir_event *event) {
    struct weir_sqlite_watcher *watcher = context;
    struct weir_sqlite_position position;
    if (weir_sqlite_position_decode(event->position, &position) &&
        memcmp(position.identity, watcher->identity, sizeof position.identity) == 0) {
        weir_sqlite_consumer_acknowledge(watcher, weir_sqlite_watch_of(base), position.place.seq);
    }
}

// ---- work

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_sqlite_watcher *watcher = context;
    ret_fds[0] = (struct pollfd){.fd = watcher->db ? watcher->wake.fd : -1, .events = POLLIN};
    return 1;
}

// Looks whether others have committed something.
static weir_status look(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    int64_t version = 0;
    weir_status status = weir_sqlite_read_version(watcher, &version, err);
    if (status == WEIR_OK && watcher->busy_since_ns != 0) {
        watcher->busy_since_ns = 0;
        weir_link_up(&watcher->resource->link);
    }
    if (status == WEIR_OK && version != watcher->data_version) {
        watcher->data_version = version;
        watcher->has_news = true;
        watcher->pause_ns = WEIR_SQLITE_PAUSE_NS_MIN;
    }
    return status;
}

// The next look: after twice the time, up to `poll`.
static void plan_look(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    int64_t poll_ns = watcher->resource->options.poll_ns;
    watcher->look_ns = now_ns + watcher->pause_ns;
    watcher->pause_ns = 2 * watcher->pause_ns < poll_ns ? 2 * watcher->pause_ns : poll_ns;
}

// Gaps and what is there, a part for each of some watches.
static weir_status tell_snapshots(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                                  struct weir_error *err) {
    struct weir_sqlite_watch *watch, *next;
    weir_status status = WEIR_OK;
    int steps = 0;
    DL_FOREACH_SAFE2(watcher->behind, watch, next, next_behind) {
        if (status != WEIR_OK || !(watch->gap || watch->snapshot)) {
            continue;
        }
        if (steps == SNAPSHOTS_AT_ONCE) {
            *ret_has_more = true;
            break;
        }
        bool has_more;
        status = weir_sqlite_snapshot_step(watcher, watch, &has_more, err);
        *ret_has_more = *ret_has_more || has_more;
        steps += has_more;
    }
    return status;
}

static weir_status tell(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                        struct weir_error *err) {
    bool has_more = watcher->has_news && watcher->level_count > 0;
    weir_status status = WEIR_OK;
    for (int i = 0; status == WEIR_OK && has_more && i < BATCHES_AT_ONCE; i++) {
        status = weir_sqlite_tell_level(watcher, &has_more, err);
    }
    if (status == WEIR_OK) {
        watcher->has_news = has_more;
    }
    *ret_has_more = has_more;
    if (status == WEIR_OK && watcher->behind) {
        status = weir_sqlite_tell_behind(watcher, &has_more, err);
        *ret_has_more = *ret_has_more || has_more;
        status = status == WEIR_OK ? tell_snapshots(watcher, ret_has_more, err) : status;
    }
    return status;
}

// One round. *ret_has_more: there is more to do at once.
static weir_status go_round(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                            struct weir_error *err) {
    int64_t now_ns = weir_clock_monotonic_ns();
    weir_status status = WEIR_OK;
    *ret_has_more = false;
    if (watcher->look_ns <= now_ns) {
        status = look(watcher, err);
        plan_look(watcher, now_ns);
    }
    if (status == WEIR_OK && (watcher->has_news || watcher->has_unswept)) {
        status = weir_sqlite_follow(watcher, NULL, err);
    }
    status = status == WEIR_OK ? weir_sqlite_locate_all(watcher, err) : status;
    return status == WEIR_OK ? tell(watcher, ret_has_more, err) : status;
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The database is locked: it is tried again soon, and said of the resource if it lasts.
static int64_t wait_for_lock(struct weir_sqlite_watcher *watcher, const struct weir_error *err) {
    int64_t now_ns = weir_clock_monotonic_ns();
    if (watcher->busy_since_ns == 0) {
        watcher->busy_since_ns = now_ns;
    }
    const struct weir_sqlite_options *options = &watcher->resource->options;
    if (now_ns - watcher->busy_since_ns >= options->timeout_ns) {
        weir_link_down(&watcher->resource->link,
                       err); // to look again costs little, and is not put off
    }
    watcher->look_ns = sooner(watcher->look_ns, now_ns + options->poll_ns);
    return watcher->look_ns;
}

static int64_t fail(struct weir_sqlite_watcher *watcher, weir_status status,
                    const struct weir_error *err) {
    if (status == WEIR_NO_MEMORY) {
        return weir_clock_monotonic_ns() + WEIR_HUB_NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
    }
    if (status == WEIR_AGAIN) { // the log is another one: everything is looked for anew
        weir_sqlite_disconnect(watcher);
        return 0;
    }
    if (weir_hub_is_ending(watcher->resource->hub)) { // it was interrupted by that
        return 0;
    }
    if (watcher->db->was_busy) {
        return wait_for_lock(watcher, err);
    }
    weir_sqlite_disconnect(watcher);
    watcher->connect_ns = weir_link_down(&watcher->resource->link, err);
    return watcher->connect_ns;
}

static int64_t connect_again(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    struct weir_error err;
    if (now_ns < watcher->connect_ns) {
        return watcher->connect_ns;
    }
    weir_status status =
        weir_sqlite_connect(watcher, now_ns + watcher->resource->options.timeout_ns, &err);
    watcher->connect_ns = status == WEIR_OK ? 0 : weir_link_down(&watcher->resource->link, &err);
    return watcher->connect_ns;
}

// Whether the file is another one, or gone.
static bool has_moved(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    struct weir_sqlite_news news = weir_sqlite_wake_read(&watcher->wake);
    if (news.is_written) {
        watcher->pause_ns = WEIR_SQLITE_PAUSE_NS_MIN;
        watcher->look_ns = 0;
    }
    if (!news.is_renamed && now_ns < watcher->moved_ns) {
        return false;
    }
    watcher->moved_ns = now_ns + WEIR_SQLITE_MOVED_MS * WEIR_NS_PER_MS;
    return weir_sqlite_db_has_moved(watcher->db);
}

// Without watches: what was acknowledged is written, and after a while the file is let go of.
static int64_t stay_for_a_while(struct weir_sqlite_watcher *watcher, int64_t now_ns) {
    if (watcher->idle_ns == 0) {
        watcher->idle_ns = now_ns + IDLE_S * WEIR_NS_PER_S;
    }
    if (watcher->idle_ns <= now_ns || has_moved(watcher, now_ns)) {
        weir_sqlite_disconnect(watcher);
        return INT64_MAX;
    }
    weir_sqlite_db_bound(watcher->db, now_ns + watcher->resource->options.timeout_ns);
    watcher->db->busy_ns = 0;
    return watcher->has_dirty ? sooner(weir_sqlite_consume(watcher, now_ns), watcher->idle_ns)
                              : watcher->idle_ns;
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    struct weir_sqlite_watcher *watcher = context;
    (void)fds;
    (void)count;
    int64_t now_ns = weir_clock_monotonic_ns();
    if (!watcher->db) {
        return watcher->watches ? connect_again(watcher, now_ns) : INT64_MAX;
    }
    if (!watcher->watches) {
        return stay_for_a_while(watcher, now_ns);
    }
    watcher->idle_ns = 0;
    if (has_moved(watcher, now_ns)) {
        weir_sqlite_disconnect(watcher);
        return 0;
    }
    struct weir_error err = {0};
    bool has_more;
    weir_sqlite_db_bound(watcher->db, now_ns + watcher->resource->options.timeout_ns);
    watcher->db->busy_ns = 0; // nothing waits here
    weir_status status = go_round(watcher, &has_more, &err);
    if (status != WEIR_OK) {
        return fail(watcher, status, &err);
    }
    int64_t due_ns = sooner(weir_sqlite_consume(watcher, now_ns), watcher->look_ns);
    return has_more ? 0 : due_ns;
}

// The last that is called when the hub ends.
static void acknowledged(void *context) {
    struct weir_sqlite_watcher *watcher = context;
    if (weir_hub_is_ending(watcher->resource->hub) && watcher->db) {
        watcher->db->outlives = true;
        weir_sqlite_consume_rest(watcher,
                                 weir_clock_monotonic_ns() + WEIR_HUB_END_WAIT_MS * WEIR_NS_PER_MS);
    }
}

const struct weir_hub_functions weir_sqlite_hub_functions = {
    .watch_bytes = sizeof(struct weir_sqlite_watch),
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

// ---- making and ending

weir_status weir_sqlite_watcher_create(struct weir_sqlite_resource *resource,
                                       struct weir_sqlite_watcher **ret_watcher,
                                       struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = calloc(1, sizeof *watcher);
    *ret_watcher = watcher;
    if (!watcher) {
        return weir_fail_no_memory(err, "a resource");
    }
    watcher->resource = resource;
    watcher->schema_version = -1;
    watcher->wake.fd = -1;
    if (asprintf(&watcher->source, "/%s", resource->base.name) < 0) {
        watcher->source = NULL;
    }
    watcher->routes = weir_routes_create();
    if (!watcher->source || !watcher->routes) {
        return weir_fail_no_memory(err, "a resource");
    }
    return weir_sqlite_reader_init(&watcher->reader, weir_str_of(watcher->source),
                                   resource->options.kv != NULL, err);
}

void weir_sqlite_watcher_destroy(struct weir_sqlite_watcher *watcher) {
    if (!watcher) {
        return;
    }
    if (watcher->db) {
        watcher->db->hub = NULL; // which is gone
        weir_sqlite_consume_rest(watcher,
                                 weir_clock_monotonic_ns() + WEIR_HUB_END_WAIT_MS * WEIR_NS_PER_MS);
        weir_sqlite_disconnect(watcher);
    }
    weir_sqlite_consumers_free(watcher);
    weir_sqlite_reader_finish(&watcher->reader);
    weir_routes_destroy(watcher->routes);
    free(watcher->source);
    free(watcher);
}
