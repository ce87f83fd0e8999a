// SPDX-License-Identifier: Apache-2.0
//
// WIT as const tables: each type once, with its layout in a guest's memory (the canonical ABI)
// beside its layout as a plain C struct. Everything that moves values between the two walks these
// tables, and nothing else knows an offset. Here is what handlers are passed and return; what an
// interface has that a guest imports stands beside its functions (imports.h).
// tests/unit/guest/test_wit.c computes the layouts anew from wit/ by the canonical ABI's rules and
// compares.
//
// Source of the rules: the component model's CanonicalABI.md, sections "alignment", "element size",
// "loading" and "storing".
#ifndef WEIR_GUEST_WIT_H
#define WEIR_GUEST_WIT_H

#include "event/event.h"

#include <stddef.h>
#include <stdint.h>

#define WEIR_WIT_TYPES                   "weir:reactive/types@0.1.0"
#define WEIR_WIT_RESOURCES               "weir:reactive/resources@0.1.0"
#define WEIR_WIT_EVENTS                  "weir:reactive/events@0.1.0"
#define WEIR_WIT_EVENT_HANDLER           "weir:reactive/event-handler@0.1.0"
#define WEIR_WIT_EVENT_HANDLER_OR_REJECT "weir:reactive/event-handler-or-reject@0.1.0"

enum weir_wit_kind {
    WEIR_WIT_BOOL, // host: bool; numbers: the C types of their sizes
    WEIR_WIT_U8,
    WEIR_WIT_U16,
    WEIR_WIT_U32,
    WEIR_WIT_U64,
    WEIR_WIT_S64,
    WEIR_WIT_F64,     // within lists only: no function takes or answers one as a core value
    WEIR_WIT_ENUM,    // host: uint8_t, the case's number
    WEIR_WIT_STRING,  // host: struct weir_str
    WEIR_WIT_BYTES,   // list<u8>; host: struct weir_str
    WEIR_WIT_LIST,    // host: struct weir_attributes' shape, a pointer and a size_t
    WEIR_WIT_RECORD,  // host: a struct
    WEIR_WIT_TUPLE,   // likewise; its fields' names are weir's own
    WEIR_WIT_VARIANT, // host: a struct whose first byte is the case's number
    WEIR_WIT_OPTION,  // likewise; the cases are none and some
    WEIR_WIT_RESULT,  // likewise; ok and err
    WEIR_WIT_OWN,     // host: uint32_t, the handle
    WEIR_WIT_BORROW,  // host: uint32_t, the handle
};

struct weir_wit_type;

// A field of a record, or a case of a variant (whose type is NULL where the case carries nothing).
struct weir_wit_field {
    const char *name;
    const struct weir_wit_type *type;
    uint32_t guest_offset; // bytes from the start of the record or variant
    uint32_t host_offset;
};

struct weir_wit_type {
    enum weir_wit_kind kind;
    uint32_t guest_size, guest_align; // bytes
    uint32_t host_size;
    const struct weir_wit_field *fields; // of those with fields or cases
    uint32_t field_count;                // at most 256: a discriminant is one byte
    const struct weir_wit_type *element; // LIST
    uint32_t items_max;                  // LIST
    uint32_t resource;                   // OWN, BORROW: enum weir_resource_kind
};

// What handles stand for. By these numbers the engine tells the host's resources from each other,
// too.
enum weir_resource_kind {
    WEIR_RESOURCE_EVENTS = 1,
    WEIR_RESOURCE_BUCKET,
    WEIR_RESOURCE_CAS,
    WEIR_RESOURCE_CLIENT,
    WEIR_RESOURCE_MESSAGE,
    // WASI 0.2's, of the component lane
    WEIR_RESOURCE_POLLABLE,
    WEIR_RESOURCE_INPUT,
    WEIR_RESOURCE_OUTPUT,
    WEIR_RESOURCE_IO_ERROR,
    WEIR_RESOURCE_TERMINAL_INPUT,
    WEIR_RESOURCE_TERMINAL_OUTPUT,
};

// A function: parameters as the fields of a host struct.
struct weir_wit_function {
    const char *interface; // NULL: exported by the world itself
    const char *name;
    const struct weir_wit_field *params; // guest_offset is not used
    uint32_t param_count;
    uint32_t params_size;               // of the host struct
    const struct weir_wit_type *result; // NULL: none
};

enum {
    WEIR_WIT_FLAT_PARAMS_MAX =
        16, // more flat parameters than this go through memory (MAX_FLAT_PARAMS)
    WEIR_WIT_FLAT_RESULTS_MAX = 1, // (MAX_FLAT_RESULTS)
    WEIR_WIT_HOST_BYTES_MAX =
        256, // the largest host struct of an imported function's parameters or result
};

// The host's side of the WIT's types.

// The variant `error`; the numbers of the first statuses less one are the cases' numbers.
struct weir_wit_error {
    uint8_t kind;
    struct weir_str message;
};

// The variant `failure`.
enum { WEIR_WIT_FAILURE_RETRY = 0, WEIR_WIT_FAILURE_REJECT = 1 };
struct weir_wit_failure {
    uint8_t kind;
    struct weir_str message;
};

// result<option<event>, string>, and result<option<event>, failure>
struct weir_wit_handled {
    uint8_t is_err;
    struct {
        uint8_t is_some;
        struct weir_event_fields value;
    } ok;
    struct weir_str err;
    struct weir_wit_failure failure;
};

// result<_, string>
struct weir_wit_ran {
    uint8_t is_err;
    struct weir_str err;
};

extern const struct weir_wit_type weir_wit_event;               // host: struct weir_event_fields
extern const struct weir_wit_type weir_wit_handled;             // host: struct weir_wit_handled
extern const struct weir_wit_type weir_wit_handled_or_rejected; // the same; the error is `failure`
extern const struct weir_wit_type weir_wit_ran;                 // host: struct weir_wit_ran

// What many interfaces have.
extern const struct weir_wit_type weir_wit_bool, weir_wit_u8, weir_wit_u16, weir_wit_u32,
    weir_wit_u64, weir_wit_s64, weir_wit_f64, weir_wit_string, weir_wit_bytes;
extern const struct weir_wit_type weir_wit_payload;          // host: struct weir_payload
extern const struct weir_wit_type weir_wit_optional_payload; // host: struct weir_optional_payload
extern const struct weir_wit_type weir_wit_optional_string;  // host: struct weir_optional_str
extern const struct weir_wit_type weir_wit_attribute;        // host: struct weir_attribute
extern const struct weir_wit_type weir_wit_attributes;       // host: struct weir_attributes
extern const struct weir_wit_type weir_wit_error_variant;    // host: struct weir_wit_error

#endif
