// SPDX-License-Identifier: Apache-2.0
//
// The recipe for Python: componentize-py makes a component of src/handler.py and of what that
// imports, for the world `guest` of wit/. It is looked for in WEIR_COMPONENTIZE_PY (a virtual
// environment), in the project's .venv, and in the PATH; where it is nowhere, a .venv is made and
// gets what requirements.txt names.
#include "project/build.h"

#include <stdio.h>
#include <stdlib.h>

static weir_status make_venv(struct weir_build *build, struct weir_error *err) {
    static const char *const names[] = {"python3", "python", NULL};
    struct weir_arguments venv = {.count = 0}, pip = {.count = 0};
    char *python = weir_build_find(names);
    if (!python) {
        return weir_fail(err, WEIR_NOT_FOUND,
                         "python3 is missing; a guest in Python is built with Python 3.10 or newer "
                         "(on Debian: apt-get install python3 python3-venv)");
    }
    weir_arguments_add(&venv, "%s", python);
    weir_arguments_add(&venv, "-m");
    weir_arguments_add(&venv, "venv");
    weir_arguments_add(&venv, ".venv");
    free(python);
    weir_status status = weir_build_run(build, &venv, NULL, err);
    if (status != WEIR_OK) {
        weir_error_prefix(err, status, "making .venv (on Debian: apt-get install python3-venv)");
    } else {
        weir_arguments_add(&pip, "%s/.venv/bin/python", build->folder);
        weir_arguments_add(&pip, "-m");
        weir_arguments_add(&pip, "pip");
        weir_arguments_add(&pip, "install");
        weir_arguments_add(&pip, "--quiet");
        weir_arguments_add(&pip, "--disable-pip-version-check");
        weir_arguments_add(&pip, "-r");
        weir_arguments_add(&pip, "requirements.txt");
        status = weir_build_run(build, &pip, NULL, err);
    }
    weir_arguments_finish(&venv);
    weir_arguments_finish(&pip);
    return status;
}

// A virtual environment whose command is called by its Python: pip writes the folder's path into
// commands, and the folder may have been moved.
static void call_in(struct weir_arguments *arguments, const char *venv) {
    weir_arguments_add(arguments, "%s/bin/python", venv);
    weir_arguments_add(arguments, "-c");
    weir_arguments_add(arguments, "import componentize_py; componentize_py.script()");
}

static weir_status find_tools(struct weir_build *build, struct weir_arguments *arguments,
                              struct weir_error *err) {
    const char *venv = getenv("WEIR_COMPONENTIZE_PY");
    char *own = NULL, *path = NULL;
    if (venv && venv[0]) {
        call_in(arguments, venv);
        return WEIR_OK;
    }
    weir_status status = WEIR_OK;
    if (!weir_build_has(build, ".venv/bin/componentize-py")) {
        weir_program_find("componentize-py", &path);
        status = path ? WEIR_OK : make_venv(build, err);
    }
    if (path) {
        weir_arguments_add(arguments, "%s", path);
    } else if (status == WEIR_OK && asprintf(&own, "%s/.venv", build->folder) < 0) {
        own = NULL;
        status = weir_fail_no_memory(err, "a path");
    } else if (status == WEIR_OK) {
        call_in(arguments, own);
    }
    free(path);
    free(own);
    return status;
}

weir_status weir_build_python(struct weir_build *build, struct weir_error *err) {
    static const char *const words[] = {"--wit-path",   "wit",           "--world", "guest",
                                        "componentize", "--python-path", "src",     "--python-path",
                                        "weir-sdk",     "--output"};
    struct weir_arguments arguments = {.count = 0}, environment = {.count = 0};
    weir_status status = find_tools(build, &arguments, err);
    if (status == WEIR_OK) {
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            weir_arguments_add(&arguments, "%s", words[i]);
        }
        weir_arguments_add(&arguments, "%s", build->product);
        weir_arguments_add(&arguments, "handler");
        // It would look for packages there in place of its own.
        weir_arguments_add(&environment, "VIRTUAL_ENV");
        status = weir_build_run(build, &arguments, &environment, err);
    }
    weir_arguments_finish(&arguments);
    weir_arguments_finish(&environment);
    return status;
}
