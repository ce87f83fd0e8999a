// SPDX-License-Identifier: Apache-2.0
//
// Returns the event it got. Proves: an event comes back from a guest byte for byte, whatever is in
// it.
#define WEIR_NO_STDIO
#include <weir.h>

static struct weir_result handle_event(const struct weir_event *event) {
    return weir_ok_event(event);
}
WEIR_EVENT_HANDLER(handle_event)
