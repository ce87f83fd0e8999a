// SPDX-License-Identifier: Apache-2.0
//
// Bodies to and from guests as components, by way of what weir adds to them (annex.h): every length
// at which something begins or ends, in C and Rust; those in JavaScript and Python are the
// scenarios' (test_languages.py). Components that weir adds nothing to. And components whose
// sections lie.
//
// The guests are build/guests/NAME.component.wasm; where they were not built, the test fails.
#include "guest/annex.h"

#include "guest/guest.h"
#include "guest/wit.h"
#include "unit/guest/small_guest.h"
#include "unit/test.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    KIB = 1024,
    MIB = 1024 * 1024,
    LARGEST = 16 * MIB,
    BESIDE = 4 * KIB, // of bounds.event, for what is not the body
};

static const struct weir_guest_host no_host;

static char *read_component(const char *name, size_t more, size_t *ret_size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/build/guests/%s.component.wasm", getenv("WEIR_SOURCE_DIR"),
             name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail_msg("%s is not there", path);
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *bytes = malloc((size_t)size + more);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    fclose(file);
    *ret_size = (size_t)size;
    return bytes;
}

static struct weir_guest *load_bytes(const char *name, struct weir_str wasm,
                                     enum weir_guest_instances instances) {
    struct weir_engine *engine = small_guest_engine();
    struct weir_guest_args args = small_guest_args(name);
    struct weir_guest *guest;
    struct weir_error err;
    args.lane = WEIR_GUEST_LANE_COMPONENT;
    args.instances = instances;
    args.host = &no_host;
    args.event_bytes = LARGEST + BESIDE;
    args.memory_bytes = 6 * (uint64_t)LARGEST;
    args.time_ns = 60 * WEIR_NS_PER_S;
    if (weir_guest_compile(engine, &args, wasm, &guest, &err) != WEIR_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    return guest;
}

static struct weir_guest *load(const char *name, enum weir_guest_instances instances) {
    size_t size;
    char *bytes = read_component(name, 0, &size);
    struct weir_guest *guest = load_bytes(name, (struct weir_str){bytes, size}, instances);
    free(bytes);
    return guest;
}

static struct weir_verdict call(struct weir_guest *guest, struct weir_str body) {
    const struct weir_event_fields event = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = WEIR_STR("/test"),
        .id = WEIR_STR("4711"),
        .data = {true, {WEIR_PAYLOAD_BINARY, body}},
        .subject = {true, WEIR_STR("\xc3\xa9t\xc3\xa9")},
        .time = {true, WEIR_STR("2026-11-27T00:00:00Z")},
    };
    uint32_t handler;
    struct weir_error err;
    struct weir_call running = {0};
    struct weir_verdict verdict;
    assert_int_equal(weir_guest_handler_find(guest, WEIR_STR(WEIR_HANDLER_DEFAULT), &handler, &err),
                     WEIR_OK);
    weir_guest_handle(guest, handler, &event, &running, &verdict);
    return verdict;
}

static void assert_comes_back(struct weir_guest *guest, struct weir_str body) {
    struct weir_verdict verdict = call(guest, body);
    if (verdict.outcome != WEIR_HANDLED || !verdict.derived) {
        fail_msg("%s, %zu bytes: %s", weir_guest_name(guest), body.size, verdict.error.message);
    }
    const struct weir_event_fields *fields = &verdict.derived->fields;
    assert_int_equal(fields->data.value.kind, WEIR_PAYLOAD_BINARY);
    assert_int_equal(fields->data.value.bytes.size, body.size);
    assert_memory_equal(fields->data.value.bytes.data, body.data, body.size);
    assert_true(weir_str_equal(fields->subject.value, WEIR_STR("\xc3\xa9t\xc3\xa9")));
    assert_true(weir_str_equal(fields->time.value, WEIR_STR("2026-11-27T00:00:00Z")));
    weir_event_unref(verdict.derived);
}

// ---- bodies

static void fill_with_noise(char *bytes, size_t size) {
    uint32_t state = 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (char)(state >> 24);
    }
}

static void fill_with_text(char *bytes, size_t size) {
    memset(bytes, 'x', size);
}

static void fill_with_text_and_one_byte(char *bytes, size_t size) {
    memset(bytes, 'x', size);
    if (size > 0) {
        bytes[size - 1] = (char)0xFF;
    }
}

static void fill_with_every_value(char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)i;
    }
}

static void (*const fills[])(char *bytes, size_t size) = {
    fill_with_noise, fill_with_text, fill_with_text_and_one_byte, fill_with_every_value};

// In C with weir.h and with wit-bindgen's bindings, and in Rust; their handlers return the event.
static const char *const guests[] = {"echo", "bench", "reject-rust"};

static void a_body_of_every_length_comes_back(void **state) {
    (void)state;
    static const size_t sizes[] = {
        0,   1,   6,   7,   8,   9,   31,  32,       33,           55,           56, 57,
        111, 112, 113, 127, 128, 129, 130, 64 * KIB, 64 * KIB - 1, 64 * KIB + 1, MIB};
    char *bytes = malloc(MIB);
    for (size_t i = 0; i < COUNT_OF(guests); i++) {
        for (int instances = WEIR_INSTANCES_FRESH; instances <= WEIR_INSTANCES_REUSED;
             instances++) {
            struct weir_guest *guest = load(guests[i], (enum weir_guest_instances)instances);
            assert_null(weir_guest_dear_bodies(guest));
            for (size_t j = 0; j < COUNT_OF(sizes) * COUNT_OF(fills); j++) {
                size_t size = sizes[j / COUNT_OF(fills)];
                fills[j % COUNT_OF(fills)](bytes, size);
                assert_comes_back(guest, (struct weir_str){bytes, size});
            }
            weir_guest_unref(guest);
        }
    }
    free(bytes);
}

static void a_large_body_comes_back(void **state) {
    (void)state;
    static const size_t sizes[] = {8 * MIB, 8 * MIB + 1, LARGEST};
    char *bytes = malloc(LARGEST);
    fill_with_noise(bytes, LARGEST);
    for (size_t i = 0; i < COUNT_OF(guests); i++) {
        struct weir_guest *guest = load(guests[i], WEIR_INSTANCES_REUSED);
        for (size_t j = 0; j < COUNT_OF(sizes); j++) {
            assert_comes_back(guest, (struct weir_str){bytes, sizes[j]});
        }
        weir_guest_unref(guest);
    }
    free(bytes);
}

// ---- components that are left as they are

// One that exports what weir keeps for itself: the name of a type that it has.
static void where_weir_cannot_add_the_old_way_is_taken(void **state) {
    (void)state;
    enum { TOO_MUCH_TO_PASS = 8 * MIB + 1, TOO_MUCH_TO_TAKE = 5 * MIB };
    static const struct {
        size_t size;
        const char *part;
    } rows[] = {{TOO_MUCH_TO_PASS, "passes at most 8388608"},
                {TOO_MUCH_TO_TAKE, "more than the engine takes from a component at once"}};
    static const char name[] = WEIR_ANNEX_PREFIX "x";
    char added[3 + 2 + sizeof name - 1 + 3] = {11, (char)(1 + 2 + sizeof name - 1 + 3), 1, 0,
                                               (char)(sizeof name - 1)};
    memcpy(added + 5, name, sizeof name - 1);
    added[5 + sizeof name - 1] = 3; // a type, number 0
    size_t size;
    char *wasm = read_component("echo", sizeof added, &size);
    memcpy(wasm + size, added, sizeof added);
    struct weir_str whole = {wasm, size + sizeof added};
    struct weir_annex *annex;
    struct weir_error err;
    assert_int_equal(weir_annex_make(whole, &annex, &err), WEIR_UNSUPPORTED);
    assert_message_has(&err, "keeps for itself");
    assert_null(annex);
    struct weir_guest *guest = load_bytes("echo", whole, WEIR_INSTANCES_FRESH);
    assert_string_equal(weir_guest_dear_bodies(guest), err.message);
    char *bytes = malloc(TOO_MUCH_TO_PASS);
    fill_with_noise(bytes, TOO_MUCH_TO_PASS);
    assert_comes_back(guest, (struct weir_str){bytes, 64 * KIB});
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_verdict verdict = call(guest, (struct weir_str){bytes, rows[i].size});
        assert_int_equal(verdict.outcome, WEIR_BROKEN);
        assert_int_equal(verdict.error.status, WEIR_LIMIT);
        assert_message_has(&verdict.error, rows[i].part);
    }
    weir_guest_unref(guest);
    free(bytes);
    free(wasm);
}

// ---- what is found, and lies

static void its_handlers_are_found(void **state) {
    (void)state;
    static const struct {
        const char *guest, *interface, *name;
        uint32_t count;
        bool may_reject;
    } rows[] = {
        {"echo", WEIR_WIT_EVENT_HANDLER, "handle-event", 1, false},
        {"multi", "", "on-order", 3, false},
        {"reject", "", "on-order", 3, false},
        {"reject-rust", "", "on-order-or-reject", 2, true},
        {"reject-rust", WEIR_WIT_EVENT_HANDLER_OR_REJECT, "handle-event-or-reject", 2, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t size;
        char *bytes = read_component(rows[i].guest, 0, &size);
        struct weir_outline outline;
        struct weir_error err = {.message = ""};
        assert_int_equal(weir_outline_read((struct weir_str){bytes, size},
                                           WEIR_STR(WEIR_ANNEX_PREFIX), &outline, &err),
                         WEIR_OK);
        assert_int_equal(outline.handler_count, rows[i].count);
        bool is_found = false;
        for (uint32_t j = 0; j < outline.handler_count; j++) {
            const struct weir_outline_handler *handler = &outline.handlers[j];
            is_found =
                is_found || (weir_str_equal(handler->interface, weir_str_of(rows[i].interface)) &&
                             weir_str_equal(handler->name, weir_str_of(rows[i].name)) &&
                             handler->may_reject == rows[i].may_reject);
        }
        assert_true(is_found);
        free(bytes);
    }
}

// Only read: what the engine makes of such is test_component.c's.
static void sections_that_lie_are_read_within_their_bounds(void **state) {
    (void)state;
    enum { ROUNDS = 3000 };
    static const char *const names[] = {"multi", "reject-rust"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        size_t size;
        char *bytes = read_component(names[i], 0, &size);
        unsigned short random[3] = {1, 2, (unsigned short)i};
        for (int round = 0; round < ROUNDS; round++) {
            // A copy that ends where the bytes do, changed where sections are: behind the modules,
            // or before them.
            size_t cut = round % 3 == 0 ? (size_t)nrand48(random) % size : size;
            char *copy = malloc(cut + 1);
            memcpy(copy, bytes, cut);
            for (int change = round % 4; change > 0 && cut > 0; change--) {
                size_t part = cut < 8 * KIB ? cut : 8 * KIB;
                size_t from = nrand48(random) % 2 == 0 ? 0 : cut - part;
                copy[from + (size_t)nrand48(random) % part] = (char)nrand48(random);
            }
            struct weir_outline outline;
            struct weir_error err = {.message = ""};
            weir_status status = weir_outline_read((struct weir_str){copy, cut},
                                                   WEIR_STR(WEIR_ANNEX_PREFIX), &outline, &err);
            assert_true(status == WEIR_OK || status == WEIR_UNSUPPORTED);
            assert_true(status != WEIR_OK || outline.handler_count > 0);
            free(copy);
        }
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_of_every_length_comes_back),
        cmocka_unit_test(a_large_body_comes_back),
        cmocka_unit_test(where_weir_cannot_add_the_old_way_is_taken),
        cmocka_unit_test(its_handlers_are_found),
        cmocka_unit_test(sections_that_lie_are_read_within_their_bounds),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
