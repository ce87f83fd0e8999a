// SPDX-License-Identifier: Apache-2.0
//
// Who looks at what flows, and the lines that wait for them. Private to this room.
//
// Threads: workers offer, the control thread does the rest; a lock is held for a few pointers.
#ifndef WEIR_CONTROL_TAILS_H
#define WEIR_CONTROL_TAILS_H

#include "control/control.h"
#include "control/request.h"

#include <pthread.h>
#include <stdatomic.h>

struct weir_control_line; // one line, shared by those who wait for it

struct weir_control_tail {
    bool is_used;
    struct weir_control_request filter;
    struct weir_control_line *lines[WEIR_CONTROL_TAIL_LINES_MAX]; // a ring
    size_t first, count;
    uint64_t dropped; // since the last line that had room
};

struct weir_control_tails {
    pthread_mutex_t lock;
    atomic_size_t used; // changed under the lock
    bool is_told;       // the control thread has been woken and has not looked since
    struct weir_control_tail tails[WEIR_CONTROL_TAILS_MAX];
};

void weir_control_tails_init(struct weir_control_tails *tails);
// Nobody may tail any more.
void weir_control_tails_finish(struct weir_control_tails *tails);

// Begins one, and takes the request over. WEIR_LIMIT: there are WEIR_CONTROL_TAILS_MAX.
weir_status weir_control_tails_begin(struct weir_control_tails *tails,
                                     struct weir_control_request *request, int *ret_tail,
                                     struct weir_error *err);
void weir_control_tails_end(struct weir_control_tails *tails, int tail);

// Lines that wait for one, as many as fit into one write, in a text to be freed; NULL: none, or no
// memory, which is then tried again at the next call.
char *weir_control_tails_take(struct weir_control_tails *tails, int tail, size_t *ret_size);
// Whether there is something to take, by all of them. Forgets that the thread was woken.
void weir_control_tails_look(struct weir_control_tails *tails,
                             bool ret_is_waiting[static WEIR_CONTROL_TAILS_MAX]);

// Offers what happened. True: the control thread is to be woken.
bool weir_control_tails_offer(struct weir_control_tails *tails, const struct weir_tap_event *event);

#endif
