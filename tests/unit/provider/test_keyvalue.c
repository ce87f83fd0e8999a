// SPDX-License-Identifier: Apache-2.0
//
// The events of keys, and which keys there may be.
#include "unit/test.h"

#include "provider/keyvalue.h"
#include "support/sink.h"

#include <string.h>

static struct weir_event *make(const struct weir_keyvalue_change *change) {
    struct weir_event *event;
    struct weir_error err;
    assert_ok(weir_keyvalue_event(change, &event, &err));
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_ok(weir_event_fields_check_utf8(&event->fields, &err));
    return event;
}

static void a_set_is_told_whole(void **state) {
    (void)state;
    const struct weir_attribute extension = {WEIR_STR("hops"), WEIR_STR("2")};
    const struct weir_keyvalue_change change = {
        .source = WEIR_STR("/store"),
        .key = WEIR_STR("orders/\xc3\xa4"),
        .revision = WEIR_STR("7-9"),
        .position = {"\x01\x02", 2},
        .wall_ns = 1,
        .is_snapshot = true,
        .data = &WEIR_STR("value"),
        .extensions = &extension,
        .extension_count = 1,
    };
    struct weir_event *event = make(&change);
    assert_str_equal(event->fields.ty, WEIR_TYPE_KEYVALUE_SET);
    assert_str_equal(event->fields.source, "/store");
    assert_str_equal(event->fields.id, "orders/\xc3\xa4@7-9");
    assert_str_equal(event->fields.subject.value, "orders/\xc3\xa4");
    assert_str_equal(event->fields.time.value, "1970-01-01T00:00:00.000000Z");
    assert_str_equal(event->fields.datacontenttype.value, "text/plain");
    assert_str_equal(event->fields.data.value.bytes, "value");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_REVISION), "7-9");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_HOPS), "2");
    assert_str_equal(event->key, "orders/\xc3\xa4");
    assert_int_equal(event->position.size, 2);
    weir_event_unref(event);
}

static void a_deletion_has_no_data(void **state) {
    (void)state;
    struct weir_event *event = make(&(struct weir_keyvalue_change){.source = WEIR_STR("/s"),
                                                                   .key = WEIR_STR("k"),
                                                                   .revision = WEIR_STR("1"),
                                                                   .is_deleted = true,
                                                                   .data = &WEIR_STR("old")});
    assert_str_equal(event->fields.ty, WEIR_TYPE_KEYVALUE_DELETED);
    assert_false(event->fields.data.is_some);
    assert_false(event->fields.time.is_some);
    assert_int_equal(test_extension(event, "dataomitted").size, 0);
    weir_event_unref(event);
}

static void what_is_too_large_is_said(void **state) {
    (void)state;
    struct weir_event *event = make(&(struct weir_keyvalue_change){.source = WEIR_STR("/s"),
                                                                   .key = WEIR_STR("k"),
                                                                   .revision = WEIR_STR("1"),
                                                                   .size_bytes = 123456789012});
    assert_false(event->fields.data.is_some);
    assert_str_equal(test_extension(event, "dataomitted"), "size");
    assert_str_equal(test_extension(event, "datasize"), "123456789012");
    weir_event_unref(event);
}

static void any_key_has_a_subject(void **state) {
    (void)state;
    char longest[WEIR_KEY_BYTES_MAX];
    memset(longest, 0xFF, sizeof longest);
    const struct {
        struct weir_str key;
        const char *subject; // NULL: three letters for each byte
    } rows[] = {{WEIR_STR("a\xff%"), "a%FF%25"}, {{longest, sizeof longest}, NULL}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_event *event =
            make(&(struct weir_keyvalue_change){.source = WEIR_STR("/s"),
                                                .key = rows[i].key,
                                                .revision = WEIR_STR("1"),
                                                .data = &(struct weir_str){"\0\xff", 2}});
        assert_str_equal(test_extension(event, "subjectencoding"), "percent");
        assert_int_equal(event->fields.data.value.kind, WEIR_PAYLOAD_BINARY);
        assert_str_equal(event->fields.datacontenttype.value, "application/octet-stream");
        if (rows[i].subject) {
            assert_str_equal(event->fields.subject.value, rows[i].subject);
        } else {
            assert_int_equal(event->fields.subject.value.size, 3 * sizeof longest);
        }
        weir_event_unref(event);
    }
}

static void keys_are_checked(void **state) {
    (void)state;
    struct weir_error err;
    char longest[WEIR_KEY_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    const struct weir_str wrong[] = {{"", 0}, {"a\0b", 3}, {longest, sizeof longest}};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(weir_keyvalue_check_key(wrong[i], &err), WEIR_INVALID);
        const struct weir_pattern pattern = {.text = wrong[i], .is_prefix = i > 0};
        assert_int_equal(weir_keyvalue_check_pattern(&pattern, &err), WEIR_INVALID);
    }
    const struct weir_str good = {longest, sizeof longest - 1};
    assert_int_equal(weir_keyvalue_check_key(good, &err), WEIR_OK);
    const struct weir_pattern all = {.is_prefix = true};
    assert_int_equal(weir_keyvalue_check_pattern(&all, &err), WEIR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_is_told_whole),       cmocka_unit_test(a_deletion_has_no_data),
        cmocka_unit_test(what_is_too_large_is_said), cmocka_unit_test(any_key_has_a_subject),
        cmocka_unit_test(keys_are_checked),
    };
    return cmocka_run_group_tests_name("keyvalue", tests, NULL, NULL);
}
