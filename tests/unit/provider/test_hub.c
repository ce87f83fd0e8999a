// SPDX-License-Identifier: Apache-2.0
//
// The thread of a resource: what it promises to providers and to those who watch. The source here
// notes what it is told, and does at the next `work` what the test has left for it to do.
#include "unit/test.h"

#include "provider/hub.h"
#include "support/sink.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { TOLD_MAX = 4096 };

static const struct weir_provider kind = {.kind = "test"};

struct source {
    struct weir_resource base;
    struct weir_hub *hub;
    pthread_mutex_t lock;
    // Under lock.
    char told[TOLD_MAX]; // what was called, each with a blank behind it
    struct weir_hub_watch *watch;
    int to_offer;      // events that are offered at the next work
    weir_status begin; // its answer
    bool remembers;
    bool offers_in_begin;
    bool waits_in_work, waits_in_acknowledged;
    weir_status waited; // what that wait answered
    // The hub's thread's.
    int acknowledged, last_acknowledged;
    bool is_in_order;
    atomic_bool has_ended;
};

static void tell(struct source *source, const char *what) {
    pthread_mutex_lock(&source->lock);
    size_t used = strlen(source->told); // what finds no room is not looked for
    snprintf(source->told + used, TOLD_MAX - used, "%s ", what);
    pthread_mutex_unlock(&source->lock);
}

static bool was_told(struct source *source, const char *what) {
    pthread_mutex_lock(&source->lock);
    bool found = strstr(source->told, what) != NULL;
    pthread_mutex_unlock(&source->lock);
    return found;
}

static void offer_one(struct source *source, struct weir_hub_watch *watch) {
    static atomic_int number;
    char id[24];
    snprintf(id, sizeof id, "%d", ++number);
    const struct weir_event_fields fields = {.specversion = WEIR_STR("1.0"),
                                             .ty = WEIR_STR("t"),
                                             .source = WEIR_STR("/s"),
                                             .id = weir_str_of(id)};
    struct weir_event *event;
    assert_int_equal(weir_event_new(&fields, WEIR_STR("k"), &event, NULL), WEIR_OK);
    switch (weir_hub_offer(watch, event)) {
    case WEIR_OK:
        tell(source, "taken");
        break;
    case WEIR_AGAIN:
        tell(source, "again");
        break;
    default:
        tell(source, "stopped");
    }
    weir_event_unref(event);
}

static weir_status prepare(void *context, struct weir_hub_watch *watch,
                           const struct weir_watch_args *args, struct weir_error *err) {
    (void)watch;
    tell(context, "prepare");
    return args->event_bytes_max == 0 ? weir_fail(err, WEIR_INVALID, "not prepared") : WEIR_OK;
}

static weir_status begin(void *context, struct weir_hub_watch *watch, int64_t until_ns,
                         struct weir_error *err) {
    struct source *source = context;
    tell(source, "begin");
    assert_true(until_ns > weir_clock_monotonic_ns());
    if (source->remembers) {
        assert_int_equal(weir_hub_remember(watch, WEIR_STR("k"), WEIR_STR("f1"), err), WEIR_OK);
        assert_int_equal(weir_hub_remember(watch, WEIR_STR(""), WEIR_STR("f2"), err), WEIR_OK);
    }
    if (source->offers_in_begin) {
        offer_one(source, watch);
    }
    if (source->begin != WEIR_OK) {
        return weir_fail(err, source->begin, "no server");
    }
    pthread_mutex_lock(&source->lock);
    source->watch = watch;
    pthread_mutex_unlock(&source->lock);
    return WEIR_OK;
}

static void end(void *context, struct weir_hub_watch *watch) {
    struct source *source = context;
    tell(source, "end");
    offer_one(source, watch);
    pthread_mutex_lock(&source->lock);
    source->watch = NULL;
    pthread_mutex_unlock(&source->lock);
    atomic_store(&source->has_ended, true);
}

static void resume(void *context, struct weir_hub_watch *watch) {
    (void)watch;
    tell(context, "resume");
}

static void acknowledge(void *context, struct weir_hub_watch *watch, struct weir_event *event) {
    struct source *source = context;
    (void)watch;
    char text[24];
    snprintf(text, sizeof text, "%.*s", WEIR_STR_ARG(event->fields.id));
    int number = atoi(text);
    source->is_in_order = source->acknowledged == 0 ||
                          (source->is_in_order && number == source->last_acknowledged + 1);
    source->last_acknowledged = number;
    source->acknowledged++;
    tell(source, "ack");
}

static void acknowledged(void *context) {
    struct source *source = context;
    pthread_mutex_lock(&source->lock);
    bool waits = source->waits_in_acknowledged;
    pthread_mutex_unlock(&source->lock);
    if (waits) {
        source->waited = weir_hub_wait(source->hub, -1, 0, INT64_MAX);
    }
    tell(source, "sent");
}

static void discard(struct weir_hub_watch *watch) {
    tell((struct source *)watch->base.resource, "discard");
}

static size_t wait_for(void *context, struct pollfd fds[static WEIR_HUB_FDS_MAX]) {
    (void)context, (void)fds;
    return 0;
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    struct source *source = context;
    (void)fds, (void)count;
    pthread_mutex_lock(&source->lock);
    int offers = source->watch ? source->to_offer : 0;
    source->to_offer -= offers;
    bool waits = source->waits_in_work;
    pthread_mutex_unlock(&source->lock);
    for (int i = 0; i < offers; i++) {
        offer_one(source, source->watch);
    }
    if (waits) {
        tell(source, "waiting");
        source->waited = weir_hub_wait(source->hub, -1, 0, INT64_MAX);
    }
    return INT64_MAX;
}

static const struct weir_hub_functions functions = {
    .watch_bytes = sizeof(struct weir_hub_watch),
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .resume = resume,
    .acknowledge = acknowledge,
    .acknowledged = acknowledged,
    .discard = discard,
    .wait_for = wait_for,
    .work = work,
};

struct rig {
    struct source source;
    struct test_sink sink;
    pthread_t watcher;
    char remembered[64];
    weir_status refusal;
};

static int set_up(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);
    struct weir_error err;
    static char name[] = "store";
    rig->source.base = (struct weir_resource){.provider = &kind, .name = name};
    pthread_mutex_init(&rig->source.lock, NULL);
    test_sink_init(&rig->sink);
    const struct weir_hub_args args = {
        .resource = &rig->source.base, .functions = &functions, .context = &rig->source};
    assert_int_equal(weir_hub_create(&args, &rig->source.hub, &err), WEIR_OK);
    *state = rig;
    return 0;
}

static int tear_down(void **state) {
    struct rig *rig = *state;
    weir_hub_destroy(rig->source.hub);
    test_sink_finish(&rig->sink);
    pthread_mutex_destroy(&rig->source.lock);
    free(rig);
    return 0;
}

static weir_status offer_to_sink(void *context, struct weir_event *event) {
    struct rig *rig = context;
    struct weir_sink sink = test_sink_of(&rig->sink);
    return sink.offer(sink.context, event);
}

static weir_status remember(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct rig *rig = context;
    assert_true(pthread_equal(pthread_self(), rig->watcher));
    assert_int_equal(test_sink_offers(&rig->sink), 0);
    size_t used = strlen(rig->remembered);
    snprintf(rig->remembered + used, sizeof rig->remembered - used, "%.*s=%.*s ", WEIR_STR_ARG(key),
             WEIR_STR_ARG(fingerprint));
    return rig->refusal;
}

static weir_status try_watch(struct rig *rig, bool remembers, struct weir_watch **ret_watch,
                             struct weir_error *err) {
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("k*")),
        .name = "a name",
        .sink = {.offer = offer_to_sink, .context = rig, .remember = remembers ? remember : NULL},
        .event_bytes_max = 100,
    };
    rig->watcher = pthread_self();
    return weir_hub_watch(rig->source.hub, &args, ret_watch, err);
}

static struct weir_watch *watch(struct rig *rig) {
    struct weir_watch *one;
    struct weir_error err;
    assert_ok(try_watch(rig, false, &one, &err));
    return one;
}

static void offer(struct rig *rig, int count) {
    pthread_mutex_lock(&rig->source.lock);
    rig->source.to_offer += count;
    pthread_mutex_unlock(&rig->source.lock);
    weir_hub_wake(rig->source.hub);
}

// ---- cases

static void a_watch_is_begun_used_and_ended(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one = watch(rig);
    const struct weir_hub_watch *seen = (struct weir_hub_watch *)one;
    assert_ptr_equal(one->resource, &rig->source.base);
    assert_str_equal(seen->pattern.text, "k");
    assert_true(seen->pattern.is_prefix);
    assert_string_equal(seen->name, "a name");
    assert_false(seen->is_resumed);
    offer(rig, 2);
    test_sink_await_count(&rig->sink, 2);
    weir_hub_acknowledge(one, rig->sink.events[0]);
    weir_hub_acknowledge(one, rig->sink.events[1]);
    weir_hub_unwatch(one);
    WAIT_UNTIL(was_told(&rig->source, "discard"));
    assert_true(was_told(&rig->source, "prepare begin taken taken ack "));
    assert_true(was_told(&rig->source, "ack end stopped discard ") ||
                was_told(&rig->source, "ack sent end stopped discard "));
    assert_int_equal(test_sink_offers(&rig->sink), 2);
    weir_hub_unwatch(NULL);
}

static void one_that_does_not_begin_is_freed(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one = NULL;
    struct weir_error err;
    rig->source.begin = WEIR_UNAVAILABLE;
    assert_int_equal(try_watch(rig, true, &one, &err), WEIR_UNAVAILABLE);
    assert_string_equal(err.message, "no server");
    assert_null(one);
    assert_string_equal(rig->source.told, "prepare begin discard ");
    const struct weir_watch_args args = {.sink = test_sink_of(&rig->sink)};
    assert_int_equal(weir_hub_watch(rig->source.hub, &args, &one, &err), WEIR_INVALID);
    assert_string_equal(rig->source.told, "prepare begin discard prepare discard ");
}

static void nothing_is_offered_before_it_is_remembered(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one;
    struct weir_error err;
    rig->source.remembers = rig->source.offers_in_begin = true;
    assert_ok(try_watch(rig, true, &one, &err));
    assert_string_equal(rig->remembered, "k=f1 =f2 ");
    WAIT_UNTIL(was_told(&rig->source, "begin again resume"));
    offer(rig, 1);
    test_sink_await_count(&rig->sink, 1);
    weir_hub_unwatch(one);

    // What cannot be remembered does not begin.
    rig->refusal = WEIR_UNAVAILABLE;
    test_sink_finish(&rig->sink);
    test_sink_init(&rig->sink);
    assert_int_equal(try_watch(rig, true, &one, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "store");
    assert_null(one);
    WAIT_UNTIL(was_told(&rig->source, "begin again end again discard"));
    assert_int_equal(test_sink_offers(&rig->sink), 0);
}

static void a_full_sink_is_left_alone_until_it_has_room(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one = watch(rig);
    test_sink_set_room(&rig->sink, 1, WEIR_AGAIN);
    offer(rig, 4);
    WAIT_UNTIL(was_told(&rig->source, "taken again again again"));
    assert_int_equal(test_sink_offers(&rig->sink), 2); // the rest was not asked
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_hub_resume(one);
    WAIT_UNTIL(was_told(&rig->source, "resume"));
    offer(rig, 1);
    test_sink_await_count(&rig->sink, 2);
    weir_hub_unwatch(one);
}

static void a_sink_without_memory_is_asked_again(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one = watch(rig);
    test_sink_set_room(&rig->sink, 0, WEIR_NO_MEMORY);
    offer(rig, 2);
    WAIT_UNTIL(was_told(&rig->source, "again again resume"));
    assert_int_equal(test_sink_offers(&rig->sink), 1);
    test_sink_set_room(&rig->sink, 0, WEIR_STOPPED);
    offer(rig, 1);
    WAIT_UNTIL(was_told(&rig->source, "stopped"));
    weir_hub_unwatch(one);
}

static void a_wait_is_over_when_the_hub_ends(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one = watch(rig);
    pthread_mutex_lock(&rig->source.lock);
    rig->source.waits_in_work = true;
    pthread_mutex_unlock(&rig->source.lock);
    offer(rig, 1);
    WAIT_UNTIL(was_told(&rig->source, "waiting"));
    // What is asked while it waits is served after all, with some time for it.
    pthread_mutex_lock(&rig->source.lock);
    rig->source.waits_in_acknowledged = true;
    pthread_mutex_unlock(&rig->source.lock);
    test_sink_await_count(&rig->sink, 1);
    weir_hub_acknowledge(one, rig->sink.events[0]);
    weir_hub_unwatch(one);
    int64_t began_ns = weir_clock_monotonic_ns();
    weir_hub_destroy(rig->source.hub);
    rig->source.hub = NULL;
    assert_true(weir_clock_monotonic_ns() - began_ns >= WEIR_HUB_END_WAIT_MS * WEIR_NS_PER_MS);
    assert_int_equal(rig->source.waited, WEIR_STOPPED);
    assert_true(was_told(&rig->source, "waiting ack end stopped discard sent "));
}

static void a_wait_ends_with_its_moment_or_its_descriptor(void **state) {
    struct rig *rig = *state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    // Without a thread this one is as good as the hub's.
    int64_t until_ns = weir_clock_monotonic_ns() + 10 * WEIR_NS_PER_MS;
    assert_int_equal(weir_hub_wait(rig->source.hub, fds[0], POLLIN, until_ns), WEIR_UNAVAILABLE);
    assert_true(weir_clock_monotonic_ns() >= until_ns);
    assert_int_equal(weir_hub_wait(rig->source.hub, fds[1], POLLOUT, INT64_MAX), WEIR_OK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(weir_hub_wait(rig->source.hub, fds[0], POLLIN, 0), WEIR_OK);
    close(fds[0]);
    close(fds[1]);
}

static void each_is_acknowledged_once_and_in_order(void **state) {
    struct rig *rig = *state;
    struct weir_watch *one = watch(rig);
    enum { EVENTS = 50000 };
    offer(rig, EVENTS);
    test_sink_await_count(&rig->sink, EVENTS);
    for (int i = 0; i < EVENTS; i++) {
        weir_hub_acknowledge(one, rig->sink.events[i]);
    }
    weir_hub_unwatch(one);
    WAIT_UNTIL(atomic_load(&rig->source.has_ended));
    assert_int_equal(rig->source.acknowledged, EVENTS);
    assert_true(rig->source.is_in_order);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_watch_is_begun_used_and_ended),
        CASE(one_that_does_not_begin_is_freed),
        CASE(nothing_is_offered_before_it_is_remembered),
        CASE(a_full_sink_is_left_alone_until_it_has_room),
        CASE(a_sink_without_memory_is_asked_again),
        CASE(a_wait_is_over_when_the_hub_ends),
        CASE(a_wait_ends_with_its_moment_or_its_descriptor),
        CASE(each_is_acknowledged_once_and_in_order),
    };
    return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
