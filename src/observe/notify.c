// SPDX-License-Identifier: Apache-2.0
//
// See notify.h. A message that cannot be sent is dropped: whoever supervises weir then acts as if
// it had not been sent, which is what supervision is for.
#include "observe/notify.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NS_PER_US = 1000, NUMBER_BASE = 10 };

// A number of the environment; 0 where there is none.
static uint64_t read_number(const char *name) {
    const char *text = getenv(name);
    char *end = NULL;
    errno = 0;
    unsigned long long number = text ? strtoull(text, &end, NUMBER_BASE) : 0;
    bool is_number = text && text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    return is_number ? number : 0;
}

// How often weir has to say that it is alive: twice in the time after which it is taken for dead.
static int64_t read_watchdog(void) {
    uint64_t for_pid = read_number("WATCHDOG_PID"), time_us = read_number("WATCHDOG_USEC");
    bool is_for_us = !getenv("WATCHDOG_PID") || for_pid == (uint64_t)getpid();
    if (!is_for_us || time_us == 0 || time_us > INT64_MAX / NS_PER_US) {
        return 0;
    }
    return (int64_t)time_us * NS_PER_US / 2;
}

static weir_status read_address(struct weir_notify *notify, const char *name,
                                struct weir_error *err) {
    size_t size = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || size < 2 || size >= sizeof notify->address.sun_path) {
        return weir_fail(err, WEIR_INVALID,
                         "NOTIFY_SOCKET=%s names no socket that weir can tell: it wants a path, or "
                         "\"@\" and a name",
                         name);
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, name, size);
    if (name[0] == '@') {
        notify->address.sun_path[0] = '\0';
    }
    notify->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return WEIR_OK;
}

static weir_status open_socket(struct weir_notify *notify, struct weir_error *err) {
    const struct timeval wait = {.tv_sec = WEIR_NOTIFY_WAIT_MS / 1000};
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0 ||
        setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0) {
        return weir_fail_errno(err, errno, "a socket to the service manager");
    }
    return WEIR_OK;
}

weir_status weir_notify_init(struct weir_notify *ret_notify, struct weir_error *err) {
    const char *name = getenv("NOTIFY_SOCKET");
    *ret_notify = (struct weir_notify){.fd = -1};
    weir_status status = WEIR_OK;
    if (name && name[0]) {
        status = read_address(ret_notify, name, err);
        status = status == WEIR_OK ? open_socket(ret_notify, err) : status;
        ret_notify->watchdog_ns = status == WEIR_OK ? read_watchdog() : 0;
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return status;
}

void weir_notify_finish(struct weir_notify *notify) {
    if (notify->fd >= 0) {
        close(notify->fd);
    }
    *notify = (struct weir_notify){.fd = -1};
}

__attribute__((format(printf, 2, 3))) static void send_lines(const struct weir_notify *notify,
                                                             const char *format, ...) {
    char message[WEIR_NOTIFY_BYTES_MAX];
    va_list args;
    if (!notify || notify->fd < 0) {
        return;
    }
    va_start(args, format);
    int size = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (size < 0) {
        return;
    }
    size_t bytes = (size_t)size < sizeof message ? (size_t)size : sizeof message - 1;
    while (sendto(notify->fd, message, bytes, MSG_NOSIGNAL,
                  (const struct sockaddr *)&notify->address, notify->address_size) < 0 &&
           errno == EINTR) {
    }
}

// A status is one line.
static int line_bytes(const char *status) {
    size_t size = strcspn(status, "\n");
    return (int)(size < WEIR_NOTIFY_STATUS_MAX ? size : WEIR_NOTIFY_STATUS_MAX);
}

void weir_notify_ready(const struct weir_notify *notify, const char *status) {
    send_lines(notify, "READY=1\nMAINPID=%ld\nSTATUS=%.*s", (long)getpid(), line_bytes(status),
               status);
}

void weir_notify_reloading(const struct weir_notify *notify) {
    send_lines(notify,
               "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reading the configuration again",
               weir_clock_monotonic_ns() / NS_PER_US);
}

void weir_notify_stopping(const struct weir_notify *notify, int64_t takes_ns) {
    send_lines(notify, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=stopping",
               takes_ns / NS_PER_US);
}

void weir_notify_busy(const struct weir_notify *notify, int64_t takes_ns, const char *status) {
    send_lines(notify, "EXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=%.*s", takes_ns / NS_PER_US,
               line_bytes(status), status);
}

void weir_notify_alive(const struct weir_notify *notify) {
    send_lines(notify, "WATCHDOG=1");
}
