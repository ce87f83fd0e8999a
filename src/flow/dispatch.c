// SPDX-License-Identifier: Apache-2.0
//
// The workers: each takes a ready lane, calls the guest's handler with the lane's first event, and
// settles what came of it. A worker calls one handler at a time, so the number of workers is the
// number of handlers that run at once. A lane that is RUNNING belongs to its worker: nobody else
// takes it, frees it or touches its first delivery.
//
// One hold of the lock settles an event and takes the next one: the lock is what workers and
// sources meet at, and this halves how often.
#include "flow/flow_private.h"

#include "base/clock.h"
#include "base/step.h"
#include "base/thread.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    // What a worker needs of its thread's stack besides the guest's: the engine's and ours.
    THREAD_STACK_BYTES = 1024 * 1024,
    LOOKS_MAX = 300, // for a ready lane before a worker sleeps
};

// The event as the handler gets it: from the second attempt on, with the attempt's number.
static void call_handler(struct weir_worker *worker, const struct weir_delivery *delivery) {
    const struct weir_event_fields *fields = &delivery->entry.event->fields;
    if (delivery->attempts == 0 || fields->extensions.count == WEIR_EXTENSIONS_MAX) {
        weir_guest_handle(worker->guest, worker->handler, fields, &worker->call, &worker->verdict);
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
    weir_guest_handle(worker->guest, worker->handler, &again, &worker->call, &worker->verdict);
}

void weir_dispatch_call(struct weir_worker *worker) {
    bool is_tapped = atomic_load_explicit(&worker->flow->is_tapped, memory_order_relaxed);
    int64_t began_ns = is_tapped ? weir_clock_monotonic_ns() : 0;
    weir_step("handler");
    call_handler(worker, worker->lane->first);
    weir_step("after-verdict");
    worker->took_ns = is_tapped ? weir_clock_monotonic_ns() - began_ns : 0;
}

bool weir_dispatch_take(struct weir_worker *worker, int64_t *ret_wait_ns) {
    struct weir_lane *lane = weir_lanes_take(worker->flow, ret_wait_ns);
    worker->lane = lane;
    if (!lane) {
        return false;
    }
    if (worker->guest != lane->subscription->guest) { // rarely: guests are few
        worker->retired = worker->guest;
        worker->guest = weir_guest_ref(lane->subscription->guest);
    }
    worker->handler = lane->subscription->handler;
    atomic_store_explicit(&worker->call.is_cut, false, memory_order_relaxed);
    if (worker->flow->wakes > 0) {
        worker->flow->wakes--; // this one is served
    }
    return true;
}

// Under lock: waits for a ready lane. False: the flow ends.
static bool await_lane(struct weir_worker *worker) {
    struct weir_flow *flow = worker->flow;
    int64_t wait_ns;
    while (!flow->is_ending) {
        if (weir_dispatch_take(worker, &wait_ns)) {
            return true;
        }
        if (worker->guest) { // nobody calls it: do not hold it any longer
            struct weir_guest *guest = worker->guest;
            worker->guest = NULL;
            weir_flow_unlock(flow);
            weir_guest_unref(guest);
            pthread_mutex_lock(&flow->lock);
            continue;
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
    return false;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Without the lock: looks for a few microseconds whether a lane becomes ready, before the worker
// falls asleep. Where events come in quick succession, to sleep and be woken costs several times
// what handling one does. sched_yield in place of the pause was left: beside busy processes it
// gives away milliseconds.
static void look_out(struct weir_flow *flow) {
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (atomic_load_explicit(&flow->has_ready, memory_order_relaxed)) {
            return;
        }
        relax();
    }
}

// Without the lock: after each weir_dispatch_take, before the next one may retire another guest.
static void let_go_of_retired(struct weir_worker *worker) {
    weir_guest_unref(worker->retired);
    worker->retired = NULL;
}

static void *work(void *argument) {
    struct weir_worker *worker = argument;
    struct weir_flow *flow = worker->flow;
    weir_thread_be_prompt();
    pthread_mutex_lock(&flow->lock);
    bool goes_on = await_lane(worker);
    weir_flow_unlock(flow);
    while (goes_on) {
        struct weir_settlement settlement;
        struct weir_subscription *resumes[WEIR_RESUMES_MAX];
        weir_dispatch_call(worker);
        weir_settle_prepare(worker, &settlement);
        pthread_mutex_lock(&flow->lock);
        weir_settle_apply(worker, &settlement);
        size_t resume_count = weir_intake_collect_resumes(flow, resumes, WEIR_RESUMES_MAX);
        int64_t wait_ns;
        bool has_next = !flow->is_ending && weir_dispatch_take(worker, &wait_ns);
        weir_flow_unlock(flow);
        weir_delivery_free_all(settlement.over);
        let_go_of_retired(worker);
        weir_intake_resume(flow, resumes, resume_count);
        if (resume_count == WEIR_RESUMES_MAX) {
            weir_intake_resume_all(flow);
        }
        if (!has_next) {
            look_out(flow);
            pthread_mutex_lock(&flow->lock);
            goes_on = await_lane(worker);
            weir_flow_unlock(flow);
            let_go_of_retired(worker);
        }
    }
    weir_guest_unref(worker->guest);
    return NULL;
}

static void name_thread(pthread_t thread, uint32_t number) {
    char name[16]; // the system's limit
    snprintf(name, sizeof name, "weir:work-%" PRIu32, number % 10000);
    pthread_setname_np(thread, name);
}

weir_status weir_dispatch_start(struct weir_flow *flow, struct weir_error *err) {
    flow->workers = calloc(flow->config.workers + 1, sizeof *flow->workers);
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
    flow->workers = NULL;
    flow->worker_count = 0;
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
