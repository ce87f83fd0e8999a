// SPDX-License-Identifier: Apache-2.0
//
// See secret.h.
#include "config/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_name(struct weir_str text) {
    for (size_t i = 0; i < text.size; i++) {
        char letter = text.data[i];
        bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
        bool is_digit = letter >= '0' && letter <= '9';
        if (!is_letter && letter != '_' && (i == 0 || !is_digit)) {
            return false;
        }
    }
    return text.size > 0;
}

static bool behind(struct weir_str text, const char *scheme, struct weir_str *ret_rest) {
    struct weir_str prefix = weir_str_of(scheme);
    *ret_rest = (struct weir_str){text.data + prefix.size, text.size - prefix.size};
    return weir_str_has_prefix(text, prefix);
}

weir_status weir_secret_check(struct weir_str text, struct weir_error *err) {
    struct weir_str rest;
    if (behind(text, "env:", &rest)) {
        return is_name(rest)
                   ? WEIR_OK
                   : weir_fail(
                         err, WEIR_INVALID,
                         "what follows env: is no name of a variable; write " WEIR_SECRET_FORMS);
    }
    if (behind(text, "file:", &rest)) {
        bool is_path = rest.size > 0 && !memchr(rest.data, '\0', rest.size);
        return is_path ? WEIR_OK
                       : weir_fail(err, WEIR_INVALID,
                                   "what follows file: is no path; write " WEIR_SECRET_FORMS);
    }
    return weir_fail(
        err, WEIR_INVALID,
        "a secret does not stand in a configuration; write where it is, " WEIR_SECRET_FORMS);
}

// Takes the secret from the bytes that were read.
static weir_status take(struct weir_secret *secret, size_t size, const char *place,
                        struct weir_error *err) {
    while (size > 0 && (secret->text[size - 1] == '\n' || secret->text[size - 1] == '\r')) {
        size--;
    }
    secret->text[size] = '\0';
    secret->size = size;
    if (size == 0 || strlen(secret->text) != size) {
        return weir_fail(err, WEIR_INVALID, "the secret in %s %s", place,
                         size == 0 ? "is empty" : "holds a NUL byte");
    }
    return WEIR_OK;
}

static weir_status fail_limit(const char *place, struct weir_error *err) {
    return weir_fail(err, WEIR_LIMIT, "the secret in %s has more than %d bytes", place,
                     WEIR_SECRET_BYTES_MAX);
}

static weir_status read_variable(const char *place, const char *name, struct weir_secret *secret,
                                 struct weir_error *err) {
    const char *value = getenv(name);
    if (!value) {
        return weir_fail(err, WEIR_NOT_FOUND, "the variable of %s is not set", place);
    }
    size_t size = strlen(value);
    if (size > WEIR_SECRET_BYTES_MAX) {
        return fail_limit(place, err);
    }
    memcpy(secret->text, value, size);
    return take(secret, size, place, err);
}

static weir_status read_file(const char *place, const char *path, struct weir_secret *secret,
                             struct weir_error *err) {
    // Not blocking: a FIFO that nobody writes to is an empty file.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return weir_fail_errno(err, errno, "cannot read the secret in %s", place);
    }
    size_t size = 0;
    ssize_t got;
    do {
        got = read(fd, secret->text + size, sizeof secret->text - size);
        size += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && size < sizeof secret->text) || (got < 0 && errno == EINTR));
    int code = errno;
    close(fd);
    if (got < 0) {
        return weir_fail_errno(err, code, "cannot read the secret in %s", place);
    }
    return size > WEIR_SECRET_BYTES_MAX ? fail_limit(place, err) : take(secret, size, place, err);
}

weir_status weir_secret_read(const char *place, struct weir_secret *ret_secret,
                             struct weir_error *err) {
    ret_secret->text[0] = '\0';
    ret_secret->size = 0;
    if (!place) {
        return WEIR_OK;
    }
    struct weir_str rest;
    weir_status status = weir_secret_check(weir_str_of(place), err);
    if (status == WEIR_OK) {
        status = behind(weir_str_of(place), "env:", &rest)
                     ? read_variable(place, rest.data, ret_secret, err)
                     : read_file(place, place + strlen("file:"), ret_secret, err);
    }
    if (status != WEIR_OK) {
        weir_secret_forget(ret_secret);
    }
    return status;
}

void weir_secret_forget(struct weir_secret *secret) {
    explicit_bzero(secret, sizeof *secret);
}
