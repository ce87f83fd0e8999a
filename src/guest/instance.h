// SPDX-License-Identifier: Apache-2.0
//
// A guest and its instances, in either lane. Private to this room.
#ifndef WEIR_GUEST_INSTANCE_H
#define WEIR_GUEST_INSTANCE_H

#include "guest/canon.h"
#include "guest/engine_private.h"
#include "guest/guest.h"
#include "guest/handles.h"
#include "guest/print.h"
#include "guest/spare.h"

#include <wasmtime.h>
#include <wasmtime/component.h>

#define WEIR_WASI_PREVIEW_1 "wasi_snapshot_preview1"
// A handler's type, for messages.
#define WEIR_HANDLER_TYPE "func(ev: event) -> result<option<event>, string>"

enum { WEIR_ODD_TYPE_BYTES = 128 };

// What a handler is called with, and what it answers.
enum weir_handler_kind {
    WEIR_HANDLER_KIND_EVENT,
    WEIR_HANDLER_KIND_OR_REJECT, // its error is the variant `failure`
    WEIR_HANDLER_KIND_ON_SET,    // wasi:keyvalue/watcher's
    WEIR_HANDLER_KIND_ON_DELETE,
    WEIR_HANDLER_KIND_WATCHER, // both of them: exports nothing itself
    WEIR_HANDLER_KIND_MESSAGE, // wasi:messaging/incoming-handler's
};

// A handler as the guest exports it.
struct weir_handler {
    char *name;   // as a person calls it: "handle-event", "on-order"
    char *export; // as a module calls it: "weir:reactive/event-handler@0.1.0#handle-event"
    char *post;   // core lane: the export to call after the result was read; NULL: none
    wasmtime_component_export_index_t *index; // component lane
    bool is_by_annex;                         // component lane: called by way of annex.h
    enum weir_handler_kind kind;
    // WEIR_HANDLER_KIND_WATCHER: those that are called in its place.
    uint32_t on_set, on_delete;
};

// A function that could be a handler by its name, but not by its type.
struct weir_odd_export {
    char *name;
    char type[WEIR_ODD_TYPE_BYTES]; // "(i32, i32) -> i32"; cut where it is longer
};

enum weir_main_kind { WEIR_MAIN_NONE, WEIR_MAIN_RUN, WEIR_MAIN_CLI_RUN, WEIR_MAIN_START };

struct weir_guest {
    atomic_uint references;
    char hash[WEIR_GUEST_HASH_BYTES];
    struct weir_engine *engine;
    struct weir_guest_args args;
    char *name;        // what args.name points to
    bool is_component; // its file is one
    bool is_in_core_lane;
    char lane_reason[WEIR_LANE_REASON_BYTES]; // why it is in its lane
    // Core lane.
    wasmtime_module_t *module;
    wasmtime_linker_t *linker;
    wasmtime_instance_pre_t *pre;
    wasmtime_module_t *batch; // see batch.c; with WEIR_INSTANCES_REUSED, else NULL
    bool has_initialize;      // a reactor: "_initialize" is called before anything else
    bool has_realloc;
    bool uses_wasi;
    // Component lane.
    wasmtime_component_t *component;
    wasmtime_component_linker_t *component_linker;
    wasmtime_component_export_index_t *main_index;
    wasmtime_component_export_index_t *annex_high, *annex_body; // see annex.h; NULL: none
    char annex_reason[WEIR_LANE_REASON_BYTES];                  // why there is none
    weir_spare_slot spare;                                      // for bytes in two planes
    // Both.
    struct weir_handler *handlers;
    uint32_t handler_count;
    uint64_t file_bytes;
    char **imports; // interfaces, or modules, each once
    uint32_t import_count;
    struct weir_odd_export *odd;
    uint32_t odd_count;
    enum weir_main_kind main_kind;
    char *main_export;
    struct weir_idle_instances *idle; // with WEIR_INSTANCES_REUSED
    int64_t compile_ns;
    // See struct weir_guest_stats.
    atomic_uint_fast64_t instances_made, instances_gone, memory_bytes_largest;
};

struct weir_instance {
    struct weir_guest *guest;
    void *session; // NULL in a handler's instance
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    // Core lane.
    wasmtime_instance_t wasm;
    wasmtime_memory_t memory;
    wasmtime_func_t realloc;
    wasmtime_func_t allocate; // with has_batch: calls realloc for many blocks
    bool has_batch;
    bool is_in_abi; // inside cabi_realloc or cabi_post_: the canonical ABI forbids imports there
    bool is_ready;  // instantiated, `memory` is set
    wasmtime_func_t handle, post; // of bound_handler
    struct weir_linear_memory linear;
    // Component lane.
    wasmtime_component_instance_t component;
    wasmtime_component_func_t component_handle; // of bound_handler
    struct weir_handles pollables;              // see wasi.c
    int exit_code;                              // with has_exited
    bool has_exited;                            // it called wasi:cli/exit
    // Both.
    uint32_t bound_handler; // whose functions are looked up; WEIR_HANDLERS_MAX: nobody's
    struct weir_handles handles;
    uint64_t held_bytes; // that weir keeps for things of its handles
    struct weir_print_stream output;
    struct weir_call *call;    // the one that runs, NULL between calls
    int64_t deadline_ns;       // of it, monotonic
    struct weir_error stopped; // why the host ended the call; status WEIR_OK: it has not
    struct weir_instance *next_idle;
};

// The trace of the call that runs; NULL: there is none.
static inline struct weir_trace_call *weir_instance_trace(const struct weir_instance *instance) {
    const struct weir_cause *cause = instance->call ? instance->call->cause : NULL;
    return cause ? cause->trace : NULL;
}

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

// Calls one of the guest's handlers. The instance may be used again only if *ret_is_sound.
void weir_instance_handle(struct weir_instance *instance, uint32_t handler,
                          const struct weir_event_fields *event, struct weir_verdict *ret_verdict,
                          bool *ret_is_sound);
// Calls its main.
weir_status weir_instance_main(struct weir_instance *instance, struct weir_error *err);

// Whether the call has gone over a bound or was cut; notes why in `stopped`.
bool weir_instance_is_over(struct weir_instance *instance);
// Sleeps for a guest until that moment (monotonic); false where the call went over a bound, or was
// cut, before.
bool weir_instance_sleep_until(struct weir_instance *instance, int64_t until_ns);

// ---- loading (guest.c)

// What the WIT calls a function in an export's name: all of "on-order", the end of
// "a:b/c@1.0.0#on-order". Empty where the name is none that the WIT gives: lower-case words with
// "-" between them.
struct weir_str weir_guest_function_name(struct weir_str export);
// One more handler; `name` is the function's, `export` the whole of it. WEIR_LIMIT beyond
// WEIR_HANDLERS_MAX functions of whatever type.
weir_status weir_guest_add_handler(struct weir_guest *guest, struct weir_str export,
                                   struct weir_str name, enum weir_handler_kind kind,
                                   struct weir_error *err);
// Where the guest exports a watcher's functions: one more, which is both of them.
weir_status weir_guest_add_watcher(struct weir_guest *guest, struct weir_error *err);
// Notes what it imports from, unless it is noted.
weir_status weir_guest_add_import(struct weir_guest *guest, struct weir_str name,
                                  struct weir_error *err);
void weir_guest_forget_imports(struct weir_guest *guest);
weir_status weir_guest_add_odd(struct weir_guest *guest, struct weir_str name,
                               const char type[WEIR_ODD_TYPE_BYTES], struct weir_error *err);
// Makes the verdict of what a handler of weir:reactive returned. `is_checked`: its texts are known
// to be UTF-8.
weir_status weir_instance_judge(const struct weir_wit_handled *result, bool may_reject,
                                bool is_checked, struct weir_verdict *verdict);
// What main said: the text that `run` returned as its error, or how it exited.
weir_status weir_instance_main_failed(struct weir_str text, struct weir_error *err);
weir_status weir_instance_main_exited(int code, struct weir_error *err);
// An engine's error, with what the host stopped the call for put in its place. Deletes both.
weir_status weir_instance_trapped(struct weir_instance *instance, wasmtime_error_t *error,
                                  wasm_trap_t *trap, struct weir_error *err);

// ---- the core lane (module.c, core.c)

// Compiles and checks a module. Of a component's main module (guest->component is there) the
// handlers are known. After a failure what it made is unloaded with the guest.
weir_status weir_module_load(struct weir_guest *guest, struct weir_str wasm,
                             struct weir_error *err);
void weir_module_unload(struct weir_guest *guest);
// Whether weir gives a module what it imports under that name. Of WASI the engine knows.
bool weir_module_is_given(struct weir_str module, struct weir_str name);

weir_status weir_core_instantiate(struct weir_instance *instance, struct weir_error *err);
// `params` are what weir_handler_prepare made.
weir_status weir_core_handle(struct weir_instance *instance, uint32_t handler, const void *params,
                             struct weir_verdict *verdict, bool *ret_is_sound);
weir_status weir_core_main(struct weir_instance *instance, struct weir_error *err);
// Before the store goes.
void weir_core_leave(struct weir_instance *instance);

// Calls an exported function with core values, results in place. WEIR_TRAPPED with the reason.
weir_status weir_instance_call(struct weir_instance *instance, const wasmtime_func_t *function,
                               wasmtime_val_raw_t *values, size_t count, struct weir_error *err);

// Finds an exported function. The module was checked when it was loaded: it is there, with the
// right signature.
weir_status weir_instance_function(struct weir_instance *instance, const char *name,
                                   wasmtime_func_t *ret_function, struct weir_error *err);

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

// ---- the component lane (component.c, wasi.c)

// Compiles and checks a component, and decides its lane.
weir_status weir_component_load(struct weir_guest *guest, struct weir_str wasm,
                                struct weir_error *err);
void weir_component_unload(struct weir_guest *guest);
weir_status weir_component_instantiate(struct weir_instance *instance, struct weir_error *err);
weir_status weir_component_handle(struct weir_instance *instance, uint32_t handler,
                                  const void *params, struct weir_verdict *verdict,
                                  bool *ret_is_sound);
weir_status weir_component_main(struct weir_instance *instance, struct weir_error *err);

// Defines what WASI 0.2 has in the interface of that name ("wasi:io/poll@0.2.3") of what a guest
// is given. False where it is not one of WASI's.
weir_status weir_wasi_define(wasmtime_component_linker_instance_t *root, struct weir_str interface,
                             bool *ret_is_wasi, struct weir_error *err);

// ---- what weir gives to its guests (imports.c)

weir_status weir_imports_define(wasmtime_linker_t *linker, struct weir_error *err);
// The same for a component that imports the interface; *ret_is_weirs is false where it is none.
weir_status weir_imports_define_component(wasmtime_component_linker_instance_t *root,
                                          struct weir_str interface, bool *ret_is_weirs,
                                          struct weir_error *err);
// Whether weir has that function in that interface of its own, with that type.
bool weir_imports_fit(struct weir_str interface, struct weir_str name,
                      const wasmtime_component_func_type_t *type);
// Whether weir gives a core module that function.
bool weir_imports_have(struct weir_str module, struct weir_str name);
// Gives back what an instance's handles stand for.
void weir_imports_drop_handles(struct weir_instance *instance);

#endif
