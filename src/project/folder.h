// SPDX-License-Identifier: Apache-2.0
//
// Folders that are made, filled and removed as a whole: a new project, the resources of a test.
// Any thread; a folder belongs to one.
#ifndef WEIR_PROJECT_FOLDER_H
#define WEIR_PROJECT_FOLDER_H

#include "base/error.h"
#include "base/str.h"

enum { WEIR_FOLDER_PATH_BYTES = 4096 };

// Makes a new folder that only the user may enter, whose path begins with `prefix`. `ret_path` is
// to be freed.
weir_status weir_folder_temporary(const char *prefix, char **ret_path, struct weir_error *err);

// Writes a file below the folder, and makes the folders on its way.
weir_status weir_folder_write(const char *folder, const char *name, struct weir_str content,
                              struct weir_error *err);

// Removes the folder and all that is in it, as far as that can be removed; follows no link. NULL is
// allowed.
void weir_folder_remove(const char *path);

#endif
