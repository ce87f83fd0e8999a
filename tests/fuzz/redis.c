// SPDX-License-Identifier: Apache-2.0
//
// What a Redis server may send: replies, and in them entries of streams and names of keys. Whatever
// the bytes and the pieces in which they come, reading them ends with the same replies; an entry
// becomes an event that is one by CloudEvents' rules, and an id is read as it is written.
#include "event/event.h"
#include "provider/redis/entry.h"
#include "provider/redis/names.h"
#include "provider/redis/reply.h"
#include "provider/redis/stream_event.h"
#include "provider/redis/value.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENT_BYTES_MAX = 64, DIGEST_FIRST = 5381 };

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

// ---- replies ----

static uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        digest = digest * 33 + ((const unsigned char *)bytes)[i];
    }
    return digest;
}

static uint64_t digest_reply(uint64_t digest, const struct weir_redis_reply *reply) {
    digest = digest_bytes(digest, &reply->kind, sizeof reply->kind);
    switch (reply->kind) {
    case WEIR_REDIS_NIL:
        break;
    case WEIR_REDIS_INTEGER:
        digest = digest_bytes(digest, &reply->integer, sizeof reply->integer);
        break;
    case WEIR_REDIS_ARRAY:
        digest = digest_bytes(digest, &reply->count, sizeof reply->count);
        for (size_t i = 0; i < reply->count; i++) {
            digest = digest_reply(digest, &reply->items[i]);
        }
        break;
    default:
        require(reply->bytes.data[reply->bytes.size] == '\0');
        digest = digest_bytes(digest, reply->bytes.data, reply->bytes.size);
    }
    return digest;
}

// ---- what is in them ----

static void look_at_id(struct weir_str text) {
    struct weir_redis_id id, again, before;
    char buffer[WEIR_REDIS_ID_BYTES];
    if (weir_redis_id_parse(text, &id)) {
        require(weir_redis_id_parse(weir_redis_id_format(id, buffer), &again));
        require(weir_redis_id_compare(id, again) == 0);
        before = weir_redis_id_before(id);
        require(weir_redis_id_compare(before, id) < 0 || weir_redis_id_is_zero(id));
    }
}

static void look_at_name(struct weir_str name) {
    char own[WEIR_REDIS_OWN_BYTES_MAX], glob[WEIR_REDIS_GLOB_BYTES_MAX];
    if (weir_redis_check_key(name, NULL) == WEIR_OK) {
        struct weir_str chain = weir_redis_own_name(WEIR_REDIS_CHAIN_PREFIX, name, own);
        require(!weir_redis_is_own(name) && weir_redis_is_own(chain));
        require(weir_redis_common_bytes(name, name) == name.size);
        require(weir_redis_glob(name, glob).size > name.size);
    }
}

static void look_at_fingerprint(struct weir_str text) {
    struct weir_redis_told told;
    char fingerprint[WEIR_REDIS_FINGERPRINT_BYTES], revision[WEIR_REDIS_REVISION_BYTES];
    if (weir_redis_fingerprint_decode(text, &told)) {
        require(weir_str_equal(weir_redis_fingerprint_encode(&told, fingerprint), text));
    }
    require(weir_redis_revision(&told, true, revision).size < sizeof revision);
}

static void look_at_chain(const struct weir_redis_reply *reply) {
    struct weir_redis_chain chain = {.count = 0};
    for (size_t i = 0; i < WEIR_REDIS_CHAIN_FIELDS; i++) {
        weir_redis_chain_add(&chain, i, weir_redis_reply_at(reply, i));
    }
    require(chain.count <= WEIR_REDIS_CHAIN_FIELDS);
}

static void look_at_entry(const struct weir_redis_reply *reply) {
    struct weir_redis_entry entry;
    struct weir_event *event;
    if (!weir_redis_entry_read(reply, &entry) || !entry.fields) {
        return;
    }
    const struct weir_redis_stream_entry from = {
        .source = WEIR_STR("/shop"),
        .stream = WEIR_STR("orders"),
        .entry = &entry,
        .event_bytes_max = EVENT_BYTES_MAX,
    };
    weir_status status = weir_redis_stream_event(&from, &event, NULL);
    require(status == WEIR_OK || status == WEIR_LIMIT);
    if (status == WEIR_OK) {
        require(weir_event_fields_check_utf8(&event->fields, NULL) == WEIR_OK);
        require(weir_event_fields_check(&event->fields, NULL) == WEIR_OK);
        weir_event_unref(event);
    }
}

static void look_at(const struct weir_redis_reply *reply) {
    struct weir_error err;
    look_at_entry(reply);
    look_at_chain(reply);
    weir_redis_info_number(reply, "length");
    weir_redis_info_id(reply, "first-entry");
    require((weir_redis_reply_status(reply, "asking", &err) == WEIR_OK) ==
            !weir_redis_reply_is(reply, WEIR_REDIS_ERROR));
    if (weir_redis_reply_is(reply, WEIR_REDIS_BULK)) {
        look_at_id(reply->bytes);
        look_at_name(reply->bytes);
        look_at_fingerprint(reply->bytes);
    }
    for (size_t i = 0; weir_redis_reply_at(reply, i); i++) {
        look_at(weir_redis_reply_at(reply, i));
    }
}

// ---- reading ----

// Takes the replies that are there. Returns why there are no more.
static weir_status take_replies(struct weir_redis_reader *reader, bool looks, uint64_t *digest) {
    struct weir_redis_reply *reply;
    weir_status status;
    while ((status = weir_redis_reader_next(reader, &reply, NULL)) == WEIR_OK) {
        *digest = digest_reply(*digest, reply);
        if (looks) {
            look_at(reply);
        }
        weir_redis_reply_free(reply);
    }
    return status;
}

// Reads the bytes in pieces of that size. Returns what was read, in a number.
static uint64_t read_all(struct weir_str bytes, size_t piece_bytes, bool looks) {
    struct weir_redis_reader *reader = weir_redis_reader_create();
    uint64_t digest = DIGEST_FIRST;
    weir_status status = WEIR_AGAIN;
    require(reader != NULL);
    while (status == WEIR_AGAIN && bytes.size > 0) {
        size_t size = bytes.size < piece_bytes ? bytes.size : piece_bytes;
        require(weir_redis_reader_feed(reader, (struct weir_str){bytes.data, size}, NULL) ==
                WEIR_OK);
        bytes = (struct weir_str){bytes.data + size, bytes.size - size};
        status = take_replies(reader, looks, &digest);
    }
    weir_redis_reader_destroy(reader);
    return digest_bytes(digest, &status, sizeof status);
}

// The first byte says how large the pieces are.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct weir_str bytes = {(const char *)data + 1, size - 1};
    require(read_all(bytes, bytes.size, true) == read_all(bytes, 1 + (size_t)data[0], false));
    return 0;
}
