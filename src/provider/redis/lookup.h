// SPDX-License-Identifier: Apache-2.0
//
// Looking up a host's addresses within a time. getaddrinfo(3) has none: it waits for name servers
// for as long as the system's configuration says. So it runs on a thread of its own, which is left
// behind where the time is over, and ends by itself; an address that is a number needs no thread.
#ifndef WEIR_PROVIDER_REDIS_LOOKUP_H
#define WEIR_PROVIDER_REDIS_LOOKUP_H

#include "base/error.h"

#include <netdb.h>
#include <stdint.h>

// How somebody waits for events (of poll(2)) of a descriptor: see weir_hub_wait. fd -1: waits for
// the moment alone.
struct weir_redis_waiter {
    weir_status (*wait)(void *context, int fd, short events, int64_t until_ns);
    void *context;
};

// Counts the look-ups of a resource that are under way, those that were left behind among them.
struct weir_redis_lookups;
enum { WEIR_REDIS_LOOKUPS_MAX = 8 };

struct weir_redis_lookups *weir_redis_lookups_create(void); // NULL without memory
void weir_redis_lookups_destroy(struct weir_redis_lookups *lookups);

struct weir_redis_place {
    const char *host, *port;
};

// The addresses of a host, to be freed by freeaddrinfo(3). WEIR_UNAVAILABLE: there are none, or
// the time is over, or WEIR_REDIS_LOOKUPS_MAX are under way; WEIR_STOPPED: the waiter's.
weir_status weir_redis_lookup(struct weir_redis_lookups *lookups,
                              const struct weir_redis_place *place,
                              const struct weir_redis_waiter *waiter, int64_t until_ns,
                              struct addrinfo **ret_addresses, struct weir_error *err);

#endif
