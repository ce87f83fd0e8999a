// SPDX-License-Identifier: Apache-2.0
//
// See floor.h. The event is lowered as the canonical ABI has it, with the offsets written down by
// hand: a block from the guest's allocator for the record, one for each text and one for the list
// of extensions.
//
// The pool keeps as much of a used memory as weir's does: without that a fresh instance costs page
// faults, and the floor would not be one.
#include "floor.h"

#include "support.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm.h>
#include <wasmtime.h>

#define HANDLER "weir:reactive/event-handler@0.1.0#handle-event"
#define POST    "cabi_post_" HANDLER

enum { MEMORY_KEPT_BYTES = 256 * 1024, TABLE_KEPT_BYTES = 16 * 1024, INSTANCES_MAX = 4 };
// Epochs are compiled in, as a host that bounds its guests has them; nobody advances them here.
enum { EPOCHS_NEVER = 1 << 30 };

// The record `event` in the guest's memory: offsets, and the distance from an option to what it
// holds.
enum {
    AT_SPECVERSION = 0,
    AT_TYPE = 8,
    AT_SOURCE = 16,
    AT_ID = 24,
    AT_DATA = 32, // is_some, then the variant: its case, its pointer and length
    AT_DATACONTENTTYPE = 48,
    AT_DATASCHEMA = 60,
    AT_SUBJECT = 72,
    AT_TIME = 84,
    AT_EXTENSIONS = 96,
    EVENT_BYTES = 104,
    OPTION = 4,
    ATTRIBUTE_BYTES = 16,
    TEXT_BYTES = 8,
};

// An instance with the exports that a call needs.
struct instance {
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_memory_t memory;
    wasmtime_func_t realloc, handle, post;
};

struct floor {
    wasm_engine_t *engine;
    wasmtime_module_t *module;
    wasmtime_linker_t *linker;
    wasmtime_instance_pre_t *pre;
    struct instance kept;
};

static void check(wasmtime_error_t *error, wasm_trap_t *trap, const char *what) {
    if (!error && !trap) {
        return;
    }
    wasm_name_t text;
    if (error) {
        wasmtime_error_message(error, &text);
    } else {
        wasm_trap_message(trap, &text);
    }
    fprintf(stderr, "floor: %s: %.*s\n", what, (int)text.size, text.data);
    exit(1);
}

static wasm_engine_t *engine_new(void) {
    wasm_config_t *config = wasm_config_new();
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    wasmtime_config_epoch_interruption_set(config, true);
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, INSTANCES_MAX);
    wasmtime_pooling_allocation_config_total_memories_set(pool, INSTANCES_MAX);
    wasmtime_pooling_allocation_config_total_tables_set(pool, INSTANCES_MAX);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, MEMORY_KEPT_BYTES);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, TABLE_KEPT_BYTES);
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    return wasm_engine_new_with_config(config);
}

static wasmtime_extern_t export(struct instance *instance, const wasmtime_instance_t *wasm,
                                const char *name) {
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(instance->context, wasm, name, strlen(name), &item)) {
        give_up(name, "the guest exports no such thing");
    }
    return item;
}

static void call(struct instance *instance, const wasmtime_func_t *function,
                 wasmtime_val_raw_t *values, size_t count, const char *what) {
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_func_call_unchecked(instance->context, function, values, count, &trap);
    check(error, trap, what);
}

static void instance_init(struct instance *instance, const struct floor *floor) {
    wasmtime_instance_t wasm;
    wasm_trap_t *trap = NULL;
    instance->store = wasmtime_store_new(floor->engine, NULL, NULL);
    instance->context = wasmtime_store_context(instance->store);
    wasmtime_context_set_epoch_deadline(instance->context, EPOCHS_NEVER);
    wasmtime_error_t *error =
        wasmtime_instance_pre_instantiate(floor->pre, instance->context, &wasm, &trap);
    check(error, trap, "instantiating");
    instance->memory = export(instance, &wasm, "memory").of.memory;
    instance->realloc = export(instance, &wasm, "cabi_realloc").of.func;
    instance->handle = export(instance, &wasm, HANDLER).of.func;
    instance->post = export(instance, &wasm, POST).of.func;
    wasmtime_func_t initialize = export(instance, &wasm, "_initialize").of.func;
    wasmtime_val_raw_t none[1] = {{.i32 = 0}};
    call(instance, &initialize, none, 1, "_initialize");
}

static void instance_finish(struct instance *instance) {
    wasmtime_store_delete(instance->store);
}

struct floor *floor_create(struct weir_str wasm) {
    struct floor *floor = allocate_or_give_up(sizeof *floor);
    floor->engine = engine_new();
    check(wasmtime_module_new(floor->engine, (const uint8_t *)wasm.data, wasm.size, &floor->module),
          NULL, "compiling the guest");
    floor->linker = wasmtime_linker_new(floor->engine);
    check(wasmtime_linker_instantiate_pre(floor->linker, floor->module, &floor->pre), NULL,
          "linking the guest");
    instance_init(&floor->kept, floor);
    return floor;
}

void floor_destroy(struct floor *floor) {
    instance_finish(&floor->kept);
    wasmtime_instance_pre_delete(floor->pre);
    wasmtime_linker_delete(floor->linker);
    wasmtime_module_delete(floor->module);
    wasm_engine_delete(floor->engine);
    free(floor);
}

static uint32_t allocate(struct instance *instance, size_t size, uint32_t align) {
    wasmtime_val_raw_t values[4] = {
        {.i32 = 0}, {.i32 = 0}, {.i32 = (int32_t)align}, {.i32 = (int32_t)size}};
    call(instance, &instance->realloc, values, 4, "cabi_realloc");
    return (uint32_t)values[0].i32;
}

static uint8_t *memory_of(struct instance *instance) {
    return wasmtime_memory_data(instance->context, &instance->memory);
}

static void put_u32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, sizeof value);
}

static uint32_t get_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void put_text(struct instance *instance, uint32_t at, struct weir_str text) {
    uint32_t block = allocate(instance, text.size, 1);
    uint8_t *base = memory_of(instance);
    memcpy(base + block, text.data, text.size);
    put_u32(base + at, block);
    put_u32(base + at + 4, (uint32_t)text.size);
}

static void put_option(struct instance *instance, uint32_t at,
                       const struct weir_optional_str *text) {
    memory_of(instance)[at] = text->is_some;
    if (text->is_some) {
        put_text(instance, at + OPTION, text->value);
    }
}

static uint32_t put_event(struct instance *instance, const struct weir_event_fields *event) {
    uint32_t record = allocate(instance, EVENT_BYTES, 4);
    put_text(instance, record + AT_SPECVERSION, event->specversion);
    put_text(instance, record + AT_TYPE, event->ty);
    put_text(instance, record + AT_SOURCE, event->source);
    put_text(instance, record + AT_ID, event->id);
    uint8_t *data = memory_of(instance) + record + AT_DATA;
    data[0] = event->data.is_some;
    data[OPTION] = event->data.value.kind;
    put_text(instance, record + AT_DATA + OPTION + 4, event->data.value.bytes);
    put_option(instance, record + AT_DATACONTENTTYPE, &event->datacontenttype);
    put_option(instance, record + AT_DATASCHEMA, &event->dataschema);
    put_option(instance, record + AT_SUBJECT, &event->subject);
    put_option(instance, record + AT_TIME, &event->time);
    uint32_t count = (uint32_t)event->extensions.count;
    uint32_t list = allocate(instance, count * ATTRIBUTE_BYTES, 4);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = list + i * ATTRIBUTE_BYTES;
        put_text(instance, at, event->extensions.items[i].name);
        put_text(instance, at + TEXT_BYTES, event->extensions.items[i].value);
    }
    uint8_t *extensions = memory_of(instance) + record + AT_EXTENSIONS;
    put_u32(extensions, list);
    put_u32(extensions + 4, count);
    return record;
}

// Copies the returned event's body out of result<option<event>, string>.
static size_t take_body(struct instance *instance, uint32_t result) {
    const uint8_t *base = memory_of(instance), *at = base + result;
    if (at[0] != 0) {
        give_up("floor", "the handler returned an error");
    }
    if (at[4] == 0) {
        return 0;
    }
    const uint8_t *text = at + 8 + AT_DATA + OPTION + 4;
    size_t size = get_u32(text + 4);
    char *copy = malloc(size + 1);
    if (!copy) {
        give_up("floor", "no memory");
    }
    memcpy(copy, base + get_u32(text), size);
    // The copy must be made: nothing else looks at it.
    __asm__ volatile("" : : "r"(copy) : "memory");
    free(copy);
    return size;
}

static struct weir_str get_text(const uint8_t *base, const uint8_t *at) {
    return (struct weir_str){.data = (const char *)base + get_u32(at), .size = get_u32(at + 4)};
}

static struct weir_optional_str get_option(const uint8_t *base, const uint8_t *at) {
    return (struct weir_optional_str){
        .is_some = at[0], .value = at[0] ? get_text(base, at + OPTION) : (struct weir_str){0}};
}

// Copies the whole of the returned event out of the guest, and checks it by weir's own functions.
static size_t take_checked(struct instance *instance, uint32_t result) {
    const uint8_t *base = memory_of(instance), *at = base + result;
    if (at[0] != 0) {
        give_up("floor", "the handler returned an error");
    }
    if (at[4] == 0) {
        return 0;
    }
    at += 8;
    const uint8_t *list = base + get_u32(at + AT_EXTENSIONS);
    const struct weir_attribute extension = {.name = get_text(base, list),
                                             .value = get_text(base, list + TEXT_BYTES)};
    const struct weir_event_fields fields = {
        .specversion = get_text(base, at + AT_SPECVERSION),
        .ty = get_text(base, at + AT_TYPE),
        .source = get_text(base, at + AT_SOURCE),
        .id = get_text(base, at + AT_ID),
        .data = {.is_some = at[AT_DATA],
                 .value = {.kind = at[AT_DATA + OPTION],
                           .bytes = get_text(base, at + AT_DATA + OPTION + 4)}},
        .datacontenttype = get_option(base, at + AT_DATACONTENTTYPE),
        .dataschema = get_option(base, at + AT_DATASCHEMA),
        .subject = get_option(base, at + AT_SUBJECT),
        .time = get_option(base, at + AT_TIME),
        .extensions = {.items = &extension, .count = 1},
    };
    struct weir_event *event;
    struct weir_error err;
    if (weir_event_new_checked(&fields, fields.subject.value, &event, &err) != WEIR_OK) {
        give_up("floor", err.message);
    }
    size_t size = event->fields.data.value.bytes.size;
    weir_event_unref(event);
    return size;
}

static size_t call_handler(struct instance *instance, const struct weir_event_fields *event,
                           bool is_checked) {
    wasmtime_val_raw_t value[1] = {{.i32 = (int32_t)put_event(instance, event)}};
    call(instance, &instance->handle, value, 1, "the handler");
    uint32_t result = (uint32_t)value[0].i32;
    size_t body_bytes = is_checked ? take_checked(instance, result) : take_body(instance, result);
    value[0].i32 = (int32_t)result;
    call(instance, &instance->post, value, 1, POST);
    return body_bytes;
}

static size_t call_once(struct floor *floor, const struct weir_event_fields *event, bool is_fresh,
                        bool is_checked) {
    if (!is_fresh) {
        return call_handler(&floor->kept, event, is_checked);
    }
    struct instance instance;
    instance_init(&instance, floor);
    size_t body_bytes = call_handler(&instance, event, is_checked);
    instance_finish(&instance);
    return body_bytes;
}

size_t floor_call(struct floor *floor, const struct weir_event_fields *event, bool is_fresh) {
    return call_once(floor, event, is_fresh, false);
}

size_t floor_call_checked(struct floor *floor, const struct weir_event_fields *event,
                          bool is_fresh) {
    return call_once(floor, event, is_fresh, true);
}

void floor_call_told(struct floor *floor, const struct weir_event_fields *event,
                     void (*told)(void *context), void *context) {
    struct instance instance;
    instance_init(&instance, floor);
    call_handler(&instance, event, false);
    told(context);
    instance_finish(&instance);
}
