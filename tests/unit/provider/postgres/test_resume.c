// SPDX-License-Identifier: Apache-2.0
//
// How subscriptions go on: behind their position, whatever happened to weir, the connection, the
// server and the slot meanwhile; and what the server may forget.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "provider/postgres/position.h"
#include "provider/row.h"

#include <signal.h>

static void open_with_table(struct postgres_rig *rig) {
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    postgres_rig_open(rig);
}

static void insert(struct postgres_rig *rig, const char *values) {
    char sql[256];
    snprintf(sql, sizeof sql, "INSERT INTO t VALUES %s", values);
    postgres_rig_sql(rig, sql);
}

static const struct weir_event *expect_key(struct postgres_sub *sub, const char *key) {
    const struct weir_event *event = test_sink_next(&sub->sink);
    if (!weir_str_equal(event->key, weir_str_of(key))) {
        fail_msg("wanted \"%s\", came \"%.*s\" %.*s %.*s", key, WEIR_STR_ARG(event->key),
                 WEIR_STR_ARG(event->fields.ty), WEIR_STR_ARG(event->fields.data.value.bytes));
    }
    return event;
}

static void restart_weir(struct postgres_rig *rig, struct postgres_sub *sub) {
    postgres_sub_end(sub);
    postgres_rig_close(rig);
    postgres_rig_open(rig);
}

// ---- weir stops ----

static void it_goes_on_behind_its_position(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    sub.acknowledges = false;
    postgres_sub_begin(&sub);
    assert_int_equal(sub.position_size, WEIR_PG_POSITION_BYTES); // it was remembered
    insert(rig, "(1), (2), (3)");
    const struct weir_event *events[3];
    for (int i = 0; i < 3; i++) {
        events[i] = test_sink_next(&sub.sink);
    }
    // What was settled last is the second of three that were committed together.
    postgres_sub_end(&sub);
    memcpy(sub.position, events[1]->position.data, events[1]->position.size);
    postgres_rig_close(rig);
    insert(rig, "(4)");
    postgres_rig_open(rig);
    sub.acknowledges = true;
    postgres_sub_begin(&sub);
    const struct weir_event *again = expect_key(&sub, "t/3");
    assert_true(weir_str_equal(again->fields.id, events[2]->fields.id));
    assert_true(weir_str_equal(again->fields.source, events[2]->fields.source));
    assert_true(weir_str_equal(again->fields.data.value.bytes, events[2]->fields.data.value.bytes));
    expect_key(&sub, "t/4");
    insert(rig, "(5)");
    expect_key(&sub, "t/5");
    postgres_sub_finish(&sub);
}

static void a_hundred_stops_lose_and_double_nothing(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    char values[64], key[32];
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t/*");
    postgres_sub_begin(&sub);
    for (int i = 0; i < 100; i += 2) {
        snprintf(values, sizeof values, "(%d)", i);
        insert(rig, values);
        snprintf(key, sizeof key, "t/%d", i);
        expect_key(&sub, key);
        postgres_sub_end(&sub);
        postgres_rig_close(rig);
        snprintf(values, sizeof values, "(%d)", i + 1);
        insert(rig, values);
        postgres_rig_open(rig);
        postgres_sub_begin(&sub);
        snprintf(key, sizeof key, "t/%d", i + 1);
        expect_key(&sub, key);
    }
    postgres_sub_finish(&sub);
}

static void one_that_comes_later_is_told_what_the_others_were(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub subs[3];
    const char *names[] = {"a", "b", "c"};
    open_with_table(rig);
    rig->options.linger_ns = 60 * WEIR_NS_PER_S;
    postgres_rig_close(rig);
    postgres_rig_open(rig);
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        postgres_sub_init(&subs[i], rig, names[i], i == 1 ? "t/2" : "t");
        postgres_sub_begin(&subs[i]);
    }
    insert(rig, "(1)");
    expect_key(&subs[0], "t/1");
    expect_key(&subs[2], "t/1");
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        postgres_sub_end(&subs[i]);
    }
    postgres_rig_close(rig);
    insert(rig, "(2)");
    insert(rig, "(3)");
    postgres_rig_open(rig);
    postgres_sub_begin(&subs[0]);
    expect_key(&subs[0], "t/2");
    expect_key(&subs[0], "t/3");
    insert(rig, "(4)");
    expect_key(&subs[0], "t/4");
    postgres_sub_begin(&subs[1]);
    expect_key(&subs[1], "t/2");
    postgres_sub_begin(&subs[2]);
    expect_key(&subs[2], "t/2");
    expect_key(&subs[2], "t/3");
    expect_key(&subs[2], "t/4");
    insert(rig, "(5)");
    expect_key(&subs[0], "t/5"); // and nothing twice
    expect_key(&subs[2], "t/5");
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        postgres_sub_finish(&subs[i]);
    }
}

static void a_position_that_is_not_understood_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    insert(rig, "(1)");
    expect_key(&sub, "t/1");
    restart_weir(rig, &sub);
    sub.position_size--;
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "not understood");
    assert_str_equal(test_extension(expect_key(&sub, "t/1"), WEIR_EXTENSION_SNAPSHOT), "true");
    restart_weir(rig, &sub);
    // Of another cluster.
    struct weir_pg_position position;
    assert_true(
        weir_pg_position_decode((struct weir_str){sub.position, sub.position_size}, &position));
    position.system++;
    weir_pg_position_encode(&position, sub.position);
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "another cluster");
    expect_key(&sub, "t/1");
    restart_weir(rig, &sub);
    // Of a history that never was.
    assert_true(
        weir_pg_position_decode((struct weir_str){sub.position, sub.position_size}, &position));
    position.system = position.system;
    position.commit_lsn += UINT64_C(1) << 40;
    weir_pg_position_encode(&position, sub.position);
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "history ends before");
    expect_key(&sub, "t/1");
    restart_weir(rig, &sub);
    assert_true(
        weir_pg_position_decode((struct weir_str){sub.position, sub.position_size}, &position));
    position.timeline += 7;
    weir_pg_position_encode(&position, sub.position);
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "restored");
    expect_key(&sub, "t/1");
    insert(rig, "(2)");
    expect_key(&sub, "t/2");
    postgres_sub_finish(&sub);
}

// ---- the server stops ----

static void a_server_that_was_killed_is_gone_on_with(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub kept, free_one;
    struct weir_health health;
    open_with_table(rig);
    postgres_sub_init(&kept, rig, "sub", "t");
    postgres_sub_begin(&kept);
    postgres_sub_init(&free_one, rig, NULL, "t");
    postgres_sub_begin(&free_one);
    insert(rig, "(1)");
    expect_key(&kept, "t/1");
    expect_key(&free_one, "t/1");
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            test_server_kill(rig->server);
        } else {
            test_server_halt(rig->server);
        }
        WAIT_UNTIL((rig->resource->provider->health(rig->resource, &health),
                    !health.is_connected && health.reason[0]));
        test_server_restart(rig->server);
        insert(rig, round == 0 ? "(2)" : "(3)");
        expect_key(&kept, round == 0 ? "t/2" : "t/3");
        // Without a name there is no slot that would have kept it: that is said, and what is there
        // is told.
        postgres_sub_expect_gap(&free_one, "the connection was lost");
        expect_key(&free_one, "t/1");
        expect_key(&free_one, "t/2");
        if (round == 1) {
            expect_key(&free_one, "t/3");
        }
        rig->resource->provider->health(rig->resource, &health);
        assert_true(health.is_connected);
        assert_int_equal(health.reconnects > 0, true);
    }
    postgres_sub_finish(&kept);
    postgres_sub_finish(&free_one);
}

static void a_server_that_was_wiped_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub kept, free_one, fresh;
    const struct weir_limits limits = {.until_ns = INT64_MAX};
    struct weir_error err;
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_open(rig);
    postgres_sub_init(&kept, rig, "sub", "*");
    postgres_sub_begin(&kept);
    postgres_sub_init(&free_one, rig, NULL, "*");
    postgres_sub_begin(&free_one);
    for (int i = 0; i < 200; i++) { // so that its transactions have larger numbers
        assert_ok(rig->resource->provider->set(rig->resource, WEIR_STR("k"), WEIR_STR("before"),
                                               &limits, &err));
    }
    test_sink_await_count(&kept.sink, 200);
    test_sink_await_count(&free_one.sink, 200);
    kept.sink.next = free_one.sink.next = 200;
    test_server_wipe(rig->server);
    struct postgres_sub *subs[] = {&kept, &free_one};
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        postgres_sub_expect_gap(subs[i], "");
    }
    postgres_sub_init(&fresh, rig, NULL, "*");
    postgres_sub_begin(&fresh);
    WAIT_UNTIL(rig->resource->provider->set(rig->resource, WEIR_STR("k"), WEIR_STR("after"),
                                            &limits, &err) == WEIR_OK);
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        test_sink_expect_set(&subs[i]->sink, "k", "after");
    }
    test_sink_expect_set(&fresh.sink, "k", "after");
    postgres_sub_finish(&kept);
    postgres_sub_finish(&free_one);
    postgres_sub_finish(&fresh);
}

static void a_subscription_begins_again_without_its_server(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub, fresh;
    struct weir_error err;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    restart_weir(rig, &sub);
    insert(rig, "(1)");
    test_server_halt(rig->server);
    postgres_sub_begin(&sub);
    postgres_sub_init(&fresh, rig, "fresh", "t");
    assert_int_equal(postgres_sub_try_begin(&fresh, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "cannot connect to 127.0.0.1:");
    test_server_restart(rig->server);
    expect_key(&sub, "t/1");
    postgres_sub_finish(&sub);
    postgres_sub_finish(&fresh);
}

// ---- the slot ----

static void a_slot_that_is_gone_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    insert(rig, "(1)");
    expect_key(&sub, "t/1");
    postgres_sub_end(&sub);
    postgres_rig_close(rig);
    insert(rig, "(2)");
    postgres_rig_drop_slots(rig);
    postgres_rig_open(rig);
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "slot is gone");
    assert_str_equal(test_extension(expect_key(&sub, "t/1"), WEIR_EXTENSION_SNAPSHOT), "true");
    expect_key(&sub, "t/2");
    insert(rig, "(3)");
    assert_int_equal(test_extension(expect_key(&sub, "t/3"), WEIR_EXTENSION_SNAPSHOT).size, 0);
    // It was told of the gap, and is not told again.
    restart_weir(rig, &sub);
    postgres_sub_begin(&sub);
    insert(rig, "(4)");
    expect_key(&sub, "t/4");
    postgres_sub_finish(&sub);
}

static void a_slot_that_the_server_gave_up_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    rig->options.snapshot = WEIR_PG_SNAPSHOT_NEVER;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    postgres_sub_end(&sub);
    postgres_rig_close(rig);
    postgres_rig_sql(rig, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    postgres_rig_sql(rig, "SELECT pg_reload_conf()");
    insert(rig, "(1)");
    for (int i = 0;
         i < 100 && !postgres_rig_is(rig, "SELECT wal_status FROM pg_replication_slots", "lost");
         i++) {
        postgres_rig_sql(rig, "SELECT pg_switch_wal()");
        postgres_rig_sql(rig, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))");
        postgres_rig_sql(rig, "CHECKPOINT");
    }
    assert_true(postgres_rig_is(rig, "SELECT wal_status FROM pg_replication_slots", "lost"));
    postgres_rig_open(rig);
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "max_slot_wal_keep_size");
    insert(rig, "(2)");
    expect_key(&sub, "t/2");
    postgres_sub_finish(&sub);
    postgres_rig_sql(rig, "ALTER SYSTEM RESET max_slot_wal_keep_size");
    postgres_rig_sql(rig, "SELECT pg_reload_conf()");
}

static void a_slot_that_others_use_is_refused_by_name(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub, other;
    struct weir_error err;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    struct postgres_rig second = *rig;
    second.resource = NULL;
    postgres_rig_open(&second);
    postgres_sub_init(&other, &second, "other", "t");
    assert_int_equal(postgres_sub_try_begin(&other, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "slot \"weir_db\" is used by another connection");
    // Another name for it, and both go on.
    postgres_rig_close(&second);
    char *slot = strdup("weir_second");
    second.options.slot = slot;
    postgres_rig_open(&second);
    postgres_sub_begin(&other);
    insert(rig, "(1)");
    const struct weir_event *event = expect_key(&sub, "t/1");
    assert_true(weir_str_equal(expect_key(&other, "t/1")->fields.id, event->fields.id));
    postgres_sub_finish(&other);
    postgres_rig_close(&second);
    free(slot);
    postgres_sub_finish(&sub);
}

// ---- what the server may forget ----

static bool has_moved_to(struct postgres_rig *rig, const char *lsn) {
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT (confirmed_flush_lsn >= '%s')::text FROM pg_replication_slots WHERE slot_name "
             "= 'weir_db'",
             lsn);
    return postgres_rig_is(rig, sql, "true");
}

static void an_idle_subscription_lets_the_server_forget(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub idle, busy;
    open_with_table(rig);
    postgres_rig_sql(rig, "CREATE TABLE quiet (id int PRIMARY KEY)");
    postgres_rig_sql(rig, "CREATE DATABASE elsewhere");
    postgres_sub_init(&idle, rig, "idle", "quiet");
    postgres_sub_begin(&idle);
    postgres_sub_init(&busy, rig, "busy", "t");
    postgres_sub_begin(&busy);
    insert(rig, "(1)");
    expect_key(&busy, "t/1");
    char *lsn = postgres_rig_ask(rig, "SELECT pg_current_wal_insert_lsn()::text");
    WAIT_UNTIL(has_moved_to(rig, lsn));
    free(lsn);
    // What others write, and what is written in another database, moves it too.
    postgres_rig_sql(rig, "CREATE TABLE others AS SELECT generate_series(1, 1000)");
    lsn = postgres_rig_ask(rig, "SELECT pg_current_wal_insert_lsn()::text");
    WAIT_UNTIL(has_moved_to(rig, lsn));
    free(lsn);
    assert_true(postgres_sub_bookmarks(&idle) > 0);
    assert_int_equal(test_sink_count(&idle.sink), 0);
    // And behind its bookmark nothing is a gap.
    postgres_sub_end(&idle);
    postgres_sub_end(&busy);
    postgres_rig_close(rig);
    postgres_rig_sql(rig, "INSERT INTO quiet VALUES (1)");
    postgres_rig_open(rig);
    postgres_sub_begin(&idle);
    expect_key(&idle, "quiet/1");
    postgres_sub_finish(&idle);
    postgres_sub_finish(&busy);
    postgres_rig_sql(rig, "DROP DATABASE elsewhere");
}

static void write_elsewhere(struct postgres_rig *rig) {
    postgres_rig_sql(rig, "SELECT pg_logical_emit_message(false, 'elsewhere', '')");
}

static void what_is_not_acknowledged_is_not_forgotten(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub slow, quick;
    open_with_table(rig);
    postgres_sub_init(&slow, rig, "slow", "t");
    slow.acknowledges = false;
    postgres_sub_begin(&slow);
    postgres_sub_init(&quick, rig, "quick", "t");
    postgres_sub_begin(&quick);
    insert(rig, "(1)");
    expect_key(&slow, "t/1");
    expect_key(&quick, "t/1");
    char *lsn = postgres_rig_ask(rig, "SELECT pg_current_wal_insert_lsn()::text");
    size_t bookmarks = postgres_sub_bookmarks(&quick);
    insert(rig, "(2)");
    expect_key(&quick, "t/2");
    expect_key(&slow, "t/2");
    // It would have moved by now.
    WAIT_UNTIL((write_elsewhere(rig), postgres_sub_bookmarks(&quick) > bookmarks + 3));
    assert_false(has_moved_to(rig, lsn));
    free(lsn);
    // It stops without having settled anything, and is told all of it again.
    postgres_sub_end(&slow);
    postgres_sub_end(&quick);
    postgres_rig_close(rig);
    postgres_rig_open(rig);
    postgres_sub_begin(&slow);
    expect_key(&slow, "t/1");
    expect_key(&slow, "t/2");
    postgres_sub_finish(&slow);
    postgres_sub_finish(&quick);
}

static void one_that_was_away_too_long_is_told_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub away, here;
    open_with_table(rig);
    postgres_sub_init(&away, rig, "away", "t");
    postgres_sub_begin(&away);
    postgres_sub_init(&here, rig, "here", "t");
    postgres_sub_begin(&here);
    insert(rig, "(1)");
    expect_key(&away, "t/1");
    expect_key(&here, "t/1");
    postgres_sub_end(&away);
    insert(rig, "(2)");
    expect_key(&here, "t/2");
    char *lsn = postgres_rig_ask(rig, "SELECT pg_current_wal_insert_lsn()::text");
    WAIT_UNTIL(has_moved_to(rig, lsn));
    free(lsn);
    postgres_sub_begin(&away);
    postgres_sub_expect_gap(&away, "away for too long");
    expect_key(&away, "t/1");
    expect_key(&away, "t/2");
    insert(rig, "(3)");
    expect_key(&away, "t/3");
    expect_key(&here, "t/3");
    postgres_sub_finish(&away);
    postgres_sub_finish(&here);
}

static void the_server_keeps_for_a_while_what_one_that_ended_lacks(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub away, here;
    rig->options.linger_ns = 60 * WEIR_NS_PER_S;
    open_with_table(rig);
    postgres_sub_init(&away, rig, "away", "t");
    postgres_sub_begin(&away);
    postgres_sub_init(&here, rig, "here", "t");
    postgres_sub_begin(&here);
    postgres_sub_end(&away);
    insert(rig, "(1)");
    expect_key(&here, "t/1");
    size_t bookmarks = postgres_sub_bookmarks(&here);
    // It would have moved by now.
    WAIT_UNTIL((write_elsewhere(rig), postgres_sub_bookmarks(&here) > bookmarks + 3));
    postgres_sub_begin(&away);
    expect_key(&away, "t/1");
    postgres_sub_finish(&away);
    postgres_sub_finish(&here);
}

static void a_slot_that_nobody_needs_is_dropped(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    assert_true(postgres_rig_is(rig, "SELECT count(*)::text FROM pg_replication_slots", "1"));
    postgres_sub_end(&sub);
    WAIT_UNTIL(postgres_rig_is(rig, "SELECT count(*)::text FROM pg_replication_slots", "0"));
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "slot is gone");
    insert(rig, "(1)");
    expect_key(&sub, "t/1");
    postgres_sub_finish(&sub);
}

// ---- what is there already ----

static void what_is_there_is_told_first_where_that_is_wanted(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub subs[2];
    rig->options.snapshot = WEIR_PG_SNAPSHOT_ALWAYS;
    open_with_table(rig);
    insert(rig, "(1, 'one'), (2, NULL)");
    for (int i = 0; i < 2; i++) {
        postgres_sub_init(&subs[i], rig, i ? NULL : "sub", "t");
        postgres_sub_begin(&subs[i]);
        const struct weir_event *event = test_sink_next(&subs[i].sink);
        assert_str_equal(event->fields.ty, WEIR_TYPE_ROW_INSERTED);
        assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
        assert_str_equal(event->fields.data.value.bytes,
                         "{\"table\":\"t\",\"before\":null,\"after\":{\"id\":1,\"v\":\"one\"}}");
        expect_key(&subs[i], "t/2");
    }
    insert(rig, "(3)");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(test_extension(expect_key(&subs[i], "t/3"), WEIR_EXTENSION_SNAPSHOT).size,
                         0);
        postgres_sub_finish(&subs[i]);
    }
}

static void a_snapshot_that_was_not_finished_begins_again(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    rig->options.snapshot = WEIR_PG_SNAPSHOT_ALWAYS;
    open_with_table(rig);
    postgres_rig_sql(rig, "INSERT INTO t SELECT generate_series(1, 5000)");
    postgres_sub_init(&sub, rig, "sub", "t");
    test_sink_set_room(&sub.sink, 10, WEIR_AGAIN);
    postgres_sub_begin(&sub);
    test_sink_await_offers(&sub.sink, 11);
    // Changes meanwhile are told behind it.
    postgres_rig_sql(rig, "UPDATE t SET v = 'new' WHERE id = 4999");
    postgres_sub_end(&sub);
    postgres_rig_close(rig);
    postgres_rig_sql(rig, "DELETE FROM t WHERE id = 1");
    test_sink_set_room(&sub.sink, SIZE_MAX, WEIR_AGAIN);
    postgres_rig_open(rig);
    postgres_sub_begin(&sub);
    test_sink_await_count(&sub.sink, 10 + 4999);
    insert(rig, "(5001)");
    sub.sink.next = 10;
    for (int i = 0; i < 4999; i++) {
        const struct weir_event *event = test_sink_next(&sub.sink);
        assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
        assert_false(weir_str_equal(event->key, WEIR_STR("t/1")));
    }
    expect_key(&sub, "t/5001");
    // Now it is finished.
    restart_weir(rig, &sub);
    insert(rig, "(5002)");
    postgres_sub_begin(&sub);
    expect_key(&sub, "t/5002");
    postgres_sub_finish(&sub);
}

static void writes_during_a_snapshot_are_neither_lost_nor_doubled(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    enum { ROWS = 300 };
    static struct postgres_sub sub, other;
    rig->options.snapshot = WEIR_PG_SNAPSHOT_ALWAYS;
    open_with_table(rig);
    postgres_rig_sql(rig, "INSERT INTO t SELECT g, '0' FROM generate_series(0, 299) g");
    for (int kept = 0; kept < 2; kept++) {
        char sql[128];
        long last[ROWS];
        postgres_sub_init(&sub, rig, kept ? "sub" : NULL, "t");
        postgres_sub_init(&other, rig, kept ? "other" : NULL, "t");
        test_sink_set_room(&sub.sink, 0, WEIR_AGAIN);
        postgres_sub_begin(&sub);
        postgres_sub_begin(&other);
        for (int i = 1; i <= ROWS; i++) {
            snprintf(sql, sizeof sql, "UPDATE t SET v = '%d' WHERE id = %d", 1000 * (kept + 1) + i,
                     i * 7 % ROWS);
            postgres_rig_sql(rig, sql);
            if (i == 100) {
                test_sink_set_room(&sub.sink, SIZE_MAX, WEIR_AGAIN);
                rig->resource->provider->resume(sub.watch);
            }
        }
        // Each row's values only ever grow, and end at the last one.
        memset(last, -1, sizeof last);
        for (int done = 0; done < ROWS;) {
            const struct weir_event *event = test_sink_next(&sub.sink);
            char text[256];
            long id, value;
            snprintf(text, sizeof text, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
            const char *after = strstr(text, "\"after\":");
            assert_non_null(after);
            assert_int_equal(sscanf(after, "\"after\":{\"id\":%ld,\"v\":\"%ld\"", &id, &value), 2);
            assert_in_range(id, 0, ROWS - 1);
            assert_true(value > last[id] || (last[id] == -1 && value == 0));
            last[id] = value;
            done += value > 1000 * (kept + 1);
        }
        postgres_sub_finish(&sub);
        postgres_sub_finish(&other);
    }
}

// ---- the publication ----

static void a_table_that_is_made_anew_is_noticed(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    insert(rig, "(1)");
    expect_key(&sub, "t/1");
    postgres_rig_sql(rig, "DROP TABLE t");
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    insert(rig, "(2)");
    postgres_sub_expect_gap(&sub, "made anew");
    expect_key(&sub, "t/2");
    insert(rig, "(3)");
    expect_key(&sub, "t/3");
    postgres_rig_sql(rig, "ALTER PUBLICATION weir_db DROP TABLE t");
    insert(rig, "(4)");
    postgres_sub_expect_gap(&sub, "publication");
    expect_key(&sub, "t/2");
    expect_key(&sub, "t/3");
    expect_key(&sub, "t/4");
    postgres_sub_finish(&sub);
}

static void a_publication_that_was_dropped_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub kept, free_one;
    open_with_table(rig);
    postgres_sub_init(&kept, rig, "sub", "t");
    postgres_sub_begin(&kept);
    postgres_sub_init(&free_one, rig, NULL, "t");
    postgres_sub_begin(&free_one);
    insert(rig, "(1)");
    expect_key(&kept, "t/1");
    expect_key(&free_one, "t/1");
    // Its changes, from here on until there is a publication again, cannot be read by any slot.
    postgres_rig_sql(rig, "DROP PUBLICATION weir_db");
    insert(rig, "(2)");
    struct postgres_sub *subs[] = {&kept, &free_one};
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        postgres_sub_expect_gap(subs[i], "");
        expect_key(subs[i], "t/1");
        expect_key(subs[i], "t/2");
    }
    insert(rig, "(3)");
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        expect_key(subs[i], "t/3");
        postgres_sub_finish(subs[i]);
    }
}

static void a_table_that_comes_late_is_noticed(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_with_table(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    restart_weir(rig, &sub);
    // It is gone when weir starts, and there is nothing else to watch.
    postgres_rig_sql(rig, "DROP TABLE t");
    postgres_rig_sql(rig, "DROP PUBLICATION weir_db");
    postgres_rig_drop_slots(rig);
    postgres_sub_begin(&sub);
    WAIT_UNTIL(postgres_rig_has_logged(rig, "no table t"));
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    insert(rig, "(1)");
    postgres_sub_expect_gap(&sub, "gone");
    expect_key(&sub, "t/1");
    postgres_sub_finish(&sub);
}

static void a_publication_that_is_given_is_left_alone(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    postgres_rig_sql(rig, "CREATE PUBLICATION \"Theirs\"");
    postgres_rig_set(&rig->options.publication, "Theirs");
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    assert_int_equal(postgres_sub_try_begin(&sub, &err), WEIR_DENIED);
    assert_message_has(&err, "ALTER PUBLICATION \"Theirs\" ADD TABLE \"public\".\"t\"");
    postgres_rig_sql(rig, "ALTER PUBLICATION \"Theirs\" ADD TABLE t");
    postgres_sub_begin(&sub);
    insert(rig, "(1)");
    expect_key(&sub, "t/1");
    postgres_sub_finish(&sub);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(it_goes_on_behind_its_position),
        CASE(a_hundred_stops_lose_and_double_nothing),
        CASE(one_that_comes_later_is_told_what_the_others_were),
        CASE(a_position_that_is_not_understood_is_a_gap),
        CASE(a_server_that_was_killed_is_gone_on_with),
        CASE(a_server_that_was_wiped_is_a_gap),
        CASE(a_subscription_begins_again_without_its_server),
        CASE(a_slot_that_is_gone_is_a_gap),
        CASE(a_slot_that_the_server_gave_up_is_a_gap),
        CASE(a_slot_that_others_use_is_refused_by_name),
        CASE(an_idle_subscription_lets_the_server_forget),
        CASE(what_is_not_acknowledged_is_not_forgotten),
        CASE(one_that_was_away_too_long_is_told_a_gap),
        CASE(the_server_keeps_for_a_while_what_one_that_ended_lacks),
        CASE(a_slot_that_nobody_needs_is_dropped),
        CASE(what_is_there_is_told_first_where_that_is_wanted),
        CASE(a_snapshot_that_was_not_finished_begins_again),
        CASE(writes_during_a_snapshot_are_neither_lost_nor_doubled),
        CASE(a_table_that_is_made_anew_is_noticed),
        CASE(a_publication_that_was_dropped_is_a_gap),
        CASE(a_table_that_comes_late_is_noticed),
        CASE(a_publication_that_is_given_is_left_alone),
    };
    return cmocka_run_group_tests_name("PostgreSQL, going on", cases, NULL, NULL);
}
