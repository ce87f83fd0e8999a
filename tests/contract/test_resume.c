// SPDX-License-Identifier: Apache-2.0
//
// The contract of provider.h on how a watch goes on after a stop: of a source that can compare, of
// one that keeps what was not acknowledged, of one whose history is gone. The sink keeps in memory
// what weir keeps in its store.
//
// "Nothing else was told" is shown by going on once more: what is told then is the change that was
// made in between, and nothing of before.
#include "contract/rig.h"

#include "base/progress.h"
#include "support/notes.h"

#include <stdio.h>

// Static in each case: a case that fails leaves its watch to the rig's end.
struct stop {
    struct rig *rig;
    struct test_notes memory;
    uint64_t event_bytes_max;
    struct weir_meter meter;
    struct weir_watch *watch; // NULL: weir does not run
};

static void stop_init(struct stop *stop, struct rig *rig) {
    *stop = (struct stop){.rig = rig, .event_bytes_max = RIG_EVENT_BYTES_MAX};
    test_notes_init(&stop->memory, &rig->sink);
}

static void end(struct stop *stop) {
    stop->rig->provider->unwatch(stop->watch);
    stop->watch = NULL;
    rig_reopen(stop->rig);
}

static void stop_finish(struct stop *stop) {
    stop->rig->provider->unwatch(stop->watch);
    test_notes_finish(&stop->memory);
}

static weir_status try_begin(struct stop *stop, const char *key, bool goes_on,
                             struct weir_error *err) {
    struct weir_resume resume = test_notes_resume(&stop->memory);
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(key)),
        .sink = test_notes_of(&stop->memory),
        .event_bytes_max = stop->event_bytes_max,
        .resume = goes_on ? &resume : NULL,
        .meter = &stop->meter,
    };
    return stop->rig->provider->watch(stop->rig->resource, &args, &stop->watch, err);
}

static void begin(struct stop *stop, const char *key) {
    struct weir_error err;
    assert_ok(try_begin(stop, key, false, &err));
}

static void go_on(struct stop *stop, const char *key) {
    struct weir_error err;
    assert_ok(try_begin(stop, key, true, &err));
}

// What is told next is one of these, in any order: "KEY" deleted, "KEY=VALUE" set; each once.
static void expect_each(struct stop *stop, const char *const *wanted) {
    size_t count = 0, told = 0;
    while (wanted[count]) {
        count++;
    }
    assert_in_range(count, 0, 63);
    for (uint64_t seen = 0; told < count; told++) {
        const struct weir_event *event = test_sink_next(&stop->rig->sink);
        char text[256];
        bool is_set = weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_SET));
        snprintf(text, sizeof text, "%.*s%s%.*s", WEIR_STR_ARG(event->key), is_set ? "=" : "",
                 WEIR_STR_ARG(event->fields.data.value.bytes));
        size_t i = 0;
        while (i < count && strcmp(text, wanted[i]) != 0) {
            i++;
        }
        if (i == count || seen >> i & 1) {
            fail_msg("\"%s\" was told%s", text, i == count ? "" : " again");
        }
        assert_int_equal(event->position.size > 0, is_set);
        assert_int_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT).size, 0);
        seen |= UINT64_C(1) << i;
    }
}

// That nothing waits to be told: the next thing is a change that is made now.
static void expect_nothing(struct stop *stop, const char *pattern, const char *key) {
    static unsigned number;
    char value[32];
    snprintf(value, sizeof value, "marker %u", ++number);
    end(stop);
    rig_foreign_set(stop->rig, key, value);
    go_on(stop, pattern);
    test_sink_expect_set(&stop->rig->sink, key, value);
}

// What a meter says is under way; NULL: nothing.
static const char *under_way(struct weir_meter *meter) {
    struct weir_progress progress;
    weir_meter_read(meter, &progress);
    return progress.what;
}

// ---- sources that compare

static void what_is_there_when_a_watch_begins_is_remembered(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    char key[16];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "%s%d", i % 2 ? "d/" : "", i);
        rig_foreign_set(rig, key, "v");
    }
    const char *patterns[] = {"*", "d/*", "d/1", "none"};
    const size_t counts[] = {40, 20, 1, 0};
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        stop_init(&stop, rig);
        begin(&stop, patterns[i]);
        assert_int_equal(stop.memory.remembered, counts[i]);
        assert_int_equal(test_notes_count(&stop.memory), counts[i]);
        end(&stop);
        go_on(&stop, patterns[i]);
        expect_nothing(&stop, patterns[i], i == 0 ? "marker" : i == 3 ? "none" : "d/1");
        stop_finish(&stop);
    }
}

static void write_while_it_remembers(void *context) {
    const struct stop *stop = context;
    char value[32];
    snprintf(value, sizeof value, "%zu", stop->memory.remembered);
    rig_foreign_set(stop->rig, "a", value);
    rig_foreign_set(stop->rig, "c", value);
}

static void no_event_overtakes_what_is_remembered(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    const char *keys[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        rig_foreign_set(rig, keys[i], "before");
    }
    stop_init(&stop, rig);
    stop.memory.during = write_while_it_remembers;
    stop.memory.during_context = &stop;
    begin(&stop, "*");
    assert_int_equal(stop.memory.remembered, 3);
    expect_each(&stop, (const char *[]){"a=2", "c=2", NULL});
    assert_false(stop.memory.is_overtaken);
    expect_nothing(&stop, "*", "b");
    stop_finish(&stop);
}

static void a_watch_that_cannot_remember_fails(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    static struct stop stop;
    rig_foreign_set(rig, "k", "v");
    const weir_status refusals[] = {WEIR_UNAVAILABLE, WEIR_NO_MEMORY};
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        stop_init(&stop, rig);
        stop.memory.refusal = refusals[i];
        assert_int_equal(try_begin(&stop, "*", false, &err), refusals[i]);
        assert_int_equal(err.status, refusals[i]);
        assert_null(stop.watch);
        assert_int_equal(stop.memory.remembered, 1);
        assert_int_equal(try_begin(&stop, "*", true, &err), refusals[i]);
        assert_int_equal(err.status, refusals[i]);
        assert_null(stop.watch);
        stop.memory.refusal = WEIR_OK;
        begin(&stop, "*");
        rig_foreign_set(rig, "k", i == 0 ? "w" : "x");
        test_sink_expect_set(&rig->sink, "k", i == 0 ? "w" : "x");
        stop_finish(&stop);
    }
}

static void what_changed_meanwhile_is_told(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    const char *before[] = {"same", "changed", "gone", "d/same", "d/changed", "d/gone", "e/gone"};
    for (size_t i = 0; i < COUNT_OF(before); i++) {
        rig_foreign_set(rig, before[i], "old");
    }
    stop_init(&stop, rig);
    begin(&stop, "*");
    const char *told[] = {"told/same", "told/changed", "told/gone", "same"};
    for (size_t i = 0; i < COUNT_OF(told); i++) {
        rig_foreign_set(rig, told[i], "told");
        test_sink_expect_set(&rig->sink, told[i], "told");
    }
    end(&stop);
    const char *changed[] = {"changed", "d/changed", "told/changed", "new", "f/g/new"};
    for (size_t i = 0; i < COUNT_OF(changed); i++) {
        rig_foreign_set(rig, changed[i], "new");
    }
    const char *gone[] = {"gone", "d/gone", "e/gone", "told/gone"};
    for (size_t i = 0; i < COUNT_OF(gone); i++) {
        rig_foreign_remove(rig, gone[i]);
    }
    rig_foreign_set(rig, "came", "and");
    rig_foreign_remove(rig, "came");
    go_on(&stop, "*");
    expect_each(&stop,
                (const char *[]){"changed=new", "d/changed=new", "told/changed=new", "new=new",
                                 "f/g/new=new", "gone", "d/gone", "e/gone", "told/gone", NULL});
    expect_nothing(&stop, "*", "marker");
    stop_finish(&stop);
}

static void one_key_goes_on_too(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    stop_init(&stop, rig);
    begin(&stop, "d/k");
    end(&stop);
    rig_foreign_set(rig, "d/k", "1");
    rig_foreign_set(rig, "d/other", "no");
    go_on(&stop, "d/k");
    test_sink_expect_set(&rig->sink, "d/k", "1");
    end(&stop);
    rig_foreign_set(rig, "d/k", "2");
    go_on(&stop, "d/k");
    test_sink_expect_set(&rig->sink, "d/k", "2");
    end(&stop);
    rig_foreign_remove(rig, "d/k");
    go_on(&stop, "d/k");
    test_sink_expect_deleted(&rig->sink, "d/k");
    assert_int_equal(test_notes_count(&stop.memory), 0);
    expect_nothing(&stop, "d/k", "d/k");
    stop_finish(&stop);
}

static void the_same_change_has_the_same_id_after_a_stop(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    const char *keys[] = {"d/old", "d/told", "d/gone", "d/new"};
    enum { KEYS = 4 };
    for (int i = 0; i < 3; i++) {
        rig_foreign_set(rig, keys[i], "old");
    }
    stop_init(&stop, rig);
    begin(&stop, "d/*");
    for (int i = 1; i < 3; i++) {
        rig_foreign_set(rig, keys[i], "told");
        test_sink_expect_set(&rig->sink, keys[i], "told");
    }
    end(&stop);
    // Somebody sees live what is missed here.
    struct test_sink live;
    test_sink_init(&live);
    struct weir_resource *other = rig_open(rig, "store");
    struct weir_watch *watch = rig_watch_into(rig, other, "d/*", &live, RIG_EVENT_BYTES_MAX);
    const struct weir_event *events[KEYS];
    for (int i = 0; i < KEYS; i++) {
        if (i == 2) {
            rig_foreign_remove(rig, keys[i]);
        } else {
            rig_foreign_set(rig, keys[i], "now");
        }
        events[i] = test_sink_next(&live);
    }
    go_on(&stop, "d/*");
    for (int i = 0; i < KEYS; i++) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        int at = 0;
        while (at < KEYS && !weir_str_equal(events[at]->key, event->key)) {
            at++;
        }
        assert_in_range(at, 0, KEYS - 1);
        if (at != 2) { // which was told here as another one than where the watch came later
            assert_true(weir_str_equal(event->fields.id, events[at]->fields.id));
        }
        assert_true(weir_str_equal(event->fields.source, events[at]->fields.source));
        assert_true(weir_str_equal(event->fields.ty, events[at]->fields.ty));
        assert_true(
            weir_str_equal(event->fields.data.value.bytes, events[at]->fields.data.value.bytes));
    }
    rig->provider->unwatch(watch);
    rig->provider->close(other);
    test_sink_finish(&live);
    stop_finish(&stop);
}

static void a_deletion_has_the_same_id_after_a_stop(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    rig_foreign_set(rig, "old", "v");
    stop_init(&stop, rig);
    begin(&stop, "*");
    rig_foreign_set(rig, "new", "v");
    test_sink_expect_set(&rig->sink, "new", "v");
    // Offered live, and not taken before the stop.
    const char *keys[] = {"old", "new"};
    for (int i = 0; i < 2; i++) {
        char id[256];
        struct weir_str known = test_notes_find(&stop.memory, keys[i]);
        char kept[WEIR_POSITION_BYTES_MAX];
        memcpy(kept, known.data, known.size);
        rig_foreign_remove(rig, keys[i]);
        const struct weir_event *event = test_sink_expect_deleted(&rig->sink, keys[i]);
        snprintf(id, sizeof id, "%.*s", WEIR_STR_ARG(event->fields.id));
        test_notes_put(&stop.memory, keys[i], (struct weir_str){kept, known.size});
        end(&stop);
        go_on(&stop, "*");
        event = test_sink_expect_deleted(&rig->sink, keys[i]);
        assert_str_equal(event->fields.id, id);
    }
    stop_finish(&stop);
}

static void what_was_refused_before_the_stop_is_told_after_it(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    rig_foreign_set(rig, "gone", "old");
    stop_init(&stop, rig);
    begin(&stop, "*");
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    rig_foreign_set(rig, "a", "1");
    rig_foreign_set(rig, "b", "1");
    rig_foreign_remove(rig, "gone");
    test_sink_await_offers(&rig->sink, 1);
    end(&stop);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    go_on(&stop, "*");
    expect_each(&stop, (const char *[]){"a=1", "b=1", "gone", NULL});
    expect_nothing(&stop, "*", "marker");
    stop_finish(&stop);
}

static void a_full_sink_holds_up_the_comparison(void **state) {
    struct rig *rig = rig_of(state);
    enum { KEYS = 300 };
    static struct stop stop;
    char key[16];
    stop_init(&stop, rig);
    for (int i = 0; i < KEYS; i += 2) {
        snprintf(key, sizeof key, "k%d", i);
        rig_foreign_set(rig, key, "old");
    }
    begin(&stop, "*");
    end(&stop);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (i % 4 == 0) {
            rig_foreign_remove(rig, key);
        } else {
            rig_foreign_set(rig, key, "new");
        }
    }
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    go_on(&stop, "*");
    test_sink_await_offers(&rig->sink, 1);
    rig_foreign_set(rig, "k1", "newer"); // while it waits
    bool is_told[KEYS] = {false};
    for (int told = 0; told < KEYS; told++) {
        test_sink_set_room(&rig->sink, 1, WEIR_AGAIN);
        rig->provider->resume(stop.watch);
        const struct weir_event *event = test_sink_next(&rig->sink);
        snprintf(key, sizeof key, "%.*s", WEIR_STR_ARG(event->key));
        int number = atoi(key + 1);
        assert_in_range(number, 0, KEYS - 1);
        assert_false(is_told[number]);
        is_told[number] = true;
        assert_int_equal(event->fields.data.is_some, number % 4 != 0);
    }
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    rig->provider->resume(stop.watch);
    expect_nothing(&stop, "*", "marker");
    stop_finish(&stop);
}

static void a_comparison_is_counted(void **state) {
    enum { KEYS = 400, ROOM = 200 };
    struct rig *rig = rig_of(state);
    static struct stop stop;
    char key[16];
    stop_init(&stop, rig);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        rig_foreign_set(rig, key, "before");
    }
    begin(&stop, "*");
    end(&stop);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        rig_foreign_set(rig, key, "behind");
    }
    size_t before = test_sink_count(&rig->sink);
    test_sink_set_room(&rig->sink, ROOM, WEIR_AGAIN);
    go_on(&stop, "*");
    test_sink_await_count(&rig->sink, before + ROOM);
    struct weir_progress progress;
    WAIT_UNTIL((weir_meter_read(&stop.meter, &progress), progress.done > 0));
    assert_string_equal(progress.what, "comparing");
    assert_in_range(progress.done, 1, KEYS);
    assert_int_equal(progress.total, KEYS);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    rig->provider->resume(stop.watch);
    WAIT_UNTIL(!under_way(&stop.meter));
    test_sink_await_count(&rig->sink, before + KEYS);
    stop_finish(&stop);
}

static void a_fingerprint_that_is_not_understood_is_an_unknown_state(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    const char *keys[] = {"empty", "long", "short", "version", "noise", "gone", "good"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        rig_foreign_set(rig, keys[i], "v");
    }
    stop_init(&stop, rig);
    begin(&stop, "*");
    end(&stop);
    char bytes[WEIR_POSITION_BYTES_MAX];
    struct weir_str good = test_notes_find(&stop.memory, "good");
    memset(bytes, 0xFF, sizeof bytes);
    memcpy(bytes, good.data, good.size);
    test_notes_put(&stop.memory, "long", (struct weir_str){bytes, good.size + 1});
    test_notes_put(&stop.memory, "short", (struct weir_str){bytes, good.size - 1});
    bytes[0]++;
    test_notes_put(&stop.memory, "version", (struct weir_str){bytes, good.size});
    test_notes_put(&stop.memory, "gone", (struct weir_str){bytes, good.size});
    memset(bytes, 0xFF, sizeof bytes);
    test_notes_put(&stop.memory, "noise", (struct weir_str){bytes, sizeof bytes});
    test_notes_put(&stop.memory, "empty", (struct weir_str){0});
    test_notes_put(&stop.memory, "never/there", (struct weir_str){bytes, 1});
    rig_foreign_remove(rig, "gone");
    go_on(&stop, "*");
    expect_each(&stop, (const char *[]){"empty=v", "long=v", "short=v", "version=v", "noise=v",
                                        "gone", "never/there", NULL});
    expect_nothing(&stop, "*", "marker");
    stop_finish(&stop);
}

static void what_is_not_watched_is_not_recalled(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    stop_init(&stop, rig);
    begin(&stop, "d/*");
    test_notes_put(&stop.memory, "other", WEIR_STR("x"));
    test_notes_put(&stop.memory, "d", WEIR_STR("x"));
    end(&stop);
    rig_foreign_set(rig, "d/k", "v");
    go_on(&stop, "d/*");
    test_sink_expect_set(&rig->sink, "d/k", "v");
    expect_nothing(&stop, "d/*", "d/marker");
    stop_finish(&stop);
}

static void a_value_that_was_too_large_is_told_once(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    stop_init(&stop, rig);
    stop.event_bytes_max = 16;
    begin(&stop, "*");
    rig_foreign_set(rig, "large", "more than sixteen bytes");
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_false(event->fields.data.is_some);
    end(&stop);
    go_on(&stop, "*");
    expect_nothing(&stop, "*", "marker");
    end(&stop);
    rig_foreign_set(rig, "large", "and other ones, more than sixteen");
    go_on(&stop, "*");
    event = test_sink_next(&rig->sink);
    assert_true(weir_str_equal(event->key, WEIR_STR("large")));
    expect_nothing(&stop, "*", "marker");
    stop_finish(&stop);
}

static void a_hundred_stops_lose_and_double_nothing(void **state) {
    struct rig *rig = rig_of(state);
    static struct stop stop;
    char value[16];
    stop_init(&stop, rig);
    begin(&stop, "*");
    for (int i = 0; i < 100; i++) {
        snprintf(value, sizeof value, "%d", i);
        if (i % 2) {
            rig_foreign_set(rig, "live", value);
            test_sink_expect_set(&rig->sink, "live", value);
        }
        end(&stop);
        rig_foreign_set(rig, "d/missed", value);
        go_on(&stop, "*");
        test_sink_expect_set(&rig->sink, "d/missed", value);
    }
    stop_finish(&stop);
}

// ---- sources that keep what was not acknowledged

// A watch whose place the source is to keep; one that can replay is told it as well.
static struct weir_watch *watch_named(struct rig *rig, const struct weir_event *last) {
    struct weir_error err;
    const struct weir_resume resume = {.position = last ? last->position : (struct weir_str){0}};
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("*")),
        .sink = test_sink_of(&rig->sink),
        .name = "guest/orders:*",
        .event_bytes_max = RIG_EVENT_BYTES_MAX,
        .resume = last ? &resume : NULL,
    };
    struct weir_watch *watch = NULL;
    assert_ok(rig->provider->watch(rig->resource, &args, &watch, &err));
    return watch;
}

static void what_was_not_acknowledged_is_told_again(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = watch_named(rig, NULL);
    rig_foreign_set(rig, "a", "1");
    rig_foreign_set(rig, "b", "1");
    test_sink_await_count(&rig->sink, 2);
    rig->provider->acknowledge(watch, rig->sink.events[0]);
    const struct weir_event *second = rig->sink.events[1];
    rig->provider->unwatch(watch);
    rig_reopen(rig);
    rig->sink.next = 2;
    watch = watch_named(rig, rig->sink.events[0]);
    const struct weir_event *again = test_sink_next(&rig->sink);
    assert_true(weir_str_equal(again->fields.id, second->fields.id));
    assert_true(weir_str_equal(again->fields.data.value.bytes, second->fields.data.value.bytes));
    rig->provider->unwatch(watch);
}

// ---- sources that forget

static void a_history_that_is_gone_is_told_as_a_gap(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_watch *watch = rig_watch(rig, "*");
    rig_foreign_set(rig, "a", "1");
    const struct weir_event *told = test_sink_expect_set(&rig->sink, "a", "1");
    rig->provider->unwatch(watch);
    rig_reopen(rig);
    rig_foreign_set(rig, "a", "2");
    rig->fixture->forget(rig->source);
    struct weir_resume resume = {.position = told->position};
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("*")),
        .sink = test_sink_of(&rig->sink),
        .event_bytes_max = RIG_EVENT_BYTES_MAX,
        .resume = &resume,
    };
    assert_ok(rig->provider->watch(rig->resource, &args, &watch, &err));
    const struct weir_event *gap = test_sink_next(&rig->sink);
    assert_true(gap->is_gap);
    assert_true(weir_str_equal(gap->fields.ty, WEIR_STR(WEIR_TYPE_GAP)));
    const struct weir_event *snapshot = test_sink_expect_set(&rig->sink, "a", "2");
    assert_str_equal(test_extension(snapshot, WEIR_EXTENSION_SNAPSHOT), "true");
    rig->provider->unwatch(watch);
}

static void what_is_told_behind_a_gap_is_counted(void **state) {
    enum { KEYS = 600, ROOM = 300 };
    struct rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_watch *watch = rig_watch(rig, "*");
    rig_foreign_set(rig, "a", "1");
    const struct weir_event *told = test_sink_expect_set(&rig->sink, "a", "1");
    rig->provider->unwatch(watch);
    rig_reopen(rig);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        rig_set(rig, key, "v");
    }
    rig->fixture->forget(rig->source);
    struct weir_meter meter = {0};
    struct weir_resume resume = {.position = told->position};
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("*")),
        .sink = test_sink_of(&rig->sink),
        .event_bytes_max = RIG_EVENT_BYTES_MAX,
        .resume = &resume,
        .meter = &meter,
    };
    size_t before = test_sink_count(&rig->sink);
    test_sink_set_room(&rig->sink, ROOM, WEIR_AGAIN);
    assert_ok(rig->provider->watch(rig->resource, &args, &watch, &err));
    test_sink_await_count(&rig->sink, before + ROOM);
    // It stands in the middle, and says where that is.
    struct weir_progress progress;
    WAIT_UNTIL((weir_meter_read(&meter, &progress), progress.done > 0));
    assert_string_equal(progress.what, "snapshot");
    assert_true(progress.done <= KEYS);
    assert_true(progress.total == 0 || (progress.total > ROOM && progress.total < 4 * KEYS));
    assert_true(progress.began_ns <= weir_clock_monotonic_ns());
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    rig->provider->resume(watch);
    WAIT_UNTIL(!under_way(&meter));
    assert_true(test_sink_count(&rig->sink) >= before + KEYS);
    rig->provider->unwatch(watch);
}

int main(void) {
    const struct CMUnitTest compared[] = {
        RIG_CASE(what_is_there_when_a_watch_begins_is_remembered),
        RIG_CASE(no_event_overtakes_what_is_remembered),
        RIG_CASE(a_watch_that_cannot_remember_fails),
        RIG_CASE(what_changed_meanwhile_is_told),
        RIG_CASE(one_key_goes_on_too),
        RIG_CASE(the_same_change_has_the_same_id_after_a_stop),
        RIG_CASE(a_deletion_has_the_same_id_after_a_stop),
        RIG_CASE(what_was_refused_before_the_stop_is_told_after_it),
        RIG_CASE(a_full_sink_holds_up_the_comparison),
        RIG_CASE(a_comparison_is_counted),
        RIG_CASE(a_fingerprint_that_is_not_understood_is_an_unknown_state),
        RIG_CASE(what_is_not_watched_is_not_recalled),
        RIG_CASE(a_value_that_was_too_large_is_told_once),
        RIG_CASE(a_hundred_stops_lose_and_double_nothing),
    };
    const struct CMUnitTest acknowledged[] = {
        RIG_CASE(what_was_not_acknowledged_is_told_again),
    };
    const struct CMUnitTest forgotten[] = {
        RIG_CASE(a_history_that_is_gone_is_told_as_a_gap),
        RIG_CASE(what_is_told_behind_a_gap_is_counted),
    };
    int failed = rig_run("going on by comparison",
                         (struct rig_needs){.capabilities = WEIR_CAN_WATCH | WEIR_CAN_COMPARE,
                                            .foreign_changes = true},
                         compared, COUNT_OF(compared));
    failed += rig_run(
        "acknowledging",
        (struct rig_needs){.capabilities = WEIR_CAN_WATCH | WEIR_CAN_ACK, .foreign_changes = true},
        acknowledged, COUNT_OF(acknowledged));
    failed += rig_run("gaps",
                      (struct rig_needs){.capabilities = WEIR_CAN_WATCH | WEIR_CAN_REPLAY,
                                         .foreign_changes = true,
                                         .forgetting = true},
                      forgotten, COUNT_OF(forgotten));
    return failed;
}
