// SPDX-License-Identifier: Apache-2.0
//
// UTF-8 validation. Every text that a guest hands over passes here, so its speed over ASCII is on
// the way of an event. libunistring's u8_check is correct but goes byte by byte (a megabyte takes
// it most of a millisecond); simdutf is C++ and not in Debian 12. Table 3-7 of the Unicode standard
// is short enough to be read at a glance.
//
// A text that is copied anyway is checked on the way (weir_utf8_copy): each word is in a register
// then, and a second pass over a body of 64 KiB would cost as much as the copy. Copying and
// checking it piece by piece, with a pass over each, gains nothing. Any thread.
#include "base/str.h"

#include <stdint.h>
#include <stdlib.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

char *weir_str_copy(struct weir_str text) {
    char *copy = malloc(text.size + 1);
    if (copy) {
        memcpy(copy, text.data ? text.data : "", text.size);
        copy[text.size] = '\0';
    }
    return copy;
}

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

// What one vector register of every processor holds; the compiler knows which instructions move it.
typedef uint64_t pair __attribute__((vector_size(16)));

static inline pair copy_pair(unsigned char *to, const unsigned char *from) {
    pair bytes;
    memcpy(&bytes, from, sizeof bytes);
    memcpy(to, &bytes, sizeof bytes);
    return bytes;
}

static inline uint64_t copy_u64(unsigned char *to, const unsigned char *from) {
    uint64_t bytes = load_u64(from);
    memcpy(to, &bytes, sizeof bytes);
    return bytes;
}

static inline uint64_t copy_u32(unsigned char *to, const unsigned char *from) {
    uint32_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    memcpy(to, &bytes, sizeof bytes);
    return bytes;
}

// Copies `size` bytes, at least a pair. Returns the bits that any of them has, in the place that it
// has in its word. The last pair overlaps what was copied before.
static uint64_t copy_long(unsigned char *to, const unsigned char *from, size_t size) {
    enum { PAIR = sizeof(pair), BLOCK = 4 * PAIR };
    size_t done = 0;
    pair seen = copy_pair(to + size - PAIR, from + size - PAIR);
    for (; size - done >= BLOCK; done += BLOCK) {
        seen |= copy_pair(to + done, from + done);
        seen |= copy_pair(to + done + PAIR, from + done + PAIR);
        seen |= copy_pair(to + done + 2 * PAIR, from + done + 2 * PAIR);
        seen |= copy_pair(to + done + 3 * PAIR, from + done + 3 * PAIR);
    }
    for (; size - done >= PAIR; done += PAIR) {
        seen |= copy_pair(to + done, from + done);
    }
    return seen[0] | seen[1];
}

// The same for any size.
static inline uint64_t copy_bits(unsigned char *to, const unsigned char *from, size_t size) {
    if (size >= sizeof(pair)) {
        return copy_long(to, from, size);
    }
    if (size >= 8) {
        return copy_u64(to, from) | copy_u64(to + size - 8, from + size - 8);
    }
    if (size >= 4) {
        return copy_u32(to, from) | copy_u32(to + size - 4, from + size - 4);
    }
    uint64_t seen = 0;
    for (size_t i = 0; i < size; i++) {
        to[i] = from[i];
        seen |= from[i];
    }
    return seen;
}

bool weir_utf8_copy(char *to, struct weir_str text) {
    uint64_t seen = copy_bits((unsigned char *)to, (const unsigned char *)text.data, text.size);
    return (seen & HIGH_BITS) == 0 ||
           weir_utf8_valid((struct weir_str){.data = to, .size = text.size});
}

size_t weir_utf8_char_bytes(struct weir_str text) {
    if (text.size == 0) {
        return 0;
    }
    const unsigned char *bytes = (const unsigned char *)text.data;
    return bytes[0] < 0x80 ? 1 : sequence_bytes(bytes, text.size);
}

struct weir_str weir_str_trim(struct weir_str text) {
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}
