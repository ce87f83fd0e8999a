// SPDX-License-Identifier: Apache-2.0
//
// The program that weir was thought up for: main watches two keys of a store and lets the host
// deliver what changes; the handler says what it got and returns it. main and the handler run in
// different instances of this module and share nothing but the resource.
#include <stdio.h>
#include <weir.h>

enum { DURATION_S = 0 }; // until weir stops

int main(void) {
    struct weir_error err = {0};
    struct weir_str container = weir_open("my-container", &err);
    struct weir_events events = weir_events_get(&err);

    weir_events_listen(events, weir_watch(container, "my-key1", &err), &err);
    weir_events_listen(events, weir_watch(container, "my-key2", &err), &err);
    weir_events_exec(events, DURATION_S, &err);

    if (err.status != WEIR_OK) {
        weir_error_print("seed", &err);
        return 1;
    }
    return 0;
}

static struct weir_result handle_event(const struct weir_event *event) {
    struct weir_str body = weir_event_body(event);
    if (body.size > 0 && body.data[body.size - 1] == '\n') // what `echo` writes
        body.size--;

    printf("source: %.*s\n", WEIR_STR_ARG(event->source));
    printf("type:   %.*s\n", WEIR_STR_ARG(event->ty));
    printf("data:   %.*s\n", WEIR_STR_ARG(body));
    printf("this event %.*s has been handled\n", WEIR_STR_ARG(event->subject.value));
    return weir_ok_event(event);
}
WEIR_EVENT_HANDLER(handle_event)
