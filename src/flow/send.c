// SPDX-License-Identifier: Apache-2.0
//
// An event that a guest publishes itself, while it runs. It goes the way of a returned event: into
// the outbox with the next commit, and from there to its resource. What a handler's call sends is
// in the same commit as the end of that call, or in an earlier one, so that no event is settled
// whose messages are not durable; and the ids of what one call sends are made of its cause's, so
// that a call that is made again sends the same.
//
// Runs on the thread of the guest's call.
#include "flow/flow_private.h"

#include <stdio.h>

weir_status weir_flow_send(struct weir_flow *flow, const struct weir_send_args *args,
                           struct weir_error *err) {
    struct weir_event *event;
    weir_status status = weir_derive_sent(flow, args, &event, err);
    if (status != WEIR_OK) {
        return status;
    }
    const char *sender = args->cause ? args->cause->subscription : args->guest;
    struct weir_out *out =
        weir_out_new(weir_str_of(sender), weir_str_of(args->resource->name), event);
    weir_event_unref(event);
    if (!out) {
        return weir_fail_no_memory(err, "an event to publish");
    }
    const struct weir_trace_call *trace = args->cause ? args->cause->trace : NULL;
    out->is_sampled = trace && weir_trace_is_sampled(&trace->own);
    struct weir_target *target = NULL;
    pthread_mutex_lock(&flow->lock);
    status = weir_target_obtain(flow, args->resource, &target, err);
    if (status == WEIR_OK && target->waiting >= WEIR_OUTBOX_WAITING_MAX) {
        status = weir_fail(err, WEIR_UNAVAILABLE,
                           "%d events wait to be published to %s, and no more are taken",
                           WEIR_OUTBOX_WAITING_MAX, args->resource->name);
    }
    if (status == WEIR_OK) {
        weir_out_append(flow, out, target);
        out = NULL;
    }
    weir_flow_unlock(flow);
    weir_out_free(out);
    return status;
}
