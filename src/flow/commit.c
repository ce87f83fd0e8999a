// SPDX-License-Identifier: Apache-2.0
//
// The thread that writes down (weir:state). It sleeps until something waits for long enough
// (commit_ns), or enough of it does (commit_events), or somebody wants to know that all is durable;
// takes everything that waits at once, and writes it in one transaction. While it writes, the next
// batch gathers. It also reads rows of the journal for whoever has room for them.
//
// Where the store refuses (disk full, not writable, damaged), the same batch is tried again until
// it goes, at most WEIR_COMMIT_RETRY_MS_MAX apart. Meanwhile no source is read and no handler is
// called: what they did could not be kept.
#include "flow/flow_private.h"

#include "base/clock.h"
#include "base/step.h"
#include "base/thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    RETRY_MS_FIRST = 20,   // doubles up to WEIR_COMMIT_RETRY_MS_MAX
    ACKNOWLEDGED_MAX = 64, // events between two looks at who still watches
};

// ---- writing ----

static void make_batch(const struct weir_flow *flow, struct weir_batch *batch) {
    struct weir_kept *kept;
    struct weir_subscription_record *records = NULL;
    struct weir_removal *forgotten = NULL;
    LL_FOREACH2(flow->batch_kept, kept, batch_next) {
        kept->batch_record.next = records;
        records = &kept->batch_record;
        if (kept->forgets) {
            kept->forgets = false;
            kept->forgotten = (struct weir_removal){.id = kept->record.id, .next = forgotten};
            forgotten = &kept->forgotten;
        }
    }
    *batch = (struct weir_batch){
        .subscriptions = records,
        .forgotten = forgotten,
        .notes = flow->batch_notes,
        .entries = flow->batch_entries,
        .outbox = flow->batch_outbox,
        .published = flow->batch_published,
        .dead = flow->batch_dead,
        .undead = flow->batch_undead,
    };
}

static void tell_failing(struct weir_flow *flow, const struct weir_error *err) {
    weir_log(flow->config.log, WEIR_LOG_ERROR,
             "the state cannot be written: nothing is taken from the sources and no handler is "
             "called until it can",
             {"reason", weir_str_of(err->message)});
}

// Under lock. Returns whether this is news.
static bool set_failing(struct weir_flow *flow, const struct weir_error *err) {
    bool is_news = !flow->is_failing;
    flow->is_failing = true;
    flow->failure = *err;
    if (is_news) {
        flow->failing_since_wall_ns = weir_clock_wall_ns();
    }
    pthread_cond_broadcast(&flow->changed); // who waits for a flush learns that it does not come
    return is_news;
}

// Under lock.
static bool clear_failing(struct weir_flow *flow) {
    bool was_failing = flow->is_failing;
    flow->is_failing = false;
    return was_failing;
}

// Of the batch's deliveries from *at on, up to ACKNOWLEDGED_MAX whose sources want to be told, each
// with its subscription pinned. Under lock.
static size_t collect_acknowledged(struct weir_entry **at,
                                   struct weir_delivery *ret_list[ACKNOWLEDGED_MAX]) {
    size_t count = 0;
    for (; *at && count < ACKNOWLEDGED_MAX; *at = (*at)->next) {
        struct weir_delivery *delivery = (struct weir_delivery *)*at;
        struct weir_subscription *subscription = delivery->subscription;
        bool is_first = (*at)->op == WEIR_ENTRY_WRITE || (*at)->op == WEIR_ENTRY_PASS;
        if (is_first && weir_subscription_can(subscription, WEIR_CAN_ACK) &&
            !subscription->is_ending && subscription->watch) {
            subscription->pins++;
            ret_list[count++] = delivery;
        }
    }
    return count;
}

// Tells the sources what is durable now. Without the lock.
static void acknowledge(struct weir_flow *flow) {
    struct weir_entry *at = flow->batch_entries;
    while (at) {
        struct weir_delivery *list[ACKNOWLEDGED_MAX];
        pthread_mutex_lock(&flow->lock);
        size_t count = collect_acknowledged(&at, list);
        pthread_mutex_unlock(&flow->lock);
        for (size_t i = 0; i < count; i++) {
            struct weir_watch *watch = list[i]->subscription->watch;
            watch->resource->provider->acknowledge(watch, list[i]->entry.event);
        }
        if (count > 0) {
            pthread_mutex_lock(&flow->lock);
            for (size_t i = 0; i < count; i++) {
                list[i]->subscription->pins--;
            }
            pthread_cond_broadcast(&flow->changed);
            pthread_mutex_unlock(&flow->lock);
        }
    }
}

// What a batch leaves to be freed, outside of the lock.
struct remains {
    struct weir_delivery *deliveries;
    struct weir_note *notes;
    struct weir_removal *published, *undead;
    struct weir_dead_letter *dead;
    struct weir_subscription *gone;
};

static void free_remains(struct remains *remains) {
    weir_delivery_free_all(remains->deliveries);
    while (remains->notes) {
        struct weir_note *next = remains->notes->next;
        free(remains->notes);
        remains->notes = next;
    }
    while (remains->published) {
        struct weir_removal *next = remains->published->next;
        struct weir_out *out =
            (struct weir_out *)((char *)remains->published - offsetof(struct weir_out, removal));
        weir_out_free(out);
        remains->published = next;
    }
    while (remains->undead) {
        struct weir_removal *next = remains->undead->next;
        free(remains->undead);
        remains->undead = next;
    }
    weir_dead_free_all(remains->dead);
    while (remains->gone) {
        struct weir_subscription *next = remains->gone->next_all;
        weir_subscription_free(remains->gone);
        remains->gone = next;
    }
}

// Under lock: subscriptions that only the commit held.
static struct weir_subscription *collect_gone(struct weir_flow *flow) {
    struct weir_subscription *subscription, *next, *list = NULL;
    DL_FOREACH_SAFE2(flow->gone, subscription, next, next_all) {
        if (subscription->batch_pins == 0) {
            DL_DELETE2(flow->gone, subscription, prev_all, next_all);
            subscription->next_all = list;
            list = subscription;
        }
    }
    return list;
}

// Under lock: the records of the batch are no longer read.
static void release_kept(struct weir_flow *flow) {
    while (flow->batch_kept) {
        struct weir_kept *kept = flow->batch_kept;
        LL_DELETE2(flow->batch_kept, kept, batch_next);
        kept->is_in_batch = false;
        weir_event_unref(kept->batch_cursor_event);
        kept->batch_cursor_event = NULL;
    }
}

// Under lock: the batch is durable.
static void done(struct weir_flow *flow, struct remains *ret_remains) {
    ret_remains->deliveries = weir_ledger_done(flow);
    release_kept(flow);
    for (const struct weir_note *note = flow->batch_notes; note; note = note->next) {
        flow->pending_notes--;
    }
    ret_remains->notes = flow->batch_notes;
    while (flow->batch_outbox) {
        struct weir_out *out = (struct weir_out *)flow->batch_outbox;
        flow->batch_outbox = out->entry.next;
        weir_target_push(out);
    }
    ret_remains->published = flow->batch_published;
    ret_remains->undead = flow->batch_undead;
    ret_remains->dead = flow->batch_dead;
    ret_remains->gone = collect_gone(flow);
    flow->batch_notes = NULL;
    flow->batch_published = flow->batch_undead = NULL;
    flow->batch_dead = NULL;
    flow->commits++;
}

// Under lock: whoever waited for this commit goes on.
static void release_waiters(struct weir_flow *flow) {
    flow->flush_done = flow->flush_taken;
    pthread_cond_broadcast(&flow->changed);
    flow->is_held = flow->is_held && weir_flow_is_clogged(flow);
}

static void leave_store(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_in_store = false;
    pthread_mutex_unlock(&flow->lock);
}

weir_status weir_commit_turn(struct weir_flow *flow, struct weir_error *err) {
    struct remains remains = {0};
    pthread_mutex_lock(&flow->lock);
    flow->turns++;
    bool is_again = flow->has_batch;
    if (!is_again) {
        flow->has_batch = weir_ledger_collect(flow);
        if (flow->has_batch) {
            make_batch(flow, &flow->batch);
        }
    }
    bool has_batch = flow->has_batch;
    flow->is_in_store = has_batch;
    pthread_mutex_unlock(&flow->lock);

    weir_status status = WEIR_OK;
    if (has_batch) {
        weir_step("before-commit");
        status = flow->config.store->commit(flow->config.store_context, &flow->batch, err);
        leave_store(flow);
        if (status == WEIR_OK) {
            weir_step("after-commit");
            acknowledge(flow);
        }
    }
    pthread_mutex_lock(&flow->lock);
    flow->turns++;
    if (status != WEIR_OK) {
        bool is_news = set_failing(flow, err);
        pthread_mutex_unlock(&flow->lock);
        if (is_news) {
            tell_failing(flow, err);
        }
        return status;
    }
    bool wrote_rows = false;
    for (const struct weir_entry *entry = flow->batch_entries; entry && !wrote_rows;
         entry = entry->next) {
        wrote_rows = entry->op == WEIR_ENTRY_WRITE;
    }
    if (has_batch) {
        done(flow, &remains);
        flow->has_batch = false;
    }
    bool was_failing = clear_failing(flow);
    release_waiters(flow);
    weir_flow_unlock(flow);
    if (wrote_rows) {
        weir_step("after-journal");
    }
    if (was_failing) {
        weir_log_write(flow->config.log, WEIR_LOG_INFO, "the state can be written again", NULL, 0);
    }
    free_remains(&remains);
    weir_intake_resume_all(flow);
    return WEIR_OK;
}

// ---- the thread ----

int64_t weir_commit_due_ns(const struct weir_flow *flow) {
    if (flow->flush_wanted > flow->flush_done || (flow->is_commit_ending && flow->dirty_since_ns)) {
        return 0;
    }
    if (flow->dirty_since_ns == 0) {
        return INT64_MAX;
    }
    bool is_full = flow->pending_events >= flow->config.commit_events ||
                   flow->pending_notes >= flow->config.commit_events;
    return is_full ? 0 : flow->dirty_since_ns + flow->config.commit_ns;
}

enum work { WORK_END, WORK_COMMIT, WORK_LOAD };

// Waits for something to do.
static enum work await_work(struct weir_flow *flow) {
    enum work work = WORK_END;
    pthread_mutex_lock(&flow->lock);
    flow->turns++;
    for (;;) {
        int64_t now_ns = weir_clock_monotonic_ns();
        int64_t held_due_ns = weir_ledger_write_held(flow, now_ns);
        int64_t due_ns = weir_commit_due_ns(flow);
        if (due_ns <= now_ns) {
            work = WORK_COMMIT;
            break;
        }
        if (flow->loads && flow->load_due_ns <= now_ns) {
            work = WORK_LOAD;
            flow->is_in_store = true;
            break;
        }
        if (flow->is_commit_ending) {
            break;
        }
        due_ns = held_due_ns < due_ns ? held_due_ns : due_ns;
        if (flow->loads && flow->load_due_ns < due_ns) {
            due_ns = flow->load_due_ns;
        }
        if (due_ns == INT64_MAX) {
            pthread_cond_wait(&flow->commit, &flow->lock);
        } else {
            struct timespec until = weir_clock_timespec(due_ns);
            pthread_cond_clockwait(&flow->commit, &flow->lock, CLOCK_MONOTONIC, &until);
        }
    }
    pthread_mutex_unlock(&flow->lock);
    return work;
}

// Waits before the store is asked again. False: the flow ends, and it is not asked any more.
static bool await_retry(struct weir_flow *flow, int64_t wait_ms) {
    struct timespec until =
        weir_clock_timespec(weir_clock_monotonic_ns() + wait_ms * WEIR_NS_PER_MS);
    pthread_mutex_lock(&flow->lock);
    int code = 0;
    while (!flow->is_commit_ending && code == 0) {
        code = pthread_cond_clockwait(&flow->commit, &flow->lock, CLOCK_MONOTONIC, &until);
    }
    bool goes_on = !flow->is_commit_ending;
    pthread_mutex_unlock(&flow->lock);
    return goes_on;
}

static bool commit(struct weir_flow *flow) {
    struct weir_error err;
    int64_t wait_ms = RETRY_MS_FIRST;
    while (weir_commit_turn(flow, &err) != WEIR_OK) {
        if (!await_retry(flow, wait_ms)) {
            weir_log(flow->config.log, WEIR_LOG_ERROR,
                     "what was handled last could not be written down: it will come again",
                     {"reason", weir_str_of(err.message)});
            return false;
        }
        wait_ms = wait_ms * 2 < WEIR_COMMIT_RETRY_MS_MAX ? wait_ms * 2 : WEIR_COMMIT_RETRY_MS_MAX;
    }
    return true;
}

static void *commit_main(void *argument) {
    struct weir_flow *flow = argument;
    weir_thread_be_prompt();
    for (;;) {
        enum work work = await_work(flow);
        if (work == WORK_LOAD) {
            weir_backlog_load(flow);
            leave_store(flow);
        } else if (work == WORK_END || !commit(flow)) {
            return NULL;
        }
    }
}

weir_status weir_commit_start(struct weir_flow *flow, struct weir_error *err) {
    int code = pthread_create(&flow->committer, NULL, commit_main, flow);
    if (code != 0) {
        return weir_fail_errno(err, code, "starting the thread that writes the state");
    }
    flow->has_committer = true;
    pthread_setname_np(flow->committer, "weir:state");
    return WEIR_OK;
}

// Frees the batch under way, which will not be written.
static void drop_batch(struct weir_flow *flow) {
    struct remains remains = {.deliveries = weir_ledger_done(flow),
                              .notes = flow->batch_notes,
                              .published = flow->batch_published,
                              .undead = flow->batch_undead,
                              .dead = flow->batch_dead};
    flow->batch_notes = NULL;
    flow->batch_published = flow->batch_undead = NULL;
    flow->batch_dead = NULL;
    release_kept(flow);
    while (flow->batch_outbox) {
        struct weir_out *out = (struct weir_out *)flow->batch_outbox;
        flow->batch_outbox = out->entry.next;
        weir_out_free(out);
    }
    remains.gone = collect_gone(flow);
    free_remains(&remains);
}

// Everything that never came to be written: a batch that the store refused, and what gathered
// behind it.
static void drop_rest(struct weir_flow *flow) {
    drop_batch(flow);
    weir_ledger_collect(flow);
    drop_batch(flow);
}

void weir_commit_join(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_commit_ending = true;
    pthread_cond_signal(&flow->commit);
    pthread_mutex_unlock(&flow->lock);
    if (flow->has_committer) {
        pthread_join(flow->committer, NULL);
    }
    drop_rest(flow);
}

weir_status weir_flow_flush(struct weir_flow *flow, int64_t until_ns, struct weir_error *err) {
    struct timespec until = weir_clock_timespec(until_ns);
    weir_status status = WEIR_OK;
    if (!flow->has_store) {
        return WEIR_OK;
    }
    pthread_mutex_lock(&flow->lock);
    uint64_t ticket = ++flow->flush_wanted;
    pthread_cond_signal(&flow->commit);
    int code = 0;
    while (flow->flush_done < ticket && !flow->is_failing && code == 0) {
        code = pthread_cond_clockwait(&flow->changed, &flow->lock, CLOCK_MONOTONIC, &until);
    }
    if (flow->flush_done < ticket) {
        status = flow->is_failing
                     ? weir_fail(err, WEIR_UNAVAILABLE, "%s", flow->failure.message)
                     : weir_fail(err, WEIR_UNAVAILABLE, "the state was not written in time");
    }
    pthread_mutex_unlock(&flow->lock);
    return status;
}
