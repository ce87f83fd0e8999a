// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out while a guest asks a database: each of weir's own allocations fails in turn,
// from the making of the instance to the lowering of the answer. The call fails, what the database
// answered is given back, and nothing is left (the sanitizer looks). What is asked and answered is
// compared in test_both_lanes.
#include "guest/guest.h"

#include "unit/failing_malloc.h"
#include "unit/guest/small_guest.h"
#include "unit/test.h"

enum { ALLOCATIONS_MAX = 1000, COLUMNS = 3, ROWS = 100 };

// Asks with two parameters, "select" and NULL; ok(none) where it is answered, else a trap.
static const char asking[] =
    "(module"
    "  (import \"weir:sql/sql@0.1.0\" \"query\""
    "    (func $query (param i32 i32 i32 i32 i32 i32 i32)))"
    "  (memory (export \"memory\") 2)"
    "  (global $next (mut i32) (i32.const 8192))"
    "  (data (i32.const 256) \"base\")"
    "  (data (i32.const 260) \"select\")"
    // The parameters are at 304: text, of (260, 6), and null.
    "  (func (export \"cabi_realloc\") (param i32 i32) (param $align i32) (param $size i32)"
    "      (result i32) (local $block i32)"
    "    (local.set $block"
    "      (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))"
    "               (i32.sub (i32.const 0) (local.get $align))))"
    "    (global.set $next (i32.add (local.get $block) (local.get $size)))"
    "    (local.get $block))"
    "  (func (export \"weir:reactive/event-handler@0.1.0#handle-event\") (param i32) (result i32)"
    "    (i32.store8 (i32.const 304) (i32.const 4))"
    "    (i32.store (i32.const 312) (i32.const 260))"
    "    (i32.store (i32.const 316) (i32.const 6))"
    "    (call $query (i32.const 256) (i32.const 4) (i32.const 260) (i32.const 6)"
    "      (i32.const 304) (i32.const 2) (i32.const 512))"
    "    (if (i32.load8_u (i32.const 512)) (then unreachable))"
    "    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 112))"
    "    (i32.const 1024)))";

struct base {
    size_t asked;
    int held; // answers that were not given back
};

static void give_back(void *held) {
    ((struct base *)held)->held--;
}

static weir_status query(void *context, struct weir_str database,
                         const struct weir_sql_statement *statement,
                         const struct weir_limits *limits, struct weir_sql_result *ret_result,
                         struct weir_error *err) {
    static struct weir_str columns[COLUMNS];
    static struct weir_sql_value values[COLUMNS * ROWS];
    struct base *base = context;
    (void)limits;
    (void)err;
    assert_true(weir_str_equal(database, WEIR_STR("base")));
    assert_int_equal(statement->parameter_count, 2);
    assert_true(weir_str_equal(statement->parameters[0].bytes, WEIR_STR("select")));
    assert_int_equal(statement->parameters[1].kind, WEIR_SQL_NULL);
    for (size_t i = 0; i < COLUMNS; i++) {
        columns[i] = WEIR_STR("column");
    }
    for (size_t i = 0; i < COLUMNS * ROWS; i++) {
        values[i] = (struct weir_sql_value){.kind = WEIR_SQL_TEXT, .bytes = WEIR_STR("text")};
    }
    base->asked++;
    base->held++;
    *ret_result = (struct weir_sql_result){.columns = columns,
                                           .column_count = COLUMNS,
                                           .values = values,
                                           .row_count = ROWS,
                                           .held = base,
                                           .free_held = give_back};
    return WEIR_OK;
}

static struct weir_attributes no_environment(void *context) {
    (void)context;
    return (struct weir_attributes){0};
}

static void no_reference(void *context) {
    (void)context;
}

static const struct weir_guest_access access = {
    .query = query,
    .environment = no_environment,
    .ref = no_reference,
    .unref = no_reference,
};

static void each_allocation_may_fail(void **state) {
    (void)state;
    struct base base = {.asked = 0};
    struct weir_guest_args args = small_guest_args("asking");
    args.access = &access;
    args.access_context = &base;
    struct weir_guest *guest = small_guest_of(&args, asking);
    const struct weir_event_fields event = {.specversion = WEIR_STR("1.0"),
                                            .ty = WEIR_STR("t"),
                                            .source = WEIR_STR("s"),
                                            .id = WEIR_STR("i")};
    size_t failed_behind = 0; // after the database had answered
    bool has_failed = true;
    for (size_t number = 1; has_failed; number++) {
        assert_in_range(number, 1, ALLOCATIONS_MAX);
        struct weir_call call = {0};
        struct weir_verdict verdict;
        size_t asked = base.asked;
        failing_malloc_arm(number);
        weir_guest_handle(guest, 0, &event, &call, &verdict);
        has_failed = failing_malloc_disarm();
        assert_int_equal(verdict.outcome, has_failed ? WEIR_BROKEN : WEIR_HANDLED);
        assert_int_equal(base.held, 0);
        failed_behind += has_failed && base.asked > asked;
    }
    // To give it back later, for the values, and for their blocks.
    assert_true(failed_behind >= 3);
    weir_guest_unref(guest);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_may_fail)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
