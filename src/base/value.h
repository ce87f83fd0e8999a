// SPDX-License-Identifier: Apache-2.0
//
// A value of a key-value store, on its way between a provider and whoever asked for it.
#ifndef WEIR_BASE_VALUE_H
#define WEIR_BASE_VALUE_H

#include "base/error.h"
#include "base/str.h"

// Bytes that were read. The caller frees `data` with free().
struct weir_value {
    char *data; // never NULL after success
    size_t size;
};

// What a value is to become, told by what it is: read, changed and written as one step. `change` is
// called on the caller's thread, more than once where others were first. `current` is NULL where
// there is no such key. It makes the new value with malloc, which its caller frees; an error ends
// the update, and nothing is written.
struct weir_change {
    weir_status (*change)(void *context, const struct weir_str *current,
                          struct weir_value *ret_value, struct weir_error *err);
    void *context;
};

#endif
