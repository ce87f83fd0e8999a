// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share.
#ifndef WEIR_ACCESS_ACCESS_PRIVATE_H
#define WEIR_ACCESS_ACCESS_PRIVATE_H

#include "access/access.h"

#include <stdatomic.h>

struct weir_access_pairs {
    struct weir_attribute *items; // each in a block of its own, at its name
    size_t count;
};

struct weir_access {
    atomic_uint references;
    char *name; // of the guest
    struct weir_log *log;
    struct weir_grant *grants;
    size_t grant_count;
    struct weir_access_pairs config, environment;
    char **hosts;
    size_t host_count;
    struct weir_http_client *http;
    atomic_bool is_host_told; // a refusal of one was logged
    weir_status (*publish)(void *context, const struct weir_access_publication *publication,
                           struct weir_error *err);
    void *publish_context;
    struct weir_resource **resources;
    size_t resource_count;
    atomic_uint *told; // for each resource: the verbs of which a refusal was logged
    atomic_uint_fast64_t refused;
};

// Whether a grant allows it; counts nothing.
bool weir_access_allows(const struct weir_access *access, size_t index, uint32_t verb,
                        struct weir_str pattern);
// reach.c: what those of traced.c note; the others are NULL.
extern const struct weir_guest_access weir_access_reach;

// traced.c
weir_status weir_access_traced_get(void *context, uint32_t index, struct weir_str key,
                                   const struct weir_limits *limits, struct weir_value *ret_value,
                                   struct weir_error *err);
weir_status weir_access_traced_set(void *context, uint32_t index, struct weir_str key,
                                   struct weir_str value, const struct weir_limits *limits,
                                   struct weir_error *err);
weir_status weir_access_traced_remove(void *context, uint32_t index, struct weir_str key,
                                      const struct weir_limits *limits, struct weir_error *err);
weir_status weir_access_traced_list(void *context, uint32_t index, struct weir_str after,
                                    const struct weir_limits *limits,
                                    const struct weir_listing *listing, struct weir_error *err);
weir_status weir_access_traced_update(void *context, uint32_t index, struct weir_str key,
                                      const struct weir_limits *limits,
                                      const struct weir_change *change, struct weir_error *err);
weir_status weir_access_traced_query(void *context, struct weir_str database,
                                     const struct weir_sql_statement *statement,
                                     const struct weir_limits *limits,
                                     struct weir_sql_result *ret_result, struct weir_error *err);
weir_status weir_access_traced_publish(void *context, uint32_t index, struct weir_call *call,
                                       const struct weir_event_fields *event,
                                       struct weir_error *err);
weir_status weir_access_traced_http_send(void *context,
                                         const struct weir_guest_http_request *request,
                                         struct weir_guest_http_response *ret_response,
                                         struct weir_error *err);

// http.c
weir_status weir_access_http_send(void *context, const struct weir_guest_http_request *request,
                                  struct weir_guest_http_response *ret_response,
                                  struct weir_error *err);
void weir_access_http_finish(struct weir_guest_http_response *response);

// A pattern that has all keys among it for which there is a grant; empty: there is no such grant.
struct weir_str weir_access_widest(const struct weir_access *access, size_t index, uint32_t verb);

#endif
