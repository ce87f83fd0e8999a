// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the tracer: each of weir's own allocations fails in turn. A tracer that
// cannot be made says so; spans that cannot be sent for want of it are counted, and later ones go.
#include "unit/test.h"

#include "trace/trace.h"
#include "unit/failing_malloc.h"

enum { ALLOCATIONS_MAX = 1000 };

static void note(struct weir_tracer *tracer, uint64_t count) {
    const struct weir_event_fields event = {.specversion = WEIR_STR("1.0"),
                                            .ty = WEIR_STR("t"),
                                            .source = WEIR_STR("/s"),
                                            .id = WEIR_STR("1")};
    const struct weir_trace_publication publication = {.event = &event, .resource = "r"};
    struct weir_span_ids ids = {0};
    for (uint64_t i = 0; i < count; i++) {
        weir_trace_publication(tracer, &ids, &publication);
    }
}

static uint64_t settled(struct weir_tracer *tracer) {
    struct weir_trace_counts counts;
    weir_tracer_counts(tracer, &counts);
    return counts.exported + counts.dropped_full + counts.dropped_refused +
           counts.dropped_unreachable;
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    // Nobody listens there: each batch is tried, and what became of it is counted at the end.
    const struct weir_tracer_args args = {.endpoint = "http://127.0.0.1:1",
                                          .token = "env:WEIR_TEST_NO_SUCH_VARIABLE",
                                          .sample = 1,
                                          .queue = 64,
                                          .batch = 8,
                                          .interval_ns = WEIR_NS_PER_MS,
                                          .timeout_ns = WEIR_NS_PER_S};
    size_t failures = 0;
    bool has_failed = true;
    for (size_t number = 1; has_failed; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        struct weir_tracer *tracer;
        failing_malloc_arm(number);
        weir_status status = weir_tracer_create(&args, &tracer, NULL);
        if (status != WEIR_OK) {
            assert_int_equal(status, WEIR_NO_MEMORY);
            assert_null(tracer);
            assert_true(failing_malloc_disarm());
            failures++;
            continue;
        }
        note(tracer, 8);
        struct weir_trace_counts counts;
        do { // until the batch is made
            weir_tracer_counts(tracer, &counts);
        } while (counts.queued > 0);
        has_failed = failing_malloc_disarm();
        failures += has_failed;
        assert_int_equal(counts.sampled, 8);
        weir_tracer_destroy(tracer);
    }
    assert_true(failures >= 6);
}

static void a_batch_without_memory_is_counted(void **state) {
    (void)state;
    const struct weir_tracer_args args = {.endpoint = "http://127.0.0.1:1",
                                          .sample = 1,
                                          .queue = 64,
                                          .batch = 8,
                                          .interval_ns = WEIR_NS_PER_MS,
                                          .timeout_ns = WEIR_NS_PER_S};
    struct weir_tracer *tracer;
    assert_int_equal(weir_tracer_create(&args, &tracer, NULL), WEIR_OK);
    failing_malloc_arm(1); // the first piece of the body
    note(tracer, 8);
    WAIT_UNTIL(settled(tracer) == 8);
    assert_true(failing_malloc_disarm());
    struct weir_trace_counts counts;
    weir_tracer_counts(tracer, &counts);
    assert_int_equal(counts.dropped_full, 8);
    weir_tracer_destroy(tracer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(a_batch_without_memory_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
