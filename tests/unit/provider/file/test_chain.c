// SPDX-License-Identifier: Apache-2.0
//
// The chain of an event through a file: the attribute's coding, and what becomes of it when others
// write, move and spoil. The linker sends the provider's fsetxattr here, where it fails as a file
// system without room or without attributes does.
#include "unit/test.h"

#include "provider/file/chain.h"
#include "provider/file/file.h"
#include "support/file_rig.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

static struct {
    int code;      // what fsetxattr fails with; 0: it does what it does
    size_t larger; // only where the attribute has more bytes
} disk;

int __real_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);

int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    if (disk.code && size > disk.larger) {
        errno = disk.code;
        return -1;
    }
    return __real_fsetxattr(fd, name, value, size, flags);
}

// ---- coding

static void assert_chain_equal(const struct weir_file_chain *a, const struct weir_file_chain *b) {
    assert_true(weir_str_equal(a->hops, b->hops));
    assert_true(weir_str_equal(a->causation, b->causation));
    assert_true(weir_str_equal(a->correlation, b->correlation));
}

static void what_is_coded_is_read_again(void **state) {
    (void)state;
    const struct weir_file_chain_record records[] = {
        {{WEIR_STR("cause"), WEIR_STR("first"), WEIR_STR("1")}, 0, 0},
        {{WEIR_STR("\xc3\xa4 b\n"), WEIR_STR(""), WEIR_STR("12345678901234567890")},
         UINT64_MAX,
         -1},
        {{WEIR_STR(""), WEIR_STR("x"), WEIR_STR("")}, 1, INT64_MAX},
        {{WEIR_STR(""), WEIR_STR(""), WEIR_STR("")}, 0x0123456789ABCDEF, INT64_MIN},
    };
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        char buffer[WEIR_FILE_CHAIN_BYTES_MAX];
        struct weir_file_chain_record record;
        size_t size = weir_file_chain_encode(&records[i], buffer);
        assert_true(weir_file_chain_decode((struct weir_str){buffer, size}, &record));
        assert_chain_equal(&record.chain, &records[i].chain);
        assert_true(record.hash == records[i].hash && record.mtime_ns == records[i].mtime_ns);
        // Every one of its bytes counts, but for those of the ids.
        for (size_t cut = 0; cut < 38; cut++) {
            assert_false(weir_file_chain_decode((struct weir_str){buffer, cut}, &record));
        }
    }
}

static void what_has_no_place_is_left_out(void **state) {
    (void)state;
    static char longest[WEIR_FILE_CHAIN_BYTES_MAX];
    memset(longest, 'x', sizeof longest);
    const struct weir_str good = WEIR_STR("id"), none = {0};
    const struct weir_str long_id = {longest, sizeof longest - 100};
    const struct {
        struct weir_file_chain given, kept;
    } rows[] = {
        {{{longest, sizeof longest}, good, WEIR_STR("7")}, {none, good, WEIR_STR("7")}},
        {{good, {longest, sizeof longest}, WEIR_STR("7")}, {good, none, WEIR_STR("7")}},
        {{long_id, long_id, WEIR_STR("7")}, {long_id, none, WEIR_STR("7")}},
        {{{"a\0b", 3}, good, WEIR_STR("7")}, {none, good, WEIR_STR("7")}},
        {{good, {"a\0b", 3}, WEIR_STR("7")}, {good, none, WEIR_STR("7")}},
        {{good, good, WEIR_STR("many")}, {good, good, none}},
        {{good, good, WEIR_STR("-1")}, {good, good, none}},
        {{good, good, WEIR_STR("123456789012345678901")}, {good, good, none}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char buffer[WEIR_FILE_CHAIN_BYTES_MAX];
        struct weir_file_chain_record given = {.chain = rows[i].given}, record;
        size_t size = weir_file_chain_encode(&given, buffer);
        assert_in_range(size, 1, sizeof buffer);
        assert_true(weir_file_chain_decode((struct weir_str){buffer, size}, &record));
        assert_chain_equal(&record.chain, &rows[i].kept);
    }
}

#define HEAD "1 0123456789abcdef 0000000000000001 "

static const struct weir_str malformed[] = {
    {"", 0},
    {"1", 1},
    {HEAD, sizeof HEAD - 1},
    {HEAD "1", sizeof HEAD},
    {HEAD "1\0", sizeof HEAD + 1},                                    // no second NUL
    {HEAD "1\0a\0b\0c", sizeof HEAD + 6},                             // one too many
    {HEAD "x\0a\0b", sizeof HEAD + 4},                                // no number
    {HEAD "-1\0a\0b", sizeof HEAD + 5},                               // none either
    {HEAD "123456789012345678901\0a\0b", sizeof HEAD + 24},           // too long
    {HEAD "1\0\xff\0b", sizeof HEAD + 4},                             // no UTF-8
    {"2 0123456789abcdef 0000000000000001 1\0a\0b", sizeof HEAD + 4}, // another version
    {"1 0123456789ABCDEF 0000000000000001 1\0a\0b", sizeof HEAD + 4}, // another spelling
    {"1 0123456789abcdeg 0000000000000001 1\0a\0b", sizeof HEAD + 4}, // no digit
    {"1 0123456789abcdef_0000000000000001 1\0a\0b", sizeof HEAD + 4}, // no space
    {"1 0123456789abcdef 000000000000001  1\0a\0b", sizeof HEAD + 4}, // a digit short
};

static void what_is_malformed_is_no_chain(void **state) {
    (void)state;
    struct weir_file_chain_record record;
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        assert_false(weir_file_chain_decode(malformed[i], &record));
    }
    assert_true(
        weir_file_chain_decode((struct weir_str){HEAD "1\0a\0b", sizeof HEAD + 4}, &record));
}

// ---- through a file

static weir_status publish(struct file_rig *rig, const char *key, const char *value,
                           const char *causation) {
    struct weir_error err;
    const struct weir_attribute extensions[] = {
        {WEIR_STR(WEIR_EXTENSION_HOPS), WEIR_STR("3")},
        {WEIR_STR(WEIR_EXTENSION_CORRELATION), WEIR_STR("first")},
        {WEIR_STR(WEIR_EXTENSION_CAUSATION), weir_str_of(causation)},
    };
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR("t"),
        .source = WEIR_STR("/s"),
        .id = WEIR_STR("i"),
        .subject = {true, weir_str_of(key)},
        .data = {true, weir_payload_of(weir_str_of(value))},
        .extensions = {extensions, COUNT_OF(extensions)},
    };
    struct weir_event *event;
    assert_ok(weir_event_new(&fields, WEIR_STR(""), &event, &err));
    weir_status status = weir_file_publish(rig->resource, event, &err);
    weir_event_unref(event);
    return status;
}

static void expect(struct file_rig *rig, const char *key, const char *value, const char *hops) {
    const struct weir_event *event = test_sink_expect_set(&rig->sink, key, value);
    assert_str_equal(test_extension(event, WEIR_EXTENSION_HOPS), hops);
    assert_str_equal(test_extension(event, WEIR_EXTENSION_CORRELATION), hops[0] ? "first" : "");
}

static bool has_attribute(struct file_rig *rig, const char *key) {
    char path[TEST_PATH_BYTES];
    return getxattr(test_path(&rig->store, key, path), WEIR_FILE_CHAIN_NAME, NULL, 0) >= 0;
}

static void others_contents_have_no_chain(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "*");
    assert_int_equal(publish(rig, "k", "ours", "cause"), WEIR_OK);
    expect(rig, "k", "ours", "3");
    if (!has_attribute(rig, "k")) {
        skip();
    }
    test_write(&rig->store, "k", "theirs"); // in place: the attribute stays
    expect(rig, "k", "theirs", "");
    assert_true(has_attribute(rig, "k"));
    test_shell(&rig->store, "printf x >> k");
    expect(rig, "k", "theirsx", "");
    assert_int_equal(publish(rig, "k", "ours again", "cause"), WEIR_OK);
    expect(rig, "k", "ours again", "3");
    test_replace(&rig->store, "k", "by rename");
    expect(rig, "k", "by rename", "");
    assert_int_equal(publish(rig, "k", "third", "cause"), WEIR_OK);
    expect(rig, "k", "third", "3");
    struct weir_error err;
    assert_ok(weir_file_set(rig->resource, WEIR_STR("k"), WEIR_STR("set"), &err));
    expect(rig, "k", "set", "");
    assert_false(has_attribute(rig, "k"));
}

static void a_file_that_moves_takes_its_chain_along(void **state) {
    struct file_rig *rig = *state;
    file_rig_watch(rig, "new/*");
    test_mkdir(&rig->store, "new");
    assert_int_equal(publish(rig, "k", "v", "cause"), WEIR_OK);
    bool is_kept = has_attribute(rig, "k");
    test_rename(&rig->store, "k", "new/k");
    expect(rig, "new/k", "v", is_kept ? "3" : "");
}

static void a_mode_without_a_right_to_write_is_no_hindrance(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES];
    struct stat st;
    test_write(&rig->store, "k", "before");
    assert_int_equal(chmod(test_path(&rig->store, "k", path), 0400), 0);
    file_rig_watch(rig, "*");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(publish(rig, "k", i == 0 ? "one" : "two", "cause"), WEIR_OK);
        expect(rig, "k", i == 0 ? "one" : "two", has_attribute(rig, "k") ? "3" : "");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0400);
    }
}

static void a_spoiled_attribute_is_ignored(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES], value[32];
    static char large[WEIR_FILE_CHAIN_BYTES_MAX + 1];
    file_rig_watch(rig, "k");
    memset(large, '1', sizeof large);
    for (size_t i = 0; i < COUNT_OF(malformed) + 2; i++) {
        snprintf(value, sizeof value, "%zu", i);
        test_write(&rig->store, ".new", value);
        // The last but one is too long, the last one well-formed and of another content.
        struct weir_str attribute = i < COUNT_OF(malformed) ? malformed[i]
                                    : i == COUNT_OF(malformed)
                                        ? (struct weir_str){large, sizeof large}
                                        : (struct weir_str){HEAD "1\0a\0b", sizeof HEAD + 4};
        if (setxattr(test_path(&rig->store, ".new", path), WEIR_FILE_CHAIN_NAME, attribute.data,
                     attribute.size, 0) < 0) {
            skip();
        }
        test_rename(&rig->store, ".new", "k");
        expect(rig, "k", value, "");
    }
}

static void an_attribute_that_others_write_well_is_a_chain(void **state) {
    struct file_rig *rig = *state;
    char path[TEST_PATH_BYTES], text[128];
    file_rig_watch(rig, "k");
    test_write(&rig->store, ".new", "value");
    int size = snprintf(text, sizeof text, "1 %016llx 0000000000000000 3",
                        (unsigned long long)XXH3_64bits("value", 5));
    memcpy(text + size, "\0cause\0first", 12);
    if (setxattr(test_path(&rig->store, ".new", path), WEIR_FILE_CHAIN_NAME, text,
                 (size_t)size + 12, 0) < 0) {
        skip();
    }
    test_rename(&rig->store, ".new", "k");
    expect(rig, "k", "value", "3");
}

static void a_large_value_has_its_chain_until_it_is_modified(void **state) {
    struct file_rig *rig = *state;
    struct weir_error err;
    struct weir_watch *watch;
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(WEIR_STR("k")),
        .sink = test_sink_of(&rig->sink),
        .event_bytes_max = 4,
    };
    assert_ok(weir_file_watch(rig->resource, &args, &watch, &err));
    assert_int_equal(publish(rig, "k", "larger", "cause"), WEIR_OK);
    const struct weir_event *event = test_sink_next(&rig->sink);
    assert_false(event->fields.data.is_some);
    assert_str_equal(test_extension(event, WEIR_EXTENSION_HOPS),
                     has_attribute(rig, "k") ? "3" : "");
    // By an hour, which no tick of the clock hides. The writing itself may be told before that.
    test_shell(&rig->store, "printf others > k; touch -d '+1 hour' k; : >> k");
    do {
        event = test_sink_next(&rig->sink);
    } while (test_extension(event, WEIR_EXTENSION_HOPS).size > 0);
    weir_file_unwatch(watch);
}

// ---- file systems that refuse

static void without_attributes_it_goes_on_and_says_so_once(void **state) {
    struct file_rig *rig = *state;
    const int codes[] = {ENOTSUP, EPERM, EACCES};
    file_rig_watch(rig, "*");
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        char value[16];
        snprintf(value, sizeof value, "%zu", i);
        disk.code = codes[i];
        assert_int_equal(publish(rig, "k", value, "cause"), WEIR_OK);
        disk.code = 0;
        expect(rig, "k", value, "");
    }
    assert_true(file_rig_has_logged(rig, "one that feeds itself is not cut"));
    char lines[8192];
    ssize_t got = pread(rig->log_fd, lines, sizeof lines - 1, 0);
    assert_true(got > 0);
    lines[got] = '\0';
    const char *first = strstr(lines, "feeds itself");
    assert_non_null(first);
    assert_null(strstr(first + 1, "feeds itself"));
}

static void where_there_is_little_room_the_hops_stay(void **state) {
    struct file_rig *rig = *state;
    const int codes[] = {ENOSPC, E2BIG, ERANGE};
    file_rig_watch(rig, "*");
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        char value[16];
        snprintf(value, sizeof value, "%zu", i);
        disk.code = codes[i];
        disk.larger = 50;
        assert_int_equal(publish(rig, "k", value, "an id that makes it larger than that"), WEIR_OK);
        disk.code = 0;
        const struct weir_event *event = test_sink_expect_set(&rig->sink, "k", value);
        if (!has_attribute(rig, "k")) {
            skip();
        }
        assert_str_equal(test_extension(event, WEIR_EXTENSION_HOPS), "3");
        assert_str_equal(test_extension(event, WEIR_EXTENSION_CAUSATION), "");
    }
}

static void a_disk_without_room_is_tried_again(void **state) {
    struct file_rig *rig = *state;
    const int codes[] = {ENOSPC, EDQUOT, EIO};
    test_write(&rig->store, "k", "before");
    file_rig_watch(rig, "*");
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        disk.code = codes[i];
        disk.larger = 0;
        assert_int_equal(publish(rig, "k", "after", "cause"), WEIR_UNAVAILABLE);
        disk.code = 0;
    }
    test_shell(&rig->store, "test \"$(cat k)\" = before && test -z \"$(ls -A | grep tmp)\"");
    assert_int_equal(publish(rig, "k", "after", "cause"), WEIR_OK);
    test_sink_expect_set(&rig->sink, "k", "after");
}

// ---- the file systems

static int setup_memory(void **state) {
    setenv("TMPDIR", "/dev/shm", 1);
    int result = file_rig_setup(state);
    unsetenv("TMPDIR");
    return result;
}

int main(void) {
#define DISK(name)   cmocka_unit_test_setup_teardown(name, file_rig_setup, file_rig_teardown)
#define MEMORY(name) {#name " in memory", name, setup_memory, file_rig_teardown, NULL}
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_is_coded_is_read_again),
        cmocka_unit_test(what_has_no_place_is_left_out),
        cmocka_unit_test(what_is_malformed_is_no_chain),
        DISK(others_contents_have_no_chain),
        MEMORY(others_contents_have_no_chain),
        DISK(a_file_that_moves_takes_its_chain_along),
        MEMORY(a_file_that_moves_takes_its_chain_along),
        DISK(a_mode_without_a_right_to_write_is_no_hindrance),
        DISK(a_spoiled_attribute_is_ignored),
        DISK(an_attribute_that_others_write_well_is_a_chain),
        MEMORY(an_attribute_that_others_write_well_is_a_chain),
        DISK(a_large_value_has_its_chain_until_it_is_modified),
        DISK(without_attributes_it_goes_on_and_says_so_once),
        DISK(where_there_is_little_room_the_hops_stay),
        DISK(a_disk_without_room_is_tried_again),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
