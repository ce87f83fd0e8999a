// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share: the record of which spans are made, and the ring in which
// records wait. tracer.c writes records, export.c sends what otlp.c makes of them.
#ifndef WEIR_TRACE_TRACE_PRIVATE_H
#define WEIR_TRACE_TRACE_PRIVATE_H

#include "base/show.h"
#include "base/text.h"
#include "http/http.h"
#include "trace/trace.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

// ---- records ----

enum weir_trace_kind { WEIR_TRACE_ATTEMPT, WEIR_TRACE_REQUEST, WEIR_TRACE_PUBLICATION };

// The texts of a record, in their order in it.
enum weir_trace_text {
    WEIR_TRACE_SUBSCRIPTION,
    WEIR_TRACE_RESOURCE,
    WEIR_TRACE_GUEST,
    WEIR_TRACE_NAME, // of the handler, or of what was asked for
    WEIR_TRACE_EVENT_ID,
    WEIR_TRACE_EVENT_SOURCE,
    WEIR_TRACE_EVENT_TYPE,
    WEIR_TRACE_TIME, // the event's
    WEIR_TRACE_FAILURE,
    WEIR_TRACE_TEXTS,
};

enum {
    // What of a text is kept; the rest is cut.
    WEIR_TRACE_TEXT_BYTES_MAX = 128,
    WEIR_TRACE_FAILURE_BYTES_MAX = 192,
    WEIR_TRACE_RECORD_TEXT_BYTES = 512, // of all of them together
    WEIR_TRACE_SPANS_OF_RECORD_MAX = 4,
};

// What one call noted, of which one to WEIR_TRACE_SPANS_OF_RECORD_MAX spans are made: an attempt is
// a `wait` and a `handle`, the first one a `source` too, if its event says when it happened, and
// the last one the `deliver`. Times are of the monotonic clock.
struct weir_trace_record {
    struct weir_trace_id trace;
    uint64_t parent;  // of the outermost span of the record; 0: that one is a root
    uint64_t deliver; // of an attempt
    uint64_t own;     // of the handler's call, the request, or the publication
    int64_t taken_ns, waits_ns, began_ns, ended_ns;
    const char *outcome; // a constant; NULL: none
    uint32_t attempt;
    uint16_t http_status;
    uint8_t kind;  // enum weir_trace_kind
    uint8_t peer;  // enum weir_trace_peer, of a request
    uint8_t flags; // of the trace
    uint8_t spans; // how many are made of it, at most
    bool is_first, is_over, has_failed;
    uint16_t text_bytes;
    uint8_t sizes[WEIR_TRACE_TEXTS];
    char texts[WEIR_TRACE_RECORD_TEXT_BYTES]; // text_bytes of them
};

// ---- the tracer ----

// How many of its spans were dropped for which reason; see struct weir_trace_counts.
struct weir_trace_tally {
    atomic_uint_fast64_t sampled, exported, full, refused, unreachable;
};

struct weir_tracer {
    struct weir_log *log;
    char *url;
    char host[WEIR_HTTP_HOST_TEXT_BYTES]; // of it, for the log: the rest may hold a secret
    char *token;                          // where the secret is; NULL: there is none
    uint64_t threshold; // of the low 56 bits of a trace id, from which on a trace is sampled
    uint64_t queue, batch;
    int64_t interval_ns, timeout_ns;
    struct weir_trace_tally tally;
    atomic_int_fast64_t end_by_ns; // INT64_MAX: it does not end yet

    // The ring. Those that note take turns at it; the thread that sends takes no lock of theirs,
    // since it has the least of all claims to a core and would hold them up where it loses it.
    pthread_mutex_t turn;           // held for the copy of a record
    struct weir_trace_record *ring; // of `queue` records, since each has a span at least
    atomic_uint_fast64_t put;       // records since it began
    atomic_uint_fast64_t queued;    // spans in the ring, until their records were read
    sem_t wake;                     // of the thread: something or a batch is there, or it ends

    // Of the thread.
    pthread_t thread;
    uint64_t taken; // records
    struct weir_http_client *http;
    struct weir_text body;
    struct weir_span_ids ids;
    char *head;            // JSON: what stands before the spans of each request
    int64_t wall_ahead_ns; // what the wall clock is ahead of the monotonic one
    int64_t told_ns;       // when the log last told of a failure; 0: never
};

// Of a record: what it holds.
struct weir_str weir_trace_text(const struct weir_trace_record *record, enum weir_trace_text text);

// otlp.c: JSON.

// What stands before the spans of a request: the resource, and the scope. To be freed. NULL: no
// memory.
char *weir_otlp_head(struct weir_span_ids *ids);
// What spans are made with.
struct weir_otlp {
    struct weir_text *text;
    int64_t wall_ahead_ns;
    struct weir_span_ids *ids;
    uint64_t spans; // that were put
};
// Puts the spans of a record.
void weir_otlp_put(struct weir_otlp *otlp, const struct weir_trace_record *record);
// Puts what stands behind the spans.
void weir_otlp_end(struct weir_text *text);
// How many spans the receiver says in its response that it did not take, at most `sent`; ret_reason
// is filled with why, fit for a message.
uint64_t weir_otlp_rejected(struct weir_str response, uint64_t sent,
                            char ret_reason[static WEIR_SHOW_BYTES]);

// export.c
void *weir_trace_export(void *tracer);

#endif
