// SPDX-License-Identifier: Apache-2.0
//
// A sink that keeps what it is offered, and lets a test wait for it: conditions with a deadline.
#ifndef WEIR_TESTS_SUPPORT_SINK_H
#define WEIR_TESTS_SUPPORT_SINK_H

#include "provider/provider.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { TEST_SINK_EVENTS_MAX = 65536 };

struct test_sink {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct weir_event **events; // those taken, each with a reference
    size_t count, next;         // next: the first one that test_sink_next has not returned
    size_t room;                // how many more are taken; SIZE_MAX: no bound
    weir_status refusal;        // the answer while room is 0
    bool is_gated;              // offer waits
    size_t offers;              // all calls
    size_t waiting;             // calls that wait at the gate
};

void test_sink_init(struct test_sink *sink);
void test_sink_finish(struct test_sink *sink);
struct weir_sink test_sink_of(struct test_sink *sink);

// Takes so many more events, then answers `refusal`.
void test_sink_set_room(struct test_sink *sink, size_t room, weir_status refusal);
// While closed, offer waits; that is against the contract, and only for tests that need a thread to
// stand still.
void test_sink_gate(struct test_sink *sink, bool is_closed);

// Waits until something was offered so often, taken or not; fails the test after TEST_WAIT_MS.
void test_sink_await_offers(struct test_sink *sink, size_t offers);
void test_sink_await_gated(struct test_sink *sink);
// Waits until so many events were taken in all; fails the test after TEST_WAIT_MS.
void test_sink_await_count(struct test_sink *sink, size_t count);
size_t test_sink_count(struct test_sink *sink);
size_t test_sink_offers(struct test_sink *sink);

// The next event that was taken, in order. It stays the sink's. Fails the test after TEST_WAIT_MS.
const struct weir_event *test_sink_next(struct test_sink *sink);
// As test_sink_next, and returns NULL after TEST_WAIT_MS: for threads that are not the test's own.
const struct weir_event *test_sink_try_next(struct test_sink *sink);
// As test_sink_next, and fails the test if it is not a set of this key to this value.
const struct weir_event *test_sink_expect_set(struct test_sink *sink, const char *key,
                                              const char *value);
const struct weir_event *test_sink_expect_deleted(struct test_sink *sink, const char *key);
// Skips events until this one; fails the test after TEST_WAIT_MS. For sources that may tell more
// than the last state.
void test_sink_skip_to_set(struct test_sink *sink, const char *key, const char *value);

// The value of an extension attribute; an empty view where there is none.
struct weir_str test_extension(const struct weir_event *event, const char *name);
bool test_is_set(const struct weir_event *event, const char *key, const char *value);

// Fails the test with the error's message if the status is not WEIR_OK.
#define assert_ok(call)                                                                \
    do {                                                                               \
        struct weir_error *test_err = &err;                                            \
        *test_err = (struct weir_error){0};                                            \
        weir_status test_status = (call);                                              \
        if (test_status) {                                                             \
            fail_msg("%s: %s: %s", #call, weir_status_name(test_status), err.message); \
        }                                                                              \
    } while (0)

#endif
