// SPDX-License-Identifier: Apache-2.0
//
// The recipe for JavaScript: componentize-js makes a component of src/handler.js and of what that
// imports, for the world `guest` of wit/. It is a package of the project, which npm installs where
// it is not there yet; WEIR_COMPONENTIZE_JS names a folder with it and with a node instead.
#include "project/build.h"

#include <stdio.h>
#include <stdlib.h>

// What componentize-js runs on.
enum { NODE_OLDEST = 20 };

static const char maker[] = "node_modules/@bytecodealliance/componentize-js/package.json";

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
    if (status == WEIR_OK &&
        strtol(answer[0] == 'v' ? answer + 1 : answer, NULL, 10) < NODE_OLDEST) {
        status =
            weir_fail(err, WEIR_NOT_FOUND, "%s is version %s; componentize-js wants %d or newer",
                      node, answer, NODE_OLDEST);
    }
    free(answer);
    return status;
}

static weir_status install(struct weir_build *build, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    char *npm = NULL;
    weir_status status = want_program("npm", &npm, err);
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "%s", npm);
        weir_arguments_add(&arguments,
                           weir_build_has(build, "package-lock.json") ? "ci" : "install");
        weir_arguments_add(&arguments, "--no-audit");
        weir_arguments_add(&arguments, "--no-fund");
        status = weir_build_run(build, &arguments, NULL, err);
    }
    weir_arguments_finish(&arguments);
    free(npm);
    return status;
}

// The node and the script that calls componentize-js: those that the user names, or the project's.
static weir_status find_tools(struct weir_build *build, struct weir_arguments *arguments,
                              struct weir_error *err) {
    const char *folder = getenv("WEIR_COMPONENTIZE_JS");
    if (folder && folder[0]) {
        weir_arguments_add(arguments, "%s/node", folder);
        weir_arguments_add(arguments, "%s/componentize.mjs", folder);
        return WEIR_OK;
    }
    char *node = NULL;
    weir_status status = want_program("node", &node, err);
    status = status == WEIR_OK ? check_node(build, node, err) : status;
    if (status == WEIR_OK && !weir_build_has(build, maker)) {
        status = install(build, err);
    }
    if (status == WEIR_OK) {
        weir_arguments_add(arguments, "%s", node);
        weir_arguments_add(arguments, "componentize.mjs");
    }
    free(node);
    return status;
}

weir_status weir_build_js(struct weir_build *build, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    weir_status status = find_tools(build, &arguments, err);
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "src/handler.js");
        weir_arguments_add(&arguments, "wit");
        weir_arguments_add(&arguments, "guest");
        weir_arguments_add(&arguments, "%s", build->product);
        status = weir_build_run(build, &arguments, NULL, err);
    }
    weir_arguments_finish(&arguments);
    return status;
}
