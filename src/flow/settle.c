// SPDX-License-Identifier: Apache-2.0
//
// What follows from a verdict: the event is done with, tried again later, or given up. Runs on the
// worker that called the handler, in two steps. First, without the lock, everything is made that
// may fail or take long: the returned event with its place in the chain, the dead letter. Then,
// under the lock, the lane moves on and the outcome goes to the next commit: that the event is
// settled, what it caused and what became of it are one transaction, because a commit takes
// everything that was done under one hold of the lock.
//
// Where there is no memory for what has to be written down, the event is not settled: it is handed
// to its handler once more after a while, and that is no attempt.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum { LATER_MS = 100 }; // until a settlement without memory is tried again

// The id of the event's trace; "" where there are no traces.
static const char *trace_of(const struct weir_worker *worker,
                            char buffer[static WEIR_TRACE_ID_BYTES]) {
    return worker->trace.tracer ? weir_trace_id_write(worker->trace.own.trace, buffer) : "";
}

static void tell(const struct weir_worker *worker, const struct weir_event *event,
                 enum weir_decision decision, uint32_t attempt, const char *reason) {
    const struct weir_subscription *subscription = worker->lane->subscription;
    char trace[WEIR_TRACE_ID_BYTES];
    bool is_dead = decision == WEIR_DECIDE_DEAD;
    const struct weir_log_field fields[] = {
        {"subscription", weir_str_of(subscription->name)},
        {"guest", weir_str_of(weir_guest_name(worker->guest))},
        {"handler", weir_str_of(weir_guest_handler_name(worker->guest, worker->handler))},
        {"event", event->fields.id},
        {"attempt", WEIR_LOG_NUMBER(attempt)},
        {"attempts_max", WEIR_LOG_NUMBER(subscription->retry.attempts)},
        {"reason", weir_str_of(reason)},
        {"trace", weir_str_of(trace_of(worker, trace))},
    };
    size_t count = sizeof fields / sizeof fields[0];
    weir_log_write(worker->flow->config.log, is_dead ? WEIR_LOG_ERROR : WEIR_LOG_WARN,
                   is_dead ? "the handler failed and the event is given up"
                           : "the handler failed and will be called again",
                   fields, worker->trace.tracer ? count : count - 1);
}

static const char *outcome_of(const struct weir_worker *worker, enum weir_decision decision) {
    static const char *const outcomes[] = {[WEIR_DECIDE_SETTLE] = "handled",
                                           [WEIR_DECIDE_RETRY] = "retry",
                                           [WEIR_DECIDE_DEAD] = "dead",
                                           [WEIR_DECIDE_PUT_BACK] = "cut",
                                           [WEIR_DECIDE_LATER] = "later"};
    return decision == WEIR_DECIDE_SETTLE && worker->verdict.derived ? "derived"
                                                                     : outcomes[decision];
}

static void look_on(const struct weir_worker *worker, const struct weir_event *event,
                    uint32_t attempt, enum weir_decision decision) {
    struct weir_flow *flow = worker->flow;
    const struct weir_subscription *subscription = worker->lane->subscription;
    char trace[WEIR_TRACE_ID_BYTES];
    const struct weir_tap_event tapped = {
        .subscription = subscription->name,
        .guest = weir_guest_name(worker->guest),
        .handler = weir_guest_handler_name(worker->guest, worker->handler),
        .event = &event->fields,
        .attempt = attempt,
        .outcome = outcome_of(worker, decision),
        .reason = decision == WEIR_DECIDE_SETTLE ? "" : worker->verdict.error.message,
        .took_ns = worker->took_ns,
        .output = {worker->call.output_tail, worker->call.output_tail_size},
        .trace = trace_of(worker, trace),
    };
    flow->config.tap(flow->config.tap_context, &tapped);
}

// Whether a handler made the event, and its `time`. What a store of keys tells of a value that a
// handler made is an event of the store's own, which has the chain's ids but no trace.
static bool is_derived(const struct weir_worker *worker, const struct weir_event_fields *event) {
    return worker->trace.parent.span > 0 &&
           weir_event_extension(event, WEIR_EXTENSION_CAUSATION).size > 0;
}

// What a trace is told of the attempt; the delivery's event is sampled.
static void note(const struct weir_worker *worker, struct weir_delivery *delivery, uint32_t attempt,
                 enum weir_decision decision) {
    const struct weir_subscription *subscription = worker->lane->subscription;
    const struct weir_event_fields *event = &delivery->entry.event->fields;
    const struct weir_trace_attempt noted = {
        .event = event,
        .subscription = subscription->name,
        .resource = subscription->resource->name,
        .guest = weir_guest_name(worker->guest),
        .handler = weir_guest_handler_name(worker->guest, worker->handler),
        .outcome = outcome_of(worker, decision),
        .failure = worker->verdict.outcome == WEIR_HANDLED ? NULL : worker->verdict.error.message,
        .attempt = attempt,
        .is_over = decision == WEIR_DECIDE_SETTLE || decision == WEIR_DECIDE_DEAD,
        .is_derived = is_derived(worker, event),
        .taken_ns = delivery->taken_ns,
        .failed_ns = delivery->failed_ns,
        .began_ns = worker->done_ns - worker->took_ns,
        .ended_ns = worker->done_ns,
    };
    weir_trace_attempt(&worker->trace, &noted);
    delivery->failed_ns = worker->done_ns;
}

static struct weir_dead *make_dead(const struct weir_worker *worker, struct weir_event *event,
                                   uint32_t attempt) {
    struct weir_dead_args args = {
        .subscription = weir_str_of(worker->lane->subscription->name),
        .reason = weir_str_of(worker->verdict.error.message),
        .guest_hash = weir_str_of(weir_guest_hash(worker->guest)),
        .output = {worker->call.output_tail, worker->call.output_tail_size},
        .attempts = attempt,
        .event = event,
    };
    return weir_dead_new(&args);
}

void weir_settle_prepare(struct weir_worker *worker, struct weir_settlement *ret_settlement) {
    struct weir_flow *flow = worker->flow;
    struct weir_subscription *subscription = worker->lane->subscription;
    struct weir_delivery *first = worker->lane->first;
    struct weir_event *event = first->entry.event;
    struct weir_verdict *verdict = &worker->verdict;
    uint32_t attempt = first->attempts + 1;
    enum weir_decision decision = weir_decide(verdict, &subscription->retry, attempt);
    struct weir_settlement settlement = {.decision = decision};
    if (decision == WEIR_DECIDE_DEAD && flow->has_store) {
        settlement.dead = make_dead(worker, event, attempt);
        settlement.decision = settlement.dead ? decision : WEIR_DECIDE_LATER;
    } else if (decision == WEIR_DECIDE_SETTLE && verdict->derived && subscription->target) {
        struct weir_error err;
        if (weir_derive(subscription, &worker->cause, verdict->derived, &settlement.out,
                        &settlement.dead, &err) != WEIR_OK) {
            settlement.decision = WEIR_DECIDE_LATER;
        }
        if (settlement.dead) {
            tell(worker, event, WEIR_DECIDE_DEAD, attempt, "the chain of events is too long");
        }
    }
    bool has_failed =
        settlement.decision == WEIR_DECIDE_RETRY || settlement.decision == WEIR_DECIDE_DEAD;
    if (has_failed) {
        tell(worker, event, settlement.decision, attempt, verdict->error.message);
    }
    if (first->span > 0) {
        note(worker, first, attempt, settlement.decision);
    }
    // What ends a row of failures is told with them.
    if (weir_flow_is_tapped(flow) || (flow->config.tap && (has_failed || attempt > 1))) {
        look_on(worker, event, attempt, settlement.decision);
    }
    if (verdict->derived) {
        weir_event_unref(verdict->derived);
        verdict->derived = NULL;
    }
    *ret_settlement = settlement;
}

// The lane's first delivery has failed and will be tried again.
static void retry(struct weir_worker *worker) {
    struct weir_lane *lane = worker->lane;
    struct weir_subscription *subscription = lane->subscription;
    struct weir_delivery *first = lane->first;
    subscription->counts.retried++;
    uint32_t attempt = ++first->attempts;
    int64_t wait_ns = weir_backoff_ns(&subscription->retry, attempt, erand48(worker->random));
    weir_subscription_note_error(subscription, worker->verdict.error.message);
    weir_lanes_delay(lane, weir_clock_monotonic_ns() + wait_ns);
    weir_ledger_reattempt(first);
}

// The lane's first delivery is over.
static void finish(struct weir_worker *worker, struct weir_settlement *settlement) {
    struct weir_flow *flow = worker->flow;
    struct weir_subscription *subscription = worker->lane->subscription;
    struct weir_subscription_counts *counts = &subscription->counts;
    if (settlement->decision == WEIR_DECIDE_DEAD) {
        counts->dead++;
        weir_subscription_note_error(subscription, worker->verdict.error.message);
    } else {
        counts->handled++;
    }
    if (settlement->dead) {
        weir_dead_append(flow, settlement->dead);
    }
    if (settlement->out) {
        counts->derived++;
        weir_out_append(flow, settlement->out, subscription->target);
    }
    struct weir_delivery *over = weir_lanes_pop(worker->lane);
    if (flow->config.measures) {
        weir_histogram_add(&subscription->event_time,
                           weir_ticks_ns(&flow->ticks, over->taken_ticks, worker->done_ticks));
    }
    subscription->is_gap_open = subscription->is_gap_open && !over->entry.event->is_gap;
    settlement->over = weir_delivery_spare(subscription, weir_ledger_settle(over));
    weir_backlog_want(subscription);
}

// Under lock: an attempt has ended.
static void count(const struct weir_worker *worker, struct weir_subscription *subscription,
                  enum weir_decision decision) {
    const struct weir_verdict *verdict = &worker->verdict;
    struct weir_subscription_counts *counts = &subscription->counts;
    counts->delivered++;
    if (subscription->flow->config.measures) {
        weir_histogram_add(&subscription->handler_time, worker->took_ns);
    }
    if (decision == WEIR_DECIDE_SETTLE) {
        return;
    }
    counts->failed++;
    if (verdict->outcome == WEIR_BROKEN) {
        counts->cut += verdict->error.status == WEIR_LIMIT;
        counts->trapped += verdict->error.status != WEIR_LIMIT;
    }
}

void weir_settle_apply(struct weir_worker *worker, struct weir_settlement *settlement) {
    struct weir_flow *flow = worker->flow;
    struct weir_subscription *subscription = worker->lane->subscription;
    if (settlement->decision != WEIR_DECIDE_PUT_BACK && settlement->decision != WEIR_DECIDE_LATER) {
        count(worker, subscription, settlement->decision);
    }
    switch (settlement->decision) {
    case WEIR_DECIDE_PUT_BACK:
        weir_lanes_put_back(worker->lane);
        break;
    case WEIR_DECIDE_LATER:
        weir_lanes_delay(worker->lane, weir_clock_monotonic_ns() + LATER_MS * WEIR_NS_PER_MS);
        break;
    case WEIR_DECIDE_RETRY:
        retry(worker);
        break;
    case WEIR_DECIDE_SETTLE:
    case WEIR_DECIDE_DEAD:
        finish(worker, settlement);
        break;
    }
    worker->lane = NULL;
    if (!subscription->set->is_executing || subscription->is_ending) {
        pthread_cond_broadcast(&flow->changed);
    }
}
