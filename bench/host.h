// SPDX-License-Identifier: Apache-2.0
//
// weir from a resource to the handler, put together as `weir run` does it, with the defaults of
// weir.yaml but for what is measured. Ends the process where anything fails. Used on one thread.
#ifndef WEIR_BENCH_HOST_H
#define WEIR_BENCH_HOST_H

#include "config/config.h"
#include "flow/flow.h"
#include "guest/engine.h"
#include "guest/guest.h"

#include <pthread.h>

struct host {
    struct weir_engine *engine;
    struct weir_guest *guest;
    struct weir_state *state; // NULL: nothing is written down
    struct weir_flow *flow;
    struct weir_set *set;
    struct weir_subscription *subscription; // to host_flow.key
    uint32_t workers;
    bool is_executing;
    pthread_t executing;
};

struct host_guest {
    const char *path;
    bool is_reused;  // an instance is kept, in place of a fresh one for each event
    int64_t time_ns; // bounds.time; 0: the default
    struct weir_guest_output output;
};

struct host_flow {
    const char *state; // the folder of the state database; NULL: none
    struct weir_resource *resource;
    const char *key; // what is watched; NULL: every key
    // Further subscriptions, each to a key of its own: "OTHERS0", "OTHERS1", ...
    const char *others;
    uint32_t other_count;
    // 0: the default.
    uint64_t queue_events, journal_events, journal_bytes, attempts;
    int64_t backoff_ns;
    // Who looks; see struct weir_flow_config.
    bool measures;
    void (*tap)(void *context, const struct weir_tap_event *event);
    void *tap_context;
    struct weir_tracer *tracer;
};

// The defaults that a table of options has.
void host_defaults(const struct weir_option_table *table, void *base);

// The engine and the guest. `workers`: 0 is one for each core.
void host_load(struct host *ret_host, const struct host_guest *args, uint32_t workers);
// The state, the flow and the subscriptions to keys of the resource.
void host_subscribe(struct host *host, const struct host_flow *args);
// Starts to call handlers.
void host_execute(struct host *host);
// Whatever was taken and settled is durable when it returns.
void host_flush(struct host *host);
struct weir_subscription_counts host_counts(const struct host *host);
uint64_t host_commits(const struct host *host); // of the flow, so far
// Ends the flow and closes the state, but leaves the guest.
void host_unsubscribe(struct host *host);
// Ends what still is; the resource stays.
void host_finish(struct host *host);

#endif
