// SPDX-License-Identifier: Apache-2.0
//
// Somebody else who uses a database: SQLite's own shell in a process of its own, that stays.
#ifndef WEIR_TESTS_SUPPORT_SQLITE_SHELL_H
#define WEIR_TESTS_SUPPORT_SQLITE_SHELL_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct sqlite_shell {
    pid_t pid;
    FILE *in, *out;
    unsigned number; // of the statements that were run
};

// Whether this machine has the program.
bool sqlite_shell_is_there(void);
// Opens the file, which it makes where there is none.
void sqlite_shell_open(struct sqlite_shell *shell, const char *path);
void sqlite_shell_close(struct sqlite_shell *shell);

// Runs statements, in the printf's format, and waits until they are done; fails the test if they
// print something. "%s" is put in as it is: quote it.
void sqlite_shell_run(struct sqlite_shell *shell, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// The same, and returns what the first row prints, without its end. It lives until the next call.
const char *sqlite_shell_ask(struct sqlite_shell *shell, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// The same, of statements that may fail: what they print, an error's text too.
const char *sqlite_shell_try(struct sqlite_shell *shell, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
