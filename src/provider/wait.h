// SPDX-License-Identifier: Apache-2.0
//
// How a thread waits for a server: the hub's so that the hub can end, any other one by poll(2);
// both until a moment.
#ifndef WEIR_PROVIDER_WAIT_H
#define WEIR_PROVIDER_WAIT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct weir_hub;

struct weir_waiter {
    struct weir_hub *hub; // whose thread it is; NULL: a caller's
    int64_t until_ns;     // of the monotonic clock; INT64_MAX: without an end
};

// Waits for events (of poll(2)) of a descriptor. WEIR_OK: they are there, or an error is to be
// found by reading; WEIR_UNAVAILABLE: not until the moment; WEIR_STOPPED: the hub ends. fd -1:
// waits for the moment alone.
weir_status weir_wait(const struct weir_waiter *waiter, int fd, short events);

// The same, but until an earlier moment, if that is earlier.
struct weir_waiter weir_waiter_within(const struct weir_waiter *waiter, int64_t within_ns);

// The same with its share of the time that is left, where `count` are still to be tried.
struct weir_waiter weir_waiter_share(const struct weir_waiter *waiter, size_t count);

#endif
