// SPDX-License-Identifier: Apache-2.0
//
// What is not written down yet. A subscription's ledger holds the deliveries of which the store
// knows nothing, in the order in which they were taken. A commit walks it from its head:
//
// - Of a source that can replay, up to the last settled delivery. What is settled needs no row: the
//   cursor moves over it. What is not, and has a settled one behind it, is parked: it gets a row,
//   and the cursor moves over it too. So a slow key never holds the cursor back, nothing that was
//   settled comes again after a stop, and where handlers finish in order nothing is written but the
//   cursor.
// - Of a source that keeps what was not acknowledged, the same; in place of the cursor there is the
//   acknowledgement of each. Since a source does not wait for that for ever, what is not settled
//   within HELD_NS_MAX gets a row.
// - Of any other source, and while a subscription has something in the journal that must stay
//   before what comes, the whole ledger: what is not settled gets a row.
//
// An event whose handler is done before the commit comes is never written at all. Where nobody
// wants to know of it either, it leaves the ledger as soon as everything before it is settled:
// whoever settles it frees it while it is at hand, and a commit finds nothing but the position.
// Keeping the settled positions above the cursor instead of parking was left because such a list
// grows without end behind a key that fails for a day.
//
// All under flow->lock, but where said otherwise; the lists that a batch is made of are intrusive,
// so that a commit allocates nothing and cannot fail half way.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    PASSED_AT_ONCE = 16, // events that leave the ledger with one that is settled
    SPARES_MAX = 32,
    SPARE_EVENT_BYTES_MAX = 1024, // a larger one is freed at once
    HELD_NS_MAX = 1000 * 1000 * 1000,
};

struct weir_delivery *weir_delivery_new(struct weir_subscription *subscription,
                                        struct weir_event *event) {
    struct weir_delivery *delivery =
        subscription ? atomic_exchange_explicit(&subscription->spare, NULL, memory_order_acquire)
                     : NULL;
    if (delivery) {
        weir_event_unref(delivery->entry.event);
        *delivery = (struct weir_delivery){0};
    } else {
        delivery = calloc(1, sizeof *delivery);
    }
    if (delivery) {
        delivery->subscription = subscription;
        delivery->entry.event = weir_event_ref(event);
        const struct weir_flow *flow = subscription ? subscription->flow : NULL;
        bool is_traced = flow && flow->config.tracer;
        delivery->taken_ns = is_traced ? weir_clock_monotonic_ns() : weir_clock_coarse_ns();
        if (flow && flow->config.measures) {
            delivery->taken_ticks = weir_ticks_now(&flow->ticks);
        }
    }
    return delivery;
}

void weir_delivery_free(struct weir_delivery *delivery) {
    if (delivery) {
        weir_event_unref(delivery->entry.event);
        free(delivery);
    }
}

void weir_delivery_free_all(struct weir_delivery *list) {
    while (list) {
        struct weir_delivery *next = list->next;
        weir_delivery_free(list);
        list = next;
    }
}

struct weir_delivery *weir_delivery_spare(struct weir_subscription *subscription,
                                          struct weir_delivery *list) {
    while (list && subscription->spare_count < SPARES_MAX &&
           list->entry.event->size_bytes <= SPARE_EVENT_BYTES_MAX) {
        struct weir_delivery *next = list->next;
        LL_PREPEND(subscription->spares, list);
        subscription->spare_count++;
        list = next;
    }
    return list;
}

struct weir_delivery *weir_delivery_take_spare(struct weir_subscription *subscription) {
    struct weir_delivery *spare = subscription->spares;
    if (spare) {
        LL_DELETE(subscription->spares, spare);
        subscription->spare_count--;
    }
    return spare;
}

void weir_delivery_offer_spare(struct weir_subscription *subscription,
                               struct weir_delivery *spare) {
    if (spare) {
        weir_delivery_free(
            atomic_exchange_explicit(&subscription->spare, spare, memory_order_acq_rel));
    }
}

// ---- what waits for a commit ----

void weir_ledger_touch_flow(struct weir_flow *flow) {
    if (flow->dirty_since_ns == 0) {
        flow->dirty_since_ns = weir_clock_monotonic_ns();
        pthread_cond_signal(&flow->commit);
    } else if (flow->pending_events == flow->config.commit_events) {
        pthread_cond_signal(&flow->commit);
    }
}

void weir_ledger_touch(struct weir_subscription *subscription) {
    struct weir_flow *flow = subscription->flow;
    if (!subscription->is_dirty) {
        subscription->is_dirty = true;
        DL_APPEND2(flow->dirty, subscription, prev_dirty, next_dirty);
    }
    weir_ledger_touch_flow(flow);
}

void weir_ledger_touch_kept(struct weir_flow *flow, struct weir_kept *kept) {
    if (!kept->is_dirty) {
        kept->is_dirty = true;
        LL_PREPEND2(flow->dirty_kept, kept, dirty_next);
    }
    weir_ledger_touch_flow(flow);
}

// A delivery that is kept in memory for nothing but the next commit.
static void set_pending(struct weir_delivery *delivery) {
    struct weir_flow *flow = delivery->subscription->flow;
    if (!delivery->is_pending) {
        delivery->is_pending = true;
        flow->pending_events++;
        flow->pending_bytes += delivery->entry.event->size_bytes;
    }
}

static void clear_pending(struct weir_delivery *delivery) {
    struct weir_flow *flow = delivery->subscription->flow;
    if (delivery->is_pending) {
        delivery->is_pending = false;
        flow->pending_events--;
        flow->pending_bytes -= delivery->entry.event->size_bytes;
    }
}

// Puts it in front of a list of what is to be freed.
static void give_up(struct weir_delivery *delivery, struct weir_delivery **list) {
    clear_pending(delivery);
    delivery->next = *list;
    *list = delivery;
}

// Whether everything that is taken gets a row if it is not settled by the next commit.
static bool writes_all(const struct weir_subscription *subscription) {
    bool tells_again = weir_subscription_can(subscription, WEIR_CAN_REPLAY) ||
                       weir_subscription_can(subscription, WEIR_CAN_ACK);
    return !tells_again || subscription->blocked > 0 || subscription->counts.behind > 0 ||
           subscription->writes_next;
}

// Whether the source waits to hear of each event.
static bool is_waited_for(const struct weir_subscription *subscription) {
    return weir_subscription_can(subscription, WEIR_CAN_ACK) &&
           !weir_subscription_can(subscription, WEIR_CAN_REPLAY);
}

int64_t weir_ledger_write_held(struct weir_flow *flow, int64_t now_ns) {
    if (flow->held_due_ns > now_ns) {
        return flow->held_due_ns;
    }
    struct weir_subscription *subscription;
    flow->held_due_ns = INT64_MAX;
    DL_FOREACH2(flow->subscriptions, subscription, next_all) {
        if (!is_waited_for(subscription) || !subscription->ledger) {
            continue;
        }
        int64_t due_ns = subscription->ledger->taken_ns + HELD_NS_MAX;
        if (due_ns <= now_ns) {
            subscription->writes_next = true;
            weir_ledger_touch(subscription);
        } else if (due_ns < flow->held_due_ns) {
            flow->held_due_ns = due_ns;
        }
    }
    return flow->held_due_ns;
}

// The first one of all that are held sets the time for those that come behind it.
static void hold(const struct weir_delivery *delivery) {
    struct weir_flow *flow = delivery->subscription->flow;
    if (flow->held_due_ns == INT64_MAX) {
        flow->held_due_ns = delivery->taken_ns + HELD_NS_MAX;
        pthread_cond_signal(&flow->commit);
    }
}

void weir_ledger_append(struct weir_delivery *delivery) {
    struct weir_subscription *subscription = delivery->subscription;
    struct weir_kept *kept = subscription->kept;
    if (!kept) {
        return;
    }
    delivery->entry.subscription = kept->record.id;
    delivery->entry.seq = kept->record.next_seq++;
    delivery->is_in_ledger = true;
    DL_APPEND2(subscription->ledger, delivery, ledger_prev, ledger_next);
    if (!delivery->is_in_lane) {
        set_pending(delivery);
    }
    if (!delivery->is_in_lane || writes_all(subscription)) {
        weir_ledger_touch(subscription);
    } else if (is_waited_for(subscription)) {
        hold(delivery);
    }
}

void weir_ledger_append_returned(struct weir_delivery *delivery) {
    delivery->is_returned = true;
    delivery->subscription->writes_next = true;
    weir_ledger_append(delivery);
}

// Whether somebody wants to know that the event is durable though it leaves no row.
static bool is_passed_on(const struct weir_subscription *subscription) {
    return weir_subscription_can(subscription, WEIR_CAN_COMPARE) ||
           weir_subscription_can(subscription, WEIR_CAN_ACK);
}

// Whether the cursor moves to this event once everything before it is settled or written.
static bool has_cursor(const struct weir_delivery *delivery) {
    return weir_subscription_can(delivery->subscription, WEIR_CAN_REPLAY) &&
           !delivery->is_returned && delivery->entry.event->position.size > 0;
}

static void leave_ledger(struct weir_delivery *delivery) {
    DL_DELETE2(delivery->subscription->ledger, delivery, ledger_prev, ledger_next);
    delivery->is_in_ledger = false;
}

// What is settled leaves the ledger from its head on, some of it: the lock is held. It stays
// counted among what waits for a commit. Returns what is to be freed.
static struct weir_delivery *pass(struct weir_subscription *subscription) {
    struct weir_delivery *list = NULL;
    for (int i = 0; i < PASSED_AT_ONCE && subscription->ledger && subscription->ledger->is_settled;
         i++) {
        struct weir_delivery *delivery = subscription->ledger, *over = delivery;
        leave_ledger(delivery);
        subscription->settled_in_ledger--;
        subscription->passed_count++;
        subscription->flow->pending_bytes -= delivery->entry.event->size_bytes;
        delivery->is_pending = false;
        if (has_cursor(delivery)) {
            over = subscription->passed;
            subscription->passed = delivery;
        }
        if (over) {
            over->next = list;
            list = over;
        }
    }
    return list;
}

// The next commit is made of what was passed, or it is given up.
static struct weir_delivery *take_passed(struct weir_subscription *subscription) {
    struct weir_delivery *passed = subscription->passed;
    subscription->flow->pending_events -= subscription->passed_count;
    subscription->passed_count = 0;
    subscription->passed = NULL;
    return passed;
}

static void want_removal(struct weir_delivery *delivery) {
    struct weir_subscription *subscription = delivery->subscription;
    LL_PREPEND2(subscription->removals, delivery, undone);
    weir_ledger_touch(subscription);
}

struct weir_delivery *weir_ledger_settle(struct weir_delivery *delivery) {
    struct weir_subscription *subscription = delivery->subscription;
    if (!subscription->kept) {
        return delivery;
    }
    delivery->is_settled = true;
    set_pending(delivery);
    if (delivery->is_in_ledger) {
        subscription->settled_in_ledger++;
        weir_ledger_touch(subscription);
        return is_passed_on(subscription) ? NULL : pass(subscription);
    }
    if (!delivery->is_in_batch) {
        if (delivery->is_reattempted) {
            LL_DELETE2(subscription->reattempted, delivery, undone);
            delivery->is_reattempted = false;
        }
        want_removal(delivery);
    } // else weir_ledger_done sees to it
    return NULL;
}

static void want_attempt(struct weir_delivery *delivery) {
    struct weir_subscription *subscription = delivery->subscription;
    delivery->is_reattempted = true;
    LL_PREPEND2(subscription->reattempted, delivery, undone);
    weir_ledger_touch(subscription);
}

void weir_ledger_reattempt(struct weir_delivery *delivery) {
    struct weir_subscription *subscription = delivery->subscription;
    if (!subscription->kept) {
        return;
    }
    if (delivery->is_in_ledger) {
        weir_ledger_touch(subscription); // its lane is delayed, so it gets its row
    } else if (!delivery->is_in_batch && !delivery->is_reattempted) {
        want_attempt(delivery);
    } // else it is written already, or weir_ledger_done sees that the number has changed
}

// ---- making a batch ----

static void batch_entry(struct weir_delivery *delivery, enum weir_entry_op op,
                        struct weir_entry ***tail) {
    delivery->is_in_batch = true;
    delivery->subscription->batch_pins++;
    delivery->entry.op = (uint8_t)op;
    delivery->entry.attempts = delivery->attempts;
    delivery->entry.next = NULL;
    **tail = &delivery->entry;
    *tail = &delivery->entry.next;
}

static void batch_kept(struct weir_flow *flow, struct weir_kept *kept) {
    if (!kept->is_in_batch) {
        kept->is_in_batch = true;
        LL_PREPEND2(flow->batch_kept, kept, batch_next);
    }
}

// Moves the cursor to where the source goes on behind this event.
static void move_cursor(struct weir_kept *kept, struct weir_event *event) {
    weir_event_unref(kept->cursor_event);
    kept->cursor_event = weir_event_ref(event);
    kept->record.cursor = event->position;
}

static void collect_ledger(struct weir_subscription *subscription, struct weir_entry ***tail) {
    struct weir_flow *flow = subscription->flow;
    bool is_all = writes_all(subscription);
    bool is_compared = weir_subscription_can(subscription, WEIR_CAN_COMPARE);
    struct weir_delivery *passed = take_passed(subscription);
    struct weir_event *cursor = passed ? passed->entry.event : NULL;
    while (subscription->ledger && (is_all || subscription->settled_in_ledger > 0)) {
        struct weir_delivery *delivery = subscription->ledger;
        leave_ledger(delivery);
        delivery->entry.has_fingerprint = is_compared && !delivery->is_returned;
        if (has_cursor(delivery)) {
            cursor = delivery->entry.event;
        }
        if (!delivery->is_settled) {
            delivery->has_row = true;
            subscription->kept->record.row_count++;
            batch_entry(delivery, WEIR_ENTRY_WRITE, tail);
            continue;
        }
        subscription->settled_in_ledger--;
        if (is_passed_on(subscription)) {
            batch_entry(delivery, WEIR_ENTRY_PASS, tail);
        } else {
            give_up(delivery, &flow->batch_over);
        }
    }
    subscription->writes_next = false;
    if (cursor) {
        move_cursor(subscription->kept, cursor);
    }
    if (passed) {
        give_up(passed, &flow->batch_over);
    }
}

static void collect_subscription(struct weir_subscription *subscription,
                                 struct weir_entry ***tail) {
    struct weir_flow *flow = subscription->flow;
    collect_ledger(subscription, tail);
    while (subscription->removals) {
        struct weir_delivery *delivery = subscription->removals;
        LL_DELETE2(subscription->removals, delivery, undone);
        subscription->kept->record.row_count--;
        batch_entry(delivery, WEIR_ENTRY_REMOVE, tail);
    }
    while (subscription->reattempted) {
        struct weir_delivery *delivery = subscription->reattempted;
        LL_DELETE2(subscription->reattempted, delivery, undone);
        delivery->is_reattempted = false;
        batch_entry(delivery, WEIR_ENTRY_ATTEMPT, tail);
    }
    if (subscription->notes) {
        subscription->notes_last->next = flow->batch_notes;
        flow->batch_notes = subscription->notes;
        subscription->notes = subscription->notes_last = NULL;
    }
    batch_kept(flow, subscription->kept);
}

bool weir_ledger_collect(struct weir_flow *flow) {
    struct weir_entry **tail = &flow->batch_entries;
    struct weir_subscription *subscription, *next_subscription;
    DL_FOREACH_SAFE2(flow->dirty, subscription, next_subscription, next_dirty) {
        DL_DELETE2(flow->dirty, subscription, prev_dirty, next_dirty);
        subscription->is_dirty = false;
        collect_subscription(subscription, &tail);
    }
    while (flow->dirty_kept) {
        struct weir_kept *kept = flow->dirty_kept;
        LL_DELETE2(flow->dirty_kept, kept, dirty_next);
        kept->is_dirty = false;
        batch_kept(flow, kept);
    }
    struct weir_kept *kept;
    LL_FOREACH2(flow->batch_kept, kept, batch_next) {
        kept->batch_record = kept->record;
        kept->batch_cursor_event = kept->cursor_event ? weir_event_ref(kept->cursor_event) : NULL;
    }
    flow->batch_outbox = flow->outbox;
    flow->outbox = flow->outbox_last = NULL;
    flow->batch_published = flow->published;
    flow->published = flow->published_last = NULL;
    flow->batch_dead = flow->dead;
    flow->dead = flow->dead_last = NULL;
    flow->batch_undead = flow->undead;
    flow->undead = NULL;
    flow->dirty_since_ns = 0;
    flow->flush_taken = flow->flush_wanted;
    return flow->batch_entries || flow->batch_kept || flow->batch_notes || flow->batch_outbox ||
           flow->batch_published || flow->batch_dead || flow->batch_undead;
}

// ---- a batch is durable ----

// A row was written, or its attempts were: what is next for its delivery. Where its subscription
// has ended meanwhile the row stays, and the event comes again.
static void written(struct weir_delivery *delivery, struct weir_delivery **list) {
    bool is_gone = delivery->subscription->is_emptied;
    bool is_behind = !delivery->is_settled && !delivery->is_in_lane;
    if (is_gone || is_behind) {
        give_up(delivery, list);
    } else if (delivery->is_settled) { // meanwhile
        want_removal(delivery);
    } else if (delivery->attempts != delivery->entry.attempts) {
        want_attempt(delivery);
    }
}

// Lets go of what lanes that are delayed need not hold in memory any more.
static void unload(struct weir_delivery *delivery, struct weir_delivery **list) {
    if (delivery->is_in_lane && delivery->subscription->blocked > 0) {
        struct weir_delivery *unloaded =
            weir_lanes_unload(weir_lanes_find(delivery->subscription, delivery->entry.event->key));
        LL_CONCAT(unloaded, *list);
        *list = unloaded;
    }
}

struct weir_delivery *weir_ledger_done(struct weir_flow *flow) {
    struct weir_delivery *list = flow->batch_over;
    flow->batch_over = NULL;
    struct weir_entry *entry;
    LL_FOREACH (flow->batch_entries, entry) {
        struct weir_delivery *delivery = (struct weir_delivery *)entry;
        delivery->is_in_batch = false;
        delivery->subscription->batch_pins--;
        if (entry->op == WEIR_ENTRY_PASS || entry->op == WEIR_ENTRY_REMOVE) {
            give_up(delivery, &list);
        } else {
            written(delivery, &list);
        }
    }
    // Only now, since a lane is unloaded as a whole.
    LL_FOREACH (flow->batch_entries, entry) {
        unload((struct weir_delivery *)entry, &list);
    }
    flow->batch_entries = NULL;
    return list;
}

struct weir_delivery *weir_ledger_abandon(struct weir_subscription *subscription,
                                          struct weir_delivery *list, uint64_t *count) {
    while (subscription->ledger) {
        struct weir_delivery *delivery = subscription->ledger;
        leave_ledger(delivery);
        *(count ? count : &(uint64_t){0}) += delivery->is_settled ? 0 : 1;
        give_up(delivery, &list);
    }
    subscription->settled_in_ledger = 0;
    struct weir_delivery *passed = take_passed(subscription);
    if (passed) { // it is settled, and so is all before it: whoever comes next goes on behind it
        move_cursor(subscription->kept, passed->entry.event);
        weir_ledger_touch_kept(subscription->flow, subscription->kept);
        give_up(passed, &list);
    }
    while (subscription->removals) {
        struct weir_delivery *delivery = subscription->removals;
        LL_DELETE2(subscription->removals, delivery, undone);
        give_up(delivery, &list);
    }
    subscription->reattempted = NULL; // they were in lanes
    if (subscription->notes) {
        subscription->kept->record.is_ready = false; // what is remembered is not complete
        weir_ledger_touch_kept(subscription->flow, subscription->kept);
    }
    while (subscription->notes) {
        struct weir_note *next = subscription->notes->next;
        subscription->flow->pending_notes--;
        free(subscription->notes);
        subscription->notes = next;
    }
    subscription->notes_last = NULL;
    return list;
}
