// SPDX-License-Identifier: Apache-2.0
//
// The fixture of the sqlite provider as a key-value store: a database that somebody else has made,
// and writes with SQLite's own shell.
#include "contract/fixture.h"

#include "support/folder.h"
#include "support/sqlite_shell.h"
#include "unit/test.h"

#include <stdlib.h>

struct source {
    struct test_folder folder;
    struct sqlite_shell shell;
    char path[TEST_PATH_BYTES];
};

static void *setup(void) {
    if (!sqlite_shell_is_there()) {
        return NULL;
    }
    struct source *source = malloc(sizeof *source);
    assert_non_null(source);
    test_folder_init(&source->folder);
    test_path(&source->folder, "shop.db", source->path);
    sqlite_shell_open(&source->shell, source->path);
    sqlite_shell_ask(&source->shell, "PRAGMA journal_mode = WAL");
    sqlite_shell_run(&source->shell,
                     "CREATE TABLE pairs(key TEXT PRIMARY KEY NOT NULL, value BLOB)");
    return source;
}

static void teardown(void *context) {
    struct source *source = context;
    sqlite_shell_close(&source->shell);
    test_folder_finish(&source->folder);
    free(source);
}

static void options(void *context, void (*set)(void *context, const char *name, const char *text),
                    void *set_context) {
    const struct source *source = context;
    set(set_context, "path", source->path);
    set(set_context, "kv", "pairs");
    set(set_context, "install", "true");
}

static void foreign_set(void *context, const char *key, const char *value) {
    struct source *source = context;
    sqlite_shell_run(&source->shell, "INSERT OR REPLACE INTO pairs VALUES('%s', '%s')", key, value);
}

static void foreign_remove(void *context, const char *key) {
    struct source *source = context;
    sqlite_shell_run(&source->shell, "DELETE FROM pairs WHERE key = '%s'", key);
}

static void forget(void *context) {
    struct source *source = context;
    sqlite_shell_run(&source->shell, "DELETE FROM _weir_log");
}

const struct fixture fixture_sqlite = {
    .kind = "sqlite",
    .setup = setup,
    .teardown = teardown,
    .options = options,
    .foreign_set = foreign_set,
    .foreign_remove = foreign_remove,
    .forget = forget,
};
