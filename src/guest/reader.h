// SPDX-License-Identifier: Apache-2.0
//
// Reads what a WebAssembly file is made of: a header and sections, each a number, a length, and
// that many bytes, and in them numbers, texts and lists. The file is hostile: nothing outside of it
// is read, and what is asked of it beyond its end is 0 or empty and notes that it is broken, so
// that whoever reads looks once, behind all.
//
// Source of the layouts: the core specification's "Modules" (binary format), the component model's
// Binary.md. Any thread.
#ifndef WEIR_GUEST_READER_H
#define WEIR_GUEST_READER_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    WEIR_HEADER_BYTES = 8,
    WEIR_LEB_BYTES_MAX = 5, // of a 32-bit number
};

// The sections of a component.
enum weir_section {
    WEIR_SECTION_CUSTOM,
    WEIR_SECTION_CORE_MODULE,
    WEIR_SECTION_CORE_INSTANCE,
    WEIR_SECTION_CORE_TYPE,
    WEIR_SECTION_COMPONENT,
    WEIR_SECTION_INSTANCE,
    WEIR_SECTION_ALIAS,
    WEIR_SECTION_TYPE,
    WEIR_SECTION_CANON,
    WEIR_SECTION_START,
    WEIR_SECTION_IMPORT,
    WEIR_SECTION_EXPORT,
};

// What is left to be read.
struct weir_reader {
    const unsigned char *next, *end;
    bool is_broken; // more was asked for than there is
};

static inline struct weir_reader weir_reader_of(struct weir_str bytes) {
    const unsigned char *start = (const unsigned char *)bytes.data;
    return (struct weir_reader){.next = start, .end = start + bytes.size};
}

static inline size_t weir_bytes_left(const struct weir_reader *reader) {
    return (size_t)(reader->end - reader->next);
}

static inline unsigned weir_read_byte(struct weir_reader *reader) {
    if (reader->next == reader->end) {
        reader->is_broken = true;
        return 0;
    }
    return *reader->next++;
}

static inline uint32_t weir_read_u32(struct weir_reader *reader) {
    uint32_t value = 0;
    for (unsigned i = 0; i < WEIR_LEB_BYTES_MAX; i++) {
        unsigned byte = weir_read_byte(reader);
        value |= (uint32_t)(byte & 0x7F) << (7 * i);
        if ((byte & 0x80) == 0) {
            return value;
        }
    }
    reader->is_broken = true;
    return 0;
}

static inline struct weir_str weir_read_bytes(struct weir_reader *reader, size_t size) {
    if (size > weir_bytes_left(reader)) {
        reader->is_broken = true;
        reader->next = reader->end;
        return (struct weir_str){0};
    }
    struct weir_str bytes = {.data = (const char *)reader->next, .size = size};
    reader->next += size;
    return bytes;
}

static inline struct weir_str weir_read_text(struct weir_reader *reader) {
    uint32_t size = weir_read_u32(reader);
    return weir_read_bytes(reader, size);
}

// The next section; false where there is no further one, or the file is broken.
static inline bool weir_read_section(struct weir_reader *reader, unsigned *ret_number,
                                     struct weir_str *ret_content) {
    if (weir_bytes_left(reader) == 0) {
        return false;
    }
    *ret_number = weir_read_byte(reader);
    *ret_content = weir_read_text(reader);
    return !reader->is_broken;
}

// The sections of a file, behind its header.
static inline struct weir_reader weir_sections_of(struct weir_str wasm) {
    struct weir_reader reader = weir_reader_of(wasm);
    weir_read_bytes(&reader, WEIR_HEADER_BYTES);
    return reader;
}

#endif
