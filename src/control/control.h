// SPDX-License-Identifier: Apache-2.0
//
// The control socket, DIR/control.sock: how `weir status`, `dlq` and `tail` talk with a weir that
// runs. A request is one line of JSON, its answer another; "tail" is answered by lines until either
// side ends it. A connection may ask again after each answer.
//
//   {"command":"status"}
//   {"command":"undead","id":7,"again":true}
//   {"command":"tail","subscription":"NAME","type":"PREFIX","key":"PREFIX","failed":true}
//
// What went wrong is {"error":"what a person reads","status":"not-found"}.
//
// Threads. One thread, weir:control, serves everybody with poll(2), and never waits for anybody who
// connects: each has a bounded time to ask and to take the answer. It does wait for the flow, which
// writes a dead letter's fate down before weir_flow_undead returns. weir_control_tap is called on
// workers; the rest on the main thread. The asking side is used by one thread at a time.
#ifndef WEIR_CONTROL_CONTROL_H
#define WEIR_CONTROL_CONTROL_H

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdint.h>

struct weir_control;
struct weir_control_link;
struct weir_flow;
struct weir_log;
struct weir_tap_event;

#define WEIR_CONTROL_SOCKET "control.sock"

enum {
    WEIR_CONTROL_CLIENTS_MAX = 64,              // connected at a time; more are told so
    WEIR_CONTROL_TAILS_MAX = 8,                 // of them, those that tail
    WEIR_CONTROL_REQUEST_BYTES_MAX = 16 * 1024, // with the line's end
    WEIR_CONTROL_REQUEST_MS = 5000,             // for a request to come
    WEIR_CONTROL_ANSWER_MS = 10 * 1000,         // for an answer to be taken
    WEIR_CONTROL_WAITING_BYTES_MAX = 16 << 20, // of answers not taken; above, nobody gets a new one
    WEIR_CONTROL_TAIL_LINES_MAX = 1024,        // that wait for one who tails; more are dropped
    WEIR_CONTROL_TAIL_LINE_BYTES_MAX = 8 * 1024, // longer ones are dropped too
    WEIR_CONTROL_LINE_BYTES_MAX = 256 << 20,     // that the asking side takes
    WEIR_CONTROL_ASK_MS = 15 * 1000, // for the asking side to connect, and for an answer
};

// ---- the side that is asked ----

struct weir_control_args {
    const char *dir;      // the state's; copied
    struct weir_log *log; // may be NULL
};

// Makes what weir_control_tap needs; nobody is served yet. WEIR_NO_MEMORY, and others of eventfd.
weir_status weir_control_create(const struct weir_control_args *args,
                                struct weir_control **ret_control, struct weir_error *err);
// Binds the socket, in place of one that a weir which is gone has left: only who holds the state's
// lock may call it. Starts the thread.
weir_status weir_control_start(struct weir_control *control, struct weir_flow *flow,
                               struct weir_error *err);
// Ends the thread and every connection, and removes the socket; the flow is not used any more, but
// may still call the tap. NULL and one that was not started are allowed.
void weir_control_stop(struct weir_control *control);
// Stops it; the flow that has the tap must be gone. NULL is allowed.
void weir_control_destroy(struct weir_control *control);

// The `tap` of a flow; `context` is the struct weir_control. Any thread, does not block: a lock is
// held for a few pointers. Does nothing but look where nobody tails.
void weir_control_tap(void *context, const struct weir_tap_event *event);

// ---- the side that asks ----

// Connects. WEIR_UNAVAILABLE: no weir runs here; WEIR_DENIED: it is somebody else's;
// WEIR_NOT_FOUND: there is no such directory.
weir_status weir_control_open(const char *dir, struct weir_control_link **ret_link,
                              struct weir_error *err);
// NULL is allowed.
void weir_control_close(struct weir_control_link *link);

// Sends a request, which it takes over, and waits for the answer, which is the caller's. NULL: no
// memory for the request. What weir answers as an error is returned as one.
weir_status weir_control_ask(struct weir_control_link *link, json_t *request, json_t **ret_answer,
                             struct weir_error *err);

// The half of that for one who waits for other things too: sends a request, which it takes over.
// The answer comes from weir_control_next; ask again after it.
weir_status weir_control_send(struct weir_control_link *link, json_t *request,
                              struct weir_error *err);
// What weir answers as an error, as one; WEIR_OK where it is none.
weir_status weir_control_error_of(const json_t *answer, struct weir_error *err);

// Becomes readable when weir_control_next has something to do.
int weir_control_fd(const struct weir_control_link *link);
// The next line, without waiting. WEIR_AGAIN: there is none yet; WEIR_STOPPED:
// weir has ended the connection.
weir_status weir_control_next(struct weir_control_link *link, json_t **ret_line,
                              struct weir_error *err);

// ---- what both sides are written with ----

// A text of anybody's as a JSON string: as it is where it is UTF-8 without a NUL (a position may be
// such bytes by chance) and not longer, else shown by weir_show, and cut. NULL without memory.
json_t *weir_control_text(struct weir_str text, size_t bytes_max);

#endif
