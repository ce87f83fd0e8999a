// SPDX-License-Identifier: Apache-2.0
//
// Foreign bytes in messages; see show.h. A message goes to a terminal, a log and a guest alike, so
// what could move a cursor or break a line is made visible here, once, and not at each of those
// ends. Any thread.
#include "base/show.h"

#include <assert.h>

enum { CUT_BYTES = 3 }; // of "..."

size_t weir_printable_bytes(struct weir_str text) {
    size_t size = weir_utf8_char_bytes(text);
    if (size == 0) {
        return 0;
    }
    unsigned char first = (unsigned char)text.data[0];
    bool is_c0 = first < 0x20 || first == 0x7F;
    // U+0080 to U+009F: some terminals obey them as they obey ESC.
    bool is_c1 = first == 0xC2 && (unsigned char)text.data[1] < 0xA0;
    return is_c0 || is_c1 ? 0 : size;
}

struct weir_shown weir_show_first(struct weir_str text) {
    static const char hex[] = "0123456789abcdef";
    size_t printable = weir_printable_bytes(text);
    if (printable > 0) {
        struct weir_shown shown = {.taken = printable, .size = printable};
        memcpy(shown.bytes, text.data, printable);
        return shown;
    }
    unsigned char byte = (unsigned char)text.data[0];
    return (struct weir_shown){
        .taken = 1, .size = 4, .bytes = {'\\', 'x', hex[byte >> 4], hex[byte & 15]}};
}

const char *weir_show(struct weir_str bytes, char *buffer, size_t size) {
    assert(size > WEIR_SHOWN_BYTES_MAX + CUT_BYTES);
    size_t filled = 0;
    size_t cut_at = 0; // the last place where "..." still fits
    for (size_t at = 0; at < bytes.size;) {
        struct weir_shown shown =
            weir_show_first((struct weir_str){.data = bytes.data + at, .size = bytes.size - at});
        if (filled + CUT_BYTES < size) {
            cut_at = filled;
        }
        if (filled + shown.size >= size) {
            memcpy(buffer + cut_at, "...", CUT_BYTES);
            filled = cut_at + CUT_BYTES;
            break;
        }
        memcpy(buffer + filled, shown.bytes, shown.size);
        filled += shown.size;
        at += shown.taken;
    }
    buffer[filled] = '\0';
    return buffer;
}
