// SPDX-License-Identifier: Apache-2.0
//
// See thread.h.
#include "base/thread.h"

#include "base/clock.h"

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int weir_thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *argument),
                      void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(ret_thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) {
        char cut[WEIR_THREAD_NAME_BYTES];
        snprintf(cut, sizeof cut, "%s", name);
        pthread_setname_np(*ret_thread, cut);
    }
    return code;
}

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

uint32_t weir_thread_cores(void) {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0) {
        return (uint32_t)CPU_COUNT(&cores);
    }
    long count = sysconf(_SC_NPROCESSORS_ONLN); // more than a cpu_set_t has room for
    return count > 0 ? (uint32_t)count : 1;
}

enum { LOOKS_AT_ONCE = 32 }; // about a microsecond, between two looks at the clock

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool weir_thread_look(const atomic_bool *flag, int64_t duration_ns) {
    int64_t until_ns = weir_clock_monotonic_ns() + duration_ns;
    do {
        for (int i = 0; i < LOOKS_AT_ONCE; i++) {
            if (atomic_load_explicit(flag, memory_order_relaxed)) {
                return true;
            }
            relax();
        }
    } while (weir_clock_monotonic_ns() < until_ns);
    return false;
}
