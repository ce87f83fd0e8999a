// SPDX-License-Identifier: Apache-2.0
//
// A YAML text as a tree of nodes that know their place: weir.yaml, and the tests of a project.
#ifndef WEIR_CONFIG_DOCUMENT_H
#define WEIR_CONFIG_DOCUMENT_H

#include "base/error.h"
#include "base/str.h"
#include "config/config.h"

enum {
    WEIR_DOCUMENT_DEPTH_MAX = 16, // mappings and lists within each other
    WEIR_DOCUMENT_NODES_MAX = 1024 * 1024,
    WEIR_DOCUMENT_ANCHORS_MAX = 256,
};

enum weir_node_kind { WEIR_NODE_SCALAR, WEIR_NODE_LIST, WEIR_NODE_MAPPING };

// A pair of a mapping, or an item of a list. Owned by the document.
struct weir_entry {
    struct weir_entry *next;
    const struct weir_node *key; // a scalar; NULL in a list
    const struct weir_node *value;
};

// Owned by the document. An alias is the node itself, standing in a second place.
struct weir_node {
    enum weir_node_kind kind;
    struct weir_place place;
    struct weir_str text; // of a scalar; terminated by a NUL beyond its size
    bool is_plain;        // a scalar without quotes
    bool is_nothing;      // an empty scalar without quotes, as behind "key:"
    struct weir_entry *first;
    size_t count; // of entries
};

struct weir_document {
    const struct weir_node *root; // NULL where the text holds nothing
    struct weir_block *blocks;
};

// Reads a text that holds at most one document. WEIR_INVALID with one problem added: the text is no
// YAML, or uses what has no meaning here. WEIR_NO_MEMORY. The document is to be finished in each
// case.
weir_status weir_document_parse(struct weir_str text, struct weir_document *ret_document,
                                struct weir_problems *problems, struct weir_error *err);
void weir_document_finish(struct weir_document *document);

// The bytes of a regular file of at most WEIR_CONFIG_FILE_BYTES_MAX, to be freed. WEIR_LIMIT,
// WEIR_INVALID: no regular file, and what the file system says.
weir_status weir_document_read(const char *path, char **ret_text, size_t *ret_size,
                               struct weir_error *err);

// Memory that lives as long as the document; NULL where there is none left.
void *weir_document_allocate(struct weir_document *document, size_t size_bytes);

#endif
