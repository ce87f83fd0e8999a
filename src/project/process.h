// SPDX-License-Identifier: Apache-2.0
//
// Other programs, run by weir: the tools of a language, and a `weir run` of `weir dev`. They are
// started from lists of arguments, never through a shell, each in a process group of its own, so
// that it can be ended with all that it has started in turn. If weir dies, the system ends them.
//
// Main thread: a child is ended when the thread that started it ends.
#ifndef WEIR_PROJECT_PROCESS_H
#define WEIR_PROJECT_PROCESS_H

#include "base/error.h"
#include "base/str.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    WEIR_ARGUMENTS_MAX = 1024,                        // of one program
    WEIR_PROCESS_OUTPUT_BYTES_MAX = 64 * 1024 * 1024, // of what is kept of a program's output
    WEIR_PROCESS_GRACE_MS = 5000, // between the request to end and the end by force
};

// Words for a program, or settings of its environment ("NAME=VALUE", or "NAME" to take it away).
// Zeroed before use; the words are owned.
struct weir_arguments {
    char *items[WEIR_ARGUMENTS_MAX + 1]; // ended by NULL
    size_t count;
    bool is_broken; // no memory, or more than there is room for: nothing is run with it
};
void weir_arguments_add(struct weir_arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void weir_arguments_finish(struct weir_arguments *arguments);
// The words in one line, each that a shell would not take as it is in quotes. For a person. To be
// freed; NULL without memory.
char *weir_arguments_shown(const struct weir_arguments *arguments);

// Finds a program in the folders of PATH. A name with a slash is taken as it is. `ret_path` is to
// be freed. False: there is none.
bool weir_program_find(const char *name, char **ret_path);

struct weir_process_args {
    const struct weir_arguments *arguments;   // the first is the program's path
    const struct weir_arguments *environment; // changes to this process's own; NULL: none
    const char *folder;                       // where it runs; NULL: here
    int output_fd;                            // its standard output
    // Signals that are blocked when it begins, so that none is lost before it asks for them; NULL:
    // none is.
    const sigset_t *blocked;
    int64_t grace_ns; // between SIGTERM and SIGKILL; 0: WEIR_PROCESS_GRACE_MS
};

// Zeroed, or as weir_process_end leaves it: there is none.
struct weir_process {
    pid_t pid;
    int pid_fd; // readable when it has ended; valid where pid > 0
    int64_t grace_ns;
};

weir_status weir_process_start(const struct weir_process_args *args,
                               struct weir_process *ret_process, struct weir_error *err);
// Reaps a process that has ended. Returns its status, as waitpid(2) has it.
int weir_process_reap(struct weir_process *process);
// Ends it with all of its group: by SIGTERM, and after its grace by SIGKILL. Returns
// its status.
int weir_process_end(struct weir_process *process);

// Runs a program to its end. A byte to read, or a signal, at stop_fd (-1: none) ends it:
// WEIR_STOPPED. WEIR_OTHER where it fails, with its name and exit status. Where `ret_output` is not
// NULL it gets what the program wrote to its standard output (else that goes to output_fd), with a
// NUL behind it, to be freed.
weir_status weir_process_run(const struct weir_process_args *args, int stop_fd,
                             struct weir_str *ret_output, struct weir_error *err);

#endif
