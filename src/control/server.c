// SPDX-License-Identifier: Apache-2.0
//
// The control thread; see control.h. It has one loop around poll(2), and everything in it is
// bounded: who is served, what a step does, how long anybody is waited for.
//
// A weir whose control socket cannot be made runs all the same if its caller likes; nothing that
// flows depends on it.
#include "control/server.h"

#include "base/clock.h"
#include "base/thread.h"
#include "flow/flow.h"
#include "observe/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BACKLOG = 64,
    ACCEPTS_AT_ONCE = 16,    // before others are served again
    ACCEPT_PAUSE_MS = 1000,  // where the process has no descriptor left
    WAIT_MS_MAX = 60 * 1000, // of one poll; it is called again
};

// ---- making and ending ----

weir_status weir_control_create(const struct weir_control_args *args,
                                struct weir_control **ret_control, struct weir_error *err) {
    *ret_control = NULL;
    struct weir_control *control = calloc(1, sizeof *control);
    char *dir = strdup(args->dir);
    if (!control || !dir) {
        free(control);
        free(dir);
        return weir_fail_no_memory(err, "the control socket");
    }
    control->dir = dir;
    control->log = args->log;
    control->listen_fd = control->place.dir_fd = -1;
    weir_control_tails_init(&control->tails);
    control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control->wake_fd < 0) {
        weir_status status = weir_fail_errno(err, errno, "cannot make an eventfd");
        weir_control_destroy(control);
        return status;
    }
    *ret_control = control;
    return WEIR_OK;
}

void weir_control_destroy(struct weir_control *control) {
    if (!control) {
        return;
    }
    weir_control_stop(control);
    weir_control_tails_finish(&control->tails);
    if (control->wake_fd >= 0) {
        close(control->wake_fd);
    }
    free(control->dir);
    free(control);
}

static void wake(struct weir_control *control) {
    const uint64_t one = 1;
    ssize_t written = write(control->wake_fd, &one, sizeof one);
    (void)written; // a full counter wakes too
}

void weir_control_tap(void *context, const struct weir_tap_event *event) {
    struct weir_control *control = context;
    if (weir_control_tails_offer(&control->tails, event)) {
        wake(control);
    }
}

// The mode is set before the name is there: nobody else can connect in between.
static weir_status listen_at(struct weir_control *control, struct weir_error *err) {
    const struct sockaddr_un *address = &control->place.address;
    control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->listen_fd < 0) {
        return weir_fail_errno(err, errno, "cannot make a socket");
    }
    if (unlinkat(control->place.dir_fd, WEIR_CONTROL_SOCKET, 0) != 0 && errno != ENOENT) {
        return weir_fail_errno(err, errno, "cannot remove the old %s/" WEIR_CONTROL_SOCKET,
                               control->dir);
    }
    if (fchmod(control->listen_fd, S_IRUSR | S_IWUSR) != 0 ||
        bind(control->listen_fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
        listen(control->listen_fd, BACKLOG) != 0) {
        return weir_fail_errno(err, errno, "cannot make %s/" WEIR_CONTROL_SOCKET, control->dir);
    }
    return WEIR_OK;
}

static void close_socket(struct weir_control *control) {
    if (control->listen_fd >= 0) {
        unlinkat(control->place.dir_fd, WEIR_CONTROL_SOCKET, 0);
        close(control->listen_fd);
        control->listen_fd = -1;
    }
    weir_control_place_close(&control->place);
}

static void *serve(void *argument);

static weir_status start_thread(struct weir_control *control, struct weir_error *err) {
    int code = weir_thread_start(&control->thread, "weir:control", serve, control);
    if (code != 0) {
        return weir_fail_errno(err, code, "cannot start the control thread");
    }
    control->is_started = true;
    return WEIR_OK;
}

weir_status weir_control_start(struct weir_control *control, struct weir_flow *flow,
                               struct weir_error *err) {
    control->flow = flow;
    control->started_ns = weir_clock_monotonic_ns();
    atomic_store(&control->is_stopping, false);
    weir_status status = weir_control_place_open(control->dir, &control->place, err);
    status = status == WEIR_OK ? listen_at(control, err) : status;
    status = status == WEIR_OK ? start_thread(control, err) : status;
    if (status != WEIR_OK) {
        close_socket(control);
    }
    return status;
}

void weir_control_stop(struct weir_control *control) {
    if (!control || !control->is_started) {
        return;
    }
    atomic_store(&control->is_stopping, true);
    wake(control);
    pthread_join(control->thread, NULL);
    control->is_started = false;
    close_socket(control);
    weir_control_rates_finish(&control->rates);
    control->flow = NULL;
}

// ---- the loop ----

static void admit(struct weir_control *control, int fd) {
    if (!weir_control_peer_is_trusted(fd)) {
        weir_control_refuse(fd, WEIR_DENIED, "only the user of this weir and root may ask");
        close(fd);
        return;
    }
    if (control->client_count == WEIR_CONTROL_CLIENTS_MAX) {
        weir_control_refuse(fd, WEIR_LIMIT, "too many are connected: ask again later");
        close(fd);
        return;
    }
    struct weir_control_client *client = weir_control_client_create(fd);
    if (client) {
        control->clients[control->client_count++] = client;
    }
}

static void accept_some(struct weir_control *control) {
    for (size_t i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            admit(control, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) {
                // Whoever waits in the queue would wake poll without end.
                control->accept_again_ns =
                    weir_clock_monotonic_ns() + ACCEPT_PAUSE_MS * WEIR_NS_PER_MS;
            }
            return;
        }
    }
}

// When there is something to do without anybody's doing.
static int64_t next_due_ns(const struct weir_control *control) {
    int64_t due_ns = control->rates_due_ns;
    for (size_t i = 0; i < control->client_count; i++) {
        int64_t client_ns =
            weir_control_client_is_ready(control->clients[i]) ? 0 : control->clients[i]->due_ns;
        due_ns = client_ns < due_ns ? client_ns : due_ns;
    }
    if (control->accept_again_ns != 0 && control->accept_again_ns < due_ns) {
        due_ns = control->accept_again_ns;
    }
    return due_ns;
}

static int wait_ms(int64_t due_ns) {
    int64_t left_ns = due_ns - weir_clock_monotonic_ns();
    if (left_ns <= 0) {
        return 0;
    }
    return left_ns / WEIR_NS_PER_MS < WAIT_MS_MAX ? (int)(left_ns / WEIR_NS_PER_MS + 1)
                                                  : WAIT_MS_MAX;
}

static void look_at_rates(struct weir_control *control) {
    int64_t now_ns = weir_clock_monotonic_ns();
    if (now_ns >= control->rates_due_ns) {
        weir_control_rates_look(&control->rates, control->flow);
        control->rates_due_ns = now_ns + WEIR_CONTROL_RATE_MS * WEIR_NS_PER_MS;
    }
}

static bool step_client(struct weir_control *control, struct weir_control_client *client,
                        short events, const bool *has_lines) {
    if (weir_clock_monotonic_ns() >= client->due_ns) {
        if (!client->out) {
            weir_control_refuse(client->fd, WEIR_LIMIT, "no request came in time");
        }
        return false;
    }
    return weir_control_client_step(control, client, events,
                                    client->tail >= 0 && has_lines[client->tail]);
}

// `fds` are those of the clients, in their order. Clients that came since are not among them.
static void step_clients(struct weir_control *control, const struct pollfd *fds, size_t count) {
    bool has_lines[WEIR_CONTROL_TAILS_MAX];
    weir_control_tails_look(&control->tails, has_lines);
    // From the last one on: one that ends is replaced by one that has had its turn.
    for (size_t i = count; i-- > 0;) {
        struct weir_control_client *client = control->clients[i];
        if (!step_client(control, client, fds[i].revents, has_lines)) {
            weir_control_client_destroy(control, client);
            control->clients[i] = control->clients[--control->client_count];
        }
    }
}

static void wait_and_serve(struct weir_control *control) {
    struct pollfd fds[WEIR_CONTROL_CLIENTS_MAX + 2];
    size_t count = control->client_count;
    bool may_accept = control->accept_again_ns == 0;
    for (size_t i = 0; i < count; i++) {
        fds[i] = (struct pollfd){.fd = control->clients[i]->fd,
                                 .events = weir_control_client_events(control->clients[i])};
    }
    fds[count] = (struct pollfd){.fd = control->wake_fd, .events = POLLIN};
    fds[count + 1] = (struct pollfd){.fd = may_accept ? control->listen_fd : -1, .events = POLLIN};
    if (poll(fds, count + 2, wait_ms(next_due_ns(control))) < 0 && errno != EINTR) {
        // Only memory can be missing; the pause keeps the thread from spinning.
        poll(NULL, 0, ACCEPT_PAUSE_MS);
        return;
    }
    if (fds[count].revents) {
        uint64_t woken;
        ssize_t drained = read(control->wake_fd, &woken, sizeof woken);
        (void)drained;
    }
    step_clients(control, fds, count);
    if (weir_clock_monotonic_ns() >= control->accept_again_ns) {
        control->accept_again_ns = 0;
    }
    if (fds[count + 1].revents) {
        accept_some(control);
    }
}

// What waits for those who tail is offered once more; the end of the stream says the rest.
static void end_clients(struct weir_control *control) {
    while (control->client_count > 0) {
        struct weir_control_client *client = control->clients[--control->client_count];
        if (client->tail >= 0) {
            weir_control_client_step(control, client, 0, true);
        }
        weir_control_client_destroy(control, client);
    }
}

static void *serve(void *argument) {
    struct weir_control *control = argument;
    control->rates_due_ns = 0;
    while (!atomic_load(&control->is_stopping)) {
        look_at_rates(control);
        wait_and_serve(control);
    }
    end_clients(control);
    weir_log(control->log, WEIR_LOG_DEBUG, "the control socket is closed",
             {"path", weir_str_of(control->dir)});
    return NULL;
}
