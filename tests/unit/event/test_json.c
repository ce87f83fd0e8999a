// SPDX-License-Identifier: Apache-2.0
//
// CloudEvents in JSON: each attribute, each kind of data, and what cannot be written.
#include "unit/test.h"

#include "event/event.h"
#include "event/json.h"

static struct weir_event_fields least(void) {
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("i"),
    };
}

#define LEAST "{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"/s\",\"type\":\"t\""

static void assert_json(const struct weir_event_fields *fields, const char *expected) {
    char *text = NULL;
    struct weir_error err;
    assert_int_equal(weir_event_to_json(fields, &text, &err), WEIR_OK);
    assert_string_equal(text, expected);
    free(text);
}

static struct weir_optional_str some(struct weir_str value) {
    return (struct weir_optional_str){.is_some = true, .value = value};
}

static void an_event_has_its_attributes(void **state) {
    (void)state;
    struct weir_event_fields fields = least();
    assert_json(&fields, LEAST "}");
    const struct weir_attribute extensions[] = {
        {WEIR_STR("revision"), WEIR_STR("r\"1")},
        {WEIR_STR("empty"), {NULL, 0}},
    };
    fields.subject = some(WEIR_STR("a/\u00e4\n"));
    fields.time = some(WEIR_STR("2026-01-31T12:34:56Z"));
    fields.datacontenttype = some(WEIR_STR("text/plain"));
    fields.dataschema = some(WEIR_STR("urn:x"));
    fields.extensions = (struct weir_attributes){.items = extensions, .count = 2};
    assert_json(&fields, LEAST ",\"subject\":\"a/\u00e4\\n\",\"time\":\"2026-01-31T12:34:56Z\","
                               "\"datacontenttype\":\"text/plain\",\"dataschema\":\"urn:x\","
                               "\"revision\":\"r\\\"1\",\"empty\":\"\"}");
}

static void data_is_written_so_that_its_bytes_can_be_told(void **state) {
    (void)state;
    const struct {
        const char *type; // NULL: none
        enum weir_payload_kind kind;
        struct weir_str data;
        const char *member;
    } rows[] = {
        {NULL, WEIR_PAYLOAD_TEXT, WEIR_STR("two\nlines \"\0\""),
         "\"data\":\"two\\nlines \\\"\\u0000\\\"\""},
        {NULL, WEIR_PAYLOAD_TEXT, {NULL, 0}, "\"data\":\"\""},
        {NULL, WEIR_PAYLOAD_BINARY, {NULL, 0}, "\"data_base64\":\"\""},
        {NULL, WEIR_PAYLOAD_BINARY, WEIR_STR("\xff"), "\"data_base64\":\"/w==\""},
        {NULL, WEIR_PAYLOAD_BINARY, WEIR_STR("\xff\xfe"), "\"data_base64\":\"//4=\""},
        {NULL, WEIR_PAYLOAD_BINARY, WEIR_STR("\0\x10\x83"), "\"data_base64\":\"ABCD\""},
        {NULL, WEIR_PAYLOAD_BINARY, WEIR_STR("weir"), "\"data_base64\":\"d2Vpcg==\""},
        {NULL, WEIR_PAYLOAD_TEXT, WEIR_STR("a\xff"), "\"data_base64\":\"Yf8=\""}, // text by mistake
        {NULL, WEIR_PAYLOAD_TEXT,
         WEIR_STR("\x7f\xc2\x9b"
                  "2J\u00a0\xc2\x80\033"),
         "\"data\":\"\\u007F\\u009B2J\u00a0\\u0080\\u001B\""}, // nothing that a terminal obeys
        // JSON is embedded as JSON, where it is said to be, and is.
        {"text/plain", WEIR_PAYLOAD_TEXT, WEIR_STR("{\"a\": 1}"), "\"data\":\"{\\\"a\\\": 1}\""},
        {"application/json", WEIR_PAYLOAD_TEXT,
         WEIR_STR(" {\"b\": [1, 2.5, null],\n \"a\": \"x\"} "),
         "\"data\":{\"b\":[1,2.5,null],\"a\":\"x\"}"},
        {"application/json; charset=utf-8", WEIR_PAYLOAD_TEXT, WEIR_STR("7"), "\"data\":7"},
        {"Application/VND.x+JSON", WEIR_PAYLOAD_TEXT, WEIR_STR("\"s\\u0000\""),
         "\"data\":\"s\\u0000\""},
        {"application/jsonl", WEIR_PAYLOAD_TEXT, WEIR_STR("7"), "\"data\":\"7\""},
        {"application/json", WEIR_PAYLOAD_BINARY, WEIR_STR("7"), "\"data_base64\":\"Nw==\""},
        {"application/json", WEIR_PAYLOAD_TEXT, WEIR_STR("{\"a\":"),
         "\"data_base64\":\"eyJhIjo=\""},
        {"application/json", WEIR_PAYLOAD_TEXT, {NULL, 0}, "\"data_base64\":\"\""},
        {"application/json", WEIR_PAYLOAD_TEXT, WEIR_STR("123456789012345678901234567890"),
         "\"data_base64\":\"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw\""}, // no number of ours holds
                                                                          // it
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_event_fields fields = least();
        char expected[256], type[128] = "";
        fields.data.is_some = true;
        fields.data.value = (struct weir_payload){.kind = rows[i].kind, .bytes = rows[i].data};
        if (rows[i].type) {
            fields.datacontenttype = some(weir_str_of(rows[i].type));
            snprintf(type, sizeof type, "\"datacontenttype\":\"%s\",", rows[i].type);
        }
        snprintf(expected, sizeof expected, LEAST ",%s%s}", type, rows[i].member);
        assert_json(&fields, expected);
    }
}

static void an_attribute_that_is_not_utf_8_is_refused(void **state) {
    (void)state;
    struct weir_event_fields fields = least();
    struct weir_error err;
    char *text = NULL;
    fields.subject = some(WEIR_STR("\xff"));
    assert_int_equal(weir_event_to_json(&fields, &text, &err), WEIR_INVALID);
    assert_message_has(&err, "subject is not UTF-8");
    assert_null(text);
    fields = least();
    const struct weir_attribute extension = {WEIR_STR("x"), WEIR_STR("\xc3")};
    fields.extensions = (struct weir_attributes){.items = &extension, .count = 1};
    assert_int_equal(weir_event_to_json(&fields, &text, &err), WEIR_INVALID);
    assert_message_has(&err, "attribute x is not UTF-8");
}

static void a_large_event_is_one_line(void **state) {
    (void)state;
    enum { BYTES = 3 * 1024 * 1024 };
    char *data = malloc(BYTES), *text = NULL;
    assert_non_null(data);
    memset(data, '\n', BYTES);
    struct weir_event_fields fields = least();
    fields.data.is_some = true;
    fields.data.value = (struct weir_payload){.kind = WEIR_PAYLOAD_TEXT, .bytes = {data, BYTES}};
    assert_int_equal(weir_event_to_json(&fields, &text, NULL), WEIR_OK);
    assert_null(strchr(text, '\n'));
    assert_int_equal(strlen(text), strlen(LEAST ",\"data\":\"\"}") + 2 * (size_t)BYTES);
    free(text);
    fields.data.value.kind = WEIR_PAYLOAD_BINARY;
    assert_int_equal(weir_event_to_json(&fields, &text, NULL), WEIR_OK);
    assert_int_equal(strlen(text), strlen(LEAST ",\"data_base64\":\"\"}") + BYTES / 3 * 4);
    free(text);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_has_its_attributes),
        cmocka_unit_test(data_is_written_so_that_its_bytes_can_be_told),
        cmocka_unit_test(an_attribute_that_is_not_utf_8_is_refused),
        cmocka_unit_test(a_large_event_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
