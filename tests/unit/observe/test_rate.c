// SPDX-License-Identifier: Apache-2.0
//
// The rate of the log's messages, by a clock of the test's own: windows, what is left out and who
// tells it, and more messages than there is room for.
#include "unit/test.h"

#include "observe/rate.h"

enum { LINES = 2, WINDOW_NS = 100 };

static struct weir_rate *make_rate(void) {
    struct weir_rate *rate = calloc(1, sizeof *rate);
    assert_non_null(rate);
    rate->lines_max = LINES;
    rate->window_ns = WINDOW_NS;
    return rate;
}

// What a line tells that is written; -1: it is left out.
static int64_t take_at(struct weir_rate *rate, const char *message, int64_t now_ns) {
    uint64_t left_out;
    bool is_first;
    bool is_taken = weir_rate_take(rate, WEIR_LOG_WARN, message, now_ns, &left_out, &is_first);
    return is_taken ? (int64_t)left_out : -1;
}

static void a_window_takes_so_many_lines_of_each_message(void **state) {
    (void)state;
    struct weir_rate *rate = make_rate();
    assert_int_equal(take_at(rate, "a", 1000), 0);
    assert_int_equal(take_at(rate, "a", 1001), 0);
    assert_int_equal(take_at(rate, "a", 1002), -1);
    assert_int_equal(take_at(rate, "b", 1002), 0);
    assert_int_equal(take_at(rate, "a", 1099), -1);
    assert_int_equal(weir_rate_due_ns(rate), 1100);
    assert_int_equal(take_at(rate, "a", 1100), 2); // the next window's first line tells
    assert_int_equal(take_at(rate, "a", 1100), 0); // once
    assert_int_equal(take_at(rate, "a", 1199), -1);
    assert_int_equal(weir_rate_due_ns(rate), 1200);
    free(rate);
}

static void the_same_sentence_at_another_address_is_the_same_message(void **state) {
    (void)state;
    struct weir_rate *rate = make_rate();
    static const char one[] = "a sentence", other[] = "a sentence";
    assert_int_equal(take_at(rate, one, 0), 0);
    assert_int_equal(take_at(rate, other, 0), 0);
    assert_int_equal(take_at(rate, one, 0), -1);
    free(rate);
}

static void what_nobody_told_is_collected_when_the_window_is_over(void **state) {
    (void)state;
    struct weir_rate *rate = make_rate();
    struct weir_rate_rest rest;
    uint64_t left_out;
    bool is_first;
    assert_int_equal(weir_rate_due_ns(rate), INT64_MAX);
    for (int i = 0; i < LINES; i++) {
        assert_int_equal(take_at(rate, "a", 0), 0);
    }
    assert_false(weir_rate_collect(rate, 1000, &rest)); // there is nothing
    assert_false(weir_rate_take(rate, WEIR_LOG_INFO, "a", 50, &left_out, &is_first));
    assert_true(is_first);
    assert_false(weir_rate_take(rate, WEIR_LOG_ERROR, "a", 50, &left_out, &is_first));
    assert_false(is_first);
    assert_false(weir_rate_take(rate, WEIR_LOG_WARN, "a", 50, &left_out, &is_first));
    assert_false(weir_rate_collect(rate, 99, &rest));
    assert_true(weir_rate_collect(rate, 100, &rest));
    assert_string_equal(rest.message, "a");
    assert_int_equal(rest.left_out, 3);
    assert_int_equal(rest.level, WEIR_LOG_ERROR); // the gravest
    assert_false(weir_rate_collect(rate, 100, &rest));
    assert_int_equal(weir_rate_due_ns(rate), INT64_MAX);
    assert_int_equal(take_at(rate, "a", 100), 0);
    free(rate);
}

static void what_is_put_back_waits_for_another_window(void **state) {
    (void)state;
    struct weir_rate *rate = make_rate();
    struct weir_rate_rest rest = {.message = "a", .level = WEIR_LOG_WARN, .left_out = 7}, again;
    weir_rate_put_back(rate, &rest, 500);
    assert_int_equal(weir_rate_due_ns(rate), 600); // so that nobody spins who cannot tell it
    assert_false(weir_rate_collect(rate, 599, &again));
    assert_int_equal(take_at(rate, "a", 550), 7);
    free(rate);
}

static void without_a_bound_nothing_is_counted(void **state) {
    (void)state;
    struct weir_rate *rate = make_rate();
    rate->lines_max = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(take_at(rate, "a", 0), 0);
    }
    assert_int_equal(rate->count, 0);
    free(rate);
}

enum { MESSAGES = WEIR_RATE_MESSAGES_MAX + 50 };

static void messages_without_room_share_a_place_and_none_is_lost(void **state) {
    (void)state;
    struct weir_rate *rate = make_rate();
    static char messages[MESSAGES][16];
    uint64_t written = 0, told = 0, all = 0;
    for (int round = 0; round < LINES + 3; round++) {
        for (int i = 0; i < MESSAGES; i++) {
            snprintf(messages[i], sizeof messages[i], "message %d", i);
            int64_t tells = take_at(rate, messages[i], 0);
            written += tells >= 0;
            told += tells > 0 ? (uint64_t)tells : 0;
            all++;
        }
    }
    assert_int_equal(written, LINES * (WEIR_RATE_MESSAGES_MAX + 1)); // bounded
    struct weir_rate_rest rest;
    size_t rests = 0;
    while (weir_rate_collect(rate, WINDOW_NS, &rest)) {
        told += rest.left_out;
        rests++;
    }
    assert_int_equal(rests, WEIR_RATE_MESSAGES_MAX + 1);
    assert_int_equal(written + told, all);
    // What is quiet makes room.
    assert_int_equal(take_at(rate, "a new one", WINDOW_NS), 0);
    assert_int_equal(take_at(rate, "a new one", WINDOW_NS), 0);
    assert_int_equal(take_at(rate, "a new one", WINDOW_NS), -1);
    assert_true(weir_rate_collect(rate, 2 * WINDOW_NS, &rest));
    assert_string_equal(rest.message, "a new one");
    free(rate);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_takes_so_many_lines_of_each_message),
        cmocka_unit_test(the_same_sentence_at_another_address_is_the_same_message),
        cmocka_unit_test(what_nobody_told_is_collected_when_the_window_is_over),
        cmocka_unit_test(what_is_put_back_waits_for_another_window),
        cmocka_unit_test(without_a_bound_nothing_is_counted),
        cmocka_unit_test(messages_without_room_share_a_place_and_none_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
