// SPDX-License-Identifier: Apache-2.0
//
// The canonical ABI over a guest's linear memory: lowering writes a host value into it, lifting
// reads one out of it. Both walk the tables of wit.h. The memory is described by an address, a size
// and an allocator, not by an engine, so that a fuzzer can be the guest.
//
// What a guest hands over is hostile until checked: each pointer for alignment and bounds, each
// length for the bounds and for what is left of the caller's allowance, each text for UTF-8, each
// discriminant for its range. Nothing outside [base, base + size) is read or written.
#ifndef WEIR_GUEST_CANON_H
#define WEIR_GUEST_CANON_H

#include "base/error.h"
#include "guest/wit.h"

#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_CANON_SCRATCH_BYTES = 4096, // room for the lists of one value, enough for an event's
    // Blocks of one value that is lowered. Those of an event find room on the stack: twenty, and
    // two texts for each extension.
    WEIR_CANON_ROOM_BLOCKS = 20 + 2 * WEIR_EXTENSIONS_MAX,
    WEIR_CANON_BLOCKS_MAX = 64 * 1024,
};

// A new block of a guest's memory.
struct weir_block {
    uint32_t size;    // bytes, not 0
    uint32_t align;   // a power of two
    uint32_t address; // the guest's answer
};

struct weir_linear_memory {
    uint8_t *base; // fixed while the memory lives
    size_t size;   // bytes; grows while the guest runs, never shrinks
    // Calls the guest's cabi_realloc for each block, in order. Leaves the addresses as the guest
    // gave them, unchecked, and sets the memory's size anew. WEIR_TRAPPED and others with err.
    weir_status (*allocate)(struct weir_linear_memory *memory, struct weir_block *blocks,
                            size_t count, struct weir_error *err);
    void *context;           // for `allocate`
    uint64_t bytes_max;      // texts and lists of one value, in sum
    const char *bytes_bound; // the configuration key of bytes_max, for messages
};

// Whether `bytes` bytes at `address` are aligned (to a power of two) and inside the memory.
static inline bool weir_linear_memory_holds(const struct weir_linear_memory *memory,
                                            uint32_t address, uint64_t bytes, uint32_t align) {
    return (address & (align - 1)) == 0 && bytes <= memory->size && address <= memory->size - bytes;
}

// Where lifted lists are put. Use weir_canon_scratch_init and weir_canon_scratch_finish; the bytes
// need no initialisation, and should get none.
struct weir_scratch {
    size_t used;
    struct scratch_block *blocks; // what does not fit
    _Alignas(16) unsigned char bytes[WEIR_CANON_SCRATCH_BYTES];
};
static inline void weir_canon_scratch_init(struct weir_scratch *scratch) {
    scratch->used = 0;
    scratch->blocks = NULL;
}
void weir_canon_scratch_finish(struct weir_scratch *scratch);

// Allocates room for a value of `type` in the guest and stores `host` there; ret_address is the
// pointer to pass. WEIR_LIMIT where the value is larger than bytes_max; WEIR_TRAPPED where the
// guest's allocator misbehaves. After a failure the guest holds blocks that nobody will free: its
// instance is not to be used again.
weir_status weir_canon_lower_new(struct weir_linear_memory *memory,
                                 const struct weir_wit_type *type, const void *host,
                                 uint32_t *ret_address, struct weir_error *err);

// Stores `host` at an address that the guest gave (a return pointer), which is checked.
weir_status weir_canon_lower_at(struct weir_linear_memory *memory, const struct weir_wit_type *type,
                                const void *host, uint32_t address, struct weir_error *err);

// Lowers a function's parameters, which are scalars, handles, texts and lists of bytes, as core
// values, each in the low bits of an element of `ret_flat`. As weir_canon_lower_new otherwise.
weir_status weir_canon_lower_params(struct weir_linear_memory *memory,
                                    const struct weir_wit_field *params, uint32_t param_count,
                                    const void *host, uint64_t *ret_flat, struct weir_error *err);

// Loads the value of `type` at `address` into `ret_host` (host_size bytes). Texts are views into
// the guest's memory and lists views into `scratch`: they are valid until the guest runs again.
// WEIR_TRAPPED where the guest broke a rule, WEIR_LIMIT where a bound was passed; the message names
// the field.
weir_status weir_canon_lift(struct weir_linear_memory *memory, const struct weir_wit_type *type,
                            uint32_t address, void *ret_host, struct weir_scratch *scratch,
                            struct weir_error *err);

// As weir_canon_lift, but nobody has read the texts: that they are UTF-8 is left to be checked by
// whoever copies them, who can do it on the way (weir_event_new_checked, weir_utf8_copy).
weir_status weir_canon_lift_unread(struct weir_linear_memory *memory,
                                   const struct weir_wit_type *type, uint32_t address,
                                   void *ret_host, struct weir_scratch *scratch,
                                   struct weir_error *err);

// How many core values a value of `type` is passed as. The cases of a variant have to be passed as
// values of the same widths: no imported function takes another one.
uint32_t weir_canon_flat_count(const struct weir_wit_type *type);

// Whether a type's flat values are i64 at `index`, else i32.
bool weir_canon_flat_is_64(const struct weir_wit_type *type, uint32_t index);

// Loads a function's parameters from core values (each in the low bits of an element of `flat`)
// into the host struct. As weir_canon_lift otherwise.
weir_status weir_canon_lift_params(struct weir_linear_memory *memory,
                                   const struct weir_wit_function *function, const uint64_t *flat,
                                   void *ret_host, struct weir_scratch *scratch,
                                   struct weir_error *err);

#endif
