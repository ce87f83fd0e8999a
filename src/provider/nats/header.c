// SPDX-License-Identifier: Apache-2.0
//
// See header.h.
#include "provider/nats/header.h"

#include "base/digits.h"

#include "provider/nats/wire.h"

#include <string.h>
#include <strings.h>

#define VERSION "NATS/1.0"

// ---- reading ----

// Takes a line off the text, without its end.
static bool take_line(struct weir_str *text, struct weir_str *ret_line) {
    if (text->size == 0) {
        return false;
    }
    const char *newline = memchr(text->data, '\n', text->size);
    size_t size = newline ? (size_t)(newline - text->data) : text->size;
    size_t taken = newline ? size + 1 : size;
    *ret_line = (struct weir_str){text->data, size};
    ret_line->size -= size > 0 && text->data[size - 1] == '\r';
    *text = (struct weir_str){text->data + taken, text->size - taken};
    return true;
}

// What stands behind the version in the first line; empty, and not NULL, without one.
static struct weir_str first_line(struct weir_str headers) {
    struct weir_str line = {0};
    if (!take_line(&headers, &line) || !weir_str_has_prefix(line, WEIR_STR(VERSION))) {
        return WEIR_STR("");
    }
    line.data += strlen(VERSION);
    line.size -= strlen(VERSION);
    return weir_str_trim(line);
}

unsigned weir_nats_headers_status(struct weir_str headers) {
    struct weir_str line = first_line(headers);
    uint64_t status = 0;
    line.size = line.size > 3 ? 3 : line.size;
    return weir_decimal_read(line, &status) ? (unsigned)status : 0;
}

struct weir_str weir_nats_headers_reason(struct weir_str headers) {
    struct weir_str line = first_line(headers);
    size_t taken = line.size > 3 ? 3 : line.size;
    return weir_str_trim((struct weir_str){line.data + taken, line.size - taken});
}

bool weir_nats_headers_next(struct weir_str *headers, struct weir_nats_header *ret_header) {
    struct weir_str line;
    while (take_line(headers, &line)) {
        const char *colon = line.size > 0 ? memchr(line.data, ':', line.size) : NULL;
        if (colon) {
            size_t name = (size_t)(colon - line.data);
            *ret_header = (struct weir_nats_header){
                .name = {line.data, name},
                .value = weir_str_trim((struct weir_str){colon + 1, line.size - name - 1}),
            };
            return true;
        }
    }
    return false;
}

struct weir_str weir_nats_headers_find(struct weir_str headers, const char *name) {
    struct weir_nats_header header;
    size_t size = strlen(name);
    while (weir_nats_headers_next(&headers, &header)) {
        if (header.name.size == size && strncasecmp(header.name.data, name, size) == 0) {
            return header.value;
        }
    }
    return (struct weir_str){0};
}

static int hex_value(char digit) {
    char lower = (char)(digit | 0x20);
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                          : -1;
}

size_t weir_nats_headers_decode(struct weir_str value, char *ret_text) {
    size_t size = 0;
    for (size_t i = 0; i < value.size; i++) {
        char byte = value.data[i];
        if (byte == '%' && i + 2 < value.size) {
            int high = hex_value(value.data[i + 1]), low = hex_value(value.data[i + 2]);
            if (high >= 0 && low >= 0) {
                byte = (char)(unsigned char)(high * 16 + low);
                i += 2;
            }
        }
        ret_text[size++] = byte;
    }
    return size;
}

// ---- writing ----

bool weir_nats_headers_begin(struct weir_nats_buffer *buffer) {
    return weir_nats_buffer_put(buffer, WEIR_STR(VERSION "\r\n"));
}

bool weir_nats_headers_put(struct weir_nats_buffer *buffer, const char *name,
                           struct weir_str value) {
    return weir_nats_buffer_put(buffer, weir_str_of(name)) &&
           weir_nats_buffer_put(buffer, WEIR_STR(": ")) && weir_nats_buffer_put(buffer, value) &&
           weir_nats_buffer_put(buffer, WEIR_STR("\r\n"));
}

// As CloudEvents' HTTP binding has it: everything but printable ASCII, and of that the blank, '"'
// and '%'.
static bool put_value(struct weir_nats_buffer *buffer, struct weir_str value) {
    static const char hex[] = "0123456789ABCDEF";
    if (!weir_nats_buffer_reserve(buffer, 3 * value.size)) {
        return false;
    }
    for (size_t i = 0; i < value.size; i++) {
        unsigned char byte = (unsigned char)value.data[i];
        if (byte > ' ' && byte < 0x7F && byte != '"' && byte != '%') {
            buffer->bytes[buffer->end++] = (char)byte;
        } else {
            const char code[] = {'%', hex[byte >> 4], hex[byte & 15]};
            memcpy(buffer->bytes + buffer->end, code, sizeof code);
            buffer->end += sizeof code;
        }
    }
    return true;
}

bool weir_nats_headers_put_coded(struct weir_nats_buffer *buffer, const char *prefix,
                                 struct weir_str name, struct weir_str value) {
    return weir_nats_buffer_put(buffer, weir_str_of(prefix)) &&
           weir_nats_buffer_put(buffer, name) && weir_nats_buffer_put(buffer, WEIR_STR(": ")) &&
           put_value(buffer, value) && weir_nats_buffer_put(buffer, WEIR_STR("\r\n"));
}

bool weir_nats_headers_end(struct weir_nats_buffer *buffer) {
    return weir_nats_buffer_put(buffer, WEIR_STR("\r\n"));
}
