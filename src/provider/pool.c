// SPDX-License-Identifier: Apache-2.0
//
// See pool.h. The free ones are a stack: its bottom is the one that was idle longest.
#include "provider/pool.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSED_AT_ONCE_MAX = 8 }; // idle ones, by one call

struct idle {
    void *connection;
    int64_t since_ns;
};

struct weir_pool {
    struct weir_pool_args args;
    pthread_mutex_t lock;
    pthread_cond_t changed; // one was given back, or closed
    uint32_t open_count;    // that are taken, free, or being made
    struct idle *idle;      // connections_max places
    uint32_t idle_count;
};

weir_status weir_pool_create(const struct weir_pool_args *args, struct weir_pool **ret_pool,
                             struct weir_error *err) {
    *ret_pool = NULL;
    struct weir_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        return weir_fail_no_memory(err, "connections");
    }
    pool->args = *args;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL); // waited for by pthread_cond_clockwait
    pool->idle = calloc(args->connections_max, sizeof *pool->idle);
    if (!pool->idle) {
        weir_pool_destroy(pool);
        return weir_fail_no_memory(err, "connections");
    }
    *ret_pool = pool;
    return WEIR_OK;
}

void weir_pool_destroy(struct weir_pool *pool) {
    if (!pool) {
        return;
    }
    weir_pool_flush(pool);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->idle);
    free(pool);
}

// Under lock: takes those out that were idle too long. Returns how many are in ret_old.
static size_t take_old(struct weir_pool *pool, void *ret_old[static CLOSED_AT_ONCE_MAX]) {
    int64_t before_ns = weir_clock_coarse_ns() - pool->args.idle_ns;
    size_t count = 0;
    while (count < CLOSED_AT_ONCE_MAX && count < pool->idle_count &&
           pool->idle[count].since_ns < before_ns) {
        ret_old[count] = pool->idle[count].connection;
        count++;
    }
    pool->idle_count -= (uint32_t)count;
    pool->open_count -= (uint32_t)count;
    memmove(pool->idle, pool->idle + count, pool->idle_count * sizeof *pool->idle);
    return count;
}

// Under lock: waits until one is free or may be made.
static weir_status await_place(struct weir_pool *pool, int64_t until_ns, struct weir_error *err) {
    struct timespec until = weir_clock_timespec(until_ns == INT64_MAX ? 0 : until_ns);
    while (pool->idle_count == 0 && pool->open_count == pool->args.connections_max) {
        int code = until_ns == INT64_MAX ? pthread_cond_wait(&pool->changed, &pool->lock)
                                         : pthread_cond_clockwait(&pool->changed, &pool->lock,
                                                                  CLOCK_MONOTONIC, &until);
        if (code == ETIMEDOUT) {
            return weir_fail(err, WEIR_UNAVAILABLE,
                             "all %" PRIu32 " connections are in use; raise `connections`",
                             pool->args.connections_max);
        }
    }
    return WEIR_OK;
}

// Makes one.
static weir_status open_one(struct weir_pool *pool, int64_t until_ns, void **ret_connection,
                            struct weir_error *err) {
    struct weir_error own;
    err = err ? err : &own;
    weir_status status = pool->args.open(pool->args.context, until_ns, ret_connection, err);
    if (pool->args.link && status != WEIR_NO_MEMORY) {
        weir_link_called(pool->args.link, status == WEIR_OK ? NULL : err);
    }
    return status;
}

// A connection less.
static void let_go(struct weir_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->open_count--;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

weir_status weir_pool_take(struct weir_pool *pool, int64_t until_ns, void **ret_connection,
                           bool *ret_is_fresh, struct weir_error *err) {
    void *old[CLOSED_AT_ONCE_MAX], *free_one = NULL;
    *ret_connection = NULL;
    pthread_mutex_lock(&pool->lock);
    weir_status status = await_place(pool, until_ns, err);
    if (status == WEIR_OK && pool->idle_count > 0) {
        free_one = pool->idle[--pool->idle_count].connection;
    } else if (status == WEIR_OK) {
        pool->open_count++;
    }
    size_t old_count = take_old(pool, old);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < old_count; i++) {
        pool->args.close(pool->args.context, old[i]);
    }
    if (ret_is_fresh) {
        *ret_is_fresh = !free_one;
    }
    *ret_connection = free_one;
    if (status == WEIR_OK && !free_one) {
        status = open_one(pool, until_ns, ret_connection, err);
        if (status != WEIR_OK) {
            let_go(pool);
        }
    }
    return status;
}

void weir_pool_give(struct weir_pool *pool, void *connection, bool is_usable) {
    if (!is_usable) {
        pool->args.close(pool->args.context, connection);
        let_go(pool);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->idle[pool->idle_count++] =
        (struct idle){.connection = connection, .since_ns = weir_clock_coarse_ns()};
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

void weir_pool_flush(struct weir_pool *pool) {
    for (;;) {
        void *connection = NULL;
        pthread_mutex_lock(&pool->lock);
        if (pool->idle_count > 0) {
            connection = pool->idle[--pool->idle_count].connection;
        }
        pthread_mutex_unlock(&pool->lock);
        if (!connection) {
            return;
        }
        pool->args.close(pool->args.context, connection);
        let_go(pool);
    }
}
