// SPDX-License-Identifier: Apache-2.0
//
// Which transactions are visible at some moment, as pg_current_snapshot() says it: what was done
// before a watch begins is told apart from what was done after by this, and not by the place of the
// commit in the log. A commit is in the log before others see it, for as long as the disk or a
// standby takes, so one may be in the log already and become visible only after the watch has
// begun. Pure functions, any thread.
#ifndef WEIR_PROVIDER_POSTGRES_VISIBLE_H
#define WEIR_PROVIDER_POSTGRES_VISIBLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_pg_visible {
    uint64_t first_running; // every transaction before it is over
    uint64_t next;          // none from it on has begun
    size_t running_count;
    uint64_t running[]; // between the two: those that are not over
};

enum { WEIR_PG_RUNNING_MAX = 65536 };

// Of "10:20:10,14,15". The caller frees it with free(). WEIR_OTHER: it is not of that form.
weir_status weir_pg_visible_parse(const char *text, struct weir_pg_visible **ret_visible,
                                  struct weir_error *err);

// Whether a transaction, by the lower half of its number as the log has it, was over.
bool weir_pg_visible_has(const struct weir_pg_visible *visible, uint32_t xid);

#endif
