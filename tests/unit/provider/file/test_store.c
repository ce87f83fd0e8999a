// SPDX-License-Identifier: Apache-2.0
//
// Tests of src/provider/file/store.c and file.c, beyond the contract of all providers: what is in
// the directory, what cannot be reached from it, and what is left after a failure.
#include "provider/file/file.h"

#include "support/file_rig.h"
#include "unit/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static weir_status set(struct file_rig *rig, const char *key, const char *value,
                       struct weir_error *err) {
    return weir_file_set(rig->resource, weir_str_of(key), weir_str_of(value), err);
}

static weir_status get(struct file_rig *rig, const char *key, char *ret_value, size_t size,
                       struct weir_error *err) {
    struct weir_value value;
    weir_status status = weir_file_get(rig->resource, weir_str_of(key), size - 1, &value, err);
    if (!status) {
        memcpy(ret_value, value.data, value.size);
        ret_value[value.size] = '\0';
        free(value.data);
    }
    return status;
}

static void expect_file(struct file_rig *rig, const char *name, const char *content) {
    char got[256];
    int fd = test_open(&rig->store, name, O_RDONLY);
    ssize_t size = read(fd, got, sizeof got - 1);
    close(fd);
    assert_true(size >= 0);
    got[size] = '\0';
    assert_string_equal(got, content);
}

// How many names there are in the store's directory, hidden ones too.
static size_t count_names(struct file_rig *rig, const char *name) {
    char path[TEST_PATH_BYTES];
    DIR *dir = opendir(test_path(&rig->store, name, path));
    assert_non_null(dir);
    size_t count = 0;
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count - 2; // "." and ".."
}

// ---- opening ----

static void the_directory_is_made_if_it_may_be(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    test_remove(&rig->folder, "store");
    rig->options.create = false;
    struct weir_resource_args args = {.name = "store", .options = &rig->options};
    assert_int_equal(weir_file_provider.open(&args, &rig->resource, &err), WEIR_NOT_FOUND);
    assert_null(rig->resource);
    assert_non_null(strstr(err.message, rig->store.path));
    rig->options.create = true;
    file_rig_open(rig);
    assert_ok(set(rig, "k", "v", &err));
    expect_file(rig, "k", "v");
}

static void a_directory_without_a_parent_is_not_made(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    free(rig->options.path);
    assert_true(asprintf(&rig->options.path, "%s/none/deeper", rig->store.path) > 0);
    struct weir_resource_args args = {.name = "store", .options = &rig->options};
    assert_int_equal(weir_file_provider.open(&args, &rig->resource, &err), WEIR_NOT_FOUND);
    assert_non_null(strstr(err.message, "parent"));
}

static void a_file_is_no_directory(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    test_remove(&rig->folder, "store");
    test_write(&rig->folder, "store", "a file");
    struct weir_resource_args args = {.name = "store", .options = &rig->options};
    assert_int_not_equal(weir_file_provider.open(&args, &rig->resource, &err), WEIR_OK);
    assert_null(rig->resource);
    assert_non_null(strstr(err.message, rig->store.path));
}

static void the_path_may_be_a_symbolic_link(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    test_shell(&rig->folder, "mv store there && ln -s there store");
    file_rig_open(rig);
    assert_ok(set(rig, "d/k", "v", &err));
    test_shell(&rig->folder, "test \"$(cat there/d/k)\" = v");
}

static void a_directory_made_again_is_used(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[16];
    file_rig_open(rig);
    assert_ok(set(rig, "k", "v", &err));
    test_shell(&rig->folder, "rm -r store");
    assert_int_equal(set(rig, "k", "v", &err), WEIR_NOT_FOUND);
    assert_int_equal(get(rig, "k", value, sizeof value, &err), WEIR_NOT_FOUND);
    test_shell(&rig->folder, "mkdir store");
    assert_ok(set(rig, "k", "w", &err));
    expect_file(rig, "k", "w");
}

static weir_status publish(struct file_rig *rig, const char *type, const char *key,
                           struct weir_error *err) {
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = weir_str_of(type),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("i"),
        .subject = {true, weir_str_of(key)},
    };
    struct weir_event *event;
    assert_int_equal(weir_event_new(&fields, WEIR_STR(""), &event, err), WEIR_OK);
    weir_status status = weir_file_publish(rig->resource, event, err);
    weir_event_unref(event);
    return status;
}

// What a person can put right is worth trying again, and nothing is taken for done.
static void publishing_waits_for_its_directory(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    const char *types[] = {WEIR_TYPE_KEYVALUE_SET, WEIR_TYPE_KEYVALUE_DELETED};
    file_rig_open(rig);
    test_shell(&rig->folder, "rm -r store");
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        assert_int_equal(publish(rig, types[i], "k", &err), WEIR_UNAVAILABLE);
        assert_int_equal(err.status, WEIR_UNAVAILABLE);
        assert_message_has(&err, "store");
        assert_int_equal(publish(rig, types[i], "k", NULL), WEIR_UNAVAILABLE);
    }
    test_shell(&rig->folder, "mkdir store");
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        assert_ok(publish(rig, types[i], "d/k", &err));
        test_shell(&rig->store, i == 0 ? "test -f d/k" : "test ! -e d/k");
    }
    assert_int_equal(publish(rig, types[1], "none/k", &err), WEIR_OK);
    test_shell(&rig->store, "test ! -e none; printf v > file");
    assert_int_equal(publish(rig, types[1], "file/k", &err), WEIR_OK);
    assert_int_equal(publish(rig, types[0], "file/k", &err), WEIR_INVALID);
}

// ---- what is in the directory ----

static void a_key_is_a_file(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    assert_ok(set(rig, "orders/2026/1", "v", &err));
    expect_file(rig, "orders/2026/1", "v");
    assert_ok(set(rig, "../.x/%\n", "w", &err));
    expect_file(rig, "%2E./%2Ex/%25%0A", "w");
    assert_int_equal(count_names(rig, "."), 2);
    assert_int_equal(count_names(&(struct file_rig){.store = rig->folder}, "."),
                     1); // only the store
}

static void a_new_value_keeps_the_mode_and_the_owner(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char path[TEST_PATH_BYTES];
    struct stat st;
    mode_t mask = umask(027);
    assert_ok(set(rig, "new", "v", &err));
    assert_int_equal(stat(test_path(&rig->store, "new", path), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    test_write(&rig->store, "old", "v");
    test_path(&rig->store, "old", path);
    assert_int_equal(chmod(path, 0604), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 54321), 0);
    }
    assert_ok(set(rig, "old", "w", &err));
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    if (geteuid() == 0) {
        assert_int_equal(st.st_uid, 12345);
        assert_int_equal(st.st_gid, 54321);
    }
}

static void a_file_and_a_directory_cannot_share_a_name(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    assert_ok(set(rig, "a", "v", &err));
    assert_int_equal(set(rig, "a/b", "v", &err), WEIR_INVALID);
    assert_non_null(strstr(err.message, "a/b"));
    assert_int_equal(set(rig, "a/b/c", "v", &err), WEIR_INVALID);
    expect_file(rig, "a", "v");
    assert_ok(set(rig, "d/e/f", "v", &err));
    assert_int_equal(set(rig, "d/e", "v", &err), WEIR_INVALID);
    assert_int_equal(set(rig, "d", "v", &err), WEIR_INVALID);
    expect_file(rig, "d/e/f", "v");
    assert_int_equal(count_names(rig, "."), 2);
    assert_int_equal(count_names(rig, "d"), 1);
}

static void an_empty_directory_gives_way(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    assert_ok(set(rig, "a/b", "v", &err));
    assert_ok(weir_file_remove(rig->resource, WEIR_STR("a/b"), &err));
    assert_int_equal(count_names(rig, "a"), 0); // the directory stays
    assert_ok(set(rig, "a", "w", &err));
    expect_file(rig, "a", "w");
}

// ---- what cannot be reached ----

static void symbolic_links_are_not_followed(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[64];
    test_shell(&rig->folder,
               "mkdir outside && echo secret > outside/k && echo in > store/inside && "
               "ln -s ../outside store/dir && ln -s ../outside/k store/file && "
               "ln -s inside store/alias && ln -s / store/root && ln -s . store/self");
    const char *keys[] = {"dir/k", "file", "alias", "root/etc/passwd", "self/inside", "dir"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(get(rig, keys[i], value, sizeof value, &err), WEIR_NOT_FOUND);
        assert_int_equal(weir_file_remove(rig->resource, weir_str_of(keys[i]), &err),
                         WEIR_NOT_FOUND);
        assert_int_equal(set(rig, keys[i], "changed", &err), WEIR_INVALID);
    }
    assert_int_equal(set(rig, "dir/new/k", "changed", &err), WEIR_INVALID);
    test_shell(&rig->folder,
               "test \"$(cat outside/k store/inside)\" = \"$(printf 'secret\\nin')\" && "
               "test \"$(ls outside)\" = k");
    assert_int_equal(count_names(rig, "."), 6); // and no temporary file
}

static void dots_lead_nowhere(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[64];
    test_write(&rig->folder, "above", "secret");
    const char *keys[] = {"../above", "x/../../above", "./../above", "/../above"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(get(rig, keys[i], value, sizeof value, &err), WEIR_NOT_FOUND);
        assert_ok(set(rig, keys[i], "own", &err));
        assert_ok(get(rig, keys[i], value, sizeof value, &err));
        assert_string_equal(value, "own");
    }
    test_shell(&rig->folder, "test \"$(cat above)\" = secret && test \"$(ls -A | wc -l)\" = 2");
}

static bool count_key(void *context, struct weir_str key) {
    (void)key;
    ++*(int *)context;
    return true;
}

static void only_regular_files_are_values(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[16], path[TEST_PATH_BYTES];
    assert_int_equal(mkfifo(test_path(&rig->store, "fifo", path), 0666), 0);
    test_mkdir(&rig->store, "dir");
    test_write(&rig->store, ".hidden", "v");
    test_write(&rig->store, "not%canonical", "v");
    const char *keys[] = {"fifo", "dir"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(get(rig, keys[i], value, sizeof value, &err), WEIR_NOT_FOUND);
        assert_int_equal(weir_file_remove(rig->resource, weir_str_of(keys[i]), &err),
                         WEIR_NOT_FOUND);
    }
    assert_int_equal(set(rig, "fifo", "v", &err), WEIR_INVALID);
    int count = 0;
    struct weir_pattern all = weir_pattern_of(WEIR_STR("*"));
    assert_ok(weir_file_list(rig->resource, &all, count_key, &count, &err));
    assert_int_equal(count, 0);
}

// ---- all or nothing ----

struct reader {
    struct file_rig *rig;
    atomic_bool is_done;
    size_t reads, torn;
};

enum { PATTERN_BYTES = 200000 };

static void *read_all_the_time(void *argument) {
    struct reader *reader = argument;
    char path[TEST_PATH_BYTES], *content = malloc(PATTERN_BYTES + 1);
    test_path(&reader->rig->store, "k", path);
    while (content && !atomic_load(&reader->is_done)) {
        int fd = open(path, O_RDONLY);
        ssize_t size = read(fd, content, PATTERN_BYTES + 1);
        close(fd);
        bool is_whole = size == PATTERN_BYTES;
        for (ssize_t i = 1; is_whole && i < size; i++) {
            is_whole = content[i] == content[0];
        }
        reader->torn += !is_whole;
        reader->reads++;
    }
    free(content);
    return NULL;
}

static void a_foreign_reader_never_sees_half_a_value(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct reader reader = {.rig = rig};
    char *value = malloc(PATTERN_BYTES);
    assert_non_null(value);
    memset(value, 'x', PATTERN_BYTES);
    struct weir_str view = {value, PATTERN_BYTES};
    assert_ok(weir_file_set(rig->resource, WEIR_STR("k"), view, &err));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, &reader), 0);
    for (int i = 0; i < 200; i++) {
        memset(value, 'a' + i % 26, PATTERN_BYTES);
        assert_ok(weir_file_set(rig->resource, WEIR_STR("k"), view, &err));
    }
    atomic_store(&reader.is_done, true);
    pthread_join(thread, NULL);
    free(value);
    assert_true(reader.reads > 0);
    assert_int_equal(reader.torn, 0);
}

static void a_set_that_fails_changes_nothing(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    static char large[100000];
    assert_ok(set(rig, "k", "before", &err));
    // The system's own way to fail a write in the middle.
    struct rlimit limit, before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    weir_status old_key =
        weir_file_set(rig->resource, WEIR_STR("k"), (struct weir_str){large, sizeof large}, &err);
    weir_status new_key =
        weir_file_set(rig->resource, WEIR_STR("new"), (struct weir_str){large, sizeof large}, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(old_key, WEIR_LIMIT);
    assert_int_equal(new_key, WEIR_LIMIT);
    assert_non_null(strstr(err.message, "\"k\""));
    expect_file(rig, "k", "before");
    assert_int_equal(count_names(rig, "."), 1);
}

static void a_right_that_is_missing_is_denied(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    char value[16];
    bool is_root = geteuid() == 0;
    enum { NOBODY = 65534 };
    assert_ok(set(rig, "k", "v", &err));
    test_shell(&rig->folder, "chmod 600 store/k; chmod 755 store .");
    if (!is_root) {
        test_shell(&rig->folder, "chmod 000 store/k; chmod 555 store");
    } else {
        assert_int_equal(seteuid(NOBODY), 0);
    }
    weir_status set_status = set(rig, "k2", "v", &err);
    weir_status remove_status = weir_file_remove(rig->resource, WEIR_STR("k"), NULL);
    weir_status get_status = get(rig, "k", value, sizeof value, NULL);
    if (is_root) {
        assert_int_equal(seteuid(0), 0);
    } else {
        test_shell(&rig->folder, "chmod 755 store");
    }
    assert_int_equal(set_status, WEIR_DENIED);
    assert_non_null(strstr(err.message, "k2"));
    assert_int_equal(remove_status, WEIR_DENIED);
    assert_int_equal(get_status, WEIR_DENIED);
}

int main(void) {
#define OPENED(name) cmocka_unit_test_setup_teardown(name, file_rig_setup, file_rig_teardown)
#define CLOSED(name) cmocka_unit_test_setup_teardown(name, file_rig_setup_closed, file_rig_teardown)
    const struct CMUnitTest cases[] = {
        CLOSED(the_directory_is_made_if_it_may_be),
        CLOSED(a_directory_without_a_parent_is_not_made),
        CLOSED(a_file_is_no_directory),
        CLOSED(the_path_may_be_a_symbolic_link),
        CLOSED(a_directory_made_again_is_used),
        CLOSED(publishing_waits_for_its_directory),
        OPENED(a_key_is_a_file),
        OPENED(a_new_value_keeps_the_mode_and_the_owner),
        OPENED(a_file_and_a_directory_cannot_share_a_name),
        OPENED(an_empty_directory_gives_way),
        OPENED(symbolic_links_are_not_followed),
        OPENED(dots_lead_nowhere),
        OPENED(only_regular_files_are_values),
        OPENED(a_foreign_reader_never_sees_half_a_value),
        OPENED(a_set_that_fails_changes_nothing),
        OPENED(a_right_that_is_missing_is_denied),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
