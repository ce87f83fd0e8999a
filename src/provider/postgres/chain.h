// SPDX-License-Identifier: Apache-2.0
//
// How the chain that an event belongs to survives a row of a table: a message in the write-ahead
// log, directly before the row's change and in the same transaction. It needs no column, nobody
// who reads the table sees it, and it comes back with the change alone that it belongs to. Pure
// functions, any thread.
#ifndef WEIR_PROVIDER_POSTGRES_CHAIN_H
#define WEIR_PROVIDER_POSTGRES_CHAIN_H

#include "event/event.h"

#include <stdbool.h>
#include <stddef.h>

#define WEIR_PG_CHAIN_PREFIX "weir.chain" // of the message

enum {
    WEIR_PG_CHAIN_BYTES_MAX = 2048, // of the message
    WEIR_PG_CHAIN_EXTENSIONS = 3,
};

// Writes the chain of an event's extensions. Returns its bytes; 0: it has none. What the message
// cannot hold is left out: ids that are too long or have a NUL byte, hops that are no number.
size_t weir_pg_chain_encode(const struct weir_event_fields *fields,
                            char buffer[static WEIR_PG_CHAIN_BYTES_MAX]);

// Reads them: views of `bytes`. Returns how many; 0: there are none, or it is malformed.
size_t weir_pg_chain_decode(struct weir_str bytes,
                            struct weir_attribute ret_extensions[static WEIR_PG_CHAIN_EXTENSIONS]);

#endif
