// SPDX-License-Identifier: Apache-2.0
//
// UTF-8 validation. Every text that a guest hands over passes here, so its speed over ASCII is on the way of an
// event. libunistring's u8_check is correct but goes byte by byte (a megabyte takes it most of a millisecond);
// simdutf is C++ and not in Debian 12. Table 3-7 of the Unicode standard is short enough to be read at a glance.
// Any thread.
#include "base/str.h"

#include <stdint.h>

enum { ASCII_BLOCK_BYTES = 32 };

// How many bytes at the start are ASCII, in whole blocks.
static size_t ascii_blocks(const unsigned char *bytes, size_t size) {
    size_t done = 0;
    while (size - done >= ASCII_BLOCK_BYTES) {
        uint64_t words[ASCII_BLOCK_BYTES / sizeof(uint64_t)];
        memcpy(words, bytes + done, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) & UINT64_C(0x8080808080808080)) {
            break;
        }
        done += ASCII_BLOCK_BYTES;
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
            size_t skipped = ascii_blocks(bytes + at, text.size - at);
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
