// SPDX-License-Identifier: Apache-2.0
//
// How the file provider touches the file system: beneath one directory, through no symbolic link,
// regular files only. Blocking calls of the file system; any thread.
#ifndef WEIR_PROVIDER_FILE_ACCESS_H
#define WEIR_PROVIDER_FILE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

// What tells two states of a file apart without reading it.
struct weir_file_stamp {
    uint64_t ino;
    uint64_t size; // bytes
    int64_t mtime_ns, ctime_ns;
};

enum weir_file_lease {
    WEIR_FILE_LEASE_HELD, // nobody has it open for writing, and who wants to waits until it is
                          // closed here
    WEIR_FILE_LEASE_BUSY, // somebody has it open for writing
    WEIR_FILE_LEASE_NONE, // it cannot be told: not the file's owner, or a file system without
                          // leases
};

// Opens a directory by its path in the whole file system, as the base of the paths below. O_PATH:
// it can be used, not read. Returns a descriptor, or -errno.
int weir_file_root_open(const char *path);

// Opens a path beneath root_fd; never through a symbolic link, never outside. flags as for open(2),
// O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added; mode only matters with O_CREAT. Returns a
// descriptor, or -errno: -ELOOP for a symbolic link on the way, -EAGAIN where somebody's write
// lease is in the way.
int weir_file_open(int root_fd, const char *path, int flags, mode_t mode);

// Whether the errno value of weir_file_open means that there is no regular file at the path, and
// not that looking failed.
bool weir_file_is_absence(int code);

struct weir_file_stamp weir_file_stamp_of(const struct stat *st);
bool weir_file_stamp_equal(const struct weir_file_stamp *a, const struct weir_file_stamp *b);
// Equal but for the time at which the inode changed: the same content, unless somebody set the
// modification time back.
bool weir_file_stamp_same_content(const struct weir_file_stamp *a, const struct weir_file_stamp *b);

// Whether a stamp that was read at wall_ns names one content only. File times tick (1 to 10 ms on
// many kernels, more on some file systems): a file that changed just before the stamp was read may
// change again with the same stamp.
bool weir_file_stamp_is_settled(const struct weir_file_stamp *stamp, int64_t wall_ns);

// Takes a read lease on a file that is open for reading; closing the descriptor gives it back.
enum weir_file_lease weir_file_lease_take(int fd);

// Reads until size bytes or the end. Returns the bytes read, or -errno.
ssize_t weir_file_read(int fd, char *buffer, size_t size);

// Writes all of it. Returns 0, or -errno.
int weir_file_write(int fd, const char *data, size_t size);

// Closes it where it is a descriptor, and makes it -1; keeps errno.
void weir_file_close(int *fd);

// __attribute__((cleanup)) for a descriptor.
#define WEIR_FILE_AUTO_CLOSE __attribute__((cleanup(weir_file_close)))

#endif
