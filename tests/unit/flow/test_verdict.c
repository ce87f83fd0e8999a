// SPDX-License-Identifier: Apache-2.0
//
// What follows from a verdict, and how long a retry waits.
#include "flow/flow_private.h"
#include "unit/test.h"

static struct weir_verdict verdict_of(enum weir_outcome outcome, weir_status status) {
    struct weir_verdict verdict = {.outcome = outcome};
    weir_fail(&verdict.error, status, "%s", "why");
    return verdict;
}

static void a_verdict_decides(void **state) {
    (void)state;
    const struct weir_retry retry = {.attempts = 3};
    static const struct {
        enum weir_outcome outcome;
        weir_status status;
        uint32_t attempt;
        enum weir_decision decision;
    } rows[] = {
        {WEIR_HANDLED, WEIR_OK, 1, WEIR_DECIDE_SETTLE},
        {WEIR_HANDLED, WEIR_OK, 3, WEIR_DECIDE_SETTLE},
        {WEIR_FAILED, WEIR_OTHER, 1, WEIR_DECIDE_RETRY},
        {WEIR_FAILED, WEIR_OTHER, 2, WEIR_DECIDE_RETRY},
        {WEIR_FAILED, WEIR_OTHER, 3, WEIR_DECIDE_DEAD},
        {WEIR_FAILED, WEIR_OTHER, 4, WEIR_DECIDE_DEAD},
        {WEIR_BROKEN, WEIR_TRAPPED, 1, WEIR_DECIDE_RETRY},
        {WEIR_BROKEN, WEIR_LIMIT, 2, WEIR_DECIDE_RETRY},
        {WEIR_BROKEN, WEIR_NO_MEMORY, 3, WEIR_DECIDE_DEAD},
        // Cut by weir: as good as never tried, even at the last attempt.
        {WEIR_BROKEN, WEIR_STOPPED, 1, WEIR_DECIDE_PUT_BACK},
        {WEIR_BROKEN, WEIR_STOPPED, 3, WEIR_DECIDE_PUT_BACK},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_verdict verdict = verdict_of(rows[i].outcome, rows[i].status);
        assert_int_equal(weir_decide(&verdict, &retry, rows[i].attempt), rows[i].decision);
    }
}

static void one_attempt_is_no_retry(void **state) {
    (void)state;
    const struct weir_retry retry = {.attempts = 1};
    struct weir_verdict verdict = verdict_of(WEIR_FAILED, WEIR_OTHER);
    assert_int_equal(weir_decide(&verdict, &retry, 1), WEIR_DECIDE_DEAD);
}

static void a_wait_doubles_up_to_its_maximum(void **state) {
    (void)state;
    const struct weir_retry retry = {.backoff_ns = 100, .backoff_max_ns = 1000, .jitter = 0};
    static const int64_t waits[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (uint32_t i = 0; i < COUNT_OF(waits); i++) {
        assert_int_equal(weir_backoff_ns(&retry, i + 1, 0.999), waits[i]);
    }
    assert_int_equal(weir_backoff_ns(&retry, UINT32_MAX, 0), 1000);
}

static void a_wait_longer_than_its_maximum_is_the_maximum(void **state) {
    (void)state;
    const struct weir_retry retry = {.backoff_ns = 5000, .backoff_max_ns = 1000};
    assert_int_equal(weir_backoff_ns(&retry, 1, 0), 1000);
}

static void the_longest_waits_do_not_overflow(void **state) {
    (void)state;
    const struct weir_retry retry = {
        .backoff_ns = INT64_MAX / 2 + 1, .backoff_max_ns = INT64_MAX, .jitter = 0};
    for (uint32_t attempt = 1; attempt < 100; attempt++) {
        int64_t wait_ns = weir_backoff_ns(&retry, attempt, 0);
        assert_true(wait_ns >= retry.backoff_ns);
    }
}

static void jitter_takes_at_most_its_share(void **state) {
    (void)state;
    static const double jitters[] = {0.1, 0.5, 1.0};
    for (size_t i = 0; i < COUNT_OF(jitters); i++) {
        const struct weir_retry retry = {
            .backoff_ns = 1000000, .backoff_max_ns = 8000000, .jitter = jitters[i]};
        for (uint32_t attempt = 1; attempt < 6; attempt++) {
            int64_t whole = weir_backoff_ns(&retry, attempt, 0), last = whole;
            assert_int_equal(whole, attempt < 4 ? 1000000 << (attempt - 1) : 8000000);
            for (int share = 1; share < 100; share++) {
                int64_t wait_ns = weir_backoff_ns(&retry, attempt, share / 100.0);
                assert_true(wait_ns < last); // spread over the whole of it
                assert_true(wait_ns >= 0);
                assert_true((double)wait_ns >= (double)whole * (1 - jitters[i]));
                last = wait_ns;
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verdict_decides),
        cmocka_unit_test(one_attempt_is_no_retry),
        cmocka_unit_test(a_wait_doubles_up_to_its_maximum),
        cmocka_unit_test(a_wait_longer_than_its_maximum_is_the_maximum),
        cmocka_unit_test(the_longest_waits_do_not_overflow),
        cmocka_unit_test(jitter_takes_at_most_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
