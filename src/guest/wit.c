// SPDX-License-Identifier: Apache-2.0
//
// The tables of wit.h. To add a function: its host structs in wit.h, its types here, in the order
// of the WIT; the unit test says where an offset is wrong. The layouts are written out instead of
// being computed at start, so that they are constants to the compiler, there is nothing to
// initialise and nothing to change.
#include "guest/wit.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct weir_wit_type u8_type = {
    .kind = WEIR_WIT_U8, .guest_size = 1, .guest_align = 1, .host_size = sizeof(uint8_t)};
static const struct weir_wit_type u64_type = {
    .kind = WEIR_WIT_U64, .guest_size = 8, .guest_align = 8, .host_size = sizeof(uint64_t)};
static const struct weir_wit_type string_type = {.kind = WEIR_WIT_STRING,
                                                 .guest_size = 8,
                                                 .guest_align = 4,
                                                 .host_size = sizeof(struct weir_str)};
static const struct weir_wit_type bytes_type = {.kind = WEIR_WIT_BYTES,
                                                .guest_size = 8,
                                                .guest_align = 4,
                                                .host_size = sizeof(struct weir_str),
                                                .element = &u8_type};
static const struct weir_wit_type own_events_type = {
    .kind = WEIR_WIT_OWN, .guest_size = 4, .guest_align = 4, .host_size = sizeof(uint32_t)};
static const struct weir_wit_type borrow_events_type = {
    .kind = WEIR_WIT_BORROW, .guest_size = 4, .guest_align = 4, .host_size = sizeof(uint32_t)};

// interface types

static const struct weir_wit_field payload_cases[] = {
    {"text", &string_type, 4, offsetof(struct weir_payload, bytes)},
    {"binary", &bytes_type, 4, offsetof(struct weir_payload, bytes)},
};
static const struct weir_wit_type payload_type = {.kind = WEIR_WIT_VARIANT,
                                                  .guest_size = 12,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct weir_payload),
                                                  .fields = payload_cases,
                                                  .field_count = COUNT_OF(payload_cases)};

static const struct weir_wit_field optional_payload_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &payload_type, 4, offsetof(struct weir_optional_payload, value)},
};
static const struct weir_wit_type optional_payload_type = {
    .kind = WEIR_WIT_OPTION,
    .guest_size = 16,
    .guest_align = 4,
    .host_size = sizeof(struct weir_optional_payload),
    .fields = optional_payload_cases,
    .field_count = COUNT_OF(optional_payload_cases)};

static const struct weir_wit_field optional_string_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &string_type, 4, offsetof(struct weir_optional_str, value)},
};
static const struct weir_wit_type optional_string_type = {
    .kind = WEIR_WIT_OPTION,
    .guest_size = 12,
    .guest_align = 4,
    .host_size = sizeof(struct weir_optional_str),
    .fields = optional_string_cases,
    .field_count = COUNT_OF(optional_string_cases)};

static const struct weir_wit_field extension_fields[] = {
    {"name", &string_type, 0, offsetof(struct weir_attribute, name)},
    {"value", &string_type, 8, offsetof(struct weir_attribute, value)},
};
static const struct weir_wit_type extension_type = {.kind = WEIR_WIT_TUPLE,
                                                    .guest_size = 16,
                                                    .guest_align = 4,
                                                    .host_size = sizeof(struct weir_attribute),
                                                    .fields = extension_fields,
                                                    .field_count = COUNT_OF(extension_fields)};
static const struct weir_wit_type extensions_type = {.kind = WEIR_WIT_LIST,
                                                     .guest_size = 8,
                                                     .guest_align = 4,
                                                     .host_size = sizeof(struct weir_attributes),
                                                     .element = &extension_type};

#define EVENT_FIELD(name, type, guest_offset) \
    {#name, &type, guest_offset, offsetof(struct weir_event_fields, name)}
static const struct weir_wit_field event_fields[] = {
    EVENT_FIELD(specversion, string_type, 0),
    EVENT_FIELD(ty, string_type, 8),
    EVENT_FIELD(source, string_type, 16),
    EVENT_FIELD(id, string_type, 24),
    EVENT_FIELD(data, optional_payload_type, 32),
    EVENT_FIELD(datacontenttype, optional_string_type, 48),
    EVENT_FIELD(dataschema, optional_string_type, 60),
    EVENT_FIELD(subject, optional_string_type, 72),
    EVENT_FIELD(time, optional_string_type, 84),
    EVENT_FIELD(extensions, extensions_type, 96),
};
const struct weir_wit_type weir_wit_event = {.kind = WEIR_WIT_RECORD,
                                             .guest_size = 104,
                                             .guest_align = 4,
                                             .host_size = sizeof(struct weir_event_fields),
                                             .fields = event_fields,
                                             .field_count = COUNT_OF(event_fields)};

static const struct weir_wit_field observable_fields[] = {
    {"rd", &string_type, 0, offsetof(struct weir_wit_observable, rd)},
    {"key", &string_type, 8, offsetof(struct weir_wit_observable, key)},
};
static const struct weir_wit_type observable_type = {.kind = WEIR_WIT_RECORD,
                                                     .guest_size = 16,
                                                     .guest_align = 4,
                                                     .host_size =
                                                         sizeof(struct weir_wit_observable),
                                                     .fields = observable_fields,
                                                     .field_count = COUNT_OF(observable_fields)};

#define ERROR_CASE(name) {name, &string_type, 4, offsetof(struct weir_wit_error, message)}
static const struct weir_wit_field error_cases[] = {
    [WEIR_NOT_FOUND - 1] = ERROR_CASE("not-found"),
    [WEIR_DENIED - 1] = ERROR_CASE("denied"),
    [WEIR_INVALID - 1] = ERROR_CASE("invalid"),
    [WEIR_UNSUPPORTED - 1] = ERROR_CASE("unsupported"),
    [WEIR_UNAVAILABLE - 1] = ERROR_CASE("unavailable"),
    [WEIR_LIMIT - 1] = ERROR_CASE("limit"),
    [WEIR_OTHER - 1] = ERROR_CASE("other"),
};
static const struct weir_wit_type error_type = {.kind = WEIR_WIT_VARIANT,
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
    {"err", &string_type, 4, offsetof(struct weir_wit_handled, err)},
};
const struct weir_wit_type weir_wit_handled = {.kind = WEIR_WIT_RESULT,
                                               .guest_size = 112,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct weir_wit_handled),
                                               .fields = handled_cases,
                                               .field_count = COUNT_OF(handled_cases)};

// interface event-handler-or-reject

#define FAILURE_CASE(name) {name, &string_type, 4, offsetof(struct weir_wit_failure, message)}
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
    {"err", &string_type, 4, offsetof(struct weir_wit_ran, err)},
};
const struct weir_wit_type weir_wit_ran = {.kind = WEIR_WIT_RESULT,
                                           .guest_size = 12,
                                           .guest_align = 4,
                                           .host_size = sizeof(struct weir_wit_ran),
                                           .fields = ran_cases,
                                           .field_count = COUNT_OF(ran_cases)};

// interface resources and interface events

static const struct weir_wit_field opened_cases[] = {
    {"ok", &string_type, 4, offsetof(struct weir_wit_opened, ok)},
    {"err", &error_type, 4, offsetof(struct weir_wit_opened, err)},
};
static const struct weir_wit_type opened_type = {.kind = WEIR_WIT_RESULT,
                                                 .guest_size = 16,
                                                 .guest_align = 4,
                                                 .host_size = sizeof(struct weir_wit_opened),
                                                 .fields = opened_cases,
                                                 .field_count = COUNT_OF(opened_cases)};

static const struct weir_wit_field watched_cases[] = {
    {"ok", &observable_type, 4, offsetof(struct weir_wit_watched, ok)},
    {"err", &error_type, 4, offsetof(struct weir_wit_watched, err)},
};
static const struct weir_wit_type watched_type = {.kind = WEIR_WIT_RESULT,
                                                  .guest_size = 20,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct weir_wit_watched),
                                                  .fields = watched_cases,
                                                  .field_count = COUNT_OF(watched_cases)};

static const struct weir_wit_field set_cases[] = {
    {"ok", &own_events_type, 4, offsetof(struct weir_wit_set, ok)},
    {"err", &error_type, 4, offsetof(struct weir_wit_set, err)},
};
static const struct weir_wit_type set_type = {.kind = WEIR_WIT_RESULT,
                                              .guest_size = 16,
                                              .guest_align = 4,
                                              .host_size = sizeof(struct weir_wit_set),
                                              .fields = set_cases,
                                              .field_count = COUNT_OF(set_cases)};

static const struct weir_wit_field done_cases[] = {
    {"ok", NULL, 4, 0},
    {"err", &error_type, 4, offsetof(struct weir_wit_done, err)},
};
static const struct weir_wit_type done_type = {.kind = WEIR_WIT_RESULT,
                                               .guest_size = 16,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct weir_wit_done),
                                               .fields = done_cases,
                                               .field_count = COUNT_OF(done_cases)};

static const struct weir_wit_field open_params[] = {
    {"name", &string_type, 0, offsetof(struct weir_wit_open_params, name)},
};
static const struct weir_wit_field watch_params[] = {
    {"rd", &string_type, 0, offsetof(struct weir_wit_watch_params, rd)},
    {"key", &string_type, 0, offsetof(struct weir_wit_watch_params, key)},
};
static const struct weir_wit_field listen_params[] = {
    {"self", &borrow_events_type, 0, offsetof(struct weir_wit_listen_params, self)},
    {"ob", &observable_type, 0, offsetof(struct weir_wit_listen_params, ob)},
};
static const struct weir_wit_field listen_to_params[] = {
    {"self", &borrow_events_type, 0, offsetof(struct weir_wit_listen_to_params, self)},
    {"ob", &observable_type, 0, offsetof(struct weir_wit_listen_to_params, ob)},
    {"handler", &string_type, 0, offsetof(struct weir_wit_listen_to_params, handler)},
};
static const struct weir_wit_field exec_params[] = {
    {"self", &borrow_events_type, 0, offsetof(struct weir_wit_exec_params, self)},
    {"duration", &u64_type, 0, offsetof(struct weir_wit_exec_params, duration_s)},
};

const struct weir_wit_function weir_wit_imports[WEIR_IMPORT_COUNT] = {
    [WEIR_IMPORT_OPEN] = {.interface = WEIR_WIT_RESOURCES,
                          .name = "open",
                          .params = open_params,
                          .param_count = COUNT_OF(open_params),
                          .params_size = sizeof(struct weir_wit_open_params),
                          .result = &opened_type},
    [WEIR_IMPORT_WATCH] = {.interface = WEIR_WIT_RESOURCES,
                           .name = "watch",
                           .params = watch_params,
                           .param_count = COUNT_OF(watch_params),
                           .params_size = sizeof(struct weir_wit_watch_params),
                           .result = &watched_type},
    [WEIR_IMPORT_EVENTS_GET] = {.interface = WEIR_WIT_EVENTS,
                                .name = "[static]events.get",
                                .params_size = sizeof(struct weir_wit_get_params),
                                .result = &set_type},
    [WEIR_IMPORT_EVENTS_LISTEN] = {.interface = WEIR_WIT_EVENTS,
                                   .name = "[method]events.listen",
                                   .params = listen_params,
                                   .param_count = COUNT_OF(listen_params),
                                   .params_size = sizeof(struct weir_wit_listen_params),
                                   .result = &set_type},
    [WEIR_IMPORT_EVENTS_LISTEN_TO] = {.interface = WEIR_WIT_EVENTS,
                                      .name = "[method]events.listen-to",
                                      .params = listen_to_params,
                                      .param_count = COUNT_OF(listen_to_params),
                                      .params_size = sizeof(struct weir_wit_listen_to_params),
                                      .result = &set_type},
    [WEIR_IMPORT_EVENTS_EXEC] = {.interface = WEIR_WIT_EVENTS,
                                 .name = "[method]events.exec",
                                 .params = exec_params,
                                 .param_count = COUNT_OF(exec_params),
                                 .params_size = sizeof(struct weir_wit_exec_params),
                                 .result = &done_type},
};
