// SPDX-License-Identifier: Apache-2.0
//
// Lanes: one queue for each key, so that a key's events stay in order and no key waits for another.
// A lane is in one of four places, which its state names; every function here moves it between
// them. All under flow->lock.
//
//   IDLE --(an event)--> READY --(a worker)--> RUNNING
//   RUNNING --> READY (more to deliver), IDLE (nothing), DELAYED (to be retried)
//
// A subscription has its ready lanes in a list, and is itself in the flow's list while it may be
// served: its set executes, it has fewer handlers running than its concurrency, its returned events
// have somewhere to go. Both lists are served in turn, one event each, so that neither a busy key
// nor a busy subscription can starve the others. Delayed lanes are in a binary heap, since retries
// come due in no order.
//
// A lane that is delayed keeps its first delivery in memory and nothing else: the rest goes behind,
// into the journal, so that keys that fail do not fill the queue that the others need.
//
// An empty lane is kept for its key's next event while the subscription has no more than
// WEIR_LANES_KEPT_MAX lanes: busy keys then cost no allocation.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static bool may_be_served(const struct weir_subscription *subscription) {
    return subscription->ready && subscription->set && subscription->set->is_executing &&
           !subscription->is_ending && subscription->counts.in_flight < subscription->concurrency &&
           !(subscription->target && subscription->target->waiting >= WEIR_OUTBOX_WAITING_MAX);
}

void weir_lanes_update(struct weir_subscription *subscription) {
    struct weir_flow *flow = subscription->flow;
    bool was_ready = subscription->is_ready;
    subscription->is_ready = may_be_served(subscription);
    if (subscription->is_ready && !was_ready) {
        DL_APPEND2(flow->ready, subscription, prev_ready, next_ready);
    } else if (!subscription->is_ready && was_ready) {
        DL_DELETE2(flow->ready, subscription, prev_ready, next_ready);
    }
    atomic_store_explicit(&flow->has_ready, flow->ready != NULL, memory_order_relaxed);
}

void weir_lanes_update_set(struct weir_set *set) {
    for (struct weir_subscription *subscription = set->subscriptions; subscription;
         subscription = subscription->next) {
        weir_lanes_update(subscription);
    }
}

static void make_ready(struct weir_lane *lane) {
    struct weir_subscription *subscription = lane->subscription;
    lane->state = WEIR_LANE_READY;
    DL_APPEND(subscription->ready, lane);
    weir_lanes_update(subscription);
}

static void leave_ready(struct weir_lane *lane) {
    DL_DELETE(lane->subscription->ready, lane);
    weir_lanes_update(lane->subscription);
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

// ---- lanes ----

unsigned weir_lanes_hash(struct weir_str key) {
    unsigned hash;
    HASH_VALUE(key.data, key.size, hash);
    return hash;
}

struct weir_lane *weir_lanes_find_hashed(const struct weir_subscription *subscription,
                                         struct weir_str key, unsigned hash) {
    struct weir_lane *lane;
    HASH_FIND_BYHASHVALUE(hh, subscription->lanes, key.data, key.size, hash, lane);
    return lane;
}

struct weir_lane *weir_lanes_find(const struct weir_subscription *subscription,
                                  struct weir_str key) {
    return weir_lanes_find_hashed(subscription, key, weir_lanes_hash(key));
}

struct weir_lane *weir_lanes_obtain_hashed(struct weir_subscription *subscription,
                                           struct weir_str key, unsigned hash) {
    struct weir_lane *lane = weir_lanes_find_hashed(subscription, key, hash);
    if (lane) {
        return lane;
    }
    lane = calloc(1, sizeof *lane + key.size);
    if (!lane) {
        return NULL;
    }
    lane->subscription = subscription;
    lane->key_size = key.size;
    if (key.size > 0) {
        memcpy(lane->key, key.data, key.size);
    }
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, subscription->lanes, lane->key, lane->key_size, hash, lane);
    if (!lane->hh.tbl) {
        free(lane);
        return NULL;
    }
    return lane;
}

struct weir_lane *weir_lanes_obtain(struct weir_subscription *subscription, struct weir_str key) {
    return weir_lanes_obtain_hashed(subscription, key, weir_lanes_hash(key));
}

void weir_lanes_forget_if_empty(struct weir_lane *lane) {
    struct weir_subscription *subscription = lane->subscription;
    if (lane->state != WEIR_LANE_IDLE || lane->first || lane->behind > 0 || lane->is_loading ||
        HASH_COUNT(subscription->lanes) <= WEIR_LANES_KEPT_MAX) {
        return;
    }
    HASH_DEL(subscription->lanes, lane);
    free(lane);
}

bool weir_lanes_holds_back(const struct weir_lane *lane) {
    return lane->behind > 0 ||
           (lane->state == WEIR_LANE_DELAYED && lane->subscription->flow->has_store);
}

void weir_lanes_push(struct weir_lane *lane, struct weir_delivery *delivery) {
    struct weir_subscription *subscription = lane->subscription;
    delivery->next = NULL;
    delivery->is_in_lane = true;
    if (lane->last) {
        lane->last->next = delivery;
    } else {
        lane->first = delivery;
    }
    lane->last = delivery;
    if (subscription->overflow == WEIR_OVERFLOW_DROP_OLDEST) {
        DL_APPEND2(subscription->order, delivery, order_prev, order_next);
    }
    size_t bytes = delivery->entry.event->size_bytes;
    subscription->counts.queued++;
    subscription->counts.queued_bytes += bytes;
    subscription->flow->queued_bytes += bytes;
    if (lane->state == WEIR_LANE_IDLE) {
        make_ready(lane);
    }
}

// The delivery is in its lane no more.
static void leave_lane(struct weir_subscription *subscription, struct weir_delivery *delivery) {
    size_t bytes = delivery->entry.event->size_bytes;
    delivery->is_in_lane = false;
    if (subscription->overflow == WEIR_OVERFLOW_DROP_OLDEST) {
        DL_DELETE2(subscription->order, delivery, order_prev, order_next);
    }
    subscription->counts.queued--;
    subscription->counts.queued_bytes -= bytes;
    subscription->flow->queued_bytes -= bytes;
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
        lane->subscription->blocked--;
        make_ready(lane);
    }
}

struct weir_lane *weir_lanes_take(struct weir_flow *flow, int64_t *ret_wait_ns) {
    wake_due(flow);
    *ret_wait_ns = flow->delayed_count > 0 ? flow->delayed[0]->due_ns : INT64_MAX;
    struct weir_subscription *subscription = flow->ready;
    flow->is_held = subscription && weir_flow_is_clogged(flow);
    if (!subscription || flow->is_held) {
        return NULL;
    }
    // To the end, so that the others have their turn first.
    DL_DELETE2(flow->ready, subscription, prev_ready, next_ready);
    subscription->is_ready = false;
    struct weir_lane *lane = subscription->ready;
    DL_DELETE(subscription->ready, lane);
    lane->state = WEIR_LANE_RUNNING;
    subscription->counts.in_flight++;
    subscription->set->in_flight++;
    weir_lanes_update(subscription);
    return lane;
}

// The lane's handler has returned.
static void leave_running(struct weir_lane *lane) {
    struct weir_subscription *subscription = lane->subscription;
    lane->state = WEIR_LANE_IDLE;
    subscription->counts.in_flight--;
    subscription->set->in_flight--;
}

static void after_running(struct weir_lane *lane) {
    struct weir_subscription *subscription = lane->subscription;
    leave_running(lane);
    if (lane->first) {
        make_ready(lane);
        return;
    }
    if (lane->behind > 0) {
        weir_backlog_want_lane(lane);
    }
    weir_lanes_forget_if_empty(lane);
    weir_lanes_update(subscription);
}

static struct weir_delivery *unlink_first(struct weir_lane *lane) {
    struct weir_delivery *delivery = lane->first;
    lane->first = delivery->next;
    if (!lane->first) {
        lane->last = NULL;
    }
    delivery->next = NULL;
    leave_lane(lane->subscription, delivery);
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
    if (!heap_add(flow, lane)) {
        after_running(lane);
        return;
    }
    leave_running(lane);
    lane->state = WEIR_LANE_DELAYED;
    lane->subscription->blocked++;
    weir_lanes_update(lane->subscription);
}

void weir_lanes_put_back(struct weir_lane *lane) {
    after_running(lane);
}

struct weir_delivery *weir_lanes_unload(struct weir_lane *lane) {
    struct weir_delivery *rest = lane->first ? lane->first->next : NULL;
    if (lane->state != WEIR_LANE_DELAYED || !rest) {
        return NULL;
    }
    for (const struct weir_delivery *delivery = rest; delivery; delivery = delivery->next) {
        if (!delivery->has_row || delivery->is_in_batch || delivery->is_reattempted) {
            return NULL; // the next commit comes to it
        }
    }
    struct weir_subscription *subscription = lane->subscription;
    lane->behind_seq = rest->entry.seq;
    for (struct weir_delivery *delivery = rest; delivery; delivery = delivery->next) {
        leave_lane(subscription, delivery);
        lane->behind++;
        subscription->counts.behind++;
        subscription->behind_bytes += delivery->entry.event->size_bytes;
    }
    lane->first->next = NULL;
    lane->last = lane->first;
    return rest;
}

// Takes the delivery behind the one that is being handled.
static struct weir_delivery *unlink_second(struct weir_lane *lane) {
    struct weir_delivery *running = lane->first, *last = lane->last;
    lane->first = running->next;
    struct weir_delivery *taken = unlink_first(lane);
    running->next = lane->first;
    lane->first = running;
    lane->last = running->next ? last : running;
    return taken;
}

struct weir_delivery *weir_lanes_take_oldest(struct weir_subscription *subscription) {
    struct weir_delivery *oldest;
    DL_FOREACH2(subscription->order, oldest, order_next) {
        struct weir_lane *lane = weir_lanes_find(subscription, oldest->entry.event->key);
        if (lane->state != WEIR_LANE_RUNNING) {
            struct weir_delivery *taken = unlink_first(lane); // the oldest of all is so of its lane
            if (lane->state == WEIR_LANE_DELAYED) {
                heap_remove(subscription->flow, lane);
                subscription->blocked--;
                lane->state = WEIR_LANE_IDLE;
                if (lane->first) {
                    make_ready(lane);
                }
            } else if (!lane->first) {
                leave_ready(lane);
                lane->state = WEIR_LANE_IDLE;
            }
            if (!lane->first && lane->behind > 0) {
                weir_backlog_want_lane(lane); // what was behind it comes next
            }
            weir_lanes_forget_if_empty(lane);
            return taken;
        }
        if (oldest != lane->first) {
            return unlink_second(lane);
        }
    }
    return NULL;
}

struct weir_delivery *weir_lanes_clear(struct weir_subscription *subscription,
                                       uint64_t *ret_count) {
    struct weir_delivery *cleared = NULL;
    *ret_count = 0;
    struct weir_lane *lane, *next;
    HASH_ITER (hh, subscription->lanes, lane, next) {
        if (lane->state == WEIR_LANE_READY) {
            leave_ready(lane);
        } else if (lane->state == WEIR_LANE_DELAYED) {
            heap_remove(subscription->flow, lane);
            subscription->blocked--;
        }
        while (lane->first) {
            struct weir_delivery *delivery = unlink_first(lane);
            delivery->next = cleared;
            cleared = delivery;
            ++*ret_count;
        }
        HASH_DEL(subscription->lanes, lane);
        free(lane);
    }
    subscription->load_lanes = NULL;
    return cleared;
}
