// SPDX-License-Identifier: Apache-2.0
//
// The status of a flow as JSON. Names are stable and carry their units; a number that counts from
// weir's start ends in _total.
//
// Rates come from counters that the control thread looks at every few seconds, so that one question
// is enough to be told one. A look for each question was tried in mind and left out: the first
// question would have no answer.
//
// Control thread.
#include "control/status.h"

#include "base/clock.h"
#include "control/control.h"
#include "flow/flow.h"

#include <stdlib.h>
#include <xxhash.h>

enum {
    TEXT_BYTES_MAX = 4096, // keys and cursors; longer ones are cut
    RATE_MS_MIN = 500,     // over less time no rate is told
    COUNTS_ROOM = 64,
};

// ---- rates ----

static uint64_t hash_of(const char *name) {
    return XXH3_64bits(name, strlen(name));
}

static uint64_t settled_of(const struct weir_subscription_counts *counts) {
    return counts->handled + counts->dead + counts->dropped;
}

static void count(void *context, const char *name,
                  const struct weir_subscription_counts *subscription) {
    struct weir_control_counts *counts = context;
    if (counts->count == counts->room && counts->room < WEIR_CONTROL_RATES_MAX) {
        size_t room = counts->room ? counts->room * 2 : COUNTS_ROOM;
        struct weir_control_count *grown = realloc(counts->rows, room * sizeof *grown);
        counts->rows = grown ? grown : counts->rows;
        counts->room = grown ? room : counts->room;
    }
    if (counts->count < counts->room) {
        counts->rows[counts->count++] = (struct weir_control_count){
            .name_hash = hash_of(name), .settled = settled_of(subscription)};
    }
}

static int compare(const void *a, const void *b) {
    uint64_t left = ((const struct weir_control_count *)a)->name_hash;
    uint64_t right = ((const struct weir_control_count *)b)->name_hash;
    return left < right ? -1 : left > right;
}

void weir_control_rates_look(struct weir_control_rates *rates, struct weir_flow *flow) {
    struct weir_control_counts counts = rates->older; // its memory is used again
    rates->older = rates->newer;
    counts.count = 0;
    counts.at_ns = weir_clock_monotonic_ns();
    if (weir_flow_tally(flow, count, &counts, NULL) != WEIR_OK) {
        counts.count = 0;
    }
    if (counts.count > 0) {
        qsort(counts.rows, counts.count, sizeof *counts.rows, compare);
    }
    rates->newer = counts;
}

void weir_control_rates_finish(struct weir_control_rates *rates) {
    free(rates->older.rows);
    free(rates->newer.rows);
    *rates = (struct weir_control_rates){0};
}

// Events a second since the older look; null where it is too early to tell, and where nobody runs
// the subscription.
static json_t *rate_of(const struct weir_control_rates *rates,
                       const struct weir_subscription_status *status) {
    if (!rates) {
        return json_null();
    }
    const struct weir_control_counts *since = rates->older.at_ns ? &rates->older : &rates->newer;
    int64_t elapsed_ns = weir_clock_monotonic_ns() - since->at_ns;
    struct weir_control_count wanted = {.name_hash = hash_of(status->name)};
    const struct weir_control_count *before =
        since->count ? bsearch(&wanted, since->rows, since->count, sizeof wanted, compare) : NULL;
    uint64_t now = settled_of(&status->counts);
    // A subscription that ended and began again counts from 0.
    if (!before || before->settled > now || elapsed_ns < RATE_MS_MIN * WEIR_NS_PER_MS) {
        return json_null();
    }
    return json_real((double)(now - before->settled) /
                     ((double)elapsed_ns / (double)WEIR_NS_PER_S));
}

// ---- the status ----

struct building {
    const struct weir_control_rates *rates;
    json_t *flow, *queue, *subscriptions, *targets, *resources, *guests;
    bool has_failed; // no memory
};

// Takes over `json`.
static void append(struct building *building, json_t *array, json_t *json) {
    if (json_array_append_new(array, json) != 0) {
        building->has_failed = true;
    }
}

// null where it is empty.
static json_t *text_or_null(struct weir_str text) {
    return text.size > 0 ? weir_control_text(text, TEXT_BYTES_MAX) : json_null();
}

static json_t *time_or_null(int64_t wall_ns) {
    char time[WEIR_TIME_BYTES];
    if (wall_ns == 0) {
        return json_null();
    }
    weir_time_format(wall_ns, time);
    return json_string(time);
}

static json_t *error_json(const struct weir_subscription_status *status) {
    return status->error[0]
               ? json_pack("{s:o, s:o}", "message",
                           weir_control_text(weir_str_of(status->error), TEXT_BYTES_MAX), "time",
                           time_or_null(status->error_wall_ns))
               : json_null();
}

static void tell_flow(void *context, const struct weir_flow_status *status) {
    struct building *building = context;
    json_decref(building->flow);
    json_decref(building->queue);
    building->flow = json_pack("{s:b, s:o, s:o, s:I}", "is_failing", (int)status->is_state_failing,
                               "error", text_or_null(weir_str_of(status->state_error)),
                               "failing_since", time_or_null(status->state_failing_since_wall_ns),
                               "commits_total", (json_int_t)status->commits);
    building->queue = json_pack("{s:I, s:I}", "bytes", (json_int_t)status->queued_bytes,
                                "bytes_max", (json_int_t)status->queued_bytes_max);
    building->has_failed = building->has_failed || !building->flow || !building->queue;
}

// null where nothing takes long, and where nobody knows.
static json_t *number_or_null(int64_t number, bool is_known) {
    return is_known ? json_integer((json_int_t)number) : json_null();
}

static json_t *progress_json(const struct weir_progress *progress) {
    if (!progress->what) {
        return json_null();
    }
    int64_t left_ms = weir_progress_left_ms(progress, weir_clock_monotonic_ns());
    return json_pack("{s:s, s:I, s:o, s:o}", "what", progress->what, "done",
                     (json_int_t)progress->done, "total",
                     number_or_null((int64_t)progress->total, progress->total > 0), "left_ms",
                     number_or_null(left_ms, left_ms >= 0));
}

static json_t *names_json(const struct weir_subscription_status *status) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}",                      //
                     "name", weir_control_text(weir_str_of(status->name), TEXT_BYTES_MAX), //
                     "resource", text_or_null(weir_str_of(status->resource)),              //
                     "resource_kind", text_or_null(weir_str_of(status->kind)),             //
                     "key", text_or_null(status->key),                                     //
                     "guest", text_or_null(weir_str_of(status->guest)),                    //
                     "handler", text_or_null(weir_str_of(status->handler)),                //
                     "to", text_or_null(weir_str_of(status->to)),                          //
                     "state", status->state,                                               //
                     "cursor", text_or_null(status->cursor));
}

static json_t *numbers_json(const struct weir_control_rates *rates,
                            const struct weir_subscription_status *status) {
    const struct weir_subscription_counts *counts = &status->counts;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:I, s:I, s:I, s:o, s:o}",
        "lag_events", (json_int_t)counts->queued + (json_int_t)counts->behind, //
        "queued_events", (json_int_t)counts->queued,                           //
        "queued_bytes", (json_int_t)counts->queued_bytes,                      //
        "behind_events", (json_int_t)counts->behind,                           //
        "in_flight_events", (json_int_t)counts->in_flight,                     //
        "oldest_age_ms", (json_int_t)(status->oldest_ns / WEIR_NS_PER_MS),     //
        "retrying_keys", (json_int_t)status->retrying,                         //
        "settled_per_second", rate_of(rates, status),                          //
        "received_total", (json_int_t)counts->received,                        //
        "repeated_total", (json_int_t)counts->repeated,                        //
        "delivered_total", (json_int_t)counts->delivered,                      //
        "handled_total", (json_int_t)counts->handled,                          //
        "failed_attempts_total", (json_int_t)counts->failed,                   //
        "retried_total", (json_int_t)counts->retried,                          //
        "cut_total", (json_int_t)counts->cut,                                  //
        "trapped_total", (json_int_t)counts->trapped,                          //
        "dead_total", (json_int_t)counts->dead,                                //
        "dropped_total", (json_int_t)counts->dropped,                          //
        "derived_total", (json_int_t)counts->derived,                          //
        "guest_refused_total", (json_int_t)status->refused,                    //
        "next_seq", (json_int_t)status->next_seq,                              //
        "last_error", error_json(status),                                      //
        "progress", progress_json(&status->progress));
}

static void tell_subscription(void *context, const struct weir_subscription_status *status) {
    struct building *building = context;
    json_t *json = names_json(status), *numbers = numbers_json(building->rates, status);
    if (!numbers || json_object_update(json, numbers) != 0) {
        building->has_failed = true;
    }
    json_decref(numbers);
    append(building, building->subscriptions, json);
}

static void tell_target(void *context, const struct weir_target_status *status) {
    struct building *building = context;
    append(building, building->targets,
           json_pack("{s:s, s:s, s:I, s:I, s:o}", "name", status->name, "kind", status->kind,
                     "waiting_events", (json_int_t)status->waiting, "published_total",
                     (json_int_t)status->published, "error",
                     text_or_null(weir_str_of(status->error))));
}

static void tell_resource(void *context, const struct weir_resource_status *status) {
    struct building *building = context;
    const struct weir_health *health = &status->health;
    append(building, building->resources,
           json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:o}", "name", status->name, "kind",
                     status->kind, "is_connected",
                     health->is_known ? json_boolean(health->is_connected) : json_null(), "since",
                     time_or_null(health->since_wall_ns), "reconnects_total",
                     (json_int_t)health->reconnects, "errors_total", (json_int_t)health->errors,
                     "error", text_or_null(weir_str_of(health->is_known ? health->reason : ""))));
}

static void tell_guest(void *context, const struct weir_guest_status *status) {
    struct building *building = context;
    const struct weir_guest_stats *stats = &status->stats;
    append(building, building->guests,
           json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", status->name, "lane",
                     status->lane, "instances", (json_int_t)stats->instances,
                     "instances_made_total", (json_int_t)stats->instances_made, "memory_bytes",
                     (json_int_t)stats->memory_bytes_largest, "compile_ms",
                     (json_int_t)(stats->compile_ns / WEIR_NS_PER_MS), "refused_total",
                     (json_int_t)status->refused));
}

weir_status weir_control_status_json(const struct weir_control_rates *rates, struct weir_flow *flow,
                                     json_t **ret_json, struct weir_error *err) {
    struct building building = {.rates = rates,
                                .subscriptions = json_array(),
                                .targets = json_array(),
                                .resources = json_array(),
                                .guests = json_array()};
    struct weir_status_calls calls = {.flow = tell_flow,
                                      .subscription = tell_subscription,
                                      .target = tell_target,
                                      .resource = tell_resource,
                                      .guest = tell_guest,
                                      .context = &building};
    weir_status status = weir_flow_look(flow, &calls, err);
    // It takes over all of them, also where it fails.
    *ret_json =
        json_pack("{s:o?, s:o?, s:o, s:o, s:o, s:o}", "state_database", building.flow, "queue",
                  building.queue, "subscriptions", building.subscriptions, "targets",
                  building.targets, "resources", building.resources, "guests", building.guests);
    if (status == WEIR_OK && (building.has_failed || !*ret_json)) {
        status = weir_fail_no_memory(err, "the status");
    }
    if (status != WEIR_OK) {
        json_decref(*ret_json);
        *ret_json = NULL;
    }
    return status;
}
