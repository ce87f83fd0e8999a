// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing, in the modes in which keys have values. Any thread: each call has a
// connection for itself.
//
// A value is asked for by GETRANGE with one byte more than it may have, so that one that is too
// large is neither sent nor held in memory; what GETRANGE cannot tell apart, a key that is not
// there and one that is empty, GET can.
#include "provider/redis/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/redis/log_write.h"
#include "provider/redis/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    LISTED_FIRST = 256,         // room for keys of a listing; doubles
    UPDATE_ATTEMPTS_MAX = 1000, // while others are first
    UPDATE_PAUSE_US = 100,      // between two attempts, at most, after the first few
    UPDATE_QUICK_ATTEMPTS = 4,
};

static struct weir_redis_resource *resource_of(struct weir_resource *base) {
    return (struct weir_redis_resource *)base;
}

static weir_status check(const struct weir_redis_resource *resource, struct weir_str key,
                         struct weir_error *err) {
    weir_status status = weir_redis_check_key(key, err);
    if (status == WEIR_OK && resource->options.mode == WEIR_REDIS_STREAMS) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "\"%s\" is of streams (`mode: streams`), which have no value; its other "
                         "modes have",
                         resource->base.name);
    }
    return status;
}

static weir_status prefix_key(struct weir_error *err, weir_status status, const char *doing,
                              struct weir_str key) {
    char shown[WEIR_SHOW_BYTES];
    return status == WEIR_OK ? status
                             : weir_error_prefix(err, status, "%s the key \"%s\"", doing,
                                                 weir_show(key, shown, sizeof shown));
}

// ---- reading ----

// The reply with the value, which the caller frees. WEIR_NOT_FOUND, WEIR_LIMIT.
static weir_status read_value(struct weir_redis_loan *loan, struct weir_str key, uint64_t bytes_max,
                              struct weir_redis_reply **ret_reply, struct weir_error *err) {
    char end[24];
    bytes_max = bytes_max < WEIR_REDIS_VALUE_BYTES_MAX ? bytes_max : WEIR_REDIS_VALUE_BYTES_MAX;
    snprintf(end, sizeof end, "%" PRIu64, bytes_max);
    const struct weir_str range[] = {WEIR_STR("GETRANGE"), key, WEIR_STR("0"), weir_str_of(end)};
    const struct weir_str whole[] = {WEIR_STR("GET"), key};
    weir_redis_bound(loan->connection, bytes_max + WEIR_REDIS_REPLY_BYTES_MAX);
    weir_status status = weir_redis_ask(loan, range, 4, "reading", ret_reply, err);
    if (status == WEIR_OK && (*ret_reply)->kind == WEIR_REDIS_BULK &&
        (*ret_reply)->bytes.size == 0) {
        weir_redis_reply_free(*ret_reply);
        status = weir_redis_ask(loan, whole, 2, "reading", ret_reply, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_redis_reply *reply = *ret_reply;
    if (reply->kind == WEIR_REDIS_BULK && reply->bytes.size <= bytes_max) {
        return WEIR_OK;
    }
    *ret_reply = NULL;
    enum weir_redis_kind kind = reply->kind;
    weir_redis_reply_free(reply);
    return kind == WEIR_REDIS_NIL ? weir_fail(err, WEIR_NOT_FOUND, "there is no such key")
           : kind == WEIR_REDIS_BULK
               ? weir_fail(err, WEIR_LIMIT, "its value has more than %" PRIu64 " bytes", bytes_max)
               : weir_redis_reply_odd("reading", err);
}

static weir_status copy_value(const struct weir_redis_reply *reply, struct weir_value *ret_value,
                              struct weir_error *err) {
    ret_value->data = weir_str_copy(reply->bytes);
    ret_value->size = reply->bytes.size;
    return ret_value->data ? WEIR_OK : weir_fail_no_memory(err, "a value");
}

weir_status weir_redis_get(struct weir_resource *base, struct weir_str key,
                           const struct weir_limits *limits, struct weir_value *ret_value,
                           struct weir_error *err) {
    struct weir_redis_loan loan;
    struct weir_redis_reply *reply = NULL;
    weir_status status = check(resource_of(base), key, err);
    if (status == WEIR_OK) {
        status = weir_redis_borrow(resource_of(base), limits->until_ns, &loan, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = read_value(&loan, key, limits->value_bytes_max, &reply, err);
    weir_redis_give_back(&loan);
    if (status == WEIR_OK) {
        status = copy_value(reply, ret_value, err);
    }
    weir_redis_reply_free(reply);
    return prefix_key(err, status, "reading", key);
}

// ---- writing ----

// In the mode `keys`, what is written so comes from no event: what was noted of one goes first.
// Who may not do that has not noted any.
static weir_status put_unchained(struct weir_redis_loan *loan, struct weir_str key,
                                 size_t *ret_replies, struct weir_error *err) {
    char name[WEIR_REDIS_OWN_BYTES_MAX];
    *ret_replies = 0;
    if (loan->resource->options.chain_ns == 0) {
        return WEIR_OK;
    }
    const struct weir_str words[] = {WEIR_STR("UNLINK"),
                                     weir_redis_own_name(WEIR_REDIS_CHAIN_PREFIX, key, name)};
    *ret_replies = 1;
    return weir_redis_put(loan, words, 2, err);
}

// Takes replies of which only an error of a transaction's is of interest, and the one behind them.
static weir_status take_last(struct weir_redis_loan *loan, size_t before, const char *doing,
                             struct weir_redis_reply **ret_reply, struct weir_error *err) {
    struct weir_redis_reply *cause = NULL, *reply = NULL;
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i <= before; i++) {
        if (weir_redis_reply_is(reply, WEIR_REDIS_ERROR) && !cause) {
            cause = reply;
        } else {
            weir_redis_reply_free(reply);
        }
        status = weir_redis_take(loan, &reply, err);
    }
    if (status == WEIR_OK) {
        bool is_aborted = cause && weir_redis_reply_fails_with(reply, "EXECABORT");
        status = weir_redis_reply_status(is_aborted ? cause : reply, doing, err);
    }
    weir_redis_reply_free(cause);
    *ret_reply = status == WEIR_OK ? reply : NULL;
    weir_redis_reply_free(status == WEIR_OK ? NULL : reply);
    return status;
}

// Sets or removes a key. *ret_was_there: of one that is removed.
static weir_status write_key(struct weir_redis_loan *loan, struct weir_str key,
                             const struct weir_str *value, bool *ret_was_there,
                             struct weir_error *err) {
    size_t before = 0;
    weir_status status;
    struct weir_redis_reply *reply = NULL;
    if (loan->resource->options.mode == WEIR_REDIS_LOG) {
        const struct weir_redis_log_change change = {
            .key = key, .is_deletion = !value, .value = value ? *value : WEIR_STR("")};
        status = weir_redis_log_put(loan, &change, err);
    } else {
        const struct weir_str set[] = {WEIR_STR("SET"), key, value ? *value : WEIR_STR("")};
        const struct weir_str unlink[] = {WEIR_STR("UNLINK"), key};
        status = put_unchained(loan, key, &before, err);
        if (status == WEIR_OK) {
            status =
                value ? weir_redis_put(loan, set, 3, err) : weir_redis_put(loan, unlink, 2, err);
        }
    }
    if (status == WEIR_OK) {
        status = take_last(loan, before, value ? "writing" : "removing", &reply, err);
    }
    *ret_was_there = reply && (reply->kind == WEIR_REDIS_INTEGER ? reply->integer > 0
                                                                 : reply->kind != WEIR_REDIS_NIL);
    weir_redis_reply_free(reply);
    return status;
}

weir_status weir_redis_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                           const struct weir_limits *limits, struct weir_error *err) {
    struct weir_redis_loan loan;
    bool was_there;
    weir_status status = check(resource_of(base), key, err);
    if (status == WEIR_OK) {
        status = weir_redis_borrow(resource_of(base), limits->until_ns, &loan, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = write_key(&loan, key, &value, &was_there, err);
    weir_redis_give_back(&loan);
    return prefix_key(err, status, "setting", key);
}

weir_status weir_redis_remove(struct weir_resource *base, struct weir_str key,
                              const struct weir_limits *limits, struct weir_error *err) {
    struct weir_redis_loan loan;
    bool was_there = false;
    weir_status status = check(resource_of(base), key, err);
    if (status == WEIR_OK) {
        status = weir_redis_borrow(resource_of(base), limits->until_ns, &loan, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = write_key(&loan, key, NULL, &was_there, err);
    weir_redis_give_back(&loan);
    if (status == WEIR_OK && !was_there) {
        status = weir_fail(err, WEIR_NOT_FOUND, "there is no such key");
    }
    return prefix_key(err, status, "removing", key);
}

// ---- update ----

static weir_status ask_for_nothing(struct weir_redis_loan *loan, const struct weir_str *words,
                                   size_t count, struct weir_error *err) {
    struct weir_redis_reply *reply;
    weir_status status = weir_redis_ask(loan, words, count, "updating", &reply, err);
    weir_redis_reply_free(reply);
    return status;
}

static weir_status put_change(struct weir_redis_loan *loan, struct weir_str key,
                              struct weir_str value, size_t *ret_before, struct weir_error *err) {
    *ret_before = 0;
    if (loan->resource->options.mode == WEIR_REDIS_LOG) {
        const struct weir_redis_log_change change = {
            .key = key, .keeps_expiry = true, .value = value};
        return weir_redis_log_put(loan, &change, err);
    }
    const struct weir_str set[] = {WEIR_STR("SET"), key, value, WEIR_STR("KEEPTTL")};
    return weir_redis_put(loan, set, 4, err);
}

// Sets the key, unless somebody has changed it since it is watched: then *ret_is_set is false.
static weir_status commit(struct weir_redis_loan *loan, struct weir_str key, struct weir_str value,
                          bool *ret_is_set, struct weir_error *err) {
    const struct weir_str multi[] = {WEIR_STR("MULTI")}, exec[] = {WEIR_STR("EXEC")};
    size_t unchained, before;
    struct weir_redis_reply *reply;
    *ret_is_set = false;
    weir_status status = put_unchained(loan, key, &unchained, err);
    status = status == WEIR_OK ? weir_redis_put(loan, multi, 1, err) : status;
    status = status == WEIR_OK ? put_change(loan, key, value, &before, err) : status;
    status = status == WEIR_OK ? weir_redis_put(loan, exec, 1, err) : status;
    if (status == WEIR_OK) { // MULTI and what is queued
        status = take_last(loan, unchained + 2, "updating", &reply, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    *ret_is_set = reply->kind == WEIR_REDIS_ARRAY;
    if (*ret_is_set) {
        status = weir_redis_reply_status(weir_redis_reply_at(reply, 0), "updating", err);
    }
    weir_redis_reply_free(reply);
    return status;
}

static weir_status try_update(struct weir_redis_loan *loan, struct weir_str key, uint64_t bytes_max,
                              const struct weir_change *change, bool *ret_is_set,
                              struct weir_error *err) {
    const struct weir_str watch[] = {WEIR_STR("WATCH"), key}, unwatch[] = {WEIR_STR("UNWATCH")};
    struct weir_redis_reply *reply = NULL;
    struct weir_value after = {.data = NULL};
    *ret_is_set = false;
    weir_status status = ask_for_nothing(loan, watch, 2, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = read_value(loan, key, bytes_max, &reply, err);
    if (status == WEIR_OK || status == WEIR_NOT_FOUND) {
        status = change->change(change->context, reply ? &reply->bytes : NULL, &after, err);
    }
    weir_redis_reply_free(reply);
    if (status == WEIR_OK) {
        status = commit(loan, key, (struct weir_str){after.data, after.size}, ret_is_set, err);
        free(after.data);
    } else if (loan->is_usable && ask_for_nothing(loan, unwatch, 1, NULL) != WEIR_OK) {
        loan->is_usable = false;
    }
    return status;
}

// Lets others be done. Who waits longer each time would never be first.
static void pause_shortly(int attempt) {
    if (attempt >= UPDATE_QUICK_ATTEMPTS) {
        int64_t most_ns = UPDATE_PAUSE_US * INT64_C(1000);
        struct timespec pause = weir_clock_timespec(weir_clock_monotonic_ns() % most_ns);
        nanosleep(&pause, NULL);
    }
}

weir_status weir_redis_update(struct weir_resource *base, struct weir_str key,
                              const struct weir_limits *limits, const struct weir_change *change,
                              struct weir_error *err) {
    struct weir_redis_loan loan;
    weir_status status = check(resource_of(base), key, err);
    if (status == WEIR_OK) {
        status = weir_redis_borrow(resource_of(base), limits->until_ns, &loan, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    bool is_set = false;
    int attempt = 0;
    while (status == WEIR_OK && !is_set && attempt++ < UPDATE_ATTEMPTS_MAX) {
        status = try_update(&loan, key, limits->value_bytes_max, change, &is_set, err);
        if (status == WEIR_OK && !is_set) {
            pause_shortly(attempt);
        }
    }
    weir_redis_give_back(&loan);
    if (status == WEIR_OK && !is_set) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "updating the key \"%s\": others were first %d times; try again later",
                         weir_show(key, shown, sizeof shown), UPDATE_ATTEMPTS_MAX);
    }
    return status;
}

// ---- list ----

struct keys {
    struct weir_str *items; // each text is owned
    size_t count, room;
};

static void keys_finish(struct keys *keys) {
    for (size_t i = 0; i < keys->count; i++) {
        free((char *)(uintptr_t)keys->items[i].data);
    }
    free(keys->items);
}

static bool keys_add(struct keys *keys, struct weir_str key) {
    if (keys->count == keys->room) {
        size_t room = keys->room ? 2 * keys->room : LISTED_FIRST;
        struct weir_str *items = realloc(keys->items, room * sizeof *items);
        if (!items) {
            return false;
        }
        keys->items = items;
        keys->room = room;
    }
    char *copy = weir_str_copy(key);
    if (copy) {
        keys->items[keys->count++] = (struct weir_str){copy, key.size};
    }
    return copy != NULL;
}

static int compare_keys(const void *left, const void *right) {
    const struct weir_str *a = left, *b = right;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

// A listing that is gathered.
struct gathering {
    const struct weir_redis_resource *resource;
    const struct weir_pattern *pattern;
    struct keys keys;
};

static weir_status gather(void *context, struct weir_str key, struct weir_error *err) {
    struct gathering *gathering = context;
    uint64_t keys_max = gathering->resource->options.keys_max;
    if (weir_redis_check_key(key, NULL) != WEIR_OK ||
        !weir_pattern_matches(gathering->pattern, key)) {
        return WEIR_OK;
    }
    if (gathering->keys.count == keys_max) {
        return weir_fail(err, WEIR_LIMIT,
                         "more than %" PRIu64 " keys; raise `keys_max`, or list fewer", keys_max);
    }
    return keys_add(&gathering->keys, key) ? WEIR_OK : weir_fail_no_memory(err, "a listing");
}

static weir_status scan(struct weir_redis_loan *loan, struct gathering *gathering,
                        struct weir_error *err) {
    char glob[WEIR_REDIS_GLOB_BYTES_MAX];
    const struct weir_redis_scan keys = {
        .glob = weir_redis_glob(gathering->pattern->text, glob),
        .type = "string",
        .each = gather,
        .context = gathering,
    };
    return weir_redis_scan(loan, &keys, err);
}

static weir_status list_one(struct weir_redis_loan *loan, struct weir_str key, struct keys *keys,
                            struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("TYPE"), key};
    struct weir_redis_reply *reply;
    weir_status status = weir_redis_ask(loan, words, 2, "listing", &reply, err);
    if (status == WEIR_OK && weir_redis_reply_says(reply, "string") && !keys_add(keys, key)) {
        status = weir_fail_no_memory(err, "a listing");
    }
    weir_redis_reply_free(reply);
    return status;
}

static weir_status check_listing(const struct weir_redis_resource *resource,
                                 const struct weir_pattern *pattern, struct weir_error *err) {
    weir_status status = weir_redis_check_pattern(pattern, err);
    return status == WEIR_OK ? check(resource, WEIR_STR("key"), err) : status; // of the mode
}

weir_status weir_redis_list(struct weir_resource *base, const struct weir_pattern *pattern,
                            const struct weir_limits *limits, const struct weir_listing *listing,
                            struct weir_error *err) {
    struct weir_redis_loan loan;
    struct gathering gathering = {.resource = resource_of(base), .pattern = pattern};
    struct keys *keys = &gathering.keys;
    weir_status status = check_listing(resource_of(base), pattern, err);
    if (status == WEIR_OK) {
        status = weir_redis_borrow(resource_of(base), limits->until_ns, &loan, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = pattern->is_prefix ? scan(&loan, &gathering, err)
                                : list_one(&loan, pattern->text, keys, err);
    weir_redis_give_back(&loan);
    if (status == WEIR_OK && keys->count > 0) {
        qsort(keys->items, keys->count, sizeof *keys->items, compare_keys);
        bool goes_on = true;
        for (size_t i = 0; goes_on && i < keys->count; i++) {
            // SCAN may tell one twice.
            if (i == 0 || !weir_str_equal(keys->items[i], keys->items[i - 1])) {
                goes_on = listing->each(listing->context, keys->items[i]);
            }
        }
    }
    keys_finish(keys);
    return prefix_key(err, status, "listing", pattern->text);
}
