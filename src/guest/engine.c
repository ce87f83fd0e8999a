// SPDX-License-Identifier: Apache-2.0
//
// The engine and its clock. Settings worth a word:
//
// - Epochs rather than fuel: a running guest is cut by the clock, at the cost of a load and a
//   comparison in each loop and function instead of a counter's update.
// - The pooling allocator: a fresh instance for each event takes its memory from slots that were
//   mapped once, which is four times cheaper than mapping (bench/).
// - Proposals that no guest of ours needs are off (threads, 64-bit memories, several memories,
//   garbage collection): what is off cannot be attacked.
//
// weir_engine_create and _destroy are called by the composition root; the clock is a thread of its
// own.
#include "guest/engine_private.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Bytes of an instance's memory that are kept and zeroed on reuse instead of being given back to
// the system: zeroing what a small guest touches is cheaper than the page faults that follow giving
// back. Measured by `./dev bench`.
enum { MEMORY_KEPT_BYTES = 128 * 1024, TABLE_KEPT_BYTES = 16 * 1024 };
enum { TABLES_PER_MODULE_MAX = 4, INSTANCE_BYTES_MAX = 1024 * 1024, TABLE_ELEMENTS_MAX = 20000 };

struct weir_engine_clock {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping; // under lock
};

const char *weir_engine_version(void) {
    return WASMTIME_VERSION;
}

static void *tick(void *argument) {
    struct weir_engine *engine = argument;
    struct weir_engine_clock *clock = engine->clock;
    int64_t next_ns = weir_clock_monotonic_ns();
    pthread_mutex_lock(&clock->lock);
    while (!clock->is_stopping) {
        next_ns += WEIR_EPOCH_TICK_MS * WEIR_NS_PER_MS;
        struct timespec until = weir_clock_timespec(next_ns);
        int waited = 0;
        while (!clock->is_stopping && waited == 0) {
            waited = pthread_cond_clockwait(&clock->changed, &clock->lock, CLOCK_MONOTONIC, &until);
        }
        int64_t now_ns = weir_clock_monotonic_ns();
        atomic_store_explicit(&engine->tick_ns, now_ns, memory_order_relaxed);
        wasmtime_engine_increment_epoch(engine->wasm);
        if (now_ns > next_ns) {
            next_ns = now_ns; // after a pause of the machine, do not make up for missed ticks
        }
    }
    pthread_mutex_unlock(&clock->lock);
    return NULL;
}

static weir_status clock_start(struct weir_engine *engine, struct weir_error *err) {
    struct weir_engine_clock *clock = calloc(1, sizeof *clock);
    if (!clock) {
        return weir_fail_no_memory(err, "the engine's clock");
    }
    pthread_mutex_init(&clock->lock, NULL);
    pthread_cond_init(&clock->changed, NULL);
    engine->clock = clock;
    atomic_store(&engine->tick_ns, weir_clock_monotonic_ns());
    int code = pthread_create(&clock->thread, NULL, tick, engine);
    if (code != 0) {
        engine->clock = NULL;
        free(clock);
        return weir_fail_errno(err, code, "starting the engine's clock");
    }
    pthread_setname_np(clock->thread, "weir:epoch");
    return WEIR_OK;
}

static void clock_stop(struct weir_engine_clock *clock) {
    if (!clock) {
        return;
    }
    pthread_mutex_lock(&clock->lock);
    clock->is_stopping = true;
    pthread_cond_signal(&clock->changed);
    pthread_mutex_unlock(&clock->lock);
    pthread_join(clock->thread, NULL);
    pthread_cond_destroy(&clock->changed);
    pthread_mutex_destroy(&clock->lock);
    free(clock);
}

static wasm_config_t *config_of(const struct weir_engine_config *config) {
    wasm_config_t *settings = wasm_config_new();
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    if (!settings || !pool) {
        return NULL;
    }
    wasmtime_config_epoch_interruption_set(settings, true);
    wasmtime_config_max_wasm_stack_set(settings, config->stack_bytes);
    wasmtime_config_cranelift_opt_level_set(settings, WASMTIME_OPT_LEVEL_SPEED);
    // A memory stays where it is while it grows: views into it stay valid, and its address is asked
    // for once.
    wasmtime_config_memory_may_move_set(settings, false);
    wasmtime_config_wasm_threads_set(settings, false);
    wasmtime_config_wasm_memory64_set(settings, false);
    wasmtime_config_wasm_multi_memory_set(settings, false);
    wasmtime_config_wasm_gc_set(settings, false);
    wasmtime_config_wasm_function_references_set(settings, false);
    wasmtime_config_wasm_component_model_set(settings, false);

    wasmtime_pooling_allocation_config_total_core_instances_set(pool, config->instances_max);
    wasmtime_pooling_allocation_config_total_memories_set(pool, config->instances_max);
    wasmtime_pooling_allocation_config_total_tables_set(pool, config->instances_max *
                                                                  TABLES_PER_MODULE_MAX);
    wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, 1);
    wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, TABLES_PER_MODULE_MAX);
    wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, INSTANCE_BYTES_MAX);
    wasmtime_pooling_allocation_config_table_elements_set(pool, TABLE_ELEMENTS_MAX);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, config->memory_bytes_max);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, config->instances_max);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, MEMORY_KEPT_BYTES);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, TABLE_KEPT_BYTES);
    wasmtime_pooling_allocation_strategy_set(settings, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    return settings;
}

weir_status weir_engine_create(const struct weir_engine_config *config,
                               struct weir_engine **ret_engine, struct weir_error *err) {
    *ret_engine = NULL;
    struct weir_engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        return weir_fail_no_memory(err, "the engine");
    }
    engine->config = *config;
    wasm_config_t *settings = config_of(config);
    engine->wasm = settings ? wasm_engine_new_with_config(settings) : NULL;
    if (!engine->wasm) {
        free(engine);
        return weir_fail(
            err, WEIR_OTHER,
            "the WebAssembly engine refuses its settings (%u instances of %llu bytes); "
            "lower host.workers or bounds.memory",
            config->instances_max, (unsigned long long)config->memory_bytes_max);
    }
    weir_status status = clock_start(engine, err);
    if (status != WEIR_OK) {
        weir_engine_destroy(engine);
        return status;
    }
    *ret_engine = engine;
    return WEIR_OK;
}

void weir_engine_destroy(struct weir_engine *engine) {
    if (!engine) {
        return;
    }
    clock_stop(engine->clock);
    wasm_engine_delete(engine->wasm);
    free(engine);
}

// "error while executing at wasm backtrace:\n  0: ...\n\nCaused by:\n  cause": what a person wants
// is the cause.
static struct weir_str cause_of(struct weir_str text) {
    static const char mark[] = "Caused by:";
    const char *found = memmem(text.data, text.size, mark, sizeof mark - 1);
    if (found) {
        const char *start = found + sizeof mark - 1, *end = text.data + text.size;
        while (start < end && (*start == '\n' || *start == ' ')) {
            start++;
        }
        if (end - start > 3 && start[0] == '0' && start[1] == ':') { // several causes are numbered
            start += 3;
        }
        text = (struct weir_str){.data = start, .size = (size_t)(end - start)};
    }
    const char *line_end = memchr(text.data, '\n', text.size);
    if (line_end) {
        text.size = (size_t)(line_end - text.data);
    }
    return text;
}

static void append_backtrace(struct weir_error *err, const wasm_frame_vec_t *frames) {
    size_t length = strlen(err->message);
    bool has_name = false;
    for (size_t i = 0; i < frames->size && i < WEIR_BACKTRACE_FRAMES; i++) {
        const wasm_name_t *name = wasmtime_frame_func_name(frames->data[i]);
        if (!name || length >= sizeof err->message - 1) {
            continue;
        }
        int written = snprintf(err->message + length, sizeof err->message - length, "%s%.*s",
                               has_name ? " < " : " in ", (int)name->size, name->data);
        if (written < 0 || (size_t)written >= sizeof err->message - length) {
            err->message[length] = '\0';
            return;
        }
        length += (size_t)written;
        has_name = true;
    }
}

weir_status weir_engine_fail(wasmtime_error_t *error, wasm_trap_t *trap, weir_status status,
                             struct weir_error *err) {
    wasm_name_t text = {0};
    wasm_frame_vec_t frames = {0};
    if (error) {
        wasmtime_error_message(error, &text);
        wasmtime_error_wasm_trace(error, &frames);
        wasmtime_error_delete(error);
    } else {
        wasm_trap_message(trap, &text);
        wasm_trap_trace(trap, &frames);
        wasm_trap_delete(trap);
    }
    // A trap's message ends in a terminator, an error's does not.
    size_t size = text.size > 0 && text.data[text.size - 1] == '\0' ? text.size - 1 : text.size;
    struct weir_str cause = cause_of((struct weir_str){.data = text.data, .size = size});
    weir_fail(err, status, "%.*s", WEIR_STR_ARG(cause));
    if (err) {
        append_backtrace(err, &frames);
    }
    wasm_frame_vec_delete(&frames);
    wasm_name_delete(&text);
    return status;
}
