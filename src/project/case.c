// SPDX-License-Identifier: Apache-2.0
//
// The event that a test gives to a handler; see case.h.
#include "project/case.h"

// Of every event that does not say its own, so that a test gives the same today and tomorrow.
static const char default_time[] = "2026-01-01T00:00:00Z";

enum { SOURCE_BYTES = 256, ID_BYTES = 64 };

static struct weir_str chosen(const struct weir_test_event *written, enum weir_test_attribute which,
                              struct weir_str fallback) {
    return written->attributes[which].is_some ? written->attributes[which].value : fallback;
}

// As the provider of directories tells a value.
static struct weir_payload payload_of(const struct weir_test_event *written,
                                      struct weir_str *ret_content_type) {
    struct weir_payload payload = weir_payload_of(written->data.bytes);
    *ret_content_type = payload.kind == WEIR_PAYLOAD_TEXT ? WEIR_STR("text/plain")
                                                          : WEIR_STR("application/octet-stream");
    return payload;
}

weir_status weir_test_event_make(const struct weir_test_event *written, const char *watched,
                                 size_t number, struct weir_event **ret_event,
                                 struct weir_error *err) {
    const struct weir_optional_str *attributes = written->attributes;
    char source[SOURCE_BYTES], id[ID_BYTES];
    struct weir_str content_type = {0};
    bool has_data = written->data.is_there;
    snprintf(source, sizeof source, "/%s", watched);
    snprintf(id, sizeof id, "test-%zu", number);
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = chosen(written, WEIR_TEST_TYPE,
                     has_data ? WEIR_STR(WEIR_TYPE_KEYVALUE_SET)
                              : WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED)),
        .source = chosen(written, WEIR_TEST_SOURCE, weir_str_of(source)),
        .id = chosen(written, WEIR_TEST_ID, weir_str_of(id)),
        .data = {.is_some = has_data,
                 .value = has_data ? payload_of(written, &content_type) : (struct weir_payload){0}},
        .datacontenttype = {.is_some = has_data},
        .dataschema = attributes[WEIR_TEST_DATASCHEMA],
        .subject = attributes[WEIR_TEST_SUBJECT],
        .time = {.is_some = true,
                 .value = chosen(written, WEIR_TEST_TIME, weir_str_of(default_time))},
        .extensions = {.items = written->extensions, .count = written->extension_count},
    };
    fields.datacontenttype.value = content_type;
    if (attributes[WEIR_TEST_DATACONTENTTYPE].is_some) {
        fields.datacontenttype = attributes[WEIR_TEST_DATACONTENTTYPE];
    }
    return weir_event_new_checked(
        &fields, fields.subject.is_some ? fields.subject.value : (struct weir_str){0}, ret_event,
        err);
}
