// SPDX-License-Identifier: Apache-2.0
//
// The terminal of `weir top`: a canvas of ncurses, and the keys that come from it. No signal is
// handled here: who uses it has blocked them and says when one has come.
//
// Main thread.
#ifndef WEIR_CLI_TOP_SCREEN_H
#define WEIR_CLI_TOP_SCREEN_H

#include "base/error.h"
#include "cli/top_draw.h"

struct weir_top_screen;

// Takes the terminal of standard input and output over. WEIR_UNSUPPORTED: it cannot be drawn on.
weir_status weir_top_screen_open(struct weir_top_screen **ret_screen, struct weir_error *err);
// Gives the terminal back as it was. NULL is allowed.
void weir_top_screen_close(struct weir_top_screen *screen);

// Draws the scene on it.
void weir_top_screen_draw(struct weir_top_screen *screen, const struct weir_top_scene *scene);

// The next key, WEIR_TOP_KEY_NONE where none waits.
uint32_t weir_top_screen_key(struct weir_top_screen *screen);

// The terminal has another size now, or somebody else has written on it.
void weir_top_screen_refit(struct weir_top_screen *screen);
// Gives the terminal back for a while, and takes it again.
void weir_top_screen_leave(struct weir_top_screen *screen);
void weir_top_screen_return(struct weir_top_screen *screen);

// Whether the locale's characters are UTF-8; sets the process' locale of characters to that of the
// environment.
bool weir_top_is_utf8(void);

#endif
