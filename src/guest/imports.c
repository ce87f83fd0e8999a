// SPDX-License-Identifier: Apache-2.0
//
// What weir gives to its guests: the interfaces weir:reactive/resources and weir:reactive/events. A
// function is written once, on the host structs of wit.h; `enter` is the core lane's way to it,
// from core values to core values, and `enter_component` the component lane's.
//
// Who may do what is decided in two steps. Here: only main subscribes, so an instance without a
// session is told `unsupported`. By the host behind struct weir_guest_host: resources, grants,
// bounds. Runs on the thread that runs the instance.
#include "guest/instance.h"
#include "guest/values.h"

#include <stdio.h>

// Writes a WIT `error` for a status that a guest may see; false for one that it may not.
static bool as_wit_error(weir_status status, const struct weir_error *cause,
                         struct weir_wit_error *ret_error) {
    if (status == WEIR_OK || status > WEIR_OTHER) {
        return false;
    }
    *ret_error = (struct weir_wit_error){.kind = (uint8_t)(status - 1),
                                         .message = weir_str_of(cause->message)};
    return true;
}

static weir_status only_main(const struct weir_instance *instance, const char *what,
                             struct weir_error *err) {
    if (instance->session) {
        return WEIR_OK;
    }
    return weir_fail(
        err, WEIR_UNSUPPORTED,
        "%s inside a handler: subscriptions are made by main (run or _start), before its exec",
        what);
}

static weir_status do_open(struct weir_instance *instance,
                           const struct weir_wit_open_params *params,
                           struct weir_wit_opened *result, struct weir_error *err) {
    weir_status status = only_main(instance, "open", err);
    if (status == WEIR_OK) {
        status = instance->guest->args.host->open(instance->session, params->name, err);
    }
    result->ok = params->name;
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

static weir_status do_watch(struct weir_instance *instance,
                            const struct weir_wit_watch_params *params,
                            struct weir_wit_watched *result, struct weir_error *err) {
    weir_status status = only_main(instance, "watch", err);
    if (status == WEIR_OK) {
        status = instance->guest->args.host->watch(instance->session, params->rd, params->key, err);
    }
    result->ok = (struct weir_wit_observable){.rd = params->rd, .key = params->key};
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

// Gives the guest one more handle for a set, taking over a reference.
static weir_status give_handle(struct weir_instance *instance, void *set, weir_status status,
                               struct weir_wit_set *result, struct weir_error *err) {
    if (status == WEIR_OK) {
        status = weir_handles_add(&instance->handles, set, &result->ok, err);
        if (status != WEIR_OK && set) {
            instance->guest->args.host->set_unref(instance->session, set);
        }
    }
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

// A handler gets an empty set, whose methods tell it that handlers do not subscribe.
static weir_status do_events_get(struct weir_instance *instance, struct weir_wit_set *result,
                                 struct weir_error *err) {
    void *set = NULL;
    weir_status status = WEIR_OK;
    if (instance->session) {
        status = instance->guest->args.host->set_new(instance->session, &set, err);
    }
    return give_handle(instance, set, status, result, err);
}

static weir_status listen_to(struct weir_instance *instance, uint32_t self,
                             const struct weir_wit_observable *ob, struct weir_str handler,
                             struct weir_wit_set *result, struct weir_error *err) {
    const struct weir_guest_host *host = instance->guest->args.host;
    void *set;
    weir_status status = weir_handles_get(&instance->handles, self, &set, err);
    if (status != WEIR_OK) {
        return status;
    }
    uint32_t index = 0;
    status = only_main(instance, "listen", err);
    if (status == WEIR_OK) {
        status = weir_guest_handler_find(instance->guest, handler, &index, err);
    }
    // The handle first: where there is room for no more, nothing was subscribed to.
    if (status == WEIR_OK) {
        status = weir_handles_add(&instance->handles, set, &result->ok, err);
    }
    if (status == WEIR_OK) {
        status = host->set_listen(instance->session, set, ob->rd, ob->key, index, err);
        if (status == WEIR_OK) {
            host->set_ref(instance->session, set);
        } else {
            weir_handles_remove(&instance->handles, result->ok, &set, NULL);
        }
    }
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

static weir_status do_events_exec(struct weir_instance *instance,
                                  const struct weir_wit_exec_params *params,
                                  struct weir_wit_done *result, struct weir_error *err) {
    void *set;
    weir_status status = weir_handles_get(&instance->handles, params->self, &set, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = only_main(instance, "exec", err);
    if (status == WEIR_OK) {
        weir_print_flush(&instance->output);
        status =
            instance->guest->args.host->set_exec(instance->session, set, params->duration_s, err);
        weir_instance_restart_bounds(instance); // the time in exec was the host's
    }
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

static void drop_thing(void *context, void *thing) {
    struct weir_instance *instance = context;
    if (thing) {
        instance->guest->args.host->set_unref(instance->session, thing);
    }
}

void weir_imports_drop_handles(struct weir_instance *instance) {
    weir_handles_finish(&instance->handles, drop_thing, instance);
}

static weir_status call_import(struct weir_instance *instance, enum weir_wit_import import,
                               const void *params, void *result, struct weir_error *err) {
    switch (import) {
    case WEIR_IMPORT_OPEN:
        return do_open(instance, params, result, err);
    case WEIR_IMPORT_WATCH:
        return do_watch(instance, params, result, err);
    case WEIR_IMPORT_EVENTS_GET:
        return do_events_get(instance, result, err);
    case WEIR_IMPORT_EVENTS_LISTEN: {
        const struct weir_wit_listen_params *listen = params;
        return listen_to(instance, listen->self, &listen->ob, WEIR_STR(WEIR_HANDLER_DEFAULT),
                         result, err);
    }
    case WEIR_IMPORT_EVENTS_LISTEN_TO: {
        const struct weir_wit_listen_to_params *listen = params;
        return listen_to(instance, listen->self, &listen->ob, listen->handler, result, err);
    }
    case WEIR_IMPORT_EVENTS_EXEC:
        return do_events_exec(instance, params, result, err);
    case WEIR_IMPORT_COUNT:
        break;
    }
    return weir_fail(err, WEIR_OTHER, "no import has the number %d", (int)import);
}

enum { TRAP_BYTES = WEIR_ERROR_MESSAGE_BYTES + 128 };

static const char *describe(const struct weir_wit_function *function, const struct weir_error *err,
                            char message[TRAP_BYTES]) {
    int length = snprintf(message, TRAP_BYTES, "%s %s: %s", function->interface, function->name,
                          err->message);
    return length < 0 ? err->message : message;
}

static wasm_trap_t *trap_of(const struct weir_wit_function *function,
                            const struct weir_error *err) {
    char message[TRAP_BYTES];
    const char *text = describe(function, err, message);
    return wasmtime_trap_new(text, strlen(text));
}

static uint32_t flat_param_count(const struct weir_wit_function *function) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        count += weir_canon_flat_count(function->params[i].type);
    }
    return count;
}

// Each imported function has a return pointer behind its parameters, since each result has more
// than one core value.
static wasm_trap_t *enter(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                          size_t value_count) {
    const struct weir_wit_function *function = env;
    struct weir_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    struct weir_error err = {.status = WEIR_OK};
    if (!instance->is_ready) {
        weir_fail(&err, WEIR_TRAPPED, "called before the module was ready (by its start function)");
        return trap_of(function, &err);
    }
    if (instance->is_in_abi) {
        weir_fail(&err, WEIR_TRAPPED, "called from cabi_realloc or cabi_post_, which must not");
        return trap_of(function, &err);
    }
    uint64_t flat[WEIR_WIT_FLAT_PARAMS_MAX + 1] = {0};
    for (size_t i = 0; i < value_count && i < sizeof flat / sizeof flat[0]; i++) {
        memcpy(&flat[i], &values[i].i64, sizeof flat[i]); // an i32 stands in the low half
    }
    _Alignas(16) unsigned char params[WEIR_WIT_HOST_BYTES_MAX], result[WEIR_WIT_HOST_BYTES_MAX];
    struct weir_scratch scratch;
    scratch.used = 0;
    memset(result, 0, function->result->host_size);
    instance->linear.size = wasmtime_memory_data_size(instance->context, &instance->memory);
    weir_status status =
        weir_canon_lift_params(&instance->linear, function, flat, params, &scratch, &err);
    if (status == WEIR_OK) {
        enum weir_wit_import import = (enum weir_wit_import)(function - weir_wit_imports);
        status = call_import(instance, import, params, result, &err);
    }
    if (status == WEIR_OK) {
        uint32_t return_pointer = (uint32_t)flat[flat_param_count(function)];
        status =
            weir_canon_lower_at(&instance->linear, function->result, result, return_pointer, &err);
    }
    return status == WEIR_OK ? NULL : trap_of(function, &err);
}

static wasm_trap_t *drop_events(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                                size_t value_count) {
    (void)env;
    (void)value_count;
    struct weir_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    struct weir_error err;
    void *set;
    if (weir_handles_remove(&instance->handles, (uint32_t)values[0].i32, &set, &err) != WEIR_OK) {
        return wasmtime_trap_new(err.message, strlen(err.message));
    }
    drop_thing(instance, set);
    return NULL;
}

static wasm_functype_t *type_of(const struct weir_wit_function *function) {
    wasm_valtype_t *params[WEIR_WIT_FLAT_PARAMS_MAX + 1];
    size_t count = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const struct weir_wit_type *type = function->params[i].type;
        for (uint32_t flat = 0; flat < weir_canon_flat_count(type); flat++) {
            params[count++] =
                wasm_valtype_new(weir_canon_flat_is_64(type, flat) ? WASM_I64 : WASM_I32);
        }
    }
    params[count++] = wasm_valtype_new(WASM_I32);
    wasm_valtype_vec_t param_vec, result_vec;
    wasm_valtype_vec_new(&param_vec, count, params);
    wasm_valtype_vec_new_empty(&result_vec);
    return wasm_functype_new(&param_vec, &result_vec);
}

// (i32, i32, i32, i32) -> i32
static wasm_functype_t *four_to_one_type(void) {
    wasm_valtype_t *params[4], *results[1] = {wasm_valtype_new(WASM_I32)};
    for (size_t i = 0; i < 4; i++) {
        params[i] = wasm_valtype_new(WASM_I32);
    }
    wasm_valtype_vec_t param_vec, result_vec;
    wasm_valtype_vec_new(&param_vec, 4, params);
    wasm_valtype_vec_new(&result_vec, 1, results);
    return wasm_functype_new(&param_vec, &result_vec);
}

static weir_status define(wasmtime_linker_t *linker, const char *interface, const char *name,
                          wasm_functype_t *type, wasmtime_func_unchecked_callback_t function,
                          const struct weir_wit_function *env, struct weir_error *err) {
    if (!type) {
        return weir_fail_no_memory(err, "a function's type");
    }
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, interface, strlen(interface), name, strlen(name), type, function,
        (void *)(uintptr_t)env, NULL);
    wasm_functype_delete(type);
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}

weir_status weir_imports_define(wasmtime_linker_t *linker, struct weir_error *err) {
    for (size_t i = 0; i < WEIR_IMPORT_COUNT; i++) {
        const struct weir_wit_function *function = &weir_wit_imports[i];
        weir_status status = define(linker, function->interface, function->name, type_of(function),
                                    enter, function, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    weir_status status =
        define(linker, WEIR_WIT_EVENTS, "[resource-drop]events",
               wasm_functype_new_1_0(wasm_valtype_new(WASM_I32)), drop_events, NULL, err);
    if (status == WEIR_OK) {
        wasmtime_linker_allow_shadowing(linker, true);
        status = define(linker, "wasi_snapshot_preview1", "poll_oneoff", four_to_one_type(),
                        weir_poll_oneoff, NULL, err);
    }
    if (status == WEIR_OK) {
        status = define(linker, "wasi_snapshot_preview1", "fd_write", four_to_one_type(),
                        weir_fd_write, NULL, err);
        wasmtime_linker_allow_shadowing(linker, false);
    }
    return status;
}

// ---- the component lane

static weir_status lift_params(struct weir_values *values, const struct weir_wit_function *function,
                               const wasmtime_component_val_t *args, size_t arg_count,
                               unsigned char *ret_params, struct weir_error *err) {
    memset(ret_params, 0, function->params_size);
    if (arg_count != function->param_count) {
        return weir_fail(err, WEIR_TRAPPED, "called with %zu arguments, it has %u", arg_count,
                         function->param_count);
    }
    for (uint32_t i = 0; i < function->param_count; i++) {
        const struct weir_wit_field *param = &function->params[i];
        weir_status status =
            weir_values_lift(values, param->type, &args[i], ret_params + param->host_offset, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "%s", param->name);
        }
    }
    return WEIR_OK;
}

static wasmtime_error_t *enter_component(void *env, wasmtime_context_t *context,
                                         const wasmtime_component_func_type_t *type,
                                         wasmtime_component_val_t *args, size_t arg_count,
                                         wasmtime_component_val_t *results, size_t result_count) {
    (void)type;
    const struct weir_wit_function *function = env;
    struct weir_instance *instance = wasmtime_context_get_data(context);
    _Alignas(16) unsigned char params[WEIR_WIT_HOST_BYTES_MAX], result[WEIR_WIT_HOST_BYTES_MAX];
    struct weir_error err = {.status = WEIR_OK};
    struct weir_values values;
    weir_values_begin(&values, instance, instance->guest->args.event_bytes, "bounds.event");
    memset(result, 0, function->result->host_size);
    weir_status status = lift_params(&values, function, args, arg_count, params, &err);
    if (status == WEIR_OK && result_count != 1) {
        status = weir_fail(&err, WEIR_TRAPPED, "called as if it answered nothing");
    }
    if (status == WEIR_OK) {
        enum weir_wit_import import = (enum weir_wit_import)(function - weir_wit_imports);
        status = call_import(instance, import, params, result, &err);
    }
    if (status == WEIR_OK) {
        status = weir_values_answer(&values, function->result, result, &results[0], &err);
    }
    weir_values_end(&values);
    if (status == WEIR_OK) {
        return NULL;
    }
    char message[TRAP_BYTES];
    return wasmtime_error_new(describe(function, &err, message));
}

static wasmtime_error_t *drop_component_events(void *env, wasmtime_context_t *context,
                                               uint32_t handle) {
    (void)env;
    struct weir_instance *instance = wasmtime_context_get_data(context);
    struct weir_error err;
    void *set;
    if (weir_handles_remove(&instance->handles, handle, &set, &err) != WEIR_OK) {
        return wasmtime_error_new(err.message);
    }
    drop_thing(instance, set);
    return NULL;
}

static wasmtime_error_t *define_events(wasmtime_component_linker_instance_t *instance) {
    wasmtime_component_resource_type_t *type =
        wasmtime_component_resource_type_new_host(WEIR_RESOURCE_EVENTS);
    wasmtime_error_t *error = wasmtime_component_linker_instance_add_resource(
        instance, "events", strlen("events"), type, drop_component_events, NULL, NULL);
    wasmtime_component_resource_type_delete(type);
    return error;
}

weir_status weir_imports_define_component(wasmtime_component_linker_instance_t *root,
                                          struct weir_str interface, bool *ret_is_weirs,
                                          struct weir_error *err) {
    bool is_events = weir_str_equal(interface, WEIR_STR(WEIR_WIT_EVENTS));
    *ret_is_weirs = is_events || weir_str_equal(interface, WEIR_STR(WEIR_WIT_RESOURCES)) ||
                    weir_str_equal(interface, WEIR_STR(WEIR_WIT_TYPES));
    if (!*ret_is_weirs) {
        return WEIR_OK;
    }
    wasmtime_component_linker_instance_t *instance;
    wasmtime_error_t *error = wasmtime_component_linker_instance_add_instance(
        root, interface.data, interface.size, &instance);
    if (error) {
        return weir_engine_fail(error, NULL, WEIR_OTHER, err);
    }
    error = is_events ? define_events(instance) : NULL;
    for (size_t i = 0; !error && i < WEIR_IMPORT_COUNT; i++) {
        const struct weir_wit_function *function = &weir_wit_imports[i];
        if (weir_str_equal(interface, weir_str_of(function->interface))) {
            error = wasmtime_component_linker_instance_add_func(
                instance, function->name, strlen(function->name), enter_component,
                (void *)(uintptr_t)function, NULL);
        }
    }
    wasmtime_component_linker_instance_delete(instance);
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}

bool weir_imports_fit(struct weir_str interface, struct weir_str name,
                      const wasmtime_component_func_type_t *type) {
    for (size_t i = 0; i < WEIR_IMPORT_COUNT; i++) {
        const struct weir_wit_function *function = &weir_wit_imports[i];
        if (weir_str_equal(interface, weir_str_of(function->interface)) &&
            weir_str_equal(name, weir_str_of(function->name))) {
            return weir_values_match_function(function->params, function->param_count,
                                              function->result, type);
        }
    }
    return false;
}
