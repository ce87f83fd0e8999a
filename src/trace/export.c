// SPDX-License-Identifier: Apache-2.0
//
// The thread weir:traces: takes records when a batch of spans is there, or the oldest has waited
// for `interval`, and sends them by OTLP/HTTP. It gives way to whoever handles events: its share of
// a busy machine is small, and what it does not manage to send is dropped at the ring.
//
// By OTLP's rules a batch is sent again where the receiver says "later" (429, 502, 503, 504) or
// cannot be reached, with growing waits or the one that it asks for; any other answer is its last
// word. Each batch has a bounded number of attempts, so that what waits behind it is not older than
// it has to be. Nothing is tried again once the tracer ends.
#include "trace/trace_private.h"

#include "base/clock.h"
#include "base/digits.h"
#include "config/secret.h"
#include "observe/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ATTEMPTS_MAX = 5,     // to send a batch
    RETRY_MS_FIRST = 200, // doubles up to ...
    RETRY_MS_MAX = 5000,
    RETRY_AFTER_S_MAX = 30,            // that a receiver may ask for
    TELL_S = 60,                       // between two lines of the log
    NICE = 19,                         // the least share of a core
    CLOCKS_APART_NS_MAX = 1000 * 1000, // then the wall clock was set, or the machine slept
    BODY_BYTES_KEPT_MAX = 4 * 1024 * 1024,
    RESPONSE_BYTES_MAX = 64 * 1024,
};

// ---- taking ----

static bool is_ending(struct weir_tracer *tracer) {
    return atomic_load_explicit(&tracer->end_by_ns, memory_order_relaxed) != INT64_MAX;
}

// Waits until `wanted` spans are there, the moment has come, or it ends.
static void await_spans(struct weir_tracer *tracer, uint64_t wanted, int64_t until_ns) {
    struct timespec until = weir_clock_timespec(until_ns);
    int code = 0;
    while ((code == 0 || errno == EINTR) && atomic_load(&tracer->queued) < wanted &&
           !is_ending(tracer)) {
        code = until_ns == INT64_MAX ? sem_wait(&tracer->wake)
                                     : sem_clockwait(&tracer->wake, CLOCK_MONOTONIC, &until);
    }
}

// Waits for a batch: how many records it has. They stay in the ring. 0: it ends, and nothing is
// left.
static uint64_t await_batch(struct weir_tracer *tracer) {
    uint64_t records = 0, spans = 0;
    await_spans(tracer, 1, INT64_MAX);
    await_spans(tracer, tracer->batch, weir_clock_monotonic_ns() + tracer->interval_ns);
    uint64_t there = atomic_load_explicit(&tracer->put, memory_order_acquire) - tracer->taken;
    for (; records < there; records++) {
        spans += tracer->ring[(tracer->taken + records) % tracer->queue].spans;
        if (records > 0 && spans > tracer->batch) {
            break;
        }
    }
    return records;
}

static void look_at_clocks(struct weir_tracer *tracer) {
    int64_t ahead_ns = weir_clock_wall_ns() - weir_clock_monotonic_ns();
    int64_t apart_ns = ahead_ns - tracer->wall_ahead_ns;
    if (apart_ns > CLOCKS_APART_NS_MAX || apart_ns < -CLOCKS_APART_NS_MAX) {
        tracer->wall_ahead_ns = ahead_ns;
    }
}

// Makes the body of a request of so many records, and frees their room. Returns how many spans it
// has.
static uint64_t make_body(struct weir_tracer *tracer, uint64_t records) {
    struct weir_text *body = &tracer->body;
    uint64_t room = 0;
    look_at_clocks(tracer);
    if (body->room > BODY_BYTES_KEPT_MAX || body->lacks_memory) {
        weir_text_finish(body);
    }
    body->size = 0;
    weir_text_put(body, weir_str_of(tracer->head));
    struct weir_otlp otlp = {
        .text = body, .wall_ahead_ns = tracer->wall_ahead_ns, .ids = &tracer->ids};
    for (uint64_t i = 0; i < records; i++) {
        // Nobody writes to it before it is released.
        const struct weir_trace_record *record = &tracer->ring[(tracer->taken + i) % tracer->queue];
        weir_otlp_put(&otlp, record);
        room += record->spans;
    }
    weir_otlp_end(body);
    // What was taken for a `source` and cannot be one is none.
    atomic_fetch_sub_explicit(&tracer->tally.sampled, room - otlp.spans, memory_order_relaxed);
    tracer->taken += records;
    atomic_fetch_sub_explicit(&tracer->queued, room, memory_order_release);
    return otlp.spans;
}

// ---- sending ----

enum answer { ANSWER_TAKEN, ANSWER_LATER, ANSWER_NEVER };

struct reply {
    enum answer answer;
    int64_t retry_after_ns;    // 0: it does not say
    uint64_t rejected;         // spans, with ANSWER_TAKEN
    struct weir_error failure; // why it is not ANSWER_TAKEN, or not all were taken
};

static bool is_over(const void *context) {
    struct weir_tracer *tracer = (struct weir_tracer *)(uintptr_t)context;
    return weir_clock_monotonic_ns() >= atomic_load(&tracer->end_by_ns);
}

// What `Retry-After` says, of its two forms the one in seconds.
static int64_t retry_after_ns(const struct weir_http_response *response) {
    for (size_t i = 0; i < response->header_count; i++) {
        uint64_t seconds;
        if (weir_str_equal(response->headers[i].name, WEIR_STR("retry-after")) &&
            weir_decimal_read(response->headers[i].value, &seconds)) {
            seconds = seconds < RETRY_AFTER_S_MAX ? seconds : RETRY_AFTER_S_MAX;
            return (int64_t)seconds * WEIR_NS_PER_S;
        }
    }
    return 0;
}

static void judge(const struct weir_http_response *response, uint64_t spans,
                  struct reply *ret_reply) {
    uint16_t status = response->status;
    char reason[WEIR_SHOW_BYTES];
    if (status >= 200 && status < 300) {
        ret_reply->answer = ANSWER_TAKEN;
        ret_reply->rejected = weir_otlp_rejected(response->body, spans, reason);
        weir_fail(&ret_reply->failure, WEIR_OTHER, "%s", reason);
        return;
    }
    bool is_later = status == 429 || status == 502 || status == 503 || status == 504;
    ret_reply->answer = is_later ? ANSWER_LATER : ANSWER_NEVER;
    ret_reply->retry_after_ns = retry_after_ns(response);
    weir_fail(&ret_reply->failure, WEIR_UNAVAILABLE, "the receiver answers %u%s%s", status,
              response->body.size > 0 ? ": " : "",
              weir_show(response->body, reason, sizeof reason));
}

static const char authorization[] = "Bearer ";
struct bearer {
    struct weir_secret secret;
    char text[sizeof authorization + WEIR_SECRET_BYTES_MAX];
};

static void request_once(struct weir_tracer *tracer, const struct bearer *bearer, uint64_t spans,
                         struct reply *ret_reply) {
    struct weir_http_header headers[] = {
        {WEIR_STR("Content-Type"), WEIR_STR("application/json")},
        {WEIR_STR("Authorization"), weir_str_of(bearer->text)},
    };
    int64_t until_ns = weir_clock_monotonic_ns() + tracer->timeout_ns;
    const struct weir_http_request request = {
        .method = WEIR_STR("POST"),
        .url = weir_str_of(tracer->url),
        .headers = headers,
        .header_count = bearer->text[0] ? 2 : 1,
        .has_body = true,
        .body = weir_text_view(&tracer->body),
        .until_ns = until_ns,
        .response_bytes_max = RESPONSE_BYTES_MAX,
        .is_cut = is_over,
        .cut_context = tracer,
    };
    struct weir_http_response response = {0};
    weir_status status = weir_http_send(tracer->http, &request, &response, &ret_reply->failure);
    if (status == WEIR_OK) {
        judge(&response, spans, ret_reply);
        weir_http_response_finish(&response);
        return;
    }
    ret_reply->answer = status == WEIR_INVALID ? ANSWER_NEVER : ANSWER_LATER;
}

static void send_once(struct weir_tracer *tracer, uint64_t spans, struct reply *ret_reply) {
    struct bearer bearer;
    bearer.text[0] = '\0';
    *ret_reply = (struct reply){.answer = ANSWER_LATER};
    weir_status status = tracer->token
                             ? weir_secret_read(tracer->token, &bearer.secret, &ret_reply->failure)
                             : WEIR_OK;
    if (status != WEIR_OK) {
        weir_error_prefix(&ret_reply->failure, status, "traces.token");
        return;
    }
    if (tracer->token) {
        snprintf(bearer.text, sizeof bearer.text, "%s%s", authorization, bearer.secret.text);
        weir_secret_forget(&bearer.secret);
    }
    request_once(tracer, &bearer, spans, ret_reply);
    explicit_bzero(bearer.text, sizeof bearer.text);
}

// Waits before the next attempt. False: it ends, and there is none.
static bool await_retry(struct weir_tracer *tracer, const struct reply *reply, int attempt) {
    int64_t wait_ns = RETRY_MS_FIRST * WEIR_NS_PER_MS << (attempt - 1);
    int64_t most_ns = RETRY_MS_MAX * WEIR_NS_PER_MS;
    wait_ns = wait_ns < most_ns ? wait_ns : most_ns;
    // A quarter of it by chance, so that those who wait for one receiver do not come together.
    wait_ns -= wait_ns / 4 * (int64_t)(weir_span_id_next(&tracer->ids) % 256) / 256;
    wait_ns = reply->retry_after_ns > 0 ? reply->retry_after_ns : wait_ns;
    await_spans(tracer, UINT64_MAX, weir_clock_monotonic_ns() + wait_ns);
    return !is_ending(tracer);
}

// ---- the log ----

static void tell(struct weir_tracer *tracer, const char *message, const char *reason) {
    struct weir_trace_counts counts;
    int64_t now_ns = weir_clock_monotonic_ns();
    if (tracer->told_ns > 0 && now_ns - tracer->told_ns < TELL_S * WEIR_NS_PER_S) {
        return;
    }
    tracer->told_ns = now_ns;
    weir_tracer_counts(tracer, &counts);
    uint64_t dropped = counts.dropped_full + counts.dropped_refused + counts.dropped_unreachable;
    weir_log(tracer->log, WEIR_LOG_WARN, message, {"receiver", weir_str_of(tracer->host)},
             {"reason", weir_str_of(reason)}, {"spans", WEIR_LOG_NUMBER(dropped)});
}

// ---- the whole ----

static void count(atomic_uint_fast64_t *counter, uint64_t spans) {
    atomic_fetch_add_explicit(counter, spans, memory_order_relaxed);
}

static void send_batch(struct weir_tracer *tracer, uint64_t spans) {
    struct reply reply;
    for (int attempt = 1;; attempt++) {
        send_once(tracer, spans, &reply);
        if (reply.answer != ANSWER_LATER) {
            break;
        }
        tell(tracer, "traces cannot be sent now", reply.failure.message);
        if (is_ending(tracer) || attempt == ATTEMPTS_MAX || !await_retry(tracer, &reply, attempt)) {
            break;
        }
    }
    switch (reply.answer) {
    case ANSWER_TAKEN:
        count(&tracer->tally.exported, spans - reply.rejected);
        count(&tracer->tally.refused, reply.rejected);
        if (reply.rejected > 0) {
            tell(tracer, "the receiver of traces did not take all", reply.failure.message);
        }
        break;
    case ANSWER_LATER:
        count(&tracer->tally.unreachable, spans);
        break;
    case ANSWER_NEVER:
        count(&tracer->tally.refused, spans);
        tell(tracer, "traces are refused", reply.failure.message);
        break;
    }
}

void *weir_trace_export(void *argument) {
    struct weir_tracer *tracer = argument;
    uint64_t records;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); // of this thread alone, on Linux
    while ((records = await_batch(tracer)) > 0) {
        uint64_t spans = make_body(tracer, records);
        if (tracer->body.lacks_memory) {
            count(&tracer->tally.full, spans);
        } else if (is_over(tracer)) {
            count(&tracer->tally.unreachable, spans);
        } else {
            send_batch(tracer, spans);
        }
    }
    return NULL;
}
