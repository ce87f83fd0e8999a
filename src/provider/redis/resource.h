// SPDX-License-Identifier: Apache-2.0
//
// A resource of the Redis provider, for the files of this folder.
#ifndef WEIR_PROVIDER_REDIS_RESOURCE_H
#define WEIR_PROVIDER_REDIS_RESOURCE_H

#include "observe/log.h"
#include "provider/hub.h"
#include "provider/link.h"
#include "provider/pool.h"
#include "provider/redis/redis.h"
#include "provider/redis/session.h"

struct weir_redis_resource;

// What a mode does with watches.
struct weir_redis_mode_functions {
    struct weir_hub_functions hub;
    struct weir_redis_session_functions session;
    // What the hub and the session have for their context.
    weir_status (*create)(struct weir_redis_resource *resource, void **ret_context,
                          struct weir_error *err);
    void (*set_session)(void *context, struct weir_redis_session *session); // once, before use
    void (*destroy)(void *context);
    uint32_t capabilities; // of its watches
    enum weir_strength strength;
};
extern const struct weir_redis_mode_functions weir_redis_keys, weir_redis_log, weir_redis_streams;

struct weir_redis_resource {
    struct weir_resource base;
    // Constant.
    struct weir_log *log;
    struct weir_redis_options options; // its texts are the resource's own
    struct weir_redis_endpoint endpoint;
    const struct weir_redis_mode_functions *mode;
    char *source;          // of events: "/" and the name
    char *connection_name; // by which the server's operators know the connections

    struct weir_pool *pool; // connections of threads that read and write
    struct weir_link link;  // the hub's thread's
    struct weir_redis_session *session;
    struct weir_hub *hub;
    void *watches; // the mode's
};

// ---- connections of threads that read and write

struct weir_redis_loan {
    struct weir_redis_resource *resource;
    struct weir_redis_connection *connection;
    int64_t until_ns;
    bool is_usable; // until something fails on it
};

// Takes one until the call is over. WEIR_UNAVAILABLE, WEIR_DENIED, ...
weir_status weir_redis_borrow(struct weir_redis_resource *resource, int64_t until_ns,
                              struct weir_redis_loan *ret_loan, struct weir_error *err);
void weir_redis_give_back(struct weir_redis_loan *loan);
// Appends a command to be sent with the next weir_redis_ask.
weir_status weir_redis_put(struct weir_redis_loan *loan, const struct weir_str *words, size_t count,
                           struct weir_error *err);
// The next reply, also one that is an error; the caller frees it.
weir_status weir_redis_take(struct weir_redis_loan *loan, struct weir_redis_reply **ret_reply,
                            struct weir_error *err);
// Both, and an error reply is an error; `doing` says what it was for.
weir_status weir_redis_ask(struct weir_redis_loan *loan, const struct weir_str *words, size_t count,
                           const char *doing, struct weir_redis_reply **ret_reply,
                           struct weir_error *err);

// A walk over the keys of a pattern and a type. One that is there from beginning to end is met, and
// perhaps twice.
struct weir_redis_scan {
    struct weir_str glob;
    const char *type;
    bool renews_time; // each page has the resource's time-out for itself
    weir_status (*each)(void *context, struct weir_str key, struct weir_error *err);
    void *context;
};
weir_status weir_redis_scan(struct weir_redis_loan *loan, const struct weir_redis_scan *scan,
                            struct weir_error *err);

// ---- store.c: reading and writing

weir_status weir_redis_get(struct weir_resource *base, struct weir_str key,
                           const struct weir_limits *limits, struct weir_value *ret_value,
                           struct weir_error *err);
weir_status weir_redis_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                           const struct weir_limits *limits, struct weir_error *err);
weir_status weir_redis_remove(struct weir_resource *base, struct weir_str key,
                              const struct weir_limits *limits, struct weir_error *err);
weir_status weir_redis_list(struct weir_resource *base, const struct weir_pattern *pattern,
                            const struct weir_limits *limits, const struct weir_listing *listing,
                            struct weir_error *err);
weir_status weir_redis_update(struct weir_resource *base, struct weir_str key,
                              const struct weir_limits *limits, const struct weir_change *change,
                              struct weir_error *err);

// ---- publish.c

weir_status weir_redis_publish(struct weir_resource *base, struct weir_event *event,
                               struct weir_error *err);

// ---- examine.c

weir_status weir_redis_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                               size_t count, const struct weir_findings *findings,
                               struct weir_error *err);
weir_status weir_redis_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                                struct weir_error *err);

#endif
