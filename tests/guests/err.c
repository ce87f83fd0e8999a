// SPDX-License-Identifier: Apache-2.0
//
// Always answers err. Proves: retry with backoff, and the dead letter with the guest's text after
// the last attempt.
#include <stdio.h>
#include <weir.h>

static struct weir_result handle_event(const struct weir_event *event) {
    struct weir_optional_str attempt = weir_event_extension(event, "attempt");

    printf("attempt %.*s\n", WEIR_STR_ARG(attempt.is_some ? attempt.value : WEIR_STR("1")));
    return weir_err("this handler never succeeds");
}
WEIR_EVENT_HANDLER(handle_event)
