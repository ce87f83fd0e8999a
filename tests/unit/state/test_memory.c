// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out, weir's and SQLite's, at each allocation in turn: while it is opened, in a
// commit, in the loads and in a check. What fails says so, and is right when it is done again.
#include "unit/failing_malloc.h"
#include "unit/test.h"

#include "support/folder.h"
#include "unit/state/content.h"

#include <malloc.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALLOCATIONS_MAX = 100000 };

// SQLite allocates through these, so that its calls are the test's own.
static void *sqlite_malloc(int size) {
    return malloc((size_t)size);
}
static void sqlite_free(void *block) {
    free(block);
}
static void *sqlite_realloc(void *block, int size) {
    return realloc(block, (size_t)size);
}
static int sqlite_size(void *block) {
    return (int)malloc_usable_size(block);
}
static int sqlite_roundup(int size) {
    return (size + 7) & ~7;
}
static int sqlite_init(void *context) {
    (void)context;
    return SQLITE_OK;
}
static void sqlite_shutdown(void *context) {
    (void)context;
}

struct rig {
    struct test_folder folder, twin_folder;
    struct weir_state *state, *twin; // the twin's memory never runs out
};

static int set_up(void **test_state) {
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    test_folder_init(&rig->folder);
    test_folder_init(&rig->twin_folder);
    assert_int_equal(weir_state_open(rig->folder.path, NULL, &rig->state, NULL), WEIR_OK);
    assert_int_equal(weir_state_open(rig->twin_folder.path, NULL, &rig->twin, NULL), WEIR_OK);
    *test_state = rig;
    return 0;
}

static int tear_down(void **test_state) {
    struct rig *rig = *test_state;
    weir_state_close(rig->state);
    weir_state_close(rig->twin);
    test_folder_finish(&rig->folder);
    test_folder_finish(&rig->twin_folder);
    free(rig);
    return 0;
}

static void assert_as_twin(struct rig *rig) {
    struct content content, wanted;
    struct weir_error err;
    if (content_read(rig->state, &content, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(content_read(rig->twin, &wanted, NULL), WEIR_OK);
    assert_true(content_equal(&content, &wanted));
    content_finish(&content);
    content_finish(&wanted);
}

static void reopen(struct rig *rig) {
    weir_state_close(rig->state);
    rig->state = NULL;
    assert_int_equal(weir_state_open(rig->folder.path, NULL, &rig->state, NULL), WEIR_OK);
}

// Memory that ran out is told as such. SQLite can do without some of what it asks for.
static void assert_told(weir_status status, bool has_failed, const struct weir_error *err) {
    if (status != WEIR_OK && (status != WEIR_NO_MEMORY || !has_failed)) {
        fail_msg("%s: %s", weir_status_name(status), err->message);
    }
}

static void a_commit_is_done_again(void **test_state) {
    struct rig *rig = *test_state;
    bool has_failed = true;
    size_t refused = 0;
    for (uint64_t round = 0; has_failed; round++) {
        assert_true(round < ALLOCATIONS_MAX);
        struct sample_batch sample;
        struct weir_error err;
        bool is_first = round % 2 == 0; // commit of a connection: statements are prepared
        if (is_first) {
            reopen(rig);
        }
        sample_batch_init(&sample, round);
        failing_malloc_arm(round + 1);
        weir_status status = weir_state_store.commit(rig->state, &sample.batch, &err);
        has_failed = failing_malloc_disarm();
        assert_told(status, has_failed, &err);
        has_failed = has_failed || !is_first;
        if (status != WEIR_OK) {
            refused++;
            if (weir_state_store.commit(rig->state, &sample.batch, &err) != WEIR_OK) {
                fail_msg("again, allocation %zu: %s", (size_t)round + 1, err.message);
            }
        }
        sample_batch_finish(&sample);
        sample_commit(rig->twin, round, round);
        if (round % 64 == 0) {
            assert_as_twin(rig);
        }
    }
    assert_as_twin(rig);
    reopen(rig);
    assert_as_twin(rig);
    assert_true(refused > 30);
}

static void a_load_is_done_again(void **test_state) {
    struct rig *rig = *test_state;
    bool has_failed = true;
    size_t refused = 0;
    sample_commit(rig->state, 0, 1);
    sample_commit(rig->twin, 0, 1);
    struct content wanted;
    assert_int_equal(content_read(rig->twin, &wanted, NULL), WEIR_OK);
    for (size_t number = 1; has_failed; number += 1 + number / 300) {
        assert_true(number < ALLOCATIONS_MAX);
        struct content content = {0};
        struct weir_error err;
        reopen(rig);
        // So that what is read has its place already.
        content_reserve(&content, 2 * wanted.size);
        failing_malloc_arm(number);
        weir_status status = content_read_into(rig->state, &content, &err);
        has_failed = failing_malloc_disarm();
        assert_told(status, has_failed, &err);
        assert_true(status != WEIR_OK || content_equal(&content, &wanted));
        refused += status != WEIR_OK;
        content_finish(&content);
        if (number % 16 == 0) {
            assert_as_twin(rig);
        }
    }
    assert_as_twin(rig);
    assert_true(refused > 30);
    content_finish(&wanted);
}

static void an_opening_is_done_again(void **test_state) {
    struct rig *rig = *test_state;
    bool has_failed = true;
    size_t refused = 0;
    sample_commit(rig->state, 0, 1);
    sample_commit(rig->twin, 0, 1);
    weir_state_close(rig->state);
    for (size_t number = 1; has_failed; number += 1 + number / 200) {
        assert_true(number < ALLOCATIONS_MAX);
        struct weir_error err;
        failing_malloc_arm(number);
        weir_status status = weir_state_open(rig->folder.path, NULL, &rig->state, &err);
        has_failed = failing_malloc_disarm();
        assert_told(status, has_failed, &err);
        refused += status != WEIR_OK;
        assert_true(status == WEIR_OK || !rig->state);
        weir_state_close(rig->state);
        rig->state = NULL;
    }
    assert_int_equal(weir_state_open(rig->folder.path, NULL, &rig->state, NULL), WEIR_OK);
    assert_as_twin(rig);
    assert_true(refused > 30);
}

static void a_new_database_is_made_again(void **test_state) {
    struct rig *rig = *test_state;
    bool has_failed = true;
    for (size_t number = 1; has_failed; number += 1 + number / 200) {
        assert_true(number < ALLOCATIONS_MAX);
        char path[TEST_PATH_BYTES];
        struct weir_error err;
        struct weir_state *state;
        test_path(&rig->folder, "new", path);
        failing_malloc_arm(number);
        weir_status status = weir_state_open(path, NULL, &state, &err);
        has_failed = failing_malloc_disarm();
        assert_told(status, has_failed, &err);
        weir_state_close(state);
        if (weir_state_open(path, NULL, &state, &err) != WEIR_OK) {
            fail_msg("again, allocation %zu: %s", number, err.message);
        }
        sample_commit(state, 0, 0);
        weir_state_close(state);
        static const char *const names[] = {"new/state.db", "new/state.lock", "new"};
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            test_remove(&rig->folder, names[i]);
        }
    }
}

static void told_line(void *context, const char *line) {
    (void)context;
    fail_msg("%s", line);
}

static void a_check_finds_nothing_wrong_in_it(void **test_state) {
    struct rig *rig = *test_state;
    bool has_failed = true;
    size_t refused = 0;
    sample_commit(rig->state, 0, 1);
    for (size_t number = 1; has_failed; number += 1 + number / 100) {
        assert_true(number < ALLOCATIONS_MAX);
        struct weir_error err;
        uint64_t count;
        failing_malloc_arm(number);
        weir_status status = weir_state_check(rig->folder.path, told_line, NULL, &count, &err);
        has_failed = failing_malloc_disarm();
        assert_told(status, has_failed, &err);
        refused += status != WEIR_OK;
    }
    assert_true(refused > 30);
}

int main(void) {
    static const sqlite3_mem_methods methods = {
        .xMalloc = sqlite_malloc,
        .xFree = sqlite_free,
        .xRealloc = sqlite_realloc,
        .xSize = sqlite_size,
        .xRoundup = sqlite_roundup,
        .xInit = sqlite_init,
        .xShutdown = sqlite_shutdown,
    };
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK) {
        return 1;
    }
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_commit_is_done_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_load_is_done_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_opening_is_done_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_database_is_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_check_finds_nothing_wrong_in_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
