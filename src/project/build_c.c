// SPDX-License-Identifier: Apache-2.0
//
// The recipe for C: clang and wasi-libc make one module of all src/*.c. They are Debian's, or those
// of a wasi-sdk that WASI_SDK_PATH names.
#include "project/build.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLANG_OLDEST = 14, CLANG_NEWEST = 19 };

static const char how_to_install[] =
    "on Debian: apt-get install clang lld wasi-libc libclang-rt-dev-wasm32 (or with a version, "
    "such "
    "as clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32); elsewhere a wasi-sdk, whose folder "
    "WASI_SDK_PATH names";

// The newest clang by its name with a version, for `clang` alone may be one without wasi-libc.
static char *find_clang(void) {
    const char *sdk = getenv("WASI_SDK_PATH");
    char name[sizeof "clang-" + 10], *path = NULL, *named = NULL;
    if (sdk && sdk[0]) {
        if (asprintf(&named, "%s/bin/clang", sdk) >= 0) {
            weir_program_find(named, &path);
            free(named);
        }
        return path;
    }
    for (int version = CLANG_NEWEST; version >= CLANG_OLDEST && !path; version--) {
        snprintf(name, sizeof name, "clang-%d", version);
        weir_program_find(name, &path);
    }
    return path ? path : weir_build_find((const char *const[]){"clang", NULL});
}

// Asks clang where a part of the tool chain is, which is not there where the answer is no path of a
// file.
static weir_status want_part(struct weir_build *build, const char *clang, const char *question,
                             const char *part, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    char *answer = NULL, *path = NULL;
    weir_arguments_add(&arguments, "%s", clang);
    weir_arguments_add(&arguments, "--target=wasm32-wasi");
    weir_arguments_add(&arguments, "%s", question);
    weir_status status = weir_build_ask(build, &arguments, &answer, err);
    weir_arguments_finish(&arguments);
    if (status == WEIR_OK && access(answer, R_OK) != 0 && !weir_program_find(answer, &path)) {
        status = weir_fail(err, WEIR_NOT_FOUND, "%s has no %s for wasm32-wasi; %s", clang, part,
                           how_to_install);
    }
    free(path);
    free(answer);
    return status;
}

static weir_status find_tools(struct weir_build *build, char **ret_clang, struct weir_error *err) {
    *ret_clang = find_clang();
    if (!*ret_clang) {
        return weir_fail(err, WEIR_NOT_FOUND, "clang is missing; %s", how_to_install);
    }
    weir_status status =
        want_part(build, *ret_clang, "-print-file-name=libc.a", "C library (wasi-libc)", err);
    if (status == WEIR_OK) {
        status = want_part(build, *ret_clang, "-print-prog-name=wasm-ld", "linker (wasm-ld)", err);
    }
    if (status == WEIR_OK) {
        status = want_part(build, *ret_clang, "-print-libgcc-file-name",
                           "runtime library (libclang_rt.builtins-wasm32)", err);
    }
    return status;
}

// All of src/*.c, in the order of their names.
static weir_status add_sources(const struct weir_build *build, struct weir_arguments *arguments,
                               struct weir_error *err) {
    char *pattern;
    glob_t found;
    if (asprintf(&pattern, "%s/src/*.c", build->folder) < 0) {
        return weir_fail_no_memory(err, "the list of sources");
    }
    int result = glob(pattern, 0, NULL, &found);
    free(pattern);
    if (result == GLOB_NOMATCH) {
        return weir_fail(err, WEIR_NOT_FOUND, "there is no source: no src/*.c in %s",
                         build->folder);
    }
    if (result != 0) {
        return weir_fail(err, WEIR_OTHER, "cannot look for src/*.c in %s", build->folder);
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        weir_arguments_add(arguments, "%s", found.gl_pathv[i] + strlen(build->folder) + 1);
    }
    globfree(&found);
    return WEIR_OK;
}

weir_status weir_build_c(struct weir_build *build, struct weir_error *err) {
    static const char *const options[] = {
        "--target=wasm32-wasi", "-mexec-model=reactor", "-std=gnu17", "-O2", "-Wall", "-Wextra",
        // Names stay, for the backtrace of a trap. With the stack first in memory its end is the
        // memory's, so that going over it traps instead of overwriting data.
        "-Wl,--strip-debug", "-Wl,--stack-first", "-Iweir-sdk"};
    struct weir_arguments arguments = {.count = 0};
    char *clang;
    weir_status status = find_tools(build, &clang, err);
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "%s", clang);
        for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
            weir_arguments_add(&arguments, "%s", options[i]);
        }
        status = add_sources(build, &arguments, err);
    }
    if (status == WEIR_OK) {
        weir_arguments_add(&arguments, "-o");
        weir_arguments_add(&arguments, "%s", build->product);
        status = weir_build_run(build, &arguments, NULL, err);
    }
    weir_arguments_finish(&arguments);
    free(clang);
    return status;
}
