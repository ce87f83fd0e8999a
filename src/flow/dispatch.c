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

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <utlist.h>

enum {
    // What a worker needs of its thread's stack besides the guest's: the engine's and ours.
    THREAD_STACK_BYTES = 1024 * 1024,
    LOOK_NS_MAX = 50 * 1000,  // for a ready lane, before a worker falls asleep
    REST_NS_MAX = 500 * 1000, // that is counted as one between two events
    REST_WEIGHT = 8,          // rests over which their mean is taken, about
};

// The event as the handler gets it: from the second attempt on, with the attempt's number.
static void call_handler(struct weir_worker *worker, const struct weir_delivery *delivery) {
    const struct weir_event_fields *fields = &delivery->entry.event->fields;
    const struct weir_subscription *subscription = worker->lane->subscription;
    worker->cause = (struct weir_cause){.subscription = subscription->name,
                                        .resource = subscription->resource->name,
                                        .event = delivery->entry.event,
                                        .trace = worker->trace.tracer ? &worker->trace : NULL};
    worker->call.cause = &worker->cause;
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

// Whether the delivery is sampled, which then has a span of its own.
static bool begin_trace(struct weir_worker *worker, struct weir_delivery *delivery) {
    if (!worker->trace.tracer) {
        return false;
    }
    weir_trace_call_begin(&worker->trace, &delivery->entry.event->fields, delivery->span);
    delivery->span = worker->trace.deliver;
    return weir_trace_is_sampled(&worker->trace.own);
}

void weir_dispatch_call(struct weir_worker *worker) {
    const struct weir_flow *flow = worker->flow;
    struct weir_delivery *first = worker->lane->first;
    bool is_sampled = begin_trace(worker, first);
    bool is_timed = is_sampled || flow->config.measures || weir_flow_is_tapped(flow);
    uint64_t began = is_timed ? weir_ticks_now(&flow->ticks) : 0;
    weir_step("handler");
    call_handler(worker, first);
    weir_step("after-verdict");
    worker->done_ticks = is_timed ? weir_ticks_now(&flow->ticks) : 0;
    worker->took_ns = weir_ticks_ns(&flow->ticks, began, worker->done_ticks);
    worker->done_ns = is_sampled ? weir_clock_monotonic_ns() : 0;
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
    return true;
}

// Under lock: takes one out of flow->parked, which is then to be posted to.
static struct weir_worker *summon(struct weir_flow *flow) {
    struct weir_worker *worker = flow->parked;
    LL_DELETE2(flow->parked, worker, next_parked);
    worker->is_parked = false;
    flow->is_one_coming = true;
    return worker;
}

void weir_dispatch_unlock_and_wake(struct weir_flow *flow) {
    struct weir_worker *worker = summon(flow);
    pthread_mutex_unlock(&flow->lock);
    sem_post(&worker->wake);
}

// False: the moment came first.
static bool wait_for_post(struct weir_worker *worker, int64_t until_ns) {
    struct timespec until = weir_clock_timespec(until_ns);
    int code;
    do {
        code = until_ns == INT64_MAX ? sem_wait(&worker->wake)
                                     : sem_clockwait(&worker->wake, CLOCK_MONOTONIC, &until);
    } while (code != 0 && errno == EINTR);
    return code == 0;
}

// Under lock, which is left meanwhile: sleeps until it is woken or that moment has come.
static void park(struct weir_worker *worker, int64_t until_ns) {
    struct weir_flow *flow = worker->flow;
    worker->is_parked = true;
    worker->until_ns = until_ns;
    LL_PREPEND2(flow->parked, worker, next_parked);
    weir_flow_unlock(flow);
    bool is_posted = wait_for_post(worker, until_ns);
    pthread_mutex_lock(&flow->lock);
    if (worker->is_parked) { // nobody has woken it
        LL_DELETE2(flow->parked, worker, next_parked);
        worker->is_parked = false;
        return;
    }
    flow->is_one_coming = false;
    if (!is_posted) { // whoever woke it is about to post
        wait_for_post(worker, INT64_MAX);
    }
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
        park(worker, wait_ns);
    }
    return false;
}

// Under lock, with no lane for the worker: whether it looks out before it falls asleep. To sleep
// and be woken costs several times what handling an event does, and where a machine halts idle
// cores some 10 us until it runs again. One worker at a time looks, and only where events come so
// soon that it is likely to see the next one.
static bool begin_rest(struct weir_worker *worker) {
    struct weir_flow *flow = worker->flow;
    worker->rests_since_ns = 0;
    if (flow->is_one_coming) {
        return false;
    }
    worker->rests_since_ns = weir_clock_monotonic_ns();
    bool looks = flow->has_cores && flow->rest_ns < LOOK_NS_MAX;
    flow->is_one_coming = looks;
    return looks;
}

// Under lock: the worker has a lane again.
static void end_rest(struct weir_worker *worker) {
    if (worker->rests_since_ns > 0) {
        int64_t rest_ns = weir_clock_monotonic_ns() - worker->rests_since_ns;
        rest_ns = rest_ns < REST_NS_MAX ? rest_ns : REST_NS_MAX;
        worker->flow->rest_ns += (rest_ns - worker->flow->rest_ns) / REST_WEIGHT;
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
        bool looks = !has_next && begin_rest(worker);
        weir_flow_unlock(flow);
        weir_delivery_free_all(settlement.over);
        let_go_of_retired(worker);
        weir_intake_resume(flow, resumes, resume_count);
        if (resume_count == WEIR_RESUMES_MAX) {
            weir_intake_resume_all(flow);
        }
        if (!has_next) {
            if (looks) {
                weir_thread_look(&flow->has_ready, LOOK_NS_MAX);
            }
            pthread_mutex_lock(&flow->lock);
            if (looks) {
                flow->is_one_coming = false;
            }
            goes_on = await_lane(worker);
            end_rest(worker);
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
    flow->has_cores = weir_thread_cores() > 1;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, flow->config.stack_bytes + THREAD_STACK_BYTES);
    int code = 0;
    for (uint32_t i = 0; i < flow->config.workers && code == 0; i++) {
        struct weir_worker *worker = &flow->workers[i];
        worker->flow = flow;
        worker->trace.tracer = flow->config.tracer;
        if (getrandom(worker->random, sizeof worker->random, GRND_NONBLOCK) < 0) {
            worker->random[0] =
                (unsigned short)i; // early at boot: jitter need not be unpredictable
        }
        sem_init(&worker->wake, 0, 0); // cannot fail with such arguments
        code = pthread_create(&worker->thread, &attributes, work, worker);
        if (code == 0) {
            flow->worker_count++;
            name_thread(worker->thread, i + 1);
        } else {
            sem_destroy(&worker->wake);
        }
    }
    pthread_attr_destroy(&attributes);
    return code == 0 ? WEIR_OK
                     : weir_fail_errno(err, code, "starting worker %u", flow->worker_count + 1);
}

void weir_dispatch_join(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_ending = true;
    while (flow->parked) {
        sem_post(&summon(flow)->wake);
    }
    pthread_mutex_unlock(&flow->lock);
    for (uint32_t i = 0; i < flow->worker_count; i++) {
        pthread_join(flow->workers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < flow->worker_count; i++) {
        sem_destroy(&flow->workers[i].wake); // the last of them may have posted to each
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
