// SPDX-License-Identifier: Apache-2.0
//
// The asking side of the control socket. Every wait has an end, because the weir at the other one
// may be stopped by a debugger or be stuck on its disk.
//
// Used by one thread at a time.
#include "control/control.h"

#include "base/clock.h"
#include "control/place.h"
#include "control/request.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    CONNECT_PAUSE_MS =
        20, // between two attempts, where so many others connect that there is no room
};

struct weir_control_link {
    int fd; // non-blocking
    bool has_ended;
    char *bytes; // read, from `taken` to `size` not yet told
    size_t taken, size, room;
};

// ---- connecting ----

static weir_status fail_connect(int code, const char *dir, struct weir_error *err) {
    if (code == ENOENT || code == ECONNREFUSED) {
        return weir_fail(err, WEIR_UNAVAILABLE, "no weir runs with the state in %s", dir);
    }
    if (code == EAGAIN) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the weir of %s has not answered for %d s", dir,
                         WEIR_CONTROL_ASK_MS / 1000);
    }
    return weir_fail_errno(err, code, "cannot connect to %s/" WEIR_CONTROL_SOCKET, dir);
}

// Connects within the time. Returns an errno value.
static int connect_to(int fd, const struct sockaddr_un *address) {
    int64_t until_ns = weir_clock_monotonic_ns() + WEIR_CONTROL_ASK_MS * WEIR_NS_PER_MS;
    for (;;) {
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
            return 0;
        }
        // A Unix socket connects at once or says that the queue is full; there is no EINPROGRESS.
        if (errno != EAGAIN || weir_clock_monotonic_ns() >= until_ns) {
            return errno;
        }
        poll(NULL, 0, CONNECT_PAUSE_MS);
    }
}

weir_status weir_control_open(const char *dir, struct weir_control_link **ret_link,
                              struct weir_error *err) {
    struct weir_control_place place;
    *ret_link = NULL;
    weir_status status = weir_control_place_open(dir, &place, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_control_link *link = calloc(1, sizeof *link);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code = fd < 0 ? errno : connect_to(fd, &place.address);
    weir_control_place_close(&place);
    if (!link) {
        status = weir_fail_no_memory(err, "a connection");
    } else if (code != 0) {
        status = fail_connect(code, dir, err);
    } else if (!weir_control_peer_is_trusted(fd)) {
        status = weir_fail(err, WEIR_DENIED, "the weir of %s is another user's", dir);
    }
    if (status == WEIR_OK) {
        link->fd = fd;
        *ret_link = link;
        return WEIR_OK;
    }
    if (fd >= 0) {
        close(fd);
    }
    free(link);
    return status;
}

void weir_control_close(struct weir_control_link *link) {
    if (link) {
        close(link->fd);
        free(link->bytes);
        free(link);
    }
}

int weir_control_fd(const struct weir_control_link *link) {
    return link->fd;
}

// ---- lines ----

static weir_status make_room(struct weir_control_link *link, struct weir_error *err) {
    if (link->taken > 0) {
        link->size -= link->taken;
        memmove(link->bytes, link->bytes + link->taken, link->size);
        link->taken = 0;
    }
    if (link->room - link->size >= READ_BYTES) {
        return WEIR_OK;
    }
    if (link->size > WEIR_CONTROL_LINE_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "weir's answer has more than %d bytes",
                         WEIR_CONTROL_LINE_BYTES_MAX);
    }
    size_t room = link->room ? link->room * 2 : READ_BYTES * 2;
    char *grown = realloc(link->bytes, room);
    if (!grown) {
        return weir_fail_no_memory(err, "weir's answer");
    }
    link->bytes = grown;
    link->room = room;
    return WEIR_OK;
}

// Reads what is there. WEIR_AGAIN: nothing.
static weir_status read_more(struct weir_control_link *link, struct weir_error *err) {
    weir_status status = make_room(link, err);
    if (status != WEIR_OK) {
        return status;
    }
    ssize_t more = read(link->fd, link->bytes + link->size, link->room - link->size);
    if (more > 0) {
        link->size += (size_t)more;
        return WEIR_OK;
    }
    if (more < 0 && (errno == EAGAIN || errno == EINTR)) {
        return weir_fail(err, WEIR_AGAIN, "weir has not answered");
    }
    link->has_ended = true;
    return weir_fail(err, WEIR_STOPPED, "weir has ended the connection");
}

static weir_status parse(const char *line, size_t size, json_t **ret_line, struct weir_error *err) {
    *ret_line = json_loadb(line, size, 0, NULL);
    return json_is_object(*ret_line)
               ? WEIR_OK
               : weir_fail(err, WEIR_OTHER, "weir's answer is not what this version understands");
}

weir_status weir_control_next(struct weir_control_link *link, json_t **ret_line,
                              struct weir_error *err) {
    size_t looked = 0; // without an end of a line
    *ret_line = NULL;
    for (;;) {
        const char *from = link->bytes ? link->bytes + link->taken : NULL;
        size_t waiting = link->size - link->taken;
        const char *end = waiting > looked ? memchr(from + looked, '\n', waiting - looked) : NULL;
        if (end) {
            link->taken += (size_t)(end - from) + 1;
            weir_status status = parse(from, (size_t)(end - from), ret_line, err);
            if (status != WEIR_OK) {
                json_decref(*ret_line);
                *ret_line = NULL;
            }
            return status;
        }
        looked = waiting;
        weir_status status = link->has_ended
                                 ? weir_fail(err, WEIR_STOPPED, "weir has ended the connection")
                                 : read_more(link, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
}

// ---- asking ----

// Waits until the descriptor is ready for `events`, until the moment at the latest.
static weir_status wait_for(const struct weir_control_link *link, short events, int64_t until_ns,
                            struct weir_error *err) {
    int64_t left_ns = until_ns - weir_clock_monotonic_ns();
    struct pollfd fd = {.fd = link->fd, .events = events};
    int ready = left_ns > 0 ? poll(&fd, 1, (int)(left_ns / WEIR_NS_PER_MS) + 1) : 0;
    if (ready < 0 && errno != EINTR) {
        return weir_fail_errno(err, errno, "cannot wait for weir");
    }
    return ready != 0 ? WEIR_OK
                      : weir_fail(err, WEIR_UNAVAILABLE, "weir has not answered within %d s",
                                  WEIR_CONTROL_ASK_MS / 1000);
}

static weir_status send_line(struct weir_control_link *link, struct weir_str line, int64_t until_ns,
                             struct weir_error *err) {
    while (line.size > 0) {
        ssize_t sent = send(link->fd, line.data, line.size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            // It may have told why before it hung up.
            return errno == EPIPE || errno == ECONNRESET
                       ? WEIR_OK
                       : weir_fail_errno(err, errno, "cannot ask weir");
        }
        line.data += sent > 0 ? sent : 0;
        line.size -= sent > 0 ? (size_t)sent : 0;
        weir_status status = line.size > 0 ? wait_for(link, POLLOUT, until_ns, err) : WEIR_OK;
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

static weir_status wait_answer(struct weir_control_link *link, int64_t until_ns,
                               json_t **ret_answer, struct weir_error *err) {
    weir_status status;
    while ((status = weir_control_next(link, ret_answer, err)) == WEIR_AGAIN) {
        status = wait_for(link, POLLIN, until_ns, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return status == WEIR_STOPPED
               ? weir_fail(err, WEIR_UNAVAILABLE, "weir ended the connection without an answer")
               : status;
}

static weir_status send_until(struct weir_control_link *link, json_t *request, int64_t until_ns,
                              struct weir_error *err) {
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text) {
        return weir_fail_no_memory(err, "a request");
    }
    size_t size = strlen(text);
    text[size] = '\n'; // in the place of the NUL; the size is known
    weir_status status =
        send_line(link, (struct weir_str){.data = text, .size = size + 1}, until_ns, err);
    free(text);
    return status;
}

static int64_t last_moment_ns(void) {
    return weir_clock_monotonic_ns() + WEIR_CONTROL_ASK_MS * WEIR_NS_PER_MS;
}

weir_status weir_control_send(struct weir_control_link *link, json_t *request,
                              struct weir_error *err) {
    return send_until(link, request, last_moment_ns(), err);
}

weir_status weir_control_ask(struct weir_control_link *link, json_t *request, json_t **ret_answer,
                             struct weir_error *err) {
    int64_t until_ns = last_moment_ns();
    *ret_answer = NULL;
    weir_status status = send_until(link, request, until_ns, err);
    status = status == WEIR_OK ? wait_answer(link, until_ns, ret_answer, err) : status;
    if (status == WEIR_OK && (status = weir_control_error_of(*ret_answer, err)) != WEIR_OK) {
        json_decref(*ret_answer);
        *ret_answer = NULL;
    }
    return status;
}
