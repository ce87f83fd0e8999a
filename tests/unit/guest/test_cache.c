// SPDX-License-Identifier: Apache-2.0
//
// The folder of compiled guests: what is kept, what is never used, and what goes.
#include "guest/cache.h"

#include "unit/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM_BYTES = 1000 };

static char root[] = "/tmp/weir-test-cache-XXXXXX", path[sizeof root + 8];
static struct weir_cache_config config = {.path = path, .bytes_max = ROOM_BYTES};

static int begin(void **state) {
    (void)state;
    memcpy(root + sizeof root - 7, "XXXXXX", 6);
    if (!mkdtemp(root)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/a/b", root);
    config.is_optional = false;
    return 0;
}

static int end(void **state) {
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static int open_it(void) {
    struct weir_error err;
    int fd;
    if (weir_cache_open(&config, &fd, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    assert_true(fd >= 0);
    return fd;
}

static void put(int folder, const char *name, size_t size, bool is_good) {
    char temporary[WEIR_CACHE_NAME_BYTES];
    char *bytes = calloc(1, size);
    int fd = weir_cache_begin(folder, temporary);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(weir_cache_find(folder, name), -1); // before it is whole
    weir_cache_end(&config, folder, fd, temporary, name, is_good);
    close(fd);
    free(bytes);
}

static bool has(int folder, const char *name) {
    int fd = weir_cache_find(folder, name);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static size_t count_files(void) {
    DIR *folder = opendir(path);
    size_t count = 0;
    for (const struct dirent *item; (item = readdir(folder));) {
        count += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0;
    }
    closedir(folder);
    return count;
}

static void what_is_put_is_found(void **state) {
    (void)state;
    struct stat info;
    int folder = open_it();
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_false(has(folder, "one"));
    put(folder, "one", 10, true);
    assert_true(has(folder, "one"));
    put(folder, "two", 10, false);
    assert_false(has(folder, "two"));
    assert_int_equal(count_files(), 1);
    close(folder);
    folder = open_it();
    assert_true(has(folder, "one"));
    close(folder);
}

static void what_others_could_have_written_is_not_used(void **state) {
    (void)state;
    int folder = open_it(), fd;
    struct weir_error err = {.message = ""};
    put(folder, "one", 10, true);
    assert_int_equal(fchmodat(folder, "one", 0620, 0), 0);
    assert_false(has(folder, "one"));
    assert_int_equal(fchmodat(folder, "one", 0602, 0), 0);
    assert_false(has(folder, "one"));
    assert_int_equal(fchmodat(folder, "one", 0600, 0), 0);
    assert_true(has(folder, "one"));
    if (geteuid() == 0) { // who else could give a file away
        assert_int_equal(fchownat(folder, "one", 1, 1, 0), 0);
        assert_false(has(folder, "one"));
    }
    assert_int_equal(symlinkat("/etc/hostname", folder, "link"), 0);
    assert_false(has(folder, "link"));
    assert_int_equal(mkdirat(folder, "folder", 0700), 0);
    assert_false(has(folder, "folder"));
    close(folder);
    assert_int_equal(chmod(path, 0770), 0);
    assert_int_equal(weir_cache_open(&config, &fd, &err), WEIR_DENIED);
    assert_int_equal(fd, -1);
    assert_message_has(&err, "host.cache");
}

static void what_was_not_used_for_longest_goes(void **state) {
    (void)state;
    int folder = open_it();
    put(folder, "one", 400, true);
    put(folder, "two", 400, true);
    // Used again, an hour ago and two.
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct timespec older[2] = {{now.tv_sec - 7200, 0}, {now.tv_sec - 7200, 0}};
    struct timespec old[2] = {{now.tv_sec - 3600, 0}, {now.tv_sec - 3600, 0}};
    assert_int_equal(utimensat(folder, "one", old, 0), 0);
    assert_int_equal(utimensat(folder, "two", older, 0), 0);
    put(folder, "three", 400, true);
    assert_true(has(folder, "one"));
    assert_false(has(folder, "two"));
    assert_true(has(folder, "three"));
    put(folder, "large", 2 * ROOM_BYTES, true); // whoever is new stays
    assert_true(has(folder, "large"));
    assert_int_equal(count_files(), 1);
    close(folder);
}

static void a_folder_that_cannot_be_is_an_error_unless_it_need_not_be(void **state) {
    (void)state;
    struct weir_error err = {.message = ""};
    int fd;
    snprintf(path, sizeof path, "%s/a", root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_true(weir_cache_open(&config, &fd, &err) != WEIR_OK);
    assert_message_has(&err, path);
    config.is_optional = true;
    assert_int_equal(weir_cache_open(&config, &fd, &err), WEIR_OK);
    assert_int_equal(fd, -1);
    const struct weir_cache_config none = {0};
    assert_int_equal(weir_cache_open(&none, &fd, &err), WEIR_OK);
    assert_int_equal(fd, -1);
}

static void a_name_is_the_contents(void **state) {
    (void)state;
    char one[WEIR_CACHE_NAME_BYTES], two[WEIR_CACHE_NAME_BYTES];
    assert_int_equal(weir_cache_name(WEIR_STR("abc"), "module", one, NULL), WEIR_OK);
    // FIPS 180-2, appendix B.1
    assert_non_null(
        strstr(one, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad-module-"));
    assert_int_equal(weir_cache_name(WEIR_STR("abc"), "component", two, NULL), WEIR_OK);
    assert_string_not_equal(one, two);
    assert_int_equal(weir_cache_name(WEIR_STR("abd"), "module", two, NULL), WEIR_OK);
    assert_string_not_equal(one, two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_put_is_found, begin, end),
        cmocka_unit_test_setup_teardown(what_others_could_have_written_is_not_used, begin, end),
        cmocka_unit_test_setup_teardown(what_was_not_used_for_longest_goes, begin, end),
        cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_is_an_error_unless_it_need_not_be,
                                        begin, end),
        cmocka_unit_test(a_name_is_the_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
