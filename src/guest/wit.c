// SPDX-License-Identifier: Apache-2.0
//
// The tables of wit.h. The layouts are written out instead of being computed at start, so that they
// are constants to the compiler, there is nothing to initialise and nothing to change; the unit
// test says where an offset is wrong.
#include "guest/wit.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// A type of the canonical ABI's own, which has the same layout on the host.
#define SCALAR(wit_kind, c_type)    \
    {.kind = (wit_kind),            \
     .guest_size = sizeof(c_type),  \
     .guest_align = sizeof(c_type), \
     .host_size = sizeof(c_type)}
const struct weir_wit_type weir_wit_bool = SCALAR(WEIR_WIT_BOOL, bool);
const struct weir_wit_type weir_wit_u8 = SCALAR(WEIR_WIT_U8, uint8_t);
const struct weir_wit_type weir_wit_u16 = SCALAR(WEIR_WIT_U16, uint16_t);
const struct weir_wit_type weir_wit_u32 = SCALAR(WEIR_WIT_U32, uint32_t);
const struct weir_wit_type weir_wit_u64 = SCALAR(WEIR_WIT_U64, uint64_t);
const struct weir_wit_type weir_wit_s64 = SCALAR(WEIR_WIT_S64, int64_t);
const struct weir_wit_type weir_wit_f64 = SCALAR(WEIR_WIT_F64, double);
const struct weir_wit_type weir_wit_string = {.kind = WEIR_WIT_STRING,
                                              .guest_size = 8,
                                              .guest_align = 4,
                                              .host_size = sizeof(struct weir_str)};
const struct weir_wit_type weir_wit_bytes = {.kind = WEIR_WIT_BYTES,
                                             .guest_size = 8,
                                             .guest_align = 4,
                                             .host_size = sizeof(struct weir_str),
                                             .element = &weir_wit_u8};

// interface types

static const struct weir_wit_field payload_cases[] = {
    {"text", &weir_wit_string, 4, offsetof(struct weir_payload, bytes)},
    {"binary", &weir_wit_bytes, 4, offsetof(struct weir_payload, bytes)},
};
const struct weir_wit_type weir_wit_payload = {.kind = WEIR_WIT_VARIANT,
                                               .guest_size = 12,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct weir_payload),
                                               .fields = payload_cases,
                                               .field_count = COUNT_OF(payload_cases)};

static const struct weir_wit_field optional_payload_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &weir_wit_payload, 4, offsetof(struct weir_optional_payload, value)},
};
const struct weir_wit_type weir_wit_optional_payload = {
    .kind = WEIR_WIT_OPTION,
    .guest_size = 16,
    .guest_align = 4,
    .host_size = sizeof(struct weir_optional_payload),
    .fields = optional_payload_cases,
    .field_count = COUNT_OF(optional_payload_cases)};

static const struct weir_wit_field optional_string_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &weir_wit_string, 4, offsetof(struct weir_optional_str, value)},
};
const struct weir_wit_type weir_wit_optional_string = {
    .kind = WEIR_WIT_OPTION,
    .guest_size = 12,
    .guest_align = 4,
    .host_size = sizeof(struct weir_optional_str),
    .fields = optional_string_cases,
    .field_count = COUNT_OF(optional_string_cases)};

static const struct weir_wit_field extension_fields[] = {
    {"name", &weir_wit_string, 0, offsetof(struct weir_attribute, name)},
    {"value", &weir_wit_string, 8, offsetof(struct weir_attribute, value)},
};
const struct weir_wit_type weir_wit_attribute = {.kind = WEIR_WIT_TUPLE,
                                                 .guest_size = 16,
                                                 .guest_align = 4,
                                                 .host_size = sizeof(struct weir_attribute),
                                                 .fields = extension_fields,
                                                 .field_count = COUNT_OF(extension_fields)};
const struct weir_wit_type weir_wit_attributes = {.kind = WEIR_WIT_LIST,
                                                  .guest_size = 8,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct weir_attributes),
                                                  .items_max = WEIR_EXTENSIONS_MAX,
                                                  .element = &weir_wit_attribute};

#define EVENT_FIELD(name, type, guest_offset) \
    {#name, &type, guest_offset, offsetof(struct weir_event_fields, name)}
static const struct weir_wit_field event_fields[] = {
    EVENT_FIELD(specversion, weir_wit_string, 0),
    EVENT_FIELD(ty, weir_wit_string, 8),
    EVENT_FIELD(source, weir_wit_string, 16),
    EVENT_FIELD(id, weir_wit_string, 24),
    EVENT_FIELD(data, weir_wit_optional_payload, 32),
    EVENT_FIELD(datacontenttype, weir_wit_optional_string, 48),
    EVENT_FIELD(dataschema, weir_wit_optional_string, 60),
    EVENT_FIELD(subject, weir_wit_optional_string, 72),
    EVENT_FIELD(time, weir_wit_optional_string, 84),
    EVENT_FIELD(extensions, weir_wit_attributes, 96),
};
const struct weir_wit_type weir_wit_event = {.kind = WEIR_WIT_RECORD,
                                             .guest_size = 104,
                                             .guest_align = 4,
                                             .host_size = sizeof(struct weir_event_fields),
                                             .fields = event_fields,
                                             .field_count = COUNT_OF(event_fields)};

#define ERROR_CASE(name) {name, &weir_wit_string, 4, offsetof(struct weir_wit_error, message)}
static const struct weir_wit_field error_cases[] = {
    [WEIR_NOT_FOUND - 1] = ERROR_CASE("not-found"),
    [WEIR_DENIED - 1] = ERROR_CASE("denied"),
    [WEIR_INVALID - 1] = ERROR_CASE("invalid"),
    [WEIR_UNSUPPORTED - 1] = ERROR_CASE("unsupported"),
    [WEIR_UNAVAILABLE - 1] = ERROR_CASE("unavailable"),
    [WEIR_LIMIT - 1] = ERROR_CASE("limit"),
    [WEIR_OTHER - 1] = ERROR_CASE("other"),
};
const struct weir_wit_type weir_wit_error_variant = {.kind = WEIR_WIT_VARIANT,
                                                     .guest_size = 12,
                                                     .guest_align = 4,
                                                     .host_size = sizeof(struct weir_wit_error),
                                                     .fields = error_cases,
                                                     .field_count = COUNT_OF(error_cases)};

// interface event-handler, and the world's run

static const struct weir_wit_field optional_event_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &weir_wit_event, 4,
     offsetof(struct weir_wit_handled, ok.value) - offsetof(struct weir_wit_handled, ok)},
};
static const struct weir_wit_type optional_event_type = {
    .kind = WEIR_WIT_OPTION,
    .guest_size = 108,
    .guest_align = 4,
    .host_size = sizeof(((struct weir_wit_handled *)0)->ok),
    .fields = optional_event_cases,
    .field_count = COUNT_OF(optional_event_cases)};

static const struct weir_wit_field handled_cases[] = {
    {"ok", &optional_event_type, 4, offsetof(struct weir_wit_handled, ok)},
    {"err", &weir_wit_string, 4, offsetof(struct weir_wit_handled, err)},
};
const struct weir_wit_type weir_wit_handled = {.kind = WEIR_WIT_RESULT,
                                               .guest_size = 112,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct weir_wit_handled),
                                               .fields = handled_cases,
                                               .field_count = COUNT_OF(handled_cases)};

// interface event-handler-or-reject

#define FAILURE_CASE(name) {name, &weir_wit_string, 4, offsetof(struct weir_wit_failure, message)}
static const struct weir_wit_field failure_cases[] = {
    [WEIR_WIT_FAILURE_RETRY] = FAILURE_CASE("retry"),
    [WEIR_WIT_FAILURE_REJECT] = FAILURE_CASE("reject"),
};
static const struct weir_wit_type failure_type = {.kind = WEIR_WIT_VARIANT,
                                                  .guest_size = 12,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct weir_wit_failure),
                                                  .fields = failure_cases,
                                                  .field_count = COUNT_OF(failure_cases)};

static const struct weir_wit_field handled_or_rejected_cases[] = {
    {"ok", &optional_event_type, 4, offsetof(struct weir_wit_handled, ok)},
    {"err", &failure_type, 4, offsetof(struct weir_wit_handled, failure)},
};
const struct weir_wit_type weir_wit_handled_or_rejected = {
    .kind = WEIR_WIT_RESULT,
    .guest_size = 112,
    .guest_align = 4,
    .host_size = sizeof(struct weir_wit_handled),
    .fields = handled_or_rejected_cases,
    .field_count = COUNT_OF(handled_or_rejected_cases)};

static const struct weir_wit_field ran_cases[] = {
    {"ok", NULL, 4, 0},
    {"err", &weir_wit_string, 4, offsetof(struct weir_wit_ran, err)},
};
const struct weir_wit_type weir_wit_ran = {.kind = WEIR_WIT_RESULT,
                                           .guest_size = 12,
                                           .guest_align = 4,
                                           .host_size = sizeof(struct weir_wit_ran),
                                           .fields = ran_cases,
                                           .field_count = COUNT_OF(ran_cases)};
