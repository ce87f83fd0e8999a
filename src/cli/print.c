// SPDX-License-Identifier: Apache-2.0
//
// See print.h. printf counts bytes where a table counts columns, hence cells of our own. Characters
// that are two columns wide are taken for one: a table that is out of line for them harms less than
// a copy of Unicode's tables.
//
// Main thread.
#include "cli/print.h"

#include "base/clock.h"
#include "base/show.h"

#include <stdio.h>
#include <stdlib.h>

size_t weir_cli_width(const char *text) {
    size_t width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80; // not the rest of a character
    }
    return width;
}

void weir_cli_cell(FILE *out, const char *text, int width) {
    size_t wanted = (size_t)(width < 0 ? -width : width), has = weir_cli_width(text);
    int blanks = wanted > has ? (int)(wanted - has) : 0;
    if (width < 0) {
        fprintf(out, "%*s%s", blanks, "", text);
    } else {
        fprintf(out, "%s%*s", text, blanks, "");
    }
}

void weir_cli_cell_number(FILE *out, uint64_t number, int width) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    weir_cli_cell(out, text, width);
}

// Cuts a text at that many columns, "..." included.
static void cut(char *text, size_t columns) {
    static const char dots[] = "...";
    if (weir_cli_width(text) <= columns) {
        return;
    }
    size_t at = 0;
    for (size_t width = 0; width + sizeof dots - 1 < columns; width++) {
        do {
            at++;
        } while (((unsigned char)text[at] & 0xC0) == 0x80);
    }
    memcpy(text + at, dots, sizeof dots); // what is cut off is at least as long
}

const char *weir_cli_shown(struct weir_str text, size_t columns,
                           char buffer[static WEIR_CELL_BYTES]) {
    weir_show(text, buffer, WEIR_CELL_BYTES);
    cut(buffer, columns);
    return buffer;
}

void weir_cli_cell_shown(FILE *out, struct weir_str text, int width) {
    char shown[WEIR_CELL_BYTES];
    weir_cli_cell(out, weir_cli_shown(text, (size_t)(width < 0 ? -width : width), shown), width);
}

const char *weir_cli_age(int64_t ns, char buffer[static WEIR_AGE_BYTES]) {
    static const struct {
        int64_t up_to_s, unit_s;
        char unit;
    } rows[] = {
        {100, 1, 's'},
        {100 * 60, 60, 'm'},
        {INT64_C(100) * 3600, 3600, 'h'},
        {INT64_MAX, INT64_C(24) * 3600, 'd'},
    };
    int64_t s = ns / WEIR_NS_PER_S;
    if (ns < WEIR_NS_PER_S) {
        snprintf(buffer, WEIR_AGE_BYTES, "%lldms", (long long)(ns < 0 ? 0 : ns / WEIR_NS_PER_MS));
        return buffer;
    }
    size_t row = 0;
    while (s >= rows[row].up_to_s) {
        row++;
    }
    snprintf(buffer, WEIR_AGE_BYTES, "%lld%c", (long long)(s / rows[row].unit_s), rows[row].unit);
    return buffer;
}

const char *weir_cli_count(double number, char buffer[static WEIR_COUNT_BYTES]) {
    static const struct {
        double below, unit;
        int digits; // behind the point
        const char *suffix;
    } rows[] = {
        {99999.5, 1, 0, ""},     {9999.5e3, 1e3, 0, "k"}, {99.95e6, 1e6, 1, "M"},
        {9999.5e6, 1e6, 0, "M"}, {9999.5e9, 1e9, 0, "G"}, {9999.5e12, 1e12, 0, "T"},
    };
    size_t row = 0, last = sizeof rows / sizeof rows[0] - 1;
    while (row < last && number >= rows[row].below) {
        row++;
    }
    if (number < 0) {
        snprintf(buffer, WEIR_COUNT_BYTES, "-");
    } else if (number >= rows[last].below) {
        snprintf(buffer, WEIR_COUNT_BYTES, "many");
    } else {
        snprintf(buffer, WEIR_COUNT_BYTES, "%.*f%s", rows[row].digits, number / rows[row].unit,
                 rows[row].suffix);
    }
    return buffer;
}

const char *weir_cli_progress(const json_t *progress, char buffer[static WEIR_PROGRESS_BYTES]) {
    char done_text[WEIR_COUNT_BYTES], total_text[WEIR_COUNT_BYTES], left_text[WEIR_AGE_BYTES];
    const char *what = json_string_value(json_object_get(progress, "what"));
    double done = json_number_value(json_object_get(progress, "done"));
    double total = json_number_value(json_object_get(progress, "total"));
    const json_t *left = json_object_get(progress, "left_ms");
    char left_words[WEIR_AGE_BYTES + 8] = "";
    if (json_is_integer(left)) {
        snprintf(left_words, sizeof left_words, ", %s left",
                 weir_cli_age(json_integer_value(left) * WEIR_NS_PER_MS, left_text));
    }
    weir_cli_count(done, done_text);
    if (total > 0) {
        double share = done < total ? done / total : 1; // the total is an estimate
        snprintf(buffer, WEIR_PROGRESS_BYTES, "%s %.0f%% of about %s%s", what ? what : "",
                 share * 100, weir_cli_count(total, total_text), left_words);
    } else {
        snprintf(buffer, WEIR_PROGRESS_BYTES, "%s, %s so far", what ? what : "", done_text);
    }
    return buffer;
}

const char *weir_cli_state(const json_t *subscription, char buffer[static WEIR_STATE_BYTES]) {
    const json_t *progress = json_object_get(subscription, "progress");
    double done = json_number_value(json_object_get(progress, "done"));
    double total = json_number_value(json_object_get(progress, "total"));
    if (total > 0) {
        snprintf(buffer, WEIR_STATE_BYTES, "%.0f%%", done < total ? 100 * done / total : 100.0);
        return buffer;
    }
    const char *what = json_string_value(json_object_get(progress, "what"));
    const char *state = json_string_value(json_object_get(subscription, "state"));
    return what ? what : state ? state : "";
}

weir_status weir_cli_json(FILE *out, json_t *json, struct weir_error *err) {
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(json);
    if (!text) {
        return weir_fail_no_memory(err, "the output");
    }
    // What JSON leaves as it is and is still no character to print.
    for (const char *at = text; *at;) {
        size_t plain = strcspn(at, "\x7F");
        fwrite(at, 1, plain, out);
        at += plain;
        if (*at) {
            fputs("\\u007f", out);
            at++;
        }
    }
    fputc('\n', out);
    free(text);
    return WEIR_OK;
}

json_t *weir_cli_json_time(int64_t wall_ns) {
    char time[WEIR_TIME_BYTES];
    weir_time_format(wall_ns, time);
    return json_string(time);
}
