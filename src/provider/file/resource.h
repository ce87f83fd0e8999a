// SPDX-License-Identifier: Apache-2.0
//
// What the rooms of the file provider share: the options and the opened resource. Private to
// src/provider/file/.
#ifndef WEIR_PROVIDER_FILE_RESOURCE_H
#define WEIR_PROVIDER_FILE_RESOURCE_H

#include "provider/provider.h"

#include <pthread.h>
#include <stdatomic.h>

struct weir_file_watcher;

// Described by the option table in file.c.
struct weir_file_options {
    char *path;
    bool create;
    uint64_t keys_max;        // of one watch
    uint64_t directories_max; // of one resource
    int64_t rescan_ns;        // 0: never
};

struct weir_file_resource {
    struct weir_resource base;
    struct weir_file_options options; // a copy of its own; constant
    struct weir_log *log;             // borrowed
    atomic_uint_fast64_t temp_number; // of the next temporary file
    atomic_bool is_chain_loss_told;   // it was logged that the file system keeps no chains

    pthread_mutex_t watcher_lock;      // guards the making of `watcher`
    struct weir_file_watcher *watcher; // owned; NULL until the first watch
};

// Opens the resource's directory anew, so that one that was removed and made again is found.
// Returns the descriptor in *ret_fd, or the error with the path and what to do.
weir_status weir_file_resource_root(const struct weir_file_resource *resource, int *ret_fd,
                                    struct weir_error *err);

// store.c; as struct weir_provider has them.
weir_status weir_file_get(struct weir_resource *base, struct weir_str key, uint64_t value_bytes_max,
                          struct weir_value *ret_value, struct weir_error *err);
weir_status weir_file_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                          struct weir_error *err);
// As weir_file_set, by whoever holds the lock for itself.
weir_status weir_file_set_locked(struct weir_resource *base, struct weir_str key,
                                 struct weir_str value, struct weir_error *err);
weir_status weir_file_remove(struct weir_resource *base, struct weir_str key,
                             struct weir_error *err);
weir_status weir_file_publish(struct weir_resource *base, struct weir_event *event,
                              struct weir_error *err);
weir_status weir_file_list(struct weir_resource *base, const struct weir_pattern *pattern,
                           bool (*each)(void *context, struct weir_str key), void *context,
                           struct weir_error *err);

// update.c
weir_status weir_file_update(struct weir_resource *base, struct weir_str key,
                             uint64_t value_bytes_max, const struct weir_change *change,
                             struct weir_error *err);
// Locks the directory against updates, or, exclusively, against whoever changes it through weir;
// closing *ret_fd ends that. WEIR_UNAVAILABLE: others have held it for too long.
weir_status weir_file_lock(int root_fd, bool is_exclusive, int *ret_fd, struct weir_error *err);

// How weir names its temporary files. They begin with '.', which no coded key does.
#define WEIR_FILE_TEMP_PREFIX ".weir-tmp-"

// watch.c; likewise.
weir_status weir_file_watch(struct weir_resource *base, const struct weir_watch_args *args,
                            struct weir_watch **ret_watch, struct weir_error *err);
void weir_file_unwatch(struct weir_watch *watch);
void weir_file_resume(struct weir_watch *watch);

// Ends the watcher's thread and frees the watcher. NULL is allowed. Waits at most
// WEIR_FILE_CLOSE_WAIT_MS: a thread that a dead file system holds is left to end and free by
// itself, and calls nobody any more.
void weir_file_watcher_destroy(struct weir_file_watcher *watcher);
enum { WEIR_FILE_CLOSE_WAIT_MS = 1000 };

#endif
