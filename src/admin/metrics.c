// SPDX-License-Identifier: Apache-2.0
//
// Metrics in Prometheus' text format, version 0.0.4. Names follow the conventions of Prometheus and
// OpenTelemetry: base units, which the name ends in, and _total behind what only rises. The tables
// below are all there is: docs/admin.md and the dashboard are compared with them by tests.
//
// Labels are names of the configuration, never keys: there are as many series as subscriptions,
// resources and guests. Of more than WEIR_METRICS_SUBSCRIPTIONS_MAX subscriptions the later ones
// have none, and that is told by a number of its own.
//
// The format wants all of a family together, so everything is seen first and then written, a family
// after the other. Source: Prometheus' "Exposition formats". Admin thread.
#include "admin/process.h"
#include "admin/server.h"

#include "base/clock.h"
#include "flow/flow.h"
#include "guest/engine.h"
#include "observe/log.h"
#include "trace/trace.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECOND_DIGITS = 9 };

// ---- what was seen ----

// One series of each family of its kind. The numbers of the tables below are members of these.
struct subscription {
    struct weir_text labels;
    struct weir_text info; // labels
    struct weir_subscription_counts counts;
    uint64_t lag_events, paused, stopped, retrying;
    int64_t oldest_ns;
    struct weir_histogram handler_time, event_time;
};

struct resource {
    struct weir_text labels;
    uint64_t connected, reconnects, errors;
};

struct target {
    struct weir_text labels;
    uint64_t waiting, published;
};

struct guest {
    struct weir_text labels;
    struct weir_guest_stats stats;
    uint64_t refused;
};

struct list {
    void *items;
    size_t count, room, item_bytes;
};

struct seen {
    struct list subscriptions, resources, targets, guests;
    uint64_t left_out; // subscriptions
    uint64_t commits, is_failing;
    bool has_failed; // no memory
};

// A new zeroed item; NULL: no memory, which is noted.
static void *add(struct seen *seen, struct list *list) {
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        void *grown = realloc(list->items, room * list->item_bytes);
        if (!grown) {
            seen->has_failed = true;
            return NULL;
        }
        list->items = grown;
        list->room = room;
    }
    void *item = (char *)list->items + list->count++ * list->item_bytes;
    memset(item, 0, list->item_bytes);
    return item;
}

// ---- labels ----

// A value between quotes, as the format has it. What is not UTF-8 does not stand in names.
static void put_label(struct weir_text *text, const char *name, const char *value) {
    weir_text_put(text, text->size > 0 ? WEIR_STR(",") : WEIR_STR(""));
    weir_text_put(text, weir_str_of(name));
    weir_text_put(text, WEIR_STR("=\""));
    for (const char *at = value; *at;) {
        size_t plain = strcspn(at, "\\\"\n");
        weir_text_put(text, (struct weir_str){at, plain});
        at += plain;
        if (*at) {
            weir_text_put(text, *at == '\n'  ? WEIR_STR("\\n")
                                : *at == '"' ? WEIR_STR("\\\"")
                                             : WEIR_STR("\\\\"));
            at++;
        }
    }
    weir_text_put(text, WEIR_STR("\""));
}

// ---- looking ----

static void see_flow(void *context, const struct weir_flow_status *status) {
    struct seen *seen = context;
    seen->commits = status->commits;
    seen->is_failing = status->is_state_failing;
}

static void see_subscription(void *context, const struct weir_subscription_status *status) {
    struct seen *seen = context;
    if (strcmp(status->state, "kept") == 0) {
        return; // nobody runs it
    }
    if (seen->subscriptions.count == WEIR_METRICS_SUBSCRIPTIONS_MAX) {
        seen->left_out++;
        return;
    }
    struct subscription *subscription = add(seen, &seen->subscriptions);
    if (!subscription) {
        return;
    }
    put_label(&subscription->labels, "subscription", status->name);
    put_label(&subscription->info, "subscription", status->name);
    put_label(&subscription->info, "resource", status->resource);
    put_label(&subscription->info, "guest", status->guest);
    put_label(&subscription->info, "handler", status->handler);
    put_label(&subscription->info, "to", status->to);
    subscription->counts = status->counts;
    subscription->lag_events = status->counts.queued + status->counts.behind;
    subscription->paused = strcmp(status->state, "paused") == 0;
    subscription->stopped = strcmp(status->state, "stopped") == 0;
    subscription->retrying = status->retrying;
    subscription->oldest_ns = status->oldest_ns;
    subscription->handler_time = status->handler_time;
    subscription->event_time = status->event_time;
}

static void see_target(void *context, const struct weir_target_status *status) {
    struct seen *seen = context;
    struct target *target = add(seen, &seen->targets);
    if (target) {
        put_label(&target->labels, "resource", status->name);
        target->waiting = status->waiting;
        target->published = status->published;
    }
}

static void see_resource(void *context, const struct weir_resource_status *status) {
    struct seen *seen = context;
    struct resource *resource = status->health.is_known ? add(seen, &seen->resources) : NULL;
    if (resource) {
        put_label(&resource->labels, "resource", status->name);
        put_label(&resource->labels, "kind", status->kind);
        resource->connected = status->health.is_connected;
        resource->reconnects = status->health.reconnects;
        resource->errors = status->health.errors;
    }
}

static void see_guest(void *context, const struct weir_guest_status *status) {
    struct seen *seen = context;
    struct guest *guest = add(seen, &seen->guests);
    if (guest) {
        put_label(&guest->labels, "guest", status->name);
        put_label(&guest->labels, "lane", status->lane);
        guest->stats = status->stats;
        guest->refused = status->refused;
    }
}

static void finish_list(struct list *list) {
    for (size_t i = 0; i < list->count; i++) {
        // The labels are the first member of each.
        weir_text_finish((struct weir_text *)(void *)((char *)list->items + i * list->item_bytes));
    }
    free(list->items);
}

static void finish_seen(struct seen *seen) {
    struct subscription *subscriptions = seen->subscriptions.items;
    for (size_t i = 0; i < seen->subscriptions.count; i++) {
        weir_text_finish(&subscriptions[i].info);
    }
    finish_list(&seen->subscriptions);
    finish_list(&seen->resources);
    finish_list(&seen->targets);
    finish_list(&seen->guests);
}

// ---- writing ----

enum type { COUNTER, GAUGE, HISTOGRAM };
enum unit { COUNT, NANOSECONDS };

struct family {
    const char *name, *help;
    enum type type;
    enum unit unit;
    size_t offset; // of an uint64_t, or an int64_t of nanoseconds, in an item
};

static void put_text(struct weir_text *text, const char *piece) {
    weir_text_put(text, weir_str_of(piece));
}

static void put_head(struct weir_text *text, const char *name, const char *help, enum type type) {
    static const char *const types[] = {
        [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};
    put_text(text, "# HELP ");
    put_text(text, name);
    put_text(text, " ");
    put_text(text, help);
    put_text(text, "\n# TYPE ");
    put_text(text, name);
    put_text(text, " ");
    put_text(text, types[type]);
    put_text(text, "\n");
}

// Nanoseconds as seconds, without zeros at the end: "0.0025".
static void put_seconds(struct weir_text *text, uint64_t ns) {
    char digits[32];
    int size = snprintf(digits, sizeof digits, "%llu.%09llu",
                        (unsigned long long)(ns / (uint64_t)WEIR_NS_PER_S),
                        (unsigned long long)(ns % (uint64_t)WEIR_NS_PER_S));
    while (digits[size - 1] == '0') {
        size--;
    }
    size -= digits[size - 1] == '.';
    weir_text_put(text, (struct weir_str){digits, (size_t)size});
}

static void put_name(struct weir_text *text, const char *name, const struct weir_text *labels) {
    put_text(text, name);
    if (labels && labels->size > 0) {
        put_text(text, "{");
        weir_text_put(text, weir_text_view(labels));
        put_text(text, "}");
    }
    put_text(text, " ");
}

static void put_number(struct weir_text *text, const char *name, const struct weir_text *labels,
                       uint64_t number) {
    put_name(text, name, labels);
    weir_text_put_number(text, number < INT64_MAX ? (int64_t)number : INT64_MAX);
    put_text(text, "\n");
}

static void put_family(struct weir_text *text, const struct family *family,
                       const struct list *list) {
    if (list->count == 0) {
        return;
    }
    put_head(text, family->name, family->help, family->type);
    for (size_t i = 0; i < list->count; i++) {
        const char *item = (const char *)list->items + i * list->item_bytes;
        const struct weir_text *labels = (const void *)item;
        uint64_t number;
        memcpy(&number, item + family->offset, sizeof number);
        if (family->unit == COUNT) {
            put_number(text, family->name, labels, number);
        } else {
            put_name(text, family->name, labels);
            put_seconds(text, number);
            put_text(text, "\n");
        }
    }
}

static void put_buckets(struct weir_text *text, const char *name, const struct weir_text *labels,
                        const struct weir_histogram *histogram) {
    uint64_t count = 0;
    for (size_t i = 0; i <= WEIR_HISTOGRAM_BOUNDS; i++) {
        count += histogram->counts[i];
        put_text(text, name);
        put_text(text, "_bucket{");
        weir_text_put(text, weir_text_view(labels));
        put_text(text, ",le=\"");
        if (i < WEIR_HISTOGRAM_BOUNDS) {
            put_seconds(text, (uint64_t)weir_histogram_bounds_ns[i]);
        } else {
            put_text(text, "+Inf");
        }
        put_text(text, "\"} ");
        weir_text_put_number(text, (int64_t)count);
        put_text(text, "\n");
    }
    put_text(text, name);
    put_text(text, "_sum{");
    weir_text_put(text, weir_text_view(labels));
    put_text(text, "} ");
    put_seconds(text, histogram->sum_ns);
    put_text(text, "\n");
    put_text(text, name);
    put_text(text, "_count{");
    weir_text_put(text, weir_text_view(labels));
    put_text(text, "} ");
    weir_text_put_number(text, (int64_t)count);
    put_text(text, "\n");
}

static void put_histogram(struct weir_text *text, const struct family *family,
                          const struct list *list) {
    if (list->count == 0) {
        return;
    }
    put_head(text, family->name, family->help, HISTOGRAM);
    for (size_t i = 0; i < list->count; i++) {
        const char *item = (const char *)list->items + i * list->item_bytes;
        put_buckets(text, family->name, (const void *)item, (const void *)(item + family->offset));
    }
}

// ---- the families ----

#define OF(struct_name, member) offsetof(struct struct_name, member)

static const struct family subscription_families[] = {
    {"weir_subscription_received_events_total", "Events taken from the source.", COUNTER, COUNT,
     OF(subscription, counts.received)},
    {"weir_subscription_repeated_events_total",
     "Events taken that their source says it has told before.", COUNTER, COUNT,
     OF(subscription, counts.repeated)},
    {"weir_subscription_handled_events_total", "Events whose handler succeeded.", COUNTER, COUNT,
     OF(subscription, counts.handled)},
    {"weir_subscription_derived_events_total", "Events that handlers returned.", COUNTER, COUNT,
     OF(subscription, counts.derived)},
    {"weir_subscription_dead_events_total", "Events given up, which became dead letters.", COUNTER,
     COUNT, OF(subscription, counts.dead)},
    {"weir_subscription_dropped_events_total", "Events dropped for want of room.", COUNTER, COUNT,
     OF(subscription, counts.dropped)},
    {"weir_subscription_delivered_attempts_total", "Calls of the handler that have ended.", COUNTER,
     COUNT, OF(subscription, counts.delivered)},
    {"weir_subscription_failed_attempts_total", "Calls of the handler that failed.", COUNTER, COUNT,
     OF(subscription, counts.failed)},
    {"weir_subscription_retried_attempts_total", "Failed calls that are tried again.", COUNTER,
     COUNT, OF(subscription, counts.retried)},
    {"weir_subscription_cut_attempts_total", "Failed calls that went over a bound.", COUNTER, COUNT,
     OF(subscription, counts.cut)},
    {"weir_subscription_trapped_attempts_total",
     "Failed calls that trapped, or answered what breaks the contract.", COUNTER, COUNT,
     OF(subscription, counts.trapped)},
    {"weir_subscription_lag_events", "Events taken and not settled, in memory and on disk.", GAUGE,
     COUNT, OF(subscription, lag_events)},
    {"weir_subscription_lag_seconds", "Age of the oldest event in memory that is not settled.",
     GAUGE, NANOSECONDS, OF(subscription, oldest_ns)},
    {"weir_subscription_in_flight_events", "Handlers that run.", GAUGE, COUNT,
     OF(subscription, counts.in_flight)},
    {"weir_subscription_queued_events", "Events in memory.", GAUGE, COUNT,
     OF(subscription, counts.queued)},
    {"weir_subscription_queued_bytes", "Bytes of the events in memory.", GAUGE, COUNT,
     OF(subscription, counts.queued_bytes)},
    {"weir_subscription_journal_events", "Events that wait on disk alone.", GAUGE, COUNT,
     OF(subscription, counts.behind)},
    {"weir_subscription_retrying_keys", "Keys whose first event waits for another attempt.", GAUGE,
     COUNT, OF(subscription, retrying)},
    {"weir_subscription_paused", "1 while the source is not read, because the queue is full.",
     GAUGE, COUNT, OF(subscription, paused)},
    {"weir_subscription_stopped", "1 where it has stopped: weir status says why.", GAUGE, COUNT,
     OF(subscription, stopped)},
};
static const struct family subscription_histograms[] = {
    {"weir_handler_duration_seconds", "How long a call of the handler took.", HISTOGRAM,
     NANOSECONDS, OF(subscription, handler_time)},
    {"weir_event_duration_seconds", "From when an event was taken until it was settled.", HISTOGRAM,
     NANOSECONDS, OF(subscription, event_time)},
};
static const struct family resource_families[] = {
    {"weir_resource_connected", "1 while the resource's server is reached.", GAUGE, COUNT,
     OF(resource, connected)},
    {"weir_resource_reconnects_total", "Connections after the first one.", COUNTER, COUNT,
     OF(resource, reconnects)},
    {"weir_resource_errors_total", "Connections that were lost or could not be made.", COUNTER,
     COUNT, OF(resource, errors)},
};
static const struct family target_families[] = {
    {"weir_target_waiting_events", "Events that wait to be published there.", GAUGE, COUNT,
     OF(target, waiting)},
    {"weir_target_published_events_total", "Events that were published there.", COUNTER, COUNT,
     OF(target, published)},
};
static const struct family guest_families[] = {
    {"weir_guest_instances", "Instances that are in a call, or kept for the next one.", GAUGE,
     COUNT, OF(guest, stats.instances)},
    {"weir_guest_made_instances_total", "Instances that were made.", COUNTER, COUNT,
     OF(guest, stats.instances_made)},
    {"weir_guest_instance_memory_bytes",
     "The most memory that one instance has had; 0: not known, as of components.", GAUGE, COUNT,
     OF(guest, stats.memory_bytes_largest)},
    {"weir_guest_compile_seconds", "How long it took to make the guest ready, compiled or kept.",
     GAUGE, NANOSECONDS, OF(guest, stats.compile_ns)},
    {"weir_guest_refused_calls_total", "What the guest asked for without a grant.", COUNTER, COUNT,
     OF(guest, refused)},
};

#define PUT_ALL(function, text, families, list)                           \
    for (size_t i = 0; i < sizeof(families) / sizeof(families)[0]; i++) { \
        function(text, &(families)[i], list);                             \
    }

static void put_one(struct weir_text *text, const char *name, const char *help, enum type type,
                    uint64_t number) {
    put_head(text, name, help, type);
    put_number(text, name, NULL, number);
}

static void put_info(struct weir_text *text, const struct seen *seen) {
    struct weir_text labels = {0};
    put_label(&labels, "version", WEIR_VERSION);
    put_label(&labels, "engine", weir_engine_version());
    put_head(text, "weir_build_info", "What runs here.", GAUGE);
    put_number(text, "weir_build_info", &labels, 1);
    weir_text_finish(&labels);
    const struct subscription *subscriptions = seen->subscriptions.items;
    if (seen->subscriptions.count > 0) {
        put_head(text, "weir_subscription_info", "What a subscription is about.", GAUGE);
    }
    for (size_t i = 0; i < seen->subscriptions.count; i++) {
        put_number(text, "weir_subscription_info", &subscriptions[i].info, 1);
    }
}

static void put_flow(struct weir_admin *admin, struct weir_text *text, const struct seen *seen) {
    put_one(text, "weir_state_commits_total", "Transactions of the state database.", COUNTER,
            seen->commits);
    put_one(text, "weir_state_failing", "1 while the state database cannot be written.", GAUGE,
            seen->is_failing);
    put_one(text, "weir_subscriptions_without_series",
            "Subscriptions beyond the most that metrics tell of.", GAUGE, seen->left_out);
    uint64_t letters;
    if (weir_admin_letters_count(admin, &letters)) {
        put_one(text, "weir_dead_letters",
                "Dead letters that wait for somebody, counted up to 10000.", GAUGE, letters);
    }
}

static void put_labelled(struct weir_text *text, const char *name, const char *label,
                         const char *value, uint64_t number) {
    struct weir_text labels = {0};
    put_label(&labels, label, value);
    put_number(text, name, &labels, number);
    weir_text_finish(&labels);
}

static void put_log(struct weir_text *text, const struct weir_log *log) {
    static const char *const levels[] = {[WEIR_LOG_DEBUG] = "debug",
                                         [WEIR_LOG_INFO] = "info",
                                         [WEIR_LOG_WARN] = "warn",
                                         [WEIR_LOG_ERROR] = "error"};
    static const char written[] = "weir_log_written_lines_total";
    struct weir_log_counts counts;
    if (!log) {
        return;
    }
    weir_log_counts(log, &counts);
    put_head(text, written, "Lines of the log, by level.", COUNTER);
    for (size_t i = 0; i < WEIR_LOG_LEVELS; i++) {
        put_labelled(text, written, "level", levels[i], counts.written[i]);
    }
    put_one(text, "weir_log_left_out_lines_total", "Lines left out by the rate of their message.",
            COUNTER, counts.left_out);
    put_one(text, "weir_log_dropped_lines_total", "Lines dropped because nobody read the log.",
            COUNTER, counts.dropped);
}

static void put_traces(struct weir_text *text, struct weir_tracer *tracer) {
    static const char dropped[] = "weir_trace_dropped_spans_total";
    struct weir_trace_counts counts;
    if (!tracer) {
        return;
    }
    weir_tracer_counts(tracer, &counts);
    put_one(text, "weir_trace_sampled_spans_total", "Spans that were made.", COUNTER,
            counts.sampled);
    put_one(text, "weir_trace_exported_spans_total", "Spans that the receiver has taken.", COUNTER,
            counts.exported);
    put_head(text, dropped, "Spans that are lost, by the reason.", COUNTER);
    put_labelled(text, dropped, "reason", "full", counts.dropped_full);
    put_labelled(text, dropped, "reason", "refused", counts.dropped_refused);
    put_labelled(text, dropped, "reason", "unreachable", counts.dropped_unreachable);
    put_one(text, "weir_trace_queued_spans", "Spans that wait to be sent.", GAUGE, counts.queued);
}

static void put_process(struct weir_text *text, const struct weir_admin *admin) {
    struct weir_process process;
    if (!weir_process_look(&process)) {
        return;
    }
    put_head(text, "process_cpu_seconds_total", "CPU time, of user and system.", COUNTER);
    put_name(text, "process_cpu_seconds_total", NULL);
    put_seconds(text, process.cpu_ns);
    put_text(text, "\n");
    put_one(text, "process_resident_memory_bytes", "Memory in use.", GAUGE, process.resident_bytes);
    put_one(text, "process_virtual_memory_bytes", "Address space.", GAUGE, process.virtual_bytes);
    put_one(text, "process_open_fds", "Descriptors that are open.", GAUGE, process.fds);
    put_one(text, "process_max_fds", "Descriptors that may be open.", GAUGE, process.fds_max);
    put_one(text, "process_threads", "Threads.", GAUGE, process.threads);
    put_head(text, "process_start_time_seconds", "When it was started, since 1970.", GAUGE);
    put_name(text, "process_start_time_seconds", NULL);
    put_seconds(text, (uint64_t)admin->started_wall_ns);
    put_text(text, "\n");
}

void weir_admin_metrics(struct weir_admin *admin, const struct weir_admin_request *request,
                        const char *rest, struct weir_admin_answer *answer) {
    struct seen seen = {.subscriptions.item_bytes = sizeof(struct subscription),
                        .resources.item_bytes = sizeof(struct resource),
                        .targets.item_bytes = sizeof(struct target),
                        .guests.item_bytes = sizeof(struct guest)};
    const struct weir_status_calls calls = {.flow = see_flow,
                                            .subscription = see_subscription,
                                            .target = see_target,
                                            .resource = see_resource,
                                            .guest = see_guest,
                                            .context = &seen};
    struct weir_error err;
    (void)request;
    (void)rest;
    weir_status status = weir_flow_look(admin->flow, &calls, &err);
    if (status == WEIR_OK && seen.has_failed) {
        status = weir_fail_no_memory(&err, "the metrics");
    }
    if (status == WEIR_OK) {
        struct weir_text *text = &answer->text;
        answer->type = "text/plain; version=0.0.4; charset=utf-8";
        put_info(text, &seen);
        PUT_ALL(put_family, text, subscription_families, &seen.subscriptions)
        PUT_ALL(put_histogram, text, subscription_histograms, &seen.subscriptions)
        PUT_ALL(put_family, text, resource_families, &seen.resources)
        PUT_ALL(put_family, text, target_families, &seen.targets)
        PUT_ALL(put_family, text, guest_families, &seen.guests)
        put_flow(admin, text, &seen);
        put_log(text, admin->log);
        put_traces(text, admin->tracer);
        put_process(text, admin);
    } else {
        weir_admin_fail(answer, &err);
    }
    finish_seen(&seen);
}
