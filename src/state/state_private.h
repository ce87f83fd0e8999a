// SPDX-License-Identifier: Apache-2.0
//
// The open state database. Private to src/state/.
#ifndef WEIR_STATE_STATE_PRIVATE_H
#define WEIR_STATE_STATE_PRIVATE_H

#include "state/connection.h"
#include "state/mark.h"
#include "state/state.h"

#include <pthread.h>

enum {
    // SQLite takes no longer path than 512 bytes, with what it puts behind the database's.
    WEIR_STATE_PATH_BYTES = 512,
    WEIR_STATE_ROW_BITS = 40, // of a journal's row: the event's seq
};

struct weir_state_paths {
    char database[WEIR_STATE_PATH_BYTES], wal[WEIR_STATE_PATH_BYTES], lock[WEIR_STATE_PATH_BYTES];
};

struct weir_state {
    // Unchanging.
    struct weir_log *log;
    bool is_reader;
    struct weir_state_paths paths;

    pthread_mutex_t lock; // of all below
    struct weir_connection connection;
    struct weir_mark mark; // not of a reader
    uint64_t number;       // of the last commit
    // A COMMIT failed, and nobody knows whether it did before or after the data was durable.
    bool is_ambiguous;
    // The connection is a new one after an error: see weir_state_enter.
    bool needs_checkpoint;
    int checkpoint_pages; // of the WAL, from which on it is written into the database
    bool has_told_checkpoint, has_told_mark;
    uint64_t last_outbox_id, last_dead_id;
    struct weir_scratch scratch;
};

// What a file's presence says. The sizes are 0 where a file is not there.
struct weir_state_survey {
    bool has_database;
    uint64_t database_bytes, wal_bytes;
};

// The absolute paths of the files in a folder that is there. WEIR_NOT_FOUND, WEIR_INVALID.
weir_status weir_state_find(const char *dir, struct weir_state_paths *ret_paths,
                            struct weir_error *err);
// WEIR_OTHER: a WAL without its database.
weir_status weir_state_look(const struct weir_state_paths *paths,
                            struct weir_state_survey *ret_survey, struct weir_error *err);
// The number of the last commit, and that every row of meta is right.
weir_status weir_state_read_number(struct weir_connection *connection, uint64_t *ret_number,
                                   struct weir_error *err);
// WEIR_OTHER: the database has fewer commits than the mark.
weir_status weir_state_compare(const struct weir_state_paths *paths, uint64_t number,
                               uint64_t marked, struct weir_error *err);

enum weir_state_purpose { WEIR_STATE_TO_LOAD, WEIR_STATE_TO_COMMIT };
// Takes the lock, with a connection that can be used. After an error the lock is not held.
weir_status weir_state_enter(struct weir_state *state, enum weir_state_purpose purpose,
                             struct weir_error *err);
void weir_state_leave(struct weir_state *state);

// Within enter and leave: all that `apply` does, and the next commit number, or nothing.
weir_status weir_state_transaction(struct weir_state *state,
                                   weir_status (*apply)(struct weir_state *state,
                                                        const void *context,
                                                        struct weir_error *err),
                                   const void *context, struct weir_error *err);

// The functions of weir_state_store.
weir_status weir_state_commit(void *context, const struct weir_batch *batch,
                              struct weir_error *err);
weir_status weir_state_load_journal(void *context, const struct weir_load *load,
                                    bool (*each)(void *each_context,
                                                 const struct weir_entry *entry),
                                    void *each_context, struct weir_error *err);
weir_status weir_state_load_subscriptions(
    void *context, bool (*each)(void *each_context, const struct weir_subscription_record *record),
    void *each_context, struct weir_error *err);
weir_status weir_state_load_notes(void *context, uint64_t subscription,
                                  bool (*each)(void *each_context, struct weir_str key,
                                               struct weir_str fingerprint),
                                  void *each_context, struct weir_error *err);
weir_status weir_state_load_outbox(void *context, uint64_t after, size_t rows_max,
                                   bool (*each)(void *each_context,
                                                const struct weir_outbox_entry *entry),
                                   void *each_context, struct weir_error *err);
weir_status weir_state_load_dead(void *context, uint64_t after, size_t rows_max,
                                 bool (*each)(void *each_context,
                                              const struct weir_dead_letter *letter),
                                 void *each_context, struct weir_error *err);
weir_status weir_state_last_ids(void *context, uint64_t *ret_outbox, uint64_t *ret_dead,
                                struct weir_error *err);

// The record of a row's cells; it points where they do.
struct weir_subscription_record weir_state_record_of(const struct weir_cell *cells);
// The first and last number that a row of a subscription's can have in the journal.
int64_t weir_state_row(uint64_t subscription, uint64_t seq);

#endif
