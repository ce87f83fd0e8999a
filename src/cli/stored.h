// SPDX-License-Identifier: Apache-2.0
//
// Every event that the state has, wherever it is: in the dead letters, in a subscription's journal,
// in the outbox. In that order, because who looks for an event most often looks for one that
// failed.
#ifndef WEIR_CLI_STORED_H
#define WEIR_CLI_STORED_H

#include "base/error.h"
#include "base/str.h"
#include "event/event.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_state;

struct weir_stored {
    const char *place;            // "dead letters", "journal", "outbox"
    uint64_t number;              // the letter's, the event's in its subscription, the outbox's
    struct weir_str subscription; // the name
    struct weir_event *event;
};

// Calls `each` until it returns false. What it is given is valid during the call, but the event may
// be kept with a reference.
weir_status weir_stored_each(struct weir_state *state,
                             bool (*each)(void *context, const struct weir_stored *stored),
                             void *context, struct weir_error *err);

#endif
