// SPDX-License-Identifier: Apache-2.0
//
// Tests of the file provider that need file systems of their own: one that fills up, one that is
// unmounted, one that is mounted over a directory. The program gives itself a mount namespace;
// where it may not, the tests are skipped.
#include "unit/test.h"

#include "provider/file/file.h"
#include "support/file_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

static bool has_namespace;

static void write_setting(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, text, strlen(text));
        (void)ignored;
        close(fd);
    }
}

static int enter_namespace(void **state) {
    (void)state;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    has_namespace = unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) == 0;
    if (has_namespace && uid != 0) {
        char map[64];
        write_setting("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", uid);
        write_setting("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "0 %u 1", gid);
        write_setting("/proc/self/gid_map", map);
    }
    has_namespace = has_namespace && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return 0;
}

// Mounts a file system of this size over a path, or skips the test.
static void mount_or_skip(const char *path, const char *size) {
    if (!has_namespace || mount("tmpfs", path, "tmpfs", 0, size) < 0) {
        skip();
    }
}

static int teardown(void **state) {
    struct file_rig *rig = *state;
    while (umount2(rig->store.path, MNT_DETACH) == 0) {
    }
    return file_rig_teardown(state);
}

static void a_full_disk_changes_nothing(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_value value;
    static char large[2 << 20];
    mount_or_skip(rig->store.path, "size=1m");
    file_rig_open(rig);
    file_rig_watch(rig, "*");
    assert_ok(weir_file_set(rig->resource, WEIR_STR("k"), WEIR_STR("before"), &err));
    test_sink_expect_set(&rig->sink, "k", "before");
    struct weir_str too_large = {large, sizeof large};
    assert_int_equal(weir_file_set(rig->resource, WEIR_STR("k"), too_large, &err), WEIR_LIMIT);
    assert_message_has(&err, "No space left");
    assert_int_equal(weir_file_set(rig->resource, WEIR_STR("d/new"), too_large, &err), WEIR_LIMIT);
    assert_ok(weir_file_get(rig->resource, WEIR_STR("k"), 100, &value, &err));
    assert_str_equal(((struct weir_str){value.data, value.size}), "before");
    free(value.data);
    // What was written of them is gone: there is room again, and nothing was told.
    assert_ok(weir_file_set(rig->resource, WEIR_STR("k"),
                            (struct weir_str){large, sizeof large / 4}, &err));
    assert_ok(weir_file_set(rig->resource, WEIR_STR("end"), WEIR_STR("v"), &err));
    assert_int_equal(test_sink_next(&rig->sink)->fields.data.value.bytes.size, sizeof large / 4);
    test_sink_expect_set(&rig->sink, "end", "v");
    test_shell(&rig->store,
               "test \"$(ls -A | tr '\\n' ' ')\" = 'd end k ' && test -z \"$(ls -A d)\"");
}

static void an_unmounted_directory_is_told_and_its_return_too(void **state) {
    struct file_rig *rig = *state;
    test_write(&rig->store, "below", "v"); // what the mount hides
    mount_or_skip(rig->store.path, "size=1m");
    test_write(&rig->store, "k", "1");
    file_rig_open(rig);
    file_rig_watch(rig, "*");
    test_write(&rig->store, "k", "2");
    test_sink_expect_set(&rig->sink, "k", "2");
    // Plainly, not lazily: the watcher must not keep the file system busy.
    WAIT_UNTIL(umount2(rig->store.path, 0) == 0 || errno != EBUSY);
    bool gone = false, below = false;
    while (!gone || !below) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        below = below || test_is_set(event, "below", "v");
        gone = gone || weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));
    }
    mount_or_skip(rig->store.path, "size=1m"); // over the directory: no record tells
    test_write(&rig->store, "k", "3");
    test_sink_skip_to_set(&rig->sink, "k", "3");
    test_write(&rig->store, "k", "4");
    test_sink_skip_to_set(&rig->sink, "k", "4");
}

static void a_file_system_below_the_directory_belongs_to_it(void **state) {
    struct file_rig *rig = *state;
    char inner[TEST_PATH_BYTES];
    struct weir_error err;
    rig->options.rescan_ns = 100 * WEIR_NS_PER_MS; // no record tells of a mount
    test_mkdir(&rig->store, "d");
    mount_or_skip(test_path(&rig->store, "d", inner), "size=1m");
    file_rig_open(rig);
    file_rig_watch(rig, "*");
    test_write(&rig->store, "d/k", "1");
    test_sink_expect_set(&rig->sink, "d/k", "1");
    assert_ok(weir_file_set(rig->resource, WEIR_STR("d/e/l"), WEIR_STR("2"), &err));
    test_sink_expect_set(&rig->sink, "d/e/l", "2");
    WAIT_UNTIL(umount2(inner, 0) == 0 || errno != EBUSY);
    bool k = false, l = false;
    while (!k || !l) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED)));
        k = k || weir_str_equal(event->key, WEIR_STR("d/k"));
        l = l || weir_str_equal(event->key, WEIR_STR("d/e/l"));
    }
    test_write(&rig->store, "d/k", "3");
    test_sink_expect_set(&rig->sink, "d/k", "3");
    mount_or_skip(inner, "size=1m");
    test_write(&rig->store, "d/k", "4");
    test_sink_skip_to_set(&rig->sink, "d/k", "4");
    umount2(inner, MNT_DETACH);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, file_rig_setup_closed, teardown)
    const struct CMUnitTest cases[] = {
        CASE(a_full_disk_changes_nothing),
        CASE(an_unmounted_directory_is_told_and_its_return_too),
        CASE(a_file_system_below_the_directory_belongs_to_it),
    };
    return cmocka_run_group_tests(cases, enter_namespace, NULL);
}
