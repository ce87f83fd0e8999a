// SPDX-License-Identifier: Apache-2.0
//
// The core module that stands between weir and a component's handlers; see annex.h. It is written
// for each guest, since it imports as many functions as the guest has handlers, and assembled when
// the guest is loaded. How bytes are taken apart is said in planes.h; $split and $join do here what
// that file does on weir's side.
//
// The addresses and sizes in it are the guest's, who may lie about what it returns: what lies
// outside of its memory is left to the engine, which says best what is wrong with it, or traps.
#include "guest/annex.h"

#include "guest/instance.h"
#include "guest/wit.h"

#include <stdio.h>
#include <stdlib.h>

// In the module's own memory: what "body" returns, an address and a size; and from OWN_BYTES on,
// the high bits that were handed over, or the body that is to be taken.
enum { OWN_BYTES = 64 };

// clang-format off
#define HIGH_BITS "(i64.const 0x8080808080808080)"
#define LOW_BITS  "(i64.const 0x7f7f7f7f7f7f7f7f)"

// One of the seven words of a block, whose high bits are in the bits `shift` lower.
#define JOIN(offset, shift)                                                                      \
    "(i64.store $guest offset=" #offset " (local.get $low)"                                      \
    "  (i64.or (i64.load $guest offset=" #offset " (local.get $low))"                            \
    "    (i64.and (i64.shl (local.get $bits) (i64.const " #shift ")) " HIGH_BITS ")))"
#define SPLIT(offset, shift)                                                                     \
    "(local.set $word (i64.load $own offset=" #offset " (local.get $low)))"                      \
    "(i64.store $own offset=" #offset " (local.get $low) (i64.and (local.get $word) " LOW_BITS "))" \
    "(local.set $bits (i64.or (local.get $bits)"                                                 \
    "  (i64.shr_u (i64.and (local.get $word) " HIGH_BITS ") (i64.const " #shift "))))"
#define SCAN(offset) "(i64.load $guest offset=" #offset " (local.get $at))"

// A loop over the whole blocks of $left bytes, and one over the bytes that remain: $i of them are done.
#define BLOCKS(body)                                                                             \
    "(block $blocks-done (loop $blocks"                                                          \
    "  (br_if $blocks-done (i32.lt_u (local.get $left) (i32.const 56)))"                         \
    body                                                                                         \
    "  (local.set $low (i32.add (local.get $low) (i32.const 56)))"                               \
    "  (local.set $high (i32.add (local.get $high) (i32.const 8)))"                              \
    "  (local.set $left (i32.sub (local.get $left) (i32.const 56)))"                             \
    "  (br $blocks)))"
#define REST(body)                                                                               \
    "(block $rest-done (loop $rest"                                                              \
    "  (br_if $rest-done (i32.ge_u (local.get $i) (local.get $left)))"                           \
    "  (local.set $byte-at (i32.add (local.get $low) (local.get $i)))"                           \
    "  (local.set $bits-at (i32.add (local.get $high) (i32.and (local.get $i) (i32.const 7))))"  \
    "  (local.set $bit (i32.shr_u (local.get $i) (i32.const 3)))"                                \
    body                                                                                         \
    "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"                                    \
    "  (br $rest)))"

// In parts, as long as a compiler has to take a text.
static const char *const common_text[] = {
    "(memory $own (export \"own\") 0)"
    // Whether high bits were handed over for the next call.
    "(global $given (mut i32) (i32.const 0))"
    // The bytes that are to be taken. Where the guest's result has their size, which is 0 meanwhile,
    // and what it was; 0 for \"nowhere\".
    "(global $packed (mut i32) (i32.const 0))"
    "(global $size-at (mut i32) (i32.const 0))"
    "(global $size (mut i32) (i32.const 0))"
    // Likewise of the case, which is the one of a list meanwhile.
    "(global $case-at (mut i32) (i32.const 0))",

    // Makes the own memory as large as that, or traps.
    "(func $reserve (param $bytes i64)"
    "  (local $missing i64)"
    "  (local.set $missing (i64.sub"
    "    (i64.shr_u (i64.add (local.get $bytes) (i64.const 65535)) (i64.const 16))"
    "    (i64.extend_i32_u (memory.size $own))))"
    "  (if (i64.gt_s (local.get $missing) (i64.const 0)) (then"
    "    (if (i64.gt_s (local.get $missing) (i64.const 65536)) (then unreachable))"
    "    (if (i32.eq (memory.grow $own (i32.wrap_i64 (local.get $missing))) (i32.const -1))"
    "      (then unreachable)))))",

    "(func (export \"realloc\") (param i32 i32 i32 i32) (result i32)"
    "  (call $reserve (i64.add (i64.extend_i32_u (local.get 3)) (global.get $OWN)))"
    "  (i32.wrap_i64 (global.get $OWN)))"
    "(func (export \"high\") (param i32 i32) (global.set $given (i32.const 1)))"
    "(func (export \"body\") (result i32)"
    "  (call $reserve (global.get $OWN))"
    "  (i32.store $own (i32.const 0) (i32.wrap_i64 (global.get $OWN)))"
    "  (i32.store $own offset=4 (i32.const 0) (global.get $packed))"
    "  (global.set $packed (i32.const 0))"
    "  (i32.const 0))",

    // Whether an event has a binary body.
    "(func $is-binary (param $event i32) (result i32)"
    "  (local $data i32)"
    "  (local.set $data (i32.add (local.get $event) (global.get $DATA)))"
    "  (if (i32.ne (i32.load8_u $guest (local.get $data)) (i32.const 1))"
    "    (then (return (i32.const 0))))"
    "  (i32.eq (global.get $BINARY)"
    "    (i32.load8_u $guest (i32.add (local.get $data) (global.get $PAYLOAD)))))"
    // Where its address is; its size is behind that.
    "(func $body-of (param $event i32) (result i32)"
    "  (i32.add (i32.add (local.get $event) (global.get $DATA))"
    "    (i32.add (global.get $PAYLOAD) (global.get $BYTES))))",

    // Where its case is.
    "(func $case-of (param $event i32) (result i32)"
    "  (i32.add (i32.add (local.get $event) (global.get $DATA)) (global.get $PAYLOAD)))",

    // Makes of a list of bytes what it is to the guest; else puts the high bits that were handed over into the body of the event that is passed.
    "(func $join (param $event i32)"
    "  (local $low i32) (local $high i32) (local $left i32) (local $bits i64)"
    "  (local $i i32) (local $byte-at i32) (local $bits-at i32) (local $bit i32)"
    "  (global.set $packed (i32.const 0))"
    "  (if (i32.and"
    "      (i32.eq (i32.load8_u $guest (call $case-of (local.get $event))) (global.get $LIST))"
    "      (i32.load8_u $guest (i32.add (local.get $event) (global.get $DATA))))"
    "    (then (i32.store8 $guest (call $case-of (local.get $event)) (global.get $BINARY))))"
    "  (if (i32.eqz (global.get $given)) (then (return)))"
    "  (global.set $given (i32.const 0))"
    "  (if (i32.eqz (call $is-binary (local.get $event))) (then (return)))"
    "  (local.set $low (i32.load $guest (call $body-of (local.get $event))))"
    "  (local.set $left (i32.load $guest offset=4 (call $body-of (local.get $event))))"
    "  (local.set $high (i32.wrap_i64 (global.get $OWN)))"
    BLOCKS(
    "  (local.set $bits (i64.load $own (local.get $high)))"
    JOIN(0, 7) JOIN(8, 6) JOIN(16, 5) JOIN(24, 4) JOIN(32, 3) JOIN(40, 2) JOIN(48, 1))
    REST(
    "  (i32.store8 $guest (local.get $byte-at) (i32.or (i32.load8_u $guest (local.get $byte-at))"
    "    (i32.shl (i32.shr_u (i32.load8_u $own (local.get $bits-at)) (local.get $bit))"
    "      (i32.const 7))))")
    ")",

    // Whether any of the guest's bytes there has its high bit set.
    "(func $has-high (param $at i32) (param $left i32) (result i32)"
    "  (block $done (loop $more"
    "    (br_if $done (i32.lt_u (local.get $left) (i32.const 32)))"
    "    (if (i64.ne (i64.const 0) (i64.and " HIGH_BITS
    "      (i64.or (i64.or " SCAN(0) SCAN(8) ") (i64.or " SCAN(16) SCAN(24) "))))"
    "      (then (return (i32.const 1))))"
    "    (local.set $at (i32.add (local.get $at) (i32.const 32)))"
    "    (local.set $left (i32.sub (local.get $left) (i32.const 32)))"
    "    (br $more)))"
    "  (block $none (loop $bytes"
    "    (br_if $none (i32.eqz (local.get $left)))"
    "    (if (i32.ge_u (i32.load8_u $guest (local.get $at)) (i32.const 128))"
    "      (then (return (i32.const 1))))"
    "    (local.set $at (i32.add (local.get $at) (i32.const 1)))"
    "    (local.set $left (i32.sub (local.get $left) (i32.const 1)))"
    "    (br $bytes)))"
    "  (i32.const 0))",

    // Whether so many bytes from there on are in the guest's memory.
    "(func $is-inside (param $at i32) (param $size i32) (result i32)"
    "  (i64.le_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size)))"
    "    (i64.shl (i64.extend_i32_u (memory.size $guest)) (i64.const 16))))",

    // Takes the body apart, in the own memory.
    "(func $split (param $body i32) (param $size i32)"
    "  (local $low i32) (local $high i32) (local $left i32) (local $bits i64) (local $word i64)"
    "  (local $i i32) (local $byte-at i32) (local $bits-at i32) (local $bit i32) (local $end i64)"
    "  (local.set $end (i64.add (i64.add (global.get $OWN) (i64.extend_i32_u (local.get $size)))"
    "    (i64.mul (i64.const 8) (i64.div_u"
    "      (i64.add (i64.extend_i32_u (local.get $size)) (i64.const 55)) (i64.const 56)))))"
    "  (call $reserve (local.get $end))"
    "  (local.set $low (i32.wrap_i64 (global.get $OWN)))"
    "  (local.set $left (local.get $size))"
    "  (local.set $high (i32.add (local.get $low) (local.get $size)))"
    "  (memory.copy $own $guest (local.get $low) (local.get $body) (local.get $size))"
    BLOCKS(
    "  (local.set $bits (i64.const 0))"
    SPLIT(0, 7) SPLIT(8, 6) SPLIT(16, 5) SPLIT(24, 4) SPLIT(32, 3) SPLIT(40, 2) SPLIT(48, 1)
    "  (i64.store $own (local.get $high) (local.get $bits))")
    "  (if (local.get $left) (then (i64.store $own (local.get $high) (i64.const 0))))"
    REST(
    "  (i32.store8 $own (local.get $bits-at) (i32.or (i32.load8_u $own (local.get $bits-at))"
    "    (i32.shl (i32.shr_u (i32.load8_u $own (local.get $byte-at)) (i32.const 7))"
    "      (local.get $bit))))"
    "  (i32.store8 $own (local.get $byte-at)"
    "    (i32.and (i32.load8_u $own (local.get $byte-at)) (i32.const 127)))")
    "  (global.set $packed (i32.wrap_i64 (i64.sub (local.get $end) (global.get $OWN)))))",

    // Looks for a binary body in what a handler returned. One that is text is left. One that is short
    // becomes a list, and so does one that lies, for the engine to refuse; any other is taken apart,
    // and shown as empty. Until $restore.
    "(func $look (param $result i32)"
    "  (local $event i32) (local $body i32) (local $size i32)"
    "  (if (i32.eqz (call $is-inside (local.get $result) (global.get $RESULT))) (then (return)))"
    "  (if (i32.load8_u $guest (local.get $result)) (then (return)))"
    "  (local.set $result (i32.add (local.get $result) (global.get $OK)))"
    "  (if (i32.ne (i32.load8_u $guest (local.get $result)) (i32.const 1)) (then (return)))"
    "  (local.set $event (i32.add (local.get $result) (global.get $SOME)))"
    // The case of a list is not the guest's to choose: it becomes one that there is not.
    "  (if (i32.eq (i32.load8_u $guest (call $case-of (local.get $event))) (global.get $LIST)) (then"
    "    (i32.store8 $guest (call $case-of (local.get $event)) (i32.const 255))))"
    "  (if (i32.eqz (call $is-binary (local.get $event))) (then (return)))"
    "  (local.set $body (i32.load $guest (call $body-of (local.get $event))))"
    "  (local.set $size (i32.load $guest offset=4 (call $body-of (local.get $event))))"
    "  (if (call $is-inside (local.get $body) (local.get $size)) (then"
    "    (if (i32.and (i32.ne (local.get $size) (i32.const 0))"
    "        (i32.eqz (call $has-high (local.get $body) (local.get $size))))"
    "      (then (return)))"
    "    (if (i32.gt_u (local.get $size) (global.get $LIST_BYTES)) (then"
    "      (call $split (local.get $body) (local.get $size))"
    "      (global.set $size (local.get $size))"
    "      (global.set $size-at (i32.add (call $body-of (local.get $event)) (i32.const 4)))"
    "      (i32.store $guest (global.get $size-at) (i32.const 0))"
    "      (return)))))"
    "  (global.set $case-at (call $case-of (local.get $event)))"
    "  (i32.store8 $guest (global.get $case-at) (global.get $LIST)))"
    "(func $restore"
    "  (if (global.get $case-at) (then"
    "    (i32.store8 $guest (global.get $case-at) (global.get $BINARY))"
    "    (global.set $case-at (i32.const 0))))"
    "  (if (global.get $size-at) (then"
    "    (i32.store $guest (global.get $size-at) (global.get $size))"
    "    (global.set $size-at (i32.const 0)))))",
};
// clang-format on

static uint32_t offset_of(const struct weir_wit_type *type, uint32_t field) {
    return type->fields[field].guest_offset;
}

// Where things are in the guest's memory, by the tables.
static void put_offsets(FILE *text) {
    const struct weir_wit_type *event = &weir_wit_event, *handled = &weir_wit_handled;
    const struct weir_wit_field *data = event->fields;
    while (strcmp(data->name, "data") != 0) {
        data++;
    }
    const struct weir_wit_type *optional = data->type, *payload = optional->fields[1].type;
    uint32_t binary = 0;
    while (payload->fields[binary].type->kind != WEIR_WIT_BYTES) {
        binary++;
    }
    const struct weir_wit_type *maybe_event = handled->fields[0].type;
    const struct {
        const char *name;
        uint32_t value;
    } rows[] = {
        {"DATA", data->guest_offset},
        {"PAYLOAD", offset_of(optional, 1)},
        {"BINARY", binary},
        {"BYTES", offset_of(payload, binary)},
        {"LIST", payload->field_count},
        {"LIST_BYTES", WEIR_ANNEX_LIST_BYTES},
        {"OK", offset_of(handled, 0)},
        {"SOME", offset_of(maybe_event, 1)},
        {"RESULT", offset_of(handled, 0) + maybe_event->guest_size},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fprintf(text, "(global $%s i32 (i32.const %u))", rows[i].name, rows[i].value);
    }
    fprintf(text, "(global $OWN i64 (i64.const %d))", OWN_BYTES);
}

static void put_imports(FILE *text, const struct weir_outline *outline) {
    fputs("(import \"guest\" \"memory\" (memory $guest 0))", text);
    for (uint32_t i = 0; i < outline->handler_count; i++) {
        fprintf(text,
                "(import \"guest\" \"handle%u\""
                " (func $handle%u (param i32) (result i32)))",
                i, i);
        if (outline->handlers[i].has_post) {
            fprintf(text, "(import \"guest\" \"post%u\" (func $post%u (param i32)))", i, i);
        }
    }
}

static void put_handlers(FILE *text, const struct weir_outline *outline) {
    for (uint32_t i = 0; i < outline->handler_count; i++) {
        fprintf(text,
                "(func (export \"handle%u\") (param $event i32) (result i32)"
                "  (local $result i32)"
                "  (call $join (local.get $event))"
                "  (local.set $result (call $handle%u (local.get $event)))"
                "  (call $look (local.get $result))"
                "  (local.get $result))"
                "(func (export \"post%u\") (param $result i32)"
                "  (call $restore)",
                i, i, i);
        if (outline->handlers[i].has_post) {
            fprintf(text, "(call $post%u (local.get $result))", i);
        }
        fputs(")", text);
    }
}

weir_status weir_annex_text(const struct weir_outline *outline, char **ret_text, size_t *ret_size,
                            struct weir_error *err) {
    *ret_text = NULL;
    FILE *text = open_memstream(ret_text, ret_size);
    if (!text) {
        return weir_fail_no_memory(err, "a module's text");
    }
    fputs("(module ", text);
    put_imports(text, outline);
    put_offsets(text);
    for (size_t i = 0; i < sizeof common_text / sizeof common_text[0]; i++) {
        fputs(common_text[i], text);
    }
    put_handlers(text, outline);
    fputs(")", text);
    bool is_whole = !ferror(text);
    if (fclose(text) != 0 || !is_whole) {
        free(*ret_text);
        *ret_text = NULL;
        return weir_fail_no_memory(err, "a module's text");
    }
    return WEIR_OK;
}
