// SPDX-License-Identifier: Apache-2.0
//
// What follows from a handler's verdict. Pure functions: any thread.
#include "flow/flow_private.h"

enum weir_decision weir_decide(const struct weir_verdict *verdict, const struct weir_retry *retry,
                               uint32_t attempt) {
    if (verdict->outcome == WEIR_HANDLED) {
        return WEIR_DECIDE_SETTLE;
    }
    // A handler that weir itself cut, to stop in time, has not failed: its event is as good as
    // never tried.
    if (verdict->outcome == WEIR_BROKEN && verdict->error.status == WEIR_STOPPED) {
        return WEIR_DECIDE_PUT_BACK;
    }
    if (verdict->outcome == WEIR_REJECTED) {
        return WEIR_DECIDE_DEAD;
    }
    return attempt < retry->attempts ? WEIR_DECIDE_RETRY : WEIR_DECIDE_DEAD;
}

int64_t weir_backoff_ns(const struct weir_retry *retry, uint32_t attempt, double random_share) {
    int64_t wait_ns = retry->backoff_ns;
    for (uint32_t i = 1; i < attempt && wait_ns < retry->backoff_max_ns; i++) {
        wait_ns = wait_ns > retry->backoff_max_ns / 2 ? retry->backoff_max_ns : wait_ns * 2;
    }
    if (wait_ns > retry->backoff_max_ns) {
        wait_ns = retry->backoff_max_ns;
    }
    return wait_ns - (int64_t)((double)wait_ns * retry->jitter * random_share);
}
