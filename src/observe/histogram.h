// SPDX-License-Identifier: Apache-2.0
//
// How long things took, by buckets with fixed bounds: 1, 2.5 and 5 of each power of ten from a
// microsecond on. The bounds are the same everywhere, so that histograms can be added, also by
// whoever scrapes several weirs. Used by one thread at a time, or under a lock of the owner's.
#ifndef WEIR_OBSERVE_HISTOGRAM_H
#define WEIR_OBSERVE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { WEIR_HISTOGRAM_BOUNDS = 24 };

// Upper bounds, inclusive, ascending: 1 us to 60 s.
extern const int64_t weir_histogram_bounds_ns[WEIR_HISTOGRAM_BOUNDS];

// Zeroed, it is empty.
struct weir_histogram {
    uint64_t counts[WEIR_HISTOGRAM_BOUNDS + 1]; // of each bucket; the last: above all bounds
    uint64_t sum_ns;
};

// Counts one that took so long; a negative time counts as 0.
void weir_histogram_add(struct weir_histogram *histogram, int64_t took_ns);

// How many were counted.
uint64_t weir_histogram_count(const struct weir_histogram *histogram);

#endif
