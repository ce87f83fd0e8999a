// SPDX-License-Identifier: Apache-2.0
//
// What JetStream is asked and what it answers, in JSON. Pure functions, any thread.
#ifndef WEIR_PROVIDER_NATS_API_H
#define WEIR_PROVIDER_NATS_API_H

#include "base/error.h"
#include "provider/nats/options.h"
#include "provider/nats/wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

// JetStream's own numbers of errors that mean something to weir.
enum weir_nats_fault_code {
    WEIR_NATS_NO_CONSUMER = 10014,
    WEIR_NATS_NO_RESOURCES = 10023,
    WEIR_NATS_TOO_MANY_CONSUMERS = 10026,
    WEIR_NATS_NO_MESSAGE = 10037,
    WEIR_NATS_NOT_FOR_ACCOUNT = 10039,
    WEIR_NATS_NO_STREAM = 10059,
    WEIR_NATS_WRONG_SEQUENCE = 10071,
    WEIR_NATS_NOT_ENABLED = 10076,
};

struct weir_nats_fault {
    int status; // as HTTP has them; 503: nobody answers
    int code;   // enum weir_nats_fault_code, or another
    char text[256];
};

// Reads an answer. NULL: it is an error, and the fault says which.
json_t *weir_nats_api_read(const struct weir_nats_frame *frame, struct weir_nats_fault *ret_fault);
// The fault as an error of weir's; `what` was being done.
weir_status weir_nats_api_fail(const struct weir_nats_fault *fault, const char *what,
                               struct weir_error *err);

struct weir_nats_stream {
    char created[48]; // tells a stream from another one of the same name
    uint64_t first, last, messages;
    uint64_t consumers, consumers_max; // the second 0: no bound
    uint64_t history;                  // messages of a subject that are kept; 0: no bound
    int64_t age_max_ns;                // 0: no bound
    uint64_t value_bytes_max;          // of a message; 0: the server's bound alone
    bool rolls_over;                   // what is oldest goes when there is no room
    char subject[256];                 // the first one
    size_t subjects;                   // how many there are
};
bool weir_nats_stream_read(const json_t *answer, struct weir_nats_stream *ret_stream);

enum { WEIR_NATS_CONSUMER_NAME_BYTES = 128 };

struct weir_nats_consumer {
    char name[WEIR_NATS_CONSUMER_NAME_BYTES];
    uint64_t floor;              // all up to here is acknowledged
    uint64_t delivered;          // the stream's number of the last one that was delivered
    uint64_t delivered_consumer; // its own number of that
    uint64_t ack_pending, waiting, pending;
    int64_t ack_wait_ns;
    uint64_t ack_pending_max;
    bool is_explicit; // each message is acknowledged
    bool is_pulled;
};
bool weir_nats_consumer_read(const json_t *answer, struct weir_nats_consumer *ret_consumer);
// Whether its filter is this one.
bool weir_nats_consumer_has_filter(const json_t *answer, const char *filter);

// Where a new consumer begins.
enum weir_nats_start {
    WEIR_NATS_FROM_NOW,
    WEIR_NATS_FROM_ALL,
    WEIR_NATS_FROM_LATEST,   // the last message of each subject, and what comes
    WEIR_NATS_FROM_SEQUENCE, // from start_sequence on
};

struct weir_nats_consumer_args {
    const char *stream, *filter;
    const char *durable;     // NULL: it ends some time after nobody asks it any more
    const char *description; // NULL: none
    enum weir_nats_start start;
    uint64_t start_sequence;
    int64_t ack_wait_ns;
    uint64_t ack_pending_max;
    bool is_listing; // headers only, and nothing is acknowledged
};
// To be freed with free(); NULL: no memory.
char *weir_nats_consumer_request(const struct weir_nats_consumer_args *args);
// The request that changes what may be changed of a consumer, made of what it was told to be; NULL:
// nothing is to be changed, or no memory.
char *weir_nats_consumer_change(const json_t *answer, const struct weir_nats_consumer_args *args);
char *weir_nats_stream_request(const struct weir_nats_options *options, const char *stream,
                               const char *subject);
// Asks for the next messages. Returns the size.
enum { WEIR_NATS_PULL_BYTES = 160 };
size_t weir_nats_pull_request(uint64_t batch, uint64_t bytes_max, int64_t expires_ns,
                              char ret_text[static WEIR_NATS_PULL_BYTES]);

// What the reply subject of a message says of it.
struct weir_nats_delivery {
    uint64_t times;    // how often it was delivered
    uint64_t sequence; // in the stream
    uint64_t pending;  // that are still to come
    int64_t wall_ns;   // when the stream got it
};
bool weir_nats_delivery_read(struct weir_str reply, struct weir_nats_delivery *ret_delivery);

// What a stream answers to a message that was published to it.
struct weir_nats_receipt {
    uint64_t sequence;
    bool is_duplicate;
};
bool weir_nats_receipt_read(const json_t *answer, struct weir_nats_receipt *ret_receipt);

// RFC 3339, as JetStream writes it. 0: it is none.
int64_t weir_nats_time_read(const char *text);

#endif
