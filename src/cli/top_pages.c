// SPDX-License-Identifier: Apache-2.0
//
// The pages of `weir top` that are lines of text: everything of a subscription, sources, targets
// and guests, the columns to choose from, help. A page is written twice: first to know how many
// lines it has, which bounds how far it is scrolled.
//
// Main thread.
#include "cli/print.h"
#include "cli/top_pen.h"

#include <stdio.h>
#include <string.h>

enum {
    MEMBER_COLUMNS = 24, // of the name of a value
    JSON_DEPTH_MAX = 3,  // of what an object in an object is shown of
};

// ---- pages of lines ----

// Lines of which those are drawn that are scrolled in.
struct lines {
    struct weir_top_pen pen;
    size_t first, count;
};

static bool begin_line(struct lines *lines) {
    bool is_seen = lines->count >= lines->first && lines->pen.row < lines->pen.end;
    lines->count++;
    return is_seen;
}

static void text_line(struct lines *lines, const char *text, enum weir_top_style style) {
    if (begin_line(lines)) {
        weir_top_pen_word(&lines->pen, text, style);
        weir_top_pen_end_line(&lines->pen);
    }
}

// A name and its value, which goes on in further lines where it is long.
static void member_line(struct lines *lines, const char *name, const char *value,
                        enum weir_top_style style) {
    const struct weir_top_canvas *canvas = lines->pen.canvas;
    size_t columns =
        canvas->columns < WEIR_TOP_COLUMNS_MAX ? canvas->columns : WEIR_TOP_COLUMNS_MAX;
    bool is_narrow = columns < 2 * MEMBER_COLUMNS;
    if (is_narrow) {
        text_line(lines, name, WEIR_TOP_FAINT);
    }
    size_t from = is_narrow ? 0 : MEMBER_COLUMNS;
    struct weir_str left = weir_str_of(value);
    struct weir_top_shown fitted;
    do {
        char shown[WEIR_TOP_TEXT_BYTES];
        fitted = weir_top_show(left, columns - from, canvas->is_utf8, shown);
        shown[fitted.size] = '\0';
        if (begin_line(lines)) {
            weir_top_pen_cell(&lines->pen, name, (int)from, WEIR_TOP_FAINT);
            canvas->put(canvas->context, lines->pen.row, from, shown, style);
            weir_top_pen_end_line(&lines->pen);
        }
        left.data += fitted.taken;
        left.size -= fitted.taken;
        name = "";
    } while (left.size > 0 && fitted.taken > 0);
}

// A value of JSON as it is; those of an object and of an array each under a name of its own.
static void json_lines(struct lines *lines, const char *name, const json_t *json,
                       enum weir_top_style style, unsigned depth) {
    char text[WEIR_TOP_NUMBER_BYTES];
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
    char number[WEIR_TOP_NUMBER_BYTES];
    const char *member;
    json_t *value;
    if (!row) {
        text_line(lines, "This subscription is gone.", WEIR_TOP_BAD);
        return;
    }
    member_line(lines, "settled a second", weir_top_rate(row->values.of[WEIR_TOP_RATE], number),
                WEIR_TOP_STRONG);
    member_line(lines, "failed a second", weir_top_rate(row->values.of[WEIR_TOP_FAILED], number),
                row->is_failing ? WEIR_TOP_BAD : WEIR_TOP_STRONG);
    member_line(lines, "time left", weir_top_age(row->values.of[WEIR_TOP_LEFT], number),
                WEIR_TOP_STRONG);
    if (begin_line(lines)) {
        weir_top_pen_cell(&lines->pen, "rate, last answers", MEMBER_COLUMNS, WEIR_TOP_FAINT);
        weir_top_pen_spark(&lines->pen, &row->rates, WEIR_TOP_HISTORY_MAX, WEIR_TOP_GOOD);
        weir_top_pen_end_line(&lines->pen);
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
    char number[WEIR_TOP_NUMBER_BYTES], text[128];
    size_t i;
    const json_t *json;
    text_line(lines, "Sources", WEIR_TOP_STRONG);
    json_array_foreach(json_object_get(answer, "resources"), i, json) {
        enum weir_top_style style;
        const char *link = weir_top_link(json, &style);
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
    char number[WEIR_TOP_NUMBER_BYTES], waiting[WEIR_TOP_NUMBER_BYTES], text[128];
    text_line(lines, "Targets", WEIR_TOP_STRONG);
    for (const struct weir_top_row *row = targets; row; row = row->hh.next) {
        snprintf(text, sizeof text, "%s/s published, %s waiting",
                 weir_top_rate(row->values.of[WEIR_TOP_RATE], number),
                 weir_cli_count(weir_top_number(row->json, "waiting_events"), waiting));
        member_line(lines, row->name, text, row->is_failing ? WEIR_TOP_BAD : WEIR_TOP_PLAIN);
        if (row->is_failing) {
            member_line(lines, "  error", weir_top_text(row->json, "error"), WEIR_TOP_BAD);
        }
    }
}

static void guest_lines(struct lines *lines, const json_t *guests) {
    char instances[WEIR_TOP_NUMBER_BYTES], made[WEIR_TOP_NUMBER_BYTES],
        memory[WEIR_TOP_NUMBER_BYTES], text[256];
    size_t i;
    const json_t *json;
    text_line(lines, "Guests", WEIR_TOP_STRONG);
    json_array_foreach(guests, i, json) {
        snprintf(text, sizeof text, "%s lane, %s instances, %s made, largest memory %s",
                 weir_top_text(json, "lane"),
                 weir_cli_count(weir_top_number(json, "instances"), instances),
                 weir_cli_count(weir_top_number(json, "instances_made_total"), made),
                 weir_top_bytes(weir_top_number(json, "memory_bytes"), memory));
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

void weir_top_page_draw(struct weir_top_pen *pen, const struct weir_top_scene *scene) {
    static void (*const pages[])(struct lines *lines, const struct weir_top_scene *scene) = {
        [WEIR_TOP_PAGE_ONE] = subscription_lines,
        [WEIR_TOP_PAGE_SOURCES] = source_lines,
        [WEIR_TOP_PAGE_SORT] = column_lines,
        [WEIR_TOP_PAGE_HELP] = help_lines,
    };
    void (*write)(struct lines *lines, const struct weir_top_scene *scene) =
        pages[scene->view->page];
    struct lines counted = {.pen = *pen, .first = SIZE_MAX};
    write(&counted, scene);
    size_t room = pen->end > pen->row ? pen->end - pen->row : 0;
    size_t last = counted.count > room ? counted.count - room : 0;
    scene->view->lines = room;
    scene->view->line = scene->view->line < last ? scene->view->line : last;
    struct lines lines = {.pen = *pen, .first = scene->view->line};
    write(&lines, scene);
}
