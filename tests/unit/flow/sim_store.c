// SPDX-License-Identifier: Apache-2.0
//
// The store of the simulation: what src/state/ keeps in a file, in arrays. It answers late, fails
// before it has done anything or after it has done all, and is the only thing but the sources that
// outlives a crash. It holds weir to the contract of state/store.h: one commit at a time, what it
// is given stays as it is until it has answered, and after an error the same batch comes again.
#include "unit/flow/sim.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <xxhash.h>

#define DELAY_NS_MAX  (5 * WEIR_NS_PER_MS)
#define HANG_NS_MAX   (4 * WEIR_NS_PER_S)
#define OUTAGE_NS_MAX (3 * WEIR_NS_PER_S)

static struct sim_store *const store = &sim.store;

static void copy_text(char *to, size_t size, struct weir_str from) {
    SIM_CHECK(from.size < size, "a text of %zu bytes", from.size);
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    to[from.size] = '\0';
}

// ---- being late, and failing ----

static void take_time(void) {
    uint64_t turns = sim_random(4);
    for (uint64_t i = 0; i < turns; i++) {
        fiber_yield();
    }
    if (sim_fault(sim.store_delays)) {
        fiber_sleep((int64_t)sim_random(sim_chance(1, 8) ? HANG_NS_MAX : DELAY_NS_MAX));
    }
}

static weir_status fail(struct weir_error *err) {
    static const weir_status answers[] = {WEIR_UNAVAILABLE, WEIR_NO_MEMORY, WEIR_OTHER};
    store->failed_ns = sim_now_ns();
    return weir_fail(err, answers[sim_random(3)], "the disk does not answer");
}

static bool is_failing(void) {
    if (sim.is_crashed) {
        return true;
    }
    if (sim.is_quiet) {
        return false;
    }
    if (store->fails_until_ns <= sim_now_ns() && sim_fault(sim.store_faults)) {
        store->fails_until_ns =
            sim_now_ns() + (sim_chance(1, 3) ? (int64_t)sim_random(OUTAGE_NS_MAX) : 0);
        return true;
    }
    return store->fails_until_ns > sim_now_ns();
}

// ---- the batch as it was given ----

static uint64_t mix(uint64_t hash, const void *bytes, size_t size) {
    return XXH3_64bits_withSeed(bytes ? bytes : "", size, hash + size);
}

static uint64_t mix_text(uint64_t hash, struct weir_str text) {
    return mix(hash, text.data, text.size);
}

static uint64_t mix_number(uint64_t hash, uint64_t number) {
    return mix(hash, &number, sizeof number);
}

static uint64_t mix_event(uint64_t hash, const struct weir_event *event) {
    return mix_number(mix_text(hash, event->position), sim_event_hash(&event->fields));
}

static uint64_t hash_batch(const struct weir_batch *batch) {
    uint64_t hash = 1;
    const struct weir_subscription_record *record;
    LL_FOREACH (batch->subscriptions, record) {
        hash = mix_text(mix_text(mix_number(hash, record->id), record->name), record->resource);
        hash =
            mix_text(mix_text(mix_number(hash, record->next_seq), record->pattern), record->cursor);
        hash = mix_number(mix_number(hash, record->row_count), record->is_ready);
    }
    const struct weir_removal *const removals[] = {batch->forgotten, batch->published,
                                                   batch->undead};
    for (size_t i = 0; i < 3; i++) {
        hash = mix_number(hash, i);
        for (const struct weir_removal *removal = removals[i]; removal; removal = removal->next) {
            hash = mix_number(hash, removal->id);
        }
    }
    for (const struct weir_note *note = batch->notes; note; note = note->next) {
        hash =
            mix_text(mix_text(mix_number(hash, note->subscription), note->key), note->fingerprint);
    }
    for (const struct weir_entry *entry = batch->entries; entry; entry = entry->next) {
        hash = mix_number(mix_number(hash, entry->subscription), entry->seq);
        hash =
            mix_number(mix_number(hash, entry->attempts), entry->op * 2u + entry->has_fingerprint);
        hash = mix_event(hash, entry->event);
    }
    for (const struct weir_outbox_entry *entry = batch->outbox; entry; entry = entry->next) {
        hash = mix_text(mix_text(mix_number(hash, entry->id), entry->subscription), entry->target);
        hash = mix_event(hash, entry->event);
    }
    for (const struct weir_dead_letter *letter = batch->dead; letter; letter = letter->next) {
        hash =
            mix_text(mix_text(mix_number(hash, letter->id), letter->subscription), letter->target);
        hash = mix_event(mix_number(hash, letter->attempts), letter->event);
    }
    return hash;
}

// ---- rows ----

const struct sim_record *sim_store_record(uint64_t id) {
    for (size_t i = 0; i < store->record_count; i++) {
        if (store->records[i].id == id) {
            return &store->records[i];
        }
    }
    return NULL;
}

static size_t find_row(uint64_t subscription, uint64_t seq) {
    size_t i = 0;
    while (i < store->row_count &&
           (store->rows[i].subscription != subscription || store->rows[i].seq != seq)) {
        i++;
    }
    return i;
}

const struct sim_row *sim_store_row(uint64_t subscription, uint64_t seq) {
    size_t i = find_row(subscription, seq);
    return i < store->row_count ? &store->rows[i] : NULL;
}

static void write_record(const struct weir_subscription_record *from) {
    struct sim_record *to = (struct sim_record *)(uintptr_t)sim_store_record(from->id);
    if (!to) {
        SIM_CHECK(store->record_count < sizeof store->records / sizeof *to, "many records");
        to = &store->records[store->record_count++];
    }
    *to = (struct sim_record){.id = from->id,
                              .next_seq = from->next_seq,
                              .row_count = from->row_count,
                              .is_ready = from->is_ready};
    copy_text(to->name, sizeof to->name, from->name);
    copy_text(to->resource, sizeof to->resource, from->resource);
    copy_text(to->pattern, sizeof to->pattern, from->pattern);
    copy_text(to->cursor, sizeof to->cursor, from->cursor);
    for (size_t i = 0; i < store->record_count; i++) {
        SIM_CHECK(&store->records[i] == to || strcmp(store->records[i].name, to->name) != 0,
                  "two records are named %s", to->name);
    }
}

static void write_note(uint64_t subscription, struct weir_str key, struct weir_str fingerprint) {
    size_t i = 0;
    while (i < store->note_count && (store->notes[i].subscription != subscription ||
                                     !weir_str_equal(weir_str_of(store->notes[i].key), key))) {
        i++;
    }
    if (fingerprint.size == 0) {
        if (i < store->note_count) {
            store->notes[i] = store->notes[--store->note_count];
        }
        return;
    }
    if (i == store->note_count) {
        SIM_CHECK(i < sizeof store->notes / sizeof store->notes[0], "many notes");
        store->note_count++;
        store->notes[i].subscription = subscription;
        copy_text(store->notes[i].key, sizeof store->notes[i].key, key);
    }
    copy_text(store->notes[i].fingerprint, sizeof store->notes[i].fingerprint, fingerprint);
}

static void forget_notes(uint64_t subscription) {
    size_t kept = 0;
    for (size_t i = 0; i < store->note_count; i++) {
        if (store->notes[i].subscription != subscription) {
            store->notes[kept++] = store->notes[i];
        }
    }
    store->note_count = kept;
}

static void remove_row(size_t at) {
    weir_event_unref(store->rows[at].event);
    store->row_count--;
    memmove(&store->rows[at], &store->rows[at + 1],
            (store->row_count - at) * sizeof store->rows[0]);
}

// Rows stand in the order of their subscriptions and numbers.
static void insert_row(const struct weir_entry *entry) {
    size_t at = 0;
    SIM_CHECK(store->row_count < SIM_ROWS_MAX, "many rows");
    while (at < store->row_count && (store->rows[at].subscription < entry->subscription ||
                                     (store->rows[at].subscription == entry->subscription &&
                                      store->rows[at].seq < entry->seq))) {
        at++;
    }
    memmove(&store->rows[at + 1], &store->rows[at],
            (store->row_count - at) * sizeof store->rows[0]);
    store->row_count++;
    store->rows[at] = (struct sim_row){entry->subscription, entry->seq, entry->attempts,
                                       weir_event_ref(entry->event)};
}

static void apply_entry(const struct weir_entry *entry, bool is_again) {
    size_t at = find_row(entry->subscription, entry->seq);
    bool is_there = at < store->row_count;
    SIM_CHECK(sim_store_record(entry->subscription), "a row of a subscription without a record");
    switch (entry->op) {
    case WEIR_ENTRY_WRITE:
        SIM_CHECK(is_again || !is_there, "row %" PRIu64 " is written twice", entry->seq);
        if (is_there) {
            remove_row(at);
        }
        insert_row(entry);
        break;
    case WEIR_ENTRY_REMOVE:
        SIM_CHECK(is_again || is_there, "row %" PRIu64 " is removed and not there", entry->seq);
        if (is_there) {
            remove_row(at);
        }
        break;
    case WEIR_ENTRY_ATTEMPT:
        SIM_CHECK(is_again || is_there, "row %" PRIu64 " has attempts and is not there",
                  entry->seq);
        if (is_there) {
            SIM_CHECK(store->rows[at].attempts <= entry->attempts, "attempts are taken back");
            store->rows[at].attempts = entry->attempts;
        }
        break;
    default:
        SIM_CHECK(!is_there, "row %" PRIu64 " is there and not removed", entry->seq);
        break;
    }
    if (entry->has_fingerprint && (entry->op == WEIR_ENTRY_WRITE || entry->op == WEIR_ENTRY_PASS)) {
        write_note(entry->subscription, entry->event->key, entry->event->position);
    }
}

static void apply_outbox(const struct weir_outbox_entry *entry) {
    for (size_t i = 0; i < store->out_count; i++) {
        if (store->outbox[i].id == entry->id) {
            return; // given again
        }
    }
    SIM_CHECK(store->out_count < SIM_ROWS_MAX, "many events in the outbox");
    struct sim_out *out = &store->outbox[store->out_count++];
    out->id = entry->id;
    out->event = weir_event_ref(entry->event);
    copy_text(out->subscription, sizeof out->subscription, entry->subscription);
    copy_text(out->target, sizeof out->target, entry->target);
    SIM_CHECK(store->out_count < 2 || store->outbox[store->out_count - 2].id < entry->id,
              "the outbox is not in order");
    store->last_out_id = entry->id > store->last_out_id ? entry->id : store->last_out_id;
}

static void remove_out(uint64_t id, bool is_again) {
    size_t i = 0;
    while (i < store->out_count && store->outbox[i].id != id) {
        i++;
    }
    SIM_CHECK(is_again || i < store->out_count, "out %" PRIu64 " is removed and not there", id);
    if (i < store->out_count) {
        sim_oracle_unqueued(sim_event_of(store->outbox[i].event->fields.id));
        weir_event_unref(store->outbox[i].event);
        store->out_count--;
        memmove(&store->outbox[i], &store->outbox[i + 1],
                (store->out_count - i) * sizeof store->outbox[0]);
    }
}

static void apply_letter(const struct weir_dead_letter *from) {
    for (size_t i = 0; i < store->letter_count; i++) {
        if (store->letters[i].id == from->id) {
            return; // given again
        }
    }
    SIM_CHECK(store->letter_count < SIM_ROWS_MAX, "many dead letters");
    struct sim_letter *letter = &store->letters[store->letter_count++];
    letter->id = from->id;
    letter->attempts = from->attempts;
    letter->event = weir_event_ref(from->event);
    copy_text(letter->subscription, sizeof letter->subscription, from->subscription);
    copy_text(letter->target, sizeof letter->target, from->target);
    store->last_letter_id = from->id > store->last_letter_id ? from->id : store->last_letter_id;
}

static void remove_letter(uint64_t id) {
    for (size_t i = 0; i < store->letter_count; i++) {
        if (store->letters[i].id == id) {
            weir_event_unref(store->letters[i].event);
            store->letter_count--;
            memmove(&store->letters[i], &store->letters[i + 1],
                    (store->letter_count - i) * sizeof store->letters[0]);
            return;
        }
    }
}

static void check_row_counts(const struct weir_batch *batch) {
    const struct weir_subscription_record *record;
    LL_FOREACH (batch->subscriptions, record) {
        size_t rows = 0;
        for (size_t i = 0; i < store->row_count; i++) {
            rows += store->rows[i].subscription == record->id;
        }
        SIM_CHECK(rows == record->row_count, "%.*s has %zu rows, its record says %" PRIu64,
                  WEIR_STR_ARG(record->name), rows, record->row_count);
    }
}

static void apply(const struct weir_batch *batch, bool is_again) {
    const struct weir_subscription_record *record;
    LL_FOREACH (batch->subscriptions, record) {
        write_record(record);
    }
    for (const struct weir_removal *each = batch->forgotten; each; each = each->next) {
        forget_notes(each->id);
    }
    for (const struct weir_note *each = batch->notes; each; each = each->next) {
        write_note(each->subscription, each->key, each->fingerprint);
    }
    for (const struct weir_entry *each = batch->entries; each; each = each->next) {
        apply_entry(each, is_again);
    }
    for (const struct weir_outbox_entry *each = batch->outbox; each; each = each->next) {
        apply_outbox(each);
    }
    for (const struct weir_removal *each = batch->published; each; each = each->next) {
        remove_out(each->id, is_again);
    }
    for (const struct weir_dead_letter *each = batch->dead; each; each = each->next) {
        apply_letter(each);
    }
    for (const struct weir_removal *each = batch->undead; each; each = each->next) {
        remove_letter(each->id);
    }
    check_row_counts(batch);
    store->commits++;
    SIM_TELL("commit %" PRIu64 ": %zu rows, %zu in the outbox, %zu dead letters", store->commits,
             store->row_count, store->out_count, store->letter_count);
    sim_oracle_committed(batch);
}

static weir_status commit_now(const struct weir_batch *batch, struct weir_error *err) {
    bool is_again = store->refused_hash != 0;
    uint64_t hash = hash_batch(batch);
    SIM_CHECK(!is_again || hash == store->refused_hash, "another batch after an error");
    take_time();
    sim_pass(SIM_CRASH_BEFORE_COMMIT);
    SIM_CHECK(hash_batch(batch) == hash, "a batch is changed while it is written");
    store->refused_hash = hash;
    if (is_failing()) {
        SIM_TELL("commit refused");
        return fail(err);
    }
    apply(batch, is_again);
    take_time();
    sim_pass(SIM_CRASH_AFTER_COMMIT);
    SIM_CHECK(hash_batch(batch) == hash, "a batch is changed while it is written");
    if (sim.is_crashed || (sim_fault(sim.store_faults))) {
        SIM_TELL("commit answered with an error");
        return fail(err);
    }
    store->refused_hash = 0;
    sim.counts.commits++;
    return WEIR_OK;
}

static weir_status commit(void *context, const struct weir_batch *batch, struct weir_error *err) {
    (void)context;
    SIM_CHECK(!store->is_committing, "two commits at a time");
    store->is_committing = true;
    weir_status status = commit_now(batch, err);
    store->is_committing = false;
    return status;
}

// ---- reading ----

static weir_status read_journal(const struct weir_load *load,
                                bool (*each)(void *each_context, const struct weir_entry *entry),
                                void *each_context, struct weir_error *err) {
    size_t given = 0;
    if (is_failing()) {
        return fail(err);
    }
    SIM_CHECK(load->rows_max > 0, "no row is wanted");
    for (size_t i = 0; i < store->row_count && given < load->rows_max; i++) {
        const struct sim_row *row = &store->rows[i];
        if (row->subscription != load->subscription || row->seq < load->seq_from ||
            row->seq > load->seq_to ||
            (load->key && !weir_str_equal(row->event->key, *load->key))) {
            continue;
        }
        const struct weir_entry entry = {.subscription = row->subscription,
                                         .seq = row->seq,
                                         .event = row->event,
                                         .attempts = row->attempts};
        given++;
        if (!each(each_context, &entry)) {
            break;
        }
        if (sim_fault(sim.store_faults)) {
            return fail(err); // half way
        }
    }
    SIM_TELL("%zu rows read of %" PRIu64 ", from %" PRIu64 "%s", given, load->subscription,
             load->seq_from, load->key ? ", of a key" : "");
    return WEIR_OK;
}

static weir_status load_journal(void *context, const struct weir_load *load,
                                bool (*each)(void *each_context, const struct weir_entry *entry),
                                void *each_context, struct weir_error *err) {
    (void)context;
    SIM_CHECK(!store->is_committing, "the journal is read and written at a time");
    store->is_reading = true;
    take_time();
    weir_status status = read_journal(load, each, each_context, err);
    take_time();
    store->is_reading = false;
    return status;
}

static weir_status load_subscriptions(void *context,
                                      bool (*each)(void *each_context,
                                                   const struct weir_subscription_record *record),
                                      void *each_context, struct weir_error *err) {
    (void)context, (void)err;
    for (size_t i = 0; i < store->record_count; i++) {
        const struct sim_record *record = &store->records[i];
        const struct weir_subscription_record given = {.id = record->id,
                                                       .name = weir_str_of(record->name),
                                                       .resource = weir_str_of(record->resource),
                                                       .pattern = weir_str_of(record->pattern),
                                                       .is_ready = record->is_ready,
                                                       .cursor = weir_str_of(record->cursor),
                                                       .next_seq = record->next_seq,
                                                       .row_count = record->row_count};
        if (!each(each_context, &given)) {
            break;
        }
    }
    return WEIR_OK;
}

static weir_status load_notes(void *context, uint64_t subscription,
                              bool (*each)(void *each_context, struct weir_str key,
                                           struct weir_str fingerprint),
                              void *each_context, struct weir_error *err) {
    (void)context;
    fiber_yield();
    if (is_failing()) {
        return fail(err);
    }
    const char *before = "";
    for (;;) { // in the order of the keys
        const struct sim_note *next = NULL;
        for (size_t i = 0; i < store->note_count; i++) {
            const struct sim_note *note = &store->notes[i];
            if (note->subscription == subscription && strcmp(note->key, before) > 0 &&
                (!next || strcmp(note->key, next->key) < 0)) {
                next = note;
            }
        }
        if (!next || !each(each_context, weir_str_of(next->key), weir_str_of(next->fingerprint))) {
            return WEIR_OK;
        }
        before = next->key;
    }
}

static weir_status load_outbox(void *context, uint64_t after, size_t rows_max,
                               bool (*each)(void *each_context,
                                            const struct weir_outbox_entry *entry),
                               void *each_context, struct weir_error *err) {
    (void)context, (void)err;
    size_t given = 0;
    for (size_t i = 0; i < store->out_count && given < rows_max; i++) {
        const struct sim_out *out = &store->outbox[i];
        if (out->id <= after) {
            continue;
        }
        const struct weir_outbox_entry entry = {.id = out->id,
                                                .subscription = weir_str_of(out->subscription),
                                                .target = weir_str_of(out->target),
                                                .event = out->event};
        given++;
        if (!each(each_context, &entry)) {
            break;
        }
    }
    return WEIR_OK;
}

static weir_status load_dead(void *context, uint64_t after, size_t rows_max,
                             bool (*each)(void *each_context,
                                          const struct weir_dead_letter *letter),
                             void *each_context, struct weir_error *err) {
    (void)context;
    size_t given = 0;
    fiber_yield();
    if (is_failing()) {
        return fail(err);
    }
    for (size_t i = 0; i < store->letter_count && given < rows_max; i++) {
        const struct sim_letter *from = &store->letters[i];
        if (from->id <= after) {
            continue;
        }
        const struct weir_dead_letter letter = {.id = from->id,
                                                .subscription = weir_str_of(from->subscription),
                                                .target = weir_str_of(from->target),
                                                .attempts = from->attempts,
                                                .event = from->event};
        given++;
        if (!each(each_context, &letter)) {
            break;
        }
    }
    return WEIR_OK;
}

static weir_status last_ids(void *context, uint64_t *ret_outbox, uint64_t *ret_dead,
                            struct weir_error *err) {
    (void)context, (void)err;
    *ret_outbox = store->last_out_id;
    *ret_dead = store->last_letter_id;
    return WEIR_OK;
}

const struct weir_store sim_store_functions = {
    .commit = commit,
    .load_journal = load_journal,
    .load_subscriptions = load_subscriptions,
    .load_notes = load_notes,
    .load_outbox = load_outbox,
    .load_dead = load_dead,
    .last_ids = last_ids,
};

void sim_store_reopen(void) {
    store->refused_hash = 0;
    store->fails_until_ns = 0;
    store->last_out_id = store->out_count > 0 ? store->outbox[store->out_count - 1].id : 0;
    store->last_letter_id =
        store->letter_count > 0 ? store->letters[store->letter_count - 1].id : 0;
}

void sim_store_clear(void) {
    for (size_t i = 0; i < store->row_count; i++) {
        weir_event_unref(store->rows[i].event);
    }
    for (size_t i = 0; i < store->out_count; i++) {
        weir_event_unref(store->outbox[i].event);
    }
    for (size_t i = 0; i < store->letter_count; i++) {
        weir_event_unref(store->letters[i].event);
    }
    store->record_count = store->row_count = store->note_count = store->out_count =
        store->letter_count = 0;
    store->commits = 0;
    store->failed_ns = 0;
    store->is_committing = store->is_reading = false;
    sim_store_reopen();
}
