// SPDX-License-Identifier: Apache-2.0
//
// Tests from YAML; see case.h. Each mapping is read by a table of the keys that it may have, so
// that what is unknown, missing or written twice is told in one place. Everything but JSON lives in
// the document's memory.
#include "project/case.h"

#include "base/base64.h"
#include "base/nearest.h"
#include "base/show.h"

#include <stdlib.h>

// Nodes that are looked at for JSON; only aliases unfold to so many.
enum { JSON_NODES_MAX = 1024 * 1024 };
// Of what is made of a file; likewise.
enum { MEMORY_BYTES_MAX = 256 * 1024 * 1024 };

struct reader {
    struct weir_test_file *file;
    struct weir_problems *problems;
    struct weir_error *err;
    weir_status status; // WEIR_OK, or what made the reader give up
    size_t json_nodes, memory_bytes;
};

// What a key of a mapping is, and who reads its value into the struct of the mapping.
struct field {
    const char *name;
    bool is_required;
    void (*read)(struct reader *reader, const struct weir_node *node, const char *name, void *into);
};

static void problem(struct reader *reader, const struct weir_node *node, const char *key,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

static void problem(struct reader *reader, const struct weir_node *node, const char *key,
                    const char *format, ...) {
    va_list args;
    va_start(args, format);
    weir_problems_add_v(reader->problems, node->place, key, format, args);
    va_end(args);
}

static void give_up(struct reader *reader, weir_status status) {
    reader->status = reader->status == WEIR_OK ? status : reader->status;
}

// Zeroed memory for so many and one more; NULL where the reader has given up.
static void *allocate(struct reader *reader, size_t count, size_t size) {
    size_t bytes = (count + 1) * size;
    reader->memory_bytes += bytes;
    if (reader->memory_bytes > MEMORY_BYTES_MAX) {
        give_up(reader,
                weir_fail(reader->err, WEIR_LIMIT, "the tests of one file take more than %d MiB",
                          MEMORY_BYTES_MAX / 1024 / 1024));
        return NULL;
    }
    void *memory = weir_document_allocate(&reader->file->document, bytes);
    if (memory) {
        memset(memory, 0, bytes);
    } else {
        give_up(reader, weir_fail_no_memory(reader->err, "the tests"));
    }
    return memory;
}

// ---- mappings ----

static const struct field *find_field(const struct field *fields, struct weir_str name,
                                      size_t *ret_index) {
    for (size_t i = 0; fields[i].name; i++) {
        if (weir_str_equal(name, weir_str_of(fields[i].name))) {
            *ret_index = i;
            return &fields[i];
        }
    }
    return NULL;
}

static void unknown_key(struct reader *reader, const struct weir_node *key, const char *what,
                        const struct field *fields) {
    struct weir_nearest nearest;
    char shown[WEIR_SHOW_BYTES], list[256] = "";
    size_t size = 0;
    weir_nearest_init(&nearest, key->text);
    for (size_t i = 0; fields[i].name; i++) {
        weir_nearest_offer(&nearest, fields[i].name);
        size += (size_t)snprintf(list + size, sizeof list - size, "%s%s", i > 0 ? ", " : "",
                                 fields[i].name);
    }
    weir_show(key->text, shown, sizeof shown);
    if (nearest.best) {
        problem(reader, key, shown, "%s has no such key; did you mean \"%s\"?", what, nearest.best);
    } else {
        problem(reader, key, shown, "%s has no such key; it may have: %s", what, list);
    }
}

// Reads a mapping's values into a struct. `what` names it in messages: "a test".
static void read_mapping(struct reader *reader, const struct weir_node *node, const char *what,
                         const struct field *fields, void *into) {
    uint64_t seen = 0; // a bit for each field
    if (node->kind != WEIR_NODE_MAPPING) {
        problem(reader, node, "", "%s is a mapping of keys to values", what);
        return;
    }
    for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
         entry = entry->next) {
        size_t index = 0;
        const struct field *field = find_field(fields, entry->key->text, &index);
        if (!field) {
            unknown_key(reader, entry->key, what, fields);
        } else if (seen & UINT64_C(1) << index) {
            problem(reader, entry->key, field->name, "it is there twice");
        } else {
            seen |= UINT64_C(1) << index;
            field->read(reader, entry->value, field->name, into);
        }
    }
    for (size_t i = 0; fields[i].name; i++) {
        if (fields[i].is_required && !(seen & UINT64_C(1) << i)) {
            problem(reader, node, fields[i].name, "%s wants it", what);
        }
    }
}

static bool is_nothing(const struct weir_node *node) {
    return node->kind == WEIR_NODE_SCALAR && node->is_plain &&
           (node->is_nothing || weir_str_equal(node->text, WEIR_STR("null")) ||
            weir_str_equal(node->text, WEIR_STR("~")));
}

static bool read_scalar(struct reader *reader, const struct weir_node *node, const char *name,
                        struct weir_str *ret_text) {
    if (node->kind != WEIR_NODE_SCALAR || node->is_nothing) {
        problem(reader, node, name, "a text is wanted");
        return false;
    }
    *ret_text = node->text;
    return true;
}

// ---- data ----

static json_t *json_of(struct reader *reader, const struct weir_node *node);

// Without quotes, what JSON knows as a number, true, false or null is that; any other text is a
// text.
static json_t *json_of_scalar(const struct weir_node *node) {
    json_t *value = NULL;
    if (node->is_nothing) {
        return json_null();
    }
    if (node->is_plain) {
        value = json_loadb(node->text.data, node->text.size, JSON_DECODE_ANY, NULL);
    }
    return value ? value : json_stringn(node->text.data, node->text.size);
}

static json_t *json_of_list(struct reader *reader, const struct weir_node *node) {
    json_t *list = json_array();
    for (const struct weir_entry *entry = node->first; list && entry; entry = entry->next) {
        if (json_array_append_new(list, json_of(reader, entry->value)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_of_mapping(struct reader *reader, const struct weir_node *node) {
    json_t *object = json_object();
    for (const struct weir_entry *entry = node->first; object && entry; entry = entry->next) {
        struct weir_str key = entry->key->text;
        if (json_object_getn(object, key.data, key.size)) {
            char shown[WEIR_SHOW_BYTES];
            problem(reader, entry->key, weir_show(key, shown, sizeof shown), "it is there twice");
        }
        if (json_object_setn_new(object, key.data, key.size, json_of(reader, entry->value)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

// NULL: no memory, or more than JSON_NODES_MAX.
static json_t *json_of(struct reader *reader, const struct weir_node *node) {
    if (++reader->json_nodes > JSON_NODES_MAX) {
        return NULL;
    }
    return node->kind == WEIR_NODE_LIST      ? json_of_list(reader, node)
           : node->kind == WEIR_NODE_MAPPING ? json_of_mapping(reader, node)
                                             : json_of_scalar(node);
}

static void read_json(struct reader *reader, const struct weir_node *node,
                      struct weir_test_data *data) {
    json_t *json = json_of(reader, node);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    // The list owns it from now on, also where it has no room.
    if (!text || json_array_append_new(reader->file->jsons, json) != 0) {
        give_up(reader, weir_fail_no_memory(reader->err, "the tests"));
        free(text);
        return;
    }
    size_t size = strlen(text);
    char *kept = allocate(reader, size, 1);
    if (kept) {
        memcpy(kept, text, size + 1);
        *data = (struct weir_test_data){
            .is_there = true, .json = json, .bytes = {.data = kept, .size = size}};
    }
    free(text);
}

static void read_base64(struct reader *reader, const struct weir_node *node,
                        struct weir_test_data *data) {
    char *bytes = allocate(reader, node->text.size / 4 * 3 + 1, 1);
    size_t size = 0;
    if (!bytes) {
        return;
    }
    if (node->kind != WEIR_NODE_SCALAR || !weir_base64_decode(node->text, bytes, &size)) {
        problem(reader, node, "base64", "this is no base64 (RFC 4648, with its padding)");
        return;
    }
    *data = (struct weir_test_data){.is_there = true, .bytes = {.data = bytes, .size = size}};
}

static void read_data_of(struct reader *reader, const struct weir_node *node,
                         struct weir_test_data *data) {
    const struct weir_entry *first = node->kind == WEIR_NODE_MAPPING ? node->first : NULL;
    bool is_base64 =
        first && node->count == 1 && weir_str_equal(first->key->text, WEIR_STR("base64"));
    if (is_nothing(node)) {
        *data = (struct weir_test_data){.is_there = false};
    } else if (is_base64) {
        read_base64(reader, first->value, data);
    } else if (node->kind == WEIR_NODE_SCALAR) {
        *data = (struct weir_test_data){.is_there = true, .bytes = node->text};
    } else {
        read_json(reader, node, data);
    }
}

// ---- events ----

const char *const weir_test_attributes[WEIR_TEST_ATTRIBUTES] = {
    "type", "source", "id", "subject", "time", "datacontenttype", "dataschema",
};

static void read_attribute(struct reader *reader, const struct weir_node *node, const char *name,
                           void *into) {
    struct weir_test_event *event = into;
    for (size_t i = 0; i < WEIR_TEST_ATTRIBUTES; i++) {
        struct weir_optional_str *attribute = &event->attributes[i];
        if (strcmp(weir_test_attributes[i], name) == 0) {
            attribute->is_some = read_scalar(reader, node, name, &attribute->value);
        }
    }
}

static void read_event_data(struct reader *reader, const struct weir_node *node, const char *name,
                            void *into) {
    (void)name;
    struct weir_test_event *event = into;
    event->has_data = true;
    read_data_of(reader, node, &event->data);
}

static void read_extensions(struct reader *reader, const struct weir_node *node, const char *name,
                            void *into) {
    struct weir_test_event *event = into;
    if (node->kind != WEIR_NODE_MAPPING || node->count > WEIR_EXTENSIONS_MAX) {
        problem(reader, node, name, "it is a mapping of at most %d names to texts",
                WEIR_EXTENSIONS_MAX);
        return;
    }
    event->extensions = allocate(reader, node->count, sizeof *event->extensions);
    for (const struct weir_entry *entry = node->first; event->extensions && entry;
         entry = entry->next) {
        struct weir_attribute *extension = &event->extensions[event->extension_count];
        extension->name = entry->key->text;
        if (read_scalar(reader, entry->value, name, &extension->value)) {
            event->extension_count++;
        }
    }
}

static void read_event(struct reader *reader, const struct weir_node *node,
                       struct weir_test_event *event) {
    static const struct field fields[] = {
        {"type", false, read_attribute},        {"source", false, read_attribute},
        {"id", false, read_attribute},          {"subject", false, read_attribute},
        {"time", false, read_attribute},        {"datacontenttype", false, read_attribute},
        {"dataschema", false, read_attribute},  {"data", false, read_event_data},
        {"extensions", false, read_extensions}, {NULL, false, NULL},
    };
    event->place = node->place;
    read_mapping(reader, node, "an event", fields, event);
}

// ---- what is expected ----

static void set_answer(struct reader *reader, const struct weir_node *node, const char *name,
                       struct weir_test_step *step, enum weir_test_answer answer) {
    step->answer = answer;
    if (!is_nothing(node)) {
        read_scalar(reader, node, name, &step->text);
    }
}

static void read_error(struct reader *reader, const struct weir_node *node, const char *name,
                       void *into) {
    set_answer(reader, node, name, into, WEIR_TEST_ERROR);
}

static void read_reject(struct reader *reader, const struct weir_node *node, const char *name,
                        void *into) {
    set_answer(reader, node, name, into, WEIR_TEST_REJECT);
}

static void read_broken(struct reader *reader, const struct weir_node *node, const char *name,
                        void *into) {
    set_answer(reader, node, name, into, WEIR_TEST_BROKEN);
}

static void read_expected_event(struct reader *reader, const struct weir_node *node,
                                const char *name, void *into) {
    (void)name;
    struct weir_test_step *step = into;
    step->answer = WEIR_TEST_EVENT;
    step->expected = is_nothing(node) ? NULL : allocate(reader, 1, sizeof *step->expected);
    if (step->expected) {
        read_event(reader, node, step->expected);
    }
}

static const char answers_wanted[] = "what is expected is one of: none, event, error, reject, "
                                     "broken; with more to say of it, a mapping such as "
                                     "{reject: TEXT}";

static void read_expect_word(struct reader *reader, const struct weir_node *node,
                             struct weir_test_step *step) {
    static const struct {
        const char *word;
        enum weir_test_answer answer;
    } words[] = {
        {"none", WEIR_TEST_NONE},     {"event", WEIR_TEST_EVENT},   {"error", WEIR_TEST_ERROR},
        {"reject", WEIR_TEST_REJECT}, {"broken", WEIR_TEST_BROKEN},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (weir_str_equal(node->text, weir_str_of(words[i].word))) {
            step->answer = words[i].answer;
            return;
        }
    }
    problem(reader, node, "expect", "%s", answers_wanted);
}

static void read_expect(struct reader *reader, const struct weir_node *node, const char *name,
                        void *into) {
    static const struct field fields[] = {
        {"event", false, read_expected_event},
        {"error", false, read_error},
        {"reject", false, read_reject},
        {"broken", false, read_broken},
        {NULL, false, NULL},
    };
    struct weir_test_step *step = into;
    if (node->kind == WEIR_NODE_SCALAR) {
        read_expect_word(reader, node, step);
    } else if (node->kind == WEIR_NODE_MAPPING && node->count == 1) {
        read_mapping(reader, node, "expect", fields, step);
    } else {
        problem(reader, node, name, "%s", answers_wanted);
    }
}

static void read_step_event(struct reader *reader, const struct weir_node *node, const char *name,
                            void *into) {
    (void)name;
    struct weir_test_step *step = into;
    read_event(reader, node, &step->event);
}

// ---- keys ----

static void read_keys(struct reader *reader, const struct weir_node *node, const char *resource,
                      struct weir_test_key *keys, size_t *count) {
    for (const struct weir_entry *entry = node->first; entry; entry = entry->next) {
        struct weir_test_key *key = &keys[(*count)++];
        *key = (struct weir_test_key){
            .place = entry->key->place, .resource = resource, .key = entry->key->text};
        read_data_of(reader, entry->value, &key->data);
    }
}

// How many keys the mappings within a mapping have.
static size_t count_keys(const struct weir_node *node) {
    size_t count = 0;
    for (const struct weir_entry *entry = node->first; entry; entry = entry->next) {
        count += entry->value->kind == WEIR_NODE_MAPPING ? entry->value->count : 0;
    }
    return count;
}

static void read_given(struct reader *reader, const struct weir_node *node, const char *name,
                       void *into) {
    struct weir_test *test = into;
    if (node->kind != WEIR_NODE_MAPPING) {
        problem(reader, node, name, "it is a mapping of resources to mappings of keys to values");
        return;
    }
    test->given = allocate(reader, count_keys(node), sizeof *test->given);
    for (const struct weir_entry *entry = node->first; test->given && entry; entry = entry->next) {
        if (entry->value->kind == WEIR_NODE_MAPPING) {
            read_keys(reader, entry->value, entry->key->text.data, test->given, &test->given_count);
        } else if (!is_nothing(entry->value)) {
            problem(reader, entry->value, entry->key->text.data,
                    "it is a mapping of keys to values");
        }
    }
}

static void read_published(struct reader *reader, const struct weir_node *node,
                           struct weir_test_events *published) {
    published->items = allocate(reader, node->count, sizeof *published->items);
    for (const struct weir_entry *entry = node->first; published->items && entry;
         entry = entry->next) {
        read_event(reader, entry->value, &published->items[published->count++]);
    }
}

static void read_then(struct reader *reader, const struct weir_node *node, const char *name,
                      void *into) {
    struct weir_test *test = into;
    if (node->kind != WEIR_NODE_MAPPING) {
        problem(reader, node, name, "it is a mapping of resources to what is there then");
        return;
    }
    test->keys = allocate(reader, count_keys(node), sizeof *test->keys);
    test->published = allocate(reader, node->count, sizeof *test->published);
    for (const struct weir_entry *entry = node->first; test->keys && test->published && entry;
         entry = entry->next) {
        const char *resource = entry->key->text.data;
        if (entry->value->kind == WEIR_NODE_MAPPING) {
            read_keys(reader, entry->value, resource, test->keys, &test->key_count);
        } else if (entry->value->kind == WEIR_NODE_LIST) {
            struct weir_test_events *published = &test->published[test->published_count++];
            *published =
                (struct weir_test_events){.place = entry->key->place, .resource = resource};
            read_published(reader, entry->value, published);
        } else {
            problem(reader, entry->value, resource,
                    "it is a mapping of keys to values, or a list of the events that were "
                    "published");
        }
    }
}

// ---- tests ----

static void read_name(struct reader *reader, const struct weir_node *node, const char *name,
                      void *into) {
    struct weir_test *test = into;
    struct weir_str text;
    test->name = read_scalar(reader, node, name, &text) ? text.data : "";
}

static void read_guest(struct reader *reader, const struct weir_node *node, const char *name,
                       void *into) {
    struct weir_test *test = into;
    struct weir_str text;
    test->guest = read_scalar(reader, node, name, &text) ? text.data : NULL;
}

static void read_handler(struct reader *reader, const struct weir_node *node, const char *name,
                         void *into) {
    struct weir_test *test = into;
    struct weir_str text;
    test->handler = read_scalar(reader, node, name, &text) ? text.data : NULL;
}

static void read_step(struct reader *reader, const struct weir_node *node,
                      struct weir_test_step *step) {
    static const struct field fields[] = {
        {"event", true, read_step_event}, {"expect", true, read_expect}, {NULL, false, NULL}};
    step->place = node->place;
    read_mapping(reader, node, "a step", fields, step);
}

static void read_events(struct reader *reader, const struct weir_node *node, const char *name,
                        void *into) {
    struct weir_test *test = into;
    if (node->kind != WEIR_NODE_LIST || node->count == 0 || node->count > WEIR_TEST_EVENTS_MAX ||
        test->steps) {
        problem(reader, node, name,
                "it is a list of 1 to %d items, {event: ..., expect: ...}, in place of event and "
                "expect beside it",
                WEIR_TEST_EVENTS_MAX);
        return;
    }
    test->steps = allocate(reader, node->count, sizeof *test->steps);
    for (const struct weir_entry *entry = node->first; test->steps && entry; entry = entry->next) {
        read_step(reader, entry->value, &test->steps[test->step_count++]);
    }
}

// The one step of a test with one event, whose keys are the test's.
static struct weir_test_step *only_step(struct reader *reader, const struct weir_node *node,
                                        struct weir_test *test, bool *is_there) {
    if (!test->steps) {
        test->steps = allocate(reader, 1, sizeof *test->steps);
        test->step_count = test->steps ? 1 : 0;
    } else if (test->step_count != 1 || *is_there) {
        problem(reader, node, "", "a test has either events, or one event and what is expected");
        return NULL;
    }
    *is_there = true;
    return test->steps;
}

struct test_reading {
    struct weir_test *test;
    bool has_event, has_expect;
};

#define OF_TEST(function)                                                            \
    static void test_##function(struct reader *reader, const struct weir_node *node, \
                                const char *name, void *into) {                      \
        function(reader, node, name, ((struct test_reading *)into)->test);           \
    }
OF_TEST(read_name)
OF_TEST(read_guest)
OF_TEST(read_handler)
OF_TEST(read_given)
OF_TEST(read_events)
OF_TEST(read_then)

static void test_read_event(struct reader *reader, const struct weir_node *node, const char *name,
                            void *into) {
    struct test_reading *reading = into;
    struct weir_test_step *step = only_step(reader, node, reading->test, &reading->has_event);
    if (step) {
        step->place = node->place;
        read_step_event(reader, node, name, step);
    }
}

static void test_read_expect(struct reader *reader, const struct weir_node *node, const char *name,
                             void *into) {
    struct test_reading *reading = into;
    struct weir_test_step *step = only_step(reader, node, reading->test, &reading->has_expect);
    if (step) {
        read_expect(reader, node, name, step);
    }
}

static void read_test(struct reader *reader, const struct weir_node *node, struct weir_test *test) {
    static const struct field fields[] = {
        {"test", true, test_read_name},
        {"guest", false, test_read_guest},
        {"handler", false, test_read_handler},
        {"given", false, test_read_given},
        {"event", false, test_read_event},
        {"expect", false, test_read_expect},
        {"events", false, test_read_events},
        {"then", false, test_read_then},
        {NULL, false, NULL},
    };
    struct test_reading reading = {.test = test};
    test->place = node->place;
    test->name = "";
    size_t before = reader->problems->count;
    read_mapping(reader, node, "a test", fields, &reading);
    bool is_short = reading.has_event || reading.has_expect;
    bool is_whole = reading.has_event && reading.has_expect;
    if (reader->problems->count == before && (is_short ? !is_whole : test->step_count == 0)) {
        problem(reader, node, "", "a test wants event and expect, or a list of them, events");
    }
}

static void read_tests(struct reader *reader, const struct weir_node *root) {
    struct weir_test_file *file = reader->file;
    if (root->kind == WEIR_NODE_SCALAR || root->count == 0 || root->count > WEIR_TESTS_MAX) {
        problem(reader, root, "", "a file of tests is a list of 1 to %d tests, or one test",
                WEIR_TESTS_MAX);
        return;
    }
    bool is_list = root->kind == WEIR_NODE_LIST;
    file->tests = allocate(reader, is_list ? root->count : 1, sizeof *file->tests);
    if (file->tests && !is_list) {
        read_test(reader, root, &file->tests[file->count++]);
        return;
    }
    for (const struct weir_entry *entry = root->first;
         file->tests && entry && reader->status == WEIR_OK; entry = entry->next) {
        read_test(reader, entry->value, &file->tests[file->count++]);
    }
}

weir_status weir_test_file_parse(struct weir_str text, struct weir_test_file *ret_file,
                                 struct weir_problems *problems, struct weir_error *err) {
    struct reader reader = {.file = ret_file, .problems = problems, .err = err};
    *problems = (struct weir_problems){.count = 0};
    *ret_file = (struct weir_test_file){.jsons = json_array()};
    if (!ret_file->jsons) {
        return weir_fail_no_memory(err, "the tests");
    }
    weir_status status = weir_document_parse(text, &ret_file->document, problems, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (ret_file->document.root) {
        read_tests(&reader, ret_file->document.root);
    } else {
        weir_problems_add(problems, (struct weir_place){.line = 1}, "",
                          "the file has nothing in it; it is a list of tests");
    }
    weir_problems_sort(problems);
    return reader.status != WEIR_OK ? reader.status : problems->count > 0 ? WEIR_INVALID : WEIR_OK;
}

weir_status weir_test_file_read(const char *path, struct weir_test_file *ret_file,
                                struct weir_problems *problems, struct weir_error *err) {
    char *text = NULL;
    size_t size = 0;
    *ret_file = (struct weir_test_file){.jsons = NULL};
    *problems = (struct weir_problems){.count = 0};
    weir_status status = weir_document_read(path, &text, &size, err);
    if (status == WEIR_OK) {
        struct weir_str content = {.data = text, .size = size};
        status = weir_test_file_parse(content, ret_file, problems, err);
    }
    free(text);
    return status;
}

void weir_test_file_finish(struct weir_test_file *file) {
    json_decref(file->jsons);
    weir_document_finish(&file->document);
    *file = (struct weir_test_file){.jsons = NULL};
}
