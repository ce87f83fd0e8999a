// SPDX-License-Identifier: Apache-2.0
//
// Whether a flow moves, for a watchdog that starts weir anew where it does not. It is stuck where
// the lock cannot be had, for nobody holds it for longer than a few pointer moves; or where
// something was due for the commit thread at each look of WEIR_STUCK_MS, and the thread has
// taken no turn, for then nothing is acknowledged, published or given up any more.
//
// Not stuck, because a new start would mend nothing: a disk that is full, slow or gone (the thread
// is in the store, or tries again), servers that are away (resources wait in their own threads),
// guests that run for long (they are cut at their bounds), sources that are paused.
//
// Any thread.
#include "flow/flow_private.h"

#include "base/clock.h"

// Under lock.
static bool has_committer_turned(const struct weir_flow *flow, struct weir_flow_pulse *pulse,
                                 int64_t now_ns) {
    bool is_idle = weir_commit_due_ns(flow) > now_ns || flow->is_in_store;
    if (!flow->has_committer || is_idle) {
        *pulse = (struct weir_flow_pulse){.turns = flow->turns};
        return true;
    }
    // From this look on: how long it was due before is not known, and looks may be far apart.
    if (flow->turns != pulse->turns || pulse->since_ns == 0) {
        *pulse = (struct weir_flow_pulse){.turns = flow->turns, .since_ns = now_ns};
    }
    return now_ns - pulse->since_ns < WEIR_STUCK_MS * WEIR_NS_PER_MS;
}

bool weir_flow_is_alive(struct weir_flow *flow, struct weir_flow_pulse *pulse, int64_t until_ns,
                        const char **ret_reason) {
    struct timespec until = weir_clock_timespec(until_ns);
    if (pthread_mutex_clocklock(&flow->lock, CLOCK_MONOTONIC, &until) != 0) {
        *ret_reason = "the lock of the queues is not given back";
        return false;
    }
    bool is_alive = has_committer_turned(flow, pulse, weir_clock_monotonic_ns());
    pthread_mutex_unlock(&flow->lock);
    *ret_reason = is_alive ? "" : "the thread that writes the state does not take what is due";
    return is_alive;
}
