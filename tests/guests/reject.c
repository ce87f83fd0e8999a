// SPDX-License-Identifier: Apache-2.0
//
// Handlers that may reject. The event's body says what the default one does: "retry TEXT", "reject
// TEXT", "until N" (retry until the attempt N), "event" (accepts with the event itself), "trap";
// anything else is accepted. on-order-or-reject rejects everything; on-order beside it cannot.
// Proves: the name of a handler tells its signature, a rejected event gets no further attempt, and
// each handler is found under its own name only.
#include <stdio.h>
#include <weir.h>

static struct weir_result_or_reject handle_event(const struct weir_event *event) {
    struct weir_optional_str extension = weir_event_extension(event, "attempt");
    int attempt = extension.is_some ? atoi(weir_str_c(extension.value)) : 1;
    const char *body = weir_str_c(weir_event_body(event));

    printf("%.*s attempt %d: %s\n", WEIR_STR_ARG(event->subject.value), attempt, body);
    if (strncmp(body, "retry ", 6) == 0)
        return weir_retry(body + 6);
    if (strncmp(body, "reject ", 7) == 0)
        return weir_reject(body + 7);
    if (strncmp(body, "until ", 6) == 0 && attempt < atoi(body + 6))
        return weir_retryf("attempt %d of %s", attempt, body + 6);
    if (strcmp(body, "event") == 0)
        return weir_accept_event(event);
    if (strcmp(body, "trap") == 0)
        __builtin_trap();
    return weir_accept();
}
WEIR_EVENT_HANDLER_OR_REJECT(handle_event)

static struct weir_result_or_reject on_order_or_reject(const struct weir_event *event) {
    return weir_rejectf("no orders, not even %.*s", WEIR_STR_ARG(event->subject.value));
}
WEIR_HANDLER_OR_REJECT("on-order-or-reject", on_order_or_reject)

static struct weir_result on_order(const struct weir_event *event) {
    (void)event;
    return weir_err("no orders now");
}
WEIR_HANDLER("on-order", on_order)
