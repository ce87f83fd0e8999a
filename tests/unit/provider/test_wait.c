// SPDX-License-Identifier: Apache-2.0
//
// Waiting until a moment, and connecting within one.
#include "unit/test.h"

#include "provider/dial.h"
#include "provider/wait.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

static struct weir_waiter within_ms(int64_t ms) {
    return (struct weir_waiter){.until_ns = weir_clock_monotonic_ns() + ms * WEIR_NS_PER_MS};
}

static void a_wait_ends_by_the_descriptor_or_the_moment(void **state) {
    (void)state;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_true(fd >= 0);
    int64_t from_ns = weir_clock_monotonic_ns();
    struct weir_waiter soon = within_ms(50), over = within_ms(-50), late = within_ms(TEST_WAIT_MS);
    assert_int_equal(weir_wait(&soon, fd, POLLIN), WEIR_UNAVAILABLE);
    assert_in_range((weir_clock_monotonic_ns() - from_ns) / WEIR_NS_PER_MS, 50, 1000);
    assert_int_equal(weir_wait(&over, fd, POLLIN), WEIR_UNAVAILABLE);
    soon = within_ms(20);
    assert_int_equal(weir_wait(&soon, -1, 0), WEIR_UNAVAILABLE); // for the moment alone
    assert_int_equal(eventfd_write(fd, 1), 0);
    assert_int_equal(weir_wait(&over, fd, POLLIN), WEIR_OK); // what is there needs no time
    assert_int_equal(weir_wait(&late, fd, POLLIN), WEIR_OK);
    const struct weir_waiter endless = {.until_ns = INT64_MAX};
    assert_int_equal(weir_wait(&endless, fd, POLLIN), WEIR_OK);
    assert_int_equal(close(fd), 0);
}

static void an_earlier_moment_holds(void **state) {
    (void)state;
    struct weir_waiter waiter = within_ms(10000);
    int64_t now_ns = weir_clock_monotonic_ns();
    assert_int_equal(weir_waiter_within(&waiter, INT64_C(60000) * WEIR_NS_PER_MS).until_ns,
                     waiter.until_ns);
    assert_in_range(weir_waiter_within(&waiter, 0).until_ns - now_ns, 0, WEIR_NS_PER_S);
    // A quarter of it for the first of four, all for the last.
    assert_in_range(weir_waiter_share(&waiter, 4).until_ns - now_ns, 2400 * WEIR_NS_PER_MS,
                    2600 * WEIR_NS_PER_MS);
    assert_in_range(waiter.until_ns - weir_waiter_share(&waiter, 1).until_ns, 0, WEIR_NS_PER_S);
    struct weir_waiter over = within_ms(-1000); // nothing is left
    assert_int_equal(weir_waiter_share(&over, 4).until_ns, over.until_ns);
    const struct weir_waiter endless = {.until_ns = INT64_MAX};
    assert_true(weir_waiter_share(&endless, 2).until_ns > now_ns);
}

// A socket that listens, on a port of the system's choice.
static int listen_here(struct sockaddr_in *ret_address, int backlog) {
    socklen_t size = sizeof *ret_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET};
    ret_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)ret_address, size), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
    return fd;
}

static weir_status dial(const struct sockaddr_in *address, int64_t ms, int *ret_fd,
                        struct weir_error *err) {
    const struct weir_waiter waiter = within_ms(ms);
    return weir_dial((const struct sockaddr *)address, sizeof *address, &waiter, ret_fd, err);
}

static void who_listens_is_reached(void **state) {
    (void)state;
    struct sockaddr_in address;
    struct weir_error err;
    int no_delay = 0, fd, listener = listen_here(&address, 8);
    socklen_t size = sizeof no_delay;
    assert_int_equal(dial(&address, TEST_WAIT_MS, &fd, &err), WEIR_OK);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
    assert_true(no_delay);
    int other = accept(listener, NULL, NULL);
    assert_true(other >= 0);
    assert_int_equal(close(other), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(listener), 0);

    // Nobody listens there any more.
    assert_int_equal(dial(&address, TEST_WAIT_MS, &fd, &err), WEIR_UNAVAILABLE);
    assert_int_equal(fd, -1);
    assert_string_equal(err.message, "Connection refused");
    const struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/no/such/socket"};
    const struct weir_waiter waiter = within_ms(TEST_WAIT_MS);
    assert_int_equal(
        weir_dial((const struct sockaddr *)&nowhere, sizeof nowhere, &waiter, &fd, &err),
        WEIR_UNAVAILABLE);
    assert_string_equal(err.message, "No such file or directory");
}

// The queue of who listens is full, and nobody accepts: the system says nothing to who comes next.
static void who_does_not_answer_is_left(void **state) {
    (void)state;
    enum { TRIES_MAX = 64 };
    struct sockaddr_in address;
    struct weir_error err;
    int fds[TRIES_MAX], count = 0, listener = listen_here(&address, 0);
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && count < TRIES_MAX) {
        int64_t from_ns = weir_clock_monotonic_ns();
        status = dial(&address, 300, &fds[count], &err);
        if (status == WEIR_OK) {
            count++;
        } else {
            assert_in_range((weir_clock_monotonic_ns() - from_ns) / WEIR_NS_PER_MS, 300, 3000);
        }
    }
    assert_int_equal(status, WEIR_UNAVAILABLE);
    assert_string_equal(err.message, "no answer came in time");
    while (count > 0) {
        assert_int_equal(close(fds[--count]), 0);
    }
    assert_int_equal(close(listener), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_by_the_descriptor_or_the_moment),
        cmocka_unit_test(an_earlier_moment_holds),
        cmocka_unit_test(who_listens_is_reached),
        cmocka_unit_test(who_does_not_answer_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
