// SPDX-License-Identifier: Apache-2.0
//
// A receiver of OTLP/HTTP that reads what it is sent and says yes, on a thread of its own: what
// traces cost weir, and next to nothing of what they cost who gets them. One connection at a time.
#ifndef WEIR_BENCH_COLLECTOR_H
#define WEIR_BENCH_COLLECTOR_H

#include <stdint.h>

struct collector;
enum { COLLECTOR_URL_BYTES = 64 };

struct collector *collector_create(char ret_url[COLLECTOR_URL_BYTES]);
void collector_destroy(struct collector *collector);

#endif
