// SPDX-License-Identifier: Apache-2.0
//
// Texts to typed members and back; see option.h. There is one parser for each type and no way
// around it: the reader of weir.yaml, the command line and the defaults in the tables all come
// through weir_option_set, so a default that its own row would refuse cannot exist
// (weir_options_init fails on it, and a unit test initialises every table).
//
// strtoul and its kin are not used for whole numbers: they accept signs, leading blanks and a
// locale's digits. Nothing here keeps a reference to the text it was given. Any thread.
#include "config/option.h"

#include "base/clock.h"
#include "base/show.h"
#include "config/secret.h"

#include <stdio.h>
#include <stdlib.h>

// A unit and what one of it is worth. Tables run from the smallest to the greatest and end with a
// NULL name.
struct unit {
    const char *name;
    int64_t worth;
};

static const struct unit duration_units[] = {
    {"ms", WEIR_NS_PER_MS},
    {"s", WEIR_NS_PER_S},
    {"m", 60 * WEIR_NS_PER_S},
    {"h", 3600 * WEIR_NS_PER_S},
    {NULL, 0},
};

static const struct unit size_units[] = {
    {"", 1},   {"KiB", INT64_C(1) << 10}, {"MiB", INT64_C(1) << 20}, {"GiB", INT64_C(1) << 30},
    {NULL, 0},
};

static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum weir_option_type type) {
    return type == WEIR_OPTION_DURATION ? duration_units
           : type == WEIR_OPTION_SIZE   ? size_units
                                        : count_units;
}

static void *member_of(const struct weir_option *option, void *base) {
    return (char *)base + option->offset;
}

static const void *const_member_of(const struct weir_option *option, const void *base) {
    return (const char *)base + option->offset;
}

static bool is_bounded(const struct weir_option *option) {
    return option->min != 0 || option->max != 0;
}

static bool owns_text(const struct weir_option *option) {
    return option->type == WEIR_OPTION_TEXT || option->type == WEIR_OPTION_PATH ||
           option->type == WEIR_OPTION_SECRET;
}

enum verdict { ACCEPTED, MALFORMED, OUT_OF_BOUNDS };

// Digits and a unit of the table. A number that no int64_t holds is out of bounds, whatever the
// bounds are.
static enum verdict parse_whole(struct weir_str text, const struct unit *units,
                                int64_t *ret_value) {
    int64_t number = 0;
    bool is_too_large = false;
    size_t at = 0;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        is_too_large |= __builtin_mul_overflow(number, 10, &number);
        is_too_large |= __builtin_add_overflow(number, text.data[at] - '0', &number);
    }
    if (at == 0) {
        return MALFORMED;
    }
    struct weir_str name = {.data = text.data + at, .size = text.size - at};
    if (name.size == 0 && number == 0 && !is_too_large) {
        *ret_value = 0; // "0" needs no unit
        return ACCEPTED;
    }
    for (const struct unit *unit = units; unit->name; unit++) {
        if (weir_str_equal(name, weir_str_of(unit->name))) {
            is_too_large |= __builtin_mul_overflow(number, unit->worth, ret_value);
            return is_too_large ? OUT_OF_BOUNDS : ACCEPTED;
        }
    }
    return MALFORMED;
}

// A decimal fraction from 0 to 1, without sign or exponent.
static enum verdict parse_ratio(struct weir_str text, double *ret_value) {
    double value = 0, place = 1;
    size_t digits = 0, points = 0;
    for (size_t i = 0; i < text.size; i++) {
        char letter = text.data[i];
        if (letter == '.' && points == 0) {
            points++;
        } else if (letter >= '0' && letter <= '9') {
            digits++;
            value = value * 10 + (letter - '0');
            place *= points ? 10 : 1;
        } else {
            return MALFORMED;
        }
    }
    if (digits == 0) {
        return MALFORMED;
    }
    if (digits > 15) { // beyond that the sums above are no longer exact
        return OUT_OF_BOUNDS;
    }
    *ret_value = value / place;
    return *ret_value <= 1 ? ACCEPTED : OUT_OF_BOUNDS;
}

static const char *type_phrase(enum weir_option_type type) {
    switch (type) {
    case WEIR_OPTION_TEXT:
        return "a text";
    case WEIR_OPTION_PATH:
        return "a path";
    case WEIR_OPTION_DURATION:
        return "a duration";
    case WEIR_OPTION_SIZE:
        return "a size";
    case WEIR_OPTION_COUNT:
        return "a whole number";
    case WEIR_OPTION_RATIO:
        return "a ratio";
    case WEIR_OPTION_BOOL:
        return "a truth value";
    case WEIR_OPTION_SECRET:
        return "a place of a secret";
    case WEIR_OPTION_CHOICE:
        break;
    }
    return "one of the choices";
}

// "10m", in the greatest unit that leaves no rest.
static const char *format_whole(int64_t value, const struct unit *units, char *buffer,
                                size_t size) {
    if (value == 0) {
        snprintf(buffer, size, "0");
        return buffer;
    }
    const struct unit *best = units;
    for (const struct unit *unit = units; unit->name; unit++) {
        if (value % unit->worth == 0) {
            best = unit;
        }
    }
    snprintf(buffer, size, "%lld%s", (long long)(value / best->worth), best->name);
    return buffer;
}

static const char *expected_choice(const struct weir_option *option, char *buffer, size_t size) {
    size_t filled = 0;
    buffer[0] = '\0';
    for (const char *const *choice = option->choices; *choice && filled < size; choice++) {
        const char *joint = choice == option->choices ? "" : choice[1] ? ", " : " or ";
        int more = snprintf(buffer + filled, size - filled, "%s%s", joint, *choice);
        filled += more > 0 ? (size_t)more : 0;
    }
    return buffer;
}

const char *weir_option_expected(const struct weir_option *option, char *buffer, size_t size) {
    const char *what = "";
    switch (option->type) {
    case WEIR_OPTION_TEXT:
        what = "a text";
        break;
    case WEIR_OPTION_PATH:
        what = "a path";
        break;
    case WEIR_OPTION_DURATION:
        what = "a number and a unit, such as 250ms, 5s, 2m";
        break;
    case WEIR_OPTION_SIZE:
        what = "bytes, or a number and a unit, such as 512, 64KiB, 16MiB";
        break;
    case WEIR_OPTION_COUNT:
        what = "a whole number";
        break;
    case WEIR_OPTION_RATIO:
        what = "a number from 0 to 1, such as 0.5";
        break;
    case WEIR_OPTION_BOOL:
        what = "true or false";
        break;
    case WEIR_OPTION_SECRET:
        what = WEIR_SECRET_FORMS;
        break;
    case WEIR_OPTION_CHOICE:
        return expected_choice(option, buffer, size);
    }
    char min[32], max[32];
    format_whole(option->min, units_of(option->type), min, sizeof min);
    format_whole(option->max, units_of(option->type), max, sizeof max);
    if (!is_bounded(option)) {
        snprintf(buffer, size, "%s", what);
    } else if (owns_text(option)) {
        snprintf(buffer, size, "%s of %s to %s bytes", what, min, max);
    } else {
        snprintf(buffer, size, "%s, from %s to %s", what, min, max);
    }
    return buffer;
}

const char *weir_option_range(const struct weir_option *option, char *buffer, size_t size) {
    char min[32], max[32];
    switch (option->type) {
    case WEIR_OPTION_BOOL:
        snprintf(buffer, size, "true or false");
        return buffer;
    case WEIR_OPTION_CHOICE:
        return expected_choice(option, buffer, size);
    case WEIR_OPTION_RATIO:
        snprintf(buffer, size, "0 to 1");
        return buffer;
    case WEIR_OPTION_SECRET:
        snprintf(buffer, size, "env: or file:");
        return buffer;
    default:
        break;
    }
    if (owns_text(option) || !is_bounded(option)) {
        snprintf(buffer, size, "%s", type_phrase(option->type) + strlen("a "));
        return buffer;
    }
    snprintf(buffer, size, "%s to %s",
             format_whole(option->min, units_of(option->type), min, sizeof min),
             format_whole(option->max, units_of(option->type), max, sizeof max));
    return buffer;
}

static weir_status refuse(const struct weir_option *option, struct weir_str text,
                          enum verdict verdict, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES], expected[WEIR_OPTION_EXPECTED_BYTES];
    weir_show(text, shown, sizeof shown);
    weir_option_expected(option, expected, sizeof expected);
    if (verdict == OUT_OF_BOUNDS) {
        return weir_fail(err, WEIR_INVALID, "\"%s\" is out of bounds; write %s", shown, expected);
    }
    return weir_fail(err, WEIR_INVALID, "\"%s\" is not %s; write %s", shown,
                     type_phrase(option->type), expected);
}

// Replaces the member's text by the text. A path in it that is relative gets the folder in front.
static weir_status set_text(const struct weir_option *option, void *base, struct weir_str text,
                            const char *folder, struct weir_error *err) {
    struct weir_str scheme = {text.data, 0}; // of a secret: what stands before its path
    bool is_path = option->type == WEIR_OPTION_PATH;
    if (option->type == WEIR_OPTION_SECRET && weir_str_has_prefix(text, WEIR_STR("file:"))) {
        scheme.size = strlen("file:");
        is_path = true;
    }
    struct weir_str rest = {text.data + scheme.size, text.size - scheme.size};
    bool is_joined = is_path && folder && rest.data[0] != '/' && strcmp(folder, ".") != 0;
    struct weir_str front = is_joined ? weir_str_of(folder) : (struct weir_str){0};
    bool has_slash = front.size > 0 && front.data[front.size - 1] != '/';
    char *copy = NULL;
    if (asprintf(&copy, "%.*s%.*s%s%.*s", WEIR_STR_ARG(scheme), WEIR_STR_ARG(front),
                 has_slash ? "/" : "", WEIR_STR_ARG(rest)) < 0) {
        return weir_fail_no_memory(err, option->name);
    }
    char **member = member_of(option, base);
    free(*member);
    *member = copy;
    return WEIR_OK;
}

static weir_status check_text(const struct weir_option *option, struct weir_str text,
                              struct weir_error *err) {
    char expected[WEIR_OPTION_EXPECTED_BYTES], shown[WEIR_SHOW_BYTES];
    if (option->type != WEIR_OPTION_SECRET && text.size > 0 && memchr(text.data, '\0', text.size)) {
        return weir_fail(err, WEIR_INVALID, "\"%s\" holds a NUL byte; leave it out",
                         weir_show(text, shown, sizeof shown));
    }
    if (option->type == WEIR_OPTION_PATH && text.size == 0) {
        return weir_fail(err, WEIR_INVALID, "the path is empty; write %s",
                         weir_option_expected(option, expected, sizeof expected));
    }
    if (option->type == WEIR_OPTION_SECRET) {
        return weir_secret_check(text, err);
    }
    if (is_bounded(option) &&
        (text.size > (uint64_t)option->max || text.size < (uint64_t)option->min)) {
        return weir_fail(err, WEIR_INVALID, "the text has %zu bytes; write %s", text.size,
                         weir_option_expected(option, expected, sizeof expected));
    }
    return WEIR_OK;
}

static weir_status set_whole(const struct weir_option *option, void *base, struct weir_str text,
                             struct weir_error *err) {
    int64_t value = 0;
    enum verdict verdict = parse_whole(text, units_of(option->type), &value);
    if (verdict == ACCEPTED && is_bounded(option) && (value < option->min || value > option->max)) {
        verdict = OUT_OF_BOUNDS;
    }
    if (verdict != ACCEPTED) {
        return refuse(option, text, verdict, err);
    }
    if (option->type == WEIR_OPTION_DURATION) {
        *(int64_t *)member_of(option, base) = value;
    } else {
        *(uint64_t *)member_of(option, base) = (uint64_t)value;
    }
    return WEIR_OK;
}

static weir_status set_choice(const struct weir_option *option, void *base, struct weir_str text,
                              struct weir_error *err) {
    for (int i = 0; option->choices[i]; i++) {
        if (weir_str_equal(text, weir_str_of(option->choices[i]))) {
            *(int *)member_of(option, base) = i;
            return WEIR_OK;
        }
    }
    return refuse(option, text, MALFORMED, err);
}

weir_status weir_option_set(const struct weir_option *option, void *base, struct weir_str text,
                            const char *folder, struct weir_error *err) {
    switch (option->type) {
    case WEIR_OPTION_TEXT:
    case WEIR_OPTION_PATH:
    case WEIR_OPTION_SECRET: {
        weir_status status = check_text(option, text, err);
        return status == WEIR_OK ? set_text(option, base, text, folder, err) : status;
    }
    case WEIR_OPTION_DURATION:
    case WEIR_OPTION_SIZE:
    case WEIR_OPTION_COUNT:
        return set_whole(option, base, text, err);
    case WEIR_OPTION_RATIO: {
        double value = 0;
        enum verdict verdict = parse_ratio(text, &value);
        if (verdict != ACCEPTED) {
            return refuse(option, text, verdict, err);
        }
        *(double *)member_of(option, base) = value;
        return WEIR_OK;
    }
    case WEIR_OPTION_BOOL: {
        bool is_true = weir_str_equal(text, WEIR_STR("true"));
        if (!is_true && !weir_str_equal(text, WEIR_STR("false"))) {
            return refuse(option, text, MALFORMED, err);
        }
        *(bool *)member_of(option, base) = is_true;
        return WEIR_OK;
    }
    case WEIR_OPTION_CHOICE:
        return set_choice(option, base, text, err);
    }
    return weir_fail(err, WEIR_OTHER, "option %s has no type", option->name);
}

weir_status weir_options_init(const struct weir_option_table *table, void *base,
                              struct weir_error *err) {
    for (size_t i = 0; i < table->count; i++) {
        const struct weir_option *option = &table->rows[i];
        if (!option->fallback) {
            continue;
        }
        weir_status status =
            weir_option_set(option, base, weir_str_of(option->fallback), NULL, err);
        if (status != WEIR_OK) {
            weir_options_finish(table, base);
            return status;
        }
    }
    return WEIR_OK;
}

void weir_options_finish(const struct weir_option_table *table, void *base) {
    for (size_t i = 0; i < table->count; i++) {
        if (owns_text(&table->rows[i])) {
            char **member = member_of(&table->rows[i], base);
            free(*member);
            *member = NULL;
        }
    }
}

const struct weir_option *weir_option_find(const struct weir_option_table *table,
                                           struct weir_str name) {
    for (size_t i = 0; i < table->count; i++) {
        if (weir_str_equal(name, weir_str_of(table->rows[i].name))) {
            return &table->rows[i];
        }
    }
    return NULL;
}

const char *weir_option_format(const struct weir_option *option, const void *base, char *buffer,
                               size_t size) {
    const void *member = const_member_of(option, base);
    switch (option->type) {
    case WEIR_OPTION_TEXT:
    case WEIR_OPTION_PATH:
    case WEIR_OPTION_SECRET: {
        const char *text = *(char *const *)member;
        snprintf(buffer, size, "%s", text ? text : "");
        break;
    }
    case WEIR_OPTION_DURATION:
        return format_whole(*(const int64_t *)member, duration_units, buffer, size);
    case WEIR_OPTION_SIZE:
    case WEIR_OPTION_COUNT:
        return format_whole((int64_t)*(const uint64_t *)member, units_of(option->type), buffer,
                            size);
    case WEIR_OPTION_RATIO:
        snprintf(buffer, size, "%.15g", *(const double *)member);
        break;
    case WEIR_OPTION_BOOL:
        snprintf(buffer, size, "%s", *(const bool *)member ? "true" : "false");
        break;
    case WEIR_OPTION_CHOICE:
        snprintf(buffer, size, "%s", option->choices[*(const int *)member]);
        break;
    }
    return buffer;
}
