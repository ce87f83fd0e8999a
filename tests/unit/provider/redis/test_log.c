// SPDX-License-Identifier: Apache-2.0
//
// The mode `log` of the Redis provider on a real server: each change is told, in order, whatever
// happens to the server, to connections and to sinks; and where a part of the log is gone, that is
// told, and what there is.
#include "unit/test.h"

#include "provider/redis/redis.h"
#include "support/redis_rig.h"

#include <malloc.h>

// Static: a case that fails leaves it to the program's end.
static struct redis_rig rig;
static const struct weir_limits limits = {.value_bytes_max = 1 << 20, .until_ns = INT64_MAX};

static void begin(const char *options) {
    redis_rig_init(&rig, NULL);
    redis_rig_open(&rig, options);
}

static struct weir_watch *watch(const char *key) {
    return redis_rig_watch(&rig, &(struct redis_rig_watch){.key = key});
}

static void end(struct weir_watch *one) {
    weir_redis_provider.unwatch(one);
    redis_rig_finish(&rig);
}

static void set(const char *key, const char *value) {
    struct weir_error err;
    assert_ok(
        weir_redis_provider.set(rig.resource, weir_str_of(key), weir_str_of(value), &limits, &err));
}

// Many changes by somebody else, of so many keys in turn: "KEY=N".
static void write_many(const char *keys, const char *first, const char *last) {
    redis_rig_do(&rig, "EVAL",
                 "for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do local k = 'k:' .. (i % "
                 "tonumber(ARGV[1])) redis.call('XADD', 'weir:log', '*', 'op', 'set', 'key', k, "
                 "'value', i) redis.call('SET', k, i) end",
                 "0", keys, first, last);
}

static void expect_many(struct test_sink *sink, int first, int last) {
    char value[16];
    for (int i = first; i <= last; i++) {
        const struct weir_event *event = test_sink_next(sink);
        snprintf(value, sizeof value, "%d", i);
        assert_str_equal(event->fields.data.value.bytes, value);
    }
}

static void skip_to_gap(void) {
    while (!test_sink_next(&rig.sink)->is_gap) {
    }
}

// The number that stands in a text from there on.
static int number_of(struct weir_str text, size_t at) {
    char copy[16];
    assert_in_range(text.size, at, sizeof copy - 1);
    memcpy(copy, text.data + at, text.size - at);
    copy[text.size - at] = '\0';
    return atoi(copy);
}

static struct weir_str position_of(const struct test_sink *sink, size_t at) {
    return sink->events[at]->position;
}

static struct weir_watch *go_on(struct weir_str position) {
    const struct weir_resume resume = {.position = position};
    return redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "*", .resume = &resume});
}

// ---- writing ----

static void what_is_written_is_in_the_log(void **state) {
    (void)state;
    begin("mode=log");
    struct weir_watch *one = watch("*");
    struct weir_error err;
    set("a", "1");
    set("a", "1"); // each change is one
    assert_ok(weir_redis_provider.remove(rig.resource, WEIR_STR("a"), &limits, &err));
    assert_int_equal(weir_redis_provider.remove(rig.resource, WEIR_STR("a"), &limits, &err),
                     WEIR_NOT_FOUND);
    test_sink_expect_set(&rig.sink, "a", "1");
    test_sink_expect_set(&rig.sink, "a", "1");
    test_sink_expect_deleted(&rig.sink, "a");
    assert_false(weir_str_equal(rig.sink.events[0]->fields.id, rig.sink.events[1]->fields.id));
    assert_int_equal(REDIS_RIG_NUMBER(&rig, "XLEN", "weir:log"), 3);
    // Entries of others that are none are passed over.
    redis_rig_do(&rig, "XADD", "weir:log", "*", "op", "move", "key", "a", "value", "x");
    redis_rig_do(&rig, "XADD", "weir:log", "*", "op", "set", "key", "a");
    redis_rig_do(&rig, "XADD", "weir:log", "*", "op", "set", "value", "a");
    redis_rig_do(&rig, "XADD", "weir:log", "*", "hello", "world");
    set("b", "1");
    test_sink_expect_set(&rig.sink, "b", "1");
    // A log that is none stops writing before anything is written.
    redis_rig_do(&rig, "DEL", "weir:log");
    redis_rig_do(&rig, "SET", "weir:log", "text");
    assert_int_equal(
        weir_redis_provider.set(rig.resource, WEIR_STR("c"), WEIR_STR("1"), &limits, &err),
        WEIR_INVALID);
    assert_message_has(&err, "WRONGTYPE");
    assert_int_equal(REDIS_RIG_NUMBER(&rig, "EXISTS", "c"), 0);
    end(one);
}

static void an_event_is_published_once(void **state) {
    (void)state;
    begin("mode=log");
    struct weir_watch *one = watch("*");
    struct weir_error err;
    struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("1"),
        .subject = {.is_some = true, .value = WEIR_STR("k")},
        .data = {.is_some = true, .value = weir_payload_of(WEIR_STR("v"))},
    };
    for (int i = 0; i < 4; i++) {
        struct weir_event *event;
        fields.id = i < 2 ? WEIR_STR("1") : WEIR_STR("2");
        assert_ok(weir_event_new(&fields, WEIR_STR("k"), &event, &err));
        assert_ok(weir_redis_provider.publish(rig.resource, event, &err));
        weir_event_unref(event);
    }
    set("last", "v");
    test_sink_expect_set(&rig.sink, "k", "v");
    test_sink_expect_set(&rig.sink, "k", "v");
    test_sink_expect_set(&rig.sink, "last", "v");
    end(one);
}

// ---- reading ----

static void each_change_is_told_in_order(void **state) {
    (void)state;
    begin("mode=log");
    struct weir_watch *one = watch("*");
    write_many("7", "1", "20000");
    expect_many(&rig.sink, 1, 20000);
    for (int round = 0; round < 3; round++) {
        if (round == 1) {
            test_server_kill(rig.server);
            test_server_restart(rig.server);
        } else {
            redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", round ? "pubsub" : "normal");
        }
        write_many("7", "1", "1000");
        expect_many(&rig.sink, 1, 1000);
    }
    end(one);
}

static void watches_at_different_places_share_the_reading(void **state) {
    (void)state;
    enum { WATCHES = 20, WRITES = 3000 };
    static struct test_sink sinks[WATCHES];
    struct weir_watch *watches[WATCHES];
    begin("mode=log");
    for (int i = 0; i < WATCHES; i++) {
        test_sink_init(&sinks[i]);
        watches[i] =
            redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "*", .sink = &sinks[i]});
        test_sink_set_room(&sinks[i], (size_t)i * 37, WEIR_AGAIN);
    }
    write_many("5", "1", "3000");
    test_sink_set_room(&sinks[0], SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(watches[0]);
    test_sink_await_count(&sinks[0], WRITES);
    bool is_done = false;
    for (int round = 0; !is_done; round++) {
        is_done = true;
        for (int i = 1; i < WATCHES; i++) {
            size_t offers = test_sink_offers(&sinks[i]);
            test_sink_set_room(&sinks[i], (size_t)(i * 53 + round * 19) % 400 + 1, WEIR_AGAIN);
            weir_redis_provider.resume(watches[i]);
            if (test_sink_count(&sinks[i]) < WRITES) {
                test_sink_await_offers(&sinks[i], offers + 1);
                is_done = false;
            }
        }
    }
    for (int i = 0; i < WATCHES; i++) {
        expect_many(&sinks[i], 1, WRITES);
        assert_int_equal(test_sink_count(&sinks[i]), WRITES);
        weir_redis_provider.unwatch(watches[i]);
        test_sink_finish(&sinks[i]);
    }
    end(NULL);
}

static void a_stop_loses_and_doubles_nothing(void **state) {
    (void)state;
    begin("mode=log");
    struct weir_watch *one = watch("*");
    write_many("3", "1", "10");
    test_sink_await_count(&rig.sink, 10);
    for (int round = 1; round <= 20; round++) {
        weir_redis_provider.unwatch(one);
        redis_rig_reopen(&rig);
        char first[16], last[16];
        snprintf(first, sizeof first, "%d", round * 10 + 1);
        snprintf(last, sizeof last, "%d", round * 10 + 10);
        if (round % 2) {
            write_many("3", first, last);
        }
        one = go_on(position_of(&rig.sink, test_sink_count(&rig.sink) - 1));
        if (round % 2 == 0) {
            write_many("3", first, last);
        }
        test_sink_await_count(&rig.sink, (size_t)round * 10 + 10);
    }
    expect_many(&rig.sink, 1, 210);
    end(one);
}

static void a_watch_that_began_before_the_log_goes_on(void **state) {
    (void)state;
    begin("mode=log");
    static struct test_notes notes;
    test_notes_init(&notes, &rig.sink);
    struct weir_watch *one =
        redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "*", .notes = &notes});
    weir_redis_provider.unwatch(one);
    char position[64];
    struct weir_str kept = test_notes_find(&notes, "");
    assert_in_range(kept.size, 1, sizeof position);
    memcpy(position, kept.data, kept.size);
    redis_rig_reopen(&rig);
    set("a", "1");
    one = go_on((struct weir_str){position, kept.size});
    test_sink_expect_set(&rig.sink, "a", "1");
    weir_redis_provider.unwatch(one);
    // And where it was trimmed meanwhile, that is a gap.
    redis_rig_reopen(&rig);
    set("a", "2");
    redis_rig_do(&rig, "XTRIM", "weir:log", "MAXLEN", "1");
    one = go_on((struct weir_str){position, kept.size});
    assert_true(test_sink_next(&rig.sink)->is_gap);
    end(one);
    test_notes_finish(&notes);
}

// ---- history that is gone ----

static void what_was_trimmed_is_a_gap_and_what_there_is_follows(void **state) {
    (void)state;
    enum { KEYS = 300 };
    begin("mode=log");
    struct weir_watch *one = watch("*");
    set("first", "v");
    test_sink_expect_set(&rig.sink, "first", "v");
    struct weir_str told = position_of(&rig.sink, 0);
    weir_redis_provider.unwatch(one);
    redis_rig_reopen(&rig);
    write_many("300", "1", "5000");
    redis_rig_do(&rig, "XTRIM", "weir:log", "MAXLEN", "50");
    // The sink takes a few at a time, and others write.
    test_sink_set_room(&rig.sink, 1, WEIR_AGAIN);
    one = go_on(told);
    const struct weir_event *gap = test_sink_next(&rig.sink);
    assert_true(gap->is_gap);
    struct weir_str text = gap->fields.data.value.bytes;
    assert_non_null(memmem(text.data, text.size, "trimmed", 7));
    static int last[KEYS];
    bool is_snapshot_told[KEYS] = {false};
    size_t snapshots = 0, rounds = 0;
    while (snapshots < KEYS + 1) {
        if (rounds++ % 16 == 0 && rounds < 1000) {
            char number[16];
            snprintf(number, sizeof number, "%zu", 10000 + rounds);
            write_many("300", number, number);
        }
        test_sink_set_room(&rig.sink, 7, WEIR_AGAIN);
        weir_redis_provider.resume(one);
        const struct weir_event *event;
        do {
            event = test_sink_next(&rig.sink);
            bool is_snapshot = test_extension(event, WEIR_EXTENSION_SNAPSHOT).size > 0;
            if (weir_str_equal(event->key, WEIR_STR("first"))) {
                snapshots += is_snapshot;
                continue;
            }
            int key = number_of(event->key, 2),
                value = number_of(event->fields.data.value.bytes, 0);
            assert_true(value >= last[key]); // nothing goes backwards
            last[key] = value;
            snapshots += is_snapshot && !is_snapshot_told[key];
            is_snapshot_told[key] |= is_snapshot;
            bool owes = event->position.data[event->position.size - 1] == '*';
            assert_true(owes || !is_snapshot); // a stop begins it anew
        } while (rig.sink.next < test_sink_count(&rig.sink));
    }
    test_sink_set_room(&rig.sink, SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(one);
    set("last", "v");
    test_sink_skip_to_set(&rig.sink, "last", "v");
    // A stop in the midst of it begins the snapshot anew, and tells no gap again.
    struct weir_str midst = position_of(&rig.sink, 40);
    weir_redis_provider.unwatch(one);
    redis_rig_reopen(&rig);
    size_t before = test_sink_count(&rig.sink);
    rig.sink.next = before;
    one = go_on(midst);
    const struct weir_event *event;
    do {
        event = test_sink_next(&rig.sink);
        assert_false(event->is_gap);
    } while (test_extension(event, WEIR_EXTENSION_SNAPSHOT).size == 0);
    end(one);
}

static void what_is_trimmed_while_a_sink_is_full_is_a_gap(void **state) {
    (void)state;
    begin("mode=log log_entries=100");
    struct weir_watch *one = watch("k:*");
    test_sink_set_room(&rig.sink, 3, WEIR_AGAIN);
    write_many("2", "1", "10");
    test_sink_await_offers(&rig.sink, 4);
    for (int i = 0; i < 400; i++) {
        set("k:0", "many");
    }
    assert_in_range(REDIS_RIG_NUMBER(&rig, "XLEN", "weir:log"), 100, 300);
    test_sink_set_room(&rig.sink, SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(one);
    expect_many(&rig.sink, 1, 3);
    assert_true(test_sink_next(&rig.sink)->is_gap);
    set("k:9", "last");
    test_sink_skip_to_set(&rig.sink, "k:9", "last");
    end(one);
}

static void a_log_that_is_gone_is_a_gap(void **state) {
    (void)state;
    begin("mode=log");
    struct weir_watch *one = watch("*");
    set("a", "1");
    test_sink_expect_set(&rig.sink, "a", "1");
    redis_rig_do(&rig, "DEL", "weir:log");
    assert_true(test_sink_next(&rig.sink)->is_gap);
    const struct weir_event *snapshot = test_sink_expect_set(&rig.sink, "a", "1");
    assert_str_equal(test_extension(snapshot, WEIR_EXTENSION_SNAPSHOT), "true");
    set("b", "1");
    test_sink_expect_set(&rig.sink, "b", "1");
    // Wiped with all that there was.
    test_server_wipe(rig.server);
    assert_true(test_sink_next(&rig.sink)->is_gap);
    set("c", "1");
    test_sink_skip_to_set(&rig.sink, "c", "1");
    // Restored from long ago: its entries are older than what was told.
    redis_rig_do(&rig, "MULTI");
    redis_rig_do(&rig, "DEL", "weir:log");
    redis_rig_do(&rig, "XADD", "weir:log", "5-1", "op", "set", "key", "old", "value", "v");
    redis_rig_do(&rig, "EXEC");
    skip_to_gap();
    redis_rig_do(&rig, "XADD", "weir:log", "5-2", "op", "set", "key", "d", "value", "v");
    test_sink_skip_to_set(&rig.sink, "d", "v");
    end(one);
}

static void a_position_that_is_none_is_a_gap(void **state) {
    (void)state;
    begin("mode=log");
    set("a", "1");
    const struct weir_str positions[] = {
        WEIR_STR(""), WEIR_STR("x"), WEIR_STR("1-2-3"), WEIR_STR("+*"), {"\xff\0", 2}};
    for (size_t i = 0; i < COUNT_OF(positions); i++) {
        struct weir_watch *one = go_on(positions[i]);
        assert_true(test_sink_next(&rig.sink)->is_gap);
        test_sink_expect_set(&rig.sink, "a", "1"); // the log, and
        const struct weir_event *snapshot = test_sink_expect_set(&rig.sink, "a", "1");
        assert_str_equal(test_extension(snapshot, WEIR_EXTENSION_SNAPSHOT), "true");
        weir_redis_provider.unwatch(one);
    }
    end(NULL);
}

static void a_watch_that_is_told_little_is_given_bookmarks(void **state) {
    (void)state;
    begin("mode=log log_entries=800");
    struct weir_watch *one =
        redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "rare", .name = "n"});
    set("rare", "1");
    test_sink_expect_set(&rig.sink, "rare", "1");
    for (int round = 0; round < 3; round++) {
        write_many("3", "1", "500");
        const struct weir_event *bookmark = test_sink_next(&rig.sink);
        assert_true(bookmark->is_bookmark);
        assert_true(bookmark->position.size > 0);
        // One at a time.
        write_many("3", "1", "500");
        set("rare", "2");
        test_sink_expect_set(&rig.sink, "rare", "2");
        weir_redis_provider.acknowledge(one, rig.sink.events[rig.sink.next - 2]);
    }
    end(one);
}

static void a_slow_sink_costs_nothing(void **state) {
    (void)state;
    begin("mode=log");
    struct weir_watch *one = watch("*");
    test_sink_set_room(&rig.sink, 0, WEIR_AGAIN);
    set("k:0", "first");
    test_sink_await_offers(&rig.sink, 1);
    size_t before = mallinfo2().uordblks;
    write_many("10", "1", "50000");
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *free_one =
        redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "last", .sink = &other});
    set("last", "v");
    test_sink_expect_set(&other, "last", "v");
    assert_in_range(mallinfo2().uordblks, 0, before + (4 << 20));
    assert_int_equal(test_sink_offers(&rig.sink), 1);
    test_sink_set_room(&rig.sink, SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(one);
    test_sink_expect_set(&rig.sink, "k:0", "first");
    expect_many(&rig.sink, 1, 50000);
    weir_redis_provider.unwatch(free_one);
    end(one);
    test_sink_finish(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_in_the_log),
        cmocka_unit_test(an_event_is_published_once),
        cmocka_unit_test(each_change_is_told_in_order),
        cmocka_unit_test(watches_at_different_places_share_the_reading),
        cmocka_unit_test(a_stop_loses_and_doubles_nothing),
        cmocka_unit_test(a_watch_that_began_before_the_log_goes_on),
        cmocka_unit_test(what_was_trimmed_is_a_gap_and_what_there_is_follows),
        cmocka_unit_test(what_is_trimmed_while_a_sink_is_full_is_a_gap),
        cmocka_unit_test(a_log_that_is_gone_is_a_gap),
        cmocka_unit_test(a_position_that_is_none_is_a_gap),
        cmocka_unit_test(a_watch_that_is_told_little_is_given_bookmarks),
        cmocka_unit_test(a_slow_sink_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
