// SPDX-License-Identifier: Apache-2.0
//
// Private to this room: how many lines of one message may be written within a window, and how many
// were left out. A message's window begins with its first line; it is over `window_ns` later, and
// the next line begins another. What a window left out is told once: by the message's next line, or
// by whoever collects it when the window is over.
//
// No clock, no lock, no allocation: the caller gives the time of the monotonic clock and lets one
// thread in at a time.
#ifndef WEIR_OBSERVE_RATE_H
#define WEIR_OBSERVE_RATE_H

#include "observe/log.h"

// Messages that are known at a time. weir has some 150; what finds no room shares one more place.
enum { WEIR_RATE_MESSAGES_MAX = 256 };

// What was left out of one message.
struct weir_rate_rest {
    const char *message;
    enum weir_log_level level; // the gravest of the lines
    uint64_t left_out;
};

struct weir_rate_slot {
    struct weir_rate_rest rest; // of this window; left_out: that nobody has told yet
    int64_t until_ns;           // the window is over
    uint64_t lines;             // that were written in it
};

struct weir_rate {
    uint64_t lines_max; // of one message in a window; 0: no bound
    int64_t window_ns;
    size_t count;
    struct weir_rate_slot slots[WEIR_RATE_MESSAGES_MAX + 1]; // the last one is shared
};

// Whether a line of this message may be written. If so, *ret_left_out is what was left out of it
// and not told yet; if not, the line is counted, and *ret_is_first says that it is the first one
// that is: weir_rate_due_ns may have changed. `message` outlives the rate.
bool weir_rate_take(struct weir_rate *rate, enum weir_log_level level, const char *message,
                    int64_t now_ns, uint64_t *ret_left_out, bool *ret_is_first);

// What was taken or collected could not be told after all: it is counted again, for the next line
// or the end of a window that is not over yet.
void weir_rate_put_back(struct weir_rate *rate, const struct weir_rate_rest *rest, int64_t now_ns);

// Takes what was left out of a message whose window is over. False: there is none.
bool weir_rate_collect(struct weir_rate *rate, int64_t now_ns, struct weir_rate_rest *ret_rest);

// When weir_rate_collect will have something; INT64_MAX: nothing was left out.
int64_t weir_rate_due_ns(const struct weir_rate *rate);

#endif
