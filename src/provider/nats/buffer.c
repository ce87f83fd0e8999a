// SPDX-License-Identifier: Apache-2.0
//
// See buffer.h.
#include "provider/nats/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 16 << 10 };

bool weir_nats_buffer_reserve(struct weir_nats_buffer *buffer, size_t size) {
    if (buffer->capacity - buffer->end >= size) {
        return true;
    }
    size_t used = buffer->end - buffer->begin;
    if (buffer->begin >= used && buffer->capacity - used >= size) { // moving is cheap
        memmove(buffer->bytes, buffer->bytes + buffer->begin, used);
        buffer->begin = 0;
        buffer->end = used;
        return true;
    }
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : FIRST_BYTES;
    while (capacity - used < size) {
        if (capacity > SIZE_MAX / 2) {
            return false;
        }
        capacity *= 2;
    }
    char *grown = malloc(capacity);
    if (!grown) {
        return false;
    }
    if (used > 0) {
        memcpy(grown, buffer->bytes + buffer->begin, used);
    }
    free(buffer->bytes);
    *buffer = (struct weir_nats_buffer){.bytes = grown, .end = used, .capacity = capacity};
    return true;
}

bool weir_nats_buffer_put(struct weir_nats_buffer *buffer, struct weir_str bytes) {
    if (!weir_nats_buffer_reserve(buffer, bytes.size)) {
        return false;
    }
    if (bytes.size > 0) {
        memcpy(buffer->bytes + buffer->end, bytes.data, bytes.size);
        buffer->end += bytes.size;
    }
    return true;
}

void weir_nats_buffer_take(struct weir_nats_buffer *buffer, size_t size) {
    buffer->begin += size;
    if (buffer->begin < buffer->end) {
        return;
    }
    buffer->begin = buffer->end = 0;
    if (buffer->capacity > WEIR_NATS_BUFFER_KEPT_BYTES_MAX) {
        free(buffer->bytes);
        *buffer = (struct weir_nats_buffer){0};
    }
}

void weir_nats_buffer_finish(struct weir_nats_buffer *buffer) {
    if (buffer->bytes) {
        explicit_bzero(buffer->bytes, buffer->capacity);
    }
    free(buffer->bytes);
    *buffer = (struct weir_nats_buffer){0};
}
