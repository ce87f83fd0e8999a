// SPDX-License-Identifier: Apache-2.0
//
// When a flow is taken for stuck, and when not: a lock that is not given back, a commit thread that
// takes no turn, a disk that hangs.
#include "flow/flow_private.h"
#include "unit/flow/stage.h"
#include "unit/test.h"

enum { WAIT_MS = 20 };

static bool is_alive(struct weir_flow *flow, struct weir_flow_pulse *pulse) {
    const char *reason = NULL;
    int64_t until_ns = weir_clock_monotonic_ns() + WAIT_MS * WEIR_NS_PER_MS;
    bool is_alive = weir_flow_is_alive(flow, pulse, until_ns, &reason);
    assert_non_null(reason);
    assert_int_equal(reason[0] == '\0', is_alive);
    return is_alive;
}

// As if the looks that found something due had begun so long ago.
static void let_time_pass(struct weir_flow_pulse *pulse) {
    pulse->since_ns -= pulse->since_ns > 0 ? WEIR_STUCK_MS * WEIR_NS_PER_MS : 0;
}

struct holder {
    struct weir_flow *flow;
    sem_t has_it, may_go;
};

static void *hold(void *argument) {
    struct holder *holder = argument;
    pthread_mutex_lock(&holder->flow->lock);
    sem_post(&holder->has_it);
    sem_wait(&holder->may_go);
    pthread_mutex_unlock(&holder->flow->lock);
    return NULL;
}

static void a_flow_whose_lock_is_not_given_back_is_stuck(void **state) {
    (void)state;
    struct stage *stage = stage_new(NULL);
    struct holder holder = {.flow = stage->flow};
    struct weir_flow_pulse pulse = {0};
    pthread_t thread;
    sem_init(&holder.has_it, 0, 0);
    sem_init(&holder.may_go, 0, 0);
    assert_true(is_alive(stage->flow, &pulse));
    assert_int_equal(pthread_create(&thread, NULL, hold, &holder), 0);
    sem_wait(&holder.has_it);
    int64_t begin_ns = weir_clock_monotonic_ns();
    assert_false(is_alive(stage->flow, &pulse));
    int64_t took_ns = weir_clock_monotonic_ns() - begin_ns;
    assert_true(took_ns >= WAIT_MS * WEIR_NS_PER_MS && took_ns < WEIR_NS_PER_S * 20);
    sem_post(&holder.may_go);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(is_alive(stage->flow, &pulse));
    sem_destroy(&holder.has_it);
    sem_destroy(&holder.may_go);
    stage_free(stage);
}

// A flow without a thread: what would be due for one is set by hand.
static void a_commit_thread_that_takes_no_turn_is_stuck(void **state) {
    (void)state;
    struct weir_flow *flow = calloc(1, sizeof *flow);
    struct weir_flow_pulse pulse = {0};
    assert_non_null(flow);
    pthread_mutex_init(&flow->lock, NULL);
    flow->has_committer = true;
    flow->config.commit_events = 1000;
    assert_true(is_alive(flow, &pulse));
    let_time_pass(&pulse);
    assert_true(is_alive(flow, &pulse)); // nothing is due: it may sleep for ever

    flow->flush_wanted = 1;
    assert_true(is_alive(flow, &pulse)); // it was told just now
    assert_true(is_alive(flow, &pulse));
    let_time_pass(&pulse);
    assert_false(is_alive(flow, &pulse));
    flow->turns++; // it was slow
    assert_true(is_alive(flow, &pulse));
    let_time_pass(&pulse);
    assert_false(is_alive(flow, &pulse));
    flow->is_in_store = true; // the disk is slow
    assert_true(is_alive(flow, &pulse));
    let_time_pass(&pulse);
    assert_true(is_alive(flow, &pulse));
    flow->is_in_store = false;
    flow->flush_done = 1;
    let_time_pass(&pulse);
    assert_true(is_alive(flow, &pulse));
    pthread_mutex_destroy(&flow->lock);
    free(flow);
}

// Looks may be farther apart than WEIR_STUCK_MS: what has become due since the last one is news.
static void what_is_due_since_the_last_look_may_still_be_begun(void **state) {
    (void)state;
    struct weir_flow *flow = calloc(1, sizeof *flow);
    struct weir_flow_pulse rare = {0}, other = {0};
    assert_non_null(flow);
    pthread_mutex_init(&flow->lock, NULL);
    flow->has_committer = true;
    flow->config.commit_events = 1000;
    assert_true(is_alive(flow, &rare));
    let_time_pass(&rare);
    flow->flush_wanted = 1;
    assert_true(is_alive(flow, &rare));
    let_time_pass(&rare);
    assert_false(is_alive(flow, &rare));
    assert_true(is_alive(flow, &other)); // whoever else looks has a pulse of its own
    pthread_mutex_destroy(&flow->lock);
    free(flow);
}

// A disk that hangs until it is let go. It keeps nothing.
struct disk {
    sem_t is_asked, may_answer;
};

static weir_status hang(void *context, const struct weir_batch *batch, struct weir_error *err) {
    struct disk *disk = context;
    (void)batch;
    (void)err;
    sem_post(&disk->is_asked);
    sem_wait(&disk->may_answer);
    return WEIR_OK;
}

static weir_status no_subscriptions(void *context,
                                    bool (*each)(void *, const struct weir_subscription_record *),
                                    void *each_context, struct weir_error *err) {
    (void)context;
    (void)each;
    (void)each_context;
    (void)err;
    return WEIR_OK;
}

static weir_status no_notes(void *context, uint64_t subscription,
                            bool (*each)(void *, struct weir_str, struct weir_str),
                            void *each_context, struct weir_error *err) {
    (void)context;
    (void)subscription;
    (void)each;
    (void)each_context;
    (void)err;
    return WEIR_OK;
}

static weir_status no_outbox(void *context, uint64_t after, size_t rows_max,
                             bool (*each)(void *, const struct weir_outbox_entry *),
                             void *each_context, struct weir_error *err) {
    (void)context;
    (void)after;
    (void)rows_max;
    (void)each;
    (void)each_context;
    (void)err;
    return WEIR_OK;
}

static weir_status no_ids(void *context, uint64_t *ret_outbox, uint64_t *ret_dead,
                          struct weir_error *err) {
    (void)context;
    (void)err;
    *ret_outbox = *ret_dead = 0;
    return WEIR_OK;
}

static void a_disk_that_hangs_is_no_reason_to_start_anew(void **state) {
    (void)state;
    static const struct weir_store store = {
        .commit = hang,
        .load_subscriptions = no_subscriptions,
        .load_notes = no_notes,
        .load_outbox = no_outbox,
        .last_ids = no_ids,
    };
    struct disk disk;
    struct weir_flow_pulse pulse = {0};
    struct weir_flow_config config = stage_config();
    sem_init(&disk.is_asked, 0, 0);
    sem_init(&disk.may_answer, 0, 0);
    config.store = &store;
    config.store_context = &disk;
    struct stage *stage = stage_new(&config);
    struct weir_set *set = stage_set(stage);
    stage_subscribe(stage, set, &stage->source, "*", NULL, NULL); // is to be written down
    struct weir_error err;
    assert_int_equal(weir_flow_flush(stage->flow, 0, &err), WEIR_UNAVAILABLE); // has it begin
    sem_wait(&disk.is_asked);
    for (int i = 0; i < 3; i++) {
        assert_true(is_alive(stage->flow, &pulse));
        let_time_pass(&pulse);
    }
    assert_true(is_alive(stage->flow, &pulse));
    for (int i = 0; i < 100; i++) {
        sem_post(&disk.may_answer); // and whatever is written at the end
    }
    weir_set_unref(set);
    stage_free(stage);
    sem_destroy(&disk.is_asked);
    sem_destroy(&disk.may_answer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_whose_lock_is_not_given_back_is_stuck),
        cmocka_unit_test(a_commit_thread_that_takes_no_turn_is_stuck),
        cmocka_unit_test(what_is_due_since_the_last_look_may_still_be_begun),
        cmocka_unit_test(a_disk_that_hangs_is_no_reason_to_start_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
