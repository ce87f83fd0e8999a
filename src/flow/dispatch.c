// SPDX-License-Identifier: Apache-2.0
//
// The workers: each takes a ready lane, calls the guest's handler with the lane's first event, and
// settles what came of it. A worker calls one handler at a time, so the number of workers is the
// number of handlers that run at once. A lane that is RUNNING belongs to its worker: nobody else
// takes it, frees it or touches its first delivery.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

// What a worker needs of its thread's stack besides the guest's: the engine's and ours.
enum { THREAD_STACK_BYTES = 1024 * 1024 };

// The event as the handler gets it: from the second attempt on, with the attempt's number.
static void call_handler(struct weir_subscription *subscription,
                         const struct weir_delivery *delivery, struct weir_call *call,
                         struct weir_verdict *ret_verdict) {
    const struct weir_event_fields *fields = &delivery->event->fields;
    if (delivery->attempts == 0 || fields->extensions.count == WEIR_EXTENSIONS_MAX) {
        weir_guest_handle(subscription->guest, subscription->handler, fields, call, ret_verdict);
        return;
    }
    struct weir_event_fields again = *fields;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    char number[sizeof "4294967295"];
    int size = snprintf(number, sizeof number, "%" PRIu32, delivery->attempts + 1);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        extensions[i] = fields->extensions.items[i];
    }
    extensions[fields->extensions.count] = (struct weir_attribute){
        .name = WEIR_STR(WEIR_EXTENSION_ATTEMPT), .value = {.data = number, .size = (size_t)size}};
    again.extensions =
        (struct weir_attributes){.items = extensions, .count = fields->extensions.count + 1};
    weir_guest_handle(subscription->guest, subscription->handler, &again, call, ret_verdict);
}

// Waits for a ready lane. NULL: the flow ends.
static struct weir_lane *next_lane(struct weir_worker *worker) {
    struct weir_flow *flow = worker->flow;
    struct weir_lane *lane = NULL;
    pthread_mutex_lock(&flow->lock);
    while (!flow->is_ending) {
        int64_t wait_ns;
        lane = weir_lanes_take(flow, &wait_ns);
        if (lane) {
            break;
        }
        flow->idle_workers++;
        if (wait_ns == INT64_MAX) {
            pthread_cond_wait(&flow->work, &flow->lock);
        } else {
            struct timespec until = weir_clock_timespec(wait_ns);
            pthread_cond_clockwait(&flow->work, &flow->lock, CLOCK_MONOTONIC, &until);
        }
        flow->idle_workers--;
    }
    if (lane) {
        worker->lane = lane;
        atomic_store_explicit(&worker->call.is_cut, false, memory_order_relaxed);
        lane->subscription->counts.in_flight++;
        lane->subscription->set->in_flight++;
    }
    weir_flow_unlock(flow);
    return lane;
}

static void *work(void *argument) {
    struct weir_worker *worker = argument;
    struct weir_lane *lane;
    while ((lane = next_lane(worker))) {
        call_handler(lane->subscription, lane->first, &worker->call, &worker->verdict);
        weir_settle(worker);
    }
    return NULL;
}

static void name_thread(pthread_t thread, uint32_t number) {
    char name[16]; // the system's limit
    snprintf(name, sizeof name, "weir:work-%" PRIu32, number % 10000);
    pthread_setname_np(thread, name);
}

weir_status weir_dispatch_start(struct weir_flow *flow, struct weir_error *err) {
    flow->workers = calloc(flow->config.workers, sizeof *flow->workers);
    if (!flow->workers) {
        return weir_fail_no_memory(err, "the workers");
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, flow->config.stack_bytes + THREAD_STACK_BYTES);
    int code = 0;
    for (uint32_t i = 0; i < flow->config.workers && code == 0; i++) {
        struct weir_worker *worker = &flow->workers[i];
        worker->flow = flow;
        if (getrandom(worker->random, sizeof worker->random, GRND_NONBLOCK) < 0) {
            worker->random[0] =
                (unsigned short)i; // early at boot: jitter need not be unpredictable
        }
        code = pthread_create(&worker->thread, &attributes, work, worker);
        if (code == 0) {
            flow->worker_count++;
            name_thread(worker->thread, i + 1);
        }
    }
    pthread_attr_destroy(&attributes);
    return code == 0 ? WEIR_OK
                     : weir_fail_errno(err, code, "starting worker %u", flow->worker_count + 1);
}

void weir_dispatch_join(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_ending = true;
    pthread_cond_broadcast(&flow->work);
    pthread_mutex_unlock(&flow->lock);
    for (uint32_t i = 0; i < flow->worker_count; i++) {
        pthread_join(flow->workers[i].thread, NULL);
    }
    free(flow->workers);
}

void weir_dispatch_cut(struct weir_set *set, const struct weir_subscription *subscription) {
    for (uint32_t i = 0; i < set->flow->worker_count; i++) {
        struct weir_worker *worker = &set->flow->workers[i];
        const struct weir_subscription *its = worker->lane ? worker->lane->subscription : NULL;
        if (its && its->set == set && (!subscription || its == subscription)) {
            atomic_store_explicit(&worker->call.is_cut, true, memory_order_relaxed);
        }
    }
}
