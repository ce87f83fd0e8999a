// SPDX-License-Identifier: Apache-2.0
//
// Looking up a host's addresses within a time. getaddrinfo(3) has none: it waits for name servers
// for as long as the system's configuration says. So it runs on a thread of its own, which is left
// behind where the time is over, and ends by itself; an address that is a number needs no thread.
#ifndef WEIR_PROVIDER_LOOKUP_H
#define WEIR_PROVIDER_LOOKUP_H

#include "base/error.h"
#include "provider/wait.h"

#include <netdb.h>

// Counts the look-ups of a resource that are under way, those that were left behind among them.
// Any thread.
struct weir_lookups;
enum { WEIR_LOOKUPS_MAX = 8 };

struct weir_lookups *weir_lookups_create(void); // NULL without memory
// Does not wait for those that are under way. NULL is allowed.
void weir_lookups_destroy(struct weir_lookups *lookups);

struct weir_place {
    const char *host;
    const char *port; // NULL: the addresses have none
};

// The addresses of a host for stream sockets, to be freed by freeaddrinfo(3). WEIR_UNAVAILABLE:
// there are none, or the time is over, or WEIR_LOOKUPS_MAX are under way; WEIR_STOPPED: the
// waiter's; WEIR_NO_MEMORY, and what eventfd(2) and pthread_create(3) answer. Any thread.
weir_status weir_lookup(struct weir_lookups *lookups, const struct weir_place *place,
                        const struct weir_waiter *waiter, struct addrinfo **ret_addresses,
                        struct weir_error *err);

#endif
