// SPDX-License-Identifier: Apache-2.0
//
// The kinds of handlers that a guest may export. Private to this room.
#ifndef WEIR_GUEST_HANDLERS_H
#define WEIR_GUEST_HANDLERS_H

#include "guest/imports.h"
#include "guest/instance.h"

struct weir_handler_type {
    const char *export;    // of a standard interface; NULL: its type makes it a handler
    const char *wit_type;  // with export, for messages
    const char *core_type; // "(i32) -> i32"; NULL: it is not called itself
    const struct weir_wit_field *params;
    uint32_t param_count;
    const struct weir_wit_type *result; // NULL: none
};
// By enum weir_handler_kind.
extern const struct weir_handler_type weir_handler_types[];

// Room for what a handler is called with.
struct weir_handler_params {
    _Alignas(16) unsigned char bytes[64];
};

// What it answers.
union weir_handler_result {
    struct weir_wit_handled handled;
    struct weir_messaging_done done;
};

// Whether an export is a handler of a standard interface, by its whole name.
bool weir_handler_is_standard(struct weir_str export, enum weir_handler_kind *ret_kind);

// Which of the guest's handlers is called with an event for the one that was asked for, which is
// changed to it. False: none, and the event is handled by that.
bool weir_handler_resolve(const struct weir_guest *guest, uint32_t *handler,
                          const struct weir_event_fields *event);

// Makes a handler's parameters of an event, in `room` or in the event itself: the host struct that
// its type's `params` describe. Handles in it are the guest's. *ret_is_rejected: with a failure,
// that the event will never be one for this handler.
weir_status weir_handler_prepare(struct weir_instance *instance, enum weir_handler_kind kind,
                                 const struct weir_event_fields *event,
                                 struct weir_handler_params *room, const void **ret_params,
                                 bool *ret_is_rejected, struct weir_error *err);

// Makes the verdict of what a handler answered. `is_checked`: its texts are known to be UTF-8.
weir_status weir_handler_judge(enum weir_handler_kind kind, const union weir_handler_result *result,
                               bool is_checked, struct weir_verdict *verdict);

#endif
