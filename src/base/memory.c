// SPDX-License-Identifier: Apache-2.0
//
// glibc gives the end of a heap back to the system as soon as 128 KiB of it are free. An event of
// 64 KiB in the component lane is copied often enough to pass that with each call, and its pages
// are then taken back and faulted in anew: 57 us instead of 24 for an event that is handed over and
// returned. From the same size on it maps each block for itself, until it has learnt better.
//
// To name one of the two bounds turns off what glibc learns about both, so both are named.
#include "base/memory.h"

#include <malloc.h>

enum {
    KEPT_BYTES = 16 * 1024 * 1024,  // free at the end of a heap, of which there is one a thread
    MAPPED_BYTES = 4 * 1024 * 1024, // from there on a block is mapped for itself
};

void weir_memory_keep(void) {
#ifdef M_TRIM_THRESHOLD
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
#endif
}
