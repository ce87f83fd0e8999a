// SPDX-License-Identifier: Apache-2.0
//
// One instance of a guest and the calls into it. Invariants: a store belongs to one instance and is
// entered by one thread at a time; a call is never entered while another runs in the same instance;
// an instance that trapped, was cut or broke the contract is not used again (whoever holds it is
// told by `is_sound`).
//
// How a bound ends a call: the store's epoch callback runs at most WEIR_EPOCH_TICK_MS after the
// bound was passed, notes the reason in `stopped` and returns an error to the engine, which unwinds
// the guest. The note, not the engine's text, is what the user reads. Epochs do not interrupt host
// functions; those have timeouts of their own.
//
// Memory is the engine's to bound, and it tells a guest by a failed memory.grow, not by a trap:
// what the guest does then is its own affair, mostly `unreachable`. describe_trap therefore adds
// how full the memory was.
#include "guest/instance.h"

#include "base/clock.h"

#include <inttypes.h>
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

// The part of bounds.memory from which on a trap's message tells about it: 7/8.
static bool is_nearly_full(uint64_t used, uint64_t most) {
    return used >= most - most / 8;
}

bool weir_instance_is_over(struct weir_instance *instance) {
    const struct weir_guest_args *args = &instance->guest->args;
    if (instance->stopped.status != WEIR_OK) {
        return true;
    }
    if (instance->output.is_over) {
        weir_fail(&instance->stopped, WEIR_LIMIT,
                  "it printed more than bounds.output allows (%" PRIu64 " bytes)",
                  args->output_bytes);
    } else if (instance->call &&
               atomic_load_explicit(&instance->call->is_cut, memory_order_relaxed)) {
        weir_fail(&instance->stopped, WEIR_STOPPED, "it was cut because weir is stopping");
    } else if (weir_clock_monotonic_ns() > instance->deadline_ns) {
        weir_fail(&instance->stopped, WEIR_LIMIT,
                  "it ran longer than bounds.time allows (%" PRId64 " ms)",
                  args->time_ns / WEIR_NS_PER_MS);
    }
    return instance->stopped.status != WEIR_OK;
}

static wasmtime_error_t *epoch_passed(const wasmtime_context_t *context, void *data,
                                      uint64_t *epoch_deadline_delta,
                                      wasmtime_update_deadline_kind_t *update_kind) {
    (void)context;
    *epoch_deadline_delta = 1;
    *update_kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return weir_instance_is_over(data) ? wasmtime_error_new("cut by weir") : NULL;
}

// Adds what a trap has to do with weir's bounds. `unreachable` is how most guests give up when
// memory.grow was refused, which the engine tells nobody else: they may have asked for much more
// than they had, so the memory is told with every such trap.
static void describe_trap(struct weir_instance *instance, int code, struct weir_error *err) {
    if (!err) {
        return;
    }
    if (code == WASMTIME_TRAP_CODE_STACK_OVERFLOW) {
        weir_error_prefix(err, WEIR_TRAPPED,
                          "it used more stack than host.stack allows (%" PRIu64 " bytes)",
                          instance->guest->engine->config.stack_bytes);
    }
    if (!instance->is_ready) {
        return;
    }
    uint64_t used = wasmtime_memory_data_size(instance->context, &instance->memory);
    uint64_t most = instance->guest->args.memory_bytes;
    if (is_nearly_full(used, most)) {
        weir_error_prefix(err, WEIR_TRAPPED,
                          "it used %" PRIu64 " of the %" PRIu64 " bytes that bounds.memory allows",
                          used, most);
    } else if (code == WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED) {
        size_t length = strlen(err->message);
        snprintf(err->message + length, sizeof err->message - length,
                 "; it had %" PRIu64 " of the %" PRIu64 " bytes that bounds.memory allows", used,
                 most);
    }
}

// A call into the guest ended by error or trap: says why, and deletes them.
static __attribute__((cold)) weir_status trapped(struct weir_instance *instance,
                                                 wasmtime_error_t *error, wasm_trap_t *trap,
                                                 struct weir_error *err) {
    // A guest that traps because its output was refused went over a bound, even before the clock
    // noticed.
    if (instance->stopped.status != WEIR_OK || instance->output.is_over) {
        weir_instance_is_over(instance);
        if (error) {
            wasmtime_error_delete(error);
        } else {
            wasm_trap_delete(trap);
        }
        if (err) {
            *err = instance->stopped;
        }
        return instance->stopped.status;
    }
    wasmtime_trap_code_t trap_code;
    int code = trap && wasmtime_trap_code(trap, &trap_code) ? (int)trap_code : -1;
    weir_engine_fail(error, trap, WEIR_TRAPPED, err);
    describe_trap(instance, code, err);
    return WEIR_TRAPPED;
}

weir_status weir_instance_call(struct weir_instance *instance, const wasmtime_func_t *function,
                               wasmtime_val_raw_t *values, size_t count, struct weir_error *err) {
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_func_call_unchecked(instance->context, function, values, count, &trap);
    return error || trap ? trapped(instance, error, trap, err) : WEIR_OK;
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

static weir_status add_wasi(struct weir_instance *instance, struct weir_error *err) {
    wasi_config_t *wasi = wasi_config_new();
    if (!wasi) {
        return weir_fail_no_memory(err, "a guest's WASI context");
    }
    // Nothing is given: no arguments, no environment, no files, no network, an empty standard
    // input. What the guest prints is taken by write.c.
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

static weir_status instantiate(struct weir_instance *instance, struct weir_error *err) {
    struct weir_guest *guest = instance->guest;
    instance->store = wasmtime_store_new(guest->engine->wasm, instance, NULL);
    if (!instance->store) {
        return weir_fail_no_memory(err, "a store");
    }
    instance->context = wasmtime_store_context(instance->store);
    wasmtime_store_limiter(instance->store, (int64_t)guest->args.memory_bytes, -1,
                           WEIR_STORE_INSTANCES_MAX, -1, 1);
    wasmtime_store_epoch_deadline_callback(instance->store, epoch_passed, instance, NULL);
    wasmtime_context_set_epoch_deadline(instance->context, 1);
    weir_status status = guest->uses_wasi ? add_wasi(instance, err) : WEIR_OK;
    if (status != WEIR_OK) {
        return status;
    }
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_instance_pre_instantiate(guest->pre, instance->context, &instance->wasm, &trap);
    if (error || trap) {
        return trapped(instance, error, trap, err);
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

weir_status weir_instance_new(struct weir_guest *guest, void *session, struct weir_call *call,
                              struct weir_instance **ret_instance, struct weir_error *err) {
    *ret_instance = NULL;
    // Not calloc: the line buffer is large and needs no zeroing for each event.
    struct weir_instance *instance = malloc(sizeof *instance);
    if (!instance) {
        return weir_fail_no_memory(err, "an instance");
    }
    instance->guest = guest;
    instance->session = session;
    instance->store = NULL;
    instance->has_batch = false;
    instance->is_in_abi = false;
    instance->is_ready = false;
    instance->bound_handler = WEIR_HANDLERS_MAX;
    instance->next_idle = NULL;
    instance->stopped.status = WEIR_OK;
    instance->linear = (struct weir_linear_memory){.allocate = allocate,
                                                   .context = instance,
                                                   .bytes_max = guest->args.event_bytes,
                                                   .bytes_bound = "bounds.event"};
    weir_handles_init(&instance->handles, guest->args.handles);
    instance->output.to = guest->args.output;
    instance->output.guest = guest->args.name;
    instance->output.used = 0;
    weir_instance_begin(instance, call);
    weir_status status = instantiate(instance, err);
    if (status != WEIR_OK) {
        weir_error_prefix(err, status, "starting an instance");
    }
    status = weir_instance_end(instance, status, err);
    if (status != WEIR_OK) {
        weir_instance_destroy(instance);
        return status;
    }
    *ret_instance = instance;
    return WEIR_OK;
}

void weir_instance_destroy(struct weir_instance *instance) {
    if (!instance) {
        return;
    }
    weir_imports_drop_handles(instance);
    if (instance->is_ready) {
        TELL_LEFT(instance->linear.base);
    }
    if (instance->store) {
        wasmtime_store_delete(instance->store);
    }
    free(instance);
}

void weir_instance_restart_bounds(struct weir_instance *instance) {
    // Each call comes by here, hence the cheap clock; a call is cut too late rather than too early.
    // The engine's own ticks would not do: on a busy machine they may be late by more than a bound.
    instance->deadline_ns = weir_clock_coarse_ns() + WEIR_CLOCK_COARSE_MS * WEIR_NS_PER_MS +
                            instance->guest->args.time_ns;
    weir_print_begin(&instance->output, instance->guest->args.output_bytes, instance->deadline_ns);
}

void weir_instance_begin(struct weir_instance *instance, struct weir_call *call) {
    instance->call = call;
    instance->output.call = call;
    instance->stopped.status = WEIR_OK;
    weir_instance_restart_bounds(instance);
}

weir_status weir_instance_end(struct weir_instance *instance, weir_status status,
                              struct weir_error *err) {
    weir_print_flush(&instance->output);
    instance->output.call = NULL;
    instance->call = NULL;
    // A guest that ends before the clock notices has still gone over.
    if (status == WEIR_OK && instance->output.is_over) {
        weir_instance_is_over(instance);
        if (err) {
            *err = instance->stopped;
        }
        return instance->stopped.status;
    }
    // Where the cut came, in a handler or in its cabi_realloc, does not change what it was.
    if (status != WEIR_OK && err && instance->stopped.status != WEIR_OK) {
        err->status = instance->stopped.status;
    }
    return status;
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

// The error that a handler returned is the verdict.
static weir_status note_failure(const struct weir_wit_handled *result, bool may_reject,
                                struct weir_verdict *verdict) {
    bool is_rejected = may_reject && result->failure.kind == WEIR_WIT_FAILURE_REJECT;
    struct weir_str text = may_reject ? result->failure.message : result->err;
    if (!weir_utf8_valid(text)) {
        return weir_fail(&verdict->error, WEIR_TRAPPED, "err: the string is not UTF-8");
    }
    verdict->outcome = is_rejected ? WEIR_REJECTED : WEIR_FAILED;
    weir_fail(&verdict->error, WEIR_OTHER, "%.*s",
              (int)(text.size < WEIR_ERROR_MESSAGE_BYTES ? text.size : WEIR_ERROR_MESSAGE_BYTES),
              text.data);
    return WEIR_OK;
}

// Makes the verdict of what a handler returned, whose texts are not known to be UTF-8 yet.
static weir_status judge(const struct weir_wit_handled *result, bool may_reject,
                         struct weir_verdict *verdict) {
    if (result->is_err) {
        return note_failure(result, may_reject, verdict);
    }
    verdict->outcome = WEIR_HANDLED;
    if (!result->ok.is_some) {
        return WEIR_OK;
    }
    const struct weir_event_fields *event = &result->ok.value;
    struct weir_str key = event->subject.is_some ? event->subject.value : (struct weir_str){0};
    return weir_event_new_checked(event, key, &verdict->derived, &verdict->error);
}

static weir_status read_result(struct weir_instance *instance, uint32_t handler, uint32_t address,
                               struct weir_verdict *verdict) {
    struct weir_scratch scratch;
    scratch.used = 0;
    struct weir_wit_handled result;
    bool may_reject = instance->guest->handlers[handler].may_reject;
    refresh_size(instance);
    weir_status status = weir_canon_lift_unread(
        &instance->linear, may_reject ? &weir_wit_handled_or_rejected : &weir_wit_handled, address,
        &result, &scratch, &verdict->error);
    if (status == WEIR_OK) {
        status = judge(&result, may_reject, verdict);
    }
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

static weir_status handle(struct weir_instance *instance, uint32_t index,
                          const struct weir_event_fields *event, struct weir_verdict *verdict,
                          bool *ret_is_sound) {
    struct weir_error *err = &verdict->error;
    uint32_t address;
    weir_status status = bind_handler(instance, index, err);
    if (status == WEIR_OK) {
        status = weir_canon_lower_new(&instance->linear, &weir_wit_event, event, &address, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "the event");
        }
    }
    if (status != WEIR_OK) {
        return status;
    }
    wasmtime_val_raw_t value[1] = {{.i32 = (int32_t)address}};
    status = weir_instance_call(instance, &instance->handle, value, 1, err);
    if (status != WEIR_OK) {
        return status;
    }
    int32_t result = value[0].i32;
    status = read_result(instance, index, (uint32_t)result, verdict);
    if (status == WEIR_OK && instance->guest->handlers[index].post) {
        value[0].i32 = result;
        status =
            call_post(instance, &instance->post, instance->guest->handlers[index].post, value, err);
    }
    *ret_is_sound = status == WEIR_OK;
    return status;
}

void weir_instance_handle(struct weir_instance *instance, uint32_t handler,
                          const struct weir_event_fields *event, struct weir_verdict *ret_verdict,
                          bool *ret_is_sound) {
    *ret_is_sound = false;
    weir_status status = handle(instance, handler, event, ret_verdict, ret_is_sound);
    status = weir_instance_end(instance, status, &ret_verdict->error);
    if (status != WEIR_OK) {
        weir_event_unref(ret_verdict->derived);
        ret_verdict->derived = NULL;
        ret_verdict->outcome = WEIR_BROKEN;
        *ret_is_sound = *ret_is_sound && !instance->output.is_over;
    }
}

// The text that `run` returned as its error.
static weir_status read_ran(struct weir_instance *instance, uint32_t address,
                            struct weir_error *err) {
    struct weir_scratch scratch;
    scratch.used = 0;
    struct weir_wit_ran result;
    refresh_size(instance);
    weir_status status =
        weir_canon_lift(&instance->linear, &weir_wit_ran, address, &result, &scratch, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, WEIR_TRAPPED, "its result");
    }
    if (!result.is_err) {
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_OTHER, "main returned the error \"%.*s\"",
                     (int)(result.err.size < WEIR_ERROR_MESSAGE_BYTES ? result.err.size
                                                                      : WEIR_ERROR_MESSAGE_BYTES),
                     result.err.data);
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
        return code == 0 ? WEIR_OK
                         : weir_fail(err, WEIR_OTHER, "main ended with exit code %d", code);
    }
    return error || trap ? trapped(instance, error, trap, err) : WEIR_OK;
}

weir_status weir_instance_main(struct weir_instance *instance, struct weir_error *err) {
    struct weir_guest *guest = instance->guest;
    wasmtime_func_t function;
    weir_status status = weir_instance_function(instance, guest->main_export, &function, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (guest->main_kind == WEIR_MAIN_START) {
        return weir_instance_end(instance, call_start(instance, &function, err), err);
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
    return weir_instance_end(instance, status, err);
}
