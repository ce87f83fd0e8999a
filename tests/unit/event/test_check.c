// SPDX-License-Identifier: Apache-2.0
//
// What is a CloudEvent and what is not, each rule with its nearest wrong neighbour.
#include "event/event.h"
#include "unit/test.h"

static struct weir_event_fields sound(void) {
    return (struct weir_event_fields){.specversion = WEIR_STR("1.0"),
                                      .ty = WEIR_STR("dev.weir.test"),
                                      .source = WEIR_STR("/test"),
                                      .id = WEIR_STR("1")};
}

static void assert_sound(const struct weir_event_fields *fields) {
    struct weir_error err = {.message = ""};
    if (weir_event_fields_check(fields, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
}

static void assert_refused(const struct weir_event_fields *fields, const char *part) {
    struct weir_error err = {.message = ""};
    assert_int_equal(weir_event_fields_check(fields, &err), WEIR_INVALID);
    assert_message_has(&err, part);
    assert_int_equal(weir_event_fields_check(fields, NULL), WEIR_INVALID);
}

static void the_required_attributes_are_required(void **state) {
    (void)state;
    struct weir_event_fields fields = sound();
    assert_sound(&fields);
    fields.ty = (struct weir_str){0};
    assert_refused(&fields, "type is empty");
    fields = sound();
    fields.source = (struct weir_str){0};
    assert_refused(&fields, "source is empty");
    fields = sound();
    fields.id = (struct weir_str){0};
    assert_refused(&fields, "id is empty");
    fields = sound();
    fields.specversion = WEIR_STR("0.3");
    assert_refused(&fields, "specversion is \"0.3\"");
    fields.specversion = (struct weir_str){0};
    assert_refused(&fields, "specversion");
}

// Bodies are not looked at: that a text is UTF-8 was checked where it was taken in.
static void any_body_is_sound(void **state) {
    (void)state;
    struct weir_event_fields fields = sound();
    fields.data = (struct weir_optional_payload){true, {WEIR_PAYLOAD_BINARY, WEIR_STR("\xff")}};
    assert_sound(&fields);
    fields.data = (struct weir_optional_payload){true, {WEIR_PAYLOAD_TEXT, {0}}};
    assert_sound(&fields); // an empty body is a body
}

static void optional_attributes_are_not_empty_where_they_are_given(void **state) {
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct weir_event_fields fields = sound();
        struct weir_optional_str *attributes[] = {&fields.datacontenttype, &fields.dataschema,
                                                  &fields.subject, &fields.time};
        static const char *const names[] = {"datacontenttype", "dataschema", "subject", "time"};
        // What is not given is not looked at.
        *attributes[i] = (struct weir_optional_str){.is_some = false};
        assert_sound(&fields);
        *attributes[i] = (struct weir_optional_str){.is_some = true};
        assert_refused(&fields, names[i]);
        *attributes[i] = (struct weir_optional_str){true, WEIR_STR("2026-01-31T12:34:56Z")};
        assert_sound(&fields);
    }
}

static void a_time_is_rfc_3339(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_time;
    } rows[] = {
        {"2026-01-31T12:34:56Z", true},
        {"2026-01-31t12:34:56z", true},
        {"2026-01-31T12:34:56.1Z", true},
        {"2026-01-31T12:34:56.123456789+05:30", true},
        {"2026-01-31T12:34:56-23:59", true},
        {"2016-12-31T23:59:60Z", true},
        {"2024-02-29T00:00:00Z", true},
        {"2000-02-29T00:00:00Z", true},
        {"2026-02-29T00:00:00Z", false},
        {"1900-02-29T00:00:00Z", false},
        {"2026-04-31T00:00:00Z", false},
        {"2026-01-31T12:34:56", false},
        {"2026-01-31 12:34:56Z", false},
        {"2026-01-31T12:34:56.Z", false},
        {"2026-01-31T12:34:56.1", false},
        {"2026-01-31T12:34:56ZZ", false},
        {"2026-01-31T12:34:56+5:30", false},
        {"2026-01-31T12:34:56+24:00", false},
        {"2026-01-31T12:34:56+00:60", false},
        {"2026-01-31T12:34:56+0000", false},
        {"2026-13-01T00:00:00Z", false},
        {"2026-00-01T00:00:00Z", false},
        {"2026-01-00T00:00:00Z", false},
        {"2026-01-32T00:00:00Z", false},
        {"2026-01-31T24:00:00Z", false},
        {"2026-01-31T00:60:00Z", false},
        {"2026-01-31T00:00:61Z", false},
        {"26-01-31T12:34:56Z", false},
        {"yesterday", false},
        {"x026-01-31T12:34:56Z", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        // In a block of its exact size: nothing behind a short text is looked at.
        size_t size = strlen(rows[i].text);
        char *exact = malloc(size);
        assert_non_null(exact);
        memcpy(exact, rows[i].text, size);
        struct weir_event_fields fields = sound();
        fields.time = (struct weir_optional_str){true, {exact, size}};
        if (rows[i].is_time) {
            assert_sound(&fields);
        } else if (weir_event_fields_check(&fields, NULL) != WEIR_INVALID) {
            fail_msg("\"%s\" was taken for a time", rows[i].text);
        }
        free(exact);
    }
}

static void every_beginning_of_a_time_is_none(void **state) {
    (void)state;
    static const char whole[] = "2026-01-31T12:34:56.123+05:30";
    for (size_t size = 1; size < sizeof whole - 1; size++) {
        char *exact = malloc(size);
        assert_non_null(exact);
        memcpy(exact, whole, size);
        struct weir_event_fields fields = sound();
        fields.time = (struct weir_optional_str){true, {exact, size}};
        assert_int_equal(weir_event_fields_check(&fields, NULL), WEIR_INVALID);
        free(exact);
    }
}

static void extension_names_are_those_of_cloudevents(void **state) {
    (void)state;
    char longest[WEIR_EXTENSION_NAME_BYTES_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[WEIR_EXTENSION_NAME_BYTES_MAX + 1] = '\0';
    const char *refused[] = {
        "",          "Upper",   "with-dash",  "with_line",       "a b",         "\xff",
        "gr\u00fcn", "id",      "type",       "source",          "specversion", "data",
        "time",      "subject", "dataschema", "datacontenttype", longest};
    struct weir_attribute extension = {.name = WEIR_STR("revision"), .value = WEIR_STR("v")};
    struct weir_event_fields fields = sound();
    fields.extensions = (struct weir_attributes){&extension, 1};
    assert_sound(&fields);
    extension.name = WEIR_STR("0a9z");
    assert_sound(&fields);
    extension.name = (struct weir_str){longest, WEIR_EXTENSION_NAME_BYTES_MAX};
    assert_sound(&fields);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        extension.name = weir_str_of(refused[i]);
        assert_refused(&fields, "extension attribute");
    }
    extension = (struct weir_attribute){.name = WEIR_STR("ok")};
    assert_sound(&fields); // with an empty value
}

static void the_last_extension_is_checked_as_the_first(void **state) {
    (void)state;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    char names[WEIR_EXTENSIONS_MAX][8];
    for (size_t i = 0; i < COUNT_OF(extensions); i++) {
        snprintf(names[i], sizeof names[i], "x%zu", i);
        extensions[i] = (struct weir_attribute){weir_str_of(names[i]), WEIR_STR("v")};
    }
    struct weir_event_fields fields = sound();
    fields.extensions = (struct weir_attributes){extensions, COUNT_OF(extensions)};
    assert_sound(&fields);
    extensions[COUNT_OF(extensions) - 1].name = WEIR_STR("X");
    assert_refused(&fields, "\"X\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_required_attributes_are_required),
        cmocka_unit_test(any_body_is_sound),
        cmocka_unit_test(optional_attributes_are_not_empty_where_they_are_given),
        cmocka_unit_test(a_time_is_rfc_3339),
        cmocka_unit_test(every_beginning_of_a_time_is_none),
        cmocka_unit_test(extension_names_are_those_of_cloudevents),
        cmocka_unit_test(the_last_extension_is_checked_as_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
