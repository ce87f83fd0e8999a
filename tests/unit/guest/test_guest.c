// SPDX-License-Identifier: Apache-2.0
//
// Guests: what is loaded and what is refused, what a handler's answer becomes, what a main may ask,
// and that a guest which misbehaves is ended at its bound, with the bound's name, while its
// neighbours notice nothing.
#include "guest/guest.h"

#include "unit/guest/small_guest.h"
#include "unit/test.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define HANDLE_EVENT "weir:reactive/event-handler@0.1.0#handle-event"

// A module with an allocator that hands out one block after the other, and whatever else is said.
#define MODULE(rest)                                                                            \
    "(module " rest " (memory (export \"memory\") 2) (global $next (mut i32) (i32.const 8192))" \
    " (func $realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)"            \
    "   (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))" \
    "   (global.get $next)"                                                                     \
    "   (global.set $next (i32.add (global.get $next) (local.get 3)))))"
// The body of a handler that returns what stands at 1024: zeros, which are ok(none).
#define HANDLER(body)                                                                          \
    "(func (export \"" HANDLE_EVENT "\") (param $event i32) (result i32) " body " (i32.const " \
    "1024))"

// ---- an event, and what a handler made of it

static struct weir_event_fields event_of(const char *id, const char *body) {
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = WEIR_STR("/test"),
        .id = weir_str_of(id),
        .data = {true, {WEIR_PAYLOAD_TEXT, weir_str_of(body)}},
    };
}

// The verdict on an event with this body; what it derived is given back here.
static struct weir_verdict verdict_on(struct weir_guest *guest, const char *body) {
    const struct weir_event_fields event = event_of("1", body);
    struct weir_call call = {0};
    struct weir_verdict verdict;
    memset(&verdict, 0xAA, sizeof verdict);
    weir_guest_handle(guest, 0, &event, &call, &verdict);
    weir_event_unref(verdict.derived);
    return verdict;
}

static void assert_handled(struct weir_guest *guest, const char *body) {
    struct weir_verdict verdict = verdict_on(guest, body);
    if (verdict.outcome != WEIR_HANDLED) {
        fail_msg("\"%s\": %s", body, verdict.error.message);
    }
}

static void assert_broken(struct weir_guest *guest, const char *body, weir_status status,
                          const char *part) {
    struct weir_verdict verdict = verdict_on(guest, body);
    assert_int_equal(verdict.outcome, WEIR_BROKEN);
    assert_null(verdict.derived);
    assert_message_has(&verdict.error, part);
    assert_int_equal(verdict.error.status, status);
}

// ---- loading

static weir_status compile(const char *text, const struct weir_guest_args *args,
                           struct weir_guest **ret_guest, struct weir_error *err) {
    struct weir_str wasm = small_guest_wasm(text);
    weir_status status = weir_guest_compile(small_guest_engine(), args, wasm, ret_guest, err);
    free((char *)(uintptr_t)wasm.data);
    return status;
}

static void what_cannot_be_a_guest_is_refused_in_words(void **state) {
    (void)state;
    static const struct {
        const char *text;
        weir_status status;
        const char *part;
    } rows[] = {
        {"(module)", WEIR_INVALID, "memory"},
        {"(module (memory (export \"memory\") 1))", WEIR_INVALID, "neither a main"},
        {"(module (func (export \"memory\")) " HANDLER("") ")", WEIR_INVALID, "memory"},
        {"(module (memory (export \"memory\") 1) " HANDLER("") ")", WEIR_INVALID, "cabi_realloc"},
        {"(module (memory (export \"memory\") 1) (func (export \"cabi_realloc\")) " HANDLER("") ")",
         WEIR_INVALID, "cabi_realloc as () -> ()"},
        {"(module (memory (export \"memory\") 129) " HANDLER("") ")", WEIR_LIMIT, "bounds.memory"},
        {MODULE("(import \"env\" \"frobnicate\" (func)) " HANDLER("")), WEIR_INVALID,
         "imports \"frobnicate\" from \"env\""},
        {MODULE("(import \"weir:reactive/resources@0.1.0\" \"close\" (func)) " HANDLER("")),
         WEIR_INVALID, "imports \"close\""},
        {MODULE(
             "(import \"weir:reactive/resources@0.1.0\" \"open\" (func (param i64))) " HANDLER("")),
         WEIR_INVALID, "open"},
        {MODULE("(import \"wasi_snapshot_preview1\" \"fly\" (func)) " HANDLER("")), WEIR_INVALID,
         "fly"},
        // What the engine's C API cannot name must not come as far as that.
        {MODULE("(func (export \"on-vector\") (param v128)) " HANDLER("")), WEIR_INVALID, "SIMD"},
        {MODULE("(func (export \"run\") (param i32)) " HANDLER("")), WEIR_INVALID,
         "run as (i32) -> ()"},
        {MODULE("(func (export \"_initialize\") (result i32) (i32.const 0)) " HANDLER("")),
         WEIR_INVALID, "_initialize"},
        {MODULE("(func (export \"cabi_post_" HANDLE_EVENT "\")) " HANDLER("")), WEIR_INVALID,
         "cabi_post_"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("odd");
        struct weir_guest *guest = NULL;
        struct weir_error err = {.message = ""};
        weir_status status = compile(rows[i].text, &args, &guest, &err);
        if (status != rows[i].status) {
            fail_msg("row %zu: %s, \"%s\"", i, weir_status_name(status), err.message);
        }
        assert_null(guest);
        assert_message_has(&err, "guest odd: ");
        assert_message_has(&err, rows[i].part);
    }
}

static weir_status compile_bytes(const char *bytes, size_t size, struct weir_error *err) {
    struct weir_guest_args args = small_guest_args("odd");
    struct weir_guest *guest;
    weir_status status = weir_guest_compile(small_guest_engine(), &args,
                                            (struct weir_str){bytes, size}, &guest, err);
    weir_guest_unref(guest);
    return status;
}

static void bytes_that_are_no_module_are_refused(void **state) {
    (void)state;
    struct weir_error err;
    static const char component[] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
    assert_int_equal(compile_bytes(component, sizeof component, &err), WEIR_INVALID);
    assert_message_has(&err, "neither a main (run) nor a handler");
    assert_int_equal(compile_bytes("", 0, &err), WEIR_INVALID);
    assert_int_equal(compile_bytes("#!/bin/sh\n", 10, &err), WEIR_INVALID);
    struct weir_str whole = small_guest_wasm(MODULE(HANDLER("")));
    assert_int_equal(compile_bytes(whole.data, whole.size, &err), WEIR_OK);
    // Cut off at any byte. Without its last section, the functions' names, it is whole, too.
    size_t taken = 0;
    for (size_t size = 0; size < whole.size; size++) {
        weir_status status = compile_bytes(whole.data, size, &err);
        assert_true(status == WEIR_INVALID || status == WEIR_OK);
        taken += status == WEIR_OK;
    }
    assert_true(taken <= 1);
    free((char *)(uintptr_t)whole.data);
}

static void a_module_has_a_largest_size(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("odd");
    struct weir_str wasm = small_guest_wasm(MODULE(HANDLER("")));
    struct weir_guest *guest;
    struct weir_error err;
    args.module_bytes = wasm.size;
    assert_int_equal(weir_guest_compile(small_guest_engine(), &args, wasm, &guest, &err), WEIR_OK);
    weir_guest_unref(guest);
    args.module_bytes--;
    assert_int_equal(weir_guest_compile(small_guest_engine(), &args, wasm, &guest, &err),
                     WEIR_LIMIT);
    assert_message_has(&err, "bounds.module");
    free((char *)(uintptr_t)wasm.data);
}

static void a_file_is_loaded_and_nothing_else(void **state) {
    (void)state;
    char folder[] = "/tmp/weir-test-XXXXXX", file[64], fifo[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/guest.wasm", folder);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    struct weir_str wasm = small_guest_wasm(MODULE(HANDLER("")));
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(wasm.data, 1, wasm.size, out), wasm.size);
    fclose(out);
    assert_int_equal(mkfifo(fifo, 0600), 0);

    struct weir_engine *engine = small_guest_engine();
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest;
    struct weir_error err;
    assert_int_equal(weir_guest_load(engine, &args, file, &guest, &err), WEIR_OK);
    assert_string_equal(weir_guest_name(guest), "hello");
    assert_true(weir_guest_is_of_file(guest, file));
    assert_false(weir_guest_is_of_file(guest, "/nonesuch.wasm"));
    out = fopen(file, "a");
    assert_non_null(out);
    assert_int_equal(fputc(0, out), 0);
    fclose(out);
    assert_false(weir_guest_is_of_file(guest, file));
    weir_guest_unref(guest);
    assert_int_equal(weir_guest_load(engine, &args, "/nonesuch.wasm", &guest, &err),
                     WEIR_NOT_FOUND);
    assert_null(guest);
    assert_message_has(&err, "guest hello: /nonesuch.wasm: ");
    assert_int_equal(weir_guest_load(engine, &args, folder, &guest, &err), WEIR_INVALID);
    assert_message_has(&err, "not a regular file");
    assert_int_equal(weir_guest_load(engine, &args, fifo, &guest, &err), WEIR_INVALID);
    args.module_bytes = wasm.size - 1;
    assert_int_equal(weir_guest_load(engine, &args, file, &guest, &err), WEIR_LIMIT);

    unlink(file);
    unlink(fifo);
    rmdir(folder);
    free((char *)(uintptr_t)wasm.data);
}

static void the_hash_is_of_the_files_bytes(void **state) {
    (void)state;
    static const char bytes[] = "\0asm\1\0\0\0" // a memory, cabi_realloc and the handler on-x
                                "\1\16\2\140\4\177\177\177\177\1\177\140\1\177\1\177"
                                "\3\3\2\0\1\5\3\1\0\1"
                                "\7\40\3\6memory\2\0\14cabi_realloc\0\0\4on-x\0\1"
                                "\12\11\2\3\0\0\13\3\0\0\13";
    struct weir_str wasm = {bytes, sizeof bytes - 1};
    struct weir_guest_args args = small_guest_args("a");
    struct weir_guest *guest, *other;
    assert_int_equal(weir_guest_compile(small_guest_engine(), &args, wasm, &guest, NULL), WEIR_OK);
    // What xxh128sum prints of such a file.
    assert_string_equal(weir_guest_hash(guest), "xxh128:6e79c9bdcad7d895cf7431a3d324fed8");
    assert_int_equal(strlen(weir_guest_hash(guest)) + 1, WEIR_GUEST_HASH_BYTES);
    other = small_guest_new(&args);
    assert_string_not_equal(weir_guest_hash(guest), weir_guest_hash(other));
    weir_guest_unref(guest);
    weir_guest_unref(other);
}

// ---- handlers by name

static void handlers_are_found_by_the_names_that_the_wit_gives(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest = small_guest_new(&args);
    uint32_t handler;
    struct weir_error err;
    assert_int_equal(weir_guest_handler_count(guest), 2);
    assert_string_equal(weir_guest_handler_name(guest, 0), "handle-event");
    assert_string_equal(weir_guest_handler_name(guest, 1), "on-order");
    assert_int_equal(weir_guest_handler_find(guest, WEIR_STR("on-order"), &handler, &err), WEIR_OK);
    assert_int_equal(handler, 1);
    assert_int_equal(weir_guest_handler_find(guest, WEIR_STR(HANDLE_EVENT), &handler, &err),
                     WEIR_OK);
    assert_int_equal(handler, 0);

    static const char *const unknown[] = {"",
                                          "sdfsdf",
                                          "cabi_realloc",
                                          "memory",
                                          "On-Order",
                                          "on-order\n",
                                          ("cabi_post_" HANDLE_EVENT)};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        assert_int_equal(weir_guest_handler_find(guest, weir_str_of(unknown[i]), &handler, &err),
                         WEIR_NOT_FOUND);
        assert_message_has(&err, "its handlers are: handle-event, on-order");
    }
    assert_int_equal(weir_guest_handler_find(guest, WEIR_STR("on-bad"), &handler, &err),
                     WEIR_INVALID);
    assert_message_has(&err, "exports \"on-bad\" as (i64) -> ()");
    assert_message_has(&err, "handle-event, on-order");
    weir_guest_unref(guest);
}

static void many_handlers_are_listed_as_far_as_there_is_room(void **state) {
    (void)state;
    static char text[64 * 1024];
    for (int count = WEIR_HANDLERS_MAX; count <= WEIR_HANDLERS_MAX + 1; count++) {
        size_t used = (size_t)snprintf(text, sizeof text, "%s", "(module ");
        for (int i = 0; i < count; i++) {
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "(func (export \"on-%d\") (param i32) (result i32)"
                                     " (i32.const 0))",
                                     i);
        }
        snprintf(text + used, sizeof text - used,
                 "(memory (export \"memory\") 1) (func (export \"cabi_realloc\")"
                 " (param i32 i32 i32 i32) (result i32) unreachable))");
        struct weir_guest_args args = small_guest_args("many");
        struct weir_guest *guest;
        struct weir_error err;
        weir_status status = compile(text, &args, &guest, &err);
        assert_int_equal(status, count == WEIR_HANDLERS_MAX ? WEIR_OK : WEIR_LIMIT);
        if (status == WEIR_OK) {
            uint32_t handler;
            assert_int_equal(weir_guest_handler_find(guest, WEIR_STR("on-255"), &handler, &err),
                             WEIR_OK);
            assert_int_equal(weir_guest_handler_find(guest, WEIR_STR("x"), &handler, &err),
                             WEIR_NOT_FOUND);
            assert_message_has(&err, "on-0, on-1");
            assert_string_equal(err.message + strlen(err.message) - 3, "...");
            weir_guest_unref(guest);
        }
    }
}

// Whatever else is called handle-event, `listen` means weir's own.
static void the_default_handler_is_the_one_of_weirs_interface(void **state) {
    (void)state;
    static const char other[] =
        "(func (export \"a:b/c@1.0.0#handle-event\") (param i32) (result i32)"
        " unreachable)";
    char text[2048];
    for (int is_first = 0; is_first < 2; is_first++) {
        snprintf(text, sizeof text, "(module %s %s %s %s", is_first ? other : "", HANDLER(""),
                 is_first ? "" : other,
                 "(memory (export \"memory\") 1) (func (export \"cabi_realloc\")"
                 " (param i32 i32 i32 i32) (result i32) (i32.const 8192)))");
        struct weir_guest_args args = small_guest_args("two");
        struct weir_guest *guest = small_guest_of(&args, text);
        uint32_t own, by_default;
        assert_int_equal(weir_guest_handler_find(guest, WEIR_STR(HANDLE_EVENT), &own, NULL),
                         WEIR_OK);
        assert_int_equal(
            weir_guest_handler_find(guest, WEIR_STR(WEIR_HANDLER_DEFAULT), &by_default, NULL),
            WEIR_OK);
        assert_int_equal(own, by_default);
        assert_int_equal(
            weir_guest_handler_find(guest, WEIR_STR("a:b/c@1.0.0#handle-event"), &own, NULL),
            WEIR_OK);
        assert_int_not_equal(own, by_default);
        weir_guest_unref(guest);
    }
}

#define HANDLE_EVENT_OR_REJECT "weir:reactive/event-handler-or-reject@0.1.0#handle-event-or-reject"
// A handler of any name that answers err(retry("no")).
#define RETRY(name)                                                                            \
    "(func (export \"" name "\") (param $event i32) (result i32)"                              \
    " (i32.store8 (i32.const 1024) (i32.const 1))"                                             \
    " (i32.store (i32.const 1032) (i32.const 256)) (i32.store (i32.const 1036) (i32.const 2))" \
    " (i32.const 1024))"
#define TEXT_NO "(data (i32.const 256) \"no\")"

static void the_default_handler_may_be_the_one_that_rejects(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest =
        small_guest_of(&args, MODULE(TEXT_NO RETRY("on-order") RETRY(HANDLE_EVENT_OR_REJECT)));
    uint32_t handler;
    struct weir_error err;
    static const char *const names[] = {"handle-event", "handle-event-or-reject",
                                        HANDLE_EVENT_OR_REJECT};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(weir_guest_handler_find(guest, weir_str_of(names[i]), &handler, NULL),
                         WEIR_OK);
        assert_string_equal(weir_guest_handler_name(guest, handler), "handle-event-or-reject");
    }
    // No other name stands for another.
    static const char *const unknown[] = {HANDLE_EVENT, "on-order-or-reject", "-or-reject"};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        assert_int_equal(weir_guest_handler_find(guest, weir_str_of(unknown[i]), &handler, &err),
                         WEIR_NOT_FOUND);
        assert_message_has(&err, "its handlers are: on-order, handle-event-or-reject");
    }
    weir_guest_unref(guest);

    // Where there are both, handle-event is itself.
    guest = small_guest_of(&args, MODULE(TEXT_NO RETRY(HANDLE_EVENT_OR_REJECT) HANDLER("")));
    assert_int_equal(weir_guest_handler_find(guest, WEIR_STR("handle-event"), &handler, NULL),
                     WEIR_OK);
    assert_string_equal(weir_guest_handler_name(guest, handler), "handle-event");
    weir_guest_unref(guest);

    // A handle-event of another type is told of, and nothing taken in its place.
    guest = small_guest_of(
        &args, MODULE(TEXT_NO RETRY(HANDLE_EVENT_OR_REJECT) "(func (export \"handle-event\"))"));
    assert_int_equal(weir_guest_handler_find(guest, WEIR_STR("handle-event"), &handler, &err),
                     WEIR_INVALID);
    assert_message_has(&err, "exports \"handle-event\" as () -> ()");
    weir_guest_unref(guest);
}

// ---- what a handler answers

static void each_answer_is_a_verdict(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest = small_guest_new(&args);
    assert_handled(guest, "");
    assert_handled(guest, "o");
    struct weir_verdict verdict = verdict_on(guest, "e");
    assert_int_equal(verdict.outcome, WEIR_FAILED);
    assert_string_equal(verdict.error.message, "no");
    assert_null(verdict.derived);
    assert_broken(guest, "t", WEIR_TRAPPED, "unreachable");
    assert_handled(guest, "o");
    weir_guest_unref(guest);
}

static void a_derived_event_is_the_hosts_own(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest = small_guest_new(&args);
    struct weir_event_fields event = event_of("17", "s and more");
    event.subject = (struct weir_optional_str){true, WEIR_STR("orders/1")};
    struct weir_call call = {0};
    struct weir_verdict verdict;
    weir_guest_handle(guest, 0, &event, &call, &verdict);
    assert_int_equal(verdict.outcome, WEIR_HANDLED);
    assert_non_null(verdict.derived);
    weir_guest_unref(guest);
    assert_str_equal(verdict.derived->fields.id, "17");
    assert_str_equal(verdict.derived->fields.data.value.bytes, "s and more");
    assert_str_equal(verdict.derived->key, "orders/1");
    weir_event_unref(verdict.derived);
}

static void the_name_of_a_handler_says_what_its_error_is(void **state) {
    (void)state;
    // The same bytes, err with 0, 256 and 2: read as a text they are one of 256 bytes at 0, and as
    // a failure retry("no").
    static const struct {
        const char *text;
        bool is_failure;
    } rows[] = {
        {MODULE(TEXT_NO RETRY(HANDLE_EVENT)), false},
        {MODULE(TEXT_NO RETRY(HANDLE_EVENT_OR_REJECT)), true},
        {MODULE(TEXT_NO RETRY("on-order")), false},
        {MODULE(TEXT_NO RETRY("on-order-or-reject")), true},
        {MODULE(TEXT_NO RETRY("on-or-reject-order")), false},
        {MODULE(TEXT_NO RETRY("or-reject")), false},
        {MODULE(TEXT_NO RETRY("a:b/orders@1.0.0#on-order-or-reject")), true},
        {MODULE(TEXT_NO RETRY("a:b/orders-or-reject@1.0.0#on-order")), false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("odd");
        struct weir_guest *guest = small_guest_of(&args, rows[i].text);
        struct weir_verdict verdict = verdict_on(guest, "");
        assert_int_equal(verdict.outcome, WEIR_FAILED);
        assert_string_equal(verdict.error.message, rows[i].is_failure ? "no" : "");
        weir_guest_unref(guest);
    }
}

// A handler-or-reject whose result is zeros, and then what is said.
#define OR_REJECT(body)                                                                          \
    MODULE(TEXT_NO "(func (export \"on-order-or-reject\") (param $event i32) (result i32) " body \
                   " (i32.const 1024))")
#define BYTE(at, value) "(i32.store8 (i32.const " at ") (i32.const " value "))"
#define WORD(at, value) "(i32.store (i32.const " at ") (i32.const " value "))"
#define FAILURE(case)   BYTE("1024", "1") BYTE("1028", case) WORD("1032", "256") WORD("1036", "2")

static void a_handler_may_retry_or_reject(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum weir_outcome outcome;
        const char *message;
    } rows[] = {
        {OR_REJECT(""), WEIR_HANDLED, ""},
        {OR_REJECT("(drop (local.get $event))"), WEIR_HANDLED, ""},
        {OR_REJECT(FAILURE("0")), WEIR_FAILED, "no"},
        {OR_REJECT(FAILURE("1")), WEIR_REJECTED, "no"},
        // A reason may be empty, wherever it is said to be.
        {OR_REJECT(FAILURE("1") WORD("1036", "0")), WEIR_REJECTED, ""},
        // What lies between the discriminants is nobody's.
        {OR_REJECT(WORD("1024", "0xAAAAAA01") WORD("1028", "0xBBBBBB01") WORD("1032", "256")
                       WORD("1036", "2")),
         WEIR_REJECTED, "no"},
        {OR_REJECT(FAILURE("2")), WEIR_BROKEN, "its result: the discriminant at 0x404 is 2"},
        {OR_REJECT(FAILURE("255")), WEIR_BROKEN, "there are 2 cases"},
        {OR_REJECT(BYTE("1024", "2")), WEIR_BROKEN, "the discriminant at 0x400 is 2"},
        {OR_REJECT(FAILURE("1") WORD("1032", "-1")), WEIR_BROKEN,
         "its result: the string at 0xffffffff"},
        {OR_REJECT(FAILURE("1") WORD("1036", "-1")), WEIR_BROKEN, "outside of the memory"},
        {OR_REJECT(FAILURE("0") WORD("1032", "0x20000")), WEIR_BROKEN, "outside of the memory"},
        {OR_REJECT(FAILURE("1") BYTE("257", "0xFF")), WEIR_BROKEN,
         "its result: err: the string is not UTF-8"},
        {OR_REJECT(FAILURE("0") BYTE("256", "0xC3")), WEIR_BROKEN, "is not UTF-8"},
        {OR_REJECT("(return (i32.const -108))"), WEIR_BROKEN, "its result: the result at"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("odd");
        struct weir_guest *guest = small_guest_of(&args, rows[i].text);
        struct weir_verdict verdict = verdict_on(guest, "");
        if (verdict.outcome != rows[i].outcome) {
            fail_msg("row %zu: outcome %d, \"%s\"", i, (int)verdict.outcome, verdict.error.message);
        }
        assert_null(verdict.derived);
        if (verdict.outcome == WEIR_BROKEN) {
            assert_message_has(&verdict.error, rows[i].message);
            assert_int_equal(verdict.error.status, WEIR_TRAPPED);
        } else if (verdict.outcome != WEIR_HANDLED) {
            assert_string_equal(verdict.error.message, rows[i].message);
        }
        weir_guest_unref(guest);
    }
}

static void a_reason_has_the_bounds_of_an_event(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("odd");
    args.event_bytes = 1024; // the event itself is small
    struct weir_guest *guest = small_guest_of(&args, OR_REJECT(FAILURE("1") WORD("1036", "1025")));
    assert_broken(guest, "", WEIR_LIMIT, "bounds.event");
    weir_guest_unref(guest);
    // One that is allowed and longer than a message is cut, and still a reason to reject.
    guest = small_guest_of(&args, OR_REJECT("(memory.fill (i32.const 2048) (i32.const 97)"
                                            " (i32.const 1024))" FAILURE("1") WORD("1032", "2048")
                                                WORD("1036", "1024")));
    struct weir_verdict verdict = verdict_on(guest, "");
    assert_int_equal(verdict.outcome, WEIR_REJECTED);
    assert_message_has(&verdict.error, "aaa...");
    weir_guest_unref(guest);
}

// A handler that rejects and is over a bound, or whose cabi_post_ traps, is broken.
static void a_bound_outweighs_a_rejection(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("odd");
    struct weir_guest *guest = small_guest_of(
        &args,
        MODULE(TEXT_NO
               "(func (export \"on-order-or-reject\") (param $event i32) (result i32) " FAILURE(
                   "1") " (i32.const 1024))"
                        "(func (export \"cabi_post_on-order-or-reject\") (param i32)"
                        " unreachable)"));
    assert_broken(guest, "", WEIR_TRAPPED, "cabi_post_on-order-or-reject");
    weir_guest_unref(guest);
    args.time_ns = 50 * WEIR_NS_PER_MS;
    guest = small_guest_of(&args, OR_REJECT(FAILURE("1") "(loop $ever (br $ever))"));
    assert_broken(guest, "", WEIR_LIMIT, "it ran longer than bounds.time allows (50 ms)");
    weir_guest_unref(guest);
}

// ok(some) of an event whose specversion and id are said here.
#define DERIVED(specversion, id_size)                                                             \
    MODULE("(data (i32.const 256) \"1.0abc\")" HANDLER(                                           \
        "(i32.store8 (i32.const 1028) (i32.const 1))"                                             \
        "(i32.store (i32.const 1032) (i32.const " specversion                                     \
        ")) (i32.store (i32.const 1036) (i32.const 3))"                                           \
        "(i32.store (i32.const 1040) (i32.const 259)) (i32.store (i32.const 1044) (i32.const 3))" \
        "(i32.store (i32.const 1048) (i32.const 259)) (i32.store (i32.const 1052) (i32.const 3))" \
        "(i32.store (i32.const 1056) (i32.const 259)) (i32.store (i32.const 1060) "               \
        "(i32.const " id_size "))"))

static void a_result_that_breaks_the_contract_breaks_the_instance(void **state) {
    (void)state;
    static const struct {
        const char *text;
        weir_status status;
        const char *part;
    } rows[] = {
        {DERIVED("259", "3"), WEIR_INVALID, "its result: the event's specversion is \"abc\""},
        {DERIVED("256", "0"), WEIR_INVALID, "its result: the event's id is empty"},
        {DERIVED("256", "-1"), WEIR_TRAPPED, "id: the string at"},
        {MODULE(HANDLER("(return (i32.const -4))")), WEIR_TRAPPED,
         "its result: the result at 0xfffffffc"},
        {MODULE(HANDLER("(return (i32.const 1026))")), WEIR_TRAPPED, "not aligned"},
        {MODULE(HANDLER("(i32.store8 (i32.const 1024) (i32.const 9))")), WEIR_TRAPPED,
         "discriminant"},
        {MODULE("(func (export \"cabi_post_" HANDLE_EVENT
                "\") (param i32) unreachable)" HANDLER("")),
         WEIR_TRAPPED, "cabi_post_"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("odd");
        struct weir_guest *guest = small_guest_of(&args, rows[i].text);
        assert_broken(guest, "", rows[i].status, rows[i].part);
        weir_guest_unref(guest);
    }
}

// ---- instances

// Answers err with the number of its call in this instance; traps where the body begins with "t".
#define COUNTER                                                                                    \
    MODULE("(global $calls (mut i32) (i32.const 0))" HANDLER(                                      \
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))"                          \
        "(if (i32.eq (i32.load8_u (i32.load offset=40 (local.get $event))) (i32.const 116))"       \
        "  (then unreachable))"                                                                    \
        "(i32.store8 (i32.const 256) (i32.add (i32.const 48) (global.get $calls)))"                \
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 256))" \
        "(i32.store (i32.const 1032) (i32.const 1))"))

static void a_fresh_instance_knows_nothing_of_the_last_event(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("count");
    struct weir_guest *guest = small_guest_of(&args, COUNTER);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(verdict_on(guest, "x").error.message, "1");
    }
    weir_guest_unref(guest);
}

static void a_reused_instance_goes_on_until_it_breaks(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("count");
    args.instances = WEIR_INSTANCES_REUSED;
    struct weir_guest *guest = small_guest_of(&args, COUNTER);
    assert_string_equal(verdict_on(guest, "x").error.message, "1");
    assert_string_equal(verdict_on(guest, "x").error.message, "2");
    assert_string_equal(verdict_on(guest, "x").error.message, "3");
    assert_broken(guest, "t", WEIR_TRAPPED, "unreachable");
    assert_string_equal(verdict_on(guest, "x").error.message, "1");
    assert_string_equal(verdict_on(guest, "x").error.message, "2");
    weir_guest_unref(guest);

    args.idle_max = 0; // none is kept
    guest = small_guest_of(&args, COUNTER);
    assert_string_equal(verdict_on(guest, "x").error.message, "1");
    assert_string_equal(verdict_on(guest, "x").error.message, "1");
    weir_guest_unref(guest);
}

static const enum weir_guest_instances both_instances[] = {WEIR_INSTANCES_FRESH,
                                                           WEIR_INSTANCES_REUSED};

// An event with that many extensions, handed to the small guest, which returns it.
static void assert_returned(struct weir_guest *guest, size_t extension_count) {
    static char names[WEIR_EXTENSIONS_MAX][8];
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    for (size_t i = 0; i < extension_count; i++) {
        snprintf(names[i], sizeof names[i], "x%zu", i);
        extensions[i] = (struct weir_attribute){weir_str_of(names[i]), weir_str_of(names[i])};
    }
    struct weir_event_fields event = event_of("1", "s");
    event.extensions = (struct weir_attributes){extensions, extension_count};
    struct weir_call call = {0};
    struct weir_verdict verdict;
    weir_guest_handle(guest, 0, &event, &call, &verdict);
    assert_int_equal(verdict.outcome, WEIR_HANDLED);
    assert_non_null(verdict.derived);
    const struct weir_event_fields *derived = &verdict.derived->fields;
    assert_str_equal(derived->id, "1");
    assert_str_equal(derived->data.value.bytes, "s");
    assert_int_equal(derived->extensions.count, extension_count);
    for (size_t i = 0; i < extension_count; i++) {
        assert_str_equal(derived->extensions.items[i].name, names[i]);
        assert_str_equal(derived->extensions.items[i].value, names[i]);
    }
    weir_event_unref(verdict.derived);
}

// A kept instance is asked for its blocks in batches, of which the last may be full or not.
static void an_event_of_any_size_reaches_every_instance_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(both_instances); i++) {
        struct weir_guest_args args = small_guest_args("hello");
        args.instances = both_instances[i];
        struct weir_guest *guest = small_guest_new(&args);
        for (size_t count = 0; count <= WEIR_EXTENSIONS_MAX; count++) {
            assert_returned(guest, count);
        }
        weir_guest_unref(guest);
    }
}

// Its first blocks are sound, and a later one is nonsense or a trap.
static void an_allocator_is_judged_by_each_of_its_answers(void **state) {
    (void)state;
    static const struct {
        const char *fourth, *part;
    } rows[] = {
        {"unreachable", "cabi_realloc: "},
        {"(i32.const -8)", "cabi_realloc answered 0xfffffff8 for "},
    };
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        char text[2048];
        snprintf(text, sizeof text,
                 "(module (memory (export \"memory\") 1) (global $calls (mut i32) (i32.const 0))"
                 " (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)"
                 "  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))"
                 "  (if (result i32) (i32.eq (global.get $calls) (i32.const 4))"
                 "   (then %s) (else (i32.const 8192))))" HANDLER("") ")",
                 rows[row].fourth);
        for (size_t i = 0; i < COUNT_OF(both_instances); i++) {
            struct weir_guest_args args = small_guest_args("fourth");
            args.instances = both_instances[i];
            struct weir_guest *guest = small_guest_of(&args, text);
            assert_broken(guest, "x", WEIR_TRAPPED, rows[row].part);
            weir_guest_unref(guest);
        }
    }
}

enum { THREADS = 4, CALLS = 200 };

static void *call_often(void *argument) {
    struct weir_guest *guest = argument;
    static const char *const bodies[] = {"o", "e", "t", "s"};
    static const enum weir_outcome outcomes[] = {WEIR_HANDLED, WEIR_FAILED, WEIR_BROKEN,
                                                 WEIR_HANDLED};
    for (size_t i = 0; i < CALLS; i++) {
        REQUIRE(verdict_on(guest, bodies[i % 4]).outcome == outcomes[i % 4]);
    }
    return NULL;
}

static void threads_call_one_guest_side_by_side(void **state) {
    (void)state;
    for (size_t mode = 0; mode < COUNT_OF(both_instances); mode++) {
        struct weir_guest_args args = small_guest_args("hello");
        args.instances = both_instances[mode];
        args.idle_max = 2;
        struct weir_guest *guest = small_guest_new(&args);
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, call_often, guest), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        weir_guest_unref(guest);
    }
}

// ---- sharing

// Where a subscription's guest stands for its callers, as a swap needs it.
struct place {
    pthread_mutex_t lock;
    struct weir_guest *guest; // under lock; one reference
    atomic_bool is_over;
    atomic_size_t calls;
};

static struct weir_guest *guest_in(struct place *place) {
    pthread_mutex_lock(&place->lock);
    struct weir_guest *guest = weir_guest_ref(place->guest);
    pthread_mutex_unlock(&place->lock);
    return guest;
}

static void *call_what_is_in_place(void *argument) {
    struct place *place = argument;
    while (!atomic_load(&place->is_over)) {
        struct weir_guest *guest = guest_in(place);
        REQUIRE(verdict_on(guest, "o").outcome == WEIR_HANDLED);
        weir_guest_unref(guest);
        atomic_fetch_add(&place->calls, 1);
    }
    return NULL;
}

static void a_guest_is_swapped_while_it_is_called(void **state) {
    (void)state;
    enum { SWAPS = 20 };
    for (int is_reused = 0; is_reused < 2; is_reused++) {
        struct weir_guest_args args = small_guest_args("hello");
        args.instances = is_reused ? WEIR_INSTANCES_REUSED : WEIR_INSTANCES_FRESH;
        struct place place = {.lock = PTHREAD_MUTEX_INITIALIZER, .guest = small_guest_new(&args)};
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, call_what_is_in_place, &place), 0);
        }
        for (int i = 0; i < SWAPS; i++) {
            size_t before = atomic_load(&place.calls);
            struct weir_guest *next = small_guest_new(&args);
            pthread_mutex_lock(&place.lock);
            struct weir_guest *old = place.guest;
            place.guest = next;
            pthread_mutex_unlock(&place.lock);
            weir_guest_unref(old);
            WAIT_UNTIL(atomic_load(&place.calls) > before + THREADS);
        }
        atomic_store(&place.is_over, true);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        weir_guest_unref(place.guest);
    }
}

static void a_guest_lasts_as_long_as_its_last_reference(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest = small_guest_new(&args);
    assert_ptr_equal(weir_guest_ref(guest), guest);
    weir_guest_unref(guest);
    assert_handled(guest, "o");
    weir_guest_unref(guest);
    assert_null(weir_guest_ref(NULL));
    weir_guest_unref(NULL);
}

// ---- bounds

static void time_is_bounded_wherever_a_guest_loops(void **state) {
    (void)state;
    static const char *const rows[] = {
        MODULE(HANDLER("(loop $ever (br $ever))")),
        MODULE("(func $start (loop $ever (br $ever))) (start $start)" HANDLER("")),
        MODULE("(func (export \"_initialize\") (loop $ever (br $ever)))" HANDLER("")),
        MODULE("(func (export \"cabi_post_" HANDLE_EVENT
               "\") (param i32) (loop $ever (br $ever)))" HANDLER("")),
        "(module (memory (export \"memory\") 1) (func (export \"cabi_realloc\")"
        " (param i32 i32 i32 i32) (result i32) (loop $ever (br $ever)) unreachable) " HANDLER(
            "") ")",
        MODULE("(func $deep (param i32) (result i32) (call $deep (call $deep (i32.const 1))))"
               "(table 1 funcref)" HANDLER("(loop $ever (memory.fill (i32.const 4096) (i32.const 0)"
                                           " (i32.const 65536)) (br $ever))")),
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("loop");
        args.time_ns = 50 * WEIR_NS_PER_MS;
        args.instances = i % 2 ? WEIR_INSTANCES_FRESH : WEIR_INSTANCES_REUSED;
        struct weir_guest *guest = small_guest_of(&args, rows[i]);
        int64_t begin_ns = weir_clock_monotonic_ns();
        assert_broken(guest, "", WEIR_LIMIT, "it ran longer than bounds.time allows (50 ms)");
        assert_true(weir_clock_monotonic_ns() - begin_ns >= args.time_ns);
        weir_guest_unref(guest);
    }
}

// The clock that cuts is coarse, but never early.
static void a_short_bound_leaves_a_call_its_time(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("loop");
    args.time_ns = WEIR_NS_PER_MS;
    struct weir_guest *guest = small_guest_of(&args, MODULE(HANDLER("(loop $ever (br $ever))")));
    for (int i = 0; i < 20; i++) {
        int64_t begin_ns = weir_clock_monotonic_ns();
        assert_broken(guest, "", WEIR_LIMIT, "bounds.time");
        assert_true(weir_clock_monotonic_ns() - begin_ns >= args.time_ns);
    }
    weir_guest_unref(guest);
}

static void memory_stack_and_output_are_bounded(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    args.memory_bytes = 1024 * 1024;
    struct weir_guest *guest = small_guest_new(&args);
    assert_broken(guest, "m", WEIR_TRAPPED,
                  "1048576 of the 1048576 bytes that bounds.memory allows");
    assert_handled(guest, "o");
    weir_guest_unref(guest);

    guest =
        small_guest_of(&args, MODULE("(func $deep (param i32) (result i32)"
                                     " (i32.add (call $deep (i32.const 1)) (i32.const 1)))" HANDLER(
                                         "(drop (call $deep (i32.const 1)))")));
    assert_broken(guest, "", WEIR_TRAPPED, "more stack than host.stack allows");
    weir_guest_unref(guest);

    args.output_bytes = 1; // the small guest prints the id and a newline
    guest = small_guest_new(&args);
    assert_broken(guest, "o", WEIR_LIMIT, "it printed more than bounds.output allows (1 bytes)");
    assert_broken(guest, "t", WEIR_LIMIT, "bounds.output");
    weir_guest_unref(guest);
}

static void an_events_size_is_bounded_both_ways(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    args.event_bytes = 1024;
    struct weir_guest *guest = small_guest_new(&args);
    char body[1100];
    memset(body, 'o', sizeof body);
    body[sizeof body - 1] = '\0';
    assert_broken(guest, body, WEIR_LIMIT, "bounds.event");
    body[900] = '\0';
    assert_handled(guest, body);
    weir_guest_unref(guest);
    // A text of a page that was never there in the event.
    guest = small_guest_of(&args, DERIVED("256", "60000"));
    assert_broken(guest, "", WEIR_LIMIT, "bounds.event");
    weir_guest_unref(guest);
}

struct cutter {
    struct weir_call call;
    struct weir_guest *guest;
    struct weir_verdict verdict;
    atomic_bool has_begun;
};

static void *handle_until_cut(void *argument) {
    struct cutter *cutter = argument;
    const struct weir_event_fields event = event_of("1", "l");
    atomic_store(&cutter->has_begun, true);
    weir_guest_handle(cutter->guest, 0, &event, &cutter->call, &cutter->verdict);
    return NULL;
}

// That weir cut it must not look like a failure of the handler, wherever in the call it came.
static void a_call_is_cut_from_another_thread(void **state) {
    (void)state;
    static const char *const rows[] = {
        MODULE(HANDLER("(loop $ever (br $ever))")),
        MODULE("(func $start (loop $ever (br $ever))) (start $start)" HANDLER("")),
        MODULE("(func (export \"_initialize\") (loop $ever (br $ever)))" HANDLER("")),
        MODULE("(func (export \"cabi_post_" HANDLE_EVENT
               "\") (param i32) (loop $ever (br $ever)))" HANDLER("")),
        "(module (memory (export \"memory\") 1) (func (export \"cabi_realloc\")"
        " (param i32 i32 i32 i32) (result i32) (loop $ever (br $ever)) unreachable) " HANDLER(
            "") ")",
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("loop");
        struct cutter cutter = {.guest = small_guest_of(&args, rows[i])};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, handle_until_cut, &cutter), 0);
        WAIT_UNTIL(atomic_load(&cutter.has_begun));
        atomic_store(&cutter.call.is_cut, true);
        pthread_join(thread, NULL);
        assert_int_equal(cutter.verdict.outcome, WEIR_BROKEN);
        assert_int_equal(cutter.verdict.error.status, WEIR_STOPPED);
        assert_message_has(&cutter.verdict.error, "it was cut because weir is stopping");
        weir_guest_unref(cutter.guest);
    }
}

static void a_handler_subscribes_to_nothing(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest = small_guest_new(&args); // and has no host behind it
    assert_handled(guest, "c");
    weir_guest_unref(guest);
}

// ---- main

// A host that writes down what it is asked, and answers as it is told.
struct test_host {
    char calls[2048];
    int references; // of its one set
    weir_status answer;
    const char *refused; // calls that begin so get the answer; NULL: all do
};

static weir_status noted(struct test_host *host, struct weir_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static weir_status noted(struct test_host *host, struct weir_error *err, const char *format, ...) {
    size_t used = strlen(host->calls);
    va_list args;
    va_start(args, format);
    vsnprintf(host->calls + used, sizeof host->calls - used, format, args);
    va_end(args);
    bool is_refused =
        !host->refused || strncmp(host->calls + used, host->refused, strlen(host->refused)) == 0;
    return host->answer == WEIR_OK || !is_refused
               ? WEIR_OK
               : weir_fail(err, host->answer, "%s", "as it was told");
}

static weir_status host_open(void *session, struct weir_str name, struct weir_error *err) {
    return noted(session, err, "open %.*s;", WEIR_STR_ARG(name));
}

static weir_status host_watch(void *session, struct weir_str rd, struct weir_str key,
                              struct weir_error *err) {
    return noted(session, err, "watch %.*s %.*s;", WEIR_STR_ARG(rd), WEIR_STR_ARG(key));
}

static weir_status host_set_new(void *session, void **ret_set, struct weir_error *err) {
    struct test_host *host = session;
    *ret_set = NULL;
    weir_status status = noted(host, err, "%s", "new;");
    if (status == WEIR_OK) {
        *ret_set = &host->references;
        host->references++;
    }
    return status;
}

static void host_set_ref(void *session, void *set) {
    (void)session;
    ++*(int *)set;
}

static void host_set_unref(void *session, void *set) {
    (void)session;
    --*(int *)set;
}

static weir_status host_set_listen(void *session, void *set, struct weir_str rd,
                                   struct weir_str key, uint32_t handler, struct weir_error *err) {
    assert_ptr_equal(set, &((struct test_host *)session)->references);
    return noted(session, err, "listen %.*s %.*s %u;", WEIR_STR_ARG(rd), WEIR_STR_ARG(key),
                 handler);
}

static weir_status host_set_exec(void *session, void *set, uint64_t duration_s,
                                 struct weir_error *err) {
    assert_ptr_equal(set, &((struct test_host *)session)->references);
    return noted(session, err, "exec %llu;", (unsigned long long)duration_s);
}

static const struct weir_guest_host test_host_functions = {
    .open = host_open,
    .watch = host_watch,
    .set_new = host_set_new,
    .set_ref = host_set_ref,
    .set_unref = host_set_unref,
    .set_listen = host_set_listen,
    .set_exec = host_set_exec,
};

// A main whose `run` is the body, with each import under its name and a return area at 2048. CHECK
// leaves `run` with the answer's error where there is one.
#define R "weir:reactive/resources@0.1.0"
#define E "weir:reactive/events@0.1.0"
#define MAIN(body)                                                                         \
    MODULE("(import \"" R "\" \"open\" (func $open (param i32 i32 i32)))"                  \
           "(import \"" R "\" \"watch\" (func $watch (param i32 i32 i32 i32 i32)))"        \
           "(import \"" E "\" \"[static]events.get\" (func $get (param i32)))"             \
           "(import \"" E                                                                  \
           "\" \"[method]events.listen\" (func $listen (param i32 i32 i32 i32 i32 i32)))"  \
           "(import \"" E "\" \"[method]events.listen-to\""                                \
           "  (func $listen_to (param i32 i32 i32 i32 i32 i32 i32 i32)))"                  \
           "(import \"" E "\" \"[method]events.exec\" (func $exec (param i32 i64 i32)))"   \
           "(import \"" E "\" \"[resource-drop]events\" (func $drop (param i32)))"         \
           "(data (i32.const 16) \"store\") (data (i32.const 32) \"orders/*\")"            \
           "(data (i32.const 48) \"on-order\") (data (i32.const 64) \"sdfsdf\")"           \
           "(func $is_error (result i32)"                                                  \
           "  (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (return (i32.const 0))))" \
           "  (i32.store8 (i32.const 3072) (i32.const 1))"                                 \
           "  (i64.store align=4 (i32.const 3076) (i64.load align=4 (i32.const 2056)))"    \
           "  (i32.const 1))"                                                              \
           "(func (export \"run\") (result i32) (local $set i32) " body                    \
           " (i32.const 3072))" HANDLER(                                                   \
               "") "(func (export \"on-order\") (param i32) (result i32) (i32.const 1024))")
#define CHECK         "(if (call $is_error) (then (return (i32.const 3072))))"
#define OPEN          "(call $open (i32.const 16) (i32.const 5) (i32.const 2048))" CHECK
#define OBSERVABLE    "(i32.const 16) (i32.const 5) (i32.const 32) (i32.const 8)"
#define WATCH         "(call $watch " OBSERVABLE " (i32.const 2048))" CHECK
#define GET           "(call $get (i32.const 2048))" CHECK "(local.set $set (i32.load (i32.const 2052)))"
#define DROP_RETURNED "(call $drop (i32.load (i32.const 2052)))"
#define LISTEN        "(call $listen (local.get $set) " OBSERVABLE " (i32.const 2048))" CHECK
#define LISTEN_TO(at, size)                                                                    \
    "(call $listen_to (local.get $set) " OBSERVABLE " (i32.const " at ") (i32.const " size ")" \
    " (i32.const 2048))" CHECK
#define EXEC "(call $exec (local.get $set) (i64.const 3) (i32.const 2048))" CHECK
#define DROP "(call $drop (local.get $set))"

static weir_status run_main(const char *text, struct test_host *host, struct weir_error *err) {
    struct weir_guest_args args = small_guest_args("main");
    args.host = &test_host_functions;
    args.handles = 4;
    struct weir_guest *guest = small_guest_of(&args, text);
    assert_true(weir_guest_has_main(guest));
    struct weir_call call = {0};
    weir_status status = weir_guest_run(guest, host, &call, err);
    weir_guest_unref(guest);
    assert_int_equal(host->references, 0); // whatever became of it, it holds nothing any more
    return status;
}

static void what_a_main_asks_reaches_the_host_as_it_was_asked(void **state) {
    (void)state;
    struct test_host host = {0};
    struct weir_error err = {.message = ""};
    weir_status status = run_main(
        MAIN(OPEN WATCH GET LISTEN DROP_RETURNED LISTEN_TO("48", "8") EXEC DROP), &host, &err);
    if (status != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(host.calls, "open store;watch store orders/*;new;listen store orders/* 0;"
                                    "listen store orders/* 1;exec 3;");
}

static void what_the_host_answers_reaches_main(void **state) {
    (void)state;
    static const char *const bodies[] = {MAIN(OPEN), MAIN(WATCH), MAIN(GET)};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        for (weir_status answer = WEIR_NOT_FOUND; answer <= WEIR_STOPPED; answer++) {
            struct test_host host = {.answer = answer};
            struct weir_error err;
            weir_status status = run_main(bodies[i], &host, &err);
            // What the WIT has no case for ends the guest instead.
            assert_int_equal(status, answer <= WEIR_OTHER ? WEIR_OTHER : WEIR_TRAPPED);
            assert_message_has(&err, answer <= WEIR_OTHER
                                         ? "main returned the error \"as it was told\""
                                         : "as it was told");
        }
    }
}

static void a_handler_that_is_not_there_is_an_error_of_that_call(void **state) {
    (void)state;
    struct test_host host = {0};
    struct weir_error err;
    assert_int_equal(run_main(MAIN(GET LISTEN_TO("64", "6")), &host, &err), WEIR_OTHER);
    assert_message_has(&err, "no handler \"sdfsdf\"; its handlers are: handle-event, on-order");
    assert_string_equal(host.calls, "new;");
}

static void a_wrong_handle_traps_its_guest(void **state) {
    (void)state;
    static const char *const bodies[] = {
        MAIN(EXEC), // of no set
        MAIN("(local.set $set (i32.const -1))" LISTEN),
        MAIN(GET DROP EXEC),                                           // of a set that was dropped
        MAIN(GET DROP DROP),                                           // dropped twice
        MAIN(GET DROP "(local.get $set)" GET "(local.set $set)" EXEC), // of the slot's last use
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct test_host host = {0};
        struct weir_error err;
        assert_int_equal(run_main(bodies[i], &host, &err), WEIR_TRAPPED);
        assert_message_has(&err, "was never given, or has been dropped");
        assert_null(strstr(host.calls, "exec"));
    }
}

static void handles_have_a_bound(void **state) {
    (void)state;
    struct test_host host = {0};
    struct weir_error err;
    assert_int_equal(run_main(MAIN("(loop $more " GET " (br $more))"), &host, &err), WEIR_OTHER);
    assert_message_has(&err, "bounds.handles");
    assert_string_equal(host.calls, "new;new;new;new;new;");
}

// Without room for its handle a listen has not happened.
static void a_listen_that_is_refused_subscribes_to_nothing(void **state) {
    (void)state;
    struct test_host host = {0};
    struct weir_error err;
    assert_int_equal(run_main(MAIN(GET GET GET GET LISTEN), &host, &err), WEIR_OTHER);
    assert_message_has(&err, "bounds.handles");
    assert_null(strstr(host.calls, "listen"));
}

// Nor does a listen that the host refuses keep a handle: this one is refused ten times.
static void a_listen_that_the_host_refuses_keeps_no_handle(void **state) {
    (void)state;
    struct test_host host = {.answer = WEIR_UNAVAILABLE, .refused = "listen"};
    struct weir_error err;
    assert_int_equal(
        run_main(MAIN("(local $count i32)" GET "(loop $again"
                      " (call $listen (local.get $set) " OBSERVABLE " (i32.const 2048))"
                      " (local.set $count (i32.add (local.get $count) (i32.const 1)))"
                      " (br_if $again (i32.lt_u (local.get $count) (i32.const 10))))" CHECK),
                 &host, &err),
        WEIR_OTHER);
    assert_message_has(&err, "main returned the error \"as it was told\"");
}

static void wild_pointers_of_a_main_trap_it(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } rows[] = {
        {MAIN("(call $open (i32.const -1) (i32.const 5) (i32.const 2048))"),
         "open: name: the string at"},
        {MAIN("(call $open (i32.const 16) (i32.const -1) (i32.const 2048))"),
         "name: the string at 0x10"},
        {MAIN("(call $open (i32.const 16) (i32.const 5) (i32.const -1))"), "return pointer"},
        {MAIN("(call $open (i32.const 16) (i32.const 5) (i32.const 131068))"), "return pointer"},
        {MAIN("(i32.store8 (i32.const 16) (i32.const 255))" OPEN), "not UTF-8"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct test_host host = {0};
        struct weir_error err;
        assert_int_equal(run_main(rows[i].text, &host, &err), WEIR_TRAPPED);
        assert_message_has(&err, rows[i].part);
    }
}

static void a_start_function_may_not_call_the_host(void **state) {
    (void)state;
    struct test_host host = {0};
    struct weir_error err;
    assert_int_equal(run_main(MAIN(""), &host, &err), WEIR_OK); // the same without a start function
    assert_int_equal(
        run_main(MODULE("(import \"" R "\" \"open\" (func $open (param i32 i32 i32)))"
                        "(func $start (call $open (i32.const 0) (i32.const 0) (i32.const 2048)))"
                        "(start $start) (func (export \"run\") (result i32) (i32.const 3072))"),
                 &host, &err),
        WEIR_TRAPPED);
    assert_message_has(&err, "called before the module was ready");
    assert_string_equal(host.calls, "");
}

#define EXIT(code)                                                                       \
    "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))" \
    " (memory (export \"memory\") 1) (func (export \"_start\") " code "))"

static void a_command_ends_with_its_exit_code(void **state) {
    (void)state;
    static const struct {
        const char *text;
        weir_status status;
        const char *part;
    } rows[] = {
        {EXIT(""), WEIR_OK, ""},
        {EXIT("(call $exit (i32.const 0))"), WEIR_OK, ""},
        {EXIT("(call $exit (i32.const 3))"), WEIR_OTHER, "main ended with exit code 3"},
        {EXIT("unreachable"), WEIR_TRAPPED, "unreachable"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct test_host host = {0};
        struct weir_error err = {.message = ""};
        assert_int_equal(run_main(rows[i].text, &host, &err), rows[i].status);
        assert_message_has(&err, rows[i].part);
    }
}

static void a_guest_without_a_main_is_not_run(void **state) {
    (void)state;
    struct weir_guest_args args = small_guest_args("hello");
    struct weir_guest *guest = small_guest_new(&args);
    struct weir_call call = {0};
    struct weir_error err;
    assert_false(weir_guest_has_main(guest));
    assert_int_equal(weir_guest_run(guest, guest, &call, &err), WEIR_NOT_FOUND);
    weir_guest_unref(guest);
}

// Errors are asked for by everybody, but nobody has to.
static void a_main_fails_without_anybody_asking_why(void **state) {
    (void)state;
    static const char *const texts[] = {
        MAIN(EXEC),
        MAIN("(loop $more " GET " (br $more))"),
        EXIT("(call $exit (i32.const 3))"),
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct test_host host = {0};
        assert_int_not_equal(run_main(texts[i], &host, NULL), WEIR_OK);
    }
}

// ---- output

struct printed {
    char text[1024];
};

static bool note_line(void *context, const char *guest, struct weir_str line) {
    struct printed *printed = context;
    size_t used = strlen(printed->text);
    snprintf(printed->text + used, sizeof printed->text - used, "%s: %.*s;", guest,
             WEIR_STR_ARG(line));
    return true;
}

static void what_a_guest_prints_comes_in_lines_with_its_name(void **state) {
    (void)state;
    struct printed printed = {0};
    struct weir_guest_args args = small_guest_args("hello");
    args.output = (struct weir_guest_output){note_line, &printed};
    struct weir_guest *guest = small_guest_new(&args);
    const struct weir_event_fields event = event_of("7", "o");
    struct weir_call call = {0};
    struct weir_verdict verdict;
    weir_guest_handle(guest, 1, &event, &call, &verdict);
    assert_int_equal(verdict.outcome, WEIR_HANDLED);
    assert_string_equal(printed.text, "hello: order;hello: 7;");
    verdict = verdict_on(guest, "t"); // what was printed before a trap is printed
    assert_string_equal(printed.text, "hello: order;hello: 7;hello: 1;");
    verdict = verdict_on(guest, "c");
    assert_string_equal(printed.text, "hello: order;hello: 7;hello: 1;hello: 1;hello: open;");
    weir_guest_unref(guest);
}

static void assert_tail(const struct weir_call *call, const char *expected) {
    assert_str_equal(((struct weir_str){call->output_tail, call->output_tail_size}), expected);
}

static void the_end_of_what_a_call_prints_stays_with_it(void **state) {
    (void)state;
    for (int is_reused = 0; is_reused < 2; is_reused++) {
        struct weir_guest_args args = small_guest_args("hello");
        args.instances = is_reused ? WEIR_INSTANCES_REUSED : WEIR_INSTANCES_FRESH;
        struct weir_guest *guest = small_guest_new(&args);
        struct weir_call call;
        memset(&call, 0xAA, sizeof call);
        atomic_init(&call.is_cut, false);
        struct weir_verdict verdict;
        struct weir_event_fields event = event_of("7", "o");
        weir_guest_handle(guest, 1, &event, &call, &verdict);
        assert_tail(&call, "order\n7\n");
        event = event_of("8", "t"); // a trap does not take it away
        weir_guest_handle(guest, 0, &event, &call, &verdict);
        assert_int_equal(verdict.outcome, WEIR_BROKEN);
        assert_tail(&call, "8\n");
        weir_guest_unref(guest);

        guest = small_guest_of(&args, MODULE(HANDLER("")));
        weir_guest_handle(guest, 0, &event, &call, &verdict);
        assert_tail(&call, ""); // nothing is left of the last call's
        weir_guest_unref(guest);
    }
}

// "hello" without an end, from where `name` says.
#define PRINTS_HELLO                                           \
    "(import \"wasi_snapshot_preview1\" \"fd_write\""          \
    "  (func $write (param i32 i32 i32 i32) (result i32)))"    \
    "(data (i32.const 256) \"hello\")"                         \
    "(func $hello (i32.store (i32.const 512) (i32.const 256))" \
    " (i32.store (i32.const 516) (i32.const 5))"               \
    " (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 528))))"

static void what_an_instance_prints_while_it_is_made_is_the_calls(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum weir_outcome outcome;
    } rows[] = {
        {MODULE(PRINTS_HELLO "(func (export \"_initialize\") (call $hello))" HANDLER("")),
         WEIR_HANDLED},
        {MODULE(PRINTS_HELLO
                "(func (export \"_initialize\") (call $hello) unreachable)" HANDLER("")),
         WEIR_BROKEN},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest_args args = small_guest_args("hello");
        struct weir_guest *guest = small_guest_of(&args, rows[i].text);
        const struct weir_event_fields event = event_of("7", "");
        struct weir_call call = {.output_tail_size = 3};
        struct weir_verdict verdict;
        weir_guest_handle(guest, 0, &event, &call, &verdict);
        assert_int_equal(verdict.outcome, rows[i].outcome);
        assert_tail(&call, "hello\n");
        weir_guest_unref(guest);
    }
}

static void a_mains_output_stays_over_its_exec(void **state) {
    (void)state;
    struct test_host host = {0};
    struct weir_guest_args args = small_guest_args("main");
    args.host = &test_host_functions;
    struct weir_guest *guest = small_guest_of(
        &args,
        MODULE("(import \"" E "\" \"[static]events.get\" (func $get (param i32)))"
               "(import \"" E
               "\" \"[method]events.exec\" (func $exec (param i32 i64 i32)))" PRINTS_HELLO
               "(func (export \"run\") (result i32) (call $hello) (call $get (i32.const 2048))"
               " (call $exec (i32.load (i32.const 2052)) (i64.const 3) (i32.const 2048))"
               " (call $hello) (i32.const 3072))"));
    struct weir_call call = {.output_tail_size = 3};
    assert_int_equal(weir_guest_run(guest, &host, &call, NULL), WEIR_OK);
    assert_string_equal(host.calls, "new;exec 3;");
    assert_tail(&call, "hello\nhello\n");
    weir_guest_unref(guest);
}

// A main that writes and traps unless it is told what it has to be: the vectors at 512 are "ab", ""
// and "c\n", and one that is wild.
#define WRITES(fd, vectors, count, ret, code, written)                                          \
    "(if (i32.ne (call $write (i32.const " fd ") (i32.const " vectors ") (i32.const " count ")" \
    "            (i32.const " ret ")) (i32.const " code ")) (then unreachable))"                \
    "(if (i32.ne (i32.load (i32.const 600)) (i32.const " written ")) (then unreachable))"       \
    "(i32.store (i32.const 600) (i32.const 0))"

static void writes_are_told_what_became_of_them(void **state) {
    (void)state;
    struct printed printed = {0};
    struct weir_guest_args args = small_guest_args("main");
    args.output = (struct weir_guest_output){note_line, &printed};
    struct weir_guest *guest = small_guest_of(
        &args,
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\""
        "   (func $write (param i32 i32 i32 i32) (result i32)))"
        " (memory (export \"memory\") 1) (data (i32.const 256) \"abc\\n\")"
        " (data (i32.const 512) \"\\00\\01\\00\\00\\02\\00\\00\\00\" "
        "\"\\ff\\ff\\00\\00\\00\\00\\00\\00\""
        "   \"\\02\\01\\00\\00\\02\\00\\00\\00\" \"\\ff\\ff\\ff\\ff\\02\\00\\00\\00\")"
        " (func (export \"run\") (result i32)" WRITES("1", "512", "3", "600", "0", "4") // stdout
        WRITES("2", "528", "1", "600", "0", "2")                                        // stderr
        WRITES("1", "512", "0", "600", "0", "0") WRITES("0", "512", "1", "600", "8", "0") WRITES(
            "3", "512", "1", "600", "8", "0") WRITES("-1", "512", "1", "600", "8", "0")
            WRITES("1", "-8", "1", "600", "21", "0") WRITES("1", "65532", "1", "600", "21", "0")
                WRITES("1", "514", "1", "600", "21", "0") WRITES("1", "512", "1", "-4", "21", "0")
                    WRITES("1", "536", "1", "600", "21", "0")
                        WRITES("1", "512", "1025", "600", "28", "0")
                            WRITES("1", "512", "-1", "600", "28", "0") " (i32.const 3072)))");
    struct weir_call call = {0};
    struct weir_error err = {.message = ""};
    if (weir_guest_run(guest, guest, &call, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(printed.text, "main: abc;main: c;");
    weir_guest_unref(guest);
}

int main(void) {
    small_guest_engine();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_a_guest_is_refused_in_words),
        cmocka_unit_test(bytes_that_are_no_module_are_refused),
        cmocka_unit_test(a_module_has_a_largest_size),
        cmocka_unit_test(a_file_is_loaded_and_nothing_else),
        cmocka_unit_test(the_hash_is_of_the_files_bytes),
        cmocka_unit_test(handlers_are_found_by_the_names_that_the_wit_gives),
        cmocka_unit_test(many_handlers_are_listed_as_far_as_there_is_room),
        cmocka_unit_test(the_default_handler_is_the_one_of_weirs_interface),
        cmocka_unit_test(the_default_handler_may_be_the_one_that_rejects),
        cmocka_unit_test(each_answer_is_a_verdict),
        cmocka_unit_test(the_name_of_a_handler_says_what_its_error_is),
        cmocka_unit_test(a_handler_may_retry_or_reject),
        cmocka_unit_test(a_reason_has_the_bounds_of_an_event),
        cmocka_unit_test(a_bound_outweighs_a_rejection),
        cmocka_unit_test(a_derived_event_is_the_hosts_own),
        cmocka_unit_test(a_result_that_breaks_the_contract_breaks_the_instance),
        cmocka_unit_test(a_fresh_instance_knows_nothing_of_the_last_event),
        cmocka_unit_test(a_reused_instance_goes_on_until_it_breaks),
        cmocka_unit_test(an_event_of_any_size_reaches_every_instance_whole),
        cmocka_unit_test(an_allocator_is_judged_by_each_of_its_answers),
        cmocka_unit_test(threads_call_one_guest_side_by_side),
        cmocka_unit_test(a_guest_is_swapped_while_it_is_called),
        cmocka_unit_test(a_guest_lasts_as_long_as_its_last_reference),
        cmocka_unit_test(time_is_bounded_wherever_a_guest_loops),
        cmocka_unit_test(a_short_bound_leaves_a_call_its_time),
        cmocka_unit_test(memory_stack_and_output_are_bounded),
        cmocka_unit_test(an_events_size_is_bounded_both_ways),
        cmocka_unit_test(a_call_is_cut_from_another_thread),
        cmocka_unit_test(a_handler_subscribes_to_nothing),
        cmocka_unit_test(what_a_main_asks_reaches_the_host_as_it_was_asked),
        cmocka_unit_test(what_the_host_answers_reaches_main),
        cmocka_unit_test(a_handler_that_is_not_there_is_an_error_of_that_call),
        cmocka_unit_test(a_wrong_handle_traps_its_guest),
        cmocka_unit_test(handles_have_a_bound),
        cmocka_unit_test(a_listen_that_is_refused_subscribes_to_nothing),
        cmocka_unit_test(a_listen_that_the_host_refuses_keeps_no_handle),
        cmocka_unit_test(wild_pointers_of_a_main_trap_it),
        cmocka_unit_test(a_start_function_may_not_call_the_host),
        cmocka_unit_test(a_command_ends_with_its_exit_code),
        cmocka_unit_test(a_guest_without_a_main_is_not_run),
        cmocka_unit_test(a_main_fails_without_anybody_asking_why),
        cmocka_unit_test(writes_are_told_what_became_of_them),
        cmocka_unit_test(what_a_guest_prints_comes_in_lines_with_its_name),
        cmocka_unit_test(the_end_of_what_a_call_prints_stays_with_it),
        cmocka_unit_test(what_an_instance_prints_while_it_is_made_is_the_calls),
        cmocka_unit_test(a_mains_output_stays_over_its_exec),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
