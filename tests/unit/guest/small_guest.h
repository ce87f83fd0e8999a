// SPDX-License-Identifier: Apache-2.0
//
// A guest of some hundred instructions whose handler does what the event's body says, for tests
// that need a guest and not a toolchain; modules in the text format; and an engine. It is the one
// place of the tests that knows the engine.
//
// The handler prints the event's id, then looks at the body's first byte:
//   e  err("no")                    t  traps
//   a  prints the value of the first extension attribute, if there is one; err("no")
//   f  err before attempt 2         l  never ends
//   s  ok(some): the event itself   F  as f, then as s
//   m  takes all memory, traps      c  calls resources.open, prints "open" where it is refused
//   other, or no body               ok(none)
// Its handlers are "handle-event" and "on-order" (prints "order" before the id); "on-bad" has
// another signature.
#ifndef WEIR_TESTS_UNIT_GUEST_SMALL_GUEST_H
#define WEIR_TESTS_UNIT_GUEST_SMALL_GUEST_H

#include "guest/engine.h"
#include "guest/guest.h"

// Bytes of a module in the text format; the caller frees `data`. Ends the program where the text is
// wrong.
struct weir_str small_guest_wasm(const char *text);

// The small guest's own (small.wat); the caller frees `data`.
struct weir_str small_guest_bytes(void);

// The engine of a test program, made at its first use. cmocka puts handlers of its own over the
// engine's at each test and would take a guest's trap for a crash, so every test that runs guests
// begins with small_guest_engine().
struct weir_engine *small_guest_engine(void);
void small_guest_engine_end(void);

// Arguments with bounds that no test reaches by accident.
struct weir_guest_args small_guest_args(const char *name);

// Compiles the small guest (small.wat), or a text; ends the program where it is refused.
struct weir_guest *small_guest_new(const struct weir_guest_args *args);
struct weir_guest *small_guest_of(const struct weir_guest_args *args, const char *text);

#endif
