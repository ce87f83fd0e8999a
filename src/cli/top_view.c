// SPDX-License-Identifier: Apache-2.0
//
// See top_view.h. Main thread.
#include "cli/top_view.h"

#include <stdlib.h>
#include <string.h>

const char *weir_top_column_title(enum weir_top_column column) {
    static const char *const titles[WEIR_TOP_COLUMNS] = {
        [WEIR_TOP_NAME] = "SUBSCRIPTION", [WEIR_TOP_STATE] = "STATE",
        [WEIR_TOP_LAG] = "LAG",           [WEIR_TOP_LEFT] = "LEFT",
        [WEIR_TOP_AGE] = "AGE",           [WEIR_TOP_FLIGHT] = "FLIGHT",
        [WEIR_TOP_RATE] = "RATE/S",       [WEIR_TOP_FAILED] = "FAIL/S",
        [WEIR_TOP_RETRY] = "RETRY",       [WEIR_TOP_DEAD] = "DEAD",
    };
    return titles[column];
}

void weir_top_view_init(struct weir_top_view *view) {
    *view = (struct weir_top_view){.column = WEIR_TOP_LAG};
}

void weir_top_view_finish(struct weir_top_view *view) {
    free(view->rows);
    free(view->selected);
    *view = (struct weir_top_view){0};
}

// ---- order and filter ----

// As if larger came first; in the order of names and states, smaller.
static int compare(const struct weir_top_row *a, const struct weir_top_row *b,
                   enum weir_top_column column) {
    if (column == WEIR_TOP_NAME) {
        return strcmp(a->name, b->name);
    }
    if (column == WEIR_TOP_STATE) {
        return strcmp(weir_top_text(a->json, "state"), weir_top_text(b->json, "state"));
    }
    double left = a->values.of[column], right = b->values.of[column];
    return left > right ? -1 : left < right;
}

static int compare_rows(const void *a, const void *b, void *context) {
    const struct weir_top_view *view = context;
    const struct weir_top_row *left = *(struct weir_top_row *const *)a;
    const struct weir_top_row *right = *(struct weir_top_row *const *)b;
    int order = compare(left, right, view->column);
    order = view->is_inverted ? -order : order;
    return order != 0 ? order : strcmp(left->name, right->name);
}

static bool matches(const struct weir_top_row *row, const char *filter) {
    static const char *const members[] = {"name", "resource", "key", "guest", "handler", "state"};
    bool is_match = filter[0] == '\0';
    for (size_t i = 0; i < sizeof members / sizeof members[0] && !is_match; i++) {
        is_match = strcasestr(weir_top_text(row->json, members[i]), filter) != NULL;
    }
    return is_match;
}

static bool make_room(struct weir_top_view *view, size_t count) {
    if (count <= view->room) {
        return true;
    }
    struct weir_top_row **grown = realloc(view->rows, count * sizeof(struct weir_top_row *));
    view->rows = grown ? grown : view->rows;
    view->room = grown ? count : view->room;
    return grown;
}

// ---- selection ----

static void select_row(struct weir_top_view *view, size_t index) {
    free(view->selected);
    view->selected = NULL;
    view->index = view->count == 0 ? 0 : index < view->count ? index : view->count - 1;
    if (view->count > 0) {
        view->selected = strdup(view->rows[view->index]->name); // without memory: nothing
    }
}

// Finds the selected one where it is now; who took the place of one that is gone is selected.
static void find_selected(struct weir_top_view *view) {
    for (size_t i = 0; view->selected && i < view->count; i++) {
        if (strcmp(view->rows[i]->name, view->selected) == 0) {
            view->index = i;
            return;
        }
    }
    if (view->selected && view->count > 0 && view->page != WEIR_TOP_PAGE_ONE) {
        select_row(view, view->index);
    }
}

weir_status weir_top_view_update(struct weir_top_view *view, const struct weir_top_model *model,
                                 struct weir_error *err) {
    view->count = 0;
    if (!make_room(view, HASH_COUNT(model->subscriptions))) {
        return weir_fail_no_memory(err, "the rows of weir top");
    }
    for (struct weir_top_row *row = model->subscriptions; row; row = row->hh.next) {
        if (matches(row, view->filter)) {
            view->rows[view->count++] = row;
        }
    }
    if (view->count > 0) {
        qsort_r(view->rows, view->count, sizeof(struct weir_top_row *), compare_rows, view);
    }
    find_selected(view);
    return WEIR_OK;
}

const struct weir_top_row *weir_top_view_selected(const struct weir_top_view *view) {
    if (!view->selected) {
        return view->count > 0 ? view->rows[0] : NULL;
    }
    bool is_there =
        view->index < view->count && strcmp(view->rows[view->index]->name, view->selected) == 0;
    return is_there ? view->rows[view->index] : NULL;
}

void weir_top_view_scroll(struct weir_top_view *view, size_t lines) {
    size_t last = view->count > lines ? view->count - lines : 0;
    view->lines = lines;
    if (!view->selected) {
        view->first = 0;
    } else if (view->index < view->first) {
        view->first = view->index;
    } else if (view->index >= view->first + lines) {
        view->first = view->index + 1 - lines;
    }
    view->first = view->first < last ? view->first : last;
}

// ---- keys ----

// Where `at`, one of `count`, is after a key that moves; SIZE_MAX: the key does not.
static size_t moved(uint32_t key, size_t at, size_t count, size_t lines) {
    size_t last = count > 0 ? count - 1 : 0;
    switch (key) {
    case WEIR_TOP_KEY_UP:
    case 'k':
        return at > 0 ? at - 1 : 0;
    case WEIR_TOP_KEY_DOWN:
    case 'j':
        return at < last ? at + 1 : last;
    case WEIR_TOP_KEY_PAGE_UP:
        return at > lines ? at - lines : 0;
    case WEIR_TOP_KEY_PAGE_DOWN:
        return last - at > lines ? at + lines : last;
    case WEIR_TOP_KEY_HOME:
        return 0;
    case WEIR_TOP_KEY_END:
        return last;
    default:
        return SIZE_MAX;
    }
}

static void open_page(struct weir_top_view *view, enum weir_top_page page) {
    view->page = page;
    view->line = 0;
    view->choice = view->column;
}

static void sort_by(struct weir_top_view *view, size_t column) {
    view->column = (enum weir_top_column)(column % WEIR_TOP_COLUMNS);
    view->is_inverted = false;
}

static void remove_last_character(char *text) {
    size_t size = strlen(text);
    while (size > 0 && ((unsigned char)text[size - 1] & 0xC0) == 0x80) {
        size--;
    }
    text[size > 0 ? size - 1 : 0] = '\0';
}

static void append_character(char text[static WEIR_TOP_FILTER_BYTES_MAX], uint32_t character) {
    char bytes[4];
    size_t size = 0, at = strlen(text);
    if (character < 0x80) {
        bytes[size++] = (char)character;
    } else if (character < 0x800) {
        bytes[size++] = (char)(0xC0 | character >> 6);
    } else if (character < 0x10000) {
        bytes[size++] = (char)(0xE0 | character >> 12);
        bytes[size++] = (char)(0x80 | (character >> 6 & 0x3F));
    } else {
        bytes[size++] = (char)(0xF0 | character >> 18);
        bytes[size++] = (char)(0x80 | (character >> 12 & 0x3F));
        bytes[size++] = (char)(0x80 | (character >> 6 & 0x3F));
    }
    if (character >= 0x80) {
        bytes[size++] = (char)(0x80 | (character & 0x3F));
    }
    if (at + size < WEIR_TOP_FILTER_BYTES_MAX) {
        memcpy(text + at, bytes, size);
        text[at + size] = '\0';
    }
}

static void key_of_filter(struct weir_top_view *view, uint32_t key) {
    if (key == WEIR_TOP_KEY_ESCAPE) {
        view->filter[0] = '\0';
        view->is_filtering = false;
    } else if (key == WEIR_TOP_KEY_ENTER) {
        view->is_filtering = false;
    } else if (key == WEIR_TOP_KEY_BACKSPACE) {
        remove_last_character(view->filter);
    } else if (key >= ' ' && key < WEIR_TOP_KEY_NONE) {
        append_character(view->filter, key);
    }
}

static void key_of_columns(struct weir_top_view *view, uint32_t key) {
    size_t to = moved(key, view->choice, WEIR_TOP_COLUMNS, WEIR_TOP_COLUMNS);
    if (to != SIZE_MAX) {
        view->choice = to;
    } else if (key == WEIR_TOP_KEY_ENTER) {
        sort_by(view, view->choice);
        open_page(view, WEIR_TOP_PAGE_ALL);
    } else if (key == WEIR_TOP_KEY_ESCAPE || key == WEIR_TOP_KEY_SORT || key == 'q') {
        open_page(view, WEIR_TOP_PAGE_ALL);
    }
}

// Of a page that is text: its lines move, and all else leads back. How many lines it has is known
// where it is drawn, which bounds `line`.
static void key_of_text(struct weir_top_view *view, uint32_t key) {
    size_t to = moved(key, view->line, SIZE_MAX, view->lines);
    if (to != SIZE_MAX) {
        view->line = to;
    } else if (key == 'q' || key == 'h' || key == '?' || key == 'r' || key == WEIR_TOP_KEY_HELP ||
               key == WEIR_TOP_KEY_ENTER || key == WEIR_TOP_KEY_ESCAPE) {
        open_page(view, WEIR_TOP_PAGE_ALL);
    }
}

static void key_of_all(struct weir_top_view *view, uint32_t key) {
    size_t to = moved(key, view->index, view->count, view->lines);
    if (to != SIZE_MAX) {
        // The first key selects what is at the top.
        select_row(view, view->selected || to > 1 ? to : 0);
        return;
    }
    switch (key) {
    case WEIR_TOP_KEY_ENTER:
        if (!view->selected) {
            select_row(view, 0);
        }
        if (view->selected) {
            open_page(view, WEIR_TOP_PAGE_ONE);
        }
        break;
    case WEIR_TOP_KEY_ESCAPE:
        free(view->selected);
        view->selected = NULL;
        view->index = 0;
        view->filter[0] = '\0';
        break;
    case '/':
    case WEIR_TOP_KEY_FILTER:
        view->is_filtering = true;
        break;
    case '<':
        sort_by(view, view->column + WEIR_TOP_COLUMNS - 1);
        break;
    case '>':
        sort_by(view, view->column + 1);
        break;
    case WEIR_TOP_KEY_SORT:
        open_page(view, WEIR_TOP_PAGE_SORT);
        break;
    case 'I':
        view->is_inverted = !view->is_inverted;
        break;
    case 'r':
        open_page(view, WEIR_TOP_PAGE_SOURCES);
        break;
    case 'h':
    case '?':
    case WEIR_TOP_KEY_HELP:
        open_page(view, WEIR_TOP_PAGE_HELP);
        break;
    case 'q':
        view->has_ended = true;
        break;
    default:
        break;
    }
}

void weir_top_view_key(struct weir_top_view *view, uint32_t key) {
    if (key == WEIR_TOP_KEY_QUIT) {
        view->has_ended = true;
    } else if (view->is_filtering) {
        key_of_filter(view, key);
    } else if (key == ' ') {
        view->is_paused = !view->is_paused;
    } else if (view->page == WEIR_TOP_PAGE_ALL) {
        key_of_all(view, key);
    } else if (view->page == WEIR_TOP_PAGE_SORT) {
        key_of_columns(view, key);
    } else {
        key_of_text(view, key);
    }
}
