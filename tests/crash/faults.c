// SPDX-License-Identifier: Apache-2.0
//
// A library that is loaded before all others (LD_PRELOAD) and has calls fail on files of the state
// directory: those whose path has "/.weir/" in it. It also sets the wall clock, and nothing else of
// the process notices it.
//
// What it does stands in the file that WEIR_FAULTS names, which the test writes at any time: words
// such as "write=ENOSPC fsync=EIO clock=-86400". The file is mapped, so that looking costs nothing.
// It has FILE_BYTES; the last 8 count the calls that were made to fail.
//
//   write=ERROR     write, pwrite; SHORT: half of it is written, as the return value says; TORN:
//                   half of it, and the next call fails with EIO
//   fsync=ERROR     fsync, fdatasync
//   truncate=ERROR  ftruncate
//   open=ERROR      open, openat
//   clock=SECONDS   is added to the wall clock
//
// Any thread. What is not made to fail goes to the kernel as it is: asking the linker for the next
// definition allocates, which a sanitizer's allocator, itself a caller, does not bear.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 4096, WORDS_BYTES = FILE_BYTES - 8 };

struct control {
    char words[WORDS_BYTES];
    _Atomic uint64_t hits;
};
_Static_assert(sizeof(struct control) == FILE_BYTES, "the whole file");

static struct control *control;
static atomic_bool is_torn;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("WEIR_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *mapped = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    control = mapped == MAP_FAILED ? NULL : mapped;
}

// The text behind "NAME=", NULL where there is none.
static const char *setting(const char *name) {
    if (!control || control->words[0] == '\0') {
        return NULL;
    }
    size_t size = strlen(name);
    for (const char *at = control->words; (at = strstr(at, name)); at += size) {
        if (at[size] == '=' && (at == control->words || at[-1] == ' ')) {
            return at + size + 1;
        }
    }
    return NULL;
}

static bool is_word(const char *text, const char *word) {
    size_t size = strlen(word);
    return strncmp(text, word, size) == 0 && (text[size] == ' ' || text[size] == '\0');
}

static int error_of(const char *text) {
    static const struct {
        const char *name;
        int code;
    } errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},     {"EMFILE", EMFILE},
                  {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EACCES", EACCES}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (is_word(text, errors[i].name)) {
            return errors[i].code;
        }
    }
    return 0;
}

static bool is_state_path(const char *path) {
    return strstr(path, "/.weir/") || strncmp(path, ".weir/", 6) == 0;
}

static bool is_state_fd(int fd, const char *below) {
    char link[64], path[4096 + 8];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 8);
    if (size < 0) {
        return false;
    }
    snprintf(path + size, 8, "%s", below);
    return is_state_path(path);
}

static int hit(int code) {
    atomic_fetch_add(&control->hits, 1);
    errno = code;
    return -1;
}

// Whether a call on this file is to fail, with errno set.
static bool fails(const char *name, int fd) {
    const char *text = setting(name);
    int code = text ? error_of(text) : 0;
    return code != 0 && is_state_fd(fd, "") && hit(code) < 0;
}

// How much of a write is done: all, half, or -1 with errno.
static ssize_t write_size(int fd, size_t size) {
    const char *text = setting("write");
    if (!text || size == 0 || !is_state_fd(fd, "")) {
        return (ssize_t)size;
    }
    if (is_word(text, "TORN")) {
        if (atomic_exchange(&is_torn, !atomic_load(&is_torn))) {
            return hit(EIO);
        }
        hit(0);
        return (ssize_t)(size / 2 + 1);
    }
    if (is_word(text, "SHORT")) {
        hit(0);
        return (ssize_t)(size / 2 + 1);
    }
    int code = error_of(text);
    return code != 0 ? hit(code) : (ssize_t)size;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t allowed = write_size(fd, size);
    return allowed < 0 ? -1 : syscall(SYS_write, fd, bytes, (size_t)allowed);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    ssize_t allowed = write_size(fd, size);
    return allowed < 0 ? -1 : syscall(SYS_pwrite64, fd, bytes, (size_t)allowed, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return pwrite(fd, bytes, size, at);
}

int fsync(int fd) {
    return fails("fsync", fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    return fails("fsync", fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size) {
    return fails("truncate", fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

static bool open_fails(int folder, const char *path) {
    const char *text = setting("open");
    int code = text ? error_of(text) : 0;
    bool is_state =
        is_state_path(path) || (path[0] != '/' && folder != AT_FDCWD && is_state_fd(folder, "/"));
    return code != 0 && is_state && hit(code) < 0;
}

static int open_next(int folder, const char *path, int flags, mode_t mode) {
    return open_fails(folder, path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

// What the caller gave behind the flags, if it had to give anything.
#define MODE_OF(flags, mode)                                              \
    mode_t mode = 0;                                                      \
    if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode = va_arg(more, mode_t);                                      \
        va_end(more);                                                     \
    }                                                                     \
    _Static_assert(sizeof(mode_t) == sizeof(int), "a mode comes as an int")

int open(const char *path, int flags, ...) {
    MODE_OF(flags, mode);
    return open_next(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags, mode);
    return open_next(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE_OF(flags, mode);
    return open_next(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    MODE_OF(flags, mode);
    return open_next(folder, path, flags, mode);
}

static time_t clock_offset_s(void) {
    const char *text = setting("clock");
    return text ? (time_t)strtoll(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret_time) {
    int result = (int)syscall(SYS_clock_gettime, clock, ret_time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ret_time->tv_sec += clock_offset_s();
    }
    return result;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret_time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret_time) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time) {
        *ret_time = now.tv_sec;
    }
    return now.tv_sec;
}
