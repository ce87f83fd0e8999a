// SPDX-License-Identifier: Apache-2.0
//
// The recipe for Python: weir-sdk/build.py makes a component of src/handler.py and of what that
// imports, with componentize-py, which is a package of the Python that runs it: that of the virtual
// environment which WEIR_COMPONENTIZE_PY names, or of the project's .venv, which is made where it
// is not there yet and gets what requirements.txt names.
#include "project/build.h"

#include <stdio.h>
#include <stdlib.h>

static weir_status make_venv(struct weir_build *build, struct weir_error *err) {
    static const char *const names[] = {"python3", "python", NULL};
    struct weir_arguments arguments = {.count = 0};
    char *python = weir_build_find(names);
    if (!python) {
        return weir_fail(err, WEIR_NOT_FOUND,
                         "python3 is missing; a guest in Python is built with Python 3.11 or newer "
                         "(on Debian: apt-get install python3 python3-venv)");
    }
    weir_arguments_add(&arguments, "%s", python);
    weir_arguments_add(&arguments, "-m");
    weir_arguments_add(&arguments, "venv");
    weir_arguments_add(&arguments, ".venv");
    free(python);
    weir_status status = weir_build_run(build, &arguments, NULL, err);
    weir_arguments_finish(&arguments);
    return status == WEIR_OK
               ? status
               : weir_error_prefix(err, status,
                                   "making .venv (on Debian: apt-get install python3-venv)");
}

static weir_status install(struct weir_build *build, struct weir_error *err) {
    static const char *const words[] = {
        "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"};
    struct weir_arguments arguments = {.count = 0};
    weir_arguments_add(&arguments, "%s/.venv/bin/python", build->folder);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        weir_arguments_add(&arguments, "%s", words[i]);
    }
    weir_status status = weir_build_run(build, &arguments, NULL, err);
    weir_arguments_finish(&arguments);
    return status;
}

// Adds the Python that has componentize-py.
static weir_status find_tools(struct weir_build *build, struct weir_arguments *arguments,
                              struct weir_error *err) {
    const char *venv = getenv("WEIR_COMPONENTIZE_PY");
    weir_status status = WEIR_OK;
    if (venv && venv[0]) {
        weir_arguments_add(arguments, "%s/bin/python", venv);
        return WEIR_OK;
    }
    if (!weir_build_has(build, ".venv/bin/python")) {
        status = make_venv(build, err);
    }
    // pip writes it last, so that an installation that was stopped is done again.
    if (status == WEIR_OK && !weir_build_has(build, ".venv/bin/componentize-py")) {
        status = install(build, err);
    }
    weir_arguments_add(arguments, "%s/.venv/bin/python", build->folder);
    return status;
}

weir_status weir_build_python(struct weir_build *build, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    weir_status status = find_tools(build, &arguments, err);
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "weir-sdk/build.py");
        weir_arguments_add(&arguments, "src/handler.py");
        weir_arguments_add(&arguments, "-o");
        weir_arguments_add(&arguments, "%s", build->product);
        status = weir_build_run(build, &arguments, NULL, err);
    }
    weir_arguments_finish(&arguments);
    return status;
}
