// SPDX-License-Identifier: Apache-2.0
//
// What can fail returns a weir_status; what failed is told in a caller-owned struct weir_error.
//
// A status is for the program (what to do next), a message is for a person (what happened, where,
// and what to do about it). A library function fills the error and returns; only the edge (a
// command, the log, the guest's result) prints it, and prints it once. Passing err == NULL is
// allowed everywhere: the status alone is then returned.
//
// Statuses up to WEIR_OTHER are the cases of the WIT variant `error` in wit/reactive.wit, so that
// what a provider answers reaches a guest unchanged.
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

// X(constant, name as a user reads it, meaning)
#define WEIR_STATUSES(X)                                                                 \
    X(WEIR_OK, "ok", "done")                                                             \
    X(WEIR_NOT_FOUND, "not-found", "no resource, key or handler of that name")           \
    X(WEIR_DENIED, "denied", "no grant, or the system refuses the right")                \
    X(WEIR_INVALID, "invalid", "an argument is malformed")                               \
    X(WEIR_UNSUPPORTED, "unsupported", "it cannot be done, or not as strongly as asked") \
    X(WEIR_UNAVAILABLE, "unavailable", "the other side cannot be reached now")           \
    X(WEIR_LIMIT, "limit", "a bound was reached")                                        \
    X(WEIR_OTHER, "other", "anything else")                                              \
    X(WEIR_NO_MEMORY, "no-memory", "the host has no memory left")                        \
    X(WEIR_AGAIN, "again", "a queue is full: keep it and offer it again when told")      \
    X(WEIR_TRAPPED, "trapped", "the guest broke a rule and its instance is gone")        \
    X(WEIR_STOPPED, "stopped", "weir is stopping")

enum weir_status {
#define X(constant, name, meaning) constant,
    WEIR_STATUSES(X)
#undef X
};
typedef enum weir_status weir_status;

// The longest message; what does not fit is cut at a character and ends in "...".
enum { WEIR_ERROR_MESSAGE_BYTES = 1024 };

struct weir_error {
    weir_status status;
    char message[WEIR_ERROR_MESSAGE_BYTES]; // UTF-8, one line, no final full stop
};

// The status's name, "unsupported" for WEIR_UNSUPPORTED. Never NULL.
const char *weir_status_name(weir_status status);

// Fills err (if there is one) and returns status, so that a failure is one statement: return
// weir_fail(err, ...).
weir_status weir_fail(struct weir_error *err, weir_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
weir_status weir_fail_v(struct weir_error *err, weir_status status, const char *format,
                        va_list args) __attribute__((format(printf, 3, 0)));

// As weir_fail, with a status that fits the errno value, and ": " and strerror(code) behind the
// message.
weir_status weir_fail_errno(struct weir_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts what was being done in front of the message: "prefix: cause". Returns err's status.
weir_status weir_error_prefix(struct weir_error *err, weir_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The host has no memory left while doing `what`.
weir_status weir_fail_no_memory(struct weir_error *err, const char *what);

#endif
