// SPDX-License-Identifier: Apache-2.0
//
// What a test expects beside what there is; see case.h. Bodies that are written as JSON are
// compared as JSON, any other byte by byte. What differs is shown line by line: "-" what was
// expected, "+" what there is.
#include "project/case.h"

#include "base/show.h"
#include "guest/guest.h"

#include <stdlib.h>

enum {
    DIFF_LINES_MAX = 256, // of each side; what is longer is shown without being compared
    SHOWN_BYTES = 512,    // of a line
    SHOWN_LINES = 40,     // of a body that is shown as a whole
};

// ---- lines ----

static void tell(FILE *out, int deeper, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(FILE *out, int deeper, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(out, "%*s", WEIR_TEST_INDENT + deeper, "");
    vfprintf(out, format, args);
    fputc('\n', out);
    va_end(args);
}

static void tell_line(FILE *out, char sign, struct weir_str line) {
    char shown[SHOWN_BYTES];
    tell(out, 2, "%c %s", sign, weir_show(line, shown, sizeof shown));
}

// The lines of a text; ret_lines has room for `max`. Returns how many there are, at most max.
static size_t split(struct weir_str text, struct weir_str *ret_lines, size_t max) {
    size_t count = 0;
    const char *at = text.data, *end = text.data + text.size;
    while (at < end && count < max) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        ret_lines[count++] =
            (struct weir_str){.data = at, .size = (size_t)((line_end ? line_end : end) - at)};
        at = line_end ? line_end + 1 : end;
    }
    return count;
}

static void tell_all(FILE *out, char sign, struct weir_str text) {
    struct weir_str lines[SHOWN_LINES + 1];
    size_t count = split(text, lines, SHOWN_LINES + 1);
    for (size_t i = 0; i < count && i < SHOWN_LINES; i++) {
        tell_line(out, sign, lines[i]);
    }
    if (count == 0) {
        tell(out, 2, "%c (empty)", sign);
    } else if (count > SHOWN_LINES) {
        tell(out, 2, "%c ...", sign);
    }
}

// The lengths of the longest common subsequences of what is left of both sides: the table of the
// textbook.
struct diff {
    struct weir_str wanted[DIFF_LINES_MAX], actual[DIFF_LINES_MAX];
    size_t wanted_count, actual_count;
    uint16_t common[DIFF_LINES_MAX + 1][DIFF_LINES_MAX + 1];
};

static void fill(struct diff *diff) {
    for (size_t i = diff->wanted_count; i-- > 0;) {
        for (size_t j = diff->actual_count; j-- > 0;) {
            uint16_t below = diff->common[i + 1][j], right = diff->common[i][j + 1];
            diff->common[i][j] = weir_str_equal(diff->wanted[i], diff->actual[j])
                                     ? (uint16_t)(diff->common[i + 1][j + 1] + 1)
                                 : below > right ? below
                                                 : right;
        }
    }
}

static void tell_diff(FILE *out, const struct diff *diff) {
    size_t i = 0, j = 0;
    while (i < diff->wanted_count || j < diff->actual_count) {
        bool has_both = i < diff->wanted_count && j < diff->actual_count;
        if (has_both && weir_str_equal(diff->wanted[i], diff->actual[j])) {
            tell_line(out, ' ', diff->wanted[i++]);
            j++;
        } else if (j == diff->actual_count ||
                   (has_both && diff->common[i + 1][j] >= diff->common[i][j + 1])) {
            tell_line(out, '-', diff->wanted[i++]);
        } else {
            tell_line(out, '+', diff->actual[j++]);
        }
    }
}

static void tell_texts(FILE *out, struct weir_str wanted, struct weir_str actual) {
    struct diff *diff = calloc(1, sizeof *diff);
    if (diff) {
        diff->wanted_count = split(wanted, diff->wanted, DIFF_LINES_MAX);
        diff->actual_count = split(actual, diff->actual, DIFF_LINES_MAX);
    }
    bool is_short = diff && diff->wanted_count > 0 && diff->actual_count > 0 &&
                    diff->wanted_count < DIFF_LINES_MAX && diff->actual_count < DIFF_LINES_MAX;
    if (is_short) {
        fill(diff);
        tell_diff(out, diff);
    } else {
        tell_all(out, '-', wanted);
        tell_all(out, '+', actual);
    }
    free(diff);
}

// ---- data ----

static char *pretty(const json_t *json) {
    return json_dumps(json,
                      JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

static bool judge_json(const json_t *wanted, struct weir_str bytes, FILE *out) {
    json_t *json = json_loadb(bytes.data ? bytes.data : "", bytes.size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (json && json_equal(wanted, json)) {
        json_decref(json);
        return true;
    }
    char *wanted_text = pretty(wanted), *text = json ? pretty(json) : NULL;
    if (!json) {
        tell(out, 0, "JSON was expected, and this is none:");
    }
    tell_texts(out, weir_str_of(wanted_text), text ? weir_str_of(text) : bytes);
    free(wanted_text);
    free(text);
    json_decref(json);
    return false;
}

// `actual`: NULL where there is none. `what` is in front of what differs.
static bool judge_data(const char *what, const struct weir_test_data *wanted,
                       const struct weir_str *actual, FILE *out) {
    char *text = NULL;
    size_t size = 0;
    FILE *differs = open_memstream(&text, &size);
    bool is_same = false;
    if (!differs) {
        tell(out, 0, "%s: no memory to compare it", what);
        return false;
    }
    if (!wanted->is_there || !actual) {
        is_same = !wanted->is_there && !actual;
        if (!is_same && actual) {
            tell(differs, 0, "none was expected, there is:");
            tell_all(differs, '+', *actual);
        } else if (!is_same) {
            tell(differs, 0, "there is none, expected was:");
            tell_all(differs, '-', wanted->bytes);
        }
    } else if (wanted->json) {
        is_same = judge_json(wanted->json, *actual, differs);
    } else {
        is_same = weir_str_equal(wanted->bytes, *actual);
        if (!is_same) {
            tell_texts(differs, wanted->bytes, *actual);
        }
    }
    fclose(differs);
    if (!is_same) {
        tell(out, 0, "%s:", what);
        fputs(text ? text : "", out);
    }
    free(text);
    return is_same;
}

// ---- events ----

static struct weir_optional_str attribute_of(const struct weir_event_fields *fields,
                                             enum weir_test_attribute which) {
    switch (which) {
    case WEIR_TEST_TYPE:
        return (struct weir_optional_str){true, fields->ty};
    case WEIR_TEST_SOURCE:
        return (struct weir_optional_str){true, fields->source};
    case WEIR_TEST_ID:
        return (struct weir_optional_str){true, fields->id};
    case WEIR_TEST_SUBJECT:
        return fields->subject;
    case WEIR_TEST_TIME:
        return fields->time;
    case WEIR_TEST_DATACONTENTTYPE:
        return fields->datacontenttype;
    default:
        return fields->dataschema;
    }
}

static bool judge_text(const char *what, struct weir_str wanted,
                       const struct weir_optional_str *actual, FILE *out) {
    if (actual->is_some && weir_str_equal(wanted, actual->value)) {
        return true;
    }
    tell(out, 0, "%s:", what);
    tell_line(out, '-', wanted);
    if (actual->is_some) {
        tell_line(out, '+', actual->value);
    } else {
        tell(out, 2, "+ (none)");
    }
    return false;
}

static bool judge_extensions(const struct weir_test_event *wanted,
                             const struct weir_event_fields *actual, FILE *out) {
    bool is_same = true;
    for (size_t i = 0; i < wanted->extension_count; i++) {
        const struct weir_attribute *extension = &wanted->extensions[i];
        struct weir_optional_str value = {.is_some = false};
        for (size_t j = 0; j < actual->extensions.count; j++) {
            if (weir_str_equal(actual->extensions.items[j].name, extension->name)) {
                value = (struct weir_optional_str){true, actual->extensions.items[j].value};
            }
        }
        char what[WEIR_SHOW_BYTES + 16], shown[WEIR_SHOW_BYTES];
        snprintf(what, sizeof what, "extension %s",
                 weir_show(extension->name, shown, sizeof shown));
        is_same = judge_text(what, extension->value, &value, out) && is_same;
    }
    return is_same;
}

static bool judge_event(const struct weir_test_event *wanted,
                        const struct weir_event_fields *actual, FILE *out) {
    bool is_same = true;
    for (size_t i = 0; i < WEIR_TEST_ATTRIBUTES; i++) {
        struct weir_optional_str value = attribute_of(actual, (enum weir_test_attribute)i);
        if (wanted->attributes[i].is_some) {
            is_same =
                judge_text(weir_test_attributes[i], wanted->attributes[i].value, &value, out) &&
                is_same;
        }
    }
    is_same = judge_extensions(wanted, actual, out) && is_same;
    if (wanted->has_data) {
        const struct weir_str *bytes = actual->data.is_some ? &actual->data.value.bytes : NULL;
        is_same = judge_data("data", &wanted->data, bytes, out) && is_same;
    }
    return is_same;
}

// ---- answers ----

static enum weir_test_answer answer_of(const struct weir_verdict *verdict) {
    return verdict->outcome == WEIR_FAILED     ? WEIR_TEST_ERROR
           : verdict->outcome == WEIR_REJECTED ? WEIR_TEST_REJECT
           : verdict->outcome == WEIR_BROKEN   ? WEIR_TEST_BROKEN
           : verdict->derived                  ? WEIR_TEST_EVENT
                                               : WEIR_TEST_NONE;
}

bool weir_test_judge_verdict(const struct weir_test_step *step, const struct weir_verdict *verdict,
                             FILE *out) {
    static const char *const names[] = {
        [WEIR_TEST_NONE] = "none",     [WEIR_TEST_EVENT] = "event",   [WEIR_TEST_ERROR] = "error",
        [WEIR_TEST_REJECT] = "reject", [WEIR_TEST_BROKEN] = "broken",
    };
    enum weir_test_answer answer = answer_of(verdict);
    struct weir_str text =
        answer >= WEIR_TEST_ERROR ? weir_str_of(verdict->error.message) : (struct weir_str){0};
    if (answer != step->answer) {
        char shown[SHOWN_BYTES];
        tell(out, 0, "expected: %s", names[step->answer]);
        tell(out, 0, "answered: %s%s%s", names[answer], text.size > 0 ? ": " : "",
             weir_show(text, shown, sizeof shown));
        return false;
    }
    bool has_text =
        step->text.size == 0 ||
        (text.size > 0 && memmem(text.data, text.size, step->text.data, step->text.size));
    if (!has_text) {
        tell(out, 0, "%s, whose text lacks what was expected:", names[answer]);
        tell_line(out, '-', step->text);
        tell_line(out, '+', text);
        return false;
    }
    return !step->expected || judge_event(step->expected, &verdict->derived->fields, out);
}

bool weir_test_judge_key(const struct weir_test_key *key, const struct weir_str *actual,
                         FILE *out) {
    char what[WEIR_SHOW_BYTES * 2 + 8], shown[WEIR_SHOW_BYTES];
    snprintf(what, sizeof what, "%.*s: %s", WEIR_SHOW_BYTES, key->resource,
             weir_show(key->key, shown, sizeof shown));
    return judge_data(what, &key->data, actual, out);
}

bool weir_test_judge_events(const struct weir_test_events *expected,
                            struct weir_event *const *actual, size_t count, FILE *out) {
    bool is_same = count == expected->count;
    if (!is_same) {
        tell(out, 0, "%s: %zu events were expected, %zu were published", expected->resource,
             expected->count, count);
    }
    for (size_t i = 0; i < count && i < expected->count; i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *differs = open_memstream(&text, &size);
        bool is_equal = differs && judge_event(&expected->items[i], &actual[i]->fields, differs);
        if (differs) {
            fclose(differs);
        }
        if (!is_equal) {
            tell(out, 0, "%s, event %zu:", expected->resource, i + 1);
            fputs(text ? text : "", out);
        }
        is_same = is_same && is_equal;
        free(text);
    }
    return is_same;
}
