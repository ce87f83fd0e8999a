// SPDX-License-Identifier: Apache-2.0
//
// The other ends of what weir tells by HTTP, as cheap as they can be, so that what is measured is
// weir: a receiver of traces that reads and says yes, and somebody who asks again and again. Each
// has a thread of its own.
#ifndef WEIR_BENCH_HTTP_H
#define WEIR_BENCH_HTTP_H

#include <stdint.h>

struct receiver;
// Listens at a port of 127.0.0.1 that is free.
struct receiver *receiver_create(void);
uint16_t receiver_port(const struct receiver *receiver);
// Ends it. Whoever sends must have ended. Returns how many bytes came.
uint64_t receiver_destroy(struct receiver *receiver);

struct asker;
// Asks 127.0.0.1 for the path and reads the answer to its end, each second; or, of a stream, until
// the asker ends.
struct asker *asker_create(uint16_t port, const char *path);
// Ends it. Returns how many bytes came; 0 is an error of the caller's.
uint64_t asker_destroy(struct asker *asker);

// A port of 127.0.0.1 that is free just now.
uint16_t free_port(void);

#endif
