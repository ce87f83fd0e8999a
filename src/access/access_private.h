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
// http.c
weir_status weir_access_http_send(void *context, const struct weir_guest_http_request *request,
                                  struct weir_guest_http_response *ret_response,
                                  struct weir_error *err);
void weir_access_http_finish(struct weir_guest_http_response *response);

// A pattern that has all keys among it for which there is a grant; empty: there is no such grant.
struct weir_str weir_access_widest(const struct weir_access *access, size_t index, uint32_t verb);

#endif
