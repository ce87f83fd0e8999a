// SPDX-License-Identifier: Apache-2.0
//
// The way of an event between a provider and a guest: subscriptions, their queues, the workers that
// call handlers, and what follows from a handler's verdict.
//
//   watch --> intake --> lanes --> dispatch --> guest --> verdict --> settle
//
// A flow owns the workers and the bounds that hold for all. A set is what a guest's `events`
// resource stands for, or what the configuration subscribes to: subscriptions that are executed
// together. A subscription is one watch, one handler and a lane for each key.
//
// Threads. Everything here may be called from any thread but a worker or a resource's thread;
// weir_subscription's sink is called on resources' threads. One lock (flow->lock) guards all
// queues; it is never held while a guest, a provider or the log is called.
//
// This room keeps what it knows in memory. A journal belongs between intake and lanes (intake.c),
// the commit of an outcome into settle.c: both are marked there.
#ifndef WEIR_FLOW_FLOW_H
#define WEIR_FLOW_FLOW_H

#include "base/error.h"
#include "config/config.h"
#include "provider/provider.h"

#include <stdint.h>

struct weir_flow;
struct weir_guest;
struct weir_guest_host;
struct weir_log;
struct weir_session;
struct weir_set;
struct weir_subscription;

enum {
    WEIR_WORKERS_MAX = 1024,
    WEIR_SUBSCRIPTION_NAME_BYTES_MAX = 512,
    WEIR_LANES_KEPT_MAX =
        256, // empty lanes that a subscription keeps for the next event of their keys
    WEIR_CUT_WAIT_MS = 2000, // how long a guest that was cut may take to be gone
};

struct weir_flow_config {
    uint32_t workers;     // threads that call handlers; 1 to WEIR_WORKERS_MAX
    int64_t grace_ns;     // for handlers in flight at a deadline or a stop
    uint64_t queue_bytes; // of all queues together
    uint64_t stack_bytes; // wasm stack that a worker's thread must have room for
    struct weir_log *log; // may be NULL
};

// Starts the workers. WEIR_NO_MEMORY, WEIR_LIMIT (threads).
weir_status weir_flow_create(const struct weir_flow_config *config, struct weir_flow **ret_flow,
                             struct weir_error *err);
// Every set must be gone. NULL is allowed. Joins the workers.
void weir_flow_destroy(struct weir_flow *flow);
// Orderly stop: every exec ends as if its deadline had come, and none begins. May be called more
// than once.
void weir_flow_stop(struct weir_flow *flow);
// Ends the grace period: what still runs is cut now. After weir_flow_stop.
void weir_flow_cut(struct weir_flow *flow);

// What one subscription is made of. Everything is copied but the resource and the guest, which must
// outlive it.
struct weir_subscription_args {
    const char *name; // unique in the log; NULL: derived from the rest
    struct weir_resource *resource;
    struct weir_str key;      // a key or a prefix with "*"
    uint64_t event_bytes_max; // larger values come without data
    struct weir_guest *guest;
    struct weir_retry retry;
    struct weir_queue_bounds queue;
};

// What happened to a subscription's events so far.
struct weir_subscription_counts {
    uint64_t received, handled, failed, dead, dropped; // events, but `failed`: attempts
    uint64_t queued, queued_bytes, in_flight;          // now
};

// Starts to capture: from the return on, every change is queued. It belongs to no set yet and calls
// no handler.
weir_status weir_subscription_create(struct weir_flow *flow,
                                     const struct weir_subscription_args *args,
                                     struct weir_subscription **ret_subscription,
                                     struct weir_error *err);
// Ends a subscription that is in no set. What is queued is dropped, counted and logged. NULL is
// allowed.
void weir_subscription_destroy(struct weir_subscription *subscription);
void weir_subscription_counts(struct weir_subscription *subscription,
                              struct weir_subscription_counts *ret_counts);

// An empty set with one reference. `owner` names it in the log.
weir_status weir_set_create(struct weir_flow *flow, const char *owner, struct weir_set **ret_set,
                            struct weir_error *err);
void weir_set_ref(struct weir_set *set);
// The last reference ends the set's subscriptions, cutting handlers that still run. NULL is
// allowed.
void weir_set_unref(struct weir_set *set);
// Puts a subscription, which the set owns from then on, into the set, with a handler of its guest.
void weir_set_add(struct weir_set *set, struct weir_subscription *subscription, uint32_t handler);
// Delivers events for `duration_ns` in all (0: until the flow stops), then lets handlers in flight
// finish within the grace period and cuts the rest. What is still queued stays for the next exec.
// Returns WEIR_OK at the deadline and at a stop; WEIR_OTHER where a cut handler did not end within
// WEIR_CUT_WAIT_MS.
weir_status weir_set_exec(struct weir_set *set, int64_t duration_ns, struct weir_error *err);

// What a guest's main may reach.
struct weir_session_args {
    struct weir_flow *flow;
    struct weir_guest *guest;
    const char *guest_name;
    struct weir_resource *const *resources; // all there are; must outlive the session
    const bool *is_granted;                 // for each of them, as long-lived; NULL: all are
    size_t resource_count;
    uint64_t watches_max;
    uint64_t event_bytes_max;
    struct weir_retry retry;
    struct weir_queue_bounds queue;
};

// The `session` of weir_guest_run, and the functions that go with it. Used on the thread that runs
// main.
weir_status weir_session_create(const struct weir_session_args *args,
                                struct weir_session **ret_session, struct weir_error *err);
void weir_session_destroy(struct weir_session *session);
extern const struct weir_guest_host weir_session_host;

#endif
