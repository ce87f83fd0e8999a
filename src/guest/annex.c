// SPDX-License-Identifier: Apache-2.0
//
// See annex.h. The first part writes the sections, the second makes the calls.
//
// Source of the layouts: the component model's Binary.md.
#include "guest/annex.h"

#include "guest/instance.h"
#include "guest/reader.h"
#include "guest/wit.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SORT_CORE = 0,
    SORT_FUNCTION = 1,
    SORT_TYPE = 3,
    CORE_FUNCTION = 0x00,
    CORE_MEMORY = 0x02,
    CORE_INSTANCE = 0x12,
    CORE_INSTANTIATE = 0,
    CORE_INLINE_EXPORTS = 1,
    ALIAS_CORE_EXPORT = 1,
    CANON_LIFT = 0,
    OPTION_UTF8 = 0,
    OPTION_MEMORY = 3,
    OPTION_REALLOC = 4,
    OPTION_POST = 5,
    NAME_PLAIN = 0,
    TYPE_FUNCTION = 0x40,
    TYPE_RESULT = 0x6A,
    TYPE_OPTION = 0x6B,
    TYPE_TUPLE = 0x6F,
    TYPE_LIST = 0x70,
    TYPE_VARIANT = 0x71,
    TYPE_RECORD = 0x72,
    TYPE_STRING = 0x73,
    TYPE_U8 = 0x7D,
    TYPES_MAX = 32, // of those that are made of tables
    NAME_BYTES = 32,
};

// ---- writing

// Bytes that grow. One that could not is lost, and takes no more.
struct bytes {
    char *data;
    size_t size, room;
    bool is_lost;
};

static void put_bytes(struct bytes *bytes, const void *data, size_t size) {
    if (bytes->is_lost || size == 0) {
        return;
    }
    if (size > bytes->room - bytes->size) {
        size_t room = 2 * bytes->room + size;
        char *grown = realloc(bytes->data, room);
        if (!grown) {
            bytes->is_lost = true;
            return;
        }
        bytes->data = grown;
        bytes->room = room;
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void put_byte(struct bytes *bytes, unsigned byte) {
    unsigned char one = (unsigned char)byte;
    put_bytes(bytes, &one, 1);
}

static void put_u32(struct bytes *bytes, uint32_t value) {
    while (value >= 0x80) {
        put_byte(bytes, (value & 0x7F) | 0x80);
        value >>= 7;
    }
    put_byte(bytes, value);
}

// A number where a type is used, which is written with its sign.
static void put_s33(struct bytes *bytes, uint32_t value) {
    while (value >= 0x40) {
        put_byte(bytes, (value & 0x7F) | 0x80);
        value >>= 7;
    }
    put_byte(bytes, value);
}

static void put_text(struct bytes *bytes, const char *text) {
    size_t size = strlen(text);
    put_u32(bytes, (uint32_t)size);
    put_bytes(bytes, text, size);
}

// "handle7"
static void put_numbered(struct bytes *bytes, const char *name, uint32_t number) {
    char text[NAME_BYTES];
    snprintf(text, sizeof text, "%s%u", name, number);
    put_text(bytes, text);
}

// What is written, and the numbers that what comes next will have.
struct writer {
    const struct weir_outline *outline;
    struct bytes all, part; // `part`: the section at hand
    uint32_t types, names;
    struct {
        const struct weir_wit_type *type;
        uint32_t number;
    } known[TYPES_MAX];
    uint32_t known_count;
};

static void end_section(struct writer *writer, unsigned section) {
    put_byte(&writer->all, section);
    put_u32(&writer->all, (uint32_t)writer->part.size);
    put_bytes(&writer->all, writer->part.data, writer->part.size);
    writer->all.is_lost = writer->all.is_lost || writer->part.is_lost;
    writer->part.size = 0;
}

// ---- types

// How a type is used: by a primitive one's code, or by a number.
struct use {
    unsigned code; // 0: `number`
    uint32_t number;
};

static void put_use(struct bytes *bytes, struct use use) {
    if (use.code != 0) {
        put_byte(bytes, use.code);
    } else {
        put_s33(bytes, use.number);
    }
}

static struct use use_type(struct writer *writer, const struct weir_wit_type *type);

static void put_optional_use(struct bytes *bytes, bool is_there, struct use use) {
    put_byte(bytes, is_there);
    if (is_there) {
        put_use(bytes, use);
    }
}

// Ends the definition of a type.
static struct use end_type(struct writer *writer) {
    end_section(writer, WEIR_SECTION_TYPE);
    return (struct use){.number = writer->types++};
}

// Ends the definition of a type that has to have a name where an exported function uses it.
static struct use end_named_type(struct writer *writer) {
    struct use use = end_type(writer);
    put_u32(&writer->part, 1);
    put_byte(&writer->part, NAME_PLAIN);
    put_numbered(&writer->part, WEIR_ANNEX_PREFIX "type", writer->names++);
    put_byte(&writer->part, SORT_TYPE);
    put_u32(&writer->part, use.number);
    put_byte(&writer->part, 0); // its own type
    end_section(writer, WEIR_SECTION_EXPORT);
    return (struct use){.number = writer->types++};
}

static struct use define_bytes(struct writer *writer) {
    put_u32(&writer->part, 1);
    put_byte(&writer->part, TYPE_LIST);
    put_byte(&writer->part, TYPE_U8);
    return end_type(writer);
}

// Defines a type with fields or cases, after those of its parts. A variant with a case of bytes has
// them as a list in a further one.
static struct use define_fields(struct writer *writer, const struct weir_wit_type *type,
                                unsigned code) {
    enum { FIELDS_MAX = 16 };
    struct use uses[FIELDS_MAX], list = {0};
    bool has_list = false;
    uint32_t count = type->field_count < FIELDS_MAX ? type->field_count : FIELDS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uses[i] = type->fields[i].type ? use_type(writer, type->fields[i].type) : (struct use){0};
    }
    for (uint32_t i = 0; i < count && code == TYPE_VARIANT && !has_list; i++) {
        has_list = type->fields[i].type && type->fields[i].type->kind == WEIR_WIT_BYTES;
        list = has_list ? define_bytes(writer) : list;
    }
    put_u32(&writer->part, 1);
    put_byte(&writer->part, code);
    if (code == TYPE_OPTION) {
        put_use(&writer->part, uses[1]);
        return end_type(writer);
    }
    if (code == TYPE_RESULT) {
        put_optional_use(&writer->part, type->fields[0].type, uses[0]);
        put_optional_use(&writer->part, type->fields[1].type, uses[1]);
        return end_type(writer);
    }
    put_u32(&writer->part, count + (has_list ? 1 : 0));
    for (uint32_t i = 0; i < count; i++) {
        if (code != TYPE_TUPLE) {
            put_text(&writer->part, type->fields[i].name);
        }
        if (code == TYPE_VARIANT) {
            put_optional_use(&writer->part, type->fields[i].type, uses[i]);
            put_byte(&writer->part, 0);
        } else {
            put_use(&writer->part, uses[i]);
        }
    }
    if (has_list) {
        put_text(&writer->part, WEIR_ANNEX_LIST);
        put_optional_use(&writer->part, true, list);
        put_byte(&writer->part, 0);
    }
    return code == TYPE_TUPLE ? end_type(writer) : end_named_type(writer);
}

static struct use define_list(struct writer *writer, const struct weir_wit_type *type) {
    struct use element = use_type(writer, type->element);
    put_u32(&writer->part, 1);
    put_byte(&writer->part, TYPE_LIST);
    put_use(&writer->part, element);
    return end_type(writer);
}

static struct use define(struct writer *writer, const struct weir_wit_type *type) {
    switch (type->kind) {
    case WEIR_WIT_RECORD:
        return define_fields(writer, type, TYPE_RECORD);
    case WEIR_WIT_VARIANT:
        return define_fields(writer, type, TYPE_VARIANT);
    case WEIR_WIT_TUPLE:
        return define_fields(writer, type, TYPE_TUPLE);
    case WEIR_WIT_OPTION:
        return define_fields(writer, type, TYPE_OPTION);
    case WEIR_WIT_RESULT:
        return define_fields(writer, type, TYPE_RESULT);
    case WEIR_WIT_LIST:
        return define_list(writer, type);
    default: // none that an event has
        writer->all.is_lost = true;
        return (struct use){0};
    }
}

// Each table's type once: an event that is passed is the one that is returned.
static struct use use_type(struct writer *writer, const struct weir_wit_type *type) {
    if (type->kind == WEIR_WIT_STRING || type->kind == WEIR_WIT_BYTES) {
        return (struct use){.code = TYPE_STRING};
    }
    for (uint32_t i = 0; i < writer->known_count; i++) {
        if (writer->known[i].type == type) {
            return (struct use){.number = writer->known[i].number};
        }
    }
    struct use use = define(writer, type);
    if (writer->known_count < TYPES_MAX) {
        writer->known[writer->known_count].type = type;
        writer->known[writer->known_count++].number = use.number;
    }
    return use;
}

// The type of a function of at most one parameter, and maybe with a result.
static uint32_t define_function(struct writer *writer, const char *param, struct use type,
                                const struct use *result) {
    put_u32(&writer->part, 1);
    put_byte(&writer->part, TYPE_FUNCTION);
    put_u32(&writer->part, param ? 1 : 0);
    if (param) {
        put_text(&writer->part, param);
        put_use(&writer->part, type);
    }
    put_byte(&writer->part, result ? 0 : 1);
    if (result) {
        put_use(&writer->part, *result);
    } else {
        put_byte(&writer->part, 0);
    }
    return end_type(writer).number;
}

static uint32_t define_handler(struct writer *writer, bool may_reject) {
    struct use result =
        use_type(writer, may_reject ? &weir_wit_handled_or_rejected : &weir_wit_handled);
    return define_function(writer, "ev", use_type(writer, &weir_wit_event), &result);
}

// ---- the module and its functions

static void put_core_item(struct bytes *bytes, unsigned sort, uint32_t number) {
    put_byte(bytes, sort);
    put_u32(bytes, number);
}

// An instance of what the module imports, and one of the module.
static void put_instances(struct writer *writer) {
    const struct weir_outline *outline = writer->outline;
    uint32_t items = 1;
    for (uint32_t i = 0; i < outline->handler_count; i++) {
        items += outline->handlers[i].has_post ? 2 : 1;
    }
    put_u32(&writer->part, 2);
    put_byte(&writer->part, CORE_INLINE_EXPORTS);
    put_u32(&writer->part, items);
    put_text(&writer->part, "memory");
    put_core_item(&writer->part, CORE_MEMORY, outline->memory);
    for (uint32_t i = 0; i < outline->handler_count; i++) {
        const struct weir_outline_handler *handler = &outline->handlers[i];
        put_numbered(&writer->part, "handle", i);
        put_core_item(&writer->part, CORE_FUNCTION, handler->core_function);
        if (handler->has_post) {
            put_numbered(&writer->part, "post", i);
            put_core_item(&writer->part, CORE_FUNCTION, handler->post);
        }
    }
    put_byte(&writer->part, CORE_INSTANTIATE);
    put_u32(&writer->part, outline->core_modules);
    put_u32(&writer->part, 1);
    put_text(&writer->part, "guest");
    put_core_item(&writer->part, CORE_INSTANCE, outline->core_instances);
    end_section(writer, WEIR_SECTION_CORE_INSTANCE);
}

static void put_alias(struct writer *writer, unsigned sort) {
    put_byte(&writer->part, SORT_CORE);
    put_byte(&writer->part, sort);
    put_byte(&writer->part, ALIAS_CORE_EXPORT);
    put_u32(&writer->part, writer->outline->core_instances + 1);
}

// The order in which the module's functions are numbered.
enum { REALLOC, HIGH, BODY, HANDLERS };
static const char *const own_names[] = {[REALLOC] = "realloc", [HIGH] = "high", [BODY] = "body"};

static uint32_t number_of(const struct writer *writer, uint32_t nth) {
    return writer->outline->core_functions + nth;
}

static void put_aliases(struct writer *writer) {
    uint32_t handlers = writer->outline->handler_count;
    put_u32(&writer->part, 1 + HANDLERS + 2 * handlers);
    put_alias(writer, CORE_MEMORY);
    put_text(&writer->part, "own");
    for (uint32_t i = 0; i < HANDLERS; i++) {
        put_alias(writer, CORE_FUNCTION);
        put_text(&writer->part, own_names[i]);
    }
    for (uint32_t i = 0; i < handlers; i++) {
        put_alias(writer, CORE_FUNCTION);
        put_numbered(&writer->part, "handle", i);
        put_alias(writer, CORE_FUNCTION);
        put_numbered(&writer->part, "post", i);
    }
    end_section(writer, WEIR_SECTION_ALIAS);
}

static void put_option(struct bytes *bytes, unsigned option, uint32_t number) {
    put_byte(bytes, option);
    put_u32(bytes, number);
}

static void put_lift(struct writer *writer, uint32_t core_function, uint32_t options) {
    put_byte(&writer->part, CANON_LIFT);
    put_byte(&writer->part, 0);
    put_u32(&writer->part, core_function);
    put_u32(&writer->part, options);
    put_byte(&writer->part, OPTION_UTF8);
}

// The lifted functions are numbered in this order: high, body, the handlers.
static void put_lifts(struct writer *writer, uint32_t high, uint32_t body,
                      const uint32_t handler_types[2]) {
    const struct weir_outline *outline = writer->outline;
    put_u32(&writer->part, 2 + outline->handler_count);
    put_lift(writer, number_of(writer, HIGH), 3);
    put_option(&writer->part, OPTION_MEMORY, outline->core_memories);
    put_option(&writer->part, OPTION_REALLOC, number_of(writer, REALLOC));
    put_u32(&writer->part, high);
    put_lift(writer, number_of(writer, BODY), 2);
    put_option(&writer->part, OPTION_MEMORY, outline->core_memories);
    put_u32(&writer->part, body);
    for (uint32_t i = 0; i < outline->handler_count; i++) {
        put_lift(writer, number_of(writer, HANDLERS + 2 * i), 4);
        put_option(&writer->part, OPTION_MEMORY, outline->memory);
        put_option(&writer->part, OPTION_REALLOC, outline->realloc);
        put_option(&writer->part, OPTION_POST, number_of(writer, HANDLERS + 2 * i + 1));
        put_u32(&writer->part, handler_types[outline->handlers[i].may_reject]);
    }
    end_section(writer, WEIR_SECTION_CANON);
}

static void put_export(struct writer *writer, uint32_t nth) {
    put_byte(&writer->part, SORT_FUNCTION);
    put_u32(&writer->part, writer->outline->functions + nth);
    put_byte(&writer->part, 0); // its own type
}

static void put_exports(struct writer *writer) {
    uint32_t handlers = writer->outline->handler_count;
    put_u32(&writer->part, 2 + handlers);
    put_byte(&writer->part, NAME_PLAIN);
    put_text(&writer->part, WEIR_ANNEX_HIGH);
    put_export(writer, 0);
    put_byte(&writer->part, NAME_PLAIN);
    put_text(&writer->part, WEIR_ANNEX_BODY);
    put_export(writer, 1);
    for (uint32_t i = 0; i < handlers; i++) {
        put_byte(&writer->part, NAME_PLAIN);
        put_numbered(&writer->part, WEIR_ANNEX_HANDLER, i);
        put_export(writer, 2 + i);
    }
    end_section(writer, WEIR_SECTION_EXPORT);
}

static void put_definitions(struct writer *writer) {
    const struct weir_outline *outline = writer->outline;
    put_instances(writer);
    put_aliases(writer);
    const struct use string = {.code = TYPE_STRING};
    uint32_t high = define_function(writer, "bits", string, NULL);
    uint32_t body = define_function(writer, NULL, string, &string);
    uint32_t handler_types[2] = {0};
    for (uint32_t i = 0; i < outline->handler_count; i++) {
        uint32_t *type = &handler_types[outline->handlers[i].may_reject];
        if (*type == 0) {
            *type = define_handler(writer, outline->handlers[i].may_reject);
        }
    }
    put_lifts(writer, high, body, handler_types);
    put_exports(writer);
}

static weir_status put_module(struct writer *writer, struct weir_error *err) {
    char *text;
    size_t size;
    weir_status status = weir_annex_text(writer->outline, &text, &size, err);
    if (status != WEIR_OK) {
        return status;
    }
    wasm_byte_vec_t wasm;
    wasmtime_error_t *error = wasmtime_wat2wasm(text, size, &wasm);
    free(text);
    if (error) {
        return weir_engine_fail(error, NULL, WEIR_OTHER, err);
    }
    put_bytes(&writer->part, wasm.data, wasm.size);
    wasm_byte_vec_delete(&wasm);
    end_section(writer, WEIR_SECTION_CORE_MODULE);
    return WEIR_OK;
}

// The guest's bytes, and behind them what was written.
static weir_status join(struct weir_str component, const struct bytes *added,
                        struct weir_annex *annex, struct weir_error *err) {
    if (added->is_lost) {
        return weir_fail_no_memory(err, "what is added to a component");
    }
    annex->size = component.size + added->size;
    annex->bytes = malloc(annex->size);
    if (!annex->bytes) {
        return weir_fail_no_memory(err, "what is added to a component");
    }
    memcpy(annex->bytes, component.data, component.size);
    memcpy(annex->bytes + component.size, added->data, added->size);
    return WEIR_OK;
}

weir_status weir_annex_make(struct weir_str component, struct weir_annex **ret_annex,
                            struct weir_error *err) {
    *ret_annex = NULL;
    struct weir_annex *annex = calloc(1, sizeof *annex);
    if (!annex) {
        return weir_fail_no_memory(err, "what is added to a component");
    }
    weir_status status =
        weir_outline_read(component, WEIR_STR(WEIR_ANNEX_PREFIX), &annex->outline, err);
    struct writer writer = {.outline = &annex->outline, .types = annex->outline.types};
    if (status == WEIR_OK) {
        status = put_module(&writer, err);
    }
    if (status == WEIR_OK) {
        put_definitions(&writer);
        status = join(component, &writer.all, annex, err);
    }
    free(writer.all.data);
    free(writer.part.data);
    if (status != WEIR_OK) {
        weir_annex_destroy(annex);
        return status;
    }
    *ret_annex = annex;
    return WEIR_OK;
}

void weir_annex_destroy(struct weir_annex *annex) {
    if (annex) {
        free(annex->bytes);
        free(annex);
    }
}

// ---- its use

// The handler that is exported by that name, whole: "INTERFACE#NAME", or "NAME".
static struct weir_handler *find_handler(struct weir_guest *guest,
                                         const struct weir_outline_handler *found) {
    enum weir_handler_kind kind =
        found->may_reject ? WEIR_HANDLER_KIND_OR_REJECT : WEIR_HANDLER_KIND_EVENT;
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        struct weir_handler *handler = &guest->handlers[i];
        struct weir_str export = weir_str_of(handler->export), interface = found->interface;
        bool is_of_it = true;
        if (interface.size > 0) {
            is_of_it = weir_str_has_prefix(export, interface) && export.size > interface.size &&
                       export.data[interface.size] == '#';
            export.data += is_of_it ? interface.size + 1 : 0;
            export.size -= is_of_it ? interface.size + 1 : 0;
        }
        if (is_of_it && weir_str_equal(export, found->name) && handler->kind == kind) {
            return handler;
        }
    }
    return NULL;
}

static weir_status find_export(const struct weir_guest *guest, const char *name,
                               wasmtime_component_export_index_t **ret_index,
                               struct weir_error *err) {
    *ret_index = wasmtime_component_get_export_index(guest->component, NULL, name, strlen(name));
    return *ret_index ? WEIR_OK : weir_fail_no_memory(err, "an export's name");
}

const char *weir_guest_dear_bodies(const struct weir_guest *guest) {
    for (uint32_t i = 0; i < guest->handler_count && !guest->is_in_core_lane; i++) {
        const struct weir_handler *handler = &guest->handlers[i];
        if (handler->kind == WEIR_HANDLER_KIND_ON_SET) {
            return "a watcher of wasi:keyvalue takes its value as a list of bytes";
        }
        if (handler->kind <= WEIR_HANDLER_KIND_OR_REJECT && !handler->is_by_annex) {
            return guest->annex_reason[0]
                       ? guest->annex_reason
                       : "some handler of it is made in another way than the others";
        }
    }
    return NULL;
}

weir_status weir_annex_use(struct weir_guest *guest, const struct weir_annex *annex,
                           struct weir_error *err) {
    weir_status status = find_export(guest, WEIR_ANNEX_HIGH, &guest->annex_high, err);
    if (status == WEIR_OK) {
        status = find_export(guest, WEIR_ANNEX_BODY, &guest->annex_body, err);
    }
    for (uint32_t i = 0; status == WEIR_OK && i < annex->outline.handler_count; i++) {
        struct weir_handler *handler = find_handler(guest, &annex->outline.handlers[i]);
        if (!handler || handler->is_by_annex) {
            continue;
        }
        char name[NAME_BYTES];
        wasmtime_component_export_index_t *index;
        snprintf(name, sizeof name, WEIR_ANNEX_HANDLER "%u", i);
        status = find_export(guest, name, &index, err);
        if (status == WEIR_OK) {
            wasmtime_component_export_index_delete(handler->index);
            handler->index = index;
            handler->is_by_annex = true;
        }
    }
    return status;
}

void weir_annex_forget(struct weir_guest *guest) {
    wasmtime_component_export_index_t **indices[] = {&guest->annex_high, &guest->annex_body};
    for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
        if (*indices[i]) {
            wasmtime_component_export_index_delete(*indices[i]);
        }
        *indices[i] = NULL;
    }
    weir_spare_free(&guest->spare);
}

static weir_status call(struct weir_instance *instance,
                        const wasmtime_component_export_index_t *index,
                        const wasmtime_component_val_t *param, wasmtime_component_val_t *result,
                        struct weir_error *err) {
    wasmtime_component_func_t function;
    if (!wasmtime_component_instance_get_func(&instance->component, instance->context, index,
                                              &function)) {
        return weir_fail(err, WEIR_NOT_FOUND, "the instance lacks a function of its component");
    }
    wasmtime_error_t *error = wasmtime_component_func_call(&function, instance->context, param,
                                                           param ? 1 : 0, result, result ? 1 : 0);
    return error ? weir_instance_trapped(instance, error, NULL, err) : WEIR_OK;
}

weir_status weir_annex_give(struct weir_instance *instance, struct weir_str high,
                            struct weir_error *err) {
    const wasmtime_component_val_t value = {
        .kind = WASMTIME_COMPONENT_STRING,
        .of.string = {.size = high.size, .data = (char *)(uintptr_t)high.data},
    };
    return call(instance, instance->guest->annex_high, &value, NULL, err);
}

weir_status weir_annex_take(struct weir_instance *instance, wasmtime_component_val_t *ret_value,
                            struct weir_error *err) {
    *ret_value = (wasmtime_component_val_t){.kind = WASMTIME_COMPONENT_BOOL};
    weir_status status = call(instance, instance->guest->annex_body, NULL, ret_value, err);
    if (status == WEIR_OK && ret_value->kind != WASMTIME_COMPONENT_STRING) {
        status = weir_fail(err, WEIR_TRAPPED, "a body that is no text");
    }
    return status;
}
