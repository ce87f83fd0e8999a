// SPDX-License-Identifier: Apache-2.0
//
// See collector.h.
#include "collector.h"

#include "support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES_MAX = 8192, PIECE_BYTES = 256 * 1024 };

struct collector {
    int listening;
    pthread_t thread;
    char head[HEAD_BYTES_MAX + 1];
    char piece[PIECE_BYTES];
};

// Reads a head; what came of the body with it is dropped. Returns how much of the body is to come;
// -1: the connection is over.
static long read_head(struct collector *collector, int fd) {
    size_t size = 0;
    char *end = NULL;
    while (!end && size < HEAD_BYTES_MAX) {
        ssize_t more = read(fd, collector->head + size, HEAD_BYTES_MAX - size);
        if (more <= 0) {
            return -1;
        }
        size += (size_t)more;
        collector->head[size] = '\0';
        end = strstr(collector->head, "\r\n\r\n");
    }
    const char *length = strcasestr(collector->head, "content-length:");
    if (!end || !length) {
        give_up("a request", "it has no head or no length");
    }
    return strtol(length + strlen("content-length:"), NULL, 10) -
           (long)(collector->head + size - (end + 4));
}

static void serve(struct collector *collector, int fd) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 2\r\n\r\n{}";
    long left;
    while ((left = read_head(collector, fd)) >= 0) {
        while (left > 0) {
            ssize_t size = read(fd, collector->piece, sizeof collector->piece);
            if (size <= 0) {
                return;
            }
            left -= size;
        }
        if (write(fd, answer, sizeof answer - 1) < 0) {
            return;
        }
    }
}

static void *run(void *argument) {
    struct collector *collector = argument;
    int fd;
    while ((fd = accept(collector->listening, NULL, NULL)) >= 0) {
        serve(collector, fd);
        close(fd);
    }
    return NULL;
}

struct collector *collector_create(char ret_url[COLLECTOR_URL_BYTES]) {
    struct collector *collector = allocate_or_give_up(sizeof *collector);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    collector->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (collector->listening < 0 ||
        bind(collector->listening, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(collector->listening, 1) != 0 ||
        getsockname(collector->listening, (struct sockaddr *)&address, &size) != 0) {
        give_up_errno("a port");
    }
    snprintf(ret_url, COLLECTOR_URL_BYTES, "http://127.0.0.1:%u", ntohs(address.sin_port));
    if (pthread_create(&collector->thread, NULL, run, collector) != 0) {
        give_up("a thread", "none can be made");
    }
    return collector;
}

void collector_destroy(struct collector *collector) {
    shutdown(collector->listening, SHUT_RDWR); // accept then returns
    pthread_join(collector->thread, NULL);
    close(collector->listening);
    free(collector);
}
