// SPDX-License-Identifier: Apache-2.0
//
// One row for each thing that a user may set. The rows of a table are the only place where a key's
// name, type, unit, default, bounds and help are written: parsing, validation, `weir help` and the
// reference pages are made from them.
#ifndef WEIR_CONFIG_OPTION_H
#define WEIR_CONFIG_OPTION_H

#include "base/error.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum weir_option_type {
    WEIR_OPTION_TEXT, // char *, owned by the struct
    WEIR_OPTION_PATH, // char *, owned; a relative path starts at the configuration file's folder
    WEIR_OPTION_DURATION, // int64_t, nanoseconds; written "250ms", "5s", "2m", "1h"
    WEIR_OPTION_SIZE,     // uint64_t, bytes; written "512", "64KiB", "16MiB", "1GiB"
    WEIR_OPTION_COUNT,    // uint64_t
    WEIR_OPTION_RATIO,    // double
    WEIR_OPTION_BOOL,     // bool; written true or false
    WEIR_OPTION_CHOICE,   // int, an index into `choices`
    WEIR_OPTION_SECRET,   // char *, owned: where the secret is, "env:NAME" or "file:PATH", never
                          // the secret itself; see secret.h
};

struct weir_option {
    const char *name;
    enum weir_option_type type;
    size_t offset; // of the member in the struct that the table describes
    const char
        *fallback;    // the default, written as a user would; NULL: none (text is NULL, the rest 0)
    bool is_required; // must be given
    int64_t min,
        max; // inclusive, in the type's unit (text, path: bytes); both 0: unbounded. Ratios: 0 to 1
    const char *const *choices; // NULL-terminated; only for WEIR_OPTION_CHOICE
    const char *help;           // one line: what it does
};

struct weir_option_table {
    const struct weir_option *rows;
    size_t count;
};

// Sets every member to its default, owned texts to copies. `base` is the described struct, zeroed
// before. WEIR_NO_MEMORY.
weir_status weir_options_init(const struct weir_option_table *table, void *base,
                              struct weir_error *err);

// Frees what the struct owns through the table, and sets it to NULL.
void weir_options_finish(const struct weir_option_table *table, void *base);

// The row of that name, NULL where there is none.
const struct weir_option *weir_option_find(const struct weir_option_table *table,
                                           struct weir_str name);

// What may be written for the row, for messages and for help: "a duration such as 250ms, 5s or 2m,
// from 1ms to 1h". Returns `buffer`.
const char *weir_option_expected(const struct weir_option *option, char *buffer, size_t size);
enum { WEIR_OPTION_EXPECTED_BYTES = 256 }; // enough for any row

// The same in the few words of a table: "1ms to 1h", "true or false", "path". Returns `buffer`.
const char *weir_option_range(const struct weir_option *option, char *buffer, size_t size);

// Parses a text as the row's type, checks its bounds and stores it. `folder`: where a relative path
// starts; NULL for the working directory. WEIR_INVALID tells what would be right, without the
// option's name in front.
weir_status weir_option_set(const struct weir_option *option, void *base, struct weir_str text,
                            const char *folder, struct weir_error *err);

// Writes what the option holds as a user would write it. Returns `buffer`.
const char *weir_option_format(const struct weir_option *option, const void *base, char *buffer,
                               size_t size);

#endif
