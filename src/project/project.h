// SPDX-License-Identifier: Apache-2.0
//
// A project: a folder with a weir.yaml and the source of one guest. There is no project file beside
// it: the language is told by the file that the language's own tools want, and what is built goes
// to where weir.yaml looks for it, the `wasm` of its first guest. Further guests of a weir.yaml are
// made elsewhere.
//
// Main thread.
#ifndef WEIR_PROJECT_PROJECT_H
#define WEIR_PROJECT_PROJECT_H

#include "base/error.h"
#include "config/config.h"

struct weir_language;

#define WEIR_PROJECT_CONFIG "weir.yaml"

struct weir_project {
    char *folder;              // as given
    char *config_path;         // FOLDER/weir.yaml
    struct weir_config config; // read from it
    const struct weir_language *language;
    const char *guest; // the name of the guest that is built; the configuration's
    const char *wasm;  // its file; the configuration's
};

// Reads a project's weir.yaml, and finds its language. WEIR_INVALID with mistakes in `problems`, or
// with `err` where there are none: no language, or more than one. `ret_project` is to be finished
// in each case.
weir_status weir_project_open(const char *folder, struct weir_project *ret_project,
                              struct weir_problems *problems, struct weir_error *err);
void weir_project_finish(struct weir_project *project);

// Makes a new project: the folder NAME in the working directory, which must not be there or be
// empty. It appears at once, whole, or not at all. WEIR_INVALID: the name; WEIR_DENIED: there is
// something of that name.
weir_status weir_project_make(const char *name, const struct weir_language *language,
                              struct weir_error *err);

#endif
