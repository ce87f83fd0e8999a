// SPDX-License-Identifier: Apache-2.0
//
// One door to the file system. openat2 lets the kernel hold to "beneath this directory, through no
// symbolic link", in one call and without a race; building the same from openat(O_NOFOLLOW) segment
// by segment costs a call for each directory and is easy to get wrong. It needs Linux 5.6.
//
// Files are opened with O_NONBLOCK and O_NOCTTY and asked afterwards what they are, so that a FIFO
// or a terminal in the directory can neither hold a thread nor do harm.
//
// Leases: a reader who wants no half of a value must know whether somebody is writing, and no stat
// tells: a writer who has opened with O_TRUNC and not written yet looks like a finished empty file.
// F_SETLEASE tells, because the kernel grants a read lease only while nobody has the file open for
// writing, and makes a writer that comes while it is held wait in open(2) until it is given back.
// It is held over one read and given back by closing. Measured on ext4 and tmpfs, as root and as
// the owner: 1.6 us over an open, stat, read and close of 4.3 us. Taking it only as a question and
// comparing two stats around the read instead costs 3.3 us, and still trusts the clock's tick. A
// lease that is broken raises a signal, by default SIGIO, whose default action ends the process;
// SIGURG is ignored by default.
//
// No state here; any thread.
#include "provider/file/access.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPEN_TRIES_MAX = 8,     // of an open that a signal or a rename at the same time disturbed
    SETTLED_AFTER_MS = 100, // see weir_file_stamp_is_settled
    IO_BYTES_MAX = 1 << 30, // of one read(2) or write(2), below the kernel's own bound
};

int weir_file_root_open(const char *path) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int weir_file_open(int root_fd, const char *path, int flags, mode_t mode) {
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    if (!(flags & O_PATH)) { // openat2 refuses flags that would mean nothing
        how.flags |= O_NOCTTY | O_NONBLOCK;
    }
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd >= 0) {
            return (int)fd;
        }
        if ((errno != EINTR && errno != EAGAIN) || tries == OPEN_TRIES_MAX) {
            return -errno;
        }
    }
}

bool weir_file_is_absence(int code) {
    switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:        // a symbolic link
    case EXDEV:        // a way out of the directory
    case ENXIO:        // a socket, or a device without a driver
    case ENODEV:       // likewise
    case ENAMETOOLONG: // more than this file system can hold
        return true;
    default:
        return false;
    }
}

static int64_t ns_of(const struct timespec *time) {
    return (int64_t)time->tv_sec * WEIR_NS_PER_S + time->tv_nsec;
}

struct weir_file_stamp weir_file_stamp_of(const struct stat *st) {
    return (struct weir_file_stamp){
        .ino = (uint64_t)st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_ns = ns_of(&st->st_mtim),
        .ctime_ns = ns_of(&st->st_ctim),
    };
}

bool weir_file_stamp_same_content(const struct weir_file_stamp *a,
                                  const struct weir_file_stamp *b) {
    return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

bool weir_file_stamp_equal(const struct weir_file_stamp *a, const struct weir_file_stamp *b) {
    return weir_file_stamp_same_content(a, b) && a->ctime_ns == b->ctime_ns;
}

bool weir_file_stamp_is_settled(const struct weir_file_stamp *stamp, int64_t wall_ns) {
    // The inode's time cannot be set by a program, unlike the modification time.
    return stamp->ctime_ns < wall_ns - SETTLED_AFTER_MS * WEIR_NS_PER_MS;
}

enum weir_file_lease weir_file_lease_take(int fd) {
    if (fcntl(fd, F_SETSIG, SIGURG) < 0) {
        return WEIR_FILE_LEASE_NONE;
    }
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        return WEIR_FILE_LEASE_HELD;
    }
    return errno == EAGAIN ? WEIR_FILE_LEASE_BUSY : WEIR_FILE_LEASE_NONE;
}

ssize_t weir_file_read(int fd, char *buffer, size_t size) {
    size_t filled = 0;
    while (filled < size) { // ends: each turn reads on, or is disturbed by a signal, or returns
        size_t want = size - filled < IO_BYTES_MAX ? size - filled : IO_BYTES_MAX;
        ssize_t got = read(fd, buffer + filled, want);
        if (got < 0 && errno != EINTR) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        filled += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)filled;
}

int weir_file_write(int fd, const char *data, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t want = size - done < IO_BYTES_MAX ? size - done : IO_BYTES_MAX;
        ssize_t put = write(fd, data + done, want);
        if (put < 0 && errno != EINTR) {
            return -errno;
        }
        if (put == 0) {
            return -EIO; // not for a regular file; never loop on it
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

void weir_file_close(int *fd) {
    if (*fd >= 0) {
        int kept = errno;
        close(*fd);
        errno = kept;
    }
    *fd = -1;
}
