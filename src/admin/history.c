// SPDX-License-Identifier: Apache-2.0
//
// See history.h. A row is a ring of points; what a point has are differences of counters, which a
// subscription that begins anew counts from 0.
#include "admin/history.h"

#include "base/clock.h"
#include "base/table.h"
#include "flow/flow.h"

#include <stdlib.h>

struct point {
    uint32_t handled, failed, lag; // events; more than fit are told as the most
};

struct weir_history_row {
    UT_hash_handle hh;
    uint64_t handled, failed; // totals at the last point
    uint64_t seen;            // the look that saw it last
    size_t first, count;
    struct point points[WEIR_HISTORY_POINTS];
    char name[];
};

static uint32_t cut(uint64_t number) {
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

// NULL: there are too many, or no memory.
static struct weir_history_row *row_of(struct weir_admin_history *history, const char *name) {
    struct weir_history_row *row;
    size_t size = strlen(name);
    HASH_FIND(hh, history->rows, name, size, row);
    if (row || HASH_COUNT(history->rows) >= WEIR_HISTORY_SUBSCRIPTIONS_MAX) {
        return row;
    }
    row = calloc(1, sizeof *row + size + 1);
    if (row) {
        memcpy(row->name, name, size);
        HASH_ADD_KEYPTR(hh, history->rows, row->name, size, row);
    }
    if (row && !row->hh.tbl) {
        free(row);
        row = NULL;
    }
    return row;
}

static void put(struct weir_history_row *row, const struct point *point) {
    row->points[(row->first + row->count) % WEIR_HISTORY_POINTS] = *point;
    if (row->count < WEIR_HISTORY_POINTS) {
        row->count++;
    } else {
        row->first = (row->first + 1) % WEIR_HISTORY_POINTS;
    }
}

static void look_at(void *context, const char *name,
                    const struct weir_subscription_counts *counts) {
    struct weir_admin_history *history = context;
    struct weir_history_row *row = row_of(history, name);
    if (!row) {
        return;
    }
    uint64_t handled = counts->handled >= row->handled ? counts->handled - row->handled : 0;
    uint64_t failed = counts->failed >= row->failed ? counts->failed - row->failed : 0;
    put(row, &(struct point){cut(handled), cut(failed), cut(counts->queued + counts->behind)});
    row->handled = counts->handled;
    row->failed = counts->failed;
    row->seen = history->looks;
}

static void forget_gone(struct weir_admin_history *history) {
    struct weir_history_row *row, *next;
    HASH_ITER (hh, history->rows, row, next) {
        if (row->seen != history->looks) {
            HASH_DEL(history->rows, row);
            free(row);
        }
    }
}

void weir_history_tick(struct weir_admin_history *history, struct weir_flow *flow, int64_t now_ns) {
    if (now_ns < history->due_ns) {
        return;
    }
    // Not from now on, so that a late look does not move all that follow.
    int64_t period_ns = WEIR_HISTORY_MS * WEIR_NS_PER_MS;
    history->due_ns =
        history->due_ns + period_ns > now_ns ? history->due_ns + period_ns : now_ns + period_ns;
    history->looks++;
    if (weir_flow_tally(flow, look_at, history, NULL) == WEIR_OK) {
        forget_gone(history);
    }
}

void weir_history_finish(struct weir_admin_history *history) {
    struct weir_history_row *row, *next;
    HASH_ITER (hh, history->rows, row, next) {
        HASH_DEL(history->rows, row);
        free(row);
    }
    *history = (struct weir_admin_history){0};
}

static json_t *row_json(const struct weir_history_row *row) {
    json_t *handled = json_array(), *failed = json_array(), *lag = json_array();
    bool is_good = handled && failed && lag;
    for (size_t i = 0; row && is_good && i < row->count; i++) {
        const struct point *point = &row->points[(row->first + i) % WEIR_HISTORY_POINTS];
        is_good = json_array_append_new(handled, json_integer(point->handled)) == 0 &&
                  json_array_append_new(failed, json_integer(point->failed)) == 0 &&
                  json_array_append_new(lag, json_integer(point->lag)) == 0;
    }
    json_t *json = json_pack("{s:o, s:o, s:o}", "handled", handled, "failed", failed, "lag", lag);
    if (!is_good) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *weir_history_json(const struct weir_admin_history *history, const char *name) {
    struct weir_history_row *row;
    HASH_FIND(hh, history->rows, name, strlen(name), row);
    return row_json(row);
}

json_t *weir_history_all_json(const struct weir_admin_history *history) {
    json_t *all = json_object();
    bool is_good = all != NULL;
    for (const struct weir_history_row *row = history->rows; is_good && row; row = row->hh.next) {
        is_good = json_object_set_new(all, row->name, row_json(row)) == 0;
    }
    if (!is_good) {
        json_decref(all);
        return NULL;
    }
    return all;
}
