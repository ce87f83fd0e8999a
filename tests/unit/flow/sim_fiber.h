// SPDX-License-Identifier: Apache-2.0
//
// Threads and time of the simulation. A fiber stands for a thread: it has a stack of its own, all
// of them take turns on one thread, and which one goes on is drawn from a seed. The code under test
// is linked with its pthread_create, pthread_mutex_lock, pthread_cond_wait and so on replaced
// (sim_wraps in tests/meson.build), so that its own threads become fibers and run as they are
// written: where it locks, another fiber may come first; where it waits, the others go on; where
// all wait, time is set forward to whatever is due first. A wakeup that is forgotten is a fiber
// that never goes on.
//
// What was left: to step the parts of the flow by hand from one loop. That needs a second copy of
// what each thread does between two holds of the lock, and sees no wakeup at all.
//
// The clocks of base/clock.h are replaced as well: no time passes but what is drawn.
#ifndef WEIR_TESTS_UNIT_FLOW_SIM_FIBER_H
#define WEIR_TESTS_UNIT_FLOW_SIM_FIBER_H

#include <stdbool.h>
#include <stdint.h>

enum { FIBERS_MAX = 40 };

struct fiber;

// Begins a schedule: the caller is its first fiber.
void fibers_begin(uint64_t seed);
// Ends it; every other fiber must have ended. Returns a sum of all turns and times: it is the same
// for the same schedule.
uint64_t fibers_end(void);

struct fiber *fiber_start(const char *name, void *(*run)(void *argument), void *argument);
// Waits for its end.
void fiber_join(struct fiber *fiber);
// Others may go on first.
void fiber_yield(void);
void fiber_sleep(int64_t duration_ns);
// Waits for fiber_wake of the same address, at most until that moment.
void fiber_wait(const void *on, int64_t until_ns);
void fiber_wake(const void *on);

int64_t sim_now_ns(void);
// Sets the clock on the wall.
void sim_set_wall(int64_t offset_ns);

// Of the oracle (sim.h): everybody waits, and the clock is about to be set to that moment.
void sim_oracle_idle(int64_t until_ns);

// From 0 to below the bound, which is not 0.
uint64_t sim_random(uint64_t bound);
// True `parts` times of `whole`.
bool sim_chance(uint64_t parts, uint64_t whole);

// What was wrong: prints it with the seed and ends the program. A fiber cannot leave its stack as
// cmocka's assertions do.
#define SIM_FAIL(...) sim_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SIM_CHECK(condition, ...)  \
    do {                           \
        if (!(condition)) {        \
            SIM_FAIL(__VA_ARGS__); \
        }                          \
    } while (0)
_Noreturn void sim_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// What happens, for people who look at one schedule.
extern bool sim_is_verbose;
void sim_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SIM_TELL(...)              \
    do {                           \
        if (sim_is_verbose) {      \
            sim_tell(__VA_ARGS__); \
        }                          \
    } while (0)

#endif
