// SPDX-License-Identifier: Apache-2.0
//
// The languages that `weir new` and `weir build` know: one row each, so that a further one is a
// row, a folder in templates/, and a recipe. Constant; any thread.
#ifndef WEIR_PROJECT_LANGUAGE_H
#define WEIR_PROJECT_LANGUAGE_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

struct weir_build;

struct weir_language {
    const char *name;  // "rust", as --lang says it and as the folders of templates and SDKs are
    const char *title; // "Rust", for a person
    // The file of a project by which it is known to be of this language; NULL: its sources are.
    const char *manifest;
    const char *const *sources; // what its sources' names end in, NULL-terminated: ".c"
    // NULL where a project may have that name, else what its tools want of one.
    const char *(*name_wanted)(struct weir_str name);
    // Makes build->product with the language's own tools.
    weir_status (*build)(struct weir_build *build, struct weir_error *err);
};

// Ended by a row without a name.
extern const struct weir_language weir_languages[];

// The language of that name, NULL where there is none.
const struct weir_language *weir_language_find(const char *name);
// Those there are, for a message: "c, rust, js, python".
#define WEIR_LANGUAGE_NAMES "c, rust, js, python"

#endif
