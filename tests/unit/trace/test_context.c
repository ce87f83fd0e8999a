// SPDX-License-Identifier: Apache-2.0
//
// `traceparent` and `tracestate`, by the cases of W3C's own test suite (w3c/trace-context,
// test/test.py) and those of its text.
#include "unit/test.h"

#include "trace/trace.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static bool read_text(const char *text, struct weir_trace_context *ret_context) {
    // In memory of its own size, so that a sanitizer sees what is read behind it.
    size_t size = strlen(text);
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    char *exact = realloc(copy, size > 0 ? size : 1);
    assert_non_null(exact);
    bool is_read = weir_traceparent_read((struct weir_str){exact, size}, ret_context);
    free(exact);
    return is_read;
}

static void a_traceparent_is_read(void **state) {
    (void)state;
    struct weir_trace_context context;
    assert_true(read_text("00-" TRACE "-" SPAN "-01", &context));
    assert_true(context.trace.high == UINT64_C(0x0af7651916cd43dd));
    assert_true(context.trace.low == UINT64_C(0x8448eb211c80319c));
    assert_true(context.span == UINT64_C(0xb7ad6b7169203331));
    assert_int_equal(context.flags, WEIR_TRACE_FLAG_SAMPLED);
    assert_true(weir_trace_is_sampled(&context));
    assert_true(read_text("00-" TRACE "-" SPAN "-00", &context));
    assert_false(weir_trace_is_sampled(&context));
    // Half of an id may be zero.
    assert_true(read_text("00-00000000000000008448eb211c80319c-" SPAN "-00", &context));
    assert_true(read_text("00-0af7651916cd43dd0000000000000000-" SPAN "-00", &context));
}

static void flags_that_are_not_known_are_not_passed_on(void **state) {
    (void)state;
    struct weir_trace_context context;
    char text[WEIR_TRACEPARENT_BYTES];
    assert_true(read_text("00-" TRACE "-" SPAN "-ff", &context));
    assert_string_equal(weir_traceparent_write(&context, text), "00-" TRACE "-" SPAN "-03");
    assert_true(read_text("00-" TRACE "-" SPAN "-0a", &context));
    assert_string_equal(weir_traceparent_write(&context, text), "00-" TRACE "-" SPAN "-02");
}

static void a_later_version_is_read_as_far_as_it_is_known(void **state) {
    (void)state;
    struct weir_trace_context context;
    char text[WEIR_TRACEPARENT_BYTES];
    assert_true(read_text("01-" TRACE "-" SPAN "-01", &context));
    assert_true(read_text("cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like", &context));
    assert_true(read_text("fe-" TRACE "-" SPAN "-01-", &context));
    assert_string_equal(weir_traceparent_write(&context, text), "00-" TRACE "-" SPAN "-01");
}

static void what_is_malformed_counts_as_none(void **state) {
    (void)state;
    static const char *const malformed[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN "-",
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-001",
        "00-" TRACE "-" SPAN "-01-",
        "00-" TRACE "-" SPAN "-01-what-the-future-will-be-like",
        "00-" TRACE "-" SPAN "-01 ",
        " 00-" TRACE "-" SPAN "-01",
        "cc-" TRACE "-" SPAN "-01.what-the-future-will-be-like",
        "ff-" TRACE "-" SPAN "-01",
        "FE-" TRACE "-" SPAN "-01",
        ".0-" TRACE "-" SPAN "-01",
        "0.-" TRACE "-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-.af7651916cd43dd8448eb211c80319c-" SPAN "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-0af7651916cd43dd8448eb211c80319-" SPAN "-010",
        "00-0af7651916cd43dd8448eb211c80319cc-" SPAN "-1",
        "00-" TRACE "-0000000000000000-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-b7ad6b716920333.-01",
        "00-" TRACE "-" SPAN "-.0",
        "00-" TRACE "-" SPAN "-0.",
        "00-" TRACE "-" SPAN "-0A",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
    };
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        struct weir_trace_context context;
        if (read_text(malformed[i], &context)) {
            fail_msg("\"%s\" was taken", malformed[i]);
        }
    }
}

static void what_is_written_is_read_again(void **state) {
    (void)state;
    struct weir_trace_context context = {
        .trace = {.high = 1, .low = UINT64_MAX}, .span = 0xabc, .flags = WEIR_TRACE_FLAG_SAMPLED};
    struct weir_trace_context again;
    char text[WEIR_TRACEPARENT_BYTES], id[WEIR_TRACE_ID_BYTES];
    weir_traceparent_write(&context, text);
    assert_string_equal(text, "00-0000000000000001ffffffffffffffff-0000000000000abc-01");
    assert_string_equal(weir_trace_id_write(context.trace, id), "0000000000000001ffffffffffffffff");
    assert_true(read_text(text, &again));
    assert_true(again.trace.high == context.trace.high && again.trace.low == context.trace.low);
    assert_true(again.span == context.span && again.flags == context.flags);
}

static void a_tracestate_is_passed_on_only_if_it_is_whole(void **state) {
    (void)state;
    static const char *const good[] = {
        "foo=1",         "foo=1,bar=2",        "foo=1 \t , \t bar=2, \t baz=3", "foo=1,", ",foo=1",
        "foo=1,,,bar=2", "fw529a3039@dt=FfKk", "0tenant@system=a/b*c",          "foo= 1",
    };
    static const char *const bad[] = {
        "",          ",",      "foo",       "foo=",         "=1",
        "foo =1",    "FOO=1",  "foo=1=2",   "foo=\xc3\xa4", "foo=1\n",
        "foo.bar=1", "_foo=1", "foo=1,bar", "\t",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        if (!weir_tracestate_is_valid(weir_str_of(good[i]))) {
            fail_msg("\"%s\" was not taken", good[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (weir_tracestate_is_valid(weir_str_of(bad[i]))) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
}

static void a_tracestate_has_bounds(void **state) {
    (void)state;
    char text[WEIR_TRACESTATE_BYTES_MAX + 2] = "";
    for (int members = 1; members <= 33; members++) {
        char member[16];
        snprintf(member, sizeof member, "%sk%d=v", members > 1 ? "," : "", members);
        strcat(text, member);
        assert_int_equal(weir_tracestate_is_valid(weir_str_of(text)), members <= 32);
    }
    memset(text, 'v', sizeof text);
    memcpy(text, "a=", 2);
    assert_true(weir_tracestate_is_valid((struct weir_str){text, 2 + 256}));
    assert_false(weir_tracestate_is_valid((struct weir_str){text, 2 + 257}));
    memcpy(text + 256, ",b=", 3);
    assert_true(weir_tracestate_is_valid((struct weir_str){text, WEIR_TRACESTATE_BYTES_MAX}));
    assert_false(weir_tracestate_is_valid((struct weir_str){text, WEIR_TRACESTATE_BYTES_MAX + 1}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_read),
        cmocka_unit_test(flags_that_are_not_known_are_not_passed_on),
        cmocka_unit_test(a_later_version_is_read_as_far_as_it_is_known),
        cmocka_unit_test(what_is_malformed_counts_as_none),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_tracestate_is_passed_on_only_if_it_is_whole),
        cmocka_unit_test(a_tracestate_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
