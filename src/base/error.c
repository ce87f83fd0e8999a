// SPDX-License-Identifier: Apache-2.0
//
// Statuses and messages; see error.h. Nothing here allocates, so that running out of memory can be
// reported too. Any thread.
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *weir_status_name(weir_status status) {
    static const char *const names[] = {
#define X(constant, name, meaning) [constant] = name,
        WEIR_STATUSES(X)
#undef X
    };
    size_t index = (size_t)status;
    return index < sizeof names / sizeof names[0] ? names[index] : "other";
}

// Ends a message that did not fit in "...", without leaving half of a UTF-8 character before it.
static void mark_cut(char *message) {
    size_t end = WEIR_ERROR_MESSAGE_BYTES - 1 - 3;
    while (end > 0 && ((unsigned char)message[end] & 0xC0) == 0x80) {
        end--;
    }
    memcpy(message + end, "...", 4);
}

weir_status weir_fail_v(struct weir_error *err, weir_status status, const char *format,
                        va_list args) {
    if (err) {
        err->status = status;
        int length = vsnprintf(err->message, sizeof err->message, format, args);
        if (length < 0) {
            err->message[0] = '\0';
        } else if ((size_t)length >= sizeof err->message) {
            mark_cut(err->message);
        }
    }
    return status;
}

weir_status weir_fail(struct weir_error *err, weir_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    weir_fail_v(err, status, format, args);
    va_end(args);
    return status;
}

static weir_status status_of_errno(int code) {
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return WEIR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return WEIR_DENIED;
    case ENOMEM:
        return WEIR_NO_MEMORY;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
        return WEIR_INVALID;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return WEIR_LIMIT;
    case EIO:
    case ESTALE:
    case ENXIO:
    case ENODEV:
    case ECONNREFUSED:
    case ETIMEDOUT:
        return WEIR_UNAVAILABLE;
    default:
        return WEIR_OTHER;
    }
}

weir_status weir_fail_errno(struct weir_error *err, int code, const char *format, ...) {
    weir_status status = status_of_errno(code);
    if (!err) {
        return status;
    }
    va_list args;
    va_start(args, format);
    weir_fail_v(err, status, format, args);
    va_end(args);
    size_t length = strlen(err->message);
    char buffer[128];
    // The GNU strerror_r returns its text, which may be elsewhere than in the buffer.
    const char *cause = strerror_r(code, buffer, sizeof buffer);
    int more = snprintf(err->message + length, sizeof err->message - length, ": %s", cause);
    if (more < 0 || (size_t)more >= sizeof err->message - length) {
        mark_cut(err->message);
    }
    return status;
}

weir_status weir_error_prefix(struct weir_error *err, weir_status status, const char *format, ...) {
    if (!err) {
        return status;
    }
    char cause[WEIR_ERROR_MESSAGE_BYTES];
    memcpy(cause, err->message, sizeof cause);
    va_list args;
    va_start(args, format);
    weir_fail_v(err, status, format, args);
    va_end(args);
    size_t length = strlen(err->message);
    int more = snprintf(err->message + length, sizeof err->message - length, ": %s", cause);
    if (more < 0 || (size_t)more >= sizeof err->message - length) {
        mark_cut(err->message);
    }
    return status;
}

weir_status weir_fail_no_memory(struct weir_error *err, const char *what) {
    return weir_fail(err, WEIR_NO_MEMORY, "no memory for %s", what);
}
