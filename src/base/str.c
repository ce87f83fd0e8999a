// SPDX-License-Identifier: Apache-2.0
//
// UTF-8 validation. Every text that a guest hands over passes here, so its speed over ASCII is on
// the way of an event. libunistring's u8_check is correct but goes byte by byte (a megabyte takes
// it most of a millisecond); simdutf is C++ and not in Debian 12. Table 3-7 of the Unicode standard
// is short enough to be read at a glance. Tried and left: vector code, and checking a body piece by
// piece while it is copied; neither gains what can be measured. Any thread.
#include "base/str.h"

#include <stdint.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static uint64_t load_u64(const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

// How many bytes at the start are ASCII, give or take: never more than there are, and all of them
// if all are. Most texts of an event are short, so the last bytes are looked at by one load that
// overlaps what was seen before.
static size_t ascii_prefix(const unsigned char *bytes, size_t size) {
    enum { WORD = sizeof(uint64_t), BLOCK = 4 * WORD };
    size_t done = 0;
    while (size - done >= BLOCK) {
        const unsigned char *at = bytes + done;
        if ((load_u64(at) | load_u64(at + WORD) | load_u64(at + 2 * WORD) |
             load_u64(at + 3 * WORD)) &
            HIGH_BITS) {
            return done;
        }
        done += BLOCK;
    }
    while (size - done >= WORD) {
        if (load_u64(bytes + done) & HIGH_BITS) {
            return done;
        }
        done += WORD;
    }
    if (size >= WORD && !(load_u64(bytes + size - WORD) & HIGH_BITS)) {
        return size;
    }
    while (done < size && bytes[done] < 0x80) {
        done++;
    }
    return done;
}

static bool is_continuation(unsigned char byte) {
    return (byte & 0xC0) == 0x80;
}

// The length of the well-formed sequence of two to four bytes at `bytes`, 0 where there is none.
static size_t sequence_bytes(const unsigned char *bytes, size_t size) {
    unsigned char lead = bytes[0];
    size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                    : lead >= 0xE0 && lead <= 0xEF ? 3
                    : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                   : 0;
    if (length == 0 || size < length) {
        return 0;
    }
    // The second byte's range shuts out overlong forms, surrogates and what lies beyond U+10FFFF.
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (!is_continuation(bytes[i])) {
            return 0;
        }
    }
    return length;
}

bool weir_utf8_valid(struct weir_str text) {
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t at = 0;
    while (at < text.size) {
        if (bytes[at] < 0x80) {
            size_t skipped = ascii_prefix(bytes + at, text.size - at);
            at += skipped ? skipped : 1;
            continue;
        }
        size_t length = sequence_bytes(bytes + at, text.size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

size_t weir_utf8_char_bytes(struct weir_str text) {
    if (text.size == 0) {
        return 0;
    }
    const unsigned char *bytes = (const unsigned char *)text.data;
    return bytes[0] < 0x80 ? 1 : sequence_bytes(bytes, text.size);
}
