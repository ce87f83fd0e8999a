// SPDX-License-Identifier: Apache-2.0
//
// observe GUEST FOLDER MS ROUNDS
//     What it costs to be seen: events of a source that can replay, from the source to the moved
//     cursor, as `durable settle` has them, with as many workers as there are cores, in fresh and
//     in warm instances; with one of these, and, right before and after, without anybody who looks:
//       metrics  an admin address whose /metrics is asked for each second
//       console  the same, and what the console asks: /api/status each second, and a live tail
//       traces-1, traces-100  1 or 100 of 100 events traced, to a receiver that says yes
//     They take turns, ROUNDS times. Whoever looks has a thread in this process, and all of it
//     shares the cores.
//     "observe INSTANCES VARIANT RATE CPU_NS OFF_RATE OFF_CPU_NS": events a second by the clock on
//     the wall, and nanoseconds of CPU time of the whole process for an event; and the mean of both
//     without anybody who looks.
//
// FOLDER is where the state databases are made; they are removed by whoever made FOLDER. The guest
// is that of call.c, which does nothing.
#include "admin/admin.h"
#include "base/clock.h"
#include "host.h"
#include "http.h"
#include "source.h"
#include "support.h"
#include "trace/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BODY_BYTES = 100,
    KEYS = 1000,
    WARM_UP_MS = 100,
    MS_MAX = 60 * 1000,
    ROUNDS_MAX = 100,
    ASKERS_MAX = 3,
};

struct variant {
    const char *name;
    const char *paths[ASKERS_MAX]; // that are asked for; none: there is no admin address
    double sample;                 // of traces; 0: there are none
};

static const struct variant variants[] = {
    {.name = "metrics", .paths = {"/metrics"}},
    {.name = "console", .paths = {"/metrics", "/api/status", "/api/tail"}},
    {.name = "traces-1", .sample = 0.01},
    {.name = "traces-100", .sample = 1},
};

static struct weir_str body(void) {
    static char bytes[BODY_BYTES];
    memset(bytes, 'x', sizeof bytes);
    return (struct weir_str){bytes, sizeof bytes};
}

static int64_t process_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * WEIR_NS_PER_S + now.tv_nsec;
}

static void wait_ns(int64_t ns) {
    struct timespec until = weir_clock_timespec(weir_clock_monotonic_ns() + ns);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static bool ignore_line(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest, (void)line;
    return true;
}

// Those who look, and what they look at.
struct looking {
    struct weir_admin *admin;
    uint16_t port;
    struct asker *askers[ASKERS_MAX];
    struct receiver *receiver;
    struct weir_tracer *tracer;
};

static void begin_admin(struct looking *looking, const char *folder) {
    char address[32];
    struct weir_error err;
    looking->port = free_port();
    snprintf(address, sizeof address, "127.0.0.1:%u", looking->port);
    const struct weir_admin_config config = {.address = address};
    const struct weir_admin_args args = {.config = &config, .state_dir = folder};
    if (weir_admin_create(&args, &looking->admin, &err) != WEIR_OK) {
        give_up("the admin address", err.message);
    }
}

static void begin_traces(struct looking *looking, double sample) {
    char endpoint[48];
    struct weir_error err;
    looking->receiver = receiver_create();
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", receiver_port(looking->receiver));
    struct weir_traces_config config = {0};
    host_defaults(&weir_traces_options, &config);
    const struct weir_tracer_args args = {.endpoint = endpoint,
                                          .sample = sample,
                                          .queue = config.queue,
                                          .batch = config.batch,
                                          .interval_ns = config.interval_ns,
                                          .timeout_ns = config.timeout_ns};
    if (weir_tracer_create(&args, &looking->tracer, &err) != WEIR_OK) {
        give_up("traces", err.message);
    }
}

static void begin_asking(struct looking *looking, const struct variant *variant,
                         struct weir_flow *flow) {
    struct weir_error err;
    if (looking->admin && weir_admin_start(looking->admin, flow, &err) != WEIR_OK) {
        give_up("the admin address", err.message);
    }
    for (size_t i = 0; i < ASKERS_MAX && variant->paths[i]; i++) {
        looking->askers[i] = asker_create(looking->port, variant->paths[i]);
    }
}

static void end_asking(struct looking *looking) {
    for (size_t i = 0; i < ASKERS_MAX && looking->askers[i]; i++) {
        if (asker_destroy(looking->askers[i]) == 0) {
            give_up("the admin address", "it has not answered");
        }
    }
    weir_admin_stop(looking->admin);
}

static void end_looking(struct looking *looking) {
    weir_admin_destroy(looking->admin);
    weir_tracer_destroy(looking->tracer);
    if (looking->receiver && receiver_destroy(looking->receiver) == 0) {
        give_up("traces", "nothing was sent");
    }
}

struct measured {
    double rate, cpu_ns;
};

static struct measured measure(const struct variant *variant, const char *guest_path, bool is_fresh,
                               const char *folder, int64_t ns) {
    struct source *source = source_create(WEIR_CAN_REPLAY | WEIR_CAN_PAUSE, KEYS);
    struct host_guest guest = {
        .path = guest_path, .is_reused = !is_fresh, .output = {.line = ignore_line}};
    struct looking looking = {.admin = NULL};
    struct host host;
    if (variant->paths[0]) {
        begin_admin(&looking, folder);
    }
    if (variant->sample > 0) {
        begin_traces(&looking, variant->sample);
    }
    const struct host_flow flow = {.state = folder,
                                   .resource = source_resource(source),
                                   .measures = looking.admin != NULL,
                                   .tap = weir_admin_tap,
                                   .tap_context = looking.admin,
                                   .tracer = looking.tracer};
    host_load(&host, &guest, 0);
    host_subscribe(&host, &flow);
    host_execute(&host);
    begin_asking(&looking, variant, host.flow);
    source_flood(source, body());
    wait_ns(WARM_UP_MS * WEIR_NS_PER_MS);
    uint64_t before = host_counts(&host).handled;
    int64_t begin_ns = weir_clock_monotonic_ns(), begin_cpu_ns = process_cpu_ns();
    wait_ns(ns);
    struct weir_subscription_counts counts = host_counts(&host);
    int64_t took_ns = weir_clock_monotonic_ns() - begin_ns,
            took_cpu_ns = process_cpu_ns() - begin_cpu_ns;
    source_ebb(source);
    host_flush(&host);
    if (counts.failed > 0 || counts.handled == before) {
        give_up("a handler", counts.failed > 0 ? "it failed" : "none was called");
    }
    end_asking(&looking);
    host_finish(&host);
    end_looking(&looking);
    source_destroy(source);
    double handled = (double)(counts.handled - before);
    return (struct measured){handled * (double)WEIR_NS_PER_S / (double)took_ns,
                             (double)took_cpu_ns / handled};
}

struct run {
    const char *guest, *folder;
    int64_t ns;
    unsigned states; // that were made
};

static struct measured measure_anew(struct run *run, const struct variant *variant, bool is_fresh) {
    char *folder;
    if (asprintf(&folder, "%s/state-%u", run->folder, run->states++) < 0) {
        give_up("a folder", "no memory");
    }
    struct measured measured = measure(variant, run->guest, is_fresh, folder, run->ns);
    free(folder);
    return measured;
}

// What a machine does in between is the same for both, as far as it changes evenly.
static void compare(struct run *run, const struct variant *variant, bool is_fresh) {
    static const struct variant off = {.name = "off"};
    struct measured before = measure_anew(run, &off, is_fresh);
    struct measured seen = measure_anew(run, variant, is_fresh);
    struct measured after = measure_anew(run, &off, is_fresh);
    printf("observe %s %s %.1f %.1f %.1f %.1f\n", is_fresh ? "fresh" : "warm", variant->name,
           seen.rate, seen.cpu_ns, (before.rate + after.rate) / 2,
           (before.cpu_ns + after.cpu_ns) / 2);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: observe GUEST.wasm FOLDER MS ROUNDS\n");
        return 2;
    }
    struct run run = {.guest = argv[1],
                      .folder = argv[2],
                      .ns = parse_argument(argv[3], 1, MS_MAX) * WEIR_NS_PER_MS};
    long rounds = parse_argument(argv[4], 1, ROUNDS_MAX);
    for (long round = 0; round < rounds; round++) {
        for (int is_fresh = 1; is_fresh >= 0; is_fresh--) {
            for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
                compare(&run, &variants[i], is_fresh);
            }
        }
    }
    return 0;
}
