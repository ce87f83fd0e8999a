// SPDX-License-Identifier: Apache-2.0
//
// What a watch was told of a file, as bytes that outlast the process: the position of the file
// provider's events. And a list of keys with what was told of each, for the way between the thread
// that begins a watch and the watcher's. Pure functions; any thread, a list by one at a time.
#ifndef WEIR_PROVIDER_FILE_FINGERPRINT_H
#define WEIR_PROVIDER_FILE_FINGERPRINT_H

#include "base/str.h"
#include "provider/file/access.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The state of a file that was told.
struct weir_file_told {
    struct weir_file_stamp stamp;
    uint64_t hash;   // XXH3-64 of the content, if has_hash
    bool has_hash;   // the content was read
    bool is_settled; // weir_file_stamp_is_settled, when it was told
};

enum { WEIR_FILE_FINGERPRINT_BYTES = 42 };

// Writes the fingerprint into the buffer; the view is of the buffer.
struct weir_str weir_file_fingerprint_encode(const struct weir_file_told *told,
                                             char buffer[static WEIR_FILE_FINGERPRINT_BYTES]);

// False: it is malformed, or another version's. *ret_told is then a state that no file has.
bool weir_file_fingerprint_decode(struct weir_str fingerprint, struct weir_file_told *ret_told);

// A list. All zero is an empty one.
struct weir_file_notes {
    char *data; // owned
    size_t size, room;
    uint64_t count;
};

// Appends a copy; false without memory.
bool weir_file_notes_add(struct weir_file_notes *notes, struct weir_str key,
                         const struct weir_file_told *told);
// Reads the note at *at, from 0 on, and moves *at behind it; false at the end. The key is a view
// that lives until the next change.
bool weir_file_notes_next(const struct weir_file_notes *notes, size_t *at, struct weir_str *ret_key,
                          struct weir_file_told *ret_told);
// Frees what it holds; it is empty then.
void weir_file_notes_finish(struct weir_file_notes *notes);

#endif
