// SPDX-License-Identifier: Apache-2.0
//
// A guest written on wit-bindgen's C bindings of the world `reactive` instead of sdk/c/weir.h:
// `run` watches "*" of the resource "store" and executes until weir stops; the handler prints the
// subject and returns the event. Proves: both ways of writing a guest in C are the same to the
// host.
#include "reactive.h"

#include <stdio.h>
#include <stdlib.h>

bool exports_reactive_run(reactive_string_t *err) {
    reactive_string_t name, key, rd;
    weir_reactive_resources_observable_t observable;
    weir_reactive_events_own_events_t events, same;
    weir_reactive_types_error_t error;

    reactive_string_set(&name, "store");
    reactive_string_set(&key, "*");
    if (!weir_reactive_resources_open(&name, &rd, &error) ||
        !weir_reactive_resources_watch(&rd, &key, &observable, &error) ||
        !weir_reactive_events_static_events_get(&events, &error) ||
        !weir_reactive_events_method_events_listen(weir_reactive_events_borrow_events(events),
                                                   &observable, &same, &error)) {
        *err = error.val.other; // every case of the variant holds the text in the same place
        return false;
    }
    // The set lives as long as one of its handles.
    weir_reactive_events_events_drop_own(events);
    if (!weir_reactive_events_method_events_exec(weir_reactive_events_borrow_events(same), 0,
                                                 &error)) {
        *err = error.val.other;
        return false;
    }
    weir_reactive_events_events_drop_own(same);
    return true;
}

bool exports_weir_reactive_event_handler_handle_event(
    exports_weir_reactive_event_handler_event_t *event,
    exports_weir_reactive_event_handler_option_event_t *ret, reactive_string_t *err) {
    (void)err;
    printf("bindings got %.*s\n", (int)event->subject.val.len,
           (const char *)event->subject.val.ptr);
    fflush(stdout);
    ret->is_some = true;
    ret->val = *event;
    return true;
}
