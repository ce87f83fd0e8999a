// SPDX-License-Identifier: Apache-2.0
//
// How a connection is, and when to try again.
#include "unit/test.h"

#include "provider/link.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct weir_error refused = {WEIR_UNAVAILABLE, "connection refused"};

static void it_is_told_how_it_is(void **state) {
    (void)state;
    struct weir_link link;
    struct weir_health health;
    weir_link_init(&link, "store", NULL);
    weir_link_health(&link, true, &health);
    assert_false(health.is_known || health.is_connected);
    assert_int_equal(health.since_wall_ns, 0);
    weir_link_down(&link, &refused);
    weir_link_health(&link, true, &health);
    assert_string_equal(health.reason, "connection refused");
    assert_int_equal(health.since_wall_ns, 0); // it never was
    weir_link_up(&link);
    weir_link_health(&link, true, &health);
    assert_true(health.is_connected);
    assert_string_equal(health.reason, "");
    assert_int_equal(health.reconnects, 0);
    int64_t since_ns = health.since_wall_ns;
    assert_true(since_ns > 0);
    weir_link_up(&link); // nothing new
    weir_link_health(&link, true, &health);
    assert_int_equal(health.since_wall_ns, since_ns);
    weir_link_down(&link, &refused);
    weir_link_health(&link, true, &health);
    assert_false(health.is_connected);
    int64_t away_ns = health.since_wall_ns;
    assert_true(away_ns >= since_ns);
    weir_link_down(&link, &(struct weir_error){WEIR_UNAVAILABLE, "no route"});
    weir_link_health(&link, true, &health);
    assert_int_equal(health.since_wall_ns, away_ns); // since it went, not since the last attempt
    assert_string_equal(health.reason, "no route");
    weir_link_up(&link);
    weir_link_health(&link, true, &health);
    assert_int_equal(health.reconnects, 1);
    weir_link_finish(&link);
}

// What calls have found is told while nothing is watched, and leaves the watches' connection alone.
static void calls_say_how_it_is_where_nothing_is_watched(void **state) {
    (void)state;
    struct weir_link link;
    struct weir_health health;
    weir_link_init(&link, "store", NULL);
    weir_link_health(&link, false, &health);
    assert_false(health.is_known || health.is_connected);
    weir_link_down(&link, &(struct weir_error){WEIR_DENIED, "the watch that could not begin"});
    weir_link_health(&link, false, &health);
    assert_string_equal(health.reason, "the watch that could not begin");
    weir_link_called(&link, &refused);
    weir_link_health(&link, false, &health);
    assert_true(health.is_known);
    assert_false(health.is_connected);
    assert_int_equal(health.since_wall_ns, 0); // it never was
    assert_string_equal(health.reason, "connection refused");
    weir_link_called(&link, NULL);
    weir_link_called(&link, &refused);
    weir_link_called(&link, &refused);
    weir_link_called(&link, NULL);
    weir_link_health(&link, false, &health);
    assert_true(health.is_connected);
    assert_string_equal(health.reason, "");
    assert_int_equal(health.reconnects, 1);
    weir_link_health(&link, true, &health);
    assert_false(health.is_connected);
    weir_link_up(&link);
    weir_link_called(&link, &refused);
    weir_link_health(&link, true, &health);
    assert_true(health.is_connected);
    weir_link_health(&link, false, &health);
    assert_false(health.is_connected);
    weir_link_finish(&link);
}

static void each_attempt_waits_longer_up_to_the_most(void **state) {
    (void)state;
    struct weir_link link;
    weir_link_init(&link, "store", NULL);
    for (int round = 0; round < 2; round++) {
        int64_t most_ms = WEIR_LINK_BACKOFF_MS_MIN;
        for (int i = 0; i < 100; i++) {
            int64_t before_ns = weir_clock_monotonic_ns();
            int64_t due_ns = weir_link_down(&link, &refused);
            int64_t after_ns = weir_clock_monotonic_ns();
            assert_true(due_ns >= before_ns + most_ms * WEIR_NS_PER_MS / 2);
            assert_true(due_ns <= after_ns + most_ms * WEIR_NS_PER_MS);
            most_ms =
                most_ms * 2 < WEIR_LINK_BACKOFF_MS_MAX ? most_ms * 2 : WEIR_LINK_BACKOFF_MS_MAX;
        }
        weir_link_up(&link); // begins anew
    }
    weir_link_finish(&link);
}

static size_t count(const char *text, const char *part) {
    size_t found = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) {
        found++;
    }
    return found;
}

static void a_loss_and_a_return_are_logged_once(void **state) {
    (void)state;
    char name[] = "/tmp/weir-link-XXXXXX", text[4096] = "";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    struct weir_log *log;
    struct weir_error err;
    assert_int_equal(weir_log_create(&(struct weir_log_config){.fd = fd}, &log, &err), WEIR_OK);
    struct weir_link link;
    weir_link_init(&link, "store", log);
    weir_link_up(&link);
    for (int i = 0; i < 5; i++) {
        weir_link_down(&link, &refused);
    }
    weir_link_up(&link);
    weir_link_finish(&link);
    weir_log_destroy(log);
    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    assert_int_equal(count(text, "connection refused"), 1);
    assert_int_equal(count(text, "is lost"), 1);
    assert_int_equal(count(text, "connected again"), 1);
    assert_int_equal(count(text, "\n"), 2);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_told_how_it_is),
        cmocka_unit_test(calls_say_how_it_is_where_nothing_is_watched),
        cmocka_unit_test(each_attempt_waits_longer_up_to_the_most),
        cmocka_unit_test(a_loss_and_a_return_are_logged_once),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
