// SPDX-License-Identifier: Apache-2.0
//
// What a guest's main is given: the resources that its configuration grants, watches, and sets. The
// answers of its imports are decided here. Used on the thread that runs that main.
//
// A watch captures from the call on, but which handler it is for is said later, by listen. So a
// session keeps subscriptions that no set owns yet. The first listen with an observable takes over
// the oldest such subscription of it; a further listen with the same observable finds none and
// starts a capture of its own, from that moment.
#include "flow/flow_private.h"

#include "access/access.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum { FLUSH_WAIT_MS = 5000 }; // for the disk, of a watch

// A subscription that was watched and not listened to yet.
struct pending_watch {
    struct weir_subscription *subscription;
    char *key;
    size_t key_size;
    struct pending_watch *next;
};

struct weir_session {
    struct weir_session_args args;
    bool *is_open;                 // for each resource of the access: open was called
    struct pending_watch *pending; // oldest first
    uint64_t watch_count;          // ever made by this session and not ended with it
};

weir_status weir_session_create(const struct weir_session_args *args,
                                struct weir_session **ret_session, struct weir_error *err) {
    struct weir_session *session = calloc(1, sizeof *session);
    bool *is_open = calloc(weir_access_count(args->access) + 1, sizeof *is_open);
    *ret_session = session;
    if (!session || !is_open) {
        free(session);
        free(is_open);
        *ret_session = NULL;
        return weir_fail_no_memory(err, "a guest's session");
    }
    session->args = *args;
    session->is_open = is_open;
    return WEIR_OK;
}

static void forget(struct weir_session *session, struct pending_watch *pending) {
    LL_DELETE(session->pending, pending);
    free(pending->key);
    free(pending);
}

void weir_session_destroy(struct weir_session *session) {
    if (!session) {
        return;
    }
    while (session->pending) {
        weir_subscription_destroy(session->pending->subscription);
        forget(session, session->pending);
    }
    free(session->is_open);
    free(session);
}

static weir_status session_open(void *context, struct weir_str name, struct weir_error *err) {
    struct weir_session *session = context;
    size_t index;
    weir_status status = weir_access_find(session->args.access, name, &index, err);
    if (status == WEIR_OK) {
        session->is_open[index] = true;
    }
    return status;
}

static weir_status start_watch(struct weir_session *session, struct weir_str rd,
                               struct weir_str key, struct weir_subscription **ret_subscription,
                               struct weir_error *err) {
    size_t index;
    weir_status status = weir_access_find(session->args.access, rd, &index, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_resource *resource = weir_access_resource(session->args.access, index);
    if (!session->is_open[index]) {
        return weir_fail(err, WEIR_INVALID, "\"%s\" is no descriptor: open the resource first",
                         resource->name);
    }
    status = weir_access_check(session->args.access, index, WEIR_VERB_WATCH, key, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (session->watch_count >= session->args.watches_max) {
        return weir_fail(err, WEIR_LIMIT,
                         "%" PRIu64 " watches were made, bounds.watches allows no more",
                         session->watch_count);
    }
    struct weir_subscription_args args = {
        .resource = resource,
        .key = key,
        .event_bytes_max = session->args.event_bytes_max,
        .guest = session->args.guest,
        .retry = session->args.retry,
        .queue = session->args.queue,
        .journal = session->args.journal,
        .concurrency = session->args.concurrency,
        .on_gap = session->args.on_gap,
        .overflow = session->args.overflow,
        .to = session->args.to,
    };
    status = weir_subscription_create(session->args.flow, &args, ret_subscription, err);
    if (status != WEIR_OK) {
        return status;
    }
    session->watch_count++;
    // From the return on nothing is lost, also not by a stop that comes at once.
    status = weir_flow_flush(session->args.flow,
                             weir_clock_monotonic_ns() + FLUSH_WAIT_MS * WEIR_NS_PER_MS, err);
    if (status != WEIR_OK) {
        weir_subscription_destroy(*ret_subscription);
        *ret_subscription = NULL;
    }
    return status;
}

static weir_status session_watch(void *context, struct weir_str rd, struct weir_str key,
                                 struct weir_error *err) {
    struct weir_session *session = context;
    struct pending_watch *pending = calloc(1, sizeof *pending);
    char *copy = malloc(key.size + 1);
    weir_status status = pending && copy ? WEIR_OK : weir_fail_no_memory(err, "a watch");
    if (status == WEIR_OK) {
        status = start_watch(session, rd, key, &pending->subscription, err);
    }
    if (status != WEIR_OK) {
        free(pending);
        free(copy);
        return status;
    }
    if (key.size > 0) {
        memcpy(copy, key.data, key.size);
    }
    pending->key = copy;
    pending->key_size = key.size;
    LL_APPEND(session->pending, pending);
    return WEIR_OK;
}

static weir_status session_set_new(void *context, void **ret_set, struct weir_error *err) {
    struct weir_session *session = context;
    struct weir_set *set;
    weir_status status = weir_set_create(session->args.flow, session->args.guest_name, &set, err);
    *ret_set = set;
    return status;
}

static void session_set_ref(void *context, void *set) {
    (void)context;
    weir_set_ref(set);
}

static void session_set_unref(void *context, void *set) {
    (void)context;
    weir_set_unref(set);
}

// Takes over the oldest subscription that was watched as this observable; NULL: there is none.
static struct weir_subscription *take_pending(struct weir_session *session, struct weir_str rd,
                                              struct weir_str key) {
    struct pending_watch *pending;
    LL_FOREACH (session->pending, pending) {
        struct weir_str its_key = {.data = pending->key, .size = pending->key_size};
        if (weir_str_equal(rd, weir_str_of(pending->subscription->resource->name)) &&
            weir_str_equal(key, its_key)) {
            struct weir_subscription *subscription = pending->subscription;
            forget(session, pending);
            return subscription;
        }
    }
    return NULL;
}

static weir_status session_set_listen(void *context, void *set, struct weir_str rd,
                                      struct weir_str key, uint32_t handler,
                                      struct weir_error *err) {
    struct weir_session *session = context;
    struct weir_subscription *subscription = take_pending(session, rd, key);
    if (!subscription) {
        weir_status status = start_watch(session, rd, key, &subscription, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    weir_status status = weir_subscription_bind(subscription, handler, err);
    if (status != WEIR_OK) {
        weir_subscription_destroy(subscription);
        return status;
    }
    weir_set_add(set, subscription, handler);
    return WEIR_OK;
}

static weir_status session_set_exec(void *context, void *set, uint64_t duration_s,
                                    struct weir_error *err) {
    (void)context;
    const uint64_t longest_s = INT64_MAX / WEIR_NS_PER_S; // 292 years
    int64_t duration_ns =
        (int64_t)(duration_s < longest_s ? duration_s : longest_s) * WEIR_NS_PER_S;
    return weir_set_exec(set, duration_ns, err);
}

const struct weir_guest_host weir_session_host = {
    .open = session_open,
    .watch = session_watch,
    .set_new = session_set_new,
    .set_ref = session_set_ref,
    .set_unref = session_set_unref,
    .set_listen = session_set_listen,
    .set_exec = session_set_exec,
};
