// SPDX-License-Identifier: Apache-2.0
//
// The Redis provider's parts that need no server: replies read from bytes, whatever these are;
// addresses, names, patterns, ids, fingerprints, chains; entries of streams as events.
#include "unit/test.h"

#include "provider/redis/connection.h"
#include "provider/redis/entry.h"
#include "provider/redis/names.h"
#include "provider/redis/reply.h"
#include "provider/redis/stream_event.h"
#include "provider/redis/value.h"
#include "support/sink.h"

#include <string.h>

// ---- replies ----

// Feeds the bytes in pieces of this size, and reads what they are.
static weir_status read_reply(struct weir_str bytes, size_t piece, uint64_t bytes_max,
                              struct weir_redis_reply **ret_reply, struct weir_error *err) {
    struct weir_redis_reader *reader = weir_redis_reader_create();
    assert_non_null(reader);
    weir_redis_reader_bound(reader, bytes_max);
    weir_status status = WEIR_AGAIN;
    for (size_t at = 0; status == WEIR_AGAIN && at < bytes.size; at += piece) {
        size_t size = bytes.size - at < piece ? bytes.size - at : piece;
        status = weir_redis_reader_feed(reader, (struct weir_str){bytes.data + at, size}, err);
        if (status == WEIR_OK) {
            status = weir_redis_reader_next(reader, ret_reply, err);
        }
    }
    weir_redis_reader_destroy(reader);
    return status;
}

static void replies_come_in_pieces_of_any_size(void **state) {
    (void)state;
    const struct weir_str bytes = WEIR_STR("*6\r\n:-42\r\n$3\r\na\r\n\r\n+OK\r\n$-1\r\n-ERR no\r\n"
                                           "*2\r\n*0\r\n$0\r\n\r\n");
    for (size_t piece = 1; piece <= bytes.size; piece++) {
        struct weir_redis_reply *reply;
        struct weir_error err;
        assert_ok(read_reply(bytes, piece, 1000, &reply, &err));
        assert_int_equal(reply->kind, WEIR_REDIS_ARRAY);
        assert_int_equal(reply->count, 6);
        assert_int_equal(weir_redis_reply_at(reply, 0)->integer, -42);
        assert_str_equal(weir_redis_reply_at(reply, 1)->bytes, "a\r\n");
        assert_true(weir_redis_reply_says(weir_redis_reply_at(reply, 2), "OK"));
        assert_int_equal(weir_redis_reply_at(reply, 3)->kind, WEIR_REDIS_NIL);
        assert_true(weir_redis_reply_fails_with(weir_redis_reply_at(reply, 4), "ERR"));
        assert_false(weir_redis_reply_fails_with(weir_redis_reply_at(reply, 4), "ER"));
        assert_int_equal(weir_redis_reply_at(weir_redis_reply_at(reply, 5), 0)->count, 0);
        assert_int_equal(weir_redis_reply_at(weir_redis_reply_at(reply, 5), 1)->bytes.size, 0);
        assert_null(weir_redis_reply_at(reply, 6));
        assert_null(weir_redis_reply_at(weir_redis_reply_at(reply, 0), 0));
        weir_redis_reply_free(reply);
    }
}

static void what_is_no_reply_is_an_error(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        weir_status status;
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\n", WEIR_INVALID},
        {"?\r\n", WEIR_INVALID},
        {"$abc\r\n", WEIR_INVALID},
        {"$-2\r\n", WEIR_INVALID},
        {":12x\r\n", WEIR_INVALID},
        {"*99999999999999999999\r\n", WEIR_INVALID},
        {"*2147483648\r\n", WEIR_INVALID},
        {"*2147483647\r\n", WEIR_LIMIT},
        {"*2\r\n*4194303\r\n", WEIR_LIMIT}, // together they are too many
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", WEIR_INVALID}, // too deep
        {"$9223372036854775807\r\nabc", WEIR_AGAIN},                              // it may yet come
        {"$99\r\nabc", WEIR_AGAIN},
        {"+OK", WEIR_AGAIN},
        {"*3\r\n:1\r\n", WEIR_AGAIN},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t piece = 1; piece < 100; piece += 49) {
            struct weir_redis_reply *reply = NULL;
            struct weir_error err;
            weir_status status =
                read_reply(weir_str_of(rows[i].bytes), piece, 1 << 20, &reply, &err);
            if (status != rows[i].status) {
                fail_msg("%s: %s", rows[i].bytes, weir_status_name(status));
            }
            assert_null(reply);
        }
    }
}

static void a_reply_has_a_bound(void **state) {
    (void)state;
    struct weir_redis_reply *reply = NULL;
    struct weir_error err;
    size_t size = 1 << 20;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    memcpy(bytes, "$900000\r\n", 9);
    struct weir_str text = {bytes, size};
    assert_int_equal(read_reply(text, 4096, 100000, &reply, &err), WEIR_LIMIT);
    assert_message_has(&err, "100000");
    assert_ok(read_reply(text, 4096, 900000, &reply, &err));
    assert_int_equal(reply->bytes.size, 900000);
    weir_redis_reply_free(reply);
    // A line that does not end is noticed long before.
    memset(bytes, '+', size);
    assert_int_equal(read_reply(text, 4096, 1 << 20, &reply, &err), WEIR_INVALID);
    assert_message_has(&err, "line");
    free(bytes);
}

// Bytes that look like replies, at random: none of them is a crash.
static void noise_is_no_crash(void **state) {
    (void)state;
    static const char letters[] = "*$+-:\r\n0123456789ab\r\n\r\n";
    unsigned short seed[3] = {1, 2, 3};
    for (int round = 0; round < 20000; round++) {
        char bytes[64];
        size_t size = (size_t)(nrand48(seed) % 63) + 1;
        for (size_t i = 0; i < size; i++) {
            bytes[i] = letters[(size_t)nrand48(seed) % (sizeof letters - 1)];
        }
        struct weir_redis_reply *reply = NULL;
        read_reply((struct weir_str){bytes, size}, (size_t)(nrand48(seed) % 8) + 1, 1 << 16, &reply,
                   NULL);
        weir_redis_reply_free(reply);
    }
}

static void an_error_says_what_to_do(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        weir_status status;
        const char *part;
    } rows[] = {
        {"-NOAUTH Authentication required.\r\n", WEIR_DENIED, "password"},
        {"-WRONGPASS invalid\r\n", WEIR_DENIED, "password"},
        {"-NOPERM no\r\n", WEIR_DENIED, "ACL SETUSER"},
        {"-MOVED 1 127.0.0.1:1\r\n", WEIR_UNSUPPORTED, "Cluster"},
        {"-READONLY You can't write\r\n", WEIR_UNAVAILABLE, "master"},
        {"-OOM command not allowed\r\n", WEIR_UNAVAILABLE, "maxmemory"},
        {"-LOADING Redis is loading\r\n", WEIR_UNAVAILABLE, "LOADING"},
        {"-ERR unknown command 'X'\r\n", WEIR_UNSUPPORTED, "6.2"},
        {"-ERR \x1b[31m\xff\r\n", WEIR_OTHER, "\\x1b[31m\\xff"},
        {"+OK\r\n", WEIR_OK, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_redis_reply *reply;
        struct weir_error err;
        assert_ok(read_reply(weir_str_of(rows[i].bytes), 100, 1000, &reply, &err));
        assert_int_equal(weir_redis_reply_status(reply, "trying", &err), rows[i].status);
        if (rows[i].part) {
            assert_message_has(&err, rows[i].part);
            assert_message_has(&err, "trying: ");
        }
        weir_redis_reply_free(reply);
    }
}

// ---- addresses ----

static void an_address_is_taken_apart(void **state) {
    (void)state;
    const struct {
        const char *address, *host, *port, *path;
    } rows[] = {
        {"localhost:6380", "localhost", "6380", NULL},
        {"example.org", "example.org", "6379", NULL},
        {"[::1]:7", "::1", "7", NULL},
        {"[fe80::1]", "fe80::1", "6379", NULL},
        {"/run/redis.sock", NULL, NULL, "/run/redis.sock"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_redis_endpoint endpoint = {.host = NULL};
        struct weir_error err;
        assert_ok(weir_redis_endpoint_parse(&endpoint, rows[i].address, &err));
        if (rows[i].path) {
            assert_string_equal(endpoint.path, rows[i].path);
        } else {
            assert_string_equal(endpoint.host, rows[i].host);
            assert_string_equal(endpoint.port, rows[i].port);
        }
        weir_redis_endpoint_finish(&endpoint);
    }
    char longest[200];
    memset(longest, '/', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *malformed[] = {
        ":1",      "host:",   "host:0", "host:65536", "host:1x", "::1", "redis://host:1",
        "[::1]x:", "host:-1", "a/b:1",  longest,      "host: 1"};
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        struct weir_redis_endpoint endpoint = {.host = NULL};
        struct weir_error err;
        if (weir_redis_endpoint_parse(&endpoint, malformed[i], &err) != WEIR_INVALID) {
            fail_msg("%s is an address", malformed[i]);
        }
        assert_message_has(&err, "`address`");
        weir_redis_endpoint_finish(&endpoint);
    }
}

// ---- names ----

static void a_prefix_is_no_pattern(void **state) {
    (void)state;
    char buffer[WEIR_REDIS_GLOB_BYTES_MAX];
    assert_str_equal(weir_redis_glob(WEIR_STR(""), buffer), "*");
    assert_str_equal(weir_redis_glob(WEIR_STR("orders:"), buffer), "orders:*");
    assert_str_equal(weir_redis_glob(WEIR_STR("a*b?c[d]\\e"), buffer), "a\\*b\\?c\\[d\\]\\\\e*");
}

static void own_names_are_not_for_others(void **state) {
    (void)state;
    struct weir_error err;
    assert_int_equal(weir_redis_check_key(WEIR_STR("weir:chain:k"), &err), WEIR_INVALID);
    assert_int_equal(weir_redis_check_key(WEIR_STR("weir:seen:k"), &err), WEIR_INVALID);
    assert_ok(weir_redis_check_key(WEIR_STR("weir:"), &err));
    char buffer[WEIR_REDIS_OWN_BYTES_MAX], longest[WEIR_KEY_BYTES_MAX];
    memset(longest, 'x', sizeof longest);
    struct weir_str name = weir_redis_own_name(WEIR_REDIS_CHAIN_PREFIX,
                                               (struct weir_str){longest, sizeof longest}, buffer);
    assert_int_equal(name.size, strlen(WEIR_REDIS_CHAIN_PREFIX) + sizeof longest);
    assert_true(weir_redis_is_own(name));
}

// ---- ids ----

static void ids_are_read_and_ordered(void **state) {
    (void)state;
    struct weir_redis_id id;
    char buffer[WEIR_REDIS_ID_BYTES];
    const char *good[] = {"0-0", "1700000000000-3", "18446744073709551615-18446744073709551615"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(weir_redis_id_parse(weir_str_of(good[i]), &id));
        assert_str_equal(weir_redis_id_format(id, buffer), good[i]);
    }
    const char *bad[] = {"", "1", "1-", "-1", "1-2-3", "a-b", "18446744073709551616-0", "1 -2"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(weir_redis_id_parse(weir_str_of(bad[i]), &id));
    }
    struct weir_redis_id a = {5, 0}, b = {4, UINT64_MAX}, zero = {0, 0};
    assert_true(weir_redis_id_compare(a, b) > 0);
    assert_int_equal(weir_redis_id_compare(weir_redis_id_before(a), b), 0);
    assert_true(weir_redis_id_is_zero(weir_redis_id_before(zero)));
}

// ---- fingerprints and chains ----

static void a_fingerprint_comes_back(void **state) {
    (void)state;
    char buffer[WEIR_REDIS_FINGERPRINT_BYTES];
    const struct weir_redis_told told = {.size = 0x0102030405060708,
                                         .hash = XXH3_128bits("value", 5)};
    struct weir_redis_told back;
    struct weir_str fingerprint = weir_redis_fingerprint_encode(&told, buffer);
    assert_true(weir_redis_fingerprint_decode(fingerprint, &back));
    assert_true(weir_redis_told_equal(&told, &back));
    // What was written by one weir is read by the next.
    static const unsigned char first[] = {1, 8, 7, 6, 5, 4, 3, 2, 1};
    assert_memory_equal(buffer, first, sizeof first);
    fingerprint.size--;
    assert_false(weir_redis_fingerprint_decode(fingerprint, &back));
    assert_false(weir_redis_told_equal(&told, &back));
    fingerprint.size++;
    buffer[0]++;
    assert_false(weir_redis_fingerprint_decode(fingerprint, &back));
}

static void a_chain_that_cannot_be_kept_is_left_out(void **state) {
    (void)state;
    struct weir_redis_chain chain = {.count = 0};
    struct weir_redis_reply reply = {.kind = WEIR_REDIS_BULK};
    const struct weir_str refused[] = {
        {"\xff", 1}, {"a\0b", 3}, {"", 0}, {NULL, WEIR_REDIS_CHAIN_TEXT_BYTES_MAX + 1}};
    char large[WEIR_REDIS_CHAIN_TEXT_BYTES_MAX + 1];
    memset(large, 'x', sizeof large);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        reply.bytes = refused[i];
        reply.bytes.data = reply.bytes.data ? reply.bytes.data : large;
        weir_redis_chain_add(&chain, 0, &reply);
    }
    reply.bytes = WEIR_STR("1x");
    weir_redis_chain_add(&chain, 2, &reply);
    assert_int_equal(chain.count, 0);
    reply.bytes = WEIR_STR("12");
    weir_redis_chain_add(&chain, 2, &reply);
    weir_redis_chain_add(&chain, 2, &reply);
    assert_int_equal(chain.count, 1);
    assert_str_equal(chain.extensions[0].name, WEIR_EXTENSION_HOPS);
}

// ---- entries as events ----

enum { FIELDS_MAX = 128 };

static struct weir_event *event_of(const struct weir_str *texts, size_t count, uint64_t bytes_max) {
    struct weir_redis_reply items[FIELDS_MAX];
    struct weir_error err;
    assert_in_range(count, 0, FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct weir_redis_reply){.kind = WEIR_REDIS_BULK, .bytes = texts[i]};
    }
    const struct weir_redis_reply fields = {
        .kind = WEIR_REDIS_ARRAY, .items = items, .count = count};
    const struct weir_redis_entry entry = {
        .id = {1700000000123, 4}, .id_text = WEIR_STR("1700000000123-4"), .fields = &fields};
    const struct weir_redis_stream_entry described = {.source = WEIR_STR("/db"),
                                                      .stream = WEIR_STR("orders"),
                                                      .entry = &entry,
                                                      .event_bytes_max = bytes_max};
    struct weir_event *event;
    assert_ok(weir_redis_stream_event(&described, &event, &err));
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_ok(weir_event_fields_check_utf8(&event->fields, &err));
    assert_str_equal(event->key, "orders");
    assert_str_equal(event->position, "1700000000123-4");
    return event;
}

static void of_fields_of_one_name_the_last_is_told(void **state) {
    (void)state;
    const struct weir_str texts[] = {WEIR_STR("a"), WEIR_STR("1"), WEIR_STR("b"),    WEIR_STR("2"),
                                     WEIR_STR("a"), WEIR_STR("3"), WEIR_STR("c\0d"), WEIR_STR("4"),
                                     WEIR_STR(""),  WEIR_STR("")};
    struct weir_event *event = event_of(texts, COUNT_OF(texts), 1000);
    assert_str_equal(event->fields.data.value.bytes,
                     "{\"a\":\"3\",\"b\":\"2\",\"c\":\"4\",\"\":\"\"}");
    weir_event_unref(event);
}

static void fields_become_json(void **state) {
    (void)state;
    const struct weir_str texts[] = {WEIR_STR("n"),          WEIR_STR("1"),   WEIR_STR("\"q\""),
                                     WEIR_STR("\xc3\xa4\n"), WEIR_STR("bin"), {"\xff\0", 2},
                                     {"\xfe%", 2},           WEIR_STR("x")};
    struct weir_event *event = event_of(texts, COUNT_OF(texts), 1000);
    assert_str_equal(event->fields.ty, WEIR_REDIS_TYPE_ENTRY);
    assert_str_equal(event->fields.source, "/db");
    assert_str_equal(event->fields.id, "orders@1700000000123-4");
    assert_str_equal(event->fields.subject.value, "orders");
    assert_str_equal(event->fields.time.value, "2023-11-14T22:13:20.123000Z");
    assert_str_equal(event->fields.datacontenttype.value, "application/json");
    assert_str_equal(event->fields.data.value.bytes,
                     "{\"n\":\"1\",\"\\\"q\\\"\":\"\xc3\xa4\\n\",\"bin\":{\"$binary\":{\"base64\":"
                     "\"/wA=\",\"subType\":\"00\"}},\"%FE%25\":\"x\"}");
    weir_event_unref(event);
    event = event_of(texts, COUNT_OF(texts), 10);
    assert_false(event->fields.data.is_some);
    assert_str_equal(test_extension(event, "dataomitted"), "size");
    weir_event_unref(event);
}

static void a_field_alone_is_the_data(void **state) {
    (void)state;
    const struct weir_str texts[] = {WEIR_STR("data"), {"\xff\0", 2}};
    struct weir_event *event = event_of(texts, 2, 1000);
    assert_int_equal(event->fields.data.value.kind, WEIR_PAYLOAD_BINARY);
    assert_int_equal(event->fields.data.value.bytes.size, 2);
    weir_event_unref(event);
}

static void an_event_is_told_as_it_was_published(void **state) {
    (void)state;
    const struct weir_str texts[] = {
        WEIR_STR("ce_specversion"), WEIR_STR("1.0"),      WEIR_STR("ce_id"),   WEIR_STR("17"),
        WEIR_STR("ce_source"),      WEIR_STR("/shop"),    WEIR_STR("ce_type"), WEIR_STR("com.paid"),
        WEIR_STR("ce_hops"),        WEIR_STR("3"),        WEIR_STR("ce_hops"), WEIR_STR("4"),
        WEIR_STR("content-type"),   WEIR_STR("text/csv"), WEIR_STR("data"),    WEIR_STR("a,b")};
    struct weir_event *event = event_of(texts, COUNT_OF(texts), 1000);
    assert_str_equal(event->fields.id, "17");
    assert_str_equal(event->fields.source, "/shop");
    assert_str_equal(event->fields.ty, "com.paid");
    assert_str_equal(event->fields.datacontenttype.value, "text/csv");
    assert_str_equal(event->fields.data.value.bytes, "a,b");
    assert_int_equal(event->fields.extensions.count, 1);
    assert_str_equal(test_extension(event, "hops"), "3");
    weir_event_unref(event);
}

static void what_claims_to_be_an_event_and_is_none_is_an_entry(void **state) {
    (void)state;
    struct weir_str texts[] = {
        WEIR_STR("ce_specversion"), WEIR_STR("1.0"),      WEIR_STR("ce_id"),   WEIR_STR("17"),
        WEIR_STR("ce_source"),      WEIR_STR("/shop"),    WEIR_STR("ce_type"), WEIR_STR("com.paid"),
        WEIR_STR("ce_time"),        WEIR_STR("yesterday")};
    const struct {
        size_t at;
        struct weir_str text;
    } spoilt[] = {{1, WEIR_STR("2.0")}, {3, WEIR_STR("")},      {5, {"\xff", 1}},
                  {9, WEIR_STR("no")},  {8, WEIR_STR("ce_No")}, {6, WEIR_STR("ce_kind")}};
    for (size_t i = 0; i < COUNT_OF(spoilt); i++) {
        struct weir_str copy[COUNT_OF(texts)];
        memcpy(copy, texts, sizeof copy);
        copy[9] = WEIR_STR("2026-01-01T00:00:00Z");
        copy[spoilt[i].at] = spoilt[i].text;
        struct weir_event *event = event_of(copy, COUNT_OF(copy), 1000);
        assert_str_equal(event->fields.ty, WEIR_REDIS_TYPE_ENTRY);
        weir_event_unref(event);
    }
    struct weir_str many[FIELDS_MAX]; // more extensions than an event may have
    char names[FIELDS_MAX][16];
    memcpy(many, texts, 8 * sizeof *texts);
    for (size_t i = 8; i < FIELDS_MAX; i += 2) {
        snprintf(names[i], sizeof names[i], "ce_x%zu", i);
        many[i] = weir_str_of(names[i]);
        many[i + 1] = WEIR_STR("v");
    }
    struct weir_event *event = event_of(many, FIELDS_MAX, 100000);
    assert_str_equal(event->fields.ty, "com.paid"); // 60 of them
    weir_event_unref(event);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_in_pieces_of_any_size),
        cmocka_unit_test(what_is_no_reply_is_an_error),
        cmocka_unit_test(a_reply_has_a_bound),
        cmocka_unit_test(noise_is_no_crash),
        cmocka_unit_test(an_error_says_what_to_do),
        cmocka_unit_test(an_address_is_taken_apart),
        cmocka_unit_test(a_prefix_is_no_pattern),
        cmocka_unit_test(own_names_are_not_for_others),
        cmocka_unit_test(ids_are_read_and_ordered),
        cmocka_unit_test(a_fingerprint_comes_back),
        cmocka_unit_test(a_chain_that_cannot_be_kept_is_left_out),
        cmocka_unit_test(of_fields_of_one_name_the_last_is_told),
        cmocka_unit_test(fields_become_json),
        cmocka_unit_test(a_field_alone_is_the_data),
        cmocka_unit_test(an_event_is_told_as_it_was_published),
        cmocka_unit_test(what_claims_to_be_an_event_and_is_none_is_an_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
