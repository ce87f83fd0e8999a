// SPDX-License-Identifier: Apache-2.0
//
// Where a watch goes on: a place in the log of a database, and, while what was there is told first,
// how far that has come. Pure functions, any thread.
#ifndef WEIR_PROVIDER_SQLITE_POSITION_H
#define WEIR_PROVIDER_SQLITE_POSITION_H

#include "base/str.h"
#include "event/event.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    WEIR_SQLITE_IDENTITY_BYTES = 16,
    WEIR_SQLITE_REVISION_BYTES = 48, // of a place as text, with its terminator
    WEIR_SQLITE_REST_KEY_BYTES_MAX = 480,
    WEIR_SQLITE_REST_TABLE_BYTES_MAX = 256,
};

// A row of the log: its number, and the random number that it was given, by which a row of another
// history with the same number is told apart; 0: nobody knows.
struct weir_sqlite_place {
    int64_t seq;
    uint64_t mark;
};

// What is left of telling what was there: the tables behind `table`, and of it the rows behind
// `row` (by rowid), or the keys behind `key`.
enum weir_sqlite_rest_kind {
    WEIR_SQLITE_REST_NONE,     // everything was told
    WEIR_SQLITE_REST_TABLE,    // from the beginning of the table on
    WEIR_SQLITE_REST_ROW,      // behind the rowid
    WEIR_SQLITE_REST_TEXT_KEY, // of a key-value table: behind a key that is kept as a text
    WEIR_SQLITE_REST_BLOB_KEY,
};
struct weir_sqlite_rest {
    enum weir_sqlite_rest_kind kind;
    struct weir_str table;
    int64_t row;
    struct weir_str key;
};

struct weir_sqlite_position {
    unsigned char identity[WEIR_SQLITE_IDENTITY_BYTES]; // of the log
    struct weir_sqlite_place place;
    struct weir_sqlite_rest rest;
};

// Returns the size. A rest whose texts are too long for a position begins with the table again, or
// with everything.
size_t weir_sqlite_position_encode(const struct weir_sqlite_position *position,
                                   char buffer[static WEIR_POSITION_BYTES_MAX]);
// The texts are views of `bytes`. False: it is malformed, or another version's.
bool weir_sqlite_position_decode(struct weir_str bytes, struct weir_sqlite_position *ret_position);

// "42-0123456789abcdef". Returns `buffer`.
const char *weir_sqlite_place_text(const struct weir_sqlite_place *place,
                                   char buffer[static WEIR_SQLITE_REVISION_BYTES]);

#endif
