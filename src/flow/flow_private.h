// SPDX-License-Identifier: Apache-2.0
//
// The structs that the files of this room share. "Under lock" means flow->lock.
#ifndef WEIR_FLOW_FLOW_PRIVATE_H
#define WEIR_FLOW_FLOW_PRIVATE_H

#include "base/table.h"
#include "event/event.h"
#include "flow/flow.h"
#include "guest/guest.h"
#include "observe/log.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

// One event on its way to one handler.
struct weir_delivery {
    struct weir_event *event;
    uint32_t attempts; // that have ended in failure
    struct weir_delivery *next;
};

enum weir_lane_state {
    WEIR_LANE_IDLE,    // empty, or its set does not execute
    WEIR_LANE_READY,   // in flow->ready
    WEIR_LANE_RUNNING, // a worker has its first delivery
    WEIR_LANE_DELAYED, // in flow->delayed: its first delivery waits to be tried again
};

// The queue of one key: first in, first out, one delivery at a time.
struct weir_lane {
    struct weir_subscription *subscription;
    enum weir_lane_state state;
    struct weir_delivery *first, *last;
    struct weir_lane *prev, *next; // in flow->ready
    int64_t due_ns;                // in flow->delayed
    size_t delayed_index;          // likewise
    UT_hash_handle hh;             // in subscription->lanes
    size_t key_size;
    char key[];
};

struct weir_subscription {
    struct weir_flow *flow;
    struct weir_set *set; // NULL: in none yet
    char *name;
    struct weir_resource *resource;
    struct weir_watch *watch;
    struct weir_guest *guest;
    uint32_t handler;
    struct weir_retry retry;
    struct weir_queue_bounds queue;
    struct weir_lane *lanes; // by key
    bool is_paused;          // the provider was told WEIR_AGAIN; in flow->paused
    bool is_ending;
    uint32_t pins; // workers that are about to call the provider for it
    struct weir_subscription *prev_paused, *next_paused;
    struct weir_subscription_counts counts;
    struct weir_subscription *next; // in its set
};

struct weir_set {
    struct weir_flow *flow;
    char *owner;
    unsigned references;
    bool is_executing;
    uint32_t in_flight;
    struct weir_subscription *subscriptions;
};

struct weir_worker {
    struct weir_flow *flow;
    pthread_t thread;
    struct weir_lane *lane; // whose handler it calls, NULL between calls
    struct weir_call call;
    struct weir_verdict verdict;
    unsigned short random[3]; // its own state, for jitter
};

struct weir_flow {
    struct weir_flow_config config;
    pthread_mutex_t lock;
    pthread_cond_t work;    // a lane is ready, one is due, or the flow ends
    pthread_cond_t changed; // a set's handlers ended, or the flow stops
    // Everything below is under lock.
    struct weir_lane *ready;    // doubly linked, first in first out
    struct weir_lane **delayed; // a binary heap by due_ns
    size_t delayed_count, delayed_capacity;
    uint64_t queued_bytes;
    uint32_t idle_workers;
    uint32_t wakes;   // idle workers to wake when the lock is left, see weir_flow_unlock
    bool is_stopping; // no exec goes on
    bool is_cutting;  // no grace any more
    bool is_ending;   // workers return
    struct weir_subscription *paused; // doubly linked
    struct weir_worker *workers;
    uint32_t worker_count;
};

// Leaves flow->lock and wakes as many workers as there are lanes made ready under it. After the
// unlock, because a worker that is woken under the lock runs into it and sleeps again.
static inline void weir_flow_unlock(struct weir_flow *flow) {
    uint32_t wakes = flow->wakes < flow->idle_workers ? flow->wakes : flow->idle_workers;
    flow->wakes = 0;
    pthread_mutex_unlock(&flow->lock);
    for (uint32_t i = 0; i < wakes; i++) {
        pthread_cond_signal(&flow->work);
    }
}

// intake.c

// The sink of a subscription's watch.
weir_status weir_intake_offer(void *context, struct weir_event *event);

// lanes.c, all under lock, which is then left by weir_flow_unlock

// Puts a delivery at the end of its key's lane. WEIR_NO_MEMORY leaves everything as it was.
weir_status weir_lanes_push(struct weir_subscription *subscription, struct weir_event *event,
                            struct weir_error *err);
// Makes every lane of the set's subscriptions that has something to deliver ready.
void weir_lanes_wake(struct weir_set *set);
// The lane that is to be served next, RUNNING from then on; NULL: none. *ret_wait_ns: when a
// delayed one is due (monotonic), INT64_MAX: none is.
struct weir_lane *weir_lanes_take(struct weir_flow *flow, int64_t *ret_wait_ns);
// The first delivery of a RUNNING lane is over: removes and returns it, and makes the lane ready,
// idle or gone.
struct weir_delivery *weir_lanes_pop(struct weir_lane *lane);
// The first delivery of a RUNNING lane is to be tried again at due_ns. It waits in the heap; where
// there is no memory for that it is tried at once.
void weir_lanes_delay(struct weir_lane *lane, int64_t due_ns);
// The first delivery of a RUNNING lane was not tried; the lane waits for the next exec.
void weir_lanes_put_back(struct weir_lane *lane);
// Frees every lane of a subscription none of whose lanes is RUNNING, and what they hold. Returns
// the deliveries.
uint64_t weir_lanes_clear(struct weir_subscription *subscription);

// dispatch.c

weir_status weir_dispatch_start(struct weir_flow *flow, struct weir_error *err);
void weir_dispatch_join(struct weir_flow *flow);
// Cuts the handlers that run for a set, or for one of its subscriptions (NULL: for all). Under
// lock.
void weir_dispatch_cut(struct weir_set *set, const struct weir_subscription *subscription);

// subscription.c

// Ends a subscription's watch once its handlers have ended: waits for them, cutting those that
// outlast `until_ns`.
void weir_subscription_end(struct weir_subscription *subscription, int64_t until_ns);
// Whether a handler of it runs, or a worker is about to call its provider. Under lock.
bool weir_subscription_is_busy(const struct weir_subscription *subscription);

// settle.c, on a worker's thread, without the lock

// Does what follows from worker->verdict on the first delivery of worker->lane, and lets go of the
// lane.
void weir_settle(struct weir_worker *worker);

// verdict.c

enum weir_decision {
    WEIR_DECIDE_SETTLE,
    WEIR_DECIDE_RETRY,
    WEIR_DECIDE_DEAD,
    WEIR_DECIDE_PUT_BACK
};
// What follows from a verdict on the attempt of number `attempt` (from 1).
enum weir_decision weir_decide(const struct weir_verdict *verdict, const struct weir_retry *retry,
                               uint32_t attempt);
// How long to wait before the attempt after number `attempt`: backoff doubled for each failure and
// capped, less a random share of at most `jitter`; random_share is in [0, 1).
int64_t weir_backoff_ns(const struct weir_retry *retry, uint32_t attempt, double random_share);

#endif
