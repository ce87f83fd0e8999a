// SPDX-License-Identifier: Apache-2.0
//
// The recipe for Rust: cargo, for the target wasm32-wasip1, whose standard library comes from one
// of three places. A toolchain of rustup's has it when it was added. WEIR_RUST_SYSROOT names a
// folder with one that was built before. Debian's Rust has its source (rust-web-src), of which
// cargo builds it into the project's target/, against Debian's wasi-libc.
#include "project/build.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TARGET       "wasm32-wasip1"
#define DEBIAN_LIBC  "/usr/lib/wasm32-wasi"
#define LINKER_SHOWN "CARGO_TARGET_WASM32_WASIP1_LINKER"
#define FLAGS_SHOWN  "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS"

static const char how_to_get_rust[] =
    "with rustup: rustup target add " TARGET "; on Debian: apt-get install cargo-web rustc-web "
    "rust-web-src lld-19 wasi-libc";

struct rust {
    char *cargo, *rustc;
    struct weir_arguments command, environment;
};

static void finish(struct rust *rust) {
    weir_arguments_finish(&rust->command);
    weir_arguments_finish(&rust->environment);
    free(rust->cargo);
    free(rust->rustc);
}

// The program that a variable of cargo's names, or else the one of the PATH.
static char *find_program(const char *variable, const char *name) {
    const char *named = getenv(variable);
    char *path = NULL;
    weir_program_find(named && named[0] ? named : name, &path);
    return path;
}

static weir_status ask_rustc(struct weir_build *build, const struct rust *rust, const char *what,
                             char **ret_answer, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    weir_arguments_add(&arguments, "%s", rust->rustc);
    weir_arguments_add(&arguments, "--print");
    weir_arguments_add(&arguments, "%s", what);
    if (strcmp(what, "target-libdir") == 0) {
        weir_arguments_add(&arguments, "--target");
        weir_arguments_add(&arguments, TARGET);
    }
    weir_status status = weir_build_ask(build, &arguments, ret_answer, err);
    weir_arguments_finish(&arguments);
    return status;
}

static bool has_match(const char *folder, const char *pattern) {
    char *path;
    glob_t found;
    if (asprintf(&path, "%s/%s", folder, pattern) < 0) {
        return false;
    }
    bool is_found = glob(path, 0, NULL, &found) == 0;
    if (is_found) {
        globfree(&found);
    }
    free(path);
    return is_found;
}

static bool has_target(struct weir_build *build, const struct rust *rust) {
    char *folder = NULL;
    bool is_there = ask_rustc(build, rust, "target-libdir", &folder, NULL) == WEIR_OK &&
                    has_match(folder, "libstd-*.rlib");
    free(folder);
    return is_there;
}

static bool has_source(struct weir_build *build, const struct rust *rust) {
    char *folder = NULL;
    bool is_there = ask_rustc(build, rust, "sysroot", &folder, NULL) == WEIR_OK &&
                    has_match(folder, "lib/rustlib/src/rust/library/std/Cargo.toml");
    free(folder);
    return is_there;
}

// Rust's own linker and its copy of wasi-libc come with the target; without it they are Debian's.
static weir_status add_linker(struct rust *rust, const char *flags, const char *folder,
                              struct weir_error *err) {
    char *linker = weir_build_find((const char *const[]){"wasm-ld-19", "wasm-ld-18", "wasm-ld-17",
                                                         "wasm-ld-16", "wasm-ld", NULL});
    if (!linker) {
        return weir_fail(err, WEIR_NOT_FOUND, "the linker wasm-ld is missing; %s", how_to_get_rust);
    }
    weir_arguments_add(&rust->environment, LINKER_SHOWN "=%s", linker);
    weir_arguments_add(&rust->environment, FLAGS_SHOWN "=%s%s", flags, folder);
    // These would win over the target's own.
    weir_arguments_add(&rust->environment, "RUSTFLAGS");
    weir_arguments_add(&rust->environment, "CARGO_ENCODED_RUSTFLAGS");
    free(linker);
    return WEIR_OK;
}

static weir_status choose_library(struct weir_build *build, struct rust *rust,
                                  struct weir_error *err) {
    const char *sysroot = getenv("WEIR_RUST_SYSROOT");
    if (sysroot && sysroot[0]) {
        return add_linker(rust, "--sysroot ", sysroot, err);
    }
    if (has_target(build, rust)) {
        return WEIR_OK;
    }
    if (!has_source(build, rust)) {
        return weir_fail(err, WEIR_NOT_FOUND, "%s has no standard library for " TARGET "; %s",
                         rust->rustc, how_to_get_rust);
    }
    if (access(DEBIAN_LIBC "/libc.a", R_OK) != 0) {
        return weir_fail(err, WEIR_NOT_FOUND, "wasi-libc is missing (" DEBIAN_LIBC "/libc.a); %s",
                         how_to_get_rust);
    }
    weir_arguments_add(&rust->command, "-Zbuild-std=std,panic_abort");
    // The compiler's own library may use what is unstable for others.
    weir_arguments_add(&rust->environment, "RUSTC_BOOTSTRAP=1");
    return add_linker(rust, "-Clink-self-contained=no -L", DEBIAN_LIBC, err);
}

static weir_status find_tools(struct weir_build *build, struct rust *rust, struct weir_error *err) {
    rust->cargo = find_program("CARGO", "cargo");
    rust->rustc = find_program("RUSTC", "rustc");
    if (!rust->cargo || !rust->rustc) {
        return weir_fail(err, WEIR_NOT_FOUND, "%s is missing; %s", rust->cargo ? "rustc" : "cargo",
                         how_to_get_rust);
    }
    weir_arguments_add(&rust->command, "%s", rust->cargo);
    weir_arguments_add(&rust->command, "build");
    weir_arguments_add(&rust->command, "--release");
    weir_arguments_add(&rust->command, "--target");
    weir_arguments_add(&rust->command, TARGET);
    // Cargo says what it made as JSON, and its compiler's messages as it always does.
    weir_arguments_add(&rust->command, "--message-format");
    weir_arguments_add(&rust->command, "json-render-diagnostics");
    return choose_library(build, rust, err);
}

// ---- what cargo made ----

// The module that one of cargo's messages names; NULL: none. Borrowed from the message.
static const char *module_of(const json_t *message) {
    const char *reason = json_string_value(json_object_get(message, "reason")), *module = NULL;
    size_t i;
    json_t *name;
    if (!reason || strcmp(reason, "compiler-artifact") != 0) {
        return NULL;
    }
    json_array_foreach(json_object_get(message, "filenames"), i, name) {
        const char *text = json_string_value(name);
        size_t size = text ? strlen(text) : 0;
        module = size > 5 && strcmp(text + size - 5, ".wasm") == 0 ? text : module;
    }
    return module;
}

// The one module among cargo's messages, a line each. `ret_module` is to be freed.
static weir_status find_module(struct weir_str messages, char **ret_module,
                               struct weir_error *err) {
    const char *at = messages.data, *end = messages.data + messages.size;
    *ret_module = NULL;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((line_end ? line_end : end) - at);
        json_t *message = json_loadb(at, size, JSON_ALLOW_NUL, NULL);
        const char *module = module_of(message);
        if (module && *ret_module && strcmp(module, *ret_module) != 0) {
            weir_status status = weir_fail(err, WEIR_INVALID,
                                           "cargo makes more than one module, %s and %s; a project "
                                           "is one guest",
                                           *ret_module, module);
            json_decref(message);
            free(*ret_module);
            *ret_module = NULL;
            return status;
        }
        if (module && !*ret_module) {
            *ret_module = strdup(module);
        }
        json_decref(message);
        at += size + 1;
    }
    return *ret_module ? WEIR_OK
                       : weir_fail(err, WEIR_INVALID,
                                   "cargo made no module; a guest's Cargo.toml has [lib] with "
                                   "crate-type = [\"cdylib\"], or a src/main.rs");
}

static weir_status build_module(struct weir_build *build, struct rust *rust,
                                struct weir_error *err) {
    struct weir_str messages = {0};
    char *module = NULL, *shown = weir_arguments_shown(&rust->command);
    if (shown) {
        build->say(build->say_context, shown);
    }
    free(shown);
    weir_status status = weir_build_take(build, &rust->command, &rust->environment, &messages, err);
    if (status == WEIR_OK) {
        status = find_module(messages, &module, err);
    }
    if (status == WEIR_OK) {
        status = weir_build_copy(module, build->product, err);
    }
    free((char *)(uintptr_t)messages.data);
    free(module);
    return status;
}

weir_status weir_build_rust(struct weir_build *build, struct weir_error *err) {
    struct rust rust = {.cargo = NULL};
    weir_status status = find_tools(build, &rust, err);
    status = status == WEIR_OK ? build_module(build, &rust, err) : status;
    finish(&rust);
    return status;
}
