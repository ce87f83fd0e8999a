// SPDX-License-Identifier: Apache-2.0
//
// The addresses of a host's name. getaddrinfo(3) knows no time-out and cannot be called off, and
// libpq calls it within PQconnectPoll: so the name is looked up before, by a thread of its own,
// which is left behind where it takes too long, and ends by itself.
#ifndef WEIR_PROVIDER_POSTGRES_LOOKUP_H
#define WEIR_PROVIDER_POSTGRES_LOOKUP_H

#include "base/error.h"
#include "provider/wait.h"

enum {
    WEIR_PG_ADDRESSES_MAX = 4, // that are tried
    WEIR_PG_HOSTADDR_BYTES = 64,
};

struct weir_pg_addresses {
    size_t count;
    char texts[WEIR_PG_ADDRESSES_MAX][WEIR_PG_HOSTADDR_BYTES]; // numeric
};

// WEIR_UNAVAILABLE: the name has no address, or was not found until the waiter's moment;
// WEIR_STOPPED.
weir_status weir_pg_lookup(const char *host, const struct weir_waiter *waiter,
                           struct weir_pg_addresses *ret_addresses, struct weir_error *err);

#endif
