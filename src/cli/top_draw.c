// SPDX-License-Identifier: Apache-2.0
//
// See top_draw.h. A screen is put together line by line with a pen, which knows where it is and
// stops at the edges, so that a terminal of any size gets what it has room for. Only rows that are
// seen are drawn.
//
// Main thread.
#include "cli/top_draw.h"

#include "base/clock.h"
#include "base/show.h"
#include "cli/print.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

enum {
    NUMBER_BYTES = 32,                         // enough for each number and age
    COLUMNS_MAX = WEIR_TOP_TEXT_BYTES / 4 - 1, // that are drawn of a wider terminal
    NAME_COLUMNS_MIN = 8,
    NAME_COLUMNS_MAX = 48,
    SPARK_COLUMNS_MIN = 5,
    SUM_SPARK_COLUMNS = 20,
    HEAD_ROWS_MIN = 14, // of a terminal that has room for the whole head
    LABEL_COLUMNS = 9,
    BAR_COLUMNS = 24,
    MEMBER_COLUMNS = 24,
    JSON_DEPTH_MAX = 3, // of what an object in an object is shown of
    FOOT_ROWS_MIN = 4,  // of a terminal that has room for the keys
    CUT_MARK = '~',
};

// ---- texts ----

// The code point of a character that is whole.
static wchar_t code_of(const char *bytes, size_t size) {
    static const unsigned char firsts[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    wchar_t code = (unsigned char)bytes[0] & firsts[size];
    for (size_t i = 1; i < size; i++) {
        code = code << 6 | ((unsigned char)bytes[i] & 0x3F);
    }
    return code;
}

// The next thing to show of a text, and how many columns it has.
static struct weir_shown next_shown(struct weir_str text, bool is_utf8, size_t *ret_columns) {
    struct weir_shown shown = weir_show_first(text);
    bool is_character = shown.size == shown.taken;
    bool is_ascii = !is_character || shown.size == 1;
    int columns = is_ascii ? (int)shown.size : wcwidth(code_of(shown.bytes, shown.size));
    if (!is_ascii && (!is_utf8 || columns < 0)) {
        shown.bytes[0] = '?';
        shown.size = 1;
        columns = 1;
    }
    *ret_columns = (size_t)columns;
    return shown;
}

// What of a text has room: how many of its bytes, and how many bytes and columns that is shown in.
struct fitted {
    size_t taken, size, columns;
};

static struct fitted fit(struct weir_str text, size_t room, bool is_utf8,
                         char shown[static WEIR_TOP_TEXT_BYTES]) {
    struct fitted fitted = {0};
    while (fitted.taken < text.size &&
           fitted.size + WEIR_SHOWN_BYTES_MAX < WEIR_TOP_TEXT_BYTES - COLUMNS_MAX) {
        size_t columns;
        struct weir_shown next = next_shown(
            (struct weir_str){.data = text.data + fitted.taken, .size = text.size - fitted.taken},
            is_utf8, &columns);
        if (fitted.columns + columns > room) {
            break;
        }
        memcpy(shown + fitted.size, next.bytes, next.size);
        fitted.size += next.size;
        fitted.columns += columns;
        fitted.taken += next.taken;
    }
    return fitted;
}

const char *weir_top_fit(const char *text, int width, bool is_utf8,
                         char buffer[static WEIR_TOP_TEXT_BYTES]) {
    char shown[WEIR_TOP_TEXT_BYTES];
    struct weir_str whole = weir_str_of(text);
    size_t wanted = (size_t)(width < 0 ? -width : width);
    wanted = wanted < COLUMNS_MAX ? wanted : COLUMNS_MAX;
    struct fitted fitted = fit(whole, wanted, is_utf8, shown);
    if (fitted.taken < whole.size && wanted > 0) {
        fitted = fit(whole, wanted - 1, is_utf8, shown);
        shown[fitted.size++] = CUT_MARK;
        fitted.columns++;
    }
    size_t blanks = wanted - fitted.columns, before = width < 0 ? blanks : 0;
    memset(buffer, ' ', blanks + fitted.size);
    memcpy(buffer + before, shown, fitted.size);
    buffer[blanks + fitted.size] = '\0';
    return buffer;
}

static const char *rate_text(double rate, char buffer[static NUMBER_BYTES]) {
    if (rate <= 0 || rate >= 99.95) {
        return weir_cli_count(rate, buffer);
    }
    snprintf(buffer, NUMBER_BYTES, "%.1f", rate);
    return buffer;
}

static const char *age_text(double ms, char buffer[static NUMBER_BYTES]) {
    static const double ms_max = 1e12; // 30 years
    if (ms <= 0 || ms > ms_max) {
        snprintf(buffer, NUMBER_BYTES, ms > ms_max ? "long" : "-");
        return buffer;
    }
    return weir_cli_age((int64_t)ms * WEIR_NS_PER_MS, buffer);
}
_Static_assert((int)NUMBER_BYTES >= (int)WEIR_AGE_BYTES, "an age is written into it");
_Static_assert((int)NUMBER_BYTES >= (int)WEIR_COUNT_BYTES, "a count is written into it");
_Static_assert((int)NUMBER_BYTES >= (int)WEIR_STATE_BYTES, "a share is written into it");

static const char *bytes_text(double bytes, char buffer[static NUMBER_BYTES]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1024;
        unit++;
    }
    snprintf(buffer, NUMBER_BYTES, unit > 0 && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes,
             units[unit]);
    return buffer;
}

const char *weir_top_spark(const struct weir_top_history *history, size_t columns, bool is_utf8,
                           char buffer[static WEIR_TOP_TEXT_BYTES]) {
    // The first is nothing; what is more than nothing has more than that.
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const plain[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    enum { LEVELS = sizeof blocks / sizeof blocks[0] };
    double largest = 0;
    columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
    for (size_t back = 0; back < columns; back++) {
        double value = weir_top_history_at(history, (unsigned)back);
        largest = value > largest ? value : largest;
    }
    size_t size = 0;
    for (size_t back = columns; back-- > 0;) {
        double value = weir_top_history_at(history, (unsigned)back);
        size_t level = value > 0 ? 1 + (size_t)(value / largest * (LEVELS - 2) + 0.5) : 0;
        const char *bar = value < 0 ? " " : (is_utf8 ? blocks : plain)[level];
        memcpy(buffer + size, bar, strlen(bar));
        size += strlen(bar);
    }
    buffer[size] = '\0';
    return buffer;
}

// ---- the pen ----

struct pen {
    const struct weir_top_canvas *canvas;
    size_t row, column;
    size_t end; // of the rows that it may write
};

static size_t room_of(const struct pen *pen) {
    size_t columns = pen->canvas->columns < COLUMNS_MAX ? pen->canvas->columns : COLUMNS_MAX;
    return pen->row < pen->end && pen->column < columns ? columns - pen->column : 0;
}

// A text in a column of that width, to the right where it is negative; the next one stands behind
// it.
static void cell(struct pen *pen, const char *text, int width, enum weir_top_style style) {
    char buffer[WEIR_TOP_TEXT_BYTES];
    size_t room = room_of(pen), wanted = (size_t)(width < 0 ? -width : width);
    if (wanted > room) {
        width = width < 0 ? -(int)room : (int)room;
    }
    if (width != 0) {
        pen->canvas->put(pen->canvas->context, pen->row, pen->column,
                         weir_top_fit(text, width, pen->canvas->is_utf8, buffer), style);
    }
    pen->column += wanted;
}

// A text as wide as it is.
static void word(struct pen *pen, const char *text, enum weir_top_style style) {
    char shown[WEIR_TOP_TEXT_BYTES];
    struct fitted fitted = fit(weir_str_of(text), COLUMNS_MAX, pen->canvas->is_utf8, shown);
    cell(pen, text, (int)fitted.columns, style);
}

static void end_line(struct pen *pen) {
    pen->row++;
    pen->column = 0;
}

// Fills the line, so that its style reaches the edge.
static void fill_line(struct pen *pen, enum weir_top_style style) {
    cell(pen, "", (int)room_of(pen), style);
    end_line(pen);
}

static void label(struct pen *pen, const char *text) {
    cell(pen, text, LABEL_COLUMNS, WEIR_TOP_FAINT);
}

// What this canvas shows of a history. The characters are ours: they are put as they are.
static void spark(struct pen *pen, const struct weir_top_history *history, size_t columns,
                  enum weir_top_style style) {
    char buffer[WEIR_TOP_TEXT_BYTES];
    size_t room = room_of(pen);
    columns = columns < room ? columns : room;
    if (columns > 0) {
        weir_top_spark(history, columns, pen->canvas->is_utf8, buffer);
        pen->canvas->put(pen->canvas->context, pen->row, pen->column, buffer, style);
        pen->column += columns;
    }
}

// ---- the head ----

static void draw_title(struct pen *pen, const struct weir_top_scene *scene) {
    char number[NUMBER_BYTES], process[64];
    const json_t *answer = scene->model->answer;
    word(pen, "weir ", WEIR_TOP_STRONG);
    word(pen, weir_top_text(answer, "version"), WEIR_TOP_STRONG);
    if (answer) {
        snprintf(process, sizeof process, "  process %.0f, for %s", weir_top_number(answer, "pid"),
                 age_text(weir_top_number(answer, "uptime_ms"), number));
        word(pen, process, WEIR_TOP_PLAIN);
    }
    word(pen, "  ", WEIR_TOP_PLAIN);
    word(pen, scene->dir, WEIR_TOP_FAINT);
    if (scene->view->is_paused) {
        word(pen, "  PAUSED", WEIR_TOP_CHOSEN);
    }
    end_line(pen);
}

static void draw_trouble(struct pen *pen, const struct weir_top_scene *scene) {
    if (scene->trouble[0]) {
        word(pen, scene->trouble, WEIR_TOP_BAD);
        word(pen, scene->model->answer ? "; below is what it told last" : "", WEIR_TOP_BAD);
        end_line(pen);
    }
}

static void draw_state(struct pen *pen, const struct weir_top_model *model) {
    char number[NUMBER_BYTES];
    const json_t *database = json_object_get(model->answer, "state_database");
    label(pen, "State");
    if (json_is_true(json_object_get(database, "is_failing"))) {
        word(pen, "CANNOT BE WRITTEN, nothing is taken from the sources: ", WEIR_TOP_BAD);
        word(pen, weir_top_text(database, "error"), WEIR_TOP_BAD);
    } else {
        word(pen, rate_text(model->commits_per_second, number), WEIR_TOP_STRONG);
        word(pen, " commits/s", WEIR_TOP_PLAIN);
    }
    end_line(pen);
}

static void draw_sum(struct pen *pen, const struct weir_top_model *model) {
    static const struct {
        enum weir_top_column column;
        const char *text;
    } rows[] = {
        {WEIR_TOP_FAILED, "/s failed, "},
        {WEIR_TOP_LAG, " lag, "},
        {WEIR_TOP_FLIGHT, " in flight, "},
        {WEIR_TOP_DEAD, " given up  "},
    };
    char number[NUMBER_BYTES];
    label(pen, "Events");
    word(pen, rate_text(model->sum.of[WEIR_TOP_RATE], number), WEIR_TOP_STRONG);
    word(pen, "/s settled, ", WEIR_TOP_PLAIN);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double value = model->sum.of[rows[i].column];
        bool is_bad = value > 0 && rows[i].column == WEIR_TOP_FAILED;
        word(pen,
             rows[i].column == WEIR_TOP_FAILED ? rate_text(value, number)
                                               : weir_cli_count(value, number),
             is_bad ? WEIR_TOP_BAD : WEIR_TOP_STRONG);
        word(pen, rows[i].text, WEIR_TOP_PLAIN);
    }
    spark(pen, &model->rates, SUM_SPARK_COLUMNS, WEIR_TOP_GOOD);
    end_line(pen);
}

// "[||||||      ] 12.0 MiB of 64 MiB"
static void draw_queue(struct pen *pen, const struct weir_top_model *model) {
    const json_t *queue = json_object_get(model->answer, "queue");
    double bytes = weir_top_number(queue, "bytes"), most = weir_top_number(queue, "bytes_max");
    char bar[BAR_COLUMNS + 1], number[NUMBER_BYTES];
    if (bytes < 0 || most <= 0) {
        return; // it does not tell
    }
    double share = bytes < most ? bytes / most : 1;
    size_t full = (size_t)(share * BAR_COLUMNS + 0.5);
    memset(bar, ' ', BAR_COLUMNS);
    memset(bar, '|', full);
    bar[BAR_COLUMNS] = '\0';
    label(pen, "Queues");
    word(pen, "[", WEIR_TOP_STRONG);
    word(pen, bar, share < 0.9 ? WEIR_TOP_GOOD : WEIR_TOP_BAD);
    word(pen, "] ", WEIR_TOP_STRONG);
    word(pen, bytes_text(bytes, number), WEIR_TOP_STRONG);
    word(pen, " of ", WEIR_TOP_PLAIN);
    word(pen, bytes_text(most, number), WEIR_TOP_PLAIN);
    end_line(pen);
}

// How a resource's connection is, and in which style that is to be said.
static const char *link_of(const json_t *resource, enum weir_top_style *ret_style) {
    const json_t *is_connected = json_object_get(resource, "is_connected");
    *ret_style = json_is_true(is_connected)    ? WEIR_TOP_GOOD
                 : json_is_false(is_connected) ? WEIR_TOP_BAD
                                               : WEIR_TOP_PLAIN;
    return json_is_true(is_connected) ? "connected" : json_is_false(is_connected) ? "AWAY" : "-";
}

// Those of one kind of connection; the others follow, so that what is away is seen in any case.
static void draw_resources_that(struct pen *pen, const struct weir_top_model *model,
                                bool are_away) {
    size_t i;
    const json_t *resource;
    char text[64];
    json_array_foreach(json_object_get(model->answer, "resources"), i, resource) {
        enum weir_top_style style;
        const char *link = link_of(resource, &style);
        if ((style == WEIR_TOP_BAD) == are_away && room_of(pen) > 0) {
            snprintf(text, sizeof text, " %s", link);
            word(pen, weir_top_text(resource, "name"), WEIR_TOP_STRONG);
            word(pen, text, style);
            double reconnects = weir_top_number(resource, "reconnects_total");
            if (reconnects > 0) {
                snprintf(text, sizeof text, ", %.0f reconnects", reconnects);
                word(pen, text, WEIR_TOP_PLAIN);
            }
            word(pen, "   ", WEIR_TOP_PLAIN);
        }
    }
}

static void draw_resources(struct pen *pen, const struct weir_top_model *model) {
    if (json_array_size(json_object_get(model->answer, "resources")) > 0) {
        label(pen, "Sources");
        draw_resources_that(pen, model, true);
        draw_resources_that(pen, model, false);
        end_line(pen);
    }
}

static void draw_targets(struct pen *pen, const struct weir_top_model *model) {
    char number[NUMBER_BYTES];
    if (!model->targets) {
        return;
    }
    label(pen, "Targets");
    for (const struct weir_top_row *row = model->targets; row && room_of(pen) > 0;
         row = row->hh.next) {
        word(pen, row->name, WEIR_TOP_STRONG);
        word(pen, " ", WEIR_TOP_PLAIN);
        word(pen, rate_text(row->values.of[WEIR_TOP_RATE], number),
             row->is_failing ? WEIR_TOP_BAD : WEIR_TOP_GOOD);
        word(pen, "/s, ", WEIR_TOP_PLAIN);
        word(pen, weir_cli_count(weir_top_number(row->json, "waiting_events"), number),
             WEIR_TOP_STRONG);
        word(pen, " waiting   ", WEIR_TOP_PLAIN);
    }
    end_line(pen);
}

static void draw_head(struct pen *pen, const struct weir_top_scene *scene) {
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
        end_line(pen);
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
    int left = columns < COLUMNS_MAX ? (int)columns : COLUMNS_MAX;
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
static void column_cell(struct pen *pen, const struct layout *layout, enum weir_top_column column,
                        const char *text, enum weir_top_style style) {
    int width = layout->widths[column];
    if (width == 0) {
        return;
    }
    if (column != WEIR_TOP_NAME) {
        cell(pen, "", 1, style == WEIR_TOP_CHOSEN ? WEIR_TOP_TITLE : style);
        width--;
    }
    cell(pen, text, column == WEIR_TOP_NAME || column == WEIR_TOP_STATE ? width : -width, style);
}

static void draw_titles(struct pen *pen, const struct weir_top_view *view,
                        const struct layout *layout) {
    for (size_t i = 0; i < WEIR_TOP_COLUMNS; i++) {
        enum weir_top_column column = (enum weir_top_column)i;
        column_cell(pen, layout, column, weir_top_column_title(column),
                    column == view->column ? WEIR_TOP_CHOSEN : WEIR_TOP_TITLE);
    }
    if (layout->spark > 0) {
        cell(pen, "", 1, WEIR_TOP_TITLE);
        cell(pen, "RATE, LAST ANSWERS", layout->spark, WEIR_TOP_TITLE);
    }
    fill_line(pen, WEIR_TOP_TITLE);
}

static const char *value_text(const struct weir_top_row *row, enum weir_top_column column,
                              char buffer[static NUMBER_BYTES]) {
    switch (column) {
    case WEIR_TOP_NAME:
        return row->name;
    case WEIR_TOP_STATE:
        return weir_cli_state(row->json, buffer);
    case WEIR_TOP_LEFT:
    case WEIR_TOP_AGE:
        return age_text(row->values.of[column], buffer);
    case WEIR_TOP_RATE:
    case WEIR_TOP_FAILED:
        return rate_text(row->values.of[column], buffer);
    default:
        return weir_cli_count(row->values.of[column], buffer);
    }
}

static void draw_row(struct pen *pen, const struct weir_top_row *row, const struct layout *layout,
                     bool is_selected) {
    char number[NUMBER_BYTES];
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
        cell(pen, "", 1, style);
        cell(pen, weir_cli_progress(progress, words), layout->spark, style);
    } else if (layout->spark > 0) {
        cell(pen, "", 1, style);
        spark(pen, &row->rates, (size_t)layout->spark,
              style == WEIR_TOP_PLAIN ? WEIR_TOP_GOOD : style);
    }
    if (is_selected) {
        fill_line(pen, style);
    } else {
        end_line(pen);
    }
}

static void draw_table(struct pen *pen, const struct weir_top_scene *scene) {
    struct weir_top_view *view = scene->view;
    size_t lines = pen->end > pen->row + 1 ? pen->end - pen->row - 1 : 0;
    weir_top_view_scroll(view, lines);
    struct layout layout = lay_out(view, pen->canvas->columns, lines);
    draw_titles(pen, view, &layout);
    if (view->count == 0 && scene->model->answer) {
        word(pen, view->filter[0] ? "The filter lets none through." : "There are no subscriptions.",
             WEIR_TOP_PLAIN);
    }
    for (size_t i = view->first; i < view->count && pen->row < pen->end; i++) {
        draw_row(pen, view->rows[i], &layout, view->selected && i == view->index);
    }
}

// ---- pages of lines ----

// Lines of which those are drawn that are scrolled in.
struct lines {
    struct pen pen;
    size_t first, count;
};

static bool begin_line(struct lines *lines) {
    bool is_seen = lines->count >= lines->first && lines->pen.row < lines->pen.end;
    lines->count++;
    return is_seen;
}

static void text_line(struct lines *lines, const char *text, enum weir_top_style style) {
    if (begin_line(lines)) {
        word(&lines->pen, text, style);
        end_line(&lines->pen);
    }
}

// A name and its value, which goes on in further lines where it is long.
static void member_line(struct lines *lines, const char *name, const char *value,
                        enum weir_top_style style) {
    const struct weir_top_canvas *canvas = lines->pen.canvas;
    size_t columns = canvas->columns < COLUMNS_MAX ? canvas->columns : COLUMNS_MAX;
    bool is_narrow = columns < 2 * MEMBER_COLUMNS;
    if (is_narrow) {
        text_line(lines, name, WEIR_TOP_FAINT);
    }
    size_t from = is_narrow ? 0 : MEMBER_COLUMNS;
    struct weir_str left = weir_str_of(value);
    struct fitted fitted;
    do {
        char shown[WEIR_TOP_TEXT_BYTES];
        fitted = fit(left, columns - from, canvas->is_utf8, shown);
        shown[fitted.size] = '\0';
        if (begin_line(lines)) {
            cell(&lines->pen, name, (int)from, WEIR_TOP_FAINT);
            canvas->put(canvas->context, lines->pen.row, from, shown, style);
            end_line(&lines->pen);
        }
        left.data += fitted.taken;
        left.size -= fitted.taken;
        name = "";
    } while (left.size > 0 && fitted.taken > 0);
}

// A value of JSON as it is; those of an object and of an array each under a name of its own.
static void json_lines(struct lines *lines, const char *name, const json_t *json,
                       enum weir_top_style style, unsigned depth) {
    char text[NUMBER_BYTES];
    if (json_is_string(json)) {
        member_line(lines, name, json_string_value(json), style);
    } else if (json_is_number(json)) {
        snprintf(text, sizeof text, json_is_integer(json) ? "%.0f" : "%.3f",
                 json_number_value(json));
        member_line(lines, name, text, style);
    } else if (depth == 0 || json_is_null(json) || json_is_boolean(json)) {
        member_line(lines, name, json_is_boolean(json) ? json_is_true(json) ? "yes" : "no" : "-",
                    style);
    } else {
        char whole[MEMBER_COLUMNS * 2];
        const char *member;
        json_t *value;
        size_t i;
        json_object_foreach((json_t *)(uintptr_t)json, member, value) {
            snprintf(whole, sizeof whole, "%s.%s", name, member);
            json_lines(lines, whole, value, style, depth - 1);
        }
        json_array_foreach(json, i, value) {
            snprintf(whole, sizeof whole, "%s.%zu", name, i);
            json_lines(lines, whole, value, style, depth - 1);
        }
    }
}

static void subscription_lines(struct lines *lines, const struct weir_top_scene *scene) {
    const struct weir_top_row *row = weir_top_view_selected(scene->view);
    static const char error_name[] = "last_error";
    char number[NUMBER_BYTES];
    const char *member;
    json_t *value;
    if (!row) {
        text_line(lines, "This subscription is gone.", WEIR_TOP_BAD);
        return;
    }
    member_line(lines, "settled a second", rate_text(row->values.of[WEIR_TOP_RATE], number),
                WEIR_TOP_STRONG);
    member_line(lines, "failed a second", rate_text(row->values.of[WEIR_TOP_FAILED], number),
                row->is_failing ? WEIR_TOP_BAD : WEIR_TOP_STRONG);
    member_line(lines, "time left", age_text(row->values.of[WEIR_TOP_LEFT], number),
                WEIR_TOP_STRONG);
    if (begin_line(lines)) {
        cell(&lines->pen, "rate, last answers", MEMBER_COLUMNS, WEIR_TOP_FAINT);
        spark(&lines->pen, &row->rates, WEIR_TOP_HISTORY_MAX, WEIR_TOP_GOOD);
        end_line(&lines->pen);
    }
    // First what somebody who comes here looks for.
    json_lines(lines, error_name, json_object_get(row->json, error_name), WEIR_TOP_BAD,
               JSON_DEPTH_MAX);
    text_line(lines, "", WEIR_TOP_PLAIN);
    json_object_foreach((json_t *)(uintptr_t)row->json, member, value) {
        if (strcmp(member, error_name) != 0) {
            json_lines(lines, member, value, WEIR_TOP_STRONG, JSON_DEPTH_MAX);
        }
    }
}

static void resource_lines(struct lines *lines, const json_t *answer) {
    char number[NUMBER_BYTES], text[128];
    size_t i;
    const json_t *json;
    text_line(lines, "Sources", WEIR_TOP_STRONG);
    json_array_foreach(json_object_get(answer, "resources"), i, json) {
        enum weir_top_style style;
        const char *link = link_of(json, &style);
        snprintf(text, sizeof text, "%s, %s, %s reconnects", weir_top_text(json, "kind"), link,
                 weir_cli_count(weir_top_number(json, "reconnects_total"), number));
        member_line(lines, weir_top_text(json, "name"), text, style);
        if (style == WEIR_TOP_BAD) {
            const char *since = weir_top_text(json, "since");
            member_line(lines, since[0] ? "  away since" : "  never connected", since, style);
            member_line(lines, "  error", weir_top_text(json, "error"), style);
        }
    }
}

static void target_lines(struct lines *lines, const struct weir_top_row *targets) {
    char number[NUMBER_BYTES], waiting[NUMBER_BYTES], text[128];
    text_line(lines, "Targets", WEIR_TOP_STRONG);
    for (const struct weir_top_row *row = targets; row; row = row->hh.next) {
        snprintf(text, sizeof text, "%s/s published, %s waiting",
                 rate_text(row->values.of[WEIR_TOP_RATE], number),
                 weir_cli_count(weir_top_number(row->json, "waiting_events"), waiting));
        member_line(lines, row->name, text, row->is_failing ? WEIR_TOP_BAD : WEIR_TOP_PLAIN);
        if (row->is_failing) {
            member_line(lines, "  error", weir_top_text(row->json, "error"), WEIR_TOP_BAD);
        }
    }
}

static void guest_lines(struct lines *lines, const json_t *guests) {
    char instances[NUMBER_BYTES], made[NUMBER_BYTES], memory[NUMBER_BYTES], text[256];
    size_t i;
    const json_t *json;
    text_line(lines, "Guests", WEIR_TOP_STRONG);
    json_array_foreach(guests, i, json) {
        snprintf(text, sizeof text, "%s lane, %s instances, %s made, largest memory %s",
                 weir_top_text(json, "lane"),
                 weir_cli_count(weir_top_number(json, "instances"), instances),
                 weir_cli_count(weir_top_number(json, "instances_made_total"), made),
                 bytes_text(weir_top_number(json, "memory_bytes"), memory));
        member_line(lines, weir_top_text(json, "name"), text, WEIR_TOP_PLAIN);
        double refused = weir_top_number(json, "refused_total");
        if (refused > 0) {
            snprintf(text, sizeof text, "%.0f times: it has no grant for what it asked", refused);
            member_line(lines, "  refused", text, WEIR_TOP_BAD);
        }
    }
}

static void source_lines(struct lines *lines, const struct weir_top_scene *scene) {
    const json_t *answer = scene->model->answer, *guests = json_object_get(answer, "guests");
    resource_lines(lines, answer);
    text_line(lines, "", WEIR_TOP_PLAIN);
    target_lines(lines, scene->model->targets);
    if (guests) {
        text_line(lines, "", WEIR_TOP_PLAIN);
        guest_lines(lines, guests);
    }
}

static void column_lines(struct lines *lines, const struct weir_top_scene *scene) {
    text_line(lines, "Sort by (Enter takes it, Esc leaves it):", WEIR_TOP_STRONG);
    for (size_t i = 0; i < WEIR_TOP_COLUMNS; i++) {
        text_line(lines, weir_top_column_title((enum weir_top_column)i),
                  i == scene->view->choice ? WEIR_TOP_SELECTED : WEIR_TOP_PLAIN);
    }
}

static void help_lines(struct lines *lines, const struct weir_top_scene *scene) {
    static const char *const rows[][2] = {
        {"arrows, PgUp, PgDn", "select a subscription, scroll; also Home, End, k, j"},
        {"Enter", "everything of the selected one; back again"},
        {"/ or F4", "filter by a text in name, resource, key, guest, handler, state"},
        {"< >", "sort by the column before, behind"},
        {"F6", "choose the column"},
        {"I", "invert the order"},
        {"r", "sources, targets and guests"},
        {"Space", "pause: ask nothing; go on"},
        {"Esc", "back; no selection and no filter"},
        {"h, ? or F1", "this page"},
        {"q or F10", "end"},
        {"", ""},
        {"LAG", "events that came and are not settled"},
        {"LEFT", "time until there are none, by the pace of the last answers; of what takes"
                 " long, as the first look at a table: until it is done"},
        {"AGE", "of the oldest of them in memory"},
        {"FLIGHT", "of them, those that a handler has right now"},
        {"RATE/S, FAIL/S", "events settled and attempts failed, a second, between two answers"},
        {"RETRY", "keys that wait for another attempt"},
        {"DEAD", "events given up since weir started; weir dlq has all of them"},
        {"~", "a text that goes on"},
    };
    (void)scene;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        member_line(lines, rows[i][0], rows[i][1], WEIR_TOP_PLAIN);
    }
}

// Draws a page, scrolled as far as it goes.
static void draw_lines(struct pen *pen, const struct weir_top_scene *scene,
                       void (*write)(struct lines *lines, const struct weir_top_scene *scene)) {
    struct lines counted = {.pen = *pen, .first = SIZE_MAX};
    write(&counted, scene);
    size_t room = pen->end > pen->row ? pen->end - pen->row : 0;
    size_t last = counted.count > room ? counted.count - room : 0;
    scene->view->lines = room;
    scene->view->line = scene->view->line < last ? scene->view->line : last;
    struct lines lines = {.pen = *pen, .first = scene->view->line};
    write(&lines, scene);
}

// ---- the screen ----

static void draw_foot(const struct weir_top_canvas *canvas, const struct weir_top_view *view) {
    struct pen pen = {.canvas = canvas, .row = canvas->rows - 1, .end = canvas->rows};
    if (view->is_filtering) {
        word(&pen, "Filter: ", WEIR_TOP_CHOSEN);
        word(&pen, view->filter, WEIR_TOP_STRONG);
        word(&pen, "_  (Enter keeps it, Esc removes it)", WEIR_TOP_FAINT);
        return;
    }
    if (view->filter[0]) {
        word(&pen, "Filter: ", WEIR_TOP_CHOSEN);
        word(&pen, view->filter, WEIR_TOP_STRONG);
        word(&pen, "  ", WEIR_TOP_PLAIN);
    }
    word(&pen,
         view->page == WEIR_TOP_PAGE_ALL
             ? "h Help  / Filter  <> F6 Sort  I Invert  Enter Open  r Sources  Space Pause  q Quit"
             : "arrows Scroll  Esc Back",
         WEIR_TOP_FAINT);
}

void weir_top_draw(const struct weir_top_canvas *canvas, const struct weir_top_scene *scene) {
    static void (*const pages[])(struct lines *lines, const struct weir_top_scene *scene) = {
        [WEIR_TOP_PAGE_ONE] = subscription_lines,
        [WEIR_TOP_PAGE_SOURCES] = source_lines,
        [WEIR_TOP_PAGE_SORT] = column_lines,
        [WEIR_TOP_PAGE_HELP] = help_lines,
    };
    bool has_foot = scene->has_keys && canvas->rows >= FOOT_ROWS_MIN;
    struct pen pen = {.canvas = canvas, .end = canvas->rows - (has_foot ? 1 : 0)};
    if (scene->view->page == WEIR_TOP_PAGE_ALL) {
        draw_head(&pen, scene);
        draw_table(&pen, scene);
    } else {
        draw_title(&pen, scene);
        draw_trouble(&pen, scene);
        draw_lines(&pen, scene, pages[scene->view->page]);
    }
    if (has_foot) {
        draw_foot(canvas, scene->view);
    }
}
