// SPDX-License-Identifier: Apache-2.0
//
// See writer.h. The two processes talk over a pair of connected sockets: an order there, a byte
// back. The writer ends by itself when the other end is closed, whatever became of the process that
// held it.
#include "writer.h"

#include "base/clock.h"
#include "receipt.h"
#include "support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct writer {
    pid_t process;
    int socket;
};

static void write_key(int folder_fd, const struct writer_order *order, uint64_t sequence) {
    char name[32], value[VALUE_BYTES];
    snprintf(name, sizeof name, "%c%" PRIu64, order->prefix, sequence % order->keys);
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        give_up_errno(name);
    }
    size_t size = value_print(value, sequence, weir_clock_monotonic_ns());
    if (write(fd, value, size) != (ssize_t)size) {
        give_up_errno(name);
    }
    close(fd);
}

static _Noreturn void serve(int socket, const char *const folders[]) {
    int folder_fds[WRITER_FOLDERS_MAX];
    for (int i = 0; i < WRITER_FOLDERS_MAX && folders[i]; i++) {
        folder_fds[i] = open(folders[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (folder_fds[i] < 0) {
            give_up_errno(folders[i]);
        }
    }
    struct writer_order order;
    // An order is one message; nothing comes any more when the other end is closed.
    while (recv(socket, &order, sizeof order, 0) == sizeof order) {
        for (uint64_t i = 0; i < order.count; i++) {
            write_key(folder_fds[order.folder], &order, order.first + i);
        }
        if (send(socket, "", 1, MSG_NOSIGNAL) != 1) {
            break;
        }
    }
    _exit(0);
}

struct writer *writer_create(const char *const folders[]) {
    struct writer *writer = allocate_or_give_up(sizeof *writer);
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        give_up_errno("the writer's sockets");
    }
    fflush(stdout); // what is buffered is not the child's to print
    writer->process = fork();
    if (writer->process < 0) {
        give_up_errno("forking the writer");
    }
    if (writer->process == 0) {
        close(sockets[0]);
        serve(sockets[1], folders);
    }
    close(sockets[1]);
    writer->socket = sockets[0];
    return writer;
}

void writer_destroy(struct writer *writer) {
    close(writer->socket);
    waitpid(writer->process, NULL, 0);
    free(writer);
}

void writer_begin(struct writer *writer, const struct writer_order *order) {
    if (send(writer->socket, order, sizeof *order, MSG_NOSIGNAL) != sizeof *order) {
        give_up_errno("sending the writer an order");
    }
}

void writer_end(struct writer *writer) {
    struct pollfd done = {.fd = writer->socket, .events = POLLIN};
    char byte;
    if (poll(&done, 1, WRITER_WAIT_MS) != 1 || recv(writer->socket, &byte, 1, 0) != 1) {
        give_up("the writer", "it has ended, or takes too long");
    }
}
