// SPDX-License-Identifier: Apache-2.0
//
// See wake.h. A commit writes to the WAL or, without one, to the file, and inotify tells that
// before the commit is done: readers see it when its writer has changed the index of the WAL, which
// is shared memory, or has removed the journal. So what is noticed here is a reason to look again
// and again for a moment, not to look once; watch.c does that.
//
// Of the directory only comings and goings are watched, so that other files in it that are written
// to cost nothing.
#include "provider/sqlite/wake.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { READS_AT_ONCE_MAX = 16, BUFFER_BYTES = 4096 };

static int watch_file(struct weir_sqlite_wake *wake, const char *suffix) {
    char *path = NULL;
    if (asprintf(&path, "%s%s", wake->path, suffix) < 0) {
        return -1;
    }
    int watch = inotify_add_watch(wake->fd, path, IN_MODIFY);
    free(path);
    return watch;
}

static int watch_directory(const struct weir_sqlite_wake *wake) {
    size_t size = (size_t)(wake->name - wake->path);
    char *path = size > 0 ? strndup(wake->path, size) : strdup(".");
    if (!path) {
        return -1;
    }
    int watch = inotify_add_watch(wake->fd, path,
                                  IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
    free(path);
    return watch;
}

void weir_sqlite_wake_init(struct weir_sqlite_wake *wake, const char *path) {
    *wake = (struct weir_sqlite_wake){.fd = -1, .directory = -1, .file = -1, .wal = -1};
    wake->path = strdup(path);
    wake->fd = wake->path ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1;
    if (wake->fd < 0) {
        return;
    }
    const char *slash = strrchr(wake->path, '/');
    wake->name = slash ? slash + 1 : wake->path;
    wake->directory = watch_directory(wake);
    wake->file = watch_file(wake, "");
    wake->wal = watch_file(wake, "-wal");
}

void weir_sqlite_wake_finish(struct weir_sqlite_wake *wake) {
    if (wake->fd >= 0) {
        close(wake->fd);
    }
    free(wake->path);
    *wake = (struct weir_sqlite_wake){.fd = -1, .directory = -1, .file = -1, .wal = -1};
}

// A file came or went in the directory.
static void take_name(struct weir_sqlite_wake *wake, const struct inotify_event *event,
                      struct weir_sqlite_news *news) {
    size_t size = strlen(wake->name);
    if (event->len == 0 || strncmp(event->name, wake->name, size) != 0) {
        return;
    }
    bool has_come = event->mask & (IN_CREATE | IN_MOVED_TO);
    const char *suffix = event->name + size;
    if (suffix[0] == '\0') {
        news->is_renamed = true;
        wake->file = has_come ? watch_file(wake, "") : wake->file;
    } else if (strcmp(suffix, "-wal") == 0) {
        news->is_written = true;
        wake->wal = has_come ? watch_file(wake, "-wal") : wake->wal;
    } else if (strcmp(suffix, "-journal") == 0) {
        news->is_written = true; // its end is the commit
    }
}

struct weir_sqlite_news weir_sqlite_wake_read(struct weir_sqlite_wake *wake) {
    struct weir_sqlite_news news = {0};
    _Alignas(struct inotify_event) char buffer[BUFFER_BYTES];
    for (int i = 0; wake->fd >= 0 && i < READS_AT_ONCE_MAX; i++) {
        ssize_t size = read(wake->fd, buffer, sizeof buffer);
        if (size <= 0) {
            break;
        }
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const void *)(buffer + at);
            at += (ssize_t)(sizeof *event + event->len);
            if (event->mask & IN_Q_OVERFLOW) {
                news.is_written = news.is_renamed = true;
            } else if (event->wd == wake->directory) {
                take_name(wake, event, &news);
            } else {
                news.is_written = true;
            }
        }
    }
    return news;
}
