// SPDX-License-Identifier: Apache-2.0
//
// What the flow is tested on: a source whose changes the test makes, the small guest
// (unit/guest/small_guest.h) as the handler, and a record of what it printed, which is the id of
// each event that it was called with.
#ifndef WEIR_TESTS_UNIT_FLOW_STAGE_H
#define WEIR_TESTS_UNIT_FLOW_STAGE_H

#include "flow/flow.h"
#include "guest/guest.h"
#include "unit/guest/small_guest.h"
#include "unit/test.h"

#include <pthread.h>

// ---- a provider that does as the contract says and is told by the test what changes

struct fake_watch;

enum { FAKE_RESUMED_BYTES = 4096 };

struct fake_source {
    struct weir_resource base;
    struct weir_provider provider; // its own, so that each can do what its test wants
    pthread_mutex_t lock;          // of all that follows; held while `offer` is called
    pthread_cond_t changed;
    struct fake_watch *watches;
    weir_status watch_answer; // what `watch` answers
    size_t begun, ended;      // watches
    size_t resumes;
    size_t refused; // offers that were answered with WEIR_NO_MEMORY
    // What the last watch was given to go on from: the position, or "key=fingerprint " of each key.
    bool is_resumed;
    char resumed[FAKE_RESUMED_BYTES];
    // The ids of the events that were acknowledged, each with a space behind it.
    char acknowledged[FAKE_RESUMED_BYTES];
};

// One that can be watched and paused.
void fake_source_init(struct fake_source *source, const char *name);
// One that can also do this, bits of enum weir_capability; without WEIR_CAN_PAUSE it cannot be
// paused. One that can replay remembers the position "0" when its watch begins.
void fake_source_init_as(struct fake_source *source, const char *name, uint32_t capabilities);
void fake_source_finish(struct fake_source *source);

// Offers a change to the watches of its key, as the resource's thread would. WEIR_AGAIN is
// remembered: to offer to that watch before its resume is against the contract, and ends the
// program. WEIR_STOPPED where nobody watches.
weir_status fake_source_offer(struct fake_source *source, const char *key, const char *id,
                              const char *body);
// The same for an event of the test's own, such as one with a position, or a gap.
weir_status fake_source_offer_event(struct fake_source *source, struct weir_event *event);
// An event as fake_source_offer makes it, with a position.
struct weir_event *fake_event(const struct fake_source *source, const char *key, const char *id,
                              const char *body, const char *position);
// Offers until it is taken, waiting for `resume` in between. WEIR_STOPPED where nobody watches any
// more. For one watch.
weir_status fake_source_produce(struct fake_source *source, const char *key, const char *id,
                                const char *body);
size_t fake_source_resumes(struct fake_source *source);

// A source that cannot be watched.
void fake_blind_source_init(struct fake_source *source, const char *name);

// ---- the record

enum { RECORD_LINES_MAX = 32768, RECORD_LINE_BYTES = 32 };

struct record {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count;
    size_t held;    // handlers that wait at the gate now
    size_t permits; // handlers that may pass it
    char lines[RECORD_LINES_MAX][RECORD_LINE_BYTES];
};

// The guest's output goes here, with a record as its context.
bool stage_record_line(void *context, const char *guest, struct weir_str line);
size_t record_count(struct record *record);
// How many lines are this one, or begin with it where it ends in "*".
size_t record_count_of(struct record *record, const char *line);
size_t record_held(struct record *record);
// A handler whose event's id begins with "hold" stands still until it is let through here.
void record_permit(struct record *record, size_t count);

// ---- all together

struct stage {
    struct fake_source source;
    struct record record;
    struct weir_guest *guest;
    struct weir_flow *flow;
};

// The configuration that the tests vary.
struct weir_flow_config stage_config(void);
struct weir_retry stage_retry(void);
struct weir_queue_bounds stage_queue(void);

// A stage of its own memory (it is large). `config` may be NULL.
struct stage *stage_new(const struct weir_flow_config *config);
void stage_free(struct stage *stage);

struct weir_set *stage_set(struct stage *stage);
// A subscription to `source`, put into the set with the handler handle-event.
struct weir_subscription *stage_subscribe(struct stage *stage, struct weir_set *set,
                                          struct fake_source *source, const char *key,
                                          const struct weir_retry *retry,
                                          const struct weir_queue_bounds *queue);
struct weir_subscription_counts stage_counts(struct weir_subscription *subscription);

// exec on a thread of its own.
struct stage_exec {
    struct weir_set *set;
    int64_t duration_ns, took_ns;
    weir_status status;
    struct weir_error err;
    pthread_t thread;
};
void stage_exec_begin(struct stage_exec *exec, struct weir_set *set, int64_t duration_ns);
// Waits for its end; its status.
weir_status stage_exec_end(struct stage_exec *exec);

#endif
