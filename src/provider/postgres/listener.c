// SPDX-License-Identifier: Apache-2.0
//
// See listener.h. A payload that is a CloudEvent in JSON, as weir publishes one, is that event, and
// its subject is its key; any other is an event of type dev.weir.message, whose key is the channel.
//
// The hub's thread, but for `discard`.
#include "provider/postgres/listener.h"

#include "base/clock.h"
#include "provider/postgres/post.h"
#include "provider/routes.h"
#include "provider/subject.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    AT_ONCE_MAX = 1024,       // notifications, before there is something else
    HELD_MAX = 1024,          // events that wait for one sink, ...
    HELD_BYTES_MAX = 4 << 20, // ... and bytes
    BEGIN_RESERVE_MS = 500,   // of the time for a watch, for what comes behind the server's answers
    REVISION_BYTES = 2 * WEIR_TIME_BYTES,
    CHANNEL_BYTES = 2 * WEIR_PG_NAME_BYTES + 4,
    REASON_BYTES = 100,
};

// An event that waits for a sink.
struct held {
    struct weir_event *event;
    struct held *prev, *next;
};

struct watch {
    struct weir_hub_watch base;
    struct weir_route route;
    bool is_done;      // the sink wants nothing more
    struct held *held; // in the order in which they came
    size_t held_count, held_bytes;
    uint64_t dropped; // since there was no room to hold more
    struct watch *prev, *next;
};

struct weir_pg_listener {
    struct weir_pg_resource *resource;
    char event_source[WEIR_NAME_BYTES_MAX + 2];
    struct weir_routes *routes;
    struct watch *watches;
    PGconn *connection;   // NULL: there is none
    int64_t retry_ns;     // when to connect again
    int64_t heard_ns;     // when the server said something
    int64_t away_wall_ns; // since when notifications may have been missed; 0: none were
    uint64_t number;      // of the last notification
};

static struct weir_pg_listener *listener_of(void *context) {
    return ((struct weir_pg_resource *)context)->listener;
}

static struct watch *watch_of(struct weir_hub_watch *base) {
    return (struct watch *)base;
}

// ---- events that wait ----

static void drop_held(struct watch *watch, struct held *held) {
    DL_DELETE(watch->held, held);
    watch->held_count--;
    watch->held_bytes -= held->event->size_bytes;
    weir_event_unref(held->event);
    free(held);
}

// WEIR_NO_MEMORY.
static weir_status hold(struct watch *watch, struct weir_event *event) {
    struct held *held = malloc(sizeof *held);
    if (!held) {
        return WEIR_NO_MEMORY;
    }
    held->event = weir_event_ref(event);
    DL_APPEND(watch->held, held);
    watch->held_count++;
    watch->held_bytes += event->size_bytes;
    return WEIR_OK;
}

// What was missed between two moments, or two notifications.
static struct weir_event *make_gap(const struct weir_pg_listener *listener,
                                   const struct watch *watch, const char *from, const char *to,
                                   const char *reason) {
    struct weir_event *event = NULL;
    const struct weir_gap gap = {
        .source = weir_str_of(listener->event_source),
        .pattern = watch->base.pattern.text,
        .from = weir_str_of(from),
        .to = weir_str_of(to),
        .reason = weir_str_of(reason),
    };
    return weir_event_of_gap(&gap, &event, NULL) == WEIR_OK ? event : NULL;
}

// Has a gap wait, which says what was dropped.
static void hold_dropped(const struct weir_pg_listener *listener, struct watch *watch) {
    char reason[REASON_BYTES], from[24], to[24];
    snprintf(reason, sizeof reason, "%" PRIu64 " notifications were dropped: the queue was full",
             watch->dropped);
    snprintf(from, sizeof from, "%" PRIu64, listener->number - watch->dropped);
    snprintf(to, sizeof to, "%" PRIu64, listener->number + 1);
    struct weir_event *gap = make_gap(listener, watch, from, to, reason);
    if (gap && hold(watch, gap) == WEIR_OK) { // else when memory is there
        watch->dropped = 0;
    }
    weir_event_unref(gap);
}

// Offers what waits, in order.
static void drain(const struct weir_pg_listener *listener, struct watch *watch) {
    for (;;) { // ends: what waits gets less, and a gap comes once
        if (!watch->held && watch->dropped > 0) {
            hold_dropped(listener, watch);
        }
        if (!watch->held || watch->is_done || weir_hub_is_paused(&watch->base)) {
            return;
        }
        weir_status status = weir_hub_offer(&watch->base, watch->held->event);
        if (status == WEIR_AGAIN) {
            return;
        }
        watch->is_done |= status == WEIR_STOPPED;
        drop_held(watch, watch->held);
    }
}

// It waits for the sink where that has no room; where there is no room here either it is dropped.
static void tell(const struct weir_pg_listener *listener, struct watch *watch,
                 struct weir_event *event) {
    if (watch->is_done) {
        return;
    }
    bool is_full =
        watch->dropped > 0 || watch->held_count >= HELD_MAX || watch->held_bytes >= HELD_BYTES_MAX;
    if (is_full || !event || hold(watch, event) != WEIR_OK) {
        watch->dropped++;
    }
    drain(listener, watch);
}

// ---- notifications ----

// A notification, and what it says.
struct notification {
    struct weir_pg_post post;
    json_t *attributes;
    struct weir_str opened; // its data, where it was a CloudEvent
    struct weir_subject_buffer subject;
    char revision[REVISION_BYTES], time[WEIR_TIME_BYTES];
};

static weir_status open_notification(struct weir_pg_listener *listener, const PGnotify *told,
                                     struct notification *notification) {
    struct weir_str text = weir_str_of(told->extra);
    bool has_data = false;
    int64_t wall_ns = weir_clock_wall_ns();
    weir_status status =
        weir_pg_post_open(text, &notification->attributes, &has_data, &notification->opened, NULL);
    bool is_event = notification->attributes != NULL;
    // Nothing tells one from another but when it came.
    weir_time_format(wall_ns, notification->time);
    snprintf(notification->revision, sizeof notification->revision, "%" PRIu64 ":%s",
             listener->number, notification->time);
    notification->post = (struct weir_pg_post){
        .source = weir_str_of(listener->event_source),
        .key = is_event ? weir_pg_post_key(notification->attributes, &notification->subject)
                        : weir_str_of(told->relname),
        .revision = weir_str_of(notification->revision),
        .attributes = notification->attributes,
        .has_data = is_event ? has_data : text.size > 0,
        .data = is_event ? notification->opened : text,
        .wall_ns = is_event ? 0 : wall_ns,
    };
    return status;
}

static void tell_all(struct weir_pg_listener *listener, struct notification *notification) {
    struct weir_event *event = NULL;
    uint64_t event_bytes_max = 0;
    struct weir_routes_walk walk = weir_routes_first(listener->routes, notification->post.key);
    for (; walk.route; weir_routes_next(&walk)) {
        struct watch *watch = walk.route->watch;
        if (!event || event_bytes_max != watch->base.event_bytes_max) {
            weir_event_unref(event);
            event_bytes_max = notification->post.event_bytes_max = watch->base.event_bytes_max;
            if (weir_pg_post_event(&notification->post, &event, NULL) != WEIR_OK) {
                event = NULL; // counted as dropped
            }
        }
        tell(listener, watch, event);
    }
    weir_event_unref(event);
}

static void take_notification(struct weir_pg_listener *listener, const PGnotify *told) {
    struct notification *notification = calloc(1, sizeof *notification);
    listener->number++;
    if (notification && open_notification(listener, told, notification) == WEIR_OK) {
        tell_all(listener, notification);
    } else { // no memory
        for (struct watch *watch = listener->watches; watch; watch = watch->next) {
            tell(listener, watch, NULL);
        }
    }
    if (notification) {
        json_decref(notification->attributes);
        free((char *)(uintptr_t)notification->opened.data);
    }
    free(notification);
}

// ---- the connection ----

static void disconnect(struct weir_pg_listener *listener) {
    PQfinish(listener->connection);
    listener->connection = NULL;
}

static void lose_connection(struct weir_pg_listener *listener, const struct weir_error *cause) {
    disconnect(listener);
    if (listener->away_wall_ns == 0) {
        listener->away_wall_ns = weir_clock_wall_ns();
    }
    listener->retry_ns = weir_link_down(&listener->resource->link, cause);
}

// Takes what has come, a bounded part of it. Whether there may be more.
static bool take_notifications(struct weir_pg_listener *listener, bool is_readable) {
    struct weir_error err;
    if (!listener->connection) {
        return false;
    }
    if (is_readable && !weir_pg_consume(listener->connection)) {
        weir_pg_fail_connection(listener->connection, &err);
        lose_connection(listener, &err);
        return false;
    }
    for (int i = 0; i < AT_ONCE_MAX; i++) {
        PGnotify *told = PQnotifies(listener->connection);
        if (!told) {
            return false;
        }
        listener->heard_ns = weir_clock_monotonic_ns();
        take_notification(listener, told);
        PQfreemem(told);
    }
    return true;
}

// A statement that has neither parameters nor a result that anybody reads.
static weir_status run(struct weir_pg_listener *listener, const char *text,
                       const struct weir_waiter *waiter, struct weir_error *err) {
    struct weir_pg_answer answer;
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    weir_status status = weir_pg_run(listener->connection, waiter, &statement, &answer, err);
    PQclear(answer.result);
    return status;
}

static weir_status listen_to_all(struct weir_pg_listener *listener,
                                 const struct weir_waiter *waiter, struct weir_error *err) {
    const struct weir_pg_resource *resource = listener->resource;
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < resource->channel_count; i++) {
        char text[CHANNEL_BYTES + 16], quoted[CHANNEL_BYTES];
        snprintf(text, sizeof text, "LISTEN %s",
                 weir_pg_quote(resource->channels[i], quoted, sizeof quoted));
        status = run(listener, text, waiter, err);
    }
    return status;
}

// What was sent until the server listens again is missed.
static void tell_missed(struct weir_pg_listener *listener) {
    char from[WEIR_TIME_BYTES], to[WEIR_TIME_BYTES];
    if (listener->away_wall_ns == 0) {
        return;
    }
    weir_time_format(listener->away_wall_ns, from);
    weir_time_format(weir_clock_wall_ns(), to);
    listener->away_wall_ns = 0;
    for (struct watch *watch = listener->watches; watch; watch = watch->next) {
        struct weir_event *gap =
            make_gap(listener, watch, from, to,
                     "the connection was lost; PostgreSQL keeps nothing of notifications");
        tell(listener, watch, gap);
        weir_event_unref(gap);
    }
}

static weir_status connect_now(struct weir_pg_listener *listener, int64_t until_ns,
                               struct weir_error *err) {
    struct weir_waiter outer = {.hub = listener->resource->hub, .until_ns = until_ns};
    struct weir_waiter waiter = weir_waiter_within(&outer, listener->resource->target.timeout_ns);
    weir_status status = weir_pg_connect(&listener->resource->target, WEIR_PG_SQL, &waiter,
                                         &listener->connection, err);
    status = status == WEIR_OK ? listen_to_all(listener, &waiter, err) : status;
    if (status != WEIR_OK) {
        lose_connection(listener, err);
        return status;
    }
    weir_link_up(&listener->resource->link);
    listener->heard_ns = weir_clock_monotonic_ns();
    tell_missed(listener);
    return WEIR_OK;
}

// Asks a server that says nothing whether it is there. Returns when to ask again.
static int64_t listen_for_life(struct weir_pg_listener *listener, int64_t now_ns) {
    int64_t ask_ns = listener->heard_ns + listener->resource->heartbeat_ns;
    if (now_ns < ask_ns) {
        return ask_ns;
    }
    struct weir_error err;
    struct weir_waiter waiter = {.hub = listener->resource->hub,
                                 .until_ns = now_ns + listener->resource->target.timeout_ns};
    if (run(listener, "SELECT 1", &waiter, &err) != WEIR_OK) {
        lose_connection(listener, &err);
        return listener->retry_ns;
    }
    listener->heard_ns = weir_clock_monotonic_ns();
    return take_notifications(listener, false)
               ? 0 // that came with the answer
               : listener->heard_ns + listener->resource->heartbeat_ns;
}

// ---- watches ----

static void detach(struct weir_pg_listener *listener, struct watch *watch) {
    weir_routes_remove(listener->routes, &watch->route);
    DL_DELETE(listener->watches, watch);
    if (!listener->watches) {
        disconnect(listener);
        listener->away_wall_ns = 0;
    }
}

static weir_status begin(void *context, struct weir_hub_watch *base, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_pg_listener *listener = listener_of(context);
    struct watch *watch = watch_of(base);
    if (!listener->connection) {
        weir_status status =
            connect_now(listener, until_ns - BEGIN_RESERVE_MS * WEIR_NS_PER_MS, err);
        if (status != WEIR_OK) {
            listener->away_wall_ns = listener->watches ? listener->away_wall_ns : 0;
            return status == WEIR_OTHER ? WEIR_UNAVAILABLE : status;
        }
    }
    weir_status status =
        weir_routes_add(listener->routes, &base->pattern, watch, &watch->route, err);
    if (status == WEIR_OK) {
        DL_APPEND(listener->watches, watch);
    } else if (!listener->watches) {
        disconnect(listener);
    }
    return status;
}

static void end(void *context, struct weir_hub_watch *base) {
    detach(listener_of(context), watch_of(base));
}

static void discard(struct weir_hub_watch *base) {
    struct watch *watch = watch_of(base);
    while (watch->held) {
        drop_held(watch, watch->held);
    }
}

static void resume(void *context, struct weir_hub_watch *base) {
    drain(listener_of(context), watch_of(base));
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    struct weir_pg_listener *listener = listener_of(context);
    struct weir_error err;
    int64_t now_ns = weir_clock_monotonic_ns();
    if (!listener->watches) {
        return INT64_MAX;
    }
    if (!listener->connection) {
        if (now_ns < listener->retry_ns || connect_now(listener, INT64_MAX, &err) != WEIR_OK) {
            return listener->retry_ns;
        }
        count = 0; // what is ready is of another connection
    }
    if (take_notifications(listener, count > 0 && fds[0].revents != 0)) {
        return 0;
    }
    return listener->connection ? listen_for_life(listener, now_ns) : listener->retry_ns;
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_pg_listener *listener = listener_of(context);
    if (!listener->connection || PQsocket(listener->connection) < 0) {
        return 0;
    }
    ret_fds[0] = (struct pollfd){.fd = PQsocket(listener->connection), .events = POLLIN};
    return 1;
}

const struct weir_hub_functions weir_pg_listener_hub_functions = {
    .watch_bytes = sizeof(struct watch),
    .begin = begin,
    .end = end,
    .resume = resume,
    .discard = discard,
    .wait_for = wait_for,
    .work = work,
};

// ---- making and ending ----

weir_status weir_pg_listener_create(struct weir_pg_resource *resource, struct weir_error *err) {
    struct weir_pg_listener *listener = calloc(1, sizeof *listener);
    resource->listener = listener;
    if (listener) {
        listener->resource = resource;
        snprintf(listener->event_source, sizeof listener->event_source, "/%s", resource->base.name);
        listener->routes = weir_routes_create();
    }
    return listener && listener->routes ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

void weir_pg_listener_destroy(struct weir_pg_listener *listener) {
    if (listener) {
        disconnect(listener);
        weir_routes_destroy(listener->routes);
        free(listener);
    }
}
