// SPDX-License-Identifier: Apache-2.0
//
// What a guest may reach, and the way there: each thing that it asks of its host is looked up in
// its grants first. Deny by default: what no grant names is refused, and the refusal says which
// grant would allow it. Refusals are counted, and the first of each kind is logged.
//
// An access belongs to one guest, in its main and in its handlers. It does not change; a guest
// whose configuration has changed gets another one. Any thread.
#ifndef WEIR_ACCESS_ACCESS_H
#define WEIR_ACCESS_ACCESS_H

#include "config/config.h"
#include "guest/guest.h"
#include "provider/provider.h"

struct weir_access;
struct weir_http_client;
struct weir_log;

// An event that a guest publishes itself, on its way.
struct weir_access_publication {
    const char *guest;
    struct weir_resource *resource;
    const struct weir_event_fields *event; // type, data, datacontenttype, subject, extensions
    const struct weir_cause *cause;        // of the handler's call; NULL: main
    uint32_t ordinal;                      // of those of one call, from 1
};

struct weir_access_args {
    const struct weir_guest_config *guest; // what matters of it is copied
    struct weir_log *log;
    // Keeps an event to be published; see weir_flow_send. NULL: nothing can be published.
    weir_status (*publish)(void *context, const struct weir_access_publication *publication,
                           struct weir_error *err);
    void *publish_context;
    struct weir_http_client *http; // must outlive it; NULL: there is none
};

// Makes one, with one reference. WEIR_NO_MEMORY.
weir_status weir_access_create(const struct weir_access_args *args, struct weir_access **ret_access,
                               struct weir_error *err);
void weir_access_ref(struct weir_access *access);
void weir_access_unref(struct weir_access *access); // NULL is allowed

// Tells which resources there are, before it is used; they must outlive it. The array is copied.
// WEIR_NO_MEMORY.
weir_status weir_access_bind(struct weir_access *access, struct weir_resource *const *resources,
                             size_t count, struct weir_error *err);

// How many resources there are, and which one has a number.
size_t weir_access_count(const struct weir_access *access);
struct weir_resource *weir_access_resource(const struct weir_access *access, size_t index);

// A resource for which the guest has a grant, whatever it allows. WEIR_NOT_FOUND, WEIR_DENIED; the
// message lists what there is.
weir_status weir_access_find(struct weir_access *access, struct weir_str name, size_t *ret_index,
                             struct weir_error *err);
// Whether the guest may do that with the keys of a pattern, which for the verbs of SQL is "*".
// WEIR_DENIED, with a message that names
// the missing grant.
weir_status weir_access_check(struct weir_access *access, size_t index, uint32_t verb,
                              struct weir_str pattern, struct weir_error *err);

// How often something was refused.
uint64_t weir_access_refused(const struct weir_access *access);

// What a guest is given as its `access`; the context is the struct weir_access.
extern const struct weir_guest_access weir_access_functions;

#endif
