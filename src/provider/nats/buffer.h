// SPDX-License-Identifier: Apache-2.0
//
// Bytes that come in at the end and go out at the front. It grows to what it has to hold, and is
// given back where it was once large. One thread at a time.
#ifndef WEIR_PROVIDER_NATS_BUFFER_H
#define WEIR_PROVIDER_NATS_BUFFER_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct weir_nats_buffer {
    char *bytes;
    size_t begin, end, capacity;
};
enum { WEIR_NATS_BUFFER_KEPT_BYTES_MAX = 256 << 10 }; // a larger one is freed when it is empty

// What is in it. The view holds until the next call that changes the buffer.
static inline struct weir_str weir_nats_buffer_view(const struct weir_nats_buffer *buffer) {
    return (struct weir_str){buffer->bytes ? buffer->bytes + buffer->begin : "",
                             buffer->end - buffer->begin};
}

// Makes room for so many more bytes; they are put at bytes + end. False: no memory.
bool weir_nats_buffer_reserve(struct weir_nats_buffer *buffer, size_t size);
// Appends bytes. False: no memory, and nothing was appended.
bool weir_nats_buffer_put(struct weir_nats_buffer *buffer, struct weir_str bytes);
// Takes bytes off the front.
void weir_nats_buffer_take(struct weir_nats_buffer *buffer, size_t size);
// Frees it, and overwrites what it has held: there may be secrets in it.
void weir_nats_buffer_finish(struct weir_nats_buffer *buffer);

#endif
