// SPDX-License-Identifier: Apache-2.0
//
// A database of somebody else's, its shell, and a resource of the sqlite provider on it, with a
// sink and a log that can be read.
#ifndef WEIR_TESTS_SUPPORT_SQLITE_RIG_H
#define WEIR_TESTS_SUPPORT_SQLITE_RIG_H

#include "provider/sqlite/resource.h"
#include "support/folder.h"
#include "support/sink.h"
#include "support/sqlite_shell.h"

struct sqlite_rig {
    struct test_folder folder;
    char path[TEST_PATH_BYTES]; // of the database, in the folder
    struct sqlite_shell shell;
    struct weir_sqlite_options options; // of the resource: rows, installing allowed
    struct weir_resource *resource;     // NULL: not opened
    struct test_sink sink;
    struct weir_log *log;
    int log_fd;
};

enum { SQLITE_RIG_EVENT_BYTES_MAX = 1 << 20 };
extern const struct weir_limits sqlite_rig_limits;

// For cmocka's set-up and tear-down: *state is a rig, whose database has a WAL; not opened.
int sqlite_rig_setup(void **state);
int sqlite_rig_teardown(void **state);
#define SQLITE_RIG_CASE(name) \
    cmocka_unit_test_setup_teardown(name, sqlite_rig_setup, sqlite_rig_teardown)
// Skips the case where this machine has no shell of SQLite's.
struct sqlite_rig *sqlite_rig_of(void **state);

// Opens the resource with rig->options. Closed and opened again is a stop and a start.
void sqlite_rig_open(struct sqlite_rig *rig);
void sqlite_rig_reopen(struct sqlite_rig *rig);

// How a watch is to begin; what is not set is what most want.
struct sqlite_rig_watch {
    const char *key;
    const char *name;
    struct test_sink *sink;   // NULL: the rig's
    struct weir_str position; // to go on behind; empty: it begins
    uint64_t event_bytes_max; // 0: SQLITE_RIG_EVENT_BYTES_MAX
};
weir_status sqlite_rig_try_watch(struct sqlite_rig *rig, const struct sqlite_rig_watch *wanted,
                                 struct weir_watch **ret_watch, struct weir_error *err);
struct weir_watch *sqlite_rig_watch(struct sqlite_rig *rig, const char *key);
struct weir_watch *sqlite_rig_watch_as(struct sqlite_rig *rig,
                                       const struct sqlite_rig_watch *wanted);
// Makes a resource with `kv: pairs` of it.
void sqlite_rig_use_kv(struct sqlite_rig *rig);

// The next event, which has to be of this type (its last word), key and data.
const struct weir_event *sqlite_rig_expect(struct sqlite_rig *rig, const char *type,
                                           const char *key, const char *data);
const struct weir_event *sqlite_rig_expect_gap(struct sqlite_rig *rig, const char *reason);

// Whether the log has this text by now.
bool sqlite_rig_has_logged(struct sqlite_rig *rig, const char *text);

#endif
