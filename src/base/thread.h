// SPDX-License-Identifier: Apache-2.0
//
// How threads begin, and what those that an event passes through ask of the system.
#ifndef WEIR_BASE_THREAD_H
#define WEIR_BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// Starts a thread that no signal is for: they are the program's own threads' matter. `name` is what
// `top -H` shows, cut to WEIR_THREAD_NAME_BYTES with its end. Returns 0 or what pthread_create(3)
// answers. Any thread.
int weir_thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *argument),
                      void *argument);
enum { WEIR_THREAD_NAME_BYTES = 16 }; // the system's limit

// Asks the scheduler for the shortest turns that it gives (WEIR_THREAD_SLICE_NS, of the calling
// thread; Linux 6.12 and later, see sched_setattr(2): sched_runtime of an ordinary thread is its
// slice). A thread that wakes then gets a core from one that has been computing for longer than
// that. Without it, it may wait for the timer's next tick, 4 ms at 250 a second, while a guest
// loops and keeps one of few cores. It takes no share of the processor from anybody. Older systems,
// and threads that somebody has given another policy, are left as they are: there is no error.
void weir_thread_be_prompt(void);
enum { WEIR_THREAD_SLICE_NS = 100 * 1000 };

// The cores that this process may use, at least 1.
uint32_t weir_thread_cores(void);

// Looks at the flag, which another thread sets, until it is set or that many nanoseconds are over;
// the processor is busy with it. Returns whether it is set, and orders nothing: what the flag
// stands for is read under a lock. For waits that are shorter than to sleep and be woken takes.
// sched_yield in place of the pause was left: beside busy processes it gives away milliseconds.
bool weir_thread_look(const atomic_bool *flag, int64_t duration_ns);

#endif
