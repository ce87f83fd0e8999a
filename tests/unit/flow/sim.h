// SPDX-License-Identifier: Apache-2.0
//
// The simulation of the flow: its own code on fibers (sim_fiber.h), between sources, a store,
// guests and resources that are made up here, all of it drawn from one seed. Whatever a schedule
// does, what the design promises must hold at every moment and at its end.
//
//   sim_source.c  what changes, and the providers that tell of it; where events are published
//   sim_store.c   the store, in memory, which outlives a crash
//   sim_guest.c   the handlers
//   sim_oracle.c  what was taken, given and settled, and what must hold of that
//   sim_world.c   one schedule: what is subscribed, what happens to it, when weir stops and starts
//
// A crash. From its moment on nothing reaches the outside: the store, the sources and the resources
// that are published to answer nothing but errors, and what handlers do does not count. Then the
// flow is ended as it always is, so that not one byte of it leaks, and a new one begins on what the
// store holds.
#ifndef WEIR_TESTS_UNIT_FLOW_SIM_H
#define WEIR_TESTS_UNIT_FLOW_SIM_H

#include "flow/flow_private.h"
#include "unit/flow/sim_fiber.h"

enum {
    SIM_SUBS_MAX = 4,
    SIM_SOURCES_MAX = 4,
    SIM_KEYS_MAX = 6,
    SIM_CHANGES_MAX = 256, // of one source
    SIM_EVENTS_MAX = 4096,
    SIM_EVENT_SLOTS = 16384,
    SIM_TAKEN_MAX = 1024, // of one subscription
    SIM_WATCHES_MAX = SIM_SUBS_MAX,
    SIM_ROWS_MAX = 2048,
};

// ---- what is known of events ----

// What one subscription has to do with one event.
struct sim_case {
    uint64_t seq;      // under which it was taken last; 0: it was not, or that is forgotten
    uint64_t out_seq;  // under which it was when its handler returned an event
    uint64_t told_seq; // under which it was when a topic had told it
    bool is_refused;   // dropped when it came
    bool is_covered;   // by a gap
    bool has_out;      // what it caused has been durable in the outbox
    bool has_letter;   // a dead letter of it has been durable
    bool is_thrown;    // a person has removed its dead letter
    bool was_durable;  // it has been settled durably, or had a row
};

struct sim_event {
    char id[64];
    uint16_t slot;             // in sim.event_slots
    struct sim_source *source; // NULL: a handler returned it
    uint32_t index;            // of the change in its source, from 1; of a gap: its last one
    uint32_t gap_from;
    uint32_t key;
    bool is_gap;
    uint64_t hash; // of all that a handler may see; 0: not known yet
    // Of a returned one:
    uint32_t sub;
    struct sim_event *cause;
    uint64_t cause_seq;
    uint32_t published; // times
    bool is_durable;    // has been in the outbox
    bool has_letter;    // could not be published
    uint32_t told;      // bits of subscriptions that a topic has told it
    uint32_t missed;    // bits of those that it should have waited for when it told it
    struct sim_case cases[SIM_SUBS_MAX];
};

enum sim_verdict { SIM_NONE, SIM_OK, SIM_DERIVED, SIM_DEAD };

// What a subscription took under a number.
struct sim_taken {
    struct sim_event *event; // NULL: nothing, or what was taken is forgotten
    enum sim_verdict verdict;
    bool is_dropped;   // to make room
    bool is_skipped;   // a gap that the handler is not told
    bool is_abandoned; // with its subscription, when the disk did not answer
    // Given back from the dead letters and settled, when its subscription ended before a commit
    // could tell: nothing of it is written but what became of it, which is checked by itself.
    bool is_settled_unwritten;
    bool is_returned; // from the dead letters
    bool is_done;     // durably: it never comes again
    bool is_running;
    uint32_t calls;    // in this run
    uint32_t attempts; // that have failed, as far as is durable or known
    bool has_failed;   // the last one
};

// A subscription's name, over all runs.
struct sim_sub {
    char name[64];
    uint32_t number;
    struct sim_source *source;
    uint32_t key;    // SIM_KEYS_MAX: every key
    bool is_unnamed; // it gets its name when its handler is said, as in a guest's main
    struct weir_subscription_args args;
    bool has_target;

    uint64_t record_id; // 0: nothing is durable or running under the name
    bool is_known;      // its record has been durable and complete
    uint32_t fresh_index, since_index;
    uint32_t fresh_keys[SIM_KEYS_MAX];
    uint64_t seq_last; // the largest that was ever taken
    uint64_t open_seq; // everything below it is done
    bool has_repeats; // what was settled was given up when the disk did not answer, and comes again
    uint64_t published_seq[SIM_KEYS_MAX]; // of the last cause of a key whose event was published
    uint64_t out_seq[SIM_KEYS_MAX];       // likewise in the outbox

    // Of this run:
    struct weir_subscription *subscription; // NULL: does not run
    struct weir_set *set;
    bool is_bound;      // its handler has been said
    int64_t watched_ns; // since when it is; INT64_MAX: it is not, or not any more
    int64_t left_ns;    // when it ended, but not for good; 0: it has not
    bool is_gap_open;
    bool is_stopped;
    uint32_t running; // handlers
    uint32_t told_index[SIM_KEYS_MAX];
    uint64_t received, refused, dropped, abandoned, returned;

    struct sim_taken taken[SIM_TAKEN_MAX]; // by number; none above seq_last
};

// ---- sources ----

struct sim_change {
    uint32_t key;
    bool is_delete, is_acknowledged;
};

struct sim_watch {
    struct weir_watch base; // the first member
    struct sim_source *source;
    struct weir_sink sink;
    bool is_used, is_paused, is_stopped, is_offering;
    bool is_every; // else one key
    uint32_t key;
    uint64_t resumes;
    int64_t ask_ns;
    uint32_t next;               // change to be told
    uint32_t told[SIM_KEYS_MAX]; // of a source that compares: the change that was told last
    bool is_gap_due;
    uint32_t gap_from, gap_to, gap_number;
};

struct sim_source {
    struct weir_resource base; // the first member
    struct weir_provider provider;
    char name[8];
    uint32_t number;
    bool is_topic;
    struct sim_change changes[SIM_CHANGES_MAX + 1]; // from 1
    uint32_t count;
    uint32_t current[SIM_KEYS_MAX]; // the last change of each key; 0: none
    uint32_t first_kept;            // of a source that replays: changes before it are gone
    uint32_t first_owed;            // of one that waits for acknowledgements: from the first watch
    bool was_watched;
    uint32_t gaps;
    struct sim_watch watches[SIM_WATCHES_MAX];
    bool is_ending;
    struct fiber *fiber;
    struct weir_resource *topic; // of this run
};

bool sim_source_can(const struct sim_source *source, enum weir_capability capability);
void sim_source_init(struct sim_source *source, uint32_t number);
void sim_source_change(struct sim_source *source);
// History is lost: what was not told yet.
void sim_source_forget(struct sim_source *source);
void sim_source_begin(struct sim_source *source);
void sim_source_end(struct sim_source *source);
// Whether everything has been told to whoever watches.
bool sim_source_is_told(const struct sim_source *source);

// The resource where events are published that is no topic.
void sim_sink_init(void);
// The topic's resource, for one run.
void sim_topic_begin(struct sim_source *source);
void sim_topic_end(struct sim_source *source);

// ---- the store ----

struct sim_record {
    uint64_t id, next_seq, row_count;
    char name[64], resource[16], pattern[16], cursor[16];
    bool is_ready;
};
struct sim_row {
    uint64_t subscription, seq;
    uint32_t attempts;
    struct weir_event *event;
};
struct sim_note {
    uint64_t subscription;
    char key[8], fingerprint[16];
};
struct sim_out {
    uint64_t id;
    char subscription[64], target[16];
    struct weir_event *event;
};
struct sim_letter {
    uint64_t id;
    char subscription[64], target[16];
    uint32_t attempts;
    struct weir_event *event;
};

struct sim_store {
    struct sim_record records[32];
    struct sim_row rows[SIM_ROWS_MAX];
    struct sim_note notes[64];
    struct sim_out outbox[SIM_ROWS_MAX];
    struct sim_letter letters[SIM_ROWS_MAX];
    size_t record_count, row_count, note_count, out_count, letter_count;
    uint64_t last_out_id, last_letter_id;
    bool is_committing, is_reading;
    uint64_t refused_hash; // of the batch that was refused last; 0: none was
    int64_t fails_until_ns;
    int64_t failed_ns; // when it last did
    uint64_t commits;
};

extern const struct weir_store sim_store_functions;
void sim_store_clear(void);
// The store is opened again.
void sim_store_reopen(void);
const struct sim_row *sim_store_row(uint64_t subscription, uint64_t seq);
const struct sim_record *sim_store_record(uint64_t id);

// ---- everything ----

enum sim_crash { // where it comes
    SIM_CRASH_NEVER,
    SIM_CRASH_BEFORE_COMMIT,
    SIM_CRASH_AFTER_COMMIT,
    SIM_CRASH_BEFORE_PUBLISH,
    SIM_CRASH_AFTER_PUBLISH,
    SIM_CRASH_IN_HANDLER,
    SIM_CRASH_ON_ACKNOWLEDGE,
};

struct sim_counts {
    uint64_t changes, calls, settled, letters, published, crashes, drops, gaps, commits, undead,
        later;
};

struct sim {
    uint64_t seed;
    struct weir_flow_config config;
    struct sim_store store;
    struct sim_source sources[SIM_SOURCES_MAX];
    uint32_t source_count;
    struct sim_source sink;
    struct sim_sub subs[SIM_SUBS_MAX];
    uint32_t sub_count;
    struct sim_event events[SIM_EVENTS_MAX];
    uint32_t event_count;
    uint16_t event_slots[SIM_EVENT_SLOTS];

    struct weir_flow *flow;
    struct sim_sub *beginning; // whose subscription is being made
    bool is_crashed;
    enum sim_crash crash_at;
    bool is_quiet; // no faults any more
    bool is_clean; // and none is felt: what is asked for is done
    // How often, of 64:
    uint32_t store_faults, store_delays, publish_faults, handler_faults, handler_delays, derives;
    uint32_t memory_faults;
    uint64_t crashes;
    struct sim_counts counts;
};
extern struct sim sim;

// A chance that there is only while faults are.
bool sim_fault(uint32_t parts_of_64);
// The crash comes here, if it was meant to.
void sim_pass(enum sim_crash place);

// One schedule. Returns the sum of fibers_end.
uint64_t sim_run(uint64_t seed, uint32_t steps);

// ---- the oracle ----

struct sim_event *sim_event_of(struct weir_str id);
// The event of that id, made where there is none.
struct sim_event *sim_event_obtain(struct weir_str id);
void sim_events_clear(void);
uint64_t sim_event_hash(const struct weir_event_fields *fields);
// The same id has the same bytes.
void sim_event_check(struct sim_event *event, const struct weir_event_fields *fields);
struct sim_sub *sim_sub_of(const struct weir_subscription *subscription);
struct sim_sub *sim_sub_named(struct weir_str name);

// A batch has become durable.
void sim_oracle_committed(const struct weir_batch *batch);
void sim_oracle_calls(struct sim_sub *sub, const struct weir_delivery *delivery,
                      const struct weir_event_fields *fields);
void sim_oracle_answers(struct sim_sub *sub, uint64_t seq, enum sim_verdict verdict,
                        bool has_failed);
// There was no memory to settle it.
void sim_oracle_forgets(struct sim_sub *sub, uint64_t seq);
// `since_ns`: when publishing began.
void sim_oracle_published(struct sim_event *event, const struct sim_source *target,
                          int64_t since_ns);
// Its row in the outbox goes.
void sim_oracle_unqueued(struct sim_event *event);
void sim_oracle_acknowledged(struct sim_sub *sub, const struct sim_event *event);
// What must hold at any moment, and when nothing is left to do.
void sim_oracle_look(void);
void sim_oracle_rest(void);
bool sim_oracle_is_resting(void);
// What is left, for people.
void sim_oracle_tell_unrest(void);
// weir has ended. `is_orderly`: nothing failed meanwhile.
void sim_oracle_ended(bool is_orderly);

// ---- guests ----

extern struct weir_guest *const sim_guest;
void sim_guest_begin(void);
void sim_guest_end(void);

#endif
