// SPDX-License-Identifier: Apache-2.0
//
// What the console shows of the flow: its status, what was lately, how long things took. Admin
// thread.
#include "admin/server.h"

#include "base/clock.h"
#include "control/status.h"
#include "flow/flow.h"

#include <unistd.h>

static json_t *own_json(const struct weir_admin *admin, bool may_change) {
    char time[WEIR_TIME_BYTES];
    weir_time_format(weir_clock_wall_ns(), time);
    int64_t uptime_ns = weir_clock_monotonic_ns() - admin->started_ns;
    return json_pack("{s:I, s:s, s:I, s:s, s:b, s:b}", "pid", (json_int_t)getpid(), "version",
                     WEIR_VERSION, "uptime_ms", (json_int_t)(uptime_ns / WEIR_NS_PER_MS), "time",
                     time, "may_change", may_change, "has_token", admin->config.token != NULL);
}

void weir_admin_status(struct weir_admin *admin, const struct weir_admin_request *request,
                       const char *rest, struct weir_admin_answer *answer) {
    json_t *json;
    struct weir_error err;
    (void)rest;
    if (weir_control_status_json(NULL, admin->flow, &json, &err) != WEIR_OK) {
        weir_admin_fail(answer, &err);
        return;
    }
    json_t *own = own_json(admin, request->may_change);
    if (!own || json_object_update(json, own) != 0) {
        json_decref(json);
        json = NULL; // which weir_admin_json tells
    }
    json_decref(own);
    weir_admin_json(answer, json);
}

void weir_admin_history_of(struct weir_admin *admin, const struct weir_admin_request *request,
                           const char *rest, struct weir_admin_answer *answer) {
    const char *name = weir_admin_argument(request, "subscription");
    (void)rest;
    json_t *json =
        name ? weir_history_json(&admin->history, name)
             : json_pack("{s:o}", "subscriptions", weir_history_all_json(&admin->history));
    if (json && json_object_set_new(json, "interval_ms", json_integer(WEIR_HISTORY_MS)) != 0) {
        json_decref(json);
        json = NULL;
    }
    weir_admin_json(answer, json);
}

// ---- histograms ----

struct wanted {
    const char *name;
    bool is_found;
    struct weir_histogram handler_time, event_time;
};

static void find(void *context, const struct weir_subscription_status *status) {
    struct wanted *wanted = context;
    if (strcmp(wanted->name, status->name) == 0) {
        wanted->is_found = true;
        wanted->handler_time = status->handler_time;
        wanted->event_time = status->event_time;
    }
}

static json_t *histogram_json(const struct weir_histogram *histogram) {
    json_t *bounds = json_array(), *counts = json_array();
    bool is_good = bounds && counts;
    for (size_t i = 0; is_good && i <= WEIR_HISTOGRAM_BOUNDS; i++) {
        is_good =
            json_array_append_new(counts, json_integer((json_int_t)histogram->counts[i])) == 0;
        if (i < WEIR_HISTOGRAM_BOUNDS) {
            double bound_s = (double)weir_histogram_bounds_ns[i] / (double)WEIR_NS_PER_S;
            is_good = json_array_append_new(bounds, json_real(bound_s)) == 0 && is_good;
        }
    }
    json_t *json = json_pack("{s:o, s:o, s:I, s:f}", "le_seconds", bounds, "counts", counts,
                             "count", (json_int_t)weir_histogram_count(histogram), "sum_seconds",
                             (double)histogram->sum_ns / (double)WEIR_NS_PER_S);
    if (!is_good) {
        json_decref(json);
        return NULL;
    }
    return json;
}

void weir_admin_histograms(struct weir_admin *admin, const struct weir_admin_request *request,
                           const char *rest, struct weir_admin_answer *answer) {
    const char *name = weir_admin_argument(request, "subscription");
    struct wanted wanted = {.name = name ? name : ""};
    const struct weir_status_calls calls = {.subscription = find, .context = &wanted};
    struct weir_error err;
    (void)rest;
    weir_status status = weir_flow_look(admin->flow, &calls, &err);
    if (status == WEIR_OK && !wanted.is_found) {
        status = weir_fail(&err, WEIR_NOT_FOUND, "there is no such subscription");
    }
    if (status != WEIR_OK) {
        weir_admin_fail(answer, &err);
        return;
    }
    weir_admin_json(answer, json_pack("{s:o, s:o}", "handler", histogram_json(&wanted.handler_time),
                                      "event", histogram_json(&wanted.event_time)));
}
