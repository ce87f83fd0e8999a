// SPDX-License-Identifier: Apache-2.0
//
// See histogram.h. Counting stands on the way of each event: five comparisons and two additions.
#include "observe/histogram.h"

#include "base/clock.h"

#define US INT64_C(1000)
#define MS WEIR_NS_PER_MS
#define S  WEIR_NS_PER_S

const int64_t weir_histogram_bounds_ns[WEIR_HISTOGRAM_BOUNDS] = {
    1 * US,   5 * US / 2, 5 * US,     10 * US,   25 * US, 50 * US, 100 * US, 250 * US,
    500 * US, 1 * MS,     5 * MS / 2, 5 * MS,    10 * MS, 25 * MS, 50 * MS,  100 * MS,
    250 * MS, 500 * MS,   1 * S,      5 * S / 2, 5 * S,   10 * S,  30 * S,   60 * S,
};

void weir_histogram_add(struct weir_histogram *histogram, int64_t took_ns) {
    int64_t took = took_ns > 0 ? took_ns : 0;
    size_t low = 0, high = WEIR_HISTOGRAM_BOUNDS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (weir_histogram_bounds_ns[middle] < took) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    histogram->counts[low]++;
    histogram->sum_ns += (uint64_t)took;
}

uint64_t weir_histogram_count(const struct weir_histogram *histogram) {
    uint64_t count = 0;
    for (size_t i = 0; i <= WEIR_HISTOGRAM_BOUNDS; i++) {
        count += histogram->counts[i];
    }
    return count;
}
