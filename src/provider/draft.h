// SPDX-License-Identifier: Apache-2.0
//
// An event whose attributes are gathered one by one, out of what somebody else has written: headers
// of a message, an object in JSON. What is put in must stay until the event is made. Used by one
// thread at a time.
#ifndef WEIR_PROVIDER_DRAFT_H
#define WEIR_PROVIDER_DRAFT_H

#include "base/digits.h"
#include "event/event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_draft {
    struct weir_event_fields fields; // but for the extensions
    size_t count;                    // of those
    bool is_bad;                     // there was what no event can have
    char size[WEIR_DECIMAL_BYTES_MAX];
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
};

void weir_draft_init(struct weir_draft *draft);

void weir_draft_put_extension(struct weir_draft *draft, struct weir_str name,
                              struct weir_str value);
// Puts an attribute that CloudEvents define. False: it is none of these, and would be an extension.
bool weir_draft_put_attribute(struct weir_draft *draft, struct weir_str name,
                              struct weir_str value);
// Puts the data, or, where there are more than bytes_max bytes, says how many were left out.
void weir_draft_put_data(struct weir_draft *draft, struct weir_payload data, uint64_t bytes_max);

// Makes the event, if it is a valid one. WEIR_INVALID: it is not; WEIR_LIMIT, WEIR_NO_MEMORY.
weir_status weir_draft_finish(struct weir_draft *draft, const struct weir_event_origin *origin,
                              struct weir_event **ret_event, struct weir_error *err);

#endif
