// SPDX-License-Identifier: Apache-2.0
//
// What a service manager reads of weir: the datagrams, on both kinds of sockets, whom the watchdog
// is for, and that nothing of it is left to children.
#include "unit/test.h"

#include "observe/notify.h"

#include <errno.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 2048 };

// A service manager: a socket, and the environment that names it.
struct manager {
    int fd;
    char name[108];
};

static void manager_init(struct manager *manager, bool is_abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(manager->fd >= 0);
    snprintf(manager->name, sizeof manager->name, is_abstract ? "@weir-%ld" : "/tmp/weir-%ld.sock",
             (long)getpid());
    size_t size = strlen(manager->name);
    memcpy(address.sun_path, manager->name, size);
    address.sun_path[0] = is_abstract ? '\0' : '/';
    unlink(manager->name);
    assert_int_equal(bind(manager->fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", manager->name, 1), 0);
}

static void manager_finish(struct manager *manager) {
    close(manager->fd);
    unlink(manager->name);
}

// The next message; "" where there is none.
static const char *take(const struct manager *manager) {
    static char message[MESSAGE_BYTES];
    ssize_t size = recv(manager->fd, message, sizeof message - 1, MSG_DONTWAIT);
    message[size > 0 ? size : 0] = '\0';
    return message;
}

static void set_watchdog(const char *usec, const char *pid) {
    if (usec) {
        setenv("WATCHDOG_USEC", usec, 1);
    } else {
        unsetenv("WATCHDOG_USEC");
    }
    if (pid) {
        setenv("WATCHDOG_PID", pid, 1);
    } else {
        unsetenv("WATCHDOG_PID");
    }
}

static void messages_are_lines_of_the_protocol(void **state) {
    (void)state;
    for (int is_abstract = 0; is_abstract < 2; is_abstract++) {
        struct manager manager;
        struct weir_notify notify;
        char wanted[128];
        manager_init(&manager, is_abstract);
        assert_int_equal(weir_notify_init(&notify, NULL), WEIR_OK);
        assert_int_equal(notify.watchdog_ns, 0);
        weir_notify_ready(&notify, "3 subscriptions\nREADY=0");
        snprintf(wanted, sizeof wanted, "READY=1\nMAINPID=%ld\nSTATUS=3 subscriptions",
                 (long)getpid());
        assert_string_equal(take(&manager), wanted); // a status cannot bring lines of its own
        long long before_us = weir_clock_monotonic_ns() / 1000, told_us = 0;
        weir_notify_reloading(&notify);
        const char *message = take(&manager);
        assert_int_equal(sscanf(message, "RELOADING=1\nMONOTONIC_USEC=%lld\n", &told_us), 1);
        assert_true(told_us >= before_us && told_us <= weir_clock_monotonic_ns() / 1000);
        weir_notify_stopping(&notify, 7 * WEIR_NS_PER_S);
        assert_string_equal(take(&manager),
                            "STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000\nSTATUS=stopping");
        weir_notify_busy(&notify, WEIR_NS_PER_S, "compiling");
        assert_string_equal(take(&manager), "EXTEND_TIMEOUT_USEC=1000000\nSTATUS=compiling");
        weir_notify_alive(&notify);
        assert_string_equal(take(&manager), "WATCHDOG=1");
        weir_notify_finish(&notify);
        manager_finish(&manager);
    }
}

static void the_variables_are_not_left_to_children(void **state) {
    (void)state;
    struct manager manager;
    struct weir_notify notify;
    manager_init(&manager, true);
    set_watchdog("4000000", NULL);
    assert_int_equal(weir_notify_init(&notify, NULL), WEIR_OK);
    assert_int_equal(notify.watchdog_ns, 2 * WEIR_NS_PER_S); // twice in the time
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    weir_notify_finish(&notify);
    manager_finish(&manager);
}

static void the_watchdog_is_for_the_process_that_it_names(void **state) {
    (void)state;
    char own[24];
    snprintf(own, sizeof own, "%ld", (long)getpid());
    const struct {
        const char *usec, *pid;
        int64_t watchdog_ns;
    } rows[] = {
        {"1000000", own, WEIR_NS_PER_S / 2},
        {"1000000", "1", 0},
        {"1000000", "", 0},
        {"0", own, 0},
        {"-1", own, 0},
        {"x", own, 0},
        {"1000000x", own, 0},
        {"99999999999999999999", own, 0},
        {NULL, own, 0},
        {"18446744073709551615", own, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct manager manager;
        struct weir_notify notify;
        manager_init(&manager, true);
        set_watchdog(rows[i].usec, rows[i].pid);
        assert_int_equal(weir_notify_init(&notify, NULL), WEIR_OK);
        assert_int_equal(notify.watchdog_ns, rows[i].watchdog_ns);
        weir_notify_finish(&notify);
        manager_finish(&manager);
    }
}

static void where_nobody_wants_to_be_told_nothing_happens(void **state) {
    (void)state;
    struct weir_notify notify;
    unsetenv("NOTIFY_SOCKET");
    set_watchdog("1000000", NULL);
    assert_int_equal(weir_notify_init(&notify, NULL), WEIR_OK);
    assert_int_equal(notify.fd, -1);
    assert_int_equal(notify.watchdog_ns, 0);
    weir_notify_ready(&notify, "x");
    weir_notify_ready(NULL, "x");
    weir_notify_finish(&notify);

    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(weir_notify_init(&notify, NULL), WEIR_OK);
    assert_int_equal(notify.fd, -1);
    weir_notify_finish(&notify);
}

static void a_socket_that_is_none_is_refused_by_name(void **state) {
    (void)state;
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    const char *names[] = {"vsock:2:1234", "relative", "@", "/", name};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct weir_notify notify;
        struct weir_error err;
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(weir_notify_init(&notify, &err), WEIR_INVALID);
        assert_message_has(&err, "NOTIFY_SOCKET");
        assert_int_equal(notify.fd, -1);
        assert_null(getenv("NOTIFY_SOCKET"));
        weir_notify_alive(&notify);
        weir_notify_finish(&notify);
    }
}

static void a_manager_that_does_not_read_costs_a_bounded_wait(void **state) {
    (void)state;
    struct manager manager;
    struct weir_notify notify;
    manager_init(&manager, true);
    assert_int_equal(weir_notify_init(&notify, NULL), WEIR_OK);
    int64_t begin_ns = weir_clock_monotonic_ns();
    int sent = 0;
    while (weir_clock_monotonic_ns() - begin_ns < WEIR_NOTIFY_WAIT_MS * WEIR_NS_PER_MS / 2) {
        weir_notify_alive(&notify); // until the queue is full, and one waits
        sent++;
        assert_true(sent < 1000000);
    }
    assert_true(weir_clock_monotonic_ns() - begin_ns < TEST_WAIT_MS * WEIR_NS_PER_MS);
    weir_notify_finish(&notify);
    manager_finish(&manager);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_lines_of_the_protocol),
        cmocka_unit_test(the_variables_are_not_left_to_children),
        cmocka_unit_test(the_watchdog_is_for_the_process_that_it_names),
        cmocka_unit_test(where_nobody_wants_to_be_told_nothing_happens),
        cmocka_unit_test(a_socket_that_is_none_is_refused_by_name),
        cmocka_unit_test(a_manager_that_does_not_read_costs_a_bounded_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
