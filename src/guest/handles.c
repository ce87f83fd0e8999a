// SPDX-License-Identifier: Apache-2.0
//
// A handle is generation << 16 | index + 1: never 0, positive as an i32, and a slot's handles
// repeat only after 32768 uses of it. Freed slots are used again last in, first out.
#include "guest/handles.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 8, GENERATION_MASK = 0x7FFF };

void weir_handles_init(struct weir_handles *handles, uint32_t count_max) {
    *handles = (struct weir_handles){.count_max = count_max < WEIR_HANDLES_MAX ? count_max
                                                                               : WEIR_HANDLES_MAX};
}

void weir_handles_finish(struct weir_handles *handles,
                         void (*drop)(void *context, uint8_t kind, void *thing), void *context) {
    for (uint32_t i = 0; i < handles->capacity; i++) {
        if (drop && handles->slots[i].kind != 0) {
            drop(context, handles->slots[i].kind, handles->slots[i].thing);
        }
    }
    free(handles->slots);
    *handles = (struct weir_handles){0};
}

static weir_status grow(struct weir_handles *handles, struct weir_error *err) {
    uint32_t capacity = handles->capacity ? handles->capacity * 2 : CAPACITY_FIRST;
    if (capacity > handles->count_max) {
        capacity = handles->count_max;
    }
    struct weir_handle_slot *slots = realloc(handles->slots, capacity * sizeof *slots);
    if (!slots) {
        return weir_fail_no_memory(err, "handles");
    }
    for (uint32_t i = capacity; i-- > handles->capacity;) {
        slots[i] = (struct weir_handle_slot){.next_free = handles->first_free};
        handles->first_free = (uint16_t)(i + 1);
    }
    handles->slots = slots;
    handles->capacity = capacity;
    return WEIR_OK;
}

weir_status weir_handles_add(struct weir_handles *handles, uint8_t kind, void *thing,
                             uint32_t *ret_handle, struct weir_error *err) {
    if (handles->count == handles->count_max) {
        return weir_fail(err, WEIR_LIMIT, "%u handles are alive, bounds.handles allows no more",
                         handles->count);
    }
    if (handles->first_free == 0) {
        weir_status status = grow(handles, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    uint32_t index = handles->first_free - 1u;
    struct weir_handle_slot *slot = &handles->slots[index];
    handles->first_free = slot->next_free;
    slot->generation = (slot->generation + 1) & GENERATION_MASK;
    slot->kind = kind;
    slot->thing = thing;
    handles->count++;
    *ret_handle = (uint32_t)slot->generation << 16 | (index + 1);
    return WEIR_OK;
}

static weir_status find(const struct weir_handles *handles, uint8_t kind, uint32_t handle,
                        uint32_t *ret_index, struct weir_error *err) {
    uint32_t index = (handle & 0xFFFF) - 1; // 0 wraps to what no table has
    if (index >= handles->capacity || handles->slots[index].kind == 0 ||
        handles->slots[index].generation != handle >> 16) {
        return weir_fail(
            err, WEIR_TRAPPED,
            "handle %u is not one of this instance's: it was never given, or has been dropped",
            handle);
    }
    if (handles->slots[index].kind != kind) {
        return weir_fail(err, WEIR_TRAPPED, "handle %u is of another kind of resource", handle);
    }
    *ret_index = index;
    return WEIR_OK;
}

weir_status weir_handles_get(const struct weir_handles *handles, uint8_t kind, uint32_t handle,
                             void **ret_thing, struct weir_error *err) {
    uint32_t index = 0;
    weir_status status = find(handles, kind, handle, &index, err);
    *ret_thing = status == WEIR_OK ? handles->slots[index].thing : NULL;
    return status;
}

weir_status weir_handles_remove(struct weir_handles *handles, uint8_t kind, uint32_t handle,
                                void **ret_thing, struct weir_error *err) {
    uint32_t index = 0;
    weir_status status = find(handles, kind, handle, &index, err);
    if (status != WEIR_OK) {
        *ret_thing = NULL;
        return status;
    }
    struct weir_handle_slot *slot = &handles->slots[index];
    *ret_thing = slot->thing;
    slot->kind = 0;
    slot->thing = NULL;
    slot->next_free = handles->first_free;
    handles->first_free = (uint16_t)(index + 1);
    handles->count--;
    return WEIR_OK;
}
