// SPDX-License-Identifier: Apache-2.0
//
// See log_write.h, and docs/providers/redis.md for what an entry looks like.
//
// Scripts are sent whole each time: the server knows them by their hash, so it reads each once, and
// no answer says that one is to be sent again. In a script the entry comes first: where the name of
// the log is another kind of key's, it fails before anything was changed.
//
// An event that is published again, because the answer to the first time was lost, is known by a
// hash of its source and id. The last SEEN_MAX of each stream are kept, which is more than a
// publisher can have under way.
#include "provider/redis/log_write.h"

#include "provider/redis/names.h"
#include "provider/redis/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SEEN_MAX = 4096,
    HASH_BYTES = 33,  // in hex, and a NUL
    COUNT_BYTES = 24, // of a number as text
    LOG_WORDS_MAX = 16 + 2 * WEIR_REDIS_CHAIN_FIELDS,
    FIELD_NAME_BYTES_MAX = WEIR_EXTENSION_NAME_BYTES_MAX + 8,
    STREAM_WORDS_MAX = 8 + 2 * (8 + WEIR_EXTENSIONS_MAX),
};

// KEYS: the stream, what was published last. ARGV: the event's hash, or nothing; SEEN_MAX.
#define SEEN                                                               \
    "local function seen(keys, hash)\n"                                    \
    "  return hash ~= '' and redis.call('ZSCORE', keys[2], hash)\n"        \
    "end\n"                                                                \
    "local function see(keys, hash, id, most)\n"                           \
    "  if hash ~= '' then\n"                                               \
    "    redis.call('ZADD', keys[2], string.match(id, '^%d+'), hash)\n"    \
    "    redis.call('ZREMRANGEBYRANK', keys[2], 0, -1 - tonumber(most))\n" \
    "  end\n"                                                              \
    "end\n"

// ARGV: hash, SEEN_MAX, entries kept (0: all), operation, value, KEEPTTL or nothing, further
// fields. KEYS: log, seen, key.
static const char log_script[] =
    SEEN "if seen(KEYS, ARGV[1]) then return false end\n"
         "local deletes = ARGV[4] == 'del'\n"
         "if deletes and redis.call('EXISTS', KEYS[3]) == 0 then return false end\n"
         "local entry = {KEYS[1]}\n"
         "if ARGV[3] ~= '0' then\n"
         "  entry[2] = 'MAXLEN' entry[3] = '~' entry[4] = ARGV[3]\n"
         "end\n"
         "local function add(text) entry[#entry + 1] = text end\n"
         "add('*') add('op') add(ARGV[4]) add('key') add(KEYS[3])\n"
         "if not deletes then add('value') add(ARGV[5]) end\n"
         "for i = 7, #ARGV do add(ARGV[i]) end\n"
         "local id = redis.call('XADD', unpack(entry))\n"
         "if deletes then\n"
         "  redis.call('UNLINK', KEYS[3])\n"
         "elseif ARGV[6] ~= '' then\n"
         "  redis.call('SET', KEYS[3], ARGV[5], ARGV[6])\n"
         "else\n"
         "  redis.call('SET', KEYS[3], ARGV[5])\n"
         "end\n"
         "see(KEYS, ARGV[1], id, ARGV[2])\n"
         "return id\n";

// ARGV: hash, SEEN_MAX, fields. KEYS: stream, seen.
static const char stream_script[] = SEEN "if seen(KEYS, ARGV[1]) then return false end\n"
                                         "local entry = {KEYS[1], '*'}\n"
                                         "for i = 3, #ARGV do entry[i] = ARGV[i] end\n"
                                         "local id = redis.call('XADD', unpack(entry))\n"
                                         "see(KEYS, ARGV[1], id, ARGV[2])\n"
                                         "return id\n";

// The hash of an event's source and id; a view of the buffer.
static struct weir_str hash_of(const struct weir_event *event, char buffer[static HASH_BYTES]) {
    struct weir_str source = event->fields.source, id = event->fields.id;
    XXH128_hash_t hash =
        XXH3_128bits_withSeed(id.data, id.size, XXH3_64bits(source.data, source.size));
    snprintf(buffer, HASH_BYTES, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
             (uint64_t)hash.low64);
    return (struct weir_str){buffer, HASH_BYTES - 1};
}

// A command that is put together.
struct words {
    struct weir_str items[STREAM_WORDS_MAX];
    size_t count;
};

static void add(struct words *words, struct weir_str word) {
    words->items[words->count++] = word;
}

static void add_script(struct words *words, const char *script, const char *keys,
                       struct weir_str stream, char seen[static WEIR_REDIS_OWN_BYTES_MAX]) {
    add(words, WEIR_STR("EVAL"));
    add(words, weir_str_of(script));
    add(words, weir_str_of(keys));
    add(words, stream);
    add(words, weir_redis_own_name(WEIR_REDIS_SEEN_PREFIX, stream, seen));
}

weir_status weir_redis_log_put(struct weir_redis_loan *loan,
                               const struct weir_redis_log_change *change, struct weir_error *err) {
    char hash[HASH_BYTES], seen[WEIR_REDIS_OWN_BYTES_MAX], most[COUNT_BYTES], kept[COUNT_BYTES];
    const struct weir_redis_options *options = &loan->resource->options;
    struct words words = {.count = 0};
    snprintf(most, sizeof most, "%d", SEEN_MAX);
    snprintf(kept, sizeof kept, "%" PRIu64, options->log_entries);
    add_script(&words, log_script, "3", weir_str_of(options->log), seen);
    add(&words, change->key);
    add(&words, change->event ? hash_of(change->event, hash) : WEIR_STR(""));
    add(&words, weir_str_of(most));
    add(&words, weir_str_of(kept));
    add(&words, change->is_deletion ? WEIR_STR("del") : WEIR_STR("set"));
    add(&words, change->value);
    add(&words, change->keeps_expiry ? WEIR_STR("KEEPTTL") : WEIR_STR(""));
    if (change->event) {
        struct weir_redis_chain chain = weir_redis_chain_of(&change->event->fields);
        for (size_t i = 0; i < chain.count; i++) {
            add(&words, chain.extensions[i].name);
            add(&words, chain.extensions[i].value);
        }
    }
    return weir_redis_put(loan, words.items, words.count, err);
}

static void add_attribute(struct words *words, const char *name, struct weir_str value) {
    if (value.size > 0) {
        add(words, weir_str_of(name));
        add(words, value);
    }
}

weir_status weir_redis_stream_put(struct weir_redis_loan *loan, struct weir_str stream,
                                  const struct weir_event *event, struct weir_error *err) {
    char hash[HASH_BYTES], seen[WEIR_REDIS_OWN_BYTES_MAX], most[COUNT_BYTES];
    const struct weir_event_fields *fields = &event->fields;
    struct words words = {.count = 0};
    snprintf(most, sizeof most, "%d", SEEN_MAX);
    add_script(&words, stream_script, "2", stream, seen);
    add(&words, hash_of(event, hash));
    add(&words, weir_str_of(most));
    add_attribute(&words, "ce_specversion", fields->specversion);
    add_attribute(&words, "ce_id", fields->id);
    add_attribute(&words, "ce_source", fields->source);
    add_attribute(&words, "ce_type", fields->ty);
    add_attribute(&words, "ce_subject", fields->subject.value);
    add_attribute(&words, "ce_time", fields->time.value);
    add_attribute(&words, "ce_dataschema", fields->dataschema.value);
    add_attribute(&words, "content-type", fields->datacontenttype.value);
    // Names of extensions are [a-z0-9] and no attribute's own.
    char names[WEIR_EXTENSIONS_MAX][FIELD_NAME_BYTES_MAX];
    for (size_t i = 0; i < fields->extensions.count; i++) {
        const struct weir_attribute *extension = &fields->extensions.items[i];
        snprintf(names[i], sizeof names[i], "ce_%.*s", WEIR_STR_ARG(extension->name));
        add(&words, weir_str_of(names[i]));
        add(&words, extension->value);
    }
    if (fields->data.is_some) {
        add(&words, WEIR_STR("data"));
        add(&words, fields->data.value.bytes);
    }
    return weir_redis_put(loan, words.items, words.count, err);
}
