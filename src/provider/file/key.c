// SPDX-License-Identifier: Apache-2.0
//
// A key may hold any byte but NUL; a file name may not, and some names mean something else. A '/'
// in a key separates directories, so that people see in the directory what they see in the keys.
// Within a segment
//   '%'                          is "%25";
//   0x01 to 0x1f and 0x7f        are "%" and two upper-case hex digits, so that `ls` shows them and
//   nothing obeys them;
//   '.' as the first byte        is "%2E": there is no ".", no ".." and no hidden file among the
//   coded names, and
//                                names that do begin with '.' are left to editors and to weir's own
//                                temporary files;
//   nothing at all ("a//b")      is the name "%", which nothing else is coded to;
//   every other byte             stays, those from 0x80 on included: file names of Linux are bytes,
//   not characters.
// A name is decoded only if coding the result gives the name again. Without that rule "%41" and "A"
// would be two files of one key.
//
// Percent-coding the '/' too, and keeping all keys in one directory, was the other way: it makes a
// key's length bound 255 bytes, and takes from people the sub-directories that they would make
// themselves.
//
// Pure functions, any thread.
#include "provider/file/key.h"

#include "base/show.h"

static const char EMPTY_SEGMENT[] = "%";

static bool is_control(unsigned char byte) {
    return byte < 0x20 || byte == 0x7F;
}

// Whether a byte at that place in a segment is written as %XX.
static bool is_escaped(unsigned char byte, bool is_first) {
    return byte == '%' || is_control(byte) || (is_first && byte == '.');
}

// Appends to the path; false where it would not fit with its terminator.
static bool put(struct weir_file_path *path, const char *bytes, size_t size) {
    if (size >= sizeof path->text - path->size) {
        return false;
    }
    memcpy(path->text + path->size, bytes, size);
    path->size += size;
    return true;
}

static bool put_segment(struct weir_file_path *path, struct weir_str segment) {
    static const char hex[] = "0123456789ABCDEF";
    path->name_at = path->size;
    if (segment.size == 0) {
        return put(path, EMPTY_SEGMENT, sizeof EMPTY_SEGMENT - 1);
    }
    for (size_t i = 0; i < segment.size; i++) {
        unsigned char byte = (unsigned char)segment.data[i];
        bool fits = is_escaped(byte, i == 0)
                        ? put(path, (char[]){'%', hex[byte >> 4], hex[byte & 15]}, 3)
                        : put(path, segment.data + i, 1);
        if (!fits) {
            return false;
        }
    }
    return true;
}

// Codes the segments between the slashes, of which there is at least one, perhaps empty.
static weir_status encode(struct weir_str text, struct weir_file_path *path,
                          struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    path->size = 0;
    for (size_t at = 0;;) {
        const char *slash = at < text.size ? memchr(text.data + at, '/', text.size - at) : NULL;
        size_t end = slash ? (size_t)(slash - text.data) : text.size;
        struct weir_str segment = {.data = text.data + at, .size = end - at};
        if (!put_segment(path, segment) || (slash && !put(path, "/", 1))) {
            return weir_fail(err, WEIR_LIMIT,
                             "the key \"%s\" makes a path of over %d bytes; use a shorter key",
                             weir_show(text, shown, sizeof shown), WEIR_FILE_PATH_BYTES - 1);
        }
        if (path->size - path->name_at - (slash ? 1 : 0) > WEIR_FILE_NAME_BYTES_MAX) {
            return weir_fail(err, WEIR_LIMIT,
                             "\"%s\" makes a file name of over %d bytes; use a shorter key, or "
                             "one with '/' in it",
                             weir_show(segment, shown, sizeof shown), WEIR_FILE_NAME_BYTES_MAX);
        }
        if (!slash) {
            path->text[path->size] = '\0';
            return WEIR_OK;
        }
        at = end + 1;
    }
}

static weir_status check(struct weir_str key, struct weir_error *err) {
    if (key.size > WEIR_KEY_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID, "a key of %zu bytes; the longest is %d", key.size,
                         WEIR_KEY_BYTES_MAX);
    }
    if (key.size > 0 && memchr(key.data, '\0', key.size)) {
        return weir_fail(err, WEIR_INVALID, "a key with a NUL byte; every other byte may stand");
    }
    return WEIR_OK;
}

weir_status weir_file_key_encode(struct weir_str key, struct weir_file_path *ret_path,
                                 struct weir_error *err) {
    if (key.size == 0) {
        return weir_fail(err, WEIR_INVALID, "an empty key; a key has at least one byte");
    }
    weir_status status = check(key, err);
    return status ? status : encode(key, ret_path, err);
}

weir_status weir_file_folder_encode(struct weir_str prefix, struct weir_file_path *ret_path,
                                    struct weir_error *err) {
    if (prefix.size == 0) {
        *ret_path = (struct weir_file_path){.size = 1, .text = "."};
        return WEIR_OK;
    }
    weir_status status = check(prefix, err);
    prefix.size--; // the final '/'
    return status ? status : encode(prefix, ret_path, err);
}

weir_status weir_file_pattern_check(const struct weir_pattern *pattern, struct weir_error *err) {
    struct weir_file_path path;
    if (!pattern->is_prefix) {
        return weir_file_key_encode(pattern->text, &path, err);
    }
    // What follows the last '/' may be the start of anything; a segment that is too long already
    // shows here too.
    return pattern->text.size == 0 ? WEIR_OK : weir_file_key_encode(pattern->text, &path, err);
}

// The value of an upper-case hex digit, -1 for anything else.
static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

bool weir_file_name_decode(struct weir_str name, char ret_segment[static WEIR_FILE_NAME_BYTES_MAX],
                           size_t *ret_size) {
    if (name.size == 0 || name.size > WEIR_FILE_NAME_BYTES_MAX) {
        return false;
    }
    size_t filled = 0;
    if (!weir_str_equal(name, weir_str_of(EMPTY_SEGMENT))) {
        for (size_t i = 0; i < name.size; i++) {
            unsigned char byte = (unsigned char)name.data[i];
            if (byte == '%') {
                int high = i + 1 < name.size ? hex_value(name.data[i + 1]) : -1;
                int low = i + 2 < name.size ? hex_value(name.data[i + 2]) : -1;
                byte = (unsigned char)(high * 16 + low);
                if (high < 0 || low < 0 || byte == 0 || !is_escaped(byte, filled == 0)) {
                    return false;
                }
                i += 2;
            } else if (byte == '/' || is_escaped(byte, filled == 0)) {
                return false;
            }
            ret_segment[filled++] = (char)byte;
        }
    }
    *ret_size = filled;
    return true;
}

struct weir_str weir_file_folder_of(struct weir_str key) {
    const char *slash = key.size ? memrchr(key.data, '/', key.size) : NULL;
    return (struct weir_str){.data = key.data, .size = slash ? (size_t)(slash - key.data) + 1 : 0};
}
