// SPDX-License-Identifier: Apache-2.0
//
// See chain.h. The texts of causationid, correlationid and hops, each ended by a NUL, empty where
// there is none. Anybody may write them, so they prove nothing, and what is read is checked.
#include "provider/sqlite/chain.h"

#include <string.h>

enum { HOPS_BYTES_MAX = 20 };

static const char *const names[WEIR_SQLITE_CHAIN_EXTENSIONS] = {
    WEIR_EXTENSION_CAUSATION, WEIR_EXTENSION_CORRELATION, WEIR_EXTENSION_HOPS};

static bool is_number(struct weir_str text) {
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.size <= HOPS_BYTES_MAX;
}

static bool may_stand(struct weir_str text, size_t which) {
    bool is_hops = which == WEIR_SQLITE_CHAIN_EXTENSIONS - 1;
    return (text.size == 0 || !memchr(text.data, '\0', text.size)) && weir_utf8_valid(text) &&
           (!is_hops || is_number(text));
}

size_t weir_sqlite_chain_encode(const struct weir_event_fields *fields,
                                char buffer[static WEIR_SQLITE_CHAIN_BYTES_MAX]) {
    size_t size = 0;
    bool is_any = false;
    // Places for the hops and the NULs are kept free.
    const size_t ids_max = WEIR_SQLITE_CHAIN_BYTES_MAX - HOPS_BYTES_MAX - 3;
    for (size_t i = 0; i < WEIR_SQLITE_CHAIN_EXTENSIONS; i++) {
        struct weir_str text = weir_event_extension(fields, names[i]);
        bool is_hops = i == WEIR_SQLITE_CHAIN_EXTENSIONS - 1;
        if (may_stand(text, i) && (is_hops || size + text.size <= ids_max)) {
            if (text.size > 0) {
                memcpy(buffer + size, text.data, text.size);
            }
            size += text.size;
            is_any = is_any || text.size > 0;
        }
        buffer[size++] = '\0';
    }
    return is_any ? size : 0;
}

size_t weir_sqlite_chain_decode(
    struct weir_str bytes,
    struct weir_attribute ret_extensions[static WEIR_SQLITE_CHAIN_EXTENSIONS]) {
    size_t count = 0;
    if (bytes.size > WEIR_SQLITE_CHAIN_BYTES_MAX) {
        return 0;
    }
    for (size_t i = 0; i < WEIR_SQLITE_CHAIN_EXTENSIONS; i++) {
        const char *end = bytes.size > 0 ? memchr(bytes.data, '\0', bytes.size) : NULL;
        struct weir_str text = {bytes.data, end ? (size_t)(end - bytes.data) : 0};
        if (!end || !may_stand(text, i)) {
            return 0;
        }
        if (text.size > 0) {
            ret_extensions[count++] = (struct weir_attribute){weir_str_of(names[i]), text};
        }
        bytes.data += text.size + 1;
        bytes.size -= text.size + 1;
    }
    return bytes.size == 0 ? count : 0;
}
