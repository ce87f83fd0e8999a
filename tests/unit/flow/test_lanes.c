// SPDX-License-Identifier: Apache-2.0
//
// The lanes by themselves: no workers, no guest, no lock to wait for. The test is the worker.
#include "flow/flow_private.h"
#include "unit/failing_malloc.h"
#include "unit/test.h"

struct bench {
    struct weir_flow flow;
    struct weir_set set;
    struct weir_subscription subscription;
};

static void begin(struct bench *bench) {
    memset(bench, 0, sizeof *bench);
    pthread_mutex_init(&bench->flow.lock, NULL);
    bench->set.flow = &bench->flow;
    bench->set.is_executing = true;
    bench->set.subscriptions = &bench->subscription;
    bench->subscription.flow = &bench->flow;
    bench->subscription.set = &bench->set;
    bench->subscription.concurrency = 64;
    bench->flow.config.queue_bytes = 1 << 30;
}

// Clears the lanes. Returns how many deliveries they held.
static uint64_t clear(struct weir_subscription *subscription) {
    uint64_t count;
    weir_delivery_free_all(weir_lanes_clear(subscription, &count));
    return count;
}

// Pushes an event into its key's lane, as intake does.
static weir_status push_event(struct weir_subscription *subscription, struct weir_event *event) {
    struct weir_delivery *delivery = weir_delivery_new(subscription, event);
    struct weir_lane *lane = delivery ? weir_lanes_obtain(subscription, event->key) : NULL;
    if (!lane) {
        weir_delivery_free(delivery);
        return WEIR_NO_MEMORY;
    }
    weir_lanes_push(lane, delivery);
    return WEIR_OK;
}

static void end(struct bench *bench) {
    clear(&bench->subscription);
    assert_null(bench->subscription.lanes);
    assert_null(bench->flow.ready);
    assert_int_equal(bench->flow.delayed_count, 0);
    assert_int_equal(bench->flow.queued_bytes, 0);
    assert_int_equal(bench->subscription.counts.queued, 0);
    assert_int_equal(bench->subscription.counts.queued_bytes, 0);
    free(bench->flow.delayed);
    pthread_mutex_destroy(&bench->flow.lock);
}

static weir_status push_key(struct bench *bench, struct weir_str key, int id) {
    char text[16];
    snprintf(text, sizeof text, "%d", id);
    const struct weir_event_fields fields = {.id = weir_str_of(text)};
    struct weir_event *event;
    weir_status status = weir_event_new(&fields, key, &event, NULL);
    if (status == WEIR_OK) {
        status = push_event(&bench->subscription, event);
        weir_event_unref(event);
    }
    return status;
}

static void push(struct bench *bench, const char *key, int id) {
    assert_int_equal(push_key(bench, weir_str_of(key), id), WEIR_OK);
}

static struct weir_lane *take(struct bench *bench) {
    int64_t wait_ns;
    return weir_lanes_take(&bench->flow, &wait_ns);
}

static int first_id(const struct weir_lane *lane) {
    struct weir_str id = lane->first->entry.event->fields.id;
    int number = 0;
    for (size_t i = 0; i < id.size; i++) {
        number = number * 10 + (id.data[i] - '0');
    }
    return number;
}

static int pop(struct weir_lane *lane) {
    int id = first_id(lane);
    weir_delivery_free(weir_lanes_pop(lane));
    return id;
}

static void a_keys_events_come_in_order_and_one_at_a_time(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    for (int i = 0; i < 10; i++) {
        push(&bench, "a", i);
    }
    for (int i = 0; i < 10; i++) {
        struct weir_lane *lane = take(&bench);
        assert_non_null(lane);
        assert_int_equal(first_id(lane), i);
        assert_null(take(&bench)); // the lane runs: nobody else gets it
        push(&bench, "a", 100 + i);
        assert_null(take(&bench));
        assert_int_equal(pop(lane), i);
    }
    end(&bench);
}

static void keys_are_served_in_turn(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    static const char *const keys[] = {"busy", "b", "c"};
    for (int i = 0; i < 50; i++) {
        push(&bench, "busy", i);
    }
    push(&bench, "b", 1000);
    push(&bench, "c", 2000);
    push(&bench, "b", 1001);
    push(&bench, "c", 2001);
    for (int i = 0; i < 6; i++) {
        struct weir_lane *lane = take(&bench);
        assert_memory_equal(lane->key, keys[i % 3], strlen(keys[i % 3]));
        pop(lane);
    }
    end(&bench);
}

static void keys_are_any_bytes(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    const struct weir_str keys[] = {
        {0}, WEIR_STR("\0"), WEIR_STR("a\0b"), WEIR_STR("a\0c"), WEIR_STR("a"), WEIR_STR("\xff")};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            assert_int_equal(push_key(&bench, keys[i], (int)i), WEIR_OK);
        }
    }
    assert_int_equal(HASH_COUNT(bench.subscription.lanes), COUNT_OF(keys));
    for (int i = 0; i < 2 * (int)COUNT_OF(keys); i++) {
        assert_int_equal(pop(take(&bench)), i % (int)COUNT_OF(keys));
    }
    end(&bench);
}

static void nothing_runs_until_the_set_does(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    bench.set.is_executing = false;
    push(&bench, "a", 1);
    push(&bench, "b", 2);
    assert_null(take(&bench));
    bench.set.is_executing = true;
    weir_lanes_update_set(&bench.set);
    weir_lanes_update_set(&bench.set); // once is enough, and twice no harm
    struct weir_lane *a = take(&bench), *b = take(&bench);
    assert_int_equal(first_id(a), 1);
    assert_int_equal(first_id(b), 2);
    assert_null(take(&bench));
    weir_lanes_put_back(a);
    pop(b);
    end(&bench);
}

static void what_was_ready_when_the_time_ran_out_waits_for_the_next_exec(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    push(&bench, "a", 1);
    push(&bench, "a", 2);
    push(&bench, "b", 3);
    struct weir_lane *a = take(&bench);
    bench.set.is_executing = false;
    weir_lanes_update_set(&bench.set);
    assert_null(take(&bench));
    weir_lanes_put_back(a); // cut: its event was not tried
    assert_null(take(&bench));
    bench.set.is_executing = true;
    weir_lanes_update_set(&bench.set);
    int ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = pop(take(&bench));
    }
    assert_int_equal(ids[0] + ids[1] + ids[2], 6);
    assert_true(ids[0] != 2); // 1 before 2
    end(&bench);
}

static void a_subscription_that_ends_is_not_served(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    push(&bench, "a", 1);
    bench.subscription.is_ending = true;
    weir_lanes_update(&bench.subscription);
    assert_null(take(&bench));
    end(&bench);
}

// Retries wait for an hour, until the test says that it is over.
static const int64_t hour_ns = 3600 * WEIR_NS_PER_S;

static int64_t in_an_hour(void) {
    return weir_clock_monotonic_ns() + hour_ns;
}

static void let_an_hour_pass(struct bench *bench) {
    for (size_t i = 0; i < bench->flow.delayed_count; i++) {
        bench->flow.delayed[i]->due_ns -= 2 * hour_ns;
    }
}

static void delayed_lanes_come_due_in_the_order_of_their_times(void **state) {
    (void)state;
    enum { LANES = 200 };
    struct bench bench;
    begin(&bench);
    int64_t due_ns = in_an_hour();
    for (int i = 0; i < LANES; i++) {
        char key[8];
        snprintf(key, sizeof key, "%d", i);
        push(&bench, key, i);
        struct weir_lane *lane = take(&bench);
        lane->first->attempts = 1;
        weir_lanes_delay(lane, due_ns + (i * 73) % LANES); // in no order
        assert_int_equal(lane->state, WEIR_LANE_DELAYED);
    }
    assert_null(take(&bench));
    let_an_hour_pass(&bench);
    int64_t last_ns = INT64_MIN;
    for (int i = 0; i < LANES; i++) {
        struct weir_lane *lane = take(&bench);
        assert_non_null(lane);
        assert_true(lane->due_ns > last_ns);
        last_ns = lane->due_ns;
        pop(lane);
    }
    end(&bench);
}

static void a_delayed_lane_is_not_served_before_its_time(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    push(&bench, "a", 1);
    push(&bench, "b", 2);
    int64_t due_ns = in_an_hour(), wait_ns;
    weir_lanes_delay(take(&bench), due_ns);
    push(&bench, "a", 3); // behind the one that waits
    struct weir_lane *b = weir_lanes_take(&bench.flow, &wait_ns);
    assert_int_equal(pop(b), 2);
    assert_null(weir_lanes_take(&bench.flow, &wait_ns));
    assert_int_equal(wait_ns, due_ns);
    let_an_hour_pass(&bench);
    struct weir_lane *a = weir_lanes_take(&bench.flow, &wait_ns);
    assert_int_equal(pop(a), 1);
    assert_int_equal(wait_ns, INT64_MAX);
    assert_int_equal(pop(take(&bench)), 3);
    end(&bench);
}

// One lane of another subscription among them, which then ends; in ever other orders.
static void lanes_are_taken_out_of_the_heap_wherever_they_stand(void **state) {
    (void)state;
    enum { LANES = 40, ORDERS = 400 };
    unsigned short random[3] = {1, 2, 3};
    for (int order = 0; order < ORDERS; order++) {
        int removed = order % LANES;
        struct bench bench, other;
        begin(&bench);
        begin(&other);
        other.subscription.flow = other.set.flow = &bench.flow;
        int64_t due_ns = in_an_hour();
        for (int i = 0; i < LANES; i++) {
            char key[8];
            snprintf(key, sizeof key, "%d", i);
            push(i == removed ? &other : &bench, key, i);
            weir_lanes_delay(take(&bench), due_ns + nrand48(random) % 10000);
        }
        assert_int_equal(clear(&other.subscription), 1);
        let_an_hour_pass(&bench);
        int64_t last_ns = INT64_MIN;
        for (int i = 0; i < LANES - 1; i++) {
            struct weir_lane *lane = take(&bench);
            assert_true(lane->due_ns >= last_ns);
            last_ns = lane->due_ns;
            pop(lane);
        }
        assert_null(take(&bench));
        end(&other);
        end(&bench);
    }
}

static void clearing_counts_and_frees_what_was_queued(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    for (int i = 0; i < 10; i++) {
        push(&bench, i % 2 ? "a" : "b", i);
    }
    push(&bench, "c", 10);
    weir_lanes_delay(take(&bench), in_an_hour());
    assert_true(bench.flow.queued_bytes > 0);
    assert_int_equal(clear(&bench.subscription), 11);
    assert_int_equal(clear(&bench.subscription), 0);
    end(&bench);
}

static void few_empty_lanes_are_kept(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4 * WEIR_LANES_KEPT_MAX; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d-%d", round, i);
            push(&bench, key, i);
        }
        while (bench.subscription.counts.queued > 0) {
            pop(take(&bench));
        }
        assert_true(HASH_COUNT(bench.subscription.lanes) <= WEIR_LANES_KEPT_MAX);
    }
    end(&bench);
}

static void without_memory_a_push_leaves_all_as_it_was(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    push(&bench, "a", 1);
    size_t failures = 0;
    // New keys, so that the table grows now and then: in each push each allocation fails once.
    for (int i = 0; i < 100; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        const struct weir_event_fields fields = {.id = WEIR_STR("2")};
        struct weir_event *event;
        assert_int_equal(weir_event_new(&fields, weir_str_of(key), &event, NULL), WEIR_OK);
        weir_status status = WEIR_NO_MEMORY;
        for (size_t number = 1; status != WEIR_OK; number++) {
            const struct weir_subscription_counts before = bench.subscription.counts;
            uint64_t bytes = bench.flow.queued_bytes;
            failing_malloc_arm(number);
            status = push_event(&bench.subscription, event);
            bool has_failed = failing_malloc_disarm();
            assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
            if (status != WEIR_OK) {
                failures++;
                assert_memory_equal(&before, &bench.subscription.counts, sizeof before);
                assert_int_equal(bytes, bench.flow.queued_bytes);
            }
        }
        weir_event_unref(event);
    }
    assert_true(failures >= 200); // a delivery and a lane each time, and the table's buckets
    for (int i = 0; i < 101; i++) {
        pop(take(&bench));
    }
    end(&bench);
}

static void without_memory_a_retry_comes_at_once(void **state) {
    (void)state;
    struct bench bench;
    begin(&bench);
    push(&bench, "a", 1);
    struct weir_lane *lane = take(&bench);
    failing_malloc_arm(1);
    weir_lanes_delay(lane, in_an_hour());
    assert_true(failing_malloc_disarm());
    lane = take(&bench);
    assert_non_null(lane);
    assert_int_equal(pop(lane), 1);
    end(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_keys_events_come_in_order_and_one_at_a_time),
        cmocka_unit_test(keys_are_served_in_turn),
        cmocka_unit_test(keys_are_any_bytes),
        cmocka_unit_test(nothing_runs_until_the_set_does),
        cmocka_unit_test(what_was_ready_when_the_time_ran_out_waits_for_the_next_exec),
        cmocka_unit_test(a_subscription_that_ends_is_not_served),
        cmocka_unit_test(delayed_lanes_come_due_in_the_order_of_their_times),
        cmocka_unit_test(a_delayed_lane_is_not_served_before_its_time),
        cmocka_unit_test(lanes_are_taken_out_of_the_heap_wherever_they_stand),
        cmocka_unit_test(clearing_counts_and_frees_what_was_queued),
        cmocka_unit_test(few_empty_lanes_are_kept),
        cmocka_unit_test(without_memory_a_push_leaves_all_as_it_was),
        cmocka_unit_test(without_memory_a_retry_comes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
