// SPDX-License-Identifier: Apache-2.0
//
// The recipe for JavaScript: weir-sdk/build.mjs makes a component of src/handler.js and of what
// that imports. The packages that it wants are named and pinned by the SDK's own lock file, and npm
// installs them into weir-sdk/node_modules, once; a folder that WEIR_COMPONENTIZE_JS names has
// them, and a node, already. Packages of the project's own are the business of its
// package-lock.json.
#include "project/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// What componentize-js runs on.
enum { NODE_OLDEST = 20 };

static weir_status want_program(const char *name, char **ret_path, struct weir_error *err) {
    if (weir_program_find(name, ret_path)) {
        return WEIR_OK;
    }
    return weir_fail(
        err, WEIR_NOT_FOUND,
        "%s is missing; a guest in JavaScript is built with Node.js %d or newer, which "
        "brings node and npm",
        name, NODE_OLDEST);
}

static weir_status check_node(struct weir_build *build, const char *node, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    char *answer = NULL;
    weir_arguments_add(&arguments, "%s", node);
    weir_arguments_add(&arguments, "--version");
    weir_status status = weir_build_ask(build, &arguments, &answer, err);
    weir_arguments_finish(&arguments);
    // "v20.11.1"
    if (status == WEIR_OK && (answer[0] != 'v' || strtol(answer + 1, NULL, 10) < NODE_OLDEST)) {
        status = weir_fail(err, WEIR_NOT_FOUND,
                           "%s is version %s; componentize-js wants Node.js %d or newer", node,
                           answer, NODE_OLDEST);
    }
    free(answer);
    return status;
}

// Installs what the lock file of a folder of the project names.
static weir_status install(struct weir_build *build, const char *folder, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    char *npm = NULL;
    weir_status status = want_program("npm", &npm, err);
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "%s", npm);
        weir_arguments_add(&arguments, "ci");
        weir_arguments_add(&arguments, "--prefix");
        weir_arguments_add(&arguments, "%s", folder);
        weir_arguments_add(&arguments, "--no-audit");
        weir_arguments_add(&arguments, "--no-fund");
        status = weir_build_run(build, &arguments, NULL, err);
    }
    weir_arguments_finish(&arguments);
    free(npm);
    return status;
}

// Node looks for packages beside the module that imports them, so a folder of packages elsewhere is
// made to seem to be there.
static weir_status link_packages(struct weir_build *build, const char *folder,
                                 struct weir_error *err) {
    char *from = NULL, *to = NULL;
    weir_status status = WEIR_OK;
    if (asprintf(&from, "%s/node_modules", folder) < 0) {
        return weir_fail_no_memory(err, "a path");
    }
    if (asprintf(&to, "%s/weir-sdk/node_modules", build->folder) < 0) {
        free(from);
        return weir_fail_no_memory(err, "a path");
    }
    if (symlink(from, to) != 0 && errno != EEXIST) {
        status = weir_fail_errno(err, errno, "cannot make the link %s", to);
    }
    free(from);
    free(to);
    return status;
}

// Sees to the packages, and finds the node. `ret_node` is to be freed.
static weir_status find_tools(struct weir_build *build, char **ret_node, struct weir_error *err) {
    const char *folder = getenv("WEIR_COMPONENTIZE_JS");
    // npm writes it last, so that an installation that was stopped is done again.
    bool has_packages = weir_build_has(build, "weir-sdk/node_modules/.package-lock.json");
    *ret_node = NULL;
    if (folder && folder[0]) {
        if (asprintf(ret_node, "%s/node", folder) < 0) {
            *ret_node = NULL;
            return weir_fail_no_memory(err, "a path");
        }
        return has_packages ? WEIR_OK : link_packages(build, folder, err);
    }
    weir_status status = want_program("node", ret_node, err);
    status = status == WEIR_OK ? check_node(build, *ret_node, err) : status;
    if (status == WEIR_OK && !has_packages) {
        status = install(build, "weir-sdk", err);
    }
    return status;
}

weir_status weir_build_js(struct weir_build *build, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    char *node;
    weir_status status = find_tools(build, &node, err);
    if (status == WEIR_OK && weir_build_has(build, "package-lock.json") &&
        !weir_build_has(build, "node_modules/.package-lock.json")) {
        status = install(build, ".", err);
    }
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "%s", node);
        weir_arguments_add(&arguments, "weir-sdk/build.mjs");
        bool is_typed = weir_build_has(build, "src/handler.ts");
        weir_arguments_add(&arguments, "src/handler.%s", is_typed ? "ts" : "js");
        weir_arguments_add(&arguments, "-o");
        weir_arguments_add(&arguments, "%s", build->product);
        status = weir_build_run(build, &arguments, NULL, err);
    }
    weir_arguments_finish(&arguments);
    free(node);
    return status;
}
