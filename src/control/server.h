// SPDX-License-Identifier: Apache-2.0
//
// The asked side's own structs. Private to this room; used on the control thread but for what
// tails.h says.
#ifndef WEIR_CONTROL_SERVER_H
#define WEIR_CONTROL_SERVER_H

#include "base/str.h"
#include "control/control.h"
#include "control/place.h"
#include "control/status.h"
#include "control/tails.h"

#include <pthread.h>
#include <stdatomic.h>

// One who is connected. It asks, takes the answer, and may ask again; or it tails to its end.
struct weir_control_client {
    int fd;         // non-blocking
    int tail;       // index of its tail; -1: none
    bool is_last;   // nothing more is taken from it once the answer is out
    bool has_turn;  // it tails, and more may wait than its last batch had room for
    int64_t due_ns; // until when the request is to be there, or the answer to be taken
    size_t in_size;
    char *out; // being sent; NULL: nothing
    size_t out_size, out_done;
    char in[WEIR_CONTROL_REQUEST_BYTES_MAX];
};

struct weir_control {
    char *dir;
    struct weir_log *log;
    struct weir_flow *flow; // while the thread runs
    struct weir_control_place place;
    int listen_fd; // -1: not started
    int wake_fd;   // an eventfd: lines wait, or it is to stop
    atomic_bool is_stopping;
    bool is_started;
    pthread_t thread;
    int64_t started_ns;
    struct weir_control_tails tails;
    // Of the thread:
    struct weir_control_client *clients[WEIR_CONTROL_CLIENTS_MAX];
    size_t client_count;
    size_t tail_count;
    size_t waiting_bytes;    // of all that is being sent
    int64_t accept_again_ns; // before, nobody is accepted: there were no descriptors
    int64_t rates_due_ns;
    struct weir_control_rates rates;
};

// Takes the descriptor over. NULL: no memory, and it is closed.
struct weir_control_client *weir_control_client_create(int fd);
// Ends its tail too.
void weir_control_client_destroy(struct weir_control *control, struct weir_control_client *client);

// What poll is to look for.
short weir_control_client_events(const struct weir_control_client *client);
// Whether it has something to do without waiting: a request that came with the one before it.
bool weir_control_client_is_ready(const struct weir_control_client *client);
// Does what can be done now: at most one read, one request, one write. `has_lines`: something waits
// for its tail. False: it is over.
bool weir_control_client_step(struct weir_control *control, struct weir_control_client *client,
                              short events, bool has_lines);

// Tries once to tell why nobody is served here, as an answer.
void weir_control_refuse(int fd, weir_status status, const char *why);

#endif
