// SPDX-License-Identifier: Apache-2.0
//
// A linear memory without an engine: a block of exactly its size, so that AddressSanitizer sees
// each access outside.
#ifndef WEIR_TESTS_UNIT_GUEST_LINEAR_MEMORY_H
#define WEIR_TESTS_UNIT_GUEST_LINEAR_MEMORY_H

#include "guest/canon.h"

struct test_memory {
    struct weir_linear_memory linear;
    uint32_t next;   // where the next block comes from
    uint32_t answer; // with is_hostile: what `allocate` answers
    bool is_hostile;
    size_t allocations;
    size_t fails_at; // the allocation of that number answers WEIR_TRAPPED; SIZE_MAX: none
};

// Blocks come from `first` on. Ends the program where there is no memory.
void test_memory_init(struct test_memory *memory, size_t size, uint32_t first);
void test_memory_finish(struct test_memory *memory);

#endif
