// SPDX-License-Identifier: Apache-2.0
//
// See thread.h.
#include "base/thread.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// As sched_setattr(2) has it, up to its first version's end. The kernel's header for it and the C
// library's sched.h of Debian 12 do not go together, and the latter has no names for these calls.
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

void weir_thread_be_prompt(void) {
    struct scheduling scheduling = {0};
    if (syscall(SYS_sched_getattr, 0, &scheduling, sizeof scheduling, 0) == 0 &&
        scheduling.policy == SCHED_OTHER) {
        scheduling.size = sizeof scheduling; // the rest as it was, the share of the processor too
        scheduling.runtime_ns = WEIR_THREAD_SLICE_NS;
        syscall(SYS_sched_setattr, 0, &scheduling, 0);
    }
}
