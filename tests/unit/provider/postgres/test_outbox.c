// SPDX-License-Identifier: Apache-2.0
//
// A table as an outbox: who is told which row, in which order, and what of it, whatever others do
// to the table meanwhile.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "provider/postgres/cursor.h"
#include "provider/postgres/postgres.h"

#include <stdlib.h>

#define TABLE                                                                      \
    "CREATE TABLE box (id bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL " \
    "DEFAULT pg_current_xact_id(), key text NOT NULL, payload text, attributes "   \
    "jsonb, PRIMARY KEY (xid, id))"

static void open_outbox(struct postgres_rig *rig) {
    postgres_rig_set(&rig->options.outbox, "box");
    postgres_rig_set(&rig->options.key_column, "key");
    postgres_rig_set(&rig->options.payload_column, "payload");
    postgres_rig_set(&rig->options.attributes_column, "attributes");
    rig->options.poll_ns = 10 * WEIR_NS_PER_MS;
    postgres_rig_open(rig);
}

static void open_new(struct postgres_rig *rig) {
    postgres_rig_sql(rig, TABLE);
    open_outbox(rig);
}

static void add(struct postgres_rig *rig, const char *key, const char *payload) {
    char sql[256];
    snprintf(sql, sizeof sql, "INSERT INTO box (key, payload) VALUES ('%s', '%s')", key, payload);
    postgres_rig_sql(rig, sql);
}

// A second client, whose transaction stays open.
static struct test_foreign *second(struct postgres_rig *rig) {
    struct test_foreign *other = test_foreign_start(rig->server);
    assert_non_null(other);
    return other;
}

static void run(struct test_foreign *foreign, const char *sql) {
    json_decref(test_foreign_sql(foreign, sql, 0, NULL));
}

// ---- cursors ----

static void cursors_come_back(void **state) {
    (void)state;
    const struct weir_pg_place place = {1, 2, 3, 4, 5};
    const struct weir_pg_cursor cursors[] = {
        {.xid = 7},
        {.xid = UINT64_MAX, .has_id = true, .id = "42", .snapshot_xid = 9},
        {.xid = 1, .has_id = true, .id = ""},
    };
    for (size_t i = 0; i < COUNT_OF(cursors); i++) {
        char bytes[WEIR_PG_CURSOR_BYTES_MAX];
        struct weir_pg_cursor cursor;
        struct weir_pg_place got;
        size_t size = weir_pg_cursor_encode(&cursors[i], &place, bytes);
        assert_true(weir_pg_cursor_decode((struct weir_str){bytes, size}, &cursor, &got));
        assert_true(weir_pg_cursor_is_same(&cursor, &cursors[i]));
        assert_int_equal(cursor.snapshot_xid, cursors[i].snapshot_xid);
        assert_memory_equal(&got, &place, sizeof got);
        assert_false(weir_pg_cursor_decode((struct weir_str){bytes, 20}, &cursor, &got));
        bytes[0] = 9; // another version
        assert_false(weir_pg_cursor_decode((struct weir_str){bytes, size}, &cursor, &got));
    }
    assert_false(weir_pg_cursor_is_same(&cursors[0], &cursors[1]));
    char text[WEIR_PG_CURSOR_TEXT_BYTES];
    assert_string_equal(weir_pg_cursor_text(&cursors[1], text), "18446744073709551615-42");
    assert_string_equal(weir_pg_cursor_text(&cursors[0], text), "7");
}

static void what_is_lost_is_known(void **state) {
    (void)state;
    const struct weir_pg_outbox_look look = {
        .place = {1, 2, 3, 4, 5}, .bound_xid = 100, .next_xid = 110, .oldest_xid = 50};
    const struct {
        struct weir_pg_place place;
        uint64_t xid;
        const char *loss;
    } rows[] = {
        {{1, 2, 3, 4, 5}, 100, NULL},
        {{1, 2, 3, 4, 5}, 110, NULL},
        {{1, 2, 3, 4, 5}, 111, "ends before"},
        {{0, 0, 0, 0, 0}, 1, "not understood"},
        {{9, 2, 3, 4, 5}, 100, "another database"},
        {{1, 9, 3, 4, 5}, 100, "restored"},
        {{1, 2, 9, 4, 5}, 100, "another database"},
        {{1, 2, 3, 9, 5}, 100, "made anew"},
        {{1, 2, 3, 4, 9}, 100, NULL}, // rewritten: a row before it is still there
        {{1, 2, 3, 4, 9}, 50, "truncated"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct weir_pg_cursor cursor = {.xid = rows[i].xid};
        const char *loss = weir_pg_cursor_loss(&cursor, &rows[i].place, &look);
        assert_int_equal(loss != NULL, rows[i].loss != NULL);
        assert_true(!loss || strstr(loss, rows[i].loss));
    }
}

// ---- order ----

static void rows_come_in_the_order_of_their_transactions(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    struct test_foreign *other = second(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    for (int i = 0; i < 5; i++) {
        run(other, "BEGIN");
        run(other, "INSERT INTO box (key, payload) VALUES ('slow', '1')");
        add(rig, "quick", "2"); // its id is between those of the other, and it is over first
        run(other, "INSERT INTO box (key, payload) VALUES ('slow', '3')");
        run(other, "COMMIT");
        const struct weir_event *first = postgres_sub_expect(&sub, "slow", "1");
        const struct weir_event *last = postgres_sub_expect(&sub, "slow", "3");
        assert_false(weir_str_equal(first->fields.id, last->fields.id));
        postgres_sub_expect(&sub, "quick", "2");
    }
    test_foreign_stop(other);
    postgres_sub_finish(&sub);
}

static void what_is_taken_back_is_not_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    struct test_foreign *other = second(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    run(other, "BEGIN");
    run(other, "INSERT INTO box (key, payload) VALUES ('none', '1')");
    add(rig, "a", "1");
    run(other, "ROLLBACK"); // of which nobody notifies
    postgres_sub_expect(&sub, "a", "1");
    test_foreign_stop(other);
    postgres_sub_finish(&sub);
}

static void a_watch_begins_with_what_is_committed_after_it(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    struct test_foreign *other = second(rig);
    add(rig, "before", "1");
    run(other, "BEGIN");
    run(other, "INSERT INTO box (key, payload) VALUES ('open', '1')");
    add(rig, "seen", "1"); // behind the one that is open, and over when the watch begins
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    run(other, "COMMIT");
    add(rig, "after", "1");
    postgres_sub_expect(&sub, "open", "1");
    postgres_sub_expect(&sub, "after", "1");
    assert_int_equal(test_sink_count(&sub.sink), 2);
    test_foreign_stop(other);
    postgres_sub_finish(&sub);
}

static void a_transaction_goes_over_several_pages(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    enum { ROWS = 3000 };
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO box (key, payload) SELECT 'k', g FROM "
                          "generate_series(1, 3000) g");
    for (int i = 1; i <= ROWS; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        postgres_sub_expect(&sub, "k", number);
    }
    postgres_sub_finish(&sub);
}

// ---- stops ----

static void a_watch_goes_on_where_it_was(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "a/*");
    postgres_sub_begin(&sub);
    for (int i = 0; i < 20; i++) {
        char live[16], missed[16];
        snprintf(live, sizeof live, "live %d", i);
        snprintf(missed, sizeof missed, "missed %d", i);
        if (i % 2) {
            add(rig, "a/1", live);
            postgres_sub_expect(&sub, "a/1", live);
        }
        postgres_sub_end(&sub);
        postgres_rig_close(rig);
        add(rig, "a/2", missed);
        add(rig, "b", missed);
        open_outbox(rig);
        postgres_sub_begin(&sub);
        postgres_sub_expect(&sub, "a/2", missed);
    }
    postgres_sub_finish(&sub);
}

static void a_stop_within_a_transaction_loses_and_doubles_nothing(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    test_sink_set_room(&sub.sink, 7, WEIR_AGAIN);
    postgres_rig_sql(rig, "INSERT INTO box (key, payload) SELECT 'k', g FROM "
                          "generate_series(1, 40) g");
    test_sink_await_offers(&sub.sink, 8);
    postgres_sub_end(&sub);
    postgres_rig_close(rig);
    test_sink_set_room(&sub.sink, SIZE_MAX, WEIR_AGAIN);
    open_outbox(rig);
    postgres_sub_begin(&sub);
    for (int i = 1; i <= 40; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        postgres_sub_expect(&sub, "k", number);
    }
    assert_int_equal(test_sink_count(&sub.sink), 40);
    postgres_sub_finish(&sub);
}

static void a_position_moves_on_over_what_concerns_nobody(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "none");
    postgres_sub_begin(&sub);
    add(rig, "other", "1");
    WAIT_UNTIL(postgres_sub_bookmarks(&sub) > 0);
    // Nobody needs what is before it: the rows may go.
    struct weir_pg_cursor cursor;
    struct weir_pg_place place;
    postgres_sub_end(&sub);
    assert_true(
        weir_pg_cursor_decode((struct weir_str){sub.position, sub.position_size}, &cursor, &place));
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT (count(*) > 0)::text FROM box WHERE xid < '%llu'",
             (unsigned long long)cursor.xid);
    assert_true(postgres_rig_is(rig, sql, "true"));
    postgres_sub_finish(&sub);
}

static void a_connection_that_is_cut_loses_nothing(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    postgres_sub_init(&sub, rig, NULL,
                      "*"); // nobody keeps its position, and it goes on all the same
    postgres_sub_begin(&sub);
    for (int i = 0; i < 5; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        postgres_rig_sql(rig, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                              "application_name = 'weir'");
        add(rig, "k", number);
        postgres_sub_expect(&sub, "k", number);
    }
    postgres_sub_finish(&sub);
}

// ---- what is there, and what is gone ----

static void what_is_there_is_told_where_that_is_wanted(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    rig->options.snapshot = WEIR_PG_SNAPSHOT_ALWAYS;
    open_new(rig);
    add(rig, "a", "1");
    add(rig, "b", "1");
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    add(rig, "c", "1");
    assert_str_equal(test_extension(postgres_sub_expect(&sub, "a", "1"), WEIR_EXTENSION_SNAPSHOT),
                     "true");
    assert_str_equal(test_extension(postgres_sub_expect(&sub, "b", "1"), WEIR_EXTENSION_SNAPSHOT),
                     "true");
    assert_str_equal(test_extension(postgres_sub_expect(&sub, "c", "1"), WEIR_EXTENSION_SNAPSHOT),
                     "");
    postgres_sub_finish(&sub);
}

static void a_table_that_lost_its_rows_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    const struct {
        const char *sql, *reason;
    } ways[] = {
#define THERE "; INSERT INTO box (key, payload) VALUES ('there', '1')" // at the same moment
        {"TRUNCATE box" THERE, "truncated"},
        {"DROP TABLE box; " TABLE THERE, "made anew"},
    };
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    for (size_t i = 0; i < 2 * COUNT_OF(ways); i++) {
        bool is_away = i % 2;
        add(rig, "a", "1");
        postgres_sub_expect(&sub, "a", "1");
        if (is_away) {
            postgres_sub_end(&sub);
            postgres_rig_close(rig);
            add(rig, "missed", "1");
        }
        postgres_rig_sql(rig, ways[i / 2].sql);
        if (is_away) {
            open_outbox(rig);
            postgres_sub_begin(&sub);
        }
        postgres_sub_expect_gap(&sub, ways[i / 2].reason);
        assert_str_equal(
            test_extension(postgres_sub_expect(&sub, "there", "1"), WEIR_EXTENSION_SNAPSHOT),
            "true");
    }
    postgres_sub_finish(&sub);
}

static void rows_that_are_deleted_or_moved_are_no_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    add(rig, "a", "1");
    add(rig, "a", "2");
    postgres_sub_expect(&sub, "a", "1");
    postgres_sub_expect(&sub, "a", "2");
    postgres_rig_sql(rig, "DELETE FROM box WHERE payload = '2'");
    postgres_rig_sql(rig, "VACUUM FULL box");
    add(rig, "a", "3");
    postgres_sub_expect(&sub, "a", "3");
    postgres_sub_finish(&sub);
}

static void a_position_that_is_not_understood_is_a_gap(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_new(rig);
    add(rig, "a", "1");
    postgres_sub_init(&sub, rig, "sub", "*");
    memcpy(sub.position, "another's", 9);
    sub.position_size = 9;
    postgres_sub_begin(&sub);
    postgres_sub_expect_gap(&sub, "not understood");
    postgres_sub_expect(&sub, "a", "1");
    postgres_sub_finish(&sub);
}

// ---- sinks ----

static void a_slow_sink_holds_up_nobody(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub slow, quick;
    enum { ROWS = 500 };
    open_new(rig);
    postgres_sub_init(&slow, rig, "slow", "*");
    postgres_sub_init(&quick, rig, "quick", "*");
    postgres_sub_begin(&slow);
    postgres_sub_begin(&quick);
    test_sink_set_room(&slow.sink, 10, WEIR_AGAIN);
    for (int i = 0; i < ROWS; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        add(rig, "k", number);
    }
    test_sink_await_count(&quick.sink, ROWS);
    assert_int_equal(test_sink_count(&slow.sink), 10);
    // A little room at a time, and then all.
    for (int i = 0; i < 5; i++) {
        test_sink_set_room(&slow.sink, 10, WEIR_AGAIN);
        rig->resource->provider->resume(slow.watch);
        test_sink_await_count(&slow.sink, (size_t)(20 + 10 * i));
    }
    test_sink_set_room(&slow.sink, SIZE_MAX, WEIR_AGAIN);
    rig->resource->provider->resume(slow.watch);
    for (int i = 0; i < ROWS; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        postgres_sub_expect(&slow, "k", number);
        postgres_sub_expect(&quick, "k", number);
    }
    add(rig, "k", "last");
    postgres_sub_expect(&slow, "k", "last");
    postgres_sub_expect(&quick, "k", "last");
    assert_int_equal(test_sink_count(&slow.sink), ROWS + 1);
    assert_int_equal(test_sink_count(&quick.sink), ROWS + 1);
    postgres_sub_finish(&slow);
    postgres_sub_finish(&quick);
}

// ---- events ----

static void a_row_says_what_it_is(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    open_new(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO box (key, payload, attributes) VALUES "
                          "('a', 'text', NULL), ('b', NULL, '{\"type\": \"com.example.paid\", "
                          "\"priority\": 3, \"urgent\": true, \"none\": null}'), "
                          "('c', 'x', '{\"type\": \"\"}'), ('d', 'x', '[1]'), "
                          "('e', '{}', '{\"datacontenttype\": \"application/json\", \"id\": "
                          "\"mine\", \"time\": \"2026-01-02T03:04:05Z\"}')");
    const struct weir_event *event = postgres_sub_expect(&sub, "a", "text");
    assert_str_equal(event->fields.ty, WEIR_TYPE_MESSAGE);
    assert_str_equal(event->fields.source, "/db");
    assert_str_equal(event->fields.subject.value, "a");
    assert_str_equal(event->fields.datacontenttype.value, "text/plain");
    assert_false(event->fields.time.is_some);
    struct weir_str revision = test_extension(event, WEIR_EXTENSION_REVISION);
    char id[128];
    snprintf(id, sizeof id, "a@%.*s", WEIR_STR_ARG(revision));
    assert_str_equal(event->fields.id, id);
    event = postgres_sub_expect(&sub, "b", "");
    assert_false(event->fields.data.is_some);
    assert_str_equal(event->fields.ty, "com.example.paid");
    assert_str_equal(test_extension(event, "priority"), "3");
    assert_str_equal(test_extension(event, "urgent"), "true");
    assert_str_equal(test_extension(event, "none"), "");
    assert_str_equal(postgres_sub_expect(&sub, "c", "x")->fields.ty, WEIR_TYPE_MESSAGE);
    assert_str_equal(postgres_sub_expect(&sub, "d", "x")->fields.ty, WEIR_TYPE_MESSAGE);
    event = postgres_sub_expect(&sub, "e", "{}");
    assert_str_equal(event->fields.id, "mine");
    assert_str_equal(event->fields.datacontenttype.value, "application/json");
    assert_str_equal(event->fields.time.value, "2026-01-02T03:04:05Z");
    assert_ok(weir_event_fields_check(&event->fields, &err));
    postgres_sub_finish(&sub);
}

static void without_a_payload_the_row_is_the_event(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig,
                     "CREATE TABLE \"Odd \"\"box\" (n int, \"at\" xid8 NOT NULL DEFAULT "
                     "pg_current_xact_id(), total numeric, bytes bytea, PRIMARY KEY (\"at\", n))");
    postgres_rig_set(&rig->options.outbox, "Odd \"box");
    postgres_rig_set(&rig->options.id_column, "n");
    postgres_rig_set(&rig->options.xid_column, "at");
    rig->options.poll_ns = 10 * WEIR_NS_PER_MS;
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, "sub", "Odd \"box/*");
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO \"Odd \"\"box\" VALUES (9, '7', 1.50, '\\x00ff'), "
                          "(10, '7', NULL, NULL)");
    postgres_rig_sql(rig, "INSERT INTO \"Odd \"\"box\" (n, total, bytes) VALUES (9, 1.50, "
                          "'\\x00ff'), (10, NULL, NULL)");
    // Those that say another transaction than theirs are not told; the others in numeric order.
    const struct weir_event *event = test_sink_next(&sub.sink);
    assert_str_equal(event->fields.ty, "dev.weir.row.inserted");
    assert_str_equal(event->key, "Odd \"box/9");
    char data[512];
    snprintf(data, sizeof data, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
    assert_non_null(strstr(data, "{\"table\":\"Odd \\\"box\",\"before\":null,\"after\":{\"n\":9,"));
    assert_non_null(strstr(data, "\"total\":{\"$numberDecimal\":\"1.50\"}"));
    assert_non_null(strstr(data, "\"base64\":\"AP8=\""));
    assert_str_equal(test_sink_next(&sub.sink)->key, "Odd \"box/10");
    postgres_sub_finish(&sub);
}

static void a_notification_wakes(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, TABLE);
    postgres_rig_set(&rig->options.outbox, "box");
    postgres_rig_set(&rig->options.wake, "Ring \"it");
    rig->options.poll_ns = 3600 * WEIR_NS_PER_S;
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    for (int i = 0; i < 20; i++) {
        add(rig, "k", "v");
        postgres_rig_sql(rig, "SELECT pg_notify('Ring \"it', '')");
        test_sink_await_count(&sub.sink, (size_t)i + 1);
    }
    postgres_sub_finish(&sub);
}

// ---- rights and mistakes ----

static void it_needs_no_right_but_to_read(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    postgres_rig_sql(rig, TABLE "; DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT "
                                "USAGE ON SCHEMA public TO reader; GRANT SELECT ON box TO reader");
    postgres_rig_set(&rig->options.user, "reader");
    open_outbox(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    add(rig, "a", "1");
    postgres_sub_expect(&sub, "a", "1");
    postgres_sub_finish(&sub);
    postgres_rig_close(rig);
    postgres_rig_sql(rig, "DROP OWNED BY reader; DROP ROLE reader");
}

static void a_table_that_is_missing_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct weir_error err;
    open_outbox(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    assert_int_equal(postgres_sub_try_begin(&sub, &err), WEIR_NOT_FOUND);
    assert_message_has(&err, "no table box");
    // And once it is there, and goes, it is waited for.
    postgres_rig_sql(rig, TABLE);
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "DROP TABLE box");
    struct weir_health health;
    do {
        rig->resource->provider->health(rig->resource, &health);
    } while (health.is_connected);
    assert_non_null(strstr(health.reason, "no table box"));
    postgres_rig_sql(rig, TABLE);
    add(rig, "a", "1");
    postgres_sub_expect_gap(&sub, "made anew");
    postgres_sub_expect(&sub, "a", "1");
    postgres_sub_finish(&sub);
}

struct found {
    int mistakes;
    char what[4096], remedy[4096]; // of the last mistake
};

static void note(void *context, const struct weir_finding *finding) {
    struct found *found = context;
    if (finding->is_mistake) {
        found->mistakes++;
        snprintf(found->what, sizeof found->what, "%s", finding->what);
        snprintf(found->remedy, sizeof found->remedy, "%s", finding->remedy ? finding->remedy : "");
    }
}

static void examine(struct postgres_rig *rig, struct found *found) {
    struct weir_error err;
    const struct weir_findings findings = {.tell = note, .context = found};
    const struct weir_pattern pattern = weir_pattern_of(WEIR_STR("*"));
    *found = (struct found){.mistakes = 0};
    assert_ok(weir_postgres_provider.examine(rig->resource, &pattern, 1, &findings, &err));
}

// What is wrong is told with the SQL that mends it: it is run until nothing is wrong any more.
static void what_is_wrong_is_mended_by_what_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    struct found found;
    const char *tables[] = {
        "SELECT 1",
        "CREATE UNLOGGED TABLE box (id bigint, key text)",
        "CREATE TABLE box (id bigint NOT NULL, xid xid8, payload text)",
        "CREATE TABLE box (id bigint NOT NULL, xid xid8 DEFAULT pg_current_xact_id())",
    };
    open_outbox(rig);
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        postgres_rig_sql(rig, "SET client_min_messages = error; DROP TABLE IF EXISTS box");
        postgres_rig_sql(rig, tables[i]);
        examine(rig, &found);
        assert_true(found.mistakes > 0);
        for (int tries = 0; found.mistakes > 0; tries++) {
            assert_in_range(tries, 0, 10);
            assert_true(found.remedy[0]);
            postgres_rig_sql(rig, found.remedy);
            examine(rig, &found);
        }
        postgres_sub_init(&sub, rig, "sub", "*");
        postgres_sub_begin(&sub);
        postgres_rig_sql(rig, i == 0 ? "INSERT INTO box (key, payload) VALUES ('a', '{}')"
                                     : "INSERT INTO box (id, key, payload) VALUES (1, 'a', '{}')");
        postgres_sub_expect(&sub, "a", "{}");
        postgres_sub_finish(&sub);
    }
    postgres_rig_sql(rig, "ALTER TABLE box ALTER COLUMN xid DROP DEFAULT, ALTER COLUMN xid TYPE "
                          "text");
    examine(rig, &found);
    assert_int_equal(found.mistakes, 1);
    assert_non_null(strstr(found.what, "text, and not xid8"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(cursors_come_back),
        cmocka_unit_test(what_is_lost_is_known),
        CASE(rows_come_in_the_order_of_their_transactions),
        CASE(what_is_taken_back_is_not_told),
        CASE(a_watch_begins_with_what_is_committed_after_it),
        CASE(a_transaction_goes_over_several_pages),
        CASE(a_watch_goes_on_where_it_was),
        CASE(a_stop_within_a_transaction_loses_and_doubles_nothing),
        CASE(a_position_moves_on_over_what_concerns_nobody),
        CASE(a_connection_that_is_cut_loses_nothing),
        CASE(what_is_there_is_told_where_that_is_wanted),
        CASE(a_table_that_lost_its_rows_is_a_gap),
        CASE(rows_that_are_deleted_or_moved_are_no_gap),
        CASE(a_position_that_is_not_understood_is_a_gap),
        CASE(a_slow_sink_holds_up_nobody),
        CASE(a_row_says_what_it_is),
        CASE(without_a_payload_the_row_is_the_event),
        CASE(a_notification_wakes),
        CASE(it_needs_no_right_but_to_read),
        CASE(a_table_that_is_missing_is_told),
        CASE(what_is_wrong_is_mended_by_what_is_told),
    };
    return cmocka_run_group_tests_name("PostgreSQL, an outbox", cases, NULL, NULL);
}
