// SPDX-License-Identifier: Apache-2.0
//
// Files of weir's tree that are in the program: the templates of projects, the WIT and the SDKs.
// The table is written by tools/embed.py when weir is built. Constant; any thread.
#ifndef WEIR_PROJECT_EMBEDDED_H
#define WEIR_PROJECT_EMBEDDED_H

#include <stddef.h>

struct weir_embedded_file {
    const char *path; // in weir's tree: "templates/c/weir.yaml"
    size_t size;      // bytes; a NUL follows them
    const char *data;
};

// In the order of their paths within each folder.
extern const struct weir_embedded_file weir_embedded_files[];
extern const size_t weir_embedded_count;

#endif
