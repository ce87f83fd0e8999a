// SPDX-License-Identifier: Apache-2.0
//
// A block of memory that is kept between its uses. A megabyte that is allocated for each event
// comes from the system and goes back to it, and each of its pages is asked for anew: that costs
// several times what is then done with it.
//
// A slot has at most one block, of at most WEIR_SPARE_BYTES_MAX; who finds it empty allocates. Any
// number of threads may use a slot at a time. A slot that is all zero is empty.
#ifndef WEIR_GUEST_SPARE_H
#define WEIR_GUEST_SPARE_H

#include <stdatomic.h>
#include <stddef.h>

enum { WEIR_SPARE_BYTES_MAX = 4 * 1024 * 1024 }; // a larger block is not kept

struct weir_spare;
typedef _Atomic(struct weir_spare *) weir_spare_slot;

// Room for that many bytes, by the block that is held, or the slot's, or a new one, which is held
// then. What was in it before is lost. NULL: no memory.
char *weir_spare_take(weir_spare_slot *slot, struct weir_spare **held, size_t size);
// Gives back the block that is held, to the slot or to the system. NULL may be held.
void weir_spare_give_back(weir_spare_slot *slot, struct weir_spare **held);
// Empties a slot that nobody uses any more.
void weir_spare_free(weir_spare_slot *slot);

#endif
