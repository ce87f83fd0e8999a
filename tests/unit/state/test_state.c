// SPDX-License-Identifier: Apache-2.0
//
// What is written comes back as it was: every field of every event, every list of a batch in its
// order, a batch that is given twice.
#include "unit/test.h"

#include "support/folder.h"
#include "unit/state/content.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

struct rig {
    struct test_folder folder;
    struct weir_state *state;
};

static int set_up(void **test_state) {
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    test_folder_init(&rig->folder);
    assert_int_equal(weir_state_open(rig->folder.path, NULL, &rig->state, NULL), WEIR_OK);
    *test_state = rig;
    return 0;
}

static int tear_down(void **test_state) {
    struct rig *rig = *test_state;
    weir_state_close(rig->state);
    test_folder_finish(&rig->folder);
    free(rig);
    return 0;
}

static void reopen(struct rig *rig) {
    struct weir_error err;
    weir_state_close(rig->state);
    rig->state = NULL;
    if (weir_state_open(rig->folder.path, NULL, &rig->state, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
}

static void commit(struct rig *rig, const struct weir_batch *batch) {
    struct weir_error err;
    if (weir_state_store.commit(rig->state, batch, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
}

// One number of the database, asked by somebody who is not weir.
static int64_t ask(struct rig *rig, const char *sql) {
    char path[TEST_PATH_BYTES];
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(test_path(&rig->folder, "state.db", path), &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

static void tell_nothing(void *context, const char *line) {
    (void)context;
    fail_msg("%s", line);
}

static void check_is_content(struct rig *rig) {
    uint64_t count;
    struct weir_error err;
    if (weir_state_check(rig->folder.path, tell_nothing, NULL, &count, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(count, 0);
}

// ---- events ----

struct gathered {
    struct weir_entry entries[SAMPLE_EVENT_COUNT];
    size_t count, count_max; // the reading ends there
};

static bool gather(void *context, const struct weir_entry *entry) {
    struct gathered *gathered = context;
    REQUIRE(gathered->count < SAMPLE_EVENT_COUNT);
    struct weir_entry *kept = &gathered->entries[gathered->count++];
    *kept = *entry;
    weir_event_ref(kept->event);
    return gathered->count != gathered->count_max;
}

static void forget(struct gathered *gathered) {
    for (size_t i = 0; i < gathered->count; i++) {
        weir_event_unref(gathered->entries[i].event);
    }
    gathered->count = 0;
}

static void load(struct rig *rig, const struct weir_load *wanted, struct gathered *gathered) {
    struct weir_error err;
    if (weir_state_store.load_journal(rig->state, wanted, gather, gathered, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
}

static void write_samples(struct rig *rig, struct weir_entry *entries, uint64_t subscription) {
    for (size_t i = 0; i < SAMPLE_EVENT_COUNT; i++) {
        entries[i] = (struct weir_entry){
            .subscription = subscription,
            .seq = i + 1,
            .event = sample_event(i),
            .attempts = (uint32_t)(i * 50000000),
            .next = i + 1 < SAMPLE_EVENT_COUNT ? &entries[i + 1] : NULL,
        };
    }
    commit(rig, &(struct weir_batch){.entries = entries});
}

static void free_samples(struct weir_entry *entries) {
    for (size_t i = 0; i < SAMPLE_EVENT_COUNT; i++) {
        weir_event_unref(entries[i].event);
    }
}

static void events_of_every_shape_come_back(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_entry entries[SAMPLE_EVENT_COUNT];
    struct gathered gathered = {0};
    write_samples(rig, entries, WEIR_SUBSCRIPTION_ID_MAX);
    reopen(rig);
    const struct weir_load all = {
        .subscription = WEIR_SUBSCRIPTION_ID_MAX, .seq_to = UINT64_MAX, .rows_max = SIZE_MAX};
    load(rig, &all, &gathered);
    assert_int_equal(gathered.count, SAMPLE_EVENT_COUNT);
    for (size_t i = 0; i < SAMPLE_EVENT_COUNT; i++) {
        const struct weir_entry *entry = &gathered.entries[i];
        assert_int_equal(entry->subscription, WEIR_SUBSCRIPTION_ID_MAX);
        assert_int_equal(entry->seq, i + 1);
        assert_int_equal(entry->attempts, entries[i].attempts);
        assert_int_equal(entry->op, WEIR_ENTRY_WRITE);
        assert_false(entry->has_fingerprint);
        assert_same_event(entry->event, entries[i].event);
    }
    forget(&gathered);
    free_samples(entries);
}

static void people_can_read_it(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_entry entries[SAMPLE_EVENT_COUNT];
    write_samples(rig, entries, 1);
    free_samples(entries);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal"), SAMPLE_EVENT_COUNT);
    assert_int_equal(ask(rig, "SELECT attempts FROM journal WHERE event_id = 'orders/1' AND "
                              "json_extract(extensions, '$.revision') = '17' AND "
                              "type = 'dev.weir.keyvalue.set'"),
                     50000000);
    // The escapes are JSON's: of every event whose extensions are UTF-8.
    assert_int_equal(ask(rig, "SELECT min(json_valid(extensions)) FROM journal "
                              "WHERE extensions IS NOT NULL AND extensions NOT LIKE '%twice%'"),
                     1);
    // Text and binary payloads: see content.c.
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal WHERE typeof(data) = 'text'"),
                     SAMPLE_EVENT_COUNT / 8 * 4);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal WHERE typeof(data) = 'blob'"),
                     SAMPLE_EVENT_COUNT / 8 * 3);
}

static void a_part_of_the_journal_is_loaded(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_entry entries[SAMPLE_EVENT_COUNT], others[SAMPLE_EVENT_COUNT];
    struct gathered gathered = {0};
    write_samples(rig, entries, 2);
    write_samples(rig, others, 3);
    free_samples(others);
    load(rig,
         &(struct weir_load){.subscription = 2, .seq_from = 5, .seq_to = 9, .rows_max = SIZE_MAX},
         &gathered);
    assert_int_equal(gathered.count, 5);
    assert_int_equal(gathered.entries[0].seq, 5);
    assert_int_equal(gathered.entries[4].seq, 9);
    forget(&gathered);
    load(rig, &(struct weir_load){.subscription = 2, .seq_to = WEIR_SEQ_MAX, .rows_max = 7},
         &gathered);
    assert_int_equal(gathered.count, 7);
    forget(&gathered);
    gathered.count_max = 3;
    load(rig, &(struct weir_load){.subscription = 2, .seq_to = WEIR_SEQ_MAX, .rows_max = 7},
         &gathered);
    assert_int_equal(gathered.count, 3);
    forget(&gathered);
    gathered.count_max = 0;
    const struct weir_str keys[] = {WEIR_STR("a\0\xff"), WEIR_STR("")};
    for (size_t k = 0; k < COUNT_OF(keys); k++) {
        load(rig,
             &(struct weir_load){.subscription = 2,
                                 .seq_from = 5,
                                 .seq_to = WEIR_SEQ_MAX,
                                 .key = &keys[k],
                                 .rows_max = 4},
             &gathered);
        assert_int_equal(gathered.count, 4);
        for (size_t i = 0; i < gathered.count; i++) {
            assert_true(weir_str_equal(gathered.entries[i].event->key, keys[k]));
            assert_int_equal(gathered.entries[i].seq, (k == 0 ? 7 : 6) + 4 * i);
        }
        forget(&gathered);
    }
    // No such rows.
    load(rig, &(struct weir_load){.subscription = 2, .seq_from = 9, .seq_to = 8, .rows_max = 7},
         &gathered);
    load(rig, &(struct weir_load){.subscription = 4, .seq_to = WEIR_SEQ_MAX, .rows_max = 7},
         &gathered);
    load(rig, &(struct weir_load){.subscription = 2, .seq_to = WEIR_SEQ_MAX, .rows_max = 0},
         &gathered);
    assert_int_equal(gathered.count, 0);
    free_samples(entries);
}

// ---- batches ----

static void the_same_rounds_are_the_same_content(void **test_state) {
    struct rig *rig = *test_state;
    struct content written, read;
    sample_commit(rig->state, 0, 5);
    assert_int_equal(content_read(rig->state, &written, NULL), WEIR_OK);
    check_is_content(rig);
    reopen(rig);
    assert_int_equal(content_read(rig->state, &read, NULL), WEIR_OK);
    assert_true(content_equal(&written, &read));
    content_finish(&read);
    // The rows that each list leaves.
    assert_int_equal(ask(rig, "SELECT count(*) FROM subscription"), 2);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal"), 6 * (SAMPLE_ROUND_ENTRIES - 2));
    assert_int_equal(ask(rig, "SELECT count(*) FROM outbox"), 6 * 2);
    assert_int_equal(ask(rig, "SELECT count(*) FROM dead"), 3 * 2 - 2);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal WHERE attempts = 70"), 1);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal WHERE attempts = 4294967295"), 5);
    content_finish(&written);
}

static void a_batch_may_be_given_again(void **test_state) {
    struct rig *rig = *test_state;
    struct test_folder other;
    struct weir_state *twice;
    struct content once, again;
    test_folder_init(&other);
    assert_int_equal(weir_state_open(other.path, NULL, &twice, NULL), WEIR_OK);
    for (uint64_t round = 0; round <= 4; round++) {
        sample_commit(rig->state, round, round);
        sample_commit(twice, round, round);
        sample_commit(twice, round, round);
    }
    assert_int_equal(content_read(rig->state, &once, NULL), WEIR_OK);
    assert_int_equal(content_read(twice, &again, NULL), WEIR_OK);
    assert_true(content_equal(&once, &again));
    content_finish(&once);
    content_finish(&again);
    weir_state_close(twice);
    test_folder_finish(&other);
}

static void lists_are_applied_in_their_order(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_event *first = sample_event(1), *second = sample_event(2);
    // The last of a list counts; entries come behind notes.
    struct weir_note notes[] = {
        {.subscription = 1, .key = first->key, .fingerprint = WEIR_STR("from the notes")},
        {.subscription = 1, .key = WEIR_STR("gone"), .fingerprint = WEIR_STR("x")},
        {.subscription = 1, .key = WEIR_STR("gone")},
        {.subscription = 1, .key = WEIR_STR("kept")},
        {.subscription = 1, .key = WEIR_STR("kept"), .fingerprint = WEIR_STR("y")},
    };
    struct weir_entry entries[] = {
        {.subscription = 1, .seq = 1, .event = first, .has_fingerprint = true},
        {.subscription = 1, .seq = 1, .event = second},
        {.subscription = 1, .seq = 2, .event = first},
        {.subscription = 1, .seq = 2, .op = WEIR_ENTRY_REMOVE},
        {.subscription = 1, .seq = 3, .op = WEIR_ENTRY_REMOVE},
        {.subscription = 1, .seq = 3, .event = first},
        {.subscription = 1, .seq = 4, .op = WEIR_ENTRY_ATTEMPT, .attempts = 9}, // there is none
    };
    for (size_t i = 0; i + 1 < COUNT_OF(notes); i++) {
        notes[i].next = &notes[i + 1];
    }
    for (size_t i = 0; i + 1 < COUNT_OF(entries); i++) {
        entries[i].next = &entries[i + 1];
    }
    struct weir_removal gone = {.id = 7};
    struct weir_outbox_entry outbox = {.id = 7, .event = first};
    struct weir_dead_letter dead = {.id = 7, .event = first};
    commit(rig, &(struct weir_batch){.notes = notes,
                                     .entries = entries,
                                     .outbox = &outbox,
                                     .published = &gone,
                                     .dead = &dead,
                                     .undead = &gone});
    assert_int_equal(ask(rig, "SELECT count(*) FROM note"), 2);
    assert_int_equal(ask(rig, "SELECT count(*) FROM note WHERE fingerprint = x'79'"), 1);
    assert_int_equal(ask(rig, "SELECT count(*) FROM note WHERE key <> CAST('kept' AS BLOB) AND "
                              "fingerprint = CAST('from the notes' AS BLOB)"),
                     0);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal"), 2);
    assert_int_equal(
        ask(rig, "SELECT count(*) FROM journal WHERE event_id = 'orders/2' AND row & 255 = 1"), 1);
    assert_int_equal(ask(rig, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead)"),
                     0);
    weir_event_unref(first);
    weir_event_unref(second);
}

static void an_empty_position_forgets_the_key(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_event *told = sample_event(4), *forgotten = sample_event(0);
    assert_true(told->position.size > 0 && forgotten->position.size == 0);
    assert_true(weir_str_equal(told->key, forgotten->key));
    struct weir_entry entry = {.subscription = 1, .seq = 1, .event = told, .op = WEIR_ENTRY_PASS};
    commit(rig, &(struct weir_batch){.entries = &entry});
    assert_int_equal(ask(rig, "SELECT count(*) FROM note"), 0);
    entry.has_fingerprint = true;
    commit(rig, &(struct weir_batch){.entries = &entry});
    assert_int_equal(ask(rig, "SELECT count(*) FROM note"), 1);
    entry.event = forgotten;
    commit(rig, &(struct weir_batch){.entries = &entry});
    assert_int_equal(ask(rig, "SELECT count(*) FROM note"), 0);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal"), 0);
    weir_event_unref(told);
    weir_event_unref(forgotten);
}

static void all_of_a_batch_or_nothing(void **test_state) {
    struct rig *rig = *test_state;
    struct content before, after;
    sample_commit(rig->state, 0, 1);
    assert_int_equal(content_read(rig->state, &before, NULL), WEIR_OK);
    struct sample_batch sample;
    struct weir_error err;
    sample_batch_init(&sample, 2);
    sample.entries[COUNT_OF(sample.entries) - 1].seq = WEIR_SEQ_MAX + 1;
    assert_int_equal(weir_state_store.commit(rig->state, &sample.batch, &err), WEIR_OTHER);
    assert_message_has(&err, "no place for event 1099511627776 of subscription 1");
    assert_int_equal(content_read(rig->state, &after, NULL), WEIR_OK);
    assert_true(content_equal(&before, &after));
    sample_batch_finish(&sample);
    sample_commit(rig->state, 2, 2);
    content_finish(&before);
    content_finish(&after);
}

static void a_subscription_keeps_its_name_to_itself(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_error err;
    struct weir_subscription_record first = {.id = 1, .name = WEIR_STR("a"), .next_seq = 1},
                                    second = {.id = 2, .name = WEIR_STR("b"), .next_seq = 1};
    first.next = &second;
    commit(rig, &(struct weir_batch){.subscriptions = &first});
    second.name = first.name;
    assert_int_equal(
        weir_state_store.commit(rig->state, &(struct weir_batch){.subscriptions = &first}, &err),
        WEIR_OTHER);
    assert_message_has(&err, "subscription.name");
    second.name = WEIR_STR("c");
    commit(rig, &(struct weir_batch){.subscriptions = &first});
    assert_int_equal(ask(rig, "SELECT group_concat(name, '') = 'ac' FROM subscription"), 1);
    first.id = 0;
    assert_int_equal(
        weir_state_store.commit(rig->state, &(struct weir_batch){.subscriptions = &first}, &err),
        WEIR_OTHER);
}

// ---- the rest of the vtable ----

static void the_last_ids_outlive_their_rows(void **test_state) {
    struct rig *rig = *test_state;
    uint64_t outbox, dead;
    assert_int_equal(weir_state_store.last_ids(rig->state, &outbox, &dead, NULL), WEIR_OK);
    assert_int_equal(outbox, 0);
    assert_int_equal(dead, 0);
    sample_commit(rig->state, 0, 2);
    reopen(rig);
    struct weir_removal published = {.id = 9}, undead = {.id = 6};
    commit(rig, &(struct weir_batch){.published = &published, .undead = &undead});
    assert_int_equal(weir_state_store.last_ids(rig->state, &outbox, &dead, NULL), WEIR_OK);
    assert_int_equal(outbox, 9);
    assert_int_equal(dead, 6);
}

static bool count_rows(void *context) {
    size_t *left = context;
    return --*left > 0;
}
static bool count_outbox(void *context, const struct weir_outbox_entry *entry) {
    assert_int_equal(entry->id, 5);
    return count_rows(context);
}
static bool count_dead(void *context, const struct weir_dead_letter *letter) {
    assert_int_equal(letter->id, 5);
    return count_rows(context);
}
static bool count_notes(void *context, struct weir_str key, struct weir_str fingerprint) {
    (void)key;
    (void)fingerprint;
    return count_rows(context);
}

static void a_callback_ends_the_reading(void **test_state) {
    struct rig *rig = *test_state;
    sample_commit(rig->state, 0, 2);
    size_t left = 1;
    assert_int_equal(weir_state_store.load_outbox(rig->state, 3, 1, count_outbox, &left, NULL),
                     WEIR_OK);
    assert_int_equal(left, 0);
    left = 1;
    assert_int_equal(weir_state_store.load_dead(rig->state, 2, SIZE_MAX, count_dead, &left, NULL),
                     WEIR_OK);
    assert_int_equal(left, 0);
    left = 2;
    assert_int_equal(weir_state_store.load_notes(rig->state, 1, count_notes, &left, NULL), WEIR_OK);
    assert_int_equal(left, 0);
    left = 2;
    assert_int_equal(
        weir_state_store.load_outbox(rig->state, UINT64_MAX, 1, count_outbox, &left, NULL),
        WEIR_OK);
    assert_int_equal(left, 2);
}

static void a_forgotten_subscription_leaves_nothing(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_error err;
    sample_commit(rig->state, 0, 2);
    assert_int_equal(weir_state_forget(rig->state, WEIR_STR("third"), &err), WEIR_NOT_FOUND);
    assert_message_has(&err, "third");
    assert_int_equal(weir_state_forget(rig->state, WEIR_STR("second"), &err), WEIR_OK);
    assert_int_equal(ask(rig, "SELECT count(*) FROM subscription"), 1);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal WHERE row >> 40 <> 1"), 0);
    assert_int_equal(ask(rig, "SELECT count(*) FROM journal"), 3 * SAMPLE_ROUND_ENTRIES / 2);
    assert_int_equal(ask(rig, "SELECT count(*) FROM note WHERE subscription <> 1"), 0);
    assert_int_equal(ask(rig, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead)"),
                     0);
    check_is_content(rig);
    reopen(rig);
    sample_commit(rig->state, 3, 3);
}

static void a_reader_reads_beside_the_writer(void **test_state) {
    struct rig *rig = *test_state;
    struct weir_state *reader;
    struct weir_error err;
    struct content written, read;
    sample_commit(rig->state, 0, 2);
    assert_int_equal(weir_state_read(rig->folder.path, &reader, &err), WEIR_OK);
    sample_commit(rig->state, 3, 3);
    assert_int_equal(content_read(rig->state, &written, NULL), WEIR_OK);
    assert_int_equal(content_read(reader, &read, NULL), WEIR_OK);
    assert_true(content_equal(&written, &read));
    assert_int_equal(weir_state_store.commit(reader, &(struct weir_batch){0}, &err), WEIR_OTHER);
    assert_message_has(&err, "reading only");
    assert_int_equal(weir_state_forget(reader, WEIR_STR("first"), &err), WEIR_OTHER);
    weir_state_close(reader);
    sample_commit(rig->state, 4, 4);
    content_finish(&written);
    content_finish(&read);
}

// ---- threads ----

struct note_reader {
    struct weir_state *state;
    atomic_bool is_done;
    size_t rounds;
};

static bool see_note(void *context, struct weir_str key, struct weir_str fingerprint) {
    (void)key;
    (void)context;
    REQUIRE(fingerprint.size > 0);
    return true;
}

static void *read_notes(void *argument) {
    struct note_reader *reader = argument;
    while (!atomic_load(&reader->is_done)) {
        struct weir_error err;
        REQUIRE(weir_state_store.load_notes(reader->state, 1, see_note, NULL, &err) == WEIR_OK);
        reader->rounds++;
    }
    return NULL;
}

static void notes_are_read_beside_commits(void **test_state) {
    struct rig *rig = *test_state;
    struct note_reader reader = {.state = rig->state};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_notes, &reader), 0);
    sample_commit(rig->state, 0, 60);
    atomic_store(&reader.is_done, true);
    pthread_join(thread, NULL);
    assert_true(reader.rounds > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_of_every_shape_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(people_can_read_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_of_the_journal_is_loaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_rounds_are_the_same_content, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_may_be_given_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_are_applied_in_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_position_forgets_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_of_a_batch_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_subscription_keeps_its_name_to_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_ids_outlive_their_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_callback_ends_the_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_forgotten_subscription_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_reads_beside_the_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notes_are_read_beside_commits, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
