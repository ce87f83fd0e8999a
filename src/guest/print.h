// SPDX-License-Identifier: Apache-2.0
//
// What one instance prints: bytes in, lines out, with a bound for each call. Used on the thread
// that runs the instance.
#ifndef WEIR_GUEST_PRINT_H
#define WEIR_GUEST_PRINT_H

#include "guest/guest.h"

struct weir_print_stream {
    struct weir_guest_output to;
    const char *guest;
    struct weir_call *call; // keeps the end of what is printed; NULL: nobody does
    uint64_t bytes_left;    // of this call
    bool is_over;           // the bound was passed
    bool is_stuck;          // nobody takes this call's lines
    int64_t deadline_ns;    // of this call
    bool is_continued;      // a part of the line was handed over already
    size_t used;
    char line[WEIR_OUTPUT_LINE_BYTES];
};

// Starts a call's allowance. After `deadline_ns` (monotonic) lines are dropped: a reader who is
// slow, but not slow enough to be given up, must not stretch a call beyond its time.
void weir_print_begin(struct weir_print_stream *stream, uint64_t bytes_max, int64_t deadline_ns);
// Takes bytes. Returns false where they pass the bound: nothing of them is kept, is_over is set.
bool weir_print_write(struct weir_print_stream *stream, const void *bytes, size_t size);
// Counts bytes that go elsewhere; as above.
bool weir_print_spend(struct weir_print_stream *stream, size_t size);
// Hands over an unfinished line.
void weir_print_flush(struct weir_print_stream *stream);

#endif
