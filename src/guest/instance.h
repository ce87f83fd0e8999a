// SPDX-License-Identifier: Apache-2.0
//
// The core lane: an instance of a core module whose exports follow the canonical ABI. Private to
// this room.
#ifndef WEIR_GUEST_INSTANCE_H
#define WEIR_GUEST_INSTANCE_H

#include "guest/canon.h"
#include "guest/engine_private.h"
#include "guest/guest.h"
#include "guest/handles.h"
#include "guest/print.h"

#include <wasmtime.h>

// A handler as the module exports it.
struct weir_handler {
    char *name;      // as a person calls it: "handle-event", "on-order"
    char *export;    // as the module calls it: "weir:reactive/event-handler@0.1.0#handle-event"
    char *post;      // the export to call after the result was read; NULL: none
    bool may_reject; // its error is the variant `failure`
};

struct weir_odd_export {
    char *name;
    char type[64]; // "(i32, i32) -> i32"
};

enum weir_main_kind { WEIR_MAIN_NONE, WEIR_MAIN_RUN, WEIR_MAIN_CLI_RUN, WEIR_MAIN_START };

struct weir_guest {
    atomic_uint references;
    char hash[WEIR_GUEST_HASH_BYTES];
    struct weir_engine *engine;
    struct weir_guest_args args;
    char *name; // what args.name points to
    wasmtime_module_t *module;
    wasmtime_linker_t *linker;
    wasmtime_instance_pre_t *pre;
    wasmtime_module_t *batch; // see batch.c; with WEIR_INSTANCES_REUSED, else NULL
    struct weir_handler *handlers;
    uint32_t handler_count;
    struct weir_odd_export
        *odd; // functions that could be handlers by their names, but not by their types
    uint32_t odd_count;
    enum weir_main_kind main_kind;
    char *main_export;
    bool has_initialize; // a reactor: "_initialize" is called before anything else
    bool has_realloc;
    bool uses_wasi;
    struct weir_idle_instances *idle; // with WEIR_INSTANCES_REUSED
};

struct weir_instance {
    struct weir_guest *guest;
    void *session; // NULL in a handler's instance
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t wasm;
    wasmtime_memory_t memory;
    wasmtime_func_t realloc;
    wasmtime_func_t allocate; // with has_batch: calls realloc for many blocks
    bool has_batch;
    bool is_in_abi; // inside cabi_realloc or cabi_post_: the canonical ABI forbids imports there
    bool is_ready;  // instantiated, `memory` is set
    uint32_t bound_handler; // whose functions the next two are; WEIR_HANDLERS_MAX: nobody's
    wasmtime_func_t handle, post;
    struct weir_linear_memory linear;
    struct weir_handles handles;
    struct weir_print_stream output;
    struct weir_call *call;    // the one that runs, NULL between calls
    int64_t deadline_ns;       // of it, monotonic
    struct weir_error stopped; // why the host ended the call; status WEIR_OK: it has not
    struct weir_instance *next_idle;
};

// Makes an instance and runs what a module runs when it is made. Bounds hold from its first
// instruction on. WEIR_TRAPPED and others with err; nothing is left then.
weir_status weir_instance_new(struct weir_guest *guest, void *session, struct weir_call *call,
                              struct weir_instance **ret_instance, struct weir_error *err);
void weir_instance_destroy(struct weir_instance *instance);

// Starts the time and the output of a call.
void weir_instance_begin(struct weir_instance *instance, struct weir_call *call);
// Ends it: hands over the rest of its output. Returns status, or what the host stopped it for.
weir_status weir_instance_end(struct weir_instance *instance, weir_status status,
                              struct weir_error *err);
// Starts its time and output anew, after the host itself has waited on its behalf.
void weir_instance_restart_bounds(struct weir_instance *instance);

// Calls an exported function with core values, results in place. WEIR_TRAPPED with the reason.
weir_status weir_instance_call(struct weir_instance *instance, const wasmtime_func_t *function,
                               wasmtime_val_raw_t *values, size_t count, struct weir_error *err);

// Finds an exported function. The module was checked when it was loaded: it is there, with the
// right signature.
weir_status weir_instance_function(struct weir_instance *instance, const char *name,
                                   wasmtime_func_t *ret_function, struct weir_error *err);

// Calls one of the guest's handlers. The instance may be used again only if *ret_is_sound.
void weir_instance_handle(struct weir_instance *instance, uint32_t handler,
                          const struct weir_event_fields *event, struct weir_verdict *ret_verdict,
                          bool *ret_is_sound);
// Calls its main.
weir_status weir_instance_main(struct weir_instance *instance, struct weir_error *err);

// Whether the call has gone over a bound or was cut; notes why in `stopped`.
bool weir_instance_is_over(struct weir_instance *instance);

// What calls the guest's cabi_realloc many times at once (batch.c): compiled with the guest, bound
// to an instance that has its `realloc`, used through weir_batch_allocate, which fills the blocks'
// addresses.
weir_status weir_batch_compile(struct weir_engine *engine, wasmtime_module_t **ret_batch,
                               struct weir_error *err);
weir_status weir_batch_bind(struct weir_instance *instance, struct weir_error *err);
weir_status weir_batch_allocate(struct weir_instance *instance, struct weir_block *blocks,
                                size_t count, struct weir_error *err);

// WASI preview 1's poll_oneoff, with bounds (poll.c).
wasm_trap_t *weir_poll_oneoff(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                              size_t value_count);

// WASI preview 1's fd_write, to the instance's output (write.c).
wasm_trap_t *weir_fd_write(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                           size_t value_count);

// Defines what weir gives to its guests (imports.c).
weir_status weir_imports_define(wasmtime_linker_t *linker, struct weir_error *err);
// Gives back what an instance's handles stand for.
void weir_imports_drop_handles(struct weir_instance *instance);

#endif
