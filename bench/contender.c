// SPDX-License-Identifier: Apache-2.0
//
// See contender.h.
#include "contender.h"

#include "base/clock.h"
#include "support.h"

#include <sched.h>
#include <time.h>

enum { CALLS_MAX = 1 << 28 }; // of one batch

size_t weir_call_handler(void *context, const struct weir_event_fields *event, bool is_fresh) {
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
        .memory_bytes = MEMORY_BYTES,
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

void weir_init(struct weir *weir, struct weir_engine *engine, struct weir_str wasm,
               enum weir_guest_lane lane) {
    struct weir_error err;
    *weir = (struct weir){.warm = compile(engine, wasm, WEIR_INSTANCES_REUSED, lane),
                          .fresh = compile(engine, wasm, WEIR_INSTANCES_FRESH, lane)};
    if (weir_guest_handler_find(weir->warm, WEIR_STR(WEIR_HANDLER_DEFAULT), &weir->handler, &err) !=
        WEIR_OK) {
        give_up("the guest", err.message);
    }
}

void weir_finish(struct weir *weir) {
    weir_guest_unref(weir->warm);
    weir_guest_unref(weir->fresh);
}

struct weir_event_fields make_event(enum weir_payload_kind kind, struct weir_str body,
                                    bool has_subject) {
    static const char name[] = "revision", value[] = "00000000000000000042";
    static const struct weir_attribute revision = {
        .name = {.data = name, .size = sizeof name - 1},
        .value = {.data = value, .size = sizeof value - 1},
    };
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.keyvalue.set"),
        .source = WEIR_STR("/my-container"),
        .id = WEIR_STR("0000000000000042"),
        .data = {.is_some = true, .value = {.kind = kind, .bytes = body}},
        .datacontenttype = {.is_some = true, .value = WEIR_STR("application/json")},
        .subject = {.is_some = has_subject, .value = WEIR_STR("my-key1")},
        .time = {.is_some = true, .value = WEIR_STR("2026-11-22T14:00:00.000000Z")},
        .extensions = {.items = &revision, .count = 1},
    };
}

static int64_t cpu_time_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * WEIR_NS_PER_S + time.tv_nsec;
}

int64_t run_batch(const struct contender *contender, const struct weir_event_fields *event,
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

long calibrate(const struct contender *contender, const struct weir_event_fields *event,
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

void pin(long cpu) {
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
