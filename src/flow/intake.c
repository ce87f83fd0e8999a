// SPDX-License-Identifier: Apache-2.0
//
// Where a provider's events enter. Runs on resources' threads; never blocks but for the flow's
// lock.
//
// An event goes into its key's lane where the queue has room. Where it has none, the source is
// paused (WEIR_AGAIN) if it can be, and told to resume when half of the queue is free again, so
// that a slow handler costs one pause for each half queue and not one for each event. A source that
// cannot be paused, or whose pause would hold up others, has its events put behind: into the
// journal, up to its bound; past that, and where the configuration says so instead, events are
// dropped, and counted. One event is always let in to an empty queue, whatever its size.
//
// A gap is no event of a key: it waits until everything before it is settled, and nothing is taken
// until it is settled itself.
#include "flow/flow_private.h"

#include "base/clock.h"
#include "base/step.h"

#include <stdlib.h>
#include <utlist.h>

enum { NOTES_MAX = 65536 }; // fingerprints that wait to be written; then remember waits

bool weir_intake_has_room(const struct weir_subscription *subscription, uint64_t bytes) {
    const struct weir_flow *flow = subscription->flow;
    const struct weir_subscription_counts *counts = &subscription->counts;
    if (counts->queued == 0) {
        return true;
    }
    return counts->queued < subscription->queue.events &&
           counts->queued_bytes + bytes <= subscription->queue.bytes &&
           flow->queued_bytes + bytes <= flow->config.queue_bytes;
}

// Whether the journal has room for one more that goes behind.
static bool has_room_behind(const struct weir_subscription *subscription, uint64_t bytes) {
    const struct weir_journal_bounds *bounds = &subscription->journal;
    return subscription->flow->has_store &&
           (bounds->events == 0 || subscription->counts.behind < bounds->events) &&
           (bounds->bytes == 0 || subscription->behind_bytes + bytes <= bounds->bytes);
}

// Whether a full queue is answered by going behind, and not by a pause or a drop.
static bool goes_behind(const struct weir_subscription *subscription) {
    if (!subscription->flow->has_store) {
        return false;
    }
    return weir_subscription_can(subscription, WEIR_CAN_PAUSE)
               ? weir_subscription_can(subscription, WEIR_SHARES_PAUSE)
               : subscription->overflow == WEIR_OVERFLOW_JOURNAL;
}

// Whether half of the journal is free.
static bool has_half_behind(const struct weir_subscription *subscription) {
    const struct weir_journal_bounds *bounds = &subscription->journal;
    return (bounds->events == 0 || subscription->counts.behind <= bounds->events / 2) &&
           (bounds->bytes == 0 || subscription->behind_bytes <= bounds->bytes / 2);
}

// Whether everything that was taken is settled.
static bool is_through(const struct weir_subscription *subscription) {
    const struct weir_subscription_counts *counts = &subscription->counts;
    return counts->queued == 0 && counts->behind == 0 && counts->in_flight == 0;
}

bool weir_intake_has_room_again(const struct weir_subscription *subscription) {
    const struct weir_flow *flow = subscription->flow;
    const struct weir_subscription_counts *counts = &subscription->counts;
    if (weir_flow_is_clogged(flow) || subscription->is_gap_open || !has_half_behind(subscription)) {
        return false;
    }
    if (subscription->is_gap_ahead) {
        return is_through(subscription);
    }
    if (goes_behind(subscription)) {
        return true; // the queue may stay full for as long as no set executes
    }
    return counts->queued == 0 || (counts->queued <= subscription->queue.events / 2 &&
                                   counts->queued_bytes <= subscription->queue.bytes / 2 &&
                                   flow->queued_bytes <= flow->config.queue_bytes / 2);
}

static void pause(struct weir_subscription *subscription) {
    if (!subscription->is_paused) {
        subscription->is_paused = true;
        DL_APPEND2(subscription->flow->paused, subscription, prev_paused, next_paused);
    }
}

// The event finds no room.
static weir_status refuse(struct weir_subscription *subscription) {
    if (weir_subscription_can(subscription, WEIR_CAN_PAUSE) || subscription->is_gap_open) {
        pause(subscription);
        return WEIR_AGAIN;
    }
    subscription->counts.dropped++;
    return WEIR_OK;
}

// An event on its way in: its delivery, the lane of its key (NULL: not known) and the hash of that.
struct arrival {
    struct weir_delivery *delivery;
    struct weir_lane *lane;
    unsigned key_hash;
};

static weir_status put_in_lane(struct weir_subscription *subscription,
                               const struct arrival *arrival) {
    struct weir_lane *lane =
        arrival->lane ? arrival->lane
                      : weir_lanes_obtain_hashed(subscription, arrival->delivery->entry.event->key,
                                                 arrival->key_hash);
    if (!lane) {
        return WEIR_NO_MEMORY;
    }
    weir_lanes_push(lane, arrival->delivery);
    weir_ledger_append(arrival->delivery);
    return WEIR_OK;
}

void weir_intake_go_behind(struct weir_subscription *subscription, struct weir_lane *lane,
                           const struct weir_event *event) {
    uint64_t seq = subscription->kept->record.next_seq;
    subscription->counts.behind++;
    subscription->behind_bytes += event->size_bytes;
    if (lane) {
        lane->behind_seq = lane->behind == 0 ? seq : lane->behind_seq;
        lane->behind++;
    } else {
        subscription->loaded_seq = subscription->spilled == 0 ? seq - 1 : subscription->loaded_seq;
        subscription->spilled++;
    }
}

static weir_status put_behind(struct weir_subscription *subscription, struct weir_lane *lane,
                              struct weir_delivery *delivery) {
    if (!has_room_behind(subscription, delivery->entry.event->size_bytes)) {
        return WEIR_LIMIT;
    }
    weir_intake_go_behind(subscription, lane, delivery->entry.event);
    weir_ledger_append(delivery);
    return WEIR_OK;
}

// Makes room by dropping what has waited longest. False: there is none yet, and nothing waits.
static bool drop_oldest(struct weir_subscription *subscription, uint64_t bytes,
                        struct weir_delivery **ret_over) {
    while (!weir_intake_has_room(subscription, bytes)) {
        struct weir_delivery *oldest = weir_lanes_take_oldest(subscription);
        if (!oldest) {
            return false;
        }
        subscription->counts.dropped++;
        struct weir_delivery *over = weir_ledger_settle(oldest);
        LL_CONCAT(over, *ret_over);
        *ret_over = over;
    }
    return true;
}

// *ret_over: deliveries that are to be freed.
static weir_status put(struct weir_subscription *subscription, struct arrival *arrival,
                       struct weir_delivery **ret_over) {
    struct weir_delivery *delivery = arrival->delivery;
    const struct weir_event *event = delivery->entry.event;
    arrival->lane = weir_lanes_find_hashed(subscription, event->key, arrival->key_hash);
    if (subscription->spilled > 0) {
        return put_behind(subscription, NULL, delivery);
    }
    if (arrival->lane && weir_lanes_holds_back(arrival->lane)) {
        return put_behind(subscription, arrival->lane, delivery);
    }
    if (weir_intake_has_room(subscription, event->size_bytes)) {
        return put_in_lane(subscription, arrival);
    }
    if (goes_behind(subscription)) {
        weir_status status = put_behind(subscription, NULL, delivery);
        weir_backlog_want(subscription);
        return status;
    }
    bool drops_oldest = !weir_subscription_can(subscription, WEIR_CAN_PAUSE) &&
                        subscription->overflow == WEIR_OVERFLOW_DROP_OLDEST;
    if (!drops_oldest || !drop_oldest(subscription, event->size_bytes, ret_over)) {
        return WEIR_LIMIT;
    }
    arrival->lane = NULL; // it may have gone with what was dropped
    return put_in_lane(subscription, arrival);
}

// ---- gaps ----

// The event is not for the handler; what comes behind it is. The cursor moves over it.
static weir_status skip(struct weir_delivery *delivery, struct weir_delivery **ret_over) {
    weir_ledger_append(delivery);
    *ret_over = weir_ledger_settle(delivery);
    return WEIR_OK;
}

static weir_status take_gap(struct weir_subscription *subscription, const struct arrival *arrival,
                            struct weir_delivery **ret_over) {
    switch (subscription->on_gap) {
    case WEIR_GAP_SKIP:
        return skip(arrival->delivery, ret_over);
    case WEIR_GAP_STOP:
        subscription->is_stopped = true;
        weir_subscription_note_error(subscription,
                                     "stopped by a gap in the source's history (on_gap: stop)");
        return WEIR_STOPPED;
    case WEIR_GAP_DELIVER:
        break;
    }
    if (!is_through(subscription)) {
        subscription->is_gap_ahead = true;
        pause(subscription);
        return WEIR_AGAIN;
    }
    weir_status status = put_in_lane(subscription, arrival);
    subscription->is_gap_open = status == WEIR_OK;
    return status;
}

static void tell_gap(const struct weir_subscription *subscription, const struct weir_event *event) {
    static const char *const what[] = {[WEIR_GAP_DELIVER] = "the handler is told",
                                       [WEIR_GAP_SKIP] = "it is skipped",
                                       [WEIR_GAP_STOP] = "the subscription stops"};
    weir_log(subscription->flow->config.log, WEIR_LOG_WARN,
             "a source's history is gone: changes were missed",
             {"subscription", weir_str_of(subscription->name)},
             {"resource", weir_str_of(subscription->resource->name)}, {"event", event->fields.id},
             {"gap", event->fields.data.value.bytes},
             {"on_gap", weir_str_of(what[subscription->on_gap])});
}

// ---- the sink ----

// Under lock.
static weir_status take(struct weir_subscription *subscription, struct arrival *arrival,
                        struct weir_delivery **ret_over) {
    const struct weir_event *event = arrival->delivery->entry.event;
    if (subscription->is_ending || subscription->is_stopped) {
        return WEIR_STOPPED;
    }
    // Also where there is no room: a source has one bookmark of a watch under way, and no more.
    if (event->is_bookmark) {
        return skip(arrival->delivery, ret_over);
    }
    if (subscription->is_gap_open || weir_flow_is_clogged(subscription->flow)) {
        return refuse(subscription);
    }
    weir_status status = event->is_gap ? take_gap(subscription, arrival, ret_over)
                                       : put(subscription, arrival, ret_over);
    if (status == WEIR_LIMIT) {
        return refuse(subscription);
    }
    if (status == WEIR_OK) {
        subscription->counts.received++;
        subscription->counts.repeated += event->is_repeat;
    }
    return status;
}

weir_status weir_intake_offer(void *context, struct weir_event *event) {
    struct weir_subscription *subscription = context;
    struct weir_flow *flow = subscription->flow;
    struct weir_delivery *delivery = weir_delivery_new(subscription, event), *over = NULL;
    if (!delivery) {
        return WEIR_NO_MEMORY;
    }
    struct arrival arrival = {.delivery = delivery, .key_hash = weir_lanes_hash(event->key)};
    pthread_mutex_lock(&flow->lock);
    uint64_t received = subscription->counts.received;
    weir_status status = take(subscription, &arrival, &over);
    bool is_taken =
        subscription->counts.received != received || (event->is_bookmark && status == WEIR_OK);
    struct weir_delivery *spare = weir_delivery_take_spare(subscription);
    weir_flow_unlock(flow);
    weir_delivery_offer_spare(subscription, spare);
    if (event->is_gap && (is_taken || status == WEIR_STOPPED)) {
        tell_gap(subscription, event);
    }
    weir_delivery_free_all(over);
    if (is_taken) {
        weir_step("after-intake");
    } else {
        weir_delivery_free(delivery);
    }
    return status;
}

// Where a source that can replay begins: the cursor of a subscription that has settled nothing yet.
static weir_status remember_position(struct weir_subscription *subscription,
                                     struct weir_str position) {
    struct weir_flow *flow = subscription->flow;
    if (position.size > WEIR_POSITION_BYTES_MAX) {
        return WEIR_LIMIT;
    }
    pthread_mutex_lock(&flow->lock);
    weir_status status = weir_kept_set_cursor(flow, subscription->kept, position, NULL);
    pthread_mutex_unlock(&flow->lock);
    return status;
}

weir_status weir_intake_remember(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct weir_subscription *subscription = context;
    struct weir_flow *flow = subscription->flow;
    if (weir_subscription_can(subscription, WEIR_CAN_REPLAY)) {
        return remember_position(subscription, fingerprint);
    }
    struct weir_kept_note *kept = malloc(sizeof *kept + key.size + fingerprint.size);
    if (!kept) {
        return WEIR_NO_MEMORY;
    }
    if (key.size > 0) {
        memcpy(kept->bytes, key.data, key.size);
    }
    if (fingerprint.size > 0) {
        memcpy(kept->bytes + key.size, fingerprint.data, fingerprint.size);
    }
    kept->note = (struct weir_note){.subscription = subscription->kept->record.id,
                                    .key = {kept->bytes, key.size},
                                    .fingerprint = {kept->bytes + key.size, fingerprint.size}};
    int64_t until_ns = weir_clock_monotonic_ns() + WEIR_REMEMBER_WAIT_MS * WEIR_NS_PER_MS;
    struct timespec until = weir_clock_timespec(until_ns);
    pthread_mutex_lock(&flow->lock);
    int code = 0;
    while (flow->pending_notes >= NOTES_MAX && code == 0) {
        code = pthread_cond_clockwait(&flow->changed, &flow->lock, CLOCK_MONOTONIC, &until);
    }
    bool is_taken = flow->pending_notes < NOTES_MAX;
    if (is_taken) {
        flow->pending_notes++;
        LL_PREPEND(subscription->notes, &kept->note);
        subscription->notes_last =
            subscription->notes_last ? subscription->notes_last : &kept->note;
        weir_ledger_touch(subscription);
        if (flow->pending_notes == NOTES_MAX / 2) {
            pthread_cond_signal(&flow->commit);
        }
    }
    pthread_mutex_unlock(&flow->lock);
    if (!is_taken) {
        free(kept);
    }
    return is_taken ? WEIR_OK : WEIR_UNAVAILABLE;
}

// ---- room again ----

size_t weir_intake_collect_resumes(struct weir_flow *flow, struct weir_subscription **ret_list,
                                   size_t max) {
    size_t count = 0;
    struct weir_subscription *subscription, *next;
    DL_FOREACH_SAFE2(flow->paused, subscription, next, next_paused) {
        if (count == max) {
            break;
        }
        if (subscription->watch && !subscription->is_ending &&
            weir_intake_has_room_again(subscription)) {
            DL_DELETE2(flow->paused, subscription, prev_paused, next_paused);
            subscription->is_paused = subscription->is_gap_ahead = false;
            subscription->pins++;
            ret_list[count++] = subscription;
        }
    }
    return count;
}

void weir_intake_resume(struct weir_flow *flow, struct weir_subscription *const *list,
                        size_t count) {
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

void weir_intake_resume_all(struct weir_flow *flow) {
    size_t count;
    do {
        struct weir_subscription *list[WEIR_RESUMES_MAX];
        pthread_mutex_lock(&flow->lock);
        count = weir_intake_collect_resumes(flow, list, WEIR_RESUMES_MAX);
        pthread_mutex_unlock(&flow->lock);
        weir_intake_resume(flow, list, count);
    } while (count == WEIR_RESUMES_MAX);
}
