// SPDX-License-Identifier: Apache-2.0
//
// See sim_fiber.h. Stacks are made once and used by one schedule after the other. The sanitizers
// are told of each change of stacks.
#include "unit/flow/sim_fiber.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN
#endif
#if __has_feature(thread_sanitizer)
#define SIM_TSAN
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SIM_ASAN
#endif
#ifdef __SANITIZE_THREAD__
#define SIM_TSAN
#endif

#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SIM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
    STACK_BYTES = 96 * 1024, // a part of it is looked at in each turn where sanitizers watch
    WEIGHT_MAX = 16,         // of a fiber, which says how often it has its turn
    WEIGHT_TURNS = 8,        // until a weight is drawn again, on average
    TURN_NS_MAX = 20 * 1000, // that pass between two turns
    TURNS_MAX = 2000000,     // of one schedule; more is a fiber that waits in a circle
};

enum fiber_state {
    FIBER_FREE,
    FIBER_RUNNABLE,
    FIBER_BLOCKED, // until the mutex `on` is free
    FIBER_WAITING, // on the condition `on`, until `until_ns` at the latest
    FIBER_ENDED,   // waits to be joined
};

struct fiber {
    enum fiber_state state;
    const char *name;
    void *(*run)(void *argument);
    void *argument;
    const void *on;
    int64_t until_ns; // INT64_MAX: no limit
    bool is_woken;    // else its time was over
    uint32_t weight;
    ucontext_t context;
    char *stack; // NULL: the caller's own
    const void *stack_bottom;
    size_t stack_bytes;
    void *sanitizer;
};

bool sim_is_verbose;

static struct {
    struct fiber fibers[FIBERS_MAX];
    size_t used;           // of them; the rest was never started
    struct fiber *current; // NULL: no schedule, and everything is as it really is
    struct fiber *before;  // whose turn it was last
    uint64_t seed, random, sum, turns;
    int64_t now_ns, wall_offset_ns;
    uint32_t lock_yields; // of 16 locks, how many others may come before
    bool has_spurious;    // conditions wake without a reason now and then
} sims;

// ---- chance ----

__extension__ typedef unsigned __int128 wide;

static uint64_t draw(void) {
    // splitmix64
    uint64_t z = sims.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_random(uint64_t bound) {
    return (uint64_t)(((wide)draw() * bound) >> 64);
}

bool sim_chance(uint64_t parts, uint64_t whole) {
    return sim_random(whole) < parts;
}

// ---- telling ----

void sim_tell(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("%10.3f ms %-12s ", (double)sims.now_ns / WEIR_NS_PER_MS,
           sims.current ? sims.current->name : "");
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void sim_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "%s:%d: seed %" PRIu64 ", at %.3f ms, %s: ", file, line, sims.seed,
            (double)sims.now_ns / WEIR_NS_PER_MS, sims.current ? sims.current->name : "");
    vfprintf(stderr, format, args);
    fprintf(stderr,
            "\n(test-unit_flow_test_sim --seeds %" PRIu64 "..%" PRIu64
            " --verbose tells the way there)\n",
            sims.seed, sims.seed);
    va_end(args);
    abort();
}

// ---- turns ----

int64_t sim_now_ns(void) {
    return sims.now_ns;
}

void sim_set_wall(int64_t offset_ns) {
    sims.wall_offset_ns = offset_ns;
}

static bool may_go_on(const struct fiber *fiber) {
    return fiber->state == FIBER_RUNNABLE ||
           (fiber->state == FIBER_WAITING && fiber->until_ns <= sims.now_ns);
}

// Draws who goes on; NULL: nobody can now.
static struct fiber *pick(void) {
    struct fiber *able[FIBERS_MAX];
    size_t count = 0;
    uint32_t sum = 0;
    for (size_t i = 0; i < sims.used; i++) {
        struct fiber *fiber = &sims.fibers[i];
        if (may_go_on(fiber)) {
            able[count++] = fiber;
            sum += fiber->weight;
        }
    }
    if (count <= 1) {
        return count == 1 ? able[0] : NULL;
    }
    uint64_t drawn = draw();
    if (drawn % WEIGHT_TURNS == 0) {
        able[drawn / WEIGHT_TURNS % count]->weight = 1 + (uint32_t)sim_random(WEIGHT_MAX);
    }
    uint32_t at = (uint32_t)((drawn >> 32) % sum);
    size_t i = 0;
    while (i + 1 < count && at >= able[i]->weight) {
        at -= able[i++]->weight;
    }
    return able[i];
}

// Sets time forward to what is due first.
static void pass_time(void) {
    int64_t until_ns = INT64_MAX;
    for (size_t i = 0; i < sims.used; i++) {
        const struct fiber *fiber = &sims.fibers[i];
        if (fiber->state == FIBER_WAITING && fiber->until_ns < until_ns) {
            until_ns = fiber->until_ns;
        }
    }
    if (until_ns == INT64_MAX) {
        for (size_t i = 0; i < sims.used; i++) {
            const struct fiber *fiber = &sims.fibers[i];
            if (fiber->state == FIBER_WAITING || fiber->state == FIBER_BLOCKED) {
                fprintf(stderr, "%s waits\n", fiber->name);
            }
        }
        SIM_FAIL("every thread waits for another");
    }
    sim_oracle_idle(until_ns);
    sims.now_ns = until_ns > sims.now_ns ? until_ns : sims.now_ns;
}

static void arrive(void) {
#ifdef SIM_ASAN
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(sims.current->sanitizer, &bottom, &bytes);
    if (!sims.before->stack) {
        sims.before->stack_bottom = bottom;
        sims.before->stack_bytes = bytes;
    }
#endif
}

static void switch_to(struct fiber *fiber) {
    struct fiber *from = sims.current;
    if (from == fiber) {
        return;
    }
    sims.before = from;
    sims.current = fiber;
#ifdef SIM_ASAN
    __sanitizer_start_switch_fiber(&from->sanitizer, fiber->stack_bottom, fiber->stack_bytes);
#endif
#ifdef SIM_TSAN
    __tsan_switch_to_fiber(fiber->sanitizer, 0);
#endif
    swapcontext(&from->context, &fiber->context);
    arrive();
}

// The current fiber has said in its state what it waits for.
static void give_turn(void) {
    struct fiber *next;
    SIM_CHECK(++sims.turns < TURNS_MAX, "the schedule does not end");
    sims.now_ns += (int64_t)sim_random(TURN_NS_MAX);
    while (!(next = pick())) {
        pass_time();
    }
    next->is_woken = next->state != FIBER_WAITING;
    next->state = FIBER_RUNNABLE;
    next->on = NULL;
    next->until_ns = INT64_MAX;
    sims.sum = (sims.sum ^ (uint64_t)(next - sims.fibers) ^ ((uint64_t)sims.now_ns << 6)) *
               UINT64_C(0x100000001b3);
    switch_to(next);
}

void fiber_yield(void) {
    give_turn();
}

void fiber_wait(const void *on, int64_t until_ns) {
    struct fiber *self = sims.current;
    self->state = FIBER_WAITING;
    self->on = on;
    self->until_ns = until_ns;
    give_turn();
}

void fiber_sleep(int64_t duration_ns) {
    fiber_wait(NULL, sims.now_ns + duration_ns);
}

static void wake_all(const void *on, enum fiber_state state) {
    for (size_t i = 0; i < sims.used; i++) {
        struct fiber *fiber = &sims.fibers[i];
        if (fiber->state == state && fiber->on == on) {
            fiber->state = FIBER_RUNNABLE;
        }
    }
}

void fiber_wake(const void *on) {
    wake_all(on, FIBER_WAITING);
}

// ---- beginning and end ----

// A stack runs one fiber after the other.
static void fiber_main(void) {
    arrive();
    for (;;) {
        struct fiber *self = sims.current;
        self->run(self->argument);
        self->state = FIBER_ENDED;
        wake_all(self, FIBER_BLOCKED);
        give_turn();
    }
}

static void make_stack(struct fiber *fiber) {
    fiber->stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fiber->stack == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    fiber->stack_bottom = fiber->stack;
    fiber->stack_bytes = STACK_BYTES;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, fiber_main, 0);
#ifdef SIM_TSAN
    fiber->sanitizer = __tsan_create_fiber(0);
#endif
}

struct fiber *fiber_start(const char *name, void *(*run)(void *argument), void *argument) {
    for (size_t i = 1; i < FIBERS_MAX; i++) {
        struct fiber *fiber = &sims.fibers[i];
        if (fiber->state == FIBER_FREE) {
            if (!fiber->stack) {
                make_stack(fiber);
            }
            sims.used = i < sims.used ? sims.used : i + 1;
            fiber->state = FIBER_RUNNABLE;
            fiber->name = name;
            fiber->run = run;
            fiber->argument = argument;
            fiber->weight = 1 + (uint32_t)sim_random(WEIGHT_MAX);
            fiber->until_ns = INT64_MAX;
            return fiber;
        }
    }
    SIM_FAIL("more than FIBERS_MAX threads");
}

void fiber_join(struct fiber *fiber) {
    while (fiber->state != FIBER_ENDED) {
        sims.current->state = FIBER_BLOCKED;
        sims.current->on = fiber;
        give_turn();
    }
    fiber->state = FIBER_FREE;
}

void fibers_begin(uint64_t seed) {
    sims.seed = sims.random = seed;
    sims.sum = sims.turns = 0;
    sims.now_ns = 1000 * WEIR_NS_PER_S;
    sims.wall_offset_ns = 1700000000 * WEIR_NS_PER_S;
    sims.current = &sims.fibers[0];
    sims.used = 1;
    sims.current->state = FIBER_RUNNABLE;
    sims.current->name = "director";
    sims.current->weight = 4;
    sims.current->until_ns = INT64_MAX;
#ifdef SIM_TSAN
    sims.current->sanitizer = __tsan_get_current_fiber();
#endif
    sims.lock_yields = 1u << sim_random(5);
    sims.has_spurious = sim_chance(1, 8);
}

uint64_t fibers_end(void) {
    for (size_t i = 1; i < sims.used; i++) {
        SIM_CHECK(sims.fibers[i].state == FIBER_FREE, "the thread %s has not ended",
                  sims.fibers[i].name);
    }
    sims.current->state = FIBER_FREE;
    sims.current = NULL;
    return sims.sum;
}

// ---- what the code under test calls ----

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument);
int __real_pthread_join(pthread_t thread, void **ret_result);
int __wrap_pthread_join(pthread_t thread, void **ret_result);
int __real_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __real_pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  clockid_t clock, const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  clockid_t clock, const struct timespec *until);
int __real_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __real_pthread_cond_broadcast(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);
int __real_sem_post(sem_t *semaphore);
int __wrap_sem_post(sem_t *semaphore);
int __real_sem_wait(sem_t *semaphore);
int __wrap_sem_wait(sem_t *semaphore);
int __real_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
ssize_t __real_getrandom(void *buffer, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags);
uint32_t __real_weir_thread_cores(void);
uint32_t __wrap_weir_thread_cores(void);
bool __real_weir_thread_look(const atomic_bool *flag, int64_t duration_ns);
bool __wrap_weir_thread_look(const atomic_bool *flag, int64_t duration_ns);
int64_t __real_weir_clock_monotonic_ns(void);
int64_t __wrap_weir_clock_monotonic_ns(void);
int64_t __real_weir_clock_coarse_ns(void);
int64_t __wrap_weir_clock_coarse_ns(void);
int64_t __real_weir_clock_wall_ns(void);
int64_t __wrap_weir_clock_wall_ns(void);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument) {
    if (!sims.current) {
        return __real_pthread_create(thread, attributes, run, argument);
    }
    *thread = (pthread_t)(uintptr_t)fiber_start("weir", run, argument);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret_result) {
    if (!sims.current) {
        return __real_pthread_join(thread, ret_result);
    }
    fiber_join((struct fiber *)(uintptr_t)thread);
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name) {
    if (!sims.current) {
        return __real_pthread_setname_np(thread, name);
    }
    static const char *const names[] = {"weir:work-1", "weir:work-2", "weir:work-3", "weir:work-4",
                                        "weir:state"};
    struct fiber *fiber = (struct fiber *)(uintptr_t)thread;
    fiber->name = "weir:to";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fiber->name = strcmp(name, names[i]) == 0 ? names[i] : fiber->name;
    }
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex) {
    if (!sims.current) {
        return __real_pthread_mutex_lock(mutex);
    }
    if (sim_random(16) < sims.lock_yields) {
        give_turn();
    }
    while (pthread_mutex_trylock(mutex) != 0) {
        sims.current->state = FIBER_BLOCKED;
        sims.current->on = mutex;
        give_turn();
    }
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex) {
    int code = __real_pthread_mutex_unlock(mutex);
    if (sims.current) {
        wake_all(mutex, FIBER_BLOCKED);
    }
    return code;
}

static int wait_on(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t until_ns) {
    const struct fiber *self = sims.current;
    bool is_spurious = sims.has_spurious && sim_chance(1, 32);
    __wrap_pthread_mutex_unlock(mutex);
    if (is_spurious) {
        give_turn();
    } else {
        fiber_wait(condition, until_ns);
    }
    bool is_woken = self->is_woken;
    __wrap_pthread_mutex_lock(mutex);
    return is_woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    return sims.current ? wait_on(condition, mutex, INT64_MAX)
                        : __real_pthread_cond_wait(condition, mutex);
}

int __wrap_pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  clockid_t clock, const struct timespec *until) {
    if (!sims.current) {
        return __real_pthread_cond_clockwait(condition, mutex, clock, until);
    }
    int64_t until_ns = (int64_t)until->tv_sec * WEIR_NS_PER_S + until->tv_nsec;
    return wait_on(condition, mutex, until_ns);
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition) {
    if (!sims.current) {
        return __real_pthread_cond_signal(condition);
    }
    struct fiber *waiting[FIBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < sims.used; i++) {
        struct fiber *fiber = &sims.fibers[i];
        if (fiber->state == FIBER_WAITING && fiber->on == condition) {
            waiting[count++] = fiber;
        }
    }
    if (count > 0) {
        waiting[count > 1 ? sim_random(count) : 0]->state = FIBER_RUNNABLE;
    }
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition) {
    if (!sims.current) {
        return __real_pthread_cond_broadcast(condition);
    }
    wake_all(condition, FIBER_WAITING);
    return 0;
}

int __wrap_sem_post(sem_t *semaphore) {
    int code = __real_sem_post(semaphore);
    if (sims.current) {
        wake_all(semaphore, FIBER_WAITING);
    }
    return code;
}

static int take(sem_t *semaphore, int64_t until_ns) {
    if (sim_random(16) < sims.lock_yields) {
        give_turn();
    }
    while (sem_trywait(semaphore) != 0) {
        if (sims.now_ns >= until_ns) {
            errno = ETIMEDOUT;
            return -1;
        }
        fiber_wait(semaphore, until_ns);
    }
    return 0;
}

int __wrap_sem_wait(sem_t *semaphore) {
    return sims.current ? take(semaphore, INT64_MAX) : __real_sem_wait(semaphore);
}

int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    if (!sims.current) {
        return __real_sem_clockwait(semaphore, clock, until);
    }
    return take(semaphore, (int64_t)until->tv_sec * WEIR_NS_PER_S + until->tv_nsec);
}

ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags) {
    if (!sims.current) {
        return __real_getrandom(buffer, size, flags);
    }
    for (size_t i = 0; i < size; i++) {
        ((unsigned char *)buffer)[i] = (unsigned char)sim_random(256);
    }
    return (ssize_t)size;
}

uint32_t __wrap_weir_thread_cores(void) {
    return sims.current ? 1 + !sims.has_spurious : __real_weir_thread_cores();
}

bool __wrap_weir_thread_look(const atomic_bool *flag, int64_t duration_ns) {
    if (!sims.current) {
        return __real_weir_thread_look(flag, duration_ns);
    }
    int64_t until_ns = sims.now_ns + duration_ns;
    while (!atomic_load(flag) && sims.now_ns < until_ns) {
        give_turn();
    }
    return atomic_load(flag);
}

int64_t __wrap_weir_clock_monotonic_ns(void) {
    return sims.current ? sims.now_ns : __real_weir_clock_monotonic_ns();
}

int64_t __wrap_weir_clock_coarse_ns(void) {
    return sims.current ? sims.now_ns : __real_weir_clock_coarse_ns();
}

int64_t __wrap_weir_clock_wall_ns(void) {
    return sims.current ? sims.now_ns + sims.wall_offset_ns : __real_weir_clock_wall_ns();
}
