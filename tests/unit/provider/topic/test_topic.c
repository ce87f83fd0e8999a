// SPDX-License-Identifier: Apache-2.0
//
// The topic where its watches have no room, come and go: what each has taken is kept, and nobody is
// told twice. What every provider that publishes does is in tests/contract/test_publish.c.
#include "unit/test.h"

#include "provider/topic/topic.h"
#include "support/sink.h"

#include <pthread.h>
#include <stdatomic.h>

struct topic_rig {
    struct weir_resource *resource;
    struct test_sink sinks[4];
};

enum { SINKS = 4 };

static struct weir_resource *open_topic(uint64_t watches_max) {
    struct weir_error err;
    struct weir_topic_options options = {.watches_max = watches_max};
    struct weir_resource_args args = {.name = "topic", .options = &options};
    struct weir_resource *resource;
    assert_ok(weir_topic_provider.open(&args, &resource, &err));
    return resource;
}

static int setup(void **state) {
    struct topic_rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->resource = open_topic(64);
    for (int i = 0; i < SINKS; i++) {
        test_sink_init(&rig->sinks[i]);
    }
    *state = rig;
    return 0;
}

static int teardown(void **state) {
    struct topic_rig *rig = *state;
    weir_topic_provider.close(rig->resource);
    for (int i = 0; i < SINKS; i++) {
        test_sink_finish(&rig->sinks[i]);
    }
    free(rig);
    return 0;
}

static weir_status try_watch(struct weir_resource *resource, const char *key, struct weir_sink sink,
                             struct weir_watch **ret_watch, struct weir_error *err) {
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(key)),
        .sink = sink,
        .event_bytes_max = 1024,
    };
    return weir_topic_provider.watch(resource, &args, ret_watch, err);
}

static struct weir_watch *watch(struct topic_rig *rig, int sink, const char *key) {
    struct weir_error err;
    struct weir_watch *made;
    assert_ok(try_watch(rig->resource, key, test_sink_of(&rig->sinks[sink]), &made, &err));
    return made;
}

static struct weir_event *event_of(const char *id, const char *subject) {
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR("com.example.paid"),
        .source = WEIR_STR("/elsewhere"),
        .id = weir_str_of(id),
        .subject = {true, weir_str_of(subject)},
        .data = {true, weir_payload_of(weir_str_of(id))},
    };
    struct weir_event *event;
    REQUIRE(weir_event_new(&fields, WEIR_STR("cause"), &event, NULL) == WEIR_OK);
    return event;
}

static weir_status publish(struct topic_rig *rig, const char *id) {
    struct weir_event *event = event_of(id, "k");
    weir_status status = weir_topic_provider.publish(rig->resource, event, NULL);
    weir_event_unref(event);
    return status;
}

static void expect(struct topic_rig *rig, int sink, const char *id) {
    assert_str_equal(test_sink_next(&rig->sinks[sink])->fields.id, id);
}

// publish on a thread of its own.
struct publisher {
    struct topic_rig *rig;
    const char *id;
    weir_status status;
    pthread_t thread;
};

static void *publisher_main(void *argument) {
    struct publisher *publisher = argument;
    publisher->status = publish(publisher->rig, publisher->id);
    return NULL;
}

static void publisher_start(struct publisher *publisher, struct topic_rig *rig, const char *id) {
    *publisher = (struct publisher){.rig = rig, .id = id};
    assert_int_equal(pthread_create(&publisher->thread, NULL, publisher_main, publisher), 0);
}

static weir_status publisher_join(struct publisher *publisher) {
    assert_int_equal(pthread_join(publisher->thread, NULL), 0);
    return publisher->status;
}

// ---- room

static void the_publisher_waits_for_a_watch_without_room(void **state) {
    struct topic_rig *rig = *state;
    struct publisher publisher;
    struct weir_watch *full = watch(rig, 0, "*"), *other = watch(rig, 1, "k");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_AGAIN);
    publisher_start(&publisher, rig, "1");
    expect(rig, 1, "1"); // has room, and is told though it comes behind
    test_sink_await_offers(&rig->sinks[0], 1);
    test_sink_set_room(&rig->sinks[0], SIZE_MAX, WEIR_AGAIN);
    assert_int_equal(test_sink_count(&rig->sinks[0]), 0); // not asked again before resume
    weir_topic_provider.resume(full);
    assert_int_equal(publisher_join(&publisher), WEIR_OK);
    expect(rig, 0, "1");
    assert_int_equal(test_sink_offers(&rig->sinks[0]), 2);
    assert_int_equal(test_sink_offers(&rig->sinks[1]), 1);
    weir_topic_provider.unwatch(full);
    weir_topic_provider.unwatch(other);
}

static void what_was_taken_is_kept_when_time_is_over(void **state) {
    struct topic_rig *rig = *state;
    struct weir_error err = {0};
    struct weir_watch *full = watch(rig, 0, "*"), *other = watch(rig, 1, "*");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_AGAIN);
    struct weir_event *event = event_of("1", "k");
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(weir_topic_provider.publish(rig->resource, event, &err), WEIR_AGAIN);
    int64_t took_ms = (weir_clock_monotonic_ns() - began_ns) / WEIR_NS_PER_MS;
    weir_event_unref(event);
    assert_in_range(took_ms, WEIR_PUBLISH_WAIT_MS, WEIR_PUBLISH_WAIT_MS * 4);
    assert_message_has(&err, "topic");
    expect(rig, 1, "1");
    // A watch that came meanwhile gets it too.
    struct weir_watch *late = watch(rig, 2, "*");
    test_sink_set_room(&rig->sinks[0], SIZE_MAX, WEIR_AGAIN);
    weir_topic_provider.resume(full);
    assert_int_equal(publish(rig, "1"), WEIR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(test_sink_count(&rig->sinks[i]), 1);
    }
    // Published once more it goes to those that came since.
    struct weir_watch *later = watch(rig, 3, "*");
    assert_int_equal(publish(rig, "1"), WEIR_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(test_sink_count(&rig->sinks[i]), 1);
    }
    // Behind another one it is a new event, though it has the same id.
    assert_int_equal(publish(rig, "2"), WEIR_OK);
    assert_int_equal(publish(rig, "1"), WEIR_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(test_sink_count(&rig->sinks[i]), 3);
    }
    weir_topic_provider.unwatch(full);
    weir_topic_provider.unwatch(other);
    weir_topic_provider.unwatch(late);
    weir_topic_provider.unwatch(later);
}

static void another_event_ends_the_one_under_way(void **state) {
    struct topic_rig *rig = *state;
    struct weir_watch *full = watch(rig, 0, "*"), *other = watch(rig, 1, "*");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_AGAIN);
    assert_int_equal(publish(rig, "1"), WEIR_AGAIN);
    test_sink_set_room(&rig->sinks[0], SIZE_MAX, WEIR_AGAIN);
    weir_topic_provider.resume(full);
    assert_int_equal(publish(rig, "2"), WEIR_OK);
    expect(rig, 0, "2");
    expect(rig, 1, "1");
    expect(rig, 1, "2");
    assert_int_equal(test_sink_offers(&rig->sinks[0]), 2);
    weir_topic_provider.unwatch(full);
    weir_topic_provider.unwatch(other);
}

static weir_status resume_and_refuse(void *context, struct weir_event *event) {
    (void)event;
    struct weir_watch *const *own = context;
    static atomic_int calls;
    weir_topic_provider.resume(*own); // room came before offer has returned
    return atomic_fetch_add(&calls, 1) < 3 ? WEIR_AGAIN : WEIR_OK;
}

static void a_resume_before_offer_returns_counts(void **state) {
    struct topic_rig *rig = *state;
    struct weir_error err;
    struct weir_watch *own;
    assert_ok(try_watch(rig->resource, "*",
                        (struct weir_sink){.offer = resume_and_refuse, .context = &own}, &own,
                        &err));
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(publish(rig, "1"), WEIR_OK);
    assert_in_range((weir_clock_monotonic_ns() - began_ns) / WEIR_NS_PER_MS, 0,
                    WEIR_PUBLISH_WAIT_MS - 1);
    weir_topic_provider.unwatch(own);
}

static void a_sink_without_memory_is_asked_again_by_itself(void **state) {
    struct topic_rig *rig = *state;
    struct publisher publisher;
    struct weir_watch *poor = watch(rig, 0, "*"), *other = watch(rig, 1, "*");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_NO_MEMORY);
    publisher_start(&publisher, rig, "1");
    test_sink_await_offers(&rig->sinks[0], 3);
    test_sink_set_room(&rig->sinks[0], SIZE_MAX, WEIR_AGAIN);
    assert_int_equal(publisher_join(&publisher), WEIR_OK);
    expect(rig, 0, "1");
    expect(rig, 1, "1");
    assert_int_equal(test_sink_offers(&rig->sinks[1]), 1);
    test_sink_set_room(&rig->sinks[0], 0, WEIR_NO_MEMORY);
    assert_int_equal(publish(rig, "2"), WEIR_NO_MEMORY);
    expect(rig, 1, "2");
    test_sink_set_room(&rig->sinks[0], SIZE_MAX, WEIR_AGAIN);
    assert_int_equal(publish(rig, "2"), WEIR_OK);
    expect(rig, 0, "2");
    assert_int_equal(test_sink_offers(&rig->sinks[1]), 2);
    weir_topic_provider.unwatch(poor);
    weir_topic_provider.unwatch(other);
}

static void a_sink_that_is_done_is_left_alone(void **state) {
    struct topic_rig *rig = *state;
    struct weir_watch *done = watch(rig, 0, "*"), *other = watch(rig, 1, "*");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_STOPPED);
    assert_int_equal(publish(rig, "1"), WEIR_OK);
    assert_int_equal(publish(rig, "2"), WEIR_OK);
    assert_int_equal(test_sink_offers(&rig->sinks[0]), 1);
    assert_int_equal(test_sink_offers(&rig->sinks[1]), 2);
    weir_topic_provider.unwatch(done);
    weir_topic_provider.unwatch(other);
}

// ---- coming and going

static void a_watch_that_goes_is_not_waited_for(void **state) {
    struct topic_rig *rig = *state;
    struct publisher publisher;
    struct weir_watch *full = watch(rig, 0, "*"), *other = watch(rig, 1, "*");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_AGAIN);
    publisher_start(&publisher, rig, "1");
    test_sink_await_offers(&rig->sinks[0], 1);
    expect(rig, 1, "1");
    weir_topic_provider.unwatch(full);
    assert_int_equal(publisher_join(&publisher), WEIR_OK);
    assert_int_equal(test_sink_offers(&rig->sinks[0]), 1);
    weir_topic_provider.unwatch(other);
}

struct unwatcher {
    struct weir_watch *watch;
    atomic_bool is_done;
    pthread_t thread;
};

static void *unwatcher_main(void *argument) {
    struct unwatcher *unwatcher = argument;
    weir_topic_provider.unwatch(unwatcher->watch);
    atomic_store(&unwatcher->is_done, true);
    return NULL;
}

static void unwatch_waits_for_the_offer_under_way(void **state) {
    struct topic_rig *rig = *state;
    struct publisher publisher;
    struct unwatcher unwatcher = {.watch = watch(rig, 0, "*")};
    struct weir_watch *before = watch(rig, 1, "*"), *behind = watch(rig, 2, "*");
    test_sink_gate(&rig->sinks[0], true);
    publisher_start(&publisher, rig, "1");
    test_sink_await_gated(&rig->sinks[0]);
    assert_int_equal(pthread_create(&unwatcher.thread, NULL, unwatcher_main, &unwatcher), 0);
    weir_topic_provider.unwatch(before); // others go at once
    weir_topic_provider.resume(behind);
    assert_false(atomic_load(&unwatcher.is_done));
    test_sink_gate(&rig->sinks[0], false);
    assert_int_equal(pthread_join(unwatcher.thread, NULL), 0);
    assert_int_equal(publisher_join(&publisher), WEIR_OK);
    expect(rig, 2, "1");
    size_t offers = test_sink_offers(&rig->sinks[0]);
    assert_int_equal(publish(rig, "2"), WEIR_OK);
    assert_int_equal(test_sink_offers(&rig->sinks[0]), offers);
    weir_topic_provider.unwatch(behind);
}

static void a_watch_that_comes_while_it_is_published_is_told(void **state) {
    struct topic_rig *rig = *state;
    struct publisher publisher;
    struct weir_watch *full = watch(rig, 0, "*");
    test_sink_set_room(&rig->sinks[0], 0, WEIR_AGAIN);
    publisher_start(&publisher, rig, "1");
    test_sink_await_offers(&rig->sinks[0], 1);
    struct weir_watch *late = watch(rig, 1, "*");
    test_sink_set_room(&rig->sinks[0], SIZE_MAX, WEIR_AGAIN);
    weir_topic_provider.resume(full);
    assert_int_equal(publisher_join(&publisher), WEIR_OK);
    expect(rig, 0, "1");
    expect(rig, 1, "1");
    weir_topic_provider.unwatch(full);
    weir_topic_provider.unwatch(late);
}

// ---- many

struct consumer {
    struct topic_rig *rig;
    struct weir_watch *watch;
    int number, events;
    pthread_t thread;
};

// Takes a few at a time.
static void *consumer_main(void *argument) {
    struct consumer *consumer = argument;
    struct test_sink *sink = &consumer->rig->sinks[consumer->number];
    char id[16];
    for (int i = 0; i < consumer->events; i++) {
        if (i % (consumer->number * 5 + 1) == 0) {
            test_sink_set_room(sink, (size_t)(consumer->number * 5 + 1), WEIR_AGAIN);
            weir_topic_provider.resume(consumer->watch);
        }
        const struct weir_event *event = test_sink_try_next(sink);
        snprintf(id, sizeof id, "%d", i);
        REQUIRE(event && weir_str_equal(event->fields.id, weir_str_of(id)));
    }
    return NULL;
}

static void every_watch_is_told_everything_once_and_in_order(void **state) {
    struct topic_rig *rig = *state;
    enum { EVENTS = 5000 };
    struct consumer consumers[SINKS];
    for (int i = 0; i < SINKS; i++) {
        test_sink_set_room(&rig->sinks[i], 0, WEIR_AGAIN);
        consumers[i] = (struct consumer){
            .rig = rig, .number = i, .events = EVENTS, .watch = watch(rig, i, i % 2 ? "k" : "*")};
        assert_int_equal(pthread_create(&consumers[i].thread, NULL, consumer_main, &consumers[i]),
                         0);
    }
    char id[16];
    for (int i = 0; i < EVENTS; i++) {
        snprintf(id, sizeof id, "%d", i);
        weir_status status;
        do {
            status = publish(rig, id);
        } while (status == WEIR_AGAIN);
        assert_int_equal(status, WEIR_OK);
    }
    for (int i = 0; i < SINKS; i++) {
        assert_int_equal(pthread_join(consumers[i].thread, NULL), 0);
        assert_int_equal(test_sink_count(&rig->sinks[i]), EVENTS);
        weir_topic_provider.unwatch(consumers[i].watch);
    }
}

struct visitor {
    struct topic_rig *rig;
    int number;
    pthread_t thread;
};

static void *visitor_main(void *argument) {
    struct visitor *visitor = argument;
    struct test_sink *sink = &visitor->rig->sinks[visitor->number];
    for (int i = 0; i < 500; i++) {
        struct weir_watch *one;
        REQUIRE(try_watch(visitor->rig->resource, i % 2 ? "*" : "k", test_sink_of(sink), &one,
                          NULL) == WEIR_OK);
        if (i % 3 == 0) {
            REQUIRE(test_sink_try_next(sink));
        }
        weir_topic_provider.resume(one);
        weir_topic_provider.unwatch(one);
        size_t offers = test_sink_offers(sink);
        REQUIRE(test_sink_offers(sink) == offers);
    }
    return NULL;
}

static void watches_come_and_go_while_it_is_published(void **state) {
    struct topic_rig *rig = *state;
    struct visitor visitors[SINKS];
    for (int i = 0; i < SINKS; i++) {
        visitors[i] = (struct visitor){.rig = rig, .number = i};
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visitor_main, &visitors[i]), 0);
    }
    for (int i = 0; i < SINKS; i++) {
        int published = 0;
        char id[16];
        while (pthread_tryjoin_np(visitors[i].thread, NULL) != 0) {
            snprintf(id, sizeof id, "%d", published++);
            assert_int_equal(publish(rig, id), WEIR_OK);
        }
    }
}

// ---- bounds and events

static void there_are_as_many_watches_as_allowed(void **state) {
    struct topic_rig *rig = *state;
    struct weir_error err;
    struct weir_resource *resource = open_topic(2);
    struct weir_watch *watches[3];
    for (int i = 0; i < 2; i++) {
        assert_ok(try_watch(resource, "*", test_sink_of(&rig->sinks[0]), &watches[i], &err));
    }
    assert_int_equal(try_watch(resource, "*", test_sink_of(&rig->sinks[0]), &watches[2], &err),
                     WEIR_LIMIT);
    assert_null(watches[2]);
    assert_message_has(&err, "watches_max");
    weir_topic_provider.unwatch(watches[0]);
    assert_ok(try_watch(resource, "*", test_sink_of(&rig->sinks[0]), &watches[0], &err));
    weir_topic_provider.unwatch(watches[0]);
    weir_topic_provider.unwatch(watches[1]);
    weir_topic_provider.unwatch(NULL);
    weir_topic_provider.close(resource);
    weir_topic_provider.close(NULL);
}

static void an_event_is_passed_on_as_it_is(void **state) {
    struct topic_rig *rig = *state;
    struct weir_error err;
    struct weir_watch *own = watch(rig, 0, "*");
    const struct weir_attribute extension = {WEIR_STR("tenant"), WEIR_STR("x")};
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR(WEIR_TYPE_GAP),
        .source = WEIR_STR("/elsewhere"),
        .subject = {true, WEIR_STR("k")},
        .dataschema = {true, WEIR_STR("schema")},
        .time = {true, WEIR_STR("2026-01-31T12:34:56Z")},
        .extensions = {&extension, 1},
    };
    const struct weir_event_origin origins[] = {
        {.key = WEIR_STR("k")},
        {.key = WEIR_STR("other")},
        {.key = WEIR_STR("k"), .position = WEIR_STR("7")},
        {.key = WEIR_STR("k"), .is_gap = true},
    };
    for (size_t i = 0; i < COUNT_OF(origins); i++) {
        struct weir_event *event;
        char id[2] = {(char)('a' + i), '\0'};
        fields.id = weir_str_of(id);
        assert_ok(weir_event_make(&fields, &origins[i], &event, &err));
        assert_ok(weir_topic_provider.publish(rig->resource, event, &err));
        const struct weir_event *told = test_sink_next(&rig->sinks[0]);
        assert_int_equal(told == event, i == 0); // no copy where none is needed
        assert_str_equal(told->key, "k");
        assert_int_equal(told->position.size, 0);
        assert_false(told->is_gap);
        assert_str_equal(told->fields.source, "/elsewhere");
        assert_str_equal(told->fields.time.value, "2026-01-31T12:34:56Z");
        assert_str_equal(test_extension(told, "tenant"), "x");
        weir_event_unref(event);
    }
    weir_topic_provider.unwatch(own);
}

static void a_large_event_with_many_extensions_cannot_be_published(void **state) {
    struct topic_rig *rig = *state;
    struct weir_error err;
    struct weir_watch *own = watch(rig, 0, "*");
    static char data[2048];
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    for (size_t i = 0; i < WEIR_EXTENSIONS_MAX; i++) {
        // Both of what is added may be there already, and then there is room for them.
        extensions[i] = (struct weir_attribute){i == 0   ? WEIR_STR("dataomitted")
                                                : i == 1 ? WEIR_STR("datasize")
                                                         : WEIR_STR("x"),
                                                WEIR_STR("v")};
    }
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("i"),
        .data = {true, {WEIR_PAYLOAD_TEXT, {data, sizeof data}}},
        .extensions = {extensions, WEIR_EXTENSIONS_MAX},
    };
    struct weir_event *event;
    assert_ok(weir_event_new(&fields, WEIR_STR(""), &event, &err));
    assert_ok(weir_topic_provider.publish(rig->resource, event, &err));
    weir_event_unref(event);
    const struct weir_event *told = test_sink_next(&rig->sinks[0]);
    assert_str_equal(test_extension(told, "datasize"), "2048");
    extensions[0].name = WEIR_STR("y");
    fields.id = WEIR_STR("j");
    assert_ok(weir_event_new(&fields, WEIR_STR(""), &event, &err));
    assert_int_equal(weir_topic_provider.publish(rig->resource, event, &err), WEIR_LIMIT);
    weir_event_unref(event);
    assert_int_equal(publish(rig, "1"), WEIR_OK);
    expect(rig, 0, "1");
    weir_topic_provider.unwatch(own);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(the_publisher_waits_for_a_watch_without_room),
        CASE(what_was_taken_is_kept_when_time_is_over),
        CASE(another_event_ends_the_one_under_way),
        CASE(a_resume_before_offer_returns_counts),
        CASE(a_sink_without_memory_is_asked_again_by_itself),
        CASE(a_sink_that_is_done_is_left_alone),
        CASE(a_watch_that_goes_is_not_waited_for),
        CASE(unwatch_waits_for_the_offer_under_way),
        CASE(a_watch_that_comes_while_it_is_published_is_told),
        CASE(every_watch_is_told_everything_once_and_in_order),
        CASE(watches_come_and_go_while_it_is_published),
        CASE(there_are_as_many_watches_as_allowed),
        CASE(an_event_is_passed_on_as_it_is),
        CASE(a_large_event_with_many_extensions_cannot_be_published),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
