// SPDX-License-Identifier: Apache-2.0
//
// The way of an event from a source to its handler and out: order, retries, backpressure, exec and
// its deadline, stop. With real guests on real threads; the source is the test (stage.h).
#include "flow/flow.h"
#include "unit/flow/stage.h"
#include "unit/test.h"

static void produce(struct fake_source *source, const char *key, const char *id, const char *body) {
    REQUIRE(fake_source_produce(source, key, id, body) == WEIR_OK);
}

static void stop_and_free(struct stage *stage, struct stage_exec *exec, struct weir_set *set) {
    weir_flow_stop(stage->flow);
    assert_int_equal(stage_exec_end(exec), WEIR_OK);
    weir_set_unref(set);
    stage_free(stage);
}

// ---- order

static void a_keys_events_are_handled_in_order(void **state) {
    (void)state;
    enum { KEYS = 3, EVENTS = 100 };
    struct weir_flow_config config = stage_config();
    config.workers = 4;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    for (int i = 0; i < EVENTS; i++) {
        for (int key = 0; key < KEYS; key++) {
            char name[8], id[16];
            snprintf(name, sizeof name, "%d", key);
            snprintf(id, sizeof id, "%d:%d", key, i);
            produce(&stage->source, name, id, "");
        }
    }
    WAIT_UNTIL(stage_counts(subscription).handled == KEYS * EVENTS);
    int next[KEYS] = {0};
    for (size_t i = 0; i < stage->record.count; i++) {
        int key = stage->record.lines[i][0] - '0', number = atoi(stage->record.lines[i] + 2);
        assert_int_equal(number, next[key]);
        next[key]++;
    }
    assert_int_equal(stage->record.count, KEYS * EVENTS);
    stop_and_free(stage, &exec, set);
}

static void keys_are_handled_side_by_side(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "hold-a", "");
    produce(&stage->source, "a", "a2", "");
    WAIT_UNTIL(record_held(&stage->record) == 1);
    produce(&stage->source, "b", "b1", "");
    produce(&stage->source, "b", "b2", "");
    WAIT_UNTIL(record_count_of(&stage->record, "b2") == 1); // while a's handler stands still
    assert_int_equal(record_count_of(&stage->record, "a2"), 0);
    record_permit(&stage->record, 1);
    WAIT_UNTIL(record_count_of(&stage->record, "a2") == 1);
    stop_and_free(stage, &exec, set);
}

enum { PRODUCERS = 8, KEYS_EACH = 1000, EVENTS_EACH = 3 };

struct producer {
    struct fake_source source;
    int number;
    pthread_t thread;
};

static void *produce_all(void *argument) {
    struct producer *producer = argument;
    for (int event = 0; event < EVENTS_EACH; event++) {
        for (int key = 0; key < KEYS_EACH; key++) {
            char name[16], id[32];
            snprintf(name, sizeof name, "k%d", key);
            snprintf(id, sizeof id, "%d:%d:%d", producer->number, key, event);
            produce(&producer->source, name, id, "");
        }
    }
    return NULL;
}

// Queues far smaller than what is produced, so that each producer is stopped and resumed all the
// time.
static void many_producers_lose_nothing_and_keep_their_order(void **state) {
    (void)state;
    static int next[PRODUCERS][KEYS_EACH];
    memset(next, 0, sizeof next);
    struct weir_flow_config config = stage_config();
    config.workers = 4;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    struct producer *producers = calloc(PRODUCERS, sizeof *producers);
    assert_non_null(producers);
    struct weir_subscription *subscriptions[PRODUCERS];
    const struct weir_queue_bounds queue = {.events = 100, .bytes = 1024 * 1024};
    for (int i = 0; i < PRODUCERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "source-%d", i);
        fake_source_init(&producers[i].source, name);
        producers[i].number = i;
        subscriptions[i] = stage_subscribe(stage, set, &producers[i].source, "k*", NULL, &queue);
    }
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    for (int i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce_all, &producers[i]), 0);
    }
    size_t resumes = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        WAIT_UNTIL(stage_counts(subscriptions[i]).handled == KEYS_EACH * EVENTS_EACH);
        resumes += fake_source_resumes(&producers[i].source);
        struct weir_subscription_counts counts = stage_counts(subscriptions[i]);
        assert_int_equal(counts.received, KEYS_EACH * EVENTS_EACH);
        assert_int_equal(counts.queued + counts.queued_bytes + counts.failed + counts.dead, 0);
    }
    assert_true(resumes > PRODUCERS);
    assert_int_equal(stage->record.count, PRODUCERS * KEYS_EACH * EVENTS_EACH);
    for (size_t i = 0; i < stage->record.count; i++) {
        char *rest = stage->record.lines[i];
        long producer = strtol(rest, &rest, 10), key = strtol(rest + 1, &rest, 10);
        assert_int_equal(strtol(rest + 1, &rest, 10), next[producer][key]);
        next[producer][key]++;
    }
    weir_flow_stop(stage->flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    weir_set_unref(set);
    for (int i = 0; i < PRODUCERS; i++) {
        fake_source_finish(&producers[i].source);
    }
    free(producers);
    stage_free(stage);
}

// ---- failures

static void a_failing_key_blocks_itself_only(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    const struct weir_retry retry = {
        .attempts = 5, .backoff_ns = 3600 * WEIR_NS_PER_S, .backoff_max_ns = 3600 * WEIR_NS_PER_S};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", &retry, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "a1", "e");
    produce(&stage->source, "a", "a2", "");
    WAIT_UNTIL(stage_counts(subscription).failed == 1);
    for (int i = 0; i < 20; i++) {
        produce(&stage->source, "b", "b", "");
    }
    WAIT_UNTIL(stage_counts(subscription).handled == 20);
    assert_int_equal(record_count_of(&stage->record, "a1"), 1);
    assert_int_equal(record_count_of(&stage->record, "a2"), 0);
    assert_int_equal(stage_counts(subscription).queued, 2);
    stop_and_free(stage, &exec, set);
}

static void each_way_to_fail_is_retried_so_often_and_then_given_up(void **state) {
    (void)state;
    static const char *const bodies[] = {"e", "t", "m"};
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    const struct weir_retry retry = {
        .attempts = 4, .backoff_ns = 2 * WEIR_NS_PER_MS, .backoff_max_ns = 4 * WEIR_NS_PER_MS};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", &retry, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        int64_t begin_ns = weir_clock_monotonic_ns();
        produce(&stage->source, "a", bodies[i], bodies[i]);
        produce(&stage->source, "a", "next", "");
        WAIT_UNTIL(stage_counts(subscription).handled == i + 1); // the one behind it
        assert_true(weir_clock_monotonic_ns() - begin_ns >= (2 + 4 + 4) * WEIR_NS_PER_MS);
        assert_int_equal(record_count_of(&stage->record, bodies[i]), 4);
        struct weir_subscription_counts counts = stage_counts(subscription);
        assert_int_equal(counts.failed, 4 * (i + 1));
        assert_int_equal(counts.dead, i + 1);
        assert_int_equal(counts.queued, 0);
    }
    stop_and_free(stage, &exec, set);
}

static void a_retry_says_which_one_it_is(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "event", "a");
    WAIT_UNTIL(stage_counts(subscription).dead == 1);
    static const char *const lines[] = {"event", "event", "2", "event", "3"};
    assert_int_equal(record_count(&stage->record), COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        assert_string_equal(stage->record.lines[i], lines[i]);
    }
    stop_and_free(stage, &exec, set);
}

static void an_event_that_succeeds_later_is_handled_once(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "flaky", "f"); // fails unless the event says that it comes again
    produce(&stage->source, "a", "derives", "F");
    WAIT_UNTIL(stage_counts(subscription).handled == 2);
    struct weir_subscription_counts counts = stage_counts(subscription);
    assert_int_equal(counts.failed, 2);
    assert_int_equal(counts.dead, 0);
    assert_string_equal(stage->record.lines[0], "flaky");
    assert_string_equal(stage->record.lines[1], "flaky");
    assert_string_equal(stage->record.lines[2], "derives");
    assert_string_equal(stage->record.lines[3], "derives");
    stop_and_free(stage, &exec, set);
}

// All workers wait for the same moment, and for others.
static void retries_of_many_keys_all_come(void **state) {
    (void)state;
    enum { KEYS = 100 };
    struct weir_flow_config config = stage_config();
    config.workers = 4;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    const struct weir_retry retry = {.attempts = 3,
                                     .backoff_ns = 5 * WEIR_NS_PER_MS,
                                     .backoff_max_ns = 5 * WEIR_NS_PER_MS,
                                     .jitter = 1};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", &retry, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    for (int i = 0; i < KEYS; i++) {
        char key[8];
        snprintf(key, sizeof key, "%d", i);
        produce(&stage->source, key, key, "f");
    }
    WAIT_UNTIL(stage_counts(subscription).handled == KEYS);
    assert_int_equal(stage->record.count, 2 * KEYS);
    stop_and_free(stage, &exec, set);
}

// ---- backpressure

// The workers that wait for the retry's moment are the first to get other events, and one is left
// that did not know of it.
static void a_retry_comes_in_time_although_who_waited_for_it_is_busy(void **state) {
    (void)state;
    struct weir_flow_config config = stage_config();
    config.workers = 4;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    const struct weir_retry retry = {
        .attempts = 2, .backoff_ns = 300 * WEIR_NS_PER_MS, .backoff_max_ns = 300 * WEIR_NS_PER_MS};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", &retry, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "flaky", "f");
    WAIT_UNTIL(stage_counts(subscription).failed == 1);
    int64_t begin_ns = weir_clock_monotonic_ns();
    for (size_t i = 1; i < config.workers; i++) {
        char key[8];
        snprintf(key, sizeof key, "%zu", i);
        produce(&stage->source, key, "hold", "");
        WAIT_UNTIL(record_held(&stage->record) == i);
    }
    assert_true(weir_clock_monotonic_ns() - begin_ns < 300 * WEIR_NS_PER_MS);
    WAIT_UNTIL(stage_counts(subscription).handled == 1);
    record_permit(&stage->record, config.workers - 1);
    stop_and_free(stage, &exec, set);
}

static void a_full_queue_says_again_and_resumes_once_when_half_of_it_is_free(void **state) {
    (void)state;
    struct weir_flow_config config = stage_config();
    config.workers = 1;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    const struct weir_queue_bounds queue = {.events = 8, .bytes = 1024 * 1024};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, &queue);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(fake_source_offer(&stage->source, "a", "hold", ""), WEIR_OK);
    }
    assert_int_equal(fake_source_offer(&stage->source, "a", "hold", ""), WEIR_AGAIN);
    assert_int_equal(stage_counts(subscription).received, 8);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    for (size_t handled = 1; handled <= 3; handled++) {
        record_permit(&stage->record, 1);
        WAIT_UNTIL(stage_counts(subscription).handled == handled);
        WAIT_UNTIL(record_held(&stage->record) == 1); // the worker is through with the last one
        assert_int_equal(fake_source_resumes(&stage->source), 0);
    }
    record_permit(&stage->record, 1);
    WAIT_UNTIL(fake_source_resumes(&stage->source) == 1);
    assert_int_equal(stage_counts(subscription).handled, 4);
    record_permit(&stage->record, 4);
    WAIT_UNTIL(stage_counts(subscription).handled == 8);
    // There is room: what is offered now is taken, and nobody is resumed for it.
    assert_int_equal(fake_source_offer(&stage->source, "a", "last", ""), WEIR_OK);
    WAIT_UNTIL(stage_counts(subscription).handled == 9);
    assert_int_equal(fake_source_resumes(&stage->source), 1);
    stop_and_free(stage, &exec, set);
}

static void bytes_are_bounded_but_one_event_is_always_let_in(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    const struct weir_queue_bounds queue = {.events = 100, .bytes = 1500};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, &queue);
    char large[4000];
    memset(large, 'o', sizeof large);
    large[sizeof large - 1] = '\0';
    assert_int_equal(fake_source_offer(&stage->source, "a", "large", large), WEIR_OK);
    assert_int_equal(fake_source_offer(&stage->source, "a", "small", ""), WEIR_AGAIN);
    assert_true(stage_counts(subscription).queued_bytes > 4000);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    WAIT_UNTIL(fake_source_resumes(&stage->source) == 1);
    produce(&stage->source, "a", "small", "");
    WAIT_UNTIL(stage_counts(subscription).handled == 2);
    stop_and_free(stage, &exec, set);
}

// Many subscriptions have run into a bound that they share, and one event of another makes room for
// all of them at once. Theirs are not executed, so nothing else will wake them.
static void all_who_wait_for_the_common_bound_are_resumed(void **state) {
    (void)state;
    enum { SOURCES = 50, LARGE_BYTES = 64 * 1024 };
    struct weir_flow_config config = stage_config();
    config.queue_bytes = LARGE_BYTES; // the small ones together are not half of it
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage), *idle = stage_set(stage);
    stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    static char large[2 * LARGE_BYTES];
    memset(large, 'o', sizeof large - 1);
    assert_int_equal(fake_source_offer(&stage->source, "a", "large", large), WEIR_OK);
    struct fake_source *sources = calloc(SOURCES, sizeof *sources);
    assert_non_null(sources);
    const struct weir_queue_bounds queue = {.events = 100, .bytes = 2 * LARGE_BYTES};
    for (int i = 0; i < SOURCES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        fake_source_init(&sources[i], name);
        stage_subscribe(stage, idle, &sources[i], "*", NULL, &queue);
        assert_int_equal(fake_source_offer(&sources[i], "a", "x", ""), WEIR_OK); // always let in
        assert_int_equal(fake_source_offer(&sources[i], "a", "y", ""), WEIR_AGAIN);
    }
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    for (int i = 0; i < SOURCES; i++) {
        WAIT_UNTIL(fake_source_resumes(&sources[i]) == 1);
    }
    assert_int_equal(record_count(&stage->record), 1);
    weir_flow_stop(stage->flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    weir_set_unref(set);
    weir_set_unref(idle);
    for (int i = 0; i < SOURCES; i++) {
        fake_source_finish(&sources[i]);
    }
    free(sources);
    stage_free(stage);
}

// ---- exec

static void what_changes_before_exec_is_delivered_by_it(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_subscription *subscription =
        stage_subscribe(stage, NULL, &stage->source, "*", NULL, NULL);
    produce(&stage->source, "a", "1", "");
    struct weir_set *set = stage_set(stage);
    weir_set_add(set, subscription, 0);
    produce(&stage->source, "a", "2", "");
    assert_int_equal(record_count(&stage->record), 0);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    WAIT_UNTIL(stage_counts(subscription).handled == 2);
    assert_string_equal(stage->record.lines[0], "1");
    assert_string_equal(stage->record.lines[1], "2");
    stop_and_free(stage, &exec, set);
}

static void a_duration_is_the_whole_of_it_however_busy_the_source_is(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    const int64_t duration_ns = 200 * WEIR_NS_PER_MS;
    stage_exec_begin(&exec, set, duration_ns);
    int number = 0;
    int64_t until_ns = weir_clock_monotonic_ns() + 2 * duration_ns;
    while (weir_clock_monotonic_ns() < until_ns) {
        char id[16];
        snprintf(id, sizeof id, "%d", number);
        weir_status status = fake_source_offer(&stage->source, "a", id, "");
        if (status == WEIR_AGAIN) {
            break; // the deadline has come, and the queue is full
        }
        assert_int_equal(status, WEIR_OK);
        number++;
    }
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    assert_true(exec.took_ns >= duration_ns);
    size_t handled = record_count(&stage->record);
    assert_true(handled > 0);
    struct weir_subscription_counts counts = stage_counts(subscription);
    assert_int_equal(counts.handled + counts.queued, counts.received);
    // The rest, in the same order, and each once.
    if (counts.queued == 0) {
        produce(&stage->source, "a", "0", "");
        number++;
    }
    stage_exec_begin(&exec, set, 0);
    WAIT_UNTIL(stage_counts(subscription).handled == (uint64_t)number);
    for (int i = 0; i < (int)handled; i++) {
        assert_int_equal(atoi(stage->record.lines[i]), i);
    }
    assert_int_equal(record_count(&stage->record), number);
    stop_and_free(stage, &exec, set);
}

static void a_handler_in_flight_at_the_deadline_has_its_grace(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL); // 20 s of grace
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    produce(&stage->source, "a", "hold", "");
    produce(&stage->source, "a", "later", "");
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 50 * WEIR_NS_PER_MS);
    WAIT_UNTIL(record_held(&stage->record) == 1);
    int64_t begin_ns = weir_clock_monotonic_ns();
    WAIT_UNTIL(weir_clock_monotonic_ns() > begin_ns + 200 * WEIR_NS_PER_MS); // the deadline is over
    record_permit(&stage->record, 1);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    struct weir_subscription_counts counts = stage_counts(subscription);
    assert_int_equal(counts.handled, 1);
    assert_int_equal(counts.queued, 1); // the one behind it was not begun
    assert_int_equal(counts.failed, 0);
    weir_set_unref(set);
    stage_free(stage);
}

static void a_handler_that_outlasts_its_grace_is_cut_and_its_event_stays(void **state) {
    (void)state;
    struct weir_flow_config config = stage_config();
    config.grace_ns = 20 * WEIR_NS_PER_MS;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    const struct weir_retry once = {.attempts = 1};
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", &once, NULL);
    produce(&stage->source, "a", "loops", "l");
    for (size_t round = 1; round <= 2; round++) {
        struct stage_exec exec;
        stage_exec_begin(&exec, set, 50 * WEIR_NS_PER_MS);
        assert_int_equal(stage_exec_end(&exec), WEIR_OK);
        assert_true(exec.took_ns >= 70 * WEIR_NS_PER_MS);
        struct weir_subscription_counts counts = stage_counts(subscription);
        assert_int_equal(counts.queued, 1);
        assert_int_equal(counts.in_flight, 0);
        assert_int_equal(counts.failed + counts.dead + counts.handled, 0);
    }
    assert_int_equal(record_count_of(&stage->record, "loops"), 2);
    weir_set_unref(set);
    stage_free(stage);
}

// A handler that stands in a function of the host cannot be cut: exec says so, and does not wait
// for it.
static void a_handler_that_cannot_be_cut_is_an_error_of_exec(void **state) {
    (void)state;
    struct weir_flow_config config = stage_config();
    config.grace_ns = WEIR_NS_PER_MS;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    produce(&stage->source, "a", "hold", "");
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 500 * WEIR_NS_PER_MS);
    WAIT_UNTIL(record_held(&stage->record) == 1);
    assert_int_equal(stage_exec_end(&exec), WEIR_OTHER);
    assert_message_has(&exec.err, "1 handlers did not end");
    assert_true(exec.took_ns >= WEIR_CUT_WAIT_MS * WEIR_NS_PER_MS);
    record_permit(&stage->record, 1);
    weir_set_unref(set); // waits for it
    assert_int_equal(record_held(&stage->record), 0);
    stage_free(stage);
}

static void a_stop_ends_exec_and_none_begins_after_it(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "1", "");
    WAIT_UNTIL(stage_counts(subscription).handled == 1);
    weir_flow_stop(stage->flow);
    weir_flow_stop(stage->flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    produce(&stage->source, "a", "2", "");
    stage_exec_begin(&exec, set, 0);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    assert_int_equal(record_count(&stage->record), 1);
    assert_int_equal(stage_counts(subscription).queued, 1);
    weir_set_unref(set);
    stage_free(stage);
}

static void a_cut_ends_the_grace(void **state) {
    (void)state;
    struct weir_flow_config config = stage_config();
    config.grace_ns = 3600 * WEIR_NS_PER_S;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    struct weir_subscription *subscription =
        stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    produce(&stage->source, "a", "loops", "l");
    WAIT_UNTIL(record_count(&stage->record) == 1);
    weir_flow_stop(stage->flow);
    weir_flow_cut(stage->flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    assert_int_equal(stage_counts(subscription).queued, 1);
    weir_set_unref(set);
    stage_free(stage);
}

static void two_sets_are_executed_each_for_itself(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *first = stage_set(stage), *second = stage_set(stage);
    struct weir_subscription *one = stage_subscribe(stage, first, &stage->source, "a", NULL, NULL);
    struct weir_subscription *two = stage_subscribe(stage, second, &stage->source, "b", NULL, NULL);
    struct stage_exec exec, other;
    stage_exec_begin(&exec, first, 0);
    assert_int_equal(fake_source_offer(&stage->source, "b", "b1", ""), WEIR_OK);
    assert_int_equal(fake_source_offer(&stage->source, "a", "a1", ""), WEIR_OK);
    WAIT_UNTIL(stage_counts(one).handled == 1);
    assert_int_equal(stage_counts(two).queued, 1);
    assert_int_equal(record_count(&stage->record), 1);
    stage_exec_begin(&other, second, 0);
    WAIT_UNTIL(stage_counts(two).handled == 1);
    weir_flow_stop(stage->flow);
    assert_int_equal(stage_exec_end(&exec), WEIR_OK);
    assert_int_equal(stage_exec_end(&other), WEIR_OK);
    weir_set_unref(first);
    weir_set_unref(second);
    stage_free(stage);
}

static void a_subscription_may_join_a_set_that_executes(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    struct stage_exec exec;
    stage_exec_begin(&exec, set, 0);
    struct weir_subscription *subscription =
        stage_subscribe(stage, NULL, &stage->source, "*", NULL, NULL);
    produce(&stage->source, "a", "1", "");
    weir_set_add(set, subscription, 1); // on-order
    WAIT_UNTIL(stage_counts(subscription).handled == 1);
    assert_string_equal(stage->record.lines[0], "order");
    stop_and_free(stage, &exec, set);
}

// ---- the end of a subscription

static void a_set_lives_as_long_as_its_last_reference(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct weir_set *set = stage_set(stage);
    stage_subscribe(stage, set, &stage->source, "*", NULL, NULL);
    weir_set_ref(set);
    weir_set_unref(set);
    assert_int_equal(fake_source_offer(&stage->source, "a", "1", ""), WEIR_OK);
    weir_set_unref(set);
    weir_set_unref(NULL);
    weir_subscription_destroy(NULL);
    assert_int_equal(fake_source_offer(&stage->source, "a", "2", ""), WEIR_STOPPED);
    assert_int_equal(stage->source.ended, 1);
    stage_free(stage);
}

struct hammer {
    struct fake_source *source;
    atomic_bool is_over;
    atomic_size_t taken;
};

static void *offer_without_end(void *argument) {
    struct hammer *hammer = argument;
    for (unsigned i = 0; !atomic_load(&hammer->is_over); i++) {
        char key[8];
        snprintf(key, sizeof key, "%u", i % 50);
        weir_status status = fake_source_produce(hammer->source, key, "x", i % 7 == 0 ? "e" : "");
        REQUIRE(status == WEIR_OK || status == WEIR_STOPPED);
        atomic_fetch_add(&hammer->taken, status == WEIR_OK);
    }
    return NULL;
}

static void subscriptions_come_and_go_while_the_source_offers(void **state) {
    (void)state;
    enum { ROUNDS = 100 };
    struct weir_flow_config config = stage_config();
    config.grace_ns = WEIR_NS_PER_MS;
    struct stage *stage = stage_new(&config);
    const struct weir_queue_bounds queue = {.events = 10, .bytes = 1024 * 1024};
    struct hammer hammer = {.source = &stage->source};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, offer_without_end, &hammer), 0);
    for (int round = 0; round < ROUNDS; round++) {
        size_t before = atomic_load(&hammer.taken);
        struct weir_subscription *subscription =
            stage_subscribe(stage, NULL, &stage->source, "*", NULL, &queue);
        if (round % 2 == 0) {
            WAIT_UNTIL(atomic_load(&hammer.taken) > before);
            weir_subscription_destroy(subscription); // it was never in a set, and may be full
            continue;
        }
        struct weir_set *set = stage_set(stage);
        weir_set_add(set, subscription, 0);
        struct stage_exec exec;
        stage_exec_begin(&exec, set, WEIR_NS_PER_MS);
        WAIT_UNTIL(atomic_load(&hammer.taken) > before);
        assert_int_equal(stage_exec_end(&exec), WEIR_OK);
        weir_set_unref(set);
        pthread_mutex_lock(&stage->record.lock);
        stage->record.count = 0; // it is not that long
        pthread_mutex_unlock(&stage->record.lock);
    }
    atomic_store(&hammer.is_over, true);
    pthread_join(thread, NULL);
    assert_int_equal(stage->source.begun, ROUNDS);
    assert_int_equal(stage->source.ended, ROUNDS);
    stage_free(stage);
}

static void what_cannot_be_watched_is_said_so(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct fake_source blind;
    fake_blind_source_init(&blind, "blind");
    struct weir_subscription_args args = {.resource = &blind.base,
                                          .key = WEIR_STR("*"),
                                          .guest = stage->guest,
                                          .retry = stage_retry(),
                                          .queue = stage_queue()};
    struct weir_subscription *subscription;
    struct weir_error err;
    assert_int_equal(weir_subscription_create(stage->flow, &args, &subscription, &err),
                     WEIR_UNSUPPORTED);
    assert_null(subscription);
    assert_message_has(&err, "resource blind (kind blind) cannot be watched");
    args.resource = &stage->source.base;
    stage->source.watch_answer = WEIR_DENIED;
    assert_int_equal(weir_subscription_create(stage->flow, &args, &subscription, &err),
                     WEIR_DENIED);
    assert_null(subscription);
    assert_message_has(&err, "told to refuse");
    fake_source_finish(&blind);
    stage_free(stage);
}

int main(void) {
    small_guest_engine();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_keys_events_are_handled_in_order),
        cmocka_unit_test(keys_are_handled_side_by_side),
        cmocka_unit_test(many_producers_lose_nothing_and_keep_their_order),
        cmocka_unit_test(a_failing_key_blocks_itself_only),
        cmocka_unit_test(each_way_to_fail_is_retried_so_often_and_then_given_up),
        cmocka_unit_test(a_retry_says_which_one_it_is),
        cmocka_unit_test(an_event_that_succeeds_later_is_handled_once),
        cmocka_unit_test(retries_of_many_keys_all_come),
        cmocka_unit_test(a_retry_comes_in_time_although_who_waited_for_it_is_busy),
        cmocka_unit_test(a_full_queue_says_again_and_resumes_once_when_half_of_it_is_free),
        cmocka_unit_test(bytes_are_bounded_but_one_event_is_always_let_in),
        cmocka_unit_test(all_who_wait_for_the_common_bound_are_resumed),
        cmocka_unit_test(what_changes_before_exec_is_delivered_by_it),
        cmocka_unit_test(a_duration_is_the_whole_of_it_however_busy_the_source_is),
        cmocka_unit_test(a_handler_in_flight_at_the_deadline_has_its_grace),
        cmocka_unit_test(a_handler_that_outlasts_its_grace_is_cut_and_its_event_stays),
        cmocka_unit_test(a_handler_that_cannot_be_cut_is_an_error_of_exec),
        cmocka_unit_test(a_stop_ends_exec_and_none_begins_after_it),
        cmocka_unit_test(a_cut_ends_the_grace),
        cmocka_unit_test(two_sets_are_executed_each_for_itself),
        cmocka_unit_test(a_subscription_may_join_a_set_that_executes),
        cmocka_unit_test(a_set_lives_as_long_as_its_last_reference),
        cmocka_unit_test(subscriptions_come_and_go_while_the_source_offers),
        cmocka_unit_test(what_cannot_be_watched_is_said_so),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
