// SPDX-License-Identifier: Apache-2.0
//
// See wait.h.
#include "provider/wait.h"

#include "base/clock.h"
#include "provider/hub.h"

#include <errno.h>
#include <poll.h>

weir_status weir_wait(const struct weir_waiter *waiter, int fd, short events) {
    int64_t until_ns = waiter->until_ns;
    if (waiter->hub) {
        return weir_hub_wait(waiter->hub, fd, events, until_ns);
    }
    struct pollfd one = {.fd = fd, .events = events};
    for (;;) { // ends at the moment
        int64_t left_ns = until_ns == INT64_MAX ? 0 : until_ns - weir_clock_monotonic_ns();
        struct timespec timeout = weir_clock_timespec(left_ns > 0 ? left_ns : 0);
        int ready = ppoll(&one, 1, until_ns == INT64_MAX ? NULL : &timeout, NULL);
        if (ready > 0) {
            return WEIR_OK;
        }
        if (ready == 0 || errno != EINTR) {
            return WEIR_UNAVAILABLE;
        }
    }
}

struct weir_waiter weir_waiter_within(const struct weir_waiter *waiter, int64_t within_ns) {
    int64_t until_ns = weir_clock_monotonic_ns() + within_ns;
    return (struct weir_waiter){
        .hub = waiter->hub, .until_ns = until_ns < waiter->until_ns ? until_ns : waiter->until_ns};
}

struct weir_waiter weir_waiter_share(const struct weir_waiter *waiter, size_t count) {
    int64_t left_ns = waiter->until_ns - weir_clock_monotonic_ns();
    return weir_waiter_within(waiter, left_ns > 0 ? left_ns / (int64_t)count : 0);
}
