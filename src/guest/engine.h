// SPDX-License-Identifier: Apache-2.0
//
// The WebAssembly engine: one for the process's guests. It owns the settings that all guests share
// (stack, the pool of instances) and the clock that cuts them: a thread that advances the engine's
// epoch every WEIR_EPOCH_TICK_MS.
#ifndef WEIR_GUEST_ENGINE_H
#define WEIR_GUEST_ENGINE_H

#include "base/error.h"
#include "guest/cache.h"

#include <stdbool.h>
#include <stdint.h>

// What a WebAssembly memory without the 64-bit proposal can have.
#define WEIR_MEMORY_BYTES_MAX (UINT64_C(4) << 30)

enum {
    WEIR_STACK_BYTES_MAX = 2 << 20, // the engine's own bound on a wasm stack
    WEIR_EPOCH_TICK_MS = 10,        // how exactly `time` is kept
    WEIR_INSTANCES_MAX = 10000,     // alive at one time, of all guests
    WEIR_COMPILING_TICK_MS = 1000,  // between two looks at a compilation
};

struct weir_engine;

// How far the compilation of a guest's file is.
struct weir_compiling {
    const char *guest; // its name
    uint64_t bytes;
    int64_t passed_ns;
    int64_t estimate_ns; // of all of it, as it was at the beginning
    bool is_over;
};

struct weir_engine_config {
    uint64_t stack_bytes;      // wasm stack of an instance; 1 to WEIR_STACK_BYTES_MAX
    uint64_t memory_bytes_max; // the largest `memory` bound of any guest; to WEIR_MEMORY_BYTES_MAX
    uint32_t instances_max;    // instances alive at one time; 1 to WEIR_INSTANCES_MAX
    // What compiles guests: a path to weir, called as `weir compile-guest` (weir_compile_child).
    // NULL: this process does, without bounds, and nothing is kept. Lives as long as the engine.
    const char *compiler;
    int64_t compile_time_ns;       // with a compiler: how long it may take for one file
    uint64_t compile_memory_bytes; // and how much memory it may write to
    // With a compiler: called WEIR_COMPILING_TICK_MS after it began, then as often, and once more
    // when it is over; not at all where it takes less. On the thread that loads the guest. NULL:
    // not wanted.
    void (*compiling)(void *context, const struct weir_compiling *compiling);
    void *compiling_context;
    struct weir_cache_config cache;
};

// "50.0.1"
const char *weir_engine_version(void);

// Starts the engine and its clock. WEIR_NO_MEMORY; WEIR_LIMIT where a setting is out of its bounds,
// or the system has not the address space that the instances need.
weir_status weir_engine_create(const struct weir_engine_config *config,
                               struct weir_engine **ret_engine, struct weir_error *err);
// The compiler's main: argv begins behind the command's name. Returns the exit status, and leaves
// all that it has to the process's end.
int weir_compile_child(int argc, char **argv);

// Every guest of the engine must be gone. NULL is allowed.
void weir_engine_destroy(struct weir_engine *engine);

#endif
