// SPDX-License-Identifier: Apache-2.0
//
// Files of weir's tree that are in the program. Tables of them are written by tools/embed.py when
// weir is built. Constant; any thread.
#ifndef WEIR_BASE_EMBEDDED_H
#define WEIR_BASE_EMBEDDED_H

#include <stddef.h>

struct weir_embedded_file {
    const char *path; // in weir's tree: "templates/c/weir.yaml"
    size_t size;      // bytes; a NUL follows them
    const char *data;
};

// The templates of projects, the WIT and the SDKs; in the order of their paths within each folder.
extern const struct weir_embedded_file weir_embedded_files[];
extern const size_t weir_embedded_count;
// The console, src/admin/console/.
extern const struct weir_embedded_file weir_console_files[];
extern const size_t weir_console_count;

#endif
