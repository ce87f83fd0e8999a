// SPDX-License-Identifier: Apache-2.0
//
// The state database: one SQLite file, DIR/state.db, in WAL mode with synchronous=FULL. See store.h
// for what is in it and schema.c for how; anybody may read it with sqlite3 while weir runs.
//
// One process writes it: the lock is on DIR/state.lock, which also holds the number of the last
// commit, so that it survives the process. A database that comes back with fewer commits than that
// (its WAL was lost, cut or damaged) is not used.
//
// Threads. commit and the loads of weir_state_store are called by one thread at a time, but
// load_notes by any; a callback of a load calls nothing of the same store but load_notes. A reader
// (weir_state_read) is used by one thread and knows nothing of writers.
#ifndef WEIR_STATE_STATE_H
#define WEIR_STATE_STATE_H

#include "state/store.h"

struct weir_log;
struct weir_state;

enum {
    WEIR_STATE_SCHEMA_VERSION = 1,
    WEIR_STATE_BUSY_WAIT_MS = 5000, // for a reader's lock, such as sqlite3's
};

// Opens it for writing, makes the directory (mode 0700) and the file (0600) where they are missing,
// and brings an older schema up to date. WEIR_UNAVAILABLE: another weir has it, with that one's
// process id, or it cannot be written; WEIR_INVALID: DIR is no folder, or its path is longer than
// SQLite takes (some 500 bytes); WEIR_OTHER: it is damaged, or of a newer weir: the message
// names the file, what is wrong and what to do.
weir_status weir_state_open(const char *dir, struct weir_log *log, struct weir_state **ret_state,
                            struct weir_error *err);
// Opens what is there for reading, also while a weir writes it. WEIR_NOT_FOUND: there is none.
weir_status weir_state_read(const char *dir, struct weir_state **ret_state, struct weir_error *err);
// NULL is allowed.
void weir_state_close(struct weir_state *state);

// The functions of store.h; `context` is the struct weir_state. commit fails for a reader.
extern const struct weir_store weir_state_store;

// Dead letters with an id below `before`, the newest first.
weir_status weir_state_load_dead_before(struct weir_state *state, uint64_t before, size_t rows_max,
                                        bool (*each)(void *each_context,
                                                     const struct weir_dead_letter *letter),
                                        void *each_context, struct weir_error *err);
// How many dead letters there are, counted up to `max`.
weir_status weir_state_count_dead(struct weir_state *state, uint64_t max, uint64_t *ret_count,
                                  struct weir_error *err);

// Checks everything that can be checked: SQLite's own integrity, each row's checksum, and what rows
// say of each other. Calls `tell` for each thing that is wrong, a line each, and returns how many
// there were in *ret_count. WEIR_OK also where something is wrong.
weir_status weir_state_check(const char *dir, void (*tell)(void *context, const char *line),
                             void *context, uint64_t *ret_count, struct weir_error *err);

// Removes a subscription and all that is kept of it. WEIR_NOT_FOUND.
weir_status weir_state_forget(struct weir_state *state, struct weir_str name,
                              struct weir_error *err);

#endif
