// SPDX-License-Identifier: Apache-2.0
//
// DIR/state.lock: whose the folder is, and the number of the last commit. Private to src/state/.
#ifndef WEIR_STATE_MARK_H
#define WEIR_STATE_MARK_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_mark_value {
    uint64_t number;         // of the last commit; 0: none is known
    bool is_closed_in_order; // by the one that wrote the number
};

struct weir_mark {
    int fd; // -1: not taken
    int next_slot;
    struct weir_mark_value last;
};

// Takes the lock and reads the mark. WEIR_UNAVAILABLE: another process has it, which is named, or
// the file cannot be made. After an error there is nothing to release.
weir_status weir_mark_take(struct weir_mark *mark, const char *path, struct weir_error *err);
// Writes the number of a commit that is durable. False: the system did not do it, and the mark
// stays at an older number, which is only a weaker one.
bool weir_mark_set(struct weir_mark *mark, uint64_t number, bool is_closed_in_order);
// Gives the lock back. What was taken, or has fd -1.
void weir_mark_release(struct weir_mark *mark);

// Reads it without the lock. A file that is not there has no number.
weir_status weir_mark_read(const char *path, struct weir_mark_value *ret_value,
                           struct weir_error *err);

#endif
