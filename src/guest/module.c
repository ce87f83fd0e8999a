// SPDX-License-Identifier: Apache-2.0
//
// A core module as a guest: what it exports and imports is checked here, before anything of it
// runs.
//
// Handlers are found by their exports: a function whose core type is handle-event's, (i32) -> i32
// (26 core values are more than the ABI passes flat, so the event goes by pointer), and whose name
// is one that the WIT gives to a function: `on-order` from the world itself,
// `package:name/interface@version#handle-event` from an interface. A core module has no other
// types, so the name also says what a handler returns, see wit/reactive.wit: one that ends in
// "-or-reject" returns the variant `failure` as its error. Of a component's main module the
// component has said already what its handlers are (component.c); they have to be there.
#include "guest/instance.h"

#include "base/show.h"
#include "guest/compile.h"
#include "guest/handlers.h"

#include <stdio.h>
#include <stdlib.h>

enum { TYPE_BYTES = WEIR_ODD_TYPE_BYTES };

static struct weir_str view(const wasm_name_t *name) {
    return (struct weir_str){.data = name->data, .size = name->size};
}

static const char *valtype_name(const wasm_valtype_t *type) {
    switch (wasm_valtype_kind(type)) {
    case WASM_I32:
        return "i32";
    case WASM_I64:
        return "i64";
    case WASM_F32:
        return "f32";
    case WASM_F64:
        return "f64";
    default:
        return "ref";
    }
}

// Appends to a type's text; what does not fit is left out, so that no such type equals one that is
// asked for.
static size_t append(char text[TYPE_BYTES], size_t used, const char *more) {
    size_t size = strlen(more);
    if (size > TYPE_BYTES - 1 - used) {
        size = TYPE_BYTES - 1 - used;
    }
    memcpy(text + used, more, size);
    text[used + size] = '\0';
    return used + size;
}

// Whether a function's type is written `expected`, as in "(i32, i32) -> i32"; also writes it to
// `ret_text`.
static bool has_type(const wasm_functype_t *type, const char *expected, char ret_text[TYPE_BYTES]) {
    const wasm_valtype_vec_t *params = wasm_functype_params(type);
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    size_t used = append(ret_text, 0, "(");
    for (size_t i = 0; i < params->size; i++) {
        used = append(ret_text, used, i ? ", " : "");
        used = append(ret_text, used, valtype_name(params->data[i]));
    }
    used = append(ret_text, used, results->size ? ") -> " : ") -> ()");
    for (size_t i = 0; i < results->size; i++) {
        used = append(ret_text, used, i ? ", " : "");
        used = append(ret_text, used, valtype_name(results->data[i]));
    }
    return strcmp(ret_text, expected) == 0;
}

// The module's exports while it is inspected.
struct exports {
    wasm_exporttype_vec_t all;
};

static const wasm_externtype_t *export_named(const struct exports *exports, const char *name) {
    for (size_t i = 0; i < exports->all.size; i++) {
        if (weir_str_equal(view(wasm_exporttype_name(exports->all.data[i])), weir_str_of(name))) {
            return wasm_exporttype_type(exports->all.data[i]);
        }
    }
    return NULL;
}

// Whether a function of that name and type is exported; WEIR_INVALID where its type is another.
static weir_status find_function(const struct exports *exports, const char *name, const char *type,
                                 bool *ret_found, struct weir_error *err) {
    const wasm_externtype_t *export = export_named(exports, name);
    *ret_found = export && wasm_externtype_kind(export) == WASM_EXTERN_FUNC;
    if (!*ret_found) {
        return WEIR_OK;
    }
    char text[TYPE_BYTES];
    if (!has_type(wasm_externtype_as_functype_const(export), type, text)) {
        return weir_fail(err, WEIR_INVALID, "it exports %s as %s; it must be %s", name, text, type);
    }
    return WEIR_OK;
}

static weir_status find_post(const struct exports *exports, const char *export, char **ret_post,
                             struct weir_error *err) {
    bool is_found;
    char *name;
    if (asprintf(&name, "cabi_post_%s", export) < 0) {
        return weir_fail_no_memory(err, "an export's name");
    }
    weir_status status = find_function(exports, name, "(i32) -> ()", &is_found, err);
    if (status == WEIR_OK && is_found) {
        *ret_post = name;
        return WEIR_OK;
    }
    free(name);
    return status;
}

static bool or_rejects(struct weir_str name) {
    struct weir_str suffix = WEIR_STR("-or-reject");
    return name.size > suffix.size &&
           memcmp(name.data + name.size - suffix.size, suffix.data, suffix.size) == 0;
}

static weir_status find_handlers(struct weir_guest *guest, const struct exports *exports,
                                 struct weir_error *err) {
    for (size_t i = 0; i < exports->all.size; i++) {
        const wasm_externtype_t *type = wasm_exporttype_type(exports->all.data[i]);
        struct weir_str export = view(wasm_exporttype_name(exports->all.data[i]));
        struct weir_str name = weir_guest_function_name(export);
        bool is_main =
            weir_str_equal(export, WEIR_STR("run")) ||
            (guest->main_export && weir_str_equal(export, weir_str_of(guest->main_export)));
        if (wasm_externtype_kind(type) != WASM_EXTERN_FUNC || name.size == 0 || is_main) {
            continue;
        }
        enum weir_handler_kind kind =
            or_rejects(name) ? WEIR_HANDLER_KIND_OR_REJECT : WEIR_HANDLER_KIND_EVENT;
        weir_handler_is_standard(export, &kind);
        char text[TYPE_BYTES];
        bool is_handler = has_type(wasm_externtype_as_functype_const(type),
                                   weir_handler_types[kind].core_type, text);
        weir_status status = is_handler ? weir_guest_add_handler(guest, export, name, kind, err)
                                        : weir_guest_add_odd(guest, name, text, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return weir_guest_add_watcher(guest, err);
}

static weir_status find_main(struct weir_guest *guest, const struct exports *exports,
                             struct weir_error *err) {
    bool is_found;
    weir_status status = find_function(exports, "run", "() -> i32", &is_found, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (is_found) {
        guest->main_kind = WEIR_MAIN_RUN;
        guest->main_export = strdup("run");
        return guest->main_export ? WEIR_OK : weir_fail_no_memory(err, "an export's name");
    }
    for (size_t i = 0; i < exports->all.size; i++) {
        struct weir_str name = view(wasm_exporttype_name(exports->all.data[i]));
        if (weir_str_has_prefix(name, WEIR_STR("wasi:cli/run@")) &&
            weir_str_equal(weir_guest_function_name(name), WEIR_STR("run"))) {
            guest->main_kind = WEIR_MAIN_CLI_RUN;
            guest->main_export = weir_str_copy(name);
            return guest->main_export
                       ? find_function(exports, guest->main_export, "() -> i32", &is_found, err)
                       : weir_fail_no_memory(err, "an export's name");
        }
    }
    status = find_function(exports, "_start", "() -> ()", &is_found, err);
    if (status == WEIR_OK && is_found) {
        guest->main_kind = WEIR_MAIN_START;
        guest->main_export = strdup("_start");
        status = guest->main_export ? WEIR_OK : weir_fail_no_memory(err, "an export's name");
    }
    return status;
}

static weir_status check_memory(struct weir_guest *guest, const struct exports *exports,
                                struct weir_error *err) {
    const wasm_externtype_t *export = export_named(exports, "memory");
    if (!export || wasm_externtype_kind(export) != WASM_EXTERN_MEMORY) {
        return weir_fail(err, WEIR_INVALID, "it exports no memory named \"memory\"");
    }
    const wasm_memorytype_t *type = wasm_externtype_as_memorytype_const(export);
    uint64_t page_bytes = wasmtime_memorytype_page_size(type);
    uint64_t least = wasmtime_memorytype_minimum(type);
    if (wasmtime_memorytype_isshared(type) || wasmtime_memorytype_is64(type)) {
        return weir_fail(err, WEIR_UNSUPPORTED, "its memory is shared or 64-bit");
    }
    if (least > guest->args.memory_bytes / page_bytes) {
        return weir_fail(
            err, WEIR_LIMIT, "it needs %llu bytes of memory to start, bounds.memory allows %llu",
            (unsigned long long)least * page_bytes, (unsigned long long)guest->args.memory_bytes);
    }
    return WEIR_OK;
}

// Of a component: its handlers have to be there, as the canonical ABI exports them.
static weir_status check_handlers(const struct weir_guest *guest, const struct exports *exports,
                                  struct weir_error *err) {
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        const char *export = guest->handlers[i].export;
        const char *core_type = weir_handler_types[guest->handlers[i].kind].core_type;
        if (!core_type) {
            continue; // those in its place are called
        }
        bool is_found;
        weir_status status = find_function(exports, export, core_type, &is_found, err);
        if (status != WEIR_OK || !is_found) {
            return status != WEIR_OK ? status
                                     : weir_fail(err, WEIR_INVALID, "it exports no %s", export);
        }
    }
    return WEIR_OK;
}

static weir_status find_posts(struct weir_guest *guest, const struct exports *exports,
                              struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; status == WEIR_OK && i < guest->handler_count; i++) {
        struct weir_handler *handler = &guest->handlers[i];
        if (!weir_handler_types[handler->kind].result) {
            continue; // it leaves nothing behind
        }
        status = find_post(exports, handler->export, &handler->post, err);
    }
    return status;
}

static weir_status check_exports(struct weir_guest *guest, const struct exports *exports,
                                 struct weir_error *err) {
    bool is_of_component = guest->component != NULL, wants_main = weir_guest_has_main(guest);
    weir_status status = find_main(guest, exports, err);
    if (status == WEIR_OK && is_of_component && wants_main != weir_guest_has_main(guest)) {
        status = weir_fail(err, WEIR_INVALID, "it exports %s", wants_main ? "no main" : "a main");
    }
    if (status == WEIR_OK) {
        status = is_of_component ? check_handlers(guest, exports, err)
                                 : find_handlers(guest, exports, err);
    }
    if (status == WEIR_OK) {
        status = find_posts(guest, exports, err);
    }
    if (status == WEIR_OK) {
        status = check_memory(guest, exports, err);
    }
    if (status == WEIR_OK) {
        status = find_function(exports, "cabi_realloc", "(i32, i32, i32, i32) -> i32",
                               &guest->has_realloc, err);
    }
    if (status == WEIR_OK) {
        status = find_function(exports, "_initialize", "() -> ()", &guest->has_initialize, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    bool is_empty = guest->handler_count == 0 && guest->main_kind == WEIR_MAIN_NONE;
    if (is_empty && guest->odd_count > 0) {
        return weir_fail(err, WEIR_INVALID,
                         "it exports no main (run or _start) and no handler: \"%s\" is %s, and a "
                         "handler, with handle-event's signature, is (i32) -> i32",
                         guest->odd[0].name, guest->odd[0].type);
    }
    if (is_empty) {
        return weir_fail(err, WEIR_INVALID,
                         "it exports neither a main (run or _start) nor a handler (such "
                         "as " WEIR_WIT_EVENT_HANDLER "#" WEIR_HANDLER_DEFAULT ")");
    }
    return WEIR_OK;
}

bool weir_module_is_given(struct weir_str module, struct weir_str name) {
    if (weir_str_equal(module, WEIR_STR(WEIR_WASI_PREVIEW_1))) {
        return true; // the engine knows which functions there are
    }
    return weir_imports_have(module, name);
}

static weir_status check_imports(struct weir_guest *guest, struct weir_error *err) {
    wasm_importtype_vec_t imports;
    bool uses_weir = false;
    weir_status status = WEIR_OK;
    wasmtime_module_imports(guest->module, &imports);
    for (size_t i = 0; status == WEIR_OK && i < imports.size; i++) {
        struct weir_str module = view(wasm_importtype_module(imports.data[i]));
        struct weir_str name = view(wasm_importtype_name(imports.data[i]));
        bool is_wasi = weir_str_equal(module, WEIR_STR(WEIR_WASI_PREVIEW_1));
        guest->uses_wasi = guest->uses_wasi || is_wasi;
        uses_weir = uses_weir || !is_wasi;
        status = weir_guest_add_import(guest, module, err);
        if (status == WEIR_OK && !weir_module_is_given(module, name)) {
            char shown_name[WEIR_SHOW_BYTES], shown_module[WEIR_SHOW_BYTES];
            status = weir_fail(err, WEIR_INVALID,
                               "it imports \"%s\" from \"%s\", which weir does not give; weir "
                               "gives " WEIR_IMPORTS_GIVEN " and " WEIR_WASI_PREVIEW_1,
                               weir_show(name, shown_name, sizeof shown_name),
                               weir_show(module, shown_module, sizeof shown_module));
        }
    }
    wasm_importtype_vec_delete(&imports);
    if (status == WEIR_OK && !guest->has_realloc && (uses_weir || guest->handler_count > 0)) {
        status = weir_fail(err, WEIR_INVALID,
                           "it does not export cabi_realloc, by which texts are handed to it");
    }
    return status;
}

static weir_status inspect(struct weir_guest *guest, struct weir_error *err) {
    struct exports exports;
    wasmtime_module_exports(guest->module, &exports.all);
    weir_status status = check_exports(guest, &exports, err);
    wasm_exporttype_vec_delete(&exports.all);
    return status == WEIR_OK ? check_imports(guest, err) : status;
}

static weir_status link_imports(struct weir_guest *guest, struct weir_error *err) {
    guest->linker = wasmtime_linker_new(guest->engine->wasm);
    if (!guest->linker) {
        return weir_fail_no_memory(err, "a linker");
    }
    wasmtime_error_t *error = wasmtime_linker_define_wasi(guest->linker);
    if (error) {
        return weir_engine_fail(error, NULL, WEIR_OTHER, err);
    }
    weir_status status = weir_imports_define(guest->linker, err);
    if (status != WEIR_OK) {
        return status;
    }
    error = wasmtime_linker_instantiate_pre(guest->linker, guest->module, &guest->pre);
    return error ? weir_engine_fail(error, NULL, WEIR_INVALID, err) : WEIR_OK;
}

weir_status weir_module_load(struct weir_guest *guest, struct weir_str wasm,
                             struct weir_error *err) {
    const struct weir_compile_source source = {.guest = guest->name, .wasm = wasm};
    weir_status status = weir_compile_module(guest->engine, &source, &guest->module, err);
    if (status != WEIR_OK) {
        return err && strstr(err->message, "pooling allocator")
                   ? weir_error_prefix(err, WEIR_LIMIT,
                                       "it declares more than bounds.memory allows, or more or "
                                       "larger tables than weir gives")
                   : status;
    }
    status = inspect(guest, err);
    if (status == WEIR_OK) {
        status = link_imports(guest, err);
    }
    if (status == WEIR_OK && guest->args.instances == WEIR_INSTANCES_REUSED && guest->has_realloc) {
        status = weir_batch_compile(guest->engine, &guest->batch, err);
    }
    return status;
}

void weir_module_unload(struct weir_guest *guest) {
    if (guest->pre) {
        wasmtime_instance_pre_delete(guest->pre);
    }
    if (guest->linker) {
        wasmtime_linker_delete(guest->linker);
    }
    if (guest->module) {
        wasmtime_module_delete(guest->module);
    }
    if (guest->batch) {
        wasmtime_module_delete(guest->batch);
    }
    guest->pre = NULL;
    guest->linker = NULL;
    guest->module = NULL;
    guest->batch = NULL;
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        free(guest->handlers[i].post);
        guest->handlers[i].post = NULL;
    }
}
