// SPDX-License-Identifier: Apache-2.0
//
// A value of a key-value store, on its way between a provider and whoever asked for it.
#ifndef WEIR_BASE_VALUE_H
#define WEIR_BASE_VALUE_H

#include "base/error.h"
#include "base/str.h"

#include <stdint.h>

struct weir_trace_call;

// What bounds a call that reads or writes. Who answers it may have a time-out of its own besides.
struct weir_limits {
    uint64_t value_bytes_max; // of a value that is read; WEIR_LIMIT above it
    int64_t until_ns;         // of the monotonic clock; INT64_MAX: there is no such moment. What
                              // has not come by then is WEIR_UNAVAILABLE
    struct weir_trace_call *trace; // of the call that asks (trace/trace.h); NULL: there is none
};

// Who is told the keys of a listing, one by one; false ends it.
struct weir_listing {
    bool (*each)(void *context, struct weir_str key);
    void *context;
};

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
