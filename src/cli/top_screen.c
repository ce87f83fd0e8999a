// SPDX-License-Identifier: Apache-2.0
//
// See top_screen.h. ncurses sends what differs from the last screen, so a screen is drawn whole
// each time. It keeps its state in globals of its own: there is one screen at a time.
//
// Main thread.
#include "cli/top_screen.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NCURSES_WIDECHAR 1 // for keys that are characters beyond ASCII
#include <curses.h>

enum {
    ESCAPE_MS = 25, // that the rest of a key's sequence may take to come
    PAIR_GOOD = 1,
    PAIR_BAD,
    PAIR_TITLE,
    PAIR_CHOSEN,
    PAIR_SELECTED,
    PAIR_SELECTED_BAD,
};

struct weir_top_screen {
    SCREEN *screen;
    attr_t styles[WEIR_TOP_STYLES];
    bool is_utf8;
};

bool weir_top_is_utf8(void) {
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static void choose_styles(struct weir_top_screen *screen) {
    static const attr_t plain[WEIR_TOP_STYLES] = {
        [WEIR_TOP_FAINT] = A_NORMAL,
        [WEIR_TOP_STRONG] = A_BOLD,
        [WEIR_TOP_BAD] = A_BOLD,
        [WEIR_TOP_TITLE] = A_REVERSE,
        [WEIR_TOP_CHOSEN] = A_BOLD,
        [WEIR_TOP_SELECTED] = A_REVERSE,
        [WEIR_TOP_SELECTED_BAD] = A_REVERSE | A_BOLD,
    };
    memcpy(screen->styles, plain, sizeof plain);
    const char *no_color = getenv("NO_COLOR");
    if ((no_color && no_color[0]) || !has_colors() || start_color() == ERR) {
        return;
    }
    short back = use_default_colors() == OK ? -1 : COLOR_BLACK;
    init_pair(PAIR_GOOD, COLOR_GREEN, back);
    init_pair(PAIR_BAD, COLOR_RED, back);
    init_pair(PAIR_TITLE, COLOR_BLACK, COLOR_GREEN);
    init_pair(PAIR_CHOSEN, COLOR_BLACK, COLOR_CYAN);
    init_pair(PAIR_SELECTED, COLOR_BLACK, COLOR_CYAN);
    init_pair(PAIR_SELECTED_BAD, COLOR_WHITE, COLOR_RED);
    screen->styles[WEIR_TOP_GOOD] = COLOR_PAIR(PAIR_GOOD);
    screen->styles[WEIR_TOP_BAD] = COLOR_PAIR(PAIR_BAD) | A_BOLD;
    screen->styles[WEIR_TOP_TITLE] = COLOR_PAIR(PAIR_TITLE);
    screen->styles[WEIR_TOP_CHOSEN] = COLOR_PAIR(PAIR_CHOSEN);
    screen->styles[WEIR_TOP_SELECTED] = COLOR_PAIR(PAIR_SELECTED);
    screen->styles[WEIR_TOP_SELECTED_BAD] = COLOR_PAIR(PAIR_SELECTED_BAD) | A_BOLD;
}

weir_status weir_top_screen_open(struct weir_top_screen **ret_screen, struct weir_error *err) {
    struct weir_top_screen *screen = calloc(1, sizeof *screen);
    *ret_screen = NULL;
    if (!screen) {
        return weir_fail_no_memory(err, "the screen");
    }
    screen->is_utf8 = weir_top_is_utf8();
    screen->screen = newterm(NULL, stdout, stdin);
    if (!screen->screen) {
        free(screen);
        return weir_fail(err, WEIR_UNSUPPORTED, "this terminal cannot be drawn on: see TERM");
    }
    cbreak();
    noecho();
    nonl();
    curs_set(0);
    nodelay(stdscr, TRUE);
    keypad(stdscr, TRUE);
    set_escdelay(ESCAPE_MS);
    choose_styles(screen);
    weir_top_screen_refit(screen); // whatever LINES and COLUMNS of the environment say
    *ret_screen = screen;
    return WEIR_OK;
}

void weir_top_screen_close(struct weir_top_screen *screen) {
    if (screen) {
        if (!isendwin()) {
            endwin();
        }
        delscreen(screen->screen);
        free(screen);
    }
}

// ---- drawing ----

static void put(void *context, size_t row, size_t column, const char *text,
                enum weir_top_style style) {
    const struct weir_top_screen *screen = context;
    attrset((int)screen->styles[style]);
    mvaddstr((int)row, (int)column, text);
}

void weir_top_screen_draw(struct weir_top_screen *screen, const struct weir_top_scene *scene) {
    struct weir_top_canvas canvas = {
        .put = put,
        .context = screen,
        .rows = LINES > 0 ? (size_t)LINES : 1,
        .columns = COLS > 0 ? (size_t)COLS : 1,
        .is_utf8 = screen->is_utf8,
    };
    erase();
    weir_top_draw(&canvas, scene);
    attrset(A_NORMAL);
    refresh();
}

void weir_top_screen_refit(struct weir_top_screen *screen) {
    struct winsize size;
    (void)screen;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        resizeterm(size.ws_row, size.ws_col);
    }
    clearok(stdscr, TRUE);
}

void weir_top_screen_leave(struct weir_top_screen *screen) {
    (void)screen;
    endwin();
}

void weir_top_screen_return(struct weir_top_screen *screen) {
    reset_prog_mode();
    weir_top_screen_refit(screen);
    refresh();
}

// ---- keys ----

// Of a key that is no character.
static uint32_t function_key(wint_t code) {
    switch (code) {
    case KEY_UP:
        return WEIR_TOP_KEY_UP;
    case KEY_DOWN:
        return WEIR_TOP_KEY_DOWN;
    case KEY_PPAGE:
        return WEIR_TOP_KEY_PAGE_UP;
    case KEY_NPAGE:
        return WEIR_TOP_KEY_PAGE_DOWN;
    case KEY_HOME:
        return WEIR_TOP_KEY_HOME;
    case KEY_END:
        return WEIR_TOP_KEY_END;
    case KEY_ENTER:
        return WEIR_TOP_KEY_ENTER;
    case KEY_BACKSPACE:
        return WEIR_TOP_KEY_BACKSPACE;
    case KEY_F(1):
        return WEIR_TOP_KEY_HELP;
    case KEY_F(4):
        return WEIR_TOP_KEY_FILTER;
    case KEY_F(6):
        return WEIR_TOP_KEY_SORT;
    case KEY_F(10):
        return WEIR_TOP_KEY_QUIT;
    default:
        return WEIR_TOP_KEY_OTHER;
    }
}

uint32_t weir_top_screen_key(struct weir_top_screen *screen) {
    wint_t code;
    (void)screen;
    int kind = get_wch(&code);
    if (kind == ERR) {
        return WEIR_TOP_KEY_NONE;
    }
    if (kind == KEY_CODE_YES) {
        return function_key(code);
    }
    switch (code) {
    case '\r':
    case '\n':
        return WEIR_TOP_KEY_ENTER;
    case '\x1B':
        return WEIR_TOP_KEY_ESCAPE;
    case '\b':
    case '\x7F':
        return WEIR_TOP_KEY_BACKSPACE;
    default:
        return code < WEIR_TOP_KEY_NONE ? code : WEIR_TOP_KEY_OTHER;
    }
}
