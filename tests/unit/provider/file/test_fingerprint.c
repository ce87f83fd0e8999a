// SPDX-License-Identifier: Apache-2.0
//
// The fingerprints' coding, whose bytes outlast the program that wrote them, and the list of notes.
#include "unit/test.h"

#include "provider/file/fingerprint.h"

static const struct weir_file_told examples[] = {
    {.stamp = {1, 0, 0, 0}},
    {.stamp = {UINT64_MAX, UINT64_MAX, INT64_MIN, INT64_MAX}, .is_settled = true},
    {.stamp = {0x0102030405060708, 9, -1, 1}, .hash = UINT64_MAX, .has_hash = true},
    {.stamp = {3, 4, 5, 6}, .hash = 7, .has_hash = true, .is_settled = true},
};

static void assert_told_equal(const struct weir_file_told *a, const struct weir_file_told *b) {
    assert_true(weir_file_stamp_equal(&a->stamp, &b->stamp));
    assert_int_equal(a->has_hash, b->has_hash);
    assert_int_equal(a->is_settled, b->is_settled);
    assert_true(a->hash == b->hash);
}

static void what_is_coded_is_read_again(void **state) {
    (void)state;
    char buffers[COUNT_OF(examples)][WEIR_FILE_FINGERPRINT_BYTES];
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        struct weir_str fingerprint = weir_file_fingerprint_encode(&examples[i], buffers[i]);
        struct weir_file_told told;
        assert_int_equal(fingerprint.size, WEIR_FILE_FINGERPRINT_BYTES);
        assert_true(weir_file_fingerprint_decode(fingerprint, &told));
        assert_told_equal(&told, &examples[i]);
        for (size_t other = 0; other < i; other++) {
            assert_memory_not_equal(buffers[i], buffers[other], WEIR_FILE_FINGERPRINT_BYTES);
        }
    }
}

static void the_bytes_are_these(void **state) {
    (void)state;
    static const unsigned char bytes[WEIR_FILE_FINGERPRINT_BYTES] = {
        1,    1,                                        // version, has_hash
        8,    7,    6,    5,    4,    3,    2,    1,    // ino
        9,    0,    0,    0,    0,    0,    0,    0,    // size
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // mtime
        1,    0,    0,    0,    0,    0,    0,    0,    // ctime
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // hash
    };
    char buffer[WEIR_FILE_FINGERPRINT_BYTES];
    weir_file_fingerprint_encode(&examples[2], buffer);
    assert_memory_equal(buffer, bytes, sizeof bytes);
}

static void what_is_malformed_is_no_state_of_a_file(void **state) {
    (void)state;
    char buffer[WEIR_FILE_FINGERPRINT_BYTES + 1] = {0};
    weir_file_fingerprint_encode(&examples[3], buffer);
    const struct {
        size_t size;
        char version, flags;
    } rows[] = {
        {0, 1, 3},
        {1, 1, 3},
        {WEIR_FILE_FINGERPRINT_BYTES - 1, 1, 3},
        {WEIR_FILE_FINGERPRINT_BYTES + 1, 1, 3},
        {WEIR_FILE_FINGERPRINT_BYTES, 0, 3},
        {WEIR_FILE_FINGERPRINT_BYTES, 2, 3},
        {WEIR_FILE_FINGERPRINT_BYTES, 1, 4},
        {WEIR_FILE_FINGERPRINT_BYTES, 1, (char)0x80},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_file_told told;
        buffer[0] = rows[i].version;
        buffer[1] = rows[i].flags;
        assert_false(weir_file_fingerprint_decode((struct weir_str){buffer, rows[i].size}, &told));
        assert_true(told.stamp.ino == 0 && !told.has_hash && !told.is_settled);
    }
    struct weir_file_told told;
    assert_false(weir_file_fingerprint_decode((struct weir_str){0}, &told));
}

static void a_list_gives_back_its_notes_in_order(void **state) {
    (void)state;
    enum { NOTES = 5000 };
    struct weir_file_notes notes = {0};
    struct weir_str key;
    struct weir_file_told told;
    size_t at = 0;
    assert_false(weir_file_notes_next(&notes, &at, &key, &told));
    char text[64], *longest = malloc(100000);
    assert_non_null(longest);
    memset(longest, 'x', 100000);
    for (int i = 0; i < NOTES; i++) {
        int size = i % 7 ? snprintf(text, sizeof text, "key %d", i) : 0;
        struct weir_file_told one = examples[i % COUNT_OF(examples)];
        one.stamp.size = (uint64_t)i;
        assert_true(weir_file_notes_add(&notes, (struct weir_str){text, (size_t)size}, &one));
    }
    assert_true(weir_file_notes_add(&notes, (struct weir_str){longest, 100000}, &examples[0]));
    assert_int_equal(notes.count, NOTES + 1);
    for (int i = 0; i < NOTES; i++) {
        snprintf(text, sizeof text, "key %d", i);
        assert_true(weir_file_notes_next(&notes, &at, &key, &told));
        assert_str_equal(key, i % 7 ? text : "");
        assert_int_equal(told.stamp.size, i);
        assert_int_equal(told.has_hash, examples[i % COUNT_OF(examples)].has_hash);
    }
    assert_true(weir_file_notes_next(&notes, &at, &key, &told));
    assert_int_equal(key.size, 100000);
    assert_memory_equal(key.data, longest, 100000);
    assert_false(weir_file_notes_next(&notes, &at, &key, &told));
    weir_file_notes_finish(&notes);
    weir_file_notes_finish(&notes);
    at = 0;
    assert_false(weir_file_notes_next(&notes, &at, &key, &told));
    free(longest);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_is_coded_is_read_again),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(what_is_malformed_is_no_state_of_a_file),
        cmocka_unit_test(a_list_gives_back_its_notes_in_order),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
