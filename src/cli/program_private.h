// SPDX-License-Identifier: Apache-2.0
//
// What program.c and reload.c share. Used on the main thread.
#ifndef WEIR_CLI_PROGRAM_PRIVATE_H
#define WEIR_CLI_PROGRAM_PRIVATE_H

#include "cli/program.h"
#include "flow/flow.h"
#include "guest/guest.h"

#include <pthread.h>
#include <stdatomic.h>

struct weir_admin;
struct weir_control;
struct weir_session;
struct weir_set;
struct weir_state;
struct weir_subscription;
struct weir_tracer;

// One exec that weir itself starts: a guest's main, or the configuration's subscriptions.
struct weir_runner {
    struct weir_program *program;
    char *name;
    pthread_t thread;
    bool is_started, is_over; // is_over: set by the main thread when it has joined
    atomic_bool has_ended;    // set by the thread itself
    // A main:
    struct weir_guest *guest; // a reference; NULL: the subscriptions
    struct weir_session *session;
    struct weir_call call;
    weir_status status;
};

// The parts of a configuration that are alive, each as many and in the order of its lists.
struct weir_parts {
    const struct weir_config *config;
    struct weir_guest **guests;       // each with a reference
    struct weir_resource **resources; // NULL: not opened
};

struct weir_program {
    struct weir_program_args args;
    struct weir_log *log;
    struct weir_program_host host;
    struct weir_engine *engine;
    struct weir_parts parts;
    struct weir_config *reread;     // owned; what parts.config is after a SIGHUP; NULL before
    struct weir_resource **retired; // owned: no configuration names them any more
    size_t retired_count;
    struct weir_state *state;
    struct weir_control *control;
    struct weir_tracer *tracer; // NULL: there are no traces
    struct weir_admin *admin;   // NULL: none is configured
    struct weir_flow *flow;
    struct weir_set *subscriptions; // of the configuration
    struct weir_runner *runners;
    size_t runner_count;
    int ended_fd;         // an eventfd that runners write to when they have ended
    int64_t alive_due_ns; // when the service manager is to be told that weir is alive
    bool was_stuck;       // the last time it was looked
    struct weir_flow_pulse pulse;
};

// Makes the lists, empty.
weir_status weir_parts_init(struct weir_parts *parts, const struct weir_config *config,
                            struct weir_error *err);
// Gives back the guests and frees the lists. Resources are left alone.
void weir_parts_finish(struct weir_parts *parts);

struct weir_guest *weir_parts_guest(const struct weir_parts *parts, const char *name);
struct weir_resource *weir_parts_resource(const struct weir_parts *parts, const char *name);

// Makes one subscription of the parts' configuration, in no set yet. *ret_handler: of its guest.
weir_status weir_program_subscribe(struct weir_program *program, const struct weir_parts *parts,
                                   const struct weir_subscription_config *config,
                                   struct weir_subscription **ret_subscription,
                                   uint32_t *ret_handler, struct weir_error *err);

// Tells the flow what the parts have, for those who look.
weir_status weir_program_tell_flow(struct weir_program *program, const struct weir_parts *parts,
                                   struct weir_error *err);
// Tells the service manager that weir is alive, where it is and that is due. For what keeps the
// main thread for long.
void weir_program_tell_alive(struct weir_program *program);

// Reads the configuration again, and changes what has changed; a mistake leaves all as it was.
void weir_program_reload(struct weir_program *program);

#endif
