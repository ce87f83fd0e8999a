// SPDX-License-Identifier: Apache-2.0
//
// Dynamic component values by the tables; see values.h. On the way of every event to a component.
//
// What the engine does with such a value costs far more than making it: it copies the names of all
// fields, and spends a value of 32 bytes for each byte of a list<u8>. What can be spared is spared
// here: a value that is passed is made of views, in room that is there already.
//
// Any thread, one at a time.
#include "guest/values.h"

#include "guest/annex.h"
#include "guest/canon.h"
#include "guest/instance.h"
#include "guest/planes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    _Alignas(16) unsigned char bytes[];
};

void weir_values_begin(struct weir_values *values, struct weir_instance *instance,
                       uint64_t bytes_max, const char *bytes_bound) {
    values->instance = instance;
    values->bytes_max = bytes_max;
    values->bytes_bound = bytes_bound;
    values->bytes_left = 0;
    values->is_by_annex = false;
    values->high = (struct weir_str){0};
    values->is_engines = false;
    values->blocks = NULL;
    values->spare = NULL;
    values->used = 0;
}

void weir_values_end(struct weir_values *values) {
    while (values->blocks) {
        struct block *block = values->blocks;
        values->blocks = block->next;
        free(block);
    }
    if (values->spare) {
        weir_spare_give_back(&values->instance->guest->spare, &values->spare);
    }
    values->used = 0;
}

// Room for count items of that size, aligned for anything; NULL with err.
static void *take_room(struct weir_values *values, size_t count, size_t size,
                       struct weir_error *err) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        weir_fail_no_memory(err, "a value");
        return NULL;
    }
    size_t rounded = (bytes + 15) & ~(size_t)15;
    if (rounded <= sizeof values->room - values->used) {
        void *room = values->room + values->used;
        values->used += rounded;
        return room;
    }
    struct block *block = malloc(sizeof *block + bytes);
    if (!block) {
        weir_fail_no_memory(err, "a value");
        return NULL;
    }
    block->next = values->blocks;
    values->blocks = block;
    return block->bytes;
}

static __attribute__((cold)) weir_status refuse_bytes(const struct weir_values *values,
                                                      struct weir_error *err) {
    return weir_fail(err, WEIR_LIMIT, "it has more bytes than %s allows (%" PRIu64 ")",
                     values->bytes_bound, values->bytes_max);
}

static weir_status spend(struct weir_values *values, uint64_t bytes, struct weir_error *err) {
    if (bytes > values->bytes_left) {
        return refuse_bytes(values, err);
    }
    values->bytes_left -= bytes;
    return WEIR_OK;
}

static weir_status spend_list(struct weir_values *values, uint64_t count,
                              const struct weir_wit_type *type, struct weir_error *err) {
    if (count > type->items_max) {
        return weir_fail(err, WEIR_LIMIT, "the list has %" PRIu64 " items, the most is %" PRIu32,
                         count, type->items_max);
    }
    return spend(values, count * type->element->guest_size, err);
}

// What the engine calls them, as values.
static const uint8_t kinds[] = {
    [WEIR_WIT_BOOL] = WASMTIME_COMPONENT_BOOL,     [WEIR_WIT_U8] = WASMTIME_COMPONENT_U8,
    [WEIR_WIT_U16] = WASMTIME_COMPONENT_U16,       [WEIR_WIT_U32] = WASMTIME_COMPONENT_U32,
    [WEIR_WIT_U64] = WASMTIME_COMPONENT_U64,       [WEIR_WIT_S64] = WASMTIME_COMPONENT_S64,
    [WEIR_WIT_F64] = WASMTIME_COMPONENT_F64,       [WEIR_WIT_ENUM] = WASMTIME_COMPONENT_ENUM,
    [WEIR_WIT_STRING] = WASMTIME_COMPONENT_STRING, [WEIR_WIT_BYTES] = WASMTIME_COMPONENT_LIST,
    [WEIR_WIT_LIST] = WASMTIME_COMPONENT_LIST,     [WEIR_WIT_RECORD] = WASMTIME_COMPONENT_RECORD,
    [WEIR_WIT_TUPLE] = WASMTIME_COMPONENT_TUPLE,   [WEIR_WIT_VARIANT] = WASMTIME_COMPONENT_VARIANT,
    [WEIR_WIT_OPTION] = WASMTIME_COMPONENT_OPTION, [WEIR_WIT_RESULT] = WASMTIME_COMPONENT_RESULT,
    [WEIR_WIT_OWN] = WASMTIME_COMPONENT_RESOURCE,  [WEIR_WIT_BORROW] = WASMTIME_COMPONENT_RESOURCE,
};

// As much of a text as is UTF-8. An event's texts are by their contract (event.h), which nobody
// checks where a source makes one, and the engine ends the process where it is given another: a
// source's mistake would end weir. It costs 2 us for 64 KiB.
static struct weir_str readable(struct weir_str text) {
    if (weir_utf8_valid(text)) {
        return text;
    }
    size_t size = 0;
    for (size_t step = 1; step > 0; size += step) {
        step = weir_utf8_char_bytes((struct weir_str){text.data + size, text.size - size});
    }
    return (struct weir_str){.data = text.data, .size = size};
}

static wasm_name_t name_of(const struct weir_values *values, struct weir_str text) {
    wasm_name_t name = {.size = text.size, .data = (char *)(uintptr_t)text.data};
    if (values->is_engines) {
        wasm_byte_vec_new(&name, text.size, text.data ? text.data : "");
    }
    return name;
}

// ---- from C to the guest

static weir_status lower(struct weir_values *values, const struct weir_wit_type *type,
                         const unsigned char *host, wasmtime_component_val_t *ret_value,
                         struct weir_error *err);

// What a case carries, in a place of its own; *ret_payload stays NULL where it carries nothing.
static weir_status lower_payload(struct weir_values *values, const struct weir_wit_field *chosen,
                                 const unsigned char *host, wasmtime_component_val_t **ret_payload,
                                 struct weir_error *err) {
    *ret_payload = NULL;
    if (!chosen->type) {
        return WEIR_OK;
    }
    wasmtime_component_val_t value;
    weir_status status = lower(values, chosen->type, host + chosen->host_offset, &value, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (values->is_engines) {
        *ret_payload = wasmtime_component_val_new(&value);
        return WEIR_OK;
    }
    *ret_payload = take_room(values, 1, sizeof value, err);
    if (!*ret_payload) {
        return WEIR_NO_MEMORY;
    }
    **ret_payload = value;
    return WEIR_OK;
}

// By way of annex.h: what is short and no text is a list.
static bool goes_as_list(struct weir_str bytes) {
    return bytes.size <= WEIR_ANNEX_LIST_BYTES && weir_planes_has_high(bytes);
}

static const char *name_of_case(const struct weir_values *values,
                                const struct weir_wit_field *chosen, const unsigned char *host) {
    struct weir_str bytes;
    if (!values->is_by_annex || !chosen->type || chosen->type->kind != WEIR_WIT_BYTES) {
        return chosen->name;
    }
    memcpy(&bytes, host + chosen->host_offset, sizeof bytes);
    return goes_as_list(bytes) ? WEIR_ANNEX_LIST : chosen->name;
}

static weir_status lower_case(struct weir_values *values, const struct weir_wit_type *type,
                              const unsigned char *host, wasmtime_component_val_t *ret_value,
                              struct weir_error *err) {
    const struct weir_wit_field *chosen = &type->fields[host[0]];
    wasmtime_component_val_t *payload;
    weir_status status = lower_payload(values, chosen, host, &payload, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (type->kind == WEIR_WIT_OPTION) {
        ret_value->kind = WASMTIME_COMPONENT_OPTION;
        ret_value->of.option = payload;
    } else if (type->kind == WEIR_WIT_RESULT) {
        ret_value->kind = WASMTIME_COMPONENT_RESULT;
        ret_value->of.result.is_ok = host[0] == 0;
        ret_value->of.result.val = payload;
    } else {
        ret_value->kind = WASMTIME_COMPONENT_VARIANT;
        ret_value->of.variant.discriminant =
            name_of(values, weir_str_of(name_of_case(values, chosen, host)));
        ret_value->of.variant.val = payload;
    }
    return WEIR_OK;
}

// What was begun and cannot be finished is freed with the whole: its places are filled with what
// owns nothing.
static void fill_with_nothing(wasmtime_component_val_t *value) {
    *value = (wasmtime_component_val_t){.kind = WASMTIME_COMPONENT_BOOL};
}

static weir_status lower_record(struct weir_values *values, const struct weir_wit_type *type,
                                const unsigned char *host, wasmtime_component_val_t *ret_value,
                                struct weir_error *err) {
    wasmtime_component_valrecord_t *record = &ret_value->of.record;
    if (values->is_engines) {
        wasmtime_component_valrecord_new_uninit(record, type->field_count);
    } else {
        record->size = type->field_count;
        record->data = take_room(values, type->field_count, sizeof *record->data, err);
        if (!record->data) {
            return WEIR_NO_MEMORY;
        }
    }
    ret_value->kind = WASMTIME_COMPONENT_RECORD;
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        record->data[i].name = name_of(values, weir_str_of(field->name));
        fill_with_nothing(&record->data[i].val);
        if (status == WEIR_OK) {
            status =
                lower(values, field->type, host + field->host_offset, &record->data[i].val, err);
        }
    }
    return status;
}

static weir_status lower_tuple(struct weir_values *values, const struct weir_wit_type *type,
                               const unsigned char *host, wasmtime_component_val_t *ret_value,
                               struct weir_error *err) {
    wasmtime_component_valtuple_t *tuple = &ret_value->of.tuple;
    if (values->is_engines) {
        wasmtime_component_valtuple_new_uninit(tuple, type->field_count);
    } else {
        tuple->size = type->field_count;
        tuple->data = take_room(values, type->field_count, sizeof *tuple->data, err);
        if (!tuple->data) {
            return WEIR_NO_MEMORY;
        }
    }
    ret_value->kind = WASMTIME_COMPONENT_TUPLE;
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        fill_with_nothing(&tuple->data[i]);
        if (status == WEIR_OK) {
            status = lower(values, field->type, host + field->host_offset, &tuple->data[i], err);
        }
    }
    return status;
}

// A list's values, to be filled.
static weir_status begin_list(struct weir_values *values, size_t count,
                              wasmtime_component_val_t *ret_value, struct weir_error *err) {
    wasmtime_component_vallist_t *list = &ret_value->of.list;
    if (values->is_engines) {
        wasmtime_component_vallist_new_uninit(list, count);
    } else {
        list->size = count;
        list->data = take_room(values, count, sizeof *list->data, err);
        if (!list->data) {
            return WEIR_NO_MEMORY;
        }
    }
    ret_value->kind = WASMTIME_COMPONENT_LIST;
    return WEIR_OK;
}

static weir_status lower_list(struct weir_values *values, const struct weir_wit_type *type,
                              const unsigned char *host, wasmtime_component_val_t *ret_value,
                              struct weir_error *err) {
    struct weir_attributes list; // every list of the host has this shape
    memcpy(&list, host, sizeof list);
    weir_status status = spend_list(values, list.count, type, err);
    if (status == WEIR_OK) {
        status = begin_list(values, list.count, ret_value, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    const unsigned char *items = (const unsigned char *)list.items;
    for (size_t i = 0; i < list.count; i++) {
        wasmtime_component_val_t *item = &ret_value->of.list.data[i];
        fill_with_nothing(item);
        if (status == WEIR_OK) {
            status = lower(values, type->element, items + i * type->element->host_size, item, err);
        }
    }
    return status;
}

// What one call passes is not looked at any more when its result is read, so both may lie there.
static char *take_spare(struct weir_values *values, size_t size, struct weir_error *err) {
    char *room = weir_spare_take(&values->instance->guest->spare, &values->spare, size);
    if (!room) {
        weir_fail_no_memory(err, "a value");
    }
    return room;
}

// Bytes as two texts. Those that are one already go as they are.
static weir_status lower_planes(struct weir_values *values, struct weir_str bytes,
                                wasmtime_component_val_t *ret_value, struct weir_error *err) {
    ret_value->kind = WASMTIME_COMPONENT_STRING;
    ret_value->of.string = name_of(values, bytes);
    if (!weir_planes_has_high(bytes)) {
        return WEIR_OK;
    }
    size_t high_size = weir_planes_high_size(bytes.size);
    char *low = take_spare(values, bytes.size + high_size, err);
    if (!low) {
        return WEIR_NO_MEMORY;
    }
    char *high = low + bytes.size;
    weir_planes_split(bytes, low, high);
    ret_value->of.string.data = low;
    values->high = (struct weir_str){.data = high, .size = high_size};
    return WEIR_OK;
}

static weir_status lower_bytes(struct weir_values *values, const unsigned char *host,
                               wasmtime_component_val_t *ret_value, struct weir_error *err) {
    struct weir_str bytes;
    memcpy(&bytes, host, sizeof bytes);
    weir_status status = spend(values, bytes.size, err);
    if (status == WEIR_OK && values->is_by_annex && !goes_as_list(bytes)) {
        return lower_planes(values, bytes, ret_value, err);
    }
    if (status == WEIR_OK && bytes.size > WEIR_VALUES_LIST_BYTES_MAX) {
        status = weir_fail(err, WEIR_LIMIT,
                           "a body of %zu bytes that is not text: the component lane passes at "
                           "most %d (text, and the core lane, have no such bound)",
                           bytes.size, WEIR_VALUES_LIST_BYTES_MAX);
    }
    if (status == WEIR_OK) {
        status = begin_list(values, bytes.size, ret_value, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < bytes.size; i++) {
        wasmtime_component_val_t *item = &ret_value->of.list.data[i];
        item->kind = WASMTIME_COMPONENT_U8;
        item->of.u8 = (uint8_t)bytes.data[i];
    }
    return status;
}

static weir_status lower_text(struct weir_values *values, const unsigned char *host,
                              wasmtime_component_val_t *ret_value, struct weir_error *err) {
    struct weir_str text;
    memcpy(&text, host, sizeof text);
    weir_status status = spend(values, text.size, err);
    if (status == WEIR_OK) {
        ret_value->kind = WASMTIME_COMPONENT_STRING;
        ret_value->of.string = name_of(values, readable(text));
    }
    return status;
}

static weir_status lower_handle(struct weir_values *values, const struct weir_wit_type *type,
                                const unsigned char *host, wasmtime_component_val_t *ret_value,
                                struct weir_error *err) {
    uint32_t handle;
    memcpy(&handle, host, sizeof handle);
    wasmtime_component_resource_host_t *resource =
        wasmtime_component_resource_host_new(type->kind == WEIR_WIT_OWN, handle, type->resource);
    wasmtime_error_t *error = wasmtime_component_resource_host_to_any(
        values->instance->context, resource, &ret_value->of.resource);
    wasmtime_component_resource_host_delete(resource);
    if (error) {
        return weir_engine_fail(error, NULL, WEIR_OTHER, err);
    }
    ret_value->kind = WASMTIME_COMPONENT_RESOURCE;
    return WEIR_OK;
}

static void lower_scalar(const struct weir_wit_type *type, const unsigned char *host,
                         wasmtime_component_val_t *ret_value) {
    ret_value->kind = kinds[type->kind];
    switch (type->kind) {
    case WEIR_WIT_BOOL:
        ret_value->of.boolean = *host != 0;
        break;
    case WEIR_WIT_U16:
        memcpy(&ret_value->of.u16, host, sizeof ret_value->of.u16);
        break;
    case WEIR_WIT_U32:
        memcpy(&ret_value->of.u32, host, sizeof ret_value->of.u32);
        break;
    case WEIR_WIT_U64:
        memcpy(&ret_value->of.u64, host, sizeof ret_value->of.u64);
        break;
    case WEIR_WIT_S64:
        memcpy(&ret_value->of.s64, host, sizeof ret_value->of.s64);
        break;
    case WEIR_WIT_F64:
        memcpy(&ret_value->of.f64, host, sizeof ret_value->of.f64);
        break;
    default:
        ret_value->of.u8 = *host;
    }
}

static weir_status lower(struct weir_values *values, const struct weir_wit_type *type,
                         const unsigned char *host, wasmtime_component_val_t *ret_value,
                         struct weir_error *err) {
    switch (type->kind) {
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        return lower_case(values, type, host, ret_value, err);
    case WEIR_WIT_RECORD:
        return lower_record(values, type, host, ret_value, err);
    case WEIR_WIT_TUPLE:
        return lower_tuple(values, type, host, ret_value, err);
    case WEIR_WIT_STRING:
        return lower_text(values, host, ret_value, err);
    case WEIR_WIT_BYTES:
        return lower_bytes(values, host, ret_value, err);
    case WEIR_WIT_LIST:
        return lower_list(values, type, host, ret_value, err);
    case WEIR_WIT_ENUM:
        ret_value->kind = WASMTIME_COMPONENT_ENUM;
        ret_value->of.enumeration = name_of(values, weir_str_of(type->fields[*host].name));
        return WEIR_OK;
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        return lower_handle(values, type, host, ret_value, err);
    case WEIR_WIT_BOOL:
    case WEIR_WIT_U8:
    case WEIR_WIT_U16:
    case WEIR_WIT_U32:
    case WEIR_WIT_U64:
    case WEIR_WIT_S64:
    case WEIR_WIT_F64:
        lower_scalar(type, host, ret_value);
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_OTHER, "a WIT type of unknown kind %d", (int)type->kind);
}

static void begin_value(struct weir_values *values) {
    values->bytes_left = values->bytes_max;
}

weir_status weir_values_pass(struct weir_values *values, const struct weir_wit_type *type,
                             const void *host, wasmtime_component_val_t *ret_value,
                             struct weir_error *err) {
    begin_value(values);
    values->is_engines = false;
    return lower(values, type, host, ret_value, err);
}

weir_status weir_values_answer(struct weir_values *values, const struct weir_wit_type *type,
                               const void *host, wasmtime_component_val_t *ret_value,
                               struct weir_error *err) {
    begin_value(values);
    values->is_engines = true;
    fill_with_nothing(ret_value);
    weir_status status = lower(values, type, host, ret_value, err);
    if (status != WEIR_OK) {
        wasmtime_component_val_delete(ret_value);
        fill_with_nothing(ret_value);
    }
    return status;
}

// ---- from the guest to C

static weir_status lift(struct weir_values *values, const struct weir_wit_type *type,
                        const wasmtime_component_val_t *value, unsigned char *ret_host,
                        struct weir_error *err);

// The engine's own checks make this unreachable.
static __attribute__((cold)) weir_status refuse_kind(const wasmtime_component_val_t *value,
                                                     struct weir_error *err) {
    return weir_fail(err, WEIR_TRAPPED, "a component value of kind %d where another was agreed on",
                     (int)value->kind);
}

static weir_status lift_case(struct weir_values *values, const struct weir_wit_type *type,
                             uint32_t number, const wasmtime_component_val_t *payload,
                             unsigned char *ret_host, struct weir_error *err) {
    const struct weir_wit_field *chosen = &type->fields[number];
    ret_host[0] = (unsigned char)number;
    if (!chosen->type) {
        return WEIR_OK;
    }
    return payload ? lift(values, chosen->type, payload, ret_host + chosen->host_offset, err)
                   : weir_fail(err, WEIR_TRAPPED, "%s without a value", chosen->name);
}

// A variant's, or an enum's, by the name of its case.
static weir_status lift_named(struct weir_values *values, const struct weir_wit_type *type,
                              const wasm_name_t *case_name, const wasmtime_component_val_t *payload,
                              unsigned char *ret_host, struct weir_error *err) {
    struct weir_str name = {.data = case_name->data, .size = case_name->size};
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        bool is_bytes = values->is_by_annex && field->type && field->type->kind == WEIR_WIT_BYTES;
        if (weir_str_equal(name, weir_str_of(field->name)) ||
            (is_bytes && weir_str_equal(name, WEIR_STR(WEIR_ANNEX_LIST)))) {
            return lift_case(values, type, i, payload, ret_host, err);
        }
    }
    return weir_fail(err, WEIR_TRAPPED, "a case of no name that was agreed on");
}

static weir_status lift_fields(struct weir_values *values, const struct weir_wit_type *type,
                               const wasmtime_component_val_t *value, unsigned char *ret_host,
                               struct weir_error *err) {
    bool is_record = type->kind == WEIR_WIT_RECORD;
    size_t count = is_record ? value->of.record.size : value->of.tuple.size;
    if (count != type->field_count) {
        return refuse_kind(value, err);
    }
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        const wasmtime_component_val_t *from =
            is_record ? &value->of.record.data[i].val : &value->of.tuple.data[i];
        weir_status status = lift(values, field->type, from, ret_host + field->host_offset, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "%s", field->name);
        }
    }
    return WEIR_OK;
}

static weir_status lift_bytes(struct weir_values *values, const wasmtime_component_vallist_t *list,
                              unsigned char *ret_host, struct weir_error *err) {
    weir_status status = spend(values, list->size, err);
    if (status != WEIR_OK) {
        return status;
    }
    unsigned char *bytes = take_room(values, list->size, 1, err);
    if (!bytes) {
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; i < list->size; i++) {
        bytes[i] = list->data[i].of.u8;
    }
    struct weir_str view = {.data = (const char *)bytes, .size = list->size};
    memcpy(ret_host, &view, sizeof view);
    return WEIR_OK;
}

static weir_status join_planes(struct weir_values *values, struct weir_str packed,
                               struct weir_str *ret_bytes, struct weir_error *err) {
    size_t size;
    if (!weir_planes_joined_size(packed.size, &size)) {
        return weir_fail(err, WEIR_TRAPPED, "a body of %zu characters in two planes", packed.size);
    }
    weir_status status = spend(values, size, err);
    char *bytes = status == WEIR_OK ? take_spare(values, size, err) : NULL;
    if (!bytes) {
        return status == WEIR_OK ? WEIR_NO_MEMORY : status;
    }
    weir_planes_join(packed, bytes);
    *ret_bytes = (struct weir_str){.data = bytes, .size = size};
    return WEIR_OK;
}

// A body that is shown as empty is to be taken, where it is not empty.
static weir_status lift_planes(struct weir_values *values, const wasm_name_t *text,
                               unsigned char *ret_host, struct weir_error *err) {
    struct weir_str bytes = {.data = text->data, .size = text->size};
    weir_status status = WEIR_OK;
    if (text->size > 0) {
        status = spend(values, text->size, err);
    } else {
        wasmtime_component_val_t packed;
        status = weir_annex_take(values->instance, &packed, err);
        if (status == WEIR_OK) {
            struct weir_str view = {.data = packed.of.string.data, .size = packed.of.string.size};
            status = join_planes(values, view, &bytes, err);
        }
        wasmtime_component_val_delete(&packed);
    }
    memcpy(ret_host, &bytes, sizeof bytes);
    return status;
}

static weir_status lift_list(struct weir_values *values, const struct weir_wit_type *type,
                             const wasmtime_component_vallist_t *list, unsigned char *ret_host,
                             struct weir_error *err) {
    const struct weir_wit_type *element = type->element;
    weir_status status = spend_list(values, list->size, type, err);
    if (status != WEIR_OK) {
        return status;
    }
    unsigned char *items = take_room(values, list->size, element->host_size, err);
    if (!items) {
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; status == WEIR_OK && i < list->size; i++) {
        status = lift(values, element, &list->data[i], items + i * element->host_size, err);
    }
    struct weir_attributes view = {.items = (const struct weir_attribute *)(void *)items,
                                   .count = list->size};
    memcpy(ret_host, &view, sizeof view);
    return status;
}

static weir_status lift_text(struct weir_values *values, const wasm_name_t *text,
                             unsigned char *ret_host, struct weir_error *err) {
    struct weir_str view = {.data = text->data, .size = text->size};
    memcpy(ret_host, &view, sizeof view);
    return spend(values, text->size, err);
}

// A borrowed handle has to be taken over before the function returns, or else the engine traps.
static weir_status lift_handle(struct weir_values *values, const struct weir_wit_type *type,
                               const wasmtime_component_resource_any_t *any,
                               unsigned char *ret_host, struct weir_error *err) {
    wasmtime_component_resource_host_t *resource;
    wasmtime_error_t *error =
        wasmtime_component_resource_any_to_host(values->instance->context, any, &resource);
    if (error) {
        return weir_engine_fail(error, NULL, WEIR_TRAPPED, err);
    }
    uint32_t handle = wasmtime_component_resource_host_rep(resource);
    uint32_t kind = wasmtime_component_resource_host_type(resource);
    wasmtime_component_resource_host_delete(resource);
    memcpy(ret_host, &handle, sizeof handle);
    return kind == type->resource
               ? WEIR_OK
               : weir_fail(err, WEIR_TRAPPED, "a handle of another kind of resource");
}

static weir_status lift(struct weir_values *values, const struct weir_wit_type *type,
                        const wasmtime_component_val_t *value, unsigned char *ret_host,
                        struct weir_error *err) {
    bool is_planes = type->kind == WEIR_WIT_BYTES && values->is_by_annex &&
                     value->kind == WASMTIME_COMPONENT_STRING;
    if (!is_planes && value->kind != kinds[type->kind]) {
        return refuse_kind(value, err);
    }
    switch (type->kind) {
    case WEIR_WIT_VARIANT:
        return lift_named(values, type, &value->of.variant.discriminant, value->of.variant.val,
                          ret_host, err);
    case WEIR_WIT_ENUM:
        return lift_named(values, type, &value->of.enumeration, NULL, ret_host, err);
    case WEIR_WIT_OPTION:
        return lift_case(values, type, value->of.option != NULL, value->of.option, ret_host, err);
    case WEIR_WIT_RESULT:
        return lift_case(values, type, !value->of.result.is_ok, value->of.result.val, ret_host,
                         err);
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        return lift_fields(values, type, value, ret_host, err);
    case WEIR_WIT_STRING:
        return lift_text(values, &value->of.string, ret_host, err);
    case WEIR_WIT_BYTES:
        return is_planes ? lift_planes(values, &value->of.string, ret_host, err)
                         : lift_bytes(values, &value->of.list, ret_host, err);
    case WEIR_WIT_LIST:
        return lift_list(values, type, &value->of.list, ret_host, err);
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        return lift_handle(values, type, value->of.resource, ret_host, err);
    case WEIR_WIT_BOOL:
        *ret_host = value->of.boolean;
        return WEIR_OK;
    case WEIR_WIT_U8:
        *ret_host = value->of.u8;
        return WEIR_OK;
    case WEIR_WIT_U16:
        memcpy(ret_host, &value->of.u16, sizeof value->of.u16);
        return WEIR_OK;
    case WEIR_WIT_U32:
        memcpy(ret_host, &value->of.u32, sizeof value->of.u32);
        return WEIR_OK;
    case WEIR_WIT_U64:
        memcpy(ret_host, &value->of.u64, sizeof value->of.u64);
        return WEIR_OK;
    case WEIR_WIT_S64:
        memcpy(ret_host, &value->of.s64, sizeof value->of.s64);
        return WEIR_OK;
    case WEIR_WIT_F64:
        memcpy(ret_host, &value->of.f64, sizeof value->of.f64);
        return WEIR_OK;
    }
    return refuse_kind(value, err);
}

weir_status weir_values_lift(struct weir_values *values, const struct weir_wit_type *type,
                             const wasmtime_component_val_t *value, void *ret_host,
                             struct weir_error *err) {
    begin_value(values);
    memset(ret_host, 0, type->host_size);
    return lift(values, type, value, ret_host, err);
}

// ---- types

static bool is_named(const char *expected, const char *name, size_t size) {
    return weir_str_equal(weir_str_of(expected), (struct weir_str){.data = name, .size = size});
}

// Whether a part that is there is what the table says of it; deletes it.
static bool match_part(bool is_there, wasmtime_component_valtype_t *part,
                       const struct weir_wit_type *expected) {
    if (!is_there) {
        return !expected;
    }
    bool is_match = expected && weir_values_match(expected, part);
    wasmtime_component_valtype_delete(part);
    return is_match;
}

static bool match_record(const struct weir_wit_type *type,
                         const wasmtime_component_record_type_t *record) {
    bool is_match = wasmtime_component_record_type_field_count(record) == type->field_count;
    for (uint32_t i = 0; is_match && i < type->field_count; i++) {
        const char *name;
        size_t size;
        wasmtime_component_valtype_t part;
        is_match = wasmtime_component_record_type_field_nth(record, i, &name, &size, &part);
        if (is_match) {
            is_match = match_part(true, &part, type->fields[i].type) &&
                       is_named(type->fields[i].name, name, size);
        }
    }
    return is_match;
}

static bool match_tuple(const struct weir_wit_type *type,
                        const wasmtime_component_tuple_type_t *tuple) {
    bool is_match = wasmtime_component_tuple_type_types_count(tuple) == type->field_count;
    for (uint32_t i = 0; is_match && i < type->field_count; i++) {
        wasmtime_component_valtype_t part;
        is_match = wasmtime_component_tuple_type_types_nth(tuple, i, &part) &&
                   match_part(true, &part, type->fields[i].type);
    }
    return is_match;
}

static bool match_variant(const struct weir_wit_type *type,
                          const wasmtime_component_variant_type_t *variant) {
    bool is_match = wasmtime_component_variant_type_case_count(variant) == type->field_count;
    for (uint32_t i = 0; is_match && i < type->field_count; i++) {
        const char *name;
        size_t size;
        bool has_payload;
        wasmtime_component_valtype_t part;
        is_match =
            wasmtime_component_variant_type_case_nth(variant, i, &name, &size, &has_payload, &part);
        if (is_match) {
            is_match = match_part(has_payload, &part, type->fields[i].type) &&
                       is_named(type->fields[i].name, name, size);
        }
    }
    return is_match;
}

static bool match_option(const struct weir_wit_type *type,
                         const wasmtime_component_option_type_t *option) {
    wasmtime_component_valtype_t part;
    wasmtime_component_option_type_ty(option, &part);
    return match_part(true, &part, type->fields[1].type);
}

static bool match_result(const struct weir_wit_type *type,
                         const wasmtime_component_result_type_t *result) {
    wasmtime_component_valtype_t ok, err;
    bool has_ok = wasmtime_component_result_type_ok(result, &ok);
    bool has_err = wasmtime_component_result_type_err(result, &err);
    bool is_ok_right = match_part(has_ok, &ok, type->fields[0].type);
    return match_part(has_err, &err, type->fields[1].type) && is_ok_right;
}

static bool match_list(const struct weir_wit_type *type,
                       const wasmtime_component_list_type_t *list) {
    wasmtime_component_valtype_t part;
    wasmtime_component_list_type_element(list, &part);
    return match_part(true, &part, type->element);
}

static bool match_enum(const struct weir_wit_type *type,
                       const wasmtime_component_enum_type_t *enumeration) {
    bool is_match = wasmtime_component_enum_type_names_count(enumeration) == type->field_count;
    for (uint32_t i = 0; is_match && i < type->field_count; i++) {
        const char *name;
        size_t size;
        is_match = wasmtime_component_enum_type_names_nth(enumeration, i, &name, &size) &&
                   is_named(type->fields[i].name, name, size);
    }
    return is_match;
}

static const uint8_t type_kinds[] = {
    [WEIR_WIT_BOOL] = WASMTIME_COMPONENT_VALTYPE_BOOL,
    [WEIR_WIT_U16] = WASMTIME_COMPONENT_VALTYPE_U16,
    [WEIR_WIT_U32] = WASMTIME_COMPONENT_VALTYPE_U32,
    [WEIR_WIT_S64] = WASMTIME_COMPONENT_VALTYPE_S64,
    [WEIR_WIT_F64] = WASMTIME_COMPONENT_VALTYPE_F64,
    [WEIR_WIT_ENUM] = WASMTIME_COMPONENT_VALTYPE_ENUM,
    [WEIR_WIT_U8] = WASMTIME_COMPONENT_VALTYPE_U8,
    [WEIR_WIT_U64] = WASMTIME_COMPONENT_VALTYPE_U64,
    [WEIR_WIT_STRING] = WASMTIME_COMPONENT_VALTYPE_STRING,
    [WEIR_WIT_BYTES] = WASMTIME_COMPONENT_VALTYPE_LIST,
    [WEIR_WIT_LIST] = WASMTIME_COMPONENT_VALTYPE_LIST,
    [WEIR_WIT_RECORD] = WASMTIME_COMPONENT_VALTYPE_RECORD,
    [WEIR_WIT_TUPLE] = WASMTIME_COMPONENT_VALTYPE_TUPLE,
    [WEIR_WIT_VARIANT] = WASMTIME_COMPONENT_VALTYPE_VARIANT,
    [WEIR_WIT_OPTION] = WASMTIME_COMPONENT_VALTYPE_OPTION,
    [WEIR_WIT_RESULT] = WASMTIME_COMPONENT_VALTYPE_RESULT,
    [WEIR_WIT_OWN] = WASMTIME_COMPONENT_VALTYPE_OWN,
    [WEIR_WIT_BORROW] = WASMTIME_COMPONENT_VALTYPE_BORROW,
};

bool weir_values_match(const struct weir_wit_type *type,
                       const wasmtime_component_valtype_t *valtype) {
    if (valtype->kind != type_kinds[type->kind]) {
        return false;
    }
    switch (type->kind) {
    case WEIR_WIT_RECORD:
        return match_record(type, valtype->of.record);
    case WEIR_WIT_TUPLE:
        return match_tuple(type, valtype->of.tuple);
    case WEIR_WIT_VARIANT:
        return match_variant(type, valtype->of.variant);
    case WEIR_WIT_OPTION:
        return match_option(type, valtype->of.option);
    case WEIR_WIT_RESULT:
        return match_result(type, valtype->of.result);
    case WEIR_WIT_BYTES:
    case WEIR_WIT_LIST:
        return match_list(type, valtype->of.list);
    case WEIR_WIT_ENUM:
        return match_enum(type, valtype->of.enum_);
    default:
        return true; // its kind is all there is to it
    }
}

bool weir_values_match_function(const struct weir_wit_field *params, uint32_t param_count,
                                const struct weir_wit_type *result,
                                const wasmtime_component_func_type_t *type) {
    wasmtime_component_valtype_t part;
    bool is_match = wasmtime_component_func_type_param_count(type) == param_count &&
                    !wasmtime_component_func_type_async(type);
    for (uint32_t i = 0; is_match && i < param_count; i++) {
        const char *name;
        size_t size;
        is_match = wasmtime_component_func_type_param_nth(type, i, &name, &size, &part) &&
                   match_part(true, &part, params[i].type);
    }
    return is_match && match_part(wasmtime_component_func_type_result(type, &part), &part, result);
}
