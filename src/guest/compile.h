// SPDX-License-Identifier: Apache-2.0
//
// Compiling what guests are made of. A hostile module can keep a compiler busy for hours and eat
// all memory, so weir does it in a child process with bounds (engine.h: `compiler`), and keeps what
// came out in a cache (cache.h). Without a compiler, as in unit tests, it is done in this process.
// Any thread.
#ifndef WEIR_GUEST_COMPILE_H
#define WEIR_GUEST_COMPILE_H

#include "base/str.h"
#include "guest/engine_private.h"

#include <wasmtime/component.h>

struct weir_compile_source {
    const char *guest; // its name, for those who wait
    struct weir_str wasm;
};

// WEIR_INVALID: the engine refuses it, and why; WEIR_LIMIT: the compiler went over its time or
// memory; others of the system.
weir_status weir_compile_module(struct weir_engine *engine,
                                const struct weir_compile_source *source,
                                wasmtime_module_t **ret_module, struct weir_error *err);
// weir_engine_want_components has been called.
weir_status weir_compile_component(struct weir_engine *engine,
                                   const struct weir_compile_source *source,
                                   wasmtime_component_t **ret_component, struct weir_error *err);

#endif
