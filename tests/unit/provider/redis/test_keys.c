// SPDX-License-Identifier: Apache-2.0
//
// The mode `keys` of the Redis provider on a real server, and what happens to servers: it dies and
// comes back, forgets, stands still, cuts connections, has no room for messages.
#include "unit/test.h"

#include "provider/redis/redis.h"
#include "support/folder.h"
#include "support/redis_rig.h"

#include <malloc.h>

// Static: a case that fails leaves it to the program's end.
static struct redis_rig rig;

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

// Two changes of different keys, in any order.
static void expect_set_and_deleted(const char *set, const char *value, const char *deleted) {
    for (int i = 0; i < 2; i++) {
        const struct weir_event *event = test_sink_next(&rig.sink);
        bool is_deletion = weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));
        assert_true(is_deletion ? weir_str_equal(event->key, weir_str_of(deleted))
                                : test_is_set(event, set, value));
    }
}

// ---- what the bell tells ----

static void each_way_of_changing_a_key_is_told(void **state) {
    (void)state;
    begin("rescan=0");
    struct weir_watch *one = watch("*");
    redis_rig_do(&rig, "SET", "a", "1");
    test_sink_expect_set(&rig.sink, "a", "1");
    redis_rig_do(&rig, "APPEND", "a", "2");
    test_sink_expect_set(&rig.sink, "a", "12");
    redis_rig_do(&rig, "INCR", "a");
    test_sink_expect_set(&rig.sink, "a", "13");
    redis_rig_do(&rig, "SETRANGE", "a", "0", "x");
    test_sink_expect_set(&rig.sink, "a", "x3");
    redis_rig_do(&rig, "GETDEL", "a");
    test_sink_expect_deleted(&rig.sink, "a");
    redis_rig_do(&rig, "SET", "a", "", "PX", "1");
    // It may be gone before it was looked at; then there is nothing to be told.
    redis_rig_do(&rig, "SET", "b", "v", "PX", "300");
    struct test_sink *sink = &rig.sink;
    const struct weir_event *event = test_sink_next(sink);
    if (!test_is_set(event, "b", "v")) {
        assert_true(test_is_set(event, "a", ""));
        event = test_sink_next(sink);
    }
    while (!test_is_set(event, "b", "v")) {
        event = test_sink_next(sink);
    }
    do { // expired, by the server itself
        event = test_sink_next(sink);
    } while (!weir_str_equal(event->key, WEIR_STR("b")));
    assert_str_equal(event->fields.ty, WEIR_TYPE_KEYVALUE_DELETED);
    redis_rig_do(&rig, "MSET", "c", "1", "d", "1");
    test_sink_expect_set(&rig.sink, "c", "1");
    test_sink_expect_set(&rig.sink, "d", "1");
    redis_rig_do(&rig, "RENAME", "c", "e");
    expect_set_and_deleted("e", "1", "c");
    redis_rig_do(&rig, "COPY", "e", "f");
    test_sink_expect_set(&rig.sink, "f", "1");
    redis_rig_do(&rig, "SET", "f", "1"); // the same value is no change
    redis_rig_do(&rig, "EVAL", "redis.call('SET', 'g', '1') redis.call('DEL', 'f')", "0");
    expect_set_and_deleted("g", "1", "f");
    redis_rig_do(&rig, "DEL", "g");
    redis_rig_do(&rig, "LPUSH", "g", "x"); // another type
    test_sink_expect_deleted(&rig.sink, "g");
    redis_rig_do(&rig, "LPUSH", "list", "x");
    redis_rig_do(&rig, "SET", "g", "2"); // which SET replaces
    test_sink_expect_set(&rig.sink, "g", "2");
    redis_rig_do(&rig, "FLUSHDB");
    for (int i = 0; i < 3; i++) { // d, e, g
        event = test_sink_next(sink);
        assert_str_equal(event->fields.ty, WEIR_TYPE_KEYVALUE_DELETED);
    }
    redis_rig_do(&rig, "SET", "z", "1");
    test_sink_expect_set(&rig.sink, "z", "1");
    end(one);
}

static void another_database_is_another_one(void **state) {
    (void)state;
    begin("database=3 rescan=0");
    struct weir_watch *one = watch("*");
    redis_rig_do(&rig, "SET", "k", "in database 0");
    redis_rig_do(&rig, "SELECT", "3");
    redis_rig_do(&rig, "SET", "k", "in database 3");
    test_sink_expect_set(&rig.sink, "k", "in database 3");
    assert_int_equal(test_sink_count(&rig.sink), 1);
    // Databases that change places ring no bell; a rescan finds it.
    end(one);
    begin("rescan=200ms");
    one = watch("*");
    redis_rig_do(&rig, "SELECT", "1");
    redis_rig_do(&rig, "SET", "k", "there");
    redis_rig_do(&rig, "SWAPDB", "0", "1");
    test_sink_skip_to_set(&rig.sink, "k", "there");
    end(one);
}

static void an_evicted_key_is_told_as_deleted(void **state) {
    (void)state;
    begin("rescan=0");
    struct weir_watch *one = watch("k");
    redis_rig_do(&rig, "SET", "k", "v");
    test_sink_expect_set(&rig.sink, "k", "v");
    redis_rig_do(&rig, "CONFIG", "SET", "maxmemory-policy", "allkeys-random");
    redis_rig_do(&rig, "CONFIG", "SET", "maxmemory", "1");
    test_sink_expect_deleted(&rig.sink, "k");
    end(one);
}

// ---- values ----

static char *large_value(size_t size) {
    char *value = malloc(size + 1);
    assert_non_null(value);
    for (size_t i = 0; i < size; i++) {
        value[i] = (char)('a' + i * 31 % 26);
    }
    value[size] = '\0';
    return value;
}

static void large_values_are_told(void **state) {
    (void)state;
    enum { SIZE = 8 << 20 };
    begin("rescan=0");
    char *value = large_value(SIZE);
    struct test_sink small;
    test_sink_init(&small);
    struct weir_watch *one =
        redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "k", .event_bytes_max = 16 << 20});
    struct weir_watch *other = redis_rig_watch(
        &rig, &(struct redis_rig_watch){.key = "*", .sink = &small, .event_bytes_max = 100});
    for (int i = 0; i < 3; i++) {
        value[SIZE - 1] = (char)('A' + i); // its last byte alone differs
        redis_rig_do(&rig, "SET", "k", value);
        const struct weir_event *event = test_sink_next(&rig.sink);
        assert_int_equal(event->fields.data.value.bytes.size, SIZE);
        assert_memory_equal(event->fields.data.value.bytes.data, value, SIZE);
        const struct weir_event *without = test_sink_next(&small);
        assert_false(without->fields.data.is_some);
        assert_str_equal(test_extension(without, "datasize"), "8388608");
        assert_true(weir_str_equal(event->fields.id, without->fields.id));
    }
    weir_redis_provider.unwatch(other);
    // Where nobody wants the value, it is read in pieces, and known for what it is.
    value[0] = '!';
    other = redis_rig_watch(
        &rig, &(struct redis_rig_watch){.key = "*", .sink = &small, .event_bytes_max = 100});
    weir_redis_provider.unwatch(one);
    redis_rig_do(&rig, "SET", "k", value);
    const struct weir_event *without = test_sink_next(&small);
    assert_str_equal(test_extension(without, "datasize"), "8388608");
    redis_rig_do(&rig, "SET", "k", "now it fits");
    test_sink_expect_set(&small, "k", "now it fits");
    free(value);
    end(other);
    test_sink_finish(&small);
}

// ---- servers that go ----

static void a_server_that_dies_and_comes_back_loses_nothing(void **state) {
    (void)state;
    begin("rescan=0");
    struct weir_watch *one = watch("*");
    redis_rig_do(&rig, "MSET", "same", "1", "gone", "1", "changed", "1");
    for (int i = 0; i < 3; i++) {
        test_sink_next(&rig.sink);
    }
    for (int round = 0; round < 3; round++) {
        test_server_kill(rig.server);
        redis_rig_await_health(&rig, false);
        test_server_restart(rig.server);
        // Before weir is back, or after it.
        char value[16];
        snprintf(value, sizeof value, "round %d", round);
        redis_rig_do(&rig, "SET", "changed", value);
        test_sink_expect_set(&rig.sink, "changed", value);
        redis_rig_await_health(&rig, true);
    }
    redis_rig_do(&rig, "DEL", "gone");
    test_sink_expect_deleted(&rig.sink, "gone");
    assert_int_equal(redis_rig_reconnects(&rig), 3);
    // What is read and written goes on, too.
    struct weir_error err;
    struct weir_value got;
    const struct weir_limits limits = {.value_bytes_max = 100, .until_ns = INT64_MAX};
    assert_ok(weir_redis_provider.get(rig.resource, WEIR_STR("same"), &limits, &got, &err));
    free(got.data);
    test_server_restart(rig.server);
    assert_ok(
        weir_redis_provider.set(rig.resource, WEIR_STR("same"), WEIR_STR("2"), &limits, &err));
    test_sink_expect_set(&rig.sink, "same", "2");
    end(one);
}

static void a_server_that_is_wiped_has_lost_its_keys(void **state) {
    (void)state;
    begin("rescan=0");
    struct weir_watch *one = watch("*");
    redis_rig_do(&rig, "MSET", "a", "1", "b", "1");
    test_sink_await_count(&rig.sink, 2);
    rig.sink.next = 2;
    test_server_wipe(rig.server);
    const struct weir_event *first = test_sink_next(&rig.sink);
    const struct weir_event *second = test_sink_next(&rig.sink);
    assert_str_equal(first->fields.ty, WEIR_TYPE_KEYVALUE_DELETED);
    assert_str_equal(second->fields.ty, WEIR_TYPE_KEYVALUE_DELETED);
    assert_false(weir_str_equal(first->key, second->key));
    end(one);
}

static void a_server_that_stands_still_is_noticed(void **state) {
    (void)state;
    begin("rescan=0 timeout=500ms ping=200ms");
    struct weir_watch *one = watch("*");
    struct weir_error err;
    struct weir_value got;
    const struct weir_limits limits = {.value_bytes_max = 100, .until_ns = INT64_MAX};
    redis_rig_do(&rig, "SET", "k", "1");
    test_sink_expect_set(&rig.sink, "k", "1");
    test_server_pause(rig.server);
    redis_rig_await_health(&rig, false);
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(weir_redis_provider.get(rig.resource, WEIR_STR("k"), &limits, &got, &err),
                     WEIR_UNAVAILABLE);
    assert_int_equal(
        weir_redis_provider.set(rig.resource, WEIR_STR("k"), WEIR_STR("2"), &limits, &err),
        WEIR_UNAVAILABLE);
    struct weir_watch *none;
    assert_int_equal(redis_rig_try_watch(&rig, &(struct redis_rig_watch){.key = "k"}, &none, &err),
                     WEIR_UNAVAILABLE);
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 20 * WEIR_NS_PER_S);
    test_server_continue(rig.server);
    redis_rig_await_health(&rig, true);
    redis_rig_do(&rig, "SET", "k", "3");
    test_sink_skip_to_set(&rig.sink, "k", "3");
    end(one);
}

static void connections_that_are_cut_lose_nothing(void **state) {
    (void)state;
    begin("rescan=0");
    struct weir_watch *one = watch("*");
    char value[16];
    for (int i = 1; i <= 30; i++) {
        snprintf(value, sizeof value, "%d", i);
        if (i % 3 == 0) { // the bell
            redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", "pubsub");
        } else if (i % 3 == 1) { // all others
            redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", "normal");
        }
        redis_rig_do(&rig, "SET", "k", value);
        test_sink_skip_to_set(&rig.sink, "k", value);
    }
    assert_true(redis_rig_reconnects(&rig) > 5);
    end(one);
}

static void a_bell_that_overflows_loses_nothing(void **state) {
    (void)state;
    enum { KEYS = 20000 };
    begin("rescan=0");
    redis_rig_do(&rig, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 0 0");
    struct weir_watch *one = watch("*");
    test_sink_gate(&rig.sink, true); // the hub's thread stands still
    redis_rig_do(&rig, "SET", "first", "v");
    test_sink_await_gated(&rig.sink);
    for (int round = 0; round < 40; round++) { // more than sockets hold
        redis_rig_do(&rig, "EVAL",
                     "for i = 1, 20000 do redis.call('SET', 'key-with-a-rather-long-name:' .. i, "
                     "ARGV[1]) end",
                     "0", round % 2 ? "odd" : "even");
    }
    redis_rig_do(&rig, "SET", "last", "v");
    test_sink_gate(&rig.sink, false);
    test_sink_await_count(&rig.sink, KEYS + 2);
    assert_int_equal(redis_rig_reconnects(&rig), 1);
    end(one);
}

// ---- many ----

static void ten_thousand_watches_have_two_connections(void **state) {
    (void)state;
    enum { WATCHES = 10000 };
    static struct weir_watch *watches[WATCHES];
    struct test_sink sink;
    begin("rescan=0");
    test_sink_init(&sink);
    char key[32];
    for (int i = 0; i < WATCHES; i++) {
        snprintf(key, sizeof key, i % 2 ? "%d:k" : "%d:*", i);
        watches[i] = redis_rig_watch(&rig, &(struct redis_rig_watch){.key = key, .sink = &sink});
    }
    char *clients = redis_rig_ask(&rig, "CLIENT", "LIST");
    size_t ours = 0;
    for (const char *at = clients; (at = strstr(at, "name=weir:store")); at++) {
        ours++;
    }
    free(clients);
    assert_int_equal(ours, 2);
    for (int i = 0; i < WATCHES; i += 7) {
        snprintf(key, sizeof key, "%d:k", i);
        redis_rig_do(&rig, "SET", key, "v");
        test_sink_expect_set(&sink, key, "v");
    }
    assert_int_equal(test_sink_count(&sink), sink.next);
    // And all of them go on.
    redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", "normal");
    redis_rig_do(&rig, "SET", "9999:k", "w");
    test_sink_skip_to_set(&sink, "9999:k", "w");
    for (int i = 0; i < WATCHES; i++) {
        weir_redis_provider.unwatch(watches[i]);
    }
    end(NULL);
    test_sink_finish(&sink);
}

static void a_slow_sink_costs_keys_and_no_values(void **state) {
    (void)state;
    enum { KEYS = 200, WRITES = 100000 };
    begin("rescan=0");
    struct weir_watch *one = watch("*");
    test_sink_set_room(&rig.sink, 0, WEIR_AGAIN);
    redis_rig_do(&rig, "SET", "k:1", "first");
    test_sink_await_offers(&rig.sink, 1);
    size_t before = mallinfo2().uordblks;
    redis_rig_do(&rig, "EVAL",
                 "for i = 1, 100000 do redis.call('SET', 'k:' .. (i % 200), "
                 "string.rep('x', 1000) .. i) end",
                 "0");
    // A free one beside it has seen them all when it has seen what comes last.
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *free_one =
        redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "last", .sink = &other});
    redis_rig_do(&rig, "SET", "last", "v");
    test_sink_expect_set(&other, "last", "v");
    assert_int_equal(test_sink_offers(&rig.sink), 1);
    assert_in_range(mallinfo2().uordblks, 0, before + (4 << 20));
    test_sink_set_room(&rig.sink, SIZE_MAX, WEIR_AGAIN);
    weir_redis_provider.resume(one);
    test_sink_await_count(&rig.sink, KEYS + 1);
    weir_redis_provider.unwatch(free_one);
    end(one);
    test_sink_finish(&other);
}

static void more_keys_than_are_followed(void **state) {
    (void)state;
    begin("keys_max=3 rescan=0");
    struct weir_watch *one = watch("*"), *none;
    struct weir_error err;
    redis_rig_do(&rig, "MSET", "a", "1", "b", "1", "c", "1");
    test_sink_await_count(&rig.sink, 3);
    redis_rig_do(&rig, "SET", "d", "1");
    redis_rig_do(&rig, "SET", "a", "2");
    rig.sink.next = 3;
    test_sink_expect_set(&rig.sink, "a", "2");
    assert_int_equal(redis_rig_try_watch(&rig, &(struct redis_rig_watch){.key = "*"}, &none, &err),
                     WEIR_LIMIT);
    assert_message_has(&err, "keys_max");
    redis_rig_do(&rig, "DEL", "b"); // and there is room
    test_sink_expect_deleted(&rig.sink, "b");
    test_sink_expect_set(&rig.sink, "d", "1");
    end(one);
}

static void others_write_while_a_watch_begins(void **state) {
    (void)state;
    enum { KEYS = 5000 };
    begin("rescan=0");
    redis_rig_do(&rig, "EVAL", "for i = 1, 5000 do redis.call('SET', 'k:' .. i, 'old') end", "0");
    static struct test_notes notes;
    test_notes_init(&notes, &rig.sink);
    static struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *busy =
        redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "n", .sink = &other});
    for (int round = 0; round < 5; round++) {
        struct weir_watch *one = watch("k:*");
        redis_rig_do(&rig, "SET", "n", round % 2 ? "odd" : "even");
        redis_rig_do(&rig, "SET", "k:77", round % 2 ? "odd" : "even");
        test_sink_expect_set(&rig.sink, "k:77", round % 2 ? "odd" : "even");
        test_sink_next(&other);
        weir_redis_provider.unwatch(one);
    }
    weir_redis_provider.unwatch(busy);
    test_notes_finish(&notes);
    end(NULL);
    test_sink_finish(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_of_changing_a_key_is_told),
        cmocka_unit_test(another_database_is_another_one),
        cmocka_unit_test(an_evicted_key_is_told_as_deleted),
        cmocka_unit_test(large_values_are_told),
        cmocka_unit_test(a_server_that_dies_and_comes_back_loses_nothing),
        cmocka_unit_test(a_server_that_is_wiped_has_lost_its_keys),
        cmocka_unit_test(a_server_that_stands_still_is_noticed),
        cmocka_unit_test(connections_that_are_cut_lose_nothing),
        cmocka_unit_test(a_bell_that_overflows_loses_nothing),
        cmocka_unit_test(ten_thousand_watches_have_two_connections),
        cmocka_unit_test(a_slow_sink_costs_keys_and_no_values),
        cmocka_unit_test(more_keys_than_are_followed),
        cmocka_unit_test(others_write_while_a_watch_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
