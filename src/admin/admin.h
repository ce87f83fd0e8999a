// SPDX-License-Identifier: Apache-2.0
//
// The admin address: where weir tells by HTTP what it does.
//
//   /                        the console, a page for people
//   /metrics                 for Prometheus
//   /healthz /readyz         whether weir lives, and whether it does what it was told to
//   /api/...                 what the console is made of; docs/admin.md
//
// Nothing that flows depends on it. It is bounded in who is served, in what is read of them and
// what waits to be sent, and in time.
//
// Who may do what. On an address that only this machine can reach, and on a socket, everybody may
// look; from elsewhere, and to change something, a token is wanted. A browser is told to keep the
// pages of others out; see gate.c.
//
// Threads. One thread, weir:admin, does everything; weir_admin_tap is called on workers, the rest
// on the main thread.
#ifndef WEIR_ADMIN_ADMIN_H
#define WEIR_ADMIN_ADMIN_H

#include "base/error.h"
#include "config/config.h"

#include <stdint.h>

struct weir_admin;
struct weir_flow;
struct weir_log;
struct weir_tap_event;
struct weir_tracer;

enum {
    WEIR_ADMIN_CONNECTIONS_MAX = 128,            // further ones wait in the system's queue
    WEIR_ADMIN_CONNECTION_BYTES_MAX = 32 * 1024, // what is kept of one, its request's head included
    WEIR_ADMIN_REQUEST_MS = 10 * 1000,           // for a request to be there
    WEIR_ADMIN_IDLE_S = 20,                      // without a byte in either direction
    WEIR_ADMIN_TICK_MS = 100,                    // between two looks at what streams wait for
    WEIR_ADMIN_ANSWER_BYTES_MAX = 64 << 20, // not taken yet, of all; above, nobody gets a new one
};

struct weir_admin_args {
    const struct weir_admin_config *config; // copied
    const char *state_dir;                  // copied
    struct weir_log *log;                   // may be NULL
    struct weir_tracer *tracer;             // may be NULL; must outlive it
};

// Binds the address; nobody is served yet. WEIR_UNAVAILABLE: it is taken; WEIR_DENIED,
// WEIR_NO_MEMORY and what the system says.
weir_status weir_admin_create(const struct weir_admin_args *args, struct weir_admin **ret_admin,
                              struct weir_error *err);
// Starts the thread. `flow` must measure.
weir_status weir_admin_start(struct weir_admin *admin, struct weir_flow *flow,
                             struct weir_error *err);
// From now on /readyz says that weir is ready, or, with a reason, that it is not: "weir is
// stopping". The text is kept as it is. NULL for the admin is allowed.
void weir_admin_set_unready(struct weir_admin *admin, const char *reason);
// Ends the thread and every connection; the flow is not used any more, but may still call the tap.
// NULL and one that was not started are allowed.
void weir_admin_stop(struct weir_admin *admin);
// Stops it; the flow that has the tap must be gone. NULL is allowed.
void weir_admin_destroy(struct weir_admin *admin);

// A flow's `tap`; `context` is the struct weir_admin, or NULL. Any thread, does not block: a lock
// is held for a few pointers.
void weir_admin_tap(void *context, const struct weir_tap_event *event);

#endif
