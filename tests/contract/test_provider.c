// SPDX-License-Identifier: Apache-2.0
//
// The contract of provider.h, as tests that every provider has to pass. They know a provider only
// through struct weir_provider, and its source only through its fixture; a case runs for those that
// can do what it tests. How a watch goes on after a stop is in test_resume.c, publishing in
// test_publish.c.
//
// That something does not happen is shown without waiting for it: another change is made
// afterwards, and what was offered before that one came is all there is.
#include "contract/rig.h"

#include "base/clock.h"
#include "event/event.h"
#include "support/folder.h"

#include <stdio.h>
#include <stdlib.h>

// ---- values ----

static void keys_and_values_of_any_bytes_come_back(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    char value[RIG_ODD_KEYS][3];
    for (size_t i = 0; i < RIG_ODD_KEYS; i++) {
        memcpy(value[i], (char[]){'\0', (char)(0xF0 + i), (char)i}, 3);
        assert_ok(rig->provider->set(rig->resource, rig_odd_keys[i], (struct weir_str){value[i], 3},
                                     &rig_limits, &err));
    }
    for (size_t i = 0; i < RIG_ODD_KEYS; i++) {
        rig_check_value(rig, rig_odd_keys[i], (struct weir_str){value[i], 3});
    }
}

static void a_value_may_be_empty_or_large(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    rig_set(rig, "k", "");
    rig_check_value(rig, WEIR_STR("k"), WEIR_STR(""));
    size_t size = 3 << 20;
    char *large = malloc(size);
    assert_non_null(large);
    for (size_t i = 0; i < size; i++) {
        large[i] = (char)(i * 2654435761U >> 13);
    }
    struct weir_str value = {large, size};
    assert_ok(rig->provider->set(rig->resource, WEIR_STR("k"), value, &rig_limits, &err));
    rig_check_value(rig, WEIR_STR("k"), value);
    struct weir_value got;
    const struct weir_limits too_little = {.value_bytes_max = size - 1, .until_ns = INT64_MAX};
    assert_int_equal(rig->provider->get(rig->resource, WEIR_STR("k"), &too_little, &got, &err),
                     WEIR_LIMIT);
    free(large);
    rig_set(rig, "k", "short");
    rig_check_value(rig, WEIR_STR("k"), WEIR_STR("short"));
}

static void a_foreign_value_is_read(void **state) {
    struct rig *rig = rig_of(state);
    rig_foreign_set(rig, "dir/k", "theirs");
    rig_check_value(rig, WEIR_STR("dir/k"), WEIR_STR("theirs"));
}

static void what_is_not_there_is_not_found(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_value got;
    rig_set(rig, "k", "v");
    const struct weir_str absent[] = {WEIR_STR("kk"), WEIR_STR("k/k"), WEIR_STR("d/e/f"),
                                      WEIR_STR("..")};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        assert_int_equal(rig->provider->get(rig->resource, absent[i], &rig_limits, &got, &err),
                         WEIR_NOT_FOUND);
        assert_int_equal(err.status, WEIR_NOT_FOUND);
        assert_int_equal(rig->provider->remove(rig->resource, absent[i], &rig_limits, &err),
                         WEIR_NOT_FOUND);
    }
    assert_ok(rig->provider->remove(rig->resource, WEIR_STR("k"), &rig_limits, &err));
    assert_int_equal(rig->provider->get(rig->resource, WEIR_STR("k"), &rig_limits, &got, &err),
                     WEIR_NOT_FOUND);
    assert_int_equal(rig->provider->remove(rig->resource, WEIR_STR("k"), &rig_limits, NULL),
                     WEIR_NOT_FOUND);
}

static void a_malformed_key_is_invalid_everywhere(void **state) {
    struct rig *rig = rig_of(state);
    char longest[WEIR_KEY_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    const struct weir_str malformed[] = {
        {"", 0}, {"a\0b", 3}, {"\0", 1}, {longest, sizeof longest}};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct weir_error err;
        struct weir_value got;
        struct weir_str key = malformed[i];
        const struct weir_provider *provider = rig->provider;
        if (rig_can(rig, WEIR_CAN_GET)) {
            assert_int_equal(provider->get(rig->resource, key, &rig_limits, &got, &err),
                             WEIR_INVALID);
        }
        if (rig_can(rig, WEIR_CAN_SET)) {
            assert_int_equal(provider->set(rig->resource, key, WEIR_STR("v"), &rig_limits, &err),
                             WEIR_INVALID);
            assert_int_equal(provider->remove(rig->resource, key, &rig_limits, &err), WEIR_INVALID);
        }
        struct weir_watch_args args = {
            .pattern = {.text = key},
            .sink = test_sink_of(&rig->sink),
            .event_bytes_max = RIG_EVENT_BYTES_MAX,
        };
        struct weir_watch *none = NULL;
        assert_int_equal(provider->watch(rig->resource, &args, &none, &err), WEIR_INVALID);
        assert_null(none);
        struct weir_promise promise;
        assert_int_equal(provider->promise(rig->resource, &args.pattern, &promise, &err),
                         WEIR_INVALID);
    }
}

static void every_key_has_a_promise(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_promise promise;
    const char *keys[] = {"k", "k*", "*", "a/b/*"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct weir_pattern pattern = weir_pattern_of(weir_str_of(keys[i]));
        assert_ok(rig->provider->promise(rig->resource, &pattern, &promise, &err));
        assert_non_null(weir_strength_name(promise.strength));
        assert_int_equal(promise.capabilities & ~WEIR_WATCH_CAPABILITIES, 0);
        assert_int_equal(promise.capabilities & ~rig->provider->capabilities, 0);
        const uint32_t goes_on = WEIR_CAN_REPLAY | WEIR_CAN_COMPARE;
        assert_true((promise.capabilities & goes_on) != goes_on);
    }
}

// ---- list ----

struct listed {
    size_t count, count_max;
    char keys[64][64];
    size_t sizes[64];
};

static bool collect(void *context, struct weir_str key) {
    struct listed *listed = context;
    assert_in_range(listed->count, 0, 63);
    assert_in_range(key.size, 1, 63);
    memcpy(listed->keys[listed->count], key.data, key.size);
    listed->sizes[listed->count++] = key.size;
    return listed->count < listed->count_max;
}

static void expect_list(const struct rig *rig, const char *key, const char *const *wanted) {
    struct weir_error err;
    struct listed listed = {.count_max = SIZE_MAX};
    const struct weir_listing listing = {.each = collect, .context = &listed};
    struct weir_pattern pattern = weir_pattern_of(weir_str_of(key));
    assert_ok(rig->provider->list(rig->resource, &pattern, &rig_limits, &listing, &err));
    size_t count = 0;
    for (; wanted[count]; count++) {
        assert_in_range(count + 1, 1, listed.count);
        assert_string_equal(listed.keys[count], wanted[count]);
    }
    assert_int_equal(listed.count, count);
}

static void a_list_is_in_byte_order(void **state) {
    struct rig *rig = rig_of(state);
    expect_list(rig, "*", (const char *[]){NULL});
    const char *keys[] = {"b/y", "b/x/z", "a", "b.c", "b0", "c/", "B", "b/x/a", "\xff", "b/"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        rig_set(rig, keys[i], "v");
    }
    expect_list(
        rig, "*",
        (const char *[]){"B", "a", "b.c", "b/", "b/x/a", "b/x/z", "b/y", "b0", "c/", "\xff", NULL});
    expect_list(rig, "b/*", (const char *[]){"b/", "b/x/a", "b/x/z", "b/y", NULL});
    expect_list(rig, "b/x*", (const char *[]){"b/x/a", "b/x/z", NULL});
    expect_list(rig, "b*", (const char *[]){"b.c", "b/", "b/x/a", "b/x/z", "b/y", "b0", NULL});
    expect_list(rig, "b/y", (const char *[]){"b/y", NULL});
    expect_list(rig, "b/x", (const char *[]){NULL});
    expect_list(rig, "none/*", (const char *[]){NULL});
}

static void every_odd_key_is_listed(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    for (size_t i = 0; i < RIG_ODD_KEYS; i++) {
        assert_ok(
            rig->provider->set(rig->resource, rig_odd_keys[i], WEIR_STR("v"), &rig_limits, &err));
    }
    struct listed listed = {.count_max = SIZE_MAX};
    const struct weir_listing listing = {.each = collect, .context = &listed};
    struct weir_pattern all = weir_pattern_of(WEIR_STR("*"));
    assert_ok(rig->provider->list(rig->resource, &all, &rig_limits, &listing, &err));
    assert_int_equal(listed.count, RIG_ODD_KEYS);
    for (size_t i = 0; i < RIG_ODD_KEYS; i++) {
        size_t found = 0;
        for (size_t at = 0; at < listed.count; at++) {
            found += weir_str_equal(rig_odd_keys[i],
                                    (struct weir_str){listed.keys[at], listed.sizes[at]});
        }
        assert_int_equal(found, 1);
    }
}

static void a_list_ends_when_told(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    const char *keys[] = {"a/1", "a/2", "b", "c/d/1", "c/d/2"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        rig_set(rig, keys[i], "v");
    }
    for (size_t most = 1; most < 5; most++) {
        struct listed listed = {.count_max = most};
        const struct weir_listing listing = {.each = collect, .context = &listed};
        struct weir_pattern all = weir_pattern_of(WEIR_STR("*"));
        assert_ok(rig->provider->list(rig->resource, &all, &rig_limits, &listing, &err));
        assert_int_equal(listed.count, most);
    }
}

// ---- watch ----

static void an_event_says_what_happened(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_watch *all = rig_watch(rig, "*");
    rig_foreign_set(rig, "orders/1", "hello");
    const struct weir_event *event = test_sink_expect_set(&rig->sink, "orders/1", "hello");
    const struct weir_event_fields *fields = &event->fields;
    assert_ok(weir_event_fields_check(fields, &err));
    assert_true(weir_str_equal(fields->source, WEIR_STR("/store")));
    assert_true(fields->subject.is_some);
    assert_true(weir_str_equal(fields->subject.value, WEIR_STR("orders/1")));
    assert_int_equal(fields->data.value.kind, WEIR_PAYLOAD_TEXT);
    assert_true(fields->time.is_some);
    struct weir_str revision = test_extension(event, WEIR_EXTENSION_REVISION);
    assert_true(revision.size > 0);
    char id[256];
    snprintf(id, sizeof id, "orders/1@%.*s", WEIR_STR_ARG(revision));
    assert_true(weir_str_equal(fields->id, weir_str_of(id)));

    rig_foreign_remove(rig, "orders/1");
    event = test_sink_expect_deleted(&rig->sink, "orders/1");
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_false(weir_str_equal(event->fields.id, fields->id));

    assert_ok(rig->provider->set(rig->resource, WEIR_STR("bin"), (struct weir_str){"\xff\0", 2},
                                 &rig_limits, &err));
    event = test_sink_next(&rig->sink);
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_int_equal(event->fields.data.value.kind, WEIR_PAYLOAD_BINARY);
    assert_int_equal(event->fields.data.value.bytes.size, 2);
    rig->provider->unwatch(all);
}

static void every_odd_key_is_told(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_watch *all = rig_watch(rig, "*");
    for (size_t i = 0; i < RIG_ODD_KEYS; i++) {
        assert_ok(
            rig->provider->set(rig->resource, rig_odd_keys[i], WEIR_STR("v"), &rig_limits, &err));
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(event->key, rig_odd_keys[i]));
        assert_ok(weir_event_fields_check(&event->fields, &err));
        assert_ok(rig->provider->remove(rig->resource, rig_odd_keys[i], &rig_limits, &err));
        event = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(event->key, rig_odd_keys[i]));
        assert_true(weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED)));
    }
    rig->provider->unwatch(all);
}

static void a_watch_of_a_key_sees_that_key_only(void **state) {
    struct rig *rig = rig_of(state);
    const char *keys[] = {"k", "d/k", "d/e/f"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct weir_watch *one = rig_watch(rig, keys[i]);
        rig_foreign_set(rig, "kk", "no");
        rig_foreign_set(rig, "d/other", "no");
        rig_foreign_set(rig, "d/e/other", "no");
        rig_foreign_set(rig, keys[i], "yes");
        test_sink_expect_set(&rig->sink, keys[i], "yes");
        rig_foreign_remove(rig, keys[i]);
        test_sink_expect_deleted(&rig->sink, keys[i]);
        rig_foreign_set(rig, keys[i], "again");
        test_sink_expect_set(&rig->sink, keys[i], "again");
        rig->provider->unwatch(one);
    }
}

static void a_watch_of_a_prefix_sees_every_key_with_it(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *some = rig_watch(rig, "or/d*");
    rig_foreign_set(rig, "or", "no");
    rig_foreign_set(rig, "d", "no");
    rig_foreign_remove(rig, "or");
    rig_foreign_set(rig, "or/e", "no");
    rig_foreign_set(rig, "or/d", "1");
    test_sink_expect_set(&rig->sink, "or/d", "1");
    rig_foreign_set(rig, "or/f/d", "no");
    rig_foreign_set(rig, "or/d2", "2");
    test_sink_expect_set(&rig->sink, "or/d2", "2");
    rig_foreign_set(rig, "or/d3/x/y", "3");
    test_sink_expect_set(&rig->sink, "or/d3/x/y", "3");
    rig_foreign_remove(rig, "or/d2");
    test_sink_expect_deleted(&rig->sink, "or/d2");
    rig->provider->unwatch(some);
}

static void a_watch_begins_when_watch_returns(void **state) {
    struct rig *rig = rig_of(state);
    const char *patterns[] = {"k", "*", "d/k", "d/*"};
    for (int round = 0; round < 200; round++) {
        const char *pattern = patterns[round % 4];
        const char *key = round % 4 < 2 ? "k" : "d/k";
        char before[32], after[32];
        snprintf(before, sizeof before, "before %d", round);
        snprintf(after, sizeof after, "after %d", round);
        rig_foreign_set(rig, key, before);
        struct weir_watch *one = rig_watch(rig, pattern);
        rig_foreign_set(rig, key, after);
        test_sink_expect_set(&rig->sink, key, after);
        rig->provider->unwatch(one);
    }
}

static void a_key_goes_forward_only(void **state) {
    struct rig *rig = rig_of(state);
    enum { WRITES = 1000 };
    struct weir_watch *one = rig_watch(rig, "k");
    char text[32];
    for (int i = 1; i <= WRITES; i++) {
        snprintf(text, sizeof text, "%d", i);
        rig_foreign_set(rig, "k", text);
    }
    int last = 0;
    while (last < WRITES) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_SET)));
        snprintf(text, sizeof text, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
        int now = atoi(text);
        assert_in_range(now, last + 1, WRITES); // neither back, nor twice, nor half of a value
        last = now;
    }
    rig->provider->unwatch(one);
}

static void the_same_change_has_the_same_id_everywhere(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_resource *again = rig_open(rig, "store");
    struct test_sink others[2];
    struct weir_watch *watches[3];
    watches[0] = rig_watch(rig, "d/*");
    for (int i = 0; i < 2; i++) {
        test_sink_init(&others[i]);
        watches[i + 1] = rig_watch_into(rig, i == 0 ? rig->resource : again, i == 0 ? "d/k" : "*",
                                        &others[i], RIG_EVENT_BYTES_MAX);
    }
    for (int round = 0; round < 4; round++) {
        if (round % 2 == 0) {
            rig_foreign_set(rig, "d/k", round == 0 ? "one" : "two");
        } else {
            rig_foreign_remove(rig, "d/k");
        }
        const struct weir_event *event = test_sink_next(&rig->sink);
        for (int i = 0; i < 2; i++) {
            const struct weir_event *other = test_sink_next(&others[i]);
            assert_true(weir_str_equal(event->fields.id, other->fields.id));
            assert_true(weir_str_equal(event->fields.source, other->fields.source));
            assert_true(
                weir_str_equal(event->fields.data.value.bytes, other->fields.data.value.bytes));
        }
    }
    for (int i = 0; i < 3; i++) {
        rig->provider->unwatch(watches[i]);
    }
    rig->provider->close(again);
    test_sink_finish(&others[0]);
    test_sink_finish(&others[1]);
}

static void a_value_that_is_too_large_is_told_without_data(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *one = rig_watch_into(rig, rig->resource, "k", &rig->sink, 8);
    rig_foreign_set(rig, "k", "12345678");
    test_sink_expect_set(&rig->sink, "k", "12345678");
    rig_foreign_set(rig, "k", "123456789");
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_true(weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_SET)));
    assert_false(event->fields.data.is_some);
    assert_true(weir_str_equal(test_extension(event, "datasize"), WEIR_STR("9")));
    assert_true(weir_str_equal(test_extension(event, "dataomitted"), WEIR_STR("size")));
    rig->provider->unwatch(one);
}

// ---- sinks ----

static void a_full_sink_pauses_itself_only(void **state) {
    struct rig *rig = rig_of(state);
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *full = rig_watch(rig, "*");
    struct weir_watch *free_one =
        rig_watch_into(rig, rig->resource, "*", &other, RIG_EVENT_BYTES_MAX);
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    rig_foreign_set(rig, "a", "1");
    test_sink_expect_set(&other, "a", "1");
    test_sink_await_offers(&rig->sink, 1);
    rig_foreign_set(rig, "b", "1");
    test_sink_expect_set(&other, "b", "1");
    rig_foreign_set(rig, "a", "2");
    test_sink_expect_set(&other, "a", "2");
    rig_foreign_set(rig, "c", "1");
    test_sink_expect_set(&other, "c", "1");
    rig_foreign_remove(rig, "c");
    test_sink_expect_deleted(&other, "c");
    rig_foreign_set(rig, "a", "3");
    test_sink_expect_set(&other, "a", "3");
    assert_int_equal(test_sink_offers(&rig->sink), 1); // it was not asked before resume

    // Room for one: the key that came first, as it was or as it is now. Then the next one is
    // refused.
    test_sink_set_room(&rig->sink, 1, WEIR_AGAIN);
    rig->provider->resume(full);
    const struct weir_event *first = test_sink_next(&rig->sink);
    assert_str_equal(first->key, "a");
    test_sink_await_offers(&rig->sink, 3);
    assert_int_equal(test_sink_count(&rig->sink), rig->sink.next);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    rig->provider->resume(full);
    bool a = test_is_set(first, "a", "3"), b = false; // in any order: they are different keys
    while (!a || !b) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        a = a || test_is_set(event, "a", "3");
        b = b || test_is_set(event, "b", "1");
    }
    rig_foreign_set(rig, "d", "1");
    test_sink_skip_to_set(&rig->sink, "d", "1");
    rig->provider->unwatch(full);
    rig->provider->unwatch(free_one);
    test_sink_finish(&other);
}

static void a_full_sink_holds_up_the_others_and_loses_nothing(void **state) {
    struct rig *rig = rig_of(state);
    enum { CHANGES = 200 };
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *full = rig_watch(rig, "*");
    struct weir_watch *free_one =
        rig_watch_into(rig, rig->resource, "*", &other, RIG_EVENT_BYTES_MAX);
    char key[16], value[16];
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    for (int i = 0; i < CHANGES; i++) {
        snprintf(key, sizeof key, "k%d", i % 3);
        snprintf(value, sizeof value, "%d", i);
        rig_foreign_set(rig, key, value);
    }
    test_sink_await_offers(&rig->sink, 1);
    assert_in_range(test_sink_count(&other), 0, CHANGES - 1);
    assert_int_equal(test_sink_offers(&rig->sink), 1); // it was not asked before resume
    // Ends: each time it has room for some more.
    for (size_t room = 7; test_sink_count(&rig->sink) < CHANGES; room = room % 13 + 1) {
        size_t offers = test_sink_offers(&rig->sink);
        test_sink_set_room(&rig->sink, room, WEIR_AGAIN);
        rig->provider->resume(full);
        test_sink_await_offers(&rig->sink, offers + 1);
    }
    struct test_sink *sinks[] = {&rig->sink, &other};
    for (size_t s = 0; s < COUNT_OF(sinks); s++) {
        for (int i = 0; i < CHANGES; i++) {
            snprintf(key, sizeof key, "k%d", i % 3);
            snprintf(value, sizeof value, "%d", i);
            test_sink_expect_set(sinks[s], key, value);
        }
    }
    rig->provider->unwatch(full);
    rig->provider->unwatch(free_one);
    assert_int_equal(test_sink_count(&other), CHANGES);
    test_sink_finish(&other);
}

static void resume_without_need_does_nothing(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *one = rig_watch(rig, "k");
    rig->provider->resume(one);
    rig->provider->resume(one);
    rig_foreign_set(rig, "k", "1");
    test_sink_expect_set(&rig->sink, "k", "1");
    rig->provider->resume(one);
    rig_foreign_set(rig, "k", "2");
    test_sink_expect_set(&rig->sink, "k", "2");
    assert_int_equal(test_sink_offers(&rig->sink), 2);
    rig->provider->unwatch(one);
}

static void what_is_refused_a_thousand_times_comes_in_the_end(void **state) {
    struct rig *rig = rig_of(state);
    enum { KEYS = 300 };
    struct weir_watch *one = rig_watch(rig, "*");
    char key[16];
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        rig_foreign_set(rig, key, "v");
    }
    bool is_told[KEYS] = {false};
    test_sink_await_offers(&rig->sink, 1);
    for (int i = 0; i < KEYS; i++) {
        test_sink_set_room(&rig->sink, 1, WEIR_AGAIN);
        rig->provider->resume(one);
        const struct weir_event *event = test_sink_next(&rig->sink);
        snprintf(key, sizeof key, "%.*s", WEIR_STR_ARG(event->key));
        int number = atoi(key + 1);
        assert_in_range(number, 0, KEYS - 1);
        assert_false(is_told[number]);
        is_told[number] = true;
    }
    rig->provider->unwatch(one);
}

static void a_sink_without_memory_is_asked_again_by_itself(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *one = rig_watch(rig, "*");
    test_sink_set_room(&rig->sink, 0, WEIR_NO_MEMORY);
    rig_foreign_set(rig, "a", "1");
    test_sink_await_offers(&rig->sink, 2);
    rig_foreign_set(rig, "b", "1");
    test_sink_await_offers(&rig->sink, 4);
    rig_foreign_set(rig, "a", "2");
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_NO_MEMORY);
    // Whichever comes first: each key's last value does.
    bool a = false, b = false;
    while (!a || !b) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        a = a || test_is_set(event, "a", "2");
        b = b || test_is_set(event, "b", "1");
    }
    rig->provider->unwatch(one);
}

static void a_sink_that_is_done_is_left_alone(void **state) {
    struct rig *rig = rig_of(state);
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *done = rig_watch(rig, "*");
    struct weir_watch *marker =
        rig_watch_into(rig, rig->resource, "*", &other, RIG_EVENT_BYTES_MAX);
    test_sink_set_room(&rig->sink, 0, WEIR_STOPPED);
    rig_foreign_set(rig, "a", "1");
    test_sink_await_offers(&rig->sink, 1);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_STOPPED);
    rig_foreign_set(rig, "a", "2");
    rig_foreign_set(rig, "b", "1");
    test_sink_skip_to_set(&other, "b", "1");
    rig_foreign_set(rig, "c", "1");
    test_sink_skip_to_set(&other, "c", "1");
    assert_int_equal(test_sink_offers(&rig->sink), 1);
    rig->provider->unwatch(done);
    rig->provider->unwatch(marker);
    test_sink_finish(&other);
}

static void after_unwatch_the_sink_is_not_called(void **state) {
    struct rig *rig = rig_of(state);
    struct test_sink other;
    test_sink_init(&other);
    struct weir_watch *marker =
        rig_watch_into(rig, rig->resource, "*", &other, RIG_EVENT_BYTES_MAX);
    char text[32];
    for (int i = 0; i < 100; i++) {
        struct weir_watch *one = rig_watch(rig, i % 2 ? "k" : "*");
        snprintf(text, sizeof text, "%d", i);
        rig_foreign_set(rig, "k", text);
        rig->provider->unwatch(one); // perhaps in the middle of it
        size_t offers = test_sink_offers(&rig->sink);
        snprintf(text, sizeof text, "%d again", i);
        rig_foreign_set(rig, "k", text);
        test_sink_skip_to_set(&other, "k", text);
        assert_int_equal(test_sink_offers(&rig->sink), offers);
    }
    rig->provider->unwatch(marker);
    rig->provider->unwatch(NULL);
    test_sink_finish(&other);
}

// ---- threads and limits ----

static void ten_thousand_watches_leave_nothing_behind(void **state) {
    struct rig *rig = rig_of(state);
    rig_foreign_set(rig, "d/k", "v");
    struct weir_watch *first = rig_watch(rig, "*");
    size_t fds = test_count_fds(), threads = test_count_threads();
    rig->provider->unwatch(first);
    const char *keys[] = {"d/k", "*", "d/*", "none/k"};
    for (int i = 0; i < 10000; i++) {
        rig->provider->unwatch(rig_watch(rig, keys[i % 4]));
    }
    struct weir_watch *last = rig_watch(rig, "*"); // whatever was to be done is done now
    assert_in_range(test_count_fds(), 0, fds);
    assert_in_range(test_count_threads(), 0, threads);
    rig_foreign_set(rig, "d/k", "w");
    test_sink_expect_set(&rig->sink, "d/k", "w");
    rig->provider->unwatch(last);
}

static void resources_leave_nothing_behind(void **state) {
    struct rig *rig = rig_of(state);
    // The first thread of a program may bring the sanitizer's along.
    rig->provider->unwatch(rig_watch(rig, "*"));
    rig_reopen(rig);
    size_t fds = test_count_fds(), threads = test_count_threads();
    for (int i = 0; i < 100; i++) {
        struct weir_resource *resource = rig_open(rig, "other");
        if (i % 2) {
            struct weir_watch *one =
                rig_watch_into(rig, resource, "*", &rig->sink, RIG_EVENT_BYTES_MAX);
            rig->provider->unwatch(one);
        }
        int64_t began_ns = weir_clock_monotonic_ns();
        rig->provider->close(resource);
        assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 2 * WEIR_NS_PER_S);
    }
    assert_int_equal(test_count_fds(), fds);
    // Who was joined may still be on its way out.
    WAIT_UNTIL(test_count_threads() <= threads);
    rig->provider->close(NULL);
}

struct worker {
    struct rig *rig;
    int number;
    const char *failure; // a thread that is not the test's cannot fail it
    pthread_t thread;
    struct test_sink sink;
};

static void *watch_and_write(void *argument) {
    struct worker *worker = argument;
    const struct weir_provider *provider = worker->rig->provider;
    struct weir_resource *resource = worker->rig->resource;
    char own[16], text[16];
    snprintf(own, sizeof own, "own/%d", worker->number);
    for (int i = 0; i < 50; i++) {
        struct weir_watch_args args = {
            .pattern = weir_pattern_of(i % 2 ? WEIR_STR("own/*") : weir_str_of(own)),
            .sink = test_sink_of(&worker->sink),
            .event_bytes_max = RIG_EVENT_BYTES_MAX,
        };
        struct weir_watch *one;
        struct weir_value got;
        int size = snprintf(text, sizeof text, "%d", i);
        if (provider->watch(resource, &args, &one, NULL) ||
            provider->set(resource, weir_str_of(own), (struct weir_str){text, (size_t)size},
                          &rig_limits, NULL)) {
            worker->failure = "watch or set failed";
            return NULL;
        }
        const struct weir_event *event;
        do {
            event = test_sink_try_next(&worker->sink);
        } while (event && !test_is_set(event, own, text));
        if (!event) {
            worker->failure = "the set was not told";
            return NULL;
        }
        provider->resume(one);
        provider->unwatch(one);
        if (provider->get(resource, weir_str_of(own), &rig_limits, &got, NULL)) {
            worker->failure = "get failed";
            return NULL;
        }
        free(got.data);
    }
    return NULL;
}

static void many_threads_may_use_one_resource(void **state) {
    struct rig *rig = rig_of(state);
    enum { WORKERS = 6 };
    struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.rig = rig, .number = i};
        test_sink_init(&workers[i].sink);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, watch_and_write, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        if (workers[i].failure) {
            fail_msg("thread %d: %s", i, workers[i].failure);
        }
        test_sink_finish(&workers[i].sink);
    }
}

// ---- tables ----

static void each_provider_is_found_by_its_kind(void **state) {
    (void)state;
    for (size_t i = 0; weir_providers[i]; i++) {
        const struct weir_provider *provider = weir_providers[i];
        assert_ptr_equal(weir_provider_find(weir_str_of(provider->kind)), provider);
        assert_true(strlen(provider->summary) > 0);
        assert_true(provider->options.count > 0); // KIND:VALUE is its first option
        bool can_get = provider->capabilities & WEIR_CAN_GET;
        bool can_set = provider->capabilities & WEIR_CAN_SET;
        bool can_list = provider->capabilities & WEIR_CAN_LIST;
        bool can_watch = provider->capabilities & WEIR_CAN_WATCH;
        bool can_acknowledge = provider->capabilities & WEIR_CAN_ACK;
        bool can_publish = provider->capabilities & WEIR_CAN_PUBLISH;
        bool can_update = provider->capabilities & WEIR_CAN_UPDATE;
        assert_int_equal(can_get, provider->get != NULL);
        assert_int_equal(can_set, provider->set != NULL && provider->remove != NULL);
        assert_int_equal(can_list, provider->list != NULL);
        assert_int_equal(can_watch, provider->watch && provider->unwatch && provider->resume);
        assert_int_equal(can_acknowledge, provider->acknowledge != NULL);
        assert_int_equal(can_publish, provider->publish != NULL);
        assert_int_equal(can_update, provider->update != NULL);
        assert_true(!can_watch || provider->promise);
    }
    assert_null(weir_provider_find(WEIR_STR("no-such-kind")));
    assert_null(weir_provider_find(WEIR_STR("")));
}

int main(void) {
    const struct CMUnitTest values[] = {
        RIG_CASE(keys_and_values_of_any_bytes_come_back),
        RIG_CASE(a_value_may_be_empty_or_large),
        RIG_CASE(what_is_not_there_is_not_found),
        RIG_CASE(a_list_is_in_byte_order),
        RIG_CASE(every_odd_key_is_listed),
        RIG_CASE(a_list_ends_when_told),
    };
    const struct CMUnitTest foreign_values[] = {
        RIG_CASE(a_foreign_value_is_read),
    };
    const struct CMUnitTest keys[] = {
        RIG_CASE(a_malformed_key_is_invalid_everywhere),
        RIG_CASE(every_key_has_a_promise),
        RIG_CASE(resources_leave_nothing_behind),
    };
    const struct CMUnitTest watched_values[] = {
        RIG_CASE(an_event_says_what_happened),
        RIG_CASE(every_odd_key_is_told),
        RIG_CASE(many_threads_may_use_one_resource),
    };
    const struct CMUnitTest watches[] = {
        RIG_CASE(a_watch_of_a_key_sees_that_key_only),
        RIG_CASE(a_watch_of_a_prefix_sees_every_key_with_it),
        RIG_CASE(a_watch_begins_when_watch_returns),
        RIG_CASE(a_key_goes_forward_only),
        RIG_CASE(the_same_change_has_the_same_id_everywhere),
        RIG_CASE(a_value_that_is_too_large_is_told_without_data),
        RIG_CASE(resume_without_need_does_nothing),
        RIG_CASE(what_is_refused_a_thousand_times_comes_in_the_end),
        RIG_CASE(a_sink_without_memory_is_asked_again_by_itself),
        RIG_CASE(a_sink_that_is_done_is_left_alone),
        RIG_CASE(after_unwatch_the_sink_is_not_called),
        RIG_CASE(ten_thousand_watches_leave_nothing_behind),
    };
    const struct CMUnitTest own_pauses[] = {
        RIG_CASE(a_full_sink_pauses_itself_only),
    };
    const struct CMUnitTest shared_pauses[] = {
        RIG_CASE(a_full_sink_holds_up_the_others_and_loses_nothing),
    };
    const struct CMUnitTest tables[] = {
        cmocka_unit_test(each_provider_is_found_by_its_kind),
    };
    const uint32_t stores = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST;
    int failed = cmocka_run_group_tests_name("providers", tables, NULL, NULL);
    failed +=
        rig_run("values", (struct rig_needs){.capabilities = stores}, values, COUNT_OF(values));
    failed += rig_run("foreign values",
                      (struct rig_needs){.capabilities = stores, .foreign_changes = true},
                      foreign_values, COUNT_OF(foreign_values));
    failed +=
        rig_run("keys", (struct rig_needs){.capabilities = WEIR_CAN_WATCH}, keys, COUNT_OF(keys));
    failed += rig_run(
        "watched values",
        (struct rig_needs){.capabilities = stores | WEIR_CAN_WATCH, .foreign_changes = true},
        watched_values, COUNT_OF(watched_values));
    failed += rig_run("watches",
                      (struct rig_needs){.capabilities = WEIR_CAN_WATCH, .foreign_changes = true},
                      watches, COUNT_OF(watches));
    failed += rig_run("pauses",
                      (struct rig_needs){.capabilities = WEIR_CAN_WATCH,
                                         .without = WEIR_SHARES_PAUSE,
                                         .foreign_changes = true},
                      own_pauses, COUNT_OF(own_pauses));
    failed += rig_run(
        "shared pauses",
        (struct rig_needs){.capabilities = WEIR_CAN_WATCH | WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE,
                           .foreign_changes = true},
        shared_pauses, COUNT_OF(shared_pauses));
    return failed;
}
