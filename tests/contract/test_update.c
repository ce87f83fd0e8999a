// SPDX-License-Identifier: Apache-2.0
//
// The contract of `update`: a value is read, changed and written as one step. Between threads,
// between resources of one source, and between processes.
#include "contract/rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, ROUNDS = 50 };

// Adds one to a number.
static weir_status add_one(void *context, const struct weir_str *current,
                           struct weir_value *ret_value, struct weir_error *err) {
    char text[16] = "0";
    (void)context;
    if (current) {
        assert_true(current->size < sizeof text);
        memcpy(text, current->data, current->size);
        text[current->size] = '\0';
    }
    int size = asprintf(&ret_value->data, "%d", atoi(text) + 1);
    ret_value->size = size < 0 ? 0 : (size_t)size;
    return size < 0 ? weir_fail_no_memory(err, "a number") : WEIR_OK;
}

static weir_status count(const struct rig *rig, struct weir_resource *resource) {
    const struct weir_change change = {.change = add_one};
    return rig->provider->update(resource, WEIR_STR("n"), &rig_limits, &change, NULL);
}

static void a_key_that_is_not_there_is_made(void **state) {
    struct rig *rig = rig_of(state);
    assert_int_equal(count(rig, rig->resource), WEIR_OK);
    rig_check_value(rig, WEIR_STR("n"), WEIR_STR("1"));
    assert_int_equal(count(rig, rig->resource), WEIR_OK);
    rig_check_value(rig, WEIR_STR("n"), WEIR_STR("2"));
}

static weir_status refuse(void *context, const struct weir_str *current,
                          struct weir_value *ret_value, struct weir_error *err) {
    (void)ret_value;
    *(size_t *)context = current ? current->size : 0;
    return weir_fail(err, WEIR_AGAIN, "not this one");
}

static void a_change_that_fails_writes_nothing(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    size_t seen = 0;
    const struct weir_change change = {.change = refuse, .context = &seen};
    rig_set(rig, "k", "value");
    assert_int_equal(
        rig->provider->update(rig->resource, WEIR_STR("k"), &rig_limits, &change, &err),
        WEIR_AGAIN);
    assert_string_equal(err.message, "not this one");
    assert_int_equal(seen, strlen("value"));
    rig_check_value(rig, WEIR_STR("k"), WEIR_STR("value"));
    const struct weir_limits too_little = {.value_bytes_max = 2, .until_ns = INT64_MAX};
    assert_int_equal(
        rig->provider->update(rig->resource, WEIR_STR("k"), &too_little, &change, &err),
        WEIR_LIMIT);
    // And the next one is not held up by it.
    assert_int_equal(count(rig, rig->resource), WEIR_OK);
}

struct counter {
    const struct rig *rig;
    pthread_t thread;
    weir_status status;
};

static void *count_often(void *argument) {
    struct counter *counter = argument;
    for (int i = 0; counter->status == WEIR_OK && i < ROUNDS; i++) {
        counter->status = count(counter->rig, counter->rig->resource);
    }
    return NULL;
}

static void threads_lose_no_count(void **state) {
    struct rig *rig = rig_of(state);
    struct counter counters[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        counters[i] = (struct counter){.rig = rig};
        assert_int_equal(pthread_create(&counters[i].thread, NULL, count_often, &counters[i]), 0);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        pthread_join(counters[i].thread, NULL);
        assert_int_equal(counters[i].status, WEIR_OK);
    }
    rig_check_value(rig, WEIR_STR("n"), WEIR_STR("200"));
}

static void processes_lose_no_count(void **state) {
    struct rig *rig = rig_of(state);
    pid_t children[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            // Connections are not shared with a child: each process has a resource of its own.
            struct rig own = *rig;
            own.resource = rig_open(rig, "store");
            struct counter counter = {.rig = &own};
            count_often(&counter);
            rig->provider->close(own.resource);
            _exit(counter.status == WEIR_OK ? 0 : 1);
        }
    }
    for (size_t i = 0; i < WORKERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    rig_check_value(rig, WEIR_STR("n"), WEIR_STR("200"));
}

// Sets beside updates: each update sees a whole value, and none is put in place of a newer one.
static void *set_often(void *argument) {
    struct counter *counter = argument;
    for (int i = 0; counter->status == WEIR_OK && i < ROUNDS; i++) {
        counter->status = counter->rig->provider->set(counter->rig->resource, WEIR_STR("n"),
                                                      WEIR_STR("1000"), &rig_limits, NULL);
    }
    return NULL;
}

static void a_set_does_not_come_between(void **state) {
    struct rig *rig = rig_of(state);
    struct counter setter = {.rig = rig}, counter = {.rig = rig};
    rig_set(rig, "n", "1000");
    assert_int_equal(pthread_create(&setter.thread, NULL, set_often, &setter), 0);
    assert_int_equal(pthread_create(&counter.thread, NULL, count_often, &counter), 0);
    pthread_join(setter.thread, NULL);
    pthread_join(counter.thread, NULL);
    assert_int_equal(setter.status, WEIR_OK);
    assert_int_equal(counter.status, WEIR_OK);
    struct weir_value got;
    assert_int_equal(rig->provider->get(rig->resource, WEIR_STR("n"), &rig_limits, &got, NULL),
                     WEIR_OK);
    assert_true(got.size == 4 && memcmp(got.data, "10", 2) == 0);
    free(got.data);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        RIG_CASE(a_key_that_is_not_there_is_made), RIG_CASE(a_change_that_fails_writes_nothing),
        RIG_CASE(threads_lose_no_count),           RIG_CASE(processes_lose_no_count),
        RIG_CASE(a_set_does_not_come_between),
    };
    return rig_run(
        "updates",
        (struct rig_needs){.capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_UPDATE}, cases,
        COUNT_OF(cases));
}
