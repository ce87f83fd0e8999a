// SPDX-License-Identifier: Apache-2.0
//
// Connections that calls share.
#include "unit/test.h"

#include "provider/pool.h"

#include <pthread.h>
#include <stdatomic.h>

struct maker {
    atomic_int opened, closed;
    weir_status refusal;
};

static weir_status open_one(void *context, int64_t until_ns, void **ret_connection,
                            struct weir_error *err) {
    struct maker *maker = context;
    (void)until_ns;
    if (maker->refusal) {
        return weir_fail(err, maker->refusal, "no server");
    }
    maker->opened++;
    *ret_connection = malloc(1);
    return WEIR_OK;
}

static void close_one(void *context, void *connection) {
    struct maker *maker = context;
    maker->closed++;
    free(connection);
}

static struct weir_pool *make(struct maker *maker, uint32_t most, int64_t idle_ns) {
    struct weir_pool *pool;
    struct weir_error err;
    const struct weir_pool_args args = {.connections_max = most,
                                        .idle_ns = idle_ns,
                                        .open = open_one,
                                        .close = close_one,
                                        .context = maker};
    assert_int_equal(weir_pool_create(&args, &pool, &err), WEIR_OK);
    return pool;
}

static void a_connection_is_used_again(void **state) {
    (void)state;
    struct maker maker = {0};
    struct weir_pool *pool = make(&maker, 4, INT64_MAX / 2);
    struct weir_error err;
    void *first, *second, *again;
    bool is_fresh;
    assert_int_equal(weir_pool_take(pool, INT64_MAX, &first, &is_fresh, &err), WEIR_OK);
    assert_true(is_fresh);
    assert_int_equal(weir_pool_take(pool, INT64_MAX, &second, NULL, &err), WEIR_OK);
    weir_pool_give(pool, first, true);
    weir_pool_give(pool, second, true);
    assert_int_equal(weir_pool_take(pool, INT64_MAX, &again, &is_fresh, &err), WEIR_OK);
    assert_ptr_equal(again, second); // the last one first
    assert_false(is_fresh);
    weir_pool_give(pool, again, false);
    assert_int_equal(maker.closed, 1);
    weir_pool_flush(pool);
    assert_int_equal(maker.closed, 2);
    assert_int_equal(weir_pool_take(pool, INT64_MAX, &again, &is_fresh, &err), WEIR_OK);
    assert_true(is_fresh);
    weir_pool_give(pool, again, true);
    weir_pool_destroy(pool);
    weir_pool_destroy(NULL);
    assert_int_equal(maker.opened, 3);
    assert_int_equal(maker.closed, 3);
}

static void who_finds_none_waits_until_the_moment(void **state) {
    (void)state;
    struct maker maker = {0};
    struct weir_pool *pool = make(&maker, 1, INT64_MAX / 2);
    struct weir_error err;
    void *first, *second;
    assert_int_equal(weir_pool_take(pool, INT64_MAX, &first, NULL, &err), WEIR_OK);
    int64_t until_ns = weir_clock_monotonic_ns() + 20 * WEIR_NS_PER_MS;
    assert_int_equal(weir_pool_take(pool, until_ns, &second, NULL, &err), WEIR_UNAVAILABLE);
    assert_true(weir_clock_monotonic_ns() >= until_ns);
    assert_message_has(&err, "raise `connections`");
    assert_null(second);
    weir_pool_give(pool, first, true);
    weir_pool_destroy(pool);
}

static void one_that_cannot_be_made_takes_no_place(void **state) {
    (void)state;
    struct maker maker = {.refusal = WEIR_UNAVAILABLE};
    struct weir_pool *pool = make(&maker, 1, INT64_MAX / 2);
    struct weir_error err;
    void *one;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_pool_take(pool, 0, &one, NULL, &err), WEIR_UNAVAILABLE);
        assert_string_equal(err.message, "no server");
    }
    maker.refusal = WEIR_OK;
    assert_int_equal(weir_pool_take(pool, 0, &one, NULL, &err), WEIR_OK);
    weir_pool_give(pool, one, true);
    weir_pool_destroy(pool);
}

// What came of making one is how the resource is, also where the caller wants no error.
static void the_link_is_told(void **state) {
    (void)state;
    struct maker maker = {.refusal = WEIR_UNAVAILABLE};
    struct weir_link link;
    struct weir_health health;
    struct weir_pool *pool;
    void *one;
    weir_link_init(&link, "store", NULL);
    const struct weir_pool_args args = {.connections_max = 1,
                                        .idle_ns = INT64_MAX / 2,
                                        .open = open_one,
                                        .close = close_one,
                                        .context = &maker,
                                        .link = &link};
    assert_int_equal(weir_pool_create(&args, &pool, NULL), WEIR_OK);
    assert_int_equal(weir_pool_take(pool, 0, &one, NULL, NULL), WEIR_UNAVAILABLE);
    weir_link_health(&link, false, &health);
    assert_true(health.is_known);
    assert_false(health.is_connected);
    assert_string_equal(health.reason, "no server");
    maker.refusal = WEIR_NO_MEMORY; // that says nothing of the server
    assert_int_equal(weir_pool_take(pool, 0, &one, NULL, NULL), WEIR_NO_MEMORY);
    weir_link_health(&link, false, &health);
    assert_string_equal(health.reason, "no server");
    maker.refusal = WEIR_OK;
    assert_int_equal(weir_pool_take(pool, 0, &one, NULL, NULL), WEIR_OK);
    weir_link_health(&link, false, &health);
    assert_true(health.is_connected);
    weir_pool_give(pool, one, true);
    weir_pool_destroy(pool);
    weir_link_finish(&link);
}

static void those_that_are_not_needed_are_closed(void **state) {
    (void)state;
    struct maker maker = {0};
    struct weir_pool *pool = make(&maker, 3, 0);
    struct weir_error err;
    void *taken[3], *one;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_pool_take(pool, INT64_MAX, &taken[i], NULL, &err), WEIR_OK);
    }
    for (int i = 0; i < 3; i++) {
        weir_pool_give(pool, taken[i], true);
    }
    // Each call takes one that is free and closes the others, once the clock has moved.
    bool are_closed = false;
    for (int64_t until_ns = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS;
         !are_closed && weir_clock_monotonic_ns() < until_ns;) {
        assert_int_equal(weir_pool_take(pool, INT64_MAX, &one, NULL, &err), WEIR_OK);
        are_closed = maker.closed == 2;
        weir_pool_give(pool, one, true);
    }
    assert_true(are_closed);
    weir_pool_destroy(pool);
    assert_int_equal(maker.opened, maker.closed);
}

struct worker {
    struct weir_pool *pool;
    atomic_int *busy;
    pthread_t thread;
    bool has_failed;
};

static void *work(void *argument) {
    struct worker *worker = argument;
    for (int i = 0; i < 500; i++) {
        void *one;
        if (weir_pool_take(worker->pool, INT64_MAX, &one, NULL, NULL) != WEIR_OK) {
            worker->has_failed = true;
            return NULL;
        }
        worker->has_failed |= ++*worker->busy > 2;
        --*worker->busy;
        weir_pool_give(worker->pool, one, i % 7 != 0);
    }
    return NULL;
}

static void many_threads_share_few(void **state) {
    (void)state;
    enum { WORKERS = 6 };
    struct maker maker = {0};
    struct weir_pool *pool = make(&maker, 2, INT64_MAX / 2);
    atomic_int busy = 0;
    struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.pool = pool, .busy = &busy};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_false(workers[i].has_failed);
    }
    weir_pool_destroy(pool);
    assert_int_equal(maker.opened, maker.closed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(who_finds_none_waits_until_the_moment),
        cmocka_unit_test(one_that_cannot_be_made_takes_no_place),
        cmocka_unit_test(the_link_is_told),
        cmocka_unit_test(those_that_are_not_needed_are_closed),
        cmocka_unit_test(many_threads_share_few),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
