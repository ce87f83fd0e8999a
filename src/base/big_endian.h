// SPDX-License-Identifier: Apache-2.0
//
// Numbers as bytes, the highest first, as protocols and positions have them. Pure functions, any
// thread.
#ifndef WEIR_BASE_BIG_ENDIAN_H
#define WEIR_BASE_BIG_ENDIAN_H

#include <stdint.h>

// Writes the lowest `bytes` bytes of a number, at most 8. Returns what is behind them.
static inline char *weir_put_big_endian(char *at, uint64_t number, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
        *at++ = (char)(number >> shift);
    }
    return at;
}

// Reads a number of `bytes` bytes, which are there, and moves *at behind it.
static inline uint64_t weir_take_big_endian(const char **at, int bytes) {
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) {
        number = number << 8 | (unsigned char)*(*at)++;
    }
    return number;
}

#endif
