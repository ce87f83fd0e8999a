// SPDX-License-Identifier: Apache-2.0
//
// The provider's table, its options, and the opening and closing of a resource. The other rooms:
// key.c codes keys to paths, access.c opens files, store.c reads and writes values, chain.c notes
// at a file what event it comes from, fingerprint.c what a watch was told, and the watcher is in
// three parts: watch.c (the thread and what others may ask of it), tree.c (directories and
// inotify), reconcile.c (what was delivered, compared with what is there).
//
// A resource holds no descriptor of its directory: every operation opens it by its path. That costs
// a microsecond, and the directory can be unmounted, or removed and made again, while weir runs.
//
// Any thread.
#include "provider/file/file.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/file/access.h"
#include "provider/file/key.h"
#include "provider/file/resource.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const struct weir_option option_rows[] = {
    {
        .name = "path",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_file_options, path),
        .is_required = true,
        .help = "the directory; a file in it is a key, its content the value",
    },
    {
        .name = "create",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_file_options, create),
        .fallback = "true",
        .help = "make the directory if it is missing; its parent must be there",
    },
    {
        .name = "keys_max",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_file_options, keys_max),
        .fallback = "1000000",
        .min = 1,
        .max = 100000000,
        .help = "keys that one watch follows; each takes some 200 bytes of memory",
    },
    {
        .name = "directories_max",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_file_options, directories_max),
        .fallback = "8192",
        .min = 1,
        .max = 10000000,
        .help = "directories and sub-directories that are watched; each takes one inotify watch",
    },
    {
        .name = "rescan",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_file_options, rescan_ns),
        .fallback = "1m",
        .min = 0,
        .max = 24 * 3600 * WEIR_NS_PER_S,
        .help =
            "how often to compare all watched files, for what inotify does not tell; 0 is never",
    },
};

weir_status weir_file_resource_root(const struct weir_file_resource *resource, int *ret_fd,
                                    struct weir_error *err) {
    int fd = weir_file_root_open(resource->options.path);
    if (fd < 0) {
        *ret_fd = -1;
        return weir_fail_errno(err, -fd, "cannot open the directory \"%s\"",
                               resource->options.path);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

static weir_status make_directory(const char *path, struct weir_error *err) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) {
        return WEIR_OK;
    }
    int code = errno;
    return weir_fail_errno(err, code,
                           code == ENOENT
                               ? "cannot make the directory \"%s\"; make its parent first"
                               : "cannot make the directory \"%s\"",
                           path);
}

// Whether the directory can be used in the way that this provider does.
static weir_status check_directory(const struct weir_file_resource *resource,
                                   struct weir_error *err) {
    WEIR_FILE_AUTO_CLOSE int root_fd = -1;
    weir_status status = weir_file_resource_root(resource, &root_fd, err);
    if (status) {
        return status;
    }
    WEIR_FILE_AUTO_CLOSE int fd = weir_file_open(root_fd, ".", O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOSYS || fd == -EPERM) {
        // Container runtimes of 2020 answered EPERM to system calls that they did not know.
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "the system call openat2 is missing or forbidden; the file provider needs "
                         "Linux 5.6 or later, and a sandbox that lets it through");
    }
    if (fd < 0) {
        return weir_fail_errno(err, -fd, "cannot use the directory \"%s\"", resource->options.path);
    }
    return WEIR_OK;
}

static void file_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct weir_file_resource *resource = (struct weir_file_resource *)base;
    weir_file_watcher_destroy(resource->watcher);
    pthread_mutex_destroy(&resource->watcher_lock);
    free(resource->options.path);
    free(resource->base.name);
    free(resource);
}

static weir_status file_open(const struct weir_resource_args *args,
                             struct weir_resource **ret_resource, struct weir_error *err) {
    const struct weir_file_options *options = args->options;
    *ret_resource = NULL;
    struct weir_file_resource *resource = calloc(1, sizeof *resource);
    if (!resource) {
        return weir_fail_no_memory(err, "a resource");
    }
    pthread_mutex_init(&resource->watcher_lock,
                       NULL); // a plain mutex of Linux needs nothing that could fail
    // Another process's numbers differ by its id; this one's start where an earlier process with
    // that id cannot be.
    atomic_init(&resource->temp_number, (uint64_t)weir_clock_wall_ns());
    atomic_init(&resource->is_chain_loss_told, false);
    resource->base.provider = &weir_file_provider;
    resource->log = args->log;
    resource->options = *options;
    resource->options.path = strdup(options->path);
    resource->base.name = strdup(args->name);
    weir_status status = WEIR_OK;
    if (!resource->options.path || !resource->base.name) {
        status = weir_fail_no_memory(err, "a resource");
    }
    if (!status && options->create) {
        status = make_directory(options->path, err);
    }
    if (!status) {
        status = check_directory(resource, err);
    }
    if (status) {
        file_close(&resource->base);
        return status;
    }
    *ret_resource = &resource->base;
    return WEIR_OK;
}

// Files keep no history: between two looks a file may have changed twice, so no watch of theirs is
// every-change.
static weir_status file_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                                struct weir_promise *ret_promise, struct weir_error *err) {
    *ret_promise = (struct weir_promise){.strength = WEIR_LATEST_VALUE,
                                         .capabilities = base->provider->capabilities &
                                                         WEIR_WATCH_CAPABILITIES};
    return weir_file_pattern_check(pattern, err);
}

// Calls into a file system have no time-out: until_ns is for sources that are elsewhere.

static weir_status file_get(struct weir_resource *base, struct weir_str key,
                            const struct weir_limits *limits, struct weir_value *ret_value,
                            struct weir_error *err) {
    return weir_file_get(base, key, limits->value_bytes_max, ret_value, err);
}

static weir_status file_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                            const struct weir_limits *limits, struct weir_error *err) {
    (void)limits;
    return weir_file_set(base, key, value, err);
}

static weir_status file_remove(struct weir_resource *base, struct weir_str key,
                               const struct weir_limits *limits, struct weir_error *err) {
    (void)limits;
    return weir_file_remove(base, key, err);
}

static weir_status file_list(struct weir_resource *base, const struct weir_pattern *pattern,
                             const struct weir_limits *limits, const struct weir_listing *listing,
                             struct weir_error *err) {
    (void)limits;
    return weir_file_list(base, pattern, listing->each, listing->context, err);
}

static weir_status file_update(struct weir_resource *base, struct weir_str key,
                               const struct weir_limits *limits, const struct weir_change *change,
                               struct weir_error *err) {
    return weir_file_update(base, key, limits->value_bytes_max, change, err);
}

const struct weir_provider weir_file_provider = {
    .kind = "file",
    .summary = "a directory: its files are the keys, their content the values",
    .options = {.rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]},
    .options_bytes = sizeof(struct weir_file_options),
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH |
                    WEIR_CAN_COMPARE | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH | WEIR_CAN_UPDATE,
    .open = file_open,
    .close = file_close,
    .get = file_get,
    .set = file_set,
    .remove = file_remove,
    .list = file_list,
    .update = file_update,
    .promise = file_promise,
    .watch = weir_file_watch,
    .unwatch = weir_file_unwatch,
    .resume = weir_file_resume,
    .publish = weir_file_publish,
};
