// SPDX-License-Identifier: Apache-2.0
//
// /healthz: weir lives: this thread answers, and the flow moves, by what the watchdog of a service
// manager goes by too (flow/alive.c). Whoever asks may restart a weir that does not. /readyz: it
// does what it was told to; where not, the reasons are told, to those who may read. A restart would
// not mend them: a disk that is full, a server that is away, a subscription that a gap has stopped.
// Admin thread.
#include "admin/server.h"

#include "base/clock.h"
#include "flow/flow.h"

#include <stdio.h>

enum {
    REASONS_MAX = 100,
    ALIVE_WAIT_MS = 500, // for the flow's lock
};

struct reasons {
    json_t *list;
    uint64_t count;
};

static void add(struct reasons *reasons, const char *what, const char *name, const char *why) {
    reasons->count++;
    if (json_array_size(reasons->list) < REASONS_MAX) {
        json_array_append_new(reasons->list,
                              json_pack("{s:s, s:o, s:o}", "what", what, "name",
                                        weir_control_text(weir_str_of(name), 1024), "reason",
                                        weir_control_text(weir_str_of(why), 1024)));
    }
}

static void check_flow(void *context, const struct weir_flow_status *status) {
    if (status->is_state_failing) {
        add(context, "state", "state.db", status->state_error);
    }
}

static void check_subscription(void *context, const struct weir_subscription_status *status) {
    if (strcmp(status->state, "stopped") == 0) {
        add(context, "subscription", status->name, status->error);
    }
}

static void check_target(void *context, const struct weir_target_status *status) {
    if (status->error[0] && status->waiting > 0) {
        add(context, "target", status->name, status->error);
    }
}

static void check_resource(void *context, const struct weir_resource_status *status) {
    if (status->health.is_known && !status->health.is_connected) {
        add(context, "resource", status->name, status->health.reason);
    }
}

void weir_admin_healthz(struct weir_admin *admin, const struct weir_admin_request *request,
                        const char *rest, struct weir_admin_answer *answer) {
    int64_t until_ns = weir_clock_monotonic_ns() + ALIVE_WAIT_MS * WEIR_NS_PER_MS;
    const char *reason;
    (void)request;
    (void)rest;
    if (weir_flow_is_alive(admin->flow, &admin->pulse, until_ns, &reason)) {
        weir_admin_json(answer, json_pack("{s:s}", "status", "alive"));
    } else {
        struct weir_error err;
        weir_fail(&err, WEIR_UNAVAILABLE, "events are stuck: %s", reason);
        weir_admin_fail(answer, &err);
    }
}

void weir_admin_readyz(struct weir_admin *admin, const struct weir_admin_request *request,
                       const char *rest, struct weir_admin_answer *answer) {
    struct reasons reasons = {.list = json_array()};
    const struct weir_status_calls calls = {.flow = check_flow,
                                            .subscription = check_subscription,
                                            .target = check_target,
                                            .resource = check_resource,
                                            .context = &reasons};
    struct weir_error err;
    (void)rest;
    const char *unready = atomic_load(&admin->unready);
    if (unready) {
        add(&reasons, "weir", "", unready);
    }
    if (weir_flow_look(admin->flow, &calls, &err) != WEIR_OK) {
        json_decref(reasons.list);
        weir_admin_fail(answer, &err);
        return;
    }
    json_t *json = json_pack("{s:s, s:I}", "status", reasons.count == 0 ? "ready" : "not ready",
                             "reasons_total", (json_int_t)reasons.count);
    if (json && (admin->is_open || request->may_change)) {
        json_object_set(json, "reasons", reasons.list);
    }
    json_decref(reasons.list);
    weir_admin_json(answer, json);
    answer->status =
        answer->status || reasons.count == 0 ? answer->status : MHD_HTTP_SERVICE_UNAVAILABLE;
}
