// SPDX-License-Identifier: Apache-2.0
//
// Every key of weir.yaml but the providers' own; see option.h and tables.h. Constant data, any
// thread.
#include "config/tables.h"

#include "base/clock.h"
#include "provider/provider.h"

#define KIB       (INT64_C(1) << 10)
#define MIB       (INT64_C(1) << 20)
#define GIB       (INT64_C(1) << 30)
#define MINUTE_NS (60 * WEIR_NS_PER_S)
#define HOUR_NS   (60 * MINUTE_NS)

#define TABLE_OF(array) {.rows = (array), .count = sizeof(array) / sizeof(array)[0]}

static const struct weir_option bounds_rows[] = {
    {
        .name = "time",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_bounds, time_ns),
        .fallback = "5s",
        .min = WEIR_NS_PER_MS,
        .max = HOUR_NS,
        .help = "how long one call may take: of a handler, of main outside of exec, of the start",
    },
    {
        .name = "memory",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_bounds, memory_bytes),
        .fallback = "64MiB",
        .min = 64 * KIB,
        .max = 4 * GIB,
        .help = "the memory of one instance",
    },
    {
        .name = "event",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_bounds, event_bytes),
        .fallback = "16MiB",
        .min = KIB,
        .max = GIB,
        .help = "an event to or from the guest, and any text or list that it hands over",
    },
    {
        .name = "output",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_bounds, output_bytes),
        .fallback = "64KiB",
        .min = 0,
        .max = GIB,
        .help = "what one call may print; for main, before and after each exec",
    },
    {
        .name = "module",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_bounds, module_bytes),
        .fallback = "64MiB",
        .min = KIB,
        .max = GIB,
        .help = "the guest's file",
    },
    {
        .name = "handles",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_bounds, handles),
        .fallback = "256",
        .min = 1,
        .max = 65535,
        .help = "resource handles that one instance may hold",
    },
    {
        .name = "watches",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_bounds, watches),
        .fallback = "256",
        .min = 1,
        .max = 1000000,
        .help = "watches that one run of main may make",
    },
};
const struct weir_option_table weir_bounds_options = TABLE_OF(bounds_rows);

static const struct weir_option retry_rows[] = {
    {
        .name = "attempts",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_retry, attempts),
        .fallback = "5",
        .min = 1,
        .max = 1000,
        .help = "how often an event is handed to its handler in all, before it is put aside",
    },
    {
        .name = "backoff",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_retry, backoff_ns),
        .fallback = "100ms",
        .min = WEIR_NS_PER_MS,
        .max = HOUR_NS,
        .help = "the wait before the second attempt; it doubles for each further one",
    },
    {
        .name = "backoff_max",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_retry, backoff_max_ns),
        .fallback = "30s",
        .min = WEIR_NS_PER_MS,
        .max = 24 * HOUR_NS,
        .help = "the longest wait between two attempts; at least backoff",
    },
    {
        .name = "jitter",
        .type = WEIR_OPTION_RATIO,
        .offset = offsetof(struct weir_retry, jitter),
        .fallback = "0.5",
        .help = "the share of a wait that is random, so that retries do not come in step",
    },
};
const struct weir_option_table weir_retry_options = TABLE_OF(retry_rows);

static const struct weir_option queue_rows[] = {
    {
        .name = "events",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_queue_bounds, events),
        .fallback = "1024",
        .min = 1,
        .max = 1000000,
        .help = "events that may wait in memory; when it is full, the source is no longer read",
    },
    {
        .name = "bytes",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_queue_bounds, bytes),
        .fallback = "64MiB",
        .min = KIB,
        .max = 64 * GIB,
        .help = "bytes of the events that may wait in memory",
    },
};
const struct weir_option_table weir_queue_options = TABLE_OF(queue_rows);

static const struct weir_option journal_rows[] = {
    {
        .name = "events",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_journal_bounds, events),
        .fallback = "1000000",
        .min = 1,
        .max = 1000000000,
        .help = "events that may wait on disk behind a full queue",
    },
    {
        .name = "bytes",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_journal_bounds, bytes),
        .fallback = "1GiB",
        .min = KIB,
        .max = 1024 * GIB,
        .help = "bytes of the events that may wait on disk",
    },
};
const struct weir_option_table weir_journal_options = TABLE_OF(journal_rows);

static const char *const on_gap_choices[] = {
    [WEIR_GAP_DELIVER] = "deliver",
    [WEIR_GAP_SKIP] = "skip",
    [WEIR_GAP_STOP] = "stop",
    NULL,
};
static const char *const overflow_choices[] = {
    [WEIR_OVERFLOW_JOURNAL] = "journal",
    [WEIR_OVERFLOW_DROP_OLDEST] = "drop-oldest",
    [WEIR_OVERFLOW_DROP_NEWEST] = "drop-newest",
    NULL,
};

static const struct weir_option delivery_rows[] = {
    {
        .name = "concurrency",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_delivery_policy, concurrency),
        .fallback = "0",
        .min = 0,
        .max = 1024,
        .help = "handlers that run at a time; 1: strictly one after the other; 0: host.workers",
    },
    {
        .name = "to",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_delivery_policy, to),
        .min = 1,
        .max = WEIR_NAME_BYTES_MAX,
        .help = "the resource where events that the handler returns are published",
    },
    {
        .name = "on_gap",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_delivery_policy, on_gap),
        .fallback = "deliver",
        .choices = on_gap_choices,
        .help = "where a source's history is gone: tell the handler, do not, or stop",
    },
    {
        .name = "overflow",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_delivery_policy, overflow),
        .fallback = "journal",
        .choices = overflow_choices,
        .help = "when the queue is full and the source cannot be stopped; journal: up to its bound",
    },
};
const struct weir_option_table weir_delivery_options = TABLE_OF(delivery_rows);

static const struct weir_option state_rows[] = {
    {
        .name = "path",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_state_config, path),
        .help = "the directory of the state database; default: .weir beside the configuration",
    },
    {
        .name = "commit",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_state_config, commit_ns),
        .fallback = "2ms",
        .min = 0,
        .max = 10 * WEIR_NS_PER_S,
        .help = "how long outcomes wait so that many are written with one flush of the disk",
    },
    {
        .name = "commit_events",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_state_config, commit_events),
        .fallback = "4096",
        .min = 1,
        .max = 1000000,
        .help = "outcomes after which they no longer wait",
    },
};
const struct weir_option_table weir_state_options = TABLE_OF(state_rows);

static const struct weir_option traces_rows[] = {
    {
        .name = "endpoint",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_traces_config, endpoint),
        .min = 1,
        .max = 2048,
        .help = "the URL of a receiver of OTLP/HTTP, such as http://127.0.0.1:4318; /v1/traces is "
                "put behind it where it has no path; none: no traces",
    },
    {
        .name = "sample",
        .type = WEIR_OPTION_RATIO,
        .offset = offsetof(struct weir_traces_config, sample),
        .fallback = "0.01",
        .help = "the share of events that are traced, of those that come without a traceparent",
    },
    {
        .name = "token",
        .type = WEIR_OPTION_SECRET,
        .offset = offsetof(struct weir_traces_config, token),
        .help = "what the receiver wants to be told, as Authorization: Bearer",
    },
    {
        .name = "queue",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_traces_config, queue),
        .fallback = "8192",
        .min = 64,
        .max = 1000000,
        .help = "spans that may wait to be sent; further ones are dropped and counted",
    },
    {
        .name = "batch",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_traces_config, batch),
        .fallback = "512",
        .min = 1,
        .max = 10000,
        .help = "spans of one request",
    },
    {
        .name = "interval",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_traces_config, interval_ns),
        .fallback = "1s",
        .min = 10 * WEIR_NS_PER_MS,
        .max = MINUTE_NS,
        .help = "how long a span waits for others to be sent with",
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_traces_config, timeout_ns),
        .fallback = "10s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 10 * MINUTE_NS,
        .help = "how long one request may take",
    },
};
const struct weir_option_table weir_traces_options = TABLE_OF(traces_rows);

enum { ENDPOINT_BYTES_MAX = 64 };

static const struct weir_option admin_rows[] = {
    {
        .name = "address",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_admin_config, address),
        .min = 1,
        .max = ENDPOINT_BYTES_MAX,
        .help = "IP:PORT, as 127.0.0.1:9464; one that is not of this machine alone wants a token",
    },
    {
        .name = "socket",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_admin_config, socket),
        .help = "a Unix socket in place of an address",
    },
    {
        .name = "token",
        .type = WEIR_OPTION_SECRET,
        .offset = offsetof(struct weir_admin_config, token),
        .help = "where the token is that changes want, and callers from elsewhere; without one "
                "nothing can be changed there",
    },
};
const struct weir_option_table weir_admin_options = TABLE_OF(admin_rows);

static const struct weir_option host_rows[] = {
    {
        .name = "workers",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_host_config, workers),
        .fallback = "0",
        .min = 0,
        .max = 1024,
        .help = "threads that call handlers; 0: one for each core",
    },
    {
        .name = "grace",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_host_config, grace_ns),
        .fallback = "5s",
        .min = 0,
        .max = HOUR_NS,
        .help = "how long handlers that are running may go on after a deadline or a stop",
    },
    {
        .name = "stack",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_host_config, stack_bytes),
        .fallback = "512KiB",
        .min = 16 * KIB,
        .max = 2 * MIB, // of the engine
        .help = "the WebAssembly stack of each call",
    },
    {
        .name = "queue",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_host_config, queue_bytes),
        .fallback = "256MiB",
        .min = KIB,
        .max = 1024 * GIB,
        .help = "bytes of the events that may wait in all queues together",
    },
    {
        .name = "hops",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_host_config, hops),
        .fallback = "16",
        .min = 1,
        .max = 10000,
        .help = "handlers that a chain of returned events may pass before it is cut",
    },
    {
        .name = "cache",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_host_config, cache),
        .help = "the folder of compiled guests; default: weir/compiled in the user's cache "
                "($XDG_CACHE_HOME or ~/.cache)",
    },
    {
        .name = "cache_size",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_host_config, cache_bytes),
        .fallback = "2GiB",
        .min = MIB,
        .max = 1024 * GIB,
        .help = "of that folder; what was not used for longest goes",
    },
    {
        .name = "compile_time",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_host_config, compile_time_ns),
        .fallback = "5m",
        .min = 100 * WEIR_NS_PER_MS,
        .max = HOUR_NS,
        .help = "how long compiling one guest may take",
    },
    {
        .name = "compile_memory",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct weir_host_config, compile_memory_bytes),
        .fallback = "4GiB",
        .min = 64 * MIB,
        .max = 1024 * GIB,
        .help = "how much memory compiling one guest may use",
    },
};
const struct weir_option_table weir_host_options = TABLE_OF(host_rows);

static const char *const instance_choices[] = {
    [WEIR_INSTANCE_FRESH] = "fresh",
    [WEIR_INSTANCE_REUSE] = "reuse",
    NULL,
};

static const char *const lane_choices[] = {
    [WEIR_LANE_CHOICE_AUTO] = "auto",
    [WEIR_LANE_CHOICE_CORE] = "core",
    [WEIR_LANE_CHOICE_COMPONENT] = "component",
    NULL,
};

static const struct weir_option guest_rows[] = {
    {
        .name = "wasm",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_guest_config, wasm),
        .is_required = true,
        .help = "the guest's file; a relative path starts at the configuration's folder",
    },
    {
        .name = "run",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_guest_config, run),
        .fallback = "false",
        .help = "call its main, which may set up subscriptions of its own",
    },
    {
        .name = "instance",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_guest_config, instance),
        .fallback = "fresh",
        .choices = instance_choices,
        .help = "an instance for each event, or instances that are used again",
    },
    {
        .name = "lane",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_guest_config, lane),
        .fallback = "auto",
        .choices = lane_choices,
        .help = "how a component is run; core: its main module alone, which is faster; auto: so "
                "where that can be",
    },
};
const struct weir_option_table weir_guest_options = TABLE_OF(guest_rows);

enum { HANDLER_BYTES_MAX = 256 };

static const struct weir_option subscription_rows[] = {
    {
        .name = "name",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_subscription_config, name),
        .min = 1,
        .max = WEIR_NAME_BYTES_MAX,
        .help =
            "under which its progress is kept; unique; default: from guest, resource, key, handler",
    },
    {
        .name = "watch",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_subscription_config, resource),
        .is_required = true,
        .help = "the resource whose changes it is about",
    },
    {
        .name = "key",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_subscription_config, key),
        .is_required = true,
        .min = 1,
        .max = WEIR_KEY_BYTES_MAX,
        .help = "a key of the resource, or with a final * every key that begins so",
    },
    {
        .name = "guest",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_subscription_config, guest),
        .is_required = true,
        .help = "the guest that handles them",
    },
    {
        .name = "handler",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_subscription_config, handler),
        .fallback = "handle-event",
        .min = 1,
        .max = HANDLER_BYTES_MAX,
        .help = "the exported function that is called; where there is none, handle-event-or-reject",
    },
};
const struct weir_option_table weir_subscription_options = TABLE_OF(subscription_rows);

static const struct weir_section top_rows[] = {
    {.name = "host", .help = "what holds for weir as a whole", .table = &weir_host_options},
    {
        .name = "state",
        .help = "what is written down so that nothing is lost over a stop",
        .table = &weir_state_options,
    },
    {
        .name = "traces",
        .help = "what became of events, for a receiver of OpenTelemetry's OTLP/HTTP",
        .table = &weir_traces_options,
    },
    {
        .name = "admin",
        .help = "where weir tells what it does: metrics, health, the console; or just IP:PORT, or "
                "a socket's path",
        .table = &weir_admin_options,
    },
    {
        .name = "bounds",
        .help = "what a guest may use; here the default of every guest's own bounds",
        .table = &weir_bounds_options,
    },
    {.name = "resources", .help = "what can be watched: a name, and what stands behind it"},
    {.name = "guests", .help = "the programs that handle events: a name, and the file"},
    {.name = "subscriptions", .help = "a list: whose changes go to which handler"},
};
const struct weir_sections weir_config_sections = TABLE_OF(top_rows);

static const struct weir_section resource_rows[] = {
    {.name = "kind", .help = "the provider; its own options stand beside it"},
};
const struct weir_sections weir_resource_sections = TABLE_OF(resource_rows);

static const struct weir_option grant_rows[] = {
    {
        .name = "resource",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_grant, resource),
        .is_required = true,
        .min = 1,
        .max = WEIR_NAME_BYTES_MAX,
        .help = "the resource that is granted",
    },
    {
        .name = "keys",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_grant, keys),
        .min = 1,
        .max = WEIR_KEY_BYTES_MAX,
        .help = "a key, or with a final * every key that begins so; default: all",
    },
};
const struct weir_option_table weir_grant_options = TABLE_OF(grant_rows);

static const struct weir_section grant_section_rows[] = {
    {.name = "verbs",
     .help = "a list of get, set, delete, list, watch, publish, query, execute; default: all, with "
             "keys all but the last two"},
};
const struct weir_sections weir_grant_sections = TABLE_OF(grant_section_rows);

static const struct weir_section guest_section_rows[] = {
    {
        .name = "grants",
        .help =
            "a list: resources by name, or what it may do with them, as below; default: to get, "
            "list and watch those of its subscriptions",
    },
    {
        .name = "hosts",
        .help = "a list: hosts that it may ask by HTTP, such as api.example.com, *.example.com or "
                "127.0.0.1:8080; without a port: 80 and 443",
    },
    {.name = "env", .help = "a list: environment variables that it is given"},
    {.name = "config", .help = "a mapping: texts that it is told by wasi:config"},
    {.name = "bounds", .help = "what it may use", .table = &weir_bounds_options},
    {
        .name = "retry",
        .help = "how a failed event is tried again",
        .table = &weir_retry_options,
    },
    {.name = "queue", .help = "how much may wait in memory", .table = &weir_queue_options},
    {.name = "journal", .help = "how much may wait on disk", .table = &weir_journal_options},
};
const struct weir_sections weir_guest_sections = TABLE_OF(guest_section_rows);

static const struct weir_section subscription_section_rows[] = {
    {.name = "retry", .help = "default: its guest's", .table = &weir_retry_options},
    {.name = "queue", .help = "default: its guest's", .table = &weir_queue_options},
    {.name = "journal", .help = "default: its guest's", .table = &weir_journal_options},
};
const struct weir_sections weir_subscription_sections = TABLE_OF(subscription_section_rows);
