// SPDX-License-Identifier: Apache-2.0
//
// Lowering and lifting over a block of memory that stands for a guest's: values come back as they
// went, and whatever a guest puts into its memory or answers from its allocator is refused in words
// or harmless.
#include "guest/canon.h"
#include "guest/imports.h"
#include "unit/guest/linear_memory.h"
#include "unit/test.h"

enum { MEMORY_BYTES = 64 * 1024, FIRST_BLOCK = 1024 };

// The host's structs of functions that are imported, as import_reactive.c has them.
struct observable {
    struct weir_str rd, key;
};
struct opened {
    uint8_t is_err;
    struct weir_str ok;
    struct weir_wit_error err;
};
struct set_given {
    uint8_t is_err;
    uint32_t ok;
    struct weir_wit_error err;
};
struct done {
    uint8_t is_err;
    struct weir_wit_error err;
};
struct watch_params {
    struct weir_str rd, key;
};
struct listen_params {
    uint32_t self;
    struct observable ob;
};
struct listen_to_params {
    uint32_t self;
    struct observable ob;
    struct weir_str handler;
};
struct exec_params {
    uint32_t self;
    uint64_t duration_s;
};

static const struct weir_wit_function *function_named(const char *interface, const char *name) {
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        const struct weir_import_interface *one = weir_import_interfaces[i];
        for (size_t j = 0; strcmp(one->name, interface) == 0 && j < one->function_count; j++) {
            if (strcmp(one->functions[j].wit.name, name) == 0) {
                return &one->functions[j].wit;
            }
        }
    }
    fail_msg("there is no function %s in %s", name, interface);
    return NULL;
}

static struct weir_str some_bytes(char *buffer, size_t size) {
    for (size_t i = 0; i < size; i++) {
        buffer[i] = (char)('a' + i % 26);
    }
    return (struct weir_str){buffer, size};
}

static void assert_same(struct weir_str a, struct weir_str b) {
    assert_int_equal(a.size, b.size);
    assert_true(weir_str_equal(a, b));
}

static void assert_same_optional(const struct weir_optional_str *a,
                                 const struct weir_optional_str *b) {
    assert_int_equal(a->is_some, b->is_some);
    assert_same(a->value, b->value);
}

static void assert_same_event(const struct weir_event_fields *a,
                              const struct weir_event_fields *b) {
    assert_same(a->specversion, b->specversion);
    assert_same(a->ty, b->ty);
    assert_same(a->source, b->source);
    assert_same(a->id, b->id);
    assert_int_equal(a->data.is_some, b->data.is_some);
    assert_int_equal(a->data.value.kind, b->data.value.kind);
    assert_same(a->data.value.bytes, b->data.value.bytes);
    assert_same_optional(&a->datacontenttype, &b->datacontenttype);
    assert_same_optional(&a->dataschema, &b->dataschema);
    assert_same_optional(&a->subject, &b->subject);
    assert_same_optional(&a->time, &b->time);
    assert_int_equal(a->extensions.count, b->extensions.count);
    for (size_t i = 0; i < a->extensions.count; i++) {
        assert_same(a->extensions.items[i].name, b->extensions.items[i].name);
        assert_same(a->extensions.items[i].value, b->extensions.items[i].value);
    }
}

static const struct weir_attribute two_extensions[] = {
    {WEIR_STR("revision"), WEIR_STR("17")},
    {WEIR_STR("empty"), {0}},
};

// Every optional attribute given.
static struct weir_event_fields full(void) {
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = WEIR_STR("/here"),
        .id = WEIR_STR("42"),
        .data = {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("gr\u00fcn")}},
        .datacontenttype = {true, WEIR_STR("text/plain")},
        .dataschema = {true, WEIR_STR("urn:x")},
        .subject = {true, WEIR_STR("orders/1")},
        .time = {true, WEIR_STR("2026-01-31T12:34:56Z")},
        .extensions = {two_extensions, COUNT_OF(two_extensions)},
    };
}

static weir_status lower_event(struct test_memory *memory, const struct weir_event_fields *event,
                               uint32_t *ret_address, struct weir_error *err) {
    return weir_canon_lower_new(&memory->linear, &weir_wit_event, event, ret_address, err);
}

static void assert_comes_back(const struct weir_event_fields *event) {
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    uint32_t address;
    struct weir_error err = {.message = ""};
    struct weir_scratch scratch;
    weir_canon_scratch_init(&scratch);
    struct weir_event_fields lifted;
    assert_int_equal(lower_event(&memory, event, &address, &err), WEIR_OK);
    assert_int_equal(
        weir_canon_lift(&memory.linear, &weir_wit_event, address, &lifted, &scratch, &err),
        WEIR_OK);
    assert_same_event(event, &lifted);
    test_memory_finish(&memory);
}

static void an_event_comes_back_as_it_went(void **state) {
    (void)state;
    struct weir_event_fields event = full();
    assert_comes_back(&event);
    event.data.value = (struct weir_payload){WEIR_PAYLOAD_BINARY, WEIR_STR("\xff\0\x80")};
    assert_comes_back(&event);
    event.data = (struct weir_optional_payload){true, {WEIR_PAYLOAD_BINARY, {0}}};
    assert_comes_back(&event);
    event = (struct weir_event_fields){0};
    assert_comes_back(&event);
    event.subject = (struct weir_optional_str){.is_some = true}; // given, and empty
    assert_comes_back(&event);
}

static void the_largest_list_comes_back(void **state) {
    (void)state;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    char names[WEIR_EXTENSIONS_MAX][8];
    for (size_t i = 0; i < COUNT_OF(extensions); i++) {
        snprintf(names[i], sizeof names[i], "x%zu", i);
        extensions[i] = (struct weir_attribute){weir_str_of(names[i]), weir_str_of(names[i])};
    }
    struct weir_event_fields event = full();
    event.extensions = (struct weir_attributes){extensions, COUNT_OF(extensions)};
    assert_comes_back(&event);
}

// What the guest's code reads, byte for byte as CanonicalABI.md stores it.
static void a_guest_finds_each_field_where_the_abi_puts_it(void **state) {
    (void)state;
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    struct weir_event_fields event = full();
    uint32_t address, word;
    assert_int_equal(lower_event(&memory, &event, &address, NULL), WEIR_OK);
    assert_int_equal(address % 4, 0);
    const uint8_t *base = memory.linear.base, *record = base + address;
    static const struct {
        uint32_t offset;
        const char *text;
    } texts[] = {{0, "1.0"},    {8, "dev.weir.test"}, {16, "/here"},
                 {24, "42"},    {40, "gr\u00fcn"},    {52, "text/plain"},
                 {64, "urn:x"}, {76, "orders/1"},     {88, "2026-01-31T12:34:56Z"}};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        memcpy(&word, record + texts[i].offset + 4, 4);
        assert_int_equal(word, strlen(texts[i].text));
        memcpy(&word, record + texts[i].offset, 4);
        assert_memory_equal(base + word, texts[i].text, strlen(texts[i].text));
    }
    static const uint32_t ones[] = {32, 48, 60, 72, 84}; // is_some
    for (size_t i = 0; i < COUNT_OF(ones); i++) {
        assert_int_equal(record[ones[i]], 1);
    }
    assert_int_equal(record[36], WEIR_PAYLOAD_TEXT);
    memcpy(&word, record + 100, 4);
    assert_int_equal(word, 2);
    // One allocation for the record, one for each text that is not empty, one for the list.
    assert_int_equal(memory.allocations, 1 + COUNT_OF(texts) + 1 + 3);
    test_memory_finish(&memory);
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    struct weir_event_fields event = full();
    size_t failures = 0;
    weir_status status = WEIR_TRAPPED;
    for (size_t at = 0; status != WEIR_OK; at++) {
        struct test_memory memory;
        test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
        memory.fails_at = at;
        uint32_t address;
        struct weir_error err = {.message = ""};
        status = lower_event(&memory, &event, &address, &err);
        if (status != WEIR_OK) {
            failures++;
            assert_int_equal(status, WEIR_TRAPPED);
            assert_message_has(&err, "the guest trapped");
        }
        test_memory_finish(&memory);
    }
    assert_int_equal(failures, 14);
}

static void an_allocators_nonsense_is_refused(void **state) {
    (void)state;
    static const struct {
        uint32_t answer;
        const char *part;
    } rows[] = {
        {MEMORY_BYTES - 4, "outside of the memory"},
        {MEMORY_BYTES, "outside of the memory"},
        {UINT32_MAX - 3, "outside of the memory"},
        {1026, "not so aligned"},
        {UINT32_MAX, "not so aligned"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct test_memory memory;
        test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
        memory.is_hostile = true;
        memory.answer = rows[i].answer;
        struct weir_event_fields event = full();
        uint32_t address;
        struct weir_error err;
        assert_int_equal(lower_event(&memory, &event, &address, &err), WEIR_TRAPPED);
        assert_message_has(&err, rows[i].part);
        assert_message_has(&err, "cabi_realloc");
        test_memory_finish(&memory);
    }
}

// The same block again and again, and the end of the memory: harmless to the host.
static void blocks_over_each_other_are_the_guests_own_affair(void **state) {
    (void)state;
    static const uint32_t answers[] = {0, 8, MEMORY_BYTES - 104};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct test_memory memory;
        test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
        memory.is_hostile = true;
        memory.answer = answers[i];
        struct weir_event_fields event = full();
        uint32_t address;
        assert_int_equal(lower_event(&memory, &event, &address, NULL), WEIR_OK);
        test_memory_finish(&memory);
    }
}

static void a_text_of_the_guests_own_memory_may_be_lowered_over_itself(void **state) {
    (void)state;
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    struct weir_str own = some_bytes((char *)memory.linear.base + 512, 100);
    struct opened opened = {.is_err = 0, .ok = own};
    memory.is_hostile = true;
    memory.answer = 500; // overlaps it
    assert_int_equal(weir_canon_lower_at(&memory.linear,
                                         function_named(WEIR_WIT_RESOURCES, "open")->result,
                                         &opened, 0, NULL),
                     WEIR_OK);
    char expected[100];
    some_bytes(expected, sizeof expected);
    assert_memory_equal(memory.linear.base + 500, expected, sizeof expected);
    test_memory_finish(&memory);
}

static void the_bound_on_bytes_is_exact_when_lowering(void **state) {
    (void)state;
    struct weir_event_fields event = full();
    const uint64_t texts = strlen("1.0"
                                  "dev.weir.test"
                                  "/here"
                                  "42"
                                  "gr\u00fcn"
                                  "text/plain"
                                  "urn:x"
                                  "orders/1"
                                  "2026-01-31T12:34:56Z"
                                  "revision"
                                  "17"
                                  "empty");
    const uint64_t bytes = texts + 2 * 16; // and the list's items
    for (uint64_t most = bytes - 1; most <= bytes; most++) {
        struct test_memory memory;
        test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
        memory.linear.bytes_max = most;
        uint32_t address;
        struct weir_error err = {.message = ""};
        weir_status status = lower_event(&memory, &event, &address, &err);
        assert_int_equal(status, most == bytes ? WEIR_OK : WEIR_LIMIT);
        if (status != WEIR_OK) {
            assert_message_has(&err, "bounds.event");
        }
        test_memory_finish(&memory);
    }
}

static void the_bound_on_bytes_is_exact_when_lifting(void **state) {
    (void)state;
    struct weir_event_fields event = full(), lifted;
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    uint32_t address;
    assert_int_equal(lower_event(&memory, &event, &address, NULL), WEIR_OK);
    weir_status before = WEIR_LIMIT;
    uint64_t needed = 0;
    for (uint64_t most = 0; before == WEIR_LIMIT; most++) {
        struct weir_scratch scratch;
        weir_canon_scratch_init(&scratch);
        memory.linear.bytes_max = most;
        before = weir_canon_lift(&memory.linear, &weir_wit_event, address, &lifted, &scratch, NULL);
        needed = most;
    }
    assert_int_equal(before, WEIR_OK);
    struct test_memory other;
    test_memory_init(&other, MEMORY_BYTES, FIRST_BLOCK);
    other.linear.bytes_max = needed; // what can be lifted can be lowered
    assert_int_equal(lower_event(&other, &event, &address, NULL), WEIR_OK);
    test_memory_finish(&other);
    test_memory_finish(&memory);
}

static void a_list_that_is_too_long_is_not_lowered(void **state) {
    (void)state;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX + 1] = {0};
    struct weir_event_fields event = full();
    event.extensions = (struct weir_attributes){extensions, COUNT_OF(extensions)};
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    uint32_t address;
    struct weir_error err;
    assert_int_equal(lower_event(&memory, &event, &address, &err), WEIR_LIMIT);
    assert_message_has(&err, "65 items");
    test_memory_finish(&memory);
}

static void a_return_pointer_is_checked(void **state) {
    (void)state;
    const struct weir_wit_type *type =
        function_named(WEIR_WIT_EVENTS, "[static]events.get")->result; // 16 bytes
    const struct set_given set = {.is_err = 0, .ok = 7};
    static const struct {
        uint32_t address;
        weir_status status;
    } rows[] = {
        {0, WEIR_OK},
        {MEMORY_BYTES - 16, WEIR_OK},
        {MEMORY_BYTES - 12, WEIR_TRAPPED},
        {MEMORY_BYTES, WEIR_TRAPPED},
        {UINT32_MAX - 15, WEIR_TRAPPED},
        {2, WEIR_TRAPPED},
        {UINT32_MAX, WEIR_TRAPPED},
    };
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err;
        assert_int_equal(weir_canon_lower_at(&memory.linear, type, &set, rows[i].address, &err),
                         rows[i].status);
        if (rows[i].status != WEIR_OK) {
            assert_message_has(&err, "the return pointer");
        } else {
            uint32_t handle;
            memcpy(&handle, memory.linear.base + rows[i].address + 4, sizeof handle);
            assert_int_equal(memory.linear.base[rows[i].address], 0);
            assert_int_equal(handle, 7);
        }
    }
    test_memory_finish(&memory);
}

static void every_error_is_lowered_as_its_case(void **state) {
    (void)state;
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    for (uint8_t kind = 0; kind < WEIR_OTHER; kind++) {
        const struct done done = {.is_err = 1, .err = {kind, WEIR_STR("why")}};
        assert_int_equal(
            weir_canon_lower_at(&memory.linear,
                                function_named(WEIR_WIT_EVENTS, "[method]events.exec")->result,
                                &done, 0, NULL),
            WEIR_OK);
        uint32_t text[2];
        memcpy(text, memory.linear.base + 8, sizeof text);
        assert_int_equal(memory.linear.base[0], 1);
        assert_int_equal(memory.linear.base[4], kind);
        assert_int_equal(text[1], 3);
        assert_memory_equal(memory.linear.base + text[0], "why", 3);
    }
    test_memory_finish(&memory);
}

// A handler's sound result at address 0: ok(some(event)).
static void put_handled(struct test_memory *memory) {
    test_memory_init(memory, MEMORY_BYTES, FIRST_BLOCK);
    struct weir_wit_handled handled = {.ok = {.is_some = 1, .value = full()}};
    assert_int_equal(weir_canon_lower_at(&memory->linear, &weir_wit_handled, &handled, 0, NULL),
                     WEIR_OK);
}

static weir_status lift_handled(struct test_memory *memory, uint32_t address,
                                struct weir_wit_handled *ret_handled, struct weir_error *err) {
    static struct weir_scratch scratch;
    weir_canon_scratch_init(&scratch);
    return weir_canon_lift(&memory->linear, &weir_wit_handled, address, ret_handled, &scratch, err);
}

// Each of the result's 28 words becomes each of these values: what is read is inside, or it is
// refused.
static void no_word_of_a_result_makes_the_host_read_outside(void **state) {
    (void)state;
    static const uint32_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      255,
                                      256,
                                      MEMORY_BYTES - 1,
                                      MEMORY_BYTES,
                                      MEMORY_BYTES + 1,
                                      0x7FFFFFFF,
                                      0x80000000,
                                      0xFFFFFFF0,
                                      0xFFFFFFFC,
                                      0xFFFFFFFF};
    size_t refused = 0, taken = 0;
    for (uint32_t word = 0; word < 28; word++) {
        for (size_t i = 0; i < COUNT_OF(values); i++) {
            struct test_memory memory;
            put_handled(&memory);
            memcpy(memory.linear.base + (size_t)word * 4, &values[i], 4);
            struct weir_wit_handled handled;
            struct weir_error err = {.message = ""};
            weir_status status = lift_handled(&memory, 0, &handled, &err);
            assert_true(status == WEIR_OK || status == WEIR_TRAPPED || status == WEIR_LIMIT);
            if (status == WEIR_OK && !handled.is_err && handled.ok.is_some) {
                // Every byte that is shown can be read.
                struct weir_event *event;
                assert_int_equal(
                    weir_event_new(&handled.ok.value, (struct weir_str){0}, &event, NULL), WEIR_OK);
                weir_event_unref(event);
                taken++;
            }
            refused += status != WEIR_OK;
            test_memory_finish(&memory);
        }
    }
    assert_true(refused > 100 && taken > 20);
}

// err(failure) at address 0, its text at 256.
static void put_failure(struct test_memory *memory, uint8_t kind) {
    test_memory_init(memory, MEMORY_BYTES, FIRST_BLOCK);
    const uint32_t text[] = {256, 3};
    memset(memory->linear.base, 'a', MEMORY_BYTES);
    memory->linear.base[0] = 1;
    memory->linear.base[4] = kind;
    memcpy(memory->linear.base + 8, text, sizeof text);
    memcpy(memory->linear.base + 256, "why", 3);
}

static weir_status lift_failure(struct test_memory *memory, struct weir_wit_handled *ret_handled,
                                struct weir_error *err) {
    static struct weir_scratch scratch;
    weir_canon_scratch_init(&scratch);
    return weir_canon_lift(&memory->linear, &weir_wit_handled_or_rejected, 0, ret_handled, &scratch,
                           err);
}

static void a_failure_is_lifted_as_its_case(void **state) {
    (void)state;
    for (uint32_t kind = 0; kind < 256; kind++) {
        struct test_memory memory;
        put_failure(&memory, (uint8_t)kind);
        struct weir_wit_handled handled;
        struct weir_error err = {.message = ""};
        weir_status status = lift_failure(&memory, &handled, &err);
        assert_int_equal(status, kind <= WEIR_WIT_FAILURE_REJECT ? WEIR_OK : WEIR_TRAPPED);
        if (status == WEIR_OK) {
            assert_true(handled.is_err);
            assert_int_equal(handled.failure.kind, kind);
            assert_str_equal(handled.failure.message, "why");
        } else {
            assert_message_has(&err, "the discriminant at 0x4 is");
        }
        test_memory_finish(&memory);
    }
}

static void no_word_of_a_failure_makes_the_host_read_outside(void **state) {
    (void)state;
    static const struct {
        uint32_t offset, value;
        const char *part; // NULL: that is allowed
    } rows[] = {
        {0, 2, "the discriminant at 0x0 is 2"},
        {8, MEMORY_BYTES - 3, NULL},
        {8, MEMORY_BYTES - 2, "outside of the memory"},
        {8, UINT32_MAX, "outside of the memory"},
        {12, 0, NULL},
        {12, MEMORY_BYTES - 256, NULL},
        {12, MEMORY_BYTES - 255, "outside of the memory"},
        {12, UINT32_MAX, "outside of the memory"},
        {256, 0x80, "is not UTF-8"},
        {256, 0x00BDBFEF, NULL}, // U+FFFD, three bytes
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct test_memory memory;
        put_failure(&memory, WEIR_WIT_FAILURE_REJECT);
        memcpy(memory.linear.base + rows[i].offset, &rows[i].value, 4);
        struct weir_wit_handled handled;
        struct weir_error err = {.message = ""};
        weir_status status = lift_failure(&memory, &handled, &err);
        if (rows[i].part) {
            assert_int_equal(status, WEIR_TRAPPED);
            assert_message_has(&err, rows[i].part);
        } else {
            assert_int_equal(status, WEIR_OK);
            assert_true(handled.failure.message.size <= MEMORY_BYTES);
        }
        test_memory_finish(&memory);
    }
}

static void a_result_that_is_refused_names_the_field(void **state) {
    (void)state;
    static const struct {
        uint32_t offset, value;
        const char *part;
    } rows[] = {
        {0, 2, "the discriminant at 0x0 is 2, there are 2 cases"},
        {4, 7, "the discriminant at 0x4 is 7"},
        {8, MEMORY_BYTES, "specversion: the string at 0x10000"},
        {16, UINT32_MAX, "ty: the string at"},
        {36, MEMORY_BYTES, "id: the string at"},
        {40, 9, "data: the discriminant"},
        {44, 2, "data: the discriminant at 0x2c is 2"},
        {104, 2, "extensions: the list at 0x2 is not aligned to 4"},
        {104, MEMORY_BYTES, "extensions: the list at 0x10000"},
        {108, 65, "extensions: the list has 65 items, the most is 64"},
        {108, UINT32_MAX, "extensions: the list has 4294967295 items"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct test_memory memory;
        put_handled(&memory);
        memcpy(memory.linear.base + rows[i].offset, &rows[i].value, 4);
        struct weir_wit_handled handled;
        struct weir_error err;
        assert_int_not_equal(lift_handled(&memory, 0, &handled, &err), WEIR_OK);
        assert_message_has(&err, rows[i].part);
        test_memory_finish(&memory);
    }
}

static void a_text_that_is_no_utf8_is_refused_and_a_binary_is_not(void **state) {
    (void)state;
    struct test_memory memory;
    put_handled(&memory);
    uint32_t body;
    memcpy(&body, memory.linear.base + 48, sizeof body);
    memory.linear.base[body] = 0xFF;
    struct weir_wit_handled handled;
    struct weir_error err;
    assert_int_equal(lift_handled(&memory, 0, &handled, &err), WEIR_TRAPPED);
    assert_message_has(&err, "data: ");
    assert_message_has(&err, "is not UTF-8");
    memory.linear.base[44] = WEIR_PAYLOAD_BINARY;
    assert_int_equal(lift_handled(&memory, 0, &handled, &err), WEIR_OK);
    assert_int_equal(handled.ok.value.data.value.kind, WEIR_PAYLOAD_BINARY);
    test_memory_finish(&memory);
}

static void a_results_own_address_is_checked(void **state) {
    (void)state;
    static const uint32_t refused[] = {
        1, 2, MEMORY_BYTES - 108, MEMORY_BYTES, UINT32_MAX, UINT32_MAX - 3, 0x80000000};
    struct test_memory memory;
    put_handled(&memory);
    struct weir_wit_handled handled;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_int_equal(lift_handled(&memory, refused[i], &handled, NULL), WEIR_TRAPPED);
    }
    memset(memory.linear.base + MEMORY_BYTES - 112, 0, 112);
    assert_int_equal(lift_handled(&memory, MEMORY_BYTES - 112, &handled, NULL), WEIR_OK);
    assert_false(handled.ok.is_some);
    test_memory_finish(&memory);
}

static void a_memory_of_no_bytes_holds_nothing(void **state) {
    (void)state;
    struct test_memory memory;
    test_memory_init(&memory, 0, 0);
    struct weir_wit_handled handled;
    struct weir_event_fields event = full();
    uint32_t address;
    assert_int_equal(lift_handled(&memory, 0, &handled, NULL), WEIR_TRAPPED);
    assert_int_equal(lower_event(&memory, &event, &address, NULL), WEIR_TRAPPED);
    test_memory_finish(&memory);
}

// Many texts that share their bytes are counted each for itself: a small memory cannot show a large
// value.
static void texts_over_each_other_do_not_outwit_the_bound(void **state) {
    (void)state;
    struct test_memory memory;
    put_handled(&memory);
    memset(memory.linear.base + 1024, 'a', MEMORY_BYTES - 1024);
    const uint32_t pointer = 1024, size = MEMORY_BYTES - 1024;
    static const uint32_t texts[] = {8, 16, 24, 32};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        memcpy(memory.linear.base + texts[i], &pointer, 4);
        memcpy(memory.linear.base + texts[i] + 4, &size, 4);
    }
    memory.linear.bytes_max = 2 * MEMORY_BYTES;
    struct weir_wit_handled handled;
    struct weir_error err;
    assert_int_equal(lift_handled(&memory, 0, &handled, &err), WEIR_LIMIT);
    assert_message_has(&err, "source: it has more bytes than bounds.event allows");
    test_memory_finish(&memory);
}

static void parameters_are_read_from_core_values(void **state) {
    (void)state;
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    memcpy(memory.linear.base + 100, "store", 5);
    memcpy(memory.linear.base + 200, "orders/*", 8);
    memcpy(memory.linear.base + 300, "on-order", 8);
    const uint64_t dirt = UINT64_C(0xDEADBEEF00000000); // an i32 fills the low half only
    struct weir_scratch scratch;
    weir_canon_scratch_init(&scratch);

    struct listen_to_params listen;
    const uint64_t flat[] = {dirt | 7, dirt | 100, dirt | 5, dirt | 200,
                             dirt | 8, dirt | 300, dirt | 8};
    assert_int_equal(
        weir_canon_lift_params(&memory.linear,
                               function_named(WEIR_WIT_EVENTS, "[method]events.listen-to"), flat,
                               &listen, &scratch, NULL),
        WEIR_OK);
    assert_int_equal(listen.self, 7);
    assert_str_equal(listen.ob.rd, "store");
    assert_str_equal(listen.ob.key, "orders/*");
    assert_str_equal(listen.handler, "on-order");

    struct exec_params exec;
    const uint64_t exec_flat[] = {dirt | 7, UINT64_MAX};
    assert_int_equal(weir_canon_lift_params(&memory.linear,
                                            function_named(WEIR_WIT_EVENTS, "[method]events.exec"),
                                            exec_flat, &exec, &scratch, NULL),
                     WEIR_OK);
    assert_int_equal(exec.self, 7);
    assert_true(exec.duration_s == UINT64_MAX);

    struct watch_params watch;
    struct weir_error err;
    const uint64_t wild[] = {100, 5, 200, UINT32_MAX};
    assert_int_equal(weir_canon_lift_params(&memory.linear,
                                            function_named(WEIR_WIT_RESOURCES, "watch"), wild,
                                            &watch, &scratch, &err),
                     WEIR_TRAPPED);
    assert_message_has(&err, "key: the string at 0xc8");
    const uint64_t wild_record[] = {7, UINT32_MAX, 5, 200, 8};
    struct listen_params record;
    assert_int_equal(weir_canon_lift_params(
                         &memory.linear, function_named(WEIR_WIT_EVENTS, "[method]events.listen"),
                         wild_record, &record, &scratch, &err),
                     WEIR_TRAPPED);
    assert_message_has(&err, "ob: rd: the string at");
    test_memory_finish(&memory);
}

static void parameters_go_as_core_values(void **state) {
    (void)state;
    struct {
        uint32_t handle;
        struct weir_str text, bytes;
    } host = {7, WEIR_STR("key"), WEIR_STR("\0\xff")};
    const struct weir_wit_field params[] = {
        {"handle", &weir_wit_u32, 0, 0},
        {"text", &weir_wit_string, 0, (uint32_t)((char *)&host.text - (char *)&host)},
        {"bytes", &weir_wit_bytes, 0, (uint32_t)((char *)&host.bytes - (char *)&host)},
    };
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    uint64_t flat[5] = {0};
    struct weir_error err;
    assert_int_equal(weir_canon_lower_params(&memory.linear, params, 3, &host, flat, NULL),
                     WEIR_OK);
    assert_int_equal(flat[0], 7);
    assert_int_equal(flat[2], 3);
    assert_memory_equal(memory.linear.base + flat[1], "key", 3);
    assert_int_equal(flat[4], 2);
    assert_memory_equal(memory.linear.base + flat[3], "\0\xff", 2);
    host.text = host.bytes = (struct weir_str){0};
    assert_int_equal(weir_canon_lower_params(&memory.linear, params, 3, &host, flat, NULL),
                     WEIR_OK);
    assert_int_equal(flat[2] + flat[4], 0);
    memory.is_hostile = true;
    memory.answer = MEMORY_BYTES - 1;
    host.text = WEIR_STR("key");
    assert_int_equal(weir_canon_lower_params(&memory.linear, params, 3, &host, flat, &err),
                     WEIR_TRAPPED);
    assert_message_has(&err, "outside of the memory");
    test_memory_finish(&memory);
}

// More than an event has, so that blocks and items need the heap.
static void a_list_of_many_texts_comes_back(void **state) {
    (void)state;
    enum { KEYS = 1000 };
    const struct weir_wit_type keys = {.kind = WEIR_WIT_LIST,
                                       .guest_size = 8,
                                       .guest_align = 4,
                                       .host_size = sizeof(struct weir_attributes),
                                       .element = &weir_wit_string,
                                       .items_max = KEYS};
    static struct weir_str items[KEYS + 1];
    for (size_t i = 0; i < KEYS + 1; i++) {
        items[i] = i % 2 ? WEIR_STR("odd") : WEIR_STR("even");
    }
    struct {
        const struct weir_str *items;
        size_t count;
    } host = {items, KEYS}, lifted = {NULL, 0};
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    uint32_t address;
    struct weir_scratch scratch;
    weir_canon_scratch_init(&scratch);
    assert_int_equal(weir_canon_lower_new(&memory.linear, &keys, &host, &address, NULL), WEIR_OK);
    assert_int_equal(weir_canon_lift(&memory.linear, &keys, address, &lifted, &scratch, NULL),
                     WEIR_OK);
    assert_int_equal(lifted.count, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        assert_same(lifted.items[i], items[i]);
    }
    weir_canon_scratch_finish(&scratch);
    struct weir_error err;
    host.count = KEYS + 1;
    assert_int_equal(weir_canon_lower_new(&memory.linear, &keys, &host, &address, &err),
                     WEIR_LIMIT);
    assert_message_has(&err, "1001 items, the most is 1000");
    test_memory_finish(&memory);
}

// option<string>, option<body>, enums and booleans, as parameters of functions of the host.
static void cases_are_lifted_from_core_values(void **state) {
    (void)state;
    struct {
        uint32_t self;
        struct weir_optional_str cursor;
    } list;
    struct {
        uint8_t level;
        struct weir_str context, message;
    } log;
    struct test_memory memory;
    test_memory_init(&memory, MEMORY_BYTES, FIRST_BLOCK);
    memcpy(memory.linear.base + 100, "cursor", 6);
    struct weir_scratch scratch;
    struct weir_error err;
    weir_canon_scratch_init(&scratch);
    const struct weir_wit_function *list_keys =
        function_named("wasi:keyvalue/store@0.2.0-draft2", "[method]bucket.list-keys");
    const uint64_t some[] = {7, 1, 100, 6}, none[] = {7, 0, 100, 6}, wild[] = {7, 2, 100, 6},
                   outside[] = {7, 1, MEMORY_BYTES, 6}, unread[] = {7, 0, MEMORY_BYTES, 6};
    assert_int_equal(weir_canon_flat_count(list_keys->params[1].type), 3);
    assert_int_equal(weir_canon_lift_params(&memory.linear, list_keys, some, &list, &scratch, NULL),
                     WEIR_OK);
    assert_true(list.cursor.is_some);
    assert_str_equal(list.cursor.value, "cursor");
    assert_int_equal(weir_canon_lift_params(&memory.linear, list_keys, none, &list, &scratch, NULL),
                     WEIR_OK);
    assert_false(list.cursor.is_some);
    assert_int_equal(
        weir_canon_lift_params(&memory.linear, list_keys, unread, &list, &scratch, NULL), WEIR_OK);
    assert_int_equal(weir_canon_lift_params(&memory.linear, list_keys, wild, &list, &scratch, &err),
                     WEIR_TRAPPED);
    assert_message_has(&err, "the discriminant is 2, there are 2 cases");
    assert_int_equal(
        weir_canon_lift_params(&memory.linear, list_keys, outside, &list, &scratch, &err),
        WEIR_TRAPPED);
    const struct weir_wit_function *logging =
        function_named("wasi:logging/logging@0.1.0-draft", "log");
    const uint64_t critical[] = {5, 100, 3, 103, 3}, beyond[] = {6, 100, 3, 103, 3};
    assert_int_equal(
        weir_canon_lift_params(&memory.linear, logging, critical, &log, &scratch, NULL), WEIR_OK);
    assert_int_equal(log.level, 5);
    assert_str_equal(log.message, "sor");
    assert_int_equal(weir_canon_lift_params(&memory.linear, logging, beyond, &log, &scratch, &err),
                     WEIR_TRAPPED);
    weir_canon_scratch_finish(&scratch);
    test_memory_finish(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_go_as_core_values),
        cmocka_unit_test(a_list_of_many_texts_comes_back),
        cmocka_unit_test(cases_are_lifted_from_core_values),
        cmocka_unit_test(an_event_comes_back_as_it_went),
        cmocka_unit_test(the_largest_list_comes_back),
        cmocka_unit_test(a_guest_finds_each_field_where_the_abi_puts_it),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(an_allocators_nonsense_is_refused),
        cmocka_unit_test(blocks_over_each_other_are_the_guests_own_affair),
        cmocka_unit_test(a_text_of_the_guests_own_memory_may_be_lowered_over_itself),
        cmocka_unit_test(the_bound_on_bytes_is_exact_when_lowering),
        cmocka_unit_test(the_bound_on_bytes_is_exact_when_lifting),
        cmocka_unit_test(a_list_that_is_too_long_is_not_lowered),
        cmocka_unit_test(a_return_pointer_is_checked),
        cmocka_unit_test(every_error_is_lowered_as_its_case),
        cmocka_unit_test(no_word_of_a_result_makes_the_host_read_outside),
        cmocka_unit_test(a_failure_is_lifted_as_its_case),
        cmocka_unit_test(no_word_of_a_failure_makes_the_host_read_outside),
        cmocka_unit_test(a_result_that_is_refused_names_the_field),
        cmocka_unit_test(a_text_that_is_no_utf8_is_refused_and_a_binary_is_not),
        cmocka_unit_test(a_results_own_address_is_checked),
        cmocka_unit_test(a_memory_of_no_bytes_holds_nothing),
        cmocka_unit_test(texts_over_each_other_do_not_outwit_the_bound),
        cmocka_unit_test(parameters_are_read_from_core_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
