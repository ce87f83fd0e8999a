// SPDX-License-Identifier: Apache-2.0
//
// What a person is told of the flow. Under the lock everything is copied, so that it is of one
// moment and nobody is called while the lock is held; then it is told.
#include "flow/flow_private.h"

#include "access/access.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

// A copy of a status with its texts.
struct seen {
    struct weir_subscription_status status;
    char *texts; // owned; what the status points into
    struct seen *next;
};

// Texts that are copied one after the other.
struct writer {
    char *at;
};

static const char *put(struct writer *writer, const char *text, size_t size) {
    char *copy = writer->at;
    memcpy(copy, text, size);
    copy[size] = '\0';
    writer->at += size + 1;
    return copy;
}

static int64_t oldest_ns(const struct weir_subscription *subscription, uint64_t *ret_retrying) {
    int64_t oldest = 0;
    const struct weir_lane *lane;
    for (lane = subscription->lanes; lane; lane = lane->hh.next) {
        *ret_retrying += lane->state == WEIR_LANE_DELAYED ? 1 : 0;
        if (lane->first && (oldest == 0 || lane->first->taken_ns < oldest)) {
            oldest = lane->first->taken_ns;
        }
    }
    int64_t age_ns = oldest == 0 ? 0 : weir_clock_coarse_ns() - oldest;
    return age_ns > 0 ? age_ns : 0; // the coarse clock is late
}

static const char *state_of(const struct weir_subscription *subscription) {
    if (subscription->is_stopped) {
        return "stopped";
    }
    if (!subscription->set || !subscription->set->is_executing) {
        return "waiting";
    }
    return subscription->is_paused           ? "paused"
           : subscription->counts.behind > 0 ? "behind"
                                             : "running";
}

static uint64_t refused_of(const struct weir_guest *guest) {
    const struct weir_access *access = weir_guest_access_context(guest);
    return access ? weir_access_refused(access) : 0;
}

// Under lock. NULL: no memory.
static struct seen *see(struct weir_subscription *subscription) {
    const char *guest = weir_guest_name(subscription->guest);
    const char *to = subscription->target ? subscription->target->resource->name : "";
    struct weir_str cursor =
        subscription->kept ? subscription->kept->record.cursor : (struct weir_str){0};
    size_t bytes = strlen(subscription->name) + strlen(subscription->resource->name) +
                   strlen(guest) + strlen(subscription->handler_name) + strlen(to) +
                   subscription->key_size + cursor.size + strlen(subscription->error) + 8;
    struct seen *seen = calloc(1, sizeof *seen);
    char *texts = malloc(bytes);
    if (!seen || !texts) {
        free(seen);
        free(texts);
        return NULL;
    }
    struct writer writer = {texts};
    seen->texts = texts;
    uint64_t retrying = 0;
    seen->status = (struct weir_subscription_status){
        .name = put(&writer, subscription->name, strlen(subscription->name)),
        .resource =
            put(&writer, subscription->resource->name, strlen(subscription->resource->name)),
        .kind = subscription->resource->provider->kind, // a constant
        .guest = put(&writer, guest, strlen(guest)),
        .handler = put(&writer, subscription->handler_name, strlen(subscription->handler_name)),
        .to = put(&writer, to, strlen(to)),
        .key = {put(&writer, subscription->key, subscription->key_size), subscription->key_size},
        .cursor = {put(&writer, cursor.data ? cursor.data : "", cursor.size), cursor.size},
        .error = put(&writer, subscription->error, strlen(subscription->error)),
        .state = state_of(subscription),
        .counts = subscription->counts,
        .oldest_ns = oldest_ns(subscription, &retrying),
        .handler_time = subscription->handler_time,
        .event_time = subscription->event_time,
        .next_seq = subscription->kept ? subscription->kept->record.next_seq : 0,
        .refused = refused_of(subscription->guest),
        .error_wall_ns = subscription->error_wall_ns,
    };
    seen->status.retrying = retrying;
    weir_meter_read(&subscription->meter, &seen->status.progress);
    return seen;
}

// Under lock: one that nobody runs. NULL: no memory.
static struct seen *see_kept(const struct weir_kept *kept) {
    const struct weir_subscription_record *record = &kept->record;
    struct seen *seen = calloc(1, sizeof *seen);
    char *texts = malloc(record->name.size + record->resource.size + record->pattern.size +
                         record->cursor.size + 4);
    if (!seen || !texts) {
        free(seen);
        free(texts);
        return NULL;
    }
    struct writer writer = {texts};
    seen->texts = texts;
    seen->status = (struct weir_subscription_status){
        .name = put(&writer, record->name.data, record->name.size),
        .resource = put(&writer, record->resource.data, record->resource.size),
        .kind = "",
        .guest = "",
        .handler = "",
        .to = "",
        .key = {put(&writer, record->pattern.data, record->pattern.size), record->pattern.size},
        .cursor = {put(&writer, record->cursor.data ? record->cursor.data : "",
                       record->cursor.size),
                   record->cursor.size},
        .error = "",
        .state = "kept",
        .counts = {.behind = record->row_count},
        .next_seq = record->next_seq,
    };
    return seen;
}

// Under lock. Returns the head of the list; false: no memory.
static bool see_all(const struct weir_flow *flow, struct seen **ret_list) {
    struct seen **tail = ret_list;
    *tail = NULL;
    struct weir_subscription *subscription;
    DL_FOREACH2(flow->subscriptions, subscription, next_all) {
        *tail = subscription->name && subscription->watch ? see(subscription) : NULL;
        if (*tail) {
            tail = &(*tail)->next;
        } else if (subscription->watch) {
            return false;
        }
    }
    for (const struct weir_kept *kept = flow->kept; kept; kept = kept->hh.next) {
        if (kept->subscription || kept->record.id == 0) {
            continue;
        }
        *tail = see_kept(kept);
        if (!*tail) {
            return false;
        }
        tail = &(*tail)->next;
    }
    return true;
}

struct seen_target {
    struct weir_target_status status;
    char name[WEIR_NAME_BYTES_MAX + 1], error[256];
};

// Under lock. NULL: no memory.
static struct seen_target *see_targets(const struct weir_flow *flow, size_t *ret_count) {
    const struct weir_target *target;
    size_t count;
    LL_COUNT(flow->targets, target, count);
    struct seen_target *list = calloc(count + 1, sizeof *list), *seen = list;
    LL_FOREACH (flow->targets, target) {
        if (list) {
            snprintf(seen->name, sizeof seen->name, "%s", target->resource->name);
            memcpy(seen->error, target->error, sizeof seen->error);
            seen->status = (struct weir_target_status){.name = seen->name,
                                                       .kind = target->resource->provider->kind,
                                                       .error = seen->error,
                                                       .waiting = target->waiting,
                                                       .published = target->published};
            seen++;
        }
    }
    *ret_count = count;
    return list;
}

// Resources outlive the flow, so that they can be asked without the lock.
struct seen_resources {
    struct weir_resource **list;
    size_t count, room;
};

static bool see_resource(struct seen_resources *seen, struct weir_resource *resource) {
    if (!resource->provider->health) {
        return true;
    }
    for (size_t i = seen->count; i > 0; i--) { // neighbours are often of one resource
        if (seen->list[i - 1] == resource) {
            return true;
        }
    }
    if (seen->count == seen->room) {
        size_t room = seen->room ? 2 * seen->room : 8;
        struct weir_resource **grown = realloc(seen->list, room * sizeof(struct weir_resource *));
        if (!grown) {
            return false;
        }
        seen->list = grown;
        seen->room = room;
    }
    seen->list[seen->count++] = resource;
    return true;
}

// Under lock: those that are watched, also where no configuration names them any more, and those
// that are known. False: no memory.
static bool see_resources(const struct weir_flow *flow, struct seen_resources *seen) {
    const struct weir_subscription *subscription;
    DL_FOREACH2(flow->subscriptions, subscription, next_all) {
        if (!see_resource(seen, subscription->resource)) {
            return false;
        }
    }
    for (size_t i = 0; i < flow->resource_count; i++) {
        if (!see_resource(seen, flow->resources[i])) {
            return false;
        }
    }
    return true;
}

static void tell_resources(const struct seen_resources *seen,
                           const struct weir_status_calls *calls) {
    for (size_t i = 0; i < seen->count && calls->resource; i++) {
        struct weir_resource *resource = seen->list[i];
        struct weir_resource_status status = {.name = resource->name,
                                              .kind = resource->provider->kind};
        resource->provider->health(resource, &status.health);
        calls->resource(calls->context, &status);
    }
}

// Under lock: each with a reference. NULL: no memory.
static struct weir_guest **see_guests(const struct weir_flow *flow, size_t *ret_count) {
    struct weir_guest **list = calloc(flow->guest_count + 1, sizeof(struct weir_guest *));
    for (size_t i = 0; list && i < flow->guest_count; i++) {
        list[i] = weir_guest_ref(flow->guests[i]);
    }
    *ret_count = flow->guest_count;
    return list;
}

// Gives the references back. `calls`: NULL: nobody is told.
static void tell_guests(struct weir_guest **list, size_t count,
                        const struct weir_status_calls *calls) {
    for (size_t i = 0; list && i < count; i++) {
        struct weir_guest_status status = {.name = weir_guest_name(list[i]),
                                           .refused = refused_of(list[i])};
        const char *reason;
        bool is_core = weir_guest_lane(list[i], &reason) == WEIR_GUEST_LANE_CORE;
        status.lane = is_core ? "core" : "component";
        weir_guest_stats(list[i], &status.stats);
        if (calls && calls->guest) {
            calls->guest(calls->context, &status);
        }
        weir_guest_unref(list[i]);
    }
    free(list);
}

static void tell(struct seen *list, const struct weir_status_calls *calls) {
    while (list) {
        struct seen *next = list->next;
        if (calls && calls->subscription) {
            calls->subscription(calls->context, &list->status);
        }
        free(list->texts);
        free(list);
        list = next;
    }
}

weir_status weir_flow_look(struct weir_flow *flow, const struct weir_status_calls *calls,
                           struct weir_error *err) {
    struct seen *list;
    size_t target_count, guest_count;
    struct weir_error failure;
    pthread_mutex_lock(&flow->lock);
    struct weir_flow_status status = {
        .is_state_failing = flow->is_failing,
        .state_failing_since_wall_ns = flow->failing_since_wall_ns,
        .commits = flow->commits,
        .queued_bytes = flow->queued_bytes,
        .queued_bytes_max = flow->config.queue_bytes,
    };
    failure = flow->failure;
    bool is_whole = see_all(flow, &list);
    struct seen_target *targets = see_targets(flow, &target_count);
    struct seen_resources resources = {.list = NULL};
    is_whole = see_resources(flow, &resources) && is_whole;
    struct weir_guest **guests = see_guests(flow, &guest_count);
    pthread_mutex_unlock(&flow->lock);
    if (!is_whole || !targets || !guests) {
        tell(list, NULL);
        tell_guests(guests, guest_count, NULL);
        free(targets);
        free(resources.list);
        return weir_fail_no_memory(err, "a status");
    }
    status.state_error = status.is_state_failing ? failure.message : "";
    if (calls->flow) {
        calls->flow(calls->context, &status);
    }
    tell(list, calls);
    for (size_t i = 0; i < target_count && calls->target; i++) {
        calls->target(calls->context, &targets[i].status);
    }
    free(targets);
    tell_resources(&resources, calls);
    free(resources.list);
    tell_guests(guests, guest_count, calls);
    return WEIR_OK;
}

// ---- tallies ----

struct tally {
    const char *name; // in `texts`
    struct weir_subscription_counts counts;
};

struct tallies {
    struct tally *list;
    size_t count;
    char *texts;
};

// Under lock. False: no memory.
static bool tally_all(const struct weir_flow *flow, struct tallies *ret_tallies) {
    const struct weir_subscription *subscription;
    size_t room = 1, bytes = 1;
    DL_FOREACH2(flow->subscriptions, subscription, next_all) {
        room += subscription->watch ? 1 : 0;
        bytes += subscription->watch ? strlen(subscription->name) + 1 : 0;
    }
    *ret_tallies =
        (struct tallies){.list = calloc(room, sizeof(struct tally)), .texts = malloc(bytes)};
    if (!ret_tallies->list || !ret_tallies->texts) {
        return false;
    }
    struct writer writer = {ret_tallies->texts};
    DL_FOREACH2(flow->subscriptions, subscription, next_all) {
        if (subscription->watch) {
            ret_tallies->list[ret_tallies->count++] =
                (struct tally){.name = put(&writer, subscription->name, strlen(subscription->name)),
                               .counts = subscription->counts};
        }
    }
    return true;
}

weir_status weir_flow_tally(struct weir_flow *flow,
                            void (*each)(void *context, const char *name,
                                         const struct weir_subscription_counts *counts),
                            void *context, struct weir_error *err) {
    struct tallies tallies;
    pthread_mutex_lock(&flow->lock);
    bool is_whole = tally_all(flow, &tallies);
    pthread_mutex_unlock(&flow->lock);
    for (size_t i = 0; is_whole && i < tallies.count; i++) {
        each(context, tallies.list[i].name, &tallies.list[i].counts);
    }
    free(tallies.list);
    free(tallies.texts);
    return is_whole ? WEIR_OK : weir_fail_no_memory(err, "a tally");
}
