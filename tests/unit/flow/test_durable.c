// SPDX-License-Identifier: Apache-2.0
//
// What is kept over a stop, on a real state database: what was not settled comes again, in order,
// with its attempts; where each kind of source goes on; what is done where there is no room, a gap,
// or no disk. A stop here is the end of a flow; tests/crash/ has weir die.
#include "flow/flow.h"
#include "state/state.h"
#include "support/folder.h"
#include "unit/flow/stage.h"
#include "unit/test.h"

enum { REPLAY = WEIR_CAN_REPLAY | WEIR_CAN_PAUSE, COMPARE = WEIR_CAN_COMPARE | WEIR_CAN_PAUSE };

// A store that refuses while it is told to.
struct disk {
    struct weir_state *state;
    atomic_bool is_full;
};

static weir_status disk_commit(void *context, const struct weir_batch *batch,
                               struct weir_error *err) {
    struct disk *disk = context;
    return atomic_load(&disk->is_full) ? weir_fail(err, WEIR_UNAVAILABLE, "%s", "the disk is full")
                                       : weir_state_store.commit(disk->state, batch, err);
}

static weir_status disk_load_journal(void *context, const struct weir_load *load,
                                     bool (*each)(void *, const struct weir_entry *),
                                     void *each_context, struct weir_error *err) {
    return weir_state_store.load_journal(((struct disk *)context)->state, load, each, each_context,
                                         err);
}

static weir_status disk_load_subscriptions(void *context,
                                           bool (*each)(void *,
                                                        const struct weir_subscription_record *),
                                           void *each_context, struct weir_error *err) {
    return weir_state_store.load_subscriptions(((struct disk *)context)->state, each, each_context,
                                               err);
}

static weir_status disk_load_notes(void *context, uint64_t subscription,
                                   bool (*each)(void *, struct weir_str, struct weir_str),
                                   void *each_context, struct weir_error *err) {
    return weir_state_store.load_notes(((struct disk *)context)->state, subscription, each,
                                       each_context, err);
}

static weir_status disk_load_outbox(void *context, uint64_t after, size_t rows_max,
                                    bool (*each)(void *, const struct weir_outbox_entry *),
                                    void *each_context, struct weir_error *err) {
    return weir_state_store.load_outbox(((struct disk *)context)->state, after, rows_max, each,
                                        each_context, err);
}

static weir_status disk_load_dead(void *context, uint64_t after, size_t rows_max,
                                  bool (*each)(void *, const struct weir_dead_letter *),
                                  void *each_context, struct weir_error *err) {
    return weir_state_store.load_dead(((struct disk *)context)->state, after, rows_max, each,
                                      each_context, err);
}

static weir_status disk_last_ids(void *context, uint64_t *ret_outbox, uint64_t *ret_dead,
                                 struct weir_error *err) {
    return weir_state_store.last_ids(((struct disk *)context)->state, ret_outbox, ret_dead, err);
}

static const struct weir_store disk_store = {
    .commit = disk_commit,
    .load_journal = disk_load_journal,
    .load_subscriptions = disk_load_subscriptions,
    .load_notes = disk_load_notes,
    .load_outbox = disk_load_outbox,
    .load_dead = disk_load_dead,
    .last_ids = disk_last_ids,
};

// A flow on a folder, that can be stopped and started again.
struct kept {
    struct test_folder folder;
    struct disk disk;
    struct stage *stage;
    struct fake_source source; // in place of the stage's own
    struct weir_set *set;
    struct weir_subscription *subscription;
    struct stage_exec exec;
    bool is_executing;
};

// What a test wants of its subscription.
struct wanted {
    uint32_t capabilities;
    uint64_t queue_events, journal_events; // 0: many
    uint64_t attempts;                     // 0: 3
    int64_t backoff_ns;                    // 0: a millisecond
    enum weir_on_gap on_gap;
    enum weir_overflow overflow;
};

// A flow on the folder's state, without a subscription.
static void open_flow(struct kept *kept, const struct wanted *wanted) {
    struct weir_error err;
    char path[TEST_PATH_BYTES];
    atomic_init(&kept->disk.is_full, false);
    if (weir_state_open(test_path(&kept->folder, "state", path), NULL, &kept->disk.state, &err) !=
        WEIR_OK) {
        fail_msg("%s", err.message);
    }
    struct weir_flow_config config = stage_config();
    config.store = &disk_store;
    config.store_context = &kept->disk;
    config.commit_ns = WEIR_NS_PER_MS;
    kept->stage = stage_new(&config);
    fake_source_init_as(&kept->source, "source", wanted->capabilities);
    kept->set = stage_set(kept->stage);
    kept->is_executing = false;
}

static void subscribe(struct kept *kept, const struct wanted *wanted) {
    struct weir_error err;
    int64_t backoff_ns = wanted->backoff_ns ? wanted->backoff_ns : WEIR_NS_PER_MS;
    const struct weir_subscription_args args = {
        .name = "kept",
        .resource = &kept->source.base,
        .key = WEIR_STR("*"),
        .event_bytes_max = 1024,
        .guest = kept->stage->guest,
        .retry = {.attempts = wanted->attempts ? wanted->attempts : 3,
                  .backoff_ns = backoff_ns,
                  .backoff_max_ns = backoff_ns},
        .queue = {.events = wanted->queue_events ? wanted->queue_events : 1024,
                  .bytes = 1024 * 1024},
        .journal = {.events = wanted->journal_events, .bytes = 0},
        .on_gap = wanted->on_gap,
        .overflow = wanted->overflow,
    };
    if (weir_subscription_create(kept->stage->flow, &args, &kept->subscription, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    weir_set_add(kept->set, kept->subscription, 0);
}

static void start(struct kept *kept, const struct wanted *wanted) {
    open_flow(kept, wanted);
    subscribe(kept, wanted);
}

static void execute(struct kept *kept) {
    stage_exec_begin(&kept->exec, kept->set, 0);
    kept->is_executing = true;
}

static void flush(struct kept *kept) {
    struct weir_error err;
    int64_t until_ns = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS;
    if (weir_flow_flush(kept->stage->flow, until_ns, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
}

static void stop(struct kept *kept) {
    weir_flow_stop(kept->stage->flow);
    if (kept->is_executing) {
        assert_int_equal(stage_exec_end(&kept->exec), WEIR_OK);
    }
    weir_set_unref(kept->set);
    stage_free(kept->stage);
    fake_source_finish(&kept->source);
    weir_state_close(kept->disk.state);
}

static void begin(struct kept *kept, const struct wanted *wanted) {
    memset(kept, 0, sizeof *kept);
    test_folder_init(&kept->folder);
    start(kept, wanted);
}

static void end(struct kept *kept) {
    stop(kept);
    test_folder_finish(&kept->folder);
}

static weir_status offer(struct kept *kept, const char *key, int number, const char *body) {
    char id[16], position[16];
    snprintf(id, sizeof id, "%s%d", key, number);
    snprintf(position, sizeof position, "%d", number);
    struct weir_event *event = fake_event(&kept->source, key, id, body, position);
    weir_status status = fake_source_offer_event(&kept->source, event);
    weir_event_unref(event);
    return status;
}

static size_t told(struct kept *kept, const char *line) {
    return record_count_of(&kept->stage->record, line);
}

static struct weir_subscription_counts counts(struct kept *kept) {
    return stage_counts(kept->subscription);
}

// ---- over a stop

static void what_was_not_settled_comes_again_in_order(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_PAUSE};
    begin(&kept, &wanted);
    for (int i = 1; i <= 20; i++) {
        assert_int_equal(offer(&kept, i % 2 ? "a" : "b", i, ""), WEIR_OK);
    }
    stop(&kept); // before any exec
    start(&kept, &wanted);
    assert_int_equal(counts(&kept).queued + counts(&kept).behind, 20);
    execute(&kept);
    WAIT_UNTIL(counts(&kept).handled == 20);
    int last[2] = {0};
    for (size_t i = 0; i < kept.stage->record.count; i++) {
        int number = atoi(kept.stage->record.lines[i] + 1);
        assert_true(number > last[number % 2]);
        last[number % 2] = number;
    }
    stop(&kept);
    start(&kept, &wanted);
    execute(&kept);
    flush(&kept);
    assert_int_equal(counts(&kept).queued + counts(&kept).behind, 0);
    assert_int_equal(kept.stage->record.count, 0);
    end(&kept);
}

static void attempts_go_on_over_a_stop_and_end_in_the_dead_letters(void **state) {
    (void)state;
    struct kept kept;
    struct wanted wanted = {
        .capabilities = WEIR_CAN_PAUSE, .attempts = 3, .backoff_ns = 3600 * WEIR_NS_PER_S};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(offer(&kept, "a", 1, "e"), WEIR_OK);
    WAIT_UNTIL(counts(&kept).failed == 1);
    stop(&kept);
    wanted.backoff_ns = WEIR_NS_PER_MS;
    start(&kept, &wanted);
    execute(&kept);
    WAIT_UNTIL(counts(&kept).dead == 1);
    assert_int_equal(told(&kept, "a1"), 2); // the second and the third attempt
    flush(&kept);
    // Given back, it has its attempts anew.
    struct weir_error err;
    assert_int_equal(weir_flow_undead(kept.stage->flow, 1, true, &err), WEIR_OK);
    WAIT_UNTIL(counts(&kept).dead == 2);
    assert_int_equal(told(&kept, "a1"), 5);
    flush(&kept);
    assert_int_equal(weir_flow_undead(kept.stage->flow, 1, true, &err), WEIR_NOT_FOUND);
    assert_int_equal(weir_flow_undead(kept.stage->flow, 2, false, &err), WEIR_OK);
    assert_int_equal(weir_flow_undead(kept.stage->flow, 2, false, &err), WEIR_NOT_FOUND);
    end(&kept);
}

static void a_dead_letter_is_given_back_once(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_PAUSE, .attempts = 1};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(offer(&kept, "a", 1, "e"), WEIR_OK);
    WAIT_UNTIL(counts(&kept).dead == 1);
    flush(&kept);
    // While the disk refuses, the letter stays to be read, and is nobody else's any more.
    atomic_store(&kept.disk.is_full, true);
    struct weir_error err;
    assert_int_equal(weir_flow_undead(kept.stage->flow, 1, true, &err), WEIR_UNAVAILABLE);
    assert_int_equal(weir_flow_undead(kept.stage->flow, 1, true, &err), WEIR_NOT_FOUND);
    assert_non_null(strstr(err.message, "is being given back"));
    assert_int_equal(weir_flow_undead(kept.stage->flow, 1, false, &err), WEIR_NOT_FOUND);
    atomic_store(&kept.disk.is_full, false);
    // The disk is asked again only after a while.
    WAIT_UNTIL(weir_flow_flush(kept.stage->flow, INT64_MAX, NULL) == WEIR_OK);
    WAIT_UNTIL(counts(&kept).dead == 2);
    flush(&kept);
    assert_int_equal(told(&kept, "a1"), 2);
    assert_int_equal(weir_flow_undead(kept.stage->flow, 1, true, &err), WEIR_NOT_FOUND);
    end(&kept);
}

// ---- where a source goes on

static void a_log_goes_on_behind_what_is_settled_or_written(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = REPLAY};
    begin(&kept, &wanted);
    assert_false(kept.source.is_resumed);
    stop(&kept);
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed, "0 "); // where its first watch began
    execute(&kept);
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(offer(&kept, "a", i, ""), WEIR_OK);
    }
    WAIT_UNTIL(counts(&kept).handled == 4);
    flush(&kept);
    // The next one stands still while later ones of another key are handled.
    struct weir_event *slow = fake_event(&kept.source, "slow", "hold5", "", "5");
    assert_int_equal(fake_source_offer_event(&kept.source, slow), WEIR_OK);
    weir_event_unref(slow);
    WAIT_UNTIL(record_held(&kept.stage->record) == 1);
    for (int i = 6; i <= 8; i++) {
        assert_int_equal(offer(&kept, "a", i, ""), WEIR_OK);
    }
    WAIT_UNTIL(counts(&kept).handled == 7);
    flush(&kept);
    record_permit(&kept.stage->record, 1);
    WAIT_UNTIL(counts(&kept).handled == 8);
    stop(&kept);
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed, "8 ");
    assert_int_equal(counts(&kept).queued + counts(&kept).behind, 0);
    end(&kept);
}

static void offer_bookmark(struct kept *kept, const char *position) {
    struct weir_event *event;
    assert_int_equal(weir_event_of_bookmark(WEIR_STR("/log"), weir_str_of(position), &event, NULL),
                     WEIR_OK);
    assert_int_equal(fake_source_offer_event(&kept->source, event), WEIR_OK);
    weir_event_unref(event);
}

static void a_bookmark_moves_the_position_and_is_handled_by_nobody(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = REPLAY | WEIR_CAN_ACK};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(offer(&kept, "a", 1, ""), WEIR_OK);
    offer_bookmark(&kept, "5");
    WAIT_UNTIL(counts(&kept).handled == 1);
    flush(&kept);
    assert_string_equal(kept.source.acknowledged, "a1 bookmark ");
    assert_int_equal(counts(&kept).received, 1);
    stop(&kept);
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed, "5 ");
    execute(&kept);
    // Behind one that is not settled it waits for that, or for its row.
    struct weir_event *slow = fake_event(&kept.source, "slow", "hold6", "", "6");
    assert_int_equal(fake_source_offer_event(&kept.source, slow), WEIR_OK);
    weir_event_unref(slow);
    WAIT_UNTIL(record_held(&kept.stage->record) == 1);
    offer_bookmark(&kept, "7");
    flush(&kept);
    record_permit(&kept.stage->record, 1);
    WAIT_UNTIL(counts(&kept).handled == 1);
    stop(&kept);
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed, "7 ");
    assert_int_equal(counts(&kept).queued + counts(&kept).behind, 0);
    end(&kept);
}

static void an_event_that_holds_others_up_is_parked(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {
        .capabilities = REPLAY, .attempts = 100, .backoff_ns = 3600 * WEIR_NS_PER_S};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(offer(&kept, "bad", 1, "e"), WEIR_OK);
    WAIT_UNTIL(counts(&kept).failed == 1);
    assert_int_equal(offer(&kept, "bad", 2, ""), WEIR_OK);
    for (int i = 3; i <= 9; i++) {
        assert_int_equal(offer(&kept, "good", i, ""), WEIR_OK);
    }
    WAIT_UNTIL(counts(&kept).handled == 7);
    stop(&kept);
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed, "9 ");
    assert_int_equal(counts(&kept).queued + counts(&kept).behind, 2); // bad1 and bad2
    end(&kept);
}

static void a_store_goes_on_with_what_was_told_of_each_key(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = COMPARE};
    begin(&kept, &wanted);
    execute(&kept);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(offer(&kept, "a", i, ""), WEIR_OK);
    }
    assert_int_equal(offer(&kept, "b", 7, ""), WEIR_OK);
    struct weir_event *gone = fake_event(&kept.source, "there", "there-gone", "", NULL);
    assert_int_equal(fake_source_offer_event(&kept.source, gone), WEIR_OK);
    weir_event_unref(gone);
    WAIT_UNTIL(counts(&kept).handled == 5);
    stop(&kept);
    start(&kept, &wanted);
    assert_true(kept.source.is_resumed);
    assert_string_equal(kept.source.resumed, "a=3 b=7 ");
    end(&kept);
}

// What the source was told; valid until it is asked for again.
static const char *acknowledged(struct kept *kept) {
    static char copy[FAKE_RESUMED_BYTES];
    pthread_mutex_lock(&kept->source.lock);
    memcpy(copy, kept->source.acknowledged, sizeof copy);
    pthread_mutex_unlock(&kept->source.lock);
    return copy;
}

static void a_source_is_acknowledged_behind_the_commit(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_ACK | WEIR_CAN_PAUSE};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(offer(&kept, "a", 1, ""), WEIR_OK);
    WAIT_UNTIL(counts(&kept).handled == 1);
    flush(&kept);
    assert_string_equal(acknowledged(&kept), "a1 ");
    atomic_store(&kept.disk.is_full, true);
    assert_int_equal(offer(&kept, "b", 2, ""), WEIR_OK);
    WAIT_UNTIL(counts(&kept).handled == 2);
    assert_int_equal(weir_flow_flush(kept.stage->flow, INT64_MAX, NULL), WEIR_UNAVAILABLE);
    assert_string_equal(acknowledged(&kept), "a1 ");
    atomic_store(&kept.disk.is_full, false);
    // The disk is asked again only after a while.
    WAIT_UNTIL(weir_flow_flush(kept.stage->flow, INT64_MAX, NULL) == WEIR_OK);
    assert_string_equal(acknowledged(&kept), "a1 b2 ");
    end(&kept);
}

static void a_source_does_not_wait_for_a_handler(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_ACK | WEIR_CAN_PAUSE};
    begin(&kept, &wanted);
    execute(&kept);
    struct weir_event *held = fake_event(&kept.source, "a", "hold", "", NULL);
    assert_int_equal(fake_source_offer_event(&kept.source, held), WEIR_OK);
    weir_event_unref(held);
    WAIT_UNTIL(record_held(&kept.stage->record) == 1);
    assert_int_equal(offer(&kept, "a", 1, ""), WEIR_OK);
    flush(&kept);
    assert_string_equal(acknowledged(&kept),
                        ""); // there is hope yet that nothing has to be written
    WAIT_UNTIL(strcmp(acknowledged(&kept), "hold a1 ") == 0);
    assert_int_equal(counts(&kept).handled, 0);
    // Now they are weir's: a source that tells nothing again is no loss.
    record_permit(&kept.stage->record, 1);
    WAIT_UNTIL(counts(&kept).handled == 2);
    end(&kept);
}

// ---- no room

static void what_finds_no_room_waits_in_the_journal_and_memory_is_bounded(void **state) {
    (void)state;
    enum { EVENTS = 2000, KEYS = 7 };
    struct kept kept;
    const struct wanted wanted = {.queue_events = 8}; // it cannot be paused
    begin(&kept, &wanted);
    for (int i = 1; i <= EVENTS; i++) {
        char key[2] = {(char)('a' + i % KEYS), '\0'};
        assert_int_equal(offer(&kept, key, i, ""), WEIR_OK);
        assert_true(counts(&kept).queued <= 8);
    }
    assert_int_equal(counts(&kept).queued + counts(&kept).behind, EVENTS);
    execute(&kept);
    WAIT_UNTIL(counts(&kept).handled == EVENTS);
    int last[KEYS] = {0};
    for (size_t i = 0; i < kept.stage->record.count; i++) {
        int number = atoi(kept.stage->record.lines[i] + 1);
        assert_true(number > last[number % KEYS]);
        last[number % KEYS] = number;
    }
    assert_int_equal(counts(&kept).dropped, 0);
    assert_int_equal(counts(&kept).behind, 0);
    end(&kept);
}

static void each_policy_drops_what_it_says_and_counts_it(void **state) {
    (void)state;
    static const struct {
        enum weir_overflow overflow;
        uint64_t journal_events, dropped;
        int first, last; // that are handled
    } cases[] = {
        {WEIR_OVERFLOW_DROP_NEWEST, 0, 6, 1, 4},
        {WEIR_OVERFLOW_DROP_OLDEST, 0, 6, 7, 10},
        {WEIR_OVERFLOW_JOURNAL, 3, 3, 1, 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kept kept;
        const struct wanted wanted = {.queue_events = 4,
                                      .overflow = cases[i].overflow,
                                      .journal_events = cases[i].journal_events};
        begin(&kept, &wanted);
        for (int number = 1; number <= 10; number++) {
            assert_int_equal(offer(&kept, "a", number, ""), WEIR_OK);
        }
        assert_int_equal(counts(&kept).dropped, cases[i].dropped);
        stop(&kept); // what was dropped stays so
        start(&kept, &wanted);
        execute(&kept);
        WAIT_UNTIL(counts(&kept).handled == 10 - cases[i].dropped);
        for (int number = 1; number <= 10; number++) {
            char id[16];
            snprintf(id, sizeof id, "a%d", number);
            bool is_handled = number >= cases[i].first && number <= cases[i].last;
            assert_int_equal(told(&kept, id), is_handled ? 1 : 0);
        }
        end(&kept);
    }
}

static void a_source_whose_pause_is_shared_is_journaled_before_it_is_paused(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {
        .capabilities = WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE, .queue_events = 2, .journal_events = 5};
    begin(&kept, &wanted);
    for (int i = 1; i <= 7; i++) {
        assert_int_equal(offer(&kept, "a", i, ""), WEIR_OK);
    }
    assert_int_equal(offer(&kept, "a", 8, ""), WEIR_AGAIN);
    execute(&kept);
    WAIT_UNTIL(counts(&kept).handled == 7);
    WAIT_UNTIL(fake_source_resumes(&kept.source) == 1);
    assert_int_equal(offer(&kept, "a", 8, ""), WEIR_OK);
    WAIT_UNTIL(counts(&kept).handled == 8);
    assert_int_equal(counts(&kept).dropped, 0);
    end(&kept);
}

static void keys_that_fail_do_not_fill_the_queue(void **state) {
    (void)state;
    enum { EVENTS = 50 };
    struct kept kept;
    struct wanted wanted = {.capabilities = WEIR_CAN_PAUSE,
                            .queue_events = 4,
                            .attempts = 100,
                            .backoff_ns = 3600 * WEIR_NS_PER_S};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(fake_source_produce(&kept.source, "bad", "bad0", "e"), WEIR_OK);
    WAIT_UNTIL(counts(&kept).failed == 1);
    for (int i = 1; i <= EVENTS; i++) {
        char id[16];
        snprintf(id, sizeof id, "bad%d", i);
        assert_int_equal(fake_source_produce(&kept.source, "bad", id, ""), WEIR_OK);
        snprintf(id, sizeof id, "good%d", i);
        assert_int_equal(fake_source_produce(&kept.source, "good", id, ""), WEIR_OK);
    }
    WAIT_UNTIL(told(&kept, "good*") == EVENTS);
    assert_int_equal(told(&kept, "bad*"), 1);
    stop(&kept);
    wanted.backoff_ns = WEIR_NS_PER_MS;
    wanted.attempts = 2; // the first one ends now, the others follow in their order
    start(&kept, &wanted);
    execute(&kept);
    WAIT_UNTIL(counts(&kept).handled == EVENTS);
    assert_int_equal(counts(&kept).dead, 1);
    int last = -1;
    for (size_t i = 0; i < kept.stage->record.count; i++) {
        int number = atoi(kept.stage->record.lines[i] + 3);
        assert_true(number > last);
        last = number;
    }
    end(&kept);
}

// ---- what is left in the outbox

// Writes an event into the outbox of a weir that does not run.
static void leave_in_outbox(struct kept *kept, const char *target, struct weir_event *event) {
    struct weir_error err;
    struct weir_state *state;
    char path[TEST_PATH_BYTES];
    assert_int_equal(weir_state_open(test_path(&kept->folder, "state", path), NULL, &state, &err),
                     WEIR_OK);
    const struct weir_outbox_entry entry = {
        .id = 1, .subscription = WEIR_STR("cause"), .target = weir_str_of(target), .event = event};
    const struct weir_batch batch = {.outbox = &entry};
    assert_int_equal(weir_state_store.commit(state, &batch, &err), WEIR_OK);
    weir_state_close(state);
}

// Tells it to whoever watches, and keeps nothing.
static weir_status publish(struct weir_resource *resource, struct weir_event *event,
                           struct weir_error *err) {
    (void)err;
    fake_source_offer_event((struct fake_source *)(void *)resource, event);
    return WEIR_OK;
}

static void what_is_left_for_a_topic_waits_for_the_subscriptions_to_it(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = 0};
    begin(&kept, &wanted);
    flush(&kept);
    struct weir_event *event = fake_event(&kept.source, "a", "left", "", NULL);
    stop(&kept);
    leave_in_outbox(&kept, "source", event);
    weir_event_unref(event);

    open_flow(&kept, &wanted);
    kept.source.provider.publish = publish;
    struct fake_source other;
    fake_source_init(&other, "other");
    const struct weir_subscription_args cause = {.name = "cause",
                                                 .resource = &other.base,
                                                 .key = WEIR_STR("*"),
                                                 .guest = kept.stage->guest,
                                                 .retry = stage_retry(),
                                                 .queue = stage_queue(),
                                                 .to = &kept.source.base};
    struct weir_subscription *subscription;
    struct weir_error err;
    assert_int_equal(weir_subscription_create(kept.stage->flow, &cause, &subscription, &err),
                     WEIR_OK);
    weir_set_add(kept.set, subscription, 0);
    execute(&kept);
    // When this is handled, publishing has been allowed for a while; nobody would be told.
    assert_int_equal(fake_source_offer(&other, "b", "b1", ""), WEIR_OK);
    WAIT_UNTIL(stage_counts(subscription).handled == 1);
    subscribe(&kept, &wanted);
    WAIT_UNTIL(counts(&kept).handled == 1);
    assert_int_equal(told(&kept, "left"), 1);
    stop(&kept);
    fake_source_finish(&other);
    test_folder_finish(&kept.folder);
}

// ---- gaps

static weir_status offer_gap(struct kept *kept, const char *position) {
    struct weir_event *event;
    const struct weir_gap gap = {.source = WEIR_STR("source"),
                                 .pattern = WEIR_STR("*"),
                                 .from = WEIR_STR("1"),
                                 .to = weir_str_of(position),
                                 .reason = WEIR_STR("trimmed"),
                                 .position = weir_str_of(position)};
    assert_int_equal(weir_event_of_gap(&gap, &event, NULL), WEIR_OK);
    weir_status status = fake_source_offer_event(&kept->source, event);
    weir_event_unref(event);
    return status;
}

static void a_gap_stands_between_what_was_before_and_what_comes_behind(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = REPLAY};
    begin(&kept, &wanted);
    assert_int_equal(offer(&kept, "hold", 1, ""), WEIR_OK);
    assert_int_equal(offer_gap(&kept, "50"), WEIR_AGAIN); // the event before it first
    execute(&kept);
    WAIT_UNTIL(record_held(&kept.stage->record) == 1);
    flush(&kept); // a commit looks who has room again: not this one, though its queue has
    flush(&kept);
    assert_int_equal(fake_source_resumes(&kept.source), 0);
    record_permit(&kept.stage->record, 1);
    WAIT_UNTIL(fake_source_resumes(&kept.source) == 1);
    assert_int_equal(offer_gap(&kept, "50"), WEIR_OK); // it was called once, when that was done
    WAIT_UNTIL(counts(&kept).handled == 2);
    assert_int_equal(offer(&kept, "a", 51, ""), WEIR_OK);
    WAIT_UNTIL(counts(&kept).handled == 3);
    assert_string_equal(kept.stage->record.lines[0], "hold1");
    assert_memory_equal(kept.stage->record.lines[1], "gap:*:1:50", 10);
    assert_string_equal(kept.stage->record.lines[2], "a51");
    end(&kept);
}

static void a_gap_is_skipped_or_stops_the_subscription(void **state) {
    (void)state;
    struct kept kept;
    struct wanted wanted = {.capabilities = REPLAY, .on_gap = WEIR_GAP_SKIP};
    begin(&kept, &wanted);
    execute(&kept);
    assert_int_equal(offer_gap(&kept, "50"), WEIR_OK);
    assert_int_equal(offer(&kept, "a", 51, ""), WEIR_OK);
    WAIT_UNTIL(counts(&kept).handled == 1);
    stop(&kept);
    wanted.on_gap = WEIR_GAP_STOP;
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed, "51 ");
    assert_int_equal(offer_gap(&kept, "90"), WEIR_STOPPED);
    assert_int_equal(offer(&kept, "a", 91, ""), WEIR_STOPPED);
    stop(&kept);
    start(&kept, &wanted);
    assert_string_equal(kept.source.resumed,
                        "51 "); // the gap is found again until somebody decides
    end(&kept);
}

// ---- no disk

static void nothing_is_taken_while_the_disk_refuses_and_all_goes_on_when_it_does(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_PAUSE};
    begin(&kept, &wanted);
    assert_int_equal(offer(&kept, "a", 1, ""), WEIR_OK);
    flush(&kept);
    atomic_store(&kept.disk.is_full, true);
    assert_int_equal(offer(&kept, "a", 2, ""), WEIR_OK); // nobody knows yet
    assert_int_equal(weir_flow_flush(kept.stage->flow, INT64_MAX, NULL), WEIR_UNAVAILABLE);
    assert_int_equal(offer(&kept, "a", 3, ""), WEIR_AGAIN);
    execute(&kept);
    assert_int_equal(weir_flow_flush(kept.stage->flow, INT64_MAX, NULL), WEIR_UNAVAILABLE);
    assert_int_equal(told(&kept, "*"), 0); // no handler is called
    atomic_store(&kept.disk.is_full, false);
    WAIT_UNTIL(counts(&kept).handled == 2);
    WAIT_UNTIL(fake_source_resumes(&kept.source) == 1);
    assert_int_equal(offer(&kept, "a", 3, ""), WEIR_OK);
    WAIT_UNTIL(counts(&kept).handled == 3);
    end(&kept);
}

static void a_full_queue_is_no_reason_to_keep_a_source_that_is_journaled_paused(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE,
                                  .queue_events = 2};
    begin(&kept, &wanted);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(offer(&kept, "a", i, ""), WEIR_OK);
    }
    atomic_store(&kept.disk.is_full, true);
    assert_int_equal(weir_flow_flush(kept.stage->flow, INT64_MAX, NULL), WEIR_UNAVAILABLE);
    assert_int_equal(offer(&kept, "a", 4, ""), WEIR_AGAIN);
    atomic_store(&kept.disk.is_full, false);
    WAIT_UNTIL(fake_source_resumes(&kept.source) == 1); // though no handler frees the queue
    assert_int_equal(offer(&kept, "a", 4, ""), WEIR_OK);
    execute(&kept);
    WAIT_UNTIL(counts(&kept).handled == 4);
    end(&kept);
}

static void two_subscriptions_have_two_names(void **state) {
    (void)state;
    struct kept kept;
    const struct wanted wanted = {.capabilities = WEIR_CAN_PAUSE};
    begin(&kept, &wanted);
    struct weir_error err;
    struct weir_subscription *second;
    const struct weir_subscription_args args = {.name = "kept",
                                                .resource = &kept.source.base,
                                                .key = WEIR_STR("*"),
                                                .guest = kept.stage->guest,
                                                .queue = stage_queue(),
                                                .retry = stage_retry()};
    assert_int_equal(weir_subscription_create(kept.stage->flow, &args, &second, &err),
                     WEIR_INVALID);
    assert_message_has(&err, "kept");
    end(&kept);
}

static int begin_group(void **state) {
    (void)state;
    small_guest_engine();
    return 0;
}

static int begin_test(void **state) {
    return begin_group(state);
}

static int end_group(void **state) {
    (void)state;
    small_guest_engine_end();
    return 0;
}

#define CASE(name) cmocka_unit_test_setup(name, begin_test)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(what_was_not_settled_comes_again_in_order),
        CASE(attempts_go_on_over_a_stop_and_end_in_the_dead_letters),
        CASE(a_dead_letter_is_given_back_once),
        CASE(a_log_goes_on_behind_what_is_settled_or_written),
        CASE(an_event_that_holds_others_up_is_parked),
        CASE(a_bookmark_moves_the_position_and_is_handled_by_nobody),
        CASE(a_store_goes_on_with_what_was_told_of_each_key),
        CASE(a_source_is_acknowledged_behind_the_commit),
        CASE(a_source_does_not_wait_for_a_handler),
        CASE(what_finds_no_room_waits_in_the_journal_and_memory_is_bounded),
        CASE(each_policy_drops_what_it_says_and_counts_it),
        CASE(a_source_whose_pause_is_shared_is_journaled_before_it_is_paused),
        CASE(keys_that_fail_do_not_fill_the_queue),
        CASE(what_is_left_for_a_topic_waits_for_the_subscriptions_to_it),
        CASE(a_gap_stands_between_what_was_before_and_what_comes_behind),
        CASE(a_gap_is_skipped_or_stops_the_subscription),
        CASE(nothing_is_taken_while_the_disk_refuses_and_all_goes_on_when_it_does),
        CASE(a_full_queue_is_no_reason_to_keep_a_source_that_is_journaled_paused),
        CASE(two_subscriptions_have_two_names),
    };
    return cmocka_run_group_tests(tests, begin_group, end_group);
}
