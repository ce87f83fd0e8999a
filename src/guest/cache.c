// SPDX-License-Identifier: Apache-2.0
//
// See cache.h. Files are looked at through their descriptors, so that what was checked is what is
// used.
#include "guest/cache.h"

#include "guest/engine.h"
#include "guest/pace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SETTINGS = 1,       // raised with each change of the engine's settings or of weir's own modules
    FILES_MAX = 100000, // that are looked at when room is made
};

#define TEMPORARY_PREFIX ".new-"

// Whether it belongs to this user and nobody else may write to it.
static bool is_ours(const struct stat *info) {
    return info->st_uid == geteuid() && (info->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// Makes a folder and its parents, each for this user alone.
static int make_folders(const char *path) {
    char *copy = strdup(path);
    if (!copy) {
        return ENOMEM;
    }
    int code = 0;
    for (char *slash = copy + 1; code == 0 && *slash; slash++) {
        if (*slash == '/') {
            *slash = '\0';
            code = mkdir(copy, 0700) == 0 || errno == EEXIST ? 0 : errno;
            *slash = '/';
        }
    }
    if (code == 0) {
        code = mkdir(copy, 0700) == 0 || errno == EEXIST ? 0 : errno;
    }
    free(copy);
    return code;
}

weir_status weir_cache_open(const struct weir_cache_config *config, int *ret_fd,
                            struct weir_error *err) {
    *ret_fd = -1;
    if (!config->path) {
        return WEIR_OK;
    }
    int code = make_folders(config->path);
    int fd = code == 0 ? open(config->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        code = code != 0 ? code : errno;
        if (fd >= 0) {
            close(fd);
        }
        return config->is_optional
                   ? WEIR_OK
                   : weir_fail_errno(err, code, "the cache of compiled guests, %s", config->path);
    }
    if (!is_ours(&info)) {
        close(fd);
        return weir_fail(err, WEIR_DENIED,
                         "the cache of compiled guests, %s, belongs to another user, or others may "
                         "write to it: chmod 700 it, or name another one by host.cache",
                         config->path);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

weir_status weir_cache_name(struct weir_str wasm, const char *kind,
                            char ret_name[WEIR_CACHE_NAME_BYTES], struct weir_error *err) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(wasm.data, wasm.size, hash, &size, EVP_sha256(), NULL) != 1) {
        return weir_fail(err, WEIR_OTHER, "SHA-256 fails");
    }
    size_t used = 0;
    for (unsigned i = 0; i < size; i++) {
        used += (size_t)snprintf(ret_name + used, WEIR_CACHE_NAME_BYTES - used, "%02x", hash[i]);
    }
    snprintf(ret_name + used, WEIR_CACHE_NAME_BYTES - used, "-%s-%s-%d", kind,
             weir_engine_version(), SETTINGS);
    return WEIR_OK;
}

int weir_cache_find(int folder_fd, const char *name) {
    struct stat info;
    int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || !is_ours(&info)) {
        close(fd);
        return -1;
    }
    futimens(fd, NULL); // used now; that it fails costs no more than its place
    return fd;
}

int weir_cache_begin(int folder_fd, char ret_temporary[WEIR_CACHE_NAME_BYTES]) {
    static atomic_uint count;
    snprintf(ret_temporary, WEIR_CACHE_NAME_BYTES, TEMPORARY_PREFIX "%ld-%u", (long)getpid(),
             atomic_fetch_add(&count, 1));
    unlinkat(folder_fd, ret_temporary, 0); // of a process of that number that was killed
    return openat(folder_fd, ret_temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

// ---- room

struct entry {
    char name[WEIR_CACHE_NAME_BYTES];
    uint64_t bytes;
    struct timespec used;
};

static int by_use(const void *a, const void *b) {
    const struct timespec *one = &((const struct entry *)a)->used;
    const struct timespec *other = &((const struct entry *)b)->used;
    if (one->tv_sec != other->tv_sec) {
        return one->tv_sec < other->tv_sec ? -1 : 1;
    }
    return (one->tv_nsec > other->tv_nsec) - (one->tv_nsec < other->tv_nsec);
}

// All files; those that nobody finished, too, for they are as old as they look.
static size_t list(int folder_fd, struct entry **ret_entries) {
    size_t count = 0, capacity = 0;
    struct entry *entries = NULL;
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *item;
    while (folder && count < FILES_MAX && (item = readdir(folder))) {
        struct stat info;
        if (strlen(item->d_name) >= WEIR_CACHE_NAME_BYTES || weir_pace_is_its_file(item->d_name) ||
            fstatat(folder_fd, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(info.st_mode)) {
            continue;
        }
        if (count == capacity) {
            capacity = capacity > 0 ? capacity * 2 : 64;
            struct entry *grown = realloc(entries, capacity * sizeof *entries);
            if (!grown) {
                break;
            }
            entries = grown;
        }
        entries[count] = (struct entry){.bytes = (uint64_t)info.st_size, .used = info.st_mtim};
        memcpy(entries[count].name, item->d_name, strlen(item->d_name) + 1);
        count++;
    }
    if (folder) {
        closedir(folder);
    } else if (fd >= 0) {
        close(fd);
    }
    *ret_entries = entries;
    return count;
}

// What a process still uses stays in its memory when its name goes.
static void make_room(int folder_fd, uint64_t bytes_max, const char *newest) {
    struct entry *entries;
    size_t count = list(folder_fd, &entries);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += entries[i].bytes;
    }
    if (bytes > bytes_max && count > 0) {
        qsort(entries, count, sizeof *entries, by_use);
    }
    for (size_t i = 0; i < count && bytes > bytes_max; i++) {
        if (strcmp(entries[i].name, newest) != 0 && unlinkat(folder_fd, entries[i].name, 0) == 0) {
            bytes -= entries[i].bytes;
        }
    }
    free(entries);
}

void weir_cache_end(const struct weir_cache_config *config, int folder_fd, int file_fd,
                    const char *temporary, const char *name, bool is_good) {
    // Durable before it has its name: half of it, after a power failure, would be run.
    bool is_kept =
        is_good && fsync(file_fd) == 0 && renameat(folder_fd, temporary, folder_fd, name) == 0;
    if (is_kept) {
        make_room(folder_fd, config->bytes_max, name);
    } else {
        unlinkat(folder_fd, temporary, 0);
    }
}
