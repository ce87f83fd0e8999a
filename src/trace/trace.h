// SPDX-License-Identifier: Apache-2.0
//
// Traces: what became of an event, as OpenTelemetry's spans. Whoever handles an event notes what it
// did in one record; the thread weir:traces makes spans of the records and sends them by OTLP/HTTP.
//
//   deliver SUBSCRIPTION          one for each delivery, from its source to its last attempt
//     source RESOURCE             from the event's `time` to the subscription's queue
//     wait                        in the queue, or, after a failure, for the next attempt
//     handle HANDLER              one call
//       get RESOURCE, ...         what the handler asked of its host
//       publish RESOURCE          an event that it returned or sent, from durable to published
//       deliver ANOTHER           what became of that
//
// The trace of an event is that of its W3C `traceparent`, or else made of its source and id: the
// same event has the same trace however often it is delivered, by whatever weir. An event that
// comes with a `traceparent` is sampled if that says so; any other if its trace id is among the
// share that the configuration samples. Nothing has to be kept for either.
//
// A record costs its writer no allocation, one short lock and a copy of some hundred bytes. Where
// the queue of spans is full, the newest are dropped and counted: traces never hold an event up.
#ifndef WEIR_TRACE_TRACE_H
#define WEIR_TRACE_TRACE_H

#include "base/error.h"
#include "base/str.h"
#include "event/event.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_log;
struct weir_tracer;

// ---- contexts: W3C Trace Context, level 2 ----

#define WEIR_EXTENSION_TRACEPARENT "traceparent"
#define WEIR_EXTENSION_TRACESTATE  "tracestate"

enum {
    WEIR_TRACE_ID_BYTES = 33,    // 32 hexadecimal digits and a terminator
    WEIR_TRACEPARENT_BYTES = 56, // "00-", 32 digits, "-", 16 digits, "-", 2 digits, a terminator
    WEIR_TRACESTATE_BYTES_MAX = 512,
    WEIR_TRACE_FLAG_SAMPLED = 1,
    WEIR_TRACE_FLAG_RANDOM = 2, // the trace's id was made at random, as level 2 has it
};

struct weir_trace_id {
    uint64_t high, low; // not both 0
};

struct weir_trace_context {
    struct weir_trace_id trace;
    uint64_t span; // whose children what follows is; 0: there is none
    uint8_t flags; // WEIR_TRACE_FLAG_...; others are not passed on
};

static inline bool weir_trace_is_sampled(const struct weir_trace_context *context) {
    return (context->flags & WEIR_TRACE_FLAG_SAMPLED) != 0;
}

// Reads a `traceparent`. False where it is malformed, which counts as none. Any thread.
bool weir_traceparent_read(struct weir_str text, struct weir_trace_context *ret_context);
// Writes one of version 00. Returns `ret_text`.
const char *weir_traceparent_write(const struct weir_trace_context *context,
                                   char ret_text[static WEIR_TRACEPARENT_BYTES]);
const char *weir_trace_id_write(struct weir_trace_id id, char ret_text[static WEIR_TRACE_ID_BYTES]);
// Whether a `tracestate` may be passed on: at most 32 members, as the recommendation has them, in
// WEIR_TRACESTATE_BYTES_MAX.
bool weir_tracestate_is_valid(struct weir_str text);

// The `tracestate` of an event that has a valid `traceparent`; empty: there is none that is valid.
struct weir_str weir_tracestate_of(const struct weir_event_fields *event);

// ---- the tracer ----

enum {
    WEIR_TRACE_STOP_MS = 2000,  // what still waits at the end is sent within that time, or dropped
    WEIR_TRACE_CALLS_MAX = 128, // of a handler to its host, that are noted; more are counted
};

struct weir_tracer_args {
    const char *endpoint; // the URL of a receiver of OTLP/HTTP; without a path: /v1/traces
    const char *token;    // where the secret is (config/secret.h); NULL: none is sent
    double sample;        // 0 to 1: the share of events without a `traceparent` that are sampled
    uint64_t queue;       // spans that may wait
    uint64_t batch;       // spans of one request, at most; at most `queue`
    int64_t interval_ns;  // that a span waits for others
    int64_t timeout_ns;   // of one request
    struct weir_log *log; // may be NULL
};

// Starts the thread. Everything is copied but the log, which must outlive it. WEIR_NO_MEMORY,
// WEIR_INVALID (the endpoint), WEIR_OTHER. Main thread.
weir_status weir_tracer_create(const struct weir_tracer_args *args, struct weir_tracer **ret_tracer,
                               struct weir_error *err);
// Sends what waits, within WEIR_TRACE_STOP_MS, and ends. Nobody may use it any more. NULL is
// allowed.
void weir_tracer_destroy(struct weir_tracer *tracer);

// Spans since it began. Each that was sampled is in one of the others, or on its way.
struct weir_trace_counts {
    uint64_t sampled;
    uint64_t exported;            // the receiver has them
    uint64_t dropped_full;        // there was no room, or a call had too many
    uint64_t dropped_refused;     // the receiver would not have them
    uint64_t dropped_unreachable; // it could not be reached, or asked again and again for later
    uint64_t queued;              // now
};
void weir_tracer_counts(struct weir_tracer *tracer, struct weir_trace_counts *ret_counts);

// The context of an event. Costs a look at its extensions, and a hash where it has no
// `traceparent`. Any thread.
void weir_trace_of_event(const struct weir_tracer *tracer, const struct weir_event_fields *event,
                         struct weir_trace_context *ret_context);

// ---- span ids ----

// Makes ids that differ with great likelihood from all others. Of one thread.
struct weir_span_ids {
    uint64_t state; // 0: not begun
};
// Never 0. The first one asks the system for randomness.
uint64_t weir_span_id_next(struct weir_span_ids *ids);

// ---- what is noted ----

// One call of a handler, as seen by what the call does: the context of all that comes of it. Of the
// thread of the call.
struct weir_trace_call {
    struct weir_tracer *tracer;
    struct weir_trace_context parent; // the event's
    // The event's trace, and the handler's span: what is passed on.
    struct weir_trace_context own;
    struct weir_str state; // the event's `tracestate`, which goes with it; may be empty
    uint64_t deliver;      // the delivery's span; 0 where it is not sampled
    uint32_t calls;        // of the handler to its host
    struct weir_span_ids ids;
};

// Begins the call of a handler with an event. `deliver`: of an earlier attempt at the delivery; 0:
// this is the first one.
void weir_trace_call_begin(struct weir_trace_call *call, const struct weir_event_fields *event,
                           uint64_t deliver);

// A handler's call that is over. The texts are copied as far as they fit (trace_private.h); times
// are of the monotonic clock.
struct weir_trace_attempt {
    const struct weir_event_fields *event;
    const char *subscription, *resource, *guest, *handler;
    const char *outcome; // as struct weir_tap_event has it
    const char *failure; // why it failed; NULL: it has not
    uint32_t attempt;    // from 1
    bool is_over;        // the delivery is, with this attempt
    bool is_derived;     // the event's `time` is not of its source
    int64_t taken_ns;    // when the event was taken
    int64_t failed_ns;   // the end of the attempt before; 0: there was none
    int64_t began_ns, ended_ns;
};
// The call's event is sampled.
void weir_trace_attempt(const struct weir_trace_call *call,
                        const struct weir_trace_attempt *attempt);

// Something that a handler asked of its host.
enum weir_trace_peer {
    WEIR_TRACE_PEER_RESOURCE, // it is read or changed
    WEIR_TRACE_PEER_TOPIC,    // an event is sent there
    WEIR_TRACE_PEER_HOST,     // it is asked by HTTP
};
struct weir_trace_request {
    struct weir_str name; // what is asked for; of a host: the method
    struct weir_str peer; // the resource's name, or the host's
    enum weir_trace_peer kind;
    uint64_t span;        // its id; 0: one is made
    const char *failure;  // NULL: it was done
    uint16_t http_status; // 0: there is none
    int64_t began_ns, ended_ns;
};
// The call's event is sampled. Counts the call's requests.
void weir_trace_request(struct weir_trace_call *call, const struct weir_trace_request *request);

// An event's way from durable to published, or given up.
struct weir_trace_publication {
    const struct weir_event_fields *event;
    struct weir_str subscription;
    const char *resource;
    const char *failure; // NULL: it was published
    uint32_t attempts;
    int64_t began_ns, ended_ns;
};
// Notes nothing where the event is not sampled.
void weir_trace_publication(struct weir_tracer *tracer, struct weir_span_ids *ids,
                            const struct weir_trace_publication *publication);

#endif
