// SPDX-License-Identifier: Apache-2.0
//
// Secrets: passwords and the like. A configuration says where one is, "env:NAME" (a variable of the
// environment) or "file:PATH", never what it is, so that a configuration can be shown, logged and
// kept under version control. It is read when it is needed, each time anew: one that was changed
// holds from the next connection on. Any thread.
#ifndef WEIR_CONFIG_SECRET_H
#define WEIR_CONFIG_SECRET_H

#include "base/error.h"
#include "base/str.h"

#define WEIR_SECRET_FORMS "env:NAME or file:PATH"
enum { WEIR_SECRET_BYTES_MAX = 8192 };

// Whether the text is of one of the two forms. WEIR_INVALID, without showing the text, since who
// mistakes this writes the secret itself.
weir_status weir_secret_check(struct weir_str text, struct weir_error *err);

struct weir_secret {
    char text[WEIR_SECRET_BYTES_MAX + 1]; // ends in a NUL
    size_t size;
};

// Reads the secret that is at `place`; a line's end behind it is left out. NULL: an empty one.
// WEIR_NOT_FOUND, WEIR_DENIED, WEIR_INVALID (empty, a NUL in it), WEIR_LIMIT.
weir_status weir_secret_read(const char *place, struct weir_secret *ret_secret,
                             struct weir_error *err);
// Overwrites it.
void weir_secret_forget(struct weir_secret *secret);

#endif
