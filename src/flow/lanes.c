// SPDX-License-Identifier: Apache-2.0
//
// Lanes: one queue for each key, so that a key's events stay in order and no key waits for another.
// A lane is in one of four places, which its state names; every function here moves it between
// them. All under flow->lock.
//
//   IDLE --(an event, and its set executes)--> READY --(a worker)--> RUNNING
//   RUNNING --> READY (more to deliver), IDLE (nothing, or exec is over), DELAYED (to be retried)
//
// Ready lanes are served in turn, one event each, so that a busy key cannot starve the others.
// Delayed lanes are in a binary heap, since retries come due in no order. An empty lane is kept for
// its key's next event while the subscription has no more than WEIR_LANES_KEPT_MAX lanes: busy keys
// then cost no allocation.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static bool may_run(const struct weir_lane *lane) {
    const struct weir_subscription *subscription = lane->subscription;
    return subscription->set && subscription->set->is_executing && !subscription->is_ending;
}

static void make_ready(struct weir_lane *lane) {
    struct weir_flow *flow = lane->subscription->flow;
    lane->state = WEIR_LANE_READY;
    DL_APPEND(flow->ready, lane);
    flow->wakes++;
}

// The heap of delayed lanes.

static void heap_put(struct weir_flow *flow, size_t index, struct weir_lane *lane) {
    flow->delayed[index] = lane;
    lane->delayed_index = index;
}

static void heap_rise(struct weir_flow *flow, size_t index) {
    struct weir_lane *lane = flow->delayed[index];
    while (index > 0 && flow->delayed[(index - 1) / 2]->due_ns > lane->due_ns) {
        heap_put(flow, index, flow->delayed[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_put(flow, index, lane);
}

static void heap_sink(struct weir_flow *flow, size_t index) {
    struct weir_lane *lane = flow->delayed[index];
    for (;;) {
        size_t child = index * 2 + 1;
        if (child + 1 < flow->delayed_count &&
            flow->delayed[child + 1]->due_ns < flow->delayed[child]->due_ns) {
            child++;
        }
        if (child >= flow->delayed_count || flow->delayed[child]->due_ns >= lane->due_ns) {
            break;
        }
        heap_put(flow, index, flow->delayed[child]);
        index = child;
    }
    heap_put(flow, index, lane);
}

static bool heap_add(struct weir_flow *flow, struct weir_lane *lane) {
    if (flow->delayed_count == flow->delayed_capacity) {
        size_t capacity = flow->delayed_capacity ? flow->delayed_capacity * 2 : 16;
        struct weir_lane **grown = realloc(flow->delayed, capacity * sizeof(struct weir_lane *));
        if (!grown) {
            return false;
        }
        flow->delayed = grown;
        flow->delayed_capacity = capacity;
    }
    heap_put(flow, flow->delayed_count++, lane);
    heap_rise(flow, lane->delayed_index);
    return true;
}

static void heap_remove(struct weir_flow *flow, struct weir_lane *lane) {
    size_t index = lane->delayed_index;
    struct weir_lane *last = flow->delayed[--flow->delayed_count];
    if (last != lane) {
        heap_put(flow, index, last);
        heap_rise(flow, index);
        heap_sink(flow, last->delayed_index);
    }
}

static struct weir_lane *lane_of(struct weir_subscription *subscription, struct weir_str key) {
    struct weir_lane *lane;
    HASH_FIND(hh, subscription->lanes, key.data, key.size, lane);
    if (lane) {
        return lane;
    }
    lane = calloc(1, sizeof *lane + key.size);
    if (!lane) {
        return NULL;
    }
    lane->subscription = subscription;
    lane->key_size = key.size;
    memcpy(lane->key, key.data, key.size);
    HASH_ADD_KEYPTR(hh, subscription->lanes, lane->key, lane->key_size, lane);
    if (!lane->hh.tbl) {
        free(lane);
        return NULL;
    }
    return lane;
}

static void forget_if_empty(struct weir_lane *lane) {
    struct weir_subscription *subscription = lane->subscription;
    if (lane->first || HASH_COUNT(subscription->lanes) <= WEIR_LANES_KEPT_MAX) {
        return;
    }
    HASH_DEL(subscription->lanes, lane);
    free(lane);
}

weir_status weir_lanes_push(struct weir_subscription *subscription, struct weir_event *event,
                            struct weir_error *err) {
    struct weir_delivery *delivery = malloc(sizeof *delivery);
    struct weir_lane *lane = delivery ? lane_of(subscription, event->key) : NULL;
    if (!lane) {
        free(delivery);
        return weir_fail_no_memory(err, "a delivery");
    }
    *delivery = (struct weir_delivery){.event = weir_event_ref(event)};
    if (lane->last) {
        lane->last->next = delivery;
    } else {
        lane->first = delivery;
    }
    lane->last = delivery;
    subscription->counts.queued++;
    subscription->counts.queued_bytes += event->size_bytes;
    subscription->flow->queued_bytes += event->size_bytes;
    if (lane->state == WEIR_LANE_IDLE && may_run(lane)) {
        make_ready(lane);
    }
    return WEIR_OK;
}

void weir_lanes_wake(struct weir_set *set) {
    for (struct weir_subscription *subscription = set->subscriptions; subscription;
         subscription = subscription->next) {
        struct weir_lane *lane, *next;
        HASH_ITER (hh, subscription->lanes, lane, next) {
            if (lane->state == WEIR_LANE_IDLE && lane->first && may_run(lane)) {
                make_ready(lane);
            }
        }
    }
}

// Moves lanes whose time has come to the ready ones.
static void wake_due(struct weir_flow *flow) {
    if (flow->delayed_count == 0) {
        return;
    }
    int64_t now_ns = weir_clock_monotonic_ns();
    while (flow->delayed_count > 0 && flow->delayed[0]->due_ns <= now_ns) {
        struct weir_lane *lane = flow->delayed[0];
        heap_remove(flow, lane);
        lane->state = WEIR_LANE_IDLE;
        if (may_run(lane)) {
            make_ready(lane);
        }
    }
}

struct weir_lane *weir_lanes_take(struct weir_flow *flow, int64_t *ret_wait_ns) {
    wake_due(flow);
    *ret_wait_ns = flow->delayed_count > 0 ? flow->delayed[0]->due_ns : INT64_MAX;
    while (flow->ready) {
        struct weir_lane *lane = flow->ready;
        DL_DELETE(flow->ready, lane);
        if (may_run(lane)) {
            lane->state = WEIR_LANE_RUNNING;
            return lane;
        }
        lane->state = WEIR_LANE_IDLE; // its set's time ran out while it waited
    }
    return NULL;
}

static void after_running(struct weir_lane *lane) {
    lane->state = WEIR_LANE_IDLE;
    if (lane->first && may_run(lane)) {
        make_ready(lane);
    } else {
        forget_if_empty(lane);
    }
}

static struct weir_delivery *unlink_first(struct weir_lane *lane) {
    struct weir_subscription *subscription = lane->subscription;
    struct weir_delivery *delivery = lane->first;
    lane->first = delivery->next;
    if (!lane->first) {
        lane->last = NULL;
    }
    subscription->counts.queued--;
    subscription->counts.queued_bytes -= delivery->event->size_bytes;
    subscription->flow->queued_bytes -= delivery->event->size_bytes;
    return delivery;
}

struct weir_delivery *weir_lanes_pop(struct weir_lane *lane) {
    struct weir_delivery *delivery = unlink_first(lane);
    after_running(lane);
    return delivery;
}

void weir_lanes_delay(struct weir_lane *lane, int64_t due_ns) {
    struct weir_flow *flow = lane->subscription->flow;
    lane->due_ns = due_ns;
    if (!may_run(lane) || !heap_add(flow, lane)) {
        after_running(lane);
        return;
    }
    lane->state = WEIR_LANE_DELAYED;
    if (flow->delayed[0] == lane) {
        flow->wakes++; // somebody has to wait for the nearer time
    }
}

void weir_lanes_put_back(struct weir_lane *lane) {
    after_running(lane);
}

uint64_t weir_lanes_clear(struct weir_subscription *subscription) {
    struct weir_flow *flow = subscription->flow;
    uint64_t count = 0;
    struct weir_lane *lane, *next;
    HASH_ITER (hh, subscription->lanes, lane, next) {
        if (lane->state == WEIR_LANE_READY) {
            DL_DELETE(flow->ready, lane);
        } else if (lane->state == WEIR_LANE_DELAYED) {
            heap_remove(flow, lane);
        }
        while (lane->first) {
            struct weir_delivery *delivery = unlink_first(lane);
            weir_event_unref(delivery->event);
            free(delivery);
            count++;
        }
        HASH_DEL(subscription->lanes, lane);
        free(lane);
    }
    return count;
}
