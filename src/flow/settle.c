// SPDX-License-Identifier: Apache-2.0
//
// What follows from a verdict: the event is done with, tried again later, or given up; and room in
// the queue wakes the source. Runs on the worker that called the handler.
//
// The commit's place is here: derived events, dead letters and the cursor go down in one
// transaction before the delivery is popped. For now an event that is given up is told in the log,
// and a derived event that has no sink is counted and dropped.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

// Sources that are woken between two looks at the list of those that wait.
enum { RESUMES_MAX = 16 };

static bool has_room_again(const struct weir_subscription *subscription) {
    const struct weir_flow *flow = subscription->flow;
    const struct weir_subscription_counts *counts = &subscription->counts;
    return counts->queued == 0 || (counts->queued <= subscription->queue.events / 2 &&
                                   counts->queued_bytes <= subscription->queue.bytes / 2 &&
                                   flow->queued_bytes <= flow->config.queue_bytes / 2);
}

// Under lock: takes subscriptions that have room again out of the paused ones. Each is pinned, so
// that its watch stays until the provider has been called.
static size_t collect_resumes(struct weir_flow *flow,
                              struct weir_subscription *ret_list[RESUMES_MAX]) {
    size_t count = 0;
    struct weir_subscription *subscription, *next;
    DL_FOREACH_SAFE2(flow->paused, subscription, next, next_paused) {
        if (count == RESUMES_MAX) {
            break;
        }
        if (subscription->watch && !subscription->is_ending && has_room_again(subscription)) {
            DL_DELETE2(flow->paused, subscription, prev_paused, next_paused);
            subscription->is_paused = false;
            subscription->pins++;
            ret_list[count++] = subscription;
        }
    }
    return count;
}

static void resume(struct weir_flow *flow, struct weir_subscription **list, size_t count) {
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        list[i]->resource->provider->resume(list[i]->watch);
    }
    pthread_mutex_lock(&flow->lock);
    for (size_t i = 0; i < count; i++) {
        list[i]->pins--;
    }
    pthread_cond_broadcast(&flow->changed);
    pthread_mutex_unlock(&flow->lock);
}

static void tell(const struct weir_subscription *subscription, const struct weir_event *event,
                 enum weir_decision decision, uint32_t attempt, const char *reason) {
    struct weir_log *log = subscription->flow->config.log;
    bool is_dead = decision == WEIR_DECIDE_DEAD;
    char attempts[48];
    snprintf(attempts, sizeof attempts, "%" PRIu32 " of %" PRIu64, attempt,
             subscription->retry.attempts);
    weir_log(log, is_dead ? WEIR_LOG_ERROR : WEIR_LOG_WARN,
             is_dead ? "the handler failed and the event is given up"
                     : "the handler failed and will be called again",
             {"subscription", weir_str_of(subscription->name)}, {"event", event->fields.id},
             {"attempt", weir_str_of(attempts)}, {"reason", weir_str_of(reason)});
}

// Under lock: moves the lane on. Returns the delivery where it is over, NULL where it stays.
static struct weir_delivery *apply(struct weir_worker *worker, enum weir_decision decision) {
    struct weir_lane *lane = worker->lane;
    struct weir_subscription *subscription = lane->subscription;
    struct weir_subscription_counts *counts = &subscription->counts;
    switch (decision) {
    case WEIR_DECIDE_PUT_BACK:
        weir_lanes_put_back(lane);
        return NULL;
    case WEIR_DECIDE_RETRY: {
        counts->failed++;
        uint32_t attempt = ++lane->first->attempts;
        int64_t wait_ns = weir_backoff_ns(&subscription->retry, attempt, erand48(worker->random));
        weir_lanes_delay(lane, weir_clock_monotonic_ns() + wait_ns);
        return NULL;
    }
    case WEIR_DECIDE_DEAD:
        counts->failed++;
        counts->dead++;
        break;
    case WEIR_DECIDE_SETTLE:
        counts->handled++;
        break;
    }
    return weir_lanes_pop(lane);
}

void weir_settle(struct weir_worker *worker) {
    struct weir_flow *flow = worker->flow;
    struct weir_subscription *subscription = worker->lane->subscription;
    struct weir_delivery *first = worker->lane->first;
    struct weir_verdict *verdict = &worker->verdict;
    uint32_t attempt = first->attempts + 1;
    enum weir_decision decision = weir_decide(verdict, &subscription->retry, attempt);
    if (decision == WEIR_DECIDE_RETRY || decision == WEIR_DECIDE_DEAD) {
        tell(subscription, first->event, decision, attempt, verdict->error.message);
    }
    weir_event_unref(verdict->derived);
    verdict->derived = NULL;

    struct weir_subscription *resumes[RESUMES_MAX];
    pthread_mutex_lock(&flow->lock);
    struct weir_delivery *over = apply(worker, decision);
    worker->lane = NULL;
    if (flow->wakes > 0) {
        flow->wakes--; // one of the lanes is this worker's next
    }
    size_t resume_count = collect_resumes(flow, resumes);
    subscription->counts.in_flight--;
    subscription->set->in_flight--;
    if (!subscription->set->is_executing || subscription->is_ending) {
        pthread_cond_broadcast(&flow->changed);
    }
    weir_flow_unlock(flow);

    if (over) {
        weir_event_unref(over->event);
        free(over);
    }
    resume(flow, resumes, resume_count);
    // Nobody may be left: this may have been the last settlement for a long time.
    while (resume_count == RESUMES_MAX) {
        pthread_mutex_lock(&flow->lock);
        resume_count = collect_resumes(flow, resumes);
        pthread_mutex_unlock(&flow->lock);
        resume(flow, resumes, resume_count);
    }
}
