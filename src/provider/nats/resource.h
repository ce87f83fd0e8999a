// SPDX-License-Identifier: Apache-2.0
//
// The insides of the provider. For src/provider/nats/ and its tests; others include nats.h.
//
// One connection has all watches of a resource; it belongs to the hub's thread, and so does what
// stands below "the hub's thread's" here. Reading, writing and publishing take connections of their
// own from a pool, on their callers' threads.
//
// A watch of a bucket or of a stream is a consumer of its own at the server: a durable one, named
// after the subscription, which keeps the position there and is shared by every weir that watches
// under that name; or one that is gone with its watch. What was left: one consumer for all watches
// of a resource, with weir sorting what comes. Positions belong to subscriptions, which come and go
// one by one; a consumer that they share could only keep the position of the slowest, and would
// tell a new one what is old. Ten thousand consumers on one connection are what
// docs/providers/nats.md says they cost.
//
// What a watch asks for, it asks for in requests of a bounded number of messages and bytes, so what
// comes is bounded too: a watch that is paused keeps what it has asked for before, and asks for no
// more.
#ifndef WEIR_PROVIDER_NATS_RESOURCE_H
#define WEIR_PROVIDER_NATS_RESOURCE_H

#include "base/table.h"
#include "observe/log.h"
#include "provider/hub.h"
#include "provider/link.h"
#include "provider/nats/api.h"
#include "provider/nats/client.h"
#include "provider/nats/header.h"
#include "provider/nats/key.h"
#include "provider/nats/nats.h"
#include "provider/pool.h"

enum {
    WEIR_NATS_BATCH_MAX = 256,           // messages that a watch asks for at once
    WEIR_NATS_BATCH_BYTES_MAX = 1 << 20, // the same in bytes; one message may be larger
    WEIR_NATS_PULL_MS = 30 * 1000,       // how long a request for messages stands
    WEIR_NATS_RETRY_MS = 2000,           // before a watch that could not begin is tried again
    WEIR_NATS_QUIET_MS = 10 * 1000,      // nothing comes: is the server there?
    WEIR_NATS_SETUPS_MAX = 256,          // watches that are being set up at once
    WEIR_NATS_FRAMES_AT_ONCE_MAX = 1024, // messages, before there is something else
    WEIR_NATS_RANGE_MAX = 16384,         // messages that are asked to be told again
    WEIR_NATS_SIGNALS_PER_WAIT = 3,      // how often a message that is held is said to be so
    WEIR_NATS_UPDATES_MAX = 64,          // attempts to change a key
    WEIR_NATS_SUBJECT_HELD_MAX = 1024,   // messages of a plain subject that wait for a sink, ...
    WEIR_NATS_SUBJECT_HELD_BYTES_MAX = 4 << 20, // ... and bytes
    WEIR_NATS_CLOSE_MS = 500,                   // for the last acknowledgements
};

// A message that was delivered and is not acknowledged.
struct weir_nats_flight {
    UT_hash_handle hh; // in watch->flights
    uint64_t sequence; // in the stream
    struct weir_nats_watch *watch;
    struct weir_event *event; // it waits for the sink; NULL: the sink has it
    bool is_settled;          // acknowledged while there was no connection
    int64_t signal_ns;        // when to say that it is held still
    struct weir_nats_flight *held_prev, *held_next;
    struct weir_nats_flight *signal_prev, *signal_next; // in resource->signals
    char reply[];                                       // the subject to acknowledge it on
};

// What a watch waits for at the server.
enum weir_nats_stage {
    WEIR_NATS_IDLE,      // to be set up: when there is a connection, a turn, or a moment
    WEIR_NATS_FINDING,   // whether its consumer is there
    WEIR_NATS_LOOKING,   // what the stream has
    WEIR_NATS_MAKING,    // its consumer
    WEIR_NATS_UNMAKING,  // a consumer that cannot be used
    WEIR_NATS_EMPTYING,  // until nothing is on the server's list of what is to be told again
    WEIR_NATS_RECALLING, // until what was lost on the way is on it
    WEIR_NATS_GAPPED,    // until the gap is dealt with
    WEIR_NATS_LIVE,
};

// Moments that all are equally far away when they are set, so that a list has them in order.
enum weir_nats_timer {
    WEIR_NATS_UNTIMED,
    WEIR_NATS_ANSWER, // to a request
    WEIR_NATS_PULL,   // a request for messages is over
    WEIR_NATS_RETRY,
    WEIR_NATS_TIMERS,
};

struct weir_nats_watch {
    struct weir_hub_watch base;
    UT_hash_handle hh;                            // in resource->watches
    uint64_t id;                                  // of its subscription
    char *filter;                                 // a subject
    char consumer[WEIR_NATS_CONSUMER_NAME_BYTES]; // "": it has none yet
    bool is_durable;

    enum weir_nats_stage stage;
    bool is_subscribed;         // on this connection
    bool is_done;               // the sink wants nothing any more
    bool has_failed;            // and that was logged
    bool is_queued;             // in resource->queue
    bool was_live;              // once, since the watch began
    bool is_found;              // its consumer was there when it was looked for last
    bool is_emptied;            // it was EMPTYING just before
    struct weir_error *failure; // of who waits in begin; NULL: nobody does
    enum weir_nats_timer timer;
    int64_t due_ns;
    struct weir_nats_watch *timer_prev, *timer_next;
    struct weir_nats_watch *queue_prev, *queue_next;

    // Messages.
    struct weir_nats_flight *flights; // a table
    struct weir_nats_flight *held;    // those that wait for the sink, in order
    uint64_t outstanding;             // messages that were asked for and have not come
    uint64_t came;                    // since they were asked for
    bool is_measured;                 // its meter counts what came since it was far behind, ...
    uint64_t measured;                // so many
    bool is_single;                   // the next one is larger than what is asked for
    uint64_t seen;                    // up to this number of the stream it was told, ...
    bool is_seen_known;               // if that is known
    uint64_t stream_hash;             // of the stream's creation, when it was live last

    // Gaps.
    struct weir_event *gap; // that the sink was not offered, or has not settled
    bool is_gap_offered;    // and taken
    bool is_gap_total;      // behind it the consumer begins anew, ...
    bool is_afresh;         // which it does now
    uint64_t gap_to;        // up to where a gap was told
    uint64_t snapshot_to;   // up to here it is told what there is, not what happens

    // Of a plain subject.
    size_t held_count, held_bytes;
    uint64_t dropped;     // since the last gap
    int64_t away_wall_ns; // since when something may have been missed; 0: nothing was
    uint64_t number;      // of the last message
};

struct weir_nats_resource {
    struct weir_resource base;
    struct weir_log *log;
    // Constant.
    struct weir_nats_options options;
    struct weir_nats_servers servers;
    struct weir_nats_login login;
    struct weir_nats_naming naming;
    char stream[80];                      // "": plain subjects
    char api[96];                         // "$JS.API." or with a domain
    char source[WEIR_NAME_BYTES_MAX + 2]; // of events
    char label[WEIR_NAME_BYTES_MAX + 8];  // of connections
    struct weir_pool *pool;
    struct weir_hub *hub;
    struct weir_link link;

    // The hub's thread's.
    struct weir_nats_client *client; // NULL: there is no connection
    int64_t connect_ns;              // not to be tried before
    uint64_t stream_hash;            // of the stream's creation; 0: not known
    int64_t ping_ns; // when the server was asked whether it is there; 0: it was not, or is
    struct weir_nats_watch *watches; // by id
    uint64_t watch_id;               // of the last one
    struct weir_nats_watch *queue;   // those to be set up
    size_t setups;                   // those that are being set up
    struct weir_nats_watch *timers[WEIR_NATS_TIMERS];
    struct weir_nats_flight *signals; // in the order of their moments
};

static inline struct weir_nats_resource *weir_nats_of(struct weir_resource *base) {
    return (struct weir_nats_resource *)base;
}

// ---- store.c: connections of the pool; any thread ----

// Opens a connection, and makes the bucket or the stream where that is wanted.
weir_status weir_nats_connect(struct weir_nats_resource *resource, const struct weir_waiter *waiter,
                              struct weir_nats_client **ret_client, struct weir_error *err);
extern const struct weir_pool_args weir_nats_pool_args; // but for the bound, context and link

// A request of JetStream's on a connection: "$JS.API." before the subject.
weir_status weir_nats_api_ask(const struct weir_nats_resource *resource,
                              struct weir_nats_client *client, const struct weir_waiter *waiter,
                              const char *subject, const char *body,
                              struct weir_nats_frame *ret_frame, struct weir_error *err);
// When a call must have ended.
int64_t weir_nats_until_ns(const struct weir_nats_resource *resource, int64_t until_ns);

weir_status weir_nats_get(struct weir_resource *base, struct weir_str key,
                          const struct weir_limits *limits, struct weir_value *ret_value,
                          struct weir_error *err);
weir_status weir_nats_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                          const struct weir_limits *limits, struct weir_error *err);
weir_status weir_nats_remove(struct weir_resource *base, struct weir_str key,
                             const struct weir_limits *limits, struct weir_error *err);
weir_status weir_nats_update(struct weir_resource *base, struct weir_str key,
                             const struct weir_limits *limits, const struct weir_change *change,
                             struct weir_error *err);
weir_status weir_nats_list(struct weir_resource *base, const struct weir_pattern *pattern,
                           const struct weir_limits *limits, const struct weir_listing *listing,
                           struct weir_error *err);
// Publishes to a stream and reads what it answers. A fault is WEIR_OTHER, with *ret_fault filled
// in.
weir_status weir_nats_store(struct weir_nats_resource *resource, struct weir_nats_client *client,
                            const struct weir_nats_post *post, int64_t until_ns,
                            struct weir_nats_fault *ret_fault, struct weir_error *err);
// Removes a key of a bucket. `headers`: of the marker, without an end; may be empty.
weir_status weir_nats_remove_key(struct weir_nats_resource *resource, struct weir_str key,
                                 int64_t until_ns, struct weir_error *err);
// WEIR_UNSUPPORTED, but for a bucket.
weir_status weir_nats_check_bucket(const struct weir_nats_resource *resource, const char *what,
                                   struct weir_error *err);

// ---- publish.c: any thread ----

weir_status weir_nats_publish(struct weir_resource *base, struct weir_event *event,
                              struct weir_error *err);

// ---- examine.c: any thread ----

weir_status weir_nats_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                              size_t count, const struct weir_findings *findings,
                              struct weir_error *err);
weir_status weir_nats_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                               struct weir_error *err);

// ---- message.c: events of messages; pure but for memory ----

struct weir_nats_message {
    const struct weir_nats_frame *frame;
    struct weir_nats_delivery delivery; // zero: of a plain subject
    uint64_t number;                    // of a plain subject, in the watch
    bool is_snapshot;
};
// NULL and WEIR_OK: the message is none of this watch's.
weir_status weir_nats_event_of(const struct weir_nats_resource *resource,
                               const struct weir_hub_watch *watch,
                               const struct weir_nats_message *message,
                               struct weir_event **ret_event, struct weir_error *err);

// ---- flight.c: what is delivered and not acknowledged; the hub's thread ----

struct weir_nats_flight *weir_nats_flight_find(struct weir_nats_watch *watch, uint64_t sequence);
// NULL: no memory.
struct weir_nats_flight *weir_nats_flight_add(struct weir_nats_resource *resource,
                                              struct weir_nats_watch *watch, uint64_t sequence,
                                              struct weir_str reply);
// Its event waits for the sink, with a reference of its own; and does no more.
void weir_nats_flight_hold(struct weir_nats_flight *flight, struct weir_event *event);
void weir_nats_flight_release(struct weir_nats_flight *flight);
void weir_nats_flight_let_go(struct weir_nats_resource *resource, struct weir_nats_flight *flight);
void weir_nats_flights_end(struct weir_nats_resource *resource, struct weir_nats_watch *watch);
// Says again of what is held that it is. Returns the next moment; INT64_MAX: never.
int64_t weir_nats_flights_signal(struct weir_nats_resource *resource, int64_t now_ns);
// Acknowledges it to the server. WEIR_UNAVAILABLE: there is no connection.
weir_status weir_nats_flight_answer(struct weir_nats_resource *resource, const char *reply,
                                    const char *word);

// ---- consumer.c: how a watch is set up, and asks for messages; the hub's thread ----

void weir_nats_queue(struct weir_nats_resource *resource, struct weir_nats_watch *watch);
// Sets up those whose turn it is.
void weir_nats_set_up(struct weir_nats_resource *resource);
// It waits for nothing any more.
void weir_nats_stage_set(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                         enum weir_nats_stage stage);
void weir_nats_timer_set(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                         enum weir_nats_timer timer);
// Sees to those whose time is over. Returns the next moment.
int64_t weir_nats_timers_run(struct weir_nats_resource *resource, int64_t now_ns);
// An answer, or a status, that came to the watch's inbox.
void weir_nats_answered(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const struct weir_nats_frame *frame);
// A message has come that was asked for only so that the server has told it.
void weir_nats_emptied(struct weir_nats_resource *resource, struct weir_nats_watch *watch);
// Asks for more messages where there is room for them.
void weir_nats_pull(struct weir_nats_resource *resource, struct weir_nats_watch *watch);
// The gap was dealt with.
void weir_nats_gap_settled(struct weir_nats_resource *resource, struct weir_nats_watch *watch);
// Offers the gap, if there is one to be offered. False: nothing else may be offered now.
bool weir_nats_gap_offer(const struct weir_nats_resource *resource, struct weir_nats_watch *watch);
void weir_nats_gap_open(struct weir_nats_resource *resource, struct weir_nats_watch *watch,
                        const char *from, const char *to, const char *reason);
// The name of the consumer of a subscription of that name. Pure.
void weir_nats_consumer_name(const char *name, char ret_name[static WEIR_NATS_CONSUMER_NAME_BYTES]);
// How its description begins, by which it is known again as one of this resource's.
void weir_nats_description(const struct weir_nats_resource *resource, const char *name,
                           char *ret_text, size_t size);

// ---- watch.c: the hub's functions ----

extern const struct weir_hub_functions weir_nats_hub_functions;
// The connection is of no use any more.
void weir_nats_disconnect(struct weir_nats_resource *resource, const struct weir_error *cause);
// Offers what is held, in order. False: the sink has no room.
bool weir_nats_drain(struct weir_nats_resource *resource, struct weir_nats_watch *watch);

#endif
