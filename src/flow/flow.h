// SPDX-License-Identifier: Apache-2.0
//
// The way of an event between a provider and a guest: subscriptions, their queues, the workers that
// call handlers, what follows from a handler's verdict, and what of all that is written down.
//
//   watch --> intake --> lanes --> dispatch --> guest --> verdict --> settle --> commit --> publish
//
// A flow owns the workers and the bounds that hold for all. A set is what a guest's `events`
// resource stands for, or what the configuration subscribes to: subscriptions that are executed
// together. A subscription is one watch, one handler and a lane for each key.
//
// Threads. Everything here may be called from any thread but a worker, a resource's thread or the
// flow's own; a subscription's sink is called on resources' threads. One lock (flow->lock) guards
// all queues; it is never held while a guest, a provider, the store or the log is called.
//
// Without a store a flow keeps what it knows in memory, and a stop loses it.
#ifndef WEIR_FLOW_FLOW_H
#define WEIR_FLOW_FLOW_H

#include "base/error.h"
#include "base/progress.h"
#include "config/config.h"
#include "guest/guest.h"
#include "observe/histogram.h"
#include "provider/provider.h"
#include "state/store.h"

#include <stdint.h>

struct weir_access;
struct weir_cause;
struct weir_flow;
struct weir_log;
struct weir_session;
struct weir_set;
struct weir_subscription;
struct weir_tracer;

enum {
    WEIR_WORKERS_MAX = 1024,
    WEIR_SUBSCRIPTION_NAME_BYTES_MAX = 1024,
    WEIR_LANES_KEPT_MAX =
        1024, // empty lanes that a subscription keeps for the next event of their keys
    WEIR_CUT_WAIT_MS = 2000,         // how long a guest that was cut may take to be gone
    WEIR_PENDING_EVENTS_MAX = 65536, // that only wait for the disk; then nothing more is taken
    WEIR_OUTBOX_WAITING_MAX = 1024,  // of one target; then its handlers wait
    WEIR_COMMIT_RETRY_MS_MAX = 1000, // between two attempts to write what the disk refuses
    WEIR_STUCK_MS = 10 * 1000,       // that something may be due and not be begun
};

// What happened to one delivery, for whoever looks on.
struct weir_tap_event {
    const char *subscription, *guest, *handler;
    const struct weir_event_fields *event;
    uint32_t attempt;
    const char *outcome;    // "handled", "derived", "retry", "dead"
    const char *reason;     // of a failure, else ""
    int64_t took_ns;        // of the handler's call
    struct weir_str output; // the end of what it printed
    const char *trace;      // the id of the event's trace, 32 digits; "": there are no traces
};

struct weir_flow_config {
    bool measures; // the times of handlers and events are taken; else their histograms stay empty
    uint32_t workers;     // threads that call handlers; 0 to WEIR_WORKERS_MAX
    int64_t grace_ns;     // for handlers in flight at a deadline or a stop
    uint64_t queue_bytes; // of all queues together
    uint64_t stack_bytes; // wasm stack that a worker's thread must have room for
    uint64_t hops_max;    // handlers that a chain may pass; 0: 16
    struct weir_log *log; // may be NULL
    // What is written down, and how long it may wait for company; NULL: nothing is.
    const struct weir_store *store;
    void *store_context; // must outlive the flow
    int64_t commit_ns;
    uint64_t commit_events; // 0: WEIR_PENDING_EVENTS_MAX
    // Called on workers after each delivery while weir_flow_tap says so, and after each that has
    // failed in any case; must not block. May be NULL.
    void (*tap)(void *context, const struct weir_tap_event *event);
    void *tap_context;
    struct weir_tracer *tracer; // must outlive the flow; NULL: there are no traces
};

// Reads what is kept and starts the threads. WEIR_NO_MEMORY, WEIR_LIMIT (threads), and what the
// store answers.
weir_status weir_flow_create(const struct weir_flow_config *config, struct weir_flow **ret_flow,
                             struct weir_error *err);
// Every set must be gone. NULL is allowed. Writes what still waits, if the store lets it, and joins
// the threads.
void weir_flow_destroy(struct weir_flow *flow);
// Orderly stop: every exec ends as if its deadline had come, and none begins. May be called more
// than once.
void weir_flow_stop(struct weir_flow *flow);
// Ends the grace period: what still runs is cut now. After weir_flow_stop.
void weir_flow_cut(struct weir_flow *flow);
// Waits until everything that was settled or taken so far is durable, until the moment at the
// latest. WEIR_UNAVAILABLE where it is not.
weir_status weir_flow_flush(struct weir_flow *flow, int64_t until_ns, struct weir_error *err);
// Gives every subscription of `before` the guest `after`, whose handler of the same name is used
// from the next event on. Returns how many keep the old one, because the new one has no such
// handler. The caller holds `before`.
size_t weir_flow_swap_guest(struct weir_flow *flow, const struct weir_guest *before,
                            struct weir_guest *after);
// What the configuration has, for weir_flow_look.
struct weir_flow_known {
    struct weir_resource *const
        *resources; // must outlive the flow; those that are NULL are left out
    size_t resource_count;
    struct weir_guest *const *guests; // a reference is taken of each
    size_t guest_count;
};
// In place of what it had before. WEIR_NO_MEMORY: nothing has changed. Any thread.
weir_status weir_flow_know(struct weir_flow *flow, const struct weir_flow_known *known,
                           struct weir_error *err);
// What somebody who looks whether the flow moves has seen so far. Zeroed before the first look.
struct weir_flow_pulse {
    uint64_t turns;   // of the commit thread, at the last look
    int64_t since_ns; // the first look since then that found something due; 0: none has
};
// Whether the flow moves, see alive.c for what that means; waits for its lock until the moment at
// the latest. *ret_reason: why it does not. To be asked again and again; a pulse is of one thread.
bool weir_flow_is_alive(struct weir_flow *flow, struct weir_flow_pulse *pulse, int64_t until_ns,
                        const char **ret_reason);
// One more, or one less, who wants config.tap to be called with everything.
void weir_flow_tap(struct weir_flow *flow, bool is_on);

// What one subscription is made of. Everything is copied but the resources and the guest, which
// must outlive it.
struct weir_subscription_args {
    const char *name; // under which it is kept; NULL: derived from the rest
    struct weir_resource *resource;
    struct weir_str key;      // a key or a prefix with "*"
    uint64_t event_bytes_max; // larger values come without data
    struct weir_guest *guest; // a reference is taken
    const char *handler;      // its name, for the derived name; NULL: not known yet
    struct weir_retry retry;
    struct weir_queue_bounds queue;
    struct weir_journal_bounds journal; // zeros: no bound
    uint64_t concurrency;               // 0: as many as there are workers
    enum weir_on_gap on_gap;
    enum weir_overflow overflow;
    struct weir_resource *to; // where returned events go; NULL: nowhere
};

// The name that a subscription gets where none is given, at most WEIR_SUBSCRIPTION_NAME_BYTES_MAX
// with its end; the second of the same gets "#2" behind it.
void weir_subscription_derive_name(const struct weir_guest *guest,
                                   const struct weir_resource *resource, struct weir_str key,
                                   const char *handler,
                                   char ret_name[static WEIR_SUBSCRIPTION_NAME_BYTES_MAX]);

// What happened to a subscription's events since it began.
struct weir_subscription_counts {
    uint64_t received, handled, dead, dropped, derived; // events
    uint64_t repeated; // of `received`: their source says that it has told them before
    // Attempts: how many handlers have ended, but for those that weir cut to stop in time; of them
    // those that failed; of these those that will be followed by another one, that went over a
    // bound, and that trapped or answered what breaks the contract.
    uint64_t delivered, failed, retried, cut, trapped;
    uint64_t queued, queued_bytes, in_flight; // now, in memory
    uint64_t behind;                          // now, in the journal alone
};

// Starts to capture: from the return on, every change is queued. It belongs to no set yet and calls
// no handler. One that is kept under this name goes on where it was. WEIR_INVALID: there is one of
// that name already; and what the provider answers.
weir_status weir_subscription_create(struct weir_flow *flow,
                                     const struct weir_subscription_args *args,
                                     struct weir_subscription **ret_subscription,
                                     struct weir_error *err);
// Ends a subscription that is in no set. What is queued stays for the next one of its name where
// there is a store, else it is dropped, counted and logged. NULL is allowed.
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
// Takes the subscription of that name out of the set and ends it, as weir_set_unref does; handlers
// in flight get the grace period. `comes_again`: one of that name is about to be created, for which
// a topic that it watches waits. False: there is none.
bool weir_set_remove(struct weir_set *set, const char *name, bool comes_again);
// Delivers events for `duration_ns` in all (0: until the flow stops), then lets handlers in flight
// finish within the grace period and cuts the rest. What is still queued stays for the next exec.
// Returns WEIR_OK at the deadline and at a stop; WEIR_OTHER where a cut handler did not end within
// WEIR_CUT_WAIT_MS.
weir_status weir_set_exec(struct weir_set *set, int64_t duration_ns, struct weir_error *err);

// ---- looking, and what a person may do ----

// What is told of a subscription. The texts live during the call.
struct weir_subscription_status {
    const char *name, *resource, *guest, *handler, *to; // `to`, `guest`, `handler` may be ""
    const char *kind;                                   // of the resource; "": nobody runs it
    struct weir_str key, cursor;
    // "running"; "waiting": its set does not execute; "paused": its source is; "behind": it reads
    // from the journal; "stopped": see `error`; "kept": nobody runs it now.
    const char *state;
    struct weir_subscription_counts counts;
    struct weir_progress progress; // of what takes its source long, as a first look at a table
    int64_t oldest_ns;             // age of the oldest event in memory that is not settled; 0: none
    struct weir_histogram handler_time; // of each call that `delivered` counts
    struct weir_histogram event_time;   // from being taken to being settled
    uint64_t retrying;                  // keys that wait for another attempt
    uint64_t next_seq;                  // of the next event
    uint64_t refused;  // what its guest asked for without a grant, in its main and all its handlers
    const char *error; // the last one; "" for none
    int64_t error_wall_ns;
};

struct weir_target_status {
    const char *name, *kind; // of the resource
    uint64_t waiting, published;
    const char *error; // why nothing is published now; "" for none
};

// A resource that says how its connection is.
struct weir_resource_status {
    const char *name, *kind;
    struct weir_health health;
};

// A guest of the configuration.
struct weir_guest_status {
    const char *name, *lane; // "core" or "component"
    struct weir_guest_stats stats;
    uint64_t refused; // what it asked for without a grant
};

struct weir_flow_status {
    bool is_state_failing;
    const char *state_error; // "" for none
    int64_t state_failing_since_wall_ns;
    uint64_t commits;
    uint64_t queued_bytes, queued_bytes_max; // of the events in all queues together
};

// Calls for the flow, then for each subscription, running ones first, then for each target, then
// for each resource that is watched or was told by weir_flow_know, then for each guest that was.
// Everything up to the targets is of one moment. NULL: not wanted. WEIR_NO_MEMORY.
struct weir_status_calls {
    void (*flow)(void *context, const struct weir_flow_status *status);
    void (*subscription)(void *context, const struct weir_subscription_status *status);
    void (*target)(void *context, const struct weir_target_status *status);
    void (*resource)(void *context, const struct weir_resource_status *status);
    void (*guest)(void *context, const struct weir_guest_status *status);
    void *context;
};
weir_status weir_flow_look(struct weir_flow *flow, const struct weir_status_calls *calls,
                           struct weir_error *err);

// What a look costs least: calls for the name and the counts of each subscription that runs, all of
// one moment. For those who look each second; it walks no lanes, and the flow waits for a copy
// alone. WEIR_NO_MEMORY: nobody was called.
weir_status weir_flow_tally(struct weir_flow *flow,
                            void (*each)(void *context, const char *name,
                                         const struct weir_subscription_counts *counts),
                            void *context, struct weir_error *err);

// Removes a dead letter, and with `again` gives its event once more to its subscription, behind
// what waits there, or to the outbox. Durable when it returns. WEIR_NOT_FOUND; WEIR_UNAVAILABLE:
// the subscription does not run, or the store cannot write.
weir_status weir_flow_undead(struct weir_flow *flow, uint64_t id, bool again,
                             struct weir_error *err);

// An event that a guest publishes itself.
struct weir_send_args {
    const char *guest;
    struct weir_resource *resource;        // must outlive the flow
    const struct weir_event_fields *event; // what it has of specversion, source and id is not kept
    const struct weir_cause *cause;        // of the handler's call; NULL: it is main's
    uint32_t ordinal;                      // of those of one call, from 1
};

// Keeps an event to be published: durable with the next commit, in any case not later than the end
// of the handler that sent it. WEIR_INVALID: it is no CloudEvent; WEIR_LIMIT: too many handlers
// have passed it on; WEIR_UNAVAILABLE: too many wait to be published there; WEIR_UNSUPPORTED;
// WEIR_NO_MEMORY. Any thread that runs a guest, workers among them.
weir_status weir_flow_send(struct weir_flow *flow, const struct weir_send_args *args,
                           struct weir_error *err);

// What a guest's main may reach.
struct weir_session_args {
    struct weir_flow *flow;
    struct weir_guest *guest;
    const char *guest_name;
    struct weir_access *access; // bound to its resources; must outlive the session
    uint64_t watches_max;
    uint64_t event_bytes_max;
    struct weir_retry retry;
    struct weir_queue_bounds queue;
    struct weir_journal_bounds journal;
    uint64_t concurrency;
    enum weir_on_gap on_gap;
    enum weir_overflow overflow;
    struct weir_resource *to;
};

// The `session` of weir_guest_run, and the functions that go with it. Used on the thread that runs
// main.
weir_status weir_session_create(const struct weir_session_args *args,
                                struct weir_session **ret_session, struct weir_error *err);
void weir_session_destroy(struct weir_session *session);
extern const struct weir_guest_host weir_session_host;

#endif
