// SPDX-License-Identifier: Apache-2.0
//
// How the chain that a published event belongs to survives the database: bytes in a column of the
// log's row that the change made. Pure functions, any thread.
#ifndef WEIR_PROVIDER_SQLITE_CHAIN_H
#define WEIR_PROVIDER_SQLITE_CHAIN_H

#include "event/event.h"

enum { WEIR_SQLITE_CHAIN_BYTES_MAX = 2048, WEIR_SQLITE_CHAIN_EXTENSIONS = 3 };

// Writes the chain in an event's extensions into the buffer. Returns its size, 0 where there is
// none. What is too long, or has a NUL, is left out.
size_t weir_sqlite_chain_encode(const struct weir_event_fields *fields,
                                char buffer[static WEIR_SQLITE_CHAIN_BYTES_MAX]);

// The extensions that the bytes stand for, as views of them. Returns how many; 0 where the bytes
// are malformed.
size_t
weir_sqlite_chain_decode(struct weir_str bytes,
                         struct weir_attribute ret_extensions[static WEIR_SQLITE_CHAIN_EXTENSIONS]);

#endif
