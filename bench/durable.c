// SPDX-License-Identifier: Apache-2.0
//
// What it costs that nothing is lost: the flow with the state database, fed by a source in this
// process (source.h). FOLDER is where the state databases are made; every one of them is removed by
// whoever made FOLDER.
//
// durable journal GUEST FOLDER EVENTS
//     Events that are journaled, as fast as it goes, while no handler is called; then the rows that
//     this made put into an SQLite file of the same schema by a bare loop (bare_rows.h), in
//     transactions of the size that weir's had on average.
//     "journal weir RATE GROUP", "journal floor RATE GROUP"
//
// durable settle GUEST FOLDER MS [ONLY]
//     Events of a source that can replay, from the source to the moved cursor, at 1 and 2 workers,
//     in fresh and in warm instances; before each the same call made bare on the engine's C API
//     (floor.h), on this thread, counted in CPU time as call.c does.
//     "settle fresh 1 RATE CPU_NS FLOOR_NS": events a second by the clock on the wall, nanoseconds
//     of CPU time of the whole process for an event, nanoseconds of a bare call. ONLY is the
//     beginning of what stands between "settle " and the rate: what does not begin so is left out,
//     which is for profilers.
//
// durable latency GUEST FOLDER EVENTS
//     Events of many keys at a moderate pace, from the moment at which each is due to its handler,
//     at 1 and 2 workers; then the same while a thread of this program that has nothing to do with
//     weir keeps one core busy; then while the handler of another key does, looping until it is
//     cut, again and again. "latency 2 alone P50 P99", "latency 2 busy P50 P99", "latency 2 beside
//     P50 P99"
//
// durable backlog GUEST FOLDER COUNT...
//     Memory with so many events waiting (ascending), of a source that cannot be paused, while no
//     handler is called; then all of it is ended, and started again.
//     "memory COUNT KIB", "startup COUNT NS": until the first handler is called; "open COUNT NS":
//     the part of that which is the opening of the state
//
// The guest is the one of call.c for settle, else that of file.c.
#include "bare_rows.h"
#include "base/clock.h"
#include "base/thread.h"
#include "floor.h"
#include "host.h"
#include "receipt.h"
#include "source.h"
#include "support.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    BODY_BYTES = 100,
    KEYS = 1000,
    WAITING_MAX = 5 * 1000 * 1000,
    MS_MAX = 60 * 1000,
    WORKERS_MOST = 2,
    SETTLE_WARM_UP_MS = 100,
    FLOOR_SHARE = 4, // of the time of a case of `settle`, for the bare call
    FLOOR_CALLS = 64,
    LATENCY_INTERVAL_NS = 500 * 1000,
    LATENCY_KEYS = 64,
    LOOP_CUT_MS = 200,
    LOOP_AGAIN_MS = 10,
    PUBLISHED_AT_ONCE = 8192,
    STARTUP_WAIT_S = 60,
};

static char body_bytes[BODY_BYTES];

static struct weir_str body(void) {
    memset(body_bytes, 'x', sizeof body_bytes - 1);
    body_bytes[sizeof body_bytes - 1] = '\n';
    return (struct weir_str){body_bytes, sizeof body_bytes};
}

static char *path_in(const char *folder, const char *name) {
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        give_up(name, "no memory");
    }
    return path;
}

static void wait_ns(int64_t ns) {
    struct timespec until = weir_clock_timespec(weir_clock_monotonic_ns() + ns);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static double per_second(uint64_t count, int64_t ns) {
    return (double)count * (double)WEIR_NS_PER_S / (double)ns;
}

static bool ignore_line(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest, (void)line;
    return true;
}

// ---- journal ----

static void measure_journal(const char *guest_path, const char *folder, uint64_t events) {
    char *state = path_in(folder, "journal"), *database = path_in(folder, "journal/state.db"),
         *bare = path_in(folder, "bare.db");
    // As a topic: what finds no room in memory goes into the journal, and what finds none there
    // waits.
    struct source *source = source_create(WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE, KEYS);
    struct host_guest guest = {.path = guest_path, .output = {.line = ignore_line}};
    struct host_flow flow = {.state = state,
                             .resource = source_resource(source),
                             .journal_events = UINT64_MAX,
                             .journal_bytes = UINT64_MAX};
    struct host host;
    host_load(&host, &guest, 1);
    host_subscribe(&host, &flow);
    uint64_t commits = host_commits(&host);
    int64_t begin_ns = weir_clock_monotonic_ns();
    for (uint64_t i = 0; i < events; i++) {
        source_offer(source, NULL, body());
    }
    host_flush(&host);
    int64_t took_ns = weir_clock_monotonic_ns() - begin_ns;
    commits = host_commits(&host) - commits;
    uint64_t group = (events + commits - 1) / commits;
    printf("journal weir %.1f %" PRIu64 "\n", per_second(events, took_ns), group);
    host_finish(&host);
    source_destroy(source);

    struct bare_rows *rows = bare_rows_read(database);
    if (bare_rows_count(rows) != events) {
        give_up(database, "the journal has not every event");
    }
    took_ns = bare_rows_write(rows, bare, group);
    printf("journal floor %.1f %" PRIu64 "\n", per_second(events, took_ns), group);
    bare_rows_free(rows);
    free(state);
    free(database);
    free(bare);
}

// ---- settle ----

static int64_t cpu_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * WEIR_NS_PER_S + now.tv_nsec;
}

// Nanoseconds of this thread's time for one bare call.
static double measure_floor(struct floor *floor, bool is_fresh, int64_t ns) {
    struct source *source = source_create(0, 1);
    struct weir_event_fields fields = source_next_fields(source, body());
    uint64_t calls = 0;
    int64_t begin_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID), took_ns = 0;
    while (took_ns < ns) {
        for (int i = 0; i < FLOOR_CALLS; i++) {
            floor_call(floor, &fields, is_fresh);
        }
        calls += FLOOR_CALLS;
        took_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
    }
    source_destroy(source);
    return (double)took_ns / (double)calls;
}

struct settled {
    double rate, cpu_ns;
};

static struct settled settle(const char *state, const struct host_guest *guest, uint32_t workers,
                             int64_t ns) {
    struct source *source = source_create(WEIR_CAN_REPLAY | WEIR_CAN_PAUSE, KEYS);
    struct host_flow flow = {.state = state, .resource = source_resource(source)};
    struct host host;
    host_load(&host, guest, workers);
    host_subscribe(&host, &flow);
    host_execute(&host);
    source_flood(source, body());
    wait_ns(SETTLE_WARM_UP_MS * WEIR_NS_PER_MS);
    uint64_t handled = host_counts(&host).handled;
    int64_t begin_ns = weir_clock_monotonic_ns(), begin_cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    wait_ns(ns);
    struct weir_subscription_counts counts = host_counts(&host);
    handled = counts.handled - handled;
    int64_t took_ns = weir_clock_monotonic_ns() - begin_ns,
            took_cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - begin_cpu_ns;
    source_ebb(source);
    host_flush(&host);
    if (counts.failed > 0 || handled == 0) {
        give_up("a handler", handled == 0 ? "none was called" : "it failed");
    }
    host_finish(&host);
    source_destroy(source);
    return (struct settled){per_second(handled, took_ns), (double)took_cpu_ns / (double)handled};
}

struct settle_case {
    const char *guest_path, *folder, *only;
    struct weir_str wasm;
    int64_t ns;
};

static void measure_settle_case(const struct settle_case *args, bool is_fresh, uint32_t workers) {
    char name[sizeof "fresh 4294967295"];
    snprintf(name, sizeof name, "%s %" PRIu32, is_fresh ? "fresh" : "warm", workers);
    if (strncmp(name, args->only, strlen(args->only)) != 0) {
        return;
    }
    char *state = path_in(args->folder, name);
    struct host_guest guest = {
        .path = args->guest_path, .is_reused = !is_fresh, .output = {.line = ignore_line}};
    // Not kept while weir is measured: its engine is one more that has memory.
    struct floor *floor = floor_create(args->wasm);
    double floor_ns = measure_floor(floor, is_fresh, args->ns / FLOOR_SHARE);
    floor_destroy(floor);
    struct settled settled = settle(state, &guest, workers, args->ns);
    printf("settle %s %.1f %.1f %.1f\n", name, settled.rate, settled.cpu_ns, floor_ns);
    free(state);
}

static void measure_settle(const char *guest_path, const char *folder, int64_t ns,
                           const char *only) {
    struct settle_case args = {.guest_path = guest_path, .folder = folder, .only = only, .ns = ns};
    char *module = read_guest(guest_path, &args.wasm);
    for (int is_fresh = 1; is_fresh >= 0; is_fresh--) {
        for (uint32_t workers = 1; workers <= WORKERS_MOST; workers++) {
            measure_settle_case(&args, is_fresh, workers);
        }
    }
    free(module);
}

// ---- latency ----

static bool take_line(void *context, const char *guest, struct weir_str line) {
    (void)guest;
    receipts_take(context, line.data, line.size);
    return true;
}

struct pacing {
    struct source *source;
    uint64_t first;
    size_t events;
};

// Offers events at their times, whether those before were handled or not. On a thread that is as
// those of weir's resources are.
static void *pace(void *argument) {
    const struct pacing *pacing = argument;
    weir_thread_be_prompt();
    int64_t due_ns = weir_clock_monotonic_ns();
    for (size_t i = 0; i < pacing->events; i++) {
        due_ns += LATENCY_INTERVAL_NS;
        struct timespec until = weir_clock_timespec(due_ns);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        char value[VALUE_BYTES];
        size_t size = value_print(value, pacing->first + i, due_ns);
        source_offer(pacing->source, NULL, (struct weir_str){value, size});
    }
    return NULL;
}

static void print_latency(struct receipts *receipts, struct source *source, uint64_t first,
                          size_t events, const char *name) {
    struct pacing pacing = {.source = source, .first = first, .events = events};
    pthread_t pacer;
    receipts_expect(receipts, first, events);
    if (pthread_create(&pacer, NULL, pace, &pacing) != 0) {
        give_up("a thread", "none can be made");
    }
    pthread_join(pacer, NULL);
    if (!receipts_wait(receipts, events)) {
        give_up("latency", "an event did not come");
    }
    const int64_t *sorted_ns = receipts_latencies_ns(receipts);
    printf("latency %s %" PRId64 " %" PRId64 "\n", name, sorted_ns[events / 2],
           sorted_ns[events * 99 / 100]);
}

static void *keep_busy(void *argument) {
    const atomic_bool *is_over = argument;
    while (!atomic_load_explicit(is_over, memory_order_relaxed)) {
    }
    return NULL;
}

static void measure_latency_at(struct receipts *receipts, const char *guest_path, const char *state,
                               uint32_t workers, size_t events) {
    static const char *const phases[] = {"alone", "busy", "beside"};
    struct source *source = source_create(WEIR_CAN_REPLAY | WEIR_CAN_PAUSE, LATENCY_KEYS);
    struct host_guest guest = {.path = guest_path,
                               .time_ns = LOOP_CUT_MS * WEIR_NS_PER_MS,
                               .output = {.line = take_line, .context = receipts}};
    struct host_flow flow = {.state = state,
                             .resource = source_resource(source),
                             .attempts = UINT32_MAX,
                             .backoff_ns = LOOP_AGAIN_MS * WEIR_NS_PER_MS};
    struct host host;
    host_load(&host, &guest, workers);
    host_subscribe(&host, &flow);
    host_execute(&host);
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        char name[sizeof "4294967295 beside"];
        snprintf(name, sizeof name, "%" PRIu32 " %s", workers, phases[i]);
        bool is_busy = strcmp(phases[i], "busy") == 0;
        pthread_t busy;
        atomic_bool is_over = false;
        if (is_busy && pthread_create(&busy, NULL, keep_busy, &is_over) != 0) {
            give_up("a thread", "none can be made");
        }
        if (strcmp(phases[i], "beside") == 0) {
            source_offer(source, "loop", WEIR_STR("loop"));
            wait_ns(LOOP_CUT_MS * WEIR_NS_PER_MS);
        }
        print_latency(receipts, source, 1 + i * events, events, name);
        atomic_store(&is_over, true);
        if (is_busy) {
            pthread_join(busy, NULL);
        }
    }
    host_finish(&host);
    source_destroy(source);
}

static void measure_latency(const char *guest_path, const char *folder, size_t events) {
    struct receipts *receipts = receipts_create();
    for (uint32_t workers = 1; workers <= WORKERS_MOST; workers++) {
        char name[sizeof "latency-4294967295"];
        snprintf(name, sizeof name, "latency-%" PRIu32, workers);
        char *state = path_in(folder, name);
        measure_latency_at(receipts, guest_path, state, workers, events);
        free(state);
    }
    receipts_destroy(receipts);
}

// ---- backlog ----

// The value of a line of /proc/self/status, in KiB.
static long status_kib(const char *name) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;
    if (!file) {
        give_up_errno("/proc/self/status");
    }
    while (kib < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtol(line + strlen(name), NULL, 10);
        }
    }
    fclose(file);
    return kib;
}

static void fill(struct host *host, struct source *source, uint64_t count) {
    while (host_counts(host).received < count) {
        uint64_t rest = count - host_counts(host).received;
        for (uint64_t i = 0; i < rest && i < PUBLISHED_AT_ONCE; i++) {
            source_offer(source, NULL, body());
        }
        host_flush(host); // a source that cannot be paused is not to be faster than the disk
    }
    if (host_counts(host).dropped > 0) {
        give_up("the backlog", "events were dropped");
    }
    printf("memory %" PRIu64 " %ld\n", count, status_kib("VmRSS:"));
}

static bool note_first(void *context, const char *guest, struct weir_str line) {
    (void)guest, (void)line;
    int_least64_t none = 0;
    atomic_compare_exchange_strong((atomic_int_least64_t *)context, &none,
                                   weir_clock_monotonic_ns());
    return true;
}

static void measure_startup(struct host *host, const struct host_flow *flow, uint64_t count,
                            atomic_int_least64_t *first_ns) {
    int64_t begin_ns = weir_clock_monotonic_ns(),
            until_ns = begin_ns + STARTUP_WAIT_S * WEIR_NS_PER_S;
    host_subscribe(host, flow);
    int64_t open_ns = weir_clock_monotonic_ns() - begin_ns;
    host_execute(host);
    while (atomic_load(first_ns) == 0) {
        if (weir_clock_monotonic_ns() > until_ns) {
            give_up("the start", "no handler was called");
        }
        wait_ns(WEIR_NS_PER_MS);
    }
    printf("startup %" PRIu64 " %" PRId64 "\n", count, atomic_load(first_ns) - begin_ns);
    printf("open %" PRIu64 " %" PRId64 "\n", count, open_ns);
}

static void measure_backlog(const char *guest_path, const char *folder, char **counts) {
    char *state = path_in(folder, "backlog");
    atomic_int_least64_t first_ns = 0;
    struct source *source = source_create(0, KEYS);
    struct host_guest guest = {.path = guest_path,
                               .output = {.line = note_first, .context = &first_ns}};
    struct host_flow flow = {.state = state,
                             .resource = source_resource(source),
                             .queue_events = 1024,
                             .journal_events = 2 * 1000 * 1000,
                             .journal_bytes = UINT64_MAX};
    struct host host;
    uint64_t count = 0;
    host_load(&host, &guest, 0);
    host_subscribe(&host, &flow);
    for (; *counts; counts++) {
        count = (uint64_t)parse_argument(*counts, 1, WAITING_MAX);
        fill(&host, source, count);
    }
    host_unsubscribe(&host);
    measure_startup(&host, &flow, count, &first_ns);
    host_finish(&host);
    source_destroy(source);
    free(state);
}

int main(int argument_count, char **arguments) {
    if (argument_count < 5) {
        fprintf(stderr, "usage: durable journal|settle|latency|backlog GUEST.wasm FOLDER COUNT\n");
        return 2;
    }
    const char *what = arguments[1], *guest = arguments[2], *folder = arguments[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "journal") == 0) {
        measure_journal(guest, folder, (uint64_t)parse_argument(arguments[4], 1, WAITING_MAX));
    } else if (strcmp(what, "settle") == 0) {
        measure_settle(guest, folder, parse_argument(arguments[4], 1, MS_MAX) * WEIR_NS_PER_MS,
                       argument_count > 5 ? arguments[5] : "");
    } else if (strcmp(what, "latency") == 0) {
        measure_latency(guest, folder, (size_t)parse_argument(arguments[4], 1, EVENTS_MAX));
    } else if (strcmp(what, "backlog") == 0) {
        measure_backlog(guest, folder, arguments + 4);
    } else {
        give_up(what, "there is no such measure");
    }
    return 0;
}
