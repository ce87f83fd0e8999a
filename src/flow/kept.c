// SPDX-License-Identifier: Apache-2.0
//
// What is kept under a subscription's name over a stop: a record in the store for each name, read
// when the flow is made and held in memory, so that to begin a subscription asks no disk. A record
// outlives the subscription: who comes again under its name goes on where it was.
//
// A text that was replaced is freed with the flow only, because a commit may be writing it; each
// listen of a guest replaces a name, so there are few.
//
// All under flow->lock, but for the reading.
#include "flow/flow_private.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void kept_free(struct weir_kept *kept) {
    if (kept) {
        weir_event_unref(kept->cursor_event);
        free(kept->cursor_bytes);
        free(kept->name);
        free(kept->resource);
        free(kept->pattern);
        free(kept);
    }
}

static struct weir_kept *kept_new(struct weir_str name, struct weir_str resource,
                                  struct weir_str pattern, struct weir_str cursor) {
    struct weir_kept *kept = calloc(1, sizeof *kept);
    if (!kept) {
        return NULL;
    }
    kept->name = weir_str_copy(name);
    kept->resource = weir_str_copy(resource);
    kept->pattern = weir_str_copy(pattern);
    kept->cursor_bytes = weir_str_copy(cursor);
    if (!kept->name || !kept->resource || !kept->pattern || !kept->cursor_bytes) {
        kept_free(kept);
        return NULL;
    }
    kept->record.name = weir_str_of(kept->name);
    kept->record.resource = weir_str_of(kept->resource);
    kept->record.pattern = (struct weir_str){kept->pattern, pattern.size};
    kept->record.cursor = (struct weir_str){kept->cursor_bytes, cursor.size};
    kept->record.next_seq = 1;
    return kept;
}

static bool add(struct weir_flow *flow, struct weir_kept *kept) {
    HASH_ADD_KEYPTR(hh, flow->kept, kept->name, strlen(kept->name), kept);
    return kept->hh.tbl != NULL;
}

struct weir_kept *weir_kept_find(const struct weir_flow *flow, const char *name) {
    struct weir_kept *kept;
    HASH_FIND(hh, flow->kept, name, strlen(name), kept);
    return kept;
}

// ---- reading ----

struct loading {
    struct weir_flow *flow;
    bool is_out_of_memory;
};

static bool load_one(void *context, const struct weir_subscription_record *record) {
    struct loading *loading = context;
    struct weir_flow *flow = loading->flow;
    struct weir_kept *kept =
        kept_new(record->name, record->resource, record->pattern, record->cursor);
    if (!kept || !add(flow, kept)) {
        kept_free(kept);
        loading->is_out_of_memory = true;
        return false;
    }
    kept->record.id = record->id;
    kept->record.is_ready = record->is_ready;
    kept->record.next_seq = record->next_seq;
    kept->record.row_count = record->row_count;
    if (record->id > flow->last_subscription_id) {
        flow->last_subscription_id = record->id;
    }
    return true;
}

weir_status weir_kept_load(struct weir_flow *flow, struct weir_error *err) {
    struct loading loading = {.flow = flow};
    // One that nobody can ask for: a table that is never empty is never made anew, so that to put a
    // record back under another name needs no memory.
    struct weir_kept *keeper = kept_new(WEIR_STR(""), WEIR_STR(""), WEIR_STR(""), WEIR_STR(""));
    if (!keeper || !add(flow, keeper)) {
        kept_free(keeper);
        return weir_fail_no_memory(err, "the subscriptions that are kept");
    }
    weir_status status =
        flow->config.store->load_subscriptions(flow->config.store_context, load_one, &loading, err);
    return status == WEIR_OK && loading.is_out_of_memory
               ? weir_fail_no_memory(err, "the subscriptions that are kept")
               : status;
}

void weir_kept_free_all(struct weir_flow *flow) {
    struct weir_kept *kept, *next;
    HASH_ITER (hh, flow->kept, kept, next) {
        HASH_DEL(flow->kept, kept);
        kept_free(kept);
    }
    while (flow->old_texts) {
        struct weir_old_text *old = flow->old_texts;
        flow->old_texts = old->next;
        free(old->text);
        free(old);
    }
}

// ---- a subscription and its record ----

static weir_status make(struct weir_flow *flow, const char *name,
                        const struct weir_subscription *subscription, struct weir_kept **ret_kept,
                        struct weir_error *err) {
    if (flow->last_subscription_id >= WEIR_SUBSCRIPTION_ID_MAX) {
        return weir_fail(err, WEIR_LIMIT,
                         "the state database keeps %d subscriptions and can keep no more; \"weir "
                         "state forget\" removes those that are no longer wanted",
                         WEIR_SUBSCRIPTION_ID_MAX);
    }
    struct weir_kept *kept = kept_new(weir_str_of(name), weir_str_of(subscription->resource->name),
                                      weir_str_of(subscription->key), (struct weir_str){0});
    if (!kept || !add(flow, kept)) {
        kept_free(kept);
        return weir_fail_no_memory(err, "a subscription");
    }
    kept->record.id = ++flow->last_subscription_id;
    *ret_kept = kept;
    return WEIR_OK;
}

weir_status weir_kept_obtain(struct weir_flow *flow, const char *name,
                             struct weir_subscription *subscription, struct weir_kept **ret_kept,
                             struct weir_error *err) {
    struct weir_kept *kept = weir_kept_find(flow, name);
    if (kept && kept->subscription) {
        return weir_fail(err, WEIR_INVALID,
                         "there is a subscription \"%s\" already; give this one another name",
                         name);
    }
    weir_status status = kept ? WEIR_OK : make(flow, name, subscription, &kept, err);
    if (status == WEIR_OK) {
        kept->subscription = subscription;
        weir_ledger_touch_kept(flow, kept);
        *ret_kept = kept;
    }
    return status;
}

// Frees a text with the flow: a commit may be writing it.
static void retire(struct weir_flow *flow, struct weir_old_text *old, char *text) {
    old->text = text;
    old->next = flow->old_texts;
    flow->old_texts = old;
}

// Gives the record another name, whose memory is taken over.
static void set_name(struct weir_flow *flow, struct weir_kept *kept, struct weir_old_text *old,
                     char *name) {
    HASH_DEL(flow->kept, kept);
    retire(flow, old, kept->name);
    kept->name = name;
    kept->record.name = weir_str_of(name);
    weir_ledger_touch_kept(flow, kept);
}

weir_status weir_kept_rename(struct weir_flow *flow, struct weir_kept *kept, const char *name,
                             struct weir_error *err) {
    struct weir_kept *other = weir_kept_find(flow, name);
    if (other == kept) {
        return WEIR_OK;
    }
    if (other && other->subscription) {
        return weir_fail(err, WEIR_INVALID, "there is a subscription \"%s\" already", name);
    }
    char *wanted = strdup(name), *given_up = strdup(kept->name);
    struct weir_old_text *olds[2] = {calloc(1, sizeof *olds[0]), calloc(1, sizeof *olds[1])};
    if (!wanted || !given_up || !olds[0] || !olds[1]) {
        free(wanted);
        free(given_up);
        free(olds[0]);
        free(olds[1]);
        return weir_fail_no_memory(err, "a subscription's name");
    }
    set_name(flow, kept, olds[0], wanted);
    if (other) {
        set_name(flow, other, olds[1], given_up);
        add(flow, other); // needs no memory, see weir_kept_load
    } else {
        free(given_up);
        free(olds[1]);
    }
    add(flow, kept);
    return WEIR_OK;
}

weir_status weir_kept_set_about(struct weir_flow *flow, struct weir_kept *kept,
                                const char *resource, struct weir_str pattern,
                                struct weir_error *err) {
    char *texts[2] = {strdup(resource), weir_str_copy(pattern)};
    struct weir_old_text *olds[2] = {calloc(1, sizeof *olds[0]), calloc(1, sizeof *olds[1])};
    if (!texts[0] || !texts[1] || !olds[0] || !olds[1]) {
        free(texts[0]);
        free(texts[1]);
        free(olds[0]);
        free(olds[1]);
        return weir_fail_no_memory(err, "a subscription");
    }
    retire(flow, olds[0], kept->resource);
    retire(flow, olds[1], kept->pattern);
    kept->resource = texts[0];
    kept->pattern = texts[1];
    kept->record.resource = weir_str_of(texts[0]);
    kept->record.pattern = (struct weir_str){texts[1], pattern.size};
    return WEIR_OK;
}

weir_status weir_kept_set_cursor(struct weir_flow *flow, struct weir_kept *kept,
                                 struct weir_str position, struct weir_error *err) {
    char *text = weir_str_copy(position);
    struct weir_old_text *old = calloc(1, sizeof *old);
    if (!text || !old) {
        free(text);
        free(old);
        return weir_fail_no_memory(err, "a cursor");
    }
    retire(flow, old, kept->cursor_bytes);
    kept->cursor_bytes = text;
    kept->record.cursor = (struct weir_str){text, position.size};
    weir_ledger_touch_kept(flow, kept);
    return WEIR_OK;
}
