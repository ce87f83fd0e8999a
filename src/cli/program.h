// SPDX-License-Identifier: Apache-2.0
//
// The composition root: a configuration becomes a running program. Everything that weir is made of
// is created here, in the order log, engine, guests, resources, flow, and ended in the other one.
// There are no globals: who needs something is given it here.
//
// Used on the main thread.
#ifndef WEIR_CLI_PROGRAM_H
#define WEIR_CLI_PROGRAM_H

#include "base/error.h"
#include "config/config.h"

#include <stddef.h>

struct weir_engine;
struct weir_guest;
struct weir_log;
struct weir_resource;
struct weir_program;

// Starts the engine with what the configuration's guests need.
weir_status weir_program_engine(const struct weir_config *config, struct weir_engine **ret_engine,
                                struct weir_error *err);

// Where guests print. Must outlive the guests.
struct weir_program_output {
    int fd;
    struct weir_log *log; // told where nobody reads; may be NULL
};

// Compiles one guest of the configuration.
weir_status weir_program_guest(struct weir_engine *engine, const struct weir_config *config,
                               const struct weir_guest_config *guest_config,
                               const struct weir_program_output *output,
                               struct weir_guest **ret_guest, struct weir_error *err);

// Opens one resource of the configuration.
weir_status weir_program_resource(const struct weir_resource_config *resource_config,
                                  struct weir_log *log, struct weir_resource **ret_resource,
                                  struct weir_error *err);

struct weir_program_args {
    const struct weir_config *config; // must outlive the program, as the log must
    struct weir_log *log;
    int output_fd;         // where guests print
    const char *state_dir; // copied
    // Reads the configuration again, for SIGHUP; tells what is wrong with it. False: there is
    // nothing that could be run. `ret_config` is to be finished in each case. NULL: there is none
    // that could be read again.
    bool (*reread)(void *context, struct weir_config *ret_config);
    void *reread_context;
};

// Makes everything of a configuration, without running it. SIGINT, SIGTERM and SIGHUP must be
// blocked in the calling thread: threads that are made here inherit that.
weir_status weir_program_create(const struct weir_program_args *args,
                                struct weir_program **ret_program, struct weir_error *err);
void weir_program_destroy(struct weir_program *program);

// Runs it: subscriptions of the configuration, and the mains of guests with `run: true`, each on a
// thread of its own. Returns when SIGINT or SIGTERM asked for it and the grace period allowed it,
// or, where the configuration has no subscriptions, when all mains have returned. A second signal
// ends the grace period. SIGHUP has the configuration read again, see reload.c. WEIR_OTHER where a
// main failed; the log has told why.
weir_status weir_program_run(struct weir_program *program, struct weir_error *err);

#endif
