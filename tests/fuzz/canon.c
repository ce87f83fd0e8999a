// SPDX-License-Identifier: Apache-2.0
//
// A hostile guest for src/guest/canon.c: the input is its memory, the pointers that it returns and
// what its allocator answers. What lies behind the memory's end is poisoned, so that
// AddressSanitizer sees each access outside.
//
// Beyond that nothing crashes, it is required that what is lifted lies in the memory, is UTF-8
// where it is text and within the bound; and that lowering it into a well-behaved guest and lifting
// it again gives the same.
//
// An input: what to do (1 byte), the address or the first answer (4), the bound on bytes (4), then
// the memory.
#include "guest/canon.h"
#include "guest/imports.h"
#include "require.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HEADER_BYTES = 9,
    MEMORY_BYTES_MAX = 64 * 1024, // to which a memory may grow
    GROWTH_BYTES = 4096,
    TASKS = 4,
    OR_REJECT = 4, // set in what to do: a handler's error is a failure
};

struct guest {
    struct weir_linear_memory linear;
    const uint8_t *answers; // of the allocator, four bytes each
    size_t answers_size, answers_used;
    uint32_t next; // of a well-behaved one
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Answers what the input says; now and then the memory grows, or the allocator traps.
static weir_status hostile_allocate(struct weir_linear_memory *memory, struct weir_block *blocks,
                                    size_t count, struct weir_error *err) {
    struct guest *guest = memory->context;
    for (size_t i = 0; i < count; i++) {
        uint32_t *answer = &blocks[i].address;
        if (guest->answers_used + sizeof *answer > guest->answers_size) {
            return weir_fail(err, WEIR_TRAPPED, "the guest traps");
        }
        memcpy(answer, guest->answers + guest->answers_used, sizeof *answer);
        guest->answers_used += sizeof *answer;
        if (*answer % 7 == 0 && memory->size + GROWTH_BYTES <= MEMORY_BYTES_MAX) {
            ASAN_UNPOISON_MEMORY_REGION(memory->base + memory->size, GROWTH_BYTES);
            memory->size += GROWTH_BYTES;
        }
    }
    return WEIR_OK;
}

static weir_status sound_allocate(struct weir_linear_memory *memory, struct weir_block *blocks,
                                  size_t count, struct weir_error *err) {
    struct guest *guest = memory->context;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        blocks[i].address = (guest->next + blocks[i].align - 1) & ~(blocks[i].align - 1);
        guest->next = blocks[i].address + blocks[i].size;
    }
    return WEIR_OK;
}

static void guest_init(struct guest *guest, const uint8_t *bytes, size_t size, uint64_t bytes_max) {
    *guest = (struct guest){
        .linear = {.base = malloc(MEMORY_BYTES_MAX),
                   .size = size,
                   .allocate = hostile_allocate,
                   .context = guest,
                   .bytes_max = bytes_max,
                   .bytes_bound = "bounds.event"},
        .answers = bytes,
        .answers_size = size,
    };
    REQUIRE(guest->linear.base && size <= MEMORY_BYTES_MAX);
    memcpy(guest->linear.base, bytes, size);
    ASAN_POISON_MEMORY_REGION(guest->linear.base + size, MEMORY_BYTES_MAX - size);
}

static void guest_finish(struct guest *guest) {
    ASAN_UNPOISON_MEMORY_REGION(guest->linear.base, MEMORY_BYTES_MAX);
    free(guest->linear.base);
}

static void check_bytes(const struct guest *guest, struct weir_str bytes, uint64_t *total) {
    const char *base = (const char *)guest->linear.base;
    REQUIRE(bytes.data >= base && bytes.data + bytes.size <= base + guest->linear.size);
    *total += bytes.size;
}

static void check_text(const struct guest *guest, struct weir_str text, uint64_t *total) {
    check_bytes(guest, text, total);
    REQUIRE(weir_utf8_valid(text));
}

static void check_optional(const struct guest *guest, const struct weir_optional_str *text,
                           uint64_t *total) {
    if (text->is_some) {
        check_text(guest, text->value, total);
    }
}

static void check_event(const struct guest *guest, const struct weir_event_fields *event) {
    uint64_t total = 0;
    check_text(guest, event->specversion, &total);
    check_text(guest, event->ty, &total);
    check_text(guest, event->source, &total);
    check_text(guest, event->id, &total);
    if (event->data.is_some) {
        check_bytes(guest, event->data.value.bytes, &total);
        REQUIRE(event->data.value.kind == WEIR_PAYLOAD_BINARY ||
                weir_utf8_valid(event->data.value.bytes));
    }
    check_optional(guest, &event->datacontenttype, &total);
    check_optional(guest, &event->dataschema, &total);
    check_optional(guest, &event->subject, &total);
    check_optional(guest, &event->time, &total);
    REQUIRE(event->extensions.count <= WEIR_EXTENSIONS_MAX);
    for (size_t i = 0; i < event->extensions.count; i++) {
        check_text(guest, event->extensions.items[i].name, &total);
        check_text(guest, event->extensions.items[i].value, &total);
    }
    REQUIRE(total <= guest->linear.bytes_max);
}

static bool same_optional(const struct weir_optional_str *a, const struct weir_optional_str *b) {
    return a->is_some == b->is_some && (!a->is_some || weir_str_equal(a->value, b->value));
}

static bool same_event(const struct weir_event_fields *a, const struct weir_event_fields *b) {
    bool same = weir_str_equal(a->specversion, b->specversion) && weir_str_equal(a->ty, b->ty) &&
                weir_str_equal(a->source, b->source) && weir_str_equal(a->id, b->id) &&
                a->data.is_some == b->data.is_some &&
                (!a->data.is_some || (a->data.value.kind == b->data.value.kind &&
                                      weir_str_equal(a->data.value.bytes, b->data.value.bytes))) &&
                same_optional(&a->datacontenttype, &b->datacontenttype) &&
                same_optional(&a->dataschema, &b->dataschema) &&
                same_optional(&a->subject, &b->subject) && same_optional(&a->time, &b->time) &&
                a->extensions.count == b->extensions.count;
    for (size_t i = 0; same && i < a->extensions.count; i++) {
        same = weir_str_equal(a->extensions.items[i].name, b->extensions.items[i].name) &&
               weir_str_equal(a->extensions.items[i].value, b->extensions.items[i].value);
    }
    return same;
}

// Lowers an event into a guest that behaves, lifts it again and compares.
static void go_round(const struct weir_event_fields *event) {
    static const uint8_t zeros[MEMORY_BYTES_MAX];
    struct guest sound;
    struct weir_scratch scratch;
    struct weir_event_fields again;
    struct weir_error err;
    uint32_t address;
    guest_init(&sound, zeros, sizeof zeros, MEMORY_BYTES_MAX);
    sound.linear.allocate = sound_allocate;
    weir_canon_scratch_init(&scratch);
    // Texts that share their bytes may be too much for the memory once each has its own.
    if (weir_canon_lower_new(&sound.linear, &weir_wit_event, event, &address, &err) == WEIR_OK) {
        REQUIRE(weir_canon_lift(&sound.linear, &weir_wit_event, address, &again, &scratch, &err) ==
                WEIR_OK);
        REQUIRE(same_event(event, &again));
    }
    guest_finish(&sound);
}

// The text of an error of either kind.
static struct weir_str reason_of(const struct weir_wit_type *type,
                                 const struct weir_wit_handled *handled) {
    return type == &weir_wit_handled ? handled->err : handled->failure.message;
}

static void lift_handled(struct guest *guest, const struct weir_wit_type *type, uint32_t address) {
    struct weir_scratch scratch;
    struct weir_wit_handled handled;
    struct weir_error err;
    weir_canon_scratch_init(&scratch);
    if (weir_canon_lift(&guest->linear, type, address, &handled, &scratch, &err) != WEIR_OK) {
        return;
    }
    if (handled.is_err) {
        uint64_t total = 0;
        check_text(guest, reason_of(type, &handled), &total);
        REQUIRE(handled.failure.kind <= WEIR_WIT_FAILURE_REJECT);
    } else if (handled.ok.is_some) {
        struct weir_event *event;
        check_event(guest, &handled.ok.value);
        weir_event_fields_check(&handled.ok.value, &err);
        REQUIRE(weir_event_new(&handled.ok.value, (struct weir_str){0}, &event, &err) == WEIR_OK);
        weir_event_unref(event);
        go_round(&handled.ok.value);
    }
}

// The way of a handler's result: bounds and the like first, UTF-8 while it is copied. Both ways
// must agree on what is text.
static void lift_handled_unread(struct guest *guest, const struct weir_wit_type *type,
                                uint32_t address) {
    struct weir_scratch scratch;
    struct weir_wit_handled handled;
    struct weir_event *event;
    struct weir_error err;
    weir_canon_scratch_init(&scratch);
    if (weir_canon_lift_unread(&guest->linear, type, address, &handled, &scratch, &err) !=
        WEIR_OK) {
        return;
    }
    bool is_text = !handled.is_err && handled.ok.is_some
                       ? weir_event_fields_check_utf8(&handled.ok.value, NULL) == WEIR_OK
                       : weir_utf8_valid(reason_of(type, &handled));
    weir_canon_scratch_init(&scratch);
    weir_status status = weir_canon_lift(&guest->linear, type, address, &handled, &scratch, &err);
    REQUIRE((status == WEIR_OK) == is_text);
    if (!handled.is_err && handled.ok.is_some &&
        weir_event_new_checked(&handled.ok.value, (struct weir_str){0}, &event, &err) == WEIR_OK) {
        REQUIRE(is_text);
        weir_event_unref(event);
    }
}

static void lift_ran(struct guest *guest, uint32_t address) {
    struct weir_scratch scratch;
    struct weir_wit_ran ran;
    struct weir_error err;
    uint64_t total = 0;
    weir_canon_scratch_init(&scratch);
    if (weir_canon_lift(&guest->linear, &weir_wit_ran, address, &ran, &scratch, &err) == WEIR_OK &&
        ran.is_err) {
        check_text(guest, ran.err, &total);
    }
}

// `open` of weir:reactive/resources, as import_reactive.c has it.
struct open_params {
    struct weir_str name;
};
struct opened {
    uint8_t is_err;
    struct weir_str ok;
    struct weir_wit_error err;
};

static void call_import(struct guest *guest, const struct weir_wit_function *function,
                        const uint64_t *flat, uint32_t address) {
    _Alignas(16) unsigned char params[WEIR_WIT_HOST_BYTES_MAX];
    _Alignas(16) unsigned char result[WEIR_WIT_HOST_BYTES_MAX] = {0};
    struct weir_scratch scratch;
    struct weir_error err;
    weir_canon_scratch_init(&scratch);
    weir_status status =
        weir_canon_lift_params(&guest->linear, function, flat, params, &scratch, &err);
    if (status == WEIR_OK && function == &weir_import_resources.functions[0].wit) {
        const struct open_params *open = (const void *)params;
        uint64_t total = 0;
        check_text(guest, open->name, &total);
        // As `open` does, with the guest's own text for an answer.
        struct opened opened = {.is_err = 0, .ok = open->name};
        weir_canon_lower_at(&guest->linear, function->result, &opened, address, &err);
    } else if (status == WEIR_OK && function->result) {
        weir_canon_lower_at(&guest->linear, function->result, result, address, &err);
    }
    weir_canon_scratch_finish(&scratch);
}

// Each import with core values from the input; its answer goes where the input says.
static void call_imports(struct guest *guest, uint32_t address) {
    uint64_t flat[WEIR_WIT_FLAT_PARAMS_MAX + 1] = {0};
    size_t size = guest->answers_size < sizeof flat ? guest->answers_size : sizeof flat;
    memcpy(flat, guest->answers, size);
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        for (size_t j = 0; j < weir_import_interfaces[i]->function_count; j++) {
            call_import(guest, &weir_import_interfaces[i]->functions[j].wit, flat, address);
        }
    }
}

static void lower_event(struct guest *guest) {
    char body[300];
    memset(body, 'b', sizeof body);
    const struct weir_attribute extensions[] = {{WEIR_STR("revision"), WEIR_STR("17")},
                                                {WEIR_STR("a"), {0}},
                                                {WEIR_STR("b"), WEIR_STR("c")}};
    const struct weir_event_fields event = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.fuzz"),
        .source = WEIR_STR("/fuzz"),
        .id = WEIR_STR("1"),
        .data = {true, {WEIR_PAYLOAD_TEXT, {body, sizeof body}}},
        .subject = {true, WEIR_STR("key")},
        .extensions = {extensions, 3},
    };
    struct weir_error err;
    uint32_t address;
    if (weir_canon_lower_new(&guest->linear, &weir_wit_event, &event, &address, &err) == WEIR_OK) {
        struct weir_scratch scratch;
        struct weir_event_fields again;
        weir_canon_scratch_init(&scratch);
        // Blocks may lie over each other, so what comes back may be anything, but inside.
        if (weir_canon_lift(&guest->linear, &weir_wit_event, address, &again, &scratch, &err) ==
            WEIR_OK) {
            check_event(guest, &again);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEADER_BYTES || size - HEADER_BYTES > MEMORY_BYTES_MAX) {
        return 0;
    }
    uint32_t address, bytes_max;
    memcpy(&address, data + 1, sizeof address);
    memcpy(&bytes_max, data + 5, sizeof bytes_max);
    struct guest guest;
    guest_init(&guest, data + HEADER_BYTES, size - HEADER_BYTES, bytes_max);
    const struct weir_wit_type *handled =
        (data[0] & OR_REJECT) != 0 ? &weir_wit_handled_or_rejected : &weir_wit_handled;
    switch (data[0] % TASKS) {
    case 0:
        lift_handled(&guest, handled, address);
        lift_handled_unread(&guest, handled, address);
        break;
    case 1:
        lift_ran(&guest, address);
        break;
    case 2:
        call_imports(&guest, address);
        break;
    default:
        lower_event(&guest);
    }
    guest_finish(&guest);
    return 0;
}
