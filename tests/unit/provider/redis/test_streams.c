// SPDX-License-Identifier: Apache-2.0
//
// The mode `streams` of the Redis provider on a real server: what was acknowledged is not told
// again and everything else is, by this weir or by another one; streams that come and go; what was
// trimmed before anybody had read it.
#include "unit/test.h"

#include "provider/redis/redis.h"
#include "support/redis_rig.h"

// Static: a case that fails leaves it to the program's end.
static struct redis_rig rig;

static void begin(const char *options) {
    redis_rig_init(&rig, NULL);
    redis_rig_open(&rig, options);
}

static struct weir_watch *watch(const char *key, const char *name) {
    return redis_rig_watch(&rig, &(struct redis_rig_watch){.key = key, .name = name});
}

static struct weir_watch *go_on(const char *key, const char *name) {
    static const struct weir_resume resume;
    return redis_rig_watch(&rig,
                           &(struct redis_rig_watch){.key = key, .name = name, .resume = &resume});
}

static void end(struct weir_watch *one) {
    weir_redis_provider.unwatch(one);
    redis_rig_finish(&rig);
}

static void add(const char *stream, const char *value) {
    redis_rig_do(&rig, "XADD", stream, "*", "data", value);
}

static void add_many(const char *stream, const char *first, const char *last) {
    redis_rig_do(&rig, "EVAL",
                 "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('XADD', KEYS[1], "
                 "'*', 'data', i) end",
                 "1", stream, first, last);
}

static const struct weir_event *expect(struct test_sink *sink, const char *stream,
                                       const char *value) {
    const struct weir_event *event = test_sink_next(sink);
    assert_str_equal(event->key, stream);
    assert_str_equal(event->fields.data.value.bytes, value);
    return event;
}

static void acknowledge(struct weir_watch *one, size_t at) {
    weir_redis_provider.acknowledge(one, rig.sink.events[at]);
}

// How many entries of the group are delivered and not acknowledged.
static int64_t count_pending(const char *stream, const char *group) {
    json_t *answer = TEST_FOREIGN_REDIS(rig.foreign, "XPENDING", stream, group);
    int64_t count = json_integer_value(json_array_get(answer, 0));
    json_decref(answer);
    return count;
}

static void what_was_acknowledged_is_not_told_again(void **state) {
    (void)state;
    enum { ENTRIES = 1000 };
    begin("mode=streams");
    add("s", "before"); // is not told
    struct weir_watch *one = watch("s", "orders");
    add_many("s", "1", "1000");
    test_sink_await_count(&rig.sink, ENTRIES);
    assert_int_equal(count_pending("s", "weir:orders"), ENTRIES);
    for (size_t i = 0; i < ENTRIES; i++) {
        if (i % 100 != 7) {
            acknowledge(one, i);
        }
    }
    WAIT_UNTIL(count_pending("s", "weir:orders") == 10);
    weir_redis_provider.unwatch(one);
    redis_rig_reopen(&rig);
    add("s", "new");
    one = go_on("s", "orders");
    rig.sink.next = ENTRIES;
    for (size_t i = 7; i < ENTRIES; i += 100) {
        const struct weir_event *event = test_sink_next(&rig.sink);
        assert_true(weir_str_equal(event->fields.id, rig.sink.events[i]->fields.id));
        assert_true(weir_str_equal(event->fields.data.value.bytes,
                                   rig.sink.events[i]->fields.data.value.bytes));
    }
    expect(&rig.sink, "s", "new");
    end(one);
}

static void the_last_acknowledgements_arrive(void **state) {
    (void)state;
    begin("mode=streams");
    struct weir_watch *one = watch("s", "orders");
    for (int i = 0; i < 50; i++) {
        add("s", "v");
        test_sink_await_count(&rig.sink, (size_t)i + 1);
        acknowledge(one, (size_t)i);
        weir_redis_provider.unwatch(one);
        redis_rig_reopen(&rig);
        assert_int_equal(count_pending("s", "weir:orders"), 0);
        one = go_on("s", "orders");
    }
    assert_int_equal(test_sink_count(&rig.sink), 50);
    end(one);
}

static void a_full_sink_leaves_the_rest_at_the_server(void **state) {
    (void)state;
    enum { ENTRIES = 3000 };
    begin("mode=streams");
    struct weir_watch *one = watch("s", "orders");
    test_sink_set_room(&rig.sink, 5, WEIR_AGAIN);
    add_many("s", "1", "3000");
    for (size_t room = 5; test_sink_count(&rig.sink) < ENTRIES; room = room * 7 % 211) {
        size_t offers = test_sink_offers(&rig.sink);
        test_sink_set_room(&rig.sink, room, WEIR_AGAIN);
        weir_redis_provider.resume(one);
        test_sink_await_offers(&rig.sink, offers + 1);
        size_t count = test_sink_count(&rig.sink);
        acknowledge(one, count - 1);
    }
    char value[16];
    for (int i = 1; i <= ENTRIES; i++) {
        snprintf(value, sizeof value, "%d", i);
        expect(&rig.sink, "s", value);
    }
    end(one);
}

static void connections_that_are_cut_double_nothing(void **state) {
    (void)state;
    begin("mode=streams");
    struct weir_watch *one = watch("s", "orders");
    char value[16];
    for (int i = 0; i < 30; i++) {
        snprintf(value, sizeof value, "%d", i);
        if (i == 20) {
            test_server_kill(rig.server);
            test_server_restart(rig.server);
        } else if (i % 3 == 0) {
            redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", i % 2 ? "normal" : "pubsub");
        }
        add("s", value);
        expect(&rig.sink, "s", value);
        if (i % 2) {
            acknowledge(one, (size_t)i);
        }
    }
    WAIT_UNTIL(count_pending("s", "weir:orders") == 15);
    assert_int_equal(test_sink_count(&rig.sink), 30); // those in flight were not told again
    end(one);
}

static void streams_that_come_are_read_from_their_start(void **state) {
    (void)state;
    begin("mode=streams");
    add("a:old", "before");
    struct weir_watch *one = watch("a:*", "orders");
    add("a:old", "1");
    expect(&rig.sink, "a:old", "1");
    add("b:other", "no");
    add_many("a:new", "1", "3");
    expect(&rig.sink, "a:new", "1");
    expect(&rig.sink, "a:new", "2");
    expect(&rig.sink, "a:new", "3");
    for (size_t i = 0; i < 4; i++) {
        acknowledge(one, i);
    }
    weir_redis_provider.unwatch(one);
    redis_rig_reopen(&rig);
    add("a:while-away", "1");
    add("a:old", "2");
    one = go_on("a:*", "orders");
    for (int i = 0; i < 2; i++) {
        const struct weir_event *event = test_sink_next(&rig.sink);
        assert_true(weir_str_equal(event->key, WEIR_STR("a:old")) ||
                    weir_str_equal(event->key, WEIR_STR("a:while-away")));
    }
    // Other kinds of keys are none of its business.
    redis_rig_do(&rig, "SET", "a:text", "v");
    redis_rig_do(&rig, "DEL", "a:new");
    redis_rig_do(&rig, "SET", "a:old", "now a text");
    add("a:new", "again");
    expect(&rig.sink, "a:new", "again");
    end(one);
}

static void what_a_dead_consumer_has_left_is_taken_over(void **state) {
    (void)state;
    begin("mode=streams claim=300ms consumer=first");
    struct weir_watch *one = watch("s", "orders");
    add_many("s", "1", "5");
    test_sink_await_count(&rig.sink, 5);
    acknowledge(one, 0);
    weir_redis_provider.unwatch(one); // it dies with four of them
    weir_redis_provider.close(rig.resource);
    rig.resource = NULL;
    redis_rig_open(&rig, "mode=streams claim=300ms consumer=second");
    one = go_on("s", "orders");
    rig.sink.next = 5;
    expect(&rig.sink, "s", "2");
    expect(&rig.sink, "s", "3");
    expect(&rig.sink, "s", "4");
    expect(&rig.sink, "s", "5");
    // Its own, which a slow handler is busy with, it does not take over from itself.
    redis_rig_do(&rig, "XADD", "other", "*", "data", "x");
    int64_t until_ns = weir_clock_monotonic_ns() + WEIR_NS_PER_S;
    WAIT_UNTIL(weir_clock_monotonic_ns() > until_ns);
    assert_int_equal(test_sink_count(&rig.sink), 9);
    for (size_t i = 5; i < 9; i++) {
        acknowledge(one, i);
    }
    WAIT_UNTIL(count_pending("s", "weir:orders") == 0);
    end(one);
}

static void two_weirs_share_what_comes(void **state) {
    (void)state;
    enum { ENTRIES = 2000 };
    begin("mode=streams consumer=first");
    struct weir_error err;
    struct weir_resource *other;
    struct test_sink sink;
    test_sink_init(&sink);
    assert_ok(redis_rig_try_open(&rig, "store", "mode=streams consumer=second", &other, &err));
    struct weir_watch *one = watch("s", "orders"), *two;
    const struct weir_watch_args args = {.pattern = weir_pattern_of(WEIR_STR("s")),
                                         .sink = test_sink_of(&sink),
                                         .name = "orders",
                                         .event_bytes_max = 1000};
    assert_ok(weir_redis_provider.watch(other, &args, &two, &err));
    add_many("s", "1", "2000");
    WAIT_UNTIL(test_sink_count(&rig.sink) + test_sink_count(&sink) >= ENTRIES);
    bool is_told[ENTRIES + 1] = {false};
    struct test_sink *sinks[] = {&rig.sink, &sink};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < test_sink_count(sinks[s]); i++) {
            struct weir_str value = sinks[s]->events[i]->fields.data.value.bytes;
            char text[16];
            memcpy(text, value.data, value.size);
            text[value.size] = '\0';
            int number = atoi(text);
            assert_in_range(number, 1, ENTRIES);
            assert_false(is_told[number]);
            is_told[number] = true;
        }
    }
    weir_redis_provider.unwatch(two);
    weir_redis_provider.close(other);
    end(one);
    test_sink_finish(&sink);
}

// ---- what is gone ----

static const struct weir_event *expect_gap(const char *part) {
    const struct weir_event *gap = test_sink_next(&rig.sink);
    struct weir_str text = gap->fields.data.value.bytes;
    assert_true(gap->is_gap);
    assert_non_null(memmem(text.data, text.size, part, strlen(part)));
    return gap;
}

static void what_was_trimmed_unread_is_a_gap(void **state) {
    (void)state;
    begin("mode=streams claim=200ms");
    struct weir_watch *one = watch("s", "orders");
    add("s", "0");
    expect(&rig.sink, "s", "0");
    acknowledge(one, 0);
    weir_redis_provider.unwatch(one);
    redis_rig_reopen(&rig);
    add_many("s", "1", "100");
    redis_rig_do(&rig, "XTRIM", "s", "MAXLEN", "2");
    one = go_on("s", "orders");
    expect_gap("trimmed");
    expect(&rig.sink, "s", "99");
    expect(&rig.sink, "s", "100");
    // It is told once, also while weir runs: as here, where all of it is gone.
    test_sink_set_room(&rig.sink, 0, WEIR_AGAIN);
    add("s", "101");
    size_t offers = test_sink_offers(&rig.sink);
    test_sink_await_offers(&rig.sink, offers);
    add_many("s", "102", "200");
    redis_rig_do(&rig, "XTRIM", "s", "MAXLEN", "0");
    test_sink_set_room(&rig.sink, SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(one);
    bool has_gap = false, is_last = false;
    add("s", "last");
    while (!has_gap || !is_last) {
        const struct weir_event *event = test_sink_next(&rig.sink);
        has_gap = has_gap || event->is_gap;
        is_last = is_last || weir_str_equal(event->fields.data.value.bytes, WEIR_STR("last"));
    }
    end(one);
}

static void what_was_trimmed_before_it_was_handled_is_a_gap(void **state) {
    (void)state;
    begin("mode=streams claim=300ms consumer=first");
    struct weir_watch *one = watch("s", "orders");
    add_many("s", "1", "3");
    test_sink_await_count(&rig.sink, 3);
    weir_redis_provider.unwatch(one);
    redis_rig_do(&rig, "XTRIM", "s", "MAXLEN", "1");
    // This very consumer finds that two of its pending ones are gone.
    redis_rig_reopen(&rig);
    one = go_on("s", "orders");
    rig.sink.next = 3;
    bool has_gap = false, has_last = false;
    while (!has_gap || !has_last) {
        const struct weir_event *event = test_sink_next(&rig.sink);
        has_gap = has_gap || event->is_gap;
        has_last = has_last || weir_str_equal(event->fields.data.value.bytes, WEIR_STR("3"));
    }
    // And of another one's, that the last one is.
    weir_redis_provider.unwatch(one);
    weir_redis_provider.close(rig.resource);
    rig.resource = NULL;
    redis_rig_do(&rig, "XTRIM", "s", "MAXLEN", "0");
    redis_rig_open(&rig, "mode=streams claim=300ms consumer=second");
    one = go_on("s", "orders");
    while (!test_sink_next(&rig.sink)->is_gap) {
    }
    WAIT_UNTIL(count_pending("s", "weir:orders") == 0);
    end(one);
}

static void a_stream_that_was_removed_is_a_gap(void **state) {
    (void)state;
    begin("mode=streams");
    struct weir_watch *one = watch("s", "orders");
    add("s", "1");
    expect(&rig.sink, "s", "1");
    weir_redis_provider.unwatch(one);
    redis_rig_reopen(&rig);
    redis_rig_do(&rig, "DEL", "s");
    add("s", "new");
    one = go_on("s", "orders");
    expect_gap("removed");
    expect(&rig.sink, "s", "new");
    test_server_wipe(rig.server);
    expect_gap("removed");
    add("s", "after");
    expect(&rig.sink, "s", "after");
    // While all had been read it is no gap.
    redis_rig_do(&rig, "DEL", "s");
    add("s", "again");
    expect(&rig.sink, "s", "again");
    end(one);
}

// ---- without a name; many; taking away ----

static void a_watch_without_a_name_leaves_nothing(void **state) {
    (void)state;
    begin("mode=streams");
    add("s", "before");
    struct weir_watch *one = watch("*", NULL);
    add_many("s", "1", "5");
    add("new", "1");
    test_sink_await_count(&rig.sink, 6);
    redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", "normal");
    add("s", "6");
    test_sink_await_count(&rig.sink, 7);
    json_t *groups = TEST_FOREIGN_REDIS(rig.foreign, "XINFO", "GROUPS", "s");
    assert_int_equal(json_array_size(groups), 0);
    json_decref(groups);
    // A full sink, and a trimmed stream.
    test_sink_set_room(&rig.sink, 1, WEIR_AGAIN);
    size_t offers = test_sink_offers(&rig.sink);
    add_many("s", "7", "100");
    test_sink_await_offers(&rig.sink, offers + 2);
    redis_rig_do(&rig, "XTRIM", "s", "MAXLEN", "2");
    test_sink_set_room(&rig.sink, SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(one);
    rig.sink.next = 7;
    expect(&rig.sink, "s", "7");
    expect_gap("trimmed");
    expect(&rig.sink, "s", "99");
    expect(&rig.sink, "s", "100");
    end(one);
}

static void many_streams_are_one_pair_of_connections(void **state) {
    (void)state;
    enum { STREAMS = 2000 };
    begin("mode=streams");
    struct weir_watch *one = watch("s:*", "orders");
    redis_rig_do(&rig, "EVAL",
                 "for i = 1, 2000 do redis.call('XADD', 's:' .. i, '*', 'data', i) end", "0");
    test_sink_await_count(&rig.sink, STREAMS);
    for (size_t i = 0; i < STREAMS; i++) {
        acknowledge(one, i);
    }
    WAIT_UNTIL(count_pending("s:2000", "weir:orders") == 0);
    WAIT_UNTIL(count_pending("s:1", "weir:orders") == 0);
    end(one);
}

static void count_finding(void *context, const struct weir_finding *finding) {
    *(size_t *)context += strstr(finding->what, "weir:orders") != NULL;
}

static void what_weir_made_is_taken_away(void **state) {
    (void)state;
    begin("mode=streams");
    struct weir_error err;
    struct weir_watch *one = watch("s:*", "orders");
    add("s:1", "v");
    add("s:2", "v");
    test_sink_await_count(&rig.sink, 2);
    redis_rig_do(&rig, "XGROUP", "CREATE", "s:1", "theirs", "0");
    weir_redis_provider.unwatch(one);
    size_t told = 0;
    const struct weir_findings findings = {.tell = count_finding, .context = &told};
    assert_ok(weir_redis_provider.withdraw(rig.resource, &findings, &err));
    assert_int_equal(told, 2);
    json_t *groups = TEST_FOREIGN_REDIS(rig.foreign, "XINFO", "GROUPS", "s:1");
    assert_int_equal(json_array_size(groups), 1);
    json_decref(groups);
    assert_int_equal(REDIS_RIG_NUMBER(&rig, "XLEN", "s:2"), 1);
    end(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_is_not_told_again),
        cmocka_unit_test(the_last_acknowledgements_arrive),
        cmocka_unit_test(a_full_sink_leaves_the_rest_at_the_server),
        cmocka_unit_test(connections_that_are_cut_double_nothing),
        cmocka_unit_test(streams_that_come_are_read_from_their_start),
        cmocka_unit_test(what_a_dead_consumer_has_left_is_taken_over),
        cmocka_unit_test(two_weirs_share_what_comes),
        cmocka_unit_test(what_was_trimmed_unread_is_a_gap),
        cmocka_unit_test(what_was_trimmed_before_it_was_handled_is_a_gap),
        cmocka_unit_test(a_stream_that_was_removed_is_a_gap),
        cmocka_unit_test(a_watch_without_a_name_leaves_nothing),
        cmocka_unit_test(many_streams_are_one_pair_of_connections),
        cmocka_unit_test(what_weir_made_is_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
