// SPDX-License-Identifier: Apache-2.0
//
// See key.h.
#include "provider/nats/key.h"

#include "base/show.h"

#include <string.h>

static bool is_alphanumeric(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9');
}

static int hex_value(char digit) {
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

// Whether a byte of a token stands as it is.
static bool is_plain(const struct weir_nats_naming *naming, struct weir_str token, size_t at) {
    char byte = token.data[at];
    if (!naming->is_bucket) {
        return (unsigned char)byte > ' ' && byte != 0x7F && byte != '*' && byte != '>';
    }
    if (byte == '=') {
        bool is_code = at + 2 < token.size && hex_value(token.data[at + 1]) >= 0 &&
                       hex_value(token.data[at + 2]) >= 0;
        return token.size > 1 && !is_code;
    }
    return is_alphanumeric(byte) || byte == '-' || byte == '/' || byte == '_';
}

// Appends; false: it does not fit.
static bool put(struct weir_nats_subject *subject, const char *bytes, size_t size) {
    if (size > WEIR_NATS_SUBJECT_BYTES_MAX - subject->size) {
        return false;
    }
    memcpy(subject->text + subject->size, bytes, size);
    subject->size += size;
    subject->text[subject->size] = '\0';
    return true;
}

static bool put_token(const struct weir_nats_naming *naming, struct weir_nats_subject *subject,
                      struct weir_str token) {
    static const char hex[] = "0123456789ABCDEF";
    const char mark = naming->is_bucket ? '=' : '%';
    bool fits = token.size > 0 || put(subject, &mark, 1);
    for (size_t i = 0; fits && i < token.size; i++) {
        unsigned char byte = (unsigned char)token.data[i];
        const char code[] = {mark, hex[byte >> 4], hex[byte & 15]};
        fits = is_plain(naming, token, i) ? put(subject, token.data + i, 1)
                                          : put(subject, code, sizeof code);
    }
    return fits;
}

static bool put_tokens(const struct weir_nats_naming *naming, struct weir_nats_subject *subject,
                       struct weir_str key) {
    for (;;) {
        const char *dot = key.size > 0 ? memchr(key.data, '.', key.size) : NULL;
        struct weir_str token = {key.data, dot ? (size_t)(dot - key.data) : key.size};
        if (!put_token(naming, subject, token)) {
            return false;
        }
        if (!dot) {
            return true;
        }
        key = (struct weir_str){dot + 1, key.size - token.size - 1};
        if (!put(subject, ".", 1)) {
            return false;
        }
    }
}

static weir_status fail_long(struct weir_str key, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID,
                     "the key \"%s\" is longer than a subject of NATS may be: %d bytes when coded",
                     weir_show(key, shown, sizeof shown), WEIR_NATS_SUBJECT_BYTES_MAX);
}

static void begin(const struct weir_nats_naming *naming, struct weir_nats_subject *subject) {
    subject->size = 0;
    put(subject, naming->prefix, strlen(naming->prefix)); // which is short
}

weir_status weir_nats_subject_of(const struct weir_nats_naming *naming, struct weir_str key,
                                 struct weir_nats_subject *ret_subject, struct weir_error *err) {
    begin(naming, ret_subject);
    return put_tokens(naming, ret_subject, key) ? WEIR_OK : fail_long(key, err);
}

weir_status weir_nats_filter_of(const struct weir_nats_naming *naming,
                                const struct weir_pattern *pattern,
                                struct weir_nats_subject *ret_filter, struct weir_error *err) {
    if (!pattern->is_prefix) {
        return weir_nats_subject_of(naming, pattern->text, ret_filter, err);
    }
    begin(naming, ret_filter);
    const char *dot =
        pattern->text.size > 0 ? memrchr(pattern->text.data, '.', pattern->text.size) : NULL;
    struct weir_str whole = {pattern->text.data, dot ? (size_t)(dot - pattern->text.data) : 0};
    bool fits = !dot || (put_tokens(naming, ret_filter, whole) && put(ret_filter, ".", 1));
    return fits && put(ret_filter, ">", 1) ? WEIR_OK : fail_long(pattern->text, err);
}

// Undoes the coding of a bucket. False: it is too long.
static bool decode(struct weir_str name, char buffer[static WEIR_KEY_BYTES_MAX],
                   struct weir_str *ret_key) {
    size_t size = 0;
    for (size_t i = 0; i < name.size; i++) {
        char byte = name.data[i];
        bool begins = i == 0 || name.data[i - 1] == '.';
        bool is_last = i + 1 == name.size || name.data[i + 1] == '.';
        if (byte == '=' && begins && is_last) {
            continue; // a token that is empty
        }
        int high = byte == '=' && i + 2 < name.size ? hex_value(name.data[i + 1]) : -1;
        int low = high >= 0 ? hex_value(name.data[i + 2]) : -1;
        if (low >= 0) {
            byte = (char)(unsigned char)(high * 16 + low);
            i += 2;
        }
        if (size == WEIR_KEY_BYTES_MAX) {
            return false;
        }
        buffer[size++] = byte;
    }
    *ret_key = (struct weir_str){buffer, size};
    return true;
}

bool weir_nats_key_of(const struct weir_nats_naming *naming, struct weir_str subject,
                      char buffer[static WEIR_KEY_BYTES_MAX], struct weir_str *ret_key) {
    struct weir_str prefix = weir_str_of(naming->prefix);
    if (!weir_str_has_prefix(subject, prefix)) {
        return false;
    }
    struct weir_str name = {subject.data + prefix.size, subject.size - prefix.size};
    if (!naming->is_bucket) {
        *ret_key = name;
        return name.size > 0 && name.size <= WEIR_KEY_BYTES_MAX;
    }
    if (name.size == 0 || !memchr(name.data, '=', name.size)) { // most of them
        *ret_key = name;
        return name.size > 0 && name.size <= WEIR_KEY_BYTES_MAX;
    }
    // Another name that would be decoded to the same key is none.
    struct weir_nats_subject coded;
    return decode(name, buffer, ret_key) && ret_key->size > 0 &&
           !memchr(ret_key->data, '\0', ret_key->size) &&
           weir_nats_subject_of(naming, *ret_key, &coded, NULL) == WEIR_OK &&
           weir_str_equal(subject, (struct weir_str){coded.text, coded.size});
}
