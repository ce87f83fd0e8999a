// SPDX-License-Identifier: Apache-2.0
//
// A set of subscriptions and its exec: the deadline of a guest's `exec(duration)`. The duration
// bounds the whole of it, however many events come: at the deadline no further handler is called,
// those that run get the grace period, and what outlasts it is cut. An event that was not reached,
// or whose handler was cut, stays queued for the next exec.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

weir_status weir_set_create(struct weir_flow *flow, const char *owner, struct weir_set **ret_set,
                            struct weir_error *err) {
    *ret_set = NULL;
    struct weir_set *set = calloc(1, sizeof *set);
    char *copy = strdup(owner);
    if (!set || !copy) {
        free(set);
        free(copy);
        return weir_fail_no_memory(err, "a set of subscriptions");
    }
    set->flow = flow;
    set->owner = copy;
    set->references = 1;
    *ret_set = set;
    return WEIR_OK;
}

void weir_set_ref(struct weir_set *set) {
    pthread_mutex_lock(&set->flow->lock);
    set->references++;
    pthread_mutex_unlock(&set->flow->lock);
}

void weir_set_unref(struct weir_set *set) {
    if (!set) {
        return;
    }
    pthread_mutex_lock(&set->flow->lock);
    bool is_last = --set->references == 0;
    pthread_mutex_unlock(&set->flow->lock);
    if (!is_last) {
        return;
    }
    struct weir_subscription *subscription, *next;
    LL_FOREACH_SAFE (set->subscriptions, subscription, next) {
        weir_subscription_destroy(subscription);
    }
    free(set->owner);
    free(set);
}

void weir_set_add(struct weir_set *set, struct weir_subscription *subscription, uint32_t handler) {
    pthread_mutex_lock(&set->flow->lock);
    subscription->handler = handler;
    subscription->set = set;
    LL_APPEND(set->subscriptions, subscription);
    weir_lanes_update_set(set);
    weir_flow_unlock(set->flow);
}

bool weir_set_remove(struct weir_set *set, const char *name, bool comes_again) {
    struct weir_flow *flow = set->flow;
    struct weir_subscription *subscription;
    pthread_mutex_lock(&flow->lock);
    LL_FOREACH (set->subscriptions, subscription) {
        if (strcmp(subscription->name, name) == 0) {
            break;
        }
    }
    if (subscription && subscription->kept) {
        subscription->kept->is_given_up = !comes_again;
    }
    pthread_mutex_unlock(&flow->lock);
    if (!subscription) {
        return false;
    }
    weir_subscription_end(subscription, weir_clock_monotonic_ns() + flow->config.grace_ns);
    pthread_mutex_lock(&flow->lock);
    LL_DELETE(set->subscriptions, subscription);
    pthread_mutex_unlock(&flow->lock);
    weir_subscription_destroy(subscription);
    return true;
}

// Under lock: waits for the flow to stop or the deadline (INT64_MAX: none).
static void wait_until(struct weir_flow *flow, int64_t deadline_ns) {
    struct timespec until = weir_clock_timespec(deadline_ns);
    while (!flow->is_stopping) {
        if (deadline_ns == INT64_MAX) {
            pthread_cond_wait(&flow->changed, &flow->lock);
        } else if (pthread_cond_clockwait(&flow->changed, &flow->lock, CLOCK_MONOTONIC, &until) !=
                   0) {
            return;
        }
    }
}

// Under lock: waits until no handler of the set runs, at most until the moment given or until the
// flow cuts.
static void wait_for_handlers(struct weir_set *set, int64_t until_ns, bool ends_at_cut) {
    struct weir_flow *flow = set->flow;
    struct timespec until = weir_clock_timespec(until_ns);
    while (set->in_flight > 0 && !(ends_at_cut && flow->is_cutting)) {
        if (pthread_cond_clockwait(&flow->changed, &flow->lock, CLOCK_MONOTONIC, &until) != 0) {
            return;
        }
    }
}

struct totals {
    uint64_t subscriptions, received, handled, failed, dead, queued;
};

// Under lock.
static struct totals total(const struct weir_set *set) {
    struct totals totals = {0};
    const struct weir_subscription *subscription;
    LL_FOREACH (set->subscriptions, subscription) {
        totals.subscriptions++;
        totals.received += subscription->counts.received;
        totals.handled += subscription->counts.handled;
        totals.failed += subscription->counts.failed;
        totals.dead += subscription->counts.dead;
        totals.queued += subscription->counts.queued + subscription->counts.behind;
    }
    return totals;
}

static void tell_begin(const struct weir_set *set, const struct totals *totals,
                       int64_t duration_ns) {
    char duration[32] = "until weir stops";
    if (duration_ns > 0) {
        snprintf(duration, sizeof duration, "%.3gs", (double)duration_ns / WEIR_NS_PER_S);
    }
    weir_log(set->flow->config.log, WEIR_LOG_INFO, "listening", {"owner", weir_str_of(set->owner)},
             {"subscriptions", WEIR_LOG_NUMBER(totals->subscriptions)},
             {"duration", weir_str_of(duration)});
}

static void tell_end(const struct weir_set *set, const struct totals *totals) {
    weir_log(set->flow->config.log, WEIR_LOG_INFO, "listening is over",
             {"owner", weir_str_of(set->owner)}, {"handled", WEIR_LOG_NUMBER(totals->handled)},
             {"failed_attempts", WEIR_LOG_NUMBER(totals->failed)},
             {"given_up", WEIR_LOG_NUMBER(totals->dead)},
             {"still_queued", WEIR_LOG_NUMBER(totals->queued)});
}

// What was handled is written down within the grace period, so that whoever sees exec return may
// rely on it.
static void flush(struct weir_flow *flow, int64_t until_ns) {
    struct weir_error err;
    if (weir_flow_flush(flow, until_ns, &err) != WEIR_OK) {
        weir_log(flow->config.log, WEIR_LOG_WARN,
                 "what was handled last is not written down yet; it may come again",
                 {"reason", weir_str_of(err.message)});
    }
}

weir_status weir_set_exec(struct weir_set *set, int64_t duration_ns, struct weir_error *err) {
    struct weir_flow *flow = set->flow;
    int64_t begin_ns = weir_clock_monotonic_ns(), deadline_ns;
    if (duration_ns <= 0 || __builtin_add_overflow(begin_ns, duration_ns, &deadline_ns)) {
        deadline_ns = INT64_MAX;
    }
    pthread_mutex_lock(&flow->lock);
    struct totals totals = total(set);
    pthread_mutex_unlock(&flow->lock);
    tell_begin(set, &totals, duration_ns);

    pthread_mutex_lock(&flow->lock);
    if (!flow->has_executed) {
        weir_target_begin_all(flow);
    }
    set->is_executing = !flow->is_stopping; // none begins after a stop, not even for a moment
    weir_lanes_update_set(set);
    weir_flow_unlock(flow);

    pthread_mutex_lock(&flow->lock);
    wait_until(flow, deadline_ns);
    set->is_executing = false;
    weir_lanes_update_set(set);
    int64_t grace_end_ns = weir_clock_monotonic_ns() + flow->config.grace_ns;
    wait_for_handlers(set, grace_end_ns, true);
    if (set->in_flight > 0) {
        weir_dispatch_cut(set, NULL);
        wait_for_handlers(set, weir_clock_monotonic_ns() + WEIR_CUT_WAIT_MS * WEIR_NS_PER_MS,
                          false);
    }
    uint32_t stuck = set->in_flight;
    totals = total(set);
    pthread_mutex_unlock(&flow->lock);
    flush(flow, grace_end_ns);
    tell_end(set, &totals);
    if (stuck > 0) {
        return weir_fail(err, WEIR_OTHER,
                         "%" PRIu32 " handlers did not end within %d ms of being cut", stuck,
                         WEIR_CUT_WAIT_MS);
    }
    return WEIR_OK;
}
