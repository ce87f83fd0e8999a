// SPDX-License-Identifier: Apache-2.0
//
// Base64 of RFC 4648, section 4: with padding, without line ends. What is read must be canonical.
// Pure functions, any thread. (libcrypto's take what the RFC does not.)
#ifndef WEIR_BASE_BASE64_H
#define WEIR_BASE_BASE64_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

static inline size_t weir_base64_size(size_t bytes) {
    return (bytes + 2) / 3 * 4;
}

// Writes weir_base64_size(bytes.size) letters; no NUL.
void weir_base64_encode(struct weir_str bytes, char *ret_text);

// Writes at most text.size / 4 * 3 bytes. False: it is no base64.
bool weir_base64_decode(struct weir_str text, char *ret_bytes, size_t *ret_size);

#endif
