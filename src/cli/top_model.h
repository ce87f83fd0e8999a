// SPDX-License-Identifier: Apache-2.0
//
// What `weir top` knows: the last answer to "status" as rows, the rates since the answer before,
// and the rates of the last minutes. No terminal, no socket. What an answer lacks is not known, so
// that a weir of another version can be looked at too.
//
// Main thread.
#ifndef WEIR_CLI_TOP_MODEL_H
#define WEIR_CLI_TOP_MODEL_H

#include "base/error.h"
#include "base/table.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_TOP_ROWS_MAX = 65536,  // subscriptions, as in a configuration; and targets
    WEIR_TOP_HISTORY_MAX = 120, // rates that are kept of each, one for an answer
    WEIR_TOP_PACE_ANSWERS = 10, // over how many answers is looked how fast a lag shrinks
};

// What a subscription is sorted by and has a column of.
enum weir_top_column {
    WEIR_TOP_NAME,
    WEIR_TOP_STATE,
    WEIR_TOP_LAG,    // events
    WEIR_TOP_LEFT,   // ms, until nothing lags or what takes long is done
    WEIR_TOP_AGE,    // ms, of the oldest event
    WEIR_TOP_FLIGHT, // events that a handler has
    WEIR_TOP_RATE,   // events settled a second; of a target: published
    WEIR_TOP_FAILED, // attempts that failed, a second
    WEIR_TOP_RETRY,  // keys that wait for another attempt
    WEIR_TOP_DEAD,   // events given up since weir started
    WEIR_TOP_COLUMNS,
};

// Of each column that is a number; the others are negative, and so is what nobody knows.
struct weir_top_values {
    double of[WEIR_TOP_COLUMNS];
};

// The last values, one for each answer. Negative: it was not known.
struct weir_top_history {
    float values[WEIR_TOP_HISTORY_MAX]; // a ring
    unsigned count, next;
};
void weir_top_history_add(struct weir_top_history *history, double value);
// The value `back` answers ago, 0 for the last one; negative where there is none.
double weir_top_history_at(const struct weir_top_history *history, unsigned back);

// A subscription, or a target.
struct weir_top_row {
    char *name;         // owned
    const json_t *json; // in the last answer
    struct weir_top_values values;
    bool is_failing;                    // it needs somebody: attempts fail, or it is stopped
    double settled_total, failed_total; // of the last answer; negative: not known
    struct weir_top_history rates;      // of WEIR_TOP_RATE
    struct weir_top_history lags;
    uint64_t taken; // the last answer it was in
    UT_hash_handle hh;
};

// Zeroed, nothing is known yet.
struct weir_top_model {
    json_t *answer;                     // owned; NULL: none
    struct weir_top_row *subscriptions; // table, by name
    struct weir_top_row *targets;       // table, by name
    size_t left_out;                    // rows above WEIR_TOP_ROWS_MAX, of the last answer
    struct weir_top_values sum;         // of all subscriptions
    struct weir_top_history rates;      // of the sum's WEIR_TOP_RATE
    double commits_per_second;          // negative: not known
    uint64_t taken;                     // answers
    int64_t elapsed_ms;                 // between the last two answers; 0: there is no rate
};

void weir_top_model_finish(struct weir_top_model *model);

// Takes an answer, and takes it over. One of another process than the answer before has no rates
// yet, and the histories go on. WEIR_NO_MEMORY: rows are missing, until the next answer.
weir_status weir_top_model_take(struct weir_top_model *model, json_t *answer,
                                struct weir_error *err);

// A number of an object; negative where it has none of that name.
double weir_top_number(const json_t *json, const char *name);
// A text of an object; "" where it has none of that name.
const char *weir_top_text(const json_t *json, const char *name);

// How long it takes until nothing lags, in ms, if it goes on as it did: it was `before` and is
// `now` that much later. Negative: it does not shrink, so nobody can tell.
double weir_top_left_ms(double before, double now, int64_t elapsed_ms);

#endif
