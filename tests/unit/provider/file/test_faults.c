// SPDX-License-Identifier: Apache-2.0
//
// A file system that misbehaves at the worst moment. The linker sends the provider's openat2 here,
// where it waits while the test says so (a dead network mount: the watcher's thread is held, and
// whoever closes the resource must not be), or where something is done behind its back first.
#include "unit/test.h"

#include "provider/file/file.h"
#include "support/file_rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_dead;
    const char *name; // the path whose opening does not return
    size_t held;
    const char *folder; // removed before a temporary file is made ...
    size_t removals;    // ... so many times
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long root, const char *path, void *how, size_t size);

long __wrap_syscall(long number, long root, const char *path, void *how, size_t size) {
    pthread_mutex_lock(&disk.lock);
    if (disk.is_dead && number == SYS_openat2 && strcmp(path, disk.name) == 0) {
        disk.held++;
        pthread_cond_broadcast(&disk.changed);
        while (disk.is_dead) {
            pthread_cond_wait(&disk.changed, &disk.lock);
        }
        disk.held--;
        pthread_cond_broadcast(&disk.changed);
    }
    if (disk.removals > 0 && number == SYS_openat2 &&
        strncmp(path, WEIR_FILE_TEMP_PREFIX, strlen(WEIR_FILE_TEMP_PREFIX)) == 0) {
        disk.removals--;
        REQUIRE(rmdir(disk.folder) == 0);
    }
    pthread_mutex_unlock(&disk.lock);
    return __real_syscall(number, root, path, how, size);
}

static void set_dead(bool is_dead, const char *name) {
    pthread_mutex_lock(&disk.lock);
    disk.is_dead = is_dead;
    disk.name = name;
    pthread_cond_broadcast(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

static size_t count_held(void) {
    pthread_mutex_lock(&disk.lock);
    size_t held = disk.held;
    pthread_mutex_unlock(&disk.lock);
    return held;
}

static void closing_does_not_wait_for_a_dead_disk(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = file_rig_watch(rig, "*");
    size_t threads = test_count_threads();
    set_dead(true, "k");
    test_write(&rig->store, "k", "v");
    WAIT_UNTIL(count_held() == 1);
    int64_t began_ns = weir_clock_monotonic_ns();
    weir_file_unwatch(watch);
    weir_file_provider.close(rig->resource);
    rig->resource = NULL;
    int64_t took_ns = weir_clock_monotonic_ns() - began_ns;
    assert_in_range(took_ns, 0, 2 * WEIR_FILE_CLOSE_WAIT_MS * WEIR_NS_PER_MS);
    assert_true(file_rig_has_logged(rig, "its thread is left behind"));
    assert_int_equal(test_count_threads(), threads);
    // The sink and the log may go now; the thread, when it is let go, touches neither and frees
    // what is its own.
    size_t offers = test_sink_offers(&rig->sink);
    set_dead(false, "");
    WAIT_UNTIL(test_count_threads() == threads - 1);
    assert_int_equal(test_sink_offers(&rig->sink), offers);
}

static void a_sink_is_left_alone_though_its_watcher_is_stuck(void **state) {
    struct file_rig *rig = *state;
    struct weir_watch *watch = file_rig_watch(rig, "*");
    set_dead(true, "k");
    test_write(&rig->store, "k", "v");
    WAIT_UNTIL(count_held() == 1);
    weir_file_unwatch(watch); // returns at once
    set_dead(false, "");
    struct test_sink other;
    test_sink_init(&other);
    watch = file_rig_watch_into(rig, "*", &other);
    test_write(&rig->store, "k", "w");
    test_sink_skip_to_set(&other, "k", "w");
    assert_int_equal(test_sink_offers(&rig->sink), 0);
    weir_file_unwatch(watch);
    test_sink_finish(&other);
}

static void set_removals(const char *folder, size_t removals) {
    pthread_mutex_lock(&disk.lock);
    disk.folder = folder;
    disk.removals = removals;
    pthread_mutex_unlock(&disk.lock);
}

static void a_directory_that_goes_before_the_file_comes_is_made_again(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_value value;
    char folder[TEST_PATH_BYTES];
    test_path(&rig->store, "d/e", folder);
    set_removals(folder, 3);
    assert_ok(weir_file_set(rig->resource, WEIR_STR("d/e/k"), WEIR_STR("v"), &err));
    assert_ok(weir_file_get(rig->resource, WEIR_STR("d/e/k"), 10, &value, &err));
    free(value.data);
    // Whoever goes on removing it wins in the end, and the caller is told.
    assert_ok(weir_file_remove(rig->resource, WEIR_STR("d/e/k"), &err));
    set_removals(folder, 1000);
    assert_int_equal(weir_file_set(rig->resource, WEIR_STR("d/e/k"), WEIR_STR("v"), &err),
                     WEIR_NOT_FOUND);
    assert_message_has(&err, "d/e/k");
    set_removals(NULL, 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, file_rig_setup, file_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(closing_does_not_wait_for_a_dead_disk),
        CASE(a_sink_is_left_alone_though_its_watcher_is_stuck),
        CASE(a_directory_that_goes_before_the_file_comes_is_made_again),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
