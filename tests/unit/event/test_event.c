// SPDX-License-Identifier: Apache-2.0
//
// The event owns all that it shows: what it was made of is overwritten and freed before it is
// looked at.
#include "event/event.h"
#include "unit/test.h"

#include <pthread.h>

// Fields whose texts all stand in one block, which the test then frees.
struct source {
    char *block;
    size_t used;
};
enum { BLOCK_BYTES = 1024 };

static struct weir_str text_in(struct source *source, const char *text) {
    struct weir_str view = {.data = source->block + source->used, .size = strlen(text)};
    assert_true(source->used + view.size <= BLOCK_BYTES);
    memcpy(source->block + source->used, text, view.size);
    source->used += view.size;
    return view;
}

static void an_event_is_a_copy_of_all_its_fields(void **state) {
    (void)state;
    struct source source = {.block = malloc(BLOCK_BYTES)};
    assert_non_null(source.block);
    struct weir_attribute *extensions = calloc(2, sizeof *extensions);
    assert_non_null(extensions);
    extensions[0].name = text_in(&source, "revision");
    extensions[0].value = text_in(&source, "17");
    extensions[1].name = text_in(&source, "empty");
    struct weir_event_fields fields = {
        .specversion = text_in(&source, "1.0"),
        .ty = text_in(&source, "dev.weir.keyvalue.set"),
        .source = text_in(&source, "store"),
        .id = text_in(&source, "42"),
        .data = {true, {WEIR_PAYLOAD_BINARY, text_in(&source, "\xff\x01")}},
        .datacontenttype = {true, text_in(&source, "text/plain")},
        .dataschema = {.is_some = false},
        .subject = {true, text_in(&source, "orders/1")},
        .time = {true, text_in(&source, "2026-01-31T12:34:56Z")},
        .extensions = {.items = extensions, .count = 2},
    };
    struct weir_event *event;
    assert_int_equal(weir_event_new(&fields, text_in(&source, "orders/1"), &event, NULL), WEIR_OK);
    memset(source.block, 0, BLOCK_BYTES);
    memset(extensions, 0, 2 * sizeof *extensions);
    free(source.block);
    free(extensions);
    memset(&fields, 0, sizeof fields);

    const struct weir_event_fields *copy = &event->fields;
    assert_str_equal(event->key, "orders/1");
    assert_str_equal(copy->specversion, "1.0");
    assert_str_equal(copy->ty, "dev.weir.keyvalue.set");
    assert_str_equal(copy->source, "store");
    assert_str_equal(copy->id, "42");
    assert_true(copy->data.is_some);
    assert_int_equal(copy->data.value.kind, WEIR_PAYLOAD_BINARY);
    assert_str_equal(copy->data.value.bytes, "\xff\x01");
    assert_true(copy->datacontenttype.is_some);
    assert_str_equal(copy->datacontenttype.value, "text/plain");
    assert_false(copy->dataschema.is_some);
    assert_true(copy->subject.is_some);
    assert_str_equal(copy->subject.value, "orders/1");
    assert_str_equal(copy->time.value, "2026-01-31T12:34:56Z");
    assert_int_equal(copy->extensions.count, 2);
    assert_str_equal(copy->extensions.items[0].name, "revision");
    assert_str_equal(copy->extensions.items[0].value, "17");
    assert_str_equal(copy->extensions.items[1].name, "empty");
    assert_str_equal(copy->extensions.items[1].value, "");
    weir_event_unref(event);
}

static void an_event_of_nothing_is_an_event(void **state) {
    (void)state;
    struct weir_event *event;
    const struct weir_event_fields none = {0};
    assert_int_equal(weir_event_new(&none, (struct weir_str){0}, &event, NULL), WEIR_OK);
    assert_int_equal(event->key.size, 0);
    assert_non_null(event->key.data); // views of an event can be handed to memcpy and the like
    assert_non_null(event->fields.id.data);
    assert_int_equal(event->fields.extensions.count, 0);
    weir_event_unref(event);
    weir_event_unref(NULL);
}

static void a_key_is_any_bytes(void **state) {
    (void)state;
    struct weir_event *event;
    const struct weir_event_fields none = {0};
    assert_int_equal(weir_event_new(&none, WEIR_STR("a\0\xff"), &event, NULL), WEIR_OK);
    assert_int_equal(event->key.size, 3);
    assert_memory_equal(event->key.data, "a\0\xff", 3);
    weir_event_unref(event);
}

static void the_size_counts_every_byte_it_takes(void **state) {
    (void)state;
    struct weir_event *small, *large;
    struct weir_event_fields fields = {.id = WEIR_STR("1")};
    assert_int_equal(weir_event_new(&fields, WEIR_STR("k"), &small, NULL), WEIR_OK);
    char body[1000] = "";
    fields.data = (struct weir_optional_payload){true, {0, {body, sizeof body}}};
    assert_int_equal(weir_event_new(&fields, WEIR_STR("k2"), &large, NULL), WEIR_OK);
    assert_true(small->size_bytes >= sizeof *small + 2);
    assert_int_equal(large->size_bytes, small->size_bytes + sizeof body + 1);
    weir_event_unref(small);
    weir_event_unref(large);
}

static void extensions_have_a_maximum(void **state) {
    (void)state;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX + 1] = {0};
    struct weir_event_fields fields = {.extensions = {extensions, WEIR_EXTENSIONS_MAX}};
    struct weir_event *event;
    struct weir_error err;
    assert_int_equal(weir_event_new(&fields, (struct weir_str){0}, &event, &err), WEIR_OK);
    weir_event_unref(event);
    fields.extensions.count++;
    assert_int_equal(weir_event_new(&fields, (struct weir_str){0}, &event, &err), WEIR_LIMIT);
    assert_null(event);
    assert_message_has(&err, "65 extension attributes");
}

static void sizes_that_wrap_are_refused(void **state) {
    (void)state;
    char byte = 0;
    struct weir_event_fields fields = {
        .ty = {&byte, SIZE_MAX / 2}, .source = {&byte, SIZE_MAX / 2}, .id = {&byte, 100}};
    struct weir_event *event;
    struct weir_error err;
    assert_int_equal(weir_event_new(&fields, (struct weir_str){0}, &event, &err), WEIR_LIMIT);
    assert_null(event);
}

// Fields with every attribute given, and where each of its texts is.
static struct weir_event_fields every_attribute(struct weir_attribute *extension) {
    *extension = (struct weir_attribute){WEIR_STR("revision"), WEIR_STR("17")};
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = WEIR_STR("/test"),
        .id = WEIR_STR("1"),
        .data = {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("gr\u00fcn")}},
        .datacontenttype = {true, WEIR_STR("text/plain")},
        .dataschema = {true, WEIR_STR("urn:x")},
        .subject = {true, WEIR_STR("k")},
        .time = {true, WEIR_STR("2026-01-31T12:34:56Z")},
        .extensions = {extension, 1},
    };
}

static void a_checked_event_has_no_text_that_is_not_utf8(void **state) {
    (void)state;
    struct weir_attribute extension;
    struct weir_event_fields fields = every_attribute(&extension);
    const struct {
        struct weir_str *text;
        const char *part;
    } rows[] = {
        {&fields.specversion, "specversion: the text is not UTF-8"},
        {&fields.ty, "type: "},
        {&fields.source, "source: "},
        {&fields.id, "id: "},
        {&fields.data.value.bytes, "data: "},
        {&fields.datacontenttype.value, "datacontenttype: "},
        {&fields.dataschema.value, "dataschema: "},
        {&fields.subject.value, "subject: "},
        {&fields.time.value, "time: "},
        {&extension.name, "extensions: "},
        {&extension.value, "extensions: "},
    };
    struct weir_event *event;
    struct weir_error err;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_str sound = *rows[i].text;
        *rows[i].text = WEIR_STR("\xc3");
        assert_int_equal(weir_event_new_checked(&fields, WEIR_STR("k"), &event, &err),
                         WEIR_INVALID);
        assert_null(event);
        assert_message_has(&err, rows[i].part);
        *rows[i].text = sound;
    }
    assert_int_equal(weir_event_new_checked(&fields, WEIR_STR("\xff"), &event, &err), WEIR_OK);
    assert_str_equal(event->fields.data.value.bytes, "gr\u00fcn");
    weir_event_unref(event);
}

// What is not text, or not given, is not looked at.
static void a_checked_event_may_have_any_bytes_elsewhere(void **state) {
    (void)state;
    struct weir_attribute extension;
    struct weir_event_fields fields = every_attribute(&extension);
    fields.data.value = (struct weir_payload){WEIR_PAYLOAD_BINARY, WEIR_STR("\xff")};
    fields.subject = (struct weir_optional_str){false, WEIR_STR("\xff")};
    struct weir_event *event;
    assert_int_equal(weir_event_new_checked(&fields, WEIR_STR("\xff"), &event, NULL), WEIR_OK);
    assert_str_equal(event->fields.data.value.bytes, "\xff");
    weir_event_unref(event);
}

static void a_checked_event_is_a_cloudevent(void **state) {
    (void)state;
    struct weir_attribute extension;
    struct weir_event_fields fields = every_attribute(&extension);
    struct weir_event *event;
    struct weir_error err;
    fields.specversion = WEIR_STR("0.3");
    assert_int_equal(weir_event_new_checked(&fields, WEIR_STR("k"), &event, &err), WEIR_INVALID);
    assert_null(event);
    assert_message_has(&err, "specversion is \"0.3\"");
    fields.extensions.count = WEIR_EXTENSIONS_MAX + 1;
    assert_int_equal(weir_event_new_checked(&fields, WEIR_STR("k"), &event, &err), WEIR_LIMIT);
    assert_null(event);
}

enum { THREADS = 4, ROUNDS = 2000, STRIDE = 64 };

struct reader {
    struct weir_event *event; // one reference is its own
    size_t number;
    pthread_t thread;
};

// Each thread reads a part of its own, so that a race checker still knows of it when the event is
// freed elsewhere.
static void *take_and_give_back(void *argument) {
    struct reader *reader = argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct weir_event *mine = weir_event_ref(reader->event);
        REQUIRE(mine == reader->event);
        weir_event_unref(mine);
    }
    REQUIRE(reader->event->fields.data.value.bytes.data[reader->number * STRIDE] == 'x');
    weir_event_unref(reader->event);
    return NULL;
}

static void threads_share_an_event(void **state) {
    (void)state;
    char body[THREADS * STRIDE];
    memset(body, 'x', sizeof body);
    const struct weir_event_fields fields = {.data = {true, {0, {body, sizeof body}}}};
    struct weir_event *event;
    assert_int_equal(weir_event_new(&fields, WEIR_STR("k"), &event, NULL), WEIR_OK);
    struct reader readers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.event = weir_event_ref(event), .number = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, take_and_give_back, &readers[i]),
                         0);
    }
    weir_event_unref(
        event); // whichever thread is the last frees it; a leak checker sees if none does
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(readers[i].thread, NULL);
    }
}

static void a_payload_is_text_where_it_is_utf8(void **state) {
    (void)state;
    assert_int_equal(weir_payload_of(WEIR_STR("gr\u00fcn")).kind, WEIR_PAYLOAD_TEXT);
    assert_int_equal(weir_payload_of((struct weir_str){0}).kind, WEIR_PAYLOAD_TEXT);
    assert_int_equal(weir_payload_of(WEIR_STR("a\0b")).kind, WEIR_PAYLOAD_TEXT);
    struct weir_payload binary = weir_payload_of(WEIR_STR("gr\xfcn"));
    assert_int_equal(binary.kind, WEIR_PAYLOAD_BINARY);
    assert_str_equal(binary.bytes, "gr\xfcn");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_a_copy_of_all_its_fields),
        cmocka_unit_test(an_event_of_nothing_is_an_event),
        cmocka_unit_test(a_key_is_any_bytes),
        cmocka_unit_test(the_size_counts_every_byte_it_takes),
        cmocka_unit_test(extensions_have_a_maximum),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(a_checked_event_has_no_text_that_is_not_utf8),
        cmocka_unit_test(a_checked_event_may_have_any_bytes_elsewhere),
        cmocka_unit_test(a_checked_event_is_a_cloudevent),
        cmocka_unit_test(threads_share_an_event),
        cmocka_unit_test(a_payload_is_text_where_it_is_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
