// SPDX-License-Identifier: Apache-2.0
//
// A component as a guest: its handlers are found by the types that it declares, its imports are
// what weir gives, and calls go through the engine's dynamic values (values.c).
//
// Where its main module is all there is to a component, and needs nothing that the core lane has
// not, that lane runs the module: the same calls at a fraction of the price. What the handlers are
// is known from the component then, too.
//
// Linked for each component: the engine finds an interface by its exact version before it finds a
// compatible one, so each is defined under the name that the component asks for. What WASI has
// beyond clocks, random numbers and output (files, sockets, HTTP) is there by name and traps when
// it is called: most components import it because their language's runtime may want it.
//
// Runs on the thread that loads a guest, or on the one that runs an instance.
#include "guest/instance.h"

#include "base/show.h"
#include "guest/annex.h"
#include "guest/compile.h"
#include "guest/handlers.h"
#include "guest/sections.h"
#include "guest/values.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    IMPORTS_MAX = 256, // interfaces
    EXPORTS_MAX = 256, // of a component, and of an interface in it
};

// ---- types as texts, for messages

struct text {
    char *data;
    size_t size, used;
};

static void put(struct text *text, const char *more, size_t size) {
    size_t room = text->size - 1 - text->used;
    size_t take = size < room ? size : room;
    memcpy(text->data + text->used, more, take);
    text->used += take;
    text->data[text->used] = '\0';
}

static void put_literal(struct text *text, const char *literal) {
    put(text, literal, strlen(literal));
}

static const char *const type_names[] = {
    [WASMTIME_COMPONENT_VALTYPE_BOOL] = "bool",
    [WASMTIME_COMPONENT_VALTYPE_S8] = "s8",
    [WASMTIME_COMPONENT_VALTYPE_S16] = "s16",
    [WASMTIME_COMPONENT_VALTYPE_S32] = "s32",
    [WASMTIME_COMPONENT_VALTYPE_S64] = "s64",
    [WASMTIME_COMPONENT_VALTYPE_U8] = "u8",
    [WASMTIME_COMPONENT_VALTYPE_U16] = "u16",
    [WASMTIME_COMPONENT_VALTYPE_U32] = "u32",
    [WASMTIME_COMPONENT_VALTYPE_U64] = "u64",
    [WASMTIME_COMPONENT_VALTYPE_F32] = "f32",
    [WASMTIME_COMPONENT_VALTYPE_F64] = "f64",
    [WASMTIME_COMPONENT_VALTYPE_CHAR] = "char",
    [WASMTIME_COMPONENT_VALTYPE_STRING] = "string",
    [WASMTIME_COMPONENT_VALTYPE_LIST] = "a list",
    [WASMTIME_COMPONENT_VALTYPE_RECORD] = "a record",
    [WASMTIME_COMPONENT_VALTYPE_TUPLE] = "a tuple",
    [WASMTIME_COMPONENT_VALTYPE_VARIANT] = "a variant",
    [WASMTIME_COMPONENT_VALTYPE_ENUM] = "an enum",
    [WASMTIME_COMPONENT_VALTYPE_OPTION] = "an option",
    [WASMTIME_COMPONENT_VALTYPE_RESULT] = "a result",
    [WASMTIME_COMPONENT_VALTYPE_FLAGS] = "flags",
    [WASMTIME_COMPONENT_VALTYPE_OWN] = "a resource",
    [WASMTIME_COMPONENT_VALTYPE_BORROW] = "a borrowed resource",
};

static const char *name_of_type(const wasmtime_component_valtype_t *type) {
    size_t kind = type->kind;
    bool is_known = kind < sizeof type_names / sizeof type_names[0] && type_names[kind];
    return is_known ? type_names[kind] : "another type";
}

// "func(x: u32, y: a list) -> string": enough to see that it is not a handler's.
static void describe_function(const wasmtime_component_func_type_t *type,
                              char ret_text[WEIR_ODD_TYPE_BYTES]) {
    struct text text = {.data = ret_text, .size = WEIR_ODD_TYPE_BYTES};
    size_t count = wasmtime_component_func_type_param_count(type);
    put_literal(&text, "func(");
    for (size_t i = 0; i < count; i++) {
        const char *name;
        size_t size;
        wasmtime_component_valtype_t param;
        if (!wasmtime_component_func_type_param_nth(type, i, &name, &size, &param)) {
            break;
        }
        put_literal(&text, i > 0 ? ", " : "");
        put(&text, name, size);
        put_literal(&text, ": ");
        put_literal(&text, name_of_type(&param));
        wasmtime_component_valtype_delete(&param);
    }
    wasmtime_component_valtype_t result;
    put_literal(&text, ")");
    if (wasmtime_component_func_type_result(type, &result)) {
        put_literal(&text, " -> ");
        put_literal(&text, name_of_type(&result));
        wasmtime_component_valtype_delete(&result);
    }
}

// ---- exports

// result<_, _>, as wasi:cli/run's
static const struct weir_wit_field plain_result_cases[] = {{.name = "ok"}, {.name = "err"}};
static const struct weir_wit_type plain_result = {
    .kind = WEIR_WIT_RESULT, .host_size = 1, .fields = plain_result_cases, .field_count = 2};

static weir_status set_main(struct weir_guest *guest, enum weir_main_kind kind,
                            struct weir_str export,
                            const wasmtime_component_export_index_t *interface,
                            struct weir_str name, struct weir_error *err) {
    if (guest->main_index) {
        return weir_fail(err, WEIR_INVALID, "it exports two mains: run, and wasi:cli/run");
    }
    guest->main_index =
        wasmtime_component_get_export_index(guest->component, interface, name.data, name.size);
    guest->main_export = weir_str_copy(export);
    if (!guest->main_index || !guest->main_export) {
        return weir_fail_no_memory(err, "an export's name");
    }
    guest->main_kind = kind;
    return WEIR_OK;
}

static weir_status add_handler(struct weir_guest *guest, struct weir_str export,
                               const wasmtime_component_export_index_t *interface,
                               struct weir_str name, enum weir_handler_kind kind,
                               struct weir_error *err) {
    weir_status status = weir_guest_add_handler(guest, export, name, kind, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_handler *handler = &guest->handlers[guest->handler_count - 1];
    handler->index =
        wasmtime_component_get_export_index(guest->component, interface, name.data, name.size);
    return handler->index ? WEIR_OK : weir_fail_no_memory(err, "an export's name");
}

static bool has_type_of(enum weir_handler_kind kind, const wasmtime_component_func_type_t *type) {
    const struct weir_handler_type *expected = &weir_handler_types[kind];
    return weir_values_match_function(expected->params, expected->param_count, expected->result,
                                      type);
}

static bool is_handler(struct weir_str export, const wasmtime_component_func_type_t *type,
                       enum weir_handler_kind *ret_kind) {
    if (weir_handler_is_standard(export, ret_kind)) {
        return has_type_of(*ret_kind, type);
    }
    *ret_kind = has_type_of(WEIR_HANDLER_KIND_EVENT, type) ? WEIR_HANDLER_KIND_EVENT
                                                           : WEIR_HANDLER_KIND_OR_REJECT;
    return has_type_of(*ret_kind, type);
}

// One exported function. `export` is its whole name, `name` its own; `interface` is NULL in the
// world itself.
static weir_status inspect_function(struct weir_guest *guest,
                                    const wasmtime_component_func_type_t *type,
                                    struct weir_str export,
                                    const wasmtime_component_export_index_t *interface,
                                    struct weir_str name, struct weir_error *err) {
    bool is_cli_run = weir_str_has_prefix(export, WEIR_STR("wasi:cli/run@"));
    bool is_run = is_cli_run || (!interface && weir_str_equal(name, WEIR_STR("run")));
    if (is_run &&
        weir_values_match_function(NULL, 0, is_cli_run ? &plain_result : &weir_wit_ran, type)) {
        return set_main(guest, is_cli_run ? WEIR_MAIN_CLI_RUN : WEIR_MAIN_RUN, export, interface,
                        name, err);
    }
    enum weir_handler_kind kind;
    if (!is_run && is_handler(export, type, &kind)) {
        return add_handler(guest, export, interface, name, kind, err);
    }
    char text[WEIR_ODD_TYPE_BYTES];
    describe_function(type, text);
    return is_run ? weir_fail(err, WEIR_INVALID, "it exports run as %s; it must be %s", text,
                              is_cli_run ? "func() -> result" : "func() -> result<_, string>")
                  : weir_guest_add_odd(guest, name, text, err);
}

// One thing that an interface has, which is to be deleted. False: there are not so many.
static bool get_of_interface(const wasmtime_component_instance_type_t *type,
                             const wasm_engine_t *engine, size_t nth, struct weir_str *ret_name,
                             wasmtime_component_item_t *ret_item) {
    wasmtime_component_extern_t *found;
    if (!wasmtime_component_instance_type_export_nth(type, engine, nth, &ret_name->data,
                                                     &ret_name->size, &found)) {
        return false;
    }
    wasmtime_component_extern_type(found, ret_item);
    wasmtime_component_extern_delete(found);
    return true;
}

static weir_status inspect_method(struct weir_guest *guest,
                                  const wasmtime_component_func_type_t *type,
                                  struct weir_str interface,
                                  const wasmtime_component_export_index_t *index,
                                  struct weir_str name, struct weir_error *err) {
    char *whole;
    int size = asprintf(&whole, "%.*s#%.*s", WEIR_STR_ARG(interface), WEIR_STR_ARG(name));
    if (size < 0) {
        return weir_fail_no_memory(err, "an export's name");
    }
    struct weir_str export = {.data = whole, .size = (size_t)size};
    weir_status status = inspect_function(guest, type, export, index, name, err);
    free(whole);
    return status;
}

// The functions of an exported interface.
static weir_status inspect_interface(struct weir_guest *guest,
                                     const wasmtime_component_instance_type_t *type,
                                     struct weir_str interface, struct weir_error *err) {
    const wasm_engine_t *engine = guest->engine->components;
    size_t count = wasmtime_component_instance_type_export_count(type, engine);
    if (count > EXPORTS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "an interface of it exports more than %d things",
                         EXPORTS_MAX);
    }
    wasmtime_component_export_index_t *index =
        wasmtime_component_get_export_index(guest->component, NULL, interface.data, interface.size);
    weir_status status = index ? WEIR_OK : weir_fail_no_memory(err, "an export's name");
    struct weir_str name;
    wasmtime_component_item_t item;
    for (size_t i = 0; status == WEIR_OK && get_of_interface(type, engine, i, &name, &item); i++) {
        if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_FUNC) {
            status = inspect_method(guest, item.of.component_func, interface, index, name, err);
        }
        wasmtime_component_item_delete(&item);
    }
    if (index) {
        wasmtime_component_export_index_delete(index);
    }
    return status;
}

static weir_status inspect_exports(struct weir_guest *guest, const wasmtime_component_type_t *type,
                                   struct weir_error *err) {
    const wasm_engine_t *engine = guest->engine->components;
    size_t count = wasmtime_component_type_export_count(type, engine);
    weir_status status =
        count <= EXPORTS_MAX + WEIR_ANNEX_EXPORTS_MAX
            ? WEIR_OK
            : weir_fail(err, WEIR_LIMIT, "it exports more than %d things", EXPORTS_MAX);
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        struct weir_str name;
        wasmtime_component_extern_t *export;
        wasmtime_component_item_t item;
        if (!wasmtime_component_type_export_nth(type, engine, i, &name.data, &name.size, &export)) {
            break;
        }
        wasmtime_component_extern_type(export, &item);
        if (weir_str_has_prefix(name, WEIR_STR(WEIR_ANNEX_PREFIX))) {
            // Nothing that the guest exports.
        } else if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_FUNC) {
            status = inspect_function(guest, item.of.component_func, name, NULL, name, err);
        } else if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_INSTANCE) {
            status = inspect_interface(guest, item.of.component_instance, name, err);
        }
        wasmtime_component_item_delete(&item);
        wasmtime_component_extern_delete(export);
    }
    if (status == WEIR_OK) {
        status = weir_guest_add_watcher(guest, err);
    }
    if (status != WEIR_OK || guest->handler_count > 0 || weir_guest_has_main(guest)) {
        return status;
    }
    return guest->odd_count > 0
               ? weir_fail(err, WEIR_INVALID,
                           "it exports no main (run) and no handler: \"%s\" is %s, and a handler "
                           "is " WEIR_HANDLER_TYPE,
                           guest->odd[0].name, guest->odd[0].type)
               : weir_fail(err, WEIR_INVALID,
                           "it exports neither a main (run) nor a handler (such "
                           "as " WEIR_WIT_EVENT_HANDLER "#" WEIR_HANDLER_DEFAULT ")");
}

// ---- imports

// Whether each function that the component imports of one of weir's interfaces is there, as weir
// has it.
static weir_status check_functions(const struct weir_guest *guest, struct weir_str interface,
                                   const wasmtime_component_instance_type_t *type,
                                   struct weir_error *err) {
    const wasm_engine_t *engine = guest->engine->components;
    weir_status status = WEIR_OK;
    struct weir_str name;
    wasmtime_component_item_t item;
    // Each has a name of its own, and the first that weir has not is the last to be looked at.
    for (size_t i = 0; status == WEIR_OK && get_of_interface(type, engine, i, &name, &item); i++) {
        if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_FUNC &&
            !weir_imports_fit(interface, name, item.of.component_func)) {
            char shown[WEIR_SHOW_BYTES];
            status = weir_fail(err, WEIR_INVALID,
                               "it imports \"%s\" from \"%.*s\" as weir does not give it",
                               weir_show(name, shown, sizeof shown), WEIR_STR_ARG(interface));
        }
        wasmtime_component_item_delete(&item);
    }
    return status;
}

static weir_status define_import(struct weir_guest *guest,
                                 wasmtime_component_linker_instance_t *root,
                                 struct weir_str interface, const wasmtime_component_item_t *item,
                                 struct weir_error *err) {
    bool is_weirs = false, is_wasis = false;
    weir_status status = weir_imports_define_component(root, interface, &is_weirs, err);
    if (status == WEIR_OK && !is_weirs) {
        status = weir_wasi_define(root, interface, &is_wasis, err);
    }
    if (status != WEIR_OK || is_wasis) {
        return status;
    }
    if (is_weirs && item->kind == WASMTIME_COMPONENT_ITEM_COMPONENT_INSTANCE) {
        return check_functions(guest, interface, item->of.component_instance, err);
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID,
                     "it imports \"%s\", which weir does not give; weir "
                     "gives " WEIR_IMPORTS_GIVEN " and WASI 0.2",
                     weir_show(interface, shown, sizeof shown));
}

static weir_status define_imports(struct weir_guest *guest, const wasmtime_component_type_t *type,
                                  wasmtime_component_linker_instance_t *root,
                                  struct weir_error *err) {
    const wasm_engine_t *engine = guest->engine->components;
    size_t count = wasmtime_component_type_import_count(type, engine);
    weir_status status =
        count <= IMPORTS_MAX
            ? WEIR_OK
            : weir_fail(err, WEIR_LIMIT, "it imports more than %d interfaces", IMPORTS_MAX);
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        struct weir_str name;
        wasmtime_component_extern_t *import;
        wasmtime_component_item_t item;
        if (!wasmtime_component_type_import_nth(type, engine, i, &name.data, &name.size, &import)) {
            break;
        }
        wasmtime_component_extern_type(import, &item);
        status = define_import(guest, root, name, &item, err);
        if (status == WEIR_OK) {
            status = weir_guest_add_import(guest, name, err);
        }
        wasmtime_component_item_delete(&item);
        wasmtime_component_extern_delete(import);
    }
    return status;
}

static weir_status link_component(struct weir_guest *guest, const wasmtime_component_type_t *type,
                                  struct weir_error *err) {
    guest->component_linker = wasmtime_component_linker_new(guest->engine->components);
    if (!guest->component_linker) {
        return weir_fail_no_memory(err, "a linker");
    }
    wasmtime_component_linker_instance_t *root =
        wasmtime_component_linker_root(guest->component_linker);
    weir_status status = define_imports(guest, type, root, err);
    wasmtime_component_linker_instance_delete(root);
    if (status != WEIR_OK) {
        return status;
    }
    wasmtime_error_t *error = wasmtime_component_linker_define_unknown_imports_as_traps(
        guest->component_linker, guest->component);
    return error ? weir_engine_fail(error, NULL, WEIR_INVALID, err) : WEIR_OK;
}

// ---- loading

// Runs the component's main module in the core lane if that can be. A reason against it is no
// error, unless the core lane was asked for.
static weir_status try_core_lane(struct weir_guest *guest, struct weir_str wasm,
                                 struct weir_error *err) {
    if (guest->args.lane == WEIR_GUEST_LANE_COMPONENT) {
        snprintf(guest->lane_reason, sizeof guest->lane_reason, "`lane: component` asks for it");
        return WEIR_OK;
    }
    enum weir_main_kind main_kind = guest->main_kind;
    char *main_export = guest->main_export;
    guest->main_export = NULL;
    struct weir_str module;
    struct weir_error why = {.status = WEIR_OK};
    weir_status status = weir_sections_main_module(wasm, weir_module_is_given, &module, &why);
    if (status == WEIR_OK) {
        status = weir_module_load(guest, module, &why);
    }
    if (status == WEIR_OK) {
        free(main_export);
        guest->is_in_core_lane = true;
        snprintf(guest->lane_reason, sizeof guest->lane_reason,
                 "its main module needs only weir's interfaces and WASI preview 1");
        return WEIR_OK;
    }
    weir_module_unload(guest);
    weir_guest_forget_imports(guest);
    free(guest->main_export);
    guest->main_kind = main_kind;
    guest->main_export = main_export;
    if (status == WEIR_NO_MEMORY || guest->args.lane == WEIR_GUEST_LANE_CORE) {
        if (err) {
            *err = why;
        }
        return weir_error_prefix(err, status, "the core lane cannot run this component");
    }
    snprintf(guest->lane_reason, sizeof guest->lane_reason, "%s", why.message);
    return WEIR_OK;
}

static weir_status compile_with_annex(struct weir_guest *guest, struct weir_str wasm,
                                      struct weir_annex **ret_annex, struct weir_error *err) {
    weir_status status = weir_annex_make(wasm, ret_annex, err);
    if (status != WEIR_OK) {
        return status;
    }
    const struct weir_compile_source whole = {
        .guest = guest->name, .wasm = {.data = (*ret_annex)->bytes, .size = (*ret_annex)->size}};
    return weir_compile_component(guest->engine, &whole, &guest->component, err);
}

// Compiles it with what annex.h adds; as it is, where that cannot be added, or the engine refuses
// the whole: of the component alone it says better what is wrong. *ret_annex is NULL then.
static weir_status compile_component(struct weir_guest *guest, struct weir_str wasm,
                                     struct weir_annex **ret_annex, struct weir_error *err) {
    struct weir_error why = {.status = WEIR_OK};
    weir_status status = compile_with_annex(guest, wasm, ret_annex, &why);
    if (status == WEIR_UNSUPPORTED || status == WEIR_INVALID) {
        snprintf(guest->annex_reason, sizeof guest->annex_reason, "%s", why.message);
        weir_annex_destroy(*ret_annex);
        *ret_annex = NULL;
        const struct weir_compile_source source = {.guest = guest->name, .wasm = wasm};
        return weir_compile_component(guest->engine, &source, &guest->component, err);
    }
    if (status != WEIR_OK && err) {
        *err = why;
    }
    return status;
}

static weir_status load(struct weir_guest *guest, struct weir_str wasm,
                        const struct weir_annex *annex, struct weir_error *err) {
    wasmtime_component_type_t *type = wasmtime_component_type(guest->component);
    if (!type) {
        return weir_fail_no_memory(err, "a component's type");
    }
    weir_status status = inspect_exports(guest, type, err);
    if (status == WEIR_OK && annex) {
        status = weir_annex_use(guest, annex, err);
    }
    if (status == WEIR_OK) {
        status = try_core_lane(guest, wasm, err);
    }
    if (status == WEIR_OK && !guest->is_in_core_lane) {
        status = link_component(guest, type, err);
    }
    wasmtime_component_type_delete(type);
    if (status == WEIR_OK && guest->is_in_core_lane) {
        weir_component_unload(guest); // it has said what it is
    }
    return status;
}

weir_status weir_component_load(struct weir_guest *guest, struct weir_str wasm,
                                struct weir_error *err) {
    guest->is_component = true;
    struct weir_annex *annex = NULL;
    weir_status status = weir_engine_want_components(guest->engine, err);
    if (status == WEIR_OK) {
        status = compile_component(guest, wasm, &annex, err);
    }
    if (status == WEIR_OK) {
        status = load(guest, wasm, annex, err);
    }
    weir_annex_destroy(annex);
    return status;
}

static void delete_index(wasmtime_component_export_index_t **index) {
    if (*index) {
        wasmtime_component_export_index_delete(*index);
    }
    *index = NULL;
}

void weir_component_unload(struct weir_guest *guest) {
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        delete_index(&guest->handlers[i].index);
    }
    delete_index(&guest->main_index);
    weir_annex_forget(guest);
    if (guest->component_linker) {
        wasmtime_component_linker_delete(guest->component_linker);
    }
    if (guest->component) {
        wasmtime_component_delete(guest->component);
    }
    guest->component_linker = NULL;
    guest->component = NULL;
}

// ---- calls

weir_status weir_component_instantiate(struct weir_instance *instance, struct weir_error *err) {
    const struct weir_guest *guest = instance->guest;
    wasmtime_store_limiter(instance->store, (int64_t)guest->args.memory_bytes,
                           WEIR_COMPONENT_TABLE_ELEMENTS_MAX, WEIR_COMPONENT_INSTANCES_MAX,
                           WEIR_COMPONENT_TABLES_MAX, WEIR_COMPONENT_MEMORIES_MAX);
    wasmtime_error_t *error = wasmtime_component_linker_instantiate(
        guest->component_linker, instance->context, guest->component, &instance->component);
    return error ? weir_instance_trapped(instance, error, NULL, err) : WEIR_OK;
}

static weir_status find_function(struct weir_instance *instance,
                                 const wasmtime_component_export_index_t *index,
                                 wasmtime_component_func_t *ret_function, struct weir_error *err) {
    return wasmtime_component_instance_get_func(&instance->component, instance->context, index,
                                                ret_function)
               ? WEIR_OK
               : weir_fail(err, WEIR_NOT_FOUND, "the instance lacks a function of its component");
}

static weir_status bind_handler(struct weir_instance *instance, uint32_t index,
                                struct weir_error *err) {
    if (instance->bound_handler == index) {
        return WEIR_OK;
    }
    instance->bound_handler = WEIR_HANDLERS_MAX;
    weir_status status = find_function(instance, instance->guest->handlers[index].index,
                                       &instance->component_handle, err);
    if (status == WEIR_OK) {
        instance->bound_handler = index;
    }
    return status;
}

// Reads what a handler returned, which goes with the call.
static weir_status read_result(struct weir_values *values, enum weir_handler_kind kind,
                               const wasmtime_component_val_t *returned,
                               struct weir_verdict *verdict) {
    const struct weir_wit_type *type = weir_handler_types[kind].result;
    union weir_handler_result result;
    weir_status status =
        type ? weir_values_lift(values, type, returned, &result, &verdict->error) : WEIR_OK;
    if (status == WEIR_OK) {
        status = weir_handler_judge(kind, &result, true, verdict);
    }
    return status == WEIR_OK ? status : weir_error_prefix(&verdict->error, status, "its result");
}

// A call ended by an error. The engine bounds what it takes from a component at once, by the size
// of the values that it makes of it.
static weir_status end_of_call(struct weir_instance *instance, wasmtime_error_t *error,
                               struct weir_error *err) {
    weir_status status = weir_instance_trapped(instance, error, NULL, err);
    if (!err || !strstr(err->message, "fuel allocated for hostcalls has been exhausted")) {
        return status;
    }
    return weir_fail(err, WEIR_LIMIT,
                     "it handed over more than the engine takes from a component at once: a body "
                     "that is not text may have about 3 MiB (text, and the core lane, have no such "
                     "bound)");
}

enum { PARAMS_MAX = 3 }; // of a handler

static weir_status pass(struct weir_values *values, const struct weir_handler_type *type,
                        const void *params, wasmtime_component_val_t passed[static PARAMS_MAX],
                        struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; status == WEIR_OK && i < type->param_count; i++) {
        const struct weir_wit_field *param = &type->params[i];
        status = weir_values_pass(values, param->type, (const char *)params + param->host_offset,
                                  &passed[i], err);
    }
    return status == WEIR_OK ? status : weir_error_prefix(err, status, "the event");
}

weir_status weir_component_handle(struct weir_instance *instance, uint32_t handler,
                                  const void *params, struct weir_verdict *verdict,
                                  bool *ret_is_sound) {
    struct weir_error *err = &verdict->error;
    enum weir_handler_kind kind = instance->guest->handlers[handler].kind;
    const struct weir_handler_type *type = &weir_handler_types[kind];
    struct weir_values values;
    weir_values_begin(&values, instance, instance->guest->args.event_bytes, "bounds.event");
    values.is_by_annex = instance->guest->handlers[handler].is_by_annex;
    wasmtime_component_val_t passed[PARAMS_MAX], returned = {.kind = WASMTIME_COMPONENT_BOOL};
    weir_status status = bind_handler(instance, handler, err);
    if (status == WEIR_OK) {
        status = pass(&values, type, params, passed, err);
    }
    if (status == WEIR_OK && values.high.size > 0) {
        status = weir_annex_give(instance, values.high, err);
        if (status != WEIR_OK) {
            weir_error_prefix(err, status, "the event's body");
        }
    }
    if (status == WEIR_OK) {
        wasmtime_error_t *error =
            wasmtime_component_func_call(&instance->component_handle, instance->context, passed,
                                         type->param_count, &returned, type->result ? 1 : 0);
        status = error ? end_of_call(instance, error, err) : WEIR_OK;
    }
    if (status == WEIR_OK) {
        status = read_result(&values, kind, &returned, verdict);
        *ret_is_sound = status == WEIR_OK;
    }
    wasmtime_component_val_delete(&returned);
    weir_values_end(&values);
    return status;
}

// What `run` of the world, or of wasi:cli/run, returned.
static weir_status read_ran(struct weir_instance *instance,
                            const wasmtime_component_val_t *returned, struct weir_error *err) {
    struct weir_values values;
    struct weir_wit_ran ran;
    if (instance->guest->main_kind == WEIR_MAIN_CLI_RUN) {
        return returned->of.result.is_ok ? WEIR_OK
                                         : weir_fail(err, WEIR_OTHER, "main returned an error");
    }
    weir_values_begin(&values, instance, instance->guest->args.event_bytes, "bounds.event");
    weir_status status = weir_values_lift(&values, &weir_wit_ran, returned, &ran, err);
    if (status != WEIR_OK) {
        weir_error_prefix(err, WEIR_TRAPPED, "its result");
    } else if (ran.is_err) {
        status = weir_instance_main_failed(ran.err, err);
    }
    weir_values_end(&values);
    return status;
}

weir_status weir_component_main(struct weir_instance *instance, struct weir_error *err) {
    wasmtime_component_func_t run;
    weir_status status = find_function(instance, instance->guest->main_index, &run, err);
    if (status != WEIR_OK) {
        return status;
    }
    wasmtime_component_val_t returned = {.kind = WASMTIME_COMPONENT_BOOL};
    wasmtime_error_t *error =
        wasmtime_component_func_call(&run, instance->context, NULL, 0, &returned, 1);
    if (error && instance->has_exited && instance->stopped.status == WEIR_OK) {
        wasmtime_error_delete(error);
        status = weir_instance_main_exited(instance->exit_code, err);
    } else if (error) {
        status = weir_instance_trapped(instance, error, NULL, err);
    } else {
        status = read_ran(instance, &returned, err);
    }
    wasmtime_component_val_delete(&returned);
    return status;
}
