// SPDX-License-Identifier: Apache-2.0
//
// The fixture of the file provider: a directory, and a writer that writes as `echo >` does.
#include "contract/fixture.h"

#include "support/folder.h"
#include "unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void *setup(void) {
    struct test_folder *folder = malloc(sizeof *folder);
    assert_non_null(folder);
    test_folder_init(folder);
    return folder;
}

static void teardown(void *source) {
    test_folder_finish(source);
    free(source);
}

static void options(void *source, void (*set)(void *context, const char *name, const char *text),
                    void *context) {
    const struct test_folder *folder = source;
    set(context, "path", folder->path);
}

static void foreign_set(void *source, const char *key, const char *value) {
    char path[TEST_PATH_BYTES];
    for (const char *slash = strchr(key, '/'); slash; slash = strchr(slash + 1, '/')) {
        test_path(source, key, path);
        path[strlen(path) - strlen(slash)] = '\0';
        mkdir(path, 0777); // or it is there, or the write fails
    }
    test_write(source, key, value);
}

static void foreign_remove(void *source, const char *key) {
    test_remove(source, key);
}

const struct fixture fixture_file = {
    .kind = "file",
    .setup = setup,
    .teardown = teardown,
    .options = options,
    .foreign_set = foreign_set,
    .foreign_remove = foreign_remove,
};
