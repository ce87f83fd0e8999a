// SPDX-License-Identifier: Apache-2.0
//
// See top_text.h. What is drawn comes line by line, each from the left to the right, so that one
// line is enough to be kept: blanks at its end are not written.
//
// Main thread.
#include "cli/top_text.h"

#include "cli/print.h"
#include "cli/top_pen.h"

#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS_DEFAULT = 100,
    COLUMNS_MIN = 20,
    COLUMNS_MAX = 1000,
    HEAD_ROWS_MAX = 32, // above the rows of the table
    LINE_BYTES_MAX = 2 * WEIR_TOP_TEXT_BYTES,
};

struct text {
    FILE *out;
    size_t row, column, size; // of the line at hand
    char line[LINE_BYTES_MAX];
};

static void end_line(struct text *text) {
    while (text->size > 0 && text->line[text->size - 1] == ' ') {
        text->size--;
    }
    fwrite(text->line, 1, text->size, text->out);
    fputc('\n', text->out);
    text->row++;
    text->column = text->size = 0;
}

static void append(struct text *text, const char *piece, size_t size) {
    if (size <= sizeof text->line - text->size) {
        memcpy(text->line + text->size, piece, size);
        text->size += size;
    }
}

static void put(void *context, size_t row, size_t column, const char *piece,
                enum weir_top_style style) {
    struct text *text = context;
    (void)style;
    while (text->row < row) {
        end_line(text);
    }
    for (; text->column < column; text->column++) {
        append(text, " ", 1);
    }
    append(text, piece, strlen(piece));
    text->column += weir_cli_width(piece);
}

static size_t columns_wanted(void) {
    const char *columns = getenv("COLUMNS");
    long wanted = columns ? strtol(columns, NULL, 10) : 0;
    return wanted >= COLUMNS_MIN && wanted <= COLUMNS_MAX ? (size_t)wanted : COLUMNS_DEFAULT;
}

void weir_top_text_write(FILE *out, const struct weir_top_scene *scene, bool is_utf8) {
    struct text text = {.out = out};
    struct weir_top_canvas canvas = {
        .put = put,
        .context = &text,
        .rows = HEAD_ROWS_MAX + scene->view->count,
        .columns = columns_wanted(),
        .is_utf8 = is_utf8,
    };
    weir_top_draw(&canvas, scene);
    if (text.size > 0) {
        end_line(&text);
    }
}
