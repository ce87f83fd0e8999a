// SPDX-License-Identifier: Apache-2.0
//
// The hub's functions: the connection of all watches, what comes over it, and what sinks and
// callers ask. See consumer.c for how a watch finds its consumer.
//
// The connection is made where there are watches; while it cannot be, the hub's thread tries again
// with the link's backoff, each time for at most the resource's timeout. When nothing has come for
// a while it asks the server whether it is there (PING), and gives the connection up when it does
// not say so within the timeout.
#include "provider/nats/resource.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/progress.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum { FAR_BEHIND = 1000 }; // messages that are still to come, from which on it is told

static struct weir_nats_watch *watch_of(struct weir_hub_watch *base) {
    return (struct weir_nats_watch *)base;
}

// ---- the connection ----

void weir_nats_disconnect(struct weir_nats_resource *resource, const struct weir_error *cause) {
    if (!resource->client) {
        return;
    }
    weir_nats_client_close(resource->client);
    resource->client = NULL;
    resource->ping_ns = 0;
    struct weir_nats_watch *watch, *next;
    HASH_ITER (hh, resource->watches, watch, next) {
        watch->is_subscribed = false;
        watch->outstanding = 0;
        if (watch->away_wall_ns == 0) {
            watch->away_wall_ns = weir_clock_wall_ns();
        }
        if (watch->stage != WEIR_NATS_GAPPED && watch->stage != WEIR_NATS_IDLE) {
            weir_nats_queue(resource, watch);
        }
    }
    resource->connect_ns = weir_link_down(&resource->link, cause);
}

// What the stream is now. Where it is not there, its watches will say so.
static weir_status learn_stream(struct weir_nats_resource *resource,
                                struct weir_nats_client *client, const struct weir_waiter *waiter,
                                struct weir_error *err) {
    struct weir_nats_frame frame;
    struct weir_nats_fault fault;
    struct weir_nats_stream stream;
    char subject[128];
    resource->stream_hash = 0;
    snprintf(subject, sizeof subject, "STREAM.INFO.%s", resource->stream);
    weir_status status = weir_nats_api_ask(resource, client, waiter, subject, "", &frame, err);
    if (status != WEIR_OK) {
        return status == WEIR_DENIED ? WEIR_OK : status;
    }
    json_t *answer = weir_nats_api_read(&frame, &fault);
    if (answer && weir_nats_stream_read(answer, &stream)) {
        resource->stream_hash = XXH3_64bits(stream.created, strlen(stream.created));
    }
    json_decref(answer);
    return WEIR_OK;
}

// Subscribes to the plain subjects that were watched before, and waits until the server has read
// that: what was sent until then is missed, and it is told as a gap only behind it.
static weir_status subscribe_again(struct weir_nats_resource *resource,
                                   struct weir_nats_client *client,
                                   const struct weir_waiter *waiter, struct weir_error *err) {
    struct weir_nats_watch *watch, *next;
    weir_status status = WEIR_OK;
    HASH_ITER (hh, resource->watches, watch, next) {
        if (status == WEIR_OK && watch->was_live) {
            status = weir_nats_client_subscribe(client, weir_str_of(watch->filter), watch->id, err);
            watch->is_subscribed = status == WEIR_OK;
        }
    }
    status = status == WEIR_OK ? weir_nats_client_flush(client, waiter, err) : status;
    return status == WEIR_DENIED ? WEIR_OK : status; // a right is missing, not the connection
}

// Connects, within the timeout and until the moment.
static weir_status connect_now(struct weir_nats_resource *resource, int64_t until_ns,
                               struct weir_error *err) {
    const struct weir_waiter waiter = {.hub = resource->hub,
                                       .until_ns = weir_nats_until_ns(resource, until_ns)};
    struct weir_nats_client *client = NULL;
    weir_status status = weir_nats_connect(resource, &waiter, &client, err);
    if (status == WEIR_OK) {
        status = resource->stream[0] ? learn_stream(resource, client, &waiter, err)
                                     : subscribe_again(resource, client, &waiter, err);
    }
    if (status != WEIR_OK) {
        weir_nats_client_close(client);
        if (status != WEIR_STOPPED) {
            resource->connect_ns = weir_link_down(&resource->link, err);
        }
        return status;
    }
    weir_nats_client_forgive(client);
    resource->client = client;
    weir_link_up(&resource->link);
    return WEIR_OK;
}

// Whether the server is there though nothing comes. Returns the next moment to look.
static int64_t listen_for_life(struct weir_nats_resource *resource, int64_t now_ns) {
    int64_t heard_ns = weir_nats_client_heard_ns(resource->client);
    if (resource->ping_ns != 0 && heard_ns >= resource->ping_ns) {
        resource->ping_ns = 0;
    }
    if (resource->ping_ns == 0) {
        int64_t ask_ns = heard_ns + WEIR_NATS_QUIET_MS * WEIR_NS_PER_MS;
        if (now_ns < ask_ns) {
            return ask_ns;
        }
        resource->ping_ns = now_ns;
        weir_nats_client_ping(resource->client, NULL);
    }
    int64_t lost_ns = resource->ping_ns + resource->options.timeout_ns;
    if (now_ns >= lost_ns) {
        struct weir_error error;
        weir_fail(&error, WEIR_UNAVAILABLE, "the NATS server has been silent for %d seconds",
                  (int)((now_ns - heard_ns) / WEIR_NS_PER_S));
        weir_nats_disconnect(resource, &error);
        return 0;
    }
    return lost_ns;
}

// ---- messages ----

bool weir_nats_drain(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    if (weir_hub_is_paused(&watch->base) || watch->is_done ||
        !weir_nats_gap_offer(resource, watch)) {
        return false;
    }
    while (watch->held) { // ends: it gets shorter
        struct weir_nats_flight *flight = watch->held;
        weir_status status = weir_hub_offer(&watch->base, flight->event);
        if (status != WEIR_OK) {
            watch->is_done |= status == WEIR_STOPPED;
            return false;
        }
        weir_nats_flight_release(flight);
        if (!resource->stream[0] || flight->is_settled) { // nobody hears of it any more
            weir_nats_flight_let_go(resource, flight);
        }
    }
    if (watch->dropped > 0) { // of a plain subject: there is room to say so
        char count[64];
        snprintf(count, sizeof count, "%" PRIu64 " messages were dropped: the queue was full",
                 watch->dropped);
        watch->dropped = 0;
        char from[24], to[24];
        snprintf(from, sizeof from, "%" PRIu64, watch->number);
        snprintf(to, sizeof to, "%" PRIu64, watch->number + 1);
        weir_nats_gap_open(resource, watch, from, to, count);
        return weir_nats_gap_offer(resource, watch);
    }
    return true;
}

// There is no memory for a message. It is told again, before newer ones, when the connection is
// made anew.
static void give_up(struct weir_nats_resource *resource) {
    struct weir_error error;
    weir_fail_no_memory(&error, "a message");
    weir_nats_disconnect(resource, &error);
}

// Offers an event, or keeps it where there is no room. What keeps it is made first, so that nothing
// that was taken is told again for want of memory. `reply` empty: of a plain subject.
static weir_status tell(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        uint64_t sequence, struct weir_str reply, struct weir_event *event) {
    bool waits = watch->held || !weir_nats_drain(resource, watch);
    if (watch->is_done) {
        return WEIR_OK; // it stays at the server
    }
    struct weir_nats_flight *flight = weir_nats_flight_add(resource, watch, sequence, reply);
    if (!flight) {
        return WEIR_NO_MEMORY;
    }
    weir_status status = waits ? WEIR_AGAIN : weir_hub_offer(&watch->base, event);
    if (status == WEIR_AGAIN) {
        weir_nats_flight_hold(flight, event);
    } else if (status != WEIR_OK || reply.size == 0) { // nobody hears of it any more
        weir_nats_flight_let_go(resource, flight);
    }
    watch->is_done |= status == WEIR_STOPPED;
    return WEIR_OK;
}

// Counts what comes to a watch that is far behind, until it is not behind at all. Each message says
// how many are still to come.
static void measure(struct weir_nats_watch *watch, const struct weir_nats_delivery *delivery) {
    struct weir_meter *meter = watch->base.meter;
    if (!watch->is_measured && delivery->pending < FAR_BEHIND) {
        return;
    }
    if (!watch->is_measured) {
        watch->is_measured = true;
        watch->measured = 0;
        weir_meter_begin(meter,
                         delivery->sequence <= watch->snapshot_to ? "snapshot" : "catching up", 0);
    }
    watch->measured++;
    weir_meter_add(meter, 1);
    weir_meter_estimate(meter, watch->measured + delivery->pending);
    if (delivery->pending == 0) {
        watch->is_measured = false;
        weir_meter_end(meter);
    }
}

static void take_stored(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const struct weir_nats_frame *frame) {
    struct weir_nats_message message = {.frame = frame};
    struct weir_error error;
    if (!weir_nats_delivery_read(frame->reply, &message.delivery)) {
        return; // it has no place in the stream: it is somebody's request
    }
    uint64_t sequence = message.delivery.sequence;
    watch->outstanding -= watch->outstanding > 0;
    if (watch->stage == WEIR_NATS_EMPTYING) {
        weir_nats_emptied(resource, watch);
        return;
    }
    watch->came++;
    measure(watch, &message.delivery);
    watch->seen = sequence > watch->seen ? sequence : watch->seen;
    watch->is_seen_known = true;
    if (weir_nats_flight_find(watch, sequence) || watch->is_done) {
        return; // it is held still
    }
    message.is_snapshot = sequence <= watch->snapshot_to;
    struct weir_event *event;
    weir_status status = weir_nats_event_of(resource, &watch->base, &message, &event, &error);
    if (status == WEIR_OK && !event) { // none of this watch's
        char reply[512];
        snprintf(reply, sizeof reply, "%.*s", WEIR_STR_ARG(frame->reply));
        weir_nats_flight_answer(resource, reply, "+ACK");
        return;
    }
    status = status == WEIR_OK ? tell(resource, watch, sequence, frame->reply, event) : status;
    weir_event_unref(event);
    if (status != WEIR_OK) {
        give_up(resource);
    }
}

static void take_plain(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                       const struct weir_nats_frame *frame) {
    struct weir_nats_message message = {.frame = frame, .number = ++watch->number};
    struct weir_error error;
    struct weir_event *event = NULL;
    if (watch->is_done) {
        return;
    }
    weir_status status = weir_nats_event_of(resource, &watch->base, &message, &event, &error);
    bool is_full = watch->held_count >= WEIR_NATS_SUBJECT_HELD_MAX ||
                   watch->held_bytes >= WEIR_NATS_SUBJECT_HELD_BYTES_MAX || watch->dropped > 0;
    if (status == WEIR_OK && event && !is_full) {
        status = tell(resource, watch, message.number, (struct weir_str){0}, event);
    } else {
        is_full = event != NULL;
    }
    weir_event_unref(event);
    watch->dropped += status != WEIR_OK || (is_full && watch->held) ? 1 : 0;
}

static void dispatch(struct weir_nats_resource *resource, const struct weir_nats_frame *frame) {
    struct weir_nats_watch *watch;
    HASH_FIND(hh, resource->watches, &frame->subscription, sizeof frame->subscription, watch);
    if (!watch) {
        return; // it has ended
    }
    const char *inbox = weir_nats_client_inbox(resource->client);
    if (resource->stream[0] && weir_str_has_prefix(frame->subject, weir_str_of(inbox))) {
        weir_nats_answered(resource, watch, frame);
    } else if (resource->stream[0]) {
        take_stored(resource, watch, frame);
        weir_nats_pull(resource, watch);
    } else {
        take_plain(resource, watch, frame);
    }
}

// Takes what has come, some of it. Returns whether there is more.
static bool take_frames(struct weir_nats_resource *resource, bool is_readable) {
    struct weir_error error = {0};
    weir_status status = is_readable ? weir_nats_client_receive(resource->client, &error) : WEIR_OK;
    for (int i = 0; status == WEIR_OK && i < WEIR_NATS_FRAMES_AT_ONCE_MAX; i++) {
        struct weir_nats_frame frame;
        status = weir_nats_client_next(resource->client, &frame, &error);
        if (status == WEIR_OK) {
            dispatch(resource, &frame);
            if (!resource->client) {
                return false;
            }
        }
    }
    if (status != WEIR_OK && status != WEIR_AGAIN) {
        weir_nats_disconnect(resource, &error);
        return false;
    }
    return status == WEIR_OK;
}

static void send_out(struct weir_nats_resource *resource) {
    struct weir_error error;
    if (resource->client && weir_nats_client_send(resource->client, &error) != WEIR_OK) {
        weir_nats_disconnect(resource, &error);
    }
}

// Does all there is to do, a bounded part of it. Returns the next moment.
static int64_t turn(struct weir_nats_resource *resource, bool is_readable) {
    bool has_more = resource->client && take_frames(resource, is_readable);
    int64_t now_ns = weir_clock_monotonic_ns();
    int64_t due_ns = weir_nats_timers_run(resource, now_ns);
    weir_nats_set_up(resource);
    int64_t signal_ns = weir_nats_flights_signal(resource, now_ns);
    int64_t life_ns = resource->client ? listen_for_life(resource, now_ns) : INT64_MAX;
    send_out(resource);
    due_ns = signal_ns < due_ns ? signal_ns : due_ns;
    due_ns = life_ns < due_ns ? life_ns : due_ns;
    due_ns = resource->client ? due_ns : resource->connect_ns;
    return has_more && resource->client ? 0 : due_ns;
}

static size_t hub_wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_nats_resource *resource = context;
    if (!resource->client) {
        return 0;
    }
    ret_fds[0] = (struct pollfd){
        .fd = weir_nats_client_fd(resource->client),
        .events = weir_nats_client_events(resource->client),
    };
    return 1;
}

static int64_t hub_work(void *context, const struct pollfd *fds, size_t count) {
    struct weir_nats_resource *resource = context;
    if (!resource->client) {
        struct weir_error error;
        if (!resource->watches) {
            return INT64_MAX;
        }
        if (weir_clock_monotonic_ns() < resource->connect_ns) {
            return resource->connect_ns;
        }
        if (connect_now(resource, INT64_MAX, &error) != WEIR_OK) {
            return resource->connect_ns;
        }
    }
    return turn(resource, count > 0 && fds[0].revents != 0);
}

// ---- watches ----

static weir_status prepare_watch(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                                 struct weir_error *err) {
    struct weir_nats_subject filter;
    weir_status status = weir_nats_filter_of(&resource->naming, &watch->base.pattern, &filter, err);
    watch->filter = status == WEIR_OK ? strdup(filter.text) : NULL;
    if (status == WEIR_OK && !watch->filter) {
        status = weir_fail_no_memory(err, "a watch");
    }
    if (watch->base.name && resource->stream[0]) {
        weir_nats_consumer_name(watch->base.name, watch->consumer);
        watch->is_durable = true;
    }
    return status;
}

static weir_status hub_prepare(void *context, struct weir_hub_watch *base,
                               const struct weir_watch_args *args, struct weir_error *err) {
    (void)args;
    return prepare_watch(context, watch_of(base), err);
}

static void forget(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    weir_nats_stage_set(resource, watch, WEIR_NATS_IDLE);
    HASH_DELETE(hh, resource->watches, watch);
    if (resource->client && watch->is_subscribed) {
        weir_nats_client_unsubscribe(resource->client, watch->id, NULL);
    }
    if (resource->client && watch->consumer[0] && !watch->is_durable) {
        char subject[384];
        snprintf(subject, sizeof subject, "%sCONSUMER.DELETE.%s.%s", resource->api,
                 resource->stream, watch->consumer);
        const struct weir_nats_post post = {.subject = weir_str_of(subject)};
        weir_nats_client_publish(resource->client, &post, NULL);
    }
    weir_nats_flights_end(resource, watch);
    weir_event_unref(watch->gap);
    watch->gap = NULL;
}

static bool has_begun(const struct weir_nats_watch *watch) {
    return watch->stage == WEIR_NATS_LIVE || watch->stage == WEIR_NATS_GAPPED;
}

// Until the watch is set up, or has failed, or the moment has come.
static weir_status await_begin(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                               int64_t until_ns, struct weir_error *err) {
    struct weir_error failure = {0};
    weir_status status = WEIR_OK;
    watch->failure = &failure;
    bool is_readable = false;
    while (status == WEIR_OK && !has_begun(watch) && failure.status == WEIR_OK) {
        if (!resource->client) {
            status = connect_now(resource, until_ns, err);
            is_readable = false;
            continue;
        }
        int64_t due_ns = turn(resource, is_readable);
        is_readable = false;
        if (has_begun(watch) || failure.status != WEIR_OK || !resource->client) {
            continue;
        }
        status = weir_hub_wait(resource->hub, weir_nats_client_fd(resource->client),
                               weir_nats_client_events(resource->client),
                               due_ns < until_ns ? due_ns : until_ns);
        is_readable = status == WEIR_OK;
        if (status == WEIR_UNAVAILABLE && weir_clock_monotonic_ns() < until_ns) {
            status = WEIR_OK; // there is something else to be done
        } else if (status != WEIR_OK) {
            weir_fail(err, status, "the NATS server does not answer");
        }
    }
    watch->failure = NULL;
    if (failure.status != WEIR_OK) {
        *err = failure;
        status = failure.status;
    }
    // What the contract has for a source that cannot be watched now.
    return status == WEIR_OTHER || status == WEIR_NOT_FOUND ? WEIR_UNAVAILABLE : status;
}

// Of a plain subject: until the server has read that it is watched.
static weir_status await_subscribed(struct weir_nats_resource *resource, int64_t until_ns,
                                    struct weir_error *err) {
    uint64_t pongs = resource->client ? weir_nats_client_pongs(resource->client) : 0;
    weir_status status =
        resource->client ? weir_nats_client_ping(resource->client, err) : WEIR_UNAVAILABLE;
    while (status == WEIR_OK && resource->client &&
           weir_nats_client_pongs(resource->client) == pongs) { // ends by until_ns
        turn(resource, false);
        if (!resource->client) {
            break;
        }
        status = weir_hub_wait(resource->hub, weir_nats_client_fd(resource->client),
                               weir_nats_client_events(resource->client), until_ns);
        turn(resource, status == WEIR_OK);
    }
    if (status != WEIR_OK || !resource->client) {
        return weir_fail(err, status == WEIR_OK ? WEIR_UNAVAILABLE : status,
                         "the NATS server does not answer");
    }
    const char *complaint = weir_nats_client_complaint(resource->client);
    return complaint[0]
               ? weir_fail(err, WEIR_DENIED, "the NATS server refuses the watch: %s", complaint)
               : WEIR_OK;
}

static weir_status hub_begin(void *context, struct weir_hub_watch *base, int64_t until_ns,
                             struct weir_error *err) {
    struct weir_nats_resource *resource = context;
    struct weir_nats_watch *watch = watch_of(base);
    // The first numbers are those of requests; see client.c.
    watch->id = 16 + resource->watch_id++;
    HASH_ADD(hh, resource->watches, id, sizeof watch->id, watch);
    if (!watch->hh.tbl) {
        return weir_fail_no_memory(err, "a watch");
    }
    weir_nats_queue(resource, watch);
    if (base->is_resumed && resource->stream[0]) {
        return WEIR_OK; // from where it is, when the server is there
    }
    if (resource->client) {
        weir_nats_client_forgive(resource->client);
    }
    weir_status status = await_begin(resource, watch, until_ns, err);
    if (status == WEIR_OK && !resource->stream[0]) {
        status = await_subscribed(resource, until_ns, err);
    }
    if (status != WEIR_OK) {
        forget(resource, watch);
        send_out(resource);
    }
    return status;
}

static void hub_end(void *context, struct weir_hub_watch *base) {
    struct weir_nats_resource *resource = context;
    forget(resource, watch_of(base));
    send_out(resource);
}

static void hub_resume(void *context, struct weir_hub_watch *base) {
    struct weir_nats_resource *resource = context;
    struct weir_nats_watch *watch = watch_of(base);
    if (weir_nats_drain(resource, watch)) {
        weir_nats_pull(resource, watch);
    }
    send_out(resource);
}

static void hub_acknowledge(void *context, struct weir_hub_watch *base, struct weir_event *event) {
    struct weir_nats_resource *resource = context;
    struct weir_nats_watch *watch = watch_of(base);
    uint64_t sequence;
    if (event->is_gap) {
        if (watch->gap && watch->is_gap_offered) {
            weir_nats_gap_settled(resource, watch);
        }
        return;
    }
    if (!weir_decimal_read(event->position, &sequence)) {
        return;
    }
    struct weir_nats_flight *flight = weir_nats_flight_find(watch, sequence);
    if (!flight) {
        return;
    }
    if (watch->stage == WEIR_NATS_LIVE &&
        weir_nats_flight_answer(resource, flight->reply, "+ACK") == WEIR_OK) {
        weir_nats_flight_let_go(resource, flight);
    } else {
        flight->is_settled = true; // answered when the watch is set up again
    }
}

static void hub_acknowledged(void *context) {
    send_out(context);
}

static void hub_discard(struct weir_hub_watch *base) {
    free(watch_of(base)->filter);
}

const struct weir_hub_functions weir_nats_hub_functions = {
    .watch_bytes = sizeof(struct weir_nats_watch),
    .prepare = hub_prepare,
    .begin = hub_begin,
    .end = hub_end,
    .resume = hub_resume,
    .acknowledge = hub_acknowledge,
    .acknowledged = hub_acknowledged,
    .discard = hub_discard,
    .wait_for = hub_wait_for,
    .work = hub_work,
};
