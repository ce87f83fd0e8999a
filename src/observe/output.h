// SPDX-License-Identifier: Apache-2.0
//
// Private to this room: bytes to a descriptor whose reader may not read.
#ifndef WEIR_OBSERVE_OUTPUT_H
#define WEIR_OBSERVE_OUTPUT_H

#include "base/str.h"

#include <stdint.h>

// Writes all the bytes, waiting for the descriptor until the deadline of the monotonic clock at the
// latest. Returns how many were written; fewer than all where the reader did not read in time, or
// is gone. A deadline that has passed still tries once. The descriptor's flags stay as they are,
// because they are shared with other processes. Any thread; SIGPIPE must be ignored.
size_t weir_output_write(int fd, struct weir_str bytes, int64_t deadline_ns);

#endif
