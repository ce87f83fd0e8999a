// SPDX-License-Identifier: Apache-2.0
//
// See top_pen.h. Main thread.
#include "cli/top_pen.h"

#include "base/clock.h"
#include "base/show.h"
#include "cli/print.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

enum { CUT_MARK = '~' };

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

struct weir_top_shown weir_top_show(struct weir_str text, size_t room, bool is_utf8,
                                    char shown[static WEIR_TOP_TEXT_BYTES]) {
    struct weir_top_shown fitted = {0};
    while (fitted.taken < text.size &&
           fitted.size + WEIR_SHOWN_BYTES_MAX < WEIR_TOP_TEXT_BYTES - WEIR_TOP_COLUMNS_MAX) {
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
    wanted = wanted < WEIR_TOP_COLUMNS_MAX ? wanted : WEIR_TOP_COLUMNS_MAX;
    struct weir_top_shown fitted = weir_top_show(whole, wanted, is_utf8, shown);
    if (fitted.taken < whole.size && wanted > 0) {
        fitted = weir_top_show(whole, wanted - 1, is_utf8, shown);
        shown[fitted.size++] = CUT_MARK;
        fitted.columns++;
    }
    size_t blanks = wanted - fitted.columns, before = width < 0 ? blanks : 0;
    memset(buffer, ' ', blanks + fitted.size);
    memcpy(buffer + before, shown, fitted.size);
    buffer[blanks + fitted.size] = '\0';
    return buffer;
}

const char *weir_top_rate(double rate, char buffer[static WEIR_TOP_NUMBER_BYTES]) {
    if (rate <= 0 || rate >= 99.95) {
        return weir_cli_count(rate, buffer);
    }
    snprintf(buffer, WEIR_TOP_NUMBER_BYTES, "%.1f", rate);
    return buffer;
}

const char *weir_top_age(double ms, char buffer[static WEIR_TOP_NUMBER_BYTES]) {
    static const double ms_max = 1e12; // 30 years
    if (ms <= 0 || ms > ms_max) {
        snprintf(buffer, WEIR_TOP_NUMBER_BYTES, ms > ms_max ? "long" : "-");
        return buffer;
    }
    return weir_cli_age((int64_t)ms * WEIR_NS_PER_MS, buffer);
}
_Static_assert((int)WEIR_TOP_NUMBER_BYTES >= (int)WEIR_AGE_BYTES, "an age is written into it");
_Static_assert((int)WEIR_TOP_NUMBER_BYTES >= (int)WEIR_COUNT_BYTES, "a count is written into it");
_Static_assert((int)WEIR_TOP_NUMBER_BYTES >= (int)WEIR_STATE_BYTES, "a share is written into it");

const char *weir_top_bytes(double bytes, char buffer[static WEIR_TOP_NUMBER_BYTES]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1024;
        unit++;
    }
    snprintf(buffer, WEIR_TOP_NUMBER_BYTES, unit > 0 && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes,
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
    columns = columns < WEIR_TOP_COLUMNS_MAX ? columns : WEIR_TOP_COLUMNS_MAX;
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

const char *weir_top_link(const json_t *resource, enum weir_top_style *ret_style) {
    const json_t *is_connected = json_object_get(resource, "is_connected");
    *ret_style = json_is_true(is_connected)    ? WEIR_TOP_GOOD
                 : json_is_false(is_connected) ? WEIR_TOP_BAD
                                               : WEIR_TOP_PLAIN;
    return json_is_true(is_connected) ? "connected" : json_is_false(is_connected) ? "AWAY" : "-";
}

// ---- the pen ----

size_t weir_top_pen_room(const struct weir_top_pen *pen) {
    size_t columns =
        pen->canvas->columns < WEIR_TOP_COLUMNS_MAX ? pen->canvas->columns : WEIR_TOP_COLUMNS_MAX;
    return pen->row < pen->end && pen->column < columns ? columns - pen->column : 0;
}

void weir_top_pen_cell(struct weir_top_pen *pen, const char *text, int width,
                       enum weir_top_style style) {
    char buffer[WEIR_TOP_TEXT_BYTES];
    size_t room = weir_top_pen_room(pen), wanted = (size_t)(width < 0 ? -width : width);
    if (wanted > room) {
        width = width < 0 ? -(int)room : (int)room;
    }
    if (width != 0) {
        pen->canvas->put(pen->canvas->context, pen->row, pen->column,
                         weir_top_fit(text, width, pen->canvas->is_utf8, buffer), style);
    }
    pen->column += wanted;
}

void weir_top_pen_word(struct weir_top_pen *pen, const char *text, enum weir_top_style style) {
    char shown[WEIR_TOP_TEXT_BYTES];
    struct weir_top_shown fitted =
        weir_top_show(weir_str_of(text), WEIR_TOP_COLUMNS_MAX, pen->canvas->is_utf8, shown);
    weir_top_pen_cell(pen, text, (int)fitted.columns, style);
}

void weir_top_pen_end_line(struct weir_top_pen *pen) {
    pen->row++;
    pen->column = 0;
}

void weir_top_pen_spark(struct weir_top_pen *pen, const struct weir_top_history *history,
                        size_t columns, enum weir_top_style style) {
    char buffer[WEIR_TOP_TEXT_BYTES];
    size_t room = weir_top_pen_room(pen);
    columns = columns < room ? columns : room;
    if (columns > 0) {
        weir_top_spark(history, columns, pen->canvas->is_utf8, buffer);
        pen->canvas->put(pen->canvas->context, pen->row, pen->column, buffer, style);
        pen->column += columns;
    }
}
