// SPDX-License-Identifier: Apache-2.0
//
// Watches a project's sources. What tools make (target/, node_modules/, build/, hidden folders) and
// the folders of its resources are none; a change counts when a file with one of the language's
// suffixes is written, made, renamed or removed, so editors that write beside and rename are seen.
//
// Main thread.
#ifndef WEIR_PROJECT_SOURCES_H
#define WEIR_PROJECT_SOURCES_H

#include "base/error.h"

#include <stdbool.h>

struct weir_project;
struct weir_sources;

enum { WEIR_SOURCES_FOLDERS_MAX = 4096 };

// What changed.
struct weir_changes {
    bool sources;
    bool config; // weir.yaml
};

// Begins to watch; the project is used during the call only. WEIR_LIMIT: the system has no watches
// left, or there are more folders than WEIR_SOURCES_FOLDERS_MAX.
weir_status weir_sources_watch(const struct weir_project *project,
                               struct weir_sources **ret_sources, struct weir_error *err);
void weir_sources_end(struct weir_sources *sources); // NULL is allowed

// Readable when something changed.
int weir_sources_fd(const struct weir_sources *sources);
// Adds to `changes` what changed since the last call. Does not wait.
void weir_sources_read(struct weir_sources *sources, struct weir_changes *changes);

#endif
