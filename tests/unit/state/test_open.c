// SPDX-License-Identifier: Apache-2.0
//
// What is refused when a state database is opened, by whom and in which words, and what a process
// that was killed leaves behind.
#include "unit/test.h"

#include "observe/log.h"
#include "support/folder.h"
#include "unit/state/content.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int set_up(void **test_state) {
    struct test_folder *folder = calloc(1, sizeof *folder);
    assert_non_null(folder);
    test_folder_init(folder);
    *test_state = folder;
    return 0;
}

static int tear_down(void **test_state) {
    test_folder_finish(*test_state);
    free(*test_state);
    return 0;
}

static struct weir_state *open_well(const char *dir) {
    struct weir_state *state;
    struct weir_error err;
    if (weir_state_open(dir, NULL, &state, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    return state;
}

static void assert_refused(const char *dir, weir_status wanted, const char *part) {
    struct weir_state *state;
    struct weir_error err;
    weir_status status = weir_state_open(dir, NULL, &state, &err);
    assert_null(state);
    if (status != wanted) {
        fail_msg("%s, not %s: %s", weir_status_name(status), weir_status_name(wanted), err.message);
    }
    assert_int_equal(err.status, wanted);
    assert_message_has(&err, part);
}

static void change(const struct test_folder *folder, const char *sql) {
    char path[TEST_PATH_BYTES];
    sqlite3 *db;
    assert_int_equal(sqlite3_open(test_path(folder, "state.db", path), &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    sqlite3_close(db);
}

// What a check tells, line by line.
struct told {
    size_t count;
    char text[8192];
};

static void keep_line(void *context, const char *line) {
    struct told *told = context;
    size_t size = strlen(told->text);
    snprintf(told->text + size, sizeof told->text - size, "%s\n", line);
    told->count++;
}

static void check(const struct test_folder *folder, struct told *told) {
    uint64_t count;
    struct weir_error err;
    *told = (struct told){.count = 0};
    if (weir_state_check(folder->path, keep_line, told, &count, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(count, told->count);
}

static void assert_told(const struct told *told, const char *part) {
    if (!strstr(told->text, part)) {
        fail_msg("\"%s\" does not say \"%s\"", told->text, part);
    }
}

// ---- the folder ----

static mode_t mode_of(const struct test_folder *folder, const char *name) {
    char path[TEST_PATH_BYTES];
    struct stat st;
    assert_int_equal(stat(test_path(folder, name, path), &st), 0);
    return st.st_mode & 0777;
}

static void what_is_made_is_its_owners(void **test_state) {
    const struct test_folder *folder = *test_state;
    char path[TEST_PATH_BYTES];
    const mode_t masks[] = {0, 022, 0777};
    for (size_t i = 0; i < COUNT_OF(masks); i++) {
        mode_t before = umask(masks[i]);
        struct weir_state *state = open_well(test_path(folder, "s", path));
        umask(before);
        assert_int_equal(mode_of(folder, "s"), 0700);
        assert_int_equal(mode_of(folder, "s/state.db"), 0600);
        assert_int_equal(mode_of(folder, "s/state.db-wal"), 0600);
        assert_int_equal(mode_of(folder, "s/state.lock"), 0600);
        weir_state_close(state);
        test_shell(folder, "rm -r s");
    }
}

static void a_folder_has_any_name(void **test_state) {
    const struct test_folder *folder = *test_state;
    static const char *const names[] = {"it's \"q\" ? # %20 x", "file:x?mode=memory", ":memory:",
                                        "gr\u00fcn \U0001F600", "-journal",           "a/"};
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(folder->path), 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct weir_state *state = open_well(names[i]); // relative
        assert_int_equal(fchdir(here), 0);
        sample_commit(state, 0, 0);
        struct content content, again;
        assert_int_equal(content_read(state, &content, NULL), WEIR_OK);
        weir_state_close(state);
        assert_int_equal(chdir(folder->path), 0);
        struct stat st;
        char file[TEST_PATH_BYTES];
        snprintf(file, sizeof file, "%s/state.db", names[i]);
        assert_int_equal(stat(file, &st), 0);
        again = content_of_folder(names[i]);
        assert_true(content_equal(&content, &again));
        content_finish(&content);
        content_finish(&again);
    }
    assert_int_equal(fchdir(here), 0);
    close(here);
}

static void a_path_that_is_too_long_is_refused(void **test_state) {
    const struct test_folder *folder = *test_state;
    char path[4096];
    bool has_refused = false;
    size_t length = (size_t)snprintf(path, sizeof path, "%s", folder->path);
    while (length + 42 < 1000) {
        length += (size_t)snprintf(path + length, sizeof path - length, "/%040d", 0);
        struct weir_state *state;
        struct weir_error err;
        weir_status status = weir_state_open(path, NULL, &state, &err);
        if (status == WEIR_OK) {
            assert_false(has_refused);
            sample_commit(state, 0, 0);
            weir_state_close(state);
            continue;
        }
        assert_int_equal(status, WEIR_INVALID);
        assert_message_has(&err, "name another folder");
        has_refused = true;
    }
    assert_true(has_refused);
}

static void what_is_no_folder_is_refused(void **test_state) {
    const struct test_folder *folder = *test_state;
    char path[TEST_PATH_BYTES];
    test_write(folder, "file", "");
    assert_refused(test_path(folder, "file", path), WEIR_INVALID, "file is not a folder");
    assert_refused(test_path(folder, "file/s", path), WEIR_UNAVAILABLE, "Not a directory");
    assert_refused(test_path(folder, "none/s", path), WEIR_UNAVAILABLE, "No such file");
    test_shell(folder, "mkdir s s/state.db t t/state.lock u; mkfifo u/state.db");
    assert_refused(test_path(folder, "s", path), WEIR_OTHER, "state.db is not a file");
    assert_refused(test_path(folder, "t", path), WEIR_UNAVAILABLE, "state.lock: Is a directory");
    assert_refused(test_path(folder, "u", path), WEIR_OTHER, "state.db is not a file");
    struct weir_state *state;
    struct weir_error err;
    assert_int_equal(weir_state_read(folder->path, &state, &err), WEIR_NOT_FOUND);
    assert_message_has(&err, "state.db");
    assert_int_equal(weir_state_read(test_path(folder, "none", path), &state, &err),
                     WEIR_NOT_FOUND);
    uint64_t count;
    assert_int_equal(weir_state_check(folder->path, keep_line, NULL, &count, &err), WEIR_NOT_FOUND);
}

// Root may write everything: somebody else has to try.
enum { NOBODY = 65534 };

static void assert_refused_for_nobody(const char *dir, const char *part) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_state *state;
        struct weir_error err;
        if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)) {
            _exit(2);
        }
        weir_status status = weir_state_open(dir, NULL, &state, &err);
        if (status != WEIR_UNAVAILABLE || !strstr(err.message, part)) {
            fprintf(stderr, "%s: %s\n", weir_status_name(status),
                    status == WEIR_OK ? "" : err.message);
            _exit(1);
        }
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void what_may_not_be_written_is_refused(void **test_state) {
    const struct test_folder *folder = *test_state;
    char path[TEST_PATH_BYTES];
    weir_state_close(open_well(test_path(folder, "s", path)));
    test_shell(folder, "chmod 755 .; mkdir empty; chmod 555 empty; chmod 777 s; "
                       "chmod 666 s/state.lock; chmod 444 s/state.db");
    assert_refused_for_nobody(test_path(folder, "empty", path), "state.lock: Permission denied");
    assert_refused_for_nobody(test_path(folder, "empty/s", path), "Permission denied");
    assert_refused_for_nobody(test_path(folder, "s", path), "cannot write");
    test_shell(folder, "chmod 444 s/state.lock");
    assert_refused_for_nobody(test_path(folder, "s", path), "state.lock: Permission denied");
    test_shell(folder, "chmod 600 s/state.lock s/state.db; chmod 700 s");
    weir_state_close(open_well(path));
}

// ---- one writer ----

static void a_second_writer_is_refused(void **test_state) {
    const struct test_folder *folder = *test_state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_state *state;
        if (weir_state_open(folder->path, NULL, &state, NULL) == WEIR_OK &&
            write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    char byte, pid[32];
    assert_int_equal(read(ready[0], &byte, 1), 1);
    snprintf(pid, sizeof pid, "process %d,", (int)child);
    assert_refused(folder->path, WEIR_UNAVAILABLE, pid);
    struct told told; // a check and a reader have no need of the lock
    check(folder, &told);
    assert_int_equal(told.count, 0);
    struct weir_state *reader;
    assert_int_equal(weir_state_read(folder->path, &reader, NULL), WEIR_OK);
    weir_state_close(reader);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    struct weir_state *state = open_well(folder->path);
    assert_refused(folder->path, WEIR_UNAVAILABLE, "another weir, process ");
    weir_state_close(state);
    close(ready[0]);
    close(ready[1]);
}

// The number of the last commit by which the child had it durable.
static uint64_t run_and_kill(const char *dir, uint64_t from, unsigned commits) {
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_state *state;
        if (weir_state_open(dir, NULL, &state, NULL) != WEIR_OK) {
            _exit(1);
        }
        for (uint64_t round = from;; round++) {
            struct sample_batch sample;
            sample_batch_init(&sample, round);
            if (weir_state_store.commit(state, &sample.batch, NULL) != WEIR_OK ||
                write(told[1], &round, sizeof round) != sizeof round) {
                _exit(1);
            }
            sample_batch_finish(&sample);
        }
    }
    close(told[1]);
    uint64_t last = 0, next;
    for (unsigned i = 0; i < commits; i++) {
        assert_int_equal(read(told[0], &last, sizeof last), sizeof last);
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    while (read(told[0], &next, sizeof next) == sizeof next) {
        last = next;
    }
    close(told[0]);
    return last;
}

// What is there is exactly some round's content, and none that was told is missing.
static void what_was_committed_survives_a_kill(void **test_state) {
    const struct test_folder *folder = *test_state;
    char path[TEST_PATH_BYTES];
    struct weir_state *twin = open_well(test_path(folder, "twin", path));
    test_path(folder, "killed", path);
    uint64_t from = 0;
    for (unsigned kills = 0; kills < 12; kills++) {
        uint64_t told = run_and_kill(path, from, 1 + kills * 3 % 7);
        sample_commit(twin, from, told);
        struct content found = content_of_folder(path), wanted;
        assert_int_equal(content_read(twin, &wanted, NULL), WEIR_OK);
        from = told + 1;
        if (!content_equal(&found, &wanted)) {
            // The commit after the last that was told may have been durable.
            content_finish(&wanted);
            sample_commit(twin, from, from);
            assert_int_equal(content_read(twin, &wanted, NULL), WEIR_OK);
            from++;
        }
        assert_true(content_equal(&found, &wanted));
        content_finish(&found);
        content_finish(&wanted);
    }
    weir_state_close(twin);
}

// ---- versions ----

static void any_older_version_is_brought_up_to_date(void **test_state) {
    const struct test_folder *folder = *test_state;
    // How a file of each version is made; a version that was released stays here for ever.
    static const char *const makers[] = {
        "true",
        ": > state.db",
        "sqlite3 state.db 'PRAGMA journal_mode = WAL' > sql.log",
    };
    for (size_t i = 0; i < COUNT_OF(makers); i++) {
        char path[TEST_PATH_BYTES], command[256];
        snprintf(command, sizeof command, "rm -rf s; mkdir s; cd s; %s", makers[i]);
        test_shell(folder, command);
        struct weir_state *state = open_well(test_path(folder, "s", path));
        sample_commit(state, 0, 1);
        weir_state_close(state);
        struct content content = content_of_folder(path);
        assert_true(content.size > 1000);
        content_finish(&content);
    }
}

static void other_databases_are_refused(void **test_state) {
    const struct test_folder *folder = *test_state;
    struct told told;
    struct weir_state *state = open_well(folder->path);
    sample_commit(state, 0, 1);
    weir_state_close(state);
    change(folder, "PRAGMA user_version = 2");
    assert_refused(folder->path, WEIR_OTHER,
                   "is of a newer weir (version 2 of the tables, this one knows up to 1)");
    check(folder, &told);
    assert_int_equal(told.count, 1);
    assert_told(&told, "newer weir");
    assert_int_equal(weir_state_read(folder->path, &state, NULL), WEIR_OTHER);
    change(folder, "PRAGMA user_version = 0");
    assert_refused(folder->path, WEIR_OTHER, "not a state database of weir's");
    change(folder, "PRAGMA user_version = 1; PRAGMA application_id = 1");
    assert_refused(folder->path, WEIR_OTHER, "not a state database of weir's");
    check(folder, &told);
    assert_int_equal(told.count, 1);
    change(folder, "PRAGMA application_id = 2003134834");
    weir_state_close(open_well(folder->path));
    test_write(folder, "state.db",
               "this is some text, and no database of any kind, nor was it "
               "ever one, and it has more than one hundred bytes in it");
    assert_refused(folder->path, WEIR_OTHER, "file is not a database");
    check(folder, &told);
    assert_told(&told, "file is not a database");
}

// ---- commits that are missing ----

static char log_text[8192];

// Opens it and returns what was logged.
static const char *open_with_log(const struct test_folder *folder) {
    struct weir_log *log;
    struct weir_state *state;
    struct weir_error err;
    int fd = test_open(folder, "log", O_RDWR | O_CREAT | O_TRUNC);
    assert_int_equal(weir_log_create(&(struct weir_log_config){.fd = fd}, &log, NULL), WEIR_OK);
    if (weir_state_open(folder->path, log, &state, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    weir_state_close(state);
    weir_log_destroy(log);
    ssize_t size = pread(fd, log_text, sizeof log_text - 1, 0);
    assert_true(size >= 0);
    log_text[size] = '\0';
    close(fd);
    return log_text;
}

// A folder as a process that was killed leaves it, in folder/state.*: with a WAL.
static void make_killed(const struct test_folder *folder) {
    char path[TEST_PATH_BYTES];
    test_shell(folder, "rm -rf living state.*");
    struct weir_state *state = open_well(test_path(folder, "living", path));
    sample_commit(state, 0, 4);
    test_shell(folder, "cp living/state.db living/state.db-wal living/state.lock .");
    weir_state_close(state);
}

static void commits_that_are_missing_are_missed(void **test_state) {
    const struct test_folder *folder = *test_state;
    struct told told;
    make_killed(folder);
    test_remove(folder, "state.db-wal");
    // The first commit is the opening's.
    assert_refused(folder->path, WEIR_OTHER, "ends at commit 0, and 6 were durable: 6 are missing");
    assert_refused(folder->path, WEIR_OTHER, "move it aside to start anew");
    check(folder, &told);
    assert_int_equal(told.count, 1);
    assert_told(&told, "6 are missing");
    struct weir_state *reader;
    assert_int_equal(weir_state_read(folder->path, &reader, NULL), WEIR_OTHER);

    make_killed(folder);
    test_remove(folder, "state.db");
    assert_refused(folder->path, WEIR_OTHER, "state.db is not there, but there is its");
    check(folder, &told);
    assert_int_equal(told.count, 1);
    test_write(folder, "state.db", "");
    assert_refused(folder->path, WEIR_OTHER, "state.db is empty, but there is its");
    test_remove(folder, "state.db-wal");
    assert_refused(folder->path, WEIR_OTHER, "6 are missing");
    test_remove(folder, "state.db");
    assert_refused(folder->path, WEIR_OTHER, "6 are missing");
    check(folder, &told);
    assert_told(&told, "6 are missing");
}

static void a_backup_without_its_lock_is_taken_with_a_warning(void **test_state) {
    const struct test_folder *folder = *test_state;
    make_killed(folder);
    assert_non_null(strstr(open_with_log(folder), "was not closed in order"));
    assert_string_equal(open_with_log(folder), "");
    test_remove(folder, "state.lock");
    assert_non_null(strstr(open_with_log(folder), "number of the last commit is not known"));
    assert_string_equal(open_with_log(folder), "");
    test_write(folder, "state.lock", "12345");
    assert_non_null(strstr(open_with_log(folder), "number of the last commit is not known"));
    struct content content = content_of_folder(folder->path);
    assert_true(content.size > 1000);
    content_finish(&content);
}

static void somebody_elses_commit_is_noticed(void **test_state) {
    const struct test_folder *folder = *test_state;
    struct weir_error err;
    struct weir_state *state = open_well(folder->path);
    sample_commit(state, 0, 0);
    change(folder, "UPDATE meta SET value = value + 1");
    assert_int_equal(weir_state_store.commit(state, &(struct weir_batch){0}, &err), WEIR_OTHER);
    assert_message_has(&err, "let no other program write it");
    assert_int_equal(weir_state_store.commit(state, &(struct weir_batch){0}, &err), WEIR_OTHER);
    weir_state_close(state);
    assert_refused(folder->path, WEIR_OTHER, "table meta, row commit: its sum is wrong");
}

// ---- rows that are wrong ----

static const struct {
    const char *sql, *told; // the second is part of what a check says
    size_t count;           // of what it says
    bool is_refused;
} wrongs[] = {
    {"UPDATE subscription SET cursor = x'00' WHERE id = 2",
     "table subscription, row 2: its sum is wrong", 1, true},
    {"UPDATE journal SET data = 'x' WHERE row = (SELECT min(row) FROM journal)",
     "table journal, row 1099511627777: its sum is wrong", 1, false},
    {"UPDATE journal SET subject = NULL WHERE subject = ''", "its sum is wrong", 0, false},
    {"UPDATE journal SET data = CAST(data AS BLOB) WHERE typeof(data) = 'text'", "its sum is wrong",
     0, false},
    {"UPDATE note SET fingerprint = x'01' WHERE key = CAST('key/1' AS BLOB)",
     "table note, row 2 key/1: its sum is wrong", 1, false},
    {"UPDATE outbox SET id = 100 WHERE id = 3", "table outbox, row 100: its sum is wrong", 1, true},
    {"UPDATE dead SET reason = 'x' WHERE id = 2", "table dead, row 2: its sum is wrong", 1, false},
    {"DELETE FROM journal WHERE row = (SELECT min(row) FROM journal)",
     "table subscription, row 1: it has 18 rows in the journal, and there are 17", 1, false},
    {"DELETE FROM subscription WHERE id = 2",
     "table journal: 12 rows of subscription 2, which is not there", 2, false},
    {"DELETE FROM subscription WHERE id = 2",
     "table note: 3 rows of subscription 2, which is not there", 2, false},
    {"DELETE FROM meta", "table meta has no row \"commit\"", 1, true},
    {"DROP TABLE dead", "no such table: dead", 1, true},
    {"ALTER TABLE journal RENAME COLUMN data TO body", "no such column: data", 1, false},
};

static void rows_that_are_wrong_are_told_by_name(void **test_state) {
    const struct test_folder *folder = *test_state;
    char path[TEST_PATH_BYTES];
    struct weir_state *state = open_well(test_path(folder, "good", path));
    sample_commit(state, 0, 2);
    weir_state_close(state);
    for (size_t i = 0; i < COUNT_OF(wrongs); i++) {
        struct told told;
        struct weir_error err;
        test_shell(folder, "cp good/state.* .");
        change(folder, wrongs[i].sql);
        check(folder, &told);
        assert_told(&told, wrongs[i].told);
        assert_true(wrongs[i].count == 0 || wrongs[i].count == told.count);
        weir_status status = weir_state_open(folder->path, NULL, &state, &err);
        assert_int_equal(status, wrongs[i].is_refused ? WEIR_OTHER : WEIR_OK);
        struct content content;
        if (status == WEIR_OK && strstr(told.text, "sum is wrong")) {
            assert_int_equal(content_read(state, &content, &err), WEIR_OTHER);
            assert_message_has(&err, "sum is wrong");
            assert_message_has(&err, "state.db is damaged: table ");
        }
        weir_state_close(state);
    }
}

static void a_next_event_that_was_is_told(void **test_state) {
    const struct test_folder *folder = *test_state;
    struct told told;
    struct weir_state *state = open_well(folder->path);
    sample_commit(state, 0, 0);
    struct weir_subscription_record record = {
        .id = 1, .name = WEIR_STR("first"), .next_seq = 11, .row_count = 6};
    assert_int_equal(
        weir_state_store.commit(state, &(struct weir_batch){.subscriptions = &record}, NULL),
        WEIR_OK);
    check(folder, &told); // while it is being written
    assert_int_equal(told.count, 1);
    assert_told(&told, "row 1: its next event is 11, and the journal has one of 11");
    weir_state_close(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_made_is_its_owners, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_has_any_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_path_that_is_too_long_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_folder_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_may_not_be_written_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_writer_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_committed_survives_a_kill, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_older_version_is_brought_up_to_date, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_databases_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commits_that_are_missing_are_missed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_backup_without_its_lock_is_taken_with_a_warning, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(somebody_elses_commit_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_that_are_wrong_are_told_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_next_event_that_was_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
