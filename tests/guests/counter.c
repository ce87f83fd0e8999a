// SPDX-License-Identifier: Apache-2.0
//
// Prints how many events this instance has had: "SUBJECT count N". Proves: a fresh instance for
// each event (always 1) and an instance that is kept (1, 2, 3, …; one count for each worker's
// instance). The body "trap" traps after it.
#include <stdio.h>
#include <weir.h>

static struct weir_result handle_event(const struct weir_event *event) {
    static int count;

    printf("%.*s count %d\n", WEIR_STR_ARG(event->subject.value), ++count);
    if (weir_str_equal(weir_event_body(event), WEIR_STR("trap")))
        __builtin_trap();
    return weir_ok();
}
WEIR_EVENT_HANDLER(handle_event)
