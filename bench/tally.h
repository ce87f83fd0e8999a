// SPDX-License-Identifier: Apache-2.0
//
// What a reader of events has read: how many a second, at what cost, and how late. What is sent to
// it begins with a stamp, "@SEQUENCE TIME ", of which receipt.h tells; it may stand anywhere in
// what is read, since some sources put a value into JSON.
//
// The rate is taken from the moment on at which a tenth was read: by then a reader that starts is
// warm, and what it had in its buffers before it was told to go is behind it.
//
// tally_take of one that keeps receipts may be called on any thread, everything else on one.
#ifndef WEIR_BENCH_TALLY_H
#define WEIR_BENCH_TALLY_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    STAMPED_BYTES = 100, // of what is sent
    TALLY_COUNT_MAX = 10000000,
    TALLY_WAIT_MS = 120 * 1000, // for all events of a measure
};

// Writes a value of STAMPED_BYTES that was made now.
void stamp(char ret_value[static STAMPED_BYTES], uint64_t sequence);

struct receipts;

struct tally {
    struct receipts *receipts; // how late they are; NULL: they are counted
    uint64_t expected, taken;
    uint64_t begin_count;
    int64_t begin_ns, begin_cpu_ns;
};

// Of events with the sequences 0 to count - 1.
void tally_init(struct tally *tally, uint64_t count, bool has_latencies);
void tally_finish(struct tally *tally);

// So many more were read.
void tally_add(struct tally *tally, uint64_t count);
// This was read: it is counted, and looked at where latencies are taken.
void tally_take(struct tally *tally, const char *text, size_t size);
bool tally_is_full(const struct tally *tally);

// "rate EVENTS_A_SECOND cpu NS_OF_PROCESSOR_TIME_FOR_AN_EVENT", or "p50 NS p99 NS".
void tally_print(struct tally *tally);

// Says that what is sent from now on will be read, and waits until somebody says that it is sent.
void say_ready(void);
void await_go(void);

#endif
