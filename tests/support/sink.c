// SPDX-License-Identifier: Apache-2.0
//
// See sink.h. offer is called on the resource's thread, everything else on the test's.
#include "support/sink.h"

#include "base/clock.h"
#include "unit/test.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void test_sink_init(struct test_sink *sink) {
    *sink = (struct test_sink){.room = SIZE_MAX, .refusal = WEIR_AGAIN};
    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->changed, NULL);
    sink->events = calloc(TEST_SINK_EVENTS_MAX, sizeof(struct weir_event *));
    assert_non_null(sink->events);
}

void test_sink_finish(struct test_sink *sink) {
    for (size_t i = 0; i < sink->count; i++) {
        weir_event_unref(sink->events[i]);
    }
    free(sink->events);
    pthread_cond_destroy(&sink->changed);
    pthread_mutex_destroy(&sink->lock);
}

static weir_status offer(void *context, struct weir_event *event) {
    struct test_sink *sink = context;
    weir_status status = WEIR_OK;
    pthread_mutex_lock(&sink->lock);
    sink->offers++;
    sink->waiting++;
    pthread_cond_broadcast(&sink->changed);
    while (sink->is_gated) {
        pthread_cond_wait(&sink->changed, &sink->lock);
    }
    sink->waiting--;
    if (sink->room == 0) {
        status = sink->refusal;
    } else if (sink->count < TEST_SINK_EVENTS_MAX) {
        sink->events[sink->count++] = weir_event_ref(event);
        sink->room -= sink->room != SIZE_MAX;
    }
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
    return status;
}

struct weir_sink test_sink_of(struct test_sink *sink) {
    return (struct weir_sink){.offer = offer, .context = sink};
}

void test_sink_set_room(struct test_sink *sink, size_t room, weir_status refusal) {
    pthread_mutex_lock(&sink->lock);
    sink->room = room;
    sink->refusal = refusal;
    pthread_mutex_unlock(&sink->lock);
}

void test_sink_gate(struct test_sink *sink, bool is_closed) {
    pthread_mutex_lock(&sink->lock);
    sink->is_gated = is_closed;
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

// Waits until *counter >= wanted. Called and returns with the lock held.
static bool await(struct test_sink *sink, const size_t *counter, size_t wanted) {
    struct timespec deadline =
        weir_clock_timespec(weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS);
    int code = 0;
    while (*counter < wanted && code != ETIMEDOUT) {
        code = pthread_cond_clockwait(&sink->changed, &sink->lock, CLOCK_MONOTONIC, &deadline);
    }
    return *counter >= wanted;
}

static void await_or_fail(struct test_sink *sink, const size_t *counter, size_t wanted,
                          const char *what) {
    pthread_mutex_lock(&sink->lock);
    bool is_reached = await(sink, counter, wanted);
    size_t reached = *counter;
    pthread_mutex_unlock(&sink->lock);
    if (!is_reached) {
        fail_msg("%zu %s within %d ms, %zu were to come", reached, what, TEST_WAIT_MS, wanted);
    }
}

void test_sink_await_offers(struct test_sink *sink, size_t offers) {
    await_or_fail(sink, &sink->offers, offers, "offers");
}

void test_sink_await_gated(struct test_sink *sink) {
    await_or_fail(sink, &sink->waiting, 1, "offers at the gate");
}

void test_sink_await_count(struct test_sink *sink, size_t count) {
    await_or_fail(sink, &sink->count, count, "events");
}

static size_t read_counter(struct test_sink *sink, const size_t *counter) {
    pthread_mutex_lock(&sink->lock);
    size_t value = *counter;
    pthread_mutex_unlock(&sink->lock);
    return value;
}

size_t test_sink_count(struct test_sink *sink) {
    return read_counter(sink, &sink->count);
}

size_t test_sink_offers(struct test_sink *sink) {
    return read_counter(sink, &sink->offers);
}

const struct weir_event *test_sink_try_next(struct test_sink *sink) {
    pthread_mutex_lock(&sink->lock);
    bool has_next = await(sink, &sink->count, sink->next + 1);
    const struct weir_event *event = has_next ? sink->events[sink->next++] : NULL;
    pthread_mutex_unlock(&sink->lock);
    return event;
}

const struct weir_event *test_sink_next(struct test_sink *sink) {
    const struct weir_event *event = test_sink_try_next(sink);
    if (!event) {
        fail_msg("no event within %d ms, behind the %zu that came", TEST_WAIT_MS, sink->next);
    }
    return event;
}

bool test_is_set(const struct weir_event *event, const char *key, const char *value) {
    return weir_str_equal(event->key, weir_str_of(key)) &&
           weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_SET)) &&
           event->fields.data.is_some &&
           weir_str_equal(event->fields.data.value.bytes, weir_str_of(value));
}

static void fail_event(const struct weir_event *event, const char *wanted, const char *key,
                       const char *value) {
    struct weir_str data =
        event->fields.data.is_some ? event->fields.data.value.bytes : WEIR_STR("(none)");
    fail_msg("wanted: %s \"%s\" %s; came: %.*s \"%.*s\" %.*s", wanted, key, value,
             WEIR_STR_ARG(event->fields.ty), WEIR_STR_ARG(event->key),
             data.size > 80 ? 80 : (int)data.size, data.data);
}

const struct weir_event *test_sink_expect_set(struct test_sink *sink, const char *key,
                                              const char *value) {
    const struct weir_event *event = test_sink_next(sink);
    if (!test_is_set(event, key, value)) {
        fail_event(event, "set", key, value);
    }
    return event;
}

const struct weir_event *test_sink_expect_deleted(struct test_sink *sink, const char *key) {
    const struct weir_event *event = test_sink_next(sink);
    if (!weir_str_equal(event->key, weir_str_of(key)) ||
        !weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED)) ||
        event->fields.data.is_some) {
        fail_event(event, "deleted", key, "");
    }
    return event;
}

void test_sink_skip_to_set(struct test_sink *sink, const char *key, const char *value) {
    while (!test_is_set(test_sink_next(sink), key, value)) {
    }
}

struct weir_str test_extension(const struct weir_event *event, const char *name) {
    const struct weir_attributes *extensions = &event->fields.extensions;
    for (size_t i = 0; i < extensions->count; i++) {
        if (weir_str_equal(extensions->items[i].name, weir_str_of(name))) {
            return extensions->items[i].value;
        }
    }
    return (struct weir_str){0};
}
