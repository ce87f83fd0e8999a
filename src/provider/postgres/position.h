// SPDX-License-Identifier: Apache-2.0
//
// Places in the history of a PostgreSQL cluster. Pure functions, any thread.
//
// Transactions are told in the order in which they were committed, and the changes of one together,
// so a change's place is that of its transaction's commit, and within it that of its own record in
// the write-ahead log. Several changes may share a record (COPY writes many rows with one), and a
// row whose key changes is two events; these are counted. All of it is a fact of the log: who reads
// it again, through whatever slot, finds the same places.
//
// The cluster's identifier and its timeline stand behind them, so that a cluster that was restored
// or put in another's place is noticed.
#ifndef WEIR_PROVIDER_POSTGRES_POSITION_H
#define WEIR_PROVIDER_POSTGRES_POSITION_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_pg_position {
    uint64_t commit_lsn; // where the transaction's commit record begins
    uint64_t change_lsn; // where the change's record begins; 0: before every change of it
    uint32_t part;       // of that record
    bool is_snapshot;    // of a row that was there at commit_lsn; the others were not all told
    uint64_t system;     // the cluster's identifier
    uint32_t timeline;
};

enum {
    WEIR_PG_POSITION_BYTES = 34,
    WEIR_PG_LSN_BYTES = 24,      // "16/B374D848", as PostgreSQL writes one
    WEIR_PG_REVISION_BYTES = 40, // of a change, as text
};

void weir_pg_position_encode(const struct weir_pg_position *position,
                             char ret_bytes[static WEIR_PG_POSITION_BYTES]);
// False: it is none of these.
bool weir_pg_position_decode(struct weir_str bytes, struct weir_pg_position *ret_position);

// Below, at or above 0, by place alone.
int weir_pg_position_compare(const struct weir_pg_position *a, const struct weir_pg_position *b);

// The change as text, the same for the same change. Returns `text`.
const char *weir_pg_position_revision(const struct weir_pg_position *position,
                                      char text[static WEIR_PG_REVISION_BYTES]);

// Whether a place on another timeline is on this one too: it is before the point where this one
// left that. `history` is the timeline's history file, lines of "TIMELINE LSN REASON".
bool weir_pg_history_has(const char *history, const struct weir_pg_position *place);

// An LSN as PostgreSQL writes it. Returns `text`.
const char *weir_pg_lsn_format(uint64_t lsn, char text[static WEIR_PG_LSN_BYTES]);
// False: it is none.
bool weir_pg_lsn_parse(const char *text, uint64_t *ret_lsn);

#endif
