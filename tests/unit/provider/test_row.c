// SPDX-License-Identifier: Apache-2.0
//
// The events of rows: keys, and that each value keeps its type.
#include "unit/test.h"

#include "provider/row.h"
#include "support/sink.h"

#include <math.h>
#include <string.h>

#define INTEGER(value) ((struct weir_sql_value){.kind = WEIR_SQL_INTEGER, .integer = (value)})
#define TEXT(value)    ((struct weir_sql_value){.kind = WEIR_SQL_TEXT, .bytes = WEIR_STR(value)})
#define OF(which, value) \
    ((struct weir_sql_value){.kind = (which), .bytes = {(value), sizeof(value) - 1}})

static void a_row_has_a_key(void **state) {
    (void)state;
    const struct {
        struct weir_sql_value values[2];
        size_t count;
        const char *key;
    } rows[] = {
        {{INTEGER(INT64_MIN)}, 1, "orders/-9223372036854775808"},
        {{TEXT("a,b/c%\x01")}, 1, "orders/a%2Cb%2Fc%25%01"},
        {{TEXT("a"), TEXT("")}, 2, "orders/a,"},
        {{TEXT("\xc3\xa4"), INTEGER(7)}, 2, "orders/\xc3\xa4,7"},
        {{OF(WEIR_SQL_BINARY, "\xff\0a")}, 1, "orders/%FF%00a"},
        {{{.kind = WEIR_SQL_BOOLEAN, .boolean = true}}, 1, "orders/true"},
        {{{.kind = WEIR_SQL_REAL, .real = 0.1}}, 1, "orders/0.1"},
        {{{0}}, 0, "orders"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char key[64];
        size_t size =
            weir_row_key(WEIR_STR("orders"), rows[i].values, rows[i].count, key, sizeof key);
        assert_str_equal(((struct weir_str){key, size}), rows[i].key);
        assert_int_equal(weir_row_key(WEIR_STR("orders"), rows[i].values, rows[i].count, key, size),
                         size);
        assert_int_equal(
            weir_row_key(WEIR_STR("orders"), rows[i].values, rows[i].count, key, size - 1), 0);
    }
}

static void each_value_keeps_its_type(void **state) {
    (void)state;
    const struct {
        struct weir_sql_value value;
        const char *json;
    } rows[] = {
        {{.kind = WEIR_SQL_NULL}, "null"},
        {{.kind = WEIR_SQL_BOOLEAN, .boolean = false}, "false"},
        {INTEGER(9007199254740991), "9007199254740991"},
        {INTEGER(-9007199254740991), "-9007199254740991"},
        {INTEGER(9007199254740992), "{\"$numberLong\":\"9007199254740992\"}"},
        {INTEGER(INT64_MIN), "{\"$numberLong\":\"-9223372036854775808\"}"},
        {{.kind = WEIR_SQL_REAL, .real = 0.1}, "0.1"},
        {{.kind = WEIR_SQL_REAL, .real = 1}, "1.0"},
        {{.kind = WEIR_SQL_REAL, .real = 0.1 + 0.2}, "0.30000000000000004"},
        {{.kind = WEIR_SQL_REAL, .real = -0.0}, "-0.0"},
        {{.kind = WEIR_SQL_REAL, .real = 1e300}, "1e300"},
        {{.kind = WEIR_SQL_REAL, .real = -2.5e-7}, "-2.5e-7"},
        {{.kind = WEIR_SQL_REAL, .real = (double)INFINITY}, "{\"$numberDouble\":\"Infinity\"}"},
        {{.kind = WEIR_SQL_REAL, .real = (double)-INFINITY}, "{\"$numberDouble\":\"-Infinity\"}"},
        {{.kind = WEIR_SQL_REAL, .real = (double)NAN}, "{\"$numberDouble\":\"NaN\"}"},
        {TEXT("say \"\xc3\xa4\""), "\"say \\\"\xc3\xa4\\\"\""},
        {OF(WEIR_SQL_TEXT, "a\0b"), "\"a\\u0000b\""},
        {{.kind = WEIR_SQL_TEXT}, "\"\""},
        {OF(WEIR_SQL_BINARY, "\xff\0"), "{\"$binary\":{\"base64\":\"/wA=\",\"subType\":\"00\"}}"},
        {{.kind = WEIR_SQL_BINARY}, "{\"$binary\":{\"base64\":\"\",\"subType\":\"00\"}}"},
        {OF(WEIR_SQL_DECIMAL, "1.10"), "{\"$numberDecimal\":\"1.10\"}"},
        {OF(WEIR_SQL_JSON, "{\"a\": [1, null]}"), "{\"a\":[1,null]}"},
        {OF(WEIR_SQL_JSON, "123456789012345678901"), "\"123456789012345678901\""},
    };
    const struct weir_str column = WEIR_STR("c");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct weir_row_image image = {
            .columns = &column, .values = &rows[i].value, .count = 1};
        const struct weir_row_change change = {.source = WEIR_STR("/db"),
                                               .type = WEIR_TYPE_ROW_INSERTED,
                                               .table = WEIR_STR("t"),
                                               .key = WEIR_STR("t/1"),
                                               .revision = WEIR_STR("9"),
                                               .after = &image,
                                               .event_bytes_max = 1000};
        struct weir_event *event;
        struct weir_error err;
        char wanted[256];
        assert_ok(weir_row_event(&change, &event, &err));
        snprintf(wanted, sizeof wanted, "{\"table\":\"t\",\"before\":null,\"after\":{\"c\":%s}}",
                 rows[i].json);
        assert_str_equal(event->fields.data.value.bytes, wanted);
        assert_ok(weir_event_fields_check(&event->fields, &err));
        weir_event_unref(event);
    }
}

// Each number has the digits that it needs itself, whatever stands beside it.
static void numbers_have_their_own_digits(void **state) {
    (void)state;
    const struct weir_str columns[] = {WEIR_STR("a"), WEIR_STR("b")};
    const struct weir_sql_value values[] = {{.kind = WEIR_SQL_REAL, .real = 0.1},
                                            {.kind = WEIR_SQL_REAL, .real = 0.1 + 0.2}};
    const struct weir_row_image image = {columns, values, 2};
    const struct weir_row_change change = {.source = WEIR_STR("/db"),
                                           .type = WEIR_TYPE_ROW_INSERTED,
                                           .table = WEIR_STR("t"),
                                           .key = WEIR_STR("t/1"),
                                           .revision = WEIR_STR("9"),
                                           .after = &image,
                                           .event_bytes_max = 1000};
    struct weir_event *event;
    struct weir_error err;
    assert_ok(weir_row_event(&change, &event, &err));
    assert_str_equal(
        event->fields.data.value.bytes,
        "{\"table\":\"t\",\"before\":null,\"after\":{\"a\":0.1,\"b\":0.30000000000000004}}");
    weir_event_unref(event);
}

static void a_change_is_told_whole(void **state) {
    (void)state;
    const struct weir_str columns[] = {WEIR_STR("id"), WEIR_STR("big")};
    const struct weir_sql_value before[] = {INTEGER(1), TEXT("old")};
    const struct weir_sql_value after[] = {INTEGER(1), {.kind = WEIR_SQL_UNCHANGED}};
    const struct weir_row_image was = {columns, before, 2}, is = {columns, after, 2};
    struct weir_row_change change = {.source = WEIR_STR("/db"),
                                     .type = WEIR_TYPE_ROW_UPDATED,
                                     .table = WEIR_STR("t"),
                                     .key = WEIR_STR("t/1"),
                                     .revision = WEIR_STR("9"),
                                     .position = {"\0\1", 2},
                                     .transaction = WEIR_STR("77"),
                                     .is_snapshot = true,
                                     .before = &was,
                                     .after = &is,
                                     .event_bytes_max = 1000};
    struct weir_event *event;
    struct weir_error err;
    assert_ok(weir_row_event(&change, &event, &err));
    assert_str_equal(event->fields.ty, "dev.weir.row.updated");
    assert_str_equal(event->fields.id, "t/1@9");
    assert_str_equal(event->fields.subject.value, "t/1");
    assert_str_equal(event->fields.datacontenttype.value, "application/json");
    assert_str_equal(test_extension(event, "revision"), "9");
    assert_str_equal(test_extension(event, "transaction"), "77");
    assert_str_equal(test_extension(event, "snapshot"), "true");
    const char *data =
        "{\"table\":\"t\",\"before\":{\"id\":1,\"big\":\"old\"},\"after\":{\"id\":1}}";
    assert_str_equal(event->fields.data.value.bytes, data);
    assert_str_equal(event->key, "t/1");
    assert_int_equal(event->position.size, 2);
    weir_event_unref(event);

    change.event_bytes_max = strlen(data) - 1;
    assert_ok(weir_row_event(&change, &event, &err));
    assert_false(event->fields.data.is_some);
    assert_str_equal(test_extension(event, "dataomitted"), "size");
    weir_event_unref(event);
}

static void what_is_not_utf8_is_refused(void **state) {
    (void)state;
    const struct weir_str columns[] = {WEIR_STR("c"), WEIR_STR("\xff")};
    const struct weir_sql_value values[] = {TEXT("\xff"), INTEGER(1)};
    for (int i = 0; i < 3; i++) {
        const struct weir_row_image image = {&columns[i % 2], &values[i % 2], 1};
        const struct weir_row_change change = {.source = WEIR_STR("/db"),
                                               .type = WEIR_TYPE_ROW_INSERTED,
                                               .table = WEIR_STR("t"),
                                               .key = i == 2 ? WEIR_STR("t/\xff") : WEIR_STR("t/1"),
                                               .revision = WEIR_STR("9"),
                                               .after = i == 2 ? NULL : &image,
                                               .event_bytes_max = 1000};
        struct weir_event *event;
        struct weir_error err;
        assert_int_equal(weir_row_event(&change, &event, &err), WEIR_INVALID);
        assert_null(event);
        assert_message_has(&err, "UTF-8");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_a_key),
        cmocka_unit_test(each_value_keeps_its_type),
        cmocka_unit_test(numbers_have_their_own_digits),
        cmocka_unit_test(a_change_is_told_whole),
        cmocka_unit_test(what_is_not_utf8_is_refused),
    };
    return cmocka_run_group_tests_name("row", tests, NULL, NULL);
}
