// SPDX-License-Identifier: Apache-2.0
//
// Compiled code on disk: a folder with a file for each module or component, named by the SHA-256 of
// its bytes, the engine's version and weir's own number for its settings. What is in such a file is
// run as machine code, so it has to be weir's: a folder or a file that belongs to somebody else, or
// that others may write, is never used. A file comes to be as a whole or not at all.
//
// Several processes may share a folder. Any thread.
#ifndef WEIR_GUEST_CACHE_H
#define WEIR_GUEST_CACHE_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { WEIR_CACHE_NAME_BYTES = 160 };

struct weir_cache_config {
    const char *path;   // of the folder; made if need be, with its parents. NULL: no cache
    uint64_t bytes_max; // of all files; those that were not used for longest go
    bool is_optional;   // where the folder cannot be made there is no cache, and no error
};

// Opens the folder. *ret_fd is -1 where there is no cache. WEIR_DENIED: it is not weir's alone.
weir_status weir_cache_open(const struct weir_cache_config *config, int *ret_fd,
                            struct weir_error *err);

// The name of what these bytes are compiled to.
weir_status weir_cache_name(struct weir_str wasm, const char *kind,
                            char ret_name[WEIR_CACHE_NAME_BYTES], struct weir_error *err);

// Opens a file and notes that it is used. -1: there is none that may be used.
int weir_cache_find(int folder_fd, const char *name);

// Opens a new file for writing and reading, which has no name yet that is found. -1: it cannot be
// made, with errno.
int weir_cache_begin(int folder_fd, char ret_temporary[WEIR_CACHE_NAME_BYTES]);
// Ends it: makes it durable and gives it its name, or takes it away. The file stays open.
void weir_cache_end(const struct weir_cache_config *config, int folder_fd, int file_fd,
                    const char *temporary, const char *name, bool is_good);

#endif
