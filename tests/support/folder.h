// SPDX-License-Identifier: Apache-2.0
//
// A directory of a test's own, and writers that are not weir: plain POSIX calls, or a shell in a
// process of its own.
#ifndef WEIR_TESTS_SUPPORT_FOLDER_H
#define WEIR_TESTS_SUPPORT_FOLDER_H

#include "base/str.h"

#include <stddef.h>
#include <sys/types.h>

enum { TEST_PATH_BYTES = 512 };

struct test_folder {
    char path[TEST_PATH_BYTES];
};

// A new empty directory under $TMPDIR or /tmp.
void test_folder_init(struct test_folder *folder);
// The same in memory, where there is such a file system with room: files are made ten times as
// quickly there, and a process that is killed loses no more.
void test_folder_init_quick(struct test_folder *folder);
// Removes it with all that is in it.
void test_folder_finish(struct test_folder *folder);

// The path of a name in the folder, in a buffer of at least TEST_PATH_BYTES. Returns `buffer`.
const char *test_path(const struct test_folder *folder, const char *name, char *buffer);

// These fail the test if the system does not do it. The name is a path relative to the folder.
void test_write(const struct test_folder *folder, const char *name, const char *value); // in place
void test_write_bytes(const struct test_folder *folder, const char *name, struct weir_str value);
void test_replace(const struct test_folder *folder, const char *name,
                  const char *value); // by rename
void test_remove(const struct test_folder *folder, const char *name);
void test_mkdir(const struct test_folder *folder, const char *name);
void test_rename(const struct test_folder *folder, const char *from, const char *to);
int test_open(const struct test_folder *folder, const char *name, int flags);

// Runs a command with sh in the folder and waits for it; fails the test if it does not exit 0.
void test_shell(const struct test_folder *folder, const char *command);

// How many descriptors and threads this process has.
size_t test_count_fds(void);
size_t test_count_threads(void);

#endif
