// SPDX-License-Identifier: Apache-2.0
//
// An event that a handler sent, with traces and without: what changes is `traceparent` and
// `tracestate`, and nothing else.
#include "unit/test.h"

#include "flow/flow_private.h"

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define THEIRS "00-11111111111111111111111111111111-2222222222222222-01"
#define STATE  "vendor=value"

// The handler of subscription "s" is called with an event that has these extensions.
struct rig {
    struct weir_flow flow;
    struct weir_trace_call trace;
    struct weir_event *cause;
    struct weir_cause call;
};

static void rig_init(struct rig *rig, const struct weir_attribute *extensions, size_t count,
                     bool has_traces) {
    const struct weir_event_fields fields = {.specversion = WEIR_STR("1.0"),
                                             .ty = WEIR_STR("t"),
                                             .source = WEIR_STR("/source"),
                                             .id = WEIR_STR("1"),
                                             .extensions = {extensions, count}};
    *rig = (struct rig){.flow.config.hops_max = 16};
    assert_int_equal(weir_event_new(&fields, WEIR_STR("key"), &rig->cause, NULL), WEIR_OK);
    if (has_traces) {
        rig->trace.tracer = (struct weir_tracer *)1; // which an event with a traceparent asks not
        weir_trace_call_begin(&rig->trace, &rig->cause->fields, 0);
    }
    rig->call = (struct weir_cause){.subscription = "s",
                                    .resource = "r",
                                    .event = rig->cause,
                                    .trace = has_traces ? &rig->trace : NULL};
}

static struct weir_event *send(struct rig *rig, const struct weir_attribute *extensions,
                               size_t count) {
    const struct weir_event_fields given = {.ty = WEIR_STR("sent"),
                                            .source = WEIR_STR("/guest"),
                                            .id = WEIR_STR("x"),
                                            .extensions = {extensions, count}};
    const struct weir_send_args args = {
        .guest = "g", .event = &given, .cause = &rig->call, .ordinal = 1};
    struct weir_event *event;
    assert_int_equal(weir_derive_sent(&rig->flow, &args, &event, NULL), WEIR_OK);
    return event;
}

static struct weir_str extension(const struct weir_event *event, const char *name) {
    return weir_event_extension(&event->fields, name);
}

static const struct weir_attribute traced[] = {{WEIR_STR("traceparent"), WEIR_STR(PARENT)},
                                               {WEIR_STR("tracestate"), WEIR_STR(STATE)}};
static const struct weir_attribute own[] = {{WEIR_STR("traceparent"), WEIR_STR(THEIRS)},
                                            {WEIR_STR("tracestate"), WEIR_STR("guest=own")},
                                            {WEIR_STR("other"), WEIR_STR("kept")}};

static void without_traces_the_guests_own_stays(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, traced, COUNT_OF(traced), false);
    struct weir_event *event = send(&rig, own, COUNT_OF(own));
    assert_str_equal(extension(event, "traceparent"), THEIRS);
    assert_str_equal(extension(event, "tracestate"), "guest=own");
    weir_event_unref(event);
    event = send(&rig, NULL, 0);
    assert_int_equal(extension(event, "traceparent").size, 0);
    weir_event_unref(event);
    weir_event_unref(rig.cause);
}

static void with_traces_the_calls_goes_on(void **state) {
    (void)state;
    struct rig rig;
    struct weir_trace_context context;
    rig_init(&rig, traced, COUNT_OF(traced), true);
    struct weir_event *event = send(&rig, own, COUNT_OF(own));
    assert_true(weir_traceparent_read(extension(event, "traceparent"), &context));
    assert_true(context.trace.high == rig.trace.own.trace.high);
    assert_true(context.trace.low == rig.trace.own.trace.low);
    assert_true(context.span == rig.trace.own.span);
    assert_true(context.span != UINT64_C(0xb7ad6b7169203331));
    assert_str_equal(extension(event, "tracestate"), STATE);
    assert_str_equal(extension(event, "other"), "kept");
    assert_int_equal(event->fields.extensions.count, 6); // and the chain's three
    weir_event_unref(event);
    weir_event_unref(rig.cause);
}

static void the_id_is_the_same_with_traces_and_without(void **state) {
    (void)state;
    struct rig with, without;
    rig_init(&with, traced, COUNT_OF(traced), true);
    rig_init(&without, NULL, 0, false);
    struct weir_event *one = send(&with, own, COUNT_OF(own)), *other = send(&without, NULL, 0);
    assert_true(weir_str_equal(one->fields.id, other->fields.id));
    assert_true(weir_str_equal(one->fields.source, other->fields.source));
    assert_true(weir_str_equal(extension(one, "hops"), extension(other, "hops")));
    weir_event_unref(one);
    weir_event_unref(other);
    weir_event_unref(with.cause);
    weir_event_unref(without.cause);
}

static void a_malformed_tracestate_does_not_go_on(void **state) {
    (void)state;
    static const struct weir_attribute malformed[] = {{WEIR_STR("traceparent"), WEIR_STR(PARENT)},
                                                      {WEIR_STR("tracestate"), WEIR_STR("no")}};
    struct rig rig;
    rig_init(&rig, malformed, COUNT_OF(malformed), true);
    struct weir_event *event = send(&rig, own, COUNT_OF(own));
    assert_true(extension(event, "traceparent").size > 0);
    assert_int_equal(extension(event, "tracestate").size, 0);
    weir_event_unref(event);
    weir_event_unref(rig.cause);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_traces_the_guests_own_stays),
        cmocka_unit_test(with_traces_the_calls_goes_on),
        cmocka_unit_test(the_id_is_the_same_with_traces_and_without),
        cmocka_unit_test(a_malformed_tracestate_does_not_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
