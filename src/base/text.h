// SPDX-License-Identifier: Apache-2.0
//
// A text that is put together piece by piece, in memory that grows; and the pieces that JSON is
// made of. Where the memory does not suffice, that is remembered and the other pieces are dropped,
// so it is asked for once, at the end. It has no bound of its own: it is at most six times what is
// put into it. A text is used by one thread at a time.
#ifndef WEIR_BASE_TEXT_H
#define WEIR_BASE_TEXT_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Zeroed, it is empty. There is no NUL behind it.
struct weir_text {
    char *data;
    size_t size, room; // room: `size` where there is no memory
    bool lacks_memory; // pieces are missing
};

void weir_text_finish(struct weir_text *text);

static inline struct weir_str weir_text_view(const struct weir_text *text) {
    return (struct weir_str){text->data, text->size};
}

// weir_text_put where there is no room.
void weir_text_put_and_grow(struct weir_text *text, struct weir_str piece);

// Here, so that a literal is a store or two: a row of three columns has 25 pieces.
static inline void weir_text_put(struct weir_text *text, struct weir_str piece) {
    if (piece.size > text->room - text->size) {
        weir_text_put_and_grow(text, piece);
    } else if (piece.size > 0) {
        memcpy(text->data + text->size, piece.data, piece.size);
        text->size += piece.size;
    }
}

void weir_text_put_number(struct weir_text *text, int64_t number);

// UTF-8 as a string of JSON, in its quotes. Coded are quotes, backslashes and control characters.
void weir_text_put_json(struct weir_text *text, struct weir_str string);
// Any bytes as MongoDB's Extended JSON v2 has them: {"$binary":{"base64":"...","subType":"00"}}.
void weir_text_put_json_binary(struct weir_text *text, struct weir_str bytes);

#endif
