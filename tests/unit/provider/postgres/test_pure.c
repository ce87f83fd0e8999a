// SPDX-License-Identifier: Apache-2.0
//
// What needs no server: addresses, names, positions, snapshots, chains, values, and the messages of
// pgoutput, whole, cut and changed.
#include "unit/test.h"

#include "provider/postgres/address.h"
#include "provider/postgres/chain.h"
#include "provider/postgres/pgoutput.h"
#include "provider/postgres/position.h"
#include "provider/postgres/postgres.h"
#include "provider/postgres/resource.h"
#include "provider/postgres/table.h"
#include "provider/postgres/value.h"
#include "provider/postgres/visible.h"
#include "support/sink.h"

// ---- addresses ----

static void addresses_say_where(void **state) {
    (void)state;
    const struct {
        const char *text, *host, *port, *user, *database;
        bool is_local, is_name;
    } rows[] = {
        {"db.example.com", "db.example.com", "5432", "", "", false, true},
        {"db.example.com:6432/shop", "db.example.com", "6432", "", "shop", false, true},
        {"10.0.0.1/shop", "10.0.0.1", "5432", "", "shop", false, false},
        {"[::1]:5433/a b", "::1", "5433", "", "a b", true, false},
        {"[fe80::1]/x", "fe80::1", "5432", "", "x", false, false},
        {"postgres://me@localhost/shop", "localhost", "5432", "me", "shop", true, true},
        {"postgresql://127.0.0.1:1", "127.0.0.1", "1", "", "", true, false},
        {"127.example.com/x", "127.example.com", "5432", "", "x", false, true},
        {"/var/run/postgresql", "/var/run/postgresql", "5432", "", "", true, false},
        {"/tmp/a:b:5433", "/tmp/a:b", "5433", "", "", true, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_pg_address address;
        struct weir_error err;
        assert_ok(weir_pg_address_parse(rows[i].text, &address, &err));
        assert_string_equal(address.host, rows[i].host);
        assert_string_equal(address.port, rows[i].port);
        assert_string_equal(address.user, rows[i].user);
        assert_string_equal(address.database, rows[i].database);
        assert_int_equal(weir_pg_address_is_local(&address), rows[i].is_local);
        assert_int_equal(weir_pg_address_is_name(&address), rows[i].is_name);
    }
}

static void addresses_that_are_none_are_refused(void **state) {
    (void)state;
    const struct {
        const char *text, *message;
    } rows[] = {
        {"postgres://me:secret@host/db", "password"},
        {"me:secret@host/db", "password"},
        {"host:port/db", "no port"},
        {"host:0", "no port"},
        {"host:65536", "no port"},
        {"host:", "brackets"},
        {"::1", "brackets"},
        {"[::1", "']'"},
        {"[::1]5432", "']'"},
        {":5432/db", "no host"},
        {"/", NULL},
        {"a,b/db", "no host"},
        {"@host/db", "user"},
        {"host/db?sslmode=disable", "'?'"},
        {"mysql://host/db", "no PostgreSQL"},
        {"postgres://", "no host"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_pg_address address;
        struct weir_error err;
        weir_status status = weir_pg_address_parse(rows[i].text, &address, &err);
        if (!rows[i].message) {
            assert_int_equal(status, WEIR_OK);
            continue;
        }
        assert_int_equal(status, WEIR_INVALID);
        assert_message_has(&err, rows[i].message);
        assert_null(strstr(err.message, "secret"));
    }
    char longest[600] = "host/";
    memset(longest + 5, 'x', 100);
    struct weir_pg_address address;
    assert_int_equal(weir_pg_address_parse(longest, &address, NULL), WEIR_INVALID);
    memset(longest, 'x', sizeof longest - 1);
    assert_int_equal(weir_pg_address_parse(longest, &address, NULL), WEIR_INVALID);
    longest[0] = '/';
    assert_int_equal(weir_pg_address_parse(longest, &address, NULL), WEIR_INVALID);
}

// ---- options ----

// With one or two options; NULL: there is no second.
static weir_status open_with_two(const char *option, const char *text, const char *second,
                                 const char *second_text, struct weir_error *err) {
    struct weir_pg_options options = {0};
    const struct weir_option_table *table = &weir_postgres_provider.options;
    struct weir_resource *resource = NULL;
    assert_int_equal(weir_options_init(table, &options, err), WEIR_OK);
    const char *names[] = {"address", option, second};
    const char *texts[] = {"127.0.0.1:1/db", text, second_text};
    weir_status status = WEIR_OK;
    for (int i = 0; status == WEIR_OK && i < (second ? 3 : 2); i++) {
        status = weir_option_set(weir_option_find(table, weir_str_of(names[i])), &options,
                                 weir_str_of(texts[i]), NULL, err);
    }
    const struct weir_resource_args args = {.name = "A-Resource.1", .options = &options};
    status = status == WEIR_OK ? weir_postgres_provider.open(&args, &resource, err) : status;
    weir_postgres_provider.close(resource);
    weir_options_finish(table, &options);
    return status;
}

static weir_status open_with(const char *option, const char *text, struct weir_error *err) {
    return open_with_two(option, text, NULL, NULL, err);
}

static void a_resource_is_of_one_kind(void **state) {
    (void)state;
    const struct {
        const char *option, *text, *second, *second_text, *wrong;
    } rows[] = {
        {"outbox", "box", "key_column", "key", NULL},
        {"outbox", "box", "kv", "kv", "one of kv, outbox and channels"},
        {"channels", "a", "kv", "kv", "one of kv, outbox and channels"},
        {"kv", "kv", "payload_column", "p", "are of an outbox"},
        {"channels", "a", "wake", "a", "are of an outbox"},
        {"outbox", "box", "attributes_column", "a", "beside a payload_column"},
        {"outbox", "a_schema_of_a_name_that_is_long_and_longer.and_a_table_of_such_a_name", NULL,
         NULL, "the option `wake`"},
        {"outbox", "a_schema_of_a_name_that_is_long_and_longer.and_a_table_of_such_a_name", "wake",
         "w", NULL},
        {"outbox", ".box", NULL, NULL, "no name of a table"},
        {"channels", "a, b c,\xc3\xa4", NULL, NULL, NULL},
        {"channels", "a,,b", NULL, NULL, "with commas between"},
        {"channels", ",", NULL, NULL, "with commas between"},
        {"channels", "c234567890c234567890c234567890c234567890c234567890c234567890c234", NULL, NULL,
         "with commas between"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err = {.status = WEIR_OK};
        weir_status status =
            open_with_two(rows[i].option, rows[i].text, rows[i].second, rows[i].second_text, &err);
        assert_int_equal(status, rows[i].wrong ? WEIR_INVALID : WEIR_OK);
        if (rows[i].wrong) {
            assert_message_has(&err, rows[i].wrong);
        }
    }
}

static void options_are_checked_without_a_server(void **state) {
    (void)state;
    const struct {
        const char *option, *text;
        weir_status status;
    } rows[] = {
        {"timeout", "1s", WEIR_OK},
        {"timeout", "1ms", WEIR_INVALID},
        {"address", "host", WEIR_INVALID}, // which database?
        {"address", "host:x/db", WEIR_INVALID},
        {"slot", "ok_1", WEIR_OK},
        {"slot", "No", WEIR_INVALID},
        {"slot", "a'b", WEIR_INVALID},
        {"publication", "Theirs", WEIR_OK},
        {"publication", "a'b", WEIR_INVALID},
        {"kv", "shop.kv", WEIR_OK},
        {"kv", ".kv", WEIR_INVALID},
        {"password", "secret", WEIR_INVALID},
        {"tls", "no", WEIR_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err;
        assert_int_equal(open_with(rows[i].option, rows[i].text, &err), rows[i].status);
    }
}

// ---- names ----

static void tables_have_one_name(void **state) {
    (void)state;
    const struct {
        const char *written, *schema, *name, *text, *quoted;
    } rows[] = {
        {"orders", "public", "orders", "orders", "\"public\".\"orders\""},
        {"public.orders", "public", "orders", "orders", "\"public\".\"orders\""},
        {"shop.orders", "shop", "orders", "shop.orders", "\"shop\".\"orders\""},
        {"public.a.b", "public", "a.b", "public.a.b", "\"public\".\"a.b\""},
        {"a\"b", "public", "a\"b", "a\"b", "\"public\".\"a\"\"b\""},
        {"Or ders;", "public", "Or ders;", "Or ders;", "\"public\".\"Or ders;\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_pg_table_name name;
        struct weir_error err;
        assert_ok(weir_pg_table_parse(weir_str_of(rows[i].written), &name, &err));
        assert_string_equal(name.schema, rows[i].schema);
        assert_string_equal(name.name, rows[i].name);
        assert_string_equal(name.text, rows[i].text);
        assert_string_equal(name.quoted, rows[i].quoted);
    }
    char longest[WEIR_PG_NAME_BYTES];
    struct weir_pg_table_name name;
    memset(longest, '"', sizeof longest);
    assert_int_equal(
        weir_pg_table_parse((struct weir_str){longest, sizeof longest - 1}, &name, NULL), WEIR_OK);
    assert_int_equal(strlen(name.quoted), sizeof "\"public\"." - 1 + 2 + 2 * 63);
    const struct weir_str none[] = {
        {longest, sizeof longest}, WEIR_STR(""), WEIR_STR("a."), WEIR_STR(".a"), {"a\0b", 3},
        WEIR_STR("\xff")};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_int_equal(weir_pg_table_parse(none[i], &name, NULL), WEIR_INVALID);
    }
}

// ---- positions ----

static void positions_ascend_as_their_places_do(void **state) {
    (void)state;
    const struct weir_pg_position places[] = {
        {.commit_lsn = 1},
        {.commit_lsn = 1, .change_lsn = 1},
        {.commit_lsn = 1, .change_lsn = 1, .part = 1},
        {.commit_lsn = 1, .change_lsn = 256},
        {.commit_lsn = 255, .change_lsn = 2},
        {.commit_lsn = UINT64_MAX, .change_lsn = UINT64_MAX, .part = UINT32_MAX},
    };
    char before[WEIR_PG_POSITION_BYTES], bytes[WEIR_PG_POSITION_BYTES];
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct weir_pg_position place = places[i], back;
        place.system = UINT64_MAX - i; // what is behind does not matter
        place.timeline = 7;
        weir_pg_position_encode(&place, bytes);
        assert_true(weir_pg_position_decode((struct weir_str){bytes, sizeof bytes}, &back));
        assert_int_equal(weir_pg_position_compare(&place, &back), 0);
        assert_true(back.system == place.system && back.timeline == 7 && !back.is_snapshot);
        if (i > 0) {
            assert_true(memcmp(before, bytes, sizeof bytes) < 0);
            assert_true(weir_pg_position_compare(&places[i - 1], &places[i]) < 0);
            assert_true(weir_pg_position_compare(&places[i], &places[i - 1]) > 0);
        }
        memcpy(before, bytes, sizeof bytes);
    }
    struct weir_pg_position back;
    assert_false(weir_pg_position_decode((struct weir_str){bytes, sizeof bytes - 1}, &back));
    assert_false(weir_pg_position_decode((struct weir_str){0}, &back));
    bytes[0]++;
    assert_false(weir_pg_position_decode((struct weir_str){bytes, sizeof bytes}, &back));
}

static void lsns_are_written_as_postgresql_does(void **state) {
    (void)state;
    char text[WEIR_PG_LSN_BYTES];
    uint64_t lsn;
    assert_string_equal(weir_pg_lsn_format(UINT64_C(0x16B374D848), text), "16/B374D848");
    assert_true(weir_pg_lsn_parse("16/B374D848", &lsn) && lsn == UINT64_C(0x16B374D848));
    assert_true(weir_pg_lsn_parse("0/0", &lsn) && lsn == 0);
    assert_true(weir_pg_lsn_parse("ffffffff/ffffffff", &lsn) && lsn == UINT64_MAX);
    const char *none[] = {"", "/", "1", "1/", "/1", "1/2/3", "x/1", "1/x", "123456789/1", " 1/1"};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_false(weir_pg_lsn_parse(none[i], &lsn));
    }
}

static void a_place_is_on_a_timeline_that_left_its_own_behind_it(void **state) {
    (void)state;
    const char *history =
        "1\t0/3000000\tno recovery target specified\n\n# a comment\n2 0/5000000 x\n";
    const struct {
        uint32_t timeline;
        uint64_t lsn;
        bool has;
    } rows[] = {{1, 0x2FFFFFF, true},  {1, 0x3000000, false}, {2, 0x4000000, true},
                {2, 0x5000000, false}, {3, 1, false},         {0, 1, false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct weir_pg_position place = {.commit_lsn = rows[i].lsn,
                                               .timeline = rows[i].timeline};
        assert_int_equal(weir_pg_history_has(history, &place), rows[i].has);
        assert_false(weir_pg_history_has("", &place));
        assert_false(weir_pg_history_has("1", &place));
        assert_false(weir_pg_history_has("1 0/3000000000000000000000000000000", &place));
    }
}

// ---- what is visible ----

static struct weir_pg_visible *visible(const char *text) {
    struct weir_pg_visible *parsed;
    struct weir_error err;
    assert_ok(weir_pg_visible_parse(text, &parsed, &err));
    return parsed;
}

static void transactions_are_visible_or_not(void **state) {
    (void)state;
    struct weir_pg_visible *some = visible("10:20:10,14,15");
    const bool wanted[] = {[9] = true,   [10] = false, [11] = true, [13] = true,  [14] = false,
                           [15] = false, [16] = true,  [19] = true, [20] = false, [21] = false};
    for (uint32_t xid = 9; xid < COUNT_OF(wanted); xid++) {
        if (xid != 12 && xid != 17 && xid != 18) {
            assert_int_equal(weir_pg_visible_has(some, xid), wanted[xid]);
        }
    }
    free(some);
    // Numbers go round: the log has their lower half.
    struct weir_pg_visible *round = visible("4294967290:4294967300:4294967295,4294967297");
    assert_true(weir_pg_visible_has(round, 4294967289U));
    assert_true(weir_pg_visible_has(round, 4294967290U));
    assert_false(weir_pg_visible_has(round, 4294967295U));
    assert_true(weir_pg_visible_has(round, 0)); // 4294967296
    assert_false(weir_pg_visible_has(round, 1));
    assert_true(weir_pg_visible_has(round, 3));
    assert_false(weir_pg_visible_has(round, 4));
    free(round);
    free(visible("5:5:"));
    const char *none[] = {"",
                          "1",
                          "1:",
                          "1:2",
                          ":2:",
                          "1::",
                          "a:2:",
                          "1:2:x",
                          "1:2:3,,4",
                          "1:2:3;4",
                          "99999999999999999999:1:"};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        struct weir_pg_visible *parsed;
        assert_int_equal(weir_pg_visible_parse(none[i], &parsed, NULL), WEIR_OTHER);
        assert_null(parsed);
    }
}

// ---- values ----

static void values_have_the_kind_of_their_type(void **state) {
    (void)state;
    char buffer[64];
    const struct {
        uint32_t type;
        const char *text;
        enum weir_sql_kind kind;
    } rows[] = {
        {WEIR_PG_BOOL, "t", WEIR_SQL_BOOLEAN},
        {WEIR_PG_BOOL, "true", WEIR_SQL_TEXT},
        {WEIR_PG_INT8, "-9223372036854775808", WEIR_SQL_INTEGER},
        {WEIR_PG_INT8, "9223372036854775808", WEIR_SQL_TEXT},
        {WEIR_PG_INT4, "", WEIR_SQL_TEXT},
        {WEIR_PG_INT4, "1x", WEIR_SQL_TEXT},
        {WEIR_PG_FLOAT8, "1e-300", WEIR_SQL_REAL},
        {WEIR_PG_FLOAT4, "-Infinity", WEIR_SQL_REAL},
        {WEIR_PG_FLOAT8, "one", WEIR_SQL_TEXT},
        {WEIR_PG_NUMERIC, "1.00", WEIR_SQL_DECIMAL},
        {WEIR_PG_JSONB, "null", WEIR_SQL_JSON},
        {WEIR_PG_BYTEA, "\\x", WEIR_SQL_BINARY},
        {WEIR_PG_BYTEA, "\\x00fF", WEIR_SQL_BINARY},
        {WEIR_PG_BYTEA, "\\x0", WEIR_SQL_TEXT},
        {WEIR_PG_BYTEA, "\\x0g", WEIR_SQL_TEXT},
        {WEIR_PG_BYTEA, "abc", WEIR_SQL_TEXT},
        {WEIR_PG_TEXT, "abc", WEIR_SQL_TEXT},
        {99999, "whatever", WEIR_SQL_TEXT},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_pg_scratch scratch = {buffer, buffer + sizeof buffer};
        struct weir_sql_value value =
            weir_pg_value(rows[i].type, weir_str_of(rows[i].text), &scratch);
        assert_int_equal(value.kind, rows[i].kind);
        if (value.kind == WEIR_SQL_TEXT) {
            assert_true(weir_str_equal(value.bytes, weir_str_of(rows[i].text)));
        }
    }
    struct weir_pg_scratch scratch = {buffer, buffer + sizeof buffer};
    struct weir_sql_value value = weir_pg_value(WEIR_PG_BYTEA, WEIR_STR("\\x00fF10"), &scratch);
    assert_true(weir_str_equal(value.bytes, (struct weir_str){"\0\xff\x10", 3}));
    assert_ptr_equal(scratch.at, buffer + 3);
    struct weir_pg_scratch none = {buffer, buffer};
    assert_int_equal(weir_pg_value(WEIR_PG_BYTEA, WEIR_STR("\\x00"), &none).kind, WEIR_SQL_TEXT);
    // What the C library would take for a number, and PostgreSQL does not write as one.
    const struct weir_str odd[] = {WEIR_STR(" 1"), WEIR_STR("\r1"), WEIR_STR("1\0002"),
                                   WEIR_STR("0x10"), WEIR_STR("-")};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        assert_int_equal(weir_pg_value(WEIR_PG_INT8, odd[i], &none).kind, WEIR_SQL_TEXT);
        value = weir_pg_value(WEIR_PG_FLOAT8, odd[i], &none);
        assert_int_equal(value.kind, WEIR_SQL_TEXT);
        assert_true(weir_str_equal(value.bytes, odd[i]));
    }
}

// ---- chains ----

static void chains_come_back(void **state) {
    (void)state;
    char buffer[WEIR_PG_CHAIN_BYTES_MAX], longest[WEIR_PG_CHAIN_BYTES_MAX];
    struct weir_attribute found[WEIR_PG_CHAIN_EXTENSIONS];
    struct weir_attribute extensions[] = {{WEIR_STR("causationid"), WEIR_STR("a/1@\xc3\xa4")},
                                          {WEIR_STR("correlationid"), WEIR_STR("first")},
                                          {WEIR_STR("hops"), WEIR_STR("12")}};
    struct weir_event_fields fields = {.extensions = {extensions, 3}};
    size_t size = weir_pg_chain_encode(&fields, buffer);
    assert_int_equal(weir_pg_chain_decode((struct weir_str){buffer, size}, found), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(weir_str_equal(found[i].name, extensions[i].name));
        assert_true(weir_str_equal(found[i].value, extensions[i].value));
    }
    for (size_t cut = 0; cut < size; cut++) { // an id that is cut is a shorter one
        weir_pg_chain_decode((struct weir_str){buffer, cut}, found);
    }
    // What the message cannot hold is left out, and the hops stay.
    memset(longest, 'x', sizeof longest);
    extensions[0].value = (struct weir_str){longest, sizeof longest};
    extensions[1].value = (struct weir_str){"a\0b", 3};
    size = weir_pg_chain_encode(&fields, buffer);
    assert_int_equal(weir_pg_chain_decode((struct weir_str){buffer, size}, found), 1);
    assert_true(weir_str_equal(found[0].value, WEIR_STR("12")));
    assert_int_equal(weir_pg_chain_encode(&(struct weir_event_fields){0}, buffer), 0);
    const struct weir_str none[] = {WEIR_STR(""),
                                    WEIR_STR("1 "),
                                    WEIR_STR("2 1\0a\0b"),
                                    WEIR_STR("1 x\0a\0b"),
                                    WEIR_STR("1 1\0a"),
                                    WEIR_STR("1 1\0\xff\0b"),
                                    WEIR_STR("1 1\0a\0b\0c"),
                                    WEIR_STR("1 123456789012345678901\0a\0b")};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_int_equal(weir_pg_chain_decode(none[i], found), 0);
    }
}

// ---- pgoutput ----

// Every message that is cut is refused, and none is read beyond its end: each lies in an allocation
// of its own size.
static void messages_that_are_cut_are_refused(void **state) {
    (void)state;
    const struct weir_str messages[] = {
        WEIR_STR("B\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\3"),
        WEIR_STR("C\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3"),
        WEIR_STR("R\0\0\0\7public\0t\0d\0\2\1id\0\0\0\0\x17\xff\xff\xff\xff\0v\0\0\0\0\x19\xff\xff"
                 "\xff\xff"),
        WEIR_STR("I\0\0\0\7N\0\2t\0\0\0\1"
                 "1n"),
        WEIR_STR("U\0\0\0\7K\0\1t\0\0\0\1"
                 "1N\0\2ut\0\0\0\2xy"),
        WEIR_STR("U\0\0\0\7O\0\1t\0\0\0\1"
                 "1N\0\1t\0\0\0\0"),
        WEIR_STR("D\0\0\0\7O\0\1t\0\0\0\1"
                 "1"),
        WEIR_STR("T\0\0\0\2\0\0\0\0\7\0\0\0\x8"),
        WEIR_STR("M\1\0\0\0\0\0\0\0\1p\0\0\0\0\1x"),
    };
    struct weir_pg_message *message = malloc(sizeof *message);
    assert_non_null(message);
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        for (size_t size = 0; size <= messages[i].size; size++) {
            char *bytes = malloc(size + 1);
            assert_non_null(bytes);
            char *at = bytes + 1; // so that an empty one has an address
            memcpy(at, messages[i].data, size);
            struct weir_error err;
            weir_status status = weir_pg_message_read((struct weir_str){at, size}, message, &err);
            assert_int_equal(status, size == messages[i].size ? WEIR_OK : WEIR_OTHER);
            free(bytes);
        }
        // And what is changed, byte by byte, is read without going out of bounds.
        for (size_t at = 0; at < messages[i].size; at++) {
            char *bytes = malloc(messages[i].size);
            assert_non_null(bytes);
            memcpy(bytes, messages[i].data, messages[i].size);
            for (int bit = 0; bit < 8; bit++) {
                bytes[at] ^= (char)(1 << bit);
                weir_pg_message_read((struct weir_str){bytes, messages[i].size}, message, NULL);
                bytes[at] ^= (char)(1 << bit);
            }
            free(bytes);
        }
    }
    const struct weir_str odd[] = {WEIR_STR("I\0\0\0\7N\0\1b\0\0\0\1x"), // binary
                                   WEIR_STR("I\0\0\0\7N\xff\xff"), WEIR_STR("T\xff\xff\xff\xff\0"),
                                   WEIR_STR("Z"), WEIR_STR("S\0\0\0\1\1")};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        assert_int_equal(weir_pg_message_read(odd[i], message, NULL), WEIR_OTHER);
    }
    assert_int_equal(weir_pg_message_read(WEIR_STR("Yanything"), message, NULL), WEIR_OK);
    assert_int_equal(message->kind, WEIR_PG_OTHER);
    free(message);
}

static void messages_say_what_changed(void **state) {
    (void)state;
    struct weir_pg_message *message = malloc(sizeof *message);
    struct weir_error err;
    assert_non_null(message);
    assert_ok(weir_pg_message_read(WEIR_STR("U\0\0\0\7K\0\2t\0\0\0\1"
                                            "1nN\0\2ut\0\0\0\2xy"),
                                   message, &err));
    assert_int_equal(message->kind, WEIR_PG_UPDATE);
    assert_int_equal(message->relation, 7);
    assert_int_equal(message->old_kind, WEIR_PG_OLD_KEY);
    assert_int_equal(message->old_tuple.count, 2);
    assert_int_equal(message->old_tuple.cells[1].kind, WEIR_PG_CELL_NULL);
    assert_int_equal(message->new_tuple.cells[0].kind, WEIR_PG_CELL_UNCHANGED);
    assert_str_equal(message->new_tuple.cells[1].text, "xy");
    assert_ok(weir_pg_message_read(WEIR_STR("T\0\0\0\2\0\0\0\0\7\0\0\1\0"), message, &err));
    assert_int_equal(message->truncated_count, 2);
    assert_int_equal(weir_pg_truncated(message, 0), 7);
    assert_int_equal(weir_pg_truncated(message, 1), 256);
    struct weir_pg_frame frame;
    assert_ok(weir_pg_frame_read(WEIR_STR("k\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\1"), &frame, &err));
    assert_int_equal(frame.kind, WEIR_PG_FRAME_KEEPALIVE);
    assert_int_equal(frame.end_lsn, 256);
    assert_true(frame.wants_reply);
    const struct weir_str odd[] = {WEIR_STR(""), WEIR_STR("w"), WEIR_STR("k\0\0\0\0\0\0\1\0"),
                                   WEIR_STR("x")};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        assert_int_equal(weir_pg_frame_read(odd[i], &frame, NULL), WEIR_OTHER);
    }
    char status[WEIR_PG_STATUS_BYTES];
    weir_pg_status_write(0x0102030405060708, 0x1112131415161718, 5, true, status);
    assert_memory_equal(
        status,
        "r\x11\x12\x13\x14\x15\x16\x17\x18\1\2\3\4\5\6\7\x8\1\2\3\4\5\6\7\x8\0\0\0\0"
        "\0\0\0\5\1",
        sizeof status);
    free(message);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(addresses_say_where),
        cmocka_unit_test(addresses_that_are_none_are_refused),
        cmocka_unit_test(options_are_checked_without_a_server),
        cmocka_unit_test(a_resource_is_of_one_kind),
        cmocka_unit_test(tables_have_one_name),
        cmocka_unit_test(positions_ascend_as_their_places_do),
        cmocka_unit_test(lsns_are_written_as_postgresql_does),
        cmocka_unit_test(a_place_is_on_a_timeline_that_left_its_own_behind_it),
        cmocka_unit_test(transactions_are_visible_or_not),
        cmocka_unit_test(values_have_the_kind_of_their_type),
        cmocka_unit_test(chains_come_back),
        cmocka_unit_test(messages_that_are_cut_are_refused),
        cmocka_unit_test(messages_say_what_changed),
    };
    return cmocka_run_group_tests_name("PostgreSQL, without a server", cases, NULL, NULL);
}
