// SPDX-License-Identifier: Apache-2.0
//
// Private to this room: what the parts of the reader of weir.yaml share. See reader.c for how it
// goes about mistakes.
#ifndef WEIR_CONFIG_READER_H
#define WEIR_CONFIG_READER_H

#include "config/document.h"
#include "config/tables.h"

enum {
    WEIR_READER_PATH_BYTES = 512,        // of a key path in a message; longer ones are cut
    WEIR_EXPANDED_BYTES_MAX = 64 * 1024, // of a value with ${NAME} replaced
};

struct weir_reader {
    struct weir_config *config;
    struct weir_problems *problems;
    struct weir_error *err;
    struct weir_document document;
    weir_status status; // WEIR_OK, or what made the reader give up
    size_t visits;
    char path[WEIR_READER_PATH_BYTES]; // of what is being read: "guests.hello.bounds"
    struct weir_bounds bounds;
    const struct weir_node *resources;      // the mapping; NULL: none
    const struct weir_node *guests;         // the mapping; NULL: none
    char expanded[WEIR_EXPANDED_BYTES_MAX]; // the value that is being read
};

// The keys that a mapping may have.
struct weir_known_keys {
    const struct weir_option_table *options; // may be NULL
    const struct weir_option_table *more;    // likewise
    const struct weir_sections *sections;    // may be NULL
};

// Goes one level down in the path of messages. Returns what weir_reader_leave needs.
size_t weir_reader_enter(struct weir_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
size_t weir_reader_enter_key(struct weir_reader *reader, struct weir_str key);
void weir_reader_leave(struct weir_reader *reader, size_t before);

// Tells a mistake.
void weir_reader_problem(struct weir_reader *reader, struct weir_place place, const char *format,
                         ...) __attribute__((format(printf, 3, 4)));
void weir_reader_no_memory(struct weir_reader *reader);
// "a list", "a mapping", "a single value"
const char *weir_reader_kind(enum weir_node_kind kind);

// The value of a key in a mapping; NULL: there is none.
const struct weir_node *weir_reader_find(const struct weir_node *mapping, struct weir_str key);
// Counts entries about to be looked at. Returns false where the file unfolds to too many.
bool weir_reader_may_visit(struct weir_reader *reader, const struct weir_node *node);
// Whether there is a mapping to be read here; tells where there is something else, or where keys
// come twice. NULL and an empty value count as an empty mapping. `what` says what to write.
bool weir_reader_mapping(struct weir_reader *reader, const struct weir_node *node,
                         const char *what);
// Tells of keys that have no meaning here.
void weir_reader_known(struct weir_reader *reader, const struct weir_node *mapping,
                       const struct weir_known_keys *known);
// A scalar's text as it is meant, valid until the next one is expanded; false where a mistake was
// told. `ret_is_foreign`: a part of it comes from the environment.
bool weir_reader_expand(struct weir_reader *reader, const struct weir_node *node,
                        struct weir_str *ret_text, bool *ret_is_foreign);
// Reads the mapping's options; what is not in the table is left to others.
void weir_reader_options(struct weir_reader *reader, const struct weir_node *mapping,
                         const struct weir_option_table *table, void *base);
// A copy of a text; NULL without memory, which has been noted then.
char *weir_reader_copy(struct weir_reader *reader, struct weir_str text);
// Makes room for the entries of a mapping or list. Returns NULL where there is nothing to read.
void *weir_reader_room(struct weir_reader *reader, const struct weir_node *node, size_t max,
                       size_t item_bytes);
// Tells where a text names nothing of the mapping (`resources` or `guests`). NULL: there are none.
void weir_reader_reference(struct weir_reader *reader, struct weir_place place,
                           const struct weir_node *mapping, const char *what, const char *name);

// What a guest may reach: grants, hosts, env, config (access.c).
void weir_reader_access(struct weir_reader *reader, const struct weir_node *mapping,
                        struct weir_guest_config *guest);

#endif
