// SPDX-License-Identifier: Apache-2.0
//
// What the screens of `weir top` are written with: texts that fit, and a pen, which knows where it
// is on a canvas and stops at its edges. Private to what draws.
//
// Main thread.
#ifndef WEIR_CLI_TOP_PEN_H
#define WEIR_CLI_TOP_PEN_H

#include "base/str.h"
#include "cli/top_draw.h"

enum {
    WEIR_TOP_TEXT_BYTES = 4 * 1024,                     // of a text that is shown
    WEIR_TOP_COLUMNS_MAX = WEIR_TOP_TEXT_BYTES / 4 - 1, // that are drawn of a wider terminal
    WEIR_TOP_NUMBER_BYTES = 32,                         // enough for each number and age
};

// ---- texts ----

// What of foreign bytes has room in so many columns, made fit to be shown: how many of the bytes,
// and in how many bytes and columns. There is no NUL behind it.
struct weir_top_shown {
    size_t taken, size, columns;
};
struct weir_top_shown weir_top_show(struct weir_str text, size_t room, bool is_utf8,
                                    char shown[static WEIR_TOP_TEXT_BYTES]);

// Foreign bytes, shown in exactly `width` columns: cut ("~" in the last one) or filled with blanks,
// which stand in front where `width` is negative. At most WEIR_TOP_COLUMNS_MAX. Returns `buffer`.
const char *weir_top_fit(const char *text, int width, bool is_utf8,
                         char buffer[static WEIR_TOP_TEXT_BYTES]);

// The last values as bars, the newest to the right, in that many columns; the tallest is the
// largest of those that are shown. Blank: there was none. Returns `buffer`.
const char *weir_top_spark(const struct weir_top_history *history, size_t columns, bool is_utf8,
                           char buffer[static WEIR_TOP_TEXT_BYTES]);

// "-" for what nobody knows, which is negative; of an age also for 0. Each returns `buffer`.
const char *weir_top_rate(double rate, char buffer[static WEIR_TOP_NUMBER_BYTES]);
const char *weir_top_age(double ms, char buffer[static WEIR_TOP_NUMBER_BYTES]);
const char *weir_top_bytes(double bytes, char buffer[static WEIR_TOP_NUMBER_BYTES]);

// How a resource's connection is, and in which style that is to be said.
const char *weir_top_link(const json_t *resource, enum weir_top_style *ret_style);

// ---- the pen ----

struct weir_top_pen {
    const struct weir_top_canvas *canvas;
    size_t row, column;
    size_t end; // of the rows that it may write
};

// How many columns of the line are left; 0 below the last row.
size_t weir_top_pen_room(const struct weir_top_pen *pen);
// A text in a column of that width, to the right where it is negative; the next one stands behind
// it.
void weir_top_pen_cell(struct weir_top_pen *pen, const char *text, int width,
                       enum weir_top_style style);
// A text as wide as it is.
void weir_top_pen_word(struct weir_top_pen *pen, const char *text, enum weir_top_style style);
// Bars, in at most that many columns.
void weir_top_pen_spark(struct weir_top_pen *pen, const struct weir_top_history *history,
                        size_t columns, enum weir_top_style style);
void weir_top_pen_end_line(struct weir_top_pen *pen);

// ---- top_pages.c ----

// Draws the page that the view has, which is not the table, scrolled as far as it goes.
void weir_top_page_draw(struct weir_top_pen *pen, const struct weir_top_scene *scene);

#endif
