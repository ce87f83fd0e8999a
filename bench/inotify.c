// SPDX-License-Identifier: Apache-2.0
//
// See inotify.h. For each record: open, fstat, read, close, as any program has to that wants the
// value.
#include "inotify.h"

#include "receipt.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDS_BYTES = 64 * 1024, STOP_TICK_MS = 100 };

struct bare_reader {
    void (*take)(void *context, struct weir_str value);
    void *context;
    int folder_fd, inotify_fd;
    atomic_bool is_stopping;
    pthread_t thread;
};

static void read_file(struct bare_reader *reader, const char *name) {
    struct stat info;
    char value[VALUE_BYTES];
    int fd = openat(reader->folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size > (off_t)sizeof value) {
        give_up_errno(name);
    }
    ssize_t size = read(fd, value, (size_t)info.st_size);
    close(fd);
    if (size > 0) { // empty: the next writer has come and has not written yet
        reader->take(reader->context, (struct weir_str){value, (size_t)size});
    }
}

static void *run(void *argument) {
    struct bare_reader *reader = argument;
    _Alignas(struct inotify_event) char records[RECORDS_BYTES];
    struct pollfd ready = {.fd = reader->inotify_fd, .events = POLLIN};
    while (!atomic_load(&reader->is_stopping)) {
        if (poll(&ready, 1, STOP_TICK_MS) <= 0) {
            continue;
        }
        ssize_t size = read(reader->inotify_fd, records, sizeof records);
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *record = (const struct inotify_event *)(records + at);
            if (record->mask & IN_Q_OVERFLOW) {
                give_up("the bare reader", "inotify's queue was full");
            }
            read_file(reader, record->name);
            at += (ssize_t)(sizeof *record + record->len);
        }
    }
    return NULL;
}

struct bare_reader *bare_reader_create(const char *folder,
                                       void (*take)(void *context, struct weir_str value),
                                       void *context) {
    struct bare_reader *reader = allocate_or_give_up(sizeof *reader);
    reader->take = take;
    reader->context = context;
    reader->folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    reader->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (reader->folder_fd < 0 || reader->inotify_fd < 0 ||
        inotify_add_watch(reader->inotify_fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
        give_up_errno(folder);
    }
    errno = pthread_create(&reader->thread, NULL, run, reader);
    if (errno != 0) {
        give_up_errno("the bare reader's thread");
    }
    return reader;
}

void bare_reader_destroy(struct bare_reader *reader) {
    atomic_store(&reader->is_stopping, true);
    pthread_join(reader->thread, NULL);
    close(reader->inotify_fd);
    close(reader->folder_fd);
    free(reader);
}
