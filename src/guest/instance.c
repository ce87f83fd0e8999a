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
#include "guest/handlers.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

bool weir_instance_sleep_until(struct weir_instance *instance, int64_t until_ns) {
    for (;;) {
        int64_t now_ns = weir_clock_monotonic_ns();
        if (weir_instance_is_over(instance)) {
            return false;
        }
        if (now_ns >= until_ns) {
            return true;
        }
        int64_t slice_ns = WEIR_EPOCH_TICK_MS * WEIR_NS_PER_MS;
        int64_t left_ns = until_ns - now_ns;
        struct timespec slice = weir_clock_timespec(left_ns < slice_ns ? left_ns : slice_ns);
        nanosleep(&slice, NULL);
    }
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
__attribute__((cold)) weir_status weir_instance_trapped(struct weir_instance *instance,
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
    // A component's trap comes as an error, which tells its kind by its text alone.
    if (err && code < 0 && strstr(err->message, "wasm trap: call stack exhausted")) {
        code = WASMTIME_TRAP_CODE_STACK_OVERFLOW;
    }
    describe_trap(instance, code, err);
    return WEIR_TRAPPED;
}

static weir_status instantiate(struct weir_instance *instance, struct weir_error *err) {
    struct weir_guest *guest = instance->guest;
    wasm_engine_t *engine =
        guest->is_in_core_lane ? guest->engine->wasm : guest->engine->components;
    instance->store = wasmtime_store_new(engine, instance, NULL);
    if (!instance->store) {
        return weir_fail_no_memory(err, "a store");
    }
    instance->context = wasmtime_store_context(instance->store);
    wasmtime_store_epoch_deadline_callback(instance->store, epoch_passed, instance, NULL);
    wasmtime_context_set_epoch_deadline(instance->context, 1);
    return guest->is_in_core_lane ? weir_core_instantiate(instance, err)
                                  : weir_component_instantiate(instance, err);
}

weir_status weir_instance_new(struct weir_guest *guest, void *session, struct weir_call *call,
                              struct weir_instance **ret_instance, struct weir_error *err) {
    *ret_instance = NULL;
    // Not calloc: the line buffer is large and needs no zeroing for each event.
    struct weir_instance *instance = malloc(sizeof *instance);
    if (!instance) {
        return weir_fail_no_memory(err, "an instance");
    }
    atomic_fetch_add_explicit(&guest->instances_made, 1, memory_order_relaxed);
    instance->guest = guest;
    instance->session = session;
    instance->store = NULL;
    instance->has_batch = false;
    instance->is_in_abi = false;
    instance->is_ready = false;
    instance->bound_handler = WEIR_HANDLERS_MAX;
    instance->next_idle = NULL;
    instance->stopped.status = WEIR_OK;
    instance->has_exited = false;
    instance->held_bytes = 0;
    weir_handles_init(&instance->handles, guest->args.handles);
    weir_handles_init(&instance->pollables, guest->args.handles);
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
    atomic_fetch_add_explicit(&instance->guest->instances_gone, 1, memory_order_relaxed);
    weir_imports_drop_handles(instance);
    weir_handles_finish(&instance->pollables, NULL, NULL);
    weir_core_leave(instance);
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

static void note_memory(const struct weir_instance *instance) {
    if (!instance->is_ready) { // also of a component
        return;
    }
    atomic_uint_fast64_t *largest = &instance->guest->memory_bytes_largest;
    uint64_t bytes = wasmtime_memory_data_size(instance->context, &instance->memory);
    uint64_t before = atomic_load_explicit(largest, memory_order_relaxed);
    while (bytes > before &&
           !atomic_compare_exchange_weak_explicit(largest, &before, bytes, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
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

// The error that a handler returned is the verdict.
static weir_status note_failure(const struct weir_wit_handled *result, bool may_reject,
                                bool is_checked, struct weir_verdict *verdict) {
    bool is_rejected = may_reject && result->failure.kind == WEIR_WIT_FAILURE_REJECT;
    struct weir_str text = may_reject ? result->failure.message : result->err;
    if (!is_checked && !weir_utf8_valid(text)) {
        return weir_fail(&verdict->error, WEIR_TRAPPED, "err: the string is not UTF-8");
    }
    verdict->outcome = is_rejected ? WEIR_REJECTED : WEIR_FAILED;
    weir_fail(&verdict->error, WEIR_OTHER, "%.*s",
              (int)(text.size < WEIR_ERROR_MESSAGE_BYTES ? text.size : WEIR_ERROR_MESSAGE_BYTES),
              text.data);
    return WEIR_OK;
}

weir_status weir_instance_judge(const struct weir_wit_handled *result, bool may_reject,
                                bool is_checked, struct weir_verdict *verdict) {
    if (result->is_err) {
        return note_failure(result, may_reject, is_checked, verdict);
    }
    verdict->outcome = WEIR_HANDLED;
    if (!result->ok.is_some) {
        return WEIR_OK;
    }
    const struct weir_event_fields *event = &result->ok.value;
    struct weir_str key = event->subject.is_some ? event->subject.value : (struct weir_str){0};
    return weir_event_new_checked(event, key, &verdict->derived, &verdict->error);
}

void weir_instance_handle(struct weir_instance *instance, uint32_t handler,
                          const struct weir_event_fields *event, struct weir_verdict *ret_verdict,
                          bool *ret_is_sound) {
    enum weir_handler_kind kind = instance->guest->handlers[handler].kind;
    struct weir_handler_params room;
    const void *params;
    bool is_rejected;
    *ret_is_sound = false;
    weir_status status = weir_handler_prepare(instance, kind, event, &room, &params, &is_rejected,
                                              &ret_verdict->error);
    if (status == WEIR_OK) {
        status = instance->guest->is_in_core_lane
                     ? weir_core_handle(instance, handler, params, ret_verdict, ret_is_sound)
                     : weir_component_handle(instance, handler, params, ret_verdict, ret_is_sound);
    }
    note_memory(instance);
    status = weir_instance_end(instance, status, &ret_verdict->error);
    if (status != WEIR_OK && is_rejected) {
        ret_verdict->outcome = WEIR_REJECTED;
        *ret_is_sound = true; // it was not even called
    } else if (status != WEIR_OK) {
        weir_event_unref(ret_verdict->derived);
        ret_verdict->derived = NULL;
        ret_verdict->outcome = WEIR_BROKEN;
        *ret_is_sound = *ret_is_sound && !instance->output.is_over;
    }
}

weir_status weir_instance_main_failed(struct weir_str text, struct weir_error *err) {
    size_t most = WEIR_ERROR_MESSAGE_BYTES;
    return weir_fail(err, WEIR_OTHER, "main returned the error \"%.*s\"",
                     (int)(text.size < most ? text.size : most), text.data);
}

weir_status weir_instance_main_exited(int code, struct weir_error *err) {
    return code == 0 ? WEIR_OK : weir_fail(err, WEIR_OTHER, "main ended with exit code %d", code);
}

weir_status weir_instance_main(struct weir_instance *instance, struct weir_error *err) {
    weir_status status = instance->guest->is_in_core_lane ? weir_core_main(instance, err)
                                                          : weir_component_main(instance, err);
    note_memory(instance);
    return weir_instance_end(instance, status, err);
}
