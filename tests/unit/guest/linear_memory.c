// SPDX-License-Identifier: Apache-2.0
//
// See linear_memory.h.
#include "unit/guest/linear_memory.h"

#include "unit/test.h"

static weir_status allocate(struct weir_linear_memory *linear, struct weir_block *blocks,
                            size_t count, struct weir_error *err) {
    struct test_memory *memory = linear->context;
    for (size_t i = 0; i < count; i++) {
        if (memory->allocations++ == memory->fails_at) {
            return weir_fail(err, WEIR_TRAPPED, "the guest trapped");
        }
        blocks[i].address = (memory->next + blocks[i].align - 1) & ~(blocks[i].align - 1);
        memory->next = blocks[i].address + blocks[i].size;
        if (memory->is_hostile) {
            blocks[i].address = memory->answer;
        }
    }
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
