// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share. Everything is of the admin thread, but for what recent.h says.
// Only answer.c, gate.c and admin.c know of libmicrohttpd.
#ifndef WEIR_ADMIN_SERVER_H
#define WEIR_ADMIN_SERVER_H

#include "admin/admin.h"
#include "admin/history.h"
#include "admin/recent.h"
#include "base/str.h"
#include "base/text.h"
#include "control/control.h"
#include "flow/flow.h"

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

// One connection, from its beginning to its end.
struct weir_admin_connection {
    int fd;
    int64_t due_ns;      // until when its request is to be there, or its answer to be taken
    size_t answer_bytes; // that are kept for it, counted in weir_admin.answer_bytes
    struct weir_admin_connection *prev, *next;
};

// A live tail that is being sent.
struct weir_admin_stream {
    struct MHD_Connection *connection;
    struct weir_admin *admin;
    int tail; // of recent.h
    bool is_suspended;
    struct weir_text waiting; // lines that the connection has not taken yet, from `sent` on
    size_t sent;
    int64_t quiet_since_ns; // when something was last put into it
    struct weir_admin_stream *prev, *next;
};

struct weir_admin {
    struct weir_admin_config config; // its texts are owned
    char *state_dir;
    struct weir_log *log;
    struct weir_tracer *tracer;
    struct weir_flow *flow; // while the thread runs
    bool is_open;           // reading wants no token
    int listen_fd;          // -1: it was not bound, or is the daemon's
    bool is_bound;          // config.socket is there, and ours
    struct MHD_Daemon *daemon;
    pthread_t thread;
    bool is_started;
    atomic_bool is_stopping;
    _Atomic(const char *) unready; // why weir as a whole is not ready; NULL: it is
    int64_t started_ns, started_wall_ns;
    struct weir_admin_recent recent;
    // Of the thread:
    struct weir_admin_connection *connections;
    size_t answer_bytes; // of all answers that are being taken
    struct weir_admin_stream *streams;
    struct weir_admin_history history;
    struct weir_flow_pulse pulse;
    int64_t letters_looked_ns; // when `letters` was counted; 0: never
    uint64_t letters;
};

// ---- a request and its answer ----

struct weir_admin_request {
    struct MHD_Connection *connection;
    const char *path;
    bool may_change; // it has the right token
};

// The value of an argument, as "NAME" in "?NAME=VALUE"; NULL: there is none.
const char *weir_admin_argument(const struct weir_admin_request *request, const char *name);

// What is answered. Zeroed: 200, without anything.
struct weir_admin_answer {
    unsigned status; // of HTTP; 0: 200
    const char *type;
    struct weir_text text;            // owned; or
    struct weir_str constant;         // what is never freed
    struct weir_admin_stream *stream; // a live tail, which has been made for this
};

// {"error":...,"status":...} with the fitting status of HTTP.
void weir_admin_fail(struct weir_admin_answer *answer, const struct weir_error *err);
// Takes the JSON over; NULL: no memory for it.
void weir_admin_json(struct weir_admin_answer *answer, json_t *json);
// Sends it, and finishes it. *ret_bytes: that are kept until it is taken.
enum MHD_Result weir_admin_send(struct MHD_Connection *connection, struct weir_admin_answer *answer,
                                size_t *ret_bytes);

// ---- who is let in (gate.c) ----

// Fills request->may_change. False: it is refused, by the answer.
bool weir_admin_let_in(struct weir_admin *admin, struct weir_admin_request *request,
                       bool is_for_all, bool is_change, struct weir_admin_answer *answer);

// ---- what is told, one function a path ----

// `rest`: what stands behind the route's path.
typedef void weir_admin_handler(struct weir_admin *admin, const struct weir_admin_request *request,
                                const char *rest, struct weir_admin_answer *answer);

weir_admin_handler weir_admin_metrics;       // metrics.c
weir_admin_handler weir_admin_healthz;       // health.c
weir_admin_handler weir_admin_readyz;        // health.c
weir_admin_handler weir_admin_status;        // look.c
weir_admin_handler weir_admin_history_of;    // look.c
weir_admin_handler weir_admin_histograms;    // look.c
weir_admin_handler weir_admin_letters;       // letters.c
weir_admin_handler weir_admin_letter_change; // letters.c
weir_admin_handler weir_admin_tail;          // stream.c
weir_admin_handler weir_admin_story;         // story.c
weir_admin_handler weir_admin_file;          // console.c

// Subscriptions that metrics tell of.
enum { WEIR_METRICS_SUBSCRIPTIONS_MAX = 2000 };

// How many dead letters there are, as of a few seconds ago, at most WEIR_ADMIN_LETTERS_COUNTED_MAX;
// false: they cannot be counted.
enum { WEIR_ADMIN_LETTERS_COUNTED_MAX = 10000 };
bool weir_admin_letters_count(struct weir_admin *admin, uint64_t *ret_count);

// ---- live tails (stream.c) ----

// Puts what has come since into each of them. Every WEIR_ADMIN_TICK_MS.
void weir_admin_streams_tick(struct weir_admin *admin);
// The callbacks of a response that is a stream.
ssize_t weir_admin_stream_read(void *context, uint64_t position, char *buffer, size_t max);
void weir_admin_stream_end(void *context);
// Has all of them go on, so that they end.
void weir_admin_streams_wake(struct weir_admin *admin);

#endif
