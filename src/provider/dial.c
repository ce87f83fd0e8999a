// SPDX-License-Identifier: Apache-2.0
//
// See dial.h.
#include "provider/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static int make_socket(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && family != AF_UNIX) {
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    return fd;
}

static weir_status fail_dial(int code, struct weir_error *err) {
    char buffer[128];
    weir_status status = code == EACCES || code == EPERM ? WEIR_DENIED
                         : code == ENOMEM                ? WEIR_NO_MEMORY
                                                         : WEIR_UNAVAILABLE;
    return weir_fail(err, status, "%s", strerror_r(code, buffer, sizeof buffer));
}

// Waits until the other side has taken it.
static weir_status await_taken(int fd, const struct weir_waiter *waiter, struct weir_error *err) {
    int code = 0;
    socklen_t size = sizeof code;
    weir_status status = weir_wait(waiter, fd, POLLOUT);
    if (status != WEIR_OK) {
        return weir_fail(err, status,
                         status == WEIR_STOPPED ? "it was given up" : "no answer came in time");
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) {
        code = errno;
    }
    return code == 0 ? WEIR_OK : fail_dial(code, err);
}

weir_status weir_dial(const struct sockaddr *address, socklen_t size,
                      const struct weir_waiter *waiter, int *ret_fd, struct weir_error *err) {
    *ret_fd = -1;
    int fd = make_socket(address->sa_family);
    if (fd < 0) {
        return fail_dial(errno, err);
    }
    weir_status status = WEIR_OK;
    if (connect(fd, address, size) != 0) { // EAGAIN: a Unix socket whose queue is full
        status = errno == EINPROGRESS ? await_taken(fd, waiter, err) : fail_dial(errno, err);
    }
    if (status != WEIR_OK) {
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return WEIR_OK;
}
