// SPDX-License-Identifier: Apache-2.0
//
// Folders as a whole; see folder.h.
#include "project/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WALK_DESCRIPTORS = 16 }; // open at a time while a folder is removed

weir_status weir_folder_temporary(const char *prefix, char **ret_path, struct weir_error *err) {
    char *path;
    if (asprintf(&path, "%sXXXXXX", prefix) < 0) {
        return weir_fail_no_memory(err, "a folder");
    }
    if (!mkdtemp(path)) {
        weir_status status = weir_fail_errno(err, errno, "cannot make the folder %s", path);
        free(path);
        return status;
    }
    *ret_path = path;
    return WEIR_OK;
}

// Makes each folder on the way to the path's last part. The path is written to meanwhile.
static weir_status make_way(char *path, size_t from, struct weir_error *err) {
    for (char *slash = strchr(path + from, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            return weir_fail_errno(err, errno, "cannot make the folder %s", path);
        }
        *slash = '/';
    }
    return WEIR_OK;
}

static weir_status write_content(int fd, const char *path, struct weir_str content,
                                 struct weir_error *err) {
    for (size_t at = 0; at < content.size;) {
        ssize_t written = write(fd, content.data + at, content.size - at);
        if (written < 0 && errno != EINTR) {
            return weir_fail_errno(err, errno, "cannot write %s", path);
        }
        at += written > 0 ? (size_t)written : 0;
    }
    return WEIR_OK;
}

weir_status weir_folder_write(const char *folder, const char *name, struct weir_str content,
                              struct weir_error *err) {
    char path[WEIR_FOLDER_PATH_BYTES];
    int size = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (size < 0 || (size_t)size >= sizeof path) {
        return weir_fail(err, WEIR_LIMIT, "the path %s/%s is too long", folder, name);
    }
    weir_status status = make_way(path, strlen(folder) + 1, err);
    if (status != WEIR_OK) {
        return status;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return weir_fail_errno(err, errno, "cannot make %s", path);
    }
    status = write_content(fd, path, content, err);
    if (close(fd) != 0 && status == WEIR_OK) {
        status = weir_fail_errno(err, errno, "cannot write %s", path);
    }
    return status;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk) {
    (void)about;
    (void)type;
    (void)walk;
    remove(path); // what cannot be removed is left
    return 0;
}

void weir_folder_remove(const char *path) {
    if (path) {
        nftw(path, remove_one, WALK_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    }
}
