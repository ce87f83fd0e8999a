// SPDX-License-Identifier: Apache-2.0
//
// What a thread asks of the scheduler, read back from the system.
#include "base/thread.h"
#include "unit/test.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

// As sched_getattr(2) has it.
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

static struct scheduling read_back(void) {
    struct scheduling scheduling = {0};
    REQUIRE(syscall(SYS_sched_getattr, 0, &scheduling, sizeof scheduling, 0) == 0);
    return scheduling;
}

// On a thread of its own, for what it asks for stays.
static void *be_prompt(void *argument) {
    struct scheduling *seen = argument; // before, and after
    seen[0] = read_back();
    weir_thread_be_prompt();
    seen[1] = read_back();
    return NULL;
}

static void a_prompt_thread_has_short_turns_and_nothing_else_changed(void **state) {
    (void)state;
    struct scheduling seen[2];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, be_prompt, seen), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (seen[0].runtime_ns == 0) {
        skip(); // the system knows no slices: before Linux 6.12
    }
    assert_int_equal(seen[1].runtime_ns, WEIR_THREAD_SLICE_NS);
    seen[1].runtime_ns = seen[0].runtime_ns;
    assert_memory_equal(&seen[0], &seen[1], sizeof seen[0]);
}

static void *be_batch(void *argument) {
    struct scheduling *seen = argument;
    const struct sched_param none = {0};
    seen[0] = read_back();
    REQUIRE(sched_setscheduler(0, SCHED_BATCH, &none) == 0);
    weir_thread_be_prompt();
    seen[1] = read_back();
    return NULL;
}

static void a_thread_of_another_policy_is_left_alone(void **state) {
    (void)state;
    struct scheduling seen[2];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, be_batch, seen), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(seen[1].policy, SCHED_BATCH);
    assert_int_equal(seen[1].runtime_ns, seen[0].runtime_ns);
}

static void the_cores_are_those_that_it_may_use(void **state) {
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(weir_thread_cores(), CPU_COUNT(&all));
    int first = 0;
    while (!CPU_ISSET(first, &all)) {
        first++;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(weir_thread_cores(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void *set_flag(void *argument) {
    atomic_store((atomic_bool *)argument, true);
    return NULL;
}

static void a_look_ends_with_the_flag_or_with_its_time(void **state) {
    (void)state;
    atomic_bool flag = false;
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_false(weir_thread_look(&flag, 2 * WEIR_NS_PER_MS));
    assert_true(weir_clock_monotonic_ns() - began_ns >= 2 * WEIR_NS_PER_MS);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, set_flag, &flag), 0);
    assert_true(weir_thread_look(&flag, 60 * WEIR_NS_PER_S));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(weir_thread_look(&flag, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cores_are_those_that_it_may_use),
        cmocka_unit_test(a_look_ends_with_the_flag_or_with_its_time),
        cmocka_unit_test(a_prompt_thread_has_short_turns_and_nothing_else_changed),
        cmocka_unit_test(a_thread_of_another_policy_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
