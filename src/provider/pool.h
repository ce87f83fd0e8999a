// SPDX-License-Identifier: Apache-2.0
//
// Connections that calls of many threads share: each has one for itself while it lasts. There are
// at most so many; whoever finds none free waits for one until its time is over. The one that was
// given back last is taken first, so that those that are not needed grow old, and are closed.
//
// Any thread.
#ifndef WEIR_PROVIDER_POOL_H
#define WEIR_PROVIDER_POOL_H

#include "base/error.h"
#include "provider/link.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_pool;

struct weir_pool_args {
    uint32_t connections_max;
    int64_t idle_ns; // one that was not used for so long is closed by the next call of the pool
    // Makes a connection, until the moment (monotonic). Called without a lock.
    weir_status (*open)(void *context, int64_t until_ns, void **ret_connection,
                        struct weir_error *err);
    void (*close)(void *context, void *connection);
    void *context;
    struct weir_link *link; // is told what came of `open`; must outlive the pool. NULL: nobody is
};

weir_status weir_pool_create(const struct weir_pool_args *args, struct weir_pool **ret_pool,
                             struct weir_error *err);
// Everything that was taken must have been given back. NULL is allowed.
void weir_pool_destroy(struct weir_pool *pool);

// Takes a connection that is free, or makes one. `ret_is_fresh` (may be NULL): it was made now, so
// that what fails on it does not fail because the server has closed it long ago. WEIR_UNAVAILABLE:
// none was free until the moment; and what `open` answers.
weir_status weir_pool_take(struct weir_pool *pool, int64_t until_ns, void **ret_connection,
                           bool *ret_is_fresh, struct weir_error *err);
// Gives it back; one that is not usable any more is closed.
void weir_pool_give(struct weir_pool *pool, void *connection, bool is_usable);
// Closes those that are free: the server has gone, and with it what they were.
void weir_pool_flush(struct weir_pool *pool);

#endif
