// SPDX-License-Identifier: Apache-2.0
//
// See http.h.
#include "http.h"

#include "base/clock.h"
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES_MAX = 16 * 1024, PIECE_BYTES = 64 * 1024, SLICE_MS = 20, CONNECTIONS_MAX = 8 };

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_anywhere(uint16_t *ret_port) {
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, CONNECTIONS_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        give_up_errno("a socket");
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

uint16_t free_port(void) {
    uint16_t port;
    close(listen_anywhere(&port));
    return port;
}

// ---- a receiver ----

struct receiver {
    int fd;
    uint16_t port;
    atomic_bool is_ending;
    uint64_t bytes;
    pthread_t thread;
};

// Where a request's head ends; NULL: not yet.
static const char *head_end(const char *head) {
    const char *end = strstr(head, "\r\n\r\n");
    return end ? end + 4 : NULL;
}

static size_t content_length(const char *head) {
    for (const char *line = head; (line = strchr(line, '\n')); line++) {
        if (strncasecmp(line + 1, "content-length:", 15) == 0) {
            return strtoul(line + 16, NULL, 10);
        }
    }
    return 0;
}

// One request after the other, until the other side has no more.
static void receive_from(struct receiver *receiver, int fd) {
    static const char yes[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                              "Content-Length: 2\r\n\r\n{}";
    static char head[HEAD_BYTES_MAX + 1], piece[PIECE_BYTES];
    size_t size = 0;
    for (;;) {
        head[size] = '\0';
        const char *end = head_end(head);
        ssize_t more = 0;
        if (!end) {
            more = size < HEAD_BYTES_MAX ? recv(fd, head + size, HEAD_BYTES_MAX - size, 0) : 0;
            if (more <= 0) {
                return;
            }
            size += (size_t)more;
            receiver->bytes += (uint64_t)more;
            continue;
        }
        size_t wanted = content_length(head), here = size - (size_t)(end - head);
        for (size_t left = wanted > here ? wanted - here : 0; left > 0; left -= (size_t)more) {
            more = recv(fd, piece, left < sizeof piece ? left : sizeof piece, 0);
            if (more <= 0) {
                return;
            }
            receiver->bytes += (uint64_t)more;
        }
        size = here > wanted ? here - wanted : 0;
        memmove(head, end + (here - size), size);
        if (send(fd, yes, sizeof yes - 1, MSG_NOSIGNAL) < 0) {
            return;
        }
    }
}

static void *receive(void *argument) {
    struct receiver *receiver = argument;
    while (!atomic_load(&receiver->is_ending)) {
        struct pollfd fd = {.fd = receiver->fd, .events = POLLIN};
        int connection = poll(&fd, 1, SLICE_MS) > 0 ? accept(receiver->fd, NULL, NULL) : -1;
        if (connection >= 0) {
            receive_from(receiver, connection);
            close(connection);
        }
    }
    return NULL;
}

struct receiver *receiver_create(void) {
    struct receiver *receiver = allocate_or_give_up(sizeof *receiver);
    receiver->fd = listen_anywhere(&receiver->port);
    if (pthread_create(&receiver->thread, NULL, receive, receiver) != 0) {
        give_up("a thread", "it cannot be started");
    }
    return receiver;
}

uint16_t receiver_port(const struct receiver *receiver) {
    return receiver->port;
}

uint64_t receiver_destroy(struct receiver *receiver) {
    atomic_store(&receiver->is_ending, true);
    pthread_join(receiver->thread, NULL);
    uint64_t bytes = receiver->bytes;
    close(receiver->fd);
    free(receiver);
    return bytes;
}

// ---- somebody who asks ----

struct asker {
    uint16_t port;
    const char *path;
    atomic_bool is_ending;
    uint64_t bytes;
    pthread_t thread;
};

static void ask(struct asker *asker) {
    char request[512];
    static _Thread_local char piece[PIECE_BYTES];
    struct sockaddr_in address = loopback(asker->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        give_up_errno("the admin address");
    }
    int size =
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asker->path);
    if (send(fd, request, (size_t)size, MSG_NOSIGNAL) != size) {
        give_up_errno("the admin address");
    }
    while (!atomic_load(&asker->is_ending)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t more = poll(&ready, 1, SLICE_MS) > 0 ? recv(fd, piece, sizeof piece, 0) : 1;
        if (more <= 0) {
            break;
        }
        asker->bytes += ready.revents ? (uint64_t)more : 0;
    }
    close(fd);
}

static void *ask_again(void *argument) {
    struct asker *asker = argument;
    while (!atomic_load(&asker->is_ending)) {
        int64_t due_ns = weir_clock_monotonic_ns() + WEIR_NS_PER_S;
        ask(asker);
        while (!atomic_load(&asker->is_ending) && weir_clock_monotonic_ns() < due_ns) {
            poll(NULL, 0, SLICE_MS);
        }
    }
    return NULL;
}

struct asker *asker_create(uint16_t port, const char *path) {
    struct asker *asker = allocate_or_give_up(sizeof *asker);
    asker->port = port;
    asker->path = path;
    if (pthread_create(&asker->thread, NULL, ask_again, asker) != 0) {
        give_up("a thread", "it cannot be started");
    }
    return asker;
}

uint64_t asker_destroy(struct asker *asker) {
    atomic_store(&asker->is_ending, true);
    pthread_join(asker->thread, NULL);
    uint64_t bytes = asker->bytes;
    free(asker);
    return bytes;
}
