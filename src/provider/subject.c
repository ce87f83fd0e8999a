// SPDX-License-Identifier: Apache-2.0
//
// The other direction of what the file provider does when it makes a subject of a key. An event
// that one resource told and another one publishes names the same key in both. A '%' in a subject
// without the extension is a '%': people write "50%off". Pure functions, any thread.
#include "provider/subject.h"

#include "base/show.h"

#include <string.h>

// The value of a hex digit of either case, -1 for anything else.
static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// False: it is not coded so, or too long.
static bool decode_percent(struct weir_str text, struct weir_subject_buffer *buffer,
                           size_t *ret_size) {
    size_t filled = 0;
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i];
        if (byte == '%') {
            int high = i + 1 < text.size ? hex_value(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = (char)(unsigned char)(high * 16 + low);
            i += 2;
        }
        if (filled == sizeof buffer->text) {
            return false;
        }
        buffer->text[filled++] = byte;
    }
    *ret_size = filled;
    return true;
}

weir_status weir_subject_key(const struct weir_event_fields *fields,
                             struct weir_subject_buffer *buffer, struct weir_str *ret_key,
                             struct weir_error *err) {
    struct weir_str subject =
        fields->subject.is_some ? fields->subject.value : (struct weir_str){0};
    struct weir_str key = subject;
    char shown[WEIR_SHOW_BYTES];
    *ret_key = (struct weir_str){0};
    if (weir_str_equal(weir_event_extension(fields, WEIR_EXTENSION_SUBJECT_ENCODING),
                       WEIR_STR("percent"))) {
        key.data = buffer->text;
        if (!decode_percent(subject, buffer, &key.size)) {
            return weir_fail(err, WEIR_INVALID,
                             "the subject \"%s\" is no percent-coded key, as the extension "
                             "subjectencoding says",
                             weir_show(subject, shown, sizeof shown));
        }
    }
    if (key.size > WEIR_KEY_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID,
                         "the subject \"%s\" has %zu bytes; the longest key is %d",
                         weir_show(subject, shown, sizeof shown), key.size, WEIR_KEY_BYTES_MAX);
    }
    if (key.size > 0 && memchr(key.data, '\0', key.size)) {
        return weir_fail(err, WEIR_INVALID,
                         "the subject \"%s\" has a NUL byte; every other byte may stand in a key",
                         weir_show(subject, shown, sizeof shown));
    }
    *ret_key = key;
    return WEIR_OK;
}

size_t weir_subject_of_key(struct weir_str key, bool is_coded, char *to) {
    static const char hex[] = "0123456789ABCDEF";
    char *at = to;
    if (!is_coded && key.size > 0) {
        memcpy(at, key.data, key.size);
        return key.size;
    }
    for (size_t i = 0; i < key.size; i++) {
        unsigned char byte = (unsigned char)key.data[i];
        if (byte >= 0x80 || byte == '%') {
            *at++ = '%';
            *at++ = hex[byte >> 4];
            *at++ = hex[byte & 15];
        } else {
            *at++ = (char)byte;
        }
    }
    return (size_t)(at - to);
}
