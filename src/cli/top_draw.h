// SPDX-License-Identifier: Apache-2.0
//
// How `weir top` looks: a screen is drawn on a canvas, which is a terminal, or a text. Everything
// that others have named or said is made fit to be shown here, so that a canvas gets nothing that a
// terminal obeys.
//
// Main thread.
#ifndef WEIR_CLI_TOP_DRAW_H
#define WEIR_CLI_TOP_DRAW_H

#include "cli/top_model.h"
#include "cli/top_view.h"

enum weir_top_style {
    WEIR_TOP_PLAIN,
    WEIR_TOP_FAINT,    // what names a value
    WEIR_TOP_STRONG,   // the value
    WEIR_TOP_GOOD,     // green, where there are colours
    WEIR_TOP_BAD,      // red; bold where there are none
    WEIR_TOP_TITLE,    // of a table
    WEIR_TOP_CHOSEN,   // the title of the column that is sorted by
    WEIR_TOP_SELECTED, // the selected row
    WEIR_TOP_SELECTED_BAD,
    WEIR_TOP_STYLES,
};

struct weir_top_canvas {
    // Puts a text at a place, counted from 0. It fits there.
    void (*put)(void *context, size_t row, size_t column, const char *text,
                enum weir_top_style style);
    void *context;
    size_t rows, columns; // at least 1
    bool is_utf8;         // else what is put is ASCII
};

// What is drawn beside the model.
struct weir_top_scene {
    const struct weir_top_model *model;
    struct weir_top_view *view; // its pages are scrolled back where they end
    const char *dir;            // the state's
    const char *trouble;        // why there is no new answer; "": there is none
    bool has_keys;              // somebody sits there: the last line says which keys there are
};

// Draws all of it on an empty canvas; scene->view->lines becomes what there was room for.
void weir_top_draw(const struct weir_top_canvas *canvas, const struct weir_top_scene *scene);

#endif
