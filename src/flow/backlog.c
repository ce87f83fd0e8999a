// SPDX-License-Identifier: Apache-2.0
//
// What is behind: events that are in the journal and not in memory, because there was no room for
// them, because their key waits for another attempt, or because weir has just begun. They are read
// again when there is room, on the commit thread, in the order in which they were taken.
//
// There are two ways to be behind. A whole subscription is (`spilled`): every row above loaded_seq
// is, and what comes goes behind them. Or one lane is (`behind`): its rows from behind_seq on are;
// they are found by their key. A row that is read for the subscription and belongs to a lane that
// holds back becomes one that is behind in that lane.
//
// There is no index on the key in the journal: each row would pay for it, and only keys that fail
// are read by their key, from where their rows begin.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    ROWS_MAX = 512,     // of one reading for a subscription
    LANE_ROWS_MAX = 64, // and for a lane
    RETRY_MS = 100,     // after a failure
};

// How many events there is room for; one is always let in to an empty queue.
static uint64_t room(const struct weir_subscription *subscription) {
    const struct weir_subscription_counts *counts = &subscription->counts;
    if (counts->queued_bytes >= subscription->queue.bytes ||
        subscription->flow->queued_bytes >= subscription->flow->config.queue_bytes) {
        return counts->queued == 0 ? 1 : 0;
    }
    return counts->queued < subscription->queue.events ? subscription->queue.events - counts->queued
                                                       : 0;
}

void weir_backlog_want(struct weir_subscription *subscription) {
    struct weir_flow *flow = subscription->flow;
    bool is_half_empty = subscription->counts.queued <= subscription->queue.events / 2;
    if (subscription->is_load_wanted || subscription->is_ending || !is_half_empty ||
        (subscription->spilled == 0 && !subscription->load_lanes)) {
        return;
    }
    subscription->is_load_wanted = true;
    DL_APPEND2(flow->loads, subscription, prev_load, next_load);
    pthread_cond_signal(&flow->commit);
}

// The lane's turn comes when its subscription is read for.
static void enlist(struct weir_lane *lane) {
    if (!lane->is_loading) {
        lane->is_loading = true;
        DL_APPEND2(lane->subscription->load_lanes, lane, prev_load, next_load);
    }
}

void weir_backlog_want_lane(struct weir_lane *lane) {
    enlist(lane);
    weir_backlog_want(lane->subscription);
}

// ---- reading ----

// One reading: for a lane if `key` is not NULL.
struct reading {
    struct weir_subscription *subscription;
    struct weir_load load;
    char *key; // a copy, for the lane may go
    struct weir_str key_view;
    struct weir_delivery *first, **tail;
    size_t rows;
    uint64_t bytes, bytes_max; // no more is read than there was room for, but for one event
    bool is_out_of_memory;
    bool is_cut_short; // there was no room for all of it
};

// Under lock: what is to be read for the subscription. False: nothing now.
static bool plan(struct weir_subscription *subscription, struct reading *reading) {
    uint64_t rows = room(subscription), bytes = subscription->counts.queued_bytes;
    if (rows == 0 || subscription->is_ending || subscription->is_gap_open) {
        return false;
    }
    *reading = (struct reading){.subscription = subscription};
    reading->bytes_max = subscription->queue.bytes > bytes ? subscription->queue.bytes - bytes : 0;
    reading->load = (struct weir_load){.subscription = subscription->kept->record.id,
                                       .seq_from = subscription->loaded_seq + 1,
                                       .seq_to = WEIR_SEQ_MAX,
                                       .rows_max = rows < ROWS_MAX ? rows : ROWS_MAX};
    struct weir_lane *lane = subscription->load_lanes;
    if (!lane) {
        return subscription->spilled > 0;
    }
    DL_DELETE2(subscription->load_lanes, lane, prev_load, next_load);
    lane->is_loading = false;
    reading->key = malloc(lane->key_size + 1);
    if (!reading->key) {
        weir_backlog_want_lane(lane);
        return false;
    }
    memcpy(reading->key, lane->key, lane->key_size);
    reading->key_view = (struct weir_str){reading->key, lane->key_size};
    reading->load.key = &reading->key_view;
    reading->load.seq_from = lane->behind_seq;
    if (subscription->spilled > 0) {
        reading->load.seq_to = subscription->loaded_seq;
    }
    reading->load.rows_max = rows < LANE_ROWS_MAX ? rows : LANE_ROWS_MAX;
    return true;
}

static bool take_row(void *context, const struct weir_entry *row) {
    struct reading *reading = context;
    reading->bytes += row->event->size_bytes;
    reading->is_cut_short = reading->rows > 0 && reading->bytes > reading->bytes_max;
    if (reading->is_cut_short) {
        return false;
    }
    struct weir_delivery *delivery = weir_delivery_new(reading->subscription, row->event);
    if (!delivery) {
        reading->is_out_of_memory = true;
        return false;
    }
    delivery->entry.subscription = row->subscription;
    delivery->entry.seq = row->seq;
    delivery->attempts = delivery->entry.attempts = row->attempts;
    delivery->has_row = true;
    *reading->tail = delivery;
    reading->tail = &delivery->next;
    reading->rows++;
    return true;
}

static void leave_behind(struct weir_subscription *subscription, const struct weir_event *event) {
    subscription->counts.behind--;
    uint64_t bytes = event->size_bytes;
    subscription->behind_bytes -=
        bytes < subscription->behind_bytes ? bytes : subscription->behind_bytes;
}

// Whether something that was taken before the first event behind is not settled.
static bool has_others(const struct weir_subscription *subscription) {
    const struct weir_subscription_counts *counts = &subscription->counts;
    return counts->queued > 0 || counts->in_flight > 0 || counts->behind > subscription->spilled;
}

// Under lock: puts a row that was read where it belongs. False: no memory, or no room any more, and
// it stays behind. A gap comes by itself, as it does from the source.
static bool place_row(struct weir_delivery *delivery, bool is_of_lane,
                      struct weir_delivery **unused) {
    struct weir_subscription *subscription = delivery->subscription;
    struct weir_event *event = delivery->entry.event;
    struct weir_lane *lane = weir_lanes_obtain(subscription, event->key);
    if (!lane) {
        return false;
    }
    bool stays_behind = !is_of_lane && weir_lanes_holds_back(lane);
    bool may_enter = weir_intake_has_room(subscription, event->size_bytes) &&
                     !subscription->is_gap_open &&
                     (!event->is_gap || is_of_lane || !has_others(subscription));
    if (!stays_behind && !may_enter) {
        weir_lanes_forget_if_empty(lane);
        return false;
    }
    subscription->is_gap_open |= event->is_gap && !stays_behind;
    if (is_of_lane) {
        lane->behind--;
        lane->behind_seq = delivery->entry.seq + 1;
        leave_behind(subscription, event);
        weir_lanes_push(lane, delivery);
        return true;
    }
    subscription->spilled--;
    subscription->loaded_seq = delivery->entry.seq;
    if (stays_behind) {
        lane->behind_seq = lane->behind == 0 ? delivery->entry.seq : lane->behind_seq;
        lane->behind++;
        delivery->next = *unused;
        *unused = delivery;
        return true;
    }
    leave_behind(subscription, event);
    weir_lanes_push(lane, delivery);
    return true;
}

// Under lock. Returns deliveries that are to be freed.
static struct weir_delivery *place(struct reading *reading) {
    struct weir_subscription *subscription = reading->subscription;
    struct weir_delivery *unused = NULL, *delivery = reading->first;
    bool is_full = subscription->is_ending;
    while (delivery) {
        struct weir_delivery *next = delivery->next;
        is_full = is_full || !place_row(delivery, reading->key != NULL, &unused);
        if (is_full) {
            delivery->next = unused;
            unused = delivery;
        }
        delivery = next;
    }
    reading->is_cut_short |= is_full;
    return unused;
}

// Under lock: rows that should be there are not. They would be waited for without end.
static bool notice_loss(struct weir_subscription *subscription, const struct reading *reading,
                        uint64_t *ret_lost) {
    bool is_complete = reading->rows > 0 || reading->key || reading->is_out_of_memory;
    // What is not written yet is not missing.
    if (is_complete || subscription->ledger || subscription->batch_pins > 0) {
        return false;
    }
    *ret_lost = subscription->spilled;
    subscription->counts.behind -= subscription->spilled;
    subscription->counts.dropped += subscription->spilled;
    subscription->kept->record.row_count -=
        subscription->spilled < subscription->kept->record.row_count
            ? subscription->spilled
            : subscription->kept->record.row_count;
    subscription->spilled = 0;
    weir_subscription_note_error(subscription, "rows of the journal are missing");
    return *ret_lost > 0;
}

static void tell_loss(const struct weir_subscription *subscription, uint64_t lost) {
    weir_log(subscription->flow->config.log, WEIR_LOG_ERROR,
             "rows of the journal are missing: \"weir state check\" tells more",
             {"subscription", weir_str_of(subscription->name)}, {"events", WEIR_LOG_NUMBER(lost)});
}

// Under lock: the lane of a reading that did not find all of it has to be read again. Where there
// was no room, whoever is done with an event that takes it sees to that.
static void look_again(struct reading *reading) {
    struct weir_subscription *subscription = reading->subscription;
    if (reading->key) {
        struct weir_lane *lane = weir_lanes_find(subscription, reading->key_view);
        if (lane && lane->behind > 0 && lane->state == WEIR_LANE_IDLE) {
            enlist(lane);
        }
    }
    if (!reading->is_cut_short || subscription->counts.queued == 0) {
        weir_backlog_want(subscription);
    }
}

static struct weir_subscription *take_wanted(struct weir_flow *flow, struct reading *reading) {
    struct weir_subscription *subscription = flow->loads;
    if (!subscription) {
        return NULL;
    }
    DL_DELETE2(flow->loads, subscription, prev_load, next_load);
    subscription->is_load_wanted = false;
    if (!plan(subscription, reading)) {
        *reading = (struct reading){.subscription = NULL};
        return subscription;
    }
    subscription->pins++;
    return subscription;
}

bool weir_backlog_load(struct weir_flow *flow) {
    struct reading reading;
    struct weir_error err;
    pthread_mutex_lock(&flow->lock);
    struct weir_subscription *subscription = take_wanted(flow, &reading);
    pthread_mutex_unlock(&flow->lock);
    if (!subscription || !reading.subscription) {
        return subscription != NULL;
    }
    reading.tail = &reading.first;
    weir_status status = flow->config.store->load_journal(flow->config.store_context, &reading.load,
                                                          take_row, &reading, &err);
    uint64_t lost = 0;
    pthread_mutex_lock(&flow->lock);
    struct weir_delivery *unused = place(&reading);
    bool is_loss = status == WEIR_OK && notice_loss(subscription, &reading, &lost);
    if (status != WEIR_OK || reading.rows == 0) {
        // The store may answer then, or what is missing is only now being written.
        int64_t wait_ms = status != WEIR_OK ? RETRY_MS : 1;
        flow->load_due_ns = weir_clock_monotonic_ns() + wait_ms * WEIR_NS_PER_MS;
    }
    look_again(&reading);
    weir_flow_unlock(flow);
    if (is_loss) {
        tell_loss(subscription, lost);
    }
    if (status != WEIR_OK) {
        weir_log(flow->config.log, WEIR_LOG_ERROR, "the journal cannot be read; trying again",
                 {"subscription", weir_str_of(subscription->name)},
                 {"reason", weir_str_of(err.message)});
    }
    weir_delivery_free_all(unused);
    free(reading.key);
    pthread_mutex_lock(&flow->lock);
    subscription->pins--;
    pthread_cond_broadcast(&flow->changed);
    pthread_mutex_unlock(&flow->lock);
    return true;
}
