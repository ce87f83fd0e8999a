// SPDX-License-Identifier: Apache-2.0
//
// See top_draw.h. The screen is put together line by line: the head, the table of subscriptions or
// a page in their place, and the keys. A small terminal gets what it has room for, the most wanted
// first. Only rows that are seen are drawn.
//
// Main thread.
#include "cli/top_draw.h"

#include "cli/print.h"
#include "cli/top_pen.h"

#include <stdio.h>
#include <string.h>

enum {
    NAME_COLUMNS_MIN = 8,
    NAME_COLUMNS_MAX = 48,
    SPARK_COLUMNS_MIN = 5,
    SUM_SPARK_COLUMNS = 20,
    HEAD_ROWS_MIN = 14, // of a terminal that has room for the whole head
    FOOT_ROWS_MIN = 4,  // of one that has room for the keys
    LABEL_COLUMNS = 9,
    BAR_COLUMNS = 24,
};

// Fills the line, so that its style reaches the edge.
static void fill_line(struct weir_top_pen *pen, enum weir_top_style style) {
    weir_top_pen_cell(pen, "", (int)weir_top_pen_room(pen), style);
    weir_top_pen_end_line(pen);
}

static void label(struct weir_top_pen *pen, const char *text) {
    weir_top_pen_cell(pen, text, LABEL_COLUMNS, WEIR_TOP_FAINT);
}

// ---- the head ----

static void draw_title(struct weir_top_pen *pen, const struct weir_top_scene *scene) {
    char number[WEIR_TOP_NUMBER_BYTES], process[64];
    const json_t *answer = scene->model->answer;
    weir_top_pen_word(pen, "weir ", WEIR_TOP_STRONG);
    weir_top_pen_word(pen, weir_top_text(answer, "version"), WEIR_TOP_STRONG);
    if (answer) {
        snprintf(process, sizeof process, "  process %.0f, for %s", weir_top_number(answer, "pid"),
                 weir_top_age(weir_top_number(answer, "uptime_ms"), number));
        weir_top_pen_word(pen, process, WEIR_TOP_PLAIN);
    }
    weir_top_pen_word(pen, "  ", WEIR_TOP_PLAIN);
    weir_top_pen_word(pen, scene->dir, WEIR_TOP_FAINT);
    if (scene->view->is_paused) {
        weir_top_pen_word(pen, "  PAUSED", WEIR_TOP_CHOSEN);
    }
    weir_top_pen_end_line(pen);
}

static void draw_trouble(struct weir_top_pen *pen, const struct weir_top_scene *scene) {
    if (scene->trouble[0]) {
        weir_top_pen_word(pen, scene->trouble, WEIR_TOP_BAD);
        weir_top_pen_word(pen, scene->model->answer ? "; below is what it told last" : "",
                          WEIR_TOP_BAD);
        weir_top_pen_end_line(pen);
    }
}

static void draw_state(struct weir_top_pen *pen, const struct weir_top_model *model) {
    char number[WEIR_TOP_NUMBER_BYTES];
    const json_t *database = json_object_get(model->answer, "state_database");
    label(pen, "State");
    if (json_is_true(json_object_get(database, "is_failing"))) {
        weir_top_pen_word(pen,
                          "CANNOT BE WRITTEN, nothing is taken from the sources: ", WEIR_TOP_BAD);
        weir_top_pen_word(pen, weir_top_text(database, "error"), WEIR_TOP_BAD);
    } else {
        weir_top_pen_word(pen, weir_top_rate(model->commits_per_second, number), WEIR_TOP_STRONG);
        weir_top_pen_word(pen, " commits/s", WEIR_TOP_PLAIN);
    }
    weir_top_pen_end_line(pen);
}

static void draw_sum(struct weir_top_pen *pen, const struct weir_top_model *model) {
    static const struct {
        enum weir_top_column column;
        const char *text;
    } rows[] = {
        {WEIR_TOP_FAILED, "/s failed, "},
        {WEIR_TOP_LAG, " lag, "},
        {WEIR_TOP_FLIGHT, " in flight, "},
        {WEIR_TOP_DEAD, " given up  "},
    };
    char number[WEIR_TOP_NUMBER_BYTES];
    label(pen, "Events");
    weir_top_pen_word(pen, weir_top_rate(model->sum.of[WEIR_TOP_RATE], number), WEIR_TOP_STRONG);
    weir_top_pen_word(pen, "/s settled, ", WEIR_TOP_PLAIN);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double value = model->sum.of[rows[i].column];
        bool is_bad = value > 0 && rows[i].column == WEIR_TOP_FAILED;
        weir_top_pen_word(pen,
                          rows[i].column == WEIR_TOP_FAILED ? weir_top_rate(value, number)
                                                            : weir_cli_count(value, number),
                          is_bad ? WEIR_TOP_BAD : WEIR_TOP_STRONG);
        weir_top_pen_word(pen, rows[i].text, WEIR_TOP_PLAIN);
    }
    weir_top_pen_spark(pen, &model->rates, SUM_SPARK_COLUMNS, WEIR_TOP_GOOD);
    weir_top_pen_end_line(pen);
}

// "[||||||      ] 12.0 MiB of 64 MiB"
static void draw_queue(struct weir_top_pen *pen, const struct weir_top_model *model) {
    const json_t *queue = json_object_get(model->answer, "queue");
    double bytes = weir_top_number(queue, "bytes"), most = weir_top_number(queue, "bytes_max");
    char bar[BAR_COLUMNS + 1], number[WEIR_TOP_NUMBER_BYTES];
    if (bytes < 0 || most <= 0) {
        return; // it does not tell
    }
    double share = bytes < most ? bytes / most : 1;
    size_t full = (size_t)(share * BAR_COLUMNS + 0.5);
    memset(bar, ' ', BAR_COLUMNS);
    memset(bar, '|', full);
    bar[BAR_COLUMNS] = '\0';
    label(pen, "Queues");
    weir_top_pen_word(pen, "[", WEIR_TOP_STRONG);
    weir_top_pen_word(pen, bar, share < 0.9 ? WEIR_TOP_GOOD : WEIR_TOP_BAD);
    weir_top_pen_word(pen, "] ", WEIR_TOP_STRONG);
    weir_top_pen_word(pen, weir_top_bytes(bytes, number), WEIR_TOP_STRONG);
    weir_top_pen_word(pen, " of ", WEIR_TOP_PLAIN);
    weir_top_pen_word(pen, weir_top_bytes(most, number), WEIR_TOP_PLAIN);
    weir_top_pen_end_line(pen);
}

// Those of one kind of connection; the others follow, so that what is away is seen in any case.
static void draw_resources_that(struct weir_top_pen *pen, const struct weir_top_model *model,
                                bool are_away) {
    size_t i;
    const json_t *resource;
    char text[64];
    json_array_foreach(json_object_get(model->answer, "resources"), i, resource) {
        enum weir_top_style style;
        const char *link = weir_top_link(resource, &style);
        if ((style == WEIR_TOP_BAD) == are_away && weir_top_pen_room(pen) > 0) {
            snprintf(text, sizeof text, " %s", link);
            weir_top_pen_word(pen, weir_top_text(resource, "name"), WEIR_TOP_STRONG);
            weir_top_pen_word(pen, text, style);
            double reconnects = weir_top_number(resource, "reconnects_total");
            if (reconnects > 0) {
                snprintf(text, sizeof text, ", %.0f reconnects", reconnects);
                weir_top_pen_word(pen, text, WEIR_TOP_PLAIN);
            }
            weir_top_pen_word(pen, "   ", WEIR_TOP_PLAIN);
        }
    }
}

static void draw_resources(struct weir_top_pen *pen, const struct weir_top_model *model) {
    if (json_array_size(json_object_get(model->answer, "resources")) > 0) {
        label(pen, "Sources");
        draw_resources_that(pen, model, true);
        draw_resources_that(pen, model, false);
        weir_top_pen_end_line(pen);
    }
}

static void draw_targets(struct weir_top_pen *pen, const struct weir_top_model *model) {
    char number[WEIR_TOP_NUMBER_BYTES];
    if (!model->targets) {
        return;
    }
    label(pen, "Targets");
    for (const struct weir_top_row *row = model->targets; row && weir_top_pen_room(pen) > 0;
         row = row->hh.next) {
        weir_top_pen_word(pen, row->name, WEIR_TOP_STRONG);
        weir_top_pen_word(pen, " ", WEIR_TOP_PLAIN);
        weir_top_pen_word(pen, weir_top_rate(row->values.of[WEIR_TOP_RATE], number),
                          row->is_failing ? WEIR_TOP_BAD : WEIR_TOP_GOOD);
        weir_top_pen_word(pen, "/s, ", WEIR_TOP_PLAIN);
        weir_top_pen_word(pen, weir_cli_count(weir_top_number(row->json, "waiting_events"), number),
                          WEIR_TOP_STRONG);
        weir_top_pen_word(pen, " waiting   ", WEIR_TOP_PLAIN);
    }
    weir_top_pen_end_line(pen);
}

static void draw_head(struct weir_top_pen *pen, const struct weir_top_scene *scene) {
    const struct weir_top_model *model = scene->model;
    size_t rows = pen->canvas->rows;
    if (rows >= HEAD_ROWS_MIN / 2 || !scene->trouble[0]) {
        draw_title(pen, scene);
    }
    draw_trouble(pen, scene);
    if (!model->answer) {
        return;
    }
    bool is_failing = json_is_true(
        json_object_get(json_object_get(model->answer, "state_database"), "is_failing"));
    if (rows >= HEAD_ROWS_MIN || is_failing) {
        draw_state(pen, model);
    }
    if (rows >= HEAD_ROWS_MIN / 2) {
        draw_sum(pen, model);
    }
    if (rows >= HEAD_ROWS_MIN) {
        draw_queue(pen, model);
        draw_resources(pen, model);
        draw_targets(pen, model);
        weir_top_pen_end_line(pen);
    }
}

// ---- the table ----

// How wide each column is; 0: there is no room for it.
struct layout {
    int widths[WEIR_TOP_COLUMNS]; // with the blank in front of all but the first
    int spark;
};

// What a column is given: the state's may be what takes long, which is longer.
static int width_of(enum weir_top_column column) {
    static const int widths[WEIR_TOP_COLUMNS] = {
        [WEIR_TOP_NAME] = NAME_COLUMNS_MIN,
        [WEIR_TOP_STATE] = 9,
        [WEIR_TOP_LAG] = 7,
        [WEIR_TOP_LEFT] = 6,
        [WEIR_TOP_AGE] = 6,
        [WEIR_TOP_FLIGHT] = 7,
        [WEIR_TOP_RATE] = 7,
        [WEIR_TOP_FAILED] = 7,
        [WEIR_TOP_RETRY] = 6,
        [WEIR_TOP_DEAD] = 6,
    };
    return widths[column];
}

// The longest name that is to be seen, within bounds.
static int wanted_name(const struct weir_top_view *view, size_t lines) {
    size_t longest = weir_cli_width(weir_top_column_title(WEIR_TOP_NAME));
    for (size_t i = view->first; i < view->count && i < view->first + lines; i++) {
        size_t width = weir_cli_width(view->rows[i]->name);
        longest = width > longest ? width : longest;
    }
    return longest < NAME_COLUMNS_MAX ? (int)longest : NAME_COLUMNS_MAX;
}

static struct layout lay_out(const struct weir_top_view *view, size_t columns, size_t lines) {
    // In this order they find room.
    static const enum weir_top_column order[] = {
        WEIR_TOP_NAME, WEIR_TOP_LAG,   WEIR_TOP_RATE, WEIR_TOP_STATE,  WEIR_TOP_FAILED,
        WEIR_TOP_DEAD, WEIR_TOP_RETRY, WEIR_TOP_AGE,  WEIR_TOP_FLIGHT, WEIR_TOP_LEFT,
    };
    struct layout layout = {.spark = 0};
    int left = columns < WEIR_TOP_COLUMNS_MAX ? (int)columns : WEIR_TOP_COLUMNS_MAX;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        int width = width_of(order[i]);
        if (i == 0 && width > left) {
            width = left;
        } else if (width > left) {
            break;
        }
        layout.widths[order[i]] = width;
        left -= width;
    }
    int more = wanted_name(view, lines) - layout.widths[WEIR_TOP_NAME];
    more = more < left ? more : left;
    layout.widths[WEIR_TOP_NAME] += more > 0 ? more : 0;
    left -= more > 0 ? more : 0;
    layout.spark = left > SPARK_COLUMNS_MIN ? left - 1 : 0;
    layout.spark = layout.spark < WEIR_TOP_HISTORY_MAX ? layout.spark : WEIR_TOP_HISTORY_MAX;
    return layout;
}

// In the table's column: names and states to the left, numbers to the right.
static void column_cell(struct weir_top_pen *pen, const struct layout *layout,
                        enum weir_top_column column, const char *text, enum weir_top_style style) {
    int width = layout->widths[column];
    if (width == 0) {
        return;
    }
    if (column != WEIR_TOP_NAME) {
        weir_top_pen_cell(pen, "", 1, style == WEIR_TOP_CHOSEN ? WEIR_TOP_TITLE : style);
        width--;
    }
    weir_top_pen_cell(pen, text,
                      column == WEIR_TOP_NAME || column == WEIR_TOP_STATE ? width : -width, style);
}

static void draw_titles(struct weir_top_pen *pen, const struct weir_top_view *view,
                        const struct layout *layout) {
    for (size_t i = 0; i < WEIR_TOP_COLUMNS; i++) {
        enum weir_top_column column = (enum weir_top_column)i;
        column_cell(pen, layout, column, weir_top_column_title(column),
                    column == view->column ? WEIR_TOP_CHOSEN : WEIR_TOP_TITLE);
    }
    if (layout->spark > 0) {
        weir_top_pen_cell(pen, "", 1, WEIR_TOP_TITLE);
        weir_top_pen_cell(pen, "RATE, LAST ANSWERS", layout->spark, WEIR_TOP_TITLE);
    }
    fill_line(pen, WEIR_TOP_TITLE);
}

static const char *value_text(const struct weir_top_row *row, enum weir_top_column column,
                              char buffer[static WEIR_TOP_NUMBER_BYTES]) {
    switch (column) {
    case WEIR_TOP_NAME:
        return row->name;
    case WEIR_TOP_STATE:
        return weir_cli_state(row->json, buffer);
    case WEIR_TOP_LEFT:
    case WEIR_TOP_AGE:
        return weir_top_age(row->values.of[column], buffer);
    case WEIR_TOP_RATE:
    case WEIR_TOP_FAILED:
        return weir_top_rate(row->values.of[column], buffer);
    default:
        return weir_cli_count(row->values.of[column], buffer);
    }
}

static void draw_row(struct weir_top_pen *pen, const struct weir_top_row *row,
                     const struct layout *layout, bool is_selected) {
    char number[WEIR_TOP_NUMBER_BYTES];
    enum weir_top_style style = is_selected
                                    ? row->is_failing ? WEIR_TOP_SELECTED_BAD : WEIR_TOP_SELECTED
                                : row->is_failing ? WEIR_TOP_BAD
                                                  : WEIR_TOP_PLAIN;
    for (size_t i = 0; i < WEIR_TOP_COLUMNS; i++) {
        enum weir_top_column column = (enum weir_top_column)i;
        column_cell(pen, layout, column, value_text(row, column, number), style);
    }
    const json_t *progress = json_object_get(row->json, "progress");
    if (layout->spark > 0 && json_is_object(progress)) {
        char words[WEIR_PROGRESS_BYTES];
        weir_top_pen_cell(pen, "", 1, style);
        weir_top_pen_cell(pen, weir_cli_progress(progress, words), layout->spark, style);
    } else if (layout->spark > 0) {
        weir_top_pen_cell(pen, "", 1, style);
        weir_top_pen_spark(pen, &row->rates, (size_t)layout->spark,
                           style == WEIR_TOP_PLAIN ? WEIR_TOP_GOOD : style);
    }
    if (is_selected) {
        fill_line(pen, style);
    } else {
        weir_top_pen_end_line(pen);
    }
}

static void draw_table(struct weir_top_pen *pen, const struct weir_top_scene *scene) {
    struct weir_top_view *view = scene->view;
    size_t lines = pen->end > pen->row + 1 ? pen->end - pen->row - 1 : 0;
    weir_top_view_scroll(view, lines);
    struct layout layout = lay_out(view, pen->canvas->columns, lines);
    draw_titles(pen, view, &layout);
    if (view->count == 0 && scene->model->answer) {
        weir_top_pen_word(
            pen, view->filter[0] ? "The filter lets none through." : "There are no subscriptions.",
            WEIR_TOP_PLAIN);
    }
    for (size_t i = view->first; i < view->count && pen->row < pen->end; i++) {
        draw_row(pen, view->rows[i], &layout, view->selected && i == view->index);
    }
}

// ---- the screen ----

static void draw_foot(const struct weir_top_canvas *canvas, const struct weir_top_view *view) {
    struct weir_top_pen pen = {.canvas = canvas, .row = canvas->rows - 1, .end = canvas->rows};
    if (view->is_filtering) {
        weir_top_pen_word(&pen, "Filter: ", WEIR_TOP_CHOSEN);
        weir_top_pen_word(&pen, view->filter, WEIR_TOP_STRONG);
        weir_top_pen_word(&pen, "_  (Enter keeps it, Esc removes it)", WEIR_TOP_FAINT);
        return;
    }
    if (view->filter[0]) {
        weir_top_pen_word(&pen, "Filter: ", WEIR_TOP_CHOSEN);
        weir_top_pen_word(&pen, view->filter, WEIR_TOP_STRONG);
        weir_top_pen_word(&pen, "  ", WEIR_TOP_PLAIN);
    }
    weir_top_pen_word(
        &pen,
        view->page == WEIR_TOP_PAGE_ALL
            ? "h Help  / Filter  <> F6 Sort  I Invert  Enter Open  r Sources  Space Pause  q Quit"
            : "arrows Scroll  Esc Back",
        WEIR_TOP_FAINT);
}

void weir_top_draw(const struct weir_top_canvas *canvas, const struct weir_top_scene *scene) {
    bool has_foot = scene->has_keys && canvas->rows >= FOOT_ROWS_MIN;
    struct weir_top_pen pen = {.canvas = canvas, .end = canvas->rows - (has_foot ? 1 : 0)};
    if (scene->view->page == WEIR_TOP_PAGE_ALL) {
        draw_head(&pen, scene);
        draw_table(&pen, scene);
    } else {
        draw_title(&pen, scene);
        draw_trouble(&pen, scene);
        weir_top_page_draw(&pen, scene);
    }
    if (has_foot) {
        draw_foot(canvas, scene->view);
    }
}
