// SPDX-License-Identifier: Apache-2.0
//
// The last minutes of each subscription, a point a second: so that whoever opens the console sees
// at once what was. Admin thread.
#ifndef WEIR_ADMIN_HISTORY_H
#define WEIR_ADMIN_HISTORY_H

#include "base/str.h"

#include <jansson.h>
#include <stdint.h>

struct weir_flow;

enum {
    WEIR_HISTORY_POINTS = 120,
    WEIR_HISTORY_MS = 1000,                // between two points
    WEIR_HISTORY_SUBSCRIPTIONS_MAX = 1000, // that have one; those that came first
};

struct weir_history_row; // of one subscription

struct weir_admin_history {
    struct weir_history_row *rows; // table, by name
    int64_t due_ns;
    uint64_t looks;
};

// Takes a point of each, where it is time to.
void weir_history_tick(struct weir_admin_history *history, struct weir_flow *flow, int64_t now_ns);
void weir_history_finish(struct weir_admin_history *history);

// {"handled":[...],"failed":[...],"lag":[...]}, oldest first; a new reference. NULL: no memory.
// `name`: NULL where it is unknown, all empty then.
json_t *weir_history_json(const struct weir_admin_history *history, const char *name);
// The same of all, by name.
json_t *weir_history_all_json(const struct weir_admin_history *history);

#endif
