// SPDX-License-Identifier: Apache-2.0
//
// Numbers as digits. On the way of an event they are written often (ids, lengths, places in a log),
// and each printf costs some hundreds of instructions for looking at its format. Without a NUL.
// Pure functions, any thread.
#ifndef WEIR_BASE_DIGITS_H
#define WEIR_BASE_DIGITS_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_DECIMAL_BYTES_MAX = 20, // of any number, with its sign
    WEIR_HEX_BYTES = 16,
};

// Without leading zeros. Returns how many bytes that is.
size_t weir_decimal(uint64_t number, char ret_text[static WEIR_DECIMAL_BYTES_MAX]);
size_t weir_decimal_signed(int64_t number, char ret_text[static WEIR_DECIMAL_BYTES_MAX]);

// Reads decimal digits and nothing else: at least one, and no number that is too large.
bool weir_decimal_read(struct weir_str text, uint64_t *ret_number);

// All 16 digits, in the letters that are given: "0123456789abcdef", or capitals.
void weir_hex(uint64_t number, const char letters[static 16], char ret_text[static WEIR_HEX_BYTES]);
#define WEIR_HEX_LOWER "0123456789abcdef"
#define WEIR_HEX_UPPER "0123456789ABCDEF"

#endif
