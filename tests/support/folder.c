// SPDX-License-Identifier: Apache-2.0
//
// See folder.h. The test's thread only.
#include "support/folder.h"

#include "unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static void make_in(const char *parent, struct test_folder *folder) {
    snprintf(folder->path, sizeof folder->path, "%s/weir-test-XXXXXX", parent);
    assert_non_null(mkdtemp(folder->path));
}

void test_folder_init(struct test_folder *folder) {
    const char *parent = getenv("TMPDIR");
    make_in(parent ? parent : "/tmp", folder);
}

void test_folder_init_quick(struct test_folder *folder) {
    static const uint64_t room_bytes_min = 1 << 30;
    struct statvfs fs;
    if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &fs) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize >= room_bytes_min) {
        make_in("/dev/shm", folder);
    } else {
        test_folder_init(folder);
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *place) {
    (void)st;
    (void)type;
    (void)place;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

void test_folder_finish(struct test_folder *folder) {
    enum { DIRECTORIES_OPEN_MAX = 16 };
    nftw(folder->path, remove_entry, DIRECTORIES_OPEN_MAX, FTW_DEPTH | FTW_PHYS);
}

const char *test_path(const struct test_folder *folder, const char *name, char *buffer) {
    int size = snprintf(buffer, TEST_PATH_BYTES, "%s/%s", folder->path, name);
    assert_in_range(size, 1, TEST_PATH_BYTES - 1);
    return buffer;
}

static void check(bool is_done, const char *what, const char *name) {
    if (!is_done) {
        fail_msg("cannot %s %s: %s", what, name, strerror(errno));
    }
}

int test_open(const struct test_folder *folder, const char *name, int flags) {
    char path[TEST_PATH_BYTES];
    int fd = open(test_path(folder, name, path), flags | O_CLOEXEC, 0666);
    check(fd >= 0, "open", name);
    return fd;
}

void test_write_bytes(const struct test_folder *folder, const char *name, struct weir_str value) {
    int fd = test_open(folder, name, O_WRONLY | O_CREAT | O_TRUNC);
    check(write(fd, value.data, value.size) == (ssize_t)value.size, "write", name);
    check(close(fd) == 0, "close", name);
}

void test_write(const struct test_folder *folder, const char *name, const char *value) {
    test_write_bytes(folder, name, weir_str_of(value));
}

void test_replace(const struct test_folder *folder, const char *name, const char *value) {
    test_write(folder, ".replacement", value);
    test_rename(folder, ".replacement", name);
}

void test_remove(const struct test_folder *folder, const char *name) {
    char path[TEST_PATH_BYTES];
    check(remove(test_path(folder, name, path)) == 0, "remove", name);
}

void test_mkdir(const struct test_folder *folder, const char *name) {
    char path[TEST_PATH_BYTES];
    check(mkdir(test_path(folder, name, path), 0777) == 0, "make", name);
}

void test_rename(const struct test_folder *folder, const char *from, const char *to) {
    char from_path[TEST_PATH_BYTES], to_path[TEST_PATH_BYTES];
    check(rename(test_path(folder, from, from_path), test_path(folder, to, to_path)) == 0, "rename",
          from);
}

void test_shell(const struct test_folder *folder, const char *command) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (chdir(folder->path) == 0) {
            execl("/bin/sh", "sh", "-e", "-c", command, (char *)NULL);
        }
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("sh -c '%s' ended with status 0x%x", command, (unsigned)status);
    }
}

static size_t count_names(const char *path) {
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t count = 0;
    for (const struct dirent *name; (name = readdir(dir));) {
        count += name->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

size_t test_count_fds(void) {
    return count_names("/proc/self/fd");
}

size_t test_count_threads(void) {
    return count_names("/proc/self/task");
}
