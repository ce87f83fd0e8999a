// SPDX-License-Identifier: Apache-2.0
//
// language COMPILER CACHE CPU BATCH_MS LANE GUEST.wasm [LANE GUEST.wasm]
//
// What one event costs in guests of one language, in each LANE (core or component) one: an event is
// handed over and returned. It is compiled by COMPILER, which is weir, and what is compiled is kept
// in the folder CACHE. The calling thread is pinned to core CPU, the engine's clock is not.
//
// Whoever starts it asks, so that it can ask weir and its peer in turn and have both in memory.
// First comes, for each lane, by how many bytes an instance more makes the process grow that has
// handled an event of 100 bytes: "core 131072 component 262144". Then each line that is written to
// it, "warm 100" (warm: one instance is kept, fresh: one for each event; the bytes of body), is
// answered with nanoseconds for one event: "core 1234.5 component 5678.9". It ends where nobody
// asks any more.
#include "base/clock.h"
#include "base/memory.h"
#include "contender.h"
#include "support.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES_MAX = 2,
    CASES_MAX = 16,
    LINE_BYTES = 64,
    STACK_BYTES = 512 * 1024, // the default of weir.yaml
    CACHE_BYTES_MAX = 1 << 30,
    COMPILE_TIME_S = 300,
    MEMORY_BODY_BYTES = 100,
    // In each lane one is kept for speed, and one for its memory or one that comes and goes.
    INSTANCES_MAX = 2 * LANES_MAX,
};

struct lane {
    struct weir weir;
    struct contender contender;
};

// A question, and how many calls of it take a batch's time in each lane.
struct question {
    char line[LINE_BYTES];
    size_t body_bytes;
    bool is_fresh;
    long calls[LANES_MAX];
};

struct benchmark {
    struct lane lanes[LANES_MAX];
    size_t lane_count;
    const char *text; // a body of BODY_BYTES_MAX bytes
    int64_t batch_ns;
    struct question questions[CASES_MAX];
    size_t question_count;
};

static struct weir_event_fields event_of(const struct benchmark *benchmark, size_t body_bytes) {
    struct weir_str body = {.data = benchmark->text, .size = body_bytes};
    return make_event(WEIR_PAYLOAD_TEXT, body, true);
}

// The memory that is this process's alone and in no file.
static long anonymous_kib(void) {
    static const char name[] = "Anonymous:";
    char line[LINE_BYTES];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    if (!file) {
        give_up_errno("/proc/self/smaps_rollup");
    }
    long kib = -1;
    while (kib < 0 && fgets(line, sizeof line, file)) {
        kib = strncmp(line, name, sizeof name - 1) == 0 ? strtol(line + sizeof name - 1, NULL, 10)
                                                        : kib;
    }
    fclose(file);
    if (kib < 0) {
        give_up("/proc/self/smaps_rollup", "it has no row Anonymous");
    }
    return kib;
}

// Loads the guest and prints what an instance of it takes. What is taken with the first one, and
// not again, is taken before.
static void lane_init(struct lane *lane, const struct benchmark *benchmark,
                      struct weir_engine *engine, const char *name, const char *path) {
    bool is_core = strcmp(name, "core") == 0;
    if (!is_core && strcmp(name, "component") != 0) {
        give_up(name, "there is no such lane");
    }
    struct weir_str wasm;
    char *bytes = read_guest(path, &wasm);
    enum weir_guest_lane which = is_core ? WEIR_GUEST_LANE_CORE : WEIR_GUEST_LANE_COMPONENT;
    struct weir_event_fields event = event_of(benchmark, MEMORY_BODY_BYTES);
    struct weir another;
    weir_init(&lane->weir, engine, wasm, which);
    weir_init(&another, engine, wasm, which);
    lane->contender =
        (struct contender){.name = name, .call = weir_call_handler, .context = &lane->weir};
    weir_call_handler(&lane->weir, &event, false);
    long before_kib = anonymous_kib();
    weir_call_handler(&another, &event, false);
    printf("%s %ld ", name, (anonymous_kib() - before_kib) * 1024);
    weir_finish(&another);
    free(bytes);
}

// Finds the question, or sets about it: "warm 100".
static const struct question *question_of(struct benchmark *benchmark, const char *line) {
    for (size_t i = 0; i < benchmark->question_count; i++) {
        if (strcmp(benchmark->questions[i].line, line) == 0) {
            return &benchmark->questions[i];
        }
    }
    if (benchmark->question_count == CASES_MAX) {
        give_up(line, "too many different questions");
    }
    struct question *question = &benchmark->questions[benchmark->question_count++];
    snprintf(question->line, sizeof question->line, "%s", line);
    const char *space = strchr(line, ' ');
    question->is_fresh = strncmp(line, "fresh ", strlen("fresh ")) == 0;
    if (!space || (!question->is_fresh && strncmp(line, "warm ", strlen("warm ")) != 0)) {
        give_up(line, "not a question");
    }
    question->body_bytes = (size_t)parse_argument(space + 1, 0, BODY_BYTES_MAX);
    struct weir_event_fields event = event_of(benchmark, question->body_bytes);
    for (size_t i = 0; i < benchmark->lane_count; i++) {
        question->calls[i] = calibrate(&benchmark->lanes[i].contender, &event, question->is_fresh,
                                       benchmark->batch_ns);
    }
    return question;
}

static void answer(struct benchmark *benchmark, const char *line) {
    const struct question *question = question_of(benchmark, line);
    struct weir_event_fields event = event_of(benchmark, question->body_bytes);
    for (size_t i = 0; i < benchmark->lane_count; i++) {
        const struct contender *contender = &benchmark->lanes[i].contender;
        long calls = question->calls[i];
        int64_t spent_ns = run_batch(contender, &event, question->is_fresh, calls);
        printf("%s %.1f ", contender->name, (double)spent_ns / (double)calls);
    }
    printf("\n");
}

static struct weir_engine *create_engine(const char *compiler, const char *cache) {
    struct weir_engine_config config = {
        .stack_bytes = STACK_BYTES,
        .memory_bytes_max = MEMORY_BYTES,
        .instances_max = INSTANCES_MAX,
        .compiler = compiler,
        .compile_time_ns = COMPILE_TIME_S * WEIR_NS_PER_S,
        .compile_memory_bytes = WEIR_MEMORY_BYTES_MAX,
        .cache = {.path = cache, .bytes_max = CACHE_BYTES_MAX},
    };
    struct weir_engine *engine;
    struct weir_error err;
    if (weir_engine_create(&config, &engine, &err) != WEIR_OK) {
        give_up("the engine", err.message);
    }
    return engine;
}

int main(int argument_count, char **arguments) {
    enum { FIXED = 5 };
    if (argument_count < FIXED + 2 || argument_count > FIXED + 2 * LANES_MAX ||
        (argument_count - FIXED) % 2 != 0) {
        fprintf(stderr, "usage: language COMPILER CACHE CPU BATCH_MS LANE GUEST.wasm "
                        "[LANE GUEST.wasm]\n");
        return 2;
    }
    weir_memory_keep(); // as weir does
    long cpu = parse_argument(arguments[3], -1, CPU_SETSIZE - 1);
    struct benchmark benchmark = {
        .batch_ns = parse_argument(arguments[4], 1, BATCH_MS_MAX) * WEIR_NS_PER_MS,
    };
    char *text = allocate_or_give_up(BODY_BYTES_MAX);
    memset(text, 'x', BODY_BYTES_MAX);
    benchmark.text = text;
    struct weir_engine *engine = create_engine(arguments[1], arguments[2]);
    for (int i = FIXED; i < argument_count; i += 2) {
        lane_init(&benchmark.lanes[benchmark.lane_count++], &benchmark, engine, arguments[i],
                  arguments[i + 1]);
    }
    printf("\n");
    fflush(stdout);

    pin(cpu); // after the engine's clock was started, which is not to run on this core
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        answer(&benchmark, line);
        fflush(stdout);
    }

    for (size_t i = 0; i < benchmark.lane_count; i++) {
        weir_finish(&benchmark.lanes[i].weir);
    }
    weir_engine_destroy(engine);
    free(text);
    return 0;
}
