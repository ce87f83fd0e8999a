// SPDX-License-Identifier: Apache-2.0
//
// See waiter.h.
#include "provider/postgres/waiter.h"

#include "base/clock.h"
#include "provider/hub.h"

#include <errno.h>
#include <poll.h>

weir_status weir_pg_wait(const struct weir_pg_waiter *waiter, int fd, short events) {
    if (waiter->hub) {
        return weir_hub_wait(waiter->hub, fd, events, waiter->until_ns);
    }
    struct pollfd ready = {.fd = fd, .events = events};
    for (;;) { // ends: at the moment
        int64_t left_ns = waiter->until_ns - weir_clock_monotonic_ns();
        struct timespec timeout = weir_clock_timespec(left_ns > 0 ? left_ns : 0);
        int count = ppoll(&ready, 1, waiter->until_ns == INT64_MAX ? NULL : &timeout, NULL);
        if (count > 0) {
            return WEIR_OK;
        }
        if (count == 0 || errno != EINTR) {
            return WEIR_UNAVAILABLE;
        }
    }
}

struct weir_pg_waiter weir_pg_waiter_within(const struct weir_pg_waiter *waiter,
                                            int64_t within_ns) {
    int64_t until_ns = weir_clock_monotonic_ns() + within_ns;
    return (struct weir_pg_waiter){
        .hub = waiter->hub, .until_ns = until_ns < waiter->until_ns ? until_ns : waiter->until_ns};
}
