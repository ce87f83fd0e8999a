// SPDX-License-Identifier: Apache-2.0
//
// See chain.h. The message is "1 HOPS NUL CAUSATION NUL CORRELATION", each perhaps empty. Everybody
// who may connect may write one, so it is checked like any input.
#include "provider/postgres/chain.h"

#include <string.h>

enum { HOPS_BYTES_MAX = 20, VERSION_BYTES = 2 };
#define VERSION "1 "

static bool is_hops(struct weir_str text) {
    if (text.size > HOPS_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return true;
}

// Appends a text, if it can be read back and leaves `reserved` bytes. Returns the new size.
static size_t put(char *buffer, size_t size, size_t reserved, struct weir_str text) {
    if (text.size > 0 && text.size <= WEIR_PG_CHAIN_BYTES_MAX - reserved - size &&
        !memchr(text.data, '\0', text.size)) {
        memcpy(buffer + size, text.data, text.size);
        size += text.size;
    }
    return size;
}

size_t weir_pg_chain_encode(const struct weir_event_fields *fields,
                            char buffer[static WEIR_PG_CHAIN_BYTES_MAX]) {
    struct weir_str causation = weir_event_extension(fields, WEIR_EXTENSION_CAUSATION);
    struct weir_str correlation = weir_event_extension(fields, WEIR_EXTENSION_CORRELATION);
    struct weir_str hops = weir_event_extension(fields, WEIR_EXTENSION_HOPS);
    if (causation.size == 0 && correlation.size == 0 && hops.size == 0) {
        return 0;
    }
    memcpy(buffer, VERSION, VERSION_BYTES);
    size_t size = VERSION_BYTES;
    size = put(buffer, size, 2, is_hops(hops) ? hops : WEIR_STR(""));
    buffer[size++] = '\0';
    size = put(buffer, size, 1, causation);
    buffer[size++] = '\0';
    return put(buffer, size, 0, correlation);
}

// Takes what stands before the next NUL byte. False: there is none.
static bool take_text(struct weir_str *rest, struct weir_str *ret_text) {
    const char *end = rest->size > 0 ? memchr(rest->data, '\0', rest->size) : NULL;
    if (!end) {
        return false;
    }
    *ret_text = (struct weir_str){.data = rest->data, .size = (size_t)(end - rest->data)};
    *rest = (struct weir_str){.data = end + 1, .size = rest->size - ret_text->size - 1};
    return true;
}

size_t weir_pg_chain_decode(struct weir_str bytes,
                            struct weir_attribute ret_extensions[static WEIR_PG_CHAIN_EXTENSIONS]) {
    struct weir_str hops, causation, rest = bytes;
    if (bytes.size > WEIR_PG_CHAIN_BYTES_MAX || !weir_str_has_prefix(bytes, WEIR_STR(VERSION)) ||
        !weir_utf8_valid(bytes)) {
        return 0;
    }
    rest = (struct weir_str){bytes.data + VERSION_BYTES, bytes.size - VERSION_BYTES};
    if (!take_text(&rest, &hops) || !is_hops(hops) || !take_text(&rest, &causation) ||
        (rest.size > 0 && memchr(rest.data, '\0', rest.size))) {
        return 0;
    }
    const struct weir_attribute found[] = {
        {WEIR_STR(WEIR_EXTENSION_CAUSATION), causation},
        {WEIR_STR(WEIR_EXTENSION_CORRELATION), rest},
        {WEIR_STR(WEIR_EXTENSION_HOPS), hops},
    };
    size_t count = 0;
    for (size_t i = 0; i < WEIR_PG_CHAIN_EXTENSIONS; i++) {
        if (found[i].value.size > 0) {
            ret_extensions[count++] = found[i];
        }
    }
    return count;
}
