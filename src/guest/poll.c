// SPDX-License-Identifier: Apache-2.0
//
// WASI preview 1's poll_oneoff, which is how a guest sleeps. It stands in place of the engine's,
// which sleeps as long as the guest asks: a guest in a host function is beyond the reach of epochs,
// so a handler that slept for an hour would hold its worker for that hour. This one wakes at each
// tick and looks at the call's bounds.
//
// The only descriptors that a guest has are its output and an empty input, which are always ready.
//
// Source of the layouts: WASI snapshot 01 (preview 1), `subscription` (48 bytes) and `event` (32).
// Runs on the thread that runs the instance.
#include "guest/instance.h"

#include "base/clock.h"

enum {
    SUBSCRIPTIONS_MAX = 128, // of one call
    SUBSCRIPTION_BYTES = 48,
    EVENT_BYTES = 32,
    ALIGN = 8,
};
enum { ERRNO_SUCCESS = 0, ERRNO_FAULT = 21, ERRNO_INVAL = 28 };
enum { TYPE_CLOCK = 0, TYPE_FD_READ = 1, TYPE_FD_WRITE = 2 };
enum { CLOCK_ID_REALTIME = 0, CLOCK_ID_MONOTONIC = 1 };
enum { FLAG_ABSOLUTE = 1 };

struct subscription {
    uint64_t userdata;
    uint8_t type;
    int64_t due_ns; // of a clock: when, monotonic
    bool is_valid;
};

// When a clock's subscription is due. Times that do not fit are as good as never.
static int64_t due_ns(uint32_t clock, uint64_t timeout_ns, bool is_absolute, int64_t now_ns) {
    int64_t timeout = timeout_ns > INT64_MAX ? INT64_MAX : (int64_t)timeout_ns;
    if (is_absolute) {
        int64_t base_ns = clock == CLOCK_ID_REALTIME ? weir_clock_wall_ns() : now_ns;
        timeout = timeout > base_ns ? timeout - base_ns : 0;
    }
    int64_t due;
    return __builtin_add_overflow(now_ns, timeout, &due) ? INT64_MAX : due;
}

static struct subscription load(const uint8_t *at, int64_t now_ns) {
    struct subscription subscription = {.is_valid = true};
    uint32_t clock;
    uint64_t timeout_ns;
    uint16_t flags;
    memcpy(&subscription.userdata, at, sizeof subscription.userdata);
    subscription.type = at[8];
    memcpy(&clock, at + 16, sizeof clock);
    memcpy(&timeout_ns, at + 24, sizeof timeout_ns);
    memcpy(&flags, at + 40, sizeof flags);
    if (subscription.type == TYPE_CLOCK) {
        subscription.is_valid = clock == CLOCK_ID_REALTIME || clock == CLOCK_ID_MONOTONIC;
        subscription.due_ns = due_ns(clock, timeout_ns, (flags & FLAG_ABSOLUTE) != 0, now_ns);
    } else {
        subscription.is_valid = subscription.type <= TYPE_FD_WRITE;
    }
    return subscription;
}

// What is due at once is due now: descriptors, and what is malformed and is to be told so.
static int64_t earliest_ns(const struct subscription *subscriptions, uint32_t count,
                           int64_t now_ns) {
    int64_t earliest = INT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        bool waits = subscriptions[i].type == TYPE_CLOCK && subscriptions[i].is_valid;
        int64_t due = waits ? subscriptions[i].due_ns : now_ns;
        earliest = due < earliest ? due : earliest;
    }
    return earliest;
}

static void store(uint8_t *at, const struct subscription *subscription) {
    uint16_t code = subscription->is_valid ? ERRNO_SUCCESS : ERRNO_INVAL;
    memset(at, 0, EVENT_BYTES);
    memcpy(at, &subscription->userdata, sizeof subscription->userdata);
    memcpy(at + 8, &code, sizeof code);
    at[10] = subscription->type;
}

wasm_trap_t *weir_poll_oneoff(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                              size_t value_count) {
    (void)env;
    (void)value_count;
    struct weir_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    struct weir_linear_memory *memory = &instance->linear;
    uint32_t in = (uint32_t)values[0].i32, out = (uint32_t)values[1].i32;
    uint32_t count = (uint32_t)values[2].i32, ret_count = (uint32_t)values[3].i32;
    if (!instance->is_ready || count == 0 || count > SUBSCRIPTIONS_MAX) {
        values[0].i32 = ERRNO_INVAL;
        return NULL;
    }
    memory->size = wasmtime_memory_data_size(instance->context, &instance->memory);
    if (!weir_linear_memory_holds(memory, in, (uint64_t)count * SUBSCRIPTION_BYTES, ALIGN) ||
        !weir_linear_memory_holds(memory, out, (uint64_t)count * EVENT_BYTES, ALIGN) ||
        !weir_linear_memory_holds(memory, ret_count, sizeof(uint32_t), sizeof(uint32_t))) {
        values[0].i32 = ERRNO_FAULT;
        return NULL;
    }
    int64_t now_ns = weir_clock_monotonic_ns();
    struct subscription subscriptions[SUBSCRIPTIONS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        subscriptions[i] = load(memory->base + in + (size_t)i * SUBSCRIPTION_BYTES, now_ns);
    }
    int64_t wake_ns = earliest_ns(subscriptions, count, now_ns);
    if (!weir_instance_sleep_until(instance, wake_ns)) {
        return wasmtime_trap_new("cut by weir", strlen("cut by weir"));
    }
    uint32_t events = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool waits = subscriptions[i].type == TYPE_CLOCK && subscriptions[i].is_valid;
        if (!waits || subscriptions[i].due_ns <= wake_ns) {
            store(memory->base + out + (size_t)events * EVENT_BYTES, &subscriptions[i]);
            events++;
        }
    }
    memcpy(memory->base + ret_count, &events, sizeof events);
    values[0].i32 = ERRNO_SUCCESS;
    return NULL;
}
