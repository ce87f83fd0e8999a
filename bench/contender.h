// SPDX-License-Identifier: Apache-2.0
//
// Who calls a handler, and what an event takes: weir as a contender, the event that all are called
// with, and batches of calls by the CPU time of the thread. Nothing in a call waits, and the turns
// of other processes on the same core are not the call's.
//
// Every call's verdict is looked at: a call that does not do its work ends the program. Used on one
// thread.
#ifndef WEIR_BENCH_CONTENDER_H
#define WEIR_BENCH_CONTENDER_H

#include "guest/engine.h"
#include "guest/guest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BODY_BYTES_MAX = 1024 * 1024,
    BATCH_MS_MAX = 10 * 1000,
    MEMORY_BYTES = 64 * 1024 * 1024, // that an instance may have: the default of weir.yaml
};

// Calls the handler in one instance that is kept, or in one that is made for this call. Returns the
// bytes of the body that came back.
struct contender {
    const char *name;
    size_t (*call)(void *context, const struct weir_event_fields *event, bool is_fresh);
    void *context;
};

// weir as a contender: a guest that keeps its instance, and the same one that does not.
struct weir {
    struct weir_guest *warm, *fresh;
    uint32_t handler; // the module is the same, so is the number
    struct weir_call call;
    struct weir_verdict verdict;
};

// The engine has memories of MEMORY_BYTES.
void weir_init(struct weir *weir, struct weir_engine *engine, struct weir_str wasm,
               enum weir_guest_lane lane);
void weir_finish(struct weir *weir);
// A contender's call, with a struct weir as its context.
size_t weir_call_handler(void *context, const struct weir_event_fields *event, bool is_fresh);

// An event as the file provider makes one, with this body; what is in it lives as long as that.
// The guests of the benchmarks return an event if it has a subject.
struct weir_event_fields make_event(enum weir_payload_kind kind, struct weir_str body,
                                    bool has_subject);

// Calls the handler `calls` times. Returns the CPU time of all, in nanoseconds.
int64_t run_batch(const struct contender *contender, const struct weir_event_fields *event,
                  bool is_fresh, long calls);
// How many calls take about batch_ns; they also warm everything up.
long calibrate(const struct contender *contender, const struct weir_event_fields *event,
               bool is_fresh, int64_t batch_ns);

// Keeps the calling thread on that core; -1: it goes where it likes.
void pin(long cpu);

#endif
