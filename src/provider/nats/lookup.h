// SPDX-License-Identifier: Apache-2.0
//
// The addresses of a host, within a time. The system's resolver has no way to be asked with a
// bound: it tries its name servers for as long as its own configuration says. So a name is looked
// up by a thread that is left behind when the time is over; it then ends by itself and touches
// nothing but what it owns. An address written in digits needs no thread. Any thread.
#ifndef WEIR_PROVIDER_NATS_LOOKUP_H
#define WEIR_PROVIDER_NATS_LOOKUP_H

#include "base/error.h"

#include <netdb.h>
#include <stdint.h>

// How somebody waits for a descriptor: as weir_hub_wait does on a hub's thread, and poll(2)
// elsewhere.
struct weir_nats_wait {
    // WEIR_OK: `events` (of poll(2)) or an error are there; WEIR_UNAVAILABLE: not until then;
    // WEIR_STOPPED: there is no time left for anything.
    weir_status (*wait)(void *context, int fd, short events, int64_t until_ns);
    void *context;
};

// The caller frees the addresses with freeaddrinfo. WEIR_UNAVAILABLE, WEIR_STOPPED, WEIR_NO_MEMORY.
weir_status weir_nats_lookup(const char *host, const char *port, const struct weir_nats_wait *wait,
                             int64_t until_ns, struct addrinfo **ret_addresses,
                             struct weir_error *err);

#endif
