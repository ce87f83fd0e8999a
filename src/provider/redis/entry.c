// SPDX-License-Identifier: Apache-2.0
//
// See entry.h.
#include "provider/redis/entry.h"

#include <inttypes.h>
#include <stdio.h>

// Takes a number of at most 20 digits from the text's start.
static bool take_number(struct weir_str *text, uint64_t *ret_number) {
    uint64_t number = 0;
    size_t at = 0;
    for (; at < text->size && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        uint64_t digit = (uint64_t)(text->data[at] - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    *text = (struct weir_str){text->data + at, text->size - at};
    return at > 0;
}

bool weir_redis_id_parse(struct weir_str text, struct weir_redis_id *ret_id) {
    *ret_id = (struct weir_redis_id){0};
    if (text.size == 0 || !take_number(&text, &ret_id->ms) || text.size == 0 ||
        text.data[0] != '-') {
        return false;
    }
    text = (struct weir_str){text.data + 1, text.size - 1};
    return take_number(&text, &ret_id->seq) && text.size == 0;
}

struct weir_str weir_redis_id_format(struct weir_redis_id id,
                                     char buffer[static WEIR_REDIS_ID_BYTES]) {
    int size = snprintf(buffer, WEIR_REDIS_ID_BYTES, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
    return (struct weir_str){buffer, (size_t)size};
}

int weir_redis_id_compare(struct weir_redis_id a, struct weir_redis_id b) {
    return a.ms != b.ms ? (a.ms > b.ms) - (a.ms < b.ms) : (a.seq > b.seq) - (a.seq < b.seq);
}

bool weir_redis_id_is_zero(struct weir_redis_id id) {
    return id.ms == 0 && id.seq == 0;
}

struct weir_redis_id weir_redis_id_before(struct weir_redis_id id) {
    if (id.seq > 0) {
        return (struct weir_redis_id){.ms = id.ms, .seq = id.seq - 1};
    }
    return id.ms > 0 ? (struct weir_redis_id){.ms = id.ms - 1, .seq = UINT64_MAX} : id;
}

bool weir_redis_entry_read(const struct weir_redis_reply *reply,
                           struct weir_redis_entry *ret_entry) {
    const struct weir_redis_reply *id = weir_redis_reply_at(reply, 0);
    const struct weir_redis_reply *fields = weir_redis_reply_at(reply, 1);
    *ret_entry = (struct weir_redis_entry){.fields = NULL};
    if (!weir_redis_reply_is(id, WEIR_REDIS_BULK) ||
        !weir_redis_id_parse(id->bytes, &ret_entry->id)) {
        return false;
    }
    ret_entry->id_text = id->bytes;
    if (!fields || weir_redis_reply_is(fields, WEIR_REDIS_NIL)) {
        return true;
    }
    if (!weir_redis_reply_is(fields, WEIR_REDIS_ARRAY) || fields->count % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < fields->count; i++) {
        if (!weir_redis_reply_is(&fields->items[i], WEIR_REDIS_BULK)) {
            return false;
        }
    }
    ret_entry->fields = fields;
    return true;
}

struct weir_str weir_redis_entry_field(const struct weir_redis_entry *entry, const char *name) {
    const struct weir_redis_reply *value = weir_redis_reply_named(entry->fields, name);
    return value ? value->bytes : (struct weir_str){0};
}

int64_t weir_redis_info_number(const struct weir_redis_reply *info, const char *name) {
    const struct weir_redis_reply *value = weir_redis_reply_named(info, name);
    return weir_redis_reply_is(value, WEIR_REDIS_INTEGER) ? value->integer : -1;
}

struct weir_redis_id weir_redis_info_id(const struct weir_redis_reply *info, const char *name) {
    struct weir_redis_entry entry;
    struct weir_redis_id id = {0};
    const struct weir_redis_reply *value = weir_redis_reply_named(info, name);
    if (weir_redis_reply_is(value, WEIR_REDIS_BULK)) {
        weir_redis_id_parse(value->bytes, &id);
    } else if (weir_redis_entry_read(value, &entry)) {
        id = entry.id;
    }
    return id;
}

size_t weir_redis_entry_bytes(const struct weir_redis_entry *entry) {
    size_t bytes = 0;
    for (size_t i = 0; entry->fields && i < entry->fields->count; i++) {
        bytes += entry->fields->items[i].bytes.size;
    }
    return bytes;
}
