// SPDX-License-Identifier: Apache-2.0
//
// What the way of an event writes down, and how it is read again after a stop. A store applies one
// batch at a time, all of it or nothing; src/state/ has the one that is a file (state.h), the
// simulation of tests/ has one in memory.
//
// The one invariant: every event at or below a subscription's cursor is settled, or has a row in
// the journal; every event above it will be told again by the source. A source that cannot replay
// has no cursor, and every event of it that was taken is settled, has a row, or was not
// acknowledged to a source that tells it again.
//
// Nothing in a batch is owned by the store, nor copied: whoever makes the batch keeps all of it
// until the commit has returned.
#ifndef WEIR_STATE_STORE_H
#define WEIR_STATE_STORE_H

#include "base/error.h"
#include "base/str.h"
#include "event/event.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    WEIR_SUBSCRIPTION_ID_MAX = (1 << 23) - 1, // ids are from 1
    WEIR_DEAD_REASON_BYTES_MAX = 1024,
    WEIR_OUTPUT_TAIL_BYTES = 2048,
};
#define WEIR_SEQ_MAX ((UINT64_C(1) << 40) - 1) // of one subscription, from 1

// What is kept of a subscription.
struct weir_subscription_record {
    uint64_t id;
    struct weir_str name;     // unique
    struct weir_str resource; // what it watches: the resource's name and kind, "shop (file)" ...
    struct weir_str pattern;  // ... and the key, as given
    bool is_ready;            // everything that was there when it began has been remembered
    struct weir_str cursor;   // the source's position; empty: none
    uint64_t next_seq;        // of the next event that is taken
    uint64_t row_count;       // rows that it has in the journal
    struct weir_subscription_record *next; // in a batch
};

enum weir_entry_op {
    WEIR_ENTRY_WRITE,   // a new row: the event is not settled
    WEIR_ENTRY_PASS,    // no row: the event was settled before it was ever written
    WEIR_ENTRY_REMOVE,  // the event of the row is settled
    WEIR_ENTRY_ATTEMPT, // the row's number of attempts has changed
};

// What becomes of one event. Event and fingerprint: where `has_fingerprint`, WRITE and PASS also
// note the event's position as what was told of its key; an empty one forgets the key.
struct weir_entry {
    uint64_t subscription, seq;
    struct weir_event *event; // WRITE, PASS
    uint32_t attempts;        // WRITE, ATTEMPT
    uint8_t op;               // enum weir_entry_op
    bool has_fingerprint;
    struct weir_entry *next; // in a batch
};

// A fingerprint without an event.
struct weir_note {
    uint64_t subscription;
    struct weir_str key, fingerprint; // an empty fingerprint forgets the key
    struct weir_note *next;           // in a batch
};

// An event that waits to be published.
struct weir_outbox_entry {
    uint64_t id;                    // ascending; the order of publishing
    struct weir_str subscription;   // whose handler returned it
    struct weir_str target;         // the resource's name
    struct weir_event *event;       // as it will be published
    struct weir_outbox_entry *next; // in a batch
};

// An event that was given up.
struct weir_dead_letter {
    uint64_t id;                  // ascending
    struct weir_str subscription; // the name
    struct weir_str target;       // not empty: a derived event that could not be published there
    struct weir_str reason;       // at most WEIR_DEAD_REASON_BYTES_MAX
    uint32_t attempts;
    struct weir_str guest_hash; // of the guest's file, "xxh128:..."
    struct weir_str output;     // the end of what the last attempt printed
    int64_t wall_ns;            // when
    struct weir_event *event;
    struct weir_dead_letter *next; // in a batch
};

// A row of something that goes away.
struct weir_removal {
    uint64_t id;
    struct weir_removal *next;
};

// One transaction. Lists are applied in this order, each from its head; NULL: nothing.
struct weir_batch {
    const struct weir_subscription_record *subscriptions; // inserted or replaced, by id
    const struct weir_removal *forgotten;                 // subscriptions, all of whose notes go
    const struct weir_note *notes;
    const struct weir_entry *entries;
    const struct weir_outbox_entry *outbox;
    const struct weir_removal *published; // rows of the outbox
    const struct weir_dead_letter *dead;
    const struct weir_removal *undead; // rows of the dead letters
};

struct weir_load {
    uint64_t subscription;
    uint64_t seq_from, seq_to;  // inclusive
    const struct weir_str *key; // NULL: every key
    size_t rows_max;
};

// Each function returns WEIR_OK, or an error that may go away by itself (WEIR_UNAVAILABLE: disk
// full, not writable; WEIR_NO_MEMORY), or WEIR_OTHER: the file is damaged, and the message names
// it. A callback returns false to end the reading; what it is given is valid during the call, but
// an event may be kept with a reference.
struct weir_store {
    // All or nothing, durable when it returns. The same batch may be given again after an error.
    weir_status (*commit)(void *context, const struct weir_batch *batch, struct weir_error *err);
    // Rows in the order of their seq.
    weir_status (*load_journal)(void *context, const struct weir_load *load,
                                bool (*each)(void *each_context, const struct weir_entry *entry),
                                void *each_context, struct weir_error *err);
    weir_status (*load_subscriptions)(void *context,
                                      bool (*each)(void *each_context,
                                                   const struct weir_subscription_record *record),
                                      void *each_context, struct weir_error *err);
    // In the order of the keys' bytes. May be called while another thread commits.
    weir_status (*load_notes)(void *context, uint64_t subscription,
                              bool (*each)(void *each_context, struct weir_str key,
                                           struct weir_str fingerprint),
                              void *each_context, struct weir_error *err);
    // Rows with an id above `after`, ascending.
    weir_status (*load_outbox)(void *context, uint64_t after, size_t rows_max,
                               bool (*each)(void *each_context,
                                            const struct weir_outbox_entry *entry),
                               void *each_context, struct weir_error *err);
    // Likewise. May be called while another thread commits.
    weir_status (*load_dead)(void *context, uint64_t after, size_t rows_max,
                             bool (*each)(void *each_context,
                                          const struct weir_dead_letter *letter),
                             void *each_context, struct weir_error *err);
    // The largest id ever given to a row of the outbox and of the dead letters that is still there,
    // or was there when the store was opened; 0: none.
    weir_status (*last_ids)(void *context, uint64_t *ret_outbox, uint64_t *ret_dead,
                            struct weir_error *err);
};

#endif
