// SPDX-License-Identifier: Apache-2.0
//
// file GUEST.wasm BARE_GUEST.wasm FOLDER ROUNDS LATENCY_EVENTS THROUGHPUT_EVENTS
//
// From a change of a file to the handler, against a program that does nothing but read the file
// (inotify.h). Another process writes; the guest prints what was written, which holds the time of
// the writing, and weir's callback for guests' output takes the time at which it came. So weir is
// measured from the write to the middle of the handler: notice, read, decide, build the event,
// queue it, wake a worker, make an instance, call. The bare reader ("floor") is measured from the
// write to the moment at which it has the value. Between the two is the same work written straight
// (straight.h), with the guest of call.c, to the handler's return: what of it all is weir's.
//
// Two measures, each in rounds, all of them in turn, in folders of their own in FOLDER. Latency: a
// few keys that exist are written in turn, each when the one before was handled; told are p50 and
// p99. Throughput: new keys are written as fast as possible; told are the events a second from the
// first write to the last event. Prints a line for each, "latency weir 41000 83000" (ns) or
// "throughput floor 101000", and last "writer N", the events a second at which the writer writes
// where nobody watches: nobody can be faster.
//
// weir is put together as `weir run` does it, with the defaults of weir.yaml: once without the
// state database ("weir"), and once with it, in FOLDER too ("durable").
#include "base/clock.h"
#include "host.h"
#include "inotify.h"
#include "provider/provider.h"
#include "receipt.h"
#include "straight.h"
#include "support.h"
#include "writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 1000,
    LATENCY_KEYS = 64,
    WARM_UP_EVENTS = 200,
};

// The folders, in the order in which the writer knows them.
enum { WEIR_FOLDER, BARE_FOLDER, STRAIGHT_FOLDER, DURABLE_FOLDER, FOLDER_COUNT };

// weir, with nothing written down, or with the state.
struct weir {
    struct weir_resource *resource;
    struct host host;
};

static bool take_line(void *context, const char *guest, struct weir_str line) {
    (void)guest;
    receipts_take(context, line.data, line.size);
    return true;
}

static void take_value(void *context, struct weir_str value) {
    receipts_take(context, value.data, value.size);
}

static struct weir_resource *open_resource(const char *folder) {
    const struct weir_provider *provider = weir_provider_find(WEIR_STR("file"));
    struct weir_error err;
    void *options = allocate_or_give_up(provider->options_bytes);
    host_defaults(&provider->options, options);
    const struct weir_option *path = weir_option_find(&provider->options, WEIR_STR("path"));
    struct weir_resource_args args = {.name = "bench", .options = options};
    struct weir_resource *resource;
    if (weir_option_set(path, options, weir_str_of(folder), NULL, &err) != WEIR_OK ||
        provider->open(&args, &resource, &err) != WEIR_OK) {
        give_up(folder, err.message);
    }
    weir_options_finish(&provider->options, options);
    free(options);
    return resource;
}

// `state`: the folder of the state database; NULL: none.
static void weir_start(struct weir *weir, const struct host_guest *guest, const char *folder,
                       const char *state) {
    weir->resource = open_resource(folder);
    host_load(&weir->host, guest, 0);
    host_subscribe(&weir->host, &(struct host_flow){.state = state, .resource = weir->resource});
    host_execute(&weir->host);
}

static void weir_stop(struct weir *weir) {
    host_finish(&weir->host);
    weir->resource->provider->close(weir->resource);
}

// What the rounds share. Every write of the run has a number of its own.
struct benchmark {
    struct writer *writer;
    struct receipts *receipts;
    uint64_t next_sequence;
};

static const char *const contender_names[FOLDER_COUNT] = {"weir", "floor", "straight", "durable"};

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
    if (argument_count != 7) {
        fprintf(stderr, "usage: file GUEST.wasm BARE_GUEST.wasm FOLDER ROUNDS LATENCY_EVENTS "
                        "THROUGHPUT_EVENTS\n");
        return 2;
    }
    long rounds = parse_argument(arguments[4], 1, ROUNDS_MAX);
    size_t latency_events = (size_t)parse_argument(arguments[5], 1, EVENTS_MAX);
    size_t throughput_events = (size_t)parse_argument(arguments[6], 1, EVENTS_MAX);
    char *folders[] = {make_folder(arguments[3], "weir"), make_folder(arguments[3], "bare"),
                       make_folder(arguments[3], "straight"), make_folder(arguments[3], "durable"),
                       NULL};
    char *state = make_folder(arguments[3], "state");

    // First of all: a fork copies the one thread that there is.
    struct benchmark benchmark = {.writer = writer_create((const char *const *)folders),
                                  .receipts = receipts_create()};
    struct host_guest guest = {.path = arguments[1],
                               .output = {.line = take_line, .context = benchmark.receipts}};
    struct weir weir, durable;
    weir_start(&weir, &guest, folders[WEIR_FOLDER], NULL);
    weir_start(&durable, &guest, folders[DURABLE_FOLDER], state);
    struct bare_reader *reader =
        bare_reader_create(folders[BARE_FOLDER], take_value, benchmark.receipts);
    struct weir_str wasm;
    char *module = read_guest(arguments[2], &wasm);
    struct straight *straight = straight_create(folders[STRAIGHT_FOLDER], wasm, benchmark.receipts);

    run_all(&benchmark, rounds, latency_events, throughput_events);

    straight_destroy(straight);
    free(module);
    bare_reader_destroy(reader);
    weir_stop(&durable);
    weir_stop(&weir);
    print_writer(&benchmark, throughput_events);
    writer_destroy(benchmark.writer);
    receipts_destroy(benchmark.receipts);
    for (int i = 0; folders[i]; i++) {
        free(folders[i]);
    }
    free(state);
    return 0;
}
