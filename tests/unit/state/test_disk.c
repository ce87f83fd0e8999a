// SPDX-License-Identifier: Apache-2.0
//
// A disk that fails: a VFS of SQLite's that hands everything on to the real one, but for the nth
// write, sync, truncation, opening, reading or locking, which fails as a full or a broken disk
// does, once or until it is repaired. Whatever failed, the same batch can be given again, the
// database then has what it should have, and weir goes on by itself.
#include "unit/test.h"

#include "support/folder.h"
#include "unit/state/content.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum operation { WRITE, SYNC, TRUNCATE, OPEN, READ, SHM, OPERATION_COUNT };

struct fault {
    const char *name;
    enum operation operation;
    int code, system_code;
    bool is_short;   // half of it is written first
    bool is_done;    // it is done, and then said to have failed
    bool is_lasting; // until the disk is repaired
};

static struct {
    sqlite3_vfs *real;
    const struct fault *fault; // NULL: all is well
    size_t left;               // operations up to the one that fails
    bool has_failed;
} disk;

struct file {
    sqlite3_file base;
    sqlite3_file *real; // behind it in memory
};

static sqlite3_file *real(sqlite3_file *file) {
    return ((struct file *)file)->real;
}

// Whether this operation fails.
static const struct fault *fails(enum operation operation) {
    const struct fault *fault = disk.fault;
    if (!fault || fault->operation != operation || (disk.has_failed && !fault->is_lasting)) {
        return NULL;
    }
    if (disk.left > 1) {
        disk.left--;
        return NULL;
    }
    disk.has_failed = true;
    return fault;
}

static void damage(const struct fault *fault, size_t number) {
    disk.fault = fault;
    disk.left = number;
    disk.has_failed = false;
}

// Returns whether anything has failed.
static bool repair(void) {
    disk.fault = NULL;
    return disk.has_failed;
}

static int disk_close(sqlite3_file *file) {
    return real(file)->pMethods->xClose(real(file));
}
static int disk_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 at) {
    const struct fault *fault = fails(READ);
    return fault ? fault->code : real(file)->pMethods->xRead(real(file), bytes, size, at);
}
static int disk_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 at) {
    const struct fault *fault = fails(WRITE);
    if (!fault || fault->is_short || fault->is_done) {
        int most = fault && fault->is_short ? size / 2 : size;
        int code = real(file)->pMethods->xWrite(real(file), bytes, most, at);
        return fault ? fault->code : code;
    }
    return fault->code;
}
static int disk_truncate(sqlite3_file *file, sqlite3_int64 size) {
    const struct fault *fault = fails(TRUNCATE);
    return fault ? fault->code : real(file)->pMethods->xTruncate(real(file), size);
}
static int disk_sync(sqlite3_file *file, int flags) {
    const struct fault *fault = fails(SYNC);
    int code = !fault || fault->is_done ? real(file)->pMethods->xSync(real(file), flags) : 0;
    return fault ? fault->code : code;
}
static int disk_size(sqlite3_file *file, sqlite3_int64 *ret_size) {
    return real(file)->pMethods->xFileSize(real(file), ret_size);
}
static int disk_lock(sqlite3_file *file, int level) {
    return real(file)->pMethods->xLock(real(file), level);
}
static int disk_unlock(sqlite3_file *file, int level) {
    return real(file)->pMethods->xUnlock(real(file), level);
}
static int disk_check_lock(sqlite3_file *file, int *ret_is_locked) {
    return real(file)->pMethods->xCheckReservedLock(real(file), ret_is_locked);
}
static int disk_control(sqlite3_file *file, int operation, void *argument) {
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
}
static int disk_sector(sqlite3_file *file) {
    return real(file)->pMethods->xSectorSize(real(file));
}
static int disk_traits(sqlite3_file *file) {
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
static int disk_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret) {
    const struct fault *fault = fails(SHM);
    return fault ? fault->code : real(file)->pMethods->xShmMap(real(file), page, size, extend, ret);
}
static int disk_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
static void disk_shm_barrier(sqlite3_file *file) {
    real(file)->pMethods->xShmBarrier(real(file));
}
static int disk_shm_unmap(sqlite3_file *file, int remove) {
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

static const sqlite3_io_methods disk_methods = {
    .iVersion = 2, // no memory mapping
    .xClose = disk_close,
    .xRead = disk_read,
    .xWrite = disk_write,
    .xTruncate = disk_truncate,
    .xSync = disk_sync,
    .xFileSize = disk_size,
    .xLock = disk_lock,
    .xUnlock = disk_unlock,
    .xCheckReservedLock = disk_check_lock,
    .xFileControl = disk_control,
    .xSectorSize = disk_sector,
    .xDeviceCharacteristics = disk_traits,
    .xShmMap = disk_shm_map,
    .xShmLock = disk_shm_lock,
    .xShmBarrier = disk_shm_barrier,
    .xShmUnmap = disk_shm_unmap,
};

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags,
                     int *ret_flags) {
    (void)vfs;
    struct file *file = (struct file *)base;
    file->real = (sqlite3_file *)(file + 1);
    base->pMethods = NULL;
    const struct fault *fault = fails(OPEN);
    int code =
        fault ? fault->code : disk.real->xOpen(disk.real, path, file->real, flags, ret_flags);
    if (code == SQLITE_OK) {
        base->pMethods = &disk_methods;
    }
    return code;
}

static int disk_last_error(sqlite3_vfs *vfs, int size, char *text) {
    (void)vfs;
    return disk.fault && disk.has_failed ? disk.fault->system_code
                                         : disk.real->xGetLastError(disk.real, size, text);
}

static bool put_disk_in(void) {
    static sqlite3_vfs vfs;
    disk.real = sqlite3_vfs_find(NULL);
    if (!disk.real) {
        return false;
    }
    vfs = *disk.real; // the rest of its functions need nothing of the struct
    vfs.zName = "failing";
    vfs.szOsFile = (int)sizeof(struct file) + disk.real->szOsFile;
    vfs.xOpen = disk_open;
    vfs.xGetLastError = disk_last_error;
    return sqlite3_vfs_register(&vfs, 1) == SQLITE_OK;
}

static const struct fault faults[] = {
    {"a full disk", WRITE, SQLITE_FULL, ENOSPC, .is_short = false},
    {"a full disk, half written", WRITE, SQLITE_FULL, ENOSPC, .is_short = true},
    {"a write that fails", WRITE, SQLITE_IOERR_WRITE, EIO, .is_short = false},
    {"a write that fails half way", WRITE, SQLITE_IOERR_WRITE, EIO, .is_short = true},
    {"a write that fails when it is done", WRITE, SQLITE_IOERR_WRITE, EIO, .is_done = true},
    {"a sync that fails", SYNC, SQLITE_IOERR_FSYNC, EIO, .is_done = false},
    {"a sync for which there is no space", SYNC, SQLITE_IOERR_FSYNC, ENOSPC, .is_done = false},
    {"a sync that fails when it is done", SYNC, SQLITE_IOERR_FSYNC, EIO, .is_done = true},
    {"a file that cannot be cut", TRUNCATE, SQLITE_IOERR_TRUNCATE, EIO, .is_done = false},
    {"a file that cannot be opened", OPEN, SQLITE_CANTOPEN, EMFILE, .is_done = false},
    {"a read that fails", READ, SQLITE_IOERR_READ, EIO, .is_done = false},
    {"no shared memory", SHM, SQLITE_IOERR_SHMMAP, ENOSPC, .is_done = false},
    {"a full disk that stays", WRITE, SQLITE_FULL, ENOSPC, .is_lasting = true},
    {"a broken disk that stays", WRITE, SQLITE_IOERR_WRITE, EIO, .is_lasting = true,
     .is_short = true},
    {"syncs that fail from now on", SYNC, SQLITE_IOERR_FSYNC, EIO, .is_lasting = true},
    {"no descriptors from now on", OPEN, SQLITE_CANTOPEN, EMFILE, .is_lasting = true},
    {"reads that fail from now on", READ, SQLITE_IOERR_READ, EIO, .is_lasting = true},
};

// ---- tests ----

struct rig {
    struct test_folder folder, twin_folder;
    struct weir_state *state, *twin; // the twin's disk never fails
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

static void assert_as_twin(struct rig *rig, const char *what) {
    struct content content, wanted;
    struct weir_error err;
    if (content_read(rig->state, &content, &err) != WEIR_OK) {
        fail_msg("%s: %s", what, err.message);
    }
    assert_int_equal(content_read(rig->twin, &wanted, NULL), WEIR_OK);
    if (!content_equal(&content, &wanted)) {
        fail_msg("%s: something else was read", what);
    }
    content_finish(&content);
    content_finish(&wanted);
}

static void reopen(struct rig *rig, const char *what) {
    struct weir_error err;
    weir_state_close(rig->state);
    rig->state = NULL;
    if (weir_state_open(rig->folder.path, NULL, &rig->state, &err) != WEIR_OK) {
        fail_msg("%s: %s", what, err.message);
    }
}

static void assert_told(const struct fault *fault, weir_status status,
                        const struct weir_error *err) {
    // No space, no disk: somebody can put it right.
    if (status != WEIR_UNAVAILABLE || !strstr(err->message, "state.db")) {
        fail_msg("%s: %s: %s", fault->name, weir_status_name(status), err->message);
    }
}

static void commit_under(struct rig *rig, const struct fault *fault, size_t number,
                         const struct weir_batch *batch, size_t *refused) {
    enum { TRIES = 3 };
    struct weir_error err;
    damage(fault, number);
    weir_status status = weir_state_store.commit(rig->state, batch, &err);
    if (status != WEIR_OK) {
        assert_told(fault, status, &err);
        (*refused)++;
        for (int i = 0; i < TRIES && fault->is_lasting; i++) {
            status = weir_state_store.commit(rig->state, batch, &err);
            assert_true(status == WEIR_OK || status == WEIR_UNAVAILABLE);
        }
    }
    repair();
    if (status != WEIR_OK && weir_state_store.commit(rig->state, batch, &err) != WEIR_OK) {
        fail_msg("%s, repaired: %s", fault->name, err.message);
    }
}

// Every operation of a commit fails in turn. Where `is_new`, so is the connection: statements are
// prepared, and the WAL begins.
static void fail_commits(struct rig *rig, const struct fault *fault, bool is_new, size_t *refused) {
    uint64_t round = 0;
    enum { OPERATIONS_MAX = 200 };
    bool has_failed = true;
    for (size_t number = 1; has_failed; number += 1 + number / 12) {
        assert_true(number < OPERATIONS_MAX);
        struct sample_batch sample;
        if (is_new) {
            reopen(rig, fault->name);
        }
        sample_batch_init(&sample, round);
        disk.has_failed = false;
        commit_under(rig, fault, number, &sample.batch, refused);
        has_failed = disk.has_failed;
        sample_batch_finish(&sample);
        sample_commit(rig->twin, round, round);
        assert_as_twin(rig, fault->name);
        round++;
        // The next one goes on from it.
        sample_commit(rig->state, round, round);
        sample_commit(rig->twin, round, round);
        round++;
    }
    reopen(rig, fault->name);
    assert_as_twin(rig, fault->name);
}

static void a_commit_is_done_again(void **test_state) {
    size_t refused = 0;
    (void)test_state;
    for (size_t i = 0; i < 2 * COUNT_OF(faults); i++) {
        void *rig;
        set_up(&rig);
        fail_commits(rig, &faults[i / 2], i % 2 == 1, &refused);
        tear_down(&rig);
    }
    assert_true(refused > 50);
}

// The disk fails in a commit and in the closing behind it, and is repaired before the next start.
static void close_under(struct rig *rig, const struct fault *fault) {
    bool has_failed = true;
    uint64_t round = 0;
    for (size_t number = 1; has_failed; number += 1 + number / 6) {
        struct sample_batch sample;
        sample_batch_init(&sample, round);
        damage(fault, number);
        weir_status status = weir_state_store.commit(rig->state, &sample.batch, NULL);
        weir_state_close(rig->state);
        rig->state = NULL;
        has_failed = repair();
        sample_batch_finish(&sample);
        reopen(rig, fault->name);
        if (status != WEIR_OK) {
            sample_commit(rig->state, round, round); // as the source tells it again
        }
        sample_commit(rig->twin, round, round);
        assert_as_twin(rig, fault->name);
        round++;
    }
}

static void a_stop_after_a_failure_loses_nothing(void **test_state) {
    (void)test_state;
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        void *rig;
        set_up(&rig);
        close_under(rig, &faults[i]);
        tear_down(&rig);
    }
}

static void an_opening_is_done_again(void **test_state) {
    struct rig *rig = *test_state;
    sample_commit(rig->state, 0, 1);
    sample_commit(rig->twin, 0, 1);
    weir_state_close(rig->state);
    rig->state = NULL;
    size_t refused = 0;
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        bool has_failed = true;
        for (size_t number = 1; has_failed; number += 1 + number / 12) {
            struct weir_error err;
            damage(&faults[i], number);
            weir_status status = weir_state_open(rig->folder.path, NULL, &rig->state, &err);
            if (status != WEIR_OK) {
                assert_told(&faults[i], status, &err);
                refused++;
            }
            weir_state_close(rig->state);
            rig->state = NULL;
            has_failed = repair();
            reopen(rig, faults[i].name);
            assert_as_twin(rig, faults[i].name);
            weir_state_close(rig->state);
            rig->state = NULL;
        }
    }
    assert_true(refused > 30);
    reopen(rig, "nothing");
}

static void what_can_be_read_is_read_on_a_full_disk(void **test_state) {
    struct rig *rig = *test_state;
    sample_commit(rig->state, 0, 1);
    sample_commit(rig->twin, 0, 1);
    static const struct fault full = {"a full disk that stays", WRITE, SQLITE_FULL, ENOSPC,
                                      .is_lasting = true};
    struct weir_error err;
    damage(&full, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_state_store.commit(rig->state, &(struct weir_batch){0}, &err),
                         WEIR_UNAVAILABLE);
        assert_message_has(&err, "database or disk is full");
        assert_message_has(&err, "free some space");
        assert_as_twin(rig, full.name);
    }
    repair();
    static const struct fault broken = {"a disk that fails", WRITE, SQLITE_IOERR_WRITE, EIO,
                                        .is_lasting = true};
    damage(&broken, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_state_store.commit(rig->state, &(struct weir_batch){0}, &err),
                         WEIR_UNAVAILABLE);
        assert_message_has(&err, "disk I/O error");
        assert_message_has(&err, "see to the disk");
        assert_as_twin(rig, broken.name);
    }
    repair();
    sample_commit(rig->state, 2, 2);
    sample_commit(rig->twin, 2, 2);
    assert_as_twin(rig, "nothing");
}

static void a_read_that_failed_is_done_again(void **test_state) {
    struct rig *rig = *test_state;
    static const struct fault fault = {"a read that fails", READ, SQLITE_IOERR_READ, EIO,
                                       .is_done = false};
    sample_commit(rig->state, 0, 3);
    sample_commit(rig->twin, 0, 3);
    bool has_failed = true;
    for (size_t number = 1; has_failed; number++) {
        struct content content;
        struct weir_error err;
        reopen(rig, fault.name); // nothing of it is in memory
        damage(&fault, number);
        weir_status status = content_read(rig->state, &content, &err);
        has_failed = repair();
        if (status == WEIR_OK) {
            content_finish(&content);
        } else {
            assert_told(&fault, status, &err);
        }
        assert_as_twin(rig, fault.name);
    }
}

int main(void) {
    if (!put_disk_in()) {
        return 1;
    }
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_done_again),
        cmocka_unit_test(a_stop_after_a_failure_loses_nothing),
        cmocka_unit_test_setup_teardown(an_opening_is_done_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_can_be_read_is_read_on_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_that_failed_is_done_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
