// SPDX-License-Identifier: Apache-2.0
//
// Keys as file names and back. The coding is a bijection between the keys that the provider accepts
// and the paths that it uses, so a file has one key and a key one file. Pure functions, any thread;
// how it is coded is told in key.c.
#ifndef WEIR_PROVIDER_FILE_KEY_H
#define WEIR_PROVIDER_FILE_KEY_H

#include "base/error.h"
#include "base/str.h"
#include "provider/provider.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    WEIR_FILE_PATH_BYTES = PATH_MAX,     // a path with its terminator
    WEIR_FILE_NAME_BYTES_MAX = NAME_MAX, // one segment, coded
};

// A path relative to the resource's directory.
struct weir_file_path {
    size_t size; // bytes, without the terminator
    size_t
        name_at; // where the last segment starts: what stands before it is the parent, with its '/'
    char text[WEIR_FILE_PATH_BYTES];
};

// The path of a key. WEIR_INVALID: the key is empty, longer than WEIR_KEY_BYTES_MAX or holds a NUL.
// WEIR_LIMIT: a segment or the path is longer than a file system takes.
weir_status weir_file_key_encode(struct weir_str key, struct weir_file_path *ret_path,
                                 struct weir_error *err);

// The path of the directory that holds the keys with this prefix, which is empty (the resource's
// own directory, the path ".") or ends in '/'. Errors as above.
weir_status weir_file_folder_encode(struct weir_str prefix, struct weir_file_path *ret_path,
                                    struct weir_error *err);

// Whether some key of the pattern has a path. Errors as above.
weir_status weir_file_pattern_check(const struct weir_pattern *pattern, struct weir_error *err);

// The part of a key that a file or directory name stands for, which may be empty. Returns false
// where the name is not what a key is coded to: then no key has it. `ret_segment` need not be set
// then.
bool weir_file_name_decode(struct weir_str name, char ret_segment[static WEIR_FILE_NAME_BYTES_MAX],
                           size_t *ret_size);

// What stands before the last '/' of a key, with it; empty where there is none.
struct weir_str weir_file_folder_of(struct weir_str key);

#endif
