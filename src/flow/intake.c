// SPDX-License-Identifier: Apache-2.0
//
// Where a provider's events enter. Runs on resources' threads; never blocks but for the flow's
// lock.
//
// Backpressure: a subscription whose queue is full answers WEIR_AGAIN and is marked paused;
// settle.c tells the provider to resume when half of the queue is free again, so that a slow
// handler costs one pause for each half queue and not one for each event. One event is always let
// in to an empty queue, whatever its size.
//
// The journal's place is here: a source that cannot replay has its event written before WEIR_OK is
// answered.
#include "flow/flow_private.h"

#include <utlist.h>

static bool has_room(const struct weir_subscription *subscription, uint64_t bytes) {
    const struct weir_flow *flow = subscription->flow;
    const struct weir_subscription_counts *counts = &subscription->counts;
    if (counts->queued == 0) {
        return true;
    }
    return counts->queued < subscription->queue.events &&
           counts->queued_bytes + bytes <= subscription->queue.bytes &&
           flow->queued_bytes + bytes <= flow->config.queue_bytes;
}

weir_status weir_intake_offer(void *context, struct weir_event *event) {
    struct weir_subscription *subscription = context;
    struct weir_flow *flow = subscription->flow;
    weir_status status = WEIR_OK;
    pthread_mutex_lock(&flow->lock);
    if (subscription->is_ending) {
        status = WEIR_STOPPED;
    } else if (!has_room(subscription, event->size_bytes)) {
        if (!subscription->is_paused) {
            subscription->is_paused = true;
            DL_APPEND2(flow->paused, subscription, prev_paused, next_paused);
        }
        status = WEIR_AGAIN;
    } else {
        status = weir_lanes_push(subscription, event, NULL);
        if (status == WEIR_OK) {
            subscription->counts.received++;
        }
    }
    weir_flow_unlock(flow);
    return status;
}
