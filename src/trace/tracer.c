// SPDX-License-Identifier: Apache-2.0
//
// The tracer: which events are sampled, span ids, and the way of a record into the ring. See
// trace.h. Whatever is called with a record runs on the thread that did what it tells: a worker, or
// one that publishes.
//
// One record for a handler's call, and not one for each span: the texts are copied once, the spans
// that nothing points to (`source`, `wait`) get their ids where they are made, and the lock is
// taken once. A ring for each thread was left: the lock is held for a copy of some hundred bytes.
#include "trace/trace_private.h"

#include "base/clock.h"
#include "base/table.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

// ---- sampling ----

enum { RANDOM_BITS = 56 }; // of a trace id that decide; by level 2 of Trace Context they are random

// OpenTelemetry's consistent probability sampling: a trace is sampled where its randomness is at or
// above the threshold, so that whoever samples a larger share has all of a smaller one's traces.
static uint64_t threshold_of(double sample) {
    double rejected = (1 - sample) * (double)(UINT64_C(1) << RANDOM_BITS);
    return rejected < 0 ? 0 : (uint64_t)rejected;
}

static bool is_in_sample(const struct weir_tracer *tracer, struct weir_trace_id id) {
    return (id.low & ((UINT64_C(1) << RANDOM_BITS) - 1)) >= tracer->threshold;
}

void weir_trace_of_event(const struct weir_tracer *tracer, const struct weir_event_fields *event,
                         struct weir_trace_context *ret_context) {
    struct weir_str parent = weir_event_extension(event, WEIR_EXTENSION_TRACEPARENT);
    if (parent.size > 0 && weir_traceparent_read(parent, ret_context)) {
        return;
    }
    // The source is the seed, so that "ab", "c" is not "a", "bc".
    XXH64_hash_t seed = XXH3_64bits(event->source.data, event->source.size);
    XXH128_hash_t hash = XXH3_128bits_withSeed(event->id.data, event->id.size, seed);
    struct weir_trace_id id = {.high = hash.high64, .low = hash.low64};
    id.low += (id.high | id.low) == 0;
    *ret_context = (struct weir_trace_context){
        .trace = id, .flags = is_in_sample(tracer, id) ? WEIR_TRACE_FLAG_SAMPLED : 0};
}

// ---- span ids ----

// Where the system has no randomness yet, early at boot: what differs from one thread to another.
static uint64_t seed_of(const struct weir_span_ids *ids) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed || seed == 0) {
        seed = (uint64_t)weir_clock_wall_ns() ^ (uint64_t)(uintptr_t)ids;
    }
    return seed;
}

// Sebastiano Vigna's splitmix64.
uint64_t weir_span_id_next(struct weir_span_ids *ids) {
    ids->state = ids->state ? ids->state : seed_of(ids);
    uint64_t id = ids->state += UINT64_C(0x9e3779b97f4a7c15);
    id = (id ^ (id >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    id = (id ^ (id >> 27)) * UINT64_C(0x94d049bb133111eb);
    id ^= id >> 31;
    return id ? id : 1;
}

// ---- records ----

static void put_text(struct weir_trace_record *record, enum weir_trace_text text,
                     struct weir_str bytes) {
    size_t most =
        text == WEIR_TRACE_FAILURE ? WEIR_TRACE_FAILURE_BYTES_MAX : WEIR_TRACE_TEXT_BYTES_MAX;
    size_t room = sizeof record->texts - record->text_bytes;
    size_t size = bytes.size < most ? bytes.size : most;
    size = size < room ? size : room;
    if (size > 0) {
        memcpy(record->texts + record->text_bytes, bytes.data, size);
    }
    record->sizes[text] = (uint8_t)size;
    record->text_bytes = (uint16_t)(record->text_bytes + size);
}

struct weir_str weir_trace_text(const struct weir_trace_record *record, enum weir_trace_text text) {
    size_t at = 0;
    for (size_t i = 0; i < (size_t)text; i++) {
        at += record->sizes[i];
    }
    return (struct weir_str){record->texts + at, record->sizes[text]};
}

// Whether there is room for so many spans; where there is none, they are counted as dropped.
// Without the lock it is a guess, which saves the making of a record.
static bool has_room(struct weir_tracer *tracer, uint64_t spans) {
    uint64_t queued = atomic_load_explicit(&tracer->queued, memory_order_acquire);
    bool has = queued + spans <= tracer->queue;
    if (!has) {
        atomic_fetch_add_explicit(&tracer->tally.full, spans, memory_order_relaxed);
    }
    return has;
}

static void put(struct weir_tracer *tracer, const struct weir_trace_record *record) {
    bool is_to_be_woken = false;
    pthread_mutex_lock(&tracer->turn);
    if (has_room(tracer, record->spans)) {
        uint64_t put = atomic_load_explicit(&tracer->put, memory_order_relaxed);
        memcpy(&tracer->ring[put % tracer->queue], record,
               offsetof(struct weir_trace_record, texts) + record->text_bytes);
        atomic_store_explicit(&tracer->put, put + 1, memory_order_release);
        uint64_t before =
            atomic_fetch_add_explicit(&tracer->queued, record->spans, memory_order_release);
        is_to_be_woken =
            before == 0 || (before < tracer->batch && before + record->spans >= tracer->batch);
    }
    pthread_mutex_unlock(&tracer->turn);
    if (is_to_be_woken) {
        sem_post(&tracer->wake);
    }
}

// Counts spans that are to be noted. False: there is no room for them.
static bool begin_record(struct weir_tracer *tracer, uint64_t spans) {
    atomic_fetch_add_explicit(&tracer->tally.sampled, spans, memory_order_relaxed);
    return has_room(tracer, spans);
}

// ---- what is noted ----

void weir_trace_call_begin(struct weir_trace_call *call, const struct weir_event_fields *event,
                           uint64_t deliver) {
    weir_trace_of_event(call->tracer, event, &call->parent);
    call->calls = 0;
    call->own = call->parent;
    call->own.span = weir_span_id_next(&call->ids);
    call->state = call->parent.span ? weir_tracestate_of(event) : (struct weir_str){0};
    call->deliver = 0;
    if (weir_trace_is_sampled(&call->own)) {
        call->deliver = deliver ? deliver : weir_span_id_next(&call->ids);
    }
}

void weir_trace_attempt(const struct weir_trace_call *call,
                        const struct weir_trace_attempt *attempt) {
    struct weir_tracer *tracer = call->tracer;
    const struct weir_event_fields *event = attempt->event;
    bool is_first = attempt->failed_ns == 0;
    bool has_time = is_first && event->time.is_some && !attempt->is_derived;
    uint64_t spans = UINT64_C(2) + has_time + attempt->is_over;
    if (!begin_record(tracer, spans)) {
        return;
    }
    struct weir_trace_record record;
    record.trace = call->own.trace;
    record.parent = call->parent.span;
    record.deliver = call->deliver;
    record.own = call->own.span;
    record.taken_ns = attempt->taken_ns;
    record.waits_ns = is_first ? attempt->taken_ns : attempt->failed_ns;
    record.began_ns = attempt->began_ns;
    record.ended_ns = attempt->ended_ns;
    record.outcome = attempt->outcome;
    record.attempt = attempt->attempt;
    record.http_status = 0;
    record.kind = WEIR_TRACE_ATTEMPT;
    record.peer = WEIR_TRACE_PEER_RESOURCE;
    record.flags = call->own.flags;
    record.spans = (uint8_t)spans;
    record.is_first = is_first;
    record.is_over = attempt->is_over;
    record.has_failed = attempt->failure != NULL;
    record.text_bytes = 0;
    put_text(&record, WEIR_TRACE_SUBSCRIPTION, weir_str_of(attempt->subscription));
    put_text(&record, WEIR_TRACE_RESOURCE, weir_str_of(attempt->resource));
    put_text(&record, WEIR_TRACE_GUEST, weir_str_of(attempt->guest));
    put_text(&record, WEIR_TRACE_NAME, weir_str_of(attempt->handler));
    put_text(&record, WEIR_TRACE_EVENT_ID, event->id);
    put_text(&record, WEIR_TRACE_EVENT_SOURCE, event->source);
    put_text(&record, WEIR_TRACE_EVENT_TYPE, event->ty);
    put_text(&record, WEIR_TRACE_TIME,
             event->time.is_some && !attempt->is_derived ? event->time.value
                                                         : (struct weir_str){0});
    put_text(&record, WEIR_TRACE_FAILURE, weir_str_of(attempt->failure));
    put(tracer, &record);
}

// A record of one span, with no texts yet.
static struct weir_trace_record record_of(const struct weir_trace_context *context,
                                          enum weir_trace_kind kind, uint64_t span) {
    struct weir_trace_record record;
    memset(&record, 0, offsetof(struct weir_trace_record, texts));
    record.trace = context->trace;
    record.parent = context->span;
    record.own = span;
    record.kind = kind;
    record.flags = context->flags;
    record.spans = 1;
    return record;
}

void weir_trace_request(struct weir_trace_call *call, const struct weir_trace_request *request) {
    struct weir_tracer *tracer = call->tracer;
    if (++call->calls > WEIR_TRACE_CALLS_MAX) {
        atomic_fetch_add_explicit(&tracer->tally.sampled, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&tracer->tally.full, 1, memory_order_relaxed);
        return;
    }
    if (!begin_record(tracer, 1)) {
        return;
    }
    struct weir_trace_record record =
        record_of(&call->own, WEIR_TRACE_REQUEST,
                  request->span ? request->span : weir_span_id_next(&call->ids));
    record.began_ns = request->began_ns;
    record.ended_ns = request->ended_ns;
    record.http_status = request->http_status;
    record.peer = (uint8_t)request->kind;
    record.has_failed = request->failure != NULL;
    put_text(&record, WEIR_TRACE_RESOURCE, request->peer);
    put_text(&record, WEIR_TRACE_NAME, request->name);
    put_text(&record, WEIR_TRACE_FAILURE, weir_str_of(request->failure));
    put(tracer, &record);
}

void weir_trace_publication(struct weir_tracer *tracer, struct weir_span_ids *ids,
                            const struct weir_trace_publication *publication) {
    const struct weir_event_fields *event = publication->event;
    struct weir_trace_context context;
    weir_trace_of_event(tracer, event, &context);
    if (!weir_trace_is_sampled(&context) || !begin_record(tracer, 1)) {
        return;
    }
    struct weir_trace_record record =
        record_of(&context, WEIR_TRACE_PUBLICATION, weir_span_id_next(ids));
    record.began_ns = publication->began_ns;
    record.ended_ns = publication->ended_ns;
    record.attempt = publication->attempts;
    record.has_failed = publication->failure != NULL;
    put_text(&record, WEIR_TRACE_SUBSCRIPTION, publication->subscription);
    put_text(&record, WEIR_TRACE_RESOURCE, weir_str_of(publication->resource));
    put_text(&record, WEIR_TRACE_EVENT_ID, event->id);
    put_text(&record, WEIR_TRACE_EVENT_SOURCE, event->source);
    put_text(&record, WEIR_TRACE_EVENT_TYPE, event->ty);
    put_text(&record, WEIR_TRACE_FAILURE, weir_str_of(publication->failure));
    put(tracer, &record);
}

void weir_tracer_counts(struct weir_tracer *tracer, struct weir_trace_counts *ret_counts) {
    const struct weir_trace_tally *tally = &tracer->tally;
    *ret_counts = (struct weir_trace_counts){
        .sampled = atomic_load_explicit(&tally->sampled, memory_order_relaxed),
        .exported = atomic_load_explicit(&tally->exported, memory_order_relaxed),
        .dropped_full = atomic_load_explicit(&tally->full, memory_order_relaxed),
        .dropped_refused = atomic_load_explicit(&tally->refused, memory_order_relaxed),
        .dropped_unreachable = atomic_load_explicit(&tally->unreachable, memory_order_relaxed),
        .queued = atomic_load_explicit(&tracer->queued, memory_order_relaxed),
    };
}

// ---- made and freed ----

// The endpoint, with the path of OTLP/HTTP behind it where it has none. NULL: no memory.
static char *url_of(const char *endpoint) {
    const char *host = strstr(endpoint, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    bool has_path = path && path[1] != '\0';
    char *url = NULL;
    int size = asprintf(&url, "%s%s", endpoint, has_path ? "" : path ? "v1/traces" : "/v1/traces");
    return size < 0 ? NULL : url;
}

static weir_status fill(struct weir_tracer *tracer, const struct weir_tracer_args *args,
                        struct weir_error *err) {
    tracer->url = url_of(args->endpoint);
    tracer->token = args->token ? strdup(args->token) : NULL;
    tracer->head = weir_otlp_head(&tracer->ids);
    // What is never used costs no memory: the system gives it when it is written to.
    tracer->ring = calloc(args->queue, sizeof *tracer->ring);
    if (!tracer->url || (args->token && !tracer->token) || !tracer->head || !tracer->ring) {
        return weir_fail_no_memory(err, "the tracer");
    }
    return weir_http_client_create(NULL, &tracer->http, err);
}

static void free_tracer(struct weir_tracer *tracer) {
    weir_http_client_destroy(tracer->http);
    weir_text_finish(&tracer->body);
    sem_destroy(&tracer->wake);
    pthread_mutex_destroy(&tracer->turn);
    free(tracer->ring);
    free(tracer->head);
    free(tracer->token);
    free(tracer->url);
    free(tracer);
}

weir_status weir_tracer_create(const struct weir_tracer_args *args, struct weir_tracer **ret_tracer,
                               struct weir_error *err) {
    struct weir_http_host host;
    *ret_tracer = NULL;
    weir_status status = weir_http_host(weir_str_of(args->endpoint), &host, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "traces.endpoint");
    }
    struct weir_tracer *tracer = calloc(1, sizeof *tracer);
    if (!tracer) {
        return weir_fail_no_memory(err, "the tracer");
    }
    tracer->log = args->log;
    weir_http_host_text(&host, tracer->host);
    tracer->threshold = threshold_of(args->sample);
    tracer->queue = args->queue;
    tracer->batch = args->batch < args->queue ? args->batch : args->queue;
    tracer->interval_ns = args->interval_ns;
    tracer->timeout_ns = args->timeout_ns;
    atomic_init(&tracer->end_by_ns, INT64_MAX);
    pthread_mutex_init(&tracer->turn, NULL);
    sem_init(&tracer->wake, 0, 0); // cannot fail with such arguments
    status = fill(tracer, args, err);
    if (status == WEIR_OK) {
        int code = weir_thread_start(&tracer->thread, "weir:traces", weir_trace_export, tracer);
        status = code == 0 ? WEIR_OK
                           : weir_fail_errno(err, code, "starting the thread that sends traces");
    }
    if (status != WEIR_OK) {
        free_tracer(tracer);
        return status;
    }
    *ret_tracer = tracer;
    return WEIR_OK;
}

void weir_tracer_destroy(struct weir_tracer *tracer) {
    if (!tracer) {
        return;
    }
    int64_t end_by_ns = weir_clock_monotonic_ns() + WEIR_TRACE_STOP_MS * WEIR_NS_PER_MS;
    atomic_store(&tracer->end_by_ns, end_by_ns);
    sem_post(&tracer->wake);
    pthread_join(tracer->thread, NULL);
    free_tracer(tracer);
}
