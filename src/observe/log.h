// SPDX-License-Identifier: Apache-2.0
//
// weir's own log: one line for each occurrence, as text for people or as JSON for machines, on a
// descriptor that the caller owns. A line is one write(2), so lines of several threads do not mix.
// A reader that does not read cannot hold weir up: after WEIR_LOG_WAIT_MS the line is dropped and
// counted, and the count is told in the next line that passes.
#ifndef WEIR_OBSERVE_LOG_H
#define WEIR_OBSERVE_LOG_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum weir_log_level { WEIR_LOG_DEBUG, WEIR_LOG_INFO, WEIR_LOG_WARN, WEIR_LOG_ERROR };
enum weir_log_format { WEIR_LOG_TEXT, WEIR_LOG_JSON };

enum {
    WEIR_LOG_LINE_BYTES_MAX = 8192, // longer lines are cut
    WEIR_LOG_FIELDS_MAX = 16,       // fields of one line
    WEIR_LOG_WAIT_MS = 1000,        // how long a line waits for its reader
};

struct weir_log;

struct weir_log_config {
    int fd; // not closed by the log
    enum weir_log_level level;
    enum weir_log_format format;
    bool is_coloured; // text only
};

// A named value of a line. Values are texts; numbers are made with snprintf by the caller.
struct weir_log_field {
    const char *name;
    struct weir_str value;
};

weir_status weir_log_create(const struct weir_log_config *config, struct weir_log **ret_log,
                            struct weir_error *err);
void weir_log_destroy(struct weir_log *log);

bool weir_log_enabled(const struct weir_log *log, enum weir_log_level level);

// Writes one line. `message` is a short constant sentence; what varies is in the fields. log may be
// NULL: nothing is written. Any thread; waits at most WEIR_LOG_WAIT_MS.
void weir_log_write(struct weir_log *log, enum weir_log_level level, const char *message,
                    const struct weir_log_field *fields, size_t field_count);

// weir_log(log, WEIR_LOG_WARN, "the directory is gone", {"resource", name}, {"cause", cause})
#define weir_log(log, level, message, ...)                                                  \
    weir_log_write((log), (level), (message), (const struct weir_log_field[]){__VA_ARGS__}, \
                   sizeof((const struct weir_log_field[]){__VA_ARGS__}) /                   \
                       sizeof(struct weir_log_field))

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
