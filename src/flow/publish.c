// SPDX-License-Identifier: Apache-2.0
//
// The way of a returned event after it is durable in the outbox: to the resource that its
// subscription names. Each such resource has a thread of its own (weir:to:NAME), which publishes in
// the order in which the causes were settled, one event at a time, and removes the row of what was
// published. A stop between the two publishes an event again, with the same id.
//
// Nothing is published before the first exec. A resource that cannot tell its watches what they
// missed (a topic) is told nothing while a subscription that watched it does not, or what is in the
// outbox would be gone for that: not at the start before all of them watch again, nor when one of
// them ends, be it to begin anew after a change of the configuration, nor once weir stops. They are
// waited for WATCHES_WAIT_MS, since one that nobody makes any more is kept all the same.
//
// A resource that cannot be reached is asked again with growing waits, for as long as it takes;
// meanwhile its events gather in the outbox, and at WEIR_OUTBOX_WAITING_MAX the handlers that
// return more of them wait. An event that cannot be published at all becomes a dead letter.
#include "flow/flow_private.h"

#include "base/clock.h"
#include "base/step.h"
#include "base/thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    RETRY_MS_FIRST = 20, // doubles up to ...
    RETRY_MS_MAX = 5000,
    LOAD_ROWS = 1000, // of the outbox, between two looks
    TARGETS_MAX = 1024,
    WATCHES_WAIT_MS = 10000,
};

struct weir_out *weir_out_new(struct weir_str subscription, struct weir_str target,
                              struct weir_event *event) {
    struct weir_out *out = calloc(1, sizeof *out + subscription.size + target.size);
    if (!out) {
        return NULL;
    }
    if (subscription.size > 0) {
        memcpy(out->texts, subscription.data, subscription.size);
    }
    if (target.size > 0) {
        memcpy(out->texts + subscription.size, target.data, target.size);
    }
    out->entry.subscription = (struct weir_str){out->texts, subscription.size};
    out->entry.target = (struct weir_str){out->texts + subscription.size, target.size};
    out->entry.event = weir_event_ref(event);
    return out;
}

void weir_out_free(struct weir_out *out) {
    if (out) {
        weir_event_unref(out->entry.event);
        free(out);
    }
}

void weir_out_append(struct weir_flow *flow, struct weir_out *out, struct weir_target *target) {
    out->entry.id = out->removal.id = ++flow->last_outbox_id;
    out->entry.next = NULL;
    out->target = target;
    if (target) {
        target->waiting++;
    }
    if (!flow->has_store) { // then there is nothing to wait for
        weir_target_push(out);
        return;
    }
    if (flow->outbox_last) {
        flow->outbox_last->next = &out->entry;
    } else {
        flow->outbox = &out->entry;
    }
    flow->outbox_last = &out->entry;
    weir_ledger_touch_flow(flow);
}

void weir_target_begin_all(struct weir_flow *flow) {
    flow->has_executed = true;
    int64_t due_ns = weir_clock_monotonic_ns() + WATCHES_WAIT_MS * WEIR_NS_PER_MS;
    struct weir_target *target;
    LL_FOREACH (flow->targets, target) {
        target->watches_due_ns = due_ns;
    }
    weir_target_wake_all(flow);
}

void weir_target_await_watches(struct weir_flow *flow, const struct weir_resource *resource,
                               int64_t from_ns) {
    struct weir_target *target = weir_target_find(flow, weir_str_of(resource->name));
    if (target) { // one that is made later waits from then on
        int64_t due_ns = from_ns + WATCHES_WAIT_MS * WEIR_NS_PER_MS;
        bool is_later = !target->awaits_watches || due_ns > target->watches_due_ns;
        target->watches_due_ns = is_later ? due_ns : target->watches_due_ns;
        target->awaits_watches = true;
        target->was_left = true;
    }
}

void weir_target_wake_all(struct weir_flow *flow) {
    struct weir_target *target;
    LL_FOREACH (flow->targets, target) {
        pthread_cond_signal(&target->work);
    }
}

void weir_target_push(struct weir_out *out) {
    struct weir_target *target = out->target;
    out->next = NULL;
    out->durable_ns = out->is_sampled ? weir_clock_monotonic_ns() : 0;
    if (!target) {
        return; // its row stays until somebody publishes there again
    }
    if (target->last) {
        target->last->next = out;
    } else {
        target->first = out;
    }
    target->last = out;
    pthread_cond_signal(&target->work);
}

// ---- the thread of a target ----

// Whether what it is told is gone for whoever does not watch it then.
static bool tells_only_watches(const struct weir_target *target) {
    const uint32_t tells_later = WEIR_CAN_COMPARE | WEIR_CAN_REPLAY | WEIR_CAN_ACK;
    return (target->resource->provider->capabilities & tells_later) == 0;
}

// Under lock: whether a kept subscription does not watch it, would never be told what is published
// now, and is waited for. `is_over`: they are given up, so that nobody's leaving begins it anew.
static bool lacks_a_watch(const struct weir_target *target, bool is_over) {
    struct weir_str name = weir_str_of(target->resource->name);
    bool lacks = false;
    for (struct weir_kept *kept = target->flow->kept; kept; kept = kept->hh.next) {
        const struct weir_subscription *subscription = kept->subscription;
        // Of one that is ending, `watch` is written outside of the lock.
        bool watches = subscription && !subscription->is_ending && subscription->watch;
        if (kept->record.is_ready && !watches && weir_str_equal(kept->record.resource, name)) {
            kept->is_given_up |= is_over;
            lacks |= !kept->is_given_up;
        }
    }
    return lacks;
}

// Under lock: whether a watch that is missing is still waited for.
static bool awaits_a_watch(struct weir_target *target) {
    if (target->awaits_watches) { // until all were there once: to walk over them takes its time
        bool is_over = weir_clock_monotonic_ns() >= target->watches_due_ns;
        target->awaits_watches = tells_only_watches(target) && lacks_a_watch(target, is_over);
    }
    return target->awaits_watches;
}

// Under lock: when there is something to publish (monotonic); 0: now, INT64_MAX: nobody knows.
static int64_t publish_due_ns(struct weir_target *target) {
    const struct weir_flow *flow = target->flow;
    bool is_over = flow->is_stopping && tells_only_watches(target); // they are about to end
    if (!target->first || !flow->has_executed || is_over) {
        return INT64_MAX;
    }
    return awaits_a_watch(target) ? target->watches_due_ns : 0;
}

// The event that is to be published next, which stays the first one. NULL: the flow ends.
static struct weir_out *await_first(struct weir_target *target) {
    struct weir_flow *flow = target->flow;
    pthread_mutex_lock(&flow->lock);
    int64_t due_ns;
    while (!flow->is_ending && (due_ns = publish_due_ns(target)) > 0) {
        if (due_ns == INT64_MAX) {
            pthread_cond_wait(&target->work, &flow->lock);
        } else {
            struct timespec due = weir_clock_timespec(due_ns);
            pthread_cond_clockwait(&target->work, &flow->lock, CLOCK_MONOTONIC, &due);
        }
    }
    struct weir_out *first = flow->is_ending ? NULL : target->first;
    target->was_left = false;
    pthread_mutex_unlock(&flow->lock);
    return first;
}

// Handlers that waited because too much did go on.
static void release_handlers(struct weir_target *target) {
    struct weir_subscription *subscription;
    DL_FOREACH2(target->flow->subscriptions, subscription, next_all) {
        if (subscription->target == target) {
            weir_lanes_update(subscription);
        }
    }
}

// The first event is published, or a dead letter.
static void remove_first(struct weir_target *target, struct weir_dead *dead) {
    struct weir_flow *flow = target->flow;
    pthread_mutex_lock(&flow->lock);
    bool was_left = target->was_left && tells_only_watches(target);
    if (!dead && (was_left || awaits_a_watch(target))) {
        // One that watched it ended meanwhile and may not have been told, even if it is back
        // already: the event is published again.
        pthread_mutex_unlock(&flow->lock);
        return;
    }
    struct weir_out *out = target->first;
    target->first = out->next;
    if (!target->first) {
        target->last = NULL;
    }
    target->waiting--;
    target->error[0] = '\0';
    if (target->waiting == WEIR_OUTBOX_WAITING_MAX / 2) {
        release_handlers(target);
    }
    if (dead) {
        weir_dead_append(flow, dead);
    } else {
        target->published++;
    }
    if (flow->has_store) {
        LL_PREPEND(flow->published, &out->removal); // the order of removals does not matter
        weir_ledger_touch_flow(flow);
        out = NULL;
    }
    weir_flow_unlock(flow);
    weir_out_free(out);
}

// Waits before the resource is asked again. False: the flow ends.
static bool await_retry(struct weir_target *target, int64_t wait_ms, const char *reason) {
    struct weir_flow *flow = target->flow;
    struct timespec until =
        weir_clock_timespec(weir_clock_monotonic_ns() + wait_ms * WEIR_NS_PER_MS);
    pthread_mutex_lock(&flow->lock);
    snprintf(target->error, sizeof target->error, "%s", reason);
    int code = 0;
    while (!flow->is_ending && code == 0) {
        code = pthread_cond_clockwait(&target->work, &flow->lock, CLOCK_MONOTONIC, &until);
    }
    bool goes_on = !flow->is_ending;
    pthread_mutex_unlock(&flow->lock);
    return goes_on;
}

static bool may_pass(weir_status status) {
    return status == WEIR_AGAIN || status == WEIR_UNAVAILABLE || status == WEIR_NO_MEMORY ||
           status == WEIR_OTHER;
}

static void tell(const struct weir_target *target, const struct weir_out *out, const char *message,
                 const char *reason) {
    weir_log(target->flow->config.log, WEIR_LOG_WARN, message,
             {"resource", weir_str_of(target->resource->name)},
             {"subscription", out->entry.subscription}, {"event", out->entry.event->fields.id},
             {"reason", weir_str_of(reason)});
}

// A letter of the event; waits for memory if there is none. NULL: the flow ends.
static struct weir_dead *bury(struct weir_target *target, const struct weir_out *out,
                              const char *reason) {
    struct weir_dead_args args = {.subscription = out->entry.subscription,
                                  .target = out->entry.target,
                                  .reason = weir_str_of(reason),
                                  .attempts = 1,
                                  .event = out->entry.event};
    struct weir_dead *dead = weir_dead_new(&args);
    while (!dead && await_retry(target, RETRY_MS_MAX, "no memory")) {
        dead = weir_dead_new(&args);
    }
    return dead;
}

// What a trace is told of it. `failure`: why it is given up; NULL: it is published.
static void note(struct weir_target *target, const struct weir_out *out, int64_t began_ns,
                 uint32_t attempts, const char *failure) {
    struct weir_tracer *tracer = target->flow->config.tracer;
    const struct weir_trace_publication publication = {
        .event = &out->entry.event->fields,
        .subscription = out->entry.subscription,
        .resource = target->resource->name,
        .failure = failure,
        .attempts = attempts,
        .began_ns = out->durable_ns > 0 ? out->durable_ns : began_ns,
        .ended_ns = weir_clock_monotonic_ns(),
    };
    weir_trace_publication(tracer, &target->ids, &publication);
}

// Publishes an event, however often it takes. False: the flow ends.
static bool publish(struct weir_target *target, struct weir_out *out) {
    struct weir_resource *resource = target->resource;
    struct weir_error err;
    weir_status status;
    int64_t wait_ms = RETRY_MS_FIRST;
    bool is_traced = target->flow->config.tracer != NULL;
    int64_t began_ns = is_traced ? weir_clock_monotonic_ns() : 0;
    uint32_t attempts = 1;
    for (bool is_told = false;; is_told = true, attempts++) {
        weir_step("before-publish");
        status = resource->provider->publish(resource, out->entry.event, &err);
        if (!may_pass(status)) {
            break;
        }
        if (!is_told && status != WEIR_AGAIN) {
            tell(target, out, "an event cannot be published now and will be later", err.message);
        }
        if (!await_retry(target, wait_ms, status == WEIR_AGAIN ? "no room there" : err.message)) {
            return false;
        }
        wait_ms = wait_ms * 2 < RETRY_MS_MAX ? wait_ms * 2 : RETRY_MS_MAX;
    }
    weir_step("after-publish");
    if (is_traced) {
        note(target, out, began_ns, attempts, status == WEIR_OK ? NULL : err.message);
    }
    struct weir_dead *dead = NULL;
    if (status != WEIR_OK) {
        tell(target, out, "an event cannot be published and is a dead letter", err.message);
        dead = bury(target, out, err.message);
        if (!dead) {
            return false;
        }
    }
    remove_first(target, dead);
    return true;
}

static void *target_main(void *argument) {
    struct weir_target *target = argument;
    struct weir_out *out;
    weir_thread_be_prompt();
    while ((out = await_first(target)) && publish(target, out)) {
    }
    return NULL;
}

// ---- targets ----

struct weir_target *weir_target_find(const struct weir_flow *flow, struct weir_str name) {
    struct weir_target *target;
    LL_FOREACH (flow->targets, target) {
        if (weir_str_equal(name, weir_str_of(target->resource->name))) {
            return target;
        }
    }
    return NULL;
}

// Gives a new target what waited for it in the outbox.
static void adopt_orphans(struct weir_target *target) {
    struct weir_flow *flow = target->flow;
    struct weir_out *orphans = flow->orphans;
    flow->orphans = NULL;
    while (orphans) {
        struct weir_out *out = orphans;
        orphans = out->next;
        if (weir_str_equal(out->entry.target, weir_str_of(target->resource->name))) {
            out->target = target;
            target->waiting++;
            weir_target_push(out);
        } else {
            LL_APPEND(flow->orphans, out);
        }
    }
}

weir_status weir_target_obtain(struct weir_flow *flow, struct weir_resource *resource,
                               struct weir_target **ret_target, struct weir_error *err) {
    struct weir_target *target = weir_target_find(flow, weir_str_of(resource->name));
    if (target) {
        *ret_target = target;
        return WEIR_OK;
    }
    if (!resource->provider->publish) {
        return weir_fail(err, WEIR_UNSUPPORTED, "nothing can be published to resource %s (kind %s)",
                         resource->name, resource->provider->kind);
    }
    target = calloc(1, sizeof *target);
    if (!target) {
        return weir_fail_no_memory(err, "a place to publish to");
    }
    target->flow = flow;
    target->resource = resource;
    target->awaits_watches = true;
    target->watches_due_ns = weir_clock_monotonic_ns() + WATCHES_WAIT_MS * WEIR_NS_PER_MS;
    pthread_cond_init(&target->work, NULL);
    adopt_orphans(target);
    int code = pthread_create(&target->thread, NULL, target_main, target);
    if (code != 0) {
        while (target->first) { // back to where they were
            struct weir_out *out = target->first;
            target->first = out->next;
            LL_APPEND(flow->orphans, out);
        }
        pthread_cond_destroy(&target->work);
        free(target);
        return weir_fail_errno(err, code, "starting a thread that publishes to %s", resource->name);
    }
    char name[16]; // the system's limit
    snprintf(name, sizeof name, "weir:to:%.7s", resource->name);
    pthread_setname_np(target->thread, name);
    LL_PREPEND(flow->targets, target);
    *ret_target = target;
    return WEIR_OK;
}

// After flow->is_ending was set.
void weir_target_join_all(struct weir_flow *flow) {
    struct weir_target *target;
    pthread_mutex_lock(&flow->lock);
    LL_FOREACH (flow->targets, target) {
        pthread_cond_broadcast(&target->work);
    }
    pthread_mutex_unlock(&flow->lock);
    LL_FOREACH (flow->targets, target) {
        pthread_join(target->thread, NULL);
    }
}

void weir_target_free_all(struct weir_flow *flow) {
    while (flow->targets) {
        struct weir_target *target = flow->targets;
        flow->targets = target->next;
        while (target->first) {
            struct weir_out *out = target->first;
            target->first = out->next;
            weir_out_free(out);
        }
        pthread_cond_destroy(&target->work);
        free(target);
    }
}

struct loading {
    struct weir_flow *flow;
    struct weir_out **tail;
    uint64_t last_id;
    size_t rows;
    bool is_out_of_memory;
};

static bool load_one(void *context, const struct weir_outbox_entry *entry) {
    struct loading *loading = context;
    struct weir_out *out = weir_out_new(entry->subscription, entry->target, entry->event);
    if (!out) {
        loading->is_out_of_memory = true;
        return false;
    }
    out->entry.id = out->removal.id = entry->id;
    *loading->tail = out;
    loading->tail = &out->next;
    loading->last_id = entry->id;
    loading->rows++;
    return true;
}

// There are few: WEIR_OUTBOX_WAITING_MAX bounds what a target may have waiting.
weir_status weir_target_load(struct weir_flow *flow, struct weir_error *err) {
    struct loading loading = {.flow = flow, .tail = &flow->orphans};
    weir_status status;
    do {
        loading.rows = 0;
        status = flow->config.store->load_outbox(flow->config.store_context, loading.last_id,
                                                 LOAD_ROWS, load_one, &loading, err);
    } while (status == WEIR_OK && loading.rows == LOAD_ROWS);
    return status == WEIR_OK && loading.is_out_of_memory ? weir_fail_no_memory(err, "the outbox")
                                                         : status;
}
