// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the topic provider: each allocation fails in turn. The call says so,
// leaves nothing behind (the sanitizer looks), and works when it is made again.
#include "unit/test.h"

#include "provider/topic/topic.h"
#include "support/sink.h"
#include "unit/failing_malloc.h"

enum { ALLOCATIONS_MAX = 100 };

static weir_status open_and_watch(struct test_sink *sinks, struct weir_resource **ret_resource,
                                  struct weir_watch *ret_watches[static 2]) {
    struct weir_topic_options options = {.watches_max = 10};
    struct weir_resource_args args = {.name = "topic", .options = &options};
    ret_watches[0] = ret_watches[1] = NULL;
    weir_status status = weir_topic_provider.open(&args, ret_resource, NULL);
    for (int i = 0; i < 2 && !status; i++) {
        struct weir_watch_args watch = {
            .pattern = weir_pattern_of(WEIR_STR("*")),
            .sink = test_sink_of(&sinks[i]),
            .event_bytes_max = i == 0 ? 1024 : 1, // one is told it without data
        };
        status = weir_topic_provider.watch(*ret_resource, &watch, &ret_watches[i], NULL);
    }
    return status;
}

static void close_all(struct weir_resource *resource, struct weir_watch *watches[static 2]) {
    weir_topic_provider.unwatch(watches[0]);
    weir_topic_provider.unwatch(watches[1]);
    weir_topic_provider.close(resource);
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    struct weir_event *event;
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("i"),
        .subject = {true, WEIR_STR("k")},
        .data = {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("data")}},
    };
    assert_int_equal(weir_event_new(&fields, WEIR_STR("cause"), &event, NULL), WEIR_OK);
    size_t failures = 0;
    bool has_failed = true;
    for (size_t number = 1; has_failed; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        struct test_sink sinks[2];
        struct weir_resource *resource = NULL;
        struct weir_watch *watches[2];
        test_sink_init(&sinks[0]);
        test_sink_init(&sinks[1]);
        failing_malloc_arm(number);
        weir_status status = open_and_watch(sinks, &resource, watches);
        bool is_open = status == WEIR_OK;
        if (is_open) {
            status = weir_topic_provider.publish(resource, event, NULL);
        }
        has_failed = failing_malloc_disarm();
        assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
        if (is_open) {
            if (status) {
                assert_int_equal(weir_topic_provider.publish(resource, event, NULL), WEIR_OK);
            }
            for (int i = 0; i < 2; i++) { // once each, whatever failed in between
                assert_int_equal(test_sink_count(&sinks[i]), 1);
                assert_int_equal(test_sink_next(&sinks[i])->fields.data.is_some, i == 0);
            }
        }
        close_all(resource, watches);
        test_sink_finish(&sinks[0]);
        test_sink_finish(&sinks[1]);
        failures += has_failed;
    }
    assert_true(failures >= 8);
    weir_event_unref(event);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
