// SPDX-License-Identifier: Apache-2.0
//
// Lowering and lifting; see canon.h. This is on the way of every event: an event of 100 bytes is
// some ten texts, and the cost is in entering the guest for its allocator, which the canonical ABI
// asks for a block for each of them. So lowering is done in two walks over the tables: one plans
// the blocks and checks the bounds, all blocks are asked for at once (batch.c knows how to do that
// cheaply), and one stores, which cannot fail any more. How deep the walks go is up to the tables,
// which are constants.
//
// Tried instead: generating a C function for each type, which was no faster than the walk, and one
// block for all texts of an event, which a guest's runtime cannot free. Any thread; the memory's
// instance must not run meanwhile.
#include "guest/canon.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// WebAssembly is little-endian, and so is every machine that the engine's prebuilt library runs on.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stores below are in host byte order");

static void store_u32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, sizeof value);
}

static uint32_t load_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

// What one value may still use on its way.
struct allowance {
    struct weir_linear_memory *memory;
    struct weir_scratch *scratch; // NULL where a value is lowered
    uint64_t bytes_left;
    bool leaves_utf8; // texts that are lifted are not looked at
};

static struct allowance allowance_of(struct weir_linear_memory *memory,
                                     struct weir_scratch *scratch) {
    // A guest's memory has at most 4 GiB, so a larger bound is as good as that.
    uint64_t most = memory->bytes_max < UINT32_MAX ? memory->bytes_max : UINT32_MAX;
    return (struct allowance){.memory = memory, .scratch = scratch, .bytes_left = most};
}

static __attribute__((cold)) weir_status refuse_bytes(const struct weir_linear_memory *memory,
                                                      struct weir_error *err) {
    return weir_fail(err, WEIR_LIMIT, "it has more bytes than %s allows (%" PRIu64 ")",
                     memory->bytes_bound, memory->bytes_max);
}

static inline weir_status spend(struct allowance *allowance, uint64_t bytes,
                                struct weir_error *err) {
    if (bytes > allowance->bytes_left) {
        return refuse_bytes(allowance->memory, err);
    }
    allowance->bytes_left -= bytes;
    return WEIR_OK;
}

static weir_status check_count(uint64_t count, const struct weir_wit_type *type,
                               struct weir_error *err) {
    return count <= type->items_max
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "the list has %" PRIu64 " items, the most is %" PRIu32,
                           count, type->items_max);
}

// Every list of the host has this shape: a pointer and a count.
static struct weir_attributes load_list(const unsigned char *host) {
    struct weir_attributes list;
    memcpy(&list, host, sizeof list);
    return list;
}

static const unsigned char *item_of(const struct weir_attributes *list,
                                    const struct weir_wit_type *element, size_t index) {
    return (const unsigned char *)list->items + index * element->host_size;
}

// The blocks of a value that is lowered, in the order in which they are stored to; the first is the
// value's own.
struct plan {
    struct allowance allowance;
    size_t count, capacity;
    struct weir_block *blocks; // room, or on the heap where that is too small
    struct weir_block room[WEIR_CANON_ROOM_BLOCKS];
};

// An event never comes here: the room is enough for all that it may have.
static __attribute__((cold)) weir_status grow_plan(struct plan *plan, struct weir_error *err) {
    if (plan->capacity >= WEIR_CANON_BLOCKS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "it has more than %d texts and lists",
                         WEIR_CANON_BLOCKS_MAX);
    }
    bool is_own = plan->blocks != plan->room;
    size_t capacity = plan->capacity * 2;
    struct weir_block *blocks = realloc(is_own ? plan->blocks : NULL, capacity * sizeof *blocks);
    if (!blocks) {
        return weir_fail_no_memory(err, "a list of blocks");
    }
    if (!is_own) {
        memcpy(blocks, plan->room, sizeof plan->room);
    }
    plan->blocks = blocks;
    plan->capacity = capacity;
    return WEIR_OK;
}

static void plan_finish(struct plan *plan) {
    if (plan->blocks != plan->room) {
        free(plan->blocks);
    }
}

static weir_status plan_block(struct plan *plan, size_t size, uint32_t align,
                              struct weir_error *err) {
    weir_status status = spend(&plan->allowance, size, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (plan->count == plan->capacity && (status = grow_plan(plan, err)) != WEIR_OK) {
        return status;
    }
    plan->blocks[plan->count++] = (struct weir_block){.size = (uint32_t)size, .align = align};
    return WEIR_OK;
}

static weir_status plan_bytes(struct plan *plan, const unsigned char *host,
                              struct weir_error *err) {
    struct weir_str bytes;
    memcpy(&bytes, host, sizeof bytes);
    return bytes.size > 0 ? plan_block(plan, bytes.size, 1, err) : WEIR_OK;
}

static weir_status plan_value(struct plan *plan, const struct weir_wit_type *type,
                              const unsigned char *host, struct weir_error *err);

static weir_status plan_list(struct plan *plan, const struct weir_wit_type *type,
                             const unsigned char *host, struct weir_error *err) {
    const struct weir_wit_type *element = type->element;
    struct weir_attributes list = load_list(host);
    weir_status status = check_count(list.count, type, err);
    if (status == WEIR_OK && list.count > 0) {
        status = plan_block(plan, list.count * element->guest_size, element->guest_align, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < list.count; i++) {
        status = plan_value(plan, element, item_of(&list, element, i), err);
    }
    return status;
}

// A member of a record or variant. Most are texts, which are spared the way through plan_value.
static inline weir_status plan_member(struct plan *plan, const struct weir_wit_field *member,
                                      const unsigned char *host, struct weir_error *err) {
    const unsigned char *from = host + member->host_offset;
    return member->type->kind == WEIR_WIT_STRING ? plan_bytes(plan, from, err)
                                                 : plan_value(plan, member->type, from, err);
}

static weir_status plan_value(struct plan *plan, const struct weir_wit_type *type,
                              const unsigned char *host, struct weir_error *err) {
    weir_status status = WEIR_OK;
    switch (type->kind) {
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT: {
        const struct weir_wit_field *chosen = &type->fields[host[0]];
        return chosen->type ? plan_member(plan, chosen, host, err) : WEIR_OK;
    }
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        for (uint32_t i = 0; status == WEIR_OK && i < type->field_count; i++) {
            status = plan_member(plan, &type->fields[i], host, err);
        }
        return status;
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
        return plan_bytes(plan, host, err);
    case WEIR_WIT_LIST:
        return plan_list(plan, type, host, err);
    default:
        return WEIR_OK; // is stored in place
    }
}

// Where values are stored: checked blocks, taken one after the other as they were planned.
struct target {
    uint8_t *base;
    const struct weir_block *next;
};

static void store_view(struct target *target, uint32_t address, uint32_t pointer, size_t count) {
    store_u32(target->base + address, pointer);
    store_u32(target->base + address + 4, (uint32_t)count);
}

static inline void store_bytes(struct target *target, const unsigned char *host, uint32_t address) {
    struct weir_str bytes;
    memcpy(&bytes, host, sizeof bytes);
    uint32_t pointer = 1; // the ABI leaves it open for an empty text; it only has to be aligned
    if (bytes.size > 0) {
        pointer = target->next++->address;
        // Not memcpy: the text may be the guest's own, and a hostile allocator may answer with its
        // place.
        memmove(target->base + pointer, bytes.data, bytes.size);
    }
    store_view(target, address, pointer, bytes.size);
}

static void store_value(struct target *target, const struct weir_wit_type *type,
                        const unsigned char *host, uint32_t address);

static void store_list(struct target *target, const struct weir_wit_type *type,
                       const unsigned char *host, uint32_t address) {
    const struct weir_wit_type *element = type->element;
    struct weir_attributes list = load_list(host);
    uint32_t pointer = list.count > 0 ? target->next++->address : element->guest_align;
    for (size_t i = 0; i < list.count; i++) {
        store_value(target, element, item_of(&list, element, i),
                    pointer + (uint32_t)i * element->guest_size);
    }
    store_view(target, address, pointer, list.count);
}

static inline void store_member(struct target *target, const struct weir_wit_field *member,
                                const unsigned char *host, uint32_t address) {
    const unsigned char *from = host + member->host_offset;
    uint32_t to = address + member->guest_offset;
    if (member->type->kind == WEIR_WIT_STRING) {
        store_bytes(target, from, to);
    } else {
        store_value(target, member->type, from, to);
    }
}

// Stores at an address whose bounds have been checked for the whole type.
static void store_value(struct target *target, const struct weir_wit_type *type,
                        const unsigned char *host, uint32_t address) {
    switch (type->kind) {
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT: {
        const struct weir_wit_field *chosen = &type->fields[host[0]];
        target->base[address] = host[0];
        if (chosen->type) {
            store_member(target, chosen, host, address);
        }
        return;
    }
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        for (uint32_t i = 0; i < type->field_count; i++) {
            store_member(target, &type->fields[i], host, address);
        }
        return;
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
        store_bytes(target, host, address);
        return;
    case WEIR_WIT_LIST:
        store_list(target, type, host, address);
        return;
    default:
        memcpy(target->base + address, host, type->guest_size);
    }
}

static __attribute__((cold)) weir_status refuse_block(const struct weir_linear_memory *memory,
                                                      const struct weir_block *block,
                                                      struct weir_error *err) {
    bool is_aligned = (block->address & (block->align - 1)) == 0;
    return weir_fail(err, WEIR_TRAPPED,
                     "cabi_realloc answered 0x%" PRIx32 " for %" PRIu32 " bytes aligned to %" PRIu32
                     ", which is %s of %zu bytes",
                     block->address, block->size, block->align,
                     is_aligned ? "outside of the memory" : "not so aligned in the memory",
                     memory->size);
}

static weir_status check_blocks(const struct weir_linear_memory *memory,
                                const struct weir_block *blocks, size_t count,
                                struct weir_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (!weir_linear_memory_holds(memory, blocks[i].address, blocks[i].size, blocks[i].align)) {
            return refuse_block(memory, &blocks[i], err);
        }
    }
    return WEIR_OK;
}

static void plan_begin(struct plan *plan, struct weir_linear_memory *memory) {
    plan->allowance = allowance_of(memory, NULL);
    plan->blocks = plan->room;
    plan->capacity = WEIR_CANON_ROOM_BLOCKS;
    plan->count = 0;
}

// Has the guest allocate what was planned, from the block of that number on, and checks what it
// answers.
static weir_status allocate(struct plan *plan, size_t first, struct weir_error *err) {
    struct weir_linear_memory *memory = plan->allowance.memory;
    size_t count = plan->count - first;
    weir_status status = memory->allocate(memory, plan->blocks + first, count, err);
    return status == WEIR_OK ? check_blocks(memory, plan->blocks + first, count, err) : status;
}

// Stores a value at *address, which the guest gave and which was checked, or else in a new block,
// whose address it becomes.
static weir_status lower(struct weir_linear_memory *memory, const struct weir_wit_type *type,
                         const void *host, bool is_given, uint32_t *address,
                         struct weir_error *err) {
    struct plan plan;
    plan_begin(&plan, memory);
    // The value's own size is its type's, and does not count.
    plan.blocks[0] = (struct weir_block){.size = type->guest_size, .align = type->guest_align};
    plan.count = 1;
    weir_status status = plan_value(&plan, type, host, err);
    if (status == WEIR_OK) {
        status = allocate(&plan, is_given, err);
    }
    if (status == WEIR_OK) {
        *address = is_given ? *address : plan.blocks[0].address;
        struct target target = {.base = memory->base, .next = plan.blocks + 1};
        store_value(&target, type, host, *address);
    }
    plan_finish(&plan);
    return status;
}

// One parameter of weir_canon_lower_params, as core values.
static uint64_t *lower_flat(struct target *target, const struct weir_wit_type *type,
                            const unsigned char *host, uint64_t *flat) {
    if (type->kind != WEIR_WIT_STRING && type->kind != WEIR_WIT_BYTES) {
        *flat = 0;
        memcpy(flat, host, type->host_size);
        return flat + 1;
    }
    struct weir_str bytes;
    memcpy(&bytes, host, sizeof bytes);
    flat[0] = bytes.size > 0 ? target->next++->address : 1;
    flat[1] = bytes.size;
    if (bytes.size > 0) {
        memmove(target->base + flat[0], bytes.data, bytes.size);
    }
    return flat + 2;
}

weir_status weir_canon_lower_params(struct weir_linear_memory *memory,
                                    const struct weir_wit_field *params, uint32_t param_count,
                                    const void *host, uint64_t *ret_flat, struct weir_error *err) {
    struct plan plan;
    plan_begin(&plan, memory);
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; status == WEIR_OK && i < param_count; i++) {
        status = plan_member(&plan, &params[i], host, err);
    }
    if (status == WEIR_OK) {
        status = allocate(&plan, 0, err);
    }
    struct target target = {.base = memory->base, .next = plan.blocks};
    for (uint32_t i = 0; status == WEIR_OK && i < param_count; i++) {
        ret_flat = lower_flat(&target, params[i].type,
                              (const unsigned char *)host + params[i].host_offset, ret_flat);
    }
    plan_finish(&plan);
    return status;
}

weir_status weir_canon_lower_new(struct weir_linear_memory *memory,
                                 const struct weir_wit_type *type, const void *host,
                                 uint32_t *ret_address, struct weir_error *err) {
    return lower(memory, type, host, false, ret_address, err);
}

static weir_status check_address(struct weir_linear_memory *memory, const char *what,
                                 uint32_t address, uint64_t size, uint32_t align,
                                 struct weir_error *err) {
    if ((address & (align - 1)) != 0) {
        return weir_fail(err, WEIR_TRAPPED, "%s 0x%" PRIx32 " is not aligned to %" PRIu32, what,
                         address, align);
    }
    if (!weir_linear_memory_holds(memory, address, size, 1)) {
        return weir_fail(err, WEIR_TRAPPED,
                         "%s 0x%" PRIx32 " and %" PRIu64
                         " bytes reach outside of the memory of %zu bytes",
                         what, address, size, memory->size);
    }
    return WEIR_OK;
}

weir_status weir_canon_lower_at(struct weir_linear_memory *memory, const struct weir_wit_type *type,
                                const void *host, uint32_t address, struct weir_error *err) {
    weir_status status = check_address(memory, "the return pointer", address, type->guest_size,
                                       type->guest_align, err);
    return status == WEIR_OK ? lower(memory, type, host, true, &address, err) : status;
}

// Says why a text or list of bytes was refused.
static __attribute__((cold)) weir_status refuse_view(const struct allowance *allowance,
                                                     bool is_text, uint32_t pointer, uint32_t size,
                                                     struct weir_error *err) {
    weir_status status = check_address(allowance->memory, is_text ? "the string at" : "the list at",
                                       pointer, size, 1, err);
    return status == WEIR_OK ? refuse_bytes(allowance->memory, err) : status;
}

static __attribute__((cold)) weir_status refuse_text(uint32_t pointer, struct weir_error *err) {
    return weir_fail(err, WEIR_TRAPPED, "the string at 0x%" PRIx32 " is not UTF-8", pointer);
}

// The one function that every text of an event goes through.
static inline weir_status lift_bytes(struct allowance *allowance, bool is_text, uint32_t pointer,
                                     uint32_t size, unsigned char *ret_host,
                                     struct weir_error *err) {
    const struct weir_linear_memory *memory = allowance->memory;
    if (!weir_linear_memory_holds(memory, pointer, size, 1) || size > allowance->bytes_left) {
        return refuse_view(allowance, is_text, pointer, size, err);
    }
    allowance->bytes_left -= size;
    struct weir_str text = {.data = (const char *)memory->base + pointer, .size = size};
    memcpy(ret_host, &text, sizeof text);
    return is_text && !allowance->leaves_utf8 && !weir_utf8_valid(text) ? refuse_text(pointer, err)
                                                                        : WEIR_OK;
}

static weir_status lift(struct allowance *allowance, const struct weir_wit_type *type,
                        uint32_t address, unsigned char *ret_host, struct weir_error *err);

struct scratch_block {
    struct scratch_block *next;
    _Alignas(16) unsigned char bytes[];
};

// Room for the items of a list; NULL: no memory. An event's lists fit the scratch's own.
static unsigned char *take_scratch(struct weir_scratch *scratch, size_t bytes) {
    if (bytes <= sizeof scratch->bytes - scratch->used) {
        unsigned char *room = scratch->bytes + scratch->used;
        scratch->used += (bytes + 15) & ~(size_t)15;
        return room;
    }
    struct scratch_block *block = malloc(sizeof *block + bytes);
    if (!block) {
        return NULL;
    }
    block->next = scratch->blocks;
    scratch->blocks = block;
    return block->bytes;
}

void weir_canon_scratch_finish(struct weir_scratch *scratch) {
    while (scratch->blocks) {
        struct scratch_block *block = scratch->blocks;
        scratch->blocks = block->next;
        free(block);
    }
}

static weir_status lift_list(struct allowance *allowance, const struct weir_wit_type *type,
                             uint32_t pointer, uint32_t count, unsigned char *ret_host,
                             struct weir_error *err) {
    const struct weir_wit_type *element = type->element;
    uint64_t guest_bytes = (uint64_t)count * element->guest_size;
    size_t host_bytes = (size_t)count * element->host_size;
    weir_status status = check_count(count, type, err);
    if (status == WEIR_OK) {
        status = check_address(allowance->memory, "the list at", pointer, guest_bytes,
                               element->guest_align, err);
    }
    if (status == WEIR_OK) {
        status = spend(allowance, guest_bytes, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    unsigned char *items = take_scratch(allowance->scratch, host_bytes);
    if (!items) {
        return weir_fail_no_memory(err, "a list");
    }
    for (uint32_t i = 0; status == WEIR_OK && i < count; i++) {
        status = lift(allowance, element, pointer + i * element->guest_size,
                      items + (size_t)i * element->host_size, err);
    }
    struct weir_attributes list = {.items = (const struct weir_attribute *)(void *)items,
                                   .count = count};
    memcpy(ret_host, &list, sizeof list);
    return status;
}

// A member of a record or variant. Most are texts, which are spared the way through `lift`.
static inline weir_status lift_member(struct allowance *allowance,
                                      const struct weir_wit_field *member, uint32_t address,
                                      unsigned char *ret_host, struct weir_error *err) {
    const struct weir_wit_type *type = member->type;
    uint32_t from = address + member->guest_offset;
    unsigned char *to = ret_host + member->host_offset;
    const uint8_t *at = allowance->memory->base + from;
    return type->kind == WEIR_WIT_STRING
               ? lift_bytes(allowance, true, load_u32(at), load_u32(at + 4), to, err)
               : lift(allowance, type, from, to, err);
}

static weir_status lift_fields(struct allowance *allowance, const struct weir_wit_type *type,
                               uint32_t address, unsigned char *ret_host, struct weir_error *err) {
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        weir_status status = lift_member(allowance, field, address, ret_host, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "%s", field->name);
        }
    }
    return WEIR_OK;
}

// The number of a case.
static weir_status lift_number(const struct weir_wit_type *type, uint32_t number,
                               unsigned char *ret_host, struct weir_error *err) {
    *ret_host = (unsigned char)number;
    return number < type->field_count
               ? WEIR_OK
               : weir_fail(err, WEIR_TRAPPED,
                           "the discriminant is %" PRIu32 ", there are %" PRIu32 " cases", number,
                           type->field_count);
}

static weir_status lift_variant(struct allowance *allowance, const struct weir_wit_type *type,
                                uint32_t address, unsigned char *ret_host, struct weir_error *err) {
    uint8_t number = allowance->memory->base[address];
    if (number >= type->field_count) {
        return weir_fail(err, WEIR_TRAPPED,
                         "the discriminant at 0x%" PRIx32 " is %u, there are %" PRIu32 " cases",
                         address, (unsigned)number, type->field_count);
    }
    ret_host[0] = number;
    const struct weir_wit_field *chosen = &type->fields[number];
    return chosen->type ? lift_member(allowance, chosen, address, ret_host, err) : WEIR_OK;
}

// Loads from an address whose bounds have been checked for the whole type.
static weir_status lift(struct allowance *allowance, const struct weir_wit_type *type,
                        uint32_t address, unsigned char *ret_host, struct weir_error *err) {
    const uint8_t *at = allowance->memory->base + address;
    switch (type->kind) {
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        return lift_variant(allowance, type, address, ret_host, err);
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        return lift_fields(allowance, type, address, ret_host, err);
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
        return lift_bytes(allowance, type->kind == WEIR_WIT_STRING, load_u32(at), load_u32(at + 4),
                          ret_host, err);
    case WEIR_WIT_LIST:
        return lift_list(allowance, type, load_u32(at), load_u32(at + 4), ret_host, err);
    case WEIR_WIT_BOOL:
        *ret_host = *at != 0;
        return WEIR_OK;
    case WEIR_WIT_ENUM:
        return lift_number(type, *at, ret_host, err);
    default:
        memcpy(ret_host, at, type->guest_size);
        return WEIR_OK;
    }
}

static weir_status lift_result(struct allowance *allowance, const struct weir_wit_type *type,
                               uint32_t address, void *ret_host, struct weir_error *err) {
    weir_status status = check_address(allowance->memory, "the result at", address,
                                       type->guest_size, type->guest_align, err);
    if (status != WEIR_OK) {
        return status;
    }
    memset(ret_host, 0, type->host_size);
    return lift(allowance, type, address, ret_host, err);
}

weir_status weir_canon_lift(struct weir_linear_memory *memory, const struct weir_wit_type *type,
                            uint32_t address, void *ret_host, struct weir_scratch *scratch,
                            struct weir_error *err) {
    struct allowance allowance = allowance_of(memory, scratch);
    return lift_result(&allowance, type, address, ret_host, err);
}

weir_status weir_canon_lift_unread(struct weir_linear_memory *memory,
                                   const struct weir_wit_type *type, uint32_t address,
                                   void *ret_host, struct weir_scratch *scratch,
                                   struct weir_error *err) {
    struct allowance allowance = allowance_of(memory, scratch);
    allowance.leaves_utf8 = true;
    return lift_result(&allowance, type, address, ret_host, err);
}

// The longest of the cases; those that carry something carry values of the same widths, place by
// place, which a unit test sees to.
static const struct weir_wit_type *longest_case(const struct weir_wit_type *type,
                                                uint32_t *ret_count) {
    const struct weir_wit_type *longest = NULL;
    *ret_count = 0;
    for (uint32_t i = 0; i < type->field_count; i++) {
        uint32_t count = type->fields[i].type ? weir_canon_flat_count(type->fields[i].type) : 0;
        if (count > *ret_count) {
            *ret_count = count;
            longest = type->fields[i].type;
        }
    }
    return longest;
}

uint32_t weir_canon_flat_count(const struct weir_wit_type *type) {
    uint32_t count = 0;
    switch (type->kind) {
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
    case WEIR_WIT_LIST:
        return 2;
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        for (uint32_t i = 0; i < type->field_count; i++) {
            count += weir_canon_flat_count(type->fields[i].type);
        }
        return count;
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        longest_case(type, &count);
        return 1 + count;
    default:
        return 1;
    }
}

bool weir_canon_flat_is_64(const struct weir_wit_type *type, uint32_t index) {
    uint32_t count;
    switch (type->kind) {
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        for (uint32_t i = 0; i < type->field_count; i++) {
            count = weir_canon_flat_count(type->fields[i].type);
            if (index < count) {
                return weir_canon_flat_is_64(type->fields[i].type, index);
            }
            index -= count;
        }
        return false;
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT: {
        const struct weir_wit_type *longest = longest_case(type, &count);
        return index > 0 && longest && weir_canon_flat_is_64(longest, index - 1);
    }
    default:
        return type->kind == WEIR_WIT_U64 || type->kind == WEIR_WIT_S64;
    }
}

static weir_status lift_flat(struct allowance *allowance, const struct weir_wit_type *type,
                             const uint64_t **flat, unsigned char *ret_host,
                             struct weir_error *err);

static weir_status lift_flat_fields(struct allowance *allowance, const struct weir_wit_type *type,
                                    const uint64_t **flat, unsigned char *ret_host,
                                    struct weir_error *err) {
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        weir_status status =
            lift_flat(allowance, field->type, flat, ret_host + field->host_offset, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "%s", field->name);
        }
    }
    return WEIR_OK;
}

static weir_status lift_flat_case(struct allowance *allowance, const struct weir_wit_type *type,
                                  const uint64_t **flat, unsigned char *ret_host,
                                  struct weir_error *err) {
    const uint64_t *carried = *flat + 1, number = **flat & UINT32_MAX;
    *flat += weir_canon_flat_count(type);
    weir_status status = lift_number(type, (uint32_t)number, ret_host, err);
    if (status != WEIR_OK || !type->fields[number].type) {
        return status;
    }
    const struct weir_wit_field *chosen = &type->fields[number];
    return lift_flat(allowance, chosen->type, &carried, ret_host + chosen->host_offset, err);
}

// Loads one value from core values and moves *flat behind them.
static weir_status lift_flat(struct allowance *allowance, const struct weir_wit_type *type,
                             const uint64_t **flat, unsigned char *ret_host,
                             struct weir_error *err) {
    switch (type->kind) {
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
    case WEIR_WIT_LIST: {
        uint32_t pointer = (uint32_t)(*flat)[0], count = (uint32_t)(*flat)[1];
        *flat += 2;
        return type->kind == WEIR_WIT_LIST
                   ? lift_list(allowance, type, pointer, count, ret_host, err)
                   : lift_bytes(allowance, type->kind == WEIR_WIT_STRING, pointer, count, ret_host,
                                err);
    }
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
        return lift_flat_fields(allowance, type, flat, ret_host, err);
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        return lift_flat_case(allowance, type, flat, ret_host, err);
    case WEIR_WIT_BOOL:
        *ret_host = (uint32_t)**flat != 0;
        *flat += 1;
        return WEIR_OK;
    case WEIR_WIT_ENUM:
        return lift_number(type, (uint32_t)*(*flat)++, ret_host, err);
    default:
        memcpy(ret_host, *flat, type->host_size);
        *flat += 1;
        return WEIR_OK;
    }
}

weir_status weir_canon_lift_params(struct weir_linear_memory *memory,
                                   const struct weir_wit_function *function, const uint64_t *flat,
                                   void *ret_host, struct weir_scratch *scratch,
                                   struct weir_error *err) {
    struct allowance allowance = allowance_of(memory, scratch);
    memset(ret_host, 0, function->params_size);
    for (uint32_t i = 0; i < function->param_count; i++) {
        const struct weir_wit_field *param = &function->params[i];
        weir_status status = lift_flat(&allowance, param->type, &flat,
                                       (unsigned char *)ret_host + param->host_offset, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "%s", param->name);
        }
    }
    return WEIR_OK;
}
