// SPDX-License-Identifier: Apache-2.0
//
// The flow as a whole: its making, its stop and its end; see flow.h.
#include "flow/flow_private.h"

#include <stdlib.h>

weir_status weir_flow_create(const struct weir_flow_config *config, struct weir_flow **ret_flow,
                             struct weir_error *err) {
    *ret_flow = NULL;
    struct weir_flow *flow = calloc(1, sizeof *flow);
    if (!flow) {
        return weir_fail_no_memory(err, "the flow");
    }
    flow->config = *config;
    pthread_mutex_init(&flow->lock, NULL);
    pthread_cond_init(&flow->work, NULL);
    pthread_cond_init(&flow->changed, NULL);
    weir_status status = weir_dispatch_start(flow, err);
    if (status != WEIR_OK) {
        weir_flow_destroy(flow);
        return status;
    }
    *ret_flow = flow;
    return WEIR_OK;
}

void weir_flow_destroy(struct weir_flow *flow) {
    if (!flow) {
        return;
    }
    weir_dispatch_join(flow);
    free(flow->delayed);
    pthread_cond_destroy(&flow->changed);
    pthread_cond_destroy(&flow->work);
    pthread_mutex_destroy(&flow->lock);
    free(flow);
}

void weir_flow_stop(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_stopping = true;
    pthread_cond_broadcast(&flow->changed);
    pthread_mutex_unlock(&flow->lock);
}

void weir_flow_cut(struct weir_flow *flow) {
    pthread_mutex_lock(&flow->lock);
    flow->is_stopping = true;
    flow->is_cutting = true;
    pthread_cond_broadcast(&flow->changed);
    pthread_mutex_unlock(&flow->lock);
}
