// SPDX-License-Identifier: Apache-2.0
//
// See entry.h.
#include "provider/redis/entry.h"

#include "base/digits.h"

#include <assert.h>

bool weir_redis_id_parse(struct weir_str text, struct weir_redis_id *ret_id) {
    *ret_id = (struct weir_redis_id){0};
    const char *dash = text.size > 0 ? memchr(text.data, '-', text.size) : NULL;
    if (!dash) {
        return false;
    }
    size_t ms_size = (size_t)(dash - text.data);
    return weir_decimal_read((struct weir_str){text.data, ms_size}, &ret_id->ms) &&
           weir_decimal_read((struct weir_str){dash + 1, text.size - ms_size - 1}, &ret_id->seq);
}

struct weir_str weir_redis_id_format(struct weir_redis_id id,
                                     char buffer[static WEIR_REDIS_ID_BYTES]) {
    static_assert(WEIR_REDIS_ID_BYTES > 2 * WEIR_DECIMAL_BYTES_MAX + 1, "an id fits");
    char *at = buffer + weir_decimal(id.ms, buffer);
    *at++ = '-';
    at += weir_decimal(id.seq, at);
    *at = '\0';
    return (struct weir_str){buffer, (size_t)(at - buffer)};
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
