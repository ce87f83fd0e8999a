// SPDX-License-Identifier: Apache-2.0
//
// Loading a guest: everything that can be known of a module without running it is checked here, so
// that a call finds what it needs or never happens. And the instances that are kept between calls
// where the user chose `reuse`.
//
// Handlers are found by their exports: a function whose core type is handle-event's, (i32) -> i32
// (26 core values are more than the ABI passes flat, so the event goes by pointer), and whose name
// is one that the WIT gives to a function: `on-order` from the world itself,
// `package:name/interface@version#handle-event` from an interface. A core module has no other
// types, so the name also says what a handler returns, see wit/reactive.wit: one that ends in
// "-or-reject" returns the variant `failure` as its error.
#include "guest/instance.h"

#include "base/show.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { TYPE_BYTES = sizeof(((struct weir_odd_export *)0)->type) };

#define WASI_PREVIEW_1 "wasi_snapshot_preview1"

struct weir_idle_instances {
    pthread_mutex_t lock;
    struct weir_instance *first; // under lock
    uint32_t count;              // under lock
};

const char *weir_guest_hash(const struct weir_guest *guest) {
    return guest->hash;
}

const char *weir_guest_name(const struct weir_guest *guest) {
    return guest->args.name;
}

uint32_t weir_guest_handler_count(const struct weir_guest *guest) {
    return guest->handler_count;
}

const char *weir_guest_handler_name(const struct weir_guest *guest, uint32_t handler) {
    return guest->handlers[handler].name;
}

bool weir_guest_has_main(const struct weir_guest *guest) {
    return guest->main_kind != WEIR_MAIN_NONE;
}

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

// What the WIT calls a function in an export's name: all of "on-order", the end of
// "a:b/c@1.0.0#on-order". Empty where the name is none that the WIT gives: lower-case words with
// "-" between them.
static struct weir_str function_name(struct weir_str export) {
    const char *hash = memchr(export.data, '#', export.size);
    struct weir_str name = export;
    if (hash) {
        name.data = hash + 1;
        name.size = export.size - (size_t)(name.data - export.data);
    }
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool is_letter = c >= 'a' && c <= 'z', is_digit = c >= '0' && c <= '9';
        if (!is_letter && (i == 0 || !(is_digit || c == '-'))) {
            return (struct weir_str){0};
        }
    }
    return name;
}

// A copy with a terminator; NULL without memory.
static char *copy_text(struct weir_str text) {
    char *copy = malloc(text.size + 1);
    if (copy) {
        if (text.size > 0) {
            memcpy(copy, text.data, text.size);
        }
        copy[text.size] = '\0';
    }
    return copy;
}

static bool or_rejects(struct weir_str name) {
    struct weir_str suffix = WEIR_STR("-or-reject");
    return name.size > suffix.size &&
           memcmp(name.data + name.size - suffix.size, suffix.data, suffix.size) == 0;
}

static struct weir_handler *handler_named(const struct weir_guest *guest, struct weir_str name) {
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        struct weir_handler *handler = &guest->handlers[i];
        if (weir_str_equal(name, weir_str_of(handler->name)) ||
            weir_str_equal(name, weir_str_of(handler->export))) {
            return handler;
        }
    }
    return NULL;
}

// "handle-event, on-order", or that there are none.
static const char *list_handlers(const struct weir_guest *guest,
                                 char buffer[WEIR_HANDLER_LIST_BYTES]) {
    size_t used = 0;
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        int written = snprintf(buffer + used, WEIR_HANDLER_LIST_BYTES - used, "%s%s", i ? ", " : "",
                               guest->handlers[i].name);
        if (written < 0 || (size_t)written >= WEIR_HANDLER_LIST_BYTES - used) {
            memcpy(buffer + WEIR_HANDLER_LIST_BYTES - 4, "...", 4);
            return buffer;
        }
        used += (size_t)written;
    }
    return used > 0 ? buffer : "none";
}

static const struct weir_odd_export *odd_named(const struct weir_guest *guest,
                                               struct weir_str name) {
    for (uint32_t i = 0; i < guest->odd_count; i++) {
        if (weir_str_equal(name, weir_str_of(guest->odd[i].name))) {
            return &guest->odd[i];
        }
    }
    return NULL;
}

weir_status weir_guest_handler_find(const struct weir_guest *guest, struct weir_str name,
                                    uint32_t *ret_handler, struct weir_error *err) {
    const struct weir_handler *handler = handler_named(guest, name);
    const struct weir_odd_export *odd = handler ? NULL : odd_named(guest, name);
    // A handle-event of another type is a mistake to be told of, not to be passed over.
    if (!handler && !odd && weir_str_equal(name, WEIR_STR(WEIR_HANDLER_DEFAULT))) {
        handler = handler_named(guest, WEIR_STR(WEIR_HANDLER_DEFAULT_OR_REJECT));
    }
    if (handler) {
        *ret_handler = (uint32_t)(handler - guest->handlers);
        return WEIR_OK;
    }
    char list[WEIR_HANDLER_LIST_BYTES];
    if (odd) {
        return weir_fail(err, WEIR_INVALID,
                         "guest %s exports \"%s\" as %s; a handler has handle-event's signature, "
                         "(i32) -> i32 in a core module; its handlers are: %s",
                         guest->args.name, odd->name, odd->type, list_handlers(guest, list));
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "guest %s has no handler \"%s\"; its handlers are: %s",
                     guest->args.name, weir_show(name, shown, sizeof shown),
                     list_handlers(guest, list));
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

static weir_status add_odd(struct weir_guest *guest, struct weir_str name,
                           const char type[TYPE_BYTES], struct weir_error *err) {
    struct weir_odd_export *grown =
        realloc(guest->odd, (guest->odd_count + 1) * sizeof *guest->odd);
    if (!grown) {
        return weir_fail_no_memory(err, "a list of exports");
    }
    guest->odd = grown;
    struct weir_odd_export *odd = &guest->odd[guest->odd_count];
    odd->name = copy_text(name);
    if (!odd->name) {
        return weir_fail_no_memory(err, "an export's name");
    }
    memcpy(odd->type, type, sizeof odd->type);
    guest->odd_count++;
    return WEIR_OK;
}

// Whether a further handler may go by its short name. Of several with the same, weir's own
// interface has it, whatever the order of the exports, or else the first; the others go by their
// whole names.
static weir_status claim_name(struct weir_guest *guest, struct weir_str export,
                              struct weir_str name, bool *ret_is_free, struct weir_error *err) {
    struct weir_handler *holder = handler_named(guest, name);
    bool is_own = weir_str_has_prefix(export, WEIR_STR(WEIR_WIT_EVENT_HANDLER "#")) ||
                  weir_str_has_prefix(export, WEIR_STR(WEIR_WIT_EVENT_HANDLER_OR_REJECT "#"));
    *ret_is_free = !holder || (is_own && strcmp(holder->name, holder->export) != 0);
    if (holder && *ret_is_free) {
        char *whole = strdup(holder->export);
        if (!whole) {
            return weir_fail_no_memory(err, "a handler's name");
        }
        free(holder->name);
        holder->name = whole;
    }
    return WEIR_OK;
}

static weir_status add_handler(struct weir_guest *guest, const struct exports *exports,
                               struct weir_str export, struct weir_str name,
                               struct weir_error *err) {
    struct weir_handler *grown =
        realloc(guest->handlers, (guest->handler_count + 1) * sizeof *guest->handlers);
    if (!grown) {
        return weir_fail_no_memory(err, "a list of handlers");
    }
    guest->handlers = grown;
    bool is_free;
    weir_status status = claim_name(guest, export, name, &is_free, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_handler *handler = &guest->handlers[guest->handler_count];
    *handler = (struct weir_handler){.name = copy_text(is_free ? name : export),
                                     .export = copy_text(export),
                                     .may_reject = or_rejects(name)};
    guest->handler_count++; // from here on it is freed with the guest
    if (!handler->name || !handler->export) {
        return weir_fail_no_memory(err, "a handler's name");
    }
    return find_post(exports, handler->export, &handler->post, err);
}

static weir_status find_handlers(struct weir_guest *guest, const struct exports *exports,
                                 struct weir_error *err) {
    for (size_t i = 0; i < exports->all.size; i++) {
        const wasm_externtype_t *type = wasm_exporttype_type(exports->all.data[i]);
        struct weir_str export = view(wasm_exporttype_name(exports->all.data[i]));
        struct weir_str name = function_name(export);
        bool is_main =
            weir_str_equal(export, WEIR_STR("run")) ||
            (guest->main_export && weir_str_equal(export, weir_str_of(guest->main_export)));
        if (wasm_externtype_kind(type) != WASM_EXTERN_FUNC || name.size == 0 || is_main) {
            continue;
        }
        if (guest->handler_count + guest->odd_count == WEIR_HANDLERS_MAX) {
            return weir_fail(err, WEIR_LIMIT, "it exports more than %d functions",
                             WEIR_HANDLERS_MAX);
        }
        char text[TYPE_BYTES];
        bool is_handler = has_type(wasm_externtype_as_functype_const(type), "(i32) -> i32", text);
        weir_status status = is_handler ? add_handler(guest, exports, export, name, err)
                                        : add_odd(guest, name, text, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
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
            weir_str_equal(function_name(name), WEIR_STR("run"))) {
            guest->main_kind = WEIR_MAIN_CLI_RUN;
            guest->main_export = copy_text(name);
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

static weir_status check_exports(struct weir_guest *guest, const struct exports *exports,
                                 struct weir_error *err) {
    weir_status status = find_main(guest, exports, err);
    if (status == WEIR_OK) {
        status = find_handlers(guest, exports, err);
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

static bool is_given(struct weir_str module, struct weir_str name) {
    if (weir_str_equal(module, WEIR_STR(WASI_PREVIEW_1))) {
        return true; // the engine knows which functions there are
    }
    if (weir_str_equal(module, WEIR_STR(WEIR_WIT_EVENTS)) &&
        weir_str_equal(name, WEIR_STR("[resource-drop]events"))) {
        return true;
    }
    for (size_t i = 0; i < WEIR_IMPORT_COUNT; i++) {
        if (weir_str_equal(module, weir_str_of(weir_wit_imports[i].interface)) &&
            weir_str_equal(name, weir_str_of(weir_wit_imports[i].name))) {
            return true;
        }
    }
    return false;
}

static weir_status check_imports(struct weir_guest *guest, struct weir_error *err) {
    wasm_importtype_vec_t imports;
    bool uses_weir = false;
    weir_status status = WEIR_OK;
    wasmtime_module_imports(guest->module, &imports);
    for (size_t i = 0; status == WEIR_OK && i < imports.size; i++) {
        struct weir_str module = view(wasm_importtype_module(imports.data[i]));
        struct weir_str name = view(wasm_importtype_name(imports.data[i]));
        bool is_wasi = weir_str_equal(module, WEIR_STR(WASI_PREVIEW_1));
        guest->uses_wasi = guest->uses_wasi || is_wasi;
        uses_weir = uses_weir || !is_wasi;
        if (!is_given(module, name)) {
            char shown_name[WEIR_SHOW_BYTES], shown_module[WEIR_SHOW_BYTES];
            status =
                weir_fail(err, WEIR_INVALID,
                          "it imports \"%s\" from \"%s\", which weir does not give; weir "
                          "gives " WEIR_WIT_RESOURCES ", " WEIR_WIT_EVENTS " and " WASI_PREVIEW_1,
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

// The first bytes of a component: the module's magic number, another version and layer.
static bool is_component(struct weir_str wasm) {
    static const char start[] = {0x00, 'a', 's', 'm', 0x0d, 0x00, 0x01, 0x00};
    return wasm.size >= sizeof start && memcmp(wasm.data, start, sizeof start) == 0;
}

static weir_status compile(struct weir_guest *guest, struct weir_str wasm, struct weir_error *err) {
    if (wasm.size > guest->args.module_bytes) {
        return weir_fail(err, WEIR_LIMIT, "it has %zu bytes, bounds.module allows %llu", wasm.size,
                         (unsigned long long)guest->args.module_bytes);
    }
    if (wasm.size < 4 || memcmp(wasm.data, "\0asm", 4) != 0) {
        return weir_fail(err, WEIR_INVALID,
                         wasm.size == 0 ? "the file is empty"
                                        : "it is not a WebAssembly module: it does not begin with "
                                          "the bytes 00 61 73 6d");
    }
    if (is_component(wasm)) {
        return weir_fail(
            err, WEIR_UNSUPPORTED,
            "it is a component; weir runs core modules: build it for wasm32-wasip1 or with "
            "clang --target=wasm32-wasi, without the step that makes a component");
    }
    wasmtime_error_t *error = wasmtime_module_new(guest->engine->wasm, (const uint8_t *)wasm.data,
                                                  wasm.size, &guest->module);
    if (error) {
        weir_engine_fail(error, NULL, WEIR_INVALID, err);
        if (err && strstr(err->message, "pooling allocator")) {
            return weir_error_prefix(
                err, WEIR_LIMIT,
                "it declares more than bounds.memory allows, or more or larger "
                "tables than weir gives");
        }
        return WEIR_INVALID;
    }
    weir_status status = inspect(guest, err);
    if (status == WEIR_OK) {
        status = link_imports(guest, err);
    }
    if (status == WEIR_OK && guest->args.instances == WEIR_INSTANCES_REUSED && guest->has_realloc) {
        status = weir_batch_compile(guest->engine, &guest->batch, err);
    }
    return status;
}

static weir_status prepare(struct weir_engine *engine, const struct weir_guest_args *args,
                           struct weir_guest **ret_guest, struct weir_error *err) {
    struct weir_guest *guest = calloc(1, sizeof *guest);
    char *name = strdup(args->name);
    struct weir_idle_instances *idle = calloc(1, sizeof *idle);
    if (!guest || !name || !idle) {
        free(guest);
        free(name);
        free(idle);
        return weir_fail_no_memory(err, "a guest");
    }
    atomic_init(&guest->references, 1);
    guest->engine = engine;
    guest->args = *args;
    guest->name = name;
    guest->args.name = name;
    pthread_mutex_init(&idle->lock, NULL);
    guest->idle = idle;
    *ret_guest = guest;
    return WEIR_OK;
}

static void format_hash(struct weir_str wasm, char ret_hash[static WEIR_GUEST_HASH_BYTES]) {
    XXH128_hash_t hash = XXH3_128bits(wasm.data ? wasm.data : "", wasm.size);
    snprintf(ret_hash, WEIR_GUEST_HASH_BYTES, "xxh128:%016" PRIx64 "%016" PRIx64, hash.high64,
             hash.low64);
}

weir_status weir_guest_compile(struct weir_engine *engine, const struct weir_guest_args *args,
                               struct weir_str wasm, struct weir_guest **ret_guest,
                               struct weir_error *err) {
    *ret_guest = NULL;
    struct weir_guest *guest = NULL;
    weir_status status = prepare(engine, args, &guest, err);
    if (status != WEIR_OK) {
        return status;
    }
    format_hash(wasm, guest->hash);
    status = compile(guest, wasm, err);
    if (status != WEIR_OK) {
        weir_guest_unref(guest);
        return weir_error_prefix(err, status, "guest %s", args->name);
    }
    *ret_guest = guest;
    return WEIR_OK;
}

// Reads a whole regular file of at most bytes_max. The caller frees *ret_bytes.
static weir_status read_file(const char *path, uint64_t bytes_max, char **ret_bytes,
                             size_t *ret_size, struct weir_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); // a FIFO must not hold us up
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        return weir_fail_errno(err, code, "%s", path);
    }
    if (!S_ISREG(info.st_mode) || (uint64_t)info.st_size > bytes_max) {
        close(fd);
        return S_ISREG(info.st_mode)
                   ? weir_fail(err, WEIR_LIMIT, "%s has %lld bytes, bounds.module allows %llu",
                               path, (long long)info.st_size, (unsigned long long)bytes_max)
                   : weir_fail(err, WEIR_INVALID, "%s is not a regular file", path);
    }
    size_t size = (size_t)info.st_size, done = 0;
    char *bytes = malloc(size + 1);
    int code = bytes ? 0 : ENOMEM;
    while (code == 0 && done < size) {
        ssize_t count = read(fd, bytes + done, size - done);
        if (count == 0) {
            break; // it became shorter meanwhile; the compiler will say so
        }
        code = count < 0 && errno != EINTR ? errno : 0;
        done += count > 0 ? (size_t)count : 0;
    }
    close(fd);
    if (code != 0) {
        free(bytes);
        return weir_fail_errno(err, code, "reading %s", path);
    }
    *ret_bytes = bytes;
    *ret_size = done;
    return WEIR_OK;
}

weir_status weir_guest_load(struct weir_engine *engine, const struct weir_guest_args *args,
                            const char *path, struct weir_guest **ret_guest,
                            struct weir_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    *ret_guest = NULL;
    weir_status status = read_file(path, args->module_bytes, &bytes, &size, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "guest %s", args->name);
    }
    status = weir_guest_compile(engine, args, (struct weir_str){.data = bytes, .size = size},
                                ret_guest, err);
    free(bytes);
    return status;
}

bool weir_guest_is_of_file(const struct weir_guest *guest, const char *path) {
    char *bytes = NULL, hash[WEIR_GUEST_HASH_BYTES];
    size_t size = 0;
    if (read_file(path, guest->args.module_bytes, &bytes, &size, NULL) != WEIR_OK) {
        return false;
    }
    format_hash((struct weir_str){.data = bytes, .size = size}, hash);
    free(bytes);
    return strcmp(hash, guest->hash) == 0;
}

struct weir_guest *weir_guest_ref(struct weir_guest *guest) {
    if (guest) {
        atomic_fetch_add_explicit(&guest->references, 1, memory_order_relaxed);
    }
    return guest;
}

static void destroy(struct weir_guest *guest) {
    while (guest->idle->first) {
        struct weir_instance *instance = guest->idle->first;
        guest->idle->first = instance->next_idle;
        weir_instance_destroy(instance);
    }
    pthread_mutex_destroy(&guest->idle->lock);
    free(guest->idle);
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
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        free(guest->handlers[i].name);
        free(guest->handlers[i].export);
        free(guest->handlers[i].post);
    }
    for (uint32_t i = 0; i < guest->odd_count; i++) {
        free(guest->odd[i].name);
    }
    free(guest->handlers);
    free(guest->odd);
    free(guest->main_export);
    free(guest->name);
    free(guest);
}

void weir_guest_unref(struct weir_guest *guest) {
    if (guest && atomic_fetch_sub_explicit(&guest->references, 1, memory_order_acq_rel) == 1) {
        destroy(guest);
    }
}

static struct weir_instance *take_idle(struct weir_guest *guest) {
    pthread_mutex_lock(&guest->idle->lock);
    struct weir_instance *instance = guest->idle->first;
    if (instance) {
        guest->idle->first = instance->next_idle;
        guest->idle->count--;
    }
    pthread_mutex_unlock(&guest->idle->lock);
    return instance;
}

// Keeps an instance for a later call, or not where enough are kept.
static void give_back(struct weir_guest *guest, struct weir_instance *instance) {
    pthread_mutex_lock(&guest->idle->lock);
    bool is_kept = guest->idle->count < guest->args.idle_max;
    if (is_kept) {
        instance->next_idle = guest->idle->first;
        guest->idle->first = instance;
        guest->idle->count++;
    }
    pthread_mutex_unlock(&guest->idle->lock);
    if (!is_kept) {
        weir_instance_destroy(instance);
    }
}

void weir_guest_handle(struct weir_guest *guest, uint32_t handler,
                       const struct weir_event_fields *event, struct weir_call *call,
                       struct weir_verdict *ret_verdict) {
    bool is_reused = guest->args.instances == WEIR_INSTANCES_REUSED, is_sound = false;
    struct weir_instance *instance = is_reused ? take_idle(guest) : NULL;
    ret_verdict->outcome = WEIR_BROKEN;
    ret_verdict->derived = NULL;
    ret_verdict->error.status = WEIR_OK;
    call->output_tail_size = 0; // what its instance prints while it is made is the call's, too
    if (!instance &&
        weir_instance_new(guest, NULL, call, &instance, &ret_verdict->error) != WEIR_OK) {
        return;
    }
    weir_instance_begin(instance, call);
    weir_instance_handle(instance, handler, event, ret_verdict, &is_sound);
    if (is_reused && is_sound) {
        give_back(guest, instance);
    } else {
        weir_instance_destroy(instance);
    }
}

weir_status weir_guest_run(struct weir_guest *guest, void *session, struct weir_call *call,
                           struct weir_error *err) {
    if (guest->main_kind == WEIR_MAIN_NONE) {
        return weir_fail(err, WEIR_NOT_FOUND,
                         "guest %s has no main: it exports neither run nor _start",
                         guest->args.name);
    }
    struct weir_instance *instance;
    call->output_tail_size = 0;
    weir_status status = weir_instance_new(guest, session, call, &instance, err);
    if (status != WEIR_OK) {
        return status;
    }
    weir_instance_begin(instance, call);
    status = weir_instance_main(instance, err);
    weir_instance_destroy(instance);
    return status;
}
