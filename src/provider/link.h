// SPDX-License-Identifier: Apache-2.0
//
// How the connection of a resource to its server is: what `weir status` says of it, what is logged
// when it comes and goes, and when to try again.
//
// A connection that fails is tried again for as long as it takes, each time after twice the time,
// from WEIR_LINK_BACKOFF_MS_MIN to WEIR_LINK_BACKOFF_MS_MAX, less a random half, so that a
// server that comes back does not meet all of its clients at once. It is the connection that
// resets this, not the attempt: weir_link_up is called when the server has answered.
//
// That is the connection of a resource's watches. Where nothing is watched, what is said of the
// resource is what the calls that read and write have found when they connected last.
//
// weir_link_up and weir_link_down belong to one thread; the others may be called on any.
#ifndef WEIR_PROVIDER_LINK_H
#define WEIR_PROVIDER_LINK_H

#include "observe/log.h"
#include "provider/provider.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { WEIR_LINK_BACKOFF_MS_MIN = 50, WEIR_LINK_BACKOFF_MS_MAX = 5000 };

struct weir_link {
    const char *resource; // its name; must outlive the link
    struct weir_log *log; // may be NULL
    pthread_mutex_t lock;
    struct weir_health health; // under lock; of the watches' connection
    struct weir_health calls;  // under lock
    uint32_t failures;         // since it was last connected
    unsigned short random[3];
};

void weir_link_init(struct weir_link *link, const char *resource, struct weir_log *log);
void weir_link_finish(struct weir_link *link);

// The server has answered. Logs that it is there again, where it was away.
void weir_link_up(struct weir_link *link);
// The connection could not be made, or was lost, because of `cause`. Logs the first of a row.
// Returns the moment (monotonic) at which to try again.
int64_t weir_link_down(struct weir_link *link, const struct weir_error *cause);

// A call has connected, or, where there is a cause, could not. Not logged: who calls is told.
void weir_link_called(struct weir_link *link, const struct weir_error *cause);

// For struct weir_provider's `health`: of the connection of watches, or, where nothing is watched
// and calls know something, of calls.
void weir_link_health(struct weir_link *link, bool is_watched, struct weir_health *ret_health);

#endif
