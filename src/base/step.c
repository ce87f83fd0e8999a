// SPDX-License-Identifier: Apache-2.0
//
// See step.h. Any thread.
#include "base/step.h"

#ifdef WEIR_STEPS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void weir_step(const char *name) {
    static atomic_long passed;
    const char *wanted = getenv("WEIR_DIE_AT");
    size_t size = strlen(name);
    if (!wanted || strncmp(wanted, name, size) != 0 || wanted[size] != ':') {
        return;
    }
    if (atomic_fetch_add(&passed, 1) + 1 == strtol(wanted + size + 1, NULL, 10)) {
        raise(SIGKILL);
    }
}
#endif
