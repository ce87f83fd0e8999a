// SPDX-License-Identifier: Apache-2.0
//
// A view of bytes: pointer and length, no terminator, no ownership. What a view points to outlives
// the view, and who owns it is said where a view is returned or kept. Keys and values may hold any
// byte, hence not `char *` alone.
#ifndef WEIR_BASE_STR_H
#define WEIR_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct weir_str {
    const char *data; // may be NULL where size is 0
    size_t size;      // bytes
};

// For printf's "%.*s".
#define WEIR_STR_ARG(s) (int)(s).size, (s).data ? (s).data : ""
// A view of a string literal.
#define WEIR_STR(literal) ((struct weir_str){.data = "" literal, .size = sizeof(literal) - 1})

static inline struct weir_str weir_str_of(const char *text) {
    return (struct weir_str){.data = text, .size = text ? strlen(text) : 0};
}

static inline bool weir_str_equal(struct weir_str a, struct weir_str b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool weir_str_has_prefix(struct weir_str text, struct weir_str prefix) {
    return text.size >= prefix.size &&
           (prefix.size == 0 || memcmp(text.data, prefix.data, prefix.size) == 0);
}

// The text without the blanks and tabs at its ends, as HTTP and those who follow it have around
// values.
struct weir_str weir_str_trim(struct weir_str text);

// The bytes with a NUL behind them, to be freed with free(); what follows a NUL among them is there
// too. NULL: no memory.
char *weir_str_copy(struct weir_str text);

// Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most
// U+10FFFF). Some 10 GB/s over ASCII, see bench/.
bool weir_utf8_valid(struct weir_str text);

// Copies the text to `to`, text.size bytes that do not overlap it, and tells whether it is
// well-formed UTF-8. ASCII costs no more than the copy alone.
bool weir_utf8_copy(char *to, struct weir_str text);

// The length of the well-formed UTF-8 character at the start of the text, 1 to 4; 0 where there is
// none.
size_t weir_utf8_char_bytes(struct weir_str text);

#endif
