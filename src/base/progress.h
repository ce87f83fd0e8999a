// SPDX-License-Identifier: Apache-2.0
//
// How far something is that takes long: a table is told as it is, keys are compared. Who does it
// counts on a meter; who looks reads it at any time, and makes of it what a person is told.
//
// A meter is written by one thread at a time, once for each batch, and read by any: it is made of
// plain atomics, so a reader may see a count of this moment beside a total of the moment before.
// Nobody decides anything by it.
#ifndef WEIR_BASE_PROGRESS_H
#define WEIR_BASE_PROGRESS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_PROGRESS_LEFT_MS_MIN = 1000 }; // before that, no time left is told
#define WEIR_PROGRESS_LEFT_MS_MAX (INT64_C(1000) * 3600 * 24 * 365) // nor is one above that

// Zeroed, nothing is under way.
struct weir_meter {
    const char *_Atomic what; // "snapshot", "comparing"; NULL: nothing is under way
    _Atomic uint64_t done, total;
    _Atomic int64_t began_ns;
};

struct weir_progress {
    const char *what; // a constant; NULL: nothing is under way
    uint64_t done;    // rows, keys
    uint64_t total;   // about so many in all; 0: nobody knows
    int64_t began_ns; // monotonic
};

// The meter may be NULL in all of these: nobody looks.

// Something begins, or begins anew. `what` is a constant text. `total`: 0 where nobody knows.
void weir_meter_begin(struct weir_meter *meter, const char *what, uint64_t total);
// A better estimate of what there is in all.
void weir_meter_estimate(struct weir_meter *meter, uint64_t total);
// So many more are done. Nothing, where nothing is under way.
void weir_meter_add(struct weir_meter *meter, uint64_t more);
void weir_meter_end(struct weir_meter *meter);

// Any thread.
void weir_meter_read(struct weir_meter *meter, struct weir_progress *ret_progress);

// How many ms are left, if it goes on as it did so far; negative: nobody can tell (yet). What takes
// longer than was estimated has 0 left.
int64_t weir_progress_left_ms(const struct weir_progress *progress, int64_t now_ns);

#endif
