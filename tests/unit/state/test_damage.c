// SPDX-License-Identifier: Apache-2.0
//
// A state database that was damaged: cut off at every page, bits that flipped, a WAL that is cut or
// flipped. Each time it is refused by name, when it is opened or when it is read, or it is what it
// was: never something else, and never a crash. `weir state check` looks at each as well, and finds
// something wherever the opening did.
//
// The files are made anew for each damage, thousands of times, and every opening is a commit: in
// memory (/dev/shm) where there is such a folder, so that no disk is waited for.
#include "unit/test.h"

#include "support/folder.h"
#include "unit/state/content.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RANDOM_FLIPS = 1000,
    WAL_FLIPS = 300,
    CHECK_EACH = 3,         // damages; the check costs as much as the opening
    HEADER_BYTES = 100,     // of the database
    TREE_HEADER_BYTES = 12, // of a page
    WAL_HEADER_BYTES = 32,
    FRAME_HEADER_BYTES = 24,
};

// A file of the folder as it was before.
struct original {
    const char *name;
    char *bytes; // NULL: there was none
    size_t size;
};

enum { DATABASE, WAL, LOCK, FILE_COUNT };

struct rig {
    struct test_folder folder, work;
    struct original files[FILE_COUNT];
    struct content content; // what can be read from them
    size_t page_bytes;
    // What came of the damages.
    size_t looked_at, refused, unchanged;
};

static void keep(struct rig *rig, int which, const char *name) {
    struct original *file = &rig->files[which];
    struct stat st;
    char path[TEST_PATH_BYTES];
    *file = (struct original){.name = name};
    if (stat(test_path(&rig->folder, name, path), &st) < 0) {
        return;
    }
    int fd = test_open(&rig->folder, name, O_RDONLY);
    file->size = (size_t)st.st_size;
    file->bytes = malloc(file->size + 1);
    assert_non_null(file->bytes);
    assert_int_equal(read(fd, file->bytes, file->size), file->size);
    close(fd);
}

// Keeps the files as they are now, while the state is open or behind its end.
static void keep_all(struct rig *rig) {
    keep(rig, DATABASE, "state.db");
    keep(rig, WAL, "state.db-wal");
    keep(rig, LOCK, "state.lock");
    const unsigned char *header = (const unsigned char *)rig->files[DATABASE].bytes;
    rig->page_bytes = (size_t)header[16] << 8 | header[17];
    assert_int_equal(rig->page_bytes, 4096);
}

static void init(struct rig *rig) {
    *rig = (struct rig){.refused = 0};
    test_folder_init(&rig->folder);
    test_folder_init(&rig->work);
}

static void finish(struct rig *rig) {
    for (size_t i = 0; i < FILE_COUNT; i++) {
        free(rig->files[i].bytes);
    }
    content_finish(&rig->content);
    test_folder_finish(&rig->folder);
    test_folder_finish(&rig->work);
}

static void put(struct rig *rig, int which, size_t size) {
    const struct original *file = &rig->files[which];
    char path[TEST_PATH_BYTES];
    unlink(test_path(&rig->work, file->name, path));
    if (file->bytes) {
        test_write_bytes(&rig->work, file->name, (struct weir_str){file->bytes, size});
    }
}

static void put_all(struct rig *rig) {
    char path[TEST_PATH_BYTES];
    unlink(test_path(&rig->work, "state.db-shm", path));
    for (int which = 0; which < FILE_COUNT; which++) {
        put(rig, which, rig->files[which].size);
    }
}

static void count_line(void *context, const char *line) {
    size_t *count = context;
    assert_true(strlen(line) > 10);
    (*count)++;
}

// Opens and reads what is in rig->work. `what` is for the message of a failure.
static void look(struct rig *rig, const char *what) {
    struct weir_state *state;
    struct content content = {0};
    struct weir_error err, check_err = {.message = ""};
    uint64_t count;
    size_t lines = 0;
    // First, because opening writes.
    bool is_checked = rig->looked_at++ % CHECK_EACH == 0;
    weir_status checked =
        is_checked ? weir_state_check(rig->work.path, count_line, &lines, &count, &check_err)
                   : WEIR_OK;
    weir_status status = weir_state_open(rig->work.path, NULL, &state, &err);
    if (status == WEIR_OK) {
        status = content_read(state, &content, &err);
    }
    weir_state_close(state);
    if (status == WEIR_OK) {
        if (!content_equal(&content, &rig->content)) {
            fail_msg("%s: something else was read", what);
        }
        rig->unchanged++;
    } else {
        if ((status != WEIR_OTHER && status != WEIR_UNAVAILABLE) ||
            !strstr(err.message, "state.")) {
            fail_msg("%s: %s: %s", what, weir_status_name(status), err.message);
        }
        // A header that says "read only" is not damage that anybody could see.
        if (status == WEIR_OTHER && is_checked && checked == WEIR_OK && count == 0) {
            fail_msg("%s: %s, and the check finds nothing", what, err.message);
        }
        rig->refused++;
    }
    assert_true(!is_checked || checked != WEIR_OK || count == lines);
    content_finish(&content);
}

static void flip(struct rig *rig, int which, size_t bit) {
    char what[64];
    struct original *file = &rig->files[which];
    snprintf(what, sizeof what, "%s, byte %zu, bit %zu", file->name, bit / 8, bit % 8);
    file->bytes[bit / 8] = (char)(file->bytes[bit / 8] ^ 1 << bit % 8);
    put_all(rig);
    file->bytes[bit / 8] = (char)(file->bytes[bit / 8] ^ 1 << bit % 8);
    look(rig, what);
}

static void cut(struct rig *rig, int which, size_t size) {
    char what[64];
    snprintf(what, sizeof what, "%s, cut to %zu", rig->files[which].name, size);
    put_all(rig);
    put(rig, which, size);
    look(rig, what);
}

// xorshift64*: the same flips in every run.
static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(0x2545F4914F6CDD1D);
}

// ---- the database ----

static struct rig database;

static bool count_row(void *context, const struct weir_entry *entry) {
    (void)entry;
    (*(uint64_t *)context)++;
    return true;
}

// Of some whole pages, and the subscriptions are told.
static void remove_rows(struct weir_state *state) {
    struct weir_subscription_record records[] = {
        {.id = 1, .name = WEIR_STR("first"), .next_seq = 200, .next = &records[1]},
        {.id = 2, .name = WEIR_STR("second"), .next_seq = 200},
    };
    struct weir_entry entries[30];
    for (size_t i = 0; i < COUNT_OF(entries); i++) {
        entries[i] = (struct weir_entry){.subscription = (i + 1) % 2 + 1,
                                         .seq = i + 20,
                                         .op = WEIR_ENTRY_REMOVE,
                                         .next = i > 0 ? &entries[i - 1] : NULL};
    }
    const struct weir_batch removal = {.entries = &entries[COUNT_OF(entries) - 1]};
    assert_int_equal(weir_state_store.commit(state, &removal, NULL), WEIR_OK);
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        const struct weir_load load = {
            .subscription = i + 1, .seq_to = WEIR_SEQ_MAX, .rows_max = SIZE_MAX};
        assert_int_equal(
            weir_state_store.load_journal(state, &load, count_row, &records[i].row_count, NULL),
            WEIR_OK);
    }
    const struct weir_batch counted = {.subscriptions = records};
    assert_int_equal(weir_state_store.commit(state, &counted, NULL), WEIR_OK);
}

// Some twenty pages, some of them free, closed in
// order.
static int set_up_database(void **test_state) {
    (void)test_state;
    struct weir_state *state;
    init(&database);
    assert_int_equal(weir_state_open(database.folder.path, NULL, &state, NULL), WEIR_OK);
    sample_commit(state, 0, 8);
    remove_rows(state);
    weir_state_close(state);
    keep_all(&database);
    assert_null(database.files[WAL].bytes);
    assert_in_range(database.files[DATABASE].size / database.page_bytes, 15, 60);
    database.content = content_of_folder(database.folder.path);
    return 0;
}

static int tear_down_database(void **test_state) {
    (void)test_state;
    finish(&database);
    return 0;
}

static void what_is_whole_is_read(void **test_state) {
    (void)test_state;
    size_t lines = 0;
    uint64_t count;
    put_all(&database);
    assert_int_equal(weir_state_check(database.work.path, count_line, &lines, &count, NULL),
                     WEIR_OK);
    assert_int_equal(count, 0);
    look(&database, "nothing");
    assert_int_equal(database.unchanged, 1);
}

static void a_database_that_was_cut(void **test_state) {
    (void)test_state;
    size_t pages = database.files[DATABASE].size / database.page_bytes;
    database.refused = database.unchanged = 0;
    for (size_t page = 0; page < pages; page++) {
        cut(&database, DATABASE, page * database.page_bytes);
        cut(&database, DATABASE, page * database.page_bytes + 1);
        cut(&database, DATABASE, page * database.page_bytes + database.page_bytes / 2);
    }
    assert_int_equal(database.unchanged, 0);
    assert_int_equal(database.refused, 3 * pages);
}

static void a_bit_that_flipped_in_a_header(void **test_state) {
    (void)test_state;
    size_t pages = database.files[DATABASE].size / database.page_bytes;
    database.refused = database.unchanged = 0;
    for (size_t bit = 0; bit < 8 * (size_t)HEADER_BYTES; bit++) {
        flip(&database, DATABASE, bit);
    }
    for (size_t page = 0; page < pages; page++) {
        size_t at = page * database.page_bytes + (page == 0 ? HEADER_BYTES : 0);
        for (size_t bit = 0; bit < 8 * (size_t)TREE_HEADER_BYTES; bit++) {
            flip(&database, DATABASE, 8 * at + bit);
        }
    }
    assert_true(database.refused > 500);
}

static void a_bit_that_flipped_anywhere(void **test_state) {
    (void)test_state;
    uint64_t seed = 4;
    database.refused = database.unchanged = 0;
    for (size_t i = 0; i < RANDOM_FLIPS; i++) {
        flip(&database, DATABASE, next_random(&seed) % (8 * database.files[DATABASE].size));
    }
    assert_true(database.refused > RANDOM_FLIPS / 3);
    assert_true(database.unchanged > 0);
}

static void a_lock_file_that_was_damaged(void **test_state) {
    (void)test_state;
    size_t bits = 8 * database.files[LOCK].size;
    database.refused = database.unchanged = 0;
    for (size_t bit = 0; bit < bits; bit += 3) {
        flip(&database, LOCK, bit);
    }
    for (size_t size = 0; size < bits / 8; size += 7) {
        cut(&database, LOCK, size);
    }
    assert_int_equal(database.refused, 0); // it knows too little, never too much
}

// ---- the WAL ----

static struct rig killed;

// As a process leaves it that was killed: the last commits are in the WAL.
static int set_up_killed(void **test_state) {
    (void)test_state;
    struct weir_state *state;
    init(&killed);
    assert_int_equal(weir_state_open(killed.folder.path, NULL, &state, NULL), WEIR_OK);
    sample_commit(state, 0, 2);
    weir_state_close(state);
    assert_int_equal(weir_state_open(killed.folder.path, NULL, &state, NULL), WEIR_OK);
    sample_commit(state, 3, 6);
    keep_all(&killed);
    assert_int_equal(content_read(state, &killed.content, NULL), WEIR_OK);
    weir_state_close(state);
    assert_true(killed.files[WAL].size > 20 * killed.page_bytes);
    return 0;
}

static int tear_down_killed(void **test_state) {
    (void)test_state;
    finish(&killed);
    return 0;
}

static void a_wal_that_is_whole_is_read(void **test_state) {
    (void)test_state;
    put_all(&killed);
    look(&killed, "nothing");
    assert_int_equal(killed.unchanged, 1);
}

static void a_wal_that_was_cut(void **test_state) {
    (void)test_state;
    size_t frame_bytes = FRAME_HEADER_BYTES + killed.page_bytes;
    killed.refused = killed.unchanged = 0;
    size_t cuts = 0;
    for (size_t size = WAL_HEADER_BYTES; size < killed.files[WAL].size; size += frame_bytes) {
        cut(&killed, WAL, size);
        cut(&killed, WAL, size + FRAME_HEADER_BYTES);
        cut(&killed, WAL, size + frame_bytes - 1);
        cuts += 3;
    }
    cut(&killed, WAL, 0);
    assert_int_equal(killed.refused, cuts + 1);
}

static void a_bit_that_flipped_in_the_wal(void **test_state) {
    (void)test_state;
    size_t frame_bytes = FRAME_HEADER_BYTES + killed.page_bytes;
    uint64_t seed = 5;
    killed.refused = killed.unchanged = 0;
    for (size_t bit = 0; bit < 8 * (size_t)WAL_HEADER_BYTES; bit++) {
        flip(&killed, WAL, bit);
    }
    size_t frames = (killed.files[WAL].size - WAL_HEADER_BYTES) / frame_bytes;
    for (size_t i = 0; i < WAL_FLIPS; i++) {
        flip(&killed, WAL, next_random(&seed) % (8 * killed.files[WAL].size));
        size_t at = WAL_HEADER_BYTES + next_random(&seed) % frames * frame_bytes;
        flip(&killed, WAL, 8 * at + next_random(&seed) % (8 * (size_t)FRAME_HEADER_BYTES));
    }
    // Nothing in a WAL's frames is idle; of its header, what only this database's next use needs.
    assert_true(killed.unchanged < 64);
    for (size_t i = 0; i < WAL_FLIPS; i++) {
        flip(&killed, DATABASE, next_random(&seed) % (8 * killed.files[DATABASE].size));
    }
}

static void a_wal_without_its_database(void **test_state) {
    (void)test_state;
    killed.refused = killed.unchanged = 0;
    put_all(&killed);
    test_remove(&killed.work, "state.db");
    look(&killed, "no database");
    put_all(&killed);
    test_remove(&killed.work, "state.db-wal");
    look(&killed, "no WAL");
    assert_int_equal(killed.refused, 2);
}

int main(void) {
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_whole_is_read),
        cmocka_unit_test(a_database_that_was_cut),
        cmocka_unit_test(a_bit_that_flipped_in_a_header),
        cmocka_unit_test(a_bit_that_flipped_anywhere),
        cmocka_unit_test(a_lock_file_that_was_damaged),
        cmocka_unit_test_setup_teardown(a_wal_that_is_whole_is_read, set_up_killed,
                                        tear_down_killed),
        cmocka_unit_test_setup_teardown(a_wal_that_was_cut, set_up_killed, tear_down_killed),
        cmocka_unit_test_setup_teardown(a_bit_that_flipped_in_the_wal, set_up_killed,
                                        tear_down_killed),
        cmocka_unit_test_setup_teardown(a_wal_without_its_database, set_up_killed,
                                        tear_down_killed),
    };
    return cmocka_run_group_tests(tests, set_up_database, tear_down_database);
}
