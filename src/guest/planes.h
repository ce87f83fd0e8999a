// SPDX-License-Identifier: Apache-2.0
//
// Bytes as two texts: the low seven bits of each, which are ASCII, and the high bits, seven to a
// character. Between weir and a component text is copied, and a list of bytes is made of one value
// of 32 bytes for each byte (annex.c).
//
// In a block of 56 bytes, byte 8 * j + i has its high bit in bit j of character i: so eight bytes
// are done at a time, and none of the characters has its own high bit set. The last block may be
// shorter; it has eight characters, too. Any thread.
#ifndef WEIR_GUEST_PLANES_H
#define WEIR_GUEST_PLANES_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum { WEIR_PLANES_BLOCK_BYTES = 56, WEIR_PLANES_HIGH_BYTES = 8 }; // of a block

// Whether any byte has its high bit set. Where none has, the bytes are text as they are.
bool weir_planes_has_high(struct weir_str bytes);

// The characters of the high bits of so many bytes.
size_t weir_planes_high_size(size_t size);

// Takes bytes apart: `ret_low` has room for bytes.size, `ret_high` for weir_planes_high_size of it.
void weir_planes_split(struct weir_str bytes, char *ret_low, char *ret_high);

// Of how many bytes this is the text, low bits and behind them high ones. False: of none.
bool weir_planes_joined_size(size_t packed_size, size_t *ret_size);
// Puts them together again: `ret_bytes` has room for weir_planes_joined_size.
void weir_planes_join(struct weir_str packed, char *ret_bytes);

#endif
