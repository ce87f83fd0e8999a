// SPDX-License-Identifier: Apache-2.0
//
// Tests of the file provider's watcher (watch.c, tree.c, reconcile.c), beyond the contract of all
// providers: each way in which files change under Linux, and each way in which inotify can fail to
// tell. The periodic rescan is off, but where it is what is tested.
#include "provider/file/file.h"

#include "base/clock.h"
#include "support/file_rig.h"
#include "unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

static void expect_set(struct file_rig *rig, const char *key, const char *value) {
    test_sink_expect_set(&rig->sink, key, value);
}

static void expect_deleted(struct file_rig *rig, const char *key) {
    test_sink_expect_deleted(&rig->sink, key);
}

// Nothing was told that the test has not taken yet: shown by a change that is told after it would
// have been.
static void expect_nothing_more(struct file_rig *rig) {
    static unsigned number;
    char value[32];
    snprintf(value, sizeof value, "%u", ++number);
    test_write(&rig->store, "marker", value);
    expect_set(rig, "marker", value);
}

static void put(int fd, const char *text) {
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

// ---- writers ----

static void a_shell_writes(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    test_shell(&rig->store, "echo one > k");
    expect_set(rig, "k", "one\n");
    test_shell(&rig->store, "echo two > k");
    expect_set(rig, "k", "two\n");
    test_shell(&rig->store, "echo three >> k");
    expect_set(rig, "k", "two\nthree\n");
    test_shell(&rig->store, "echo four > .k.tmp && mv .k.tmp k");
    expect_set(rig, "k", "four\n");
    test_shell(&rig->store, "rm k");
    expect_deleted(rig, "k");
    test_shell(&rig->store, ": > k");
    expect_set(rig, "k", "");
    expect_nothing_more(rig);
}

static void a_rename_moves_a_key(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    test_write(&rig->store, "a", "1");
    expect_set(rig, "a", "1");
    test_rename(&rig->store, "a", "b");
    expect_deleted(rig, "a");
    expect_set(rig, "b", "1");
    test_rename(&rig->store, "b", ".hidden");
    expect_deleted(rig, "b");
    test_rename(&rig->store, ".hidden", "../outside");
    test_rename(&rig->folder, "outside", "store/c");
    expect_set(rig, "c", "1");
    expect_nothing_more(rig);
}

static void a_slow_writer_is_told_when_it_closes(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    test_write(&rig->store, "old", "before");
    expect_set(rig, "old", "before");
    int old = test_open(&rig->store, "old", O_WRONLY | O_TRUNC);
    int new = test_open(&rig->store, "new", O_WRONLY | O_CREAT);
    put(old, "half");
    put(new, "half");
    expect_nothing_more(rig);
    put(old, " whole");
    put(new, " whole");
    // For longer than a delayed key waits before it is looked at again.
    for (int64_t end_ns = weir_clock_monotonic_ns() + 400 * WEIR_NS_PER_MS;
         weir_clock_monotonic_ns() < end_ns;) {
        expect_nothing_more(rig);
    }
    close(old);
    expect_set(rig, "old", "half whole");
    close(new);
    expect_set(rig, "new", "half whole");
    expect_nothing_more(rig);
}

static void another_writers_close_does_not_tell_half_a_value(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    int slow = test_open(&rig->store, "k", O_WRONLY | O_CREAT);
    put(slow, "half");
    int fast = test_open(&rig->store, "k", O_WRONLY);
    close(fast); // its record leads to a look at what the slow one has written
    expect_nothing_more(rig);
    put(slow, " whole");
    close(slow);
    expect_set(rig, "k", "half whole");
    expect_nothing_more(rig);
}

struct writer {
    struct file_rig *rig;
    int rounds;
};

// Writes in place, as fast as it can, in pieces: the file is empty or half most of the time.
static void *write_in_pieces(void *argument) {
    struct writer *writer = argument;
    char path[TEST_PATH_BYTES], piece[512];
    test_path(&writer->rig->store, "k", path);
    for (int i = 1; i <= writer->rounds; i++) {
        memset(piece, 'a' + i % 26, sizeof piece);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        for (int n = 0; n < 8; n++) {
            ssize_t ignored = write(fd, piece, sizeof piece);
            (void)ignored;
        }
        if (i == writer->rounds) {
            ssize_t ignored = write(fd, "end", 3);
            (void)ignored;
        }
        close(fd);
    }
    return NULL;
}

static void no_half_value_is_ever_told(void **state) {
    struct file_rig *rig = *state;
    enum { WHOLE_BYTES = 8 * 512 };
    struct writer writer = {.rig = rig, .rounds = 1000};
    file_rig_watch(rig, "k");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_in_pieces, &writer), 0);
    for (bool is_last = false; !is_last;) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        struct weir_str value = event->fields.data.value.bytes;
        is_last = value.size == WHOLE_BYTES + 3;
        if (!is_last && value.size != WHOLE_BYTES) {
            fail_msg("a value of %zu bytes was told", value.size);
        }
        for (size_t i = 1; i < WHOLE_BYTES; i++) {
            assert_int_equal(value.data[i], value.data[0]);
        }
    }
    pthread_join(thread, NULL);
}

static void a_second_name_is_a_second_key(void **state) {
    struct file_rig *rig = *state;
    char from[TEST_PATH_BYTES], to[TEST_PATH_BYTES];
    test_write(&rig->folder, "outside", "v");
    file_rig_watch(rig, "*");
    test_path(&rig->folder, "outside", from);
    assert_int_equal(link(from, test_path(&rig->store, "k", to)), 0);
    expect_set(rig, "k", "v");
    assert_int_equal(link(from, test_path(&rig->store, "l", to)), 0);
    expect_set(rig, "l", "v");
    test_remove(&rig->store, "k");
    expect_deleted(rig, "k");
    expect_nothing_more(rig);
}

static void a_file_that_gets_its_name_late_is_told(void **state) {
    struct file_rig *rig = *state;
    char from[64], to[TEST_PATH_BYTES];
    file_rig_watch(rig, "*");
    int fd = open(rig->store.path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EOPNOTSUPP) {
        skip();
    }
    assert_true(fd >= 0);
    put(fd, "whole");
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    assert_int_equal(
        linkat(AT_FDCWD, from, AT_FDCWD, test_path(&rig->store, "k", to), AT_SYMLINK_FOLLOW), 0);
    expect_nothing_more(rig); // it is open still
    close(fd);                // and no record says "k" when it is closed
    expect_set(rig, "k", "whole");
    expect_nothing_more(rig);
}

static void a_file_that_gets_its_name_when_it_is_closed_is_told(void **state) {
    struct file_rig *rig = *state;
    char from[64], to[TEST_PATH_BYTES];
    file_rig_watch(rig, "*");
    int writer = open(rig->store.path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (writer < 0 && errno == EOPNOTSUPP) {
        skip();
    }
    put(writer, "whole");
    snprintf(from, sizeof from, "/proc/self/fd/%d", writer);
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(writer);
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    assert_int_equal(
        linkat(AT_FDCWD, from, AT_FDCWD, test_path(&rig->store, "k", to), AT_SYMLINK_FOLLOW), 0);
    expect_set(rig, "k", "whole"); // its one record is that of the name
    close(fd);
    expect_nothing_more(rig);
}

static void a_memory_map_is_told_when_it_goes(void **state) {
    struct file_rig *rig = *state;
    test_write(&rig->store, "k", "before");
    file_rig_watch(rig, "*");
    int fd = test_open(&rig->store, "k", O_RDWR);
    char *map = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    memcpy(map, "after!", 6);
    assert_int_equal(msync(map, 6, MS_SYNC), 0);
    expect_nothing_more(rig);
    munmap(map, 6);
    expect_set(rig, "k", "after!");
}

// ---- what is a change ----

static void the_same_content_again_is_a_set(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    test_write(&rig->store, "k", "v");
    const struct weir_event *first = test_sink_expect_set(&rig->sink, "k", "v");
    test_replace(&rig->store, "k", "v");
    const struct weir_event *second = test_sink_expect_set(&rig->sink, "k", "v");
    assert_false(weir_str_equal(first->fields.id, second->fields.id));
}

static void set_time(struct file_rig *rig, const char *name, time_t seconds) {
    char path[TEST_PATH_BYTES];
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, test_path(&rig->store, name, path), times, 0), 0);
}

static void content_decides_where_the_time_is_the_same(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    test_write(&rig->store, "k", "one");
    expect_set(rig, "k", "one");
    // cp -p writes in place and sets the time of its source: same inode, size and time.
    test_write(&rig->folder, "source", "two");
    test_shell(&rig->folder, "touch -r store/k source && cp -p source store/k");
    test_sink_skip_to_set(&rig->sink, "k", "two");
}

static void what_changes_no_value_is_not_told(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES];
    test_write(&rig->store, "old", "v");
    set_time(rig, "old", 1000000000);
    file_rig_watch(rig, "*");
    test_write(&rig->store, "k", "v");
    expect_set(rig, "k", "v");
    const char *names[] = {"k", "old"};
    for (size_t i = 0; i < 2; i++) {
        close(test_open(&rig->store, names[i], O_WRONLY)); // opened for writing, not written
        close(test_open(&rig->store, names[i], O_RDONLY));
        expect_nothing_more(rig);
    }
    assert_int_equal(chmod(test_path(&rig->store, "k", path), 0600), 0);
    close(test_open(&rig->store, "k", O_WRONLY));
    expect_nothing_more(rig);
}

static void what_is_there_when_a_watch_begins_is_not_told(void **state) {
    struct file_rig *rig = *state;
    test_write(&rig->store, "old", "v");
    test_mkdir(&rig->store, "d");
    test_write(&rig->store, "d/old", "v");
    file_rig_watch(rig, "*");
    expect_nothing_more(rig);
    test_remove(&rig->store, "old");
    expect_deleted(rig, "old");
    test_write(&rig->store, "d/old", "w");
    expect_set(rig, "d/old", "w");
    expect_nothing_more(rig);
}

static void a_key_that_comes_and_goes_unseen_is_not_told(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = file_rig_watch(rig, "*");
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    test_write(&rig->store, "first", "v");
    test_sink_await_offers(&rig->sink, 1);
    test_write(&rig->store, "k", "v");
    test_remove(&rig->store, "k");
    test_write(&rig->store, "l", "v");
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_file_resume(watch);
    expect_set(rig, "first", "v");
    expect_set(rig, "l", "v");
    expect_nothing_more(rig);
}

static void a_refused_key_keeps_its_place(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = file_rig_watch(rig, "*");
    struct test_sink other; // sees all, so that the test knows when a key was looked at
    test_sink_init(&other);
    struct weir_watch *seen = file_rig_watch_into(rig, "*", &other);
    const char *keys[] = {"c", "a", "b"};
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    for (size_t i = 0; i < 3; i++) {
        test_write(&rig->store, keys[i], "v");
        test_sink_expect_set(&other, keys[i], "v");
    }
    for (size_t refusals = 1; refusals <= 4; refusals++) {
        test_sink_await_offers(&rig->sink, refusals);
        weir_file_resume(watch);
    }
    test_sink_await_offers(&rig->sink, 5);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_file_resume(watch);
    for (size_t i = 0; i < 3; i++) {
        expect_set(rig, keys[i], "v");
    }
    weir_file_unwatch(seen);
    expect_nothing_more(rig);
    test_sink_finish(&other);
}

static void equal_deletions_have_ids_of_their_own(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    const struct weir_event *deleted[2];
    for (int i = 0; i < 2; i++) {
        test_write(&rig->store, "k", "v");
        const struct weir_event *set = test_sink_expect_set(&rig->sink, "k", "v");
        test_remove(&rig->store, "k");
        deleted[i] = test_sink_expect_deleted(&rig->sink, "k");
        // It is that of the value that went, with a mark.
        struct weir_str id = set->fields.id;
        assert_true(weir_str_has_prefix(deleted[i]->fields.id, id));
        assert_true(deleted[i]->fields.id.size == id.size + strlen("-deleted"));
    }
    assert_false(weir_str_equal(deleted[0]->fields.id, deleted[1]->fields.id));
}

static void a_file_that_comes_back_has_another_id(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "k");
    test_write(&rig->store, "k", "v");
    const struct weir_event *first = test_sink_expect_set(&rig->sink, "k", "v");
    test_rename(&rig->store, "k", ".away");
    expect_deleted(rig, "k");
    test_rename(&rig->store, ".away", "k");
    const struct weir_event *second = test_sink_expect_set(&rig->sink, "k", "v");
    assert_false(weir_str_equal(first->fields.id, second->fields.id));
}

static void a_key_that_is_no_text_has_a_coded_subject(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    test_write(&rig->store, "\xff%25\xc3\xa4", "v");
    const struct weir_event *event = test_sink_expect_set(&rig->sink, "\xff%\xc3\xa4", "v");
    assert_true(weir_str_equal(event->fields.subject.value, WEIR_STR("%FF%25%C3%A4")));
    assert_true(weir_str_equal(test_extension(event, "subjectencoding"), WEIR_STR("percent")));
    test_write(&rig->store, "100%25", "v");
    event = test_sink_expect_set(&rig->sink, "100%", "v");
    assert_true(weir_str_equal(event->fields.subject.value, WEIR_STR("100%")));
    assert_int_equal(test_extension(event, "subjectencoding").size, 0);
}

static void what_is_no_regular_file_is_no_key(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES];
    file_rig_watch(rig, "*");
    assert_int_equal(mkfifo(test_path(&rig->store, "fifo", path), 0666), 0);
    assert_int_equal(symlink("/etc/passwd", test_path(&rig->store, "link", path)), 0);
    assert_int_equal(symlink("/etc", test_path(&rig->store, "linked", path)), 0);
    test_write(&rig->store, ".dot", "v");
    test_write(&rig->store, "a%41", "v");
    expect_nothing_more(rig);
    test_write(&rig->store, "k", "v");
    expect_set(rig, "k", "v");
    test_shell(&rig->store, "rm k && mkfifo k");
    expect_deleted(rig, "k");
    test_shell(&rig->store, "rm k && ln -s /etc/passwd k");
    expect_nothing_more(rig);
    test_replace(&rig->store, "k", "w");
    expect_set(rig, "k", "w");
}

// ---- directories ----

static void a_tree_made_at_once_is_seen_whole(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    for (int i = 0; i < 50; i++) {
        char command[128], key[64];
        snprintf(command, sizeof command, "mkdir -p t%d/a/b/c && echo v > t%d/a/b/c/k", i, i);
        test_shell(&rig->store, command);
        snprintf(key, sizeof key, "t%d/a/b/c/k", i);
        expect_set(rig, key, "v\n");
    }
    expect_nothing_more(rig);
}

static void a_key_in_directories_that_come_later_is_seen(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "a/b/c/k");
    file_rig_watch(rig, "marker");
    test_shell(&rig->store, "mkdir -p a/b/x a/y z && echo v > a/b/x/k && echo v > a/k");
    expect_nothing_more(rig);
    test_shell(&rig->store, "mkdir -p a/b/c && echo v > a/b/c/k");
    expect_set(rig, "a/b/c/k", "v\n");
    test_shell(&rig->store, "rm -r a");
    expect_deleted(rig, "a/b/c/k");
    test_shell(&rig->store, "mkdir -p a/b/c && echo w > a/b/c/k");
    expect_set(rig, "a/b/c/k", "w\n");
    expect_nothing_more(rig);
}

// Takes so many events, in any order, and fails the test if a key has another last state than
// wanted; "" is deleted.
static void expect_in_any_order(struct file_rig *rig, size_t count,
                                const char *const (*wanted)[2]) {
    const struct weir_event *events[16];
    assert_in_range(count, 1, 16);
    for (size_t i = 0; i < count; i++) {
        events[i] = test_sink_next(&rig->sink);
    }
    for (size_t i = 0; i < count; i++) {
        size_t found = 0;
        for (size_t at = 0; at < count; at++) {
            bool is_deleted =
                weir_str_equal(events[at]->key, weir_str_of(wanted[i][0])) &&
                weir_str_equal(events[at]->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));
            found +=
                wanted[i][1][0] ? test_is_set(events[at], wanted[i][0], wanted[i][1]) : is_deleted;
        }
        if (found != 1) {
            fail_msg("%zu times instead of once: %s \"%s\"", found, wanted[i][0], wanted[i][1]);
        }
    }
}

static void a_directory_that_moves_takes_its_keys_along(void **state) {
    struct file_rig *rig = *state;
    test_shell(&rig->folder,
               "mkdir -p outside/in/deep && printf 1 > outside/k && printf 2 > outside/in/deep/k");
    file_rig_watch(rig, "*");
    test_rename(&rig->folder, "outside", "store/a");
    expect_in_any_order(rig, 2, (const char *const[][2]){{"a/k", "1"}, {"a/in/deep/k", "2"}});
    test_rename(&rig->store, "a", "b");
    expect_in_any_order(rig, 4,
                        (const char *const[][2]){
                            {"a/k", ""}, {"a/in/deep/k", ""}, {"b/k", "1"}, {"b/in/deep/k", "2"}});
    test_write(&rig->store, "b/in/deep/k", "3");
    expect_set(rig, "b/in/deep/k", "3");
    test_rename(&rig->store, "b/in", "c");
    expect_in_any_order(rig, 2, (const char *const[][2]){{"b/in/deep/k", ""}, {"c/deep/k", "3"}});
    test_write(&rig->store, "c/deep/k", "4");
    expect_set(rig, "c/deep/k", "4");
    test_shell(&rig->folder, "mv store/c outside");
    expect_deleted(rig, "c/deep/k");
    test_write(&rig->folder, "outside/deep/k", "not ours any more");
    expect_nothing_more(rig);
    test_shell(&rig->store, "rm -r b");
    expect_deleted(rig, "b/k");
    expect_nothing_more(rig);
}

static void directories_that_swap_names_keep_nothing_wrong(void **state) {
    struct file_rig *rig = *state;
    test_shell(&rig->store, "mkdir -p a/x b/x && printf a > a/x/k && printf b > b/x/k");
    file_rig_watch(rig, "*");
    for (int i = 0; i < 20; i++) {
        test_shell(&rig->store, "mv a t && mv b a && mv t b");
    }
    // An even number of swaps: nothing differs in the end, whatever was told in between.
    test_write(&rig->store, "a/x/k", "new a");
    test_sink_skip_to_set(&rig->sink, "a/x/k", "new a");
    test_write(&rig->store, "b/x/k", "new b");
    test_sink_skip_to_set(&rig->sink, "b/x/k", "new b");
    test_shell(&rig->store, "mv a t && mv b a && mv t b");
    bool a = false, b = false;
    while (!a || !b) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        a = a || test_is_set(event, "a/x/k", "new b");
        b = b || test_is_set(event, "b/x/k", "new a");
    }
    test_write(&rig->store, "a/x/l", "1");
    test_sink_skip_to_set(&rig->sink, "a/x/l", "1");
    test_write(&rig->store, "b/x/l", "2");
    test_sink_skip_to_set(&rig->sink, "b/x/l", "2");
    expect_nothing_more(rig);
}

static void directories_exchanged_at_once_keep_nothing_wrong(void **state) {
    struct file_rig *rig = *state;
    char a[TEST_PATH_BYTES], b[TEST_PATH_BYTES], value[16];
    test_shell(&rig->store, "mkdir -p a/x/y b/x/y && printf a > a/x/y/k && printf b > b/x/y/k");
    test_path(&rig->store, "a", a);
    test_path(&rig->store, "b", b);
    file_rig_watch(rig, "*");
    for (int i = 0; i < 40; i++) {
        // No look ever finds a name missing.
        for (int n = 0; n < 1 + i % 4; n++) {
            assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
        }
        snprintf(value, sizeof value, "%d", i);
        test_write(&rig->store, "a/x/y/k", value);
        test_sink_skip_to_set(&rig->sink, "a/x/y/k", value);
        snprintf(value, sizeof value, "-%d", i);
        test_write(&rig->store, "b/x/y/k", value);
        test_sink_skip_to_set(&rig->sink, "b/x/y/k", value);
    }
}

static void a_file_and_a_directory_may_take_turns(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    for (int i = 0; i < 20; i++) {
        test_shell(&rig->store, "printf v > n");
        expect_set(rig, "n", "v");
        test_shell(&rig->store, "rm n && mkdir n && printf w > n/k");
        expect_in_any_order(rig, 2, (const char *const[][2]){{"n", ""}, {"n/k", "w"}});
        test_shell(&rig->store, "rm -r n");
        expect_deleted(rig, "n/k");
    }
    expect_nothing_more(rig);
}

// Each inotify watch is a line in the fdinfo of its descriptor.
static size_t count_inotify_watches(void) {
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
            count += strncmp(line, "inotify wd:", strlen("inotify wd:")) == 0;
        }
        if (file) {
            fclose(file);
        }
    }
    return count;
}

static void only_directories_of_interest_are_watched(void **state) {
    struct file_rig *rig = *state;
    size_t none = count_inotify_watches();
    test_shell(&rig->store, "mkdir -p a/b/c a/d x/y");
    struct weir_watch *exact = file_rig_watch(rig, "a/b/k"); // the store, a, a/b
    assert_int_equal(count_inotify_watches(), none + 3);
    struct weir_watch *prefix = file_rig_watch(rig, "a/b*"); // also a/b/c
    assert_int_equal(count_inotify_watches(), none + 4);
    struct weir_watch *all = file_rig_watch(rig, "*");
    assert_int_equal(count_inotify_watches(), none + 7);
    weir_file_unwatch(all);
    weir_file_unwatch(prefix);
    WAIT_UNTIL(count_inotify_watches() == none + 3);
    weir_file_unwatch(exact);
    WAIT_UNTIL(count_inotify_watches() == none);
}

// ---- what inotify does not tell ----

static int read_setting(const char *path) {
    FILE *file = fopen(path, "r");
    int value = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &value), 1);
    fclose(file);
    return value;
}

static void after_an_overflow_every_key_is_compared(void **state) {
    struct file_rig *rig = *state;
    int queue = read_setting("/proc/sys/fs/inotify/max_queued_events");
    if (queue > 200000) {
        skip();
    }
    enum { KEYS = 200 };
    char key[32];
    test_shell(&rig->store,
               "mkdir d && echo old > d/gone && echo old > d/kept && echo old > stays");
    file_rig_watch(rig, "*");
    // The thread stands still in the sink, and the queue runs over.
    test_sink_gate(&rig->sink, true);
    test_write(&rig->store, "first", "v");
    test_sink_await_gated(&rig->sink);
    for (int i = 0; i < queue + 16;
         i++) { // one record each: no two that follow each other are equal
        close(test_open(&rig->store, i % 2 ? "stays" : "first", O_WRONLY));
    }
    for (int i = 0; i < KEYS; i++) { // no record of these
        snprintf(key, sizeof key, "k%d", i);
        test_write(&rig->store, key, key);
    }
    test_shell(&rig->store, "rm d/gone && echo new > d/kept && mkdir e && echo new > e/late");
    test_sink_gate(&rig->sink, false);
    file_rig_await_log(rig, "lost records");
    bool gone = false, kept = false, late = false;
    bool is_told[KEYS] = {false};
    size_t told = 0;
    while (!gone || !kept || !late || told < KEYS) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        gone = gone || weir_str_equal(event->key, WEIR_STR("d/gone"));
        kept = kept || test_is_set(event, "d/kept", "new\n");
        late = late || test_is_set(event, "e/late", "new\n");
        snprintf(key, sizeof key, "%.*s", WEIR_STR_ARG(event->key));
        int number = key[0] == 'k' ? atoi(key + 1) : -1;
        if (number >= 0 && number < KEYS && !is_told[number]) {
            is_told[number] = test_is_set(event, key, key);
            told += is_told[number];
        }
        assert_false(weir_str_equal(event->key, WEIR_STR("stays")));
    }
    test_write(&rig->store, "e/late", "live again");
    test_sink_skip_to_set(&rig->sink, "e/late", "live again");
}

static void a_directory_removed_and_made_again_goes_on(void **state) {
    struct file_rig *rig = *state;
    test_shell(&rig->store, "mkdir d && echo 1 > d/k && echo 1 > k");
    file_rig_watch(rig, "*");
    for (int i = 0; i < 3; i++) {
        test_shell(&rig->folder, "rm -r store");
        expect_in_any_order(rig, 2, (const char *const[][2]){{"d/k", ""}, {"k", ""}});
        file_rig_await_log(rig, "the directory is gone");
        test_shell(&rig->folder, "mkdir -p store/d && echo 1 > store/d/k && echo 1 > store/k");
        expect_in_any_order(rig, 2, (const char *const[][2]){{"d/k", "1\n"}, {"k", "1\n"}});
        expect_nothing_more(rig);
        test_remove(&rig->store, "marker");
        expect_deleted(rig, "marker");
    }
    file_rig_await_log(rig, "the directory is back");
}

static void a_directory_removed_and_made_again_at_once_goes_on(void **state) {
    struct file_rig *rig = *state;
    test_write(&rig->store, "k", "0");
    file_rig_watch(rig, "k");
    for (int i = 1; i <= 10; i++) {
        char command[128], value[16];
        snprintf(command, sizeof command, "rm -r store && mkdir store && printf %d > store/k", i);
        test_shell(&rig->folder, command);
        snprintf(value, sizeof value, "%d", i);
        test_sink_skip_to_set(&rig->sink, "k", value);
    }
}

static void a_directory_that_is_replaced_is_compared(void **state) {
    struct file_rig *rig = *state;
    test_shell(&rig->store, "printf 1 > same && printf 1 > changed && printf 1 > gone");
    test_shell(
        &rig->folder,
        "mkdir next && cp -p store/same next && printf 2 > next/changed && printf 2 > next/new");
    file_rig_watch(rig, "*");
    char next[TEST_PATH_BYTES];
    test_path(&rig->folder, "next", next);
    assert_int_equal(renameat2(AT_FDCWD, next, AT_FDCWD, rig->store.path, RENAME_EXCHANGE), 0);
    // `same` is another file with the same content: told as a set.
    expect_in_any_order(
        rig, 4,
        (const char *const[][2]){{"same", "1"}, {"changed", "2"}, {"new", "2"}, {"gone", ""}});
    test_write(&rig->folder, "next/k", "not ours any more");
    expect_nothing_more(rig);
}

static void a_link_to_the_directory_may_be_turned(void **state) {
    struct file_rig *rig = *state;
    test_shell(
        &rig->folder,
        "mv store one && ln -s one store && mkdir two && printf 2 > two/k && printf 1 > one/k");
    file_rig_open(rig);
    file_rig_watch(rig, "k");
    // No inotify record says this.
    test_shell(&rig->folder, "ln -s two next && mv -T next store");
    expect_set(rig, "k", "2");
    test_write(&rig->store, "k", "3");
    expect_set(rig, "k", "3");
}

static void a_watch_may_begin_while_the_directory_is_gone(void **state) {
    struct file_rig *rig = *state;
    test_shell(&rig->folder, "rmdir store");
    file_rig_watch(rig, "d/k");
    test_shell(&rig->folder, "mkdir -p store/d && printf v > store/d/k");
    expect_set(rig, "d/k", "v");
}

static void a_rescan_finds_what_inotify_does_not_tell(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES];
    rig->options.rescan_ns = 50 * WEIR_NS_PER_MS;
    test_shell(&rig->store, "mkdir d && printf value > d/k && printf value > d/other");
    file_rig_open(rig);
    file_rig_watch(rig, "*");
    // truncate(2) by path neither opens nor closes the file.
    assert_int_equal(truncate(test_path(&rig->store, "d/k", path), 3), 0);
    expect_set(rig, "d/k", "val");
    expect_nothing_more(rig);
}

static void files_of_dead_writers_are_removed(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES];
    test_write(&rig->store, ".weir-tmp-1-1", "half");
    test_write(&rig->store, ".weir-tmp-1-2", "half");
    test_write(&rig->store, ".other", "not ours");
    set_time(rig, ".weir-tmp-1-1", time(NULL) - 2 * 3600);
    set_time(rig, ".other", 1000);
    file_rig_watch(rig, "*");
    assert_true(access(test_path(&rig->store, ".weir-tmp-1-1", path), F_OK) < 0);
    assert_int_equal(access(test_path(&rig->store, ".weir-tmp-1-2", path), F_OK), 0);
    assert_int_equal(access(test_path(&rig->store, ".other", path), F_OK), 0);
}

// ---- bounds ----

static void too_many_keys_are_refused_and_later_kept_back(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_watch *watch;
    rig->options.keys_max = 3;
    test_shell(&rig->store, "for i in 1 2 3 4; do printf v > k$i; done");
    file_rig_open(rig);
    assert_int_equal(file_rig_try_watch(rig, "*", &watch, &err), WEIR_LIMIT);
    assert_non_null(strstr(err.message, "keys_max"));
    assert_null(watch);
    file_rig_watch(rig, "k4"); // a narrower watch is possible
    test_remove(&rig->store, "k4");
    expect_deleted(rig, "k4");
    file_rig_watch(rig, "*");
    test_write(&rig->store, "k5", "v");
    file_rig_await_log(rig, "keys_max is reached");
    test_write(&rig->store, "k1", "w");
    expect_set(rig, "k1", "w"); // those that are followed still are
    test_remove(&rig->store, "k2");
    expect_deleted(rig, "k2");
    expect_set(rig, "k5", "v"); // now there is room
}

static void too_many_directories_are_refused_and_later_kept_back(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_watch *watch;
    rig->options.directories_max = 3;
    test_shell(&rig->store, "mkdir a b c");
    file_rig_open(rig);
    assert_int_equal(file_rig_try_watch(rig, "*", &watch, &err), WEIR_LIMIT);
    assert_non_null(strstr(err.message, "directories_max"));
    test_remove(&rig->store, "c");
    file_rig_watch(rig, "*");
    test_shell(&rig->store, "mkdir d && printf v > d/k");
    file_rig_await_log(rig, "directories_max is reached");
    test_write(&rig->store, "a/k", "v");
    expect_set(rig, "a/k", "v");
    test_remove(&rig->store, "b");
    expect_set(rig, "d/k", "v");
}

static void a_large_value_is_told_once_and_logged(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    static char large[FILE_RIG_EVENT_BYTES_MAX + 1];
    memset(large, 'x', sizeof large);
    test_write_bytes(&rig->store, "k", (struct weir_str){large, sizeof large});
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_false(event->fields.data.is_some);
    assert_true(weir_str_equal(test_extension(event, "datasize"), WEIR_STR("1048577")));
    file_rig_await_log(rig, "without its value");
    expect_nothing_more(rig);
}

// ---- rights ----

enum { NOBODY = 65534 };

// As root: runs the rest of the test as nobody, who owns the store. Else does nothing.
static void become_unprivileged(struct file_rig *rig) {
    if (geteuid() == 0) {
        assert_int_equal(chmod(rig->folder.path, 0777), 0);
        assert_int_equal(chown(rig->store.path, NOBODY, (gid_t)-1), 0);
        assert_int_equal(seteuid(NOBODY), 0);
    }
}

static int teardown_as_root(void **state) {
    if (getuid() == 0 && seteuid(0) < 0) {
        return -1;
    }
    return file_rig_teardown(state);
}

static void a_file_that_cannot_be_read_is_told_when_it_can(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES];
    become_unprivileged(rig);
    file_rig_watch(rig, "*");
    test_write(&rig->store, "k", "v");
    expect_set(rig, "k", "v");
    test_path(&rig->store, "k", path);
    int fd = test_open(&rig->store, "k", O_WRONLY | O_TRUNC);
    assert_int_equal(fchmod(fd, 0), 0);
    put(fd, "w");
    close(fd);
    file_rig_await_log(rig, "a change is told late");
    expect_nothing_more(rig);
    assert_int_equal(chmod(path, 0600), 0); // no record says this
    expect_set(rig, "k", "w");
}

static void a_directory_that_cannot_be_read_keeps_nobody_else_away(void **state) {
    struct file_rig *rig = *state;
    become_unprivileged(rig);
    test_shell(&rig->store, "mkdir closed && chmod 0 closed");
    file_rig_watch(rig, "*");
    file_rig_await_log(rig, "may not be read");
    expect_nothing_more(rig);
    struct weir_error err;
    struct weir_watch *watch;
    assert_int_equal(file_rig_try_watch(rig, "closed/k", &watch, &err), WEIR_DENIED);
    test_shell(&rig->store, "chmod 700 closed");
}

// Takes CAP_LEASE from the calling thread, and from those that it starts, or gives it back.
static void set_lease_capability(bool is_on) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    unsigned bit = 1U << (CAP_LEASE % 32);
    data[CAP_LEASE / 32].effective &= ~bit;
    data[CAP_LEASE / 32].effective |= is_on ? bit : 0;
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

static void files_of_others_are_watched_too(void **state) {
    struct file_rig *rig = *state;
    if (geteuid() != 0) {
        skip(); // there are no others whose files could be written
    }
    assert_int_equal(chmod(rig->folder.path, 0777), 0);
    assert_int_equal(chmod(rig->store.path, 0777), 0);
    // The watcher's thread starts with what its starter has: not root, and so without leases on
    // root's files.
    setfsuid(NOBODY);
    set_lease_capability(false);
    file_rig_watch(rig, "*");
    set_lease_capability(true);
    setfsuid(0);
    for (int i = 0; i < 20; i++) {
        test_write(&rig->store, "k", i % 2 ? "odd" : "even");
        expect_set(rig, "k", i % 2 ? "odd" : "even");
        test_replace(&rig->store, "k", "replaced");
        expect_set(rig, "k", "replaced");
    }
    int slow = test_open(&rig->store, "slow", O_WRONLY | O_CREAT);
    put(slow, "half");
    expect_nothing_more(rig);
    put(slow, " whole");
    close(slow);
    expect_set(rig, "slow", "half whole");
    test_remove(&rig->store, "k");
    expect_deleted(rig, "k");
    expect_nothing_more(rig);
}

int main(void) {
#define CASE(name)      cmocka_unit_test_setup_teardown(name, file_rig_setup, file_rig_teardown)
#define CLOSED(name)    cmocka_unit_test_setup_teardown(name, file_rig_setup_closed, file_rig_teardown)
#define AS_NOBODY(name) cmocka_unit_test_setup_teardown(name, file_rig_setup, teardown_as_root)
    const struct CMUnitTest cases[] = {
        CASE(a_shell_writes),
        CASE(a_rename_moves_a_key),
        CASE(a_slow_writer_is_told_when_it_closes),
        CASE(another_writers_close_does_not_tell_half_a_value),
        CASE(no_half_value_is_ever_told),
        CASE(a_second_name_is_a_second_key),
        CASE(a_file_that_gets_its_name_late_is_told),
        CASE(a_file_that_gets_its_name_when_it_is_closed_is_told),
        CASE(a_memory_map_is_told_when_it_goes),
        CASE(the_same_content_again_is_a_set),
        CASE(content_decides_where_the_time_is_the_same),
        CASE(what_changes_no_value_is_not_told),
        CASE(what_is_there_when_a_watch_begins_is_not_told),
        CASE(a_key_that_comes_and_goes_unseen_is_not_told),
        CASE(a_refused_key_keeps_its_place),
        CASE(equal_deletions_have_ids_of_their_own),
        CASE(a_file_that_comes_back_has_another_id),
        CASE(a_key_that_is_no_text_has_a_coded_subject),
        CASE(what_is_no_regular_file_is_no_key),
        CASE(a_tree_made_at_once_is_seen_whole),
        CASE(a_key_in_directories_that_come_later_is_seen),
        CASE(a_directory_that_moves_takes_its_keys_along),
        CASE(directories_that_swap_names_keep_nothing_wrong),
        CASE(directories_exchanged_at_once_keep_nothing_wrong),
        CASE(a_file_and_a_directory_may_take_turns),
        CASE(only_directories_of_interest_are_watched),
        CASE(after_an_overflow_every_key_is_compared),
        CASE(a_directory_removed_and_made_again_goes_on),
        CASE(a_directory_removed_and_made_again_at_once_goes_on),
        CASE(a_directory_that_is_replaced_is_compared),
        CLOSED(a_link_to_the_directory_may_be_turned),
        CASE(a_watch_may_begin_while_the_directory_is_gone),
        CLOSED(a_rescan_finds_what_inotify_does_not_tell),
        CASE(files_of_dead_writers_are_removed),
        CLOSED(too_many_keys_are_refused_and_later_kept_back),
        CLOSED(too_many_directories_are_refused_and_later_kept_back),
        CASE(a_large_value_is_told_once_and_logged),
        AS_NOBODY(a_file_that_cannot_be_read_is_told_when_it_can),
        AS_NOBODY(a_directory_that_cannot_be_read_keeps_nobody_else_away),
        CASE(files_of_others_are_watched_too),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
