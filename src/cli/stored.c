// SPDX-License-Identifier: Apache-2.0
//
// The three tables of events as one; see stored.h. Main thread.
#include "cli/stored.h"

#include "state/state.h"

#include <stdlib.h>

// A subscription whose journal is to be read.
struct journal {
    uint64_t subscription;
    char *name; // owned; `size` bytes
    size_t size;
    struct journal *next;
};

struct walk {
    bool (*each)(void *context, const struct weir_stored *stored);
    void *context;
    bool is_over, has_failed; // has_failed: no memory
    struct journal *journals, **journals_end;
    struct weir_str subscription; // whose journal is read
};

static bool tell(struct walk *walk, const struct weir_stored *stored) {
    walk->is_over = !walk->each(walk->context, stored);
    return !walk->is_over;
}

static bool each_letter(void *context, const struct weir_dead_letter *letter) {
    return tell(context, &(struct weir_stored){.place = "dead letters",
                                               .number = letter->id,
                                               .subscription = letter->subscription,
                                               .event = letter->event});
}

static bool each_row(void *context, const struct weir_entry *entry) {
    struct walk *walk = context;
    return tell(walk, &(struct weir_stored){.place = "journal",
                                            .number = entry->seq,
                                            .subscription = walk->subscription,
                                            .event = entry->event});
}

// The subscriptions are listed first: a reading of the state may not begin within another one.
static bool list_journal(void *context, const struct weir_subscription_record *record) {
    struct walk *walk = context;
    struct journal *journal = calloc(1, sizeof *journal);
    char *name = malloc(record->name.size + 1);
    if (!journal || !name) {
        free(journal);
        free(name);
        walk->has_failed = true;
        return false;
    }
    if (record->name.size > 0) {
        memcpy(name, record->name.data, record->name.size);
    }
    *journal =
        (struct journal){.subscription = record->id, .name = name, .size = record->name.size};
    *walk->journals_end = journal;
    walk->journals_end = &journal->next;
    return true;
}

static weir_status read_journals(struct weir_state *state, struct walk *walk,
                                 struct weir_error *err) {
    weir_status status = weir_state_store.load_subscriptions(state, list_journal, walk, err);
    if (status == WEIR_OK && walk->has_failed) {
        status = weir_fail_no_memory(err, "the subscriptions");
    }
    while (walk->journals) {
        struct journal *journal = walk->journals;
        struct weir_load load = {.subscription = journal->subscription,
                                 .seq_from = 1,
                                 .seq_to = WEIR_SEQ_MAX,
                                 .rows_max = SIZE_MAX};
        walk->subscription = (struct weir_str){.data = journal->name, .size = journal->size};
        if (status == WEIR_OK && !walk->is_over) {
            status = weir_state_store.load_journal(state, &load, each_row, walk, err);
        }
        walk->journals = journal->next;
        free(journal->name);
        free(journal);
    }
    return status;
}

static bool each_out(void *context, const struct weir_outbox_entry *entry) {
    return tell(context, &(struct weir_stored){.place = "outbox",
                                               .number = entry->id,
                                               .subscription = entry->subscription,
                                               .event = entry->event});
}

weir_status weir_stored_each(struct weir_state *state,
                             bool (*each)(void *context, const struct weir_stored *stored),
                             void *context, struct weir_error *err) {
    struct walk walk = {.each = each, .context = context};
    walk.journals_end = &walk.journals;
    weir_status status = weir_state_store.load_dead(state, 0, SIZE_MAX, each_letter, &walk, err);
    if (status == WEIR_OK && !walk.is_over) {
        status = read_journals(state, &walk, err);
    }
    if (status == WEIR_OK && !walk.is_over) {
        status = weir_state_store.load_outbox(state, 0, SIZE_MAX, each_out, &walk, err);
    }
    return status;
}
