// SPDX-License-Identifier: Apache-2.0
//
// The guest that is called: it does nothing, so that what is measured is the call. An event with a
// subject is returned as it came, one without is only taken. Made with wit-bindgen's C bindings, as
// a guest of any other host would be; its module imports nothing.
#include "handler.h"

bool exports_weir_reactive_event_handler_handle_event(
    exports_weir_reactive_event_handler_event_t *ev,
    exports_weir_reactive_event_handler_option_event_t *ret, handler_string_t *err) {
    (void)err;
    ret->is_some = ev->subject.is_some;
    if (ret->is_some) {
        ret->val = *ev;
    } else {
        exports_weir_reactive_event_handler_event_free(ev);
    }
    return true;
}
