// SPDX-License-Identifier: Apache-2.0
//
// weir's log; see log.h. A line is made in one buffer that belongs to the log and is guarded by its
// lock, so writing one allocates nothing and can report that memory has run out. JSON is escaped by
// hand for the same reason (jansson builds a tree); only strings occur, so the escaper is a dozen
// lines, and a test has Python's json read its output.
//
// Each byte of a field's value is somebody else's: in text a value that could be mistaken for
// something else is quoted, in JSON everything that is not printable is escaped. Bytes that are not
// UTF-8 become the characters \xNN. A line never holds a line break but its own, and a line that
// had to be cut is still well-formed and says so.
//
// A stuck reader costs each thread WEIR_LOG_WAIT_MS once, not once a line: after a line was dropped
// the next ones only try, until one passes. A line of which only a part was taken is ended before
// the next one begins. A ring buffer with a writer thread was considered and left out: the last
// lines before a crash, the ones that matter, would be the ones that are lost.
//
// The rate (rate.h) is asked before, under a lock of its own, so that a flood of lines that are
// left out waits for no reader. When a message begins to leave lines out, a timer is set to the end
// of its window, for whoever polls it; nothing wakes up while nothing is left out.
//
// Any thread.
#include "observe/log.h"

#include "base/clock.h"
#include "base/show.h"
#include "observe/output.h"
#include "observe/rate.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct weir_log {
    struct weir_log_config config;
    atomic_uint_fast64_t dropped; // lines since the last one that passed
    atomic_uint_fast64_t written[WEIR_LOG_LEVELS], left_out, dropped_in_all;
    int timer_fd; // see weir_log_left_out_fd
    pthread_mutex_t rate_lock;
    struct weir_rate rate; // under rate_lock
    pthread_mutex_t lock;  // of what follows, and of the order of lines
    bool is_stuck;         // the last line was dropped
    bool is_midline;       // ... after a part of it had been written
    char line[WEIR_LOG_LINE_BYTES_MAX];
};

// A line under construction. Once something did not fit, nothing more is put.
struct line {
    char *bytes;
    size_t size;
    size_t size_max; // without what is kept free for the end of the line
    bool is_cut;
};

// What is kept free behind size_max: the end of a value that was cut, the mark, the brace, colours,
// the line break.
enum { LINE_END_BYTES = 32 };

static const struct {
    const char *name;
    const char *padded;
    const char *colour;
} levels[] = {
    [WEIR_LOG_DEBUG] = {"debug", "debug", "\033[2m"},
    [WEIR_LOG_INFO] = {"info", "info ", "\033[32m"},
    [WEIR_LOG_WARN] = {"warn", "warn ", "\033[33m"},
    [WEIR_LOG_ERROR] = {"error", "error", "\033[31m"},
};
static const char colour_off[] = "\033[0m";

weir_status weir_log_create(const struct weir_log_config *config, struct weir_log **ret_log,
                            struct weir_error *err) {
    struct weir_log *log = calloc(1, sizeof *log);
    if (!log) {
        return weir_fail_no_memory(err, "the log");
    }
    log->config = *config;
    log->rate.lines_max = config->rate_lines;
    log->rate.window_ns =
        config->window_ns > 0 ? config->window_ns : WEIR_LOG_WINDOW_MS * WEIR_NS_PER_MS;
    log->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int code = log->timer_fd >= 0 ? pthread_mutex_init(&log->lock, NULL) : errno;
    if (code == 0 && (code = pthread_mutex_init(&log->rate_lock, NULL)) != 0) {
        pthread_mutex_destroy(&log->lock);
    }
    if (code != 0) {
        if (log->timer_fd >= 0) {
            close(log->timer_fd);
        }
        free(log);
        return weir_fail_errno(err, code, "the log's timer and locks");
    }
    *ret_log = log;
    return WEIR_OK;
}

static void tell_left_out(struct weir_log *log, int64_t now_ns);

void weir_log_destroy(struct weir_log *log) {
    if (log) {
        tell_left_out(log, INT64_MAX);
        close(log->timer_fd);
        pthread_mutex_destroy(&log->rate_lock);
        pthread_mutex_destroy(&log->lock);
        free(log);
    }
}

bool weir_log_enabled(const struct weir_log *log, enum weir_log_level level) {
    return log && level >= log->config.level;
}

// Puts all of the text or nothing of it.
static void put(struct line *line, struct weir_str text) {
    if (line->is_cut || text.size > line->size_max - line->size) {
        line->is_cut = true;
    } else if (text.size > 0) {
        memcpy(line->bytes + line->size, text.data, text.size);
        line->size += text.size;
    }
}

static void put_text(struct line *line, const char *text) {
    put(line, weir_str_of(text));
}

// Puts what ends the line, into the room that is kept free for it.
static void put_end(struct line *line, const char *text) {
    size_t size = strlen(text);
    memcpy(line->bytes + line->size, text, size);
    line->size += size;
}

// The letter behind a backslash that stands for this character in text and in JSON alike, 0 where
// there is none.
static char escape_letter(char character) {
    switch (character) {
    case '"':
    case '\\':
        return character;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

// One character of a value, or one byte that is none, as it stands between quotes. Returns how many
// bytes it was.
static size_t put_escaped(struct line *line, struct weir_str rest, enum weir_log_format format) {
    char letter = escape_letter(rest.data[0]);
    if (letter) {
        put(line, (struct weir_str){.data = (char[]){'\\', letter}, .size = 2});
        return 1;
    }
    struct weir_shown shown = weir_show_first(rest);
    bool is_printable = shown.bytes[0] != '\\'; // a backslash itself was handled above
    if (format == WEIR_LOG_TEXT || is_printable) {
        put(line, (struct weir_str){.data = shown.bytes, .size = shown.size});
        return shown.taken;
    }
    // In JSON a control character has a number; a byte that is no character is the four characters
    // \xNN.
    size_t character_bytes = weir_utf8_char_bytes(rest);
    unsigned char last = (unsigned char)rest.data[character_bytes ? character_bytes - 1 : 0];
    char escape[8];
    snprintf(escape, sizeof escape, character_bytes ? "\\u%04x" : "\\\\x%02x", last);
    put_text(line, escape);
    return character_bytes ? character_bytes : 1;
}

// Returns false where not even the first quote had room.
static bool put_between_quotes(struct line *line, struct weir_str value,
                               enum weir_log_format format) {
    put_text(line, "\"");
    if (line->is_cut) {
        return false;
    }
    for (size_t at = 0; at < value.size && !line->is_cut;) {
        struct weir_str rest = {.data = value.data + at, .size = value.size - at};
        at += put_escaped(line, rest, format);
    }
    put_text(line, "\"");
    if (line->is_cut) {
        put_end(line, "...\"");
    }
    return true;
}

static bool needs_quotes(struct weir_str value) {
    for (size_t at = 0; at < value.size;) {
        struct weir_str rest = {.data = value.data + at, .size = value.size - at};
        size_t size = weir_printable_bytes(rest);
        if (size == 0 || strchr(" \"\\=", rest.data[0])) {
            return true;
        }
        at += size;
    }
    return value.size == 0;
}

static bool put_number(struct line *line, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    put_text(line, digits);
    return !line->is_cut;
}

static void put_text_field(struct line *line, const struct weir_log_field *field) {
    size_t before = line->size;
    put_text(line, " ");
    put_text(line, field->name);
    put_text(line, "=");
    bool is_put = !line->is_cut;
    if (is_put && field->is_number) {
        is_put = put_number(line, field->number);
    } else if (is_put && field->value.size < line->size_max - line->size &&
               !needs_quotes(field->value)) {
        put(line, field->value);
    } else if (is_put) {
        is_put = put_between_quotes(line, field->value, WEIR_LOG_TEXT);
    }
    if (!is_put) {
        line->size = before; // a name without its value says nothing
    }
}

static void make_text(const struct weir_log *log, struct line *line, enum weir_log_level level,
                      const char *message, const struct weir_log_field *fields,
                      size_t field_count) {
    char time[WEIR_TIME_BYTES];
    weir_time_format(weir_clock_wall_ns(), time);
    bool is_coloured = log->config.is_coloured;
    put_text(line, time);
    put_text(line, " ");
    put_text(line, is_coloured ? levels[level].colour : "");
    put_text(line, levels[level].padded);
    put_text(line, is_coloured ? colour_off : "");
    put_text(line, " ");
    struct weir_str text = weir_str_of(message);
    for (size_t at = 0; at < text.size && !line->is_cut;) {
        struct weir_shown shown =
            weir_show_first((struct weir_str){.data = text.data + at, .size = text.size - at});
        put(line, (struct weir_str){.data = shown.bytes, .size = shown.size});
        at += shown.taken;
    }
    for (size_t i = 0; i < field_count && !line->is_cut; i++) {
        put_text_field(line, &fields[i]);
    }
    put_end(line, line->is_cut ? " cut=true\n" : "\n");
}

static void put_json_field(struct line *line, const struct weir_log_field *field) {
    size_t before = line->size;
    put_text(line, line->bytes[line->size - 1] == '{' ? "\"" : ",\"");
    put_text(line, field->name);
    put_text(line, "\":");
    bool is_put = field->is_number ? put_number(line, field->number)
                                   : put_between_quotes(line, field->value, WEIR_LOG_JSON);
    if (!is_put) {
        line->size = before;
    }
}

static void put_json_text(struct line *line, const char *name, const char *text) {
    put_json_field(line, &(struct weir_log_field){name, weir_str_of(text)});
}

static void make_json(struct line *line, enum weir_log_level level, const char *message,
                      const struct weir_log_field *fields, size_t field_count) {
    char time[WEIR_TIME_BYTES];
    weir_time_format(weir_clock_wall_ns(), time);
    put_text(line, "{");
    put_json_text(line, "time", time);
    put_json_text(line, "level", levels[level].name);
    put_json_text(line, "message", message);
    for (size_t i = 0; i < field_count && !line->is_cut; i++) {
        put_json_field(line, &fields[i]);
    }
    put_end(line, line->is_cut ? ",\"cut\":true}\n" : "}\n");
}

// What is to be written, beside what the log itself puts in front.
struct occurrence {
    enum weir_log_level level;
    const char *message;
    const struct weir_log_field *fields;
    size_t field_count;
    uint64_t left_out; // of lines before, by the rate
};

// Makes the line in the log's buffer. The lock is held.
static struct weir_str make_line(struct weir_log *log, const struct occurrence *what,
                                 const struct weir_log_field *fields, size_t field_count) {
    struct line line = {.bytes = log->line, .size_max = sizeof log->line - LINE_END_BYTES};
    put_text(&line, log->is_midline ? "\n" : "");
    if (log->config.format == WEIR_LOG_JSON) {
        make_json(&line, what->level, what->message, fields, field_count);
    } else {
        make_text(log, &line, what->level, what->message, fields, field_count);
    }
    return (struct weir_str){.data = line.bytes, .size = line.size};
}

// Writes one line; the lock is held. Returns false where it was dropped.
static bool write_line(struct weir_log *log, const struct occurrence *what, int64_t deadline_ns) {
    uint64_t dropped = atomic_load(&log->dropped);
    struct weir_log_field all[WEIR_LOG_FIELDS_MAX + 2];
    size_t count = 0;
    if (dropped > 0) { // first, so that it is not what is cut
        all[count++] = (struct weir_log_field){"dropped_lines", WEIR_LOG_NUMBER(dropped)};
    }
    if (what->left_out > 0) {
        all[count++] = (struct weir_log_field){"left_out", WEIR_LOG_NUMBER(what->left_out)};
    }
    for (size_t i = 0; i < what->field_count && i < WEIR_LOG_FIELDS_MAX; i++) {
        all[count++] = what->fields[i];
    }
    struct weir_str line = make_line(log, what, all, count);
    size_t written =
        weir_output_write(log->config.fd, line, log->is_stuck ? INT64_MIN : deadline_ns);
    log->is_stuck = written < line.size;
    if (written > 0) {
        log->is_midline = log->is_stuck;
    }
    if (!log->is_stuck) {
        atomic_fetch_sub(&log->dropped, dropped);
    }
    return !log->is_stuck;
}

// Without a lock. Returns false where the line was dropped.
static bool write_or_drop(struct weir_log *log, const struct occurrence *what) {
    assert(what->field_count <= WEIR_LOG_FIELDS_MAX);
    const int64_t deadline_ns = weir_clock_monotonic_ns() + WEIR_LOG_WAIT_MS * WEIR_NS_PER_MS;
    struct timespec deadline = weir_clock_timespec(deadline_ns);
    bool is_written = false;
    if (pthread_mutex_clocklock(&log->lock, CLOCK_MONOTONIC, &deadline) == 0) {
        is_written = write_line(log, what, deadline_ns);
        pthread_mutex_unlock(&log->lock);
    }
    if (is_written) {
        atomic_fetch_add(&log->written[what->level], 1);
    } else {
        atomic_fetch_add(&log->dropped, 1);
        atomic_fetch_add(&log->dropped_in_all, 1);
    }
    return is_written;
}

// ---- the rate ----

// Sets the timer to the next window that ends with something left out. Under rate_lock.
static void set_timer(struct weir_log *log) {
    int64_t due_ns = weir_rate_due_ns(&log->rate);
    struct itimerspec at = {0}; // disarmed
    if (due_ns != INT64_MAX) {
        at.it_value = weir_clock_timespec(due_ns);
    }
    timerfd_settime(log->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

// Whether the line may be written. *ret_left_out: what it has to tell.
static bool take(struct weir_log *log, enum weir_log_level level, const char *message,
                 uint64_t *ret_left_out) {
    *ret_left_out = 0;
    if (level == WEIR_LOG_DEBUG || log->config.rate_lines == 0) {
        return true;
    }
    int64_t now_ns = weir_clock_monotonic_ns();
    bool is_first;
    pthread_mutex_lock(&log->rate_lock);
    bool is_taken = weir_rate_take(&log->rate, level, message, now_ns, ret_left_out, &is_first);
    if (is_first) {
        set_timer(log);
    }
    pthread_mutex_unlock(&log->rate_lock);
    return is_taken;
}

static void put_back(struct weir_log *log, const struct weir_rate_rest *rest) {
    pthread_mutex_lock(&log->rate_lock);
    weir_rate_put_back(&log->rate, rest, weir_clock_monotonic_ns());
    set_timer(log);
    pthread_mutex_unlock(&log->rate_lock);
}

static void tell_rest(struct weir_log *log, const struct weir_rate_rest *rest) {
    const struct weir_log_field fields[] = {{"of", weir_str_of(rest->message)}};
    const struct occurrence what = {.level = rest->level,
                                    .message = "lines were left out",
                                    .fields = fields,
                                    .field_count = 1,
                                    .left_out = rest->left_out};
    if (!write_or_drop(log, &what)) {
        put_back(log, rest);
    }
}

// Tells what windows that are over by then have left out.
static void tell_left_out(struct weir_log *log, int64_t now_ns) {
    struct weir_rate_rest rest;
    bool is_more = true;
    for (int i = 0; i <= WEIR_RATE_MESSAGES_MAX && is_more; i++) {
        pthread_mutex_lock(&log->rate_lock);
        is_more = weir_rate_collect(&log->rate, now_ns, &rest);
        pthread_mutex_unlock(&log->rate_lock);
        if (is_more) {
            tell_rest(log, &rest);
        }
    }
}

void weir_log_tell_left_out(struct weir_log *log) {
    if (log) {
        tell_left_out(log, weir_clock_monotonic_ns());
        pthread_mutex_lock(&log->rate_lock);
        set_timer(log);
        pthread_mutex_unlock(&log->rate_lock);
    }
}

int weir_log_left_out_fd(const struct weir_log *log) {
    return log ? log->timer_fd : -1;
}

// ---- one line ----

void weir_log_write(struct weir_log *log, enum weir_log_level level, const char *message,
                    const struct weir_log_field *fields, size_t field_count) {
    struct occurrence what = {
        .level = level, .message = message, .fields = fields, .field_count = field_count};
    if (!weir_log_enabled(log, level)) {
        return;
    }
    if (!take(log, level, message, &what.left_out)) {
        atomic_fetch_add(&log->left_out, 1);
    } else if (!write_or_drop(log, &what) && what.left_out > 0) {
        put_back(log, &(struct weir_rate_rest){message, level, what.left_out});
    }
}

void weir_log_write_each(struct weir_log *log, enum weir_log_level level, const char *message,
                         const struct weir_log_field *fields, size_t field_count) {
    const struct occurrence what = {
        .level = level, .message = message, .fields = fields, .field_count = field_count};
    if (weir_log_enabled(log, level)) {
        write_or_drop(log, &what);
    }
}

void weir_log_counts(const struct weir_log *log, struct weir_log_counts *ret_counts) {
    for (size_t i = 0; i < WEIR_LOG_LEVELS; i++) {
        ret_counts->written[i] = atomic_load(&log->written[i]);
    }
    ret_counts->left_out = atomic_load(&log->left_out);
    ret_counts->dropped = atomic_load(&log->dropped_in_all);
}
