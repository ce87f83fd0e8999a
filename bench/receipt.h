// SPDX-License-Identifier: Apache-2.0
//
// What the readers have seen of what the writer wrote. A value is one line, "SEQUENCE TIME\n": the
// number of the write and the monotonic time in nanoseconds at which it was made. Whoever has read
// one hands it in; nothing is counted twice.
//
// receipts_take is called on any thread, the rest on the thread that measures.
#ifndef WEIR_BENCH_RECEIPT_H
#define WEIR_BENCH_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VALUE_BYTES = 32, // the longest value, with a terminator
    EVENTS_MAX = 100000,
};

// Writes a value and its terminator. Returns its length.
size_t value_print(char ret_text[VALUE_BYTES], uint64_t sequence, int64_t written_ns);

struct receipts;

struct receipts *receipts_create(void);
void receipts_destroy(struct receipts *receipts);

// From now on the writes `first` to `first + count - 1` are waited for (at most EVENTS_MAX), and no
// others.
void receipts_expect(struct receipts *receipts, uint64_t first, size_t count);

// A value was read, now. `text` may lack the newline; what is no value ends the process.
void receipts_take(struct receipts *receipts, const char *text, size_t size);

// Waits until `count` of the expected writes have been read. False: they were not within
// RECEIPTS_WAIT_MS.
bool receipts_wait(struct receipts *receipts, size_t count);
enum { RECEIPTS_WAIT_MS = 20 * 1000 };

// Of the expected writes, once all of them have been read: how long after it was written each was
// read, in ascending order (receipts_expect's count of them; valid until the next receipts_expect),
// and how long after the first was written the last was read.
const int64_t *receipts_latencies_ns(struct receipts *receipts);
int64_t receipts_span_ns(const struct receipts *receipts);

#endif
