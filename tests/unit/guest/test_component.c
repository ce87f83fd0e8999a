// SPDX-License-Identifier: Apache-2.0
//
// Components that no toolchain would make: with other types than weir's and WASI's, with imports
// that weir does not give, broken ones. Each is refused in words or ended, and the host goes on.
#include "guest/guest.h"

#include "guest/sections.h"
#include "unit/guest/small_guest.h"
#include "unit/test.h"

#include <stdlib.h>

// A memory and an allocator that hands out one block after the other.
#define MEMORY                                                                                  \
    "(core module $M (memory (export \"memory\") 2) (global $next (mut i32) (i32.const 8192))"  \
    " (func (export \"realloc\") (param i32 i32 i32 i32) (result i32)"                          \
    "   (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))" \
    "   (global.get $next)"                                                                     \
    "   (global.set $next (i32.add (global.get $next) (local.get 3)))))"                        \
    "(core instance $m (instantiate $M))"
// The WIT's types, as a component has to name them.
#define EVENT                                                                              \
    "(type $payload' (variant (case \"text\" string) (case \"binary\" (list u8))))"        \
    "(export $payload \"payload\" (type $payload'))"                                       \
    "(type $event' (record (field \"specversion\" string) (field \"ty\" string)"           \
    "  (field \"source\" string) (field \"id\" string) (field \"data\" (option $payload))" \
    "  (field \"datacontenttype\" (option string)) (field \"dataschema\" (option string))" \
    "  (field \"subject\" (option string)) (field \"time\" (option string))"               \
    "  (field \"extensions\" (list (tuple string string)))))"                              \
    "(export $event \"event\" (type $event'))"
#define FAILURE                                                                   \
    "(type $failure' (variant (case \"retry\" string) (case \"reject\" string)))" \
    "(export $failure \"failure\" (type $failure'))"
// A core module with a handler of that body, which returns ok(none) from the zeros at 1024, and the
// functions that it imports.
#define CORE(imports, body, with) CORE_FROM(imports) body CORE_TO(with)
#define CORE_FROM(imports)                                          \
    "(core module $C (import \"m\" \"memory\" (memory 2)) " imports \
    " (func (export \"handle\") (param i32) (result i32) "
#define CORE_TO(with)     \
    " (i32.const 1024)))" \
    "(core instance $c (instantiate $C (with \"m\" (instance $m)) " with "))"
#define LIFT                                                                                     \
    "(canon lift (core func $c \"handle\") (memory (core memory $m \"memory\")) (realloc (core " \
    "func $m \"realloc\")))"
#define HANDLER(name, error)                                                                   \
    "(func $f (param \"ev\" $event) (result (result (option $event) (error " error "))) " LIFT \
    ") (export \"" name "\" (func $f))"
#define GOOD "(component " MEMORY EVENT CORE("", "", "") HANDLER("handle-event", "string") ")"

static weir_status compile(const char *text, enum weir_guest_lane lane,
                           struct weir_guest **ret_guest, struct weir_error *err) {
    struct weir_engine *engine = small_guest_engine();
    struct weir_guest_args args = small_guest_args("odd");
    args.lane = lane;
    args.time_ns = 200 * WEIR_NS_PER_MS;
    struct weir_str wasm = small_guest_wasm(text);
    weir_status status = weir_guest_compile(engine, &args, wasm, ret_guest, err);
    free((char *)(uintptr_t)wasm.data);
    return status;
}

static struct weir_guest *load(const char *text) {
    struct weir_guest *guest;
    struct weir_error err;
    if (compile(text, WEIR_GUEST_LANE_AUTO, &guest, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    return guest;
}

static struct weir_verdict verdict_of(struct weir_guest *guest) {
    const struct weir_event_fields event = {.specversion = WEIR_STR("1.0"),
                                            .ty = WEIR_STR("dev.weir.test"),
                                            .source = WEIR_STR("/test"),
                                            .id = WEIR_STR("1")};
    struct weir_call call = {0};
    struct weir_verdict verdict;
    weir_guest_handle(guest, 0, &event, &call, &verdict);
    weir_event_unref(verdict.derived);
    return verdict;
}

static void the_smallest_one_is_handled(void **state) {
    (void)state;
    struct weir_guest *guest = load(GOOD);
    const char *reason;
    assert_int_equal(weir_guest_lane(guest, &reason), WEIR_GUEST_LANE_COMPONENT);
    assert_int_equal(verdict_of(guest).outcome, WEIR_HANDLED);
    weir_guest_unref(guest);
}

static void a_component_says_by_its_type_that_a_handler_may_reject(void **state) {
    (void)state;
    // err(reject("")): the cases' numbers at 1024 and 1028, an empty text behind.
    struct weir_guest *guest = load("(component " MEMORY EVENT FAILURE CORE(
        "", "(i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 1))",
        "") HANDLER("on-order", "$failure") ")");
    assert_int_equal(verdict_of(guest).outcome, WEIR_REJECTED);
    weir_guest_unref(guest);
}

// A returned event with a binary body, whose address and size are those; nothing else is in it.
#define RETURN_BODY(address, size)                                                               \
    "(i32.store (i32.const 1028) (i32.const 1)) (i32.store (i32.const 1064) (i32.const 1))"      \
    "(i32.store (i32.const 1068) (i32.const 1)) (i32.store (i32.const 1072) (i32.const " address \
    ")) (i32.store (i32.const 1076) (i32.const " size "))"

static void a_returned_body_that_is_not_in_memory_ends_the_call(void **state) {
    (void)state;
    static const struct {
        const char *body, *part;
    } rows[] = {
        {RETURN_BODY("-16", "64"), "list pointer/length out of bounds"},
        {RETURN_BODY("0", "-1"), "list pointer/length out of bounds"},
        {RETURN_BODY("0x1ffff", "2"), "list pointer/length out of bounds"},
        {RETURN_BODY("0", "1") "(i32.store (i32.const 1068) (i32.const 2))", "discriminant"},
        {RETURN_BODY("0", "1") "(i32.store (i32.const 1068) (i32.const 3))", "discriminant"},
        {"(return (i32.const -8))", "out of bounds"},
        {"(return (i32.const 0x1fffc))", "out of bounds"},
        {"(return (i32.const 1025))", "not aligned"},
        // What is in its bounds is taken, and the event that says nothing refused.
        {RETURN_BODY("0", "0x20000"), "specversion"},
        {"(i32.store8 (i32.const 0x1ffff) (i32.const 0x80))" RETURN_BODY("0", "0x20000"),
         "specversion"},
        {"(i32.store8 (i32.const 0x1ffff) (i32.const 0x80))" RETURN_BODY("0x1ffff", "1"),
         "specversion"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *text;
        assert_true(asprintf(&text, "(component %s%s%s%s%s)", MEMORY EVENT, CORE_FROM(""),
                             rows[i].body, CORE_TO(""), HANDLER("handle-event", "string")) > 0);
        struct weir_guest *guest = load(text);
        struct weir_verdict verdict = verdict_of(guest);
        assert_int_equal(verdict.outcome, WEIR_BROKEN);
        if (!strstr(verdict.error.message, rows[i].part)) {
            fail_msg("%zu: %s", i, verdict.error.message);
        }
        weir_guest_unref(guest);
        free(text);
    }
}

// It looks for that in its post-return, and traps where it is not so.
#define RETURN_AND_LOOK(size)                                                                   \
    "(component " MEMORY EVENT CORE(                                                            \
        "(func (export \"post\") (param i32)"                                                   \
        "  (if (i32.ne (i32.load8_u (i32.const 1068)) (i32.const 1)) (then unreachable))"       \
        "  (if (i32.ne (i32.load (i32.const 1072)) (i32.const 4096)) (then unreachable))"       \
        "  (if (i32.ne (i32.load8_u (i32.const 4096)) (i32.const 0x80)) (then unreachable))"    \
        "  (if (i32.ne (i32.load (i32.const 1076)) (i32.const " size ")) (then unreachable)))", \
        "(i32.store8 (i32.const 4096) (i32.const 0x80))" RETURN_BODY("4096", size),             \
        "") "(func $f (param \"ev\" $event) (result (result (option $event) (error string)))"   \
            "  (canon lift (core func $c \"handle\") (memory (core memory $m \"memory\"))"      \
            "    (realloc (core func $m \"realloc\")) (post-return (core func $c \"post\"))))"  \
            "(export \"handle-event\" (func $f)))"

static void what_a_guest_returned_is_as_it_was_when_it_is_given_back(void **state) {
    (void)state;
    static const char *const rows[] = {RETURN_AND_LOOK("1"), RETURN_AND_LOOK("128"),
                                       RETURN_AND_LOOK("129"), RETURN_AND_LOOK("5000")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_guest *guest = load(rows[i]);
        assert_null(weir_guest_dear_bodies(guest));
        struct weir_verdict verdict = verdict_of(guest);
        assert_message_has(&verdict.error, "specversion"); // the event that says nothing
        weir_guest_unref(guest);
    }
}

// Bodies that are no text go to them as they went before (annex.h).
static void what_weir_cannot_add_to_runs_as_it_is(void **state) {
    (void)state;
    static const struct {
        const char *text, *part; // NULL: weir adds to it
    } rows[] = {
        {GOOD, NULL},
        {"(component (component $inner " MEMORY EVENT CORE("", "", "")
             HANDLER("handle-event", "string") ") (instance $i (instantiate $inner))"
                                               "(export \"my:own/handlers@1.0.0\" (instance $i)))",
         "no handler of it is made in the component itself"},
        {"(component " MEMORY EVENT CORE(
             "", "",
             "") "(func $f (param \"ev\" $event) (result (result (option $event) (error string)))"
                 "  (canon lift (core func $c \"handle\") string-encoding=utf16"
                 "    (memory (core memory $m \"memory\")) (realloc (core func $m \"realloc\"))))"
                 "(export \"handle-event\" (func $f)))",
         "no handler of it is made in the component itself"},
        // Another function is taken for a handler, until the engine says that it is none.
        {"(component " MEMORY EVENT CORE("", "", "")
             HANDLER("handle-event", "string") "(type $failure' (variant (case \"no\" string)))"
                                               "(export $failure \"failure\" (type $failure'))"
                                               "(func $g (param \"ev\" $event) (result (result "
                                               "(option $event) (error $failure)))" LIFT
                                               ") (export \"other\" (func $g)))",
         NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_guest *guest = load(rows[i].text);
        const char *why = weir_guest_dear_bodies(guest);
        if (!why != !rows[i].part || (why && !strstr(why, rows[i].part))) {
            fail_msg("%zu: %s", i, why ? why : "nothing");
        }
        assert_int_equal(verdict_of(guest).outcome, WEIR_HANDLED);
        weir_guest_unref(guest);
    }
}

static void what_cannot_be_a_guest_is_refused_in_words(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *part;
    } rows[] = {
        {"(component)", "neither a main"},
        {"(component " MEMORY EVENT "(core module $C (func (export \"f\") (param i32) (result i32) "
         "(i32.const 0))) (core instance $c (instantiate $C))"
         "(func $f (param \"x\" u32) (result u32) (canon lift (core func $c \"f\")))"
         "(export \"handle-event\" (func $f)))",
         "\"handle-event\" is func(x: u32) -> u32"},
        {"(component " MEMORY "(type $event' (record (field \"a\" string)))"
         "(export $event \"event\" (type $event')) (core module $C (import \"m\" \"memory\" "
         "(memory "
         "2)) (func (export \"handle\") (param i32 i32) (result i32) (i32.const 1024)))"
         "(core instance $c (instantiate $C (with \"m\" (instance $m))))" HANDLER("handle-event",
                                                                                  "string") ")",
         "\"handle-event\" is func(ev: a record) -> a result"},
        {"(component (core module $C (func (export \"f\"))) (core instance $c (instantiate $C))"
         "(func $f (canon lift (core func $c \"f\"))) (export \"run\" (func $f)))",
         "run as func(); it must be func() -> result<_, string>"},
        {"(component (import \"somebody:else/thing@1.0.0\" (instance (export \"f\" "
         "(func)))) " MEMORY EVENT CORE("", "", "") HANDLER("handle-event", "string") ")",
         "imports \"somebody:else/thing@1.0.0\", which weir does not give"},
        {"(component (import \"weir:reactive/resources@0.1.0\" (instance (export \"open\" (func "
         "(param \"name\" u32) (result string))))) " MEMORY EVENT CORE("", "", "")
             HANDLER("handle-event", "string") ")",
         "imports \"open\" from \"weir:reactive/resources@0.1.0\" as weir does not give it"},
        {"(component (import \"weir:reactive/resources@0.1.0\" (instance (export \"close\" "
         "(func)))) " MEMORY EVENT CORE("", "", "") HANDLER("handle-event", "string") ")",
         "imports \"close\""},
        {"(component (import \"wasi:io/poll@0.3.0\" (instance (export \"f\" (func)))) " MEMORY EVENT
             CORE("", "", "") HANDLER("handle-event", "string") ")",
         "imports \"wasi:io/poll@0.3.0\", which weir does not give"},
        {"(component (import \"a-function\" (func)) " MEMORY EVENT CORE("", "", "")
             HANDLER("handle-event", "string") ")",
         "imports \"a-function\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest *guest = NULL;
        struct weir_error err = {.message = ""};
        assert_int_equal(compile(rows[i].text, WEIR_GUEST_LANE_AUTO, &guest, &err), WEIR_INVALID);
        assert_null(guest);
        assert_message_has(&err, rows[i].part);
    }
}

static void a_lane_that_cannot_be_is_refused_with_the_reason(void **state) {
    (void)state;
    struct weir_guest *guest = NULL;
    struct weir_error err = {.message = ""};
    assert_true(compile(GOOD, WEIR_GUEST_LANE_CORE, &guest, &err) != WEIR_OK);
    assert_message_has(&err, "the core lane cannot run this component: it has a further module");
    assert_int_equal(compile("(module)", WEIR_GUEST_LANE_COMPONENT, &guest, &err), WEIR_INVALID);
    assert_message_has(&err, "core module");
}

// A handler that calls one function of WASI, whose type is said by the component.
#define CALLS(interface, type, name, params, body)                                           \
    "(component (import \"" interface "\" (instance $w " type "))" MEMORY EVENT              \
    "(core func $l (canon lower (func $w \"" name "\") (memory (core memory $m \"memory\"))" \
    "  (realloc (core func $m \"realloc\"))))" CORE(                                         \
        "(import \"w\" \"f\" (func $w " params "))", body,                                   \
        "(with \"w\" (instance (export \"f\" (func $l))))") HANDLER("handle-event", "string") ")"

static void wasi_as_it_is_not_ends_the_call(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum weir_outcome outcome;
        const char *part;
    } rows[] = {
        {CALLS("wasi:random/random@0.2.0", "(export \"get-random-u64\" (func (result u64)))",
               "get-random-u64", "(result i64)", "(drop (call $w))"),
         WEIR_HANDLED, ""},
        {CALLS("wasi:random/random@0.2.99", "(export \"get-random-u64\" (func (result u64)))",
               "get-random-u64", "(result i64)", "(drop (call $w))"),
         WEIR_HANDLED, ""},
        {CALLS("wasi:random/random@0.2.0",
               "(export \"get-random-u64\" (func (param \"x\" u32) (result u64)))",
               "get-random-u64", "(param i32) (result i64)", "(drop (call $w (i32.const 1)))"),
         WEIR_BROKEN, "wasi:random/random#get-random-u64 is imported with another type"},
        {CALLS("wasi:random/random@0.2.0",
               "(export \"get-random-bytes\" (func (param \"n\" string) (result (list u8))))",
               "get-random-bytes", "(param i32 i32 i32)",
               "(call $w (i32.const 0) (i32.const 0) (i32.const 2048))"),
         WEIR_BROKEN, "another type"},
        // What is returned is of another type, too, which the engine tells.
        {CALLS("wasi:random/random@0.2.0", "(export \"get-random-u64\" (func (result string)))",
               "get-random-u64", "(param i32)", "(call $w (i32.const 2048))"),
         WEIR_BROKEN, ""},
        {CALLS("wasi:random/random@0.2.0", "(export \"get-random-u64\" (func))", "get-random-u64",
               "", "(call $w)"),
         WEIR_HANDLED, ""},
        {CALLS("wasi:random/random@0.2.0",
               "(export \"get-random-bytes\" (func (param \"n\" u64) (result (list u8))))",
               "get-random-bytes", "(param i64 i32)", "(call $w (i64.const -1) (i32.const 2048))"),
         WEIR_BROKEN, "random bytes"},
        {CALLS("wasi:io/poll@0.2.0",
               "(export \"poll\" (func (param \"in\" (list u32)) (result (list u32))))", "poll",
               "(param i32 i32 i32)", "(call $w (i32.const 4096) (i32.const 1) (i32.const 2048))"),
         WEIR_BROKEN, "a handle that was never given"},
        {CALLS("wasi:io/poll@0.2.0",
               "(export \"poll\" (func (param \"in\" (list u32)) (result (list u32))))", "poll",
               "(param i32 i32 i32)", "(call $w (i32.const 4096) (i32.const 0) (i32.const 2048))"),
         WEIR_BROKEN, "poll takes"},
        // There by name only.
        {CALLS("wasi:sockets/instance-network@0.2.0", "(export \"nothing\" (func))", "nothing", "",
               "(call $w)"),
         WEIR_BROKEN, "nothing"},
        {CALLS("wasi:cli/exit@0.2.0", "(export \"exit\" (func (param \"status\" (result))))",
               "exit", "(param i32)", "(call $w (i32.const 0))"),
         WEIR_BROKEN, "exited with code 0"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_guest *guest = load(rows[i].text);
        struct weir_verdict verdict = verdict_of(guest);
        if (verdict.outcome != rows[i].outcome) {
            fail_msg("row %zu: %d, \"%s\"", i, (int)verdict.outcome, verdict.error.message);
        }
        if (rows[i].outcome == WEIR_BROKEN) {
            assert_message_has(&verdict.error, rows[i].part);
        }
        weir_guest_unref(guest);
    }
}

// ---- broken files

static void try_bytes(struct weir_str wasm) {
    struct weir_guest_args args = small_guest_args("broken");
    struct weir_guest *guest = NULL;
    struct weir_error err;
    if (weir_guest_compile(small_guest_engine(), &args, wasm, &guest, &err) == WEIR_OK) {
        verdict_of(guest);
        weir_guest_unref(guest);
    }
}

static bool gives_all(struct weir_str module, struct weir_str name) {
    (void)module;
    (void)name;
    return true;
}

static void a_file_that_was_cut_or_changed_harms_nobody(void **state) {
    (void)state;
    struct weir_str good = small_guest_wasm(GOOD);
    char *bytes = (char *)(uintptr_t)good.data;
    for (size_t size = 0; size < good.size; size++) {
        // A copy of that size, so that the sanitizer sees whoever reads on.
        char *copy = malloc(size + 1);
        memcpy(copy, bytes, size);
        struct weir_str module;
        weir_sections_main_module((struct weir_str){copy, size}, gives_all, &module, NULL);
        if (size % 16 == 0) {
            try_bytes((struct weir_str){copy, size});
        }
        free(copy);
    }
    unsigned short random[3] = {1, 2, 3};
    for (int i = 0; i < 300; i++) {
        size_t at = 8 + (size_t)nrand48(random) % (good.size - 8);
        char was = bytes[at];
        bytes[at] = (char)nrand48(random);
        struct weir_str module;
        weir_sections_main_module(good, gives_all, &module, NULL);
        try_bytes(good);
        bytes[at] = was;
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_one_is_handled),
        cmocka_unit_test(a_component_says_by_its_type_that_a_handler_may_reject),
        cmocka_unit_test(a_returned_body_that_is_not_in_memory_ends_the_call),
        cmocka_unit_test(what_a_guest_returned_is_as_it_was_when_it_is_given_back),
        cmocka_unit_test(what_weir_cannot_add_to_runs_as_it_is),
        cmocka_unit_test(what_cannot_be_a_guest_is_refused_in_words),
        cmocka_unit_test(a_lane_that_cannot_be_is_refused_with_the_reason),
        cmocka_unit_test(wasi_as_it_is_not_ends_the_call),
        cmocka_unit_test(a_file_that_was_cut_or_changed_harms_nobody),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
