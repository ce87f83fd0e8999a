// SPDX-License-Identifier: Apache-2.0
//
// The core lane: calls into an instance of a core module by the canonical ABI, whose values canon.c
// moves. Runs on the thread that runs the instance.
#include "guest/handlers.h"

#include <stdio.h>
#include <stdlib.h>

// The engine gives a memory that one instance has left to another under a lock of its own, which
// ThreadSanitizer does not see: it is told.
#ifndef __has_feature
#define __has_feature(name) 0 // gcc, which says it by __SANITIZE_THREAD__
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define TELL_TAKEN(memory) __tsan_acquire(memory)
#define TELL_LEFT(memory)  __tsan_release(memory)
#else
#define TELL_TAKEN(memory) ((void)(memory))
#define TELL_LEFT(memory)  ((void)(memory))
#endif

weir_status weir_instance_call(struct weir_instance *instance, const wasmtime_func_t *function,
                               wasmtime_val_raw_t *values, size_t count, struct weir_error *err) {
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_func_call_unchecked(instance->context, function, values, count, &trap);
    return error || trap ? weir_instance_trapped(instance, error, trap, err) : WEIR_OK;
}

// The memory's place is fixed when it is made (memory_may_move is off); its size grows.
static void refresh_size(struct weir_instance *instance) {
    instance->linear.size = wasmtime_memory_data_size(instance->context, &instance->memory);
}

static weir_status allocate_each(struct weir_instance *instance, struct weir_block *blocks,
                                 size_t count, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        wasmtime_val_raw_t values[4] = {{.i32 = 0},
                                        {.i32 = 0},
                                        {.i32 = (int32_t)blocks[i].align},
                                        {.i32 = (int32_t)blocks[i].size}};
        status = weir_instance_call(instance, &instance->realloc, values, 4, err);
        blocks[i].address = (uint32_t)values[0].i32;
    }
    return status;
}

static weir_status allocate(struct weir_linear_memory *memory, struct weir_block *blocks,
                            size_t count, struct weir_error *err) {
    struct weir_instance *instance = memory->context;
    if (count == 0) {
        return WEIR_OK;
    }
    instance->is_in_abi = true;
    weir_status status = instance->has_batch ? weir_batch_allocate(instance, blocks, count, err)
                                             : allocate_each(instance, blocks, count, err);
    instance->is_in_abi = false;
    refresh_size(instance);
    return status == WEIR_OK ? status : weir_error_prefix(err, status, "cabi_realloc");
}

static bool set_environment(const struct weir_guest *guest, wasi_config_t *wasi) {
    const struct weir_guest_args *args = &guest->args;
    struct weir_attributes all = args->access ? args->access->environment(args->access_context)
                                              : (struct weir_attributes){0};
    if (all.count == 0) {
        return true;
    }
    const char **names = calloc(2 * all.count, sizeof *names);
    for (size_t i = 0; names && i < all.count; i++) { // which end in a NUL
        names[i] = all.items[i].name.data;
        names[all.count + i] = all.items[i].value.data;
    }
    bool is_done =
        names && wasi_config_set_env(wasi, all.count, (const char **)names, names + all.count);
    free(names);
    return is_done;
}

static weir_status add_wasi(struct weir_instance *instance, struct weir_error *err) {
    wasi_config_t *wasi = wasi_config_new();
    if (!wasi) {
        return weir_fail_no_memory(err, "a guest's WASI context");
    }
    // Nothing is given but the environment that is granted: no arguments, no files, no network, an
    // empty standard input. What the guest prints is taken by write.c.
    if (!set_environment(instance->guest, wasi)) {
        wasi_config_delete(wasi);
        return weir_fail_no_memory(err, "a guest's environment");
    }
    wasmtime_error_t *error = wasmtime_context_set_wasi(instance->context, wasi);
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}

weir_status weir_instance_function(struct weir_instance *instance, const char *name,
                                   wasmtime_func_t *ret_function, struct weir_error *err) {
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(instance->context, &instance->wasm, name, strlen(name),
                                      &item) ||
        item.kind != WASMTIME_EXTERN_FUNC) {
        return weir_fail(err, WEIR_NOT_FOUND, "the instance has no function \"%s\"", name);
    }
    *ret_function = item.of.func;
    return WEIR_OK;
}

static weir_status find_memory(struct weir_instance *instance, struct weir_error *err) {
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(instance->context, &instance->wasm, "memory",
                                      strlen("memory"), &item) ||
        item.kind != WASMTIME_EXTERN_MEMORY) {
        return weir_fail(err, WEIR_NOT_FOUND, "the instance has no memory");
    }
    instance->memory = item.of.memory;
    instance->linear.base = wasmtime_memory_data(instance->context, &instance->memory);
    instance->is_ready = true;
    TELL_TAKEN(instance->linear.base);
    refresh_size(instance);
    return WEIR_OK;
}

weir_status weir_core_instantiate(struct weir_instance *instance, struct weir_error *err) {
    struct weir_guest *guest = instance->guest;
    instance->linear = (struct weir_linear_memory){.allocate = allocate,
                                                   .context = instance,
                                                   .bytes_max = guest->args.event_bytes,
                                                   .bytes_bound = "bounds.event"};
    wasmtime_store_limiter(instance->store, (int64_t)guest->args.memory_bytes, -1,
                           WEIR_STORE_INSTANCES_MAX, -1, 1);
    weir_status status = guest->uses_wasi ? add_wasi(instance, err) : WEIR_OK;
    if (status != WEIR_OK) {
        return status;
    }
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_instance_pre_instantiate(guest->pre, instance->context, &instance->wasm, &trap);
    if (error || trap) {
        return weir_instance_trapped(instance, error, trap, err);
    }
    status = find_memory(instance, err);
    if (status == WEIR_OK && guest->has_realloc) {
        status = weir_instance_function(instance, "cabi_realloc", &instance->realloc, err);
    }
    if (status == WEIR_OK && guest->batch && !instance->session) {
        status = weir_batch_bind(instance, err);
    }
    if (status == WEIR_OK && guest->has_initialize) {
        wasmtime_func_t initialize;
        wasmtime_val_raw_t none[1] = {{.i32 = 0}};
        status = weir_instance_function(instance, "_initialize", &initialize, err);
        if (status == WEIR_OK) {
            status = weir_instance_call(instance, &initialize, none, 1, err);
        }
    }
    return status;
}

void weir_core_leave(struct weir_instance *instance) {
    if (instance->is_ready) {
        TELL_LEFT(instance->linear.base);
    }
}

// Looks a handler's functions up, unless they are those of the last call.
static weir_status bind_handler(struct weir_instance *instance, uint32_t index,
                                struct weir_error *err) {
    if (instance->bound_handler == index) {
        return WEIR_OK;
    }
    const struct weir_handler *handler = &instance->guest->handlers[index];
    instance->bound_handler = WEIR_HANDLERS_MAX;
    weir_status status = weir_instance_function(instance, handler->export, &instance->handle, err);
    if (status == WEIR_OK && handler->post) {
        status = weir_instance_function(instance, handler->post, &instance->post, err);
    }
    if (status == WEIR_OK) {
        instance->bound_handler = index;
    }
    return status;
}

static weir_status read_result(struct weir_instance *instance, enum weir_handler_kind kind,
                               uint32_t address, struct weir_verdict *verdict) {
    const struct weir_wit_type *type = weir_handler_types[kind].result;
    struct weir_scratch scratch;
    union weir_handler_result result;
    weir_canon_scratch_init(&scratch);
    refresh_size(instance);
    weir_status status = type ? weir_canon_lift_unread(&instance->linear, type, address, &result,
                                                       &scratch, &verdict->error)
                              : WEIR_OK;
    if (status == WEIR_OK) {
        status = weir_handler_judge(kind, &result, false, verdict);
    }
    weir_canon_scratch_finish(&scratch);
    return status == WEIR_OK ? status : weir_error_prefix(&verdict->error, status, "its result");
}

// Lets the guest free a result that was read. `err` is left alone where that succeeds: it may hold
// what the result said.
static weir_status call_post(struct weir_instance *instance, const wasmtime_func_t *post,
                             const char *name, wasmtime_val_raw_t *result, struct weir_error *err) {
    struct weir_error post_error;
    instance->is_in_abi = true;
    weir_status status = weir_instance_call(instance, post, result, 1, &post_error);
    instance->is_in_abi = false;
    if (status != WEIR_OK && err) {
        *err = post_error;
        weir_error_prefix(err, status, "%s", name);
    }
    return status;
}

enum { CORE_PARAMS_MAX = 8 }; // of a handler

// Hands the parameters over, as core values. An event is more than the ABI passes so, and goes by
// its address.
static weir_status pass(struct weir_instance *instance, enum weir_handler_kind kind,
                        const void *params, wasmtime_val_raw_t values[static CORE_PARAMS_MAX],
                        struct weir_error *err) {
    uint64_t flat[CORE_PARAMS_MAX] = {0};
    weir_status status;
    if (kind <= WEIR_HANDLER_KIND_OR_REJECT) {
        uint32_t address = 0;
        status = weir_canon_lower_new(&instance->linear, &weir_wit_event, params, &address, err);
        flat[0] = address;
    } else {
        const struct weir_handler_type *type = &weir_handler_types[kind];
        status = weir_canon_lower_params(&instance->linear, type->params, type->param_count, params,
                                         flat, err);
    }
    for (size_t i = 0; i < CORE_PARAMS_MAX; i++) {
        values[i].i64 = (int64_t)flat[i];
    }
    return status == WEIR_OK ? status : weir_error_prefix(err, status, "the event");
}

weir_status weir_core_handle(struct weir_instance *instance, uint32_t index, const void *params,
                             struct weir_verdict *verdict, bool *ret_is_sound) {
    struct weir_error *err = &verdict->error;
    const struct weir_handler *handler = &instance->guest->handlers[index];
    wasmtime_val_raw_t values[CORE_PARAMS_MAX];
    weir_status status = bind_handler(instance, index, err);
    if (status == WEIR_OK) {
        status = pass(instance, handler->kind, params, values, err);
    }
    if (status == WEIR_OK) {
        status = weir_instance_call(instance, &instance->handle, values, CORE_PARAMS_MAX, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    int32_t result = values[0].i32;
    status = read_result(instance, handler->kind, (uint32_t)result, verdict);
    if (status == WEIR_OK && handler->post) {
        values[0].i32 = result;
        status = call_post(instance, &instance->post, handler->post, values, err);
    }
    *ret_is_sound = status == WEIR_OK;
    return status;
}

// The text that `run` returned as its error.
static weir_status read_ran(struct weir_instance *instance, uint32_t address,
                            struct weir_error *err) {
    struct weir_scratch scratch;
    struct weir_wit_ran result;
    weir_canon_scratch_init(&scratch);
    refresh_size(instance);
    weir_status status =
        weir_canon_lift(&instance->linear, &weir_wit_ran, address, &result, &scratch, err);
    weir_canon_scratch_finish(&scratch); // which has nothing of a text
    if (status != WEIR_OK) {
        return weir_error_prefix(err, WEIR_TRAPPED, "its result");
    }
    if (!result.is_err) {
        return WEIR_OK;
    }
    return weir_instance_main_failed(result.err, err);
}

// A command ends by returning from _start or by proc_exit, which the engine reports as an error
// with a code.
static weir_status call_start(struct weir_instance *instance, const wasmtime_func_t *start,
                              struct weir_error *err) {
    wasmtime_val_raw_t none[1] = {{.i32 = 0}};
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_func_call_unchecked(instance->context, start, none, 1, &trap);
    int code = 0;
    if (error && instance->stopped.status == WEIR_OK && wasmtime_error_exit_status(error, &code)) {
        wasmtime_error_delete(error);
        return weir_instance_main_exited(code, err);
    }
    return error || trap ? weir_instance_trapped(instance, error, trap, err) : WEIR_OK;
}

weir_status weir_core_main(struct weir_instance *instance, struct weir_error *err) {
    struct weir_guest *guest = instance->guest;
    wasmtime_func_t function;
    weir_status status = weir_instance_function(instance, guest->main_export, &function, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (guest->main_kind == WEIR_MAIN_START) {
        return call_start(instance, &function, err);
    }
    wasmtime_val_raw_t value[1] = {{.i32 = 0}};
    status = weir_instance_call(instance, &function, value, 1, err);
    if (status == WEIR_OK && guest->main_kind == WEIR_MAIN_CLI_RUN) {
        status = value[0].i32 == 0 ? WEIR_OK : weir_fail(err, WEIR_OTHER, "main returned an error");
    } else if (status == WEIR_OK) {
        status = read_ran(instance, (uint32_t)value[0].i32, err);
        // The instance ends with its main: what it holds needs no freeing, and a fault in that
        // would only hide what main said.
    }
    return status;
}
