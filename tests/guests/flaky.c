// SPDX-License-Identifier: Apache-2.0
//
// Answers err until the attempt whose number the body is: "3" fails twice. Proves: the host counts
// the deliveries in the extension `attempt`, from "2" on, and an event is done once it succeeds.
#include <stdio.h>
#include <weir.h>

static struct weir_result handle_event(const struct weir_event *event) {
    struct weir_optional_str extension = weir_event_extension(event, "attempt");
    int attempt = extension.is_some ? atoi(weir_str_c(extension.value)) : 1;
    int wanted = atoi(weir_str_c(weir_event_body(event)));

    printf("%.*s attempt %d\n", WEIR_STR_ARG(event->subject.value), attempt);
    if (attempt < wanted)
        return weir_errf("attempt %d of %d", attempt, wanted);
    printf("%.*s done\n", WEIR_STR_ARG(event->subject.value));
    return weir_ok();
}
WEIR_EVENT_HANDLER(handle_event)
