// SPDX-License-Identifier: Apache-2.0
//
// weir's own log: one line for each occurrence, as text for people or as JSON for machines, on a
// descriptor that the caller owns. A line is one write(2), so lines of several threads do not mix.
// A reader that does not read cannot hold weir up: after WEIR_LOG_WAIT_MS the line is dropped and
// counted, and the count is told in the next line that passes (`dropped_lines`).
//
// Of one message at most rate_lines are written within a window. What is left out is counted; the
// message's next line tells it (`left_out`), or, once the window is over, a line of its own (`of`
// is the message). So for each message: written + left out + dropped = occurred. Debug lines are
// not limited: who wants them wants all.
//
// Names of fields: one name for one thing, wherever it is logged. docs/operating.md tells users the
// same.
//   resource, kind        the configuration's name of a resource, and its kind
//   subscription          the name of a subscription
//   guest, handler        the configuration's name of a guest, and the export that is called
//   event                 the id of an event
//   attempt, attempts_max which call of the handler for this event, from 1, and how many there are
//   trace                 the id of the event's trace, 32 hexadecimal digits
//   reason                why: the message of an error, a signal's name
//   key                   of a resource: a key, or the pattern that is watched; of a configuration
//                         that has a mistake: the setting, with dots
//   table, slot, row      of a database
//   path                  a file or a folder
//   before, now           what was replaced, and by what
//   owner                 whose subscriptions they are: a guest with a main, or a configuration
//   events, bytes, attempts and others in the plural: how many
//   ..._ms                a time in milliseconds
// A line about a delivery has subscription, guest, handler, event and attempt.
#ifndef WEIR_OBSERVE_LOG_H
#define WEIR_OBSERVE_LOG_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum weir_log_level { WEIR_LOG_DEBUG, WEIR_LOG_INFO, WEIR_LOG_WARN, WEIR_LOG_ERROR };
enum weir_log_format { WEIR_LOG_TEXT, WEIR_LOG_JSON };

enum {
    WEIR_LOG_LEVELS = WEIR_LOG_ERROR + 1,
    WEIR_LOG_LINE_BYTES_MAX = 8192, // longer lines are cut
    WEIR_LOG_FIELDS_MAX = 16,       // fields of one line
    WEIR_LOG_WAIT_MS = 1000,        // how long a line waits for its reader
    WEIR_LOG_WINDOW_MS = 10 * 1000, // of the rate, where none is given
};

struct weir_log;

struct weir_log_config {
    int fd; // not closed by the log
    enum weir_log_level level;
    enum weir_log_format format;
    bool is_coloured;    // text only
    uint64_t rate_lines; // of one message within a window; 0: no bound
    int64_t window_ns;   // 0: WEIR_LOG_WINDOW_MS
};

// A named value of a line: {"resource", weir_str_of(name)}, or {"attempt", WEIR_LOG_NUMBER(2)},
// which in JSON is a number.
struct weir_log_field {
    const char *name;
    struct weir_str value;
    uint64_t number; // in place of `value`, if is_number
    bool is_number;
};
#define WEIR_LOG_NUMBER(its_number) .number = (its_number), .is_number = true

// WEIR_NO_MEMORY, and others of timerfd_create.
weir_status weir_log_create(const struct weir_log_config *config, struct weir_log **ret_log,
                            struct weir_error *err);
// Tells what was left out and nobody has told. NULL is allowed.
void weir_log_destroy(struct weir_log *log);

bool weir_log_enabled(const struct weir_log *log, enum weir_log_level level);

// Writes one line. `message` is a short constant sentence, which lives as long as the log; what
// varies is in the fields. log may be NULL: nothing is written. Any thread; waits at most
// WEIR_LOG_WAIT_MS.
void weir_log_write(struct weir_log *log, enum weir_log_level level, const char *message,
                    const struct weir_log_field *fields, size_t field_count);
// The same without the rate, and with any message: for what somebody asked to see line by line, as
// the answer of a command, or what a guest says.
void weir_log_write_each(struct weir_log *log, enum weir_log_level level, const char *message,
                         const struct weir_log_field *fields, size_t field_count);

// weir_log(log, WEIR_LOG_WARN, "the directory is gone", {"resource", name}, {"reason", why})
#define weir_log(log, level, message, ...) \
    weir_log_write((log), (level), (message), WEIR_LOG_FIELDS(__VA_ARGS__))
#define weir_log_each(log, level, message, ...) \
    weir_log_write_each((log), (level), (message), WEIR_LOG_FIELDS(__VA_ARGS__))
#define WEIR_LOG_FIELDS(...)                      \
    (const struct weir_log_field[]){__VA_ARGS__}, \
        sizeof((const struct weir_log_field[]){__VA_ARGS__}) / sizeof(struct weir_log_field)

// Becomes readable when something was left out and its window is over: call weir_log_tell_left_out
// then. It is the log's. log may be NULL: -1.
int weir_log_left_out_fd(const struct weir_log *log);
// Writes a line for each message of which lines were left out, if its window is over. Waits as
// weir_log_write does. One thread at a time.
void weir_log_tell_left_out(struct weir_log *log);

// What became of lines since the log was made; lines below its level are none. Any thread, does not
// wait.
struct weir_log_counts {
    uint64_t written[WEIR_LOG_LEVELS]; // those of weir_log_tell_left_out included
    uint64_t left_out;                 // by the rate
    uint64_t dropped;                  // because nobody read
};
void weir_log_counts(const struct weir_log *log, struct weir_log_counts *ret_counts);

// Guests' output on a descriptor: one line of one guest is one write, "[guest] text\n". The text's
// control characters but tab are shown as "\xNN", so that a guest cannot steer a terminal; bytes
// that are not UTF-8 likewise. What is longer than WEIR_OUTPUT_LINE_BYTES_MAX goes on in a further
// line, "..." on both sides of the cut. Any thread; waits at most WEIR_LOG_WAIT_MS for the reader
// in all, then drops the rest of the line. Returns false where something was dropped: the caller
// decides whether the next line may wait as long again.
enum {
    WEIR_OUTPUT_LINE_BYTES_MAX =
        4096, // of one write, all included; at most PIPE_BUF, so that lines never mix
    WEIR_OUTPUT_NAME_BYTES_MAX = 256, // longer names are cut
};
bool weir_output_line(int fd, const char *guest, struct weir_str line);

#endif
