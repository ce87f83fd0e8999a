// SPDX-License-Identifier: Apache-2.0
//
// A source in this process that costs next to nothing: its events are made when they are offered,
// their positions are counters of 8 bytes. What it can do (`enum weir_capability`) is said when it
// is made, so that each way through the flow can be measured. One watch at a time.
//
// Events are offered on the thread that calls source_offer, or on a thread of the source's own
// (source_flood), one of the two at a time.
#ifndef WEIR_BENCH_SOURCE_H
#define WEIR_BENCH_SOURCE_H

#include "provider/provider.h"

#include <stdint.h>

struct source;

// `keys`: how many different ones the events have, in turn, "key-0" and so on.
struct source *source_create(uint32_t capabilities, uint32_t keys);
// Every watch must have ended. NULL is allowed.
void source_destroy(struct source *source);
struct weir_resource *source_resource(struct source *source);

// The next event goes on from this number: that of a source that was there before.
void source_go_on_from(struct source *source, uint64_t sequence);
// The fields of the event that comes next, for whoever calls a handler without a flow. They live
// until the next event.
struct weir_event_fields source_next_fields(struct source *source, struct weir_str body);

// Offers one event until it is taken. False: nobody watches any more. `key`: NULL is the next one
// in turn.
bool source_offer(struct source *source, const char *key, struct weir_str body);

// Starts to offer events with this body, as fast as they are taken, until source_ebb.
void source_flood(struct source *source, struct weir_str body);
// Ends that, and waits for it.
void source_ebb(struct source *source);

#endif
