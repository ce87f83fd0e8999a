// SPDX-License-Identifier: Apache-2.0
//
// What the system knows of this process. Any thread.
#ifndef WEIR_ADMIN_PROCESS_H
#define WEIR_ADMIN_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct weir_process {
    uint64_t cpu_ns; // of user and system
    uint64_t resident_bytes, virtual_bytes;
    uint64_t fds, fds_max;
    uint64_t threads;
};

// False: the system does not say.
bool weir_process_look(struct weir_process *ret_process);

#endif
