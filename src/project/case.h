// SPDX-License-Identifier: Apache-2.0
//
// A test of handlers: what is given, which events come, what has to be answered, and what is there
// then. Read from YAML (and so from JSON), with all mistakes at once, each with its line; compared
// with what a handler did. docs/projects.md has the format.
//
// Main thread.
#ifndef WEIR_PROJECT_CASE_H
#define WEIR_PROJECT_CASE_H

#include "config/config.h"
#include "config/document.h"
#include "event/event.h"

#include <jansson.h>
#include <stdio.h>

struct weir_verdict;

enum {
    WEIR_TESTS_MAX = 4096,       // of one file
    WEIR_TEST_EVENTS_MAX = 1024, // of one test
};

// A body or a value. What lives in a file of tests lives as long as that.
struct weir_test_data {
    bool is_there;         // false: none, no such key
    json_t *json;          // written as a mapping or a list; NULL: it is compared byte by byte
    struct weir_str bytes; // the JSON's text, where it is that
};

// The attributes of an event that a test may name, in the order of weir_test_attributes.
enum weir_test_attribute {
    WEIR_TEST_TYPE,
    WEIR_TEST_SOURCE,
    WEIR_TEST_ID,
    WEIR_TEST_SUBJECT,
    WEIR_TEST_TIME,
    WEIR_TEST_DATACONTENTTYPE,
    WEIR_TEST_DATASCHEMA,
    WEIR_TEST_ATTRIBUTES,
};
extern const char *const weir_test_attributes[WEIR_TEST_ATTRIBUTES];

// An event as a test writes it: what is not written is filled in where it comes, and does not
// matter where it is expected.
struct weir_test_event {
    struct weir_place place;
    struct weir_optional_str attributes[WEIR_TEST_ATTRIBUTES];
    struct weir_attribute *extensions;
    size_t extension_count;
    bool has_data; // written, be it as nothing
    struct weir_test_data data;
};

enum weir_test_answer {
    WEIR_TEST_NONE,   // ok, without an event
    WEIR_TEST_EVENT,  // ok, with one
    WEIR_TEST_ERROR,  // to be tried again
    WEIR_TEST_REJECT, // rejected
    WEIR_TEST_BROKEN, // a trap, a bound, a broken contract
};

struct weir_test_step {
    struct weir_place place;
    struct weir_test_event event;
    enum weir_test_answer answer;
    struct weir_str text;             // of error, reject, broken: what their text has to contain
    struct weir_test_event *expected; // of event; NULL: any
};

struct weir_test_key {
    struct weir_place place;
    const char *resource;
    struct weir_str key;
    struct weir_test_data data;
};

struct weir_test_events {
    struct weir_place place;
    const char *resource;
    struct weir_test_event *items;
    size_t count;
};

struct weir_test {
    struct weir_place place;
    const char *name;
    const char *guest, *handler; // NULL: of the first subscription that fits
    struct weir_test_key *given;
    size_t given_count;
    struct weir_test_step *steps;
    size_t step_count;
    struct weir_test_key *keys; // what is there then
    size_t key_count;
    struct weir_test_events *published; // what was published then
    size_t published_count;
};

struct weir_test_file {
    struct weir_document document;
    json_t *jsons; // a list that owns every JSON of the tests
    struct weir_test *tests;
    size_t count;
};

// Reads tests. WEIR_INVALID with mistakes in `problems`, other statuses with `err`. `ret_file` is
// to be finished in each case.
weir_status weir_test_file_read(const char *path, struct weir_test_file *ret_file,
                                struct weir_problems *problems, struct weir_error *err);
weir_status weir_test_file_parse(struct weir_str text, struct weir_test_file *ret_file,
                                 struct weir_problems *problems, struct weir_error *err);
void weir_test_file_finish(struct weir_test_file *file);

// The event that a handler is given: what the test does not write is as of a key that was set in
// the resource `watched` (or deleted, where there is no data). `number`: of the event in its test,
// from 1. `ret_event` is to be given back.
weir_status weir_test_event_make(const struct weir_test_event *written, const char *watched,
                                 size_t number, struct weir_event **ret_event,
                                 struct weir_error *err);

// Each compares, and writes what differs to `out`, in lines indented by WEIR_TEST_INDENT. True:
// nothing does.
enum { WEIR_TEST_INDENT = 6 };
bool weir_test_judge_verdict(const struct weir_test_step *step, const struct weir_verdict *verdict,
                             FILE *out);
// `actual`: the key's value; NULL: there is no such key.
bool weir_test_judge_key(const struct weir_test_key *key, const struct weir_str *actual, FILE *out);
bool weir_test_judge_events(const struct weir_test_events *expected,
                            struct weir_event *const *actual, size_t count, FILE *out);

#endif
