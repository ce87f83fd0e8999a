// SPDX-License-Identifier: Apache-2.0
//
// What the programs of this folder share. They run for a minute and are watched: whatever goes
// wrong is told in one line and ends the process, and nothing is carried upwards.
#ifndef WEIR_BENCH_SUPPORT_H
#define WEIR_BENCH_SUPPORT_H

#include "base/str.h"

#include <stddef.h>

// "PROGRAM: what: why" on stderr, exit status 1.
_Noreturn void give_up(const char *what, const char *why);
// The same with errno's text.
_Noreturn void give_up_errno(const char *what);

// Zeroed memory, never NULL.
void *allocate_or_give_up(size_t size);

// A guest's file, at most GUEST_BYTES_MAX. Returns what the caller frees; *ret_wasm is a view of
// it.
char *read_guest(const char *path, struct weir_str *ret_wasm);
enum { GUEST_BYTES_MAX = 32 * 1024 * 1024 };

// An argument, from least to most.
long parse_argument(const char *text, long least, long most);

#endif
