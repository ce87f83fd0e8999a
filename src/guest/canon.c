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

static weir_status check_count(uint64_t count, struct weir_error *err) {
    return count <= WEIR_CANON_ITEMS_MAX
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "the list has %" PRIu64 " items, the most is %d", count,
                           WEIR_CANON_ITEMS_MAX);
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
    size_t count;
    struct weir_block blocks[WEIR_CANON_BLOCKS_MAX];
};

static weir_status plan_block(struct plan *plan, size_t size, uint32_t align,
                              struct weir_error *err) {
    weir_status status = spend(&plan->allowance, size, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (plan->count == WEIR_CANON_BLOCKS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "it has more than %d texts and lists",
                         WEIR_CANON_BLOCKS_MAX);
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
    weir_status status = check_count(list.count, err);
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
    case WEIR_WIT_U8:
    case WEIR_WIT_U64:
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        return WEIR_OK;
    }
    return status;
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
    case WEIR_WIT_U8:
    case WEIR_WIT_U64:
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
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

// Stores a value at *address, which the guest gave and which was checked, or else in a new block,
// whose address it becomes.
static weir_status lower(struct weir_linear_memory *memory, const struct weir_wit_type *type,
                         const void *host, bool is_given, uint32_t *address,
                         struct weir_error *err) {
    struct plan plan;
    plan.allowance = allowance_of(memory, NULL);
    // The value's own size is its type's, and does not count.
    plan.blocks[0] = (struct weir_block){.size = type->guest_size, .align = type->guest_align};
    plan.count = 1;
    weir_status status = plan_value(&plan, type, host, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_block *wanted = plan.blocks + is_given;
    size_t count = plan.count - is_given;
    status = memory->allocate(memory, wanted, count, err);
    if (status == WEIR_OK) {
        status = check_blocks(memory, wanted, count, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (!is_given) {
        *address = plan.blocks[0].address;
    }
    struct target target = {.base = memory->base, .next = plan.blocks + 1};
    store_value(&target, type, host, *address);
    return WEIR_OK;
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

static weir_status lift_list(struct allowance *allowance, const struct weir_wit_type *type,
                             uint32_t pointer, uint32_t count, unsigned char *ret_host,
                             struct weir_error *err) {
    const struct weir_wit_type *element = type->element;
    struct weir_scratch *scratch = allowance->scratch;
    uint64_t guest_bytes = (uint64_t)count * element->guest_size;
    size_t host_bytes = (size_t)count * element->host_size;
    weir_status status = check_count(count, err);
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
    if (host_bytes > sizeof scratch->bytes - scratch->used) {
        return weir_fail(err, WEIR_LIMIT, "its lists need more than %d bytes of the host",
                         WEIR_CANON_SCRATCH_BYTES);
    }
    unsigned char *items = scratch->bytes + scratch->used;
    scratch->used += (host_bytes + 15) & ~(size_t)15;
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

static weir_status lift_variant(struct allowance *allowance, const struct weir_wit_type *type,
                                uint32_t address, unsigned char *ret_host, struct weir_error *err) {
    uint8_t number = allowance->memory->base[address];
    if (number >= type->field_count) {
        return weir_fail(err, WEIR_TRAPPED,
                         "the discriminant at 0x%" PRIx32 " is %u, there are %" PRIu32 " cases",
                         address, (unsigned)number, type->field_count);
    }
    const struct weir_wit_field *chosen = &type->fields[number];
    ret_host[0] = number;
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
    case WEIR_WIT_U8:
    case WEIR_WIT_U64:
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        memcpy(ret_host, at, type->guest_size);
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_OTHER, "a WIT type of unknown kind %d", (int)type->kind);
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

uint32_t weir_canon_flat_count(const struct weir_wit_type *type) {
    switch (type->kind) {
    case WEIR_WIT_U8:
    case WEIR_WIT_U64:
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        return 1;
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
    case WEIR_WIT_LIST:
        return 2;
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE: {
        uint32_t count = 0;
        for (uint32_t i = 0; i < type->field_count; i++) {
            count += weir_canon_flat_count(type->fields[i].type);
        }
        return count;
    }
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        return WEIR_WIT_FLAT_PARAMS_MAX + 1; // never passed flat; a unit test keeps it so
    }
    return 0;
}

bool weir_canon_flat_is_64(const struct weir_wit_type *type, uint32_t index) {
    if (type->kind == WEIR_WIT_RECORD || type->kind == WEIR_WIT_TUPLE) {
        for (uint32_t i = 0; i < type->field_count; i++) {
            uint32_t count = weir_canon_flat_count(type->fields[i].type);
            if (index < count) {
                return weir_canon_flat_is_64(type->fields[i].type, index);
            }
            index -= count;
        }
    }
    return type->kind == WEIR_WIT_U64;
}

// Loads one value from core values and moves *flat behind them.
static weir_status lift_flat(struct allowance *allowance, const struct weir_wit_type *type,
                             const uint64_t **flat, unsigned char *ret_host,
                             struct weir_error *err) {
    switch (type->kind) {
    case WEIR_WIT_U8:
    case WEIR_WIT_U64:
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        memcpy(ret_host, *flat, type->host_size);
        *flat += 1;
        return WEIR_OK;
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
        for (uint32_t i = 0; i < type->field_count; i++) {
            const struct weir_wit_field *field = &type->fields[i];
            weir_status status =
                lift_flat(allowance, field->type, flat, ret_host + field->host_offset, err);
            if (status != WEIR_OK) {
                return weir_error_prefix(err, status, "%s", field->name);
            }
        }
        return WEIR_OK;
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        break;
    }
    return weir_fail(err, WEIR_OTHER, "a variant is not passed in core values");
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
