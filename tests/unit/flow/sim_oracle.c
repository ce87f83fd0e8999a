// SPDX-License-Identifier: Apache-2.0
//
// What must hold. The oracle sees an event when the ledger takes it, when a handler is called with
// it and answers, when the ledger is told that it is settled, and when a batch of the store has
// been applied, and keeps books of its own. It knows what a crash takes back: whatever is not
// durable.
#include "unit/flow/sim.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

// ---- events by their ids ----

static uint16_t *slot_of(struct weir_str id) {
    size_t slot = XXH3_64bits(id.data, id.size) % SIM_EVENT_SLOTS;
    while (sim.event_slots[slot] != 0 &&
           !weir_str_equal(weir_str_of(sim.events[sim.event_slots[slot]].id), id)) {
        slot = (slot + 1) % SIM_EVENT_SLOTS;
    }
    return &sim.event_slots[slot];
}

struct sim_event *sim_event_of(struct weir_str id) {
    uint16_t at = *slot_of(id);
    return at ? &sim.events[at] : NULL;
}

struct sim_event *sim_event_obtain(struct weir_str id) {
    uint16_t *slot = slot_of(id);
    if (*slot == 0) {
        SIM_CHECK(sim.event_count + 1 < SIM_EVENTS_MAX, "many events");
        struct sim_event *made = &sim.events[++sim.event_count];
        *slot = (uint16_t)sim.event_count;
        SIM_CHECK(id.size < sizeof made->id, "an id of %zu bytes", id.size);
        memset(made, 0, sizeof *made);
        memcpy(made->id, id.data, id.size);
        made->slot = (uint16_t)(slot - sim.event_slots);
    }
    return &sim.events[*slot];
}

void sim_events_clear(void) {
    for (uint32_t i = 1; i <= sim.event_count; i++) {
        sim.event_slots[sim.events[i].slot] = 0;
    }
    sim.event_count = 0;
}

static uint64_t mix(uint64_t hash, struct weir_str text) {
    return XXH3_64bits_withSeed(text.data ? text.data : "", text.size, hash + text.size);
}

uint64_t sim_event_hash(const struct weir_event_fields *fields) {
    uint64_t hash = mix(1, fields->id);
    hash = mix(mix(mix(hash, fields->specversion), fields->ty), fields->source);
    hash = mix(hash, fields->data.value.bytes) + fields->data.value.kind;
    hash = mix(mix(hash, fields->subject.value), fields->time.value);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        const struct weir_attribute *extension = &fields->extensions.items[i];
        if (!weir_str_equal(extension->name, WEIR_STR(WEIR_EXTENSION_ATTEMPT))) {
            hash = mix(mix(hash, extension->name), extension->value);
        }
    }
    return hash ? hash : 1;
}

void sim_event_check(struct sim_event *event, const struct weir_event_fields *fields) {
    uint64_t hash = sim_event_hash(fields);
    SIM_CHECK(event->hash == 0 || event->hash == hash, "%s comes with other bytes", event->id);
    event->hash = hash;
}

// ---- subscriptions ----

struct sim_sub *sim_sub_of(const struct weir_subscription *subscription) {
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        if (sim.subs[i].record_id == subscription->kept->record.id) {
            return &sim.subs[i];
        }
    }
    SIM_FAIL("a subscription that nobody made: %s", subscription->name);
}

struct sim_sub *sim_sub_named(struct weir_str name) {
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        if (weir_str_equal(weir_str_of(sim.subs[i].name), name)) {
            return &sim.subs[i];
        }
    }
    SIM_FAIL("nothing is named %.*s", WEIR_STR_ARG(name));
}

static bool can(const struct sim_sub *sub, enum weir_capability capability) {
    return sim_source_can(sub->source, capability);
}

// Whether the source tells an event again of which nothing is durable.
static bool is_told_again(const struct sim_sub *sub) {
    return can(sub, WEIR_CAN_REPLAY) || can(sub, WEIR_CAN_COMPARE) || can(sub, WEIR_CAN_ACK);
}

// Whether the source keeps an event until it hears that something of it is durable.
static bool is_kept_there(const struct sim_sub *sub) {
    return can(sub, WEIR_CAN_ACK) && !can(sub, WEIR_CAN_REPLAY);
}

static struct sim_case *case_of(const struct sim_sub *sub, struct sim_event *event) {
    return &event->cases[sub->number];
}

static bool is_finished(const struct sim_taken *taken) {
    return taken->verdict != SIM_NONE || taken->is_dropped || taken->is_skipped;
}

// Whether it still has to be handled.
static bool is_owed(const struct sim_taken *taken) {
    return taken->event && !taken->is_done && !taken->is_abandoned && !is_finished(taken);
}

static void forget(struct sim_sub *sub, uint64_t seq) {
    struct sim_taken *taken = &sub->taken[seq];
    struct sim_case *its = case_of(sub, taken->event);
    its->seq = its->seq == seq ? 0 : its->seq;
    taken->event = NULL;
}

// What the batch under way does to a row: an op, or -1.
static int op_under_way(const struct sim_sub *sub, uint64_t seq) {
    int op = -1;
    if (sim.flow && sim.flow->has_batch) {
        for (const struct weir_entry *entry = sim.flow->batch_entries; entry; entry = entry->next) {
            if (entry->subscription == sub->record_id && entry->seq == seq) {
                op = entry->op;
            }
        }
    }
    return op;
}

// Of a source that replays, as it is in memory.
static uint32_t cursor_of(const struct weir_kept *kept) {
    char text[16] = "";
    struct weir_str cursor = kept->record.cursor;
    memcpy(text, cursor.size ? cursor.data : "", cursor.size);
    return (uint32_t)strtoul(text, NULL, 10);
}

static void begin_taken(struct sim_sub *sub, uint64_t seq, const struct weir_kept *kept) {
    struct sim_taken *taken = &sub->taken[seq];
    taken->is_running = false;
    taken->calls = 0;
    if (taken->event && seq >= kept->record.next_seq) {
        forget(sub, seq);
    }
    if (!taken->event || taken->is_done || taken->is_abandoned) {
        return;
    }
    int op = op_under_way(sub, seq);
    bool has_row = sim_store_row(sub->record_id, seq) || op == WEIR_ENTRY_WRITE;
    if (has_row && op != WEIR_ENTRY_REMOVE) {
        taken->verdict = SIM_NONE;
        taken->is_dropped = taken->is_skipped = false;
    } else if (op == -1 && !taken->is_returned &&
               (is_kept_there(sub) ||
                (can(sub, WEIR_CAN_REPLAY) && taken->event->index > cursor_of(kept)))) {
        forget(sub, seq);
    }
}

weir_status __real_weir_kept_obtain(struct weir_flow *flow, const char *name,
                                    struct weir_subscription *subscription,
                                    struct weir_kept **ret_kept, struct weir_error *err);
weir_status __wrap_weir_kept_obtain(struct weir_flow *flow, const char *name,
                                    struct weir_subscription *subscription,
                                    struct weir_kept **ret_kept, struct weir_error *err);
weir_status __wrap_weir_kept_obtain(struct weir_flow *flow, const char *name,
                                    struct weir_subscription *subscription,
                                    struct weir_kept **ret_kept, struct weir_error *err) {
    weir_status status = __real_weir_kept_obtain(flow, name, subscription, ret_kept, err);
    if (status != WEIR_OK || sim.is_crashed) {
        return status;
    }
    struct sim_sub *sub = sim.beginning;
    const struct weir_kept *kept = *ret_kept;
    sub->record_id = kept->record.id;
    for (uint64_t seq = 1; seq <= sub->seq_last; seq++) {
        begin_taken(sub, seq, kept);
    }
    sub->seq_last = kept->record.next_seq - 1;
    sub->open_seq = sub->open_seq < kept->record.next_seq ? sub->open_seq : kept->record.next_seq;
    sub->is_gap_open = sub->is_stopped = false;
    sub->running = 0;
    sub->received = sub->refused = sub->dropped = sub->abandoned = sub->returned = 0;
    memset(sub->told_index, 0, sizeof sub->told_index);
    return status;
}

// ---- taking ----

static void check_told(struct sim_sub *sub, struct sim_event *event) {
    const struct sim_case *its = case_of(sub, event);
    if (!event->source) {
        return; // a topic may tell an event twice
    }
    SIM_CHECK(!sub->is_gap_open, "%s: %s is taken beside a gap", sub->name, event->id);
    if (its->seq != 0 && !can(sub, WEIR_CAN_ACK)) {
        const struct sim_taken *taken = &sub->taken[its->seq];
        SIM_CHECK(taken->is_abandoned || sub->has_repeats, "%s: %s is told again, %s", sub->name,
                  event->id, taken->is_done ? "which is durably settled" : "which waits already");
    }
    if (!event->is_gap) {
        SIM_CHECK(sub->told_index[event->key] < event->index, "%s: %s is behind %" PRIu32,
                  sub->name, event->id, sub->told_index[event->key]);
        sub->told_index[event->key] = event->index;
    }
}

static void note_taken(struct weir_delivery *delivery, bool is_returned) {
    if (sim.is_crashed) {
        return;
    }
    struct sim_sub *sub = sim_sub_of(delivery->subscription);
    struct sim_event *event = sim_event_of(delivery->entry.event->fields.id);
    const struct weir_subscription *subscription = delivery->subscription;
    uint64_t seq = delivery->entry.seq;
    SIM_CHECK(event, "an event from nowhere is taken");
    SIM_CHECK(seq > 0 && seq < SIM_TAKEN_MAX, "many events are taken");
    SIM_CHECK(!sub->taken[seq].event, "%s: number %" PRIu64 " is given twice", sub->name, seq);
    sim_event_check(event, &delivery->entry.event->fields);
    if (!is_returned) {
        check_told(sub, event);
        sub->received++;
        uint64_t most = subscription->journal.events;
        SIM_CHECK(delivery->is_in_lane || most == 0 || event->is_gap ||
                      subscription->counts.behind <= most,
                  "%s: %" PRIu64 " events are behind, %" PRIu64 " may be", sub->name,
                  subscription->counts.behind, most);
    } else {
        sub->returned++;
    }
    sub->taken[seq] = (struct sim_taken){.event = event, .is_returned = is_returned};
    case_of(sub, event)->seq = seq;
    sub->seq_last = seq;
    if (event->is_gap && !is_returned) {
        sub->taken[seq].is_skipped = sub->args.on_gap == WEIR_GAP_SKIP;
        sub->is_gap_open = sub->args.on_gap == WEIR_GAP_DELIVER;
        sim.counts.gaps++;
    }
    SIM_TELL("%s takes %s as %" PRIu64 "%s%s", sub->name, event->id, seq,
             delivery->is_in_lane ? "" : ", behind", is_returned ? ", given back" : "");
}

void __real_weir_ledger_append(struct weir_delivery *delivery);
void __wrap_weir_ledger_append(struct weir_delivery *delivery);
void __wrap_weir_ledger_append(struct weir_delivery *delivery) {
    __real_weir_ledger_append(delivery);
    note_taken(delivery, false);
}

void __real_weir_ledger_append_returned(struct weir_delivery *delivery);
void __wrap_weir_ledger_append_returned(struct weir_delivery *delivery);
void __wrap_weir_ledger_append_returned(struct weir_delivery *delivery) {
    __real_weir_ledger_append_returned(delivery);
    note_taken(delivery, true);
}

// What the sink answers, against what was taken.
weir_status __real_weir_intake_offer(void *context, struct weir_event *event);
weir_status __wrap_weir_intake_offer(void *context, struct weir_event *event);
weir_status __wrap_weir_intake_offer(void *context, struct weir_event *event) {
    struct sim_sub *sub = sim_sub_of(context);
    if (sim.is_crashed) {
        return __real_weir_intake_offer(context, event);
    }
    uint64_t received = sub->received;
    weir_status status = __real_weir_intake_offer(context, event);
    if (sim.is_crashed) {
        return status;
    }
    struct sim_event *known = sim_event_of(event->fields.id);
    bool is_taken = sub->received > received;
    SIM_CHECK(!is_taken || status == WEIR_OK, "%s takes %s and answers %s", sub->name, known->id,
              weir_status_name(status));
    if (status == WEIR_OK && !is_taken) {
        SIM_CHECK(!can(sub, WEIR_CAN_PAUSE), "%s: %s is dropped", sub->name, known->id);
        SIM_TELL("%s drops %s", sub->name, known->id);
        sub->refused++;
        sim.counts.drops++;
        case_of(sub, known)->is_refused = true;
    } else if (status == WEIR_AGAIN) {
        SIM_TELL("%s has no room for %s", sub->name, known->id);
    } else if (status == WEIR_STOPPED && known->is_gap && sub->args.on_gap == WEIR_GAP_STOP) {
        sub->is_stopped = true;
    }
    return status;
}

void __real_weir_lanes_push(struct weir_lane *lane, struct weir_delivery *delivery);
void __wrap_weir_lanes_push(struct weir_lane *lane, struct weir_delivery *delivery);
void __wrap_weir_lanes_push(struct weir_lane *lane, struct weir_delivery *delivery) {
    __real_weir_lanes_push(lane, delivery);
    const struct weir_subscription *subscription = lane->subscription;
    const struct weir_subscription_counts *counts = &subscription->counts;
    SIM_CHECK(counts->queued == 1 || counts->queued <= subscription->queue.events,
              "%s: %" PRIu64 " events are queued, %" PRIu64 " may be", subscription->name,
              counts->queued, subscription->queue.events);
    SIM_CHECK(counts->queued == 1 || counts->queued_bytes <= subscription->queue.bytes,
              "%s: %" PRIu64 " bytes are queued, %" PRIu64 " may be", subscription->name,
              counts->queued_bytes, subscription->queue.bytes);
}

// ---- handling ----

static void check_order(const struct sim_sub *sub, uint64_t seq) {
    const struct sim_event *event = sub->taken[seq].event;
    bool is_gap = event->is_gap && !sub->taken[seq].is_returned;
    for (uint64_t other = sub->open_seq; other <= sub->seq_last; other++) {
        const struct sim_taken *taken = &sub->taken[other];
        if (other == seq || !taken->event) {
            continue;
        }
        SIM_CHECK(!taken->is_running || (taken->event->key != event->key && !is_gap),
                  "%s: %s is handled beside %s", sub->name, event->id, taken->event->id);
        if (other < seq && is_owed(taken)) {
            SIM_CHECK(taken->event->key != event->key, "%s: %s is handled before %s", sub->name,
                      event->id, taken->event->id);
            SIM_CHECK(!is_gap, "%s: the gap %s is handled before %s", sub->name, event->id,
                      taken->event->id);
            SIM_CHECK(!taken->event->is_gap || taken->is_returned || sub->taken[seq].is_returned,
                      "%s: %s is handled before the gap %s", sub->name, event->id,
                      taken->event->id);
        }
    }
}

static uint32_t attempt_of(const struct weir_event_fields *fields) {
    struct weir_str text = weir_event_extension(fields, WEIR_EXTENSION_ATTEMPT);
    uint32_t attempt = 0;
    for (size_t i = 0; i < text.size; i++) {
        attempt = attempt * 10 + (uint32_t)(text.data[i] - '0');
    }
    return attempt ? attempt : 1;
}

void sim_oracle_calls(struct sim_sub *sub, const struct weir_delivery *delivery,
                      const struct weir_event_fields *fields) {
    uint64_t seq = delivery->entry.seq;
    SIM_CHECK(seq > 0 && seq <= sub->seq_last, "%s: what was never taken is handled", sub->name);
    struct sim_taken *taken = &sub->taken[seq];
    struct sim_event *event = sim_event_of(fields->id);
    SIM_CHECK(event && taken->event == event, "%s: number %" PRIu64 " is another event", sub->name,
              seq);
    sim_event_check(event, fields);
    SIM_CHECK(!taken->is_done, "%s: %s is handled again, which is durably settled", sub->name,
              event->id);
    SIM_CHECK(is_owed(taken), "%s: %s is handled again", sub->name, event->id);
    SIM_CHECK(!taken->is_running, "%s: %s is handled twice at a time", sub->name, event->id);
    uint32_t workers = sim.config.workers;
    uint64_t most = sub->args.concurrency > 0 && sub->args.concurrency < workers
                        ? sub->args.concurrency
                        : workers;
    SIM_CHECK(++sub->running <= most, "%s: %" PRIu32 " handlers at a time", sub->name,
              sub->running);
    check_order(sub, seq);
    const struct sim_row *row = sim_store_row(sub->record_id, seq);
    if (taken->calls++ == 0) {
        taken->attempts = row ? row->attempts : 0;
    }
    SIM_CHECK(delivery->attempts == taken->attempts && attempt_of(fields) == taken->attempts + 1,
              "%s: %s comes as attempt %" PRIu32 " (%" PRIu32 "), %" PRIu32 " have failed",
              sub->name, event->id, attempt_of(fields), delivery->attempts, taken->attempts);
    taken->is_running = true;
    sim.counts.calls++;
}

void sim_oracle_answers(struct sim_sub *sub, uint64_t seq, enum sim_verdict verdict,
                        bool has_failed) {
    struct sim_taken *taken = &sub->taken[seq];
    SIM_CHECK(taken->is_running, "%s: a handler ends that was not called", sub->name);
    taken->is_running = false;
    taken->verdict = verdict;
    taken->attempts += has_failed;
    taken->has_failed = has_failed;
    struct sim_case *its = case_of(sub, taken->event);
    const struct sim_taken *earlier = &sub->taken[its->out_seq];
    bool is_under_way = earlier->event == taken->event && earlier->verdict == SIM_DERIVED &&
                        !earlier->is_done; // it was told twice: the first to return counts
    if (verdict == SIM_DERIVED && !is_under_way) {
        its->out_seq = seq;
    }
    sub->running--;
    if (verdict != SIM_NONE && taken->event->is_gap && !taken->is_returned) {
        sub->is_gap_open = false;
    }
}

void sim_oracle_forgets(struct sim_sub *sub, uint64_t seq) {
    struct sim_taken *taken = &sub->taken[seq];
    SIM_TELL("%s: %s cannot be settled now", sub->name, taken->event->id);
    taken->verdict = SIM_NONE;
    taken->attempts -= taken->has_failed;
    sub->is_gap_open |= taken->event->is_gap && !taken->is_returned;
    sim.counts.later++;
}

struct weir_delivery *__real_weir_ledger_settle(struct weir_delivery *delivery);
struct weir_delivery *__wrap_weir_ledger_settle(struct weir_delivery *delivery);
struct weir_delivery *__wrap_weir_ledger_settle(struct weir_delivery *delivery) {
    if (!sim.is_crashed) {
        struct sim_sub *sub = sim_sub_of(delivery->subscription);
        struct sim_taken *taken = &sub->taken[delivery->entry.seq];
        SIM_CHECK(taken->event, "%s: what was never taken is settled", sub->name);
        if (!is_finished(taken)) {
            bool may_drop = !can(sub, WEIR_CAN_PAUSE) &&
                            sub->args.overflow == WEIR_OVERFLOW_DROP_OLDEST && !taken->is_running;
            SIM_CHECK(may_drop, "%s: %s is settled and was not handled", sub->name,
                      taken->event->id);
            SIM_TELL("%s drops %s", sub->name, taken->event->id);
            taken->is_dropped = true;
            sub->dropped++;
            sim.counts.drops++;
        }
        sim.counts.settled++;
    }
    return __real_weir_ledger_settle(delivery);
}

// ---- a subscription ends ----

struct weir_delivery *__real_weir_ledger_abandon(struct weir_subscription *subscription,
                                                 struct weir_delivery *list, uint64_t *count);
struct weir_delivery *__wrap_weir_ledger_abandon(struct weir_subscription *subscription,
                                                 struct weir_delivery *list, uint64_t *count);
struct weir_delivery *__wrap_weir_ledger_abandon(struct weir_subscription *subscription,
                                                 struct weir_delivery *list, uint64_t *count) {
    if (sim.is_crashed || !subscription->kept) {
        return __real_weir_ledger_abandon(subscription, list, count);
    }
    struct sim_sub *sub = sim_sub_of(subscription);
    uint64_t before = count ? *count : 0, abandoned = 0;
    for (const struct weir_delivery *delivery = subscription->ledger; delivery;
         delivery = delivery->ledger_next) {
        struct sim_taken *taken = &sub->taken[delivery->entry.seq];
        if (is_told_again(sub) && !taken->is_returned) {
            forget(sub, delivery->entry.seq);
        } else if (!is_finished(taken)) {
            SIM_TELL("%s gives up %s", sub->name, taken->event->id);
            taken->is_abandoned = true;
            abandoned++;
        } else {
            taken->is_settled_unwritten = taken->is_returned && is_kept_there(sub);
        }
    }
    sub->has_repeats |= subscription->settled_in_ledger > 0 || subscription->removals ||
                        subscription->passed_count > 0;
    for (const struct weir_entry *entry = sim.flow->batch_entries; entry; entry = entry->next) {
        sub->has_repeats |= entry->subscription == sub->record_id;
    }
    list = __real_weir_ledger_abandon(subscription, list, count);
    // Where the disk answers, nothing of this kind is left.
    SIM_CHECK(abandoned == 0 || !sim.is_clean, "%s: %" PRIu64 " events are given up", sub->name,
              abandoned);
    SIM_CHECK(!count || can(sub, WEIR_CAN_ACK) || *count - before == abandoned,
              "%s: %" PRIu64 " events are given up, %" PRIu64 " are counted", sub->name, abandoned,
              *count - before);
    sub->abandoned += abandoned;
    return list;
}

// ---- durable ----

static struct sim_event *cause_of(const struct weir_event *event) {
    return sim_event_of(weir_event_extension(&event->fields, WEIR_EXTENSION_CAUSATION));
}

// An event that a handler returned is durable for the first time.
static struct sim_event *note_returned(struct sim_sub *sub, const struct weir_event *event) {
    struct sim_event *known = sim_event_obtain(event->fields.id);
    sim_event_check(known, &event->fields);
    struct sim_event *cause = cause_of(event);
    SIM_CHECK(cause, "%s has no cause", known->id);
    known->sub = sub->number;
    known->cause = cause;
    known->key = event->key.size > 1 ? (uint32_t)(event->key.data[1] - '0') : SIM_KEYS_MAX;
    case_of(sub, cause)->has_out = true;
    return known;
}

static void commit_outbox(const struct weir_outbox_entry *entry) {
    struct sim_sub *sub = sim_sub_named(entry->subscription);
    struct sim_event *event = note_returned(sub, entry->event);
    if (event->is_durable) {
        return; // given back, or its cause was handled twice
    }
    uint64_t seq = case_of(sub, event->cause)->out_seq;
    event->is_durable = true;
    event->cause_seq = seq;
    SIM_CHECK(seq > 0, "%s: %s is durable, its cause %s has not returned it", sub->name, event->id,
              event->cause->id);
    if (event->cause->key < SIM_KEYS_MAX && !sub->has_repeats && !event->has_letter) {
        SIM_CHECK(seq > sub->out_seq[event->cause->key], "%s: %s is in the outbox too late",
                  sub->name, event->id);
        sub->out_seq[event->cause->key] = seq;
    }
}

static void commit_letter(const struct weir_dead_letter *letter) {
    struct sim_sub *sub = sim_sub_named(letter->subscription);
    sim.counts.letters++;
    if (letter->target.size > 0) {
        struct sim_event *event = note_returned(sub, letter->event);
        event->has_letter = true;
        return;
    }
    struct sim_event *event = sim_event_of(letter->event->fields.id);
    SIM_CHECK(event, "a dead letter from nowhere");
    sim_event_check(event, &letter->event->fields);
    case_of(sub, event)->has_letter = true;
    SIM_CHECK(letter->attempts >= 1 && letter->attempts <= sub->args.retry.attempts,
              "%s: %s is given up after %" PRIu32 " attempts", sub->name, event->id,
              letter->attempts);
}

static void commit_taken(struct sim_sub *sub, uint64_t seq, const struct sim_record *record) {
    struct sim_taken *taken = &sub->taken[seq];
    if (!taken->event || taken->is_done || taken->is_abandoned) {
        return;
    }
    struct sim_case *its = case_of(sub, taken->event);
    if (sim_store_row(record->id, seq)) {
        its->was_durable = true;
        return;
    }
    bool is_above = can(sub, WEIR_CAN_REPLAY) && !taken->is_returned &&
                    taken->event->index > strtoul(record->cursor, NULL, 10);
    bool is_left = is_kept_there(sub) && op_under_way(sub, seq) == -1;
    if (is_above || is_left) {
        return;
    }
    SIM_CHECK(is_finished(taken), "%s: %s (%" PRIu64 ") is neither settled nor has a row",
              sub->name, taken->event->id, seq);
    taken->is_done = its->was_durable = true;
    SIM_CHECK(taken->verdict != SIM_DERIVED || !sub->has_target || its->has_out,
              "%s: %s is durably settled and what it caused is not there", sub->name,
              taken->event->id);
    SIM_CHECK(taken->verdict != SIM_DEAD || its->has_letter,
              "%s: %s is durably given up and has no letter", sub->name, taken->event->id);
}

void sim_oracle_committed(const struct weir_batch *batch) {
    for (const struct weir_outbox_entry *entry = batch->outbox; entry; entry = entry->next) {
        commit_outbox(entry);
    }
    for (const struct weir_dead_letter *letter = batch->dead; letter; letter = letter->next) {
        commit_letter(letter);
    }
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        struct sim_sub *sub = &sim.subs[i];
        const struct sim_record *record = sim_store_record(sub->record_id);
        if (!record || sub->record_id == 0) {
            continue;
        }
        if (record->is_ready && !sub->is_known) {
            sub->is_known = true;
            sub->since_index = sub->fresh_index;
        }
        for (uint64_t seq = sub->open_seq; seq < record->next_seq && seq <= sub->seq_last; seq++) {
            commit_taken(sub, seq, record);
        }
        while (sub->open_seq <= sub->seq_last && sub->open_seq < record->next_seq &&
               (!sub->taken[sub->open_seq].event || sub->taken[sub->open_seq].is_done ||
                sub->taken[sub->open_seq].is_abandoned)) {
            sub->open_seq++;
        }
    }
}

void sim_oracle_acknowledged(struct sim_sub *sub, const struct sim_event *event) {
    SIM_CHECK(event->cases[sub->number].was_durable, "%s: %s is acknowledged and not durable",
              sub->name, event->id);
}

// ---- publishing ----

#define LEFT_NS (9 * WEIR_NS_PER_S) // a topic waits longer for who has left it

// The topic has told what was published to those who watch it, and to nobody else.
static void note_told(const struct sim_source *topic, struct sim_event *event, int64_t since_ns) {
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        struct sim_sub *sub = &sim.subs[i];
        uint32_t bit = 1u << i;
        if (sub->source != topic || (sub->key != SIM_KEYS_MAX && sub->key != event->key)) {
            continue;
        }
        uint64_t seq = case_of(sub, event)->seq;
        bool has_left = sub->is_known && sub->left_ns != 0 && since_ns < sub->left_ns + LEFT_NS;
        if (sub->watched_ns < since_ns) {
            SIM_CHECK(seq != 0, "%s: %s is published and not taken", sub->name, event->id);
            event->told |= bit;
            case_of(sub, event)->told_seq = seq;
        }
        event->missed = seq == 0 && has_left ? event->missed | bit : event->missed & ~bit;
    }
}

void sim_oracle_published(struct sim_event *event, const struct sim_source *target,
                          int64_t since_ns) {
    struct sim_sub *from = &sim.subs[event->sub];
    uint32_t key = event->cause->key;
    bool is_first = event->published++ == 0 && !event->has_letter;
    if (is_first && key < SIM_KEYS_MAX && !from->has_repeats) {
        SIM_CHECK(event->cause_seq > from->published_seq[key], "%s: %s is published too late",
                  from->name, event->id);
        from->published_seq[key] = event->cause_seq;
    }
    sim.counts.published++;
    SIM_TELL("%s of %s is published to %s", event->id, event->cause->id, target->name);
    if (target->is_topic) {
        note_told(target, event, since_ns);
    }
}

// From here on nobody but those who were told knows of it.
void sim_oracle_unqueued(struct sim_event *event) {
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        struct sim_sub *sub = &sim.subs[i];
        uint64_t seq = case_of(sub, event)->told_seq;
        if ((event->told & 1u << i) == 0 || seq == 0 || event->published > 1 ||
            sub->taken[seq].event != event) {
            continue;
        }
        const struct sim_taken *taken = &sub->taken[seq];
        const struct sim_record *record = sim_store_record(sub->record_id);
        bool is_durable = is_finished(taken) || (record && sim_store_row(record->id, seq));
        SIM_CHECK(is_durable || case_of(sub, event)->was_durable || taken->is_abandoned,
                  "%s: %s has left the outbox and is not durable", sub->name, event->id);
    }
    SIM_CHECK(event->missed == 0, "%s has left the outbox while who watched it was away",
              event->id);
    event->told = 0;
}

// ---- at any moment ----

struct totals {
    uint64_t queued, queued_bytes, running, delayed, behind;
};

static void look_at_lane(const struct weir_lane *lane, struct totals *totals) {
    for (const struct weir_delivery *each = lane->first; each; each = each->next) {
        totals->queued++;
        totals->queued_bytes += each->entry.event->size_bytes;
        SIM_CHECK(each->is_in_lane, "a delivery does not know its lane");
    }
    totals->running += lane->state == WEIR_LANE_RUNNING;
    totals->delayed += lane->state == WEIR_LANE_DELAYED;
    totals->behind += lane->behind;
    SIM_CHECK((lane->state == WEIR_LANE_IDLE) == !lane->first, "a lane is in no place of its own");
}

static void look_at(const struct sim_sub *sub) {
    const struct weir_subscription *subscription = sub->subscription;
    const struct weir_subscription_counts *counts = &subscription->counts;
    struct totals totals = {0};
    for (const struct weir_lane *lane = subscription->lanes; lane; lane = lane->hh.next) {
        look_at_lane(lane, &totals);
    }
    SIM_CHECK(totals.queued == counts->queued && totals.queued_bytes == counts->queued_bytes,
              "%s: %" PRIu64 " are queued, %" PRIu64 " are counted", sub->name, totals.queued,
              counts->queued);
    SIM_CHECK(totals.running == counts->in_flight && totals.delayed == subscription->blocked,
              "%s: lanes run or wait that are not counted", sub->name);
    SIM_CHECK(totals.behind + subscription->spilled == counts->behind,
              "%s: %" PRIu64 " are behind, %" PRIu64 " are counted", sub->name,
              totals.behind + subscription->spilled, counts->behind);
    uint64_t settled = 0;
    for (const struct weir_delivery *each = subscription->ledger; each; each = each->ledger_next) {
        settled += each->is_settled;
        SIM_CHECK(!each->ledger_next || each->entry.seq < each->ledger_next->entry.seq,
                  "%s: the ledger is not in order", sub->name);
    }
    SIM_CHECK(settled == subscription->settled_in_ledger, "%s: settled ones are miscounted",
              sub->name);
}

void sim_oracle_look(void) {
    uint64_t queued_bytes = 0;
    if (sim.is_crashed) {
        return;
    }
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        if (sim.subs[i].subscription) {
            look_at(&sim.subs[i]);
            queued_bytes += sim.subs[i].subscription->counts.queued_bytes;
        }
    }
    SIM_CHECK(queued_bytes == sim.flow->queued_bytes,
              "%" PRIu64 " bytes are queued, %" PRIu64 " are counted", queued_bytes,
              sim.flow->queued_bytes);
}

void sim_oracle_idle(int64_t until_ns) {
    const struct weir_flow *flow = sim.flow;
    if (!flow || sim.is_crashed || flow->is_held || flow->is_ending || !flow->parked) {
        return;
    }
    SIM_CHECK(!flow->ready, "a lane is ready, and a worker sleeps on");
    SIM_CHECK(flow->delayed_count == 0 || flow->delayed[0]->due_ns >= until_ns,
              "a lane is due, and a worker sleeps on");
}

// ---- at rest ----

static bool is_sub_resting(const struct sim_sub *sub) {
    const struct weir_subscription_counts *counts = &sub->subscription->counts;
    return counts->queued == 0 && counts->behind == 0 && counts->in_flight == 0 &&
           !sub->subscription->ledger && !sub->subscription->removals &&
           sub->subscription->passed_count == 0 && sub->subscription->pins == 0 &&
           sub->subscription->batch_pins == 0 && sim_source_is_told(sub->source);
}

void sim_oracle_tell_unrest(void) {
    const struct weir_flow *flow = sim.flow;
    fprintf(stderr, "%zu rows, %zu in the outbox, %" PRIu64 " bytes queued%s%s%s\n",
            sim.store.row_count, sim.store.out_count, flow->queued_bytes,
            flow->is_failing ? ", failing" : "", flow->has_batch ? ", in a batch" : "",
            flow->dirty_since_ns ? ", dirty" : "");
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        const struct sim_sub *sub = &sim.subs[i];
        const struct weir_subscription *subscription = sub->subscription;
        if (!subscription) {
            fprintf(stderr, "%s does not run\n", sub->name);
            continue;
        }
        const struct weir_subscription_counts *counts = &subscription->counts;
        fprintf(stderr,
                "%s: %" PRIu64 " queued, %" PRIu64 " in flight, %" PRIu64 " behind, %" PRIu64
                " spilled above %" PRIu64 ", %" PRIu64 " blocked%s%s%s%s%s%s%s\n",
                sub->name, counts->queued, counts->in_flight, counts->behind, subscription->spilled,
                subscription->loaded_seq, subscription->blocked,
                subscription->is_paused ? ", paused" : "",
                subscription->is_gap_open ? ", in a gap" : "",
                subscription->is_load_wanted ? ", wants rows" : "",
                subscription->load_lanes ? ", wants rows of a lane" : "",
                subscription->ledger ? ", in the ledger" : "",
                subscription->is_ready ? ", ready" : "",
                sim_source_is_told(sub->source) ? "" : ", not told all");
    }
}

bool sim_oracle_is_resting(void) {
    const struct weir_flow *flow = sim.flow;
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        if (!is_sub_resting(&sim.subs[i])) {
            return false;
        }
    }
    return sim.store.row_count == 0 && sim.store.out_count == 0 && !flow->has_batch &&
           !flow->dirty && !flow->dirty_kept && flow->dirty_since_ns == 0 && !flow->outbox &&
           !flow->published && !flow->dead && !flow->loads;
}

// Every change that the source still has was taken and settled, or what it is missing for is known.
static void rest_of_changes(struct sim_sub *sub) {
    const struct sim_source *source = sub->source;
    uint32_t since = can(sub, WEIR_CAN_REPLAY) ? sub->since_index : source->first_owed - 1;
    for (uint32_t index = since + 1; index <= source->count; index++) {
        if (sub->key != SIM_KEYS_MAX && source->changes[index].key != sub->key) {
            continue;
        }
        char id[24];
        snprintf(id, sizeof id, "%s:%" PRIu32, source->name, index);
        struct sim_event *event = sim_event_of(weir_str_of(id));
        const struct sim_case *its = event ? case_of(sub, event) : NULL;
        bool is_covered = index < source->first_kept;
        bool is_handled = its && (its->is_refused || its->was_durable);
        SIM_CHECK(is_handled || is_covered, "%s: %s was never handled", sub->name, id);
    }
}

// Whether the last state of a key that was told before its current one is that it is there.
static bool was_told(struct sim_sub *sub, uint32_t key) {
    const struct sim_source *source = sub->source;
    uint32_t last = sub->fresh_keys[key];
    for (uint32_t index = last + 1; index < source->current[key]; index++) {
        char id[24];
        snprintf(id, sizeof id, "%s:%" PRIu32, source->name, index);
        struct sim_event *event = sim_event_of(weir_str_of(id));
        bool is_told =
            event && source->changes[index].key == key && case_of(sub, event)->was_durable;
        last = is_told ? index : last;
    }
    return last > 0 && !source->changes[last].is_delete;
}

static void rest_of_keys(struct sim_sub *sub) {
    const struct sim_source *source = sub->source;
    for (uint32_t key = 0; key < SIM_KEYS_MAX; key++) {
        uint32_t index = source->current[key];
        bool is_wanted = sub->key == SIM_KEYS_MAX || sub->key == key;
        if (!is_wanted || index == 0 || index <= sub->fresh_keys[key]) {
            continue;
        }
        char id[24], name[8];
        snprintf(id, sizeof id, "%s:%" PRIu32, source->name, index);
        snprintf(name, sizeof name, "k%" PRIu32, key);
        struct sim_event *event = sim_event_of(weir_str_of(id));
        const struct sim_case *its = event ? case_of(sub, event) : NULL;
        if (its && its->is_refused) {
            continue;
        }
        const struct sim_note *note = NULL;
        for (size_t i = 0; i < sim.store.note_count; i++) {
            const struct sim_note *each = &sim.store.notes[i];
            note =
                each->subscription == sub->record_id && strcmp(each->key, name) == 0 ? each : note;
        }
        if (source->changes[index].is_delete) {
            SIM_CHECK(sub->has_repeats || !was_told(sub, key) || (its && its->was_durable),
                      "%s: %s was never handled", sub->name, id);
            SIM_CHECK(!note, "%s: %s is gone, and noted as %s", sub->name, name,
                      note ? note->fingerprint : "");
            continue;
        }
        SIM_CHECK(note && strtoul(note->fingerprint + 1, NULL, 10) == index,
                  "%s: %s is noted as %s and is v%" PRIu32, sub->name, name,
                  note ? note->fingerprint : "nothing", index);
        SIM_CHECK(its && its->was_durable, "%s: %s was never handled", sub->name, id);
    }
}

static bool has_letter(const struct sim_sub *sub, const struct sim_event *event) {
    for (size_t i = 0; i < sim.store.letter_count; i++) {
        const struct sim_letter *letter = &sim.store.letters[i];
        if (!letter->target[0] && strcmp(letter->subscription, sub->name) == 0 &&
            sim_event_of(letter->event->fields.id) == event) {
            return true;
        }
    }
    return false;
}

static void rest_of_sub(struct sim_sub *sub) {
    const struct weir_subscription *subscription = sub->subscription;
    const struct weir_subscription_counts *counts = &subscription->counts;
    for (uint64_t seq = 1; seq <= sub->seq_last; seq++) {
        const struct sim_taken *taken = &sub->taken[seq];
        bool is_over = taken->is_done || taken->is_abandoned || taken->is_settled_unwritten;
        SIM_CHECK(!taken->event || is_over,
                  "%s: %s (%" PRIu64 ") was taken and is not durably settled", sub->name,
                  taken->event->id, seq);
        SIM_CHECK(!taken->event || taken->verdict != SIM_DEAD ||
                      case_of(sub, taken->event)->seq != seq ||
                      case_of(sub, taken->event)->is_thrown || has_letter(sub, taken->event),
                  "%s: %s was given up and has no dead letter", sub->name, taken->event->id);
    }
    SIM_CHECK(counts->received == sub->received, "%s: %" PRIu64 " were received, not %" PRIu64,
              sub->name, sub->received, counts->received);
    SIM_CHECK(counts->dropped == sub->refused + sub->dropped,
              "%s: %" PRIu64 " were dropped, %" PRIu64 " are counted", sub->name,
              sub->refused + sub->dropped, counts->dropped);
    SIM_CHECK(counts->queued_bytes == 0 && subscription->behind_bytes == 0 &&
                  subscription->spilled == 0 && subscription->blocked == 0 &&
                  subscription->settled_in_ledger == 0 && subscription->pins == 0 &&
                  subscription->batch_pins == 0,
              "%s: a count does not return to 0: %" PRIu64 " bytes queued, %" PRIu64 " behind",
              sub->name, counts->queued_bytes, subscription->behind_bytes);
    SIM_CHECK(subscription->kept->record.row_count == 0, "%s: %" PRIu64 " rows are counted",
              sub->name, subscription->kept->record.row_count);
    if (sub->is_stopped) {
        return; // nobody owes it anything
    }
    if (can(sub, WEIR_CAN_COMPARE)) {
        rest_of_keys(sub);
    } else if (can(sub, WEIR_CAN_REPLAY) || can(sub, WEIR_CAN_ACK)) {
        rest_of_changes(sub);
    }
}

static void rest_of_flow(void) {
    const struct weir_flow *flow = sim.flow;
    SIM_CHECK(flow->queued_bytes == 0 && flow->pending_events == 0 && flow->pending_bytes == 0 &&
                  flow->pending_notes == 0 && flow->delayed_count == 0,
              "a count of the flow does not return to 0: %" PRIu64 " bytes queued, %" PRIu64
              " events pending with %" PRIu64 " bytes, %" PRIu64 " notes",
              flow->queued_bytes, flow->pending_events, flow->pending_bytes, flow->pending_notes);
    SIM_CHECK(!flow->paused && !flow->ready && !flow->gone && !flow->orphans,
              "a list of the flow is not empty: %s",
              flow->paused  ? "paused"
              : flow->ready ? "ready"
              : flow->gone  ? "gone"
                            : "orphans");
    for (const struct weir_target *target = flow->targets; target; target = target->next) {
        SIM_CHECK(target->waiting == 0 && !target->first, "%" PRIu64 " events wait for %s",
                  target->waiting, target->resource->name);
    }
}

void sim_oracle_rest(void) {
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        rest_of_sub(&sim.subs[i]);
    }
    rest_of_flow();
    for (uint32_t i = 1; i <= sim.event_count; i++) {
        const struct sim_event *event = &sim.events[i];
        SIM_CHECK(!event->is_durable || event->published > 0 || event->has_letter,
                  "%s was returned and never published", event->id);
    }
    for (size_t i = 0; i < sim.store.letter_count; i++) {
        SIM_CHECK(sim.store.letters[i].id <= sim.flow->last_dead_id, "a dead letter has no id");
    }
}

void sim_oracle_ended(bool is_orderly) {
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        struct sim_sub *sub = &sim.subs[i];
        sub->subscription = NULL;
        sub->set = NULL;
        if (!sim_store_record(sub->record_id)) {
            sub->record_id = 0; // and the number may be another's soon
        }
        sub->watched_ns = INT64_MAX;
        for (uint64_t seq = 1; seq <= sub->seq_last && is_orderly && !is_told_again(sub); seq++) {
            const struct sim_taken *taken = &sub->taken[seq];
            SIM_CHECK(!taken->event || !is_owed(taken) || sim_store_row(sub->record_id, seq),
                      "%s: %s is lost by an orderly stop", sub->name, taken->event->id);
        }
    }
}
