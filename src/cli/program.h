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

struct weir_access_publication;
struct weir_engine;
struct weir_guest;
struct weir_log;
struct weir_notify;
struct weir_live;
struct weir_resource;
struct weir_program;

// Starts the engine with what the configuration's guests need. `live` tells when one takes long
// to compile, and outlives the engine.
weir_status weir_program_engine(const struct weir_config *config, struct weir_live *live,
                                struct weir_engine **ret_engine, struct weir_error *err);

// What guests find around them. Must outlive them.
struct weir_program_host {
    int fd;                 // where they print
    struct weir_log *log;   // may be NULL
    struct weir_flow *flow; // by which they publish; NULL: they cannot, or it is not there yet
    struct weir_http_client *http; // by which they ask others; NULL: they cannot
    // In place of the flow, for who has none; NULL: the flow.
    weir_status (*publish)(void *context, const struct weir_access_publication *publication,
                           struct weir_error *err);
    void *publish_context;
};

// Compiles one guest of the configuration, with its grants. It reaches no resource before
// weir_program_bind.
weir_status weir_program_guest(struct weir_engine *engine, const struct weir_config *config,
                               const struct weir_guest_config *guest_config,
                               const struct weir_program_host *host, struct weir_guest **ret_guest,
                               struct weir_error *err);
// What it may reach; as long as the guest.
struct weir_access *weir_program_access(const struct weir_guest *guest);
// Tells a guest which resources there are, before it is called. They must outlive it.
weir_status weir_program_bind(struct weir_guest *guest, struct weir_resource *const *resources,
                              size_t count, struct weir_error *err);

// Opens one resource of the configuration.
weir_status weir_program_resource(const struct weir_resource_config *resource_config,
                                  struct weir_log *log, struct weir_resource **ret_resource,
                                  struct weir_error *err);

struct weir_program_args {
    const struct weir_config *config; // must outlive the program, as the log must
    struct weir_log *log;
    struct weir_live *live;           // likewise
    const struct weir_notify *notify; // likewise; NULL: nobody is told
    int output_fd;                    // where guests print
    const char *state_dir;            // copied
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
