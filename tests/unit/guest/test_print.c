// SPDX-License-Identifier: Apache-2.0
//
// A guest's output becomes lines, however it was cut into writes, and its end stays with the call.
#include "guest/print.h"
#include "unit/test.h"

enum { LINES_MAX = 64 };

struct lines {
    struct weir_str all[LINES_MAX]; // copies
    size_t count;
    bool is_refusing;
};

static bool keep(void *context, const char *guest, struct weir_str line) {
    struct lines *lines = context;
    assert_string_equal(guest, "hello");
    assert_true(lines->count < LINES_MAX);
    char *copy = malloc(line.size + 1);
    assert_non_null(copy);
    memcpy(copy, line.data, line.size);
    lines->all[lines->count++] = (struct weir_str){copy, line.size};
    return !lines->is_refusing;
}

static void begin(struct weir_print_stream *stream, struct lines *lines, uint64_t bytes_max) {
    memset(lines, 0, sizeof *lines);
    memset(stream, 0xAA, sizeof *stream); // what is not set is not relied on
    stream->to = (struct weir_guest_output){keep, lines};
    stream->guest = "hello";
    stream->call = NULL;
    stream->used = 0;
    weir_print_begin(stream, bytes_max, INT64_MAX);
}

static void end(struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        free((char *)(uintptr_t)lines->all[i].data);
    }
}

static bool write_text(struct weir_print_stream *stream, const char *text) {
    return weir_print_write(stream, text, strlen(text));
}

static void lines_are_handed_over_as_they_end(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    begin(&stream, &lines, 1000);
    assert_true(write_text(&stream, "one\ntw"));
    assert_int_equal(lines.count, 1);
    assert_true(write_text(&stream, "o\n\nthree"));
    assert_int_equal(lines.count, 3);
    weir_print_flush(&stream);
    weir_print_flush(&stream); // there is nothing left
    assert_int_equal(lines.count, 4);
    assert_str_equal(lines.all[0], "one");
    assert_str_equal(lines.all[1], "two");
    assert_str_equal(lines.all[2], "");
    assert_str_equal(lines.all[3], "three");
    end(&lines);
}

static void every_cut_of_the_writes_gives_the_same_lines(void **state) {
    (void)state;
    static const char text[] = "a\n\nb\0c\n\xf0\x9f\x98\x80\nend";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct weir_print_stream stream;
        struct lines lines;
        begin(&stream, &lines, 1000);
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t rest = sizeof text - 1 - at;
            assert_true(weir_print_write(&stream, text + at, rest < piece ? rest : piece));
        }
        weir_print_flush(&stream);
        assert_int_equal(lines.count, 5);
        assert_true(weir_str_equal(lines.all[2], WEIR_STR("b\0c")));
        assert_str_equal(lines.all[3], "\xf0\x9f\x98\x80");
        assert_str_equal(lines.all[4], "end");
        end(&lines);
    }
}

static void a_line_of_exactly_the_maximum_is_one_line(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    char text[WEIR_OUTPUT_LINE_BYTES + 1];
    memset(text, 'x', sizeof text);
    text[WEIR_OUTPUT_LINE_BYTES] = '\n';
    begin(&stream, &lines, 100000);
    assert_true(weir_print_write(&stream, text, sizeof text));
    assert_true(write_text(&stream, "\nnext\n"));
    assert_int_equal(lines.count, 3);
    assert_int_equal(lines.all[0].size, WEIR_OUTPUT_LINE_BYTES);
    assert_str_equal(lines.all[1], ""); // this one was printed
    assert_str_equal(lines.all[2], "next");
    end(&lines);
}

static void a_longer_line_is_broken_between_characters(void **state) {
    (void)state;
    static const char *const characters[] = {"x", "\u00e4", "\u20ac", "\U0001F600"};
    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[3 * WEIR_OUTPUT_LINE_BYTES];
            memset(text, 'x', shift);
            size_t used = shift, size = strlen(characters[i]);
            while (used + size <= sizeof text) {
                memcpy(text + used, characters[i], size);
                used += size;
            }
            struct weir_print_stream stream;
            struct lines lines;
            begin(&stream, &lines, 100000);
            assert_true(weir_print_write(&stream, text, used));
            assert_true(write_text(&stream, "\n"));
            size_t total = 0;
            for (size_t line = 0; line < lines.count; line++) {
                assert_true(lines.all[line].size <= WEIR_OUTPUT_LINE_BYTES);
                assert_true(lines.all[line].size > 0);
                assert_true(weir_utf8_valid(lines.all[line]));
                assert_memory_equal(lines.all[line].data, text + total, lines.all[line].size);
                total += lines.all[line].size;
            }
            assert_int_equal(total, used);
            end(&lines);
        }
    }
}

static void what_is_no_utf8_is_broken_anywhere_and_not_lost(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    char text[2 * WEIR_OUTPUT_LINE_BYTES + 5];
    memset(text, 0x80, sizeof text); // continuations of nothing
    begin(&stream, &lines, 100000);
    assert_true(weir_print_write(&stream, text, sizeof text));
    weir_print_flush(&stream);
    size_t total = 0;
    for (size_t i = 0; i < lines.count; i++) {
        total += lines.all[i].size;
    }
    assert_int_equal(total, sizeof text);
    end(&lines);
}

static void the_bound_is_exact_and_ends_all_output_of_the_call(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    begin(&stream, &lines, 10);
    assert_true(write_text(&stream, "12345678\n"));
    assert_false(stream.is_over);
    assert_true(write_text(&stream, "a"));
    assert_false(write_text(&stream, "b"));
    assert_true(stream.is_over);
    assert_false(write_text(&stream, ""));
    weir_print_flush(&stream);
    assert_int_equal(lines.count, 2);
    assert_str_equal(lines.all[1], "a"); // nothing of what went over
    weir_print_begin(&stream, 10, INT64_MAX);
    assert_true(write_text(&stream, "1234567890"));
    weir_print_flush(&stream);
    assert_str_equal(lines.all[2], "1234567890");
    end(&lines);
}

static void lines_after_the_deadline_are_dropped(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    begin(&stream, &lines, 1000);
    weir_print_begin(&stream, 1000, weir_clock_monotonic_ns() - 1);
    assert_true(write_text(&stream, "late\n"));
    assert_int_equal(lines.count, 0);
    weir_print_begin(&stream, 1000, weir_clock_monotonic_ns() + 3600 * WEIR_NS_PER_S);
    assert_true(write_text(&stream, "in time\n"));
    assert_int_equal(lines.count, 1);
    assert_str_equal(lines.all[0], "in time");
    end(&lines);
}

static void a_line_that_nobody_takes_is_the_last_one_offered_in_a_call(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    begin(&stream, &lines, 1000);
    lines.is_refusing = true;
    assert_true(write_text(&stream, "one\ntwo\nthree"));
    weir_print_flush(&stream);
    assert_int_equal(lines.count, 1);
    weir_print_begin(&stream, 1000, INT64_MAX);
    assert_true(write_text(&stream, "four\n"));
    assert_int_equal(lines.count, 2);
    assert_str_equal(lines.all[1], "four");
    end(&lines);
}

// ---- what a call keeps of it

static void begin_kept(struct weir_print_stream *stream, struct lines *lines,
                       struct weir_call *call) {
    begin(stream, lines, 1000000);
    memset(call, 0xAA, sizeof *call);
    call->output_tail_size = 0;
    stream->call = call;
}

static struct weir_str tail_of(const struct weir_call *call) {
    return (struct weir_str){call->output_tail, call->output_tail_size};
}

static bool drop(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest, (void)line;
    return false;
}

static void what_a_call_prints_is_kept_with_it_whoever_takes_it(void **state) {
    (void)state;
    struct weir_print_stream stream;
    struct lines lines;
    struct weir_call call;
    for (int is_taken = 0; is_taken < 2; is_taken++) {
        begin_kept(&stream, &lines, &call);
        stream.to.line = is_taken ? keep : drop;
        weir_print_flush(&stream);
        assert_int_equal(call.output_tail_size, 0);
        assert_true(write_text(&stream, "one\n\nthr"));
        assert_str_equal(tail_of(&call), "one\n\n");
        assert_true(write_text(&stream, "ee\nno end"));
        weir_print_flush(&stream);
        assert_str_equal(tail_of(&call), "one\n\nthree\nno end\n");
        end(&lines);
    }
}

// The longest end of `all` that begins with a line and is not too long.
static struct weir_str expected_tail(struct weir_str all) {
    size_t begin = all.size > WEIR_CALL_TAIL_BYTES ? all.size - WEIR_CALL_TAIL_BYTES : 0;
    while (begin > 0 && begin < all.size && all.data[begin - 1] != '\n') {
        begin++;
    }
    return (struct weir_str){all.data + begin, all.size - begin};
}

static void the_tail_is_as_many_whole_lines_as_fit(void **state) {
    (void)state;
    static char all[256 * 1024];
    static const size_t most[] = {0, 1, 7, 80, 700, WEIR_CALL_TAIL_BYTES - 1};
    uint32_t random = 1;
    for (size_t i = 0; i < COUNT_OF(most); i++) {
        struct weir_print_stream stream;
        struct lines lines;
        struct weir_call call;
        begin_kept(&stream, &lines, &call);
        stream.to.line = drop;
        size_t used = 0;
        for (size_t line = 0; line < 100; line++) {
            random = random * 1664525 + 1013904223;
            size_t size = line % 9 == 0 ? most[i] : (random >> 8) % (most[i] + 1);
            memset(all + used, 'a' + (int)(line % 26), size);
            all[used + size] = '\n';
            assert_true(weir_print_write(&stream, all + used, size + 1));
            used += size + 1;
            assert_true(
                weir_str_equal(tail_of(&call), expected_tail((struct weir_str){all, used})));
        }
        end(&lines);
    }
}

static void of_a_line_that_is_longer_the_tail_has_the_end(void **state) {
    (void)state;
    static const char *const characters[] = {"x", "\u00e4", "\u20ac", "\U0001F600"};
    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[WEIR_CALL_TAIL_BYTES + 100];
            size_t used = shift, size = strlen(characters[i]);
            memset(text, 'x', shift);
            while (used + size < sizeof text) {
                memcpy(text + used, characters[i], size);
                used += size;
            }
            text[used++] = '\n';
            struct weir_print_stream stream;
            struct lines lines;
            struct weir_call call;
            begin_kept(&stream, &lines, &call);
            assert_true(write_text(&stream, "before\n"));
            assert_true(weir_print_write(&stream, text, used));
            struct weir_str tail = tail_of(&call);
            assert_true(tail.size > WEIR_CALL_TAIL_BYTES - size);
            assert_true(weir_utf8_valid(tail));
            assert_memory_equal(tail.data, text + used - tail.size, tail.size);
            assert_true(write_text(&stream, "after\n"));
            assert_str_equal(tail_of(&call), "after\n");
            end(&lines);
        }
    }
}

static void a_tail_of_no_utf8_is_full(void **state) {
    (void)state;
    char text[WEIR_OUTPUT_LINE_BYTES];
    memset(text, 0x80, sizeof text);
    struct weir_print_stream stream;
    struct lines lines;
    struct weir_call call;
    begin_kept(&stream, &lines, &call);
    assert_true(weir_print_write(&stream, text, sizeof text));
    weir_print_flush(&stream);
    assert_true(call.output_tail_size >= WEIR_CALL_TAIL_BYTES - 3);
    assert_int_equal(call.output_tail[call.output_tail_size - 1], '\n');
    end(&lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_handed_over_as_they_end),
        cmocka_unit_test(every_cut_of_the_writes_gives_the_same_lines),
        cmocka_unit_test(a_line_of_exactly_the_maximum_is_one_line),
        cmocka_unit_test(a_longer_line_is_broken_between_characters),
        cmocka_unit_test(what_is_no_utf8_is_broken_anywhere_and_not_lost),
        cmocka_unit_test(lines_after_the_deadline_are_dropped),
        cmocka_unit_test(a_line_that_nobody_takes_is_the_last_one_offered_in_a_call),
        cmocka_unit_test(the_bound_is_exact_and_ends_all_output_of_the_call),
        cmocka_unit_test(what_a_call_prints_is_kept_with_it_whoever_takes_it),
        cmocka_unit_test(the_tail_is_as_many_whole_lines_as_fit),
        cmocka_unit_test(of_a_line_that_is_longer_the_tail_has_the_end),
        cmocka_unit_test(a_tail_of_no_utf8_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
