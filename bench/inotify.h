// SPDX-License-Identifier: Apache-2.0
//
// The floor of a file event: a program in C that does nothing but wait for inotify and read the
// file. It keeps nothing, knows no keys, and loses what it has not read when it is stopped.
#ifndef WEIR_BENCH_INOTIFY_H
#define WEIR_BENCH_INOTIFY_H

#include "base/str.h"

struct bare_reader;

// Starts the reader's thread: from the return on, each file of the folder that was written is read,
// and its value (at most VALUE_BYTES, see receipt.h) given to `take` on that thread.
struct bare_reader *bare_reader_create(const char *folder,
                                       void (*take)(void *context, struct weir_str value),
                                       void *context);
void bare_reader_destroy(struct bare_reader *reader);

#endif
