// SPDX-License-Identifier: Apache-2.0
//
// The whole way of an event, again and again, with each allocation on it failing once in turn:
// everything is made, events come, one of them fails first and derives an event then, everything
// ends. What answered that there is no memory is asked again; nothing crashes, leaks, hangs or is
// lost.
#include "access/access.h"
#include "flow/flow_private.h"
#include "unit/failing_malloc.h"
#include "unit/flow/stage.h"
#include "unit/test.h"

#include <unistd.h>

// Asks, and where memory has run out, which it does once, asks again.
#define ASK(call)                                       \
    do {                                                \
        weir_status ask_ = (call);                      \
        if (ask_ != WEIR_OK) {                          \
            assert_int_equal(ask_, WEIR_NO_MEMORY);     \
            assert_true(failing_malloc_has_failed());   \
            assert_message_has(&err, "no memory for "); \
            ask_ = (call);                              \
        }                                               \
        if (ask_ != WEIR_OK) {                          \
            fail_msg("%s: %s", #call, err.message);     \
        }                                               \
    } while (0)

enum { EVENTS = 3 };

// Returns whether an allocation has failed: false where there are not so many.
static bool the_way_of_events(size_t number, struct weir_str wasm, struct record *record) {
    struct weir_error err = {.message = ""};
    struct fake_source source;
    fake_source_init(&source, "store");
    record->count = 0;
    struct weir_guest_args args = small_guest_args("hello");
    args.output = (struct weir_guest_output){stage_record_line, record};
    const struct weir_engine_config engine_config = {
        .stack_bytes = 512 * 1024, .memory_bytes_max = 8 * 1024 * 1024, .instances_max = 4};
    const struct weir_flow_config flow_config = {.workers = 1,
                                                 .grace_ns = 20 * WEIR_NS_PER_S,
                                                 .queue_bytes = 1024 * 1024,
                                                 .stack_bytes = 512 * 1024};

    struct weir_grant granted[] = {{.resource = (char[]){"store"}, .verbs = WEIR_VERBS_ALL}};
    const struct weir_guest_config guest_config = {
        .name = (char[]){"hello"}, .grants = granted, .grant_count = 1};
    const struct weir_access_args access_args = {.guest = &guest_config};

    failing_malloc_arm(number);
    struct weir_engine *engine;
    struct weir_guest *guest;
    struct weir_flow *flow;
    struct weir_session *session;
    ASK(weir_engine_create(&engine_config, &engine, &err));
    ASK(weir_guest_compile(engine, &args, wasm, &guest, &err));
    ASK(weir_flow_create(&flow_config, &flow, &err));
    struct weir_resource *resources[] = {&source.base};
    struct weir_access *access;
    ASK(weir_access_create(&access_args, &access, &err));
    ASK(weir_access_bind(access, resources, 1, &err));
    const struct weir_session_args session_args = {
        .flow = flow,
        .guest = guest,
        .guest_name = "hello",
        .access = access,
        .watches_max = 4,
        .event_bytes_max = 1024,
        .retry = {.attempts = 4, .backoff_ns = 1, .backoff_max_ns = 1},
        .queue = {.events = 2, .bytes = 64 * 1024},
    };
    ASK(weir_session_create(&session_args, &session, &err));
    ASK(weir_session_host.open(session, WEIR_STR("store"), &err));
    ASK(weir_session_host.watch(session, WEIR_STR("store"), WEIR_STR("*"), &err));
    void *set;
    ASK(weir_session_host.set_new(session, &set, &err));
    ASK(weir_session_host.set_listen(session, set, WEIR_STR("store"), WEIR_STR("*"), 0, &err));
    struct weir_subscription *subscription = ((struct weir_set *)set)->subscriptions;
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    // More than the queue takes at once; offered again where there was no memory for it.
    assert_int_equal(fake_source_produce(&source, "a", "a", "s"), WEIR_OK);
    assert_int_equal(fake_source_produce(&source, "b", "b", "F"), WEIR_OK);
    assert_int_equal(fake_source_produce(&source, "a", "a2", ""), WEIR_OK);
    WAIT_UNTIL(stage_counts(subscription).handled == EVENTS);
    bool has_failed = failing_malloc_disarm();

    weir_flow_stop(flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    struct weir_subscription_counts counts = stage_counts(subscription);
    assert_int_equal(counts.received, EVENTS);
    assert_int_equal(counts.handled, EVENTS);
    assert_int_equal(counts.dead + counts.queued + counts.queued_bytes + counts.in_flight, 0);
    // "b" fails once, and so does a call that finds no memory, which may be b's first.
    assert_in_range(counts.failed, 1, 2);
    assert_in_range(record_count(record), EVENTS, EVENTS + 2);
    weir_session_host.set_unref(session, set);
    weir_session_destroy(session);
    weir_access_unref(access);
    weir_flow_destroy(flow);
    weir_guest_unref(guest);
    weir_engine_destroy(engine);
    fake_source_finish(&source);
    return has_failed;
}

static void each_allocation_on_the_way_of_an_event_may_fail(void **state) {
    (void)state;
    small_guest_engine();
    struct weir_str wasm = small_guest_bytes();
    static struct record record = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                   .changed = PTHREAD_COND_INITIALIZER};
    size_t number = 1;
    while (the_way_of_events(number, wasm, &record)) {
        number++;
    }
    print_message("# %zu allocations failed in turn\n", number - 1);
    assert_true(number > 30);
    free((char *)(uintptr_t)wasm.data);
}

static void a_guest_in_a_file_is_loaded_without_memory_later(void **state) {
    (void)state;
    char path[] = "/tmp/weir-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct weir_str wasm = small_guest_bytes();
    assert_int_equal(write(fd, wasm.data, wasm.size), (ssize_t)wasm.size);
    close(fd);
    free((char *)(uintptr_t)wasm.data);
    struct weir_engine *engine = small_guest_engine();
    struct weir_guest_args args = small_guest_args("hello");
    args.instances = WEIR_INSTANCES_REUSED;
    bool has_failed = true;
    for (size_t number = 1; has_failed; number++) {
        struct weir_error err = {.message = ""};
        struct weir_guest *guest = NULL;
        failing_malloc_arm(number);
        weir_status status = weir_guest_load(engine, &args, path, &guest, &err);
        has_failed = failing_malloc_disarm();
        assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
        assert_true(has_failed == !guest);
        weir_guest_unref(guest);
    }
    unlink(path);
}

int main(void) {
    small_guest_engine();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_on_the_way_of_an_event_may_fail),
        cmocka_unit_test(a_guest_in_a_file_is_loaded_without_memory_later),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
