// SPDX-License-Identifier: Apache-2.0
//
// get, set, remove, publish and list. Nothing here is shared between calls, so they need no lock
// among each other: what keeps two writers of one key apart is rename(2), and the later one wins.
//
// set is all or nothing, and durable when it returns: the value goes to a temporary file in the
// same directory, is flushed, and renamed over the key; then the directory is flushed, because a
// rename too is only a write to it. The same directory, and not one place for all temporary files:
// a file then gets the group and the default ACL of the place that it is for, and the rename never
// crosses a mount. A replaced file's mode and, as far as the system lets us, its owner are kept:
// another program may depend on being able to read it.
//
// remove leaves the directories that the key was in. An empty directory is not a key, so where one
// is in the way of a new key it is removed; taking it away at once would race with a set that is
// about to put a file into it.
//
// publish is set and remove under other rules: what fails now may do later, so its failures are
// told apart by whether it is worth trying again. What is wrong with the event stays wrong; a full
// disk, a missing directory or right does not.
//
// Any thread; calls block as long as the file system does.
#include "provider/file/access.h"
#include "provider/file/chain.h"
#include "provider/file/key.h"
#include "provider/file/resource.h"

#include "base/show.h"
#include "observe/log.h"
#include "provider/subject.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    READ_TRIES_MAX = 4,   // of a value that changes while it is read
    TEMP_TRIES_MAX = 100, // of names for a temporary file
    PARENT_TRIES_MAX = 4, // of a set whose directory somebody removes at the same time
    NAMES_AT_FIRST = 64,  // room for names of a listed directory; doubles
};

static struct weir_file_resource *resource_of(struct weir_resource *base) {
    return (struct weir_file_resource *)base;
}

static weir_status no_key(struct weir_str key, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "no key \"%s\"", weir_show(key, shown, sizeof shown));
}

// "cannot WHAT the key "KEY": CAUSE".
static weir_status fail_key(struct weir_error *err, int code, const char *what,
                            struct weir_str key) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail_errno(err, code, "cannot %s the key \"%s\"", what,
                           weir_show(key, shown, sizeof shown));
}

// ---- get ----

// Reads a file of the size in `st`. Returns false where it was changed meanwhile; then nothing is
// kept. *ret_code is 0 or an errno value.
static bool read_stable(int fd, const struct stat *st, struct weir_value *ret_value,
                        int *ret_code) {
    size_t size = (size_t)st->st_size;
    *ret_code = 0;
    char *data = malloc(size + 1); // one more: never of no size, and a file that grew is noticed
    if (!data) {
        *ret_code = ENOMEM;
        return true;
    }
    ssize_t got = weir_file_read(fd, data, size + 1);
    struct stat after;
    if (got < 0 || fstat(fd, &after) < 0) {
        *ret_code = got < 0 ? (int)-got : errno;
        free(data);
        return true;
    }
    struct weir_file_stamp stamps[] = {weir_file_stamp_of(st), weir_file_stamp_of(&after)};
    if ((size_t)got != size || !weir_file_stamp_same_content(&stamps[0], &stamps[1])) {
        free(data);
        return false;
    }
    *ret_value = (struct weir_value){.data = data, .size = size};
    return true;
}

weir_status weir_file_get(struct weir_resource *base, struct weir_str key, uint64_t value_bytes_max,
                          struct weir_value *ret_value, struct weir_error *err) {
    *ret_value = (struct weir_value){0};
    struct weir_file_path path;
    weir_status status = weir_file_key_encode(key, &path, err);
    if (status) {
        return status;
    }
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    status = weir_file_resource_root(resource_of(base), &root_fd, err);
    if (status) {
        return status;
    }
    for (int tries = 0; tries < READ_TRIES_MAX; tries++) {
        // Opened anew each time: a writer who renames has put another file there.
        WEIR_FILE_AUTO_CLOSE int fd = weir_file_open(root_fd, path.text, O_RDONLY, 0);
        struct stat st;
        if (fd < 0) {
            return weir_file_is_absence(-fd) ? no_key(key, err) : fail_key(err, -fd, "read", key);
        }
        if (fstat(fd, &st) < 0) {
            return fail_key(err, errno, "read", key);
        }
        if (!S_ISREG(st.st_mode)) {
            return no_key(key, err);
        }
        if ((uint64_t)st.st_size > value_bytes_max) {
            char shown[WEIR_SHOW_BYTES];
            return weir_fail(
                err, WEIR_LIMIT,
                "the value of the key \"%s\" has %lld bytes; the most here is %" PRIu64,
                weir_show(key, shown, sizeof shown), (long long)st.st_size, value_bytes_max);
        }
        int code;
        if (read_stable(fd, &st, ret_value, &code)) {
            return code ? fail_key(err, code, "read", key) : WEIR_OK;
        }
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_UNAVAILABLE,
                     "the key \"%s\" is being written all the time; try again, or let its writer "
                     "write another file and rename it",
                     weir_show(key, shown, sizeof shown));
}

// ---- set ----

// The path of the directory that a key's file is in, by ending the key's own path before its last
// segment.
static const char *cut_parent(struct weir_file_path *path) {
    if (path->name_at == 0) {
        return ".";
    }
    path->text[path->name_at - 1] = '\0';
    return path->text;
}

// Makes one directory in the directory fd if it is missing, durably, and opens it. Returns a
// descriptor or -errno.
static int enter_or_make(int fd, const char *name) {
    int inner = weir_file_open(fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (inner != -ENOENT) {
        return inner;
    }
    if (mkdirat(fd, name, 0777) < 0) {
        if (errno != EEXIST) {
            return -errno;
        }
    } else if (fsync(fd) < 0) {
        return -errno;
    }
    return weir_file_open(fd, name, O_RDONLY | O_DIRECTORY, 0);
}

// Opens the directory of a path whose parent was cut off, making what is missing. Returns a
// descriptor or -errno.
static int open_parent(int root_fd, const char *parent) {
    int fd = weir_file_open(root_fd, parent, O_RDONLY | O_DIRECTORY, 0);
    if (fd != -ENOENT) {
        return fd;
    }
    fd = weir_file_open(root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    char name[WEIR_FILE_NAME_BYTES_MAX + 1];
    for (const char *at = parent; fd >= 0 && at;) {
        const char *slash = strchr(at, '/');
        size_t size = slash ? (size_t)(slash - at) : strlen(at);
        memcpy(name, at, size); // fits: the segments were checked when the path was coded
        name[size] = '\0';
        WEIR_FILE_AUTO_CLOSE int outer = fd;
        fd = enter_or_make(outer, name);
        at = slash ? slash + 1 : NULL;
    }
    return fd;
}

// A file that is being written and has no key yet.
struct temp {
    int fd;
    char name[sizeof WEIR_FILE_TEMP_PREFIX + 48];
};

// Returns 0 or an errno value.
static int temp_create(struct weir_file_resource *resource, int parent_fd, struct temp *ret_temp) {
    for (int tries = 0; tries < TEMP_TRIES_MAX; tries++) {
        uint64_t number = atomic_fetch_add(&resource->temp_number, 1);
        snprintf(ret_temp->name, sizeof ret_temp->name, "%s%ld-%" PRIx64, WEIR_FILE_TEMP_PREFIX,
                 (long)getpid(), number);
        ret_temp->fd = weir_file_open(parent_fd, ret_temp->name, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (ret_temp->fd != -EEXIST) {
            return ret_temp->fd < 0 ? -ret_temp->fd : 0;
        }
    }
    return EEXIST;
}

// Gives the new file the mode and, where allowed, the owner of the one that it replaces. Returns 0
// or an errno value.
static int keep_rights(int fd, const struct stat *old) {
    if (fchown(fd, old->st_uid, old->st_gid) < 0 && errno != EPERM) {
        return errno;
    }
    return fchmod(fd, old->st_mode & 07777) < 0 ? errno : 0;
}

// What is to be set.
struct put {
    struct weir_file_resource *resource;
    struct weir_str key, value;
    struct weir_file_chain chain; // of the event that the value is from; empty: of none
    bool is_locked;               // the caller holds the lock for itself
};

static void log_chain_loss(struct weir_file_resource *resource, int code) {
    if (atomic_exchange(&resource->is_chain_loss_told, true)) {
        return;
    }
    const struct weir_log_field fields[] = {
        {"resource", weir_str_of(resource->base.name)},
        {"path", weir_str_of(resource->options.path)},
        {"reason", weir_str_of(strerror(code))},
    };
    weir_log_write(resource->log, WEIR_LOG_WARN,
                   "the file system keeps no extended attributes: chains of events are not carried "
                   "through this resource, and one that feeds itself is not cut",
                   fields, sizeof fields / sizeof fields[0]);
}

// Notes the chain at the file, which has its content already. Returns 0 or an errno value.
static int temp_chain(const struct temp *temp, const struct put *put) {
    if (weir_file_chain_is_empty(&put->chain)) {
        return 0;
    }
    struct stat st;
    if (fstat(temp->fd, &st) < 0) {
        return errno;
    }
    struct weir_file_chain_record record = {
        .chain = put->chain,
        .hash = XXH3_64bits(put->value.data, put->value.size),
        .mtime_ns = weir_file_stamp_of(&st).mtime_ns,
    };
    int code = weir_file_chain_write(temp->fd, &record);
    if (code == ENOTSUP || code == EPERM || code == EACCES) {
        log_chain_loss(put->resource, code);
        return 0;
    }
    return code;
}

// Writes, flushes and closes the file. Returns 0 or an errno value.
static int temp_fill(struct temp *temp, const struct put *put, const struct stat *old) {
    int code = -weir_file_write(temp->fd, put->value.data, put->value.size);
    if (!code) {
        code = temp_chain(temp, put); // before the rights, which may be none to write
    }
    if (!code && old) {
        code = keep_rights(temp->fd, old);
    }
    if (!code && fsync(temp->fd) < 0) {
        code = errno;
    }
    int fd = temp->fd;
    temp->fd = -1;
    if (close(fd) < 0 && !code && errno != EINTR) {
        code = errno;
    }
    return code;
}

static weir_status fail_in_the_way(struct weir_error *err, struct weir_str key, const char *what) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID, "cannot set the key \"%s\": %s",
                     weir_show(key, shown, sizeof shown), what);
}

// Looks at what stands in the key's place. *ret_exists: a regular file, described in *ret_st. An
// empty directory is removed.
static weir_status clear_place(int parent_fd, const char *name, struct weir_str key,
                               bool *ret_exists, struct stat *ret_st, struct weir_error *err) {
    *ret_exists = false;
    if (fstatat(parent_fd, name, ret_st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? WEIR_OK : fail_key(err, errno, "set", key);
    }
    if (S_ISREG(ret_st->st_mode)) {
        *ret_exists = true;
        return WEIR_OK;
    }
    if (!S_ISDIR(ret_st->st_mode)) {
        return fail_in_the_way(err, key,
                               "something is there that is no regular file; remove it first");
    }
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        return WEIR_OK;
    }
    return errno == ENOTEMPTY || errno == EEXIST
               ? fail_in_the_way(err, key,
                                 "there are keys that go on with \"/\" behind it, and a "
                                 "name cannot be a file and a directory")
               : fail_key(err, errno, "set", key);
}

// Puts the value in the place of the name. *ret_code is ENOENT where the directory is gone, so that
// it is worth trying again; otherwise the status tells.
static weir_status replace(const struct put *put, int parent_fd, const char *name, int *ret_code,
                           struct weir_error *err) {
    struct weir_str key = put->key;
    *ret_code = 0;
    struct stat old;
    bool exists;
    weir_status status = clear_place(parent_fd, name, key, &exists, &old, err);
    if (status) {
        return status;
    }
    struct temp temp;
    int code = temp_create(put->resource, parent_fd, &temp);
    if (code) {
        *ret_code = code;
        return fail_key(err, code, "set", key);
    }
    code = temp_fill(&temp, put, exists ? &old : NULL);
    if (!code && renameat(parent_fd, temp.name, parent_fd, name) < 0) {
        code = errno;
    }
    if (code) {
        unlinkat(parent_fd, temp.name, 0);
        *ret_code = code;
        return fail_key(err, code, "set", key);
    }
    if (fsync(parent_fd) < 0) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail_errno(err, errno,
                               "the key \"%s\" is set, but may be lost in a power failure",
                               weir_show(key, shown, sizeof shown));
    }
    return WEIR_OK;
}

// Sets a key whose path this is.
static weir_status set_at(const struct put *put, struct weir_file_path *path,
                          struct weir_error *err) {
    struct weir_str key = put->key;
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    WEIR_FILE_AUTO_CLOSE int lock_fd = -1;
    weir_status status = weir_file_resource_root(put->resource, &root_fd, err);
    if (!status && !put->is_locked) {
        status = weir_file_lock(root_fd, false, &lock_fd, err);
    }
    if (status) {
        return status;
    }
    const char *parent = cut_parent(path);
    const char *name = path->text + path->name_at;
    for (int tries = 1;; tries++) {
        WEIR_FILE_AUTO_CLOSE int parent_fd = open_parent(root_fd, parent);
        int code = -parent_fd;
        if (parent_fd == -ENOTDIR) {
            return fail_in_the_way(err, key,
                                   "what stands before a \"/\" in it is a key of its own, and a "
                                   "name cannot be a file and a directory");
        }
        if (parent_fd == -ELOOP) {
            return fail_in_the_way(err, key, "a symbolic link is in its way, and none is followed");
        }
        status = parent_fd < 0 ? fail_key(err, code, "set", key)
                               : replace(put, parent_fd, name, &code, err);
        if (!status || code != ENOENT || tries == PARENT_TRIES_MAX) {
            return status;
        }
    }
}

weir_status weir_file_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                          struct weir_error *err) {
    struct put put = {.resource = resource_of(base), .key = key, .value = value};
    struct weir_file_path path;
    weir_status status = weir_file_key_encode(key, &path, err);
    return status ? status : set_at(&put, &path, err);
}

weir_status weir_file_set_locked(struct weir_resource *base, struct weir_str key,
                                 struct weir_str value, struct weir_error *err) {
    struct put put = {.resource = resource_of(base), .key = key, .value = value, .is_locked = true};
    struct weir_file_path path;
    weir_status status = weir_file_key_encode(key, &path, err);
    return status ? status : set_at(&put, &path, err);
}

// ---- remove ----

// Removes a key whose path beneath root_fd this is. WEIR_NOT_FOUND: there is none, and that is
// durable, as it must be for a removal that is tried again.
static weir_status remove_at(int root_fd, struct weir_str key, struct weir_file_path *path,
                             struct weir_error *err) {
    const char *parent = cut_parent(path);
    const char *name = path->text + path->name_at;
    WEIR_FILE_AUTO_CLOSE int parent_fd = weir_file_open(root_fd, parent, O_RDONLY | O_DIRECTORY, 0);
    struct stat st;
    int code = parent_fd < 0                                            ? -parent_fd
               : fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? errno
               : !S_ISREG(st.st_mode)                                   ? ENOENT
               : unlinkat(parent_fd, name, 0) < 0                       ? errno
                                                                        : 0;
    bool was_there = !weir_file_is_absence(code);
    if (code && was_there) {
        return fail_key(err, code, "remove", key);
    }
    if (parent_fd >= 0 && fsync(parent_fd) < 0) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail_errno(err, errno,
                               "the key \"%s\" is removed, but may be back after a power failure",
                               weir_show(key, shown, sizeof shown));
    }
    return was_there ? WEIR_OK : no_key(key, err);
}

weir_status weir_file_remove(struct weir_resource *base, struct weir_str key,
                             struct weir_error *err) {
    struct weir_file_path path;
    weir_status status = weir_file_key_encode(key, &path, err);
    if (status) {
        return status;
    }
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    WEIR_FILE_AUTO_CLOSE int lock_fd = -1;
    status = weir_file_resource_root(resource_of(base), &root_fd, err);
    if (!status) {
        status = weir_file_lock(root_fd, false, &lock_fd, err);
    }
    return status ? status : remove_at(root_fd, key, &path, err);
}

// ---- publish ----

// What came of an attempt, as publish has to tell it: only what is wrong with the event itself is
// for ever.
static weir_status attempted(weir_status status, struct weir_error *err) {
    if (status == WEIR_OK || status == WEIR_INVALID || status == WEIR_NO_MEMORY) {
        return status;
    }
    if (err) {
        err->status = WEIR_UNAVAILABLE;
    }
    return WEIR_UNAVAILABLE;
}

// A key that is not there is removed already; a resource's directory that is not there tells
// nothing.
static weir_status publish_deletion(const struct weir_file_resource *resource, struct weir_str key,
                                    struct weir_file_path *path, struct weir_error *err) {
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    weir_status status = weir_file_resource_root(resource, &root_fd, err);
    if (!status) {
        status = remove_at(root_fd, key, path, err);
        status = status == WEIR_NOT_FOUND ? WEIR_OK : status;
    }
    return attempted(status, err);
}

weir_status weir_file_publish(struct weir_resource *base, struct weir_event *event,
                              struct weir_error *err) {
    const struct weir_event_fields *fields = &event->fields;
    struct weir_subject_buffer buffer;
    struct weir_file_path path;
    struct weir_str key;
    if (!fields->subject.is_some) {
        return weir_fail(err, WEIR_INVALID,
                         "the event has no subject, which would name the key to set");
    }
    weir_status status = weir_subject_key(fields, &buffer, &key, err);
    if (!status) {
        status = weir_file_key_encode(key, &path, err);
    }
    if (status) {
        return status;
    }
    if (!fields->data.is_some && weir_str_equal(fields->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED))) {
        return publish_deletion(resource_of(base), key, &path, err);
    }
    struct put put = {
        .resource = resource_of(base),
        .key = key,
        .value = fields->data.is_some ? fields->data.value.bytes : WEIR_STR(""),
        .chain = weir_file_chain_of(fields),
    };
    return attempted(set_at(&put, &path, err), err);
}

// ---- list ----

// The names of one directory, decoded, a directory's with '/' behind it: sorted by their bytes they
// are in the order of the keys that they lead to.
struct name {
    char *text; // owned, no terminator
    size_t size;
};

struct names {
    struct name *items;
    size_t count, room;
};

static void names_finish(struct names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i].text);
    }
    free(names->items);
    *names = (struct names){0};
}

// Copies the text. False without memory.
static bool names_add(struct names *names, const char *text, size_t size) {
    if (names->count == names->room) {
        size_t room = names->room ? names->room * 2 : NAMES_AT_FIRST;
        struct name *items = realloc(names->items, room * sizeof *items);
        if (!items) {
            return false;
        }
        names->items = items;
        names->room = room;
    }
    char *copy = malloc(size + 1); // never of no size
    if (!copy) {
        return false;
    }
    memcpy(copy, text, size);
    names->items[names->count++] = (struct name){.text = copy, .size = size};
    return true;
}

static int compare_names(const void *left, const void *right) {
    const struct name *a = left, *b = right;
    size_t common = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->text, b->text, common);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

struct listing {
    const struct weir_file_resource *resource;
    int root_fd;
    const struct weir_pattern *pattern;
    bool (*each)(void *context, struct weir_str key);
    void *context;
    struct weir_error *err;
    bool is_ended; // by `each`
    size_t prefix_size;
    char prefix[WEIR_FILE_PATH_BYTES]; // of the directory that is being listed; decoding never
                                       // makes longer
};

static bool is_directory(int fd, const struct dirent *entry, bool *ret_is_regular) {
    struct stat st;
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN && fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        type = IFTODT(st.st_mode);
    }
    *ret_is_regular = type == DT_REG;
    return type == DT_DIR;
}

static weir_status fail_list(const struct listing *listing, int code) {
    char shown[WEIR_SHOW_BYTES];
    struct weir_str prefix = {.data = listing->prefix, .size = listing->prefix_size};
    return weir_fail_errno(listing->err, code, "cannot list the keys \"%s*\"",
                           weir_show(prefix, shown, sizeof shown));
}

static weir_status collect(const struct listing *listing, DIR *dir, struct names *names) {
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            return errno ? fail_list(listing, errno) : WEIR_OK;
        }
        char segment[WEIR_FILE_NAME_BYTES_MAX + 1];
        size_t size;
        if (!weir_file_name_decode(weir_str_of(entry->d_name), segment, &size)) {
            continue;
        }
        bool is_regular;
        if (is_directory(dirfd(dir), entry, &is_regular)) {
            segment[size++] = '/';
        } else if (!is_regular) {
            continue;
        }
        if (names->count == listing->resource->options.keys_max) {
            return weir_fail(listing->err, WEIR_LIMIT,
                             "a directory holds more than %" PRIu64 " keys; raise keys_max",
                             listing->resource->options.keys_max);
        }
        if (!names_add(names, segment, size)) {
            return weir_fail_no_memory(listing->err, "a list of keys");
        }
    }
}

// Reads the names of the directory of listing->prefix, and closes it before anything is done with
// them: a deep tree must not take a descriptor for each level.
static weir_status read_names(const struct listing *listing, struct names *names) {
    struct weir_str prefix = {.data = listing->prefix, .size = listing->prefix_size};
    struct weir_file_path path;
    weir_status status = weir_file_folder_encode(prefix, &path, listing->err);
    if (status) {
        return status;
    }
    int fd = weir_file_open(listing->root_fd, path.text, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return weir_file_is_absence(-fd) ? WEIR_OK : fail_list(listing, -fd);
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        status = fail_list(listing, errno);
        weir_file_close(&fd);
        return status;
    }
    status = collect(listing, dir, names);
    closedir(dir);
    if (!status && names->count > 1) {
        qsort(names->items, names->count, sizeof names->items[0], compare_names);
    }
    return status;
}

// Lists the directory of listing->prefix. Recursion is bounded by the length of a path: each level
// adds two bytes or more to listing->prefix.
static weir_status list_directory(struct listing *listing) {
    struct names names = {0};
    weir_status status = read_names(listing, &names);
    size_t prefix_size = listing->prefix_size;
    for (size_t i = 0; !status && !listing->is_ended && i < names.count; i++) {
        struct name name = names.items[i];
        if (name.size > sizeof listing->prefix - prefix_size) {
            continue; // no key is that long
        }
        memcpy(listing->prefix + prefix_size, name.text, name.size);
        struct weir_str text = {.data = listing->prefix, .size = prefix_size + name.size};
        const struct weir_pattern *pattern = listing->pattern;
        bool is_inner = name.size > 0 && name.text[name.size - 1] == '/';
        if (!is_inner) {
            listing->is_ended =
                weir_pattern_matches(pattern, text) && !listing->each(listing->context, text);
        } else if (weir_str_has_prefix(pattern->text, text) ||
                   (pattern->is_prefix && weir_str_has_prefix(text, pattern->text))) {
            listing->prefix_size = text.size;
            status = list_directory(listing);
            listing->prefix_size = prefix_size;
        }
    }
    names_finish(&names);
    return status;
}

weir_status weir_file_list(struct weir_resource *base, const struct weir_pattern *pattern,
                           bool (*each)(void *context, struct weir_str key), void *context,
                           struct weir_error *err) {
    struct weir_file_resource *resource = resource_of(base);
    weir_status status = weir_file_pattern_check(pattern, err);
    if (status) {
        return status;
    }
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    status = weir_file_resource_root(resource, &root_fd, err);
    if (status) {
        return status;
    }
    struct listing listing = {
        .resource = resource,
        .root_fd = root_fd,
        .pattern = pattern,
        .each = each,
        .context = context,
        .err = err,
    };
    // Every key that matches is below this directory; what lies beside it need not be read.
    struct weir_str folder = weir_file_folder_of(pattern->text);
    memcpy(listing.prefix, folder.data, folder.size);
    listing.prefix_size = folder.size;
    return list_directory(&listing);
}
