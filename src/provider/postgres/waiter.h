// SPDX-License-Identifier: Apache-2.0
//
// How a thread waits for the server: the hub's so that the hub can end, any other one by itself;
// both until a moment.
#ifndef WEIR_PROVIDER_POSTGRES_WAITER_H
#define WEIR_PROVIDER_POSTGRES_WAITER_H

#include "base/error.h"

#include <stdint.h>

struct weir_hub;

struct weir_pg_waiter {
    struct weir_hub *hub; // whose thread it is; NULL: a caller's
    int64_t until_ns;     // of the monotonic clock
};

// Waits for events of poll(2). WEIR_UNAVAILABLE: not until the moment; WEIR_STOPPED: the hub ends.
weir_status weir_pg_wait(const struct weir_pg_waiter *waiter, int fd, short events);

// The same, but until an earlier moment, if that is earlier.
struct weir_pg_waiter weir_pg_waiter_within(const struct weir_pg_waiter *waiter, int64_t within_ns);

#endif
