// SPDX-License-Identifier: Apache-2.0
//
// See base64.h.
#include "base/base64.h"

#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void weir_base64_encode(struct weir_str bytes, char *ret_text) {
    const unsigned char *from = (const unsigned char *)bytes.data;
    char *to = ret_text;
    for (size_t at = 0; at < bytes.size; at += 3) {
        size_t left = bytes.size - at;
        unsigned group = (unsigned)from[at] << 16 | (left > 1 ? (unsigned)from[at + 1] << 8 : 0) |
                         (left > 2 ? (unsigned)from[at + 2] : 0);
        *to++ = letters[group >> 18];
        *to++ = letters[group >> 12 & 63];
        *to++ = left > 1 ? letters[group >> 6 & 63] : '=';
        *to++ = left > 2 ? letters[group & 63] : '=';
    }
}

// The value of a letter; -1: it is none.
static int value_of(char letter) {
    const char *found = letter != '\0' ? strchr(letters, letter) : NULL;
    return found ? (int)(found - letters) : -1;
}

bool weir_base64_decode(struct weir_str text, char *ret_bytes, size_t *ret_size) {
    if (text.size % 4 != 0) {
        return false;
    }
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=') {
        padding++;
    }
    unsigned group = 0;
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool is_padding = i >= text.size - padding;
        int value = is_padding ? 0 : value_of(text.data[i]);
        if (value < 0) {
            return false;
        }
        group = group << 6 | (unsigned)value;
        if (i % 4 == 3) {
            ret_bytes[size++] = (char)(group >> 16);
            ret_bytes[size++] = (char)(group >> 8);
            ret_bytes[size++] = (char)group;
            // Bits that the padding leaves over are 0, or two texts would be the same bytes.
            bool is_last = i + 1 == text.size;
            if (is_last && (group & ((1U << (8 * padding)) - 1)) != 0) {
                return false;
            }
            group = 0;
        }
    }
    *ret_size = size - padding;
    return true;
}
