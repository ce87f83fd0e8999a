// SPDX-License-Identifier: Apache-2.0
//
// The engine's beginning and end, and its clock.
#include "guest/engine_private.h"
#include "unit/guest/small_guest.h"
#include "unit/test.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct weir_engine_config small = {
    .stack_bytes = 256 * 1024, .memory_bytes_max = 1024 * 1024, .instances_max = 4};

static size_t thread_count(void) {
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

static void the_version_is_the_one_that_is_pinned(void **state) {
    (void)state;
    const char *folder = getenv("WEIR_SOURCE_DIR");
    char path[4096], version[64] = "";
    snprintf(path, sizeof path, "%s/tools/engine/version", folder ? folder : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(version, sizeof version, file));
    fclose(file);
    version[strcspn(version, "\n")] = '\0';
    assert_string_equal(weir_engine_version(), version);
}

// A store whose time is so many ticks, and a module that never ends.
static void the_clock_ticks(void **state) {
    (void)state;
    enum { TICKS = 5 };
    struct weir_engine *engine;
    struct weir_error err;
    assert_int_equal(weir_engine_create(&small, &engine, &err), WEIR_OK);
    struct weir_str wasm =
        small_guest_wasm("(module (func $start (loop $ever (br $ever))) (start $start))");
    wasmtime_module_t *module;
    assert_null(wasmtime_module_new(engine->wasm, (const uint8_t *)wasm.data, wasm.size, &module));
    wasmtime_store_t *store = wasmtime_store_new(engine->wasm, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_context_set_epoch_deadline(context, TICKS);
    int64_t begin_ns = weir_clock_monotonic_ns();
    wasmtime_instance_t instance;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_instance_new(context, module, NULL, 0, &instance, &trap);
    int64_t took_ns = weir_clock_monotonic_ns() - begin_ns;
    assert_true(error || trap);
    weir_engine_fail(error, trap, WEIR_TRAPPED, &err);
    assert_message_has(&err, "interrupt");
    assert_true(took_ns >= (TICKS - 1) * WEIR_EPOCH_TICK_MS * WEIR_NS_PER_MS);
    wasmtime_store_delete(store);
    wasmtime_module_delete(module);
    free((char *)(uintptr_t)wasm.data);
    weir_engine_destroy(engine);
}

static void engines_come_and_go_and_leave_no_thread(void **state) {
    (void)state;
    struct weir_engine *engine;
    assert_int_equal(weir_engine_create(&small, &engine, NULL), WEIR_OK);
    weir_engine_destroy(engine); // what the library keeps for the process is there now
    size_t before = thread_count();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(weir_engine_create(&small, &engine, NULL), WEIR_OK);
        assert_int_equal(thread_count(), before + 1);
        weir_engine_destroy(engine);
        WAIT_UNTIL(thread_count() == before); // a joined thread's entry may stay for a moment
    }
}

// The engine's library would end the process.
static void settings_that_the_engine_would_not_take_are_an_error(void **state) {
    (void)state;
    struct weir_engine_config rows[] = {small, small, small, small, small};
    rows[0].stack_bytes = 0;
    rows[1].stack_bytes = WEIR_STACK_BYTES_MAX + 1;
    rows[2].memory_bytes_max = WEIR_MEMORY_BYTES_MAX + 1;
    rows[3].instances_max = 0;
    rows[4].instances_max = WEIR_INSTANCES_MAX + 1;
    static const char *const parts[] = {"host.stack", "host.stack", "bounds.memory", "0 instances",
                                        "10001 instances"};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_engine *engine = NULL;
        struct weir_error err;
        assert_int_equal(weir_engine_create(&rows[i], &engine, &err), WEIR_LIMIT);
        assert_null(engine);
        assert_message_has(&err, parts[i]);
    }
}

static void the_largest_settings_are_taken(void **state) {
    (void)state;
    struct weir_engine_config large = small;
    large.stack_bytes = WEIR_STACK_BYTES_MAX;
    large.memory_bytes_max = WEIR_MEMORY_BYTES_MAX;
    struct weir_engine *engine;
    struct weir_error err = {.message = ""};
    if (weir_engine_create(&large, &engine, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    weir_engine_destroy(engine);
}

// Under a limit such as `ulimit -v` sets. In a process of its own: the sanitizers need their
// addresses, too.
static void too_little_address_space_is_an_error(void **state) {
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_engine_config vast = small;
        vast.instances_max = WEIR_INSTANCES_MAX;
        struct rlimit limit = {.rlim_cur = UINT64_C(64) << 40, .rlim_max = UINT64_C(64) << 40};
        struct weir_engine *engine = NULL;
        struct weir_error err = {.message = ""};
        // The sanitizers' own share is part of the limit: lower it until it bites.
        weir_status status = WEIR_OK;
        while (status == WEIR_OK && limit.rlim_cur > UINT64_C(1) << 40) {
            setrlimit(RLIMIT_AS, &limit);
            status = weir_engine_create(&vast, &engine, &err);
            weir_engine_destroy(engine);
            limit.rlim_cur /= 2;
        }
        _exit(status == WEIR_LIMIT && strstr(err.message, "address space") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_engine_is_destroyed_too(void **state) {
    (void)state;
    weir_engine_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_version_is_the_one_that_is_pinned),
        cmocka_unit_test(the_clock_ticks),
        cmocka_unit_test(engines_come_and_go_and_leave_no_thread),
        cmocka_unit_test(settings_that_the_engine_would_not_take_are_an_error),
        cmocka_unit_test(the_largest_settings_are_taken),
        cmocka_unit_test(too_little_address_space_is_an_error),
        cmocka_unit_test(no_engine_is_destroyed_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
