// SPDX-License-Identifier: Apache-2.0
//
// See text.h.
#include "base/text.h"

#include "base/base64.h"
#include "base/digits.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 512 };

void weir_text_finish(struct weir_text *text) {
    free(text->data);
    *text = (struct weir_text){0};
}

static bool grow(struct weir_text *text, size_t more) {
    size_t room = text->room > 0 ? text->room : FIRST_BYTES;
    while (room - text->size < more) {
        if (room > SIZE_MAX / 2) {
            return false;
        }
        room *= 2;
    }
    char *grown = realloc(text->data, room);
    if (grown) {
        text->data = grown;
        text->room = room;
    }
    return grown != NULL;
}

// Where the next bytes go. NULL: there is no memory for so many, or was none before.
static char *place_for(struct weir_text *text, size_t more) {
    bool has_room = text->data && text->room - text->size >= more;
    if (!has_room && (text->lacks_memory || !grow(text, more))) {
        text->lacks_memory = true;
        text->room = text->size;
        return NULL;
    }
    return text->data + text->size;
}

void weir_text_put_and_grow(struct weir_text *text, struct weir_str piece) {
    char *at = place_for(text, piece.size);
    if (at) {
        memcpy(at, piece.data, piece.size);
        text->size += piece.size;
    }
}

void weir_text_put_number(struct weir_text *text, int64_t number) {
    char *at = place_for(text, WEIR_DECIMAL_BYTES_MAX);
    text->size += at ? weir_decimal_signed(number, at) : 0;
}

// ---- JSON ----

static bool is_coded(unsigned char byte) {
    return byte < 0x20 || byte == '"' || byte == '\\';
}

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

// Not 0 where one of eight bytes is below `limit`, which is at most 0x80. Where none is, 0.
static uint64_t has_below(uint64_t word, uint64_t limit) {
    return (word - EACH_BYTE(limit)) & ~word & EACH_BYTE(0x80);
}

// How many bytes at the start are not coded: eight at a time, of which most texts have nothing
// else.
static size_t plain_bytes(const char *bytes, size_t size) {
    size_t at = 0;
    for (uint64_t word; size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        if (has_below(word, 0x20) | has_below(word ^ EACH_BYTE('"'), 1) |
            has_below(word ^ EACH_BYTE('\\'), 1)) {
            break;
        }
    }
    while (at < size && !is_coded((unsigned char)bytes[at])) {
        at++;
    }
    return at;
}

static void put_coded(struct weir_text *text, unsigned char byte) {
    static const char hex[] = "0123456789ABCDEF";
    static const char letters[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
                                   ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};
    if (letters[byte]) {
        weir_text_put(text, (struct weir_str){(char[]){'\\', letters[byte]}, 2});
    } else {
        const char code[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
        weir_text_put(text, (struct weir_str){code, sizeof code});
    }
}

void weir_text_put_json(struct weir_text *text, struct weir_str string) {
    weir_text_put(text, WEIR_STR("\""));
    for (size_t at = 0; at < string.size;) {
        size_t plain = plain_bytes(string.data + at, string.size - at);
        weir_text_put(text, (struct weir_str){string.data + at, plain});
        at += plain;
        if (at < string.size) {
            put_coded(text, (unsigned char)string.data[at++]);
        }
    }
    weir_text_put(text, WEIR_STR("\""));
}

void weir_text_put_json_binary(struct weir_text *text, struct weir_str bytes) {
    size_t size = weir_base64_size(bytes.size);
    weir_text_put(text, WEIR_STR("{\"$binary\":{\"base64\":\""));
    char *at = place_for(text, size);
    if (at) {
        weir_base64_encode(bytes, at);
        text->size += size;
    }
    weir_text_put(text, WEIR_STR("\",\"subType\":\"00\"}}"));
}
