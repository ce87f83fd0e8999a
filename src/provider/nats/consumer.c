// SPDX-License-Identifier: Apache-2.0
//
// How a watch finds or makes its consumer at the server, and asks it for messages. Nothing here
// waits: each step is a request, and the next one follows from its answer.
//
//     FINDING ──there──> (stream) LOOKING ──nothing was trimmed──> LIVE
//      │  ^ │                 │      └──trimmed──> GAPPED ──────────┐
//      │  │ └──there, and messages are lost──> EMPTYING, RECALLING  │ settled:
//      │  └─────────────────────────────────────┘                   │ from the
//      ├──not there, fresh──> MAKING ──> LIVE                       │ beginning
//      └──not there, but it was──> LOOKING ──known where──> MAKING  │
//                                     └──unknown──> GAPPED ─────────┘
//
// A gap is settled before its consumer is made or asked, so that a weir that dies in between finds
// the same gap again.
//
// Order. The server may think that it has delivered messages which have not come: they were under
// way when a connection or another weir died. It tells them again when their ack_wait is over, and
// newer ones at once, so a key's older change could come behind a newer one. So what it thinks was
// delivered and is not held here is refused (NAK) before anything is asked for (RECALLING); the
// server tells that first, in the order in which it was refused, behind what it was to tell again
// already: what it could not deliver, or what was refused before and is lost once more. So first
// that list is emptied (EMPTYING): as many messages are asked for as it can hold, and dropped.
// Where somebody else asks the same consumer, all of this is left to the server: what is delivered
// may be with the other.
#include "provider/nats/resource.h"

#include "base/clock.h"
#include "base/digits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

// The last token of a reply, by which answers are told from statuses of requests for messages.
#define REPLY_ANSWER "a"
#define REPLY_PULL   "p"
#define REPLY_EMPTY  "e"
#define REPLY_RECALL "r"

enum {
    NAME_BYTES_MAX = 64, // of a subscription in the name of its consumer
    EMPTY_MS = 100,      // in which a server tells all that is on its list
    HASH_BYTES = 17,
};

// ---- names ----

void weir_nats_consumer_name(const char *name,
                             char ret_name[static WEIR_NATS_CONSUMER_NAME_BYTES]) {
    char text[NAME_BYTES_MAX + 1];
    size_t size = 0;
    bool is_whole = true;
    for (const char *at = name; *at && is_whole; at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || *at == '-' || *at == '_';
        is_whole = size < NAME_BYTES_MAX;
        if (is_whole) {
            text[size++] = is_plain ? *at : '-';
        }
    }
    text[size] = '\0';
    if (is_whole && strcmp(text, name) == 0) {
        snprintf(ret_name, WEIR_NATS_CONSUMER_NAME_BYTES, "weir-%s", text);
    } else {
        snprintf(ret_name, WEIR_NATS_CONSUMER_NAME_BYTES, "weir-%s-%016" PRIx64, text,
                 (uint64_t)XXH3_64bits(name, strlen(name)));
    }
}

void weir_nats_description(const struct weir_nats_resource *resource, const char *name,
                           char *ret_text, size_t size) {
    snprintf(ret_text, size, "weir %s: %s", resource->base.name, name);
}

// ---- stages and moments ----

static bool is_being_set_up(enum weir_nats_stage stage) {
    return stage == WEIR_NATS_FINDING || stage == WEIR_NATS_LOOKING || stage == WEIR_NATS_MAKING ||
           stage == WEIR_NATS_UNMAKING || stage == WEIR_NATS_EMPTYING ||
           stage == WEIR_NATS_RECALLING;
}

static int64_t timer_wait_ns(const struct weir_nats_resource *resource,
                             enum weir_nats_timer timer) {
    switch (timer) {
    case WEIR_NATS_ANSWER:
        return resource->options.timeout_ns;
    case WEIR_NATS_PULL: // its end is told; where that is lost, it is asked anew
        return WEIR_NATS_PULL_MS * WEIR_NS_PER_MS + resource->options.timeout_ns;
    default:
        return WEIR_NATS_RETRY_MS * WEIR_NS_PER_MS;
    }
}

void weir_nats_timer_set(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                         enum weir_nats_timer timer) {
    if (watch->timer != WEIR_NATS_UNTIMED) {
        DL_DELETE2(resource->timers[watch->timer], watch, timer_prev, timer_next);
    }
    watch->timer = timer;
    if (timer != WEIR_NATS_UNTIMED) {
        watch->due_ns = weir_clock_monotonic_ns() + timer_wait_ns(resource, timer);
        DL_APPEND2(resource->timers[timer], watch, timer_prev, timer_next);
    }
}

void weir_nats_stage_set(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                         enum weir_nats_stage stage) {
    resource->setups -= is_being_set_up(watch->stage);
    watch->stage = stage;
    resource->setups += is_being_set_up(stage);
    weir_nats_timer_set(resource, watch,
                        is_being_set_up(stage) ? WEIR_NATS_ANSWER : WEIR_NATS_UNTIMED);
    if (watch->is_queued) {
        DL_DELETE2(resource->queue, watch, queue_prev, queue_next);
        watch->is_queued = false;
    }
}

void weir_nats_queue(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    weir_nats_stage_set(resource, watch, WEIR_NATS_IDLE);
    watch->outstanding = 0;
    watch->is_queued = true;
    DL_APPEND2(resource->queue, watch, queue_prev, queue_next);
}

// It cannot be set up now. Who waits for it is told; else it is logged, and tried again.
static void fail(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                 const struct weir_error *cause) {
    weir_nats_stage_set(resource, watch, WEIR_NATS_IDLE);
    watch->outstanding = 0;
    if (watch->failure) {
        *watch->failure = *cause;
        return;
    }
    if (!watch->has_failed) {
        weir_log(resource->log, WEIR_LOG_WARN, "a watch cannot go on; trying again until it can",
                 {"resource", weir_str_of(resource->base.name)}, {"key", watch->base.pattern.text},
                 {"reason", weir_str_of(cause->message)});
    }
    watch->has_failed = true;
    weir_nats_timer_set(resource, watch, WEIR_NATS_RETRY);
}

static void fail_with(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                      const struct weir_nats_fault *fault, const char *what) {
    struct weir_error error;
    weir_nats_api_fail(fault, what, &error);
    fail(resource, watch, &error);
}

static void fail_late(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    struct weir_error error;
    const char *complaint = resource->client ? weir_nats_client_complaint(resource->client) : "";
    weir_fail(&error, complaint[0] ? WEIR_DENIED : WEIR_UNAVAILABLE,
              "JetStream does not answer in time%s%s", complaint[0] ? "; the server says: " : "",
              complaint);
    fail(resource, watch, &error);
}

int64_t weir_nats_timers_run(struct weir_nats_resource *resource, int64_t now_ns) {
    int64_t due_ns = INT64_MAX;
    for (int timer = WEIR_NATS_ANSWER; timer < WEIR_NATS_TIMERS; timer++) {
        struct weir_nats_watch *watch;
        // Each leaves the list, or is put at its end with a later moment.
        while ((watch = resource->timers[timer]) && watch->due_ns <= now_ns) {
            weir_nats_timer_set(resource, watch, WEIR_NATS_UNTIMED);
            if (timer == WEIR_NATS_ANSWER) {
                fail_late(resource, watch);
            } else if (timer == WEIR_NATS_RETRY) {
                weir_nats_queue(resource, watch);
            } else {
                watch->outstanding = 0;
                weir_nats_pull(resource, watch);
            }
        }
        due_ns = watch && watch->due_ns < due_ns ? watch->due_ns : due_ns;
    }
    return due_ns;
}

// ---- requests ----

static weir_status request(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                           const char *subject, const char *body, const char *reply) {
    char full[WEIR_NATS_SUBJECT_BYTES_MAX], inbox[WEIR_NATS_INBOX_BYTES + 32] = "";
    struct weir_error error;
    snprintf(full, sizeof full, "%s%s", resource->api, subject);
    if (reply) {
        snprintf(inbox, sizeof inbox, "%s.%" PRIu64 ".%s", weir_nats_client_inbox(resource->client),
                 watch->id, reply);
    }
    const struct weir_nats_post post = {
        .subject = weir_str_of(full),
        .reply = weir_str_of(inbox),
        .data = weir_str_of(body),
    };
    weir_status status = weir_nats_client_publish(resource->client, &post, &error);
    if (status != WEIR_OK) {
        fail(resource, watch, &error);
    }
    return status;
}

static void ask(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                enum weir_nats_stage stage, const char *subject, const char *body) {
    weir_nats_stage_set(resource, watch, stage);
    if (!body) {
        struct weir_error error;
        weir_fail_no_memory(&error, "a request to JetStream");
        fail(resource, watch, &error);
        return;
    }
    request(resource, watch, subject, body, REPLY_ANSWER);
}

static void find(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    char subject[256];
    snprintf(subject, sizeof subject, "CONSUMER.INFO.%s.%s", resource->stream, watch->consumer);
    ask(resource, watch, WEIR_NATS_FINDING, subject, "");
}

static void look(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    char subject[256];
    snprintf(subject, sizeof subject, "STREAM.INFO.%s", resource->stream);
    ask(resource, watch, WEIR_NATS_LOOKING, subject, "");
}

static void unmake(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    char subject[256];
    snprintf(subject, sizeof subject, "CONSUMER.DELETE.%s.%s", resource->stream, watch->consumer);
    ask(resource, watch, WEIR_NATS_UNMAKING, subject, "");
}

static void describe(const struct weir_nats_resource *resource, const struct weir_nats_watch *watch,
                     char *ret_text, size_t size) {
    weir_nats_description(resource, watch->base.name ? watch->base.name : "", ret_text, size);
}

static struct weir_nats_consumer_args args_of(const struct weir_nats_resource *resource,
                                              const struct weir_nats_watch *watch,
                                              const char *description) {
    return (struct weir_nats_consumer_args){
        .stream = resource->stream,
        .filter = watch->filter,
        .durable = watch->is_durable ? watch->consumer : NULL,
        .description = description,
        .ack_wait_ns = resource->options.ack_wait_ns,
        .ack_pending_max = resource->options.max_ack_pending,
    };
}

static void make(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                 enum weir_nats_start start, uint64_t sequence) {
    char subject[256], description[WEIR_WATCH_NAME_BYTES_MAX + WEIR_NAME_BYTES_MAX + 16];
    describe(resource, watch, description, sizeof description);
    struct weir_nats_consumer_args args = args_of(resource, watch, description);
    args.start = start;
    args.start_sequence = sequence;
    char *body = weir_nats_consumer_request(&args);
    if (watch->is_durable) {
        snprintf(subject, sizeof subject, "CONSUMER.DURABLE.CREATE.%s.%s", resource->stream,
                 watch->consumer);
    } else {
        snprintf(subject, sizeof subject, "CONSUMER.CREATE.%s", resource->stream);
    }
    ask(resource, watch, WEIR_NATS_MAKING, subject, body);
    free(body);
}

// Has an old consumer take over what is configured now. Nobody waits for the answer: the watch goes
// on as well with what it had.
static void change(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                   const json_t *answer) {
    char subject[256];
    struct weir_nats_consumer_args args = args_of(resource, watch, NULL);
    char *body = watch->is_durable ? weir_nats_consumer_change(answer, &args) : NULL;
    if (body) {
        snprintf(subject, sizeof subject, "CONSUMER.DURABLE.CREATE.%s.%s", resource->stream,
                 watch->consumer);
        request(resource, watch, subject, body, NULL);
    }
    free(body);
}

// ---- setting up ----

// The watch's inbox on this connection.
static weir_status subscribe(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    char subject[WEIR_NATS_INBOX_BYTES + 32];
    struct weir_error error;
    if (watch->is_subscribed) {
        return WEIR_OK;
    }
    if (resource->stream[0]) {
        snprintf(subject, sizeof subject, "%s.%" PRIu64 ".*",
                 weir_nats_client_inbox(resource->client), watch->id);
    }
    weir_status status = weir_nats_client_subscribe(
        resource->client, weir_str_of(resource->stream[0] ? subject : watch->filter), watch->id,
        &error);
    watch->is_subscribed = status == WEIR_OK;
    if (status != WEIR_OK) {
        fail(resource, watch, &error);
    }
    return status;
}

// What became durable while there was no connection.
static void answer_settled(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    struct weir_nats_flight *flight, *next;
    HASH_ITER (hh, watch->flights, flight, next) {
        if (flight->is_settled) {
            weir_nats_flight_answer(resource, flight->reply, "+ACK");
        }
    }
}

static void become_live(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    weir_nats_stage_set(resource, watch, WEIR_NATS_LIVE);
    if (watch->has_failed) {
        weir_log(resource->log, WEIR_LOG_INFO, "a watch goes on again",
                 {"resource", weir_str_of(resource->base.name)}, {"key", watch->base.pattern.text});
    }
    watch->has_failed = false;
    watch->was_live = true;
    watch->is_afresh = false;
    watch->outstanding = 0;
    watch->came = 0;
    if (watch->stream_hash == 0) {
        watch->stream_hash = resource->stream_hash;
    }
    struct weir_nats_flight *flight, *next;
    HASH_ITER (hh, watch->flights, flight, next) {
        if (flight->is_settled) { // answered before the consumer was looked for
            weir_nats_flight_let_go(resource, flight);
        }
    }
    weir_nats_drain(resource, watch);
    weir_nats_pull(resource, watch);
}

// A plain subject has nothing to be found; what was sent while there was no connection is gone.
static void set_up_subject(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    if (watch->was_live && watch->away_wall_ns != 0) {
        char from[WEIR_TIME_BYTES], to[WEIR_TIME_BYTES];
        weir_time_format(watch->away_wall_ns, from);
        weir_time_format(weir_clock_wall_ns(), to);
        watch->away_wall_ns = 0;
        weir_nats_gap_open(resource, watch, from, to,
                           "the connection was lost; NATS keeps nothing of a plain subject");
    }
    weir_nats_stage_set(resource, watch, WEIR_NATS_LIVE);
    watch->was_live = true;
    weir_nats_drain(resource, watch);
}

void weir_nats_set_up(struct weir_nats_resource *resource) {
    struct weir_nats_watch *watch;
    while (resource->client && resource->setups < WEIR_NATS_SETUPS_MAX &&
           (watch = resource->queue)) { // ends: it leaves the queue
        weir_nats_stage_set(resource, watch, WEIR_NATS_IDLE);
        if (subscribe(resource, watch) != WEIR_OK) {
            continue;
        }
        if (!resource->stream[0]) {
            set_up_subject(resource, watch);
            continue;
        }
        answer_settled(resource, watch);
        watch->is_emptied = false;
        if (watch->consumer[0]) {
            find(resource, watch);
        } else {
            make(resource, watch, WEIR_NATS_FROM_NOW, 0);
        }
    }
}

// ---- what follows from answers ----

// `is_total`: the consumer begins anew behind it.
static void open_gap(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                     uint64_t to, bool is_total, const char *reason) {
    char from_text[24], to_text[24];
    uint64_t from = watch->is_seen_known ? watch->seen : 0;
    watch->is_gap_total = is_total;
    snprintf(from_text, sizeof from_text, "%" PRIu64, from);
    snprintf(to_text, sizeof to_text, "%" PRIu64, to);
    weir_nats_stage_set(resource, watch, WEIR_NATS_GAPPED);
    weir_nats_gap_open(resource, watch, from_text, to_text, reason);
    weir_nats_drain(resource, watch);
}

// What is to be done about messages that the server takes for delivered.
enum recall { RECALL_NOTHING, RECALL_EACH, RECALL_ALL };

// Whether all that the server waits to hear of is held here, or may be with another weir. What is
// settled here was answered already, and the server has counted that or will soon.
static bool is_all_held(const struct weir_nats_watch *watch,
                        const struct weir_nats_consumer *consumer) {
    uint64_t unsettled = 0;
    for (const struct weir_nats_flight *flight = watch->flights; flight; flight = flight->hh.next) {
        unsettled += !flight->is_settled;
    }
    return consumer->ack_pending <= unsettled || consumer->waiting > 0;
}

static enum recall judge_delivered(const struct weir_nats_watch *watch,
                                   const struct weir_nats_consumer *consumer) {
    if (is_all_held(watch, consumer) || consumer->delivered <= consumer->floor) {
        return RECALL_NOTHING;
    }
    // Too many to refuse one by one: the consumer begins anew behind what is acknowledged.
    return consumer->delivered - consumer->floor > WEIR_NATS_RANGE_MAX ? RECALL_ALL : RECALL_EACH;
}

static void empty(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                  const struct weir_nats_consumer *consumer) {
    char subject[256], body[WEIR_NATS_PULL_BYTES];
    weir_nats_stage_set(resource, watch, WEIR_NATS_EMPTYING);
    watch->outstanding = consumer->ack_pending; // nothing else can be on that list
    weir_nats_pull_request(watch->outstanding, 0, EMPTY_MS * WEIR_NS_PER_MS, body);
    snprintf(subject, sizeof subject, "CONSUMER.MSG.NEXT.%s.%s", resource->stream, watch->consumer);
    request(resource, watch, subject, body, REPLY_EMPTY);
}

// Nothing more comes of that; newer ones may have come with it, so it is looked anew.
static void end_emptying(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    watch->outstanding = 0;
    watch->is_emptied = true;
    find(resource, watch);
}

void weir_nats_emptied(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    if (watch->outstanding == 0) {
        end_emptying(resource, watch);
    }
}

// Refuses what was delivered and has not come. The server does this in its own time, and answers
// the last one when it is done: nothing is asked for before that.
static void recall(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                   const struct weir_nats_consumer *consumer) {
    weir_nats_stage_set(resource, watch, WEIR_NATS_RECALLING);
    for (uint64_t sequence = consumer->floor + 1; sequence <= consumer->delivered; sequence++) {
        bool is_last = sequence == consumer->delivered;
        if (weir_nats_flight_find(watch, sequence) && !is_last) {
            continue;
        }
        char subject[256], inbox[WEIR_NATS_INBOX_BYTES + 32] = "";
        snprintf(subject, sizeof subject, "$JS.ACK.%s.%s.1.%" PRIu64 ".%" PRIu64 ".0.0",
                 resource->stream, watch->consumer, sequence, consumer->delivered_consumer);
        if (is_last) {
            snprintf(inbox, sizeof inbox, "%s.%" PRIu64 "." REPLY_RECALL,
                     weir_nats_client_inbox(resource->client), watch->id);
        }
        bool is_held = weir_nats_flight_find(watch, sequence) != NULL;
        const struct weir_nats_post post = {
            .subject = weir_str_of(subject),
            .reply = weir_str_of(inbox),
            .data = is_held ? WEIR_STR("+WPI") : WEIR_STR("-NAK"),
        };
        struct weir_error error;
        if (weir_nats_client_publish(resource->client, &post, &error) != WEIR_OK) {
            fail(resource, watch, &error);
            return;
        }
    }
}

static void note_seen(struct weir_nats_watch *watch, uint64_t sequence) {
    watch->seen = sequence > watch->seen ? sequence : watch->seen;
    watch->is_seen_known = true;
}

// The consumer is there and as it should be.
static void go_on(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    if (resource->options.mode == WEIR_NATS_STREAM) {
        look(resource, watch);
    } else {
        become_live(resource, watch);
    }
}

static void found(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                  const json_t *answer) {
    struct weir_nats_consumer consumer;
    bool is_usable = weir_nats_consumer_read(answer, &consumer) && consumer.is_explicit &&
                     consumer.is_pulled && weir_nats_consumer_has_filter(answer, watch->filter);
    if (!is_usable) { // somebody else's, or of another key under the same name
        unmake(resource, watch);
        return;
    }
    change(resource, watch, answer);
    // What was delivered is with somebody, or it was lost on its way.
    note_seen(watch, is_all_held(watch, &consumer) ? consumer.delivered : consumer.floor);
    switch (judge_delivered(watch, &consumer)) {
    case RECALL_NOTHING:
        go_on(resource, watch);
        break;
    case RECALL_EACH:
        if (watch->is_emptied) {
            recall(resource, watch, &consumer);
        } else {
            empty(resource, watch, &consumer);
        }
        break;
    case RECALL_ALL:
        watch->seen = consumer.floor;
        unmake(resource, watch);
        break;
    }
}

static bool is_known(const struct weir_nats_watch *watch, const struct weir_nats_stream *stream) {
    uint64_t hash = XXH3_64bits(stream->created, strlen(stream->created));
    return watch->is_seen_known && watch->seen <= stream->last && !watch->is_afresh &&
           (watch->stream_hash == 0 || watch->stream_hash == hash);
}

// The stream was looked at because the consumer is not there (any more), or to see whether it was
// trimmed. `is_there`: the consumer is.
static void looked(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                   const json_t *answer) {
    struct weir_nats_stream stream;
    if (!weir_nats_stream_read(answer, &stream)) {
        const struct weir_nats_fault fault = {.text = "an answer about a stream without its state"};
        fail_with(resource, watch, &fault, "looking at the stream");
        return;
    }
    bool is_stream = resource->options.mode == WEIR_NATS_STREAM;
    bool is_trimmed = stream.first > watch->seen + 1 && stream.first > watch->gap_to;
    bool is_known_here = is_known(watch, &stream);
    if (is_stream && is_trimmed && (watch->is_found || is_known_here) && !watch->is_afresh) {
        watch->gap_to = stream.first;
        open_gap(resource, watch, stream.first, false,
                 "the stream let go of messages (its limits, or somebody's hand) before they were "
                 "told; some of them may have been of these subjects");
    } else if (watch->is_found) {
        become_live(resource, watch);
    } else if (is_known_here) {
        make(resource, watch, WEIR_NATS_FROM_SEQUENCE, watch->seen + 1);
    } else if (!watch->is_afresh) {
        open_gap(resource, watch, stream.last, true,
                 "the server does not know any more what was told: the consumer, the bucket or the "
                 "stream was removed");
    } else {
        watch->stream_hash = XXH3_64bits(stream.created, strlen(stream.created));
        // What was told before is settled, or the gap would not be; its numbers mean others now.
        weir_nats_flights_end(resource, watch);
        watch->seen = 0;
        watch->is_seen_known = false;
        watch->snapshot_to = is_stream ? 0 : stream.last;
        make(resource, watch, is_stream ? WEIR_NATS_FROM_ALL : WEIR_NATS_FROM_LATEST, 0);
    }
}

static void made(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                 const json_t *answer) {
    struct weir_nats_consumer consumer;
    if (!weir_nats_consumer_read(answer, &consumer)) {
        const struct weir_nats_fault fault = {.text = "an answer about a consumer without a name"};
        fail_with(resource, watch, &fault, "making a consumer");
        return;
    }
    snprintf(watch->consumer, sizeof watch->consumer, "%s", consumer.name);
    note_seen(watch, consumer.delivered); // what it begins behind
    become_live(resource, watch);
}

// The consumer is not there.
static void missing(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    watch->is_found = false;
    if (!watch->was_live && !watch->base.is_resumed && !watch->is_seen_known) {
        make(resource, watch, WEIR_NATS_FROM_NOW, 0);
    } else {
        look(resource, watch);
    }
}

static void take_answer(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const struct weir_nats_frame *frame) {
    struct weir_nats_fault fault = {0};
    json_t *answer = weir_nats_api_read(frame, &fault);
    bool is_gone = fault.code == WEIR_NATS_NO_CONSUMER;
    switch (watch->stage) {
    case WEIR_NATS_FINDING:
        if (answer) {
            watch->is_found = true;
            found(resource, watch, answer);
        } else if (is_gone) {
            missing(resource, watch);
        } else {
            fail_with(resource, watch, &fault, "looking for the watch's consumer");
        }
        break;
    case WEIR_NATS_LOOKING:
        if (answer) {
            looked(resource, watch, answer);
        } else {
            fail_with(resource, watch, &fault, "looking at the stream");
        }
        break;
    case WEIR_NATS_UNMAKING:
        if (answer || is_gone) {
            missing(resource, watch);
        } else {
            fail_with(resource, watch, &fault, "removing a consumer of another kind");
        }
        break;
    case WEIR_NATS_MAKING:
        if (answer) {
            made(resource, watch, answer);
        } else {
            fail_with(resource, watch, &fault, "making a consumer");
        }
        break;
    default: // an answer that came too late
        break;
    }
    json_decref(answer);
}

// ---- asking for messages ----

void weir_nats_pull(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    uint64_t batch = WEIR_NATS_BATCH_MAX < resource->options.max_ack_pending
                         ? WEIR_NATS_BATCH_MAX
                         : resource->options.max_ack_pending;
    if (!resource->client || watch->stage != WEIR_NATS_LIVE || !resource->stream[0] ||
        watch->is_done || watch->held || weir_hub_is_paused(&watch->base) ||
        watch->outstanding > batch / 2) {
        return;
    }
    char subject[256], body[WEIR_NATS_PULL_BYTES];
    bool is_single = watch->is_single && watch->outstanding == 0;
    uint64_t wanted = is_single ? 1 : batch - watch->outstanding;
    weir_nats_pull_request(wanted, is_single ? 0 : WEIR_NATS_BATCH_BYTES_MAX,
                           WEIR_NATS_PULL_MS * WEIR_NS_PER_MS, body);
    snprintf(subject, sizeof subject, "CONSUMER.MSG.NEXT.%s.%s", resource->stream, watch->consumer);
    if (request(resource, watch, subject, body, REPLY_PULL) == WEIR_OK) {
        watch->is_single = false;
        watch->came = 0;
        watch->outstanding += wanted;
        weir_nats_timer_set(resource, watch, WEIR_NATS_PULL);
    }
}

static bool has(struct weir_str text, const char *part) {
    return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

// A request for messages is over.
static void take_status(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const struct weir_nats_frame *frame) {
    unsigned status = weir_nats_headers_status(frame->headers);
    struct weir_str reason = weir_nats_headers_reason(frame->headers);
    uint64_t left;
    if (watch->stage != WEIR_NATS_LIVE || status == 0 || status == 100) {
        return;
    }
    if (status == 503 || has(reason, "Consumer Deleted")) {
        weir_nats_queue(resource, watch);
        return;
    }
    bool is_told =
        weir_decimal_read(weir_nats_headers_find(frame->headers, WEIR_NATS_HEADER_PENDING), &left);
    watch->outstanding = is_told && left < watch->outstanding ? watch->outstanding - left : 0;
    bool is_large = has(reason, "MaxBytes") && !has(reason, "Exceeded");
    // A message that is larger than all that was asked for is asked for alone.
    watch->is_single = is_large && watch->came == 0;
    if (is_large || status == 408 || status == 404 || has(reason, "Leadership Change") ||
        has(reason, "Batch Completed")) {
        weir_nats_pull(resource, watch);
        return;
    }
    struct weir_error error;
    weir_fail(&error, WEIR_UNAVAILABLE, "JetStream refuses to deliver: %u %.*s", status,
              WEIR_STR_ARG(reason));
    fail(resource, watch, &error);
}

void weir_nats_answered(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const struct weir_nats_frame *frame) {
    char kind = frame->subject.data[frame->subject.size - 1];
    if (kind == REPLY_PULL[0]) {
        take_status(resource, watch, frame);
    } else if (kind == REPLY_ANSWER[0]) {
        take_answer(resource, watch, frame);
    } else if (kind == REPLY_EMPTY[0] && watch->stage == WEIR_NATS_EMPTYING) {
        end_emptying(resource, watch);
    } else if (kind == REPLY_RECALL[0] && watch->stage == WEIR_NATS_RECALLING) {
        go_on(resource, watch);
    }
}

// ---- gaps ----

void weir_nats_gap_open(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const char *from, const char *to, const char *reason) {
    char pattern[WEIR_KEY_BYTES_MAX + 2];
    int size = snprintf(pattern, sizeof pattern, "%.*s%s", WEIR_STR_ARG(watch->base.pattern.text),
                        watch->base.pattern.is_prefix ? "*" : "");
    const struct weir_gap gap = {
        .source = weir_str_of(resource->source),
        .pattern = {pattern, size > 0 ? (size_t)size : 0},
        .from = weir_str_of(from),
        .to = weir_str_of(to),
        .reason = weir_str_of(reason),
    };
    struct weir_error error;
    weir_event_unref(watch->gap);
    watch->gap = NULL;
    watch->is_gap_offered = false;
    if (weir_event_of_gap(&gap, &watch->gap, &error) != WEIR_OK) {
        watch->gap_to = 0;
        fail(resource, watch, &error); // it is found again
    }
}

bool weir_nats_gap_offer(const struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    if (!watch->gap) {
        return true;
    }
    if (!watch->is_gap_offered) {
        weir_status status = weir_hub_offer(&watch->base, watch->gap);
        watch->is_gap_offered = status == WEIR_OK;
        watch->is_done |= status == WEIR_STOPPED;
    }
    if (watch->is_gap_offered && !resource->stream[0]) { // of which nobody acknowledges anything
        weir_event_unref(watch->gap);
        watch->gap = NULL;
        return true;
    }
    return false; // until it is settled
}

void weir_nats_gap_settled(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    weir_event_unref(watch->gap);
    watch->gap = NULL;
    watch->is_gap_offered = false;
    if (watch->stage == WEIR_NATS_GAPPED) {
        watch->is_afresh = watch->is_gap_total;
        weir_nats_queue(resource, watch);
        weir_nats_set_up(resource);
    } else {
        weir_nats_drain(resource, watch);
    }
}
