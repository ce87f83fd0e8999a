// SPDX-License-Identifier: Apache-2.0
//
// call GUEST.wasm GUEST.component.wasm CPU ROUNDS BATCH_MS [ONLY]
//
// What one event costs from weir_guest_handle to the verdict, against the floor: the same module
// called straight through Wasmtime's C API (floor.h), without and with the checks of what comes
// back; and the same module within a component, in the component lane. Each case is measured in
// rounds, and in each round one after the other calls the handler for BATCH_MS, so that whatever
// else the machine does meets all. The calling thread is pinned to core CPU (-1: not pinned), the
// engine's clock is not. See contender.h for what is read.
//
// Prints one line a case, contender and round: "warm 4096 none weir 1234.5", which is instances
// (warm: one is kept, fresh: one for each event), bytes of body, answer (none, or the event
// returned; or "binary" and "binary-event", the same with a body that is no text), contender,
// nanoseconds for one event. ONLY is the beginning of such a line: what does not begin so is left
// out, which is for profilers.
#include "base/clock.h"
#include "base/memory.h"
#include "contender.h"
#include "floor.h"
#include "support.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS_MAX = 1000,
    CASE_NAME_BYTES = 64,
    // One is kept and one comes and goes; few, because each takes 4 GiB of addresses, of which
    // there are not many under valgrind.
    INSTANCES_MAX = 4,
};

static const size_t body_bytes[] = {100, 4096, 65536, BODY_BYTES_MAX};

struct benchmark {
    long rounds;
    int64_t batch_ns;
    const char *only;
    const char *text, *binary; // bodies of BODY_BYTES_MAX bytes
    struct contender contenders[4];
};

enum answer { ANSWER_NONE, ANSWER_EVENT, ANSWER_NONE_TO_BINARY, ANSWER_BINARY_EVENT };
static const char *const answers[] = {"none", "event", "binary", "binary-event"};

static size_t floor_call_handler(void *context, const struct weir_event_fields *event,
                                 bool is_fresh) {
    return floor_call(context, event, is_fresh);
}

static size_t floor_call_handler_checked(void *context, const struct weir_event_fields *event,
                                         bool is_fresh) {
    return floor_call_checked(context, event, is_fresh);
}

static void run_case(const struct benchmark *benchmark, bool is_fresh, size_t size,
                     enum answer answer) {
    bool is_binary = answer >= ANSWER_NONE_TO_BINARY;
    struct weir_event_fields event = make_event(
        is_binary ? WEIR_PAYLOAD_BINARY : WEIR_PAYLOAD_TEXT,
        (struct weir_str){.data = is_binary ? benchmark->binary : benchmark->text, .size = size},
        answer == ANSWER_EVENT || answer == ANSWER_BINARY_EVENT);
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
    weir_memory_keep(); // as weir does
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
        .memory_bytes_max = MEMORY_BYTES,
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
