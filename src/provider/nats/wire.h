// SPDX-License-Identifier: Apache-2.0
//
// What goes over a connection to NATS: lines that end in CRLF, some of them with bytes behind them.
// This reads and writes them, and knows nothing of sockets. Pure functions, any thread.
//
// What comes from a server is not trusted: a line or a message that is longer than allowed, a
// number that is none and an unknown word are errors, and no length is believed before its bytes
// have come.
#ifndef WEIR_PROVIDER_NATS_WIRE_H
#define WEIR_PROVIDER_NATS_WIRE_H

#include "base/error.h"
#include "base/str.h"
#include "provider/nats/buffer.h"

#include <stdint.h>

enum {
    WEIR_NATS_LINE_BYTES_MAX = 64 << 10, // INFO lists the servers of a cluster
    // A server takes no value above 64 MiB, and tells a stored one as Base64.
    WEIR_NATS_MESSAGE_BYTES_MAX = 96 << 20,
    // Of a line to the server, whose own bound is 4096 unless it is told another.
    WEIR_NATS_CONTROL_BYTES_MAX = 4096,
};

enum weir_nats_word {
    WEIR_NATS_MESSAGE, // MSG and HMSG
    WEIR_NATS_INFO,
    WEIR_NATS_PING,
    WEIR_NATS_PONG,
    WEIR_NATS_OK,
    WEIR_NATS_ERR,
};

// One of them, as views of the bytes that it was read from.
struct weir_nats_frame {
    enum weir_nats_word word;
    struct weir_str text; // of INFO, JSON; of ERR, without its quotes
    // Of a message.
    struct weir_str subject, reply; // reply: empty where there is none
    uint64_t subscription;
    struct weir_str headers; // with their first line and the empty one; empty: there are none
    struct weir_str data;
};

// Reads the first frame of these bytes. WEIR_AGAIN: it is not complete; *ret_taken is how many
// bytes it has at least. WEIR_INVALID: that is not NATS. Otherwise *ret_taken is how many bytes it
// has.
weir_status weir_nats_read(struct weir_str bytes, struct weir_nats_frame *ret_frame,
                           size_t *ret_taken, struct weir_error *err);

// A message to the server. Subjects have no blanks or control characters.
struct weir_nats_post {
    struct weir_str subject, reply; // reply may be empty
    struct weir_str headers;        // as in a frame
    struct weir_str data;
};
// WEIR_NO_MEMORY: nothing was put; WEIR_INVALID: the subject is too long for the server.
weir_status weir_nats_put_post(struct weir_nats_buffer *buffer, const struct weir_nats_post *post,
                               struct weir_error *err);
weir_status weir_nats_put_line(struct weir_nats_buffer *buffer, struct weir_error *err,
                               const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
