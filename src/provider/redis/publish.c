// SPDX-License-Identifier: Apache-2.0
//
// Publishing: an event sets or removes the key that its subject names, or is added to the stream of
// that name. Any thread.
//
// Of a value that comes from a chain of events the mode `keys` notes which, in a hash beside it, in
// the same transaction: see value.h. The note says the hash of the value that it belongs to, so it
// says nothing of what somebody else writes there, and it expires.
#include "provider/redis/resource.h"

#include "base/clock.h"
#include "provider/redis/log_write.h"
#include "provider/redis/names.h"
#include "provider/redis/value.h"
#include "provider/subject.h"

#include <inttypes.h>
#include <stdio.h>

enum { NOTE_WORDS_MAX = 4 + 2 * WEIR_REDIS_CHAIN_FIELDS };

static bool is_deletion(const struct weir_event_fields *fields) {
    return !fields->data.is_some &&
           weir_str_equal(fields->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));
}

static struct weir_str value_of(const struct weir_event_fields *fields) {
    return fields->data.is_some ? fields->data.value.bytes : WEIR_STR("");
}

// Appends what notes the chain. *ret_count: commands.
static weir_status put_note(struct weir_redis_loan *loan, struct weir_str note,
                            const struct weir_event_fields *fields, size_t *ret_count,
                            struct weir_error *err) {
    struct weir_redis_chain chain = weir_redis_chain_of(fields);
    *ret_count = 0;
    if (chain.count == 0) {
        return WEIR_OK;
    }
    struct weir_str value = value_of(fields);
    struct weir_redis_told told = {.size = value.size,
                                   .hash = XXH3_128bits(value.data, value.size)};
    char revision[WEIR_REDIS_REVISION_BYTES], life[24];
    snprintf(life, sizeof life, "%" PRId64, loan->resource->options.chain_ns / WEIR_NS_PER_MS);
    struct weir_str words[NOTE_WORDS_MAX] = {WEIR_STR("HSET"), note, WEIR_STR("value"),
                                             weir_redis_revision(&told, false, revision)};
    size_t count = 4;
    for (size_t i = 0; i < chain.count; i++) {
        words[count++] = chain.extensions[i].name;
        words[count++] = chain.extensions[i].value;
    }
    const struct weir_str expire[] = {WEIR_STR("PEXPIRE"), note, weir_str_of(life)};
    *ret_count = 2;
    weir_status status = weir_redis_put(loan, words, count, err);
    return status == WEIR_OK ? weir_redis_put(loan, expire, 3, err) : status;
}

// Appends a transaction. *ret_before: replies before that of EXEC.
static weir_status put_keys(struct weir_redis_loan *loan, struct weir_str key,
                            const struct weir_event_fields *fields, size_t *ret_before,
                            struct weir_error *err) {
    char name[WEIR_REDIS_OWN_BYTES_MAX];
    struct weir_str note = weir_redis_own_name(WEIR_REDIS_CHAIN_PREFIX, key, name);
    const struct weir_str multi[] = {WEIR_STR("MULTI")}, exec[] = {WEIR_STR("EXEC")},
                          unlink_both[] = {WEIR_STR("UNLINK"), key, note},
                          unlink_note[] = {WEIR_STR("UNLINK"), note},
                          set[] = {WEIR_STR("SET"), key, value_of(fields)};
    bool keeps_chains = loan->resource->options.chain_ns > 0, deletes = is_deletion(fields);
    size_t notes = 0;
    *ret_before = 1;
    weir_status status = weir_redis_put(loan, multi, 1, err);
    if (status == WEIR_OK && keeps_chains && !deletes) {
        status = weir_redis_put(loan, unlink_note, 2, err);
        *ret_before += 1;
        status = status == WEIR_OK ? put_note(loan, note, fields, &notes, err) : status;
        *ret_before += notes;
    }
    if (status == WEIR_OK) {
        status = deletes ? weir_redis_put(loan, unlink_both, keeps_chains ? 3 : 2, err)
                         : weir_redis_put(loan, set, 3, err);
        *ret_before += 1;
    }
    return status == WEIR_OK ? weir_redis_put(loan, exec, 1, err) : status;
}

static weir_status put(struct weir_redis_loan *loan, struct weir_str key,
                       const struct weir_event *event, size_t *ret_before, struct weir_error *err) {
    *ret_before = 0;
    switch ((enum weir_redis_mode)loan->resource->options.mode) {
    case WEIR_REDIS_KEYS:
        return put_keys(loan, key, &event->fields, ret_before, err);
    case WEIR_REDIS_LOG: {
        const struct weir_redis_log_change change = {.key = key,
                                                     .is_deletion = is_deletion(&event->fields),
                                                     .value = value_of(&event->fields),
                                                     .event = event};
        return weir_redis_log_put(loan, &change, err);
    }
    case WEIR_REDIS_STREAMS:
        return weir_redis_stream_put(loan, key, event, err);
    }
    return WEIR_OTHER;
}

// Takes all replies, and fails with the first that failed. EXEC says of each command what came.
static weir_status take_all(struct weir_redis_loan *loan, size_t before, struct weir_error *err) {
    weir_status first = WEIR_OK;
    for (size_t i = 0; i <= before; i++) {
        struct weir_redis_reply *reply;
        weir_status status = weir_redis_take(loan, &reply, first == WEIR_OK ? err : NULL);
        if (status != WEIR_OK) {
            return first == WEIR_OK ? status : first;
        }
        if (first == WEIR_OK) {
            first = weir_redis_reply_status(reply, "publishing", err);
        }
        for (size_t k = 0; first == WEIR_OK && weir_redis_reply_at(reply, k); k++) {
            first = weir_redis_reply_status(weir_redis_reply_at(reply, k), "publishing", err);
        }
        weir_redis_reply_free(reply);
    }
    return first;
}

// What came of an attempt, as publish has to tell it: only what is wrong with the event itself is
// for ever.
static weir_status attempted(weir_status status, struct weir_error *err) {
    if (status == WEIR_OK || status == WEIR_NO_MEMORY) {
        return status;
    }
    if (err) {
        err->status = WEIR_UNAVAILABLE;
    }
    return WEIR_UNAVAILABLE;
}

weir_status weir_redis_publish(struct weir_resource *base, struct weir_event *event,
                               struct weir_error *err) {
    struct weir_redis_resource *resource = (struct weir_redis_resource *)base;
    struct weir_subject_buffer buffer;
    struct weir_str key;
    struct weir_redis_loan loan;
    size_t before;
    if (!event->fields.subject.is_some) {
        return weir_fail(err, WEIR_INVALID, "the event has no subject, which would name the %s",
                         resource->options.mode == WEIR_REDIS_STREAMS ? "stream" : "key to set");
    }
    weir_status status = weir_subject_key(&event->fields, &buffer, &key, err);
    if (status == WEIR_OK) {
        status = weir_redis_check_key(key, err);
        status = status == WEIR_OK ? status : weir_error_prefix(err, status, "the subject");
    }
    if (status != WEIR_OK) {
        return status;
    }
    int64_t until_ns = weir_clock_monotonic_ns() + WEIR_PUBLISH_WAIT_MS * WEIR_NS_PER_MS;
    status = weir_redis_borrow(resource, until_ns, &loan, err);
    if (status != WEIR_OK) {
        return attempted(status, err);
    }
    status = put(&loan, key, event, &before, err);
    if (status == WEIR_OK) {
        status = take_all(&loan, before, err);
    }
    weir_redis_give_back(&loan);
    return attempted(status, err);
}
