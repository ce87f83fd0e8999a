// SPDX-License-Identifier: Apache-2.0
//
// Guests whose cabi_realloc or cabi_post_ is broken, built without any library. REALLOC and POST,
// given by the build, are functions below; the handler answers ok(none).
//
// Proves: the host checks what a guest's allocator returns before it writes there, calls it under
// the same bounds as the handler, and takes a failure in either for a failed call.
#include <stdint.h>

enum { MEMORY_BYTES = 1 << 20 };

static _Alignas(8) unsigned char memory[MEMORY_BYTES];
static uint32_t used;
static volatile uint32_t sink;

static inline uintptr_t realloc_good(uint32_t align, uint32_t size) {
    uint32_t start = (used + align - 1) & ~(align - 1);
    if (start > MEMORY_BYTES || size > MEMORY_BYTES - start)
        __builtin_trap();
    used = start + size;
    return (uintptr_t)memory + start;
}

// Null, which is inside of the memory, and no guest's answer to a request that succeeded.
static inline uintptr_t realloc_null(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    return 0;
}

static inline uintptr_t realloc_outside(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    return 0xfffffff8u;
}

// Begins inside, ends outside.
static inline uintptr_t realloc_across_end(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    return __builtin_wasm_memory_size(0) * 65536 - 8;
}

static inline uintptr_t realloc_unaligned(uint32_t align, uint32_t size) {
    return realloc_good(align, size + 1) + 1;
}

// The same block each time: what the host wrote first is overwritten by what it writes next.
// Harmless to the host.
static inline uintptr_t realloc_same(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    return (uintptr_t)memory;
}

// Over the module's own data and stack. Harmless to the host, too.
static inline uintptr_t realloc_low(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    return 8;
}

static inline uintptr_t realloc_trap(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    __builtin_trap();
}

static inline uintptr_t realloc_loop(uint32_t align, uint32_t size) {
    (void)align, (void)size;
    for (;;)
        sink++;
}

// The memory grows, and so perhaps moves, between any two of the host's writes.
static inline uintptr_t realloc_grow(uint32_t align, uint32_t size) {
    __builtin_wasm_memory_grow(0, 1);
    return realloc_good(align, size);
}

__attribute__((export_name("cabi_realloc"))) uintptr_t cabi_realloc(uintptr_t old,
                                                                    uint32_t old_size,
                                                                    uint32_t align, uint32_t size) {
    (void)old, (void)old_size;
    return REALLOC(align, size);
}

__attribute__((export_name("weir:reactive/event-handler@0.1.0#handle-event"))) uintptr_t
handle_event(uintptr_t event) {
    static const uint32_t ok_none[28];
    (void)event;
    return (uintptr_t)ok_none;
}

static inline void post_good(void) {
    used = 0;
}

static inline void post_trap(void) {
    __builtin_trap();
}

static inline void post_loop(void) {
    for (;;)
        sink++;
}

__attribute__((export_name("cabi_post_weir:reactive/event-handler@0.1.0#handle-event"))) void
post(uintptr_t result) {
    (void)result;
    POST();
}
