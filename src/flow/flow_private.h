// SPDX-License-Identifier: Apache-2.0
//
// The structs that the files of this room share. "Under lock" means flow->lock.
//
// Where an event is. Each event that a subscription takes is a delivery with a number of its own
// (seq), in the order in which they were taken. It is in memory in its key's lane, or behind: only
// in the journal, to be read when there is room. Beside that, as long as the store knows nothing of
// it, it is in the subscription's ledger, in the order of seq. A commit takes deliveries out of the
// ledger: those that are settled leave nothing but the cursor behind, the others get a row.
//
//                     in a lane            behind
//   in the ledger     taken, not written   taken, not written, memory kept until it is
//   has a row         parked               only on disk
//   settled           -                    -                      (gone with the next commit)
#ifndef WEIR_FLOW_FLOW_PRIVATE_H
#define WEIR_FLOW_FLOW_PRIVATE_H

#include "base/table.h"
#include "base/ticks.h"
#include "event/event.h"
#include "flow/flow.h"
#include "guest/guest.h"
#include "observe/log.h"
#include "trace/trace.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_target;

// One event on its way to one handler.
struct weir_delivery {
    struct weir_entry entry; // what the store is told; entry.event is the event, with a reference
    struct weir_subscription *subscription;
    struct weir_delivery *next;                      // in its lane
    struct weir_delivery *ledger_prev, *ledger_next; // in subscription->ledger, if is_in_ledger
    struct weir_delivery *undone;                    // in subscription->removals or ->reattempted
    struct weir_delivery *order_prev, *order_next;   // in subscription->order, while in a lane
    int64_t taken_ns;     // monotonic; of the coarse clock unless there are traces
    uint64_t taken_ticks; // the same moment, while flow->config.measures
    int64_t failed_ns;    // the end of the last attempt, where the event is sampled; 0: none yet
    uint64_t span;        // its own in the event's trace; 0: the event is not sampled, or not yet
    uint32_t attempts;    // that have ended in failure
    bool is_in_ledger;
    bool is_in_lane;
    bool is_in_batch; // the commit thread reads `entry`
    bool has_row;     // in the journal, or in a batch that writes it
    bool is_settled;
    bool is_reattempted; // the row's number of attempts is out of date
    bool is_pending;     // counted in flow->pending_events
    bool is_returned;    // from the dead letters: its position says nothing of the source
};

enum weir_lane_state {
    WEIR_LANE_IDLE,    // nothing to deliver
    WEIR_LANE_READY,   // in subscription->ready
    WEIR_LANE_RUNNING, // a worker has its first delivery
    WEIR_LANE_DELAYED, // in flow->delayed: its first delivery waits to be tried again
};

// The queue of one key: first in, first out, one delivery at a time.
struct weir_lane {
    struct weir_subscription *subscription;
    enum weir_lane_state state;
    struct weir_delivery *first, *last;
    struct weir_lane *prev, *next; // in subscription->ready
    int64_t due_ns;                // in flow->delayed
    size_t delayed_index;          // likewise
    // Events of this key that are behind, the oldest with seq behind_seq; what comes goes behind
    // them. Without those that are behind because their whole subscription is.
    uint64_t behind, behind_seq;
    struct weir_lane *prev_load, *next_load; // in subscription->load_lanes, if is_loading
    bool is_loading;
    UT_hash_handle hh; // in subscription->lanes
    size_t key_size;
    char key[];
};

// What the store keeps under a name, whether somebody runs it now or not.
struct weir_kept {
    UT_hash_handle hh;                            // in flow->kept, by name
    struct weir_subscription_record record;       // as it is
    struct weir_subscription_record batch_record; // as the commit under way writes it
    struct weir_event *cursor_event;              // what record.cursor points into, or ...
    struct weir_event *batch_cursor_event;        // what batch_record.cursor points into, or NULL
    char *cursor_bytes;                           // ... what was read when weir began
    char *name, *resource, *pattern;              // what the record points to
    struct weir_subscription *subscription;       // NULL: nobody runs it
    struct weir_removal forgotten;                // in a batch: its notes are void
    bool is_given_up;                             // no topic waits for it to be run again
    bool is_dirty;                                // in flow->dirty_kept: the record has changed
    bool forgets;                                 // `forgotten` is for the next batch
    bool is_in_batch;
    struct weir_kept *dirty_next, *batch_next;
};

// A text of a record that was replaced, see kept.c.
struct weir_old_text {
    char *text;
    struct weir_old_text *next;
};

// A fingerprint that a provider gave without an event, with its texts behind it.
struct weir_kept_note {
    struct weir_note note; // the first member
    char bytes[];
};

struct weir_subscription {
    struct weir_flow *flow;
    struct weir_set *set; // NULL: in none yet
    char *name;
    char *key; // ends in a NUL, and may hold others
    size_t key_size;
    char *handler_name; // "" while it is not known
    struct weir_resource *resource;
    uint32_t capabilities; // of its watch: enum weir_capability
    char *watch_name;      // under which its source keeps what it keeps
    struct weir_watch *watch;
    struct weir_meter meter; // of what takes its watch long
    struct weir_guest *guest;
    uint32_t handler;
    struct weir_retry retry;
    struct weir_queue_bounds queue;
    struct weir_journal_bounds journal;
    uint32_t concurrency;
    enum weir_on_gap on_gap;
    enum weir_overflow overflow;
    struct weir_target *target; // NULL: returned events go nowhere
    struct weir_kept *kept;     // NULL: without a store

    struct weir_lane *lanes;                             // by key
    struct weir_lane *ready;                             // doubly linked, first in first out
    struct weir_subscription *prev_ready, *next_ready;   // in flow->ready, if is_ready
    struct weir_subscription *prev_paused, *next_paused; // in flow->paused, if is_paused
    struct weir_subscription *prev_dirty, *next_dirty;   // in flow->dirty, if is_dirty
    struct weir_subscription *prev_load, *next_load;     // in flow->loads, if is_load_wanted
    struct weir_subscription *prev_all, *next_all;       // in flow->subscriptions
    struct weir_subscription *next;                      // in its set
    bool is_ready, is_paused, is_dirty, is_load_wanted;
    bool is_ending;
    bool is_stopped;     // by a gap: nothing more is taken
    bool is_gap_open;    // a gap waits for its handler: nothing else is taken meanwhile
    bool is_gap_ahead;   // a gap was sent away until everything before it is settled
    uint32_t pins;       // threads that are about to call the provider, or read for it
    uint32_t batch_pins; // deliveries that the commit thread has
    bool is_emptied;     // it has given up all it had: what the commit thread has is the last

    // The ledger, in the order of seq. `settled_in_ledger` of them are settled.
    struct weir_delivery *ledger;
    uint64_t settled_in_ledger;
    // What has left the ledger for good since the last commit: how many, and the last one that says
    // where the source goes on (NULL: none does).
    uint64_t passed_count;
    struct weir_delivery *passed;
    struct weir_delivery *removals;    // settled, and their rows are to go
    struct weir_delivery *reattempted; // their rows are out of date
    struct weir_note *notes, *notes_last;

    // Deliveries that are over, with their events, to be used once more. A source's thread takes
    // one and frees its event before it makes the next: memory that the same thread gets and gives
    // back costs an allocator least. `spare`, without the lock, is for the next event.
    struct weir_delivery *spares;
    uint32_t spare_count;
    _Atomic(struct weir_delivery *) spare;

    bool writes_next;            // the next commit writes the whole ledger
    struct weir_delivery *order; // what is in lanes, oldest first; only with drop-oldest
    uint64_t blocked;            // lanes that are DELAYED
    // Events that are behind because the whole queue was full: every row with a seq above
    // loaded_seq. What comes goes behind them.
    uint64_t spilled, loaded_seq;
    uint64_t behind_bytes; // of all events behind, as far as they came since weir began
    struct weir_lane *load_lanes;

    struct weir_subscription_counts counts;
    struct weir_histogram handler_time, event_time; // while flow->config.measures
    char error[256];                                // the last one
    int64_t error_wall_ns;
};

struct weir_set {
    struct weir_flow *flow;
    char *owner;
    unsigned references;
    bool is_executing;
    uint32_t in_flight;
    struct weir_subscription *subscriptions;
};

// An event that a handler returned, on its way to where it is published. One allocation with its
// texts; `entry` goes into a batch first, `removal` into a later one.
struct weir_out {
    struct weir_outbox_entry entry; // the first member: a batch's entry is a struct weir_out
    struct weir_removal removal;
    struct weir_target *target; // NULL: nothing of that name runs
    bool is_sampled;            // `durable_ns` is wanted
    int64_t durable_ns;         // since when it may be published; 0: not known
    struct weir_out *next;      // in the target's queue, or in flow->orphans
    char texts[];
};

// Where events are published: a resource, with a thread of its own while it is used.
struct weir_target {
    struct weir_flow *flow;
    struct weir_resource *resource;
    pthread_t thread;
    pthread_cond_t work;           // something to publish, or the flow ends
    struct weir_span_ids ids;      // of its thread
    bool awaits_watches;           // a subscription that watched it may not do so again yet
    int64_t watches_due_ns;        // until then such a one is waited for
    bool was_left;                 // by one that watched it, since `first` was taken
    struct weir_out *first, *last; // durable, to be published in this order
    uint64_t waiting;              // these, and those on the way to the store
    uint64_t published;
    char error[256]; // why nothing is published; "" for nothing
    struct weir_target *next;
};

// An event that was given up. One allocation with its texts.
struct weir_dead {
    struct weir_dead_letter letter; // the first member
    char texts[];
};

struct weir_worker {
    struct weir_flow *flow;
    pthread_t thread;
    sem_t wake;                      // posted once for each time that it left flow->parked
    struct weir_worker *next_parked; // in flow->parked, if is_parked
    bool is_parked;                  // sleeps, and nobody has woken it yet
    int64_t until_ns;                // it sleeps at most; INT64_MAX: no lane was to become due
    int64_t rests_since_ns;          // 0: another one would have been the next to get a lane
    struct weir_lane *lane;          // whose handler it calls, NULL between calls
    struct weir_guest *guest;        // that is called; a reference
    struct weir_guest *retired;      // the one before it; given back outside of the lock
    uint32_t handler;
    struct weir_call call;
    struct weir_cause cause;      // of the call
    struct weir_trace_call trace; // of the call; its tracer is NULL where there are no traces
    struct weir_verdict verdict;
    int64_t took_ns;          // of the last call, while somebody wants to know
    int64_t done_ns;          // its end, monotonic, if its event is sampled by traces
    uint64_t done_ticks;      // its end, while flow->config.measures
    unsigned short random[3]; // its own state, for jitter
};

struct weir_flow {
    struct weir_flow_config config;
    struct weir_ticks ticks; // with config.measures
    pthread_mutex_t lock;
    pthread_cond_t changed; // a set's handlers ended, something was committed, or the flow stops
    atomic_uint lookers;    // who want config.tap to be called
    atomic_bool has_ready;  // whether `ready` is not NULL, for those that do not hold the lock
    // Everything below is under lock.
    struct weir_subscription *subscriptions; // all of them but those that are gone
    struct weir_subscription *gone;          // that only the commit thread holds; by next_all
    struct weir_subscription *ready;         // that may be served; doubly linked, in turn
    struct weir_subscription *paused;        // doubly linked
    struct weir_lane **delayed;              // a binary heap by due_ns
    size_t delayed_count, delayed_capacity;
    uint64_t queued_bytes;
    struct weir_worker *parked; // the last one to fall asleep first: a core still has what it needs
    bool is_one_coming; // a worker will look for a ready lane by itself: it was woken, or is about
                        // to fall asleep
    bool has_cores;     // more than one: who looks out keeps nobody from running
    int64_t rest_ns;    // how long a worker rests between two events, in the mean of the last ones
    bool has_executed;  // an exec has begun: what is in the outbox may be published
    bool is_stopping;   // no exec goes on
    bool is_cutting;    // no grace any more
    bool is_ending;     // threads return
    struct weir_worker *workers;
    uint32_t worker_count;
    struct weir_resource **resources; // of the configuration, see weir_flow_know
    size_t resource_count;
    struct weir_guest **guests; // likewise, each with a reference
    size_t guest_count;

    // What is written down (commit.c).
    bool has_store;
    pthread_t committer;
    bool has_committer, is_commit_ending;
    pthread_cond_t commit; // something to write or to read, somebody waits for it, or the flow ends
    struct weir_kept *kept; // table, by name
    struct weir_old_text *old_texts;
    uint64_t last_subscription_id, last_outbox_id, last_dead_id;
    struct weir_subscription *dirty; // doubly linked: have something for the next commit
    struct weir_kept *dirty_kept;    // singly linked
    // For the next commit, each with its last one:
    struct weir_outbox_entry *outbox, *outbox_last;  // of struct weir_out: returned events
    struct weir_removal *published, *published_last; // of struct weir_out: their rows go
    struct weir_dead_letter *dead, *dead_last;       // of struct weir_dead
    struct weir_removal *undead;                     // owned: rows of dead letters that go
    struct weir_removal *claimed; // dead letters that weir_flow_undead is about to put there
    struct weir_out *orphans;     // in the outbox, and nothing runs that could publish them
    int64_t dirty_since_ns;       // 0: nothing waits
    int64_t held_due_ns;          // see weir_ledger_write_held; INT64_MAX: nothing is held
    uint64_t pending_events;      // deliveries that are out of their lanes and wait for a commit
    uint64_t pending_bytes, pending_notes;
    uint64_t flush_wanted, flush_taken, flush_done; // tickets of weir_flow_flush
    uint64_t commits;
    bool is_held;    // a handler could be called but for the commit that has to come first
    bool is_failing; // the store cannot write now: nothing is taken, no handler is called
    struct weir_error failure;
    int64_t failing_since_wall_ns;
    struct weir_subscription *loads; // want rows of the journal
    struct weir_target *targets;

    int64_t load_due_ns; // when to read again after a failure

    // How the commit thread is seen to move (alive.c).
    bool is_in_store; // it waits for the disk
    uint64_t turns;   // that it has taken

    // What the commit under way writes.
    bool has_batch;
    struct weir_batch batch;
    struct weir_entry *batch_entries; // of struct weir_delivery
    struct weir_kept *batch_kept;
    struct weir_note *batch_notes; // of struct weir_kept_note
    struct weir_outbox_entry *batch_outbox;
    struct weir_removal *batch_published, *batch_undead;
    struct weir_dead_letter *batch_dead;
    struct weir_delivery *batch_over; // of which nothing is written, to be freed
};

// Whether somebody looks at each delivery. Any thread.
static inline bool weir_flow_is_tapped(const struct weir_flow *flow) {
    return flow->config.tap && atomic_load_explicit(&flow->lookers, memory_order_relaxed) > 0;
}

// Whether nothing more may be taken, nor a handler called, until the disk has caught up.
static inline bool weir_flow_is_clogged(const struct weir_flow *flow) {
    return flow->is_failing || flow->pending_events >= WEIR_PENDING_EVENTS_MAX ||
           (flow->pending_bytes > 0 && flow->pending_bytes >= flow->config.queue_bytes);
}

// Whether there is something that no worker comes for: a lane that is ready, or one that becomes so
// while all who sleep sleep on (who falls asleep does so until the next one is due, and lies on
// top). Under lock.
static inline bool weir_flow_wants_worker(const struct weir_flow *flow) {
    return flow->parked && !flow->is_one_coming &&
           ((flow->ready && !flow->is_held) ||
            (flow->delayed_count > 0 && flow->parked->until_ns > flow->delayed[0]->due_ns));
}

// Leaves flow->lock, and wakes a worker where one is wanted. One at a time: each that comes and
// finds more than it takes wakes the next. So what wakes cost is paid once for all that becomes
// ready until the worker is there, and where handlers are done sooner than another worker could be
// awake, mostly not at all. It is woken after the unlock, because one that is woken under the lock
// runs into it and sleeps again.
void weir_dispatch_unlock_and_wake(struct weir_flow *flow);
static inline void weir_flow_unlock(struct weir_flow *flow) {
    if (weir_flow_wants_worker(flow)) {
        weir_dispatch_unlock_and_wake(flow);
    } else {
        pthread_mutex_unlock(&flow->lock);
    }
}

static inline bool weir_subscription_can(const struct weir_subscription *subscription,
                                         enum weir_capability capability) {
    return (subscription->capabilities & capability) != 0;
}

// intake.c

// The sink of a subscription's watch.
weir_status weir_intake_offer(void *context, struct weir_event *event);
weir_status weir_intake_remember(void *context, struct weir_str key, struct weir_str fingerprint);
// Whether the queue has room for an event of so many bytes. Under lock.
bool weir_intake_has_room(const struct weir_subscription *subscription, uint64_t bytes);
// Counts an event that gets the next number as behind: in `lane`, or, where that is NULL, with all
// that comes from here on. Under lock.
void weir_intake_go_behind(struct weir_subscription *subscription, struct weir_lane *lane,
                           const struct weir_event *event);
// Whether a source that was paused may go on. Under lock.
bool weir_intake_has_room_again(const struct weir_subscription *subscription);
// Takes subscriptions that have room again out of the paused ones, at most `max`. Each is pinned,
// so that its watch stays until weir_intake_resume has called the provider. Under lock.
size_t weir_intake_collect_resumes(struct weir_flow *flow, struct weir_subscription **ret_list,
                                   size_t max);
// Without the lock.
void weir_intake_resume(struct weir_flow *flow, struct weir_subscription *const *list,
                        size_t count);
// All that have room again. Without the lock.
void weir_intake_resume_all(struct weir_flow *flow);

// lanes.c, all under lock, which is then left by weir_flow_unlock

// The lane of a key; NULL: it has none. `hash` is weir_lanes_hash's, which needs no lock.
struct weir_lane *weir_lanes_find(const struct weir_subscription *subscription,
                                  struct weir_str key);
struct weir_lane *weir_lanes_find_hashed(const struct weir_subscription *subscription,
                                         struct weir_str key, unsigned hash);
// The same, made where there is none. NULL: no memory.
struct weir_lane *weir_lanes_obtain(struct weir_subscription *subscription, struct weir_str key);
struct weir_lane *weir_lanes_obtain_hashed(struct weir_subscription *subscription,
                                           struct weir_str key, unsigned hash);
unsigned weir_lanes_hash(struct weir_str key);
// Puts a delivery at the end of a lane.
void weir_lanes_push(struct weir_lane *lane, struct weir_delivery *delivery);
// Whether what comes to this lane has to go behind.
bool weir_lanes_holds_back(const struct weir_lane *lane);
// Puts the subscription into the ready ones or takes it out, as it may be served or not. To be
// called when anything of that changed.
void weir_lanes_update(struct weir_subscription *subscription);
void weir_lanes_update_set(struct weir_set *set);
// The lane that is to be served next, RUNNING from then on; NULL: none. *ret_wait_ns: when a
// delayed one is due (monotonic), INT64_MAX: none is.
struct weir_lane *weir_lanes_take(struct weir_flow *flow, int64_t *ret_wait_ns);
// The first delivery of a RUNNING lane is over: removes and returns it, and makes the lane ready,
// idle or gone.
struct weir_delivery *weir_lanes_pop(struct weir_lane *lane);
// The first delivery of a RUNNING lane is to be tried again at due_ns. It waits in the heap; where
// there is no memory for that it is tried at once.
void weir_lanes_delay(struct weir_lane *lane, int64_t due_ns);
// The first delivery of a RUNNING lane was not tried; the lane waits for its turn.
void weir_lanes_put_back(struct weir_lane *lane);
// Lets go of what a DELAYED lane holds in memory besides its first delivery, if all of it has rows.
// Returns what the caller is to free.
struct weir_delivery *weir_lanes_unload(struct weir_lane *lane);
// Takes the oldest delivery that waits (not one that is being handled) out of its lane; NULL: there
// is none.
struct weir_delivery *weir_lanes_take_oldest(struct weir_subscription *subscription);
// Forgets a lane that has nothing, beyond those that are kept.
void weir_lanes_forget_if_empty(struct weir_lane *lane);
// Frees every lane of a subscription none of whose lanes is RUNNING. What they held is returned.
struct weir_delivery *weir_lanes_clear(struct weir_subscription *subscription, uint64_t *ret_count);

// ledger.c

// A delivery of an event, with a reference. NULL: no memory. Without the lock.
struct weir_delivery *weir_delivery_new(struct weir_subscription *subscription,
                                        struct weir_event *event);
void weir_delivery_free(struct weir_delivery *delivery); // NULL is allowed; not under lock
// Under lock: keeps some of a list that is to be freed as spare ones; returns the rest.
struct weir_delivery *weir_delivery_spare(struct weir_subscription *subscription,
                                          struct weir_delivery *list);
// Under lock, on a source's thread: a spare one, NULL where there is none; for
// weir_delivery_offer_spare, without the lock, which gives it to the next weir_delivery_new.
struct weir_delivery *weir_delivery_take_spare(struct weir_subscription *subscription);
void weir_delivery_offer_spare(struct weir_subscription *subscription, struct weir_delivery *spare);
// Under lock: numbers a delivery and puts it at the ledger's end.
void weir_ledger_append(struct weir_delivery *delivery);
// The same for an event that the source will not tell again.
void weir_ledger_append_returned(struct weir_delivery *delivery);
// Under lock: a delivery that left its lane is settled. Returns a list of those, this one or
// others, that are to be freed because nothing has to be written for them.
struct weir_delivery *weir_ledger_settle(struct weir_delivery *delivery);
// Under lock: a delivery that is in its lane has failed once more.
void weir_ledger_reattempt(struct weir_delivery *delivery);
// Under lock: takes everything that waits into flow->batch_*. False: there is nothing.
bool weir_ledger_collect(struct weir_flow *flow);
// Under lock: the batch's entries are durable. Returns deliveries that are to be freed.
struct weir_delivery *weir_ledger_done(struct weir_flow *flow);
// Under lock: a subscription ends; what of it waits to be written is given up. Puts what is to be
// freed in front of `list`, which has what was in its lanes and nowhere else; returns it. Adds to
// *count (may be NULL) what was neither settled nor written.
struct weir_delivery *weir_ledger_abandon(struct weir_subscription *subscription,
                                          struct weir_delivery *list, uint64_t *count);
// Under lock, on the commit thread: has the next commit write what sources have waited for too long
// to hear of. Returns when it is to be called again (monotonic), INT64_MAX: when something comes.
int64_t weir_ledger_write_held(struct weir_flow *flow, int64_t now_ns);
// Without the lock: frees a list of deliveries linked by `next`.
void weir_delivery_free_all(struct weir_delivery *list);
// Under lock: there is something for the next commit.
void weir_ledger_touch(struct weir_subscription *subscription);
void weir_ledger_touch_kept(struct weir_flow *flow, struct weir_kept *kept);
void weir_ledger_touch_flow(struct weir_flow *flow);

// kept.c

// Reads what the store keeps of subscriptions. When the flow is made.
weir_status weir_kept_load(struct weir_flow *flow, struct weir_error *err);
void weir_kept_free_all(struct weir_flow *flow);
// Under lock: what is kept under this name, made where there is nothing. WEIR_INVALID: it is in
// use.
weir_status weir_kept_obtain(struct weir_flow *flow, const char *name,
                             struct weir_subscription *subscription, struct weir_kept **ret_kept,
                             struct weir_error *err);
// Under lock: gives it another name; what was kept under that one gets the old name. WEIR_INVALID:
// that one is in use.
weir_status weir_kept_rename(struct weir_flow *flow, struct weir_kept *kept, const char *name,
                             struct weir_error *err);
// Under lock: it is about this from now on.
weir_status weir_kept_set_about(struct weir_flow *flow, struct weir_kept *kept,
                                const char *resource, struct weir_str pattern,
                                struct weir_error *err);
// Under lock: the source goes on behind this position. Copied.
weir_status weir_kept_set_cursor(struct weir_flow *flow, struct weir_kept *kept,
                                 struct weir_str position, struct weir_error *err);
struct weir_kept *weir_kept_find(const struct weir_flow *flow, const char *name);

// commit.c

weir_status weir_commit_start(struct weir_flow *flow, struct weir_error *err);
void weir_commit_join(struct weir_flow *flow);
// One turn of the commit thread without waiting: writes what waits, reads what is wanted. For the
// simulation, which has no threads. Returns what the store answered; the same batch is tried again
// by the next turn after an error.
weir_status weir_commit_turn(struct weir_flow *flow, struct weir_error *err);
// Under lock: when to write what waits; INT64_MAX: nothing does.
int64_t weir_commit_due_ns(const struct weir_flow *flow);

// backlog.c

// Under lock: wants rows to be read where there is room for them.
void weir_backlog_want(struct weir_subscription *subscription);
void weir_backlog_want_lane(struct weir_lane *lane);
// Without the lock, on the commit thread: reads for one subscription that wants it. False: none
// does.
bool weir_backlog_load(struct weir_flow *flow);

// publish.c

// Under lock: the target of a resource, made with its thread where there is none.
weir_status weir_target_obtain(struct weir_flow *flow, struct weir_resource *resource,
                               struct weir_target **ret_target, struct weir_error *err);
// Under lock: the first exec begins.
void weir_target_begin_all(struct weir_flow *flow);
// Under lock: a subscription stops watching the resource, and may watch it again some time after
// that moment (monotonic).
void weir_target_await_watches(struct weir_flow *flow, const struct weir_resource *resource,
                               int64_t from_ns);
// Under lock: a watch was made that something to be published may have waited for.
void weir_target_wake_all(struct weir_flow *flow);
void weir_target_join_all(struct weir_flow *flow);
// After the last commit, which gives them what has become durable.
void weir_target_free_all(struct weir_flow *flow);
// The one that publishes to a resource of that name; NULL: none does. Under lock.
struct weir_target *weir_target_find(const struct weir_flow *flow, struct weir_str name);
// Under lock: an event is durable in the outbox.
void weir_target_push(struct weir_out *out);
// An event to be published, with a reference. Copies the names. NULL: no memory. Without the lock.
struct weir_out *weir_out_new(struct weir_str subscription, struct weir_str target,
                              struct weir_event *event);
void weir_out_free(struct weir_out *out); // NULL is allowed; not under lock
// Under lock: numbers it and gives it to the next commit. `target` may be NULL.
void weir_out_append(struct weir_flow *flow, struct weir_out *out, struct weir_target *target);
// Reads the outbox. When the flow is made.
weir_status weir_target_load(struct weir_flow *flow, struct weir_error *err);

// derive.c

// What a guest sends, as an event of the flow's own.
weir_status weir_derive_sent(const struct weir_flow *flow, const struct weir_send_args *args,
                             struct weir_event **ret_event, struct weir_error *err);

// What becomes of an event that a handler returned: *ret_out, or *ret_dead where the chain is too
// long. The event gets its id, source and place in the chain, and the trace goes on with it.
// Without the lock.
weir_status weir_derive(const struct weir_subscription *subscription,
                        const struct weir_cause *cause, const struct weir_event *returned,
                        struct weir_out **ret_out, struct weir_dead **ret_dead,
                        struct weir_error *err);

// dead.c

struct weir_dead_args {
    struct weir_str subscription, target, reason, guest_hash, output;
    uint32_t attempts;
    struct weir_event *event;
};
// Copies all of it. NULL: no memory. Without the lock.
struct weir_dead *weir_dead_new(const struct weir_dead_args *args);
void weir_dead_free_all(struct weir_dead_letter *list);
// Under lock: numbers it and gives it to the next commit.
void weir_dead_append(struct weir_flow *flow, struct weir_dead *dead);

// dispatch.c

weir_status weir_dispatch_start(struct weir_flow *flow, struct weir_error *err);
void weir_dispatch_join(struct weir_flow *flow);
// Cuts the handlers that run for a set, or for one of its subscriptions (NULL: for all). Under
// lock.
void weir_dispatch_cut(struct weir_set *set, const struct weir_subscription *subscription);
// Calls the handler of worker->lane's first delivery. Without the lock.
void weir_dispatch_call(struct weir_worker *worker);
// Takes the next lane for the worker; false: none is ready. Under lock.
bool weir_dispatch_take(struct weir_worker *worker, int64_t *ret_wait_ns);

// subscription.c

// Ends a subscription's watch once its handlers have ended: waits for them, cutting those that
// outlast `until_ns`.
void weir_subscription_end(struct weir_subscription *subscription, int64_t until_ns);
// Whether a handler of it runs, or a worker is about to call its provider. Under lock.
bool weir_subscription_is_busy(const struct weir_subscription *subscription);
// Notes what went wrong, for people. Under lock.
void weir_subscription_note_error(struct weir_subscription *subscription, const char *message);
// It is for this handler from now on, and is kept under the name that this makes.
weir_status weir_subscription_bind(struct weir_subscription *subscription, uint32_t handler,
                                   struct weir_error *err);
// Frees it, once nothing points to it. Without the lock.
void weir_subscription_free(struct weir_subscription *subscription);

// settle.c

// What settling needs that may fail or take long; without the lock.
struct weir_settlement {
    enum weir_decision {
        WEIR_DECIDE_SETTLE,
        WEIR_DECIDE_RETRY,
        WEIR_DECIDE_DEAD,
        WEIR_DECIDE_PUT_BACK,
        WEIR_DECIDE_LATER, // no memory for what has to be written: again, and it is no attempt
    } decision;
    struct weir_out *out;
    struct weir_dead *dead;
    struct weir_delivery *over; // a list, to be freed
};
enum { WEIR_RESUMES_MAX = 16 }; // sources that are woken between two looks at those that wait
void weir_settle_prepare(struct weir_worker *worker, struct weir_settlement *ret_settlement);
// Under lock: does it, and lets go of the lane.
void weir_settle_apply(struct weir_worker *worker, struct weir_settlement *settlement);

// verdict.c

// What follows from a verdict on the attempt of number `attempt` (from 1).
enum weir_decision weir_decide(const struct weir_verdict *verdict, const struct weir_retry *retry,
                               uint32_t attempt);
// How long to wait before the attempt after number `attempt`: backoff doubled for each failure and
// capped, less a random share of at most `jitter`; random_share is in [0, 1).
int64_t weir_backoff_ns(const struct weir_retry *retry, uint32_t attempt, double random_share);

#endif
