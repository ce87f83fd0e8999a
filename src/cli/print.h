// SPDX-License-Identifier: Apache-2.0
//
// What commands print: cells of a table, ages, JSON. Where standard output cannot be written, main
// tells it.
#ifndef WEIR_CLI_PRINT_H
#define WEIR_CLI_PRINT_H

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// How wide a text is on a terminal, where each character is one column.
size_t weir_cli_width(const char *text);

// Prints a text in a column: `width` > 0 to the left, < 0 to the right, filled with blanks; a wider
// text is not cut.
void weir_cli_cell(FILE *out, const char *text, int width);
void weir_cli_cell_number(FILE *out, uint64_t number, int width);

// Foreign bytes, shown, at most so many columns of them. Returns `buffer`.
enum { WEIR_CELL_BYTES = 1024 };
const char *weir_cli_shown(struct weir_str text, size_t columns,
                           char buffer[static WEIR_CELL_BYTES]);
// The same in a column.
void weir_cli_cell_shown(FILE *out, struct weir_str text, int width);

// "850ms", "42s", "17m", "5h", "12d": at most 5 columns for 273 years.
enum { WEIR_AGE_BYTES = 24 };
const char *weir_cli_age(int64_t ns, char buffer[static WEIR_AGE_BYTES]);

// 871, 99999, 1234k, 12.3M: at most 6 columns; "-" for what nobody knows, which is negative.
enum { WEIR_COUNT_BYTES = 32 };
const char *weir_cli_count(double number, char buffer[static WEIR_COUNT_BYTES]);

// What takes long, as the status tells it: "snapshot 43% of about 1234k, 12s left"; "snapshot, 871
// so far" where nobody knows how much there is. "what" is not made fit to be shown.
enum { WEIR_PROGRESS_BYTES = 256 };
const char *weir_cli_progress(const json_t *progress, char buffer[static WEIR_PROGRESS_BYTES]);

// The state of a subscription; in its place, where something takes long, how much of that is done,
// "43%", or what it is. Returns `buffer`, or a text of the JSON, which is not made fit to be shown.
enum { WEIR_STATE_BYTES = 8 };
const char *weir_cli_state(const json_t *subscription, char buffer[static WEIR_STATE_BYTES]);

// One line of JSON with nothing in it that a terminal obeys; takes the JSON over. NULL: no memory.
weir_status weir_cli_json(FILE *out, json_t *json, struct weir_error *err);

// A text or a wall time as JSON; NULL without memory.
json_t *weir_cli_json_time(int64_t wall_ns);

#endif
