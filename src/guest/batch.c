// SPDX-License-Identifier: Apache-2.0
//
// Many calls of cabi_realloc for the price of one. The canonical ABI asks for a block of its own
// for each text of an event, a dozen in all, and entering a guest costs far more than what its
// allocator then does. So an instance that is kept has a second, tiny module beside the guest's in
// its store, which is entered once and calls cabi_realloc from inside: a fifth less for an event of
// 100 bytes (./dev bench). The guest sees the calls that it would see anyway.
//
// Not for an instance that is made for one event: making the second one costs more than it saves.
// Thread: the instance's.
#include "guest/instance.h"

// One block is passed as one i64, align << 32 | size; 0 asks for nothing and is answered with 0.
#define FOUR(type)    type " " type " " type " " type " "
#define SIXTEEN(type) FOUR(type) FOUR(type) FOUR(type) FOUR(type)
#define BLOCK(number) "(call $block (local.get " #number "))"
// clang-format off
static const char batch_text[] =
    "(module"
    "  (import \"guest\" \"cabi_realloc\""
    "    (func $realloc (param i32 i32 i32 i32) (result i32)))"
    "  (func $block (param $asked i64) (result i32)"
    "    (if (result i32) (i64.eqz (local.get $asked))"
    "      (then (i32.const 0))"
    "      (else (call $realloc (i32.const 0) (i32.const 0)"
    "        (i32.wrap_i64 (i64.shr_u (local.get $asked) (i64.const 32)))"
    "        (i32.wrap_i64 (local.get $asked))))))"
    "  (func (export \"allocate\") (param " SIXTEEN("i64") ") (result " SIXTEEN("i32") ")"
    BLOCK(0) BLOCK(1) BLOCK(2) BLOCK(3) BLOCK(4) BLOCK(5) BLOCK(6) BLOCK(7)
    BLOCK(8) BLOCK(9) BLOCK(10) BLOCK(11) BLOCK(12) BLOCK(13) BLOCK(14) BLOCK(15)
    "  ))";
// clang-format on

enum { BATCH_BLOCKS = 16 }; // of one call

weir_status weir_batch_compile(struct weir_engine *engine, wasmtime_module_t **ret_batch,
                               struct weir_error *err) {
    wasm_byte_vec_t wasm;
    wasmtime_error_t *error = wasmtime_wat2wasm(batch_text, sizeof batch_text - 1, &wasm);
    if (!error) {
        error = wasmtime_module_new(engine->wasm, (const uint8_t *)wasm.data, wasm.size, ret_batch);
        wasm_byte_vec_delete(&wasm);
    }
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}

weir_status weir_batch_bind(struct weir_instance *instance, struct weir_error *err) {
    const wasmtime_extern_t import = {.kind = WASMTIME_EXTERN_FUNC, .of.func = instance->realloc};
    wasmtime_instance_t batch;
    wasmtime_extern_t item;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_instance_new(instance->context, instance->guest->batch, &import, 1, &batch, &trap);
    if (error || trap) {
        return weir_engine_fail(error, trap, WEIR_OTHER, err);
    }
    if (!wasmtime_instance_export_get(instance->context, &batch, "allocate", strlen("allocate"),
                                      &item)) {
        return weir_fail(err, WEIR_OTHER, "the module beside the guest's exports no \"allocate\"");
    }
    instance->allocate = item.of.func;
    instance->has_batch = true;
    return WEIR_OK;
}

weir_status weir_batch_allocate(struct weir_instance *instance, struct weir_block *blocks,
                                size_t count, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t done = 0; status == WEIR_OK && done < count; done += BATCH_BLOCKS) {
        struct weir_block *next = blocks + done;
        size_t left = count - done;
        wasmtime_val_raw_t values[BATCH_BLOCKS];
        for (size_t i = 0; i < BATCH_BLOCKS; i++) {
            uint64_t asked = i < left ? (uint64_t)next[i].align << 32 | next[i].size : 0;
            values[i].i64 = (int64_t)asked;
        }
        status = weir_instance_call(instance, &instance->allocate, values, BATCH_BLOCKS, err);
        for (size_t i = 0; i < BATCH_BLOCKS && i < left; i++) {
            next[i].address = (uint32_t)values[i].i32;
        }
    }
    return status;
}
