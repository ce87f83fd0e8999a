// SPDX-License-Identifier: Apache-2.0
//
// What weir adds to a component before it is compiled, so that bytes pass as text. The engine
// copies text between weir and a guest, and makes a value of 32 bytes of each byte of a list<u8>:
// some 60 ns for each, and no more than a few MiB at once.
//
// The sections of a component are read one after the other, so more of them can be put behind the
// last: the guest's own bytes and exports stay what they are. What is added is
//
//   - a small core module (annex_text.c) that stands before the guest's handlers: it imports their
//     core functions and the guest's memory, and has a memory of its own;
//   - for each handler, its lifting with the types of the WIT, but with a string in `binary`, and a
//     further case, `list`, that has what `binary` had. For a core module both are the same, an
//     address and a size: the guest is called with the same numbers as without, and sees the same
//     allocations and no others. A short body goes as a list, which is the cheaper way for it;
//   - two functions of the module's own, by which weir hands over the high bits of a body before a
//     call, and takes a returned body after it, by way of the module's memory. A body with no high
//     bit set is a text already and needs neither.
//
// So every event passes through the added function, whatever it carries: one that has no such body
// costs there what it costs without, and what a handler is going to answer need not be guessed. A
// fresh instance has one memory more, which takes 1 to 2 us.
//
// Considered, and not taken: to put the guest as a whole into a component of weir's own, which
// decodes a body and hands it on. That passes what is composed of components, too, but copies each
// event once more, takes a memory as large as the largest event, and the cost of another component
// in each fresh instance. And to have the guest's allocator make the room for a returned body:
// nobody calls it at that time otherwise, and an allocator may rely on that.
//
// All of this is checked by the engine like the rest of the component. Where it refuses the whole,
// weir takes the component as it is.
#ifndef WEIR_GUEST_ANNEX_H
#define WEIR_GUEST_ANNEX_H

#include "base/error.h"
#include "base/str.h"
#include "guest/outline.h"

#include <wasmtime/component.h>

struct weir_guest;
struct weir_instance;

// How the names of what is added begin.
#define WEIR_ANNEX_PREFIX  "weir-annex-"
#define WEIR_ANNEX_HIGH    WEIR_ANNEX_PREFIX "high"
#define WEIR_ANNEX_BODY    WEIR_ANNEX_PREFIX "body"
#define WEIR_ANNEX_HANDLER WEIR_ANNEX_PREFIX "handler"
// The case of a body that goes as a list of bytes.
#define WEIR_ANNEX_LIST "list"

enum {
    WEIR_ANNEX_EXPORTS_MAX = WEIR_OUTLINE_HANDLERS_MAX + 8,
    // Up to which a body that is no text goes as a list of bytes, because using the module's own
    // memory costs more: between what is best where instances are kept and where they are fresh.
    WEIR_ANNEX_LIST_BYTES = 128,
};

struct weir_annex {
    char *bytes; // the component and what is added to it
    size_t size;
    struct weir_outline outline; // its names are views of the component that was given
};

// Adds to a component. WEIR_UNSUPPORTED: that cannot be, and why (outline.h); WEIR_NO_MEMORY.
weir_status weir_annex_make(struct weir_str component, struct weir_annex **ret_annex,
                            struct weir_error *err);
// NULL is allowed.
void weir_annex_destroy(struct weir_annex *annex);

// The text of the added module, which is to be freed. Its imports from "guest" are "memory", and of
// handler N "handleN" and, if it has one, "postN"; its exports the memory "own", "realloc" for it,
// "high", "body", and of each handler "handleN" and "postN". WEIR_NO_MEMORY.
weir_status weir_annex_text(const struct weir_outline *outline, char **ret_text, size_t *ret_size,
                            struct weir_error *err);

// A guest's component is compiled with what was added, and its handlers are known: calls them by
// way of it from now on. WEIR_NO_MEMORY.
weir_status weir_annex_use(struct weir_guest *guest, const struct weir_annex *annex,
                           struct weir_error *err);
void weir_annex_forget(struct weir_guest *guest);

// Hands over the high bits of the body that the next call passes. Thread: the instance's. As
// weir_instance_trapped.
weir_status weir_annex_give(struct weir_instance *instance, struct weir_str high,
                            struct weir_error *err);
// Takes the body that the last call returned, in two planes: a text that lives until *ret_value is
// deleted, empty where the body is.
weir_status weir_annex_take(struct weir_instance *instance, wasmtime_component_val_t *ret_value,
                            struct weir_error *err);

#endif
