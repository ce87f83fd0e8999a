// SPDX-License-Identifier: Apache-2.0
//
// What has happened lately to events, as lines of JSON: what live tails send, and what stories are
// made of.
//
// Failures are kept always, successes only while somebody tails, and of both only so many a tick:
// a tail is a sample where much flows, and says how much it left out. The oldest lines go where
// there are too many, or too many bytes.
//
// Threads: workers offer, the admin thread does the rest; a lock is held for a few pointers.
#ifndef WEIR_ADMIN_RECENT_H
#define WEIR_ADMIN_RECENT_H

#include "base/error.h"
#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_tap_event;

enum {
    WEIR_RECENT_LINES_MAX = 4096,
    WEIR_RECENT_BYTES_MAX = 8 * 1024 * 1024,
    WEIR_RECENT_TAILS_MAX = 16,
    WEIR_RECENT_PER_TICK = 10,          // lines that one tail gets, 100 a second
    WEIR_RECENT_FAILURES_PER_TICK = 50, // that are kept though nobody tails them
};

// What a tail is to be told; NULL: all of them. Owned texts.
struct weir_recent_filter {
    char *subscription, *type, *key; // of the last two, what they begin with
    bool is_failed;                  // only what has failed
};
void weir_recent_filter_finish(struct weir_recent_filter *filter);

struct weir_recent_tail {
    bool is_used;
    struct weir_recent_filter filter;
    uint64_t next;     // number of the first line that it has not seen
    uint32_t taken;    // in this tick
    uint64_t left_out; // since it was last told
};

struct weir_recent_line {
    char *text; // JSON, ends in a NUL
    size_t size;
    uint64_t id_hash,
        cause_hash; // of the event's source and id; of the id of what it came from, 0: nothing
    uint32_t tails; // a bit for each tail that it is for
};

struct weir_admin_recent {
    pthread_mutex_t lock;
    struct weir_recent_line lines[WEIR_RECENT_LINES_MAX]; // a ring; line N at N % MAX
    uint64_t first, end;                                  // numbers
    size_t bytes;
    uint32_t failures_taken; // in this tick
    // Successes are only counted, without the lock, while every tail wants them all and has had its
    // share of this tick.
    atomic_bool only_counts;
    atomic_uint_fast64_t counted;
    uint32_t tail_count;
    bool was_sampled; // something that was wanted was left out since weir began
    struct weir_recent_tail tails[WEIR_RECENT_TAILS_MAX];
};

void weir_recent_init(struct weir_admin_recent *recent);
void weir_recent_finish(struct weir_admin_recent *recent);

// Any thread.
void weir_recent_offer(struct weir_admin_recent *recent, const struct weir_tap_event *event);

// A new tick: as many may be kept as at the start.
void weir_recent_tick(struct weir_admin_recent *recent);

// Begins a tail with what comes from now on; takes the filter over. WEIR_LIMIT: there are
// WEIR_RECENT_TAILS_MAX.
weir_status weir_recent_tail_begin(struct weir_admin_recent *recent,
                                   struct weir_recent_filter *filter, int *ret_tail,
                                   struct weir_error *err);
void weir_recent_tail_end(struct weir_admin_recent *recent, int tail);
// The next line of a tail, a copy to be freed; NULL: there is none, or no memory for it now.
// *ret_left_out: how many were left out since it was last asked; with NULL only.
char *weir_recent_tail_next(struct weir_admin_recent *recent, int tail, uint64_t *ret_left_out);

// Whether something was not kept since weir began.
bool weir_recent_was_sampled(struct weir_admin_recent *recent);

// The number by which lines of an event are found.
uint64_t weir_recent_hash(struct weir_str source, struct weir_str id);
// Copies of the lines with that hash, or of those whose cause has that id, oldest first, at most
// `max`; *ret_count of them. The caller frees the texts.
void weir_recent_find(struct weir_admin_recent *recent, uint64_t id_hash, char **ret_lines,
                      size_t max, size_t *ret_count);
void weir_recent_find_derived(struct weir_admin_recent *recent, struct weir_str cause_id,
                              char **ret_lines, size_t max, size_t *ret_count);

#endif
