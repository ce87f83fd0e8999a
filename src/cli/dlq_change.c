// SPDX-License-Identifier: Apache-2.0
//
// `weir dlq retry` and `weir dlq rm`. Where a weir runs it is asked, letter by letter, because it
// alone writes the state; where none runs the state is opened for writing, which keeps one from
// starting meanwhile, and a page of letters is one transaction.
//
// An event that is tried again gets a new place at the end of its subscription's journal (or of the
// outbox), not its old one, which is long behind the cursor.
//
// Main thread.
#include "cli/dlq.h"

#include "cli/state_dir.h"
#include "control/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// What is kept of a letter when the reading of its page is over.
struct letter {
    uint64_t id;
    char *subscription, *target; // owned
    size_t subscription_size, target_size;
    struct weir_event *event; // a reference
};

// A page of letters, and what they become in a batch.
struct page {
    struct letter letters[WEIR_DLQ_PAGE];
    size_t count;
    bool has_failed; // no memory
    struct weir_entry entries[WEIR_DLQ_PAGE];
    struct weir_outbox_entry outbox[WEIR_DLQ_PAGE];
    struct weir_removal removals[WEIR_DLQ_PAGE];
};

// A subscription of the state, with its texts.
struct kept {
    struct weir_subscription_record record;
    char *texts;
    bool is_changed;
};

// The state, open for writing.
struct writer {
    const struct weir_dlq *dlq;
    struct weir_state *state;
    struct kept *kept;
    size_t kept_count, kept_room;
    uint64_t last_outbox_id;
    bool has_failed; // no memory
};

// ---- pages ----

static char *copy(struct weir_str text) {
    char *bytes = malloc(text.size + 1);
    if (bytes && text.size > 0) {
        memcpy(bytes, text.data, text.size);
    }
    return bytes;
}

static bool take_letter(void *context, const struct weir_dead_letter *letter) {
    struct page *page = context;
    struct letter *mine = &page->letters[page->count++];
    *mine = (struct letter){.id = letter->id,
                            .subscription = copy(letter->subscription),
                            .subscription_size = letter->subscription.size,
                            .target = copy(letter->target),
                            .target_size = letter->target.size,
                            .event = weir_event_ref(letter->event)};
    page->has_failed = !mine->subscription || !mine->target;
    return !page->has_failed;
}

static void empty(struct page *page) {
    for (size_t i = 0; i < page->count; i++) {
        free(page->letters[i].subscription);
        free(page->letters[i].target);
        weir_event_unref(page->letters[i].event);
    }
    page->count = 0;
}

static struct weir_str subscription_of(const struct letter *letter) {
    return (struct weir_str){.data = letter->subscription, .size = letter->subscription_size};
}

// ---- a weir that runs ----

// Returns how many were seen to.
static size_t ask_for(const struct weir_dlq *dlq, struct weir_control_link *link, bool again,
                      const struct page *page) {
    size_t done = 0;
    for (size_t i = 0; i < page->count; i++) {
        struct weir_error err = {0};
        json_t *answer = NULL;
        json_t *request = json_pack("{s:s, s:I, s:b}", "command", "undead", "id",
                                    (json_int_t)page->letters[i].id, "again", (int)again);
        if (weir_control_ask(link, request, &answer, &err) == WEIR_OK) {
            done++;
        } else {
            weir_cli_failed(dlq->cli, "dlq %s: dead letter %" PRIu64 ": %s", dlq->action,
                            page->letters[i].id, err.message);
        }
        json_decref(answer);
    }
    return done;
}

// ---- the state itself ----

static bool keep_record(void *context, const struct weir_subscription_record *record) {
    struct writer *writer = context;
    if (writer->kept_count == writer->kept_room) {
        size_t room = writer->kept_room ? writer->kept_room * 2 : WEIR_DLQ_PAGE;
        struct kept *grown = realloc(writer->kept, room * sizeof *grown);
        writer->has_failed = !grown;
        if (!grown) {
            return false;
        }
        writer->kept = grown;
        writer->kept_room = room;
    }
    const struct weir_str texts[] = {record->name, record->resource, record->pattern,
                                     record->cursor};
    struct kept *kept = &writer->kept[writer->kept_count];
    *kept = (struct kept){.record = *record};
    struct weir_str *mine[] = {&kept->record.name, &kept->record.resource, &kept->record.pattern,
                               &kept->record.cursor};
    kept->texts = malloc(texts[0].size + texts[1].size + texts[2].size + texts[3].size + 1);
    writer->has_failed = !kept->texts;
    if (!kept->texts) {
        return false;
    }
    char *at = kept->texts;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].size > 0) {
            memcpy(at, texts[i].data, texts[i].size);
        }
        *mine[i] = (struct weir_str){.data = at, .size = texts[i].size};
        at += texts[i].size;
    }
    writer->kept_count++;
    return true;
}

static weir_status open_writer(const struct weir_dlq *dlq, struct writer *ret_writer,
                               struct weir_error *err) {
    uint64_t last_dead_id;
    *ret_writer = (struct writer){.dlq = dlq};
    weir_status status = weir_state_open(dlq->dir, dlq->cli->log, &ret_writer->state, err);
    if (status == WEIR_OK) {
        status =
            weir_state_store.load_subscriptions(ret_writer->state, keep_record, ret_writer, err);
    }
    if (status == WEIR_OK && ret_writer->has_failed) {
        status = weir_fail_no_memory(err, "the subscriptions");
    }
    return status == WEIR_OK
               ? weir_state_store.last_ids(ret_writer->state, &ret_writer->last_outbox_id,
                                           &last_dead_id, err)
               : status;
}

static void close_writer(struct writer *writer) {
    for (size_t i = 0; i < writer->kept_count; i++) {
        free(writer->kept[i].texts);
    }
    free(writer->kept);
    weir_state_close(writer->state);
}

static struct kept *find_kept(const struct writer *writer, struct weir_str name) {
    for (size_t i = 0; i < writer->kept_count; i++) {
        if (weir_str_equal(writer->kept[i].record.name, name)) {
            return &writer->kept[i];
        }
    }
    return NULL;
}

// A batch's lists while they grow, each in the order of the letters.
struct lists {
    struct weir_entry *entries, **entries_end;
    struct weir_outbox_entry *outbox, **outbox_end;
    struct weir_removal *removals, **removals_end;
};

static void to_outbox(struct writer *writer, const struct letter *letter,
                      struct weir_outbox_entry *entry, struct lists *lists) {
    *entry = (struct weir_outbox_entry){
        .id = ++writer->last_outbox_id,
        .subscription = subscription_of(letter),
        .target = {.data = letter->target, .size = letter->target_size},
        .event = letter->event,
    };
    *lists->outbox_end = entry;
    lists->outbox_end = &entry->next;
}

static bool to_journal(const struct writer *writer, const struct letter *letter,
                       struct weir_entry *entry, struct lists *lists) {
    struct kept *kept = find_kept(writer, subscription_of(letter));
    if (!kept) {
        weir_cli_failed(writer->dlq->cli,
                        "dlq retry: dead letter %" PRIu64 ": nothing is kept of its subscription "
                        "%.*s, so nobody would handle it; weir replay can run it once",
                        letter->id, WEIR_STR_ARG(subscription_of(letter)));
        return false;
    }
    *entry = (struct weir_entry){.subscription = kept->record.id,
                                 .seq = kept->record.next_seq++,
                                 .event = letter->event,
                                 .op = WEIR_ENTRY_WRITE};
    kept->record.row_count++;
    kept->is_changed = true;
    *lists->entries_end = entry;
    lists->entries_end = &entry->next;
    return true;
}

// The records that have changed. They are told anew with each page, with all that came before.
static struct weir_subscription_record *take_changed(struct writer *writer) {
    struct weir_subscription_record *records = NULL;
    for (size_t i = 0; i < writer->kept_count; i++) {
        struct kept *kept = &writer->kept[i];
        if (kept->is_changed) {
            kept->record.next = records;
            records = &kept->record;
            kept->is_changed = false;
        }
    }
    return records;
}

// Returns how many letters are in the batch.
static size_t fill_batch(struct writer *writer, bool again, struct page *page,
                         struct weir_batch *ret_batch) {
    struct lists lists = {0};
    lists.entries_end = &lists.entries;
    lists.outbox_end = &lists.outbox;
    lists.removals_end = &lists.removals;
    size_t done = 0;
    for (size_t i = 0; i < page->count; i++) {
        const struct letter *letter = &page->letters[i];
        if (again && letter->target_size > 0) {
            to_outbox(writer, letter, &page->outbox[i], &lists);
        } else if (again && !to_journal(writer, letter, &page->entries[i], &lists)) {
            continue;
        }
        page->removals[i] = (struct weir_removal){.id = letter->id};
        *lists.removals_end = &page->removals[i];
        lists.removals_end = &page->removals[i].next;
        done++;
    }
    *ret_batch = (struct weir_batch){.subscriptions = take_changed(writer),
                                     .entries = lists.entries,
                                     .outbox = lists.outbox,
                                     .undead = lists.removals};
    return done;
}

static weir_status write_page(struct writer *writer, bool again, struct page *page,
                              size_t *ret_done, struct weir_error *err) {
    struct weir_batch batch;
    size_t done = fill_batch(writer, again, page, &batch);
    weir_status status = done > 0 ? weir_state_store.commit(writer->state, &batch, err) : WEIR_OK;
    *ret_done = status == WEIR_OK ? done : 0;
    return status;
}

// ---- the actions ----

// Sees to all that are meant, by the weir that runs or with the writer.
static weir_status change_all(const struct weir_dlq *dlq, struct weir_control_link *link,
                              struct writer *writer, bool again, bool *ret_is_whole,
                              struct weir_error *err) {
    struct page *page = calloc(1, sizeof *page);
    struct weir_dlq_cursor cursor = {0};
    size_t done_in_all = 0, meant = 0, done;
    weir_status status = page ? WEIR_OK : weir_fail_no_memory(err, "dead letters");
    while (status == WEIR_OK && !cursor.is_over) {
        status = weir_dlq_page(dlq, &cursor, take_letter, page, err);
        if (status == WEIR_OK && page->has_failed) {
            status = weir_fail_no_memory(err, "dead letters");
        }
        if (status == WEIR_OK && link) {
            done = ask_for(dlq, link, again, page);
        } else if (status == WEIR_OK) {
            status = write_page(writer, again, page, &done, err);
        }
        done_in_all += status == WEIR_OK ? done : 0;
        meant += page->count;
        empty(page);
    }
    free(page);
    printf(again ? "given back: %zu\n" : "removed: %zu\n", done_in_all);
    *ret_is_whole = done_in_all == meant && cursor.missing == 0;
    return status;
}

static int change(const struct weir_dlq *dlq, bool again) {
    struct weir_error err = {0};
    struct weir_control_link *link = NULL;
    struct writer writer = {0};
    bool is_whole = false;
    weir_status status = weir_control_open(dlq->dir, &link, &err);
    if (status == WEIR_UNAVAILABLE && !link) {
        status = open_writer(dlq, &writer, &err);
    }
    if (status == WEIR_OK) {
        status = change_all(dlq, link, &writer, again, &is_whole, &err);
    }
    weir_control_close(link);
    close_writer(&writer);
    if (status != WEIR_OK) {
        return weir_cli_failed(dlq->cli, "dlq %s: %s", dlq->action, err.message);
    }
    return is_whole ? WEIR_EXIT_DONE : WEIR_EXIT_FAILED;
}

int weir_dlq_retry(const struct weir_dlq *dlq) {
    return change(dlq, true);
}

int weir_dlq_rm(const struct weir_dlq *dlq) {
    return change(dlq, false);
}
