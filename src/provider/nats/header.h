// SPDX-License-Identifier: Apache-2.0
//
// The headers of a message: "NATS/1.0", perhaps a status, and lines "Name: value", each ended by
// CRLF, with an empty one at the end. Pure functions, any thread.
#ifndef WEIR_PROVIDER_NATS_HEADER_H
#define WEIR_PROVIDER_NATS_HEADER_H

#include "base/str.h"
#include "provider/nats/buffer.h"

#include <stdbool.h>

// What JetStream and its key-value buckets say in headers.
#define WEIR_NATS_HEADER_MESSAGE_ID    "Nats-Msg-Id"
#define WEIR_NATS_HEADER_LAST_SEQUENCE "Nats-Expected-Last-Subject-Sequence"
#define WEIR_NATS_HEADER_PENDING       "Nats-Pending-Messages"
#define WEIR_NATS_HEADER_OPERATION     "KV-Operation"
// An attribute of a CloudEvent; the value is coded as CloudEvents' HTTP binding codes it.
#define WEIR_NATS_HEADER_EVENT        "ce-"
#define WEIR_NATS_HEADER_CONTENT_TYPE "content-type"

struct weir_nats_header {
    struct weir_str name, value;
};

// ---- reading ----

// The status in the first line; 0: there is none.
unsigned weir_nats_headers_status(struct weir_str headers);
// What stands behind the status, "Consumer Deleted".
struct weir_str weir_nats_headers_reason(struct weir_str headers);
// Takes the next header off the text, which is first all of it. False: there is none left.
bool weir_nats_headers_next(struct weir_str *headers, struct weir_nats_header *ret_header);
// The value of the first header of that name, in any case of its letters; an empty view where there
// is none.
struct weir_str weir_nats_headers_find(struct weir_str headers, const char *name);
// Decodes %XX; what is no such code stays. Returns the size, at most that of the value.
size_t weir_nats_headers_decode(struct weir_str value, char *ret_text);

// ---- writing; false: no memory ----

bool weir_nats_headers_begin(struct weir_nats_buffer *buffer);
bool weir_nats_headers_put(struct weir_nats_buffer *buffer, const char *name,
                           struct weir_str value); // a value without line breaks
bool weir_nats_headers_put_coded(struct weir_nats_buffer *buffer, const char *prefix,
                                 struct weir_str name, struct weir_str value);
bool weir_nats_headers_end(struct weir_nats_buffer *buffer);

#endif
