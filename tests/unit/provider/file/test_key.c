// SPDX-License-Identifier: Apache-2.0
//
// Tests of src/provider/file/key.c: the coding is a bijection, and no key leaves the directory.
#include "provider/file/key.h"

#include "unit/test.h"

#include <stdlib.h>

static struct weir_file_path encode(struct weir_str key) {
    struct weir_file_path path;
    struct weir_error err;
    weir_status status = weir_file_key_encode(key, &path, &err);
    if (status) {
        fail_msg("%s", err.message);
    }
    return path;
}

// The key of a path, by decoding its segments.
static size_t decode(const struct weir_file_path *path, char *ret_key) {
    size_t filled = 0;
    for (size_t at = 0;;) {
        const char *slash = strchr(path->text + at, '/');
        size_t end = slash ? (size_t)(slash - path->text) : path->size;
        char segment[WEIR_FILE_NAME_BYTES_MAX];
        size_t size;
        struct weir_str name = {path->text + at, end - at};
        assert_true(weir_file_name_decode(name, segment, &size));
        memcpy(ret_key + filled, segment, size);
        filled += size;
        if (!slash) {
            return filled;
        }
        ret_key[filled++] = '/';
        at = end + 1;
    }
}

static void names_are_as_documented(void **state) {
    (void)state;
    const struct {
        struct weir_str key;
        const char *path;
    } rows[] = {
        {WEIR_STR("a"), "a"},
        {WEIR_STR("a/b/c"), "a/b/c"},
        {WEIR_STR("100%"), "100%25"},
        {WEIR_STR("%"), "%25"},
        {WEIR_STR("."), "%2E"},
        {WEIR_STR(".."), "%2E."},
        {WEIR_STR("../.."), "%2E./%2E."},
        {WEIR_STR(".weir-tmp-1"), "%2Eweir-tmp-1"},
        {WEIR_STR("a.b."), "a.b."},
        {WEIR_STR("/"), "%/%"},
        {WEIR_STR("/etc/passwd"), "%/etc/passwd"},
        {WEIR_STR("a//b"), "a/%/b"},
        {WEIR_STR("a/"), "a/%"},
        {WEIR_STR("\x01\n\x1f\x7f"), "%01%0A%1F%7F"},
        {WEIR_STR("\x80\xff"), "\x80\xff"},
        {WEIR_STR("\xc3\xa4 b"), "\xc3\xa4 b"},
        {WEIR_STR("*?[~$'\"\\"), "*?[~$'\"\\"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_file_path path = encode(rows[i].key);
        assert_string_equal(path.text, rows[i].path);
        assert_int_equal(path.size, strlen(rows[i].path));
        const char *slash = strrchr(rows[i].path, '/');
        assert_int_equal(path.name_at, slash ? slash + 1 - rows[i].path : 0);
    }
}

static void names_that_are_not_canonical_are_no_keys(void **state) {
    (void)state;
    const struct weir_str names[] = {
        WEIR_STR(""),
        WEIR_STR("."),
        WEIR_STR(".."),
        WEIR_STR(".hidden"),
        WEIR_STR("%41"),
        WEIR_STR("%2e"),
        WEIR_STR("%0a"),
        WEIR_STR("%00"),
        WEIR_STR("%"
                 "%"),
        WEIR_STR("a%"),
        WEIR_STR("a%2"),
        WEIR_STR("%2"),
        WEIR_STR("a%2E"),
        WEIR_STR("a\nb"),
        WEIR_STR("\x7f"),
        WEIR_STR("%2F"),
        WEIR_STR("a/b"),
        WEIR_STR("%80"),
        WEIR_STR("%GG"),
        WEIR_STR("a%2e"),
        WEIR_STR("%25%"),
        WEIR_STR("a\0b"),
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char segment[WEIR_FILE_NAME_BYTES_MAX];
        size_t size;
        if (weir_file_name_decode(names[i], segment, &size)) {
            fail_msg("\"%s\" was taken for the name of a key", names[i].data);
        }
    }
}

static uint64_t next_random(uint64_t *seed) { // xorshift64
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static bool is_escape_free(const struct weir_file_path *path) {
    for (size_t i = 0; i < path->size; i++) {
        unsigned char byte = (unsigned char)path->text[i];
        bool is_start = i == 0 || path->text[i - 1] == '/';
        if (byte < 0x20 || byte == 0x7F || (is_start && (byte == '.' || byte == '/'))) {
            return false;
        }
    }
    return path->size > 0 && path->text[path->size - 1] != '/' && path->text[path->size] == '\0';
}

static void every_key_comes_back_from_its_path(void **state) {
    (void)state;
    uint64_t seed = 0x9E3779B97F4A7C15;
    static const char likely[] = "/.%%2E025aF\x01\x7f\xff";
    for (int round = 0; round < 200000; round++) {
        char key[64], back[sizeof key];
        size_t size = 1 + next_random(&seed) % 24;
        for (size_t i = 0; i < size; i++) {
            uint64_t random = next_random(&seed);
            key[i] = random % 2 ? likely[random / 2 % (sizeof likely - 1)]
                                : (char)(1 + random / 2 % 255);
        }
        struct weir_file_path path = encode((struct weir_str){key, size});
        assert_true(is_escape_free(&path));
        assert_int_equal(decode(&path, back), size);
        assert_memory_equal(back, key, size);
    }
}

// The other direction: what is decoded from a name is coded to that name.
static void every_name_that_is_a_key_is_that_keys_name(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252;
    static const char likely[] = "%%%.0123456789ABCDEFabcdef";
    size_t accepted = 0;
    for (int round = 0; round < 500000; round++) {
        char name[8], segment[WEIR_FILE_NAME_BYTES_MAX];
        size_t size = 1 + next_random(&seed) % sizeof name, decoded;
        for (size_t i = 0; i < size; i++) {
            uint64_t random = next_random(&seed);
            name[i] = random % 8 ? likely[random / 8 % (sizeof likely - 1)] : (char)(random / 8);
        }
        if (!weir_file_name_decode((struct weir_str){name, size}, segment, &decoded)) {
            continue;
        }
        accepted++;
        struct weir_file_path path;
        struct weir_error err;
        // Behind a segment, for an empty key is none.
        char key[sizeof segment + 2] = "k/";
        memcpy(key + 2, segment, decoded);
        assert_int_equal(weir_file_key_encode((struct weir_str){key, decoded + 2}, &path, &err),
                         WEIR_OK);
        assert_int_equal(path.size - path.name_at, size);
        assert_memory_equal(path.text + path.name_at, name, size);
    }
    assert_true(accepted > 1000);
}

static void bounds_are_kept(void **state) {
    (void)state;
    static char key[WEIR_KEY_BYTES_MAX + 1];
    struct weir_file_path path;
    struct weir_error err;
    memset(key, 'x', sizeof key);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 255}, &path, &err), WEIR_OK);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 256}, &path, &err), WEIR_LIMIT);
    memset(key, '%', sizeof key);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 85}, &path, &err), WEIR_OK);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 86}, &path, &err), WEIR_LIMIT);
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = i % 2 ? '/' : 'x';
    }
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 4095}, &path, &err), WEIR_OK);
    assert_int_equal(path.size, 4095);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 4096}, &path, &err), WEIR_LIMIT);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 4097}, &path, &err), WEIR_INVALID);
    memset(key, '/', sizeof key);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 2047}, &path, &err), WEIR_OK);
    assert_int_equal(weir_file_key_encode((struct weir_str){key, 2048}, &path, &err), WEIR_LIMIT);
    assert_int_equal(weir_file_key_encode((struct weir_str){NULL, 0}, &path, &err), WEIR_INVALID);
    assert_int_equal(weir_file_key_encode((struct weir_str){"a\0", 2}, &path, &err), WEIR_INVALID);
    assert_int_equal(weir_file_key_encode((struct weir_str){"a\0", 2}, &path, NULL), WEIR_INVALID);
}

static void folders_are_those_of_their_keys(void **state) {
    (void)state;
    const struct {
        const char *prefix, *path;
    } rows[] = {{"", "."},  {"a/", "a"},    {"a/b/", "a/b"},
                {"/", "%"}, {"a//", "a/%"}, {"../", "%2E."}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_file_path path;
        struct weir_error err;
        assert_int_equal(weir_file_folder_encode(weir_str_of(rows[i].prefix), &path, &err),
                         WEIR_OK);
        assert_string_equal(path.text, rows[i].path);
        assert_int_equal(path.size, strlen(rows[i].path));
    }
    assert_true(weir_str_equal(weir_file_folder_of(WEIR_STR("a/b/c")), WEIR_STR("a/b/")));
    assert_true(weir_str_equal(weir_file_folder_of(WEIR_STR("a/")), WEIR_STR("a/")));
    assert_true(weir_str_equal(weir_file_folder_of(WEIR_STR("abc")), WEIR_STR("")));
    assert_true(weir_str_equal(weir_file_folder_of((struct weir_str){NULL, 0}), WEIR_STR("")));
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(names_are_as_documented),
        cmocka_unit_test(names_that_are_not_canonical_are_no_keys),
        cmocka_unit_test(every_key_comes_back_from_its_path),
        cmocka_unit_test(every_name_that_is_a_key_is_that_keys_name),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(folders_are_those_of_their_keys),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
