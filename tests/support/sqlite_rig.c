// SPDX-License-Identifier: Apache-2.0
//
// See sqlite_rig.h. The test's thread only.
#include "support/sqlite_rig.h"

#include "observe/log.h"
#include "provider/sqlite/sqlite.h"
#include "unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct weir_limits sqlite_rig_limits = {.value_bytes_max = 1 << 24, .until_ns = INT64_MAX};

int sqlite_rig_setup(void **state) {
    struct weir_error err;
    struct sqlite_rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    *state = rig;
    test_folder_init(&rig->folder);
    test_path(&rig->folder, "shop.db", rig->path);
    test_sink_init(&rig->sink);
    assert_ok(weir_options_init(&weir_sqlite_provider.options, &rig->options, &err));
    rig->options.path = strdup(rig->path);
    assert_non_null(rig->options.path);
    rig->options.install = true;
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(rig->log_fd >= 0);
    struct weir_log_config config = {.fd = rig->log_fd, .level = WEIR_LOG_DEBUG};
    assert_ok(weir_log_create(&config, &rig->log, &err));
    if (sqlite_shell_is_there()) {
        sqlite_shell_open(&rig->shell, rig->path);
        sqlite_shell_ask(&rig->shell, "PRAGMA journal_mode = WAL");
    }
    return 0;
}

int sqlite_rig_teardown(void **state) {
    struct sqlite_rig *rig = *state;
    weir_sqlite_provider.close(rig->resource);
    weir_options_finish(&weir_sqlite_provider.options, &rig->options);
    sqlite_shell_close(&rig->shell);
    weir_log_destroy(rig->log);
    close(rig->log_fd);
    test_sink_finish(&rig->sink);
    test_folder_finish(&rig->folder);
    free(rig);
    return 0;
}

struct sqlite_rig *sqlite_rig_of(void **state) {
    struct sqlite_rig *rig = *state;
    if (rig->shell.pid == 0) {
        skip();
    }
    return rig;
}

void sqlite_rig_open(struct sqlite_rig *rig) {
    struct weir_error err;
    const struct weir_resource_args args = {
        .name = "shop", .options = &rig->options, .log = rig->log};
    assert_ok(weir_sqlite_provider.open(&args, &rig->resource, &err));
}

void sqlite_rig_reopen(struct sqlite_rig *rig) {
    weir_sqlite_provider.close(rig->resource);
    rig->resource = NULL;
    sqlite_rig_open(rig);
}

void sqlite_rig_use_kv(struct sqlite_rig *rig) {
    free(rig->options.kv);
    rig->options.kv = strdup("pairs");
    assert_non_null(rig->options.kv);
}

weir_status sqlite_rig_try_watch(struct sqlite_rig *rig, const struct sqlite_rig_watch *wanted,
                                 struct weir_watch **ret_watch, struct weir_error *err) {
    struct weir_resume resume = {.position = wanted->position};
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(wanted->key)),
        .sink = test_sink_of(wanted->sink ? wanted->sink : &rig->sink),
        .name = wanted->name,
        .event_bytes_max =
            wanted->event_bytes_max ? wanted->event_bytes_max : SQLITE_RIG_EVENT_BYTES_MAX,
        .resume = wanted->position.size > 0 ? &resume : NULL,
    };
    return weir_sqlite_provider.watch(rig->resource, &args, ret_watch, err);
}

struct weir_watch *sqlite_rig_watch_as(struct sqlite_rig *rig,
                                       const struct sqlite_rig_watch *wanted) {
    struct weir_error err;
    struct weir_watch *watch;
    assert_ok(sqlite_rig_try_watch(rig, wanted, &watch, &err));
    return watch;
}

struct weir_watch *sqlite_rig_watch(struct sqlite_rig *rig, const char *key) {
    return sqlite_rig_watch_as(rig, &(struct sqlite_rig_watch){.key = key});
}

const struct weir_event *sqlite_rig_expect(struct sqlite_rig *rig, const char *type,
                                           const char *key, const char *data) {
    const struct weir_event *event = test_sink_next(&rig->sink);
    struct weir_str ty = event->fields.ty;
    struct weir_str got = event->fields.data.value.bytes;
    size_t size = strlen(type);
    bool is_type = ty.size > size && memcmp(ty.data + ty.size - size, type, size) == 0;
    if (!is_type || !weir_str_equal(event->key, weir_str_of(key)) ||
        !weir_str_equal(got, weir_str_of(data))) {
        fail_msg("wanted: %s %s %s; came: %.*s %.*s %.*s", type, key, data, WEIR_STR_ARG(ty),
                 WEIR_STR_ARG(event->key), WEIR_STR_ARG(got));
    }
    return event;
}

const struct weir_event *sqlite_rig_expect_gap(struct sqlite_rig *rig, const char *reason) {
    const struct weir_event *event = test_sink_next(&rig->sink);
    struct weir_str data = event->fields.data.value.bytes;
    if (!event->is_gap || !memmem(data.data, data.size, reason, strlen(reason))) {
        fail_msg("wanted: a gap, %s; came: %.*s %.*s %.*s", reason, WEIR_STR_ARG(event->fields.ty),
                 WEIR_STR_ARG(event->key), WEIR_STR_ARG(data));
    }
    return event;
}

bool sqlite_rig_has_logged(struct sqlite_rig *rig, const char *text) {
    static char buffer[1 << 20];
    ssize_t size = pread(rig->log_fd, buffer, sizeof buffer - 1, 0);
    return size > 0 && memmem(buffer, (size_t)size, text, strlen(text));
}
