// SPDX-License-Identifier: Apache-2.0
//
// The other process, which writes the files: a fork, so that its work is not in the readers'
// process, and its system calls are those of any program that writes a file: open, write, close.
//
// writer_create before any thread is started; all of it on one thread.
#ifndef WEIR_BENCH_WRITER_H
#define WEIR_BENCH_WRITER_H

#include <stdint.h>

struct writer;

// What to write: values (receipt.h) numbered from `first`, into files of a folder named after
// `number % keys`.
struct writer_order {
    int folder; // of the folders that the writer was made with
    uint64_t first, count;
    uint64_t keys; // different files
    char prefix;   // of the names, so that two orders can have different files
};

enum { WRITER_FOLDERS_MAX = 4 };

// `folders` are paths, ended by NULL.
struct writer *writer_create(const char *const folders[]);
// Ends the process and waits for it.
void writer_destroy(struct writer *writer);

// Starts to write, as fast as it goes. Ends the process where the writer is gone.
void writer_begin(struct writer *writer, const struct writer_order *order);
// Waits until it is done; ends the process where it is not within WRITER_WAIT_MS, or has failed.
void writer_end(struct writer *writer);
enum { WRITER_WAIT_MS = 60 * 1000 };

#endif
