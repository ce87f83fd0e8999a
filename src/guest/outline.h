// SPDX-License-Identifier: Apache-2.0
//
// The outline of a component, read from its bytes before it is compiled: how many things of each
// sort it has, which is where the numbers of further ones begin, and those of its exports that look
// like handlers, with what they are made of. annex.c adds to a component by that.
//
// The file is hostile and nothing here has been checked by the engine. So what is told is a guess,
// and what is made of it has to be one that the engine checks in turn; but the bytes are read
// within their bounds, and a component that is of another shape than what compilers of guests make
// (one that is composed of others, is asynchronous, or has what was new when this was written) is
// told to be so, not guessed at.
#ifndef WEIR_GUEST_OUTLINE_H
#define WEIR_GUEST_OUTLINE_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    WEIR_OUTLINE_ENTRIES_MAX = 1 << 16, // types, functions, instances: of each
    WEIR_OUTLINE_HANDLERS_MAX = 64,     // more of them are not told
};

// An export that may be a handler: a function of a core module, lifted as an event's type asks.
struct weir_outline_handler {
    // Views into the bytes: the interface's name, empty where the world itself exports it, and the
    // function's.
    struct weir_str interface, name;
    bool may_reject;        // its error is the variant `failure`
    uint32_t core_function; // what it is lifted from
    uint32_t post;          // its post-return, with has_post
    bool has_post;
};

struct weir_outline {
    // How many there are of each sort.
    uint32_t core_modules, core_instances, core_functions, core_memories, types, functions;
    // Of all handlers the same: one with other ones is not told.
    uint32_t memory, realloc;
    struct weir_outline_handler handlers[WEIR_OUTLINE_HANDLERS_MAX];
    uint32_t handler_count;
};

// Reads it. `reserved` is how names begin that a component may not export. WEIR_UNSUPPORTED: it is
// of another shape, or has no handler; WEIR_NO_MEMORY.
weir_status weir_outline_read(struct weir_str component, struct weir_str reserved,
                              struct weir_outline *ret_outline, struct weir_error *err);

#endif
