// SPDX-License-Identifier: Apache-2.0
//
// What can be known of a WebAssembly file without compiling it: whether it is a component, and
// whether a component's main module is all there is to it.
//
// Source of the layouts: the core specification's "Modules" (binary format), the component model's
// Binary.md. The file is hostile: nothing outside of it is read.
#ifndef WEIR_GUEST_SECTIONS_H
#define WEIR_GUEST_SECTIONS_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

// Whether the bytes begin as a component does.
bool weir_sections_is_component(struct weir_str wasm);

// Finds a component's own core module: the first, if all others are what makes a component of it
// (the adapter for WASI, and what wit-component puts between), and it imports nothing but functions
// that `is_given` knows. *ret_module is a view into the bytes. WEIR_UNSUPPORTED: there is more to
// the component, and what; WEIR_INVALID: the file is broken.
weir_status weir_sections_main_module(struct weir_str component,
                                      bool (*is_given)(struct weir_str module,
                                                       struct weir_str name),
                                      struct weir_str *ret_module, struct weir_error *err);

#endif
