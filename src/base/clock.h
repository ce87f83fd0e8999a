// SPDX-License-Identifier: Apache-2.0
//
// Two clocks. The monotonic one decides (deadlines, backoff, bounds); the wall clock only labels
// (an event's `time`, a log line), because it may jump.
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WEIR_NS_PER_MS INT64_C(1000000)
#define WEIR_NS_PER_S  INT64_C(1000000000)

// Nanoseconds of CLOCK_MONOTONIC. Any thread.
int64_t weir_clock_monotonic_ns(void);

// The same clock as of the system's last tick, at most WEIR_CLOCK_COARSE_MS ago, at a quarter of
// the cost. Any thread.
int64_t weir_clock_coarse_ns(void);
enum { WEIR_CLOCK_COARSE_MS = 10 }; // where the kernel ticks at 100 Hz

// Nanoseconds since 1970-01-01T00:00:00Z of CLOCK_REALTIME. Any thread.
int64_t weir_clock_wall_ns(void);

// "2026-01-31T12:34:56.123456Z" and its terminator.
enum { WEIR_TIME_BYTES = 28 };

// Writes a wall time in RFC 3339, UTC, microseconds; 1677 to 2262.
void weir_time_format(int64_t wall_ns, char ret_text[static WEIR_TIME_BYTES]);

// Reads RFC 3339's date-time: 2026-01-31T12:34:56, a fraction if any, Z or +hh:mm. False where it
// is none. A moment before 1677 or behind 2262 is the first or the last one that there is.
bool weir_time_read(struct weir_str text, int64_t *ret_wall_ns);

// A moment of the monotonic clock as a timespec of CLOCK_MONOTONIC, for pthread_cond_clockwait and
// the like.
struct timespec weir_clock_timespec(int64_t monotonic_ns);

#endif
