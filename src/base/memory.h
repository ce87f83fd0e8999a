// SPDX-License-Identifier: Apache-2.0
//
// What the program asks of the C library's allocator.
#ifndef WEIR_BASE_MEMORY_H
#define WEIR_BASE_MEMORY_H

// Has freed memory stay with the program up to a bound, instead of being given back to the system
// and asked for again with the next event. Once, before threads are made; does nothing where the C
// library knows no such thing.
void weir_memory_keep(void);

#endif
