// SPDX-License-Identifier: Apache-2.0
//
// See ticks.h. Source of what says that the counter may be used: the kernel's documentation of
// timekeeping; a counter that is found to be uneven is no clock source any more.
#include "base/ticks.h"

#ifdef __x86_64__

#include <stdio.h>
#include <string.h>

// Two readings of each clock, so far apart that what lies between two reads does not matter.
enum { CALIBRATE_MS = 10 };

static bool is_clock_source(void) {
    char name[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (!file) {
        return false;
    }
    bool is_read = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return is_read && strcmp(name, "tsc\n") == 0;
}

void weir_ticks_init(struct weir_ticks *ret_ticks) {
    *ret_ticks = (struct weir_ticks){0};
    if (!is_clock_source()) {
        return;
    }
    int64_t began_ns = weir_clock_monotonic_ns();
    uint64_t began = __rdtsc();
    struct timespec pause = weir_clock_timespec(CALIBRATE_MS * WEIR_NS_PER_MS);
    nanosleep(&pause, NULL); // a signal makes it shorter, and it less exact
    int64_t took_ns = weir_clock_monotonic_ns() - began_ns;
    uint64_t took = __rdtsc() - began;
    if (took > 0 && took_ns > 0) {
        ret_ticks->has_counter = true;
        ret_ticks->tick_ns = (double)took_ns / (double)took;
    }
}

#else

void weir_ticks_init(struct weir_ticks *ret_ticks) {
    *ret_ticks = (struct weir_ticks){0};
}

#endif
