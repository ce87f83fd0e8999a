// SPDX-License-Identifier: Apache-2.0
//
// The flow as a whole: its making, its stop and its end; see flow.h.
#include "flow/flow_private.h"

#include <stdlib.h>
#include <utlist.h>

// Reads what is kept, and starts the thread that writes.
static weir_status begin_store(struct weir_flow *flow, struct weir_error *err) {
    flow->has_store = flow->config.store != NULL;
    if (!flow->has_store) {
        return WEIR_OK;
    }
    void *context = flow->config.store_context;
    weir_status status =
        flow->config.store->last_ids(context, &flow->last_outbox_id, &flow->last_dead_id, err);
    status = status == WEIR_OK ? weir_kept_load(flow, err) : status;
    status = status == WEIR_OK ? weir_target_load(flow, err) : status;
    // Without workers a flow is driven by hand, turn by turn.
    return status == WEIR_OK && flow->config.workers > 0 ? weir_commit_start(flow, err) : status;
}

weir_status weir_flow_create(const struct weir_flow_config *config, struct weir_flow **ret_flow,
                             struct weir_error *err) {
    *ret_flow = NULL;
    struct weir_flow *flow = calloc(1, sizeof *flow);
    if (!flow) {
        return weir_fail_no_memory(err, "the flow");
    }
    flow->config = *config;
    flow->held_due_ns = INT64_MAX;
    if (flow->config.measures) {
        weir_ticks_init(&flow->ticks);
    }
    if (flow->config.commit_events == 0) {
        flow->config.commit_events = WEIR_PENDING_EVENTS_MAX;
    }
    // It is held for a fraction of a microsecond, and to sleep and be woken costs many times that:
    // whoever finds it taken looks a few times more before it sleeps.
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&flow->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    pthread_cond_init(&flow->changed, NULL);
    pthread_cond_init(&flow->commit, NULL);
    weir_status status = begin_store(flow, err);
    status = status == WEIR_OK ? weir_dispatch_start(flow, err) : status;
    if (status != WEIR_OK) {
        weir_flow_destroy(flow);
        return status;
    }
    *ret_flow = flow;
    return WEIR_OK;
}

static void forget_guests(struct weir_guest **guests, size_t count) {
    for (size_t i = 0; i < count; i++) {
        weir_guest_unref(guests[i]);
    }
    free(guests);
}

void weir_flow_destroy(struct weir_flow *flow) {
    if (!flow) {
        return;
    }
    weir_dispatch_join(flow);
    weir_target_join_all(flow);
    weir_commit_join(flow);
    weir_target_free_all(flow);
    while (flow->orphans) {
        struct weir_out *out = flow->orphans;
        flow->orphans = out->next;
        weir_out_free(out);
    }
    weir_kept_free_all(flow);
    free(flow->delayed);
    free(flow->resources);
    forget_guests(flow->guests, flow->guest_count);
    pthread_cond_destroy(&flow->commit);
    pthread_cond_destroy(&flow->changed);
    pthread_mutex_destroy(&flow->lock);
    free(flow);
}

void weir_flow_stop(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_stopping = true;
    pthread_cond_broadcast(&flow->changed);
    pthread_mutex_unlock(&flow->lock);
}

void weir_flow_cut(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_stopping = true;
    flow->is_cutting = true;
    pthread_cond_broadcast(&flow->changed);
    pthread_mutex_unlock(&flow->lock);
}

weir_status weir_flow_know(struct weir_flow *flow, const struct weir_flow_known *known,
                           struct weir_error *err) {
    struct weir_resource **resources =
        calloc(known->resource_count + 1, sizeof(struct weir_resource *));
    struct weir_guest **guests = calloc(known->guest_count + 1, sizeof(struct weir_guest *));
    if (!resources || !guests) {
        free(resources);
        free(guests);
        return weir_fail_no_memory(err, "what the configuration has");
    }
    size_t resource_count = 0, guest_count = 0;
    for (size_t i = 0; i < known->resource_count; i++) {
        if (known->resources[i]) {
            resources[resource_count++] = known->resources[i];
        }
    }
    for (size_t i = 0; i < known->guest_count; i++) {
        guests[guest_count++] = weir_guest_ref(known->guests[i]);
    }
    pthread_mutex_lock(&flow->lock);
    struct weir_resource **resources_before = flow->resources;
    struct weir_guest **guests_before = flow->guests;
    size_t guest_count_before = flow->guest_count;
    flow->resources = resources;
    flow->resource_count = resource_count;
    flow->guests = guests;
    flow->guest_count = guest_count;
    pthread_mutex_unlock(&flow->lock);
    free(resources_before);
    forget_guests(guests_before, guest_count_before);
    return WEIR_OK;
}

void weir_flow_tap(struct weir_flow *flow, bool is_on) {
    if (is_on) {
        atomic_fetch_add(&flow->lookers, 1);
    } else {
        atomic_fetch_sub(&flow->lookers, 1);
    }
}

size_t weir_flow_swap_guest(struct weir_flow *flow, const struct weir_guest *before,
                            struct weir_guest *after) {
    size_t left = 0;
    struct weir_subscription *subscription;
    pthread_mutex_lock(&flow->lock);
    DL_FOREACH2(flow->subscriptions, subscription, next_all) {
        uint32_t handler;
        if (subscription->guest != before || !subscription->set) {
            continue;
        }
        const char *name = weir_guest_handler_name(before, subscription->handler);
        if (weir_guest_handler_find(after, weir_str_of(name), &handler, NULL) != WEIR_OK) {
            left++;
            continue;
        }
        weir_guest_unref(subscription->guest); // not the last one: the caller holds it
        subscription->guest = weir_guest_ref(after);
        subscription->handler = handler;
    }
    pthread_mutex_unlock(&flow->lock);
    return left;
}
