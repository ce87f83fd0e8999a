// SPDX-License-Identifier: Apache-2.0
//
// The three tables of events as one; see stored.h. Main thread.
#include "cli/stored.h"

#include "state/state.h"

struct walk {
    struct weir_state *state;
    bool (*each)(void *context, const struct weir_stored *stored);
    void *context;
    bool is_over;
    struct weir_str subscription; // whose journal is read
    weir_status status;           // of the journals
    struct weir_error *err;
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

static bool each_subscription(void *context, const struct weir_subscription_record *record) {
    struct walk *walk = context;
    struct weir_load load = {.subscription = record->id,
                             .seq_from = 1,
                             .seq_to = WEIR_SEQ_MAX,
                             .rows_max = SIZE_MAX};
    walk->subscription = record->name;
    walk->status =
        weir_state_store.load_journal(walk->state, &load, each_row, walk, walk->err);
    return walk->status == WEIR_OK && !walk->is_over;
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
    struct walk walk = {
        .state = state, .each = each, .context = context, .status = WEIR_OK, .err = err};
    weir_status status =
        weir_state_store.load_dead(state, 0, SIZE_MAX, each_letter, &walk, err);
    if (status == WEIR_OK && !walk.is_over) {
        status = weir_state_store.load_subscriptions(state, each_subscription, &walk, err);
        status = status == WEIR_OK ? walk.status : status;
    }
    if (status == WEIR_OK && !walk.is_over) {
        status = weir_state_store.load_outbox(state, 0, SIZE_MAX, each_out, &walk, err);
    }
    return status;
}
