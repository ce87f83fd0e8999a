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
#include "base/show.h"
#include "base/str.h"
#include "base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Bytes of an instance's memory that are kept and zeroed on reuse instead of being given back to
// the system: zeroing what a small guest touches is cheaper than the page faults that follow giving
// back. Measured by `./dev bench`.
enum { MEMORY_KEPT_BYTES = 256 * 1024, TABLE_KEPT_BYTES = 16 * 1024 };

// The address space that the engine reserves for an instance's memory: 4 GiB, so that a guest's
// pointer needs no check, and the guard behind it. Rather too much than too little.
#define ADDRESSES_PER_INSTANCE (WEIR_MEMORY_BYTES_MAX + (UINT64_C(64) << 20))

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
    weir_thread_be_prompt();
    pthread_mutex_lock(&clock->lock);
    while (!clock->is_stopping) {
        next_ns += WEIR_EPOCH_TICK_MS * WEIR_NS_PER_MS;
        struct timespec until = weir_clock_timespec(next_ns);
        int waited = 0;
        while (!clock->is_stopping && waited == 0) {
            waited = pthread_cond_clockwait(&clock->changed, &clock->lock, CLOCK_MONOTONIC, &until);
        }
        wasmtime_engine_increment_epoch(engine->wasm);
        wasm_engine_t *components = atomic_load(&engine->components);
        if (components) {
            wasmtime_engine_increment_epoch(components);
        }
        int64_t now_ns = weir_clock_monotonic_ns();
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

// Whether the system has the addresses of so many memories.
static weir_status check_addresses(uint64_t memories, struct weir_error *err) {
    size_t bytes = memories * ADDRESSES_PER_INSTANCE;
    void *addresses =
        mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (addresses == MAP_FAILED) {
        return weir_fail(
            err, WEIR_LIMIT,
            "the system has not the %zu GiB of address space (not of memory) that %" PRIu64
            " memories of guests need; lower host.workers, or raise the limit "
            "(ulimit -v)",
            bytes >> 30, memories);
    }
    munmap(addresses, bytes);
    return WEIR_OK;
}

// The engine's C API ends the process where it refuses its settings, so they are looked at before.
static weir_status check_config(const struct weir_engine_config *config, struct weir_error *err) {
    if (config->stack_bytes == 0 || config->stack_bytes > WEIR_STACK_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "host.stack is %llu bytes; the engine has 1 to %d",
                         (unsigned long long)config->stack_bytes, WEIR_STACK_BYTES_MAX);
    }
    if (config->memory_bytes_max > WEIR_MEMORY_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "bounds.memory is %llu bytes; a guest has at most %llu",
                         (unsigned long long)config->memory_bytes_max,
                         (unsigned long long)WEIR_MEMORY_BYTES_MAX);
    }
    if (config->instances_max == 0 || config->instances_max > WEIR_INSTANCES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%u instances at one time; the engine has 1 to %d",
                         config->instances_max, WEIR_INSTANCES_MAX);
    }
    return check_addresses(config->instances_max, err);
}

// What is the same for all instances: the engine maps what may be wanted at one time once, and a
// fresh instance takes its place from that.
static void set_pool(wasmtime_pooling_allocation_config_t *pool,
                     const struct weir_engine_config *config, uint32_t memories, uint32_t tables,
                     size_t table_elements) {
    uint32_t instances = config->instances_max;
    wasmtime_pooling_allocation_config_total_memories_set(pool, instances * memories);
    wasmtime_pooling_allocation_config_total_tables_set(pool, instances * tables);
    wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, 1);
    wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, tables);
    wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, INSTANCE_BYTES_MAX);
    wasmtime_pooling_allocation_config_table_elements_set(pool, table_elements);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, config->memory_bytes_max);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, instances);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, MEMORY_KEPT_BYTES);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, TABLE_KEPT_BYTES);
    // Stacks of asynchronous calls and heaps of collected objects, of which guests have none; the
    // engine would map gigabytes for them.
    wasmtime_pooling_allocation_config_total_stacks_set(pool, 0);
    wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, 0);
}

// What holds for modules and components alike. NULL: no memory.
static wasm_config_t *common_config(const struct weir_engine_config *config) {
    wasm_config_t *settings = wasm_config_new();
    if (!settings) {
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
    wasmtime_config_wasm_gc_set(settings, false);
    wasmtime_config_wasm_function_references_set(settings, false);
    return settings;
}

static wasm_config_t *config_of(const struct weir_engine_config *config) {
    wasm_config_t *settings = common_config(config);
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    if (!settings || !pool) {
        return NULL;
    }
    wasmtime_config_wasm_multi_memory_set(settings, false);
    wasmtime_config_wasm_component_model_set(settings, false);
    // The C API ends the process where it is asked for the type of an export that has a v128 or an
    // exnref in its signature, and there is no way to know before it is asked.
    wasmtime_config_wasm_simd_set(settings, false);
    wasmtime_config_wasm_relaxed_simd_set(settings, false);
    wasmtime_config_wasm_exceptions_set(settings, false);

    wasmtime_pooling_allocation_config_total_core_instances_set(pool, config->instances_max *
                                                                          WEIR_STORE_INSTANCES_MAX);
    set_pool(pool, config, 1, TABLES_PER_MODULE_MAX, TABLE_ELEMENTS_MAX);
    wasmtime_pooling_allocation_strategy_set(settings, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    return settings;
}

// Components: what the core lane forbids for the sake of its own checks is allowed here, since the
// component's types stand before those of its modules.
static wasm_config_t *component_config_of(const struct weir_engine_config *config) {
    wasm_config_t *settings = common_config(config);
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    if (!settings || !pool) {
        return NULL;
    }
    wasmtime_config_wasm_component_model_set(settings, true);
    // Guests are not asynchronous; without it a call costs a quarter of what it does with.
    wasmtime_config_concurrency_support_set(settings, false);
    set_pool(pool, config, WEIR_COMPONENT_MEMORIES_MAX, WEIR_COMPONENT_TABLES_MAX,
             WEIR_COMPONENT_TABLE_ELEMENTS_MAX);
    wasmtime_pooling_allocation_config_total_component_instances_set(pool, config->instances_max);
    wasmtime_pooling_allocation_config_max_component_instance_size_set(pool, INSTANCE_BYTES_MAX);
    wasmtime_pooling_allocation_config_max_core_instances_per_component_set(
        pool, WEIR_COMPONENT_INSTANCES_MAX);
    wasmtime_pooling_allocation_config_total_core_instances_set(
        pool, config->instances_max * WEIR_COMPONENT_INSTANCES_MAX);
    wasmtime_pooling_allocation_config_max_memories_per_component_set(pool,
                                                                      WEIR_COMPONENT_MEMORIES_MAX);
    wasmtime_pooling_allocation_config_max_tables_per_component_set(pool,
                                                                    WEIR_COMPONENT_TABLES_MAX);
    wasmtime_pooling_allocation_strategy_set(settings, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    return settings;
}

weir_status weir_engine_want_components(struct weir_engine *engine, struct weir_error *err) {
    weir_status status = WEIR_OK;
    pthread_mutex_lock(&engine->components_lock);
    if (!atomic_load(&engine->components)) {
        status = check_addresses(
            (uint64_t)engine->config.instances_max * WEIR_COMPONENT_MEMORIES_MAX, err);
    }
    if (status == WEIR_OK && !atomic_load(&engine->components)) {
        wasm_config_t *settings = component_config_of(&engine->config);
        wasm_engine_t *components = settings ? wasm_engine_new_with_config(settings) : NULL;
        atomic_store(&engine->components, components);
        if (!components) {
            status = weir_fail(err, WEIR_OTHER, "the WebAssembly engine refuses its settings");
        }
    }
    pthread_mutex_unlock(&engine->components_lock);
    return status;
}

weir_status weir_engine_create(const struct weir_engine_config *config,
                               struct weir_engine **ret_engine, struct weir_error *err) {
    *ret_engine = NULL;
    weir_status status = check_config(config, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        return weir_fail_no_memory(err, "the engine");
    }
    engine->config = *config;
    if (config->cache.path) {
        engine->config.cache.path = engine->cache_path = strdup(config->cache.path);
        if (!engine->cache_path) {
            free(engine);
            return weir_fail_no_memory(err, "the engine");
        }
    }
    pthread_mutex_init(&engine->components_lock, NULL);
    wasm_config_t *settings = config_of(config);
    engine->wasm = settings ? wasm_engine_new_with_config(settings) : NULL;
    if (!engine->wasm) {
        pthread_mutex_destroy(&engine->components_lock);
        free(engine->cache_path);
        free(engine);
        return weir_fail(err, WEIR_OTHER, "the WebAssembly engine refuses its settings");
    }
    status = clock_start(engine, err);
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
    if (engine->components) {
        wasm_engine_delete(engine->components);
    }
    pthread_mutex_destroy(&engine->components_lock);
    free(engine->cache_path);
    free(engine);
}

static struct weir_str first_line(struct weir_str text) {
    const char *end = text.size > 0 ? memchr(text.data, '\n', text.size) : NULL;
    return (struct weir_str){.data = text.data,
                             .size = end ? (size_t)(end - text.data) : text.size};
}

// The engine's text has a first line, maybe a backtrace, and maybe "Caused by:" with one cause or
// several numbered ones, the root last. Returns the first of the causes, empty where there is none.
static struct weir_str cause_of(struct weir_str text) {
    static const char mark[] = "Caused by:";
    const char *found = text.size > 0 ? memmem(text.data, text.size, mark, sizeof mark - 1) : NULL;
    if (!found) {
        return (struct weir_str){0};
    }
    const char *start = found + sizeof mark - 1, *end = text.data + text.size;
    while (start < end && (*start == '\n' || *start == ' ')) {
        start++;
    }
    if (end - start > 3 && start[0] == '0' && start[1] == ':') {
        start += 3;
    }
    return first_line((struct weir_str){.data = start, .size = (size_t)(end - start)});
}

// What a person wants of the engine's text: of a trap its cause, else what was wrong and why.
static void tell(struct weir_str text, weir_status status, struct weir_error *err) {
    struct weir_str first = first_line(text), cause = cause_of(text);
    char shown_first[WEIR_ERROR_MESSAGE_BYTES / 2], shown_cause[WEIR_ERROR_MESSAGE_BYTES / 2];
    weir_show(first, shown_first, sizeof shown_first);
    weir_show(cause, shown_cause, sizeof shown_cause);
    bool is_trap = weir_str_has_prefix(first, WEIR_STR("error while executing"));
    if (cause.size == 0) {
        weir_fail(err, status, "%s", shown_first);
    } else if (is_trap) {
        weir_fail(err, status, "%s", shown_cause);
    } else {
        weir_fail(err, status, "%s: %s", shown_first, shown_cause);
    }
}

// The functions that ran, innermost first. Their names are the guest's, so they are shown with
// care.
static void append_backtrace(struct weir_error *err, const wasm_frame_vec_t *frames) {
    size_t length = strlen(err->message);
    bool has_name = false;
    for (size_t i = 0; i < frames->size && i < WEIR_BACKTRACE_FRAMES; i++) {
        const wasm_name_t *name = wasmtime_frame_func_name(frames->data[i]);
        if (!name) {
            continue;
        }
        char shown[WEIR_SHOW_BYTES];
        weir_show((struct weir_str){.data = name->data, .size = name->size}, shown, sizeof shown);
        int written = snprintf(err->message + length, sizeof err->message - length, "%s%s",
                               has_name ? " < " : ", in ", shown);
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
    } else {
        wasm_trap_message(trap, &text);
        wasm_trap_trace(trap, &frames);
    }
    // A trap's message ends in a terminator, an error's does not.
    size_t size = text.size > 0 && text.data[text.size - 1] == '\0' ? text.size - 1 : text.size;
    tell((struct weir_str){.data = text.data, .size = size}, status, err);
    if (err) {
        append_backtrace(err, &frames);
    }
    wasm_frame_vec_delete(&frames);
    wasm_name_delete(&text);
    // Last: a frame's name points into the error or trap that it came from.
    if (error) {
        wasmtime_error_delete(error);
    } else {
        wasm_trap_delete(trap);
    }
    return status;
}
