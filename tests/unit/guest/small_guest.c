// SPDX-License-Identifier: Apache-2.0
//
// See small_guest.h.
#include "unit/guest/small_guest.h"

#include "unit/test.h"

#include <signal.h>
#include <wasmtime.h>

enum { TEXT_BYTES_MAX = 16 * 1024 };

static struct {
    struct weir_engine *engine;
    struct sigaction actions[4];
} shared;
static const int trap_signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS};

struct weir_engine *small_guest_engine(void) {
    if (!shared.engine) {
        const struct weir_engine_config config = {
            .stack_bytes = 512 * 1024, .memory_bytes_max = 128 * 1024 * 1024, .instances_max = 64};
        struct weir_error err;
        if (weir_engine_create(&config, &shared.engine, &err) != WEIR_OK) {
            fprintf(stderr, "%s\n", err.message);
            abort();
        }
        for (size_t i = 0; i < COUNT_OF(trap_signals); i++) {
            sigaction(trap_signals[i], NULL, &shared.actions[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(trap_signals); i++) {
        sigaction(trap_signals[i], &shared.actions[i], NULL);
    }
    return shared.engine;
}

void small_guest_engine_end(void) {
    weir_engine_destroy(shared.engine);
    shared.engine = NULL;
}

struct weir_str small_guest_wasm(const char *text) {
    wasm_byte_vec_t wasm;
    wasmtime_error_t *error = wasmtime_wat2wasm(text, strlen(text), &wasm);
    if (error) {
        wasm_name_t message;
        wasmtime_error_message(error, &message);
        fprintf(stderr, "%.*s\n", (int)message.size, message.data);
        abort();
    }
    char *bytes = malloc(wasm.size + 1);
    REQUIRE(bytes);
    memcpy(bytes, wasm.data, wasm.size);
    struct weir_str copy = {.data = bytes, .size = wasm.size};
    wasm_byte_vec_delete(&wasm);
    return copy;
}

static bool take_line(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest, (void)line;
    return true;
}

struct weir_guest_args small_guest_args(const char *name) {
    return (struct weir_guest_args){.name = name,
                                    .instances = WEIR_INSTANCES_FRESH,
                                    .idle_max = 8,
                                    .time_ns = 30 * WEIR_NS_PER_S,
                                    .memory_bytes = 8 * 1024 * 1024,
                                    .event_bytes = 1024 * 1024,
                                    .output_bytes = 64 * 1024,
                                    .module_bytes = 1024 * 1024,
                                    .handles = 16,
                                    .output = {.line = take_line}};
}

static void read_text(char text[TEXT_BYTES_MAX]) {
    const char *folder = getenv("WEIR_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/unit/guest/small.wat", folder ? folder : ".");
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "%s cannot be read; WEIR_SOURCE_DIR names the source tree\n", path);
        abort();
    }
    size_t size = fread(text, 1, TEXT_BYTES_MAX - 1, file);
    fclose(file);
    REQUIRE(size < TEXT_BYTES_MAX - 1);
    text[size] = '\0';
}

struct weir_str small_guest_bytes(void) {
    char text[TEXT_BYTES_MAX];
    read_text(text);
    return small_guest_wasm(text);
}

struct weir_guest *small_guest_new(const struct weir_guest_args *args) {
    char text[TEXT_BYTES_MAX];
    read_text(text);
    return small_guest_of(args, text);
}

struct weir_guest *small_guest_of(const struct weir_guest_args *args, const char *text) {
    struct weir_str wasm = small_guest_wasm(text);
    struct weir_guest *guest;
    struct weir_error err;
    if (weir_guest_compile(small_guest_engine(), args, wasm, &guest, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    free((char *)(uintptr_t)wasm.data);
    return guest;
}
