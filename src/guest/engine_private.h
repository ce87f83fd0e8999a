// SPDX-License-Identifier: Apache-2.0
//
// What the rest of this room needs of the engine and may not leave it.
#ifndef WEIR_GUEST_ENGINE_PRIVATE_H
#define WEIR_GUEST_ENGINE_PRIVATE_H

#include "guest/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <wasm.h>
#include <wasmtime.h>

// Instances of one store: the guest's own, and the one beside it (batch.c).
enum { WEIR_STORE_INSTANCES_MAX = 2 };

// Of one component's instance. It is made of several core instances (of Python dozens), which share
// one memory, and maybe a second one; annex.h adds another. bounds.memory holds for each memory.
enum {
    WEIR_COMPONENT_INSTANCES_MAX = 128,
    WEIR_COMPONENT_MEMORIES_MAX = 3,
    WEIR_COMPONENT_TABLES_MAX = 16,
    WEIR_COMPONENT_TABLE_ELEMENTS_MAX = 64 * 1024, // of each table
};

struct weir_engine {
    wasm_engine_t *wasm;
    _Atomic(wasm_engine_t *) components; // NULL until a component is loaded
    pthread_mutex_t components_lock;     // of whoever makes it
    struct weir_engine_config config;
    char *cache_path; // what config.cache.path points to
    struct weir_engine_clock *clock;
};

// Makes sure that there is an engine for components. It is another one, with settings of its own:
// modules of components are larger, come several at a time, and use more of WebAssembly. Any
// thread.
weir_status weir_engine_want_components(struct weir_engine *engine, struct weir_error *err);

// Turns an engine's error or trap (exactly one of them is not NULL) into a weir_error and deletes
// it. The first line of the engine's text is kept; its backtrace is cut to the innermost
// WEIR_BACKTRACE_FRAMES functions' names.
enum { WEIR_BACKTRACE_FRAMES = 5 };
weir_status weir_engine_fail(wasmtime_error_t *error, wasm_trap_t *trap, weir_status status,
                             struct weir_error *err);

#endif
