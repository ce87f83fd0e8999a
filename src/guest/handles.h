// SPDX-License-Identifier: Apache-2.0
//
// The resource handles of one instance: numbers that the guest holds for things that the host
// keeps. A handle carries the generation of its slot, so that a number kept beyond its drop is told
// from the slot's next use. A table belongs to one instance: a handle of another instance is at
// best unknown here. Used on the thread that runs the instance.
#ifndef WEIR_GUEST_HANDLES_H
#define WEIR_GUEST_HANDLES_H

#include "base/error.h"

#include <stdint.h>

enum { WEIR_HANDLES_MAX = 65535 };

struct weir_handle_slot {
    void *thing;         // what the handle stands for; not owned
    uint16_t generation; // 15 bits, so that a handle is positive as an i32
    uint16_t next_free;  // index + 1; 0: none
    uint8_t kind;        // of thing; 0: the slot is free
};

struct weir_handles {
    struct weir_handle_slot *slots; // grows up to count_max
    uint32_t capacity, count, count_max;
    uint16_t first_free; // index + 1; 0: none
};

// An empty table for at most count_max (1 to WEIR_HANDLES_MAX) handles; allocates nothing yet.
void weir_handles_init(struct weir_handles *handles, uint32_t count_max);

// Calls `drop` (NULL: nothing) for each thing that still has a handle, then frees the table.
void weir_handles_finish(struct weir_handles *handles,
                         void (*drop)(void *context, uint8_t kind, void *thing), void *context);

// A new handle for a thing of some kind, not 0. WEIR_LIMIT beyond count_max, WEIR_NO_MEMORY.
weir_status weir_handles_add(struct weir_handles *handles, uint8_t kind, void *thing,
                             uint32_t *ret_handle, struct weir_error *err);

// What a handle stands for. WEIR_TRAPPED where it was never given, has been dropped, or is of
// another kind.
weir_status weir_handles_get(const struct weir_handles *handles, uint8_t kind, uint32_t handle,
                             void **ret_thing, struct weir_error *err);

// Ends a handle and returns what it stood for. As weir_handles_get.
weir_status weir_handles_remove(struct weir_handles *handles, uint8_t kind, uint32_t handle,
                                void **ret_thing, struct weir_error *err);

#endif
