// SPDX-License-Identifier: Apache-2.0
//
// How long a compilation will take: what was measured, a mean of it, and files that are damaged.
#include "unit/test.h"

#include "guest/pace.h"
#include "support/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static int open_folder(struct test_folder *folder) {
    test_folder_init(folder);
    int fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void close_folder(struct test_folder *folder, int fd) {
    close(fd);
    test_folder_finish(folder);
}

static int64_t estimate_ms(int folder_fd, const char *kind) {
    return weir_pace_estimate_ns(folder_fd, kind, MIB) / WEIR_NS_PER_MS;
}

static void what_was_measured_is_expected_again(void **state) {
    (void)state;
    struct test_folder folder;
    int fd = open_folder(&folder);
    int64_t unmeasured_ms = estimate_ms(-1, "module");
    assert_true(unmeasured_ms > 0);
    assert_int_equal(estimate_ms(fd, "module"), unmeasured_ms);
    weir_pace_note(fd, "module", 2 * MIB, 6 * WEIR_NS_PER_S);
    assert_int_equal(estimate_ms(fd, "module"), 3000);
    assert_int_equal(weir_pace_estimate_ns(fd, "module", 10 * MIB), 30 * WEIR_NS_PER_S);
    assert_int_equal(estimate_ms(fd, "component"), unmeasured_ms); // a kind of its own
    weir_pace_note(fd, "module", MIB, 7 * WEIR_NS_PER_S);          // moves by a part
    int64_t mean_ms = estimate_ms(fd, "module");
    assert_true(mean_ms > 3000 && mean_ms < 5000);
    close_folder(&folder, fd);
}

static void put(int folder_fd, const char *text, size_t size) {
    int fd = openat(folder_fd, ".pace-module", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
}

static void a_damaged_file_is_as_if_there_were_none(void **state) {
    (void)state;
    static const struct weir_str rows[] = {
        WEIR_STR(""),
        WEIR_STR("\n"),
        WEIR_STR("1500000000"),
        WEIR_STR("-5\n"),
        WEIR_STR("0\n"),
        WEIR_STR("nan\n"),
        WEIR_STR("inf\n"),
        WEIR_STR("1\n"),
        WEIR_STR("1500000000\nx"),
        WEIR_STR("1500000000\0\n"),
        WEIR_STR("99999999999999999999999\n"),
        WEIR_STR("9999999999999999999\n"),
        WEIR_STR("0123456789012345678901234567890123456789\n"),
    };
    struct test_folder folder;
    int fd = open_folder(&folder);
    int64_t unmeasured_ms = estimate_ms(-1, "module");
    put(fd, "1500000000\n", 11);
    assert_int_equal(estimate_ms(fd, "module"), 1500); // a sound one is read
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        put(fd, rows[i].data, rows[i].size);
        assert_int_equal(estimate_ms(fd, "module"), unmeasured_ms);
    }
    weir_pace_note(fd, "module", MIB, 2 * WEIR_NS_PER_S); // and is mended by the next one
    assert_int_equal(estimate_ms(fd, "module"), 2000);
    // Nor is one followed that leads elsewhere, or waited for one that has no end.
    assert_int_equal(unlinkat(fd, ".pace-module", 0), 0);
    assert_int_equal(symlinkat("/dev/zero", fd, ".pace-module"), 0);
    assert_int_equal(estimate_ms(fd, "module"), unmeasured_ms);
    assert_int_equal(unlinkat(fd, ".pace-module", 0), 0);
    assert_int_equal(mkfifoat(fd, ".pace-module", 0600), 0);
    assert_int_equal(estimate_ms(fd, "module"), unmeasured_ms);
    close_folder(&folder, fd);
}

static void what_cannot_be_is_not_kept(void **state) {
    (void)state;
    struct test_folder folder;
    int fd = open_folder(&folder);
    int64_t unmeasured_ms = estimate_ms(-1, "module");
    weir_pace_note(fd, "module", 0, WEIR_NS_PER_S);
    weir_pace_note(fd, "module", MIB, 0);
    weir_pace_note(fd, "module", MIB, -WEIR_NS_PER_S);
    weir_pace_note(fd, "module", 1, 1000 * WEIR_NS_PER_S);
    weir_pace_note(-1, "module", MIB, WEIR_NS_PER_S);
    assert_int_equal(estimate_ms(fd, "module"), unmeasured_ms);
    assert_int_equal(faccessat(fd, ".pace-module", F_OK, 0), -1);
    assert_true(weir_pace_is_its_file(".pace-module"));
    assert_false(weir_pace_is_its_file("0123-module"));
    close_folder(&folder, fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_measured_is_expected_again),
        cmocka_unit_test(a_damaged_file_is_as_if_there_were_none),
        cmocka_unit_test(what_cannot_be_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
