// SPDX-License-Identifier: Apache-2.0
//
// What weir gives to its guests: an interface is a const table of functions and of the kinds of
// resources that they hand out. A function is written once, on C structs; both lanes find their way
// to it through the tables. One file for each package: import_reactive.c and its like. Private to
// this room.
#ifndef WEIR_GUEST_IMPORTS_H
#define WEIR_GUEST_IMPORTS_H

#include "guest/instance.h"
#include "guest/wit.h"

// A guest's call of such a function, while it lasts.
struct weir_import_call {
    struct weir_instance *instance;
    struct weir_import_block *blocks; // what the result points to
};

// Memory that lives as long as the call, as many items of that size; NULL with err.
void *weir_import_room(struct weir_import_call *call, size_t count, size_t size,
                       struct weir_error *err);
// Has what the result points to freed behind the call; frees it at once where that cannot be.
weir_status weir_import_defer(struct weir_import_call *call, void (*free_held)(void *held),
                              void *held, struct weir_error *err);
// The same of memory of malloc.
weir_status weir_import_adopt(struct weir_import_call *call, void *memory, struct weir_error *err);

// params and result are the host's structs; the result is all zero before. Any status but WEIR_OK
// traps the guest.
typedef weir_status weir_import_function(struct weir_import_call *call, const void *params,
                                         void *result, struct weir_error *err);

struct weir_import {
    struct weir_wit_function wit; // its `interface` is that of the interface
    weir_import_function *function;
};

struct weir_import_resource {
    const char *name; // in the WIT
    enum weir_resource_kind kind;
    // The last handle of a thing is gone; NULL: there is nothing to do.
    void (*drop)(struct weir_instance *instance, void *thing);
};

struct weir_import_interface {
    const char *name; // "weir:reactive/events@0.1.0"
    const struct weir_import *functions;
    size_t function_count;
    const struct weir_import_resource *resources;
    size_t resource_count;
};

// What there is, for messages.
#define WEIR_IMPORTS_GIVEN                                                    \
    WEIR_WIT_RESOURCES ", " WEIR_WIT_EVENTS ", wasi:keyvalue@0.2.0-draft2, "  \
                       "wasi:messaging@0.2.0-draft, wasi:config@0.2.0-rc.1, " \
                       "wasi:logging@0.1.0-draft, weir:http@0.1.0, weir:sql@0.1.0"

// All of them, ended by NULL.
extern const struct weir_import_interface *const weir_import_interfaces[];

extern const struct weir_import_interface weir_import_resources, weir_import_events,
    weir_import_types, weir_import_keyvalue_store, weir_import_keyvalue_atomics,
    weir_import_keyvalue_batch, weir_import_messaging_types, weir_import_messaging_producer,
    weir_import_http_client, weir_import_sql, weir_import_config_store, weir_import_logging,
    weir_import_logging_unversioned;

// For errors that the guest is told in words: whether it is one that it may be told, and not one
// that traps it.
static inline bool weir_import_is_told(weir_status status) {
    return status != WEIR_OK && status <= WEIR_OTHER;
}

// Keeps memory for the guest beyond a call: counts the bytes against bounds.memory. WEIR_LIMIT.
weir_status weir_import_hold(struct weir_instance *instance, size_t bytes, struct weir_error *err);
void weir_import_release(struct weir_instance *instance, size_t bytes);

// The resource numbers of struct weir_guest_access as things of handles.
static inline void *weir_import_pack(uint32_t number) {
    return (void *)(uintptr_t)number;
}
static inline uint32_t weir_import_unpack(void *thing) {
    return (uint32_t)(uintptr_t)thing;
}

// The guest's access, or WEIR_UNSUPPORTED where it has none.
weir_status weir_import_access(const struct weir_instance *instance,
                               const struct weir_guest_access **ret_access, void **ret_context,
                               struct weir_error *err);

// ---- what standard handlers are passed and answer

// result<_, error> of wasi:messaging.
enum {
    WEIR_MESSAGING_TIMEOUT,
    WEIR_MESSAGING_CONNECTION,
    WEIR_MESSAGING_PERMISSION_DENIED,
    WEIR_MESSAGING_OTHER,
};
struct weir_messaging_error {
    uint8_t kind;
    struct weir_str text; // of all but WEIR_MESSAGING_TIMEOUT
};
struct weir_messaging_done {
    uint8_t is_err;
    struct weir_messaging_error err;
};
extern const struct weir_wit_type weir_messaging_done_type;   // struct weir_messaging_done
extern const struct weir_wit_type weir_messaging_own_message; // uint32_t
extern const struct weir_wit_type weir_keyvalue_own_bucket;   // uint32_t

// A handle for an event as a message.
weir_status weir_messaging_receive(struct weir_instance *instance,
                                   const struct weir_event_fields *event, uint32_t *ret_handle,
                                   struct weir_error *err);
// A handle for the bucket that the event of the call is of.
weir_status weir_keyvalue_receive(struct weir_instance *instance, uint32_t *ret_handle,
                                  struct weir_error *err);

#define WEIR_IMPORT_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
// The parameters of a function: an array of fields of a host struct.
#define WEIR_IMPORT_PARAMS(array, params_struct)                   \
    .params = (array), .param_count = WEIR_IMPORT_COUNT_OF(array), \
    .params_size = sizeof(struct params_struct)
// A record's fields, or the cases of a variant.
#define WEIR_WIT_FIELDS(array) .fields = (array), .field_count = WEIR_IMPORT_COUNT_OF(array)

// The type of a handle: WEIR_WIT_OWN or WEIR_WIT_BORROW of a kind of resource.
#define WEIR_WIT_HANDLE(wit_kind, resource_kind) \
    {.kind = (wit_kind),                         \
     .guest_size = 4,                            \
     .guest_align = 4,                           \
     .host_size = sizeof(uint32_t),              \
     .resource = (resource_kind)}
// A row of an interface; result_type is a pointer, or NULL.
#define WEIR_IMPORT_FUNCTION(of, wit_name, params, params_struct, result_type, its_function) \
    {.wit = {.interface = (of),                                                              \
             .name = (wit_name),                                                             \
             WEIR_IMPORT_PARAMS(params, params_struct),                                      \
             .result = (result_type)},                                                       \
     .function = (its_function)}

#endif
