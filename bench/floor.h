// SPDX-License-Identifier: Apache-2.0
//
// The floor of a handler call: what it costs with nothing of weir between the event and Wasmtime's
// C API. No bounds, no checks of what the guest hands over, no reasons for failures: whatever goes
// wrong ends the process.
//
// Used on one thread.
#ifndef WEIR_BENCH_FLOOR_H
#define WEIR_BENCH_FLOOR_H

#include "event/event.h"

#include <stdbool.h>
#include <stddef.h>

struct floor;

// An engine of its own with the settings of src/guest/engine.c that matter for speed, and the
// module in it.
struct floor *floor_create(struct weir_str wasm);
void floor_destroy(struct floor *floor);

// Calls the handler in one instance that is kept, or in an instance that is made for this call. The
// event is one of weir's because its fields are nothing but views. Returns the bytes of the
// returned event's body, which was copied out of the guest and freed; 0 where no event was
// returned.
size_t floor_call(struct floor *floor, const struct weir_event_fields *event, bool is_fresh);

// The same in a fresh instance, with `told` called between the handler's return and the end of its
// instance.
void floor_call_told(struct floor *floor, const struct weir_event_fields *event,
                     void (*told)(void *context), void *context);

// The same as floor_call, but the returned event is copied whole and checked as a host has to: that
// its texts are UTF-8 and that it is a CloudEvent, by weir_event_new_checked. The pointers are
// still believed. Such an event has one extension.
size_t floor_call_checked(struct floor *floor, const struct weir_event_fields *event,
                          bool is_fresh);

#endif
