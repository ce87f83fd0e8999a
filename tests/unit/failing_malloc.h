// SPDX-License-Identifier: Apache-2.0
//
// An allocator that fails once, at a chosen allocation. For programs that are linked with
// -Wl,--wrap=malloc,--wrap=calloc,... (test_link_args in tests/meson.build): it sees what weir and
// the test allocate, not what libraries allocate for themselves.
#ifndef WEIR_TESTS_UNIT_FAILING_MALLOC_H
#define WEIR_TESTS_UNIT_FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

// From now on the allocation of this number, from 1, fails, on whatever thread it is made; the
// others succeed.
void failing_malloc_arm(size_t number);
// Ends that. Returns whether an allocation has failed since.
bool failing_malloc_disarm(void);
bool failing_malloc_has_failed(void);

#endif
