// SPDX-License-Identifier: Apache-2.0
//
// Tests of a project as they are written: what is read, each mistake with its line, what is made of
// an event, and what is told to differ.
#include "unit/test.h"

#include "guest/guest.h"
#include "project/case.h"

struct reading {
    struct weir_test_file file;
    struct weir_problems problems;
    struct weir_error err;
    weir_status status;
};

static struct reading *read_tests(const char *text) {
    struct reading *reading = calloc(1, sizeof *reading);
    assert_non_null(reading);
    reading->status =
        weir_test_file_parse(weir_str_of(text), &reading->file, &reading->problems, &reading->err);
    return reading;
}

static void finish(struct reading *reading) {
    weir_test_file_finish(&reading->file);
    weir_problems_finish(&reading->problems);
    free(reading);
}

// A file that is good.
static struct reading *read_good(const char *text) {
    struct reading *reading = read_tests(text);
    if (reading->status != WEIR_OK) {
        fail_msg("not read: %s", reading->problems.count > 0 ? reading->problems.items[0].message
                                                             : reading->err.message);
    }
    return reading;
}

// A file whose one mistake is on that line, at that key.
static void assert_mistake(const char *text, uint32_t line, const char *key, const char *part) {
    struct reading *reading = read_tests(text);
    assert_int_equal(reading->status, WEIR_INVALID);
    assert_int_equal(reading->problems.count, 1);
    const struct weir_problem *problem = &reading->problems.items[0];
    assert_string_equal(problem->key, key);
    assert_int_equal(problem->place.line, line);
    if (!strstr(problem->message, part)) {
        fail_msg("\"%s\" does not say \"%s\"", problem->message, part);
    }
    finish(reading);
}

static void a_whole_test_is_read(void **state) {
    (void)state;
    struct reading *reading =
        read_good("- test: all of it\n"
                  "  guest: shop\n"
                  "  handler: on-order\n"
                  "  given:\n"
                  "    stock: {tea: 7, list: [1, two], bytes: {base64: AAH/}}\n"
                  "  events:\n"
                  "    - event: {subject: orders/1, data: {n: 1}}\n"
                  "      expect: {error: busy}\n"
                  "    - event: {subject: orders/1, type: t}\n"
                  "      expect: {event: {type: u, data: x}}\n"
                  "  then:\n"
                  "    stock: {tea: '6', coffee: null}\n"
                  "    out: [{type: u}, {type: v}]\n");
    assert_int_equal(reading->file.count, 1);
    const struct weir_test *test = &reading->file.tests[0];
    assert_string_equal(test->name, "all of it");
    assert_string_equal(test->guest, "shop");
    assert_string_equal(test->handler, "on-order");
    assert_int_equal(test->given_count, 3);
    assert_string_equal(test->given[0].resource, "stock");
    assert_str_equal(test->given[0].key, "tea");
    assert_str_equal(test->given[0].data.bytes, "7");
    assert_null(test->given[0].data.json);
    assert_str_equal(test->given[1].data.bytes, "[1,\"two\"]");
    assert_non_null(test->given[1].data.json);
    assert_int_equal(test->given[2].data.bytes.size, 3);
    assert_memory_equal(test->given[2].data.bytes.data, "\0\1\xFF", 3);
    assert_int_equal(test->step_count, 2);
    assert_int_equal(test->steps[0].place.line, 7);
    assert_int_equal(test->steps[0].answer, WEIR_TEST_ERROR);
    assert_str_equal(test->steps[0].text, "busy");
    assert_str_equal(test->steps[0].event.data.bytes, "{\"n\":1}");
    assert_int_equal(test->steps[1].answer, WEIR_TEST_EVENT);
    assert_str_equal(test->steps[1].expected->attributes[WEIR_TEST_TYPE].value, "u");
    assert_true(test->steps[1].expected->has_data);
    assert_int_equal(test->key_count, 2);
    assert_true(test->keys[0].data.is_there);
    assert_false(test->keys[1].data.is_there);
    assert_int_equal(test->published_count, 1);
    assert_int_equal(test->published[0].count, 2);
    finish(reading);
}

static void one_test_may_stand_alone_and_be_json(void **state) {
    (void)state;
    struct reading *reading =
        read_good("{\"test\": \"t\", \"event\": {\"data\": \"7\"}, \"expect\": \"none\"}");
    assert_int_equal(reading->file.count, 1);
    assert_int_equal(reading->file.tests[0].step_count, 1);
    assert_int_equal(reading->file.tests[0].steps[0].answer, WEIR_TEST_NONE);
    finish(reading);
}

// Without quotes, what is a number in JSON is one; with them it is a text.
static void quotes_make_a_text(void **state) {
    (void)state;
    struct reading *reading = read_good(
        "test: t\nevent: {data: {a: 1, b: '1', c: true, d: yes, e: ~x, f: }}\nexpect: none\n");
    assert_str_equal(reading->file.tests[0].steps[0].event.data.bytes,
                     "{\"a\":1,\"b\":\"1\",\"c\":true,\"d\":\"yes\",\"e\":\"~x\",\"f\":null}");
    finish(reading);
}

static void each_mistake_names_its_line(void **state) {
    (void)state;
    assert_mistake("", 1, "", "nothing in it");
    assert_mistake("just a text", 1, "", "list of 1 to");
    assert_mistake("[]", 1, "", "list of 1 to");
    assert_mistake("- test: t\n  event: {subjct: a}\n  expect: none\n", 2, "subjct",
                   "did you mean \"subject\"");
    assert_mistake("- test: t\n  event: {a: b}\n  expect: none\n", 2, "a", "it may have: type");
    assert_mistake("- test: t\n  event: {}\n  expect: nothing\n", 3, "expect",
                   "none, event, error");
    assert_mistake("- test: t\n  event: {}\n  expect: {error: x, reject: y}\n", 3, "expect",
                   "is one of");
    assert_mistake("- test: t\n  event: {}\n", 1, "", "wants event and expect");
    assert_mistake("- test: t\n", 1, "", "wants event and expect");
    assert_mistake("- event: {}\n  expect: none\n", 1, "test", "a test wants it");
    assert_mistake("- test: t\n  event: {}\n  event: {}\n  expect: none\n", 3, "event", "twice");
    assert_mistake("- test: t\n  events: []\n", 2, "events", "a list of 1 to");
    assert_mistake("- test: t\n  events:\n    - event: {}\n", 3, "expect", "a step wants it");
    assert_mistake("- test: t\n  event: {data: {base64: AA=A}}\n  expect: none\n", 2, "base64",
                   "no base64");
    assert_mistake("- test: t\n  event: {data: {a: 1, a: 2}}\n  expect: none\n", 2, "a", "twice");
    assert_mistake("- test: t\n  event: {type: [a]}\n  expect: none\n", 2, "type", "a text");
    assert_mistake("- test: t\n  given: {store: x}\n  event: {}\n  expect: none\n", 2, "store",
                   "mapping of keys");
    assert_mistake("- test: t\n  event: {}\n  expect: none\n  then: {out: x}\n", 4, "out",
                   "list of the events");
    assert_mistake(
        "- test: t\n  event: {}\n  expect: none\n  events:\n    - {event: {}, expect: none}\n", 5,
        "events", "in place of");
    assert_mistake("- test: {", 2, "", "no valid YAML");
}

// An alias may unfold to more than there is memory for.
static void what_unfolds_without_end_is_refused(void **state) {
    (void)state;
    char text[4096];
    size_t size = (size_t)snprintf(text, sizeof text,
                                   "- test: t\n  expect: none\n  event:\n"
                                   "    data:\n      a0: &a0 [x, x, x, x]\n");
    for (int i = 1; i < 14; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size,
                                 "      a%d: &a%d [*a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1,
                                 i - 1, i - 1);
    }
    struct reading *reading = read_tests(text);
    assert_int_not_equal(reading->status, WEIR_OK);
    finish(reading);
}

static void an_event_is_as_the_store_tells_it(void **state) {
    (void)state;
    struct reading *reading = read_good("- test: t\n"
                                        "  events:\n"
                                        "    - {event: {subject: k, data: {a: 1}}, expect: none}\n"
                                        "    - {event: {subject: k}, expect: none}\n"
                                        "    - event: {type: t, source: /s, id: i, time: "
                                        "'2026-02-02T00:00:00Z', datacontenttype: application/json,"
                                        " data: x, extensions: {hops: '2'}}\n"
                                        "      expect: none\n");
    const struct weir_test_step *steps = reading->file.tests[0].steps;
    struct weir_event *event;
    assert_int_equal(weir_test_event_make(&steps[0].event, "store", 1, &event, NULL), WEIR_OK);
    assert_str_equal(event->fields.ty, WEIR_TYPE_KEYVALUE_SET);
    assert_str_equal(event->fields.source, "/store");
    assert_str_equal(event->fields.subject.value, "k");
    assert_str_equal(event->fields.datacontenttype.value, "text/plain");
    assert_str_equal(event->fields.data.value.bytes, "{\"a\":1}");
    weir_event_unref(event);
    assert_int_equal(weir_test_event_make(&steps[1].event, "store", 2, &event, NULL), WEIR_OK);
    assert_str_equal(event->fields.ty, WEIR_TYPE_KEYVALUE_DELETED);
    assert_false(event->fields.data.is_some || event->fields.datacontenttype.is_some);
    weir_event_unref(event);
    assert_int_equal(weir_test_event_make(&steps[2].event, "store", 3, &event, NULL), WEIR_OK);
    assert_str_equal(event->fields.ty, "t");
    assert_str_equal(event->fields.id, "i");
    assert_str_equal(event->fields.datacontenttype.value, "application/json");
    assert_str_equal(weir_event_extension(&event->fields, "hops"), "2");
    weir_event_unref(event);
    finish(reading);
}

// ---- what differs ----

// Compares the test's first event with itself as the handler's answer. `ret_text` is to be freed.
static bool judge(const char *expect, const char *answer, char **ret_text) {
    char text[1024];
    size_t size = 0;
    snprintf(text, sizeof text, "- test: t\n  event: %s\n  expect: {event: %s}\n", answer, expect);
    struct reading *reading = read_good(text);
    const struct weir_test_step *step = &reading->file.tests[0].steps[0];
    struct weir_verdict verdict = {.outcome = WEIR_HANDLED};
    FILE *out = open_memstream(ret_text, &size);
    assert_non_null(out);
    assert_int_equal(weir_test_event_make(&step->event, "store", 1, &verdict.derived, NULL),
                     WEIR_OK);
    bool is_same = weir_test_judge_verdict(step, &verdict, out);
    assert_int_equal(fclose(out), 0);
    weir_event_unref(verdict.derived);
    finish(reading);
    return is_same;
}

static void assert_same(const char *expect, const char *answer) {
    char *text;
    if (!judge(expect, answer, &text)) {
        fail_msg("these differ: %s", text);
    }
    assert_string_equal(text, "");
    free(text);
}

static void assert_differs(const char *expect, const char *answer, const char *part) {
    char *text;
    assert_false(judge(expect, answer, &text));
    if (!strstr(text, part)) {
        fail_msg("this does not say \"%s\":\n%s", part, text);
    }
    free(text);
}

static void only_what_is_written_is_compared(void **state) {
    (void)state;
    assert_same("{}", "{type: a, data: x}");
    assert_same("{type: a, data: {b: [1, x], a: null}}",
                "{type: a, data: '{\"a\":null, \"b\":[1,\"x\"]}'}");
    assert_same("{data: x, extensions: {a: b}}", "{data: x, extensions: {c: d, a: b}}");
    assert_same("{data: null}", "{subject: k}");
    assert_same("{data: {base64: AAE=}}", "{data: {base64: AAE=}}");
}

static void what_differs_is_shown(void **state) {
    (void)state;
    assert_differs("{type: a}", "{type: b}", "type:\n        - a\n        + b\n");
    assert_differs("{subject: a}", "{type: b}", "+ (none)");
    assert_differs("{extensions: {a: b}}", "{extensions: {a: c}}", "extension a:");
    assert_differs("{data: {a: 1, b: 2}}", "{data: {a: 1, b: 3}}",
                   "            \"a\": 1,\n        -   \"b\": 2\n        +   \"b\": 3\n");
    assert_differs("{data: {a: 1}}", "{data: not JSON}", "this is none");
    assert_differs("{data: x}", "{type: t}", "there is none");
    assert_differs("{data: null}", "{data: x}", "none was expected");
    assert_differs("{data: {base64: AAE=}}", "{data: {base64: AAI=}}", "+ \\x00\\x02");
}

static bool judge_error(const char *expect, enum weir_outcome outcome, const char *message,
                        char **ret_text) {
    char text[256];
    size_t size = 0;
    snprintf(text, sizeof text, "- test: t\n  event: {}\n  expect: %s\n", expect);
    struct reading *reading = read_good(text);
    struct weir_verdict verdict = {.outcome = outcome};
    snprintf(verdict.error.message, sizeof verdict.error.message, "%s", message);
    FILE *out = open_memstream(ret_text, &size);
    assert_non_null(out);
    bool is_same = weir_test_judge_verdict(&reading->file.tests[0].steps[0], &verdict, out);
    assert_int_equal(fclose(out), 0);
    finish(reading);
    return is_same;
}

static void answers_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *expect;
        enum weir_outcome outcome;
        const char *message;
        bool is_same;
        const char *part;
    } rows[] = {
        {"none", WEIR_HANDLED, "", true, ""},
        {"reject", WEIR_REJECTED, "no JSON", true, ""},
        {"{reject: JSON}", WEIR_REJECTED, "no JSON", true, ""},
        {"{error: busy}", WEIR_FAILED, "the store is busy", true, ""},
        {"broken", WEIR_BROKEN, "trap", true, ""},
        {"none", WEIR_FAILED, "busy", false, "answered: error: busy"},
        {"event", WEIR_HANDLED, "", false, "expected: event\n      answered: none"},
        {"error", WEIR_REJECTED, "no", false, "answered: reject"},
        {"{reject: XML}", WEIR_REJECTED, "no JSON", false, "+ no JSON"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *text;
        bool is_same = judge_error(rows[i].expect, rows[i].outcome, rows[i].message, &text);
        if (is_same != rows[i].is_same || !strstr(text, rows[i].part)) {
            fail_msg("%s: %s", rows[i].expect, text);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_test_is_read),
        cmocka_unit_test(one_test_may_stand_alone_and_be_json),
        cmocka_unit_test(quotes_make_a_text),
        cmocka_unit_test(each_mistake_names_its_line),
        cmocka_unit_test(what_unfolds_without_end_is_refused),
        cmocka_unit_test(an_event_is_as_the_store_tells_it),
        cmocka_unit_test(only_what_is_written_is_compared),
        cmocka_unit_test(what_differs_is_shown),
        cmocka_unit_test(answers_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
