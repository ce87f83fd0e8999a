// SPDX-License-Identifier: Apache-2.0
//
// Noticing that a database file may have been written to: by inotify, of the file, its WAL, and the
// directory that they are in. A hint; where there is no inotify there are none. One thread.
#ifndef WEIR_PROVIDER_SQLITE_WAKE_H
#define WEIR_PROVIDER_SQLITE_WAKE_H

#include <stdbool.h>

struct weir_sqlite_wake {
    int fd;                   // -1: there is none
    int directory, file, wal; // watches; -1: not watched
    char *path;               // of the file
    const char *name;         // of it, in its directory
};

// What was noticed.
struct weir_sqlite_news {
    bool is_written;
    bool is_renamed; // a file came or went by one of the names
};

// `path` is the file with symbolic links followed. Never fails: then nothing is noticed.
void weir_sqlite_wake_init(struct weir_sqlite_wake *wake, const char *path);
void weir_sqlite_wake_finish(struct weir_sqlite_wake *wake);
// Takes what there is, without waiting.
struct weir_sqlite_news weir_sqlite_wake_read(struct weir_sqlite_wake *wake);

#endif
