// SPDX-License-Identifier: Apache-2.0
//
// A clock for how long things took, where each event is measured three times: the processor's own
// counter costs a third of what the system's clock does. It only measures; what is decided by time
// is decided by base/clock.h, from which it departs by some 10 us a second.
//
// The counter is used where the system itself keeps time by it, and so has found it to run evenly
// and the same on all cores; elsewhere the system's clock takes its place.
#ifndef WEIR_BASE_TICKS_H
#define WEIR_BASE_TICKS_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

// Zeroed, it is the system's clock.
struct weir_ticks {
    bool has_counter;
    double tick_ns; // of the counter
};

// Finds the counter, if there is one that may be used, and how fast it runs; that takes some 10 ms.
void weir_ticks_init(struct weir_ticks *ret_ticks);

// Any thread.
static inline uint64_t weir_ticks_now(const struct weir_ticks *ticks) {
#ifdef __x86_64__
    if (ticks->has_counter) {
        return __rdtsc();
    }
#endif
    (void)ticks;
    return (uint64_t)weir_clock_monotonic_ns();
}

// Nanoseconds between two moments; 0 where the later one is not later.
static inline int64_t weir_ticks_ns(const struct weir_ticks *ticks, uint64_t from, uint64_t to) {
    uint64_t passed = to > from ? to - from : 0;
    return ticks->has_counter ? (int64_t)((double)passed * ticks->tick_ns) : (int64_t)passed;
}

#endif
