// SPDX-License-Identifier: Apache-2.0
//
// Bytes of others (names, values, keys) made fit to stand in a message: on one line, unable to
// steer a terminal.
#ifndef WEIR_BASE_SHOW_H
#define WEIR_BASE_SHOW_H

#include "base/str.h"

// Enough for a message to be understood without the whole of a long value.
enum { WEIR_SHOW_BYTES = 80 };

// The length of the printable character at the start of the text, 1 to 4 bytes; 0 where the text is
// empty or starts with a control character (C0, DEL, C1) or with a byte that is not UTF-8.
size_t weir_printable_bytes(struct weir_str text);

// The first character of a text as it is shown: itself where it is printable, else its first byte
// as \xNN.
struct weir_shown {
    size_t taken; // bytes of the text
    size_t size;  // bytes to show, at most WEIR_SHOWN_BYTES_MAX
    char bytes[4];
};
enum { WEIR_SHOWN_BYTES_MAX = 4 };

// `text` is not empty.
struct weir_shown weir_show_first(struct weir_str text);

// Writes the bytes into `buffer` with every unprintable byte as \xNN; what does not fit is cut
// between characters and ends in "...". `size` is at least 8 and counts the terminator. Returns
// `buffer`. Any thread.
const char *weir_show(struct weir_str bytes, char *buffer, size_t size);

#endif
