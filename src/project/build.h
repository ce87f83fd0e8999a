// SPDX-License-Identifier: Apache-2.0
//
// Building a project's guest with its language's own tools. A recipe finds the tools, says what is
// missing and how to get it, and runs them; their messages go where they say them, to standard
// error. The product appears at its place at once, or not at all, so that a weir that runs never
// reads half of it.
//
// Main thread.
#ifndef WEIR_PROJECT_BUILD_H
#define WEIR_PROJECT_BUILD_H

#include "project/process.h"
#include "project/project.h"

// One build. The paths are absolute: tools run in the project's folder.
struct weir_build {
    const char *folder;                           // the project's
    const char *product;                          // where the recipe leaves the guest
    int stop_fd;                                  // see weir_process_run
    void (*say)(void *context, const char *line); // told each command before it is run
    void *say_context;
};

// Builds the project's guest, project->wasm. WEIR_NOT_FOUND: a tool is missing; WEIR_OTHER: a tool
// failed, and has said why; WEIR_STOPPED.
weir_status weir_project_build(const struct weir_project *project, int stop_fd,
                               void (*say)(void *context, const char *line), void *say_context,
                               struct weir_error *err);

// ---- what recipes are made of ----

weir_status weir_build_c(struct weir_build *build, struct weir_error *err);
weir_status weir_build_rust(struct weir_build *build, struct weir_error *err);
weir_status weir_build_js(struct weir_build *build, struct weir_error *err);
weir_status weir_build_python(struct weir_build *build, struct weir_error *err);

// Runs a tool in the project's folder, its output to standard error. `environment` may be NULL.
weir_status weir_build_run(struct weir_build *build, const struct weir_arguments *arguments,
                           const struct weir_arguments *environment, struct weir_error *err);
// Runs a tool in silence and takes what it prints, without the line break at its end. To be freed.
weir_status weir_build_ask(struct weir_build *build, const struct weir_arguments *arguments,
                           char **ret_answer, struct weir_error *err);
// As weir_process_run with the project's folder, keeping all of the output.
weir_status weir_build_take(struct weir_build *build, const struct weir_arguments *arguments,
                            const struct weir_arguments *environment, struct weir_str *ret_output,
                            struct weir_error *err);

// Whether the project has such a file or folder.
bool weir_build_has(const struct weir_build *build, const char *name);
// The first of the programs (NULL-terminated) that is there. To be freed; NULL: none.
char *weir_build_find(const char *const *names);
// Copies a file to the product's place.
weir_status weir_build_copy(const char *from, const char *to, struct weir_error *err);

#endif
