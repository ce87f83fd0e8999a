// SPDX-License-Identifier: Apache-2.0
//
// A value that is read, changed and written as one step. Files have no such thing, so those who
// change them through weir agree on a lock: flock(2) on the resource's directory, exclusive for an
// update and shared for a plain set or remove. It holds between threads, between resources of one
// directory and between processes, since each opens the directory anew, and ends with its process.
// Programs that do not take the lock write between the two, as the provider's page says.
//
// Any thread.
#include "provider/file/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/file/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum {
    LOCK_WAIT_MS = 5000, // for others who hold the lock
    LOCK_PAUSE_US = 200, // between two attempts
};

// What a network file system answers that has no such lock, or not on a directory.
static bool has_no_locks(int code) {
    return code == EBADF || code == ENOLCK || code == EOPNOTSUPP || code == EINVAL;
}

weir_status weir_file_lock(int root_fd, bool is_exclusive, int *ret_fd, struct weir_error *err) {
    int fd = weir_file_open(root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return weir_fail_errno(err, -fd, "cannot open the resource's directory");
    }
    int64_t until_ns = weir_clock_monotonic_ns() + LOCK_WAIT_MS * WEIR_NS_PER_MS;
    int operation = (is_exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
    while (flock(fd, operation) != 0) {
        int code = errno;
        if (has_no_locks(code) && !is_exclusive) {
            break; // then nobody updates
        }
        bool is_held = code == EWOULDBLOCK || code == EINTR;
        if (!is_held || weir_clock_monotonic_ns() > until_ns) {
            close(fd);
            return is_held
                       ? weir_fail(err, WEIR_UNAVAILABLE,
                                   "others have kept the directory locked for %d ms", LOCK_WAIT_MS)
                       : weir_fail_errno(err, code, "cannot lock the resource's directory");
        }
        struct timespec pause = weir_clock_timespec(LOCK_PAUSE_US * INT64_C(1000));
        nanosleep(&pause, NULL);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

// Under the lock.
static weir_status change(struct weir_resource *base, struct weir_str key, uint64_t value_bytes_max,
                          const struct weir_change *change, struct weir_error *err) {
    struct weir_value before, after = {.data = NULL};
    weir_status status = weir_file_get(base, key, value_bytes_max, &before, err);
    bool is_there = status == WEIR_OK;
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        return status;
    }
    struct weir_str current = {.data = before.data, .size = before.size};
    status = change->change(change->context, is_there ? &current : NULL, &after, err);
    if (status == WEIR_OK) {
        status = weir_file_set_locked(
            base, key, (struct weir_str){.data = after.data, .size = after.size}, err);
        free(after.data);
    }
    free(is_there ? before.data : NULL);
    return status;
}

weir_status weir_file_update(struct weir_resource *base, struct weir_str key,
                             uint64_t value_bytes_max, const struct weir_change *wanted,
                             struct weir_error *err) {
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    WEIR_FILE_AUTO_CLOSE int lock_fd = -1;
    weir_status status =
        weir_file_resource_root((const struct weir_file_resource *)base, &root_fd, err);
    if (status == WEIR_OK) {
        status = weir_file_lock(root_fd, true, &lock_fd, err);
    }
    if (status == WEIR_OK) {
        return change(base, key, value_bytes_max, wanted, err);
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_error_prefix(err, status, "updating the key \"%s\"",
                             weir_show(key, shown, sizeof shown));
}
