// SPDX-License-Identifier: Apache-2.0
//
// A subscription's beginning and end. Capturing begins when it is made, before it is known which
// handler it is for: a guest watches first and listens later, and what changes between the two is
// queued.
//
// The end, in this order: no new event (is_ending), no handler in flight, no watch, no lanes. Only
// then is it freed.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

weir_status weir_subscription_create(struct weir_flow *flow,
                                     const struct weir_subscription_args *args,
                                     struct weir_subscription **ret_subscription,
                                     struct weir_error *err) {
    *ret_subscription = NULL;
    const struct weir_provider *provider = args->resource->provider;
    if (!provider->watch) {
        return weir_fail(err, WEIR_UNSUPPORTED, "resource %s (kind %s) cannot be watched",
                         args->resource->name, provider->kind);
    }
    struct weir_subscription *subscription = calloc(1, sizeof *subscription);
    char derived[WEIR_SUBSCRIPTION_NAME_BYTES_MAX];
    snprintf(derived, sizeof derived, "%s/%s/%.*s", weir_guest_name(args->guest),
             args->resource->name, (int)(args->key.size < 300 ? args->key.size : 300),
             args->key.data ? args->key.data : "");
    char *name = strdup(args->name ? args->name : derived);
    if (!subscription || !name) {
        free(subscription);
        free(name);
        return weir_fail_no_memory(err, "a subscription");
    }
    *subscription = (struct weir_subscription){.flow = flow,
                                               .name = name,
                                               .resource = args->resource,
                                               .guest = args->guest,
                                               .retry = args->retry,
                                               .queue = args->queue};
    struct weir_watch_args watch_args = {
        .pattern = weir_pattern_of(args->key),
        .sink = {.offer = weir_intake_offer, .context = subscription},
        .event_bytes_max = args->event_bytes_max,
    };
    struct weir_watch *watch;
    weir_status status = provider->watch(args->resource, &watch_args, &watch, err);
    if (status != WEIR_OK) {
        free(name);
        free(subscription);
        return status;
    }
    pthread_mutex_lock(&flow->lock);
    subscription->watch = watch; // from now on it may be resumed
    pthread_mutex_unlock(&flow->lock);
    *ret_subscription = subscription;
    return WEIR_OK;
}

bool weir_subscription_is_busy(const struct weir_subscription *subscription) {
    return subscription->counts.in_flight > 0 || subscription->pins > 0;
}

void weir_subscription_end(struct weir_subscription *subscription, int64_t until_ns) {
    struct weir_flow *flow = subscription->flow;
    pthread_mutex_lock(&flow->lock);
    subscription->is_ending = true;
    struct timespec until = weir_clock_timespec(until_ns);
    while (weir_subscription_is_busy(subscription)) {
        if (flow->is_cutting || weir_clock_monotonic_ns() >= until_ns) {
            if (subscription->set) { // else a worker is only about to call its provider
                weir_dispatch_cut(subscription->set, subscription);
            }
            // A guest that was cut is gone at the next tick; a host function that it is in has a
            // timeout of its own.
            pthread_cond_wait(&flow->changed, &flow->lock);
        } else {
            pthread_cond_clockwait(&flow->changed, &flow->lock, CLOCK_MONOTONIC, &until);
        }
    }
    if (subscription->is_paused) {
        DL_DELETE2(flow->paused, subscription, prev_paused, next_paused);
        subscription->is_paused = false;
    }
    pthread_mutex_unlock(&flow->lock);
    subscription->resource->provider->unwatch(subscription->watch);
    subscription->watch = NULL;
}

void weir_subscription_destroy(struct weir_subscription *subscription) {
    if (!subscription) {
        return;
    }
    struct weir_flow *flow = subscription->flow;
    if (subscription->watch) {
        weir_subscription_end(subscription, 0);
    }
    pthread_mutex_lock(&flow->lock);
    uint64_t dropped = weir_lanes_clear(subscription);
    subscription->counts.dropped += dropped;
    pthread_mutex_unlock(&flow->lock);
    if (dropped > 0) {
        char count[24];
        snprintf(count, sizeof count, "%" PRIu64, dropped);
        weir_log(flow->config.log, WEIR_LOG_WARN, "events were dropped with their subscription",
                 {"subscription", weir_str_of(subscription->name)}, {"events", weir_str_of(count)});
    }
    free(subscription->name);
    free(subscription);
}

void weir_subscription_counts(struct weir_subscription *subscription,
                              struct weir_subscription_counts *ret_counts) {
    pthread_mutex_lock(&subscription->flow->lock);
    *ret_counts = subscription->counts;
    pthread_mutex_unlock(&subscription->flow->lock);
}
