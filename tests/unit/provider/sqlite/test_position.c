// SPDX-License-Identifier: Apache-2.0
//
// Positions and chains as bytes: what is written is read, and nothing else is.
#include "unit/test.h"

#include "provider/sqlite/chain.h"
#include "provider/sqlite/position.h"

static void check_same(const struct weir_sqlite_position *a, const struct weir_sqlite_position *b) {
    assert_memory_equal(a->identity, b->identity, sizeof a->identity);
    assert_true(a->place.seq == b->place.seq && a->place.mark == b->place.mark);
    assert_int_equal(a->rest.kind, b->rest.kind);
    assert_true(weir_str_equal(a->rest.table, b->rest.table));
    assert_true(a->rest.row == b->rest.row);
    assert_true(weir_str_equal(a->rest.key, b->rest.key));
}

static const struct weir_sqlite_rest rests[] = {
    {.kind = WEIR_SQLITE_REST_NONE},
    {.kind = WEIR_SQLITE_REST_TABLE},
    {.kind = WEIR_SQLITE_REST_TABLE, .table = WEIR_STR("t")},
    {.kind = WEIR_SQLITE_REST_ROW, .table = WEIR_STR("t"), .row = INT64_MIN},
    {.kind = WEIR_SQLITE_REST_ROW, .table = WEIR_STR("\xc3\xa4"), .row = INT64_MAX},
    {.kind = WEIR_SQLITE_REST_TEXT_KEY, .table = WEIR_STR("t"), .key = WEIR_STR("k/1")},
    {.kind = WEIR_SQLITE_REST_BLOB_KEY, .table = WEIR_STR("t"), .key = {"\xff\0", 2}},
    {.kind = WEIR_SQLITE_REST_BLOB_KEY, .table = WEIR_STR("t")},
};

static struct weir_sqlite_position position_of(const struct weir_sqlite_rest *rest) {
    struct weir_sqlite_position position = {
        .place = {.seq = INT64_C(0x0102030405060708), .mark = UINT64_MAX}, .rest = *rest};
    memcpy(position.identity, "0123456789abcdef", sizeof position.identity);
    return position;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rests); i++) {
        char buffer[WEIR_POSITION_BYTES_MAX];
        struct weir_sqlite_position position = position_of(&rests[i]), got;
        size_t size = weir_sqlite_position_encode(&position, buffer);
        assert_true(weir_sqlite_position_decode((struct weir_str){buffer, size}, &got));
        check_same(&position, &got);
    }
}

static void what_is_too_long_begins_earlier(void **state) {
    (void)state;
    static char text[WEIR_POSITION_BYTES_MAX];
    char buffer[WEIR_POSITION_BYTES_MAX];
    memset(text, 'x', sizeof text);
    struct weir_sqlite_rest rest = {.kind = WEIR_SQLITE_REST_TEXT_KEY,
                                    .table = {text, WEIR_SQLITE_REST_TABLE_BYTES_MAX},
                                    .key = {text, WEIR_SQLITE_REST_KEY_BYTES_MAX}};
    struct weir_sqlite_position position = position_of(&rest), got;
    for (int i = 0; i < 3; i++) {
        size_t size = weir_sqlite_position_encode(&position, buffer);
        assert_in_range(size, 1, sizeof buffer);
        assert_true(weir_sqlite_position_decode((struct weir_str){buffer, size}, &got));
        assert_int_equal(got.rest.kind,
                         i == 0 ? WEIR_SQLITE_REST_TEXT_KEY : WEIR_SQLITE_REST_TABLE);
        assert_int_equal(got.rest.table.size, i < 2 ? WEIR_SQLITE_REST_TABLE_BYTES_MAX : 0);
        position.rest.key.size = WEIR_SQLITE_REST_KEY_BYTES_MAX + 1;
        position.rest.table.size += i == 1;
    }
}

static void what_is_malformed_is_not_read(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rests); i++) {
        char buffer[WEIR_POSITION_BYTES_MAX];
        struct weir_sqlite_position position = position_of(&rests[i]), got;
        size_t size = weir_sqlite_position_encode(&position, buffer);
        for (size_t cut = 0; cut < size; cut++) {
            char *exact = malloc(cut + 1); // the sanitizer sees what is read beyond
            assert_non_null(exact);
            memcpy(exact, buffer, cut);
            assert_false(weir_sqlite_position_decode((struct weir_str){exact, cut}, &got));
            free(exact);
        }
        buffer[size] = 'x';
        assert_false(weir_sqlite_position_decode((struct weir_str){buffer, size + 1}, &got));
        buffer[0]++; // the version
        assert_false(weir_sqlite_position_decode((struct weir_str){buffer, size}, &got));
        buffer[0]--;
        buffer[33] = 9; // the kind of the rest
        assert_false(weir_sqlite_position_decode((struct weir_str){buffer, size}, &got));
    }
}

// ---- chains

static size_t encode(const char *causation, const char *correlation, const char *hops,
                     char buffer[static WEIR_SQLITE_CHAIN_BYTES_MAX]) {
    struct weir_attribute extensions[3];
    size_t count = 0;
    const char *const names[] = {WEIR_EXTENSION_CAUSATION, WEIR_EXTENSION_CORRELATION,
                                 WEIR_EXTENSION_HOPS};
    const char *const values[] = {causation, correlation, hops};
    for (size_t i = 0; i < 3; i++) {
        if (values[i]) {
            extensions[count++] =
                (struct weir_attribute){weir_str_of(names[i]), weir_str_of(values[i])};
        }
    }
    const struct weir_event_fields fields = {.extensions = {extensions, count}};
    return weir_sqlite_chain_encode(&fields, buffer);
}

static void a_chain_is_written_and_read(void **state) {
    (void)state;
    char buffer[WEIR_SQLITE_CHAIN_BYTES_MAX];
    struct weir_attribute got[WEIR_SQLITE_CHAIN_EXTENSIONS];
    size_t size = encode("cause/1@\xc3\xa4", "first", "12", buffer);
    assert_int_equal(weir_sqlite_chain_decode((struct weir_str){buffer, size}, got), 3);
    assert_str_equal(got[0].name, WEIR_EXTENSION_CAUSATION);
    assert_str_equal(got[0].value, "cause/1@\xc3\xa4");
    assert_str_equal(got[2].value, "12");
    size = encode(NULL, NULL, "1", buffer);
    assert_int_equal(weir_sqlite_chain_decode((struct weir_str){buffer, size}, got), 1);
    assert_str_equal(got[0].name, WEIR_EXTENSION_HOPS);
    assert_int_equal(encode(NULL, NULL, NULL, buffer), 0);
    assert_int_equal(encode(NULL, NULL, "many", buffer), 0);
    static char text[WEIR_SQLITE_CHAIN_BYTES_MAX + 1];
    memset(text, 'x', sizeof text - 1);
    size = encode(text, "first", "7", buffer); // what is too long is left out, the hops stay
    assert_int_equal(weir_sqlite_chain_decode((struct weir_str){buffer, size}, got), 2);
    assert_str_equal(got[0].name, WEIR_EXTENSION_CORRELATION);
}

static void a_chain_that_is_malformed_is_none(void **state) {
    (void)state;
    struct weir_attribute got[WEIR_SQLITE_CHAIN_EXTENSIONS];
    const struct weir_str malformed[] = {
        {NULL, 0},
        {"a", 1},
        {"a\0b\0", 4},
        {"a\0b\0"
         "1",
         5},
        {"a\0b\0x\0", 6},
        {"\xff\0b\0"
         "1\0",
         6},
        {"a\0b\0"
         "1\0c",
         7},
        {"a\0b\0"
         "123456789012345678901\0",
         26},
    };
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        assert_int_equal(weir_sqlite_chain_decode(malformed[i], got), 0);
    }
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_too_long_begins_earlier),
        cmocka_unit_test(what_is_malformed_is_not_read),
        cmocka_unit_test(a_chain_is_written_and_read),
        cmocka_unit_test(a_chain_that_is_malformed_is_none),
    };
    return cmocka_run_group_tests_name("sqlite: positions", cases, NULL, NULL);
}
