// SPDX-License-Identifier: Apache-2.0
//
// What a person at `weir top` has chosen to see: which page, the order and the filter of the
// subscriptions, which of them is selected. Keys change it. No terminal.
//
// Main thread.
#ifndef WEIR_CLI_TOP_VIEW_H
#define WEIR_CLI_TOP_VIEW_H

#include "cli/top_model.h"

enum { WEIR_TOP_FILTER_BYTES_MAX = 128 }; // with the terminator

enum weir_top_page {
    WEIR_TOP_PAGE_ALL, // the head and the subscriptions
    WEIR_TOP_PAGE_ONE, // everything of the selected subscription
    WEIR_TOP_PAGE_SOURCES,
    WEIR_TOP_PAGE_SORT, // the columns to choose from
    WEIR_TOP_PAGE_HELP,
};

// A key: a character by its code point, or one of these.
enum weir_top_key {
    WEIR_TOP_KEY_NONE = 0x110000, // above all of Unicode
    WEIR_TOP_KEY_UP,
    WEIR_TOP_KEY_DOWN,
    WEIR_TOP_KEY_PAGE_UP,
    WEIR_TOP_KEY_PAGE_DOWN,
    WEIR_TOP_KEY_HOME,
    WEIR_TOP_KEY_END,
    WEIR_TOP_KEY_ENTER,
    WEIR_TOP_KEY_ESCAPE,
    WEIR_TOP_KEY_BACKSPACE,
    WEIR_TOP_KEY_HELP,
    WEIR_TOP_KEY_FILTER,
    WEIR_TOP_KEY_SORT,
    WEIR_TOP_KEY_QUIT,
    WEIR_TOP_KEY_OTHER, // that means nothing
};

struct weir_top_view {
    enum weir_top_page page;
    enum weir_top_column column;            // that is sorted by
    bool is_inverted;                       // else names ascend and numbers descend
    bool is_paused;                         // nothing is asked
    bool is_filtering;                      // keys go into the filter
    bool has_ended;                         // somebody has seen enough
    char filter[WEIR_TOP_FILTER_BYTES_MAX]; // UTF-8; "": all
    struct weir_top_row **rows;             // owned: those that the filter lets through, in order
    size_t count, room;
    // A selection stays with its subscription, wherever the order puts that. Nothing is selected
    // until somebody moves: the table then shows its top.
    char *selected; // owned; a name, NULL: none
    size_t index;   // of the selected one, or of who took its place
    size_t first;   // the row at the top of the table
    size_t line;    // the line at the top of another page
    size_t choice;  // on the page of columns
    size_t lines;   // there is room for so many rows of the table, or lines of another page
};

// Sorted by the lag.
void weir_top_view_init(struct weir_top_view *view);
void weir_top_view_finish(struct weir_top_view *view);

// Filters and sorts anew what the model has. WEIR_NO_MEMORY: there is nothing to be seen.
weir_status weir_top_view_update(struct weir_top_view *view, const struct weir_top_model *model,
                                 struct weir_error *err);

// The selected one; without a selection the first. NULL: there is none.
const struct weir_top_row *weir_top_view_selected(const struct weir_top_view *view);

// What a key does. weir_top_view_update is due after it.
void weir_top_view_key(struct weir_top_view *view, uint32_t key);

// There is room for that many lines: moves the top of the table so that the selected row is among
// those that are seen.
void weir_top_view_scroll(struct weir_top_view *view, size_t lines);

// A column's title, "LAG", as it is written over the table. Never NULL.
const char *weir_top_column_title(enum weir_top_column column);

#endif
