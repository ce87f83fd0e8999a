// SPDX-License-Identifier: Apache-2.0
//
// What weir does with a changed file, written straight: the bare reader (inotify.h), which hands
// each value to a second thread, because a handler must not hold up the watching, and that thread
// calls the handler in a fresh instance on the engine's C API (floor.h). No keys, no order, no
// bounds, no retries, no checks. What weir takes more than this is what it costs.
#ifndef WEIR_BENCH_STRAIGHT_H
#define WEIR_BENCH_STRAIGHT_H

#include "base/str.h"
#include "receipt.h"

struct straight;

// From the return on, each file of the folder that was written is read and handled, and handed in
// when the handler has returned. `wasm`: the guest of floor.h.
struct straight *straight_create(const char *folder, struct weir_str wasm,
                                 struct receipts *receipts);
void straight_destroy(struct straight *straight);

#endif
