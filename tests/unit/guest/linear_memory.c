// SPDX-License-Identifier: Apache-2.0
//
// See linear_memory.h.
#include "unit/guest/linear_memory.h"

#include "unit/test.h"

static weir_status allocate(struct weir_linear_memory *linear, uint32_t size, uint32_t align,
                            uint32_t *ret_address, struct weir_error *err) {
    struct test_memory *memory = linear->context;
    if (memory->allocations++ == memory->fails_at) {
        return weir_fail(err, WEIR_TRAPPED, "the guest trapped");
    }
    if (memory->is_hostile) {
        *ret_address = memory->answer;
        return WEIR_OK;
    }
    *ret_address = (memory->next + align - 1) & ~(align - 1);
    memory->next = *ret_address + size;
    return WEIR_OK;
}

void test_memory_init(struct test_memory *memory, size_t size, uint32_t first) {
    *memory = (struct test_memory){
        .linear = {.base = malloc(size ? size : 1),
                   .size = size,
                   .allocate = allocate,
                   .context = memory,
                   .bytes_max = 1024 * 1024,
                   .bytes_bound = "bounds.event"},
        .next = first,
        .fails_at = SIZE_MAX,
    };
    REQUIRE(memory->linear.base);
    memset(memory->linear.base, 0xEE, size);
}

void test_memory_finish(struct test_memory *memory) {
    free(memory->linear.base);
}
