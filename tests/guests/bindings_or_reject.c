// SPDX-License-Identifier: Apache-2.0
//
// A handler that may reject, written on wit-bindgen's C bindings of the world `handler-or-reject`:
// the body "retry" and "reject" are answered so, with the subject for a reason; any other event is
// returned. Proves: what the bindings make of the variant `failure` is what the host reads.
#include "handler_or_reject.h"

#include <stdio.h>
#include <string.h>

static bool is_body(const exports_weir_reactive_event_handler_or_reject_event_t *event,
                    const char *text) {
    const handler_or_reject_string_t *body = &event->data.val.val.text;
    return event->data.is_some && event->data.val.tag == WEIR_REACTIVE_TYPES_PAYLOAD_TEXT &&
           body->len == strlen(text) && memcmp(body->ptr, text, body->len) == 0;
}

bool exports_weir_reactive_event_handler_or_reject_handle_event_or_reject(
    exports_weir_reactive_event_handler_or_reject_event_t *event,
    exports_weir_reactive_event_handler_or_reject_option_event_t *ret,
    exports_weir_reactive_event_handler_or_reject_failure_t *err) {
    printf("bindings got %.*s\n", (int)event->subject.val.len,
           (const char *)event->subject.val.ptr);
    fflush(stdout);
    if (is_body(event, "retry") || is_body(event, "reject")) {
        err->tag = is_body(event, "retry") ? WEIR_REACTIVE_TYPES_FAILURE_RETRY
                                           : WEIR_REACTIVE_TYPES_FAILURE_REJECT;
        err->val.retry = event->subject.val; // both cases hold the text in the same place
        return false;
    }
    ret->is_some = true;
    ret->val = *event;
    return true;
}
