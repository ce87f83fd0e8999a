// SPDX-License-Identifier: Apache-2.0
//
// A subscription's beginning and end. Capturing begins when it is made, before it is known which
// handler it is for: a guest watches first and listens later, and what changes between the two is
// queued.
//
// With a store it is kept under its name, and goes on there: its rows of the journal are read, and
// the source tells what came since. A guest's main names no subscription, so the name is made of
// what it is about: guest, resource, key and, once that is known, the handler. A main that comes
// again after a stop is given what an earlier run kept for the same guest, resource and key when it
// watches, before it says the handler; what changed between a watch and a stop is not lost by that.
//
// The end, in this order: no new event (is_ending), no handler in flight, no watch, everything that
// was taken written, no lanes. Only then is it freed, or, where the commit thread still holds a
// part of it because the disk does not answer, when that lets go.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    KEY_SHOWN_BYTES_MAX = 200, // of a key in a derived name; longer ones are hashed
    HANDLER_SHOWN_BYTES_MAX = 256,
    SAME_NAME_MAX = 1000000, // subscriptions of one guest to one key with one handler
    NAME_BYTES = WEIR_SUBSCRIPTION_NAME_BYTES_MAX,
};

// ---- names ----

// The key as a part of a name: what cannot stand in a URI is percent-coded, a long one is hashed.
static void format_key(struct weir_str key, char *buffer, size_t size) {
    static const char hex[] = "0123456789ABCDEF";
    size_t used = 0;
    for (size_t i = 0; i < key.size && used <= KEY_SHOWN_BYTES_MAX; i++) {
        unsigned char byte = (unsigned char)key.data[i];
        bool is_plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                        (byte >= '0' && byte <= '9') || strchr("-._~/*:@", byte);
        if (is_plain && byte != '\0') {
            buffer[used++] = (char)byte;
        } else {
            buffer[used++] = '%';
            buffer[used++] = hex[byte >> 4];
            buffer[used++] = hex[byte & 15];
        }
    }
    if (used > KEY_SHOWN_BYTES_MAX) {
        XXH128_hash_t hash = XXH3_128bits(key.data, key.size);
        snprintf(buffer, size, "xxh128:%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
    } else {
        buffer[used] = '\0';
    }
}

// "guest/resource/key/", what every derived name of these begins with.
static void format_prefix(const char *guest, const char *resource, struct weir_str key,
                          char ret_name[static NAME_BYTES]) {
    char shown[KEY_SHOWN_BYTES_MAX + 64];
    format_key(key, shown, sizeof shown);
    snprintf(ret_name, NAME_BYTES, "%s/%s/%s/", guest, resource, shown);
}

// The prefix with the handler behind it, slashes as colons, so that where the key ends can be told;
// the second of the same gets "#2" behind that.
static void join_name(const char *prefix, const char *handler, unsigned number,
                      char ret_name[static NAME_BYTES]) {
    char shown[HANDLER_SHOWN_BYTES_MAX + 1], suffix[16] = "";
    snprintf(shown, sizeof shown, "%s", handler);
    for (char *at = shown; *at; at++) {
        *at = *at == '/' ? ':' : *at;
    }
    if (number > 1) {
        snprintf(suffix, sizeof suffix, "#%u", number);
    }
    snprintf(ret_name, NAME_BYTES, "%.600s%s%s", prefix, shown, suffix); // no prefix is longer
}

// The first such name that no other subscription runs under.
static void find_name(const struct weir_flow *flow, const struct weir_kept *self,
                      const char *prefix, const char *handler, char ret_name[static NAME_BYTES]) {
    for (unsigned number = 1; number < SAME_NAME_MAX; number++) {
        join_name(prefix, handler, number, ret_name);
        const struct weir_kept *kept = weir_kept_find(flow, ret_name);
        if (!kept || kept == self || !kept->subscription) {
            return;
        }
    }
}

void weir_subscription_derive_name(const struct weir_guest *guest,
                                   const struct weir_resource *resource, struct weir_str key,
                                   const char *handler, char ret_name[static NAME_BYTES]) {
    char prefix[NAME_BYTES];
    format_prefix(weir_guest_name(guest), resource->name, key, prefix);
    join_name(prefix, handler, 1, ret_name);
}

// What an earlier run kept for the same guest, resource and key, whatever its handler; the oldest
// one that nobody runs. NULL: nothing.
static const struct weir_kept *find_earlier(const struct weir_flow *flow, const char *prefix) {
    const struct weir_kept *found = NULL;
    size_t size = strlen(prefix);
    for (const struct weir_kept *kept = flow->kept; kept; kept = kept->hh.next) {
        bool is_earlier = !found || kept->record.id < found->record.id;
        if (!kept->subscription && is_earlier && strncmp(kept->name, prefix, size) == 0 &&
            !strchr(kept->name + size, '/')) {
            found = kept;
        }
    }
    return found;
}

// ---- the beginning ----

static void free_texts(struct weir_subscription *subscription) {
    free(subscription->name);
    free(subscription->key);
    free(subscription->handler_name);
    free(subscription->watch_name);
}

void weir_subscription_free(struct weir_subscription *subscription) {
    weir_delivery_free_all(subscription->spares);
    weir_delivery_free(atomic_load_explicit(&subscription->spare, memory_order_relaxed));
    weir_guest_unref(subscription->guest);
    free_texts(subscription);
    free(subscription);
}

static struct weir_subscription *make(struct weir_flow *flow,
                                      const struct weir_subscription_args *args) {
    struct weir_subscription *subscription = calloc(1, sizeof *subscription);
    if (!subscription) {
        return NULL;
    }
    uint32_t workers = flow->config.workers > 0 ? flow->config.workers : 1;
    *subscription = (struct weir_subscription){
        .flow = flow,
        .key = weir_str_copy(args->key),
        .key_size = args->key.size,
        .handler_name = strdup(args->handler ? args->handler : ""),
        .resource = args->resource,
        .retry = args->retry,
        .queue = args->queue,
        .journal = args->journal,
        .concurrency = args->concurrency > 0 && args->concurrency < workers
                           ? (uint32_t)args->concurrency
                           : workers,
        .on_gap = args->on_gap,
        .overflow = args->overflow,
    };
    if (!subscription->key || !subscription->handler_name) {
        free_texts(subscription);
        free(subscription);
        return NULL;
    }
    subscription->guest = weir_guest_ref(args->guest);
    return subscription;
}

// Under lock: whether a subscription that runs has its source keep something under this name.
static bool is_watch_name_taken(const struct weir_flow *flow, const char *name) {
    const struct weir_subscription *other;
    DL_FOREACH2(flow->subscriptions, other, next_all) {
        if (other->watch_name && strcmp(other->watch_name, name) == 0) {
            return true;
        }
    }
    return false;
}

// Under lock: the name for the source. It does not change with the handler, which a guest's main
// says after the watch has begun: the same main finds the same again, in the order of its watches.
static weir_status name_watch(struct weir_subscription *subscription,
                              const struct weir_subscription_args *args, const char *prefix,
                              struct weir_error *err) {
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s", args->name || args->handler ? subscription->name : "");
    for (unsigned number = 1; name[0] == '\0' && number < SAME_NAME_MAX; number++) {
        join_name(prefix, "", number, name);
        name[0] = is_watch_name_taken(subscription->flow, name) ? '\0' : name[0];
    }
    subscription->watch_name = strdup(name);
    return subscription->watch_name ? WEIR_OK : weir_fail_no_memory(err, "a subscription");
}

// Under lock: finds the name, and what is kept under it.
static weir_status adopt(struct weir_subscription *subscription,
                         const struct weir_subscription_args *args, struct weir_error *err) {
    struct weir_flow *flow = subscription->flow;
    char prefix[NAME_BYTES], name[NAME_BYTES];
    format_prefix(weir_guest_name(args->guest), args->resource->name, args->key, prefix);
    if (args->name) {
        snprintf(name, sizeof name, "%s", args->name);
    } else {
        const struct weir_kept *earlier =
            args->handler || !flow->has_store ? NULL : find_earlier(flow, prefix);
        if (earlier) {
            snprintf(name, sizeof name, "%s", earlier->name);
        } else {
            find_name(flow, NULL, prefix, subscription->handler_name, name);
        }
    }
    subscription->name = strdup(name);
    if (!subscription->name) {
        return weir_fail_no_memory(err, "a subscription");
    }
    weir_status status = name_watch(subscription, args, prefix, err);
    if (status != WEIR_OK || !flow->has_store) {
        return status;
    }
    status = weir_kept_obtain(flow, subscription->name, subscription, &subscription->kept, err);
    if (status == WEIR_OK) {
        subscription->spilled = subscription->counts.behind = subscription->kept->record.row_count;
    }
    return status;
}

// Whether what is kept under the name is about something else than is wanted now.
static bool is_about_other(const struct weir_subscription *subscription) {
    const struct weir_subscription_record *record = &subscription->kept->record;
    return !weir_str_equal(record->resource, weir_str_of(subscription->resource->name)) ||
           !weir_str_equal(record->pattern,
                           (struct weir_str){subscription->key, subscription->key_size});
}

// Under lock: whether the commit under way changes what is recalled. It is of an earlier
// subscription of the name, which has ended while the disk did not answer.
static bool is_being_noted(const struct weir_subscription *subscription) {
    const struct weir_flow *flow = subscription->flow;
    uint64_t id = subscription->kept->record.id;
    for (const struct weir_entry *entry = flow->batch_entries; entry; entry = entry->next) {
        if (entry->subscription == id && entry->has_fingerprint) {
            return true;
        }
    }
    for (const struct weir_note *note = flow->batch_notes; note; note = note->next) {
        if (note->subscription == id) {
            return true;
        }
    }
    return false;
}

static weir_status recall(void *context,
                          bool (*each)(void *each_context, struct weir_str key,
                                       struct weir_str fingerprint),
                          void *each_context, struct weir_error *err) {
    const struct weir_subscription *subscription = context;
    struct weir_flow *flow = subscription->flow;
    const struct weir_flow_config *config = &flow->config;
    pthread_mutex_lock(&flow->lock);
    bool waits = is_being_noted(subscription);
    pthread_mutex_unlock(&flow->lock);
    if (waits) {
        int64_t until_ns = weir_clock_monotonic_ns() + WEIR_REMEMBER_WAIT_MS * WEIR_NS_PER_MS;
        weir_status status = weir_flow_flush(flow, until_ns, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return config->store->load_notes(config->store_context, subscription->kept->record.id, each,
                                     each_context, err);
}

// Under lock: what is kept begins anew, because it was never complete or is about something else.
static weir_status begin_anew(struct weir_subscription *subscription, struct weir_error *err) {
    struct weir_kept *kept = subscription->kept;
    weir_status status =
        weir_kept_set_about(subscription->flow, kept, subscription->resource->name,
                            (struct weir_str){subscription->key, subscription->key_size}, err);
    if (status != WEIR_OK) {
        return status;
    }
    kept->record.cursor = (struct weir_str){0};
    kept->record.is_ready = false;
    kept->forgets = true;
    weir_ledger_touch_kept(subscription->flow, kept);
    return WEIR_OK;
}

static void tell_other(const struct weir_subscription *subscription) {
    weir_log(subscription->flow->config.log, WEIR_LOG_WARN,
             "the subscription watched something else before: it begins anew, and what changed "
             "there meanwhile is not told",
             {"subscription", weir_str_of(subscription->name)},
             {"before", subscription->kept->record.resource},
             {"now", weir_str_of(subscription->resource->name)});
}

// Decides whether the watch goes on where it was, and prepares what is kept.
static weir_status prepare_resume(struct weir_subscription *subscription, bool *ret_goes_on,
                                  struct weir_error *err) {
    *ret_goes_on = false;
    if (!subscription->kept) {
        return WEIR_OK;
    }
    struct weir_flow *flow = subscription->flow;
    const struct weir_subscription_record *record = &subscription->kept->record;
    bool is_other = record->is_ready && is_about_other(subscription);
    if (is_other) {
        tell_other(subscription);
    }
    bool can_go_on = weir_subscription_can(subscription, WEIR_CAN_REPLAY)
                         ? record->cursor.size > 0
                         : weir_subscription_can(subscription, WEIR_CAN_COMPARE) ||
                               weir_subscription_can(subscription, WEIR_CAN_ACK);
    *ret_goes_on = record->is_ready && !is_other && can_go_on;
    if (record->is_ready && !is_other) {
        return WEIR_OK;
    }
    pthread_mutex_lock(&flow->lock);
    weir_status status = begin_anew(subscription, err);
    pthread_mutex_unlock(&flow->lock);
    return status;
}

static weir_status begin_watch(struct weir_subscription *subscription,
                               const struct weir_subscription_args *args, struct weir_error *err) {
    struct weir_flow *flow = subscription->flow;
    bool goes_on, remembers = weir_subscription_can(subscription, WEIR_CAN_COMPARE) ||
                              weir_subscription_can(subscription, WEIR_CAN_REPLAY);
    weir_status status = prepare_resume(subscription, &goes_on, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_resume resume = {.recall = recall, .context = subscription};
    if (subscription->kept) {
        resume.position = subscription->kept->record.cursor;
    }
    struct weir_watch_args watch_args = {
        .pattern = weir_pattern_of(args->key),
        .sink = {.offer = weir_intake_offer,
                 .remember = subscription->kept && remembers ? weir_intake_remember : NULL,
                 .context = subscription},
        .name = subscription->kept ? subscription->watch_name : NULL,
        .event_bytes_max = args->event_bytes_max,
        .resume = goes_on ? &resume : NULL,
        .meter = &subscription->meter,
    };
    struct weir_watch *watch;
    status = args->resource->provider->watch(args->resource, &watch_args, &watch, err);
    if (status != WEIR_OK) {
        return status;
    }
    pthread_mutex_lock(&flow->lock);
    subscription->watch = watch; // from now on it may be resumed
    if (subscription->kept) {
        subscription->kept->is_given_up = false;
    }
    if (subscription->kept && !subscription->kept->record.is_ready) {
        subscription->kept->record.is_ready = true;
        weir_ledger_touch(subscription);
    }
    weir_backlog_want(subscription);
    weir_target_wake_all(flow);
    pthread_mutex_unlock(&flow->lock);
    return WEIR_OK;
}

weir_status weir_subscription_create(struct weir_flow *flow,
                                     const struct weir_subscription_args *args,
                                     struct weir_subscription **ret_subscription,
                                     struct weir_error *err) {
    *ret_subscription = NULL;
    const struct weir_provider *provider = args->resource->provider;
    if (!provider->watch) {
        return weir_fail(err, WEIR_UNSUPPORTED, "resource %s (kind %s) cannot be watched",
                         args->resource->name, provider->kind);
    }
    struct weir_subscription *subscription = make(flow, args);
    if (!subscription) {
        return weir_fail_no_memory(err, "a subscription");
    }
    struct weir_promise promise = {.capabilities = provider->capabilities};
    struct weir_pattern pattern = weir_pattern_of(args->key);
    weir_status status =
        provider->promise ? provider->promise(args->resource, &pattern, &promise, err) : WEIR_OK;
    if (status != WEIR_OK) {
        weir_subscription_free(subscription);
        return status;
    }
    subscription->capabilities = promise.capabilities;
    pthread_mutex_lock(&flow->lock);
    status = adopt(subscription, args, err);
    if (status == WEIR_OK && args->to) {
        status = weir_target_obtain(flow, args->to, &subscription->target, err);
    }
    DL_APPEND2(flow->subscriptions, subscription, prev_all, next_all);
    pthread_mutex_unlock(&flow->lock);
    status = status == WEIR_OK ? begin_watch(subscription, args, err) : status;
    if (status != WEIR_OK) {
        weir_subscription_destroy(subscription);
        return status;
    }
    *ret_subscription = subscription;
    return WEIR_OK;
}

weir_status weir_subscription_bind(struct weir_subscription *subscription, uint32_t handler,
                                   struct weir_error *err) {
    struct weir_flow *flow = subscription->flow;
    const char *handler_name = weir_guest_handler_name(subscription->guest, handler);
    char prefix[NAME_BYTES], name[NAME_BYTES];
    struct weir_str key = {subscription->key, subscription->key_size};
    format_prefix(weir_guest_name(subscription->guest), subscription->resource->name, key, prefix);
    char *handler_copy = strdup(handler_name), *name_copy = NULL;
    pthread_mutex_lock(&flow->lock);
    find_name(flow, subscription->kept, prefix, handler_name, name);
    name_copy = strdup(name);
    weir_status status =
        handler_copy && name_copy ? WEIR_OK : weir_fail_no_memory(err, "a subscription's name");
    if (status == WEIR_OK && subscription->kept) {
        status = weir_kept_rename(flow, subscription->kept, name, err);
    }
    if (status == WEIR_OK) {
        free(subscription->handler_name);
        free(subscription->name);
        subscription->handler_name = handler_copy;
        subscription->name = name_copy;
        handler_copy = name_copy = NULL;
    }
    pthread_mutex_unlock(&flow->lock);
    free(handler_copy);
    free(name_copy);
    return status;
}

// ---- the end ----

bool weir_subscription_is_busy(const struct weir_subscription *subscription) {
    return subscription->counts.in_flight > 0 || subscription->pins > 0;
}

void weir_subscription_note_error(struct weir_subscription *subscription, const char *message) {
    snprintf(subscription->error, sizeof subscription->error, "%s", message);
    subscription->error_wall_ns = weir_clock_wall_ns();
}

// Under lock: out of every list in which a worker, a provider or the commit thread could find it,
// but that of what waits to be written.
static void leave_lists(struct weir_subscription *subscription) {
    struct weir_flow *flow = subscription->flow;
    if (subscription->is_paused) {
        DL_DELETE2(flow->paused, subscription, prev_paused, next_paused);
        subscription->is_paused = false;
    }
    if (subscription->is_load_wanted) {
        DL_DELETE2(flow->loads, subscription, prev_load, next_load);
        subscription->is_load_wanted = false;
    }
    weir_lanes_update(subscription);
}

void weir_subscription_end(struct weir_subscription *subscription, int64_t until_ns) {
    struct weir_flow *flow = subscription->flow;
    pthread_mutex_lock(&flow->lock);
    subscription->is_ending = true;
    if (subscription->kept && !subscription->kept->is_given_up) {
        int64_t now_ns = weir_clock_monotonic_ns();
        weir_target_await_watches(flow, subscription->resource,
                                  until_ns > now_ns ? until_ns : now_ns);
    }
    struct timespec until = weir_clock_timespec(until_ns);
    while (weir_subscription_is_busy(subscription)) {
        if (flow->is_cutting || weir_clock_monotonic_ns() >= until_ns) {
            if (subscription->set) { // else a worker is only about to call its provider
                weir_dispatch_cut(subscription->set, subscription);
            }
            // A guest that was cut is gone at the next tick; a host function that it is in has a
            // timeout of its own.
            pthread_cond_wait(&flow->changed, &flow->lock);
        } else {
            pthread_cond_clockwait(&flow->changed, &flow->lock, CLOCK_MONOTONIC, &until);
        }
    }
    leave_lists(subscription);
    pthread_mutex_unlock(&flow->lock);
    subscription->resource->provider->unwatch(subscription->watch);
    subscription->watch = NULL;
}

// Under lock: takes what is left out of memory. Returns what is to be freed; *ret_dropped: events
// that nobody will hear of again.
static struct weir_delivery *empty(struct weir_subscription *subscription, uint64_t *ret_dropped) {
    struct weir_flow *flow = subscription->flow;
    struct weir_delivery *list = NULL, *delivery, *next;
    subscription->is_emptied = true;
    struct weir_delivery *cleared = weir_lanes_clear(subscription, ret_dropped);
    LL_FOREACH_SAFE (cleared, delivery, next) {
        // What is in a batch is freed with it, and the ledger below has the rest.
        if (!delivery->is_in_batch && !delivery->is_in_ledger) {
            LL_PREPEND(list, delivery);
        }
    }
    bool is_told_again = weir_subscription_can(subscription, WEIR_CAN_REPLAY) ||
                         weir_subscription_can(subscription, WEIR_CAN_COMPARE);
    *ret_dropped = subscription->kept ? 0 : *ret_dropped;
    list = weir_ledger_abandon(subscription, list, is_told_again ? NULL : ret_dropped);
    if (subscription->is_dirty) {
        DL_DELETE2(flow->dirty, subscription, prev_dirty, next_dirty);
        subscription->is_dirty = false;
    }
    return list;
}

static void tell_dropped(const struct weir_subscription *subscription, uint64_t dropped) {
    weir_log(subscription->flow->config.log, WEIR_LOG_WARN,
             "events were dropped with their subscription",
             {"subscription", weir_str_of(subscription->name)},
             {"events", WEIR_LOG_NUMBER(dropped)});
}

void weir_subscription_destroy(struct weir_subscription *subscription) {
    if (!subscription) {
        return;
    }
    struct weir_flow *flow = subscription->flow;
    if (!subscription->is_ending) { // also one whose watch was never made: dead letters come too
        weir_subscription_end(subscription, 0);
    }
    if (subscription->kept) {
        int64_t until_ns = weir_clock_monotonic_ns() + WEIR_CUT_WAIT_MS * WEIR_NS_PER_MS;
        weir_flow_flush(flow, until_ns, NULL); // where it fails, empty() counts what is lost
    }
    uint64_t dropped;
    pthread_mutex_lock(&flow->lock);
    leave_lists(subscription);
    struct weir_delivery *list = empty(subscription, &dropped);
    subscription->counts.dropped += dropped;
    pthread_mutex_unlock(&flow->lock);
    weir_delivery_free_all(list);
    if (dropped > 0) {
        tell_dropped(subscription, dropped);
    }
    pthread_mutex_lock(&flow->lock);
    DL_DELETE2(flow->subscriptions, subscription, prev_all, next_all);
    if (subscription->kept) {
        subscription->kept->subscription = NULL;
    }
    bool is_held = subscription->batch_pins > 0;
    if (is_held) {
        DL_APPEND2(flow->gone, subscription, prev_all, next_all);
    }
    pthread_mutex_unlock(&flow->lock);
    if (!is_held) {
        weir_subscription_free(subscription);
    }
}

void weir_subscription_counts(struct weir_subscription *subscription,
                              struct weir_subscription_counts *ret_counts) {
    pthread_mutex_lock(&subscription->flow->lock);
    *ret_counts = subscription->counts;
    pthread_mutex_unlock(&subscription->flow->lock);
}
