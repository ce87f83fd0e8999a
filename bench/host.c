// SPDX-License-Identifier: Apache-2.0
//
// See host.h.
#include "host.h"

#include "base/clock.h"
#include "base/thread.h"
#include "state/state.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    INSTANCES_SPARE = 16,
    EVENT_BYTES_MAX = 1024 * 1024,
    FLUSH_WAIT_S = 60,
    NAME_BYTES = 32,
    KEY_BYTES = 256,
};

void host_defaults(const struct weir_option_table *table, void *base) {
    struct weir_error err;
    if (weir_options_init(table, base, &err) != WEIR_OK) {
        give_up("the defaults", err.message);
    }
}

static uint32_t core_count(void) {
    uint32_t cores = weir_thread_cores();
    return cores < WEIR_WORKERS_MAX ? cores : WEIR_WORKERS_MAX;
}

void host_load(struct host *host, const struct host_guest *args, uint32_t workers) {
    struct weir_error err;
    struct weir_bounds bounds = {0};
    struct weir_host_config config = {0};
    host_defaults(&weir_bounds_options, &bounds);
    host_defaults(&weir_host_options, &config);
    *host = (struct host){.workers = workers > 0 ? workers : core_count()};
    struct weir_engine_config engine = {.stack_bytes = config.stack_bytes,
                                        .memory_bytes_max = bounds.memory_bytes,
                                        .instances_max = host->workers + INSTANCES_SPARE};
    struct weir_guest_args guest = {
        .name = "bench",
        .instances = args->is_reused ? WEIR_INSTANCES_REUSED : WEIR_INSTANCES_FRESH,
        .idle_max = host->workers,
        .time_ns = args->time_ns > 0 ? args->time_ns : bounds.time_ns,
        .memory_bytes = bounds.memory_bytes,
        .event_bytes = bounds.event_bytes,
        .output_bytes = bounds.output_bytes,
        .module_bytes = bounds.module_bytes,
        .handles = (uint32_t)bounds.handles,
        .output = args->output,
        .host = &weir_session_host,
    };
    if (weir_engine_create(&engine, &host->engine, &err) != WEIR_OK ||
        weir_guest_load(host->engine, &guest, args->path, &host->guest, &err) != WEIR_OK) {
        give_up("the guest", err.message);
    }
}

static void make_flow(struct host *host, const struct host_flow *args) {
    const char *state_dir = args->state;
    struct weir_error err;
    struct weir_host_config config = {0};
    struct weir_state_config state = {0};
    host_defaults(&weir_host_options, &config);
    host_defaults(&weir_state_options, &state);
    struct weir_flow_config flow = {.workers = host->workers,
                                    .grace_ns = config.grace_ns,
                                    .queue_bytes = config.queue_bytes,
                                    .stack_bytes = config.stack_bytes,
                                    .hops_max = config.hops,
                                    .measures = args->measures,
                                    .tap = args->tap,
                                    .tap_context = args->tap_context,
                                    .tracer = args->tracer};
    if (state_dir) {
        if (weir_state_open(state_dir, NULL, &host->state, &err) != WEIR_OK) {
            give_up("the state", err.message);
        }
        flow.store = &weir_state_store;
        flow.store_context = host->state;
        flow.commit_ns = state.commit_ns;
        flow.commit_events = state.commit_events;
    }
    weir_options_finish(&weir_state_options, &state);
    if (weir_flow_create(&flow, &host->flow, &err) != WEIR_OK ||
        weir_set_create(host->flow, "bench", &host->set, &err) != WEIR_OK) {
        give_up("the flow", err.message);
    }
}

static struct weir_subscription *subscribe(struct host *host, const struct host_flow *args,
                                           const char *name, struct weir_str key) {
    struct weir_error err;
    uint32_t handler;
    struct weir_subscription *made;
    struct weir_subscription_args subscription = {.name = name,
                                                  .resource = args->resource,
                                                  .key = key,
                                                  .event_bytes_max = EVENT_BYTES_MAX,
                                                  .guest = host->guest};
    host_defaults(&weir_retry_options, &subscription.retry);
    host_defaults(&weir_queue_options, &subscription.queue);
    host_defaults(&weir_journal_options, &subscription.journal);
    const struct {
        uint64_t value, *at;
    } wishes[] = {{args->queue_events, &subscription.queue.events},
                  {args->journal_events, &subscription.journal.events},
                  {args->journal_bytes, &subscription.journal.bytes},
                  {args->attempts, &subscription.retry.attempts}};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        *wishes[i].at = wishes[i].value > 0 ? wishes[i].value : *wishes[i].at;
    }
    if (args->backoff_ns > 0) {
        subscription.retry.backoff_ns = subscription.retry.backoff_max_ns = args->backoff_ns;
    }
    if (weir_guest_handler_find(host->guest, WEIR_STR(WEIR_HANDLER_DEFAULT), &handler, &err) !=
            WEIR_OK ||
        weir_subscription_create(host->flow, &subscription, &made, &err) != WEIR_OK) {
        give_up("the subscription", err.message);
    }
    weir_set_add(host->set, made, handler);
    return made;
}

void host_subscribe(struct host *host, const struct host_flow *args) {
    char name[NAME_BYTES], key[KEY_BYTES];
    make_flow(host, args);
    host->subscription =
        subscribe(host, args, "bench", args->key ? weir_str_of(args->key) : WEIR_STR("*"));
    for (uint32_t i = 0; i < args->other_count; i++) {
        snprintf(name, sizeof name, "bench-%" PRIu32, i);
        snprintf(key, sizeof key, "%s%" PRIu32, args->others, i);
        subscribe(host, args, name, weir_str_of(key));
    }
}

static void *execute(void *argument) {
    struct host *host = argument;
    struct weir_error err;
    if (weir_set_exec(host->set, 0, &err) != WEIR_OK) {
        give_up("exec", err.message);
    }
    return NULL;
}

void host_execute(struct host *host) {
    int code = pthread_create(&host->executing, NULL, execute, host);
    if (code != 0) {
        give_up("a thread", strerrordesc_np(code));
    }
    host->is_executing = true;
}

void host_flush(struct host *host) {
    struct weir_error err;
    int64_t until_ns = weir_clock_monotonic_ns() + FLUSH_WAIT_S * WEIR_NS_PER_S;
    if (weir_flow_flush(host->flow, until_ns, &err) != WEIR_OK) {
        give_up("the state", err.message);
    }
}

struct weir_subscription_counts host_counts(const struct host *host) {
    struct weir_subscription_counts counts;
    weir_subscription_counts(host->subscription, &counts);
    return counts;
}

static void note_commits(void *context, const struct weir_flow_status *status) {
    *(uint64_t *)context = status->commits;
}

uint64_t host_commits(const struct host *host) {
    uint64_t commits = 0;
    struct weir_error err;
    const struct weir_status_calls calls = {.flow = note_commits, .context = &commits};
    if (weir_flow_look(host->flow, &calls, &err) != WEIR_OK) {
        give_up("the flow", err.message);
    }
    return commits;
}

void host_unsubscribe(struct host *host) {
    if (!host->flow) {
        return;
    }
    weir_flow_cut(host->flow);
    if (host->is_executing) {
        pthread_join(host->executing, NULL);
    }
    weir_set_unref(host->set);
    weir_flow_destroy(host->flow);
    weir_state_close(host->state);
    *host = (struct host){.engine = host->engine, .guest = host->guest, .workers = host->workers};
}

void host_finish(struct host *host) {
    host_unsubscribe(host);
    weir_guest_unref(host->guest);
    weir_engine_destroy(host->engine);
}
