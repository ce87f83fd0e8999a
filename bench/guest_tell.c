// SPDX-License-Identifier: Apache-2.0
//
// The guest of the file benchmark: prints what was written, one line an event, which is how the
// program outside learns that the handler was called, and when. Where that is "loop" it never
// returns.
#define WEIR_NO_STDIO
#include <unistd.h>
#include <weir.h>

static struct weir_result handle_event(const struct weir_event *event) {
    struct weir_str body = weir_event_body(event); // ends in a newline; a deleted key has none
    if (body.size == sizeof "loop" - 1 && body.data[0] == 'l') {
        for (volatile unsigned turns = 0;; turns++) {
        }
    }
    if (body.size > 0 && write(STDOUT_FILENO, body.data, body.size) != (ssize_t)body.size) {
        return weir_err("printing failed");
    }
    return weir_ok();
}
WEIR_EVENT_HANDLER(handle_event)
