// SPDX-License-Identifier: Apache-2.0
//
// The lock file. It tells three things: who has the folder (flock, and the process's id as text for
// whoever is refused), the number of the last commit that was durable, and whether its writer ended
// in order. The number is what SQLite cannot know: a WAL whose end was cut off, or that is not
// there any more, is for SQLite a WAL with fewer commits, and the database opens without a word.
//
// - The number is written after a commit is durable, never before, so it is never too high. It may
//   be too low, after a crash between the two, or of the whole machine: it is not synced.
// - There are two slots, written in turn, each with its own check: whatever happens while one is
//   written, the other holds the commit before. A slot that is not right counts as none.
// - It is one pwrite into the page cache (half a microsecond, beside a commit's milliseconds),
// which
//   survives the process as a mapped page does. Mapping it was the first idea and is worse: where
//   the disk is full or somebody cuts the file, a store into the page is a SIGBUS, and a call only
//   an error.
// - flock, not fcntl: SQLite's own locks are of the latter kind, and a process loses those of a
// file
//   when it closes any descriptor of it.
//
// The writer's thread, or whoever reads; nothing is shared in memory.
#include "state/mark.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    PID_BYTES = 32, // at the file's start: digits, spaces, a line's end
    SLOT_COUNT = 2,
    LOCK_TRIES_MAX = 16, // of locking a file that somebody removes at the same time
};
#define SLOT_MAGIC UINT64_C(0x6b72616d72696577) // "weirmark", as it stands in the file

// As it is in the file, little-endian.
struct slot {
    uint64_t magic, number, is_closed_in_order, check;
};

struct file {
    char pid[PID_BYTES];
    struct slot slots[SLOT_COUNT];
};

static uint64_t check_of(const struct slot *slot) {
    return htole64(XXH3_64bits(slot, offsetof(struct slot, check)));
}

static bool is_right(const struct slot *slot) {
    return slot->magic == htole64(SLOT_MAGIC) && slot->check == check_of(slot);
}

// The newest slot that is right; -1: none is.
static int newest(const struct file *file) {
    int found = -1;
    for (int i = 0; i < SLOT_COUNT; i++) {
        // The last of equal numbers is the one that was closed.
        const struct slot *slot = &file->slots[i], *best = found < 0 ? NULL : &file->slots[found];
        if (is_right(slot) && (!best || le64toh(slot->number) > le64toh(best->number) ||
                               (slot->number == best->number && slot->is_closed_in_order))) {
            found = i;
        }
    }
    return found;
}

static struct weir_mark_value value_of(const struct file *file) {
    int found = newest(file);
    if (found < 0) {
        return (struct weir_mark_value){0};
    }
    return (struct weir_mark_value){
        .number = le64toh(file->slots[found].number),
        .is_closed_in_order = file->slots[found].is_closed_in_order != 0,
    };
}

// A file that is short is one without slots.
static bool read_file(int fd, struct file *ret_file) {
    memset(ret_file, 0, sizeof *ret_file);
    ssize_t got;
    do { // ends: a signal does not come for ever
        got = pread(fd, ret_file, sizeof *ret_file, 0);
    } while (got < 0 && errno == EINTR);
    return got >= 0;
}

static bool write_at(int fd, const void *bytes, size_t size, off_t at) {
    ssize_t written;
    do { // as above
        written = pwrite(fd, bytes, size, at);
    } while (written < 0 && errno == EINTR);
    if (written >= 0 && (size_t)written != size) {
        errno = ENOSPC;
    }
    return written == (ssize_t)size;
}

static weir_status fail_held(int fd, const char *path, struct weir_error *err) {
    struct file file;
    char *end;
    long pid = 0;
    if (read_file(fd, &file)) {
        file.pid[PID_BYTES - 1] = '\0';
        pid = strtol(file.pid, &end, 10);
    }
    if (pid <= 0) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "another weir has %s: stop it, or give this one another folder", path);
    }
    return weir_fail(err, WEIR_UNAVAILABLE,
                     "another weir, process %ld, has %s: stop it, or give this one another folder",
                     pid, path);
}

static weir_status fail_system(int code, const char *what, const char *path,
                               struct weir_error *err) {
    // Whatever the system says, somebody can put it right and weir tries again.
    weir_fail_errno(err, code, "cannot %s %s", what, path);
    if (err) {
        err->status = WEIR_UNAVAILABLE;
    }
    return WEIR_UNAVAILABLE;
}

// Whether the path still names the file that is open; if not, the lock is on nothing.
static bool is_named(int fd, const char *path) {
    struct stat of_fd, of_path;
    return fstat(fd, &of_fd) == 0 && stat(path, &of_path) == 0 && of_fd.st_ino == of_path.st_ino &&
           of_fd.st_dev == of_path.st_dev;
}

static weir_status lock(const char *path, int *ret_fd, struct weir_error *err) {
    for (int tries = 0; tries < LOCK_TRIES_MAX; tries++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        if (fd < 0) {
            return fail_system(errno, "open", path, err);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int code = errno;
            weir_status status = code == EWOULDBLOCK ? fail_held(fd, path, err)
                                                     : fail_system(code, "lock", path, err);
            close(fd);
            return status;
        }
        if (is_named(fd, path)) {
            fchmod(fd, 0600); // whatever the umask took away; what is not ours to change may stay
            *ret_fd = fd;
            return WEIR_OK;
        }
        close(fd);
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "cannot lock %s: somebody removes it again and again",
                     path);
}

weir_status weir_mark_take(struct weir_mark *mark, const char *path, struct weir_error *err) {
    *mark = (struct weir_mark){.fd = -1};
    int fd = -1;
    weir_status status = lock(path, &fd, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct file file;
    char pid[PID_BYTES + 1];
    snprintf(pid, sizeof pid, "%-*ld\n", PID_BYTES - 1, (long)getpid());
    if (!read_file(fd, &file)) {
        status = fail_system(errno, "read", path, err);
    } else if (!write_at(fd, pid, PID_BYTES, 0)) {
        status = fail_system(errno, "write", path, err);
    }
    if (status != WEIR_OK) {
        close(fd);
        return status;
    }
    *mark = (struct weir_mark){
        .fd = fd, .next_slot = newest(&file) == 0 ? 1 : 0, .last = value_of(&file)};
    return WEIR_OK;
}

bool weir_mark_set(struct weir_mark *mark, uint64_t number, bool is_closed_in_order) {
    struct slot slot = {.magic = htole64(SLOT_MAGIC),
                        .number = htole64(number),
                        .is_closed_in_order = htole64(is_closed_in_order)};
    slot.check = check_of(&slot);
    off_t at = (off_t)(offsetof(struct file, slots) + (size_t)mark->next_slot * sizeof slot);
    if (!write_at(mark->fd, &slot, sizeof slot, at)) {
        return false; // the same slot is tried next, the other one stays
    }
    mark->next_slot = (mark->next_slot + 1) % SLOT_COUNT;
    mark->last =
        (struct weir_mark_value){.number = number, .is_closed_in_order = is_closed_in_order};
    return true;
}

void weir_mark_release(struct weir_mark *mark) {
    if (mark->fd >= 0) {
        close(mark->fd);
    }
    mark->fd = -1;
}

weir_status weir_mark_read(const char *path, struct weir_mark_value *ret_value,
                           struct weir_error *err) {
    *ret_value = (struct weir_mark_value){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? WEIR_OK : fail_system(errno, "open", path, err);
    }
    struct file file;
    weir_status status = WEIR_OK;
    if (read_file(fd, &file)) {
        *ret_value = value_of(&file);
    } else {
        status = fail_system(errno, "read", path, err);
    }
    close(fd);
    return status;
}
