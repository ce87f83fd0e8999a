// SPDX-License-Identifier: Apache-2.0
//
// Other programs that a test runs. Each is ended by the kernel when the test program ends, however
// that ends, and is waited for at most TEST_WAIT_MS. The test's main thread only: the kernel counts
// the end of the thread that started a program as the end of its parent.
#ifndef WEIR_TESTS_SUPPORT_CHILD_H
#define WEIR_TESTS_SUPPORT_CHILD_H

#include "base/str.h"
#include "support/folder.h"

#include <stdbool.h>
#include <sys/types.h>

enum { TEST_CHILD_ARGUMENTS_MAX = 64, TEST_CHILD_CHILDREN_MAX = 256 };

// Looks for a program: in $WEIR_SERVERS_DIR (a folder that looks like /), where Debian has its
// servers, and in $PATH. False: this machine has none.
bool test_program_find(const char *name, char ret_path[static TEST_PATH_BYTES]);

struct test_child_args {
    const char *program;          // its path
    const char *const *arguments; // without the program's name; NULL is behind the last
    int in_fd, out_fd, err_fd;    // stay the caller's; 0: /dev/null
    // Where the test is root, it runs as nobody, who may yet reach every file: there are programs
    // that refuse to be root.
    bool is_never_root;
};

// Starts it. A program that cannot be executed ends at once with a status that is not 0.
pid_t test_child_start(const struct test_child_args *args);

// Waits until it has ended; fails the test after TEST_WAIT_MS. Returns what waitpid tells.
int test_child_await(pid_t child);

// What a program that has ended left. The texts are NUL-terminated, and may hold more of them.
struct test_run {
    int status; // as of waitpid
    char *out, *err;
    size_t out_size, err_size;
};

// Runs it to its end, with `input` as its standard input. The descriptors of args are not looked
// at.
void test_run_init(struct test_run *run, const struct test_child_args *args, struct weir_str input);
void test_run_finish(struct test_run *run);
bool test_run_is_good(const struct test_run *run); // whether it exited 0

// The state of a process as /proc has it: 'R', 'S', 'T' for one that is stopped, 'Z' …; 0 where it
// is gone.
char test_process_state(pid_t pid);
// Fills in the children of a process, and returns how many.
size_t test_process_children(pid_t pid, pid_t ret_children[static TEST_CHILD_CHILDREN_MAX]);

// Stops a process and its children, waits until none of them runs; has them go on; kills them all
// as no program can notice, and waits until they are gone. The process is this one's child, and is
// reaped.
void test_process_pause(pid_t pid);
void test_process_continue(pid_t pid);
void test_process_kill(pid_t pid);

#endif
