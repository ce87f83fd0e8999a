// SPDX-License-Identifier: Apache-2.0
//
// An opened resource of the file provider on a directory of its own, with a sink and a log that can
// be read.
#ifndef WEIR_TESTS_SUPPORT_FILE_RIG_H
#define WEIR_TESTS_SUPPORT_FILE_RIG_H

#include "provider/file/resource.h"
#include "support/folder.h"
#include "support/sink.h"

struct file_rig {
    struct test_folder folder; // the resource's directory is `store` in it
    struct test_folder store;
    struct weir_file_options options; // path is the store's
    struct weir_resource *resource;
    struct test_sink sink;
    struct weir_log *log;
    int log_fd;
};

enum { FILE_RIG_EVENT_BYTES_MAX = 1 << 20 };

// Makes the directory, the sink and the log, and sets the options to their defaults, but for
// rescan, which is 0: a test must not pass because of it.
void file_rig_init(struct file_rig *rig);
// Opens the resource with rig->options.
void file_rig_open(struct file_rig *rig);
void file_rig_finish(struct file_rig *rig);

// For cmocka's set-up and tear-down: *state is a rig, opened.
int file_rig_setup(void **state);
// The same, not opened.
int file_rig_setup_closed(void **state);
int file_rig_teardown(void **state);

struct weir_watch *file_rig_watch(struct file_rig *rig, const char *key);
struct weir_watch *file_rig_watch_into(struct file_rig *rig, const char *key,
                                       struct test_sink *sink);
weir_status file_rig_try_watch(struct file_rig *rig, const char *key, struct weir_watch **ret_watch,
                               struct weir_error *err);

// Whether the log has this text by now, and waiting for it.
bool file_rig_has_logged(struct file_rig *rig, const char *text);
void file_rig_await_log(struct file_rig *rig, const char *text);

#endif
