// SPDX-License-Identifier: Apache-2.0
//
// What a guest's main may do, asked as its imports ask it.
#include "access/access.h"
#include "flow/flow.h"
#include "unit/flow/stage.h"
#include "unit/test.h"

#define HOST weir_session_host

struct cast {
    struct stage *stage;
    struct fake_source secret, dim;
    struct weir_access *access;
    struct weir_session *session;
};

static void begin(struct cast *cast, uint64_t watches_max) {
    struct weir_grant granted[] = {
        {.resource = (char[]){"store"}, .verbs = WEIR_VERBS_ALL},
        {.resource = (char[]){"dim"}, .verbs = WEIR_VERBS_READ, .keys = (char[]){"a/*"}}};
    const struct weir_guest_config config = {
        .name = (char[]){"hello"}, .grants = granted, .grant_count = COUNT_OF(granted)};
    const struct weir_access_args access_args = {.guest = &config};
    *cast = (struct cast){.stage = stage_new(NULL)};
    fake_source_init(&cast->secret, "secret");
    fake_source_init(&cast->dim, "dim");
    struct weir_resource *resources[] = {&cast->stage->source.base, // "store"
                                         &cast->secret.base, &cast->dim.base};
    assert_int_equal(weir_access_create(&access_args, &cast->access, NULL), WEIR_OK);
    assert_int_equal(weir_access_bind(cast->access, resources, COUNT_OF(resources), NULL), WEIR_OK);
    const struct weir_session_args args = {
        .flow = cast->stage->flow,
        .guest = cast->stage->guest,
        .guest_name = "hello",
        .access = cast->access,
        .watches_max = watches_max,
        .event_bytes_max = 1024,
        .retry = stage_retry(),
        .queue = stage_queue(),
    };
    assert_int_equal(weir_session_create(&args, &cast->session, NULL), WEIR_OK);
}

static void end(struct cast *cast) {
    weir_session_destroy(cast->session);
    weir_access_unref(cast->access);
    fake_source_finish(&cast->secret);
    fake_source_finish(&cast->dim);
    stage_free(cast->stage);
}

static void resources_are_opened_by_grant(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("secret"), &err), WEIR_DENIED);
    assert_message_has(
        &err, "guest hello has no grant for resource secret; it has grants for: store, dim");
    assert_int_equal(HOST.open(cast.session, WEIR_STR("stor"), &err), WEIR_NOT_FOUND);
    assert_message_has(&err, "\"stor\"");
    assert_message_has(&err, "store");
    assert_int_equal(HOST.open(cast.session, (struct weir_str){0}, &err), WEIR_NOT_FOUND);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("a\0\033[2J"), &err), WEIR_NOT_FOUND);
    assert_null(strchr(err.message, '\033')); // what a guest says does not steer a terminal
    end(&cast);
}

static void only_what_was_opened_is_watched(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("*"), &err),
                     WEIR_INVALID);
    assert_message_has(&err, "open the resource first");
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("secret"), WEIR_STR("*"), &err),
                     WEIR_DENIED);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("nowhere"), WEIR_STR("*"), &err),
                     WEIR_NOT_FOUND);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("*"), &err), WEIR_OK);
    cast.stage->source.watch_answer = WEIR_UNSUPPORTED; // what the provider says reaches the guest
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("x"), &err),
                     WEIR_UNSUPPORTED);
    assert_message_has(&err, "told to refuse");
    assert_int_equal(cast.secret.begun, 0);
    end(&cast);
    assert_int_equal(cast.secret.begun, 0);
}

static void watches_have_a_bound(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 2);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("a"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("b"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("c"), &err), WEIR_LIMIT);
    assert_message_has(&err, "bounds.watches");
    void *set;
    assert_int_equal(HOST.set_new(cast.session, &set, &err), WEIR_OK);
    // A listen that takes a watch over needs none of its own.
    assert_int_equal(HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a"), 0, &err),
                     WEIR_OK);
    assert_int_equal(HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a"), 0, &err),
                     WEIR_LIMIT);
    HOST.set_unref(cast.session, set);
    end(&cast);
}

static void a_listen_takes_over_what_was_captured_since_watch(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    struct fake_source *source = &cast.stage->source;
    struct record *record = &cast.stage->record;
    void *set;
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("a*"), &err), WEIR_OK);
    assert_int_equal(fake_source_offer(source, "a1", "between", ""), WEIR_OK);
    assert_int_equal(HOST.set_new(cast.session, &set, &err), WEIR_OK);
    assert_int_equal(HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a*"), 0, &err),
                     WEIR_OK);
    assert_int_equal(source->begun, 1);
    // A second listen with the same observable captures from now on, for its own handler.
    assert_int_equal(HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a*"), 1, &err),
                     WEIR_OK);
    assert_int_equal(source->begun, 2);
    assert_int_equal(fake_source_offer(source, "a1", "after", ""), WEIR_OK);
    assert_int_equal(fake_source_offer(source, "b", "elsewhere", ""), WEIR_STOPPED);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    // "between", and "after" twice, once of them behind "order".
    WAIT_UNTIL(record_count(record) == 4);
    assert_int_equal(record_count_of(record, "between"), 1);
    assert_int_equal(record_count_of(record, "after"), 2);
    assert_int_equal(record_count_of(record, "order"), 1);
    weir_flow_stop(cast.stage->flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    HOST.set_unref(cast.session, set);
    assert_int_equal(source->ended, 2);
    end(&cast);
}

static void a_listen_without_a_watch_captures_from_then_on(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    void *set;
    assert_int_equal(HOST.set_new(cast.session, &set, &err), WEIR_OK);
    assert_int_equal(HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a"), 0, &err),
                     WEIR_INVALID); // not opened
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    assert_int_equal(HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a"), 0, &err),
                     WEIR_OK);
    assert_int_equal(cast.stage->source.begun, 1);
    HOST.set_unref(cast.session, set);
    end(&cast);
}

static void keys_with_any_bytes_are_told_apart(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    void *set;
    assert_int_equal(HOST.set_new(cast.session, &set, &err), WEIR_OK);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("a\0b"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), (struct weir_str){0}, &err),
                     WEIR_OK);
    assert_int_equal(
        HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a\0c"), 0, &err), WEIR_OK);
    assert_int_equal(cast.stage->source.begun, 3); // that was another key
    assert_int_equal(
        HOST.set_listen(cast.session, set, WEIR_STR("store"), WEIR_STR("a\0b"), 0, &err), WEIR_OK);
    assert_int_equal(
        HOST.set_listen(cast.session, set, WEIR_STR("store"), (struct weir_str){0}, 0, &err),
        WEIR_OK);
    assert_int_equal(cast.stage->source.begun, 3); // these were theirs
    HOST.set_unref(cast.session, set);
    end(&cast);
}

static void exec_counts_in_seconds(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    void *set;
    assert_int_equal(HOST.set_new(cast.session, &set, &err), WEIR_OK);
    int64_t begin_ns = weir_clock_monotonic_ns();
    assert_int_equal(HOST.set_exec(cast.session, set, 1, &err), WEIR_OK);
    assert_true(weir_clock_monotonic_ns() - begin_ns >= WEIR_NS_PER_S);
    weir_flow_stop(cast.stage->flow);
    assert_int_equal(HOST.set_exec(cast.session, set, UINT64_MAX, &err), WEIR_OK); // no overflow
    HOST.set_unref(cast.session, set);
    end(&cast);
}

static void a_session_ends_what_nobody_listened_to(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("store"), &err), WEIR_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(HOST.watch(cast.session, WEIR_STR("store"), WEIR_STR("a"), &err), WEIR_OK);
    }
    assert_int_equal(fake_source_offer(&cast.stage->source, "a", "queued", ""), WEIR_OK);
    weir_session_destroy(cast.session);
    cast.session = NULL;
    assert_int_equal(cast.stage->source.ended, 5);
    assert_int_equal(fake_source_offer(&cast.stage->source, "a", "late", ""), WEIR_STOPPED);
    end(&cast);
}

static void a_watch_is_granted_by_its_keys(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    begin(&cast, 10);
    assert_int_equal(HOST.open(cast.session, WEIR_STR("dim"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("dim"), WEIR_STR("a/b"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("dim"), WEIR_STR("a/*"), &err), WEIR_OK);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("dim"), WEIR_STR("a"), &err), WEIR_DENIED);
    assert_int_equal(HOST.watch(cast.session, WEIR_STR("dim"), WEIR_STR("*"), &err), WEIR_DENIED);
    assert_message_has(&err, "guest hello has no grant to watch \"*\" of dim; this would be one: "
                             "{resource: dim, verbs: [watch]}");
    assert_int_equal(weir_access_refused(cast.access), 2);
    end(&cast);
}

int main(void) {
    small_guest_engine();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_is_granted_by_its_keys),
        cmocka_unit_test(resources_are_opened_by_grant),
        cmocka_unit_test(only_what_was_opened_is_watched),
        cmocka_unit_test(watches_have_a_bound),
        cmocka_unit_test(a_listen_takes_over_what_was_captured_since_watch),
        cmocka_unit_test(a_listen_without_a_watch_captures_from_then_on),
        cmocka_unit_test(keys_with_any_bytes_are_told_apart),
        cmocka_unit_test(exec_counts_in_seconds),
        cmocka_unit_test(a_session_ends_what_nobody_listened_to),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
