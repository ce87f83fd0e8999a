// SPDX-License-Identifier: Apache-2.0
//
// See top_model.h. Rates are differences of totals over the time that weir itself says has passed
// (its uptime), so that an answer that came late gives no wrong rate. Rows are kept in a table from
// answer to answer, because the histories are in them; what an answer does not have goes.
//
// Main thread.
#include "cli/top_model.h"

#include <stdlib.h>
#include <string.h>

static const double unknown = -1;

// ---- values ----

double weir_top_number(const json_t *json, const char *name) {
    const json_t *value = json_object_get(json, name);
    return json_is_number(value) ? json_number_value(value) : unknown;
}

const char *weir_top_text(const json_t *json, const char *name) {
    const char *value = json_string_value(json_object_get(json, name));
    return value ? value : "";
}

void weir_top_history_add(struct weir_top_history *history, double value) {
    history->values[history->next] = (float)value;
    history->next = (history->next + 1) % WEIR_TOP_HISTORY_MAX;
    history->count += history->count < WEIR_TOP_HISTORY_MAX ? 1 : 0;
}

double weir_top_history_at(const struct weir_top_history *history, unsigned back) {
    if (back >= history->count) {
        return unknown;
    }
    return history
        ->values[(history->next + WEIR_TOP_HISTORY_MAX - 1 - back) % WEIR_TOP_HISTORY_MAX];
}

double weir_top_left_ms(double before, double now, int64_t elapsed_ms) {
    bool shrinks = now >= 0 && before > now && elapsed_ms > 0;
    return shrinks ? now * (double)elapsed_ms / (before - now) : unknown;
}

// A total that grew from `before` to `now` in that time, a second.
static double rate_of(double before, double now, int64_t elapsed_ms) {
    bool is_known = elapsed_ms > 0 && before >= 0 && now >= before;
    return is_known ? (now - before) * 1000 / (double)elapsed_ms : unknown;
}

// ---- rows ----

static void remove_row(struct weir_top_row **table, struct weir_top_row *row) {
    HASH_DEL(*table, row);
    free(row->name);
    free(row);
}

static void remove_older(struct weir_top_row **table, uint64_t taken) {
    struct weir_top_row *row, *next;
    HASH_ITER (hh, *table, row, next) {
        if (row->taken < taken) {
            remove_row(table, row);
        }
    }
}

// The row of that name; a new one where there is none. NULL: no memory.
static struct weir_top_row *obtain(struct weir_top_row **table, const char *name) {
    struct weir_top_row *row;
    HASH_FIND_STR(*table, name, row);
    if (row) {
        return row;
    }
    row = calloc(1, sizeof *row);
    char *copy = strdup(name);
    if (row && copy) {
        row->name = copy;
        row->settled_total = row->failed_total = unknown;
        HASH_ADD_KEYPTR(hh, *table, row->name, strlen(row->name), row);
    }
    if (!row || !copy || !row->hh.tbl) {
        free(copy);
        free(row);
        return NULL;
    }
    return row;
}

// Of a subscription: what came to its end. A member that is missing is 0.
static double settled_of(const json_t *json) {
    static const char *const names[] = {"handled_total", "dead_total", "dropped_total"};
    double settled = unknown;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        double total = weir_top_number(json, names[i]);
        settled = total < 0 ? settled : total + (settled < 0 ? 0 : settled);
    }
    return settled;
}

// How long it takes until nothing lags, by the pace of the last answers.
static double left_of_lag(const struct weir_top_row *row, int64_t elapsed_ms) {
    double now = weir_top_history_at(&row->lags, 0);
    for (unsigned back = WEIR_TOP_PACE_ANSWERS; back > 0; back--) {
        double before = weir_top_history_at(&row->lags, back);
        if (before >= 0) {
            return weir_top_left_ms(before, now, elapsed_ms * back);
        }
    }
    return unknown;
}

static void take_values(struct weir_top_row *row, const struct weir_top_model *model) {
    const json_t *json = row->json, *progress = json_object_get(json, "progress");
    struct weir_top_values *values = &row->values;
    double settled = settled_of(json), failed = weir_top_number(json, "failed_attempts_total");
    values->of[WEIR_TOP_NAME] = values->of[WEIR_TOP_STATE] = unknown;
    values->of[WEIR_TOP_LAG] = weir_top_number(json, "lag_events");
    values->of[WEIR_TOP_AGE] = weir_top_number(json, "oldest_age_ms");
    values->of[WEIR_TOP_FLIGHT] = weir_top_number(json, "in_flight_events");
    values->of[WEIR_TOP_RETRY] = weir_top_number(json, "retrying_keys");
    values->of[WEIR_TOP_DEAD] = weir_top_number(json, "dead_total");
    values->of[WEIR_TOP_RATE] = rate_of(row->settled_total, settled, model->elapsed_ms);
    values->of[WEIR_TOP_FAILED] = rate_of(row->failed_total, failed, model->elapsed_ms);
    row->settled_total = settled;
    row->failed_total = failed;
    weir_top_history_add(&row->rates, values->of[WEIR_TOP_RATE]);
    weir_top_history_add(&row->lags, values->of[WEIR_TOP_LAG]);
    values->of[WEIR_TOP_LEFT] = json_is_object(progress) ? weir_top_number(progress, "left_ms")
                                                         : left_of_lag(row, model->elapsed_ms);
    row->is_failing = values->of[WEIR_TOP_FAILED] > 0 || values->of[WEIR_TOP_RETRY] > 0 ||
                      strcmp(weir_top_text(json, "state"), "stopped") == 0;
}

static void take_target(struct weir_top_row *row, const struct weir_top_model *model) {
    double published = weir_top_number(row->json, "published_total");
    row->values.of[WEIR_TOP_RATE] = rate_of(row->settled_total, published, model->elapsed_ms);
    row->settled_total = published;
    weir_top_history_add(&row->rates, row->values.of[WEIR_TOP_RATE]);
    row->is_failing = weir_top_text(row->json, "error")[0] != '\0';
}

// Adds what is known of a row to the sum.
static void add_up(struct weir_top_values *sum, const struct weir_top_values *values) {
    for (size_t i = 0; i < WEIR_TOP_COLUMNS; i++) {
        if (values->of[i] >= 0) {
            sum->of[i] = values->of[i] + (sum->of[i] < 0 ? 0 : sum->of[i]);
        }
    }
}

// Brings a table to what an array of the answer says. False: no memory.
static bool take_array(struct weir_top_model *model, const char *member,
                       struct weir_top_row **table,
                       void (*take)(struct weir_top_row *row, const struct weir_top_model *model)) {
    size_t i;
    const json_t *json;
    bool is_whole = true;
    json_array_foreach(json_object_get(model->answer, member), i, json) {
        if (i >= WEIR_TOP_ROWS_MAX) {
            model->left_out++;
            continue;
        }
        struct weir_top_row *row = obtain(table, weir_top_text(json, "name"));
        if (!row) {
            is_whole = false;
        } else if (row->taken < model->taken) { // names are unique; a weir that errs adds nothing
            row->taken = model->taken;
            row->json = json;
            take(row, model);
        }
    }
    remove_older(table, model->taken);
    return is_whole;
}

// ---- answers ----

// How much later `answer` is than the one before; 0: it is another process's.
static int64_t elapsed_ms(const json_t *before, const json_t *answer) {
    double then = weir_top_number(before, "uptime_ms"), now = weir_top_number(answer, "uptime_ms");
    bool is_same = weir_top_number(before, "pid") == weir_top_number(answer, "pid");
    return is_same && then >= 0 && now > then ? (int64_t)(now - then) : 0;
}

static double commits_of(const json_t *answer) {
    return weir_top_number(json_object_get(answer, "state_database"), "commits_total");
}

weir_status weir_top_model_take(struct weir_top_model *model, json_t *answer,
                                struct weir_error *err) {
    json_t *before = model->answer;
    model->taken++;
    model->answer = answer;
    model->left_out = 0;
    model->elapsed_ms = elapsed_ms(before, answer);
    model->commits_per_second = rate_of(commits_of(before), commits_of(answer), model->elapsed_ms);
    bool has_all = take_array(model, "subscriptions", &model->subscriptions, take_values);
    has_all = take_array(model, "targets", &model->targets, take_target) && has_all;
    json_decref(before);

    for (size_t i = 0; i < WEIR_TOP_COLUMNS; i++) {
        model->sum.of[i] = unknown;
    }
    for (const struct weir_top_row *row = model->subscriptions; row; row = row->hh.next) {
        add_up(&model->sum, &row->values);
    }
    weir_top_history_add(&model->rates, model->sum.of[WEIR_TOP_RATE]);
    return has_all ? WEIR_OK : weir_fail_no_memory(err, "the rows of weir top");
}

void weir_top_model_finish(struct weir_top_model *model) {
    remove_older(&model->subscriptions, UINT64_MAX);
    remove_older(&model->targets, UINT64_MAX);
    json_decref(model->answer);
    *model = (struct weir_top_model){0};
}
