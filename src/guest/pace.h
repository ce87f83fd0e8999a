// SPDX-License-Identifier: Apache-2.0
//
// How quickly this machine compiles guests, for saying how long one will take: a mean over former
// compilations, kept in the cache's folder in a small file for each kind ("module", "component").
// It is for people's eyes alone, so whatever is wrong with a file is as if there were none.
//
// Several processes may share a folder. Any thread.
#ifndef WEIR_GUEST_PACE_H
#define WEIR_GUEST_PACE_H

#include <stdbool.h>
#include <stdint.h>

// How long so many bytes of that kind take. folder_fd is weir_cache_open's; -1: what is true of
// some machine.
int64_t weir_pace_estimate_ns(int folder_fd, const char *kind, uint64_t bytes);

// Notes how long they took. What takes a moment says nothing of what takes long: the caller leaves
// it out. That it cannot be written is no error.
void weir_pace_note(int folder_fd, const char *kind, uint64_t bytes, int64_t took_ns);

// Whether a file of the cache's folder is one of these.
bool weir_pace_is_its_file(const char *name);

#endif
