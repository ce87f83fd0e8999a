// SPDX-License-Identifier: Apache-2.0
//
// file GUEST.wasm FOLDER ROUNDS LATENCY_EVENTS THROUGHPUT_EVENTS
//
// From a change of a file to the handler, against a program that does nothing but read the file
// (inotify.h). Another process writes; the guest prints what was written, which holds the time of
// the writing, and weir's callback for guests' output takes the time at which it came. So weir is
// measured from the write to the middle of the handler: notice, read, decide, build the event,
// queue it, wake a worker, make an instance, call. The bare reader is measured from the write to
// the moment at which it has the value.
//
// Two measures, each in rounds, weir and the bare reader in turn, in folders of their own in
// FOLDER. Latency: a few keys that exist are written in turn, each when the one before was handled;
// told are p50 and p99. Throughput: new keys are written as fast as possible; told are the events a
// second from the first write to the last event. Prints a line for each, "latency weir 41000 83000"
// (ns) or "throughput floor 101000", and last "writer N", the events a second at which the writer
// writes where nobody watches: nobody can be faster.
//
// weir is put together as `weir run` does it, with the defaults of weir.yaml.
#include "base/clock.h"
#include "config/config.h"
#include "flow/flow.h"
#include "guest/engine.h"
#include "guest/guest.h"
#include "inotify.h"
#include "provider/provider.h"
#include "receipt.h"
#include "support.h"
#include "writer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 1000,
    LATENCY_KEYS = 64,
    WARM_UP_EVENTS = 200,
    INSTANCES_SPARE = 16,
    THREAD_STACK_BYTES = 1024 * 1024,
};

// The folders, in the order in which the writer knows them.
enum { WEIR_FOLDER, BARE_FOLDER, FOLDER_COUNT };

// weir, from the resource to the handler.
struct weir {
    struct weir_host_config host;
    struct weir_engine *engine;
    struct weir_guest *guest;
    struct weir_resource *resource;
    struct weir_flow *flow;
    struct weir_set *set;
    pthread_t executing;
};

static bool take_line(void *context, const char *guest, struct weir_str line) {
    (void)guest;
    receipts_take(context, line.data, line.size);
    return true;
}

static void defaults(const struct weir_option_table *table, void *base) {
    struct weir_error err;
    if (weir_options_init(table, base, &err) != WEIR_OK) {
        give_up("the defaults", err.message);
    }
}

static uint32_t worker_count(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > WEIR_WORKERS_MAX ? WEIR_WORKERS_MAX : (uint32_t)cores;
}

static void start_guest(struct weir *weir, const char *path, struct receipts *receipts) {
    struct weir_error err;
    struct weir_bounds bounds = {0};
    defaults(&weir_bounds_options, &bounds);
    struct weir_engine_config engine = {.stack_bytes = weir->host.stack_bytes,
                                        .memory_bytes_max = bounds.memory_bytes,
                                        .instances_max = worker_count() + INSTANCES_SPARE};
    struct weir_guest_args guest = {
        .name = "bench",
        .instances = WEIR_INSTANCES_FRESH,
        .time_ns = bounds.time_ns,
        .memory_bytes = bounds.memory_bytes,
        .event_bytes = bounds.event_bytes,
        .output_bytes = bounds.output_bytes,
        .module_bytes = bounds.module_bytes,
        .handles = (uint32_t)bounds.handles,
        .output = {.line = take_line, .context = receipts},
        .host = &weir_session_host,
    };
    if (weir_engine_create(&engine, &weir->engine, &err) != WEIR_OK ||
        weir_guest_load(weir->engine, &guest, path, &weir->guest, &err) != WEIR_OK) {
        give_up("the guest", err.message);
    }
}

static void open_resource(struct weir *weir, const char *folder) {
    const struct weir_provider *provider = weir_provider_find(WEIR_STR("file"));
    struct weir_error err;
    void *options = allocate_or_give_up(provider->options_bytes);
    defaults(&provider->options, options);
    const struct weir_option *path = weir_option_find(&provider->options, WEIR_STR("path"));
    struct weir_resource_args args = {.name = "bench", .options = options};
    if (weir_option_set(path, options, weir_str_of(folder), NULL, &err) != WEIR_OK ||
        provider->open(&args, &weir->resource, &err) != WEIR_OK) {
        give_up(folder, err.message);
    }
    weir_options_finish(&provider->options, options);
    free(options);
}

static void subscribe(struct weir *weir) {
    struct weir_error err;
    struct weir_flow_config flow = {.workers = worker_count(),
                                    .grace_ns = weir->host.grace_ns,
                                    .queue_bytes = weir->host.queue_bytes,
                                    .stack_bytes = weir->host.stack_bytes};
    struct weir_subscription_args args = {.resource = weir->resource,
                                          .key = WEIR_STR("*"),
                                          .event_bytes_max = 1024 * 1024,
                                          .guest = weir->guest};
    defaults(&weir_retry_options, &args.retry);
    defaults(&weir_queue_options, &args.queue);
    struct weir_subscription *subscription;
    uint32_t handler;
    if (weir_guest_handler_find(weir->guest, WEIR_STR(WEIR_HANDLER_DEFAULT), &handler, &err) !=
            WEIR_OK ||
        weir_flow_create(&flow, &weir->flow, &err) != WEIR_OK ||
        weir_set_create(weir->flow, "bench", &weir->set, &err) != WEIR_OK ||
        weir_subscription_create(weir->flow, &args, &subscription, &err) != WEIR_OK) {
        give_up("the subscription", err.message);
    }
    weir_set_add(weir->set, subscription, handler);
}

static void *execute(void *argument) {
    struct weir *weir = argument;
    struct weir_error err;
    if (weir_set_exec(weir->set, 0, &err) != WEIR_OK) {
        give_up("exec", err.message);
    }
    return NULL;
}

static void weir_start(struct weir *weir, const char *guest, const char *folder,
                       struct receipts *receipts) {
    *weir = (struct weir){0};
    defaults(&weir_host_options, &weir->host);
    start_guest(weir, guest, receipts);
    open_resource(weir, folder);
    subscribe(weir);
    int code = pthread_create(&weir->executing, NULL, execute, weir);
    if (code != 0) {
        give_up("a thread", strerrordesc_np(code));
    }
}

static void weir_stop(struct weir *weir) {
    weir_flow_stop(weir->flow);
    pthread_join(weir->executing, NULL);
    weir_set_unref(weir->set);
    weir_flow_destroy(weir->flow);
    weir->resource->provider->close(weir->resource);
    weir_guest_unref(weir->guest);
    weir_engine_destroy(weir->engine);
}

// What the rounds share. Every write of the run has a number of its own.
struct benchmark {
    struct writer *writer;
    struct receipts *receipts;
    uint64_t next_sequence;
};

static const char *const contender_names[FOLDER_COUNT] = {"weir", "floor"};

static void wait_for(struct benchmark *benchmark, int folder, size_t count) {
    if (!receipts_wait(benchmark->receipts, count)) {
        give_up(contender_names[folder], "an event did not come");
    }
}

// Writes one key after the other, each when the one before was read.
static void run_latency(struct benchmark *benchmark, int folder, size_t events) {
    receipts_expect(benchmark->receipts, benchmark->next_sequence, events);
    for (size_t i = 0; i < events; i++) {
        struct writer_order order = {.folder = folder,
                                     .first = benchmark->next_sequence++,
                                     .count = 1,
                                     .keys = LATENCY_KEYS,
                                     .prefix = 'l'};
        writer_begin(benchmark->writer, &order);
        wait_for(benchmark, folder, i + 1);
        writer_end(benchmark->writer);
    }
}

// Writes new keys as fast as possible.
static void run_throughput(struct benchmark *benchmark, int folder, size_t events) {
    receipts_expect(benchmark->receipts, benchmark->next_sequence, events);
    struct writer_order order = {.folder = folder,
                                 .first = benchmark->next_sequence,
                                 .count = events,
                                 .keys = UINT64_MAX,
                                 .prefix = 't'};
    benchmark->next_sequence += events;
    writer_begin(benchmark->writer, &order);
    wait_for(benchmark, folder, events);
    writer_end(benchmark->writer);
}

static void print_latency(struct benchmark *benchmark, int folder, size_t events) {
    const int64_t *sorted_ns = receipts_latencies_ns(benchmark->receipts);
    printf("latency %s %" PRId64 " %" PRId64 "\n", contender_names[folder], sorted_ns[events / 2],
           sorted_ns[events * 99 / 100]);
}

static void print_throughput(struct benchmark *benchmark, int folder, size_t events) {
    int64_t span_ns = receipts_span_ns(benchmark->receipts);
    printf("throughput %s %.1f\n", contender_names[folder],
           (double)events * (double)WEIR_NS_PER_S / (double)span_ns);
}

static void run_all(struct benchmark *benchmark, long rounds, size_t latency_events,
                    size_t throughput_events) {
    for (int folder = 0; folder < FOLDER_COUNT; folder++) {
        run_latency(benchmark, folder, WARM_UP_EVENTS);
        run_throughput(benchmark, folder, WARM_UP_EVENTS);
    }
    for (long round = 0; round < rounds; round++) {
        for (int folder = 0; folder < FOLDER_COUNT; folder++) {
            run_latency(benchmark, folder, latency_events);
            print_latency(benchmark, folder, latency_events);
        }
        for (int folder = 0; folder < FOLDER_COUNT; folder++) {
            run_throughput(benchmark, folder, throughput_events);
            print_throughput(benchmark, folder, throughput_events);
        }
    }
}

// The writer alone, in the folder that nobody watches any more.
static void print_writer(struct benchmark *benchmark, size_t events) {
    struct writer_order order = {.folder = BARE_FOLDER,
                                 .first = benchmark->next_sequence,
                                 .count = events,
                                 .keys = UINT64_MAX,
                                 .prefix = 'w'};
    int64_t begin_ns = weir_clock_monotonic_ns();
    writer_begin(benchmark->writer, &order);
    writer_end(benchmark->writer);
    int64_t span_ns = weir_clock_monotonic_ns() - begin_ns;
    printf("writer %.1f\n", (double)events * (double)WEIR_NS_PER_S / (double)span_ns);
}

static char *make_folder(const char *parent, const char *name) {
    char *path;
    if (asprintf(&path, "%s/%s", parent, name) < 0) {
        give_up(name, "no memory");
    }
    if (mkdir(path, 0700) != 0) {
        give_up_errno(path);
    }
    return path;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 6) {
        fprintf(stderr, "usage: file GUEST.wasm FOLDER ROUNDS LATENCY_EVENTS THROUGHPUT_EVENTS\n");
        return 2;
    }
    long rounds = parse_argument(arguments[3], 1, ROUNDS_MAX);
    size_t latency_events = (size_t)parse_argument(arguments[4], 1, EVENTS_MAX);
    size_t throughput_events = (size_t)parse_argument(arguments[5], 1, EVENTS_MAX);
    char *folders[] = {make_folder(arguments[2], "weir"), make_folder(arguments[2], "bare"), NULL};

    // First of all: a fork copies the one thread that there is.
    struct benchmark benchmark = {.writer = writer_create((const char *const *)folders),
                                  .receipts = receipts_create()};
    struct weir weir;
    weir_start(&weir, arguments[1], folders[WEIR_FOLDER], benchmark.receipts);
    struct bare_reader *reader = bare_reader_create(folders[BARE_FOLDER], benchmark.receipts);

    run_all(&benchmark, rounds, latency_events, throughput_events);

    bare_reader_destroy(reader);
    weir_stop(&weir);
    print_writer(&benchmark, throughput_events);
    writer_destroy(benchmark.writer);
    receipts_destroy(benchmark.receipts);
    for (int i = 0; folders[i]; i++) {
        free(folders[i]);
    }
    return 0;
}
