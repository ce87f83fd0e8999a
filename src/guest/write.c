// SPDX-License-Identifier: Apache-2.0
//
// WASI preview 1's fd_write, which is how a guest prints. It stands in place of the engine's, which
// hands each write to a thread of its own and waits for it: that costs more than a whole call of a
// handler, lets the engine start threads, and would call weir's output on one of them. This one
// takes the bytes where they are, on the thread that runs the instance, and cuts a guest at the
// write that goes over its bound.
//
// Source of the layouts: WASI snapshot 01 (preview 1), `ciovec` (pointer and length, 4 bytes each).
#include "guest/instance.h"

enum {
    VECTORS_MAX = 1024, // of one write, as in POSIX's IOV_MAX
    VECTOR_BYTES = 8,
    ALIGN = 4,
};
enum { ERRNO_SUCCESS = 0, ERRNO_BADF = 8, ERRNO_FAULT = 21, ERRNO_INVAL = 28 };
enum { FD_STDOUT = 1, FD_STDERR = 2 };

static struct weir_str load_vector(const struct weir_linear_memory *memory, uint32_t address,
                                   bool *ret_is_valid) {
    uint32_t vector[2];
    memcpy(vector, memory->base + address, sizeof vector);
    *ret_is_valid = weir_linear_memory_holds(memory, vector[0], vector[1], 1);
    return (struct weir_str){.data = (const char *)memory->base + (*ret_is_valid ? vector[0] : 0),
                             .size = vector[1]};
}

// Writes the vectors; how many bytes they were goes to `ret_written` in the guest's memory.
static int32_t write_vectors(struct weir_instance *instance, uint32_t vectors, uint32_t count,
                             uint32_t ret_written) {
    struct weir_linear_memory *memory = &instance->linear;
    memory->size = wasmtime_memory_data_size(instance->context, &instance->memory);
    if (count > VECTORS_MAX) {
        return ERRNO_INVAL;
    }
    if (!weir_linear_memory_holds(memory, vectors, (uint64_t)count * VECTOR_BYTES, ALIGN) ||
        !weir_linear_memory_holds(memory, ret_written, sizeof(uint32_t), ALIGN)) {
        return ERRNO_FAULT;
    }
    uint64_t written = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_valid;
        struct weir_str bytes = load_vector(memory, vectors + i * VECTOR_BYTES, &is_valid);
        if (!is_valid || written + bytes.size > UINT32_MAX) {
            return is_valid ? ERRNO_INVAL : ERRNO_FAULT;
        }
        if (!weir_print_write(&instance->output, bytes.data, bytes.size)) {
            break;
        }
        written += bytes.size;
    }
    uint32_t count_written = (uint32_t)written;
    memcpy(memory->base + ret_written, &count_written, sizeof count_written);
    return ERRNO_SUCCESS;
}

wasm_trap_t *weir_fd_write(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                           size_t value_count) {
    (void)env;
    (void)value_count;
    struct weir_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    int32_t fd = values[0].i32;
    if (fd != FD_STDOUT && fd != FD_STDERR) {
        values[0].i32 = ERRNO_BADF; // a guest has no other descriptors that can be written
        return NULL;
    }
    if (!instance->is_ready) {
        values[0].i32 = ERRNO_INVAL; // a start function, before its memory is known
        return NULL;
    }
    values[0].i32 = write_vectors(instance, (uint32_t)values[1].i32, (uint32_t)values[2].i32,
                                  (uint32_t)values[3].i32);
    if (instance->output.is_over) {
        weir_instance_is_over(instance); // notes why
        return wasmtime_trap_new("cut by weir", strlen("cut by weir"));
    }
    return NULL;
}
