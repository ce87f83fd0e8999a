// SPDX-License-Identifier: Apache-2.0
//
// What is told of a flow, as JSON. A thread that looks has rates of its own.
#ifndef WEIR_CONTROL_STATUS_H
#define WEIR_CONTROL_STATUS_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

struct weir_flow;

enum {
    WEIR_CONTROL_RATE_MS =
        5000, // between two looks at the counters; a rate is over one to two of them
    WEIR_CONTROL_RATES_MAX = 65536, // subscriptions that have a rate
};

// How many events a subscription had settled at one moment.
struct weir_control_count {
    uint64_t name_hash, settled;
};

struct weir_control_counts {
    int64_t at_ns;                   // 0: never
    struct weir_control_count *rows; // ascending by hash
    size_t count, room;
};

// The last two looks: `older` is what a rate starts from, so that it is over a time that is worth
// it also right after a look.
struct weir_control_rates {
    struct weir_control_counts older, newer;
};

// Looks; without memory there is no rate for a while.
void weir_control_rates_look(struct weir_control_rates *rates, struct weir_flow *flow);
void weir_control_rates_finish(struct weir_control_rates *rates);

// The answer to "status", without what the socket's side knows. `rates`: NULL: none is told.
// WEIR_NO_MEMORY.
weir_status weir_control_status_json(const struct weir_control_rates *rates, struct weir_flow *flow,
                                     json_t **ret_json, struct weir_error *err);

#endif
