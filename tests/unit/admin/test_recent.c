// SPDX-License-Identifier: Apache-2.0
//
// What is kept of what happened lately: who gets what, and that all of it is bounded.
#include "admin/recent.h"

#include "flow/flow.h"

#include "unit/failing_malloc.h"
#include "unit/test.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

static struct weir_admin_recent *make(void) {
    struct weir_admin_recent *recent = calloc(1, sizeof *recent);
    assert_non_null(recent);
    weir_recent_init(recent);
    return recent;
}

static void destroy(struct weir_admin_recent *recent) {
    weir_recent_finish(recent);
    free(recent);
}

// What happened to event number `number`; `reason`: "" for a success.
static void offer_to(struct weir_admin_recent *recent, const char *subscription, unsigned number,
                     const char *reason, struct weir_str output) {
    char id[32], subject[32];
    snprintf(id, sizeof id, "id-%u", number);
    snprintf(subject, sizeof subject, "key-%u", number);
    struct weir_attribute cause = {WEIR_STR(WEIR_EXTENSION_CAUSATION), WEIR_STR("the cause")};
    const struct weir_event_fields fields = {
        .id = weir_str_of(id),
        .source = WEIR_STR("/store"),
        .ty = WEIR_STR("dev.weir.test"),
        .subject = {.is_some = true, .value = weir_str_of(subject)},
        .extensions = {.items = &cause, .count = number % 2},
    };
    const struct weir_tap_event event = {
        .subscription = subscription,
        .guest = "guest",
        .handler = "handler",
        .event = &fields,
        .attempt = 1,
        .outcome = reason[0] ? "retry" : "handled",
        .reason = reason,
        .took_ns = 1000,
        .output = output,
        .trace = "",
    };
    weir_recent_offer(recent, &event);
}

static void offer(struct weir_admin_recent *recent, unsigned number, const char *reason) {
    offer_to(recent, "orders", number, reason, WEIR_STR("printed"));
}

static int begin(struct weir_admin_recent *recent, const char *subscription, const char *key,
                 bool is_failed) {
    struct weir_recent_filter filter = {.subscription = subscription ? strdup(subscription) : NULL,
                                        .key = key ? strdup(key) : NULL,
                                        .is_failed = is_failed};
    struct weir_error err;
    int tail;
    assert_int_equal(weir_recent_tail_begin(recent, &filter, &tail, &err), WEIR_OK);
    assert_null(filter.subscription);
    return tail;
}

// How many lines a tail gets now; each is JSON with the outcome. *ret_left_out of them all.
static unsigned drain(struct weir_admin_recent *recent, int tail, uint64_t *ret_left_out) {
    unsigned count = 0;
    char *line;
    while ((line = weir_recent_tail_next(recent, tail, ret_left_out))) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json_string_value(json_object_get(json, "outcome")));
        json_decref(json);
        free(line);
        count++;
    }
    return count;
}

static void a_tail_gets_what_it_wants(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    uint64_t left_out;
    offer(recent, 0, "");
    int all = begin(recent, NULL, NULL, false), failed = begin(recent, NULL, NULL, true);
    int other = begin(recent, "other", NULL, false), keyed = begin(recent, NULL, "key-2", false);
    offer(recent, 1, "");
    offer(recent, 2, "no");
    offer_to(recent, "other", 3, "", WEIR_STR(""));
    assert_int_equal(drain(recent, all, &left_out), 3); // and not what was before it
    assert_int_equal(drain(recent, failed, &left_out), 1);
    assert_int_equal(drain(recent, other, &left_out), 1);
    assert_int_equal(drain(recent, keyed, &left_out), 1);
    assert_int_equal(drain(recent, all, &left_out), 0);
    assert_int_equal(left_out, 0);
    weir_recent_tail_end(recent, other);
    // The next one of its number does not get its lines.
    offer_to(recent, "other", 4, "no", WEIR_STR(""));
    assert_int_equal(begin(recent, NULL, NULL, false), other);
    assert_int_equal(drain(recent, other, &left_out), 0);
    destroy(recent);
}

static void a_tail_gets_so_many_a_tick_and_is_told_of_the_rest(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    uint64_t left_out;
    int tail = begin(recent, NULL, NULL, false), rare = begin(recent, "rare", NULL, false);
    for (unsigned i = 0; i < 100; i++) {
        offer(recent, i, "");
    }
    offer_to(recent, "rare", 0, "", WEIR_STR(""));
    assert_int_equal(drain(recent, tail, &left_out), WEIR_RECENT_PER_TICK);
    assert_int_equal(left_out, 101 - WEIR_RECENT_PER_TICK);
    // Others who have much do not take it from one who has little.
    assert_int_equal(drain(recent, rare, &left_out), 1);
    assert_int_equal(left_out, 0);
    weir_recent_tick(recent);
    offer(recent, 200, "");
    assert_int_equal(drain(recent, tail, &left_out), 1);
    assert_int_equal(left_out, 0);
    assert_true(weir_recent_was_sampled(recent));
    destroy(recent);
}

static void tails_are_bounded(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    for (int i = 0; i < WEIR_RECENT_TAILS_MAX; i++) {
        assert_int_equal(begin(recent, "orders", NULL, false), i);
    }
    struct weir_recent_filter filter = {.type = strdup("t")};
    struct weir_error err;
    int tail;
    assert_int_equal(weir_recent_tail_begin(recent, &filter, &tail, &err), WEIR_LIMIT);
    weir_recent_filter_finish(&filter);
    weir_recent_tail_end(recent, 3);
    assert_int_equal(begin(recent, NULL, NULL, false), 3);
    destroy(recent);
}

static void failures_are_kept_though_nobody_tails(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    char *lines[8];
    size_t count;
    offer(recent, 1, "");
    offer(recent, 2, "no");
    uint64_t hash = weir_recent_hash(WEIR_STR("/store"), WEIR_STR("id-2"));
    weir_recent_find(recent, hash, lines, 8, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(lines[0], "\"output\":\"printed\""));
    free(lines[0]);
    weir_recent_find(recent, weir_recent_hash(WEIR_STR("/store"), WEIR_STR("id-1")), lines, 8,
                     &count);
    assert_int_equal(count, 0);
    for (unsigned i = 0; i < 1000; i++) {
        offer(recent, 2, "no");
    }
    weir_recent_find(recent, hash, lines, 8, &count);
    assert_int_equal(count, 8);
    for (size_t i = 0; i < count; i++) {
        free(lines[i]);
    }
    assert_int_equal(recent->end - recent->first, WEIR_RECENT_FAILURES_PER_TICK);
    destroy(recent);
}

static void what_came_of_an_event_is_found(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    char *lines[8];
    size_t count;
    int tail = begin(recent, NULL, NULL, false);
    (void)tail;
    offer(recent, 1, ""); // it has a cause
    offer(recent, 2, "");
    weir_recent_find_derived(recent, WEIR_STR("the cause"), lines, 8, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(lines[0], "\"id\":\"id-1\""));
    free(lines[0]);
    weir_recent_find_derived(recent, WEIR_STR("another"), lines, 8, &count);
    assert_int_equal(count, 0);
    weir_recent_find_derived(recent, WEIR_STR(""), lines, 8, &count);
    assert_int_equal(count, 1); // those without a cause are of none: whoever asks so gets these
    free(lines[0]);
    destroy(recent);
}

static void lines_and_bytes_are_bounded(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    static char output[2048];
    memset(output, 1, sizeof output); // six bytes each in JSON
    for (unsigned i = 0; i < WEIR_RECENT_LINES_MAX / 2; i++) {
        weir_recent_tick(recent);
        offer_to(recent, "orders", i, "no", (struct weir_str){output, sizeof output});
        assert_true(recent->end - recent->first <= WEIR_RECENT_LINES_MAX);
        assert_true(recent->bytes <= WEIR_RECENT_BYTES_MAX);
    }
    assert_true(recent->bytes > WEIR_RECENT_BYTES_MAX / 2);
    size_t bytes = 0;
    for (uint64_t number = recent->first; number < recent->end; number++) {
        bytes += recent->lines[number % WEIR_RECENT_LINES_MAX].size;
    }
    assert_int_equal(bytes, recent->bytes);
    destroy(recent);
}

static void a_tail_that_slept_goes_on_with_what_is_there(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    uint64_t left_out;
    int tail = begin(recent, NULL, NULL, false);
    for (unsigned i = 0; i < WEIR_RECENT_LINES_MAX + 10; i++) {
        weir_recent_tick(recent);
        offer(recent, i, "");
    }
    assert_int_equal(drain(recent, tail, &left_out), WEIR_RECENT_LINES_MAX);
    destroy(recent);
}

static void without_memory_a_line_waits(void **state) {
    (void)state;
    bool has_failed = true;
    for (size_t i = 1; has_failed; i++) {
        struct weir_admin_recent *recent = make();
        uint64_t left_out;
        int tail = begin(recent, NULL, NULL, false);
        offer(recent, 1, "no");
        failing_malloc_arm(i);
        char *line = weir_recent_tail_next(recent, tail, &left_out);
        has_failed = failing_malloc_disarm();
        assert_true(has_failed == (line == NULL));
        free(line);
        assert_int_equal(drain(recent, tail, &left_out), has_failed ? 1 : 0);
        destroy(recent);
    }
}

// ---- threads ----

enum { WORKERS = 4, OFFERS = 2000 };

static void *work(void *context) {
    for (unsigned i = 0; i < OFFERS; i++) {
        offer(context, i, i % 3 ? "" : "no");
    }
    return NULL;
}

static void workers_offer_side_by_side(void **state) {
    (void)state;
    struct weir_admin_recent *recent = make();
    pthread_t threads[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, recent), 0);
    }
    uint64_t left_out, told = 0;
    for (unsigned i = 0; i < 200; i++) {
        int tail = begin(recent, NULL, NULL, i % 2);
        weir_recent_tick(recent);
        told += drain(recent, tail, &left_out) + left_out;
        weir_recent_tail_end(recent, tail);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(told <= WORKERS * OFFERS);
    assert_int_equal(recent->tail_count, 0);
    destroy(recent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tail_gets_what_it_wants),
        cmocka_unit_test(a_tail_gets_so_many_a_tick_and_is_told_of_the_rest),
        cmocka_unit_test(tails_are_bounded),
        cmocka_unit_test(failures_are_kept_though_nobody_tails),
        cmocka_unit_test(what_came_of_an_event_is_found),
        cmocka_unit_test(lines_and_bytes_are_bounded),
        cmocka_unit_test(a_tail_that_slept_goes_on_with_what_is_there),
        cmocka_unit_test(without_memory_a_line_waits),
        cmocka_unit_test(workers_offer_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
