// SPDX-License-Identifier: Apache-2.0
//
// From a guest to the functions of weir: `enter` is the core lane's way, from core values to core
// values by canon.c; `enter_component` the component lane's, from dynamic values to dynamic values
// by values.c. What the functions do stands in one file for each package.
//
// Runs on the thread that runs the instance.
#include "guest/imports.h"

#include "guest/values.h"

#include <stdio.h>
#include <stdlib.h>

const struct weir_import_interface *const weir_import_interfaces[] = {
    &weir_import_resources,
    &weir_import_events,
    &weir_import_types,
    &weir_import_keyvalue_store,
    &weir_import_keyvalue_atomics,
    &weir_import_keyvalue_batch,
    &weir_import_messaging_types,
    &weir_import_messaging_producer,
    &weir_import_http_client,
    &weir_import_sql,
    &weir_import_config_store,
    &weir_import_logging,
    &weir_import_logging_unversioned,
    NULL,
};

// ---- what a call needs

struct weir_import_block {
    struct weir_import_block *next;
    void (*free_held)(void *held); // NULL: the bytes are what is meant
    void *held;
    _Alignas(16) unsigned char bytes[];
};

static struct weir_import_block *add_block(struct weir_import_call *call, size_t bytes,
                                           struct weir_error *err) {
    struct weir_import_block *block = malloc(sizeof *block + bytes);
    if (!block) {
        weir_fail_no_memory(err, "an answer to a guest");
        return NULL;
    }
    block->free_held = NULL;
    block->next = call->blocks;
    call->blocks = block;
    return block;
}

void *weir_import_room(struct weir_import_call *call, size_t count, size_t size,
                       struct weir_error *err) {
    struct weir_import_block *block = add_block(call, count * size, err);
    return block ? memset(block->bytes, 0, count * size) : NULL;
}

weir_status weir_import_defer(struct weir_import_call *call, void (*free_held)(void *held),
                              void *held, struct weir_error *err) {
    struct weir_import_block *block = add_block(call, 0, err);
    if (!block) {
        free_held(held);
        return WEIR_NO_MEMORY;
    }
    block->free_held = free_held;
    block->held = held;
    return WEIR_OK;
}

weir_status weir_import_adopt(struct weir_import_call *call, void *memory, struct weir_error *err) {
    return weir_import_defer(call, free, memory, err);
}

static void finish_call(struct weir_import_call *call) {
    while (call->blocks) {
        struct weir_import_block *block = call->blocks;
        call->blocks = block->next;
        if (block->free_held) {
            block->free_held(block->held);
        }
        free(block);
    }
}

weir_status weir_import_hold(struct weir_instance *instance, size_t bytes, struct weir_error *err) {
    uint64_t most = instance->guest->args.memory_bytes;
    if (bytes > most || instance->held_bytes > most - bytes) {
        return weir_fail(err, WEIR_LIMIT,
                         "what weir keeps for it would need more than bounds.memory allows (%llu "
                         "bytes)",
                         (unsigned long long)most);
    }
    instance->held_bytes += bytes;
    return WEIR_OK;
}

void weir_import_release(struct weir_instance *instance, size_t bytes) {
    instance->held_bytes -= bytes;
}

weir_status weir_import_access(const struct weir_instance *instance,
                               const struct weir_guest_access **ret_access, void **ret_context,
                               struct weir_error *err) {
    *ret_access = instance->guest->args.access;
    *ret_context = instance->guest->args.access_context;
    return *ret_access ? WEIR_OK
                       : weir_fail(err, WEIR_UNSUPPORTED, "there is nothing to reach here");
}

// ---- resources

static void drop_thing(void *context, uint8_t kind, void *thing) {
    struct weir_instance *instance = context;
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        const struct weir_import_interface *interface = weir_import_interfaces[i];
        for (size_t j = 0; j < interface->resource_count; j++) {
            if (interface->resources[j].kind == kind && interface->resources[j].drop) {
                interface->resources[j].drop(instance, thing);
            }
        }
    }
}

void weir_imports_drop_handles(struct weir_instance *instance) {
    weir_handles_finish(&instance->handles, drop_thing, instance);
}

static weir_status drop_handle(struct weir_instance *instance,
                               const struct weir_import_resource *resource, uint32_t handle,
                               struct weir_error *err) {
    void *thing;
    weir_status status =
        weir_handles_remove(&instance->handles, (uint8_t)resource->kind, handle, &thing, err);
    if (status == WEIR_OK && resource->drop) {
        resource->drop(instance, thing);
    }
    return status;
}

// ---- the core lane

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

// Whether a result goes through a return pointer behind the parameters, as all do that have more
// than one core value.
static bool has_return_pointer(const struct weir_wit_function *function) {
    return function->result && weir_canon_flat_count(function->result) > WEIR_WIT_FLAT_RESULTS_MAX;
}

static weir_status return_result(struct weir_instance *instance,
                                 const struct weir_wit_function *function, const void *result,
                                 const uint64_t *flat, wasmtime_val_raw_t *values,
                                 struct weir_error *err) {
    if (!function->result) {
        return WEIR_OK;
    }
    if (!has_return_pointer(function)) {
        uint64_t value = 0;
        memcpy(&value, result, function->result->host_size);
        values[0].i64 = (int64_t)value;
        return WEIR_OK;
    }
    uint32_t return_pointer = (uint32_t)flat[flat_param_count(function)];
    return weir_canon_lower_at(&instance->linear, function->result, result, return_pointer, err);
}

static weir_status check_state(const struct weir_instance *instance, struct weir_error *err) {
    if (!instance->is_ready) {
        return weir_fail(err, WEIR_TRAPPED,
                         "called before the module was ready (by its start function)");
    }
    return instance->is_in_abi ? weir_fail(err, WEIR_TRAPPED,
                                           "called from cabi_realloc or cabi_post_, which must not")
                               : WEIR_OK;
}

static wasm_trap_t *enter(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                          size_t value_count) {
    const struct weir_import *import = env;
    const struct weir_wit_function *function = &import->wit;
    struct weir_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    struct weir_error err = {.status = WEIR_OK};
    if (check_state(instance, &err) != WEIR_OK) {
        return trap_of(function, &err);
    }
    uint64_t flat[WEIR_WIT_FLAT_PARAMS_MAX + 1] = {0};
    for (size_t i = 0; i < value_count && i < sizeof flat / sizeof flat[0]; i++) {
        memcpy(&flat[i], &values[i].i64, sizeof flat[i]); // an i32 stands in the low half
    }
    _Alignas(16) unsigned char params[WEIR_WIT_HOST_BYTES_MAX], result[WEIR_WIT_HOST_BYTES_MAX];
    struct weir_import_call call = {.instance = instance};
    struct weir_scratch scratch;
    weir_canon_scratch_init(&scratch);
    memset(result, 0, function->result ? function->result->host_size : 0);
    instance->linear.size = wasmtime_memory_data_size(instance->context, &instance->memory);
    weir_status status =
        weir_canon_lift_params(&instance->linear, function, flat, params, &scratch, &err);
    if (status == WEIR_OK) {
        status = import->function(&call, params, result, &err);
    }
    if (status == WEIR_OK) {
        status = return_result(instance, function, result, flat, values, &err);
    }
    finish_call(&call);
    weir_canon_scratch_finish(&scratch);
    return status == WEIR_OK ? NULL : trap_of(function, &err);
}

static wasm_trap_t *enter_drop(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                               size_t value_count) {
    (void)value_count;
    struct weir_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    struct weir_error err;
    return drop_handle(instance, env, (uint32_t)values[0].i32, &err) == WEIR_OK
               ? NULL
               : wasmtime_trap_new(err.message, strlen(err.message));
}

static wasm_valtype_t *flat_type(const struct weir_wit_type *type, uint32_t flat) {
    return wasm_valtype_new(weir_canon_flat_is_64(type, flat) ? WASM_I64 : WASM_I32);
}

static wasm_functype_t *type_of(const struct weir_wit_function *function) {
    wasm_valtype_t *params[WEIR_WIT_FLAT_PARAMS_MAX + 1], *result = NULL;
    size_t count = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const struct weir_wit_type *type = function->params[i].type;
        for (uint32_t flat = 0; flat < weir_canon_flat_count(type); flat++) {
            params[count++] = flat_type(type, flat);
        }
    }
    if (has_return_pointer(function)) {
        params[count++] = wasm_valtype_new(WASM_I32);
    } else if (function->result) {
        result = flat_type(function->result, 0);
    }
    wasm_valtype_vec_t param_vec, result_vec;
    wasm_valtype_vec_new(&param_vec, count, params);
    wasm_valtype_vec_new(&result_vec, result ? 1 : 0, result ? &result : NULL);
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
                          const void *env, struct weir_error *err) {
    if (!type) {
        return weir_fail_no_memory(err, "a function's type");
    }
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, interface, strlen(interface), name, strlen(name), type, function,
        (void *)(uintptr_t)env, NULL);
    wasm_functype_delete(type);
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}

enum { DROP_NAME_BYTES = 64 };

// What the canonical ABI calls the function that drops a handle.
static const char *drop_name(const struct weir_import_resource *resource,
                             char buffer[DROP_NAME_BYTES]) {
    snprintf(buffer, DROP_NAME_BYTES, "[resource-drop]%s", resource->name);
    return buffer;
}

static weir_status define_interface(wasmtime_linker_t *linker,
                                    const struct weir_import_interface *interface,
                                    struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < interface->function_count; i++) {
        const struct weir_import *import = &interface->functions[i];
        status = define(linker, interface->name, import->wit.name, type_of(&import->wit), enter,
                        import, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < interface->resource_count; i++) {
        char name[DROP_NAME_BYTES];
        status = define(linker, interface->name, drop_name(&interface->resources[i], name),
                        wasm_functype_new_1_0(wasm_valtype_new(WASM_I32)), enter_drop,
                        &interface->resources[i], err);
    }
    return status;
}

weir_status weir_imports_define(wasmtime_linker_t *linker, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && weir_import_interfaces[i]; i++) {
        status = define_interface(linker, weir_import_interfaces[i], err);
    }
    if (status == WEIR_OK) {
        wasmtime_linker_allow_shadowing(linker, true);
        status = define(linker, WEIR_WASI_PREVIEW_1, "poll_oneoff", four_to_one_type(),
                        weir_poll_oneoff, NULL, err);
    }
    if (status == WEIR_OK) {
        status = define(linker, WEIR_WASI_PREVIEW_1, "fd_write", four_to_one_type(), weir_fd_write,
                        NULL, err);
        wasmtime_linker_allow_shadowing(linker, false);
    }
    return status;
}

static const struct weir_import_interface *find_interface(struct weir_str name) {
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        if (weir_str_equal(name, weir_str_of(weir_import_interfaces[i]->name))) {
            return weir_import_interfaces[i];
        }
    }
    return NULL;
}

static const struct weir_import *find_function(const struct weir_import_interface *interface,
                                               struct weir_str name) {
    for (size_t i = 0; interface && i < interface->function_count; i++) {
        if (weir_str_equal(name, weir_str_of(interface->functions[i].wit.name))) {
            return &interface->functions[i];
        }
    }
    return NULL;
}

bool weir_imports_have(struct weir_str module, struct weir_str name) {
    const struct weir_import_interface *interface = find_interface(module);
    for (size_t i = 0; interface && i < interface->resource_count; i++) {
        char drop[DROP_NAME_BYTES];
        if (weir_str_equal(name, weir_str_of(drop_name(&interface->resources[i], drop)))) {
            return true;
        }
    }
    return find_function(interface, name) != NULL;
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
    const struct weir_import *import = env;
    const struct weir_wit_function *function = &import->wit;
    struct weir_instance *instance = wasmtime_context_get_data(context);
    _Alignas(16) unsigned char params[WEIR_WIT_HOST_BYTES_MAX], result[WEIR_WIT_HOST_BYTES_MAX];
    struct weir_error err = {.status = WEIR_OK};
    struct weir_import_call call = {.instance = instance};
    struct weir_values values;
    weir_values_begin(&values, instance, instance->guest->args.event_bytes, "bounds.event");
    memset(result, 0, function->result ? function->result->host_size : 0);
    weir_status status = lift_params(&values, function, args, arg_count, params, &err);
    if (status == WEIR_OK && result_count != (function->result ? 1 : 0)) {
        status = weir_fail(&err, WEIR_TRAPPED, "called as if it answered something else");
    }
    if (status == WEIR_OK) {
        status = import->function(&call, params, result, &err);
    }
    if (status == WEIR_OK && function->result) {
        status = weir_values_answer(&values, function->result, result, &results[0], &err);
    }
    finish_call(&call);
    weir_values_end(&values);
    if (status == WEIR_OK) {
        return NULL;
    }
    char message[TRAP_BYTES];
    return wasmtime_error_new(describe(function, &err, message));
}

static wasmtime_error_t *drop_component_handle(void *env, wasmtime_context_t *context,
                                               uint32_t handle) {
    struct weir_error err;
    return drop_handle(wasmtime_context_get_data(context), env, handle, &err) == WEIR_OK
               ? NULL
               : wasmtime_error_new(err.message);
}

static wasmtime_error_t *define_resource(wasmtime_component_linker_instance_t *instance,
                                         const struct weir_import_resource *resource) {
    wasmtime_component_resource_type_t *type =
        wasmtime_component_resource_type_new_host((uint32_t)resource->kind);
    wasmtime_error_t *error = wasmtime_component_linker_instance_add_resource(
        instance, resource->name, strlen(resource->name), type, drop_component_handle,
        (void *)(uintptr_t)resource, NULL);
    wasmtime_component_resource_type_delete(type);
    return error;
}

weir_status weir_imports_define_component(wasmtime_component_linker_instance_t *root,
                                          struct weir_str name, bool *ret_is_weirs,
                                          struct weir_error *err) {
    const struct weir_import_interface *interface = find_interface(name);
    *ret_is_weirs = interface != NULL;
    if (!interface) {
        return WEIR_OK;
    }
    wasmtime_component_linker_instance_t *instance;
    wasmtime_error_t *error =
        wasmtime_component_linker_instance_add_instance(root, name.data, name.size, &instance);
    if (error) {
        return weir_engine_fail(error, NULL, WEIR_OTHER, err);
    }
    for (size_t i = 0; !error && i < interface->resource_count; i++) {
        error = define_resource(instance, &interface->resources[i]);
    }
    for (size_t i = 0; !error && i < interface->function_count; i++) {
        const struct weir_import *import = &interface->functions[i];
        error = wasmtime_component_linker_instance_add_func(
            instance, import->wit.name, strlen(import->wit.name), enter_component,
            (void *)(uintptr_t)import, NULL);
    }
    wasmtime_component_linker_instance_delete(instance);
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}

bool weir_imports_fit(struct weir_str interface, struct weir_str name,
                      const wasmtime_component_func_type_t *type) {
    const struct weir_import *import = find_function(find_interface(interface), name);
    return import && weir_values_match_function(import->wit.params, import->wit.param_count,
                                                import->wit.result, type);
}
