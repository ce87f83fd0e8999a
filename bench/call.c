// SPDX-License-Identifier: Apache-2.0
//
// call GUEST.wasm GUEST.component.wasm CPU ROUNDS BATCH_MS [ONLY]
//
// What one event costs from weir_guest_handle to the verdict, against the floor: the same module
// called straight through Wasmtime's C API (floor.h), without and with the checks of what comes
// back; and the same module within a component, in the component lane. Each case is measured in
// rounds, and in each round one after the other calls the handler for BATCH_MS, so that whatever
// else the machine does meets all. The calling thread is pinned to core CPU (-1: not pinned), the
// engine's clock is not. What is read is the thread's CPU time: nothing in a call waits, and the
// turns of other processes on the same core are not the call's.
//
// Prints one line a case, contender and round: "warm 4096 none weir 1234.5", which is instances
// (warm: one is kept, fresh: one for each event), bytes of body, answer (none, or the event
// returned; or "binary" and "binary-event", the same with a body that is no text), contender,
// nanoseconds for one event. ONLY is the beginning of such a line: what does not begin so is left
// out, which is for profilers.
//
// Every call's verdict is looked at: a call that does not do its work ends the program.
#include "base/clock.h"
#include "floor.h"
#include "guest/engine.h"
#include "guest/guest.h"
#include "support.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BODY_BYTES_MAX = 1024 * 1024,
    ROUNDS_MAX = 1000,
    BATCH_MS_MAX = 10 * 1000,
    CALLS_MAX = 1 << 28, // of one batch
    CASE_NAME_BYTES = 64,
    // One is kept and one comes and goes; few, because each takes 4 GiB of addresses, of which
    // there are not many under valgrind.
    INSTANCES_MAX = 4,
};

static const size_t body_bytes[] = {100, 4096, 65536, BODY_BYTES_MAX};

// Who calls the handler. Returns the bytes of the body that came back.
struct contender {
    const char *name;
    size_t (*call)(void *context, const struct weir_event_fields *event, bool is_fresh);
    void *context;
};

struct benchmark {
    long rounds;
    int64_t batch_ns;
    const char *only;
    const char *text, *binary; // bodies of BODY_BYTES_MAX bytes
    struct contender contenders[4];
};

enum answer { ANSWER_NONE, ANSWER_EVENT, ANSWER_NONE_TO_BINARY, ANSWER_BINARY_EVENT };
static const char *const answers[] = {"none", "event", "binary", "binary-event"};

// weir as a contender: a guest that keeps its instance, and the same one that does not.
struct weir {
    struct weir_guest *warm, *fresh;
    uint32_t handler; // the module is the same, so is the number
    struct weir_call call;
    struct weir_verdict verdict;
};

static size_t weir_call_handler(void *context, const struct weir_event_fields *event,
                                bool is_fresh) {
    struct weir *weir = context;
    weir_guest_handle(is_fresh ? weir->fresh : weir->warm, weir->handler, event, &weir->call,
                      &weir->verdict);
    if (weir->verdict.outcome != WEIR_HANDLED) {
        give_up("weir", weir->verdict.error.message);
    }
    struct weir_event *derived = weir->verdict.derived;
    size_t size = derived ? derived->fields.data.value.bytes.size : 0;
    weir_event_unref(derived);
    return size;
}

static size_t floor_call_handler(void *context, const struct weir_event_fields *event,
                                 bool is_fresh) {
    return floor_call(context, event, is_fresh);
}

static size_t floor_call_handler_checked(void *context, const struct weir_event_fields *event,
                                         bool is_fresh) {
    return floor_call_checked(context, event, is_fresh);
}

static bool ignore_line(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest, (void)line;
    return true;
}

static struct weir_guest *compile(struct weir_engine *engine, struct weir_str wasm,
                                  enum weir_guest_instances instances, enum weir_guest_lane lane) {
    // The defaults of weir.yaml, with room for the largest body and what stands beside it.
    struct weir_guest_args args = {
        .name = "bench",
        .instances = instances,
        .lane = lane,
        .idle_max = 1,
        .time_ns = 10 * WEIR_NS_PER_S,
        .memory_bytes = 64 * 1024 * 1024,
        .event_bytes = 2 * BODY_BYTES_MAX,
        .output_bytes = 1024 * 1024,
        .module_bytes = GUEST_BYTES_MAX,
        .handles = 64,
        .output = {.line = ignore_line},
    };
    struct weir_guest *guest;
    struct weir_error err;
    if (weir_guest_compile(engine, &args, wasm, &guest, &err) != WEIR_OK) {
        give_up("compiling the guest", err.message);
    }
    return guest;
}

static void weir_init(struct weir *weir, struct weir_engine *engine, struct weir_str wasm,
                      enum weir_guest_lane lane) {
    struct weir_error err;
    *weir = (struct weir){.warm = compile(engine, wasm, WEIR_INSTANCES_REUSED, lane),
                          .fresh = compile(engine, wasm, WEIR_INSTANCES_FRESH, lane)};
    if (weir_guest_handler_find(weir->warm, WEIR_STR(WEIR_HANDLER_DEFAULT), &weir->handler, &err) !=
        WEIR_OK) {
        give_up("the guest", err.message);
    }
}

static void weir_finish(struct weir *weir) {
    weir_guest_unref(weir->warm);
    weir_guest_unref(weir->fresh);
}

// An event as the file provider makes one. The guest returns it if it has a subject.
static struct weir_event_fields make_event(const struct benchmark *benchmark, size_t size,
                                           enum answer answer,
                                           const struct weir_attribute *revision) {
    bool is_binary = answer >= ANSWER_NONE_TO_BINARY;
    enum weir_payload_kind kind = is_binary ? WEIR_PAYLOAD_BINARY : WEIR_PAYLOAD_TEXT;
    const char *body = is_binary ? benchmark->binary : benchmark->text;
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.keyvalue.set"),
        .source = WEIR_STR("/my-container"),
        .id = WEIR_STR("0000000000000042"),
        .data = {.is_some = true, .value = {.kind = kind, .bytes = {.data = body, .size = size}}},
        .datacontenttype = {.is_some = true, .value = WEIR_STR("application/json")},
        .subject = {.is_some = answer == ANSWER_EVENT || answer == ANSWER_BINARY_EVENT,
                    .value = WEIR_STR("my-key1")},
        .time = {.is_some = true, .value = WEIR_STR("2026-11-22T14:00:00.000000Z")},
        .extensions = {.items = revision, .count = 1},
    };
}

static int64_t cpu_time_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * WEIR_NS_PER_S + time.tv_nsec;
}

// Calls the handler `calls` times. Returns the time of all, in nanoseconds.
static int64_t run_batch(const struct contender *contender, const struct weir_event_fields *event,
                         bool is_fresh, long calls) {
    size_t expected = event->subject.is_some ? event->data.value.bytes.size : 0;
    int64_t begin_ns = cpu_time_ns();
    for (long i = 0; i < calls; i++) {
        if (contender->call(contender->context, event, is_fresh) != expected) {
            give_up(contender->name, "the handler answered something else");
        }
    }
    return cpu_time_ns() - begin_ns;
}

// How many calls take about batch_ns; they also warm everything up.
static long calibrate(const struct contender *contender, const struct weir_event_fields *event,
                      bool is_fresh, int64_t batch_ns) {
    long calls = 1;
    int64_t spent_ns = run_batch(contender, event, is_fresh, calls);
    while (spent_ns < batch_ns / 4 && calls < CALLS_MAX / 2) {
        calls *= 2;
        spent_ns = run_batch(contender, event, is_fresh, calls);
    }
    double fitting = (double)calls * (double)batch_ns / (double)(spent_ns > 0 ? spent_ns : 1);
    return fitting < 1 ? 1 : fitting > CALLS_MAX ? CALLS_MAX : (long)fitting;
}

static void run_case(const struct benchmark *benchmark, bool is_fresh, size_t size,
                     enum answer answer) {
    const struct weir_attribute revision = {.name = WEIR_STR("revision"),
                                            .value = WEIR_STR("00000000000000000042")};
    struct weir_event_fields event = make_event(benchmark, size, answer, &revision);
    enum { CONTENDERS = sizeof benchmark->contenders / sizeof benchmark->contenders[0] };
    char names[CONTENDERS][CASE_NAME_BYTES];
    long calls[CONTENDERS] = {0}; // 0: left out
    for (size_t i = 0; i < CONTENDERS; i++) {
        const struct contender *contender = &benchmark->contenders[i];
        snprintf(names[i], sizeof names[i], "%s %zu %s %s", is_fresh ? "fresh" : "warm", size,
                 answers[answer], contender->name);
        if (strncmp(names[i], benchmark->only, strlen(benchmark->only)) == 0) {
            calls[i] = calibrate(contender, &event, is_fresh, benchmark->batch_ns);
        }
    }
    for (long round = 0; round < benchmark->rounds; round++) {
        for (size_t i = 0; i < CONTENDERS; i++) {
            if (calls[i] == 0) {
                continue;
            }
            int64_t spent_ns = run_batch(&benchmark->contenders[i], &event, is_fresh, calls[i]);
            printf("%s %.1f\n", names[i], (double)spent_ns / (double)calls[i]);
        }
    }
}

static void run_all(const struct benchmark *benchmark) {
    for (int is_fresh = 0; is_fresh <= 1; is_fresh++) {
        for (size_t i = 0; i < sizeof body_bytes / sizeof body_bytes[0]; i++) {
            for (int answer = ANSWER_NONE; answer <= ANSWER_BINARY_EVENT; answer++) {
                run_case(benchmark, is_fresh, body_bytes[i], (enum answer)answer);
            }
        }
    }
}

static void pin(long cpu) {
    if (cpu < 0) {
        return;
    }
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) {
        give_up_errno("pinning to a core");
    }
}

// What is compressed or encrypted looks like that.
static void fill_with_noise(char *bytes, size_t size) {
    uint32_t state = 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (char)(state >> 24);
    }
}

int main(int argument_count, char **arguments) {
    if (argument_count < 6) {
        fprintf(stderr, "usage: call GUEST.wasm GUEST.component.wasm CPU ROUNDS BATCH_MS [ONLY]\n");
        return 2;
    }
    struct weir_str wasm, component_wasm;
    char *module = read_guest(arguments[1], &wasm);
    char *component = read_guest(arguments[2], &component_wasm);
    long cpu = parse_argument(arguments[3], -1, CPU_SETSIZE - 1);
    struct benchmark benchmark = {
        .rounds = parse_argument(arguments[4], 1, ROUNDS_MAX),
        .batch_ns = parse_argument(arguments[5], 1, BATCH_MS_MAX) * WEIR_NS_PER_MS,
        .only = argument_count > 6 ? arguments[6] : "",
    };
    char *text = allocate_or_give_up(BODY_BYTES_MAX);
    memset(text, 'x', BODY_BYTES_MAX);
    benchmark.text = text;
    char *binary = allocate_or_give_up(BODY_BYTES_MAX);
    fill_with_noise(binary, BODY_BYTES_MAX);
    benchmark.binary = binary;

    struct weir_engine_config engine_config = {
        .stack_bytes = 1024 * 1024,
        .memory_bytes_max = 64 * 1024 * 1024,
        .instances_max = INSTANCES_MAX,
    };
    struct weir_engine *engine;
    struct weir_error err;
    if (weir_engine_create(&engine_config, &engine, &err) != WEIR_OK) {
        give_up("the engine", err.message);
    }
    struct weir weir, in_component;
    weir_init(&weir, engine, wasm, WEIR_GUEST_LANE_CORE);
    weir_init(&in_component, engine, component_wasm, WEIR_GUEST_LANE_COMPONENT);
    struct floor *floor = floor_create(wasm);
    benchmark.contenders[0] =
        (struct contender){.name = "weir", .call = weir_call_handler, .context = &weir};
    benchmark.contenders[1] =
        (struct contender){.name = "floor", .call = floor_call_handler, .context = floor};
    benchmark.contenders[2] =
        (struct contender){.name = "checked", .call = floor_call_handler_checked, .context = floor};

    benchmark.contenders[3] = (struct contender){
        .name = "component", .call = weir_call_handler, .context = &in_component};

    pin(cpu); // after the engine's clock was started, which is not to run on this core
    run_all(&benchmark);

    floor_destroy(floor);
    weir_finish(&in_component);
    weir_finish(&weir);
    weir_engine_destroy(engine);
    free(binary);
    free(text);
    free(component);
    free(module);
    return 0;
}
