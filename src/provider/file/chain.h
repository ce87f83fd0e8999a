// SPDX-License-Identifier: Apache-2.0
//
// How the chain that an event belongs to survives a file: an extended attribute of the file. Pure
// functions but for the last two, which are system calls on a descriptor; any thread. What stands
// in the attribute, and why, is told in chain.c.
#ifndef WEIR_PROVIDER_FILE_CHAIN_H
#define WEIR_PROVIDER_FILE_CHAIN_H

#include "event/event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_FILE_CHAIN_NAME "user.weir.chain"

enum {
    WEIR_FILE_CHAIN_BYTES_MAX = 2048,    // of the attribute
    WEIR_FILE_CHAIN_HOPS_BYTES_MAX = 20, // of a number of hops, in decimal digits
};

// The three extensions of an event; empty where it has none.
struct weir_file_chain {
    struct weir_str causation, correlation, hops;
};

// What the attribute holds.
struct weir_file_chain_record {
    struct weir_file_chain chain;
    uint64_t hash;    // XXH3-64 of the content that it belongs to
    int64_t mtime_ns; // of that content: stands in for it where it is too large to be read
};

// The chain in an event's extensions, as views of them.
struct weir_file_chain weir_file_chain_of(const struct weir_event_fields *fields);
bool weir_file_chain_is_empty(const struct weir_file_chain *chain);

// Writes the attribute into the buffer and returns its bytes. What it cannot hold is left out: ids
// that are too long for it or have a NUL byte, hops that are no number.
size_t weir_file_chain_encode(const struct weir_file_chain_record *record,
                              char buffer[static WEIR_FILE_CHAIN_BYTES_MAX]);

// False: it is malformed, or another version's. The record's texts are views of `bytes`.
bool weir_file_chain_decode(struct weir_str bytes, struct weir_file_chain_record *ret_record);

// Sets the attribute of an open file. Returns 0 or an errno value: ENOTSUP where the file system
// keeps none.
int weir_file_chain_write(int fd, const struct weir_file_chain_record *record);

// Reads it. False: there is none, or it is malformed. The record's texts are views of the buffer.
bool weir_file_chain_read(int fd, char buffer[static WEIR_FILE_CHAIN_BYTES_MAX],
                          struct weir_file_chain_record *ret_record);

#endif
