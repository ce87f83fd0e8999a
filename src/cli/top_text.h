// SPDX-License-Identifier: Apache-2.0
//
// The screen of `weir top` as plain text, for a pipe.
//
// Main thread.
#ifndef WEIR_CLI_TOP_TEXT_H
#define WEIR_CLI_TOP_TEXT_H

#include "cli/top_draw.h"

#include <stdio.h>

// Writes the scene with all its rows, as wide as COLUMNS of the environment says, else 100 columns.
void weir_top_text_write(FILE *out, const struct weir_top_scene *scene, bool is_utf8);

#endif
