// SPDX-License-Identifier: Apache-2.0
//
// See file_rig.h. The test's thread only.
#include "support/file_rig.h"

#include "base/clock.h"
#include "observe/log.h"
#include "provider/file/file.h"
#include "unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void file_rig_init(struct file_rig *rig) {
    struct weir_error err;
    *rig = (struct file_rig){.log_fd = -1};
    test_folder_init(&rig->folder);
    test_mkdir(&rig->folder, "store");
    test_path(&rig->folder, "store", rig->store.path);
    test_sink_init(&rig->sink);
    assert_ok(weir_options_init(&weir_file_provider.options, &rig->options, &err));
    rig->options.path = strdup(rig->store.path);
    assert_non_null(rig->options.path);
    rig->options.rescan_ns = 0;
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(rig->log_fd >= 0);
    struct weir_log_config config = {.fd = rig->log_fd, .level = WEIR_LOG_DEBUG};
    assert_ok(weir_log_create(&config, &rig->log, &err));
}

void file_rig_open(struct file_rig *rig) {
    struct weir_error err;
    struct weir_resource_args args = {.name = "store", .options = &rig->options, .log = rig->log};
    assert_ok(weir_file_provider.open(&args, &rig->resource, &err));
}

void file_rig_finish(struct file_rig *rig) {
    weir_file_provider.close(rig->resource);
    weir_options_finish(&weir_file_provider.options, &rig->options);
    weir_log_destroy(rig->log);
    if (rig->log_fd >= 0) {
        close(rig->log_fd);
    }
    test_sink_finish(&rig->sink);
    test_folder_finish(&rig->folder);
}

int file_rig_setup_closed(void **state) {
    struct file_rig *rig = malloc(sizeof *rig);
    assert_non_null(rig);
    file_rig_init(rig);
    *state = rig;
    return 0;
}

int file_rig_setup(void **state) {
    file_rig_setup_closed(state);
    file_rig_open(*state);
    return 0;
}

int file_rig_teardown(void **state) {
    file_rig_finish(*state);
    free(*state);
    return 0;
}

static struct weir_watch_args args_of(const char *key, struct test_sink *sink) {
    return (struct weir_watch_args){
        .pattern = weir_pattern_of(weir_str_of(key)),
        .sink = test_sink_of(sink),
        .event_bytes_max = FILE_RIG_EVENT_BYTES_MAX,
    };
}

weir_status file_rig_try_watch(struct file_rig *rig, const char *key, struct weir_watch **ret_watch,
                               struct weir_error *err) {
    struct weir_watch_args args = args_of(key, &rig->sink);
    return weir_file_provider.watch(rig->resource, &args, ret_watch, err);
}

struct weir_watch *file_rig_watch_into(struct file_rig *rig, const char *key,
                                       struct test_sink *sink) {
    struct weir_error err;
    struct weir_watch *watch;
    struct weir_watch_args args = args_of(key, sink);
    assert_ok(weir_file_provider.watch(rig->resource, &args, &watch, &err));
    return watch;
}

struct weir_watch *file_rig_watch(struct file_rig *rig, const char *key) {
    return file_rig_watch_into(rig, key, &rig->sink);
}

bool file_rig_has_logged(struct file_rig *rig, const char *text) {
    off_t size = lseek(rig->log_fd, 0, SEEK_END);
    assert_true(size >= 0);
    char *lines = malloc((size_t)size + 1);
    assert_non_null(lines);
    ssize_t got = pread(rig->log_fd, lines, (size_t)size, 0);
    lines[got > 0 ? got : 0] = '\0';
    bool is_there = strstr(lines, text) != NULL;
    free(lines);
    return is_there;
}

void file_rig_await_log(struct file_rig *rig, const char *text) {
    WAIT_UNTIL(file_rig_has_logged(rig, text));
}
